"""Losses that ask for a margin: of scores against labels, of classes, and of embeddings."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    abs,
    arange,
    as_tensor,
    check,
    clamp_min,
    gather,
    logical_and,
    logical_not,
    rand,
    randint,
    relu,
    rsqrt,
    softplus,
    square,
    where,
)
from tapegrad.ops.engine import all_between

from .base import Loss
from .checks import (
    dimensions,
    first_bad,
    inside,
    labels,
    matching,
    not_empty,
    same_shape,
    setting,
    tensors,
)
from .kinds import (
    LABELS,
    LOGITS,
    PER_CLASS,
    POSITIVE,
    PROBABILITY,
    REAL,
    REALS,
    SIGN,
    SIGNS,
    Kind,
)
from .reducing import reduce
from .table import Row

__all__ = [
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "HingeLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "SoftMarginLoss",
    "SquaredHingeLoss",
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "hinge_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "squared_hinge_loss",
]


def hinge_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Any = None
) -> Tensor:
    """Hinge loss: mean of max(0, 1 - target·input).

    ``input``: scores; ``target``: labels -1 and 1 of the same shape, of any dtype; ``weight``:
    factors, broadcasting; ``reduction``: "mean", "sum", "none" or "batchmean", over the elements
    (Keras's Hinge first averages over the last dimension, which gives the same mean). At the
    margin itself the derivative is 0.

    Raises ValueError when the shapes differ, the batch is empty or a target is neither -1 nor 1
    (Keras takes 0 and 1 too: those become -1 and 1 by ``2 * target - 1``).

    >>> import tapegrad as tg
    >>> loss = tg.losses.hinge_loss
    >>> loss(tg.tensor([0.5, -2.0, 3.0]), tg.tensor([1, 1, 1]), reduction="none")
    tensor([0.5000, 3.0000, 0.0000])

    Source: Cortes and Vapnik (1995), Support-vector networks.
    """
    input, target = matching("hinge_loss", input=input, target=target)
    _signs("hinge_loss", target)
    return reduce(relu(1.0 - target * input), reduction, weight)


def _signs(what: str, target: Tensor) -> None:
    """Check labels that must be -1 or 1."""

    def message(target: Any) -> str:
        bad = first_bad((target == 1) | (target == -1), target)
        return (
            f"{what}: the labels of target must be -1 or 1, but {bad}; labels 0 and 1 become that "
            "by 2 * target - 1"
        )

    check(all_between(abs(target), low=1, high=1), message, target)


def squared_hinge_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Any = None
) -> Tensor:
    """Squared hinge loss: mean of max(0, 1 - target·input)².

    Operands, settings and errors as in :func:`hinge_loss`.

    >>> import tapegrad as tg
    >>> loss = tg.losses.squared_hinge_loss
    >>> loss(tg.tensor([0.5, -2.0]), tg.tensor([1, 1]), reduction="none")
    tensor([0.2500, 9.0000])

    Source: Chang et al. (2008), Coordinate descent method for large-scale L2-loss linear support
    vector machines.
    """
    input, target = matching("squared_hinge_loss", input=input, target=target)
    _signs("squared_hinge_loss", target)
    return reduce(square(relu(1.0 - target * input)), reduction, weight)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: Any = 1.0,
    weight: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Multi-class margin loss: Σ_{i≠y} max(0, margin - input_y + input_i)^p / C of each row.

    ``input``: scores (N, C) or (C,); ``target``: the classes y, integers of shape (N,) or ();
    ``p``: 1 or 2; ``margin``: may be a Tensor and has a gradient; ``weight``: one for each class,
    (C,), taken at y. The mean is over the rows, as torch's.

    Raises ValueError for shapes that do not fit, an empty batch, a label out of range or another p.

    >>> import tapegrad as tg
    >>> tg.losses.multi_margin_loss(tg.tensor([[0.1, 0.2, 0.4, 0.8]]), tg.tensor([3]))
    tensor(0.3250)

    Source: Crammer and Singer (2001), On the algorithmic implementation of multiclass kernel-based
    vector machines.
    """
    what = "multi_margin_loss"
    input, target = tensors(what, input=input, target=target)
    dimensions(what, "input", input, "(N, C) or (C,)", 1, 2)
    not_empty(what, "input", input)
    classes = input.shape[-1]
    if target.shape != input.shape[:-1]:
        raise ValueError(
            f"{what}: an input of shape {input.shape} takes class indices of shape "
            f"{input.shape[:-1]}, not {target.shape}"
        )
    labels(what, "target", target, classes)
    if p not in (1, 2):
        raise ValueError(f"{what}: p must be 1 or 2, not {p}")
    setting(what, "margin", margin, input.shape)
    index = target.unsqueeze(-1)
    short = relu(margin - gather(input, -1, index) + input)
    short = where(arange(classes) == index, 0.0, short)
    values = (square(short) if p == 2 else short).mean(dim=-1)
    if weight is None:
        return reduce(values, reduction)
    setting(what, "weight", weight)
    weight = as_tensor(weight)
    if weight.shape != (classes,):
        raise ValueError(
            f"{what}: weight must hold one number for each of the {classes} classes, shape "
            f"({classes},), not {weight.shape}"
        )
    return reduce(values, reduction, weight[target])


def multilabel_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Multi-label margin loss: Σ_{j in y} Σ_{i not in y} max(0, 1 - input_j + input_i) / C.

    ``input``: scores (N, C) or (C,); ``target``: integers of the same shape, in each row the labels
    y first, then -1; what follows the first -1 is not looked at. The mean is over the rows. Takes
    memory for N·C² pairs.

    Raises ValueError when the shapes differ, the batch is empty or a label is not in -1 … C - 1.

    Labels 3 and 0:

    >>> import tapegrad as tg
    >>> scores, labels = tg.tensor([[0.1, 0.2, 0.4, 0.8]]), tg.tensor([[3, 0, -1, 1]])
    >>> tg.losses.multilabel_margin_loss(scores, labels)
    tensor(0.8500)

    Source: Elisseeff and Weston (2001), A kernel method for multi-labelled classification; in
    torch's form.
    """
    what = "multilabel_margin_loss"
    input, target = matching(what, input=input, target=target)
    dimensions(what, "input", input, "(N, C) or (C,)", 1, 2)
    classes = input.shape[-1]
    labels(what, "target", target, classes, -1)
    listed = (target >= 0).long().cumprod(dim=-1) > 0
    index = where(listed, target, 0)
    # of each listed label and each class, (..., labels, classes)
    same = logical_and(arange(classes) == index.unsqueeze(-1), listed.unsqueeze(-1))
    others = logical_not(same.any(dim=-2, keepdim=True))
    short = relu(1.0 - gather(input, -1, index).unsqueeze(-1) + input.unsqueeze(-2))
    pairs = logical_and(listed.unsqueeze(-1), others)
    values = where(pairs, short, 0.0).sum(dim=(-2, -1)) / classes
    return reduce(values, reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Multi-label soft margin loss: the mean over classes of softplus(input) - target·input.

    That is binary cross-entropy of logits for each class. ``input``: logits (..., C); ``target``:
    the same shape, in [0, 1]; ``weight``: factors that broadcast to them, such as one for each
    class. ``reduction`` is over the rows.

    Raises ValueError when the shapes differ, the batch is empty or a target is outside [0, 1].

    >>> import tapegrad as tg
    >>> tg.losses.multilabel_soft_margin_loss(tg.zeros(1, 3), tg.tensor([[1.0, 0.0, 1.0]]))
    tensor(0.6931)

    Source: Good (1952), Rational decisions; in torch's form.
    """
    what = "multilabel_soft_margin_loss"
    input, target = matching(what, input=input, target=target)
    inside(what, "target", target, 0.0, 1.0)
    loss = softplus(input) - target * input
    if weight is not None:
        setting(what, "weight", weight, input.shape)
        loss = loss * weight
    return reduce(loss.mean(dim=-1), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Soft margin (logistic) loss: mean of ln(1 + exp(-target·input)).

    ``input``: scores; ``target``: labels -1 and 1 of the same shape. Finite for any score, where
    torch's overflows.

    Raises ValueError when the shapes differ, the batch is empty or a target is neither -1 nor 1.

    >>> import tapegrad as tg
    >>> loss = tg.losses.soft_margin_loss
    >>> loss(tg.tensor([0.0, -1e4]), tg.tensor([1, 1]), reduction="none")
    tensor([6.9315e-01, 1.0000e+04])

    Source: Cox (1958), The regression analysis of binary sequences.
    """
    input, target = matching("soft_margin_loss", input=input, target=target)
    _signs("soft_margin_loss", target)
    return reduce(softplus(-(target * input)), reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: Any = 0.0, reduction: str = "mean"
) -> Tensor:
    """Margin ranking loss: mean of max(0, margin - target·(input1 - input2)).

    ``input1``, ``input2``: scores of one shape; ``target``: of that shape, 1 where ``input1`` is to
    be ranked higher and -1 where ``input2`` is; ``margin``: may be a Tensor and has a gradient.
    At the kink, as for equal scores and margin 0, the derivative is that of the loss above 0, as
    in torch, so that equal scores are driven apart.

    Raises ValueError when the shapes differ, the batch is empty or a target is neither -1 nor 1.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([2.0, 1.0]), tg.tensor([1.0, 3.0])
    >>> tg.losses.margin_ranking_loss(a, b, tg.tensor([1, 1]), margin=0.5)
    tensor(1.2500)

    Source: Herbrich et al. (2000), Large margin rank boundaries for ordinal regression.
    """
    what = "margin_ranking_loss"
    input1, input2, target = matching(what, input1=input1, input2=input2, target=target)
    _signs(what, target)
    setting(what, "margin", margin, target.shape)
    return reduce(clamp_min(margin - target * (input1 - input2), 0.0), reduction)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: Any = 1.0, reduction: str = "mean"
) -> Tensor:
    """Hinge embedding loss: input where target is 1, max(0, margin - input) where it is -1.

    ``input``: distances; ``target``: of the same shape, 1 for similar pairs and -1 for dissimilar
    ones; ``margin``: may be a Tensor and has a gradient.

    Raises ValueError when the shapes differ, the batch is empty or a target is neither -1 nor 1.

    >>> import tapegrad as tg
    >>> loss = tg.losses.hinge_embedding_loss
    >>> loss(tg.tensor([0.2, 0.2, 3.0]), tg.tensor([1, -1, -1]), reduction="none")
    tensor([0.2000, 0.8000, 0.0000])

    Source: Hadsell et al. (2006), Dimensionality reduction by learning an invariant mapping; in
    torch's form.
    """
    input, target = matching("hinge_embedding_loss", input=input, target=target)
    _signs("hinge_embedding_loss", target)
    setting("hinge_embedding_loss", "margin", margin, target.shape)
    return reduce(where(target > 0, input, clamp_min(margin - input, 0.0)), reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: Any = 0.0, reduction: str = "mean"
) -> Tensor:
    """Cosine embedding loss: 1 - cos where target is 1, max(0, cos - margin) where it is -1.

    ``input1``, ``input2``: embeddings (N, D) or (D,); ``target``: (N,) or (), 1 for similar pairs
    and -1 for dissimilar ones; ``margin``: between -1 and 1 to have an effect, may be a Tensor and
    has a gradient. As in torch 1e-12 is added to the squared lengths, so that a zero vector has
    cosine 0 with any other.

    Raises ValueError for shapes that do not fit, an empty batch or a target that is neither -1 nor
    1.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[1.0, 0.0], [1.0, 0.0]]), tg.tensor([[0.0, 2.0], [3.0, 4.0]])
    >>> tg.losses.cosine_embedding_loss(a, b, tg.tensor([1, -1]), reduction="none")
    tensor([1.0000, 0.6000])

    Source: Chopra et al. (2005), Learning a similarity metric discriminatively, with application
    to face verification; in torch's form.
    """
    what = "cosine_embedding_loss"
    input1, input2, target = tensors(what, input1=input1, input2=input2, target=target)
    dimensions(what, "input1", input1, "(N, D) or (D,)", 1, 2)
    same_shape(what, "input1", input1, "input2", input2)
    not_empty(what, "input1", input1)
    if target.shape != input1.shape[:-1]:
        raise ValueError(
            f"{what}: embeddings of shape {input1.shape} take targets of shape "
            f"{input1.shape[:-1]}, not {target.shape}"
        )
    _signs(what, target)
    setting(what, "margin", margin, target.shape)
    product = (input1 * input2).sum(dim=-1)
    cosine = product * _over_length(input1) * _over_length(input2)
    return reduce(where(target > 0, 1.0 - cosine, clamp_min(cosine - margin, 0.0)), reduction)


def _over_length(x: Tensor) -> Tensor:
    """1/length of the vectors, by torch's bound for zero vectors."""
    return rsqrt(square(x).sum(dim=-1) + 1e-12)


