"""Pooling: the sum and the largest element of every window."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import general, linear
from ..registry import Sample
from ..values import dtype_of, shape_of
from .indexing import gather, scatter_sum
from .shaping import M23, M234, reshape
from .taps import Sizes, taps


# -- sums, along one dimension: over two, one after the other ----------------------------------
def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, part)


def _window_sum(x: Any, axis: int, length: int, size: int, step: int, before: int) -> ndarray:
    shape = shape_of(x)
    out = np.zeros((*shape[:axis], length, *shape[axis + 1 :]), dtype_of(x))
    for _, (inputs,), (outputs,) in taps(
        (shape[axis],), (length,), (size,), (step,), (1,), (before,)
    ):
        out[_along(axis, outputs)] += x[_along(axis, inputs)]
    return out


def _window_spread(y: Any, axis: int, length: int, size: int, step: int, before: int) -> ndarray:
    shape = shape_of(y)
    out = np.zeros((*shape[:axis], length, *shape[axis + 1 :]), dtype_of(y))
    for _, (inputs,), (outputs,) in taps(
        (length,), (shape[axis],), (size,), (step,), (1,), (before,)
    ):
        out[_along(axis, inputs)] += y[_along(axis, outputs)]
    return out


window_sum: Any = linear(
    "window_sum",
    lambda x, *, axis, length, size, step, before: _window_sum(x, axis, length, size, step, before),
    lambda g, x, *, axis, length, **windows: window_spread(
        g, axis=axis, length=shape_of(x)[axis], **windows
    ),
    samples=[
        Sample(M23, axis=1, length=2, size=2, step=1, before=0),
        Sample(M234, axis=1, length=3, size=3, step=2, before=2),
    ],
    doc="""The sums of sliding windows along ``axis``, which then counts the ``length`` windows.

    ``size``: of the windows; ``step``: from one to the next; ``before``: how far the first begins
    before the first element. Outside there are zeros.
    """,
)
window_spread: Any = linear(
    "window_spread",
    lambda y, *, axis, length, size, step, before: _window_spread(
        y, axis, length, size, step, before
    ),
    lambda g, y, *, axis, length, **windows: window_sum(
        g, axis=axis, length=shape_of(y)[axis], **windows
    ),
    samples=[
        Sample(M23, axis=1, length=4, size=2, step=1, before=0),
        Sample(M234, axis=1, length=3, size=3, step=2, before=2),
    ],
    doc="The transpose of ``window_sum``: every element added to all that its window summed.",
)


# -- the largest element, and where it is -------------------------------------------------------
def _first_inside(size: Sizes, dilations: Sizes, starts: Any, lengths: Sizes) -> Any:
    """The number of the first element of every window that lies inside."""
    number = np.zeros((), np.int64)
    for k, d, start, length in zip(size, dilations, starts, lengths, strict=True):
        first = np.maximum(0, -(start // d))
        if np.any((first >= k) | (start + first * d >= length)):
            raise ValueError("a window lies outside of the input: make the padding smaller")
        number = np.expand_dims(number * k, -1) + first
    return number


def _window_maximum(
    x: ndarray, lengths: Sizes, sizes: Sizes, steps: Sizes, dilations: Sizes, before: Sizes
) -> tuple[ndarray, ndarray]:
    n = len(lengths)
    lead, inner = x.shape[: x.ndim - n], x.shape[x.ndim - n :]
    starts = [np.arange(p) * s - b for p, s, b in zip(lengths, steps, before, strict=True)]
    count = math.prod(sizes)
    if count > 16 and count // max(sizes) > 1 and n == 2:
        # Many elements: the largest of every row, then of those; of equal ones still the first.
        y, within = _window_maximum(
            x, (inner[0], lengths[1]), (1, sizes[1]), (1, steps[1]), dilations, (0, before[1])
        )
        flat = within.reshape(*lead, inner[0] * lengths[1])
        y, at = _window_maximum(y, lengths, (sizes[0], 1), (steps[0], 1), dilations, (before[0], 0))
        found = np.take_along_axis(flat, at.reshape(*lead, math.prod(lengths)), -1)
        return y, found.reshape(y.shape)
    number = np.min_scalar_type(count).type
    winner = np.empty((*lead, *lengths), number)
    winner[...] = _first_inside(sizes, dilations, starts, inner)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y = np.full((*lead, *lengths), lowest, x.dtype)
    elements: Any = taps(inner, lengths, sizes, steps, dilations, before)
    for place, inputs, outputs in elements:
        part, best, so_far = x[(..., *inputs)], y[(..., *outputs)], winner[(..., *outputs)]
        # A later element has a higher number, so that the maximum writes it where it is larger.
        higher = np.multiply(part > best, number(np.ravel_multi_index(place, sizes)), dtype=number)
        np.maximum(so_far, higher, out=so_far)
        np.maximum(best, part, out=best)
    if x.dtype.kind == "f" and np.isnan(y).any():  # of several NaN the last one counts, as in torch
        for place, inputs, outputs in elements:
            is_nan = np.isnan(x[(..., *inputs)])
            winner[(..., *outputs)][is_nan] = np.ravel_multi_index(place, sizes)
    return y, _positions(winner, starts, sizes, dilations, inner)


def _positions(
    winner: ndarray, starts: list[ndarray], sizes: Sizes, dilations: Sizes, lengths: Sizes
) -> ndarray:
    """Where in the flattened dimensions the element of a number in each window lies."""
    first, within = np.zeros((), np.int64), np.zeros((), np.int64)
    for start, size, dilation, length in zip(starts, sizes, dilations, lengths, strict=True):
        first = np.expand_dims(first * length, -1) + start
        within = np.expand_dims(within * length, -1) + np.arange(size) * dilation
    found = within.reshape(-1)[winner]
    found += first
    return found


def _flat(x: Any, n: int) -> Any:
    """The value with its last ``n`` dimensions as one, and the others as one."""
    shape = shape_of(x)
    lead = shape[: len(shape) - n]
    return reshape(x, shape=(math.prod(lead), math.prod(shape[len(lead) :])))


def _maximum_rule(g: Any, y: Any, _x: Any, *, lengths: Sizes, **_windows: Any) -> Any:
    n, shape = len(lengths), shape_of(_x)
    lead = shape[: len(shape) - n]
    flat = (math.prod(lead), math.prod(shape[len(lead) :]))
    back = scatter_sum(_flat(g[0], n), _flat(y[1], n), axis=1, shape=flat)
    return reshape(back, shape=shape)


def _maximum_push(ts: Any, y: Any, _x: Any, *, lengths: Sizes, **_windows: Any) -> Any:
    n = len(lengths)
    found = gather(_flat(ts[0], n), _flat(y[1], n), axis=1)
    return reshape(found, shape=shape_of(y[1])), None


_EVERY = np.sin(np.arange(40.0) * 1.7).reshape(2, 5, 4)
window_maximum: Any = general(
    "window_maximum",
    lambda x, *, lengths, sizes, steps, dilations, before: _window_maximum(
        x, lengths, sizes, steps, dilations, before
    ),
    _maximum_rule,
    push=_maximum_push,
    floating=False,
    promotes=None,
    samples=[
        Sample(M23, lengths=(2,), sizes=(2,), steps=(1,), dilations=(1,), before=(0,)),
        Sample(_EVERY, lengths=(3, 3), sizes=(3, 2), steps=(2, 1), dilations=(1, 2), before=(1, 1)),
    ],
    doc="""The largest element of every window over the last dimensions, and where it lies.

    The position is that in those dimensions flattened, in row-major order (int64). Of equal ones
    the first is taken and gets the gradient; a NaN is larger than everything. What lies outside
    never counts. For each dimension ``lengths`` has the number of windows, ``sizes``, ``steps``
    and ``dilations`` are as for ``windows``, ``before`` as for ``convolve``.
    """,
)
