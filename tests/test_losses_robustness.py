"""What losses are chosen for, shown on small problems: outliers, rare classes, and why one trains
on cross-entropy and not on accuracy. Every model is trained by the library's own optimizers; the
numbers are means over fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

SEEDS = range(5)
STEPS = 200


def fit(loss, x, y, bias=0.0, steps=STEPS):
    """A linear model trained on the full batch to the minimum of its loss: (weights, bias)."""
    w = tg.zeros(x.shape[1], dtype="float64", requires_grad=True)
    b = tg.tensor(bias, dtype="float64", requires_grad=True)
    # falls to a hundredth, so that the steps of MAE, whose gradient does not shrink, settle
    optimizer = tg.optim.Adam([w, b], lr=lambda step: 0.3 * 0.01 ** max(0.0, 2 * step / steps - 1))
    x, y = tg.tensor(x), tg.tensor(y)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(x @ w + b, y).backward()
        optimizer.step()
    return w.detach().numpy(), b.item()


# -- outliers in a regression -----------------------------------------------------------------
def line(rng, n):
    """Inputs and clean targets of a linear relation."""
    x = rng.normal(size=(n, 5))
    return x, x @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) + 1.0


def clean_error(loss, outliers, seed):
    """Mean absolute error on clean test data, after learning with that share of outliers."""
    rng = np.random.default_rng(seed)
    x, y = line(rng, 200)
    y += 0.3 * rng.normal(size=200)
    hit = rng.permutation(200)[: round(outliers * 200)]
    y[hit] += 15.0 + 5.0 * rng.normal(size=len(hit))  # a sensor that sometimes reads far too high
    w, b = fit(loss, x, y)
    test_x, test_y = line(rng, 1000)
    return np.abs(test_x @ w + b - test_y).mean()


def test_with_outliers_mae_and_huber_beat_mse_on_clean_data():
    error = {
        loss: [clean_error(losses.get(loss), 0.2, seed) for seed in SEEDS]
        for loss in ("mse", "mae", "huber")
    }
    for robust in ("mae", "huber"):
        # not on average only: for every seed, by a factor of five
        assert all(5 * r < m for r, m in zip(error[robust], error["mse"])), error
    assert np.mean(error["mse"]) > 2.5  # a fifth of the outliers' height of 15


def test_without_outliers_mse_is_the_better_one():
    """Robustness has its price: under Gaussian noise the mean is the best estimate."""
    error = {
        loss: np.mean([clean_error(losses.get(loss), 0.0, seed) for seed in SEEDS])
        for loss in ("mse", "mae", "huber")
    }
    assert error["mse"] < error["mae"]
    assert error["mse"] < 1.1 * error["huber"]


def test_the_gradient_of_one_outlier():
    """The reason: an outlier pulls by its error under MSE, and by a constant under the others."""
    pulls = {}
    for loss in ("mse", "mae", "huber"):
        error = tg.tensor([1.0, 10.0, 1000.0], requires_grad=True)
        losses.get(loss, reduction="sum")(error, tg.zeros(3)).backward()
        pulls[loss] = error.grad.tolist()
    assert pulls == {"mse": [2.0, 20.0, 2000.0], "mae": [1.0, 1.0, 1.0], "huber": [1.0, 1.0, 1.0]}


# -- a rare class -----------------------------------------------------------------------------
RATIO = 50
#: Scores start at the log-odds of the rare class, as Lin et al. (2017) do; it saves steps.
START = -np.log(RATIO)
LOSSES = {
    "plain": losses.BCEWithLogitsLoss(),
    "class weights": losses.BCEWithLogitsLoss(pos_weight=tg.tensor(float(RATIO))),
    "focal": losses.FocalLoss(alpha=0.75, gamma=2.0),
    "focal, no alpha": losses.FocalLoss(alpha=None, gamma=2.0),
}
PRECISIONS = (0.1, 0.2, 0.5)


def recall_at(precision, scores, labels):
    """The highest recall of a threshold whose precision is at least this. All losses are compared
    at one precision, each at the threshold that suits it, so that one that merely moves or
    stretches the scores gains nothing: the order of the scores must be better."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    enough = np.nonzero(hits / np.arange(1, len(hits) + 1) >= precision)[0]
    return hits[enough[-1]] / labels.sum() if len(enough) else 0.0


