"""The Trainer: Keras's numbers, data of all kinds, settings, refusals, losses not finite."""

import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.nn.callbacks import EarlyStopping, ReduceLROnPlateau

STORED = json.loads((Path(__file__).parent / "data" / "trainer.json").read_text(encoding="utf-8"))
ACTIVATIONS = {"softmax": lambda: nn.Softmax(dim=-1), "sigmoid": nn.Sigmoid}


def data(name):
    return np.array(STORED["data"][name], dtype="int64" if name == "labels" else "float32")


def mlp(inputs=3, hidden=6, outputs=2, last=None):
    layers = [nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs)]
    return nn.Sequential(*layers, *([] if last is None else [ACTIVATIONS[last]()]))


def load(model, weights):
    """Put Keras's weights, whose matrices are transposed, into a model."""
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    model.load_state_dict({n: np.array(w, "float32").T for n, w in zip(names, weights)})
    return model


def regression(n=40, seed=0):
    g = tg.Generator().manual_seed(seed)
    x = tg.randn(n, 3, generator=g)
    return x, tg.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], dim=1)


def trainer(*args, seed=0, outputs=2, **settings):
    tg.manual_seed(seed)
    made = nn.Trainer(mlp(outputs=outputs))
    made.compile(*(args or ("sgd", "mse")), **settings)
    return made


def weights(made):
    return [p.detach().numpy().copy() for p in made.model.parameters()]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# -- Keras's numbers ---------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(STORED["cases"]))
def test_trains_as_keras(name):
    case = STORED["cases"][name]
    model = load(mlp(outputs=case["last"][0], last=case["last"][1]), case["begin"])
    kind, settings = case["optimizer"]
    made = nn.Trainer(model)
    penalties = {k: case[k] for k in ("l1", "l2") if k in case}
    made.compile(getattr(optim, kind)(**settings), case["loss"], case["metrics"], **penalties)
    fit = dict(case["fit"])
    if "sample_weight" in fit:
        fit["sample_weight"] = data("weights")
    if "class_weight" in fit:
        fit["class_weight"] = {int(k): w for k, w in fit["class_weight"].items()}
    callbacks = []
    if "stop" in case:
        callbacks = [EarlyStopping(**case["stop"]), ReduceLROnPlateau(**case["plateau"])]
    history = made.fit(
        data("x"), data(case["y"]), shuffle=False, verbose=0, callbacks=callbacks, **fit
    )
    assert set(history.history) == set(case["history"])
    for key, values in case["history"].items():
        np.testing.assert_allclose(history.history[key], values, rtol=1e-5, atol=1e-6, err_msg=key)
    assert history.epoch == list(range(len(history.history["loss"])))
    assert history.model is model and history.trainer is made and made.history is history
    if callbacks:
        assert callbacks[0].stopped_epoch == case["stopped_epoch"]
    for p, stored in zip(model.parameters(), case["end"]):
        np.testing.assert_allclose(p.detach().numpy().T, stored, rtol=2e-5, atol=5e-5)
    found = made.evaluate(data("x"), data(case["y"]), verbose=0, return_dict=True)
    assert found.keys() == case["evaluated"].keys()
    for key, value in case["evaluated"].items():
        assert found[key] == pytest.approx(value, rel=1e-5, abs=1e-6), key
    predicted = made.predict(data("x")[:3], verbose=0)
    np.testing.assert_allclose(predicted.numpy(), case["predicted"], rtol=2e-5, atol=5e-5)


# -- data of all kinds -------------------------------------------------------------------------
X, Y = regression()


def test_arrays_lists_loaders_datasets_and_generators_agree():
    def batches():
        return ((X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8))

    dataset = nn.data.TensorDataset(X, Y)
    ends = []
    for given in (
        {"x": X, "y": Y, "batch_size": 8},
        {"x": X.numpy(), "y": Y.numpy().astype("float64"), "batch_size": 8},
        {"x": X.tolist(), "y": Y.tolist(), "batch_size": 8},
        {"x": dataset, "batch_size": 8},
        {"x": nn.data.DataLoader(dataset, 8)},
        {"x": list(batches())},
        {"x": [[x, y] for x, y in batches()]},
        {"x": [(x.numpy(), y.numpy()) for x, y in batches()]},
        {"x": batches},
    ):
        made = trainer()
        history = made.fit(**given, epochs=3, shuffle=False, verbose=0)
        ends.append((weights(made), history.history["loss"]))
    for found, losses in ends:
        assert same(found, ends[0][0])
        assert losses == ends[0][1]


def test_a_generator_is_read_once():
    made = trainer()
    batches = ((X, Y) for _ in range(3))
    with pytest.raises(ValueError, match=r"the data ran out.*steps_per_epoch"):
        made.fit(batches, epochs=2, verbose=0)
    assert made.history.epoch == [0]

    def endless():
        while True:
            yield X, Y

    assert len(trainer().fit(endless(), epochs=3, steps_per_epoch=2, verbose=0).epoch) == 3