class HingeLoss(Loss):
    """:func:`hinge_loss` with its settings: scores and labels ±1.

    >>> import tapegrad as tg
    >>> tg.losses.HingeLoss()(tg.tensor([0.5, -2.0]), tg.tensor([1.0, -1.0]))
    tensor(0.2500)
    """

    function = staticmethod(hinge_loss)


class SquaredHingeLoss(Loss):
    """:func:`squared_hinge_loss` with its settings: scores and labels ±1.

    >>> import tapegrad as tg
    >>> tg.losses.SquaredHingeLoss()(tg.tensor([0.0, -2.0]), tg.tensor([1.0, -1.0]))
    tensor(0.5000)
    """

    function = staticmethod(squared_hinge_loss)


class MultiMarginLoss(Loss):
    """:func:`multi_margin_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.MultiMarginLoss(p=2)(tg.tensor([[0.5, 1.0]]), tg.tensor([1]))
    tensor(0.1250)
    """

    function = staticmethod(multi_margin_loss)


class MultiLabelMarginLoss(Loss):
    """:func:`multilabel_margin_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.MultiLabelMarginLoss()(tg.tensor([0.5, 1.0]), tg.tensor([1, -1]))
    tensor(0.2500)
    """

    function = staticmethod(multilabel_margin_loss)


