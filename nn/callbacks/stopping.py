"""Callbacks that end training."""

from __future__ import annotations

from typing import Any

from .callback import Callback
from .monitoring import Monitoring
from .progressing import say

__all__ = ["EarlyStopping", "TerminateOnNaN"]


class EarlyStopping(Monitoring):
    """Stop when a number has not improved for ``patience`` epochs; as Keras's.

    ``monitor``: the name of the number in the history. ``min_delta``: an improvement is by more
    than this. ``mode``: "min", "max" or "auto", by the metric or the name. ``baseline``: epochs
    count as without improvement until the number is better than this, too.
    ``restore_best_weights``: at the end, stopped early or not, bring back the parameters and
    buffers of the best epoch (with an EMA: the averages that were evaluated there). Before
    ``start_from_epoch`` nothing is watched. ``verbose``: 1 says when it stops.

    Raises ValueError when training begins if there will be no such number, naming those that there
    are, or if ``mode="auto"`` cannot be told.

    >>> import tapegrad as tg
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile(tg.optim.SGD(lr=0.0), "mse")
    >>> stop = tg.nn.callbacks.EarlyStopping("loss", patience=2)
    >>> history = trainer.fit(tg.ones(4, 1), tg.ones(4, 1), epochs=9, verbose=0, callbacks=[stop])
    >>> len(history.epoch)
    3

    Source: Prechelt (1998), Early stopping: but when?
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        self._watch(monitor, mode, min_delta)
        if patience < 0:
            raise ValueError(f"EarlyStopping: patience must not be negative, got {patience}")
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._forget()

    def _forget(self) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best: float | None = None
        self.best_weights: dict[str, Any] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget an earlier training."""
        super().on_train_begin(logs)
        self._forget()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the number with the best so far."""
        current = self._current(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self._is_better(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self._keep(epoch)
            if self.baseline is None or self._is_better(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.trainer.stop_training = True

    def _keep(self, epoch: int) -> None:
        self.best_weights, self.best_epoch = self.trainer.weights_to_evaluate(), epoch

    def on_train_end(self, logs: Any = None) -> None:
        """Bring the best weights back."""
        if self.stopped_epoch > 0 and self.verbose:
            say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                say(f"Restoring the weights of the best epoch: {self.best_epoch + 1}")
            self.trainer.restore_weights(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """The best so far, its weights, and how long it has been waited."""
        names = ("wait", "stopped_epoch", "best_epoch", "best", "best_weights")
        return {name: vars(self)[name] for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        vars(self).update(state_dict)


class TerminateOnNaN(Callback):
    """End training without an error when the loss is NaN or infinite, as Keras does.

    Without it that is a :class:`NonFiniteLoss <tapegrad.nn.NonFiniteLoss>`, an error that names the
    operation which made it; with it the same is printed. The parameters stay as they were before
    the batch in either case.

    >>> import tapegrad as tg
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile("sgd", lambda y, t: tg.log((y - y).sum()))
    >>> stop = tg.nn.callbacks.TerminateOnNaN()
    >>> history = trainer.fit(tg.ones(4, 1), tg.ones(4, 1), verbose=0, callbacks=[stop])
    ... # doctest: +ELLIPSIS
    Epoch 1, batch 1: the loss is -inf. ...
    """

    def __init__(self) -> None:
        pass

    def on_non_finite(self, error: Exception) -> None:
        """Say what happened and end training."""
        say(str(error).partition("\n")[0])
        self.trainer.stop_training = True
