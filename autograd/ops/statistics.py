"""Variance, norms, and order statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import constant, general, reduction
from ..registry import Sample
from ..values import dtype_of, shape_of
from .arithmetic import abs, pow, sign, where
from .reductions import add_up, count_of, largest, mean, shared, smallest, sum, wide
from .shaping import M23, M234, cast, expand_dims

# -- spread about the mean --------------------------------------------------------------------


@wide
def _var(x: Any, *, axis: tuple[int, ...], keepdims: bool, correction: float) -> Any:
    count = count_of(x, axis)
    centred = x - add_up(x, axis=axis, keepdims=True) / max(count, 1)
    total = add_up(centred * centred, axis=axis, keepdims=keepdims)
    if count > correction:
        return total / (count - correction)
    with np.errstate(all="ignore"):
        return total / 0.0  # no degrees of freedom left: NaN, or inf


def _freedom(x: Any, axis: tuple[int, ...], correction: float) -> float:
    """The degrees of freedom; NaN when there are none."""
    count = count_of(x, axis)
    return count - correction if count > correction else math.nan


_SPREADS = [
    Sample(M23, axis=(0, 1), keepdims=False, correction=1),
    Sample(M23, axis=(1,), keepdims=True, correction=0),
    Sample(M234, axis=(0, 2), keepdims=False, correction=1.5),
]
var = reduction(
    "var",
    _var,
    lambda _y, x, *, axis, correction: (
        (x - mean(x, axis=axis, keepdims=True)) * (2.0 / _freedom(x, axis, correction))
    ),
    analytic=True,
    samples=[*_SPREADS, Sample(0.5, axis=(), keepdims=False, correction=0)],
    doc="Σ (x - mean)² / (n - correction) over ``axis``.",
)


def _std_weight(y: Any, x: Any, *, axis: tuple[int, ...], correction: float) -> Any:
    steep = 1.0 / where(y == 0, math.inf, y)  # 0 where y is
    centred = x - mean(x, axis=axis, keepdims=True)
    return centred * (steep * (1.0 / _freedom(x, axis, correction)))


std = reduction(
    "std",
    wide(lambda x, **params: np.sqrt(_var(x, **params))),
    _std_weight,
    analytic=True,
    samples=_SPREADS,
    doc="""√(Σ (x - mean)² / (n - correction)) over ``axis``.

    Where all elements are equal, a kink, the derivative counts as 0.
    """,
)


# -- norms ------------------------------------------------------------------------------------
@wide
def _vector_norm(x: Any, *, axis: tuple[int, ...], keepdims: bool, ord: float) -> Any:
    if ord in (0, 1) or math.isinf(ord):
        size = np.abs(x)
        if ord == 1:
            return add_up(size, axis=axis, keepdims=keepdims)
        if ord == 0:
            return add_up(size != 0, axis=axis, keepdims=keepdims, dtype=dtype_of(x))
        return (largest if ord > 0 else smallest)(size, axis=axis, keepdims=keepdims)
    try:
        with np.errstate(over="raise", under="raise"):
            return _root_of_powers(x, axis, keepdims, ord)
    except FloatingPointError:  # the powers of elements divided by the largest stay in range
        top = largest(np.abs(x), axis=axis, keepdims=True)
        top = np.where((top > 0.0) & (top < math.inf), top, 1.0)
        y = _root_of_powers(x / top, axis, keepdims, ord)
        return y * np.reshape(top, shape_of(y))


def _root_of_powers(x: Any, axis: tuple[int, ...], keepdims: bool, ord: float) -> Any:
    if ord == 2:
        return np.sqrt(add_up(x * x, axis=axis, keepdims=keepdims))
    with np.errstate(divide="ignore"):  # 0 to a negative power
        total = add_up(np.power(np.abs(x), ord), axis=axis, keepdims=keepdims)
        return np.power(total, 1.0 / ord)


def _norm_weight(y: Any, x: Any, *, axis: tuple[int, ...], ord: float) -> Any:
    if ord == 0:
        return sign(x) * 0.0
    if ord == 1:
        return sign(x)
    if math.isinf(ord):
        return sign(x) * shared(y, abs(x), axis)
    zero = y == 0
    share = x / where(zero, math.inf, y)  # 0 where y is
    if ord == 2:
        return share
    if ord > 0 and ord % 2 == 0:  # smooth at elements that are 0, to any order: not through abs
        return pow(share, float(ord - 1))
    size = where(x == 0, 1.0, abs(share))
    return where((x == 0) | zero, 0.0, sign(x) * pow(where(zero, 1.0, size), float(ord - 1)))


vector_norm = reduction(
    "vector_norm",
    _vector_norm,
    _norm_weight,
    samples=[
        Sample(M23, axis=(0, 1), keepdims=False, ord=2.0),
        Sample(M23, axis=(1,), keepdims=True, ord=3.0),
        Sample([0.0, 1.5, -2.0], axis=(0,), keepdims=False, ord=4.0),
        Sample(M234, axis=(0, 2), keepdims=False, ord=1.0),
        Sample(M23, axis=(1,), keepdims=False, ord=1.5),
        Sample(M23, axis=(1,), keepdims=False, ord=-1.0),
        Sample(M23, axis=(0, 1), keepdims=False, ord=math.inf),
        Sample(M23, axis=(1,), keepdims=False, ord=-math.inf),
        Sample(M23, axis=(1,), keepdims=False, ord=0.0),
        Sample(-0.5, axis=(), keepdims=False, ord=2.0),
    ],
    doc="""(Σ |x|ᵖ)^(1/p) over ``axis``, with p = ``ord``: any number, inf or -inf.

    The derivative at the zero vector counts as 0, and so does that by an element that is 0 where
    |x|ᵖ has a kink there (p ≤ 1) or a higher derivative is unbounded. p = 0 counts the elements
    that are not 0 (derivative 0); at p = ±inf tied elements share the gradient evenly.
    """,
)


# -- order statistics -------------------------------------------------------------------------
def _in_one_axis(x: Any, axis: tuple[int, ...]) -> Any:
    """The reduced dimensions as one, at the end."""
    shape = shape_of(x)
    order = (*(i for i in range(len(shape)) if i not in axis), *axis)
    kept = tuple(shape[i] for i in order[: len(shape) - len(axis)])
    return np.reshape(np.transpose(x, order), (*kept, math.prod(shape[a] for a in axis)))


def _middle(ordered: Any, ignore_nan: bool) -> Any:
    """The index of the lower median in sorted rows (NaNs are last), kept as length 1."""
    valid = add_up(ordered == ordered, axis=-1, keepdims=True)
    count = shape_of(ordered)[-1]
    if ignore_nan:
        return np.where(valid == 0, 0, (valid - 1) // 2)
    return np.where(valid == count, (count - 1) // 2, valid)  # else the first NaN


def _median(x: Any, *, axis: tuple[int, ...], keepdims: bool, ignore_nan: bool) -> Any:
    ordered = np.sort(_in_one_axis(x, axis), axis=-1)
    y = np.take_along_axis(ordered, _middle(ordered, ignore_nan), axis=-1)[..., 0]
    return np.expand_dims(y, axis) if keepdims else y


median = reduction(
    "median",
    _median,
    lambda y, x, *, axis, ignore_nan: shared(y, x, axis),
    floating=False,
    samples=[
        Sample(M23, axis=(0, 1), keepdims=False, ignore_nan=False),
        Sample(M234, axis=(0, 2), keepdims=True, ignore_nan=False),
        Sample(M23, axis=(1,), keepdims=False, ignore_nan=True),
        Sample(0.5, axis=(), keepdims=False, ignore_nan=False),
    ],
    doc="""The lower of the middle elements over ``axis``; equal ones share the gradient evenly.

    NaN when there is a NaN, unless ``ignore_nan``.
    """,
)


# -- a value and where it is ------------------------------------------------------------------
def _chosen(outputs: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """1 at the index that was chosen, 0 elsewhere."""
    where_it_is = outputs[1]
    if not axis:
        return cast(where_it_is == 0, dtype=dtype_of(x))
    if not keepdims:
        where_it_is = expand_dims(where_it_is, axis=axis)
    shape, (a,) = shape_of(x), axis
    position = np.arange(shape[a]).reshape(-1, *[1] * (len(shape) - a - 1))
    return cast(where_it_is == position, dtype=dtype_of(x))


def _choosing_rule(g: Any, y: Any, _x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    spread = g[0] if keepdims else expand_dims(g[0], axis=axis)
    return spread * _chosen(y, _x, axis, keepdims)


def _choosing_push(tangents: Any, y: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    chosen = _chosen(y, x, axis, keepdims)
    return sum(chosen * tangents[0], axis=axis, keepdims=keepdims), None


def choosing(name: str, choose: Callable[[Any, int], Any], doc: str) -> Any:
    """A primitive with two outputs, values and indices: ``choose(x, axis)`` gives the indices
    (dimension kept as length 1), and the chosen element takes the whole gradient."""

    def forward(x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
        if not axis:  # a scalar
            return x, np.int64(0)
        (a,) = axis
        index = choose(x, a)
        values = np.take_along_axis(x, index, a)
        if keepdims:
            return values, index
        return np.squeeze(values, a), np.squeeze(index, a)

    return general(
        name,
        forward,
        _choosing_rule,
        push=_choosing_push,
        floating=False,
        samples=[
            Sample(M23, axis=(1,), keepdims=False),
            Sample(M234[:, ::-1], axis=(1,), keepdims=True),
            Sample([0.5, 2.0, -1.0], axis=(0,), keepdims=False),
            Sample(0.5, axis=(), keepdims=False),
        ],
        doc=doc + " The chosen element takes the whole gradient.",
    )


def _median_index(x: Any, axis: int, ignore_nan: bool) -> Any:
    order = np.moveaxis(np.argsort(x, axis=axis, kind="stable"), axis, -1)
    ordered = np.take_along_axis(np.moveaxis(x, axis, -1), order, axis=-1)
    found = np.take_along_axis(order, _middle(ordered, ignore_nan), axis=-1)
    return np.moveaxis(found, -1, axis)


def _mode_index(x: Any, axis: int) -> Any:
    """The most frequent value, the smallest of equally frequent ones, at its last place."""
    order = np.moveaxis(np.argsort(x, axis=axis, kind="stable"), axis, -1)
    ordered = np.take_along_axis(np.moveaxis(x, axis, -1), order, axis=-1)
    place = np.arange(shape_of(ordered)[-1])
    is_new = (ordered != np.roll(ordered, 1, -1)) | (place == 0)
    begin = np.maximum.accumulate(np.where(is_new, place, 0), axis=-1)
    longest = np.argmax(place - begin, axis=-1, keepdims=True)  # the end of the longest run
    return np.moveaxis(np.take_along_axis(order, longest, axis=-1), -1, axis)


max_dim = choosing(
    "max_dim",
    lambda x, axis: np.argmax(x, axis=axis, keepdims=True),
    "The largest element along one dimension, and its index (the first of equals).",
)
min_dim = choosing(
    "min_dim",
    lambda x, axis: np.argmin(x, axis=axis, keepdims=True),
    "The smallest element along one dimension, and its index (the first of equals).",
)
median_dim = choosing(
    "median_dim",
    lambda x, axis: _median_index(x, axis, False),
    "The lower median along one dimension, and its index (NaN when there is one).",
)
nanmedian_dim = choosing(
    "nanmedian_dim",
    lambda x, axis: _median_index(x, axis, True),
    "The lower median of what is not NaN along one dimension, and its index.",
)
mode_dim = choosing(
    "mode_dim",
    _mode_index,
    "The most frequent value along one dimension (the smallest of several), and its last index.",
)


# -- counting ---------------------------------------------------------------------------------
def _histc(x: Any, *, bins: int, low: float, high: float) -> ndarray:
    values = np.ravel(x)
    if low == high == 0 and values.size:
        low, high = float(np.min(values)), float(np.max(values))
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"the range [{low}, {high}] of the bins is not finite")
    return np.histogram(values, bins, (low, high))[0].astype(dtype_of(x))


histc = constant(
    "histc",
    _histc,
    samples=[Sample(M23, bins=4, low=-1.0, high=2.0)],
    doc="How many elements fall into each of ``bins`` equal intervals; off the tape.",
)
bincount = constant(
    "bincount",
    lambda x, weights=None, *, minlength: np.bincount(x, weights, minlength),
    samples=[Sample(np.array([0, 1, 1, 3]), minlength=5)],
    doc="How often each of 0, 1, 2, ... occurs (or the sum of its weights); off the tape.",
)
