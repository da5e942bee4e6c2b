"""Joining tensors, parting them, repeating and padding."""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import numpy as np

from ..batched import Batched, refuse
from ..errors import ShapeError
from ..ops import indexing
from ..ops import shaping as ops
from ..tensors import Tensor, make
from ..values import dtype_of, get_default_dtype, shape_of
from .dims import either, one_dim, or_named, sizes
from .indexing import index_select
from .shaping import atleast_1d, atleast_2d, atleast_3d, expand, ravel, reshape, unsqueeze

__all__ = [
    "block_diag",
    "cartesian_prod",
    "cat",
    "chunk",
    "column_stack",
    "combinations",
    "concat",
    "concatenate",
    "dstack",
    "hstack",
    "meshgrid",
    "pad",
    "repeat_interleave",
    "split",
    "stack",
    "tensor_split",
    "tile",
    "unbind",
    "vstack",
]


# -- joining ----------------------------------------------------------------------------------
def _several(tensors: Any, what: str) -> list[Any]:
    if isinstance(tensors, (Tensor, np.ndarray)) and not shape_of(tensors):
        raise TypeError(f"{what}: expects a sequence of tensors, not a 0-d tensor")
    try:
        found = list(tensors)
    except TypeError:
        raise TypeError(
            f"{what}: expects a sequence of tensors, not {type(tensors).__name__}"
        ) from None
    if not found:
        raise RuntimeError(f"{what}: expects at least one tensor")
    return found


def _shapes(tensors: list[Any]) -> str:
    return ", ".join(str(shape_of(x)) for x in tensors[:8]) + (" ..." if len(tensors) > 8 else "")


def cat(tensors: Any, dim: int = 0, *, axis: Any = None) -> Any:
    """The tensors one after the other along ``dim``; their other lengths must be equal.

    Raises ShapeError when they are not. Empty tensors of shape (0,) are skipped, as in torch.

    >>> import tapegrad as tg
    >>> tg.cat([tg.tensor([1, 2]), tg.tensor([3])])
    tensor([1, 2, 3])
    """
    found = _several(tensors, "cat")
    if any(not shape_of(x) for x in found):
        raise RuntimeError("cat: a 0-d tensor has no dimension to join along: use stack")
    rest = [x for x in found if shape_of(x) != (0,)] or found[:1]
    n = len(shape_of(rest[0]))
    d = one_dim(dim if axis is None else axis, n, "cat")
    first = shape_of(rest[0])
    for x in rest:
        shape = shape_of(x)
        if len(shape) != n or shape[:d] != first[:d] or shape[d + 1 :] != first[d + 1 :]:
            raise ShapeError(f"cat: shapes {_shapes(rest)} must be equal except in dimension {d}")
    return ops.cat(*rest, axis=d)


concat = concatenate = cat


def stack(tensors: Any, dim: int = 0, *, axis: Any = None) -> Any:
    """Tensors of one shape side by side, along a new dimension ``dim``.

    Raises ShapeError when their shapes differ.

    >>> import tapegrad as tg
    >>> tg.stack([tg.tensor(1.0), tg.tensor(2.0)])
    tensor([1., 2.])
    """
    found = _several(tensors, "stack")
    shape = shape_of(found[0])
    d = one_dim(dim if axis is None else axis, len(shape), "stack", insert=True)
    if any(shape_of(x) != shape for x in found):
        raise ShapeError(f"stack: shapes {_shapes(found)} must all be equal")
    return ops.stack(*found, axis=d)


def hstack(tensors: Any) -> Any:
    """Joined along the columns (of 1-d tensors, along their only dimension).

    >>> import tapegrad as tg
    >>> tg.hstack([tg.tensor([1, 2]), tg.tensor([3])])
    tensor([1, 2, 3])
    """
    found = [atleast_1d(x) for x in _several(tensors, "hstack")]
    return cat(found, 0 if len(shape_of(found[0])) == 1 else 1)


