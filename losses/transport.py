"""The distance between two samples of numbers: how far one must be moved to become the other."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    abs,
    amax,
    arange,
    as_tensor,
    cat,
    check,
    cumsum,
    diff,
    exp,
    inf,
    searchsorted,
    sort,
    stop_gradient,
    where,
    zeros,
)

from .adversarial import MORE_REALS
from .base import Loss
from .checks import dimensions, first_bad, floating, not_empty, same_shape, setting, tensors
from .kinds import REALS, Kind
from .table import Row

__all__ = ["WassersteinDistance1d", "wasserstein_distance_1d"]


def wasserstein_distance_1d(
    a: Tensor, b: Tensor, p: Any = 1, a_weights: Any = None, b_weights: Any = None
) -> Tensor:
    """Wasserstein distance of samples of numbers: (∫₀¹ |A(q) - B(q)|ᵖ dq)^(1/p), A, B quantiles.

    ``a``, ``b``: (N,) and (M,), in any order; for N = M and p = 1 this is the mean difference of
    the sorted samples, in the same units. ``p``: a number of at least 1; ``a_weights``,
    ``b_weights``: (N,) and (M,), how much each number counts, not negative; they are divided by
    their sum. Any of these may be a Tensor and has a gradient. For p = 1 it is SciPy's
    wasserstein_distance. Where the samples coincide the derivative is 0.

    Raises ValueError for other shapes, an empty sample, p below 1 or infinite, a negative weight
    or weights that are all 0.

    >>> import tapegrad as tg
    >>> tg.losses.wasserstein_distance_1d(tg.tensor([3.0, 0.0, 1.0]), tg.tensor([5.0, 6.0, 8.0]))
    tensor(5.)
    >>> tg.losses.wasserstein_distance_1d(tg.tensor([0.0, 2.0]), tg.tensor([1.0]), p=2)
    tensor(1.)

    Source: Vallender (1974), Calculation of the Wasserstein distance between probability
    distributions on the line.
    """
    what = "wasserstein_distance_1d"
    a, b = tensors(what, a=a, b=b)
    for name, sample in (("a", a), ("b", b)):
        floating(what, name, sample)
        dimensions(what, name, sample, "(N,)", 1)
        not_empty(what, name, sample)
    setting(what, "p", p, ())
    check(
        (as_tensor(p) >= 1.0) & (as_tensor(p) < inf),
        f"{what}: p must be at least 1 and finite, but it is {{}}",
        p,
    )
    if a_weights is None and b_weights is None and a.shape == b.shape:
        gap, share = sort(a).values - sort(b).values, 1.0 / a.shape[0]
    else:
        a, a_ends = _steps(what, "a", a, a_weights)
        b, b_ends = _steps(what, "b", b, b_weights)
        # Between two neighbours of all ends, both quantile functions are constant.
        ends = sort(cat([a_ends, b_ends])).values
        share = diff(ends, prepend=zeros(1, dtype=ends.dtype))
        gap = a[searchsorted(a_ends, ends)] - b[searchsorted(b_ends, ends)]
    if not isinstance(p, Tensor) and p == 1:
        return (share * abs(gap)).sum()
    # In units of the largest gap, so that powers stay in range; the distance is the same in any.
    unit = stop_gradient(amax(abs(gap)))
    unit = where(unit == 0, 1.0, unit)
    total = (share * _power(gap / unit, p)).sum()
    nought = total == 0
    return unit * where(nought, 0.0, where(nought, 1.0, total) ** (1.0 / p))


def _power(gap: Tensor, p: Any) -> Tensor:
    """|gap|ᵖ, p ≥ 1, with derivatives 0 at 0, but for the second at p = 2: that of gap²."""
    nought = gap == 0
    power = abs(where(nought, 1.0, gap)) ** p
    return where(nought, where(as_tensor(p) == 2, gap * gap, 0.0), power)


def _steps(what: str, name: str, sample: Tensor, weights: Any) -> tuple[Tensor, Tensor]:
    """A sample's quantile function: its steps in ascending order, and where each ends."""
    steps = sort(sample)
    if weights is None:
        count = sample.shape[0]
        return steps.values, arange(1, count + 1, dtype=sample.dtype) / count
    called = f"{name}_weights"
    (weights,) = tensors(what, **{called: weights})
    same_shape(what, name, sample, called, weights)
    check(
        weights >= 0,
        lambda weights: (
            f"{what}: {called} must not be negative, but {first_bad(weights >= 0, weights)}"
        ),
        weights,
    )
    ends = cumsum(weights[steps.indices], dim=0)
    check(ends[-1] > 0, f"{what}: {called} must not all be 0")
    return steps.values, ends / ends[-1]


class WassersteinDistance1d(Loss):
    """:func:`wasserstein_distance_1d` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.WassersteinDistance1d(p=2)(tg.tensor([0.0, 1.0]), tg.tensor([3.0, 4.0]))
    tensor(3.)
    """

    function = staticmethod(wasserstein_distance_1d)


#: How much each of a sample counts.
COUNTS = Kind(REALS.draw, exp)
MORE_COUNTS = Kind(MORE_REALS.draw, exp)

ROWS = (
    Row(
        wasserstein_distance_1d,
        (REALS, REALS),
        WassersteinDistance1d,
        names=("earth_mover",),
        settings=({"p": 1.7}, {"p": 2}, {"a_weights": COUNTS}),
        uneven=True,
    ),
    Row(
        wasserstein_distance_1d,
        (REALS, MORE_REALS),
        settings=({"p": 2.0, "a_weights": COUNTS, "b_weights": MORE_COUNTS},),
        uneven=True,
        case="samples of two sizes",
    ),
)
