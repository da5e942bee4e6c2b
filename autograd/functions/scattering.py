"""Gather and scatter: one index per element, along one dimension."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ops import indexing as ops
from ..ops.arithmetic import where
from ..ops.shaping import expand, reshape
from ..tensors import Tensor
from ..values import dtype_of, shape_of
from .converting import convert
from .dims import either, one_dim
from .indexing import held_number, operand_index

__all__ = ["gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim"]


def _fit(input: Any, dim: Any, index: Any, what: str) -> tuple[int, Any]:
    """The dimension and the index, checked against the input."""
    index = operand_index(index, what)
    shape, found = shape_of(input), shape_of(index)
    d = one_dim(dim, len(shape), what)
    if len(found) != len(shape):
        raise ShapeError(
            f"{what}: index of shape {found} must have as many dimensions as the input {shape}"
        )
    if any(m > n for e, (m, n) in enumerate(zip(found, shape, strict=True)) if e != d):
        raise ShapeError(
            f"{what}: index of shape {found} goes beyond the input {shape} in a dimension other "
            f"than dim {d}"
        )
    return d, index


def gather(input: Any, dim: Any, index: Any, *, sparse_grad: bool = False, axis: Any = None) -> Any:
    """One element of ``input`` for each of ``index``: y[i][j] = x[index[i][j]][j] (for dim 0).

    ``index`` has as many dimensions as ``input`` and is not longer, except along ``dim``. Raises
    IndexError for an index that is negative or out of range.

    >>> import tapegrad as tg
    >>> tg.gather(tg.tensor([[1, 2], [3, 4]]), 1, tg.tensor([[0], [1]]))
    tensor([[1],
            [4]])
    """
    d, index = _fit(input, either(dim, axis, "gather"), index, "gather")
    try:
        return ops.gather(input, index, axis=d)
    except IndexError as error:
        raise IndexError(f"gather along dim {d} of shape {shape_of(input)}: {error}") from None


def take_along_dim(input: Any, indices: Any, dim: Any = None, *, axis: Any = None) -> Any:
    """As :func:`gather`, except that input and indices broadcast in the other dimensions.

    Without ``dim`` the input is flattened first. The indices are those that ``argsort`` and
    ``argmax(keepdim=True)`` return.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[3, 1, 2]])
    >>> tg.take_along_dim(x, x.argsort(dim=1), dim=1)
    tensor([[1, 2, 3]])
    """
    dim = either(dim, axis, "take_along_dim")
    indices = operand_index(indices, "take_along_dim")
    if dim is None:
        flat = reshape(input, shape=(math.prod(shape_of(input)),))
        places = reshape(indices, shape=(math.prod(shape_of(indices)),))
        return gather(flat, 0, places)
    shape, found = shape_of(input), shape_of(indices)
    d = one_dim(dim, len(shape), "take_along_dim")
    if len(shape) != len(found):
        raise ShapeError(
            f"take_along_dim: input {shape} and indices {found} must have as many dimensions"
        )
    try:
        wide = np.broadcast_shapes(
            (*shape[:d], 1, *shape[d + 1 :]), (*found[:d], 1, *found[d + 1 :])
        )
    except ValueError:
        raise ShapeError(
            f"take_along_dim: input {shape} and indices {found} do not broadcast outside dim {d}"
        ) from None
    if not shape:
        return gather(input, 0, indices)
    input = expand(input, shape=(*wide[:d], shape[d], *wide[d + 1 :]))
    indices = expand(indices, shape=(*wide[:d], found[d], *wide[d + 1 :]))
    return gather(input, d, indices)


def _source(input: Any, index: Any, src: Any, what: str) -> Any:
    """The part of the source that the index sends, in the dtype of the input."""
    found, shape = shape_of(index), shape_of(src)
    if not isinstance(src, Tensor) and type(src) in (int, float, bool):
        return np.full(found, held_number(src, dtype_of(input), what), dtype_of(input))
    if len(shape) != len(found) or any(m > n for m, n in zip(found, shape, strict=True)):
        raise ShapeError(f"{what}: the source {shape} is smaller than the index {found}")
    if shape != found:
        src = ops.getitem(src, index=tuple(slice(m) for m in found))
    if dtype_of(src) != dtype_of(input):
        raise RuntimeError(
            f"{what}: the source has dtype {dtype_of(src)}, but the input {dtype_of(input)}: "
            "convert it with src.to(input.dtype)"
        )
    return src


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """``input`` with every element of ``src`` added where ``index`` sends it.

    y[index[i][j]][j] += src[i][j] (for dim 0); elements sent to the same place all add up.

    >>> import tapegrad as tg
    >>> tg.scatter_add(tg.zeros(3), 0, tg.tensor([0, 0, 2]), tg.tensor([1.0, 2.0, 3.0]))
    tensor([3., 0., 3.])
    """
    d, index = _fit(input, dim, index, "scatter_add")
    src = _source(input, index, src, "scatter_add")
    return input + ops.scatter_sum(src, index, axis=d, shape=shape_of(input))


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Any:
    """``input`` with the elements of ``src`` (or one ``value``) written where ``index`` sends them.

    y[index[i][j]][j] = src[i][j] (for dim 0). Of several sent to one place the last stays, and
    only it gets a gradient. ``reduce``: None, "add" or "multiply".

    >>> import tapegrad as tg
    >>> tg.scatter(tg.zeros(2, 3), 1, tg.tensor([[0], [2]]), 1.0)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    if (src is None) == (value is None):
        raise TypeError("scatter: give either src or value")
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError(f'scatter: reduce must be "add" or "multiply", not {reduce!r}')
        d, index = _fit(input, dim, index, "scatter")
        source = _source(input, index, value if src is None else src, "scatter")
        kind = "sum" if reduce == "add" else "prod"
        return scatter_reduce(input, d, index, source, kind)
    d, index = _fit(input, dim, index, "scatter")
    shape = shape_of(input)
    source = _source(input, index, value if src is None else src, "scatter")
    stays = ops.scatter_stays(index, axis=d, shape=shape)
    return _write(input, d, index, source, stays, ops.scatter_hits(index, axis=d, shape=shape))


