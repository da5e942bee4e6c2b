"""Losses of regression."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, abs, clip

from .reducing import Loss, reduce, same_shape, tensors

__all__ = [
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
]


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Any = None) -> Tensor:
    """Mean squared error: mean of (input - target)².

    ``input``, ``target``: the same shape; ``weight``: of that shape, or broadcasting to it.
    ValueError when the shapes differ or the batch is empty.

    >>> import tapegrad as tg
    >>> tg.losses.mse_loss(tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0]))
    tensor(5.)

    Source: Legendre (1805), least squares.
    """
    input, target = tensors(input, target, "mse_loss")
    same_shape(input, target, "mse_loss")
    error = input - target
    return reduce(error * error, reduction, weight)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Any = None) -> Tensor:
    """Mean absolute error: mean of |input - target|; its derivative at 0 is 0.

    ``input``, ``target``: the same shape. ValueError when the shapes differ.

    >>> import tapegrad as tg
    >>> tg.losses.l1_loss(tg.tensor([1.0, -3.0]), tg.tensor([0.0, 0.0]))
    tensor(2.)

    Source: Boscovich (1757), least absolute deviations.
    """
    input, target = tensors(input, target, "l1_loss")
    same_shape(input, target, "l1_loss")
    return reduce(abs(input - target), reduction, weight)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: Any = 1.0, weight: Any = None
) -> Tensor:
    """Huber loss: e²/2 where |e| ≤ delta, delta·(|e| - delta/2) beyond, e = input - target.

    ``input``, ``target``: the same shape; ``delta``: positive, may be a Tensor and has a
    gradient. ValueError when the shapes differ.

    >>> import tapegrad as tg
    >>> tg.losses.huber_loss(tg.tensor([0.5, 3.0]), tg.tensor([0.0, 0.0]), reduction="none")
    tensor([0.1250, 2.5000])

    Source: Huber (1964), Robust estimation of a location parameter.
    """
    input, target = tensors(input, target, "huber_loss")
    same_shape(input, target, "huber_loss")
    error = input - target
    near = clip(error, -delta, delta)
    return reduce(near * (error - 0.5 * near), reduction, weight)


class MSELoss(Loss):
    """:func:`mse_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.MSELoss(reduction="sum")(tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0]))
    tensor(10.)
    """

    function = staticmethod(mse_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class L1Loss(Loss):
    """:func:`l1_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.L1Loss()(tg.tensor([1.0, -3.0]), tg.tensor([0.0, 0.0]))
    tensor(2.)
    """

    function = staticmethod(l1_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class HuberLoss(Loss):
    """:func:`huber_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.HuberLoss(delta=2.0)(tg.tensor([4.0]), tg.tensor([0.0]))
    tensor(6.)
    """

    function = staticmethod(huber_loss)

    def __init__(self, reduction: str = "mean", delta: Any = 1.0) -> None:
        super().__init__(reduction=reduction, delta=delta)
