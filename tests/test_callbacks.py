"""Callbacks: what they do, what they refuse, what they remember."""

import csv
import io
import os
import re
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.nn import callbacks as cb

X = tg.randn(24, 3, generator=tg.Generator().manual_seed(0))
Y = X[:, :1] * X[:, 1:2]


def trainer(rate=0.05, metrics=None, **settings):
    tg.manual_seed(0)
    made = nn.Trainer(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)))
    made.compile(optim.SGD(lr=rate), "mse", metrics, **settings)
    return made


def fit(callbacks, epochs=4, made=None, **given):
    made = made or trainer()
    given.setdefault("validation_split", 0.25)
    return made.fit(X, Y, 8, epochs, 0, callbacks, shuffle=False, **given)


class Says(cb.Callback):
    """Feeds numbers to those that come after it."""

    def __init__(self, name, numbers):
        self.name, self.numbers = name, numbers

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.numbers[epoch]


# -- hooks -------------------------------------------------------------------------------------
def test_hooks_in_keras_order():
    seen = []

    def noting(name):
        return lambda *args: seen.append((name[3:], *args[:-1]))

    names = set(cb.callback.HOOKS) - {"on_batch_begin", "on_batch_end"}
    notes = cb.LambdaCallback(**{name: noting(name) for name in names})
    made = trainer()
    made.fit(X, Y, 12, 1, validation_data=(X[:3], Y[:3]), verbose=0, callbacks=[notes])
    assert seen == [
        ("train_begin",),
        ("epoch_begin", 0),
        ("train_batch_begin", 0),
        ("train_batch_end", 0),
        ("train_batch_begin", 1),
        ("train_batch_end", 1),
        ("test_begin",),
        ("test_batch_begin", 0),
        ("test_batch_end", 0),
        ("test_end",),
        ("epoch_end", 0),
        ("train_end",),
    ]
    seen.clear()
    made.predict(X, batch_size=24, verbose=0, callbacks=[notes])
    names = ["predict_begin", "predict_batch_begin", "predict_batch_end", "predict_end"]
    assert [name for name, *_ in seen] == names


def test_what_a_callback_knows():
    class Looks(cb.Callback):
        def on_train_begin(self, logs=None):
            assert self.model is self.trainer.model
            assert self.params["epochs"] == 4 and self.params["steps"] == 3
            assert self.params["metrics"] == ["loss", "mae", "val_loss", "val_mae"]

        def on_batch_end(self, batch, logs=None):
            assert set(logs) == {"loss", "mae"} and logs["loss"] > 0
            assert self.trainer.epoch * 3 + batch == self.trainer.batches_seen
            means.append(dict(logs))

    means = []
    history = fit(Looks(), made=trainer(metrics=["mae"]))
    assert len(means) == 12
    assert [m["mae"] for m in means[2::3]] == history.history["mae"]
    assert [m["loss"] for m in means[2::3]] == history.history["loss"]