def two_kinds(rng, positives):
    """Rare positives of two kinds, most of them far out in one direction, the others nearer in
    another. No linear score is right for both."""
    easy = round(0.7 * positives)
    found = np.concatenate(
        [
            [4.0, 0.0] + 0.5 * rng.normal(size=(easy, 2)),
            [0.0, 2.0] + 0.5 * rng.normal(size=(positives - easy, 2)),
        ]
    )
    return found, rng.normal(size=(RATIO * positives, 2))


def one_kind(rng, positives):
    """Rare positives of one kind with the spread of the negatives: a linear score is right."""
    return [1.5, 1.5] + rng.normal(size=(positives, 2)), rng.normal(size=(RATIO * positives, 2))


def classified(draw, positives, rng):
    parts = draw(rng, positives)
    return np.concatenate(parts), np.repeat([1.0, 0.0], [len(part) for part in parts])


def recalls(draw, loss):
    """Recall on test data at the precisions, one row for each seed."""
    found = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x, y = classified(draw, 100, rng)
        w, b = fit(loss, x, y, START)
        test_x, test_y = classified(draw, 1000, rng)
        found.append([recall_at(p, test_x @ w + b, test_y) for p in PRECISIONS])
    return np.array(found)


def test_at_one_in_fifty_focal_and_class_weights_beat_plain_bce_at_equal_precision():
    """A linear model that cannot fit both kinds of positives must choose, and the loss says what.

    The plain loss draws its line where every second case is positive, so it goes for the easy
    kind. Class weights draw it where one in fifty is, and the focal factor passes over the easy
    kind too, so that the other one has its say. They win where a search may raise many false
    alarms for each hit, at a precision of 0.1 and 0.2, and lose at 0.5, which is what the plain
    loss is made for. All are at their minimum: it is not a matter of patience or of the step.
    """
    recall = {name: recalls(two_kinds, loss) for name, loss in LOSSES.items()}
    for name in ("class weights", "focal", "focal, no alpha"):
        assert (recall[name][:, 0] > recall["plain"][:, 0]).all(), recall  # for every seed
    mean = {name: found.mean(axis=0) for name, found in recall.items()}
    at_tenth, at_fifth, at_half = (
        {name: found[i] - mean["plain"][i] for name, found in mean.items()} for i in range(3)
    )
    assert at_tenth["class weights"] > 0.06 and at_fifth["class weights"] > 0.06, mean
    assert at_tenth["focal"] > 0.04 and at_fifth["focal"] > 0.04, mean
    assert at_tenth["focal, no alpha"] > 0.02 and at_fifth["focal, no alpha"] > 0.01, mean
    assert at_half["class weights"] < -0.2 and at_half["focal"] < 0.0, mean


def test_the_classifiers_are_at_their_minimum():
    x, y = classified(two_kinds, 100, np.random.default_rng(0))
    for loss in LOSSES.values():
        weights = [fit(loss, x, y, START, steps)[0] for steps in (STEPS, 5 * STEPS)]
        np.testing.assert_allclose(*weights, rtol=1e-3)


def test_where_a_linear_score_is_right_no_loss_ranks_better():
    """The limit of the claim: with a model that is well specified all find the same direction,
    and weights only move the threshold."""
    recall = {name: recalls(one_kind, loss).mean(axis=0) for name, loss in LOSSES.items()}
    for found in recall.values():
        np.testing.assert_allclose(found, recall["plain"], atol=0.015)


def test_recall_alone_would_say_nothing():
    """At probability ½ class weights find far more positives, and pay for it with false alarms:
    the same could be had by moving the plain loss's threshold."""
    x, y = classified(one_kind, 200, np.random.default_rng(0))
    flagged = {}
    for name in ("plain", "class weights"):
        w, b = fit(LOSSES[name], x, y, START)
        flagged[name] = x @ w + b > 0
    recall = {name: flags[y == 1].mean() for name, flags in flagged.items()}
    precision = {name: y[flags].mean() for name, flags in flagged.items()}
    assert recall["plain"] < 0.4 < 0.8 < recall["class weights"]
    assert precision["plain"] > 0.5 > 0.2 > precision["class weights"]


