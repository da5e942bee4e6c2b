"""Convolution and transposed convolution, over one and two dimensions."""

from __future__ import annotations

import operator
from typing import Any

from ..errors import ShapeError
from ..ops import convolutions as ops
from ..ops.arithmetic import add
from ..ops.shaping import reshape
from ..ops.taps import Sizes
from ..values import shape_of
from .window_settings import per_dimension, span, spatial

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"]


def _groups(groups: Any, what: str) -> int:
    found = operator.index(groups)
    if found < 1:
        raise ShapeError(f"{what}: groups must be at least 1, not {groups!r}")
    return found


def _weight(weight: Any, n: int, form: str, what: str) -> Sizes:
    """The shape of a weight."""
    shape = shape_of(weight)
    if len(shape) != n + 2:
        sizes = "k" if n == 1 else "kH, kW"
        raise ShapeError(f"{what}: weight must have shape ({form}, {sizes}), not {shape}")
    if 0 in shape[2:]:
        raise ShapeError(f"{what}: the kernels in a weight of shape {shape} have no elements")
    return shape


def _with_bias(output: Any, bias: Any, channels: int, n: int, what: str) -> Any:
    if bias is None:
        return output
    if shape_of(bias) != (channels,):
        raise ShapeError(
            f"{what}: bias must have shape ({channels},), one number for each channel of the "
            f"output, not {shape_of(bias)}"
        )
    return add(output, reshape(bias, shape=(channels, *[1] * n)))


def _placed(shape: Sizes, n: int, channels: int) -> str:
    """What to do with an input that has its channels elsewhere, or none."""
    is_batch = len(shape) == n + 2
    if shape[-1] == channels:
        return f". If the last dimension is the channels: input.movedim(-1, {int(is_batch)})"
    if channels == 1 and not is_batch:
        return ". If this is a batch without channels: input.unsqueeze(1)"
    return ""


def _apply(op: Any, input: Any, weight: Any, n: int, settings: dict[str, Any]) -> Any:
    """The operation on a batch, or on one example as a batch of one."""
    shape = shape_of(input)
    if len(shape) == n + 2:
        return op(input, weight, **settings)
    output = op(reshape(input, shape=(1, *shape)), weight, **settings)
    return reshape(output, shape=shape_of(output)[1:])


def _padding(padding: Any, kernel: Sizes, steps: Sizes, dilations: Sizes, what: str) -> Any:
    """How much zero there is before and after, along each dimension."""
    if not isinstance(padding, str):
        found = per_dimension(padding, len(kernel), f"{what}: padding")
        return found, found
    if padding == "valid":
        return (0,) * len(kernel), (0,) * len(kernel)
    if padding != "same":
        raise ShapeError(f"{what}: padding must be ints, 'same' or 'valid', not {padding!r}")
    if set(steps) != {1}:
        raise ShapeError(
            f"{what}: padding='same' keeps the length, which a stride of {steps} cannot: use "
            "stride=1, or padding as numbers"
        )
    total = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)


