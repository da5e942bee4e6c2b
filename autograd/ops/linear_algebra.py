"""Linear algebra with one matrix: inverse, solve, determinants, pseudo-inverse, exponential.

All work on batches of matrices in the last two dimensions.
"""

from __future__ import annotations

import builtins
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import constant, general
from ..registry import Sample
from ..values import dtype_of, shape_of
from .products import matmul, swap
from .reductions import sum
from .shaping import reshape


class LinAlgError(np.linalg.LinAlgError, RuntimeError):
    """A matrix without an answer: singular, or not positive definite.

    A RuntimeError as torch's, and NumPy's LinAlgError.
    """


def check_square(x: Any) -> None:
    """Refuse what is no batch of square matrices."""
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"a matrix needs at least two dimensions, not {len(shape)}")
    if shape[-1] != shape[-2]:
        raise ValueError(f"matrices must be square, not {shape[-2]} by {shape[-1]}")


def check_matrix(x: Any) -> None:
    """Refuse what is no batch of matrices."""
    if len(shape_of(x)) < 2:
        raise ValueError(f"a matrix needs at least two dimensions, not {len(shape_of(x))}")


def one_per_matrix(g: Any) -> Any:
    """A number per matrix in a shape that broadcasts over the matrices."""
    return reshape(g, shape=(*shape_of(g), 1, 1))


def _finite(x: ndarray) -> tuple[ndarray, ndarray]:
    """The matrices, with the identity for those that LAPACK would choke on; and which are good."""
    good = np.isfinite(x).all(axis=(-2, -1), keepdims=True)
    return np.where(good, x, np.eye(x.shape[-1], dtype=x.dtype)), good


A33 = np.array([[2.0, 0.5, -0.3], [-0.4, 1.5, 0.7], [0.2, -0.6, 1.25]])
A22 = np.array([[1.5, -0.5], [0.75, 1.0]])
PAIR = np.stack([A33, A33.T + np.diag([0.5, -0.25, 1.0])])
B32 = np.array([[0.5, -1.0], [1.25, 0.75], [-0.5, 2.0]])


# -- inverse and solve ------------------------------------------------------------------------
def _inv(x: Any) -> Any:
    check_square(x)
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError as error:
        raise _singular(error, "tg.linalg.pinv or tg.linalg.lstsq") from None


def _singular(error: Exception, remedy: str) -> Exception:
    if "ingular" not in str(error):
        return LinAlgError(str(error))
    return LinAlgError(f"a matrix is singular, so it has no inverse; {remedy} may be what you need")


inv = general(
    "inv",
    _inv,
    lambda g, y, _x: -matmul(matmul(swap(y), g), swap(y)),
    push=lambda t, y, _x: -matmul(matmul(y, t[0]), y),
    samples=[Sample(A33), Sample(A22), Sample(PAIR)],
    doc="""The inverse of square matrices.

    ∂L/∂x = -yᵀ g yᵀ. Raises LinAlgError for a singular matrix.
    """,
)


def _solve(a: Any, b: Any) -> Any:
    check_square(a)
    check_matrix(b)
    if shape_of(a)[-1] != shape_of(b)[-2]:
        raise ValueError(
            f"the right-hand side has {shape_of(b)[-2]} rows, the matrices {shape_of(a)[-1]}"
        )
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError as error:
        raise _singular(error, "tg.linalg.lstsq") from None


solve: Any = general(
    "solve",
    _solve,
    lambda g, y, a, _b: -matmul(solve(swap(a), g), swap(y)),
    lambda g, _y, a, _b: solve(swap(a), g),
    push=lambda t, y, a, _b: solve(a, _right_side(t, y)),
    samples=[
        Sample(A33, B32),
        Sample(PAIR, B32),
        Sample(A33, np.stack([B32, B32[::-1]])),
        Sample(A22, [[0.5], [1.0]]),
    ],
    doc="""x with a x = b, for square matrices a (..., n, n) and b (..., n, k).

    With h = a⁻ᵀ g: ∂L/∂b = h, ∂L/∂a = -h xᵀ. Raises LinAlgError for a singular matrix.
    """,
)


def _right_side(t: Sequence[Any], y: Any) -> Any:
    ta, tb = t
    if ta is None:
        return tb
    moved = matmul(ta, y)
    return -moved if tb is None else tb - moved


