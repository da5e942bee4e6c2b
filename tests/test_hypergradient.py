"""Rules that are tuned while they run, against the papers' algorithms written in NumPy."""

from __future__ import annotations

import itertools
import pickle
from functools import partial

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim.functional import (
    adam,
    chain,
    clip_by_global_norm,
    rmsprop,
    sam,
    sgd,
    tower,
    tuned,
)

A = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.1], [0.0, -0.1, 0.2]])
B = np.array([1.0, -2.0, 0.5])
START = np.array([0.5, 1.5, -1.0])


def slope(w):
    """The gradient of a bowl with a little of a fourth power, so that curvature changes too."""
    return A @ w - B + 0.1 * w**3


def loss_of(params):
    w = params[0]
    return 0.5 * (w @ (tg.tensor(A) @ w)) - tg.tensor(B) @ w + 0.025 * (w**4).sum()


gradients = tg.func.grad(loss_of)


def path(rule, steps, start=None):
    """Parameters and states: as they begin, and after each step."""
    params = [tg.tensor(START)] if start is None else start
    found = [(params, rule.init(params))]
    for _ in range(steps):
        params, state = found[-1]
        found.append(rule.update(params, gradients(params), state))
    return found


def rates_of(state):
    """The rates of a tower's levels that are tuned, from the lowest up."""
    found = []
    while isinstance(state, optim.functional.Tuned):
        found.append(state.settings["lr"])
        state = state.outer
    return found


# -- hypergradient descent (Baydin et al. 2018, algorithms 4 to 6) ------------------------------
def sgd_hd(alpha, beta, steps):
    w, moved_by_rate = START, np.zeros(3)
    for _ in range(steps):
        g = slope(w)
        alpha = alpha - beta * (g @ moved_by_rate)
        moved_by_rate = -g
        w = w + alpha * moved_by_rate
    return w, alpha


def sgdn_hd(alpha, beta, steps, mu=0.9):
    w, v, moved_by_rate = START, np.zeros(3), np.zeros(3)
    for _ in range(steps):
        g = slope(w)
        alpha = alpha - beta * (g @ moved_by_rate)
        v = mu * v + g
        moved_by_rate = -(g + mu * v)
        w = w + alpha * moved_by_rate
    return w, alpha


