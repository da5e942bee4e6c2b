"""Divergences between distributions."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, clip, exp, log1p, log_softmax, sinh, square, tanh, xlogy

from .base import Loss
from .checks import floating, inside, matching, rows_add_up
from .kinds import DISTRIBUTION, LOG_DISTRIBUTION, LOGITS
from .reducing import reduce
from .table import Row

__all__ = ["JSDivLoss", "KLDivLoss", "js_div", "kl_div"]


def kl_div(
    input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Kullback-Leibler divergence KL(target ‖ exp(input)): q·(log q - input) for each element.

    ``input``: log-probabilities; ``target``: probabilities q of the same shape, or their
    logarithms with ``log_target=True``. ``reduction``: the divergence itself, one for each row, is
    the sum of a row, and "batchmean" is its mean over the rows; "mean" divides by the number of
    elements, as torch's. As in torch no dimension is said to hold the distributions, so that their
    sums are not checked. Where q is 0 the value is 0 and the logarithm's part of the derivative by
    q is left out, so that it is finite.

    Raises ValueError when the shapes differ, the batch is empty or a probability is outside
    [0, 1].

    >>> import tapegrad as tg
    >>> p, q = tg.tensor([[0.25, 0.75]]), tg.tensor([[0.0, 1.0]])
    >>> tg.losses.kl_div(tg.log(p), q, reduction="batchmean")  # ln(4/3)
    tensor(0.2877)

    Source: Kullback and Leibler (1951), On information and sufficiency.
    """
    input, target = matching("kl_div", input=input, target=target)
    floating("kl_div", "target", target)
    if log_target:
        target = exp(target)
    else:
        hint = "for log-probabilities say log_target=True"
        inside("kl_div", "target", target, 0.0, 1.0, hint)
    return reduce(xlogy(target, target) - target * input, reduction)


def js_div(
    input: Tensor,
    target: Tensor,
    dim: int = -1,
    from_logits: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Jensen-Shannon divergence: ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q)/2, of each row.

    ``input``, ``target``: p and q, probabilities along ``dim``, the same shape; with
    ``from_logits=True`` the logits of both, which keeps more digits where p is near q. It is the
    same both ways round, 0 where p = q, at most ln 2, and finite where probabilities are 0.
    ``reduction``: over the rows, "none" gives one divergence for each.

    Raises ValueError when the shapes differ, the batch is empty, a probability is outside [0, 1]
    or a row does not add up to 1.

    Distributions that have nothing in common are ln 2 apart:

    >>> import tapegrad as tg
    >>> tg.losses.js_div(tg.tensor([[1.0, 0.0]]), tg.tensor([[0.0, 1.0]]))
    tensor(0.6931)

    Source: Lin (1991), Divergence measures based on the Shannon entropy.
    """
    input, target = matching("js_div", input=input, target=target)
    if from_logits:
        log_p, log_q = log_softmax(input, dim=dim), log_softmax(target, dim=dim)
        middle = 0.5 * (exp(log_p) + exp(log_q))
        # With h = ½ log(p/q) an element is m·(h·tanh h - ln cosh h), where nothing of first order
        # cancels, so that distributions that are near each other keep their digits. Beyond 20 it
        # is m·ln 2.
        half = clip(0.5 * (log_p - log_q), -20.0, 20.0)
        log_cosh = log1p(2.0 * square(sinh(0.5 * half)))
        return reduce((middle * (half * tanh(half) - log_cosh)).sum(dim=dim), reduction)
    rows_add_up("js_div", "input", input, dim)
    rows_add_up("js_div", "target", target, dim)
    middle = 0.5 * (input + target)
    values = 0.5 * (xlogy(input, input) + xlogy(target, target)) - xlogy(middle, middle)
    return reduce(values.sum(dim=dim), reduction)


class KLDivLoss(Loss):
    """:func:`kl_div` with its settings: log-probabilities in.

    >>> import tapegrad as tg
    >>> loss = tg.losses.KLDivLoss("batchmean")
    >>> loss(tg.log(tg.tensor([[0.5, 0.5]])), tg.tensor([[0.0, 1.0]]))
    tensor(0.6931)
    """

    function = staticmethod(kl_div)


class JSDivLoss(Loss):
    """:func:`js_div` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.JSDivLoss(from_logits=True)(tg.zeros(1, 2), tg.zeros(1, 2))
    tensor(0.)
    """

    function = staticmethod(js_div)


def _with_logarithms(input: Tensor, target: Tensor, **settings: Any) -> Tensor:
    return kl_div(input, target, log_target=True, **settings)


def _with_logits(input: Tensor, target: Tensor, **settings: Any) -> Tensor:
    return js_div(input, target, from_logits=True, **settings)


ROWS = (
    Row(
        kl_div,
        (LOG_DISTRIBUTION, DISTRIBUTION),
        KLDivLoss,
        names=("kl",),
        settings=({"reduction": "sum"}, {"reduction": "batchmean"}, {"reduction": "none"}),
        peer="torch",
    ),
    Row(
        kl_div,
        (LOG_DISTRIBUTION, LOG_DISTRIBUTION),
        settings=({"reduction": "batchmean"},),
        case="log target",
        call=_with_logarithms,
    ),
    Row(
        js_div,
        (DISTRIBUTION, DISTRIBUTION),
        JSDivLoss,
        names=("js", "jensen_shannon", "jsd"),
        settings=({"reduction": "none"},),
    ),
    Row(js_div, (LOGITS, LOGITS), case="logits", call=_with_logits),
)
