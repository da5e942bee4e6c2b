"""Indexing: taking elements, and putting them back.

A static index (ints, slices, None, ``...``, masks, plain arrays) is a parameter. Integer tensors
are operands, so that a transformation that maps or replays operations sees them change. All are
linear in the elements moved; elements taken several times add up in the transpose.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

from ..primitive import Sample, linear, linear_many
from ..values import PLAIN, dtype_of, shape_of
from .shaping import M23, M234, reshape, sum_to


# -- adding up at repeated positions ----------------------------------------------------------
# np.add.at would do everything below, several times slower.
def add_rows(positions: ndarray, rows: Any, count: int) -> ndarray:
    """``out[p] += row`` for each of the positions (1-d, not negative), in ``count`` rows."""
    rows = np.asarray(rows)
    if rows.dtype.kind != "f":
        out = np.zeros((count, *rows.shape[1:]), rows.dtype)
        np.add.at(out, positions, rows)
        return out
    if rows.size == rows.shape[0]:  # rows of one element; the weights add up in float64
        total = np.bincount(positions, rows.reshape(-1), count)
        return total.astype(rows.dtype, copy=False).reshape(count, *rows.shape[1:])
    out = np.zeros((count, *rows.shape[1:]), rows.dtype)
    if not positions.size:
        return out
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if starts.size == positions.size:  # nothing is repeated
        out[positions] = rows
    else:
        out[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return out


def is_basic(index: Any) -> bool:
    """Whether an index has no arrays in it, so that it takes every element at most once."""
    items = index if type(index) is tuple else (index,)
    return all(i is None or i is Ellipsis or type(i) in (int, slice) for i in items)


def takes_once(index: Any) -> bool:
    """Whether an index takes every element at most once by construction: ints, slices, masks."""
    items = index if type(index) is tuple else (index,)
    return not any(type(i) is ndarray and i.dtype.kind in "iu" for i in items)


def put_array(x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros with ``x`` added at the index: the transpose of ``[index]``."""
    if takes_once(index):
        out = np.zeros(shape, dtype_of(x))
        out[index] = x
        return out
    items = index if type(index) is tuple else (index,)
    lead = 0  # how many dimensions are taken whole before the first array
    while lead < len(items) and type(items[lead]) is slice and items[lead] == slice(None):
        lead += 1
    arrays = items[lead:]
    if all(type(a) is ndarray and a.dtype.kind in "iu" for a in arrays):
        return _put_block(x, arrays, lead, shape)
    size = math.prod(shape)
    positions = np.arange(size).reshape(shape)[index]
    x = np.broadcast_to(x, positions.shape)
    return add_rows(positions.reshape(-1), x.reshape(-1), size).reshape(shape)


def _put_block(x: Any, arrays: tuple[ndarray, ...], lead: int, shape: tuple[int, ...]) -> Any:
    """The transpose of an index of integer arrays alone, after ``lead`` full slices."""
    k = len(arrays)
    lengths = shape[lead : lead + k]
    arrays = np.broadcast_arrays(*arrays)
    picked = arrays[0].shape
    flat = np.zeros(picked, np.intp)
    for array, n in zip(arrays, lengths, strict=True):
        flat = flat * n + np.where(array < 0, array + n, array)
    before, after = shape[:lead], shape[lead + k :]
    x = np.broadcast_to(x, (*before, *picked, *after))
    count = math.prod(lengths)
    if lead:  # bring the picked dimensions to the front
        rows = np.moveaxis(x, range(lead, lead + len(picked)), range(len(picked)))
    else:
        rows = x
    rows = rows.reshape(flat.size, *before, *after)
    out = add_rows(flat.reshape(-1), rows, count).reshape(*lengths, *before, *after)
    return np.ascontiguousarray(np.moveaxis(out, range(k), range(lead, lead + k))) if lead else out


# -- a static index ---------------------------------------------------------------------------
def _take(x: Any, index: Any) -> Any:
    return (np.asarray(x) if type(x) is not ndarray and type(x) in PLAIN else x)[index]


