"""Schedules as functions of the step: values, Tensors everywhere, derivatives, pictures."""

from __future__ import annotations

import copy
import math
import pickle
import sys
import xml.dom.minidom

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim import schedules as s
from tapegrad.optim.schedule import curve, span_of, values_of

#: Every function of the step: (name, how to make it of real settings, the settings).
MADE = {
    "constant": (s.constant, {"rate": 0.1, "factor": 0.4}, {"total_iters": 4}),
    "step_decay": (s.step_decay, {"rate": 0.1, "gamma": 0.6}, {"step_size": 3}),
    "multi_step_decay": (
        s.multi_step_decay,
        {"rate": 0.1, "gamma": 0.6},
        {"milestones": [2, 5, 5]},
    ),
    "exponential_decay": (s.exponential_decay, {"rate": 0.1, "gamma": 0.9}, {}),
    "linear": (
        s.linear,
        {"rate": 0.1, "start_factor": 0.2, "end_factor": 0.9, "total_iters": 5.5},
        {},
    ),
    "polynomial_decay": (s.polynomial_decay, {"rate": 0.1, "total_iters": 6.5, "power": 0.7}, {}),
    "lambda_": (s.lambda_, {"rate": 0.1}, {"lr_lambda": lambda step: 0.9**step}),
    "cosine_annealing": (s.cosine_annealing, {"rate": 0.1, "T_max": 4.3, "eta_min": 0.01}, {}),
    "cosine_decay": (s.cosine_decay, {"peak": 0.1, "steps": 7.5, "floor": 0.01}, {}),
    "warm_restarts": (s.warm_restarts, {"rate": 0.1, "T_0": 3.3, "eta_min": 0.01}, {}),
    "warm_restarts 2": (
        s.warm_restarts,
        {"rate": 0.1, "T_0": 2.3, "eta_min": 0.01},
        {"T_mult": 2},
    ),
    "cyclic": (
        s.cyclic,
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3.3, "step_size_down": 2.1},
        {"mode": "triangular2"},
    ),
    "cyclic exp": (
        s.cyclic,
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3.3, "gamma": 0.9},
        {"mode": "exp_range"},
    ),
    "cyclic_momentum": (
        s.cyclic_momentum,
        {"base_momentum": 0.6, "max_momentum": 0.9, "step_size_up": 3.3},
        {},
    ),
    "one_cycle": (
        s.one_cycle,
        {"max_lr": 1.0, "pct_start": 0.33, "div_factor": 5.0, "final_div_factor": 10.0},
        {"total_steps": 11},
    ),
    "one_cycle linear": (
        s.one_cycle,
        {"max_lr": 1.0, "pct_start": 0.33, "total_steps": 11.3},
        {"three_phase": True, "anneal_strategy": "linear"},
    ),
    "one_cycle_momentum": (
        s.one_cycle_momentum,
        {"base_momentum": 0.6, "max_momentum": 0.9, "pct_start": 0.33},
        {"total_steps": 11, "three_phase": True},
    ),
    "warmup": (
        lambda peak, steps: s.warmup(s.exponential_decay(peak, 0.9), steps),
        {"peak": 0.1, "steps": 4.4},
        {},
    ),
    "warmup_cosine": (
        s.warmup_cosine,
        {"peak": 0.1, "warmup_steps": 3.4, "steps": 9.2, "floor": 0.02},
        {},
    ),
    "inverse_square_root": (s.inverse_square_root, {"peak": 0.1, "warmup_steps": 3.3}, {}),
    "noam": (s.noam, {"d_model": 64.0, "warmup_steps": 3.3, "factor": 2.0}, {}),
    **{
        f"warmup_stable_decay {decay}": (
            s.warmup_stable_decay,
            {
                "peak": 0.1,
                "warmup_steps": 2.4,
                "stable_steps": 3.1,
                "decay_steps": 4.2,
                "floor": 0.01,
            },
            {"decay": decay},
        )
        for decay in ("linear", "cosine", "sqrt")
    },
    "sequential": (
        lambda a, gamma, begin: s.sequential([a, s.exponential_decay(a, gamma)], [begin]),
        {"a": 0.1, "gamma": 0.8, "begin": 3.3},
        {},
    ),
    "chained": (
        lambda a, gamma: s.chained(s.warmup(a, 3), s.exponential_decay(1.0, gamma)),
        {"a": 0.1, "gamma": 0.8},
        {},
    ),
}
STEPS = 14


