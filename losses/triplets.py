"""Losses on triplets of embeddings, and how to choose the triplets.

A triplet is an anchor, a positive of its class and a negative of another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tapegrad import (
    Tensor,
    amax,
    amin,
    any,
    cdist,
    clip,
    count_nonzero,
    eye,
    logical_and,
    minimum,
    pairwise_distance,
    softplus,
    where,
)

from .base import Loss
from .checks import dimensions, matching, not_empty, setting, tensors
from .checks import positive as _positive
from .contrastive import TWO_CLASSES, labelled
from .kinds import REAL
from .reducing import reduce
from .table import Row

__all__ = [
    "BatchHardTripletLoss",
    "SemiHardTripletLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
    "batch_hard_triplet_loss",
    "semi_hard_triplet_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: Any = 1.0,
    p: Any = 2.0,
    eps: Any = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Triplet loss max(0, margin + d(a, p) - d(a, n)), with d(x, y) = ‖x - y + eps‖ₚ.

    ``anchor``, ``positive``, ``negative``: embeddings of one shape (..., D). ``margin``: positive,
    one number or one for each triplet; ``p``: the order of the norm, positive; ``eps``: see
    :func:`tapegrad.pairwise_distance`. All three may be Tensors. ``swap``: take the smaller of d(a,
    n) and d(p, n), the anchor and the positive in swapped roles; equal ones share the gradient.

    Where eps is added to points that coincide, the gradient is that of ‖eps‖, as torch's; with
    ``eps=0.0`` it counts as 0.

    Raises ValueError when the shapes differ, the batch is empty or margin or p is not positive.

    >>> import tapegrad as tg
    >>> a, p, n = tg.tensor([[0.0, 0.0]]), tg.tensor([[3.0, 0.0]]), tg.tensor([[0.0, 2.0]])
    >>> tg.losses.triplet_margin_loss(a, p, n)
    tensor(2.)

    Source: Schroff, Kalenichenko and Philbin (2015), FaceNet; swap: Balntas et al. (2016), Learning
    local feature descriptors with triplets and shallow convolutional neural networks.
    """
    what = "triplet_margin_loss"
    _positive(what, "p", p, ())
    setting(what, "eps", eps, ())

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return _triplets(what, anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: Any = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Triplet loss max(0, margin + d(a, p) - d(a, n)) with any distance d.

    ``distance_function``: takes two batches of embeddings and returns the distances of their rows;
    by default :func:`tapegrad.pairwise_distance`. Other arguments and errors as in
    :func:`triplet_margin_loss`.

    >>> import tapegrad as tg
    >>> a, p, n = tg.tensor([[1.0, 0.0]]), tg.tensor([[2.0, 0.0]]), tg.tensor([[0.0, 1.0]])
    >>> angular = lambda x, y: 1.0 - tg.cosine_similarity(x, y)
    >>> tg.losses.triplet_margin_with_distance_loss(a, p, n, distance_function=angular, margin=1.5)
    tensor(0.5000)

    Source: Schroff, Kalenichenko and Philbin (2015), FaceNet.
    """
    what = "triplet_margin_with_distance_loss"
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplets(what, anchor, positive, negative, distance, margin, swap, reduction)


def _triplets(
    what: str,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: Any,
    swap: bool,
    reduction: str,
) -> Tensor:
    anchor, positive, negative = matching(what, anchor=anchor, positive=positive, negative=negative)
    near, far = distance(anchor, positive), distance(anchor, negative)
    _positive(what, "margin", margin, near.shape)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduce(clip(margin + near - far, 0.0), reduction)


def batch_hard_triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    margin: Any = 1.0,
    squared: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Triplet loss of the hardest triplets: for each anchor its farthest positive and its nearest
    negative in the batch, max(0, margin + max d(a, p) - min d(a, n)).

    ``embeddings``: (N, D), d being the Euclidean distance, or its square if ``squared``;
    ``labels``: (N,), any integers. ``margin``: positive, one number or one for each anchor, (N,);
    may be a Tensor; None gives the soft margin, log(1 + exp(max d(a, p) - min d(a, n))). Positives
    or negatives at equal distance share the gradient evenly; embeddings that coincide have distance
    0 with derivative 0.

    An anchor without a positive or without a negative is left out: it costs 0 and the mean is over
    the others. Without any triplet (one row, one class, every label once) the loss is 0 with
    gradient 0.

    Raises ValueError when shapes do not fit, the batch is empty or the margin is not positive,
    TypeError for labels that are no integers.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[0.0], [1.0], [4.0], [6.0]])
    >>> tg.losses.batch_hard_triplet_loss(x, tg.tensor([0, 0, 1, 1]), margin=2.5, reduction="none")
    tensor([0.0000, 0.5000, 1.5000, 0.0000])

    Source: Hermans, Beyer and Leibe (2017), In defense of the triplet loss for person
    re-identification.
    """
    what = "batch_hard_triplet_loss"
    distance, positives, negatives = _pairs(what, embeddings, labels, squared)
    near = amax(where(positives, distance, -math.inf), dim=1)
    far = amin(where(negatives, distance, math.inf), dim=1)
    if margin is None:
        loss = softplus(near - far)
    else:
        _positive(what, "margin", margin, labels.shape)
        loss = clip(margin + near - far, 0.0)
    anchors = logical_and(any(positives, dim=1), any(negatives, dim=1))
    return _mean_over(anchors, loss, reduction)


def semi_hard_triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    margin: Any = 0.2,
    squared: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """Triplet loss of semi-hard triplets: for each anchor and positive the nearest negative that is
    farther away than the positive, max(0, margin + d(a, p) - d(a, n)).

    ``embeddings``: (N, D), d being the squared Euclidean distance, or not squared if ``squared`` is
    False; FaceNet's embeddings have length 1. ``labels``: (N,), any integers. ``margin``: positive,
    one number or one for each anchor, (N, 1); may be a Tensor. Where no negative is farther away
    than the positive, the farthest negative is taken. Negatives at equal distance share the
    gradient evenly. Memory grows as N³.

    The mean is over the pairs of an anchor and a positive, of anchors that have a negative. Without
    any triplet the loss is 0 with gradient 0. Without reduction the result has shape (N, N), 0
    where there is no pair.

    Raises ValueError when shapes do not fit, the batch is empty or the margin is not positive,
    TypeError for labels that are no integers.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[0.0], [1.0], [1.5], [0.5]])
    >>> loss = tg.losses.SemiHardTripletLoss(margin=1.0, squared=False, reduction="none")
    >>> loss(x, tg.tensor([0, 0, 1, 1]))[:2]
    tensor([[0.0000, 0.5000, 0.0000, 0.0000],
            [1.5000, 0.0000, 0.0000, 0.0000]])

    Source: Schroff, Kalenichenko and Philbin (2015), FaceNet: a unified embedding for face
    recognition and clustering.
    """
    what = "semi_hard_triplet_loss"
    distance, positives, negatives = _pairs(what, embeddings, labels, squared)
    _positive(what, "margin", margin, (distance.shape[0], 1))
    # by anchor, positive and negative
    from_anchor = distance.unsqueeze(1)
    farther = logical_and(negatives.unsqueeze(1), from_anchor > distance.unsqueeze(2))
    semi_hard = amin(where(farther, from_anchor, math.inf), dim=2)
    farthest = amax(where(negatives, distance, -math.inf), dim=1, keepdim=True)
    loss = clip(margin + distance - where(any(farther, dim=2), semi_hard, farthest), 0.0)
    return _mean_over(logical_and(positives, any(negatives, dim=1, keepdim=True)), loss, reduction)


def _pairs(what: str, embeddings: Any, labels: Any, squared: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Distances of all pairs, and which of these are positive and which negative."""
    embeddings, labels = tensors(what, embeddings=embeddings, labels=labels)
    dimensions(what, "embeddings", embeddings, "(N, D)", 2)
    not_empty(what, "embeddings", embeddings)
    labelled(what, "embeddings", embeddings, labels)
    if squared:
        gap = embeddings.unsqueeze(1) - embeddings
        distance = (gap * gap).sum(dim=2)
    else:
        distance = cdist(embeddings, embeddings)
    same = labels.unsqueeze(1) == labels
    return distance, logical_and(same, ~eye(labels.shape[0], dtype="bool")), ~same


def _mean_over(chosen: Tensor, loss: Tensor, reduction: str) -> Tensor:
    """The reduction over the chosen losses; 0 if there are none."""
    return reduce(loss, reduction, mask=chosen, total=clip(count_nonzero(chosen), 1))


class TripletMarginLoss(Loss):
    """:func:`triplet_margin_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.TripletMarginLoss(margin=2.0)
    >>> loss(tg.zeros(1, 2), tg.zeros(1, 2), tg.tensor([[0.0, 1.0]]))
    tensor(1.0000)
    """

    function = staticmethod(triplet_margin_loss)


class TripletMarginWithDistanceLoss(Loss):
    """:func:`triplet_margin_with_distance_loss` with its settings, named.

    >>> import tapegrad as tg
    >>> squares = lambda x, y: ((x - y) ** 2).sum(dim=-1)
    >>> loss = tg.losses.TripletMarginWithDistanceLoss(distance_function=squares)
    >>> loss(tg.zeros(1, 2), tg.ones(1, 2), tg.tensor([[0.0, 1.0]]))
    tensor(2.)
    """

    function = staticmethod(triplet_margin_with_distance_loss)


class BatchHardTripletLoss(Loss):
    """:func:`batch_hard_triplet_loss` with its settings.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[0.0], [1.0], [4.0], [6.0]])
    >>> tg.losses.BatchHardTripletLoss(margin=2.5)(x, tg.tensor([0, 0, 1, 1]))
    tensor(0.5000)
    """

    function = staticmethod(batch_hard_triplet_loss)


class SemiHardTripletLoss(Loss):
    """:func:`semi_hard_triplet_loss` with its settings.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[0.0], [1.0], [2.0], [9.0]])
    >>> tg.losses.SemiHardTripletLoss(margin=4.0)(x, tg.tensor([0, 0, 1, 2]))
    tensor(0.5000)
    """

    function = staticmethod(semi_hard_triplet_loss)


ROWS = (
    Row(
        triplet_margin_loss,
        (REAL, REAL, REAL),
        TripletMarginLoss,
        names=("triplet", "triplet_margin"),
        settings=(
            {"margin": 0.4, "swap": True},
            {"p": 1.0},
            {"p": 3.0, "eps": 0.01},
            {"reduction": "none"},
        ),
        peer="torch",
    ),
    Row(
        triplet_margin_with_distance_loss,
        (REAL, REAL, REAL),
        TripletMarginWithDistanceLoss,
        settings=({"margin": 2.5, "swap": True}, {"reduction": "sum"}),
        peer="torch",
    ),
    Row(
        batch_hard_triplet_loss,
        (REAL, TWO_CLASSES),
        BatchHardTripletLoss,
        names=("triplet_hard", "batch_hard"),
        settings=({"margin": 2.5, "squared": True}, {"margin": None}, {"reduction": "none"}),
    ),
    Row(
        semi_hard_triplet_loss,
        (REAL, TWO_CLASSES),
        SemiHardTripletLoss,
        names=("triplet_semihard", "semi_hard"),
        settings=({"margin": 2.5}, {"squared": False}, {"reduction": "none"}),
    ),
)
