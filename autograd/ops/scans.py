"""Scans along one dimension: running sums, products, extremes, and what their derivatives need.

The derivative of a running product is the recurrence ``h[i] = a[i] h[i-1] + b[i]``, whose own
derivatives are recurrences again: so all of this is right at zeros, to any order, without a
division. ``reverse`` runs a scan from the last element to the first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import general, linear
from ..registry import Sample
from ..values import dtype_of, shape_of
from .arithmetic import where
from .exponentials import exp
from .shaping import M23, M234, cast, permute, reshape


def _along(axis: int, part: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * axis, part)


def _position(x: Any, axis: int) -> ndarray:
    """0, 1, 2, ... along ``axis``, to be broadcast."""
    shape = shape_of(x)
    return np.arange(shape[axis]).reshape(-1, *[1] * (len(shape) - axis - 1))


def _is_first(x: Any, axis: int, reverse: bool) -> ndarray:
    """True where a scan along ``axis`` starts."""
    return _position(x, axis) == (shape_of(x)[axis] - 1 if reverse else 0)


# -- linear -----------------------------------------------------------------------------------
def _accumulate(ufunc: Any, x: Any, axis: int, reverse: bool) -> Any:
    if not reverse:
        return ufunc.accumulate(x, axis=axis)
    return np.flip(ufunc.accumulate(np.flip(x, axis), axis=axis), axis).copy()


_SCANS = [
    Sample(M23, axis=1, reverse=False),
    Sample(M234[:, :, :2], axis=0, reverse=True),
    Sample([0.5, -1.5, 2.0, 0.25], axis=0, reverse=False),
]
cumsum: Any = linear(
    "cumsum",
    lambda x, *, axis, reverse: _accumulate(np.add, x, axis, reverse),
    lambda g, _x, *, axis, reverse: cumsum(g, axis=axis, reverse=not reverse),
    samples=_SCANS,
    doc="The running sum y[i] = x[0] + ... + x[i] along ``axis``.",
)


def _shift(x: Any, *, axis: int, by: int) -> Any:
    if type(x) is ndarray:
        out = np.zeros_like(x)
        n = shape_of(x)[axis]
        to, source = slice(max(by, 0), n + min(by, 0)), slice(max(-by, 0), n - max(by, 0))
        out[_along(axis, to)] = x[_along(axis, source)]
        return out
    outside = _position(x, axis) == (0 if by > 0 else shape_of(x)[axis] - 1)
    return np.where(outside, dtype_of(x).type(0), np.roll(x, by, axis))


# by = 1: y[i] = x[i-1], and 0 at the start; by = -1: y[i] = x[i+1], and 0 at the end
shift: Any = linear(
    "shift",
    _shift,
    lambda g, _x, *, axis, by: shift(g, axis=axis, by=-by),
    samples=[Sample(M23, axis=1, by=1), Sample(M234, axis=1, by=-1), Sample([0.5], axis=0, by=1)],
    doc="The elements one place further along ``axis`` (``by`` = 1 or -1), 0 coming in.",
)


# -- the recurrence ---------------------------------------------------------------------------
def _recurrence(a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    n = shape_of(b)[axis]
    order = range(n - 1, -1, -1) if reverse else range(n)
    if type(a) is ndarray and type(b) is ndarray:
        out = np.empty_like(b)
        sources, factors, results = (np.moveaxis(v, axis, 0) for v in (b, a, out))
        h: Any = None
        for i in order:
            h = sources[i] if h is None else factors[i] * h + sources[i]
            results[i] = h
        return out
    rows: list[Any] = [None] * n
    h = None
    for i in order:
        at = _along(axis, i)
        rows[i] = h = b[at] if h is None else a[at] * h + b[at]
    return np.stack(rows, axis=axis) if rows else b


recurrence: Any = general(
    "recurrence",
    _recurrence,
    lambda g, y, a, _b, *, axis, reverse: (
        _adjoint(g, a, axis, reverse) * shift(y, axis=axis, by=-1 if reverse else 1)
    ),
    lambda g, _y, a, _b, *, axis, reverse: _adjoint(g, a, axis, reverse),
    push=lambda tangents, y, a, b, *, axis, reverse: recurrence(
        a, _moved(tangents, y, axis, reverse), axis=axis, reverse=reverse
    ),
    samples=[
        Sample(M23, M23[::-1].copy(), axis=1, reverse=False),
        Sample(M234[:, :, :2], M234[:, ::-1, :2].copy(), axis=1, reverse=True),
        Sample([0.5], [1.5], axis=0, reverse=False),
    ],
    doc="""h[i] = a[i] h[i-1] + b[i] along ``axis``, starting from h[0] = b[0].

    ``a`` and ``b`` have one shape. A loop over ``axis``, vectorised over the rest.
    """,
)


def _adjoint(g: Any, a: Any, axis: int, reverse: bool) -> Any:
    """λ[i] = a[i+1] λ[i+1] + g[i]: the same recurrence, the other way."""
    ahead = shift(a, axis=axis, by=1 if reverse else -1)
    return recurrence(ahead, g, axis=axis, reverse=not reverse)


def _moved(tangents: Any, y: Any, axis: int, reverse: bool) -> Any:
    da, db = tangents
    if da is None:
        return db
    moved = da * shift(y, axis=axis, by=-1 if reverse else 1)
    return moved if db is None else moved + db


# -- products ---------------------------------------------------------------------------------
def _before(y: Any, axis: int, reverse: bool) -> Any:
    """The product of what comes before each element, from the running product ``y``."""
    first = _is_first(y, axis, reverse).astype(dtype_of(y))
    return shift(y, axis=axis, by=-1 if reverse else 1) + first


cumprod: Any = general(
    "cumprod",
    lambda x, *, axis, reverse: _accumulate(np.multiply, x, axis, reverse),
    lambda g, y, x, *, axis, reverse: _before(y, axis, reverse) * _adjoint(g, x, axis, reverse),
    push=lambda tangents, y, x, *, axis, reverse: recurrence(
        x, tangents[0] * _before(y, axis, reverse), axis=axis, reverse=reverse
    ),
    floating=False,
    analytic=True,
    samples=[*_SCANS, Sample([2.0, 0.0, 3.0, 0.0, 0.5], axis=0, reverse=False)],
    doc="""The running product y[i] = x[0] · ... · x[i] along ``axis``.

    Its derivative divides by nothing, so that it is right where elements are 0.
    """,
)


def others_product(x: Any, axis: tuple[int, ...]) -> Any:
    """For each element the product of all the others over ``axis``; a function for rules."""
    shape = shape_of(x)
    if not axis or math.prod(shape) == 0:
        return 1.0
    if len(axis) == 1:
        (a,) = axis
        ahead = cumprod(x, axis=a, reverse=False)
        behind = cumprod(x, axis=a, reverse=True)
        return _before(ahead, a, False) * _before(behind, a, True)
    order = (*(i for i in range(len(shape)) if i not in axis), *axis)
    kept = tuple(shape[i] for i in order[: len(shape) - len(axis)])
    lined = reshape(permute(x, axes=order), shape=(*kept, math.prod(shape[a] for a in axis)))
    found = reshape(others_product(lined, (len(kept),)), shape=tuple(shape[i] for i in order))
    return permute(found, axes=tuple(int(i) for i in np.argsort(order)))


# -- logcumsumexp -----------------------------------------------------------------------------
def _ratio(a: Any, b: Any) -> Any:
    """exp(a - b) for a <= b: 1 at a = b = inf, 0 at a = b = -inf."""
    top = (a == np.inf) & (b == np.inf)
    bottom = b == -np.inf
    gap = where(top | bottom, 0.0, where(top | bottom, 0.0, a) - where(top | bottom, 0.0, b))
    return where(bottom, 0.0, exp(gap))


def _decay(y: Any, axis: int) -> Any:
    """exp(y[i-1] - y[i]), which is at most 1; the first element is not used."""
    first = _is_first(y, axis, False)
    return _ratio(where(first, y, shift(y, axis=axis, by=1)), y)


logcumsumexp = general(
    "logcumsumexp",
    lambda x, *, axis: np.logaddexp.accumulate(x, axis=axis),
    lambda g, y, x, *, axis: _ratio(x, y) * _adjoint(g, _decay(y, axis), axis, False),
    push=lambda tangents, y, x, *, axis: recurrence(
        _decay(y, axis), tangents[0] * _ratio(x, y), axis=axis, reverse=False
    ),
    samples=[Sample(M23, axis=1), Sample(M234, axis=0), Sample([0.5, -1.0, 2.0], axis=0)],
    doc="""y[i] = log(exp x[0] + ... + exp x[i]) along ``axis``, stable for large |x|.

    The derivative is exp(x[j] - y[i]): where all is -inf it counts as 0.
    """,
)


# -- running extremes -------------------------------------------------------------------------
def _running(ufunc: Any, x: Any, axis: int) -> tuple[Any, Any]:
    values = ufunc.accumulate(x, axis=axis)
    # A new extreme starts where an element equals it: the last of equals, as torch's.
    starts = (x == values) | (x != x)
    return values, np.maximum.accumulate(np.where(starts, _position(x, axis), 0), axis=axis)


def _runs(outputs: Any, x: Any, axis: int) -> tuple[Any, Any]:
    """Where a new extreme starts (1, else 0), and where the old one goes on."""
    starts = cast(outputs[1] == _position(x, axis), dtype=dtype_of(x))
    return starts, 1.0 - starts


def _running_rule(g: Any, y: Any, _x: Any, *, axis: int) -> Any:
    starts, goes_on = _runs(y, _x, axis)
    return starts * _adjoint(g[0], goes_on, axis, False)


def _running_push(tangents: Any, y: Any, x: Any, *, axis: int) -> Any:
    starts, goes_on = _runs(y, x, axis)
    return recurrence(goes_on, starts * tangents[0], axis=axis, reverse=False), None


_RUNNING = [Sample(M23, axis=1), Sample(M234[:, ::-1], axis=1), Sample([0.5, 2.0, -1.0], axis=0)]
cummax = general(
    "cummax",
    lambda x, *, axis: _running(np.maximum, x, axis),
    _running_rule,
    push=_running_push,
    floating=False,
    samples=_RUNNING,
    doc="""The largest element so far along ``axis``, and where it is (the last of equals).

    The element at that index takes the whole gradient.
    """,
)
cummin = general(
    "cummin",
    lambda x, *, axis: _running(np.minimum, x, axis),
    _running_rule,
    push=_running_push,
    floating=False,
    samples=_RUNNING,
    doc="""The smallest element so far along ``axis``, and where it is (the last of equals).

    The element at that index takes the whole gradient.
    """,
)
