"""Products of vectors, matrices and tensors, with torch's names."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

from ..errors import ShapeError
from ..ops import products as ops
from ..ops.contractions import LETTERS
from ..ops.contractions import einsum as contract
from ..ops.indexing import getitem
from ..ops.shaping import permute, reshape, stack
from ..tensors import Tensor, make
from ..values import NUMBERS, full_like_value, shape_of
from .dims import one_dim

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "cross",
    "dot",
    "einsum",
    "ger",
    "inner",
    "kron",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vander",
    "vdot",
]

matmul = ops.matmul


def _need(what: str, **operands: tuple[Any, int]) -> None:
    """Refuse operands of the wrong number of dimensions."""
    for name, (x, ndim) in operands.items():
        found = shape_of(x)
        if len(found) != ndim:
            raise ShapeError(
                f"{what}: {name} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {found}; "
                "matmul (@) takes vectors, matrices and batches of them"
            )


def mm(input: Any, mat2: Any) -> Any:
    """The product of two matrices, without broadcasting: y_ij = Σ_k a_ik b_kj.

    ``input``: (n, k), ``mat2``: (k, m). Raises ShapeError for anything else.

    >>> import tapegrad as tg
    >>> tg.mm(tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    _need("mm", input=(input, 2), mat2=(mat2, 2))
    return matmul(input, mat2)


def bmm(input: Any, mat2: Any) -> Any:
    """The products of two batches of matrices, one by one, without broadcasting.

    ``input``: (b, n, k), ``mat2``: (b, k, m). Raises ShapeError for anything else.

    >>> import tapegrad as tg
    >>> tg.bmm(tg.ones(10, 3, 4), tg.ones(10, 4, 5)).shape
    (10, 3, 5)
    """
    _need("bmm", input=(input, 3), mat2=(mat2, 3))
    if shape_of(input)[0] != shape_of(mat2)[0]:
        raise ShapeError(
            f"bmm: the batches of {shape_of(input)} and {shape_of(mat2)} differ; matmul broadcasts"
        )
    return matmul(input, mat2)


def mv(input: Any, vec: Any) -> Any:
    """The product of a matrix (n, k) and a vector (k,).

    >>> import tapegrad as tg
    >>> tg.mv(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 0.5]))
    tensor([2., 5.])
    """
    _need("mv", input=(input, 2), vec=(vec, 1))
    return matmul(input, vec)


def dot(input: Any, tensor: Any) -> Any:
    """The dot product Σ a_i b_i of two vectors of the same length.

    >>> import tapegrad as tg
    >>> tg.dot(tg.tensor([2.0, 3.0]), tg.tensor([2.0, 1.0]))
    tensor(7.)
    """
    _need("dot", input=(input, 1), tensor=(tensor, 1))
    return matmul(input, tensor)


def vdot(input: Any, other: Any) -> Any:
    """The dot product of two vectors; for real numbers the same as :func:`dot`.

    >>> import tapegrad as tg
    >>> tg.vdot(tg.tensor([2.0, 3.0]), tg.tensor([2.0, 1.0]))
    tensor(7.)
    """
    _need("vdot", input=(input, 1), other=(other, 1))
    return matmul(input, other)


def inner(input: Any, other: Any) -> Any:
    """The sum of products over the last dimension of both: y[i.., j..] = Σ_k a[i.., k] b[j.., k].

    A 0-d operand multiplies the other. Raises ShapeError when the last dimensions differ.

    >>> import tapegrad as tg
    >>> tg.inner(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    if not shape_of(input) or not shape_of(other):
        return input * other
    last = len(shape_of(input)) - 1, len(shape_of(other)) - 1
    return _contracted(input, other, [last[0]], [last[1]], "inner")


def outer(input: Any, vec2: Any) -> Any:
    """The products of every element of one vector with every one of another: y_ij = a_i b_j.

    >>> import tapegrad as tg
    >>> tg.outer(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 10.0]))
    tensor([[ 1., 10.],
            [ 2., 20.]])
    """
    _need("outer", input=(input, 1), vec2=(vec2, 1))
    return reshape(input, shape=(*shape_of(input), 1)) * vec2


ger = outer


def _plus(input: Any, product: Any, beta: Any, alpha: Any) -> Any:
    """beta · input + alpha · product; with beta = 0 the input is ignored, NaN and all."""
    if not (type(alpha) in NUMBERS and alpha == 1):
        product = product * alpha
    if type(beta) in NUMBERS:
        if beta == 0:
            return product
        if beta == 1:
            return input + product
    return input * beta + product


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta · input + alpha · (mat1 @ mat2), for matrices; ``input`` broadcasts.

    With ``beta=0`` the input is ignored, NaN and all. ``beta`` and ``alpha`` may be tensors.

    >>> import tapegrad as tg
    >>> tg.addmm(tg.ones(2), tg.eye(2), tg.tensor([[1.0, 2.0], [3.0, 4.0]]), beta=2)
    tensor([[3., 4.],
            [5., 6.]])
    """
    _need("addmm", mat1=(mat1, 2), mat2=(mat2, 2))
    return _plus(input, matmul(mat1, mat2), beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta · input + alpha · (mat @ vec), for a matrix and a vector.

    >>> import tapegrad as tg
    >>> tg.addmv(tg.ones(2), tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.ones(2))
    tensor([4., 8.])
    """
    _need("addmv", mat=(mat, 2), vec=(vec, 1))
    return _plus(input, matmul(mat, vec), beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta · input + alpha · outer(vec1, vec2), for two vectors.

    >>> import tapegrad as tg
    >>> tg.addr(tg.ones(2, 2), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 10.0]))
    tensor([[ 2., 11.],
            [ 3., 21.]])
    """
    return _plus(input, outer(vec1, vec2), beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta · input + alpha · bmm(batch1, batch2), for batches of matrices; ``input`` broadcasts.

    >>> import tapegrad as tg
    >>> tg.baddbmm(tg.ones(1), tg.ones(2, 1, 3), tg.ones(2, 3, 2), alpha=0.5)
    tensor([[[2.5000, 2.5000]],
    <BLANKLINE>
            [[2.5000, 2.5000]]])
    """
    return _plus(input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta · input + alpha · Σ_b batch1[b] @ batch2[b].

    >>> import tapegrad as tg
    >>> tg.addbmm(tg.zeros(1, 2), tg.ones(2, 1, 3), tg.ones(2, 3, 2))
    tensor([[6., 6.]])
    """
    _need("addbmm", batch1=(batch1, 3), batch2=(batch2, 3))
    total = _contracted(batch1, batch2, [0, 2], [0, 1], "addbmm")
    return _plus(input, total, beta, alpha)


# -- over named or numbered dimensions ----------------------------------------------------------
def einsum(equation: str, *operands: Any) -> Any:
    """Sums of products over named dimensions (Einstein's convention).

    ``equation``: a letter for every dimension of every operand, terms parted by commas, then
    ``->`` and the letters of the result: ``"bij,bjk->bik"``. A letter that is not in the result is
    summed over; one that is repeated within an operand takes the diagonal; ``...`` stands for any
    dimensions before, between or after (they broadcast); without ``->`` the result has the letters
    that occur once, in alphabetical order. The operands may also be given as
    ``einsum(a, [0, 1], b, [1, 2], [0, 2])``. Three or more are contracted in the cheapest order.

    Raises ShapeError (a RuntimeError) when the equation does not fit the operands.

    >>> import tapegrad as tg
    >>> a = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tg.einsum("ii->i", a), tg.einsum("ij,kj->ik", a, a)
    (tensor([1., 4.]), tensor([[ 5., 11.],
            [11., 25.]]))
    """
    if not isinstance(equation, str):
        equation, operands = _from_sublists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    shapes = tuple(len(shape_of(x)) for x in operands)
    return contract(*operands, subscripts=_canonical(equation, shapes))


def _from_sublists(args: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The equation of ``einsum(a, [0, 1], b, [1, 2], [0, 2])``."""

    def term(sublist: Any) -> str:
        try:
            return "".join("..." if i is Ellipsis else LETTERS[operator.index(i)] for i in sublist)
        except (TypeError, IndexError):
            raise TypeError(
                f"einsum: expected an equation, or a list of numbers from 0 to {len(LETTERS) - 1} "
                f"after each operand, not {sublist!r}"
            ) from None

    pairs = len(args) // 2
    left = ",".join(term(args[2 * i + 1]) for i in range(pairs))
    right = "->" + term(args[-1]) if len(args) % 2 else ""
    return left + right, tuple(args[2 * i] for i in range(pairs))


@functools.lru_cache(maxsize=1024)
def _canonical(equation: str, ranks: tuple[int, ...]) -> str:
    """The equation with a letter for every dimension and the result written out."""

    def wrong(why: str) -> ShapeError:
        return ShapeError(f"einsum: {why}, in {equation!r} for operands of {ranks} dimensions")

    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if not ranks:
        raise wrong("there are no operands")
    if len(terms) != len(ranks):
        raise wrong(f"{len(terms)} terms but {len(ranks)} operands")
    for term in (*terms, right):
        rest = term.replace("...", "", 1)
        if not all(c in LETTERS for c in rest):
            raise wrong(f"{term!r} must be letters and at most one '...'")
    named = {c for c in text if c in LETTERS}
    spare = [c for c in LETTERS if c not in named]
    extra = []
    for term, rank in zip(terms, ranks, strict=True):
        count = rank - len(term.replace("...", ""))
        if count < 0 or (count and "..." not in term):
            raise wrong(f"{term!r} does not name the {rank} dimensions of its operand")
        extra.append(count)
    widest = max(extra)
    if widest > len(spare):
        raise wrong("there are more dimensions than letters")
    ellipsis = "".join(spare[:widest])
    full = [t.replace("...", ellipsis[widest - n :]) for t, n in zip(terms, extra, strict=True)]
    if arrow:
        if len(set(right.replace("...", ""))) != len(right.replace("...", "")):
            raise wrong(f"a letter appears twice in the result {right!r}")
        result = right.replace("...", ellipsis)
    else:
        result = ellipsis + "".join(sorted(c for c in named if left.count(c) == 1))
    unknown = set(result) - set("".join(full))
    if unknown:
        raise wrong(f"{sorted(unknown)} of the result is in no operand")
    return ",".join(full) + "->" + result


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """Sums of products over several dimensions of both operands.

    ``dims``: how many of the last dimensions of ``a`` go with as many of the first of ``b``, or two
    sequences naming the dimensions of each. The other dimensions follow in order, a's then b's.

    Raises ShapeError when the lengths of paired dimensions differ.

    >>> import tapegrad as tg
    >>> tg.tensordot(tg.ones(3, 4, 5), tg.ones(4, 3, 2), dims=([1, 0], [0, 1])).shape
    (5, 2)
    """
    na, nb = len(shape_of(a)), len(shape_of(b))
    if isinstance(dims, (tuple, list)):
        if len(dims) != 2:
            raise RuntimeError(f"tensordot: dims must be a number or two sequences, not {dims!r}")
        first, second = ([d] if not isinstance(d, (tuple, list)) else list(d) for d in dims)
        if len(first) != len(second):
            raise RuntimeError(f"tensordot: dims pairs {len(first)} dimensions with {len(second)}")
        left = [one_dim(d, na, "tensordot") for d in first]
        right = [one_dim(d, nb, "tensordot") for d in second]
        if len(set(left)) != len(left) or len(set(right)) != len(right):
            raise RuntimeError(f"tensordot: a dimension appears twice in dims={dims!r}")
    else:
        count = operator.index(dims)
        if not 0 <= count <= min(na, nb):
            raise RuntimeError(
                f"tensordot: dims={count} must be from 0 to the number of dimensions of both "
                f"operands, {na} and {nb}"
            )
        left, right = list(range(na - count, na)), list(range(count))
    return _contracted(a, b, left, right, "tensordot")


def _contracted(a: Any, b: Any, left: list[int], right: list[int], what: str) -> Any:
    """The sum over paired dimensions, as one product of matrices."""
    sa, sb = shape_of(a), shape_of(b)
    if [sa[i] for i in left] != [sb[j] for j in right]:
        raise ShapeError(
            f"{what}: the dimensions {left} of shape {sa} do not have the lengths of the "
            f"dimensions {right} of shape {sb}"
        )
    rest_a = [i for i in range(len(sa)) if i not in left]
    rest_b = [j for j in range(len(sb)) if j not in right]
    shape_a, shape_b = [sa[i] for i in rest_a], [sb[j] for j in rest_b]
    inner_size = math.prod(sa[i] for i in left)
    a = _arranged(a, rest_a + left, (math.prod(shape_a), inner_size))
    b = _arranged(b, right + rest_b, (inner_size, math.prod(shape_b)))
    return reshape(matmul(a, b), shape=(*shape_a, *shape_b))


def _arranged(x: Any, axes: list[int], shape: tuple[int, ...]) -> Any:
    if axes != sorted(axes):
        x = permute(x, axes=tuple(axes))
    return x if shape_of(x) == shape else reshape(x, shape=shape)


def kron(input: Any, other: Any) -> Any:
    """The Kronecker product: every element of ``input`` times the whole of ``other``, in blocks.

    The operand with fewer dimensions gets new ones in front.

    >>> import tapegrad as tg
    >>> tg.kron(tg.tensor([[1.0, 2.0]]), tg.tensor([[1.0], [10.0]]))
    tensor([[ 1.,  2.],
            [10., 20.]])
    """
    sa, sb = shape_of(input), shape_of(other)
    n = max(len(sa), len(sb))
    sa, sb = (1,) * (n - len(sa)) + tuple(sa), (1,) * (n - len(sb)) + tuple(sb)
    a = reshape(input, shape=tuple(v for m in sa for v in (m, 1)))
    b = reshape(other, shape=tuple(v for m in sb for v in (1, m)))
    return reshape(a * b, shape=tuple(p * q for p, q in zip(sa, sb, strict=True)))


def cross(input: Any, other: Any, dim: int | None = None) -> Any:
    """The cross product of vectors of length 3: (a₂b₃ - a₃b₂, a₃b₁ - a₁b₃, a₁b₂ - a₂b₁).

    ``dim``: where the 3 components lie; by default the first dimension of length 3, as torch's
    (``linalg.cross`` takes the last). The other dimensions broadcast.

    >>> import tapegrad as tg
    >>> tg.cross(tg.tensor([1.0, 0.0, 0.0]), tg.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    sa, sb = shape_of(input), shape_of(other)
    n = max(len(sa), len(sb))
    if len(sa) != len(sb):
        raise ShapeError(f"cross: {sa} and {sb} must have the same number of dimensions")
    if dim is None:
        dim = next((i for i in range(n) if sa[i] == 3 and sb[i] == 3), None)
        if dim is None:
            raise RuntimeError(f"cross: no dimension of {sa} and {sb} has length 3")
    dim = one_dim(dim, n, "cross")
    if not n or sa[dim] != 3 or sb[dim] != 3:
        raise ShapeError(f"cross: dimension {dim} of {sa} and {sb} must have length 3")
    lead = (slice(None),) * dim
    a = [getitem(input, index=(*lead, i)) for i in range(3)]
    b = [getitem(other, index=(*lead, i)) for i in range(3)]
    parts = [a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)]
    return stack(*parts, axis=dim)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The Vandermonde matrix: the powers x⁰ to xᴺ⁻¹ of a vector in columns, the highest first.

    ``N``: the number of columns (default: the length of x). ``increasing``: x⁰ first.

    >>> import tapegrad as tg
    >>> tg.vander(tg.tensor([2.0, 3.0]), 3)
    tensor([[4., 2., 1.],
            [9., 3., 1.]])
    """
    _need("vander", x=(x, 1))
    columns = powers(x, shape_of(x)[0] if N is None else operator.index(N))
    if not columns:
        return getitem(reshape(x, shape=(*shape_of(x), 1)), index=(slice(None), slice(0, 0)))
    return stack(*(columns if increasing else columns[::-1]), axis=1)


def powers(x: Any, count: int) -> list[Any]:
    """x⁰, x¹, ... as repeated products, which are smooth at 0."""
    if count < 0:
        raise RuntimeError(f"vander: N must not be negative, got {count}")
    if not count:
        return []
    is_tensor = isinstance(x, Tensor)
    ones = full_like_value(1.0, x._value if is_tensor else x)
    found = [make(ones, None) if is_tensor else ones]
    for k in range(1, count):
        found.append(x if k == 1 else found[-1] * x)
    return found


METHODS: dict[str, Any] = {
    name: globals()[name] for name in __all__ if name not in ("einsum", "tensordot", "vander")
}
