"""Rules that go down the gradient, with momentum or by its signs."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, zeros_like

from .rule import Rule, at_least_zero, directed, is_off, per_parameter

__all__ = ["sgd"]


class Momentum(NamedTuple):
    """A velocity: the decaying sum of gradients."""

    momentum_buffer: Tensor


def sgd(
    lr: Any = 1e-3,
    momentum: Any = 0.0,
    dampening: Any = 0.0,
    weight_decay: Any = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
) -> Rule:
    """Gradient descent: v ← μ·v + (1-τ)·(g + λ·w), w ← w - lr·v, as torch.optim.SGD.

    ``lr``, ``momentum`` μ, ``dampening`` τ, ``weight_decay`` λ: numbers, Tensors or schedules. The
    first velocity is the gradient itself. ``nesterov`` steps along g + μ·v. Without momentum
    (``momentum`` is the number 0) no velocity is kept.

    Raises ValueError for a negative setting, or ``nesterov`` without momentum or with dampening.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.sgd(lr=0.5)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(0.4)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.8000)

    Source: Robbins and Monro (1951), A stochastic approximation method; Polyak (1964); Sutskever et
    al. (2013), On the importance of initialization and momentum in deep learning.
    """
    at_least_zero("sgd", lr=lr, momentum=momentum, weight_decay=weight_decay)
    if nesterov and (is_off(momentum) or not is_off(dampening)):
        raise ValueError("sgd: nesterov=True needs a momentum and no dampening")
    remembers = not is_off(momentum)

    def start(w: Tensor) -> Any:
        return Momentum(zeros_like(w)) if remembers else ()

    def move(
        w: Tensor, g: Tensor, memory: Any, t: int, lr: Any, mu: Any, tau: Any, decay: Any
    ) -> tuple[Tensor, Any]:
        g = directed(g, w, maximize, decay)
        if not remembers:
            return w - lr * g, memory
        v = g if t == 1 else memory.momentum_buffer * mu + g * (1.0 - tau)
        return w - lr * (g + v * mu if nesterov else v), Momentum(v)

    return per_parameter(start, move, lr=lr, mu=momentum, tau=dampening, decay=weight_decay)
