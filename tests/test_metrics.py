"""Metrics: scikit-learn's numbers, exact over batches, found by name."""

import itertools
import subprocess
import sys
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.nn import metrics

sklearn_metrics = pytest.importorskip("sklearn.metrics")

ROWS = {row.name: row for row in metrics.METRICS}
CASES = range(12)
AVERAGES = ("macro", "micro", "weighted", None)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def random_of(*key):
    return np.random.default_rng([sum(map(ord, str(k))) for k in key])


def scores_and_classes(seed):
    """Scores with ties, labels among which classes may be absent; now and then one class only."""
    rng = random_of("classes", seed)
    n, c = int(rng.integers(1, 30)), int(rng.integers(2, 7))
    scores = rng.integers(0, 4, (n, c)) + (rng.random((n, c)) if seed % 2 else 0.0)
    labels = rng.integers(0, rng.integers(1, c + 1), n)
    return scores.astype(float), labels


def probabilities_and_bits(seed, *more):
    rng = random_of("bits", seed)
    n = int(rng.integers(2, 40))
    steps = 10 if seed % 2 else 10**6  # many ties, or none
    bits = (rng.random((n, *more)) < rng.choice([0.0, 0.1, 0.5, 1.0])).astype(int)
    return rng.integers(0, steps + 1, (n, *more)) / steps, bits


def same(ours, theirs, rtol=1e-12):
    assert str(getattr(ours, "dtype", "float64")) in ("float64", "int64")
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=rtol, atol=1e-14)


def tensors(*arrays):
    return [tg.tensor(a) for a in arrays]


# -- scikit-learn's numbers -------------------------------------------------------------------
@pytest.mark.parametrize("seed", CASES)
def test_accuracies(seed):
    scores, labels = scores_and_classes(seed)
    share = sklearn_metrics.accuracy_score(labels, scores.argmax(1))
    x, t = tensors(scores, labels)
    onehot = nn.data.one_hot(t, scores.shape[1])
    same(metrics.accuracy(x, t), share)
    same(metrics.sparse_categorical_accuracy(x, t), share)
    same(metrics.categorical_accuracy(x, onehot), share)
    same(metrics.accuracy(x, onehot), share)
    same(metrics.accuracy(x.argmax(dim=1), t), share)
    p, bits = probabilities_and_bits(seed)
    for threshold in (0.5, 0.3):
        share = sklearn_metrics.accuracy_score(bits, p > threshold)
        for operands in ((p, bits), (p[:, None], bits), (p, bits[:, None]), (p[:, None],) * 2):
            if operands[0] is operands[-1]:
                operands = (p[:, None], bits[:, None])
            same(metrics.accuracy(*tensors(*operands), threshold=threshold), share)
        same(metrics.binary_accuracy(*tensors(p, bits), threshold=threshold), share)


@pytest.mark.parametrize("seed", CASES)
def test_top_k_accuracy_without_ties(seed):
    rng = random_of("top", seed)
    n, c = int(rng.integers(1, 20)), int(rng.integers(3, 9))
    scores, labels = rng.standard_normal((n, c)), rng.integers(0, c, n)
    for k in range(1, c + 1):
        theirs = sklearn_metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(c))
        same(metrics.top_k_accuracy(*tensors(scores, labels), k), theirs)
        same(metrics.top_k_accuracy(tg.tensor(scores), nn.data.one_hot(labels, c), k=k), theirs)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
