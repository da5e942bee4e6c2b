"""What the tensors in a picture are called.

In this order: the names that the caller gives; ``tensor.name`` (a parameter's is its attribute,
which the path through a module completes); then the variables of the function that asked for the
picture, so that ``x`` is called x without being told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy import ndarray

from ..records import LEAF, NOTE, NUMBER, OP
from ..tensors import Tensor

_SHELL = frozenset({"In", "Out", "exit", "quit", "get_ipython"})  # IPython's own variables
_HAS_FAST_LOCALS = 0x1  # inspect.CO_OPTIMIZED
_MANY = 100  # longer lists are data, not a place where parameters are kept


class Names:
    """Names of records (by number) and of constant arrays (by identity)."""

    def __init__(self) -> None:
        self.given: dict[Any, str] = {}
        self.paths: dict[Any, str] = {}
        self.variables: dict[Any, str] = {}
        self._kept: list[Any] = []  # so that no identity is reused while the picture is made

    # -- collecting ---------------------------------------------------------------------------
    def give(self, names: Any) -> None:
        """Names from the caller: a module, or a dict either way round."""
        if names is None:
            return
        if _is_module(names):
            self._add_module(self.given, names, "")
            return
        if not isinstance(names, Mapping):
            raise TypeError(
                "graph(): names must be a dict {name: tensor} (or {tensor: name}) or a module, "
                f"not {type(names).__name__}"
            )
        for key, value in names.items():
            if isinstance(key, Tensor) and not isinstance(value, Tensor):
                self.add(self.given, key, str(value))
            elif isinstance(value, Tensor):
                self.add(self.given, value, str(key))
            elif _is_module(value):
                self._add_module(self.given, value, f"{key}.")
            else:
                raise TypeError(
                    "graph(): names must pair a name with a tensor or a module, "
                    f"not {type(key).__name__} with {type(value).__name__}"
                )

    def look_around(self, frame: Any) -> None:
        """Names from the variables of a running function, its own before the module's."""
        if frame.f_locals is frame.f_globals:
            self.look_at(frame.f_globals)
            return
        own = frame.f_locals
        self.look_at({**frame.f_globals, **own})
        # Before Python 3.13 the frame of a function keeps this dict, and with it every tensor in
        # it, until the function returns: emptied, unless somebody else called locals().
        if type(own) is dict and frame.f_code.co_flags & _HAS_FAST_LOCALS:
            if sys.getrefcount(own) <= 3:
                own.clear()

    def look_at(self, variables: Mapping[str, Any]) -> None:
        """Names from a namespace: variables, short lists and dicts of tensors, modules."""
        modules = []
        for name, value in list(variables.items()):
            if name.startswith("_") or name in _SHELL:
                continue
            try:
                if isinstance(value, Tensor):
                    self.add(self.variables, value, name)
                elif isinstance(value, (list, tuple)) and len(value) <= _MANY:
                    self._add_items(name, enumerate(value))
                elif type(value) is dict and len(value) <= _MANY:
                    self._add_items(name, value.items())
                elif _is_module(value):
                    modules.append((sum(1 for _ in value.modules()), name, value))
            except Exception:  # a proxy may refuse to say what it is; it then names nothing
                continue
        # The largest first: a variable for one of its layers must not name that layer's weights.
        for _, name, module in sorted(modules, key=lambda found: -found[0]):
            self._add_module(self.paths, module, "", instead=f"{name}.")

    def _add_items(self, name: str, items: Iterable[tuple[Any, Any]]) -> None:
        for key, value in items:
            if isinstance(value, Tensor):
                self.add(self.variables, value, f"{name}[{key!r}]")

    def _add_module(
        self, where: dict[Any, str], module: Any, prefix: str, instead: str | None = None
    ) -> None:
        taken = set(where.values())
        for kind in ("named_parameters", "named_buffers"):
            for name, tensor in getattr(module, kind, tuple)():
                text = prefix + name
                self.add(where, tensor, instead + name if instead and text in taken else text)

    def add(self, where: dict[Any, str], tensor: Any, name: str) -> None:
        """Call a tensor by a name, unless it has one in that table."""
        key = _key(tensor)
        if key is not None:
            self._kept.append(tensor._value)
            where.setdefault(key, name)

    # -- asking -------------------------------------------------------------------------------
    def of_record(self, record: list[Any]) -> str | None:
        """The name of what a record made."""
        number = record[NUMBER]
        own = getattr(handle_of(record), "name", None) if record[OP] is LEAF else None
        return self._choose(number, own)

    def of_constant(self, value: Any) -> str | None:
        """The name of an array that is off the tape."""
        return self._choose(("array", id(value)), None) if type(value) is ndarray else None

    def _choose(self, key: Any, own: str | None) -> str | None:
        if key in self.given:
            return self.given[key]
        path = self.paths.get(key)
        if path is not None and (own is None or path.rpartition(".")[2] == own):
            return path
        return own if own is not None else self.variables.get(key)


def _key(tensor: Any) -> Any:
    if tensor._record is not None:
        return tensor._record[NUMBER]
    return ("array", id(tensor._value)) if type(tensor._value) is ndarray else None


def _is_module(value: Any) -> bool:
    module = sys.modules.get("tapegrad.nn.module")
    return module is not None and isinstance(value, module.Module)


def handle_of(record: list[Any]) -> Any:
    """The living tensor that a leaf (or a tensor that retains its gradient) is, or None."""
    note = record[NOTE]
    handle = None if note is None or note.handle is None else note.handle()
    return handle if handle is not None and handle._record is record else None


def arguments_of(function: Callable[..., Any], count: int) -> list[str]:
    """What a function calls its positional arguments."""
    import inspect

    names: list[str] = []
    try:
        target = function.forward if _is_module(function) else function  # type: ignore[attr-defined]
        for parameter in inspect.signature(target).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names.append(parameter.name)
    except (TypeError, ValueError):  # a builtin does not say
        pass
    return (names + [f"input {i + 1}" for i in range(len(names), count)])[:count]
