"""Settings of convolution and pooling: kernel sizes, strides, padding, and how many windows fit."""

from __future__ import annotations

import operator
from typing import Any

from ..errors import ShapeError
from ..ops.taps import Sizes
from ..values import shape_of


def per_dimension(value: Any, n: int, what: str, least: int = 0) -> Sizes:
    """A number for each of ``n`` dimensions, from one for all or a sequence of them.

    >>> from tapegrad.functions.window_settings import per_dimension
    >>> per_dimension(3, 2, "conv2d: stride"), per_dimension((1, 2), 2, "conv2d: stride")
    ((3, 3), (1, 2))
    """
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    try:
        found = tuple(operator.index(v) for v in given)
    except TypeError:
        raise TypeError(f"{what} must be an int or a tuple of {n} ints, not {value!r}") from None
    if len(found) == 1:
        found *= n
    if len(found) != n:
        raise ShapeError(f"{what} must be an int or a tuple of {n} ints, not {value!r}")
    if min(found) < least:
        raise ShapeError(f"{what} must be at least {least}, not {value!r}")
    return found


def spatial(input: Any, n: int, what: str) -> Sizes:
    """The last ``n`` dimensions of an input (N, C, *) or (C, *)."""
    shape = shape_of(input)
    names = ("L",) if n == 1 else ("H", "W")
    if len(shape) not in (n + 1, n + 2):
        own = ", ".join(names)
        raise ShapeError(f"{what}: expects an input (N, C, {own}) or (C, {own}), got shape {shape}")
    if 0 in shape[-n:]:
        raise ShapeError(
            f"{what}: input of shape {shape} has no elements along {' and '.join(names)}; only "
            "batch and channels may be empty"
        )
    return shape[-n:]


def span(size: int, dilation: int) -> int:
    """How many elements a window reaches over."""
    return dilation * (size - 1) + 1


def pooled_lengths(
    lengths: Sizes,
    sizes: Sizes,
    steps: Sizes,
    padding: Sizes,
    dilations: Sizes,
    ceil_mode: bool,
    what: str,
) -> Sizes:
    """How many windows there are along each dimension, as in torch.

    With ``ceil_mode`` one more, which may reach past the end, where elements are left over; but
    it must begin inside of the input or of the padding before it.
    """
    found = []
    for length, k, s, p, d in zip(lengths, sizes, steps, padding, dilations, strict=True):
        if 2 * p > span(k, d):
            raise ShapeError(
                f"{what}: padding {p} is more than half of the window, which reaches over "
                f"{span(k, d)} elements (kernel_size {k}, dilation {d}): some windows would hold "
                "nothing but padding"
            )
        room = length + 2 * p - span(k, d)
        count = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= length + p:
            count -= 1
        if (room < 0 and not ceil_mode) or count < 1:
            raise ShapeError(
                f"{what}: kernel_size {sizes} with dilation {dilations} does not fit into the "
                f"input {lengths} with padding {padding}: make the kernel smaller or the padding "
                "larger"
            )
        found.append(count)
    return tuple(found)