def test_steps_per_epoch_goes_on_where_the_last_epoch_ended():
    seen = []
    made = nn.Trainer(mlp())
    made.compile("sgd", lambda y, t: (seen.append(t[:, 0].tolist()), (y - t).square().mean())[1])
    target = tg.stack([tg.arange(6.0), tg.zeros(6)], dim=1)
    made.fit(X[:6], target, batch_size=2, epochs=2, steps_per_epoch=2, shuffle=False, verbose=0)
    assert seen == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [0.0, 1.0]]


class Two(nn.Module):
    """Two inputs by name, two outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(1, 2)

    def forward(self, left, right):
        return {"sum": self.a(left) + self.b(right), "right": right}


def test_several_inputs_and_outputs():
    def loss(found, targets):
        return (found["sum"] - targets["y"]).square().mean()

    ends = []
    for inputs in ((X, X[:, :1]), {"right": X[:, :1], "left": X}, [X.numpy(), X[:, :1].numpy()]):
        tg.manual_seed(0)
        made = nn.Trainer(Two())
        made.compile("sgd", loss)
        history = made.fit(inputs, {"y": Y}, epochs=2, validation_split=0.25, verbose=0)
        assert len(history.history["val_loss"]) == 2
        ends.append(weights(made))
        outputs = made.predict(inputs, batch_size=7, verbose=0)
        assert outputs["sum"].shape == (40, 2) and same([outputs["right"].numpy()], [X[:, :1]])
    assert same(ends[0], ends[1]) and same(ends[0], ends[2])


def test_without_targets():
    made = trainer("sgd", lambda found: found.square().mean())
    assert made.fit(X, epochs=2, verbose=0).history["loss"][1] > 0
    assert made.evaluate([X], verbose=0) > 0


class Frame:
    """What is asked of a pandas frame."""

    def __init__(self, columns):
        self.table, self.columns = columns, list(columns)

    def __getitem__(self, name):
        return Column(self.table[name])

    def to_numpy(self):
        return np.stack(list(self.table.values()), 1)


class Column:
    def __init__(self, values):
        self.values, self.dtype, self.name = np.asarray(values), np.asarray(values).dtype, "c"

    def to_numpy(self):
        return self.values


def test_frames():
    a, b = trainer(), trainer()
    frame = Frame({"p": X[:, 0].numpy(), "q": X[:, 1].numpy(), "r": X[:, 2].numpy()})
    tg.manual_seed(1)
    a.fit(X, Y, verbose=0)
    tg.manual_seed(1)
    b.fit(frame, Y, verbose=0)
    assert same(weights(a), weights(b))


@pytest.mark.parametrize("shuffle", [True, False])
def test_shuffles_anew_every_epoch_and_only_if_asked(shuffle):
    seen = []
    made = nn.Trainer(mlp())
    made.compile("sgd", lambda y, t: (seen.append(t[:, 0].tolist()), y.mean())[1])
    made.fit(X, tg.stack([tg.arange(40.0)] * 2, dim=1), 40, 2, shuffle=shuffle, verbose=0)
    assert all(sorted(epoch) == list(range(40)) for epoch in seen)
    assert (seen[0] != seen[1]) == shuffle
    assert (seen[0] == list(range(40))) != shuffle


@pytest.mark.parametrize(
    "given, message",
    [
        ({"x": X, "y": Y[:7]}, r"as many samples.*y has shape \(7, 2\)"),
        ({"x": X, "y": tg.tensor(1.0)}, "as many samples"),
        ({"x": X, "y": Y, "validation_split": 1.5}, "between 0 and 1"),
        ({"x": X, "y": Y, "validation_split": 0.999}, "leaves 0 for training"),
        ({"x": nn.data.DataLoader(nn.data.TensorDataset(X, Y)), "validation_split": 0.2}, "give v"),
        ({"x": nn.data.DataLoader(nn.data.TensorDataset(X, Y)), "batch_size": 2}, "leave it out"),
        ({"x": [(X, Y)], "sample_weight": tg.ones(40)}, "batches bring theirs"),
        ({"x": [(X, Y, X, Y)]}, "not 4 things"),
        ({"x": [], "y": None}, "the data has no batches"),
        ({"x": tg.zeros(0, 3), "y": tg.zeros(0, 2)}, "the data has no batches"),
        ({"x": X, "y": Y, "epochs": 0}, "epochs must be"),
        ({"x": X, "y": Y, "batch_size": 0}, "batch_size must be"),
        ({"x": X, "y": Y, "steps_per_epoch": 0}, "at least 1"),
        ({"x": X, "y": Y, "class_weight": {-1: 2.0}}, "no class number"),
        ({"x": X, "y": tg.zeros(40, 2, 2), "class_weight": {1: 2.0}}, "needs targets of shape"),
        ({"x": X, "y": Y, "sample_weight": tg.ones(40, 2)}, "must have shape"),
    ],
)
def test_data_that_does_not_fit(given, message):
    made = trainer()
    before = weights(made)
    with pytest.raises(ValueError, match=message):
        made.fit(**given, verbose=0)
    assert same(weights(made), before)


def test_data_of_no_kind():
    with pytest.raises(TypeError, match="data is given as"):
        trainer().fit(3, verbose=0)
    with pytest.raises(TypeError, match="dict of weights by class"):
        trainer().fit(X, Y, class_weight=[1.0, 2.0], verbose=0)


# -- what a loss is of -------------------------------------------------------------------------
@pytest.mark.parametrize(
    "loss, last, is_of_logits",
    [
        ("bce_with_logits", None, True),
        (tg.losses.BinaryCrossentropy(from_logits=True), None, True),
        (functools.partial(tg.losses.binary_crossentropy, from_logits=True), None, True),
        (tg.losses.binary_cross_entropy_with_logits, None, True),
        ("hinge", None, True),
        ("binary_crossentropy", "sigmoid", False),
        ("mse", "sigmoid", None),
    ],
)
def test_metrics_know_whether_they_get_logits(loss, last, is_of_logits):
    tg.manual_seed(0)
    made = nn.Trainer(mlp(outputs=1, last=last))
    names = ["accuracy", "precision", "recall", "f1", "auc"]
    made.compile("adam", loss, [*names, nn.metrics.binary_accuracy])
    y = (X[:, :1] > 0.2).to("float32")
    found = made.evaluate(X, y, verbose=0, return_dict=True)
    output = made.predict(X, verbose=0)
    for name in [*names, "binary_accuracy"]:
        direct = nn.metrics.get(name, from_logits=bool(is_of_logits))(output, y).item()
        assert found[name] == pytest.approx(direct), name
    history = made.fit(X, y, verbose=0)
    assert 0.0 <= history.history["accuracy"][0] <= 1.0


def test_metrics_of_classes_know_whether_they_get_logits():
    labels = tg.tensor([i % 3 for i in range(40)])
    for loss, last in (("cross_entropy", None), ("sparse_categorical_crossentropy", "softmax")):
        tg.manual_seed(0)
        made = nn.Trainer(mlp(outputs=3, last=last))
        made.compile("sgd", loss, ["auc", "perplexity"])
        found, auc, perplexity = made.evaluate(X, labels, verbose=0)
        assert perplexity == pytest.approx(math.exp(found), rel=1e-4)
        assert 0.0 < auc < 1.0


def test_settings_of_metrics_that_are_given_stay():
    made = nn.Trainer(mlp(outputs=1))
    given = nn.metrics.get("accuracy", threshold=2.0)
    made.compile("sgd", "bce_with_logits", {"mine": given, "other": "acc"})
    assert made.metrics["mine"] is given
    assert made.metrics["other"].settings == {"from_logits": True}


@pytest.mark.parametrize(
    "loss, last",
    [
        *[(loss, None) for loss in ("mse", "mae", "huber", "log_cosh", "hinge", "focal")],
        *[(loss, None) for loss in ("bce_with_logits", tg.losses.mse_loss)],
        *[(loss, "sigmoid") for loss in ("bce", "binary_crossentropy", "poisson")],
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_targets_without_their_last_dimension_are_lined_up(loss, last, weighted):
    y = (X[:, 0] > 0.2).to("float32")
    ends = []
    for given in (y, y.reshape(-1, 1)):
        tg.manual_seed(0)
        made = nn.Trainer(mlp(outputs=1, last=last))
        made.compile("sgd", loss, {"own": lambda found, target: (found - target).abs().mean()})
        weights_of_samples = {"sample_weight": tg.arange(40.0)} if weighted else {}
        history = made.fit(X, given, validation_split=0.2, verbose=0, **weights_of_samples)
        ends.append((weights(made), history.history))
    assert same(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_class_numbers_in_a_column_are_lined_up():
    labels = tg.tensor([i % 3 for i in range(40)])
    for loss in ("cross_entropy", tg.losses.SparseCategoricalCrossentropy(from_logits=True)):
        a, b = (trainer("sgd", loss, ["accuracy"], outputs=3) for _ in range(2))
        a.fit(X, labels, shuffle=False, verbose=0)
        b.fit(X, labels.reshape(-1, 1), shuffle=False, verbose=0)
        assert same(weights(a), weights(b))


def test_one_output_and_class_numbers_are_not_taken_for_probabilities():
    with pytest.raises(ValueError, match="label is outside"):
        trainer("sgd", "cross_entropy", outputs=1).fit(X, tg.ones(40).long(), verbose=0)


def test_functions_that_compare_every_pair_are_refused():
    made = trainer("sgd", lambda found, target: (found - target).square().mean(), outputs=1)
    with pytest.raises(ValueError, match=r"\(32, 1\).*\(32,\).*every pair.*squeeze"):
        made.fit(X, Y[:, 0], verbose=0)
    good = trainer("sgd", lambda found, target: (found.squeeze(1) - target).abs().mean(), outputs=1)
    good.fit(X, Y[:, 0], verbose=0)
    # class numbers, of one class, are of such shapes and compared with nothing
    one = trainer("sgd", lambda found, target: tg.losses.cross_entropy(found, target), outputs=1)
    one.fit(X, tg.zeros(40).long(), verbose=0)


def test_losses_that_want_targets_say_so():
    with pytest.raises(TypeError, match="there are no targets"):
        trainer().fit(X, verbose=0)


# -- weights -----------------------------------------------------------------------------------
def test_weights_count_as_repeats():
    counts = tg.tensor([i % 3 for i in range(12)])
    rows = [i for i in range(12) for _ in range(i % 3)]
    a, b = trainer(), trainer()
    # Σ w·l / N: so many repeats make the mean of as many samples
    a.fit(X[:12], Y[:12], sample_weight=counts, batch_size=12, verbose=0, shuffle=False)
    b.fit(X[rows], Y[rows], batch_size=12, verbose=0, shuffle=False)
    for p, q in zip(weights(a), weights(b)):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("form", ["labels", "column", "rows"])
def test_class_weights_are_sample_weights(form):
    labels = tg.tensor([i % 3 for i in range(40)])
    by_class = tg.tensor([1.0, 4.0, 0.5])[labels] * 2.0
    y = {
        "labels": labels,
        "column": labels.reshape(-1, 1),
        "rows": nn.data.one_hot(labels),
    }[form]

    def loss(found, target, reduction="mean"):
        return tg.losses.cross_entropy(found, labels_of(target), reduction=reduction)

    def labels_of(target):
        return target if target.ndim == 1 else target.argmax(1) if form == "rows" else target[:, 0]

    a, b = trainer("sgd", loss, outputs=3), trainer("sgd", loss, outputs=3)
    table = {1: 4.0, 2: 0.5}
    doubled = tg.full((40,), 2.0)
    a.fit(X, y, class_weight=table, sample_weight=doubled, verbose=0, shuffle=False)
    b.fit(X, y, sample_weight=by_class, verbose=0, shuffle=False)
    assert same(weights(a), weights(b))


def test_weights_need_losses_of_samples():
    made = trainer("sgd", lambda found, target: (found - target).square().mean())
    with pytest.raises(ValueError, match="weights need the loss of every sample"):
        made.fit(X, Y, sample_weight=tg.ones(40), verbose=0)


# -- the loss, penalties, steps ----------------------------------------------------------------
def test_penalties_leave_biases_out():
    plain, made = trainer(), trainer(l1=0.1, l2=0.2)
    matrices = [made.model[0].weight, made.model[2].weight]
    penalty = sum(0.1 * w.abs().sum().item() + 0.2 * (w * w).sum().item() for w in matrices)
    difference = made.evaluate(X, Y, verbose=0) - plain.evaluate(X, Y, verbose=0)
    assert difference == pytest.approx(penalty, rel=1e-5)
    chosen = trainer(l2=1.0, regularize=lambda name, p: name.endswith("0.bias"))
    difference = chosen.evaluate(X, Y, verbose=0) - plain.evaluate(X, Y, verbose=0)
    assert difference == pytest.approx((chosen.model[0].bias ** 2).sum().item(), rel=1e-4)
    with pytest.raises(ValueError, match="concern no parameter"):
        trainer(l2=1.0, regularize=lambda name, p: False)
    with pytest.raises(ValueError, match="must not be negative"):
        trainer(l2=-1.0)


@pytest.mark.parametrize("loss", ["mse", tg.losses.MSELoss(reduction="sum")])
def test_accumulated_batches_are_one_batch(loss):
    ends = []
    for size, steps in ((20, 1), (5, 4), (10, 2)):
        made = trainer(optim.SGD(lr=0.01), loss, l2=0.1, gradient_accumulation_steps=steps)
        made.fit(X, Y, batch_size=size, epochs=2, shuffle=False, verbose=0)
        ends.append(weights(made))
        assert made.steps == 4
    for found in ends[1:]:
        for p, q in zip(found, ends[0]):
            np.testing.assert_allclose(p, q, rtol=2e-5, atol=1e-6)


def test_accumulation_weighs_by_samples_and_ends_with_the_epoch():
    a = trainer(gradient_accumulation_steps=3)  # batches of 16, 16 and 8 of 40 samples
    b = trainer()
    a.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    b.fit(X, Y, batch_size=40, epochs=2, shuffle=False, verbose=0)
    for p, q in zip(weights(a), weights(b)):
        np.testing.assert_allclose(p, q, rtol=2e-5, atol=1e-6)
    c = trainer(gradient_accumulation_steps=100)
    c.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    assert same(weights(c), weights(a)) and c.steps == 2


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping_by_compile_or_by_the_optimizer(clip):
    ends = []
    for given, settings in (
        (optim.SGD(lr=0.5, **{clip: 0.01}), {}),
        (optim.SGD(lr=0.5), {clip: 0.01}),
        (optim.SGD(lr=0.5), {}),
    ):
        made = trainer(given, "mse", **settings)
        made.fit(X, Y, epochs=2, shuffle=False, verbose=0)
        ends.append(weights(made))
    assert same(ends[0], ends[1]) and not same(ends[0], ends[2])
    with pytest.raises(ValueError, match="clips by itself"):
        trainer(optim.SGD(lr=0.5, clipnorm=1.0), "mse", clipvalue=1.0)
    with pytest.raises(ValueError):
        trainer(optim.SGD(lr=0.5), "mse", clipvalue=-1.0)


def test_optimizers_of_all_forms():
    for given in ("adam", optim.Adam, optim.Adam(lr=1e-3)):
        made = trainer(given, "mse")
        assert isinstance(made.optimizer, optim.Adam)
        assert sum(len(g["params"]) for g in made.optimizer.param_groups) == 4
    model = mlp()
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2].parameters()}]
    made = nn.Trainer(model)
    made.compile(optim.SGD(groups, lr=0.1), "mse")
    assert [g["lr"] for g in made.optimizer.param_groups] == [0.5, 0.1]
    with pytest.raises(ValueError, match="none of the parameters"):
        trainer(optim.SGD(mlp().parameters(), lr=0.1), "mse")
    with pytest.raises(ValueError, match="no optimizer is called"):
        trainer("adm", "mse")
    with pytest.raises(ValueError, match="no parameters"):
        nn.Trainer(nn.Tanh()).compile("sgd", "mse")


@pytest.mark.parametrize("kind", ["LBFGS", "SAM", "Lookahead", "SGDScheduleFree"])
def test_optimizers_of_other_kinds(kind):
    given = {
        "LBFGS": lambda: optim.LBFGS(lr=0.5, max_iter=3),
        "SAM": lambda: optim.SAM(lr=0.1),
        "Lookahead": lambda: optim.Lookahead(lr=0.1),
        "SGDScheduleFree": lambda: optim.SGDScheduleFree(lr=0.5),
    }[kind]()
    made = trainer(given, "mse")
    first = made.evaluate(X, Y, verbose=0)
    history = made.fit(X, Y, batch_size=20, epochs=5, validation_split=0.2, verbose=0)
    assert made.evaluate(X, Y, verbose=0) < first
    assert made.evaluate(X[32:], Y[32:], verbose=0) == history.history["val_loss"][-1]
    if kind in ("LBFGS", "SAM"):
        made = trainer(type(given)(), "mse", gradient_accumulation_steps=2)
        with pytest.raises(ValueError, match="cannot be accumulated"):
            made.fit(X, Y, verbose=0)


def test_is_a_plain_loop():
    made = trainer(optim.Adam(lr=0.01), "mse")
    tg.manual_seed(0)
    model = mlp()
    optimizer, means = optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(3):
        total = 0.0
        for i in range(0, 40, 16):
            loss = tg.losses.mse_loss(model(X[i : i + 16]), Y[i : i + 16])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(X[i : i + 16])
        means.append(total / 40)
    history = made.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    assert history.history["loss"] == means
    assert same(weights(made), [p.detach().numpy() for p in model.parameters()])


def test_schedules_of_all_forms():
    def rates(schedule, **more):
        seen = []
        made = trainer(optim.SGD(lr=0.8), "mse", schedule=schedule, **more)
        note = nn.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs: seen.append(made.learning_rate)
        )
        history = made.fit(X, Y, batch_size=20, epochs=3, verbose=0, callbacks=note)
        return seen, history.history.get("learning_rate")

    halves = ([0.8, 0.8, 0.4, 0.4, 0.2, 0.2], [0.8, 0.4, 0.2])
    step = optim.lr_scheduler.StepLR
    assert rates(lambda optimizer: step(optimizer, 1, gamma=0.5)) == halves
    by_step = rates(
        lambda optimizer: optim.lr_scheduler.ExponentialLR(optimizer, 0.5), schedule_every="step"
    )[0]
    assert by_step == [0.8 * 0.5**i for i in range(6)]
    made = trainer(optim.SGD(lr=0.8), "mse", schedule=lambda step: 0.1 * 0.5**step)
    made.fit(X, Y, batch_size=20, epochs=2, verbose=0)
    assert made.learning_rate == 0.1 * 0.5**3
    found = rates(lambda optimizer: optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=9))
    assert found[1] == [0.8] * 3
    with pytest.raises(TypeError, match="schedule is a scheduler"):
        trainer(schedule=3)
    with pytest.raises(ValueError, match="of another optimizer"):
        trainer(schedule=step(optim.SGD(mlp().parameters(), lr=0.1), 1))
    with pytest.raises(ValueError, match="schedule_every"):
        trainer(schedule_every="batch")


def test_averages_are_evaluated():
    made = trainer(optim.SGD(lr=0.3), "mse", ema=0.8)
    own = optim.EMA(list(made.model.parameters()), decay=0.8)
    note = nn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: own.update())
    history = made.fit(X, Y, epochs=3, validation_data=(X, Y), verbose=0, callbacks=note)
    raw = weights(made)
    plain = nn.Trainer(made.model)
    plain.compile("sgd", "mse")
    with own.average_parameters():
        expected = plain.evaluate(X, Y, verbose=0)
        predicted = plain.predict(X, verbose=0)
    assert history.history["val_loss"][-1] == made.evaluate(X, Y, verbose=0) == expected
    assert bool((made.predict(X, verbose=0) == predicted).all())
    assert same(weights(made), raw) and plain.evaluate(X, Y, verbose=0) != expected
    made.ema.copy_to()
    assert plain.evaluate(X, Y, verbose=0) == expected


# -- metrics, evaluation, modes ----------------------------------------------------------------
def test_metrics_are_exact_over_the_epoch():
    y = (X[:, :1] > 0.3).to("float32")
    model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    made = nn.Trainer(model)

    def worst(found, target):
        return (found - target).abs().max()

    made.compile(
        optim.SGD(lr=0.0), "binary_crossentropy", ["auc", nn.metrics.get("precision"), worst]
    )
    history = made.fit(X, y, batch_size=7, validation_data=(X, y), verbose=0)
    found = made.predict(X, verbose=0)
    for name, expected in (
        ("auc", nn.metrics.get("auc")(found, y)),
        ("precision", nn.metrics.get("precision")(found, y)),
        ("worst", worst(found, y)),
    ):
        for key in (name, f"val_{name}"):
            assert history.history[key] == [pytest.approx(expected.item(), rel=1e-6)], key


def test_names_of_metrics():
    made = trainer("sgd", "mse", {"first": "mae", "second": "mae"})
    assert list(made.fit(X, Y, verbose=0).history) == ["loss", "first", "second"]
    with pytest.raises(ValueError, match="logged as 'mae'"):
        trainer("sgd", "mse", ["mae", "mae"])
    with pytest.raises(ValueError, match="no metric is called"):
        trainer("sgd", "mse", ["acuracy"])


class Largest:
    """A metric object of one's own."""

    name = "largest"

    def __init__(self):
        self.value = 0.0

    def update(self, found, target):
        self.value = max(self.value, target.max().item())

    def compute(self):
        return self.value

    def reset(self):
        self.value = 0.0


