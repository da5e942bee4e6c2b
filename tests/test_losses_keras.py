"""Keras's losses: its numbers at the edges, the articles' numbers, derivatives and refusals."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

EDGES = json.loads((Path(__file__).parent / "data" / "keras_edges.json").read_text())
CLASSES = [
    losses.BinaryCrossentropy,
    losses.CategoricalCrossentropy,
    losses.SparseCategoricalCrossentropy,
    losses.KLDivergence,
    losses.Poisson,
    losses.CosineSimilarity,
    losses.BinaryFocalCrossentropy,
    losses.CategoricalFocalCrossentropy,
    losses.CategoricalGeneralizedCrossEntropy,
    losses.Circle,
    losses.CategoricalHinge,
    losses.Hinge,
    losses.LogCosh,
    losses.MeanAbsolutePercentageError,
    losses.MeanSquaredLogarithmicError,
    losses.SquaredHinge,
]
P = [[0.1, 0.8, 0.1], [0.3, 0.2, 0.5]]


def double(values, **named):
    return tg.tensor(values, dtype="float64", **named)


def slope(function, *values):
    reals = [double(v, requires_grad=True) for v in values]
    y = function(*reals)
    return y, tg.grad(y.sum(), reals, create_graph=True, materialize_grads=True)


@pytest.mark.parametrize("i", range(len(EDGES)), ids=lambda i: f"{EDGES[i]['class']}-{i}")
def test_edges_are_as_in_keras(i):
    case = EDGES[i]
    x = double(case["input"], requires_grad=True)
    loss = getattr(losses, case["class"])(**case["settings"])
    if case["weight"] is not None:
        loss.weight = double(case["weight"])
    y = loss(x, tg.tensor(np.array(case["target"])))
    np.testing.assert_allclose(y.detach().numpy(), case["value"], rtol=1e-12, atol=1e-15)
    g = tg.grad(y.sum(), x)[0].numpy()
    assert np.isfinite(g).all()
    if case["gradient"] is not None:
        np.testing.assert_allclose(g, case["gradient"], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    "form, settings",
    [
        (losses.BinaryCrossentropy, "from_logits label_smoothing axis reduction"),
        (losses.CategoricalCrossentropy, "from_logits label_smoothing axis reduction"),
        (losses.SparseCategoricalCrossentropy, "from_logits ignore_class reduction axis"),
        (losses.CosineSimilarity, "axis reduction"),
        (losses.KLDivergence, "reduction"),
        (losses.Poisson, "reduction"),
        (
            losses.BinaryFocalCrossentropy,
            "apply_class_balancing alpha gamma from_logits label_smoothing axis reduction",
        ),
        (
            losses.CategoricalFocalCrossentropy,
            "alpha gamma from_logits label_smoothing axis reduction",
        ),
        (losses.CategoricalGeneralizedCrossEntropy, "q reduction"),
        (losses.Circle, "gamma margin remove_diagonal reduction"),
    ],
)
def test_settings_are_keras_s_in_its_order(form, settings):
    found = list(inspect.signature(form).parameters)
    assert found[: len(settings.split())] == settings.split()
    assert form().reduction == "sum_over_batch_size"


# -- the articles' numbers --------------------------------------------------------------------
@pytest.mark.parametrize("p, expected", [(0.9, 0.105361), (0.1, 2.302585)])
def test_binary_cross_entropy_of_the_article(p, expected):
    for loss in (losses.BinaryCrossentropy(), losses.BCELoss()):
        assert round(loss(double([p]), double([1.0])).item(), 6) == expected


def test_cross_entropies_of_the_articles():
    loss = losses.CategoricalCrossentropy()
    assert round(loss(double([[0.1, 0.8, 0.1]]), double([[0, 1.0, 0]])).item(), 6) == 0.223144
    y = loss(double([[0.3, 0.2, 0.5]]), double([[0.0, 0.0, 1.0]])).item()
    assert round(y, 6) == 0.693147  # 0.30103 is log10
    assert round(y / math.log(10.0), 5) == 0.30103


def test_indices_one_hot_and_soft_labels_agree():
    p, index, hot = double(P), tg.tensor([1, 2]), double([[0, 1.0, 0], [0, 0, 1.0]])
    expected = [-math.log(0.8), -math.log(0.5)]
    none = {"reduction": "none"}
    found = [
        losses.sparse_categorical_crossentropy(p, index, **none),
        losses.sparse_categorical_crossentropy(tg.log(p), index, from_logits=True, **none),
        losses.categorical_crossentropy(p, hot, **none),
        losses.categorical_crossentropy(tg.log(p), hot, from_logits=True, **none),
        losses.cross_entropy(tg.log(p), index, **none),
        losses.cross_entropy(tg.log(p), hot, **none),
        losses.nll_loss(tg.log(p), index, **none),
    ]
    for y in found:
        np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-15)
    # a soft label is the mixture of the hard ones
    soft = losses.categorical_crossentropy(p, double([[0.25, 0.75, 0], [0, 0, 1.0]]), **none)
    mixed = -0.25 * math.log(0.1) - 0.75 * math.log(0.8)
    np.testing.assert_allclose(soft.numpy(), [mixed, expected[1]], rtol=0, atol=1e-15)


def test_labels_in_a_column_are_those_in_a_row():
    p = double(P)
    for loss in (
        losses.SparseCategoricalCrossentropy(),
        losses.CategoricalGeneralizedCrossEntropy(),
    ):
        assert loss(p, tg.tensor([[1], [2]])).item() == loss(p, tg.tensor([1, 2])).item()


def test_classes_along_another_axis():
    maps = tg.softmax(tg.randn(2, 3, 2, 2, dtype="float64", generator=tg.Generator()), dim=1)
    labels = tg.tensor([[[0, 1], [2, 0]], [[1, 1], [0, 2]]])
    first = losses.sparse_categorical_crossentropy(maps, labels, axis=1, reduction="none")
    last = losses.sparse_categorical_crossentropy(
        maps.permute(0, 2, 3, 1), labels, reduction="none"
    )
    hot = tg.nn.functional.one_hot(labels, 3).double()
    dense = losses.categorical_crossentropy(maps.permute(0, 2, 3, 1), hot, reduction="none")
    dense_first = losses.categorical_crossentropy(
        maps, hot.permute(0, 3, 1, 2), axis=1, reduction="none"
    )
    one = losses.sparse_categorical_crossentropy(
        maps, labels.unsqueeze(1), axis=1, reduction="none"
    )
    for y in (last, dense, dense_first, one):
        np.testing.assert_allclose(y.numpy(), first.numpy(), rtol=1e-14)
    smoothed = losses.categorical_crossentropy(maps, hot.permute(0, 3, 1, 2), False, 0.1, 1)
    same = losses.categorical_crossentropy(maps.permute(0, 2, 3, 1), hot, False, 0.1)
    np.testing.assert_allclose(smoothed.item(), same.item(), rtol=1e-14)


# -- edges ------------------------------------------------------------------------------------
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_0_and_1_have_finite_derivatives(gamma, dtype):
    p = tg.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=dtype, requires_grad=True)
    hot = tg.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=dtype)
    index = tg.tensor([0, 0])
    for y in (
        losses.binary_crossentropy(p, hot),
        losses.categorical_crossentropy(p, hot),
        losses.sparse_categorical_crossentropy(p, index),
        losses.kl_divergence(p, hot),
        losses.poisson(p, hot),
        losses.binary_focal_crossentropy(p, hot, gamma=gamma),
        losses.binary_focal_crossentropy(p, hot, True, 0.3, gamma, label_smoothing=0.1),
        losses.categorical_focal_crossentropy(p, hot, gamma=gamma),
        losses.categorical_generalized_cross_entropy(p, index),
    ):
        assert np.isfinite(y.item())
        (g,) = tg.grad(y, p, create_graph=True)
        assert np.isfinite(g.detach().numpy()).all()
        if g.requires_grad:
            assert np.isfinite(tg.grad((g * g).sum(), p)[0].numpy()).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("size", [0.0, 20.0, 50.0, 700.0, 1e4])
def test_logits_of_any_size(size, gamma):
    z, hot = [[size, -size], [-size, size]], [[1.0, 0.0], [1.0, 0.0]]
    small = math.log1p(math.exp(-2.0 * size))
    for loss in (losses.CategoricalCrossentropy(True), losses.SparseCategoricalCrossentropy(True)):
        target = tg.tensor([0, 0]) if "Sparse" in repr(loss) else double(hot)
        y, (g,) = slope(lambda x, loss=loss, target=target: loss(x, target), z)
        np.testing.assert_allclose(y.item(), size + small, rtol=1e-14, atol=1e-16)
        assert np.isfinite(g.detach().numpy()).all()
    y, (g,) = slope(lambda x: losses.BinaryCrossentropy(True)(x, double(hot)), z)
    np.testing.assert_allclose(y.item(), size / 2 + math.log1p(math.exp(-size)), rtol=1e-14)
    for loss in (
        losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True),
        losses.CategoricalFocalCrossentropy(gamma=gamma, from_logits=True),
    ):
        y, (g,) = slope(lambda x, loss=loss: loss(x, double(hot)), z)
        assert np.isfinite(y.item()) and y.item() > size / 10
        second = slope(lambda x, loss=loss: slope2(loss, x, hot), z)[1][0]
        assert np.isfinite(g.detach().numpy()).all() and np.isfinite(second.detach().numpy()).all()


@pytest.mark.parametrize("size", [5.0, 20.0, 80.0])
def test_logits_that_are_right_keep_the_digits_of_small_losses(size):
    y = losses.binary_crossentropy(
        tg.tensor([[size], [-size]]), tg.tensor([[1.0], [0.0]]), True, reduction="none"
    )
    np.testing.assert_allclose(y.numpy(), math.log1p(math.exp(-size)), rtol=1e-6)


def slope2(loss, x, hot):
    (g,) = tg.grad(loss(x, double(hot)), x, create_graph=True)
    return (g * g).sum()


def test_a_logit_is_the_logit_of_its_probability():
    z, hot = double([[1.5, -0.5], [0.25, 3.0]]), double([[1.0, 0.0], [0.0, 1.0]])
    for loss, p in (
        (losses.binary_crossentropy, tg.sigmoid(z)),
        (losses.binary_focal_crossentropy, tg.sigmoid(z)),
        (losses.categorical_crossentropy, tg.softmax(z, dim=-1)),
        (losses.categorical_focal_crossentropy, tg.softmax(z, dim=-1)),
    ):
        np.testing.assert_allclose(
            loss(z, hot, from_logits=True).item(), loss(p, hot).item(), rtol=1e-13
        )


def test_generalised_cross_entropy_goes_to_its_limits():
    p, index = double(P), tg.tensor([1, 2])
    near_zero = losses.categorical_generalized_cross_entropy(p, index, q=1e-7)
    assert near_zero.item() == pytest.approx(
        losses.sparse_categorical_crossentropy(p, index).item(), rel=1e-6
    )
    near_one = losses.categorical_generalized_cross_entropy(p, index, q=1.0 - 1e-9)
    assert near_one.item() == pytest.approx((0.2 + 0.5) / 2, rel=1e-8)
    # through a softmax the derivative is -p^q (1 - p), which goes to 0 with p
    y, (g,) = slope(
        lambda z: losses.categorical_generalized_cross_entropy(
            tg.softmax(z, dim=-1), tg.tensor([0])
        ),
        [[-1e4, 0.0]],
    )
    assert y.item() == 2.0 and g.tolist() == [[0.0, 0.0]]


def test_circle_written_out():
    generator = tg.Generator().manual_seed(3)
    u = tg.randn(6, 4, dtype="float64", generator=generator)
    u = (u / u.norm(dim=1, keepdim=True)).numpy()
    v = tg.randn(5, 4, dtype="float64", generator=generator)
    v = (v / v.norm(dim=1, keepdim=True)).numpy()
    labels, others = np.array([0, 1, 0, 1, 2, 0]), np.array([0, 1, 1, 0, 0])

    def one(i, refs, ref_labels, skip, gamma, m):
        d = 1.0 - refs @ u[i]
        same = ref_labels == labels[i]
        pulls = [gamma * (d[j] + m) * (d[j] - m) for j in range(len(d)) if same[j] and j != skip]
        pushes = [
            gamma * max(0, 1 + m - d[j]) * (1 - m - d[j]) for j in range(len(d)) if not same[j]
        ]
        if not pulls or not pushes:
            return 0.0
        return math.log1p(np.exp(pulls).sum() * np.exp(pushes).sum())

    expected = [one(i, u, labels, i, 3.0, 0.3) for i in range(6)]
    settings = {"gamma": 3.0, "margin": 0.3}
    found = losses.circle(tg.tensor(u), tg.tensor(labels), **settings, reduction="none")
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert expected[4] == 0.0  # alone, and so it does not count in the mean
    mean = losses.circle(tg.tensor(u), tg.tensor(labels), **settings)
    assert mean.item() == pytest.approx(sum(expected) / 5, rel=1e-12)
    expected = [one(i, v, others, None, 3.0, 0.3) for i in range(6)]
    against = {"ref_embeddings": tg.tensor(v), "ref_labels": tg.tensor(others)}
    found = losses.circle(
        tg.tensor(u),
        tg.tensor(labels),
        **settings,
        remove_diagonal=False,
        **against,
        reduction="none",
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_circle_where_nothing_counts_is_0():
    y, (g,) = slope(lambda u: losses.circle(u, tg.tensor([0, 0])), [[1.0, 0.0], [0.6, 0.8]])
    assert y.item() == 0.0 and g.tolist() == [[0.0, 0.0], [0.0, 0.0]]


# -- weights of samples -----------------------------------------------------------------------
@pytest.mark.parametrize("reduction", ["none", "sum", "sum_over_batch_size", "mean"])
def test_weights_of_samples_have_gradients(reduction):
    p, target, w = double(P), double([[0, 1.0, 0], [0, 0, 1.0]]), [2.0, 0.5]

    def loss(w):
        return losses.categorical_crossentropy(p, target, reduction=reduction, weight=w)

    _, (g,) = slope(loss, w)
    each = np.array([-math.log(0.8), -math.log(0.5)])
    share = 0.5 if reduction in ("sum_over_batch_size", "mean") else 1.0
    np.testing.assert_allclose(g.detach().numpy(), each * share, rtol=1e-14)
    assert tg.check_grads(loss, (double(w),), order=2)


@pytest.mark.parametrize("settings", [{}, {"ignore_class": 1}])
def test_a_number_is_a_weight_of_all(settings):
    loss, index = losses.sparse_categorical_crossentropy, tg.tensor([1, 2])
    y = loss(double(P), index, weight=0.1, **settings)
    assert y.item() == 0.1 * loss(double(P), index, **settings).item()


def test_a_column_of_weights_is_refused():
    with pytest.raises(ValueError, match=r"\(2,\).*weight has shape \(2, 1\).*reshape\(2,\)"):
        losses.kl_divergence(double(P), double(P), weight=double([[1.0], [2.0]]))


WEIGHED = (losses.kl_divergence, losses.log_cosh, losses.hinge, losses.categorical_hinge)


@pytest.mark.parametrize("loss", WEIGHED)
def test_weights_are_one_for_each_sample(loss):
    """Two for maps of (2, 2) samples would be one for each column."""
    x = double([[[0.2, 0.8], [0.5, 0.5]], [[0.1, 0.9], [1.0, 0.0]]])
    hot = double([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    w = double([[1.0, 2.0], [3.0, 4.0]])
    found = loss(x, hot, weight=w, reduction="none").numpy()
    np.testing.assert_allclose(found, w.numpy() * loss(x, hot, reduction="none").numpy())
    with pytest.raises(ValueError, match=rf"{loss.__name__}: .*\(2, 2\) but weight has .*\(2,\)"):
        loss(x, hot, weight=double([1.0, 2.0]))
    with pytest.raises(TypeError, match="weight must be a number or a tensor, not list"):
        loss(x, hot, weight=[1.0, 2.0])


# -- what is refused --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "loss", [losses.sparse_categorical_crossentropy, losses.categorical_generalized_cross_entropy]
)
def test_a_label_out_of_range_is_named(loss):
    with pytest.raises(ValueError, match=r"0 … 2: in target entry \[1\] is 3"):
        loss(double(P), tg.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"entry \[0\] is -1"):
        loss(double(P), tg.tensor([-1, 0]))
    with pytest.raises(TypeError, match=r"class indices \(integers\), not float64.*long"):
        loss(double(P), double([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"\(2, 3\).*dimension 1.*shape \(2,\), not \(3,\)"):
        loss(double(P), tg.tensor([0, 1, 2]))


def test_a_label_out_of_range_beside_an_ignored_one():
    with pytest.raises(ValueError, match=r"and not ignore_index=255.*entry \[1\] is 3"):
        losses.sparse_categorical_crossentropy(double(P), tg.tensor([255, 3]), ignore_class=255)


@pytest.mark.parametrize(
    "loss",
    [
        losses.binary_crossentropy,
        losses.categorical_crossentropy,
        losses.binary_focal_crossentropy,
        losses.categorical_focal_crossentropy,
    ],
)
def test_targets_and_smoothing_outside_0_and_1_are_refused(loss):
    with pytest.raises(ValueError, match=r"target must be in \[0, 1\], but entry \[0, 1\] is 2"):
        loss(double(P[:1]), double([[0.0, 2.0, 0.0]]))
    with pytest.raises(ValueError, match="label_smoothing"):
        loss(double(P), double(P), label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"\(2,\).*\(2, 1\).*reshape"):
        loss(double([0.1, 0.9]), double([[0.0], [1.0]]))


@pytest.mark.parametrize("target", [[[0, 1, 0]], [[False, True, False]]])
def test_targets_may_be_integers_or_booleans(target):
    p = double(P[:1])
    for loss in (losses.binary_crossentropy, losses.categorical_crossentropy):
        assert loss(p, tg.tensor(target)).item() == loss(p, double([[0, 1, 0]])).item()


def test_probabilities_without_a_positive_sum_are_refused():
    message = r"positive sum.*dimension 1 entry \[1, 0\] is -1.0; for logits say from_logits=True"
    bad = double([[0.5, 0.5], [1.0, -2.0]])
    with pytest.raises(ValueError, match=message):
        losses.categorical_crossentropy(bad, double([[1.0, 0.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match=message):
        losses.sparse_categorical_crossentropy(bad, tg.tensor([0, 1]))
    y = losses.sparse_categorical_crossentropy(bad, tg.tensor([0, -1]), ignore_class=-1)
    assert y.item() == pytest.approx(math.log(2.0))  # whatever an ignored sample holds


def test_categorical_hinge_by_hand():
    random = np.random.default_rng(0)
    x, label = random.normal(size=(30, 4)), random.integers(0, 4, 30)
    expected = [max(0.0, 1.0 + max([0.0, *np.delete(row, y)]) - row[y]) for row, y in zip(x, label)]
    found = losses.categorical_hinge(double(x), double(np.eye(4)[label]), "none")
    np.testing.assert_allclose(found.numpy(), expected)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: losses.categorical_generalized_cross_entropy(
                double(P), tg.tensor([0, 1]), q=1.0
            ),
            ValueError,
            "q must be between 0 and 1, not 1.0",
        ),
        (
            lambda: losses.categorical_generalized_cross_entropy(
                double([[1.5, 0.5]]), tg.tensor([0])
            ),
            ValueError,
            r"input must be in \[0, 1\]",
        ),
        (lambda: losses.poisson(double([[-1.0]]), double([[1.0]])), ValueError, "expected counts"),
        (lambda: losses.poisson(double([[1.0]]), double([[-1.0]])), ValueError, "are counts"),
        (
            lambda: losses.kl_divergence(double(P), tg.tensor([[0, 1, 0], [1, 0, 0]])),
            TypeError,
            "target must be floating point, not int64",
        ),
        (
            lambda: losses.binary_focal_crossentropy(double(P), double(P), True, alpha=2.0),
            ValueError,
            r"alpha must be in \[0, 1\], but it is 2",
        ),
        (
            lambda: losses.circle(double(P), tg.tensor([0, 1, 2])),
            ValueError,
            r"target.*2 embeddings, shape \(2,\), not \(3,\)",
        ),
        (
            lambda: losses.circle(double(P[0]), tg.tensor([0])),
            ValueError,
            r"input must have shape \(N, D\), not \(3,\)",
        ),
        (
            lambda: losses.circle(double(P), double([0.0, 1.0])),
            TypeError,
            "target must be integers, not float64",
        ),
        (
            lambda: losses.categorical_crossentropy(double(P), double(P), axis=2),
            IndexError,
            "categorical_crossentropy",
        ),
        (
            lambda: losses.categorical_crossentropy(double(0.5), double(1.0)),
            ValueError,
            r"a number for each class, shape \(..., C\), not \(\)",
        ),
        (
            lambda: losses.sparse_categorical_crossentropy(
                double(P), tg.tensor([0, 1]), ignore_class=1.5
            ),
            TypeError,
            "ignore_class must be an integer or None, not 1.5",
        ),
        (
            lambda: losses.circle(double(P), tg.tensor([0, 1]), ref_labels=tg.tensor([0, 1])),
            TypeError,
            "ref_embeddings must be a tensor",
        ),
        (
            lambda: losses.circle(
                double(P),
                tg.tensor([0, 1]),
                ref_embeddings=double([[1.0, 0.0]]),
                ref_labels=tg.tensor([0]),
            ),
            ValueError,
            r"\(2, 3\) cannot be compared with ref_embeddings of shape \(1, 2\)",
        ),
        (
            lambda: losses.hinge(double(P), 2.0 * double(P)),
            ValueError,
            r"hinge: the labels of target must be -1 and 1, or 0 and 1, but entry \[0, 0\] is 0.2",
        ),
        (
            lambda: losses.categorical_hinge(double(P), 2.0 * double(P)),
            ValueError,
            "categorical_hinge: .*target",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


SETTINGS = [
    (losses.binary_crossentropy, (double([0.2, 0.7]), double([0.0, 1.0])), "label_smoothing"),
    (losses.binary_focal_crossentropy, (double([0.2, 0.7]), double([0.0, 1.0])), "gamma"),
    (losses.categorical_crossentropy, (double(P[0]), double([0.0, 1.0, 0.0])), "label_smoothing"),
    (losses.categorical_focal_crossentropy, (double(P[0]), double([0.0, 1.0, 0.0])), "alpha"),
    (losses.categorical_focal_crossentropy, (double(P[0]), double([0.0, 1.0, 0.0])), "gamma"),
    (losses.categorical_generalized_cross_entropy, (double(P), tg.tensor([0, 1])), "q"),
    (losses.circle, (double(P), tg.tensor([0, 1])), "gamma"),
    (losses.circle, (double(P), tg.tensor([0, 1])), "margin"),
]


@pytest.mark.parametrize("loss, operands, name", SETTINGS)
def test_settings_that_do_not_fit_are_refused_by_name(loss, operands, name):
    """One of (N, 1) would make N × N losses of N."""
    with pytest.raises(ValueError, match=rf"{loss.__name__}: {name} must be one number"):
        loss(*operands, **{name: 0.5 * tg.ones(2, 1)})
    for wrong in ([0.5, 0.5], None, "1"):
        with pytest.raises(TypeError, match=rf"{loss.__name__}: {name} must be a number"):
            loss(*operands, **{name: wrong})


@pytest.mark.parametrize("form", CLASSES)
def test_keras_names_are_found(form):
    loss = losses.get(form.__name__)
    assert type(loss) is form
    assert type(losses.get(form.function.__name__)) is form
