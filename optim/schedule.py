"""What a schedule is: a function of the step that shows itself and can be plotted."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from numbers import Integral
from typing import Any, ParamSpec

from tapegrad import Tensor, maximum, minimum, no_grad, where

P = ParamSpec("P")


class Schedule:
    """A setting as a function of the step, counted from 0: ``schedule(step)``.

    Made by the functions of ``optim.schedules``. It shows itself as it was made, and as a small
    curve in Jupyter.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.exponential_decay(0.1, gamma=0.5)
    >>> rate
    exponential_decay(rate=0.1, gamma=0.5)
    >>> rate(2)
    0.025
    """

    __slots__ = ("__weakref__", "_args", "_function", "_maker", "_named")

    def __init__(
        self,
        maker: Callable[..., Any],
        args: tuple[Any, ...],
        named: dict[str, Any],
        function: Callable[[Any], Any],
    ) -> None:
        self._maker, self._args, self._named, self._function = maker, args, named, function

    def __call__(self, step: Any) -> Any:
        return self._function(step)

    @property
    def settings(self) -> dict[str, Any]:
        """What the schedule was made with, by name.

        >>> import tapegrad as tg
        >>> tg.optim.schedules.cosine_decay(0.1, 50).settings
        {'peak': 0.1, 'steps': 50, 'floor': 0.0}
        """
        bound = inspect.signature(self._maker).bind(*self._args, **self._named)
        bound.apply_defaults()
        return dict(bound.arguments)

    def __repr__(self) -> str:
        shown = []
        for name, value in self.settings.items():
            kind = inspect.signature(self._maker).parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                shown += [repr(part) for part in value]
            else:
                shown.append(f"{name}={value!r}")
        return f"{self._maker.__name__}({', '.join(shown)})"

    def __reduce__(self) -> Any:  # copies and pickles as it was made
        return _made, (self._maker, self._args, self._named)

    def plot(self, steps: int | None = None, ax: Any = None, **style: Any) -> Any:
        """Draw the schedule over its first ``steps`` steps with matplotlib; returns the axes.

        ``steps``: by default enough to see its shape. ``ax``: axes to draw on. The rest goes to
        matplotlib's ``plot``.

        >>> import tapegrad as tg
        >>> axes = tg.optim.schedules.cosine_decay(0.1, 50).plot(60)  # doctest: +SKIP

        Raises ImportError, saying what to install, without matplotlib.
        """
        steps = span_of(self) if steps is None else steps
        if not isinstance(steps, Integral) or steps < 1:
            raise ValueError(f"plot: steps must be a whole number of at least 1, not {steps!r}")
        values = values_of(self, steps)
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError:
                raise ImportError(
                    'to plot a schedule, pip install "tapegrad[plot]" (matplotlib)'
                ) from None
            ax = pyplot.figure(figsize=(6, 2.5), layout="constrained").gca()
            ax.set(xlabel="step", title=self._maker.__name__)
        ax.plot(range(steps), values, **style)
        return ax

    def _repr_svg_(self) -> str:
        return curve(values_of(self, span_of(self)), repr(self))


def schedule(maker: Callable[P, Callable[[Any], Any]]) -> Callable[P, Schedule]:
    """Let a function that makes a function of the step make a :class:`Schedule`.

    >>> from tapegrad.optim.schedule import schedule
    >>> @schedule
    ... def halved(rate):
    ...     return lambda step: rate * 0.5**step
    >>> halved(0.1), halved(0.1)(1)
    (halved(rate=0.1), 0.05)
    """

    @functools.wraps(maker)
    def made(*args: P.args, **named: P.kwargs) -> Schedule:
        return Schedule(made, args, named, maker(*args, **named))

    return made


def _made(maker: Any, args: Any, named: Any) -> Any:
    return maker(*args, **named)


def as_schedule(rate: Any) -> Callable[[Any], Any]:
    """A schedule as it is, a number or a Tensor as the same at every step.

    >>> from tapegrad.optim.schedule import as_schedule
    >>> as_schedule(0.1)(7)
    0.1
    """
    if callable(rate) and not isinstance(rate, Tensor):
        return rate
    return lambda step: rate


# -- choices, which cost little between numbers ----------------------------------------------------
def _plain(*values: Any) -> bool:
    return all(type(value) in (int, float, bool) for value in values)


def lesser(a: Any, b: Any) -> Any:
    """The smaller of two values; of numbers, itself.

    >>> from tapegrad.optim.schedule import lesser
    >>> lesser(3, 5)
    3
    """
    return min(a, b) if _plain(a, b) else minimum(a, b)


def greater(a: Any, b: Any) -> Any:
    """The larger of two values; of numbers, itself."""
    return max(a, b) if _plain(a, b) else maximum(a, b)


def choose(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, else ``b``."""
    if type(condition) is bool:
        return a if condition else b
    return where(condition, a, b)


