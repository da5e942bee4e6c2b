"""Losses of batches, with weights of samples and of classes."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tapegrad import Tensor, argmax, clip, stop_gradient, tensor, where
from tapegrad.losses import reduce
from tapegrad.records import FIRST, OUTPUT
from tapegrad.values import shape_of

from .loss_operands import lined_up
from .nonfinite import below
from .numbers_of import number


class BatchLoss:
    """The loss of a batch: as it is, or with a weight for every sample.

    With weights it is Σ wᵢ·lᵢ / N over the samples of the batch, as Keras's; what a sample costs is
    the mean over whatever dimensions its loss has.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.loss = loss
        self.reduction = getattr(loss, "reduction", "mean")
        if self.reduction == "none":
            raise ValueError(
                f"{loss!r} has reduction='none', and training needs one number: say "
                "reduction='mean' or 'sum'"
            )
        self._seen = False  # whether it was looked at how the loss compares shapes that differ
        self._of_samples = _without_reduction(loss)

    def __call__(self, prediction: Any, y: Any, weight: Any) -> Tensor:
        y = lined_up(self.loss, prediction, y)
        if weight is None:
            value = self._called(self.loss, prediction, y)
            if not isinstance(value, Tensor) or value.ndim:
                what = f"shape {value.shape}" if isinstance(value, Tensor) else repr(value)
                raise ValueError(
                    f"the loss must be one number, a Tensor of shape (), but {self.loss!r} gave "
                    f"{what}: reduce it, as with .mean()"
                )
            self._refuse_pairs(value, prediction, y)
            return value
        if self._of_samples is None:
            raise ValueError(
                f"weights need the loss of every sample, and {self.loss!r} gives only one number: "
                "give it an argument reduction, which may be 'none' (see losses.reduce)"
            )
        values = self._called(self._of_samples, prediction, y)
        if not values.ndim or values.shape[0] != weight.shape[0]:
            raise ValueError(
                f"{self.loss!r} gave losses of shape {values.shape} for the {weight.shape[0]} "
                "samples that have weights"
            )
        if values.ndim > 1:
            values = values.reshape(values.shape[0], -1).mean(dim=1)
        return reduce(values, "sum" if self.reduction == "sum" else "mean", weight.to(values.dtype))

    def _called(self, loss: Callable[..., Any], prediction: Any, y: Any) -> Any:
        if y is not None:
            return loss(prediction, y)
        try:
            return loss(prediction)
        except TypeError as error:
            raise TypeError(
                f"there are no targets, so that {self.loss!r} was called with predictions alone: "
                f"{error}. Give y, or batches (x, y)"
            ) from error

    def _refuse_pairs(self, value: Tensor, prediction: Any, y: Any) -> None:
        """Refuse a function that compares the predictions (N, 1) with targets (N), every pair."""
        if self._seen or not isinstance(prediction, Tensor) or not isinstance(y, Tensor):
            return
        shapes = {prediction.shape, y.shape}
        if prediction.shape[:1] == (1,) or shapes != {(*y.shape[:1], 1), y.shape[:1]}:
            return
        self._seen = value.requires_grad  # without a tape there is nothing to be seen
        pairs = (*y.shape[:1], *y.shape[:1])
        for record in below(value._record):
            of_both = {shape_of(operand) for operand in record[FIRST::2]} == shapes
            if of_both and type(record[OUTPUT]) is not tuple and shape_of(record[OUTPUT]) == pairs:
                raise ValueError(
                    f"the loss compares predictions of shape {prediction.shape} with targets of "
                    f"shape {y.shape}, every pair of them: say prediction.squeeze(1) in it, or "
                    "give targets of the predictions' shape"
                )


def _without_reduction(loss: Any) -> Callable[..., Any] | None:
    """A loss that gives what each sample costs; None if it has no such form."""
    if hasattr(loss, "reduction"):
        made = copy.copy(loss)
        made.reduction = "none"
        return made  # type: ignore[no-any-return]
    try:
        takes = "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return None
    return functools.partial(loss, reduction="none") if takes else None


class ClassWeights:
    """A weight for every sample by its class; 1 for classes that are not named, as in Keras."""

    def __init__(self, table: Mapping[int, Any]) -> None:
        if not isinstance(table, Mapping) or not table:
            raise TypeError(
                "class_weight is a dict of weights by class number, such as {0: 1.0, 1: 5.0}, not "
                f"{table!r}"
            )
        for label in table:
            if not hasattr(label, "__index__") or label < 0:
                raise ValueError(f"class_weight: {label!r} is no class number (0, 1, ...)")
        size = 1 + max(table)
        self._weights = tensor([number(table.get(label, 1.0)) for label in range(size)])

    def __call__(self, y: Any) -> Tensor:
        """The weights of targets: class numbers (N) or (N, 1), or rows of zeros and ones (N, C)."""
        if not isinstance(y, Tensor) or y.ndim not in (1, 2):
            raise ValueError(
                "class_weight needs targets of shape (N), (N, 1) or (N, C), not "
                f"{getattr(y, 'shape', type(y).__name__)}"
            )
        y = stop_gradient(y)  # classes are counted, not moved
        if y.ndim == 2:
            y = argmax(y, dim=-1) if y.shape[1] > 1 else y[:, 0]
        labels = (y.round() if y.is_floating_point() else y).to("int64")
        last = self._weights.shape[0] - 1
        known = (labels >= 0) & (labels <= last)
        return where(known, self._weights[clip(labels, 0, last)], 1.0)


def combined(sample_weight: Any, class_weights: ClassWeights | None, y: Any) -> Any:
    """The weights of samples and those of their classes, multiplied; None if there are neither."""
    if sample_weight is not None and sample_weight.ndim == 2 and sample_weight.shape[1] == 1:
        sample_weight = sample_weight[:, 0]
    if sample_weight is not None and sample_weight.ndim != 1:
        raise ValueError(f"sample_weight must have shape (N), not {sample_weight.shape}")
    if class_weights is None:
        return sample_weight
    by_class = class_weights(y)
    return by_class if sample_weight is None else by_class * sample_weight