# -- determinants -----------------------------------------------------------------------------
def _det(x: Any) -> Any:
    check_square(x)
    return np.linalg.det(x)


det = general(
    "det",
    _det,
    lambda g, _y, x: one_per_matrix(g) * cofactors(x),
    push=lambda t, _y, x: _inner(cofactors(x), t[0]),
    samples=[
        Sample(A33),
        Sample(PAIR),
        Sample([[1.0, 2.0], [2.0, 4.0]]),
        Sample([[0.5]]),
        Sample(np.diag([0.0, 0.0, 1.5])),
    ],
    doc="""The determinant of square matrices.

    ∂y/∂x is the matrix of cofactors, to any order, whether or not a matrix is singular: it is
    computed from singular values, not from y · x⁻ᵀ.
    """,
)


def _inner(a: Any, b: Any) -> Any:
    """Σ a·b over the matrix dimensions."""
    n = len(shape_of(a))
    return sum(a * b, axis=(n - 2, n - 1), keepdims=False)


def _cofactors(x: Any, *directions: Any) -> Any:
    """The gradient of D^k det(x)[directions], k = len(directions), at any x.

    With x = U diag(s) Vᵀ, det(x + X) = ± det(diag(s) + Uᵀ X V), and at a diagonal matrix the
    q-linear form of the determinant is

        Σ over distinct i1..iq of (Π of the other s) ·
            Σ over permutations σ of sign(σ) · Π_a X_a[i_a, i_σ(a)]

    which is read off here for its last argument. Nothing is divided by a small s.
    """
    check_square(x)
    dtype, shape = x.dtype, x.shape
    n, order = shape[-1], len(directions) + 1
    if n < order:
        return np.zeros(shape, dtype)  # a polynomial of degree n in the entries
    x, good = _finite(np.asarray(x, np.float64))
    u, s, vh = np.linalg.svd(x)
    sign = np.rint(np.linalg.det(u) * np.linalg.det(vh))[..., None, None]
    others = _products_of_others(s, order)
    ut, v = np.swapaxes(u, -1, -2), np.swapaxes(vh, -1, -2)
    turned = [ut @ np.asarray(h, np.float64) @ v for h in directions]
    letters = "abcdefgh"[:order]
    middle = np.zeros(shape)
    diagonal = np.einsum("...ii->...i", middle)  # a view
    last = order - 1
    for permutation in itertools.permutations(range(order)):
        parity = (-1) ** builtins.sum(
            permutation[i] > permutation[j] for i in range(order) for j in range(i + 1, order)
        )
        left = [f"...{letters}"]
        left += [f"...{letters[a]}{letters[permutation[a]]}" for a in range(last)]
        on_diagonal = permutation[last] == last
        right = letters[last] + ("" if on_diagonal else letters[permutation[last]])
        term = np.einsum(",".join(left) + "->..." + right, others, *turned, optimize=order > 2)
        if on_diagonal:
            diagonal += parity * term
        else:
            middle += parity * term
    return np.where(good, sign * (u @ middle @ vh), np.nan).astype(dtype)


def _products_of_others(s: ndarray, order: int) -> ndarray:
    """p[i1..iq]: the product of all s but those q, where the q differ, else 0.

    Zeros are counted, not divided by: the product of the others is 0 unless all zeros are among
    those left out.
    """
    zero = s < np.finfo(s.dtype).tiny
    safe = np.where(zero, 1.0, s)
    batch, n = s.shape[:-1], s.shape[-1]
    product = np.prod(safe, axis=-1).reshape(*batch, *[1] * order)
    left_out: Any = 0
    for axis in range(order):
        place = (*batch, *[n if k == axis else 1 for k in range(order)])
        product = product / safe.reshape(place)
        left_out = left_out + zero.reshape(place)
    index = np.indices((n,) * order)
    keep = left_out == zero.sum(axis=-1).reshape(*batch, *[1] * order)
    for a, b in itertools.combinations(range(order), 2):
        keep = keep & (index[a] != index[b])
    return np.where(keep, product, 0.0)


def _cofactors_push(tangents: Sequence[Any], _y: Any, x: Any, *directions: Any) -> Any:
    total = None
    for i, t in enumerate(tangents):
        if t is not None:
            term = _cofactors_pull(i, t, _y, x, *directions)
            total = term if total is None else total + term
    return total


