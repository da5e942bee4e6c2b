"""The nine steps of a project in deep learning, from the data to the tuned network.

The task is to read handwritten digits, 1797 pictures of 8 by 8 pixels that come with scikit-learn.
A fifth is the test part: it decides nothing, and is looked at once, at the very end. A fifth of the
rest is for validation, by which the settings are compared. Each step is a function of its own, in
the order in which they come up.

Run it with ``python examples/nine_steps.py``; it takes a quarter of a minute, and
needs scikit-learn.
"""

from __future__ import annotations

import argparse
import importlib.util
from typing import NamedTuple

import tapegrad as tg
from tapegrad import nn, optim

EPOCHS = 30


class Part(NamedTuple):
    """Pictures (N, 64) and the digits (N,) that they show."""

    pictures: tg.Tensor
    digits: tg.Tensor


class Settings(NamedTuple):
    """Step 3: what is set by hand (hyperparameters), at values to begin with."""

    rate: float = 1e-3
    hidden: int = 32
    smoothing: float = 0.0
    weight_decay: float = 0.1
    batch_size: int = 32
    epochs: int = EPOCHS


def split_data() -> tuple[Part, Part, Part]:
    """Step 1: get the data and split them, with an equal share of every digit in each part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    x, val_x, y, val_y = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    pairs = ((x, y), (val_x, val_y), (test_x, test_y))
    train, validation, test = (
        Part(tg.tensor(pictures, dtype="float32"), tg.tensor(digits)) for pictures, digits in pairs
    )
    return train, validation, test


def standardise(train: Part, other: Part) -> tuple[Part, Part]:
    """Step 1, too: bring the pixels to mean 0 and deviation 1, as measured in the training part.

    The other part must not take part in the measuring: it stands for data that are yet to come.
    """
    scale = nn.data.Standardize(dim=(0, 1)).fit(train.pictures)
    return Part(scale(train.pictures), train.digits), Part(scale(other.pictures), other.digits)


def make_model(settings: Settings) -> nn.Sequential:
    """Step 2: the structure. Layers, how many units each has, and the activation between them.

    There is no softmax at the end: the loss takes the scores as they are.
    """
    return nn.Sequential(
        nn.Linear(64, settings.hidden),
        nn.ReLU(),
        nn.Linear(settings.hidden, settings.hidden),
        nn.ReLU(),
        nn.Linear(settings.hidden, 10),
    )


def initialise(model: nn.Module) -> None:
    """Step 4: the weights at the start. He's rule before ReLU, Xavier's before the scores."""
    *hidden, last = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    for layer in hidden:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    nn.init.xavier_normal_(last.weight)
    nn.init.zeros_(last.bias)


def make_loss(settings: Settings) -> nn.Module:
    """Step 5: the loss. Cross-entropy, for one of several classes; smoothed, no label is sure."""
    return nn.CrossEntropyLoss(label_smoothing=settings.smoothing)


def make_optimizer(model: nn.Module, settings: Settings) -> optim.Optimizer:
    """Step 6: the optimizer. Adam is a good one to begin with; AdamW keeps weights small."""
    return optim.AdamW(model.parameters(), settings.rate, weight_decay=settings.weight_decay)


def train_model(train: Part, settings: Settings) -> nn.Module:
    """Step 7: the training loop, after steps 2 to 6; ``nn.Trainer`` has it ready-made."""
    tg.manual_seed(0)  # every setting has the same luck
    model = make_model(settings)
    initialise(model)
    loss_of, optimizer = make_loss(settings), make_optimizer(model, settings)
    loader = nn.data.DataLoader(nn.data.TensorDataset(*train), settings.batch_size, shuffle=True)
    for _ in range(settings.epochs):
        for pictures, digits in loader:
            scores = model(pictures)  # forward
            loss = loss_of(scores, digits)
            optimizer.zero_grad()  # or the gradients would add up to those of the last step
            loss.backward()  # backward: the gradients
            optimizer.step()  # the weights are updated
    return model


def evaluate(model: nn.Module, part: Part) -> tuple[float, float]:
    """Step 8: the loss and the share that is right, on pictures that were not learned from."""
    with tg.no_grad():  # nothing is differentiated here
        scores = model(part.pictures)
    loss = nn.functional.cross_entropy(scores, part.digits)
    return loss.item(), nn.metrics.accuracy(scores, part.digits).item()


def tune(train: Part, validation: Part, first: Settings) -> Settings:
    """Step 9: steps 2 to 8 with other settings; the best in the validation part are kept."""
    found = {}
    print("    rate   hidden   smoothing   validation: loss   accuracy")
    for rate in (1e-3, 3e-3):
        for hidden in (32, 256):
            for smoothing in (0.0, 0.1):
                settings = first._replace(rate=rate, hidden=hidden, smoothing=smoothing)
                loss, right = evaluate(train_model(train, settings), validation)
                print(f"{rate:8.3f} {hidden:8d} {smoothing:11.1f} {loss:18.4f} {right:10.2%}")
                found[settings] = right
    return max(found, key=found.__getitem__)


def main() -> None:
    """All steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs of each training")
    options = parser.parse_args()
    if importlib.util.find_spec("sklearn") is None:
        parser.exit(1, 'the digits come with scikit-learn: pip install "tapegrad[demo]"\n')

    known, unknown, test = split_data()
    train, validation = standardise(known, unknown)
    sizes = " + ".join(str(len(part.digits)) for part in (known, unknown, test))
    print(f"1 Data: {sizes} pictures for training, validation and test")
    settings = Settings(epochs=options.epochs)
    model: nn.Module = make_model(settings)
    print(f"2 Model: {sum(p.numel() for p in model.parameters())} parameters\n{model}")
    print(f"3 Hyperparameters: {settings}")
    print(f"4 Initialisation: {nn.init.recommend('relu')}")
    print(f"5 Loss: {make_loss(settings)}")
    print(f"6 Optimizer: {type(make_optimizer(model, settings)).__name__}")
    model = train_model(train, settings)
    print(f"7 Training: {settings.epochs} epochs, loss {evaluate(model, train)[0]:.4f} at the end")
    loss, right = evaluate(model, validation)
    print(f"8 Evaluation: loss {loss:.4f}, {right:.2%} right in the validation part")
    print("9 Tuning:")
    best = tune(train, validation, settings)

    # The settings are decided, so the validation part may be learned from, too.
    everything = Part(*(tg.cat([a, b]) for a, b in zip(known, unknown, strict=True)))
    train, test = standardise(everything, test)
    _, right = evaluate(train_model(train, best), test)
    print(f"\nThe best settings: {best}")
    print(f"Trained with them on both parts: {right:.2%} of the test part right")


if __name__ == "__main__":
    main()
