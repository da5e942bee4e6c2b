"""A run that is killed and resumed ends bit for bit where the unbroken one ends."""

import random
import signal
import subprocess
import sys
import time

import pytest

import tapegrad as tg

#: A run with everything that has a state: dropout, shuffling, momentum of two kinds, accumulation,
#: a schedule, an EMA, running statistics, early stopping, plateaus, files.
PROGRAM = '''
import json, os, sys
import tapegrad as tg
from tapegrad import nn, optim

folder, slow = sys.argv[1], float(sys.argv[2])
tg.manual_seed(3)


class Noisy(nn.Module):
    """Dropout and a running mean, which are states beside the parameters."""

    def __init__(self):
        super().__init__()
        self.generator = tg.Generator().manual_seed(5)
        self.register_buffer("mean", tg.zeros(8))

    def forward(self, x):
        if not self.training:
            return x - self.mean
        with tg.no_grad():
            self.mean = 0.9 * self.mean + 0.1 * x.mean(dim=0)
        x = x * (tg.rand(*x.shape) > 0.2)
        return x - self.mean + 0.01 * tg.randn(*x.shape, generator=self.generator)


class Slow(nn.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        import time
        time.sleep(slow)


x = tg.randn(90, 4)
y = tg.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], dim=1)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), Noisy(), nn.Linear(8, 2))
trainer = nn.Trainer(model)
trainer.compile(
    optim.AdamW(lr=0.02, clipnorm=1.0), "mse", [MAE],
    ema=0.9, l2=1e-3, schedule=lambda optimizer: optim.lr_scheduler.CosineAnnealingLR(optimizer, 40),
    schedule_every="step", gradient_accumulation_steps=2,
)
history = trainer.fit(
    x, y, batch_size=7, epochs=6, validation_split=0.2, verbose=0,
    checkpoint=os.path.join(folder, "run"), resume_from=os.path.join(folder, "run"), save_every=3,
    callbacks=[
        nn.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
        nn.callbacks.ReduceLROnPlateau(patience=1, cooldown=1),
        nn.callbacks.CSVLogger(os.path.join(folder, "log.csv")),
        nn.callbacks.ModelCheckpoint(
            os.path.join(folder, "{epoch:02d}.safetensors"), save_weights_only=True),
        Slow(),
    ],
)
tg.save({"model": model.state_dict(), "optimizer": trainer.optimizer.state_dict(),
         "ema": trainer.ema.state_dict(), "history": history.history, "epoch": history.epoch,
         "random": tg.rand(3)}, os.path.join(folder, "end.safetensors"))
'''.replace("[MAE]", "lambda p, t: (p - t).abs().mean()")


def begin(folder, slow):
    command = [sys.executable, "-c", PROGRAM, str(folder), str(slow)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def finish(process):
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()


def same(a, b):
    """Whether two nested states are equal to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, tg.Tensor):
        return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    return repr(a) == repr(b)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    finish(begin(folder, 0.0))
    return folder


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments(unbroken, tmp_path, seed):
    moments = random.Random(seed)
    kills, before = 0, None
    for _ in range(12):
        process = begin(tmp_path, 0.01)
        path = tmp_path / "run" / "checkpoint.safetensors"
        begun = time.monotonic()
        # from when it has saved anew: what comes before would only be repeated
        while process.poll() is None and time.monotonic() - begun < 60:
            now = path.stat().st_mtime_ns if path.exists() else None
            if now != before:
                break
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.2))
        if process.poll() is not None:
            finish(process)
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kills += 1
        before = path.stat().st_mtime_ns
    else:
        finish(begin(tmp_path, 0.0))
    assert kills >= 2
    assert same(tg.load(tmp_path / "end.safetensors"), tg.load(unbroken / "end.safetensors"))
    for path in unbroken.glob("*"):
        if path.is_file():
            assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
