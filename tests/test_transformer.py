"""Transformers and positional encodings: what is known of them, derivatives, copies, errors. The
cases against torch are in test_attention.py."""

import copy
import math
import pickle

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

RANDOM = np.random.default_rng(0)


def draw(*shape, dtype="float64"):
    return tg.tensor(RANDOM.standard_normal(shape), dtype=dtype)


def causal(length):
    return nn.Transformer.generate_square_subsequent_mask(length, dtype="float64")


def encoder(**settings):
    layer = nn.TransformerEncoderLayer(4, 2, 6, **settings)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(4)).double()


@pytest.mark.parametrize("norm_first", [False, True])
def test_what_comes_later_is_not_seen(norm_first):
    model, x = encoder(norm_first=norm_first, batch_first=True).eval(), draw(2, 5, 4)
    y = model(x, mask=causal(5), is_causal=True)
    x[:, 3:] = 7.0
    moved = model(x, mask=causal(5), is_causal=True)
    assert (y[:, :3] == moved[:, :3]).all() and (y[:, 3:] != moved[:, 3:]).any()


def test_padding_is_not_seen():
    model, x = encoder(batch_first=True).eval(), draw(2, 5, 4)
    padded = tg.tensor([[False] * 5, [False, False, False, True, True]])
    y = model(x, src_key_padding_mask=padded)
    assert tg.allclose(y[1, :3], model(x[1, :3]))
    assert tg.allclose(y[0], model(x[0]))


def test_without_positions_order_is_not_seen():
    model, x = encoder().eval(), draw(5, 4)
    order = tg.tensor([3, 1, 4, 0, 2])
    assert tg.allclose(model(x[order]), model(x)[order])


def test_the_order_of_the_batch():
    x, memory = draw(2, 5, 4), draw(2, 3, 4)
    tg.manual_seed(0)
    first = nn.Transformer(4, 2, 1, 1, 6, batch_first=True).double().eval()
    second = nn.Transformer(4, 2, 1, 1, 6).double().eval()
    second.load_state_dict(first.state_dict())
    y = second(memory.transpose(0, 1), x.transpose(0, 1)).transpose(0, 1)
    assert tg.allclose(first(memory, x), y)
    assert tg.allclose(first(memory[0], x[0]), y[0])


def test_dropout_is_of_training():
    model, x = encoder(dropout=0.5), draw(5, 4)
    assert (model(x) != model(x)).any()
    assert (model.eval()(x) == model(x)).all()


@pytest.mark.parametrize("norm_first", [False, True])
def test_derivatives_of_every_order(norm_first):
    tg.manual_seed(0)
    layer = nn.TransformerDecoderLayer(2, 1, 2, 0.0, "gelu", norm_first=norm_first).double()
    weights = {name: draw(2, 2) for name in ("linear1.weight", "multihead_attn.out_proj.weight")}
    tgt, memory = draw(2, 2), draw(1, 2)

    def call(tgt, memory, **weights):
        return tg.func.functional_call(layer, weights, (tgt, memory, causal(2)))

    assert tg.check_grads(call, {"tgt": tgt, "memory": memory} | weights, order=2)


def test_activations():
    x = draw(3, 4)
    layer = nn.TransformerEncoderLayer(4, 2, 6, 0.0, F.relu).double()
    for activation in ("relu", nn.ReLU(), tg.relu):
        other = nn.TransformerEncoderLayer(4, 2, 6, 0.0, activation).double()
        other.load_state_dict(layer.state_dict())
        assert (other(x) == layer(x)).all()
    with pytest.raises(RuntimeError, match=r"'relu', 'gelu' or a function.*not 'tanh'"):
        nn.TransformerEncoderLayer(4, 2, activation="tanh")


def test_layers_of_a_stack_are_copies():
    layer = nn.TransformerEncoderLayer(4, 2, 6)
    model = nn.TransformerEncoder(layer, 2)
    a, b = (m.linear1.weight for m in model.layers)
    assert a is not b and (a == b).all() and a is not layer.linear1.weight
    assert len(list(model.parameters())) == 2 * len(list(layer.parameters()))


def test_copies():
    model, x = nn.Transformer(4, 2, 1, 1, 6, activation="gelu").eval(), tg.randn(3, 4)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (other(x, x) == model(x, x)).all()


def test_vmap():
    model, x = encoder().eval(), draw(3, 5, 4)
    each = tg.func.vmap(model)(x)
    assert tg.allclose(each, tg.stack([model(one) for one in x]))


def test_float32_stays():
    y = nn.Transformer(4, 2, 1, 1, 6)(tg.randn(3, 4), tg.randn(2, 4))
    assert y.dtype == "float32"
    assert nn.TransformerEncoderLayer(4, 2, 6, dtype="float64").norm2.weight.dtype == "float64"


def test_initial_values():
    model = nn.Transformer(32, 2, 1, 1, 32)
    bound = math.sqrt(6 / 64)
    for name in ("encoder.layers.0.linear1.weight", "decoder.layers.0.self_attn.out_proj.weight"):
        assert 0.95 * bound < model.get_parameter(name).abs().max() <= bound


def test_refused():
    model, x = nn.Transformer(4, 2, 1, 1, 6), tg.ones(3, 2, 4)
    with pytest.raises(ValueError, match=r"d_model = 4.*\(3, 2, 4\) and \(3, 2, 5\)"):
        model(x, tg.ones(3, 2, 5))
    with pytest.raises(ValueError, match=r"same batch.*\(3, 2, 4\) and \(3, 1, 4\)"):
        model(x, x[:, :1])
    with pytest.raises(RuntimeError, match="generate_square_subsequent_mask"):
        model.encoder(x, is_causal=True)
    with pytest.raises(ValueError, match="multiple of num_heads"):
        nn.TransformerEncoderLayer(5, 2)


