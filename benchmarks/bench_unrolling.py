"""Memory and time of the ways to differentiate a training run, against its number of steps.

    python benchmarks/bench_unrolling.py                       the table
    python benchmarks/bench_unrolling.py --plot unrolling.svg  and a chart of the memory
    python benchmarks/bench_unrolling.py --most 128            shorter runs

Softmax regression of 256 features in float64 with a penalty, mini-batches of 64, SGD with momentum;
the derivatives of a validation loss by rate, momentum and penalty (for "implicit" by the penalty
alone, whether or not the run has come to the minimum). Memory is the peak of what was allocated
during the call (tracemalloc), time is that of a run of its own. One core.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import tapegrad as tg  # noqa: E402  (after the thread settings)
from tapegrad import optim  # noqa: E402

METHODS = ("reverse", "checkpoint", "forward", "reversible", "implicit")
SIZE = 64  # of a batch
STEPS = (8, 16, 32, 64, 128, 256, 512)


def problem() -> Callable[..., Any]:
    """The call to measure: by method and number of steps."""
    tg.manual_seed(0)
    model = tg.nn.Linear(256, 10, dtype="float64")
    params = {name: p.detach() for name, p in model.named_parameters()}
    x = tg.randn(9 * SIZE, 256, dtype="float64")
    y = (x @ tg.randn(256, 10, dtype="float64")).argmax(1)
    lr, momentum, penalty = (tg.tensor(v, dtype="float64") for v in (0.05, 0.9, 0.01))

    def fit(params: Any, batch: int) -> Any:
        rows = slice(SIZE * batch, SIZE * batch + SIZE)
        return tg.losses.cross_entropy(tg.func.functional_call(model, params, x[rows]), y[rows])

    def loss(params: Any, batch: int) -> Any:
        return fit(params, batch) + penalty * sum((p * p).sum() for p in params.values())

    def call(method: str, steps: int) -> Any:
        return optim.unroll(
            optim.functional.sgd(lr, momentum),
            loss,
            params,
            [i % 8 for i in range(steps)],
            outer=lambda params: fit(params, 8),
            wrt=[penalty] if method == "implicit" else [penalty, lr, momentum],
            method=method,
        )

    return call


def measure(call: Callable[[], Any]) -> tuple[float, float]:
    """Megabytes at the peak, and seconds."""
    gc.collect()
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    gc.collect()
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6, seconds


def plot(found: dict[str, list[tuple[int, float]]], path: str) -> None:
    """Memory against steps, on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "tapegrad", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.5, 4.0))
    for method, points in found.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=method)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("steps of training")
    axes.set_ylabel("peak memory, MB")
    axes.set_title("Differentiating a training run")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    print(f"wrote {path}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--plot", help="a file to draw the memory into")
    parser.add_argument("--most", type=int, default=STEPS[-1], help="the longest run")
    options = parser.parse_args()
    gc.set_threshold(50_000, 20, 100)
    warnings.filterwarnings("ignore", message=".*implicit.*")
    call = problem()
    steps = [k for k in STEPS if k <= options.most]
    print("peak MB and seconds" + "".join(f"{k:>16}" for k in steps) + "   steps")
    found: dict[str, list[tuple[int, float]]] = {}
    for method in METHODS:
        call(method, 2)
        line = f"{method:19}"
        found[method] = []
        for k in steps:
            megabytes, seconds = measure(functools.partial(call, method, k))
            found[method].append((k, megabytes))
            line += f"{megabytes:9.2f}{seconds:7.2f}"
        print(line)
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
