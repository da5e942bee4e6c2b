"""Losses, forward and backward, beside PyTorch eager in the same process.

    python benchmarks/bench_losses.py              ten common losses
    python benchmarks/bench_losses.py --all        every loss of the table that PyTorch has too
    python benchmarks/bench_losses.py --only huber_loss

The operands are those of the table of losses, in float32, at (32, 10) and (4096, 1000). One core;
the two libraries take turns, and the median of the ratios of neighbouring runs is shown: above 1,
tapegrad is slower, and those that are stand below. Values are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  (after the thread settings)

import tapegrad as tg  # noqa: E402
from tapegrad.losses import LOSSES, Row  # noqa: E402

#: What most models are trained with.
COMMON = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "hinge_embedding_loss",
)
SIZES = ((32, 10), (4096, 1000))
SECONDS = 1.5  # of measuring, for each loss and size


def operands(row: Row, size: tuple[int, int]) -> list[Any]:
    """The operands of a row as NumPy arrays."""
    drawn = row.linked(row.draw(*size))
    return [(x.float() if x.is_floating_point() else x).numpy().copy() for x in drawn]


def runner(loss: Callable[..., Any], tensors: list[Any]) -> Callable[[], None]:
    """Forward and backward by the first operand."""
    first, *rest = tensors
    first.requires_grad_()

    def run() -> None:
        first.grad = None
        loss(first, *rest).backward()

    return run


def compare(row: Row, size: tuple[int, int]) -> dict[str, float]:
    """Median seconds of both, and the median ratio of neighbouring runs."""
    arrays = operands(row, size)
    runs = {"tapegrad": runner(row, [tg.tensor(a) for a in arrays])}
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        theirs = getattr(torch.nn.functional, row.function.__name__)
        ours = row(*(tg.tensor(a) for a in arrays)).item()
        np.testing.assert_allclose(
            ours, theirs(*(torch.tensor(a) for a in arrays)).item(), rtol=1e-3
        )
        runs["torch"] = runner(theirs, [torch.tensor(a) for a in arrays])
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until or len(times["tapegrad"]) < 5:
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    found = {name: statistics.median(t) for name, t in times.items()}
    if "torch" in times:
        found["ratio"] = statistics.median(a / b for a, b in zip(*times.values()))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--all", action="store_true", help="every loss that PyTorch has too")
    parser.add_argument("--only", help="the loss of this name")
    options = parser.parse_args()
    gc.set_threshold(50_000, 20, 100)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = [row for row in LOSSES if row.peer == "torch" and not row.case]
    if options.only or not options.all:
        wanted = [options.only] if options.only else COMMON
        rows = [row for row in rows if row.function.__name__ in wanted]
    for size in SIZES:
        print(f"forward and backward, float32, {size}")
        ratios = {}
        for row in rows:
            found = compare(row, size)
            if "ratio" in found:
                ratios[row.function.__name__] = found["ratio"]
            shown = "".join(
                f"{name} {found[name] * 1e6:9.1f} µs   "
                for name in ("tapegrad", "torch")
                if name in found
            )
            ratio = f"ratio {found['ratio']:5.2f}" if "ratio" in found else ""
            print(f"  {row.function.__name__:34} {shown}{ratio}")
        slower = [f"{name} ({ratio:.1f} x)" for name, ratio in ratios.items() if ratio > 1.0]
        if ratios:
            print(f"  slower than PyTorch: {', '.join(slower) or 'none'}")


if __name__ == "__main__":
    main()
