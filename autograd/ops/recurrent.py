"""Recurrent networks over whole sequences: h[t] depends on x[t] and, through w, on h[t-1].

A step is a small product of matrices and a few functions of its elements. As operations of their
own, these cost more in being recorded than in being computed, and the gradient of w is a sum of
one product for each step, where one product over all steps would do. So a sequence is one
primitive. Its derivative is a walk over the steps in the other order, stated in tensor ops.

Sequences of several lengths are packed: first the rows of step 0, one for each sequence, then
those of step 1 for the sequences that have one, and so on. The longest comes first, so that
``sizes``, the number of rows of each step, only falls. With ``reverse`` a sequence is read from
its own end to its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import general
from ..registry import Sample
from ..values import full_like_value, shape_of
from .arithmetic import where
from .exponentials import tanh
from .reductions import sum
from .shaping import M23, M234, cat, pad, permute, split

Sizes = tuple[int, ...]


# -- what the three have in common --------------------------------------------------------------
def _steps(
    initial: tuple[ndarray, ...], sizes: Sizes, reverse: bool
) -> Iterator[tuple[Any, list[ndarray], Callable[..., None]]]:
    """For each step in the order of time: its rows, the states before it, and where to leave
    those after it. Arrays may have dimensions of a batch in front."""
    starts = np.cumsum((0, *sizes)).tolist()
    order = range(len(sizes))
    states = [s[..., :0, :] for s in initial]

    def leave(*after: ndarray) -> None:
        states[:] = after

    for t in reversed(order) if reverse else order:
        n, had = sizes[t], states[0].shape[-2]
        if had > n:  # some sequences ended
            states[:] = [s[..., :n, :] for s in states]
        elif had < n:  # some begin here
            states[:] = [
                np.concatenate((s, first[..., had:n, :]), -2)
                for s, first in zip(states, initial, strict=True)
            ]
        yield (..., slice(starts[t], starts[t + 1]), slice(None)), states, leave


def _before(states: Any, initial: Any, sizes: Sizes, reverse: bool) -> Any:
    """The packed states that the steps start from, given those that they end with."""
    parts = split(states, axis=0, sizes=sizes)
    if not reverse:
        before = [initial]
        for part, had, n in zip(parts, sizes, sizes[1:], strict=False):
            before.append(part if n == had else part[:n])
        return cat(*before, axis=0)
    before = []
    for part, n, had in zip(parts[1:], sizes, sizes[1:], strict=False):
        before.append(part)
        if had < n:
            before.append(initial[had:n])
    return cat(*before, initial[: sizes[-1]], axis=0)


def _walk_back(sizes: Sizes, reverse: bool, step: Callable[..., tuple[Any, ...]]) -> list[Any]:
    """The cotangents of the initial states.

    ``step(t, carried)`` takes the cotangents of the states after a step, as far as they come from
    later steps (None: from nowhere), and gives those of the states before it.
    """
    order = range(len(sizes))
    carried: Any = None
    had, begun = 0, []
    for t in order if reverse else reversed(order):
        n = sizes[t]
        if carried is not None and had > n:  # the sequences that began after this step
            begun.append([c[n:had] for c in carried])
            carried = [c[:n] for c in carried]
        elif carried is not None and had < n:  # those that ended with it
            carried = [pad(c, widths=((0, n - had), (0, 0))) for c in carried]
        carried, had = step(t, carried), n
    return [
        cat(c, *(rows[k] for rows in reversed(begun)), axis=0) if begun else c
        for k, c in enumerate(carried)
    ]


def _zeros_like(x: Any) -> Any:
    return full_like_value(0.0, getattr(x, "_value", x))


def _turned(w: Any) -> Any:
    return permute(w, axes=(1, 0))


def _sigmoid(x: ndarray) -> None:
    """In place."""
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1.0
    np.reciprocal(x, out=x)


_W = np.sin(np.arange(16.0)).reshape(2, 8)
_X = np.cos(np.arange(40.0)).reshape(5, 8)
#: Three sequences of two numbers each, of lengths 2, 2 and 1.
_SIZES = {"sizes": (3, 2), "reverse": False}
_BACK = {"sizes": (2, 2, 1), "reverse": True}
_H = M23[:, :2]
_H3 = M234[0, :, :2].copy()


# -- RNN ----------------------------------------------------------------------------------------
def _rnn(
    x: ndarray, w: ndarray, h0: ndarray, *, sizes: Sizes, reverse: bool, relu: bool
) -> ndarray:
    w = np.ascontiguousarray(w)
    y = np.empty(x.shape, x.dtype)
    for rows, (h,), leave in _steps((h0,), sizes, reverse):
        out = np.matmul(h, w, out=y[rows])
        out += x[rows]
        leave(np.maximum(out, 0, out=out) if relu else np.tanh(out, out=out))
    return y


def _rnn_pulls(
    g: Any, y: Any, xs: Any, *, sizes: Sizes, reverse: bool, relu: bool
) -> Callable[[int], Any]:
    _, w, h0 = xs
    gs = split(g, axis=0, sizes=sizes)
    slopes = split(y > 0 if relu else 1.0 - y * y, axis=0, sizes=sizes)
    across = _turned(w)
    found: list[Any] = [None] * len(sizes)

    def step(t: int, carried: Any) -> Any:
        dh = gs[t] if carried is None else gs[t] + carried[0]
        found[t] = where(slopes[t], dh, 0.0) if relu else dh * slopes[t]
        return (found[t] @ across,)

    (dh0,) = _walk_back(sizes, reverse, step)
    dx = cat(*found, axis=0)
    return lambda i: _turned(_before(y, h0, sizes, reverse)) @ dx if i == 1 else dh0 if i else dx


rnn_steps: Any = general(
    "rnn_steps",
    _rnn,
    parts=_rnn_pulls,
    samples=[
        Sample(_X[:, :2], _W[:, :2], _H3, relu=False, **_SIZES),
        Sample(_X[:, 2:4], _W[:, :2], _H, relu=False, **_BACK),
        Sample(_X[:4, :2], _W[:, :2], _H, relu=True, sizes=(2, 2), reverse=False),
    ],
    doc="""h[t] = tanh(x[t] + h[t-1]·w), or with the positive part in the place of tanh.

    x (rows, H) packed, w (H, H), h0 (N, H); the result is packed, too.
    """,
)


# -- LSTM ---------------------------------------------------------------------------------------
def _lstm(
    x: ndarray, w: ndarray, h0: ndarray, c0: ndarray, *, sizes: Sizes, reverse: bool
) -> tuple[ndarray, ndarray, ndarray]:
    w = np.ascontiguousarray(w)
    width = c0.shape[-1]
    gates = np.empty(x.shape, x.dtype)
    hs = np.empty((*x.shape[:-1], width), x.dtype)
    cs = np.empty_like(hs)
    place = [(..., slice(k * width, (k + 1) * width)) for k in range(4)]
    with np.errstate(over="ignore"):  # 1/(1 + inf) is the 0 it should be
        for rows, (h, c), leave in _steps((h0, c0), sizes, reverse):
            a = np.matmul(h, w, out=gates[rows])
            a += x[rows]
            new = np.tanh(a[place[2]])
            _sigmoid(a)
            a[place[2]] = new
            new *= a[place[0]]
            c = np.multiply(a[place[1]], c, out=cs[rows])
            c += new
            leave(np.multiply(a[place[3]], np.tanh(c), out=hs[rows]), c)
    return hs, cs, gates


def _lstm_pulls(g: Any, y: Any, xs: Any, *, sizes: Sizes, reverse: bool) -> Callable[[int], Any]:
    (gh, gc, ga), (hs, cs, gates) = g, y
    _, w, h0, c0 = xs
    i, f, n, o = split(gates, axis=1, sizes=(shape_of(c0)[1],) * 4)
    fell = tanh(cs)
    slope_i, slope_f, slope_n, slope_o = i * (1.0 - i), f * (1.0 - f), 1.0 - n * n, o * (1.0 - o)
    # A gate's sum gets this times what c gets (the output gate's: times what h gets).
    shares = cat(
        n * slope_i, _before(cs, c0, sizes, reverse) * slope_f, i * slope_n, fell * slope_o, axis=1
    )
    through, shares, kept, gh = (
        split(part, axis=0, sizes=sizes)
        for part in (o * (1.0 - fell * fell), shares, f, _zeros_like(hs) if gh is None else gh)
    )
    if ga is not None:  # the gates are used themselves: at second order
        slopes = cat(slope_i, slope_f, slope_n, slope_o, axis=1)
        ga = split(ga * slopes, axis=0, sizes=sizes)
    gc = None if gc is None else split(gc, axis=0, sizes=sizes)
    across = _turned(w)
    found: list[Any] = [None] * len(sizes)

    def step(t: int, carried: Any) -> Any:
        dh = gh[t] if carried is None else gh[t] + carried[0]
        dc = dh * through[t]
        if carried is not None:
            dc = dc + carried[1]
        if gc is not None:
            dc = dc + gc[t]
        da = cat(dc, dc, dc, dh, axis=1) * shares[t]
        found[t] = da = da if ga is None else da + ga[t]
        return da @ across, dc * kept[t]

    dh0, dc0 = _walk_back(sizes, reverse, step)
    dx = cat(*found, axis=0)

    def pull(i: int) -> Any:
        if i == 1:
            return _turned(_before(hs, h0, sizes, reverse)) @ dx
        return (dx, None, dh0, dc0)[i]

    return pull


lstm_steps: Any = general(
    "lstm_steps",
    _lstm,
    parts=_lstm_pulls,
    partial_cotangents=True,
    samples=[
        Sample(_X, _W, _H3, _H3[::-1] * 0.5, **_SIZES),
        Sample(_X, _W, _H, _H[::-1] * 0.5, **_BACK),
        Sample(_X[:2], _W[:1], _H[:, :1], _H[::-1] * 0.5, sizes=(2,), reverse=False),
    ],
    doc="""c[t] = f·c[t-1] + i·n and h[t] = o·tanh(c[t]), with i, f, o = σ and n = tanh of a sum.

    The sum is that part of x[t] + h[t-1]·w: x (rows, 4H) packed and w (H, 4H) have columns for
    i, f, n, o. h0, c0: (N, H); of a single step, h0 and w may have another number in the place
    of H. Gives h, c and the gates, packed.
    """,
)


# -- GRU ----------------------------------------------------------------------------------------
def _gru(
    x: ndarray, w: ndarray, b: ndarray, h0: ndarray, *, sizes: Sizes, reverse: bool
) -> tuple[ndarray, ndarray, ndarray]:
    w, b = np.ascontiguousarray(w), b[..., None, :]
    width = h0.shape[-1]
    gates = np.empty(x.shape, x.dtype)
    hs = np.empty((*x.shape[:-1], width), x.dtype)
    ms = np.empty_like(hs)
    both, last = (..., slice(2 * width)), (..., slice(2 * width, None))
    r, z = (..., slice(width)), (..., slice(width, 2 * width))
    with np.errstate(over="ignore"):  # 1/(1 + inf) is the 0 it should be
        for rows, (h,), leave in _steps((h0,), sizes, reverse):
            a, into = np.matmul(h, w), x[rows]
            m = np.add(a[last], b, out=ms[rows])
            out = gates[rows]
            _sigmoid(np.add(a[both], into[both], out=out[both]))
            n = np.multiply(out[r], m, out=out[last])
            n += into[last]
            np.tanh(n, out=n)
            new = np.subtract(h, n, out=hs[rows])
            new *= out[z]
            new += n
            leave(new)
    return hs, gates, ms


def _gru_pulls(g: Any, y: Any, xs: Any, *, sizes: Sizes, reverse: bool) -> Callable[[int], Any]:
    (gh, ga, gm), (hs, gates, m) = g, y
    _, w, _, h0 = xs
    width = shape_of(h0)[1]
    r, z, n = split(gates, axis=1, sizes=(width,) * 3)
    before = _before(hs, h0, sizes, reverse)
    slope_r, slope_z, slope_n = r * (1.0 - r), z * (1.0 - z), 1.0 - n * n
    # What h gets, times these, comes to the sum inside tanh, and to the three of h·w + b.
    inner = (1.0 - z) * slope_n
    shares = cat(inner * m * slope_r, (before - n) * slope_z, inner * r, axis=1)
    also: Any = None
    also_n: Any = None
    if ga is not None or gm is not None:  # the gates are used themselves: at second order
        gr, gz, gn = split(_zeros_like(gates) if ga is None else ga, axis=1, sizes=(width,) * 3)
        also_n = gn * slope_n
        last = also_n * r if gm is None else also_n * r + gm
        also = cat((also_n * m + gr) * slope_r, gz * slope_z, last, axis=1)
        also = split(also, axis=0, sizes=sizes)
    gh, shares, kept = (
        split(part, axis=0, sizes=sizes)
        for part in (_zeros_like(hs) if gh is None else gh, shares, z)
    )
    across = _turned(w)
    found: list[Any] = [None] * len(sizes)
    arrived: list[Any] = [None] * len(sizes)

    def step(t: int, carried: Any) -> Any:
        arrived[t] = dh = gh[t] if carried is None else gh[t] + carried[0]
        da = cat(dh, dh, dh, axis=1) * shares[t]
        found[t] = da = da if also is None else da + also[t]
        return (dh * kept[t] + da @ across,)

    (dh0,) = _walk_back(sizes, reverse, step)
    da = cat(*found, axis=0)

    def pull(i: int) -> Any:
        if i == 0:
            dn = cat(*arrived, axis=0) * inner
            dr, dz, _ = split(da, axis=1, sizes=(width,) * 3)
            return cat(dr, dz, dn if also_n is None else dn + also_n, axis=1)
        if i == 1:
            return _turned(before) @ da
        return (
            sum(split(da, axis=1, sizes=(2 * width, width))[1], axis=(0,), keepdims=False)
            if (i == 2)
            else dh0
        )

    return pull


gru_steps: Any = general(
    "gru_steps",
    _gru,
    parts=_gru_pulls,
    partial_cotangents=True,
    samples=[
        Sample(_X[:, :6], _W[:, :6], [0.3, -0.2], _H3, **_SIZES),
        Sample(_X[:, 2:], _W[:, 2:], [0.3, -0.2], _H, **_BACK),
    ],
    doc="""h[t] = n + z·(h[t-1] - n), with r, z = σ of a sum and n = tanh(x[t] + r·m).

    The sums are those parts of x[t] + h[t-1]·w, and m = h[t-1]·w + b that of the last: x (rows,
    3H) packed and w (H, 3H) have columns for r, z, n. b (H,), h0 (N, H). Gives h, the gates and
    m, packed.
    """,
)
