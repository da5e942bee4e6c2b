"""The indices that sort and select. Values follow by ``gather``, which carries the gradient."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from ..families import constant
from ..registry import Sample
from ..values import shape_of
from .shaping import M23, M234


def _argsort(x: Any, axis: int, descending: bool) -> Any:
    if not shape_of(x):
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    # Equal elements keep their order in the descending direction too.
    backwards = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return shape_of(x)[axis] - 1 - np.flip(backwards, axis)


argsort = constant(
    "argsort",
    lambda x, *, axis, descending: _argsort(x, axis, descending),
    samples=[Sample(M23, axis=1, descending=False), Sample(M234, axis=0, descending=True)],
    doc="""The indices that sort along ``axis``; equal elements keep their order, NaN counts as
    the largest.""",
)


def _argtopk(x: Any, axis: int, k: int, largest: bool) -> Any:
    n = shape_of(x)[axis] if shape_of(x) else 1
    if not shape_of(x) or 4 * k > n or n < 64:
        part = (*[slice(None)] * axis, slice(k))
        order = np.reshape(_argsort(x, axis, largest), shape_of(x) or (1,))
        return order[part] if shape_of(x) else np.reshape(order[:k], ())
    # A partial sort, then a full one of the k it found (lowest index first among equals).
    cut = n - k if largest else k - 1
    found = np.argpartition(x, cut, axis=axis)
    part = (*[slice(None)] * axis, slice(cut, None) if largest else slice(k))
    found = np.sort(found[part], axis=axis)
    order = _argsort(np.take_along_axis(x, found, axis), axis, largest)
    return np.take_along_axis(found, order, axis)


argtopk = constant(
    "argtopk",
    lambda x, *, axis, k, largest: _argtopk(x, axis, k, largest),
    samples=[
        Sample(M23, axis=1, k=2, largest=True),
        Sample(np.sin(np.arange(100.0)), axis=0, k=3, largest=False),
    ],
    doc="""The indices of the ``k`` largest (or smallest) elements along ``axis``, the most extreme
    first.""",
)


def _searchsorted(boundaries: Any, values: Any, right: bool) -> Any:
    side: Literal["left", "right"] = "right" if right else "left"
    shape = shape_of(boundaries)
    if len(shape) == 1:
        return np.searchsorted(boundaries, values, side)
    rows = np.reshape(boundaries, (-1, shape[-1]))
    wanted = np.reshape(values, (len(rows), shape_of(values)[-1]))
    found = [np.searchsorted(row, v, side) for row, v in zip(rows, wanted, strict=True)]
    return np.array(found, np.int64).reshape(shape_of(values))


searchsorted = constant(
    "searchsorted",
    lambda boundaries, values, *, right: _searchsorted(boundaries, values, right),
    samples=[Sample(np.array([0.0, 1.0, 2.0]), M23, right=False)],
    doc="Where each value would be inserted into the sorted ``boundaries`` to keep their order.",
)


def _unique(x: Any, axis: int | None) -> tuple[Any, Any, Any]:
    _, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    if axis is None:
        return first, np.reshape(inverse, shape_of(x)), counts
    return first, np.reshape(inverse, -1), counts


unique_indices = constant(
    "unique_indices",
    lambda x, *, axis: _unique(x, axis),
    samples=[Sample(np.array([2.0, 1.0, 2.0]), axis=None), Sample(M23, axis=1)],
    doc="""Of the distinct elements (or slices along ``axis``), in ascending order: where each first
    occurs, which of them every element is, and how often each occurs.""",
)


def _runs(x: Any, axis: int | None) -> tuple[Any, Any, Any]:
    flat = np.reshape(x, (-1, 1)) if axis is None else np.moveaxis(x, axis, 0)
    flat = np.reshape(flat, (shape_of(flat)[0], math.prod(shape_of(flat)[1:])))
    is_new = np.ones(len(flat), bool)
    is_new[1:] = (flat[1:] != flat[:-1]).any(axis=1)
    first = np.flatnonzero(is_new)
    inverse = np.cumsum(is_new) - 1
    counts = np.diff(np.append(first, len(flat)))
    return first, np.reshape(inverse, shape_of(x)) if axis is None else inverse, counts


run_indices = constant(
    "run_indices",
    lambda x, *, axis: _runs(x, axis),
    samples=[Sample(np.array([2.0, 2.0, 1.0, 2.0]), axis=None)],
    doc="""Of the runs of equal elements (or slices along ``axis``): where each begins, which of
    them every element is in, and how long each is.""",
)
isin = constant(
    "isin",
    lambda elements, test_elements, *, invert: np.isin(elements, test_elements, invert=invert),
    samples=[Sample(np.array([1, 2, 3]), np.array([2, 5]), invert=False)],
    doc="For each element, whether it is among ``test_elements``.",
)
