"""Running sums, products and extremes along one dimension, and differences."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ..ops import indexing, shaping
from ..ops import scans as ops
from ..values import dtype_of, shape_of
from .dims import either, one_dim
from .reductions import ValuesAndIndices, as_floating, as_summand

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff", "logcumsumexp"]


def _scan(
    scan: Callable[..., Any], input: Any, dim: Any, axis: Any, what: str, **params: Any
) -> Any:
    """The scan along ``dim``; a 0-d tensor counts as one element."""
    shape = shape_of(input)
    dim = either(dim, axis, what)
    if dim is None:
        raise TypeError(f"{what}: say along which dimension, dim=...")
    at = one_dim(dim, len(shape), what)
    if shape:
        return scan(input, axis=at, **params)
    found = scan(shaping.reshape(input, shape=(1,)), axis=0, **params)
    if isinstance(found, tuple):
        return tuple(shaping.reshape(y, shape=()) for y in found)
    return shaping.reshape(found, shape=())


def cumsum(input: Any, dim: Any = None, *, dtype: Any = None, axis: Any = None) -> Any:
    """The running sum yᵢ = x₀ + ... + xᵢ along ``dim`` (required).

    ``dtype``: convert first. Integers and booleans add up as int64.

    >>> import tapegrad as tg
    >>> tg.cumsum(tg.tensor([1.0, 2.0, 3.0]), dim=0)
    tensor([1., 3., 6.])
    """
    return _scan(ops.cumsum, as_summand(input, dtype), dim, axis, "cumsum", reverse=False)


def cumprod(input: Any, dim: Any = None, *, dtype: Any = None, axis: Any = None) -> Any:
    """The running product yᵢ = x₀ · ... · xᵢ along ``dim`` (required).

    Its derivatives are right where elements are 0, to any order. ``dtype``: convert first.
    Integers and booleans multiply as int64.

    >>> import tapegrad as tg
    >>> x = tg.tensor([2.0, 0.0, 3.0], requires_grad=True)
    >>> tg.cumprod(x, dim=0).sum().backward()
    >>> x.grad
    tensor([1., 8., 0.])
    """
    return _scan(ops.cumprod, as_summand(input, dtype), dim, axis, "cumprod", reverse=False)


def logcumsumexp(input: Any, dim: Any = None, *, axis: Any = None) -> Any:
    """yᵢ = log(exp x₀ + ... + exp xᵢ) along ``dim`` (required), stable for large |x|.

    ∂yᵢ/∂xⱼ = exp(xⱼ - yᵢ) for j ≤ i, which counts as 0 where all up to i are -inf.

    >>> import tapegrad as tg
    >>> tg.logcumsumexp(tg.tensor([1000.0, 1000.0, 0.0]), dim=0)
    tensor([1000.0000, 1000.6932, 1000.6932])
    """
    return _scan(ops.logcumsumexp, as_floating(input), dim, axis, "logcumsumexp")


def cummax(input: Any, dim: Any = None, *, axis: Any = None) -> ValuesAndIndices:
    """The largest element so far along ``dim`` (required), as ``(values, indices)``.

    Of equals the last counts, as in PyTorch, and takes the whole gradient; a NaN stays.

    >>> import tapegrad as tg
    >>> tg.cummax(tg.tensor([1.0, 3.0, 2.0, 3.0]), dim=0)
    ValuesAndIndices(values=tensor([1., 3., 3., 3.]), indices=tensor([0, 1, 1, 3]))
    """
    return ValuesAndIndices(*_scan(ops.cummax, input, dim, axis, "cummax"))


def cummin(input: Any, dim: Any = None, *, axis: Any = None) -> ValuesAndIndices:
    """The smallest element so far along ``dim`` (required), as ``(values, indices)``.

    Of equals the last counts, as in PyTorch, and takes the whole gradient; a NaN stays.

    >>> import tapegrad as tg
    >>> tg.cummin(tg.tensor([3.0, 1.0, 2.0, 1.0]), dim=0)
    ValuesAndIndices(values=tensor([3., 1., 1., 1.]), indices=tensor([0, 1, 1, 3]))
    """
    return ValuesAndIndices(*_scan(ops.cummin, input, dim, axis, "cummin"))


def diff(
    input: Any,
    n: int = 1,
    dim: int = -1,
    prepend: Any = None,
    append: Any = None,
    *,
    axis: Any = None,
) -> Any:
    """The differences xᵢ₊₁ - xᵢ along ``dim``, taken ``n`` times.

    ``prepend``, ``append``: tensors joined to ``input`` along ``dim`` first. Booleans differ by
    exclusive or. Raises RuntimeError for a 0-d tensor or a negative ``n``.

    >>> import tapegrad as tg
    >>> tg.diff(tg.tensor([1.0, 2.0, 4.0, 7.0]))
    tensor([1., 2., 3.])
    >>> tg.diff(tg.tensor([1.0, 2.0, 4.0, 7.0]), n=2)
    tensor([1., 1.])
    """
    if not shape_of(input):
        raise RuntimeError("diff: a 0-d tensor has no neighbours; it needs at least one dimension")
    if n < 0:
        raise RuntimeError(f"diff: the order n must not be negative, got {n}")
    at = one_dim(dim if axis is None else axis, len(shape_of(input)), "diff")
    parts = [x for x in (prepend, input, append) if x is not None]
    if len(parts) > 1:
        input = shaping.cat(*parts, axis=at)
    subtract = operator.ne if dtype_of(input).kind == "b" else operator.sub
    for _ in range(n):
        input = subtract(_part(input, at, slice(1, None)), _part(input, at, slice(None, -1)))
    return input


def _part(input: Any, axis: int, part: slice) -> Any:
    return indexing.getitem(input, index=(*[slice(None)] * axis, part))


METHODS = {name: globals()[name] for name in __all__}
