"""Schedulers: torch's sequences, snapshots, and derivatives of training by their settings."""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim import lr_scheduler, schedules

DATA = Path(__file__).parent / "data" / "schedules.json"
STORED = json.loads(DATA.read_text()) if DATA.exists() else {}
#: Functions of the epoch, by name.
FUNCTIONS = {
    "power": lambda epoch: 0.95**epoch,
    "halves": lambda epoch: 0.5 if epoch % 4 == 3 else 1.0,
    "wave": lambda epoch: 1.5 + math.cos(epoch),
    "tenth": lambda x: 1 / (1 + 0.1 * x),
}
#: (class, settings); lists of them are made one after the other on one optimizer. The keys
#: "steps", "optimizer", "groups" and "touch" (somebody multiplies the rate) are the problem's.
ONE = {
    "ConstantLR": {},
    "ConstantLR 7": {"factor": 0.25, "total_iters": 7},
    "LinearLR": {},
    "LinearLR down": {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 11},
    "StepLR": {"step_size": 10, "gamma": 0.5},
    "StepLR 1": {"step_size": 1},
    "MultiStepLR": {"milestones": [3, 8, 8, 20], "gamma": 0.5},
    "ExponentialLR": {"gamma": 0.95},
    "PolynomialLR": {"total_iters": 12},
    "PolynomialLR 2": {"total_iters": 12, "power": 2.0},
    "PolynomialLR 0.5": {"total_iters": 12, "power": 0.5},
    "LambdaLR": {"lr_lambda": "power"},
    "MultiplicativeLR": {"lr_lambda": "halves"},
    "CosineAnnealingLR": {"T_max": 50},
    "CosineAnnealingLR again": {"T_max": 7, "eta_min": 0.01},
    "CosineAnnealingLR above": {"T_max": 5, "eta_min": 0.2},
    "CosineAnnealingWarmRestarts": {"T_0": 7, "eta_min": 0.003},
    "CosineAnnealingWarmRestarts 2": {"T_0": 2, "T_mult": 2},
    "CosineAnnealingWarmRestarts 3": {"T_0": 1, "T_mult": 3},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 40},
    "OneCycleLR linear": {"max_lr": 0.5, "total_steps": 40, "anneal_strategy": "linear"},
    "OneCycleLR three": {"max_lr": 1.0, "epochs": 8, "steps_per_epoch": 5, "three_phase": True},
    "OneCycleLR early": {
        "max_lr": 1.0,
        "total_steps": 41,
        "pct_start": 0.11,
        "div_factor": 10.0,
        "final_div_factor": 100.0,
    },
    "OneCycleLR short": {"max_lr": 1.0, "total_steps": 40, "pct_start": 0.01},
    "OneCycleLR still": {"max_lr": 1.0, "total_steps": 40, "cycle_momentum": False},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 5},
    "CyclicLR uneven": {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3, "step_size_down": 7},
    "CyclicLR triangular2": {
        "base_lr": 0.1,
        "max_lr": 0.5,
        "step_size_up": 4,
        "mode": "triangular2",
        "base_momentum": 0.5,
    },
    "CyclicLR exp_range": {
        "base_lr": 0.1,
        "max_lr": 0.5,
        "step_size_up": 4,
        "mode": "exp_range",
        "gamma": 0.97,
    },
    "CyclicLR own": {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "scale_fn": "tenth"},
    "CyclicLR own steps": {
        "base_lr": 0.1,
        "max_lr": 0.5,
        "step_size_up": 4,
        "scale_fn": "tenth",
        "scale_mode": "iterations",
    },
}
CASES = {key: {"parts": [(key.split()[0], settings)]} for key, settings in ONE.items()}
_WARM = ("ConstantLR", {"factor": 0.1, "total_iters": 5})
_LINEAR = ("LinearLR", {"start_factor": 0.1, "total_iters": 6})
_EXP = ("ExponentialLR", {"gamma": 0.9})
_COS = ("CosineAnnealingLR", {"T_max": 8, "eta_min": 0.01})
_STEP = ("StepLR", {"step_size": 4, "gamma": 0.5})
_LAMBDA = ("LambdaLR", {"lr_lambda": "wave"})
CASES |= {
    # two at once, in a chain and without
    "two": {"parts": [_LINEAR, _EXP]},
    "chain": {"parts": [_WARM, _EXP], "of": "ChainedScheduler"},
    "chain of three": {"parts": [_LINEAR, _EXP, _STEP], "of": "ChainedScheduler"},
    "chain with cosine": {"parts": [_WARM, _COS], "of": "ChainedScheduler"},
    "chain past zero": {
        "parts": [_EXP, ("CosineAnnealingLR", {"T_max": 6})],
        "of": "ChainedScheduler",
    },
    "chain after lambda": {"parts": [_LAMBDA, _EXP], "of": "ChainedScheduler"},
    "chain before lambda": {"parts": [_EXP, _LAMBDA], "of": "ChainedScheduler"},
    "chain of products": {
        "parts": [("MultiplicativeLR", {"lr_lambda": "wave"}), _STEP],
        "of": "ChainedScheduler",
    },
    "chain past an end": {
        "parts": [("PolynomialLR", {"total_iters": 9}), _EXP],
        "of": "ChainedScheduler",
    },
    # one after the other
    "sequence": {"parts": [_WARM, _EXP], "of": "SequentialLR", "milestones": [5]},
    "sequence of three": {
        "parts": [_LINEAR, _COS, _STEP],
        "of": "SequentialLR",
        "milestones": [6, 14],
    },
    "sequence into restarts": {
        "parts": [_EXP, ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2})],
        "of": "SequentialLR",
        "milestones": [4],
    },
    "sequence into lambda": {"parts": [_COS, _LAMBDA], "of": "SequentialLR", "milestones": [3]},
    "sequence into products": {
        "parts": [_COS, ("MultiplicativeLR", {"lr_lambda": "wave"}), _STEP],
        "of": "SequentialLR",
        "milestones": [3, 9],
    },
    "sequence from cycles": {
        "parts": [("CyclicLR", {"base_lr": 0.02, "max_lr": 0.5, "step_size_up": 5}), _EXP],
        "of": "SequentialLR",
        "milestones": [7],
    },
    # somebody else changes the rate
    "touched": {"parts": [_EXP], "touch": {7: 0.5, 20: 3.0}},
    "touched cosine": {"parts": [_COS], "touch": {4: 0.5, 11: 2.0}},
    "touched lambda": {"parts": [_LAMBDA], "touch": {4: 0.5}},
    # groups, and optimizers with betas
    "groups": {"parts": [_COS], "groups": 2},
    "lists of functions": {
        "parts": [("LambdaLR", {"lr_lambda": ["power", "wave"]})],
        "groups": 2,
    },
    "lists of rates": {
        "parts": [("OneCycleLR", {"max_lr": [1.0, 0.2], "total_steps": 40})],
        "groups": 2,
    },
    "lists of ends": {
        "parts": [
            (
                "CyclicLR",
                {
                    "base_lr": [0.1, 0.2],
                    "max_lr": [0.5, 0.3],
                    "step_size_up": 4,
                    "base_momentum": [0.7, 0.8],
                    "max_momentum": [0.9, 0.95],
                },
            )
        ],
        "groups": 2,
    },
    "betas": {"parts": [("OneCycleLR", ONE["OneCycleLR"])], "optimizer": "Adam"},
    "betas in cycles": {"parts": [("CyclicLR", ONE["CyclicLR"])], "optimizer": "Adam"},
    # epochs given
    "epochs": {"parts": [_COS], "epochs": {5: 20, 9: 3}},
    "epochs of steps": {"parts": [_STEP], "epochs": {5: 20, 9: 3}},
    "fractions": {
        "parts": [("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2})],
        "epochs": {3: 2.5, 6: 26, 12: 3.25},
    },
}
STEPS = 40


def with_functions(settings):
    def found(value):
        if isinstance(value, list):
            return [found(part) for part in value]
        return FUNCTIONS.get(value, value) if isinstance(value, str) else value

    return {name: found(value) for name, value in settings.items()}


def make(module, ones, case):
    """An optimizer and its schedulers, for torch or for tapegrad."""
    form = case.get("optimizer", "SGD")
    rest = {} if form == "Adam" else {"momentum": 0.9}
    groups = [
        {"params": [ones(1, requires_grad=True)], "lr": 0.1 * (k + 1)}
        for k in range(case.get("groups", 1))
    ]
    optimizer = getattr(module, form)(groups, lr=0.1, **rest)
    forms = module.lr_scheduler
    made = [getattr(forms, name)(optimizer, **with_functions(s)) for name, s in case["parts"]]
    if case.get("of") == "ChainedScheduler":
        made = [forms.ChainedScheduler(made)]
    elif case.get("of") == "SequentialLR":
        made = [forms.SequentialLR(optimizer, made, milestones=case["milestones"])]
    return optimizer, made


def now(optimizer):
    """What a scheduler may have written."""
    found = []
    for group in optimizer.param_groups:
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        found.append([float(group["lr"]), float(momentum)])
    return found


def sequence(module, ones, key):
    case = CASES[key]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer, made = make(module, ones, case)
        found = [now(optimizer)]
        for step in range(1, STEPS + 1):
            optimizer.step()
            for scheduler in made:
                if step in case.get("epochs", {}):
                    scheduler.step(case["epochs"][step])
                else:
                    scheduler.step()
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * case.get("touch", {}).get(step, 1.0)
            found.append(now(optimizer))
    return found


@pytest.mark.parametrize("key", CASES)
def test_torchs_sequences(key):
    found, expected = np.array(sequence(optim, tg.ones, key)), np.array(STORED["sequences"][key])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


# -- plateaus --------------------------------------------------------------------------------------
METRICS = [1.0, 0.9, 0.95, 0.9, 0.91, 0.8, 0.8, 0.8, 0.8, 0.79995, 0.8, 0.7, 0.9, 0.9, 0.9, 0.9]
METRICS += [0.9, 0.9, float("nan"), 0.9, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, -0.1, -0.1, -0.2, -0.2, 1.0]
METRICS += [1.0] * 12
PLATEAUS = {
    "default": {},
    "patience": {"patience": 2, "factor": 0.5},
    "none": {"patience": 0, "factor": 0.9},
    "max": {"mode": "max", "patience": 3, "factor": 0.5},
    "max abs": {"mode": "max", "patience": 1, "threshold_mode": "abs", "threshold": 0.05},
    "abs": {"patience": 2, "threshold_mode": "abs", "threshold": 0.15, "factor": 0.7},
    "cooldown": {"patience": 1, "cooldown": 3, "factor": 0.5},
    "floor": {"patience": 0, "factor": 0.5, "min_lr": 0.03},
    "floors": {"patience": 0, "factor": 0.5, "min_lr": [0.03, 0.1]},
    "eps": {"patience": 0, "factor": 0.5, "eps": 0.01},
}
KERAS = {
    "default": {"patience": 3},
    "patience 0": {"patience": 0, "factor": 0.8},
    "cooldown": {"patience": 2, "cooldown": 3, "factor": 0.5},
    "cooldown 1": {"patience": 2, "cooldown": 1, "factor": 0.5, "min_lr": 0.01},
    "delta": {"patience": 2, "factor": 0.7, "min_delta": 0.15},
}


def plateau(module, ones, settings):
    case = {"groups": 2, "parts": [("ReduceLROnPlateau", settings)]}
    optimizer, (scheduler,) = make(module, ones, case)
    found = []
    for metric in METRICS:
        scheduler.step(metric)
        kept = [scheduler.num_bad_epochs, scheduler.cooldown_counter, scheduler.best]
        found.append([group["lr"] for group in optimizer.param_groups] + kept)
    return found


@pytest.mark.parametrize("key", PLATEAUS)
def test_torchs_plateaus(key):
    found = plateau(optim, tg.ones, PLATEAUS[key])
    np.testing.assert_allclose(found, STORED["plateaus"][key], rtol=1e-12)


@pytest.mark.parametrize("key", KERAS)
def test_keras_is_off_by_one(key):
    given = dict(KERAS[key])
    given["patience"] = max(given["patience"] - 1, 0)
    given["cooldown"] = max(given.get("cooldown", 0) - 1, 0)
    given["threshold"] = given.pop("min_delta", 1e-4)
    rule = schedules.reduce_on_plateau(0.1, threshold_mode="abs", eps=0.0, **given)
    state, found = rule.init(), []
    for metric in METRICS:
        rate, state = rule.update(metric, state)
        found.append(rate)
    np.testing.assert_allclose(found, STORED["keras"][key], rtol=1e-6)


def test_a_plateau_has_derivatives():
    rate, factor, floor = (
        tg.tensor(v, dtype="float64", requires_grad=True) for v in (0.1, 0.5, 0.02)
    )
    rule = schedules.reduce_on_plateau(rate, factor=factor, patience=0, min_lr=floor)
    state = rule.init()
    for metric in (1.0, tg.tensor(1.0, requires_grad=True) * 2, tg.tensor(1.5)):
        now, state = rule.update(metric, state)
    assert now.item() == pytest.approx(0.025)
    by = [g.item() for g in tg.grad(now, [rate, factor, floor], retain_graph=True)]
    assert by == pytest.approx([0.25, 0.1, 0.0])
    now, state = rule.update(3.0, state)
    by = [g.item() for g in tg.grad(now, [rate, factor, floor])]
    assert by == pytest.approx([0.0, 0.0, 1.0])
    assert not getattr(state.best, "requires_grad", False)


def test_plateau_refuses():
    optimizer, _ = make(optim, tg.ones, {"parts": []})
    with pytest.raises(ValueError, match="factor must be below 1"):
        lr_scheduler.ReduceLROnPlateau(optimizer, factor=1.0)
    with pytest.raises(ValueError, match="mode must be 'min' or 'max'"):
        lr_scheduler.ReduceLROnPlateau(optimizer, mode="least")
    with pytest.raises(ValueError, match="threshold_mode must"):
        lr_scheduler.ReduceLROnPlateau(optimizer, threshold_mode="relative")
    with pytest.raises(ValueError, match="min_lr has 2 values"):
        lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=[0.1, 0.2])
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for loss in (1.0, tg.tensor(1.0)):
        scheduler.step(loss)
    assert scheduler.get_last_lr() == [pytest.approx(0.01)] == scheduler.get_lr()
    assert scheduler.in_cooldown is False
    with pytest.warns(UserWarning, match="deprecated"):
        scheduler.step(1.0, epoch=7)
    assert scheduler.last_epoch == 7
    with pytest.raises(NotImplementedError):
        scheduler.plot()
    assert scheduler._repr_svg_() is None and "patience=0" in repr(scheduler)


