"""Adam and its relatives: steps scaled by the size that gradients have had."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, abs, as_tensor, maximum, safe_sqrt, where, zeros_like

from .optimizer import Optimizer
from .rule import Rule, at_least_zero, below_one, directed, moving_average, per_parameter, so_many
from .table import Row

__all__ = [
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
    "adam",
    "adamax",
    "adamw",
    "nadam",
    "radam",
]


class Moments(NamedTuple):
    """The moving averages of the gradient and of its square, and the largest of the latter."""

    exp_avg: Tensor
    exp_avg_sq: Tensor
    max_exp_avg_sq: Tensor | None = None


def adam(
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> Rule:
    """Adam: m ← β₁m + (1-β₁)g, v ← β₂v + (1-β₂)g², w ← w - lr·m̂/(√v̂ + ε).

    m̂ = m/(1-β₁ᵗ) and v̂ = v/(1-β₂ᵗ). ``weight_decay`` adds λ·w to the gradient, or with
    ``decoupled_weight_decay`` shrinks w by lr·λ (see :func:`adamw`). ``amsgrad`` divides by the
    largest v so far. All real settings may be numbers, Tensors or schedules.

    At g = v = 0 the step's derivative by g is the true one: -lr/ε at the first step, and later,
    with no gradient before, -(lr/ε)(1-β₁)/(1-β₁ᵗ).

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adam(lr=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.9000)

    Source: Kingma and Ba (2015), Adam; Reddi, Kale and Kumar (2018), On the convergence of Adam and
    beyond.
    """
    at_least_zero("adam", lr=lr, eps=eps, weight_decay=weight_decay)
    so_many("adam", 2, betas=betas)
    below_one("adam", betas=betas)

    def start(w: Tensor) -> Moments:
        return Moments(zeros_like(w), zeros_like(w), zeros_like(w) if amsgrad else None)

    def move(
        w: Tensor, g: Tensor, memory: Moments, t: int, lr: Any, betas: Any, eps: Any, decay: Any
    ) -> tuple[Tensor, Moments]:
        beta1, beta2 = betas
        g, w = _decayed(g, w, maximize, decay, lr, decoupled_weight_decay)
        m = moving_average(memory.exp_avg, g, beta1)
        v = moving_average(memory.exp_avg_sq, g * g, beta2)
        largest = memory.max_exp_avg_sq
        if amsgrad:
            largest = v if largest is None else maximum(largest, v)
        # m̂/(√v̂ + ε), with √(1-β₂ᵗ) taken out of the long arrays, as the paper does
        scale = (1.0 - beta2**t) ** 0.5
        root = safe_sqrt(largest if amsgrad else v)
        return w - lr * scale / (1.0 - beta1**t) * m / (root + eps * scale), Moments(m, v, largest)

    return per_parameter(start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay)


def adamw(
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> Rule:
    """Adam with decoupled weight decay: w ← (1 - lr·λ)·w before Adam's step.

    Settings and errors as for :func:`adam`.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adamw(lr=0.1, weight_decay=0.5)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.8500)

    Source: Loshchilov and Hutter (2019), Decoupled weight decay regularization.
    """
    return adam(
        lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True
    )


class InfinityMoments(NamedTuple):
    """The moving average of the gradient, and its size by the decaying maximum."""

    exp_avg: Tensor
    exp_inf: Tensor


def adamax(
    lr: Any = 2e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    *,
    maximize: bool = False,
) -> Rule:
    """Adamax: m ← β₁m + (1-β₁)g, u ← max(β₂u, |g| + ε), w ← w - lr·m̂/u, as torch.optim.Adamax.

    m̂ = m/(1-β₁ᵗ). ``weight_decay`` adds λ·w to the gradient. All real settings may be numbers,
    Tensors or schedules. Where both sides of the maximum are equal they share the derivative.

    At g = u = 0 the first step's derivative by g is the true one, -lr/ε (later, with no gradient
    before, -(lr/ε)(1-β₁)/(1-β₁ᵗ)); at g = 0 with a mean m ≠ 0 and a u that has faded, that of |g|
    is 0.

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adamax(lr=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.9000)

    Source: Kingma and Ba (2015), Adam, section 7.1.
    """
    at_least_zero("adamax", lr=lr, eps=eps, weight_decay=weight_decay)
    so_many("adamax", 2, betas=betas)
    below_one("adamax", betas=betas)

    def start(w: Tensor) -> InfinityMoments:
        return InfinityMoments(zeros_like(w), zeros_like(w))

    def move(
        w: Tensor,
        g: Tensor,
        memory: InfinityMoments,
        t: int,
        lr: Any,
        betas: Any,
        eps: Any,
        decay: Any,
    ) -> tuple[Tensor, InfinityMoments]:
        beta1, beta2 = betas
        g = directed(g, w, maximize, decay)
        m = moving_average(memory.exp_avg, g, beta1)
        u = maximum(memory.exp_inf * beta2, abs(g) + eps)
        return w - lr / (1.0 - beta1**t) * m / u, InfinityMoments(m, u)

    return per_parameter(start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay)


class NesterovMoments(NamedTuple):
    """The moving averages of the gradient and of its square, and the product of momenta."""

    mu_product: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor


def nadam(
    lr: Any = 2e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    momentum_decay: Any = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> Rule:
    """NAdam, Adam with Nesterov's momentum, as torch.optim.NAdam.

    w ← w - lr·(m·μₜ₊₁/(1-Πₜ₊₁) + g·(1-μₜ)/(1-Πₜ))/(√v̂ + ε), with Adam's m and v̂,
    μₜ = β₁(1 - 0.96^(t·ψ)/2) where ψ is ``momentum_decay``, and Πₜ = μ₁·…·μₜ. ``weight_decay`` adds
    λ·w to the gradient, or with ``decoupled_weight_decay`` shrinks w by lr·λ. All real settings may
    be numbers, Tensors or schedules.

    At g = v = 0, with no gradient before, the step's derivative by g is the true one,
    -(lr/ε)·((1-β₁)μₜ₊₁/(1-Πₜ₊₁) + (1-μₜ)/(1-Πₜ)).

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.nadam(lr=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.8944)

    Source: Dozat (2016), Incorporating Nesterov momentum into Adam.
    """
    at_least_zero("nadam", lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
    so_many("nadam", 2, betas=betas)
    below_one("nadam", betas=betas)

    def start(w: Tensor) -> NesterovMoments:
        return NesterovMoments(as_tensor(1.0, dtype=w.dtype), zeros_like(w), zeros_like(w))

    def move(
        w: Tensor,
        g: Tensor,
        memory: NesterovMoments,
        t: int,
        lr: Any,
        betas: Any,
        eps: Any,
        decay: Any,
        fading: Any,
    ) -> tuple[Tensor, NesterovMoments]:
        beta1, beta2 = betas
        g, w = _decayed(g, w, maximize, decay, lr, decoupled_weight_decay)
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * fading))
        following = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * fading))
        product = as_tensor(memory.mu_product, dtype="float64") * mu  # in full precision
        m = moving_average(memory.exp_avg, g, beta1)
        v = moving_average(memory.exp_avg_sq, g * g, beta2)
        of_g = as_tensor(lr * (1.0 - mu) / (1.0 - product), dtype=w.dtype)
        of_m = as_tensor(lr * following / (1.0 - product * following), dtype=w.dtype)
        root = safe_sqrt(v) / (1.0 - beta2**t) ** 0.5
        return w - (g * of_g + m * of_m) / (root + eps), NesterovMoments(
            as_tensor(product, dtype=w.dtype), m, v
        )

    return per_parameter(
        start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay, fading=momentum_decay
    )


def radam(
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> Rule:
    """Rectified Adam: w ← w - lr·m̂·rₜ·√(1-β₂ᵗ)/(√v + ε) once ρₜ > 5, w ← w - lr·m̂ before.

    m, v and m̂ are Adam's; ρₜ = ρ - 2tβ₂ᵗ/(1-β₂ᵗ) with ρ = 2/(1-β₂) - 1 says how many gradients v
    rests on, and rₜ = √((ρₜ-4)(ρₜ-2)ρ/((ρ-4)(ρ-2)ρₜ)) rectifies the variance of the rate.
    ``weight_decay`` adds λ·w to the gradient, or with ``decoupled_weight_decay`` shrinks w by lr·λ.
    All real settings may be numbers, Tensors or schedules; as torch.optim.RAdam. The derivative by
    β₂ is that of the side of ρₜ = 5 that the step is on (at the jump itself there is none).

    At g = v = 0, with no gradient before, the step's derivative by g is the true one,
    -lr(1-β₁)/(1-β₁ᵗ) up to ρₜ = 5 (-lr at the first step), then this times rₜ√(1-β₂ᵗ)/ε.

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.radam(lr=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.5000)

    Source: Liu et al. (2020), On the variance of the adaptive learning rate and beyond.
    """
    at_least_zero("radam", lr=lr, eps=eps, weight_decay=weight_decay)
    so_many("radam", 2, betas=betas)
    below_one("radam", betas=betas)

    def start(w: Tensor) -> Moments:
        return Moments(zeros_like(w), zeros_like(w))

    def move(
        w: Tensor, g: Tensor, memory: Moments, t: int, lr: Any, betas: Any, eps: Any, decay: Any
    ) -> tuple[Tensor, Moments]:
        beta1, beta2 = betas
        g, w = _decayed(g, w, maximize, decay, lr, decoupled_weight_decay)
        m = moving_average(memory.exp_avg, g, beta1)
        v = moving_average(memory.exp_avg_sq, g * g, beta2)
        rectified, factor = _rectification(beta2, t)
        divisor = where(rectified, safe_sqrt(v) + eps, 1.0)
        return w - lr / (1.0 - beta1**t) * factor * m / divisor, Moments(m, v)

    return per_parameter(start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay)


def _rectification(beta2: Any, t: int) -> tuple[Any, Any]:
    """Whether RAdam divides by √v at step t, and then rₜ·√(1-β₂ᵗ), else 1.

    A tensor of fewer digits is converted to float64 in between, since ρₜ is a small difference.
    """
    dtype = beta2.dtype if isinstance(beta2, Tensor) else None
    if dtype is not None:
        beta2 = as_tensor(beta2, dtype="float64")
    longest = 2.0 / (1.0 - beta2) - 1.0
    correction = 1.0 - beta2**t
    length = longest - 2.0 * t * beta2**t / correction
    rectified = length > 5.0
    # elsewhere any numbers will do for which the root exists
    n, limit = where(rectified, length, 6.0), where(rectified, longest, 6.0)
    square = (n - 4.0) * (n - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * n) * correction
    factor = where(rectified, square**0.5, 1.0)
    return rectified, factor if dtype is None else as_tensor(factor, dtype=dtype)


def _decayed(
    g: Tensor, w: Tensor, maximize: bool, decay: Any, lr: Any, decoupled: bool
) -> tuple[Tensor, Tensor]:
    """The gradient to go down by and the parameter to go from, with weight decay of either kind."""
    if not decoupled:
        return directed(g, w, maximize, decay), w
    return directed(g, w, maximize), w * (1.0 - lr * decay)


class Adam(Optimizer):
    """Adam; settings as in :func:`tapegrad.optim.functional.adam`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(adam)


