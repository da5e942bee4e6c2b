"""Losses of detection with anchors: a term for boxes and one for classes, added with weights.

The terms are formulas of their own. Which anchor is which object's, and how a box is written down
beside its anchor, is settled before: the targets say so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

from tapegrad import Tensor, argsort, inf, maximum, rand, randint, randn, where

from .base import Loss
from .boxes import BOXES
from .checks import floating, not_empty, not_negative, setting, tensors
from .checks import labels as check_labels
from .classification import cross_entropy
from .kinds import Kind
from .naming import get
from .reducing import reduce
from .regression import smooth_l1_loss
from .table import Row

__all__ = ["DetectionLoss", "SSDLoss", "detection_loss", "ssd_loss"]


def detection_loss(
    boxes: Tensor,
    logits: Tensor,
    target_boxes: Tensor,
    labels: Tensor,
    box_weight: Any = 1.0,
    class_weight: Any = 1.0,
    negative_ratio: Any = None,
    box_loss: Any = "smooth_l1",
    class_loss: Any = "cross_entropy",
    background: int = 0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Detection loss: (class_weight·Σ class_loss + box_weight·Σ_positive box_loss) / positives.

    ``boxes``: predicted for A anchors, (N, A, 4) or (A, 4); ``logits``: of their C classes, one of
    which is the background, (N, A, C); ``target_boxes``: as ``boxes``; ``labels``: (N, A), the
    class of each anchor: ``background`` (a negative), ``ignore_index`` (left out) or else a
    positive. Boxes count at positives only; whatever stands elsewhere has no effect, nor have the
    logits of what is left out.

    ``box_weight``, ``class_weight``: numbers, or one for each anchor; may be Tensors and have
    gradients. ``negative_ratio``: at most so many negatives for each positive of an image count,
    those of the largest class loss (hard negative mining); None: all. ``box_loss``: a name for
    :func:`get`, such as "giou" for corners (x1, y1, x2, y2), or a callable of boxes and targets
    that does not reduce (``GIoULoss(reduction="none")``): one number for each box, or for each
    coordinate, which are added up. ``class_loss``: likewise, of logits (M, C) and labels (M,).
    ``reduction``: "mean" divides the sum by the number of positives in the batch, at least 1;
    "none" gives (N, A).

    Without positives the box term is 0, and with a ``negative_ratio`` the class term too.

    Raises ValueError for shapes that do not fit, an empty batch, labels or a background that are
    not among the classes, and a negative ratio below 0.

    >>> import tapegrad as tg
    >>> boxes = tg.tensor([[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 9.0, 9.0]])
    >>> targets = tg.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    >>> logits, labels = tg.zeros(2, 3), tg.tensor([1, 0])
    >>> loss = tg.losses.detection_loss
    >>> loss(boxes, logits, targets, labels, box_loss="iou", class_weight=0.0)
    tensor(0.7500)

    Source: Girshick (2015), Fast R-CNN, for the sum of both terms.
    """
    what = "detection_loss"
    boxes, logits, target_boxes, labels = tensors(
        what, boxes=boxes, logits=logits, target_boxes=target_boxes, labels=labels
    )
    floating(what, "logits", logits)
    _fitting(what, boxes, logits, target_boxes, labels)
    not_empty(what, "boxes", boxes)
    classes = logits.shape[-1]
    if not isinstance(background, Integral) or background not in range(classes):
        raise ValueError(
            f"{what}: background must be one of the {classes} classes (the last dimension of "
            f"logits, {logits.shape}), counted from 0, not {background!r}"
        )
    check_labels(what, "labels", labels, classes, ignore_index)
    setting(what, "box_weight", box_weight, labels.shape)
    setting(what, "class_weight", class_weight, labels.shape)
    kept = labels != ignore_index
    index = where(kept, labels, background)
    positive = index != background

    logits = where(kept.unsqueeze(-1), logits, 0.0)
    by_class = _unreduced(class_loss)(logits.reshape(-1, classes), index.reshape(-1))
    if by_class.shape != (labels.numel(),):
        raise _not_unreduced(what, "class_loss", by_class, f"({labels.numel()},)")
    by_class = by_class.reshape(labels.shape)
    if negative_ratio is not None:
        not_negative(what, "negative_ratio", negative_ratio, ())
        most = negative_ratio * positive.sum(dim=-1, keepdim=True)
        kept = positive | _hardest(by_class, kept & ~positive, most)

    # Where there is no object two boxes of zeros are compared: what stands there may be anything.
    at = positive.unsqueeze(-1)
    by_box = _unreduced(box_loss)(where(at, boxes, 0.0), where(at, target_boxes, 0.0))
    if by_box.shape == boxes.shape:
        by_box = by_box.sum(dim=-1)
    if by_box.shape != labels.shape:
        raise _not_unreduced(what, "box_loss", by_box, f"{labels.shape} or {boxes.shape}")

    loss = class_weight * where(kept, by_class, 0.0) + box_weight * where(positive, by_box, 0.0)
    return reduce(loss, reduction, total=maximum(positive.sum(), 1))


