"""Products of matrices: matmul, the operation most of the time of a network goes to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..families import bilinear
from ..registry import Sample
from ..values import settle, shape_of
from .shaping import M23, M234, permute, reshape, sum_to


def swap(x: Any) -> Any:
    """Transpose the last two dimensions."""
    n = len(shape_of(x))
    return permute(x, axes=(*range(n - 2), n - 1, n - 2))


def _matmul(a: Any, b: Any) -> Any:
    try:
        if type(b) is ndarray and b.ndim == 2 and type(a) is ndarray and a.ndim > 2:
            # A batch times one matrix is a single product of a tall matrix.
            lead = a.shape[:-1]
            tall = np.matmul(a.reshape(math.prod(lead), a.shape[-1]), b)
            return tall.reshape(*lead, b.shape[1])
        y = np.matmul(a, b)
    except ValueError as error:
        raise ValueError(_misfit(shape_of(a), shape_of(b), str(error))) from None
    return y if type(y) is ndarray else settle(y)


def _refuse_scalars(a: Any, b: Any) -> Any:
    # Two Python floats come here straight from the recorder, which adds no name to the message.
    name = "matmul: " if type(a) is float else ""
    raise ShapeError(name + _misfit((), (), ""))


def _misfit(a: tuple[int, ...], b: tuple[int, ...], otherwise: str) -> str:
    """What is wrong with two shapes."""
    if not a or not b:
        return (
            f"both operands need at least one dimension, they have {len(a)} and {len(b)}: "
            "use * to multiply by a scalar"
        )
    k = b[-2] if len(b) > 1 else b[0]
    if a[-1] != k:
        place = "second to last" if len(b) > 1 else "only"
        return (
            f"shapes {a} and {b} cannot be multiplied: the last dimension of the first ({a[-1]}) "
            f"must equal the {place} one of the second ({k}). Is a transpose (.T, .mT) missing?"
        )
    if len(a) > 2 and len(b) > 2:
        return (
            f"the batch dimensions {a[:-2]} and {b[:-2]} do not fit: aligned at the last one, "
            "lengths must be equal or 1"
        )
    return otherwise


def _left(g: Any, _y: Any, _a: Any, b: Any) -> Any:
    if type(g) is ndarray and type(b) is ndarray and g.ndim == 2 and b.ndim == 2:
        return np.matmul(g, b.T)  # two plain matrices: straight to the product
    sa, sb, sg = shape_of(_a), shape_of(b), shape_of(g)
    if len(sa) == len(sb) == 2:
        return matmul(g, swap(b))
    if len(sb) == 1:
        if len(sa) == 1:
            return g * b
        g, sg = reshape(g, shape=(*sg, 1)), (*sg, 1)
        b, sb = reshape(b, shape=(*sb, 1)), (*sb, 1)
    elif len(sa) == 1:
        sg = (*sg[:-1], 1, sg[-1])
        g = reshape(g, shape=sg)
    kept, summed = _batch(sa[:-2], sg[:-2])
    rows, inner, columns = sg[-2], sb[-2], sg[-1]
    if summed and rows * inner > columns * (rows + inner):
        # Sum over the dimensions that stretched a inside the product, as a longer inner dimension:
        # copies of g and b in another order, but no batch of products that are then added.
        n = len(sg) - 2
        b = reshape(b, shape=(*[1] * (n + 2 - len(sb)), *sb))
        g = _group(g, [*kept, n], [*summed, n + 1])
        b = swap(_group(b, [*kept, n], [*summed, n + 1]))
    else:
        b = swap(b)
    return _collect(matmul(g, b), sa)


def _right(g: Any, _y: Any, a: Any, _b: Any) -> Any:
    if type(g) is ndarray and type(a) is ndarray and g.ndim == 2 and a.ndim == 2:
        return np.matmul(a.T, g)
    sa, sb, sg = shape_of(a), shape_of(_b), shape_of(g)
    if len(sa) == len(sb) == 2:
        return matmul(swap(a), g)
    if len(sb) == 1:
        if len(sa) == 1:
            return g * a
        sg = (*sg, 1)
        g = reshape(g, shape=sg)
    elif len(sa) == 1:
        sg = (*sg[:-1], 1, sg[-1])
        g = reshape(g, shape=sg)
        a, sa = reshape(a, shape=(1, *sa)), (1, *sa)
    kept, summed = _batch(sb[:-2], sg[:-2])
    rows, inner, columns = sg[-2], sa[-1], sg[-1]
    in_order = not kept or not summed or max(kept) < min(summed)  # then nothing is copied
    if summed and (in_order or inner * columns > rows * (inner + columns)):
        n = len(sg) - 2
        a = reshape(a, shape=(*[1] * (n + 2 - len(sa)), *sa))
        a = swap(_rows(a, kept, [*summed, n], n + 1))
        g = _rows(g, kept, [*summed, n], n + 1)
    else:
        a = swap(a)
    return _collect(matmul(a, g), sb)


def _batch(own: tuple[int, ...], full: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """The batch dimensions of the result that an operand has, and those that stretched it."""
    padded = (*[1] * (len(full) - len(own)), *own)
    summed = [i for i, (m, n) in enumerate(zip(padded, full, strict=True)) if m == 1 and n != 1]
    return [i for i in range(len(full)) if i not in summed], summed


def _group(x: Any, first: list[int], last: list[int]) -> Any:
    """The dimensions ``first`` in order, then all of ``last`` as one."""
    shape = shape_of(x)
    x = _permuted(x, [*first, *last])
    return _in_shape(x, (*[shape[i] for i in first], math.prod(shape[i] for i in last)))


def _rows(x: Any, first: list[int], middle: list[int], last: int) -> Any:
    """The dimensions ``first``, then all of ``middle`` as one, then ``last``."""
    shape = shape_of(x)
    x = _permuted(x, [*first, *middle, last])
    rows = math.prod(shape[i] for i in middle)
    return _in_shape(x, (*[shape[i] for i in first], rows, shape[last]))


def _permuted(x: Any, axes: list[int]) -> Any:
    return x if axes == sorted(axes) else permute(x, axes=tuple(axes))


def _collect(product: Any, shape: tuple[int, ...]) -> Any:
    """A product in the operand's shape, summed over the batch dimensions that are left."""
    found = shape_of(product)
    if math.prod(found) != math.prod(shape):
        padded = (*[1] * (len(found) - len(shape)), *shape[:-2], *found[-2:])
        product = sum_to(product, shape=padded[-len(found) :])
    return _in_shape(product, shape)


