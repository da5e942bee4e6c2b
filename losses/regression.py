"""Losses of regression: of the error, input - target."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    abs,
    as_tensor,
    broadcast_to,
    check,
    clip,
    exp,
    expm1,
    hypot,
    log,
    log1p,
    logical_and,
    maximum,
    sign,
    sinh,
    sqrt,
    square,
    where,
)

from .base import Loss
from .checks import is_number_zero, matching, not_negative, positive, setting
from .kinds import POSITIVE, PROBABILITY, REAL
from .limits import exprel
from .reducing import reduce
from .table import Row

__all__ = [
    "CharbonnierLoss",
    "GeneralRobustLoss",
    "HuberLoss",
    "L1Loss",
    "LogCoshLoss",
    "MSELoss",
    "QuantileLoss",
    "SmoothL1Loss",
    "charbonnier_loss",
    "general_robust_loss",
    "huber_loss",
    "l1_loss",
    "log_cosh_loss",
    "mse_loss",
    "quantile_loss",
    "smooth_l1_loss",
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
    total = _sum_of("mse_loss", weight, input)
    return reduce(square(input - target), reduction, weight, total)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Any = None) -> Tensor:
    """Mean absolute error: mean of |input - target|; its derivative at 0 is 0.

    ``input``, ``target``, ``weight``, ``reduction`` and errors as in :func:`mse_loss`.

    >>> import tapegrad as tg
    >>> tg.losses.l1_loss(tg.tensor([1.0, -3.0]), tg.tensor([0.0, 0.0]))
    tensor(2.)

    Source: Boscovich (1757), least absolute deviations.
    """
    input, target = matching("l1_loss", input=input, target=target)
    total = _sum_of("l1_loss", weight, input)
    return reduce(abs(input - target), reduction, weight, total)


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
    positive("huber_loss", "delta", delta, input.shape)
    error = input - target
    near = clip(error, -delta, delta)
    return reduce(near * (error - 0.5 * near), reduction, weight)


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: Any = 1.0
) -> Tensor:
    """Smooth L1 loss: e²/(2·beta) where |e| < beta, |e| - beta/2 beyond, e = input - target.

    ``input``, ``target``: the same shape; ``beta``: at least 0, may be a Tensor and has a
    gradient. With beta = 0 it is the L1 loss, and the derivative by beta is the one from above.
    It is :func:`huber_loss` with delta = beta, divided by beta.

    Raises ValueError when the shapes differ, the batch is empty or beta is negative.

    >>> import tapegrad as tg
    >>> tg.losses.smooth_l1_loss(tg.tensor([0.5, 3.0]), tg.tensor([0.0, 0.0]), reduction="none")
    tensor([0.1250, 2.5000])

    Source: Girshick (2015), Fast R-CNN.
    """
    input, target = matching("smooth_l1_loss", input=input, target=target)
    not_negative("smooth_l1_loss", "beta", beta, input.shape)
    error = input - target
    if is_number_zero(beta):
        return reduce(abs(error), reduction)
    near = clip(error, -beta, beta)
    if hasattr(beta, "shape"):
        nought = beta == 0
        slope = where(nought, sign(error), near / where(nought, 1.0, beta))
    else:
        slope = near / beta
    return reduce(slope * (error - 0.5 * near), reduction)


def log_cosh_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Any = None
) -> Tensor:
    """Log-cosh loss: ln cosh(input - target), near e²/2 for small errors and |e| - ln 2 for large.

    ``input``, ``target``, ``reduction`` and errors as in :func:`huber_loss`; ``weight``: factors,
    broadcasting. Computed as ln(1 + 2·sinh²(e/2)), which keeps its digits at small errors; beyond
    20 it grows by |e| - 20, exact to rounding. Elements are losses of their own; Keras's LogCosh
    first averages over the last dimension.

    >>> import tapegrad as tg
    >>> tg.losses.log_cosh_loss(tg.tensor([0.0, 1e30]), tg.tensor([0.0, 0.0]), reduction="none")
    tensor([0.0000e+00, 1.0000e+30])

    Source: Green (1990), Bayesian reconstructions from emission tomography data using a modified EM
    algorithm.
    """
    input, target = matching("log_cosh_loss", input=input, target=target)
    error = input - target
    near = clip(error, -20.0, 20.0)
    small = log1p(2.0 * square(sinh(0.5 * near)))
    return reduce(small + abs(error - near), reduction, weight)


def quantile_loss(
    input: Tensor,
    target: Tensor,
    quantile: Any = 0.5,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Quantile (pinball) loss: max(q·u, (q - 1)·u), u = target - input.

    Its minimum over constants is the q-quantile of the targets. ``input``, ``target``: the same
    shape; ``quantile``: q strictly between 0 and 1, a number, or a Tensor that broadcasts (such as
    one quantile for each column); it has a gradient. ``weight``: factors, broadcasting. At u = 0
    the two sides share the derivative, which is 1/2 - q by ``input``.

    Raises ValueError when the shapes differ, the batch is empty or a quantile is not in (0, 1).

    An overestimate by 1 costs 1 - q, an underestimate q:

    >>> import tapegrad as tg
    >>> x, t = tg.tensor([3.0, 1.0]), tg.tensor([2.0, 2.0])
    >>> tg.losses.quantile_loss(x, t, quantile=0.9, reduction="none")
    tensor([0.1000, 0.9000])

    Source: Koenker and Bassett (1978), Regression quantiles.
    """
    input, target = matching("quantile_loss", input=input, target=target)
    _open_unit("quantile_loss", "quantile", quantile, input.shape)
    under = target - input
    return reduce(maximum(quantile * under, (quantile - 1.0) * under), reduction, weight)


