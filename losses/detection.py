"""Losses of detection: terms for boxes and for classes, added with weights.

The terms are formulas of their own. Which anchor is which object's, and how a box is written down
beside its anchor, is settled before: the targets say so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple

from tapegrad import (
    Tensor,
    arange,
    argmax,
    argsort,
    cat,
    check,
    inf,
    maximum,
    one_hot,
    rand,
    randint,
    randn,
    safe_sqrt,
    sigmoid,
    stop_gradient,
    tensor,
    where,
)
from tapegrad import all as all_of
from tapegrad.ops.engine import all_between

from .base import Loss
from .boxes import BOXES, Box, areas
from .checks import first_bad, floating, inside, not_empty, not_negative, setting, tensors
from .checks import labels as check_labels
from .classification import cross_entropy
from .kinds import Kind
from .naming import get
from .reducing import reduce
from .regression import smooth_l1_loss
from .table import Row

__all__ = [
    "DetectionLoss",
    "SSDLoss",
    "YOLOv1Loss",
    "detection_loss",
    "ssd_loss",
    "yolo_v1_loss",
]


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


def yolo_v1_loss(
    input: Tensor,
    target: Tensor,
    lambda_coord: Any = 5.0,
    lambda_noobj: Any = 0.5,
    boxes: int = 2,
    reduction: str = "mean",
) -> Tensor:
    """YOLOv1's loss: λ_coord·[Δx² + Δy² + Δ√w² + Δ√h²] + Δconfidence² + Δclasses², squares only.

    ``input``: (N, rows, columns, 5·boxes + C): for each cell of the grid the numbers x, y, w, h and
    confidence of each box, then the probabilities of C classes. ``target``: (N, rows, columns,
    5 + C): x, y, w, h, then 1 if there is an object (else 0, and the rest is not looked at), then
    its class, one-hot. x and y are the centre inside the cell, w and h shares of the image, all
    between 0 and 1. ``lambda_coord`` and ``lambda_noobj`` may be Tensors and have gradients.

    In a cell with an object the box of the largest IoU with it is responsible (if none overlaps,
    the nearest in the four numbers; of equals the first): its coordinates count, lambda_coord
    times, and its confidence should be its IoU, a target held constant. The confidence of every
    other box should be 0 and counts lambda_noobj times. Classes count in cells with an object. The
    sum is taken over an image, and ``reduction`` is of the N images.

    Boxes cost squared errors here, smooth L1 in :func:`ssd_loss`. The roots let an error of a small
    box count more than the same error of a large one.

    A width or height of exactly 0 has no gradient (that of its root is infinite): let the network
    end in something positive, such as a sigmoid or a square.

    Raises ValueError for shapes that do not fit, an empty batch, an object that is neither 0 nor 1,
    target coordinates outside [0, 1], and a predicted width or height below 0 beside an object.

    >>> import tapegrad as tg
    >>> seen = tg.tensor([0.5, 0.5, 0.25, 0.25, 0.75, 1.0]).reshape(1, 1, 1, 6)
    >>> there = tg.tensor([0.5, 0.5, 0.25, 0.25, 1.0, 1.0]).reshape(1, 1, 1, 6)
    >>> tg.losses.yolo_v1_loss(seen, there, boxes=1)  # the confidence alone is off, by 1/4
    tensor(0.0625)

    Source: Redmon et al. (2016), You only look once: unified, real-time object detection.
    """
    cells = _cells("yolo_v1_loss", input, target, boxes)
    found, box, truth, confidence = cells.found, cells.box, cells.truth, cells.confidence
    setting("yolo_v1_loss", "lambda_coord", lambda_coord, confidence.shape)
    setting("yolo_v1_loss", "lambda_noobj", lambda_noobj, confidence.shape)

    # Redmon et al. (2016), 2 and 2.2: the confidence should be the IoU, a target like any other.
    overlap, distance = _fit(stop_gradient(box), stop_gradient(truth))
    best = argmax(where(overlap > 0, overlap, -distance), dim=-1, keepdim=True)
    responsible = (arange(boxes) == best) & found

    place = _squares(box[..., :2] - truth[..., :2])
    size = _squares(safe_sqrt(box[..., 2:]) - safe_sqrt(truth[..., 2:]))
    off = confidence - overlap
    by_box = where(
        responsible,
        lambda_coord * (place + size) + off * off,
        lambda_noobj * (confidence * confidence),
    )
    by_class = _squares(where(found, cells.wrong, 0.0))
    return reduce(by_box.sum(dim=(1, 2, 3)) + by_class.sum(dim=(1, 2)), reduction)


class _Cells(NamedTuple):
    """What the cells of the grids hold, beside one another in a dimension of boxes."""

    #: whether there is an object, (N, rows, columns, 1)
    found: Tensor
    #: x, y, w, h as predicted, (N, rows, columns, boxes, 4), and as they are, (..., 1, 4); 0 where
    #: there is no object
    box: Tensor
    truth: Tensor
    #: of each box, (N, rows, columns, boxes)
    confidence: Tensor
    #: the probabilities of the classes less the true ones, (N, rows, columns, C)
    wrong: Tensor


def _cells(what: str, input: Any, target: Any, boxes: Any) -> _Cells:
    """Checked operands of YOLOv1's loss, taken apart."""
    if not isinstance(boxes, Integral) or boxes < 1:
        raise ValueError(f"{what}: boxes must be an integer, 1 or more a cell, not {boxes!r}")
    input, target = tensors(what, input=input, target=target)
    split = 5 * boxes
    expected = (*input.shape[:-1], input.shape[-1] - split + 5) if input.ndim == 4 else ()
    if not expected or expected[-1] < 5 or target.shape != expected:
        raise ValueError(
            f"{what} with {boxes} boxes a cell takes input of shape (N, rows, columns, {split} + C)"
            f" and target of shape (N, rows, columns, 5 + C), not {input.shape} and {target.shape}"
        )
    not_empty(what, "input", input)
    there = target[..., 4:5]
    found = there == 1
    check(
        all_of(found | (there == 0)),
        lambda there: (
            f"{what}: target[..., 4] says whether there is an object, 1 or 0, but "
            f"{first_bad((there == 0) | (there == 1), there)}"
        ),
        target[..., 4],
    )
    truth = where(found, target[..., :4], 0.0)
    inside(what, "target[..., :4]", truth, 0.0, 1.0, "x, y are of the cell, w, h of the image")
    predicted = input[..., :split].reshape(*input.shape[:3], boxes, 5)
    box = where(found.unsqueeze(-1), predicted[..., :4], 0.0)
    check(
        all_between(box[..., 2:], low=0.0, high=inf),
        lambda sides: (
            f"{what}: widths and heights cannot be negative, but of those in input, by cell, box "
            f"and side, {first_bad(sides >= 0, sides)}; end the network in a sigmoid or a square"
        ),
        box[..., 2:],
    )
    wrong = input[..., split:] - target[..., 5:]
    return _Cells(found, box, truth.unsqueeze(-2), predicted[..., 4], wrong)


