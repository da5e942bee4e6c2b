"""The report on which settings move the loss after training."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim import functional, sensitivity
from tapegrad.optim.sensitivities import Knob, Sensitivity

DRAW = np.random.default_rng(0)
X = tg.tensor(DRAW.normal(size=(20, 3)))
Y = tg.tensor(DRAW.normal(size=20))
START = [tg.tensor([0.3, -0.2, 0.1], dtype="float64")]


def loss(params, batch, delta=1.0, scale=1.0):
    return tg.losses.huber_loss(tg.tanh(X[:14] @ params[0]) * scale, Y[:14], delta=delta)


def outer(params):
    return tg.losses.mse_loss(X[14:] @ params[0], Y[14:])


report = functools.partial(sensitivity, loss=loss, params=START, batches=range(12), outer=outer)
GIVEN = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.05}
OF_LOSS = {"delta": 0.7, "scale": 1.2}


def test_every_knob_against_finite_differences():
    found = report(optim.AdamW, settings=GIVEN, loss_settings=OF_LOSS, max_norm=0.2)
    assert {knob.name for knob in found} == {
        *("lr", "betas[0]", "betas[1]", "eps", "weight_decay"),
        *("loss.delta", "loss.scale", "max_norm", "initial scale"),
    }

    def again(name, h):
        settings = GIVEN | {"betas": [*GIVEN["betas"]]}
        of_loss, limit, params = dict(OF_LOSS), 0.2, START
        if name in settings:
            settings[name] += h
        elif name.startswith("betas"):
            settings["betas"][int(name[6])] += h
        elif name.startswith("loss."):
            of_loss[name[5:]] += h
        elif name == "max_norm":
            limit += h
        else:
            params = [w * (1.0 + h) for w in START]
        settings["betas"] = tuple(settings["betas"])
        return report(
            functional.adamw,
            settings=settings,
            loss_settings=of_loss,
            max_norm=limit,
            params=params,
        ).loss

    assert again("lr", 0.0) == pytest.approx(found.loss, rel=1e-12)
    for knob in found:
        expected = (again(knob.name, 1e-5) - again(knob.name, -1e-5)) / 2e-5
        assert knob.gradient == pytest.approx(expected, rel=1e-5, abs=1e-8), knob.name
        assert knob.elasticity == pytest.approx(knob.value * knob.gradient, rel=1e-12)
        assert knob.gradient != 0.0


def test_strongest_first_and_by_name():
    found = report(functional.sgd, settings={"lr": 0.1, "momentum": 0.5}, loss_settings=OF_LOSS)
    sizes = [abs(knob.elasticity) for knob in found]
    assert sizes == sorted(sizes, reverse=True)
    assert len(found) == 7
    assert found["weight_decay"].value == 0.0 and found["weight_decay"].elasticity == 0.0
    assert found["weight_decay"].gradient != 0.0
    with pytest.raises(KeyError, match=r"'rate' is none of the knobs \["):
        found["rate"]


def test_a_finished_rule_and_knobs_by_name():
    peak = tg.tensor(0.2, dtype="float64")
    layers = tg.tensor([0.5, 1.0, 2.0], dtype="float64")
    rate = optim.schedules.cosine_decay(peak, 12)
    rule = functional.sgd(lambda step: rate(step) * layers)
    found = report(rule, knobs={"peak": peak, "layers": layers})
    assert {knob.name for knob in found} == {"peak", "layers", "initial scale"}
    # both are factors of the same rate
    assert found["peak"].elasticity == pytest.approx(found["layers"].elasticity, rel=1e-10)
    assert found["layers"].value == pytest.approx(3.5 / 3)
    assert not peak.requires_grad
    with pytest.raises(TypeError, match="a finished rule has its settings"):
        report(rule, settings={"lr": 0.1})
    with pytest.raises(ValueError, match="two knobs called 'max_norm'"):
        report(rule, max_norm=1.0, knobs={"max_norm": peak})


def test_knobs_however_numbers_are_written():
    """As whole numbers, NumPy's, in a list, by Keras's names; the rule by its name."""
    expected = report(functional.adam, settings={"lr": 1.0, "betas": (0.5, 0.9)})
    for rule, settings in (
        (functional.adam, {"lr": 1, "betas": [0.5, np.float64(0.9)]}),
        (optim.Adam, {"learning_rate": np.float64(1.0), "beta_1": 0.5, "beta_2": 0.9}),
        ("adam", {"lr": tg.tensor(1.0, dtype="float64"), "betas": (0.5, 0.9)}),
    ):
        assert list(report(rule, settings=settings)) == list(expected)
    found = report("Nesterov", settings={"lr": np.float32(0.5), "momentum": 0}, max_norm=1)
    assert {"lr", "momentum", "max_norm"} <= {knob.name for knob in found}
    assert found["lr"].value == 0.5 and found["momentum"].value == 0.0


def test_under_no_grad():
    with tg.no_grad():
        found = report(functional.sgd, settings={"lr": 0.1})
    assert list(found) == list(report(functional.sgd, settings={"lr": 0.1}))


def test_refuses():
    for rule in (3, optim.SGD([tg.ones(1, requires_grad=True)])):
        with pytest.raises(
            TypeError, match="rule must be a rule, a function or a class of one, or"
        ):
            report(rule)
    with pytest.raises(ValueError, match="no optimizer is called 'nestrov'; near it"):
        report("nestrov")
    with pytest.raises(TypeError, match=r"knobs\['a'\] must be a Tensor of floats.*not float"):
        report(functional.sgd, knobs={"a": 3.0})
    with pytest.raises(TypeError, match="sgd has no setting 'rate'; it has lr, momentum"):
        report(functional.sgd, settings={"rate": 3.0})


def test_a_knob_without_effect_is_last():
    found = report(functional.sgd, settings={"lr": 0.1}, max_norm=1e6, method="forward")
    assert found["max_norm"].gradient == 0.0
    again = report(functional.sgd, settings={"lr": 0.1}, knobs={"unused": tg.tensor(2.0)})
    assert again["unused"] == Knob("unused", 2.0, 0.0, 0.0)
    assert again.knobs[-1].name == "unused"


def test_what_has_no_derivative_is_no_knob():
    names = {knob.name for knob in report(optim.ASGD, settings={"lr": 0.1})}
    assert "t0" not in names and {"lr", "lambd", "alpha"} <= names


@pytest.mark.parametrize("method", ["checkpoint", "forward"])
def test_the_methods_agree(method):
    run = functools.partial(report, optim.AdamW, settings=GIVEN, loss_settings=OF_LOSS)
    found, expected = run(method=method), run(method="reverse")
    for knob in expected:
        assert found[knob.name].gradient == pytest.approx(knob.gradient, rel=1e-8, abs=1e-12)


def test_shows_itself():
    found = Sensitivity(
        0.5, (Knob("lr", 0.1, -2.0, -0.2), Knob("a<b", 2.0, 0.05, 0.1), Knob("eps", 1e-8, 0.0, 0.0))
    )
    lines = repr(found).splitlines()
    assert lines[0] == "loss 0.5"
    assert [line.split()[0] for line in lines[1:]] == ["knob", "lr", "a<b", "eps"]
    assert len({len(line) for line in lines[1:]}) == 1
    page = found._repr_html_()
    assert re.findall(r"width:([\d.]+)em", page) == ["12.00", "6.00", "0.00"]
    assert "a&lt;b" in page and "a<b" not in page
    assert page.index("#4c72b0") < page.index("#c44e52")  # lr lowers the loss, the next raises it
    nothing = Sensitivity(0.5, (Knob("x", 0.0, 0.0, 0.0),))
    assert "width:0.00em" in nothing._repr_html_()