def _open_unit(what: str, name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Check a setting, number or Tensor, that must lie strictly between 0 and 1."""
    if type(value) is float and 0.0 < value < 1.0:
        return
    setting(what, name, value, shape)
    value = as_tensor(value)
    good = logical_and(value > 0, value < 1)
    check(good, f"{what}: {name} must be strictly between 0 and 1, but it is {{}}", value)


def charbonnier_loss(
    input: Tensor,
    target: Tensor,
    eps: Any = 1e-3,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Charbonnier loss: √(e² + eps²), e = input - target: a smooth |e|.

    ``input``, ``target``: the same shape; ``eps``: positive, may be a Tensor and has a gradient;
    ``weight``: factors, broadcasting. Some write √(e² + eps); that is the eps here, squared.

    Raises ValueError when the shapes differ, the batch is empty or eps is not positive.

    >>> import tapegrad as tg
    >>> tg.losses.charbonnier_loss(tg.tensor([3.0]), tg.tensor([0.0]), eps=4.0)
    tensor(5.)

    Source: Charbonnier et al. (1994), Two deterministic half-quadratic regularization algorithms
    for computed imaging.
    """
    input, target = matching("charbonnier_loss", input=input, target=target)
    positive("charbonnier_loss", "eps", eps, input.shape)
    return reduce(hypot(input - target, eps), reduction, weight)


def general_robust_loss(
    input: Tensor,
    target: Tensor,
    alpha: Any = 1.0,
    scale: Any = 1.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Barron's general robust loss: b/alpha·((z/b + 1)^(alpha/2) - 1), b = |alpha - 2|, z = e².

    e = (input - target)/scale. ``alpha``: the shape, any number: 2 gives e²/2, 1 gives
    √(e² + 1) - 1 (Charbonnier, pseudo-Huber), 0 gives ln(e²/2 + 1) (Cauchy), -2 Geman-McClure,
    -inf gives 1 - exp(-e²/2) (Welsch); ``scale``: positive, where the quadratic bowl ends. Either
    may be a Tensor that broadcasts, and has a gradient: the loss can choose its own robustness.
    ``input``, ``target``: the same shape; ``weight``: factors, broadcasting.

    Values and derivatives are exact at and near alpha = 0 and ±inf too. At alpha = 2 the value and
    the derivative by the error are; the derivative by alpha is infinite there and grows like
    e²/4·ln(1/b) nearby, and what is given at 2 itself is this at b = 1e-16, a finite number.

    Raises ValueError when the shapes differ, the batch is empty or the scale is not positive.

    >>> import tapegrad as tg
    >>> x, t = tg.tensor([4.0]), tg.tensor([0.0])
    >>> loss = tg.losses.general_robust_loss
    >>> loss(x, t, alpha=2.0), loss(x, t, alpha=0.0), loss(x, t, alpha=-tg.inf)
    (tensor(8.), tensor(2.1972), tensor(0.9997))

    Source: Barron (2019), A general and adaptive robust loss function.
    """
    input, target = matching("general_robust_loss", input=input, target=target)
    setting("general_robust_loss", "alpha", alpha, input.shape)
    positive("general_robust_loss", "scale", scale, input.shape)
    error = (input - target) / scale
    if hasattr(alpha, "shape"):
        alpha = as_tensor(alpha).to(error.dtype)
    alpha = clip(alpha, -FARTHEST, FARTHEST)
    b = maximum(abs(alpha - 2.0), NEAREST)
    growth = _log1p_square(error / sqrt(b))  # ln(1 + z/b)
    if isinstance(alpha, Tensor):
        near = b < 0.1
        u = 0.5 * where(near, 1.0, alpha) * growth
        elsewhere = 0.5 * b * growth * exprel(u)
        values = where(near, _near_two(error, growth, b, where(near, alpha, 2.0)), elsewhere)
    elif is_number_zero(alpha):
        values = growth  # b = 2
    elif b < 0.1:
        values = _near_two(error, growth, b, alpha)
    else:
        values = b / alpha * expm1(0.5 * alpha * growth)
    return reduce(values, reduction, weight)


#: Where alpha stands for an infinite one: the loss does not change beyond, in float64's digits.
FARTHEST = 1e18
#: The least |alpha - 2|, less than the distance from 2 to the number before it.
NEAREST = 1e-16


def _near_two(error: Any, growth: Any, b: Any, alpha: Any) -> Any:
    """b/alpha·((1 + z/b)·e^v - 1), v = (alpha/2 - 1)·ln(1 + z/b), without dividing by b, which
    may be very small."""
    v = (0.5 * alpha - 1.0) * growth
    root = error * exp(0.5 * v)
    return (square(root) + b * expm1(v)) / alpha


def _log1p_square(x: Any) -> Any:
    """ln(1 + x²), for x whose square overflows too; smooth."""
    near = clip(x, -1e9, 1e9)
    return log1p(square(near)) + 2.0 * log(maximum(1e-9 * abs(x), 1.0))


def _sum_of(what: str, weight: Any, input: Tensor) -> Tensor | None:
    """What torch's weighted means divide by here: the sum of the weights."""
    if weight is None:
        return None
    setting(what, "weight", weight, input.shape)
    return broadcast_to(weight, input.shape).sum()


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


class SmoothL1Loss(Loss):
    """:func:`smooth_l1_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.SmoothL1Loss(beta=2.0)(tg.tensor([4.0]), tg.tensor([0.0]))
    tensor(3.)
    """

    function = staticmethod(smooth_l1_loss)


class LogCoshLoss(Loss):
    """:func:`log_cosh_loss` with its settings; Keras's LogCosh.

    >>> import tapegrad as tg
    >>> tg.losses.LogCoshLoss()(tg.tensor([1.0, -1.0]), tg.tensor([0.0, 0.0]))
    tensor(0.4338)
    """

    function = staticmethod(log_cosh_loss)


class QuantileLoss(Loss):
    """:func:`quantile_loss` with its settings.

    Three quantiles of one target, from a network with three outputs:

    >>> import tapegrad as tg
    >>> loss = tg.losses.QuantileLoss(quantile=tg.tensor([0.1, 0.5, 0.9]), reduction="none")
    >>> loss(tg.tensor([[1.0, 2.0, 4.0]]), tg.tensor([[3.0]]).expand(1, 3))
    tensor([[0.2000, 0.5000, 0.1000]])
    """

    function = staticmethod(quantile_loss)


class CharbonnierLoss(Loss):
    """:func:`charbonnier_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.CharbonnierLoss(eps=4.0)(tg.tensor([3.0]), tg.tensor([0.0]))
    tensor(5.)
    """

    function = staticmethod(charbonnier_loss)


class GeneralRobustLoss(Loss):
    """:func:`general_robust_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.GeneralRobustLoss(alpha=1.0, scale=2.0)(tg.tensor([2.0]), tg.tensor([0.0]))
    tensor(0.4142)
    """

    function = staticmethod(general_robust_loss)


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
    Row(
        smooth_l1_loss,
        (REAL, REAL),
        SmoothL1Loss,
        names=("smooth_l1",),
        settings=({"beta": 0.3}, {"beta": 0}),
        peer="torch",
    ),
    Row(
        log_cosh_loss,
        (REAL, REAL),
        LogCoshLoss,
        peer="keras:LogCosh",
    ),
    Row(log_cosh_loss, (REAL, REAL), settings=({"weight": POSITIVE},), case="weighted"),
    Row(
        quantile_loss,
        (REAL, REAL),
        QuantileLoss,
        names=("quantile", "pinball"),
        settings=({"quantile": 0.9}, {"quantile": PROBABILITY}, {"weight": POSITIVE}),
    ),
    Row(
        charbonnier_loss,
        (REAL, REAL),
        CharbonnierLoss,
        names=("charbonnier",),
        settings=({"eps": 0.5, "weight": POSITIVE},),
    ),
    Row(
        general_robust_loss,
        (REAL, REAL),
        GeneralRobustLoss,
        names=("general_robust", "barron", "adaptive_robust"),
        settings=(
            {"alpha": 1.8, "scale": 0.7},
            {"alpha": 0.0},
            {"alpha": -3.5, "weight": POSITIVE},
            {"alpha": REAL, "scale": POSITIVE},
        ),
    ),
)
