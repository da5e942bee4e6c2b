"""Adam's step, beside PyTorch's (default, foreach, fused) and optax's (jitted).

    python benchmarks/bench_optim.py

Float32 parameters, in one tensor and in a hundred; one core, one process. The optimizers take
turns, and medians are shown. JAX runs on the CPU with one thread; its step is compiled beforehand,
overwrites its parameters and state (donated), and is waited for. First each optimizer takes a few
steps, and how far it moves the parameters is compared with tapegrad's. A ratio above 1 says that
tapegrad is slower.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import measuring  # before NumPy: it sets the number of threads
import numpy as np

import tapegrad as tg

SIZES = (10_000, 1_000_000, 10_000_000)
COUNTS = (1, 100)
SECONDS = 3.0  # of measuring, for each size and count
STEPS = 3  # before the parameters are compared


class Contender(NamedTuple):
    """An optimizer with parameters and gradients of its own."""

    step: Callable[[], Any]
    give: Callable[[list[Any]], Any]  # other gradients
    params: Callable[[], list[Any]]


def drawn(size: int, count: int, seed: int) -> list[Any]:
    """Values for the parameters, or for their gradients."""
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(size // count, np.float32) for _ in range(count)]


def of_torch_kind(library: Any, size: int, count: int, **settings: Any) -> Contender:
    """tapegrad's or PyTorch's Adam."""
    params = [library.tensor(w).requires_grad_() for w in drawn(size, count, 0)]

    def give(grads: list[Any]) -> None:
        for p, g in zip(params, grads, strict=True):
            p.grad = library.tensor(g)

    step = library.optim.Adam(params, lr=1e-3, **settings).step
    return Contender(step, give, lambda: [p.detach().numpy() for p in params])


def of_optax(jax: Any, optax: Any, size: int, count: int) -> Contender:
    """The jitted step of optax.adam."""
    params = [jax.numpy.array(w) for w in drawn(size, count, 0)]
    grads: list[Any] = []
    rule = optax.adam(1e-3)
    now = [params, rule.init(params)]

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def moved(params: Any, state: Any, grads: Any) -> Any:
        updates, state = rule.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def step() -> None:
        now[:] = jax.block_until_ready(moved(*now, grads))

    def give(values: list[Any]) -> None:
        grads[:] = [jax.numpy.array(g) for g in values]

    return Contender(step, give, lambda: [np.asarray(p) for p in now[0]])


def makers() -> tuple[dict[str, Callable[[int, int], Contender]], list[str]]:
    """How to make each contender, and which are missing."""
    found: dict[str, Any] = {"tapegrad": functools.partial(of_torch_kind, tg)}
    missing = []
    modules, wrong = measuring.loaded("torch")
    if wrong:
        missing.append(f"torch: {wrong}")
    else:
        modules[0].set_num_threads(1)
        of_torch = functools.partial(of_torch_kind, *modules)
        found["torch default"] = of_torch
        found["foreach"] = functools.partial(of_torch, foreach=True)
        found["fused"] = functools.partial(of_torch, fused=True)
    modules, wrong = measuring.loaded("jax", "optax")
    if wrong:
        missing.append(f"optax: {wrong}")
    else:
        found["optax"] = functools.partial(of_optax, *modules)
    return found, missing


def moves(contender: Contender, size: int, count: int) -> Any:
    """How far the parameters go in a few steps."""
    for seed in range(1, STEPS + 1):
        contender.give(drawn(size, count, seed))
        contender.step()
    return np.concatenate(contender.params()) - np.concatenate(drawn(size, count, 0))


def main() -> None:
    """Measure and print."""
    measuring.on_one_core()
    found, missing = makers()
    times, ratios = [], []
    worst: dict[str, float] = {}
    for size in SIZES:
        for count in COUNTS:
            contenders = {}
            for name, make in found.items():
                try:
                    contender = make(size, count)
                    moved = moves(contender, size, count)
                except Exception as error:
                    if name == "tapegrad":
                        raise
                    missing.append(f"{name}, {size:,} in {count}: {measuring.in_short(error)}")
                    continue
                contenders[name] = contender
                if name == "tapegrad":
                    ours = moved
                apart = abs(moved - ours).max() / abs(ours).max()
                worst[name] = float(np.maximum(worst.get(name, 0.0), apart))
            medians = measuring.medians({n: c.step for n, c in contenders.items()}, SECONDS)
            what = f"{size:,} in {count}"
            shown = {name: f"{t * 1e3:.3f}" for name, t in medians.items()}
            times.append([what, *(shown.get(name, "-") for name in found)])
            shown = {name: f"{medians['tapegrad'] / t:.2f}" for name, t in medians.items()}
            ratios.append([what, *(shown.get(name, "-") for name in found if name != "tapegrad")])
    others = [name for name in found if name != "tapegrad"]
    measuring.show("Adam's step in ms, by parameters and tensors", ["", *found], times)
    if others:
        measuring.show("tapegrad's time over the other's", ["", *others], ratios)
        off = [f"{worst[name]:.0e}" if name in worst else "-" for name in others]
        measuring.show(
            f"Largest difference of the moves in {STEPS} steps, relative to the largest move",
            ["", *others],
            [["at worst", *off]],
        )
    for what in missing:
        print(f"missing: {what}")


if __name__ == "__main__":
    main()
