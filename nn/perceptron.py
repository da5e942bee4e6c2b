"""The perceptron, which learns from its mistakes alone."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, as_tensor, check, isfinite, no_grad, zeros
from tapegrad.errors import ShapeError

from .functional import perceptron_rule, step, step_straight_through
from .module import Module
from .parameter import Parameter

__all__ = ["Perceptron"]


class Perceptron(Module):
    """One neuron with a step: 1 if w·x + b > 0, else 0.

    :meth:`fit` is the classic rule, which separates whatever a straight line (a hyperplane) can.
    w (in_features,) and b start as 0. ``straight_through``: the step passes gradients on as if it
    were the identity, so that optimizers can train it, too.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> tg.nn.Perceptron(2).fit(x, tg.tensor([0.0, 0.0, 0.0, 1.0]))(x).tolist()  # and
    [0.0, 0.0, 0.0, 1.0]
    >>> wrong = tg.nn.Perceptron(2).fit(x, tg.tensor([0.0, 1.0, 1.0, 0.0])).mistakes  # xor
    >>> min(wrong) > 0
    True

    Source: Rosenblatt (1958), The perceptron: a probabilistic model for information storage and
    organization in the brain; for what it cannot do, Minsky and Papert (1969), Perceptrons; for
    the straight-through step, Bengio, Léonard and Courville (2013), Estimating or propagating
    gradients through stochastic neurons for conditional computation.
    """

    def __init__(
        self,
        in_features: int,
        straight_through: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features, self.straight_through = in_features, straight_through
        self.weight = Parameter(zeros(in_features, device=device, dtype=dtype))
        self.bias = Parameter(zeros((), device=device, dtype=dtype))
        #: Of the last :meth:`fit`: how many mistakes each pass through the samples made.
        self.mistakes: list[int] = []

    def reset_parameters(self) -> None:
        """Set w and b to 0, where the rule starts."""
        with no_grad():
            self.weight.zero_()
            self.bias.zero_()

    def forward(self, input: Tensor) -> Tensor:
        """The steps of (..., in_features): shape (...)."""
        if not input.ndim or input.shape[-1] != self.in_features:
            raise ShapeError(
                f"Perceptron: input of shape {input.shape} must end in {self.in_features} features"
            )
        above = input @ self.weight + self.bias
        return step_straight_through(above) if self.straight_through else step(above)

    def fit(self, input: Any, target: Any, lr: Any = 1.0, epochs: int = 100) -> Perceptron:
        """Go through the samples until none is wrong; returns self.

        Each step is :func:`tapegrad.nn.functional.perceptron_rule`. ``input``: (N, in_features),
        ``target``: (N,) of zeros and ones, as tensors, arrays or lists. At most ``epochs`` passes,
        since samples that no hyperplane separates never end; ``mistakes`` has one count for each.
        If one does separate them by γ and none is longer than R (each with a 1 for b at its end),
        there are at most (R/γ)² mistakes in all: Novikoff (1962), On convergence proofs on
        perceptrons. Nothing is recorded.

        Raises ValueError for other targets or shapes, and for inputs that are not finite; weights
        are left alone then.
        """
        input, target = as_tensor(input), as_tensor(target)
        if input.ndim != 2 or input.shape[1] != self.in_features:
            raise ShapeError(
                f"Perceptron.fit: input must be (N, {self.in_features}), but has shape "
                f"{input.shape}"
            )
        if target.shape != input.shape[:1]:
            raise ShapeError(
                f"Perceptron.fit: target must be (N,) = {input.shape[:1]}, but has shape "
                f"{target.shape}"
            )
        check((target == 0) | (target == 1), "Perceptron.fit: targets must be 0 or 1")
        check(isfinite(input), "Perceptron.fit: inputs must be finite")
        self.mistakes = []
        with no_grad():
            target = target.to(self.weight.dtype)
            for _ in range(epochs):
                wrong = 0
                for x, t in zip(input, target, strict=True):
                    wrong += int(self(x) != t)
                    weight, bias = perceptron_rule(self.weight, self.bias, x, t, lr)
                    self.weight.copy_(weight)
                    self.bias.copy_(bias)
                self.mistakes.append(wrong)
                if not wrong:
                    break
        return self

    def extra_repr(self) -> str:
        """The settings."""
        return f"in_features={self.in_features}, straight_through={self.straight_through}"
