"""Reductions. Primitives take ``axis`` as a tuple of non-negative ints, and ``keepdims``."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import constant, linear, reduction
from ..registry import Sample
from ..values import PLAIN, dtype_of, float16, scalar, shape_of
from .scans import others_product
from .shaping import M23, M234, cast

# Called directly: np.sum and the like take twice as long for small arrays.
add_up: Any = np.add.reduce
multiply_up: Any = np.multiply.reduce
largest: Any = np.maximum.reduce
smallest: Any = np.minimum.reduce
_some: Any = np.logical_or.reduce
_every: Any = np.logical_and.reduce


def wide(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that computes float16 in float32, as torch does: its sums would soon overflow."""

    @functools.wraps(forward)
    def run(x: Any, **params: Any) -> Any:
        if dtype_of(x) == float16:
            return forward(x.astype(np.float32), **params).astype(np.float16)
        return forward(x, **params)

    return run


def has_short_rows(x: Any, axis: tuple[int, ...]) -> bool:
    """Whether to reduce over ``axis`` by :func:`of_short_rows`."""
    if type(x) is not ndarray or x.ndim != 2 or axis != (1,):
        return False
    rows, columns = x.shape
    return rows >= 64 and 0 < columns <= 32


def of_short_rows(reduce: Callable[..., Any], x: ndarray) -> Any:
    """``reduce(x, axis=1, keepdims=True)`` where a matrix has many short rows, several times
    quicker: NumPy begins anew in every row, so they are laid side by side first."""
    return reduce(x.T.copy(), axis=0)[:, None]