# -- the shell -------------------------------------------------------------------------------------
def test_the_numbers_of_the_articles():
    def after(scheduler, steps):
        optimizer = scheduler.optimizer
        for _ in range(steps):
            optimizer.step()
            scheduler.step()
        return scheduler.get_last_lr()[0]

    def sgd():
        return optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)

    halving = lr_scheduler.StepLR(sgd(), 10, 0.5)
    assert [after(halving, 10), after(halving, 10)] == [0.05, 0.025]
    assert after(lr_scheduler.ExponentialLR(sgd(), 0.95), 10) == pytest.approx(0.0598737, rel=1e-6)
    cosine = lr_scheduler.CosineAnnealingLR(sgd(), 50)
    assert [after(cosine, 25), after(cosine, 25)] == [pytest.approx(0.05), 0.0]
    assert after(cosine, 50) == pytest.approx(0.1)  # it rises again


def test_signatures_are_torchs():
    expected = {
        "ConstantLR": "factor total_iters last_epoch",
        "LinearLR": "start_factor end_factor total_iters last_epoch",
        "StepLR": "step_size gamma last_epoch",
        "MultiStepLR": "milestones gamma last_epoch",
        "ExponentialLR": "gamma last_epoch",
        "PolynomialLR": "total_iters power last_epoch",
        "LambdaLR": "lr_lambda last_epoch",
        "MultiplicativeLR": "lr_lambda last_epoch",
        "CosineAnnealingLR": "T_max eta_min last_epoch",
        "CosineAnnealingWarmRestarts": "T_0 T_mult eta_min last_epoch",
        "OneCycleLR": "max_lr total_steps epochs steps_per_epoch pct_start anneal_strategy "
        "cycle_momentum base_momentum max_momentum div_factor final_div_factor three_phase "
        "last_epoch",
        "CyclicLR": "base_lr max_lr step_size_up step_size_down mode gamma scale_fn scale_mode "
        "cycle_momentum base_momentum max_momentum last_epoch",
        "ReduceLROnPlateau": "mode factor patience threshold threshold_mode cooldown min_lr eps",
        "SequentialLR": "schedulers milestones last_epoch",
    }
    for name, words in expected.items():
        found = inspect.signature(getattr(lr_scheduler, name)).parameters
        assert list(found) == ["optimizer", *words.split()]
    assert inspect.signature(lr_scheduler.ConstantLR).parameters["factor"].default == 1 / 3
    assert inspect.signature(lr_scheduler.ConstantLR).parameters["total_iters"].default == 5
    with pytest.raises(TypeError, match=r"StepLR\(optimizer, step_size, gamma=0.1"):
        lr_scheduler.StepLR(make(optim, tg.ones, {"parts": []})[0])


