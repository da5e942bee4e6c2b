"""What initial weights do: units that start equal stay equal, and signals that fade or blow up.

First a network learns XOR twice. Its weights begin at 0, where its hidden units have the same
weights after any number of steps; or they are drawn, and it learns.

Then a signal goes through 50 layers of 256 units, and a gradient comes back, from the rule that is
said to suit each activation, and from N(0, 1), U(-0.5, 0.5) and zeros. The table shows the variance
of both on the way. He's rule keeps ReLU's, LeCun's keeps SELU's, and orthogonal matrices keep a
linear one exactly; tanh fades slowly from Xavier's; sigmoid loses its gradients even so, since its
slope is at most 1/4.

Run it with ``python examples/initialisation.py``; it takes some seconds. The picture, which needs
Matplotlib, is written to ``out/initialisation.png``.

Source: Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
networks; He et al. (2015), Delving deep into rectifiers; Klambauer et al. (2017), Self-normalizing
neural networks; Saxe, McClelland and Ganguli (2013), Exact solutions to the nonlinear dynamics of
learning in deep linear neural networks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tapegrad as tg
from tapegrad import nn, optim

Rule = Callable[[tg.Tensor], Any]
SHOWN = (1, 2, 5, 10, 20, 50)  # layers, in the table


class Setup(NamedTuple):
    """An activation and the rule for the weights before it."""

    activation: nn.Module
    name: str
    rule: Rule


BAD: dict[str, Rule] = {
    "N(0, 1)": nn.init.normal_,
    "U(-0.5, 0.5)": lambda w: nn.init.uniform_(w, -0.5, 0.5),
    "zeros": nn.init.zeros_,
}
GOOD = (
    Setup(nn.Identity(), "orthogonal", nn.init.orthogonal_),
    Setup(nn.ReLU(), "He", nn.init.recommend("relu")),
    Setup(nn.LeakyReLU(0.2), "He, slope 0.2", nn.init.recommend(nn.LeakyReLU(0.2))),
    Setup(nn.SELU(), "LeCun", nn.init.recommend("selu")),
    Setup(nn.Tanh(), "Xavier", nn.init.recommend("tanh")),
    Setup(nn.Sigmoid(), "Xavier", nn.init.recommend("sigmoid")),
)


def equal_units(rule: Rule, steps: int) -> tuple[float, float]:
    """Train 4 hidden units on XOR: how far their weights end apart at most, and the final loss."""
    x = tg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype="float64")
    y = tg.tensor([[0.0], [1.0], [1.0], [0.0]], dtype="float64")
    model = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1)).double()
    for layer in (model[0], model[2]):
        rule(layer.weight)
        nn.init.zeros_(layer.bias)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        optimizer.step()
    units = tg.cat([model[0].weight, model[0].bias[:, None], model[2].weight.T], dim=1)
    apart = (units - units[:1]).abs().max()
    return apart.item(), loss.item()


def signals(setup: Setup, depth: int, width: int) -> tuple[list[float], list[float]]:
    """The variances of the activations and of their gradients, from layer 1 on."""
    x = tg.randn(width, width, dtype="float64", requires_grad=True)
    states = []
    for _ in range(depth):
        weight = setup.rule(tg.empty(width, width, dtype="float64"))
        x = setup.activation(x @ weight.T)
        states.append(x)
    gradients = tg.grad(x, states, grad_outputs=tg.randn(*x.shape, dtype="float64"))
    return [t.var().item() for t in states], [t.var().item() for t in gradients]


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Variances over the layers: one column for each activation, gradients below."""
    try:
        import matplotlib
    except ImportError:
        print('No picture: it needs Matplotlib, pip install "tapegrad[plot]"')
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(found), figsize=(2.7 * len(found), 5.6), sharex=True, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for column, (activation, rules) in zip(axes.T, found.items(), strict=True):
        column[0].set_title(activation)
        for style, (rule, both) in enumerate(rules.items()):
            look = {"color": "C2", "linewidth": 2.2} if style == 0 else {"color": f"C{style + 2}"}
            for ax, variances in zip(column, both, strict=True):
                # what is 0 has no place on a logarithmic axis
                kept = [(i, v) for i, v in enumerate(variances, 1) if v > 0]
                label = f"{rule} (0: not shown)" if not kept else rule
                ax.plot(*(zip(*kept, strict=True) if kept else ([], [])), label=label, **look)
        column[0].legend(fontsize=7, loc="lower left")
        for ax in column:
            ax.set(yscale="log", ylim=(1e-32, 1e40))
            ax.grid(alpha=0.3)
        column[1].set_xlabel("layer")
    axes[0, 0].set_ylabel("variance of activations")
    axes[1, 0].set_ylabel("variance of gradients")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"Picture: {path}")


def main() -> None:
    """Both demonstrations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args()
    tg.manual_seed(0)

    print(f"XOR by 4 hidden units, {options.steps} steps of Adam:")
    for name, rule in (("zeros", nn.init.zeros_), ("Xavier", nn.init.xavier_uniform_)):
        apart, loss = equal_units(rule, options.steps)
        print(f"  {name:<8} hidden units end {apart:.1e} apart, loss {loss:.4f}")

    shown = [n for n in SHOWN if n <= options.depth]
    print(f"\nVariances through {options.depth} layers of {options.width} units")
    print(f"{'':<30}{'layer':<7}" + "".join(f"{n:>9}" for n in shown))
    found: dict[str, dict[str, Any]] = {}
    for good in GOOD:
        activation = repr(good.activation).replace("negative_slope=", "")
        rules = {good.name: good.rule} | BAD
        found[activation] = {
            name: signals(Setup(good.activation, name, rule), options.depth, options.width)
            for name, rule in rules.items()
        }
        for name, both in found[activation].items():
            for kind, variances in zip(("values", "grads"), both, strict=True):
                row = "".join(f"{variances[n - 1]:>9.0e}" for n in shown)
                head = f"{activation:<15} {name:<13}" if kind == "values" else ""
                print(f"{head:<30}{kind:<7}{row}")
    draw(found, options.out / "initialisation.png")
    print("\nWhat suits an activation, and why:")
    for name in ("relu", "leaky_relu", "tanh", "sigmoid", "selu"):
        print(f"  {nn.init.recommend(name)}")


if __name__ == "__main__":
    main()