def _cofactors_pull(i: int, g: Any, _y: Any, x: Any, *directions: Any) -> Any:
    # The form is symmetric in its arguments, so that the derivative by any is the form again.
    if i:
        return cofactors(x, *directions[: i - 1], *directions[i:], g)
    return cofactors(x, *directions, g)


cofactors: Any = general(
    "cofactors",
    _cofactors,
    indexed=_cofactors_pull,
    push=_cofactors_push,
    samples=[
        Sample(A33),
        Sample([[1.0, 2.0], [2.0, 4.0]]),
        Sample(PAIR, PAIR[::-1].copy()),
        Sample(np.diag([0.0, 0.0, 1.5]), A33),
    ],
    doc="""The matrix of cofactors, det(x) · x⁻ᵀ continued to singular x: the gradient of det.

    With further matrices h1..hk, the gradient of the k-th derivative of det along them. Linear
    and symmetric in those, so that every derivative of it is one more of its kind.
    """,
)


def _slogdet(x: Any) -> Any:
    check_square(x)
    return tuple(np.linalg.slogdet(x))


slogdet = general(
    "slogdet",
    _slogdet,
    lambda g, _y, x: one_per_matrix(g[1]) * swap(inv(x)),
    push=lambda t, y, x: (y[0] * 0.0, _inner(swap(inv(x)), t[0])),
    samples=[Sample(A33), Sample(PAIR), Sample(-A33), Sample([[0.5]])],
    doc="""(sign, log |det|) of square matrices; (0, -inf) for a singular one.

    ∂ log|det| / ∂x = x⁻ᵀ; the sign is piecewise constant. The derivative at a singular matrix
    raises LinAlgError.
    """,
)


# -- pseudo-inverse ---------------------------------------------------------------------------
def _kept(s: Any, atol: float, rtol: float) -> Any:
    """Which singular values (in descending order) count as not zero."""
    return s > np.maximum(s[..., :1] * rtol, atol)


def _pinv(x: Any, *, atol: float, rtol: float) -> Any:
    check_matrix(x)
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    kept = _kept(s, atol, rtol)
    inverse = np.where(kept, 1.0, 0.0).astype(dtype_of(x)) / np.where(kept, s, s * 0 + 1)
    return np.matmul(np.swapaxes(vh, -1, -2) * inverse[..., None, :], np.swapaxes(u, -1, -2))


def _pinv_pull(g: Any, y: Any, x: Any, *, atol: float, rtol: float) -> Any:
    gt, yt = swap(g), swap(y)
    left = matmul(gt - matmul(x, matmul(y, gt)), matmul(y, yt))
    gp = matmul(matmul(yt, y), gt)
    return left + gp - matmul(matmul(gp, y), x) - matmul(matmul(yt, g), yt)


def _pinv_push(t: Sequence[Any], y: Any, x: Any, *, atol: float, rtol: float) -> Any:
    d = t[0]
    dt, yt = swap(d), swap(y)
    right = matmul(matmul(y, yt), dt)
    left = matmul(dt, matmul(yt, y))
    return (
        right
        - matmul(matmul(right, x), y)
        + left
        - matmul(y, matmul(x, left))
        - matmul(matmul(y, d), y)
    )


_CUT = {"atol": 0.0, "rtol": 1e-10}
pinv = general(
    "pinv",
    _pinv,
    _pinv_pull,
    push=_pinv_push,
    samples=[
        Sample(A33, **_CUT),
        Sample(B32, **_CUT),
        Sample(np.stack([B32.T, B32[::-1].T]), **_CUT),
    ],
    doc="""The Moore-Penrose pseudo-inverse.

    Singular values up to max(atol, rtol · largest) count as 0.
    dP = -P dA P + P Pᵀ dAᵀ (1 - A P) + (1 - P A) dAᵀ Pᵀ P (Golub and Pereyra, 1973), which holds
    while the rank does not change.
    """,
)


def _matrix_rank(x: Any, *, atol: float, rtol: float) -> Any:
    check_matrix(x)
    s = np.linalg.svd(x, compute_uv=False)
    return np.sum(_kept(s, atol, rtol), axis=-1, dtype=np.int64)