@pytest.mark.parametrize("key", CASES)
def test_a_snapshot_resumes_bit_for_bit(key):
    case = CASES[key]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def go(optimizer, made, steps):
            found = []
            for _ in range(steps):
                optimizer.step()
                for scheduler in made:
                    scheduler.step()
                found.append(now(optimizer))
            return found

        optimizer, made = make(optim, tg.ones, case)
        go(optimizer, made, 9)
        snapshot = pickle.loads(
            pickle.dumps((optimizer.state_dict(), [s.state_dict() for s in made]))
        )
        expected = go(optimizer, made, 12)
        other, again = make(optim, tg.ones, case)
        go(other, again, 2)
        other.load_state_dict(snapshot[0])
        for scheduler, state in zip(again, snapshot[1], strict=True):
            scheduler.load_state_dict(state)
        assert go(other, again, 12) == expected


def test_snapshots_of_callable_objects_and_of_plateaus():
    class Factor:
        def __init__(self, by):
            self.by = by

        def __call__(self, epoch):
            return self.by**epoch

    def made(by):
        return lr_scheduler.LambdaLR(make(optim, tg.ones, {"parts": []})[0], Factor(by))

    first, second = made(0.5), made(0.9)
    assert first.state_dict()["lr_lambda"] == {"by": 0.5}
    second.load_state_dict(first.state_dict())
    assert second.lr_lambda.by == 0.5
    optimizer = make(optim, tg.ones, {"parts": []})[0]
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
    for loss in (1.0, 0.5, 0.6):
        plateau.step(loss)
    other = lr_scheduler.ReduceLROnPlateau(optimizer)
    other.load_state_dict(plateau.state_dict())
    assert (other.best, other.num_bad_epochs, other.patience) == (0.5, 1, 3)


