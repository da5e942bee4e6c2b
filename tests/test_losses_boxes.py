"""Losses of boxes: against torchvision's stored values and loops; edges and refusals."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.losses import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
    iou_loss,
)

STORED = json.loads((Path(__file__).parent / "data" / "boxes.json").read_text())
CASES = [(function, name) for function, cases in STORED.items() for name in cases]
FUNCTIONS = [iou_loss, generalized_box_iou_loss, distance_box_iou_loss, complete_box_iou_loss]


@pytest.fixture
def rng():
    return np.random.default_rng(24)


def leaf(data):
    return tg.tensor(np.asarray(data, dtype=float), requires_grad=True)


def drawn(rng, count):
    low = rng.standard_normal((count, 2))
    return np.concatenate([low, low + np.exp(rng.standard_normal((count, 2)))], 1)


@pytest.mark.parametrize("function, name", CASES)
def test_torchvisions_numbers(function, name):
    case = STORED[function][name]
    a, b = (leaf(boxes) for boxes in case["boxes"])
    value = getattr(losses, function)(a, b, reduction="none")
    np.testing.assert_allclose(value.detach().numpy(), case["value"], rtol=1e-9, atol=1e-12)
    first = tg.grad(value.sum(), (a, b), create_graph=True)
    for found, expected in zip(first, case["gradients"]):
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-7, atol=1e-9)
    for found, expected in zip(tg.grad(sum((g * g).sum() for g in first), (a, b)), case["second"]):
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-9 * scale)


def naive(a, b):
    """The four losses of two boxes that have an area, as published."""
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    sizes = [(x[2] - x[0], x[3] - x[1]) for x in (a, b)]
    union = sum(x * y for x, y in sizes) - w * h
    iou = w * h / union
    width, height = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    giou = 1 - iou + (width * height - union) / (width * height)
    centres = [((x[0] + x[2]) / 2, (x[1] + x[3]) / 2) for x in (a, b)]
    diou = 1 - iou + math.dist(*centres) ** 2 / (width**2 + height**2)
    v = (
        4
        / math.pi**2
        * (math.atan(sizes[1][0] / sizes[1][1]) - math.atan(np.divide(*sizes[0]))) ** 2
    )
    return [1 - iou, giou, diou, diou + (v * v / (1 - iou + v) if v else 0.0)]


def test_the_published_formulas_in_a_loop(rng):
    a, b = drawn(rng, 50), drawn(rng, 50)
    expected = np.array([naive(x, y) for x, y in zip(a, b)])
    for i, function in enumerate(FUNCTIONS):
        found = function(tg.tensor(a), tg.tensor(b), reduction="none", eps=0.0)
        np.testing.assert_allclose(found.numpy(), expected[:, i], rtol=1e-12)
        mean = function(tg.tensor(a), tg.tensor(b))
        np.testing.assert_allclose(mean.numpy(), expected[:, i].mean(), rtol=1e-5)


def test_the_reduction_is_the_mean_as_elsewhere(rng):
    a, b = tg.tensor(drawn(rng, 5)), tg.tensor(drawn(rng, 5))
    for function in FUNCTIONS:
        assert function(a, b).shape == ()
        assert function(a, b, "none").shape == (5,)
        weight = leaf([1.0, 0.0, 2.0, 0.5, 0.0])
        found = function(a, b, "sum", weight=weight)
        np.testing.assert_allclose(
            tg.grad(found, weight)[0].numpy(), function(a, b, "none").numpy(), rtol=1e-12
        )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_symmetries(function, rng):
    a, b = drawn(rng, 20), drawn(rng, 20)

    def loss(a, b, **settings):
        return function(tg.tensor(a), tg.tensor(b), "none", **settings).numpy()

    value = loss(a, b, eps=0.0)
    np.testing.assert_allclose(loss(b, a, eps=0.0), value, rtol=1e-12)
    np.testing.assert_allclose(loss(3.5 * a, 3.5 * b, eps=0.0), value, rtol=1e-12)
    shift = np.array([5.0, -2.0, 5.0, -2.0])
    np.testing.assert_allclose(loss(a + shift, b + shift, eps=0.0), value, rtol=1e-9)
    np.testing.assert_allclose(loss(a[:, [1, 0, 3, 2]], b[:, [1, 0, 3, 2]], eps=0.0), value)
    np.testing.assert_allclose(loss(a[0], b[0], eps=0.0), value[0])
    np.testing.assert_allclose(
        loss(a.reshape(4, 5, 4), b.reshape(4, 5, 4), eps=0.0), value.reshape(4, 5)
    )


def test_bounds(rng):
    a, b = tg.tensor(drawn(rng, 200)), tg.tensor(drawn(rng, 200))
    iou, giou, diou, ciou = (f(a, b, "none", eps=0.0).numpy() for f in FUNCTIONS)
    assert ((iou >= 0) & (iou <= 1)).all() and ((giou >= iou - 1e-12) & (giou <= 2)).all()
    assert ((diou >= iou) & (diou <= 2)).all() and (ciou >= diou).all()


def test_identical_boxes():
    for function in FUNCTIONS:
        a, b = leaf([[1.0, 2.0, 4.0, 6.0]]), leaf([[1.0, 2.0, 4.0, 6.0]])
        loss = function(a, b)
        assert loss.item() == pytest.approx(0.0, abs=1e-7)
        assert all(np.isfinite(g.numpy()).all() for g in tg.grad(loss, (a, b)))


def test_boxes_apart_are_drawn_together_by_all_but_iou():
    target = tg.tensor([[5.0, 0.0, 6.0, 1.0]]).double()
    for function in FUNCTIONS:
        a = leaf([[0.0, 0.0, 1.0, 1.0]])
        loss = function(a, target)
        slope = tg.grad(loss, a)[0].numpy()
        if function is iou_loss:
            assert loss.item() == 1.0 and (slope == 0.0).all()
        else:
            assert loss.item() > 1.0 and slope[0, 2] < 0.0
        for _ in range(400):
            a = (a - 0.2 * tg.grad(function(a, target), a)[0]).detach().requires_grad_()
        assert (iou_loss(a, target).item() < 1.0) == (function is not iou_loss)


def test_touching_boxes():
    a, b = leaf([[0.0, 0.0, 1.0, 1.0]]), tg.tensor([[1.0, 0.0, 2.0, 1.0]]).double()
    loss = iou_loss(a, b)
    assert loss.item() == 1.0 and (tg.grad(loss, a)[0].numpy() == 0.0).all()


#: Points, lines and a box; beside, inside and on one another.
SHAPES = [
    (1.0, 1.0, 1.0, 1.0),
    (0.0, 0.0, 0.0, 0.0),
    (1.0, 0.0, 1.0, 2.0),
    (1.0, 1.0, 1.0, 4.0),
    (0.0, 1.0, 2.0, 1.0),
    (0.0, 0.0, 2.0, 2.0),
    (5.0, 5.0, 5.0, 5.0),
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_boxes_without_area(function, dtype):
    for pair in itertools.product(SHAPES, SHAPES):
        a, b = (tg.tensor([x], dtype=dtype, requires_grad=True) for x in pair)
        loss = function(a, b)
        assert np.isfinite(loss.item()) and loss.dtype == np.dtype(dtype)
        for first in tg.grad(loss, (a, b), create_graph=True):
            assert np.isfinite(first.detach().numpy()).all(), pair
    point = tg.tensor([SHAPES[0]], dtype=dtype)
    assert function(point, point).item() == 1.0


def test_a_box_without_height_has_a_right_angle():
    """atan(w/0) is π/2; torchvision's gradient is NaN there."""
    flat, square = leaf([[0.0, 1.0, 2.0, 1.0]]), tg.tensor([[0.0, 0.0, 2.0, 2.0]]).double()
    v = 4 / math.pi**2 * (math.pi / 4) ** 2
    expected = distance_box_iou_loss(flat, square).item() + v * v / (1 + v)
    loss = complete_box_iou_loss(flat, square)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(tg.grad(loss, flat)[0].numpy()).all()