@pytest.fixture
def double():
    """Choices between plain numbers in double precision."""
    before = tg.get_default_dtype()
    tg.set_default_dtype("float64")
    yield
    tg.set_default_dtype(before)


@pytest.mark.parametrize("key", MADE)
def test_values_are_plain_numbers_or_tensors(key):
    make, real, fixed = MADE[key]
    plain = make(**real, **fixed)
    leaves = {k: tg.tensor(v, dtype="float64", requires_grad=True) for k, v in real.items()}
    recorded = make(**leaves, **fixed)
    for step in range(STEPS):
        assert type(plain(step)) is float
        found = recorded(step)
        assert found.item() == pytest.approx(plain(step), rel=1e-14, abs=1e-16)
        assert found.dtype == np.float64 and found.shape == ()


@pytest.mark.parametrize("key", MADE)
def test_a_whole_curve_at_once(key, double):
    """The step may be a Tensor, of many steps too."""
    make, real, fixed = MADE[key]
    rate = make(**real, **fixed)
    expected = [rate(step) for step in range(STEPS)]
    curve = rate(tg.arange(STEPS, dtype="float64"))
    np.testing.assert_allclose(np.broadcast_to(curve.numpy(), STEPS), expected, rtol=1e-13)
    assert float(rate(tg.tensor(5, dtype="float64"))) == pytest.approx(expected[5], rel=1e-14)


@pytest.mark.parametrize("key", MADE)
def test_derivatives_by_every_real_setting(key):
    make, real, fixed = MADE[key]

    def curve(values):
        rate = make(**values, **fixed)
        return [rate(step) for step in range(STEPS)]

    inputs = {k: tg.tensor(v, dtype="float64") for k, v in real.items()}
    assert tg.check_grads(curve, (inputs,), order=2)


@pytest.mark.parametrize("key", MADE)
def test_derivatives_are_finite_at_whole_lengths(key):
    """Where the joints lie on steps."""
    make, real, fixed = MADE[key]
    lengths = ("iters", "steps", "T_", "step_size", "begin")
    whole = {k: round(v) * 1.0 if any(w in k for w in lengths) else v for k, v in real.items()}
    leaves = {k: tg.tensor(v, dtype="float64", requires_grad=True) for k, v in whole.items()}
    rate = make(**leaves, **fixed)
    for step in range(STEPS):
        for found in tg.grad(rate(step), list(leaves.values()), allow_unused=True):
            assert found is None or np.isfinite(found.item()), (key, step)


@pytest.mark.parametrize("key", [k for k in MADE if k not in ("lambda_", "sequential", "chained")])
def test_schedules_are_small_objects(key):
    make, real, fixed = MADE[key]
    rate = make(**real, **fixed)
    assert repr(rate).startswith(rate._maker.__name__ + "(") and (
        "=0." in repr(rate) or key == "noam"
    )
    for again in (copy.deepcopy(rate), pickle.loads(pickle.dumps(rate))):
        assert repr(again) == repr(rate) and again(3) == rate(3)
    picture = rate._repr_svg_()
    assert xml.dom.minidom.parseString(picture).documentElement.tagName == "svg"
    assert picture.count("<polyline") == 1
    assert 2 <= span_of(rate) <= 120


# -- values ----------------------------------------------------------------------------------------
def test_the_numbers_of_the_articles():
    halving = s.step_decay(0.1, 10, 0.5)
    assert [halving(t) for t in (0, 9, 10, 19, 20)] == [0.1, 0.1, 0.05, 0.05, 0.025]
    assert s.exponential_decay(0.1, 0.95)(10) == pytest.approx(0.0598737, rel=1e-6)
    cosine = s.cosine_annealing(0.1, 50)
    assert cosine(25) == pytest.approx(0.05, rel=1e-15) and cosine(50) == 0.0
    assert s.cosine_decay(0.1, 50)(60) == 0.0 and cosine(60) > 0.0


