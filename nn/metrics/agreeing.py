"""Precision, recall and what else is counted from predicted and actual classes."""

from __future__ import annotations

import warnings
from typing import Any

from tapegrad import Tensor, as_tensor, bincount, isnan, nan, tensor, where

from .arranging import (
    decided,
    in_range,
    last_classes,
    not_empty,
    operands,
    top,
    whole,
    zeros_and_ones,
)
from .streaming import Row, Statistics

__all__ = ["confusion_matrix", "f1", "precision", "recall"]

_AVERAGES = ("binary", "macro", "micro", "weighted", None)


def _classes(
    what: str,
    input: Any,
    target: Any,
    threshold: float,
    from_logits: bool,
    dim: int | None,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor, int]:
    """Predicted and actual classes (n,), and of how many classes the scores are (0: unknown);
    or, for several labels at once, booleans (n, L) and -1."""
    input, target = operands(what, input, target)
    if input.shape != target.shape:
        scores, actual = last_classes(what, input, target, dim, ignore_index)
        return top(scores), actual, scores.shape[-1]
    if input.dtype.kind == "i" or input.dtype.kind == "u":
        predicted, actual = input.reshape(-1).long(), whole(what, target).reshape(-1)
        if ignore_index is not None:
            counts = actual != ignore_index
            predicted, actual = predicted[counts], actual[counts]
        for indices in (predicted, actual):
            in_range(what, indices)
        return predicted, actual, 0
    predicted = decided(what, input, threshold, from_logits) if input.dtype.kind == "f" else input
    actual = zeros_and_ones(what, target)
    if input.ndim < 2:
        return predicted.reshape(-1).long(), actual.reshape(-1), 2
    labels = input.shape[-1]
    return predicted.reshape(-1, labels), (actual == 1).reshape(-1, labels), -1