def test_a_snapshot_of_another_kind_is_refused():
    optimizer = make(optim, tg.ones, {"parts": []})[0]
    step = lr_scheduler.StepLR(optimizer, 3)
    with pytest.raises(ValueError, match=r"differs in \['gamma', 'power', 'step_size'"):
        step.load_state_dict(lr_scheduler.PolynomialLR(optimizer).state_dict())
    two = make(optim, tg.ones, {"parts": [("StepLR", {"step_size": 3})], "groups": 2})[1][0]
    with pytest.raises(ValueError, match="of 2 group"):
        step.load_state_dict(two.state_dict())


def test_a_snapshot_that_does_not_fit_changes_nothing():
    def made(*names):
        optimizer = make(optim, tg.ones, {"parts": []})[0]
        forms = {"step": ("StepLR", {"step_size": 2}), "exp": ("ExponentialLR", {"gamma": 0.9})}
        parts = [getattr(lr_scheduler, forms[n][0])(optimizer, **forms[n][1]) for n in names]
        milestones = list(range(4, 3 + len(parts)))
        scheduler = lr_scheduler.SequentialLR(optimizer, parts, milestones)
        optimizer.step()
        scheduler.step()
        return scheduler

    whole = made("step", "exp").state_dict()
    torn = copy.deepcopy(whole)
    del torn["_schedulers"][1]["gamma"]
    for scheduler, state, words in (
        (made("exp", "step"), whole, "differs in"),
        (made("step", "exp"), torn, "differs in"),
        (made("step", "exp", "exp"), whole, "of 2 schedulers, here there are 3"),
        (made("step", "exp"), None, "a snapshot is a dict"),
    ):
        before = scheduler.state_dict()
        with pytest.raises(ValueError, match=words):
            scheduler.load_state_dict(state)
        assert scheduler.state_dict() == before


