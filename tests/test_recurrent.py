"""Recurrent layers, their cells, and padded and packed sequences: against torch (stored by
oracle/make_recurrent.py), against the formulas written out, derivatives, batches, edges."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.nn.utils.rnn import (
    PackedSequence,
    invert_permutation,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)

DATA = json.loads((Path(__file__).parent / "data" / "recurrent.json").read_text())
RANDOM = np.random.default_rng(0)
KINDS = ["RNN", "LSTM", "GRU"]


def close(found, wanted, tolerance=1e-9):
    found, wanted = found.detach().numpy(), np.array(wanted, dtype=float)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def leaf(values):
    return tg.tensor(np.array(values, dtype=float), requires_grad=True)


def draw(*shape):
    return leaf(RANDOM.standard_normal(shape))


def flat(found):
    return [found] if isinstance(found, tg.Tensor) else [y for part in found for y in flat(part)]


def make(kind, *args, **settings):
    tg.manual_seed(1)
    return getattr(nn, kind)(*args, dtype="float64", **settings)


def last_of(kind, found):
    """The last state h."""
    return found[1][0] if kind == "LSTM" else found[1]


@pytest.mark.parametrize("case", DATA, ids=lambda c: c["repr"])
def test_values_and_derivatives_are_torchs(case):
    module = make(case["kind"], **case["settings"])
    assert repr(module) == case["repr"]
    assert list(module.state_dict()) == list(case["state"])
    module.load_state_dict({k: tg.tensor(np.array(v)) for k, v in case["state"].items()})
    x, states = leaf(case["input"]), [leaf(s) for s in case["states"]]
    hx = [] if not states else [tuple(states)] if case["kind"].startswith("LSTM") else states
    first, input = case["settings"].get("batch_first", False), x
    if case["lengths"]:
        input = pack_padded_sequence(x, case["lengths"], first, enforce_sorted=False)
    found = module(input, *hx)
    if case["lengths"]:
        padded, lengths = pad_packed_sequence(found[0], first)
        assert lengths.tolist() == case["lengths"]
        found = padded, found[1]
    outputs, leaves = flat(found), [x, *states, *module.parameters()]
    for y, wanted in zip(outputs, case["outputs"], strict=True):
        close(y, wanted)
    gradients = tg.grad(sum((y**3).sum() for y in outputs), leaves, create_graph=True)
    for g, wanted in zip(gradients, case["gradients"], strict=True):
        close(g, wanted)
    if case["second"]:
        second = tg.grad(sum((g * g).sum() for g in gradients), leaves)
        for g, wanted in zip(second, case["second"], strict=True):
            close(g, wanted)


# -- the formulas ---------------------------------------------------------------------------------
def step_written_out(kind, x, states, w, u, b, c):
    """One step, in the plainest operations."""
    if kind == "RNN":
        return (tg.tanh(x @ w.T + b + states[0] @ u.T + c),)
    a, r = (x @ w.T + b).chunk(4 if kind == "LSTM" else 3, 1), states[0] @ u.T + c
    r = r.chunk(len(a), 1)
    if kind == "LSTM":
        i, f, n, o = (p + q for p, q in zip(a, r))
        cell = f.sigmoid() * states[1] + i.sigmoid() * n.tanh()
        return o.sigmoid() * cell.tanh(), cell
    reset, keep = (a[0] + r[0]).sigmoid(), (a[1] + r[1]).sigmoid()
    return ((1 - keep) * (a[2] + reset * r[2]).tanh() + keep * states[0],)


@pytest.mark.parametrize("kind", KINDS)
def test_layer_is_its_cell_repeated_is_the_formula(kind):
    layer, x = make(kind, 3, 4), draw(5, 2, 3)
    cell = make(f"{kind}Cell", 3, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    output, _ = layer(x)
    plain = states = None
    for t in range(5):
        states = cell(x[t], states)
        zeros = (tg.zeros(2, 4, dtype="float64"),) * 2
        plain = step_written_out(kind, x[t], plain or zeros, *cell.parameters())
        close(states[0] if kind == "LSTM" else states, output[t].detach().numpy())
        close(plain[0], output[t].detach().numpy())
    wanted = tg.grad((plain[0] ** 2).sum(), [x, *cell.parameters()])
    for g, h in zip(tg.grad((output[-1] ** 2).sum(), [x, *layer.parameters()]), wanted):
        close(g, h.numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_second_order(kind):
    """Against finite differences: input, states and weights, with sequences of two lengths."""
    layer = make(kind, 2, 2, bidirectional=True)
    parameters = dict(layer.named_parameters())
    states = 2 if kind == "LSTM" else 1

    def call(x, *rest):
        hx, weights = rest[:states], dict(zip(parameters, rest[states:]))
        packed = pack_padded_sequence(x, [1, 3], enforce_sorted=False)
        hx = hx if kind == "LSTM" else hx[0]
        output, last = tg.func.functional_call(layer, weights, (packed, hx))
        return [pad_packed_sequence(output)[0], *flat(last)]

    inputs = [draw(3, 2, 2), *(draw(2, 2, 2) for _ in range(states)), *parameters.values()]
    report = tg.check_grads(call, inputs, order=2, directions="joint", report=True)
    assert report.ok, report.failure()


def test_derivatives_of_the_projected_lstm():
    layer = make("LSTM", 2, 3, proj_size=1)

    def call(x, h, c, **weights):
        output, (h, c) = tg.func.functional_call(layer, weights, (x, (h, c)))
        return [output, h, c]

    inputs = {"x": draw(3, 2, 2), "h": draw(1, 2, 1), "c": draw(1, 2, 3)}
    inputs |= dict(layer.named_parameters())
    report = tg.check_grads(
        lambda **xs: call(**xs), inputs, order=2, directions="joint", report=True
    )
    assert report.ok, report.failure()


@pytest.mark.parametrize("kind", KINDS)
def test_states_handed_on_make_one_long_sequence(kind):
    layer, x = make(kind, 3, 4, num_layers=2), draw(6, 2, 3)
    whole, end = layer(x)
    first, state = layer(x[:4])
    second, last = layer(x[4:], state)
    close(tg.cat([first, second]), whole.detach().numpy())
    for a, b in zip(flat(last), flat(end)):
        close(a, b.detach().numpy())
    (through,) = tg.grad(second.sum(), x, retain_graph=True)
    assert np.abs(through.numpy()[:4]).min() > 0
    # truncated: a detached state hands on the value, and no derivative
    state = tuple(s.detach() for s in state) if kind == "LSTM" else state.detach()
    again, _ = layer(x[4:], state)
    close(again, second.detach().numpy())
    (cut,) = tg.grad(again.sum(), x)
    close(cut[:4], np.zeros((4, 2, 3)))
    close(cut[4:], through[4:].numpy())


# -- sequences of several lengths -----------------------------------------------------------------
@pytest.mark.parametrize("settings", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_are_each_by_itself(kind, settings):
    layer = make(kind, 3, 4, batch_first=True, **settings)
    lengths = [2, 5, 1, 5]
    x = draw(4, 6, 3)
    output, last = layer(pack_padded_sequence(x, lengths, True, enforce_sorted=False))
    assert isinstance(output, PackedSequence)
    padded, found = pad_packed_sequence(output, batch_first=True, total_length=6)
    assert found.tolist() == lengths and padded.shape == (4, 6, len(output.data[0]))
    for b, n in enumerate(lengths):
        alone, end = layer(x[b, :n])
        close(padded[b, :n], alone.detach().numpy())
        close(padded[b, n:], np.zeros(padded[b, n:].shape))
        for a, e in zip(flat(last), flat(end)):
            close(a[:, b], e.detach().numpy())
    # what lies beyond a sequence's end reaches nothing, be it NaN
    (g,) = tg.grad(padded.sum() + sum(s.sum() for s in flat(last)), x)
    for b, n in enumerate(lengths):
        assert not g[b, n:].any() and g[b, :n].abs().min().item() > 0
    spoilt = x.detach().numpy().copy()
    spoilt[0, 2:], spoilt[2, 1:], spoilt[:, 5:] = np.nan, np.inf, np.nan
    packed = pack_padded_sequence(tg.tensor(spoilt), lengths, True, enforce_sorted=False)
    close(pad_packed_sequence(layer(packed)[0], True)[0], padded[:, :5].detach().numpy())


def test_initial_states_are_in_the_order_of_the_input():
    layer, x, h = make("GRU", 2, 3, bidirectional=True), draw(4, 3, 2), draw(2, 3, 3)
    _, last = layer(pack_padded_sequence(x, [1, 4, 2], enforce_sorted=False), h)
    for b, n in enumerate([1, 4, 2]):
        close(last[:, b], layer(x[:n, b], h[:, b])[1].detach().numpy())


def test_padding_and_packing_are_undone():
    sequences = [draw(n, 2) for n in (2, 4, 1)]
    for first in (False, True):
        padded = pad_sequence(sequences, first, padding_value=7.0)
        assert padded.shape == ((3, 4, 2) if first else (4, 3, 2))
        assert (padded if first else padded.transpose(0, 1))[2, 1:].unique().tolist() == [7.0]
        for a, b in zip(unpad_sequence(padded, [2, 4, 1], first), sequences):
            close(a, b.detach().numpy())
    left = pad_sequence(sequences, True, padding_side="left")
    close(left[0], [[0, 0], [0, 0], *sequences[0].tolist()])
    packed = pack_sequence(sequences, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1]
    assert packed.sorted_indices.tolist() == [1, 0, 2]
    assert packed.unsorted_indices.tolist() == [1, 0, 2]
    for a, b in zip(unpack_sequence(packed), sequences):
        close(a, b.detach().numpy())
    again, lengths = pad_packed_sequence(packed, padding_value=7.0, total_length=5)
    assert lengths.tolist() == [2, 4, 1] and again[4].unique().tolist() == [7.0]
    (g,) = tg.grad((again**2).sum(), sequences[0])
    close(g, 2 * sequences[0].detach().numpy())
    assert packed.to("float32").data.dtype == "float32"
    assert pack_sequence([tg.tensor([4, 5]), tg.tensor([6])]).data.tolist() == [4, 6, 5]
    assert invert_permutation(None) is None
    assert nn.utils.rnn.pad_sequence is pad_sequence


def test_sequences_of_one_length_keep_their_order():
    packed = pack_padded_sequence(draw(2, 5, 1), [2] * 5, enforce_sorted=False)
    assert packed.sorted_indices.tolist() == [0, 1, 2, 3, 4]


# -- transforms and modes -------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_each_example(kind, monkeypatch):
    layer, x = make(kind, 3, 4, bidirectional=True), draw(6, 5, 3)
    weights = {k: v.detach() for k, v in layer.named_parameters()}
    looped = []
    monkeypatch.setattr("tapegrad.batching.on_loop", looped.append)

    def loss(weights, x):
        return (tg.func.functional_call(layer, weights, (x,))[0] ** 2).sum()

    x = x.detach()
    each = tg.vmap(tg.func.grad(loss), in_dims=(None, 0))(weights, x)
    assert not looped
    for b in range(6):
        one = tg.func.grad(loss)(weights, x[b])
        for name, g in one.items():
            close(each[name][b], g.numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_several_models_at_once(kind):
    layer, x = make(kind, 3, 4), draw(5, 2, 3).detach()
    weights = {k: draw(3, *v.shape).detach() for k, v in layer.named_parameters()}

    def output(weights, x):
        return tg.func.functional_call(layer, weights, (x,))[0]

    together = tg.vmap(output, in_dims=(0, None))(weights, x)
    packed = tg.vmap(
        lambda w: pad_packed_sequence(
            tg.func.functional_call(layer, w, (pack_padded_sequence(x, [5, 2]),))[0]
        )[0]
    )(weights)
    for i in range(3):
        one = {k: v[i] for k, v in weights.items()}
        close(together[i], output(one, x).numpy())
        close(packed[i, :2], output(one, x)[:2].numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_packed_batches_mapped_and_the_hessian(kind):
    layer, x = make(kind, 2, 2, bidirectional=True), draw(3, 4, 2, 2).detach()

    def output(x):
        packed = pack_padded_sequence(x, [1, 4], enforce_sorted=False)
        return pad_packed_sequence(layer(packed)[0])[0]

    each = tg.vmap(output)(x)
    for i in range(3):
        close(each[i], output(x[i]).detach().numpy())

    def loss(x):
        return (output(x) ** 2).sum()

    twice = tg.func.jacrev(tg.func.jacrev(loss))(x[0])
    close(tg.func.hessian(loss)(x[0]), twice.detach().numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_changed_before_the_gradient_are_refused(kind):
    layer = make(kind, 2, 3)
    output, _ = layer(draw(4, 2, 2))
    with tg.no_grad():
        layer.weight_hh_l0.mul_(2.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        output.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_forward_mode(kind):
    layer, x, dx = make(kind, 3, 4, num_layers=2), draw(5, 2, 3).detach(), draw(5, 2, 3).detach()
    _, moved = tg.func.jvp(lambda x: layer(x)[0], (x,), (dx,))
    h = 1e-6
    wanted = (layer(x + h * dx)[0] - layer(x - h * dx)[0]) / (2 * h)
    close(moved, wanted.detach().numpy(), 1e-7)


def test_dropout_is_between_layers_and_in_training():
    layer, x = make("LSTM", 2, 50, num_layers=2, dropout=0.5), draw(3, 4, 2).detach()
    tg.manual_seed(3)
    first, again = layer(x)[0], layer(x)[0]
    assert not np.allclose(first.detach(), again.detach())
    assert (first != 0).all()  # nothing is dropped from the last layer
    layer.eval()
    one, other = make("LSTM", 2, 50), make("LSTM", 50, 50)
    state = layer.state_dict()
    one.load_state_dict({k: v for k, v in state.items() if "l0" in k})
    other.load_state_dict({k.replace("l1", "l0"): v for k, v in state.items() if "l1" in k})
    close(layer(x)[0], other(one(x)[0])[0].detach().numpy())
    with pytest.warns(UserWarning, match="between layers"):
        nn.GRU(2, 3, dropout=0.5)
    layer.train().dropout = 1.0  # the second layer sees zeros only
    close(layer(x)[0], other(tg.zeros(3, 4, 50, dtype="float64"))[0].detach().numpy())


def test_copies_dtypes_and_modes():
    layer, x = nn.LSTM(3, 4, num_layers=2, bidirectional=True), tg.ones(5, 2, 3)
    for one in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        close(one(x)[0], layer(x)[0].detach().numpy())
    output, (h, c) = layer(x)
    assert {t.dtype for t in (output, h, c)} == {tg.float32}
    output.sum().backward()
    assert all(p.grad.dtype == "float32" for p in layer.parameters())
    wide, _ = copy.deepcopy(layer).to("float64")(x.double())
    assert wide.dtype == "float64"
    close(output, wide.detach().numpy(), 1e-5)
    with tg.no_grad():
        assert not layer(x)[0].requires_grad
    assert len(layer.all_weights) == 4 and layer.flatten_parameters() is None
    assert sum(p.numel() for p in layer.parameters()) == 2 * (16 * 7 + 32) + 2 * (16 * 12 + 32)


def test_initial_values_are_uniform():
    tg.manual_seed(0)
    for module in (nn.LSTM(8, 64, num_layers=2), nn.GRUCell(8, 64)):
        for parameter in module.parameters():
            assert 0.9 < parameter.detach().abs().max().item() * 8 <= 1.0
            assert abs(parameter.detach().mean().item()) < 0.02


# -- edges ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_saturated_gates_stay_finite(kind):
    for dtype in ("float32", "float64"):
        layer, x = getattr(nn, kind)(1, 2, dtype=dtype), tg.tensor([[[1e4]], [[-1e4]]], dtype=dtype)
        x.requires_grad_()
        with np.errstate(all="raise", under="ignore"):
            output, _ = layer(x)
            (g,) = tg.grad(output.sum(), x)
        assert np.isfinite(output.detach().numpy()).all() and np.isfinite(g.numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_examples(kind):
    layer, x = make(kind, 3, 4, bidirectional=True), draw(5, 0, 3)
    output, last = layer(x)
    assert output.shape == (5, 0, 8) and flat(last)[0].shape == (2, 0, 4)
    gradients = tg.grad(output.sum(), [x, *layer.parameters()])
    assert gradients[0].shape == x.shape and not any(g.any() for g in gradients[1:])
    assert flat(make(f"{kind}Cell", 3, 4)(draw(0, 3)))[0].shape == (0, 4)


WRONG = [
    (lambda: nn.LSTM(3, 4)(tg.ones(5, 2, 2)), r"input_size=3, but its shape is \(5, 2, 2\)"),
    (lambda: nn.LSTM(3, 4)(tg.ones(3)), r"\(L, N, C\) or \(L, C\), got shape \(3,\)"),
    (lambda: nn.GRU(3, 4)(tg.ones(0, 2, 3)), r"no steps \(input of shape \(0, 2, 3\)\)"),
    (lambda: nn.GRU(3, 4)(tg.ones(5, 2, 3, dtype="float64")), "float64, but the weights are float"),
    (
        lambda: nn.GRU(3, 4)(tg.ones(5, 2, 3), tg.ones(1, 3, 4)),
        r"initial h must have shape \(1, 2, 4\).* not \(1, 3, 4\)",
    ),
    (
        lambda: nn.LSTM(3, 4)(tg.ones(5, 2, 3), (tg.ones(1, 2, 4), tg.ones(1, 2, 3))),
        r"initial c must have shape \(1, 2, 4\)",
    ),
    (lambda: nn.RNN(3, 4)(tg.ones(5, 3), tg.ones(1, 1, 4)), r"have 2 dimensions, not.*\(1, 1, 4\)"),
    (
        lambda: nn.RNN(3, 4)(tg.ones(5, 2, 3), tg.ones(1, 2, 4, dtype="float64")),
        "initial h is float64, but the input float32",
    ),
    (lambda: nn.RNN(3, 4, nonlinearity="sigmoid"), "'tanh' or 'relu', not 'sigmoid'"),
    (lambda: nn.RNNCell(3, 4, nonlinearity="sigmoid"), "'tanh' or 'relu', not 'sigmoid'"),
    (lambda: nn.LSTM(3, 4, proj_size=4), "proj_size must be smaller than hidden_size=4"),
    (lambda: nn.LSTM(3, 4, dropout=1.5), r"in \[0, 1\]: 1.5"),
    (lambda: nn.LSTM(0, 4), "input_size must be at least 1, not 0"),
    (lambda: nn.LSTMCell(3, 4)(tg.ones(5, 2)), r"\(N, 3\) or \(3,\), got shape \(5, 2\)"),
    (
        lambda: nn.GRUCell(3, 4)(tg.ones(5, 3), tg.ones(5, 3)),
        r"h must have shape \(5, 4\), not \(5, 3\)",
    ),
    (lambda: pack_padded_sequence(tg.ones(3, 2), [1, 2]), r"\[1, 2\] must be in decreasing order"),
    (lambda: pack_padded_sequence(tg.ones(3, 2), [4, 2]), r"between 1 and 3.* \[4, 2\]"),
    (lambda: pack_padded_sequence(tg.ones(3, 2), [3, 0]), r"between 1 and 3.* \[3, 0\]"),
    (lambda: pack_padded_sequence(tg.ones(3, 2), [3]), "1 lengths for a batch of 2"),
    (lambda: pack_padded_sequence(tg.ones(3), [3]), r"2 dimensions or more, got shape \(3,\)"),
    (lambda: pad_sequence([]), "expects sequences"),
    (lambda: pad_sequence([tg.ones(2, 1), tg.ones(2, 2)]), r"\(2, 1\), \(2, 2\)"),
    (lambda: pad_sequence([tg.ones(2)], padding_side="top"), "not 'top'"),
    (
        lambda: pad_packed_sequence(pack_sequence([tg.ones(3)]), total_length=2),
        "total_length=2 is less than 3",
    ),
]


@pytest.mark.parametrize("call, says", WRONG)
def test_errors_say_what_is_wrong(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_things_of_the_wrong_kind():
    with pytest.raises(TypeError, match="hidden_size must be an int, not float"):
        nn.GRU(3, 4.0)
    with pytest.raises(TypeError, match="bias must be a bool, not str"):
        nn.GRU(3, 4, 1, "relu")
    with pytest.raises(TypeError, match=r"a pair \(h, c\)"):
        nn.LSTM(3, 4)(tg.ones(5, 2, 3), tg.ones(1, 2, 4))
    with pytest.raises(TypeError, match=r"a pair \(h, c\)"):
        nn.LSTMCell(3, 4)(tg.ones(2, 3), tg.ones(2, 4))
    with pytest.raises(TypeError, match="not list"):
        nn.LSTM(3, 4)([[1.0, 2.0, 3.0]])
