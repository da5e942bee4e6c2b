"""Unit vectors, and how far or how similar pairs of vectors are."""

from __future__ import annotations

from math import inf
from typing import Any

from ..ops.arithmetic import abs, clamp_min, pow, where
from ..ops.engine import stop_gradient
from ..ops.reductions import amax
from ..ops.reductions import sum as total
from ..ops.statistics import vector_norm
from ..tensors import Tensor
from ..values import shape_of
from .dims import reduced_dims
from .reductions import as_floating
from .shaping import broadcast_tensors, squeeze

__all__ = ["cosine_similarity", "pairwise_distance"]


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: Any = 1e-8) -> Any:
    """The cosine of the angle between vectors, x1·x2 / (max(‖x1‖, eps) max(‖x2‖, eps)).

    ``x1``, ``x2``: shapes that broadcast; ``dim``: where the vectors lie in the common shape.
    The zero vector has similarity 0 to everything. Its gradient is that of a vector shorter than
    ``eps``, which is divided by ``eps`` and has no direction: x2 / (eps ‖x2‖), large but finite.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[1.0, 0.0], [1.0, 1.0]]), tg.tensor([[0.0, 2.0], [3.0, 3.0]])
    >>> tg.cosine_similarity(a, b)
    tensor([0., 1.])
    """
    x1, x2 = as_floating(x1), as_floating(x2)
    if shape_of(x1) != shape_of(x2):
        x1, x2 = broadcast_tensors(x1, x2)
    dims = reduced_dims(dim, None, len(shape_of(x1)), "cosine_similarity")
    # each by its own length first: the product of the lengths would overflow sooner
    return total(_unit(x1, 2.0, dims, eps) * _unit(x2, 2.0, dims, eps), axis=dims, keepdims=False)


def pairwise_distance(
    x1: Any, x2: Any, p: Any = 2.0, eps: Any = 1e-6, keepdim: bool = False
) -> Any:
    """The p-norm ‖x1 - x2 + eps‖ over the last dimension.

    ``x1``, ``x2``: shapes (..., D) that broadcast; ``p``: a number, inf, or a positive Tensor,
    which has a gradient; ``eps``: added to every difference, as in PyTorch, so that the gradient
    of points that coincide is ±D^(1/p - 1) in every element (±0.707 in the plane); with ``eps=0``
    it counts as 0. :func:`cdist` has no such term.

    >>> import tapegrad as tg
    >>> tg.pairwise_distance(tg.tensor([[3.0, 4.0]]), tg.zeros(1, 2))
    tensor([5.0000])
    """
    gap = as_floating(x1) - as_floating(x2) + eps
    dims = reduced_dims(-1, None, len(shape_of(gap)), "pairwise_distance")
    return _length(gap, p, dims, keepdim)


def normalize(input: Any, p: Any = 2.0, dim: Any = 1, eps: Any = 1e-12) -> Any:
    """Vectors divided by their p-norm: v / max(‖v‖, eps).

    ``dim``: where the vectors lie (an int or a tuple); ``p``: a number, inf, or a positive Tensor,
    which has a gradient. The zero vector stays zero. Its gradient is that of a vector shorter
    than ``eps``, which is divided by ``eps``: 10¹² with the default.

    >>> import tapegrad as tg
    >>> tg.nn.functional.normalize(tg.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    input = as_floating(input)
    return _unit(input, p, reduced_dims(dim, None, len(shape_of(input)), "normalize"), eps)


def _unit(x: Any, p: Any, dims: tuple[int, ...], eps: Any) -> Any:
    return x / clamp_min(_length(x, p, dims, True), eps)


def _length(x: Any, p: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    """The norm; with a Tensor p written out, so that p has its derivative."""
    if not isinstance(p, Tensor):
        return vector_norm(x, axis=dims, keepdims=bool(keepdim), ord=float(p))
    if p.ndim:
        raise ValueError(f"the order p of a norm must be one number, but it has shape {p.shape}")
    size = abs(x)
    # Any unit gives the same length; in that of the largest element the powers stay in range.
    unit = stop_gradient(amax(size, axis=dims, keepdims=True))
    unit = where((unit > 0) & (unit < inf), unit, 1.0)
    some = size > 0  # elsewhere a power or its derivative may be infinite
    powers = where(some, pow(where(some, size / unit, 1.0), p), 0.0)
    summed = total(powers, axis=dims, keepdims=True)
    some = summed > 0
    length = unit * where(some, pow(where(some, summed, 1.0), 1.0 / p), 0.0)
    return length if keepdim else squeeze(length, dims)


METHODS: dict[str, Any] = {}
