"""Files of the model as training goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tapegrad import save

from .monitoring import Monitoring
from .progressing import say

__all__ = ["ModelCheckpoint"]


class ModelCheckpoint(Monitoring):
    """Save the model after epochs, or every so many batches, as Keras does.

    ``filepath``: where to, with ``{epoch:02d}`` (from 1), ``{batch}`` and the names of the logs,
    as in ``"{epoch:02d}-{val_loss:.2f}.safetensors"``. ``save_best_only``: only when ``monitor``
    is better than before (``mode`` as in :class:`EarlyStopping`; ``initial_value_threshold``: and
    better than this). ``save_weights_only``: ``model.state_dict()``, with an EMA the averages that
    are evaluated, for ``model.load_state_dict(tg.load(path))``; otherwise everything, so that
    ``fit(resume_from=path)`` goes on from there. ``save_freq``: "epoch", or a number of batches.
    ``verbose``: 1 says what is saved.

    Files are safetensors, see :func:`tapegrad.save`, and appear whole or not at all.

    Raises ValueError for another ``save_freq`` and for names that end as Keras's formats do;
    KeyError, naming what there is, when ``filepath`` names something that is not measured;
    as :class:`EarlyStopping` for a monitor that is not there.

    >>> import tempfile, os, tapegrad as tg
    >>> folder = tempfile.mkdtemp()
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile("sgd", "mse")
    >>> keep = tg.nn.callbacks.ModelCheckpoint(folder + "/{epoch:02d}.safetensors")
    >>> x = tg.ones(4, 1)
    >>> _ = trainer.fit(x, x, epochs=2, verbose=0, callbacks=[keep])
    >>> sorted(os.listdir(folder))
    ['01.safetensors', '02.safetensors']
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        self._watch(monitor, mode)
        self.filepath = os.fspath(filepath)
        if self.filepath.endswith((".keras", ".h5", ".pt", ".pth")):
            raise ValueError(
                f"ModelCheckpoint: {self.filepath!r}: files are written in the safetensors format; "
                "let the name end in .safetensors"
            )
        if save_freq != "epoch" and (type(save_freq) is not int or save_freq < 1):
            raise ValueError(
                f"ModelCheckpoint: save_freq must be 'epoch' or a number of batches, not "
                f"{save_freq!r}"
            )
        self.verbose, self.save_best_only = verbose, save_best_only
        self.save_weights_only, self.save_freq = save_weights_only, save_freq
        self.initial_value_threshold = initial_value_threshold
        self.best, self._since = initial_value_threshold, 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse a monitor that will not be there, if one is needed."""
        if self.save_best_only:
            super().on_train_begin(logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save if so many batches have passed."""
        if self.save_freq == "epoch":
            return
        self._since += 1
        if self._since >= self.save_freq:  # type: ignore[operator]
            self._since = 0
            self._save(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save after an epoch."""
        if self.save_freq == "epoch":
            self._save(None, logs)

    def _save(self, batch: int | None, logs: Any) -> None:
        epoch = self.trainer.epoch
        said = f"Epoch {epoch + 1}: "
        if self.save_best_only:
            current = self._current(logs)
            if current is None:
                return
            if not self._is_better(current, self.best):
                if self.verbose:
                    say(f"{said}{self.monitor} did not improve from {self.best}")
                return
            said += f"{self.monitor} improved from {self.best} to {current}, "
            self.best = current
        path = self._path(epoch, batch, logs)
        if self.verbose:
            say(f"{said}saving the model to {path}")
        if self.save_weights_only:
            save(self.trainer.weights_to_evaluate(), path)
        else:
            self.trainer.save_when_whole(path)

    def _path(self, epoch: int, batch: int | None, logs: Any) -> Path:
        known = {"epoch": epoch + 1, **(logs or {})}
        if batch is not None:
            known.setdefault("batch", batch + 1)
        try:
            return Path(self.filepath.format(**known))
        except KeyError as error:
            raise KeyError(
                f"ModelCheckpoint: {self.filepath!r} names {error}, which is not measured; there "
                f"are {', '.join(map(repr, known))}"
            ) from None

    def state_dict(self) -> dict[str, Any]:
        """The best so far, and the batches since the last file."""
        return {"best": self.best, "since": self._since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.best, self._since = state_dict["best"], state_dict["since"]
