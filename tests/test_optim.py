"""Update rules against PyTorch's trajectories, and derivatives through training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim

CASES = json.loads((Path(__file__).parent / "data" / "slice.json").read_text())["trajectories"]


@pytest.mark.parametrize("key", CASES)
def test_follows_torch(key):
    case = CASES[key]
    w = tg.tensor([1.0, -2.0, 0.5], dtype="float64", requires_grad=True)
    optimizer = getattr(optim, case["name"])([w], **case["settings"])
    path = []
    for _ in range(25):
        optimizer.zero_grad()
        (((w - 3.0) ** 2).sum() + (w**4).sum() * 0.01).backward()
        optimizer.step()
        path.append(w.detach().numpy().copy())
    np.testing.assert_allclose([path[0], path[1], path[-1]], case["path"], rtol=1e-10)


def two_steps(rule, w=None):
    """The problem of the anchors: w0 = [1, -2], L = sum((w - 3)²), two steps."""
    w = tg.tensor([1.0, -2.0], dtype="float64", requires_grad=True) if w is None else w
    params, state = [w], rule.init([w])
    for _ in range(2):
        grads = tg.grad(((params[0] - 3.0) ** 2).sum(), params, create_graph=True)
        params, state = rule.update(params, grads, state)
    return ((params[0] - 3.0) ** 2).sum()


@pytest.mark.parametrize(
    ("name", "settings", "by", "at", "anchor"),
    [
        ("sgd", {}, "lr", 0.1, -118.784),
        ("adam", {}, "lr", 0.1, -26.3759067),
        ("adamw", {}, "lr", 0.1, -26.6535073),
        ("sgd", {"lr": 0.1}, "momentum", 0.9, -5.336),
        ("sgd", {"lr": 0.1}, "weight_decay", 0.1, -1.057562),
        ("adamw", {"lr": 0.1}, "weight_decay", 0.1, -2.9176074),
        ("adam", {"lr": 0.1}, "eps", 1e-3, 0.3746823),
    ],
)
def test_derivative_of_training_by_a_setting(name, settings, by, at, anchor):
    setting = tg.tensor(at, dtype="float64", requires_grad=True)
    rule = getattr(optim.functional, name)(**settings, **{by: setting})
    two_steps(rule).backward()
    assert setting.grad.item() == pytest.approx(anchor, rel=2e-7)


def test_derivative_of_training_by_beta():
    beta = tg.tensor(0.9, dtype="float64", requires_grad=True)
    two_steps(optim.functional.adam(lr=0.1, betas=(beta, 0.999))).backward()
    assert beta.grad.item() == pytest.approx(-0.0104849577, rel=1e-7)


def test_closed_form_of_gradient_descent():
    a, k = 2.0, 5
    lr = tg.tensor(0.1, dtype="float64", requires_grad=True)
    w0 = tg.tensor(1.5, dtype="float64", requires_grad=True)
    rule = optim.functional.sgd(lr=lr)
    params, state = [w0], rule.init([w0])
    for _ in range(k):
        grads = tg.grad(a * params[0] ** 2 / 2, params, create_graph=True)
        params, state = rule.update(params, grads, state)
    (a * params[0] ** 2 / 2).backward()
    assert lr.grad.item() == pytest.approx(-6.03979776, rel=1e-9)
    assert w0.grad.item() == pytest.approx(0.3221225472, rel=1e-9)


def test_adam_at_zero_gradient_has_the_derivative_of_the_formula():
    g = tg.tensor([0.0], dtype="float64", requires_grad=True)
    w = tg.tensor([1.0], dtype="float64")
    rule = optim.functional.adam(lr=0.1, eps=1e-3)
    (moved,), _ = rule.update([w], [g], rule.init([w]))
    moved.sum().backward()
    assert g.grad.item() == pytest.approx(-0.1 / 1e-3)


def test_clipping_by_global_norm():
    g = tg.tensor([3.0, 4.0, 0.0], dtype="float64", requires_grad=True)
    limit = tg.tensor(1.0, dtype="float64", requires_grad=True)
    (clipped,), norm = optim.functional.clip_by_global_norm([g], limit)
    assert norm.item() == 5.0
    clipped.sum().backward()
    assert limit.grad.item() == pytest.approx(7 / (5 + 1e-6))
    np.testing.assert_allclose(g.grad.numpy(), [0.032, -0.024, 0.2], atol=1e-6)
    zero = tg.zeros(2, dtype="float64", requires_grad=True)
    (same,), _ = optim.functional.clip_by_global_norm([zero], 1.0)
    same.sum().backward()
    np.testing.assert_array_equal(zero.grad.numpy(), [1.0, 1.0])


def test_clip_grad_norm_returns_the_norm():
    w = tg.zeros(2, requires_grad=True)
    w.grad = tg.tensor([3.0, 4.0])
    assert tg.nn.utils.clip_grad_norm_([w], 1.0).item() == 5.0
    np.testing.assert_allclose(w.grad.numpy(), [0.6, 0.8], rtol=1e-6)
    assert tg.nn.utils.clip_grad_norm_([tg.zeros(1, requires_grad=True)], 1.0).item() == 0.0


def test_clip_grad_norm_stays_on_the_tape():
    """The derivative of clipping, where torch's in-place form passes [1, 1, 1]."""
    w = tg.tensor([3.0, 4.0, 0.0], dtype="float64", requires_grad=True)
    (0.5 * w * w).sum().backward(create_graph=True)  # a gradient that is w itself
    tg.nn.utils.clip_grad_norm_([w], 1.0)
    (g,) = tg.grad(w.grad.sum(), w)
    np.testing.assert_allclose(g.numpy(), [0.032, -0.024, 0.2], atol=1e-6)


