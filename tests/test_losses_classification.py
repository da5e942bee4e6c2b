"""Losses of classes: labels told in three ways, any integers, batches by vmap, extremes, refusals,
and their classes as values."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(6, 4)) * 3.0
LABELS = RANDOM.integers(0, 4, 6)
MAPS = RANDOM.normal(size=(2, 5, 12, 30))
LABEL_MAPS = RANDOM.integers(0, 5, (2, 12, 30))
WEIGHT = np.array([0.5, 1.0, 2.0, 0.25])
WITH = [{}, {"label_smoothing": 0.3}, {"weight": tg.tensor(WEIGHT)}, {"reduction": "none"}]


def half(*shape):
    return tg.full(shape, 0.5)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.3}, {"reduction": "none"}])
def test_index_one_hot_and_soft_labels_agree(settings):
    """A one-hot row gives what the index gives, a soft row the mean of what its classes give."""
    x = tg.tensor(LOGITS)
    by_index = [
        losses.cross_entropy(x, tg.full((6,), c, dtype="int64"), **settings).numpy()
        for c in range(4)
    ]
    for c in range(4):
        one_hot = tg.tensor(np.eye(4)[[c] * 6])
        found = losses.cross_entropy(x, one_hot, **settings).numpy()
        np.testing.assert_allclose(found, by_index[c], rtol=1e-15, atol=1e-15)
    q = np.array([0.1, 0.2, 0.3, 0.4])
    soft = losses.cross_entropy(x, tg.tensor(np.tile(q, (6, 1))), **settings).numpy()
    mixed = np.tensordot(q, np.array(by_index), 1)
    np.testing.assert_allclose(soft, mixed, rtol=1e-15, atol=1e-15)


def test_weighted_means_are_over_the_weights_of_the_targets():
    labels = np.where(np.arange(6) == 2, -100, LABELS)
    weights = np.where(labels >= 0, WEIGHT[LABELS], 0.0)
    log_p = log_softmax(LOGITS)
    each = -weights * log_p[np.arange(6), LABELS]
    given = tg.tensor(LOGITS), tg.tensor(labels), tg.tensor(WEIGHT)
    assert losses.cross_entropy(*given).item() == pytest.approx(each.sum() / weights.sum())
    found = losses.nll_loss(tg.tensor(log_p), *given[1:], reduction="none")
    np.testing.assert_allclose(found.numpy(), each, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint64"])
def test_labels_may_be_any_integers(dtype):
    """Maps of small integers, as images of labels are: positions go beyond what they can hold."""
    values = []
    for labels in (LABEL_MAPS, LABEL_MAPS.astype(dtype)):
        x = tg.tensor(MAPS, requires_grad=True)
        loss = losses.cross_entropy(x, tg.tensor(labels))
        loss.backward()
        values.append((loss.item(), x.grad.numpy()))
    assert values[0][0] == values[1][0]
    np.testing.assert_array_equal(values[0][1], values[1][1])


def test_layout_does_not_matter():
    last = tg.tensor(np.ascontiguousarray(np.moveaxis(MAPS, 1, -1)))
    found = losses.cross_entropy(last.permute(0, 3, 1, 2), tg.tensor(LABEL_MAPS))
    expected = losses.cross_entropy(tg.tensor(MAPS), tg.tensor(LABEL_MAPS))
    assert found.item() == pytest.approx(expected.item(), rel=1e-14)


@pytest.mark.parametrize("settings", WITH[:3])
def test_gradients_of_each_example(settings):
    loss = lambda x, t: losses.cross_entropy(x, t, **settings)
    x, t = tg.tensor(LOGITS), tg.tensor(LABELS)
    for derivative in (tg.func.grad(loss), tg.func.hessian(loss), tg.func.jacfwd(loss)):
        one_by_one = [derivative(x[i], t[i]).numpy() for i in range(6)]
        found = tg.func.vmap(derivative)(x, t).numpy()
        np.testing.assert_allclose(found, one_by_one, rtol=1e-12, atol=1e-14)


def test_the_checks_look_at_every_example_of_a_batch():
    vmap = tg.func.vmap
    with pytest.raises(ValueError, match=r"outside 0 … 3 .* it is 4"):
        vmap(losses.cross_entropy)(tg.tensor(LOGITS), tg.tensor([0, 1, 2, 4, 0, 0]))
    with pytest.raises(ValueError, match=r"entry \[1\] is 1\.5; for logits"):
        vmap(losses.binary_cross_entropy)(tg.tensor([[0.5, 0.5], [0.5, 1.5]]), half(2, 2))


def test_nothing_but_ignored_targets():
    ignored = tg.tensor([-100, -100])
    for loss in (losses.cross_entropy, losses.nll_loss):
        x = tg.zeros(2, 3, requires_grad=True)
        with np.errstate(invalid="ignore"):
            assert np.isnan(loss(x, ignored).item())
        loss(x, ignored, reduction="sum").backward()
        np.testing.assert_array_equal(x.grad.numpy(), 0.0)
        assert loss(x, ignored, reduction="none").tolist() == [0.0, 0.0]


def test_what_is_ignored_may_be_anything():
    """Neither its value nor its gradient reaches the result."""
    rows = [[np.nan, 1.0], [np.inf, 0.0], [0.5, -1.0]]
    x = tg.tensor(rows, dtype="float64", requires_grad=True)
    kept = tg.tensor(rows[2:], dtype="float64")
    loss = losses.nll_loss(x, tg.tensor([-100, -100, 1]), tg.tensor([1.0, 2.0]))
    assert loss.item() == losses.nll_loss(kept, tg.tensor([1])).item()
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0], [0, 0], [0, -1]])


def test_classes_that_cannot_be():
    """Logits of -inf rule classes out; the weights' gradient stays finite."""
    weight = tg.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)
    x = tg.tensor([[0.0, 0.0, -tg.inf]], dtype="float64", requires_grad=True)
    loss = losses.cross_entropy(x, tg.tensor([1]), weight, reduction="sum")
    assert loss.item() == pytest.approx(2.0 * np.log(2.0))
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), [[1.0, -1.0, 0.0]])
    np.testing.assert_allclose(weight.grad.numpy(), [0.0, np.log(2.0), 0.0])


