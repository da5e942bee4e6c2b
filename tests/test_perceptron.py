"""Perceptron (its rule, its theorem, its limits) and Residual."""

import itertools
import math

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

SQUARE = tg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = tg.tensor([0.0, 1.0, 1.0, 0.0])


def correct(model, x, target):
    return int((model(x) == target).sum().item())


# -- the perceptron -----------------------------------------------------------------------------
def test_the_published_example():
    layer = nn.Perceptron(2)
    layer.load_state_dict({"weight": tg.tensor([0.5, -0.6]), "bias": tg.tensor(0.1)})
    assert layer(tg.tensor([1.0, 0.0])).item() == 1.0
    assert layer(tg.tensor([[0.0, 1.0], [1.0, 1.0]])).tolist() == [0.0, 0.0]
    layer.reset_parameters()
    assert layer(tg.tensor([1.0, 1.0])).item() == 0.0  # nothing above 0 is 0


def test_only_samples_that_are_wrong_move_it():
    w, b = tg.tensor([1.0, -1.0]), tg.tensor(0.0)
    for x, right in (([2.0, 1.0], 1.0), ([1.0, 2.0], 0.0)):
        x = tg.tensor(x)
        same = F.perceptron_rule(w, b, x, tg.tensor(right), 0.5)
        assert same[0].tolist() == w.tolist() and same[1].item() == 0.0
        moved = F.perceptron_rule(w, b, x, tg.tensor(1.0 - right), 0.5)
        sign = 1.0 - 2.0 * right
        assert moved[0].tolist() == (w + 0.5 * sign * x).tolist() and moved[1].item() == 0.5 * sign


def test_the_rule_is_differentiable_by_its_rate():
    lr = tg.tensor(0.5, requires_grad=True)
    w, b = F.perceptron_rule(tg.zeros(2), tg.tensor(0.0), tg.tensor([2.0, 3.0]), tg.tensor(1.0), lr)
    (g,) = tg.grad(w.sum() + b, lr)
    assert g.item() == 6.0


@pytest.mark.parametrize("truth", list(itertools.product([0.0, 1.0], repeat=4)), ids=str)
def test_all_but_two_functions_of_two_bits(truth):
    target = tg.tensor(truth)
    layer = nn.Perceptron(2).fit(SQUARE, target)
    if truth in ((0.0, 1.0, 1.0, 0.0), (1.0, 0.0, 0.0, 1.0)):
        assert len(layer.mistakes) == 100 and min(layer.mistakes) > 0
        assert correct(layer, SQUARE, target) <= 3
    else:
        assert layer.mistakes[-1] == 0 and correct(layer, SQUARE, target) == 4


def test_at_most_three_of_four_on_xor_whatever_the_weights():
    tg.manual_seed(0)
    layer, best = nn.Perceptron(2), 0
    for _ in range(2000):
        layer.load_state_dict({"weight": tg.randn(2), "bias": tg.randn(())})
        best = max(best, correct(layer, SQUARE, XOR))
    assert best == 3
    best = 0
    for epochs in range(1, 20):  # however long it learns
        best = max(best, correct(nn.Perceptron(2).fit(SQUARE, XOR, epochs=epochs), SQUARE, XOR))
    assert best <= 3


def test_a_small_network_gets_four():
    tg.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = tg.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        opt.zero_grad()
        tg.losses.BCEWithLogitsLoss()(model(SQUARE).squeeze(-1), XOR).backward()
        opt.step()
    assert ((model(SQUARE).squeeze(-1) > 0) == (XOR == 1)).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lr", [1.0, 0.1])
def test_convergence_theorem(seed, lr):
    """At most (R/γ)² mistakes for samples that a unit vector separates by γ: Novikoff (1962)."""
    draw = np.random.default_rng(seed)
    truth = draw.standard_normal(4)
    truth /= np.linalg.norm(truth)
    x = draw.uniform(-1, 1, (200, 3))
    ended = np.column_stack([x, np.ones(200)])
    far = np.abs(ended @ truth) > 0.1
    x, ended = x[far], ended[far]
    target = (ended @ truth > 0).astype(float)
    layer = nn.Perceptron(3, dtype="float64")
    layer.fit(tg.tensor(x), tg.tensor(target), lr=lr, epochs=2000)
    assert layer.mistakes[-1] == 0 and correct(layer, tg.tensor(x), tg.tensor(target)) == len(x)
    margin = np.abs(ended @ truth).min()
    assert sum(layer.mistakes) <= (np.linalg.norm(ended, axis=1).max() / margin) ** 2


