"""Arithmetic with torch's arguments, and the operators of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import arithmetic as ops
from ..ops.exponentials import exp, log, sqrt, tanh
from ..tensor import Tensor
from .products import matmul

__all__ = ["abs", "add", "div", "exp", "log", "maximum", "minimum", "mul", "neg", "pow", "sign", "sqrt", "sub", "tanh", "where"]

add, sub, mul, div, neg, pow = ops.add, ops.sub, ops.mul, ops.div, ops.neg, ops.pow
abs, sign, maximum, minimum, where = ops.abs, ops.sign, ops.maximum, ops.minimum, ops.where

_OPERANDS = (Tensor, int, float, bool, np.ndarray, np.generic)


def _operator(function: Any) -> Any:
    """An operator: the function itself for operands it knows, NotImplemented for strangers."""
    primitive = function

    def method(self: Any, other: Any) -> Any:
        if isinstance(other, _OPERANDS):
            return primitive(self, other)
        return NotImplemented

    return method


def _reflected(function: Any) -> Any:
    def method(self: Any, other: Any) -> Any:
        if isinstance(other, _OPERANDS):
            return function(other, self)
        return NotImplemented

    return method


# The four hot operators are the primitives themselves: one call less.
OPERATORS = {
    "__add__": add,
    "__sub__": sub,
    "__mul__": mul,
    "__truediv__": div,
    "__radd__": _reflected(add),
    "__rsub__": _reflected(sub),
    "__rmul__": _reflected(mul),
    "__rtruediv__": _reflected(div),
    "__pow__": _operator(pow),
    "__rpow__": _reflected(pow),
    "__matmul__": _operator(matmul),
    "__rmatmul__": _reflected(matmul),
    "__neg__": neg,
    "__pos__": ops.positive,
    "__abs__": abs,
    "__eq__": _operator(ops.equal),
    "__ne__": _operator(ops.not_equal),
    "__lt__": _operator(ops.less),
    "__le__": _operator(ops.less_equal),
    "__gt__": _operator(ops.greater),
    "__ge__": _operator(ops.greater_equal),
    "__and__": _operator(ops.logical_and),
    "__or__": _operator(ops.logical_or),
    "__xor__": _operator(ops.logical_xor),
    "__invert__": ops.logical_not,
}

METHODS = {
    **OPERATORS,
    **{n: globals()[n] for n in ("abs", "add", "div", "exp", "log", "maximum", "minimum", "mul", "neg", "pow", "sign", "sqrt", "sub", "tanh")},
}
