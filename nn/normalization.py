"""Layers of normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tapegrad import Tensor, empty, ones, tensor, zeros

from . import init
from .functional import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from .module import Module
from .normalizing import lengths
from .parameter import Parameter
from .tensor_input import floating

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "LayerNorm",
    "RMSNorm",
]


class _Affine(Module):
    """A layer that ends in y·weight + bias, which start as 1 and 0."""

    weight: Tensor | None
    bias: Tensor | None

    def _make(
        self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any
    ) -> None:
        for name, is_there in (("weight", weight), ("bias", weight and bias)):
            made = Parameter(empty(shape, device=device, dtype=dtype)) if is_there else None
            self.register_parameter(name, made)

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        bias = self._parameters.get("bias")  # RMSNorm has none
        if bias is not None:
            init.zeros_(bias)


class _Tracking(_Affine):
    """What the layers with running statistics have in common."""

    dims: ClassVar[tuple[int, ...]]  # of an input
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: Any,
        momentum: Any,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._make((num_features,), affine, bias, device, dtype)
        tracked = track_running_stats
        self.register_buffer(
            "running_mean", zeros(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer(
            "running_var", ones(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer("num_batches_tracked", tensor(0) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count to 0."""
        if self.track_running_stats:
            self.running_mean.zero_()  # type: ignore[union-attr]
            self.running_var.fill_(1.0)  # type: ignore[union-attr]
            self.num_batches_tracked.zero_()  # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        """Set the weight to 1, the bias to 0, and the statistics back."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_input_dim(self, input: Tensor) -> None:
        if floating(input, type(self).__name__).ndim not in self.dims:
            said = " or ".join(f"{n}D" for n in self.dims)
            raise ValueError(
                f"expected {said} input (got {input.ndim}D input, of shape {input.shape})"
            )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Tracking):
    def __init__(
        self,
        num_features: int,
        eps: Any = 1e-5,
        momentum: Any = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """The normalised batch; while training the running statistics follow it."""
        self._check_input_dim(input)
        mean, var, count = self.running_mean, self.running_var, self.num_batches_tracked
        if self.training and not self.track_running_stats:
            mean = var = count = None
        momentum = self.momentum
        if momentum is None:  # the plain average of all batches
            momentum = 0.0 if count is None else 1.0 / (count + 1).to("float64")
        by_batch = self.training or (mean is None and var is None)
        y = batch_norm(input, mean, var, self.weight, self.bias, by_batch, momentum, self.eps)
        if self.training and count is not None:
            count.add_(1)
        return y


class BatchNorm1d(_BatchNorm):
    """Every channel of (N, C) or (N, C, L) normalised over the batch, then scaled and shifted.

    y = (x - mean)/√(variance + eps)·weight + bias. While training, the mean and the biased variance
    are the batch's, derivatives go through them, and the running ones follow: running_mean ←
    (1 - momentum)·running_mean + momentum·mean, and likewise running_var, with the unbiased
    variance. In ``eval()`` the running ones are used, as constants. ``momentum=None``: the plain
    average of all batches. ``track_running_stats=False``: none are kept, and the batch's are used
    in ``eval()``, too. ``affine=False``: no weight and bias; ``bias=False``: no bias.

    Raises ValueError for another number of dimensions or channels, and for one value per channel
    while training; the statistics are left alone then.

    >>> import tapegrad as tg
    >>> layer = tg.nn.BatchNorm1d(2)
    >>> layer(tg.tensor([[1.0, 10.0], [3.0, 30.0]]))
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]], grad_fn=<add>)
    >>> layer.running_mean
    tensor([0.2000, 2.0000])

    Source: Ioffe and Szegedy (2015), Batch normalization: accelerating deep network training by
    reducing internal covariate shift.
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Every channel of (N, C, H, W) normalised over the batch; see :class:`BatchNorm1d`.

    >>> import tapegrad as tg
    >>> tg.nn.BatchNorm2d(3)(tg.zeros(4, 3, 8, 8)).shape
    (4, 3, 8, 8)

    Source: Ioffe and Szegedy (2015), Batch normalization: accelerating deep network training by
    reducing internal covariate shift.
    """

    dims = (4,)


class _InstanceNorm(_Tracking):
    def __init__(
        self,
        num_features: int,
        eps: Any = 1e-5,
        momentum: Any = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """The normalised examples; while training the running statistics follow them."""
        self._check_input_dim(input)
        single = input.ndim == self.dims[0]
        if single:
            input = input.unsqueeze(0)
        momentum = 0.0 if self.momentum is None else self.momentum
        y = instance_norm(
            *(input, self.running_mean, self.running_var, self.weight, self.bias),
            *(self.training or not self.track_running_stats, momentum, self.eps),
        )
        return y.squeeze(0) if single else y


class InstanceNorm1d(_InstanceNorm):
    """Every channel of every sequence, (N, C, L) or (C, L), normalised by itself.

    Settings are as for :class:`BatchNorm1d`, but by default there is neither a weight and a bias
    nor running statistics; those follow the averages over the batch.

    >>> import tapegrad as tg
    >>> tg.nn.InstanceNorm1d(2)(tg.tensor([[1.0, 3.0], [10.0, 30.0]]))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])

    Source: Ulyanov, Vedaldi and Lempitsky (2016), Instance normalization: the missing ingredient
    for fast stylization.
    """

    dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Every channel of every image, (N, C, H, W) or (C, H, W), normalised by itself.

    See :class:`InstanceNorm1d`.

    >>> import tapegrad as tg
    >>> tg.nn.InstanceNorm2d(3)(tg.zeros(4, 3, 8, 8)).shape
    (4, 3, 8, 8)

    Source: Ulyanov, Vedaldi and Lempitsky (2016), Instance normalization: the missing ingredient
    for fast stylization.
    """

    dims = (3, 4)


class GroupNorm(_Affine):
    """Groups of channels of each example of (N, C, *) normalised, then scaled and shifted.

    ``num_groups`` must divide ``num_channels``. ``affine=False``: no weight and bias;
    ``bias=False``: no bias. See :func:`tapegrad.nn.functional.group_norm`.

    >>> import tapegrad as tg
    >>> tg.nn.GroupNorm(2, 4, affine=False)(tg.tensor([[1.0, 3.0, 10.0, 30.0]]))
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])

    Source: Wu and He (2018), Group normalization.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: Any = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self._make((num_channels,), affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input."""
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LayerNorm(_Affine):
    """The last dimensions of each example normalised, then scaled and shifted.

    ``normalized_shape``: the lengths of these dimensions, or one of them. It does the same in
    training and in ``eval()``. See :func:`tapegrad.nn.functional.layer_norm`.

    >>> import tapegrad as tg
    >>> tg.nn.LayerNorm(2)(tg.tensor([[1.0, 3.0], [10.0, 30.0]])).detach()
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])

    Source: Ba, Kiros and Hinton (2016), Layer normalization.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: Any = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = lengths(normalized_shape, "LayerNorm")
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make(self.normalized_shape, elementwise_affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input."""
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """The last dimensions of each example divided by their root mean square, then scaled.

    Without the mean of :class:`LayerNorm`, and a bias. ``eps=None``: what the dtype can tell apart
    at 1. See :func:`tapegrad.nn.functional.rms_norm`.

    >>> import tapegrad as tg
    >>> tg.nn.RMSNorm(2)(tg.tensor([1.0, 7.0])).detach()
    tensor([0.2000, 1.4000])

    Source: Zhang and Sennrich (2019), Root mean square layer normalization.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: Any = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = lengths(normalized_shape, "RMSNorm")
        self.eps, self.elementwise_affine = eps, elementwise_affine
        made = empty(self.normalized_shape, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(made) if elementwise_affine else None)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input."""
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )
