"""What losses need where their formulas are 0/0 or 0·∞."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from tapegrad import clip, exp, expm1, inf, where

#: Below it the series serves: its terms are exact to rounding there, up to the second derivative,
#: and above it so is the quotient.
NEAR = 0.3
#: 1/1!, 1/2!, ..., 1/14!
COEFFICIENTS = [*accumulate(range(2, 15), lambda c, k: c / k, initial=1.0)]


def exprel(u: Any) -> Any:
    """(e^u - 1)/u and 1 at u = 0, smooth there: the series 1 + u/2! + u²/3! + ..."""
    near = (u > -NEAR) & (u < NEAR)
    small, large = clip(u, -NEAR, NEAR), where(near, 1.0, u)
    series = 0.0
    for coefficient in reversed(COEFFICIENTS):
        series = series * small + coefficient
    return where(near, series, expm1(large) / large)


def times_exp(x: Any, exponent: Any) -> Any:
    """x·e^exponent, and 0 where x is 0, though the exponential be too large for a number."""
    lost = (x == 0) & (exp(exponent) == inf)
    return x * exp(where(lost, 0.0, exponent))
