"""What every loss shares: the reduction, the checks of its operands, and the class form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad import Tensor, as_tensor

__all__ = ["Loss", "reduce"]

REDUCTIONS = ("mean", "sum", "none")


def reduce(values: Tensor, reduction: str, weight: Any = None, total: Any = None) -> Tensor:
    """Weighted elementwise losses brought to ``reduction``.

    ``"mean"`` divides the weighted sum by the number of elements, as torch's weighted losses do
    (or by ``total`` where a loss is a weighted mean, as cross-entropy with class weights is);
    ``"sum"`` adds up; ``"none"`` returns one loss per element.

    >>> import tapegrad as tg
    >>> tg.losses.reduce(tg.tensor([1.0, 2.0, 6.0]), "mean")
    tensor(3.)
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, not {reduction!r}")
    if weight is not None:
        values = values * weight
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    return values.mean() if total is None else values.sum() / total


def tensors(input: Any, target: Any, what: str) -> tuple[Tensor, Tensor]:
    """Both operands as Tensors: arrays are taken, lists are refused with a word on what to do."""
    for name, value in (("input", input), ("target", target)):
        if not hasattr(value, "shape"):
            raise TypeError(
                f"{what}: {name} must be a tensor or an array, not {type(value).__name__}: "
                "make it a tensor first, tg.tensor(...)"
            )
    return as_tensor(input), as_tensor(target)


def same_shape(input: Tensor, target: Tensor, what: str) -> None:
    """Refuse operands whose shapes differ: (N,) against (N, 1) would broadcast to (N, N)."""
    if input.shape != target.shape:
        hint = ""
        if tuple(n for n in input.shape if n != 1) == tuple(n for n in target.shape if n != 1):
            hint = f" Use target.reshape{input.shape} to line them up."
        raise ValueError(
            f"{what}: input has shape {input.shape} but target has shape {target.shape}; "
            f"a silent broadcast would compare every pair.{hint}"
        )
    not_empty(input, what)


def not_empty(input: Tensor, what: str) -> None:
    """Refuse an empty batch: its mean is 0/0."""
    if 0 in input.shape:
        raise ValueError(f"{what}: the batch is empty (shape {input.shape})")


def is_number_zero(setting: Any) -> bool:
    """Whether a setting is the plain number 0, so that its term can be left out. A Tensor is not:
    its gradient at 0 is wanted."""
    return type(setting) in (int, float) and setting == 0


class Loss:
    """A loss function with its settings: call it on ``(input, target)``.

    >>> import tapegrad as tg
    >>> class Absolute(tg.losses.Loss):
    ...     function = staticmethod(lambda input, target, **settings: (input - target).abs().mean())
    >>> Absolute()(tg.tensor([1.0, 2.0]), tg.tensor([0.0, 0.0]))
    tensor(1.5000)
    """

    function: Callable[..., Tensor]

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        reduction = settings.get("reduction", "mean")
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {REDUCTIONS}, not {reduction!r}")

    def __call__(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return type(self).function(input, target, **self.settings)

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v!r}" for k, v in self.settings.items() if v is not None)
        return f"{type(self).__name__}({shown})"
