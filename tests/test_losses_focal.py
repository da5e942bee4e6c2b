"""Focal losses, PolyLoss and weights of classes: against 60 digits, limits, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

STORED = json.loads((Path(__file__).parent / "data" / "focal.json").read_text())
GENERATOR = tg.Generator().manual_seed(11)
Z = 3.0 * tg.randn(5, 4, dtype="float64", generator=GENERATOR)
T = tg.where(tg.rand(5, 4, generator=GENERATOR) < 0.5, 1.0, 0.0).double()
INDEX = tg.tensor([0, 3, 1, 2, 3])


def double(values, **named):
    return tg.tensor(values, dtype="float64", **named)


def close(found, expected, **tolerance):
    np.testing.assert_allclose(found.detach().numpy(), expected, **tolerance)


# -- binary -----------------------------------------------------------------------------------
@pytest.mark.parametrize("case", STORED["binary"], ids=lambda c: f"{c['z']}-{c['t']}-{c['gamma']}")
def test_binary_in_many_digits(case):
    z, alpha, gamma = (double(case[name], requires_grad=True) for name in ("z", "alpha", "gamma"))
    y = losses.focal_loss(z, double(case["t"]), alpha, gamma)
    first = tg.grad(y, (z, alpha, gamma), create_graph=True)
    close(y, case["value"], rtol=1e-13, atol=1e-200)
    for g, name in zip(first, ("by_z", "by_alpha", "by_gamma")):
        close(g, case[name], rtol=1e-12, atol=1e-14)
    second = tg.grad(first[0], z)[0]
    close(second, case["second"], rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits_in_single_precision(gamma):
    z = tg.tensor([1e4, -1e4, 1e4, -1e4, 88.0, -88.0, 40.0, 0.0], requires_grad=True)
    t = tg.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    y = losses.focal_loss(z, t, None, gamma, reduction="none")
    expected = [0.0, 1e4, 1e4, 0.0, 0.0, 88.0, 0.0, math.log(2.0) * 0.5**gamma]
    close(y, expected, rtol=1e-6, atol=1e-17)
    (g,) = tg.grad(y.sum(), z, create_graph=True)
    close(g[:6], [0.0, -1.0, 1.0, 0.0, 0.0, -1.0], atol=1e-17)
    assert np.isfinite(tg.grad(g.sum(), z)[0].numpy()).all()


def test_binary_written_out():
    for alpha, gamma in ((0.25, 2.0), (0.6, 0.5), (None, 1.0)):
        p = 1.0 / (1.0 + np.exp(-Z.numpy()))
        t = T.numpy()
        p_t = p * t + (1 - p) * (1 - t)
        a_t = 1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
        expected = -a_t * (1 - p_t) ** gamma * np.log(p_t)
        close(losses.FocalLoss(alpha, gamma)(Z, T), expected.mean(), rtol=1e-12)
        close(losses.FocalLoss(alpha, gamma, "none")(Z, T), expected, rtol=1e-12)


def test_defaults_are_the_paper_s():
    assert losses.FocalLoss().alpha == 0.25 and losses.FocalLoss().gamma == 2.0
    assert repr(losses.FocalLoss(0.5)) == "FocalLoss(alpha=0.5)"


def test_gamma_0_is_the_cross_entropy():
    expected = losses.binary_cross_entropy_with_logits(Z, T)
    close(losses.focal_loss(Z, T, None, 0.0), expected.item(), rtol=1e-14)
    close(losses.focal_loss(Z, T, 0.5, 0.0), expected.item() / 2, rtol=1e-14)
    labels = losses.cross_entropy(Z, INDEX)
    close(losses.softmax_focal_loss(Z, INDEX, gamma=0.0), labels.item(), rtol=1e-14)
    close(losses.poly_loss(Z, INDEX, 0.0), labels.item(), rtol=1e-14)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_of_settings_and_soft_targets(gamma):
    soft = tg.sigmoid(Z + 0.5)
    for target in (T, soft):
        assert tg.check_grads(
            lambda z, a, g, target=target: losses.focal_loss(z, target, a, g),
            (Z, double(0.3), double(gamma)),
            order=2,
        )
    assert tg.check_grads(
        lambda u: losses.focal_loss(Z, tg.sigmoid(u), 0.3, gamma), (Z + 0.5,), order=2
    )
    assert tg.check_grads(
        lambda z, a, g: losses.softmax_focal_loss(z, INDEX, a, g),
        (Z, double([0.1, 0.5, 1.0, 2.0]), double(gamma)),
        order=2,
    )


def test_the_gradient_by_a_hard_target():
    t = double([0.0, 1.0], requires_grad=True)
    z = double([0.7, -1.2])
    (g,) = tg.grad(losses.focal_loss(z, t, None, 1.5, "sum"), t)

    def one(z, t):
        p = 1.0 / (1.0 + math.exp(-z))
        missed = t * (1 - p) + (1 - t) * p
        return missed**1.5 * -(t * math.log(p) + (1 - t) * math.log(1 - p))

    h = 1e-6
    numeric = [(one(v, s + h) - one(v, s - h)) / (2 * h) for v, s in ((0.7, 0.0), (-1.2, 1.0))]
    close(g, numeric, rtol=1e-8)


# -- classes ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "case", STORED["softmax"], ids=lambda c: f"{c['logits'][0]}-{c['label']}-{c['gamma']}"
)
def test_classes_in_many_digits(case):
    z, gamma = (double(case[name], requires_grad=True) for name in ("logits", "gamma"))
    y = losses.softmax_focal_loss(z, tg.tensor(case["label"]), gamma=gamma)
    g, by_gamma = tg.grad(y, (z, gamma), create_graph=True)
    close(y, case["value"], rtol=1e-13, atol=1e-300)
    close(g, case["gradient"], rtol=1e-12, atol=1e-16)
    close(by_gamma, case["by_gamma"], rtol=1e-12, atol=1e-300)
    second = [tg.grad(g[i], z, retain_graph=True)[0][i].item() for i in range(3)]
    np.testing.assert_allclose(second, case["second"], rtol=1e-10, atol=1e-16)


def test_two_classes_are_the_binary_loss():
    both = tg.stack((tg.zeros_like(Z[:, 0]), Z[:, 0]), dim=1)
    close(
        losses.softmax_focal_loss(both, T[:, 0].long(), gamma=1.5),
        losses.focal_loss(Z[:, 0], T[:, 0], None, 1.5).item(),
        rtol=1e-13,
    )


def test_classes_written_out():
    p = np.exp(Z.numpy()) / np.exp(Z.numpy()).sum(1, keepdims=True)
    p_t = p[np.arange(5), INDEX.numpy()]
    expected = -((1 - p_t) ** 2.0) * np.log(p_t)
    close(losses.softmax_focal_loss(Z, INDEX, reduction="none"), expected, rtol=1e-12)
    alpha = np.array([0.1, 0.5, 1.0, 2.0])
    close(
        losses.softmax_focal_loss(Z, INDEX, tg.tensor(alpha), reduction="none"),
        alpha[INDEX.numpy()] * expected,
        rtol=1e-12,
    )
    close(losses.softmax_focal_loss(Z, INDEX, 0.3), 0.3 * expected.mean(), rtol=1e-12)
    close(losses.softmax_focal_loss(Z, INDEX, tg.full((4,), 0.3)), 0.3 * expected.mean(), rtol=1e-7)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("loss", [losses.softmax_focal_loss, losses.poly_loss])
@pytest.mark.parametrize("ignored", [-100, 1])
def test_ignored_labels(loss, ignored):
    index = tg.tensor([0, ignored, ignored, 2, 3])
    kept = [0, 3, 4]
    some = loss(Z, index, ignore_index=ignored)
    close(some, loss(Z[kept], index[kept]).item(), rtol=1e-14)
    none = loss(Z, index, ignore_index=ignored, reduction="none")
    assert none[1].item() == none[2].item() == 0.0
    z = double(Z.tolist(), requires_grad=True)
    (g,) = tg.grad(loss(z, index, ignore_index=ignored), z)
    assert not g[1:3].any() and g[0].any()
    every = tg.full((5,), ignored)
    assert math.isnan(loss(Z, every, ignore_index=ignored).item())  # 0/0, as cross_entropy's
    assert loss(Z, every, ignore_index=ignored, reduction="sum").item() == 0.0


@pytest.mark.parametrize("loss", [losses.softmax_focal_loss, losses.poly_loss])
def test_maps_and_single_samples(loss):
    maps = tg.randn(2, 3, 2, 2, dtype="float64", generator=GENERATOR)
    labels = tg.tensor([[[0, 1], [2, 0]], [[1, 1], [0, 2]]])
    flat = loss(maps.permute(0, 2, 3, 1).reshape(-1, 3), labels.reshape(-1), reduction="none")
    close(loss(maps, labels, reduction="none").reshape(-1), flat.numpy(), rtol=1e-14)
    close(loss(Z[0], tg.tensor(2)), loss(Z[:1], tg.tensor([2])).item(), rtol=1e-14)


# -- PolyLoss ---------------------------------------------------------------------------------
def test_poly_loss_is_the_series_of_cross_entropy_with_another_first_term():
    z, epsilon = double([[2.0, 1.0, 0.5]]), 1.7
    p = (np.exp(z.numpy()) / np.exp(z.numpy()).sum())[0, 0]
    series = sum((1 - p) ** j / j for j in range(1, 400))
    assert losses.poly_loss(z, tg.tensor([0]), epsilon).item() == pytest.approx(
        series + epsilon * (1 - p), rel=1e-13
    )


def test_poly_loss_of_indices_one_hot_and_soft_labels():
    hot = tg.nn.functional.one_hot(INDEX, 4).double()
    close(losses.poly_loss(Z, hot), losses.poly_loss(Z, INDEX).item(), rtol=1e-14)
    q = tg.softmax(Z.flip(0), dim=1)
    mixed = sum(
        (q[:, c] * losses.poly_loss(Z, tg.full((5,), c), reduction="none")).sum() for c in range(4)
    )
    close(losses.poly_loss(Z, q, reduction="sum"), mixed.item(), rtol=1e-13)


def test_the_gradient_by_epsilon_is_what_is_missed():
    epsilon = double(0.0, requires_grad=True)
    (g,) = tg.grad(losses.poly_loss(double([[0.0, 0.0]]), tg.tensor([1]), epsilon), epsilon)
    assert g.item() == 0.5


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_poly_loss_of_extreme_logits(size):
    z = double([[size, -size], [-size, size]], requires_grad=True)
    y = losses.poly_loss(z, tg.tensor([0, 0]), 2.0, reduction="none")
    close(y, [0.0, 2.0 * size + 2.0], rtol=1e-14, atol=1e-40)
    (g,) = tg.grad(y.sum(), z, create_graph=True)
    close(g, [[0.0, 0.0], [-1.0, 1.0]], atol=1e-40)
    assert np.isfinite(tg.grad(g.sum(), z)[0].numpy()).all()


# -- weights of classes -----------------------------------------------------------------------
def test_class_balanced_weights_written_out():
    counts = np.array([5000, 300, 20, 1])
    for beta in (0.0, 0.9, 0.99, 0.9999):
        number = (1 - beta**counts) / (1 - beta)
        expected = 1 / number / (1 / number).sum() * 4
        close(losses.class_balanced_weights(tg.tensor(counts), beta), expected, rtol=1e-6)
        exact = losses.class_balanced_weights(tg.tensor(counts).double(), beta)
        close(exact, expected, rtol=1e-12)
        assert exact.sum().item() == pytest.approx(4.0, rel=1e-14)
    assert losses.class_balanced_weights(tg.tensor(counts)).dtype == tg.float32


def test_class_balanced_weights_between_equal_and_inverse():
    counts = double([100.0, 10.0, 1.0])
    close(losses.class_balanced_weights(counts, 0.0), [1.0, 1.0, 1.0])
    near = losses.class_balanced_weights(counts, 1.0 - 1e-9)
    inverse = losses.balanced_weights(counts)
    close(near / near.sum(), (inverse / inverse.sum()).numpy(), rtol=1e-6)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_class_balanced_weights_have_a_gradient_by_beta(beta):
    counts = double([50.0, 10.0, 2.0])
    assert tg.check_grads(
        lambda b: losses.class_balanced_weights(counts, b), (double(beta),), order=2
    )
    zero = double(0.0, requires_grad=True)
    (g,) = tg.grad(losses.class_balanced_weights(counts, zero)[0], zero)
    assert np.isfinite(g.item())


def test_balanced_weights_are_scikit_learn_s():
    # compute_class_weight("balanced", classes=[0, 1], y=[0]*50 + [1]) is [0.51, 25.5]
    weights = losses.balanced_weights(tg.tensor([50, 1]))
    close(weights, [0.51, 25.5], rtol=1e-6)
    labels = tg.tensor([0] * 50 + [1])
    assert weights[labels].mean().item() == pytest.approx(1.0, rel=1e-6)


def test_weights_go_into_the_losses():
    weights = losses.class_balanced_weights(tg.tensor([100, 10, 5, 1])).double()
    none = losses.softmax_focal_loss(Z, INDEX, reduction="none")
    close(
        losses.softmax_focal_loss(Z, INDEX, weights, reduction="none"),
        (none * weights[INDEX]).numpy(),
        rtol=1e-14,
    )
    assert np.isfinite(losses.cross_entropy(Z, INDEX, weights).item())


# -- what is refused --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: losses.focal_loss(Z[:1], 2.0 * tg.ones(1, 4).double()),
            ValueError,
            r"focal_loss: target must be in \[0, 1\], but entry \[0, 0\] is 2",
        ),
        (
            lambda: losses.focal_loss(Z, T, alpha=1.5),
            ValueError,
            r"alpha must be in \[0, 1\], but it is 1.5; None",
        ),
        (
            lambda: losses.focal_loss(Z[:, 0], T[:, :1]),
            ValueError,
            r"\(5,\).*\(5, 1\).*reshape\(5,\)",
        ),
        (
            lambda: losses.softmax_focal_loss(Z, INDEX + 1),
            ValueError,
            r"0 … 3 and not ignore_index=-100: in target entry \[1\] is 4",
        ),
        (
            lambda: losses.softmax_focal_loss(Z, INDEX, alpha=tg.ones(3)),
            ValueError,
            r"4 classes, shape \(4,\), not \(3,\)",
        ),
        (
            lambda: losses.softmax_focal_loss(Z[:, :1], tg.zeros(5).long()),
            ValueError,
            r"\(5, 1\), which is one class; focal_loss",
        ),
        (lambda: losses.softmax_focal_loss(Z, T[:, 0]), TypeError, "class indices"),
        (
            lambda: losses.poly_loss(Z, 2.0 * tg.softmax(Z, dim=1)),
            ValueError,
            r"poly_loss: .*must add up to 1|these are no probabilities",
        ),
        (
            lambda: losses.poly_loss(Z, T[:, :3]),
            ValueError,
            r"poly_loss with probabilities: .*\(5, 4\).*\(5, 3\)",
        ),
        (
            lambda: losses.class_balanced_weights(tg.tensor([3, 0])),
            ValueError,
            r"1 example or more, but of counts entry \[1\] is 0",
        ),
        (
            lambda: losses.class_balanced_weights(tg.tensor([3, 1]), beta=1.0),
            ValueError,
            r"beta must be in \[0, 1\), not 1.0.*balanced_weights",
        ),
        (
            lambda: losses.balanced_weights(tg.tensor([[3, 1]])),
            ValueError,
            r"shape \(C,\), not \(1, 2\)",
        ),
        (lambda: losses.balanced_weights(tg.tensor([3, -1])), ValueError, r"entry \[1\] is -1"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_settings_that_do_not_fit_are_refused_by_name():
    """One of (N, 1) would make N × N losses of N."""
    z, t, logits, index = double([0.5, -1.0]), double([1.0, 0.0]), Z[:2], INDEX[:2]
    tried = (
        (losses.focal_loss, (z, t), ("alpha", "gamma")),
        (losses.softmax_focal_loss, (logits, index), ("gamma",)),
        (losses.poly_loss, (logits, index), ("epsilon",)),
        (losses.poly_loss, (logits, tg.softmax(logits, dim=1)), ("epsilon",)),
    )
    for loss, operands, names in tried:
        for name in names:
            with pytest.raises(ValueError, match=f"{loss.__name__}: {name} must be one number or"):
                loss(*operands, **{name: 0.5 * tg.ones(2, 1)})
            for wrong in ([0.5, 0.5], "1"):
                with pytest.raises(TypeError, match=f"{loss.__name__}: {name} must be a number"):
                    loss(*operands, **{name: wrong})
    with pytest.raises(TypeError, match="softmax_focal_loss: alpha must be a number or a tensor"):
        losses.softmax_focal_loss(logits, index, alpha=[0.5] * 4)
    with pytest.raises(ValueError, match="class_balanced_weights: beta must be one number"):
        losses.class_balanced_weights(tg.tensor([3, 10]), beta=tg.tensor([0.9, 0.5]))


def test_a_setting_for_each_element():
    z, t = double([0.5, -1.0]), double([1.0, 0.0])
    each = losses.focal_loss(z, t, double([0.2, 0.7]), double([0.5, 3.0]), reduction="none")
    for i, (alpha, gamma) in enumerate(((0.2, 0.5), (0.7, 3.0))):
        assert each[i].item() == losses.focal_loss(z[i], t[i], alpha, gamma).item()
    assert tg.check_grads(
        lambda alpha, gamma: losses.focal_loss(z, t, alpha, gamma),
        (double([0.2, 0.7]), double([0.5, 3.0])),
        order=2,
    )
    logits, index = Z[:2], INDEX[:2]
    assert tg.check_grads(
        lambda gamma: losses.softmax_focal_loss(logits, index, 0.5, gamma),
        (double([0.5, 3.0]),),
        order=2,
    )