def adam_hd(alpha, beta, steps, beta1=0.9, beta2=0.999, eps=1e-8):
    w, m, v, moved_by_rate = START, np.zeros(3), np.zeros(3), np.zeros(3)
    for t in range(1, steps + 1):
        g = slope(w)
        alpha = alpha - beta * (g @ moved_by_rate)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        moved_by_rate = -(m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        w = w + alpha * moved_by_rate
    return w, alpha


@pytest.mark.parametrize(
    ("published", "rule", "alpha", "beta"),
    [
        (sgd_hd, sgd, 0.01, 0.002),
        (sgdn_hd, partial(sgd, momentum=0.9, nesterov=True), 0.005, 1e-4),
        (adam_hd, adam, 0.02, 1e-3),
    ],
)
def test_hypergradient_descent_as_published(published, rule, alpha, beta):
    found = path(tuned(rule, by=sgd(lr=beta), lr=alpha), 40)
    for steps in (1, 2, 3, 40):
        params, state = found[steps]
        w, rate = published(alpha, beta, steps)
        np.testing.assert_allclose(params[0].numpy(), w, rtol=1e-11)
        assert state.settings["lr"].item() == pytest.approx(rate, rel=1e-11)
    assert state.settings["lr"].item() > 1.5 * alpha  # it went somewhere


@pytest.mark.parametrize("rule", [sgd, partial(sgd, momentum=0.9), adam, rmsprop])
def test_the_hypergradient_is_the_derivative_of_the_loss_by_the_last_rate(rule):
    """By differences of the step before, with what it began with held."""
    found = path(tuned(rule, by=sgd(lr=1e-4), lr=0.05), 5)
    for (_, state), (_, after) in itertools.pairwise(found[1:]):
        before, grads, inner = state.last
        rate = state.settings["lr"].item()

        def again(rate, before=before, grads=grads, inner=inner):
            return loss_of(rule(lr=rate).update(before, grads, inner)[0]).item()

        numeric = (again(rate + 1e-5) - again(rate - 1e-5)) / 2e-5
        found_slope = (rate - after.settings["lr"].item()) / 1e-4
        assert found_slope == pytest.approx(numeric, rel=1e-6)


def test_other_settings_than_the_rate():
    """A rate and a momentum together, by Adam; a rate by its logarithm."""
    rule = tuned(sgd, by=adam(lr=0.01), lr=0.02, momentum=0.5)
    params, state = path(rule, 30)[-1]
    assert set(state.settings) == {"lr", "momentum"}
    fixed, _ = path(sgd(lr=0.02, momentum=0.5), 30)[-1]
    assert loss_of(params) < loss_of(fixed)
    by_log = tuned(lambda log: sgd(lr=tg.exp(log)), by=sgd(lr=0.01), log=float(np.log(0.02)))
    (_, before), (_, after) = path(by_log, 2)[1:]
    g, last = slope(START - 0.02 * slope(START)), slope(START)
    assert after.settings["log"].item() == pytest.approx(
        before.settings["log"].item() + 0.01 * 0.02 * (g @ last)  # d/d log = rate · d/d rate
    )


# -- towers (Chandra et al. 2022) ----------------------------------------------------------------
def towers_of_sgd(rates, steps):
    """All levels plain descent: each level's derivative is what the two gradients below say.

    The rate of level k was moved by its level's gradient h_k: h_0 = ∇L, and by the rate of level k
    the loss has the slope h_{k+1} = -⟨h_k now, h_k of the step before⟩.
    """
    rates, w, last = list(rates), START, []
    for _ in range(steps):
        h = [slope(w)]
        while len(h) <= len(last) and len(h) < len(rates):
            h.append(-np.dot(h[-1], last[len(h) - 1]))
        for k in reversed(range(len(h) - 1)):  # from the top down, each with the rate just tuned
            rates[k] = rates[k] - rates[k + 1] * h[k + 1]
        w = w - rates[0] * h[0]
        last = h
    return w, rates


@pytest.mark.parametrize("height", range(5))
def test_towers_of_gradient_descent(height):
    rates = [0.02, 2e-3, 1e-6, 1e-10, 1e-18][: height + 1]
    params, state = path(tower([sgd] * (height + 1), rates), 20)[-1]
    w, expected = towers_of_sgd(rates, 20)
    np.testing.assert_allclose(params[0].numpy(), w, rtol=1e-11)
    found = [rate.item() for rate in rates_of(state)]
    np.testing.assert_allclose(found, expected[:-1], rtol=1e-11)
    assert all(now != then for now, then in zip(found, rates))


@pytest.mark.parametrize(
    ("rules", "forms"),
    [
        ([sgd, sgd], [optim.SGD, optim.SGD]),
        ([sgd, sgd, sgd], [optim.SGD] * 3),
        ([adam, adam, sgd], [optim.Adam, optim.Adam, optim.SGD]),
        ([adam, adam, adam, adam], [optim.Adam] * 4),
    ],
)
def test_the_ordinary_loop_of_optimizers_is_the_tower(rules, forms):
    """As the papers do it: every optimizer's rate is a parameter of the next one."""
    rates = [0.03, 1e-4, 1e-5, 1e-6][: len(rules)]
    w = tg.tensor(START, requires_grad=True)
    tensors = [tg.tensor(rate, dtype="float64", requires_grad=True) for rate in rates[:-1]]
    levels = [
        form([what], lr=rate, differentiable=isinstance(rate, tg.Tensor))
        for form, what, rate in zip(forms, [w, *tensors], [*tensors, rates[-1]], strict=True)
    ]
    expected = path(tower(rules, rates), 12)[1:]
    for params, state in expected:
        for level in levels:
            level.zero_grad()
        loss_of([w]).backward()
        for level in reversed(levels):
            level.detach_()
            level.step()
        np.testing.assert_allclose(w.detach().numpy(), params[0].numpy(), rtol=1e-12)
        for found, rate in zip(tensors, rates_of(state), strict=True):
            assert found.item() == pytest.approx(rate.item(), rel=1e-12)


def test_the_first_step_has_nothing_to_tune_by():
    for height in (1, 2, 3):
        _, state = path(tower([adam] * (height + 1), [0.1] * (height + 1)), 1)[-1]
        assert [rate.item() for rate in rates_of(state)] == [0.1] * height
    # and level k has nothing yet at step k: its first derivative needs k steps below
    states = [state for _, state in path(tower([adam] * 4, [0.01] * 4), 4)[1:]]
    moved = [[rate.item() != 0.01 for rate in rates_of(state)] for state in states]
    assert moved == [[False] * 3, [True, False, False], [True, True, False], [True] * 3]


def test_any_height():
    params, state = path(tower([adam] * 13, [0.02] + [1e-4] * 12), 30)[-1]
    assert len(rates_of(state)) == 12
    assert np.isfinite(params[0].numpy()).all()


def test_a_tower_without_a_floor_above_is_its_rule():
    for rule in (sgd, adam):
        (one, _), (other, _) = path(tower([rule], [0.1]), 5)[-1], path(rule(lr=0.1), 5)[-1]
        np.testing.assert_array_equal(one[0].numpy(), other[0].numpy())


# -- derivatives through it ---------------------------------------------------------------------
def by_log(lr):
    """Descent by the logarithm of its rate, which no tuning makes negative."""
    return sgd(lr=tg.exp(lr))


@pytest.mark.parametrize("steps", [2, 12])
@pytest.mark.parametrize(
    ("rules", "rates"),
    [
        ([sgd, sgd], [0.03, 1e-3]),
        ([by_log] * 3, [-3.5, -4.0, -6.0]),
        ([partial(adam, eps=1e-2), partial(adam, eps=1e-2), sgd], [0.05, 0.01, 0.01]),
    ],
)
def test_derivatives_of_training(rules, rates, steps):
    """By every level's initial rate and by the initial weights, against differences."""

    def final(values):
        given = [values[f"rate {k}"] for k in range(len(rates))]
        return loss_of(path(tower(rules, given), steps, [values["w"]])[-1][0])

    inputs = {f"rate {k}": tg.tensor(r, dtype="float64") for k, r in enumerate(rates)}
    if steps == 2:
        inputs = {k: v for k, v in inputs.items() if k != "rate 2"}  # too early for the third

        def final(values, deeper=final):
            top = {"rate 2": tg.tensor(rates[-1], dtype="float64")}
            return deeper({**top, **values})

    inputs["w"] = tg.tensor(START)
    assert tg.check_grads(final, (inputs,), order=1, modes=("rev",), atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("method", ["reverse", "checkpoint", "forward"])
def test_unrolled(method):
    rates = [tg.tensor(r, dtype="float64", requires_grad=True) for r in (0.03, 1e-3, 1e-4)]
    w = tg.tensor(START, requires_grad=True)
    value, found = optim.unroll(
        tower([sgd] * 3, rates),
        lambda params, batch: loss_of(params),
        [w],
        range(8),
        outer=loss_of,
        wrt=[*rates, w],
        method=method,
    )
    loss = loss_of(path(tower([sgd] * 3, rates), 8, [w])[-1][0])
    assert value.item() == loss.item()
    for one, other in zip(found, tg.grad(loss, [*rates, w]), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-9)


def test_at_zero_gradients():
    """Nothing moves, and every derivative is finite."""
    rates = [tg.tensor(0.1, dtype="float64", requires_grad=True) for _ in range(3)]
    for rule in (sgd, adam):
        w = tg.zeros(2, dtype="float64", requires_grad=True)
        params, made = [w], tower([rule] * 3, rates)
        state = made.init(params)
        for _ in range(4):
            params, state = made.update(params, [params[0] * 2.0], state)
        assert (params[0] == 0).all()
        for found in tg.grad(params[0].sum(), [*rates, w], allow_unused=True):
            assert found is None or np.isfinite(found.numpy()).all()


# -- what it takes and keeps --------------------------------------------------------------------
def test_nothing_is_recorded_unless_asked_for():
    for params, state in path(tower([sgd] * 3, [0.02, 1e-3, 1e-6]), 3):
        assert not params[0].requires_grad
        assert not any(rate.requires_grad for rate in rates_of(state))
    with tg.no_grad():
        silent = path(tower([sgd] * 3, [0.02, 1e-3, 1e-6]), 3)[-1]
    np.testing.assert_array_equal(silent[0][0].numpy(), params[0].numpy())


def test_dicts_are_lists():
    rule = tower([adam, adam], [0.02, 1e-3])
    params = {"w": tg.tensor(START[:2]), "b": tg.tensor(START[2])}
    listed = list(params.values())
    states = rule.init(params), rule.init(listed)
    for k in range(4):
        grads = {"w": 2 * params["w"], "b": params["b"] + k}
        params, one = rule.update(params, grads, states[0])
        listed, other = rule.update(listed, list(grads.values()), states[1])
        states = one, other
    assert all((params[key] == listed[k]).all() for k, key in enumerate(params))
    assert one.settings == other.settings or one.settings["lr"] == other.settings["lr"]


def test_a_kept_state_goes_on_bit_for_bit():
    rule = tower([adam, adam, sgd], [0.02, 1e-3, 1e-6])
    found = path(rule, 6)
    params, state = pickle.loads(pickle.dumps(found[3]))
    for _ in range(3):
        params, state = rule.update(params, gradients(params), state)
    assert (params[0] == found[6][0][0]).all()
    assert rates_of(state) == rates_of(found[6][1])


def test_float32_stays():
    rule = tower([adam, adam, sgd], [0.02, 1e-3, 1e-6])
    params = [tg.tensor([1.0, -2.0]), tg.tensor(0.5)]
    state = rule.init(params)
    for _ in range(3):
        params, state = rule.update(params, [2 * p for p in params], state)
    assert {p.dtype for p in params} | {r.dtype for r in rates_of(state)} == {np.dtype("float32")}


def test_it_goes_inside_other_rules():
    rule = chain(partial(clip_by_global_norm, max_norm=0.1), tower([sgd, sgd], [0.02, 0.01]))
    params, state = path(rule, 5)[-1]
    assert np.linalg.norm(params[0].numpy() - START) < 0.05 * 5 * 0.1
    assert rates_of(state)[0].item() > 0.02


def test_it_goes_inside_sam():
    """Tuned by the gradients that SAM steps with, those of the shifted points."""
    look = tg.func.value_and_grad(loss_of)
    rule = sam(tuned(sgd, by=sgd(lr=0.002), lr=0.01), rho=0.05)
    params = [tg.tensor(START)]
    state, steps = rule.init(params), []
    for _ in range(2):
        params, state = rule.update(params, gradients(params), state, value_and_grad=look)
        steps.append(state.last[1][0].numpy())
    assert state.settings["lr"].item() == pytest.approx(0.01 + 0.002 * (steps[0] @ steps[1]))


def test_one_rate_for_all_parameters():
    """The tuned rate hears from every parameter at once."""
    rule = tuned(sgd, by=sgd(lr=0.5), lr=0.1)
    params = [tg.tensor(1.0, dtype="float64"), tg.tensor(2.0, dtype="float64")]
    state = rule.init(params)
    for grads in ([3.0, 1.0], [2.0, -4.0]):
        grads = [tg.tensor(g, dtype="float64") for g in grads]
        params, state = rule.update(params, grads, state)
    assert state.settings["lr"].item() == pytest.approx(0.1 + 0.5 * (3.0 * 2.0 + 1.0 * -4.0))


# -- what is refused ----------------------------------------------------------------------------
def test_settings_that_cannot_be_tuned():
    with pytest.raises(TypeError, match="name the settings to tune"):
        tuned(sgd, by=sgd(lr=0.1))
    for value in (True, (0.9, 0.99), tg.tensor([1, 2]), lambda step: 0.1):
        with pytest.raises(TypeError, match="lr must be a number or a Tensor of floats"):
            tuned(sgd, by=sgd(lr=0.1), lr=value)
    with pytest.raises(ValueError, match=r"lr must be at least 0, not -0\.1"):
        tuned(sgd, by=sgd(lr=0.1), lr=-0.1)
    with pytest.raises(TypeError, match="rho"):
        tuned(sgd, by=sgd(lr=0.1), rho=0.1)


def test_a_rate_that_would_be_negative_is_named():
    rule = tuned(sgd, by=sgd(lr=10.0), lr=0.1)
    params, state = rule.update([tg.tensor(1.0)], [tg.tensor(1.0)], rule.init([tg.tensor(1.0)]))
    with pytest.raises(ValueError, match=r"lr must be at least 0, not -9\.8"):
        rule.update(params, [tg.tensor(-1.0)], state)


def test_whole_numbers_are_rates():
    (one, state), (other, _) = path(tower([adam, adam], [1, 0]), 3)[-1], path(adam(lr=1.0), 3)[-1]
    np.testing.assert_array_equal(one[0].numpy(), other[0].numpy())
    assert rates_of(state)[0].dtype == np.dtype("float64")


def test_towers_of_nothing():
    for rules, rates in (([], []), ([sgd], []), ([sgd, sgd], [0.1])):
        with pytest.raises(ValueError, match="at least one rule and one rate for each"):
            tower(rules, rates)


def test_rules_that_evaluate_the_loss_are_refused():
    looking = sgd(lr=0.1)._replace(evaluates=True)
    for rule, by in ((lambda lr: looking, sgd(lr=0.1)), (sgd, looking)):
        with pytest.raises(TypeError, match="tune inside of it"):
            tuned(rule, by=by, lr=0.1)
