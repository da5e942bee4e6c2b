"""Losses of segmentation: the overlap of masks."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, where

from .base import Loss
from .checks import inside, matching, not_negative, positive
from .kinds import BINARY, PER_CLASS, PROBABILITY
from .reducing import reduce
from .table import Row

__all__ = [
    "DiceLoss",
    "FocalTverskyLoss",
    "JaccardLoss",
    "TverskyLoss",
    "dice_loss",
    "focal_tversky_loss",
    "jaccard_loss",
    "tversky_loss",
]

#: What an overlap is taken of, and the dimensions of (N, C, pixels) that its sums run over.
PER = {"all": None, "sample": (1, 2), "class": (0, 2), "both": 2}


def dice_loss(
    input: Tensor,
    target: Tensor,
    smooth: Any = 0.0,
    per: str = "all",
    reduction: str = "mean",
    weight: Any = None,
    squared: bool = False,
) -> Tensor:
    """Dice loss: 1 - (2·Σpt + smooth) / (Σp + Σt + smooth).

    ``input``: probabilities p; ``target``: the mask t, of the same shape, in [0, 1] (booleans and
    integers will do; class indices go through ``one_hot`` first). ``smooth``: at least 0, may be a
    Tensor and has a gradient. ``per``: what the sums run over: "all" elements, or for shapes
    (N, C, ...) each "sample" (N losses), each "class" over the whole batch (C losses), or "both"
    (each class of each sample, (N, C) losses). ``reduction`` and ``weight`` (factors that
    broadcast) are of those losses; so may ``smooth`` be, one for each. ``squared``: Σp² + Σt² below
    the line, as V-Net has it.

    With nothing in either mask the loss is 0: without smooth, 0/0 counts as a perfect overlap, with
    gradient 0. Where the target alone is empty any p > 0 then costs 1, with gradient 0 too; give
    masks that may be empty a smooth of about 1, and they cost Σp/(Σp + smooth). Keras's Dice, which
    adds 1e-7 below the line only, gives the numbers of smooth = 0, but 1 for two empty masks.

    U-Net is often named with this loss, but was trained with a weighted cross-entropy.

    Raises ValueError when the shapes differ, the batch is empty, a number is outside [0, 1] or
    smooth is negative.

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([0.5, 0.5, 0.0]), tg.tensor([1.0, 0.0, 0.0])
    >>> tg.losses.dice_loss(p, t), tg.losses.dice_loss(p, t, smooth=1.0)
    (tensor(0.5000), tensor(0.3333))

    Source: Milletari et al. (2016), V-Net: fully convolutional neural networks for volumetric
    medical image segmentation; the coefficient: Dice (1945), Measures of the amount of ecologic
    association between species.
    """
    input, target = _masks("dice_loss", input, target, per, smooth=smooth)
    if squared:
        error = input - target
        wrong, whole = error * error, input * input + target * target
        loss = _share(_sum(wrong, per), _sum(whole, per) + smooth)
    else:
        hit, extra, missed = _counts(input, target, per)
        wrong = extra + missed
        loss = _share(wrong, 2.0 * hit + wrong + smooth)
    return reduce(loss, reduction, weight)


def jaccard_loss(
    input: Tensor,
    target: Tensor,
    smooth: Any = 0.0,
    per: str = "all",
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Jaccard loss, or soft IoU: 1 - (Σpt + smooth) / (Σp + Σt - Σpt + smooth).

    Arguments, empty masks and errors as in :func:`dice_loss`. Without smooth, J = 2D/(1 + D) of
    the Dice loss D.

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([1.0, 1.0, 0.0]), tg.tensor([1.0, 0.0, 0.0])
    >>> tg.losses.jaccard_loss(p, t)
    tensor(0.5000)

    Source: Rahman and Wang (2016), Optimizing intersection-over-union in deep neural networks for
    image segmentation; the index: Jaccard (1901).
    """
    input, target = _masks("jaccard_loss", input, target, per, smooth=smooth)
    hit, extra, missed = _counts(input, target, per)
    wrong = extra + missed
    return reduce(_share(wrong, hit + wrong + smooth), reduction, weight)


