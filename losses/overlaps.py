"""Losses of segmentation: the overlap of masks."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    arange,
    argsort,
    check,
    cumsum,
    gather,
    maximum,
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
    matching,
    not_empty,
    not_negative,
    positive,
    rows_add_up,
    setting,
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

    Source: Berman et al. (2018), The Lovász-softmax loss: a tractable surrogate for the
    optimization of the intersection-over-union measure in neural networks.
    """
    what = "lovasz_hinge_loss"
    input, target = matching(what, input=input, target=target)
    setting(what, "ignore_index", ignore_index, ())
    member, kept = target == 1, target != ignore_index

    def message(mask: Any) -> str:
        good = (mask == 0) | (mask == 1) | (mask == ignore_index)
        return (
            f"{what}: target must be a mask of 0 and 1, or ignore_index={ignore_index}, but "
            f"{first_bad(good, mask)}"
        )

    check(all_of(member | (target == 0) | ~kept), message, target)
    shape = (input.shape[0], -1) if per_image and input.ndim > 1 else (-1,)
    error = relu(where(member, 1.0 - input, 1.0 + input))
    return reduce(
        _lovasz(error.reshape(shape), member.reshape(shape), kept.reshape(shape)), reduction
    )


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
    shape (N, ...), ``ignore_index`` where a pixel does not count, whatever its p. ``classes``: the
    mean is over those "present" in the target (0 if none is, as when all is ignored), or "all".
    ``per_image``: one loss for each image, which ``reduction`` is of; else one for all pixels
    together.

    Raises ValueError for shapes that do not fit, an empty batch, a label out of range or
    probabilities that do not add up to 1.

    >>> import tapegrad as tg
    >>> p = tg.tensor([[0.75, 0.25], [0.5, 0.5]])
    >>> tg.losses.lovasz_softmax_loss(p, tg.tensor([0, 1]))
    tensor(0.4375)

    Source: Berman et al. (2018), The Lovász-softmax loss: a tractable surrogate for the
    optimization of the intersection-over-union measure in neural networks.
    """
    what = "lovasz_softmax_loss"
    input, target = tensors(what, input=input, target=target)
    if input.ndim < 2:
        raise ValueError(f"{what}: input must have shape (N, C, ...), not {input.shape}")
    not_empty(what, "input", input)
    if classes not in ("present", "all"):
        raise ValueError(f'{what}: classes must be "present" or "all", not {classes!r}')
    index = class_indices(what, input, target, 1, ignore_index)
    images, count = input.shape[:2]
    input = where(index.unsqueeze(1) >= 0, input, 1.0 / count)  # anything may stand where ignored
    rows_add_up(what, "input", input, 1)

    p, index = input.reshape(images, count, -1), index.reshape(images, 1, -1)
    if not per_image:  # all pixels are as of one image
        p, index = p.transpose(0, 1).reshape(count, -1), index.reshape(1, -1)
    member = index == arange(count).reshape(count, 1)
    loss = _lovasz(where(member, 1.0 - p, p), member, index >= 0)
    if classes == "all":
        return reduce(loss.mean(dim=-1), reduction)
    present = member.any(dim=-1)
    loss = where(present, loss, 0.0).sum(dim=-1) / maximum(present.sum(dim=-1), 1)
    return reduce(loss, reduction)


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


def _lovasz(error: Tensor, member: Tensor, kept: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss along the last dimension (their algorithm 1).

    ``error``: at least 0; ``member``: which belong to the set; ``kept``: which count at all.

    J = 1 - I/U, I the members that are not wrong yet, U the set and what is wrong outside of it.
    A member that turns wrong leaves I, and J rises by 1/U; another element enters U, from U - 1,
    and J rises by I/(U·(U - 1)). The difference J(i) - J(i-1) itself would lose digits.
    """
    order = argsort(where(kept, error, -1.0), dim=-1, descending=True)  # those that do not last
    found = gather(member & kept, -1, order)
    size = found.sum(dim=-1, keepdim=True)
    common = (size - cumsum(found, dim=-1)).to(error.dtype)
    union = (size + cumsum(~found, dim=-1)).to(error.dtype)
    # where U is 1 the first element is all there is, and J rises from 0 to 1
    rise = where(found | (union == 1), 1.0, common / maximum(union - 1.0, 1.0)) / union
    return (gather(where(kept, error, 0.0), -1, order) * rise).sum(dim=-1)


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
