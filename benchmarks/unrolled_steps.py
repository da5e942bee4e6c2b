"""The run that bench_unrolled_steps measures, written for each library.

Softmax regression (64 features, 10 classes, 128 rows): a hundred steps of gradient descent with
momentum 0.9 or of Adam, and the derivative of the final loss by the learning rate, in reverse mode.
Every function takes the name of the rule and gives the run: a callable that returns the derivative.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import measuring  # before NumPy: it sets the number of threads
import numpy as np

import tapegrad as tg

STEPS = 100
RATE = 0.05

Run = Callable[[], float]


def data(dtype: Any = np.float32) -> list[Any]:
    """The rows, the labels, and a start."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((128, 64)).astype(dtype)
    y = draw.integers(0, 10, 128)
    w = (0.01 * draw.standard_normal((64, 10))).astype(dtype)
    return [x, y, w, np.zeros(10, dtype)]


def with_tapegrad(rule: str, dtype: Any = np.float32) -> Run:
    """tapegrad's rules, recorded."""
    x, y, w, b = (tg.tensor(a) for a in data(dtype))
    start = [w.requires_grad_(), b.requires_grad_()]

    def run() -> float:
        lr = tg.tensor(RATE, dtype=x.dtype, requires_grad=True)
        if rule == "adam":
            made = tg.optim.functional.adam(lr)
        else:
            made = tg.optim.functional.sgd(lr, momentum=0.9)
        params, state = start, made.init(start)
        for _ in range(STEPS):
            loss = tg.nn.functional.cross_entropy(x @ params[0] + params[1], y)
            grads = tg.grad(loss, params, create_graph=True)
            params, state = made.update(params, list(grads), state)
        loss = tg.nn.functional.cross_entropy(x @ params[0] + params[1], y)
        return tg.grad(loss, lr)[0].item()

    return run


def moved(
    rule: str, sqrt: Any, t: Any, lr: Any, grads: Any, params: Any, first: Any, second: Any
) -> Any:
    """One step by hand, for libraries whose own optimizers record nothing: t counts from 1."""
    if rule == "adam":
        first = [m * 0.9 + g * 0.1 for m, g in zip(first, grads, strict=True)]
        second = [v * 0.999 + g * g * 0.001 for v, g in zip(second, grads, strict=True)]
        size, root = lr / (1 - 0.9**t), (1 - 0.999**t) ** 0.5
        params = [
            p - size * m / (sqrt(v) / root + 1e-8)
            for p, m, v in zip(params, first, second, strict=True)
        ]
    else:
        first = [m * 0.9 + g for m, g in zip(first, grads, strict=True)]
        params = [p - lr * m for p, m in zip(params, first, strict=True)]
    return params, first, second


def with_torch(torch: Any, rule: str) -> Run:
    """The formulas in PyTorch, with create_graph: its own optimizers overwrite the parameters."""
    x, y, w, b = (torch.tensor(a) for a in data())
    start = [w.requires_grad_(), b.requires_grad_()]

    def run() -> float:
        lr = torch.tensor(RATE, requires_grad=True)
        params = start
        first = [torch.zeros_like(p) for p in start]
        second = [torch.zeros_like(p) for p in start]
        for t in range(1, STEPS + 1):
            loss = torch.nn.functional.cross_entropy(x @ params[0] + params[1], y)
            grads = torch.autograd.grad(loss, params, create_graph=True)
            params, first, second = moved(rule, torch.sqrt, t, lr, grads, params, first, second)
        loss = torch.nn.functional.cross_entropy(x @ params[0] + params[1], y)
        return torch.autograd.grad(loss, lr)[0].item()

    return run