def _nought(like: Any) -> Any:
    return np.zeros((), dtype_of(like))


def _write(input: Any, d: int, index: Any, source: Any, chosen: Any, hits: Any) -> Any:
    """The chosen elements of the source (at most one per place) in place of the input's."""
    written = ops.scatter_sum(
        where(chosen, source, _nought(source)), index, axis=d, shape=shape_of(input)
    )
    return where(hits, written, input)


def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """``input`` with all elements of ``src`` sent to one place reduced to one.

    ``reduce``: "sum", "prod", "mean", "amax" or "amin"; ``include_self``: the element of the input
    takes part too. Places that nothing is sent to keep the input's. Equal extremes share the
    gradient evenly; "prod" is right with zeros, to any order (it takes as many steps as the most
    elements sent to one place).

    >>> import tapegrad as tg
    >>> index, src = tg.tensor([0, 0, 1]), tg.tensor([1.0, 5.0, 2.0])
    >>> tg.scatter_reduce(tg.zeros(3), 0, index, src, "amax")
    tensor([5., 2., 0.])
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(
            'scatter_reduce: reduce must be "sum", "prod", "mean", "amax" or "amin", '
            f"not {reduce!r}"
        )
    d, index = _fit(input, dim, index, "scatter_reduce")
    source, shape = _source(input, index, src, "scatter_reduce"), shape_of(input)
    hits = None if include_self else ops.scatter_hits(index, axis=d, shape=shape)

    def start(neutral: float) -> Any:
        if hits is None:
            return input
        return where(hits, np.full((), neutral, dtype_of(input)), input)

    if reduce in ("amax", "amin"):
        largest = reduce == "amax"
        lowest = _extreme(dtype_of(input), lowest=largest)
        return ops.scatter_extreme(start(lowest), index, source, axis=d, largest=largest)
    if reduce == "prod":
        return _products(start(1), d, index, source)
    total = start(0) + ops.scatter_sum(source, index, axis=d, shape=shape)
    if reduce == "sum":
        return total
    ones = np.ones(shape_of(index), dtype_of(input))
    count = ops.scatter_sum(ones, index, axis=d, shape=shape)
    if include_self:
        count = count + np.ones((), dtype_of(input))
    else:
        count = where(count == 0, np.ones((), dtype_of(input)), count)
    if dtype_of(input).kind == "f":
        return total / count
    return convert(total // count, dtype_of(input))


def _extreme(dtype: np.dtype[Any], lowest: bool) -> Any:
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    limits = np.iinfo(dtype)
    return limits.min if lowest else limits.max


def _products(total: Any, d: int, index: Any, source: Any) -> Any:
    shape = shape_of(total)
    rank = ops.scatter_rank(index, axis=d, shape=shape)
    if not math.prod(shape_of(index)):
        return total
    most = int(np.max(rank.tolist() if isinstance(rank, Tensor) else rank))
    # In round r every place takes the r-th element sent to it.
    for r in range(most + 1):
        chosen = rank == r
        ones = np.ones(shape_of(index), dtype_of(source))
        count = ops.scatter_sum(where(chosen, ones, _nought(source)), index, axis=d, shape=shape)
        total = total * _write(
            np.ones(shape, dtype_of(source)), d, index, source, chosen, count != 0
        )
    return total


METHODS: dict[str, Any] = {name: globals()[name] for name in __all__}
