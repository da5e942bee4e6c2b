"""Convolution layers, and the layers that take images apart into patches and put them together."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

from tapegrad import Tensor, empty
from tapegrad.functions.window_settings import per_dimension

from . import init
from .functional import (
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    fold,
    pad,
    unfold,
)
from .module import Module
from .parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "Fold", "Unfold"]

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What the layers of convolution have in common: settings, initial values, repr."""

    dims: ClassVar[int]
    is_transposed: ClassVar[bool] = False
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name, n = type(self).__name__, self.dims
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups must be positive and divide in_channels and out_channels, but "
                f"groups={groups}, in_channels={in_channels}, out_channels={out_channels}"
            )
        if padding_mode not in _MODES:
            raise ValueError(f"{name}: padding_mode must be one of {_MODES}, not {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = per_dimension(kernel_size, n, f"{name}: kernel_size", 1)
        self.stride = per_dimension(stride, n, f"{name}: stride", 1)
        self.dilation = per_dimension(dilation, n, f"{name}: dilation", 1)
        self.output_padding = per_dimension(output_padding, n, f"{name}: output_padding")
        self.padding_mode = padding_mode
        self.padding: Any = padding
        if not isinstance(padding, str):
            self.padding = per_dimension(padding, n, f"{name}: padding")
        elif padding not in ("same", "valid") or self.is_transposed:
            raise ValueError(
                f"{name}: padding must be ints{'' if self.is_transposed else ', same or valid'}, "
                f"not {padding!r}"
            )
        elif padding == "same" and set(self.stride) != {1}:
            raise ValueError(f"{name}: padding='same' needs stride=1, not {self.stride}")
        first, second = in_channels, out_channels
        if not self.is_transposed:
            first, second = second, first
        self.weight = Parameter(
            empty(first, second // groups, *self.kernel_size, device=device, dtype=dtype)
        )
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew."""
        init.kaiming_uniform_(self.weight, a=5**0.5)
        fan = prod(self.weight.shape[1:])
        if self.bias is not None:
            bound = fan**-0.5 if fan else 0.0
            init.uniform_(self.bias, -bound, bound)

    def _padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input with the padding that is no zeros put around it, and what is left to do."""
        if self.padding_mode == "zeros":
            return input, self.padding
        around: list[int] = []
        for i in reversed(range(self.dims)):
            total = self.dilation[i] * (self.kernel_size[i] - 1) if self.padding == "same" else 0
            before = self.padding[i] if isinstance(self.padding, tuple) else total // 2
            after = before if isinstance(self.padding, tuple) else total - total // 2
            around += [before, after]
        return pad(input, tuple(around), mode=self.padding_mode), 0

    def extra_repr(self) -> str:
        """The settings, those that have their usual value left out."""
        shown = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        usual: dict[str, Any] = {
            "padding": (0,) * self.dims,
            "dilation": (1,) * self.dims,
            "output_padding": (0,) * self.dims,
            "groups": 1,
        }
        shown += [
            f"{name}={getattr(self, name)}"
            for name, value in usual.items()
            if getattr(self, name) != value
        ]
        if self.bias is None:
            shown.append("bias=False")
        if self.padding_mode != "zeros":
            shown.append(f"padding_mode={self.padding_mode}")
        return ", ".join(shown)


class _Forward(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )


class Conv1d(_Forward):
    """Convolution of sequences with learned kernels: (N, C, L) to (N, out, L').

    ``kernel_size``, ``stride``, ``padding`` (or "same", "valid"), ``dilation``, ``groups``: as
    for :func:`tapegrad.conv1d`. ``padding_mode``: what stands in the padding, "zeros", "reflect",
    "replicate" or "circular". W (out, C/groups, k) and b (out,) start uniform in ±1/√(C/groups·k),
    as torch's do.

    Raises ValueError when the settings contradict each other.

    >>> import tapegrad as tg
    >>> tg.nn.Conv1d(2, 4, 3, padding=1)(tg.zeros(5, 2, 10)).shape
    (5, 4, 10)
    """

    dims = 1

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of (N, C, L) or (C, L)."""
        x, padding = self._padded(input)
        return conv1d(  # type: ignore[no-any-return]
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class Conv2d(_Forward):
    """Convolution of images with learned kernels: (N, C, H, W) to (N, out, H', W').

    ``kernel_size``, ``stride``, ``padding`` (or "same", "valid") and ``dilation``: ints or pairs;
    otherwise as :class:`Conv1d`.

    >>> import tapegrad as tg
    >>> layer = tg.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> layer(tg.zeros(5, 3, 16, 16)).shape
    (5, 8, 8, 8)

    Source: LeCun et al. (1989), Backpropagation applied to handwritten zip code recognition.
    """

    dims = 2

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of (N, C, H, W) or (C, H, W)."""
        x, padding = self._padded(input)
        return conv2d(  # type: ignore[no-any-return]
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class _Transposed(_Convolution):
    is_transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(
                f"{type(self).__name__}: padding_mode can only be 'zeros', not {padding_mode!r}"
            )
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, shape: Sequence[int], output_size: Any) -> tuple[int, ...]:
        """The output padding that gives the size asked for."""
        if output_size is None:
            return self.output_padding
        sizes = per_dimension(
            tuple(output_size)[-self.dims :], self.dims, f"{type(self).__name__}: output_size"
        )
        least = [
            (m - 1) * s - 2 * p + d * (k - 1) + 1
            for m, s, p, d, k in zip(
                shape[-self.dims :],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        ]
        most = [m + s - 1 for m, s in zip(least, self.stride, strict=True)]
        if any(not a <= m <= b for a, m, b in zip(least, sizes, most, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: output_size {sizes} is not between {tuple(least)} and "
                f"{tuple(most)}, which an input of shape {tuple(shape)} can give"
            )
        return tuple(m - a for m, a in zip(sizes, least, strict=True))


class ConvTranspose1d(_Transposed):
    """The transpose of a convolution of sequences: (N, C, L) to (N, out, L').

    ``stride``, ``padding``, ``output_padding``, ``dilation``, ``groups``: as for
    :func:`tapegrad.conv_transpose1d`. W has shape (C, out/groups, k).

    >>> import tapegrad as tg
    >>> tg.nn.ConvTranspose1d(4, 2, 3, stride=2)(tg.zeros(5, 4, 10)).shape
    (5, 2, 21)
    """

    dims = 1

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """The transposed convolution; ``output_size`` chooses among the lengths possible."""
        extra = self._output_padding(input.shape, output_size)
        return conv_transpose1d(  # type: ignore[no-any-return]
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )


class ConvTranspose2d(_Transposed):
    """The transpose of a convolution of images: (N, C, H, W) to (N, out, H', W').

    Settings are as for :class:`ConvTranspose1d`, ints or pairs.

    >>> import tapegrad as tg
    >>> layer = tg.nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1)
    >>> layer(tg.zeros(5, 8, 8, 8)).shape
    (5, 3, 15, 15)
    >>> layer(tg.zeros(5, 8, 8, 8), output_size=(16, 16)).shape
    (5, 3, 16, 16)

    Source: Zeiler et al. (2010), Deconvolutional networks.
    """

    dims = 2

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """The transposed convolution; ``output_size`` chooses among the sizes possible."""
        extra = self._output_padding(input.shape, output_size)
        return conv_transpose2d(  # type: ignore[no-any-return]
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )


class Unfold(Module):
    """The patches of images as columns; see :func:`tapegrad.unfold`.

    >>> import tapegrad as tg
    >>> tg.nn.Unfold(2)(tg.zeros(1, 3, 4, 4)).shape
    (1, 12, 9)
    """

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """The columns (N, C·kh·kw, L)."""
        return unfold(  # type: ignore[no-any-return]
            input, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Images from patches, which add up where they overlap; see :func:`tapegrad.fold`.

    >>> import tapegrad as tg
    >>> tg.nn.Fold((4, 4), 2)(tg.zeros(1, 12, 9)).shape
    (1, 3, 4, 4)
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__()
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """The images (N, C, H, W)."""
        return fold(  # type: ignore[no-any-return]
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
