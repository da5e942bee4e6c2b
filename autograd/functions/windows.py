"""Sliding windows: unfold and fold."""

from __future__ import annotations

import math
import operator
from typing import Any

from ..errors import ShapeError
from ..ops import windows as ops
from ..ops.indexing import getitem
from ..ops.shaping import expand_dims, pad, permute, reshape
from ..values import shape_of
from .dims import one_dim
from .window_settings import per_dimension

__all__ = ["fold", "unfold"]


def windows(input: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of ``size`` elements along a dimension, each ``step`` after the last: a view.

    The dimension then counts the windows; the elements of a window come last.

    >>> import tapegrad as tg
    >>> tg.arange(5).unfold(0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    shape = shape_of(input)
    d = one_dim(dimension, len(shape), "unfold")
    size, step = operator.index(size), operator.index(step)
    if step < 1:
        raise RuntimeError(f"unfold: step must be positive, not {step}")
    if not shape:
        if size > 1:
            raise RuntimeError(f"unfold: size {size} is longer than a 0-d tensor")
        return getitem(reshape(input, shape=(1,)), index=slice(size))
    if not 0 <= size <= shape[d]:
        raise RuntimeError(
            f"unfold: size {size} is not in 0 to {shape[d]}, dimension {d} of {shape}"
        )
    if size == 0:
        counted = (*[slice(None)] * d, slice(None, None, step), Ellipsis, None)
        counts = getitem(_one_longer(input, d), index=counted)
        return getitem(counts, index=(Ellipsis, slice(0)))
    return ops.windows(input, axes=(d,), sizes=(size,), steps=(step,), dilations=(1,))


def _one_longer(input: Any, d: int) -> Any:
    widths = [(0, 0)] * len(shape_of(input))
    widths[d] = (0, 1)
    return pad(input, widths=tuple(widths))


def _settings(
    what: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[tuple[int, ...], ...]:
    return (
        per_dimension(kernel_size, 2, f"{what}: kernel_size", 1),
        per_dimension(dilation, 2, f"{what}: dilation", 1),
        per_dimension(padding, 2, f"{what}: padding"),
        per_dimension(stride, 2, f"{what}: stride", 1),
    )


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The patches of images as columns (im2col).

    ``input``: (N, C, H, W) or (C, H, W). Returns (N, C·kh·kw, L) with the L patches in row-major
    order, where L = prod over H, W of (n + 2·padding - dilation·(k - 1) - 1) // stride + 1. Each
    setting is an int or a pair (vertical, horizontal). A convolution is a product with this.

    >>> import tapegrad as tg
    >>> tg.unfold(tg.arange(9.0).reshape(1, 1, 3, 3), 2).shape
    (1, 4, 4)
    """
    shape = shape_of(input)
    if len(shape) not in (3, 4):
        raise ShapeError(f"unfold: expects an input (N, C, H, W) or (C, H, W), got shape {shape}")
    settings = _settings("unfold", kernel_size, dilation, padding, stride)
    if len(shape) == 3:
        return reshape_first(unfold(expand_dims(input, axis=(0,)), *settings))
    kernel, spread, zeros, steps = settings
    if any(zeros):
        input = pad(input, widths=((0, 0), (0, 0), (zeros[0],) * 2, (zeros[1],) * 2))
    counts = ops.window_counts(shape_of(input), (2, 3), kernel, steps, spread)
    if min(counts) < 1:
        raise ShapeError(
            f"unfold: kernel_size {kernel} with dilation {spread} does not fit into the padded "
            f"input {shape_of(input)}"
        )
    patches = ops.windows(input, axes=(2, 3), sizes=kernel, steps=steps, dilations=spread)
    columns = permute(patches, axes=(0, 1, 4, 5, 2, 3))
    return reshape(columns, shape=(shape[0], shape[1] * math.prod(kernel), math.prod(counts)))


def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Images from patches, which add up where they overlap (col2im): the transpose of unfold.

    ``input``: (N, C·kh·kw, L) or (C·kh·kw, L); ``output_size``: (H, W). Raises ShapeError when L is
    not the number of patches that the settings give.

    >>> import tapegrad as tg
    >>> tg.fold(tg.ones(1, 4, 4), (3, 3), 2)[0, 0]
    tensor([[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]])
    """
    shape = shape_of(input)
    if len(shape) not in (2, 3):
        raise ShapeError(
            f"fold: expects an input (N, C·kh·kw, L) or (C·kh·kw, L), got shape {shape}"
        )
    size = per_dimension(output_size, 2, "fold: output_size")
    settings = _settings("fold", kernel_size, dilation, padding, stride)
    if len(shape) == 2:
        return reshape_first(fold(expand_dims(input, axis=(0,)), size, *settings))
    kernel, spread, zeros, steps = settings
    area = math.prod(kernel)
    outer = (size[0] + 2 * zeros[0], size[1] + 2 * zeros[1])
    counts = ops.window_counts(outer, (0, 1), kernel, steps, spread)
    if shape[1] % area or math.prod(counts) != shape[2] or min(counts) < 1:
        raise ShapeError(
            f"fold: input {shape} must have a multiple of {area} channels and {math.prod(counts)} "
            f"patches ({counts[0]} x {counts[1]}) for output_size {size}"
        )
    channels = shape[1] // area
    columns = reshape(input, shape=(shape[0], channels, *kernel, *counts))
    image = ops.overlap_add(
        permute(columns, axes=(0, 1, 4, 5, 2, 3)),
        axes=(2, 3),
        sizes=kernel,
        steps=steps,
        dilations=spread,
        shape=(shape[0], channels, *outer),
    )
    if not any(zeros):
        return image
    inner = tuple(slice(z, z + n) for z, n in zip(zeros, size, strict=True))
    return getitem(image, index=(slice(None), slice(None), *inner))


def reshape_first(x: Any) -> Any:
    """Without the first dimension, of length 1."""
    return reshape(x, shape=shape_of(x)[1:])


METHODS: dict[str, Any] = {"unfold": windows}
