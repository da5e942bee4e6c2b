"""A run that is killed and resumed ends bit for bit where the unbroken one ends."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim


class Noisy(nn.Module):
    """Noise from the default generator and from one of its own, and a running mean."""

    def __init__(self):
        super().__init__()
        self.generator = tg.Generator().manual_seed(5)
        self.register_buffer("mean", tg.zeros(8))

    def forward(self, x):
        if not self.training:
            return x - self.mean
        with tg.no_grad():
            self.mean = 0.9 * self.mean + 0.1 * x.mean(dim=0)
        return x - self.mean + 0.01 * tg.randn(*x.shape, generator=self.generator)


class Pause(nn.callbacks.Callback):
    """Sleeps after each batch, so that there is time to be killed."""

    def __init__(self, seconds):
        self.seconds = seconds

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.seconds)


class Copy(nn.callbacks.Callback):
    """Keeps the checkpoint as it was after each step."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_begin(self, batch, logs=None):
        path = self.folder / "run" / "checkpoint.safetensors"
        if path.exists():
            name = f"{self.trainer.epoch}-{batch:02d}.safetensors"
            (self.folder / "kept").mkdir(exist_ok=True)
            (self.folder / "kept" / name).write_bytes(path.read_bytes())


def run(folder, callbacks=(), resume=None, save_every=3, epochs=5):
    """A training with everything that has a state: dropout, shuffling, two momenta, accumulation,
    a schedule, an EMA, running statistics, early stopping, a plateau, files, data by chance."""
    tg.manual_seed(3)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    x = tg.randn(90, 4)
    y = tg.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], dim=1)
    layers = [nn.Linear(4, 8), nn.Tanh(), Noisy(), nn.Dropout(0.2), nn.Linear(8, 2)]
    trainer = nn.Trainer(nn.Sequential(*layers))
    trainer.compile(
        optim.AdamW(lr=0.02, clipnorm=1.0),
        "mse",
        ["mae"],
        ema=0.9,
        l2=1e-3,
        schedule=lambda optimizer: optim.lr_scheduler.CosineAnnealingLR(optimizer, 40),
        schedule_every="step",
        gradient_accumulation_steps=2,
    )
    jump = nn.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: trainer.model[0].bias.data.__iadd__(
            1e-4 * (random.random() + np.random.rand())  # noqa: NPY002
        )
    )
    history = trainer.fit(
        x,
        y,
        batch_size=7,
        epochs=epochs,
        validation_split=0.2,
        verbose=0,
        checkpoint=folder / "run",
        resume_from=resume or folder / "run",
        save_every=save_every,
        callbacks=[
            nn.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
            nn.callbacks.ReduceLROnPlateau(patience=1, cooldown=1),
            nn.callbacks.CSVLogger(folder / "log.csv"),
            nn.callbacks.ModelCheckpoint(
                folder / "{epoch:02d}.safetensors", save_weights_only=True
            ),
            jump,
            *callbacks,
        ],
    )
    end = {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "ema": trainer.ema.state_dict(),
        "history": history.history,
        "epoch": history.epoch,
        "random": [tg.rand(3), random.random(), np.random.rand()],  # noqa: NPY002
    }
    tg.save(end, folder / "end.safetensors")
    return trainer


