"""Shapes: operations that move elements about. All linear, each with its transpose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from ..families import constant, general, linear, linear_many
from ..registry import Sample
from ..values import PLAIN, cast_value, dtype_of, shape_of

M23 = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]])
M234 = np.linspace(-1.5, 2.0, 24).reshape(2, 3, 4)

# -- the same elements, one for one -----------------------------------------------------------
cast: Any = linear(
    "cast",
    lambda x, *, dtype: cast_value(x, dtype),
    lambda g, x, *, dtype: cast(g, dtype=dtype_of(x)),
    samples=[Sample(M23, dtype=np.dtype("float64")), Sample(0.5, dtype=np.dtype("float64"))],
    doc="The value in another floating ``dtype``; the gradient comes back in the operand's own.",
)
# Integers and booleans carry no gradient, so that this is where a value leaves the tape.
cast_whole = constant(
    "cast_whole",
    lambda x, *, dtype: cast_value(x, dtype),
    samples=[Sample(M23, dtype=np.dtype("int64"))],
    doc="The value as integers (cut towards zero) or booleans (not 0); off the tape.",
)
clone = linear(
    "clone",
    lambda x: x.copy() if type(x) is ndarray else x if type(x) in PLAIN else np.copy(x),
    lambda g, _x: g,
    samples=[Sample(M23), Sample(0.5)],
    doc="""A copy in memory of its own, on the tape: ``y = x``, derivative 1.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.clone(x)
    tensor([1., 2.], grad_fn=<clone>)
    """,
)


def sum_array_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the dimensions that broadcasting added or stretched (or stretch to the shape)."""
    found = shape_of(x)
    extra = len(found) - len(shape)
    if type(x) is ndarray and extra > 0 and found[extra:] == shape:  # the common case
        return np.add.reduce(x, axis=tuple(range(extra)))
    if extra < 0 or any(a != b and b != 1 for a, b in zip(found[extra:], shape, strict=True)):
        return np.broadcast_to(x, shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, b in enumerate(shape) if b == 1 and found[i + extra] != 1
    )
    total = np.sum(x, axis=axes) if axes else x
    return np.reshape(total, shape) if shape else total


sum_to = linear(
    "sum_to",
    lambda x, *, shape: sum_array_to(x, shape),
    lambda g, x, *, shape: expand(g, shape=shape_of(x)),
    samples=[Sample(M23, shape=(1, 3)), Sample(M23, shape=(3,)), Sample(M23, shape=())],
    doc="The sum over the dimensions that broadcasting from ``shape`` would stretch.",
)
expand: Any = linear(
    "expand",
    lambda x, *, shape: np.broadcast_to(x, shape),
    lambda g, x, *, shape: sum_to(g, shape=shape_of(x)),
    view=True,
    samples=[
        Sample(M23, shape=(4, 2, 3)),
        Sample(0.5, shape=(2,)),
        Sample(M23[:, :1], shape=(2, 3)),
    ],
    doc="``x`` broadcast to ``shape``: a view, whose elements of ``x`` repeat.",
)
reshape: Any = linear(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    lambda g, x, *, shape: reshape(g, shape=shape_of(x)),
    view=True,
    samples=[Sample(M23, shape=(3, 2)), Sample(M23, shape=(6,)), Sample(0.5, shape=(1, 1))],
    doc="The same elements, in row-major order, in another ``shape``: a view where NumPy can.",
)


def expand_dims(x: Any, *, axis: tuple[int, ...]) -> Any:
    """Put the dimensions that a reduction over ``axis`` removed back, with length 1."""
    shape = list(shape_of(x))
    for a in sorted(axis):
        shape.insert(a, 1)
    return reshape(x, shape=tuple(shape))


