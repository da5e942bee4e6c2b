"""Arithmetic: + - * / and powers, signs, extremes, bounds and selection."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..families import bilinear, elementwise, general
from ..registry import Sample
from ..values import NUMBERS, PLAIN, boolean, dtype_of, float16, float32, float64, settle
from .shaping import cast

A = [[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]]
B = [[1.4, 0.3, -0.8], [-1.9, 1.15, 0.65]]  # never ties with A, nor divides it evenly
POSITIVE = [[0.5, 1.25, 2.0], [1.5, 0.75, 0.3]]
PAIR = [
    Sample(A, B),
    Sample(A, B[0]),
    Sample([[0.5], [-1.7]], [[1.25, -2.0, 0.75]]),
    Sample(1.6, A),
    Sample(0.75, -1.5),
]


# -- selection ------------------------------------------------------------------------------
_BITS = {float16: np.int16, float32: np.int32, float64: np.int64}


def _where(condition: Any, a: Any, b: Any) -> Any:
    if type(condition) is np.ndarray and condition.size > 2048:
        array = a if type(a) is np.ndarray else b
        bits = _BITS.get(dtype_of(array))
        if bits and condition.dtype == boolean and _fits(a, array) and _fits(b, array):
            if type(array) is np.ndarray and condition.shape == array.shape:
                return _select_bits(condition, a, b, array.dtype, bits)
    return np.where(condition, a, b)


def _fits(value: Any, array: Any) -> bool:
    """Whether a value is a number, or an array of the same shape and dtype as another."""
    if type(value) is np.ndarray:
        return value.shape == array.shape and value.dtype == array.dtype
    return type(value) in NUMBERS


def _select_bits(condition: Any, a: Any, b: Any, dtype: Any, bits: Any) -> Any:
    """np.where without its branch for every element, which on an irregular condition takes ten
    times as long: the same bits, chosen by masks."""
    mask = condition.astype(bits)
    np.negative(mask, out=mask)  # all ones where it holds
    left, right = (np.asarray(v, dtype).view(bits) for v in (a, b))
    if not right.ndim and not right:
        np.bitwise_and(mask, left, out=mask)
    else:  # right ^ ((left ^ right) & mask)
        np.bitwise_and(mask, left ^ right, out=mask)
        np.bitwise_xor(mask, right, out=mask)
    return mask.view(dtype)


# Off the tape for the condition; what is not selected gets 0, whatever its own derivative is.
where: Any = general(
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
    samples=[
        Sample([[True, False, True], [False, True, True]], A, B),
        Sample([True, False, True], A, 0.5),
        Sample(True, 1.5, -0.5),
    ],
    doc="""``a`` where ``condition`` holds, ``b`` elsewhere; the cotangent goes the same way.

    >>> import tapegrad as tg
    >>> tg.where(tg.tensor([True, False]), tg.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """,
)


def choose(condition: Any, a: Any, b: Any) -> Any:
    """``where`` for derivative rules: quick on the Python scalars of a scalar graph."""
    if type(condition) is bool:
        return a if condition else b
    return where(condition, a, b)


# -- sums and products ----------------------------------------------------------------------
add = elementwise(
    "add",
    np.add,
    1.0,
    1.0,
    scalar=operator.add,
    floating=False,
    analytic=True,
    samples=PAIR,
    doc="""The sum a + b, with broadcasting.

    >>> import tapegrad as tg
    >>> tg.tensor([1.0, 2.0]) + 1
    tensor([2., 3.])
    """,
)
sub = elementwise(
    "sub",
    np.subtract,
    1.0,
    -1.0,
    scalar=operator.sub,
    floating=False,
    analytic=True,
    samples=PAIR,
    doc="""The difference a - b, with broadcasting.

    >>> import tapegrad as tg
    >>> tg.tensor([1.0, 2.0]) - 1
    tensor([0., 1.])
    """,
)
mul = bilinear(
    "mul",
    np.multiply,
    lambda g, _y, _a, b: g * b,
    lambda g, _y, a, _b: g * a,
    scalar=operator.mul,
    elementwise=True,
    samples=PAIR,
    doc="""The product a·b, element by element, with broadcasting.

    >>> import tapegrad as tg
    >>> tg.mul(tg.tensor([1.0, 2.0]), 3.0)
    tensor([3., 6.])
    """,
)
div = elementwise(
    "div",
    np.true_divide,
    lambda _y, _a, b: 1.0 / b,
    lambda y, _a, b: -y / b,
    scalar=operator.truediv,
    analytic=True,
    samples=PAIR,
    doc="""The quotient a / b, with broadcasting; integers become floats. 0/0 is NaN.

    >>> import tapegrad as tg
    >>> tg.tensor([1, 2]) / 4
    tensor([0.2500, 0.5000])
    """,
)
neg = elementwise(
    "neg",
    np.negative,
    -1.0,
    scalar=operator.neg,
    floating=False,
    analytic=True,
    samples=[Sample(A), Sample(-0.5)],
    doc="""The negative -x.

    >>> import tapegrad as tg
    >>> tg.neg(tg.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """,
)
positive = elementwise(
    "positive",
    np.positive,
    1.0,
    floating=False,
    analytic=True,
    samples=[Sample(A), Sample(-0.5)],
    doc="""+x: the same values. TypeError for booleans.

    >>> import tapegrad as tg
    >>> tg.positive(tg.tensor([1.0, -2.0]))
    tensor([ 1., -2.])
    """,
)
reciprocal = elementwise(
    "reciprocal",
    lambda x: np.true_divide(1, x),
    lambda y, _x: -y * y,
    analytic=True,
    samples=[Sample(A), Sample(-0.5)],
    doc="""The reciprocal 1/x; ±inf at ±0.

    >>> import tapegrad as tg
    >>> tg.reciprocal(tg.tensor([2.0, 4.0]))
    tensor([0.5000, 0.2500])
    """,
)
square = elementwise(
    "square",
    lambda x: np.square(x) if dtype_of(x).kind != "b" else np.multiply(x, 1),
    lambda _y, x: 2.0 * x,
    scalar=lambda x: x * x,
    floating=False,
    analytic=True,
    samples=[Sample(A), Sample(-0.5)],
    doc="""The square x².

    >>> import tapegrad as tg
    >>> tg.square(tg.tensor([1.0, -3.0]))
    tensor([1., 9.])
    """,
)


# -- powers -----------------------------------------------------------------------------------
def _root(x: Any) -> Any:
    """√x, except that -inf to the power 0.5 is inf by IEEE's rules."""
    if type(x) is not np.ndarray and type(x) in PLAIN:
        return np.sqrt(x if x != -np.inf else -x)
    low = x == -np.inf
    if type(low) is np.ndarray and not low.any():
        return np.sqrt(x)
    return np.sqrt(np.where(low, np.inf, x))


# NumPy's power takes these short cuts for one exponent, but not for an array of them; both must
# give the same bits.
_SHORT: dict[float, Any] = {
    2.0: lambda x: x * x,
    1.0: np.positive,
    0.5: _root,
    -1.0: lambda x: np.true_divide(1, x),
}


def firm(number: Any, other: Any) -> Any:
    """A Python number in the floating dtype of the other operand, for forwards of two steps.

    The number itself is weak beside an array, but what ``np.sqrt`` makes of it is not.
    """
    if type(number) in NUMBERS and type(other) not in NUMBERS and dtype_of(other).kind == "f":
        return dtype_of(other).type(number)
    return number


_WHOLE = "integers to negative integer powers are no integers; make them floats first, x.float()"


def _power(x: Any, p: Any) -> Any:
    if dtype_of(x).kind != "f":
        if dtype_of(x).kind == "b" and dtype_of(p).kind == "b":  # 0⁰ is 1
            return np.logical_or(x, np.logical_not(p))
        if type(p) is int and p < 0:  # of a small unsigned base, NumPy would say that p overflows
            raise ValueError(_WHOLE)
        return np.power(x, p)
    x = firm(x, p)
    if type(p) is np.ndarray:
        y = np.power(x, p)
        for exponent, short in _SHORT.items():
            here = p == exponent
            if here.any():
                y = np.where(here, short(np.where(here, x, 1.0)), y)  # silent elsewhere
        return y
    if type(p) is int and p == 3 and dtype_of(x) != float16:
        return x * x * x
    if type(p) in NUMBERS or isinstance(p, np.floating):
        short = _SHORT.get(float(p))
        if short is not None:
            return short(x)
    return np.power(x, p)


def _power_of_scalars(x: Any, p: Any) -> Any:
    if type(p) is int and p == 2:
        return x * x
    return settle(_power(x, p))


#: Below it single precision has no 1/x.
_TINY = 1e-37


def _power_by_base(_y: Any, x: Any, p: Any) -> Any:
    if type(p) in (int, float):  # the usual constant exponents, without guards
        if p == 2:
            return 2.0 * x
        if p != 0:
            return p * pow(x, p - 1)
        return choose(True, 0.0, x)
    # The derivative of x⁰ is 0 at any x, but it changes with p: p·x^(p-1) has to stay where x is
    # large enough for 1/x. Adding 0 takes the sign off -0, adding -0 does nothing.
    zero = p == 0
    flat = zero & ~((x > _TINY) | (x < -_TINY))
    slope = p * pow(x, choose(flat, 1.0, p - 1)) + choose(zero, 0.0, firm(-0.0, x))
    return choose(flat, 0.0, slope)


def _power_by_exponent(y: Any, x: Any, p: Any) -> Any:
    if dtype_of(x).kind != "f":
        x = cast(x, dtype=dtype_of(y))  # the logarithm of an integer, in the precision of y
    flat = (x == 0) & (p >= 0)
    return choose(flat, 0.0, y * _log(choose(flat, 1.0, x)))


def _log(x: Any) -> Any:
    from .exponentials import log

    return log(x)


pow = elementwise(
    "pow",
    _power,
    _power_by_base,
    _power_by_exponent,
    scalar=_power_of_scalars,
    floating=False,
    samples=[
        Sample(POSITIVE, B),
        Sample(POSITIVE, B[0]),
        Sample(POSITIVE, 1.5),
        Sample(1.75, B),
        Sample(1.75, -0.5),
        Sample(A, 2),
        Sample(A, 3),
        Sample(A, -2),
        Sample(A, 0),
        Sample(-1.5, 3),
    ],
    doc="""The power x^p, with broadcasting; real at negative bases with whole exponents.

    A negative base to a fractional power is NaN, and so is the derivative by the exponent at any
    negative base. At x = 0 the derivatives are those of the formulas that hold there: x⁰ is 1
    with both derivatives 0; 0^p with p > 0 has derivative 0 by p; 0^0.5 has inf by x.
    (-inf)^0.5 is inf, as C and IEEE 754 say. Integers stay integers, and booleans to a boolean
    power booleans; RuntimeError for an integer to a negative integer power.

    >>> import tapegrad as tg
    >>> tg.pow(tg.tensor([-2.0, 3.0]), 3)
    tensor([-8., 27.])
    """,
)


# -- signs --------------------------------------------------------------------------------------
def _sign(x: Any) -> Any:
    if type(x) is float:
        return 1.0 if x > 0.0 else -1.0 if x < 0.0 else 0.0
    kind = dtype_of(x).kind
    if kind == "f":  # NumPy's is NaN of NaN, and takes longer
        return np.subtract(x > 0, x < 0, dtype=dtype_of(x))
    return np.sign(x) if kind != "b" else np.logical_and(x, x)


sign = elementwise(
    "sign",
    _sign,
    0.0,
    scalar=_sign,
    floating=False,
    samples=[Sample(A), Sample(-0.5)],
    doc="""-1, 0 or 1 by the sign of x; 0 of NaN, as in torch. Its derivative is 0, at 0 too.

    >>> import tapegrad as tg
    >>> tg.sign(tg.tensor([-3.0, 0.0, 2.0]))
    tensor([-1.,  0.,  1.])
    """,
)
abs = elementwise(
    "abs",
    np.abs,
    lambda _y, x: sign(x),
    scalar=operator.abs,
    floating=False,
    samples=[Sample(A), Sample(-0.5)],
    doc="""The absolute value |x|; its derivative is sign(x), 0 at 0.

    >>> import tapegrad as tg
    >>> tg.abs(tg.tensor([-3.0, 2.0]))
    tensor([3., 2.])
    """,
)
copysign = elementwise(
    "copysign",
    np.copysign,
    lambda y, a, _b: sign(y) * sign(a),
    0.0,
    samples=PAIR,
    doc="""|a| with the sign of b (of -0 too).

    Derivatives: ±1 by a, 0 at a = 0; 0 by b.

    >>> import tapegrad as tg
    >>> tg.copysign(tg.tensor([3.0, -2.0]), tg.tensor([-1.0, 1.0]))
    tensor([-3.,  2.])
    """,
)

# -- extremes and bounds --------------------------------------------------------------------
# Rules are products by `where`, not by a mask: sqrt(relu(x)) has gradient 0 at x < 0, not 0·inf.
maximum = elementwise(
    "maximum",
    np.maximum,
    floating=False,
    rules=[
        lambda g, _y, a, b: choose(a == b, 0.5 * g, choose(a < b, 0.0, g)),
        lambda g, _y, a, b: choose(a == b, 0.5 * g, choose(a > b, 0.0, g)),
    ],
    samples=PAIR,
    doc="""The larger of a and b, with broadcasting; NaN when either is.

    The larger one takes the gradient; at a tie they share it evenly. Where one is NaN neither is
    the smaller, and each takes all of it, as in torch.

    >>> import tapegrad as tg
    >>> tg.maximum(tg.tensor([1.0, 5.0]), tg.tensor([2.0, 3.0]))
    tensor([2., 5.])
    """,
)
minimum = elementwise(
    "minimum",
    np.minimum,
    floating=False,
    rules=[
        lambda g, _y, a, b: choose(a == b, 0.5 * g, choose(a > b, 0.0, g)),
        lambda g, _y, a, b: choose(a == b, 0.5 * g, choose(a < b, 0.0, g)),
    ],
    samples=PAIR,
    doc="""The smaller of a and b, with broadcasting; NaN when either is.

    The smaller one takes the gradient; at a tie they share it evenly. Where one is NaN neither is
    the larger, and each takes all of it, as in torch.

    >>> import tapegrad as tg
    >>> tg.minimum(tg.tensor([1.0, 5.0]), tg.tensor([2.0, 3.0]))
    tensor([1., 3.])
    """,
)
fmax = elementwise(
    "fmax",
    # NumPy's fmax and fmin differ between scalars and arrays in the sign of a zero
    lambda a, b: np.where((a >= b) | (b != b), a, b),
    floating=False,
    rules=[
        lambda g, _y, a, b: choose(a == b, 0.5 * g, choose((a > b) | (b != b), g, 0.0)),
        lambda g, _y, a, b: choose(
            a == b, 0.5 * g, choose((a < b) | ((a != a) & (b == b)), g, 0.0)
        ),
    ],
    samples=PAIR,
    doc="""The larger of a and b, ignoring NaN: of a number and NaN the number.

    At a tie the two share the gradient evenly, as for maximum; of two NaNs a takes it.

    >>> import tapegrad as tg
    >>> tg.fmax(tg.tensor([1.0, tg.nan]), tg.tensor([2.0, 3.0]))
    tensor([2., 3.])
    """,
)
fmin = elementwise(
    "fmin",
    lambda a, b: np.where((a <= b) | (b != b), a, b),
    floating=False,
    rules=[
        lambda g, _y, a, b: choose(a == b, 0.5 * g, choose((a < b) | (b != b), g, 0.0)),
        lambda g, _y, a, b: choose(
            a == b, 0.5 * g, choose((a > b) | ((a != a) & (b == b)), g, 0.0)
        ),
    ],
    samples=PAIR,
    doc="""The smaller of a and b, ignoring NaN: of a number and NaN the number.

    At a tie the two share the gradient evenly, as for minimum; of two NaNs a takes it.

    >>> import tapegrad as tg
    >>> tg.fmin(tg.tensor([1.0, tg.nan]), tg.tensor([2.0, 3.0]))
    tensor([1., 3.])
    """,
)
clamp_min = elementwise(
    "clamp_min",
    np.maximum,
    floating=False,
    rules=[
        lambda g, _y, x, low: choose(x >= low, g, 0.0),
        lambda g, _y, x, low: choose(x < low, g, 0.0),
    ],
    samples=[*PAIR, Sample(A, 0.0)],
    doc="""x, or ``low`` where x is below it.

    At the bound x takes the whole gradient (maximum would share it).

    >>> import tapegrad as tg
    >>> tg.clamp_min(tg.tensor([-1.0, 2.0]), 0.5)
    tensor([0.5000, 2.0000])
    """,
)
clamp_max = elementwise(
    "clamp_max",
    np.minimum,
    floating=False,
    rules=[
        lambda g, _y, x, high: choose(x <= high, g, 0.0),
        lambda g, _y, x, high: choose(x > high, g, 0.0),
    ],
    samples=[*PAIR, Sample(A, 0.0)],
    doc="""x, or ``high`` where x is above it.

    At the bound x takes the whole gradient (minimum would share it).

    >>> import tapegrad as tg
    >>> tg.clamp_max(tg.tensor([-1.0, 2.0]), 0.5)
    tensor([-1.0000,  0.5000])
    """,
)
relu = elementwise(
    "relu",
    lambda x: np.maximum(x, 0),
    scalar=lambda x: 0.0 if x <= 0.0 else x,
    floating=False,
    rules=[lambda g, y, _x: choose(y <= 0, 0.0, g)],
    samples=[Sample(A), Sample(-0.5), Sample(0.5)],
    doc="""The rectifier max(x, 0); its derivative is 1 above 0 and 0 below, and 0 at 0.

    >>> import tapegrad as tg
    >>> tg.relu(tg.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])

    Source: Nair and Hinton (2010), Rectified linear units improve restricted Boltzmann machines.
    """,
)
