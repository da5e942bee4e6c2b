"""Regression with wrong numbers among the targets: squared errors beside robust losses.

From ten measurements of 442 patients a linear model says how their diabetes will have progressed
after a year, a number between 25 and 346. A quarter of the patients is held out. In the targets of
the others some numbers are made wrong: ten times too large, as if a decimal point had been lost.
The held-out targets stay right. The table shows the errors there, by the loss that was minimised.

A squared error lets a number that is far off pull in proportion to how far it is; an absolute one
lets all pull alike; Huber's loss is squared up to delta and absolute beyond. Without wrong numbers
all do about as well; with them the squared error does worse than always answering the median. As
all wrong numbers are too large, the robust losses give way a little, too, Huber's the more the
larger its delta.

Features are brought to mean 0 and deviation 1 by those of the training patients alone (what
scikit-learn gives by default is scaled by all patients, the held-out ones too); targets by their
median and quartiles, which hardly notice the wrong numbers.

Run it with ``python examples/diabetes.py``; it takes a third of a minute, and needs scikit-learn.
The picture, which needs Matplotlib, is written to ``out/diabetes.png``.

Source: Huber (1964), Robust estimation of a location parameter; the data: Efron, Hastie, Johnstone
and Tibshirani (2004), Least angle regression.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tapegrad as tg
from tapegrad import losses, nn, optim

EPOCHS, SPLITS, RATE = 300, 5, 0.05
SHARES = (0.0, 0.05, 0.1, 0.2)  # of training targets that are wrong
LOSSES = {
    "MSE": losses.MSELoss(),
    "MAE": losses.L1Loss(),
    "Huber, delta 1": losses.HuberLoss(delta=1.0),
    "Huber, delta 0.25": losses.HuberLoss(delta=0.25),
}


class Patients(NamedTuple):
    """Measurements (N, 10), and how the disease had progressed (N,)."""

    x: tg.Tensor
    y: tg.Tensor


def load_patients() -> Patients:
    """All of them, as measured."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    return Patients(tg.tensor(x), tg.tensor(y))


def split(patients: Patients) -> tuple[Patients, Patients]:
    """Three quarters to learn from, and the rest, at random."""
    held, train = tg.randperm(len(patients.y)).split([110, len(patients.y) - 110])
    return Patients(*(t[train] for t in patients)), Patients(*(t[held] for t in patients))


def with_outliers(y: tg.Tensor, share: float) -> tg.Tensor:
    """Targets of which some, drawn at random, are ten times too large."""
    wrong = tg.randperm(len(y)) < round(share * len(y))
    return tg.where(wrong, 10.0 * y, y)


def fit(train: Patients, loss: Callable[..., tg.Tensor], epochs: int) -> Callable[..., tg.Tensor]:
    """A linear model of the training patients, as a function of measurements."""
    scale = nn.data.Standardize().fit(train.x)
    low, middle, high = (train.y.quantile(q) for q in (0.25, 0.5, 0.75))
    model = nn.Sequential(nn.Linear(10, 1), nn.Flatten(0)).double()  # (N,) as the targets
    trainer = nn.Trainer(model)
    rate = optim.schedules.cosine_decay(RATE, epochs)
    trainer.compile(optim.Adam(lr=RATE), loss, schedule=rate, schedule_every="step")
    target = (train.y - middle) / (high - low)
    trainer.fit(scale(train.x), target, batch_size=len(target), epochs=epochs, verbose=0)
    return lambda x: trainer.predict(scale(x), verbose=0) * (high - low) + middle


def compare(patients: Patients, epochs: int, splits: int) -> dict[str, list[float]]:
    """Mean absolute errors on held-out patients, by loss and share, as means over splits."""
    errors = {name: [0.0] * len(SHARES) for name in ("the median", *LOSSES)}
    for seed in range(splits):
        for column, share in enumerate(SHARES):
            tg.manual_seed(seed)
            train, held = split(patients)
            train = train._replace(y=with_outliers(train.y, share))
            always = train.y.median().expand(len(held.y))
            errors["the median"][column] += nn.metrics.mae(always, held.y).item() / splits
            for name, loss in LOSSES.items():
                predicted = fit(train, loss, epochs)(held.x)
                errors[name][column] += nn.metrics.mae(predicted, held.y).item() / splits
    return errors


def draw(errors: dict[str, list[float]], path: Path) -> None:
    """The table as a picture."""
    try:
        import matplotlib
    except ImportError:
        print('No picture: it needs Matplotlib, pip install "tapegrad[plot]"')
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, row in errors.items():
        ax.plot([100 * share for share in SHARES], row, marker="o", label=name)
    ax.set(xlabel="wrong targets in training, %", ylabel="mean absolute error, held-out patients")
    ax.set_ylim(0, None)
    ax.grid(alpha=0.3)
    ax.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"\nPicture: {path}")


def main() -> None:
    """The comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs of each training")
    parser.add_argument("--splits", type=int, default=SPLITS, help="splits that are averaged over")
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args()
    if importlib.util.find_spec("sklearn") is None:
        parser.exit(1, 'the data come with scikit-learn: pip install "tapegrad[demo]"\n')
    errors = compare(load_patients(), options.epochs, options.splits)
    print(f"Mean absolute error on held-out patients, over {options.splits} splits")
    print(f"{'wrong targets':18}" + "".join(f"{share:>8.0%}" for share in SHARES))
    for name, row in errors.items():
        print(f"{name:18}" + "".join(f"{error:8.1f}" for error in row))
    draw(errors, options.out / "diabetes.png")


if __name__ == "__main__":
    main()