def vstack(tensors: Any) -> Any:
    """Joined along the rows; 1-d tensors become rows.

    >>> import tapegrad as tg
    >>> tg.vstack([tg.tensor([1, 2]), tg.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    return cat([atleast_2d(x) for x in _several(tensors, "vstack")], 0)


def dstack(tensors: Any) -> Any:
    """Joined along the third dimension.

    >>> import tapegrad as tg
    >>> tg.dstack([tg.tensor([1, 2]), tg.tensor([3, 4])])
    tensor([[[1, 3],
             [2, 4]]])
    """
    return cat([atleast_3d(x) for x in _several(tensors, "dstack")], 2)


def column_stack(tensors: Any) -> Any:
    """Joined along the columns; 1-d tensors become columns.

    >>> import tapegrad as tg
    >>> tg.column_stack([tg.tensor([1, 2]), tg.tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])
    """
    found = _several(tensors, "column_stack")
    return cat([x if len(shape_of(x)) > 1 else reshape(x, -1, 1) for x in found], 1)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Grids of coordinates from vectors: the i-th result varies with the i-th vector.

    ``indexing``: "ij" (matrix order, torch's default) or "xy" (the first two dimensions
    exchanged, NumPy's default).

    >>> import tapegrad as tg
    >>> rows, columns = tg.meshgrid(tg.tensor([1, 2]), tg.tensor([3, 4, 5]))
    >>> rows
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'meshgrid: indexing must be "ij" or "xy", not {indexing!r}')
    if any(len(shape_of(x)) > 1 for x in tensors):
        raise RuntimeError(f"meshgrid: expects vectors, got shapes {_shapes(list(tensors))}")
    lengths = [math.prod(shape_of(x)) for x in tensors]
    n = len(tensors)
    order = list(range(n))
    if indexing == "xy" and n > 1:
        order[0], order[1] = 1, 0
    shape = tuple(lengths[i] for i in order)
    found = []
    for i, x in enumerate(tensors):
        line = [1] * n
        line[order.index(i)] = lengths[i]
        found.append(ops.expand(ops.reshape(x, shape=tuple(line)), shape=shape))
    return tuple(found)


def cartesian_prod(*tensors: Any) -> Any:
    """Every choice of one element from each vector: a row per choice, in the order of a dictionary.

    Of one vector that vector itself.

    >>> import tapegrad as tg
    >>> tg.cartesian_prod(tg.tensor([1, 2]), tg.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    found = _several(tensors, "cartesian_prod")
    if any(len(shape_of(x)) != 1 for x in found):
        raise RuntimeError(f"cartesian_prod: expects vectors, got shapes {_shapes(found)}")
    if len(found) == 1:
        return found[0]
    return reshape(stack(meshgrid(*found), -1), -1, len(found))


def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """Every choice of ``r`` elements of a vector, in their order: a row per choice.

    ``with_replacement``: an element may be chosen more than once.

    >>> import tapegrad as tg
    >>> tg.combinations(tg.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    shape, count = shape_of(input), operator.index(r)
    if len(shape) != 1:
        raise RuntimeError(f"combinations: expects a vector, got shape {shape}")
    if count < 0:
        raise RuntimeError(f"combinations: r must not be negative, got {count}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = list(choose(range(shape[0]), count)) if count else []
    index = np.array(places, dtype=np.int64).reshape((-1, count) if count else (0,))
    return indexing.getitem(input, index=index)


def block_diag(*tensors: Any) -> Any:
    """The matrices one below and beside the other, with zeros around them.

    Vectors count as rows, numbers as matrices of one element.

    >>> import tapegrad as tg
    >>> tg.block_diag(tg.tensor([[1, 2]]), tg.tensor(3))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    if not tensors:
        return make(np.zeros((1, 0), get_default_dtype()), None)
    if any(len(shape_of(x)) > 2 for x in tensors):
        raise RuntimeError(
            f"block_diag: expects at most 2 dimensions, got shapes {_shapes(list(tensors))}"
        )
    blocks = [atleast_2d(x) for x in tensors]
    widths = [shape_of(x)[1] for x in blocks]
    rows = []
    for i, x in enumerate(blocks):
        before, after = sum(widths[:i]), sum(widths[i + 1 :])
        rows.append(ops.pad(x, widths=((0, 0), (before, after))))
    return cat(rows, 0)


# -- parting ----------------------------------------------------------------------------------
def unbind(input: Any, dim: int = 0, *, axis: Any = None) -> tuple[Any, ...]:
    """The slices along ``dim``, without that dimension, as a tuple of views.

    >>> import tapegrad as tg
    >>> tg.tensor([[1, 2], [3, 4]]).unbind()
    (tensor([1, 2]), tensor([3, 4]))
    """
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("unbind: expects at least 1 dimension, got a 0-d tensor")
    d = one_dim(dim if axis is None else axis, len(shape), "unbind")
    # One operation with many outputs, so that the gradient is one stack.
    return ops.unbind(input, axis=d)  # type: ignore[no-any-return]


def split(tensor: Any, split_size_or_sections: Any, dim: int = 0, *, axis: Any = None) -> Any:
    """Parts along ``dim``, as a tuple of views.

    ``split_size_or_sections``: the length of every part (the last may be shorter), or a sequence
    of lengths, which must add up to that of the dimension.

    >>> import tapegrad as tg
    >>> tg.split(tg.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    >>> tg.arange(5).split([1, 4])
    (tensor([0]), tensor([1, 2, 3, 4]))
    """
    shape = shape_of(tensor)
    if not shape:
        raise RuntimeError("split: expects at least 1 dimension, got a 0-d tensor")
    d = one_dim(dim if axis is None else axis, len(shape), "split")
    n = shape[d]
    if isinstance(split_size_or_sections, (tuple, list)):
        lengths = [operator.index(s) for s in split_size_or_sections]
        if sum(lengths) != n or any(s < 0 for s in lengths):
            raise RuntimeError(
                f"split: sizes {lengths} must add up to {n}, the length of dimension {d} of {shape}"
            )
    else:
        size = operator.index(split_size_or_sections)
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split: the size of the parts must be positive, not {size}")
        lengths = [min(size, n - start) for start in range(0, n, size)] if n else [0]
    return ops.split(tensor, axis=d, sizes=tuple(lengths))


def chunk(input: Any, chunks: int, dim: int = 0, *, axis: Any = None) -> tuple[Any, ...]:
    """At most ``chunks`` parts of equal length along ``dim`` (the last may be shorter), as views.

    >>> import tapegrad as tg
    >>> tg.arange(5).chunk(2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("chunk: expects at least 1 dimension, got a 0-d tensor")
    if chunks < 1:
        raise RuntimeError(f"chunk: chunks must be positive, not {chunks}")
    d = one_dim(dim if axis is None else axis, len(shape), "chunk")
    if not shape[d]:
        return ops.split(input, axis=d, sizes=(0,) * chunks)  # type: ignore[no-any-return]
    return split(input, -(-shape[d] // chunks), d)  # type: ignore[no-any-return]


def tensor_split(
    input: Any, indices_or_sections: Any, dim: int = 0, *, axis: Any = None
) -> tuple[Any, ...]:
    """Parts along ``dim``, as views: so many of nearly equal length, or cut at given places.

    >>> import tapegrad as tg
    >>> tg.tensor_split(tg.arange(5), 3)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    >>> tg.tensor_split(tg.arange(5), (1, 3))
    (tensor([0]), tensor([1, 2]), tensor([3, 4]))
    """
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("tensor_split: expects at least 1 dimension, got a 0-d tensor")
    d = one_dim(dim if axis is None else axis, len(shape), "tensor_split")
    n = shape[d]
    if isinstance(indices_or_sections, (tuple, list)):
        cuts = [0, *(slice(0, operator.index(i)).indices(n)[1] for i in indices_or_sections), n]
        indices = [(*[slice(None)] * d, slice(a, max(a, b))) for a, b in itertools.pairwise(cuts)]
        return tuple(indexing.getitem(input, index=i) for i in indices)
    count = operator.index(indices_or_sections)
    if count < 1:
        raise RuntimeError(f"tensor_split: the number of sections must be positive, not {count}")
    lengths = tuple(n // count + (i < n % count) for i in range(count))
    return ops.split(input, axis=d, sizes=lengths)  # type: ignore[no-any-return]


# -- repeating --------------------------------------------------------------------------------
def repeat(input: Any, *args: Any, repeats: Any = None) -> Any:
    """The whole tensor laid out so many times along each dimension (new ones in front).

    >>> import tapegrad as tg
    >>> tg.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    counts = sizes(or_named(args, repeats, "repeat", "repeats"), "repeat")
    shape = shape_of(input)
    if len(counts) < len(shape) or any(r < 0 for r in counts):
        raise RuntimeError(
            f"repeat: needs a count, not negative, for each of the {len(shape)} dimensions, "
            f"got {counts}"
        )
    shape = (1,) * (len(counts) - len(shape)) + shape
    once = tuple(m for n in shape for m in (1, n))
    many = tuple(m for r, n in zip(counts, shape, strict=True) for m in (r, n))
    wide = ops.expand(ops.reshape(input, shape=once), shape=many)
    result = ops.reshape(wide, shape=tuple(r * n for r, n in zip(counts, shape, strict=True)))
    # With all counts 1 nothing was copied; the result should be a tensor of its own.
    return ops.clone(result) if all(r == 1 for r in counts) else result


def tile(input: Any, *args: Any, dims: Any = None) -> Any:
    """As :meth:`repeat`, except that missing counts are taken as 1.

    >>> import tapegrad as tg
    >>> tg.tile(tg.tensor([[1], [2]]), (3,))
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    counts = sizes(or_named(args, dims, "tile", "dims"), "tile")
    return repeat(input, (1,) * (len(shape_of(input)) - len(counts)) + counts)


def repeat_interleave(
    input: Any, repeats: Any, dim: Any = None, *, axis: Any = None, output_size: Any = None
) -> Any:
    """Each element (or slice along ``dim``) so many times in a row.

    ``repeats``: an int, or one int for each slice. Without ``dim`` the tensor is flattened.

    >>> import tapegrad as tg
    >>> tg.repeat_interleave(tg.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    >>> tg.tensor([[1], [2]]).repeat_interleave(tg.tensor([1, 2]), dim=0)
    tensor([[1],
            [2],
            [2]])
    """
    dim = either(dim, axis, "repeat_interleave")
    if dim is None:
        input, dim = ravel(input), 0
    shape = shape_of(input)
    d = one_dim(dim, len(shape), "repeat_interleave")
    if not isinstance(repeats, (int, np.integer)):
        if isinstance(repeats, Tensor) and type(repeats._value) is Batched:
            raise refuse(
                "repeat_interleave with repeats that differ between examples",
                "How long the result is would differ too: call it outside vmap, or share the "
                "repeats (in_dims=None).",
            )
        counts = repeats.numpy() if isinstance(repeats, Tensor) else np.asarray(repeats)
        if counts.dtype.kind not in "iu" or counts.shape not in ((), (1,), (shape[d],)):
            raise RuntimeError(
                f"repeat_interleave: needs {shape[d]} integers, one for each slice of dimension "
                f"{d}, got shape {counts.shape} and dtype {counts.dtype}"
            )
        counts = np.broadcast_to(counts, (shape[d],))
        return index_select(input, d, np.repeat(np.arange(shape[d]), counts))
    if repeats < 0:
        raise RuntimeError(f"repeat_interleave: repeats must not be negative, got {repeats}")
    wide = expand(unsqueeze(input, d + 1), (*shape[: d + 1], int(repeats), *shape[d + 1 :]))
    return reshape(wide, (*shape[:d], shape[d] * int(repeats), *shape[d + 1 :]))


# -- padding ----------------------------------------------------------------------------------
def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """Elements added before and after, along the last dimensions.

    ``pad``: (before, after) of the last dimension, then of the one before it, and so on; negative
    widths cut off. ``mode``: "constant" (with ``value``, default 0), "reflect" (mirrored without
    the edge), "replicate" (the edge repeated) or "circular".

    Raises RuntimeError when a reflected or circular width is longer than the dimension has
    elements for.

    >>> import tapegrad as tg
    >>> tg.pad(tg.tensor([1, 2, 3]), (1, 2))
    tensor([0, 1, 2, 3, 0, 0])
    >>> tg.pad(tg.tensor([1, 2, 3]), (1, 2), mode="reflect")
    tensor([2, 1, 2, 3, 2, 1])
    """
    shape, widths = shape_of(input), sizes((pad,), "pad")
    n = len(shape)
    if len(widths) % 2 or len(widths) > 2 * n:
        raise RuntimeError(
            f"pad: widths {widths} must be pairs (before, after), for at most the {n} dimensions "
            f"of {shape}"
        )
    pairs = [(0, 0)] * n
    for i in range(len(widths) // 2):
        pairs[n - 1 - i] = (widths[2 * i], widths[2 * i + 1])
    if any(length + a + b < 0 for length, (a, b) in zip(shape, pairs, strict=True)):
        raise RuntimeError(f"pad: widths {widths} cut off more than shape {shape} has")
    if mode == "constant":
        return _pad_constant(input, pairs, 0 if value is None else value)
    if mode not in _WHERE_FROM:
        raise NotImplementedError(f"pad: mode {mode!r} is none of {['constant', *_WHERE_FROM]}")
    if value not in (None, 0):
        raise ValueError(f"pad: mode {mode!r} takes no value")
    for d, (a, b) in enumerate(pairs):
        if (a, b) != (0, 0):
            start, length = 0, shape[d]
            if mode == "circular":  # what goes round is what is not cut off
                start, length = max(-a, 0), length + min(a, 0) + min(b, 0)
            most = {"reflect": length - 1, "circular": length}.get(mode, math.inf if length else 0)
            if max(a, b) > most:
                raise RuntimeError(
                    f"pad: {mode} width {max(a, b)} is too large for dimension {d} of shape {shape}"
                )
            source = start + _WHERE_FROM[mode](np.arange(-a, shape[d] + b) - start, length)
            input = indexing.getitem(input, index=(*[slice(None)] * d, source))
    return input


#: For every place of the padded dimension, where its element comes from.
_WHERE_FROM: dict[str, Any] = {
    "reflect": lambda i, n: n - 1 - np.abs(n - 1 - np.abs(i)),
    "replicate": lambda i, n: np.clip(i, 0, n - 1),
    "circular": lambda i, n: i % n,
}


def _pad_constant(input: Any, pairs: list[tuple[int, int]], value: Any) -> Any:
    shape = shape_of(input)
    if any(a < 0 or b < 0 for a, b in pairs):
        inner = tuple(
            slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(shape, pairs, strict=True)
        )
        input = indexing.getitem(input, index=inner)
        pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
        shape = shape_of(input)
    if not isinstance(value, Tensor) and value == 0:
        return ops.pad(input, widths=tuple(pairs)) if shape else ops.clone(input)
    outer = tuple(n + a + b for n, (a, b) in zip(shape, pairs, strict=True))
    middle = tuple(slice(a, a + n) for n, (a, _) in zip(shape, pairs, strict=True))
    if isinstance(value, Tensor):
        board = ops.expand(ops.cast(value, dtype=dtype_of(input)), shape=outer)
    else:
        board = np.full(outer, value, dtype_of(input))
    return indexing.index_put(board, input, index=middle, accumulate=False)


METHODS: dict[str, Any] = {
    "chunk": chunk,
    "repeat": repeat,
    "repeat_interleave": repeat_interleave,
    "split": split,
    "tensor_split": tensor_split,
    "tile": tile,
    "unbind": unbind,
}
