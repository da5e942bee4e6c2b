"""Variance, norms, medians, quantiles, distances and counts."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..ops import arithmetic, indexing, reductions, rounding, shaping, sorting
from ..ops import statistics as ops
from ..ops.engine import check
from ..values import dtype_of, shape_of
from .dims import either, reduced_dims
from .reductions import ValuesAndIndices, as_floating, as_type, chosen_dim, refuse_nothing

__all__ = [
    "bincount",
    "cdist",
    "dist",
    "histc",
    "median",
    "mode",
    "nanmedian",
    "nanquantile",
    "norm",
    "quantile",
    "std",
    "std_mean",
    "var",
    "var_mean",
]


# -- spread about the mean --------------------------------------------------------------------
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
) -> Any:
    """The standard deviation √(Σ (x - mean)² / (n - correction)) over ``dim`` (default: all).

    ``correction``: 1 by default (Bessel's), 0 for the population; ``unbiased=False`` says 0 too.
    Where all elements are equal the derivative counts as 0. One element with ``correction=1``
    gives NaN and a warning.

    >>> import tapegrad as tg
    >>> tg.std(tg.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor(1.2910)
    """
    return _about_mean(ops.std, "std", input, dim, unbiased, keepdim, correction, axis)


def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
) -> Any:
    """The variance Σ (x - mean)² / (n - correction) over ``dim`` (default: all dimensions).

    ``correction``: 1 by default (Bessel's), 0 for the population; ``unbiased=False`` says 0 too.
    One element with ``correction=1`` gives NaN and a warning.

    >>> import tapegrad as tg
    >>> tg.var(tg.tensor([1.0, 2.0, 3.0, 4.0])), tg.var(tg.tensor([1.0, 2.0, 3.0]), correction=0)
    (tensor(1.6667), tensor(0.6667))
    """
    return _about_mean(ops.var, "var", input, dim, unbiased, keepdim, correction, axis)


def _about_mean(
    op: Any,
    what: str,
    input: Any,
    dim: Any,
    unbiased: Any,
    keepdim: bool,
    correction: Any,
    axis: Any,
) -> Any:
    if isinstance(dim, bool):  # var(x, False), as in torch
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError(f"{what}: give unbiased= or correction=, not both")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    input = as_floating(input)
    shape = shape_of(input)
    dims = reduced_dims(dim, axis, len(shape), what)
    count = math.prod(shape[d] for d in dims)
    if count <= correction:
        warnings.warn(
            f"{what}: {count} elements with correction={correction} leave no degree of freedom, "
            "so that the result is NaN or inf; correction=0 is the population's",
            UserWarning,
            stacklevel=3,
        )
    return op(input, axis=dims, keepdims=bool(keepdim), correction=correction)


def std_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
) -> tuple[Any, Any]:
    """The standard deviation and the mean over ``dim``; see :func:`std`.

    >>> import tapegrad as tg
    >>> tg.std_mean(tg.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    spread = std(input, dim, unbiased, keepdim, correction=correction, axis=axis)
    return spread, _mean(input, dim, keepdim, axis)


def var_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
) -> tuple[Any, Any]:
    """The variance and the mean over ``dim``; see :func:`var`.

    >>> import tapegrad as tg
    >>> tg.var_mean(tg.tensor([1.0, 2.0, 3.0]), correction=0)
    (tensor(0.6667), tensor(2.))
    """
    spread = var(input, dim, unbiased, keepdim, correction=correction, axis=axis)
    return spread, _mean(input, dim, keepdim, axis)


def _mean(input: Any, dim: Any, keepdim: bool, axis: Any) -> Any:
    input = as_floating(input)
    dims = reduced_dims(None if isinstance(dim, bool) else dim, axis, len(shape_of(input)), "mean")
    return reductions.mean(input, axis=dims, keepdims=bool(keepdim))


# -- norms and distances ----------------------------------------------------------------------
def vector_norm(
    x: Any,
    ord: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
) -> Any:
    """The norm (Σ |x|ᵖ)^(1/p) over ``dim`` (default: all dimensions, flattened), p = ``ord``.

    ``ord``: any number; inf is max |x|, -inf min |x|, 0 counts what is not 0. ``dtype``: convert
    first. The derivative at the zero vector counts as 0, as does that by an element that is 0
    where |x|ᵖ has a kink there (p ≤ 1). At ord = ±inf ties share evenly. Raises RuntimeError for
    ±inf and negative orders of nothing.

    >>> import tapegrad as tg
    >>> from tapegrad.functions.statistics import vector_norm
    >>> vector_norm(tg.tensor([3.0, -4.0]))
    tensor(5.)
    """
    if isinstance(ord, bool) or not isinstance(ord, (int, float, np.integer, np.floating)):
        raise TypeError(f"vector_norm: ord must be a number, not {type(ord).__name__} {ord!r}")
    x = as_floating(x, dtype)
    dims = reduced_dims(dim, axis, len(shape_of(x)), "vector_norm")
    if (ord < 0 or ord == math.inf) and math.prod(shape_of(x)[d] for d in dims) == 0:
        raise RuntimeError(
            f"vector_norm: no norm of order {ord} of nothing (shape {shape_of(x)}, dim {dims})"
        )
    return ops.vector_norm(x, axis=dims, keepdims=bool(keepdim), ord=float(ord))


def norm(
    input: Any,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
    *,
    axis: Any = None,
) -> Any:
    """The norm (Σ |x|ᵖ)^(1/p) over ``dim`` (default: all dimensions, flattened).

    ``p``: any number, ``inf``, ``-inf``, 0 (how many are not 0), ``"fro"`` (2) or ``"nuc"`` (the
    sum of the singular values of a matrix). The derivative at the zero vector counts as 0, as
    does that by an element that is 0 where |x|ᵖ has a kink there (p ≤ 1).

    >>> import tapegrad as tg
    >>> x = tg.tensor([3.0, -4.0], requires_grad=True)
    >>> x.norm().backward()
    >>> x.grad
    tensor([ 0.6000, -0.8000])
    >>> tg.norm(tg.tensor([3.0, -4.0]), p=1)
    tensor(7.)
    """
    dim = either(dim, axis, "norm")
    if p == "nuc":
        from .. import linalg

        return linalg.matrix_norm(
            as_type(input, dtype), "nuc", (-2, -1) if dim is None else dim, keepdim
        )
    if p is None or p == "fro":
        p = 2
    if isinstance(p, str):
        raise ValueError(f"norm: p={p!r} is not known; use a number, inf, -inf, 'fro' or 'nuc'")
    return vector_norm(input, float(p), dim, keepdim, dtype=dtype)


def dist(input: Any, other: Any, p: float = 2) -> Any:
    """The p-norm of ``input - other``; see :func:`norm`.

    >>> import tapegrad as tg
    >>> tg.dist(tg.tensor([3.0, 4.0]), tg.tensor([0.0, 0.0]))
    tensor(5.)
    """
    return norm(input - other, p)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str | None = None) -> Any:
    """The p-norm distances between the rows of two matrices (batches broadcast).

    ``x1``: (..., n, d), ``x2``: (..., m, d); the result is (..., n, m). Coinciding points have
    derivative 0. ``compute_mode`` is accepted for PyTorch's sake: distances are always computed
    from differences, which loses no digits between near points.

    >>> import tapegrad as tg
    >>> tg.cdist(tg.tensor([[0.0, 0.0], [3.0, 4.0]]), tg.tensor([[0.0, 0.0]]))
    tensor([[0.],
            [5.]])
    """
    a, b = shape_of(x1), shape_of(x2)
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-1]:
        raise RuntimeError(
            f"cdist: shapes {a} and {b} are not (..., n, d) and (..., m, d) with the same d"
        )
    if p < 0:
        raise RuntimeError(f"cdist: p must not be negative, got {p}")
    x1, x2 = as_floating(x1), as_floating(x2)
    gaps = shaping.reshape(x1, shape=(*a[:-1], 1, a[-1])) - shaping.reshape(
        x2, shape=(*b[:-2], 1, *b[-2:])
    )
    if p == math.inf and a[-1] == 0:
        p = 2.0  # a distance between points without coordinates is 0
    return vector_norm(gaps, p, -1)


# -- order statistics -------------------------------------------------------------------------
def median(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """The lower of the middle elements, as in PyTorch (NumPy averages the two).

    ``median(x)`` is a value over all elements, equal ones sharing the gradient evenly (NaN of
    nothing); ``median(x, dim)`` is ``(values, indices)``, where the chosen element takes the
    whole gradient. NaN when there is a NaN.

    >>> import tapegrad as tg
    >>> tg.median(tg.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor(2.)
    """
    return _median(input, dim, keepdim, axis, "median", ops.median_dim)


def nanmedian(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """The median of what is not NaN; see :func:`median`. NaN where everything is.

    >>> import tapegrad as tg
    >>> tg.nanmedian(tg.tensor([1.0, tg.nan, 3.0, 4.0]))
    tensor(3.)
    """
    return _median(input, dim, keepdim, axis, "nanmedian", ops.nanmedian_dim)


def _median(input: Any, dim: Any, keepdim: bool, axis: Any, what: str, choose: Any) -> Any:
    dim = either(dim, axis, what)
    if dim is not None:
        dims = chosen_dim(dim, None, input, what)
        refuse_nothing(input, dims, dim, what)
        return ValuesAndIndices(*choose(input, axis=dims, keepdims=bool(keepdim)))
    shape = shape_of(input)
    if math.prod(shape) == 0 and dtype_of(input).kind == "f":
        return reductions.mean(input, axis=tuple(range(len(shape))), keepdims=False)  # NaN
    dims = tuple(range(len(shape)))
    return ops.median(input, axis=dims, keepdims=False, ignore_nan=what == "nanmedian")


def mode(input: Any, dim: Any = -1, keepdim: bool = False, *, axis: Any = None) -> ValuesAndIndices:
    """The most frequent value along ``dim`` and its last index, as ``(values, indices)``.

    Of equally frequent values the smallest. The chosen element takes the whole gradient.

    >>> import tapegrad as tg
    >>> tg.mode(tg.tensor([3.0, 1.0, 1.0, 2.0]))
    ValuesAndIndices(values=tensor(1.), indices=tensor(2))
    """
    dim = dim if axis is None else axis
    dims = chosen_dim(dim, None, input, "mode")
    refuse_nothing(input, dims, dim, "mode")
    return ValuesAndIndices(*ops.mode_dim(input, axis=dims, keepdims=bool(keepdim)))


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def quantile(
    input: Any,
    q: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    axis: Any = None,
) -> Any:
    """The ``q``-th quantiles along ``dim`` (default: of all elements).

    ``q``: a number in [0, 1], or a 1-d tensor of them, whose length then comes first in the
    shape of the result. The value at the fractional place q (n - 1) of the sorted elements;
    ``interpolation`` between its neighbours: "linear" (differentiable by ``q`` too), "lower",
    "higher", "midpoint" or "nearest". NaN when there is a NaN. The gradient goes to the
    elements that stand at those places.

    >>> import tapegrad as tg
    >>> tg.quantile(tg.tensor([3.0, 1.0, 2.0, 4.0]), 0.5)
    tensor(2.5000)
    >>> tg.quantile(tg.tensor([3.0, 1.0, 2.0, 4.0]), tg.tensor([0.0, 1.0]))
    tensor([1., 4.])
    """
    return _quantile(input, q, dim, keepdim, interpolation, axis, "quantile")


def nanquantile(
    input: Any,
    q: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    axis: Any = None,
) -> Any:
    """The quantiles of what is not NaN; see :func:`quantile`. NaN where everything is.

    >>> import tapegrad as tg
    >>> tg.nanquantile(tg.tensor([3.0, 1.0, tg.nan]), 0.5)
    tensor(2.)
    """
    return _quantile(input, q, dim, keepdim, interpolation, axis, "nanquantile")


def _quantile(
    input: Any, q: Any, dim: Any, keepdim: bool, interpolation: str, axis: Any, what: str
) -> Any:
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{what}: interpolation {interpolation!r} is not one of {', '.join(_INTERPOLATIONS)}"
        )
    input = as_floating(input)
    shape = shape_of(input)
    if math.prod(shape) == 0:
        raise RuntimeError(f"{what}: a tensor of shape {shape} has no elements")
    dim = either(dim, axis, what)
    if dim is None:
        lined, at, kept = shaping.reshape(input, shape=(-1,)), 0, (1,) * len(shape)
    else:
        (at,) = chosen_dim(dim, None, input, what) or (0,)
        lined = input if shape else shaping.reshape(input, shape=(1,))
        kept = tuple(1 if i == at else n for i, n in enumerate(shape))
    q_shape = shape_of(q)
    if len(q_shape) > 1:
        raise RuntimeError(f"{what}: q must be a number or 1-d, not of shape {q_shape}")
    # Elements first along dimension 0, so that quantiles come first too.
    count, rest = shape_of(lined)[at], [i for i in range(len(shape_of(lined))) if i != at]
    rows = shaping.permute(lined, axes=(at, *rest))
    ordered = indexing.gather(rows, sorting.argsort(rows, axis=0, descending=False), axis=0)
    nans = shaping.cast(ordered != ordered, dtype=dtype_of(ordered))
    spare = reductions.sum(nans, axis=(0,), keepdims=True)
    # q (1 or length m, then ones) times the number of steps
    steps = shaping.reshape(as_floating(q), shape=(math.prod(q_shape), *[1] * len(rest)))
    if type(q) in (int, float) and not 0 <= q <= 1:
        raise RuntimeError(f"{what}: q must lie in [0, 1], got {q}")
    check((steps >= 0.0) & (steps <= 1.0), f"{what}: q must lie in [0, 1]")
    steps = shaping.cast(steps, dtype=dtype_of(ordered))
    last = count - 1 - spare if what == "nanquantile" else float(count - 1)
    place = steps * arithmetic.maximum(last, 0.0)
    if interpolation == "nearest":
        place = rounding.round(place)
    low, high = rounding.floor(place), rounding.ceil(place)
    below, above = _at(ordered, low), _at(ordered, high)
    if interpolation == "linear":
        found = below + (above - below) * (place - low)
    elif interpolation == "midpoint":
        found = below + (above - below) * 0.5
    else:
        found = above if interpolation == "higher" else below
    if what == "quantile":
        found = arithmetic.where(spare > 0, math.nan, found)
    ends = kept if keepdim else tuple(n for i, n in enumerate(kept) if dim is not None and i != at)
    return shaping.reshape(found, shape=(*q_shape, *ends))


def _at(ordered: Any, place: Any) -> Any:
    """The rows of ``ordered`` at whole-numbered places, which may differ by column."""
    places = shaping.cast_whole(place, dtype=np.dtype("int64"))
    wanted = (shape_of(places)[0], *shape_of(ordered)[1:])
    return indexing.gather(ordered, shaping.expand(places, shape=wanted), axis=0)


# -- counting ---------------------------------------------------------------------------------
def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    """How many elements fall into each of ``bins`` equal intervals from ``min`` to ``max``.

    With ``min = max = 0`` the range is that of the data; what lies outside is not counted. Off
    the tape, in the dtype of ``input``.

    >>> import tapegrad as tg
    >>> tg.histc(tg.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    if bins < 1:
        raise RuntimeError(f"histc: bins must be positive, got {bins}")
    if max < min:
        raise RuntimeError(f"histc: max={max} lies below min={min}")
    return ops.histc(as_floating(input), bins=int(bins), low=float(min), high=float(max))


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each of 0, 1, 2, ... occurs in a 1-d integer tensor. Off the tape.

    ``weights``: add these up instead of ones. ``minlength``: at least so many counts.

    >>> import tapegrad as tg
    >>> tg.bincount(tg.tensor([0, 1, 1, 3]))
    tensor([1, 2, 0, 1])
    """
    if len(shape_of(input)) != 1 or dtype_of(input).kind not in "iub":
        raise RuntimeError(
            f"bincount: takes a 1-d integer tensor, not one of shape {shape_of(input)} and dtype "
            f"{dtype_of(input)}"
        )
    if weights is None:
        return ops.bincount(input, minlength=minlength)
    if shape_of(weights) != shape_of(input):
        raise RuntimeError(
            f"bincount: weights have shape {shape_of(weights)}, but input has {shape_of(input)}"
        )
    return ops.bincount(input, weights, minlength=minlength)


METHODS = {
    name: globals()[name] for name in __all__ if name not in ("cdist", "std_mean", "var_mean")
}