def test_stopping_by_hand():
    class Stops(cb.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.trainer.batches_seen == 4:
                self.trainer.stop_training = True

    history = fit(Stops())
    assert history.epoch == [0, 1] and len(history.history["val_loss"]) == 2


@pytest.mark.parametrize(
    "given, message",
    [
        ([cb.EarlyStopping], "is the class EarlyStopping: make one"),
        ([print], "is a builtin_function_or_method, not a callback"),
    ],
)
def test_what_is_no_callback(given, message):
    with pytest.raises(TypeError, match=message):
        fit(given)


def test_lambda_callbacks_know_the_hooks():
    with pytest.raises(TypeError, match="'on_epoch' is no hook"):
        cb.LambdaCallback(on_epoch=print)
    with pytest.raises(TypeError, match="must be a function"):
        cb.LambdaCallback(on_epoch_end=3)


# -- monitors ----------------------------------------------------------------------------------
MONITORS = [
    lambda **given: cb.EarlyStopping(**given),
    lambda **given: cb.ReduceLROnPlateau(**given),
    lambda **given: cb.ModelCheckpoint("x.safetensors", save_best_only=True, **given),
]


@pytest.mark.parametrize("make", MONITORS)
def test_a_monitor_that_does_not_exist(make):
    made = trainer()
    before = made.model.state_dict()
    with pytest.raises(ValueError, match=r"'val_loss' is not measured: there is no validation d.*"):
        fit(make(), made=made, validation_split=0.0)
    after = made.model.state_dict()
    assert all((after[k] == before[k]).all() for k in before)  # said before anything is trained
    with pytest.raises(
        ValueError, match=r"'val_mae' is not measured. There are 'loss', 'val_loss'"
    ):
        fit(make(monitor="val_mae"))
    with pytest.raises(ValueError, match=r"'acc' is not measured. There are 'loss', 'val_loss'"):
        fit(make(monitor="acc"))
    with pytest.raises(ValueError, match="mode must be"):
        make(mode="least")
    with pytest.raises(ValueError, match=r"whether monitor='speed' should rise or fall"):
        fit([Says("speed", [1.0] * 9), make(monitor="speed")])


def test_epochs_without_validation_are_passed_over():
    stop = cb.EarlyStopping(patience=1)
    history = fit([stop], epochs=6, made=trainer(rate=0.0), validation_freq=2)
    assert len(history.history["val_loss"]) == 2 and history.epoch == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "name, mode, numbers, epochs",
    [
        ("x_loss", "auto", [3, 2, 1, 2, 3, 4], 4),
        ("accuracy", "auto", [1, 2, 3, 2, 1, 0], 4),
        ("f1", "auto", [1, 2, 2, 2, 2, 2], 3),
        ("thing", "max", [1, 2, 3, 4, 5, 4], 6),
        ("thing", "min", [1, 2, 3, 4, 5, 4], 2),
        ("thing", "min", [float("nan"), 2, 1, float("nan"), 0, 0], 2),
    ],
)
def test_directions(name, mode, numbers, epochs):
    stop = cb.EarlyStopping(name, patience=1, mode=mode)
    history = fit([Says(name, numbers), stop], epochs=6)
    nan = numbers[0] != numbers[0]
    assert len(history.epoch) == (4 if nan else epochs)


def test_the_metric_says_its_direction():
    def strange(found, target):
        return -(found - target).abs().mean()

    good = nn.metrics.Metric(strange, "strange")
    with pytest.raises(ValueError, match="cannot be told from its name"):
        fit(cb.EarlyStopping("val_strange"), made=trainer(metrics=[good]))
    assert fit(cb.EarlyStopping("val_mae", patience=9), made=trainer(metrics=["mae"])).epoch


def test_best_weights_come_back():
    numbers = [3.0, 1.0, 2.0, 2.0, 2.0]
    kept = []
    note = cb.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(made.model.state_dict()))
    made = trainer()
    stop = cb.EarlyStopping("s_loss", patience=3, restore_best_weights=True)
    fit([note, Says("s_loss", numbers), stop], epochs=9, made=made)
    found = made.model.state_dict()
    assert all((found[k] == kept[1][k]).all() for k in found) and stop.best_epoch == 1
    # with an EMA those that were evaluated, and the averages as well
    made = trainer(rate=0.3, ema=0.7)
    stop = cb.EarlyStopping("s_loss", patience=3, restore_best_weights=True)
    history = fit([Says("s_loss", numbers), stop], epochs=9, made=made)
    best = history.history["val_loss"][1]
    assert made.evaluate(X[18:], Y[18:], verbose=0) == best
    made.ema = None
    assert made.evaluate(X[18:], Y[18:], verbose=0) == best


