"""Losses on the angle between an embedding and the centre of its class.

The cosine of an angle is that of vectors divided by max(length, 1e-12). Between a zero vector and
anything cosine and sine are 0, and its gradient is large but finite.
"""

from __future__ import annotations

import math
from typing import Any

from tapegrad import Tensor, arange, as_tensor, cos, log_softmax, norm, randn, sin, where
from tapegrad.functions.distances import normalize
from tapegrad.ops.picking import pick

from .base import Loss
from .checks import dimensions, inside, not_empty, not_negative, positive, setting, tensors
from .checks import labels as check_labels
from .contrastive import labelled
from .kinds import REAL, Kind
from .reducing import reduce
from .table import Row

__all__ = ["ArcFaceLoss", "CosFaceLoss", "arcface_loss", "cosface_loss"]


def arcface_loss(
    embeddings: Tensor,
    centres: Tensor,
    labels: Tensor,
    margin: Any = 0.5,
    scale: Any = 64.0,
    reduction: str = "mean",
) -> Tensor:
    """ArcFace: cross-entropy of scale·cos θ, the angle θ to the own centre being made θ + margin.

    ``embeddings``: (N, D); ``centres``: (C, D), one for each class, learned with the network;
    ``labels``: (N,), integers in 0 … C - 1. ``margin``: an angle in 0 … π, in radians, one number
    or one for each embedding, (N,); ``scale``: positive, one number or (N, 1); both may be Tensors.

    Where θ + margin exceeds π, cos(θ + margin) would rise again; there it is replaced by
    cos θ - margin·sin(margin), as in the authors' code, with a step down. On the own centre (θ = 0)
    and opposite to it (θ = π) the slope of sin θ counts as 0.

    Raises ValueError when shapes do not fit, the batch is empty, a label is out of range, the
    margin is outside [0, π] or the scale is not positive; TypeError for labels that are no
    integers.

    On its own centre, with the other centre opposite: log(1 + exp(-scale·(1 + cos(margin))))

    >>> import tapegrad as tg
    >>> x, centres = tg.tensor([[3.0, 0.0]]), tg.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> tg.losses.arcface_loss(x, centres, tg.tensor([0]), margin=tg.pi / 2, scale=1.0)
    tensor(0.3133)

    Source: Deng, Guo, Xue and Zafeiriou (2019), ArcFace: additive angular margin loss for deep face
    recognition.
    """
    what = "arcface_loss"
    x, w, labels = _units(what, embeddings, centres, labels)
    setting(what, "margin", margin, labels.shape)
    inside(what, "margin", as_tensor(margin), 0.0, math.pi)
    cosine = x @ w.T
    own = pick(cosine, labels, axis=1)
    # sin θ is the length of what is at right angles to the centre. Neither through the angle, whose
    # derivative is infinite where it is 0 or π, nor √(1 - cos² θ), which loses half the digits.
    sine = norm(x - own.unsqueeze(1) * w[labels], dim=1)
    turned = own * cos(margin) - sine * sin(margin)
    turned = where(own > -cos(margin), turned, own - margin * sin(margin))
    return _cross_entropy(what, cosine, turned, labels, scale, reduction)


def cosface_loss(
    embeddings: Tensor,
    centres: Tensor,
    labels: Tensor,
    margin: Any = 0.35,
    scale: Any = 64.0,
    reduction: str = "mean",
) -> Tensor:
    """CosFace: cross-entropy of scale·cos θ, less scale·margin at the own centre.

    ``margin``: not negative. Other arguments and errors as in :func:`arcface_loss`.

    On its own centre, with the other centre opposite: log(1 + exp(-scale·(2 - margin)))

    >>> import tapegrad as tg
    >>> x, centres = tg.tensor([[3.0, 0.0]]), tg.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> tg.losses.cosface_loss(x, centres, tg.tensor([0]), margin=1.0, scale=1.0)
    tensor(0.3133)

    Source: Wang et al. (2018), CosFace: large margin cosine loss for deep face recognition.
    """
    what = "cosface_loss"
    x, w, labels = _units(what, embeddings, centres, labels)
    not_negative(what, "margin", margin, labels.shape)
    cosine = x @ w.T
    own = pick(cosine, labels, axis=1) - margin
    return _cross_entropy(what, cosine, own, labels, scale, reduction)


def _units(what: str, embeddings: Any, centres: Any, labels: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Checked operands, the vectors brought to length 1."""
    (centres,) = tensors(what, centres=centres)
    embeddings, labels = tensors(what, embeddings=embeddings, labels=labels)
    dimensions(what, "embeddings", embeddings, "(N, D)", 2)
    not_empty(what, "embeddings", embeddings)
    not_empty(what, "centres", centres)
    if centres.ndim != 2 or centres.shape[1] != embeddings.shape[1]:
        raise ValueError(
            f"{what}: for embeddings of shape {embeddings.shape} centres must have shape "
            f"(C, {embeddings.shape[1]}), not {centres.shape}"
        )
    labelled(what, "embeddings", embeddings, labels)
    check_labels(what, f"labels for centres of shape {centres.shape}", labels, centres.shape[0])
    return normalize(embeddings), normalize(centres), labels


def _cross_entropy(
    what: str, cosine: Tensor, own: Tensor, labels: Tensor, scale: Any, reduction: str
) -> Tensor:
    """Cross-entropy of scaled cosines, with another number at the own centre."""
    positive(what, "scale", scale, (cosine.shape[0], 1))
    is_own = labels.unsqueeze(1) == arange(cosine.shape[1])
    log_p = log_softmax(where(is_own, own.unsqueeze(1), cosine) * scale, dim=1)
    return reduce(-pick(log_p, labels, axis=1), reduction)


class ArcFaceLoss(Loss):
    """:func:`arcface_loss` with its settings; the centres are an operand, a parameter of yours.

    >>> import tapegrad as tg
    >>> centres = tg.eye(2).requires_grad_()
    >>> loss = tg.losses.ArcFaceLoss(scale=10.0)
    >>> loss(tg.tensor([[1.0, 1.0]]), centres, tg.tensor([0])).backward()
    >>> centres.grad.shape
    (2, 2)
    """

    function = staticmethod(arcface_loss)


class CosFaceLoss(Loss):
    """:func:`cosface_loss` with its settings; the centres are an operand, a parameter of yours.

    >>> import tapegrad as tg
    >>> loss = tg.losses.CosFaceLoss(margin=0.5, scale=2.0)
    >>> loss(tg.tensor([[1.0, 1.0]]), tg.eye(2), tg.tensor([0]))  # log(1 + e)
    tensor(1.3133)
    """

    function = staticmethod(cosface_loss)


#: One centre for each class.
CENTRES = Kind(lambda n, c, g: randn(c, c, dtype="float64", generator=g))
#: Every class in turn.
ALL_CLASSES = Kind(lambda n, c, g: arange(n) % c, None)

ROWS = (
    Row(
        arcface_loss,
        (REAL, CENTRES, ALL_CLASSES),
        ArcFaceLoss,
        names=("arcface",),
        settings=({"margin": 0.2, "scale": 4.0}, {"scale": 4.0, "reduction": "none"}),
    ),
    Row(
        cosface_loss,
        (REAL, CENTRES, ALL_CLASSES),
        CosFaceLoss,
        names=("cosface",),
        settings=({"margin": 0.2, "scale": 4.0}, {"scale": 4.0, "reduction": "none"}),
    ),
)