class AdamW(Optimizer):
    """Adam with decoupled weight decay; settings as in :func:`tapegrad.optim.functional.adamw`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8500], requires_grad=True)
    """

    rule = staticmethod(adamw)


class Adamax(Optimizer):
    """Adamax; settings as in :func:`tapegrad.optim.functional.adamax`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Adamax([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(adamax)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum; settings as in :func:`tapegrad.optim.functional.nadam`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.NAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8944], requires_grad=True)
    """

    rule = staticmethod(nadam)


class RAdam(Optimizer):
    """Rectified Adam; settings as in :func:`tapegrad.optim.functional.radam`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.RAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    rule = staticmethod(radam)


ROWS = (
    Row(
        adam,
        Adam,
        settings=(
            {"betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},
            {"amsgrad": True, "eps": 1e-2},
            {"maximize": True, "amsgrad": True, "weight_decay": 0.1},
        ),
        checked={"betas": (0.8, 0.95), "eps": 1e-2},
        peer="torch",
    ),
    Row(
        adamw,
        AdamW,
        settings=(
            {"betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},
            {"amsgrad": True, "maximize": True},
        ),
        checked={"betas": (0.8, 0.95), "eps": 1e-2},
        peer="torch",
    ),
    Row(
        adamax,
        Adamax,
        settings=(
            {"betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},
            {"maximize": True, "weight_decay": 0.1},
        ),
        checked={"betas": (0.8, 0.95), "eps": 1e-2},
        peer="torch",
    ),
    Row(
        nadam,
        NAdam,
        settings=(
            {"betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1, "momentum_decay": 0.1},
            {"decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True},
        ),
        checked={"betas": (0.8, 0.95), "eps": 1e-2, "momentum_decay": 0.1},
        peer="torch",
    ),
    Row(
        radam,
        RAdam,
        rate=0.05,
        settings=(
            {"betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},
            {"decoupled_weight_decay": True, "weight_decay": 0.1},
            {"maximize": True, "betas": (0.7, 0.9), "lr": 0.005},
        ),
        checked={"betas": (0.8, 0.95), "eps": 1e-2},
        peer="torch",
    ),
)
