"""Training by compile, fit, evaluate and predict, as with Keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tapegrad import Tensor, cat, get_default_dtype, losses, no_grad
from tapegrad.optim import EMA
from tapegrad.optim.lr_scheduler import ReduceLROnPlateau

from .callbacks import Callback, CallbackList, History, Progress
from .callbacks.progressing import default_verbose
from .compiling import metrics_for, optimizer_for, rate_of, schedule_for
from .feeding import Feed, called, feed_of, is_arrays, split_off
from .module import Module
from .nonfinite import NonFiniteLoss
from .regularising import Penalties
from .resuming import Checkpoints, found_checkpoint, is_same_place, restore
from .training_loop import TrainingLoop, evaluated, evaluating, others_of, switch
from .weighing import BatchLoss, ClassWeights

__all__ = ["NonFiniteLoss", "Trainer"]


class Trainer:
    """Trains, evaluates and applies a model, by Keras's methods and names.

    ``model``: any Module; it is at :attr:`model`. :meth:`compile` says how to train it, :meth:`fit`
    trains it and returns a :class:`History <tapegrad.nn.callbacks.History>`, :meth:`evaluate`
    measures it, :meth:`predict` applies it.

    >>> import tapegrad as tg
    >>> _ = tg.manual_seed(0)
    >>> x = tg.randn(64, 2)
    >>> y = (x[:, 0] > x[:, 1]).to("int64")
    >>> trainer = tg.nn.Trainer(tg.nn.Linear(2, 2))
    >>> trainer.compile(tg.optim.Adam(lr=0.1, clipnorm=1.0), "cross_entropy")
    >>> history = trainer.fit(x, y, epochs=5, batch_size=16, validation_split=0.25, verbose=0)
    >>> sorted(history.history), len(history.history["val_loss"])
    (['loss', 'val_loss'], 5)
    >>> trainer.predict(x).shape
    (64, 2)
    """

    def __init__(self, model: Module) -> None:
        if not isinstance(model, Module):
            what = (
                f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
            )
            raise TypeError(f"Trainer: the model must be an nn.Module, not {what}")
        self.model = model
        self.optimizer: Any = None
        self.loss: Any = None
        self.metrics: dict[str, Any] = {}
        self.penalties: Callable[[], Tensor | None] = lambda: None
        self.schedule: Any = None
        self.schedule_every = "epoch"
        self.ema: EMA | None = None
        self.gradient_accumulation_steps = 1
        self.history: History | None = None
        #: Set to True, by a callback, to end training after the batch or epoch.
        self.stop_training = False
        #: The epoch that runs, the steps made since compile, and the batches seen in this fit.
        self.epoch = self.steps = self.batches_seen = 0
        self._checkpoints: Checkpoints | None = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        *,
        clipnorm: Any = None,
        clipvalue: Any = None,
        global_clipnorm: Any = None,
        l1: Any = 0.0,
        l2: Any = 0.0,
        regularize: Callable[[str, Tensor], bool] | None = None,
        ema: Any = None,
        schedule: Any = None,
        schedule_every: str = "epoch",
        gradient_accumulation_steps: int = 1,
    ) -> None:
        """Say how to train.

        ``optimizer``: a name for :func:`tapegrad.optim.get` ("adam"; it has Keras's learning rate,
        0.01 for "sgd", and else PyTorch's defaults), a class, or an optimizer, which may be made
        without parameters (``Adam(lr=0.01, clipnorm=1.0)``) and then gets the model's. ``loss``: a
        name for :func:`tapegrad.losses.get` ("categorical_crossentropy", "mse"), or what is called
        with predictions and targets; with the predictions alone where there are no targets.
        ``metrics``: names for ``nn.metrics.get`` ("accuracy"), metric objects, functions of
        predictions and targets (of a whole epoch's, which are kept for it), a list of these, or a
        dict with the names under which to log them. Where the loss is of logits
        ("bce_with_logits", "cross_entropy") metrics given by name take logits, too.

        ``clipnorm``, ``clipvalue``, ``global_clipnorm``: clip gradients, as the optimizer's own
        arguments of these names. ``l1``, ``l2``: add l1·Σ|w| + l2·Σw² to the loss, over all
        parameters of two dimensions or more: matrices and kernels, neither biases nor the scales of
        normalisations; ``regularize(name, parameter)`` chooses otherwise. As in Keras the loss that
        is logged contains them. ``ema``: a decay, or an :class:`EMA <tapegrad.optim.EMA>` of the
        model's parameters, updated after every step; the averages are what is evaluated, predicted
        with, and kept by callbacks, and ``trainer.ema.copy_to()`` makes them the parameters.

        ``schedule``: a scheduler of the optimizer, or a function that makes one of it
        (``lambda optimizer: StepLR(optimizer, 10)``, or the class); it steps after every epoch, or
        with ``schedule_every="step"`` after every step of the optimizer. Or a function of the
        number of steps that gives the rate, such as those of :mod:`tapegrad.optim.schedules`.
        ``gradient_accumulation_steps``: move the parameters after so many batches (and at the end
        of an epoch), by the gradient of the mean over all of their samples.

        Raises ValueError or TypeError for what is unknown or does not fit, naming what there is;
        what was compiled before stays then.
        """
        if loss is None:
            raise ValueError("compile: say which loss, such as loss='mse'; losses.LOSSES has all")
        if schedule_every not in ("epoch", "step"):
            raise ValueError(f"schedule_every must be 'epoch' or 'step', not {schedule_every!r}")
        if type(gradient_accumulation_steps) is not int or gradient_accumulation_steps < 1:
            raise ValueError(
                "gradient_accumulation_steps must be an integer of at least 1, not "
                f"{gradient_accumulation_steps!r}"
            )
        clip = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        batch_loss = BatchLoss(losses.get(loss))
        made_metrics = metrics_for(metrics, batch_loss.loss)
        penalties = Penalties(self.model, l1, l2, regularize)
        averages = ema
        if ema is not None and not isinstance(ema, EMA):
            averages = EMA(self.model.named_parameters(), decay=ema)
        made = optimizer_for(self.model, optimizer, clip)
        scheduler = schedule_for(made, schedule)
        if isinstance(scheduler, ReduceLROnPlateau) and schedule_every == "step":
            raise ValueError(
                "compile: a ReduceLROnPlateau goes by what is measured in an epoch: say "
                "schedule_every='epoch'"
            )
        self.schedule = scheduler
        self.optimizer, self.loss, self.metrics = made, batch_loss, made_metrics
        self.penalties, self.ema, self.schedule_every = penalties, averages, schedule_every
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.steps = 0

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Iterable[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, Any] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        save_every: int | str | None = None,
        resume_from: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train; returns what was measured in every epoch.

        ``x``, ``y``: inputs and targets, as tensors, arrays, lists of numbers or frames; a tuple of
        several inputs are the model's arguments, a dict its keyword arguments. What is no tensor
        becomes one, floats in the dtype of the model. Targets (N) for predictions (N, 1) are lined
        up, as are class numbers (N, 1), for losses of :mod:`tapegrad.losses`; a function that would
        compare every pair is refused. Or ``x`` alone: a DataLoader, a Dataset, a
        list of batches, a generator of batches (read once), or a function that makes one for every
        epoch; a batch is ``(x, y)`` or ``(x, y, weights)``. ``batch_size``: 32 by default, of
        arrays and datasets; ``shuffle``: these, anew for every epoch.

        ``epochs``: the number of the last epoch; ``initial_epoch``: that of the first, from 0.
        ``validation_split``: this share of the arrays, their last part before any shuffling, is
        for validation after every epoch (every ``validation_freq`` of them); or
        ``validation_data``: ``(x, y)``, ``(x, y, weights)``, or anything that ``x`` may be.
        ``steps_per_epoch``: end an epoch after so many batches; the next goes on after them.
        ``class_weight``: weights of samples by class number, 1 where nothing is said;
        ``sample_weight``: by sample; of both the product. A loss with weights is Σ wᵢ·lᵢ / N.
        ``callbacks``: see :mod:`tapegrad.nn.callbacks`. ``verbose``: 0 is silent, 1 shows bars, 2
        writes a line for each epoch; "auto" is 1, or 2 without tqdm.

        The loss of an epoch is the mean over its samples and a metric is exact over them, both as
        the model was in training at each batch; those of validation are of the model after the
        epoch.

        ``checkpoint``: a folder, to save the whole run in after every epoch, or every
        ``save_every`` batches (at the end of the step they are part of). ``resume_from``: such a
        folder, or a file of a ModelCheckpoint: the run goes on from there, in the middle of an
        epoch too, and ends bit for bit where it would have ended, if compile and fit are called as
        before with the same data (``epochs`` may be more). It goes on saving there. With the same
        folder as ``checkpoint`` and as ``resume_from`` a run begins if there is nothing and goes
        on otherwise: the same program can be started again until it is done. A checkpoint holds the
        model, the optimizer, the schedule, averages, random states, the place in the data, sums
        over the epoch, and what callbacks remember (the history too). A generator or function as
        data is refused for this: its place cannot be found again.

        Raises :class:`NonFiniteLoss <tapegrad.nn.NonFiniteLoss>` when a loss or gradient is NaN or
        infinite, before the parameters are changed; ValueError and TypeError for what does not fit
        together.
        """
        self._compiled("fit")
        if type(epochs) is not int or epochs < 1:
            raise ValueError(f"epochs must be an integer of at least 1, not {epochs!r}")
        if type(initial_epoch) is not int or initial_epoch < 0:
            raise ValueError(
                f"initial_epoch must be an integer of at least 0, not {initial_epoch!r}"
            )
        if type(validation_freq) is not int or validation_freq < 1:
            raise ValueError(
                f"validation_freq must be an integer of at least 1, not {validation_freq!r}"
            )
        dtype = self._dtype()
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split_off(
                x, y, sample_weight, validation_split, dtype
            )
        feed = feed_of(
            *(x, y, sample_weight),
            dtype=dtype,
            batch_size=batch_size,
            shuffle=shuffle,
            steps=steps_per_epoch,
        )
        validation = None
        if validation_data is not None:
            size = validation_batch_size or batch_size
            validation = _validation_of(validation_data, dtype, size, validation_steps)
        begins = None not in (checkpoint, resume_from) and is_same_place(checkpoint, resume_from)
        if checkpoint is None and resume_from is not None:
            checkpoint = resume_from
        checkpoints = Checkpoints(checkpoint, save_every)
        for source in (feed, validation):
            if checkpoint is not None and source is not None:
                source.refuse_unresumable()
        others = others_of(self)
        if checkpoint is not None and others:
            raise ValueError(
                f"the optimizer moves {len(others)} parameter(s) that are not the model's, and a "
                "checkpoint holds the model's: make them parameters of the model, too"
            )
        saved = None if resume_from is None else found_checkpoint(resume_from, begins)
        history, called_back = _listed(callbacks, verbose)
        weights = None if class_weight is None else ClassWeights(class_weight)
        self.epoch = initial_epoch
        self.batches_seen = 0
        loop = TrainingLoop(
            self,
            feed,
            validation,
            called_back,
            checkpoints,
            weights,
            epochs,
            initial_epoch,
            validation_freq,
        )
        names = ["loss", *self.metrics]
        if validation is not None:
            names += [f"val_{name}" for name in names]
        known = {"epochs": epochs, "steps": feed.length, "verbose": verbose, "metrics": names}
        self._begin(called_back, known)
        self.stop_training, self.history, self._checkpoints = False, history, checkpoints
        modes = [(module, module.training) for module in self.model.modules()]
        try:
            called_back.call("on_train_begin", {})
            if saved is not None:
                restore(loop, saved)
            logs = loop.run()
            switch(self.optimizer, "eval")
            called_back.call("on_train_end", logs)
        finally:
            self._checkpoints = None
            for module, mode in modes:
                module.training = mode
            for callback in called_back:
                callback.close()
        return history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Iterable[Callback] | Callback | None = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and the metrics on data, in evaluation mode; arguments as of :meth:`fit`.

        Returns the loss; with metrics a list of the loss and them; a dict with ``return_dict``.

        >>> import tapegrad as tg
        >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
        >>> trainer.compile("sgd", "mse")
        >>> sorted(trainer.evaluate(tg.ones(4, 1), tg.ones(4, 1), verbose=0, return_dict=True))
        ['loss']
        """
        self._compiled("evaluate")
        given = {"dtype": self._dtype(), "batch_size": batch_size, "steps": steps}
        feed = feed_of(x, y, sample_weight, **given)
        called_back = CallbackList([*CallbackList(callbacks), *_progress(verbose)])
        self._begin(called_back, {"epochs": 1, "steps": feed.length, "verbose": verbose})
        try:
            found = evaluated(self, feed, called_back)
        finally:
            for callback in called_back:
                callback.close()
        if return_dict:
            return found
        return [*found.values()] if len(found) > 1 else found["loss"]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Iterable[Callback] | Callback | None = None,
    ) -> Any:
        """What the model makes of inputs, batch by batch, in evaluation mode and off the tape.

        Inputs as of :meth:`fit`; of batches the targets are left out. Returns a tensor (Keras: an
        array), or the structure that the model gives, of tensors of all samples.

        >>> import tapegrad as tg
        >>> tg.nn.Trainer(tg.nn.Linear(2, 3)).predict(tg.ones(5, 2), verbose=0).shape
        (5, 3)
        """
        feed = feed_of(x, dtype=self._dtype(), batch_size=batch_size, steps=steps)
        called_back = CallbackList([*CallbackList(callbacks), *_progress(verbose)])
        self._begin(called_back, {"epochs": 1, "steps": feed.length, "verbose": verbose})
        outputs: list[Any] = []
        try:
            called_back.call("on_predict_begin", {})
            with evaluating(self), no_grad():
                for i, (inputs, _, _) in enumerate(feed.epoch()):
                    called_back.call("on_predict_batch_begin", i, {})
                    outputs.append(called(self.model, inputs))
                    called_back.call("on_predict_batch_end", i, {"outputs": outputs[-1]})
            called_back.call("on_predict_end", {})
        finally:
            for callback in called_back:
                callback.close()
        return _joined(outputs)

    @property
    def learning_rate(self) -> float:
        """The rate of the first group of the optimizer, as a number.

        >>> import tapegrad as tg
        >>> trainer = tg.nn.Trainer(tg.nn.Linear(1, 1))
        >>> trainer.compile(tg.optim.SGD(lr=0.5), "mse")
        >>> trainer.learning_rate
        0.5
        """
        self._compiled("learning_rate")
        return rate_of(self.optimizer, self.steps)

    def weights_to_evaluate(self) -> dict[str, Any]:
        """The state of the model as it is evaluated: with averages in place of the parameters, if
        there are any; a copy.

        >>> import tapegrad as tg
        >>> list(tg.nn.Trainer(tg.nn.Linear(1, 1)).weights_to_evaluate())
        ['weight', 'bias']
        """
        with evaluating(self):
            return self.model.state_dict()

    def restore_weights(self, state: Mapping[str, Any]) -> None:
        """Let the model, and the averages of an EMA, be what :meth:`weights_to_evaluate` gave."""
        self.model.load_state_dict(state)
        if self.ema is not None:
            average = {"step": self.ema.state.step, "averages": self.ema.params}
            self.ema.load_state_dict(average)

    def save_when_whole(self, path: Any) -> None:
        """Within ``fit``: save the run to a file as soon as it is between two steps."""
        if self._checkpoints is None:
            raise RuntimeError("save_when_whole() is for callbacks, while fit() runs")
        self._checkpoints.ask(path)

    def more_is_better(self, name: str) -> bool | None:
        """Whether a metric should rise; None if it does not say so."""
        if name == "loss":
            return False
        return {"max": True, "min": False}.get(getattr(self.metrics.get(name), "better", ""))

    def advance_schedule(self, logs: Mapping[str, Any]) -> None:
        """Let the scheduler, if there is one, make a step."""
        if isinstance(self.schedule, ReduceLROnPlateau):
            if "loss" in logs:
                self.schedule.step(logs.get("val_loss", logs["loss"]))
        elif self.schedule is not None:
            self.schedule.step()

    def _compiled(self, what: str) -> None:
        if self.optimizer is None:
            raise RuntimeError(
                f"{what}: call compile(optimizer, loss, metrics) first, such as "
                "trainer.compile('adam', 'mse')"
            )

    def _dtype(self) -> Any:
        """The dtype of the model's first floating parameter."""
        for p in self.model.parameters():
            if p.is_floating_point():
                return p.dtype
        return get_default_dtype()

    def _begin(self, callbacks: CallbackList, known: dict[str, Any]) -> None:
        for callback in callbacks:
            callback.set_trainer(self)
            callback.set_params(known)

    def __repr__(self) -> str:
        how = "not compiled"
        if self.optimizer is not None:
            how = f"{type(self.optimizer).__name__}, {self.loss.loss!r}"
        return f"Trainer({type(self.model).__name__}, {how})"


def _validation_of(data: Any, dtype: Any, size: int | None, steps: int | None) -> Feed:
    """The batches of validation data: (x, y), (x, y, weights), or what is iterated over."""
    in_parts = isinstance(data, tuple) or (isinstance(data, list) and is_arrays(data))
    if in_parts and len(data) in (2, 3):
        return feed_of(*data, dtype=dtype, batch_size=size, steps=steps)
    from .data import Dataset

    own_batches = not isinstance(data, Dataset) and not hasattr(data, "dtype")
    return feed_of(data, dtype=dtype, batch_size=None if own_batches else size, steps=steps)


def _progress(verbose: Any) -> list[Progress]:
    """What shows how it goes, if that was asked for."""
    verbose = default_verbose() if verbose == "auto" else verbose
    return [Progress(verbose)] if verbose else []


def _listed(given: Any, verbose: Any) -> tuple[History, CallbackList]:
    """The history, and all callbacks: those given, then the history and the progress."""
    callbacks = list(CallbackList(given))
    histories = [c for c in callbacks if isinstance(c, History)]
    if not histories:
        callbacks.append(History())
    if not any(isinstance(c, Progress) for c in callbacks):
        callbacks += _progress(verbose)
    everything = CallbackList(callbacks)
    return next(c for c in everything if isinstance(c, History)), everything


def _joined(outputs: list[Any]) -> Any:
    """Outputs of batches, end to end."""
    first = outputs[0]
    if isinstance(first, dict):
        return {k: _joined([out[k] for out in outputs]) for k in first}
    if isinstance(first, (tuple, list)):
        parts = [_joined(list(part)) for part in zip(*outputs)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return cat(outputs)
