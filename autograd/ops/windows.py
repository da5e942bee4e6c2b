"""Sliding windows, and their transpose, which adds overlapping windows up."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import linear
from ..registry import Sample
from ..values import dtype_of, shape_of
from .shaping import M23, M234


def window_counts(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    sizes: tuple[int, ...],
    steps: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """How many windows fit along each of the axes."""
    return tuple(
        (shape[a] - d * (k - 1) - 1) // s + 1 if shape[a] >= d * (k - 1) + 1 else 0
        for a, k, s, d in zip(axes, sizes, steps, dilations, strict=True)
    )


def _windows(
    x: Any,
    axes: tuple[int, ...],
    sizes: tuple[int, ...],
    steps: tuple[int, ...],
    dilations: tuple[int, ...],
) -> Any:
    spans = tuple(d * (k - 1) + 1 for k, d in zip(sizes, dilations, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axis=axes)
    part = [slice(None)] * len(shape_of(x)) + [slice(None, None, d) for d in dilations]
    for a, s in zip(axes, steps, strict=True):
        part[a] = slice(None, None, s)
    return view[tuple(part)]


def _overlap_add(
    w: Any,
    axes: tuple[int, ...],
    sizes: tuple[int, ...],
    steps: tuple[int, ...],
    dilations: tuple[int, ...],
    shape: tuple[int, ...],
) -> ndarray:
    out = np.zeros(shape, dtype_of(w))
    counts = shape_of(w)[: len(shape)]
    # One addition for each offset within a window, over all windows at once: offsets are few.
    for offsets in itertools.product(*map(range, sizes)):
        part = [slice(None)] * len(shape)
        for a, o, s, d in zip(axes, offsets, steps, dilations, strict=True):
            part[a] = slice(o * d, o * d + s * (counts[a] - 1) + 1, s)
        out[tuple(part)] += w[(Ellipsis, *offsets)]
    return out


windows = linear(
    "windows",
    lambda x, *, axes, sizes, steps, dilations: _windows(x, axes, sizes, steps, dilations),
    lambda g, x, *, axes, sizes, steps, dilations: overlap_add(
        g, axes=axes, sizes=sizes, steps=steps, dilations=dilations, shape=shape_of(x)
    ),
    view=True,
    samples=[
        Sample(M23, axes=(1,), sizes=(2,), steps=(1,), dilations=(1,)),
        Sample(M234, axes=(2, 1), sizes=(2, 2), steps=(2, 1), dilations=(1, 2)),
    ],
    doc="""Sliding windows along ``axes``, which then count the windows; the elements of a window
    come last, one dimension for each of ``axes``. A view.

    ``sizes``: of the windows; ``steps``: from one to the next; ``dilations``: between the elements
    of one. Elements at the end that fill no window are left out.
    """,
)
overlap_add: Any = linear(
    "overlap_add",
    lambda w, *, axes, sizes, steps, dilations, shape: _overlap_add(
        w, axes, sizes, steps, dilations, shape
    ),
    lambda g, w, *, axes, sizes, steps, dilations, shape: windows(
        g, axes=axes, sizes=sizes, steps=steps, dilations=dilations
    ),
    samples=[
        Sample(M23, axes=(0,), sizes=(3,), steps=(2,), dilations=(1,), shape=(5,)),
        Sample(
            M234.reshape(1, 2, 3, 4),
            axes=(0, 1),
            sizes=(3, 4),
            steps=(1, 1),
            dilations=(1, 1),
            shape=(3, 5),
        ),
    ],
    doc="Zeros of ``shape`` with every window added in its place: the transpose of ``windows``.",
)
