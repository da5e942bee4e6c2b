"""Keras's losses of errors and margins: an elementwise loss, averaged over the last dimension.

What differs from the elementwise loss of a similar name is the reduction: each row is one sample
with one loss, which ``reduction="none"`` and ``"sum"`` show; the mean over all is the same. Called
as ``(input, target)`` like every loss here, where Keras says ``(y_true, y_pred)``.
"""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, amax, arange, check, randint, relu, square, where

from .base import Loss
from .checks import first_bad, matching, rows_add_up, same_shape
from .kinds import BINARY, DISTRIBUTION, LOGITS, POSITIVE, REAL, SIGN, Kind
from .reducing import reduce
from .regression import log_cosh_loss
from .relative import mape_loss, msle_loss
from .table import Row

__all__ = [
    "CategoricalHinge",
    "Hinge",
    "LogCosh",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "SquaredHinge",
    "categorical_hinge",
    "hinge",
    "log_cosh",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "squared_hinge",
]


def reduce_samples(
    what: str, values: Tensor, reduction: str, weight: Any = None, total: Any = None
) -> Tensor:
    """Losses of samples, each with its weight, reduced."""
    if getattr(weight, "shape", ()):
        same_shape(what, "loss of the samples", values, "weight", weight)
    return reduce(values, reduction, weight, total)


def _signs(what: str, target: Tensor) -> Tensor:
    """Labels -1 and 1; of 0 and 1, 0 is -1."""
    signs = where(target == 0, -1, target)

    def message(target: Any) -> str:
        bad = first_bad((target == 0) | (abs(target) == 1), target)
        return f"{what}: the labels of target must be -1 and 1, or 0 and 1, but {bad}"

    check(abs(signs) == 1, message, target)
    return signs


def log_cosh(
    input: Tensor, target: Tensor, reduction: str = "sum_over_batch_size", weight: Any = None
) -> Tensor:
    """Log-cosh: mean over the last dimension of ln cosh(input - target).

    ``input``, ``target``: the same shape, (N, ...); ``weight``: a factor for each sample (Keras's
    ``sample_weight``). See :func:`log_cosh_loss` for elements that are losses of their own.

    Raises ValueError when the shapes differ or the batch is empty, TypeError for integers.

    >>> import tapegrad as tg
    >>> tg.losses.log_cosh(tg.tensor([[1.0, 0.0]]), tg.zeros(1, 2), reduction="none")
    tensor([0.2169])

    Source: Green (1990), Bayesian reconstructions from emission tomography data using a modified EM
    algorithm; as in Keras.
    """
    input, target = matching("log_cosh", input=input, target=target)
    loss = log_cosh_loss(input, target, "none").mean(dim=-1)
    return reduce_samples("log_cosh", loss, reduction, weight)


def mean_squared_logarithmic_error(
    input: Tensor, target: Tensor, reduction: str = "sum_over_batch_size", weight: Any = None
) -> Tensor:
    """Mean over the last dimension of (ln(1 + input) - ln(1 + target))².

    Operands, settings and errors as in :func:`log_cosh`; amounts below 1e-7 count as 1e-7. See
    :func:`msle_loss` for elements that are losses of their own.

    >>> import tapegrad as tg
    >>> loss = tg.losses.mean_squared_logarithmic_error
    >>> loss(tg.tensor([[tg.e - 1.0, 0.0]]), tg.zeros(1, 2), reduction="none")
    tensor([0.5000])

    Source: Kaggle's competitions and scikit-learn's mean_squared_log_error; as in Keras.
    """
    input, target = matching("mean_squared_logarithmic_error", input=input, target=target)
    loss = msle_loss(input, target, reduction="none").mean(dim=-1)
    return reduce_samples("mean_squared_logarithmic_error", loss, reduction, weight)


def mean_absolute_percentage_error(
    input: Tensor, target: Tensor, reduction: str = "sum_over_batch_size", weight: Any = None
) -> Tensor:
    """Mean over the last dimension of 100·|target - input| / max(|target|, 1e-7).

    Operands, settings and errors as in :func:`log_cosh`. See :func:`mape_loss` for elements that
    are losses of their own.

    >>> import tapegrad as tg
    >>> loss = tg.losses.mean_absolute_percentage_error
    >>> loss(tg.tensor([[110.0, 45.0]]), tg.tensor([[100.0, 50.0]]), reduction="none")
    tensor([10.])

    Source: Makridakis (1993), Accuracy measures: theoretical and practical concerns; as in Keras.
    """
    input, target = matching("mean_absolute_percentage_error", input=input, target=target)
    loss = mape_loss(input, target, reduction="none").mean(dim=-1)
    return reduce_samples("mean_absolute_percentage_error", loss, reduction, weight)


def hinge(
    input: Tensor, target: Tensor, reduction: str = "sum_over_batch_size", weight: Any = None
) -> Tensor:
    """Mean over the last dimension of max(0, 1 - target·input); labels 0 count as -1.

    ``input``: scores; ``target``: labels -1 and 1, or 0 and 1, of the same shape; the rest as in
    :func:`log_cosh`. See :func:`hinge_loss` for elements that are losses of their own.

    >>> import tapegrad as tg
    >>> tg.losses.hinge(tg.tensor([[0.5, -2.0]]), tg.tensor([[1, 0]]), reduction="none")
    tensor([0.2500])

    Source: Cortes and Vapnik (1995), Support-vector networks; as in Keras.
    """
    input, target = matching("hinge", input=input, target=target)
    loss = relu(1.0 - _signs("hinge", target) * input).mean(dim=-1)
    return reduce_samples("hinge", loss, reduction, weight)


