"""The hooks that a Trainer calls, by Keras's names, and lists of callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

__all__ = ["Callback", "CallbackList", "LambdaCallback"]


class Callback:
    """Something that is told how training goes; a subclass writes the hooks that it needs.

    A hook gets the number of the epoch or batch, from 0, and ``logs``, a mapping of what was
    measured by name: after a batch the means over the epoch up to there, after an epoch all of the
    epoch, and a dict to which entries may be added (those callbacks that come later see them). The
    :class:`Trainer <tapegrad.nn.Trainer>` is at ``self.trainer``, its model at ``self.model``, and
    ``self.params`` says ``verbose``, ``epochs``, ``steps`` (of an epoch; None if unknown) and
    ``metrics`` (the names of what will be measured). ``self.trainer.stop_training = True`` ends
    training after the batch or epoch.

    A callback that remembers something from epoch to epoch says so in ``state_dict()``, of tensors,
    numbers, strings and containers of these, and takes it back in ``load_state_dict()``, which is
    called after ``on_train_begin`` when a run is resumed. An epoch that is resumed in its middle
    does not begin again: its ``on_epoch_begin`` was before.

    >>> import tapegrad as tg
    >>> class Says(tg.nn.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, sorted(logs))
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile("sgd", "mse")
    >>> _ = trainer.fit(tg.ones(4, 1), tg.ones(4, 1), epochs=2, verbose=0, callbacks=[Says()])
    0 ['loss']
    1 ['loss']
    """

    trainer: Any = None
    model: Any = None
    params: Mapping[str, Any] = {}

    def set_trainer(self, trainer: Any) -> None:
        """Take the trainer, and its model."""
        self.trainer = trainer
        self.set_model(trainer.model)

    def set_model(self, model: Any) -> None:
        """Take the model."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Take what is known of the run."""
        self.params = params

    def on_train_begin(self, logs: Any = None) -> None:
        """Before training; whatever was remembered of an earlier one should be forgotten here."""

    def on_train_end(self, logs: Any = None) -> None:
        """After training, with the logs of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Before an epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """After an epoch and its validation."""

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Another name of :meth:`on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Another name of :meth:`on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of training."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of training."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Before an evaluation, also one within training."""

    def on_test_end(self, logs: Any = None) -> None:
        """After an evaluation."""

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of an evaluation."""

    def on_predict_begin(self, logs: Any = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: Any = None) -> None:
        """After a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of a prediction; ``logs`` has its ``"outputs"``."""

    def close(self) -> None:
        """Let go of files and the like; called at the end in any case, also by an error."""

    def state_dict(self) -> dict[str, Any]:
        """What is remembered from epoch to epoch, for a checkpoint."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""

    def __repr__(self) -> str:
        """The settings that are not the defaults."""
        settings = inspect.signature(type(self)).parameters.values()
        shown = [
            f"{p.name}={vars(self)[p.name]!r}"
            for p in settings
            if p.name in vars(self) and not _is_same(vars(self)[p.name], p.default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def _is_same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and repr(value) == repr(default))


class LambdaCallback(Callback):
    """A callback made of functions, each given by the name of its hook.

    Raises TypeError for a name that is no hook, and for what cannot be called.

    >>> import tapegrad as tg
    >>> seen = []
    >>> callback = tg.nn.callbacks.LambdaCallback(
    ...     on_epoch_end=lambda epoch, logs: seen.append(epoch))
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
    >>> trainer.compile("sgd", "mse")
    >>> _ = trainer.fit(tg.ones(4, 1), tg.ones(4, 1), epochs=3, verbose=0, callbacks=[callback])
    >>> seen
    [0, 1, 2]
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **hooks: Callable[..., Any] | None,
    ) -> None:
        given = {**locals(), **hooks}
        for name in ("self", "hooks", "__class__"):
            given.pop(name, None)
        for name, function in given.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback: {name!r} is no hook; there are {list(HOOKS)}")
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} must be a function, not {function!r}")
            setattr(self, name, function)

    def __repr__(self) -> str:
        return f"LambdaCallback({', '.join(name for name in HOOKS if name in vars(self))})"


class CallbackList:
    """Several callbacks, called one after the other by the name of a hook.

    >>> import tapegrad as tg
    >>> callbacks = tg.nn.callbacks.CallbackList([tg.nn.callbacks.TerminateOnNaN()])
    >>> callbacks.call("on_epoch_begin", 0)
    >>> len(list(callbacks))
    1
    """

    def __init__(self, callbacks: Iterable[Callback] | Callback | None = None) -> None:
        if isinstance(callbacks, (Callback, type)):
            callbacks = [callbacks]
        self.callbacks = list(callbacks or ())
        for i, callback in enumerate(self.callbacks):
            if isinstance(callback, type):
                raise TypeError(
                    f"callbacks[{i}] is the class {callback.__name__}: make one with its settings, "
                    f"{callback.__name__}()"
                )
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"callbacks[{i}] is a {type(callback).__name__}, not a callback: derive it "
                    "from nn.callbacks.Callback, or make it with LambdaCallback"
                )
        self._called: dict[str, list[Callable[..., Any]]] = {}

    def call(self, hook: str, *args: Any) -> None:
        """Call a hook of every callback that has one of its own."""
        if hook not in self._called:
            self._called[hook] = [getattr(c, hook) for c in self.callbacks if has_own(c, hook)]
        for function in self._called[hook]:
            function(*args)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)


#: Hooks that call another one.
_ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def has_own(callback: Callback, hook: str) -> bool:
    """Whether a callback does something in a hook."""
    names = [hook, _ALIASES[hook]] if hook in _ALIASES else [hook]
    return any(
        name in vars(callback) or getattr(type(callback), name) is not getattr(Callback, name)
        for name in names
    )