def _squares(x: Tensor) -> Tensor:
    """The sum of squares along the last dimension."""
    return (x * x).sum(dim=-1)


def _fit(box: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """IoU with the true box and squared distance from it, both in the image's units."""
    rows, columns = box.shape[1:3]
    cell = tensor([1.0 / columns, 1.0 / rows, 1.0, 1.0], dtype=box.dtype)
    box, truth = cell * box, cell * truth
    common, union = areas(_centred(box), _centred(truth))
    return common / where(union > 0, union, 1.0), _squares(box - truth)


def _centred(box: Tensor) -> Box:
    """A box of its centre and sides."""
    centre, sides = box[..., :2], box[..., 2:]
    return Box(centre - 0.5 * sides, centre + 0.5 * sides, sides)


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


class YOLOv1Loss(Loss):
    """:func:`yolo_v1_loss` with its settings.

    >>> import tapegrad as tg
    >>> halves, nothing = tg.full((1, 7, 7, 2 * 5 + 20), 0.5), tg.zeros(1, 7, 7, 5 + 20)
    >>> tg.losses.YOLOv1Loss()(halves, nothing)  # 98 · 0.5 · 0.5²
    tensor(12.2500)
    """

    function = staticmethod(yolo_v1_loss)


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


def _grid_target(rows: int, columns: int, generator: Any) -> Tensor:
    shape = rows, 2, 2
    box = rand(*shape, 4, dtype="float64", generator=generator)
    there = (rand(*shape, 1, generator=generator) < 0.6).double()
    kind = one_hot(randint(0, columns, shape, generator=generator), columns).double()
    return cat([box, there, kind], dim=-1)


#: A grid of 2 x 2 cells with two boxes each.
GRID = Kind(lambda n, c, g: randn(n, 2, 2, 10 + c, dtype="float64", generator=g), sigmoid)
GRID_TARGET = Kind(_grid_target, None)

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
    Row(
        yolo_v1_loss,
        (GRID, GRID_TARGET),
        YOLOv1Loss,
        names=("yolo_v1", "yolo"),
        settings=({"lambda_coord": 2.0, "lambda_noobj": 0.3},),
    ),
)
