"""Ensembles: averages against loops, Jensen's inequality, extremes, refusals."""

import math

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses


@pytest.fixture
def rng():
    return np.random.default_rng(21)


def softmax(z, axis):
    p = np.exp(z - z.max(axis, keepdims=True))
    return p / p.sum(axis, keepdims=True)


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5), (3, 4, 5, 2, 2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_averages_against_loops(shape, weighted, rng):
    z, w = rng.normal(size=shape), rng.random(3) if weighted else np.ones(3)
    weights = tg.tensor(w) if weighted else None
    dim = 1 if len(shape) > 2 else 0
    p = sum(w[m] * softmax(z[m], dim) for m in range(3)) / w.sum()
    mean = sum(w[m] * z[m] for m in range(3)) / w.sum()
    for models in (tg.tensor(z), [tg.tensor(x) for x in z], tuple(map(tg.tensor, z)), list(z)):
        found = losses.ensemble_probabilities(models, weights)
        np.testing.assert_allclose(found.numpy(), p, rtol=1e-12)
        found = losses.ensemble_log_probabilities(models, weights)
        np.testing.assert_allclose(found.numpy(), np.log(p), rtol=1e-12)
        found = losses.ensemble_logits(models, weights)
        np.testing.assert_allclose(found.numpy(), mean, rtol=1e-12)


def test_the_mean_of_logits_is_the_geometric_mean(rng):
    z = rng.normal(size=(3, 4, 5))
    product = softmax(z, 2).prod(axis=0) ** (1.0 / 3.0)
    found = tg.softmax(losses.ensemble_logits(tg.tensor(z)), dim=1)
    np.testing.assert_allclose(found.numpy(), product / product.sum(1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_jensen(weighted, smoothing, rng):
    """The loss of the averages is at most the average of the losses, equal for equal models."""
    w = rng.random(4) if weighted else np.ones(4)
    weights = tg.tensor(w) if weighted else None
    for _ in range(20):
        z, target = tg.tensor(3.0 * rng.normal(size=(4, 6, 3))), tg.tensor(rng.integers(0, 3, 6))
        each = [losses.cross_entropy(x, target, label_smoothing=smoothing).item() for x in z]
        average = w @ each / w.sum()
        for kind in ("probability", "logit"):
            loss = losses.EnsembleCrossEntropyLoss(
                weights=weights, average=kind, label_smoothing=smoothing
            )
            assert loss(z, target).item() < average
            same = [z[0]] * 4
            assert loss(same, target).item() == pytest.approx(each[0], rel=1e-12)


def test_the_loss_is_that_of_the_averages(rng):
    z, target = tg.tensor(rng.normal(size=(3, 6, 4))), tg.tensor([0, 3, -100, 1, 2, 2])
    for settings in ({}, {"ignore_index": 2}, {"reduction": "none"}, {"label_smoothing": 0.3}):
        labels = tg.where(target < 0, 1, target) if "ignore_index" in settings else target
        found = losses.ensemble_cross_entropy(z, labels, **settings)
        log_p = tg.log(losses.ensemble_probabilities(z))
        expected = losses.cross_entropy(log_p, labels, **settings)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)
        found = losses.ensemble_cross_entropy(z, labels, average="logit", **settings)
        expected = losses.cross_entropy(losses.ensemble_logits(z), labels, **settings)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits(dtype):
    def logits(*rows):
        return [tg.tensor([row], dtype=dtype, requires_grad=True) for row in rows]

    target = tg.tensor([1])
    split = logits([0.0, 1e4], [1e4, -1e4])  # one sure and right, one sure and wrong
    loss = losses.ensemble_cross_entropy(split, target)
    assert loss.item() == pytest.approx(math.log(2.0))
    for g in tg.grad(loss, split, create_graph=True):
        assert np.isfinite(g.detach().numpy()).all()

    wrong = logits([1e4, -1e4], [1e4, 0.0])  # both sure and wrong: -log ½(e^-2e4 + e^-1e4)
    loss = losses.ensemble_cross_entropy(wrong, target)
    assert loss.item() == pytest.approx(1e4 + math.log(2.0))
    one, other = tg.grad(loss, wrong)
    np.testing.assert_array_equal(one.numpy(), [[0.0, 0.0]])
    np.testing.assert_allclose(other.numpy(), [[1.0, -1.0]])

    weights = tg.tensor([1.0, 3.0], dtype=dtype, requires_grad=True)
    loss = losses.ensemble_cross_entropy(wrong, target, weights)
    assert loss.item() == pytest.approx(1e4 - math.log(0.75))
    # -log(w₂/(w₁ + w₂)): 1/4 by w₁, 1/4 - 1/3 by w₂
    np.testing.assert_allclose(
        tg.grad(loss, weights)[0].numpy(), [0.25, 0.25 - 1.0 / 3.0], rtol=1e-5
    )
    assert losses.ensemble_cross_entropy(split, target, average="logit").item() == 5e3


def test_derivatives_of_the_averages(rng):
    z, w = tg.tensor(rng.normal(size=(3, 2, 4))), tg.tensor(0.2 + rng.random(3))
    for average in (
        losses.ensemble_probabilities,
        losses.ensemble_log_probabilities,
        losses.ensemble_logits,
    ):
        assert tg.check_grads(average, (z, w), order=2)
        assert tg.check_grads(lambda *models, f=average: f(models), tuple(z), order=2)


def test_weights_are_relative(rng):
    z, w = tg.tensor(rng.normal(size=(3, 2, 4))), tg.tensor(rng.random(3))
    for average in (losses.ensemble_probabilities, losses.ensemble_logits):
        np.testing.assert_allclose(average(z, w).numpy(), average(z, 7.0 * w).numpy(), rtol=1e-12)
    np.testing.assert_allclose(
        losses.ensemble_probabilities(z, w).sum(dim=1).numpy(), 1.0, rtol=1e-12
    )


def test_weights_learn_which_model_to_trust(rng):
    """Of a model that knows and two that guess, the first gets the weight."""
    target = tg.tensor(rng.integers(0, 3, 200))
    z = rng.normal(size=(3, 200, 3))
    z[0] += 3.0 * np.eye(3)[target.numpy()]
    z, logs = tg.tensor(z), tg.zeros(3, dtype="float64", requires_grad=True)
    optimizer = tg.optim.Adam([logs], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        losses.ensemble_cross_entropy(z, target, tg.exp(logs)).backward()
        optimizer.step()
    assert tg.softmax(logs, dim=0)[0].item() > 0.9


def test_what_is_refused():
    one, other = tg.zeros(2, 3), tg.zeros(2, 4)
    with pytest.raises(ValueError, match=r"input\[1\] has shape \(2, 4\)"):
        losses.ensemble_probabilities([one, other])
    with pytest.raises(ValueError, match="the ensemble is empty"):
        losses.ensemble_logits([])
    with pytest.raises(ValueError, match=r"batch is empty \(input has shape \(2, 0, 3\)\)"):
        losses.ensemble_log_probabilities(tg.zeros(2, 0, 3))
    with pytest.raises(ValueError, match=r"logits of several models.*\(3,\)"):
        losses.ensemble_probabilities(tg.zeros(3))
    with pytest.raises(TypeError, match=r"input\[0\] must be a tensor or an array, not list"):
        losses.ensemble_probabilities([[0.0, 1.0]])
    with pytest.raises(TypeError, match=r"input\[1\] must be floating point, not int64"):
        losses.ensemble_probabilities([one, one.long()])
    with pytest.raises(ValueError, match=r"each of the 2 models, shape \(2,\), not \(3,\)"):
        losses.ensemble_logits([one, one], tg.ones(3))
    with pytest.raises(ValueError, match=r"weights must be positive .* entry \[1\] is 0"):
        losses.ensemble_logits([one, one], tg.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="average must be"):
        losses.ensemble_cross_entropy([one], tg.tensor([0, 1]), average="mean")
    with pytest.raises(ValueError, match=r"label is outside 0 … 2.* entry \[1\] is 3"):
        losses.ensemble_cross_entropy([one], tg.tensor([0, 3]))


def test_by_name():
    loss = losses.get("ensemble", average="logit")
    assert repr(loss) == "EnsembleCrossEntropyLoss(average='logit')"
