"""Indexing: ``x[index]`` as NumPy and torch understand it, recorded, and torch's named forms."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..ops import indexing as ops
from ..ops import sorting
from ..ops.arithmetic import where
from ..ops.shaping import expand, reshape
from ..tensors import Tensor
from ..values import PLAIN, dtype_of, shape_of
from .dims import either, one_dim

__all__ = [
    "argwhere",
    "bucketize",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "isin",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "one_hot",
    "searchsorted",
    "take",
    "unique",
    "unique_consecutive",
]


# -- x[index] ---------------------------------------------------------------------------------
def raw_index(index: Any) -> Any:
    """An index with Tensors and lists replaced by arrays that nobody else can change."""
    if type(index) is tuple:
        return tuple(_raw_item(i) for i in index)
    return _raw_item(index)


def _raw_item(item: Any) -> Any:
    kind = type(item)
    if item is None or item is Ellipsis or kind is int:
        return item
    if kind is slice:
        ends = (item.start, item.stop, item.step)
        if all(e is None or type(e) is int for e in ends):
            return item
        return slice(*(None if e is None else operator.index(e) for e in ends))
    if isinstance(item, Tensor):
        value, dtype = item._value, item.dtype
        if dtype.kind not in "iub":
            raise IndexError(
                f"an index tensor must be of integer or boolean dtype, not {dtype} "
                f"(shape {item.shape})"
            )
        if type(value) not in PLAIN:
            # of vmap, which says itself that a mask has no static shape
            return value
        if dtype.kind != "b" and item.ndim == 0:
            return operator.index(item)
        return np.array(item.numpy(force=True))
    if isinstance(item, (bool, np.bool_)):
        return np.array(item)
    if isinstance(item, (list, ndarray, range)):
        array = np.array(_without_tensors(item) if isinstance(item, list) else item)
        if array.size == 0 and array.dtype.kind == "f":
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise IndexError(
                f"an index array must be of integer or boolean dtype, not {array.dtype}"
            )
        return array if array.ndim or array.dtype.kind == "b" else int(array)
    if hasattr(item, "__index__"):
        return operator.index(item)
    raise IndexError(
        f"cannot index with {kind.__name__} {item!r}: use ints, slices, None, ..., or integer or "
        "boolean arrays, lists and tensors"
    )


def _without_tensors(items: Any) -> Any:
    if isinstance(items, list):
        if {int}.issuperset(map(type, items)):  # what a loader asks for, at every batch
            return items
        return [_without_tensors(i) for i in items]
    return items.tolist() if isinstance(items, Tensor) else items


def _is_operand(item: Any) -> bool:
    """Whether an index item is an integer tensor, which must stay visible as an operand."""
    return (
        isinstance(item, Tensor)
        and (type(item._value) is ndarray or type(item._value) not in PLAIN)
        and item.dtype.kind in "iu"
    )


def _spec(index: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """An index as a spec and the tensors in it (see ``ops.getitem_at``)."""
    spec: list[Any] = []
    arrays: list[Any] = []
    for item in index if type(index) is tuple else (index,):
        if _is_operand(item):
            arrays.append(item)
            spec.append(ops.AT)
        else:
            spec.append(_raw_item(item))
    return tuple(spec), arrays


def getitem(input: Any, index: Any) -> Any:
    """``input[index]``: ints, slices, None, ``...``, integer and boolean arrays, lists or tensors.

    A view where the index has no arrays; a copy else. Elements taken several times add up in the
    gradient. Raises IndexError for what is out of range or of a wrong kind.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> x[0], x[:, None, 1].shape, x[x > 2], x[[1, 1], [0, 1]]
    (tensor([1., 2.]), (2, 1), tensor([3., 4.]), tensor([3., 4.]))
    """
    arrays: list[Any] = []
    try:
        if type(index) is not int:
            if isinstance(index, Tensor) or (type(index) is tuple and any(map(_is_operand, index))):
                index, arrays = _spec(index)
            else:
                index = raw_index(index)
        if arrays:
            return ops.getitem_at(input, *arrays, spec=index)
        return ops.getitem(input, index=index)
    except (IndexError, ValueError) as error:
        raise _index_error(index, arrays, shape_of(input), error) from None


def _index_error(index: Any, arrays: Any, shape: Any, error: Any) -> IndexError:
    shown = _show(ops.fill_spec(index, tuple(a._value for a in arrays)) if arrays else index)
    return IndexError(f"index {shown} into a tensor of shape {shape}: {error}")


def _show(index: Any) -> str:
    if type(index) is tuple:
        return f"({', '.join(map(_show, index))})"
    if isinstance(index, slice):
        ends = ["" if v is None else str(v) for v in (index.start, index.stop, index.step)]
        return ":".join(ends if ends[2] else ends[:2])
    if index is Ellipsis:
        return "..."
    return f"<{dtype_of(index)} {shape_of(index)}>" if isinstance(index, ndarray) else repr(index)


def iterate(input: Any) -> Any:
    """The slices along the first dimension, one after the other.

    >>> import tapegrad as tg
    >>> [row.sum().item() for row in tg.tensor([[1, 2], [3, 4]])]
    [3, 7]
    """
    from .joining import unbind

    if not shape_of(input):
        raise TypeError("iteration over a 0-d tensor")
    return iter(unbind(input))


def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """A copy of ``input`` with ``values`` written (or added, with ``accumulate``) at an index.

    ``indices``: as in ``input[indices]``; ``values`` broadcasts to the shape of that and takes
    the dtype of ``input``. Differentiable by both. Where an index names a place twice, the last
    value stays and only it gets a gradient; with ``accumulate`` all are added.

    >>> import tapegrad as tg
    >>> tg.index_put(tg.zeros(3), (tg.tensor([0, 2, 0]),), tg.tensor([1.0, 2.0, 3.0]), True)
    tensor([4., 0., 2.])
    """
    index = (
        tuple(indices)
        if isinstance(indices, list) and any(isinstance(i, Tensor) for i in indices)
        else indices
    )
    arrays: list[Any] = []
    try:
        index, arrays = _spec(index)
        if arrays:
            return ops.index_put_at(input, values, *arrays, spec=index, accumulate=bool(accumulate))
        return ops.index_put(input, values, index=index, accumulate=bool(accumulate))
    except IndexError as error:
        raise _index_error(index, arrays, shape_of(input), error) from None


# -- along one dimension ----------------------------------------------------------------------
def operand_index(index: Any, what: str) -> Any:
    """An index that becomes an operand: a Tensor or an array of integers."""
    if not isinstance(index, Tensor):
        if type(index) in PLAIN and type(index) is not ndarray:
            index = np.asarray(index)
        elif isinstance(index, (list, tuple, ndarray)):
            index = np.array(
                _without_tensors(list(index)) if not isinstance(index, ndarray) else index
            )
            index = index.astype(np.int64) if not index.size else index
    if dtype_of(index).kind not in "iu":
        raise IndexError(
            f"{what}: the index must be of integer dtype, not {dtype_of(index)} "
            f"(shape {shape_of(index)})"
        )
    return index


def _one_dimensional(index: Any, what: str) -> Any:
    index = operand_index(index, what)
    if len(shape_of(index)) > 1:
        raise IndexError(f"{what}: the index must have one dimension, not shape {shape_of(index)}")
    return index if shape_of(index) else reshape(index, shape=(1,))


def _along(input: Any, dim: Any, axis: Any, what: str) -> tuple[int, tuple[Any, ...]]:
    d = one_dim(either(dim, axis, what), len(shape_of(input)), what)
    return d, (*[slice(None)] * d, ops.AT)


def index_select(input: Any, dim: Any, index: Any, *, axis: Any = None) -> Any:
    """The slices along ``dim`` at the numbers in ``index`` (1-d), which may repeat: a copy.

    >>> import tapegrad as tg
    >>> tg.index_select(tg.tensor([[1, 2], [3, 4]]), 0, tg.tensor([1, 1]))
    tensor([[3, 4],
            [3, 4]])
    """
    index = _one_dimensional(index, "index_select")
    d, spec = _along(input, dim, axis, "index_select")
    if not shape_of(input):
        input = reshape(input, shape=(1,))
        return reshape(ops.getitem_at(input, index, spec=spec), shape=())
    try:
        return ops.getitem_at(input, index, spec=spec)
    except IndexError as error:
        raise IndexError(
            f"index_select along dim {d} of shape {shape_of(input)}: {error}"
        ) from None


def _put_along(input: Any, dim: Any, index: Any, source: Any, accumulate: bool, what: str) -> Any:
    index = _one_dimensional(index, what)
    d, spec = _along(input, dim, None, what)
    shape = shape_of(input)
    wanted = (*shape[:d], *shape_of(index), *shape[d + 1 :])
    if shape_of(source) not in ((), wanted):
        raise ShapeError(
            f"{what}: the source must have shape {wanted} (that of input {shape} with "
            f"{shape_of(index)[0]} slices along dim {d}), not {shape_of(source)}"
        )
    try:
        return ops.index_put_at(input, source, index, spec=spec, accumulate=accumulate)
    except IndexError as error:
        raise IndexError(f"{what} along dim {d} of shape {shape}: {error}") from None


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """``input`` with ``alpha`` times the slices of ``source`` added at ``index`` along ``dim``.

    Slices sent to the same place all add up.

    >>> import tapegrad as tg
    >>> tg.index_add(tg.zeros(3), 0, tg.tensor([0, 0, 2]), tg.tensor([1.0, 2.0, 3.0]))
    tensor([3., 0., 3.])
    """
    scaled = source if type(alpha) is int and alpha == 1 else source * alpha
    return _put_along(input, dim, index, scaled, True, "index_add")


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """``input`` with the slices of ``source`` in the places ``index`` along ``dim``.

    >>> import tapegrad as tg
    >>> tg.index_copy(tg.zeros(3), 0, tg.tensor([2, 0]), tg.tensor([1.0, 2.0]))
    tensor([2., 0., 1.])
    """
    return _put_along(input, dim, index, source, False, "index_copy")


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """``input`` with one number in the places ``index`` along ``dim``.

    >>> import tapegrad as tg
    >>> tg.index_fill(tg.zeros(3), 0, tg.tensor([2, 0]), 5.0)
    tensor([5., 0., 5.])
    """
    value = held_number(value, dtype_of(input), "index_fill")
    return _put_along(input, dim, index, value, False, "index_fill")


def take(input: Any, index: Any) -> Any:
    """The elements at places of the flattened tensor, in the shape of ``index``.

    >>> import tapegrad as tg
    >>> tg.take(tg.tensor([[1, 2], [3, 4]]), tg.tensor([0, 3]))
    tensor([1, 4])
    """
    flat = reshape(input, shape=(math.prod(shape_of(input)),))
    index = operand_index(index, "take")
    try:
        return ops.getitem_at(flat, index, spec=(ops.AT,))
    except IndexError as error:
        raise IndexError(f"take from shape {shape_of(input)}: {error}") from None


# -- masks ------------------------------------------------------------------------------------
def _mask(mask: Any, what: str) -> Any:
    if not isinstance(mask, Tensor) and type(mask) in (list, tuple):
        mask = np.array(mask)
    if dtype_of(mask).kind != "b":
        raise RuntimeError(
            f"{what}: the mask must be boolean, not {dtype_of(mask)}: compare first, e.g. mask != 0"
        )
    return mask


def held_number(value: Any, dtype: Any, what: str) -> Any:
    """A number as a dtype holds it: its whole part in integers, true unless 0 in booleans."""
    if isinstance(value, Tensor) or shape_of(value) or dtype.kind not in "iub":
        return value
    if dtype.kind == "b":
        return bool(value)
    limits = np.iinfo(dtype)
    lowest = -limits.max if dtype.kind == "u" else limits.min  # unsigned ones count backwards
    if not lowest <= value <= limits.max:
        raise RuntimeError(
            f"{what}: {value} is no {dtype}, which goes from {limits.min} to {limits.max}: "
            "convert the tensor first, for example with .to('float32') or .to('int64')"
        )
    return np.array(int(value)).astype(dtype)[()]


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """``input`` with ``value`` (a number or a 0-d tensor) wherever ``mask`` is True.

    The dtype stays: into integers goes the whole part. Raises RuntimeError for a number that the
    dtype does not hold.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> tg.masked_fill(x, x > 1, 0.0)
    tensor([1., 0.])
    """
    if shape_of(value):
        raise RuntimeError(f"masked_fill: value must be 0-d, not of shape {shape_of(value)}")
    if isinstance(value, Tensor) and dtype_of(value) != dtype_of(input):
        from .converting import convert

        value = convert(value, dtype_of(input))
    value = held_number(value, dtype_of(input), "masked_fill")
    return where(_mask(mask, "masked_fill"), value, input)


def masked_select(input: Any, mask: Any) -> Any:
    """The elements where ``mask`` is True, in one dimension; the two broadcast.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0, 3.0])
    >>> tg.masked_select(x, x > 1)
    tensor([2., 3.])
    """
    mask = _raw_item(_mask(mask, "masked_select"))
    shape = np.broadcast_shapes(shape_of(input), shape_of(mask))
    wide = expand(input, shape=shape)
    return ops.getitem(wide, index=np.broadcast_to(mask, shape).copy())


def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """``input`` with the elements of ``source``, in order, where ``mask`` is True.

    >>> import tapegrad as tg
    >>> x = tg.tensor([0.0, 0.0, 0.0])
    >>> tg.masked_scatter(x, tg.tensor([True, False, True]), tg.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """
    mask = _raw_item(_mask(mask, "masked_scatter"))
    shape = np.broadcast_shapes(shape_of(input), shape_of(mask))
    mask = np.broadcast_to(mask, shape).copy()
    count, available = int(mask.sum()), math.prod(shape_of(source))
    if count > available:
        raise RuntimeError(
            f"masked_scatter: the mask selects {count} elements, but source has only {available}"
        )
    flat = reshape(source, shape=(available,))
    return ops.index_put(
        expand(input, shape=shape),
        ops.getitem(flat, index=slice(count)),
        index=mask,
        accumulate=False,
    )


# -- where, which and how often ---------------------------------------------------------------
def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0, one row each.

    ``as_tuple``: one vector of indices per dimension instead, fit for ``x[...]``.

    >>> import tapegrad as tg
    >>> tg.nonzero(tg.tensor([[0, 1], [2, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    if not as_tuple:
        return argwhere(input)
    found = ops.nonzero(input)
    return tuple(ops.getitem(found, index=(slice(None), i)) for i in range(shape_of(found)[1]))


def argwhere(input: Any) -> Any:
    """The indices of the elements that are not 0, one row each.

    >>> import tapegrad as tg
    >>> tg.argwhere(tg.tensor([0, 1, 2]))
    tensor([[1],
            [2]])
    """
    found = ops.nonzero(input)
    # Of a scalar a row has no indices.
    return found if shape_of(input) else ops.getitem(found, index=(slice(None), slice(0)))


def _distinct(
    input: Any, found: Any, axis: int | None, return_inverse: bool, return_counts: bool
) -> Any:
    first, inverse, counts = found
    if axis is None:
        values = take(input, first)
    else:
        values = index_select(input, axis, first)
    results = [values]
    if return_inverse:
        results.append(inverse)
    if return_counts:
        results.append(counts)
    return tuple(results) if len(results) > 1 else values


def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: Any = None,
    *,
    axis: Any = None,
) -> Any:
    """The distinct elements (or slices along ``dim``), in ascending order.

    ``return_inverse``: also which of them each element is; ``return_counts``: also how often each
    occurs. The gradient goes to the first element of each value.

    >>> import tapegrad as tg
    >>> tg.unique(tg.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    axis = either(dim, axis, "unique")
    axis = None if axis is None else one_dim(axis, len(shape_of(input)), "unique")
    found = sorting.unique_indices(input, axis=axis)
    return _distinct(input, found, axis, return_inverse, return_counts)


def unique_consecutive(
    input: Any,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: Any = None,
    *,
    axis: Any = None,
) -> Any:
    """The first of every run of equal elements (or slices along ``dim``).

    >>> import tapegrad as tg
    >>> tg.unique_consecutive(tg.tensor([1, 1, 2, 1]), return_counts=True)
    (tensor([1, 2, 1]), tensor([2, 1, 1]))
    """
    axis = either(dim, axis, "unique_consecutive")
    axis = None if axis is None else one_dim(axis, len(shape_of(input)), "unique_consecutive")
    found = sorting.run_indices(input, axis=axis)
    return _distinct(input, found, axis, return_inverse, return_counts)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """For every class number a row of 0s with a 1 in its place (int64).

    ``num_classes``: -1 takes the largest number plus one. Raises RuntimeError for a class that is
    negative or not below ``num_classes``.

    >>> import tapegrad as tg
    >>> tg.one_hot(tg.tensor([0, 2]), num_classes=3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if dtype_of(tensor).kind not in "iu":
        raise TypeError(f"one_hot: class numbers must be integers, not {dtype_of(tensor)}")
    if num_classes == -1:
        if not math.prod(shape_of(tensor)):
            raise RuntimeError("one_hot: of an empty tensor num_classes must be given")
        highest = tensor.tolist() if isinstance(tensor, Tensor) else tensor
        num_classes = int(np.max(highest)) + 1
    return ops.one_hot(tensor, num_classes=operator.index(num_classes))


def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: Any = None,
    sorter: Any = None,
) -> Any:
    """Where each value would be inserted into a sorted sequence to keep it sorted.

    ``sorted_sequence``: one for all, or as many as ``input`` has rows (the last dimension is
    sorted). ``right`` (or ``side="right"``): after equal elements, not before. ``sorter``: the
    indices that sort the sequence.

    >>> import tapegrad as tg
    >>> tg.searchsorted(tg.tensor([1, 3, 5]), tg.tensor([3, 6]))
    tensor([1, 3])
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise RuntimeError(f"searchsorted: right={right} and side={side!r} do not agree")
    if sorter is not None:
        from .scattering import gather

        sorted_sequence = gather(sorted_sequence, -1, sorter)
    rows = shape_of(sorted_sequence)[:-1]
    if len(shape_of(sorted_sequence)) != 1 and (
        not shape_of(sorted_sequence) or rows != shape_of(input)[:-1]
    ):
        raise ShapeError(
            f"searchsorted: a sequence of shape {shape_of(sorted_sequence)} must be 1-d, or agree "
            f"with the values {shape_of(input)} in all but the last dimension"
        )
    if type(input) in (list, tuple):
        input = np.array(input)
    found = sorting.searchsorted(sorted_sequence, input, right=bool(right) or side == "right")
    if not out_int32:
        return found
    from .converting import convert

    return convert(found, np.dtype("int32"))


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """The number of the bucket that each value falls into, between sorted ``boundaries``.

    Bucket i holds boundaries[i-1] < x <= boundaries[i]; with ``right``, <= and <.

    >>> import tapegrad as tg
    >>> tg.bucketize(tg.tensor([3, 6]), tg.tensor([1, 3, 5]))
    tensor([1, 3])
    """
    if len(shape_of(boundaries)) != 1:
        raise ShapeError(f"bucketize: boundaries must be 1-d, not {shape_of(boundaries)}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Any:
    """For each element, whether it is among ``test_elements`` (or, with ``invert``, is not).

    >>> import tapegrad as tg
    >>> tg.isin(tg.tensor([1, 2, 3]), tg.tensor([2, 5]))
    tensor([False,  True, False])
    """
    return sorting.isin(elements, test_elements, invert=bool(invert))


METHODS: dict[str, Any] = {
    **{
        name: globals()[name]
        for name in __all__
        if name not in ("one_hot", "bucketize", "searchsorted")
    },
    "__getitem__": getitem,
    "__iter__": iterate,
}
