"""Exponentials, logarithms, roots, and the sigmoid and hyperbolic functions made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..families import elementwise
from ..registry import Sample
from .arithmetic import PAIR, POSITIVE, A, choose, firm, maximum
from .comparisons import isinf

LN2, LN10 = math.log(2.0), math.log(10.0)
INSIDE = [[0.5, -0.25, 0.875], [-0.75, 0.125, -0.5]]  # of (-1, 1)
ABOVE = [[1.5, 2.25, 3.0], [1.25, 5.0, 1.75]]  # of (1, inf)
ANY = [Sample(A), Sample(0.5)]

# -- exponentials ---------------------------------------------------------------------------
exp = elementwise(
    "exp",
    np.exp,
    lambda y, _x: y,
    analytic=True,
    samples=ANY,
    doc="""The exponential e^x.

    >>> import tapegrad as tg
    >>> tg.exp(tg.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """,
)
exp2 = elementwise(
    "exp2",
    np.exp2,
    lambda y, _x: LN2 * y,
    samples=ANY,
    doc="""The power of two 2^x.

    >>> import tapegrad as tg
    >>> tg.exp2(tg.tensor([0.0, 3.0]))
    tensor([1., 8.])
    """,
)
expm1 = elementwise(
    "expm1",
    np.expm1,
    lambda y, _x: y + 1.0,
    analytic=True,
    samples=ANY,
    doc="""e^x - 1, exact for small x too.

    >>> import tapegrad as tg
    >>> tg.expm1(tg.tensor(1e-9, dtype="float64"))
    tensor(1.0000e-09, dtype=float64)
    """,
)

# -- logarithms -----------------------------------------------------------------------------
ROOT = [Sample(POSITIVE), Sample(0.5)]
log = elementwise(
    "log",
    np.log,
    lambda _y, x: 1.0 / x,
    analytic=True,
    samples=ROOT,
    doc="""The natural logarithm ln x; -inf at 0, NaN below.

    >>> import tapegrad as tg
    >>> tg.log(tg.tensor([1.0, 10.0]))
    tensor([0.0000, 2.3026])
    """,
)
log2 = elementwise(
    "log2",
    np.log2,
    lambda _y, x: (1.0 / LN2) / x,
    analytic=True,
    samples=ROOT,
    doc="""The logarithm to base 2; -inf at 0, NaN below.

    >>> import tapegrad as tg
    >>> tg.log2(tg.tensor([3.0, 8.0]))
    tensor([1.5850, 3.0000])
    """,
)
log10 = elementwise(
    "log10",
    np.log10,
    lambda _y, x: (1.0 / LN10) / x,
    analytic=True,
    samples=ROOT,
    doc="""The logarithm to base 10; -inf at 0, NaN below.

    >>> import tapegrad as tg
    >>> tg.log10(tg.tensor([2.0, 100.0]))
    tensor([0.3010, 2.0000])
    """,
)
log1p = elementwise(
    "log1p",
    np.log1p,
    lambda _y, x: 1.0 / (1.0 + x),
    analytic=True,
    samples=[Sample(POSITIVE), Sample(INSIDE), Sample(0.5)],
    doc="""ln(1 + x), exact for small x too; -inf at -1, NaN below.

    >>> import tapegrad as tg
    >>> tg.log1p(tg.tensor(1e-9, dtype="float64"))
    tensor(1.0000e-09, dtype=float64)
    """,
)


def _log_clamped(x: Any) -> Any:
    with np.errstate(divide="ignore"):  # log 0 is cut off here
        return np.maximum(np.log(x), -100)


log_clamped = elementwise(
    "log_clamped",
    _log_clamped,
    lambda _y, x: 1.0 / maximum(x, 1e-12),
    samples=ROOT,
    doc="""max(ln x, -100), for cross-entropies of probabilities that reach 0.

    A declared safe function: its derivative is stated as 1/max(x, 1e-12), finite at 0, as in
    torch's binary_cross_entropy. NaN below 0.

    >>> import tapegrad as tg
    >>> p = tg.tensor(0.0, requires_grad=True)
    >>> y = tg.log_clamped(p)
    >>> y.backward()
    >>> y.item(), p.grad
    (-100.0, tensor(1.0000e+12))
    """,
)


def _xlogy(x: Any, y: Any) -> Any:
    y = firm(y, x)
    return x * np.log(np.where((x == 0) & (y == y), 1, y))


xlogy = elementwise(
    "xlogy",
    _xlogy,
    lambda _z, x, y: choose(_nought(x, y <= 0), 0.0, log(choose(_nought(x, y <= 0), 1.0, y))),
    lambda _z, x, y: choose(_nought(x, y == 0), 0.0, x / choose(_nought(x, y == 0), 1.0, y)),
    samples=[
        Sample(A, POSITIVE),
        Sample(A, POSITIVE[0]),
        Sample(1.5, POSITIVE),
        Sample(-0.5, 0.25),
    ],
    doc="""x·ln y, and 0 where x is 0 (for every y but NaN).

    A declared safe function: at (0, 0) both derivatives are 0, so that an entropy
    ``-xlogy(p, p).sum()`` may hold probabilities of 0. (``x * log(x)`` as typed gives NaN there.)

    >>> import tapegrad as tg
    >>> tg.xlogy(tg.tensor([0.0, 2.0]), tg.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """,
)


def _xlog1py(x: Any, y: Any) -> Any:
    y = firm(y, x)
    return x * np.log1p(np.where((x == 0) & (y == y), 0, y))


xlog1py = elementwise(
    "xlog1py",
    _xlog1py,
    lambda _z, x, y: choose(_nought(x, y <= -1), 0.0, log1p(choose(_nought(x, y <= -1), 0.0, y))),
    lambda _z, x, y: choose(
        _nought(x, y == -1), 0.0, x / choose(_nought(x, y == -1), 1.0, 1.0 + y)
    ),
    samples=[Sample(A, POSITIVE), Sample(A, INSIDE[0]), Sample(1.5, INSIDE), Sample(-0.5, 0.25)],
    doc="""x·ln(1 + y), and 0 where x is 0 (for every y but NaN).

    A declared safe function: at (0, -1) both derivatives are 0.

    >>> import tapegrad as tg
    >>> tg.xlog1py(tg.tensor([0.0, 2.0]), tg.tensor([-1.0, 0.0]))
    tensor([0., 0.])
    """,
)


def _nought(x: Any, outside: Any) -> Any:
    """Where a factor 0 stands before a logarithm outside its domain."""
    return (x == 0) & outside


# -- roots ------------------------------------------------------------------------------------
sqrt = elementwise(
    "sqrt",
    np.sqrt,
    lambda y, _x: 0.5 / y,
    # IEEE's square root is exactly rounded, so that math's and NumPy's agree bit for bit.
    scalar=lambda x: math.sqrt(x) if x >= 0.0 else math.nan,
    analytic=True,
    samples=ROOT,
    doc="""The square root; NaN below 0. Its derivative at 0 is inf, the true limit.

    Use :func:`safe_sqrt` where a formula needs 0 there.

    >>> import tapegrad as tg
    >>> tg.sqrt(tg.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """,
)
safe_sqrt = elementwise(
    "safe_sqrt",
    np.sqrt,
    lambda y, _x: choose(y == 0, 0.0, 0.5 / choose(y == 0, 1.0, y)),
    scalar=lambda x: math.sqrt(x) if x >= 0.0 else math.nan,
    samples=ROOT,
    doc="""The square root with derivative 0 at 0, for formulas that need it there; NaN below 0.

    :func:`sqrt` itself has the true limit, inf.

    >>> import tapegrad as tg
    >>> x = tg.tensor([0.0, 4.0], requires_grad=True)
    >>> tg.safe_sqrt(x).sum().backward()
    >>> x.grad
    tensor([0.0000, 0.2500])
    """,
)
rsqrt = elementwise(
    "rsqrt",
    lambda x: np.true_divide(1, np.sqrt(x)),
    lambda y, _x: -0.5 * (y * y * y),
    analytic=True,
    samples=ROOT,
    doc="""The reciprocal square root 1/√x; inf at 0, NaN below.

    >>> import tapegrad as tg
    >>> tg.rsqrt(tg.tensor([4.0, 16.0]))
    tensor([0.5000, 0.2500])
    """,
)


# -- sigmoid and softplus -----------------------------------------------------------------------
def _sigmoid(x: Any) -> Any:
    with np.errstate(over="ignore"):  # 1/(1 + inf) is the 0 it should be
        return np.true_divide(1, 1 + np.exp(-x))


sigmoid = elementwise(
    "sigmoid",
    _sigmoid,
    lambda y, _x: y * (1.0 - y),
    scalar=lambda x: 1.0 / (1.0 + float(np.exp(-x))) if x > -700.0 else float(_sigmoid(x)),
    analytic=True,
    samples=ANY,
    doc="""The logistic function σ(x) = 1/(1 + e^-x); finite for every x.

    >>> import tapegrad as tg
    >>> tg.sigmoid(tg.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """,
)
# Not np.logaddexp(0, x), which computes one element after the other.
softplus = elementwise(
    "softplus",
    lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    lambda _y, x: sigmoid(x),
    scalar=lambda x: (x if x > 0.0 else 0.0) + float(np.log1p(np.exp(-abs(x)))),
    samples=ANY,
    doc="""ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|); finite for every x, smooth at 0.

    Its derivative is σ(x). Source: Dugas et al. (2001), Incorporating second-order functional
    knowledge for better option pricing.

    >>> import tapegrad as tg
    >>> tg.softplus(tg.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000e+00, 6.9315e-01, 1.0000e+03])
    """,
)


def _gap(a: Any, b: Any) -> Any:
    """a - b, and 0 between equal infinities."""
    same = (a == b) & isinf(a)
    return choose(same, 0.0, a) - choose(same, 0.0, b)


logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda _y, a, b: sigmoid(_gap(a, b)),
    lambda _y, a, b: sigmoid(_gap(b, a)),
    samples=PAIR,
    doc="""ln(e^a + e^b), computed without overflow.

    Derivatives: the shares e^a/(e^a + e^b) and e^b/(e^a + e^b). Of two equal infinities the value
    is that infinity and the derivatives are 0.5 and 0.5 (torch gives NaN).

    >>> import tapegrad as tg
    >>> tg.logaddexp(tg.tensor([0.0, 1000.0]), tg.tensor([0.0, 1000.0]))
    tensor([6.9315e-01, 1.0007e+03])
    """,
)
logaddexp2 = elementwise(
    "logaddexp2",
    np.logaddexp2,
    lambda _y, a, b: sigmoid(LN2 * _gap(a, b)),
    lambda _y, a, b: sigmoid(LN2 * _gap(b, a)),
    samples=PAIR,
    doc="""log₂(2^a + 2^b), computed without overflow.

    Of two equal infinities the value is that infinity and the derivatives are 0.5 and 0.5.

    >>> import tapegrad as tg
    >>> tg.logaddexp2(tg.tensor([0.0, 1000.0]), tg.tensor([0.0, 1000.0]))
    tensor([1.0000e+00, 1.0010e+03])
    """,
)

# -- hyperbolic functions -------------------------------------------------------------------------
tanh = elementwise(
    "tanh",
    np.tanh,
    lambda y, _x: 1.0 - y * y,
    analytic=True,
    samples=ANY,
    doc="""The hyperbolic tangent.

    >>> import tapegrad as tg
    >>> tg.tanh(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """,
)
sinh = elementwise(
    "sinh",
    np.sinh,
    lambda _y, x: cosh(x),
    analytic=True,
    samples=ANY,
    doc="""The hyperbolic sine (e^x - e^-x)/2.

    >>> import tapegrad as tg
    >>> tg.sinh(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """,
)
cosh: Any = elementwise(
    "cosh",
    np.cosh,
    lambda _y, x: sinh(x),
    analytic=True,
    samples=ANY,
    doc="""The hyperbolic cosine (e^x + e^-x)/2.

    >>> import tapegrad as tg
    >>> tg.cosh(tg.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """,
)
asinh = elementwise(
    "asinh",
    np.arcsinh,
    lambda y, _x: 1.0 / cosh(y),
    analytic=True,
    samples=ANY,
    doc="""The inverse of sinh.

    >>> import tapegrad as tg
    >>> tg.asinh(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """,
)
acosh = elementwise(
    "acosh",
    np.arccosh,
    lambda _y, x: 1.0 / (sqrt(x - 1.0) * sqrt(x + 1.0)),
    analytic=True,
    samples=[Sample(ABOVE), Sample(1.5)],
    doc="""The inverse of cosh, at least 0; NaN below 1. Its derivative at 1 is inf.

    >>> import tapegrad as tg
    >>> tg.acosh(tg.tensor([1.0, 2.0]))
    tensor([0.0000, 1.3170])
    """,
)
# What the derivatives of atanh, asin and acos are made of: exact near ±1, where 1 - x·x is not,
# and with the one slope -2x. (By the rule of products that would be inf - inf behind a root.)
one_minus_square = elementwise(
    "one_minus_square",
    lambda x: (1 - x) * (1 + x),
    lambda _y, x: -2.0 * x,
    analytic=True,
    samples=ANY,
    doc="1 - x², exact near ±1 too.",
)
atanh = elementwise(
    "atanh",
    np.arctanh,
    lambda _y, x: 1.0 / one_minus_square(x),
    analytic=True,
    samples=[Sample(INSIDE), Sample(0.5)],
    doc="""The inverse of tanh; ±inf at ±1, NaN beyond.

    >>> import tapegrad as tg
    >>> tg.atanh(tg.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """,
)
