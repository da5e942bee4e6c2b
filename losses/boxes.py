"""Losses of boxes: how much two overlap, and how far apart and how differently shaped they are.

A box is its corners (x1, y1, x2, y2) with x1 ≤ x2 and y1 ≤ y2, in any unit of length.
"""

from __future__ import annotations

import math
from typing import Any

from tapegrad import (
    Tensor,
    atan2,
    cat,
    check,
    exp,
    inf,
    maximum,
    minimum,
    randn,
    relu,
    stop_gradient,
)
from tapegrad.ops.engine import all_between

from .base import Loss
from .checks import matching, name_entry
from .kinds import REALS, Kind
from .reducing import reduce
from .table import Row

__all__ = [
    "CIoULoss",
    "DIoULoss",
    "GIoULoss",
    "IoULoss",
    "complete_box_iou_loss",
    "distance_box_iou_loss",
    "generalized_box_iou_loss",
    "iou_loss",
]


def iou_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", eps: float = 1e-7, weight: Any = None
) -> Tensor:
    """IoU loss of boxes: 1 - |A∩B| / (|A∪B| + eps).

    ``input``, ``target``: corners (x1, y1, x2, y2), of one shape (N, 4), (4,) or (..., 4).
    ``eps``: what keeps the quotient finite for boxes without area, in units of area.
    ``reduction``: of the N losses; "mean" as everywhere here, where torchvision's box losses have
    "none". ``weight``: one factor for each box.

    Boxes that do not overlap, or only touch, cost 1 with gradient 0, however far apart they are:
    use one of the other three. So do two boxes without area, even the same one. At identical boxes,
    a kink, the gradient is the mean of those from either side, as PyTorch's maximum gives it.

    Raises ValueError when the shapes differ or do not end in 4, the batch is empty, or a box has
    x2 < x1 or y2 < y1.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 2.0, 2.0]]), tg.tensor([[1.0, 0.0, 3.0, 2.0]])
    >>> tg.losses.iou_loss(a, b)  # 2 of 6
    tensor(0.6667)

    Source: Rahman and Wang (2016), Optimizing intersection-over-union in deep neural networks for
    image segmentation. (Yu et al. (2016), UnitBox, take -ln IoU.)
    """
    input, target = _boxes("iou_loss", input, target)
    common, union = areas(input, target)
    return reduce(1.0 - common / (union + eps), reduction, weight)


def generalized_box_iou_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", eps: float = 1e-7, weight: Any = None
) -> Tensor:
    """GIoU loss of boxes: 1 - IoU + (|C| - |A∪B|) / |C|, C the smallest box around both.

    Between 0 for the same box and 2 for boxes far apart, which it draws together. Arguments and
    errors as in :func:`iou_loss`, the numbers as torchvision's (whose reduction is "none" by
    default). Two boxes without area in one place cost 1. Where both are on one vertical or
    horizontal line C has no area, and eps alone bounds the gradient: it can be as large as
    length/eps.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 1.0, 1.0]]), tg.tensor([[3.0, 0.0, 4.0, 1.0]])
    >>> tg.losses.generalized_box_iou_loss(a, b)  # apart; 2 of 4 inside C
    tensor(1.5000)

    Source: Rezatofighi et al. (2019), Generalized intersection over union.
    """
    input, target = _boxes("generalized_box_iou_loss", input, target)
    common, union = areas(input, target)
    sides = _around(input, target)
    around = sides[..., 0] * sides[..., 1]
    loss = 1.0 - common / (union + eps) + (around - union) / (around + eps)
    return reduce(loss, reduction, weight)


def distance_box_iou_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", eps: float = 1e-7, weight: Any = None
) -> Tensor:
    """DIoU loss of boxes: 1 - IoU + d²/c², d between the centres, c the diagonal around both.

    Arguments and errors as in :func:`iou_loss`, the numbers as torchvision's (whose reduction is
    "none" by default). Two boxes that are one point cost 1.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 1.0, 1.0]]), tg.tensor([[2.0, 0.0, 3.0, 1.0]])
    >>> tg.losses.distance_box_iou_loss(a, b)  # apart; d² = 4, c² = 10
    tensor(1.4000)

    Source: Zheng et al. (2020), Distance-IoU loss.
    """
    input, target = _boxes("distance_box_iou_loss", input, target)
    common, union = areas(input, target)
    loss = 1.0 - common / (union + eps) + _distance(input, target, eps)
    return reduce(loss, reduction, weight)


def complete_box_iou_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", eps: float = 1e-7, weight: Any = None
) -> Tensor:
    """CIoU loss of boxes: 1 - IoU + d²/c² + αv, v = (4/π²)·(atan(w/h) - atan(w'/h'))².

    The DIoU loss and what the shapes differ; the trade-off α = v / (1 - IoU + v) is held constant.
    Arguments and errors as in :func:`iou_loss`, the numbers as torchvision's (whose reduction is
    "none" by default). For boxes without height theirs, or their gradients, are NaN: here atan(w/0)
    is π/2, and the angle of a point 0 with gradient 0. The gradient by the sides of a small box
    grows like 1/side.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 4.0, 1.0]]), tg.tensor([[0.0, 0.0, 1.0, 4.0]])
    >>> tg.losses.complete_box_iou_loss(a, b), tg.losses.distance_box_iou_loss(a, b)
    (tensor(1.1662), tensor(0.9978))

    Source: Zheng et al. (2020), Distance-IoU loss.
    """
    input, target = _boxes("complete_box_iou_loss", input, target)
    common, union = areas(input, target)
    iou = common / (union + eps)
    turn = _angle(target) - _angle(input)
    v = (4.0 / math.pi**2) * (turn * turn)
    # Zheng et al. (2020): α is a parameter of the trade-off, their gradient (12) is that of v only
    alpha = stop_gradient(v / (1.0 - iou + v + eps))
    loss = 1.0 - iou + _distance(input, target, eps) + alpha * v
    return reduce(loss, reduction, weight)


