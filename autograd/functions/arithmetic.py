"""Arithmetic with torch's arguments: sums, products, powers, bounds, selection, rounding; and the
operators of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import arithmetic as ops
from ..ops import rounding, trigonometry
from ..ops.indexing import nonzero
from ..ops.shaping import cast, reshape
from ..tensors import Tensor
from ..values import dtype_of, float64, shape_of
from .comparing import isinf, isnan
from .operators import hot_operator, operator_method, reflected_method
from .products import matmul

abs, neg, positive, sign = ops.abs, ops.neg, ops.positive, ops.sign
absolute, negative, sgn = abs, neg, sign
mul, reciprocal, square = ops.mul, ops.reciprocal, ops.square
multiply = mul
copysign, maximum, minimum, fmax, fmin = (
    ops.copysign,
    ops.maximum,
    ops.minimum,
    ops.fmax,
    ops.fmin,
)
relu, hypot = ops.relu, trigonometry.hypot
floor, ceil, trunc = rounding.floor, rounding.ceil, rounding.trunc
fix = trunc
floor_divide, remainder, fmod = rounding.floor_divide, rounding.remainder, rounding.fmod


# -- sums, products, quotients --------------------------------------------------------------
def add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input + alpha·other, element by element, with broadcasting.

    Raises RuntimeError when the shapes do not broadcast.

    >>> import tapegrad as tg
    >>> tg.add(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]), alpha=10)
    tensor([11., 12.])
    """
    return ops.add(input, other if alpha is _ONE else other * alpha)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input - alpha·other, element by element, with broadcasting.

    Raises RuntimeError when the shapes do not broadcast, TypeError for booleans.

    >>> import tapegrad as tg
    >>> tg.sub(tg.tensor([1.0, 2.0]), 0.5)
    tensor([0.5000, 1.5000])
    """
    return ops.sub(input, other if alpha is _ONE else other * alpha)


_ONE = 1  # Python keeps one object for it
subtract = sub


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """input / other, element by element, with broadcasting.

    ``rounding_mode``: None for the true quotient (integers become floats), ``"trunc"`` to round it
    towards 0, ``"floor"`` to round it down, as Python's ``//``; rounded, integers stay integers
    and the derivatives are 0. Raises ZeroDivisionError for integers rounded by 0.

    >>> import tapegrad as tg
    >>> tg.div(tg.tensor([7.0, -7.0]), 2.0)
    tensor([ 3.5000, -3.5000])
    >>> tg.div(tg.tensor([7, -7]), 2, rounding_mode="floor")
    tensor([ 3, -4])
    """
    if rounding_mode is None:
        return ops.div(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        return rounding.trunc_divide(input, other)
    raise RuntimeError(
        f"div: rounding_mode must be None, 'trunc' or 'floor', not {rounding_mode!r}"
    )


divide = div


def true_divide(input: Any, other: Any) -> Any:
    """input / other: :func:`div` without rounding.

    >>> import tapegrad as tg
    >>> tg.true_divide(tg.tensor([7, 1]), 2)
    tensor([3.5000, 0.5000])
    """
    return ops.div(input, other)


def _divmod(input: Any, other: Any) -> tuple[Any, Any]:
    return floor_divide(input, other), remainder(input, other)


def pow(input: Any, exponent: Any) -> Any:
    return ops.pow(input, exponent)


pow.__doc__ = ops.pow.__doc__


def float_power(input: Any, exponent: Any) -> Any:
    """input^exponent, computed in float64 whatever the operands are.

    >>> import tapegrad as tg
    >>> tg.float_power(tg.tensor([1, 2]), -2)
    tensor([1.0000, 0.2500], dtype=float64)
    """
    return ops.pow(_double(input), _double(exponent))


def _double(x: Any) -> Any:
    if isinstance(x, (Tensor, np.ndarray, np.generic)):
        return x if x.dtype == float64 else cast(x, dtype=float64)
    return float(x)


def lerp(input: Any, end: Any, weight: Any) -> Any:
    """The straight line input + weight·(end - input).

    ``weight``: a number, or a tensor that broadcasts.

    >>> import tapegrad as tg
    >>> tg.lerp(tg.tensor([0.0, 10.0]), tg.tensor([10.0, 20.0]), 0.25)
    tensor([ 2.5000, 12.5000])
    """
    return input + weight * (end - input)


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """input + value·tensor1·tensor2.

    A fractional ``value`` makes integers floats, as a product by it does (torch cuts it to a whole
    number first).

    >>> import tapegrad as tg
    >>> tg.addcmul(tg.tensor([1.0]), tg.tensor([2.0]), tg.tensor([3.0]), value=0.5)
    tensor([4.])
    """
    return input + (tensor1 * tensor2 if value is _ONE else value * tensor1 * tensor2)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """input + value·tensor1 / tensor2.

    >>> import tapegrad as tg
    >>> tg.addcdiv(tg.tensor([1.0]), tg.tensor([2.0]), tg.tensor([4.0]), value=3)
    tensor([2.5000])
    """
    return input + (tensor1 / tensor2 if value is _ONE else value * tensor1 / tensor2)


# -- bounds and selection -------------------------------------------------------------------
def clip(input: Any, min: Any = None, max: Any = None) -> Any:
    """input held between ``min`` and ``max``, each a number, a tensor that broadcasts, or None.

    A bound takes the gradient of the elements that it replaces; at a bound x keeps it (the
    derivative there is 1; hardtanh's is 0). Where min > max the result is max. Raises RuntimeError
    when both are None.

    >>> import tapegrad as tg
    >>> tg.clip(tg.tensor([-2.0, 0.5, 2.0]), -1.0, 1.0)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("clip: at least one of min and max must be given")
    if min is not None:
        input = ops.clamp_min(input, min)
    return input if max is None else ops.clamp_max(input, max)


clamp = clip


def clamp_min(input: Any, min: Any) -> Any:
    return ops.clamp_min(input, min)


def clamp_max(input: Any, max: Any) -> Any:
    return ops.clamp_max(input, max)


clamp_min.__doc__, clamp_max.__doc__ = ops.clamp_min.__doc__, ops.clamp_max.__doc__


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """``input`` where ``condition`` holds, ``other`` elsewhere, with broadcasting.

    ``condition``: boolean (integers: not 0). ``input``, ``other``: tensors or numbers. Elements
    that are not selected get the gradient 0, but a derivative that is infinite or NaN there makes
    0·inf = NaN further down: replace the argument too, ``where(ok, sqrt(where(ok, x, 1.0)), 0.0)``.
    With the condition alone: the indices where it holds, a tuple of one tensor per dimension.

    The dtype is the one that both promote to, as in torch: a number keeps that of a tensor of its
    kind, two numbers give the default dtype, or int64 or bool where neither is a float.

    Raises TypeError for a condition of floats.

    >>> import tapegrad as tg
    >>> x = tg.tensor([-1.0, 2.0])
    >>> tg.where(x > 0, x, 0.0)
    tensor([0., 2.])
    >>> tg.where(x > 0)
    (tensor([1]),)
    """
    is_tensor = isinstance(condition, Tensor)
    if input is None and other is None:
        rows = nonzero(condition if shape_of(condition) else reshape(condition, shape=(1,)))
        return tuple(rows[:, i] for i in range(shape_of(rows)[1]))
    if input is None or other is None:
        raise TypeError("where: give both input and other, or the condition alone")
    if dtype_of(condition._value if is_tensor else condition).kind not in "biu":
        raise TypeError(
            f"where: the condition must be boolean, not {dtype_of(condition)}: say condition != 0"
        )
    return ops.where(condition, input, other)


def _where_method(self: Any, condition: Any, other: Any) -> Any:
    """self where ``condition`` holds, ``other`` elsewhere: :func:`where` as torch's method."""
    return where(condition, self, other)


def leaky_relu(input: Any, negative_slope: Any = 0.01) -> Any:
    """x above 0, negative_slope·x below; at 0 the derivative is ``negative_slope``.

    ``negative_slope``: a number, or a tensor that broadcasts (and gets its gradient).

    >>> import tapegrad as tg
    >>> tg.leaky_relu(tg.tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1000,  2.0000])

    Source: Maas, Hannun and Ng (2013), Rectifier nonlinearities improve neural network acoustic
    models.
    """
    # a slope that gets a gradient must not get 0·∞ from what it does not multiply
    below = ops.clamp_max(input, 0.0) if isinstance(negative_slope, Tensor) else input
    return ops.where(input > 0, input, below * negative_slope)


def nan_to_num(input: Any, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """input with NaN, inf and -inf replaced; None stands for the largest finite numbers.

    What is replaced gets the gradient 0.

    >>> import tapegrad as tg
    >>> tg.nan_to_num(tg.tensor([1.0, tg.nan, tg.inf]), posinf=9.0)
    tensor([1., 0., 9.])
    """
    dtype = dtype_of(input)
    if dtype.kind != "f":
        return positive(input) if dtype.kind != "b" else input
    largest = float(np.finfo(dtype).max)
    infinite = isinf(input)
    input = ops.where(infinite & (input > 0), largest if posinf is None else posinf, input)
    input = ops.where(infinite & (input < 0), -largest if neginf is None else neginf, input)
    return ops.where(isnan(input), nan, input)


# -- rounding and steps ---------------------------------------------------------------------
def round(input: Any, *, decimals: int = 0) -> Any:
    """The nearest whole number, halves to the even one, or the nearest multiple of 10^-decimals.

    The derivative is 0.

    >>> import tapegrad as tg
    >>> tg.round(tg.tensor([0.5, 1.5, 2.6]))
    tensor([0., 2., 3.])
    >>> tg.round(tg.tensor([1.234, 5.678]), decimals=1)
    tensor([1.2000, 5.7000])
    """
    if decimals == 0:
        return rounding.round(input)
    if decimals > 0:
        return rounding.round(input * 10.0**decimals) / 10.0**decimals
    return rounding.round(input / 10.0**-decimals) * 10.0**-decimals


def heaviside(input: Any, values: Any) -> Any:
    return rounding.heaviside(input, values)


heaviside.__doc__ = rounding.heaviside.__doc__


def frac(input: Any) -> Any:
    """The fractional part x - trunc(x), with the sign of x; its derivative is 1.

    >>> import tapegrad as tg
    >>> tg.frac(tg.tensor([1.5, -2.25]))
    tensor([ 0.5000, -0.2500])
    """
    return input - trunc(input)


__all__ = [
    "abs",
    "absolute",
    "add",
    "addcdiv",
    "addcmul",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "copysign",
    "div",
    "divide",
    "fix",
    "float_power",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "heaviside",
    "hypot",
    "leaky_relu",
    "lerp",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "nan_to_num",
    "neg",
    "negative",
    "positive",
    "pow",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "sgn",
    "sign",
    "square",
    "sub",
    "subtract",
    "true_divide",
    "trunc",
    "where",
]

# The four hot operators record as the primitives themselves do: one call less.
OPERATORS = {
    "__add__": hot_operator(ops.add),
    "__sub__": hot_operator(ops.sub),
    "__mul__": hot_operator(ops.mul),
    "__truediv__": hot_operator(ops.div),
    "__radd__": reflected_method(ops.add),
    "__rsub__": reflected_method(ops.sub),
    "__rmul__": reflected_method(ops.mul),
    "__rtruediv__": reflected_method(ops.div),
    "__floordiv__": operator_method(floor_divide),
    "__rfloordiv__": reflected_method(floor_divide),
    "__mod__": operator_method(remainder),
    "__rmod__": reflected_method(remainder),
    "__divmod__": operator_method(_divmod),
    "__rdivmod__": reflected_method(_divmod),
    "__pow__": operator_method(ops.pow),
    "__rpow__": reflected_method(ops.pow),
    "__matmul__": operator_method(matmul),
    "__rmatmul__": reflected_method(matmul),
    "__neg__": neg,
    "__pos__": positive,
    "__abs__": abs,
}

METHODS = {
    **OPERATORS,
    **{name: globals()[name] for name in __all__ if name not in ("where", "leaky_relu")},
    "where": _where_method,
}
