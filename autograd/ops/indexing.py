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

from ..batched import Batched
from ..families import constant, general, linear, linear_many
from ..registry import Sample
from ..values import PLAIN, dtype_of, shape_of
from .arithmetic import where
from .shaping import M23, M234, cast, reshape, sum_to


# -- adding up at repeated positions ----------------------------------------------------------
# np.add.at would do everything below, several times slower.
def add_rows(positions: ndarray, rows: Any, count: int) -> ndarray:
    """``out[p] += row`` for each of the positions (1-d, not negative), in ``count`` rows."""
    rows = np.asarray(rows)
    if rows.dtype.kind != "f":
        out = np.zeros((count, *rows.shape[1:]), rows.dtype)
        np.add.at(out, positions, rows)
        return out
    if math.prod(rows.shape[1:]) == 1:  # the weights of bincount add up in float64
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
    return not any(
        type(i) is Batched or (type(i) is ndarray and i.dtype.kind in "iu") for i in items
    )


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
put: Any = linear(
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
        return array + put_array(
            np.broadcast_to(v, taken.shape).astype(array.dtype), index, array.shape
        )
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


# -- an index with integer tensors in it ------------------------------------------------------
#: Marks the place of a tensor in a ``spec``, an index whose tensors are operands.
AT = "tensor"


def fill_spec(spec: tuple[Any, ...], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index of a spec with the arrays in their places."""
    found = iter(arrays)
    return tuple(next(found) if type(item) is str else item for item in spec)


def _take_at(x: Any, *arrays: Any, spec: tuple[Any, ...]) -> Any:
    taken = _take(x, fill_spec(spec, arrays))
    # A 0-d array acts as an int, which gives a view.
    return taken if any(shape_of(a) for a in arrays) else np.array(taken)


def _take_at_rule(i: int, g: Any, _y: Any, _x: Any, *arrays: Any, spec: tuple[Any, ...]) -> Any:
    return put_at(g, *arrays, spec=spec, shape=shape_of(_x)) if i == 0 else None


def _put_at_rule(i: int, g: Any, _y: Any, _x: Any, *arrays: Any, spec: Any, shape: Any) -> Any:
    return getitem_at(g, *arrays, spec=spec) if i == 0 else None


getitem_at: Any = general(
    "getitem_at",
    _take_at,
    indexed=_take_at_rule,
    push=lambda ts, _y, _x, *arrays, spec: getitem_at(ts[0], *arrays, spec=spec),
    floating=False,
    promotes=None,
    analytic=True,
    samples=[
        Sample(M23, np.array([1, 0, 0]), spec=(AT,)),
        Sample(M23, np.array([[0, 1], [1, 1]]), np.array([2, 0]), spec=(AT, AT)),
        Sample(M234, np.array([2, 0, 2]), spec=(Ellipsis, AT, slice(1, 3))),
    ],
    doc="""The elements at an index with integer tensors in it, which are operands.

    ``spec``: the index, with ``"tensor"`` in their places. Users write ``x[index]``.
    """,
)
put_at: Any = general(
    "put_at",
    lambda x, *arrays, spec, shape: put_array(x, fill_spec(spec, arrays), shape),
    indexed=_put_at_rule,
    push=lambda ts, _y, _x, *arrays, spec, shape: put_at(ts[0], *arrays, spec=spec, shape=shape),
    floating=False,
    promotes=None,
    analytic=True,
    samples=[
        Sample(M23, np.array([1, 0]), spec=(AT,), shape=(4, 3)),
        Sample(M23, np.array([1, 0, 1]), spec=(Ellipsis, AT), shape=(2, 2)),
    ],
    doc="Zeros of ``shape`` with ``x`` added at the index: the transpose of ``getitem_at``.",
)


def _put_into_at(x: Any, v: Any, *arrays: Any, spec: tuple[Any, ...], accumulate: bool) -> Any:
    return _put_into(x, v, index=fill_spec(spec, arrays), accumulate=accumulate)


def _index_put_at_rule(
    i: int, g: Any, _y: Any, _x: Any, _v: Any, *arrays: Any, spec: Any, accumulate: bool
) -> Any:
    if i > 1:
        return None
    if i == 0:
        if accumulate:
            return g
        nought = np.zeros((), dtype_of(g))
        return index_put_at(g, nought, *arrays, spec=spec, accumulate=False)
    taken = getitem_at(g, *arrays, spec=spec)
    if not accumulate:
        stays = last_written(*arrays, spec=spec, shape=shape_of(_x), taken=shape_of(taken))
        taken = where(stays, taken, 0.0)
    wanted, found = shape_of(_v), shape_of(taken)
    extra = len(wanted) - len(found)
    return reshape(sum_to(taken, shape=wanted[extra:]), shape=wanted) if extra > 0 else taken


def _index_put_at_push(
    ts: Any, _y: Any, _x: Any, _v: Any, *arrays: Any, spec: Any, accumulate: bool
) -> Any:
    tangent = ts[0]
    if tangent is None:
        tangent = np.zeros(shape_of(_x), dtype_of(_x))
    moved = np.zeros((), dtype_of(_x)) if ts[1] is None else ts[1]
    return index_put_at(tangent, moved, *arrays, spec=spec, accumulate=accumulate)


last_written = constant(
    "last_written",
    lambda *arrays, spec, shape, taken: _stays(fill_spec(spec, arrays), shape, taken),
    samples=[Sample(np.array([1, 0, 1]), spec=(AT,), shape=(2, 3), taken=(3, 3))],
    doc="Which of the values written at an index are still there afterwards (booleans).",
)
index_put_at = general(
    "index_put_at",
    _put_into_at,
    indexed=_index_put_at_rule,
    push=_index_put_at_push,
    floating=False,
    promotes=None,
    analytic=True,
    samples=[
        Sample(M23, M23[0] * 2, np.array([0, 1, 0]), spec=(1, AT), accumulate=True),
        Sample(M23, M23[0] * 2, np.array([0, 1, 0]), spec=(1, AT), accumulate=False),
        Sample(M23, 0.75, np.array([1, 1]), spec=(AT,), accumulate=False),
    ],
    doc="``index_put`` at an index whose integer tensors are operands (see ``getitem_at``).",
)


# -- one index per element, along one dimension -----------------------------------------------
def _cropped(x: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """The part of ``x`` that an index of this shape can reach in the other dimensions."""
    if all(d == axis or n == m for d, (n, m) in enumerate(zip(shape_of(x), shape, strict=True))):
        return x
    return x[tuple(slice(None) if d == axis else slice(m) for d, m in enumerate(shape))]


def _gather(x: Any, index: Any, axis: int) -> Any:
    if not shape_of(x) and type(x) in PLAIN and type(index) in PLAIN:
        return np.array(np.take(np.reshape(x, (1,)), index))
    _refuse_negative("gather", index)
    return np.take_along_axis(_cropped(x, axis, shape_of(index)), index, axis)


def _refuse_negative(what: str, index: Any) -> None:
    if type(index) is ndarray and index.size and index.min() < 0:
        raise IndexError(f"{what}: index {index.min()} is out of range: it must not be negative")


def flat_positions(index: ndarray, axis: int, shape: tuple[int, ...]) -> ndarray:
    """Where in the flattened result every element along ``axis`` goes (1-d)."""
    index = np.atleast_1d(index)
    shape = shape or (1,)
    if index.size and not 0 <= index.min() <= index.max() < shape[axis]:
        wrong = index.min() if index.min() < 0 else index.max()
        raise IndexError(
            f"scatter: index {wrong} is out of range for dimension {axis} of size {shape[axis]}"
        )
    found = np.zeros((1,) * len(shape), np.intp)
    stride = 1
    for d in reversed(range(len(shape))):
        here = (
            index
            if d == axis
            else np.arange(index.shape[d]).reshape(-1, *[1] * (len(shape) - 1 - d))
        )
        found = found + here * stride
        stride *= shape[d]
    return np.broadcast_to(found, index.shape).reshape(-1)


def _scatter_sum(src: Any, index: Any, axis: int, shape: tuple[int, ...]) -> Any:
    positions = flat_positions(index, axis, shape)
    return add_rows(positions, np.reshape(src, -1), math.prod(shape)).reshape(shape)


gather: Any = general(
    "gather",
    lambda x, index, *, axis: _gather(x, index, axis),
    lambda g, _y, _x, index, *, axis: scatter_sum(g, index, axis=axis, shape=shape_of(_x)),
    lambda g, _y, _x, _index, *, axis: None,
    push=lambda ts, _y, _x, index, *, axis: gather(ts[0], index, axis=axis),
    floating=False,
    promotes=None,
    analytic=True,
    samples=[
        Sample(M23, np.array([[0, 0], [2, 1]]), axis=1),
        Sample(M23, np.array([[0, 1, 1], [1, 1, 0], [0, 0, 0]]), axis=0),
        Sample(M234, np.array([[[1], [1]]]), axis=2),
        Sample(0.5, np.array(0), axis=0),
    ],
    doc="""``y[i][j] = x[index[i][j]][j]`` (for ``axis=0``): one index per element of the result.

    ``index`` has as many dimensions as ``x`` and may be shorter in those other than ``axis``.
    """,
)
scatter_sum: Any = general(
    "scatter_sum",
    lambda src, index, *, axis, shape: _scatter_sum(src, index, axis, shape),
    lambda g, _y, _src, index, *, axis, shape: gather(g, index, axis=axis),
    lambda g, _y, _src, _index, *, axis, shape: None,
    push=lambda ts, _y, _src, index, *, axis, shape: scatter_sum(
        ts[0], index, axis=axis, shape=shape
    ),
    floating=False,
    promotes=None,
    analytic=True,
    samples=[
        Sample(M23, np.array([[0, 0, 2], [2, 1, 3]]), axis=1, shape=(2, 4)),
        Sample(M23, np.array([[0, 1, 1], [1, 1, 0]]), axis=0, shape=(2, 4)),
    ],
    doc="""Zeros of ``shape`` with ``y[index[i][j]][j] += src[i][j]`` (for ``axis=0``).

    The transpose of ``gather``.
    """,
)


def _scatter_extreme(x: Any, index: Any, src: Any, axis: int, largest: bool) -> Any:
    out = np.array(x)
    flat = out.reshape(-1)
    positions = flat_positions(index, axis, out.shape)
    (np.maximum if largest else np.minimum).at(flat, positions, np.reshape(src, -1))
    return flat.reshape(out.shape)


def _extreme_rule(
    i: int, g: Any, y: Any, x: Any, index: Any, src: Any, *, axis: int, largest: bool
) -> Any:
    if i == 1:
        return None
    kind = dtype_of(g)
    own = cast(where(x == y, 1.0, 0.0), dtype=kind)
    ties = cast(where(src == gather(y, index, axis=axis), 1.0, 0.0), dtype=kind)
    count = own + scatter_sum(ties, index, axis=axis, shape=shape_of(x))
    share = g / where(count == 0, 1.0, count)
    return share * own if i == 0 else gather(share, index, axis=axis) * ties


scatter_extreme = general(
    "scatter_extreme",
    lambda x, index, src, *, axis, largest: _scatter_extreme(x, index, src, axis, largest),
    indexed=_extreme_rule,
    floating=False,
    promotes=None,
    samples=[
        Sample(M23, np.array([[0, 0, 2], [2, 1, 2]]), M23 * 1.5 + 0.1, axis=1, largest=True),
        Sample(M23, np.array([[0, 0, 2], [2, 1, 2]]), M23 * 1.5 + 0.1, axis=1, largest=False),
    ],
    doc="""The largest (or smallest) of ``x`` and all elements of ``src`` sent to each place.

    Where several are equal they share the gradient evenly.
    """,
)


# -- without derivatives ----------------------------------------------------------------------
def _scatter_hits(index: Any, axis: int, shape: tuple[int, ...]) -> Any:
    hits = np.zeros(math.prod(shape), bool)
    hits[flat_positions(index, axis, shape)] = True
    return hits.reshape(shape)


def _scatter_stays(index: Any, axis: int, shape: tuple[int, ...]) -> Any:
    positions = flat_positions(index, axis, shape)
    board = np.zeros(math.prod(shape), np.intp)
    numbers = np.arange(positions.size)
    board[positions] = numbers
    return (board[positions] == numbers).reshape(shape_of(index))


def _scatter_rank(index: Any, axis: int, shape: tuple[int, ...]) -> Any:
    positions = flat_positions(index, axis, shape)
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    numbers = np.arange(positions.size)
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1]))[: positions.size]
    rank = np.empty_like(numbers)
    rank[order] = numbers - np.maximum.accumulate(np.where(is_first, numbers, 0))
    return rank.reshape(shape_of(index))


_ALONG = [Sample(np.array([[0, 0, 2], [2, 1, 2]]), axis=1, shape=(2, 4))]
scatter_hits = constant(
    "scatter_hits",
    lambda index, *, axis, shape: _scatter_hits(index, axis, shape),
    samples=_ALONG,
    doc="Which places of a ``shape`` a scatter along ``axis`` writes to (booleans).",
)
scatter_stays = constant(
    "scatter_stays",
    lambda index, *, axis, shape: _scatter_stays(index, axis, shape),
    samples=_ALONG,
    doc="Which elements of the source remain after a scatter, the last written to their place.",
)
scatter_rank = constant(
    "scatter_rank",
    lambda index, *, axis, shape: _scatter_rank(index, axis, shape),
    samples=_ALONG,
    doc="How many elements of the source went to the same place before each one.",
)
nonzero = constant(
    "nonzero",
    lambda x: np.argwhere(x if shape_of(x) else np.reshape(x, (1,))),
    samples=[Sample(M23)],
    doc="The indices of the elements that are not 0, one row for each; a scalar counts as (1,).",
)


def _one_hot(x: Any, num_classes: int) -> Any:
    if type(x) in PLAIN and np.size(x):
        low, high = np.min(x), np.max(x)
        if low < 0 or high >= num_classes:
            raise ValueError(f"class {low if low < 0 else high} is not in 0 to {num_classes - 1}")
    return (np.expand_dims(x, -1) == np.arange(num_classes)).astype(np.int64)


one_hot = constant(
    "one_hot",
    lambda x, *, num_classes: _one_hot(x, num_classes),
    samples=[Sample(np.array([0, 2, 1]), num_classes=3)],
    doc="For every class number a row of ``num_classes`` with a 1 in its place (int64).",
)
