"""One layer of a recurrent network in one direction, on packed rows.

Each takes the rows x (rows, in), the initial states, the layer's weights in torch's order, and
the sizes of the steps; and gives the rows of h and the last states. The inputs of all steps go
through one product; the steps are one primitive (``tapegrad.ops.recurrent``).
"""

from __future__ import annotations

from tapegrad import Tensor, cat, index_select, pad, tensor, zeros
from tapegrad.ops.recurrent import gru_steps, lstm_steps, rnn_steps

from .functional import linear

Sizes = tuple[int, ...]
States = tuple[Tensor, ...]


def _last(rows: Tensor, sizes: Sizes, reverse: bool) -> Tensor:
    """What the sequences end with: each at its own length."""
    count = sizes[0]
    if reverse:
        return rows[:count]
    if sizes[-1] == count:
        return rows[len(rows) - count :]
    ends: list[int] = []
    start = len(rows)
    for n, after in zip(reversed(sizes), (0, *reversed(sizes)), strict=False):
        start -= n
        ends += range(start + after, start + n)
    return index_select(rows, 0, tensor(ends, dtype="int64"))


def _sums(x: Tensor, w_ih: Tensor, biases: tuple[Tensor, ...]) -> Tensor:
    return linear(x, w_ih, biases[0] + biases[1] if biases else None)


def rnn(
    x: Tensor, states: States, weights: list[Tensor], sizes: Sizes, reverse: bool, relu: bool
) -> tuple[Tensor, States]:
    """h[t] = tanh(W·x[t] + U·h[t-1] + b), or with ReLU."""
    w_ih, w_hh, *biases = weights
    h = rnn_steps(
        _sums(x, w_ih, tuple(biases)), w_hh.T, *states, sizes=sizes, reverse=reverse, relu=relu
    )
    return h, (_last(h, sizes, reverse),)


def lstm(
    x: Tensor, states: States, weights: list[Tensor], sizes: Sizes, reverse: bool
) -> tuple[Tensor, States]:
    """The LSTM; a fifth weight (third without biases) projects h."""
    w_ih, w_hh, *biases = weights
    sums, across = _sums(x, w_ih, tuple(biases[:2] if len(biases) > 1 else ())), w_hh.T
    if len(biases) % 2:
        return _projected(sums, states, across, biases[-1].T, sizes, reverse)
    h, c, _ = lstm_steps(sums, across, *states, sizes=sizes, reverse=reverse)
    return h, (_last(h, sizes, reverse), _last(c, sizes, reverse))


def _projected(
    sums: Tensor, states: States, across: Tensor, down: Tensor, sizes: Sizes, reverse: bool
) -> tuple[Tensor, States]:
    """The LSTM whose h is projected: step by step, since another product comes in between."""
    parts = sums.split(sizes)
    order = range(len(sizes))
    rows: dict[int, States] = {}
    h, c = (s[:0] for s in states)
    for t in reversed(order) if reverse else order:
        n, had = sizes[t], len(h)
        if had > n:
            h, c = h[:n], c[:n]
        elif had < n:
            h, c = (cat([s, s0[had:n]]) for s, s0 in zip((h, c), states, strict=True))
        full, c, _ = lstm_steps(parts[t], across, h, c, sizes=(n,), reverse=False)
        h = full @ down
        rows[t] = h, c
    hs, cs = (cat([rows[t][k] for t in order]) for k in (0, 1))
    return hs, (_last(hs, sizes, reverse), _last(cs, sizes, reverse))


def gru(
    x: Tensor, states: States, weights: list[Tensor], sizes: Sizes, reverse: bool
) -> tuple[Tensor, States]:
    """The GRU, in which r acts on U·h + b, not on h alone."""
    w_ih, w_hh, *biases = weights
    width = w_hh.shape[1]
    bias, inner = None, zeros(width, dtype=x.dtype)
    if biases:
        outer, inner = biases[1].split((2 * width, width))
        bias = biases[0] + pad(outer, (0, width))
    h, _, _ = gru_steps(linear(x, w_ih, bias), w_hh.T, inner, *states, sizes=sizes, reverse=reverse)
    return h, (_last(h, sizes, reverse),)
