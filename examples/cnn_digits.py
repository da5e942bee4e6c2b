"""A small convolutional network reads handwritten digits.

The pictures, 8 by 8 pixels, and their split are those of demo_digits.py, whose network takes the
pixels as 64 numbers in a row. This one knows which pixels are neighbours: a layer looks for the
same patterns of 3 by 3 at every place. Of its settings those were taken that are best in five-fold
cross-validation inside the training part, which is printed by ``--choose``; the held-out fifth of
the pictures decided nothing. The patterns that the first layer has learned are drawn.

    python examples/cnn_digits.py             a quarter of a minute
    python examples/cnn_digits.py --choose    a few minutes

It needs scikit-learn. The picture, which needs Matplotlib, is written to ``out/cnn_digits.png``.

Source: LeCun et al. (1989), Backpropagation applied to handwritten zip code recognition.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import NamedTuple

from demo_digits import load_digits

import tapegrad as tg
from tapegrad import nn, optim

EPOCHS, BATCH, RATE, DECAY, DROPOUT = 20, 32, 3e-3, 0.01, 0.3


class Settings(NamedTuple):
    """What ``--choose`` compares; here the best."""

    channels: int = 32
    smoothing: float = 0.1


def make_model(channels: int) -> nn.Sequential:
    """Three convolutions, the last at half the resolution, and a linear layer for the scores."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(2 * channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(DROPOUT),
        nn.Linear(2 * channels * 4 * 4, 10),
    )


def train(
    x: tg.Tensor, y: tg.Tensor, settings: Settings, epochs: int, verbose: int = 0
) -> nn.Trainer:
    """A trained model in its trainer."""
    tg.manual_seed(0)
    trainer = nn.Trainer(make_model(settings.channels))
    steps = epochs * -(-len(x) // BATCH)
    trainer.compile(
        optim.AdamW(lr=RATE, weight_decay=DECAY),
        nn.CrossEntropyLoss(label_smoothing=settings.smoothing),
        ["accuracy"],
        schedule=optim.schedules.cosine_decay(RATE, steps),
        schedule_every="step",
    )
    trainer.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=verbose)
    return trainer


def accuracy(trainer: nn.Trainer, x: tg.Tensor, y: tg.Tensor) -> float:
    """The share of pictures that are read right."""
    return nn.metrics.accuracy(trainer.predict(x, verbose=0), y).item()


def choose(x: tg.Tensor, y: tg.Tensor, epochs: int) -> None:
    """Compare settings by five-fold cross-validation: each picture is once held out."""
    from sklearn.model_selection import StratifiedKFold

    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(x.numpy(), y.numpy()))
    print("channels   smoothing   cross-validated")
    for channels in (8, 16, 32):
        for smoothing in (0.0, 0.1):
            settings = Settings(channels, smoothing)
            right = 0.0
            for kept, held in folds:
                trainer = train(x[kept], y[kept], settings, epochs)
                right += accuracy(trainer, x[held], y[held]) * len(held)
            print(f"{channels:8d} {smoothing:11.1f} {right / len(x):17.2%}", flush=True)


def draw(kernels: tg.Tensor, path: Path) -> None:
    """The patterns of the first layer: red where it wants ink, blue where it wants none."""
    try:
        import matplotlib
    except ImportError:
        print('No picture: it needs Matplotlib, pip install "tapegrad[plot]"')
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, len(kernels) // 4, figsize=(6, 3.4), layout="constrained")
    most = kernels.abs().max().item()
    for ax, kernel in zip(axes.flat, kernels, strict=True):
        ax.imshow(kernel[0].numpy(), cmap="RdBu_r", vmin=-most, vmax=most)
        ax.set_axis_off()
    figure.suptitle("Patterns of the first layer")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"Picture: {path}")


def main() -> None:
    """Train and measure, or compare settings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs of training")
    parser.add_argument("--choose", action="store_true", help="compare settings, and end")
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args()
    if importlib.util.find_spec("sklearn") is None:
        parser.exit(1, 'the digits come with scikit-learn: pip install "tapegrad[demo]"\n')
    train_x, train_y, held_x, held_y = load_digits()
    train_x, held_x = (x.reshape(-1, 1, 8, 8) for x in (train_x, held_x))
    if options.choose:
        choose(train_x, train_y, options.epochs)
        return
    print(make_model(Settings().channels))
    began = time.perf_counter()
    trainer = train(train_x, train_y, Settings(), options.epochs, verbose=2)
    took = time.perf_counter() - began
    right = accuracy(trainer, held_x, held_y)
    wrong = round((1.0 - right) * len(held_y))
    print(f"\n{right:.2%} of {len(held_y)} held-out digits right ({wrong} wrong), "
          f"after {took:.0f} s of training")  # fmt: skip
    draw(next(trainer.model.parameters()).detach(), options.out / "cnn_digits.png")


if __name__ == "__main__":
    main()
