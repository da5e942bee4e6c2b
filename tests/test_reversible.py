"""Training in whole numbers, traced back: how far it agrees, what it keeps, what it refuses."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.optim import functional, unroll
from tapegrad.optim.reversible import ExactMomentum, Track, preimages, scaled_down


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


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.9},
        {"momentum": 0.5, "dampening": 0.3, "weight_decay": 0.01},
        {"momentum": 0.99, "lr": 0.005},
        {"momentum": math.pi / 4},
        {"momentum": 1.0, "lr": 0.01},
        {
            "momentum": lambda step: 0.5 + 0.4 * min(step / 50, 1.0),
            "lr": lambda step: 0.1 / (1 + step),
        },
        {"momentum": 0.9, "maximize": True, "lr": 1e-3},
    ],
    ids=["0.9", "dampened", "0.99", "pi/4", "1", "schedules", "maximize"],
)
def test_reversible_agrees_to_1e_9(settings):
    """After 200 steps: the run is rounded to 2⁻⁴⁴ at each."""
    loss, outer, penalty, start = regression()
    if settings.get("maximize"):
        down, loss = loss, lambda params, batch: -down(params, batch)
    rule = functional.sgd(**{"lr": 0.05, **settings})
    wrt = [penalty, start[0]]
    run = functools.partial(unroll, rule, loss, start, range(200), outer=outer, wrt=wrt)
    found, expected = run(method="reversible"), run(method="reverse")
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-9)
    for a, b in zip(values(found[1]), values(expected[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_tensors_as_settings_of_the_reversible_way():
    loss, outer, _, start = regression()
    settings = {name: real(v) for name, v in (("lr", 0.05), ("momentum", 0.9), ("dampening", 0.1))}
    wrt = {**settings, "weight_decay": real(0.01)}
    run = functools.partial(
        unroll, functional.sgd(**wrt), loss, start, range(100), outer=outer, wrt=wrt
    )
    for a, b in zip(
        values(run(method="reversible")[1]), values(run(method="reverse")[1]), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_reversible_in_float32():
    lr = tg.tensor(0.05)
    run = functools.partial(
        unroll,
        functional.sgd(lr, 0.9),
        bowl,
        [tg.tensor([1.0, -2.0])],
        range(20),
        outer=bowl,
        wrt=lr,
    )
    found, expected = run(method="reversible"), run(method="reverse")
    assert found[0].dtype == found[1].dtype == tg.float32
    assert found[1].item() == pytest.approx(expected[1].item(), rel=1e-4)


def test_the_way_back_is_exact_where_floating_point_is_lost():
    """1000 steps there and back, with a gradient that is hard on the rounding. In floating point
    the same way back ends anywhere."""
    draw = np.random.default_rng(0)
    start = draw.normal(size=50)
    slope = lambda w: np.sin(3 * w) + 0.1 * w
    exact = ExactMomentum(0.1, 0.9, 0.0, 0.0, False)
    track = Track(real(start))
    first = track.w.numpy().copy()
    for t in range(1, 1001):
        track.forward(exact, real(slope(track.weight().numpy())), t)
    kept = len(track.full)
    for t in range(1000, 0, -1):
        track.back_weight(exact, t)
        track.back_velocity(exact, real(slope(track.weight().numpy())), t)
    np.testing.assert_array_equal(track.w.numpy(), first)
    assert not track.v.any() and not track.digits.any() and not track.full
    # 8 bytes now and then, where w and v of every step would be 16 each
    assert 1 <= kept <= 10

    w, v = start.copy(), np.zeros(50)
    for _ in range(1000):
        v = 0.9 * v + slope(w)
        w = w - 0.1 * v
    for _ in range(1000):
        w = w + 0.1 * v
        v = (v - slope(w)) / 0.9
    assert not np.allclose(w, start, atol=1.0)


@pytest.mark.parametrize(("n", "d"), [(9, 10), (1, 3), (1, 1), (5, 4), (2**31 - 3, 2**31 - 1)])
def test_what_a_multiplication_forgets(n, d):
    draw = np.random.default_rng(1)
    v = np.concatenate([np.arange(-200, 200), draw.integers(-(2**61), 2**61, 1000)])
    down = scaled_down(tg.tensor(v), n, d)
    np.testing.assert_array_equal(down.numpy(), [int(x) * n // d for x in v])
    first, count = (x.numpy() for x in preimages(down, n, d))
    assert ((first <= v) & (v < first + count)).all()
    assert count.max() <= d // n + 1


@pytest.mark.parametrize(
    ("lr", "mu", "slope"), [(1e-6, 0.9, 2e5), (1.0, 0.1, 1e5), (0.1, 1.9, 1e4)]
)
def test_sums_beyond_the_whole_numbers_are_noticed(lr, mu, slope):
    """A velocity, a parameter, a velocity that grows: each step's addend would still fit."""
    run = functools.partial(
        unroll, functional.sgd(real(lr), mu), lambda params, batch: slope * params[0],
        [real(0.0)], range(30), outer=lambda params: params[0] ** 2, method="reversible",
    )  # fmt: skip
    with pytest.raises(tg.CheckError, match=r"below 262144; .* is beyond: "):
        run(wrt=real(lr))


def test_reversible_refuses():
    lr = real(0.1)
    run = functools.partial(
        unroll, loss=bowl, params=[real([1.0])], batches=range(3), outer=bowl, wrt=lr,
        method="reversible",
    )  # fmt: skip
    plain = functional.sgd(lr, 0.9)
    for rule in (
        functional.adam(lr),
        functional.sgd(lr),
        functional.sgd(lr, 0.9, nesterov=True),
        functional.lookahead(plain),
        functional.chain(plain),
    ):
        with pytest.raises(ValueError, match="'checkpoint' and 'forward' can"):
            run(rule)
    with pytest.raises(ValueError, match=r"momentum above 0.* at step 2"):
        run(functional.sgd(lr, lambda step: 0.0))
    with pytest.raises(ValueError, match=r"momentum above 0 and below 2.* it is 2.5 at step 2"):
        run(functional.sgd(lr, 2.5))
    with pytest.raises(ValueError, match=r"one momentum for all .* shape \(1, 2\) at step 2"):
        run(functional.sgd(lr, real([[0.5, 0.9]])))
    with pytest.raises(tg.CheckError, match="below 262144"):
        run(plain, params=[real([1e6])])