def test_metric_objects_of_ones_own():
    made = trainer("sgd", "mse", [Largest()])
    history = made.fit(X, Y, epochs=2, validation_data=(X[:5], Y[:5]), verbose=0)
    assert history.history["largest"] == [Y.max().item()] * 2
    assert history.history["val_largest"] == [Y[:5].max().item()] * 2


def test_evaluating_within_an_epoch_disturbs_nothing():
    a, b = trainer("sgd", "mse", ["mae"]), trainer("sgd", "mse", ["mae"])
    look = nn.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: b.evaluate(X[:3], Y[:3], verbose=0)
    )
    for made, callbacks in ((a, []), (b, [look])):
        made.fit(X, Y, 8, 2, callbacks=callbacks, shuffle=False, verbose=0)
    assert a.history.history == b.history.history


def test_modes_come_back():
    made = trainer()
    made.model[1].eval()
    seen = []
    note = nn.callbacks.LambdaCallback(
        on_train_batch_end=lambda b, logs: seen.append(made.model[1].training),
        on_test_batch_end=lambda b, logs: seen.append(made.model[1].training),
    )
    made.fit(X, Y, batch_size=40, validation_data=(X, Y), callbacks=note, verbose=0)
    assert seen == [True, False]
    assert made.model.training and not made.model[1].training
    made.predict(X, verbose=0)
    assert made.model.training


