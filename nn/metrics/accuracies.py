"""The share of samples that are right."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, isnan, tensor

from .arranging import (
    decided,
    last_classes,
    not_empty,
    operands,
    same_shape,
    top,
    whole,
    zeros_and_ones,
)
from .streaming import Row, Statistics

__all__ = [
    "accuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "top_k_accuracy",
]


def _share_of(right: Tensor) -> Statistics:
    return {"right": right.double().sum(), "count": tensor(right.numel()).double()}


def share(statistics: Statistics) -> Tensor:
    """The right ones of all; ValueError when there are none."""
    not_empty("accuracy", statistics["count"])
    return statistics["right"] / statistics["count"]


def _binary(
    input: Any, target: Any, threshold: float = 0.5, from_logits: bool = False
) -> Statistics:
    what = "binary_accuracy"
    input, target = operands(what, input, target)
    same_shape(what, input, target)
    predicted = decided(what, input, threshold, from_logits) if input.dtype.kind == "f" else input
    return _share_of(predicted == zeros_and_ones(what, target))


def binary_accuracy(
    input: Any, target: Any, *, threshold: float = 0.5, from_logits: bool = False
) -> Tensor:
    """The share of labels 0 and 1 that are on the right side of the threshold.

    ``input``: probabilities, or with ``from_logits`` logits, of any shape (or integers and
    booleans: the labels predicted); ``target``: 0 and 1, of the same shape, every one of which
    counts. A probability equal to the threshold is a 0. A threshold that is not between 0 and 1 is
    for scores of another kind.

    Raises ValueError for shapes that differ, other targets, no samples, and numbers that are no
    probabilities without ``from_logits``.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.binary_accuracy(tg.tensor([0.9, 0.2, 0.6]), tg.tensor([1, 0, 0])).item()
    0.666...
    """
    return share(_binary(input, target, threshold, from_logits))


def _categorical(input: Any, target: Any, dim: int = -1) -> Statistics:
    what = "categorical_accuracy"
    input, target = operands(what, input, target)
    same_shape(what, input, target)
    return _share_of(top(input, dim) == top(target, dim))


def categorical_accuracy(input: Any, target: Any, *, dim: int = -1) -> Tensor:
    """The share of rows whose largest score is where the target is largest.

    ``input``: scores (probabilities or logits); ``target``: one-hot rows or distributions of the
    same shape; ``dim``: the dimension of the classes. Of equal scores the first counts.

    >>> import tapegrad as tg
    >>> scores = tg.tensor([[0.1, 0.9], [0.8, 0.2]])
    >>> tg.nn.metrics.categorical_accuracy(scores, tg.tensor([[0.0, 1.0], [0.0, 1.0]])).item()
    0.5
    """
    return share(_categorical(input, target, dim))


def _sparse(
    input: Any, target: Any, dim: int | None = None, ignore_index: int | None = None
) -> Statistics:
    what = "sparse_categorical_accuracy"
    scores, indices = last_classes(what, *operands(what, input, target), dim, ignore_index)
    return _share_of(top(scores) == indices)


def sparse_categorical_accuracy(
    input: Any, target: Any, *, dim: int | None = None, ignore_index: int | None = None
) -> Tensor:
    """The share of rows whose largest score is that of the target class.

    ``input``: scores (N, C), (N, C, d₁, …) as PyTorch's losses take them or (N, d₁, …, C);
    ``target``: class indices in the shape that is left without C. ``dim``: which dimension the
    classes are, where the shapes do not tell. Positions with the target ``ignore_index`` do not
    count. Of equal scores the first counts.

    >>> import tapegrad as tg
    >>> scores = tg.tensor([[0.1, 0.9], [0.8, 0.2]])
    >>> tg.nn.metrics.sparse_categorical_accuracy(scores, tg.tensor([1, 1])).item()
    0.5
    """
    return share(_sparse(input, target, dim, ignore_index))


def _right(
    input: Any,
    target: Any,
    threshold: float = 0.5,
    from_logits: bool = False,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Statistics:
    input, target = operands("accuracy", input, target)
    if input.shape != target.shape:
        return _sparse(input, target, dim, ignore_index)
    if input.dtype.kind != "f":  # the classes predicted
        counts = whole("accuracy", target)
        right = input == counts
        return _share_of(right if ignore_index is None else right[counts != ignore_index])
    if input.ndim < 2:
        return _binary(input, target, threshold, from_logits)
    return _categorical(input, target, -1 if dim is None else dim)


def accuracy(
    input: Any,
    target: Any,
    *,
    threshold: float = 0.5,
    from_logits: bool = False,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The share of samples that are right; of what kind they are the shapes tell, as in Keras.

    Scores (N, C) with class indices (N,) are :func:`sparse_categorical_accuracy`; with targets of
    the same shape :func:`categorical_accuracy`; probabilities (N,) or (N, 1) with labels 0 and 1
    :func:`binary_accuracy`, for which ``threshold`` and ``from_logits`` are. Integers as ``input``
    are the classes predicted.

    Raises ValueError for shapes that do not fit, labels out of range, and no samples.

    >>> import tapegrad as tg
    >>> scores = tg.tensor([[0.1, 0.9], [0.8, 0.2]])
    >>> tg.nn.metrics.accuracy(scores, tg.tensor([1, 1]))
    tensor(0.5000, dtype=float64)
    >>> tg.nn.metrics.accuracy(tg.tensor([3.0, -1.0]), tg.tensor([1, 0]), from_logits=True)
    tensor(1., dtype=float64)
    """
    return share(_right(input, target, threshold, from_logits, dim, ignore_index))


def _among_top(
    input: Any,
    target: Any,
    k: int = 5,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Statistics:
    what = "top_k_accuracy"
    if k < 1:
        raise ValueError(f"{what}: k must be at least 1, not {k}")
    input, target = operands(what, input, target)
    if input.shape == target.shape and input.ndim > 1:  # one-hot rows
        dim = -1 if dim is None else dim
        target = top(target, dim)
    scores, indices = last_classes(what, input, target, dim, ignore_index)
    own = scores.gather(1, indices.unsqueeze(1))
    higher = (scores > own).sum(dim=1)
    return _share_of((higher < k) & ~isnan(own).squeeze(1))


def top_k_accuracy(
    input: Any,
    target: Any,
    k: int = 5,
    *,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The share of rows where fewer than ``k`` classes score higher than the target class.

    ``input``: scores as in :func:`sparse_categorical_accuracy`; ``target``: class indices, or
    one-hot rows of the same shape. Classes that score the same as the target's do not count
    against it, as in Keras (scikit-learn takes the later ones for higher).

    >>> import tapegrad as tg
    >>> scores = tg.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    >>> tg.nn.metrics.top_k_accuracy(scores, tg.tensor([1, 0]), k=2).item()
    0.5
    """
    return share(_among_top(input, target, k, dim, ignore_index))


ROWS = (
    Row(accuracy, _right, share, ("acc",), peer="accuracy_score"),
    Row(
        binary_accuracy,
        _binary,
        share,
        takes="binary",
        peer="accuracy_score",
        settings=({"threshold": 0.3},),
    ),
    Row(categorical_accuracy, _categorical, share, takes="one-hot", peer="accuracy_score"),
    Row(sparse_categorical_accuracy, _sparse, share, takes="classes", peer="accuracy_score"),
    Row(
        top_k_accuracy,
        _among_top,
        share,
        (
            "top_k_accuracy_score",
            "top_k_categorical_accuracy",
            "sparse_top_k_categorical_accuracy",
        ),
        takes="classes",
        peer="top_k_accuracy_score",
        settings=({"k": 2},),
    ),
)
