"""Reductions with torch's arguments."""

from __future__ import annotations

import math
from typing import Any

from ..ops import reductions as ops
from ..tensor import Tensor
from ..values import shape_of
from .dims import reduced_dims

__all__ = ["mean", "sum"]


def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The sum over ``dim`` (default: all dimensions).

    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=0)
    tensor([4., 6.])
    """
    dims = reduced_dims(dim, axis, len(shape_of(input)), "sum")
    return ops.sum(input, axis=dims, keepdims=bool(keepdim))  # type: ignore[no-any-return]


def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The mean over ``dim`` (default: all dimensions).

    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]]).mean(dim=0)
    tensor([2., 3.])
    """
    shape = shape_of(input)
    dims = reduced_dims(dim, axis, len(shape), "mean")
    count = math.prod(shape[d] for d in dims)
    return ops.sum(input, axis=dims, keepdims=bool(keepdim)) / float(count)  # type: ignore[no-any-return]


METHODS = {"mean": mean, "sum": sum}
