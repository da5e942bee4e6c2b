"""Functions that a module calls around its forward and backward pass, and around its state."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from .backward_hooks import BackwardHooks

__all__ = ["RemovableHandle"]


class Hook(NamedTuple):
    """A function and how it is to be called."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


class Hooks:
    """The hooks of one module by kind, each in the order in which they are called."""

    KINDS = (
        *("forward_pre", "forward", "backward_pre", "backward"),
        *("state_dict_pre", "state_dict", "load_pre", "load_post"),
    )

    def __init__(self) -> None:
        self.kinds: dict[str, dict[int, Hook]] = {kind: {} for kind in self.KINDS}
        self.added = 0
        self.in_call = False  # whether any concerns the call of the module

    def add(self, kind: str, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """A hook as the last of its kind, or the first."""
        if not callable(hook.function):
            raise TypeError(f"a hook is a function, not {type(hook.function).__name__}")
        self.added = key = self.added + 1
        hooks = self.kinds[kind]
        self._set(kind, {key: hook, **hooks} if prepend else {**hooks, key: hook})
        return RemovableHandle(self, kind, key)

    def remove(self, kind: str, key: int) -> None:
        """Take a hook away if it is there."""
        self._set(kind, {k: hook for k, hook in self.kinds[kind].items() if k != key})

    def _set(self, kind: str, hooks: dict[int, Hook]) -> None:
        self.kinds[kind] = (
            hooks  # a new dict: a call that goes through the old one is not disturbed
        )
        self.in_call = any(self.kinds[k] for k in self.KINDS[:4])

    def of(self, kind: str) -> list[Callable[..., Any]]:
        """The functions of a kind."""
        return [hook.function for hook in self.kinds[kind].values()]


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away, once or again.

    As a context manager it takes the hook away at the end of the block.

    >>> import tapegrad as tg
    >>> layer = tg.nn.Tanh()
    >>> with layer.register_forward_hook(lambda module, args, output: print(output.shape)):
    ...     _ = layer(tg.zeros(2))
    (2,)
    >>> _ = layer(tg.zeros(2))
    """

    def __init__(self, hooks: Hooks, kind: str, key: int) -> None:
        self._hooks, self._kind, self._key = weakref.ref(hooks), kind, key

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.remove(self._kind, self._key)

    # a module that keeps handles of its hooks can be copied and pickled with them
    def __getstate__(self) -> Any:
        return self._hooks(), self._kind, self._key

    def __setstate__(self, state: Any) -> None:
        hooks, self._kind, self._key = state
        self._hooks = weakref.ref(Hooks() if hooks is None else hooks)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)`` with the hooks before and after it."""
    hooks: Hooks = module._hooks
    after = hooks.kinds["forward"]
    called: set[int] = set()
    result = None
    try:
        for hook in hooks.kinds["forward_pre"].values():
            args, kwargs = _before(hook, module, args, kwargs)
        seen = None
        if hooks.kinds["backward"] or hooks.kinds["backward_pre"]:
            seen = BackwardHooks(module, hooks.of("backward_pre"), hooks.of("backward"))
            args = seen.watch_inputs(args)
        result = module.forward(*args, **kwargs)
        for key, hook in after.items():
            called.add(key)
            result = _after(hook, module, args, kwargs, result)
        return result if seen is None else seen.watch_outputs(result)
    except Exception:
        for key, hook in after.items():
            if hook.always_call and key not in called:
                try:
                    result = _after(hook, module, args, kwargs, result)
                except Exception as error:
                    warnings.warn(
                        "a forward hook with always_call=True raised an error, which is not "
                        f"raised because forward() raised one before: {error}",
                        stacklevel=3,
                    )
        raise


def _before(
    hook: Hook, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as a hook leaves them."""
    if not hook.with_kwargs:
        found = hook.function(module, args)
        if found is None:
            return args, kwargs
        return (found if isinstance(found, tuple) else (found,)), kwargs
    found = hook.function(module, args, kwargs)
    if found is None:
        return args, kwargs
    if not isinstance(found, tuple) or len(found) != 2:
        raise RuntimeError(
            "a forward pre-hook with kwargs must return None or a tuple (args, kwargs), not "
            f"{found!r}"
        )
    return found


def _after(
    hook: Hook, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    """The result as a hook leaves it."""
    given = (args, kwargs, result) if hook.with_kwargs else (args, result)
    found = hook.function(module, *given)
    return result if found is None else found