def tversky_loss(
    input: Tensor,
    target: Tensor,
    alpha: Any = 0.5,
    beta: Any = 0.5,
    smooth: Any = 0.0,
    per: str = "all",
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Tversky loss: 1 - (TP + smooth) / (TP + alpha·FP + beta·FN + smooth).

    TP = Σpt, FP = Σp(1-t), FN = Σ(1-p)t. ``alpha``, ``beta``: what false positives and false
    negatives weigh, at least 0; they may be Tensors and have gradients. With 0.5 and 0.5 it is the
    Dice loss with twice the smooth, with 1 and 1 the Jaccard loss. The other arguments, empty masks
    and errors as in :func:`dice_loss`; any 0/0 counts as a perfect overlap.

    Keras's Tversky is documented so, but its alpha falls on the false negatives and its beta on
    the false positives (Keras 3).

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([1.0, 1.0, 0.0, 0.0]), tg.tensor([1.0, 0.0, 1.0, 1.0])
    >>> tg.losses.tversky_loss(p, t, alpha=0.5, beta=0.75)  # 1 TP, 1 FP, 2 FN
    tensor(0.6667)

    Source: Salehi et al. (2017), Tversky loss function for image segmentation using 3D fully
    convolutional deep networks.
    """
    loss = _tversky("tversky_loss", input, target, alpha, beta, smooth, per)
    return reduce(loss, reduction, weight)


def focal_tversky_loss(
    input: Tensor,
    target: Tensor,
    alpha: Any = 0.3,
    beta: Any = 0.7,
    gamma: Any = 4 / 3,
    smooth: Any = 0.0,
    per: str = "all",
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Focal Tversky loss: L^(1/gamma), L that of :func:`tversky_loss`.

    ``gamma``: positive, may be a Tensor and has a gradient; above 1 the loss is steeper where the
    overlap is good already. The other arguments and errors as in :func:`tversky_loss`; ``alpha``
    weighs false positives and ``beta`` false negatives here too (the paper has the letters the
    other way round, and 0.7 for false negatives). The paper adds up one loss for each class:
    ``per="class"`` with ``reduction="sum"``.

    Where the overlap is perfect and gamma > 1 the slope of the power is infinite; the gradient
    there is taken to be 0.

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([1.0, 1.0]), tg.tensor([1.0, 0.0])
    >>> tg.losses.focal_tversky_loss(p, t, 1.0, 1.0, gamma=0.5)  # 0.5²
    tensor(0.2500)

    Source: Abraham and Khan (2019), A novel focal Tversky loss function with improved attention
    U-Net for lesion segmentation.
    """
    loss = _tversky("focal_tversky_loss", input, target, alpha, beta, smooth, per)
    positive("focal_tversky_loss", "gamma", gamma, loss.shape)
    sloped = (loss > 0) | (gamma <= 1)
    loss = where(sloped, where(sloped, loss, 1.0) ** (1.0 / gamma), 0.0)
    return reduce(loss, reduction, weight)


def _masks(what: str, input: Any, target: Any, per: str, **settings: Any) -> tuple[Tensor, Tensor]:
    """Checked operands, of shape (N, C, pixels) for sums over a part of the dimensions.

    ``settings``: numbers that are not negative, or one of them for each loss.
    """
    input, target = matching(what, input=input, target=target)
    if per not in tuple(PER):
        raise ValueError(f'{what}: per must be "all", "sample", "class" or "both", not {per!r}')
    inside(what, "input", input, 0.0, 1.0, "for logits use sigmoid or softmax first")
    inside(what, "target", target, 0.0, 1.0, "class indices go through one_hot first")
    if target.dtype.kind != "f":
        target = target.to(input.dtype)
    losses: tuple[int, ...] = ()
    if per != "all":
        if input.ndim < 2:
            raise ValueError(f"{what} per {per} takes shape (N, C, ...), not {input.shape}")
        n, c = input.shape[:2]
        input, target = input.reshape(n, c, -1), target.reshape(n, c, -1)
        losses = {"sample": (n,), "class": (c,), "both": (n, c)}[per]
    for name, value in settings.items():
        not_negative(what, name, value, losses)
    return input, target


def _sum(x: Tensor, per: str) -> Tensor:
    return x.sum(dim=PER[per])


def _counts(input: Tensor, target: Tensor, per: str) -> tuple[Tensor, Tensor, Tensor]:
    """Soft counts of true positives Σpt, false positives Σp(1-t) and false negatives Σ(1-p)t.

    In them the loss is a quotient of sums, what is wrong to all there is, which keeps the digits of
    small losses; 1 less an index near 1 would not.
    """
    both = input * target
    return _sum(both, per), _sum(input - both, per), _sum(target - both, per)


def _share(wrong: Tensor, whole: Tensor) -> Tensor:
    """wrong / whole, and 0 for 0/0."""
    nothing = whole == 0
    return where(nothing, 0.0, wrong) / where(nothing, 1.0, whole)


def _tversky(
    what: str, input: Any, target: Any, alpha: Any, beta: Any, smooth: Any, per: str
) -> Tensor:
    input, target = _masks(what, input, target, per, alpha=alpha, beta=beta, smooth=smooth)
    hit, extra, missed = _counts(input, target, per)
    wrong = alpha * extra + beta * missed
    return _share(wrong, hit + wrong + smooth)


class DiceLoss(Loss):
    """:func:`dice_loss` with its settings: ``DiceLoss(smooth)(probabilities, targets)``.

    >>> import tapegrad as tg
    >>> tg.losses.DiceLoss(smooth=1.0)(tg.tensor([1.0, 0.0]), tg.tensor([1.0, 1.0]))
    tensor(0.2500)
    """

    function = staticmethod(dice_loss)


class JaccardLoss(Loss):
    """:func:`jaccard_loss` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> tg.losses.JaccardLoss()(tg.tensor([1.0, 0.0]), tg.tensor([1.0, 1.0]))
    tensor(0.5000)
    """

    function = staticmethod(jaccard_loss)


class TverskyLoss(Loss):
    """:func:`tversky_loss` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> loss = tg.losses.TverskyLoss(alpha=0.3, beta=0.7)
    >>> loss(tg.tensor([1.0, 1.0]), tg.tensor([1.0, 0.0]))
    tensor(0.2308)
    """

    function = staticmethod(tversky_loss)


class FocalTverskyLoss(Loss):
    """:func:`focal_tversky_loss` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> loss = tg.losses.FocalTverskyLoss(gamma=1.0)
    >>> loss(tg.tensor([1.0, 1.0]), tg.tensor([1.0, 0.0]))
    tensor(0.2308)
    """

    function = staticmethod(focal_tversky_loss)


ROWS = (
    Row(
        dice_loss,
        (PROBABILITY, BINARY),
        DiceLoss,
        names=("dice", "sorensen_dice"),
        settings=(
            {"smooth": 0.3},
            {"per": "sample"},
            {"per": "class", "weight": PER_CLASS},
            {"squared": True},
        ),
    ),
    Row(dice_loss, (PROBABILITY, PROBABILITY), settings=({"per": "both"},), case="soft targets"),
    Row(
        jaccard_loss,
        (PROBABILITY, BINARY),
        JaccardLoss,
        names=("jaccard", "soft_iou"),
        settings=({"smooth": 0.3, "per": "sample"}, {"per": "class", "weight": PER_CLASS}),
    ),
    Row(
        tversky_loss,
        (PROBABILITY, BINARY),
        TverskyLoss,
        names=("tversky",),
        settings=(
            {"alpha": 0.3, "beta": 0.8, "smooth": 0.3},
            {"alpha": 0.3, "per": "class", "weight": PER_CLASS},
        ),
    ),
    Row(
        focal_tversky_loss,
        (PROBABILITY, BINARY),
        FocalTverskyLoss,
        names=("focal_tversky",),
        settings=({"gamma": 2.0, "smooth": 0.3, "per": "class"}, {"gamma": 0.7, "weight": 0.5}),
    ),
)
