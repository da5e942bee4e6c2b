"""Rules made of rules, averages of weights and L-BFGS: against PyTorch and the papers, and the
derivatives of training through them."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim import functional as rules

LBFGS = Path(__file__).parent / "data" / "lbfgs.json"


def start():
    """Two parameters to begin with."""
    return [
        tg.tensor([1.0, -2.0, 0.5], dtype="float64", requires_grad=True),
        tg.tensor([[0.3, -0.7]], dtype="float64", requires_grad=True),
    ]


def loss_of(params):
    w, v = params
    return ((w - 3.0) ** 2).sum() + 0.05 * (w**4).sum() + ((v - w[:2]) ** 2).sum()


def look(params):
    """The loss and its gradients, on the tape."""
    loss = loss_of(params)
    return loss, tg.grad(loss, params, create_graph=True)


def trained(rule, params, steps):
    state = rule.init(params)
    further = {"value_and_grad": look} if rule.evaluates else {}
    for _ in range(steps):
        params, state = rule.update(params, look(params)[1], state, **further)
    return params, state


def of_number(value, **settings):
    return {k: tg.tensor(v, dtype="float64") for k, v in settings.items()} | value


# SAM


def sam_by_numpy(steps, lr, rho, adaptive, momentum=0.0):
    """Foret et al. (2021), Algorithm 1; Kwon et al. (2021) with η = 0."""

    def gradients(w, v):
        distance = v - w[:2]
        by_w = 2 * (w - 3) + 0.2 * w**3
        by_w[:2] -= 2 * distance[0]
        return [by_w, 2 * distance]

    params = [np.array([1.0, -2.0, 0.5]), np.array([[0.3, -0.7]])]
    velocity = [0.0, 0.0]
    for _ in range(steps):
        grads = gradients(*params)
        sizes = [np.abs(w) if adaptive else np.ones_like(w) for w in params]
        norm = np.sqrt(sum(((t * g) ** 2).sum() for t, g in zip(sizes, grads, strict=True)))
        there = [w + rho * t**2 * g / norm for w, t, g in zip(params, sizes, grads, strict=True)]
        grads = gradients(*there)
        velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        params = [w - lr * v for w, v in zip(params, velocity, strict=True)]
    return params


def closure_of(params, create_graph=False):
    def closure():
        loss = loss_of(params)
        loss.backward(create_graph=create_graph)
        return loss

    return closure


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_is_the_published_algorithm(adaptive):
    expected = sam_by_numpy(6, 0.05, 0.2, adaptive, momentum=0.9)
    rule = rules.sam(rules.sgd(lr=0.05, momentum=0.9), rho=0.2, adaptive=adaptive)
    by_rule = trained(rule, start(), 6)[0]
    by_class = start()
    optimizer = optim.SAM(by_class, optim.SGD, 0.2, adaptive, lr=0.05, momentum=0.9)
    for _ in range(6):
        before = loss_of(by_class).item()
        assert optimizer.step(closure_of(by_class)).item() == before
    by_halves = start()
    optimizer = optim.SAM(by_halves, rho=0.2, adaptive=adaptive, lr=0.05, momentum=0.9)
    for _ in range(6):
        loss_of(by_halves).backward()
        optimizer.first_step(zero_grad=True)
        loss_of(by_halves).backward()
        optimizer.second_step(zero_grad=True)
    for found in (by_rule, by_class, by_halves):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-10)


def test_sam_at_zero_gradients_shifts_nothing_and_stays_finite():
    g = [tg.zeros(2, dtype="float64", requires_grad=True)]
    w = [tg.ones(2, dtype="float64", requires_grad=True)]
    rho = tg.tensor(0.1, dtype="float64", requires_grad=True)
    rule = rules.sam(rules.sgd(lr=0.1), rho)
    seen = []

    def gradients(params):
        seen.append(params[0])
        return None, [params[0] * 3.0]

    (moved,), _ = rule.update(w, g, rule.init(w), value_and_grad=gradients)
    np.testing.assert_array_equal(seen[0].detach().numpy(), [1.0, 1.0])
    by_g, by_w, by_rho = tg.grad(moved.sum(), [g[0], w[0], rho])
    assert by_g.tolist() == [0.0, 0.0] and by_rho.item() == 0.0
    np.testing.assert_allclose(by_w.numpy(), 0.7)


def test_the_norm_of_sam_is_that_of_all_groups():
    a, b = start()
    optimizer = optim.SAM([{"params": [a]}, {"params": [b], "rho": 0.0}], rho=0.2, lr=0.1)
    grads = tg.grad(loss_of([a, b]), [a, b])
    optimizer.zero_grad()
    loss_of([a, b]).backward()
    optimizer.first_step()
    norm = rules.global_norm(grads).item()
    expected = np.array([1.0, -2.0, 0.5]) + 0.2 * grads[0].numpy() / norm
    np.testing.assert_allclose(a.detach().numpy(), expected, rtol=1e-14)
    np.testing.assert_array_equal(b.detach().numpy(), [[0.3, -0.7]])


def test_a_step_of_sam_that_fails_leaves_everything_as_it_was():
    params = start()
    optimizer = optim.SAM(params, optim.Adam, lr=0.1)
    optimizer.step(closure_of(params))
    before, state = [w.tolist() for w in params], optimizer.state[params[0]]
    calls = []

    def closure():
        calls.append(None)
        if len(calls) == 2:
            raise ZeroDivisionError
        return closure_of(params)()

    with pytest.raises(ZeroDivisionError):
        optimizer.step(closure)
    assert [w.tolist() for w in params] == before
    assert optimizer.state[params[0]] is state
    optimizer.step(closure_of(params))


def test_sam_says_what_is_missing():
    rule = rules.sam(rules.sgd())
    with pytest.raises(ValueError, match="value_and_grad"):
        rule.update(start(), start(), rule.init(start()))
    params = start()
    optimizer = optim.SAM(params, lr=0.1)
    with pytest.raises(ValueError, match="closure"):
        optimizer.step()
    loss_of(params).backward()
    optimizer.first_step()
    with pytest.raises(RuntimeError, match="second_step"):
        optimizer.first_step()
    with pytest.raises(ValueError, match="rho must"):
        optim.SAM(params, rho=-1.0)


def test_halves_of_sam_come_in_pairs():
    params = start()
    optimizer = optim.SAM(params, lr=0.1, differentiable=True)
    with pytest.raises(RuntimeError, match=r"first_step\(\) comes before"):
        optimizer.second_step()
    whole = optimizer.state_dict()
    loss_of(params).backward(create_graph=True)
    optimizer.first_step()
    for half in (optimizer.detach_, optimizer.state_dict, optimizer.first_step):
        with pytest.raises(RuntimeError, match="parameters are shifted"):
            half()
    optimizer.load_state_dict(whole)  # with the parameters of that time, so nothing to bring back
    optimizer.state_dict()


def test_halves_of_sam_without_gradients_move_nothing():
    params = start()
    optimizer = optim.SAM(params, lr=0.1)
    optimizer.first_step()
    optimizer.second_step()
    assert [w.tolist() for w in params] == [w.tolist() for w in start()]


# Lookahead


def test_lookahead_is_the_published_algorithm():
    """Zhang et al. (2019), Algorithm 1, around torch's momentum."""
    w, slow, v = 1.0, 1.0, 0.0
    rule = rules.lookahead(rules.sgd(lr=0.1, momentum=0.5), k=3, alpha=0.4)
    params = [tg.tensor(1.0, dtype="float64", requires_grad=True)]
    inside = [tg.tensor(1.0, dtype="float64", requires_grad=True)]
    optimizer = optim.Lookahead(inside, optim.SGD, 3, 0.4, lr=0.1, momentum=0.5)
    state = rule.init(params)
    for step in range(1, 11):
        g = 2 * w + 0.3 * w**2
        v = g if step == 1 else 0.5 * v + g
        w = w - 0.1 * v
        if step % 3 == 0:
            slow = w = slow + 0.4 * (w - slow)
        (p,) = params
        params, state = rule.update(params, [2 * p + 0.3 * p**2], state)
        inside[0].grad = (2 * inside[0] + 0.3 * inside[0] ** 2).detach()
        optimizer.step()
        assert params[0].item() == pytest.approx(w, rel=1e-12)
        assert inside[0].item() == pytest.approx(w, rel=1e-12)
    assert state.memory[0].slow.item() == pytest.approx(slow, rel=1e-12)


