"""Optimizers as their papers write them: beside independent NumPy, and at zero gradients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim import functional as rules

W0 = np.array([1.0, -2.0, 0.5])


def gradient(w):
    """Of sum((w - 3)² + w⁴/20), with a little that changes its sign."""
    return 2.0 * (w - 3.0) + 0.2 * w**3


def path_of(optimizer, w, steps):
    path = []
    for _ in range(steps):
        w.grad = tg.tensor(gradient(w.detach().numpy()))
        optimizer.step()
        path.append(w.detach().numpy().copy())
    return np.array(path)


def compare(form, published, steps=25, **settings):
    """An optimizer with the formulas of its paper, in NumPy: a generator of parameters."""
    w = tg.tensor(W0, requires_grad=True)
    found = path_of(form([w], **settings), w, steps)
    expected = [x.copy() for _, x in zip(range(steps), published(W0.copy(), **settings))]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def lion(w, lr, betas=(0.9, 0.99), weight_decay=0.0):
    """Chen et al. (2023), Algorithm 2."""
    m = np.zeros_like(w)
    while True:
        g = gradient(w)
        c = betas[0] * m + (1 - betas[0]) * g
        w = w - lr * (np.sign(c) + weight_decay * w)
        m = betas[1] * m + (1 - betas[1]) * g
        yield w


def lamb(w, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
    """You et al. (2020), Algorithm 2, with φ the identity."""
    m, v, t = np.zeros_like(w), np.zeros_like(w), 0
    while True:
        g, t = gradient(w), t + 1
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        r = (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        u = r + weight_decay * w
        w = w - lr * np.linalg.norm(w) / np.linalg.norm(u) * u
        yield w


def lars(w, lr, momentum=0.9, weight_decay=5e-4, trust_coefficient=1e-3):
    """You, Gitman and Ginsburg (2017), Algorithm 1."""
    v = np.zeros_like(w)
    while True:
        g = gradient(w)
        size = np.linalg.norm(g) + weight_decay * np.linalg.norm(w)
        local = trust_coefficient * np.linalg.norm(w) / size
        v = momentum * v + lr * local * (g + weight_decay * w)
        w = w - v
        yield w


def adan(w, lr, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0, no_prox=False):
    """Xie et al. (2024), Algorithm 1, with the authors' correction of the start."""
    b1, b2, b3 = betas
    m, v, n, last, t = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), None, 0
    while True:
        g, t = gradient(w), t + 1
        last = g if last is None else last
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (g - last)
        n = b3 * n + (1 - b3) * (g + b2 * (g - last)) ** 2
        eta = lr / (np.sqrt(n / (1 - b3**t)) + eps)
        step = eta * (m / (1 - b1**t) + b2 * v / (1 - b2**t))
        if no_prox:
            w = (1 - lr * weight_decay) * w - step
        else:
            w = (w - step) / (1 + lr * weight_decay)
        last = g
        yield w


def adabelief(w, lr, betas=(0.9, 0.999), eps=1e-16, weight_decay=0.0):
    """Zhuang et al. (2020), Algorithm 2."""
    m, s, t = np.zeros_like(w), np.zeros_like(w), 0
    while True:
        g, t = gradient(w), t + 1
        w = w - lr * weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        s = betas[1] * s + (1 - betas[1]) * (g - m) ** 2 + eps
        w = w - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(s / (1 - betas[1] ** t)) + eps)
        yield w


def yogi(w, lr, betas=(0.9, 0.999), eps=1e-3, initial_accumulator=1e-6, weight_decay=0.0):
    """Zaheer et al. (2018), Algorithm 2."""
    m, v = np.zeros_like(w), np.full_like(w, initial_accumulator)
    while True:
        g = gradient(w)
        m = betas[0] * m + (1 - betas[0]) * g
        v = v - (1 - betas[1]) * np.sign(v - g**2) * g**2
        w = w - lr * weight_decay * w
        w = w - lr / (np.sqrt(v) + eps) * m
        yield w


