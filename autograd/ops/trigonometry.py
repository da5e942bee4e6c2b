"""Trigonometric functions and their inverses, and the two functions of a right triangle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..families import elementwise
from ..registry import Sample
from ..values import dtype_of
from .arithmetic import PAIR, A, choose
from .exponentials import ANY, INSIDE, one_minus_square, rsqrt

sin = elementwise(
    "sin",
    np.sin,
    lambda _y, x: cos(x),
    analytic=True,
    samples=ANY,
    doc="""The sine of x, in radians.

    >>> import tapegrad as tg
    >>> tg.sin(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """,
)
cos: Any = elementwise(
    "cos",
    np.cos,
    lambda _y, x: -sin(x),
    analytic=True,
    samples=ANY,
    doc="""The cosine of x, in radians.

    >>> import tapegrad as tg
    >>> tg.cos(tg.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """,
)
tan = elementwise(
    "tan",
    np.tan,
    lambda y, _x: 1.0 + y * y,
    analytic=True,
    samples=ANY,
    doc="""The tangent of x, in radians.

    >>> import tapegrad as tg
    >>> tg.tan(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5574])
    """,
)
asin = elementwise(
    "asin",
    np.arcsin,
    lambda _y, x: rsqrt(one_minus_square(x)),
    analytic=True,
    samples=[Sample(INSIDE), Sample(0.5)],
    doc="""The inverse of sin, in radians from -π/2 to π/2; NaN outside [-1, 1].

    Its derivative at ±1 is inf.

    >>> import tapegrad as tg
    >>> tg.asin(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5708])
    """,
)
acos = elementwise(
    "acos",
    np.arccos,
    lambda _y, x: -rsqrt(one_minus_square(x)),
    analytic=True,
    samples=[Sample(INSIDE), Sample(0.5)],
    doc="""The inverse of cos, in radians from 0 to π; NaN outside [-1, 1].

    Its derivative at ±1 is -inf.

    >>> import tapegrad as tg
    >>> tg.acos(tg.tensor([0.0, 1.0]))
    tensor([1.5708, 0.0000])
    """,
)
atan = elementwise(
    "atan",
    np.arctan,
    lambda _y, x: 1.0 / (1.0 + x * x),
    analytic=True,
    samples=ANY,
    doc="""The inverse of tan, in radians from -π/2 to π/2.

    >>> import tapegrad as tg
    >>> tg.atan(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7854])
    """,
)


def _over(x: Any, r: Any) -> Any:
    """x / r, and 0 where the length r is 0."""
    return x / choose(r == 0, 1.0, r)


hypot = elementwise(
    "hypot",
    np.hypot,
    lambda y, a, _b: _over(a, y),
    lambda y, _a, b: _over(b, y),
    samples=PAIR,
    doc="""The length √(a² + b²), computed without overflow.

    At (0, 0) both derivatives are 0.

    >>> import tapegrad as tg
    >>> tg.hypot(tg.tensor(3.0), tg.tensor(4.0))
    tensor(5.)
    """,
)
atan2 = elementwise(
    "atan2",
    np.arctan2,
    lambda _y, a, b: _over(_over(b, hypot(a, b)), hypot(a, b)),
    lambda _y, a, b: -_over(_over(a, hypot(a, b)), hypot(a, b)),
    samples=PAIR,
    doc="""The angle of the point (x = b, y = a), in radians from -π to π.

    At (0, 0) both derivatives are 0.

    >>> import tapegrad as tg
    >>> tg.atan2(tg.tensor(1.0), tg.tensor(-1.0))
    tensor(2.3562)
    """,
)


# The cardinal sine is smooth at 0, where its formula is 0/0: its n-th derivative is a function of
# its own, sinc_n(x) = ∫₀¹ (πt)ⁿ cos(πxt + nπ/2) dt, and the derivative of that is the next one.
def _sinc(x: Any, *, order: int) -> Any:
    u = math.pi * x
    near = np.abs(u) < 2.0 + 0.5 * order
    far = np.where(near, 1.0, u)
    y = np.sin(far) / far
    for n in range(1, order + 1):  # u·f_n + n·f_{n-1} = sin^(n)(u)
        wave = (np.sin, np.cos)[n % 2](far) * (1.0 if n % 4 < 2 else -1.0)
        y = (wave - n * y) / far
    v = np.where(near, u, 0.0)
    square = v * v
    series: Any = 0.0 * v
    first = (order + 1) // 2
    for k in range(first + 14, first - 1, -1):  # Σ (-1)^k u^(2k-n) / ((2k-n)! (2k+1))
        power = 2 * k - order
        term = (-1.0) ** k / (math.factorial(power) * (2 * k + 1))
        series = term + square * series
    if order % 2:
        series = v * series
    y = np.where(near, series, y) * math.pi**order
    return y if dtype_of(y) == dtype_of(x) else y.astype(dtype_of(x))


sinc: Any = elementwise(
    "sinc",
    _sinc,
    lambda _y, x, *, order: sinc(x, order=order + 1),
    samples=[
        Sample(A, order=0),
        Sample([0.0, 1e-3, -0.25], order=0),
        Sample(0.5, order=0),
        Sample(A, order=1),
    ],
    doc="""The cardinal sine sin(πx)/(πx), 1 at 0, or its derivative of an ``order``.

    >>> import tapegrad as tg
    >>> tg.sinc(tg.tensor([0.0, 0.5, 1.0]))
    tensor([ 1.0000e+00,  6.3662e-01, -2.7828e-08])
    """,
)