def affine(torch: Any, w: Any, b: Any) -> Any:
    """x @ w + b as a module, which TorchOpt and higher ask for."""

    class Affine(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(w.clone())
            self.b = torch.nn.Parameter(b.clone())

        def forward(self, x: Any) -> Any:
            return x @ self.w + self.b

    return Affine()


def with_torchopt(torch: Any, torchopt: Any, rule: str) -> Run:
    """TorchOpt's MetaAdam or MetaSGD."""
    x, y, w, b = (torch.tensor(a) for a in data())

    def run() -> float:
        lr = torch.tensor(RATE, requires_grad=True)
        model = affine(torch, w, b)
        if rule == "adam":
            optimizer = torchopt.MetaAdam(model, lr=lr)
        else:
            optimizer = torchopt.MetaSGD(model, lr=lr, momentum=0.9)
        for _ in range(STEPS):
            optimizer.step(torch.nn.functional.cross_entropy(model(x), y))
        loss = torch.nn.functional.cross_entropy(model(x), y)
        return torch.autograd.grad(loss, lr)[0].item()

    return run


def with_higher(torch: Any, higher: Any, rule: str) -> Run:
    """higher's differentiable copies of PyTorch's optimizers."""
    x, y, w, b = (torch.tensor(a) for a in data())
    model = affine(torch, w, b)
    if rule == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)

    def run() -> float:
        lr = torch.tensor(RATE, requires_grad=True)
        with higher.innerloop_ctx(model, optimizer, override={"lr": [lr]}) as (fast, steps):
            for _ in range(STEPS):
                steps.step(torch.nn.functional.cross_entropy(fast(x), y))
            loss = torch.nn.functional.cross_entropy(fast(x), y)
            return torch.autograd.grad(loss, lr)[0].item()

    return run


def with_jax(jax: Any, scan: bool, rule: str) -> Run:
    """The formulas in JAX, jitted as a whole: one call of scan, or a hundred steps in a row."""
    jnp = jax.numpy
    given = [jnp.array(a) for a in data()]

    def mean_loss(params: Any, x: Any, y: Any) -> Any:
        scores = jax.nn.log_softmax(x @ params[0] + params[1])
        return -jnp.take_along_axis(scores, y[:, None], axis=1).mean()

    def final_loss(lr: Any, x: Any, y: Any, w: Any, b: Any) -> Any:
        def step(carry: Any, t: Any) -> Any:
            grads = jax.grad(mean_loss)(carry[0], x, y)
            return moved(rule, jnp.sqrt, t, lr, grads, *carry), None

        zeros = [jnp.zeros_like(w), jnp.zeros_like(b)]
        carry = ([w, b], zeros, zeros)
        if scan:
            carry, _ = jax.lax.scan(step, carry, jnp.arange(1, STEPS + 1, dtype=w.dtype))
        else:
            for t in range(1, STEPS + 1):
                carry, _ = step(carry, t)
        return mean_loss(carry[0], x, y)

    derivative = jax.jit(jax.grad(final_loss))
    return lambda: derivative(RATE, *given).item()


def makers(jax_unrolled: bool) -> tuple[dict[str, Callable[[str], Run]], list[str]]:
    """How to make each run, and which libraries are missing."""
    found: dict[str, Any] = {"tapegrad": with_tapegrad}
    missing = []

    def add(name: str, modules: tuple[str, ...], make: Callable[..., Any]) -> None:
        have, wrong = measuring.loaded(*modules)
        if wrong:
            missing.append(f"{name}: {wrong}")
            return
        if modules[0] == "torch":
            have[0].set_num_threads(1)

        def quietly(rule: str) -> Run:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return make(*have, rule)

        found[name] = quietly

    add("torch create_graph", ("torch",), with_torch)
    add("TorchOpt", ("torch", "torchopt"), with_torchopt)
    add("higher", ("torch", "higher"), with_higher)
    add("jax, scan", ("jax",), lambda jax, rule: with_jax(jax, True, rule))
    if jax_unrolled:
        add("jax, unrolled", ("jax",), lambda jax, rule: with_jax(jax, False, rule))
    return found, missing
