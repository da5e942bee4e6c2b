"""Losses of segmentation: against Keras's stored values, loops, set functions; edges, refusals."""

import inspect
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.losses import (
    dice_loss,
    focal_tversky_loss,
    jaccard_loss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    tversky_loss,
)

STORED = json.loads((Path(__file__).parent / "data" / "overlaps.json").read_text())
PER = {"all": None, "sample": (1, 2, 3), "class": (0, 2, 3), "both": (2, 3)}
OVERLAPS = [dice_loss, jaccard_loss, tversky_loss, focal_tversky_loss]


@pytest.fixture
def rng():
    return np.random.default_rng(24)


def leaf(data):
    return tg.tensor(np.asarray(data, dtype=float), requires_grad=True)


def gradient(loss, *leaves):
    found = tg.grad(loss.sum(), leaves)
    return [g.numpy() for g in found] if len(found) > 1 else found[0].numpy()


# -- Dice, Jaccard, Tversky ------------------------------------------------------------------


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("name", ["dice", "tversky"])
def test_keras_numbers_without_smooth(name, per):
    p = leaf(np.moveaxis(STORED["input"], -1, 1))
    t = tg.tensor(np.moveaxis(STORED["target"], -1, 1).copy())
    if name == "dice":
        value = dice_loss(p, t, smooth=0.0, per=per, reduction="none")
    else:  # Keras's alpha (0.3) falls on the false negatives
        value = tversky_loss(p, t, alpha=0.8, beta=0.3, smooth=0.0, per=per, reduction="none")
    case = STORED[name][per]
    np.testing.assert_allclose(value.detach().numpy(), case["value"], rtol=1e-12)
    found = np.moveaxis(gradient(value, p), 1, -1)
    np.testing.assert_allclose(found, case["gradient"], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("per", PER)
def test_the_formulas_in_numpy(per, rng):
    p, t, axis = rng.random((3, 2, 4, 5)), rng.random((3, 2, 4, 5)) < 0.4, PER[per]
    tp, fp, fn = ((p * t).sum(axis), (p * ~t).sum(axis), ((1 - p) * t).sum(axis))
    s = 0.6
    expected = {
        dice_loss: 1 - (2 * tp + s) / (p.sum(axis) + t.sum(axis) + s),
        jaccard_loss: 1 - (tp + s) / (tp + fp + fn + s),
        tversky_loss: 1 - (tp + s) / (tp + 0.2 * fp + 0.9 * fn + s),
        focal_tversky_loss: (1 - (tp + s) / (tp + 0.2 * fp + 0.9 * fn + s)) ** (1 / 1.7),
    }
    weights = {dice_loss: {}, jaccard_loss: {}, tversky_loss: {"alpha": 0.2, "beta": 0.9}}
    weights[focal_tversky_loss] = {**weights[tversky_loss], "gamma": 1.7}
    for function, value in expected.items():
        given = {**weights[function], "smooth": s, "per": per}
        found = function(tg.tensor(p), tg.tensor(t), reduction="none", **given)
        np.testing.assert_allclose(found.numpy(), value, rtol=1e-12)
        mean = function(tg.tensor(p), tg.tensor(t.astype(float)), **given)
        np.testing.assert_allclose(mean.numpy(), value.mean(), rtol=1e-12)
    squared = dice_loss(tg.tensor(p), tg.tensor(t), s, per, "none", squared=True)
    whole = (p * p).sum(axis) + t.sum(axis)
    np.testing.assert_allclose(squared.numpy(), 1 - (2 * tp + s) / (whole + s), rtol=1e-12)


def test_one_is_another_with_other_settings(rng):
    p, t = tg.tensor(rng.random((6, 3))), tg.tensor(rng.random((6, 3)) < 0.5)
    same = np.testing.assert_allclose
    same(tversky_loss(p, t, smooth=0.5).numpy(), dice_loss(p, t, smooth=1.0).numpy())
    same(tversky_loss(p, t, 1.0, 1.0, 0.5).numpy(), jaccard_loss(p, t, 0.5).numpy())
    same(focal_tversky_loss(p, t, 0.5, 0.5, 1.0).numpy(), tversky_loss(p, t).numpy())
    d = dice_loss(p, t)
    same(jaccard_loss(p, t).numpy(), (2 * d / (1 + d)).numpy())


def test_false_positives_are_alphas():
    p, t = tg.tensor([1.0, 1.0, 1.0, 0.0]), tg.tensor([1.0, 0.0, 0.0, 1.0])  # 1 TP, 2 FP, 1 FN
    assert tversky_loss(p, t, alpha=2.0, beta=0.0, smooth=0.0).item() == pytest.approx(0.8)
    assert tversky_loss(p, t, alpha=0.0, beta=3.0, smooth=0.0).item() == pytest.approx(0.75)


def test_the_gradient_of_smooth_in_closed_form():
    p, t = tg.tensor([0.5, 0.25, 0.75]).double(), tg.tensor([1.0, 0.0, 1.0]).double()
    smooth = leaf(0.7)
    both, whole = 2 * 1.25, 1.5 + 2.0
    found = gradient(dice_loss(p, t, smooth), smooth)
    assert found == pytest.approx(-(whole - both) / (whole + 0.7) ** 2, rel=1e-12)


@pytest.mark.parametrize("function", OVERLAPS)
@pytest.mark.parametrize("per", PER)
def test_empty_masks(function, per):
    """Nothing predicted and nothing there: 0, with smooth a slope, without it constant."""
    t = tg.zeros(2, 3, 4).double()
    for smooth in (1.0, 1, 0.0, 0, leaf(1.0), leaf(0.0)):
        p = leaf(np.zeros((2, 3, 4)))
        loss = function(p, t, smooth=smooth, per=per)
        assert loss.item() == 0.0
        slope = gradient(loss, p)
        assert np.isfinite(slope).all()
        if isinstance(smooth, tg.Tensor):
            assert np.isfinite(gradient(function(p, t, smooth=smooth, per=per), smooth)).all()
    p = leaf(np.zeros((2, 3, 4)))
    if function is dice_loss:
        assert gradient(dice_loss(p, t, 0.5), p) == pytest.approx(np.full((2, 3, 4), 2.0))
        assert (gradient(dice_loss(p, t, 0.0), p) == 0.0).all()
    # what is predicted where nothing is costs Σp/(Σp + smooth), and with no smooth all there is
    p = tg.full((2, 3, 4), 0.25).double()
    assert dice_loss(p, t, 2.0).item() == pytest.approx(6.0 / 8.0)
    assert dice_loss(p, t, 0.0).item() == 1.0


@pytest.mark.parametrize("function", OVERLAPS)
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_probabilities_of_exactly_0_and_1(function, smooth):
    for t in ([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]):
        for p in itertools.product([0.0, 1.0], repeat=3):
            x = leaf(p)
            loss = function(x, tg.tensor(t).double(), smooth=smooth)
            assert 0.0 <= loss.item() <= 1.0
            assert (loss.item() == 0.0) == (list(p) == t)
            assert np.isfinite(gradient(loss, x)).all()


def test_focal_at_a_perfect_overlap():
    t = tg.tensor([1.0, 0.0]).double()
    p, gamma = leaf([1.0, 0.0]), leaf(4 / 3)
    slopes = gradient(focal_tversky_loss(p, t, gamma=gamma), p, gamma)
    assert (slopes[0] == 0.0).all() and slopes[1] == 0.0  # by p the limit is infinite
    p = leaf([1.0, 0.0])
    expected = gradient(tversky_loss(p, t, 0.3, 0.7), p)
    assert (expected != 0.0).all()
    for one in (1.0, leaf(1.0)):
        found = gradient(focal_tversky_loss(p, t, gamma=one), p)
        np.testing.assert_array_equal(found, expected)
    assert (gradient(focal_tversky_loss(p, t, gamma=0.5), p) == 0.0).all()  # the square's, truly


@pytest.mark.parametrize("function", OVERLAPS)
def test_masks_of_booleans_and_integers(function, rng):
    p, t = tg.tensor(rng.random((3, 2, 4))).float(), rng.random((3, 2, 4)) < 0.5
    expected = function(p, tg.tensor(t.astype(np.float32)), per="class")
    for mask in (tg.tensor(t), tg.tensor(t.astype(int)), t, t.astype(np.uint8)):
        found = function(p, mask, per="class")
        assert found.dtype == np.float32 and found.item() == expected.item()


def test_weights_of_classes(rng):
    p, t = tg.tensor(rng.random((4, 3, 5))), tg.tensor(rng.random((4, 3, 5)) < 0.5)
    weight = leaf([1.0, 2.0, 0.0])
    by_class = dice_loss(p, t, per="class", reduction="none").numpy()
    found = dice_loss(p, t, per="class", reduction="sum", weight=weight)
    assert found.item() == pytest.approx(by_class[0] + 2 * by_class[1])
    np.testing.assert_allclose(gradient(found, weight), by_class)


def test_one_element():
    for function in OVERLAPS:
        x = leaf([[0.5]])
        loss = function(x, tg.tensor([[1.0]]).double(), per="both", reduction="none")
        assert loss.shape == (1, 1) and np.isfinite(gradient(loss, x)).all()


@pytest.mark.parametrize("function", OVERLAPS)
def test_overlaps_refuse(function):
    p, t = tg.full((2, 3), 0.5), tg.ones(2, 3)
    name = function.__name__
    refused = [
        ((p * 3, t, {}), r"input must be in \[0, 1\], but entry \[0, 0\] is 1.5; for logits use"),
        ((p, t * 2, {}), r"target must be in \[0, 1\], .* class indices go through one_hot first"),
        ((p, t * tg.nan, {}), r"target must be in \[0, 1\], but entry \[0, 0\] is nan"),
        ((p, t[:, 0], {}), r"input has shape \(2, 3\) but target has shape \(2,\)"),
        ((p, t, {"per": "image"}), "per must be \"all\", .*, not 'image'"),
        ((p[0], t[0], {"per": "class"}), r"per class takes shape \(N, C, ...\), not \(3,\)"),
        ((p, t, {"smooth": -0.5}), "smooth must not be negative, not -0.5"),
        ((p, t, {"smooth": tg.tensor(-0.5)}), "smooth must not be negative, not -0.5"),
        ((p, t, {"smooth": float("nan")}), "smooth must not be negative, not nan"),
    ]
    if function in (tversky_loss, focal_tversky_loss):
        refused.append(((p, t, {"alpha": -1.0}), "alpha must not be negative, not -1"))
        refused.append(((p, t, {"beta": -1}), "beta must not be negative, not -1"))
    if function is focal_tversky_loss:
        refused.append(((p, t, {"gamma": 0.0}), "gamma must be positive, not 0"))
    for (input, target, settings), message in refused:
        with pytest.raises(ValueError, match=f"^{name}.*{message}"):
            function(input, target, **settings)


@pytest.mark.parametrize("function", OVERLAPS)
def test_single_precision_near_a_perfect_overlap(function, rng):
    """1 - index would lose the digits of a small loss."""
    t = rng.random((64, 64)) < 0.5
    p = np.abs(t - 1e-5 * rng.random(t.shape)).astype(np.float32)
    found = []
    for dtype in ("float32", "float64"):
        x = tg.tensor(p, dtype=dtype, requires_grad=True)
        loss = function(x, tg.tensor(t))
        found.append((loss.item(), gradient(loss, x)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)
    perfect = tg.tensor(t).float()
    assert function(perfect, perfect).item() == 0.0
    assert dice_loss(perfect, perfect, squared=True).item() == 0.0


def test_squares_keep_digits_near_a_perfect_overlap():
    p = tg.full((100,), 1 - 2.0**-20)
    assert dice_loss(p, tg.ones(100), squared=True).item() == pytest.approx(2.0**-41, rel=1e-5)


@pytest.mark.parametrize("per, shape", [("sample", (4,)), ("class", (3,)), ("both", (4, 3))])
def test_a_setting_for_each_of_the_losses(per, shape, rng):
    p, t = tg.tensor(rng.random((4, 3, 5))), tg.tensor(rng.random((4, 3, 5)))
    names = ("alpha", "beta", "gamma", "smooth")
    given = {name: leaf(0.5 + rng.random(shape)) for name in names}
    loss = focal_tversky_loss(p, t, per=per, reduction="none", **given)
    slopes = dict(zip(names, gradient(loss, *given.values())))
    for at in np.ndindex(shape):
        one = {name: leaf(value.detach()[at].item()) for name, value in given.items()}
        single = focal_tversky_loss(p, t, per=per, reduction="none", **one)[at]
        assert single.item() == pytest.approx(loss[at].item(), rel=1e-12)
        for name, slope in zip(names, gradient(single, *one.values())):
            assert slopes[name][at] == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("function", OVERLAPS)
def test_settings_that_do_not_fit_the_losses_are_refused(function):
    p, t = tg.full((4, 3), 0.5), tg.ones(4, 3)
    taken = inspect.signature(function).parameters.keys()
    for name in sorted({"smooth", "alpha", "beta", "gamma"} & taken):
        for per, shape in (("all", (3,)), ("sample", (4, 1)), ("class", (4,)), ("both", (4,))):
            with pytest.raises(
                ValueError, match=rf"{name} must be one number.*, but it has shape \({shape[0]}"
            ):
                function(p, t, per=per, **{name: tg.ones(*shape)})
        for wrong in (None, "1", [1.0]):
            with pytest.raises(TypeError, match=f"{name} must be a number or a tensor"):
                function(p, t, **{name: wrong})
    with pytest.raises(ValueError, match=r'per must be "all", .*, not \[0\]'):
        function(p, t, per=[0])


@pytest.mark.parametrize("function", OVERLAPS)
def test_smooth_as_an_array_and_without_bound(function):
    nothing = tg.zeros(3)
    for zero in (np.float32(0), np.array(0.0)):
        assert function(nothing, nothing, smooth=zero).item() == 0.0
    assert function(tg.ones(3), nothing, smooth=tg.inf).item() == 0.0


def test_settings_in_order_and_names():
    assert losses.DiceLoss(0.5).smooth == 0.5
    assert (losses.TverskyLoss(0.3, 0.7).alpha, losses.TverskyLoss(0.3, 0.7).beta) == (0.3, 0.7)
    for name, form in {
        "dice": losses.DiceLoss,
        "Dice": losses.DiceLoss,
        "DiceLoss": losses.DiceLoss,
        "tversky": losses.TverskyLoss,
        "focal_tversky": losses.FocalTverskyLoss,
        "jaccard": losses.JaccardLoss,
        "lovasz_hinge": losses.LovaszHingeLoss,
        "LovaszSoftmax": losses.LovaszSoftmaxLoss,
    }.items():
        assert type(losses.get(name)) is form
    assert losses.get("dice", smooth=0.0).smooth == 0.0


# -- Lovász ------------------------------------------------------------------------------------


def jaccard_of(wrong, mask):
    """The Jaccard loss if exactly the elements of the set ``wrong`` are wrong."""
    there = {i for i, m in enumerate(mask) if m}
    return len(wrong) / len(there | wrong) if wrong else 0.0


def extension(errors, mask):
    """The Lovász extension: errors, largest first, times what each adds to the set function."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    total, wrong = 0.0, set()
    for i in order:
        total += errors[i] * (jaccard_of(wrong | {i}, mask) - jaccard_of(wrong, mask))
        wrong = wrong | {i}
    return total


def naive_hinge(z, t):
    return extension([max(0.0, 1 - a if b else 1 + a) for a, b in zip(z, t)], t)


def naive_softmax(p, labels, classes="present"):
    """(pixels, C) and (pixels,)."""
    found = []
    for c in range(p.shape[1]):
        mask = labels == c
        if classes == "all" or mask.any():
            found.append(extension(np.where(mask, 1 - p[:, c], p[:, c]), mask))
    return np.mean(found) if found else 0.0


def test_hinge_is_the_extension(rng):
    for _ in range(20):
        z, t = 2 * rng.standard_normal((3, 4, 2)), rng.random((3, 4, 2)) < rng.random()
        each = [naive_hinge(a.ravel(), b.ravel()) for a, b in zip(z, t)]
        x = leaf(z)
        loss = lovasz_hinge_loss(x, tg.tensor(t), reduction="none")
        np.testing.assert_allclose(loss.detach().numpy(), each, rtol=1e-12)
        together = lovasz_hinge_loss(x, tg.tensor(t), per_image=False)
        assert together.item() == pytest.approx(naive_hinge(z.ravel(), t.ravel()), rel=1e-12)
        by_hand = np.zeros_like(z)
        for at in np.ndindex(z.shape):
            step = np.zeros_like(z)
            step[at] = 1e-6
            up, down = (naive_hinge((z + s).ravel(), t.ravel()) for s in (step, -step))
            by_hand[at] = (up - down) / 2e-6
        np.testing.assert_allclose(gradient(together, x), by_hand, atol=1e-8)


def test_hinge_at_corners_is_the_jaccard_loss():
    """Errors of 0 and 1, every set of them and every mask."""
    for mask in itertools.product([0.0, 1.0], repeat=4):
        for wrong in itertools.product([False, True], repeat=4):
            t = np.array(mask)
            z = np.where(wrong, 0.0, np.where(t == 1, 1.0, -1.0))
            predicted = np.where(wrong, 1 - t, t)
            union = ((predicted + t) > 0).sum()
            expected = 1 - (predicted * t).sum() / union if union else 0.0
            assert lovasz_hinge_loss(tg.tensor(z), tg.tensor(t)).item() == pytest.approx(expected)


def test_hinge_is_convex(rng):
    t = tg.tensor(rng.random(8) < 0.5)
    for _ in range(50):
        a, b, s = rng.standard_normal(8) * 2, rng.standard_normal(8) * 2, rng.random()
        f = [lovasz_hinge_loss(tg.tensor(z), t).item() for z in (a, b, s * a + (1 - s) * b)]
        assert f[2] <= s * f[0] + (1 - s) * f[1] + 1e-12


def test_ignored_pixels_are_as_if_left_out(rng):
    z, t = rng.standard_normal(30), (rng.random(30) < 0.5).astype(int)
    kept = rng.random(30) < 0.6
    for ignore, kind in ((-100, int), (255, int), (-1, float)):
        x = leaf(z)
        loss = lovasz_hinge_loss(
            x, tg.tensor(np.where(kept, t, ignore).astype(kind)), ignore_index=ignore
        )
        assert loss.item() == pytest.approx(naive_hinge(z[kept], t[kept]), rel=1e-12)
        slope = gradient(loss, x)
        assert (slope[~kept] == 0.0).all()
        y = leaf(z[kept])
        expected = gradient(lovasz_hinge_loss(y, tg.tensor(t[kept])), y)
        np.testing.assert_allclose(slope[kept], expected, rtol=1e-12)


def test_nothing_to_count():
    x = leaf(np.ones((2, 3)))
    loss = lovasz_hinge_loss(x, tg.full((2, 3), -100))
    assert loss.item() == 0.0 and (gradient(loss, x) == 0.0).all()
    raw = leaf(np.ones((2, 3)))
    for classes in ("present", "all"):
        loss = lovasz_softmax_loss(tg.softmax(raw, dim=1), tg.full((2,), -100), classes)
        assert loss.item() == 0.0 and (gradient(loss, raw) == 0.0).all()


def test_hinge_without_foreground_is_its_largest_error():
    z = leaf([0.5, -3.0, 2.0, 1.0])
    loss = lovasz_hinge_loss(z, tg.zeros(4))
    assert loss.item() == 3.0 and gradient(loss, z).tolist() == [0.0, 0.0, 1.0, 0.0]


def test_hinge_of_extreme_logits():
    z = leaf([1e4, -1e4, 1e4, -1e4])
    loss = lovasz_hinge_loss(z, tg.tensor([1, 0, 0, 1]))
    assert loss.item() == pytest.approx(10001.0 * 2 / 3)  # two of three are wrong
    assert np.isfinite(gradient(loss, z)).all()


def test_one_image_of_pixels(rng):
    z, t = tg.tensor(rng.standard_normal(6)), tg.tensor(rng.random(6) < 0.5)
    one = lovasz_hinge_loss(z, t, reduction="none")
    assert one.shape == () and one.item() == lovasz_hinge_loss(z[None], t[None]).item()
    assert lovasz_hinge_loss(z, t, per_image=False).item() == one.item()
    assert lovasz_hinge_loss(z[:1], t[:1]).shape == ()


@pytest.mark.parametrize("classes", ["present", "all"])
def test_softmax_is_the_extension_of_each_class(classes, rng):
    for _ in range(20):
        p = rng.dirichlet(np.ones(4), size=(3, 2, 5))  # (N, H, W, C)
        labels = rng.integers(0, rng.integers(1, 5), (3, 2, 5))
        x = tg.tensor(np.moveaxis(p, -1, 1).copy())
        each = [naive_softmax(a.reshape(-1, 4), b.ravel(), classes) for a, b in zip(p, labels)]
        found = lovasz_softmax_loss(x, tg.tensor(labels), classes, True, reduction="none")
        np.testing.assert_allclose(found.numpy(), each, rtol=1e-12)
        together = lovasz_softmax_loss(x, tg.tensor(labels), classes)
        expected = naive_softmax(p.reshape(-1, 4), labels.ravel(), classes)
        assert together.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ignore", [-100, 255, 1])
def test_softmax_leaves_out_what_is_ignored(ignore, rng):
    p, labels = rng.dirichlet(np.ones(3), size=40), rng.integers(0, 3, 40)
    labels = np.where(rng.random(40) < 0.3, ignore, labels)
    kept = labels != ignore
    found = lovasz_softmax_loss(tg.tensor(p), tg.tensor(labels), ignore_index=ignore)
    assert found.item() == pytest.approx(naive_softmax(p[kept], labels[kept]), rel=1e-12)


def test_softmax_at_corners_is_the_mean_jaccard_loss(rng):
    for _ in range(30):
        predicted, labels = rng.integers(0, 3, 10), rng.integers(0, 3, 10)
        x = leaf(np.eye(3)[predicted])
        loss = lovasz_softmax_loss(x, tg.tensor(labels))
        expected = [
            1 - ((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum()
            for c in np.unique(labels)
        ]
        assert loss.item() == pytest.approx(np.mean(expected))
        assert np.isfinite(gradient(loss, x)).all()


@pytest.mark.parametrize("pixels", [100, 100_000])
def test_single_precision_of_many_pixels(pixels, rng):
    """J(i) - J(i-1) as a difference would lose the digits that the gradient is made of."""
    z, t = rng.standard_normal(pixels).astype(np.float32), tg.tensor(rng.random(pixels) < 0.3)
    found = []
    for dtype in ("float32", "float64"):
        x = tg.tensor(z, dtype=dtype, requires_grad=True)
        loss = lovasz_hinge_loss(x, t)
        found.append((loss.item(), gradient(loss, x)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    # neighbours in order that single precision ties may change places: as good a subgradient
    scale = np.abs(found[1][1]).mean()
    close = np.isclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-5 * scale)
    assert close.mean() > 0.99


def test_softmax_with_anything_at_ignored_pixels(rng):
    p, labels = rng.dirichlet(np.ones(3), size=6), np.array([0, -100, 2, 1, -100, 0])
    expected = lovasz_softmax_loss(tg.tensor(p), tg.tensor(labels)).item()
    for anything in (np.nan, np.inf, -3.0):
        p[labels < 0] = anything
        x = leaf(p)
        loss = lovasz_softmax_loss(x, tg.tensor(labels))
        assert loss.item() == expected
        slope = gradient(loss, x)
        assert np.isfinite(slope).all() and (slope[labels < 0] == 0.0).all()


def test_lovasz_refuses():
    z, t = tg.zeros(2, 3), tg.ones(2, 3)
    with pytest.raises(
        ValueError, match=r"target must be a mask of 0 and 1, or ignore_index=-100, .*\[0, 0\] is 2"
    ):
        lovasz_hinge_loss(z, t * 2)
    with pytest.raises(ValueError, match=r"is nan"):
        lovasz_hinge_loss(z, t * tg.nan)
    with pytest.raises(TypeError, match="ignore_index must be a number"):
        lovasz_hinge_loss(z, t, ignore_index=None)
    p, labels = tg.full((2, 4), 0.25), tg.tensor([0, 3])
    with pytest.raises(ValueError, match=r"classes must be .*, not 'some'"):
        lovasz_softmax_loss(p, labels, "some")
    with pytest.raises(ValueError, match=r"a label is outside 0 … 3 .* \[1\] is 4"):
        lovasz_softmax_loss(p, tg.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"must add up to 1"):
        lovasz_softmax_loss(p / 2, labels)
    with pytest.raises(ValueError, match=r"input must be in \[0, 1\]"):
        lovasz_softmax_loss(p * 6, labels)
    with pytest.raises(ValueError, match=r"shape \(N, C, ...\), not \(4,\)"):
        lovasz_softmax_loss(p[0], labels[0])
    with pytest.raises(ValueError, match=r"takes class indices of shape \(2,\), not \(2, 1\)"):
        lovasz_softmax_loss(p, labels[:, None])
    with pytest.raises(TypeError, match="class indices"):
        lovasz_softmax_loss(p, labels.float())