getitem = linear(
    "getitem",
    lambda x, *, index: _take(x, index),
    lambda g, x, *, index: put(g, index=index, shape=shape_of(x)),
    view=True,
    samples=[
        Sample(M23, index=0),
        Sample(M23, index=(1, slice(None, None, -1))),
        Sample(M23, index=(Ellipsis, None, 1)),
        Sample(M23, index=np.array([0, 1, 1, 0, 0])),
        Sample(M23, index=(np.array([0, 1, 1]), np.array([2, 0, 0]))),
        Sample(M23, index=M23 > 0),
        Sample(M234, index=(slice(None), np.array([[2, 0], [2, -1]]))),
        Sample(M234, index=(np.array([1, 1]), slice(1), np.array([3, 3]))),
        Sample(0.5, index=(None, Ellipsis)),
    ],
    doc="""The elements at a static index: ``y = x[index]``.

    ``index``: ints, slices, None, ``...``, boolean or integer arrays, or a tuple of them. A view
    where the index has no arrays. Users write ``x[index]``.
    """,
)
put = linear(
    "put",
    lambda x, *, index, shape: put_array(x, index, shape),
    lambda g, x, *, index, shape: getitem(g, index=index),
    samples=[
        Sample(M23[0], index=1, shape=(2, 3)),
        Sample(M23[0], index=np.array([0, 1, 1]), shape=(4,)),
        Sample(M23, index=(slice(None), np.array([0, 3, 3])), shape=(2, 4)),
    ],
    doc="""Zeros of a shape with ``x`` added at the index; what is put twice adds up.

    The transpose of ``getitem``. ``shape``: of the result.
    """,
)


def _put_into(x: Any, v: Any, *, index: Any, accumulate: bool) -> Any:
    array = np.array(x) if type(x) in PLAIN else x.copy()
    if dtype_of(v).kind == "c" and array.dtype.kind != "c":
        array = array.astype(dtype_of(v))  # the checker's complex step comes in through v
    if accumulate and not takes_once(index):
        taken = array[index]
        return array + put_array(np.broadcast_to(v, taken.shape).astype(array.dtype), index, array.shape)
    if accumulate:
        array[index] += v
    else:
        array[index] = v
    return array


def _put_transpose(i: int, g: Any, x: Any, v: Any, *, index: Any, accumulate: bool) -> Any:
    if i == 0:
        if accumulate:
            return g
        return index_put(g, np.zeros((), dtype_of(g)), index=index, accumulate=False)
    taken = getitem(g, index=index)
    if not accumulate and not takes_once(index):
        # Of several values written to one place the last one stays.
        taken = taken * _stays(index, shape_of(x), shape_of(taken)).astype(dtype_of(taken))
    wanted, found = shape_of(v), shape_of(taken)
    extra = len(wanted) - len(found)
    if extra > 0:  # NumPy lets a value have leading dimensions of length 1 too many
        return reshape(sum_to(taken, shape=wanted[extra:]), shape=wanted)
    return taken


def _stays(index: Any, shape: tuple[int, ...], taken: tuple[int, ...]) -> ndarray:
    """Which of the values written at an index are still there afterwards."""
    numbers = np.arange(math.prod(taken)).reshape(taken)
    board = np.full(shape, -1)
    board[index] = numbers
    return np.asarray(board[index] == numbers)


index_put = linear_many(
    "index_put",
    _put_into,
    _put_transpose,
    samples=[
        Sample(M23, M23[0], index=1, accumulate=False),
        Sample(M23, 0.75, index=(slice(None), 1), accumulate=False),
        Sample(M23, M23[:, 0] * 2, index=(np.array([0, 1]), np.array([2, 2])), accumulate=False),
        Sample(M23, M23[0] * 2, index=(np.array([0, 1, 0]), np.array([2, 2, 2])), accumulate=True),
        Sample(M23, 2.0, index=M23 > 0, accumulate=False),
    ],
    doc="""A copy of ``x`` with ``v`` written (or, with ``accumulate``, added) at a static index.

    ``v`` broadcasts to the shape of ``x[index]`` and takes the dtype of ``x``. Where an index
    names a place twice, the last value stays and only it gets a gradient; with ``accumulate``
    all add up.
    """,
)
index_put.primitive.promotes = None  # what is written takes the dtype of what it is written to
