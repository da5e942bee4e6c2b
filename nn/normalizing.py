"""Normalisation as functions, by the names of torch.nn.functional."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

from tapegrad import Tensor, check, reshape, rsqrt, stop_gradient
from tapegrad.errors import ShapeError
from tapegrad.ops.standardizing import standardize

from .tensor_input import floating

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"]


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> Tensor:
    """(x - mean)/√(variance + eps)·weight + bias for every channel of (N, C, *).

    In ``training`` the mean and the (biased) variance are those of the batch, and derivatives go
    through them; the running ones, if given, are changed in place: running ← (1 - momentum)·running
    + momentum·batch's, with the unbiased variance. A batch of nothing changes neither. Otherwise
    the running ones are used; they are constants in every derivative.

    Raises ValueError for one value per channel in training, and for statistics or parameters that
    do not have one entry for each channel.

    >>> import tapegrad as tg
    >>> mean, var = tg.zeros(1), tg.ones(1)
    >>> tg.nn.functional.batch_norm(tg.tensor([[1.0], [3.0]]), mean, var, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    >>> mean, var
    (tensor([0.2000]), tensor([1.1000]))

    Source: Ioffe and Szegedy (2015), Batch normalization: accelerating deep network training by
    reducing internal covariate shift.
    """
    shape = floating(input, "batch_norm").shape
    if len(shape) < 2:
        raise ShapeError(f"batch_norm: input must be (N, C, *), but has shape {shape}")
    channels = shape[1]
    _one_for_each("batch_norm", channels, shape, running_mean=running_mean, running_var=running_var)
    _one_for_each("batch_norm", channels, shape, weight=weight, bias=bias)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: without training=True it needs the running statistics")
        check(eps >= 0, "batch_norm eps must be non-negative, but got {}", eps)
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    check(eps > 0, "batch_norm eps must be positive during training, but got {}", eps)
    _more_than_one("value per channel", prod(shape) // max(channels, 1), shape)
    axis = (0, *range(2, len(shape)))
    y, variance, mean = standardize(input, eps, axis=axis, centred=True)
    _follow(running_mean, running_var, mean, variance, momentum, prod(shape) // max(channels, 1))
    return _affine(y, weight, bias, len(shape) - 2)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> Tensor:
    """As :func:`batch_norm`, for every channel of every example of (N, C, *) by itself.

    The running statistics, if given, follow the averages over the batch.

    >>> import tapegrad as tg
    >>> tg.nn.functional.instance_norm(tg.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])

    Source: Ulyanov, Vedaldi and Lempitsky (2016), Instance normalization: the missing ingredient
    for fast stylization.
    """
    shape = floating(input, "instance_norm").shape
    if len(shape) < 3:
        raise ShapeError(f"instance_norm: input must be (N, C, *), but has shape {shape}")
    _one_for_each(
        *("instance_norm", shape[1], shape), running_mean=running_mean, running_var=running_var
    )
    _one_for_each("instance_norm", shape[1], shape, weight=weight, bias=bias)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError(
                "instance_norm: without use_input_stats=True it needs the running statistics"
            )
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    count = prod(shape[2:])
    _more_than_one("spatial element", count, shape)
    axis = tuple(range(2, len(shape)))
    y, variance, mean = standardize(input, eps, axis=axis, centred=True)
    if running_mean is not None or running_var is not None:
        found = (stop_gradient(mean).mean(0), stop_gradient(variance).mean(0))
        _follow(running_mean, running_var, *found, momentum, count if shape[0] else 0)
    return _affine(y, weight, bias, len(shape) - 2)


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Any = 1e-5,
) -> Tensor:
    """(x - mean)/√(variance + eps)·weight + bias over the last dimensions of each example.

    ``normalized_shape``: the lengths of these dimensions, which are those of ``weight`` and
    ``bias``, too. The variance is the biased one.

    Raises ValueError when the input does not end in them.

    >>> import tapegrad as tg
    >>> tg.nn.functional.layer_norm(tg.tensor([[1.0, 3.0], [10.0, 30.0]]), (2,))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])

    Source: Ba, Kiros and Hinton (2016), Layer normalization.
    """
    axis = _last(input, normalized_shape, "layer_norm", weight=weight, bias=bias)
    y = standardize(input, eps, axis=axis, centred=True)[0]
    return _affine(y, weight, bias, 0)


def rms_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: Any = None,
) -> Tensor:
    """x/√(mean of x² + eps)·weight over the last dimensions of each example.

    ``normalized_shape``: the lengths of these dimensions. ``eps``: without one, what the dtype can
    tell apart at 1 (float16: float32's, in which it is computed).

    Raises ValueError when the input does not end in these dimensions.

    >>> import tapegrad as tg
    >>> tg.nn.functional.rms_norm(tg.tensor([1.0, 7.0]), (2,))
    tensor([0.2000, 1.4000])

    Source: Zhang and Sennrich (2019), Root mean square layer normalization.
    """
    axis = _last(input, normalized_shape, "rms_norm", weight=weight)
    if eps is None:
        eps = 2.0**-52 if input.dtype == "float64" else 2.0**-23
    y = standardize(input, eps, axis=axis, centred=False)[0]
    return _affine(y, weight, None, 0)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Any = 1e-5,
) -> Tensor:
    """(x - mean)/√(variance + eps)·weight + bias for groups of channels of each example.

    ``input``: (N, C, *), whose channels fall into ``num_groups`` groups; ``weight`` and ``bias``:
    (C,). The variance is the biased one.

    Raises ValueError when the number of groups does not divide that of channels, and for one value
    in each group.

    >>> import tapegrad as tg
    >>> tg.nn.functional.group_norm(tg.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])

    Source: Wu and He (2018), Group normalization.
    """
    shape = floating(input, "group_norm").shape
    if len(shape) < 2:
        raise ShapeError(f"group_norm: input must be (N, C, *), but has shape {shape}")
    n, channels, *rest = shape
    if num_groups < 1 or channels % num_groups:
        raise ShapeError(
            f"group_norm: num_groups={num_groups} must be positive and divide the {channels} "
            f"channels of the input (shape {shape})"
        )
    _one_for_each("group_norm", channels, shape, weight=weight, bias=bias)
    each = channels // num_groups * prod(rest)
    _more_than_one("value per group", n * each, shape)
    grouped = reshape(input, (n, num_groups, each))
    y = standardize(grouped, eps, axis=(2,), centred=True)[0]
    return _affine(reshape(y, shape), weight, bias, len(rest))


def _one_for_each(what: str, channels: int, shape: Any, **given: Tensor | None) -> None:
    """Raise unless what is given has one entry for each channel."""
    for name, value in given.items():
        if value is not None and value.shape != (channels,):
            raise ShapeError(
                f"{what}: {name} should contain {channels} elements, one for each channel of the "
                f"input (shape {shape}), but has shape {value.shape}"
            )


def _more_than_one(what: str, count: int, shape: Any) -> None:
    """Raise where normalising would give nothing but zeros."""
    if count == 1:
        raise ValueError(
            f"Expected more than 1 {what} when training, got input size {shape}: a single one is "
            "its own mean. Give larger batches (drop_last=True in a DataLoader), or call eval()"
        )


def lengths(normalized_shape: Any, what: str) -> tuple[int, ...]:
    """A normalized shape, which may be one number, as a tuple."""
    one = hasattr(normalized_shape, "__index__")
    try:
        return tuple(operator.index(n) for n in ((normalized_shape,) if one else normalized_shape))
    except TypeError:
        raise TypeError(
            f"{what}: normalized_shape is an integer or several, not {normalized_shape!r}"
        ) from None


def _last(
    input: Tensor, normalized_shape: Any, what: str, **given: Tensor | None
) -> tuple[int, ...]:
    """The dimensions of a normalized shape, which the input must end in."""
    last = lengths(normalized_shape, what)
    shape, n = floating(input, what).shape, len(last)
    if not n or shape[-n:] != last:
        raise ShapeError(
            f"{what}: given normalized_shape={list(last)}, the input must have at least one "
            f"dimension and end in these lengths, but has shape {shape}"
        )
    for name, value in given.items():
        if value is not None and value.shape != last:
            raise ShapeError(
                f"{what}: {name} must have the shape {last} that is normalized, not {value.shape}"
            )
    return tuple(range(len(shape) - n, len(shape)))


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None, after: int) -> Tensor:
    """y·weight + bias, where ``after`` dimensions follow those of weight and bias."""
    if weight is not None:
        y = y * _before(weight, after)
    return y if bias is None else y + _before(bias, after)


def _before(values: Tensor, after: int) -> Tensor:
    return reshape(values, (*values.shape, *[1] * after)) if after else values


def _by_running(
    input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: Any
) -> Tensor:
    """(x - mean)/√(var + eps)·weight + bias, in two passes: x·scale + shift."""
    # Constants of inference: Ioffe and Szegedy (2015), algorithm 2. Copies, so that training may go
    # on before backward.
    mean, scale = stop_gradient(mean), rsqrt(stop_gradient(var) + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    after = input.ndim - 2
    return input * _before(scale, after) + _before(shift, after)


def _follow(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    momentum: Any,
    count: int,
) -> None:
    """Move the running statistics towards those of a batch of ``count`` values per channel."""
    if not count:
        return
    # What inference will use holds no derivative: Ioffe and Szegedy (2015), algorithm 2.
    share = stop_gradient(momentum) if isinstance(momentum, Tensor) else momentum
    for running, found in (
        (running_mean, mean),
        (running_var, variance),
    ):
        if running is None:
            continue
        new = reshape(stop_gradient(found), running.shape)
        if found is variance:
            new = new * (count / (count - 1))
        try:
            running.copy_((1.0 - share) * running + share * new)
        except RuntimeError as error:
            raise RuntimeError(
                "the running statistics cannot follow the batch, since there is one of them and "
                "(inside vmap) many batches: make the layer with track_running_stats=False, call "
                f"eval(), or map over its buffers, too ({error})"
            ) from error