def test_noam_as_published():
    """Vaswani et al. 2017, equation 3."""
    rate = s.noam(512, 4000)
    for t in (1, 100, 3999, 4000, 4001, 100000):
        assert rate(t - 1) == pytest.approx(512**-0.5 * min(t**-0.5, t * 4000**-1.5), rel=1e-14)


def test_one_minus_a_square_root_as_published():
    """Hägele et al. 2024, equation 1: 1 - √((n - N)/N_decay)."""
    rate = s.warmup_stable_decay(1.0, 10, 20, 40, decay="sqrt")
    for step in (30, 31, 50, 70, 80):
        expected = 1 - math.sqrt(min(step - 30, 40) / 40)
        assert rate(step) == pytest.approx(expected, abs=1e-15)
    assert [rate(t) for t in (9, 10, 29)] == [1.0, 1.0, 1.0]


def test_warm_restarts_begin_exactly():
    """Where a logarithm alone is off by its rounding."""
    for first, factor in ((1, 3), (5, 3), (7, 2), (3, 10), (1, 6)):
        rate = s.warm_restarts(1.0, first, factor)
        begin, length = 0, first
        for _ in range(6):
            assert rate(begin) == 1.0
            assert rate(begin + length / 2) == pytest.approx(0.5)
            assert rate(begin + length - 1e-9 * length) == pytest.approx(0.0, abs=1e-12)
            begin, length = begin + length, length * factor
            if begin > length // factor:
                assert rate(begin - 1) < 0.2 or length // factor < 4


def test_products_of_a_function_are_kept():
    calls = []

    def factor(step):
        calls.append(step)
        return 0.9

    rate = s.multiplicative(0.1, factor)
    for step in range(50):
        assert rate(step) == pytest.approx(0.1 * 0.9**step)
    assert calls == list(range(1, 50))
    assert rate(3) == pytest.approx(0.1 * 0.9**3) and len(calls) == 49
    gamma = tg.tensor(0.9, dtype="float64", requires_grad=True)
    learned = s.multiplicative(0.1, lambda step: gamma if step % 2 else 1.0)
    for step in (4, 3, 5):  # each on a tape of its own
        (found,) = tg.grad(learned(step), gamma)
        n = (step + 1) // 2
        assert found.item() == pytest.approx(0.1 * n * 0.9 ** (n - 1))


def test_warmup():
    assert s.warmup(0.1, 0)(0) == 0.1
    assert [s.warmup(0.1, 4)(t) for t in (0, 1, 3, 9)] == [0.025, 0.05, 0.1, 0.1]
    whole = s.warmup(s.lambda_(1.0, lambda step: 0.5**step), 2)
    assert [whole(t) for t in range(4)] == [0.5, 1.0, 1.0, 0.5]
    joined = s.warmup_cosine(0.1, 10, 60, 0.01)
    cosine = s.cosine_decay(0.1, 50, 0.01)
    assert [joined(10 + t) for t in range(70)] == [cosine(t) for t in range(70)]


def test_a_warmup_length_has_the_gradient_of_its_formula():
    """d/dn of peak·(t+1)/n on the way up."""
    n = tg.tensor(10.0, dtype="float64", requires_grad=True)
    for step in (0, 4, 8):
        (found,) = tg.grad(s.warmup(0.1, n)(step), n)
        assert found.item() == pytest.approx(-0.1 * (step + 1) / 100)
    assert tg.grad(s.warmup(0.1, n)(20), n)[0].item() == 0.0


