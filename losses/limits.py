"""Quotients that losses need where their formulas are 0/0."""

from __future__ import annotations

import math
from typing import Any

from tapegrad import clip, expm1, where

#: Below it the series serves: its first 14 terms are exact to rounding there, up to the second
#: derivative, and above it so is the quotient.
NEAR = 0.3
FACTORIALS = [math.factorial(k) for k in range(14, 0, -1)]


def exprel(u: Any) -> Any:
    """(e^u - 1)/u and 1 at u = 0, smooth there: the series 1 + u/2 + u²/6 + ..."""
    near = (u > -NEAR) & (u < NEAR)
    small, large = clip(u, -NEAR, NEAR), where(near, 1.0, u)
    series = 0.0
    for factorial in FACTORIALS:
        series = series * small + 1.0 / factorial
    return where(near, series, expm1(large) / large)
