"""Sorting and selecting by order: the chosen elements take the whole gradient."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from ..ops import sorting as ops
from ..ops.indexing import gather, getitem
from ..values import shape_of
from .dims import one_dim

__all__ = ["argsort", "kthvalue", "msort", "sort", "topk"]


class Selection(NamedTuple):
    """Chosen values, and where they stood: what torch's operations with indices return."""

    values: Any
    indices: Any


def _dim(dim: Any, axis: Any) -> Any:
    return dim if axis is None else axis


def sort(
    input: Any, dim: int = -1, descending: bool = False, stable: bool = True, *, axis: Any = None
) -> Selection:
    """The elements along ``dim`` in order, and where they stood: (values, indices).

    Equal elements keep their order (``stable`` or not); NaN counts as the largest. Each value
    passes its gradient to the element it is.

    >>> import tapegrad as tg
    >>> values, indices = tg.sort(tg.tensor([3.0, 1.0, 2.0]))
    >>> values, indices
    (tensor([1., 2., 3.]), tensor([1, 2, 0]))
    """
    d = one_dim(_dim(dim, axis), len(shape_of(input)), "sort")
    indices = ops.argsort(input, axis=d, descending=bool(descending))
    return Selection(gather(input, indices, axis=d), indices)


def argsort(
    input: Any, dim: int = -1, descending: bool = False, stable: bool = True, *, axis: Any = None
) -> Any:
    """The indices that sort along ``dim``; equal elements keep their order.

    >>> import tapegrad as tg
    >>> tg.argsort(tg.tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([0, 2, 1])
    """
    d = one_dim(_dim(dim, axis), len(shape_of(input)), "argsort")
    return ops.argsort(input, axis=d, descending=bool(descending))


def msort(input: Any) -> Any:
    """The elements along the first dimension in ascending order.

    >>> import tapegrad as tg
    >>> tg.msort(tg.tensor([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.])
    """
    return sort(input, 0).values


def topk(
    input: Any,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    axis: Any = None,
) -> Selection:
    """The ``k`` largest (or smallest) elements along ``dim``, and where they stand.

    They come in order, ``sorted`` or not. NaN counts as the largest. Each value passes its
    gradient to the element it is; of equal ones, to the one chosen.

    >>> import tapegrad as tg
    >>> tg.topk(tg.tensor([3.0, 1.0, 2.0]), 2).values
    tensor([3., 2.])
    """
    shape = shape_of(input)
    d = one_dim(_dim(dim, axis), len(shape), "topk")
    n, k = shape[d] if shape else 1, operator.index(k)
    if not 0 <= k <= n:
        raise RuntimeError(
            f"topk: k={k} is not in 0 to {n}, the length of dimension {d} of {shape}"
        )
    k = k if shape else 1  # torch's rule: of one number that number, for k = 0 too
    indices = ops.argtopk(input, axis=d, k=k, largest=bool(largest))
    return Selection(gather(input, indices, axis=d), indices)


def kthvalue(
    input: Any, k: int, dim: int = -1, keepdim: bool = False, *, axis: Any = None
) -> Selection:
    """The ``k``-th smallest element along ``dim`` (``k`` counts from 1), and where it stands.

    >>> import tapegrad as tg
    >>> tg.kthvalue(tg.tensor([3.0, 1.0, 2.0]), 2).values
    tensor(2.)
    """
    shape = shape_of(input)
    d = one_dim(_dim(dim, axis), len(shape), "kthvalue")
    n, k = shape[d] if shape else 1, operator.index(k)
    if not 1 <= k <= n:
        raise RuntimeError(
            f"kthvalue: k={k} is not in 1 to {n}, the length of dimension {d} of {shape}"
        )
    order = ops.argsort(input, axis=d, descending=False)
    if not shape:
        return Selection(gather(input, order, axis=0), order)
    indices = getitem(order, index=(*[slice(None)] * d, slice(k - 1, k)))
    values = gather(input, indices, axis=d)
    if not keepdim:
        first = (*[slice(None)] * d, 0)
        values, indices = getitem(values, index=first), getitem(indices, index=first)
    return Selection(values, indices)


METHODS: dict[str, Any] = {name: globals()[name] for name in __all__}
