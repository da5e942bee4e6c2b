"""Functions that see, and may replace, the gradients at a module's outputs and inputs.

Every watched tensor passes through two copies on the tape: all outer ones are made before all
inner ones. A backward pass visits records in the reverse order, so that when it comes to the first
outer copy, the gradients have arrived at all inner ones: there the functions are called once, with
all gradients, and each outer copy passes on what they leave.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tapegrad import Tensor, is_grad_enabled, zeros_like

Gradients = tuple[Any, ...]


class BackwardHooks:
    """The backward hooks of one call of a module."""

    def __init__(
        self,
        module: Any,
        before: Sequence[Callable[..., Any]],
        after: Sequence[Callable[..., Any]],
    ) -> None:
        self.module, self.before, self.after = module, before, after
        self.grad_output: Gradients | None = None
        self.inputs: int | None = None  # how many, when no input requires a gradient

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments; when gradients come to them, the hooks are called."""
        if not _any_recorded(args):
            self.inputs = len(args)
            return args
        return _watched(args, self._at_inputs, zeros_like)

    def watch_outputs(self, result: Any) -> Any:
        """The result; when gradients come to it, the hooks before are called."""
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(
                f"the backward hooks of {type(self.module).__name__} are not called: its output "
                f"must be a tensor or a tuple of tensors, not {type(result).__name__}",
                stacklevel=4,
            )
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        if not _any_recorded(outputs):
            return result
        watched = _watched(outputs, self._at_outputs, lambda output: None)
        if not isinstance(result, tuple):
            return watched[0]
        return type(result)(*watched) if hasattr(result, "_fields") else watched

    def _at_outputs(self, grads: Gradients) -> Gradients:
        for hook in self.before:
            grads = _replaced("backward pre-hook", hook(self.module, grads), grads)
        self.grad_output = grads
        if self.inputs is not None:
            self.grad_output = None
            for hook in self.after:
                found = hook(self.module, (None,) * self.inputs, grads)
                if found is not None and any(g is not None for g in found):
                    raise RuntimeError(
                        f"a backward hook of {type(self.module).__name__} returned gradients, but "
                        "no input of the call requires one: return None"
                    )
        return grads

    def _at_inputs(self, grads: Gradients) -> Gradients:
        if self.grad_output is None:  # the pass did not come through the outputs
            return grads
        for hook in self.after:
            found = hook(self.module, grads, self.grad_output)
            grads = _replaced("backward hook", found, grads)
        self.grad_output = None
        return grads


def _replaced(kind: str, found: Any, grads: Gradients) -> Gradients:
    if found is None:
        return grads
    if isinstance(found, Tensor):
        found = (found,)
    if len(found) != len(grads):
        raise RuntimeError(f"a {kind} returned {len(found)} gradients where {len(grads)} are due")
    return tuple(found)


def _any_recorded(values: Sequence[Any]) -> bool:
    return is_grad_enabled() and any(isinstance(v, Tensor) and v.requires_grad for v in values)


def _watched(
    values: tuple[Any, ...],
    call: Callable[[Gradients], Gradients],
    otherwise: Callable[[Tensor], Any],
) -> tuple[Any, ...]:
    """Copies of the tensors that require a gradient; ``call`` may replace their gradients.

    ``otherwise``: what stands for the gradient of a tensor that none came to.
    """
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    outer = {i: values[i].clone() for i in places}
    inner = {i: outer[i].clone() for i in places}
    arrived: dict[int, Any] = {}
    left: dict[int, Any] = {}

    def arrive(place: int, grad: Any) -> None:
        left.clear()  # what an earlier pass did not take
        arrived[place] = grad

    def leave(place: int, grad: Any) -> Any:
        if not left:
            grads: list[Any] = [None] * len(values)
            for i in places:
                grads[i] = arrived[i] if i in arrived else otherwise(values[i])
            arrived.clear()
            left.update(enumerate(call(tuple(grads))))
        return left.pop(place)

    for i in places:
        inner[i].register_hook(lambda grad, place=i: arrive(place, grad))
        outer[i].register_hook(lambda grad, place=i: leave(place, grad))
    return tuple(inner.get(i, v) for i, v in enumerate(values))
