"""Linear algebra with torch's names: ``tg.linalg.solve``, ``tg.linalg.eigh``, ...

Every function takes batches: matrices in the last two dimensions, any dimensions before.
"""

from __future__ import annotations

import math
import operator
from collections import namedtuple
from typing import Any

import numpy as np

from .errors import ShapeError
from .functions import shaping
from .functions.dims import one_dim
from .functions.products import cross as _cross
from .functions.products import matmul, powers
from .functions.reductions import amax, amin, as_floating
from .functions.statistics import vector_norm
from .ops import decompositions, linear_algebra
from .ops.indexing import getitem
from .ops.linear_algebra import LinAlgError
from .ops.products import swap
from .ops.reductions import sum as total
from .ops.shaping import cat, permute, reshape, stack, tril, triu
from .tensors import Tensor, make
from .values import dtype_of, get_default_dtype, shape_of

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vander",
    "vecdot",
    "vector_norm",
]


def __dir__() -> list[str]:
    return sorted(__all__)


Slogdet = namedtuple("Slogdet", ["sign", "logabsdet"])
Eigh = namedtuple("Eigh", ["eigenvalues", "eigenvectors"])
SVD = namedtuple("SVD", ["U", "S", "Vh"])
QR = namedtuple("QR", ["Q", "R"])
Lstsq = namedtuple("Lstsq", ["solution", "residuals", "rank", "singular_values"])


def _matrices(A: Any, what: str, *, square: bool = False) -> tuple[int, int]:
    """Rows and columns, of what must be matrices."""
    shape = shape_of(A)
    if len(shape) < 2:
        raise ShapeError(
            f"linalg.{what}: the input must have at least 2 dimensions, got shape {shape}"
        )
    if square and shape[-1] != shape[-2]:
        raise ShapeError(
            f"linalg.{what}: the matrices must be square, but they are {shape[-2]} by {shape[-1]} "
            f"(shape {shape})"
        )
    return shape[-2], shape[-1]


