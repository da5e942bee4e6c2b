"""Learn a learning rate for every layer, by differentiating through the training.

The slope of a sigmoid is at most 1/4, so behind two of them the gradients of the first layer are
tiny beside those of the last: a rate that moves the one is far too large for the other. In forty
steps on batches of digits none of the single rates from 0.01 to 30 teaches this network anything.
How well it does after those steps has a derivative by the rate of every layer, since the whole
training is on the tape: the optimizer is told ``differentiable=True``, the rates are tensors in its
groups, and the loop is the ordinary one. Adam goes down that derivative.

Everything is learned on training digits; the comparison is on others, and from initial weights that
the rates were not learned with.

Run it with ``python examples/learned_rates.py``; it takes a quarter of a minute, and scikit-learn
for the digits.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from typing import Any

from demo_digits import load_digits

import tapegrad as tg
from tapegrad import nn, optim

HIDDEN, BATCH, STEPS, MOMENTUM, TRAINING = 32, 64, 40, 0.9, 1000
LAYERS = ("first", "second", "last")
SINGLE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
#: Seeds of initial weights and batches: to learn the rates with, and to compare them with.
LEARNING, NEW = range(5), range(100, 105)
Data = tuple[tg.Tensor, tg.Tensor]


def make_model(dtype: Any) -> nn.Sequential:
    """Three layers with sigmoids in between."""
    return nn.Sequential(
        nn.Linear(64, HIDDEN, dtype=dtype),
        nn.Sigmoid(),
        nn.Linear(HIDDEN, HIDDEN, dtype=dtype),
        nn.Sigmoid(),
        nn.Linear(HIDDEN, 10, dtype=dtype),
    )


def trained(
    rates: Sequence[Any], data: Data, seed: int, differentiable: bool = False
) -> nn.Sequential:
    """The network after the ordinary loop, with a rate for each layer."""
    x, y = data
    tg.manual_seed(seed)
    model = make_model(x.dtype)
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    optimizer = optim.SGD(
        [
            {"params": layer.parameters(), "lr": rate}
            for layer, rate in zip(layers, rates, strict=True)
        ],
        momentum=MOMENTUM,
        differentiable=differentiable,
    )
    order = tg.randperm(len(x))
    for step in range(STEPS):
        rows = order[tg.arange(step * BATCH, (step + 1) * BATCH) % len(x)]
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward(create_graph=differentiable)
        optimizer.step()
    return model


def loss_of(model: nn.Module, data: Data) -> tg.Tensor:
    """The cross-entropy on these digits."""
    return nn.functional.cross_entropy(model(data[0]), data[1])


def learn(data: Data, held: Data, updates: int) -> list[float]:
    """A rate for every layer, learned by its logarithm."""
    logs = [tg.tensor(0.1).log().requires_grad_() for _ in LAYERS]
    optimizer = optim.Adam(logs, lr=optim.schedules.cosine_decay(0.2, updates))
    print("  update " + "".join(f"{name:>9}" for name in LAYERS) + "   validation loss")
    for update in range(updates + 1):
        rates = [log.exp() for log in logs]
        seed = LEARNING[update % len(LEARNING)]
        loss = loss_of(trained(rates, data, seed, differentiable=True), held)
        if update in (0, *(updates * part // 6 for part in range(1, 7))):
            shown = "".join(f"{rate.item():9.3f}" for rate in rates)
            print(f"  {update:6} {shown}   {loss.item():15.4f}")
        if update < updates:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [rate.item() for rate in rates]


def check_derivative(rates: Sequence[float], data: Data, held: Data) -> None:
    """Print the derivative of the validation loss by the rate of the first layer, two ways."""
    data, held = (data[0].double(), data[1]), (held[0].double(), held[1])

    def validation(first: Any) -> tg.Tensor:
        return loss_of(trained([first, *rates[1:]], data, NEW[0], differentiable=True), held)

    rate = tg.tensor(rates[0], dtype="float64", requires_grad=True)
    validation(rate).backward()
    h = 1e-6 * rates[0]
    numeric = (validation(rates[0] + h) - validation(rates[0] - h)).item() / (2 * h)
    print(f"\nd(validation loss)/d(rate of the first layer), there, through {STEPS} steps:")
    print(f"  {rate.grad.item():+.8f} by reverse mode, {numeric:+.8f} measured")


def mean_loss(rates: Sequence[float], data: Data, on: Data, seeds: Sequence[int]) -> float:
    """The mean of the loss over trainings from these seeds."""
    return sum(loss_of(trained(rates, data, seed), on).item() for seed in seeds) / len(seeds)


def main() -> None:
    """Learn a rate for each layer, and compare them with single ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=120, help="updates of the rates")
    options = parser.parse_args()
    if importlib.util.find_spec("sklearn") is None:
        parser.exit(1, 'the digits come with scikit-learn: pip install "tapegrad[demo]"\n')
    images, labels, *test = load_digits()
    data = images[:TRAINING], labels[:TRAINING]
    held = images[TRAINING:], labels[TRAINING:]

    print(f"A rate for every layer, learned from {len(held[0])} digits held out from training")
    each = learn(data, held, options.updates)
    check_derivative(each, data, held)

    best = min(SINGLE, key=lambda rate: mean_loss([rate] * 3, data, held, LEARNING))
    print(f"\nAfter {STEPS} steps, on {len(test[0])} new digits, from {len(NEW)} new beginnings")
    print("  rates                         loss   accuracy")
    for name, rates in {f"the best single one, {best:g}": [best] * 3, "learned": each}.items():
        models = [trained(rates, data, seed) for seed in NEW]
        loss = sum(loss_of(model, (test[0], test[1])).item() for model in models) / len(NEW)
        right = sum(nn.metrics.accuracy(m(test[0]), test[1]).item() for m in models) / len(NEW)
        print(f"  {name:25} {loss:8.4f}   {right:8.2%}")


if __name__ == "__main__":
    main()
