"""Schedulers by torch's names, over the functions of ``optim.schedules``.

A scheduler counts its steps and writes what its schedule says into ``lr`` (and momentum) of the
optimizer's groups:

>>> import tapegrad as tg
>>> w = tg.tensor([1.0], requires_grad=True)
>>> optimizer = tg.optim.SGD([w], lr=0.1)
>>> scheduler = tg.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
>>> for epoch in range(4):
...     optimizer.step()
...     scheduler.step()
...     print(scheduler.get_last_lr())
[0.1]
[0.05]
[0.05]
[0.025]

Where the rate or a setting is a Tensor, so is what is written, and training has derivatives by it.

When somebody else changed the rate since (another scheduler, or you), a scheduler that multiplies
goes on from there, by the quotient of its schedule at this step and the step before, as torch's do;
so several of them on one optimizer multiply. LambdaLR, CyclicLR, OneCycleLR and
CosineAnnealingWarmRestarts write their own rate whatever there was.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import schedules
from .plateau import PlateauState, reduce_on_plateau
from .rule import is_off
from .scheduler import DEPRECATED, LRScheduler
from .scheduler_cycles import NO_SETTINGS, CyclicLR, OneCycleLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


# -- functions of the step ---------------------------------------------------------------------
class ConstantLR(LRScheduler):
    """The rate times ``factor`` for the first ``total_iters`` epochs.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> tg.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5).get_last_lr()
    [0.05]
    """

    schedule = staticmethod(schedules.constant)
    factor = 1.0 / 3
    total_iters = 5


class StepLR(LRScheduler):
    """The rate times ``gamma`` once more every ``step_size`` epochs.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> tg.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    StepLR(step_size=10, gamma=0.5, last_epoch=0)
    """

    schedule = staticmethod(schedules.step_decay)


class MultiStepLR(LRScheduler):
    """The rate times ``gamma`` once more from each of the ``milestones`` on.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> tg.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[30, 80])
    MultiStepLR(milestones=[30, 80], gamma=0.1, last_epoch=0)
    """

    schedule = staticmethod(schedules.multi_step_decay)


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` once more every epoch.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> tg.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.95)
    ExponentialLR(gamma=0.95, last_epoch=0)
    """

    schedule = staticmethod(schedules.exponential_decay)


class LinearLR(LRScheduler):
    """The rate times a factor that goes from ``start_factor`` to ``end_factor`` along a line.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> tg.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5).get_last_lr()
    [0.05]
    """

    schedule = staticmethod(schedules.linear)


class PolynomialLR(LRScheduler):
    """The rate times (1 - epoch/total_iters)^power.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> tg.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4, power=2.0)
    PolynomialLR(total_iters=4, power=2.0, last_epoch=0)
    """

    schedule = staticmethod(schedules.polynomial_decay)


class LambdaLR(LRScheduler):
    """The initial rate times a function of the epoch, or a list of functions, one for each group.

    Any function of ``optim.schedules`` with a peak of 1 will do.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> factor = tg.optim.schedules.warmup_cosine(1.0, 10, 100)
    >>> tg.optim.lr_scheduler.LambdaLR(optimizer, factor).get_last_lr()
    [0.010000000000000002]
    """

    schedule = staticmethod(schedules.lambda_)
    multiplies = False
    listed = ("lr_lambda",)


class MultiplicativeLR(LRScheduler):
    """The rate times a function of the epoch once more every epoch.

    In a SequentialLR, where others begin from their own rate, it goes on from the rate that it
    finds, times the function of 0, as in torch.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> scheduler = tg.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.05]
    """

    schedule = staticmethod(schedules.multiplicative)
    listed = ("lr_lambda",)

    def _schedule(self, i: int, rate: Any = None) -> Callable[[Any], Any]:
        function = self._of_group("lr_lambda", i)
        if i not in self._kept:
            self._kept[i] = schedules.multiplicative(1.0, function)  # keeps its products
        return schedules.chained(self.base_lrs[i] if rate is None else rate, self._kept[i])

    def _restart(self) -> None:
        """Go on from the rate that the scheduler before left, as torch's does."""
        self._place(0)
        groups = enumerate(self.optimizer.param_groups)
        self._write([(g["lr"] * self._of_group("lr_lambda", i)(0), False) for i, g in groups])


class CosineAnnealingLR(LRScheduler):
    """The rate on a cosine to ``eta_min`` at epoch ``T_max``; past it the rate rises again.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    CosineAnnealingLR(T_max=50, eta_min=0.0, last_epoch=0)
    """

    schedule = staticmethod(schedules.cosine_annealing)