def test_settings_of_one_name_are_told_apart():
    """RMSprop has an alpha too."""
    params = start()
    optimizer = optim.Lookahead(params, optim.RMSprop, alpha=0.3, base_alpha=0.9, lr=0.01)
    group = optimizer.param_groups[0]
    assert (group["alpha"], group["base_alpha"], group["k"]) == (0.3, 0.9, 5)
    with pytest.raises(ValueError, match="alpha must be in"):
        optim.Lookahead(params, alpha=1.5)
    with pytest.raises(ValueError, match="k must"):
        optim.Lookahead(params, k=0)
    with pytest.raises(TypeError, match="rate"):
        optim.Lookahead(params, rate=0.1)


@pytest.mark.parametrize("wrap", [optim.SAM, optim.Lookahead])
def test_classes_go_around_classes_with_a_rule(wrap):
    for below in ("adam", optim.Lookahead, optim.EMA, rules.sgd, optim.SGD(start())):
        with pytest.raises(
            TypeError, match=r"base_optimizer must be a class .* such as optim.Adam"
        ):
            wrap(start(), below)
    with pytest.raises(TypeError, match=r"lbfgs .* goes without others"):
        wrap(start(), optim.LBFGS)
    made = optim.Adam(start())
    with pytest.raises(
        TypeError, match=rf"{wrap.__name__}\(params, Adam, .* not an optimizer that"
    ):
        wrap(made)


