"""The rule by which a perceptron learns."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor

from .formulas_piecewise import step

__all__ = ["perceptron_rule"]


def perceptron_rule(
    weight: Tensor, bias: Tensor, input: Tensor, target: Tensor, lr: Any = 1.0
) -> tuple[Tensor, Tensor]:
    """What weight and bias become at one sample: w + lr·(t - y)·x and b + lr·(t - y).

    y = 1 if w·x + b > 0 else 0 is what the perceptron says now, so that only a sample that it has
    wrong moves it. ``input``: (n,), ``target``: 0 or 1. Differentiable by all but the step.

    >>> import tapegrad as tg
    >>> w, b, x = tg.zeros(2), tg.zeros(()), tg.tensor([1.0, 2.0])
    >>> tg.nn.functional.perceptron_rule(w, b, x, tg.tensor(1.0))
    (tensor([1., 2.]), tensor(1.))

    Source: Rosenblatt (1958), The perceptron: a probabilistic model for information storage and
    organization in the brain.
    """
    moved = lr * (target - step((weight * input).sum() + bias))
    return weight + moved * input, bias + moved
