"""How surprised a model is by what came."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, log_softmax, tensor

from .arranging import last_classes, not_empty, operands
from .streaming import Row, Statistics

__all__ = ["perplexity"]


def _surprise(
    input: Any,
    target: Any,
    from_logits: bool = True,
    dim: int | None = None,
    ignore_index: int | None = -100,
) -> Statistics:
    what = "perplexity"
    scores, indices = last_classes(what, *operands(what, input, target), dim, ignore_index)
    scores = scores.double()
    logs = log_softmax(scores, dim=-1) if from_logits else scores.log()
    own = logs.gather(1, indices.unsqueeze(1))
    return {"total": -own.sum(), "count": tensor(len(indices)).double()}


def _exponential(statistics: Statistics) -> Tensor:
    not_empty("perplexity", statistics["count"])
    return (statistics["total"] / statistics["count"]).exp()


def perplexity(
    input: Any,
    target: Any,
    *,
    from_logits: bool = True,
    dim: int | None = None,
    ignore_index: int | None = -100,
) -> Tensor:
    """exp of the mean of -log p(target): among how many equally likely ones the model chooses.

    ``input``: logits (or probabilities, ``from_logits=False``) (N, C), (N, T, C), or (N, C, T) as
    PyTorch's losses take them; ``target``: class indices in the shape that is left without C, of
    which those equal to ``ignore_index`` do not count. ``dim``: which dimension the classes are,
    where the shapes do not tell. A target with probability 0 makes it infinite.

    Raises ValueError for shapes that do not fit, labels out of range, and when nothing counts.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.perplexity(tg.zeros(5, 8), tg.tensor([0, 1, 2, 3, 4]))
    tensor(8.0000, dtype=float64)

    Source: Jelinek et al. (1977), Perplexity: a measure of the difficulty of speech recognition
    tasks.
    """
    return _exponential(_surprise(input, target, from_logits, dim, ignore_index))


ROWS = (Row(perplexity, _surprise, _exponential, better="min", takes="classes"),)
