"""Full batch, single samples, mini-batches: the same gradient in the mean, and its variance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim

#: Seven samples of a line with two weights; float64.
X = np.random.default_rng(0).standard_normal((7, 2))
Y = np.random.default_rng(1).standard_normal(7)
AT = [0.3, -0.7]


def gradient(rows, x=X, y=Y, at=AT):
    """The gradient of the mean squared error over these rows."""
    w = tg.tensor(at, dtype="float64", requires_grad=True)
    rows = list(rows)
    loss = tg.losses.mse_loss(tg.tensor(x[rows]) @ w, tg.tensor(y[rows]))
    return tg.grad(loss, w)[0].numpy()


def closed_form(rows):
    """2/B · Σ (x·w - y)·x."""
    rows = list(rows)
    return 2 / len(rows) * (X[rows] @ AT - Y[rows]) @ X[rows]


# -- the mean ---------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_the_mean_over_mini_batches_is_the_full_gradient_exactly(size):
    """Whole numbers and powers of two, so that nothing is rounded: equal to the last bit."""
    draw = np.random.default_rng(2)
    x = draw.integers(-8, 9, (16, 3)).astype(float)
    y = draw.integers(-8, 9, 16).astype(float)
    at = [2.0, -1.0, 0.5]
    batches = draw.permutation(16).reshape(-1, size)
    mean = np.mean([gradient(rows, x, y, at) for rows in batches], axis=0)
    np.testing.assert_array_equal(mean, gradient(range(16), x, y, at))


@pytest.mark.parametrize("size", range(1, 8))
def test_the_mean_over_all_batches_of_a_size(size):
    batches = list(itertools.combinations(range(7), size))
    mean = np.mean([gradient(rows) for rows in batches], axis=0)
    np.testing.assert_allclose(mean, gradient(range(7)), rtol=1e-13)
    np.testing.assert_allclose(gradient(batches[0]), closed_form(batches[0]), rtol=1e-13)


def test_batches_of_different_sizes_count_by_their_size():
    parts = [range(4), range(4, 7)]
    weighted = sum(len(rows) / 7 * gradient(rows) for rows in parts)
    np.testing.assert_allclose(weighted, gradient(range(7)), rtol=1e-13)
    assert not np.allclose(np.mean([gradient(rows) for rows in parts], axis=0), weighted)


# -- the variance -----------------------------------------------------------------------------
def variance(batches):
    """The mean squared distance of the batches' gradients from the full one, by entries."""
    away = [gradient(rows) - gradient(range(7)) for rows in batches]
    return np.mean(np.square(away), axis=0)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_variance_is_that_of_a_sample_by_the_size(size):
    """Drawn with replacement: σ²/B. All 7^B batches, not an estimate."""
    single = variance([(i,) for i in range(7)])
    found = variance(itertools.product(range(7), repeat=size))
    np.testing.assert_allclose(found, single / size, rtol=1e-12)


@pytest.mark.parametrize("size", range(1, 8))
def test_without_replacement_it_falls_to_nothing(size):
    """A shuffled epoch: σ²/B · (N - B)/(N - 1), which is 0 for the full batch."""
    single = variance([(i,) for i in range(7)])
    found = variance(itertools.combinations(range(7), size))
    np.testing.assert_allclose(found, single / size * (7 - size) / 6, rtol=1e-12, atol=1e-30)


def test_of_many_drawn_batches():
    """As a training would draw them: the slope of log variance over log B is -1."""
    draw = np.random.default_rng(3)
    x, y = draw.standard_normal((512, 3)), draw.standard_normal(512)
    w = tg.zeros(3, dtype="float64")

    def one(x, y):
        return (x @ w - y) * x  # the samples' gradients are rows of this, times 2

    full = gradient(range(512), x, y, [0.0] * 3)
    sizes = [1, 4, 16, 64]
    variances = []
    for size in sizes:
        rows = draw.integers(0, 512, (4000, size))
        each = tg.func.vmap(tg.func.vmap(one))(tg.tensor(x[rows]), tg.tensor(y[rows]))
        grads = 2 * each.mean(dim=1).numpy()
        variances.append(np.square(grads - full).sum(axis=1).mean())
    slope = np.polyfit(np.log(sizes), np.log(variances), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.02)


# -- steps ------------------------------------------------------------------------------------
def step(groups, form=optim.SGD, **settings):
    """The weights after one step, from a backward() for each group of rows."""
    w = tg.tensor(AT, dtype="float64", requires_grad=True)
    optimizer = form([w], lr=0.1, **settings)
    for rows in groups:
        loss = tg.losses.mse_loss(tg.tensor(X[rows]) @ w, tg.tensor(Y[rows]))
        (loss * (len(rows) / 7)).backward()
    optimizer.step()
    return w.detach().numpy()


@pytest.mark.parametrize("form", [optim.SGD, optim.Adam])
def test_accumulated_gradients_make_the_step_of_the_full_batch(form):
    whole = step([list(range(7))], form)
    for groups in ([[0, 1], [2, 3], [4, 5], [6]], [[i] for i in range(7)]):
        np.testing.assert_allclose(step(groups, form), whole, rtol=1e-13)


def test_one_small_step_of_each_size_ends_at_the_full_step_in_the_mean():
    """A step of SGD is linear in the gradient: single samples step to the same place on average."""
    w = np.mean([AT - 0.1 * gradient([i]) for i in range(7)], axis=0)
    np.testing.assert_allclose(w, step([list(range(7))]), rtol=1e-13)
