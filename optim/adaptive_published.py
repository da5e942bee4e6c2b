"""Relatives of Adam that PyTorch does not have, as published."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, safe_sqrt, sign, zeros_like

from .optimizer import Optimizer
from .rule import Rule, at, at_least_zero, below_one, is_off, moving_average, per_parameter, so_many
from .table import Row

__all__ = ["AdaBelief", "Adan", "Yogi", "adabelief", "adan", "yogi"]


class Differences(NamedTuple):
    """Moving averages: of gradients, of their changes, of squares; and the last gradient."""

    exp_avg: Tensor
    exp_avg_diff: Tensor
    exp_avg_sq: Tensor
    pre_grad: Tensor


class Belief(NamedTuple):
    """Moving averages: of gradients, and of their squared distances from that average."""

    exp_avg: Tensor
    exp_avg_var: Tensor


class Moments(NamedTuple):
    """Moving averages: of gradients and, in a way, of their squares."""

    exp_avg: Tensor
    exp_avg_sq: Tensor


def adan(
    lr: Any = 1e-3,
    betas: tuple[Any, Any, Any] = (0.98, 0.92, 0.99),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    no_prox: bool = False,
) -> Rule:
    """Adan: Adam's step along m + β₂·d, with d the mean change of gradients (Nesterov's momentum).

    With the change Δ = g - previous g (0 at first): m ← β₁m + (1-β₁)g, d ← β₂d + (1-β₂)Δ,
    n ← β₃n + (1-β₃)(g + β₂Δ)², u = (m̂ + β₂·d̂)/(√n̂ + ε), all freed of their start, and then
    w ← (w - lr·u)/(1 + lr·λ), or with ``no_prox`` w ← (1 - lr·λ)·w - lr·u.

    The betas are the shares that are kept, as in the authors' code; the paper writes 1 - β. All
    real settings may be numbers, Tensors or schedules; ``weight_decay`` is λ. At g = n = 0 the
    step's derivative by g is the true one, -lr/ε at the first step.

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adan(lr=0.1)
    >>> rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))[0]
    [tensor(0.9000)]

    Source: Xie et al. (2024), Adan: adaptive Nesterov momentum algorithm for faster optimizing deep
    models.
    """
    at_least_zero("adan", lr=lr, eps=eps, weight_decay=weight_decay)
    so_many("adan", 3, betas=betas)
    below_one("adan", betas=betas)

    def start(w: Tensor) -> Differences:
        return Differences(*(zeros_like(w) for _ in range(4)))

    def move(
        w: Tensor, g: Tensor, memory: Differences, t: int, lr: Any, betas: Any, eps: Any, decay: Any
    ) -> tuple[Tensor, Differences]:
        beta1, beta2, beta3 = betas
        change = zeros_like(g) if t == 1 else g - memory.pre_grad
        ahead = g + beta2 * change
        m = moving_average(memory.exp_avg, g, beta1)
        d = moving_average(memory.exp_avg_diff, change, beta2)
        n = moving_average(memory.exp_avg_sq, ahead * ahead, beta3)
        root = safe_sqrt(n) / (1.0 - beta3**t) ** 0.5
        u = (m / (1.0 - beta1**t) + beta2 * d / (1.0 - beta2**t)) / (root + eps)
        if no_prox:
            moved = w * (1.0 - lr * decay) - lr * u
        else:
            moved = (w - lr * u) / (1.0 + lr * decay)
        return moved, Differences(m, d, n, g)

    return per_parameter(start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay)


def adabelief(
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-16,
    weight_decay: Any = 0.0,
) -> Rule:
    """AdaBelief: Adam, with how far gradients are from their mean in place of their size.

    m ← β₁m + (1-β₁)g, s ← β₂s + (1-β₂)(g - m)² + ε, w ← (1 - lr·λ)·w - lr·m̂/(√ŝ + ε), with m̂ and ŝ
    freed of their start. ``eps`` enters in both places, as in the paper; 1e-16 is what the authors'
    code has. Weight decay λ is decoupled. All real settings may be numbers, Tensors or schedules.
    The ε under the root keeps the step smooth at g = s = 0; with ε = 0 the root counts as held
    there, and the step divides by 0.

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adabelief(lr=0.09)
    >>> rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))[0]
    [tensor(0.9000)]

    Source: Zhuang et al. (2020), AdaBelief optimizer: adapting stepsizes by the belief in observed
    gradients.
    """
    at_least_zero("adabelief", lr=lr, eps=eps, weight_decay=weight_decay)
    so_many("adabelief", 2, betas=betas)
    below_one("adabelief", betas=betas)

    def start(w: Tensor) -> Belief:
        return Belief(zeros_like(w), zeros_like(w))

    def move(
        w: Tensor, g: Tensor, memory: Belief, t: int, lr: Any, betas: Any, eps: Any, decay: Any
    ) -> tuple[Tensor, Belief]:
        beta1, beta2 = betas
        m = moving_average(memory.exp_avg, g, beta1)
        s = moving_average(memory.exp_avg_var, (g - m) * (g - m), beta2) + eps
        root = safe_sqrt(s) / (1.0 - beta2**t) ** 0.5
        kept = w if is_off(decay) else w * (1.0 - lr * decay)
        return kept - lr / (1.0 - beta1**t) * m / (root + eps), Belief(m, s)

    return per_parameter(start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay)


def yogi(
    lr: Any = 1e-2,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-3,
    initial_accumulator: Any = 1e-6,
    weight_decay: Any = 0.0,
) -> Rule:
    """Yogi: Adam, whose v goes towards g² by steps that do not grow with v.

    m ← β₁m + (1-β₁)g, v ← v - (1-β₂)·sign(v - g²)·g², w ← (1 - lr·λ)·w - lr·m/(√v + ε), from m = 0
    and v = ``initial_accumulator``, and not freed of their start: the paper's Algorithm 2 (some
    other implementations divide m and v as Adam does). Weight decay λ is decoupled. All real
    settings may be numbers, Tensors or schedules (of ``initial_accumulator`` the first value
    counts).

    The derivative of the sign is 0. At g = v = 0 the step's derivative by g is the true one,
    -lr·(1-β₁)/ε.

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.yogi(lr=0.1, betas=(0.5, 0.75), initial_accumulator=0.0, eps=0.5)
    >>> rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))[0]
    [tensor(0.9167)]

    Source: Zaheer et al. (2018), Adaptive methods for nonconvex optimization.
    """
    at_least_zero(
        "yogi", lr=lr, eps=eps, initial_accumulator=initial_accumulator, weight_decay=weight_decay
    )
    so_many("yogi", 2, betas=betas)
    below_one("yogi", betas=betas)

    def start(w: Tensor) -> Moments:
        return Moments(zeros_like(w), zeros_like(w) + at(initial_accumulator, 0))

    def move(
        w: Tensor, g: Tensor, memory: Moments, t: int, lr: Any, betas: Any, eps: Any, decay: Any
    ) -> tuple[Tensor, Moments]:
        beta1, beta2 = betas
        m = moving_average(memory.exp_avg, g, beta1)
        square = g * g
        v = memory.exp_avg_sq - (1.0 - beta2) * sign(memory.exp_avg_sq - square) * square
        kept = w if is_off(decay) else w * (1.0 - lr * decay)
        return kept - lr * m / (safe_sqrt(v) + eps), Moments(m, v)

    return per_parameter(start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay)


class Adan(Optimizer):
    """Adan; settings as in :func:`tapegrad.optim.functional.adan`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Adan([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(adan)


class AdaBelief(Optimizer):
    """AdaBelief; settings as in :func:`tapegrad.optim.functional.adabelief`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.AdaBelief([w], lr=0.09)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(adabelief)


class Yogi(Optimizer):
    """Yogi; settings as in :func:`tapegrad.optim.functional.yogi`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Yogi([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.6887], requires_grad=True)
    """

    rule = staticmethod(yogi)


ROWS = (
    Row(
        adan,
        Adan,
        settings=(
            {"weight_decay": 0.1},
            {"betas": (0.9, 0.8, 0.95), "weight_decay": 0.1, "no_prox": True},
        ),
        checked={"betas": (0.8, 0.7, 0.9), "eps": 1e-2},
    ),
    Row(
        adabelief,
        AdaBelief,
        settings=({"weight_decay": 0.1, "eps": 1e-4},),
        checked={"betas": (0.8, 0.9), "eps": 1e-2},
    ),
    Row(
        yogi,
        Yogi,
        settings=({"weight_decay": 0.1, "betas": (0.8, 0.95)},),
        rate=0.02,
        checked={"betas": (0.8, 0.9), "initial_accumulator": 0.5},
    ),
)