@pytest.mark.parametrize("seed", CASES)
def test_precision_recall_and_f1(name, seed):
    ours, theirs = getattr(metrics, name), getattr(sklearn_metrics, f"{name}_score")
    scores, labels = scores_and_classes(seed)
    c, predicted = scores.shape[1], scores.argmax(1)
    for average in AVERAGES:
        # scikit-learn's averages are over the classes that occur; each by itself is asked for
        known = {"labels": range(c)} if average is None else {}
        for z in (0.0, 1.0, np.nan):
            settings = {"average": average, "zero_division": z}
            same(
                ours(*tensors(scores, labels), **settings),
                theirs(labels, predicted, **settings, **known),
            )
            if average is not None:
                same(
                    ours(*tensors(predicted, labels), **settings),
                    theirs(labels, predicted, **settings),
                )
    p, bits = probabilities_and_bits(seed)
    for z in (0.0, 1.0, np.nan):
        same(ours(*tensors(p, bits), zero_division=z), theirs(bits, p > 0.5, zero_division=z))
    same(ours(*tensors(p, bits)), theirs(bits, p > 0.5))
    for average in ("macro", "weighted", "micro"):
        same(ours(*tensors(p, bits), average=average), theirs(bits, p > 0.5, average=average))
    p, bits = probabilities_and_bits(seed, 3)
    for average in AVERAGES:
        for z in (0.0, 1.0, np.nan):
            settings = {"average": average, "zero_division": z}
            same(ours(*tensors(p, bits), **settings), theirs(bits, p > 0.5, **settings))
            same(ours(*tensors(p > 0.5, bits), **settings), theirs(bits, p > 0.5, **settings))


@pytest.mark.parametrize("seed", CASES)
def test_confusion_matrix(seed):
    scores, labels = scores_and_classes(seed)
    c, predicted = scores.shape[1], scores.argmax(1)
    for normalize in (None, "true", "pred", "all"):
        theirs = sklearn_metrics.confusion_matrix(
            labels, predicted, labels=range(c), normalize=normalize
        )
        same(metrics.confusion_matrix(*tensors(scores, labels), normalize=normalize), theirs)
    p, bits = probabilities_and_bits(seed)
    theirs = sklearn_metrics.confusion_matrix(bits, p > 0.5, labels=[0, 1])
    same(metrics.confusion_matrix(*tensors(p, bits)), theirs)


@pytest.mark.parametrize("seed", CASES)
def test_areas(seed):
    p, bits = probabilities_and_bits(seed)
    same(metrics.roc_auc(*tensors(p, bits)), sklearn_metrics.roc_auc_score(bits, p))
    same(
        metrics.average_precision(*tensors(p, bits)),
        sklearn_metrics.average_precision_score(bits, p),
    )
    p, bits = probabilities_and_bits(seed, 3)
    for average in AVERAGES:
        for name in ("roc_auc", "average_precision"):
            theirs = getattr(sklearn_metrics, f"{name}_score")(bits, p, average=average)
            same(getattr(metrics, name)(*tensors(p, bits), average=average), theirs)
    scores, labels = scores_and_classes(2 * seed)
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    if len(set(labels)) == scores.shape[1] > 2:
        for rule in ("ovr", "ovo"):
            theirs = sklearn_metrics.roc_auc_score(labels, chances, multi_class=rule)
            same(metrics.roc_auc(*tensors(chances, labels), multi_class=rule), theirs)
        theirs = sklearn_metrics.average_precision_score(labels, chances)
        same(metrics.average_precision(*tensors(chances, labels)), theirs)


def test_areas_of_logits():
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((30, 3)), np.arange(30) % 3
    for name in ("roc_auc", "average_precision"):
        area = getattr(metrics, name)
        chances = tg.softmax(tg.tensor(scores), dim=-1)
        same(area(*tensors(scores, labels), from_logits=True), area(chances, labels).numpy())
        two, bits = scores[:, :2], labels % 2
        chances = tg.softmax(tg.tensor(two), dim=-1)
        same(area(*tensors(two, bits), from_logits=True), area(chances[:, 1], bits).numpy())
    # probabilities that are all rounded to 1 would be ties
    sure = tg.tensor([50.0, 60.0, 70.0, 80.0])
    assert metrics.roc_auc(sure, tg.tensor([0, 0, 1, 1]), from_logits=True) == 1
    both = tg.stack([tg.zeros(4), sure], dim=1)
    assert metrics.roc_auc(both, tg.tensor([0, 0, 1, 1]), from_logits=True) == 1