def test_resuming_by_last_epoch():
    optimizer = make(optim, tg.ones, {"parts": []})[0]
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.ExponentialLR(optimizer, 0.5, last_epoch=3)
    group = optimizer.param_groups[0]
    group["initial_lr"], group["lr"] = 0.1, 0.1 * 0.5**4
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5, last_epoch=3)
    assert (scheduler.last_epoch, scheduler.base_lrs) == (4, [0.1])
    assert scheduler.get_last_lr() == [0.1 * 0.5**4]
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [pytest.approx(0.1 * 0.5**5)]
    w = tg.ones(1, requires_grad=True)
    given = optim.SGD([{"params": [w], "lr": 0.05, "initial_lr": 0.1}])
    assert lr_scheduler.LambdaLR(given, lambda epoch: epoch, last_epoch=1).get_last_lr() == [0.2]


def test_the_wrong_order_is_warned_of():
    optimizer, (scheduler,) = make(optim, tg.ones, {"parts": [("StepLR", {"step_size": 3})]})
    with pytest.warns(UserWarning, match=r"before optimizer\.step"):
        scheduler.step()
    optimizer, (scheduler,) = make(optim, tg.ones, {"parts": [("StepLR", {"step_size": 3})]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
        scheduler.step()
    with pytest.warns(UserWarning, match="deprecated"):
        scheduler.step(6)
    assert scheduler.get_last_lr() == [pytest.approx(0.1 * 0.1**2)]


def test_what_makes_no_sense_is_refused():
    optimizer = make(optim, tg.ones, {"parts": []})[0]
    for form, settings, words in (
        ("ConstantLR", {"factor": 1.5}, "factor must be between"),
        ("LinearLR", {"start_factor": 0.0}, "start_factor must be more"),
        ("LinearLR", {"end_factor": 1.5}, "end_factor must be between"),
        ("StepLR", {"step_size": 0}, "step_size must be more"),
        ("CosineAnnealingLR", {"T_max": 0}, "T_max must be more"),
        ("CosineAnnealingWarmRestarts", {"T_0": -1}, "T_0 must be more"),
        ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 0}, "T_mult must be at least 1"),
        ("OneCycleLR", {"max_lr": 1.0}, "give total_steps"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 0}, "total_steps must be more"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "pct_start": 2.0}, "pct_start must"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "anneal_strategy": "x"}, "'cos' or"),
        ("OneCycleLR", {"max_lr": [1.0, 2.0], "total_steps": 9}, "max_lr has 2 values"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "mode": "square"}, "mode must be one of"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 0}, "step_size_up must"),
        ("LambdaLR", {"lr_lambda": [abs, abs]}, "lr_lambda has 2 values"),
    ):
        with pytest.raises(ValueError, match=words):
            getattr(lr_scheduler, form)(optimizer, **settings)
    with pytest.raises(TypeError, match="lr_lambda must be a function"):
        lr_scheduler.MultiplicativeLR(optimizer, 0.5)
    with pytest.raises(TypeError, match="not an Optimizer"):
        lr_scheduler.StepLR([], 3)
    with pytest.raises(ValueError, match="Adam has no parameters yet"):
        lr_scheduler.StepLR(optim.Adam(), 3)
    with pytest.raises(TypeError, match="lr_lambda must be a function"):
        lr_scheduler.LambdaLR(optimizer, [0.5])
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer)
    for metric in ("a", None, tg.ones(3)):
        with pytest.raises(TypeError, match="the metric must be one number"):
            plateau.step(metric)
        assert plateau.last_epoch == 0
    with pytest.raises(ValueError, match="div_factor must be more than 0"):
        lr_scheduler.OneCycleLR(optimizer, 1.0, 9, div_factor=0)
    with pytest.raises(TypeError, match="is a schedule"):
        lr_scheduler.StepLR(optim.SGD([tg.ones(1)], lr=schedules.constant(0.1)), 3)
    plain = optim.Adagrad([tg.ones(1, requires_grad=True)])
    with pytest.raises(ValueError, match="neither momentum nor betas"):
        lr_scheduler.OneCycleLR(plain, 1.0, 10)
    one = lr_scheduler.StepLR(optimizer, 3)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer)
    elsewhere = make(optim, tg.ones, {"parts": [("StepLR", {"step_size": 3})]})[1][0]
    for parts, words in (
        ([], "at least one"),
        ([one, plateau], r"schedulers\[1\] is a ReduceLROnPlateau"),
        ([one, elsewhere], r"schedulers\[1\] has another optimizer"),
    ):
        with pytest.raises(ValueError, match=words):
            lr_scheduler.ChainedScheduler(parts)
        with pytest.raises(ValueError, match=words):
            lr_scheduler.SequentialLR(optimizer, parts, [3] * (len(parts) - 1))
    with pytest.raises(ValueError, match="2 schedulers need 1 milestones"):
        lr_scheduler.SequentialLR(optimizer, [one, one], [])
    with pytest.raises(ValueError, match="must not fall, as from 5 to 3"):
        lr_scheduler.SequentialLR(optimizer, [one, one, one], [5, 3])
    with pytest.raises(TypeError, match="not a scheduler"):
        lr_scheduler.ChainedScheduler([schedules.constant(0.1)], optimizer)


