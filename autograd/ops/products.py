"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, bilinear
from ..values import shape_of
from .shaping import M23, M234, permute, reshape


def swap(x: Any) -> Any:
    """Transpose the last two dimensions."""
    n = len(shape_of(x))
    return permute(x, axes=(*range(n - 2), n - 1, n - 2))


def _left(g: Any, a: Any, b: Any) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    if na == 1 and nb == 1:
        return g * b
    if nb == 1:  # (..., n, k) @ (k,)
        return reshape(g, shape=(*shape_of(g), 1)) * b
    if na == 1:  # (k,) @ (..., k, m): g (..., m)
        return reshape(matmul(b, reshape(g, shape=(*shape_of(g), 1))), shape=shape_of(b)[:-1])
    return matmul(g, swap(b))


def _right(g: Any, a: Any, b: Any) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    if na == 1 and nb == 1:
        return g * a
    if na == 1:  # (k,) @ (..., k, m)
        return reshape(a, shape=(*shape_of(a), 1)) * reshape(
            g, shape=(*shape_of(g)[:-1], 1, shape_of(g)[-1])
        )
    if nb == 1:  # (..., n, k) @ (k,): g (..., n)
        return reshape(matmul(swap(a), reshape(g, shape=(*shape_of(g), 1))), shape=(*shape_of(a)[:-2], shape_of(a)[-1]))
    return matmul(swap(a), g)


matmul = bilinear(
    "matmul",
    np.matmul,
    _left,
    _right,
    samples=[
        Sample(M23, M23.T.copy()),
        Sample(M23, M23[0]),
        Sample(M23[:, 0], M23),
        Sample(M23[0], M23[1]),
        Sample(M234, M23),
        Sample(M234[:, None], M234.transpose(0, 2, 1).copy()),
        Sample(M23[0], M234.transpose(0, 1, 2).copy()),
    ][:4],
)
