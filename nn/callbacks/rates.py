"""Callbacks that set the learning rate."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tapegrad import Tensor
from tapegrad.optim.plateau import PlateauState
from tapegrad.optim.schedules import reduce_on_plateau

from ..numbers_of import number
from .callback import Callback
from .monitoring import Monitoring
from .progressing import say

__all__ = ["LearningRateScheduler", "ReduceLROnPlateau"]


def _groups(callback: Callback) -> list[dict[str, Any]]:
    """The groups of the optimizer, if their rates may be set."""
    groups: list[dict[str, Any]] = callback.trainer.optimizer.param_groups
    for group in groups:
        if callable(group["lr"]) and not isinstance(group["lr"], Tensor):
            raise TypeError(
                f"{type(callback).__name__}: the optimizer's lr is a schedule already: "
                f"{group['lr']}; give it a number, or leave the callback out"
            )
    return groups


class LearningRateScheduler(Callback):
    """Set the rate before every epoch: ``schedule(epoch, lr)`` or ``schedule(epoch)``; as Keras's.

    ``schedule`` gets the number of the epoch, from 0, and the present rate of a group, and returns
    the rate to come. The rate stands in the history as ``"learning_rate"``.

    Raises TypeError when the result is no number, or when the optimizer has a schedule of its own.

    >>> import tapegrad as tg
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile(tg.optim.SGD(lr=0.5), "mse")
    >>> halve = tg.nn.callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2 if epoch else lr)
    >>> x = tg.ones(4, 1)
    >>> history = trainer.fit(x, x, epochs=3, verbose=0, callbacks=[halve])
    >>> history.history["learning_rate"]
    [0.5, 0.25, 0.125]
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(
                "LearningRateScheduler: schedule must be a function of the epoch and the rate, not "
                f"{schedule!r}"
            )
        self.schedule, self.verbose = schedule, verbose
        try:
            inspect.signature(schedule).bind(0, 0.1)
            self._takes_rate = True
        except (TypeError, ValueError):
            self._takes_rate = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the rate."""
        groups = _groups(self)
        rates = []
        for group in groups:
            given = (epoch, group["lr"]) if self._takes_rate else (epoch,)
            rates.append(self.schedule(*given))
            if not isinstance(rates[-1], Tensor) and not hasattr(rates[-1], "__float__"):
                raise TypeError(
                    "LearningRateScheduler: schedule must return a number, not "
                    f"{rates[-1]!r} (epoch {epoch})"
                )
        for group, new in zip(groups, rates):
            group["lr"] = new if isinstance(new, Tensor) else number(new)
        if self.verbose:
            say(f"Epoch {epoch + 1}: the learning rate is {rates[0]}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the rate."""
        if logs is not None:
            logs["learning_rate"] = self.trainer.learning_rate


class ReduceLROnPlateau(Monitoring):
    """Multiply the rate by ``factor`` when a number has not improved for ``patience`` epochs.

    As Keras's: ``min_delta`` is absolute, ``cooldown`` epochs after a reduction are not counted,
    and the rate does not fall below ``min_lr``. Every group's rate is multiplied. The rate that an
    epoch was trained with stands in the history as ``"learning_rate"``. The rule is
    :func:`tapegrad.optim.schedules.reduce_on_plateau`.

    Raises ValueError for a ``factor`` of 1 or more, and as :class:`EarlyStopping`; TypeError when
    the optimizer's rate is a schedule.

    >>> import tapegrad as tg
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile(tg.optim.SGD(lr=0.0), "mse")
    >>> plateau = tg.nn.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2)
    >>> x = tg.ones(4, 1)
    >>> _ = trainer.fit(x, x, epochs=4, verbose=0, callbacks=[plateau])
    >>> plateau
    ReduceLROnPlateau(monitor='loss', factor=0.5, patience=2)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        self._watch(monitor, mode, min_delta)
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self._made("min")  # refuses settings that make no sense

    def _made(self, mode: str) -> Any:
        """The rule; Keras counts one epoch less than torch."""
        return reduce_on_plateau(
            0.0,
            mode,
            self.factor,
            self.patience if self.patience < 0 else max(self.patience - 1, 0),
            self.min_delta,
            "abs",
            self.cooldown if self.cooldown < 0 else max(self.cooldown - 1, 0),
            self.min_lr,
            eps=0.0,
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget an earlier training."""
        super().on_train_begin(logs)
        _groups(self)
        self._rule = self._made("min" if self._sign > 0 else "max")
        self._state = self._rule.init()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the number with the best so far, and reduce the rate if it is time."""
        if logs is not None:
            logs["learning_rate"] = self.trainer.learning_rate
        current = self._current(logs)
        if current is None:
            return
        before = self.trainer.learning_rate
        for group in _groups(self):
            present = self._state._replace(rate=group["lr"])
            rate, following = self._rule.update(current, present)
            group["lr"] = self._kept_above(group["lr"], rate)
        self._state = following._replace(rate=0.0)
        after = self.trainer.learning_rate
        if self.verbose and after != before:
            say(f"Epoch {epoch + 1}: the learning rate falls to {after}")

    def _kept_above(self, before: Any, after: Any) -> Any:
        """The new rate; one that was below ``min_lr`` already is left alone."""
        return before if number(before) <= number(self.min_lr) else after

    def state_dict(self) -> dict[str, Any]:
        """The best so far and the counts."""
        return self._state._asdict() if hasattr(self, "_state") else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._state = PlateauState(**state_dict)
