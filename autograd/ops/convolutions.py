"""Convolution: one sum of products of images, kernels and results, seen from each of the three.

    Σ over n, o, c, p, k of  y[n, o, p] · w[o, c, k] · x[n, c, p·step + k·dilation - before]

(x is 0 outside of its dimensions). Leaving one of the three out gives a bilinear operation of the
other two: without y the convolution, without x its transpose, without w the gradient of the
kernels. Each is the derivative of the others, so that all orders exist.

The elements of the windows are copied into columns, which one product of matrices takes; in
blocks that stay in the processor's cache, which also bounds the memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import bilinear
from ..registry import Sample
from ..values import shape_of
from .shaping import M234
from .taps import Sizes, Tap, taps

#: How many bytes of columns are made at once: about what a core's own cache holds.
BLOCK = 1 << 20


class _Columns:
    """The windows of images (n, c, *lengths) as columns (n, groups, c/groups · kernel, counts)."""

    def __init__(
        self,
        shape: tuple[int, ...],
        kernel: Sizes,
        counts: Sizes,
        dtype: Any,
        *,
        steps: Sizes,
        dilations: Sizes,
        before: Sizes,
        groups: int,
    ) -> None:
        self.n, self.channels, *lengths = shape
        self.kernel, self.counts, self.groups, self.dtype = kernel, counts, groups, dtype
        self.settings = (tuple(lengths), kernel, steps, dilations, before)
        self.depth = self.channels // max(groups, 1) * math.prod(kernel)
        # A kernel of one element takes every element of the image once, in order.
        self.is_plain = (
            math.prod(kernel) == 1 and set(steps) == {1} and not any(before)
        ) and counts == tuple(lengths)
        self.inner = math.prod(counts[1:])
        self.reaches_outside = any(
            b > 0 or (count - 1) * s - b + (k - 1) * d >= length
            for length, count, k, s, d, b in zip(
                lengths, counts, kernel, steps, dilations, before, strict=True
            )
        )
        self.buffer = np.empty(0, dtype)
        self.zeros_for: slice | None = None

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Parts that are computed at once: which images, and which rows of windows."""
        rows = self.counts[0]
        row = self.channels * math.prod(self.kernel) * self.inner * self.dtype.itemsize
        fit = self.n * rows if self.is_plain else max(1, BLOCK // max(row, 1))
        if fit >= rows:
            for i in range(0, self.n, fit // rows):
                yield slice(i, min(i + fit // rows, self.n)), slice(0, rows)
        else:
            for i in range(self.n):
                for first in range(0, rows, fit):
                    yield slice(i, i + 1), slice(first, min(first + fit, rows))

    def part(self, rows: slice) -> slice:
        """The windows of some rows, among all of them in one dimension."""
        return slice(rows.start * self.inner, rows.stop * self.inner)

    def taps(self, rows: slice) -> tuple[Tap, ...]:
        """The elements of the windows of some rows."""
        lengths, kernel, steps, dilations, before = self.settings
        counts = (rows.stop - rows.start, *self.counts[1:])
        start = (before[0] - rows.start * steps[0], *before[1:])
        return taps(lengths, counts, kernel, steps, dilations, start)

    def shapes(self, images: slice, rows: slice) -> tuple[Sizes, Sizes]:
        """The shape of a block of columns: by channel and place, and as matrices."""
        n, height = images.stop - images.start, rows.stop - rows.start
        windows = (height, *self.counts[1:])
        return (
            (n, self.channels, *self.kernel, *windows),
            (n, self.groups, self.depth, math.prod(windows)),
        )

    def empty(self, images: slice, rows: slice) -> ndarray:
        """Room for the columns of a block, in a buffer that the next block overwrites."""
        _, matrices = self.shapes(images, rows)
        size = math.prod(matrices)
        if self.buffer.size < size:
            self.buffer = np.empty(size, self.dtype)
        return self.buffer[:size].reshape(matrices)

    def fill(self, x: ndarray, images: slice, rows: slice) -> ndarray:
        """The columns of a block, in the same buffer."""
        shape, matrices = self.shapes(images, rows)
        if self.is_plain:
            return np.ascontiguousarray(x[images]).reshape(matrices)
        columns = self.empty(images, rows).reshape(shape)
        if self.reaches_outside and self.zeros_for != rows:
            self.buffer.fill(0)  # what lies outside of the images, and stays so for these rows
            self.zeros_for = rows
        x = x[images]
        index: Any
        for place, inputs, outputs in self.taps(rows):
            index = (slice(None), slice(None), *place, *outputs)
            columns[index] = x[:, :, *inputs]
        return columns.reshape(matrices)


def _matrices(w: ndarray, groups: int) -> ndarray:
    """Kernels (o, c/groups, *kernel) as matrices (groups, o/groups, c/groups · kernel)."""
    shape = (groups, w.shape[0] // max(groups, 1), math.prod(w.shape[1:]))
    return np.ascontiguousarray(w).reshape(shape)


def _grouped(y: ndarray, groups: int) -> ndarray:
    """Results (n, o, *counts) as (n, groups, o/groups, windows)."""
    n, o = y.shape[:2]
    shape = (n, groups, o // max(groups, 1), math.prod(y.shape[2:]))
    return np.ascontiguousarray(y).reshape(shape)


def _convolve(x: ndarray, w: ndarray, lengths: Sizes, **settings: Any) -> ndarray:
    columns = _Columns(x.shape, w.shape[2:], lengths, x.dtype, **settings)
    kernels = _matrices(w, columns.groups)
    y = np.empty((len(x), *kernels.shape[:2], math.prod(lengths)), np.result_type(x.dtype, w.dtype))
    for images, rows in columns.blocks():
        block = columns.fill(x, images, rows)
        np.matmul(kernels, block, out=y[images, :, :, columns.part(rows)])
    return y.reshape(len(x), len(w), *lengths)


def _transposed(y: ndarray, w: ndarray, lengths: Sizes, **settings: Any) -> ndarray:
    groups, dilations, before = (settings[name] for name in ("groups", "dilations", "before"))
    shape = (len(y), w.shape[1] * groups, *lengths)
    kernel = w.shape[2:]
    if set(settings["steps"]) == {1} and y.shape[1] <= 2 * shape[1]:
        # A convolution with the kernels turned round: copying columns is quicker than adding them.
        settings["before"] = tuple(
            (k - 1) * d - b for k, d, b in zip(kernel, dilations, before, strict=True)
        )
        return _convolve(y, _turned(w, groups), lengths, **settings)
    x = np.zeros(shape, np.result_type(y.dtype, w.dtype))
    columns = _Columns(shape, kernel, y.shape[2:], x.dtype, **settings)
    kernels, y = _matrices(w, groups).swapaxes(1, 2), _grouped(y, groups)
    for images, rows in columns.blocks():
        block = columns.empty(images, rows)
        part = y[images, :, :, columns.part(rows)]
        # BLAS is slow at products of a column and a row.
        (np.matmul if part.shape[2] > 1 else np.multiply)(kernels, part, out=block)
        block = block.reshape(columns.shapes(images, rows)[0])
        target, index = x[images], (slice(None), slice(None))
        for place, inputs, outputs in columns.taps(rows):
            target[(*index, *inputs)] += block[(*index, *place, *outputs)]  # type: ignore[arg-type]
    return x


def _turned(w: ndarray, groups: int) -> ndarray:
    """Kernels (o, c/groups, *kernel) as those of the transpose, (c, o/groups, *kernel)."""
    o, c, *kernel = w.shape
    w = np.flip(w.reshape(groups, o // max(groups, 1), c, *kernel), tuple(range(3, w.ndim + 1)))
    return w.swapaxes(1, 2).reshape(groups * c, o // max(groups, 1), *kernel)


def _kernels(x: ndarray, y: ndarray, lengths: Sizes, **settings: Any) -> ndarray:
    groups = settings["groups"]
    columns = _Columns(x.shape, lengths, y.shape[2:], x.dtype, **settings)
    shape = (y.shape[1], x.shape[1] // max(groups, 1), *lengths)
    y = _grouped(y, groups)
    w = np.zeros((groups, columns.depth, y.shape[2]), np.result_type(x.dtype, y.dtype))
    for images, rows in columns.blocks():
        block = columns.fill(x, images, rows)
        # The columns first: BLAS is quicker with its second operand transposed.
        w += np.matmul(block, y[images, :, :, columns.part(rows)].swapaxes(2, 3)).sum(0)
    return np.ascontiguousarray(w.swapaxes(1, 2)).reshape(shape)


#: Of the samples: one dimension; two with every setting; groups; steps that leave elements out.
_PLAIN = {"steps": (1,), "dilations": (1,), "before": (0,), "groups": 1}
_ALL = {"steps": (2, 1), "dilations": (1, 2), "before": (1, 2), "groups": 1}
_GROUPS = {"steps": (2,), "dilations": (1,), "before": (1,), "groups": 2}
_X1, _W1, _Y1 = M234[:, :2], M234[:, :2, 1:], np.cos(np.arange(12.0)).reshape(2, 2, 3)
_X2 = np.sin(np.arange(24.0)).reshape(1, 2, 4, 3)
_W2 = np.cos(np.arange(12.0)).reshape(1, 2, 2, 3)
_Y2 = np.sin(np.arange(9.0)).reshape(1, 1, 3, 3)
_XG = M234.reshape(1, 4, 6)
_WG = np.cos(np.arange(12.0)).reshape(2, 2, 3)
_YG = np.sin(np.arange(6.0)).reshape(1, 2, 3)

convolve: Any = bilinear(
    "convolve",
    lambda x, w, *, lengths, steps, dilations, before, groups: _convolve(
        x, w, lengths, steps=steps, dilations=dilations, before=before, groups=groups
    ),
    lambda g, _y, _x, w, *, lengths, **settings: convolve_transposed(
        g, w, lengths=shape_of(_x)[2:], **settings
    ),
    lambda g, _y, x, _w, *, lengths, **settings: convolve_kernels(
        x, g, lengths=shape_of(_w)[2:], **settings
    ),
    samples=[
        Sample(_X1, _W1, lengths=(2,), **_PLAIN),
        Sample(_X2, _W2, lengths=(3, 3), **_ALL),
        Sample(_XG, _WG, lengths=(3,), **_GROUPS),
        Sample(_X1, _W1[:, :, :1], lengths=(4,), **_PLAIN),
    ],
    doc="""y[n, o, p] = Σ over c, k of w[o, c, k] · x[n, c, p·step + k·dilation - before].

    ``x`` (n, c, *) and ``w`` (o, c/groups, *) give (n, o, *lengths), over any number of dimensions
    after the second, for each of which ``lengths``, ``steps``, ``dilations`` and ``before`` have a
    number; ``x`` is 0 outside. The channels fall into ``groups``, each with its own kernels.
    """,
)
convolve_transposed: Any = bilinear(
    "convolve_transposed",
    lambda y, w, *, lengths, steps, dilations, before, groups: _transposed(
        y, w, lengths, steps=steps, dilations=dilations, before=before, groups=groups
    ),
    lambda g, _y, _a, w, *, lengths, **settings: convolve(
        g, w, lengths=shape_of(_a)[2:], **settings
    ),
    lambda g, _y, a, _w, *, lengths, **settings: convolve_kernels(
        g, a, lengths=shape_of(_w)[2:], **settings
    ),
    samples=[
        Sample(_Y1[:, :, :2], _W1, lengths=(4,), **_PLAIN),
        Sample(_Y2, _W2, lengths=(4, 3), **_ALL),
        Sample(_YG, _WG, lengths=(6,), **_GROUPS),
        Sample(_Y1, _W1[:, :, :1], lengths=(3,), **_PLAIN),
    ],
    doc="""The transpose of ``convolve`` by its images: from (n, o, *) to (n, c, *lengths).

    The settings are those of the convolution; windows that reach outside are cut off.
    """,
)
convolve_kernels: Any = bilinear(
    "convolve_kernels",
    lambda x, y, *, lengths, steps, dilations, before, groups: _kernels(
        x, y, lengths, steps=steps, dilations=dilations, before=before, groups=groups
    ),
    lambda g, _y, _x, b, *, lengths, **settings: convolve_transposed(
        b, g, lengths=shape_of(_x)[2:], **settings
    ),
    lambda g, _y, x, _b, *, lengths, **settings: convolve(
        x, g, lengths=shape_of(_b)[2:], **settings
    ),
    samples=[
        Sample(_X1, _Y1, lengths=(2,), **_PLAIN),
        Sample(_X2, _Y2, lengths=(2, 3), **_ALL),
        Sample(_XG, _YG, lengths=(3,), **_GROUPS),
    ],
    doc="""The transpose of ``convolve`` by its kernels: (o, c/groups, *lengths) from the images
    ``x`` (n, c, *) and a cotangent ``y`` (n, o, *).
    """,
)