class CosineAnnealingWarmRestarts(LRScheduler):
    """The rate on a cosine to ``eta_min``, again and again; each takes ``T_mult`` times as long.

    ``step(epoch)`` may be called with fractions of epochs, as in torch.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> scheduler = tg.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10)
    >>> optimizer.step(); scheduler.step(2.5)
    >>> scheduler.T_cur, scheduler.T_i
    (2.5, 10)
    """

    schedule = staticmethod(schedules.warm_restarts)
    multiplies = False

    def step(self, epoch: Any = None) -> None:
        """Go to the next epoch, or to the one given, which may be a fraction."""
        self._step_count += 1
        if epoch is not None and epoch < 0:
            raise ValueError(f"{type(self).__name__}: the epoch must not be negative, not {epoch}")
        self._jump(self._at + 1 if epoch is None else epoch)

    def _place(self, epoch: Any) -> None:
        super()._place(epoch // 1)
        self._at = epoch

    def _here(self) -> Any:
        return self._at

    @property
    def T_cur(self) -> Any:
        """How many epochs ago the last restart was."""
        return schedules.since_restart(self._at, self.T_0, self.T_mult)[0]  # type: ignore[attr-defined]

    @property
    def T_i(self) -> Any:
        """How many epochs lie between that restart and the next."""
        return schedules.since_restart(self._at, self.T_0, self.T_mult)[1]  # type: ignore[attr-defined]


# -- of other schedulers -----------------------------------------------------------------------
class _OfSchedulers(LRScheduler):
    """What is made of several schedulers of one optimizer."""

    _settings = ()

    def _take(self, parts: Iterable[LRScheduler], optimizer: Any) -> None:
        self._schedulers = list(parts)
        if not self._schedulers:
            raise ValueError(f"{type(self).__name__}: give at least one scheduler")
        self._attach(self._schedulers[0].optimizer if optimizer is None else optimizer)
        for i, part in enumerate(self._schedulers):
            if isinstance(part, ReduceLROnPlateau):
                raise ValueError(
                    f"{type(self).__name__}: schedulers[{i}] is a ReduceLROnPlateau, which needs "
                    "a metric at every step"
                )
            if not isinstance(part, LRScheduler):
                raise TypeError(
                    f"{type(self).__name__}: schedulers[{i}] is a {type(part).__name__}, not a "
                    "scheduler"
                )
            if part.optimizer is not self.optimizer:
                raise ValueError(f"{type(self).__name__}: schedulers[{i}] has another optimizer")

    def _refuse_other(self, state_dict: Any) -> None:
        super()._refuse_other(state_dict)
        snapshots = state_dict["_schedulers"]
        if len(snapshots) != len(self._schedulers):
            raise ValueError(
                f"{type(self).__name__}: the snapshot is of {len(snapshots)} schedulers, here "
                f"there are {len(self._schedulers)}"
            )
        for part, snapshot in zip(self._schedulers, snapshots, strict=True):
            part._refuse_other(snapshot)

    def _undo(self) -> None:
        for part in self._schedulers:
            part._undo()

    def _place(self, epoch: Any) -> None:
        for part in self._schedulers:
            part._place(epoch)

    def _restart(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._place(-1)
        self._initial_step()

    def _read(self) -> None:
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[Any]:
        """The rates that were written last."""
        return self.get_last_lr()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._schedulers})"


class SequentialLR(_OfSchedulers):
    """One scheduler after the other, each from its own beginning, from one milestone to the next.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> lrs = tg.optim.lr_scheduler
    >>> parts = [lrs.ConstantLR(optimizer, 0.1, total_iters=2), lrs.ExponentialLR(optimizer, 0.5)]
    >>> scheduler = lrs.SequentialLR(optimizer, parts, milestones=[2])
    >>> for epoch in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     print(scheduler.get_last_lr())
    [0.010000000000000002]
    [0.1]
    [0.05]
    [0.025]
    """

    def __init__(
        self,
        optimizer: Any,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._take(schedulers, optimizer)
        if len(milestones) != len(self._schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(self._schedulers)} schedulers need "
                f"{len(self._schedulers) - 1} milestones, not {len(milestones)}"
            )
        self._milestones = list(milestones)
        schedules.sequential(self._schedulers, self._milestones)  # refuses what makes no sense
        self.last_epoch = last_epoch + 1
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for part in self._schedulers:
            part._undo()
        self._schedulers[self._turn()]._initial_step()
        self._read()

    def _turn(self) -> int:
        """Whose turn it is."""
        return sum(self.last_epoch >= milestone for milestone in self._milestones)

    def step(self, epoch: Any = None) -> None:
        """Let the scheduler whose turn it is make a step."""
        self.last_epoch += 1
        turn = self._turn()
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            self._schedulers[turn]._restart()
        else:
            self._schedulers[turn].step()
        self._read()

    def _initial_step(self) -> None:
        self.last_epoch = 0
        self._schedulers[self._turn()]._initial_step()
        self._read()

    def _schedule(self, i: int, rate: Any = None) -> Callable[[Any], Any]:
        parts: list[Callable[[Any], Any]] = []
        for part in self._schedulers:
            if parts and isinstance(part, MultiplicativeLR):  # goes on from where the others end
                begins = self._milestones[: len(parts)]
                left = _held(schedules.sequential(parts, begins[:-1]), begins[-1] - 1)
                first = _held(part._of_group("lr_lambda", i), 0)
                parts.append(schedules.chained(left, first, part._schedule(i, 1.0)))
            else:
                parts.append(part._schedule(i, rate))
        return schedules.sequential(parts, self._milestones)