def test_evaluate_returns_what_keras_returns():
    plain, measured = trainer(), trainer("sgd", "mse", ["mae"])
    assert isinstance(plain.evaluate(X, Y, verbose=0), float)
    assert len(measured.evaluate(X, Y, verbose=0)) == 2
    assert list(measured.evaluate(X, Y, verbose=0, return_dict=True)) == ["loss", "mae"]
    weighted = plain.evaluate(X, Y, verbose=0, sample_weight=tg.full((40,), 2.0))
    assert weighted == pytest.approx(2 * plain.evaluate(X, Y, verbose=0))


def test_compile_comes_first():
    made = nn.Trainer(mlp())
    for method in (made.fit, made.evaluate):
        with pytest.raises(RuntimeError, match="call compile"):
            method(X, Y)
    assert made.predict(X, verbose=0).shape == (40, 2)
    with pytest.raises(TypeError, match="not the class Linear"):
        nn.Trainer(nn.Linear)
    with pytest.raises(ValueError, match="say which loss"):
        made.compile("sgd")
    with pytest.raises(ValueError, match="reduction='none'"):
        made.compile("sgd", tg.losses.MSELoss(reduction="none"))
    assert made.optimizer is None


def test_a_compile_that_fails_changes_nothing():
    made = trainer()
    optimizer, loss = made.optimizer, made.loss
    with pytest.raises(TypeError):
        made.compile("adam", "mae", schedule=3)
    assert made.optimizer is optimizer and made.loss is loss and made.schedule is None


