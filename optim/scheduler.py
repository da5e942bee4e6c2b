"""What all schedulers have: they count their steps and write rates into an optimizer's groups."""

from __future__ import annotations

import inspect
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tapegrad import Tensor, where

from .optimizer import Optimizer
from .schedule import Schedule

__all__ = ["LRScheduler"]

DEPRECATED = (
    "step(epoch) is deprecated, as in torch: call step() after every epoch. The rate is now that "
    "of epoch {}"
)

#: What a snapshot leaves out.
_UNSAVED = ("optimizer", "_kept")


class LRScheduler:
    """What all schedulers have; a subclass names the function of the step that it follows.

    Or it has a ``get_lr`` of its own, as in torch: the rates of the groups at ``last_epoch``.

    ``optimizer``: whose groups to write to. The other arguments are those of the schedule without
    its rate, which is the group's ``lr`` (kept as ``initial_lr``). ``last_epoch``: -1 to begin; a
    number to go on after it, with the rates that the groups have, which need an ``initial_lr``.

    Making a scheduler makes its first step, to epoch 0.

    >>> import tapegrad as tg
    >>> class Halving(tg.optim.lr_scheduler.LRScheduler):
    ...     schedule = staticmethod(lambda rate: lambda step: rate * 0.5**step)
    >>> scheduler = Halving(tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1))
    >>> scheduler.optimizer.step(); scheduler.step()
    >>> scheduler.get_last_lr()
    [0.05]
    """

    #: Makes the function of the step that gives a group's rate, from its initial rate.
    schedule: Callable[..., Callable[[Any], Any]]
    #: Whether it multiplies a rate that somebody else changed, or writes its own.
    multiplies = True
    #: Settings that may be lists, one for each group.
    listed: tuple[str, ...] = ()

    optimizer: Any
    last_epoch: Any
    base_lrs: list[Any]
    #: Schedules that remember what they computed, by group.
    _kept: dict[int, Callable[[Any], Any]]

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "schedule" in vars(cls) and "__init__" not in vars(cls):
            keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
            _, *settings = inspect.signature(cls.schedule).parameters.values()
            cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
                [
                    inspect.Parameter("optimizer", keyword),
                    *(
                        p.replace(
                            default=vars(cls).get(p.name, p.default),
                            annotation=inspect.Parameter.empty,
                        )
                        for p in settings
                    ),
                    inspect.Parameter("last_epoch", keyword, default=-1),
                ]
            )

    def __init__(self, *settings: Any, **named: Any) -> None:
        follows = hasattr(type(self), "schedule")
        signature = inspect.signature(type(self) if follows else _arguments)
        try:
            bound = signature.bind(*settings, **named)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}{signature}: {error}") from None
        bound.apply_defaults()
        given = dict(bound.arguments)
        self._begin(given.pop("optimizer"), given.pop("last_epoch"), given)

    def _begin(self, optimizer: Any, last_epoch: int, settings: dict[str, Any]) -> None:
        """Remember everything, and make the first step."""
        self._attach(optimizer)
        self._kept = {}
        self._settings = tuple(settings)
        for name, value in settings.items():
            if name in self.listed and isinstance(value, (list, tuple)):
                self._one_each(name, value)
            setattr(self, name, value)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch != -1 and "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: to go on after epoch {last_epoch}, group {i} needs "
                    "an 'initial_lr': load the optimizer's snapshot first"
                )
        self.base_lrs = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()  # refuses settings that make no sense before it writes
        for group, rate in zip(optimizer.param_groups, self.base_lrs, strict=True):
            group.setdefault("initial_lr", rate)

    def _attach(self, optimizer: Any) -> None:
        if not hasattr(optimizer, "param_groups"):
            raise TypeError(
                f"{type(self).__name__}: {type(optimizer).__name__} is not an Optimizer"
            )
        if not optimizer.param_groups:
            raise ValueError(
                f"{type(self).__name__}: {type(optimizer).__name__} has no parameters yet: give "
                "them first"
            )
        for group in optimizer.param_groups:
            if callable(group["lr"]) and not isinstance(group["lr"], Tensor):
                raise TypeError(
                    f"{type(self).__name__}: the optimizer's lr is a schedule: {group['lr']}"
                )
        self.optimizer = optimizer

    def _one_each(self, name: str, values: Sequence[Any]) -> None:
        groups = len(self.optimizer.param_groups)
        if len(values) != groups:
            raise ValueError(
                f"{type(self).__name__}: {name} has {len(values)} values, but the optimizer has "
                f"{groups} group(s)"
            )

    def _of_group(self, name: str, i: int) -> Any:
        """A setting of one group."""
        value = getattr(self, name)
        return value[i] if name in self.listed and isinstance(value, (list, tuple)) else value

    def _schedule(self, i: int, rate: Any = None) -> Callable[[Any], Any]:
        """The function of the step that a group follows, from its initial rate or another."""
        if self._says_its_rates():
            raise NotImplementedError(
                f"{type(self).__name__} says its rates by get_lr, which is no function of the step"
            )
        if not hasattr(type(self), "schedule"):
            raise NotImplementedError(
                f"{type(self).__name__} needs a schedule (a function that makes a function of the "
                "step from a rate and settings) or get_lr (the rates of the groups at last_epoch)"
            )
        settings = {name: self._of_group(name, i) for name in self._settings}
        return type(self).schedule(self.base_lrs[i] if rate is None else rate, **settings)

    # -- stepping ------------------------------------------------------------------------------
    def _initial_step(self) -> None:
        self._step_count = 1
        fresh = self.last_epoch == -1
        self._written = self.base_lrs if fresh else [None] * len(self.base_lrs)
        before = self.last_epoch
        self._place(self.last_epoch + 1)
        if fresh or not self.multiplies or self._says_its_rates():
            self._write(self._moved_from(before))
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: Any = None) -> None:
        """Go to the next epoch and write its rates; call it after the optimizer's ``step``.

        ``epoch``: deprecated, as in torch; go to this one instead.
        """
        self._warn_if_early()
        self._step_count += 1
        if epoch is None:
            self._advance()
        else:
            warnings.warn(DEPRECATED.format(epoch), UserWarning, stacklevel=2)
            self._jump(epoch)

    def _warn_if_early(self) -> None:
        kind = type(self.optimizer)
        known = getattr(kind, "step", None) is Optimizer.step
        if self._step_count == 1 and known and not self.optimizer._stepped:
            warnings.warn(
                "scheduler.step() was called before optimizer.step(), so the first rate of the "
                "schedule is never used: call optimizer.step() first",
                UserWarning,
                stacklevel=3,
            )

    def _advance(self) -> None:
        before = self.last_epoch
        self._place(before + 1)
        self._write(self._moved_from(before))

    def _jump(self, epoch: Any) -> None:
        """Go to an epoch, whatever the rate was."""
        self._place(epoch)
        self._write([(rate, True) for rate in self.get_lr()])

    def _restart(self) -> None:
        """Go to epoch 0 as a part of a sequence."""
        self._jump(0)

    def _undo(self) -> None:
        """Take the first step back, as a part of a sequence whose turn is later."""
        self._place(self.last_epoch - 1)

    def _place(self, epoch: Any) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise RuntimeError(
                f"{type(self).__name__}: the optimizer has {len(groups)} groups, but had "
                f"{len(self.base_lrs)} when the scheduler was made"
            )
        self.last_epoch = epoch

    def _says_its_rates(self) -> bool:
        """Whether it is a subclass that has its own ``get_lr``, as in torch."""
        return type(self).get_lr is not LRScheduler.get_lr

    def _moved_from(self, before: Any) -> list[tuple[Any, bool]]:
        """The next rates, and whether they are the schedule's own."""
        if self._says_its_rates():
            return [(rate, False) for rate in self.get_lr()]
        return [self._moved(i, before) for i in range(len(self.base_lrs))]

    def _moved(self, i: int, before: Any) -> tuple[Any, bool]:
        """The next rate of a group, and whether it is the schedule's own."""
        rate, current = self._schedule(i), self.optimizer.param_groups[i]["lr"]
        now = rate(self._here())
        if not self.multiplies or _same(current, self._written[i]):
            return now, True
        past = rate(before) if before >= 0 else self.base_lrs[i]
        floor = getattr(self, "eta_min", 0.0)
        level = past == floor
        if level is False:
            return floor + (current - floor) * ((now - floor) / (past - floor)), False
        rest = where(level, 1.0, past - floor)
        return where(
            level, current + (now - past), floor + (current - floor) * ((now - floor) / rest)
        ), False

    def _here(self) -> Any:
        return self.last_epoch

    def _write(self, rates: Sequence[tuple[Any, bool]]) -> None:
        for group, (rate, _) in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._written = [rate if own else None for rate, own in rates]
        self._last_lr = [rate for rate, _ in rates]

    def get_last_lr(self) -> list[Any]:
        """The rates that were written last, one for each group.

        >>> import tapegrad as tg
        >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
        >>> tg.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5).get_last_lr()
        [0.05]
        """
        return list(self._last_lr)

    def get_lr(self) -> list[Any]:
        """The rates of the schedule at this epoch, whatever was written."""
        return [self._schedule(i)(self._here()) for i in range(len(self.base_lrs))]

    # -- snapshots -----------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """A snapshot of everything but the optimizer.

        Functions are left out, as in torch; of callable objects their ``__dict__`` is kept.

        >>> import tapegrad as tg
        >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1)
        >>> tg.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9).state_dict()["gamma"]
        0.9
        """
        return {name: _copy(v) for name, v in vars(self).items() if name not in _UNSAVED}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take everything from a snapshot of a scheduler of the same kind.

        The optimizer's rates are its own: load its snapshot too. Tensors that have the value in
        the snapshot stay as they are, on the tape.

        Raises ValueError, naming what differs, when the snapshot is of another kind.
        """
        self._refuse_other(state_dict)
        for name, value in state_dict.items():
            setattr(self, name, _restored(getattr(self, name), value))
        self._kept = {}

    def _refuse_other(self, state_dict: Any) -> None:
        """Refuse a snapshot that does not fit."""
        if not isinstance(state_dict, dict):
            raise ValueError(
                f"{type(self).__name__}: a snapshot is a dict, as state_dict() makes it, not "
                f"{state_dict!r}"
            )
        mine = {name for name in vars(self) if name not in _UNSAVED}
        if set(state_dict) != mine:
            raise ValueError(
                f"{type(self).__name__}: the snapshot differs in "
                f"{sorted(set(state_dict) ^ mine)} from what this scheduler keeps"
            )
        groups = len(state_dict.get("base_lrs", self.optimizer.param_groups))
        if groups != len(self.optimizer.param_groups):
            raise ValueError(
                f"{type(self).__name__}: the snapshot is of {groups} group(s), here there are "
                f"{len(self.optimizer.param_groups)}"
            )

    # -- pictures ------------------------------------------------------------------------------
    def plot(
        self, steps: int | None = None, ax: Any = None, *, group: int = 0, **style: Any
    ) -> Any:
        """Draw the schedule of a group from its beginning; see :meth:`Schedule.plot`."""
        return self._schedule(group).plot(steps, ax, **style)  # type: ignore[attr-defined]

    def _repr_svg_(self) -> str | None:
        try:
            made = self._schedule(0)
        except NotImplementedError:
            return None
        return made._repr_svg_() if isinstance(made, Schedule) else None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)
        return f"{type(self).__name__}({shown}{', ' if shown else ''}last_epoch={self.last_epoch})"