def test_digits_of_small_losses():
    z = tg.tensor([20.0, -20.0], requires_grad=True)
    t = tg.tensor([1.0, 0.0])
    loss = losses.binary_cross_entropy_with_logits(z, t, reduction="none", pos_weight=1.0)
    np.testing.assert_allclose(loss.detach().numpy(), np.log1p(np.exp(-20.0)), rtol=1e-6)
    loss.sum().backward()
    small = 1.0 / (1.0 + np.exp(20.0))
    np.testing.assert_allclose(z.grad.numpy(), [-small, small], rtol=1e-6)


def test_targets_may_be_booleans_or_integers():
    p = tg.tensor([0.25, 0.75], dtype="float64")
    for loss in (losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits):
        expected = loss(p, tg.tensor([1.0, 0.0])).item()
        assert loss(p, tg.tensor([True, False])).item() == expected
        assert loss(p, tg.tensor([1, 0])).item() == expected


# -- refusals -----------------------------------------------------------------------------------
ROWS = tg.zeros(2, 3)
REFUSED = {
    "one-hot integers": (TypeError, r"not int64: target\.float\(\)", [[0, 0, 1], [1, 0, 0]], {}),
    "a column": (ValueError, r"not \(2, 1\)\. Use target\.reshape\(2,\)", [[0], [1]], {}),
    "floating labels": (TypeError, r"integers.*float32: target\.long\(\)", [0.0, 1.0], {}),
    "too few classes": (ValueError, r"input has shape \(2, 3\)", [[0.5, 0.5], [1.0, 0.0]], {}),
    "no probabilities": (ValueError, r"\[0, 2\] is -1\.5", [[1.0, 0.0, -1.5], [1.0, 0, 0]], {}),
    "rows that add up to 1.2": (ValueError, "of their sums .* is 1.2", [[0.4, 0.4, 0.4]] * 2, {}),
    "a label too high": (ValueError, r"outside 0 … 2 .*\[1\] is 3", [0, 3], {}),
    "a negative label": (ValueError, r"not ignore_index=7: .*\[0\] is -100", [-100, 7], {"i": 7}),
    "two weights": (ValueError, r"3 classes, shape \(3,\), not \(2,\)", [0, 1], {"w": tg.ones(2)}),
    "a list of weights": (TypeError, "weight must be .* a tensor, not list", [0, 1], {"w": [1.0]}),
    "a reduction for a weight": (TypeError, "weight .* not str 'sum'", [0, 1], {"w": "sum"}),
    "no index to ignore": (TypeError, "ignore_index .* not None", [0, 1], {"i": None}),
    "half an index to ignore": (TypeError, r"ignore_index .* not 1\.5", [0, 1], {"i": 1.5}),
    "smoothing above 1": (ValueError, r"\[0, 1\], but it is 1\.1$", [0, 1], {"s": 1.1}),
    "smoothing by row": (ValueError, r"one number.*\(2,\)", [0, 1], {"s": tg.tensor([0.1, 0.2])}),
    "no smoothing": (TypeError, "label_smoothing .* not NoneType", [0, 1], {"s": None}),
}
SHORT = {"i": "ignore_index", "w": "weight", "s": "label_smoothing"}


