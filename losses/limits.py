"""What losses need where their formulas are 0/0 or 0·∞."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, abs, exp, expm1, inf, tensor, where

#: Below it the mean of exponentials serves, exact to rounding up to its second derivative; above
#: it so is the quotient.
NEAR = 0.3
#: Gauss's quadrature on [0, 1] with five points.
NODES = (0.046910077030668, 0.23076534494715845, 0.5, 0.7692346550528415, 0.953089922969332)
WEIGHTS = (
    *(0.11846344252809454, 0.23931433524968324, 0.28444444444444444),
    *(0.23931433524968324, 0.11846344252809454),
)


def exprel(u: Tensor) -> Tensor:
    """(e^u - 1)/u and 1 at u = 0, smooth there: the mean of e^(ut) over t from 0 to 1."""
    near = abs(u) < NEAR
    nodes, weights = tensor(NODES, dtype=u.dtype), tensor(WEIGHTS, dtype=u.dtype)
    mean = exp(where(near, u, 0.0).unsqueeze(-1) * nodes) @ weights
    large = where(near, 1.0, u)
    return where(near, mean, expm1(large) / large)


def times_exp(x: Any, exponent: Any) -> Any:
    """x·e^exponent, and 0 where x is 0, though the exponential be too large for a number."""
    lost = (x == 0) & (exp(exponent) == inf)
    return x * exp(where(lost, 0.0, exponent))
