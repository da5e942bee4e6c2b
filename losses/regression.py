"""Losses of regression."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, abs, broadcast_to, clip

from .base import Loss
from .checks import matching, positive
from .kinds import POSITIVE, REAL
from .reducing import reduce
from .table import Row

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

    ``input``, ``target``: the same shape; ``weight``: of that shape, or broadcasting to it; the
    mean is then divided by the sum of the weights, as torch's. ``reduction``: "mean", "sum",
    "none" or "batchmean".

    Raises ValueError when the shapes differ or the batch is empty, TypeError for a list or
    integers.

    >>> import tapegrad as tg
    >>> tg.losses.mse_loss(tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0]))
    tensor(5.)

    Source: Legendre (1805), least squares.
    """
    input, target = matching("mse_loss", input=input, target=target)
    error = input - target
    return reduce(error * error, reduction, weight, total=_sum_of(weight, input))


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Any = None) -> Tensor:
    """Mean absolute error: mean of |input - target|; its derivative at 0 is 0.

    ``input``, ``target``, ``weight``, ``reduction`` and errors as in :func:`mse_loss`.

    >>> import tapegrad as tg
    >>> tg.losses.l1_loss(tg.tensor([1.0, -3.0]), tg.tensor([0.0, 0.0]))
    tensor(2.)

    Source: Boscovich (1757), least absolute deviations.
    """
    input, target = matching("l1_loss", input=input, target=target)
    return reduce(abs(input - target), reduction, weight, total=_sum_of(weight, input))


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: Any = 1.0, weight: Any = None
) -> Tensor:
    """Huber loss: e²/2 where |e| ≤ delta, delta·(|e| - delta/2) beyond, e = input - target.

    ``input``, ``target``: the same shape; ``delta``: positive, may be a Tensor and has a
    gradient; ``weight``: factors, broadcasting; the mean is over the elements, as torch's.

    Raises ValueError when the shapes differ, the batch is empty or delta is not positive.

    >>> import tapegrad as tg
    >>> tg.losses.huber_loss(tg.tensor([0.5, 3.0]), tg.tensor([0.0, 0.0]), reduction="none")
    tensor([0.1250, 2.5000])

    Source: Huber (1964), Robust estimation of a location parameter.
    """
    input, target = matching("huber_loss", input=input, target=target)
    positive("huber_loss", "delta", delta)
    error = input - target
    near = clip(error, -delta, delta)
    return reduce(near * (error - 0.5 * near), reduction, weight)


def _sum_of(weight: Any, input: Tensor) -> Tensor | None:
    """What torch's weighted means divide by here: the sum of the weights."""
    return None if weight is None else broadcast_to(weight, input.shape).sum()


class MSELoss(Loss):
    """:func:`mse_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.MSELoss(reduction="sum")(tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0]))
    tensor(10.)
    """

    function = staticmethod(mse_loss)


class L1Loss(Loss):
    """:func:`l1_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.L1Loss()(tg.tensor([1.0, -3.0]), tg.tensor([0.0, 0.0]))
    tensor(2.)
    """

    function = staticmethod(l1_loss)


class HuberLoss(Loss):
    """:func:`huber_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.HuberLoss(delta=2.0)(tg.tensor([4.0]), tg.tensor([0.0]))
    tensor(6.)
    """

    function = staticmethod(huber_loss)


ROWS = (
    Row(
        mse_loss,
        (REAL, REAL),
        MSELoss,
        names=("mse", "mean_squared_error", "l2"),
        settings=({"weight": POSITIVE},),
        peer="torch",
    ),
    Row(
        l1_loss,
        (REAL, REAL),
        L1Loss,
        names=("mae", "mean_absolute_error", "l1"),
        settings=({"weight": POSITIVE},),
        peer="torch",
    ),
    Row(
        huber_loss,
        (REAL, REAL),
        HuberLoss,
        names=("huber",),
        settings=({"delta": 0.3}, {"weight": POSITIVE}),
        peer="torch",
    ),
)
