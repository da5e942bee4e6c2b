"""A module's state: a dict of its tensors by name, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tapegrad import Tensor, no_grad, tensor
from tapegrad.lookup import near_to

from .missing import listed
from .parameter import Parameter

#: The name under which what is no tensor stands in the state.
EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """The names that a state lacks, and those that the module does not have."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


def own_state(module: Any) -> Iterator[tuple[str, Tensor]]:
    """The parameters and persistent buffers that a module holds itself."""
    for name, value in module._parameters.items():
        if value is not None:
            yield name, value
    for name, value in module._buffers.items():
        if value is not None and name not in module._non_persistent_buffers_set:
            yield name, value


def save_own(module: Any, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """Put what a module holds itself into a state."""
    for name, value in own_state(module):
        destination[prefix + name] = value if keep_vars else tensor(value)
    if _has_extra(module, "get_extra_state"):
        destination[prefix + EXTRA] = module.get_extra_state()


def load(root: Any, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Bring a state into a module and those below; all of it or, by an error, nothing."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"load_state_dict() takes a dict of tensors by name, not {type(state).__name__}"
        )
    loading = _Loading(dict(state), strict, assign)
    loading.collect(root, "")
    keys = IncompatibleKeys(
        loading.missing, [key for key in loading.state if key not in loading.expected]
    )
    after = [(m, hook) for _, m in reversed(loading.modules) for hook in _hooks(m, "load_post")]
    if not after:
        loading.refuse(root, keys)
        loading.write()
        return keys
    loading.refuse(root, None)
    before = loading.write(can_undo=True)
    try:
        for module, hook in after:
            if hook(module, keys) is not None:
                raise RuntimeError(
                    "a hook after load_state_dict() must return None; it may change the lists "
                    "missing_keys and unexpected_keys in place"
                )
        loading.refuse(root, keys)
    except BaseException:
        loading.undo(before)
        raise
    return keys


class _Loading:
    """What goes where, found before anything is written."""

    def __init__(self, state: dict[str, Any], strict: bool, assign: bool) -> None:
        self.state, self.strict, self.assign = state, strict, assign
        self.expected: list[str] = []
        self.missing: list[str] = []
        self.errors: list[str] = []
        self.modules: list[tuple[str, Any]] = []
        self.values: list[tuple[Any, str, Tensor, Tensor]] = []
        self.extras: list[tuple[Any, Any]] = []

    def collect(self, module: Any, prefix: str) -> None:
        """Find the values of a module and those below, and what is wrong with them."""
        self.modules.append((prefix, module))
        unexpected: list[str] = []
        for hook in _hooks(module, "load_pre"):
            given: list[Any] = [self.state, prefix, {}, self.strict]
            hook(module, *given, self.missing, unexpected, self.errors)
        for name, own in own_state(module):
            key = prefix + name
            self.expected.append(key)
            if key not in self.state:
                self.missing.append(key)
                continue
            value = self._fitting(key, self.state[key], own)
            if value is not None:
                self.values.append((module, name, own, value))
        if _has_extra(module, "set_extra_state"):
            key = prefix + EXTRA
            self.expected.append(key)
            if key in self.state:
                self.extras.append((module, self.state[key]))
            else:
                self.missing.append(key)
        for name, child in module._modules.items():
            if child is not None:
                self.collect(child, f"{prefix}{name}.")

    def _fitting(self, key: str, given: Any, own: Tensor) -> Tensor | None:
        """A given value as a tensor like the module's; None, and an error noted, if it is not."""
        if not isinstance(given, Tensor) and not hasattr(given, "__array__"):
            self.errors.append(
                f'While copying the parameter named "{key}", expected a tensor or an array, but '
                f"received {type(given).__name__}."
            )
            return None
        try:
            value = given if isinstance(given, Tensor) else tensor(given)
            if not own.shape and value.shape == (1,):
                value = value[0]
            if value.shape != own.shape:
                self.errors.append(
                    f"size mismatch for {key}: copying a param with shape {value.shape} from "
                    f"checkpoint, the shape in current model is {own.shape}."
                )
                return None
            return value.detach() if self.assign else value.detach().to(own.dtype)
        except Exception as error:
            self.errors.append(
                f'While copying the parameter named "{key}", an exception occurred: {error}'
            )
            return None

    def refuse(self, root: Any, keys: IncompatibleKeys | None) -> None:
        """Raise if something does not fit; without keys, for the values alone."""
        said = list(self.errors)
        if keys is not None and self.strict:
            said = [*self._wrong_keys(keys), *said]
        if said:
            lines = "\n\t".join(said)
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(root).__name__}:\n\t{lines}"
            )

    def _wrong_keys(self, keys: IncompatibleKeys) -> Iterator[str]:
        quoted = [", ".join(f'"{key}"' for key in found) for found in keys]
        if keys.missing_keys:
            yield f"Missing key(s) in state_dict: {quoted[0]}. "
        if keys.unexpected_keys:
            yield f"Unexpected key(s) in state_dict: {quoted[1]}. {self._advice(keys)}"

    def _advice(self, keys: IncompatibleKeys) -> str:
        """What unexpected names may stand for."""
        first = keys.unexpected_keys[0]
        for missing in keys.missing_keys:
            prefix = first.removesuffix(missing)
            if prefix != first and all(
                k.startswith(prefix) and k.removeprefix(prefix) in keys.missing_keys
                for k in keys.unexpected_keys
            ):
                return (
                    f"They are the missing ones after {prefix!r}: load "
                    f"{{k.removeprefix({prefix!r}): v for k, v in state.items()}}. "
                )
        known = keys.missing_keys or self.expected
        near = near_to(first, [name for name in known if name != first], n=1)
        return f"Near {first!r} is {near}. " if near else f"The module's: {listed(self.expected)}. "

    def write(self, can_undo: bool = False) -> list[tuple[Any, str, Tensor, Tensor]]:
        """Put every value in its place; returns what :meth:`undo` takes, if it may come to that."""
        before = [(*place, own, tensor(own)) for *place, own, _ in self.values] if can_undo else []
        with no_grad():
            for module, name, own, value in self.values:
                if self.assign:
                    _put(module, name, _assigned(own, value))
                else:
                    own.copy_(value)
        for module, extra in self.extras:
            module.set_extra_state(extra)
        return before

    def undo(self, before: list[tuple[Any, str, Tensor, Tensor]]) -> None:
        """Put back what was there before."""
        with no_grad():
            for module, name, own, value in before:
                _put(module, name, own)
                own.copy_(value)


def _put(module: Any, name: str, made: Tensor) -> None:
    holder = module._parameters if name in module._parameters else module._buffers
    holder[name] = made


def _assigned(own: Tensor, value: Tensor) -> Tensor:
    """A tensor to stand in the place of another, with the dtype of the value."""
    if not isinstance(own, Parameter):
        return value.clone()
    made: Tensor = Parameter(value, requires_grad=own.requires_grad)
    made.name = own.name
    return made


def _hooks(module: Any, kind: str) -> Any:
    return () if module._hooks is None else module._hooks.of(kind)


def _has_extra(module: Any, method: str) -> bool:
    from .module import Module

    return getattr(type(module), method, None) is not getattr(Module, method)
