"""Indexing: ``x[index]`` as NumPy and torch understand it, recorded."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..ops import indexing as ops
from ..tensor import Tensor
from ..values import PLAIN

__all__: list[str] = []


def raw_index(index: Any) -> Any:
    """An index with Tensors and lists replaced by arrays that nobody else can change."""
    if type(index) is tuple:
        return tuple(_raw_item(i) for i in index)
    return _raw_item(index)


def _raw_item(item: Any) -> Any:
    if item is None or item is Ellipsis or type(item) in (int, slice):
        if type(item) is slice and any(isinstance(v, Tensor) for v in (item.start, item.stop, item.step)):
            return slice(*(v if v is None else operator.index(v) for v in (item.start, item.stop, item.step)))
        return item
    if isinstance(item, Tensor):
        value = item._value
        if type(value) not in PLAIN:
            return value
        if item.dtype.kind not in "iub":
            raise IndexError(
                f"an index tensor must be of integer or boolean dtype, not {item.dtype} (shape {item.shape})"
            )
        if item.ndim == 0 and item.dtype.kind != "b":
            return int(value)
        return np.array(value)
    if isinstance(item, (bool, np.bool_)):
        return np.array(item)
    if isinstance(item, np.integer):
        return int(item)
    if isinstance(item, (list, np.ndarray)):
        array = np.array([i.item() if isinstance(i, Tensor) else i for i in item] if isinstance(item, list) else item)
        if array.size == 0 and array.dtype.kind == "f":
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise IndexError(f"an index array must be of integer or boolean dtype, not {array.dtype}")
        return array
    if hasattr(item, "__index__"):
        return operator.index(item)
    raise IndexError(f"cannot index with {type(item).__name__} {item!r}: use ints, slices, None, ... or arrays")


def getitem(input: Tensor, index: Any) -> Tensor:
    """``input[index]``: ints, slices, None, ``...``, integer and boolean arrays or tensors."""
    index = raw_index(index)
    try:
        return ops.getitem(input, index=index)  # type: ignore[no-any-return]
    except (IndexError, ValueError) as error:
        raise IndexError(f"index {index!r} into a tensor of shape {input.shape}: {error}") from None


METHODS = {"__getitem__": getitem}
