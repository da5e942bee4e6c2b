"""Losses on pairs and batches of embeddings.

Cosine similarities are between embeddings divided by max(length, 1e-12): a zero vector is similar
to nothing, and its gradient is large but finite.
"""

from __future__ import annotations

import math
from typing import Any

from tapegrad import (
    Tensor,
    arange,
    broadcast_to,
    cat,
    check,
    clip,
    count_nonzero,
    eye,
    log_softmax,
    logical_and,
    norm,
    randn,
    where,
)
from tapegrad.functions.distances import normalize
from tapegrad.ops.engine import all_between
from tapegrad.ops.picking import pick

from .base import Loss
from .checks import dimensions, first_bad, integers, matching, not_empty, positive, tensors
from .kinds import BITS, REAL, Kind
from .reducing import reduce
from .table import Row

__all__ = [
    "ContrastiveLoss",
    "InfoNCELoss",
    "NTXentLoss",
    "SupervisedContrastiveLoss",
    "contrastive_loss",
    "info_nce_loss",
    "nt_xent_loss",
    "supervised_contrastive_loss",
]


def contrastive_loss(
    a: Tensor, b: Tensor, same: Tensor, margin: Any = 1.0, reduction: str = "mean"
) -> Tensor:
    """Contrastive loss of pairs at distance d = ‖a - b‖: ½d² if same, ½max(0, margin - d)² if not.

    ``a``, ``b``: embeddings of shape (..., D); ``same``: of shape (...), 1 (or True) where the two
    belong together and 0 where they do not. (The paper's Y says the opposite.) ``margin``:
    positive, one number or one for each pair; may be a Tensor. Embeddings that coincide though they
    should not cost ½margin²; the distance has no direction there, and its derivatives count as 0.

    Raises ValueError when shapes differ, the batch is empty, the margin is not positive or
    ``same`` holds anything but 0 and 1.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0], [0.0, 0.0]]), tg.tensor([[0.3, 0.4], [0.3, 0.4]])
    >>> tg.losses.contrastive_loss(a, b, tg.tensor([1, 0]), margin=2.0, reduction="none")
    tensor([0.1250, 1.1250])

    Source: Hadsell, Chopra and LeCun (2006), Dimensionality reduction by learning an invariant
    mapping.
    """
    a, b = matching("contrastive_loss", a=a, b=b)
    positive("contrastive_loss", "margin", margin, a.shape[:-1])
    together = _same("contrastive_loss", same, a)
    gap = a - b
    missing = clip(margin - norm(gap, dim=-1), 0.0)
    return reduce(0.5 * where(together, (gap * gap).sum(dim=-1), missing * missing), reduction)


def _same(what: str, same: Any, a: Tensor) -> Tensor:
    """Checked marks of 0 and 1, as booleans."""
    _, same = tensors(what, a=a, same=same)
    if same.shape != a.shape[:-1]:
        raise ValueError(
            f"{what}: for embeddings of shape {a.shape} same must have shape {a.shape[:-1]}, one "
            f"number for each pair, not {same.shape}"
        )

    def message(same: Any) -> str:
        return (
            f"{what}: same must be 1 (belonging together) or 0, but "
            f"{first_bad((same == 0) | (same == 1), same)}"
        )

    check(all_between(same, low=0, high=0, also=1), message, same)
    return same != 0


