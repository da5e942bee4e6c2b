"""Measures of quality that have no useful derivative; results are off the tape."""

from __future__ import annotations

from tapegrad import Tensor, argmax, stop_gradient


def accuracy(input: Tensor, target: Tensor) -> Tensor:
    """The share of rows whose largest score is the target class.

    ``input``: scores (N, C); ``target``: class indices (N,).

    >>> import tapegrad as tg
    >>> scores = tg.tensor([[0.1, 0.9], [0.8, 0.2]])
    >>> tg.nn.metrics.accuracy(scores, tg.tensor([1, 1]))
    tensor(0.5000)
    """
    # accuracy is a step function of the scores: its derivative is 0 almost everywhere
    return (argmax(stop_gradient(input), dim=-1) == target).to(input.dtype).mean()
