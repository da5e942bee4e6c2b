"""Losses that ask for a margin: against loops in NumPy, at extremes, and what they refuse. The
table's tests, and those of kinks in test_losses_regression, run over them too."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

RANDOM = np.random.default_rng(3)


def double(values, requires_grad=False):
    return tg.tensor(np.array(values, dtype="float64"), requires_grad=requires_grad)


def test_hinge_losses_by_hand():
    x, t = RANDOM.normal(size=20), RANDOM.choice([-1.0, 1.0], size=20)
    short = [max(0.0, 1.0 - b * a) for a, b in zip(x, t)]
    assert losses.hinge_loss(double(x), double(t)).item() == pytest.approx(np.mean(short))
    squared = losses.squared_hinge_loss(double(x), double(t), "none")
    np.testing.assert_allclose(squared.numpy(), np.square(short))
    assert losses.HingeLoss()(double(x), tg.tensor(t.astype(int))).item() == pytest.approx(
        np.mean(short)
    )


def test_at_the_margin_the_hinge_has_no_slope():
    for loss in (losses.hinge_loss, losses.squared_hinge_loss):
        x = double([1.0, -1.0], requires_grad=True)
        assert tg.grad(loss(x, double([1.0, -1.0])), x)[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin_by_hand(p):
    x, label, weight = RANDOM.normal(size=(9, 5)), RANDOM.integers(0, 5, 9), RANDOM.random(5)
    expected = [
        weight[y] * sum(max(0.0, 0.7 - row[y] + row[i]) ** p for i in range(5) if i != y) / 5
        for row, y in zip(x, label)
    ]
    found = losses.multi_margin_loss(
        double(x), tg.tensor(label), p, 0.7, double(weight), reduction="none"
    )
    np.testing.assert_allclose(found.numpy(), expected)
    one = losses.multi_margin_loss(double(x[0]), tg.tensor(label[0]), p, 0.7, double(weight))
    assert one.item() == pytest.approx(expected[0])
    assert tg.check_grads(
        lambda z, margin, w: losses.multi_margin_loss(z, tg.tensor(label), p, margin, w),
        (double(x), double(0.7), double(weight)),
        order=2,
    )


def test_multi_margin_squared_has_its_second_derivative():
    """torch's cannot be differentiated twice."""
    x = double([[0.5, 0.2, -3.0]], requires_grad=True)
    loss = losses.multi_margin_loss(x, tg.tensor([0]), p=2)
    (first,) = tg.grad(loss, x, create_graph=True)
    (second,) = tg.grad(first[0, 0], x)
    np.testing.assert_allclose(second.numpy(), [[2 / 3, -2 / 3, 0.0]], atol=1e-15)


def test_multi_margin_of_an_infinite_score():
    for p in (1, 2):
        x = double([[np.inf, 0.0, -np.inf]], requires_grad=True)
        loss = losses.multi_margin_loss(x, tg.tensor([0]), p)
        assert loss.item() == 0.0
        assert tg.grad(loss, x)[0].tolist() == [[0.0, 0.0, 0.0]]


def test_multilabel_losses_by_hand():
    x = RANDOM.normal(size=(4, 5))
    lists = [[2, 0, -1, 3, 3], [4, -1, -1, -1, -1], [-1, 0, 1, 2, 3], [0, 1, 2, 3, 4]]
    chosen = [[2, 0], [4], [], [0, 1, 2, 3, 4]]
    expected = [
        sum(max(0.0, 1 - row[j] + row[i]) for j in y for i in range(5) if i not in y) / 5
        for row, y in zip(x, chosen)
    ]
    found = losses.multilabel_margin_loss(double(x), tg.tensor(lists), "none")
    np.testing.assert_allclose(found.numpy(), expected)
    target = RANDOM.integers(0, 2, (4, 5)).astype(float)
    soft = losses.multilabel_soft_margin_loss(double(x), double(target))
    bce = losses.binary_cross_entropy_with_logits(double(x), double(target))
    assert soft.item() == pytest.approx(bce.item(), rel=1e-14)