def _in_shape(x: Any, shape: tuple[int, ...]) -> Any:
    return x if shape_of(x) == shape else reshape(x, shape=shape)


M243 = M234.transpose(0, 2, 1).copy()

matmul = bilinear(
    "matmul",
    _matmul,
    _left,
    _right,
    scalar=_refuse_scalars,
    elementwise=True,  # the lean recorder for two operands; nothing is broadcast by it
    samples=[
        Sample(M23, M23.T.copy()),
        Sample(M23, M23[0]),
        Sample(M23[:, 0].copy(), M23),
        Sample(M23[0], M23[1]),
        Sample(M234, M243[0]),
        Sample(M23 @ M234, M243[:1]),
        Sample(M234[:, None], M243),
        Sample(M23[0], M234),
        Sample(M234, M234[0, 0]),
        Sample(M23, M234),
    ],
    doc="""The product of two matrices, of a matrix and a vector, or of batches of them.

    y[..., i, j] = Σ_k a[..., i, k] · b[..., k, j]

    ``input``, ``other``: with one dimension, a vector: two vectors give their dot product, a
    matrix and a vector a vector; with more, matrices in the last two dimensions, and the
    dimensions before them broadcast. The operator ``@`` is this function.

    Raises ShapeError (a RuntimeError) when the inner dimensions differ, the batches do not
    broadcast, or an operand is 0-d.

    >>> import tapegrad as tg
    >>> tg.matmul(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """,
)
