"""Shapes: reshape, permute, expand and their kin."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ops import reductions
from ..ops import shaping as ops
from ..ops.indexing import getitem
from ..values import shape_of
from .dims import either, one_dim, or_named, sizes

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_tensors",
    "broadcast_to",
    "diag",
    "diag_embed",
    "diagonal",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "moveaxis",
    "movedim",
    "permute",
    "ravel",
    "reshape",
    "roll",
    "rot90",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "trace",
    "transpose",
    "tril",
    "triu",
    "unflatten",
    "unsqueeze",
]


def _rank(x: Any) -> int:
    return len(shape_of(x))


def _dims(dims: Any, ndim: int, what: str) -> tuple[int, ...]:
    """Distinct dimensions, of an int or a sequence of them."""
    found = tuple(
        one_dim(d, ndim, what) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))
    )
    if len(set(found)) != len(found):
        raise RuntimeError(f"{what}: a dimension appears twice in {dims}")
    return found


# -- the same elements in another shape -------------------------------------------------------
def reshape(input: Any, *args: Any, shape: Any = None) -> Any:
    """The same elements, in row-major order, in another shape; one length may be -1.

    ``shape``: a tuple, or the lengths one by one. A view where the memory allows it. Raises
    RuntimeError when the number of elements differs.

    >>> import tapegrad as tg
    >>> tg.arange(6).reshape(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    asked = sizes(or_named(args, shape, "reshape", "shape"), "reshape")
    wanted, found = list(asked), shape_of(input)
    count = math.prod(found)
    if wanted.count(-1) == 1:
        rest = math.prod(n for n in wanted if n != -1)
        if rest and count % rest == 0:
            wanted[wanted.index(-1)] = count // rest
    if any(n < 0 for n in wanted) or math.prod(wanted) != count:
        raise ShapeError(
            f"reshape: cannot make shape {asked} of the {count} elements of shape {found}"
        )
    return ops.reshape(input, shape=tuple(wanted))


def view(input: Any, *args: Any, size: Any = None) -> Any:
    """The same as :func:`reshape`: it copies only where the memory is not in row-major order.

    >>> import tapegrad as tg
    >>> tg.arange(6).view(3, 2).shape
    (3, 2)
    """
    shape = or_named(args, size, "view", "size")
    if len(shape) == 1 and isinstance(shape[0], (np.dtype, type, str)):
        raise TypeError(
            "view(dtype) would read the bytes as another dtype, which tapegrad has not: "
            "use x.to(dtype) to convert the values"
        )
    return reshape(input, *shape)


def reshape_as(input: Any, other: Any) -> Any:
    """The elements of ``input`` in the shape of ``other``.

    >>> import tapegrad as tg
    >>> tg.arange(6).reshape_as(tg.zeros(3, 2)).shape
    (3, 2)
    """
    return reshape(input, shape_of(other))


def ravel(input: Any) -> Any:
    """All elements in one dimension.

    >>> import tapegrad as tg
    >>> tg.tensor([[1, 2], [3, 4]]).ravel()
    tensor([1, 2, 3, 4])
    """
    return reshape(input, -1) if math.prod(shape_of(input)) else reshape(input, 0)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions from ``start_dim`` to ``end_dim`` (both included) merged into one.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3, 4).flatten(1).shape
    (2, 12)
    """
    shape = shape_of(input)
    first, last = one_dim(start_dim, len(shape), "flatten"), one_dim(end_dim, len(shape), "flatten")
    if first > last:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    merged = math.prod(shape[first : last + 1])
    return ops.reshape(input, shape=(*shape[:first], merged, *shape[last + 1 :]))


def unflatten(input: Any, dim: int, sizes: Any) -> Any:
    """One dimension parted into several of the given ``sizes``; one of them may be -1.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 12).unflatten(1, (3, -1)).shape
    (2, 3, 4)
    """
    shape = shape_of(input)
    d = one_dim(dim, len(shape), "unflatten")
    if not shape:
        raise ShapeError(
            f"unflatten: a 0-d tensor has no dimension to part into {tuple(sizes)}; use reshape"
        )
    parts = list(sizes)
    rest = math.prod(n for n in parts if n != -1)
    if parts.count(-1) == 1 and rest:
        parts[parts.index(-1)] = shape[d] // rest
    if math.prod(parts) != shape[d]:
        raise ShapeError(
            f"unflatten: sizes {tuple(sizes)} do not multiply to {shape[d]} (dim {dim})"
        )
    return ops.reshape(input, shape=(*shape[:d], *parts, *shape[d + 1 :]))


def squeeze(input: Any, dim: Any = None, *, axis: Any = None) -> Any:
    """Without the dimensions of length 1 (of ``dim``, an int or a tuple; default: all of them).

    >>> import tapegrad as tg
    >>> tg.zeros(1, 3, 1).squeeze().shape, tg.zeros(1, 3, 1).squeeze(0).shape
    ((3,), (3, 1))
    """
    dim, shape = either(dim, axis, "squeeze"), shape_of(input)
    dims = range(len(shape)) if dim is None else _dims(dim, len(shape), "squeeze")
    kept = tuple(n for d, n in enumerate(shape) if n != 1 or d not in dims)
    return ops.reshape(input, shape=kept)


def unsqueeze(input: Any, dim: Any = None, *, axis: Any = None) -> Any:
    """With a new dimension of length 1 at position ``dim``.

    >>> import tapegrad as tg
    >>> tg.zeros(3).unsqueeze(0).shape, tg.zeros(3).unsqueeze(-1).shape
    ((1, 3), (3, 1))
    """
    shape = shape_of(input)
    d = one_dim(either(dim, axis, "unsqueeze"), len(shape), "unsqueeze", insert=True)
    return ops.reshape(input, shape=(*shape[:d], 1, *shape[d:]))


def _atleast(tensors: Any, reach: Any) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], (tuple, list)):
        return reach(tensors[0])
    many = tensors[0] if len(tensors) == 1 else tensors
    return tuple(reach(x) for x in many)


def atleast_1d(*tensors: Any) -> Any:
    """Each with at least one dimension; several give a tuple.

    >>> import tapegrad as tg
    >>> tg.atleast_1d(tg.tensor(1.0))
    tensor([1.])
    """
    return _atleast(tensors, lambda x: x if _rank(x) else ops.reshape(x, shape=(1,)))


def atleast_2d(*tensors: Any) -> Any:
    """Each with at least two dimensions, new ones in front; several give a tuple.

    >>> import tapegrad as tg
    >>> tg.atleast_2d(tg.tensor([1.0, 2.0]))
    tensor([[1., 2.]])
    """

    def reach(x: Any) -> Any:
        return x if _rank(x) >= 2 else ops.reshape(x, shape=(1, *(shape_of(x) or (1,))))

    return _atleast(tensors, reach)


def atleast_3d(*tensors: Any) -> Any:
    """Each with at least three dimensions, as NumPy places them; several give a tuple.

    >>> import tapegrad as tg
    >>> tg.atleast_3d(tg.zeros(2)).shape, tg.atleast_3d(tg.zeros(2, 3)).shape
    ((1, 2, 1), (2, 3, 1))
    """

    def reach(x: Any) -> Any:
        shape = shape_of(x)
        if len(shape) >= 3:
            return x
        return ops.reshape(x, shape=(*shape, 1) if len(shape) == 2 else (1, *(shape or (1,)), 1))

    return _atleast(tensors, reach)


# -- dimensions in another order --------------------------------------------------------------
def permute(input: Any, *args: Any, dims: Any = None) -> Any:
    """The dimensions in another order, a tuple or one by one: a view.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3, 4).permute(2, 0, 1).shape
    (4, 2, 3)
    """
    n = _rank(input)
    dims = sizes(or_named(args, dims, "permute", "dims"), "permute")
    axes = tuple(one_dim(d, n, "permute") for d in dims)
    if sorted(axes) != list(range(n)):
        raise RuntimeError(f"permute: dims {axes} must name each of the {n} dimensions once")
    return ops.permute(input, axes=axes)


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged: a view.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3).transpose(0, 1).shape
    (3, 2)
    """
    n = _rank(input)
    axes = list(range(n))
    a, b = one_dim(dim0, n, "transpose"), one_dim(dim1, n, "transpose")
    if n:
        axes[a], axes[b] = b, a
    return ops.permute(input, axes=tuple(axes))


