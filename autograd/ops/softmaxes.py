"""logsumexp and the softmaxes, over a tuple ``axis``.

Infinities keep the limits: [inf, 0] gives softmax [1, 0]. Where every element is -inf (a row
that is masked out) softmax, and with it the gradient of logsumexp, is 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..families import general, reduction
from ..registry import Sample
from ..values import PLAIN, dtype_of
from .exponentials import exp
from .reductions import add_up, has_short_rows, largest, of_short_rows, sum, wide
from .shaping import M23, M234


def _parts(x: Any, axis: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
    """The maximum m, x - m, exp(x - m) and its sum, with the limits at infinities."""
    short = has_short_rows(x, axis)
    if short:
        top = of_short_rows(largest, x)
    else:
        top = largest(x, axis=axis, keepdims=True, initial=-np.inf)
    # One sum tells whether there is an inf or NaN among the maxima (or it overflowed itself).
    if type(x) in PLAIN and math.isfinite(add_up(top, axis=None)):
        centred = x - top
        e = np.exp(centred)
        total = of_short_rows(add_up, e) if short else add_up(e, axis=axis, keepdims=True)
        return top, centred, e, total
    number = dtype_of(x).type
    zero, one, nothing = number(0), number(1), number(-np.inf)
    centred = np.where(x == np.inf, zero, x - np.where(np.isinf(top), zero, top))
    centred = np.where((top == np.inf) & (x < top), nothing, centred)
    e = np.exp(centred)
    total = add_up(e, axis=axis, keepdims=True)
    return top, centred, e, np.where(total == 0, one, total)  # 0 when all is -inf


@wide
def _softmax(x: Any, *, axis: tuple[int, ...]) -> Any:
    _, _, e, total = _parts(x, axis)
    return e / total


@wide
def _log_softmax(x: Any, *, axis: tuple[int, ...]) -> Any:
    _, centred, _, total = _parts(x, axis)
    return centred - np.log(total)


@wide
def _logsumexp(x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    top, _, _, total = _parts(x, axis)
    y = top + np.log(total)
    return y if keepdims else np.squeeze(y, axis)


def _softmax_rule(g: Any, y: Any, _x: Any, *, axis: tuple[int, ...]) -> Any:
    weighted = g * y
    return weighted - y * sum(weighted, axis=axis, keepdims=True)


_SOFTMAXES = [
    Sample(M23, axis=(1,)),
    Sample(M234, axis=(0,)),
    Sample(M234[:, :2], axis=(0, 2)),
    Sample(0.5, axis=()),
]
softmax: Any = general(
    "softmax",
    _softmax,
    _softmax_rule,
    push=lambda tangents, y, x, *, axis: _softmax_rule(tangents[0], y, x, axis=axis),
    samples=_SOFTMAXES,
    doc="""exp xᵢ / Σ exp xⱼ over ``axis``, stable for large |x|.

    A group of nothing but -inf gives 0, with derivative 0.
    """,
)
log_softmax: Any = general(
    "log_softmax",
    _log_softmax,
    lambda g, y, _x, *, axis: g - exp(y) * sum(g, axis=axis, keepdims=True),
    push=lambda tangents, y, x, *, axis: (
        tangents[0] - sum(exp(y) * tangents[0], axis=axis, keepdims=True)
    ),
    samples=_SOFTMAXES,
    doc="""xᵢ - log Σ exp xⱼ over ``axis``, stable for large |x|.

    A group of nothing but -inf gives -inf; there softmax counts as 0 in the derivative.
    """,
)
logsumexp = reduction(
    "logsumexp",
    _logsumexp,
    lambda _y, x, *, axis: softmax(x, axis=axis),
    samples=[
        Sample(M23, axis=(0, 1), keepdims=False),
        Sample(M23, axis=(1,), keepdims=True),
        Sample(M234, axis=(0, 2), keepdims=False),
        Sample(0.5, axis=(), keepdims=False),
    ],
    doc="""log Σ exp x over ``axis``, stable for large |x|; -inf where there is nothing.

    The gradient is softmax(x): 0 where every element is -inf, and 1, 0 at [inf, 0].
    """,
)