def same(a, b):
    """Whether two nested states are equal to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, tg.Tensor):
        return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    return repr(a) == repr(b)


def assert_ended_alike(folder, other):
    ends = [tg.load(f / "end.safetensors") for f in (folder, other)]
    for key in ends[0]:
        assert same(ends[0][key], ends[1][key]), key
    for path in other.glob("*"):
        if path.is_file():
            assert (folder / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    run(folder, [Copy(folder)], save_every=1)
    return folder


def test_how_often_it_is_saved_changes_nothing(unbroken, tmp_path):
    run(tmp_path, [Pause(0)], save_every="epoch")
    assert_ended_alike(tmp_path, unbroken)


def test_from_every_checkpoint(unbroken, tmp_path):
    kept = sorted((unbroken / "kept").iterdir())
    assert len(kept) > 40
    for path in kept[::4]:
        folder = tmp_path / path.stem
        folder.mkdir()
        (folder / "log.csv").write_bytes((unbroken / "log.csv").read_bytes())  # later rows are cut
        for made in unbroken.glob("0*.safetensors"):
            (folder / made.name).write_bytes(made.read_bytes())
        run(folder, [Pause(0)], resume=path)
        assert_ended_alike(folder, unbroken)


def begin(folder, seconds):
    code = (
        "import importlib.util, pathlib\n"
        f"spec = importlib.util.spec_from_file_location('resuming', {str(Path(__file__))!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        f"module.run(pathlib.Path({str(folder)!r}), [module.Pause({seconds})])\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_at_random_moments(unbroken, tmp_path, kills):
    moments = random.Random(os.urandom(8))
    path = tmp_path / "run" / "checkpoint.safetensors"
    before, waited = None, []
    for _ in range(kills):
        process = begin(tmp_path, 0.04)
        begun = time.monotonic()
        # only from when it has saved anew: what comes before would be the same run again
        while process.poll() is None and time.monotonic() - begun < 60:
            if (path.stat().st_mtime_ns if path.exists() else None) != before:
                break
            time.sleep(0.002)
        waited.append(moments.uniform(0.0, 0.3))
        time.sleep(waited[-1])
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        if process.returncode == 0:  # it was quicker, and has come to its end
            break
        assert process.returncode == -signal.SIGKILL, said.decode()
        before = path.stat().st_mtime_ns
    process = begin(tmp_path, 0.0)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    try:
        assert_ended_alike(tmp_path, unbroken)
    except AssertionError as error:
        raise AssertionError(f"killed after {waited} s: {error}") from error


def test_a_finished_run_is_not_run_again(unbroken, tmp_path):
    path = unbroken / "run" / "checkpoint.safetensors"
    (tmp_path / "log.csv").write_bytes((unbroken / "log.csv").read_bytes())
    trainer = run(tmp_path, [Pause(0)], resume=path)
    assert trainer.history.epoch == tg.load(unbroken / "end.safetensors")["epoch"]
    assert same(
        tg.load(tmp_path / "end.safetensors")["model"],
        tg.load(unbroken / "end.safetensors")["model"],
    )


# -- other data, and refusals ------------------------------------------------------------------
X = tg.randn(24, 3, generator=tg.Generator().manual_seed(0))
Y = X[:, :1] * X[:, 1:2]


def small(seed=0):
    tg.manual_seed(seed)
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 1)))
    trainer.compile(optim.SGD(lr=0.05, momentum=0.9), "mse")
    return trainer


class StopAt(nn.callbacks.Callback):
    """An interruption after so many batches."""

    def __init__(self, batches):
        self.batches = batches

    def on_train_batch_begin(self, batch, logs=None):
        if self.trainer.batches_seen == self.batches:
            raise KeyboardInterrupt


def loader():
    data = nn.data.TensorDataset(X, Y)
    return nn.data.DataLoader(data, 5, shuffle=True, generator=tg.Generator().manual_seed(1))


def batches():
    return [(X[i : i + 6], Y[i : i + 6]) for i in range(0, 24, 6)]


@pytest.mark.parametrize(
    "source, given",
    [
        (loader, {}),
        (loader, {"steps_per_epoch": 3}),
        (batches, {}),
        (batches, {"steps_per_epoch": 7}),
        (lambda: nn.data.TensorDataset(X, Y), {"batch_size": 5}),
    ],
)
@pytest.mark.parametrize("after", [2, 5, 8])
def test_other_data(tmp_path, source, given, after):
    unbroken = small()
    unbroken.fit(source(), epochs=3, verbose=0, **given)
    with pytest.raises(KeyboardInterrupt):
        stop = StopAt(after)
        small().fit(
            source(),
            epochs=3,
            verbose=0,
            checkpoint=tmp_path,
            save_every=2,
            callbacks=stop,
            **given,
        )
    resumed = small(seed=9)
    resumed.fit(source(), epochs=3, verbose=0, resume_from=tmp_path, **given)
    assert same(resumed.model.state_dict(), unbroken.model.state_dict())
    assert same(resumed.history.history, unbroken.history.history)


def test_more_epochs_afterwards(tmp_path):
    whole = small()
    whole.fit(X, Y, epochs=4, verbose=0)
    small().fit(X, Y, epochs=2, verbose=0, checkpoint=tmp_path)
    part = small(seed=9)
    part.fit(X, Y, epochs=4, verbose=0, resume_from=tmp_path)
    assert same(part.model.state_dict(), whole.model.state_dict())
    assert same(part.history.history, whole.history.history)


def test_a_run_that_stopped_early_stays_so(tmp_path):
    def stop():
        return nn.callbacks.EarlyStopping("loss", min_delta=100.0, patience=2)

    small().fit(X, Y, epochs=9, verbose=0, checkpoint=tmp_path, callbacks=stop())
    resumed = small()
    resumed.fit(X, Y, epochs=9, verbose=0, resume_from=tmp_path, callbacks=stop())
    assert resumed.history.epoch == [0, 1, 2]


def test_parts_of_files_are_cleared(tmp_path):
    left = tmp_path / ".checkpoint.safetensors.abc"
    left.write_bytes(b"a part")
    small().fit(X, Y, verbose=0, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_the_same_call_begins_and_goes_on(tmp_path):
    whole = small()
    whole.fit(X, Y, batch_size=6, epochs=3, verbose=0)
    folders = {"checkpoint": tmp_path, "resume_from": str(tmp_path), "save_every": 3}
    for stop in (5, 3, 100):
        trainer = small()
        with contextlib.suppress(KeyboardInterrupt):
            trainer.fit(X, Y, batch_size=6, epochs=3, verbose=0, callbacks=Stopped(stop), **folders)
    assert same(trainer.model.state_dict(), whole.model.state_dict())


class Stopped(nn.callbacks.Callback):
    """An interruption after so many batches of this process."""

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_from_a_model_checkpoint(tmp_path):
    whole = small()
    keep = nn.callbacks.ModelCheckpoint(tmp_path / "{epoch}.safetensors")
    whole.fit(X, Y, epochs=3, verbose=0, callbacks=keep)
    part = small(seed=9)
    again = nn.callbacks.ModelCheckpoint(tmp_path / "{epoch}.safetensors")
    part.fit(X, Y, epochs=3, verbose=0, callbacks=again, resume_from=tmp_path / "1.safetensors")
    assert same(part.model.state_dict(), whole.model.state_dict())
    assert same(part.history.history, whole.history.history)


def test_generators_are_refused(tmp_path):
    trainer = small()
    before = trainer.model.state_dict()
    with pytest.raises(TypeError, match="cannot be resumed: a bare generator"):
        trainer.fit((b for b in batches()), checkpoint=tmp_path, verbose=0)
    with pytest.raises(TypeError, match="cannot be resumed: a function"):
        trainer.fit(lambda: iter(batches()), checkpoint=tmp_path, verbose=0)
    with pytest.raises(TypeError, match="cannot be resumed: a bare generator"):
        validation = (b for b in batches())
        trainer.fit(X, Y, validation_data=validation, checkpoint=tmp_path, verbose=0)
    assert same(trainer.model.state_dict(), before)
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path):
    small().fit(X, Y, epochs=2, verbose=0, checkpoint=tmp_path)
    other = nn.Trainer(nn.Linear(3, 1))
    other.compile("sgd", "mse")
    before = other.model.state_dict()
    with pytest.raises(RuntimeError, match="Missing key"):
        other.fit(X, Y, epochs=3, verbose=0, resume_from=tmp_path)
    assert same(other.model.state_dict(), before)
    trainer = small()
    before = trainer.model.state_dict()
    with pytest.raises(ValueError, match="batches is 1 there and 2 here"):
        trainer.fit(X, Y, batch_size=12, epochs=3, verbose=0, resume_from=tmp_path)
    with pytest.raises(ValueError, match="batch_size=32"):
        trainer.fit(X, Y, batch_size=24, epochs=3, verbose=0, resume_from=tmp_path)
    with pytest.raises(ValueError, match="'EarlyStopping'"):
        stop = nn.callbacks.EarlyStopping("loss")
        trainer.fit(X, Y, epochs=3, verbose=0, resume_from=tmp_path, callbacks=stop)
    trainer.compile("adam", "mse")
    with pytest.raises(ValueError, match="optimizer is 'SGD' there and 'Adam' here"):
        trainer.fit(X, Y, epochs=3, verbose=0, resume_from=tmp_path)
    assert same(trainer.model.state_dict(), before)


@pytest.mark.parametrize(
    "compiled, given, message",
    [
        ({"loss": "mae"}, {}, "loss is 'MSELoss' there and 'L1Loss' here"),
        ({"clipnorm": 1.0}, {}, "clipping is .* there and .*'clipnorm': 1.0.* here"),
        ({"l2": 0.1}, {}, "penalties is {} there and {'l2_penalty': 0.1} here"),
        ({"ema": 0.5}, {}, "ema is 0.9 there and 0.5 here"),
        ({"schedule_every": "step"}, {}, "schedule_every is 'epoch' there and 'step' here"),
        ({}, {"shuffle": False}, "order is 'RandomSampler' there and 'SequentialSampler' here"),
        ({}, {"class_weight": {0: 2.0}}, "class_weight is False there and True here"),
    ],
)
def test_other_settings_are_refused(tmp_path, compiled, given, message):
    def made(**settings):
        tg.manual_seed(0)
        trainer = nn.Trainer(nn.Linear(3, 1))
        trainer.compile("sgd", **{"loss": "mse", "ema": 0.9, **settings})
        return trainer

    made().fit(X, Y, epochs=2, verbose=0, checkpoint=tmp_path)
    other = made(**compiled)
    before = other.model.state_dict()
    with pytest.raises(ValueError, match=message):
        other.fit(X, Y, epochs=3, verbose=0, resume_from=tmp_path, **given)
    assert same(other.model.state_dict(), before)


def test_parameters_that_are_not_in_the_checkpoint_are_refused(tmp_path):
    model, own = nn.Linear(3, 1), nn.Parameter(tg.ones(()))
    trainer = nn.Trainer(model)
    trainer.compile(optim.SGD([*model.parameters(), own], lr=0.1), "mse")
    with pytest.raises(ValueError, match=r"moves 1 parameter.* not the model's"):
        trainer.fit(X, Y, verbose=0, checkpoint=tmp_path)


def test_a_file_may_have_any_name(tmp_path):
    whole = small()
    whole.fit(X, Y, epochs=3, verbose=0, callbacks=nn.callbacks.ModelCheckpoint(tmp_path / "m1"))
    part = small(seed=9)
    again = nn.callbacks.ModelCheckpoint(tmp_path / "other")
    part.fit(X, Y, epochs=5, verbose=0, callbacks=again, resume_from=tmp_path / "m1")
    assert part.history.epoch == [0, 1, 2, 3, 4]


def test_where_there_is_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        small().fit(X, Y, verbose=0, resume_from=tmp_path)
    tg.save(small().model.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="holds no checkpoint of a run"):
        small().fit(X, Y, verbose=0, resume_from=tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="save_every must be"):
        small().fit(X, Y, verbose=0, checkpoint=tmp_path, save_every=0)
    with pytest.raises(ValueError, match="say where to"):
        small().fit(X, Y, verbose=0, save_every=2)


def test_no_pickle(tmp_path):
    small().fit(X, Y, verbose=0, checkpoint=tmp_path)
    (path,) = tmp_path.iterdir()
    state = tg.load(path)
    assert path.name == "checkpoint.safetensors" and state["place"]["epoch"] == 1
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    assert data[8:9] == b"{" and len(data) > size  # a safetensors header in JSON
