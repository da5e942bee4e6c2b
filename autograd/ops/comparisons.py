"""Comparisons, tests and logic: no derivative, the results are off the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..families import constant
from ..registry import Sample
from ..values import dtype_of

X = [[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]]
Y = [[1.5, -1.25, -0.75], [-2.0, 1.25, 0.625]]
BITS = [[True, False, True], [False, True, True]]
MASK = [True, True, False]


def _comparison(name: str, forward: Any, symbol: str, values: str) -> Any:
    return constant(
        name,
        forward,
        samples=[Sample(X, Y), Sample(X, Y[0]), Sample(0.5, 0.5)],
        doc=f"""a {symbol} b, element by element, with broadcasting: a boolean tensor off the tape.

    >>> import tapegrad as tg
    >>> tg.{name}(tg.tensor([1.0, 2.0, 3.0]), 2.0)
    tensor([{values}])
    """,
    )


eq = _comparison("eq", np.equal, "=", "False,  True, False")
ne = _comparison("ne", np.not_equal, "≠", " True, False,  True")
lt = _comparison("lt", np.less, "<", " True, False, False")
le = _comparison("le", np.less_equal, "≤", " True,  True, False")
gt = _comparison("gt", np.greater, ">", "False, False,  True")
ge = _comparison("ge", np.greater_equal, "≥", "False,  True,  True")


def _test(name: str, forward: Any, says: str, values: str) -> Any:
    return constant(
        name,
        forward,
        samples=[Sample(X), Sample([0.0, np.inf, -np.inf, np.nan]), Sample(0.5)],
        doc=f"""Whether each element is {says}: a boolean tensor off the tape.

    >>> import tapegrad as tg
    >>> tg.{name}(tg.tensor([1.0, tg.inf, tg.nan]))
    tensor([{values}])
    """,
    )


isfinite = _test("isfinite", np.isfinite, "neither infinite nor NaN", " True, False, False")
isnan = _test("isnan", np.isnan, "NaN", "False, False,  True")
isinf = _test("isinf", np.isinf, "inf or -inf", "False,  True, False")


def _isclose(a: Any, b: Any, *, rtol: float, atol: float, equal_nan: bool) -> Any:
    if dtype_of(a).kind == "b":
        return np.equal(a, b)
    with np.errstate(invalid="ignore"):  # inf - inf, which a == b decides
        near = np.isfinite(b) & (np.abs(a - b) <= atol + rtol * np.abs(b))
    near = near | (a == b)
    return near | ((a != a) & (b != b)) if equal_nan else near


isclose = constant(
    "isclose",
    _isclose,
    promotes=0,
    samples=[Sample(X, Y, rtol=1e-5, atol=1e-8, equal_nan=False)],
    doc="""Whether |a - b| ≤ atol + rtol·|b|, element by element; equal infinities are close.

    >>> import tapegrad as tg
    >>> tg.isclose(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.1]))
    tensor([ True, False])
    """,
)


def _logic(name: str, forward: Any, says: str, values: str) -> Any:
    return constant(
        name,
        forward,
        samples=[Sample(BITS, MASK), Sample(True, False)],
        doc=f"""{says}, element by element; what is not 0 counts as true.

    >>> import tapegrad as tg
    >>> tg.{name}(tg.tensor([True, True, False]), tg.tensor([True, False, False]))
    tensor([{values}])
    """,
    )


logical_and = _logic("logical_and", np.logical_and, "Both of a and b", " True, False, False")
logical_or = _logic(
    "logical_or", np.logical_or, "Either of a and b, or both", " True,  True, False"
)
logical_xor = _logic("logical_xor", np.logical_xor, "Just one of a and b", "False,  True, False")
logical_not = constant(
    "logical_not",
    np.logical_not,
    samples=[Sample(BITS), Sample(True)],
    doc="""True where x is 0 or False.

    >>> import tapegrad as tg
    >>> tg.logical_not(tg.tensor([True, False]))
    tensor([False,  True])
    """,
)


def _bits(name: str, forward: Any, says: str, value: str) -> Any:
    return constant(
        name,
        forward,
        promotes=0,
        samples=[Sample([6, 12, 3], [3, 4, 1]), Sample(6, 3)],
        doc=f"""{says}, of integers. TypeError for floats.

    >>> import tapegrad as tg
    >>> tg.{name}(tg.tensor(6), tg.tensor(3))
    tensor({value})
    """,
    )


bitwise_and = _bits("bitwise_and", np.bitwise_and, "a & b, bit by bit (of booleans: both)", "2")
bitwise_or = _bits("bitwise_or", np.bitwise_or, "a | b, bit by bit (of booleans: either)", "7")
bitwise_xor = _bits("bitwise_xor", np.bitwise_xor, "a ^ b, bit by bit (of booleans: just one)", "5")
bitwise_left_shift = _bits(
    "bitwise_left_shift", np.left_shift, "a << b: the bits moved up by b", "48"
)
bitwise_right_shift = _bits(
    "bitwise_right_shift", np.right_shift, "a >> b: the bits moved down by b", "0"
)
gcd = _bits("gcd", np.gcd, "The greatest common divisor, not negative; of 0 and 0 it is 0", "3")
lcm = _bits("lcm", np.lcm, "The least common multiple, not negative; 0 where one is 0", "6")
bitwise_not = constant(
    "bitwise_not",
    np.invert,
    samples=[Sample([6, 12, 3]), Sample(BITS), Sample(True)],
    doc="""~x, bit by bit, of integers and booleans. TypeError for floats.

    >>> import tapegrad as tg
    >>> tg.bitwise_not(tg.tensor([True, False]))
    tensor([False,  True])
    """,
)