def _arguments(optimizer: Any, last_epoch: int = -1) -> None:
    """What a subclass without a schedule gives to ``__init__``."""


def _same(current: Any, written: Any) -> bool:
    """Whether a rate is what was written: the same Tensor, or an equal number."""
    if isinstance(current, Tensor) or isinstance(written, Tensor):
        return current is written
    return written is not None and current == written


def _copy(value: Any) -> Any:
    """A value for a snapshot."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) in (tuple, list):
        return type(value)(map(_copy, value))
    if isinstance(value, LRScheduler):
        return value.state_dict()
    if callable(value):
        plain = isinstance(value, (types.FunctionType, types.BuiltinFunctionType, Schedule))
        return None if plain else dict(vars(value))
    return value


def _restored(mine: Any, value: Any) -> Any:
    """What is kept after a snapshot's value was loaded."""
    if isinstance(mine, LRScheduler):
        mine.load_state_dict(value)
        return mine
    if isinstance(mine, Tensor):
        return mine if isinstance(value, Tensor) and (mine == value).all() else _copy(value)
    if callable(mine):
        if value is not None:
            vars(mine).update(value)
        return mine
    if type(mine) in (tuple, list) and isinstance(value, (tuple, list)):
        if len(mine) == len(value):
            return type(mine)(map(_restored, mine, value))
    return _copy(value)
