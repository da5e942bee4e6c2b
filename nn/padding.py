"""Padding layers: zeros, a constant, mirrored, repeated or going round."""

from __future__ import annotations

from typing import Any, ClassVar

from tapegrad import Tensor
from tapegrad.functions.window_settings import per_dimension

from .functional import pad
from .module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ZeroPad1d",
    "ZeroPad2d",
]


class _Pad(Module):
    dims: ClassVar[int]
    mode: ClassVar[str] = "constant"
    value: Any = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        name = type(self).__name__
        # Negative widths cut off.
        self.padding = per_dimension(padding, 2 * self.dims, f"{name}: padding", -(2**31))

    def forward(self, input: Tensor) -> Tensor:
        """The padded input."""
        return pad(input, self.padding, self.mode, self.value)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: Any) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """The widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Pad):
    """Zeros around the last dimension: an int, or (left, right).

    >>> import tapegrad as tg
    >>> tg.nn.ZeroPad1d((1, 2))(tg.ones(1, 2))
    tensor([[0., 1., 1., 0., 0.]])
    """

    dims = 1


class ZeroPad2d(_Pad):
    """Zeros around the last two dimensions: an int, or (left, right, top, bottom).

    >>> import tapegrad as tg
    >>> tg.nn.ZeroPad2d((1, 0, 0, 1))(tg.ones(1, 1, 2))
    tensor([[[0., 1., 1.],
             [0., 0., 0.]]])
    """

    dims = 2


class ConstantPad1d(_ConstantPad):
    """A number around the last dimension.

    >>> import tapegrad as tg
    >>> tg.nn.ConstantPad1d(1, 7.0)(tg.ones(1, 2))
    tensor([[7., 1., 1., 7.]])
    """

    dims = 1


class ConstantPad2d(_ConstantPad):
    """A number around the last two dimensions.

    >>> import tapegrad as tg
    >>> tg.nn.ConstantPad2d((0, 0, 1, 0), 7.0)(tg.ones(1, 1, 2))
    tensor([[[7., 7.],
             [1., 1.]]])
    """

    dims = 2


class ReflectionPad1d(_Pad):
    """The last dimension mirrored at its ends, which are not repeated.

    >>> import tapegrad as tg
    >>> tg.nn.ReflectionPad1d(2)(tg.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    dims, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The last two dimensions mirrored at their ends, which are not repeated.

    >>> import tapegrad as tg
    >>> tg.nn.ReflectionPad2d(1)(tg.ones(1, 3, 3)).shape
    (1, 5, 5)
    """

    dims, mode = 2, "reflect"


class ReplicationPad1d(_Pad):
    """The ends of the last dimension repeated.

    >>> import tapegrad as tg
    >>> tg.nn.ReplicationPad1d((1, 2))(tg.tensor([[1.0, 2.0]]))
    tensor([[1., 1., 2., 2., 2.]])
    """

    dims, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The ends of the last two dimensions repeated.

    >>> import tapegrad as tg
    >>> tg.nn.ReplicationPad2d(1)(tg.ones(1, 3, 3)).shape
    (1, 5, 5)
    """

    dims, mode = 2, "replicate"


class CircularPad1d(_Pad):
    """The last dimension going round: before the first element comes the last one.

    >>> import tapegrad as tg
    >>> tg.nn.CircularPad1d(1)(tg.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1., 2., 3., 1.]])
    """

    dims, mode = 1, "circular"


class CircularPad2d(_Pad):
    """The last two dimensions going round.

    >>> import tapegrad as tg
    >>> tg.nn.CircularPad2d(1)(tg.ones(1, 3, 3)).shape
    (1, 5, 5)
    """

    dims, mode = 2, "circular"