def test_losses_must_be_numbers():
    with pytest.raises(ValueError, match=r"gave shape \(32, 2\)"):
        trainer("sgd", lambda found, target: found - target).fit(X, Y, verbose=0)


def test_the_dtype_of_the_model():
    made = nn.Trainer(mlp().double())
    made.compile("sgd", "mse")
    made.fit(X.numpy(), Y.tolist(), verbose=0)
    assert {p.dtype.name for p in made.model.parameters()} == {"float64"}
    assert made.predict(X.numpy(), verbose=0).dtype == "float64"


def test_parameters_that_only_the_optimizer_has():
    own = nn.Parameter(tg.ones(()))
    made = nn.Trainer(mlp())
    optimizer = optim.SGD([*made.model.parameters(), own], lr=0.0)
    made.compile(optimizer, lambda found, target: (own * found - target).square().mean())
    seen = []
    note = nn.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(own.grad.item())
    )
    made.fit(X, Y, batch_size=40, epochs=3, callbacks=note, shuffle=False, verbose=0)
    assert seen[0] == seen[1] == seen[2]  # no gradient of an earlier batch is left in it


def test_nothing_to_train():
    made = trainer()
    for p in made.model.parameters():
        p.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        made.fit(X, Y, verbose=0)


def test_a_plateau_needs_epochs():
    plateau = lambda optimizer: optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau.*schedule_every='epoch'"):
        trainer(optim.SGD(lr=0.1), "mse", schedule=plateau, schedule_every="step")


