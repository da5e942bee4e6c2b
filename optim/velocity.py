"""Momentum as Keras writes it: the learning rate inside the velocity."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, zeros_like

from .optimizer import Optimizer
from .rule import Rule, at_least_zero, is_off, must_be, per_parameter
from .table import Row

__all__ = ["KerasSGD", "kerassgd"]


class Velocity(NamedTuple):
    """The last step, which the next one continues."""

    velocity: Tensor | None = None


def kerassgd(
    lr: Any = 0.01,
    momentum: Any = 0.0,
    nesterov: bool = False,
    weight_decay: Any = 0.0,
) -> Rule:
    """Gradient descent as keras.optimizers.SGD: v ← μ·v - lr·g, w ← w + v.

    :func:`sgd` has lr outside the velocity, as torch: the steps are the same while the rate is
    constant. Here a change of the rate acts on new gradients alone, and steps already under way go
    on at their size. ``nesterov`` moves by μ·v - lr·g with the new v. ``weight_decay`` λ is
    decoupled: w ← (1 - lr·λ)·w first (in :func:`sgd` it adds to the gradient). Without momentum
    (``momentum`` is the number 0) no velocity is kept, and ``nesterov`` changes nothing. All real
    settings may be numbers, Tensors or schedules. The step is linear in g: at g = 0 its derivative
    is as everywhere, -lr, with ``nesterov`` -lr·(1 + μ).

    Raises ValueError for a negative setting, or a momentum above 1.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.kerassgd(lr=0.5, momentum=0.5)
    >>> params, state = [tg.tensor(1.0)], rule.init([tg.tensor(1.0)])
    >>> for _ in range(2):
    ...     params, state = rule.update(params, [tg.tensor(0.4)], state)
    >>> params
    [tensor(0.5000)]

    Source: Polyak (1964), Some methods of speeding up the convergence of iteration methods;
    Sutskever et al. (2013), On the importance of initialization and momentum in deep learning.
    """
    at_least_zero("kerassgd", lr=lr, momentum=momentum, weight_decay=weight_decay)
    must_be("kerassgd", "at most 1", lambda mu: mu <= 1, momentum=momentum)
    remembers = not is_off(momentum)

    def start(w: Tensor) -> Velocity:
        return Velocity(zeros_like(w) if remembers else None)

    def move(
        w: Tensor, g: Tensor, memory: Velocity, t: int, lr: Any, mu: Any, decay: Any
    ) -> tuple[Tensor, Velocity]:
        w = w if is_off(decay) else w * (1.0 - lr * decay)
        if not remembers:
            return w - lr * g, memory
        v = memory.velocity
        v = -lr * g if v is None else v * mu - lr * g
        return w + (v * mu - lr * g if nesterov else v), Velocity(v)

    return per_parameter(start, move, lr=lr, mu=momentum, decay=weight_decay)


class KerasSGD(Optimizer):
    """Gradient descent as Keras writes it; settings as :func:`tapegrad.optim.functional.kerassgd`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.KerasSGD([w], learning_rate=0.1, momentum=0.9)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    rule = staticmethod(kerassgd)


ROWS = (
    Row(
        kerassgd,
        KerasSGD,
        settings=(
            {"momentum": 0.9, "weight_decay": 0.1},
            {"momentum": 0.9, "nesterov": True},
        ),
        rate=0.05,
    ),
)