def areas(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The areas of the intersection and the union of boxes."""
    common = relu(minimum(a[..., 2:], b[..., 2:]) - maximum(a[..., :2], b[..., :2]))
    both = common[..., 0] * common[..., 1]
    a, b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    return both, a[..., 0] * a[..., 1] + b[..., 0] * b[..., 1] - both


def _around(a: Tensor, b: Tensor) -> Tensor:
    """Width and height of the smallest box around both."""
    return maximum(a[..., 2:], b[..., 2:]) - minimum(a[..., :2], b[..., :2])


def _distance(a: Tensor, b: Tensor, eps: float) -> Tensor:
    """The squared distance of the centres in units of the squared diagonal around both."""
    apart, around = a - b, _around(a, b)
    apart = apart[..., :2] + apart[..., 2:]
    return 0.25 * (apart * apart).sum(dim=-1) / ((around * around).sum(dim=-1) + eps)


def _angle(a: Tensor) -> Tensor:
    """atan(width / height), of a point 0."""
    sides = a[..., 2:] - a[..., :2]
    return atan2(sides[..., 0], sides[..., 1])


def _boxes(what: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Checked operands of a loss of boxes."""
    input, target = matching(what, input=input, target=target)
    if input.shape[-1:] != (4,):
        raise ValueError(f"{what}: boxes have shape (N, 4), their corners, not {input.shape}")
    corners(what, "input", input)
    corners(what, "target", target)
    return input, target


def corners(what: str, name: str, boxes: Tensor) -> None:
    """Check that no box has its corners the wrong way round; the first that has is named."""

    def message(boxes: Any) -> str:
        good = (boxes[..., 2:] - boxes[..., :2] >= 0).all(-1)
        at = tuple((~good).nonzero()[axis][0] for axis in range(boxes.ndim - 1))
        return (
            f"{what}: boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, but {name}"
            f"{f', {name_entry(at)},' if at else ''} is ({', '.join(f'{x:g}' for x in boxes[at])})"
        )

    check(all_between(boxes[..., 2:] - boxes[..., :2], low=0.0, high=inf), message, boxes)


class IoULoss(Loss):
    """:func:`iou_loss` with its settings.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 2.0, 2.0]]), tg.tensor([[0.0, 0.0, 1.0, 1.0]])
    >>> tg.losses.IoULoss()(a, b)
    tensor(0.7500)
    """

    function = staticmethod(iou_loss)


class GIoULoss(Loss):
    """:func:`generalized_box_iou_loss` with its settings.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 1.0, 1.0]]), tg.tensor([[1.0, 1.0, 2.0, 2.0]])
    >>> tg.losses.GIoULoss()(a, b)
    tensor(1.5000)
    """

    function = staticmethod(generalized_box_iou_loss)


class DIoULoss(Loss):
    """:func:`distance_box_iou_loss` with its settings.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 1.0, 1.0]]), tg.tensor([[1.0, 1.0, 2.0, 2.0]])
    >>> tg.losses.DIoULoss()(a, b)
    tensor(1.2500)
    """

    function = staticmethod(distance_box_iou_loss)


class CIoULoss(Loss):
    """:func:`complete_box_iou_loss` with its settings.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 1.0, 1.0]]), tg.tensor([[1.0, 1.0, 2.0, 2.0]])
    >>> tg.losses.CIoULoss()(a, b)  # of the same shape: as DIoU
    tensor(1.2500)
    """

    function = staticmethod(complete_box_iou_loss)


#: Boxes of some size around the origin: low corners and sides, linked to corners.
BOXES = Kind(
    lambda n, c, g: 0.5 * randn(n, 4, dtype="float64", generator=g),
    lambda x: cat([x[..., :2], x[..., :2] + exp(x[..., 2:])], dim=-1),
)
#: One number for each box.
PER_BOX = Kind(REALS.draw, exp)
SETTINGS = ({"eps": 1e-3, "weight": PER_BOX},)

ROWS = (
    Row(iou_loss, (BOXES, BOXES), IoULoss, names=("iou",), settings=SETTINGS, fixed=("eps",)),
    Row(
        generalized_box_iou_loss,
        (BOXES, BOXES),
        GIoULoss,
        names=("giou",),
        settings=SETTINGS,
        fixed=("eps",),
    ),
    Row(
        distance_box_iou_loss,
        (BOXES, BOXES),
        DIoULoss,
        names=("diou",),
        settings=SETTINGS,
        fixed=("eps",),
    ),
    Row(
        complete_box_iou_loss,
        (BOXES, BOXES),
        CIoULoss,
        names=("ciou",),
        settings=SETTINGS,
        fixed=("eps",),
    ),
)
