"""A rate that falls when a metric stops improving: not a function of the step, but a rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tapegrad import Tensor, check

from .rule import at_least_zero
from .schedule import choose, greater

__all__ = ["Plateau", "PlateauState", "reduce_on_plateau"]


class PlateauState(NamedTuple):
    """The rate, the best metric, and for how many metrics it has been waited."""

    rate: Any
    best: Any
    num_bad_epochs: Any
    cooldown_counter: Any


class Plateau(NamedTuple):
    """A rule for a rate: ``init()`` is its state, ``update(metric, state)`` (rate, next state)."""

    init: Callable[[], PlateauState]
    update: Callable[[Any, PlateauState], tuple[Any, PlateauState]]


def reduce_on_plateau(
    rate: Any,
    mode: str = "min",
    factor: Any = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: Any = 0.0,
    eps: float = 1e-8,
) -> Plateau:
    """Multiply the rate by ``factor`` after more than ``patience`` metrics without improvement.

    ``mode``: "min" or "max", which metrics are good. An improvement goes beyond the best by
    ``threshold``, as a part of the best (``threshold_mode`` "rel") or as such ("abs"). After a
    reduction the next ``cooldown`` metrics do not count as bad. The rate does not fall below
    ``min_lr``, and not by less than ``eps``. As torch's ReduceLROnPlateau.

    The rate has gradients by itself, ``factor`` and ``min_lr``; when it falls depends on the
    metrics by comparisons, which have none.

    Keras's callback is off by one from torch: it reduces after ``patience`` bad epochs, torch (and
    this) after one more; and the last epoch of its cooldown counts again. So Keras's
    patience p and cooldown c are here ``patience=max(p - 1, 0)``, ``cooldown=max(c - 1, 0)``, with
    ``threshold_mode="abs"`` and ``eps=0``.

    Raises ValueError for a ``factor`` of 1 or more, a negative ``patience`` or ``cooldown``, and
    for unknown modes.

    >>> import tapegrad as tg
    >>> plateau = tg.optim.schedules.reduce_on_plateau(0.1, factor=0.5, patience=1)
    >>> state = plateau.init()
    >>> for loss in (1.0, 0.9, 0.9, 0.9):
    ...     rate, state = plateau.update(loss, state)
    ...     print(rate, state.num_bad_epochs)
    0.1 0
    0.1 0
    0.1 1
    0.05 0
    """
    at_least_zero("reduce_on_plateau", patience=patience, cooldown=cooldown)
    check(factor < 1.0, "reduce_on_plateau: factor must be below 1, not {}", factor)
    if mode not in ("min", "max"):
        raise ValueError(f"reduce_on_plateau: mode must be 'min' or 'max', not {mode!r}")
    if threshold_mode not in ("rel", "abs"):
        raise ValueError(
            f"reduce_on_plateau: threshold_mode must be 'rel' or 'abs', not {threshold_mode!r}"
        )
    sign = 1.0 if mode == "min" else -1.0

    def init() -> PlateauState:
        return PlateauState(rate, sign * math.inf, 0, 0)

    def update(metric: Any, state: PlateauState) -> tuple[Any, PlateauState]:
        metric = metric.detach() if isinstance(metric, Tensor) else metric
        if threshold_mode == "rel":
            bound = state.best * (1.0 - sign * threshold)
        else:
            bound = state.best - sign * threshold
        better = metric < bound if mode == "min" else metric > bound
        cooling = state.cooldown_counter > 0
        waited = choose(better, 0, state.num_bad_epochs + 1)
        waited = choose(cooling, 0, waited)
        left = state.cooldown_counter - choose(cooling, 1, 0)
        due = waited > patience
        lowered = greater(state.rate * factor, min_lr)
        lowered = choose(state.rate - lowered > eps, lowered, state.rate)
        following = PlateauState(
            choose(due, lowered, state.rate),
            choose(better, metric, state.best),
            choose(due, 0, waited),
            choose(due, cooldown, left),
        )
        return following.rate, following

    return Plateau(init, update)
