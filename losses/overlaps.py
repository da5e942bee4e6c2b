"""Losses of segmentation: the overlap of masks."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    arange,
    argsort,
    check,
    clip,
    cumsum,
    gather,
    maximum,
    pad,
    rand,
    randint,
    randn,
    relu,
    softmax,
    where,
)
from tapegrad import all as all_of

from .base import Loss
from .checks import (
    first_bad,
    inside,
    is_number_zero,
    matching,
    not_empty,
    not_negative,
    positive,
    rows_add_up,
    tensors,
)
from .classification import class_indices
from .kinds import BINARY, DISTRIBUTION, LABELS, LOGITS, PER_CLASS, PROBABILITY, Kind
from .reducing import reduce
from .table import Row

__all__ = [
    "DiceLoss",
    "FocalTverskyLoss",
    "JaccardLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "TverskyLoss",
    "dice_loss",
    "focal_tversky_loss",
    "jaccard_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "tversky_loss",
]

#: What an overlap is taken of, and the dimensions of (N, C, pixels) that its sums run over.
PER = {"all": (0, 1, 2), "sample": (1, 2), "class": (0, 2), "both": 2}


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
    broadcast) are of those losses. ``squared``: Σp² + Σt² below the line, as first published.

    With nothing in either mask the loss is 0: without smooth, 0/0 counts as a perfect overlap, with
    gradient 0. Where the target alone is empty any p > 0 then costs 1, with gradient 0 too; give
    masks that may be empty a smooth of about 1, and they cost Σp/(Σp + smooth). Keras's Dice, which
    adds 1e-7 below the line only, gives the numbers of smooth = 0, but 1 for two empty masks.

    Raises ValueError when the shapes differ, the batch is empty, a number is outside [0, 1] or
    smooth is negative.

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([0.5, 0.5, 0.0]), tg.tensor([1.0, 0.0, 0.0])
    >>> tg.losses.dice_loss(p, t), tg.losses.dice_loss(p, t, smooth=1.0)
    (tensor(0.5000), tensor(0.3333))

    Source: Milletari et al. (2016), V-Net; the coefficient: Dice (1945), Measures of the amount of
    ecologic association between species.
    """
    input, target = _masks("dice_loss", input, target, smooth, per)
    part = 2.0 * _sum(input * target, per)
    whole = _sum(input * input + target * target if squared else input + target, per)
    return reduce(1.0 - _index(part, whole, smooth), reduction, weight)


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
    input, target = _masks("jaccard_loss", input, target, smooth, per)
    product = input * target
    part, whole = _sum(product, per), _sum(input + target - product, per)
    return reduce(1.0 - _index(part, whole, smooth), reduction, weight)


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
    index = _tversky_index("tversky_loss", input, target, alpha, beta, smooth, per)
    return reduce(1.0 - index, reduction, weight)


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
    """Focal Tversky loss: (1 - TI)^(1/gamma), TI the index of :func:`tversky_loss`.

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
    positive("focal_tversky_loss", "gamma", gamma)
    index = _tversky_index("focal_tversky_loss", input, target, alpha, beta, smooth, per)
    missing = clip(1.0 - index, 0.0)
    sloped = (missing > 0) | (gamma <= 1)
    loss = where(sloped, where(sloped, missing, 1.0) ** (1.0 / gamma), 0.0)
    return reduce(loss, reduction, weight)


def lovasz_hinge_loss(
    input: Tensor,
    target: Tensor,
    per_image: bool = True,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Lovász hinge: Σ_i max(e_(i), 0)·[J(i) - J(i-1)], e = 1 - z for foreground and 1 + z for not.

    The errors are sorted, largest first; J(i) is the Jaccard loss if the first i were wrong: a
    convex, piecewise linear surrogate of the binary Jaccard loss, which it equals where all errors
    are 0 or 1.

    ``input``: logits z of shape (N, ...), or (P,) for one image; ``target``: the mask, of that
    shape, 0 or 1, or ``ignore_index`` where a pixel does not count. ``per_image``: one loss for
    each of N images, which ``reduction`` is of; else one for all pixels together. An image
    without foreground costs its largest error, one whose pixels are all ignored 0.

    Raises ValueError when the shapes differ, the batch is empty or the mask holds another number.

    >>> import tapegrad as tg
    >>> z = tg.tensor([3.0, -0.5, -2.0, 0.25])
    >>> tg.losses.lovasz_hinge_loss(z, tg.tensor([1, 1, 0, 0]))
    tensor(0.9583)

    Source: Berman et al. (2018), The Lovász-softmax loss.
    """
    what = "lovasz_hinge_loss"
    input, target = matching(what, input=input, target=target)
    member, kept = target == 1, target != ignore_index

    def message(mask: Any) -> str:
        good = (mask == 0) | (mask == 1) | (mask == ignore_index)
        return (
            f"{what}: target must be a mask of 0 and 1, or ignore_index={ignore_index}, but "
            f"{first_bad(good, mask)}"
        )

    check(all_of(member | (target == 0) | ~kept), message, target)
    images = input.shape[0] if per_image and input.ndim > 1 else 1
    error = relu(where(member, 1.0 - input, 1.0 + input)).reshape(images, -1)
    loss = _lovasz(error, member.reshape(images, -1), kept.reshape(images, -1))
    return reduce(loss if per_image and input.ndim > 1 else loss.reshape(()), reduction)


