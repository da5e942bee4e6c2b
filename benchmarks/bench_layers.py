"""Layers, forward and backward, beside PyTorch eager in the same process.

    python benchmarks/bench_layers.py
    python benchmarks/bench_layers.py --only Conv2d

Float32, one core, time of the processor. The two libraries take turns and medians are shown; a
ratio above 1 says that tapegrad is slower. Both layers have PyTorch's initial values, and outputs
and gradients are compared before anything is timed. "inner": the layer's input gets a gradient,
too, as anywhere but at the bottom of a network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import measuring  # before NumPy: it sets the number of threads
import numpy as np

import tapegrad as tg

SECONDS = 2.0  # of measuring, for each case


class Case(NamedTuple):
    """A layer, as both libraries write it, and the shape of its input."""

    layer: str
    shape: tuple[int, ...]
    is_inner: bool = True
    times: int = 1  # how often the input is given: to self-attention as query, key and value


CASES = (
    Case("Conv2d(3, 16, 3, padding=1)", (32, 3, 32, 32), is_inner=False),
    Case("Conv2d(3, 16, 3, padding=1)", (32, 3, 32, 32)),
    Case("Conv2d(1, 32, 5)", (64, 1, 28, 28), is_inner=False),
    Case("Conv2d(1, 32, 5)", (64, 1, 28, 28)),
    Case("Conv2d(16, 32, 3, stride=2, padding=1)", (32, 16, 32, 32)),
    Case("Conv2d(64, 64, 3, padding=1)", (16, 64, 14, 14)),
    Case("Conv2d(16, 32, 1)", (32, 16, 32, 32)),
    Case("Conv2d(32, 32, 3, padding=1, groups=32)", (16, 32, 28, 28)),
    Case("ConvTranspose2d(16, 8, 4, stride=2, padding=1)", (16, 16, 14, 14)),
    Case("Conv1d(16, 32, 5, padding=2)", (32, 16, 128)),
    Case("MaxPool2d(2)", (32, 16, 32, 32)),
    Case("MaxPool2d(3, 2, 1)", (32, 16, 32, 32)),
    Case("AvgPool2d(2)", (32, 16, 32, 32)),
    Case("AdaptiveAvgPool2d(1)", (32, 64, 8, 8)),
    Case("BatchNorm2d(16)", (32, 16, 32, 32)),
    Case("BatchNorm1d(100)", (64, 100)),
    Case("LayerNorm(64)", (32, 50, 64)),
    Case("LayerNorm(256)", (32, 128, 256)),
    Case("RMSNorm(256)", (32, 128, 256)),
    Case("GroupNorm(4, 16)", (32, 16, 16, 16)),
    Case("Linear(256, 256)", (64, 256)),
    Case("ReLU()", (64, 256)),
    Case("GELU()", (32, 50, 256)),
    Case("GELU('tanh')", (32, 50, 256)),
    Case("Sigmoid()", (32, 50, 256)),
    Case("MultiheadAttention(64, 4, batch_first=True)", (16, 64, 64), times=3),
    Case("MultiheadAttention(256, 8, batch_first=True)", (8, 128, 256), times=3),
    Case("TransformerEncoderLayer(64, 4, 256, 0.0, batch_first=True)", (16, 64, 64)),
    Case("LSTM(32, 64)", (32, 16, 32)),
    Case("LSTM(32, 64, num_layers=2, bidirectional=True)", (32, 16, 32)),
    Case("LSTM(128, 256)", (32, 32, 128)),
    Case("GRU(32, 64)", (32, 16, 32)),
    Case("RNN(32, 64)", (32, 16, 32)),
    Case("LSTMCell(32, 64)", (16, 32)),
)


def arrays(case: Case) -> tuple[Any, Any]:
    """The input, and what seeds the gradient of the output (by its shape)."""
    draw = np.random.default_rng(0)
    return draw.standard_normal(case.shape, np.float32), lambda shape: draw.standard_normal(
        shape, np.float32
    )


def first(output: Any) -> Any:
    """The output of a layer that has several (a recurrent one, attention)."""
    return output[0] if isinstance(output, tuple) else output


def step(layer: Any, x: Any, g: Any, times: int) -> Callable[[], None]:
    """Forward and backward."""
    leaves = [x, *layer.parameters()]

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        first(layer(*[x] * times)).backward(g)

    return run


def runs_of(case: Case, torch: Any) -> dict[str, Callable[[], None]]:
    """The step of each library, found to agree."""
    names: dict[str, Any] = {"tg": tg, "torch": torch}
    x, draw = arrays(case)
    ours = eval(f"tg.nn.{case.layer}", names)
    input = tg.tensor(x).requires_grad_(case.is_inner)
    g = draw(first(ours(*[input] * case.times)).shape)
    runs = {"tapegrad": step(ours, input, tg.tensor(g), case.times)}
    if torch is None:
        return runs
    theirs = eval(f"torch.nn.{case.layer}", names)
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    other = torch.tensor(x).requires_grad_(case.is_inner)
    runs["torch"] = step(theirs, other, torch.tensor(g), case.times)
    near(first(ours(*[input] * case.times)), first(theirs(*[other] * case.times)))
    for run in runs.values():
        run()
    for a, b in zip([input, *ours.parameters()], [other, *theirs.parameters()], strict=True):
        if a.requires_grad:
            near(a.grad, b.grad)
    return runs


def near(ours: Any, theirs: Any) -> None:
    """Refuse to time what does not agree."""
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * abs(theirs).max())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--only", default="", help="the layers whose text begins so")
    only = parser.parse_args().only
    measuring.on_one_core()
    modules, wrong = measuring.loaded("torch")
    torch = modules[0] if modules else None
    if torch is not None:
        torch.set_num_threads(1)
    rows, slower = [], []
    for case in CASES:
        if not case.layer.startswith(only):
            continue
        medians = measuring.medians(runs_of(case, torch), SECONDS, clock=time.process_time)
        what = f"{case.layer} {case.shape}{' inner' if case.is_inner else ''}"
        ratio = medians["tapegrad"] / medians.get("torch", np.nan)
        if ratio > 1.0:
            slower.append(f"{case.layer} ({ratio:.1f} x)")
        times = (f"{medians.get(name, np.nan) * 1e3:.2f}" for name in ("tapegrad", "torch"))
        rows.append([what, *times, f"{ratio:.2f}"])
    measuring.show("Forward and backward, in ms", ["", "tapegrad", "torch", "ratio"], rows)
    print(f"missing: torch: {wrong}" if wrong else f"slower: {', '.join(slower) or 'none'}")


if __name__ == "__main__":
    main()
