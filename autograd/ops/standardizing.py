"""Groups of elements brought to mean 0 and mean square 1: what layers of normalisation share.

One operation in place of nine, with few passes over the memory. The statistics come with it, so
that nobody computes them twice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

from ..batched import Batched
from ..families import general
from ..registry import Sample
from ..values import dtype_of, float16, shape_of
from .exponentials import rsqrt
from .reductions import add_up, count_of, mean, spread
from .shaping import M23, M234


def _mean(x: Any, axis: tuple[int, ...]) -> Any:
    return add_up(x, axis=axis, keepdims=True) / max(count_of(x, axis), 1)


def _mean_product(a: Any, b: Any, axis: tuple[int, ...]) -> Any:
    """The mean of a·b; without an array of the products, where the last dimension is in it."""
    shape = shape_of(a)
    if not (type(a) is type(b) is ndarray and shape == b.shape and len(shape) - 1 in axis):
        return _mean(a * b, axis)
    if a.dtype.kind != "f" or not (a.flags.c_contiguous and b.flags.c_contiguous):
        return _mean(a * b, axis)
    first = len(shape) - 1
    while first - 1 in axis:
        first -= 1
    rows = (*shape[:first], math.prod(shape[first:]))
    total = np.vecdot(a.reshape(rows), b.reshape(rows))
    rest = tuple(i for i in axis if i < first)
    if rest:
        total = add_up(total, axis=rest)
    kept = [1 if i in axis else n for i, n in enumerate(shape)]
    return total.reshape(kept) / max(count_of(a, axis), 1)


def _standardize(x: Any, eps: Any, *, axis: tuple[int, ...], centred: bool) -> Any:
    if dtype_of(x) == float16:  # squares overflow soon, so the statistics stay in float32
        y, *statistics = _standardize(x.astype(np.float32), eps, axis=axis, centred=centred)
        return y.astype(np.float16), *statistics
    if type(eps) is Batched:  # one of each output for every example, as the rule adds them up
        x = x + np.multiply(eps, 0.0)
    if not centred:
        square = _mean_product(x, x, axis)
        return _beyond(x, x * (1.0 / np.sqrt(square + eps)), square, eps, axis), square
    centre = _mean(x, axis)
    y = x - centre
    square = _mean_product(y, y, axis)
    scale = 1.0 / np.sqrt(square + eps)
    if type(y) is type(scale) is ndarray and np.isfinite(square).all():
        return np.multiply(y, scale, out=y), square, centre
    return _beyond(y, y * scale, square, eps, axis), square, centre


def _beyond(about: Any, y: Any, square: Any, eps: Any, axis: tuple[int, ...]) -> Any:
    """y, put right where the squares were too large for the dtype though the elements are not."""
    over = np.isinf(square)
    if type(over) is not ndarray or not over.any():
        return y
    top = np.abs(about).max(axis=axis, keepdims=True)
    part = about / np.where(over, top, 1.0)
    found = part / np.sqrt(_mean_product(part, part, axis) + eps / top / top)
    return np.where(over, found, y)


def _pull(g: Any, outputs: Any, x: Any, eps: Any, *, axis: tuple[int, ...], centred: bool) -> Any:
    y, square = outputs[:2]
    found: Any = 0.0
    if g[0] is not None:
        found = standardize_pull(g[0], y, rsqrt(square + eps), axis=axis, centred=centred)
    share = 1.0 / max(count_of(x, axis), 1)
    if g[1] is not None:
        about = x - outputs[2] if centred else x
        found = found + about * (g[1] * (2.0 * share))
    if centred and g[2] is not None:
        found = found + spread(g[2] * share, axis=axis, keepdims=True, shape=shape_of(x))
    return found


def _pull_eps(
    g: Any, outputs: Any, _x: Any, eps: Any, *, axis: tuple[int, ...], centred: bool
) -> Any:
    if g[0] is None:
        return None
    return g[0] * outputs[0] * (-0.5 / (outputs[1] + eps))


_SAMPLES = [
    Sample(M23, 0.1, axis=(1,), centred=True),
    Sample(M23, 0.1, axis=(1,), centred=False),
    Sample(M234, 0.01, axis=(0, 2), centred=True),
    Sample(M234, 0.01, axis=(1, 2), centred=False),
]
standardize: Any = general(
    "standardize",
    _standardize,
    _pull,
    _pull_eps,
    partial_cotangents=True,
    analytic=True,
    samples=_SAMPLES,
    doc="""(x - mean)/√(variance + eps) over ``axis``, then the variance and the mean, as length 1.

    Without ``centred`` x/√(square + eps), with the mean of the squares alone. Differentiable by
    all of that, and through all of it: the statistics are functions of x.
    """,
)


def _standardize_pull(g: Any, y: Any, scale: Any, *, axis: tuple[int, ...], centred: bool) -> Any:
    if dtype_of(y) == float16:
        g, y = g.astype(np.float32), y.astype(np.float32)
        return _standardize_pull(g, y, scale, axis=axis, centred=centred).astype(np.float16)
    out = y * -_mean_product(g, y, axis)
    if type(out) is not ndarray:
        return (out + (g - _mean(g, axis) if centred else g)) * scale
    if centred:
        out -= _mean(g, axis)
    out += g
    return np.multiply(out, scale, out=out) if type(scale) is ndarray else out * scale


def _unscaled(g: Any, y: Any, axis: tuple[int, ...], centred: bool) -> Any:
    total = g - y * mean(g * y, axis=axis, keepdims=True)
    return total - mean(g, axis=axis, keepdims=True) if centred else total


def _pull_y(h: Any, _out: Any, g: Any, y: Any, scale: Any, *, axis: tuple[int, ...]) -> Any:
    h = h * scale
    by_g = mean(g * y, axis=axis, keepdims=True)
    return -(h * by_g + g * mean(h * y, axis=axis, keepdims=True))


standardize_pull: Any = general(
    "standardize_pull",
    _standardize_pull,
    lambda h, _out, _g, y, scale, *, axis, centred: standardize_pull(
        h, y, scale, axis=axis, centred=centred
    ),
    lambda h, _out, g, y, scale, *, axis, centred: _pull_y(h, _out, g, y, scale, axis=axis),
    lambda h, _out, g, y, _scale, *, axis, centred: h * _unscaled(g, y, axis, centred),
    analytic=True,
    samples=[
        Sample(np.cos(M23), M23, M23[:, :1] + 2.0, axis=(1,), centred=True),
        Sample(np.cos(M23), M23, M23[:, :1] + 2.0, axis=(1,), centred=False),
        Sample(np.cos(M234), M234, np.cos(M234[:1, :, :1]), axis=(0, 2), centred=True),
    ],
    doc="""scale · (g - mean(g) - y · mean(g · y)) over ``axis``: what ``standardize`` passes back.

    ``y`` is its result and ``scale`` its factor, kept as length 1 over ``axis``. Without
    ``centred`` the mean of g is not taken off.
    """,
)