# -- rates -------------------------------------------------------------------------------------
def test_rates_are_set_and_logged():
    history = fit(cb.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch)))
    assert history.history["learning_rate"] == [0.1, 0.05, 0.1 / 3, 0.025]
    model = nn.Linear(3, 1)
    groups = [{"params": [model.weight], "lr": 0.4}, {"params": [model.bias]}]
    made = nn.Trainer(model)
    made.compile(optim.SGD(groups, lr=0.1), "mse")
    fit(cb.LearningRateScheduler(lambda epoch, lr: lr / 2), epochs=2, made=made)
    assert [g["lr"] for g in made.optimizer.param_groups] == [0.1, 0.025]
    with pytest.raises(TypeError, match="must return a number"):
        fit(cb.LearningRateScheduler(lambda epoch: "fast"))
    with pytest.raises(TypeError, match="is a schedule already"):
        fit(cb.ReduceLROnPlateau(), made=trainer(rate=lambda step: 0.1))


def test_plateaus():
    plateau = cb.ReduceLROnPlateau("s_loss", factor=0.5, patience=2, min_lr=0.1, cooldown=2)
    rates = fit([Says("s_loss", [1.0] * 12), plateau], epochs=12, made=trainer(rate=0.8)).history[
        "learning_rate"
    ]
    # as Keras's: reduced after 2 epochs without improvement, of which cooldowns take one
    assert rates == [0.8] * 3 + [0.4] * 3 + [0.2] * 3 + [0.1] * 3
    low = trainer(rate=0.05)
    fit([Says("s_loss", [1.0] * 12), plateau], epochs=9, made=low)
    assert low.learning_rate == 0.05  # below min_lr already: left alone
    for wrong in ({"factor": 1.0}, {"patience": -1}, {"cooldown": -1}):
        with pytest.raises(ValueError):
            cb.ReduceLROnPlateau(**wrong)


# -- files -------------------------------------------------------------------------------------
def test_model_checkpoints(tmp_path):
    made = trainer()
    path = tmp_path / "{epoch:02d}-{val_loss:.2f}.safetensors"
    history = fit(cb.ModelCheckpoint(path, save_weights_only=True), made=made)
    names = [f"{i + 1:02d}-{v:.2f}.safetensors" for i, v in enumerate(history.history["val_loss"])]
    assert sorted(os.listdir(tmp_path)) == names
    last = tg.load(tmp_path / names[-1])
    assert all((last[k] == v).all() for k, v in made.model.state_dict().items())


def test_only_the_best_is_saved(tmp_path):
    numbers = [3.0, 1.0, 2.0, 0.5]
    path = tmp_path / "{epoch}.safetensors"
    keep = cb.ModelCheckpoint(path, "s_loss", save_best_only=True, initial_value_threshold=2.0)
    fit([Says("s_loss", numbers), keep])
    assert sorted(os.listdir(tmp_path)) == ["2.safetensors", "4.safetensors"]
    assert keep.best == 0.5


def test_saving_by_batches(tmp_path):
    keep = cb.ModelCheckpoint(tmp_path / "{epoch}-{batch}.safetensors", save_freq=2)
    fit(keep, epochs=2)  # three batches to an epoch
    assert sorted(os.listdir(tmp_path)) == [
        "1-2.safetensors",
        "2-1.safetensors",
        "2-3.safetensors",
    ]


def test_checkpoints_of_averages(tmp_path):
    made = trainer(rate=0.3, ema=0.8)
    keep = cb.ModelCheckpoint(tmp_path / "w.safetensors", save_weights_only=True)
    history = fit(keep, made=made)
    other = trainer()
    other.model.load_state_dict(tg.load(tmp_path / "w.safetensors"))
    assert other.evaluate(X[18:], Y[18:], verbose=0) == history.history["val_loss"][-1]


def test_refusals_of_model_checkpoints(tmp_path):
    with pytest.raises(ValueError, match=r"end in \.safetensors"):
        cb.ModelCheckpoint("model.keras")
    with pytest.raises(ValueError, match="save_freq must be"):
        cb.ModelCheckpoint("model.safetensors", save_freq="batch")
    with pytest.raises(KeyError, match="names 'acc', which is not measured"):
        fit(cb.ModelCheckpoint(tmp_path / "{acc}.safetensors"))


