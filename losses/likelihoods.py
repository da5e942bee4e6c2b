"""Losses that are negative log-likelihoods of counts and of amounts."""

from __future__ import annotations

import math
from typing import Any

from tapegrad import (
    Tensor,
    as_tensor,
    check,
    clamp_min,
    exp,
    log,
    logical_and,
    poisson,
    pow,
    rand,
    square,
    stop_gradient,
    where,
    xlogy,
)

from .base import Loss
from .checks import first_bad, floating, matching, not_negative, setting
from .kinds import POSITIVE, REAL, Kind
from .reducing import reduce
from .table import Row

__all__ = [
    "GaussianNLLLoss",
    "PoissonNLLLoss",
    "TweedieLoss",
    "gaussian_nll_loss",
    "poisson_nll_loss",
    "tweedie_loss",
]


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: Any = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of Poisson counts: exp(input) - target·input.

    ``input``: logarithms of the expected counts; with ``log_input=False`` the expected counts
    themselves, at least 0, and the loss is input - target·ln(input + eps), in which 0·ln 0 is 0.
    ``target``: counts of the same shape, at least 0. ``full``: add Stirling's term, target·ln
    target - target + ln(2π·target)/2 where target > 1, which does not depend on the input.

    Raises ValueError when the shapes differ, the batch is empty or a count is negative.

    >>> import tapegrad as tg
    >>> tg.losses.poisson_nll_loss(tg.tensor([0.0, 0.0]), tg.tensor([3.0, 0.0]))
    tensor(1.)
    >>> tg.losses.poisson_nll_loss(tg.tensor([1.0]), tg.tensor([2.0]), log_input=False)
    tensor(1.)

    Source: Cameron and Trivedi (1998), Regression analysis of count data.
    """
    input, target = matching("poisson_nll_loss", input=input, target=target)
    _at_least_zero("poisson_nll_loss", "target", target)
    if log_input:
        loss = exp(input) - target * input
    else:
        hint = "; for logarithms of the counts say log_input=True"
        _at_least_zero("poisson_nll_loss", "input", input, hint)
        not_negative("poisson_nll_loss", "eps", eps, input.shape)
        loss = input - xlogy(target, input + eps)
    if full:
        many = target > 1
        count = where(many, target, 1.0)
        stirling = count * log(count) - count + 0.5 * log(2.0 * math.pi * count)
        loss = loss + where(many, stirling, 0.0)
    return reduce(loss, reduction)


def _at_least_zero(what: str, name: str, value: Any, hint: str = "") -> None:
    """Check that no entry is negative."""

    def message(value: Any) -> str:
        return f"{what}: {name} must not be negative, but {first_bad(value >= 0, value)}{hint}"

    check(value >= 0, message, value)


def _above_zero(what: str, name: str, value: Any) -> None:
    """Check that every entry is positive."""

    def message(value: Any) -> str:
        return f"{what}: {name} must be positive, but {first_bad(value > 0, value)}"

    check(value > 0, message, value)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Any,
    full: bool = False,
    eps: Any = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of Gaussians: (ln var + (input - target)²/var)/2.

    ``input``: expectations; ``target``: the same shape; ``var``: variances, at least 0: a number, a
    Tensor of that shape, without the last dimension, or with one dimension of 1. A variance below
    ``eps`` counts as ``eps``, but keeps the gradient that eps would have, as torch's, so that it
    can grow again. ``full``: add the constant ln(2π)/2.

    Raises ValueError when the shapes do not fit, the batch is empty or a variance is negative.

    >>> import tapegrad as tg
    >>> x, t = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 2.0])
    >>> tg.losses.gaussian_nll_loss(x, t, tg.tensor([1.0, 1.0]))
    tensor(1.)

    Source: Nix and Weigend (1994), Estimating the mean and variance of the target probability
    distribution.
    """
    what = "gaussian_nll_loss"
    input, target = matching(what, input=input, target=target)
    var = _variances(input, var)
    _at_least_zero(what, "var", var)
    not_negative(what, "eps", eps, input.shape)
    # The bound is numerics, not part of the likelihood (Nix and Weigend have none): torch's
    # gaussian_nll_loss too clamps under no_grad.
    var = var + stop_gradient(clamp_min(var, eps) - var)
    loss = 0.5 * (log(var) + square(input - target) / var)
    return reduce(loss + 0.5 * log(2.0 * math.pi) if full else loss, reduction)


def _variances(input: Tensor, var: Any) -> Tensor:
    """Variances in a shape that broadcasts to the input; the shapes that torch allows."""
    if type(var) in (int, float):
        return as_tensor(var, dtype=input.dtype).expand(input.shape)
    if not hasattr(var, "shape"):
        raise TypeError(
            f"gaussian_nll_loss: var must be a tensor or a number, not {type(var).__name__}: "
            "make it a tensor first, tg.tensor(...)"
        )
    var = as_tensor(var)
    floating("gaussian_nll_loss", "var", var)
    if var.shape == input.shape:
        return var
    if var.shape == input.shape[:-1]:
        return var.unsqueeze(-1)
    differing = [n for n, m in zip(var.shape, input.shape) if n != m]
    if var.ndim == input.ndim and differing == [1]:
        return var
    raise ValueError(
        f"gaussian_nll_loss: var has shape {var.shape}, but an input of shape {input.shape} takes "
        f"that shape, {input.shape[:-1]}, or that shape with one dimension of 1"
    )