matrix_rank = constant(
    "matrix_rank",
    _matrix_rank,
    samples=[Sample(A33, **_CUT), Sample([[1.0, 2.0], [2.0, 4.0]], **_CUT)],
    doc="The number of singular values above max(atol, rtol · largest), an integer.",
)


# -- exponential ------------------------------------------------------------------------------
# The coefficients of the diagonal Padé approximant of degree 13, over the first of them.
_PADE = [
    math.factorial(26 - j)
    * math.factorial(13)
    / (math.factorial(26) * math.factorial(13 - j) * math.factorial(j))
    for j in range(14)
]
_THETA = 5.371920351148152


def _expm(x: ndarray) -> ndarray:
    """exp of matrices by scaling and squaring (Higham, 2005)."""
    n = x.shape[-1]
    if n == 0:
        return x.copy()
    x, good = _finite(x)
    norm = np.abs(x).sum(axis=-2).max(axis=-1)
    squarings = np.maximum(np.frexp(norm / _THETA)[1], 0)[..., None, None]
    x = np.ldexp(x, -squarings)
    eye = np.eye(n, dtype=x.dtype)
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    b = [x.dtype.type(c) for c in _PADE]
    odd = x6 @ (b[13] * x6 + b[11] * x4 + b[9] * x2) + b[7] * x6 + b[5] * x4 + b[3] * x2
    odd = x @ (odd + b[1] * eye)
    even = x6 @ (b[12] * x6 + b[10] * x4 + b[8] * x2) + b[6] * x6 + b[4] * x4 + b[2] * x2
    even = even + b[0] * eye
    y = np.linalg.solve(even - odd, even + odd)
    for k in range(int(squarings.max(initial=0))):
        y = np.where(k < squarings, y @ y, y)
    return np.where(good, y, np.nan).astype(x.dtype, copy=False)


def _matrix_exp(x: Any, *directions: Any) -> Any:
    """exp(x), or its k-th derivative along k directions: the corner of one larger exponential.

    exp([[x, h], [0, x]]) = [[exp x, D exp(x)[h]], [0, exp x]] (Van Loan, 1978; Mathias, 1996), and
    so on for more directions, each doubling the size. Directions enter with length 1, so that
    their size does not add squarings.
    """
    check_square(x)
    n, dtype = x.shape[-1], x.dtype
    scale: Any = dtype.type(1.0)
    for k, h in enumerate(directions):
        size = np.abs(h).max(axis=(-2, -1), keepdims=True, initial=0.0)
        size = np.where((size > 0) & np.isfinite(size), size, 1.0).astype(dtype)
        scale = scale * size
        m = x.shape[-1]
        wide = np.zeros((*x.shape[:-2], 2 * m, 2 * m), dtype)
        wide[..., :m, :m] = wide[..., m:, m:] = x
        for block in range(2**k):
            rows = slice(block * n, block * n + n)
            wide[..., rows, slice(m + block * n, m + block * n + n)] = h / size
        x = wide
    with np.errstate(over="ignore", invalid="ignore"):
        y = _expm(x)
    return y if not directions else y[..., :n, -n:] * scale


def _matrix_exp_pull(i: int, g: Any, _y: Any, x: Any, *directions: Any) -> Any:
    # <g, D^k exp(x)[h1..hk]> as a function of one direction is D^k exp(xᵀ) along the transposes
    # of the others and g: every derivative is one more of the kind.
    turned = [swap(h) for h in directions]
    if i:
        del turned[i - 1]
    return matrix_exp(swap(x), *turned, g)


def _matrix_exp_push(tangents: Sequence[Any], _y: Any, x: Any, *directions: Any) -> Any:
    total = None
    for i, t in enumerate(tangents):
        if t is not None:
            kept = list(directions)
            if i:
                del kept[i - 1]
            term = matrix_exp(x, *kept, t)
            total = term if total is None else total + term
    return total


matrix_exp = general(
    "matrix_exp",
    _matrix_exp,
    indexed=_matrix_exp_pull,
    push=_matrix_exp_push,
    samples=[Sample(A33), Sample(PAIR * 3), Sample(A22, A22.T.copy())],
    doc="""The matrix exponential Σ xᵏ / k! of square matrices.

    By a Padé approximant of degree 13 with scaling and squaring (Higham, 2005). With further
    matrices h1..hk: its k-th derivative along them, which is how it is differentiated.
    """,
)