def test_area_by_counting_pairs():
    """The probability that a 1 scores above a 0, ties half: an independent statement of it."""
    p, bits = probabilities_and_bits(1)
    pairs = p[bits == 1][:, None] - p[bits == 0]
    same(metrics.roc_auc(*tensors(p, bits)), ((pairs > 0) + 0.5 * (pairs == 0)).mean())


@pytest.mark.parametrize("seed", CASES)
def test_deviations(seed):
    rng = random_of("numbers", seed)
    n = int(rng.integers(2, 30))
    for shape in ((n,), (n, 3)):
        y, t = rng.standard_normal((2, *shape))
        same(metrics.mae(*tensors(y, t)), sklearn_metrics.mean_absolute_error(t, y))
        same(metrics.mse(*tensors(y, t)), sklearn_metrics.mean_squared_error(t, y))
        same(metrics.r2(*tensors(y, t)), sklearn_metrics.r2_score(t, y), rtol=1e-10)
        fraction = sklearn_metrics.mean_absolute_percentage_error(t, y)
        same(metrics.mape(*tensors(y, t)), 100 * fraction)
        same(metrics.rmse(*tensors(y, t)), np.sqrt(((y - t) ** 2).mean()))
        if len(shape) == 1:
            theirs = sklearn_metrics.root_mean_squared_error(t, y)
            same(metrics.rmse(*tensors(y[:, None], t)), theirs)
    t = np.full(n, rng.choice([0.0, 0.1, 3.0]))
    same(metrics.r2(*tensors(t, t)), 1.0)
    same(metrics.r2(*tensors(t + 1, t)), 0.0)


def test_mape_is_the_loss_of_that_name():
    y, t = tg.tensor([1.0, 2.0, -3.0]), tg.tensor([0.0, 4.0, -2.0])
    loss = tg.losses.get("mape")(y, t)
    assert metrics.mape(y, t).item() == pytest.approx(loss.item(), rel=1e-6)


def test_perplexity_is_exp_of_the_cross_entropy():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((4, 7, 5)), rng.integers(0, 5, (4, 7))
    labels[1, 3:] = -100
    x, t = tensors(logits, labels)
    expected = nn.functional.cross_entropy(x.movedim(2, 1), t).exp().item()
    assert metrics.perplexity(x, t).item() == pytest.approx(expected, rel=1e-12)
    assert metrics.perplexity(x.movedim(2, 1), t).item() == pytest.approx(expected, rel=1e-12)
    chances = tg.softmax(x, dim=-1)
    ours = metrics.perplexity(chances, t, from_logits=False).item()
    assert ours == pytest.approx(expected, rel=1e-12)
    assert metrics.perplexity(tg.tensor([[1.0, 0.0]]), tg.tensor([1]), from_logits=False) == tg.inf


# -- over batches -----------------------------------------------------------------------------
def drawn(row, n, rng):
    """Operands that a row takes, with every class there."""
    if row.takes == "numbers":
        return tensors(rng.standard_normal((n, 2)) + 100.0, rng.standard_normal((n, 2)) + 100.0)
    if row.takes == "binary" or row.merge.__name__ == "joined":
        return tensors(rng.random(n), np.arange(n) % 2)
    labels = rng.integers(0, 4, n)
    if row.takes == "one-hot":
        return [tg.tensor(rng.random((n, 4))), nn.data.one_hot(labels, 4)]
    return tensors(rng.random((n, 4)), labels)


def tried(row):
    if row.name in ("precision", "recall", "f1"):
        return row.settings
    return ({}, *row.settings)


