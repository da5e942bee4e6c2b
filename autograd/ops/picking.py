"""One element from each group along a dimension: what the losses of classes read off.

``gather`` does the same and more. These leave the dimension out, take an index outside of it for
"none", and are several times quicker, since no position is taken twice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import general
from ..registry import Sample
from ..values import PLAIN, dtype_of, shape_of
from .shaping import M23, M234


def _positions(index: ndarray, axis: int, shape: tuple[int, ...]) -> ndarray:
    """Where in a flattened array of ``shape`` the elements lie, one for each of ``index``."""
    inner = math.prod(shape[axis + 1 :])
    count = shape[axis]
    if inner == 1:
        groups = np.arange(0, index.size * count, count).reshape(index.shape)
        return groups + index
    numbers = np.arange(index.size)
    groups = numbers // inner * (inner * (count - 1)) + numbers
    return groups.reshape(index.shape) + index * inner


def _inside(index: Any, count: int) -> Any:
    if type(index) is ndarray and index.dtype == np.int64:
        return index.view(np.uint64) < count  # where negative numbers are huge ones
    return (index >= 0) & (index < count)


def _every(inside: Any) -> bool:
    return np.count_nonzero(inside) == inside.size  # quicker than all()


def _pick(x: Any, index: Any, axis: int) -> Any:
    shape = shape_of(x)
    if type(x) is not ndarray or type(index) not in PLAIN:
        return _pick_any(x, index, axis, shape)
    index = np.asarray(index, np.int64)  # small integers would overflow in positions
    if x.size > 10_000 and not x.flags.c_contiguous:  # a copy would cost more
        return _pick_any(x, index, axis, shape)
    inside = _inside(index, shape[axis])
    if _every(inside):
        return x.reshape(-1)[_positions(index, axis, shape)]
    found = x.reshape(-1)[_positions(np.where(inside, index, 0), axis, shape)]
    return np.where(inside, found, x.dtype.type(0))


def _pick_any(x: Any, index: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """The same in NumPy's functions that have rules for batches."""
    inside = _inside(index, shape[axis])
    at = np.expand_dims(np.where(inside, index, 0), axis)
    found = np.squeeze(np.take_along_axis(x, at, axis), axis)
    return np.where(inside, found, dtype_of(x).type(0))


def _place(g: Any, index: Any, axis: int, count: int) -> Any:
    if type(g) not in PLAIN or type(index) not in PLAIN:
        index, g = np.expand_dims(index, axis), np.expand_dims(g, axis)
        beside = np.reshape(np.arange(count), (count,) + (1,) * (len(shape_of(g)) - axis - 1))
        return np.where(index == beside, g, dtype_of(g).type(0))
    g, index = np.asarray(g), np.asarray(index, np.int64)
    shape = (*g.shape[:axis], count, *g.shape[axis:])
    out = np.zeros(shape, g.dtype)
    inside = _inside(index, count)
    if _every(inside):
        out.reshape(-1)[_positions(index, axis, shape)] = g
    else:
        at = _positions(np.where(inside, index, 0), axis, shape)
        out.reshape(-1)[at[inside]] = g[inside]
    return out


pick: Any = general(
    "pick",
    lambda x, index, *, axis: _pick(x, index, axis),
    lambda g, _y, _x, index, *, axis: place(g, index, axis=axis, count=shape_of(_x)[axis]),
    lambda g, _y, _x, _index, *, axis: None,
    push=lambda ts, _y, _x, index, *, axis: pick(ts[0], index, axis=axis),
    floating=False,
    promotes=None,
    analytic=True,
    samples=[
        Sample(M23, np.array([2, 0]), axis=1),
        Sample(M23, np.array([1, -1, 0]), axis=0),
        Sample(M234, np.array([[2, 0, 1, 5], [0, 0, 2, 1]]), axis=1),
        Sample(M23[0], np.array(1), axis=0),
    ],
    doc="""``y[n] = x[n, index[n]]`` (for ``axis=1``): one element of each group along ``axis``.

    The result has the shape of ``index``, that of ``x`` without ``axis``. Where the index is not
    in 0 … n - 1 it is 0.
    """,
)
place: Any = general(
    "place",
    lambda g, index, *, axis, count: _place(g, index, axis, count),
    lambda g, _y, _x, index, *, axis, count: pick(g, index, axis=axis),
    lambda g, _y, _x, _index, *, axis, count: None,
    push=lambda ts, _y, _x, index, *, axis, count: place(ts[0], index, axis=axis, count=count),
    floating=False,
    promotes=None,
    analytic=True,
    samples=[
        Sample(M23[0], np.array([2, 0, -1]), axis=1, count=3),
        Sample(M23, np.array([[0, 1, 1], [1, 1, 0]]), axis=1, count=2),
    ],
    doc="""Zeros with ``y[n, index[n]] = g[n]`` (for ``axis=1``), the transpose of ``pick``.

    The new dimension has ``count`` elements; where the index is not in it all of them are 0.
    """,
)