def test_rules_go_around_rules():
    around = (rules.sam, rules.lookahead, lambda rule: rules.chain(lambda grads: grads, rule))
    for wrap in around:
        with pytest.raises(TypeError, match=r"lbfgs .* goes without others"):
            wrap(rules.lbfgs())
    for wrap in around:
        for below in (optim.SGD, rules.sgd, "sgd"):
            with pytest.raises(TypeError, match=r"must be a rule, such as sgd\(lr=0.1\)"):
                wrap(below)
    tuned = rules.lookahead(rules.tuned(rules.sgd, by=rules.sgd(lr=0.01), lr=0.1))
    with pytest.raises(TypeError, match="of every parameter"):
        tuned.init(start())
    for k in (2.5, 0, -1):
        with pytest.raises(ValueError, match="whole number"):
            rules.lookahead(rules.sgd(), k=k)


@pytest.mark.parametrize("wrap", [optim.SAM, partial(optim.Lookahead, k=2)])
def test_wrappers_are_pickled_as_they_are(wrap):
    params = start()
    optimizer = wrap(params, optim.Adam, lr=0.1)
    optimizer.step(closure_of(params))
    other, again = pickle.loads(pickle.dumps((optimizer, params)))
    for form, values in ((optimizer, params), (other, again)):
        form.zero_grad()
        form.step(closure_of(values))
    for a, b in zip(params, again, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("wrap", [optim.SAM, optim.Lookahead])
def test_snapshots_of_wrappers_resume_bit_for_bit(wrap):
    def steps(optimizer, params, count):
        for _ in range(count):
            optimizer.zero_grad()
            optimizer.step(closure_of(params))

    params = start()
    optimizer = wrap(params, optim.Adam, lr=0.1, betas=(0.8, 0.9))
    steps(optimizer, params, 3)
    snapshot = optimizer.state_dict()
    again = [tg.tensor(w.detach().numpy(), requires_grad=True) for w in params]
    steps(optimizer, params, 4)
    other = wrap(again, optim.Adam)
    other.load_state_dict(snapshot)
    steps(other, again, 4)
    for a, b in zip(params, again, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    with pytest.raises(ValueError, match="settings"):
        wrap(again, optim.SGD).load_state_dict(snapshot)
    if wrap is optim.Lookahead:
        broken = optimizer.state_dict()
        broken["state"][0]["fast"]["exp_avg"] = tg.zeros(7)
        with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(7,\)"):
            other.load_state_dict(broken)


# Derivatives of training through the wrappers


def sgd_in_sam(s):
    return rules.sam(rules.sgd(lr=s["lr"], momentum=s["momentum"]), rho=s["rho"])


def adam_in_adaptive_sam(s):
    return rules.sam(rules.adam(lr=s["lr"], eps=1e-2), rho=s["rho"], adaptive=True)


def adam_in_lookahead(s):
    return rules.lookahead(rules.adam(lr=s["lr"], eps=1e-2), k=2, alpha=s["alpha"])


def sam_in_lookahead(s):
    return rules.lookahead(rules.sam(rules.sgd(lr=s["lr"]), s["rho"]), k=2, alpha=s["alpha"])


def clipped(s):
    clip = partial(rules.clip_by_global_norm, max_norm=s["limit"])
    return rules.chain(clip, partial(rules.clip_by_value, clip_value=s["bound"]), sgd_of(s))


def adaptively_clipped(s):
    return rules.chain(partial(rules.clip_adaptively, clip_factor=s["factor"]), sgd_of(s))


def sgd_of(s):
    return rules.sgd(lr=s["lr"], momentum=0.5)


@pytest.mark.parametrize("steps", [2, 12])
@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (sgd_in_sam, {"lr": 0.05, "momentum": 0.8, "rho": 0.3}),
        (adam_in_adaptive_sam, {"lr": 0.1, "rho": 0.3}),
        (adam_in_lookahead, {"lr": 0.1, "alpha": 0.4}),
        (sam_in_lookahead, {"lr": 0.1, "alpha": 0.4, "rho": 0.2}),
        (clipped, {"lr": 0.1, "limit": 5.0, "bound": 2.0}),
        (adaptively_clipped, {"lr": 0.1, "factor": 0.7}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_derivatives_of_training(make, settings, steps):
    def final(values):
        params = [values["w"], values["v"]]
        return loss_of(trained(make(values), params, steps)[0])

    inputs = {k: tg.tensor(v, dtype="float64") for k, v in settings.items()}
    inputs |= dict(zip(("w", "v"), (p.detach() for p in start()), strict=True))
    assert tg.check_grads(final, (inputs,), 1, ("rev",), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("wrap", ["sam", "lookahead"])
def test_the_ordinary_loop_has_the_derivative_of_the_rule(wrap):
    found = []
    for ordinary in (False, True):
        settings = {"lr": 0.05, ("rho" if wrap == "sam" else "alpha"): 0.3}
        leaves = {k: tg.tensor(v, dtype="float64", requires_grad=True) for k, v in settings.items()}
        params = start()
        if ordinary:
            form = optim.SAM if wrap == "sam" else partial(optim.Lookahead, k=2)
            optimizer = form(params, base_optimizer=optim.Adam, **leaves, differentiable=True)
            for _ in range(4):
                optimizer.zero_grad()
                if wrap == "sam":
                    optimizer.step(closure_of(params, create_graph=True))
                else:
                    loss_of(params).backward(create_graph=True)
                    optimizer.step()
                assert all(leaf.grad is None for leaf in leaves.values())
            begun = optimizer.initial
        else:
            other = {k: v for k, v in leaves.items() if k != "lr"}
            wrapped = rules.sam if wrap == "sam" else partial(rules.lookahead, k=2)
            begun = params
            params = trained(wrapped(rules.adam(lr=leaves["lr"]), **other), params, 4)[0]
        loss = loss_of(params)
        loss.backward()
        found.append([loss.item(), *(leaf.grad.item() for leaf in leaves.values())])
        found[-1] += [x for p in begun for x in p.grad.numpy().ravel()]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


def test_a_pass_that_is_not_recorded_is_refused():
    params = start()
    optimizer = optim.SAM(params, lr=0.1, differentiable=True)
    with pytest.raises(RuntimeError, match="create_graph=True"):
        optimizer.step(closure_of(params))
    assert params[0].tolist() == [1.0, -2.0, 0.5]


# Chains


def test_chains_take_lists_and_dicts():
    listed = trained(clipped({"lr": 0.1, "limit": 5.0, "bound": 2.0}), start(), 3)[0]
    rule = clipped({"lr": 0.1, "limit": 5.0, "bound": 2.0})
    params = dict(zip("wv", start(), strict=True))
    state = rule.init(params)
    for _ in range(3):
        grads = dict(zip("wv", tg.grad(loss_of(params.values()), list(params.values()))))
        params, state = rule.update(params, grads, state)
    for a, b in zip(listed, params.values(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_chains_refuse_what_they_are_not_made_of():
    for parts in ((), (rules.sgd, 3), (lambda grads: grads,)):
        with pytest.raises(TypeError, match="last part must be a rule"):
            rules.chain(*parts)
    with pytest.raises(TypeError, match="part 0"):
        rules.chain(1.0, rules.sgd())


def test_a_class_refuses_a_rule_that_looks_at_all_parameters():
    class Clipped(optim.Optimizer):
        """Steps one by one what belongs together."""

        rule = staticmethod(lambda lr=0.1: rules.chain(rules.sgd(lr)))

    params = start()
    loss_of(params).backward()
    with pytest.raises(TypeError, match="all of them together"):
        Clipped(params).step()


# Averages


def test_ema_of_weights():
    """As torch's AveragedModel with get_ema_multi_avg_fn: the first update copies."""
    w = [tg.tensor([2.0], dtype="float64")]
    rule = rules.ema(0.9)
    state = rule.init([tg.tensor([7.0], dtype="float64")])
    expected = None
    for value in (2.0, 3.0, 5.0):
        w = [tg.tensor([value], dtype="float64")]
        average, state = rule.update(w, state)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
        assert average[0].item() == pytest.approx(expected, rel=1e-14)
    named = rules.ema(lambda n: 0.5)
    average, _ = named.update({"w": w[0]}, named.init({"w": w[0]}))
    assert list(average) == ["w"]
    with pytest.raises(ValueError, match="decay must"):
        rules.ema(1.0)


def test_derivatives_through_averages():
    def final(values):
        params = [values["w"], values["v"]]
        rule, average = rules.sgd(lr=values["lr"]), rules.ema(values["decay"])
        state, kept = rule.init(params), average.init(params)
        for _ in range(4):
            params, state = rule.update(params, look(params)[1], state)
            averaged, kept = average.update(params, kept)
        return loss_of(averaged)

    inputs = {k: tg.tensor(v, dtype="float64") for k, v in {"lr": 0.05, "decay": 0.7}.items()}
    inputs |= dict(zip(("w", "v"), (p.detach() for p in start()), strict=True))
    assert tg.check_grads(final, (inputs,), 1, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("differentiable", [False, True])
def test_averages_beside_an_optimizer(differentiable):
    lr = tg.tensor(0.05, dtype="float64", requires_grad=True)
    decay = tg.tensor(0.7, dtype="float64", requires_grad=True)
    params = start()
    optimizer = optim.SGD(params, lr=lr, differentiable=differentiable)
    average = optim.EMA(params, decay)
    for _ in range(4):
        optimizer.zero_grad()
        loss_of(params).backward(create_graph=differentiable)
        optimizer.step()
        average.update()
    own = [w.detach().tolist() for w in params]
    with average.average_parameters():
        inside = loss_of(params)
        assert [w.tolist() for w in params] == [a.tolist() for a in average.averages]
    assert [w.tolist() for w in params] == own
    rule, kept = rules.sgd(lr=lr), rules.ema(decay)
    pure = start()
    state, memory = rule.init(pure), kept.init(pure)
    for _ in range(4):
        pure, state = rule.update(pure, look(pure)[1], state)
        averaged, memory = kept.update(pure, memory)
    assert inside.item() == pytest.approx(loss_of(averaged).item(), rel=1e-14)
    if differentiable:
        expected = tg.grad(loss_of(averaged), [lr, decay])
        found = tg.grad(inside, [lr, decay], retain_graph=True)
        np.testing.assert_allclose([x.item() for x in found], [x.item() for x in expected])
        inside.backward()
        optimizer.zero_grad()
        loss_of(params).backward(create_graph=True)  # and the loop goes on
        optimizer.step()
        average.detach_()
    assert not any(a.requires_grad for a in average.averages)


def test_averages_are_kept_and_refused():
    params = start()
    average = optim.EMA(params, 0.5)
    with tg.no_grad():
        params[0] += 1.0
    average.update()
    with tg.no_grad():
        params[0] += 1.0
    average.update()
    other = optim.EMA(start(), 0.5)
    other.load_state_dict(average.state_dict())
    for a, b in zip(average.averages, other.averages, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    average.copy_to()
    assert params[0].tolist() == [2.5, -0.5, 2.0]
    with pytest.raises(ValueError, match="parameter 1 has shape"):
        other.load_state_dict({"step": 1, "averages": [tg.zeros(3), tg.zeros(3)]})
    with pytest.raises(ValueError, match="1 average"):
        other.load_state_dict({"step": 1, "averages": [tg.zeros(3)]})
    with pytest.raises(TypeError, match="iterable"):
        optim.EMA(params[0])


def test_averages_are_pickled_as_they_are():
    average = optim.EMA(start(), 0.5)
    average.update()
    other = pickle.loads(pickle.dumps(average))
    other.update()
    assert [a.tolist() for a in other.averages] == [w.tolist() for w in start()]


def test_averages_are_of_tensors():
    with pytest.raises(ValueError, match="empty"):
        optim.EMA(iter(()))
    with pytest.raises(TypeError, match=r"params\[1\] is a ndarray"):
        optim.EMA([start()[0], np.ones(2)])


# L-BFGS


def valley(x, y):
    """Rosenbrock's valley, a product and a few more, which L-BFGS has to turn in."""
    bent = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    return bent + (x[2] * y[0] - 2) ** 2 + 0.3 * (y[0] + 0.5 * y[1]).cosh() + (y[1] - 1) ** 2


#: Settings whose trajectories are stored.
SEARCHES = {
    "plain": {"lr": 0.1, "max_iter": 5},
    "defaults, but slower": {"lr": 0.02},
    "strong Wolfe": {"line_search_fn": "strong_wolfe"},
    "short history": {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 6},
    "few evaluations": {"line_search_fn": "strong_wolfe", "max_eval": 4},
    "from too near": {"line_search_fn": "strong_wolfe", "lr": 1e-3, "max_iter": 8},
    "from too far": {"line_search_fn": "strong_wolfe", "lr": 30.0, "max_iter": 8},
    "early stops": {
        "line_search_fn": "strong_wolfe",
        "tolerance_grad": 1.0,
        "tolerance_change": 1e-3,
    },
}


def valley_start():
    return [
        tg.tensor([-1.2, 1.0, 0.5], dtype="float64", requires_grad=True),
        tg.tensor([0.3, -0.7], dtype="float64", requires_grad=True),
    ]


def valley_closure(optimizer, params):
    def closure():
        optimizer.zero_grad()
        loss = valley(*params)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("name", SEARCHES)
def test_lbfgs_follows_torch(name):
    params = valley_start()
    optimizer = optim.LBFGS(params, **SEARCHES[name])
    for expected in json.loads(LBFGS.read_text())[name]:
        loss = optimizer.step(valley_closure(optimizer, params)).item()
        memory = optimizer.state[params[0]].memory[0]
        assert [memory.func_evals, memory.n_iter] == expected["counts"]
        assert loss == pytest.approx(expected["loss"], rel=1e-8)
        for found, stored in zip(params, expected["params"], strict=True):
            np.testing.assert_allclose(found.detach().numpy(), stored, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("form", [list, dict])
def test_lbfgs_as_a_rule_is_the_class(form):
    params = valley_start()
    optimizer = optim.LBFGS(params, line_search_fn="strong_wolfe")
    optimizer.step(valley_closure(optimizer, params))
    optimizer.step(valley_closure(optimizer, params))
    rule = rules.lbfgs(line_search_fn="strong_wolfe")
    values = [w.detach() for w in valley_start()]
    pure = dict(zip("xy", values, strict=True)) if form is dict else values

    def loss(given):
        return valley(*(given.values() if form is dict else given))

    state = rule.init(pure)
    for _ in range(2):
        pure, state = rule.update(pure, None, state, value_and_grad=tg.func.value_and_grad(loss))
    assert state.step == 2
    for a, b in zip(params, pure.values() if form is dict else pure, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.numpy(), rtol=1e-12)


def test_a_snapshot_of_lbfgs_resumes_bit_for_bit():
    params = valley_start()
    optimizer = optim.LBFGS(params, line_search_fn="strong_wolfe", max_iter=4)
    optimizer.step(valley_closure(optimizer, params))
    snapshot = optimizer.state_dict()
    again = [tg.tensor(w.detach().numpy(), requires_grad=True) for w in params]
    optimizer.step(valley_closure(optimizer, params))
    other = optim.LBFGS(again)
    other.load_state_dict(snapshot)
    other.step(valley_closure(other, again))
    for a, b in zip(params, again, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_a_step_of_lbfgs_that_fails_leaves_everything_as_it_was():
    params = valley_start()
    optimizer = optim.LBFGS(params)
    calls = []

    def closure():
        calls.append(None)
        if len(calls) == 4:
            raise ZeroDivisionError
        return valley_closure(optimizer, params)()

    with pytest.raises(ZeroDivisionError):
        optimizer.step(closure)
    assert [w.tolist() for w in params] == [w.tolist() for w in valley_start()]
    assert not optimizer.state


def test_lbfgs_says_that_it_has_no_derivative():
    params = valley_start()
    with pytest.raises(ValueError, match="no formula"):
        optim.LBFGS(params, differentiable=True)
    rule = rules.lbfgs()
    look_there = tg.func.value_and_grad(lambda given: valley(*given))
    with pytest.raises(RuntimeError, match="no_grad"):
        rule.update(params, None, rule.init(params), value_and_grad=look_there)
    values = [w.detach() for w in params]
    learned = rules.lbfgs(lr=tg.tensor(1.0, requires_grad=True))
    with pytest.raises(RuntimeError, match="no derivative"):
        learned.update(values, None, rule.init(values), value_and_grad=look_there)


def test_lbfgs_refuses_what_it_cannot_do():
    a, b = valley_start()
    with pytest.raises(ValueError, match="one group"):
        optim.LBFGS([{"params": [a]}, {"params": [b]}])
    with pytest.raises(ValueError, match="closure"):
        optim.LBFGS([a]).step()
    with pytest.raises(ValueError, match="clip"):
        optim.LBFGS([a], clipnorm=1.0)
    with pytest.raises(ValueError, match="strong_wolfe"):
        optim.LBFGS([a], line_search_fn="armijo")
    with pytest.raises(RuntimeError, match="no parameters"):
        optim.LBFGS().step(lambda: None)
    with pytest.raises(ValueError, match="value_and_grad"):
        rules.lbfgs().update([a], None, rules.lbfgs().init([a]))


def test_parameters_that_the_loss_does_not_need_stay():
    used = tg.tensor([2.0], dtype="float64", requires_grad=True)
    unused = tg.tensor([5.0], dtype="float64", requires_grad=True)
    optimizer = optim.LBFGS([unused, used], line_search_fn="strong_wolfe")

    def closure():
        loss = ((used - 1.0) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert unused.item() == 5.0 and used.item() == pytest.approx(1.0)


def test_a_search_with_a_rate_of_zero_stays():
    params = valley_start()
    optimizer = optim.LBFGS(params, lr=lambda step: float(step), line_search_fn="strong_wolfe")
    first = optimizer.step(valley_closure(optimizer, params)).item()
    assert [w.tolist() for w in params] == [w.tolist() for w in valley_start()]
    optimizer.step(valley_closure(optimizer, params))
    assert valley(*params).item() < first


def test_a_search_names_a_loss_that_it_cannot_compare():
    w = tg.tensor([2.0, 1.0], dtype="float64", requires_grad=True)
    optimizer = optim.LBFGS([w], lr=1.0, line_search_fn="strong_wolfe")

    def closure():
        loss = w[0].log() + w[1] ** 2 + 0.0 * (3.0 - w[1])
        loss.backward()
        return loss * float("nan")

    with pytest.raises(ValueError, match="loss is nan"):
        optimizer.step(closure)
    assert w.tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    "settings",
    [{"max_iter": -1}, {"max_iter": 2.5}, {"history_size": 0}, {"max_eval": -1}],
    ids=str,
)
def test_counts_of_lbfgs_are_whole_numbers(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"lbfgs: {name} must be a whole number"):
        rules.lbfgs(**settings)


def test_lbfgs_refuses_what_it_remembers_of_other_sizes():
    params = valley_start()
    optimizer = optim.LBFGS(params, max_iter=2)
    optimizer.step(valley_closure(optimizer, params))
    other = optim.LBFGS([tg.ones(4, requires_grad=True), tg.ones(2, requires_grad=True)])
    with pytest.raises(ValueError, match=r"d has shape \(5,\) in the snapshot, not \(6,\)"):
        other.load_state_dict(optimizer.state_dict())
    assert not other.state and other.param_groups[0]["max_iter"] == 20


# Schedule-free


def test_a_snapshot_that_does_not_say_whether_it_trains_is_refused():
    optimizer = optim.SGDScheduleFree(start(), lr=0.5)
    snapshot = optim.SGDScheduleFree(start(), lr=0.1).state_dict()
    del snapshot["training"]
    with pytest.raises(ValueError, match="training"):
        optimizer.load_state_dict(snapshot)
    assert optimizer.param_groups[0]["lr"] == 0.5
