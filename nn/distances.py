"""Similarity and distance of pairs as modules."""

from __future__ import annotations

from tapegrad import Tensor, cosine_similarity, pairwise_distance

from .module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along ``dim``; 0 for a zero vector.

    >>> import tapegrad as tg
    >>> tg.nn.CosineSimilarity()(tg.tensor([[3.0, 3.0]]), tg.tensor([[1.0, 1.0]]))
    tensor([1.])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The similarities."""
        return cosine_similarity(x1, x2, self.dim, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return f"dim={self.dim}, eps={self.eps}"


class PairwiseDistance(Module):
    """The p-norm ‖x1 - x2 + eps‖ over the last dimension.

    >>> import tapegrad as tg
    >>> tg.nn.PairwiseDistance(p=1.0)(tg.tensor([[3.0, 4.0]]), tg.zeros(1, 2))
    tensor([7.0000])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The distances."""
        return pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.norm}, eps={self.eps}, keepdim={self.keepdim}"
