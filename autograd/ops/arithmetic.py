"""Arithmetic: + - * / and powers, signs, extremes and selection."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..primitive import Sample, bilinear, constant, elementwise, general
from ..values import get_default_dtype

A = [[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]]
B = [[1.5, 0.25, -0.75], [-2.0, 1.25, 0.625]]
POSITIVE = [[0.5, 1.25, 2.0], [1.5, 0.75, 0.3]]
PAIR = [Sample(A, B), Sample(A, B[0]), Sample(1.5, A), Sample(0.75, -1.5)]

add = elementwise(
    "add", np.add, 1.0, 1.0, scalar=operator.add, floating=False, analytic=True, samples=PAIR
)
sub = elementwise(
    "sub", np.subtract, 1.0, -1.0, scalar=operator.sub, floating=False, analytic=True, samples=PAIR
)
mul = bilinear(
    "mul",
    np.multiply,
    lambda g, _a, b: g * b,
    lambda g, a, _b: g * a,
    scalar=operator.mul,
    elementwise=True,
    samples=PAIR,
)
div = elementwise(
    "div",
    np.true_divide,
    lambda _y, _a, b: 1.0 / b,
    lambda y, _a, b: -y / b,
    scalar=operator.truediv,
    analytic=True,
    samples=PAIR,
)
neg = elementwise(
    "neg",
    np.negative,
    -1.0,
    scalar=operator.neg,
    floating=False,
    analytic=True,
    samples=[Sample(A), Sample(-0.5)],
)
positive = elementwise(
    "positive", np.positive, 1.0, floating=False, analytic=True, samples=[Sample(A)]
)


def _power(x: Any, p: Any) -> Any:
    if type(p) in (int, float):
        if p == 2:
            return x * x
        if type(p) is int:
            p = float(p)
    return np.power(x, p)


# pow(x, p): negative bases keep their real values at integer exponents; a negative base to a
# fractional power, and its derivative by the exponent, is NaN (as torch's).
pow = elementwise(
    "pow",
    _power,
    lambda _y, x, p: where(p == 0, 0.0, p * pow(x, where(p == 0, 1.0, p - 1))),
    lambda y, x, p: where(
        (x == 0) & (p >= 0), 0.0, y * _log(where((x == 0) & (p >= 0), 1.0, x))
    ),
    samples=[
        Sample(POSITIVE, B),
        Sample(POSITIVE, 1.5),
        Sample(1.75, B),
    ],
)


def _log(x: Any) -> Any:
    from .exponentials import log

    return log(x)


abs = elementwise(
    "abs", np.abs, lambda _y, x: sign(x), scalar=operator.abs, floating=False, samples=[Sample(A)]
)
sign = elementwise("sign", np.sign, 0.0, floating=False, samples=[Sample(A)])


def _where(condition: Any, a: Any, b: Any) -> Any:
    if type(a) is float and type(b) is float and type(condition) is np.ndarray:
        return np.where(condition, *map(get_default_dtype().type, (a, b)))
    return np.where(condition, a, b)


where = general(
    "where",
    _where,
    lambda g, _y, _condition, _a, _b: None,
    lambda g, _y, condition, _a, _b: where(condition, g, 0.0),
    lambda g, _y, condition, _a, _b: where(condition, 0.0, g),
    push=lambda tangents, y, condition, a, b: where(
        condition,
        0.0 if tangents[1] is None else tangents[1],
        0.0 if tangents[2] is None else tangents[2],
    ),
    floating=False,
    promotes=1,
    samples=[Sample([[True, False, True], [False, True, True]], A, B)],
)
# The larger operand takes the gradient; at a tie they share it evenly.
maximum = elementwise(
    "maximum",
    np.maximum,
    lambda _y, a, b: where(a == b, 0.5, where(a > b, 1.0, 0.0)),
    lambda _y, a, b: where(a == b, 0.5, where(a < b, 1.0, 0.0)),
    floating=False,
    samples=PAIR,
)
minimum = elementwise(
    "minimum",
    np.minimum,
    lambda _y, a, b: where(a == b, 0.5, where(a < b, 1.0, 0.0)),
    lambda _y, a, b: where(a == b, 0.5, where(a > b, 1.0, 0.0)),
    floating=False,
    samples=PAIR,
)

equal = constant("eq", np.equal)
not_equal = constant("ne", np.not_equal)
less = constant("lt", np.less)
less_equal = constant("le", np.less_equal)
greater = constant("gt", np.greater)
greater_equal = constant("ge", np.greater_equal)
logical_and = constant("logical_and", np.logical_and)
logical_or = constant("logical_or", np.logical_or)
logical_xor = constant("logical_xor", np.logical_xor)
logical_not = constant("logical_not", np.logical_not)
