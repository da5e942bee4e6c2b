"""Parameters computed from others, by the names of torch.nn.utils.parametrize.

``module.weight`` becomes what a module, the parametrization, makes of the parameters that are
really trained. They are in ``module.parametrizations.weight``, under torch's names.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tapegrad import Tensor, no_grad
from tapegrad.errors import ShapeError

from ..containers import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "type_before_parametrizations",
]


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and its originals: what is trained in its place.

    The first is given ``original`` (or ``original0``, ``original1``, ... if its ``right_inverse``
    returns several tensors), each other one what the one before made.

    >>> import tapegrad as tg
    >>> P = tg.nn.utils.parametrizations
    >>> layer = P.weight_norm(tg.nn.Linear(2, 3))
    >>> layer.parametrizations.weight.original0.shape
    (3, 1)
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        new = self._inverse(original, strict=False)
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        before = original.clone()
        if self.is_tensor:
            # the same object, so that an optimizer that has it goes on with it
            _fits("right_inverse", new, original)
            _write(original, new)
            _register(self, "original", original)
        else:
            for i, value in enumerate(new):
                if isinstance(original, Parameter):
                    value = Parameter(value, original.requires_grad)
                _register(self, f"original{i}", value)
        if not unsafe:
            try:
                _refuse_other("the parametrization", self(), shape, dtype)
            except BaseException:
                _write(original, before)
                raise

    def _inverse(self, value: Tensor, strict: bool = True) -> Any:
        """What the originals must be to give a value."""
        with no_grad():
            for module in reversed(list(self)):
                inverse = getattr(module, "right_inverse", None)
                if inverse is not None:
                    value = inverse(value)
                elif strict:
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement "
                        "right_inverse, so the tensor cannot be set: write one, or set the "
                        "originals"
                    )
        if not isinstance(value, (Tensor, tuple, list)):
            raise ValueError(
                "'right_inverse' must return a tensor or a sequence of tensors, not "
                f"{type(value).__name__}"
            )
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the tensor becomes ``value``."""
        new = self._inverse(value)
        originals = self._originals()
        news = [new] if isinstance(new, Tensor) else list(new)
        if len(news) != len(originals):
            raise ValueError(
                f"'right_inverse' must return {len(originals)} tensors, not {len(news)}"
            )
        for original, made in zip(originals, news, strict=True):
            _fits("right_inverse", made, original)
        for original, made in zip(originals, news, strict=True):
            _write(original, made)

    def _originals(self) -> list[Tensor]:
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def forward(self) -> Tensor:
        """The tensor, computed from the originals."""
        first, *others = self
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value  # type: ignore[no-any-return]


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let ``module.<tensor_name>`` be what ``parametrization`` makes of it; returns the module.

    ``parametrization``: a module from a tensor to one of the same shape and dtype (if not
    ``unsafe``), maybe with ``right_inverse`` for setting the tensor (``module.weight = ...``) and
    for the initial originals: what it returns, a tensor or several, is trained. Without it the
    tensor itself is. Parametrizations can be stacked. Those of several tensors make new
    parameters: make the optimizer afterwards.

    Raises ValueError when there is no such parameter or buffer, or the result does not fit; the
    module is left alone then.

    >>> import tapegrad as tg
    >>> class Symmetric(tg.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = tg.nn.Linear(3, 3)
    >>> _ = tg.nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original']
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        known = module.parametrizations[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            made = parametrization(value)
            _refuse_other("the parametrization", made, value.shape, value.dtype)
            inverse = getattr(parametrization, "right_inverse", None)
            if inverse is not None:
                _refuse_other("right_inverse", inverse(made), value.shape, value.dtype)
        known.append(parametrization)
        known.unsafe |= unsafe
        return module
    original = module._parameters.get(tensor_name)
    if original is None:
        original = module._buffers.get(tensor_name)  # type: ignore[assignment]
    if original is None:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    made = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = made
    _set_class(module)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrizations, of any tensor or of the one named.

    >>> import tapegrad as tg
    >>> tg.nn.utils.parametrize.is_parametrized(tg.nn.Linear(2, 3))
    False
    """
    known = module._modules.get("parametrizations")
    if not isinstance(known, ModuleDict):
        return False
    return len(known) > 0 if tensor_name is None else tensor_name in known


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make ``module.<tensor_name>`` a parameter (or buffer) again; returns the module.

    Its value is what the parametrizations made of it, or, with ``leave_parametrized=False``, the
    original, if that is one tensor. A parametrization that trains as it runs (spectral norm) does
    so once more; call ``module.eval()`` first to avoid it.

    Raises ValueError when it is not parametrized, or several originals were to be left.

    >>> import tapegrad as tg
    >>> utils = tg.nn.utils
    >>> layer = utils.parametrizations.weight_norm(tg.nn.Linear(2, 3))
    >>> utils.parametrize.remove_parametrizations(layer, "weight")
    Linear(in_features=2, out_features=3, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    known = module.parametrizations[tensor_name]
    (original, *others) = known._originals()
    if others and not leave_parametrized:
        raise ValueError(
            f"remove_parametrizations: leave_parametrized=False, but {tensor_name} is made of "
            f"{known.ntensors} tensors: there is no original to go back to"
        )
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name)
        if known.is_tensor:
            _write(original, value)
        elif isinstance(original, Parameter):
            original = Parameter(value, original.requires_grad)
        else:
            original = value
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
    _set_class(module)
    _register(module, tensor_name, original)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module without parametrizations.

    >>> import tapegrad as tg
    >>> utils = tg.nn.utils
    >>> layer = utils.parametrizations.weight_norm(tg.nn.Linear(2, 3))
    >>> type(layer).__name__, utils.parametrize.type_before_parametrizations(layer).__name__
    ('ParametrizedLinear', 'Linear')
    """
    return type(module).__bases__[0] if _is_made(type(module)) else type(module)


def _register(module: Module, name: str, value: Tensor) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _write(original: Tensor, value: Tensor) -> None:
    with no_grad():
        original.copy_(value)


def _fits(what: str, value: Any, like: Tensor) -> None:
    _refuse_other(what, value, like.shape, like.dtype)


def _refuse_other(what: str, value: Any, shape: Any, dtype: Any) -> None:
    """Raise unless something is a tensor of this shape and dtype."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must return a tensor, not {type(value).__name__}")
    if value.shape != shape or value.dtype != dtype:
        raise ShapeError(
            f"{what} must give shape {shape} and dtype {dtype}, but gives {value.shape} and "
            f"{value.dtype}: a parametrization may not change them (unless unsafe=True)"
        )


# -- the class of a parametrized module: that of the module, with a property for each tensor ------
def _is_made(kind: type) -> bool:
    return "_parametrized" in vars(kind)


def _set_class(module: Module) -> None:
    """Give a module the class for the tensors that are parametrized now."""
    base = type_before_parametrizations(module)
    names = tuple(module.parametrizations) if is_parametrized(module) else ()
    module.__class__ = _class_of(base, names) if names else base  # type: ignore[assignment]


@functools.cache
def _class_of(base: type, names: tuple[str, ...]) -> type:
    """One class for all modules of a kind with the same tensors parametrized."""
    content: dict[str, Any] = {name: _property_of(name) for name in names}
    content |= {"_parametrized": names, "__reduce__": _reduced, "__module__": base.__module__}
    return type(f"Parametrized{base.__name__}", (base,), content)


def _property_of(name: str) -> property:
    def get(self: Any) -> Any:
        return self._modules["parametrizations"]._modules[name]()

    def put(self: Any, value: Any) -> None:
        self._modules["parametrizations"]._modules[name].right_inverse(value)

    return property(get, put)


def _reduced(self: Any) -> Any:
    """What copies and pickles are made from: the class is made again where they are read."""
    return _rebuilt, (type(self).__bases__[0], type(self)._parametrized), self.__dict__


def _rebuilt(base: type, names: tuple[str, ...]) -> Any:
    kind = _class_of(base, names)
    return object.__new__(kind)
