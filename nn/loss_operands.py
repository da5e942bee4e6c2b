"""What a loss is of, by the table of losses: logits or probabilities, targets of which shape."""

from __future__ import annotations

import functools
from typing import Any

from tapegrad import Tensor
from tapegrad.losses import LOSSES, Loss, kinds

#: Targets that have the shape of what is predicted.
SAME_SHAPE = (
    *(kinds.REAL, kinds.POSITIVE, kinds.PROBABILITY, kinds.DISTRIBUTION),
    *(kinds.BINARY, kinds.SIGN),
)


def kinds_of(loss: Any) -> list[tuple[kinds.Kind, ...]]:
    """The kinds of operands of each row of a loss; of a loss that is not in the table none."""
    if isinstance(loss, Loss):
        loss = type(loss).function
    while isinstance(loss, functools.partial):
        loss = loss.func
    return [row.takes for row in LOSSES if row.function is loss]


def is_of_logits(loss: Any) -> bool | None:
    """Whether a loss takes logits, of which 0 is the middle; None if that cannot be told.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.loss_operands import is_of_logits
    >>> names = ["bce_with_logits", "binary_crossentropy", "mse"]
    >>> [is_of_logits(tg.losses.get(name)) for name in names]
    [True, False, None]
    """
    settings = (
        loss.keywords if isinstance(loss, functools.partial) else getattr(loss, "__dict__", {})
    )
    if settings.get("from_logits"):
        return True
    for first, *others in kinds_of(loss):
        # the logarithms of probabilities are logits, too, and margins are on both sides of 0
        if first in (kinds.LOGITS, kinds.LOG_DISTRIBUTION) or kinds.SIGN in others:
            return True
        if first in (kinds.PROBABILITY, kinds.DISTRIBUTION):
            return False
    return None


def lined_up(loss: Any, prediction: Any, y: Any) -> Any:
    """Targets without, or with, a last dimension of 1, where only the predictions have none, or
    have one; as Keras does it, but for losses only that say in the table what they take.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.loss_operands import lined_up
    >>> lined_up(tg.losses.MSELoss(), tg.zeros(5, 1), tg.zeros(5)).shape
    (5, 1)
    """
    if not isinstance(prediction, Tensor) or not isinstance(y, Tensor):
        return y
    if prediction.shape == y.shape:
        return y
    targets = [takes[1] for takes in kinds_of(loss) if len(takes) == 2]
    if kinds.LABELS in targets:
        is_column = y.shape == (*prediction.shape[:1], 1) and prediction.ndim == 2
        return y.reshape(-1) if is_column else y
    one_more = prediction.shape == (*y.shape, 1) or y.shape == (*prediction.shape, 1)
    if one_more and any(kind in SAME_SHAPE for kind in targets):
        return y.reshape(prediction.shape)
    return y