def schedule_free(y, lr, beta, weight_decay, direction, warmup_steps=0, r=0.0, power=2.0):
    """Defazio et al. (2024), equations 1 to 3 with the weights of section 3.2; yields y and x."""
    z, x, total, t = y, y, 0.0, 0
    while True:
        t += 1
        rate = lr * (t / warmup_steps if t < warmup_steps else 1.0)
        z = z - rate * (direction(gradient(y), t) + weight_decay * y)
        total += t**r * rate**power
        share = t**r * rate**power / total
        x = (1 - share) * x + share * z
        y = (1 - beta) * z + beta * x
        yield y, x


def sgdschedulefree(w, lr, momentum=0.9, weight_decay=0.0, weight_lr_power=2.0, **others):
    points = schedule_free(
        w, lr, momentum, weight_decay, lambda g, t: g, power=weight_lr_power, **others
    )
    yield from points


def adamwschedulefree(w, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, **others):
    v = np.zeros_like(w)

    def direction(g, t):
        nonlocal v
        v = betas[1] * v + (1 - betas[1]) * g**2
        return g / (np.sqrt(v / (1 - betas[1] ** t)) + eps)

    yield from schedule_free(w, lr, betas[0], weight_decay, direction, **others)


@pytest.mark.parametrize(
    ("form", "published", "settings"),
    [
        (optim.Lion, lion, {"lr": 0.03}),
        (optim.Lion, lion, {"lr": 0.03, "betas": (0.5, 0.9), "weight_decay": 0.3}),
        (optim.LAMB, lamb, {"lr": 0.1}),
        (optim.LAMB, lamb, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 0.1, "weight_decay": 0.3}),
        (optim.LARS, lars, {"lr": 0.1}),
        (optim.LARS, lars, {"lr": 0.3, "trust_coefficient": 0.2, "weight_decay": 0.3}),
        (optim.LARS, lars, {"lr": 0.3, "trust_coefficient": 0.2, "momentum": 0.0}),
        (optim.Adan, adan, {"lr": 0.1}),
        (optim.Adan, adan, {"lr": 0.1, "betas": (0.9, 0.8, 0.7), "weight_decay": 0.3}),
        (optim.Adan, adan, {"lr": 0.1, "weight_decay": 0.3, "no_prox": True, "eps": 0.1}),
        (optim.AdaBelief, adabelief, {"lr": 0.1}),
        (optim.AdaBelief, adabelief, {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.3}),
        (optim.Yogi, yogi, {"lr": 0.1}),
        (optim.Yogi, yogi, {"lr": 0.1, "betas": (0.7, 0.8), "weight_decay": 0.3, "eps": 0.1}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_is_the_published_algorithm(form, published, settings):
    compare(form, published, **settings)


@pytest.mark.parametrize(
    ("form", "published", "settings"),
    [
        (optim.SGDScheduleFree, sgdschedulefree, {"lr": 0.1}),
        (
            optim.SGDScheduleFree,
            sgdschedulefree,
            {"lr": 0.1, "momentum": 0.7, "weight_decay": 0.2, "warmup_steps": 5, "r": 1.0},
        ),
        (optim.SGDScheduleFree, sgdschedulefree, {"lr": 0.1, "momentum": 0.0}),
        (
            optim.SGDScheduleFree,
            sgdschedulefree,
            {"lr": 0.1, "warmup_steps": 5, "weight_lr_power": 0.5},
        ),
        (optim.AdamWScheduleFree, adamwschedulefree, {"lr": 0.1}),
        (
            optim.AdamWScheduleFree,
            adamwschedulefree,
            {"lr": 0.1, "betas": (0.7, 0.9), "weight_decay": 0.2, "warmup_steps": 5, "eps": 0.1},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_schedule_free_is_the_published_algorithm(form, published, settings):
    w = tg.tensor(W0, requires_grad=True)
    optimizer = form([w], **settings)
    for _, (y, x) in zip(range(25), published(W0.copy(), **settings)):
        w.grad = tg.tensor(gradient(w.detach().numpy()))
        optimizer.step()
        np.testing.assert_allclose(w.detach().numpy(), y, rtol=1e-10)
        optimizer.eval()
        np.testing.assert_allclose(w.detach().numpy(), x, rtol=1e-10)
        assert rules.averaged(optimizer.state[w])[0].tolist() == w.tolist()
        optimizer.train()
        np.testing.assert_allclose(w.detach().numpy(), y, rtol=1e-10)


def test_the_average_of_schedule_free_is_the_mean_when_the_rate_is_constant():
    rule = rules.sgdschedulefree(lr=0.1)
    params, points = [tg.tensor(W0)], []
    state = rule.init(params)
    for _ in range(10):
        params, state = rule.update(params, [tg.tensor(gradient(params[0].numpy()))], state)
        points.append(state.memory[0].z.numpy())
    np.testing.assert_allclose(rules.averaged(state)[0].numpy(), np.mean(points, axis=0))


def test_schedule_free_starts_at_a_rate_of_zero():
    """A warm-up that begins at 0: the first weight is 0 of 0."""
    lr = tg.tensor(0.1, dtype="float64", requires_grad=True)
    rule = rules.sgdschedulefree(lr=lambda step: lr * min(step, 3) / 3)
    params = [tg.tensor(W0, requires_grad=True)]
    state = rule.init(params)
    for _ in range(3):
        grads = tg.grad(((params[0] - 3.0) ** 2).sum(), params, create_graph=True)
        params, state = rule.update(params, grads, state)
    (found,) = tg.grad(params[0].sum(), lr)
    assert np.isfinite(found.item()) and found.item() != 0.0


def test_schedule_free_differs_between_training_and_evaluation():
    w = tg.tensor(W0, requires_grad=True)
    optimizer = optim.AdamWScheduleFree([w], lr=0.1)
    path_of(optimizer, w, 3)
    y = w.tolist()
    optimizer.eval()
    optimizer.eval()
    x = w.tolist()
    assert x != y
    with pytest.raises(RuntimeError, match=r"train\(\)"):
        optimizer.step()
    snapshot = optimizer.state_dict()
    again = tg.tensor(x, dtype="float64", requires_grad=True)
    other = optim.AdamWScheduleFree([again], lr=0.1)
    other.load_state_dict(snapshot)
    for o in (optimizer, other):
        o.train()
        o.train()
    assert w.tolist() == again.tolist() == y
    np.testing.assert_array_equal(path_of(optimizer, w, 3), path_of(other, again, 3))


def test_the_evaluated_average_has_the_derivative_of_the_rule():
    def loss_of(w):
        return ((w - 3.0) ** 2).sum()

    found = []
    for ordinary in (False, True):
        lr = tg.tensor(0.1, dtype="float64", requires_grad=True)
        w = tg.tensor(W0, requires_grad=True)
        if ordinary:
            optimizer = optim.SGDScheduleFree([w], lr=lr, differentiable=True)
            for _ in range(4):
                optimizer.zero_grad()
                loss_of(w).backward(create_graph=True)
                optimizer.step()
                with tg.no_grad():
                    optimizer.eval()  # looking in between changes nothing
                    optimizer.train()
            optimizer.eval()
            loss_of(w).backward()
            begun = optimizer.initial[0]
        else:
            rule, params = rules.sgdschedulefree(lr=lr), [w]
            state = rule.init(params)
            for _ in range(4):
                grads = tg.grad(loss_of(params[0]), params, create_graph=True)
                params, state = rule.update(params, grads, state)
            loss_of(rules.averaged(state)[0]).backward()
            begun = w
        found.append([lr.grad.item(), *begun.grad.tolist()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


@pytest.mark.parametrize("i", range(3))
def test_muon_is_torchs_but_for_bfloat16(i):
    """In float64 it is the same to 1e-8 (the table); torch's own differs by up to 1 %."""
    stored = json.loads((Path(__file__).parent / "data" / "trajectories.json").read_text())
    exact, rounded = stored[f"muon {i}"], stored[f"muon {i} bfloat16"]
    for step, params in exact.items():
        for a, b in zip(params, rounded[step], strict=True):
            assert np.linalg.norm(np.subtract(a, b)) < 1e-2 * np.linalg.norm(a)


def test_muon_brings_singular_values_near_one():
    """Jordan et al. (2024): five turns leave them in about [0.7, 1.2]; beside NumPy's powers."""
    from tapegrad.optim.layerwise import orthogonal

    b = np.random.default_rng(0).normal(size=(5, 3))
    found = orthogonal(tg.tensor(b), (3.4445, -4.775, 2.0315), 1e-7, 5).numpy()
    left, sizes, right = np.linalg.svd(b, full_matrices=False)
    sizes = sizes / np.linalg.norm(b)
    for _ in range(5):
        sizes = 3.4445 * sizes - 4.775 * sizes**3 + 2.0315 * sizes**5
    np.testing.assert_allclose(found, left @ np.diag(sizes) @ right, rtol=1e-10)
    assert (sizes > 0.6).all() and (sizes < 1.3).all()


def test_muon_takes_matrices_only():
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        optim.Muon([("bias", tg.zeros(3, requires_grad=True))])
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        rules.muon().init([tg.zeros(3)])
    with pytest.raises(ValueError, match="adjust_lr_fn"):
        rules.muon(adjust_lr_fn="mine")
    with pytest.raises(ValueError, match="ns_steps"):
        rules.muon(ns_steps=100)


#: Keras 3's SGD at rates .1, .05, .025 (in float32) on sum((w - 3)²) from [1, -2].
KERAS = [
    (
        {"momentum": 0.9},
        [
            [1.4000000059604645, -0.9999999850988388],
            [1.920000013113022, 0.3000000327825547],
            [2.4420000196993352, 1.6050000492483378],
        ],
    ),
    (
        {"momentum": 0.9, "nesterov": True},
        [
            [1.7600000113248826, -0.0999999716877937],
            [2.3196000175118447, 1.2990000437796114],
            [2.776278021735936, 2.4406950543398405],
        ],
    ),
]
#: With weight decay, whose factor Keras has in float32.
DECAYED = (
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    [[1.75000002, -0.07999999], [2.30275003, 1.31560003], [2.75608192, 2.45080904]],
)


@pytest.mark.parametrize(
    ("settings", "expected", "near"), [*((*case, 1e-12) for case in KERAS), (*DECAYED, 1e-6)]
)
def test_momentum_as_keras_writes_it(settings, expected, near):
    w = tg.tensor([1.0, -2.0], dtype="float64", requires_grad=True)
    rate = float(np.float32(0.1))
    optimizer = optim.KerasSGD([w], learning_rate=lambda step: rate * 0.5**step, **settings)
    for point in expected:
        optimizer.zero_grad()
        ((w - 3.0) ** 2).sum().backward()
        optimizer.step()
        np.testing.assert_allclose(w.detach().numpy(), point, rtol=near)


def test_kerass_momentum_is_torchs_while_the_rate_is_constant():
    a, b = (tg.tensor(W0, requires_grad=True) for _ in range(2))
    for nesterov in (False, True):
        settings = {"lr": 0.05, "momentum": 0.9, "nesterov": nesterov}
        found = path_of(optim.KerasSGD([a], **settings), a, 10)
        np.testing.assert_allclose(found, path_of(optim.SGD([b], **settings), b, 10), rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "slope"),
    [
        (rules.lion(lr=0.1), 0.0),
        (rules.lamb(lr=0.1, eps=1e-3, weight_decay=0.0), -0.1 / 1e-3),
        (rules.lars(lr=0.1), -0.1),
        (rules.adan(lr=0.1, eps=1e-3), -0.1 / 1e-3),
        (rules.adabelief(lr=0.1, eps=1e-4), -0.1 / ((1e-4 / 0.001) ** 0.5 + 1e-4)),
        (rules.yogi(lr=0.1, initial_accumulator=0.0), -0.1 * 0.1 / 1e-3),
        (rules.yogi(lr=0.1), -0.1 * 0.1 / (1e-3 + 1e-3)),
        (rules.sgdschedulefree(lr=0.1), -0.1),
        (rules.adamwschedulefree(lr=0.1, eps=1e-3), -0.1 / 1e-3),
        (rules.kerassgd(lr=0.1, momentum=0.9), -0.1),
        (rules.kerassgd(lr=0.1, momentum=0.9, nesterov=True), -0.1 * 1.9),
    ],
)
def test_the_first_step_at_zero_gradient(rule, slope):
    """The derivative of the step by the gradient there, as the docstrings say."""
    w = tg.tensor(W0, requires_grad=True)
    g = tg.zeros(3, dtype="float64", requires_grad=True)
    (moved,), _ = rule.update([w], [g], rule.init([w]))
    (found,) = tg.grad(moved.sum(), g)
    np.testing.assert_allclose(found.numpy(), slope, rtol=1e-12)


def test_adabelief_has_the_true_derivative_at_zero_gradient():
    """The root is never at 0, so that there is one; by finite differences."""
    rule = rules.adabelief(lr=0.1, eps=1e-4)
    w = tg.tensor(W0)
    state = rule.init([w])
    zero = tg.zeros(3, dtype="float64")
    assert tg.check_grads(lambda g: rule.update([w], [g], state)[0][0], (zero,), 1)


def test_the_first_step_of_muon_at_zero_gradient():
    w = tg.zeros(2, 3, dtype="float64", requires_grad=True)
    g = tg.zeros(2, 3, dtype="float64", requires_grad=True)
    rule = rules.muon(lr=0.1, eps=0.1, weight_decay=0.0)
    (moved,), _ = rule.update([w], [g], rule.init([w]))
    (found,) = tg.grad(moved[0, 0], g)
    share = 0.05 + 0.95 * 0.05  # Nesterov's
    assert found[0, 0].item() == pytest.approx(-0.1 * 3.4445**5 / 0.1 * share)


@pytest.mark.parametrize("rule", [rules.lamb(lr=0.1), rules.lars(lr=0.1)])
def test_tensors_of_zeros_move(rule):
    """Where ‖w‖ = 0 the ratio is 1, and derivatives are finite."""
    w = tg.zeros(3, dtype="float64", requires_grad=True)
    g = tg.tensor(W0, requires_grad=True)
    (moved,), _ = rule.update([w], [g], rule.init([w]))
    assert moved.abs().sum().item() > 0
    for found in tg.grad(moved.sum(), [w, g]):
        assert np.isfinite(found.numpy()).all()


def test_yogi_takes_the_first_value_of_a_schedule_to_begin_with():
    found = []
    for value in (0.5, lambda step: 0.5 + step):
        w = tg.tensor(W0, requires_grad=True)
        found.append(path_of(optim.Yogi([w], initial_accumulator=value), w, 3))
    np.testing.assert_array_equal(*found)


def test_schedule_free_refuses_a_snapshot_that_does_not_say_which_point_it_is():
    w = tg.tensor(W0, requires_grad=True)
    snapshot = optim.SGDScheduleFree([w], lr=0.1).state_dict()
    del snapshot["training"]
    optimizer = optim.SGDScheduleFree([w], lr=0.5)
    with pytest.raises(ValueError, match="'training'"):
        optimizer.load_state_dict(snapshot)
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("rule", [rules.sgdschedulefree, rules.adamwschedulefree])
def test_schedule_free_has_the_derivative_of_its_mean_at_a_rate_of_zero(rule):
    """The shares are 1/t for every constant rate, and their limit at 0 is 1/t as well."""

    def final(lr):
        params = [tg.tensor(W0)]
        made = rule(lr=lr)
        state = made.init(params)
        for _ in range(4):
            params, state = made.update(params, [2.0 * (params[0] - 3.0)], state)
        return params[0].sum()

    lr, h = tg.tensor(0.0, dtype="float64", requires_grad=True), 1e-7
    (found,) = tg.grad(final(lr), lr)
    assert found.item() == pytest.approx((final(h).item() - final(0.0).item()) / h, rel=1e-5)