# -- norms ------------------------------------------------------------------------------------
def norm(
    input: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """A vector or matrix norm.

    Without ``ord``: the 2-norm of all elements (over ``dim``). With an ``ord``: of vectors when
    ``dim`` is a number (or the input has one dimension), of matrices when it is a pair (or the
    input has two); see :func:`vector_norm` and :func:`matrix_norm`.

    >>> import tapegrad as tg
    >>> tg.linalg.norm(tg.tensor([[3.0, 0.0], [0.0, -4.0]])), tg.linalg.norm(tg.eye(2), "nuc")
    (tensor(5.), tensor(2.))
    """
    n = len(shape_of(input))
    if isinstance(dim, (tuple, list)) and len(dim) == 1:
        dim = dim[0]
    pair = isinstance(dim, (tuple, list)) and len(dim) == 2
    if ord is None:
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    if pair or (dim is None and n == 2):
        return matrix_norm(input, ord, dim if pair else (-2, -1), keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(
            f"linalg.norm: ord={ord!r} is a norm of matrices: give two dimensions in dim= "
            f"(shape {shape_of(input)})"
        )
    if dim is None and n > 2:
        raise RuntimeError(
            f"linalg.norm: with ord and without dim the input must have 1 or 2 dimensions, "
            f"got shape {shape_of(input)}"
        )
    return vector_norm(input, ord, dim, keepdim, dtype=dtype)


def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """A norm of the matrices in two dimensions.

    ``ord``: "fro" √(Σ a²), "nuc" Σ s, inf max_i Σ_j |a_ij|, -inf the min, 1 max_j Σ_i |a_ij|, -1
    the min, 2 max s, -2 min s, with s the singular values. Ties share the gradient evenly.

    >>> import tapegrad as tg
    >>> tg.linalg.matrix_norm(tg.tensor([[1.0, -2.0], [3.0, 4.0]]), 1)
    tensor(6.)
    """
    shape = shape_of(A)
    _matrices(A, "matrix_norm")
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be two dimensions, not {dim!r}")
    rows, columns = (one_dim(d, len(shape), "linalg.matrix_norm") for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dim={tuple(dim)} names one dimension twice")
    A = as_floating(A, dtype)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord == "nuc" or (not isinstance(ord, str) and abs(ord) == 2):
        rest = [i for i in range(len(shape)) if i not in (rows, columns)]
        s = svdvals(permute(A, axes=(*rest, rows, columns)))
        last = len(rest)
        if ord == "nuc":
            found = total(s, axis=(last,), keepdims=False)
        else:
            found = (amax if ord > 0 else amin)(s, last)
        if keepdim:
            kept = [1 if i in (rows, columns) else n for i, n in enumerate(shape)]
            found = reshape(found, shape=tuple(kept))
        return found
    if isinstance(ord, str) or abs(ord) not in (1, math.inf):
        raise ValueError(
            f"linalg.matrix_norm: ord={ord!r} is not known; use 'fro', 'nuc', inf, -inf, 1, -1, 2 "
            "or -2"
        )
    along, over = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = vector_norm(A, 1, along, True)
    found = (amax if ord > 0 else amin)(sums, over, True)
    if keepdim:
        return found
    left = tuple(n for i, n in enumerate(shape_of(found)) if i not in (rows, columns))
    return reshape(found, shape=left)


def cond(A: Any, p: Any = None) -> Any:
    """The condition number ‖A‖ ‖A⁻¹‖ of matrices.

    ``p``: the norm, as in :func:`matrix_norm`; None is 2, the largest singular value over the
    smallest, which works for matrices that are not square too. A singular matrix has inf, and one
    without elements 0.

    >>> import tapegrad as tg
    >>> tg.linalg.cond(tg.tensor([[2.0, 0.0], [0.0, -0.5]]))
    tensor(4.)
    """
    rows, columns = _matrices(A, "cond", square=p not in (None, 2, -2))
    if not rows * columns:
        return total(as_floating(A, None), axis=(-2, -1), keepdims=False)
    if p in (None, 2, -2):
        s = svdvals(A)
        largest, smallest = getitem(s, index=(..., 0)), getitem(s, index=(..., -1))
        return smallest / largest if p == -2 else largest / smallest
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


# -- inverse and solve ------------------------------------------------------------------------
def inv(A: Any) -> Any:
    """The inverse of square matrices. Raises LinAlgError for a singular one.

    To solve equations, :func:`solve` is faster and more precise.

    >>> import tapegrad as tg
    >>> tg.linalg.inv(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    _matrices(A, "inv", square=True)
    return linear_algebra.inv(A)


def solve(A: Any, B: Any, *, left: bool = True) -> Any:
    """X with A X = B (or X A = B with ``left=False``), for square A.

    ``A``: (..., n, n). ``B``: (..., n, k); or vectors, when it has one dimension or A's shape
    without the last dimension. Batches broadcast. Raises LinAlgError for a singular matrix.

    >>> import tapegrad as tg
    >>> tg.linalg.solve(tg.tensor([[2.0, 0.0], [1.0, 4.0]]), tg.tensor([2.0, 9.0]))
    tensor([1., 2.])
    """
    _matrices(A, "solve", square=True)
    sa, sb = shape_of(A), shape_of(B)
    if not sb:
        raise ShapeError("linalg.solve: the right-hand side needs at least one dimension")
    if len(sb) == 1 or sb == sa[:-1]:
        if not left:
            raise RuntimeError("linalg.solve: vectors on the right-hand side need left=True")
        found = linear_algebra.solve(A, reshape(B, shape=(*sb, 1)))
        return reshape(found, shape=shape_of(found)[:-1])
    if not left:
        return swap(linear_algebra.solve(swap(A), swap(B)))
    return linear_algebra.solve(A, B)


def solve_triangular(
    A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    """X with A X = B (or X A = B with ``left=False``), for triangular A.

    Only the upper (or lower) triangle of ``A`` is read; with ``unitriangular`` its diagonal counts
    as ones. ``B``: (..., n, k). Raises LinAlgError for a zero on the diagonal.

    >>> import tapegrad as tg
    >>> A = tg.tensor([[2.0, 1.0], [7.0, 4.0]])
    >>> tg.linalg.solve_triangular(A, tg.tensor([[4.0], [8.0]]), upper=True)
    tensor([[1.],
            [2.]])
    """
    n, _ = _matrices(A, "solve_triangular", square=True)
    _matrices(B, "solve_triangular")
    triangle = triu if upper else tril
    if unitriangular:
        strict = triangle(A, offset=1 if upper else -1)
        A = strict + np.eye(n, dtype=dtype_of(strict))
    else:
        A = triangle(A, offset=0)
    if left:
        return linear_algebra.solve(A, B)
    return swap(linear_algebra.solve(swap(A), swap(B)))


def lstsq(A: Any, B: Any, rcond: float | None = None, *, driver: str | None = None) -> Lstsq:
    """The least-squares solution X = A⁺ B, with the least ‖A X - B‖, and of those the least ‖X‖.

    ``A``: (..., m, n). ``B``: (..., m, k), or vectors (..., m). ``rcond``: singular values up to
    rcond · largest count as 0 (default: eps · max(m, n)). ``driver``: accepted as torch's; the
    singular values are returned for "gelsd" and "gelss", else an empty tensor.

    Returns (solution, residuals, rank, singular_values): residuals Σ (A X - B)² per column where
    m > n, else empty. The derivative holds while the rank does not change.

    >>> import tapegrad as tg
    >>> A = tg.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> solution, residuals, rank, _ = tg.linalg.lstsq(A, tg.tensor([[1.0], [2.0], [3.5]]))
    >>> solution.round(decimals=4), rank
    (tensor([[0.9167],
            [1.2500]]), tensor(2))
    """
    m, n = _matrices(A, "lstsq")
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            f"linalg.lstsq: driver={driver!r} is not known; use gels, gelsy, gelsd or gelss"
        )
    sa, sb = shape_of(A), shape_of(B)
    is_vector = len(sb) == 1 or sb == sa[:-1]
    if is_vector:
        B = reshape(B, shape=(*sb, 1))
    if len(sb) < 1 or shape_of(B)[-2] != m:
        raise ShapeError(f"linalg.lstsq: A of shape {sa} and B of shape {sb} differ in rows")
    solution = matmul(pinv(A, rtol=rcond), B)
    dtype = dtype_of(solution)
    residuals: Any = _like(A, np.zeros(0, dtype))
    if m > n:
        error = matmul(A, solution) - B
        residuals = total(error * error, axis=(len(shape_of(error)) - 2,), keepdims=False)
        if is_vector:
            residuals = reshape(residuals, shape=shape_of(residuals)[:-1])
    if is_vector:
        solution = reshape(solution, shape=shape_of(solution)[:-1])
    values = svdvals(A) if driver in ("gelsd", "gelss") else _like(A, np.zeros(0, dtype))
    return Lstsq(solution, residuals, matrix_rank(A, rtol=rcond), values)


def _like(source: Any, value: Any) -> Any:
    """A raw value, as a Tensor where the source is one."""
    return make(value, None) if isinstance(source, Tensor) else value


def pinv(
    A: Any,
    rcond: float | None = None,
    hermitian: bool = False,
    *,
    atol: float | None = None,
    rtol: float | None = None,
) -> Any:
    """The Moore-Penrose pseudo-inverse A⁺.

    Singular values up to max(atol, rtol · largest) count as 0. ``rtol`` (or ``rcond``) is by
    default eps · max(m, n), or 0 when ``atol`` is given. ``hermitian``: the matrices are symmetric
    and only the lower triangle is read. The derivative holds while the rank does not change.

    >>> import tapegrad as tg
    >>> tg.linalg.pinv(tg.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000],
            [0.0000, 0.2500]])
    """
    size = _matrices(A, "pinv", square=hermitian)
    if hermitian:
        A = decompositions.mirror(A, lower=True)
    return linear_algebra.pinv(A, **_cut(A, size, atol, rcond if rtol is None else rtol))


def _cut(A: Any, size: tuple[int, int], atol: Any, rtol: Any) -> dict[str, float]:
    """Below which singular values count as zero."""
    dtype = dtype_of(A) if dtype_of(A).kind == "f" else get_default_dtype()
    if rtol is None:
        rtol = 0.0 if atol else max(size) * float(np.finfo(dtype).eps)
    return {"atol": float(atol or 0.0), "rtol": float(rtol)}


def matrix_rank(
    A: Any,
    tol: float | None = None,
    hermitian: bool = False,
    *,
    atol: float | None = None,
    rtol: float | None = None,
) -> Any:
    """The rank: how many singular values exceed max(atol, rtol · largest).

    An integer, off the tape. ``tol`` is an ``atol`` with no ``rtol``; the defaults are those of
    :func:`pinv`.

    >>> import tapegrad as tg
    >>> tg.linalg.matrix_rank(tg.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)
    """
    size = _matrices(A, "matrix_rank", square=hermitian)
    if tol is not None:
        atol, rtol = tol, 0.0
    if hermitian:
        A = decompositions.mirror(A, lower=True)
    return linear_algebra.matrix_rank(as_floating(A), **_cut(A, size, atol, rtol))


# -- determinants -----------------------------------------------------------------------------
def det(A: Any) -> Any:
    """The determinant of square matrices.

    Its derivative is the matrix of cofactors, right at singular matrices too, to any order.

    >>> import tapegrad as tg
    >>> A = tg.tensor([[1.0, 2.0], [2.0, 4.0]], requires_grad=True)
    >>> tg.linalg.det(A).backward()
    >>> A.grad
    tensor([[ 4., -2.],
            [-2.,  1.]])
    """
    _matrices(A, "det", square=True)
    return linear_algebra.det(A)


def slogdet(A: Any) -> Slogdet:
    """The sign and the logarithm of the absolute value of the determinant: (sign, logabsdet).

    Does not overflow where ``det`` would. A singular matrix has (0, -inf), and no derivative:
    its backward raises LinAlgError.

    >>> import tapegrad as tg
    >>> tg.linalg.slogdet(tg.tensor([[0.0, 1.0], [1.0, 0.0]]))
    Slogdet(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    _matrices(A, "slogdet", square=True)
    return Slogdet(*linear_algebra.slogdet(A))


# -- decompositions ---------------------------------------------------------------------------
def cholesky(A: Any, *, upper: bool = False) -> Any:
    """The triangular L with A = L Lᵀ (or U with A = Uᵀ U with ``upper``), for positive definite A.

    Only the lower (upper) triangle of ``A`` is read; the gradient is that among symmetric
    matrices, itself symmetric. Raises LinAlgError when a matrix is not positive definite.

    >>> import tapegrad as tg
    >>> tg.linalg.cholesky(tg.tensor([[4.0, 2.0], [2.0, 10.0]]))
    tensor([[2., 0.],
            [1., 3.]])
    """
    _matrices(A, "cholesky", square=True)
    lower = decompositions.cholesky(decompositions.mirror(A, lower=not upper))
    return swap(lower) if upper else lower


def _side(UPLO: str, what: str) -> bool:
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"linalg.{what}: UPLO must be 'L' or 'U', not {UPLO!r}")
    return UPLO.upper() == "L"


def eigh(A: Any, UPLO: str = "L") -> Eigh:
    """The eigenvalues, ascending, and orthonormal eigenvectors (columns) of symmetric matrices.

    ``UPLO``: which triangle is read, "L" or "U". The gradient is that among symmetric matrices.
    Eigenvectors are defined up to sign only, and have no derivative where eigenvalues are equal
    (inf or NaN, which ``detect_anomaly`` names); the eigenvalues have, when only they are used.

    >>> import tapegrad as tg
    >>> tg.linalg.eigh(tg.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    _matrices(A, "eigh", square=True)
    lower = _side(UPLO, "eigh")
    return Eigh(*decompositions.eigh(decompositions.mirror(A, lower=lower)))


def eigvalsh(A: Any, UPLO: str = "L") -> Any:
    """The eigenvalues, ascending, of symmetric matrices; see :func:`eigh`.

    At equal eigenvalues the gradient of any symmetric function of them is right.

    >>> import tapegrad as tg
    >>> tg.linalg.eigvalsh(tg.tensor([[0.0, 1.0], [1.0, 0.0]]))
    tensor([-1.,  1.])
    """
    _matrices(A, "eigvalsh", square=True)
    lower = _side(UPLO, "eigvalsh")
    return decompositions.eigvalsh(decompositions.mirror(A, lower=lower))


def svd(A: Any, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """The singular value decomposition A = U diag(S) Vh, S descending: (U, S, Vh).

    ``A``: (..., m, n). U is (..., m, m) and Vh (..., n, n), or with ``full_matrices=False``
    (..., m, k) and (..., k, n), k = min(m, n). ``driver`` is accepted as torch's and ignored.

    The vectors are defined up to sign, and have a derivative where the singular values are
    distinct and not 0. The further vectors of full matrices have none: a gradient that reaches
    the U or Vh they are in raises RuntimeError; use ``full_matrices=False``.

    >>> import tapegrad as tg
    >>> tg.linalg.svd(tg.tensor([[3.0, 0.0], [0.0, -4.0], [0.0, 0.0]])).S
    tensor([4., 3.])
    """
    m, n = _matrices(A, "svd")
    u, s, vh = decompositions.svd(A)
    if full_matrices and m != n:
        rest = decompositions.svd_rest(A)
        last = len(shape_of(A)) - 1
        if m > n:
            u = cat(u, rest, axis=last)
        else:
            vh = cat(vh, rest, axis=last - 1)
    return SVD(u, s, vh)


def svdvals(A: Any, *, driver: str | None = None) -> Any:
    """The singular values, descending. Their gradient is finite where some are equal, too.

    >>> import tapegrad as tg
    >>> tg.linalg.svdvals(tg.tensor([[3.0, 0.0], [0.0, -4.0]]))
    tensor([4., 3.])
    """
    _matrices(A, "svdvals")
    return decompositions.svdvals(A)


def qr(A: Any, mode: str = "reduced") -> QR:
    """The decomposition A = Q R with orthonormal columns in Q and upper triangular R: (Q, R).

    ``A``: (..., m, n). ``mode``: "reduced" (Q is (..., m, k), k = min(m, n)), "complete" (Q is
    (..., m, m)) or "r" (Q is empty). The derivative needs the first k columns to be independent.
    The further columns of a complete Q have none: a gradient that reaches it raises RuntimeError.

    >>> import tapegrad as tg
    >>> Q, R = tg.linalg.qr(tg.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> (Q @ R).round(decimals=4)
    tensor([[3., 1.],
            [4., 2.]])
    """
    m, n = _matrices(A, "qr")
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', not {mode!r}")
    q, r = decompositions.qr(A)
    if mode == "r":
        return QR(_like(A, np.zeros(0, dtype_of(r))), r)
    if mode == "complete" and m > n:
        last = len(shape_of(A)) - 1
        q = cat(q, decompositions.qr_rest(A), axis=last)
        zeros = np.zeros((*shape_of(r)[:-2], m - n, n), dtype_of(r))
        r = cat(r, zeros, axis=last - 1)
    return QR(q, r)


# -- products and functions of matrices ---------------------------------------------------------
def matrix_power(A: Any, n: int) -> Any:
    """Aⁿ = A A ... A of square matrices, by repeated squaring; A⁻¹ to the -n for negative n.

    >>> import tapegrad as tg
    >>> tg.linalg.matrix_power(tg.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    size, _ = _matrices(A, "matrix_power", square=True)
    n = operator.index(n)
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        eye = np.eye(size, dtype=dtype_of(A))
        return _like(A, np.broadcast_to(eye, shape_of(A)).copy())
    result = None
    while True:
        if n & 1:
            result = A if result is None else matmul(result, A)
        n >>= 1
        if not n:
            return result
        A = matmul(A, A)


def matrix_exp(A: Any) -> Any:
    """The matrix exponential exp(A) = Σ Aᵏ / k!.

    By a Padé approximant with scaling and squaring (Higham, 2005).

    >>> import tapegrad as tg
    >>> tg.linalg.matrix_exp(tg.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    _matrices(A, "matrix_exp", square=True)
    return linear_algebra.matrix_exp(A)


def multi_dot(tensors: Any) -> Any:
    """The product of two or more matrices, in the order of least work.

    ``tensors``: a sequence of matrices; the first and the last may be vectors. (Cormen et al.,
    Introduction to Algorithms, 2009, 15.2.)

    >>> import tapegrad as tg
    >>> tg.linalg.multi_dot([tg.ones(3), tg.ones(3, 4), tg.ones(4)])
    tensor(12.)
    """
    found = list(tensors)
    if len(found) < 2:
        raise RuntimeError(f"linalg.multi_dot: needs at least 2 tensors, got {len(found)}")
    shapes = [shape_of(x) for x in found]
    for i, shape in enumerate(shapes):
        if len(shape) != 2 and not (len(shape) == 1 and i in (0, len(found) - 1)):
            raise ShapeError(
                f"linalg.multi_dot: tensor {i} has shape {shape}; it must be a matrix (the first "
                "and the last may be vectors)"
            )
    sizes = [1 if len(shapes[0]) == 1 else shapes[0][0]]
    sizes += [s[0] for s in shapes[1:]]
    sizes += [1 if len(shapes[-1]) == 1 else shapes[-1][1]]
    return _product(found, 0, len(found) - 1, _splits(sizes))


def _splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to part each range of factors for the fewest multiplications."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split = {}
    for width in range(1, count):
        for i in range(count - width):
            j = i + width
            options = [
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            ]
            cost[i, j], split[i, j] = min(options)
    return split


def _product(factors: list[Any], i: int, j: int, split: dict[tuple[int, int], int]) -> Any:
    if i == j:
        return factors[i]
    k = split[i, j]
    return matmul(_product(factors, i, k, split), _product(factors, k + 1, j, split))


def cross(input: Any, other: Any, *, dim: int = -1) -> Any:
    """The cross product of vectors of length 3 along ``dim``; the other dimensions broadcast.

    >>> import tapegrad as tg
    >>> tg.linalg.cross(tg.tensor([1.0, 0.0, 0.0]), tg.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    return _cross(input, other, dim)


def vecdot(x: Any, y: Any, *, dim: int = -1) -> Any:
    """The dot products Σ x · y along ``dim``; the other dimensions broadcast.

    >>> import tapegrad as tg
    >>> tg.linalg.vecdot(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    product = x * y
    axis = one_dim(dim, len(shape_of(product)), "linalg.vecdot")
    return total(product, axis=(axis,), keepdims=False)


def diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The diagonal of matrices: :func:`tapegrad.diagonal` of the last two dimensions by default.

    >>> import tapegrad as tg
    >>> tg.linalg.diagonal(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    return shaping.diagonal(A, offset, dim1, dim2)


def vander(x: Any, N: int | None = None) -> Any:
    """Vandermonde matrices: the powers x⁰ to xᴺ⁻¹ of the last dimension in columns.

    ``N``: how many (default: the length of the last dimension).

    >>> import tapegrad as tg
    >>> tg.linalg.vander(tg.tensor([2.0, 3.0]), 3)
    tensor([[1., 2., 4.],
            [1., 3., 9.]])
    """
    shape = shape_of(x)
    if not shape:
        raise ShapeError("linalg.vander: expects at least one dimension, got a 0-d tensor")
    count = shape[-1] if N is None else operator.index(N)
    if count < 1:
        raise RuntimeError(f"linalg.vander: N must be positive, got {count}")
    return stack(*powers(x, count), axis=len(shape))
