"""Losses of relative errors."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, abs, clamp_min, log1p, square

from .base import Loss
from .checks import matching, positive
from .kinds import POSITIVE, REAL
from .reducing import reduce
from .table import Row

__all__ = ["MAPELoss", "MSLELoss", "mape_loss", "msle_loss"]


def msle_loss(
    input: Tensor,
    target: Tensor,
    eps: Any = 1e-7,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Mean squared logarithmic error: mean of (ln(1 + input) - ln(1 + target))².

    ``input``, ``target``: the same shape, amounts of at least 0; what is below ``eps`` counts as
    ``eps``, as in Keras, and has no gradient. ``weight``: factors, broadcasting; ``reduction``:
    "mean", "sum", "none" or "batchmean", over the elements (Keras's MeanSquaredLogarithmicError
    first averages over the last dimension, which gives the same mean).

    Raises ValueError when the shapes differ, the batch is empty or eps is not positive.

    >>> import tapegrad as tg
    >>> loss = tg.losses.msle_loss(tg.tensor([tg.e - 1.0, -5.0]), tg.tensor([0.0, 0.0]))
    >>> round(loss.item(), 5)
    0.5

    Source: Kaggle's competitions and scikit-learn's mean_squared_log_error; formula as in Keras's
    MeanSquaredLogarithmicError.
    """
    input, target = matching("msle_loss", input=input, target=target)
    positive("msle_loss", "eps", eps, input.shape)
    error = log1p(clamp_min(input, eps)) - log1p(clamp_min(target, eps))
    return reduce(square(error), reduction, weight)


def mape_loss(
    input: Tensor,
    target: Tensor,
    eps: Any = 1e-7,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Mean absolute percentage error: mean of 100·|target - input| / max(|target|, eps).

    ``input``, ``target``: the same shape; ``eps``: what a target nearer to 0 is taken for, as in
    Keras; ``weight``, ``reduction`` and errors as in :func:`msle_loss`. In percent; the derivative
    at error 0 is 0.

    >>> import tapegrad as tg
    >>> tg.losses.mape_loss(tg.tensor([110.0, 45.0]), tg.tensor([100.0, 50.0]))
    tensor(10.)

    Source: Makridakis (1993), Accuracy measures: theoretical and practical concerns.
    """
    input, target = matching("mape_loss", input=input, target=target)
    positive("mape_loss", "eps", eps, input.shape)
    relative = (target - input) / clamp_min(abs(target), eps)
    return reduce(100.0 * abs(relative), reduction, weight)


class MSLELoss(Loss):
    """:func:`msle_loss` with its settings; Keras's MeanSquaredLogarithmicError.

    >>> import tapegrad as tg
    >>> tg.losses.MSLELoss(reduction="sum")(tg.tensor([0.0, 3.0]), tg.tensor([0.0, 3.0]))
    tensor(0.)
    """

    function = staticmethod(msle_loss)


class MAPELoss(Loss):
    """:func:`mape_loss` with its settings; Keras's MeanAbsolutePercentageError.

    >>> import tapegrad as tg
    >>> tg.losses.MAPELoss()(tg.tensor([9.0]), tg.tensor([10.0]))
    tensor(10.)
    """

    function = staticmethod(mape_loss)


ROWS = (
    Row(
        msle_loss,
        (POSITIVE, POSITIVE),
        MSLELoss,
        fixed=("eps",),
        peer="keras:MeanSquaredLogarithmicError",
    ),
    Row(
        msle_loss,
        (REAL, POSITIVE),
        settings=({"weight": POSITIVE},),
        fixed=("eps",),
        case="with negative inputs",
    ),
    Row(
        mape_loss,
        (REAL, REAL),
        MAPELoss,
        fixed=("eps",),
        peer="keras:MeanAbsolutePercentageError",
    ),
    Row(
        mape_loss,
        (REAL, POSITIVE),
        settings=({"weight": POSITIVE, "eps": 0.5},),
        fixed=("eps",),
        case="eps above some targets",
    ),
)
