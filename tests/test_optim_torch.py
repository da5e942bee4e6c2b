"""The rules that PyTorch has: derivatives through training against the anchors, zero gradients
against closed forms, branches that depend on the data. (Trajectories: test_optim_table.py.)"""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim

#: d L / d lr for w0 = [1, -2], L = sum((w - 3)²), lr = 0.1: rule, after 2 steps, after 8.
ANCHORS = [
    (optim.RMSprop, -115.341863, -72.7873513),
    (optim.Adagrad, -22.4657906, -51.1423346),
    (optim.Adadelta, -0.0896735666, -0.374066856),
    (optim.Adamax, -26.0348928, -79.3148911),
    (optim.NAdam, -24.1305223, -69.4106669),
    (optim.Rprop, -28.864, -122.099268),
    (optim.ASGD, -118.783046, -32.652789),
    (optim.RAdam, -128.917452, -71.0334647),
    (optim.SGD, -118.784, None),
    (optim.Adam, -26.3759067, None),
    (optim.AdamW, -26.6535073, None),
]


def leaf(value, dtype="float64"):
    return tg.tensor(value, dtype=dtype, requires_grad=True)


def loss_of(w):
    return ((w - 3.0) ** 2).sum()


def by_the_rule(form, steps, **settings):
    """The loss after some steps of the rule from w0 = [1, -2]."""
    rule = form.rule(**{"lr": 0.1, **settings})
    params = [leaf([1.0, -2.0])]
    state = rule.init(params)
    for _ in range(steps):
        grads = tg.grad(loss_of(params[0]), params, create_graph=True)
        params, state = rule.update(params, grads, state)
    return loss_of(params[0])