def _is_factor(part: LRScheduler) -> bool:
    """Whether a scheduler multiplies what others do to the rate, at every step."""
    if isinstance(part, _OfSchedulers):
        return isinstance(part, ChainedScheduler) and all(map(_is_factor, part._schedulers))
    return part.multiplies and is_off(getattr(part, "eta_min", 0))


def _held(schedule: Callable[[Any], Any], at: Any) -> Callable[[Any], Any]:
    """The value of a schedule at a step, at every step."""
    return lambda step: schedule(at)


class ChainedScheduler(_OfSchedulers):
    """Several schedulers at once: each makes its step on what the one before left.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> lrs = tg.optim.lr_scheduler
    >>> parts = [lrs.ConstantLR(optimizer, 0.1, total_iters=2), lrs.ExponentialLR(optimizer, 0.5)]
    >>> scheduler = lrs.ChainedScheduler(parts)
    >>> for epoch in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     print(round(scheduler.get_last_lr()[0], 6))
    0.005
    0.025
    0.0125
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Any = None) -> None:
        self._take(schedulers, optimizer)
        self._read()

    def step(self, epoch: Any = None) -> None:
        """Let every scheduler make a step, in order."""
        for part in self._schedulers:
            part.step()
        self._read()

    def _initial_step(self) -> None:
        for part in self._schedulers:
            part._initial_step()
        self._read()

    def _schedule(self, i: int, rate: Any = None) -> Callable[[Any], Any]:
        first, *others = self._schedulers
        for part in self._schedulers if others else ():
            if not _is_factor(part):
                raise NotImplementedError(
                    f"ChainedScheduler: {type(part).__name__} is no factor of the rate, so the "
                    "chain is no function of the step"
                )
        return schedules.chained(
            first._schedule(i, rate), *(part._schedule(i, 1.0) for part in others)
        )


class ReduceLROnPlateau(LRScheduler):
    """Reduce the rates when a metric stops improving; call ``step(metric)``.

    Settings as of :func:`tapegrad.optim.schedules.reduce_on_plateau` (which also tells how Keras's
    patience differs); ``min_lr`` may be a list with one for each group.

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
    >>> lrs = tg.optim.lr_scheduler
    >>> scheduler = lrs.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    >>> for loss in (1.0, 0.8, 0.8):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.05]
    """

    listed = ("min_lr",)

    mode: str
    threshold: Any
    patience: int
    cooldown: int

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: Any = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0.0,
        eps: float = 1e-8,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in NO_SETTINGS}
        self._attach(optimizer)
        if isinstance(min_lr, (list, tuple)):
            self._one_each("min_lr", min_lr)
        self._settings = tuple(given)
        for name, value in given.items():
            setattr(self, name, value)
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        self._reset()

    def _rule(self, i: int, rate: Any) -> schedules.Plateau:
        return reduce_on_plateau(rate, **{name: self._of_group(name, i) for name in self._settings})

    def _reset(self) -> None:
        """Forget the best metric and what was counted."""
        _, self.best, self.num_bad_epochs, self.cooldown_counter = self._rule(0, 0.0).init()

    @property
    def in_cooldown(self) -> Any:
        """Whether bad epochs do not count at present."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: Any = None) -> None:  # type: ignore[override]
        """Tell the metric of an epoch, and reduce the rates if it is time."""
        try:
            metric = float(metrics)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(
                f"ReduceLROnPlateau.step: the metric must be one number, not {metrics!r}"
            ) from None
        if epoch is not None:
            warnings.warn(DEPRECATED.format(epoch), UserWarning, stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        groups = self.optimizer.param_groups
        if isinstance(self.min_lr, (list, tuple)):  # type: ignore[attr-defined]
            self._one_each("min_lr", self.min_lr)  # type: ignore[attr-defined]
        counted = (self.best, self.num_bad_epochs, self.cooldown_counter)
        moved = [
            self._rule(i, group["lr"]).update(metric, PlateauState(group["lr"], *counted))
            for i, group in enumerate(groups)
        ]
        for group, (rate, state) in zip(groups, moved, strict=True):
            group["lr"] = rate
            _, self.best, self.num_bad_epochs, self.cooldown_counter = state
        self._last_lr = [rate for rate, _ in moved]

    def get_lr(self) -> list[Any]:
        """The rates that were written last."""
        return self.get_last_lr()

    def plot(self, *given: Any, **named: Any) -> Any:
        """Raises NotImplementedError: the rate depends on the metrics, not on the step."""
        raise NotImplementedError("ReduceLROnPlateau is no function of the step")

    def _repr_svg_(self) -> None:
        return None