@pytest.mark.parametrize("row", metrics.METRICS, ids=lambda row: row.name)
def test_batches_give_what_the_whole_gives(row, tmp_path):
    rng = random_of(row.name)
    input, target = drawn(row, 37, rng)
    cuts = [0, 5, 5, 6, 20, 37]  # uneven, one of them empty
    for settings in tried(row):
        whole = row(input, target, **settings).numpy()
        metric = metrics.get(row.name, **settings)
        for _ in range(2):
            for a, b in itertools.pairwise(cuts):
                metric.update(input[a:b], target[a:b])
            np.testing.assert_allclose(metric.compute().numpy(), whole, rtol=1e-12)
            np.testing.assert_allclose(metric.compute().numpy(), whole, rtol=1e-12)
            np.testing.assert_array_equal(metric(input, target).numpy(), whole)
            metric.reset()
            with pytest.raises(RuntimeError, match="update"):
                metric.compute()
        # halfway saved, and gone on with by another
        metric.update(input[:5], target[:5])
        metric.update(input[5:20], target[5:20])
        path = tg.save(metric.state_dict(), tmp_path / "metric.safetensors")
        other = metrics.get(row.name, **settings)
        other.load_state_dict(tg.load(path))
        for m in (metric, other):
            m.update(input[20:], target[20:])
        np.testing.assert_array_equal(other.compute().numpy(), metric.compute().numpy())
        np.testing.assert_allclose(other.compute().numpy(), whole, rtol=1e-12)


def test_the_mean_of_the_batches_is_another_number():
    metric = metrics.get("f1")
    batches = [([0.9, 0.1], [1, 1]), ([0.9], [0])]
    for p, t in batches:
        metric.update(tg.tensor(p), tg.tensor(t))
    each = [metric(tg.tensor(p), tg.tensor(t)).item() for p, t in batches]
    assert metric.compute().item() == 0.5 != sum(each) / 2


def test_r2_over_batches_does_not_cancel():
    rng = np.random.default_rng(0)
    t = 1e8 + rng.standard_normal(400)
    y = t + 0.1 * rng.standard_normal(400)
    metric = metrics.get("r2")
    for i in range(0, 400, 7):
        metric.update(*tensors(y[i : i + 7], t[i : i + 7]))
    assert metric.compute().item() == pytest.approx(sklearn_metrics.r2_score(t, y), rel=1e-7)


def test_classes_that_come_later():
    metric = metrics.get("confusion_matrix")
    metric.update(tg.tensor([0, 1]), tg.tensor([1, 1]))
    metric.update(tg.tensor([3]), tg.tensor([2]))
    assert metric.compute().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    metric = metrics.get("recall", average="micro")
    metric.update(tg.tensor([0]), tg.tensor([0]))
    metric.update(tg.tensor([5]), tg.tensor([2]))
    assert metric.compute().item() == 0.5


def test_a_function_of_ones_own_and_losses_see_everything():
    def spread(input, target, scale=1.0):
        return scale * (input - target).max()

    metric = metrics.get(spread, scale=2.0)
    metric.update(tg.tensor([1.0]), tg.tensor([0.0]))
    metric.update(tg.tensor([5.0, 2.0]), tg.tensor([0.0, 0.0]))
    assert metric.name == "spread" and metric.compute().item() == 10.0
    with pytest.raises(TypeError, match="scael"):
        metrics.get(spread, scael=2.0)
    huber = metrics.get("huber", delta=0.5)
    assert (huber.name, huber.better) == ("huber", "min")
    huber.update(tg.tensor([3.0]), tg.tensor([0.0]))
    huber.update(tg.tensor([0.0, 0.0]), tg.tensor([0.0, 0.0]))
    assert huber.compute().item() == pytest.approx(1.375 / 3)
    assert metrics.get(nn.HuberLoss()).name == "HuberLoss"
    assert metrics.get(nn.HuberLoss).name == "HuberLoss"


def test_a_batch_that_is_refused_changes_nothing():
    metric = metrics.get("accuracy")
    metric.update(tg.tensor([[0.1, 0.9]]), tg.tensor([1]))
    for bad in (tg.tensor([2]), tg.tensor([1, 1]), tg.tensor([-1])):
        with pytest.raises(ValueError, match="accuracy"):
            metric.update(tg.tensor([[0.1, 0.9]]), bad)
    assert metric.compute().item() == 1.0
    metric = metrics.get("recall", average="macro", zero_division=0)
    metric.update(tg.tensor([[0.1, 0.9]]), tg.tensor([1]))
    with pytest.raises(ValueError, match="belong together"):
        metric.update(tg.tensor([[0.1, 0.9]]), tg.tensor([[1, 1]]))
    assert metric.compute().item() == 1.0
    with pytest.raises(ValueError, match="'recall'"):
        metric.load_state_dict(metrics.get("f1").state_dict())


