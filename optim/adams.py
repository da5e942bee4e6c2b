"""Adam and its relatives: steps scaled by the size that gradients have had."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, maximum, safe_sqrt, zeros_like

from .optimizer import Optimizer
from .rule import Rule, at_least_zero, below_one, directed, moving_average, per_parameter
from .table import Row

__all__ = ["Adam", "AdamW", "adam", "adamw"]


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
    largest v so far. All real settings may be numbers, Tensors or schedules. At g = v = 0 the
    step's derivative by g is that of the formula with √v held: -lr/ε at the first step.

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
    below_one("adam", betas=betas)

    def start(w: Tensor) -> Moments:
        return Moments(zeros_like(w), zeros_like(w), zeros_like(w) if amsgrad else None)

    def move(
        w: Tensor, g: Tensor, memory: Moments, t: int, lr: Any, betas: Any, eps: Any, decay: Any
    ) -> tuple[Tensor, Moments]:
        beta1, beta2 = betas
        if decoupled_weight_decay:
            g = directed(g, w, maximize)
            w = w * (1.0 - lr * decay)
        else:
            g = directed(g, w, maximize, decay)
        m = moving_average(memory.exp_avg, g, beta1)
        v = moving_average(memory.exp_avg_sq, g * g, beta2)
        largest = None if memory.max_exp_avg_sq is None else maximum(memory.max_exp_avg_sq, v)
        root = safe_sqrt(v if largest is None else largest) / (1.0 - beta2**t) ** 0.5
        return w - lr / (1.0 - beta1**t) * m / (root + eps), Moments(m, v, largest)

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
)