def squared_hinge(
    input: Tensor, target: Tensor, reduction: str = "sum_over_batch_size", weight: Any = None
) -> Tensor:
    """Mean over the last dimension of max(0, 1 - target·input)²; labels 0 count as -1.

    Operands, settings and errors as in :func:`hinge`. See :func:`squared_hinge_loss` for elements
    that are losses of their own.

    >>> import tapegrad as tg
    >>> tg.losses.squared_hinge(tg.tensor([[0.5, -2.0]]), tg.tensor([[1, 0]]), reduction="none")
    tensor([0.1250])

    Source: Chang et al. (2008), Coordinate descent method for large-scale L2-loss linear support
    vector machines; as in Keras.
    """
    input, target = matching("squared_hinge", input=input, target=target)
    loss = square(relu(1.0 - _signs("squared_hinge", target) * input)).mean(dim=-1)
    return reduce_samples("squared_hinge", loss, reduction, weight)


def categorical_hinge(
    input: Tensor, target: Tensor, reduction: str = "sum_over_batch_size", weight: Any = None
) -> Tensor:
    """max(0, 1 + max((1 - target)·input) - Σ target·input) over the last dimension, the classes.

    ``input``: scores of shape (..., C); ``target``: one-hot rows of that shape; the rest as in
    :func:`log_cosh`. The largest wrong score counts as at least 0. See :func:`multi_margin_loss`
    for class indices and the sum over all wrong classes.

    Raises ValueError also when a row of targets is not made of probabilities that add up to 1.

    >>> import tapegrad as tg
    >>> scores, target = tg.tensor([[2.0, 1.5, -1.0]]), tg.tensor([[1.0, 0.0, 0.0]])
    >>> tg.losses.categorical_hinge(scores, target)
    tensor(0.5000)

    Source: Crammer and Singer (2001), On the algorithmic implementation of multiclass kernel-based
    vector machines; as in Keras.
    """
    input, target = matching("categorical_hinge", input=input, target=target)
    rows_add_up("categorical_hinge", "target", target, -1)
    right = (target * input).sum(dim=-1)
    wrong = amax((1.0 - target) * input, dim=-1)
    return reduce_samples("categorical_hinge", relu(wrong - right + 1.0), reduction, weight)


class LogCosh(Loss):
    """:func:`log_cosh` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.LogCosh()(tg.tensor([[1.0]]), tg.tensor([[0.0]]))
    tensor(0.4338)
    """

    function = staticmethod(log_cosh)


class MeanSquaredLogarithmicError(Loss):
    """:func:`mean_squared_logarithmic_error` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.MeanSquaredLogarithmicError()
    >>> loss(tg.tensor([[tg.e - 1.0]]), tg.tensor([[0.0]])).round(decimals=4)
    tensor(1.)
    """

    function = staticmethod(mean_squared_logarithmic_error)


class MeanAbsolutePercentageError(Loss):
    """:func:`mean_absolute_percentage_error` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.MeanAbsolutePercentageError()(tg.tensor([[110.0]]), tg.tensor([[100.0]]))
    tensor(10.)
    """

    function = staticmethod(mean_absolute_percentage_error)


class Hinge(Loss):
    """:func:`hinge` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.Hinge()(tg.tensor([[-1.0]]), tg.tensor([[1]]))
    tensor(2.)
    """

    function = staticmethod(hinge)


class SquaredHinge(Loss):
    """:func:`squared_hinge` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.SquaredHinge()(tg.tensor([[-1.0]]), tg.tensor([[1]]))
    tensor(4.)
    """

    function = staticmethod(squared_hinge)


class CategoricalHinge(Loss):
    """:func:`categorical_hinge` with its settings: scores and one-hot rows.

    >>> import tapegrad as tg
    >>> tg.losses.CategoricalHinge()(tg.tensor([[0.5, 2.0]]), tg.tensor([[0.0, 1.0]]))
    tensor(0.)
    """

    function = staticmethod(categorical_hinge)


#: One-hot rows.
ONE_HOT = Kind(lambda n, c, g: (randint(0, c, (n, 1), generator=g) == arange(c)).double(), None)
#: One factor for each sample.
PER_SAMPLE = Kind(lambda n, c, g: POSITIVE.draw(n, c, g)[:, 0], POSITIVE.link)
_TRIED = ({"reduction": "none"}, {"reduction": "sum"})

ROWS = (
    Row(log_cosh, (REAL, REAL), LogCosh, ("logcosh",), _TRIED, peer="keras"),
    Row(
        mean_squared_logarithmic_error,
        (POSITIVE, POSITIVE),
        MeanSquaredLogarithmicError,
        ("msle",),
        _TRIED,
        peer="keras",
    ),
    Row(
        mean_absolute_percentage_error,
        (REAL, REAL),
        MeanAbsolutePercentageError,
        ("mape",),
        _TRIED,
        peer="keras",
    ),
    Row(hinge, (REAL, SIGN), Hinge, settings=_TRIED, peer="keras"),
    Row(hinge, (REAL, BINARY), settings=_TRIED, peer="keras:Hinge", case="labels 0 and 1"),
    Row(hinge, (REAL, SIGN), settings=({"weight": PER_SAMPLE},), case="weighted"),
    Row(squared_hinge, (REAL, SIGN), SquaredHinge, settings=_TRIED, peer="keras"),
    Row(categorical_hinge, (LOGITS, ONE_HOT), CategoricalHinge, settings=_TRIED, peer="keras"),
    Row(
        categorical_hinge,
        (LOGITS, DISTRIBUTION),
        settings=({"weight": PER_SAMPLE},),
        case="soft labels",
    ),
)
