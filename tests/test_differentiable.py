"""The ordinary training loop, recorded: two kinds of backward, handles of the beginning, errors."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim


def problem():
    """The problem of the anchors: w0 = [1, -2], L = sum((w - 3)²), with a rate on the tape."""
    lr = tg.tensor(0.1, dtype="float64", requires_grad=True)
    w = tg.tensor([1.0, -2.0], dtype="float64", requires_grad=True)
    return lr, w


def loss_of(w):
    return ((w - 3.0) ** 2).sum()


def train(optimizer, w, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(w).backward(create_graph=True)
        optimizer.step()


@pytest.mark.parametrize(
    ("form", "settings", "anchor"),
    [
        (optim.SGD, {}, -118.784),
        (optim.Adam, {}, -26.3759067),
        (optim.AdamW, {}, -26.6535073),
    ],
)
def test_the_ordinary_loop_gives_the_anchors(form, settings, anchor):
    lr, w = problem()
    train(form([w], lr=lr, differentiable=True, **settings), w, 2)
    assert lr.grad is None
    loss_of(w).backward()
    assert lr.grad.item() == pytest.approx(anchor, rel=2e-7)


def test_the_initial_parameters_have_a_gradient():
    w = tg.tensor(1.5, dtype="float64", requires_grad=True)
    lr = tg.tensor(0.1, dtype="float64", requires_grad=True)
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    for _ in range(5):
        optimizer.zero_grad()
        (w * w).backward(create_graph=True)
        optimizer.step()
    (w * w).backward()
    assert lr.grad.item() == pytest.approx(-6.03979776, rel=1e-9)
    assert optimizer.initial[0].grad.item() == pytest.approx(0.3221225472, rel=1e-9)


def test_fifty_steps_cost_the_same_each_and_leave_the_rate_alone():
    lr, w = problem()
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    counts = []
    for _ in range(50):
        optimizer.zero_grad()
        before = tg.tensor(0.0, requires_grad=True)._record[0]
        loss_of(w).backward(create_graph=True)
        optimizer.step()
        counts.append(tg.tensor(0.0, requires_grad=True)._record[0] - before)
        assert lr.grad is None
    assert counts[49] == counts[1]  # records made, which is what a step costs
    loss_of(w).backward()
    # w_k - 3 = (w_0 - 3)(1 - 2·lr)^k
    expected = -200 * (4.0 + 25.0) * 0.8**99
    assert lr.grad.item() == pytest.approx(expected, rel=1e-9)


def test_grad_and_inputs_go_through():
    lr, w = problem()
    train(optim.SGD([w], lr=lr, differentiable=True), w, 2)
    (by_rate,) = tg.grad(loss_of(w), lr, create_graph=True)
    assert by_rate.item() == pytest.approx(-118.784)
    (second,) = tg.grad(by_rate, lr, retain_graph=True)
    # L = (1 - 2 lr)^4 · 29, twice differentiated
    assert second.item() == pytest.approx(48 * 0.8**2 * 29, rel=1e-9)
    loss_of(w).backward(inputs=[lr], create_graph=True)
    assert lr.grad.item() == pytest.approx(-118.784)


def test_clipping_in_between_is_differentiated():
    lr, w = problem()
    limit = tg.tensor(1.0, dtype="float64", requires_grad=True)
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    loss_of(w).backward(create_graph=True)
    tg.nn.utils.clip_grad_norm_([w], limit)
    optimizer.step()
    loss_of(w).backward()
    g = np.array([-4.0, -10.0])
    direction = g / (np.linalg.norm(g) + 1e-6)
    moved = np.array([1.0, -2.0]) - 0.1 * direction
    assert limit.grad.item() == pytest.approx(np.sum(2 * (moved - 3) * -0.1 * direction))


def test_detach_begins_anew():
    lr, w = problem()
    optimizer = optim.Adam([w], lr=lr, differentiable=True)
    train(optimizer, w, 3)
    optimizer.detach_()
    at = optimizer.initial[0]
    np.testing.assert_array_equal(at.detach().numpy(), w.detach().numpy())
    assert tg.grad(loss_of(w), lr, allow_unused=True) == (None,)
    train(optimizer, w, 1)
    loss_of(w).backward()
    assert at.grad is not None and lr.grad is not None


def test_a_gradient_off_the_tape_is_refused():
    lr, w = problem()
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    loss_of(w).backward()
    before = w.detach().numpy().copy()
    with pytest.raises(RuntimeError, match="create_graph=True"):
        optimizer.step()
    np.testing.assert_array_equal(w.detach().numpy(), before)


def test_a_model_trains_through_its_own_parameters():
    x = tg.randn(8, 2, dtype="float64", generator=tg.Generator().manual_seed(1))
    y = tg.sin(x[:, :1])

    def final(rate):
        tg.manual_seed(0)
        layers = (tg.nn.Linear(2, 3, dtype="float64"), tg.nn.Linear(3, 1, dtype="float64"))
        model = tg.nn.Sequential(layers[0], tg.nn.Tanh(), layers[1])
        lr = tg.tensor(rate, dtype="float64", requires_grad=True)
        optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.5, differentiable=True)
        for _ in range(4):
            optimizer.zero_grad()
            tg.losses.mse_loss(model(x), y).backward(create_graph=True)
            optimizer.step()
        loss = tg.losses.mse_loss(model(x), y)
        return loss.item(), tg.grad(loss, lr)[0].item()

    h = 1e-5
    expected = (final(0.1 + h)[0] - final(0.1 - h)[0]) / (2 * h)
    assert final(0.1)[1] == pytest.approx(expected, rel=1e-6)


def test_views_of_a_parameter_stay_where_it_stood():
    lr, w = problem()
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    with tg.no_grad():
        before = w[:1]
    train(optimizer, w, 1)
    with tg.no_grad():
        before.add_(100.0)
    np.testing.assert_allclose(w.detach().numpy(), [1.4, -1.0])
    loss_of(w).backward()
    assert lr.grad.item() == pytest.approx(-2 * 2 * 0.8 * 29)


def test_a_recorded_gradient_after_one_that_was_not():
    lr, w = problem()
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    train(optimizer, w, 1)
    loss_of(w).backward(retain_graph=True)  # to look at lr.grad on the way
    lr.grad = None
    train(optimizer, w, 1)
    loss_of(w).backward()
    assert lr.grad.item() == pytest.approx(-118.784)


@pytest.mark.parametrize("of", ["optimizer", "module"])
def test_gradients_set_to_zero_were_all_recorded(of):
    lr, w = problem()
    module = tg.nn.Module()
    module.w = w = tg.nn.Parameter(w.detach())
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    holder = optimizer if of == "optimizer" else module
    for _ in range(2):
        loss_of(w).backward(retain_graph=True)
        holder.zero_grad(set_to_none=False)
        assert w.grad.tolist() == [0.0, 0.0]
        loss_of(w).backward(create_graph=True)
        optimizer.step()
        holder.zero_grad(set_to_none=False)
    lr.grad = None
    loss_of(w).backward()
    assert lr.grad.item() == pytest.approx(-118.784)


def test_a_loss_from_before_the_optimizer():
    lr, w = problem()
    loss = loss_of(w)
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    loss.backward(create_graph=True)
    assert w.grad.tolist() == [-4.0, -10.0]
    assert optimizer.initial[0].grad is None
    optimizer.step()
    train(optimizer, w, 1)
    loss_of(w).backward()
    assert lr.grad.item() == pytest.approx(-118.784)
    # L = (w0 - 3)² (1 - 2 lr)⁴
    assert optimizer.initial[0].grad.tolist() == pytest.approx([-4 * 0.8**4, -10 * 0.8**4])


def test_a_loss_from_before_goes_through_to_the_beginning():
    lr, w = problem()
    loss = loss_of(w)
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    at = optimizer.initial[0]
    (slope,) = tg.grad(loss, at, create_graph=True)
    assert slope.tolist() == [-4.0, -10.0]
    assert tg.grad(slope.sum(), at, retain_graph=True)[0].tolist() == [2.0, 2.0]
    assert tg.grad(loss, w, retain_graph=True)[0].tolist() == [-4.0, -10.0]
    loss.backward()
    assert at.grad.tolist() == [-4.0, -10.0]


def test_changes_between_steps():
    """One that is recorded has its derivative; one under no_grad has that of the identity."""

    def final(rate, recorded):
        lr = tg.tensor(rate, dtype="float64", requires_grad=True)
        w = tg.tensor([1.0, -2.0], dtype="float64", requires_grad=True)
        optimizer = optim.SGD([w], lr=lr, differentiable=True)
        train(optimizer, w, 2)
        with tg.set_grad_enabled(recorded):
            w.mul_(0.5)
        train(optimizer, w, 2)
        return lr, loss_of(w)

    h = 1e-5
    measured = (final(0.1 + h, True)[1] - final(0.1 - h, True)[1]).item() / (2 * h)
    lr, loss = final(0.1, True)
    assert tg.grad(loss, lr)[0].item() == pytest.approx(measured, rel=1e-8)
    lr, loss = final(0.1, False)
    # e = w - 3 becomes e·0.8² in two steps, moves by what was taken, and shrinks again
    before = np.array([-2.0, -5.0])
    after = (3.0 + before * 0.64) / 2 - 3.0
    slope = 2 * after * 0.64 * (before * -3.2 * 0.64 + after * -3.2)
    assert tg.grad(loss, lr)[0].item() == pytest.approx(slope.sum(), rel=1e-12)


@pytest.mark.parametrize("when", ["before", "after"])
def test_hooks_move_along(when):
    lr, w = problem()
    seen = []
    hooks = [lambda g: seen.append(1), lambda g: g * tg.tensor([1.0, 0.0])]
    handles = [w.register_hook(hook) for hook in hooks if when == "before"]
    optimizer = optim.SGD([w], lr=lr, differentiable=True)
    handles += [w.register_hook(hook) for hook in hooks if when == "after"]
    train(optimizer, w, 2)
    assert len(seen) == 2
    np.testing.assert_allclose(w.detach().numpy(), [3.0 - 2.0 * 0.64, -2.0])
    for handle in handles:
        handle.remove()
    train(optimizer, w, 1)
    assert len(seen) == 2 and w.tolist()[1] == pytest.approx(-1.0)


def test_frozen_parameters_and_no_grad():
    """A parameter that asks for no gradient moves too if it was given one."""
    lr, w = problem()
    frozen = tg.ones(1, dtype="float64")
    with tg.no_grad():
        optimizer = optim.SGD([w, frozen], lr=lr, differentiable=True)
    frozen.grad = tg.ones(1, dtype="float64")
    loss_of(w).backward(create_graph=True)
    optimizer.step()
    assert frozen.item() == pytest.approx(0.9)
    assert tg.grad(frozen, lr)[0].item() == -1.0
    with tg.no_grad():
        optimizer.detach_()
    train(optimizer, w, 2)
    loss_of(w).backward()
    assert lr.grad.item() == pytest.approx(-118.784 * 0.64)