def test_clip_grad_norm_names_what_is_not_finite():
    a, b = tg.zeros(2, requires_grad=True), tg.zeros(1, requires_grad=True)
    b.name = "bias"
    a.grad, b.grad = tg.tensor([3.0, 4.0]), tg.tensor([np.nan])
    with pytest.raises(RuntimeError, match=r"parameters\[1\] .*'bias'\) is NaN or inf"):
        tg.nn.utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)
    assert a.grad.tolist() == [3.0, 4.0]
    b.grad = tg.tensor([3e38])
    assert tg.nn.utils.clip_grad_norm_([b], 3e38, error_if_nonfinite=True) == 3e38  # no overflow
    a.grad = tg.tensor([3e38, 3e38])
    with pytest.raises(RuntimeError, match="out of range"), np.errstate(over="ignore"):
        tg.nn.utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)
    a.grad = tg.tensor([3.0, 4.0])
    tg.nn.utils.clip_grad_norm_([a], 1.0, error_if_nonfinite=True)
    np.testing.assert_allclose(a.grad.numpy(), [0.6, 0.8], rtol=1e-6)


def test_schedules():
    cosine = optim.schedules.cosine_decay(0.1, 50)
    assert [round(float(cosine(s)), 12) for s in (0, 25, 50, 99)] == [0.1, 0.05, 0.0, 0.0]
    warmed = optim.schedules.warmup(cosine, 10)
    assert float(warmed(4)) == pytest.approx(0.05)
    assert float(warmed(10)) == pytest.approx(0.1)
    peak = tg.tensor(0.1, dtype="float64", requires_grad=True)
    optim.schedules.cosine_decay(peak, 50)(25).backward()
    assert peak.grad.item() == pytest.approx(0.5)


def test_a_schedule_drives_the_optimizer():
    w = tg.tensor([1.0], dtype="float64", requires_grad=True)
    optimizer = optim.SGD([w], lr=lambda step: 0.1 * (step + 1))
    for expected in (1.0 - 0.1, 0.9 - 0.2):
        w.grad = tg.ones(1, dtype="float64")
        optimizer.step()
        assert w.item() == pytest.approx(expected)


def test_a_failed_step_leaves_everything_as_it_was():
    a, b = (tg.ones(2, dtype="float64", requires_grad=True) for _ in range(2))
    optimizer = optim.Adam([a, b], lr=0.1)
    a.grad = b.grad = tg.ones(2, dtype="float64")
    optimizer.step()
    before = a.detach().numpy().copy()
    state = optimizer.state[a]
    broken = state.memory[0]._replace(exp_avg=tg.ones(3, dtype="float64"))
    optimizer.state[b] = state._replace(memory=[broken])
    with pytest.raises(RuntimeError, match="broadcast"):
        optimizer.step()
    np.testing.assert_array_equal(a.detach().numpy(), before)
    assert optimizer.state[a].step == state.step
    assert optimizer.state[a].memory[0].exp_avg.tolist() == state.memory[0].exp_avg.tolist()


def test_bad_settings_are_refused():
    w = tg.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="nesterov"):
        optim.SGD([w], nesterov=True)
    with pytest.raises(ValueError, match="empty"):
        optim.SGD([])
    with pytest.raises(TypeError, match="iterable"):
        optim.SGD(w)
    with pytest.raises(ValueError, match="already"):
        optim.SGD([w, w])
    with pytest.raises(ValueError, match="not a leaf"):
        optim.SGD([w * 2])
    with pytest.raises(ValueError, match="unknown settings"):
        optim.SGD([{"params": [w], "rate": 1.0}])


def test_parameters_without_gradient_are_skipped():
    a, b = tg.ones(1, requires_grad=True), tg.ones(1, requires_grad=True)
    optimizer = optim.SGD([a, b], lr=1.0)
    a.grad = tg.ones(1)
    optimizer.step()
    assert (a.item(), b.item()) == (0.0, 1.0)
