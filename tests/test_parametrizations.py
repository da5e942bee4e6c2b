"""Weight and spectral normalisation and what they rest on: against torch (stored by
oracle/make_parametrizations.py), training, copies, states, stacking, removal, errors."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.nn.utils import parametrizations as P
from tapegrad.nn.utils import parametrize

DATA = json.loads((Path(__file__).parent / "data" / "parametrizations.json").read_text())


def close(found, wanted, tolerance=1e-9):
    found, wanted = found.detach().numpy(), np.array(wanted, dtype=float)
    assert found.shape == wanted.shape
    size = np.abs(wanted).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * size)


def arrays(state):
    return {name: np.array(value) for name, value in state.items()}


@pytest.mark.parametrize("case", DATA, ids=lambda c: f"{c['kind']} {c['layer']} {c['settings']}")
def test_as_torch(case):
    layer = eval(f"nn.{case['layer']}").double()
    layer.load_state_dict(arrays(case["plain"]))
    assert getattr(P, case["kind"])(layer, **case["settings"]) is layer
    assert repr(layer) == case["repr"]
    assert list(layer.state_dict()) == list(case["state"])
    layer.load_state_dict(arrays(case["state"]))  # the singular vectors are drawn by chance
    for run in case["runs"]:
        layer.train(run["training"])
        x = tg.tensor(np.array(run["x"]), requires_grad=True)
        y = layer(x)
        close(y, run["y"])
        for name, value in layer.state_dict().items():
            close(value, run["state"][name])
        reals = [x, *layer.parameters()]
        first = tg.grad((y**3).sum(), reals, create_graph=True)
        second = tg.grad(sum((g * g).sum() for g in first), reals)
        for ours, theirs in zip([*first, *second], run["first"] + run["second"], strict=True):
            close(ours, theirs, 1e-8)
    parametrize.remove_parametrizations(layer, case["settings"].get("name", "weight"))
    assert repr(layer) == case["removed_repr"]
    for name, value in layer.state_dict().items():
        close(value, case["removed"][name])


def test_weight_norm_keeps_the_weight_and_splits_it():
    layer = nn.Linear(3, 4).double()
    before = layer.weight.detach().clone()
    P.weight_norm(layer)
    close(layer.weight, before.numpy(), 1e-12)
    g, v = (layer.parametrizations.weight.get_parameter(f"original{i}") for i in range(2))
    with tg.no_grad():
        v.mul_(7.0)  # only the direction counts
        g.fill_(2.0)
    close(tg.linalg.vector_norm(layer.weight, dim=1), np.full(4, 2.0))
    layer(tg.ones(1, 3, dtype="float64")).sum().backward()
    np.testing.assert_allclose(
        (g.grad * 0 + (v.grad * v).sum(1, keepdim=True)).tolist(), 0, atol=1e-12
    )


def test_spectral_norm_comes_to_the_largest_singular_value():
    tg.manual_seed(0)
    layer = P.spectral_norm(nn.Conv2d(3, 8, 3).double())
    for _ in range(200):
        layer.weight  # each use in training is a step of the power method
    matrix = layer.weight.detach().flatten(1)
    assert abs(tg.linalg.matrix_norm(matrix, 2).item() - 1) < 1e-9
    layer.eval()
    before = layer.state_dict()
    layer(tg.zeros(1, 3, 4, 4, dtype="float64"))
    assert all(tg.equal(before[name], value) for name, value in layer.state_dict().items())


def test_spectral_norm_of_several_calls_before_backward():
    layer = P.spectral_norm(nn.Linear(3, 1))
    (layer(tg.randn(4, 3)).mean() - layer(tg.randn(4, 3)).mean()).backward()
    assert layer.parametrizations.weight.original.grad.abs().sum().item() > 0


@pytest.mark.parametrize("norm", [P.weight_norm, P.spectral_norm])
def test_training(norm):
    tg.manual_seed(0)
    layer = norm(nn.Linear(3, 1))
    x = tg.randn(64, 3)
    target = x @ tg.tensor([[0.5], [-0.5], [0.2]]) + 0.1
    opt = tg.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(200):
        opt.zero_grad()
        loss = ((layer(x) - target) ** 2).mean()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    if norm is P.spectral_norm:
        assert abs(tg.linalg.matrix_norm(layer.eval().weight, 2).item() - 1) < 1e-3


@pytest.mark.parametrize("norm", [P.weight_norm, P.spectral_norm])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_stand_alone(norm, copied):
    model = nn.Sequential(norm(nn.Linear(2, 3)), nn.Tanh()).eval()
    other = copied(model)
    x = tg.randn(4, 2)
    assert tg.equal(model(x), other(x)) and repr(model) == repr(other)
    with tg.no_grad():
        for p in other.parameters():
            p.mul_(2.0)
    assert not tg.equal(model(x), other(x))
    parametrize.remove_parametrizations(other[0], "weight")
    assert type(other[0]) is nn.Linear and parametrize.is_parametrized(model[0])
    assert parametrize.type_before_parametrizations(model[0]) is nn.Linear


@pytest.mark.parametrize("norm", [P.weight_norm, P.spectral_norm])
def test_states_load_and_functional_call(norm):
    first, second = norm(nn.Linear(2, 3)).eval(), norm(nn.Linear(2, 3)).eval()
    second.load_state_dict(first.state_dict())
    x = tg.randn(4, 2)
    assert tg.equal(first(x), second(x))
    named = dict(first.named_parameters())
    zeros = {"bias": tg.ones(3) * 5}
    assert tg.allclose(
        tg.func.functional_call(first, {**named, **zeros}, x), first(x) - first.bias + 5
    )
    assert first.double()(x.double()).dtype == "float64"


def test_states_with_the_older_names_of_weight_norm():
    layer = nn.Sequential(P.weight_norm(nn.Linear(2, 3)))
    g, v, bias = tg.ones(3, 1), tg.randn(3, 2), tg.zeros(3)
    layer.load_state_dict({"0.weight_g": g, "0.weight_v": v, "0.bias": bias})
    close(tg.linalg.vector_norm(layer[0].weight, dim=1), np.ones(3), 1e-6)


class Double(nn.Module):
    def forward(self, x):
        return x * 2

    def right_inverse(self, x):
        return x / 2


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T


class Wrong(nn.Module):
    def __init__(self, forward, inverse=None):
        super().__init__()
        self.forward = forward
        if inverse is not None:
            self.right_inverse = inverse


def test_setting_and_stacking():
    layer = nn.Linear(2, 2)
    weight = layer.weight
    value = weight.tolist()
    parametrize.register_parametrization(layer, "weight", Double())
    assert layer.parametrizations.weight.original is weight  # an optimizer that has it goes on
    close(layer.weight, value, 1e-6)
    layer.weight = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert weight.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert layer.weight.tolist() == [[1.0, 2.0], [2.0, 4.0]]
    with pytest.raises(RuntimeError, match="Symmetric does not implement right_inverse"):
        layer.weight = tg.zeros(2, 2)
    parametrize.register_parametrization(layer, "bias", Double())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert layer.weight is weight and weight.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert parametrize.is_parametrized(layer, "bias")
    parametrize.remove_parametrizations(layer, "bias")
    assert type(layer) is nn.Linear and isinstance(layer.bias, nn.Parameter)


def test_buffers_and_frozen_parameters():
    layer = nn.BatchNorm1d(2)
    parametrize.register_parametrization(layer, "running_var", Double())
    assert "parametrizations.running_var.original" in dict(layer.named_buffers())
    assert layer.eval()(tg.zeros(1, 2)).shape == (1, 2)
    frozen = nn.Linear(2, 2)
    frozen.weight.requires_grad_(False)
    P.weight_norm(frozen)
    assert [p.requires_grad for p in frozen.parameters()] == [True, False, False]
    parametrize.remove_parametrizations(frozen, "weight")
    assert isinstance(frozen.weight, nn.Parameter) and not frozen.weight.requires_grad


def test_what_does_not_fit_changes_nothing():
    layer = nn.Linear(2, 3)
    before = layer.state_dict()
    for wrong, words in (
        (Wrong(lambda x: x.T), r"must give shape \(3, 2\).*gives \(2, 3\)"),
        (Wrong(lambda x: x.double()), "float32, but gives.*float64"),
        (Wrong(lambda x: 1.0), "must return a tensor, not float"),
        (Wrong(lambda x: x.T, lambda x: x * 0), r"must give shape"),
        (Wrong(lambda x: x, lambda x: 1.0), "sequence of tensors, not float"),
        (Wrong(lambda x: x, lambda x: x.double()), "right_inverse must give"),
    ):
        with pytest.raises(ValueError, match=words):
            parametrize.register_parametrization(layer, "weight", wrong)
        assert type(layer) is nn.Linear and not parametrize.is_parametrized(layer)
        assert all(tg.equal(before[name], value) for name, value in layer.state_dict().items())
    parametrize.register_parametrization(layer, "weight", Double())
    with pytest.raises(ValueError, match="must give shape"):
        parametrize.register_parametrization(layer, "weight", Wrong(lambda x: x.T))
    assert len(layer.parametrizations.weight) == 1
    made = parametrize.register_parametrization(
        nn.Linear(2, 3), "weight", Wrong(lambda x: x.T), unsafe=True
    )
    assert made.weight.shape == (2, 3)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: P.weight_norm(nn.Linear(2, 2), "wight"), ValueError, "with name 'wight'"),
        (lambda: P.spectral_norm(nn.ReLU()), ValueError, "with name 'weight'"),
        (lambda: P.spectral_norm(nn.Linear(2, 2), n_power_iterations=0), ValueError, "got 0"),
        (lambda: P.spectral_norm(nn.Linear(2, 2), dim=2), IndexError, r"dim=2.*\(2, 2\)"),
        (lambda: P.weight_norm(nn.Linear(2, 2), dim=2), IndexError, r"dim=2.*\(2, 2\)"),
        (
            lambda: P.weight_norm(P.weight_norm(nn.Linear(2, 2))),
            ValueError,
            "several originals .* must come first",
        ),
        (
            lambda: parametrize.remove_parametrizations(nn.Linear(2, 2), "weight"),
            ValueError,
            "does not have a parametrization on weight",
        ),
        (
            lambda: parametrize.remove_parametrizations(
                P.weight_norm(nn.Linear(2, 2)), "weight", leave_parametrized=False
            ),
            ValueError,
            "made of 2 tensors",
        ),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_dimension_of_weight_norm_counted_from_the_end():
    layer = P.weight_norm(nn.Linear(2, 3), dim=-2)
    assert layer.parametrizations.weight.original0.shape == (3, 1)
