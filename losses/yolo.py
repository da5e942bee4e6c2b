"""Losses of detection in the cells of a grid: YOLO's."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

from tapegrad import (
    Tensor,
    arange,
    argmax,
    cat,
    check,
    inf,
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
from .boxes import Box, areas
from .checks import first_bad, inside, not_empty, setting, tensors
from .kinds import Kind
from .reducing import reduce
from .table import Row

__all__ = ["YOLOv1Loss", "yolo_v1_loss"]


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


class YOLOv1Loss(Loss):
    """:func:`yolo_v1_loss` with its settings.

    >>> import tapegrad as tg
    >>> halves, nothing = tg.full((1, 7, 7, 2 * 5 + 20), 0.5), tg.zeros(1, 7, 7, 5 + 20)
    >>> tg.losses.YOLOv1Loss()(halves, nothing)  # 98 · 0.5 · 0.5²
    tensor(12.2500)
    """

    function = staticmethod(yolo_v1_loss)


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
        yolo_v1_loss,
        (GRID, GRID_TARGET),
        YOLOv1Loss,
        names=("yolo_v1", "yolo"),
        settings=({"lambda_coord": 2.0, "lambda_noobj": 0.3},),
    ),
)