def lovasz_softmax_loss(
    input: Tensor,
    target: Tensor,
    classes: str = "present",
    per_image: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Lovász-softmax: for each class Σ_i e_(i)·[J(i) - J(i-1)], e = 1 - p where it is, else p.

    The errors of all pixels are sorted, largest first; J(i) is the class's Jaccard loss if the
    first i were wrong. Where all p are 0 or 1 it is the mean Jaccard loss of the classes.

    ``input``: probabilities p of shape (N, C, ...), a softmax's; ``target``: class indices of
    shape (N, ...), ``ignore_index`` where a pixel does not count. ``classes``: the mean is over
    those "present" in the target (0 if none is, as when all is ignored), or "all". ``per_image``:
    one loss for each image, which ``reduction`` is of; else one for all pixels together.

    Raises ValueError for shapes that do not fit, an empty batch, a label out of range or
    probabilities that do not add up to 1.

    >>> import tapegrad as tg
    >>> p = tg.tensor([[0.75, 0.25], [0.5, 0.5]])
    >>> tg.losses.lovasz_softmax_loss(p, tg.tensor([0, 1]))
    tensor(0.4375)

    Source: Berman et al. (2018), The Lovász-softmax loss.
    """
    what = "lovasz_softmax_loss"
    input, target = tensors(what, input=input, target=target)
    if input.ndim < 2:
        raise ValueError(f"{what}: input must have shape (N, C, ...), not {input.shape}")
    not_empty(what, "input", input)
    if classes not in ("present", "all"):
        raise ValueError(f'{what}: classes must be "present" or "all", not {classes!r}')
    index = class_indices(what, input, target, 1, ignore_index)
    rows_add_up(what, "input", input, 1)
    images, count = input.shape[:2]
    p, index = input.reshape(images, count, -1), index.reshape(images, 1, -1)
    if not per_image:
        p, index = p.transpose(0, 1).reshape(1, count, -1), index.reshape(1, 1, -1)
    member = index == arange(count).reshape(count, 1)
    loss = _lovasz(where(member, 1.0 - p, p), member, index >= 0)
    if classes == "all":
        loss = loss.mean(dim=1)
    else:
        present = member.any(dim=2)
        loss = where(present, loss, 0.0).sum(dim=1) / maximum(present.sum(dim=1), 1)
    return reduce(loss if per_image else loss.reshape(()), reduction)


def _masks(what: str, input: Any, target: Any, smooth: Any, per: str) -> tuple[Tensor, Tensor]:
    """Checked operands; for sums over a part of the dimensions of shape (N, C, pixels)."""
    input, target = matching(what, input=input, target=target)
    if per not in PER:
        raise ValueError(f'{what}: per must be "all", "sample", "class" or "both", not {per!r}')
    inside(what, "input", input, 0.0, 1.0, "for logits use sigmoid or softmax first")
    inside(what, "target", target, 0.0, 1.0, "class indices go through one_hot first")
    not_negative(what, "smooth", smooth)
    if target.dtype.kind != "f":
        target = target.to(input.dtype)
    if per == "all":
        return input, target
    if input.ndim < 2:
        raise ValueError(f"{what} per {per} takes shape (N, C, ...), not {input.shape}")
    shape = (*input.shape[:2], -1)
    return input.reshape(shape), target.reshape(shape)


def _sum(x: Tensor, per: str) -> Tensor:
    return x.sum() if per == "all" else x.sum(dim=PER[per])


def _index(part: Tensor, whole: Tensor, smooth: Any) -> Tensor:
    """(part + smooth) / (whole + smooth), and 1 for 0/0."""
    if is_number_zero(smooth):
        return _share(part, whole)
    if isinstance(smooth, Tensor):
        return _share(part + smooth, whole + smooth)
    return (part + smooth) / (whole + smooth)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    nothing = whole == 0
    return where(nothing, 1.0, part / where(nothing, 1.0, whole))


def _tversky_index(
    what: str, input: Any, target: Any, alpha: Any, beta: Any, smooth: Any, per: str
) -> Tensor:
    input, target = _masks(what, input, target, smooth, per)
    not_negative(what, "alpha", alpha)
    not_negative(what, "beta", beta)
    hit = _sum(input * target, per)
    extra, missed = _sum(input, per) - hit, _sum(target, per) - hit
    return _index(hit, hit + alpha * extra + beta * missed, smooth)


def _lovasz(error: Tensor, member: Tensor, kept: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss along the last dimension (their algorithm 1).

    ``error``: at least 0; ``member``: which belong to the set; ``kept``: which count at all.
    """
    order = argsort(where(kept, error, -1.0), dim=-1, descending=True)  # those that do not last
    found = gather((member & kept).to(error.dtype), -1, order)
    size = found.sum(dim=-1, keepdim=True)
    loss = 1.0 - (size - cumsum(found, dim=-1)) / (size + cumsum(1.0 - found, dim=-1))
    gain = loss - pad(loss[..., :-1], (1, 0))
    return (gather(where(kept, error, 0.0), -1, order) * gain).sum(dim=-1)


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


class LovaszHingeLoss(Loss):
    """:func:`lovasz_hinge_loss` with its settings: logits in.

    >>> import tapegrad as tg
    >>> tg.losses.LovaszHingeLoss()(tg.tensor([[2.0, -0.5]]), tg.tensor([[1.0, 0.0]]))
    tensor(0.2500)
    """

    function = staticmethod(lovasz_hinge_loss)


class LovaszSoftmaxLoss(Loss):
    """:func:`lovasz_softmax_loss` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> tg.losses.LovaszSoftmaxLoss()(tg.tensor([[0.75, 0.25]]), tg.tensor([0]))
    tensor(0.2500)
    """

    function = staticmethod(lovasz_softmax_loss)


#: Images of classes: probabilities and labels of shape (rows, columns, 2, 2) and (rows, 2, 2).
SOFT_MAPS = Kind(
    lambda n, c, g: randn(n, c, 2, 2, dtype="float64", generator=g), lambda x: softmax(x, dim=1)
)
LABEL_MAPS = Kind(lambda n, c, g: randint(0, c, (n, 2, 2), generator=g), None)
SOME_LABEL_MAPS = Kind(
    lambda n, c, g: where(rand(n, 2, 2, generator=g) < 0.4, -100, LABEL_MAPS.draw(n, c, g)), None
)

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
    Row(
        lovasz_hinge_loss,
        (LOGITS, BINARY),
        LovaszHingeLoss,
        names=("lovasz_hinge",),
        settings=({"per_image": False},),
    ),
    Row(
        lovasz_softmax_loss,
        (DISTRIBUTION, LABELS),
        LovaszSoftmaxLoss,
        names=("lovasz_softmax", "lovasz"),
        settings=({"classes": "all"}, {"ignore_index": 1}),
    ),
    Row(
        lovasz_softmax_loss,
        (SOFT_MAPS, SOME_LABEL_MAPS),
        settings=({"per_image": True}, {"per_image": True, "reduction": "none"}),
        case="maps, some ignored",
    ),
)