# -- pictures --------------------------------------------------------------------------------------
#: Settings that say how long something lasts, and how many times that long is worth seeing.
_LENGTHS = {
    "steps": 1.25,
    "total_steps": 1,
    "total_iters": 1.6,
    "T_max": 2.4,
    "T_0": 7,
    "step_size": 5,
    "step_size_up": 4,
    "step_size_down": 4,
    "milestones": 1.5,
    "warmup_steps": 1.25,
    "stable_steps": 1.25,
    "decay_steps": 1.25,
}


def span_of(made: Any) -> int:
    """How many steps of a schedule to look at."""
    length = _length(made)
    return max(2, round(length)) if length > 0 else 100


def _length(value: Any, name: str = "") -> float:
    if isinstance(value, Schedule):
        settings = value.settings
        if "steps" in settings and "warmup_steps" in settings:
            del settings["warmup_steps"]  # a part of all the steps
        known = [key for key in settings if key in _LENGTHS]
        if known == ["warmup_steps"]:  # and then a decay without an end
            return 4.0 * float(settings["warmup_steps"])
        if "gamma" in settings and not known:
            return 100.0
        if name == "":
            return sum(_length(part, key) for key, part in settings.items())
        return _length(value)
    if isinstance(value, (list, tuple)):
        parts = [_length(part, name) for part in value]
        return max(parts, default=0.0) if name == "milestones" else sum(parts)
    if name in _LENGTHS and value is not None:
        return _LENGTHS[name] * float(value)
    return 0.0


def values_of(made: Callable[[Any], Any], steps: int) -> list[float]:
    """The values of a schedule at its first steps, as plain numbers.

    >>> from tapegrad.optim.schedule import values_of
    >>> values_of(lambda step: 0.5**step, 3)
    [1.0, 0.5, 0.25]
    """
    with no_grad():
        return [float(made(step)) for step in range(steps)]


def curve(values: list[float], title: str) -> str:
    """A small picture of a curve, as SVG."""
    width, height, left, top = 320, 90, 56, 18
    finite = [v for v in values if abs(v) < math.inf] or [0.0]
    low, high = min(finite), max(finite)
    tall = high - low if high > low else 1.0
    across = max(len(values) - 1, 1)
    points = " ".join(
        f"{left + width * i / across:.1f},{top + height * (1 - (v - low) / tall):.1f}"
        for i, v in _thinned(values, width)
        if abs(v) < math.inf
    )
    safe = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    short = safe if len(title) <= 60 else safe.split("(")[0]
    text = '<text x="{}" y="{}" text-anchor="{}" font-size="10" fill="currentColor">{}</text>'
    base = top + height
    labels = "".join(
        text.format(*label)
        for label in (
            (left, 11, "start", short),
            (left - 6, top + 6, "end", f"{high:.3g}"),
            (left - 6, base, "end", f"{low:.3g}" if high > low else ""),
            (left, base + 14, "middle", "0"),
            (left + width, base + 14, "middle", f"{len(values) - 1}"),
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" '
        f'height="{base + 20}" font-family="sans-serif" role="img"><title>{safe}</title>'
        f'<path d="M{left},{top} V{base} H{left + width}" fill="none" stroke="#999"/>'
        f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>'
        f"{labels}</svg>"
    )


def _thinned(values: list[float], most: int) -> list[tuple[int, float]]:
    """Values with their places; of more than can be seen, the least and the most of each part."""
    size = -(-len(values) // most)
    kept = set()
    for begin in range(0, len(values), size):
        part = range(begin, min(begin + size, len(values)))
        kept |= {min(part, key=values.__getitem__), max(part, key=values.__getitem__)}
    return [(i, values[i]) for i in sorted(kept)]
