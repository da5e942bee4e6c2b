"""Indexing of batched values: ``x[index]`` where the value or arrays in the index are batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .batched import (
    Batched,
    NoRule,
    expand_levels,
    levels_of,
    refuse,
    rule_for,
    sizes_of,
    whole,
    with_levels,
)
from .values import shape_of


def _is_array(item: Any) -> bool:
    return type(item) is Batched or (
        item is not None and item is not Ellipsis and type(item) is not slice and np.ndim(item) > 0
    )


def _placement(items: Sequence[Any]) -> tuple[int, int]:
    """Where NumPy puts the dimensions of advanced indices: (first position, separated?).

    (-1, 0) when there are none; in the second place 1 when something stands between them, so
    that NumPy moves their dimensions to the front.
    """
    if not any(_is_array(i) for i in items):
        return -1, 0
    advanced = [
        k
        for k, i in enumerate(items)
        if i is not None and i is not Ellipsis and type(i) is not slice
    ]
    return advanced[0], int(advanced[-1] - advanced[0] + 1 != len(advanced))


@rule_for("take")
def take(value: Any, index: Any) -> Any:
    """``value[index]``, where the value or integer arrays in the index are batched."""
    items = index if type(index) is tuple else (index,)
    if any(type(i) is Batched for i in items):
        return _gather(value, items)
    array, levels = value.array, value.levels
    n = len(levels)
    _, separated = _placement(items)
    if separated:
        taken = array[(*whole(levels), *items)]
        count = max(
            1 if np.asarray(i).dtype.kind == "b" else np.ndim(i) for i in items if _is_array(i)
        )
        # NumPy put the dimensions of the arrays first, the batch's after them.
        return Batched(np.moveaxis(taken, range(count, count + n), range(n)), levels)
    return Batched(array[(*whole(levels), *items)], levels)


def _gather(value: Any, items: tuple[Any, ...]) -> Any:
    """Indexing by arrays of integers of which some are batched."""
    for item in items:
        if type(item) is Batched and item.dtype.kind == "b":
            raise refuse(
                "indexing with a boolean mask",
                "Use tg.where(mask, x, 0.0), or multiply by the mask.",
            )
    shape = shape_of(value)
    items = _full_index(items, len(shape))
    levels = levels_of((value, *items))
    sizes = sizes_of((value, *items))
    own = value.levels if type(value) is Batched else ()
    array = value.array if own else np.asarray(value)
    _, separated = _placement(items)
    # Masks that are the same for all examples become positions; slices and None stay.
    expanded: list[Any] = []
    for item in items:
        if type(item) is not Batched and _is_array(item) and np.asarray(item).dtype.kind == "b":
            expanded.extend(np.nonzero(item))
        else:
            expanded.append(item)
    advanced = [k for k, i in enumerate(expanded) if i is not None and type(i) is not slice]
    count = max(len(shape_of(expanded[k])) for k in advanced)
    index: list[Any] = list(expanded)
    for k in advanced:
        item = expanded[k]
        index[k] = with_levels(item, levels, count) if type(item) is Batched else np.asarray(item)
    grid = []  # the example's own number, for the levels that the value has
    for place, level in enumerate(levels):
        if level in own:
            along = [1] * (len(levels) + count)
            along[place] = sizes[level]
            grid.append(np.arange(sizes[level]).reshape(along))
    taken = array[(*grid, *index)]
    # NumPy puts the dimensions of the arrays (levels, then the index's) first if something
    # stands between them, else at the first of them.
    positions = [*range(len(grid)), *(len(grid) + k for k in advanced)]
    apart = positions[-1] - positions[0] + 1 != len(positions)
    before = 0 if separated else sum(1 for i in expanded[: advanced[0]])
    at = 0 if apart or grid else before
    total = len(levels) + count
    if at:  # no grid: the levels stand behind `before` sliced dimensions
        taken = np.moveaxis(taken, range(at, at + len(levels)), range(len(levels)))
    elif before and not separated:
        taken = np.moveaxis(
            taken, range(total, total + before), range(len(levels), len(levels) + before)
        )
    return Batched(taken, levels)


def _full_index(items: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """The index with ``...`` written out."""
    used = 0
    for item in items:
        if item is None or item is Ellipsis:
            continue
        used += item.ndim if _is_array(item) and item.dtype.kind == "b" else 1
    where = next((k for k, i in enumerate(items) if i is Ellipsis), len(items))
    return (*items[:where], *[slice(None)] * (ndim - used), *items[where + 1 :])


@rule_for("put")
def put(self: Batched, index: Any, value: Any) -> None:
    """``self[index] = value``, for an index that is the same for all examples."""
    items = index if type(index) is tuple else (index,)
    if any(type(i) is Batched for i in items) or _placement(items)[1] > 0:
        raise NoRule("setting elements at these indices has no rule inside vmap")
    place = (*whole(self.levels), *items)
    if type(value) is Batched:
        if not set(value.levels) <= set(self.levels):
            raise NoRule(
                "writing a value that differs between the examples of a vmap into a tensor "
                "that does not: make the tensor from a mapped one, e.g. with tg.zeros_like"
            )
        value = expand_levels(value, self.levels, self.array[place].ndim - len(self.levels))
    self.array[place] = value