def test_a_refused_scheduler_leaves_the_optimizer_as_it_was():
    optimizer = make(optim, tg.ones, {"parts": []})[0]
    (group,) = optimizer.param_groups
    before = dict(group)
    for form, settings in (
        ("StepLR", {"step_size": 0}),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "pct_start": 2.0}),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "max_momentum": "high"}),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "mode": "square"}),
    ):
        with pytest.raises((ValueError, TypeError)):
            getattr(lr_scheduler, form)(optimizer, **settings)
        assert group == before


def test_a_cycle_ends():
    optimizer, (scheduler,) = make(
        optim, tg.ones, {"parts": [("OneCycleLR", {"max_lr": 1.0, "total_steps": 3})]}
    )
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    with pytest.raises(ValueError, match="beyond the 3 steps"):
        scheduler.step()
    assert scheduler.last_epoch == 3


def test_a_group_added_later_is_named():
    optimizer, (scheduler,) = make(optim, tg.ones, {"parts": [("StepLR", {"step_size": 3})]})
    optimizer.add_param_group({"params": [tg.ones(1, requires_grad=True)]})
    optimizer.step()
    with pytest.raises(RuntimeError, match="has 2 groups, but had 1"):
        scheduler.step()
    assert scheduler.last_epoch == 0


def test_sequences_and_chains_within_each_other():
    """As the functions of the step say; torch cannot."""
    optimizer = make(optim, tg.ones, {"parts": []})[0]
    inner = lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(optimizer, 0.9), lr_scheduler.StepLR(optimizer, 2, 0.5)]
    )
    first = lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=3)
    scheduler = lr_scheduler.SequentialLR(optimizer, [first, inner], [4])
    whole = scheduler._schedule(0)
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(12):
        optimizer.step()
        scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(found, [whole(step) for step in range(13)], rtol=1e-12)
    outer = lr_scheduler.ChainedScheduler([scheduler])
    assert outer.get_last_lr() == scheduler.get_last_lr()


