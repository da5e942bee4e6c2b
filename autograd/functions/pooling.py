"""Pooling: the largest element or the average of windows, and resizing by the nearest element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..ops import pooling as ops
from ..ops.arithmetic import div, where
from ..ops.indexing import getitem, getitem_at
from ..ops.taps import Sizes
from ..values import dtype_of, shape_of
from .reductions import mean
from .window_settings import per_dimension, pooled_lengths, spatial

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "interpolate",
    "max_pool1d",
    "max_pool2d",
]


def _windows(
    n: int, what: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1
) -> tuple[Sizes, ...]:
    sizes = per_dimension(kernel_size, n, f"{what}: kernel_size", 1)
    is_given = stride is not None and stride not in ((), [])
    steps = per_dimension(stride, n, f"{what}: stride", 1) if is_given else sizes
    before = per_dimension(padding, n, f"{what}: padding")
    return sizes, steps, before, per_dimension(dilation, n, f"{what}: dilation", 1)


# -- the largest element ------------------------------------------------------------------------
def _max_pool(
    n: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    what = f"max_pool{n}d"
    lengths = spatial(input, n, what)
    sizes, steps, before, dilations = _windows(n, what, kernel_size, stride, padding, dilation)
    found = ops.window_maximum(
        input,
        lengths=pooled_lengths(lengths, sizes, steps, before, dilations, ceil_mode, what),
        sizes=sizes,
        steps=steps,
        dilations=dilations,
        before=before,
    )
    return found if return_indices else found[0]


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window of ``kernel_size`` elements.

    ``input``: (N, C, L) or (C, L). ``stride``: from one window to the next, by default
    ``kernel_size``. ``padding``: how far windows reach beyond both ends, at most half of one; what
    lies there never counts. ``ceil_mode``: elements left over at the end get a window, too.
    ``return_indices``: also return where the largest elements are (int64).

    Of equal elements the first one gets the gradient; a window with a NaN gives NaN.

    Raises ShapeError when the windows do not fit.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]])
    >>> tg.max_pool1d(x, 2)
    tensor([[3., 5.]])
    >>> tg.max_pool1d(x, 2, ceil_mode=True, return_indices=True)
    (tensor([[3., 5., 4.]]), tensor([[1, 3, 4]]))
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window of an image; what :func:`max_pool1d` is in one dimension.

    ``input``: (N, C, H, W) or (C, H, W). Sizes are ints or pairs (vertical, horizontal). Indices
    are positions in the flattened image, H·W elements row by row.

    >>> import tapegrad as tg
    >>> tg.max_pool2d(tg.arange(16.0).reshape(1, 4, 4), 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


# -- the average --------------------------------------------------------------------------------
def _floating(input: Any, what: str) -> None:
    if dtype_of(input).kind not in "fc":
        raise TypeError(
            f"{what}: averages of {dtype_of(input)} are no integers: make the input floating, "
            "x.float()"
        )


def _avg_pool(
    n: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: Any,
) -> Any:
    what = f"avg_pool{n}d"
    lengths = spatial(input, n, what)
    _floating(input, what)
    sizes, steps, before, _ = _windows(n, what, kernel_size, stride, padding)
    counts = pooled_lengths(lengths, sizes, steps, before, (1,) * n, ceil_mode, what)
    first = len(shape_of(input)) - n
    divisor: Any = np.ones((), dtype_of(input))
    for d in range(n):
        starts = np.arange(counts[d]) * steps[d] - before[d]
        past = lengths[d] + (before[d] if count_include_pad else 0)
        ends = np.minimum(starts + sizes[d], past)
        held = ends - (starts if count_include_pad else np.maximum(starts, 0))
        divisor = np.expand_dims(divisor, -1) * held.astype(divisor.dtype)
        input = ops.window_sum(
            input, axis=first + d, length=counts[d], size=sizes[d], step=steps[d], before=before[d]
        )
    if divisor_override is not None:
        if divisor_override == 0:
            raise ValueError(f"{what}: divisor_override must not be 0")
        return div(input, divisor_override)
    one = divisor.reshape(-1)[0]
    return div(input, one.item() if (divisor == one).all() else divisor)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The average of every window of ``kernel_size`` elements.

    ``input``: (N, C, L) or (C, L). ``stride``: from one window to the next, by default
    ``kernel_size``. ``padding``: zeros before and after, at most half a window; they count as
    elements unless ``count_include_pad`` is False. ``ceil_mode``: elements left over at the end
    get a window, too, of which only what lies inside counts.

    Raises ShapeError when the windows do not fit, TypeError for integers.

    >>> import tapegrad as tg
    >>> tg.avg_pool1d(tg.tensor([[1.0, 3.0, 2.0, 6.0]]), 2)
    tensor([[2., 4.]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Any:
    """The average of every window of an image; what :func:`avg_pool1d` is in one dimension.

    ``input``: (N, C, H, W) or (C, H, W). Sizes are ints or pairs (vertical, horizontal).
    ``divisor_override``: what sums are divided by, in place of the number of elements.

    >>> import tapegrad as tg
    >>> tg.avg_pool2d(tg.arange(16.0).reshape(1, 4, 4), 2)
    tensor([[[ 2.5000,  4.5000],
             [10.5000, 12.5000]]])
    """
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


# -- as many windows as asked for -----------------------------------------------------------------
def _output_size(output_size: Any, lengths: Sizes, what: str) -> Sizes:
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,)
    if len(given) == 1:
        given = tuple(given) * len(lengths)
    if len(given) == len(lengths):
        given = tuple(m if v is None else v for v, m in zip(given, lengths, strict=True))
    return per_dimension(given, len(lengths), f"{what}: output_size")


def _spread_windows(length: int, count: int) -> tuple[int, ndarray, ndarray]:
    """``count`` windows over ``length`` elements: the longest, and where their elements lie.

    Window i has the elements from ⌊i·length/count⌋ to ⌈(i+1)·length/count⌉; where it is shorter
    than the longest one its last element is repeated, and marked so.
    """
    i = np.arange(count)
    starts, ends = i * length // max(count, 1), -(-(i + 1) * length // max(count, 1))
    longest = int((ends - starts).max(initial=1))
    places = starts[:, None] + np.arange(longest)
    inside = places < ends[:, None]
    return longest, np.minimum(places, ends[:, None] - 1).reshape(-1), inside


def _divides(length: int, count: int) -> bool:
    return count > 0 and length % count == 0


def _adaptive_avg(n: int, input: Any, output_size: Any) -> Any:
    what = f"adaptive_avg_pool{n}d"
    lengths = spatial(input, n, what)
    _floating(input, what)
    counts = _output_size(output_size, lengths, what)
    if set(counts) == {1}:
        return mean(input, dim=tuple(range(-n, 0)), keepdim=True)
    for axis, (length, count) in enumerate(
        zip(lengths, counts, strict=True), len(shape_of(input)) - n
    ):
        size, held = length // max(count, 1), None
        if not _divides(length, count):
            size, places, inside = _spread_windows(length, count)
            after = (1,) * (len(shape_of(input)) - 1 - axis)
            input = getitem(input, index=(*[slice(None)] * axis, places))
            input = where(inside.reshape(-1, *after), input, 0.0)
            held = inside.sum(1).astype(dtype_of(input)).reshape(-1, *after)
        sums = ops.window_sum(input, axis=axis, length=count, size=size, step=size, before=0)
        input = div(sums, float(size) if held is None else held)
    return input


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Averages of ``output_size`` windows that cover the input evenly, whatever its length.

    ``input``: (N, C, L) or (C, L). Window i has the elements from ⌊i·L/output_size⌋ to
    ⌈(i+1)·L/output_size⌉, so that neighbours overlap where the length does not divide.

    Raises ShapeError for an input without elements, TypeError for integers.

    >>> import tapegrad as tg
    >>> tg.adaptive_avg_pool1d(tg.tensor([[1.0, 2.0, 6.0]]), 2)
    tensor([[1.5000, 4.0000]])
    """
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Averages of windows that cover an image evenly; 1 gives the average of the whole image.

    ``input``: (N, C, H, W) or (C, H, W). ``output_size``: an int or a pair, None keeps a
    dimension.

    >>> import tapegrad as tg
    >>> tg.adaptive_avg_pool2d(tg.arange(16.0).reshape(1, 4, 4), (2, 1))
    tensor([[[ 3.5000],
             [11.5000]]])
    """
    return _adaptive_avg(2, input, output_size)


def _adaptive_max(n: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    what = f"adaptive_max_pool{n}d"
    lengths = spatial(input, n, what)
    counts = _output_size(output_size, lengths, what)
    sizes = tuple(length // max(m, 1) for length, m in zip(lengths, counts, strict=True))
    table = None
    if not all(map(_divides, lengths, counts)):
        # A repeated last element changes no maximum, and is not the first of its value.
        spread = [_spread_windows(*pair) for pair in zip(lengths, counts, strict=True)]
        sizes = tuple(longest for longest, _, _ in spread)
        table = np.zeros((), np.int64)
        for axis, (_, places, _) in enumerate(spread, len(shape_of(input)) - n):
            input = getitem(input, index=(*[slice(None)] * axis, places))
            length = lengths[axis - len(shape_of(input)) + n]
            table = np.expand_dims(table * length, -1) + places
    found, indices = ops.window_maximum(
        input, lengths=counts, sizes=sizes, steps=sizes, dilations=(1,) * n, before=(0,) * n
    )
    if not return_indices:
        return found
    if table is not None:
        indices = getitem_at(table.reshape(-1), indices, spec=("tensor",))
    return found, indices


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` windows that cover the input evenly.

    Windows are as for :func:`adaptive_avg_pool1d`, ties and NaN as for :func:`max_pool1d`.
    ``return_indices``: also return where the largest elements are (int64).

    >>> import tapegrad as tg
    >>> tg.adaptive_max_pool1d(tg.tensor([[1.0, 2.0, 6.0]]), 2, return_indices=True)
    (tensor([[2., 6.]]), tensor([[1, 2]]))
    """
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of windows that cover an image evenly.

    ``input``: (N, C, H, W) or (C, H, W). ``output_size``: an int or a pair, None keeps a
    dimension. ``return_indices``: also return where in the flattened image they are (int64).

    >>> import tapegrad as tg
    >>> tg.adaptive_max_pool2d(tg.arange(16.0).reshape(1, 4, 4), 1)
    tensor([[[15.]]])
    """
    return _adaptive_max(2, input, output_size, return_indices)


# -- resizing -------------------------------------------------------------------------------------
def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest"
) -> Any:
    """The input at another size, each place with the element nearest before it.

    ``input``: (N, C, *). ``size``: of the result, an int or one for each of the dimensions *; or
    ``scale_factor``, what lengths are multiplied with. ``mode``: only "nearest"; place i of m has
    the element ⌊i·n/m⌋ of n.

    Raises ValueError unless exactly one of ``size`` and ``scale_factor`` is given.

    >>> import tapegrad as tg
    >>> tg.nn.functional.interpolate(tg.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    if mode != "nearest":
        raise NotImplementedError(f"interpolate: mode {mode!r} is not there, only 'nearest'")
    shape = shape_of(input)
    n = len(shape) - 2
    if n < 1 or 0 in shape[2:]:
        raise ShapeError(f"interpolate: expects an input (N, C, *) with elements, got {shape}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    if size is not None:
        sizes = per_dimension(size, n, "interpolate: size", 1)
        scales = [np.float32(k) / np.float32(m) for k, m in zip(shape[2:], sizes, strict=True)]
    else:
        given = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor,)
        factors = given * n if len(given) == 1 else given
        if len(factors) != n:
            raise ShapeError(
                f"interpolate: scale_factor {scale_factor!r} must have {n} numbers for {shape}"
            )
        sizes = tuple(math.floor(k * f) for k, f in zip(shape[2:], factors, strict=True))
        if min(sizes) < 1:
            raise ShapeError(
                f"interpolate: scale_factor {scale_factor!r} leaves nothing of {shape}"
            )
        scales = [np.float32(1.0 / f) for f in factors]
    for d in range(n):
        if sizes[d] != shape[2 + d] or scales[d] != 1:
            places = np.floor(np.arange(sizes[d], dtype=np.float32) * scales[d]).astype(np.int64)
            places = np.minimum(places, shape[2 + d] - 1)
            input = getitem(input, index=(*[slice(None)] * (2 + d), places))
    return input


METHODS: dict[str, Any] = {}