def info_nce_loss(
    query: Tensor,
    positive_key: Tensor,
    negative_keys: Any = None,
    temperature: Any = 0.1,
    reduction: str = "mean",
) -> Tensor:
    """InfoNCE: -log of the softmax of cos(query, key)/temperature at the positive key.

    ``query``, ``positive_key``: (N, D), row by row belonging together. ``negative_keys``: (M, D)
    for all queries, or (N, M, D), M for each; without them the other rows' positive keys are the
    negatives, so that a single pair has none and costs 0. ``temperature``: positive, one
    number or one for each query, (N, 1); may be a Tensor.

    Raises ValueError when shapes do not fit, the batch is empty or the temperature is not positive.

    A query that is its key, with one negative at right angles to it, costs log(1 + exp(-1/τ)):

    >>> import tapegrad as tg
    >>> q = tg.eye(2)
    >>> tg.losses.info_nce_loss(q, q, temperature=1.0)
    tensor(0.3133)

    Source: van den Oord, Li and Vinyals (2018), Representation learning with contrastive
    predictive coding.
    """
    what = "info_nce_loss"
    query, positive_key = matching(what, query=query, positive_key=positive_key)
    dimensions(what, "query", query, "(N, D)", 2)
    positive(what, "temperature", temperature, (query.shape[0], 1))
    query, positive_key = normalize(query), normalize(positive_key)
    if negative_keys is None:
        log_p = log_softmax(query @ positive_key.T / temperature, dim=1)
        return reduce(-log_p.diagonal(), reduction)
    (negative_keys,) = tensors(what, negative_keys=negative_keys)
    not_empty(what, "negative_keys", negative_keys)
    (n, d), shape = query.shape, negative_keys.shape
    if len(shape) < 2 or shape[-1] != d or shape[:-2] not in ((), (n,)):
        raise ValueError(
            f"{what}: for queries of shape {query.shape} negative_keys must have shape (M, {d}) "
            f"or ({n}, M, {d}), not {shape}"
        )
    match = (query * positive_key).sum(dim=1, keepdim=True)
    negative_keys = normalize(negative_keys, dim=-1)
    if negative_keys.ndim == 2:
        others = query @ negative_keys.T
    else:
        others = (negative_keys @ query.unsqueeze(2)).squeeze(2)
    return reduce(-log_softmax(cat([match, others], 1) / temperature, dim=1)[:, 0], reduction)


def nt_xent_loss(z1: Tensor, z2: Tensor, temperature: Any = 0.5, reduction: str = "mean") -> Tensor:
    """NT-Xent, SimCLR's loss: each of the 2N views is to pick its partner among the other 2N - 1.

    -log of the softmax of cos(zᵢ, zⱼ)/temperature over j ≠ i, at the partner. ``z1``, ``z2``:
    (N, D), two views of N things; ``temperature``: positive, may be a Tensor. Without reduction the
    result has shape (2N,), first the views of ``z1``. A single thing (N = 1) costs 0.

    Raises ValueError when shapes differ, the batch is empty or the temperature is not positive.

    >>> import tapegrad as tg
    >>> z = tg.eye(2)
    >>> tg.losses.nt_xent_loss(z, z, temperature=1.0)  # log(1 + 2/e)
    tensor(0.5514)

    Source: Chen, Kornblith, Norouzi and Hinton (2020), A simple framework for contrastive learning
    of visual representations.
    """
    z1, z2 = matching("nt_xent_loss", z1=z1, z2=z2)
    dimensions("nt_xent_loss", "z1", z1, "(N, D)", 2)
    n = z1.shape[0]
    positive("nt_xent_loss", "temperature", temperature, (2 * n, 1))
    partner = cat([arange(n, 2 * n), arange(n)])
    return reduce(
        -pick(_log_softmax_of_others(cat([z1, z2]), temperature), partner, axis=1), reduction
    )


def _log_softmax_of_others(features: Tensor, temperature: Any) -> Tensor:
    """For each row the log-probabilities of picking another one, by cosine; -inf for itself."""
    unit = normalize(features)
    itself = eye(features.shape[0], dtype="bool")
    return log_softmax(where(itself, -math.inf, unit @ unit.T / temperature), dim=1)


