"""How fast eager recording is, beside PyTorch and micrograd in the same process.

    python benchmarks/bench_recording.py            # peers are used when installed
    python benchmarks/bench_recording.py --json out/recording.json

Everything runs on one core, in turn, several times; the medians of the ratios are printed
(below 1: tapegrad is faster). Garbage collection is at ``gc.set_threshold(50_000, 20, 100)`` for
all of them unless ``--default-gc`` is given: live tapes are many objects, and Python's default
thresholds make the collector walk them over and over.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import tapegrad as tg  # noqa: E402  (after the thread settings)


def peer(name: str) -> Any:
    """A module that need not be installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


torch = peer("torch")
micrograd = peer("micrograd.engine")


def per_call(function: Callable[[], Any], calls: int) -> float:
    """Seconds per call over one run of ``calls``."""
    began = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - began) / calls


def leaves(library: str, dtype: str) -> tuple[Any, Any]:
    """Two 0-d leaves."""
    if library == "tapegrad":
        return tuple(tg.tensor(v, dtype=dtype, requires_grad=True) for v in (1.5, -0.5))
    return tuple(
        torch.tensor(v, dtype=getattr(torch, dtype), requires_grad=True) for v in (1.5, -0.5)
    )


def bench_add(library: str, dtype: str, backward: bool, calls: int) -> float:
    """Seconds to record one 0-d addition, with its backward pass or without."""
    a, b = leaves(library, dtype)
    if not backward:
        return per_call(lambda: a + b, calls)

    def both() -> None:
        a.grad = b.grad = None
        (a + b).backward()

    return per_call(both, calls)


def network(leaf: Callable[[float], Any], samples: int = 100) -> Any:
    """The loss of a scalar MLP 2-16-16-1 on ``samples`` points: about 65,000 operations."""
    draw = random.Random(0)
    layers = [
        [([leaf(draw.uniform(-1, 1)) for _ in range(n)], leaf(0.0)) for _ in range(m)]
        for n, m in ((2, 16), (16, 16), (16, 1))
    ]
    total = leaf(0.0)
    for _ in range(samples):
        values: list[Any] = [draw.uniform(-1, 1), draw.uniform(-1, 1)]
        for depth, layer in enumerate(layers):
            out = []
            for weights, bias in layer:
                act = bias
                for w, x in zip(weights, values, strict=True):
                    act = act + w * x
                out.append(act.relu() if depth < 2 else act)
            values = out
        total = total + (1.0 + values[0]).relu()
    return total


def chain(leaf: Callable[[float], Any], operations: int = 65_000) -> Any:
    """y ← y·a + b again and again, with a hundred leaves."""
    draw = random.Random(0)
    leaves = [leaf(draw.uniform(0, 0.01)) for _ in range(100)]
    y = leaves[0]
    for i in range(operations // 2):
        y = y * leaves[i % 100] + leaves[i * 7 % 100]
    return y


def bench_graph(library: str, graph: Callable[[Callable[[float], Any]], Any]) -> float:
    """Seconds to build a scalar graph, differentiate it and let it go."""
    leaf = {
        "tapegrad": lambda v: tg.tensor(v, dtype="float64", requires_grad=True),
        "torch": lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True),
        "micrograd": lambda v: micrograd.Value(v),
    }[library]
    began = time.perf_counter()
    graph(leaf).backward()
    return time.perf_counter() - began


def nodes_of_network() -> int:
    """How many operations the loss has."""
    before = tg.records.next_number()
    loss = network(lambda v: tg.tensor(v, dtype="float64", requires_grad=True))
    count = tg.records.next_number() - before - 1
    del loss
    return count


def bytes_per_node() -> float:
    """Memory of one recorded 0-d operation on a live graph."""
    gc.collect()
    x = tg.tensor(1.0, dtype="float64", requires_grad=True)
    y = x
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(50_000):
        y = y + x
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / 50_000


def import_time(rounds: int = 9) -> float:
    """Seconds that ``import tapegrad`` takes over NumPy's own import, with its bytecode cached."""
    code = (
        "import time, numpy; t = time.perf_counter(); import tapegrad; "
        "print(time.perf_counter() - t)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    times = []
    with tempfile.TemporaryDirectory() as cache:
        environment["PYTHONPYCACHEPREFIX"] = cache
        for _ in range(rounds + 1):
            out = subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            )
            times.append(float(out.stdout))
    return statistics.median(times[1:])  # the first one compiled


def compare(measure: Callable[[str], float], libraries: list[str], rounds: int) -> dict[str, Any]:
    """Medians of the times and of the ratios, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in libraries}
    for i in range(rounds + 1):
        for name in libraries:
            gc.collect()
            seconds = measure(name)
            if i:  # the first round warms up
                times[name].append(seconds)
    found: dict[str, Any] = {name: statistics.median(t) for name, t in times.items()}
    for name in libraries[1:]:
        found[f"ratio to {name}"] = statistics.median(
            own / other for own, other in zip(times["tapegrad"], times[name], strict=True)
        )
    return found


def run(rounds: int, calls: int) -> dict[str, Any]:
    """All measurements."""
    with_torch = ["tapegrad", *(["torch"] if torch else [])]
    results: dict[str, Any] = {}
    for dtype in ("float64", "float32"):
        for backward in (False, True):
            label = f"0-d add{' and backward' if backward else ''}, {dtype}"
            results[label] = compare(
                lambda name, d=dtype, b=backward: bench_add(name, d, b, calls), with_torch, rounds
            )
    everyone = [*with_torch, *(["micrograd"] if micrograd else [])]
    graphs = {f"scalar MLP, {nodes_of_network():,} operations": network}
    graphs["scalar chain, 65,000 operations"] = chain
    for label, graph in graphs.items():
        results[label] = compare(
            lambda name, g=graph: bench_graph(name, g), everyone, max(3, rounds // 3)
        )
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--default-gc", action="store_true", help="leave the collector alone")
    parser.add_argument("--json", help="write the numbers here")
    options = parser.parse_args()
    if not options.default_gc:
        gc.set_threshold(50_000, 20, 100)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if torch:
        torch.set_num_threads(1)
    results = run(options.rounds, options.calls)
    for label, found in results.items():
        print(label)
        for name, value in found.items():
            if name.startswith("ratio"):
                print(f"    {name:20} {value:8.3f}   ({1 / value:.1f} times as fast)")
            elif value < 1e-3:
                print(f"    {name:20} {value * 1e6:8.3f} µs")
            else:
                print(f"    {name:20} {value * 1e3:8.1f} ms")
    results["bytes per recorded 0-d operation"] = bytes_per_node()
    results["import over NumPy, ms"] = import_time() * 1e3
    print(
        "memory per recorded 0-d operation: "
        f"{results['bytes per recorded 0-d operation']:.0f} bytes"
    )
    print(f"import tapegrad over NumPy: {results['import over NumPy, ms']:.1f} ms")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    # micrograd's backward() recurses: give it a stack for 65,000 levels.
    sys.setrecursionlimit(10**6)
    threading.stack_size(512 * 1024 * 1024)
    worker = threading.Thread(target=main)
    worker.start()
    worker.join()
