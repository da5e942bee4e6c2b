"""Whether the scores of what is of a class are above those of what is not: by scikit-learn."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, as_tensor, softmax

from .arranging import last_classes, operands, zeros_and_ones
from .streaming import Row, Statistics, joined

__all__ = ["average_precision", "roc_auc"]


def _scikit_learn(what: str) -> Any:
    try:
        import sklearn.metrics
    except ImportError as error:
        raise ImportError(
            f"{what} is reckoned by scikit-learn: pip install 'tapegrad[sklearn]'"
        ) from error
    return sklearn.metrics


def _scored(
    input: Any, target: Any, from_logits: bool = False, dim: int | None = None
) -> Statistics:
    what = "roc_auc and average_precision"
    input, target = operands(what, input, target)
    if input.shape == target.shape:
        labels = zeros_and_ones(what, target)
        scores = input.double()  # logits are in the order of their probabilities, and not rounded
        if input.ndim < 2:
            return {"of": "two classes", "input": scores.reshape(-1), "target": labels.reshape(-1)}
        width = input.shape[-1]
        scores, labels = scores.reshape(-1, width), labels.reshape(-1, width)
        return {"of": "several labels at once", "input": scores, "target": labels}
    scores, labels = last_classes(what, input, target, dim, None)
    scores = scores.double()
    if scores.shape[-1] == 2:
        score = scores[:, 1] - scores[:, 0] if from_logits else scores[:, 1]
        return {"of": "two classes", "input": score, "target": labels}
    scores = softmax(scores, dim=-1) if from_logits else scores
    return {"of": "classes", "input": scores, "target": labels}


def _arrays(what: str, statistics: Statistics) -> tuple[Any, Any]:
    if 0 in statistics["input"].shape:
        raise ValueError(f"{what}: there are no samples")
    return statistics["target"].numpy(), statistics["input"].numpy()


def _roc_auc(
    statistics: Statistics, average: str | None = "macro", multi_class: str = "ovr"
) -> Tensor:
    target, scores = _arrays("roc_auc", statistics)
    settings: dict[str, Any] = {"average": average}
    if statistics["of"] == "classes":
        settings |= {"multi_class": multi_class, "labels": range(scores.shape[-1])}
        settings["labels"] = list(settings["labels"])
    return as_tensor(
        _scikit_learn("roc_auc").roc_auc_score(target, scores, **settings), dtype="float64"
    )


def roc_auc(
    input: Any,
    target: Any,
    *,
    average: str | None = "macro",
    multi_class: str = "ovr",
    from_logits: bool = False,
    dim: int | None = None,
) -> Tensor:
    """The area under the ROC curve: how likely a 1 scores higher than a 0 (ties count half).

    ``input`` and ``target``: scores (N,) and labels 0 and 1; scores (N, L) and zeros and ones of
    the same shape, for several labels at once; or probabilities (N, C) and class indices (N,),
    each class against the rest (``multi_class="ovr"``) or each pair ("ovo"). ``average``: "macro",
    "micro", "weighted" or None, over labels or classes. ``from_logits``: probabilities are made of
    logits first, which only matters for classes.

    Reckoned by scikit-learn's ``roc_auc_score``: NaN, with a warning, where only one class occurs.
    Over batches all scores are kept. Raises ValueError for no samples, shapes that do not fit and
    rows that are no probabilities; ImportError naming the extra to install.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.roc_auc(tg.tensor([0.1, 0.4, 0.35, 0.8]), tg.tensor([0, 0, 1, 1])).item()
    0.75

    Source: Hanley and McNeil (1982), The meaning and use of the area under a receiver operating
    characteristic (ROC) curve.
    """
    return _roc_auc(_scored(input, target, from_logits, dim), average, multi_class)


def _average_precision(statistics: Statistics, average: str | None = "macro") -> Tensor:
    target, scores = _arrays("average_precision", statistics)
    if statistics["of"] == "classes":
        target = target[:, None] == [list(range(scores.shape[-1]))]
    value = _scikit_learn("average_precision").average_precision_score(
        target, scores, average=average
    )
    return as_tensor(value, dtype="float64")


def average_precision(
    input: Any,
    target: Any,
    *,
    average: str | None = "macro",
    from_logits: bool = False,
    dim: int | None = None,
) -> Tensor:
    """The area under the curve of precision over recall, Σ (rₙ - rₙ₋₁)·pₙ.

    Operands, settings and errors as in :func:`roc_auc`; classes are each looked for by themselves.
    Reckoned by scikit-learn's ``average_precision_score``: 0, with a warning, where no 1 occurs.

    >>> import tapegrad as tg
    >>> scores, labels = tg.tensor([0.1, 0.4, 0.35, 0.8]), tg.tensor([0, 0, 1, 1])
    >>> tg.nn.metrics.average_precision(scores, labels).item()
    0.833...
    """
    return _average_precision(_scored(input, target, from_logits, dim), average)


ROWS = (
    Row(
        roc_auc,
        _scored,
        _roc_auc,
        ("auc", "roc_auc_score"),
        merge=joined,
        peer="roc_auc_score",
        settings=tuple({"average": a} for a in ("weighted", None)),
    ),
    Row(
        average_precision,
        _scored,
        _average_precision,
        ("ap", "average_precision_score", "pr_auc"),
        merge=joined,
        peer="average_precision_score",
        settings=tuple({"average": a} for a in ("weighted", None)),
    ),
)