def test_the_trade_off_of_ciou_is_held_constant(rng):
    a, b = leaf(drawn(rng, 1)), tg.tensor(drawn(rng, 1))
    ciou, diou = complete_box_iou_loss(a, b), distance_box_iou_loss(a, b)
    rest = (tg.grad(ciou, a)[0] - tg.grad(diou, a)[0]).numpy()
    sides = a[:, 2:] - a[:, :2]
    other = b[:, 2:] - b[:, :2]
    turn = tg.atan(other[:, 0] / other[:, 1]) - tg.atan(sides[:, 0] / sides[:, 1])
    v = 4 / math.pi**2 * turn**2
    alpha = (v / (iou_loss(a, b, "none") + v)).item()
    expected = alpha * tg.grad(v.sum(), a)[0].numpy()
    np.testing.assert_allclose(rest, expected, rtol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_boxes_refuse(function):
    a = tg.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 1.0]])
    wrong = tg.tensor([[0.0, 0.0, 1.0, 1.0], [3.0, 0.0, 2.0, 1.5]])
    name = function.__name__
    with pytest.raises(
        ValueError, match=rf"{name}: .*x1 <= x2 .* input, entry \[1\], is \(3, 0, 2, 1.5\)"
    ):
        function(wrong, a)
    with pytest.raises(ValueError, match=r"but target, entry \[1\], is \(3, 0, 2, 1.5\)"):
        function(a, wrong)
    with pytest.raises(ValueError, match=r"but target is \(3, 0, 2, 1.5\)"):
        function(a[1], wrong[1])
    with pytest.raises(ValueError, match=r"entry \[0, 1\], is \(3, 0, 2, 1.5\)"):
        function(a[None], wrong[None])
    with pytest.raises(ValueError, match=r"is \(nan, 0, 1, 1\)"):
        function(a * tg.tensor([tg.nan, 1, 1, 1]) + 0, a)
    with pytest.raises(ValueError, match=r"boxes have shape \(N, 4\), their corners, not \(2, 3\)"):
        function(a[:, :3], a[:, :3])
    with pytest.raises(ValueError, match=r"boxes have shape .* not \(\)"):
        function(a[0, 0], a[0, 0])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_eps_and_weights_are_checked(function, rng):
    a, b = tg.tensor(drawn(rng, 3)), tg.tensor(drawn(rng, 3))
    for eps in (-1e-7, tg.tensor(-1.0), tg.nan):
        with pytest.raises(ValueError, match="eps must not be negative"):
            function(a, b, eps=eps)
    with pytest.raises(TypeError, match="eps must be a number or a tensor, not str"):
        function(a, b, eps="small")
    for wrong in (tg.ones(3, 1), tg.ones(4)):
        with pytest.raises(ValueError, match=r"eps must be .* broadcast to \(3,\)"):
            function(a, b, eps=wrong)
        with pytest.raises(ValueError, match=r"weight must be .* broadcast to \(3,\)"):
            function(a, b, weight=wrong)
    each = tg.tensor([1e-3, 1e-2, 1e-1])
    found = function(a, b, "none", each).numpy()
    for i, eps in enumerate((1e-3, 1e-2, 1e-1)):
        assert found[i] == pytest.approx(function(a[i], b[i], eps=eps).item(), rel=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_long_sides_in_single_precision(function):
    """Areas of 1e38 are in range yet; IoU and its like have no unit."""
    a, b = tg.tensor([[0.0, 0.0, 1.0, 1.0]]), tg.tensor([[0.5, 0.0, 1.5, 1.0]])
    expected = function(a, b).item()
    assert function(5e18 * a, 5e18 * b).item() == pytest.approx(expected, rel=1e-6)


def test_names():
    for name, form in {
        "iou": losses.IoULoss,
        "giou": losses.GIoULoss,
        "GIoULoss": losses.GIoULoss,
        "giou_loss": losses.GIoULoss,
        "generalized_box_iou_loss": losses.GIoULoss,
        "diou": losses.DIoULoss,
        "distance_box_iou_loss": losses.DIoULoss,
        "ciou": losses.CIoULoss,
    }.items():
        assert type(losses.get(name)) is form
