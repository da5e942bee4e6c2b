"""Adam's step, beside PyTorch's (default, foreach, fused) in the same process.

    python benchmarks/bench_optim.py

Float32 parameters, in one tensor and in a hundred; one core; the optimizers take turns, and medians
are shown. A ratio above 1 says that tapegrad is slower than PyTorch's fused step.
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

SIZES = (10_000, 1_000_000, 10_000_000)
COUNTS = (1, 100)
SECONDS = 2.0  # of measuring, for each size and count


def optimizer(library: Any, size: int, count: int, **settings: Any) -> Any:
    """Adam on some parameters with gradients."""
    draw = np.random.default_rng(0)
    params = []
    for _ in range(count):
        p = library.tensor(draw.standard_normal(size // count).astype(np.float32))
        p.requires_grad_()
        p.grad = library.tensor(draw.standard_normal(size // count).astype(np.float32))
        params.append(p)
    return library.optim.Adam(params, lr=1e-3, **settings)


def steps(size: int, count: int) -> dict[str, Callable[[], Any]]:
    """The steps to compare, by name."""
    found = {"tapegrad": optimizer(tg, size, count).step}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        for name in ("foreach", "fused"):
            found[name] = optimizer(torch, size, count, **{name: True}).step
        found["default"] = optimizer(torch, size, count, foreach=False).step
    return found


def main() -> None:
    """Measure and print."""
    gc.set_threshold(50_000, 20, 100)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for size in SIZES:
        for count in COUNTS:
            runs = steps(size, count)
            times: dict[str, list[float]] = {name: [] for name in runs}
            for run in runs.values():
                run()
            until = time.perf_counter() + SECONDS
            while time.perf_counter() < until or len(times["tapegrad"]) < 3:
                for name, run in runs.items():
                    began = time.perf_counter()
                    run()
                    times[name].append(time.perf_counter() - began)
            medians = {name: statistics.median(t) for name, t in times.items()}
            shown = ", ".join(f"{name} {t * 1e3:.3f} ms" for name, t in medians.items())
            ratio = (
                f"   ratio {medians['tapegrad'] / medians['fused']:.2f}"
                if "fused" in medians
                else ""
            )
            print(f"{size:>10,} in {count:3} tensor(s): {shown}{ratio}")


if __name__ == "__main__":
    main()
