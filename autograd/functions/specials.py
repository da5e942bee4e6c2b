"""Exponentials, logarithms, trigonometric and special functions, with torch's arguments."""

from __future__ import annotations

import math
import operator
from typing import Any

from ..ops import exponentials, special, trigonometry
from ..ops.arithmetic import where
from ..ops.shaping import cast
from ..tensors import Tensor
from ..values import dtype_of
from .arithmetic import clip

exp, exp2, expm1 = exponentials.exp, exponentials.exp2, exponentials.expm1
log, log2, log10, log1p = (
    exponentials.log,
    exponentials.log2,
    exponentials.log10,
    exponentials.log1p,
)
log_clamped, xlogy, xlog1py = (
    exponentials.log_clamped,
    exponentials.xlogy,
    exponentials.xlog1py,
)
sqrt, rsqrt, safe_sqrt = exponentials.sqrt, exponentials.rsqrt, exponentials.safe_sqrt
sigmoid = exponentials.sigmoid
logaddexp, logaddexp2 = exponentials.logaddexp, exponentials.logaddexp2
sinh, cosh, tanh = exponentials.sinh, exponentials.cosh, exponentials.tanh
asinh, acosh, atanh = exponentials.asinh, exponentials.acosh, exponentials.atanh
arcsinh, arccosh, arctanh = asinh, acosh, atanh
sin, cos, tan = trigonometry.sin, trigonometry.cos, trigonometry.tan
asin, acos, atan, atan2 = (
    trigonometry.asin,
    trigonometry.acos,
    trigonometry.atan,
    trigonometry.atan2,
)
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
erf, erfc, erfinv = special.erf, special.erfc, special.erfinv
lgamma, digamma = special.lgamma, special.digamma


def softplus(input: Any, beta: Any = 1.0, threshold: float = 20.0) -> Any:
    """ln(1 + e^(beta·x)) / beta, a smooth max(x, 0); its derivative is σ(beta·x), 0.5 at 0.

    ``beta``: the sharpness, a number or a tensor. ``threshold``: where beta·x is above it the
    result is x itself, as in torch. The function needs no such help to be finite, so from 20 on
    (the default) it stays exact instead: in float64 torch is off by up to 2e-9 there.

    >>> import tapegrad as tg
    >>> tg.softplus(tg.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000e+00, 6.9315e-01, 1.0000e+03])

    Source: Dugas et al. (2001), Incorporating second-order functional knowledge for better option
    pricing.
    """
    if type(beta) in (int, float) and beta == 1:
        scaled, result = input, exponentials.softplus(input)
    else:
        scaled = input * beta
        result = exponentials.softplus(scaled) / beta
    return result if threshold >= 20 else where(scaled > threshold, input, result)


def logsigmoid(input: Any) -> Any:
    """ln σ(x) = -softplus(-x): finite for every x; its derivative is σ(-x), 0.5 at 0.

    >>> import tapegrad as tg
    >>> tg.logsigmoid(tg.tensor([-1000.0, 0.0]))
    tensor([-1.0000e+03, -6.9315e-01])
    """
    whole = dtype_of(input).kind in "iub"  # there is no uint8 below 0
    return -exponentials.softplus(-1.0 * input if whole else -input)


log_sigmoid = logsigmoid


def logit(input: Any, eps: float | None = None) -> Any:
    """ln(p / (1 - p)), the inverse of sigmoid; ±inf at 1 and 0, NaN outside [0, 1].

    ``eps``: first clip p to [eps, 1 - eps]; the derivative is 0 outside.

    >>> import tapegrad as tg
    >>> tg.logit(tg.tensor([0.5, 0.75]))
    tensor([0.0000, 1.0986])
    """
    if eps is not None:
        input = clip(input, eps, 1.0 - eps)
    return log(input) - log(1.0 - input)


def sinc(input: Any) -> Any:
    """The cardinal sine sin(πx)/(πx), 1 at 0; smooth there, in all its derivatives.

    >>> import tapegrad as tg
    >>> tg.sinc(tg.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    return trigonometry.sinc(input, order=0)


def ldexp(input: Any, other: Any) -> Any:
    """input·2^other, with broadcasting.

    >>> import tapegrad as tg
    >>> tg.ldexp(tg.tensor([1.0, 3.0]), tg.tensor([2, -1]))
    tensor([4.0000, 1.5000])
    """
    dtype = dtype_of(input)
    if isinstance(other, Tensor) and dtype.kind == "f" and other.dtype.kind != "f":
        other = cast(other, dtype=dtype)  # so that 2^other is as precise, and goes as far
    return input * exp2(other)


def deg2rad(input: Any) -> Any:
    """Degrees to radians: x·π/180.

    >>> import tapegrad as tg
    >>> tg.deg2rad(tg.tensor([90.0, 180.0]))
    tensor([1.5708, 3.1416])
    """
    return input * (math.pi / 180.0)


def rad2deg(input: Any) -> Any:
    """Radians to degrees: x·180/π.

    >>> import tapegrad as tg
    >>> tg.rad2deg(tg.tensor(0.5))
    tensor(28.6479)
    """
    return input * (180.0 / math.pi)


def polygamma(n: int, input: Any) -> Any:
    """ψ⁽ⁿ⁾(x): the n-th derivative of digamma, (-1)ⁿ⁺¹ n! ζ(n+1, x). Needs SciPy.

    ``n``: 0, 1, 2, ...; n = 0 is digamma itself. Raises RuntimeError for a negative n.

    >>> import tapegrad as tg
    >>> tg.polygamma(1, tg.tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """
    order = operator.index(n)
    if order < 0:
        raise RuntimeError(f"polygamma: n must be 0 or more, not {order}")
    return special.polygamma(input, order=order) if order else digamma(input)


def _polygamma_method(self: Any, n: int) -> Any:
    """ψ⁽ⁿ⁾ of this tensor: :func:`polygamma` as torch's method."""
    return polygamma(n, self)


__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "deg2rad",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "ldexp",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "log_clamped",
    "log_sigmoid",
    "logaddexp",
    "logaddexp2",
    "logit",
    "logsigmoid",
    "polygamma",
    "rad2deg",
    "rsqrt",
    "safe_sqrt",
    "sigmoid",
    "sin",
    "sinc",
    "sinh",
    "softplus",
    "sqrt",
    "tan",
    "tanh",
    "xlog1py",
    "xlogy",
]

METHODS: dict[str, Any] = {
    **{name: globals()[name] for name in __all__},
    "polygamma": _polygamma_method,
}
