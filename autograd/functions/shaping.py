"""Shapes: reshape, permute, expand and their kin."""

from __future__ import annotations

import math
from typing import Any

from ..ops import shaping as ops
from ..tensor import Tensor
from ..values import shape_of
from .dims import either, one_dim, sizes

__all__ = ["permute", "reshape", "transpose"]


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one length may be -1.

    Raises RuntimeError when the number of elements differs.

    >>> import tapegrad as tg
    >>> tg.arange(6).reshape(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    wanted = list(sizes(shape, "reshape"))
    found = shape_of(input)
    count = math.prod(found)
    if wanted.count(-1) == 1:
        rest = math.prod(n for n in wanted if n != -1)
        if rest and count % rest == 0:
            wanted[wanted.index(-1)] = count // rest
    if any(n < 0 for n in wanted) or math.prod(wanted) != count:
        raise RuntimeError(f"reshape: cannot make shape {sizes(shape, 'reshape')} of {count} elements {found}")
    return ops.reshape(input, shape=tuple(wanted))  # type: ignore[no-any-return]


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3, 4).permute(2, 0, 1).shape
    (4, 2, 3)
    """
    n = len(shape_of(input))
    axes = tuple(one_dim(d, n, "permute") for d in sizes(dims, "permute"))
    if sorted(axes) != list(range(n)):
        raise RuntimeError(f"permute: dims {axes} must name each of the {n} dimensions once")
    return ops.permute(input, axes=axes)  # type: ignore[no-any-return]


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3).transpose(0, 1).shape
    (3, 2)
    """
    n = len(shape_of(input))
    axes = list(range(n))
    a, b = one_dim(dim0, n, "transpose"), one_dim(dim1, n, "transpose")
    if n:
        axes[a], axes[b] = b, a
    return ops.permute(input, axes=tuple(axes))  # type: ignore[no-any-return]


METHODS = {"permute": permute, "reshape": reshape, "transpose": transpose}
_ = either