def ssd_loss(
    boxes: Tensor,
    logits: Tensor,
    target_boxes: Tensor,
    labels: Tensor,
    alpha: Any = 1.0,
    negative_ratio: Any = 3.0,
    background: int = 0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """SSD's loss: (Σ cross-entropy + alpha·Σ_positive smooth L1) / positives; 3 negatives for each.

    :func:`detection_loss` with smooth L1 of box offsets (as in Fast R-CNN, not squared errors),
    cross-entropy, and hard negative mining.
    ``boxes``, ``target_boxes``: offsets from the default boxes, (N, A, 4), as the paper encodes
    them: (cx - dx)/dw, (cy - dy)/dh, ln(w/dw), ln(h/dh). ``logits``: (N, A, C) with the
    ``background`` class; ``labels``: (N, A). ``alpha``: may be a Tensor and has a gradient.

    Without a positive in the batch the loss is 0, and so is its gradient. Errors as there.

    >>> import tapegrad as tg
    >>> boxes, targets = tg.tensor([[0.5, 0.0, 0.0, 2.0], [9.0, 9.0, 9.0, 9.0]]), tg.zeros(2, 4)
    >>> logits = tg.tensor([[0.0, 1000.0], [1000.0, 0.0]])
    >>> tg.losses.ssd_loss(boxes, logits, targets, tg.tensor([1, 0]))  # 0.5²/2 + (2 - 0.5)
    tensor(1.6250)

    Source: Liu et al. (2016), SSD: single shot multibox detector.
    """
    return detection_loss(
        boxes,
        logits,
        target_boxes,
        labels,
        box_weight=alpha,
        negative_ratio=negative_ratio,
        box_loss=partial(smooth_l1_loss, reduction="none"),
        class_loss=partial(cross_entropy, reduction="none"),
        background=background,
        ignore_index=ignore_index,
        reduction=reduction,
    )


def _hardest(loss: Tensor, negative: Tensor, most: Tensor) -> Tensor:
    """Those of the negatives with the largest losses, at most so many of each image."""
    order = argsort(where(negative, loss, -inf), dim=-1, descending=True)
    return negative & (argsort(order, dim=-1) + 1 <= most)


def _unreduced(loss: Any) -> Callable[..., Any]:
    """A loss that does not reduce, by its name."""
    return get(loss, reduction="none") if isinstance(loss, str) else get(loss)


def _not_unreduced(what: str, name: str, value: Tensor, shape: str) -> ValueError:
    return ValueError(
        f'{what}: {name} must not reduce (say reduction="none") and give shape {shape}, '
        f"not {value.shape}"
    )


def _fitting(
    what: str, boxes: Tensor, logits: Tensor, target_boxes: Tensor, labels: Tensor
) -> None:
    """Refuse operands whose shapes do not go together."""
    anchors = boxes.shape[:-1]
    if (
        boxes.ndim not in (2, 3)
        or boxes.shape[-1] != 4
        or target_boxes.shape != boxes.shape
        or logits.ndim != boxes.ndim
        or logits.shape[:-1] != anchors
        or labels.shape != anchors
    ):
        raise ValueError(
            f"{what} takes boxes (N, A, 4), logits (N, A, C), target_boxes (N, A, 4) and labels "
            f"(N, A), not {boxes.shape}, {logits.shape}, {target_boxes.shape} and {labels.shape}"
        )


class DetectionLoss(Loss):
    """:func:`detection_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.DetectionLoss(box_weight=2.0, box_loss="giou")
    >>> boxes, logits = tg.tensor([[[0.0, 0.0, 1.0, 2.0]]]), tg.tensor([[[0.0, 1000.0]]])
    >>> loss(boxes, logits, tg.tensor([[[0.0, 0.0, 1.0, 1.0]]]), tg.tensor([[1]]))
    tensor(1.)
    """

    function = staticmethod(detection_loss)


class SSDLoss(Loss):
    """:func:`ssd_loss` with its settings.

    >>> import tapegrad as tg
    >>> boxes, logits = tg.ones(1, 1, 4), tg.tensor([[[0.0, 1000.0]]])
    >>> tg.losses.SSDLoss(alpha=0.5)(boxes, logits, tg.zeros(1, 1, 4), tg.tensor([[1]]))
    tensor(1.)
    """

    function = staticmethod(ssd_loss)


ANCHORS = 7
#: For seven anchors of each image: offsets, corners, logits and labels, a third of them background.
OFFSETS = Kind(lambda n, c, g: 1.5 * randn(n, ANCHORS, 4, dtype="float64", generator=g))
CORNERS = Kind(lambda n, c, g: 0.5 * randn(n, ANCHORS, 4, dtype="float64", generator=g), BOXES.link)
ANCHOR_LOGITS = Kind(lambda n, c, g: 2.0 * randn(n, ANCHORS, c, dtype="float64", generator=g))
ANCHOR_LABELS = Kind(lambda n, c, g: randint(0, c, (n, ANCHORS), generator=g), None)
#: Mostly background, and some to be ignored.
FEW_LABELS = Kind(
    lambda n, c, g: where(
        rand(n, ANCHORS, generator=g) < 0.2,
        randint(0, c, (n, ANCHORS), generator=g),
        -100 * randint(0, 2, (n, ANCHORS), generator=g),
    ),
    None,
)


ROWS = (
    Row(
        detection_loss,
        (OFFSETS, ANCHOR_LOGITS, OFFSETS, ANCHOR_LABELS),
        DetectionLoss,
        names=("detection",),
        settings=({"box_weight": 2.5, "class_weight": 0.3}, {"negative_ratio": 1.5}),
        fixed=("negative_ratio",),
    ),
    Row(
        detection_loss,
        (CORNERS, ANCHOR_LOGITS, CORNERS, FEW_LABELS),
        settings=({"box_weight": 2.5, "box_loss": "giou"}, {"box_loss": "diou"}),
        case="corners, some ignored",
    ),
    Row(
        ssd_loss,
        (OFFSETS, ANCHOR_LOGITS, OFFSETS, FEW_LABELS),
        SSDLoss,
        names=("ssd", "multibox"),
        settings=({"alpha": 0.3}, {"negative_ratio": 1.0}),
        fixed=("negative_ratio",),
    ),
)
