"""Pooling layers, and resizing by the nearest element."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor
from tapegrad.functions.window_settings import per_dimension

from .functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    interpolate,
    max_pool1d,
    max_pool2d,
)
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "MaxPool1d",
    "MaxPool2d",
    "Upsample",
]


class _MaxPool(Module):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def _settings(self) -> tuple[Any, ...]:
        return (
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of every window; see :func:`tapegrad.max_pool1d`.

    >>> import tapegrad as tg
    >>> tg.nn.MaxPool1d(2)(tg.tensor([[1.0, 3.0, 2.0, 5.0]]))
    tensor([[3., 5.]])
    """

    def forward(self, input: Tensor) -> Any:
        """The largest elements, with their positions if asked for."""
        return max_pool1d(input, *self._settings())


class MaxPool2d(_MaxPool):
    """The largest element of every window of an image; see :func:`tapegrad.max_pool2d`.

    >>> import tapegrad as tg
    >>> tg.nn.MaxPool2d(2)(tg.zeros(5, 3, 8, 8)).shape
    (5, 3, 4, 4)
    """

    def forward(self, input: Tensor) -> Any:
        """The largest elements, with their positions if asked for."""
        return max_pool2d(input, *self._settings())


class AvgPool1d(Module):
    """The average of every window; see :func:`tapegrad.avg_pool1d`.

    >>> import tapegrad as tg
    >>> tg.nn.AvgPool1d(2)(tg.tensor([[1.0, 3.0, 2.0, 6.0]]))
    tensor([[2., 4.]])
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = per_dimension(kernel_size, 1, "AvgPool1d: kernel_size", 1)
        stride = kernel_size if stride is None else stride
        self.stride = per_dimension(stride, 1, "AvgPool1d: stride", 1)
        self.padding = per_dimension(padding, 1, "AvgPool1d: padding")
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """The averages."""
        return avg_pool1d(  # type: ignore[no-any-return]
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The average of every window of an image; see :func:`tapegrad.avg_pool2d`.

    >>> import tapegrad as tg
    >>> tg.nn.AvgPool2d(2)(tg.zeros(5, 3, 8, 8)).shape
    (5, 3, 4, 4)
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """The averages."""
        return avg_pool2d(  # type: ignore[no-any-return]
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _Adaptive(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        """The size of the output."""
        return f"output_size={self.output_size}"


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveAvgPool1d(_Adaptive):
    """Averages of ``output_size`` windows; see :func:`tapegrad.adaptive_avg_pool1d`.

    >>> import tapegrad as tg
    >>> tg.nn.AdaptiveAvgPool1d(2)(tg.tensor([[1.0, 2.0, 6.0]]))
    tensor([[1.5000, 4.0000]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The averages."""
        return adaptive_avg_pool1d(input, self.output_size)  # type: ignore[no-any-return]


class AdaptiveAvgPool2d(_Adaptive):
    """Averages of windows that cover an image evenly; see :func:`tapegrad.adaptive_avg_pool2d`.

    >>> import tapegrad as tg
    >>> tg.nn.AdaptiveAvgPool2d(1)(tg.ones(5, 3, 7, 9)).shape
    (5, 3, 1, 1)
    """

    def forward(self, input: Tensor) -> Tensor:
        """The averages."""
        return adaptive_avg_pool2d(input, self.output_size)  # type: ignore[no-any-return]


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest of ``output_size`` windows; see :func:`tapegrad.adaptive_max_pool1d`.

    >>> import tapegrad as tg
    >>> tg.nn.AdaptiveMaxPool1d(2)(tg.tensor([[1.0, 2.0, 6.0]]))
    tensor([[2., 6.]])
    """

    def forward(self, input: Tensor) -> Any:
        """The largest elements, with their positions if asked for."""
        return adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The largest of windows that cover an image evenly; see :func:`tapegrad.adaptive_max_pool2d`.

    >>> import tapegrad as tg
    >>> tg.nn.AdaptiveMaxPool2d((2, None))(tg.ones(5, 3, 7, 9)).shape
    (5, 3, 2, 9)
    """

    def forward(self, input: Tensor) -> Any:
        """The largest elements, with their positions if asked for."""
        return adaptive_max_pool2d(input, self.output_size, self.return_indices)


class Upsample(Module):
    """The input at another size, by the nearest element; see :func:`tapegrad.interpolate`.

    >>> import tapegrad as tg
    >>> tg.nn.Upsample(scale_factor=2)(tg.zeros(5, 3, 4, 4)).shape
    (5, 3, 8, 8)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None, mode: str = "nearest") -> None:
        super().__init__()
        self.size, self.scale_factor, self.mode = size, scale_factor, mode

    def forward(self, input: Tensor) -> Tensor:
        """The resized input."""
        return interpolate(  # type: ignore[no-any-return]
            input, self.size, self.scale_factor, self.mode
        )

    def extra_repr(self) -> str:
        """The size or the factor."""
        by_size = self.scale_factor is None
        shown = f"size={self.size}" if by_size else f"scale_factor={self.scale_factor}"
        return f"{shown}, mode={self.mode!r}"