def tweedie_loss(
    input: Tensor,
    target: Tensor,
    power: Any = 1.5,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Tweedie deviance: 2·(y^(2-p)/((1-p)(2-p)) - y·μ^(1-p)/(1-p) + μ^(2-p)/(2-p)).

    ``input``: expected amounts μ > 0 (from a network: exp of its output); ``target``: amounts y of
    the same shape, at least 0, of which many may be exactly 0; ``power``: p strictly between 1 and
    2, where the variance is proportional to μ^p; may be a Tensor and has a gradient. The numbers 0
    (squared error), 1 (Poisson deviance) and 2 (gamma deviance; targets above 0) are taken too.
    ``weight``: factors, broadcasting. Towards 1 and 2 the general formula loses digits to
    cancellation: about as many as (p - 1)·(2 - p) has zeros.

    Raises ValueError when the shapes differ, the batch is empty, or an amount or the power is
    outside its range.

    >>> import tapegrad as tg
    >>> tg.losses.tweedie_loss(tg.tensor([1.0, 4.0]), tg.tensor([0.0, 4.0]), reduction="none")
    tensor([4., 0.])

    Source: Jørgensen (1987), Exponential dispersion models.
    """
    what = "tweedie_loss"
    input, target = matching(what, input=input, target=target)
    if isinstance(power, (int, float)) and power in (0, 1, 2):
        return reduce(_deviance(power, input, target), reduction, weight)
    setting(what, "power", power, input.shape)
    given = as_tensor(power)
    good = logical_and(given > 1, given < 2)
    check(good, f"{what}: power must be in (1, 2), or the number 0, 1 or 2, not {{}}", given)
    _above_zero(what, "input", input)
    _at_least_zero(what, "target", target)
    q = 2.0 - power
    scaled = pow(input, 1.0 - power)
    loss = (pow(target, q) / q - target * scaled) / (1.0 - power) + input * scaled / q
    return reduce(2.0 * loss, reduction, weight)


def _deviance(power: float, input: Tensor, target: Tensor) -> Tensor:
    """The deviances whose formula is 0/0 in the general one, and the normal distribution's."""
    if power == 0:
        return square(input - target)
    _above_zero("tweedie_loss", "input", input)
    if power == 1:
        _at_least_zero("tweedie_loss", "target", target)
        return 2.0 * (xlogy(target, target / input) - target + input)
    _above_zero("tweedie_loss with power 2", "target", target)
    ratio = target / input
    return 2.0 * (ratio - log(ratio) - 1.0)


class PoissonNLLLoss(Loss):
    """:func:`poisson_nll_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.PoissonNLLLoss(log_input=False)(tg.tensor([1.0]), tg.tensor([2.0]))
    tensor(1.)
    """

    function = staticmethod(poisson_nll_loss)


class GaussianNLLLoss(Loss):
    """:func:`gaussian_nll_loss` with its settings, called as (input, target, var).

    >>> import tapegrad as tg
    >>> loss = tg.losses.GaussianNLLLoss(full=True)
    >>> loss(tg.tensor([1.0]), tg.tensor([1.0]), tg.tensor([1.0]))
    tensor(0.9189)
    """

    function = staticmethod(gaussian_nll_loss)


class TweedieLoss(Loss):
    """:func:`tweedie_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.TweedieLoss(power=1.2)(tg.tensor([1.0]), tg.tensor([0.0]))
    tensor(2.5000)
    """

    function = staticmethod(tweedie_loss)


#: Counts, and amounts of which some are 0.
COUNTS = Kind(lambda n, c, g: poisson(exp(REAL.draw(n, c, g)), generator=g), None)
AMOUNTS = Kind(
    lambda n, c, g: where(rand(n, c, generator=g) < 0.4, 0.0, exp(REAL.draw(n, c, g))), None
)
#: One variance for each row.
BY_ROW = Kind(lambda n, c, g: REAL.draw(n, 1, g), exp)

ROWS = (
    Row(
        poisson_nll_loss,
        (REAL, COUNTS),
        PoissonNLLLoss,
        names=("poisson_nll",),
        settings=({"full": True},),
        fixed=("eps",),
        peer="torch",
    ),
    Row(
        poisson_nll_loss,
        (POSITIVE, POSITIVE),
        settings=({"log_input": False, "full": True}, {"log_input": False, "eps": 0.1}),
        peer="torch",
        fixed=("eps",),
        case="of rates and amounts",
    ),
    Row(
        gaussian_nll_loss,
        (REAL, REAL, POSITIVE),
        GaussianNLLLoss,
        names=("gaussian_nll",),
        settings=({"full": True},),
        fixed=("eps",),
        peer="torch",
    ),
    Row(
        gaussian_nll_loss,
        (REAL, REAL, BY_ROW),
        fixed=("eps",),
        peer="torch",
        case="one variance for each row",
    ),
    Row(
        tweedie_loss,
        (POSITIVE, AMOUNTS),
        TweedieLoss,
        names=("tweedie",),
        settings=({"power": 1.2, "weight": POSITIVE}, {"power": 1}, {"power": 0}),
    ),
    Row(
        tweedie_loss,
        (POSITIVE, POSITIVE),
        settings=({"power": 1.9}, {"power": 1}, {"power": 2}),
        case="of amounts above 0",
    ),
)
