"""A metric over many batches, exact: it keeps what can be added up, or the batches themselves."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tapegrad import Tensor, as_tensor, cat, pad, stop_gradient

__all__ = ["Metric", "Row"]

#: What a metric has of some batches: tensors, and words on what they are of.
Statistics = dict[str, Any]


def added(parts: Sequence[Statistics]) -> Statistics:
    """Statistics that add up. Counts of classes may be of more classes in a later batch."""
    total = dict(parts[0])
    for part in parts[1:]:
        for name, value in part.items():
            total[name] = _sum(name, total[name], value)
    return total


def _sum(name: str, a: Any, b: Any) -> Any:
    if not isinstance(a, Tensor):
        if a != b:
            raise ValueError(f"the batches do not belong together: {name} was {a}, now it is {b}")
        return a
    if a.shape != b.shape:
        sizes = [max(m, n) for m, n in zip(a.shape, b.shape, strict=True)]
        a, b = (
            pad(v, [w for n, m in zip(v.shape[::-1], sizes[::-1]) for w in (0, m - n)])
            for v in (a, b)
        )
    return a + b


def joined(parts: Sequence[Statistics]) -> Statistics:
    """The samples of all batches one after another."""
    if len(parts) == 1:
        return parts[0]
    total = {}
    for name, first in parts[0].items():
        if not isinstance(first, Tensor):
            if any(part[name] != first for part in parts):
                raise ValueError(f"the batches do not belong together: {name} differs")
            total[name] = first
            continue
        shapes = {part[name].shape[1:] for part in parts}
        if len(shapes) > 1:
            raise ValueError(
                f"the batches do not belong together: their {name}s have the shapes "
                f"(N, …) with {sorted(shapes)}"
            )
        total[name] = cat([part[name] for part in parts])
    return total


@dataclass(frozen=True, eq=False)
class Row:
    """A metric in the table: how it is reckoned, what it is called, what it is tried with.

    ``finish(merge([gather(input, target), …]))`` is the metric of several batches, and
    ``function(input, target)`` that of one. Settings go to whichever of ``gather`` and ``finish``
    has them.

    >>> import tapegrad as tg
    >>> row = next(row for row in tg.nn.metrics.METRICS if row.name == "mae")
    >>> row.names, row.better, row.peer
    (('mean_absolute_error',), 'min', 'mean_absolute_error')
    """

    #: The metric as a function of operands and settings.
    function: Callable[..., Any]
    #: What a batch contributes.
    gather: Callable[..., Statistics]
    #: The value of what was contributed.
    finish: Callable[..., Any]
    #: What it is called elsewhere (Keras's and scikit-learn's names), for ``metrics.get``.
    names: tuple[str, ...] = ()
    #: Whether more is better: "max", "min", or "" when there is no telling (a matrix).
    better: str = "max"
    #: What its operands are: "classes" (scores, class indices), "binary" (probabilities, 0 and 1),
    #: "labels" (classes or binary) or "numbers".
    takes: str = "labels"
    #: How the contributions of batches become one.
    merge: Callable[[Sequence[Statistics]], Statistics] = added
    #: scikit-learn's function with the same result, if there is one.
    peer: str = ""
    #: Settings to try it with, besides none.
    settings: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The name of the row."""
        return self.function.__name__

    @property
    def keeps_samples(self) -> bool:
        """Whether a :class:`Metric` of it keeps all samples, not only numbers that add up."""
        return self.merge is joined

    def __call__(self, input: Any, target: Any, **settings: Any) -> Any:
        """The metric of one batch."""
        return self.function(input, target, **settings)


class Metric:
    """The metric of all batches that it was given: exactly that of the whole, not a mean of means.

    ``metric``: a row of the table, or a function of ``(input, target)``, for which all samples are
    kept until :meth:`reset`. ``name``: what it is called in a history. The settings are the
    function's.

    Raises TypeError for settings that it does not have.

    >>> import tapegrad as tg
    >>> metric = tg.nn.metrics.get("rmse")
    >>> metric.update(tg.tensor([1.0]), tg.tensor([1.0]))
    >>> metric.update(tg.tensor([1.0, 1.0, 1.0]), tg.tensor([1.0, 1.0, 3.0]))
    >>> metric.compute()
    tensor(1., dtype=float64)
    """

    def __init__(
        self, metric: Row | Callable[..., Any], name: str | None = None, **settings: Any
    ) -> None:
        self.row = metric if isinstance(metric, Row) else collecting(metric)
        self.name = name or self.row.name
        self.settings = settings
        try:
            inspect.signature(self.row.function).bind(None, None, **settings)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        self._gather = _chosen(self.row.gather, settings)
        self._finish = _chosen(self.row.finish, settings)
        self._parts: list[Statistics] = []

    @property
    def better(self) -> str:
        """Whether more is better: "max", "min", or "" when there is no telling."""
        return self.row.better

    def update(self, input: Any, target: Any) -> None:
        """Take a batch into account. One that is refused changes nothing."""
        parts = [*self._parts, self.row.gather(input, target, **self._gather)]
        self._parts = parts if self.row.keeps_samples else [self.row.merge(parts)]

    def compute(self) -> Any:
        """The metric of all batches since :meth:`reset`; RuntimeError when there are none."""
        if not self._parts:
            raise RuntimeError(f"{self.name}: no batch has been given yet: call update first")
        self._parts = [self.row.merge(self._parts)]
        return self.row.finish(self._parts[0], **self._finish)

    def reset(self) -> None:
        """Forget all batches."""
        self._parts = []

    def __call__(self, input: Any, target: Any) -> Any:
        """The metric of one batch by itself; what was given to :meth:`update` is not touched."""
        return self.row.function(input, target, **self.settings)

    def state_dict(self) -> dict[str, Any]:
        """What the batches so far have contributed, for :func:`tapegrad.save`."""
        if len(self._parts) > 1:
            self._parts = [self.row.merge(self._parts)]
        return {
            "metric": self.row.name,
            "statistics": dict(self._parts[0]) if self._parts else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state; ValueError when it is that of another metric."""
        if state_dict.get("metric") != self.row.name:
            raise ValueError(
                f"{self.name}: the state is that of {state_dict.get('metric')!r}, not of "
                f"{self.row.name!r}"
            )
        statistics = state_dict["statistics"]
        self._parts = [] if statistics is None else [dict(statistics)]

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"Metric({self.name}{settings})"


def _chosen(function: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the settings that a function has; all, if it takes any."""
    known = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    return {name: value for name, value in settings.items() if takes_any or name in known}


def collecting(function: Callable[..., Any], better: str = "") -> Row:
    """A row for a function, which is called with all samples at once."""

    def gather(input: Any, target: Any) -> Statistics:
        # a metric is a number for a report: nothing is learned from its derivative
        return {"input": stop_gradient(as_tensor(input)), "target": as_tensor(target)}

    def finish(statistics: Statistics, **settings: Any) -> Any:
        return function(statistics["input"], statistics["target"], **settings)

    def named(*operands: Any, **settings: Any) -> Any:
        return function(*operands, **settings)

    functools.update_wrapper(named, function, updated=())
    named.__name__ = getattr(function, "__name__", type(function).__name__)
    return Row(named, gather, finish, better=better, merge=joined)
