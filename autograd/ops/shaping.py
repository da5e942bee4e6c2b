"""Shapes: operations that move elements about. All linear, each with its transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, linear, linear_many
from ..values import cast_value, dtype_of, shape_of

M23 = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]])
M234 = np.linspace(-1.5, 2.0, 24).reshape(2, 3, 4)

cast = linear(
    "cast",
    lambda x, *, dtype: cast_value(x, dtype),
    lambda g, x, *, dtype: cast(g, dtype=dtype_of(x)),
    samples=[Sample(M23, dtype=np.dtype("float64"))],
)


def sum_array_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the dimensions that broadcasting added or stretched (or stretch to the shape)."""
    found = shape_of(x)
    extra = len(found) - len(shape)
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
)
expand = linear(
    "expand",
    lambda x, *, shape: np.broadcast_to(x, shape),
    lambda g, x, *, shape: sum_to(g, shape=shape_of(x)),
    view=True,
    samples=[Sample(M23, shape=(4, 2, 3)), Sample(0.5, shape=(2,)), Sample(M23[:, :1], shape=(2, 3))],
)
reshape = linear(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    lambda g, x, *, shape: reshape(g, shape=shape_of(x)),
    view=True,
    samples=[Sample(M23, shape=(3, 2)), Sample(M23, shape=(6,)), Sample(0.5, shape=(1, 1))],
)


def expand_dims(x: Any, *, axis: tuple[int, ...]) -> Any:
    """Put the dimensions that a reduction over ``axis`` removed back, with length 1."""
    shape = list(shape_of(x))
    for a in sorted(axis):
        shape.insert(a, 1)
    return reshape(x, shape=tuple(shape))


permute = linear(
    "permute",
    lambda x, *, axes: np.transpose(x, axes),
    lambda g, x, *, axes: permute(g, axes=tuple(int(i) for i in np.argsort(axes))),
    view=True,
    samples=[Sample(M23, axes=(1, 0)), Sample(M234, axes=(2, 0, 1))],
)
flip = linear(
    "flip",
    lambda x, *, axes: np.flip(x, axes).copy(),
    lambda g, x, *, axes: flip(g, axes=axes),
    samples=[Sample(M23, axes=(0,)), Sample(M234, axes=(0, 2))],
)
cat = linear_many(
    "cat",
    lambda *xs, axis: np.concatenate(xs, axis=axis),
    lambda i, g, *xs, axis: _getitem(g, _part(i, xs, axis)),
    samples=[Sample(M23, M23[:1], axis=0), Sample(M23, M23 * 2, M23[:, :1], axis=1)],
)


def _part(i: int, xs: Any, axis: int) -> tuple[Any, ...]:
    """The slice of a concatenation that came from operand ``i``."""
    lengths = [shape_of(x)[axis] for x in xs]
    start = sum(lengths[:i])
    return (*[slice(None)] * axis, slice(start, start + lengths[i]))


stack = linear_many(
    "stack",
    lambda *xs, axis: np.stack(xs, axis=axis),
    lambda i, g, *xs, axis: _getitem(g, (*[slice(None)] * axis, i)),
    samples=[Sample(M23, M23 * 2, axis=0), Sample(M23, M23 * 2, axis=2), Sample(0.5, 1.5, axis=0)],
)


def _getitem(x: Any, index: Any) -> Any:
    from .indexing import getitem

    return getitem(x, index=index)