permute: Any = linear(
    "permute",
    lambda x, *, axes: np.transpose(x, axes),
    lambda g, x, *, axes: permute(g, axes=tuple(int(i) for i in np.argsort(axes))),
    view=True,
    samples=[Sample(M23, axes=(1, 0)), Sample(M234, axes=(2, 0, 1)), Sample(0.5, axes=())],
    doc="The dimensions in the order ``axes``: a view.",
)
flip: Any = linear(
    "flip",
    lambda x, *, axes: np.flip(x, axes).copy(),
    lambda g, x, *, axes: flip(g, axes=axes),
    samples=[Sample(M23, axes=(0,)), Sample(M234, axes=(0, 2))],
    doc="The elements in reverse order along ``axes``: a copy.",
)
roll: Any = linear(
    "roll",
    lambda x, *, shifts, axes: np.roll(x, shifts, axes),
    lambda g, x, *, shifts, axes: roll(g, shifts=tuple(-s for s in shifts), axes=axes),
    samples=[Sample(M23, shifts=(1,), axes=(1,)), Sample(M234, shifts=(1, -2), axes=(0, 2))],
    doc="The elements moved ``shifts`` places along ``axes``, the last ones coming in first.",
)


# -- joining and parting ----------------------------------------------------------------------
def _getitem(x: Any, index: Any) -> Any:
    from .indexing import getitem

    return getitem(x, index=index)


def _parts_of_cat(g: Any, xs: Any, *, axis: int) -> Any:
    """What each operand of a concatenation gets."""
    indices = split_indices(axis, tuple(shape_of(x)[axis] for x in xs))
    return lambda i: _getitem(g, indices[i])


def _parts_of_stack(g: Any, _xs: Any, *, axis: int) -> Any:
    """What each operand of a stack gets."""
    return lambda i: _getitem(g, (*[slice(None)] * axis, i))


cat = linear_many(
    "cat",
    lambda *xs, axis: np.concatenate(xs, axis=axis),
    lambda i, g, *xs, axis: _parts_of_cat(g, xs, axis=axis)(i),
    parts=_parts_of_cat,
    samples=[Sample(M23, M23[:1], axis=0), Sample(M23, M23 * 2, M23[:, :1], axis=1)],
    doc="The operands one after the other along ``axis``.",
)
stack = linear_many(
    "stack",
    lambda *xs, axis: np.stack(xs, axis=axis),
    lambda i, g, *xs, axis: _parts_of_stack(g, xs, axis=axis)(i),
    parts=_parts_of_stack,
    samples=[Sample(M23, M23 * 2, axis=0), Sample(M23, M23 * 2, axis=2), Sample(0.5, 1.5, axis=0)],
    doc="The operands, of one shape, side by side along a new dimension ``axis``.",
)


def _split(x: Any, axis: int, sizes: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(x[index] for index in split_indices(axis, sizes))


def split_indices(axis: int, sizes: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """The index of every part."""
    found, start = [], 0
    for size in sizes:
        found.append((*[slice(None)] * axis, slice(start, start + size)))
        start += size
    return found


# One operation with many outputs rather than many slices: the gradient is then one cat, instead
# of a whole array of zeros for every part.
split: Any = general(
    "split",
    lambda x, *, axis, sizes: _split(x, axis, sizes),
    lambda g, _y, _x, *, axis, sizes: cat(*g, axis=axis),
    push=lambda ts, _y, _x, *, axis, sizes: split(ts[0], axis=axis, sizes=sizes),
    floating=False,
    promotes=None,
    analytic=True,
    samples=[Sample(M23, axis=1, sizes=(1, 2)), Sample(M234, axis=2, sizes=(1, 0, 3))],
    doc="Parts of the given ``sizes`` along ``axis``, as a tuple of views.",
)
unbind: Any = general(
    "unbind",
    lambda x, *, axis: tuple(x[(*[slice(None)] * axis, i)] for i in range(shape_of(x)[axis])),
    lambda g, _y, _x, *, axis: stack(*g, axis=axis),
    push=lambda ts, _y, _x, *, axis: unbind(ts[0], axis=axis),
    floating=False,
    promotes=None,
    analytic=True,
    samples=[Sample(M23, axis=0), Sample(M234, axis=1), Sample(M23[0], axis=0)],
    doc="The slices along ``axis``, as a tuple of views without that dimension.",
)
split.primitive.view = unbind.primitive.view = True


# -- zeros around and on one side -------------------------------------------------------------
def _pad(x: Any, widths: tuple[tuple[int, int], ...]) -> Any:
    if type(x) is not ndarray:
        return np.pad(x, widths)
    # np.pad does the same, ten times slower on small arrays.
    out = np.zeros([n + a + b for n, (a, b) in zip(x.shape, widths, strict=True)], x.dtype)
    out[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, widths, strict=True))] = x
    return out


