"""Losses of boxes: how much two overlap, and how far apart and how differently shaped they are.

A box is its corners (x1, y1, x2, y2) with x1 ≤ x2 and y1 ≤ y2, in any unit of length. Areas are
products: in single precision sides may be as long as 1e19.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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
from .checks import matching, name_entry, not_negative
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
    input: Tensor, target: Tensor, reduction: str = "mean", eps: Any = 1e-7, weight: Any = None
) -> Tensor:
    """IoU loss of boxes: 1 - |A∩B| / (|A∪B| + eps).

    ``input``, ``target``: corners (x1, y1, x2, y2), of one shape (N, 4), (4,) or (..., 4).
    ``eps``: at least 0, what keeps the quotient finite for boxes without area, in units of area.
    ``reduction``: of the N losses; "mean" as everywhere here, where torchvision's box losses have
    "none". ``weight``: one factor for each box.

    Boxes that do not overlap, or only touch, cost 1 with gradient 0, however far apart they are:
    use one of the other three. So do two boxes without area, even the same one. At identical boxes,
    a kink, the gradient is the mean of those from either side, as PyTorch's maximum gives it.

    Raises ValueError when the shapes differ or do not end in 4, the batch is empty, a box has
    x2 < x1 or y2 < y1, or eps is negative.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 2.0, 2.0]]), tg.tensor([[1.0, 0.0, 3.0, 2.0]])
    >>> tg.losses.iou_loss(a, b)  # 2 of 6
    tensor(0.6667)

    Source: Rezatofighi et al. (2019), Generalized intersection over union: a metric and a loss for
    bounding box regression. (Yu et al. (2016), UnitBox, take -ln IoU.)
    """
    a, b = _boxes("iou_loss", input, target, eps)
    common, union = areas(a, b)
    return reduce(1.0 - common / (union + eps), reduction, weight)


def generalized_box_iou_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", eps: Any = 1e-7, weight: Any = None
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

    Source: Rezatofighi et al. (2019), Generalized intersection over union: a metric and a loss for
    bounding box regression.
    """
    a, b = _boxes("generalized_box_iou_loss", input, target, eps)
    common, union = areas(a, b)
    around = _area(_around(a, b))
    loss = 1.0 - common / (union + eps) + (around - union) / (around + eps)
    return reduce(loss, reduction, weight)


def distance_box_iou_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", eps: Any = 1e-7, weight: Any = None
) -> Tensor:
    """DIoU loss of boxes: 1 - IoU + d²/c², d between the centres, c the diagonal around both.

    Arguments and errors as in :func:`iou_loss`, the numbers as torchvision's (whose reduction is
    "none" by default). Two boxes that are one point cost 1.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[0.0, 0.0, 1.0, 1.0]]), tg.tensor([[2.0, 0.0, 3.0, 1.0]])
    >>> tg.losses.distance_box_iou_loss(a, b)  # apart; d² = 4, c² = 10
    tensor(1.4000)

    Source: Zheng et al. (2020), Distance-IoU loss: faster and better learning for bounding box
    regression.
    """
    a, b = _boxes("distance_box_iou_loss", input, target, eps)
    common, union = areas(a, b)
    loss = 1.0 - common / (union + eps) + _distance(a, b, eps)
    return reduce(loss, reduction, weight)


def complete_box_iou_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", eps: Any = 1e-7, weight: Any = None
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

    Source: Zheng et al. (2020), Distance-IoU loss: faster and better learning for bounding box
    regression.
    """
    a, b = _boxes("complete_box_iou_loss", input, target, eps)
    common, union = areas(a, b)
    iou = common / (union + eps)
    turn = _angle(a) - _angle(b)
    v = (4.0 / math.pi**2) * (turn * turn)
    # Zheng et al. (2020): α is a parameter of the trade-off, their gradient (12) is that of v only
    alpha = stop_gradient(v / (1.0 - iou + v + eps))
    loss = 1.0 - iou + _distance(a, b, eps) + alpha * v
    return reduce(loss, reduction, weight)


class Box(NamedTuple):
    """Boxes by their corners (x1, y1) and (x2, y2), and what is between: (width, height)."""

    low: Tensor
    high: Tensor
    sides: Tensor


def areas(a: Box, b: Box) -> tuple[Tensor, Tensor]:
    """The areas of the intersection and the union of boxes."""
    common = _area(relu(minimum(a.high, b.high) - maximum(a.low, b.low)))
    return common, _area(a.sides) + _area(b.sides) - common


def _area(sides: Tensor) -> Tensor:
    return sides[..., 0] * sides[..., 1]


def _around(a: Box, b: Box) -> Tensor:
    """Width and height of the smallest box around both."""
    return maximum(a.high, b.high) - minimum(a.low, b.low)


def _distance(a: Box, b: Box, eps: Any) -> Tensor:
    """The squared distance of the centres in units of the squared diagonal around both."""
    apart, around = 0.5 * (a.low - b.low + (a.high - b.high)), _around(a, b)
    return (apart * apart).sum(dim=-1) / ((around * around).sum(dim=-1) + eps)


def _angle(a: Box) -> Tensor:
    """atan(width / height), of a point 0."""
    return atan2(a.sides[..., 0], a.sides[..., 1])


def _boxes(what: str, input: Any, target: Any, eps: Any) -> tuple[Box, Box]:
    """Checked operands of a loss of boxes."""
    input, target = matching(what, input=input, target=target)
    if input.shape[-1:] != (4,):
        raise ValueError(f"{what}: boxes have shape (N, 4), their corners, not {input.shape}")
    not_negative(what, "eps", eps, input.shape[:-1])
    return _box(what, "input", input), _box(what, "target", target)


def _box(what: str, name: str, corners: Tensor) -> Box:
    """A box of its corners, checked: the first whose corners are the wrong way round is named."""
    low, high = corners[..., :2], corners[..., 2:]
    sides = high - low

    def message(corners: Any) -> str:
        good = (corners[..., 2:] - corners[..., :2] >= 0).all(-1)
        at = tuple((~good).nonzero()[axis][0] for axis in range(good.ndim))
        where = f", {name_entry(at)}," if at else ""
        numbers = ", ".join(f"{x:g}" for x in corners[at])
        return (
            f"{what}: boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, but "
            f"{name}{where} is ({numbers})"
        )

    check(all_between(sides, low=0.0, high=inf), message, corners)
    return Box(low, high, sides)


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
