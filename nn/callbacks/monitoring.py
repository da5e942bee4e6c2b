"""What callbacks have that watch one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..numbers_of import number
from .callback import Callback

#: Parts of names of which less is better, and of which more is.
LESS = ("loss", "error", "mae", "mse", "rmse", "mape", "msle", "perplexity", "crossentropy")
MORE = ("acc", "accuracy", "auc", "precision", "recall", "f1", "r2", "iou", "dice", "score")


class Monitoring(Callback):
    """A callback that watches one number and knows whether it got better, as Keras does."""

    monitor: str
    mode: str
    min_delta: float

    def _watch(self, monitor: str, mode: str, min_delta: Any = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(
                f"{type(self).__name__}: mode must be 'auto', 'min' or 'max', not {mode!r}"
            )
        if not isinstance(monitor, str):
            raise TypeError(
                f"{type(self).__name__}: monitor is a name, such as 'val_loss', not {monitor!r}"
            )
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse at once what will never be measured."""
        if self.monitor.startswith("val_") and self.params:
            if self.monitor not in self.params["metrics"]:
                raise self._missing(self.params["metrics"])
        self._sign = self._direction()

    def _missing(self, known: Any) -> ValueError:
        has_validation = any(name.startswith("val_") for name in known)
        hint = (
            ": there is no validation data; give validation_data or validation_split"
            if self.monitor.startswith("val_") and not has_validation
            else ""
        )
        return ValueError(
            f"{type(self).__name__}: monitor={self.monitor!r} is not measured{hint}. "
            f"There are {', '.join(map(repr, known))}"
        )

    def _direction(self) -> float:
        """1 where less is better, -1 where more is."""
        if self.mode != "auto":
            return 1.0 if self.mode == "min" else -1.0
        name = self.monitor.removeprefix("val_")
        if self.trainer is not None:
            more = self.trainer.more_is_better(name)
            if more is not None:
                return -1.0 if more else 1.0
        words = name.lower().replace("-", "_").split("_")
        for part, sign in (*((p, 1.0) for p in LESS), *((p, -1.0) for p in MORE)):
            if part in words or name.lower().endswith(part):
                return sign
        raise ValueError(
            f"{type(self).__name__}: whether monitor={self.monitor!r} should rise or fall cannot "
            "be told from its name: say mode='max' or mode='min'"
        )

    def _current(self, logs: Mapping[str, Any] | None) -> float | None:
        """The number that is watched; None in an epoch without the validation that gives it."""
        known = dict(logs or {})
        if self.monitor in known:
            return number(known[self.monitor])
        if self.monitor in self.params.get("metrics", ()):
            return None
        raise self._missing(list(known))

    def _is_better(self, current: float, reference: float | None) -> bool:
        """Whether a number is better than another by more than ``min_delta``; NaN never is."""
        if reference is None or reference != reference:
            return current == current or reference is None
        return self._sign * current + self.min_delta < self._sign * reference
