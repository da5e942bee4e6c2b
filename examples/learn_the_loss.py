"""Learn the loss: its shape, the learning rate and the weights of tasks, by gradients.

A fifth of the readings that a line is fitted to are far too high. Which loss should it be fitted
by? A few clean readings, too few to fit the line to, can tell: training is made of differentiable
steps, so the error on them has a derivative by the settings of the loss that was trained on, and
these can be learned. The second part learns how far two sensors can be trusted while it learns
from both.

Run it with ``python examples/learn_the_loss.py``; it takes a few seconds.
"""

from __future__ import annotations

import argparse
from typing import Any

import tapegrad as tg
from tapegrad import losses, optim

INPUTS, TRAINING_STEPS, CLEAN = 5, 30, 8
TRUE = tg.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype="float64")
Readings = tuple[tg.Tensor, tg.Tensor]


@losses.register("two-sided huber")
def two_sided_huber(input: tg.Tensor, target: tg.Tensor, above: Any, below: Any) -> tg.Tensor:
    """Huber's loss with a delta of its own for predictions above and below the target."""
    error = input - target
    near = tg.clip(error, -below, above)
    return losses.reduce(near * (error - 0.5 * near))


def readings(count: int, outliers: float = 0.0, noise: float = 0.3) -> Readings:
    """Inputs and targets of the line; that share of the targets is far too high."""
    x = tg.randn(count, INPUTS, dtype="float64")
    y = x @ TRUE + 1.0 + noise * tg.randn(count, dtype="float64")
    hit = tg.rand(count) < outliers
    return x, y + tg.where(hit, 15.0 + 5.0 * tg.randn(count, dtype="float64"), 0.0)


def predict(params: list[tg.Tensor], x: tg.Tensor) -> tg.Tensor:
    """The line with these weights and this bias."""
    weights, bias = params
    return x @ weights + bias


def start_params() -> list[tg.Tensor]:
    """Weights and bias of 0."""
    return [tg.zeros(*shape, dtype="float64", requires_grad=True) for shape in ((INPUTS,), ())]


def train(loss: Any, lr: Any, data: Readings) -> list[tg.Tensor]:
    """Weights and bias after gradient descent, with the whole training on the tape."""
    x, y = data
    params = start_params()
    rule = optim.functional.sgd(lr=lr)
    state = rule.init(params)
    for _ in range(TRAINING_STEPS):
        grads = tg.grad(loss(predict(params, x), y), params, create_graph=True)
        params, state = rule.update(params, grads, state)
    return params


def clean_error(name: str, logs: dict[str, tg.Tensor], data: Readings, clean: Readings) -> Any:
    """Squared error on clean readings, after training with settings given by their logarithms."""
    settings = {setting: tg.exp(value) for setting, value in logs.items()}
    lr = settings.pop("lr")
    params = train(losses.get(name, **settings), lr, data)
    return losses.mse_loss(predict(params, clean[0]), clean[1])


