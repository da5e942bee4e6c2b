"""Derivatives through a whole training run: the ways agree with each other, with differences, with
the anchors and closed forms; what each keeps; what each refuses."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.optim import OPTIMIZERS, functional, unroll
from tapegrad.optim.unrolling import METHODS

EXACT = ("reverse", "checkpoint", "forward")


def real(value):
    return tg.tensor(value, dtype="float64")


def bowl(params, batch=None):
    return ((params[0] - 3.0) ** 2).sum()


def values(tree):
    return [np.asarray(x.numpy()) for x in tg.trees.flatten(tree)[0]]


def regression(seed=0):
    """A regression with a penalty: its loss by batch, its validation loss, its settings."""
    draw = tg.Generator().manual_seed(seed)
    x, more = (tg.randn(24, 3, dtype="float64", generator=draw) for _ in range(2))
    truth = real([1.0, -2.0, 0.5])
    y = x @ truth + 0.3 * tg.randn(24, dtype="float64", generator=draw)
    penalty = real(0.2)

    def loss(params, batch):
        rows = slice(8 * (batch % 3), 8 * (batch % 3) + 8)
        error = tg.tanh(x[rows] @ params[0]) - y[rows]
        return (error**2).mean() + penalty * (params[0] ** 2).sum()

    def outer(params):
        return ((more @ params[0] - more @ truth) ** 2).mean()

    return loss, outer, penalty, [real([0.3, -0.2, 0.1])]


# -- values that are known -------------------------------------------------------------------------
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    ("rule", "anchor"),
    [
        ("sgd", -118.784),
        ("adam", -26.3759067),
        ("adamw", -26.6535073),
        ("radam", -128.9174515),
        ("rmsprop", -115.341863),
        ("adagrad", -22.4657906),
        ("adadelta", -0.0896735666),
        ("adamax", -26.0348928),
        ("nadam", -24.1305223),
        ("rprop", -28.864),
        ("asgd", -118.783046),
    ],
)
def test_anchors(rule, anchor, method):
    lr = real(0.1)
    made = getattr(functional, rule)(lr=lr)
    _, found = unroll(made, bowl, [real([1.0, -2.0])], range(2), outer=bowl, wrt=lr, method=method)
    assert found.item() == pytest.approx(anchor, rel=2e-7)


@pytest.mark.parametrize("method", [*EXACT, "reversible"])
def test_anchor_of_momentum(method):
    mu = real(0.9)
    rule = functional.sgd(0.1, mu)
    _, found = unroll(rule, bowl, [real([1.0, -2.0])], range(2), outer=bowl, wrt=mu, method=method)
    assert found.item() == pytest.approx(-5.336, rel=1e-9)


@pytest.mark.parametrize("method", EXACT)
def test_closed_form(method):
    """a·w²/2 and gradient descent."""
    a, k = 2.0, 5
    lr, w = real(0.1), real(1.5)
    parabola = lambda params, batch=None: a / 2 * params["w"] ** 2
    value, found = unroll(
        functional.sgd(lr),
        parabola,
        {"w": w},
        range(k),
        outer=parabola,
        wrt={"lr": lr, "start": w},
        method=method,
    )
    assert value.item() == pytest.approx(a / 2 * 1.5**2 * 0.8 ** (2 * k), rel=1e-12)
    assert found["lr"].item() == pytest.approx(-6.03979776, rel=1e-9)
    assert found["start"].item() == pytest.approx(0.3221225472, rel=1e-9)


# -- the ways agree --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "row", [row for row in OPTIMIZERS if not row.apart], ids=lambda row: row.name
)
def test_the_ways_agree_for_every_rule(row):
    """By every real setting and the initial parameters, after 7 steps."""
    settings = row.tried()[-1]
    chosen = row.real_settings(settings)
    params = [
        tg.tensor(np.cos(1.0 + np.arange(np.prod(shape))).reshape(shape), dtype="float64")
        for shape in row.shapes
    ]

    def loss(params, batch=None):
        total = sum(((w - 3.0) ** 2).sum() + 0.01 * (w**4).sum() for w in params)
        return total + 0.1 * params[0].sum() * params[-1].sum()

    found = {}
    for method in EXACT:
        rule = row.rule(**{**settings, **chosen})
        value, grads = unroll(
            rule, loss, params, range(7), outer=loss, wrt=[chosen, params], method=method
        )
        found[method] = [value.numpy(), *values(grads)]
    for method in EXACT[1:]:
        for a, b in zip(found["reverse"], found[method], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("method", [*EXACT, "reversible"])
def test_against_finite_differences(method):
    loss, outer, penalty, start = regression()
    settings = {"lr": real(0.05), "momentum": real(0.8), "weight_decay": real(0.02)}
    wrt = {**settings, "penalty": penalty, "start": start[0]}
    run = functools.partial(
        unroll, functional.sgd(**settings), loss, start, range(30), outer=outer, wrt=wrt
    )
    _, found = run(method=method)
    for name, x in wrt.items():
        kept = x.numpy().copy()
        for i in np.ndindex(x.shape):
            ends = []
            for h in (1e-5, -1e-5):
                moved = kept.copy()
                moved[i] += h
                x.copy_(real(moved))
                ends.append(run(method="reverse")[0].item())
            x.copy_(real(kept))
            expected = (ends[0] - ends[1]) / 2e-5
            assert found[name].numpy()[i] == pytest.approx(expected, rel=1e-6, abs=1e-8), name


@pytest.mark.parametrize("method", EXACT)
def test_wrappers_of_rules(method):
    """A rule that looks at the loss elsewhere, one with two speeds, clipping in front."""
    loss, outer, penalty, start = regression()
    lr, rho, alpha, limit = real(0.05), real(0.1), real(0.5), real(0.4)
    clip = functools.partial(functional.clip_by_global_norm, max_norm=limit)
    inner = functional.chain(clip, functional.adam(lr, eps=1e-3))
    rule = functional.lookahead(functional.sam(inner, rho), k=3, alpha=alpha)
    wrt = [lr, rho, alpha, limit, penalty]
    value, found = unroll(rule, loss, start, range(8), outer=outer, wrt=wrt, method=method)

    leaves = [x.requires_grad_() for x in wrt]
    params, state = [start[0].clone().requires_grad_()], None
    state = rule.init(params)
    for batch in range(8):
        look = lambda ps, batch=batch: (
            None,
            list(tg.grad(loss(ps, batch), ps, create_graph=True)),
        )
        params, state = rule.update(params, look(params)[1], state, value_and_grad=look)
    expected = tg.grad(outer(params), leaves)
    for x in leaves:
        x.requires_grad_(False)
    assert value.item() == pytest.approx(outer(params).item(), rel=1e-12)
    np.testing.assert_allclose(values(found), values(list(expected)), rtol=1e-8)


@pytest.mark.parametrize("method", EXACT[1:])
def test_a_tower_of_rules(method):
    """Whose state is not built the same before and after the first step."""
    rates = [real(0.01), real(1e-6), real(1e-18)]
    rule = functional.tower([functional.sgd] * 3, rates)
    run = functools.partial(
        unroll, rule, bowl, [real([1.0, -2.0])], range(6), outer=bowl, wrt=rates
    )
    np.testing.assert_allclose(values(run(method=method)), values(run(method="reverse")), rtol=1e-8)


@pytest.mark.parametrize("method", [*EXACT, "reversible"])
def test_random_losses_draw_the_same_again(method):
    lr, mu = real(0.05), real(0.9)
    noisy = lambda params, batch: (
        (params[0] * (tg.rand(4, dtype="float64") > 0.3) - tg.rand(4, dtype="float64")) ** 2
    ).sum()
    outer = lambda params: (params[0] ** 2).sum()

    def run(method):
        tg.manual_seed(3)
        found = unroll(
            functional.sgd(lr, mu), noisy, [real([1.0] * 4)], range(9), outer=outer, wrt=[lr, mu],
            method=method,
        )  # fmt: skip
        return [*values(found), tg.rand(1).item()]

    np.testing.assert_allclose(run(method), run("reverse"), rtol=1e-8)


def test_random_numbers_of_a_generator_of_its_own_are_noticed():
    draw = tg.Generator().manual_seed(0)
    noisy = lambda params, batch: ((params[0] - tg.rand(2, generator=draw)) ** 2).sum()
    lr = real(0.05)
    with pytest.raises(RuntimeError, match="did not come back"):
        unroll(
            functional.sgd(lr, 0.9), noisy, [real([1.0, 2.0])], range(3), outer=bowl, wrt=lr,
            method="reversible",
        )  # fmt: skip


@pytest.mark.parametrize("method", [*EXACT, "reversible"])
def test_models_and_what_settings_are_made_of(method):
    """Parameters of a module in a dict; a rate by its logarithm; one scale of all that is there at
    the beginning; a rate for every layer. The model and the settings stay as they are."""
    tg.manual_seed(0)
    model = tg.nn.Sequential(
        tg.nn.Linear(2, 4, dtype="float64"), tg.nn.Tanh(), tg.nn.Linear(4, 1, dtype="float64")
    )
    before = [p.detach().clone() for p in model.parameters()]
    x = tg.randn(16, 2, dtype="float64")
    y = tg.sin(x[:, :1])
    log_lr, scale = real(-2.0).requires_grad_(), real(1.0).requires_grad_()
    decay = real([0.01])
    params = {name: p * scale for name, p in model.named_parameters()}

    def loss(params, batch=None):
        return tg.losses.mse_loss(tg.func.functional_call(model, params, x), y)

    def run(method):
        rule = functional.sgd(tg.exp(log_lr), 0.5, weight_decay=decay)
        wrt = {"rate": (log_lr, decay), "scale": scale}
        return unroll(rule, loss, params, range(6), outer=loss, wrt=wrt, method=method)

    value, found = run(method)
    assert set(found) == {"rate", "scale"} and found["rate"][1].shape == (1,)
    expected = run("reverse")
    np.testing.assert_allclose(value.item(), expected[0].item(), rtol=1e-10)
    for a, b in zip(values(found), values(expected[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    for p, old in zip(model.parameters(), before, strict=True):
        assert p.grad is None and p.requires_grad
        np.testing.assert_array_equal(p.detach().numpy(), old.numpy())
    assert log_lr.grad is None and not decay.requires_grad
    assert not value.requires_grad and not found["scale"].requires_grad


@pytest.mark.parametrize("method", [*EXACT, "reversible"])
def test_a_loss_with_a_constant_gradient(method):
    slope = lambda params, batch=None: (params[0] * real([3.0, 4.0])).sum()
    lr = real(0.1)
    rule = functional.sgd(lr, 0.5)
    start = [real([0.0, 0.0])]
    _, found = unroll(rule, slope, start, range(3), outer=slope, wrt=lr, method=method)
    assert found.item() == pytest.approx(-25.0 * (1.0 + 1.5 + 1.75), rel=1e-12)


def test_under_no_grad():
    lr = real(0.1)
    with tg.no_grad():
        found = [
            unroll(
                functional.sgd(lr, 0.9), bowl, [real([1.0])], range(3), outer=bowl, wrt=lr, method=m
            )[1].item()
            for m in (*EXACT, "reversible")
        ]
    np.testing.assert_allclose(found, found[0], rtol=1e-9)


@pytest.mark.parametrize("method", [*EXACT, "reversible"])
def test_settings_twice_and_settings_made_of_each_other(method):
    """Each gradient is that of all ways from the Tensor to the loss."""
    log_lr, scale = real(-2.0).requires_grad_(), real(2.0).requires_grad_()
    lr, start = tg.exp(log_lr), scale * real([1.0, -2.0])
    rule = functional.sgd(lr, 0.9)
    _, found = unroll(
        rule, bowl, [start], range(3), outer=bowl, wrt=[log_lr, lr, lr, scale, start], method=method
    )
    by_log, by_lr, again, by_scale, by_start = found
    assert by_lr.item() == again.item() != 0.0
    assert by_log.item() == pytest.approx((by_lr * lr).item(), rel=1e-9)
    assert by_scale.item() == pytest.approx((by_start * real([1.0, -2.0])).sum().item(), rel=1e-9)


def test_forward_takes_batches_one_by_one():
    lr = real(0.1)
    seen = []

    def batches():
        for i in range(5):
            seen.append(i)
            yield i

    def loss(params, batch):
        assert seen[-1] == batch
        return bowl(params)

    run = functools.partial(unroll, functional.adam(lr), loss, [real([1.0])], outer=bowl, wrt=lr)
    found = run(batches(), method="forward")[1].item()
    assert seen == list(range(5))
    assert found == pytest.approx(run(batches(), method="reverse")[1].item(), rel=1e-10)


# -- choosing, refusing ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("steps", "entries", "expected"),
    [(64, 100, "reverse"), (65, 4, "forward"), (65, 5, "checkpoint")],
)
def test_auto(monkeypatch, steps, entries, expected):
    taken = []
    for name in list(METHODS):
        stub = lambda run, name=name: taken.append(name) or (real(0.0), list(run.wrt))
        monkeypatch.setitem(METHODS, name, stub)
    wrt = tg.ones(entries)
    unroll(functional.sgd(0.1), bowl, [real(1.0)], iter(range(steps)), outer=bowl, wrt=wrt)
    assert taken == [expected]


def test_refuses():
    lr, start = real(0.1), [real([1.0, -2.0])]
    run = functools.partial(unroll, functional.sgd(lr), bowl, start, range(3), outer=bowl)
    with pytest.raises(ValueError, match=r"method is one of 'reverse', .*'auto', not 'backwards'"):
        run(wrt=lr, method="backwards")
    with pytest.raises(ValueError, match=r"solver is one of .*neumann.*, not 'lu'"):
        run(wrt=lr, solver="lu")
    with pytest.raises(TypeError, match=r"rule must be a rule, such as functional.sgd\(lr=0.1\)"):
        unroll(functional.sgd, bowl, start, range(3), outer=bowl, wrt=lr)
    with pytest.raises(ValueError, match="nothing to differentiate by"):
        run(wrt=[])
    with pytest.raises(TypeError, match=r"wrt\['lr'\] must be a Tensor of floats, not float"):
        run(wrt={"lr": 0.1})
    with pytest.raises(
        TypeError, match=r"wrt\[0\] must be a Tensor of floats, not a Tensor of int"
    ):
        run(wrt=[tg.tensor(1)])
    with pytest.raises(ValueError, match=r"outer must return a 0-d tensor, not shape \(2,\)"):
        run(wrt=lr, outer=lambda params: params[0])
    for method in EXACT:
        with pytest.raises(ValueError, match=r"wrt\[1\] .*has no effect on the outer loss"):
            run(wrt=[lr, real(1.0)], method=method)
    with pytest.raises(ValueError, match=r"wrt\[1\] .*has no effect on the outer loss"):
        unroll(
            functional.sgd(lr, 0.9), bowl, start, range(3), outer=bowl, wrt=[lr, real(1.0)],
            method="reversible",
        )  # fmt: skip


@pytest.mark.parametrize("method", [*EXACT, "reversible", "implicit"])
def test_refuses_parameters_and_losses_that_are_none(method):
    lr, start = real(0.1), real([1.0, -2.0])
    run = functools.partial(unroll, functional.sgd(lr, 0.9), outer=bowl, wrt=lr, method=method)
    with pytest.raises(TypeError, match="params must be a list or a dict of Tensors, not Tensor"):
        run(bowl, start, range(3))
    with pytest.raises(TypeError, match=r"params\['n'\] must be a Tensor of floats, not .*int64"):
        run(bowl, {"w": start, "n": tg.tensor(1)}, range(3))
    with pytest.raises(ValueError, match="params holds nothing"):
        run(bowl, [], range(3))
    with pytest.raises(TypeError, match="batches must be an iterable, such as a list, not int"):
        run(bowl, [start], 3)
    with pytest.raises(ValueError, match=r"loss must return a 0-d tensor, not shape \(2,\)"):
        run(lambda params, batch: params[0], [start], range(3))
    with pytest.raises(ValueError, match="loss must return a 0-d tensor, not float"):
        run(lambda params, batch: 1.0, [start], range(3))
    with pytest.raises(
        ValueError, match=r"parameter 1 \(shape \(2, 2\)\) has no effect on the loss"
    ):
        run(bowl, [start, tg.ones(2, 2)], range(3))
    with pytest.raises(ValueError, match=r"parameter 0 \(shape \(2,\)\) has no effect on the loss"):
        run(lambda params, batch: real(1.0), [start], range(3))


@pytest.mark.parametrize("method", [*EXACT, "reversible"])
def test_a_parameter_that_not_every_batch_needs(method):
    """With 0 times its sum it has a gradient of zeros: velocity and decay still move it."""
    lr, start = real(0.1), [real([1.0, -2.0]), real([2.0])]

    def loss(params, batch):
        return bowl(params[:1]) + (bowl(params[1:]) if batch else 0.0 * params[1].sum())

    value, slope = unroll(
        functional.sgd(lr, 0.5), loss, start, [1, 0], outer=lambda p: bowl(p[1:]), wrt=lr,
        method=method,
    )  # fmt: skip
    moved = 1.5 * 2.0  # times the rate: the step, and half of it again
    assert value.item() == pytest.approx((0.1 * moved - 1.0) ** 2, rel=1e-9)
    assert slope.item() == pytest.approx(2 * (0.1 * moved - 1.0) * moved, rel=1e-9)


# -- memory ----------------------------------------------------------------------------------------
def peak(method, steps, size=4000):
    lr = real(0.01)
    start = [tg.zeros(size, dtype="float64")]
    rule = functional.sgd(lr, 0.9)
    run = functools.partial(unroll, rule, bowl, start, outer=bowl, wrt=lr, method=method)
    run(range(2))
    tracemalloc.start()
    run(range(steps))
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize(
    ("method", "least", "most"),
    [
        ("reverse", 3.5, 4.5),
        ("checkpoint", 1.6, 2.5),
        ("forward", 0.9, 1.1),
        ("reversible", 0.9, 1.15),
    ],
)
def test_memory_for_four_times_the_steps(method, least, most):
    assert least < peak(method, 128) / peak(method, 32) < most
