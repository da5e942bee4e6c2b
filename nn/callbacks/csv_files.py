"""The history as a table in a file."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from .callback import Callback

__all__ = ["CSVLogger"]


class CSVLogger(Callback):
    """Write what was measured in every epoch as a row of a CSV file, as Keras does.

    ``separator``: between columns. ``append``: go on in a file that is there already. The columns
    are ``epoch`` and the names of the first epoch in alphabetical order; what an epoch lacks is
    "NA". A run that is resumed goes on after the rows that it had at its checkpoint, and those that
    came after it are dropped, to be written again.

    >>> import tempfile, pathlib, tapegrad as tg
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile("sgd", "mse")
    >>> logger, x = tg.nn.callbacks.CSVLogger(path), tg.ones(4, 1)
    >>> _ = trainer.fit(x, x, epochs=2, verbose=0, callbacks=[logger])
    >>> path.read_text().splitlines()[0]
    'epoch,loss'
    """

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        self.filename, self.separator, self.append = Path(filename), separator, append
        self._file: Any = None
        self._forget()

    def _forget(self) -> None:
        self._keys: list[str] | None = None
        self._size = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin a table; the file is made with the first row."""
        self.close()
        self._forget()
        if self.append and self.filename.exists():
            self._size = self.filename.stat().st_size

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write a row."""
        logs = dict(logs or {})
        if self._file is None:
            self.filename.parent.mkdir(parents=True, exist_ok=True)
            with open(self.filename, "ab"):
                pass  # made if it is not there
            self._file = open(self.filename, "r+", newline="", encoding="utf-8")  # noqa: SIM115
            self._file.truncate(self._size)
            self._file.seek(0, os.SEEK_END)
        writer = csv.writer(self._file, delimiter=self.separator, lineterminator="\n")
        if self._keys is None:
            self._keys = sorted(logs)
            if not self._size:
                writer.writerow(["epoch", *self._keys])
        writer.writerow([epoch, *(logs.get(key, "NA") for key in self._keys)])
        self._file.flush()
        self._size = self.filename.stat().st_size

    def on_train_end(self, logs: Any = None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def state_dict(self) -> dict[str, Any]:
        """How far the file is written, and its columns."""
        return {"size": self._size, "keys": self._keys}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there; raises ValueError when the file has become shorter."""
        found = self.filename.stat().st_size if self.filename.exists() else 0
        if found < state_dict["size"]:
            raise ValueError(
                f"CSVLogger: {self.filename} has {found} bytes, {state_dict['size']} at the "
                "checkpoint: put the file of that run back"
            )
        self._size, self._keys = state_dict["size"], state_dict["keys"]
