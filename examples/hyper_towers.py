"""How little the initial rate matters to a tower of optimizers that tune their own optimizers.

Softmax regression learns the digits by gradient descent on all training images at once. At height 0
its rate is what it was set to. At height 1 another optimizer tunes that rate while the training
runs, by the derivative of the loss by it; at height 2 a third one tunes the rate of the second, and
so on. Each tower begins with the same rate at every level, from 1e-6 to 1. How much worse does it
end with the worst of these than with the best?

The settings: the weights begin at 0 and are moved by SGD, every rate above by Adam at its defaults.
A rate counts by its absolute value and as at most 1, the largest that is tried. The loss is the
mean cross-entropy. Nothing is random but the choice of which images are for training.

Run it with ``python examples/hyper_towers.py``; it takes half a minute, and scikit-learn for the
digits.

Source: Chandra et al. (2022), Gradient descent: the ultimate optimizer. The problem, the settings
and so the numbers are not theirs.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from demo_digits import load_digits

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.optim.functional import Rule, adam, sgd

RATES = [10.0**k for k in range(-6, 1)]
HEIGHTS = range(4)


def held(rule: Callable[..., Rule]) -> Callable[..., Rule]:
    """The rule with its rate held in [0, 1]."""
    return lambda lr: rule(lr=tg.clip(tg.abs(lr), 0.0, 1.0))


def tower(height: int, rate: float) -> Rule:
    """SGD for the weights, and that many Adams above it, all beginning with one rate."""
    rules = [held(sgd), *[held(adam)] * height]
    return optim.functional.tower(rules, [tg.tensor(rate, dtype="float64")] * (height + 1))


def train(rule: Rule, loss: Callable[..., tg.Tensor], steps: int) -> tuple[float, Any]:
    """The final loss and the state."""
    params = [tg.zeros(64, 10, dtype="float64"), tg.zeros(10, dtype="float64")]
    state = rule.init(params)
    gradient = tg.func.grad(loss)
    for _ in range(steps):
        params, state = rule.update(params, gradient(params), state)
    return loss(params).item(), state


def main() -> None:
    """Every height from every initial rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="steps of training")
    options = parser.parse_args()
    if importlib.util.find_spec("sklearn") is None:
        parser.exit(1, 'the digits come with scikit-learn: pip install "tapegrad[demo]"\n')
    images, labels, *_ = load_digits()
    images = images.double()

    def loss(params: list[tg.Tensor]) -> tg.Tensor:
        weights, bias = params
        return nn.functional.cross_entropy(images @ weights + bias, labels)

    final: dict[int, list[float]] = {}
    ends: dict[int, list[float]] = {}
    milliseconds = {}
    for height in HEIGHTS:
        began = time.perf_counter()
        runs = [train(tower(height, rate), loss, options.steps) for rate in RATES]
        milliseconds[height] = 1e3 * (time.perf_counter() - began) / len(RATES) / options.steps
        final[height] = [found for found, _ in runs]
        if height:
            ends[height] = [min(abs(state.settings["lr"].item()), 1.0) for _, state in runs]

    print(f"Softmax regression on {len(images)} digits: the loss after {options.steps} steps")
    print("  initial rates " + "".join(f"   height {height}" for height in HEIGHTS))
    for k, rate in enumerate(RATES):
        print(f"  {rate:13.0e} " + "".join(f"{final[height][k]:11.4f}" for height in HEIGHTS))
    print("  worst / best  " + "".join(f"{max(f) / min(f):11.3f}" for f in final.values()))
    print("  ms a step     " + "".join(f"{took:11.2f}" for took in milliseconds.values()))

    print("\nThe rate that the weights ended with")
    for k, rate in enumerate(RATES):
        found = [rate, *(ends[height][k] for height in HEIGHTS if height)]
        print(f"  {rate:13.0e} " + "".join(f"{value:11.2g}" for value in found))


if __name__ == "__main__":
    main()
