"""Functions of matrices under their names outside ``linalg``."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from .. import linalg
from ..linalg import QR, Slogdet, matrix_exp
from ..ops.arithmetic import where
from ..ops.products import matmul, swap

__all__ = [
    "chain_matmul",
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "det",
    "inverse",
    "logdet",
    "matrix_exp",
    "matrix_power",
    "pinverse",
    "qr",
    "slogdet",
    "svd",
]

SVD = namedtuple("SVD", ["U", "S", "V"])


def det(input: Any) -> Any:
    """The determinant of square matrices: :func:`tapegrad.linalg.det`.

    >>> import tapegrad as tg
    >>> tg.det(tg.tensor([[1.0, 2.0], [3.0, 4.0]])).round(decimals=4)
    tensor(-2.)
    """
    return linalg.det(input)


def slogdet(input: Any) -> Slogdet:
    """The sign and the logarithm of the absolute value of the determinant:
    :func:`tapegrad.linalg.slogdet`.

    >>> import tapegrad as tg
    >>> tg.slogdet(tg.tensor([[0.0, 1.0], [1.0, 0.0]]))
    Slogdet(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    return linalg.slogdet(input)


def matrix_power(input: Any, n: int) -> Any:
    """The product of ``n`` times the same square matrix: :func:`tapegrad.linalg.matrix_power`.

    >>> import tapegrad as tg
    >>> tg.matrix_power(tg.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    return linalg.matrix_power(input, n)


def logdet(input: Any) -> Any:
    """The logarithm of the determinant: NaN where that is negative, -inf where it is 0.

    >>> import tapegrad as tg
    >>> tg.logdet(tg.tensor([[2.0, 0.0], [0.0, 0.5]]))
    tensor(0.)
    """
    sign, logabsdet = slogdet(input)
    return where(sign < 0, math.nan, logabsdet)


def inverse(input: Any) -> Any:
    """The inverse of square matrices: :func:`tapegrad.linalg.inv`.

    >>> import tapegrad as tg
    >>> tg.inverse(tg.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    return linalg.inv(input)


def pinverse(input: Any, rcond: float = 1e-15) -> Any:
    """The pseudo-inverse; singular values up to ``rcond`` times the largest count as 0.

    >>> import tapegrad as tg
    >>> tg.pinverse(tg.tensor([[2.0, 0.0]]))
    tensor([[0.5000],
            [0.0000]])
    """
    return linalg.pinv(input, rtol=rcond)


def cholesky(input: Any, upper: bool = False) -> Any:
    """The Cholesky factor: :func:`tapegrad.linalg.cholesky`.

    >>> import tapegrad as tg
    >>> tg.cholesky(tg.tensor([[4.0]]))
    tensor([[2.]])
    """
    return linalg.cholesky(input, upper=upper)


def cholesky_solve(B: Any, L: Any, upper: bool = False) -> Any:
    """X with A X = B, from the Cholesky factor of A: A = L Lᵀ (or Lᵀ L with ``upper``).

    >>> import tapegrad as tg
    >>> tg.cholesky_solve(tg.tensor([[8.0]]), tg.tensor([[2.0]]))
    tensor([[2.]])
    """
    if upper:
        half = linalg.solve_triangular(swap(L), B, upper=False)
        return linalg.solve_triangular(L, half, upper=True)
    half = linalg.solve_triangular(L, B, upper=False)
    return linalg.solve_triangular(swap(L), half, upper=True)


def cholesky_inverse(L: Any, upper: bool = False) -> Any:
    """A⁻¹ from the Cholesky factor of A: A = L Lᵀ (or Lᵀ L with ``upper``).

    >>> import tapegrad as tg
    >>> tg.cholesky_inverse(tg.tensor([[2.0]]))
    tensor([[0.2500]])
    """
    triangle = linalg.triu(L, offset=0) if upper else linalg.tril(L, offset=0)
    half = linalg.inv(triangle)
    return matmul(half, swap(half)) if upper else matmul(swap(half), half)


def svd(input: Any, some: bool = True, compute_uv: bool = True) -> SVD:
    """The singular value decomposition U diag(S) Vᵀ, with V itself: (U, S, V).

    torch's older function; new code says :func:`tapegrad.linalg.svd`. ``some``: the reduced form.

    >>> import tapegrad as tg
    >>> tg.svd(tg.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    u, s, vh = linalg.svd(input, not some)
    if not compute_uv:
        return SVD(u * 0, s, swap(vh) * 0)
    return SVD(u, s, swap(vh))


def qr(input: Any, some: bool = True) -> QR:
    """The QR decomposition; torch's older name of :func:`tapegrad.linalg.qr`.

    >>> import tapegrad as tg
    >>> Q, R = tg.qr(tg.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> R.shape
    (2, 2)
    """
    return linalg.qr(input, "reduced" if some else "complete")


def chain_matmul(*matrices: Any) -> Any:
    """The product of matrices in the order of least work: :func:`tapegrad.linalg.multi_dot`.

    >>> import tapegrad as tg
    >>> tg.chain_matmul(tg.ones(2, 3), tg.ones(3, 4), tg.ones(4, 1)).shape
    (2, 1)
    """
    return matrices[0] if len(matrices) == 1 else linalg.multi_dot(matrices)


METHODS: dict[str, Any] = {name: globals()[name] for name in __all__ if name != "chain_matmul"}
