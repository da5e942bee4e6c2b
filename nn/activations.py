"""Activations as modules."""

from __future__ import annotations

from tapegrad import Tensor, relu, sigmoid, softmax, tanh

from .module import Module

__all__ = ["Identity", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class Identity(Module):
    """The input unchanged.

    >>> import tapegrad as tg
    >>> tg.nn.Identity()(tg.tensor([1.0]))
    tensor([1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input."""
        return input


class ReLU(Module):
    """max(x, 0), with derivative 0 at 0.

    >>> import tapegrad as tg
    >>> tg.nn.ReLU()(tg.tensor([-1.0, 2.0]))
    tensor([0., 2.])

    Source: Nair and Hinton (2010).
    """

    def forward(self, input: Tensor) -> Tensor:
        """max(x, 0)."""
        return relu(input)


class Tanh(Module):
    """tanh x, in (-1, 1), with slope 1 at 0.

    >>> import tapegrad as tg
    >>> tg.nn.Tanh()(tg.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """tanh x."""
        return tanh(input)


class Sigmoid(Module):
    """1/(1 + exp(-x)), in (0, 1), with slope at most 1/4.

    >>> import tapegrad as tg
    >>> tg.nn.Sigmoid()(tg.tensor([0.0]))
    tensor([0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """1/(1 + exp(-x))."""
        return sigmoid(input)


class Softmax(Module):
    """exp(x)/Σ exp(x) along ``dim``: positive and summing to 1.

    >>> import tapegrad as tg
    >>> tg.nn.Softmax(dim=-1)(tg.tensor([0.0, 0.0]))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """The probabilities."""
        return softmax(input, dim=self.dim)

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"