def test_training_is_differentiated_by_a_schedule():
    """Peak, floor and warm-up length, through the pure rule and through the ordinary loop."""
    settings = {"peak": 0.05, "warmup_steps": 2.5, "floor": 0.01}

    def rule_loss(values):
        rate = s.warmup_cosine(steps=7, **values)
        rule = optim.functional.sgd(lr=rate, momentum=0.5)
        params = [tg.tensor([1.0, -2.0], dtype="float64", requires_grad=True)]
        state = rule.init(params)
        for _ in range(6):
            loss = ((params[0] - 3.0) ** 2).sum()
            params, state = rule.update(params, tg.grad(loss, params, create_graph=True), state)
        return ((params[0] - 3.0) ** 2).sum()

    inputs = {k: tg.tensor(v, dtype="float64") for k, v in settings.items()}
    assert tg.check_grads(rule_loss, (inputs,), order=1)
    leaves = {k: v.detach().requires_grad_() for k, v in inputs.items()}
    expected = [g.item() for g in tg.grad(rule_loss(leaves), list(leaves.values()))]
    w = tg.tensor([1.0, -2.0], dtype="float64", requires_grad=True)
    rate = s.warmup_cosine(steps=7, **leaves)
    optimizer = optim.SGD([w], lr=rate, momentum=0.5, differentiable=True)
    for _ in range(6):
        optimizer.zero_grad()
        ((w - 3.0) ** 2).sum().backward(create_graph=True)
        optimizer.step()
    ((w - 3.0) ** 2).sum().backward()
    assert [v.grad.item() for v in leaves.values()] == pytest.approx(expected, rel=1e-12)


def test_momentum_may_be_a_schedule():
    w = tg.ones(1, dtype="float64", requires_grad=True)
    shape = {"total_steps": 10}
    optimizer = optim.SGD([w], lr=s.one_cycle(0.1, **shape), momentum=s.one_cycle_momentum(**shape))
    v, at = 0.0, 1.0
    for step in range(10):
        w.grad = 2 * w.detach()
        optimizer.step()
        momentum = s.one_cycle_momentum(**shape)(step)
        v = 2 * at if step == 0 else momentum * v + 2 * at
        at -= s.one_cycle(0.1, **shape)(step) * v
    assert w.item() == pytest.approx(at, rel=1e-12)


def test_a_schedule_serves_many_backward_passes():
    for make, real, fixed in MADE.values():
        leaves = {k: tg.tensor(v, dtype="float64", requires_grad=True) for k, v in real.items()}
        rate = make(**leaves, **fixed)
        for step in (0, 3, 3, 9):
            tg.grad(rate(step), list(leaves.values()), allow_unused=True)


# -- refusals --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: s.constant(0.1, factor=2.0), "factor must be between 0 and 1, not 2.0"),
        (lambda: s.linear(0.1, total_iters=0), "total_iters must be more than 0"),
        (lambda: s.step_decay(0.1, tg.tensor(-1)), "step_size must be more than 0, not -1"),
        (lambda: s.cosine_decay(0.1, 0), "cosine_decay: steps must be more than 0"),
        (lambda: s.polynomial_decay(0.1, 5, -1.0), "power must be at least 0, not -1.0"),
        (lambda: s.one_cycle(0.1, 10, div_factor=0), "div_factor must be more than 0"),
        (lambda: s.one_cycle(0.1, 10, final_div_factor=-1.0), "final_div_factor must be more"),
        (lambda: s.warmup_cosine(0.1, -1, 10), "warmup_steps must be at least 0, not -1"),
        (lambda: s.warmup_cosine(0.1, 10, 5), "more than warmup_steps"),
        (lambda: s.sequential([0.1, 0.2, 0.3], [5, 3]), r"must not fall, as from 5 to 3"),
        (lambda: s.warmup_stable_decay(0.1, -2, 0, 5), "decay: warmup_steps must be at least 0"),
        (lambda: s.reduce_on_plateau(0.1, patience=-1), "patience must be at least 0"),
        (lambda: s.warmup(0.1, -1), "steps must be more than 0"),
        (lambda: s.sequential([0.1], [3]), "1 schedules need 0 milestones"),
        (lambda: s.chained(), "at least one"),
        (lambda: s.warmup_stable_decay(0.1, 1, 1, 1, decay="exp"), "decay must be one of linear"),
        (lambda: s.warmup_stable_decay(0.1, 1, -1, 1), "stable_steps must be at least 0"),
        (lambda: s.cyclic(0.1, 0.2, scale_fn=abs, scale_mode="x"), "scale_mode must be 'cycle'"),
        (lambda: s.one_cycle(0.1, 10, pct_start=-0.1), "pct_start must be between"),
        (lambda: s.noam(0), "d_model must be more than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: s.step_decay(0.1, "3"), "step_size must be a number or a Tensor, not '3'"),
        (lambda: s.warmup(0.1, None), "steps must be a number or a Tensor, not None"),
        (lambda: s.constant(0.1, factor="a"), "factor must be a number or a Tensor, not 'a'"),
        (lambda: s.multi_step_decay(0.1, 3), r"milestones must be a list of steps, not 3"),
        (lambda: s.sequential([0.1, 0.2], 3), r"milestones must be a list of steps, not 3"),
        (lambda: s.sequential(0.1, [3]), r"schedules must be a list, not 0.1"),
        (lambda: s.lambda_(0.1, 0.5), "lr_lambda must be a function of the step, not 0.5"),
        (lambda: s.multiplicative(0.1, 0.5), "lr_lambda must be a function of the step, not 0.5"),
        (lambda: s.cyclic(0.1, 0.2, scale_fn=3), "scale_fn must be a function"),
        (lambda: s.multiplicative(0.1, abs)(2.5), "a whole number of at least 0, not 2.5"),
        (lambda: s.multiplicative(0.1, abs)(-1), "a whole number of at least 0, not -1"),
        (lambda: s.multiplicative(0.1, abs)(tg.tensor([1, 2])), "a whole number of at least 0"),
    ],
)
def test_settings_of_the_wrong_kind_are_named(make, words):
    with pytest.raises(TypeError, match=words):
        make()


