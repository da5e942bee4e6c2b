"""A training step of a small network, beside PyTorch in the same process.

    python benchmarks/bench_training.py

One core, medians of steps taken in turn; a ratio above 1 says that tapegrad is slower.
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

import tapegrad  # noqa: E402

ROWS, SIZES, STEPS = 32, (64, 128, 10), 400


def parts(library: Any) -> dict[str, Callable[[], Any]]:
    """Forward; forward and backward; the whole step; on the same data in either library."""
    draw = np.random.default_rng(0)
    nn, functional = library.nn, library.nn.functional
    x = library.tensor(draw.standard_normal((ROWS, SIZES[0])).astype(np.float32))
    y = library.tensor(draw.integers(0, SIZES[2], ROWS))
    model = nn.Sequential(nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Linear(SIZES[1], SIZES[2]))
    optimizer = library.optim.AdamW(model.parameters(), lr=1e-3)

    def forward() -> Any:
        return functional.cross_entropy(model(x), y)

    def backward() -> None:
        optimizer.zero_grad()
        forward().backward()

    def step() -> None:
        backward()
        optimizer.step()

    return {"forward": forward, "forward and backward": backward, "with AdamW's step": step}


def main() -> None:
    """Measure and print."""
    gc.set_threshold(50_000, 20, 100)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    libraries = {"tapegrad": tapegrad}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        libraries["torch"] = torch
    runs = {name: parts(library) for name, library in libraries.items()}
    for part in runs["tapegrad"]:
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(STEPS):
            for name, found in runs.items():
                began = time.perf_counter()
                found[part]()
                times[name].append(time.perf_counter() - began)
        medians = {name: statistics.median(t) for name, t in times.items()}
        shown = ", ".join(f"{name} {seconds * 1e6:.0f} µs" for name, seconds in medians.items())
        ratio = (
            f"   ratio {medians['tapegrad'] / medians['torch']:.2f}" if "torch" in medians else ""
        )
        print(f"{part:22} {shown}{ratio}")


if __name__ == "__main__":
    main()
