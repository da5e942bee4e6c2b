"""Module: a tree of layers that knows its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from tapegrad import Tensor, no_grad, tensor
from tapegrad.moving import drop_gradient

from . import state
from .hooks import Hook, Hooks, RemovableHandle, call_with_hooks
from .missing import MissingFromModule, names_in
from .parameter import Buffer, Parameter

__all__ = ["Module"]


class Module:
    """A layer or a model: holds parameters, buffers and other modules as attributes.

    Subclass it, set parameters and layers in ``__init__`` (after ``super().__init__()``), and
    write ``forward``; calling the module calls ``forward``, with the hooks before and after it.

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

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _hooks: Hooks | None = None  # until the first one comes, so that a call asks one thing only

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"], own["_buffers"], own["_modules"] = {}, {}, {}
        own["_non_persistent_buffers_set"] = set()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass writes its own."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        hooks = self._hooks
        if hooks is None or not hooks.in_call:
            return self.forward(*args, **kwargs)
        return call_with_hooks(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if "_parameters" in own:  # spelled out, since every use of a parameter comes by here
            if name in own["_parameters"]:
                return own["_parameters"][name]
            if name in own["_modules"]:
                return own["_modules"][name]
            if name in own["_buffers"]:
                return own["_buffers"][name]
        if hasattr(type(self), name):  # a property that failed: once more, so that it says how
            return object.__getattribute__(self, name)
        raise MissingFromModule(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        parameters = self.__dict__.get("_parameters")
        registered = isinstance(value, (Parameter, Module, Buffer))
        if parameters is None:
            if registered:
                raise AttributeError(
                    f"cannot assign {name!r} before Module.__init__() call: say super().__init__() "
                    f"first in {type(self).__name__}.__init__"
                )
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            if name not in parameters:
                self._forget(name)
            self.register_parameter(name, value)
        elif name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign {type(value).__name__!r} as parameter {name!r} "
                    f"(tg.nn.Parameter or None expected): {_instead(name, value)}"
                )
            parameters[name] = None
        elif isinstance(value, Module):
            if name not in self._modules:
                self._forget(name)
            self._modules[name] = value
        elif name in self._modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign {type(value).__name__!r} as child module {name!r} "
                    "(tg.nn.Module or None expected)"
                )
            self._modules[name] = None
        elif name in self._buffers or registered:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign {type(value).__name__!r} as buffer {name!r} "
                    "(a tensor or None expected)"
                )
            if isinstance(value, Buffer):
                self.__dict__.pop(name, None)
                self.register_buffer(name, value, value.persistent)
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if not self._forget(name, attributes=False):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = [*dir(type(self)), *self.__dict__, *names_in(self)]
        return sorted({name for name in names if not name[:1].isdigit()})

    def _forget(self, name: str, attributes: bool = True) -> bool:
        """Remove a name from wherever it is; whether it was anywhere."""
        found = False
        for held in (self._parameters, self._buffers, self._modules):
            if name in held:
                del held[name]  # type: ignore[attr-defined]
                found = True
        self._non_persistent_buffers_set.discard(name)
        if attributes:
            self.__dict__.pop(name, None)
        return found

    def _check_name(self, kind: str, name: Any, held: str) -> None:
        """Raise if something of a kind cannot be registered under a name."""
        if held not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name!r}')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in self.__dict__[held] and hasattr(self, name):
            raise KeyError(f"attribute {name!r} already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a parameter, or None (a place without one), under a name.

        Raises KeyError for a name that is taken, empty or has a dot in it, TypeError for what is
        no parameter, ValueError for a tensor that an operation made.

        >>> import tapegrad as tg
        >>> module = tg.nn.Module()
        >>> module.register_parameter("bias", None)
        >>> module.bias is None
        True
        """
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign {type(param).__name__!r} object to parameter {name!r} "
                    f"(tg.nn.Parameter or None required): {_instead(name, param)}"
                )
            if not param.is_leaf:
                raise ValueError(
                    f"cannot assign a tensor that is not a leaf to parameter {name!r}: compute "
                    "what depends on other tensors in forward()"
                )
            if param.name is None:
                param.name = name
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is part of the state but not trained, such as a running mean.

        ``persistent``: whether ``state_dict`` holds it. Raises as :meth:`register_parameter`.

        >>> import tapegrad as tg
        >>> module = tg.nn.Module()
        >>> module.register_buffer("mean", tg.zeros(2))
        >>> [name for name, _ in module.named_buffers()]
        ['mean']
        """
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign {type(tensor).__name__!r} object to buffer {name!r} (a tensor or "
                "None required): tg.tensor(...) makes one"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a child under a name; raises as :meth:`register_parameter`.

        >>> import tapegrad as tg
        >>> module = tg.nn.Module()
        >>> module.add_module("act", tg.nn.Tanh())
        >>> module.act
        Tanh()
        """
        if module is not None and not isinstance(module, Module):
            what = module.__name__ if isinstance(module, type) else type(module).__name__
            raise TypeError(f"{what} is not a Module subclass, at {name!r}{_made_of(module)}")
        self._check_name("module", name, "_modules")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Another name of :meth:`add_module`."""
        self.add_module(name, module)

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name below this one; ``""`` is this one.

        Raises AttributeError saying where the path ends, and what is there.

        >>> import tapegrad as tg
        >>> model = tg.nn.Sequential(tg.nn.Sequential(tg.nn.Tanh()))
        >>> model.get_submodule("0.0")
        Tanh()
        """
        module: Any = self
        for part in target.split(".") if target else ():
            above, module = module, getattr(module, part, None)
            if not isinstance(module, Module):
                if not hasattr(above, part):
                    raise MissingFromModule(above, part)
                raise AttributeError(f"{part!r} of {target!r} is not an nn.Module")
        return module  # type: ignore[no-any-return]

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module in the place of a dotted name.

        ``strict``: only where there is one already. Raises AttributeError when the path does not
        lead there, ValueError for an empty name or what is no module.

        >>> import tapegrad as tg
        >>> model = tg.nn.Sequential(tg.nn.Tanh())
        >>> model.set_submodule("0", tg.nn.ReLU())
        >>> model[0]
        ReLU()
        """
        if not target:
            raise ValueError("cannot set the submodule without a target name")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, but {type(module).__name__}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            parent.get_submodule(name)
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name; AttributeError if there is none.

        >>> import tapegrad as tg
        >>> tg.nn.Sequential(tg.nn.Linear(2, 3)).get_parameter("0.bias").shape
        (3,)
        """
        path, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"{name!r} of {target!r} is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name; AttributeError if there is none.

        >>> import tapegrad as tg
        >>> module = tg.nn.Module()
        >>> module.register_buffer("mean", tg.zeros(2))
        >>> module.get_buffer("mean")
        tensor([0., 0.])
        """
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = getattr(module, name)
        if name not in module._buffers:
            raise AttributeError(f"{name!r} of {target!r} is not a buffer")
        return found  # type: ignore[no-any-return]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct children with their names; a shared one once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct children; a shared one once."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The module and all below with dotted names; a shared one once, if not told otherwise.

        >>> import tapegrad as tg
        >>> model = tg.nn.Sequential(tg.nn.Tanh(), tg.nn.Sequential(tg.nn.ReLU()))
        >>> [name for name, _ in model.named_modules()]
        ['', '0', '1', '1.0']
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """The module and all below; a shared one once, if not told otherwise."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def _named_tensors(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, held in getattr(module, kind).items():
                if held is None or id(held) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(held))
                yield (f"{path}.{name}" if path else name), held

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with dotted names; a shared one once, if not told otherwise.

        ``prefix`` comes before the names; without ``recurse`` only this module's own.

        >>> import tapegrad as tg
        >>> [name for name, _ in tg.nn.Linear(2, 3).named_parameters("first")]
        ['first.weight', 'first.bias']
        """
        return self._named_tensors("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, as optimizers take them; a shared one once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with dotted names; see :meth:`named_parameters`."""
        return self._named_tensors("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers; a shared one once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` on every module, children before parents; returns self.

        >>> import tapegrad as tg
        >>> def fill(module):
        ...     if isinstance(module, tg.nn.Linear):
        ...         tg.nn.init.zeros_(module.bias)
        >>> model = tg.nn.Sequential(tg.nn.Linear(1, 2)).apply(fill)
        >>> model[0].bias.tolist()
        [0.0, 0.0]
        """
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode for this module and all below; returns self.

        Dropout and batch normalisation differ by it. Raises ValueError for what is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, not {mode!r}")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode for this module and all below; returns self."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze all parameters; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zero."""
        for p in self.parameters():
            drop_gradient(p, set_to_none)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Put ``fn(tensor)`` into every parameter, its gradient and every buffer."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is None:
                continue
            if not parameter.is_leaf:
                raise RuntimeError(
                    f"parameter {name!r} (shape {parameter.shape}) stands on the tape, because a "
                    "differentiable optimizer moves it: cast the module before its first step"
                )
            with no_grad():
                made = fn(parameter)
                if made is not parameter:
                    parameter.data = made
                if parameter.grad is not None:
                    parameter.grad.data = fn(parameter.grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Cast all floating parameters, their gradients and buffers; returns self.

        ``to(dtype)`` or ``to(tensor)``, of a floating dtype; a device is accepted if it is the
        CPU. Parameters stay the same objects, so that optimizers go on with them.

        Raises TypeError for a dtype that is not floating, RuntimeError for another device.

        >>> import tapegrad as tg
        >>> tg.nn.Linear(2, 1).to("float64").weight.dtype
        dtype('float64')
        """
        asked = tensor(0.0).to(*args, **kwargs).dtype
        if asked.kind != "f":
            raise TypeError(f"nn.Module.to only accepts floating point dtypes, but got {asked}")
        return self._apply(lambda t: t.to(*args, **kwargs) if t.is_floating_point() else t)

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers, integers too; returns self."""
        return self._apply(lambda t: t.to(dst_type))

    def float(self) -> Self:
        """Cast floating parameters and buffers to float32; returns self."""
        return self.to("float32")

    def double(self) -> Self:
        """Cast floating parameters and buffers to float64; returns self."""
        return self.to("float64")

    def half(self) -> Self:
        """Cast floating parameters and buffers to float16; returns self."""
        return self.to("float16")

    def cpu(self) -> Self:
        """The module itself: everything is on the CPU."""
        return self

    def state_dict(
        self,
        *,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name, as copies off the tape.

        What the copies hold stays when training goes on (torch's are views of the parameters).
        ``keep_vars``: the parameters and buffers themselves. ``prefix`` comes before the names.
        ``destination``: a dict to put them into. See :func:`tapegrad.save`.

        >>> import tapegrad as tg
        >>> list(tg.nn.Linear(2, 3).state_dict(prefix="head."))
        ['head.weight', 'head.bias']
        """
        destination = {} if destination is None else destination
        for hook in self._hooks_of("state_dict_pre"):
            hook(self, prefix, keep_vars)
        state.save_own(self, destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in self._hooks_of("state_dict"):
            if hook(self, destination, prefix, {}) is not None:
                raise RuntimeError("a hook after state_dict() must return None")
        return destination

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values in by name; nothing is changed when something does not fit.

        ``state_dict``: tensors or arrays by name, cast to the dtypes of the module. ``strict``:
        its names must be those of :meth:`state_dict`. ``assign``: new parameters and buffers
        with the dtypes given take the place of the old (make the optimizer afterwards).

        Returns a named tuple of ``missing_keys`` and ``unexpected_keys``. Raises RuntimeError
        naming all missing and unexpected keys (if ``strict``) and all shapes that differ.

        >>> import tapegrad as tg
        >>> layer = tg.nn.Linear(2, 1)
        >>> layer.load_state_dict({"bias": tg.ones(1)}, strict=False)
        IncompatibleKeys(missing_keys=['weight'], unexpected_keys=[])
        >>> layer.bias.tolist()
        [1.0]
        """
        return state.load(self, state_dict, strict, assign)

    def get_extra_state(self) -> Any:
        """What else belongs to the state; a subclass may write its own, and the reverse."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: write get_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Take what :meth:`get_extra_state` gave; a subclass may write its own."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: write set_extra_state()")

    def _hooks_of(self, kind: str) -> list[Callable[..., Any]]:
        return [] if self._hooks is None else self._hooks.of(kind)

    def _add_hook(self, kind: str, hook: Hook, prepend: bool = False) -> RemovableHandle:
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks.add(kind, hook, prepend)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; a result replaces the arguments.

        ``with_kwargs``: ``hook(module, args, kwargs)``, and a result is ``(args, kwargs)``.
        ``prepend``: before the other hooks.

        >>> import tapegrad as tg
        >>> layer = tg.nn.Identity()
        >>> _ = layer.register_forward_pre_hook(lambda module, args: args[0] + 1)
        >>> layer(tg.tensor(1.0))
        tensor(2.)
        """
        return self._add_hook("forward_pre", Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; a result replaces the output.

        ``with_kwargs``: ``hook(module, args, kwargs, output)``. ``prepend``: before the other
        hooks. ``always_call``: also when forward raises (the output is None then).

        >>> import tapegrad as tg
        >>> layer = tg.nn.Identity()
        >>> handle = layer.register_forward_hook(lambda module, args, output: output * 2)
        >>> layer(tg.tensor(1.0))
        tensor(2.)
        >>> handle.remove()
        """
        return self._add_hook("forward", Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` when gradients come to the outputs.

        ``grad_output`` is a tuple; a result, of the same length, replaces it.

        >>> import tapegrad as tg
        >>> layer, x = tg.nn.Identity(), tg.tensor(1.0, requires_grad=True)
        >>> _ = layer.register_full_backward_pre_hook(lambda module, grads: (grads[0] * 5,))
        >>> layer(x).backward()
        >>> x.grad
        tensor(5.)
        """
        return self._add_hook("backward_pre", Hook(hook), prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when gradients come to the inputs.

        Both are tuples, with None for what is no tensor on the tape; keyword arguments are not
        among the inputs. A result replaces ``grad_input``. When no input requires a gradient, the
        hook is called when gradients come to the outputs.

        >>> import tapegrad as tg
        >>> layer, x = tg.nn.Identity(), tg.tensor(1.0, requires_grad=True)
        >>> show = lambda module, inputs, outputs: print(inputs, outputs)
        >>> _ = layer.register_full_backward_hook(show)
        >>> layer(x).backward()
        (tensor(1.),) (tensor(1.),)
        """
        return self._add_hook("backward", Hook(hook), prepend)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before the module's state is taken."""
        return self._add_hook("state_dict_pre", Hook(hook))

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, {})`` after it; it may change the dict."""
        return self._add_hook("state_dict", Hook(hook))

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call a hook before the module looks for its values in a state.

        ``hook(module, state_dict, prefix, {}, strict, missing_keys, unexpected_keys,
        error_msgs)`` may change the dict, for example rename its keys.
        """
        return self._add_hook("load_pre", Hook(hook))

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` once values are loaded.

        It may change the two lists of keys: what it takes away is no error.
        """
        return self._add_hook("load_post", Hook(hook))

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """The settings shown in the repr, in one line or several."""
        return ""

    def __repr__(self) -> str:
        return self._tree([f"({name}): {module!r}" for name, module in self._modules.items()])

    def _tree(self, children: list[str]) -> str:
        """The settings and the children, one to a line and indented."""
        extra = self.extra_repr()
        lines = [
            *(extra.split("\n") if extra else ()),
            *(c.replace("\n", "\n  ") for c in children),
        ]
        if not lines or (len(lines) == 1 and not children):
            return f"{self._get_name()}({extra})"
        return "\n  ".join([f"{self._get_name()}(", *lines]) + "\n)"


def _made_of(value: Any) -> str:
    """How to make a module of what is none."""
    if isinstance(value, type):
        return ": a class; make one with its settings"
    if isinstance(value, (list, tuple)):
        return ": unpack it, Sequential(*modules)"
    if callable(value):
        return ": a layer does what a function does, such as nn.ReLU() for relu"
    return ""


def _instead(name: str, value: Any) -> str:
    """What to do with a value that is no parameter."""
    if isinstance(value, Tensor):
        return (
            f"tg.nn.Parameter(...) makes one; to write values into it say "
            f"`with tg.no_grad(): module.{name}.copy_(...)`; to keep it on the tape call the "
            "module with tg.func.functional_call"
        )
    return "tg.nn.Parameter(...) makes one"