# -- shapes and errors ------------------------------------------------------------------------
def test_the_dimension_of_the_classes():
    x, t = tg.rand(2, 3, 5, 7), tg.randint(0, 3, (2, 5, 7))
    share = metrics.accuracy(x, t)
    assert share == metrics.accuracy(x.movedim(1, -1), t) == metrics.accuracy(x, t, dim=1)
    assert share == (x.argmax(dim=1) == t).double().mean()
    with pytest.raises(ValueError, match="dim=1 or dim=-1"):
        metrics.accuracy(tg.rand(2, 5, 5), tg.zeros(2, 5).long())
    assert metrics.accuracy(tg.eye(5).expand(2, 5, 5), tg.arange(5).expand(2, 5), dim=-1) == 1
    with pytest.raises(ValueError, match=r"need targets of shape \(2, 5\)"):
        metrics.accuracy(tg.rand(2, 5, 3), tg.zeros(2, 3).long(), dim=-1)


def test_positions_that_do_not_count():
    x, t = tg.eye(4), tg.tensor([0, 1, -100, 2])
    assert metrics.accuracy(x, t, ignore_index=-100).item() == 2 / 3
    assert metrics.accuracy(x.argmax(dim=1), t, ignore_index=-100).item() == 2 / 3
    found = metrics.recall(x, t, ignore_index=-100, average="micro").item()
    assert found == 2 / 3
    with pytest.raises(ValueError, match="outside"):
        metrics.accuracy(x, t)


def test_logits_are_not_taken_for_probabilities():
    logits, bits = tg.tensor([0.3, 4.0]), tg.tensor([0, 1])
    for metric in (metrics.accuracy, metrics.binary_accuracy, metrics.f1):
        with pytest.raises(ValueError, match=r"entry \[1\] is .*from_logits=True"):
            metric(logits, bits)
        assert metric(logits, bits, threshold=1.0) == 1  # scores of another kind
    assert metrics.accuracy(logits, bits, from_logits=True).item() == 0.5


def test_ties_and_thresholds():
    assert metrics.accuracy(tg.tensor([[1.0, 1.0]]), tg.tensor([0])) == 1  # the first of equals
    assert metrics.top_k_accuracy(tg.tensor([[1.0, 1.0, 1.0]]), tg.tensor([2]), k=1) == 1
    assert metrics.top_k_accuracy(tg.tensor([[tg.nan, 1.0]]), tg.tensor([0]), k=1) == 0
    assert metrics.top_k_accuracy(tg.rand(3, 2), tg.tensor([0, 1, 1]), k=5) == 1
    half = tg.tensor([0.5])
    assert metrics.binary_accuracy(half, tg.tensor([0])) == 1
    logits = tg.tensor([-2.0, -0.1, 0.0, 0.1, 2.0])
    bits = tg.tensor([0, 1, 0, 1, 1])
    for threshold in (0.5, 0.2, 0.9):
        ours = metrics.accuracy(logits, bits, threshold=threshold, from_logits=True)
        assert ours == metrics.accuracy(tg.sigmoid(logits), bits, threshold=threshold)


@pytest.mark.parametrize("row", metrics.METRICS, ids=lambda row: row.name)
def test_refusals(row):
    input, target = drawn(row, 6, random_of(row.name))
    settings = tried(row)[0]
    with pytest.raises(ValueError, match="no samples"):
        row(input[:0], target[:0], **settings)
    with pytest.raises(ValueError, match="shape"):
        row(input, target[:4], **settings)
    with pytest.raises(TypeError):
        metrics.get(row.name, no_such_setting=1)
    with pytest.raises(TypeError, match="must be a tensor"):
        row("scores", target, **settings)