# -- accuracy has no derivative ---------------------------------------------------------------
def hundred_images(sharpness):
    """Scores of 100 images in two classes, of which a model gets 45 right."""
    labels = tg.tensor([0, 1] * 50)
    right = tg.tensor([1.0] * 45 + [-1.0] * 55, dtype="float64")
    sign = tg.where(labels == 1, 1.0, -1.0).double()
    z = 0.5 * sharpness * right * sign
    return tg.stack([-z, z], dim=1), labels


def accuracy(scores, labels):
    return tg.where(scores.argmax(dim=1) == labels, 1.0, 0.0).mean()


def test_accuracy_has_no_gradient_where_cross_entropy_has_one():
    sharpness = tg.tensor(1.2, dtype="float64", requires_grad=True)
    scores, labels = hundred_images(sharpness)
    assert accuracy(scores, labels).item() == pytest.approx(0.45)
    # Comparisons are constants to the tape, and their derivative is 0 in truth: as measured
    assert not accuracy(scores, labels).requires_grad
    with pytest.raises(RuntimeError, match="require"):
        accuracy(scores, labels).backward()
    for h in (1e-6, 1e-3, 0.1):
        ahead, behind = (accuracy(*hundred_images(sharpness.detach() + d)) for d in (h, -h))
        assert (ahead - behind).item() == 0.0
    loss = losses.cross_entropy(scores, labels)
    (slope,) = tg.grad(loss, sharpness)
    # mean of -right·σ(-right·s): 45 pull one way, 55 the other
    s = 1.0 / (1.0 + np.exp(-1.2))
    assert slope.item() == pytest.approx(-0.45 * (1 - s) + 0.55 * s, abs=1e-12)
    assert tg.check_grads(
        lambda value: losses.cross_entropy(*hundred_images(value)), (sharpness,), order=2
    )


def test_cross_entropy_changes_continuously_while_accuracy_stands_still():
    """45 of 100 right, and a loss that goes from 0.92456 to 0.93148: that is a rise, by a model
    that gets surer of its errors, and the accuracy does not show it."""
    low, high = (sharpness_for(loss) for loss in (0.92456, 0.93148))
    assert low < high
    before, after = hundred_images(low), hundred_images(high)
    assert losses.cross_entropy(*after).item() > losses.cross_entropy(*before).item()
    assert accuracy(*before).item() == accuracy(*after).item() == pytest.approx(0.45)
    # continuous: as large a change as the derivative says, and half of it for half the way
    at = low.requires_grad_()
    (slope,) = tg.grad(losses.cross_entropy(*hundred_images(at)), at)
    step = (high - low).item()
    assert slope.item() * step == pytest.approx(0.93148 - 0.92456, rel=0.01)
    halfway = losses.cross_entropy(*hundred_images(low.detach() + 0.5 * step))
    assert halfway.item() == pytest.approx((0.92456 + 0.93148) / 2, abs=1e-4)


def sharpness_for(loss):
    """The sharpness at which the cross-entropy is this, by Newton's steps."""
    s = tg.tensor(1.0, dtype="float64")
    for _ in range(20):
        s = s.detach().requires_grad_()
        value = losses.cross_entropy(*hundred_images(s))
        s = s - (value - loss) / tg.grad(value, s)[0]
    return s.detach()


def test_along_a_line_accuracy_jumps_and_cross_entropy_does_not():
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.normal(size=(40, 3)))
    labels = tg.tensor(rng.integers(0, 3, 40))
    start, end = (tg.tensor(rng.normal(size=(3, 3))) for _ in range(2))

    def path(steps):
        where = np.linspace(0.0, 1.0, steps + 1)
        scores = [x @ (start + t * (end - start)) for t in where]
        found = [
            (accuracy(s, labels).item(), losses.cross_entropy(s, labels).item()) for s in scores
        ]
        return np.abs(np.diff(found, axis=0)).T

    coarse, fine = path(100), path(800)
    assert fine[0].max() == pytest.approx(1 / 40)  # one example at least, however small the step
    assert (fine[0] == 0.0).mean() > 0.9
    assert fine[1].max() == pytest.approx(coarse[1].max() / 8, rel=0.1)
    assert fine[1].min() > 0.0
