"""The reduction that every loss ends with."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, where

from .checks import same_shape, setting

__all__ = ["reduce"]

#: What may be said, and what it means; Keras's name of the mean is understood.
REDUCTIONS = {
    "mean": "mean",
    "sum": "sum",
    "none": "none",
    "batchmean": "batchmean",
    "sum_over_batch_size": "mean",
}


def known_reduction(reduction: Any) -> str:
    """The reduction by its first name; ValueError names those that there are."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(
            f'reduction must be "mean", "sum", "none" or "batchmean", not {reduction!r}'
        )
    return REDUCTIONS[reduction]


def reduce(
    values: Tensor,
    reduction: str = "mean",
    weight: Any = None,
    total: Any = None,
    mask: Any = None,
) -> Tensor:
    """Losses of elements, weighted and masked, brought to ``reduction``.

    ``values``: one loss for each element. ``weight``: factors, broadcasting to them. ``mask``,
    of their shape: True where an element counts; elsewhere its loss is 0, whatever stands there.
    (Where that is not finite mask the operands, too: a derivative is 0·inf there.)

    - ``"mean"``: the sum divided by ``total``, or without one by the number of elements that
      count. Weights are not divided by, as in torch. If nothing counts it is 0/0 = NaN.
    - ``"sum"``: the sum.
    - ``"batchmean"``: the sum divided by the size of the first dimension.
    - ``"none"``: no reduction.

    Raises ValueError for another reduction, or a weight or mask that does not fit the values.

    >>> import tapegrad as tg
    >>> values = tg.tensor([1.0, 2.0, 6.0])
    >>> tg.losses.reduce(values, "mean"), tg.losses.reduce(values, "sum", weight=0.5)
    (tensor(3.), tensor(4.5000))
    >>> tg.losses.reduce(values, "mean", mask=tg.tensor([True, True, False]))
    tensor(1.5000)
    """
    way = known_reduction(reduction)
    if weight is not None:
        setting("reduce", "weight", weight, values.shape)
        values = values * weight
    if mask is not None:
        same_shape("reduce", "values", values, "mask", mask)
        values = where(mask, values, 0.0)
        total = mask.sum() if total is None else total
    if way == "none":
        return values
    if way == "mean":
        return values.mean() if total is None else values.sum() / total
    if way == "batchmean":
        return values.sum() / (values.shape[0] if values.ndim else 1)
    return values.sum()
