"""Special functions. Their values are SciPy's, imported when one is first called."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..families import elementwise
from ..registry import Sample
from ..values import cast_value, dtype_of
from .arithmetic import POSITIVE
from .exponentials import ANY, INSIDE, exp


def _scipy(name: str) -> Any:
    try:
        from scipy import special
    except ImportError:
        raise ImportError(
            f'{name}() needs SciPy, which is not installed: pip install "tapegrad[special]"'
        ) from None
    return special


def _values(name: str, ufunc: str) -> Any:
    """A forward: SciPy's ufunc, in the dtype of its argument (SciPy has no float16)."""

    def forward(x: Any) -> Any:
        y = getattr(_scipy(name), ufunc)(x)
        return y if dtype_of(y) == dtype_of(x) else cast_value(y, dtype_of(x))

    return forward


TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)
GAMMA = [Sample(POSITIVE), Sample([-0.5, -1.75, 3.5]), Sample(0.5)]

erf = elementwise(
    "erf",
    _values("erf", "erf"),
    lambda _y, x: TWO_OVER_ROOT_PI * exp(-(x * x)),
    samples=ANY,
    doc="""The error function (2/√π)·∫₀ˣ e^(-t²) dt. Needs SciPy.

    >>> import tapegrad as tg
    >>> tg.erf(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """,
)
erfc = elementwise(
    "erfc",
    _values("erfc", "erfc"),
    lambda _y, x: -TWO_OVER_ROOT_PI * exp(-(x * x)),
    samples=ANY,
    doc="""1 - erf(x), exact for large x too. Needs SciPy.

    >>> import tapegrad as tg
    >>> tg.erfc(tg.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """,
)
erfinv = elementwise(
    "erfinv",
    _values("erfinv", "erfinv"),
    lambda y, _x: (1.0 / TWO_OVER_ROOT_PI) * exp(y * y),
    samples=[Sample(INSIDE), Sample(0.5)],
    doc="""The inverse of erf; ±inf at ±1, NaN beyond. Needs SciPy.

    >>> import tapegrad as tg
    >>> tg.erfinv(tg.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """,
)
_gammaln = _values("lgamma", "gammaln")
lgamma = elementwise(
    "lgamma",
    lambda x: _gammaln(np.where(x == -math.inf, math.inf, x)),  # as C's; SciPy's is -inf there
    lambda _y, x: digamma(x),
    samples=GAMMA,
    doc="""ln |Γ(x)|; inf at 0, -1, -2, ... and at ±inf. Its derivative is digamma(x). Needs SciPy.

    >>> import tapegrad as tg
    >>> tg.lgamma(tg.tensor([1.0, 5.0]))
    tensor([0.0000, 3.1781])
    """,
)
digamma: Any = elementwise(
    "digamma",
    _values("digamma", "psi"),
    lambda _y, x: polygamma(x, order=1),
    samples=GAMMA,
    doc="""ψ(x), the derivative of ln Γ(x). Needs SciPy.

    >>> import tapegrad as tg
    >>> tg.digamma(tg.tensor([1.0, 2.0]))
    tensor([-0.5772,  0.4228])
    """,
)


def _polygamma(x: Any, *, order: int) -> Any:
    special = _scipy("polygamma")
    if order == 0:
        y = special.psi(x)
    else:
        y = special.zeta(order + 1.0, x) * ((-1.0) ** (order + 1) * math.factorial(order))
    return y if dtype_of(y) == dtype_of(x) else cast_value(y, dtype_of(x))


polygamma: Any = elementwise(
    "polygamma",
    _polygamma,
    lambda _y, x, *, order: polygamma(x, order=order + 1),
    samples=[Sample(POSITIVE, order=1), Sample(POSITIVE, order=2), Sample(0.5, order=1)],
    doc="""The derivative of digamma of an ``order``: ψ⁽ⁿ⁾(x) = (-1)ⁿ⁺¹ n! ζ(n+1, x). Needs SciPy.

    >>> import tapegrad as tg
    >>> tg.polygamma(1, tg.tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """,
)
