"""Softmax and its kin."""

from __future__ import annotations

from typing import Any

from ..ops import softmaxes as ops
from ..values import shape_of
from .dims import either, one_dim, reduced_dims
from .reductions import as_floating

__all__ = ["log_softmax", "logsumexp", "softmax", "softmin"]


def _axis(dim: Any, axis: Any, input: Any, what: str) -> tuple[int, ...]:
    dim = either(dim, axis, what)
    if dim is None:
        raise TypeError(f"{what}: say over which dimension, dim=... (-1 is the last)")
    ndim = len(shape_of(input))
    found = one_dim(dim, ndim, what)
    return (found,) if ndim else ()


def softmax(input: Any, dim: Any = None, dtype: Any = None, *, axis: Any = None) -> Any:
    """The softmax exp xᵢ / Σⱼ exp xⱼ along ``dim`` (required): positive, adding up to 1.

    ``dtype``: convert first. Stable for large |x|. A row of nothing but -inf (masked out) gives
    0 with gradient 0, where PyTorch gives NaN; [inf, 0] gives the limit [1, 0].

    >>> import tapegrad as tg
    >>> tg.softmax(tg.tensor([1000.0, 0.0]), dim=0)
    tensor([1., 0.])
    """
    input = as_floating(input, dtype)
    return ops.softmax(input, axis=_axis(dim, axis, input, "softmax"))


def log_softmax(input: Any, dim: Any = None, dtype: Any = None, *, axis: Any = None) -> Any:
    """log softmax(x)ᵢ = xᵢ - log Σⱼ exp xⱼ along ``dim`` (required), without taking the log.

    ``dtype``: convert first. Stable for large |x|, where the log of softmax would be -inf. A row
    of nothing but -inf stays -inf, and softmax counts as 0 in its gradient g - softmax(x) Σ g.

    >>> import tapegrad as tg
    >>> tg.log_softmax(tg.tensor([1000.0, 0.0]), dim=0)
    tensor([    0., -1000.])
    """
    input = as_floating(input, dtype)
    return ops.log_softmax(input, axis=_axis(dim, axis, input, "log_softmax"))


def softmin(input: Any, dim: Any = None, dtype: Any = None, *, axis: Any = None) -> Any:
    """softmax(-x) along ``dim`` (required); see :func:`softmax`.

    >>> import tapegrad as tg
    >>> tg.softmin(tg.tensor([1000.0, 0.0]), dim=0)
    tensor([0., 1.])
    """
    input = as_floating(input, dtype)
    return ops.softmax(-input, axis=_axis(dim, axis, input, "softmin"))


def logsumexp(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """log Σ exp x over ``dim`` (an int or a tuple; required), stable for large |x|.

    Its gradient is softmax(x): 0 where every element is -inf, and [1, 0] at [inf, 0], where
    PyTorch gives NaN. -inf where there is nothing to add.

    >>> import tapegrad as tg
    >>> tg.logsumexp(tg.tensor([1000.0, 1000.0]), dim=0)
    tensor(1000.6932)
    """
    if either(dim, axis, "logsumexp") is None:
        raise TypeError("logsumexp: say over which dimensions, dim=... (an int or a tuple)")
    input = as_floating(input)
    dims = reduced_dims(dim, axis, len(shape_of(input)), "logsumexp")
    return ops.logsumexp(input, axis=dims, keepdims=bool(keepdim))


METHODS = {name: globals()[name] for name in ("log_softmax", "logsumexp", "softmax")}