# -- positions ----------------------------------------------------------------------------------
@pytest.mark.parametrize("features", [1, 4, 5])
def test_sines_and_cosines_written_out(features):
    y = F.sinusoidal_encoding(tg.tensor([0, 1, 700]), features, dtype="float64")
    for row, p in zip(y, (0, 1, 700), strict=True):
        for i, found in enumerate(row):
            angle = p / 10000 ** (2 * (i // 2) / features)
            assert found.item() == pytest.approx([math.sin, math.cos][i % 2](angle), abs=1e-13)
    assert F.sinusoidal_encoding(tg.arange(3), 0).shape == (3, 0)


def test_far_positions_in_float32():
    far = tg.tensor([100_003])
    exact = F.sinusoidal_encoding(far, 8, dtype="float64")
    assert tg.allclose(F.sinusoidal_encoding(far, 8).double(), exact, rtol=0, atol=1e-7)


@pytest.mark.parametrize("interleaved", [True, False])
def test_turning_keeps_lengths_and_sees_distances_alone(interleaved):
    q, k = draw(6), draw(6)
    turn = nn.RotaryPositionalEncoding(interleaved=interleaved)
    at = turn(tg.stack([q] * 9)), turn(tg.stack([k] * 9))
    products = at[0] @ at[1].T
    for distance in range(-8, 9):
        found = products.diagonal(distance)
        assert tg.allclose(found, found[:1].expand(found.shape))
    assert tg.allclose(at[0].norm(dim=-1), q.norm().expand(9))
    assert tg.allclose(at[0][0], q)
    assert tg.allclose(turn(q[None], tg.tensor([5])), at[0][5:6])


def test_turning_written_out():
    x, p = draw(3, 4), [2, 0, 7]
    positions = tg.tensor(p)
    y = F.rotary_encoding(x, positions, base=50.0)
    halves = F.rotary_encoding(x[:, [0, 2, 1, 3]], positions, base=50.0, interleaved=False)
    assert tg.allclose(halves[:, [0, 2, 1, 3]], y)
    for row in range(3):
        for i in range(2):
            found, given = (complex(*z[row, 2 * i : 2 * i + 2].tolist()) for z in (y, x))
            angle = p[row] * 50.0 ** (-2 * i / 4)
            assert found == pytest.approx(given * complex(math.cos(angle), math.sin(angle)))


def test_layers_add_positions():
    x = draw(5, 2, 4)
    places = F.sinusoidal_encoding(tg.arange(5), 4, dtype="float64")
    layer = nn.SinusoidalPositionalEncoding(4)
    assert tg.allclose(layer(x), x + places[:, None])
    assert tg.allclose(layer(x[:, 0]), x[:, 0] + places)
    layer.batch_first = True
    assert tg.allclose(layer(x.transpose(0, 1)), (x + places[:, None]).transpose(0, 1))
    learned = nn.LearnedPositionalEncoding(4, 6, dtype="float64")
    assert tg.allclose(learned(x), x + learned.weight[:5, None])
    learned(x).sum().backward()
    assert learned.weight.grad.tolist() == [[2.0] * 4] * 5 + [[0.0] * 4]
    assert 0.005 < learned.weight.std() < 0.04
    dropped = nn.SinusoidalPositionalEncoding(4, dropout=1.0)
    assert not dropped(x).any() and dropped.eval()(x).any()
    assert layer(x.float()).dtype == "float32" and nn.RotaryPositionalEncoding()(x.half()).dtype


def test_positions_differentiate():
    x, base = draw(2, 3, 4), tg.tensor(20.0, dtype="float64")
    positions = draw(3)
    assert tg.check_grads(F.rotary_encoding, [x, positions, base], order=2)
    assert tg.check_grads(
        lambda *given: F.rotary_encoding(*given, False), [x, positions, base], order=2
    )
    assert tg.check_grads(
        lambda p, b: F.sinusoidal_encoding(p, 3, b, "float64"), [positions, base], order=2
    )


def test_positions_under_vmap():
    x = draw(3, 5, 4)
    turn = nn.RotaryPositionalEncoding()
    assert tg.allclose(tg.func.vmap(turn)(x), turn(x))
    layer = nn.SinusoidalPositionalEncoding(4)
    assert tg.allclose(tg.func.vmap(layer)(x), tg.stack([layer(one) for one in x]))


def test_positions_refused():
    with pytest.raises(ValueError, match=r"odd number"):
        F.rotary_encoding(tg.ones(2, 3))
    with pytest.raises(ValueError, match=r"at least 2 dimensions.*\(4,\)"):
        F.rotary_encoding(tg.ones(4))
    with pytest.raises(TypeError, match="not list"):
        F.rotary_encoding([[1.0, 2.0]])
    with pytest.raises(ValueError, match="7 places is longer than max_len=6"):
        nn.LearnedPositionalEncoding(4, 6)(tg.ones(7, 4))
    for layer in (nn.LearnedPositionalEncoding(4, 6), nn.SinusoidalPositionalEncoding(4)):
        with pytest.raises(ValueError, match=r"\(L, N, E\).*d_model = 4, not \(2, 3\)"):
            layer(tg.ones(2, 3))


def test_reprs_of_positions():
    assert repr(nn.RotaryPositionalEncoding(50.0)) == (
        "RotaryPositionalEncoding(base=50.0, interleaved=True)"
    )
    shown = repr(nn.LearnedPositionalEncoding(4, 6, 0.1, batch_first=True)).splitlines()
    assert shown[1].strip() == "4, max_len=6, batch_first=True"