def _crop(g: Any, x: Any, *, widths: tuple[tuple[int, int], ...]) -> Any:
    return _getitem(
        g, tuple(slice(a, a + n) for n, (a, _) in zip(shape_of(x), widths, strict=True))
    )


pad = linear(
    "pad",
    lambda x, *, widths: _pad(x, widths),
    _crop,
    samples=[Sample(M23, widths=((1, 0), (0, 2))), Sample(M23[0], widths=((2, 1),))],
    doc="Zeros around ``x``: ``widths`` gives (before, after) for every dimension.",
)
tril: Any = linear(
    "tril",
    lambda x, *, offset: np.tril(x, offset),
    lambda g, x, *, offset: tril(g, offset=offset),
    samples=[Sample(M23, offset=0), Sample(M234, offset=-1), Sample(M23, offset=1)],
    doc="The elements on and below diagonal ``offset`` of the last two dimensions, else 0.",
)
triu: Any = linear(
    "triu",
    lambda x, *, offset: np.triu(x, offset),
    lambda g, x, *, offset: triu(g, offset=offset),
    samples=[Sample(M23, offset=0), Sample(M234, offset=-1), Sample(M23, offset=1)],
    doc="The elements on and above diagonal ``offset`` of the last two dimensions, else 0.",
)


def _diagonal(x: Any, offset: int, axis1: int, axis2: int) -> Any:
    found = np.diagonal(x, offset, axis1, axis2)
    if type(found) is ndarray and x.flags.writeable:
        found.flags.writeable = True  # NumPy's caution; writing through this view is meant to work
    return found


def _put_diagonal(x: Any, offset: int, axis1: int, axis2: int, shape: tuple[int, ...]) -> Any:
    out = np.zeros(shape, dtype_of(x))
    found = np.diagonal(out, offset, axis1, axis2)
    found.flags.writeable = True
    found[...] = x
    return out


diagonal = linear(
    "diagonal",
    lambda x, *, offset, axis1, axis2: _diagonal(x, offset, axis1, axis2),
    lambda g, x, *, offset, axis1, axis2: put_diagonal(
        g, offset=offset, axis1=axis1, axis2=axis2, shape=shape_of(x)
    ),
    view=True,
    samples=[
        Sample(M23, offset=0, axis1=0, axis2=1),
        Sample(M23, offset=1, axis1=1, axis2=0),
        Sample(M234, offset=-1, axis1=0, axis2=2),
    ],
    doc="""The elements on a diagonal of the dimensions ``axis1``, ``axis2``; they become the last.

    ``offset`` > 0 is above the main diagonal, < 0 below. A view.
    """,
)
put_diagonal: Any = linear(
    "put_diagonal",
    lambda x, *, offset, axis1, axis2, shape: _put_diagonal(x, offset, axis1, axis2, shape),
    lambda g, x, *, offset, axis1, axis2, shape: diagonal(
        g, offset=offset, axis1=axis1, axis2=axis2
    ),
    samples=[
        Sample(M23[0], offset=0, axis1=0, axis2=1, shape=(3, 3)),
        Sample(M23[:, :1], offset=-1, axis1=0, axis2=1, shape=(2, 1, 2)),
    ],
    doc="Zeros of ``shape`` with the last dimension of ``x`` on a diagonal: its transpose.",
)