def test_functions_that_make_schedulers_may_call_their_argument_anything():
    made = trainer(
        optim.SGD(lr=0.1), "mse", schedule=lambda opt: optim.lr_scheduler.StepLR(opt, 1, gamma=0.5)
    )
    history = made.fit(X, Y, epochs=3, verbose=0)
    assert history.history["learning_rate"] == [0.1, 0.05, 0.025]


def test_validation_data_in_a_list():
    a, b = trainer(), trainer()
    first = a.fit(X, Y, validation_data=[X[:9], Y[:9]], shuffle=False, verbose=0)
    other = b.fit(X, Y, validation_data=(X[:9], Y[:9]), shuffle=False, verbose=0)
    assert first.history == other.history


@pytest.mark.parametrize(
    "given, message",
    [
        ({"initial_epoch": -1}, "initial_epoch must be an integer of at least 0, not -1"),
        ({"validation_freq": [1, 2]}, r"validation_freq must be .* not \[1, 2\]"),
        ({"callbacks": EarlyStopping}, "is the class EarlyStopping: make one"),
    ],
)
def test_settings_of_fit_that_make_no_sense(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        trainer().fit(X, Y, verbose=0, **given)


def test_loaders_bring_their_targets():
    loader = nn.data.DataLoader(nn.data.TensorDataset(X, Y), 8)
    for data in (loader, nn.data.TensorDataset(X, Y), ((X, Y) for _ in range(2))):
        with pytest.raises(TypeError, match="brings its own targets"):
            trainer().fit(data, Y, verbose=0)


# -- what is not finite ------------------------------------------------------------------------
class Spoiled(nn.Module):
    """Gives what is not finite from the third call on."""

    def __init__(self, how):
        super().__init__()
        self.how, self.calls = how, 0
        self.register_buffer("seen", tg.zeros(()))
        self.register_buffer("kept", tg.zeros(2))

    def forward(self, x):
        with tg.no_grad():
            self.seen = self.seen + 1  # one buffer is replaced, the other changed in place
            self.kept += 1
        x = x + 0.0 * tg.rand(*x.shape)
        if self.seen.item() < 3:
            return x
        return self.how(x)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "how, operation, said",
    [
        (lambda x: tg.log(x - 100.0), "log", "the loss is nan"),
        (lambda x: tg.exp(x * 1e6), "exp", "the loss is inf"),
        (lambda x: (x - x) / (x - x).sum(), "div", "produced NaN"),
        (lambda x: tg.sqrt(x - x), "sqrt", "its gradient by '0.weight' is not finite"),
        (lambda x: tg.where(x > -1e9, x, tg.log(x - x)), "log", "gradient by '0.weight'"),
    ],
)
@pytest.mark.parametrize("steps", [1, 2])
def test_stops_where_it_stops_being_finite(how, operation, said, steps):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), Spoiled(how), nn.Identity())
    made = nn.Trainer(model)
    made.compile(optim.Adam(lr=0.01), "mse", gradient_accumulation_steps=steps, ema=0.9)
    seen = []
    note = nn.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(
            (weights(made), made.optimizer.state_dict(), tg.get_rng_state().tolist())
        )
    )
    with pytest.raises(nn.NonFiniteLoss, match=said) as caught:
        made.fit(X, Y, batch_size=20, epochs=2, callbacks=note, shuffle=False, verbose=0)
    error = caught.value
    assert isinstance(error, FloatingPointError)
    assert (error.epoch, error.batch, error.operation) == (1, 0, operation)
    assert str(error).startswith("Epoch 2, batch 1: the loss is")
    assert "test_trainer.py" in str(error)  # where it was called
    assert "parameters are as they were" in str(error)
    before = seen[-1]
    assert same(weights(made), before[0])
    assert repr(made.optimizer.state_dict()) == repr(before[1])
    assert tg.get_rng_state().tolist() == before[2]
    assert model[1].seen.item() == 2 and model[1].kept.tolist() == [2.0, 2.0]  # buffers, too
    assert all(p.grad is None for p in model.parameters())
    if "gradient" not in said:
        assert "in layer '1' (Spoiled)" in str(error)