def learn(
    name: str, start: dict[str, float], data: Readings, clean: Readings, steps: int, show: bool
) -> dict[str, tg.Tensor]:
    """Learn settings of a loss, and the learning rate, that make the clean error small."""
    # By their logarithms, as all of them are positive.
    logs = {
        setting: tg.tensor(value, dtype="float64").log().requires_grad_()
        for setting, value in start.items()
    }
    optimizer = optim.Adam(logs.values(), lr=optim.schedules.cosine_decay(0.2, steps))
    if show:
        print("  update " + "".join(f"{setting:>9}" for setting in start) + "   clean error")
    for step in range(steps + 1):
        optimizer.zero_grad()
        error = clean_error(name, logs, data, clean)
        if show and step in (0, *(steps * part // 6 for part in range(1, 7))):
            settings = "".join(f"{value.exp().item():9.3f}" for value in logs.values())
            print(f"  {step:6} {settings}   {error.item():11.4f}")
        if step < steps:
            error.backward()
            optimizer.step()
    return logs


def check_derivative(
    name: str, logs: dict[str, tg.Tensor], data: Readings, clean: Readings
) -> None:
    """Print the derivative of the clean error by a setting, two ways."""
    setting, h = "below", 1e-6
    (slope,) = tg.grad(clean_error(name, logs, data, clean), logs[setting])
    higher, lower = (
        clean_error(name, {**logs, setting: logs[setting].detach() + d}, data, clean).item()
        for d in (h, -h)
    )
    print(f"  d(clean error)/d(log {setting}) through all {TRAINING_STEPS} steps of training:")
    print(f"  {slope.item():+.8f} by reverse mode, {(higher - lower) / (2 * h):+.8f} measured")


def learn_a_loss(steps: int) -> None:
    """The first part: a loss for readings of which a fifth are far too high."""
    data, clean, test = readings(200, outliers=0.2), readings(CLEAN), readings(1000, noise=0.0)
    start = {"above": 1.0, "below": 1.0, "lr": 0.1}
    print(f"A Huber loss with a delta for each side, learned from {CLEAN} clean readings")
    logs = learn("two-sided huber", start, data, clean, steps, show=True)
    check_derivative("two-sided huber", logs, data, clean)

    print(f"\nEach loss with its settings learned likewise, after {TRAINING_STEPS} steps:")
    print("  loss               rate    mean error on clean test data")
    learned = {
        name: learn(name, {**settings, "lr": 0.1}, data, clean, steps, show=False)
        for name, settings in {"mse": {}, "mae": {}, "huber": {"delta": 1.0}}.items()
    }
    for name, found in {**learned, "two-sided huber": logs}.items():
        settings = {setting: value.exp().detach() for setting, value in found.items()}
        rate = settings.pop("lr")
        params = train(losses.get(name, **settings), rate, data)
        print(f"  {name:16} {rate.item():6.3f}    {error_of(params, test):.3f}")
    x, y = clean
    fitted = tg.linalg.lstsq(tg.cat([x, tg.ones(CLEAN, 1)], dim=1), y.unsqueeze(1)).solution
    error = error_of([fitted[:-1, 0], fitted[-1, 0]], test)
    print(f"  {f'(line through the {CLEAN} clean)':26} {error:.3f}")


def error_of(params: list[tg.Tensor], test: Readings) -> float:
    """Mean absolute error of a line."""
    return losses.l1_loss(predict(params, test[0]), test[1]).item()


def learn_weights(steps: int) -> None:
    """The second part: the same line, read by two sensors of which one is ten times as noisy."""
    noises = {"good sensor": 0.3, "poor sensor": 3.0}
    data = {name: readings(100, noise=noise) for name, noise in noises.items()}
    test = readings(1000, noise=0.0)
    weighting = losses.UncertaintyWeighting(
        {name: tg.zeros((), dtype="float64", requires_grad=True) for name in noises}
    )

    def fit(combine: Any, more: list[tg.Tensor]) -> float:
        params = start_params()
        optimizer = optim.Adam([*params, *more], lr=optim.schedules.cosine_decay(0.1, 5 * steps))
        for _ in range(5 * steps):
            optimizer.zero_grad()
            parts = {name: losses.mse_loss(predict(params, x), y) for name, (x, y) in data.items()}
            combine(parts).backward()
            optimizer.step()
        return error_of(params, test)

    equal = fit(lambda parts: losses.weighted_sum(parts, dict.fromkeys(parts, 1.0)), [])
    learned = fit(weighting, weighting.parameters())
    print("\nTwo sensors of one line: how far to trust each is learned with the line")
    print("  sensor        true noise   learned   weight of its loss")
    for name, noise in noises.items():
        s = weighting.log_variances[name].detach()
        print(
            f"  {name:13} {noise:10.2f} {(0.5 * s).exp().item():9.2f} "
            f"{0.5 * (-s).exp().item():20.3f}"
        )
    print(f"  mean error on clean test data: {learned:.3f}, with equal weights {equal:.3f}")


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="updates of what is learned")
    options = parser.parse_args()
    tg.manual_seed(0)
    learn_a_loss(options.steps)
    learn_weights(options.steps)


if __name__ == "__main__":
    main()