@pytest.mark.parametrize("error, match, target, settings", REFUSED.values(), ids=REFUSED)
def test_cross_entropy_refuses(error, match, target, settings):
    settings = {SHORT[k]: v for k, v in settings.items()}
    with pytest.raises(error, match=match):
        losses.cross_entropy(ROWS, tg.tensor(target), **settings)


def test_an_input_without_classes_is_refused():
    for loss in (losses.cross_entropy, losses.nll_loss):
        with pytest.raises(ValueError, match=r"\(C,\), \(N, C\) or \(N, C, d1, \.\.\.\), not \(\)"):
            loss(tg.tensor(0.5), tg.tensor(0))
        with pytest.raises(ValueError, match="classes along dimension 1"):
            loss(tg.zeros(2, 4, 5, 3), tg.zeros(2, 4, 5, dtype="int64"))


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_weights_that_would_widen_are_refused(name):
    loss = getattr(losses, name)
    settings = ["weight", "pos_weight"] if "logits" in name else ["weight"]
    for setting in settings:
        for shape in ((3, 1), (2, 3), (4,)):
            with pytest.raises(ValueError, match=rf"{setting} must .* \(3,\), but it has shape"):
                loss(half(3), half(3), **{setting: half(*shape)})
        with pytest.raises(TypeError, match=f"{setting} must .* not list"):
            loss(half(3), half(3), **{setting: [1.0, 2.0, 3.0]})


def test_reduce_refuses_what_does_not_fit():
    values = half(2, 3)
    with pytest.raises(ValueError, match=r"\(2, 3\), but it has shape \(2,\)"):
        losses.reduce(values, weight=half(2))
    with pytest.raises(ValueError, match=r"mask has shape \(2, 1\)"):
        losses.reduce(values, mask=tg.tensor([[True], [False]]))


# -- classes ------------------------------------------------------------------------------------
def test_a_loss_is_a_value():
    loss = losses.CrossEntropyLoss(tg.tensor([1.0, 2.0, 3.0]), -1, "sum", 0.25)
    shown = (
        "CrossEntropyLoss(weight=tensor([1., 2., 3.]), ignore_index=-1, reduction='sum', "
        "label_smoothing=0.25)"
    )
    given = tg.tensor([[0.5, 1.0, -2.0]]), tg.tensor([1])
    for same in (loss, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert repr(same) == shown
        assert same(*given).item() == loss(*given).item()
    loss.reduction = "none"
    assert loss(*given).shape == (1,)


def test_an_unknown_setting_is_answered_with_the_known_ones():
    with pytest.raises(TypeError, match=r"NLLLoss\(weight=None, ignore_index=-100, reduction='mea"):
        losses.NLLLoss(label_smoothing=0.1)
