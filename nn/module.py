"""Module and Parameter: a tree of layers that knows its parameters."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tapegrad import Tensor, no_grad

__all__ = ["Module", "Parameter", "Sequential"]


class Parameter(Tensor):
    """A tensor that a :class:`Module` registers when it is set as an attribute.

    ``data``: what :func:`tapegrad.tensor` takes. It requires a gradient unless told otherwise.

    >>> import tapegrad as tg
    >>> tg.nn.Parameter(tg.zeros(2)).requires_grad
    True
    """

    def __new__(cls, data: Any = (), requires_grad: bool = True) -> Any:
        dtype = data.dtype if hasattr(data, "dtype") else None
        return super().__new__(cls, data, dtype, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Module:
    """A layer or a model: holds parameters, buffers and other modules as attributes.

    Subclass it, set parameters and layers in ``__init__`` (after ``super().__init__()``), and
    write ``forward``; calling the module calls ``forward``.

    >>> import tapegrad as tg
    >>> class Scale(tg.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = tg.nn.Parameter(tg.tensor(2.0))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> scale = Scale()
    >>> scale(tg.tensor(3.0)).item()
    6.0
    >>> [name for name, _ in scale.named_parameters()]
    ['factor']
    """

    _parameters: dict[str, Tensor | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    training: bool

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "training", True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass writes its own."""
        raise TypeError(f"{type(self).__name__} has no forward(): write one")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # -- attributes ---------------------------------------------------------------------------
    def __setattr__(self, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                f"call super().__init__() in {type(self).__name__}.__init__ before setting {name!r}"
            )
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name)
            self._modules[name] = value
        elif name in self._parameters:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"{name!r} is a parameter: set a Parameter or None, not {type(value).__name__}"
                )
            self._parameters[name] = value
        elif name in self._buffers:
            self._buffers[name] = value
        elif name in self._modules and value is None:
            self._modules[name] = None
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in own.get(kind, ()):
                return own[kind][name]
        known = [*own.get("_parameters", ()), *own.get("_buffers", ()), *own.get("_modules", ())]
        near = difflib.get_close_matches(name, [*known, *dir(type(self))], n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else f"; it has {', '.join(known)}"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def _forget(self, name: str) -> bool:
        """Remove a registered name from wherever it is."""
        found = False
        for kind in (self._parameters, self._buffers, self._modules, self.__dict__):
            if name in kind:
                del kind[name]  # type: ignore[attr-defined]
                found = True
        return found

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register a parameter (or None, a place without one) under a name."""
        self._forget(name)
        self._parameters[name] = parameter
        if parameter is not None and parameter.name is None:
            parameter.name = name

    def register_buffer(self, name: str, tensor: Tensor | None) -> None:
        """Register a tensor that is part of the state but not trained."""
        self._forget(name)
        self._buffers[name] = tensor

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a child under a name."""
        self._forget(name)
        self._modules[name] = module

    # -- walking the tree -----------------------------------------------------------------------
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct children with their names."""
        for name, module in self._modules.items():
            if module is not None:
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct children."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Self and all modules below, with dotted names; a shared one once."""
        stack, seen = [(prefix, self)], set()
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack += [
                (f"{path}.{name}" if path else name, child)
                for name, child in reversed(list(module.named_children()))
            ]

    def modules(self) -> Iterator[Module]:
        """Self and all modules below."""
        for _, module in self.named_modules():
            yield module

    def _named_tensors(self, kind: str) -> Iterator[tuple[str, Tensor]]:
        seen = set()
        for path, module in self.named_modules():
            for name, tensor in getattr(module, kind).items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters with dotted names; a shared one once."""
        return self._named_tensors("_parameters")

    def parameters(self) -> Iterator[Tensor]:
        """All parameters; a shared one once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """All buffers with dotted names."""
        return self._named_tensors("_buffers")

    def buffers(self) -> Iterator[Tensor]:
        """All buffers."""
        for _, buffer in self.named_buffers():
            yield buffer

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call ``function`` on every module, children first; returns self."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    # -- state ----------------------------------------------------------------------------------
    def train(self, mode: bool = True) -> Module:
        """Set training mode for the whole tree; returns self."""
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self) -> Module:
        """Set evaluation mode for the whole tree; returns self."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad * 0.0

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze or unfreeze all parameters; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by dotted name, detached copies.

        >>> import tapegrad as tg
        >>> sorted(tg.nn.Linear(2, 3).state_dict())
        ['bias', 'weight']
        """
        return {
            name: tensor.detach().clone()
            for kind in ("_parameters", "_buffers")
            for name, tensor in self._named_tensors(kind)
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values in by name; nothing is changed when something does not fit.

        RuntimeError naming missing and unexpected keys (unless ``strict=False``) and shapes that
        differ.
        """
        own = dict(self._named_tensors("_parameters")) | dict(self._named_tensors("_buffers"))
        missing = sorted(set(own) - set(state))
        unexpected = sorted(set(state) - set(own))
        wrong = [
            f"{name}: {tuple(state[name].shape)} given, {own[name].shape} expected"
            for name in own
            if name in state and tuple(state[name].shape) != own[name].shape
        ]
        if wrong or (strict and (missing or unexpected)):
            raise RuntimeError(
                f"load_state_dict into {type(self).__name__}: missing {missing}, "
                f"unexpected {unexpected}, of another shape {wrong}"
            )
        with no_grad():
            for name, tensor in own.items():
                if name in state:
                    tensor.copy_(state[name])

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [
            f"  ({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self.named_children()
        ]
        if not lines:
            return f"{type(self).__name__}({extra})"
        head = [f"  {extra}"] if extra else []
        return "\n".join([f"{type(self).__name__}(", *head, *lines, ")"])

    def extra_repr(self) -> str:
        """The settings shown in the repr."""
        return ""


class Sequential(Module):
    """Modules applied one after the other.

    >>> import tapegrad as tg
    >>> model = tg.nn.Sequential(tg.nn.Linear(4, 2), tg.nn.ReLU())
    >>> model
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
    )
    >>> len(model), model[0].weight.shape
    (2, (2, 4))
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = list(modules[0].items())
        else:
            named = [(str(i), m) for i, m in enumerate(modules)]
        for name, module in named:
            if not isinstance(module, Module):
                raise TypeError(f"Sequential takes modules, not {type(module).__name__} at {name}")
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """The input passed through every module in order."""
        for module in self.children():
            input = module(input)
        return input

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: Any) -> Any:
        modules = list(self.children())
        return Sequential(*modules[index]) if isinstance(index, slice) else modules[index]
