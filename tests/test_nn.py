"""Modules: registration, naming, state, and a network that learns."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn


def test_names_and_tree():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 1, bias=False)))
    assert [n for n, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.1.weight"]
    assert [n for n, _ in model.named_modules()] == ["", "0", "1", "1.0", "1.1"]
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): Tanh()\n"
        "    (1): Linear(in_features=3, out_features=1, bias=False)\n"
        "  )\n"
        ")"
    )
    assert len(model[:1]) == 1


def test_linear_is_the_formula():
    layer = nn.Linear(3, 2)
    x = tg.tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    expected = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="3 features"):
        layer(tg.zeros(2, 4))


def test_initial_values_have_torch_bounds():
    tg.manual_seed(0)
    layer = nn.Linear(100, 400)
    w = layer.weight.detach().numpy()
    assert abs(w).max() <= 0.1
    assert w.std() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    he = nn.init.kaiming_normal_(tg.empty(400, 100), nonlinearity="relu").numpy()
    assert he.std() == pytest.approx((2 / 100) ** 0.5, rel=0.02)
    xavier = nn.init.xavier_uniform_(tg.empty(400, 100)).numpy()
    assert xavier.var() == pytest.approx(2 / 500, rel=0.03)


def test_state_round_trip(tmp_path):
    a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    b.load_state_dict(tg.load(tg.save(a.state_dict(), tmp_path / "m.safetensors")))
    np.testing.assert_array_equal(a.weight.detach().numpy(), b.weight.detach().numpy())
    assert b.weight.requires_grad


def test_state_that_does_not_fit_changes_nothing():
    layer = nn.Linear(3, 2)
    before = layer.bias.detach().numpy().copy()
    with pytest.raises(RuntimeError, match=r'(?s)Missing key.*"weight".*Unexpected.*"extra"'):
        layer.load_state_dict({"bias": tg.ones(2), "extra": tg.ones(1)})
    with pytest.raises(RuntimeError, match=r"size mismatch for bias: .*\(3,\).*\(2,\)"):
        layer.load_state_dict({"bias": tg.ones(3), "weight": tg.ones(2, 3)})
    np.testing.assert_array_equal(layer.bias.detach().numpy(), before)


def test_a_shared_parameter_counts_once():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, layer)
    assert len(list(model.parameters())) == 2


def test_wrong_attributes_say_what_exists():
    layer = nn.Linear(2, 2)
    with pytest.raises(AttributeError, match="weight"):
        _ = layer.wieght

    class Forgot(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match="super"):
        Forgot()
    with pytest.raises(TypeError, match="parameter"):
        layer.weight = 3


def test_modes_and_freezing():
    model = nn.Sequential(nn.Linear(1, 1))
    assert model.eval().training is False
    assert model[0].training is False
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())


def test_an_attribute_replaced_by_a_module_is_not_shadowed():
    model = nn.Module()
    model.block = None
    model.block = nn.Linear(1, 1)
    assert isinstance(model.block, nn.Linear)
    assert len(list(model.parameters())) == 2


def test_loader_covers_everything_once():
    data = nn.data.TensorDataset(tg.arange(10))
    seen = [v for (b,) in nn.data.DataLoader(data, 3, shuffle=True) for v in b.tolist()]
    assert sorted(seen) == list(range(10))
    assert [len(b) for (b,) in nn.data.DataLoader(data, 3, drop_last=True)] == [3, 3, 3]
    with pytest.raises(ValueError, match="length"):
        nn.data.TensorDataset(tg.arange(2), tg.arange(3))


def test_a_small_network_learns_xor():
    tg.manual_seed(0)
    x = tg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = tg.tensor([0, 1, 1, 0])
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = tg.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert nn.metrics.accuracy(model(x), y).item() == 1.0


TAKE_A_DTYPE = sorted(
    name
    for name in nn.__all__
    if isinstance(thing := getattr(nn, name), type) and issubclass(thing, nn.Module)
    if "dtype" in inspect.signature(thing).parameters
)


@pytest.mark.parametrize("name", TAKE_A_DTYPE)
def test_layers_take_a_device_before_the_dtype_as_torchs(name):
    kind = getattr(nn, name)
    taken = inspect.signature(kind).parameters
    names = list(taken)
    assert names.index("device") == names.index("dtype") - 1
    needed = {n: 3 for n, p in taken.items() if p.default is p.empty}
    if "nhead" in needed:
        needed["nhead"] = 1
    if name == "Transformer":
        needed = {"d_model": 4, "nhead": 2, "dim_feedforward": 3}
    if name == "MultiheadAttention":
        needed = {"embed_dim": 4, "num_heads": 2}
    made = kind(**needed, device="cpu", dtype="float64")
    assert {p.dtype for p in made.parameters()} <= {np.dtype("float64")}
    if list(made.parameters()):
        with pytest.raises(RuntimeError, match="cuda"):
            kind(**needed, device="cuda")
