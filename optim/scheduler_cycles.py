"""Schedulers of the rate and of momentum (or the first beta) at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import schedules
from .scheduler import LRScheduler

__all__ = ["CyclicLR", "OneCycleLR"]

#: Names in a constructor that are no settings.
NO_SETTINGS = ("self", "optimizer", "last_epoch", "__class__")


class _WithMomentum(LRScheduler):
    """Schedulers that move momentum (or the first beta) too."""

    multiplies = False
    cycle_momentum: bool

    def _momentum(self, i: int) -> Callable[[Any], Any]:
        """The function of the step that a group's momentum follows."""
        raise NotImplementedError

    def _needs_momentum(self) -> None:
        if self.cycle_momentum and not {"momentum", "betas"} & set(self.optimizer.defaults):
            raise ValueError(
                f"{type(self).__name__}: {type(self.optimizer).__name__} has neither momentum nor "
                "betas: give cycle_momentum=False"
            )

    def _write(self, rates: Sequence[tuple[Any, bool]]) -> None:
        groups = self.optimizer.param_groups if self.cycle_momentum else []
        momenta = [self._momentum(i)(self._here()) for i in range(len(groups))]
        super()._write(rates)
        for group, now in zip(groups, momenta, strict=True):
            if "betas" in self.optimizer.defaults:
                group["betas"] = (now, *group["betas"][1:])
            else:
                group["momentum"] = now


class CyclicLR(_WithMomentum):
    """Rates in triangles between ``base_lr`` and ``max_lr``, momentum the other way.

    ``base_lr``, ``max_lr``, ``base_momentum``, ``max_momentum``: one value, or a list with one for
    each group. The other settings as of :func:`tapegrad.optim.schedules.cyclic`.
    ``cycle_momentum``: whether to move momentum (or the first beta).

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], momentum=0.9)
    >>> scheduler = tg.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.5, step_size_up=2)
    >>> optimizer.step(); scheduler.step(); round(scheduler.get_last_lr()[0], 6)
    0.3
    """

    listed = ("base_lr", "max_lr", "base_momentum", "max_momentum")
    _SHAPE = ("step_size_up", "step_size_down", "mode", "gamma", "scale_fn", "scale_mode")

    def __init__(
        self,
        optimizer: Any,
        base_lr: Any,
        max_lr: Any,
        step_size_up: Any = 2000,
        step_size_down: Any = None,
        mode: str = "triangular",
        gamma: Any = 1.0,
        scale_fn: Callable[[Any], Any] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.8,
        max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in NO_SETTINGS}
        self._begin(optimizer, last_epoch, given)

    def _initial_step(self) -> None:
        self._needs_momentum()
        groups = range(len(self.optimizer.param_groups))
        self.base_lrs = [self._of_group("base_lr", i) for i in groups]
        super()._initial_step()

    def _shape(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._SHAPE}

    def _schedule(self, i: int, rate: Any = None) -> Callable[[Any], Any]:
        base, top = self._of_group("base_lr", i), self._of_group("max_lr", i)
        return schedules.cyclic(base, top, **self._shape())

    def _momentum(self, i: int) -> Callable[[Any], Any]:
        base, top = self._of_group("base_momentum", i), self._of_group("max_momentum", i)
        return schedules.cyclic_momentum(base, top, **self._shape())


class OneCycleLR(_WithMomentum):
    """Up to ``max_lr`` and far down again, once; momentum the other way.

    The number of steps is ``total_steps``, or ``epochs`` times ``steps_per_epoch``; a step beyond
    them raises ValueError. ``max_lr``, ``base_momentum``, ``max_momentum``: one value, or a list
    with one for each group. The other settings as of :func:`tapegrad.optim.schedules.one_cycle`.
    ``cycle_momentum``: whether to move momentum (or the first beta).

    >>> import tapegrad as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1, requires_grad=True)], momentum=0.9)
    >>> scheduler = tg.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> scheduler.get_last_lr(), optimizer.param_groups[0]["momentum"]
    ([0.040000000000000036], 0.95)
    """

    listed = ("max_lr", "base_momentum", "max_momentum")

    def __init__(
        self,
        optimizer: Any,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: Any = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: Any = 25.0,
        final_div_factor: Any = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in NO_SETTINGS}
        epochs, per_epoch = given.pop("epochs"), given.pop("steps_per_epoch")
        if total_steps is None:
            if epochs is None or per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            given["total_steps"] = epochs * per_epoch
        self._begin(optimizer, last_epoch, given)

    total_steps: Any
    div_factor: Any
    final_div_factor: Any

    def _initial_step(self) -> None:
        self._needs_momentum()
        groups = self.optimizer.param_groups
        self._schedule(0)  # refuses what makes no sense
        self.base_lrs = [self._of_group("max_lr", i) / self.div_factor for i in range(len(groups))]
        super()._initial_step()
        for i, (group, first) in enumerate(zip(groups, self.base_lrs, strict=True)):
            last = first / self.final_div_factor
            group.update(initial_lr=first, max_lr=self._of_group("max_lr", i), min_lr=last)
            if self.cycle_momentum:
                for name in ("base_momentum", "max_momentum"):
                    group[name] = self._of_group(name, i)

    def _place(self, epoch: Any) -> None:
        if epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {epoch} is beyond the {self.total_steps} steps of the cycle"
            )
        super()._place(epoch)

    def _schedule(self, i: int, rate: Any = None) -> Callable[[Any], Any]:
        shape = ("total_steps", "pct_start", "anneal_strategy")
        named = ("div_factor", "final_div_factor", "three_phase")
        return schedules.one_cycle(
            self._of_group("max_lr", i),
            **{name: getattr(self, name) for name in (*shape, *named)},
            until=self.total_steps,
        )

    def _momentum(self, i: int) -> Callable[[Any], Any]:
        return schedules.one_cycle_momentum(
            **{
                name: self._of_group(name, i)
                for name in ("total_steps", "pct_start", "anneal_strategy", "three_phase")
            },
            base_momentum=self._of_group("base_momentum", i),
            max_momentum=self._of_group("max_momentum", i),
            until=self.total_steps,
        )
