"""The history of a training, as Keras keeps it."""

from __future__ import annotations

from typing import Any

from .callback import Callback

__all__ = ["History"]


class History(Callback):
    """What was measured in every epoch; ``fit`` makes one and returns it.

    ``history``: a dict of lists by name, such as ``"loss"`` and ``"val_accuracy"``; ``epoch``: the
    numbers of the epochs, from 0; ``model``, ``trainer`` and ``params`` as in any callback.

    >>> import tapegrad as tg
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile("sgd", "mse")
    >>> x = tg.ones(8, 1)
    >>> history = trainer.fit(x, x, epochs=2, validation_split=0.25, verbose=0)
    >>> history.epoch, sorted(history.history)
    ([0, 1], ['loss', 'val_loss'])
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget an earlier training."""
        self.history, self.epoch = {}, []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note what was measured."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def state_dict(self) -> dict[str, Any]:
        """Everything noted so far."""
        return {"history": self.history, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.history, self.epoch = state_dict["history"], state_dict["epoch"]

    def plot(self, names: Any = None, ax: Any = None) -> Any:
        """Draw the curves with matplotlib, those of training and validation together.

        ``names``: which to draw (without "val_"); by default all that are single numbers. ``ax``:
        the axes to draw in, one for each name; by default a new figure with as many. Returns the
        axes, in a list.

        Raises ValueError for names that were not measured, or when nothing was; ImportError, saying
        what to install, without matplotlib.

        >>> import tapegrad as tg
        >>> history = tg.nn.callbacks.History()
        >>> history.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
        >>> (axes,) = history.plot()  # doctest: +SKIP
        """
        measured = list(
            dict.fromkeys(
                name.removeprefix("val_")
                for name, curve in self.history.items()
                if not getattr(curve[-1], "ndim", 0)
            )
        )
        chosen = measured if names is None else [names] if isinstance(names, str) else list(names)
        unknown = [name for name in chosen if name not in measured]
        if unknown or not chosen:
            raise ValueError(
                f"History.plot: {unknown or 'nothing'} was not measured, or is no single number; "
                f"there are {measured}"
                if measured
                else "History.plot: nothing was measured yet: call fit() first"
            )
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError:
                raise ImportError(
                    'to plot a history, pip install "tapegrad[plot]" (matplotlib)'
                ) from None
            size = (4.8 * len(chosen), 3.6)
            _, made = pyplot.subplots(
                1, len(chosen), figsize=size, squeeze=False, layout="constrained"
            )
            axes = list(made[0])
        else:
            axes = list(ax) if hasattr(ax, "__iter__") else [ax]
            if len(axes) != len(chosen):
                raise ValueError(
                    f"History.plot: {len(chosen)} curves ({chosen}) need as many axes, not "
                    f"{len(axes)}"
                )
        for name, one in zip(chosen, axes):
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                if key in self.history:
                    curve = self.history[key]
                    one.plot(_epochs(self.epoch, curve), curve, label=label)
            one.set_xlabel("epoch")
            one.set_ylabel(name)
            one.legend()
        return axes

    def __repr__(self) -> str:
        shown = ", ".join(self.history) or "nothing"
        return f"History({len(self.epoch)} epoch(s) of {shown})"


def _epochs(epochs: list[int], curve: list[Any]) -> list[int]:
    """The epochs, from 1, of a curve; of one measured in some of them only, spread evenly."""
    if len(curve) == len(epochs) or not curve:
        return [epoch + 1 for epoch in epochs]
    every = max(len(epochs) // len(curve), 1)
    return [epoch + 1 for epoch in epochs[every - 1 :: every]][: len(curve)]