def test_straight_through():
    x = tg.tensor([[1.0, 2.0], [-1.0, 0.5]])
    hard, soft = nn.Perceptron(2), nn.Perceptron(2, straight_through=True)
    for layer in (hard, soft):
        layer.load_state_dict({"weight": tg.tensor([0.5, 0.25]), "bias": tg.tensor(0.1)})
        layer(x).sum().backward()
    assert tg.equal(hard(x), soft(x)) and soft(x).tolist() == [1.0, 0.0]
    assert hard.weight.grad.tolist() == [0.0, 0.0]
    assert soft.weight.grad.tolist() == [0.0, 2.5] and soft.bias.grad.item() == 2.0
    opt = tg.optim.SGD(soft.parameters(), lr=0.1)
    target = tg.tensor([0.0, 1.0])
    for _ in range(50):
        opt.zero_grad()
        ((soft(x) - target) ** 2).sum().backward()
        opt.step()
    assert soft(x).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: nn.Perceptron(2)(tg.zeros(3)), r"\(3,\) must end in 2"),
        (lambda: nn.Perceptron(2).fit(tg.zeros(3), XOR), r"\(N, 2\).*\(3,\)"),
        (lambda: nn.Perceptron(2).fit(SQUARE, XOR[:2]), r"\(N,\) = \(4,\).*\(2,\)"),
        (lambda: nn.Perceptron(2).fit(SQUARE, XOR * 2 - 1), "must be 0 or 1"),
    ],
)
def test_errors_of_perceptrons(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_fit_takes_arrays_and_lists():
    for kind in (tg.Tensor.numpy, tg.Tensor.tolist, lambda t: t.long(), lambda t: t.double()):
        layer = nn.Perceptron(2).fit(kind(SQUARE), kind(tg.tensor([0.0, 0.0, 0.0, 1.0])))
        assert layer.mistakes[-1] == 0 and layer.weight.dtype == "float32"


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_fit_refuses_what_is_not_finite(wrong):
    layer = nn.Perceptron(2)
    with pytest.raises(ValueError, match="inputs must be finite"):
        layer.fit(tg.tensor([[0.0, 1.0], [wrong, 1.0]]), tg.tensor([0.0, 1.0]))
    assert layer.weight.tolist() == [0.0, 0.0]


def test_what_fails_leaves_the_weights_alone():
    layer = nn.Perceptron(2).fit(SQUARE, tg.tensor([0.0, 0.0, 0.0, 1.0]))
    before = layer.weight.tolist()
    with pytest.raises(ValueError, match="0 or 1"):
        layer.fit(SQUARE, tg.tensor([0.0, 1.0, 2.0, 0.0]))
    assert layer.weight.tolist() == before and layer.mistakes[-1] == 0
    assert repr(layer) == "Perceptron(in_features=2, straight_through=False)"


# -- residual connections -----------------------------------------------------------------------
def test_residual_adds_the_input():
    block = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
    x = tg.randn(4, 3)
    assert tg.equal(nn.Residual(block)(x), block(x) + x)
    assert tg.equal(nn.Residual(block, activation=nn.ReLU())(x), F.relu(block(x) + x))
    pre = nn.Residual(block, activation=nn.ReLU(), pre_activation=True)
    assert tg.equal(pre(x), block(F.relu(x)) + x)  # the way past the block stays free
    assert tg.equal(nn.Residual(block, activation=F.relu)(x), F.relu(block(x) + x))


def test_residual_projects_where_sizes_differ():
    x = tg.randn(4, 3)
    layer = nn.Residual(nn.Linear(3, 5))
    assert layer.shortcut.weight.shape == (5, 3) and layer.shortcut.bias is None
    assert tg.equal(layer(x), layer.block(x) + x @ layer.shortcut.weight.T)
    pre = nn.Residual(nn.Linear(3, 5), activation=nn.ReLU(), pre_activation=True)
    assert tg.equal(pre(x), pre.block(F.relu(x)) + pre.shortcut(F.relu(x)))
    images = tg.randn(2, 3, 8, 8)
    block = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)),
    )
    layer = nn.Residual(block, activation=nn.ReLU())
    assert layer(images).shape == (2, 6, 4, 4) and layer.shortcut.stride == (2, 2)
    assert isinstance(nn.Residual(nn.Conv1d(2, 2, 3, padding=1)).shortcut, nn.Identity)
    assert nn.Residual(nn.Linear(3, 5).double()).shortcut.weight.dtype == "float64"
    own = nn.Residual(nn.Linear(3, 5), shortcut=nn.Linear(3, 5))
    assert own.shortcut.bias is not None


def test_residual_keeps_gradients_alive():
    """Through 60 blocks of small weights: the shortcuts pass them on."""
    tg.manual_seed(0)
    norms = []
    for wrap in (lambda block: block, nn.Residual):
        layers = [wrap(nn.Sequential(nn.Linear(8, 8), nn.Sigmoid())) for _ in range(60)]
        x = tg.randn(4, 8, requires_grad=True)
        nn.Sequential(*layers)(x).sum().backward()
        norms.append(x.grad.norm().item())
    assert norms[0] < 1e-20 and norms[1] > 1e-1


def test_residual_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"gives \(4, 1\) and the shortcut \(4, 3\)"):
        nn.Residual(nn.Linear(3, 1), shortcut=nn.Identity())(tg.randn(4, 3))
    with pytest.raises(ValueError, match="kernels of one element"):
        nn.Residual(nn.Conv2d(2, 2, 3))(tg.zeros(1, 2, 5, 5))
    with pytest.raises(ValueError, match="needs an activation"):
        nn.Residual(nn.Linear(2, 2), pre_activation=True)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: nn.Residual(lambda x: x), "block must be a module, not function"),
        (lambda: nn.Residual(nn.ReLU), "block must be a module, not the class ReLU: .*ReLU\\(\\)"),
        (lambda: nn.Residual(nn.ReLU(), shortcut=abs), "shortcut must be a module, not builtin"),
        (lambda: nn.Residual(nn.ReLU(), activation="relu"), "activation must be .*, not str"),
        (lambda: nn.Residual(nn.ReLU(), activation=nn.ReLU), "not the class ReLU: .*ReLU\\(\\)"),
        (lambda: nn.Residual(nn.LSTM(3, 3))(tg.zeros(2, 3, 3)), "block gives a tuple"),
    ],
)
def test_residual_says_what_it_takes(call, words):
    with pytest.raises(TypeError, match=words):
        call()