def test_scores_of_ten_thousand():
    x = double([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    t = double([1.0, 1.0, -1.0, -1.0])
    for loss, expected in ((losses.hinge_loss, 10001.0), (losses.soft_margin_loss, 1e4)):
        value = loss(x, t, "none")
        assert value.tolist() == [0.0, expected, expected, 0.0]
        assert tg.grad(value.sum(), x)[0].tolist() == [0.0, -1.0, 1.0, 0.0]
    x = double([0.0], requires_grad=True)  # smooth at 0
    (first,) = tg.grad(losses.soft_margin_loss(x, double([1.0])), x, create_graph=True)
    assert (first.item(), tg.grad(first.sum(), x)[0].item()) == (-0.5, 0.25)


@pytest.mark.parametrize(
    "dtype, sizes", [("float64", (1e-3, 1.0, 1e100)), ("float32", (1.0, 1e15))]
)
def test_cosine_embedding_at_any_length(dtype, sizes):
    """The product of the squared lengths overflows, the cosine does not."""
    for size in sizes:
        a = tg.tensor([[3.0 * size, 4.0 * size]], dtype=dtype, requires_grad=True)
        b = tg.tensor([[4.0 * size, 3.0 * size]], dtype=dtype)
        loss = losses.cosine_embedding_loss(a, b, tg.tensor([1]))
        assert loss.item() == pytest.approx(0.04, rel=1e-4)
        assert np.isfinite(tg.grad(loss, a)[0].numpy()).all()


def test_coinciding_and_zero_embeddings_have_finite_derivatives():
    for a in ([0.0, 0.0], [1.0, 2.0]):
        for b in ([0.0, 0.0], [1.0, 2.0]):
            for sign in (1, -1):
                x, y = double([a], requires_grad=True), double([b], requires_grad=True)
                loss = losses.cosine_embedding_loss(x, y, tg.tensor([sign]))
                first = tg.grad(loss, (x, y), create_graph=True)
                second = tg.grad(sum((g * g).sum() for g in first), (x, y))
                for found in (*first, *second):
                    assert np.isfinite(found.detach().numpy()).all()


def test_hinge_embedding_is_the_distance_or_what_it_lacks():
    found = losses.hinge_embedding_loss(
        double([0.3, 0.3, 5.0]), tg.tensor([1, -1, -1]), 2.0, reduction="none"
    )
    np.testing.assert_allclose(found.numpy(), [0.3, 1.7, 0.0])


X, V = double([0.5, -0.5]), double([[1.0, 2.0], [3.0, 4.0]])
NOT_SIGNS = r"must be -1 or 1, but entry \[1\] is 0.* become that by 2 \* target - 1"
REFUSED = [
    (NOT_SIGNS, lambda: losses.hinge_loss(X, tg.tensor([1, 0]))),
    (NOT_SIGNS, lambda: losses.squared_hinge_loss(X, double([1.0, 0.0]))),
    (NOT_SIGNS, lambda: losses.soft_margin_loss(X, tg.tensor([1, 0]))),
    (NOT_SIGNS, lambda: losses.margin_ranking_loss(X, X, tg.tensor([1, 0]))),
    (NOT_SIGNS, lambda: losses.hinge_embedding_loss(X, tg.tensor([1, 0]))),
    (NOT_SIGNS, lambda: losses.cosine_embedding_loss(V, V, tg.tensor([1, 0]))),
    (
        r"of shape \(2, 2\) take targets of shape \(2,\), not \(2, 1\)",
        lambda: losses.cosine_embedding_loss(V, V, tg.ones(2, 1)),
    ),
    ("p must be 1 or 2, not 3", lambda: losses.multi_margin_loss(V, tg.tensor([0, 1]), 3)),
    (
        r"one number for each of the 2 classes, shape \(2,\), not \(3,\)",
        lambda: losses.multi_margin_loss(V, tg.tensor([0, 1]), weight=tg.ones(3)),
    ),
    (
        r"takes class indices of shape \(2,\), not \(3,\)",
        lambda: losses.multi_margin_loss(V, tg.tensor([0, 1, 1])),
    ),
    (
        r"a label is outside 0 … 1: in target entry \[1\] is 2",
        lambda: losses.multi_margin_loss(V, tg.tensor([0, 2])),
    ),
    (
        r"a label is outside 0 … 1 and not ignore_index=-1: in target entry \[0, 0\] is -2",
        lambda: losses.multilabel_margin_loss(V, tg.tensor([[-2, 0], [0, 1]])),
    ),
    (
        r"target must be in \[0, 1\], but entry \[0, 1\] is 2.0",
        lambda: losses.multilabel_soft_margin_loss(V, double([[0.0, 2.0], [1.0, 1.0]])),
    ),
    (
        r"input must have shape \(N, C\) or \(C,\)",
        lambda: losses.multi_margin_loss(V.unsqueeze(0), tg.tensor([[0, 1]])),
    ),
    (r"input2 has shape \(2, 1\)", lambda: losses.margin_ranking_loss(X, X.unsqueeze(1), X)),
    (r"target has shape \(1, 2\)", lambda: losses.margin_ranking_loss(X, X, X.unsqueeze(0))),
]


@pytest.mark.parametrize("message, call", REFUSED)
def test_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()


WITH_MARGIN = {
    "margin_ranking_loss": (X, X, tg.tensor([1, -1])),
    "hinge_embedding_loss": (X, tg.tensor([1, -1])),
    "cosine_embedding_loss": (V, V, tg.tensor([1, -1])),
    "multi_margin_loss": (V, tg.tensor([0, 1])),
}


@pytest.mark.parametrize("name", WITH_MARGIN)
def test_margins_that_do_not_fit_are_refused_by_name(name):
    """One of (N, 1) would make N × N losses of N."""
    loss, operands = getattr(losses, name), WITH_MARGIN[name]
    with pytest.raises(ValueError, match=rf"{name}: margin must be one number or broadcast to"):
        loss(*operands, margin=tg.ones(2, 1, 1))
    for wrong in ([1.0, 1.0], None, "1"):
        with pytest.raises(TypeError, match=f"{name}: margin must be a number or a tensor"):
            loss(*operands, margin=wrong)


def test_weights_of_classes_are_no_list():
    with pytest.raises(TypeError, match="weight must be a number or a tensor, not list"):
        losses.multi_margin_loss(V, tg.tensor([0, 1]), weight=[1.0, 2.0])


def test_labels_of_floats_are_refused():
    with pytest.raises(TypeError, match=r"class indices \(integers\), not float64"):
        losses.multi_margin_loss(V, double([0.0, 1.0]))