def _counts(
    input: Any,
    target: Any,
    threshold: float = 0.5,
    from_logits: bool = False,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Statistics:
    """For each class how often it was predicted rightly, predicted, and there."""
    predicted, actual, classes = _classes(
        "precision, recall and f1", input, target, threshold, from_logits, dim, ignore_index
    )
    if classes < 0:
        both = predicted & actual
        counts = [v.double().sum(dim=0) for v in (both, predicted, actual)]
    else:
        least = classes
        for v in (predicted, actual):
            least = max(least, len(bincount(v)))
        found = (actual[predicted == actual], predicted, actual)
        counts = [bincount(v, minlength=least).double() for v in found]
    kind = "several labels at once" if classes < 0 else "classes"
    count = tensor(len(actual)).double()
    return {"labels": kind, "count": count, **dict(zip(("right", "predicted", "actual"), counts))}


def _averaged(
    what: str,
    statistics: Statistics,
    average: str | None,
    zero_division: Any,
    parts: Any,
) -> Tensor:
    """A quotient of counts, for each class or as their average.

    ``parts``: makes numerator and denominator of (right, predicted, actual).
    """
    if average not in _AVERAGES:
        raise ValueError(f"{what}: average is one of {_AVERAGES}, not {average!r}")
    not_empty(what, statistics["count"])
    right, predicted, actual = (statistics[k] for k in ("right", "predicted", "actual"))
    several = statistics["labels"] != "classes"
    if average == "binary":
        if several or len(right) > 2:
            kind = f"{len(right)} {'labels at once' if several else 'classes'}"
            raise ValueError(
                f'{what}: average="binary" is for two classes, of which 1 is looked for, and here '
                f'are {kind}: say average="macro", "micro", "weighted" or None'
            )
        if len(right) < 2:  # integers, and none of them a 1
            right = predicted = actual = as_tensor([0.0], dtype="float64")
        right, predicted, actual = right[-1:], predicted[-1:], actual[-1:]
    elif average == "micro":
        right, predicted, actual = (v.sum().reshape(1) for v in (right, predicted, actual))
    above, below = parts(right, predicted, actual)
    empty = below == 0
    if zero_division == "warn" and empty.any() and average != "macro" and average != "weighted":
        _warn(what)
    rest = 0.0 if zero_division == "warn" else zero_division
    value = where(empty, rest, above / where(empty, 1.0, below))
    if average is None:
        return value  # type: ignore[no-any-return]
    if average in ("binary", "micro"):
        return value[0]
    # a class that neither occurs nor is predicted has no share in an average
    there = (predicted + actual > 0) if not several else (actual >= 0)
    if zero_division == "warn" and (empty & there).any():
        _warn(what)
    there = there & ~isnan(value)
    weight = where(there, actual if average == "weighted" else 1.0, 0.0)
    if not weight.sum():  # as scikit-learn: then all count the same
        weight = there.double()
    if not weight.sum():
        return as_tensor(nan, dtype="float64")
    return (where(there, value, 0.0) * weight).sum() / weight.sum()  # type: ignore[no-any-return]


def _warn(what: str) -> None:
    warnings.warn(
        f"{what} is 0/0 for a class that "
        f"{'is never predicted' if what == 'precision' else 'never occurs'}"
        f"{' or predicted' if what == 'f1' else ''}, and taken to be 0: zero_division= says what "
        "else, and silences this",
        stacklevel=5,
    )


def _precision(
    statistics: Statistics, average: str | None = "binary", zero_division: Any = "warn"
) -> Tensor:
    return _averaged(
        "precision", statistics, average, zero_division, lambda right, said, there: (right, said)
    )


def _recall(
    statistics: Statistics, average: str | None = "binary", zero_division: Any = "warn"
) -> Tensor:
    return _averaged(
        "recall", statistics, average, zero_division, lambda right, said, there: (right, there)
    )


def _f1(
    statistics: Statistics, average: str | None = "binary", zero_division: Any = "warn"
) -> Tensor:
    return _averaged(
        "f1", statistics, average, zero_division, lambda r, said, there: (2.0 * r, said + there)
    )


def precision(
    input: Any,
    target: Any,
    *,
    average: str | None = "binary",
    zero_division: Any = "warn",
    threshold: float = 0.5,
    from_logits: bool = False,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The share of what was predicted to be a class that is of it: tp / (tp + fp).

    ``input`` and ``target``: probabilities (N,) and labels 0 and 1; scores (N, C) and class
    indices (N,); integers, the classes predicted, and class indices; or probabilities (or
    booleans) (N, L) and zeros and ones of the same shape, for several labels at once.
    Probabilities are above ``threshold`` or not (``from_logits``: logits are given); of scores the
    largest counts. ``dim`` and ``ignore_index`` as in :func:`sparse_categorical_accuracy`.

    ``average``: "binary" (class 1 of two), "macro" (the mean over classes that occur or are
    predicted), "weighted" (by how often they occur), "micro" (all counted together) or None (one
    number for each class). ``zero_division``: what 0/0 is, 0, 1 or NaN (left out of averages), or
    "warn": 0, with a warning. As scikit-learn's.

    Raises ValueError for shapes that do not fit, labels out of range, an unknown average, and
    "binary" with more than two classes.

    >>> import tapegrad as tg
    >>> probabilities, labels = tg.tensor([0.9, 0.8, 0.7, 0.1]), tg.tensor([1, 0, 1, 1])
    >>> tg.nn.metrics.precision(probabilities, labels).item()
    0.666...

    Source: van Rijsbergen (1979), Information Retrieval.
    """
    return _precision(
        _counts(input, target, threshold, from_logits, dim, ignore_index), average, zero_division
    )


def recall(
    input: Any,
    target: Any,
    *,
    average: str | None = "binary",
    zero_division: Any = "warn",
    threshold: float = 0.5,
    from_logits: bool = False,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The share of what is of a class that was predicted to be: tp / (tp + fn).

    Operands, settings and errors as in :func:`precision`.

    >>> import tapegrad as tg
    >>> probabilities, labels = tg.tensor([0.9, 0.8, 0.7, 0.1]), tg.tensor([1, 0, 1, 1])
    >>> tg.nn.metrics.recall(probabilities, labels).item()
    0.666...

    Source: van Rijsbergen (1979), Information Retrieval.
    """
    return _recall(
        _counts(input, target, threshold, from_logits, dim, ignore_index), average, zero_division
    )


def f1(
    input: Any,
    target: Any,
    *,
    average: str | None = "binary",
    zero_division: Any = "warn",
    threshold: float = 0.5,
    from_logits: bool = False,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn).

    Operands, settings and errors as in :func:`precision`.

    >>> import tapegrad as tg
    >>> scores = tg.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.5]])
    >>> tg.nn.metrics.f1(scores, tg.tensor([0, 1, 2]), average=None, zero_division=0).tolist()
    [0.666..., 1.0, 0.0]

    Source: van Rijsbergen (1979), Information Retrieval.
    """
    return _f1(
        _counts(input, target, threshold, from_logits, dim, ignore_index), average, zero_division
    )


def _pairs(
    input: Any,
    target: Any,
    threshold: float = 0.5,
    from_logits: bool = False,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Statistics:
    what = "confusion_matrix"
    predicted, actual, classes = _classes(
        what, input, target, threshold, from_logits, dim, ignore_index
    )
    if classes < 0:
        raise ValueError(
            f"{what}: with several labels at once there is a matrix for each label: give it one "
            "column at a time"
        )
    for v in (predicted, actual):
        classes = max(classes, len(bincount(v)))
    counts = bincount(actual * classes + predicted, minlength=classes * classes)
    return {"matrix": counts.reshape(classes, classes).double()}


def _matrix(statistics: Statistics, normalize: str | None = None) -> Tensor:
    matrix: Tensor = statistics["matrix"]
    not_empty("confusion_matrix", matrix.sum())
    sums = {"true": (1,), "pred": (0,), "all": (0, 1)}
    if normalize is None:
        return matrix.long()
    if normalize not in sums:
        raise ValueError(
            f'confusion_matrix: normalize is "true", "pred", "all" or None, not {normalize!r}'
        )
    total = matrix.sum(dim=sums[normalize], keepdim=True)
    return matrix / where(total == 0, 1.0, total)  # type: ignore[no-any-return]


def confusion_matrix(
    input: Any,
    target: Any,
    *,
    normalize: str | None = None,
    threshold: float = 0.5,
    from_logits: bool = False,
    dim: int | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """How often class i (rows) was predicted to be class j (columns): integers (C, C).

    Operands as in :func:`precision`; C is the number of scores, of integers the largest plus 1.
    ``normalize``: divide by the sums of the rows ("true"), of the columns ("pred") or of all
    ("all"); a row or column of zeros stays one. As scikit-learn's.

    Raises ValueError as :func:`precision`, and for several labels at once.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.confusion_matrix(tg.tensor([0, 1, 1]), tg.tensor([0, 1, 0]))
    tensor([[1, 1],
            [0, 1]])
    """
    return _matrix(_pairs(input, target, threshold, from_logits, dim, ignore_index), normalize)


_TRIED = tuple({"average": a, "zero_division": z} for a in _AVERAGES[1:] for z in (0.0, 1.0, nan))

ROWS = (
    Row(
        precision,
        _counts,
        _precision,
        ("precision_score",),
        peer="precision_score",
        settings=_TRIED,
    ),
    Row(recall, _counts, _recall, ("recall_score",), peer="recall_score", settings=_TRIED),
    Row(f1, _counts, _f1, ("f1_score",), peer="f1_score", settings=_TRIED),
    Row(
        confusion_matrix,
        _pairs,
        _matrix,
        better="",
        peer="confusion_matrix",
        settings=tuple({"normalize": n} for n in ("true", "pred", "all")),
    ),
)