def _convolved(
    n: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Any:
    what = f"conv{n}d"
    shape, kernels = shape_of(input), _weight(weight, n, "out, in/groups", what)
    lengths, kernel, groups = spatial(input, n, what), kernels[2:], _groups(groups, what)
    channels = shape[-n - 1]
    if channels != kernels[1] * groups:
        raise ShapeError(
            f"{what}: input of shape {shape} has {channels} channels, but weight of shape "
            f"{kernels} with groups={groups} takes {kernels[1] * groups}"
            + _placed(shape, n, kernels[1] * groups)
        )
    if kernels[0] % groups:
        raise ShapeError(
            f"{what}: weight of shape {kernels} gives {kernels[0]} channels, which do not fall "
            f"into {groups} equal groups"
        )
    steps = per_dimension(stride, n, f"{what}: stride", 1)
    dilations = per_dimension(dilation, n, f"{what}: dilation", 1)
    before, after = _padding(padding, kernel, steps, dilations, what)
    room = [
        length + a + b - span(k, d)
        for length, a, b, k, d in zip(lengths, before, after, kernel, dilations, strict=True)
    ]
    if min(room) < 0:
        raise ShapeError(
            f"{what}: kernel {kernel} with dilation {dilations} is larger than the input {lengths} "
            f"with padding {before} before and {after} after: make it smaller, or pad more"
        )
    settings = {
        "lengths": tuple(r // s + 1 for r, s in zip(room, steps, strict=True)),
        "steps": steps,
        "dilations": dilations,
        "before": before,
        "groups": groups,
    }
    output = _apply(ops.convolve, input, weight, n, settings)
    return _with_bias(output, bias, kernels[0], n, what)


def _transposed(
    n: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Any:
    what = f"conv_transpose{n}d"
    shape, kernels = shape_of(input), _weight(weight, n, "in, out/groups", what)
    counts, kernel, groups = spatial(input, n, what), kernels[2:], _groups(groups, what)
    channels = shape[-n - 1]
    if channels != kernels[0]:
        raise ShapeError(
            f"{what}: input of shape {shape} has {channels} channels, but weight of shape "
            f"{kernels} takes {kernels[0]}" + _placed(shape, n, kernels[0])
        )
    if channels % groups:
        raise ShapeError(
            f"{what}: the {channels} channels of input {shape} do not fall into {groups} equal "
            "groups"
        )
    steps = per_dimension(stride, n, f"{what}: stride", 1)
    dilations = per_dimension(dilation, n, f"{what}: dilation", 1)
    before = per_dimension(padding, n, f"{what}: padding")
    extra = per_dimension(output_padding, n, f"{what}: output_padding")
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, dilations, strict=True)):
        raise ShapeError(
            f"{what}: output_padding {extra} must be smaller than stride {steps} or dilation "
            f"{dilations}"
        )
    lengths = tuple(
        (count - 1) * s - 2 * b + span(k, d) + e
        for count, s, b, k, d, e in zip(
            counts, steps, before, kernel, dilations, extra, strict=True
        )
    )
    if min(lengths) < 1:
        raise ShapeError(
            f"{what}: padding {before} leaves nothing of the output, whose size would be {lengths}"
        )
    settings = {
        "lengths": lengths,
        "steps": steps,
        "dilations": dilations,
        "before": before,
        "groups": groups,
    }
    output = _apply(ops.convolve_transposed, input, weight, n, settings)
    return _with_bias(output, bias, kernels[1] * groups, n, what)


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Convolution of sequences with ``out`` kernels.

    y[o, i] = b[o] + Σ over c, k of w[o, c, k] · x[c, i·stride + k·dilation - padding]

    ``input``: (N, C, L) or (C, L); ``weight``: (out, C/groups, k); ``bias``: (out,). ``padding``:
    how many zeros are put before and after, or "valid" (none), or "same" (so many that the length
    stays; one more after than before where their number is odd). ``groups``: parts of the channels
    that are convolved apart from each other. The length of the result is
    (L + 2·padding - dilation·(k - 1) - 1) // stride + 1. Kernels are not flipped.

    Raises ShapeError when channels, groups or sizes do not fit.

    >>> import tapegrad as tg
    >>> x, w = tg.tensor([[1.0, 2.0, 4.0, 8.0]]), tg.tensor([[[-1.0, 1.0]]])
    >>> tg.conv1d(x, w)
    tensor([[1., 2., 4.]])
    >>> tg.conv1d(x, w, padding="same")
    tensor([[ 1.,  2.,  4., -8.]])
    """
    return _convolved(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Convolution of images with ``out`` kernels; what :func:`conv1d` is, over two dimensions.

    ``input``: (N, C, H, W) or (C, H, W); ``weight``: (out, C/groups, kH, kW); ``bias``: (out,).
    ``stride``, ``padding`` and ``dilation`` are ints or pairs (vertical, horizontal); ``padding``
    may be "valid" or "same".

    Raises ShapeError when channels, groups or sizes do not fit.

    >>> import tapegrad as tg
    >>> x = tg.arange(9.0).reshape(1, 1, 3, 3)
    >>> tg.conv2d(x, tg.ones(1, 1, 2, 2))
    tensor([[[[ 8., 12.],
              [20., 24.]]]])
    >>> tg.conv2d(x, tg.ones(2, 1, 3, 3), stride=2, padding=1).shape
    (1, 2, 2, 2)

    Source: LeCun et al. (1989), Backpropagation applied to handwritten zip code recognition.
    """
    return _convolved(2, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transpose of :func:`conv1d` by its input: every element adds a kernel to the result.

    ``input``: (N, C, L) or (C, L); ``weight``: (C, out/groups, k); ``bias``: (out,). The length of
    the result is (L - 1)·stride - 2·padding + dilation·(k - 1) + 1 + output_padding; ``padding``
    cuts off at both ends, ``output_padding`` (smaller than stride or dilation) says which of the
    lengths that a convolution makes equal is meant.

    Raises ShapeError when channels, groups or sizes do not fit.

    >>> import tapegrad as tg
    >>> tg.conv_transpose1d(tg.tensor([[1.0, 2.0]]), tg.tensor([[[1.0, 10.0, 100.0]]]))
    tensor([[  1.,  12., 120., 200.]])
    """
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transpose of :func:`conv2d` by its input, also called deconvolution.

    ``input``: (N, C, H, W) or (C, H, W); ``weight``: (C, out/groups, kH, kW); ``bias``: (out,).
    Sizes are as for :func:`conv_transpose1d`, ints or pairs.

    Raises ShapeError when channels, groups or sizes do not fit.

    >>> import tapegrad as tg
    >>> tg.conv_transpose2d(tg.ones(1, 1, 2, 2), tg.ones(1, 1, 2, 2))
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])

    Source: Zeiler et al. (2010), Deconvolutional networks.
    """
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


METHODS: dict[str, Any] = {}
