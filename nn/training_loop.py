"""The loop over epochs and batches, and the step for one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from tapegrad import Tensor, no_grad
from tapegrad.optim import LBFGS, SAM

from .callbacks import CallbackList, TerminateOnNaN
from .compiling import fresh_metrics
from .feeding import Batch, Feed, called, samples_in
from .loss_operands import lined_up
from .nonfinite import Before, NonFiniteLoss, bad_gradient, explained
from .numbers_of import RunningMean, is_finite, number
from .resuming import Checkpoints
from .weighing import ClassWeights, combined


class RunningLogs(Mapping[str, Any]):
    """What was measured up to here; a metric is computed when it is asked for."""

    def __init__(self, loss: RunningMean, metrics: dict[str, Any]) -> None:
        self._loss, self._metrics = loss, metrics
        self.measured = True

    def __getitem__(self, name: str) -> Any:
        if name == "loss":
            return self._loss.value
        if not self.measured:
            return math.nan
        return plain_result(self._metrics[name].compute())

    def __iter__(self) -> Iterator[str]:
        return iter(["loss", *self._metrics])

    def __len__(self) -> int:
        return 1 + len(self._metrics)

    def __repr__(self) -> str:
        return repr(dict(self))


def plain_result(result: Any) -> Any:
    """What a metric gives as a number; of several, as it is."""
    return result if getattr(result, "ndim", 0) else number(result)


class TrainingLoop:
    """One call of ``fit``: where it is, and how it goes on."""

    def __init__(
        self,
        trainer: Any,
        feed: Feed,
        validation: Feed | None,
        callbacks: CallbackList,
        checkpoints: Checkpoints,
        class_weights: ClassWeights | None,
        epochs: int,
        epoch: int,
        validation_freq: int,
    ) -> None:
        self.trainer, self.feed, self.validation = trainer, feed, validation
        self.callbacks, self.checkpoints = callbacks, checkpoints
        self.class_weights, self.epochs, self.epoch = class_weights, epochs, epoch
        self.validation_freq = validation_freq
        self.batch = 0
        self.loss, self.metrics = RunningMean(), trainer.metrics
        self.logs = RunningLogs(self.loss, self.metrics)
        self._pending = 0.0  # samples whose gradients wait for the others of their step
        self._batches_pending = 0
        self._named = list(trainer.model.named_parameters()) + others_of(trainer)
        if not any(p.requires_grad for _, p in self._named):
            raise ValueError("fit: no parameter requires a gradient, so there is nothing to train")
        self._buffers = [m._buffers for m in trainer.model.modules() if m._buffers]
        kinds = (LBFGS, SAM)
        self._needs_closure = isinstance(trainer.optimizer, kinds)
        if self._needs_closure and trainer.gradient_accumulation_steps > 1:
            raise ValueError(
                f"{type(trainer.optimizer).__name__} computes the loss several times in a step, so "
                "gradients cannot be accumulated over batches: leave "
                "gradient_accumulation_steps out"
            )

    def run(self) -> dict[str, Any]:
        """All epochs that are left; returns the logs of the last."""
        logs: dict[str, Any] = {}
        while self.epoch < self.epochs and not self.trainer.stop_training:
            logs = self._epoch()
            self.epoch, self.batch = self.epoch + 1, 0
            self.checkpoints.due_after_epoch()
            self.checkpoints.write(self)
        return logs

    def _epoch(self) -> dict[str, Any]:
        trainer, callbacks = self.trainer, self.callbacks
        trainer.epoch = self.epoch
        if not self.batch:
            self.loss.reset()
            self.logs.measured = False
            for metric in self.metrics.values():
                metric.reset()
            callbacks.call("on_epoch_begin", self.epoch, {})
        trainer.model.train()
        switch(trainer.optimizer, "train")
        for batch in self.feed.epoch(self.batch):
            callbacks.call("on_train_batch_begin", self.batch, {})
            self._train_on(batch)
            callbacks.call("on_train_batch_end", self.batch, self.logs)
            self.batch += 1
            trainer.batches_seen += 1
            if trainer.stop_training:
                break
            self.checkpoints.due(trainer.batches_seen)
            if not self._batches_pending:
                self.checkpoints.write(self)
        if self._batches_pending:
            self._step_with_gradients()
        logs = dict(self.logs)
        if self.validation is not None and (self.epoch + 1) % self.validation_freq == 0:
            found = evaluated(trainer, self.validation, callbacks)
            logs.update((f"val_{name}", value) for name, value in found.items())
        if trainer.schedule is not None:
            logs["learning_rate"] = trainer.learning_rate
        callbacks.call("on_epoch_end", self.epoch, logs)
        if trainer.schedule_every == "epoch":
            trainer.advance_schedule(logs)
        return logs

    def _train_on(self, batch: Batch) -> None:
        """A step, or a part of one; what is not finite ends it before anything is changed."""
        x, y, w = batch
        w = combined(w, self.class_weights, y)
        try:
            value, prediction = self._step((x, y, w))
        except NonFiniteLoss as error:
            ends = [c for c in self.callbacks if isinstance(c, TerminateOnNaN)]
            if not ends:
                raise
            self._pending, self._batches_pending = 0.0, 0
            self.loss.add(math.nan, samples_in(x))
            for callback in ends:
                callback.on_non_finite(error)
            return
        self.loss.add(value, samples_in(x))
        measure(self.metrics, prediction, lined_up(self.trainer.loss.loss, prediction, y))
        self.logs.measured = True

    def _step(self, batch: Batch) -> tuple[float, Any]:
        """The loss of a batch, and what the model made of it; the parameters have moved."""
        trainer = self.trainer
        x, y, w = batch
        accumulates = trainer.gradient_accumulation_steps > 1
        sums = trainer.loss.reduction == "sum"
        share = 1.0 if sums or not accumulates else samples_in(x) * 1.0
        first: list[tuple[float, Any]] = []

        def forward() -> tuple[Tensor, Any]:
            prediction = called(trainer.model, x)
            return trainer.loss(prediction, y, w), prediction

        def compute(weighted: float = 1.0, once: bool = False) -> tuple[Tensor, Tensor, Any]:
            loss, prediction = forward()
            penalty = trainer.penalties()
            if penalty is None:
                return loss, loss * weighted if accumulates else loss, prediction
            whole = loss + penalty
            if not accumulates:
                return whole, whole, prediction
            return whole, (loss if once else whole) * weighted, prediction

        def closure() -> Tensor:
            before = Before(self._buffers)
            # of a sum over batches the penalty is a part once
            once = sums and self._batches_pending > 0
            loss, toward, prediction = compute(share, once)
            value = number(loss)
            first.append((value, prediction))
            where = (self.epoch, self.batch)
            if not is_finite(value):
                again: Callable[[], Tensor] = lambda: compute(share, once)[0]
                what = f"the loss is {value}"
                raise explained(what, trainer.model, batch, again, before, where)
            toward.backward()
            bad = bad_gradient(self._named)
            if bad is not None:
                again = lambda: compute(share, once)[1]
                what = f"the loss is {value:.6g}, but its gradient by {bad!r} is not finite"
                raise explained(what, trainer.model, batch, again, before, where, backward=True)
            return loss

        if self._needs_closure:
            begin = Before(self._buffers)
            try:
                trainer.optimizer.step(lambda: (trainer.optimizer.zero_grad(), closure())[1])
            except NonFiniteLoss:
                begin.restore()
                raise
            self._stepped()
            return first[0]
        if not self._batches_pending:
            for _, p in self._named:
                p.grad = None
        closure()
        self._pending += 0.0 if sums else share
        self._batches_pending += 1
        if self._batches_pending >= trainer.gradient_accumulation_steps:
            self._step_with_gradients()
        return first[0]

    def _step_with_gradients(self) -> None:
        """Move the parameters by the gradients that are there."""
        if self.trainer.gradient_accumulation_steps > 1 and self._pending:
            with no_grad():
                for _, p in self._named:
                    if p.grad is not None:
                        p.grad = p.grad / self._pending
        self.trainer.optimizer.step()
        self._pending, self._batches_pending = 0.0, 0
        self._stepped()

    def _stepped(self) -> None:
        trainer = self.trainer
        trainer.steps += 1
        if trainer.ema is not None:
            trainer.ema.update()
        if trainer.schedule_every == "step":
            trainer.advance_schedule({})


def others_of(trainer: Any) -> list[tuple[str, Tensor]]:
    """The parameters that the optimizer moves and the model does not have, such as a loss's own."""
    known = {id(p) for p in trainer.model.parameters()}
    moved = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    others = [p for p in moved if id(p) not in known]
    return [(f"parameter {i} beside the model's", p) for i, p in enumerate(others)]