class RootOfZero(nn.Module):
    def forward(self, x):
        return x * tg.sqrt(0.0 * x) if self.training else x


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_gradients_not_finite_that_pass_layers_of_several_results():
    made = nn.Trainer(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), RootOfZero()))
    made.compile("sgd", "mse")
    with pytest.raises(nn.NonFiniteLoss, match=r"rule of 'sqrt' in layer '2'") as caught:
        made.fit(X, Y, verbose=0)
    assert caught.value.operation == "sqrt"


class GrowsTooLarge(nn.Module):
    """Finite at first, and not at its sixth call: amid a step of several computations."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x / 0.0 if self.calls >= 6 else x


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind, batch", [("SAM", 2), ("LBFGS", 0)])
def test_steps_of_several_computations_are_undone_as_a_whole(kind, batch):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.1), GrowsTooLarge())
    made = nn.Trainer(model)
    made.compile(kind, "mse", ema=0.9)
    seen = []
    note = nn.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(
            ([v.numpy().copy() for v in model.state_dict().values()], tg.get_rng_state().tolist())
        )
    )
    with pytest.raises(nn.NonFiniteLoss) as caught:
        made.fit(X, Y, batch_size=8, callbacks=note, verbose=0)
    assert caught.value.batch == batch
    assert same([v.numpy() for v in model.state_dict().values()], seen[-1][0])
    assert tg.get_rng_state().tolist() == seen[-1][1]


def test_data_and_parameters_that_are_not_finite_are_named():
    x = X.clone()
    x[17, 1] = math.nan
    with pytest.raises(nn.NonFiniteLoss, match=r"x \(shape \(32, 3\)\) of this batch has 1 such"):
        trainer().fit(x, Y, shuffle=False, verbose=0)
    made = trainer()
    with tg.no_grad():
        made.model[2].bias[0] = math.inf
    with pytest.raises(nn.NonFiniteLoss, match=r"The parameter '2\.bias'"):
        made.fit(X, Y, verbose=0)


def test_a_loss_that_diverges():
    made = trainer(optim.SGD(lr=1e6), "mse")
    with pytest.raises(nn.NonFiniteLoss) as caught, np.errstate(all="ignore"):
        made.fit(X, Y, epochs=50, verbose=0)
    assert caught.value.operation is not None
    assert all(np.isfinite(w).all() for w in weights(made))


# -- lightness ---------------------------------------------------------------------------------
def test_is_loaded_late():
    import subprocess
    import sys

    code = "import sys, tapegrad.nn; print([m for m in sys.modules if 'tapegrad.nn.train' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "name, rate",
    [("sgd", 0.01), ("rmsprop", 0.001), ("Adadelta", 0.001), ("nadam", 0.001), ("adam", 0.001)],
)
def test_a_name_means_keras_learning_rate(name, rate):
    trainer = nn.Trainer(nn.Linear(2, 1))
    trainer.compile(name, "mse")
    assert trainer.optimizer.param_groups[0]["lr"] == rate
    trainer.compile("torch.optim.SGD", "mse")
    assert trainer.optimizer.param_groups[0]["lr"] == 0.001, "PyTorch's own"
