"""Progress of training, in the terminal and in notebooks."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..numbers_of import number
from .callback import Callback

__all__ = ["Progress"]

#: Numbers beside the bar change this often at most, in seconds.
INTERVAL = 0.1


class Progress(Callback):
    """A bar for every epoch, by tqdm, in the terminal and in notebooks, with the means so far.

    ``verbose``: 1 for bars, 2 for a line after every epoch, 0 for silence. ``fit``, ``evaluate``
    and ``predict`` make one by their own ``verbose``, which by default is 1, or 2 where tqdm is not
    installed. Without a known number of batches the bar counts them.

    Raises ImportError, saying what to install, for bars without tqdm.

    >>> import tapegrad as tg
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile(tg.optim.SGD(lr=0.0), "mse")
    >>> x = tg.ones(4, 1)
    >>> _ = trainer.fit(x, x, epochs=2, verbose=2)  # doctest: +ELLIPSIS
    Epoch 1/2 - ... - loss: ...
    Epoch 2/2 - ... - loss: ...
    """

    def __init__(self, verbose: int = 1) -> None:
        if verbose not in (0, 1, 2):
            raise ValueError(f"Progress: verbose must be 0, 1 or 2, not {verbose!r}")
        self.verbose = verbose
        self._make: Any = _tqdm() if verbose == 1 else None
        self._bar: Any = None
        self._training = False
        self._shown = self._began = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Within training, evaluations have no bars of their own."""
        self._training = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin a bar."""
        self._began = time.monotonic()
        if self.verbose == 1:
            self._begin_epoch(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Begin the bar of an epoch that is resumed in its middle."""
        if self._bar is None and self.verbose == 1:
            self._begin_epoch(self.trainer.epoch).update(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar."""
        self._move(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """End the bar, or write a line."""
        self._end(logs)
        if self.verbose == 2:
            seconds = time.monotonic() - self._began if self._began else 0.0
            said = [f"Epoch {epoch + 1}/{self.params['epochs']}", f"{seconds:.1f} s"]
            print(" - ".join([*said, *_shown(logs)]), flush=True)

    def on_train_end(self, logs: Any = None) -> None:
        """Leave training."""
        self.close()

    def on_test_begin(self, logs: Any = None) -> None:
        """Begin a bar, if the evaluation stands for itself."""
        if not self._training and self.verbose == 1:
            self._begin("Evaluating")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar."""
        if not self._training:
            self._move(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """End the bar, or write a line."""
        if not self._training:
            self._end(logs)
            if self.verbose == 2:
                print(" - ".join(["Evaluated", *_shown(logs)]), flush=True)

    def on_predict_begin(self, logs: Any = None) -> None:
        """Begin a bar."""
        if self.verbose == 1:
            self._begin("Predicting")

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar."""
        self._move(None)

    def on_predict_end(self, logs: Any = None) -> None:
        """End the bar."""
        self._end(None)

    def close(self) -> None:
        """Let a bar go that did not come to its end."""
        self._end(None)
        self._training = False

    def _begin_epoch(self, epoch: int) -> Any:
        return self._begin(f"Epoch {epoch + 1}/{self.params['epochs']}")

    def _begin(self, title: str) -> Any:
        self._end(None)
        self._bar = self._make(total=self.params["steps"], desc=title, unit="batch")
        self._shown = 0.0
        return self._bar

    def _move(self, logs: Any) -> None:
        if self._bar is None:
            return
        now = time.monotonic()
        if logs and now - self._shown > INTERVAL:
            self._bar.set_postfix_str(", ".join(_shown(logs)), refresh=False)
            self._shown = now
        self._bar.update(1)

    def _end(self, logs: Any) -> None:
        if self._bar is not None:
            if logs:
                self._bar.set_postfix_str(", ".join(_shown(logs)), refresh=True)
            self._bar.close()
        self._bar = None


def _shown(logs: Any) -> list[str]:
    """Measured numbers as they are read."""
    return [
        f"{name}: {number(value):.4g}"
        for name, value in dict(logs or {}).items()
        if getattr(value, "ndim", 0) == 0
    ]


def say(text: str) -> None:
    """Print a line, above the bar if there is one."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        print(text, flush=True)
    else:
        tqdm.tqdm.write(text)


def _tqdm() -> Any:
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets a bar of text does as well
            from tqdm.auto import tqdm
    except ImportError:
        raise ImportError(
            'to show progress bars, pip install "tapegrad[progress]" (tqdm); verbose=2 writes a '
            "line for every epoch without it"
        ) from None
    return tqdm


def default_verbose() -> int:
    """1, or 2 where tqdm is not installed."""
    import importlib.util

    return 1 if importlib.util.find_spec("tqdm") is not None else 2
