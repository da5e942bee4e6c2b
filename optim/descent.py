"""Rules that go down the gradient, with momentum or by its signs."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, zeros_like

from .optimizer import Optimizer
from .rule import Rule, at_least_zero, directed, is_off, per_parameter
from .table import Row

__all__ = ["SGD", "sgd"]


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
    damped = not is_off(dampening) and not isinstance(dampening, Tensor)
    if nesterov and (is_off(momentum) or damped):
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


class SGD(Optimizer):
    """Stochastic gradient descent; settings as in :func:`tapegrad.optim.functional.sgd`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    rule = staticmethod(sgd)


ROWS = (
    Row(
        sgd,
        SGD,
        rate=0.05,
        settings=(
            {"momentum": 0.9},
            {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
            {"weight_decay": 0.1, "maximize": True, "lr": 0.005},
        ),
        peer="torch",
    ),
)