def by_the_ordinary_loop(form, steps, **settings):
    w = leaf([1.0, -2.0])
    optimizer = form([w], **{"lr": 0.1, **settings}, differentiable=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(w).backward(create_graph=True)
        optimizer.step()
    return loss_of(w)


WAYS = pytest.mark.parametrize("way", [by_the_rule, by_the_ordinary_loop])


@WAYS
@pytest.mark.parametrize(
    "form, steps, anchor",
    [
        (form, steps, anchor)
        for form, *anchors in ANCHORS
        for steps, anchor in zip((2, 8), anchors)
        if anchor is not None
    ],
)
def test_the_derivative_by_the_rate_is_the_anchor(form, steps, anchor, way):
    lr = leaf(0.1)
    final = way(form, steps, lr=lr)
    assert lr.grad is None
    final.backward()
    assert lr.grad.item() == pytest.approx(anchor, rel=2e-8)


@WAYS
@pytest.mark.parametrize(
    "form, by, at, settings, anchor",
    [
        (optim.Adam, "eps", 1e-3, {}, 0.3746823),
        (optim.SGD, "momentum", 0.9, {}, -5.336),
        (optim.SGD, "weight_decay", 0.1, {}, -1.057562),
        (optim.AdamW, "weight_decay", 0.1, {}, -2.9176074),
    ],
)
def test_the_derivative_by_another_setting_is_the_anchor(form, by, at, settings, anchor, way):
    setting = leaf(at)
    way(form, 2, **settings, **{by: setting}).backward()
    assert setting.grad.item() == pytest.approx(anchor, rel=2e-7)


@WAYS
def test_the_derivative_by_beta_is_the_anchor(way):
    beta = leaf(0.9)
    way(optim.Adam, 2, betas=(beta, 0.999)).backward()
    assert beta.grad.item() == pytest.approx(-0.0104849577, rel=1e-8)


def slope_at_zero(rule, before=0, shape=(2,)):
    """d step / d g at g = 0, after some steps with gradients of zero."""
    params = [tg.zeros(shape, dtype="float64") + tg.tensor(0.7, dtype="float64")]
    state = rule.init(params)
    nought = tg.zeros(shape, dtype="float64")
    for _ in range(before):
        params, state = rule.update(params, [nought], state)
    g = leaf(np.zeros(shape))
    moved, _ = rule.update(params, [g], state)
    moved[0].sum().backward()
    values = g.grad.numpy()
    np.testing.assert_allclose(values, values.flat[0], rtol=1e-12)
    return values.flat[0]


def steepness(rule, before=0, shape=(2,), h=1e-12):
    """The same by a difference, around 0: the derivative is a true one."""
    params = [tg.zeros(shape, dtype="float64")]
    state = rule.init(params)
    for _ in range(before):
        params, state = rule.update(params, [params[0] * 0.0], state)
    w = params[0]
    ends = [rule.update([w], [w * 0.0 + x], state)[0][0].numpy().flat[0] for x in (h, -h)]
    return (ends[0] - ends[1]) / (2 * h)


LR, EPS, B1, B2 = 0.1, 1e-2, 0.9, 0.999


def adam_factor(t):
    return (1 - B1) / (1 - B1**t)


def nadam_factor(t):
    mu = [B1 * (1 - 0.5 * 0.96 ** (k * 4e-3)) for k in range(1, t + 2)]
    now, following = np.prod(mu[:-1]), np.prod(mu)
    return mu[-1] * (1 - B1) / (1 - following) + (1 - mu[-2]) / (1 - now)


def radam_factor(t):
    limit = 2 / (1 - B2) - 1
    n = limit - 2 * t * B2**t / (1 - B2**t)
    if n <= 5:
        return adam_factor(t) * EPS
    r = ((n - 4) * (n - 2) * limit / ((limit - 4) * (limit - 2) * n)) ** 0.5
    return adam_factor(t) * r * (1 - B2**t) ** 0.5


#: -(ε/lr) · d step / d g at zero gradient and zero history, at step t.
SLOPES = {
    "rmsprop": ({}, lambda t: 1.0),
    "rmsprop centered": ({"centered": True}, lambda t: 1.0),
    "rmsprop momentum": ({"momentum": 0.9}, lambda t: 1.0),
    "adagrad": ({}, lambda t: 1.0),
    "adadelta": ({}, lambda t: EPS),
    "adam": ({}, adam_factor),
    "adam amsgrad": ({"amsgrad": True}, adam_factor),
    "adamw": ({"weight_decay": 0.0}, adam_factor),
    "adamax": ({}, adam_factor),
    "nadam": ({}, nadam_factor),
    "radam": ({}, radam_factor),
}


@pytest.mark.parametrize("t", [1, 2, 8])
@pytest.mark.parametrize("case", SLOPES)
def test_zero_gradients_have_the_true_derivative(case, t):
    settings, factor = SLOPES[case]
    rule = getattr(optim.functional, case.split()[0])(lr=LR, eps=EPS, **settings)
    expected = -LR / EPS * factor(t)
    assert slope_at_zero(rule, t - 1) == pytest.approx(expected, rel=1e-12)
    assert steepness(rule, t - 1) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_zero_gradients_of_adafactor(shape):
    rule = optim.functional.adafactor(lr=LR, eps=(EPS, 1e-3))
    # w is 0.7 everywhere, so rms(w) = 0.7; under ε₁ the step is linear in g
    assert slope_at_zero(rule, shape=shape) == pytest.approx(-0.7 * LR / EPS, rel=1e-12)
    assert steepness(rule, shape=shape, h=1e-5) == pytest.approx(-1e-3 * LR / EPS, rel=1e-9)
    w = leaf(np.zeros(shape))  # at w = 0 too
    moved = rule.update([w], [tg.ones(shape, dtype="float64")], rule.init([w]))[0][0]
    (g,) = tg.grad(moved.sum(), w)
    np.testing.assert_array_equal(g.numpy(), np.ones(shape))


def test_signs_have_no_derivative_by_the_gradient():
    g = leaf([0.0, 0.5])
    w, lr = leaf([1.0, 1.0]), leaf(0.1)
    rule = optim.functional.rprop(lr=lr)
    (moved,), _ = rule.update([w], [g], rule.init([w]))
    by_g, by_w, by_lr = tg.grad(moved.sum(), [g, w, lr], materialize_grads=True)
    assert by_g.tolist() == [0.0, 0.0]
    assert by_w.tolist() == [1.0, 1.0]
    assert by_lr.item() == -1.0


def test_rprop_does_not_lose_signs_of_tiny_gradients():
    """Torch multiplies gradients, and 1e-200 · 1e-200 is 0; the step grows here all the same."""
    rule = optim.functional.rprop(lr=0.1)
    params = [tg.tensor([1.0, 1.0], dtype="float64")]
    state = rule.init(params)
    for _ in range(2):
        params, state = rule.update(params, [tg.tensor([1e-200, 2.0], dtype="float64")], state)
    np.testing.assert_allclose(params[0].numpy(), 1.0 - 0.1 - 0.12)


def test_rprop_with_bounds_in_the_wrong_order_steps_by_the_second():
    w = tg.tensor([1.0, -1.0], dtype="float64", requires_grad=True)
    optimizer = optim.Rprop([w], step_sizes=(50, 0.25))
    for _ in range(2):
        w.grad = tg.tensor([1.0, -3.0], dtype="float64")
        optimizer.step()
    assert w.tolist() == [0.5, -0.5]  # torch's clamp(50, 0.25) is 0.25


def test_rprop_bounds_have_derivatives_where_they_hold():
    low, high, lr = leaf(0.05), leaf(0.11), leaf(0.1)
    rule = optim.functional.rprop(lr=lr, step_sizes=(low, high))
    params = [leaf([1.0, 1.0])]
    state = rule.init(params)
    for g in ([1.0, 1.0], [1.0, -1.0], [1.0, -1.0]):  # one grows; one turns, rests, goes back
        params, state = rule.update(params, [tg.tensor(g, dtype="float64")], state)
    np.testing.assert_allclose(params[0].detach().numpy(), [1.0 - 0.1 - 0.11 - 0.11, 0.95])
    found = tg.grad(params[0].sum(), [lr, low, high], allow_unused=True)
    # 1: -lr - 2 high. 2: -lr, then a rest that shrinks lr to low at the bound, then +low
    assert found[0].item() == pytest.approx(-1.0 - 1.0 + 0.5, abs=1e-12)
    assert found[2].item() == pytest.approx(-2.0)


def asgd_by_hand(w, steps, lr, lambd, alpha, t0):
    """Bottou's averaged gradient descent on L = sum((w - 3)²), in plain numbers."""
    eta, mu, average = lr, 1.0, np.zeros_like(w)
    for t in range(1, steps + 1):
        w = w - eta * (2 * (w - 3.0) + lambd * w)
        average = average + mu * (w - average)
        eta = lr / (1 + lambd * lr * t) ** alpha
        mu = 1 / max(1.0, t - t0)
    return w, average


def averaged(steps, **settings):
    rule = optim.functional.asgd(**settings)
    params = [tg.tensor([1.0, -2.0], dtype="float64")]
    state = rule.init(params)
    for _ in range(steps):
        params, state = rule.update(params, [2 * (params[0] - 3.0)], state)
    return params[0], state.memory[0].ax


@pytest.mark.parametrize("t0", [0.0, 3.0, 3.5, 1e6])
def test_asgd_averages_from_t0(t0):
    settings = {"lr": 0.05, "lambd": 0.1, "alpha": 0.6, "t0": t0}
    w, ax = averaged(9, **settings)
    expected = asgd_by_hand(np.array([1.0, -2.0]), 9, **settings)
    np.testing.assert_allclose(w.numpy(), expected[0], rtol=1e-13)
    np.testing.assert_allclose(ax.numpy(), expected[1], rtol=1e-13)
    if t0 == 1e6:
        np.testing.assert_array_equal(ax.numpy(), w.numpy())


def test_asgd_average_has_a_derivative_by_t0():
    t0 = leaf(3.5)
    settings = {"lr": 0.05, "lambd": 0.1, "alpha": 0.6}
    averaged(9, t0=t0, **settings)[1].sum().backward()

    def average(value):
        return asgd_by_hand(np.array([1.0, -2.0]), 9, t0=value, **settings)[1].sum()

    h = 1e-5
    assert t0.grad.item() == pytest.approx(
        (average(3.5 + h) - average(3.5 - h)) / (2 * h), rel=1e-7
    )


def test_radam_rectifies_from_the_step_that_beta2_says():
    """Numbers and Tensors branch alike, in float32 too, where ρₜ itself would lose its digits."""
    for beta2, first in ((0.999, 6), (0.9, 6), (0.99, 6), (0.8, 7), (0.6, None), (0.5, None)):
        paths = []
        for given in (beta2, leaf(beta2), tg.tensor(beta2, dtype="float32", requires_grad=True)):
            dtype = given.dtype if isinstance(given, tg.Tensor) else "float64"
            rule = optim.functional.radam(lr=0.1, betas=(0.9, given), eps=0.0)
            params, path = [tg.tensor([1.0], dtype=dtype)], []
            state = rule.init(params)
            for _ in range(14):
                before = params[0]
                params, state = rule.update(params, [before * 0.0 + 1e-3], state)
                assert params[0].dtype == before.dtype
                path.append((before - params[0]).item())
            if isinstance(given, tg.Tensor):
                (found,) = tg.grad(params[0].sum(), given)
                assert np.isfinite(found.item())
            paths.append(path)
        # unrectified steps are lr·g = 1e-4, rectified ones lr·r·1, far larger
        large = [t + 1 for t, step in enumerate(paths[0]) if step > 2e-4]
        assert (large[0] if large else None) == first
        np.testing.assert_allclose(paths[1], paths[0], rtol=1e-10)
        np.testing.assert_allclose(paths[2], paths[0], rtol=2e-3, atol=1e-6)


def test_radam_without_rectification_does_not_see_zero_eps():
    g = leaf([0.0])
    lr, b2 = leaf(0.1), leaf(0.999)
    w = tg.ones(1, dtype="float64")
    rule = optim.functional.radam(lr=lr, betas=(0.9, b2), eps=0.0)
    (moved,), _ = rule.update([w], [g], rule.init([w]))
    found = tg.grad(moved.sum(), [g, lr, b2])
    assert [x.item() for x in found] == pytest.approx([-0.1, 0.0, 0.0])


def test_centered_variance_below_zero_by_rounding_counts_as_zero():
    """A constant gradient has no variance, which rounding makes negative: torch gives NaN."""
    rule = optim.functional.rmsprop(lr=0.1, alpha=0.5, centered=True, eps=1e-2)
    w = leaf([1.0] * 200, "float32")
    g = tg.tensor(np.linspace(0.1, 3.0, 200), dtype="float32", requires_grad=True)
    params, state = [w], rule.init([w])
    negative = False
    for _ in range(60):
        params, state = rule.update(params, [g], state)
        memory = state.memory[0]
        negative |= (memory.square_avg - memory.grad_avg * memory.grad_avg).min().item() < 0
    assert negative  # else the case is not one
    for found in (params[0], *tg.grad(params[0].sum(), [w, g])):
        assert np.isfinite(found.detach().numpy()).all()


def test_adafactor_keeps_rows_and_columns_alone():
    rule = optim.functional.adafactor()
    state = rule.init([tg.ones(5, 7), tg.ones(2, 5, 7), tg.ones(7), tg.tensor(1.0)])
    shapes = [{k: v.shape for k, v in m._asdict().items()} for m in state.memory]
    assert shapes == [
        {"row_var": (5, 1), "col_var": (1, 7)},
        {"row_var": (2, 5, 1), "col_var": (2, 1, 7)},
        {"variance": (7,)},
        {"variance": ()},
    ]


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_adafactor_where_its_floors_hold(shape):
    """Tiny gradients under ε₁ and tiny weights under ε₂: the derivatives by both."""

    def final(lr, eps1, eps2, w):
        rule = optim.functional.adafactor(lr=lr, eps=(eps1, eps2), d=1.5)
        params, state = [w], rule.init([w])
        for _ in range(3):
            params, state = rule.update(params, [1e-3 * (params[0] - 3.0)], state)
        return (params[0] ** 2).sum()

    w = tg.tensor(0.01 * np.cos(np.arange(np.prod(shape))).reshape(shape), dtype="float64")
    inputs = {"lr": 0.1, "eps1": 0.02, "eps2": 0.3}
    given = {k: tg.tensor(v, dtype="float64") for k, v in inputs.items()}
    leaves = {k: leaf(v) for k, v in inputs.items()}
    for name, found in zip(inputs, tg.grad(final(w=w, **leaves), list(leaves.values()))):
        assert found.item() != 0.0, name
    assert tg.check_grads(final, {**given, "w": w}, 1, atol=1e-8, rtol=1e-6)


def test_a_rate_that_changes_reaches_asgd_one_step_late_and_rprop_never():
    """As in torch, which prepares ASGD's rate in the step before and reads Rprop's once."""
    for name, expected in (("asgd", [0.9, 0.8, 0.3]), ("rprop", [0.9, 0.78, 0.636])):
        settings = {"lambd": 0.0} if name == "asgd" else {}
        rule = getattr(optim.functional, name)(lr=lambda step: [0.1, 0.5, 0.7][step], **settings)
        params, path = [tg.tensor([1.0], dtype="float64")], []
        state = rule.init(params)
        for _ in range(3):
            params, state = rule.update(params, [tg.ones(1, dtype="float64")], state)
            path.append(params[0].item())
        assert path == pytest.approx(expected)


@pytest.mark.parametrize(
    "form, settings, message",
    [
        (optim.Adadelta, {"rho": 1.5}, "rho must be at most 1, not 1.5"),
        (optim.Adadelta, {"rho": -0.1}, "rho must be at least 0"),
        (optim.Adagrad, {"initial_accumulator_value": -1.0}, "initial_accumulator_value must"),
        (optim.Adagrad, {"lr_decay": -1.0}, "lr_decay must be at least 0"),
        (optim.RMSprop, {"alpha": -0.1}, "alpha must be at least 0"),
        (optim.RMSprop, {"momentum": -0.1}, "momentum must be at least 0"),
        (optim.Adafactor, {"d": 0.5}, "d must be at least 1"),
        (optim.Adafactor, {"beta2_decay": 0.5}, "beta2_decay must be at most 0"),
        (optim.Adafactor, {"eps": (None, -1.0)}, r"eps\[1\] must be at least 0"),
        (optim.Adafactor, {"eps": (-1.0, 1.0)}, r"eps\[0\] must be at least 0"),
        (optim.Adamax, {"betas": (1.0, 0.9)}, r"betas\[0\] must be at least 0 and below 1"),
        (optim.NAdam, {"momentum_decay": -1.0}, "momentum_decay must be at least 0"),
        (optim.RAdam, {"betas": (0.9, -0.1)}, r"betas\[1\] must"),
        (optim.Rprop, {"etas": (1.1, 1.2)}, r"etas\[0\] must be between 0 and 1, not 1.1"),
        (optim.Rprop, {"etas": (0.5, 0.9)}, r"etas\[1\] must be above 1, not 0.9"),
        (optim.ASGD, {"weight_decay": -1.0}, "weight_decay must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(form, settings, message):
    w = tg.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=message):
        form([w], **settings)
    tensors = {
        k: tuple(x if x is None else tg.tensor(x) for x in v)
        if isinstance(v, tuple)
        else tg.tensor(v)
        for k, v in settings.items()
    }
    with pytest.raises(ValueError, match=message.split(", not")[0]):
        form([w], **tensors)


def test_a_beta_close_to_one_is_taken():
    optim.Adam([tg.ones(2, requires_grad=True)], betas=(0.9, 0.99999999))


@pytest.mark.parametrize(
    "form", [optim.RMSprop, optim.Adagrad, optim.Adadelta, optim.Adamax, optim.NAdam, optim.RAdam]
)
def test_options_of_speed_are_taken_and_keras_spells_in_its_way(form):
    w = tg.ones(2, requires_grad=True)
    optimizer = form([w], learning_rate=0.3, epsilon=1e-3, foreach=True, capturable=False)
    assert (optimizer.defaults["lr"], optimizer.defaults["eps"]) == (0.3, 1e-3)
    with pytest.raises(TypeError, match="not both"):
        form([w], lr=0.1, learning_rate=0.1)


#: The defaults of torch.optim 2.13, in its order.
DEFAULTS = {
    "RMSprop": "lr=0.01 alpha=0.99 eps=1e-08 weight_decay=0 momentum=0 centered=False "
    "maximize=False",
    "Adagrad": "lr=0.01 lr_decay=0 weight_decay=0 initial_accumulator_value=0 eps=1e-10 "
    "maximize=False",
    "Adadelta": "lr=1.0 rho=0.9 eps=1e-06 weight_decay=0 maximize=False",
    "Adamax": "lr=0.002 betas=(0.9,0.999) eps=1e-08 weight_decay=0 maximize=False",
    "NAdam": "lr=0.002 betas=(0.9,0.999) eps=1e-08 weight_decay=0 momentum_decay=0.004 "
    "decoupled_weight_decay=False maximize=False",
    "RAdam": "lr=0.001 betas=(0.9,0.999) eps=1e-08 weight_decay=0 decoupled_weight_decay=False "
    "maximize=False",
    "Rprop": "lr=0.01 etas=(0.5,1.2) step_sizes=(1e-06,50) maximize=False",
    "ASGD": "lr=0.01 lambd=0.0001 alpha=0.75 t0=1000000.0 weight_decay=0 maximize=False",
    "Adafactor": "lr=0.01 beta2_decay=-0.8 eps=(None,0.001) d=1.0 weight_decay=0.0 maximize=False",
    "Adam": "lr=0.001 betas=(0.9,0.999) eps=1e-08 weight_decay=0 amsgrad=False maximize=False "
    "decoupled_weight_decay=False",
    "AdamW": "lr=0.001 betas=(0.9,0.999) eps=1e-08 weight_decay=0.01 amsgrad=False maximize=False",
    "SGD": "lr=0.001 momentum=0 dampening=0 weight_decay=0 nesterov=False maximize=False",
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_those_of_torch(name):
    optimizer = getattr(optim, name)([tg.ones(2, requires_grad=True)])
    expected = dict(item.split("=") for item in DEFAULTS[name].split())
    assert list(optimizer.defaults) == list(expected)
    assert optimizer.defaults == {k: eval(v) for k, v in expected.items()}


@pytest.mark.parametrize(
    "name, settings",
    [
        ("RMSprop", {"momentum": 0.9, "centered": True}),
        ("Adagrad", {}),
        ("Adadelta", {}),
        ("Adamax", {}),
        ("NAdam", {}),
        ("RAdam", {}),
        ("Rprop", {}),
        ("ASGD", {}),
        ("Adafactor", {}),
    ],
)
def test_the_state_has_the_names_of_torch(name, settings):
    names = {
        "RMSprop": "square_avg momentum_buffer grad_avg",
        "Adagrad": "sum",
        "Adadelta": "square_avg acc_delta",
        "Adamax": "exp_avg exp_inf",
        "NAdam": "mu_product exp_avg exp_avg_sq",
        "RAdam": "exp_avg exp_avg_sq max_exp_avg_sq",
        "Rprop": "prev step_size",
        "ASGD": "eta mu ax",
        "Adafactor": "row_var col_var",
    }[name].split()
    w = tg.ones(2, 3, requires_grad=True)
    optimizer = getattr(optim, name)([w], **settings)
    (w * w).sum().backward()
    optimizer.step()
    assert list(optimizer.state_dict()["state"][0]) == ["step", *names]


@pytest.mark.parametrize(
    "form, first, then",
    [
        (optim.SGD, {"momentum": 0.0}, {"momentum": 0.9}),
        (optim.KerasSGD, {"momentum": 0.0}, {"momentum": 0.9}),
        (optim.RMSprop, {"momentum": 0.0}, {"momentum": 0.9}),
        (optim.RMSprop, {"centered": False}, {"centered": True}),
        (
            optim.Adam,
            {"amsgrad": False, "betas": (0.9, 0.5)},
            {"amsgrad": True, "betas": (0.9, 0.5)},
        ),
    ],
)
@pytest.mark.parametrize("turned", ["on", "off"])
def test_what_is_turned_on_or_off_in_mid_run_counts_from_then(form, first, then, turned):
    if turned == "off":
        first, then = then, first

    def steps(optimizer, w, gradients):
        for g in gradients:
            w.grad = tg.tensor([g], dtype="float64")
            optimizer.step()
        return w.item()

    def run(changes, **settings):
        w = leaf([1.0])
        optimizer = form([w], lr=0.1, **settings)
        steps(optimizer, w, [1.0, 1.5])
        optimizer.param_groups[0].update(changes)
        for saved in (False, True):  # a snapshot just after, and one later
            again = leaf(w.tolist())
            other = form([again])
            other.load_state_dict(optimizer.state_dict())
            if saved:
                return steps(other, again, [0.5, 0.7])
            assert steps(other, again, [0.3]) == steps(optimizer, w, [0.3])

    assert run(then, **first) != pytest.approx(run({}, **first), rel=1e-9)


def test_momentum_turned_off_and_on_goes_on_with_its_velocity_as_in_torch():
    w = leaf([1.0])
    optimizer = optim.SGD([w], lr=0.1)
    for momentum in (0.0, 0.5, 0.0, 0.5):
        optimizer.param_groups[0]["momentum"] = momentum
        w.grad = tg.ones(1, dtype="float64")
        optimizer.step()
    # 1, then v = 1, then 1 (v rests), then v = 0.5 + 1
    assert w.item() == pytest.approx(1.0 - 0.1 * (1 + 1 + 1 + 1.5))


@pytest.mark.parametrize(
    "form, settings, message",
    [
        (optim.Adam, {"betas": (0.9,)}, r"adam: betas must be 2 numbers, not \(0.9,\)"),
        (optim.Adamax, {"betas": 0.9}, "adamax: betas must be 2 numbers, not 0.9"),
        (optim.NAdam, {"betas": "no"}, "nadam: betas must be 2 numbers, not 'no'"),
        (optim.RAdam, {"betas": (0.9, 0.9, 0.9)}, "radam: betas must be 2 numbers"),
        (optim.Lion, {"betas": (0.9,)}, "lion: betas must be 2 numbers"),
        (optim.LAMB, {"betas": (0.9,)}, "lamb: betas must be 2 numbers"),
        (optim.Adan, {"betas": (0.9, 0.99)}, "adan: betas must be 3 numbers"),
        (optim.AdaBelief, {"betas": (0.9,)}, "adabelief: betas must be 2 numbers"),
        (optim.Yogi, {"betas": (0.9,)}, "yogi: betas must be 2 numbers"),
        (optim.AdamWScheduleFree, {"betas": (0.9,)}, "schedulefree: betas must be 2 numbers"),
        (optim.Rprop, {"etas": 0.5}, "rprop: etas must be 2 numbers, not 0.5"),
        (optim.Rprop, {"step_sizes": (0.5,)}, "rprop: step_sizes must be 2 numbers"),
        (optim.Adafactor, {"eps": 1e-3}, "adafactor: eps must be 2 numbers, not 0.001"),
        (optim.Adafactor, {"eps": (1e-3, None)}, r"adafactor: eps\[1\] must be a number"),
        (optim.Muon, {"ns_coefficients": (1.0, 2.0)}, "muon: ns_coefficients must be 3 numbers"),
        (optim.Muon, {"ns_steps": -1}, "muon: ns_steps must be a whole number below 100, not -1"),
        (optim.Muon, {"ns_steps": 2.5}, "muon: ns_steps must be a whole number below 100, not 2.5"),
        (optim.SGD, {"lr": "0.1"}, "sgd: lr must be a number, a Tensor or a schedule, not '0.1'"),
        (optim.Adam, {"lr": None}, "adam: lr must be a number, a Tensor or a schedule, not None"),
        (optim.Adam, {"betas": (0.9, "b")}, r"adam: betas\[1\] must be a number"),
        (optim.Adadelta, {"rho": [0.9]}, "adadelta: rho must be a number"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused_when_they_are_given(form, settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        form([tg.ones(2, 2, requires_grad=True)], **settings)


def test_pairs_may_be_tensors_and_schedules():
    found = []
    for betas in ((0.8, 0.9), tg.tensor([0.8, 0.9], dtype="float64"), lambda step: (0.8, 0.9)):
        w = leaf([1.0])
        optimizer = optim.Adam([w], betas=betas)
        for g in (1.0, 0.5):
            w.grad = tg.tensor([g], dtype="float64")
            optimizer.step()
        found.append(w.item())
    assert found == pytest.approx([found[0]] * 3, rel=1e-14)
