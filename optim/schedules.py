"""Schedules: rates (or any setting) as functions of the step, in tensor ops.

``schedule(step)`` is the value at a step counted from 0. Every setting may be a Tensor, lengths
included, and the value then has a gradient by it where there is one. Nothing is recorded before the
call, so that one schedule serves many backward passes. The step may be a Tensor too, also one of
many steps. Use a schedule wherever a rule takes a setting::

    optim.AdamW(params, lr=warmup(cosine_decay(3e-3, 900), 100))

The classes of ``optim.lr_scheduler`` follow these functions:

>>> import tapegrad as tg
>>> rate = tg.optim.schedules.step_decay(0.1, step_size=10, gamma=0.5)
>>> rate(9), rate(10), rate(20)
(0.1, 0.05, 0.025)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from tapegrad import Tensor, check, cos, log, safe_sqrt, sqrt

from .plateau import Plateau, PlateauState, reduce_on_plateau
from .rule import at_least_zero, is_off
from .schedule import Schedule, as_schedule, choose, greater, lesser, schedule

__all__ = [
    "Plateau",
    "PlateauState",
    "Schedule",
    "chained",
    "constant",
    "cosine_annealing",
    "cosine_decay",
    "cyclic",
    "cyclic_momentum",
    "exponential_decay",
    "inverse_square_root",
    "lambda_",
    "linear",
    "multi_step_decay",
    "multiplicative",
    "noam",
    "one_cycle",
    "one_cycle_momentum",
    "polynomial_decay",
    "reduce_on_plateau",
    "schedule",
    "sequential",
    "step_decay",
    "warm_restarts",
    "warmup",
    "warmup_cosine",
    "warmup_stable_decay",
]


def _positive(what: str, **lengths: Any) -> None:
    """Refuse lengths that are not more than 0."""
    for name, value in lengths.items():
        if type(value) in (int, float) and value > 0:
            continue  # the common case, at no cost
        _number(what, name, value)
        check(value > 0, f"{what}: {name} must be more than 0, not {{}}", value)


def _fractions(what: str, **factors: Any) -> None:
    """Refuse factors that are not between 0 and 1."""
    for name, value in factors.items():
        if type(value) in (int, float) and 0 <= value <= 1:
            continue
        _number(what, name, value)
        held = (value >= 0) & (value <= 1)
        check(held, f"{what}: {name} must be between 0 and 1, not {{}}", value)


def _number(what: str, name: str, value: Any) -> None:
    """Refuse what is neither a number nor a Tensor."""
    if not isinstance(value, Tensor) and (
        value is None or callable(value) or isinstance(value, (str, list, tuple, dict))
    ):
        raise TypeError(f"{what}: {name} must be a number or a Tensor, not {value!r}")


def _function(what: str, name: str, value: Any) -> None:
    """Refuse what is no function."""
    if not callable(value):
        raise TypeError(f"{what}: {name} must be a function of the step, not {value!r}")


def _steps(what: str, milestones: Any) -> list[Any]:
    """Milestones as a list."""
    if isinstance(milestones, str) or not isinstance(milestones, (Iterable, Tensor)):
        raise TypeError(f"{what}: milestones must be a list of steps, not {milestones!r}")
    return list(milestones)


# -- decays ----------------------------------------------------------------------------------------
@schedule
def constant(rate: Any, factor: Any = 1.0, total_iters: Any = 0) -> Any:
    """The same rate at every step; times ``factor`` before step ``total_iters``, as ConstantLR.

    Raises ValueError for a ``factor`` that is not between 0 and 1.

    >>> import tapegrad as tg
    >>> tg.optim.schedules.constant(0.1)(7)
    0.1
    >>> rate = tg.optim.schedules.constant(0.1, factor=0.5, total_iters=4)
    >>> rate(3), rate(4)
    (0.05, 0.1)
    """
    _fractions("constant", factor=factor)

    def held(step: Any) -> Any:
        return rate * choose(step < total_iters, factor, 1.0)

    return held


@schedule
def step_decay(rate: Any, step_size: Any, gamma: Any = 0.1) -> Any:
    """``rate`` times ``gamma`` once more every ``step_size`` steps, as StepLR.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.step_decay(0.1, 10, 0.5)
    >>> [rate(step) for step in (0, 9, 10, 20)]
    [0.1, 0.1, 0.05, 0.025]
    """
    _positive("step_decay", step_size=step_size)

    def decayed(step: Any) -> Any:
        return rate * gamma ** (step // step_size)

    return decayed


@schedule
def multi_step_decay(rate: Any, milestones: Sequence[Any], gamma: Any = 0.1) -> Any:
    """``rate`` times ``gamma`` once more from each milestone on, as MultiStepLR.

    A milestone that is given n times counts n times.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.multi_step_decay(0.1, [3, 5], 0.5)
    >>> [rate(step) for step in (0, 3, 5)]
    [0.1, 0.05, 0.025]
    """
    reached = _steps("multi_step_decay", milestones)

    def decayed(step: Any) -> Any:
        return rate * gamma ** sum((step >= milestone) * 1 for milestone in reached)

    return decayed


@schedule
def exponential_decay(rate: Any, gamma: Any) -> Any:
    """rate·gammaˢᵗᵉᵖ, as ExponentialLR.

    >>> import tapegrad as tg
    >>> round(tg.optim.schedules.exponential_decay(0.1, 0.95)(10), 7)
    0.0598737
    """

    def decayed(step: Any) -> Any:
        return rate * gamma**step

    return decayed


@schedule
def linear(
    rate: Any, start_factor: Any = 1.0 / 3, end_factor: Any = 1.0, total_iters: Any = 5
) -> Any:
    """``rate`` times a factor on the line from ``start_factor`` to ``end_factor``, as LinearLR.

    The end is reached at step ``total_iters`` and kept.

    Raises ValueError for factors that are not between 0 and 1, a ``start_factor`` of 0 (which
    LinearLR could not leave), or ``total_iters`` that are not more than 0.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.linear(0.1, start_factor=0.5, total_iters=4)
    >>> [round(rate(step), 4) for step in range(6)]
    [0.05, 0.0625, 0.075, 0.0875, 0.1, 0.1]
    """
    _fractions("linear", start_factor=start_factor, end_factor=end_factor)
    _positive("linear", start_factor=start_factor, total_iters=total_iters)

    def on_the_line(step: Any) -> Any:
        progress = lesser(step, total_iters) / total_iters
        return rate * (start_factor + (end_factor - start_factor) * progress)

    return on_the_line


@schedule
def polynomial_decay(rate: Any, total_iters: Any = 5, power: Any = 1.0) -> Any:
    """rate·(1 - step/total_iters)^power, and its end from ``total_iters`` on, as PolynomialLR.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.polynomial_decay(0.1, 4, power=2.0)
    >>> [round(rate(step), 5) for step in (0, 1, 2, 4, 5)]
    [0.1, 0.05625, 0.025, 0.0, 0.0]
    """
    _positive("polynomial_decay", total_iters=total_iters)
    at_least_zero("polynomial_decay", power=power)

    def decayed(step: Any) -> Any:
        running = step < total_iters
        # The power is taken where it has a slope: at the end that is inf if power < 1.
        left = choose(running, 1.0 - step / total_iters, 1.0)
        return rate * choose(running, left**power, 0.0**power)

    return decayed


@schedule
def lambda_(rate: Any, lr_lambda: Callable[[Any], Any]) -> Any:
    """``rate`` times a factor that a function of the step gives, as LambdaLR.

    >>> import tapegrad as tg
    >>> tg.optim.schedules.lambda_(0.1, lambda step: 0.5**step)(2)
    0.025
    """
    _function("lambda_", "lr_lambda", lr_lambda)

    def scaled(step: Any) -> Any:
        return rate * lr_lambda(step)

    return scaled


@schedule
def multiplicative(rate: Any, lr_lambda: Callable[[int], Any]) -> Any:
    """``rate`` times lr_lambda(1)·…·lr_lambda(step), as MultiplicativeLR.

    The step must be a whole number. Products of plain numbers are kept, so that going through the
    steps calls ``lr_lambda`` once for each.

    Raises TypeError for an ``lr_lambda`` that is no function.

    >>> import tapegrad as tg
    >>> tg.optim.schedules.multiplicative(0.1, lambda step: 0.5)(2)
    0.025
    """
    _function("multiplicative", "lr_lambda", lr_lambda)
    products: list[Any] = [1.0]

    def multiplied(step: Any) -> Any:
        last = _counted("multiplicative", step)
        product = products[min(last, len(products) - 1)]
        for k in range(len(products), last + 1):
            product = product * lr_lambda(k)
            if len(products) == k and not isinstance(product, Tensor):
                products.append(product)
        return rate * product

    return multiplied


def _counted(what: str, step: Any) -> int:
    """A step as a count of calls."""
    try:
        last = operator.index(step)
    except (TypeError, RuntimeError):
        last = -1
    if last < 0:
        raise TypeError(f"{what}: the step must be a whole number of at least 0, not {step!r}")
    return last


# -- cosines ---------------------------------------------------------------------------------------
@schedule
def cosine_annealing(rate: Any, T_max: Any, eta_min: Any = 0.0) -> Any:
    """A cosine between ``rate`` at step 0 and ``eta_min`` at ``T_max``, as CosineAnnealingLR.

    rate(t) = eta_min + (rate - eta_min)·(1 + cos(π·t/T_max))/2

    Past ``T_max`` it rises again; :func:`cosine_decay` stays, :func:`warm_restarts` jumps.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.cosine_annealing(0.1, 50)
    >>> [round(rate(step), 6) for step in (0, 25, 50, 75, 100)]
    [0.1, 0.05, 0.0, 0.05, 0.1]

    Source: Loshchilov and Hutter (2017), SGDR: Stochastic gradient descent with warm restarts.
    """
    _positive("cosine_annealing", T_max=T_max)

    def annealed(step: Any) -> Any:
        return _cosine(rate, eta_min, step / T_max)

    return annealed


def _cosine(start: Any, end: Any, progress: Any) -> Any:
    """From start to end as progress goes from 0 to 1, along half a cosine."""
    return end + (start - end) * (0.5 * (1.0 + cos(math.pi * progress)))


def _line(start: Any, end: Any, progress: Any) -> Any:
    """From start to end as progress goes from 0 to 1, along a line."""
    return start + (end - start) * progress


@schedule
def cosine_decay(peak: Any, steps: Any, floor: Any = 0.0) -> Any:
    """Half a cosine from ``peak`` at step 0 to ``floor`` at ``steps``, and ``floor`` after.

    rate = floor + (peak - floor)·(1 + cos(π·min(step, steps)/steps))/2

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.cosine_decay(0.1, 50)
    >>> [round(float(rate(step)), 6) for step in (0, 25, 50, 60)]
    [0.1, 0.05, 0.0, 0.0]

    Source: Loshchilov and Hutter (2017), SGDR: Stochastic gradient descent with warm restarts.
    """
    _positive("cosine_decay", steps=steps)
    annealed = cosine_annealing(peak, steps, floor)

    def decayed(step: Any) -> Any:
        return annealed(lesser(step, steps))

    return decayed


@schedule
def warm_restarts(rate: Any, T_0: Any, T_mult: Any = 1, eta_min: Any = 0.0) -> Any:
    """Half a cosine from ``rate`` to ``eta_min``, again and again, as CosineAnnealingWarmRestarts.

    The first takes ``T_0`` steps, each next ``T_mult`` times as many. The step may be a fraction.

    Raises ValueError for ``T_0`` that is not more than 0, or ``T_mult`` below 1.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.warm_restarts(0.1, 2, T_mult=2)
    >>> [round(rate(step), 4) for step in range(7)]
    [0.1, 0.05, 0.1, 0.0854, 0.05, 0.0146, 0.1]

    Source: Loshchilov and Hutter (2017), SGDR: Stochastic gradient descent with warm restarts.
    """
    _positive("warm_restarts", T_0=T_0)
    check(T_mult >= 1, "warm_restarts: T_mult must be at least 1, not {}", T_mult)

    def restarted(step: Any) -> Any:
        since, length = since_restart(step, T_0, T_mult)
        return _cosine(rate, eta_min, since / length)

    return restarted


def since_restart(step: Any, T_0: Any, T_mult: float) -> tuple[Any, Any]:
    """How many steps ago the last warm restart was, and how many lie between it and the next.

    >>> from tapegrad.optim.schedules import since_restart
    >>> since_restart(7, 2, 2)
    (1.0, 8.0)
    """
    if T_mult == 1:
        return step - step // T_0 * T_0, T_0

    def begin(n: Any) -> Any:  # T_0·(1 + T_mult + … + T_mult^(n-1))
        return T_0 * ((T_mult**n - 1.0) / (T_mult - 1.0))

    n = log(step / T_0 * (T_mult - 1.0) + 1.0) // log(T_mult * 1.0)
    # The logarithm may be off by its rounding, the powers are not.
    n = n + (step >= begin(n + 1.0)) * 1.0 - (step < begin(n)) * 1.0
    return step - begin(n), T_0 * T_mult**n


# -- cycles ----------------------------------------------------------------------------------------
@schedule
def cyclic(
    base_lr: Any,
    max_lr: Any,
    step_size_up: Any = 2000,
    step_size_down: Any = None,
    mode: str = "triangular",
    gamma: Any = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: str = "cycle",
) -> Any:
    """Triangles between ``base_lr`` and ``max_lr``, as CyclicLR.

    rate = base_lr + (max_lr - base_lr)·min(up, down)·scale, where up goes from 0 to 1 in
    ``step_size_up`` steps and down from 1 to 0 in the next ``step_size_down`` (by default as many).
    scale is 1 for ``mode`` "triangular", 2^-(cycle - 1) for "triangular2" (cycles count from 1)
    and gamma^step for "exp_range"; or ``scale_fn`` of the cycle, or of the step if ``scale_mode``
    is "iterations".

    Raises ValueError for another ``mode`` or ``scale_mode``, or a size that is not more than 0.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.cyclic(0.1, 0.5, 2, mode="triangular2")
    >>> [round(rate(step), 6) for step in range(9)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.2, 0.3, 0.2, 0.1]

    Source: Smith (2017), Cyclical learning rates for training neural networks.
    """
    down_size = step_size_up if step_size_down is None else step_size_down
    _positive("cyclic", step_size_up=step_size_up, step_size_down=down_size)
    modes = {
        "triangular": (lambda cycle: 1.0, "cycle"),
        "triangular2": (lambda cycle: 0.5 ** (cycle - 1), "cycle"),
        "exp_range": (lambda step: gamma**step, "iterations"),
    }
    if scale_fn is not None:
        _function("cyclic", "scale_fn", scale_fn)
    elif mode not in modes:
        raise ValueError(f"cyclic: mode must be one of {', '.join(modes)}, not {mode!r}")
    scale_of, counted = modes[mode] if scale_fn is None else (scale_fn, scale_mode)
    if counted not in ("cycle", "iterations"):
        raise ValueError(f"cyclic: scale_mode must be 'cycle' or 'iterations', not {counted!r}")

    def cycled(step: Any) -> Any:
        size = step_size_up + down_size
        before = step // size
        place = step - before * size
        height = lesser(place / step_size_up, (size - place) / down_size)
        scale = scale_of(before + 1 if counted == "cycle" else step)
        return base_lr + (max_lr - base_lr) * (height * scale)

    return cycled


@schedule
def cyclic_momentum(
    base_momentum: Any = 0.8,
    max_momentum: Any = 0.9,
    step_size_up: Any = 2000,
    step_size_down: Any = None,
    mode: str = "triangular",
    gamma: Any = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: str = "cycle",
) -> Any:
    """The momentum that goes with :func:`cyclic`: down from ``max_momentum`` as the rate goes up.

    >>> import tapegrad as tg
    >>> momentum = tg.optim.schedules.cyclic_momentum(step_size_up=2)
    >>> [round(momentum(step), 6) for step in range(5)]
    [0.9, 0.85, 0.8, 0.85, 0.9]

    Source: Smith (2017), Cyclical learning rates for training neural networks.
    """
    shape = (step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)
    return cyclic(max_momentum, base_momentum, *shape)


@schedule
def one_cycle(
    max_lr: Any,
    total_steps: Any,
    pct_start: Any = 0.3,
    anneal_strategy: str = "cos",
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
    three_phase: bool = False,
    until: Any = None,
) -> Any:
    """Up to ``max_lr`` and far down again, once, as OneCycleLR.

    From max_lr/div_factor the rate rises to ``max_lr`` at step pct_start·total_steps - 1, and falls
    to max_lr/(div_factor·final_div_factor) at the last step, total_steps - 1; with ``three_phase``
    back to where it began first, in as many steps as it rose. ``anneal_strategy``: "cos" or
    "linear" between these. From the last step on the rate stays; torch's OneCycleLR goes on along
    the curve for one step more, ``until`` total_steps.

    Raises ValueError for another strategy, a ``pct_start`` that is not between 0 and 1, or
    ``total_steps`` that are not more than 0.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.one_cycle(1.0, 10, anneal_strategy="linear", div_factor=10.0)
    >>> [round(rate(step), 3) for step in range(10)]
    [0.1, 0.55, 1.0, 0.857, 0.714, 0.571, 0.429, 0.286, 0.143, 0.0]

    Source: Smith and Topin (2019), Super-convergence: Very fast training of neural networks using
    large learning rates.
    """
    _positive("one_cycle", div_factor=div_factor, final_div_factor=final_div_factor)

    def values() -> tuple[Any, ...]:
        first = max_lr / div_factor
        last = first / final_div_factor
        return (first, max_lr, first, last) if three_phase else (first, max_lr, last)

    return _one_cycle("one_cycle", values, total_steps, pct_start, anneal_strategy, until)


@schedule
def one_cycle_momentum(
    total_steps: Any,
    pct_start: Any = 0.3,
    anneal_strategy: str = "cos",
    base_momentum: Any = 0.85,
    max_momentum: Any = 0.95,
    three_phase: bool = False,
    until: Any = None,
) -> Any:
    """The momentum that goes with :func:`one_cycle`: down from ``max_momentum`` and up again.

    >>> import tapegrad as tg
    >>> momentum = tg.optim.schedules.one_cycle_momentum(10)
    >>> [round(momentum(step), 4) for step in (0, 1, 2, 9)]
    [0.95, 0.9, 0.85, 0.95]

    Source: Smith and Topin (2019), Super-convergence: Very fast training of neural networks using
    large learning rates.
    """
    values = (max_momentum, base_momentum, max_momentum, max_momentum)[: 4 if three_phase else 3]
    name = "one_cycle_momentum"
    return _one_cycle(name, lambda: values, total_steps, pct_start, anneal_strategy, until)


def _one_cycle(
    what: str,
    ways: Callable[[], tuple[Any, ...]],
    total_steps: Any,
    pct_start: Any,
    strategy: str,
    until: Any,
) -> Any:
    """Curves from value to value, with ends as in torch."""
    _positive(what, total_steps=total_steps)
    _fractions(what, pct_start=pct_start)
    anneal = {"cos": _cosine, "linear": _line}.get(strategy)
    if anneal is None:
        raise ValueError(f"{what}: anneal_strategy must be 'cos' or 'linear', not {strategy!r}")

    def cycled(step: Any) -> Any:
        values, rise, end = ways(), pct_start * total_steps, total_steps - 1
        back = [2.0 * rise - 2.0] if len(values) == 4 else []
        ends = [0.0, rise - 1.0, *back, end]
        place = lesser(step, end if until is None else until)
        phases = []
        for k in range(len(values) - 1):
            length = ends[k + 1] - ends[k]
            progress = (place - ends[k]) / choose(length == 0, 1.0, length)
            phases.append(anneal(values[k], values[k + 1], progress))
        found = phases[-1]
        for k in reversed(range(len(phases) - 1)):
            found = choose(place <= ends[k + 1], phases[k], found)
        return found

    return cycled


# -- from other schedules --------------------------------------------------------------------------
@schedule
def sequential(schedules: Sequence[Any], milestones: Sequence[Any]) -> Any:
    """One schedule after the other, each from its own beginning, as SequentialLR.

    The second begins at the first milestone, and so on. Numbers count as constant schedules.

    Raises ValueError if there is not one schedule more than there are milestones.

    >>> import tapegrad as tg
    >>> s = tg.optim.schedules
    >>> rate = s.sequential([0.01, s.exponential_decay(0.1, 0.5)], milestones=[2])
    >>> [rate(step) for step in range(5)]
    [0.01, 0.01, 0.1, 0.05, 0.025]
    """
    if not isinstance(schedules, (list, tuple)):
        raise TypeError(f"sequential: schedules must be a list, not {schedules!r}")
    parts, begins = [as_schedule(part) for part in schedules], _steps("sequential", milestones)
    if len(parts) != len(begins) + 1:
        raise ValueError(
            f"sequential: {len(parts)} schedules need {len(parts) - 1} milestones, not "
            f"{len(begins)}"
        )
    for one, other in pairwise(begins):
        check(other >= one, "sequential: milestones must not fall, as from {} to {}", one, other)

    def followed(step: Any) -> Any:
        found = parts[0](step)
        for part, begin in zip(parts[1:], begins, strict=True):
            found = choose(step >= begin, part(greater(step - begin, 0)), found)
        return found

    return followed


@schedule
def chained(*schedules: Any) -> Any:
    """The product of schedules: a rate, and factors of it.

    ChainedScheduler of classes that multiply gives the same.

    >>> import tapegrad as tg
    >>> s = tg.optim.schedules
    >>> rate = s.chained(s.exponential_decay(0.1, 0.5), s.constant(1.0, 0.1, total_iters=2))
    >>> [round(rate(step), 6) for step in range(4)]
    [0.01, 0.005, 0.025, 0.0125]
    """
    if not schedules:
        raise ValueError("chained: give at least one schedule")
    parts = [as_schedule(part) for part in schedules]

    def multiplied(step: Any) -> Any:
        found = parts[0](step)
        for part in parts[1:]:
            found = found * part(step)
        return found

    return multiplied


@schedule
def warmup(schedule: Any, steps: Any) -> Any:
    """Rise linearly over the first ``steps`` steps to the start of ``schedule``, then follow it.

    The first step already has rate start/steps, so that it is not lost. A number in place of the
    schedule is kept after the rise.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.warmup(tg.optim.schedules.cosine_decay(0.1, 50), 4)
    >>> [round(float(rate(step)), 6) for step in (0, 1, 2, 3, 4, 29)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.05]

    Source: Goyal et al. (2017), Accurate, large minibatch SGD.
    """
    follow = as_schedule(schedule)
    if is_off(steps):
        return follow
    _positive("warmup", steps=steps)

    def warmed(step: Any) -> Any:
        rising = lesser(step + 1, steps) / steps
        return follow(greater(step - steps, 0)) * rising

    return warmed


@schedule
def warmup_cosine(peak: Any, warmup_steps: Any, steps: Any, floor: Any = 0.0) -> Any:
    """Rise linearly for ``warmup_steps``, then half a cosine to ``floor`` at step ``steps``.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.warmup_cosine(0.1, 4, 54)
    >>> [round(rate(step), 6) for step in (0, 3, 4, 29, 54, 99)]
    [0.025, 0.1, 0.1, 0.05, 0.0, 0.0]

    Source: Goyal et al. (2017), Accurate, large minibatch SGD; Loshchilov and Hutter (2017), SGDR.
    """

    def rate(step: Any) -> Any:
        return warmup(cosine_decay(peak, steps - warmup_steps, floor), warmup_steps)(step)

    at_least_zero("warmup_cosine", warmup_steps=warmup_steps)
    _number("warmup_cosine", "steps", steps)
    check(
        steps > warmup_steps,
        "warmup_cosine: steps must be more than warmup_steps, not {} with {}",
        steps,
        warmup_steps,
    )
    return rate


@schedule
def inverse_square_root(peak: Any, warmup_steps: Any) -> Any:
    """peak·min(t/warmup_steps, √(warmup_steps/t)) with t = step + 1.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.inverse_square_root(0.1, 4)
    >>> [round(rate(step), 6) for step in (0, 3, 15)]
    [0.025, 0.1, 0.05]

    Source: Vaswani et al. (2017), Attention is all you need.
    """
    _positive("inverse_square_root", warmup_steps=warmup_steps)

    def decayed(step: Any) -> Any:
        t = step + 1
        return peak * lesser(t / warmup_steps, sqrt(warmup_steps / t))

    return decayed


@schedule
def noam(d_model: Any, warmup_steps: Any = 4000, factor: Any = 1.0) -> Any:
    """factor·d_model^(-1/2)·min(t^(-1/2), t·warmup_steps^(-3/2)) with t = step + 1.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.noam(512)
    >>> round(rate(3999), 9), round(rate(15999), 9)
    (0.000698771, 0.000349386)

    Source: Vaswani et al. (2017), Attention is all you need.
    """
    _positive("noam", d_model=d_model, warmup_steps=warmup_steps)

    def rate(step: Any) -> Any:
        peak = factor / sqrt(d_model * warmup_steps * 1.0)
        return inverse_square_root(peak, warmup_steps)(step)

    return rate


#: How a warm-up-stable-decay schedule may end: functions of the peak, the steps and the floor.
_ENDS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "linear": lambda peak, steps, floor: (
        lambda step: _line(peak, floor, lesser(step, steps) / steps)
    ),
    "cosine": cosine_decay,
    "sqrt": lambda peak, steps, floor: (
        lambda step: _line(peak, floor, safe_sqrt(lesser(step, steps) / steps))
    ),
}


@schedule
def warmup_stable_decay(
    peak: Any,
    warmup_steps: Any,
    stable_steps: Any,
    decay_steps: Any,
    floor: Any = 0.0,
    decay: str = "linear",
) -> Any:
    """Rise linearly to ``peak``, stay there, and fall to ``floor`` at the end.

    ``decay``: "linear", "cosine", or "sqrt", where the rate falls with 1 - √progress.

    Raises ValueError for another ``decay``, or ``decay_steps`` that are not more than 0.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.warmup_stable_decay(0.1, 2, 3, 4)
    >>> [round(rate(step), 6) for step in range(10)]
    [0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.075, 0.05, 0.025, 0.0]

    Source: Hu et al. (2024), MiniCPM; Hägele et al. (2024), Scaling laws and compute-optimal
    training beyond fixed training durations ("sqrt").
    """
    if decay not in _ENDS:
        raise ValueError(
            f"warmup_stable_decay: decay must be one of {', '.join(_ENDS)}, not {decay!r}"
        )
    _positive("warmup_stable_decay", decay_steps=decay_steps)
    at_least_zero("warmup_stable_decay", warmup_steps=warmup_steps, stable_steps=stable_steps)
    return warmup(
        sequential([peak, _ENDS[decay](peak, decay_steps, floor)], [stable_steps]), warmup_steps
    )