def supervised_contrastive_loss(
    features: Tensor, labels: Tensor, temperature: Any = 0.1, reduction: str = "mean"
) -> Tensor:
    """Supervised contrastive loss: each anchor is to pick those of its class among all others.

    For anchor i with positives P(i), the others of its label: the mean over p in P(i) of -log of
    the softmax over a ≠ i of cos(zᵢ, zₐ)/temperature, at p. ``features``: (N, D), or (N, V, D) for
    V views of each; ``labels``: (N,), any integers; ``temperature``: positive, may be a Tensor.
    Without reduction the result has one element for each of the N (N·V) anchors.

    Anchors without a positive are left out: they cost 0 and the mean is over the others. If there
    is no positive at all (every label once, or a single row), the loss is 0 with gradient 0.

    Raises ValueError when shapes do not fit, the batch is empty or the temperature is not positive,
    TypeError for labels that are no integers.

    >>> import tapegrad as tg
    >>> z = tg.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> tg.losses.supervised_contrastive_loss(z, tg.tensor([0, 0, 1]), temperature=1.0)
    tensor(0.3133)

    Source: Khosla et al. (2020), Supervised contrastive learning, equation 2.
    """
    what = "supervised_contrastive_loss"
    features, labels = tensors(what, features=features, labels=labels)
    dimensions(what, "features", features, "(N, D) or (N, V, D)", 2, 3)
    not_empty(what, "features", features)
    labelled(what, "features", features, labels)
    if features.ndim == 3:
        labels = broadcast_to(labels.unsqueeze(1), features.shape[:2]).flatten()
        features = features.flatten(0, 1)
    positive(what, "temperature", temperature, (features.shape[0], 1))
    itself = eye(features.shape[0], dtype="bool")
    positives = logical_and(labels.unsqueeze(1) == labels, ~itself)
    count = positives.sum(dim=1)
    log_p = where(positives, _log_softmax_of_others(features, temperature), 0.0)
    anchors = clip(count_nonzero(count), 1)
    return reduce(-log_p.sum(dim=1) / clip(count, 1), reduction, total=anchors)


def labelled(what: str, name: str, embeddings: Tensor, labels: Tensor) -> None:
    """Refuse labels that are not one integer for each row."""
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"{what}: for {name} of shape {embeddings.shape} labels must have shape "
            f"{embeddings.shape[:1]}, not {labels.shape}"
        )
    integers(what, "labels", labels)


class ContrastiveLoss(Loss):
    """:func:`contrastive_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.ContrastiveLoss(margin=2.0)
    >>> loss(tg.tensor([[1.0, 0.0]]), tg.tensor([[0.0, 0.0]]), tg.tensor([0]))
    tensor(0.5000)
    """

    function = staticmethod(contrastive_loss)


class InfoNCELoss(Loss):
    """:func:`info_nce_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.InfoNCELoss(temperature=1.0)(tg.eye(3), tg.eye(3))  # log(1 + 2/e)
    tensor(0.5514)
    """

    function = staticmethod(info_nce_loss)


class NTXentLoss(Loss):
    """:func:`nt_xent_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.NTXentLoss(temperature=1.0)(tg.eye(2), tg.eye(2))
    tensor(0.5514)
    """

    function = staticmethod(nt_xent_loss)


class SupervisedContrastiveLoss(Loss):
    """:func:`supervised_contrastive_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.SupervisedContrastiveLoss(temperature=1.0)
    >>> loss(tg.eye(3), tg.tensor([0, 0, 1]))  # three at right angles: log 2
    tensor(0.6931)
    """

    function = staticmethod(supervised_contrastive_loss)


#: Labels of two classes in turn, so that everyone has company.
TWO_CLASSES = Kind(lambda n, c, g: arange(n) % 2, None)
#: One class twice, others once.
ONE_PAIR = Kind(lambda n, c, g: clip(arange(n), 1), None)
VIEWS = Kind(lambda n, c, g: randn(n, 2, c, dtype="float64", generator=g))

ROWS = (
    Row(
        contrastive_loss,
        (REAL, REAL, BITS),
        ContrastiveLoss,
        names=("contrastive",),
        settings=({"margin": 2.5}, {"reduction": "sum"}),
    ),
    Row(
        info_nce_loss,
        (REAL, REAL),
        InfoNCELoss,
        names=("infonce",),
        settings=({"temperature": 0.7}, {"negative_keys": REAL}, {"negative_keys": VIEWS}),
    ),
    Row(
        nt_xent_loss,
        (REAL, REAL),
        NTXentLoss,
        names=("simclr",),
        settings=({"temperature": 0.1}, {"reduction": "none"}),
    ),
    Row(
        supervised_contrastive_loss,
        (REAL, TWO_CLASSES),
        SupervisedContrastiveLoss,
        names=("supcon",),
        settings=({"temperature": 0.5}, {"reduction": "none"}),
    ),
    Row(supervised_contrastive_loss, (REAL, ONE_PAIR), case="anchors without a positive"),
    Row(supervised_contrastive_loss, (VIEWS, TWO_CLASSES), case="views"),
)