swapdims = transpose


def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """Two dimensions exchanged, by NumPy's name: :func:`transpose`.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3).swapaxes(0, 1).shape
    (3, 2)
    """
    return transpose(input, axis0, axis1)


def t(input: Any) -> Any:
    """The transpose of a matrix; a vector or a scalar stays as it is.

    >>> import tapegrad as tg
    >>> tg.tensor([[1, 2], [3, 4]]).t()
    tensor([[1, 3],
            [2, 4]])
    """
    if _rank(input) > 2:
        raise RuntimeError(f"t: expects at most 2 dimensions, got shape {shape_of(input)}: use .mT")
    return _reversed(input)


def _reversed(input: Any) -> Any:
    return ops.permute(input, axes=tuple(reversed(range(_rank(input)))))


def _matrix_transpose(input: Any) -> Any:
    n = _rank(input)
    if n < 2:
        raise RuntimeError(f"mT: expects at least 2 dimensions, got shape {shape_of(input)}")
    return ops.permute(input, axes=(*range(n - 2), n - 1, n - 2))


def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Dimensions moved to new positions, the others kept in order: a view.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3, 4).movedim(0, -1).shape
    (3, 4, 2)
    """
    n = _rank(input)
    start, end = _dims(source, n, "movedim"), _dims(destination, n, "movedim")
    if len(start) != len(end):
        raise RuntimeError(
            f"movedim: source {source} and destination {destination} must be of one length"
        )
    axes = [d for d in range(n) if d not in start]
    for position, d in sorted(zip(end, start, strict=True)):
        axes.insert(position, d)
    return ops.permute(input, axes=tuple(axes[:n]))


moveaxis = movedim


# -- repeated by broadcasting -----------------------------------------------------------------
def expand(input: Any, *args: Any, size: Any = None) -> Any:
    """Dimensions of length 1 stretched, and new ones put in front; -1 keeps a length. A view.

    Raises ShapeError when a length other than 1 would change.

    >>> import tapegrad as tg
    >>> tg.tensor([[1], [2]]).expand(-1, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    wanted = list(sizes(or_named(args, size, "expand", "size"), "expand"))
    shape = shape_of(input)
    extra = len(wanted) - len(shape)
    for d, n in enumerate(wanted):
        known = shape[d - extra] if d >= extra >= 0 else None
        if n == -1 and known is not None:
            wanted[d] = known
        elif n < 0 or extra < 0 or (known is not None and known not in (1, n)):
            extra = min(extra, -1)
    if extra < 0:
        raise ShapeError(
            f"expand: shape {shape} does not expand to {tuple(wanted)}: aligned at the last "
            "dimension, a length must be equal, 1, or new in front (-1 keeps a length)"
        )
    return ops.expand(input, shape=tuple(wanted))


def expand_as(input: Any, other: Any) -> Any:
    """``input`` expanded to the shape of ``other``.

    >>> import tapegrad as tg
    >>> tg.tensor([1, 2]).expand_as(tg.zeros(2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return expand(input, shape_of(other))


def broadcast_to(input: Any, *shape: Any) -> Any:
    """``input`` expanded to ``shape``: a view.

    >>> import tapegrad as tg
    >>> tg.broadcast_to(tg.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return expand(input, *shape)


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All expanded to the one shape that they broadcast to.

    >>> import tapegrad as tg
    >>> a, b = tg.broadcast_tensors(tg.zeros(3, 1), tg.zeros(2))
    >>> a.shape, b.shape
    ((3, 2), (3, 2))
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    found = [shape_of(x) for x in tensors]
    try:
        shape = np.broadcast_shapes(*found)
    except ValueError:
        raise ShapeError(
            f"broadcast_tensors: shapes {', '.join(map(str, found))} do not broadcast: aligned at "
            "the last dimension, lengths must be equal or 1"
        ) from None
    return tuple(ops.expand(x, shape=shape) for x in tensors)


# -- moved about ------------------------------------------------------------------------------
def flip(input: Any, *args: Any, dims: Any = None, axis: Any = None) -> Any:
    """The order of the elements reversed along ``dims`` (ints or a tuple): a copy.

    >>> import tapegrad as tg
    >>> tg.tensor([[1, 2], [3, 4]]).flip(1)
    tensor([[2, 1],
            [4, 3]])
    """
    given = or_named(args, either(dims, axis, "flip"), "flip", "dims")
    axes = _dims(sizes(given, "flip"), _rank(input), "flip")
    return ops.flip(input, axes=axes if _rank(input) else ())


def fliplr(input: Any) -> Any:
    """The columns (dimension 1) in reverse order.

    >>> import tapegrad as tg
    >>> tg.fliplr(tg.tensor([[1, 2], [3, 4]]))
    tensor([[2, 1],
            [4, 3]])
    """
    if _rank(input) < 2:
        raise RuntimeError(f"fliplr: expects at least 2 dimensions, got shape {shape_of(input)}")
    return ops.flip(input, axes=(1,))


def flipud(input: Any) -> Any:
    """The rows (dimension 0) in reverse order.

    >>> import tapegrad as tg
    >>> tg.flipud(tg.tensor([[1, 2], [3, 4]]))
    tensor([[3, 4],
            [1, 2]])
    """
    if _rank(input) < 1:
        raise RuntimeError("flipud: expects at least 1 dimension, got a 0-d tensor")
    return ops.flip(input, axes=(0,))


def roll(input: Any, shifts: Any, dims: Any = None, *, axis: Any = None) -> Any:
    """The elements moved ``shifts`` places along ``dims``; those pushed out come in in front.

    Without ``dims`` the elements are moved in row-major order, across rows. A copy.

    >>> import tapegrad as tg
    >>> tg.roll(tg.tensor([1, 2, 3, 4]), 1)
    tensor([4, 1, 2, 3])
    """
    dims, shape = either(dims, axis, "roll"), shape_of(input)
    moved = tuple(
        operator.index(s) for s in (shifts if isinstance(shifts, (tuple, list)) else (shifts,))
    )
    if dims is None:
        if len(moved) != 1:
            raise RuntimeError(f"roll: several shifts {moved} need as many dims")
        return reshape(ops.roll(ravel(input), shifts=moved, axes=(0,)), shape)
    named = dims if isinstance(dims, (tuple, list)) else (dims,)
    axes = tuple(one_dim(d, len(shape), "roll") for d in named)
    if len(axes) != len(moved):
        raise RuntimeError(f"roll: shifts {moved} and dims {tuple(named)} must be of one length")
    return ops.roll(input, shifts=moved, axes=axes) if shape else input


def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """``k`` quarter turns in the plane of two dimensions, from the first towards the second.

    >>> import tapegrad as tg
    >>> tg.rot90(tg.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    plane = _dims(tuple(dims), _rank(input), "rot90")
    if len(plane) != 2:
        raise RuntimeError(f"rot90: needs two dims, got {tuple(dims)}")
    a, b = plane
    k %= 4
    if k == 0:
        return ops.clone(input)
    if k == 2:
        return ops.flip(input, axes=(a, b))
    if k == 1:
        return transpose(ops.flip(input, axes=(b,)), a, b)
    return ops.flip(transpose(input, a, b), axes=(b,))


# -- triangles and diagonals ------------------------------------------------------------------
def _matrix(input: Any, what: str) -> None:
    if _rank(input) < 2:
        raise RuntimeError(f"{what}: expects at least 2 dimensions, got shape {shape_of(input)}")


def tril(input: Any, diagonal: int = 0) -> Any:
    """The lower triangle of the last two dimensions, up to ``diagonal``; 0 elsewhere.

    ``diagonal``: 0 the main one, positive above it, negative below.

    >>> import tapegrad as tg
    >>> tg.tril(tg.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """
    _matrix(input, "tril")
    return ops.tril(input, offset=operator.index(diagonal))


def triu(input: Any, diagonal: int = 0) -> Any:
    """The upper triangle of the last two dimensions, from ``diagonal`` on; 0 elsewhere.

    >>> import tapegrad as tg
    >>> tg.triu(tg.ones(2, 2), 1)
    tensor([[0., 1.],
            [0., 0.]])
    """
    _matrix(input, "triu")
    return ops.triu(input, offset=operator.index(diagonal))


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements on a diagonal of two dimensions, which becomes the last dimension: a view.

    ``offset``: 0 the main diagonal, positive above it, negative below.

    >>> import tapegrad as tg
    >>> tg.diagonal(tg.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    n = _rank(input)
    _matrix(input, "diagonal")
    a, b = _dims((dim1, dim2), n, "diagonal")
    return ops.diagonal(input, offset=operator.index(offset), axis1=a, axis2=b)


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices with the last dimension of ``input`` on a diagonal, and zeros elsewhere.

    >>> import tapegrad as tg
    >>> tg.diag_embed(tg.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("diag_embed: expects at least 1 dimension, got a 0-d tensor")
    offset = operator.index(offset)
    a, b = _dims((dim1, dim2), len(shape) + 1, "diag_embed")
    if a > b:  # the diagonal of exchanged dimensions lies on the other side
        a, b, offset = b, a, -offset
    length = shape[-1] + abs(offset)
    wanted = list(shape[:-1])
    wanted.insert(a, length)
    wanted.insert(b, length)
    return ops.put_diagonal(input, offset=offset, axis1=a, axis2=b, shape=tuple(wanted))


def diag(input: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal.

    >>> import tapegrad as tg
    >>> tg.diag(tg.tensor([[1, 2], [3, 4]])), tg.diag(tg.tensor([1, 2]))
    (tensor([1, 4]), tensor([[1, 0],
            [0, 2]]))
    """
    n = _rank(input)
    if n not in (1, 2):
        raise RuntimeError(f"diag: expects 1 or 2 dimensions, got shape {shape_of(input)}")
    if n == 1:
        return diag_embed(input, diagonal)
    return ops.clone(ops.diagonal(input, offset=operator.index(diagonal), axis1=0, axis2=1))


def trace(input: Any) -> Any:
    """The sum of the diagonal of a matrix: sum_i x[i, i].

    >>> import tapegrad as tg
    >>> tg.trace(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    if _rank(input) != 2:
        raise RuntimeError(f"trace: expects a matrix, got shape {shape_of(input)}")
    taken = ops.diagonal(input, offset=0, axis1=0, axis2=1)
    return reductions.sum(taken, axis=(0,), keepdims=False)


def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """``length`` slices along ``dim``, from ``start`` on: a view.

    >>> import tapegrad as tg
    >>> tg.tensor([1, 2, 3, 4]).narrow(0, 1, 2)
    tensor([2, 3])
    """
    shape = shape_of(input)
    d = one_dim(dim, len(shape), "narrow")
    if not shape:
        raise RuntimeError(
            "narrow: a 0-d tensor has no dimension to take slices of; use reshape(1) first"
        )
    size, first = shape[d], operator.index(start)
    first = first + size if first < 0 else first
    if not 0 <= first <= first + length <= size:
        raise RuntimeError(
            f"narrow: start {start} and length {length} go beyond dimension {d} of size {size}"
        )
    return getitem(input, index=(*[slice(None)] * d, slice(first, first + length)))


def select(input: Any, dim: int, index: int) -> Any:
    """The slice at ``index`` along ``dim``, without that dimension: a view.

    >>> import tapegrad as tg
    >>> tg.tensor([[1, 2], [3, 4]]).select(1, 0)
    tensor([1, 3])
    """
    d = one_dim(dim, _rank(input), "select")
    return getitem(input, index=(*[slice(None)] * d, operator.index(index)))


_REVERSED = property(
    _reversed, doc="The dimensions in reverse order (of a matrix, its transpose): a view."
)
_MATRIX_TRANSPOSE = property(_matrix_transpose, doc="The last two dimensions exchanged: a view.")

METHODS: dict[str, Any] = {
    **{
        name: globals()[name] for name in __all__ if not name.startswith(("atleast", "broadcast_t"))
    },
    "broadcast_to": broadcast_to,
    "expand": expand,
    "expand_as": expand_as,
    "narrow": narrow,
    "reshape_as": reshape_as,
    "select": select,
    "view": view,
    "view_as": reshape_as,
    "T": _REVERSED,
    "H": property(t, doc="The transpose of a matrix (conjugate, were it complex): a view."),
    "mT": _MATRIX_TRANSPOSE,
    "mH": _MATRIX_TRANSPOSE,
}
__all__ += ["narrow", "select"]
