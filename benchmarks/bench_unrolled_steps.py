"""A hundred steps of training and the derivative through them, beside PyTorch's create_graph.

    python benchmarks/bench_unrolled_steps.py

Softmax regression (64 features, 10 classes, 128 rows, float32) by gradient descent with momentum
and by Adam; the derivative of the final loss by the learning rate. PyTorch runs the same formulas
by hand, out of place, since its own optimizers cannot. One core, runs in turn, medians; a ratio
above 1 says that tapegrad is slower. Both derivatives are compared first.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  (after the thread settings)

import tapegrad as tg  # noqa: E402

STEPS, RUNS = 100, 9


def data(library: Any) -> tuple[Any, ...]:
    """The rows, the labels, and a start."""
    draw = np.random.default_rng(0)
    x = library.tensor(draw.standard_normal((128, 64)).astype(np.float32))
    y = library.tensor(draw.integers(0, 10, 128))
    w = library.tensor(0.01 * draw.standard_normal((64, 10)).astype(np.float32))
    b = library.tensor(np.zeros(10, np.float32))
    return x, y, w.requires_grad_(), b.requires_grad_()


def ours(name: str) -> Callable[[], float]:
    """The run with tapegrad's rules."""
    x, y, w, b = data(tg)

    def run() -> float:
        lr = tg.tensor(0.05, requires_grad=True)
        rule = (
            tg.optim.functional.adam(lr)
            if name == "adam"
            else tg.optim.functional.sgd(lr, momentum=0.9)
        )
        params = [w, b]
        state = rule.init(params)
        for _ in range(STEPS):
            loss = tg.nn.functional.cross_entropy(x @ params[0] + params[1], y)
            grads = tg.grad(loss, params, create_graph=True)
            params, state = rule.update(params, list(grads), state)
        loss = tg.nn.functional.cross_entropy(x @ params[0] + params[1], y)
        return tg.grad(loss, lr)[0].item()

    return run


def theirs(name: str) -> Callable[[], float]:
    """The same formulas in PyTorch."""
    import torch

    torch.set_num_threads(1)
    x, y, w, b = data(torch)

    def run() -> float:
        lr = torch.tensor(0.05, requires_grad=True)
        params = [w, b]
        first = [torch.zeros_like(p) for p in params]
        second = [torch.zeros_like(p) for p in params]
        for t in range(1, STEPS + 1):
            loss = torch.nn.functional.cross_entropy(x @ params[0] + params[1], y)
            grads = torch.autograd.grad(loss, params, create_graph=True)
            if name == "adam":
                first = [m * 0.9 + g * 0.1 for m, g in zip(first, grads)]
                second = [v * 0.999 + g * g * 0.001 for v, g in zip(second, grads)]
                size, root = lr / (1 - 0.9**t), (1 - 0.999**t) ** 0.5
                params = [
                    p - size * m / (v.sqrt() / root + 1e-8)
                    for p, m, v in zip(params, first, second)
                ]
            else:
                first = [v * 0.9 + g if t > 1 else g for v, g in zip(first, grads)]
                params = [p - lr * v for p, v in zip(params, first)]
        loss = torch.nn.functional.cross_entropy(x @ params[0] + params[1], y)
        return torch.autograd.grad(loss, lr)[0].item()

    return run


def main() -> None:
    """Measure and print."""
    gc.set_threshold(50_000, 20, 100)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for rule in ("sgd", "adam"):
        runs = {"tapegrad": ours(rule)}
        if importlib.util.find_spec("torch"):
            runs["torch"] = theirs(rule)
        derivatives = [run() for run in runs.values()]
        np.testing.assert_allclose(derivatives, derivatives[0], rtol=2e-2, atol=1e-4)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(RUNS):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - began)
        medians = {name: statistics.median(t) for name, t in times.items()}
        shown = ", ".join(f"{name} {t * 1e3:.1f} ms" for name, t in medians.items())
        ratio = (
            f"   ratio {medians['tapegrad'] / medians['torch']:.2f}" if "torch" in medians else ""
        )
        print(
            f"{STEPS} steps of {rule:4} and d/d lr: {shown}{ratio}   (d/d lr {derivatives[0]:.4f})"
        )


if __name__ == "__main__":
    main()