def measure(metrics: dict[str, Any], prediction: Any, y: Any) -> None:
    """Let metrics see a batch."""
    if metrics:
        with no_grad():
            for metric in metrics.values():
                metric.update(prediction, y)


def evaluated(trainer: Any, feed: Feed, callbacks: CallbackList) -> dict[str, Any]:
    """The loss and the metrics over all batches, in evaluation mode, with averaged weights."""
    loss, metrics = RunningMean(), fresh_metrics(trainer.metrics)
    logs = RunningLogs(loss, metrics)
    callbacks.call("on_test_begin", {})
    with evaluating(trainer), no_grad():
        penalty = trainer.penalties()
        for i, (x, y, w) in enumerate(feed.epoch()):
            callbacks.call("on_test_batch_begin", i, {})
            prediction = called(trainer.model, x)
            value = trainer.loss(prediction, y, combined(w, None, y))
            loss.add(number(value if penalty is None else value + penalty), samples_in(x))
            measure(metrics, prediction, lined_up(trainer.loss.loss, prediction, y))
            callbacks.call("on_test_batch_end", i, logs)
    found = dict(logs)
    callbacks.call("on_test_end", found)
    return found


@contextmanager
def evaluating(trainer: Any) -> Iterator[None]:
    """Inside, the model is in evaluation mode and has the weights that are evaluated."""
    modes = [(module, module.training) for module in trainer.model.modules()]
    optimizer = trainer.optimizer
    trains = getattr(optimizer, "training", False)
    switch(optimizer, "eval")
    trainer.model.eval()
    averages = nullcontext() if trainer.ema is None else trainer.ema.average_parameters()
    try:
        with averages:
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        if trains:
            switch(optimizer, "train")


def switch(optimizer: Any, mode: str) -> None:
    """Optimizers that train at other weights than they evaluate at have modes."""
    if hasattr(optimizer, mode):
        getattr(optimizer, mode)()