class MultiLabelSoftMarginLoss(Loss):
    """:func:`multilabel_soft_margin_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.MultiLabelSoftMarginLoss()(tg.zeros(2, 3), tg.ones(2, 3))
    tensor(0.6931)
    """

    function = staticmethod(multilabel_soft_margin_loss)


class SoftMarginLoss(Loss):
    """:func:`soft_margin_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.SoftMarginLoss()(tg.tensor([0.0]), tg.tensor([-1]))
    tensor(0.6931)
    """

    function = staticmethod(soft_margin_loss)


class MarginRankingLoss(Loss):
    """:func:`margin_ranking_loss` with its settings, called as (input1, input2, target).

    >>> import tapegrad as tg
    >>> loss = tg.losses.MarginRankingLoss(margin=0.5)
    >>> loss(tg.tensor([1.0]), tg.tensor([3.0]), tg.tensor([1]))
    tensor(2.5000)
    """

    function = staticmethod(margin_ranking_loss)


class HingeEmbeddingLoss(Loss):
    """:func:`hinge_embedding_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.HingeEmbeddingLoss(margin=2.0)(tg.tensor([0.5]), tg.tensor([-1]))
    tensor(1.5000)
    """

    function = staticmethod(hinge_embedding_loss)


class CosineEmbeddingLoss(Loss):
    """:func:`cosine_embedding_loss` with its settings, called as (input1, input2, target).

    >>> import tapegrad as tg
    >>> loss = tg.losses.CosineEmbeddingLoss(margin=0.5)
    >>> loss(tg.tensor([[3.0, 4.0]]), tg.tensor([[1.0, 0.0]]), tg.tensor([-1]))
    tensor(0.1000)
    """

    function = staticmethod(cosine_embedding_loss)


