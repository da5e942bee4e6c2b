"""Plain numbers for logs and for the decisions that are made by them."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any) -> float:
    """A value off the tape, as a number.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.numbers_of import number
    >>> number(tg.tensor(2.0, requires_grad=True)), number(3)
    (2.0, 3.0)
    """
    return float(value)


def is_finite(value: float) -> bool:
    """Whether a number is neither NaN nor infinite.

    >>> from tapegrad.nn.numbers_of import is_finite
    >>> is_finite(1.0), is_finite(float("nan"))
    (True, False)
    """
    return math.isfinite(value)


class RunningMean:
    """A mean of numbers, each of so many samples.

    >>> from tapegrad.nn.numbers_of import RunningMean
    >>> mean = RunningMean()
    >>> mean.add(1.0, 3)
    >>> mean.add(5.0, 1)
    >>> mean.value
    2.0
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.total, self.samples = 0.0, 0

    def add(self, value: float, samples: int) -> None:
        """Take a number in."""
        self.total += value * samples
        self.samples += samples

    @property
    def value(self) -> float:
        """The mean so far; NaN of nothing."""
        return self.total / self.samples if self.samples else math.nan

    def state_dict(self) -> dict[str, Any]:
        """The sum and the count."""
        return {"total": self.total, "samples": self.samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a sum and a count."""
        self.total, self.samples = state_dict["total"], state_dict["samples"]
