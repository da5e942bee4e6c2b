"""Decompositions of matrices: Cholesky, eigenvalues, singular values, QR.

Vectors are defined up to sign (LAPACK's choice is kept), so only what does not depend on the
sign has a derivative that means something; within one branch of signs all derivatives are right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..calling import expose, generic
from ..families import general
from ..registry import Primitive, Sample
from ..values import dtype_of, shape_of
from .indexing import getitem
from .linear_algebra import A33, B32, LinAlgError, check_matrix, check_square, inv, solve
from .products import matmul, swap
from .reductions import sum
from .shaping import cat, reshape, tril, triu

S33 = np.array([[2.0, 0.5, -0.3], [0.5, 1.25, 0.4], [-0.3, 0.4, 0.75]])
SPD = np.stack([S33, S33[::-1, ::-1] * 0.5 + np.diag([1.0, 0.25, 0.5])])


def row(x: Any) -> Any:
    """One vector per matrix, laid along the columns: (..., n) to (..., 1, n)."""
    shape = shape_of(x)
    return reshape(x, shape=(*shape[:-1], 1, shape[-1]))


def column(x: Any) -> Any:
    """One vector per matrix, laid along the rows: (..., n) to (..., n, 1)."""
    return reshape(x, shape=(*shape_of(x), 1))


def _average(x: Any) -> Any:
    """The symmetric part."""
    check_square(x)
    return (x + np.swapaxes(x, -1, -2)) * 0.5


def _symmetrised(x: Any) -> Any:
    return (x + swap(x)) * 0.5


def _inverse_gaps(w: Any) -> Any:
    """1 / (w_j - w_i), with 0 on the diagonal."""
    n = shape_of(w)[-1]
    eye = np.eye(n, dtype=dtype_of(w))
    return (1.0 - eye) / (row(w) - column(w) + eye)


# -- symmetric matrices -------------------------------------------------------------------------
# Functions of symmetric matrices read one triangle, and torch gives the gradient of the symmetric
# matrix, half of it in either triangle. So this primitive's derivative is that among symmetric
# matrices, where it is the identity: differences of single entries, which leave those, see only
# one triangle. Its samples are 1 x 1; symmetric directions are checked in tests/test_linalg.py.
def _mirror(x: Any, *, lower: bool) -> Any:
    check_square(x)
    if lower:
        return np.tril(x) + np.swapaxes(np.tril(x, -1), -1, -2)
    return np.triu(x) + np.swapaxes(np.triu(x, 1), -1, -2)


mirror = general(
    "mirror",
    _mirror,
    lambda g, _y, _x, *, lower: _symmetrised(g),
    push=lambda t, _y, _x, *, lower: _symmetrised(t[0]),
    samples=[Sample([[0.5]], lower=True), Sample([[[0.5]], [[-1.5]]], lower=False)],
    doc="""The symmetric matrix of which ``x`` holds one triangle; the other is not read.

    The derivative is the one among symmetric matrices, g ↦ (g + gᵀ) / 2.
    """,
)


def _cholesky(x: Any) -> Any:
    try:
        return np.linalg.cholesky(_average(x))
    except np.linalg.LinAlgError:
        raise LinAlgError(
            "a matrix is not positive definite; adding a small multiple of the identity may help"
        ) from None


def _half_lower(x: Any) -> Any:
    """The lower triangle, with half of the diagonal."""
    return (tril(x, offset=0) + tril(x, offset=-1)) * 0.5


def _cholesky_pull(g: Any, y: Any, _x: Any) -> Any:
    inverse = inv(y)
    middle = _half_lower(matmul(swap(y), tril(g, offset=0)))
    return _symmetrised(matmul(matmul(swap(inverse), middle), inverse))


def _cholesky_push(t: Any, y: Any, _x: Any) -> Any:
    inverse = inv(y)
    middle = matmul(matmul(inverse, _symmetrised(t[0])), swap(inverse))
    return matmul(y, _half_lower(middle))


cholesky = general(
    "cholesky",
    _cholesky,
    _cholesky_pull,
    push=_cholesky_push,
    samples=[Sample(S33), Sample(SPD), Sample([[2.0]])],
    doc="""The lower triangular y with y yᵀ = (x + xᵀ) / 2, positive definite.

    With Φ the lower triangle, its diagonal halved: ∂L/∂x is the symmetric part of
    y⁻ᵀ Φ(yᵀ g) y⁻¹ (Murray, 2016). Raises LinAlgError when not positive definite.
    """,
)


# -- eigenvalues ------------------------------------------------------------------------------
def _eigh(x: Any) -> Any:
    return tuple(np.linalg.eigh(_average(x)))


def _eigh_pull(g: Any, y: Any, _x: Any) -> Any:
    (gw, gv), (w, v) = g, y
    total = None
    if gw is not None:
        total = matmul(v * row(gw), swap(v))
    if gv is not None:
        inner = _inverse_gaps(w) * matmul(swap(v), gv)
        turned = _symmetrised(matmul(matmul(v, inner), swap(v)))
        total = turned if total is None else total + turned
    return total


def _eigh_push(t: Any, y: Any, _x: Any) -> Any:
    w, v = y
    inner = matmul(matmul(swap(v), _symmetrised(t[0])), v)
    n = shape_of(w)[-1]
    moved = sum(inner * np.eye(n, dtype=dtype_of(w)), axis=(len(shape_of(w)),), keepdims=False)
    return moved, matmul(v, _inverse_gaps(w) * inner)


eigh = general(
    "eigh",
    _eigh,
    _eigh_pull,
    push=_eigh_push,
    partial_cotangents=True,
    samples=[Sample(S33), Sample(SPD)],
    doc="""Eigenvalues, ascending, and orthonormal eigenvectors of the symmetric part of matrices.

    With F_ij = 1 / (w_j - w_i): ∂L/∂x is the symmetric part of V (diag(g_w) + F · (Vᵀ g_V)) Vᵀ.
    At equal eigenvalues the eigenvectors have no derivative (inf or NaN, as torch's); the part
    of the eigenvalues stays right when only they are used.
    """,
)
eigvalsh = general(
    "eigvalsh",
    lambda x: np.linalg.eigvalsh(_average(x)),
    lambda g, _y, x: _eigvalsh_pull(g, x),
    push=lambda t, _y, x: _diagonal_in(eigh(x)[1], t[0]),
    samples=[Sample(S33), Sample(SPD)],
    doc="""The eigenvalues, ascending, of the symmetric part of matrices.

    ∂L/∂x = V diag(g) Vᵀ, finite at equal eigenvalues too.
    """,
)


def _eigvalsh_pull(g: Any, x: Any) -> Any:
    _, v = eigh(x)
    return matmul(v * row(g), swap(v))


def _diagonal_in(v: Any, t: Any) -> Any:
    """diag(Vᵀ t V)."""
    return sum(v * matmul(_symmetrised(t), v), axis=(len(shape_of(v)) - 2,), keepdims=False)


# -- singular values ----------------------------------------------------------------------------
def _svd(x: Any) -> Any:
    check_matrix(x)
    return tuple(np.linalg.svd(x, full_matrices=False))


def _svd_pull(g: Any, y: Any, _x: Any) -> Any:
    (gu, gs, gvh), (u, s, vh) = g, y
    m, n, k = shape_of(u)[-2], shape_of(vh)[-1], shape_of(s)[-1]
    inner = outer = None
    if gs is not None:
        inner = row(gs) * np.eye(k, dtype=dtype_of(s))
    if gu is not None or gvh is not None:
        gaps = _inverse_gaps(s * s)
    if gu is not None:
        p = matmul(swap(u), gu)
        term = (p - swap(p)) * gaps * row(s)
        inner = term if inner is None else inner + term
        if m > k:  # the part of g_U outside the span of U
            outer = matmul((gu - matmul(u, p)) / row(s), vh)
    if gvh is not None:
        q = matmul(vh, swap(gvh))
        term = column(s) * ((q - swap(q)) * gaps)
        inner = term if inner is None else inner + term
        if n > k:
            rest = matmul(u / row(s), gvh - matmul(swap(q), vh))
            outer = rest if outer is None else outer + rest
    total = matmul(matmul(u, inner), vh)
    return total if outer is None else total + outer


svd = general(
    "svd",
    _svd,
    _svd_pull,
    partial_cotangents=True,
    samples=[Sample(A33), Sample(B32), Sample(np.stack([B32.T, B32[::-1].T + 0.75]))],
    doc="""The reduced singular value decomposition x = U diag(s) Vʰ: (U, s, Vʰ), s descending.

    The derivative of the vectors needs distinct, non-zero singular values (inf or NaN otherwise,
    as torch's); that of the values does not, when only they are used. (Townsend, 2016.)
    """,
)


def _svdvals(x: Any) -> Any:
    check_matrix(x)
    return np.linalg.svd(x, compute_uv=False)


def _svdvals_pull(g: Any, x: Any) -> Any:
    u, _, vh = svd(x)
    return matmul(u * row(g), vh)


def _svdvals_push(t: Any, x: Any) -> Any:
    u, _, vh = svd(x)
    return sum(u * matmul(t, swap(vh)), axis=(len(shape_of(u)) - 2,), keepdims=False)


svdvals = general(
    "svdvals",
    _svdvals,
    lambda g, _y, x: _svdvals_pull(g, x),
    push=lambda t, _y, x: _svdvals_push(t[0], x),
    samples=[Sample(A33), Sample(B32), Sample(np.stack([B32.T, B32[::-1].T + 0.75]))],
    doc="""The singular values, descending.

    ∂L/∂x = U diag(g) Vʰ, finite at equal singular values too.
    """,
)


# -- QR -----------------------------------------------------------------------------------------
def _qr(x: Any) -> Any:
    check_matrix(x)
    return tuple(np.linalg.qr(x))


def _qr_pull(g: Any, y: Any, x: Any) -> Any:
    (gq, gr), (q, r) = g, y
    m, n = shape_of(x)[-2:]
    if m >= n:
        return _tall_qr_pull(gq, gr, q, r)
    # x = [a | b] with a square: a = q r_a and r_b = qᵀ b
    first = (Ellipsis, slice(0, m))
    rest = (Ellipsis, slice(m, n))
    if gr is not None:
        b, gb = getitem(x, index=rest), getitem(gr, index=rest)
        turned = matmul(b, swap(gb))
        gq = turned if gq is None else gq + turned
        gr = getitem(gr, index=first)
        right = matmul(q, gb)
    else:
        right = getitem(x, index=rest) * 0.0
    left = _tall_qr_pull(gq, gr, q, getitem(r, index=first))
    return cat(left, right, axis=len(shape_of(x)) - 1)


def _tall_qr_pull(gq: Any, gr: Any, q: Any, r: Any) -> Any:
    """(g_Q + Q M') R⁻ᵀ, M' the symmetric matrix with the lower triangle of M = R g_Rᵀ - g_Qᵀ Q."""
    middle = None
    if gr is not None:
        middle = matmul(r, swap(triu(gr, offset=0)))
    if gq is not None:
        term = matmul(swap(gq), q)
        middle = -term if middle is None else middle - term
    total = matmul(q, tril(middle, offset=0) + swap(tril(middle, offset=-1)))
    if gq is not None:
        total = total + gq
    return swap(solve(r, swap(total)))


qr = general(
    "qr",
    _qr,
    _qr_pull,
    partial_cotangents=True,
    samples=[Sample(A33), Sample(B32), Sample(np.stack([B32.T, B32[::-1].T + 0.75]))],
    doc="""The reduced QR decomposition x = Q R, Q orthonormal, R upper triangular.

    The first min(m, n) columns must be independent for the derivative to exist (Walter, 2012;
    Roberts and Roberts, 2020).
    """,
)


# -- what has no derivative ---------------------------------------------------------------------
def _without_gradient(name: str, forward: Any, why: str) -> Any:
    """An operation outside the registry, whose only rule is to say no, and why."""

    def refuse(g: Any, _y: Any, _x: Any) -> Any:
        raise RuntimeError(why)

    op = Primitive(name, forward, family="general", rules=[refuse], reads=[], doc=why)
    return expose(op, generic(op), register=False)


def _svd_rest(x: Any) -> Any:
    u, s, vh = np.linalg.svd(x)
    k = shape_of(s)[-1]
    # A copy: the result must not hold on to the whole of U.
    return (u[..., k:] if shape_of(u)[-1] > k else vh[..., k:, :]).copy()


svd_rest = _without_gradient(
    "svd_rest",
    _svd_rest,
    "linalg.svd(full_matrices=True): the singular vectors beyond the first min(m, n) are any "
    "basis of the rest, so that U (if m > n) or Vh (if m < n) has no gradient. Use "
    "full_matrices=False, or detach() it.",
)
qr_rest = _without_gradient(
    "qr_rest",
    lambda x: np.linalg.qr(x, mode="complete")[0][..., shape_of(x)[-1] :].copy(),
    "linalg.qr(mode='complete'): the columns of Q beyond the first n are any basis of the rest, so "
    "that Q has no gradient when m > n. Use mode='reduced', or detach() it.",
)
