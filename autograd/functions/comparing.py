"""Comparisons and tests; their results are off the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import comparisons as ops
from ..tensors import Tensor
from ..values import shape_of
from .operators import operator_method, reflected_method

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "eq",
    "equal",
    "gcd",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "lcm",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
]

eq, ne, lt, le, gt, ge = ops.eq, ops.ne, ops.lt, ops.le, ops.gt, ops.ge
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge
isfinite, isnan, isinf = ops.isfinite, ops.isnan, ops.isinf
logical_and, logical_or = ops.logical_and, ops.logical_or
logical_xor, logical_not = ops.logical_xor, ops.logical_not
bitwise_and, bitwise_or, bitwise_xor = ops.bitwise_and, ops.bitwise_or, ops.bitwise_xor
bitwise_not, bitwise_left_shift = ops.bitwise_not, ops.bitwise_left_shift
bitwise_right_shift = ops.bitwise_right_shift

gcd, lcm = ops.gcd, ops.lcm


def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether |input - other| ≤ atol + rtol·|other|, element by element: a boolean tensor.

    Equal infinities are close; ``equal_nan``: so are two NaNs.

    >>> import tapegrad as tg
    >>> tg.isclose(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    return ops.isclose(input, other, rtol=float(rtol), atol=float(atol), equal_nan=bool(equal_nan))


def allclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close in the sense of :func:`isclose`: True or False.

    >>> import tapegrad as tg
    >>> tg.allclose(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.1]))
    False
    """
    close = isclose(input, other, rtol, atol, equal_nan)
    return bool(np.all(close._value if isinstance(close, Tensor) else close))


def equal(input: Any, other: Any) -> bool:
    """Whether two tensors have the same shape and the same elements: True or False.

    (:func:`eq` compares element by element.) NaN equals nothing.

    >>> import tapegrad as tg
    >>> tg.equal(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.0]))
    True
    """
    a = input._value if isinstance(input, Tensor) else input
    b = other._value if isinstance(other, Tensor) else other
    return shape_of(a) == shape_of(b) and bool(np.all(np.equal(a, b)))


METHODS: dict[str, Any] = {
    "__eq__": operator_method(eq),
    "__ne__": operator_method(ne),
    "__lt__": operator_method(lt),
    "__le__": operator_method(le),
    "__gt__": operator_method(gt),
    "__ge__": operator_method(ge),
    "__and__": operator_method(bitwise_and),
    "__or__": operator_method(bitwise_or),
    "__xor__": operator_method(bitwise_xor),
    "__lshift__": operator_method(bitwise_left_shift),
    "__rshift__": operator_method(bitwise_right_shift),
    "__rand__": reflected_method(bitwise_and),
    "__ror__": reflected_method(bitwise_or),
    "__rxor__": reflected_method(bitwise_xor),
    "__rlshift__": reflected_method(bitwise_left_shift),
    "__rrshift__": reflected_method(bitwise_right_shift),
    "__invert__": bitwise_not,
    **{name: globals()[name] for name in __all__},
}
