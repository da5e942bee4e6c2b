"""Rules that go by the sign of the gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, sign, zeros_like

from .optimizer import Optimizer
from .rule import Rule, at_least_zero, below_one, moving_average, per_parameter, so_many
from .table import Row

__all__ = ["Lion", "lion"]


class Mean(NamedTuple):
    """The moving average of the gradient."""

    exp_avg: Tensor


def lion(
    lr: Any = 1e-4,
    betas: tuple[Any, Any] = (0.9, 0.99),
    weight_decay: Any = 0.0,
) -> Rule:
    """Lion: w ← w - lr·(sign(β₁m + (1-β₁)g) + λ·w), then m ← β₂m + (1-β₂)g.

    All real settings may be numbers, Tensors or schedules; ``weight_decay`` is λ. Every entry moves
    by lr, so a tenth to a third of AdamW's rate is usual, with three to ten times its λ.

    The derivative of a sign is 0, at 0 as well: the step depends on the gradient and on the betas
    by jumps alone, and its derivatives by them are 0 everywhere; those by lr and λ are the step's
    own.

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.lion(lr=0.1)
    >>> params = [tg.tensor([1.0, 2.0])]
    >>> rule.update(params, [tg.tensor([5.0, -0.01])], rule.init(params))[0]
    [tensor([0.9000, 2.1000])]

    Source: Chen et al. (2023), Symbolic discovery of optimization algorithms.
    """
    at_least_zero("lion", lr=lr, weight_decay=weight_decay)
    so_many("lion", 2, betas=betas)
    below_one("lion", betas=betas)

    def start(w: Tensor) -> Mean:
        return Mean(zeros_like(w))

    def move(
        w: Tensor, g: Tensor, memory: Mean, t: int, lr: Any, betas: Any, decay: Any
    ) -> tuple[Tensor, Mean]:
        direction = sign(moving_average(memory.exp_avg, g, betas[0]))
        mean = moving_average(memory.exp_avg, g, betas[1])
        return w - lr * (direction + decay * w), Mean(mean)

    return per_parameter(start, move, lr=lr, betas=betas, decay=weight_decay)


class Lion(Optimizer):
    """Lion; settings as in :func:`tapegrad.optim.functional.lion`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Lion([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(lion)


ROWS = (
    Row(
        lion,
        Lion,
        settings=(
            {"weight_decay": 0.1},
            {"betas": (0.5, 0.8), "weight_decay": 0.3},
        ),
        checked={"betas": (0.8, 0.95)},
    ),
)
