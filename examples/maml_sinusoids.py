"""Learn to learn: a network that fits a new sine wave from ten points and one step of descent.

Every task is a sine wave of its own height and phase, known at ten points. MAML looks for initial
weights from which one step of gradient descent on those points leads to a good fit: it takes the
loss after the step, on other points of the wave, and goes down its derivative by the weights before
the step. That derivative goes through the step, so it needs second derivatives. It is compared with
a network that was trained on all waves at once, by the same number of updates, and then makes steps
at the rate that suits it best.

The tasks, the network and the rates are those of the paper, which makes 70 000 updates.

Run it with ``python examples/maml_sinusoids.py``; it takes half a minute.

Source: Finn, Abbeel and Levine (2017), Model-agnostic meta-learning for fast adaptation of deep
networks.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable

import tapegrad as tg
from tapegrad import losses, optim

HIDDEN, POINTS, TASKS, INNER, OUTER = 40, 10, 25, 0.01, 0.001
TEST_TASKS, TEST_POINTS, TEST_STEPS = 200, 50, 10
#: Rates to choose from for the network that was trained on all waves at once.
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
Params = dict[str, tg.Tensor]


def waves(tasks: int, points: int) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor, tg.Tensor]:
    """Ten points to learn each wave from, and others to see how well it was learned."""
    height = 0.1 + 4.9 * tg.rand(tasks, 1, 1)
    phase = math.pi * tg.rand(tasks, 1, 1)
    x = 10.0 * tg.rand(tasks, POINTS + points, 1) - 5.0
    y = height * tg.sin(x - phase)
    return x[:, :POINTS], y[:, :POINTS], x[:, POINTS:], y[:, POINTS:]


def initial() -> Params:
    """The weights of a network with two hidden layers."""
    sizes = [1, HIDDEN, HIDDEN, 1]
    params = {}
    for k, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        params[f"weight {k}"] = tg.randn(fan_in, fan_out) * math.sqrt(2.0 / fan_in)
        params[f"bias {k}"] = tg.zeros(fan_out)
    return {name: p.requires_grad_() for name, p in params.items()}


def network(params: Params, x: tg.Tensor) -> tg.Tensor:
    """What the network says at x."""
    x = tg.relu(x @ params["weight 0"] + params["bias 0"])
    x = tg.relu(x @ params["weight 1"] + params["bias 1"])
    return x @ params["weight 2"] + params["bias 2"]


def error(params: Params, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    """The mean squared error."""
    return losses.mse_loss(network(params, x), y)


def adapt(
    params: Params, x: tg.Tensor, y: tg.Tensor, steps: int = 1, rate: float = INNER
) -> Params:
    """The weights after steps of gradient descent on one task, which are part of the tape."""
    rule = optim.functional.sgd(lr=rate)
    state = rule.init(params)
    for _ in range(steps):
        params, state = rule.update(params, tg.func.grad(error)(params, x, y), state)
    return params


def meta_loss(params: Params, *task: tg.Tensor) -> tg.Tensor:
    """The error on other points after one step on the given ones."""
    x, y, others_x, others_y = task
    return error(adapt(params, x, y), others_x, others_y)


def joint_loss(params: Params, *task: tg.Tensor) -> tg.Tensor:
    """The error on all points, without a step."""
    x, y, others_x, others_y = task
    return error(params, tg.cat([x, others_x]), tg.cat([y, others_y]))


def mean_over_tasks(loss: Callable[..., tg.Tensor]) -> Callable[..., tg.Tensor]:
    """The mean over a batch of tasks of a loss written for one."""
    each = tg.vmap(loss, in_dims=(None, 0, 0, 0, 0))
    return lambda params, tasks: each(params, *tasks).mean()


def learn(loss: Callable[..., tg.Tensor], updates: int, name: str) -> Params:
    """Initial weights, learned by Adam."""
    params = initial()
    optimizer = optim.Adam(params.values(), lr=OUTER)
    over_tasks = mean_over_tasks(loss)
    recent = []
    for update in range(1, updates + 1):
        optimizer.zero_grad()
        value = over_tasks(params, waves(TASKS, POINTS))
        value.backward()
        optimizer.step()
        recent.append(value.item())
        if update % max(1, updates // 5) == 0:
            print(f"  {name:12} {update:6} updates   loss {sum(recent) / len(recent):.3f}")
            recent = []
    return params


def check_derivative(params: Params) -> None:
    """Print how the loss after a step changes with the weights before it, two ways."""
    start = {name: p.detach().double() for name, p in params.items()}
    tasks = [part.double() for part in waves(4, POINTS)]
    over_tasks = mean_over_tasks(meta_loss)
    along = {name: tg.randn(*p.shape, dtype="float64") for name, p in start.items()}
    slopes = tg.func.grad(over_tasks)(start, tasks)
    analytic = sum((slopes[name] * along[name]).sum().item() for name in start)
    h = 1e-6
    higher, lower = (
        over_tasks({name: p + d * along[name] for name, p in start.items()}, tasks).item()
        for d in (h, -h)
    )
    print("\nThe derivative of the loss after a step by the weights before it, along a direction:")
    print(f"  {analytic:+.6f} by reverse mode, {(higher - lower) / (2 * h):+.6f} measured")


def error_after(steps: int, rate: float, params: Params, tasks: tuple[tg.Tensor, ...]) -> float:
    """The mean error on other points after steps on the given ones."""

    def after(params: Params, x: tg.Tensor, y: tg.Tensor, *others: tg.Tensor) -> tg.Tensor:
        return error(adapt(params, x, y, steps, rate), *others)

    return mean_over_tasks(after)(params, tasks).item()


def main() -> None:
    """Learn both, then look at new waves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=6000, help="updates of the initial weights")
    options = parser.parse_args()
    tg.manual_seed(0)
    print(f"Waves at {POINTS} points, {TASKS} of them in an update")
    learned = {
        "MAML": learn(meta_loss, options.updates, "MAML"),
        "all at once": learn(joint_loss, options.updates, "all at once"),
    }
    check_derivative(learned["MAML"])

    choosing, tasks = waves(TEST_TASKS, TEST_POINTS), waves(TEST_TASKS, TEST_POINTS)
    joint = learned["all at once"]
    best = min(RATES, key=lambda rate: error_after(TEST_STEPS, rate, joint, choosing))
    rates = {"MAML": INNER, "all at once": best}
    print(f"\nMean squared error on {TEST_TASKS} new waves, after steps on {POINTS} points of each")
    print("  steps  " + "".join(f"{f'{name}, {rate:g}':>20}" for name, rate in rates.items()))
    for steps in (0, 1, 2, 5, TEST_STEPS):
        found = (error_after(steps, rates[name], learned[name], tasks) for name in learned)
        print(f"  {steps:5}  " + "".join(f"{value:20.3f}" for value in found))


if __name__ == "__main__":
    main()