# -- pictures --------------------------------------------------------------------------------------
def test_plot():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    rate = s.warmup_cosine(tg.tensor(0.1, dtype="float64", requires_grad=True), 5, 30)
    axes = rate.plot(40, color="red")
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), [rate(step).item() for step in range(40)])
    assert axes.get_xlabel() == "step" and axes.get_title() == "warmup_cosine"
    assert s.constant(0.1).plot(ax=axes) is axes and len(axes.get_lines()) == 2
    pyplot.close("all")


def test_plot_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "tapegrad\[plot\]"'):
        s.constant(0.1).plot(3)


def test_a_picture_shows_what_comes_after_the_rise():
    assert span_of(s.noam(512)) == 16000 and span_of(s.inverse_square_root(0.1, 10)) == 40
    assert span_of(s.chained(s.warmup(0.1, 8), s.exponential_decay(1.0, 0.95))) == 110
    assert span_of(s.sequential([0.1, s.exponential_decay(0.1, 0.9)], [20])) == 130


def test_a_picture_of_many_steps_is_small_and_keeps_its_peaks():
    rate = s.lambda_(1.0, lambda step: 5.0 if step == 4321 else 1.0)
    picture = curve(values_of(rate, 8000), "peak")
    assert len(picture) < 15000 and ">5</text>" in picture and ">7999</text>" in picture
    assert ",18.0" in picture  # the peak is drawn


def test_a_picture_leaves_out_what_is_not_finite():
    rate = s.lambda_(0.1, lambda step: math.nan if step > 3 else math.inf if step == 2 else step)
    picture = rate._repr_svg_()
    xml.dom.minidom.parseString(picture)
    assert "nan" not in picture and "inf" not in picture and ">0.3</text>" in picture
    xml.dom.minidom.parseString(s.constant(math.nan)._repr_svg_())


@pytest.mark.parametrize("steps", [0, -1, 2.5, "a"])
def test_a_plot_of_no_steps_is_refused(steps):
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1, not"):
        s.constant(0.1).plot(steps)


def test_pictures_of_odd_schedules():
    rate = s.lambda_(0.1, lambda step: 1.0)
    assert "<title>lambda_(rate=0.1, lr_lambda=&lt;function" in rate._repr_svg_()
    assert rate.settings["rate"] == 0.1
    nested = s.chained(s.warmup(s.cosine_decay(0.1, 40), 10), 0.5)
    assert repr(nested) == (
        "chained(warmup(schedule=cosine_decay(peak=0.1, steps=40, floor=0.0), steps=10), 0.5)"
    )
    assert span_of(nested) == 62
    assert values_of(nested, 2) == pytest.approx([0.005, 0.01])
    assert span_of(s.cosine_annealing(0.1, tg.tensor(10.0))) == 24