def test_csv_files(tmp_path):
    path = tmp_path / "logs" / "log.csv"
    history = fit(cb.CSVLogger(path, separator=";"))
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert [int(row["epoch"]) for row in rows] == history.epoch
    for name, numbers in history.history.items():
        assert [float(row[name]) for row in rows] == numbers
    fit(cb.CSVLogger(path, separator=";", append=True))
    assert len(path.read_text().splitlines()) == 9 and path.read_text().count("epoch") == 1
    fit(cb.CSVLogger(path), epochs=2, validation_freq=2)
    assert path.read_text().splitlines()[0] == "epoch,loss"  # begun anew


def test_tensorboard_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ImportError, match=r"tapegrad\[tensorboard\]"):
        cb.TensorBoard("logs")
    with pytest.raises(ValueError, match="update_freq must be"):
        cb.TensorBoard("logs", update_freq="sometimes")


class Writer:
    """What is asked of TensorBoard's writer of events."""

    made = {}

    def __init__(self, folder):
        Writer.made[os.path.basename(folder)] = self.events = []

    def add_event(self, event):
        self.events.append(event)

    def flush(self):
        pass

    def close(self):
        self.events.append("closed")


class Summary:
    def __init__(self, value):
        ((tag, number),) = value
        self.tag, self.number = tag, number

    @staticmethod
    def Value(tag, simple_value):
        return tag, simple_value


def test_tensorboard_gets_the_curves(monkeypatch, tmp_path):
    def event(step, wall_time, summary):
        return step, summary.tag, summary.number

    monkeypatch.setattr(cb.events, "_codec", lambda: (Writer, event, Summary))
    history = fit(cb.TensorBoard(tmp_path, update_freq=2), epochs=2)
    train, validation = Writer.made["train"], Writer.made["validation"]
    curve = [e for e in train if "epoch_loss" in e]
    assert curve == [(i, "epoch_loss", v) for i, v in enumerate(history.history["loss"])]
    assert [e[0] for e in train if "batch_loss" in e] == [1, 3, 5]
    assert [e[2] for e in validation[:-1]] == history.history["val_loss"]
    assert train[-1] == validation[-1] == "closed"


# -- history and progress ----------------------------------------------------------------------
def test_histories_begin_anew():
    made = trainer()
    assert len(fit([], made=made).epoch) == len(fit([], made=made).epoch) == 4
    assert fit([], made=made, initial_epoch=2).epoch == [2, 3]
    own = cb.History()
    assert fit([own]) is own


def test_plots():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    history = fit([], made=trainer(metrics=["mae"]), validation_freq=2)
    axes = history.plot()
    assert [a.get_ylabel() for a in axes] == ["loss", "mae"]
    training, validation = axes[0].get_lines()
    assert list(training.get_xdata()) == [1, 2, 3, 4]
    np.testing.assert_array_equal(training.get_ydata(), history.history["loss"])
    assert list(validation.get_xdata()) == [2, 4]
    _, own = pyplot.subplots()
    assert history.plot("mae", ax=own) == [own]
    with pytest.raises(ValueError, match=r"'acc'.* was not measured, .*there are"):
        history.plot("acc")
    with pytest.raises(ValueError, match="nothing was measured yet"):
        cb.History().plot()
    with pytest.raises(ValueError, match="need as many axes"):
        history.plot(ax=own)
    pyplot.close("all")


def test_plots_are_of_single_numbers():
    pytest.importorskip("matplotlib").use("Agg")
    history = cb.History()
    history.on_epoch_end(0, {"loss": 1.0, "confusion_matrix": tg.ones(2, 2)})
    (axes,) = history.plot()
    assert axes.get_ylabel() == "loss"
    with pytest.raises(ValueError, match=r"'confusion_matrix'.*there are \['loss'\]"):
        history.plot("confusion_matrix")


def test_silence(capfd):
    made = trainer()
    made.fit(X, Y, validation_split=0.25, verbose=0)
    made.evaluate(X, Y, verbose=0)
    made.predict(X, verbose=0)
    assert capfd.readouterr() == ("", "")