#: Lists of labels that end with -1 (some at once).
LABEL_LISTS = Kind(
    lambda n, c, g: where(rand(n, c, generator=g) < 0.25, -1, randint(0, c, (n, c), generator=g)),
    None,
)

ROWS = (
    Row(hinge_loss, (REAL, SIGN), HingeLoss, peer="keras:Hinge"),
    Row(hinge_loss, (REAL, SIGN), settings=({"weight": POSITIVE},), case="weighted"),
    Row(
        squared_hinge_loss,
        (REAL, SIGN),
        SquaredHingeLoss,
        peer="keras:SquaredHinge",
    ),
    Row(squared_hinge_loss, (REAL, SIGN), settings=({"weight": POSITIVE},), case="weighted"),
    Row(
        multi_margin_loss,
        (LOGITS, LABELS),
        MultiMarginLoss,
        names=("multi_margin",),
        settings=({"p": 2, "margin": 0.6}, {"weight": PER_CLASS}),
        peer="torch",
    ),
    Row(
        multilabel_margin_loss,
        (LOGITS, LABEL_LISTS),
        MultiLabelMarginLoss,
        names=("multilabel_margin",),
        peer="torch",
    ),
    Row(
        multilabel_soft_margin_loss,
        (LOGITS, PROBABILITY),
        MultiLabelSoftMarginLoss,
        names=("multilabel_soft_margin",),
        settings=({"weight": PER_CLASS},),
        peer="torch",
    ),
    Row(
        soft_margin_loss,
        (LOGITS, SIGN),
        SoftMarginLoss,
        names=("soft_margin", "logistic"),
        peer="torch",
    ),
    Row(
        margin_ranking_loss,
        (REALS, REALS, SIGNS),
        MarginRankingLoss,
        names=("margin_ranking",),
        settings=({"margin": 0.7},),
        peer="torch",
    ),
    Row(
        hinge_embedding_loss,
        (POSITIVE, SIGN),
        HingeEmbeddingLoss,
        names=("hinge_embedding",),
        settings=({"margin": 1.7},),
        peer="torch",
    ),
    Row(
        cosine_embedding_loss,
        (REAL, REAL, SIGNS),
        CosineEmbeddingLoss,
        names=("cosine_embedding",),
        settings=({"margin": 0.3},),
        peer="torch",
    ),
)
