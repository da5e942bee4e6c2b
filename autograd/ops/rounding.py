"""Rounding, steps, and the remainders of division. Where a function is constant its derivative is
0, and 0 is also stated at its jumps: nothing flows through a rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..families import elementwise
from ..registry import Sample
from ..values import dtype_of
from .arithmetic import PAIR, where

APART = [[0.5, -1.25, 2.25], [1.5, 0.75, -0.375]]
STEPS = [Sample(APART), Sample(-0.375)]


def _rounded(function: Any) -> Any:
    """A forward that leaves integers as they are (before NumPy 2.1 they became floats)."""

    def forward(x: Any) -> Any:
        if dtype_of(x).kind in "iub":
            return x.copy() if type(x) is np.ndarray else x
        return function(x)

    return forward


floor = elementwise(
    "floor",
    _rounded(np.floor),
    0.0,
    floating=False,
    samples=STEPS,
    doc="""The largest whole number ≤ x; derivative 0.

    >>> import tapegrad as tg
    >>> tg.floor(tg.tensor([1.5, -1.5]))
    tensor([ 1., -2.])
    """,
)
ceil = elementwise(
    "ceil",
    _rounded(np.ceil),
    0.0,
    floating=False,
    samples=STEPS,
    doc="""The smallest whole number ≥ x; derivative 0.

    >>> import tapegrad as tg
    >>> tg.ceil(tg.tensor([1.5, -1.5]))
    tensor([ 2., -1.])
    """,
)
trunc = elementwise(
    "trunc",
    _rounded(np.trunc),
    0.0,
    floating=False,
    samples=STEPS,
    doc="""The whole part of x, rounded towards 0; derivative 0.

    >>> import tapegrad as tg
    >>> tg.trunc(tg.tensor([1.5, -1.5]))
    tensor([ 1., -1.])
    """,
)
round = elementwise(
    "round",
    _rounded(np.rint),
    0.0,
    floating=False,
    samples=[Sample([[0.25, -1.25, 2.25], [1.625, 0.75, -0.375]]), Sample(-0.375)],
    doc="""The nearest whole number, halves to the even one; derivative 0.

    >>> import tapegrad as tg
    >>> tg.round(tg.tensor([0.5, 1.5, 2.6]))
    tensor([0., 2., 3.])
    """,
)


def _heaviside(x: Any, values: Any) -> Any:
    y = np.heaviside(x, values)  # which is floating for integers, too
    whole = dtype_of(x).kind in "iub" and dtype_of(values).kind in "iub"
    return y.astype(dtype_of(x)) if whole else y


heaviside = elementwise(
    "heaviside",
    _heaviside,
    0.0,
    lambda _y, x, _values: where(x == 0, 1.0, 0.0),
    floating=False,
    samples=PAIR,
    doc="""0 below 0, 1 above, and ``values`` where x is 0.

    Derivatives: 0 by x, at the jump too; 1 by ``values`` where x is 0.

    >>> import tapegrad as tg
    >>> tg.heaviside(tg.tensor([-1.0, 0.0, 2.0]), tg.tensor(0.5))
    tensor([0.0000, 0.5000, 1.0000])
    """,
)


def _whole(function: Any, name: str) -> Any:
    """A forward that refuses to divide integers by 0 (NumPy gives 0 and a warning)."""

    def forward(a: Any, b: Any) -> Any:
        if dtype_of(b).kind in "iub" and dtype_of(a).kind in "iub" and np.any(b == 0):
            raise ZeroDivisionError(f"{name}: division of integers by zero")
        return function(a, b)

    return forward


floor_divide = elementwise(
    "floor_divide",
    _whole(np.floor_divide, "floor_divide"),
    0.0,
    0.0,
    floating=False,
    samples=PAIR,
    doc="""floor(a / b), as Python's ``//``; derivatives 0. Integers stay integers.

    ZeroDivisionError for integers divided by 0.

    >>> import tapegrad as tg
    >>> tg.floor_divide(tg.tensor([7.0, -7.0]), 2.0)
    tensor([ 3., -4.])
    """,
)
trunc_divide = elementwise(
    "trunc_divide",
    _whole(lambda a, b: _trunc_divide(a, b), "div"),
    0.0,
    0.0,
    floating=False,
    samples=PAIR,
    doc="""trunc(a / b): what ``div(a, b, rounding_mode="trunc")`` is; derivatives 0.

    >>> import tapegrad as tg
    >>> tg.div(tg.tensor([7, -7]), 2, rounding_mode="trunc")
    tensor([ 3, -3])
    """,
)


def _trunc_divide(a: Any, b: Any) -> Any:
    if dtype_of(a).kind == "f" or dtype_of(b).kind == "f":
        return np.trunc(np.true_divide(a, b))
    return np.floor_divide(a - np.fmod(a, b), b)


remainder = elementwise(
    "remainder",
    _whole(np.remainder, "remainder"),
    1.0,
    lambda _y, a, b: -floor_divide(a, b),
    floating=False,
    samples=PAIR,
    doc="""a - b·floor(a / b), with the sign of b, as Python's ``%``.

    Derivatives: 1 by a, -floor(a / b) by b. ZeroDivisionError for integers by 0.

    >>> import tapegrad as tg
    >>> tg.remainder(tg.tensor([7.0, -7.0]), 3.0)
    tensor([1., 2.])
    """,
)
fmod = elementwise(
    "fmod",
    _whole(np.fmod, "fmod"),
    1.0,
    lambda _y, a, b: -trunc_divide(a, b),
    floating=False,
    samples=PAIR,
    doc="""a - b·trunc(a / b), with the sign of a, as C's ``fmod``.

    Derivatives: 1 by a, -trunc(a / b) by b. ZeroDivisionError for integers by 0.

    >>> import tapegrad as tg
    >>> tg.fmod(tg.tensor([7.0, -7.0]), 3.0)
    tensor([ 1., -1.])
    """,
)