def test_lines(capfd):
    made = trainer(metrics=["mae"])
    made.fit(X, Y, epochs=2, validation_split=0.25, verbose=2)
    made.evaluate(X, Y, verbose=2)
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert len(lines) == 3 and not err
    number = r"\d[\d.e-]*"
    pattern = rf"Epoch 2/2 - {number} s - loss: {number} - mae: {number} - val_loss: {number} - .*"
    assert re.fullmatch(pattern, lines[1])
    assert re.fullmatch(rf"Evaluated - loss: {number} - mae: {number}", lines[2])


def test_bars(capfd):
    pytest.importorskip("tqdm")
    made = trainer()
    made.fit(X, Y, 8, 2, validation_split=0.25, verbose=1)
    made.evaluate(X, Y, verbose=1)
    made.predict(X)
    out, err = capfd.readouterr()
    assert not out
    for text in ("Epoch 1/2: 100%", "Epoch 2/2: 100%", "3/3", "val_loss: ", "Evaluating: 100%"):
        assert text in err
    assert "Predicting: 100%" in err
    made.fit(((X, Y) for _ in range(3)), verbose=1)  # of unknown length
    assert "3batch" in capfd.readouterr().err


def test_messages_do_not_run_into_bars(monkeypatch, tmp_path):
    pytest.importorskip("tqdm")
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    monkeypatch.setattr(sys, "stderr", written)
    keep = cb.ModelCheckpoint(tmp_path / "model", verbose=1)
    rate = cb.LearningRateScheduler(lambda epoch: 0.1, verbose=1)
    trainer().fit(X, Y, epochs=2, verbose=1, callbacks=[keep, rate])
    lines = written.getvalue().replace("\r", "\n").split("\n")
    for message in ("saving the model", "learning rate is"):
        assert [line.startswith("Epoch 1: ") for line in lines if message in line][:1] == [True]
        assert not [line for line in lines if message in line and "batch" in line]


def test_bars_without_tqdm(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"tapegrad\[progress\]"):
        cb.Progress()
    monkeypatch.setattr(cb.progressing, "default_verbose", lambda: 2)
    monkeypatch.setattr("tapegrad.nn.trainer.default_verbose", lambda: 2)
    trainer().fit(X, Y)
    assert capfd.readouterr().out.startswith("Epoch 1/1")
    with pytest.raises(ValueError, match="verbose must be 0, 1 or 2"):
        cb.Progress(3)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_terminate_on_nan(capfd):
    made = trainer()
    loss = made.loss
    calls = []

    def spoiled(found, target):
        calls.append(None)
        value = loss.loss(found, target)
        return tg.log(value - value - 1.0) if len(calls) >= 5 else value

    made.compile(optim.SGD(lr=0.05), spoiled, ["mae"])
    kept = []
    note = cb.LambdaCallback(
        on_train_batch_begin=lambda b, logs: kept.append(made.model.state_dict())
    )
    history = fit([cb.TerminateOnNaN(), note], made=made, validation_split=0.0)
    assert history.epoch == [0, 1] and np.isnan(history.history["loss"][1])
    assert "Epoch 2, batch 2: the loss is nan. First the forward of 'log'" in capfd.readouterr().out
    found = made.model.state_dict()
    assert all((found[k] == kept[-1][k]).all() for k in found)


def test_files_are_closed_by_an_error(tmp_path):
    logger = cb.CSVLogger(tmp_path / "log.csv")

    def fail(epoch, logs):
        if epoch == 1:
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fit([logger, cb.LambdaCallback(on_epoch_end=fail)])
    assert logger._file is None


def test_reprs():
    assert repr(cb.EarlyStopping(patience=3)) == "EarlyStopping(patience=3)"
    assert repr(cb.TerminateOnNaN()) == "TerminateOnNaN()"
    assert repr(cb.LambdaCallback(on_epoch_end=print)) == "LambdaCallback(on_epoch_end)"
    assert repr(fit([])) == "History(4 epoch(s) of loss, val_loss)"
    assert repr(trainer()) == "Trainer(Sequential, SGD, MSELoss())"
