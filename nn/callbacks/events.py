"""The history for TensorBoard."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ..numbers_of import number
from .callback import Callback

__all__ = ["TensorBoard"]


class TensorBoard(Callback):
    """Write what is measured as event files, to look at with ``tensorboard --logdir``.

    ``log_dir``: where to; there are ``train`` and ``validation`` under it, as with Keras, with the
    curves ``epoch_loss`` and so on. ``update_freq``: "epoch"; or "batch" or a number of batches,
    which writes ``batch_loss`` and so on, too. Needs the package ``tensorboard`` alone.

    Raises ImportError, saying what to install, when it is made without that; ValueError for
    another ``update_freq``.

    >>> import tapegrad as tg
    >>> tg.nn.callbacks.TensorBoard("logs", update_freq=10)  # doctest: +SKIP
    TensorBoard(update_freq=10)
    """

    def __init__(
        self, log_dir: str | os.PathLike[str] = "logs", update_freq: str | int = "epoch"
    ) -> None:
        if update_freq not in ("epoch", "batch") and (
            type(update_freq) is not int or update_freq < 1
        ):
            raise ValueError(
                "TensorBoard: update_freq must be 'epoch', 'batch' or a number of batches, not "
                f"{update_freq!r}"
            )
        self._codec = _codec()
        self.log_dir, self.update_freq = os.fspath(log_dir), update_freq
        self._writers: dict[str, Any] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write the means so far."""
        every = {"epoch": 0, "batch": 1}.get(self.update_freq, self.update_freq)  # type: ignore[arg-type]
        if every and (self.trainer.batches_seen + 1) % every == 0:  # type: ignore[operator]
            for name, value in dict(logs or {}).items():
                self._write("train", f"batch_{name}", value, self.trainer.batches_seen)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write what the epoch gave."""
        for name, value in dict(logs or {}).items():
            place = "validation" if name.startswith("val_") else "train"
            self._write(place, f"epoch_{name.removeprefix('val_')}", value, epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, place: str, tag: str, value: Any, step: int) -> None:
        if getattr(value, "ndim", 0):
            return  # a curve is of single numbers
        make, event, summary = self._codec
        if place not in self._writers:
            self._writers[place] = make(str(Path(self.log_dir) / place))
        entry = summary(value=[summary.Value(tag=tag, simple_value=number(value))])
        self._writers[place].add_event(event(step=step, wall_time=time.time(), summary=entry))


def _codec() -> tuple[Any, Any, Any]:
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise ImportError(
            'to write for TensorBoard, pip install "tapegrad[tensorboard]" (tensorboard)'
        ) from None
    return EventFileWriter, Event, Summary
