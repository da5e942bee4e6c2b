"""A hundred steps of training and the derivative through them, beside other libraries.

    python benchmarks/bench_unrolled_steps.py
    python benchmarks/bench_unrolled_steps.py --jax-unrolled   and JAX unrolled (minutes)

Softmax regression (64 features, 10 classes, 128 rows, float32) by gradient descent with momentum
and by Adam; the derivative of the final loss by the learning rate, by tapegrad, by PyTorch's
create_graph (the formulas by hand, out of place, since its own optimizers cannot), by TorchOpt, by
higher, and by jitted JAX on the CPU (the formulas by hand, in lax.scan or as a loop of Python's
that is unrolled). One core, one process, runs in turn, medians; a ratio above 1 says that tapegrad
is slower. The first run of a function has JAX's compiling in it. "off by" is the derivative's
relative difference from tapegrad's in float64.
"""

from __future__ import annotations

import argparse
import math

import measuring  # before NumPy: it sets the number of threads
import numpy as np
import unrolled_steps

SECONDS = 15.0  # of measuring, for each rule


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--jax-unrolled",
        action="store_true",
        help="and JAX without scan, which compiles for minutes",
    )
    jax_unrolled = parser.parse_args().jax_unrolled
    measuring.on_one_core()
    makers, missing = unrolled_steps.makers(jax_unrolled)
    for rule in ("sgd", "adam"):
        exact = unrolled_steps.with_tapegrad(rule, np.float64)()
        runs, firsts, offs, wrong = {}, {}, {}, list(missing)
        for name, make in makers.items():
            try:
                run = make(rule)
                firsts[name] = measuring.seconds_of(run)
                derivative = run()
            except Exception as error:
                if name == "tapegrad":
                    raise
                wrong.append(f"{name}: {measuring.in_short(error)}")
                continue
            runs[name] = run
            offs[name] = "NaN" if math.isnan(derivative) else f"{abs(derivative / exact - 1):.0e}"
        times = measuring.medians(runs, SECONDS)
        rows = [
            [
                name,
                f"{t * 1e3:.1f}",
                "" if name == "tapegrad" else f"{times['tapegrad'] / t:.2f}",
                f"{firsts[name] * 1e3:.0f}",
                "" if name == "tapegrad" else f"{firsts['tapegrad'] / firsts[name]:.2g}",
                offs[name],
            ]
            for name, t in times.items()
        ]
        measuring.show(
            f"{unrolled_steps.STEPS} steps of {rule} and d loss/d lr = {exact:.6f}",
            ["", "ms", "tapegrad / it", "first run, ms", "tapegrad / it", "off by"],
            rows,
        )
        for what in wrong:
            print(f"missing: {what}")


if __name__ == "__main__":
    main()