def test_a_sequence_within_a_sequence_begins_from_the_initial_rate():
    optimizer = make(optim, tg.ones, {"parts": []})[0]
    halving = lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5)
    first, last = (lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=9) for _ in range(2))
    inner = lr_scheduler.SequentialLR(optimizer, [halving, last], [2])
    scheduler = lr_scheduler.SequentialLR(optimizer, [first, inner], [2])
    rate = scheduler._schedule(0)
    for step, expected in enumerate([0.05, 0.05, 0.1, 0.05, 0.05, 0.05]):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected) == rate(step)
        optimizer.step()
        scheduler.step()


def test_what_is_no_function_of_the_step_has_no_picture():
    """A part that writes its own rate, at times or always, undoes the others."""
    optimizer = make(optim, tg.ones, {"parts": []})[0]
    decay = lr_scheduler.ExponentialLR(optimizer, 0.9)
    other = lr_scheduler.StepLR(optimizer, 3)
    for part in (
        lr_scheduler.LambdaLR(optimizer, abs),
        lr_scheduler.CosineAnnealingLR(optimizer, 9, eta_min=0.01),
        lr_scheduler.SequentialLR(optimizer, [other, other], [2]),
        lr_scheduler.ChainedScheduler([decay, lr_scheduler.LambdaLR(optimizer, abs)]),
    ):
        for parts in ([part, decay], [decay, part]):
            chain = lr_scheduler.ChainedScheduler(parts)
            assert chain._repr_svg_() is None
            assert lr_scheduler.SequentialLR(optimizer, [chain], [])._repr_svg_() is None
            with pytest.raises(NotImplementedError, match="no factor of the rate"):
                chain.plot(5)


def test_a_subclass_may_say_its_rates_itself_as_in_torch():
    class Ramp(lr_scheduler.LRScheduler):
        def __init__(self, optimizer, length, last_epoch=-1):
            self.length = length
            super().__init__(optimizer, last_epoch)

        def get_lr(self):
            return [rate * min(1.0, (self.last_epoch + 1) / self.length) for rate in self.base_lrs]

    def go(scheduler, steps):
        for _ in range(steps):
            scheduler.optimizer.step()
            scheduler.step()
            yield scheduler.optimizer.param_groups[0]["lr"]

    optimizer = make(optim, tg.ones, {"parts": []})[0]
    ramp = Ramp(optimizer, 4)
    assert optimizer.param_groups[0]["lr"] == 0.025
    assert list(go(ramp, 2)) == [0.05, pytest.approx(0.075)]
    again = Ramp(make(optim, tg.ones, {"parts": []})[0], 9)
    again.load_state_dict(ramp.state_dict())
    assert again.length == 4 and list(go(again, 2)) == [0.1, 0.1]
    assert repr(again) == "Ramp(last_epoch=4)" and again._repr_svg_() is None
    with pytest.raises(NotImplementedError, match="Ramp says its rates by get_lr"):
        again.plot()
    with pytest.warns(UserWarning, match="deprecated"):
        again.step(1)
    assert again.get_last_lr() == [0.05]


def test_a_subclass_without_a_schedule_is_refused():
    class Nothing(lr_scheduler.LRScheduler):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing needs a schedule .* or get_lr"):
        Nothing(make(optim, tg.ones, {"parts": []})[0])


# -- the same function of the step -----------------------------------------------------------------
@pytest.mark.parametrize("key", [k for k in CASES if CASES[k].get("of") == "SequentialLR"])
def test_a_sequence_follows_its_function_of_the_step(key):
    optimizer, (scheduler,) = make(optim, tg.ones, CASES[key])
    rate = scheduler._schedule(0)
    for step in range(STEPS):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate(step), rel=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("key", ONE)
def test_the_scheduler_follows_its_function_of_the_step(key):
    """Exactly, and without a step of its own."""
    optimizer, (scheduler,) = make(optim, tg.ones, CASES[key])
    rate = scheduler._schedule(0)
    for step in range(STEPS):
        assert optimizer.param_groups[0]["lr"] == rate(step)
        assert type(optimizer.param_groups[0]["lr"]) is float
        optimizer.step()
        scheduler.step()


#: Settings that have a gradient, and what else the scheduler needs.
LEARNED = {
    "ConstantLR": ({"factor": 0.4}, {}),
    "LinearLR": ({"start_factor": 0.3, "end_factor": 0.8, "total_iters": 4.5}, {}),
    "StepLR": ({"gamma": 0.6}, {"step_size": 2}),
    "MultiStepLR": ({"gamma": 0.6}, {"milestones": [1, 3]}),
    "ExponentialLR": ({"gamma": 0.7}, {}),
    "PolynomialLR": ({"total_iters": 3.5, "power": 1.7}, {}),
    "CosineAnnealingLR": ({"T_max": 3.3, "eta_min": 0.01}, {}),
    "CosineAnnealingWarmRestarts": ({"T_0": 2.3, "eta_min": 0.01}, {}),
    "OneCycleLR": (
        {"max_lr": 0.05, "div_factor": 5.0, "base_momentum": 0.6, "max_momentum": 0.8},
        {"total_steps": 8},
    ),
    "CyclicLR": (
        {"base_lr": 0.01, "max_lr": 0.05, "gamma": 0.9, "step_size_up": 2.3, "max_momentum": 0.8},
        {"mode": "exp_range"},
    ),
}


