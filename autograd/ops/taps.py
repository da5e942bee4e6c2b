"""Where the elements of sliding windows lie: what convolution and pooling share."""

from __future__ import annotations

import functools
from itertools import product
from typing import TypeAlias

Sizes: TypeAlias = tuple[int, ...]
#: One element of every window: its place in the window, where it lies in the input, and which of
#: the windows have it inside the input.
Tap: TypeAlias = tuple[Sizes, tuple[slice, ...], tuple[slice, ...]]


def _along_one(
    length: int, count: int, size: int, step: int, dilation: int, before: int
) -> list[tuple[int, slice, slice]]:
    found = []
    for element in range(size):
        offset = element * dilation - before  # where it lies in the first window
        first = max(0, -(offset // step))
        last = min(count - 1, (length - 1 - offset) // step)
        if first <= last:
            start, stop = offset + first * step, offset + last * step + 1
            found.append((element, slice(start, stop, step), slice(first, last + 1)))
    return found


@functools.lru_cache(maxsize=1024)
def taps(
    lengths: Sizes, counts: Sizes, sizes: Sizes, steps: Sizes, dilations: Sizes, before: Sizes
) -> tuple[Tap, ...]:
    """The elements of windows over dimensions of these ``lengths``, in row-major order.

    Window ``i`` of the ``counts`` begins at ``i·step - before``; what of it lies outside of the
    input is left out, so that nothing needs to be padded.
    """
    settings = zip(lengths, counts, sizes, steps, dilations, before, strict=True)
    return tuple(
        (tuple(t for t, _, _ in tap), tuple(i for _, i, _ in tap), tuple(o for _, _, o in tap))
        for tap in product(*(_along_one(*setting) for setting in settings))
    )