@pytest.mark.parametrize("row", metrics.METRICS, ids=lambda row: row.name)
def test_arrays_lists_and_the_tape(row):
    input, target = drawn(row, 8, random_of(row.name))
    settings = tried(row)[0]
    value = row(input, target, **settings)
    np.testing.assert_array_equal(row(input.numpy(), target.numpy(), **settings), value)
    assert not row(input.clone().requires_grad_(), target, **settings).requires_grad


def test_averages():
    x, t = tg.rand(5, 3), tg.tensor([0, 1, 2, 0, 1])
    with pytest.raises(ValueError, match=r'two classes.*3 classes.*"macro"'):
        metrics.f1(x, t)
    with pytest.raises(ValueError, match="average is one of"):
        metrics.f1(x, t, average="mean")
    with pytest.raises(ValueError, match="labels at once"):
        metrics.f1(x, nn.data.one_hot(t))
    with pytest.raises(ValueError, match="each label"):
        metrics.confusion_matrix(x, nn.data.one_hot(t))


def test_nothing_over_nothing_warns():
    never = tg.tensor([0.1, 0.2]), tg.tensor([1, 0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert metrics.precision(*never) == 0
        assert metrics.precision(*never, average="macro") == 0.25
        assert len(caught) == 2 and all("zero_division" in str(w.message) for w in caught)
        metrics.precision(*never, zero_division=1.0)
        metrics.recall(*never)
        assert len(caught) == 2
        metrics.r2(tg.tensor([1.0]), tg.tensor([1.0]))
        assert "two samples" in str(caught[-1].message)


# -- names ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name, function",
    [
        ("accuracy", "accuracy"),
        ("acc", "accuracy"),
        ("BinaryAccuracy", "binary_accuracy"),
        ("sparse_categorical_accuracy", "sparse_categorical_accuracy"),
        ("SparseTopKCategoricalAccuracy", "top_k_accuracy"),
        ("AUC", "roc_auc"),
        ("Precision", "precision"),
        ("F1Score", "f1"),
        ("f1_score", "f1"),
        ("MAE", "mae"),
        ("MeanSquaredError", "mse"),
        ("root_mean_squared_error", "rmse"),
        ("r2_score", "r2"),
        ("R2Score", "r2"),
        ("perplexity", "perplexity"),
    ],
)
def test_names(name, function):
    metric = metrics.get(name)
    assert (metric.name, metric.row) == (name, ROWS[function])


def test_what_is_no_name():
    with pytest.raises(ValueError, match=r"'acuracy'; near it are 'accuracy'"):
        metrics.get("acuracy")
    with pytest.raises(TypeError, match="not int"):
        metrics.get(3)
    metric = metrics.get("mae")
    assert metrics.get(metric) is metric
    with pytest.raises(TypeError, match="made already"):
        metrics.get(metric, average="macro")
    assert metrics.get(metrics.accuracy).row is ROWS["accuracy"]
    assert metrics.get(ROWS["f1"], average="macro").settings == {"average": "macro"}


def test_the_table():
    assert len({row.name for row in metrics.METRICS}) == len(metrics.METRICS) >= 16
    for row in metrics.METRICS:
        assert row.name in metrics.__all__ and row.better in ("max", "min", "")
        assert not row.peer or hasattr(sklearn_metrics, row.peer)


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.metrics'] = None\n"
        "import tapegrad as tg\n"
        "x, t = tg.tensor([0.1, 0.9]), tg.tensor([0, 1])\n"
        "assert tg.nn.metrics.f1(x, t) == 1 and tg.nn.metrics.confusion_matrix(x, t)[1, 1] == 1\n"
        "try: tg.nn.metrics.roc_auc(x, t)\n"
        "except ImportError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tapegrad[sklearn]" in said.stdout


def test_settings_of_metrics_that_keep_their_samples():
    scores = tg.tensor([[0.1, 0.9, -2.0], [3.0, 0.2, 0.0], [0.0, 0.0, 1.0]])
    for name in ("roc_auc", "average_precision"):
        metric = metrics.get(name, from_logits=True, average="macro")
        metric.update(scores, tg.tensor([1, 0, 2]))
        assert metric.compute().item() == pytest.approx(1.0)