def _sum(x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    if has_short_rows(x, axis):
        total = of_short_rows(add_up, x)
        return total if keepdims else total.reshape(-1)
    return add_up(x, axis=axis, keepdims=keepdims)


def count_of(x: Any, axis: tuple[int, ...]) -> int:
    """How many elements a reduction over ``axis`` puts together."""
    shape = shape_of(x)
    return math.prod(shape[a] for a in axis)


# -- sums -------------------------------------------------------------------------------------
def _spread(g: Any, *, axis: tuple[int, ...], keepdims: bool, shape: tuple[int, ...]) -> Any:
    kind = type(g)
    if kind not in PLAIN:
        if not keepdims:
            g = np.reshape(g, [1 if i in axis else n for i, n in enumerate(shape)])
        return np.broadcast_to(g, shape)
    if not shape:
        return g
    if kind is ndarray and not keepdims:
        g = g.reshape([1 if i in axis else n for i, n in enumerate(shape)])
    if math.prod(shape) > 100_000:
        return np.broadcast_to(g, shape)
    out = np.empty(shape, dtype_of(g))  # filled, which for small arrays takes half the time
    out[...] = g
    return out


# The transpose of summing: every element gets what its sum got.
spread: Any = linear(
    "spread",
    _spread,
    lambda g, x, *, axis, keepdims, shape: sum(g, axis=axis, keepdims=keepdims),
    samples=[
        Sample(M23[0], axis=(0,), keepdims=False, shape=(2, 3)),
        Sample(M23[:, :1], axis=(1,), keepdims=True, shape=(2, 3)),
        Sample(0.5, axis=(0, 1), keepdims=False, shape=(2, 3)),
    ],
    doc="Every element of a tensor of ``shape`` gets the value of its group along ``axis``.",
)
sum: Any = linear(
    "sum",
    wide(_sum),
    lambda g, x, *, axis, keepdims: spread(g, axis=axis, keepdims=keepdims, shape=shape_of(x)),
    samples=[
        Sample(M23, axis=(0, 1), keepdims=False),
        Sample(M23, axis=(1,), keepdims=True),
        Sample(M234, axis=(0, 2), keepdims=False),
        Sample(0.5, axis=(), keepdims=False),
    ],
    doc="Σ x over ``axis``. 0 where there is nothing to add.",
)


@wide
def _mean(x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    count = count_of(x, axis)
    total = add_up(x, axis=axis, keepdims=keepdims)
    return total / count if count else total * np.nan


mean: Any = linear(
    "mean",
    _mean,
    lambda g, x, *, axis, keepdims: spread(
        g / float(count_of(x, axis) or 1), axis=axis, keepdims=keepdims, shape=shape_of(x)
    ),
    samples=[
        Sample(M23, axis=(0, 1), keepdims=False),
        Sample(M23, axis=(0,), keepdims=True),
        Sample(M234, axis=(1, 2), keepdims=False),
        Sample(0.5, axis=(), keepdims=False),
    ],
    doc="Σ x / n over ``axis``, in one operation. NaN where there is nothing to average.",
)

# -- products ---------------------------------------------------------------------------------
prod = reduction(
    "prod",
    wide(lambda x, *, axis, keepdims: multiply_up(x, axis=axis, keepdims=keepdims)),
    # The product of the others, never y / x: right at zeros, to any order.
    lambda _y, x, *, axis: others_product(x, axis),
    floating=False,
    analytic=True,
    samples=[
        Sample(M23, axis=(0, 1), keepdims=False),
        Sample([2.0, 0.0, 3.0], axis=(0,), keepdims=False),
        Sample([[0.0, 0.0, 3.0], [1.5, 2.0, -0.5]], axis=(1,), keepdims=True),
        Sample(M234[:, :2, :2], axis=(0, 2), keepdims=False),
        Sample(0.5, axis=(), keepdims=False),
    ],
    doc="""Π x over ``axis``; 1 where there is nothing to multiply.

    ∂y/∂xᵢ is the product of the other elements (no division), so zeros are as good as any:
    the gradient at [2, 0, 3] is [0, 6, 0].
    """,
)


# -- extremes ---------------------------------------------------------------------------------
def shared(y: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """1/k at the k elements that equal the result (a NaN result comes from the NaNs), else 0."""
    hits = cast((x == y) | ((x != x) & (y != y)), dtype=dtype_of(x))
    return hits / sum(hits, axis=axis, keepdims=True)


_EXTREMES = [
    Sample(M23, axis=(0, 1), keepdims=False),
    Sample(M23, axis=(1,), keepdims=True),
    Sample(M234[:, ::-1], axis=(0, 2), keepdims=False),
    Sample([1.0, 1.0, 1.0], axis=(), keepdims=False),
    Sample(0.5, axis=(), keepdims=False),
]
amax = reduction(
    "amax",
    lambda x, *, axis, keepdims: largest(x, axis=axis, keepdims=keepdims),
    lambda y, x, *, axis: shared(y, x, axis),
    floating=False,
    samples=_EXTREMES,
    doc="The largest element over ``axis``. Tied elements share the gradient evenly.",
)
amin = reduction(
    "amin",
    lambda x, *, axis, keepdims: smallest(x, axis=axis, keepdims=keepdims),
    lambda y, x, *, axis: shared(y, x, axis),
    floating=False,
    samples=_EXTREMES,
    doc="The smallest element over ``axis``. Tied elements share the gradient evenly.",
)


# -- off the tape -----------------------------------------------------------------------------
def _position(arg: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
    if not shape_of(x):
        return np.int64(0)
    found = arg(x, axis=axis)
    if not keepdims:
        return found
    shape = shape_of(x)
    return np.reshape(found, [1 if axis in (None, i) else n for i, n in enumerate(shape)])


argmax = constant(
    "argmax",
    lambda x, *, axis, keepdims: _position(np.argmax, x, axis, keepdims),
    samples=[Sample(M23, axis=None, keepdims=False), Sample(M23, axis=1, keepdims=True)],
    doc="Where the largest element is (the first of equals; a NaN counts as the largest).",
)
argmin = constant(
    "argmin",
    lambda x, *, axis, keepdims: _position(np.argmin, x, axis, keepdims),
    samples=[Sample(M23, axis=None, keepdims=False), Sample(M23, axis=1, keepdims=True)],
    doc="Where the smallest element is (the first of equals; a NaN counts as the smallest).",
)
any = constant(
    "any",
    lambda x, *, axis, keepdims: _some(x, axis=axis, keepdims=keepdims),
    samples=[Sample(M23 > 0, axis=(1,), keepdims=False)],
    doc="Whether some element over ``axis`` is not 0.",
)
all = constant(
    "all",
    lambda x, *, axis, keepdims: _every(x, axis=axis, keepdims=keepdims),
    samples=[Sample(M23 > 0, axis=(1,), keepdims=False)],
    doc="Whether every element over ``axis`` is not 0.",
)


def _count_nonzero(x: Any, *, axis: tuple[int, ...]) -> Any:
    if type(x) is ndarray and len(axis) == x.ndim:
        return np.int64(np.count_nonzero(x))  # several times quicker than adding up
    return add_up(x != scalar(0, dtype_of(x)), axis=axis, dtype=np.int64)


count_nonzero = constant(
    "count_nonzero",
    _count_nonzero,
    samples=[Sample(M23, axis=(0,))],
    doc="How many elements over ``axis`` are not 0.",
)
