"""Dropout: expectations and variances, seeds, edges, derivatives, modes, errors."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

LAYERS = [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout]
FUNCTIONS = [F.dropout, F.dropout1d, F.dropout2d, F.alpha_dropout, F.feature_alpha_dropout]


@pytest.fixture(autouse=True)
def seeded():
    tg.manual_seed(0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_expectation_and_share(p):
    x = tg.full((200_000,), 3.0)
    y = F.dropout(x, p)
    share = (y == 0).double().mean().item()
    assert abs(share - p) < 5 * (p * (1 - p) / 200_000) ** 0.5
    np.testing.assert_allclose(y[y != 0].numpy(), 3.0 / (1 - p), rtol=1e-6)
    assert abs(y.double().mean().item() - 3.0) < 15 * (p / (1 - p) / 200_000) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(p, function):
    x = tg.randn(1000, 200, dtype="float64")
    y = function(x, p, training=True)
    assert abs(y.mean().item()) < 0.02 and abs(y.var().item() - 1) < 0.02
    dropped = y.flatten()
    _, counts = tg.unique(dropped, return_counts=True)
    assert counts.max().item() > 0.8 * p * x.numel()  # one value for all that is dropped


@pytest.mark.parametrize("function", [F.dropout1d, F.dropout2d, F.feature_alpha_dropout])
def test_whole_channels(function):
    y = function(tg.ones(50, 40, 6), 0.5, training=True).numpy()
    assert (y == y[:, :, :1]).all() and len(np.unique(y)) == 2
    share = (y[:, :, 0] == y.min()).mean()
    assert 0.4 < share < 0.6
    assert (y[0] != y[1]).any()


def test_channels_without_a_batch():
    y = F.dropout1d(tg.ones(300, 4), 0.5)
    assert len(np.unique(y.numpy()[:, 0])) == 2 and (y == y[:, :1]).all()
    y = F.dropout2d(tg.ones(8, 300, 2, 3), 0.5)
    assert (y == y[:, :, :1, :1]).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_and_everything(layer):
    x = tg.randn(3, 4, 5, requires_grad=True)
    np.testing.assert_allclose(layer(0.0)(x).detach().numpy(), x.detach().numpy(), rtol=1e-6)
    y = layer(1.0)(x)
    (g,) = tg.grad(y.sum(), x)
    assert (y == 0).all() and (g == 0).all()
    for dtype in ("float16", "float64"):
        assert (layer(1.0)(tg.ones(50, 40, 10, dtype=dtype)) == 0).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_eval_is_the_identity_and_draws_nothing(layer):
    x, state = tg.randn(2, 3, 4), tg.get_rng_state().tolist()
    assert layer().eval()(x) is x
    assert tg.get_rng_state().tolist() == state


@pytest.mark.parametrize("layer", LAYERS)
def test_seeds(layer):
    x = tg.randn(3, 4, 5)
    tg.manual_seed(1)
    first = layer()(x)
    other = layer()(x)
    tg.manual_seed(1)
    assert tg.equal(layer()(x), first) and not tg.equal(first, other)
    own = layer(generator=tg.Generator().manual_seed(7))
    state, found = tg.get_rng_state().tolist(), own(x)
    assert tg.get_rng_state().tolist() == state
    own.generator.manual_seed(7)
    assert tg.equal(own(x), found)


def test_the_mask_is_constant_in_derivatives():
    x = tg.randn(20, dtype="float64", requires_grad=True)
    y = F.dropout(x, 0.5)
    (g,) = tg.grad((y**3).sum(), x, create_graph=True)
    (h,) = tg.grad(g.sum(), x)
    kept = (y != 0).double()
    np.testing.assert_allclose(g.detach().numpy(), (3 * y**2 * 2 * kept).detach().numpy())
    np.testing.assert_allclose(h.numpy(), (6 * y * 4 * kept).detach().numpy())
    for function in FUNCTIONS:

        def seeded(x, function=function):
            source = tg.Generator().manual_seed(3)
            return function(x, 0.4, training=True, generator=source).tanh()

        assert tg.check_grads(seeded, [np.linspace(-1, 1, 12).reshape(2, 3, 2)], order=2)


def test_probability_may_be_a_tensor_and_is_constant():
    p = tg.tensor(0.5, requires_grad=True)
    y = nn.Dropout(p)(tg.ones(100))
    assert not y.requires_grad and set(y.tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_dtype_and_empty(dtype, function):
    assert function(tg.ones(2, 3, 4, dtype=dtype), training=True).dtype == dtype
    assert function(tg.zeros(0, 3, 4, dtype=dtype), training=True).shape == (0, 3, 4)


@pytest.mark.parametrize("layer", LAYERS)
def test_in_place(layer):
    x = tg.ones(4, 5, 6)
    assert layer(inplace=True)(x) is x and len(np.unique(x.numpy())) == 2
    leaf = tg.ones(2, 3, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        layer(inplace=True)(leaf)


def test_vmap_draws_as_it_is_told():
    xs = tg.ones(4, 50)
    with pytest.raises(RuntimeError, match="randomness"):
        tg.vmap(F.dropout)(xs)
    same = tg.vmap(F.dropout, randomness="same")(xs)
    assert (same == same[:1]).all()
    different = tg.vmap(F.dropout, randomness="different")(xs)
    assert (different != different[:1]).any()


def test_repr_copies_and_modes():
    assert repr(nn.Dropout(0.25)) == "Dropout(p=0.25, inplace=False)"
    assert repr(nn.AlphaDropout(inplace=True)) == "AlphaDropout(p=0.5, inplace=True)"
    model = nn.Sequential(nn.Dropout(0.3), nn.Linear(2, 2))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other[0].p == 0.3 and not other.eval()[0].training and model[0].training


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_wrong_probabilities(p):
    for make in (*LAYERS, lambda p: F.dropout(tg.ones(2), p, training=False)):
        with pytest.raises(ValueError, match=f"between 0 and 1, but got {p}"):
            make(p)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: F.dropout(tg.tensor([1, 2])), TypeError, "int64"),
        (lambda: F.dropout([1.0]), TypeError, r"tg.tensor\("),
        (lambda: F.dropout1d(tg.ones(2)), ValueError, r"\(N, C, L\) or \(C, L\).*\(2,\)"),
        (lambda: F.dropout2d(tg.ones(2, 3)), ValueError, r"\(N, C, H, W\).*\(2, 3\)"),
        (lambda: F.feature_alpha_dropout(tg.ones(2), training=True), ValueError, r"\(N, C, \*\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
