"""What the benchmarks beside other libraries share: one core, turns, and tables.

Import it before NumPy, JAX or PyTorch, which read the number of threads when they are loaded.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
for name, value in ONE_THREAD.items():
    os.environ.setdefault(name, value)

TURN = 0.002  # seconds that a turn should last: quick runs are repeated within it


def on_one_core() -> None:
    """Stay on one core, and collect garbage seldom. Before JAX or PyTorch start their threads."""
    gc.set_threshold(50_000, 20, 100)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def loaded(*names: str) -> tuple[list[Any], str]:
    """The libraries, and what is wrong if one of them cannot be had ("" if nothing is)."""
    modules = []
    for name in names:
        if importlib.util.find_spec(name) is None:
            return [], f"{name} is not installed"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                modules.append(importlib.import_module(name))
        except Exception as error:
            return [], f"{name} cannot be imported: {in_short(error)}"
    return modules, ""


def in_short(error: Exception) -> str:
    """The error's name and its first line."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:100]}"


def seconds_of(run: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def medians(
    runs: dict[str, Callable[[], Any]],
    seconds: float,
    least: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds per call, the median over turns; whoever began a round is the last of the next.

    ``clock``: with ``time.process_time`` what the machine does besides does not count.
    """
    repeats = {}
    for name, run in runs.items():
        run()
        repeats[name] = max(1, round(TURN / seconds_of(run)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    until = clock() + seconds
    while clock() < until or len(times[order[0]]) < least:
        for name in order:
            began = clock()
            for _ in range(repeats[name]):
                runs[name]()
            times[name].append((clock() - began) / repeats[name])
        order.append(order.pop(0))
    return {name: statistics.median(t) for name, t in times.items()}


def show(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        first, *others = (
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]), flush=True)