@pytest.mark.parametrize("name", LEARNED)
def test_training_is_differentiated_by_what_the_scheduler_is_made_of(name):
    learned, fixed = LEARNED[name]
    own = name in ("OneCycleLR", "CyclicLR")
    at = {**learned, **({} if own else {"lr": 0.03})}

    def final(values, differentiable=True):
        values = dict(values)
        w = tg.tensor([1.0, -2.0], dtype="float64", requires_grad=True)
        rate = values.pop("lr", 0.1)
        optimizer = optim.SGD([w], lr=rate, momentum=0.5, differentiable=differentiable)
        scheduler = getattr(lr_scheduler, name)(optimizer, **values, **fixed)
        for _ in range(6):
            optimizer.zero_grad()
            ((w - 3.0) ** 2).sum().backward(create_graph=differentiable)
            optimizer.step()
            scheduler.step()
        return ((w - 3.0) ** 2).sum()

    leaves = {k: tg.tensor(v, dtype="float64", requires_grad=True) for k, v in at.items()}
    loss = final(leaves)
    assert all(leaf.grad is None for leaf in leaves.values())
    loss.backward()
    h = 1e-6
    for key, value in at.items():
        up, down = (final({**at, key: value + d}, False).item() for d in (h, -h))
        assert leaves[key].grad.item() == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-7)


def test_a_chain_is_differentiated():
    rate = tg.tensor(0.1, dtype="float64", requires_grad=True)
    gamma = tg.tensor(0.9, dtype="float64", requires_grad=True)
    factor = tg.tensor(0.3, dtype="float64", requires_grad=True)
    optimizer = optim.SGD([tg.ones(1, requires_grad=True)], lr=rate, differentiable=True)
    chain = lr_scheduler.ChainedScheduler(
        [
            lr_scheduler.ConstantLR(optimizer, factor, total_iters=9),
            lr_scheduler.ExponentialLR(optimizer, gamma),
        ]
    )
    for _ in range(4):
        optimizer.step()
        chain.step()
    (found,) = chain.get_last_lr()
    assert found.item() == pytest.approx(0.1 * 0.3 * 0.9**4)
    expected = [0.3 * 0.9**4, 0.1 * 0.3 * 4 * 0.9**3, 0.1 * 0.9**4]
    assert [g.item() for g in tg.grad(found, [rate, gamma, factor])] == pytest.approx(expected)


def test_a_snapshot_keeps_tensors_on_the_tape():
    rate = tg.tensor(0.1, dtype="float64", requires_grad=True)
    optimizer = optim.SGD([tg.ones(1, requires_grad=True)], lr=rate)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    scheduler.step()
    state = scheduler.state_dict()
    assert not state["base_lrs"][0].requires_grad
    scheduler.load_state_dict(state)
    scheduler.step()
    assert tg.grad(scheduler.get_last_lr()[0], rate)[0].item() == 0.25


def test_single_precision_stays():
    for name, settings in ONE.items():
        w = tg.ones(2, requires_grad=True)
        optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
        scheduler = getattr(lr_scheduler, name.split()[0])(optimizer, **with_functions(settings))
        for _ in range(2):
            w.grad = tg.ones(2)
            optimizer.step()
            scheduler.step()
        assert w.dtype == np.float32


def test_schedulers_show_themselves():
    pytest.importorskip("matplotlib").use("agg")
    for name in ("StepLR", "OneCycleLR", "CyclicLR"):
        scheduler = make(optim, tg.ones, CASES[name])[1][0]
        assert scheduler._repr_svg_().startswith("<svg")
        line = scheduler.plot(20).get_lines()[0]
        assert list(line.get_ydata()) == [scheduler._schedule(0)(step) for step in range(20)]
    chain = make(optim, tg.ones, CASES["chain before lambda"])[1][0]
    assert chain._repr_svg_() is None
    assert repr(chain).startswith("ChainedScheduler([ExponentialLR(gamma=0.9, last_epoch=0)")
    assert make(optim, tg.ones, CASES["chain"])[1][0]._repr_svg_().startswith("<svg")
    assert copy.deepcopy(schedules.constant(0.1))(3) == 0.1
