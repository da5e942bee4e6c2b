"""Metrics by name."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from tapegrad import losses
from tapegrad.lookup import near, plain, spelled, unknown

from . import accuracies, agreeing, deviations, ranking, surprise
from .streaming import Metric, Row, collecting

__all__ = ["METRICS", "get"]

#: All metrics, one row each: the tests and the reference run over them.
METRICS: tuple[Row, ...] = tuple(
    row for family in (accuracies, agreeing, ranking, deviations, surprise) for row in family.ROWS
)


def get(identifier: Any, **settings: Any) -> Metric:
    """The metric of that name, with settings, ready for batches.

    ``identifier``: a name as scikit-learn ("f1_score"), Keras ("sparse_categorical_accuracy",
    "AUC", "mae") or this package spells it, whatever the case and punctuation; a loss's name or a
    function of ``(input, target)``, of which the mean over batches need not be that of the whole,
    so that all samples are kept; one of the functions here; a :class:`Metric`, which is returned.

    Raises ValueError for an unknown name, with the nearest known ones; TypeError for anything else
    and for settings that the metric does not have.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.get("f1", average="macro"), tg.nn.metrics.get("mean_absolute_error").better
    (Metric(f1, average='macro'), 'min')
    >>> tg.nn.metrics.get("reacll")
    Traceback (most recent call last):
    ...
    ValueError: no metric is called 'reacll'; near it are 'recall'; nn.metrics.METRICS has all
    """
    if isinstance(identifier, Metric):
        if settings:
            raise TypeError(f"{identifier!r} is made already; give the settings to its name")
        return identifier
    if isinstance(identifier, str):
        return _named(identifier, settings)
    if isinstance(identifier, Row):
        return Metric(identifier, **settings)
    if inspect.isclass(identifier):
        made: Any = identifier(**settings)
        return made if isinstance(made, Metric) else Metric(made)
    if callable(identifier):
        own: list[Any] = [row for row in METRICS if row.function is identifier]
        return Metric(*own or [identifier], **settings)
    raise TypeError(
        "a metric is given by its name (a string), a function of (input, target) or a Metric, not "
        f"{type(identifier).__name__}"
    )


def _named(name: str, settings: dict[str, Any]) -> Metric:
    known, key = _known(), plain(name)
    if key in known:
        return Metric(known[key][1], name, **settings)
    try:
        loss = losses.get(name, **settings)
    except ValueError:
        nearest = near(key, known, lambda row: row.name)
        raise unknown("metric", name, nearest, "nn.metrics.METRICS has all") from None
    return Metric(collecting(loss, "min"), name)


@functools.cache
def _known() -> dict[str, tuple[str, Row]]:
    claims: list[tuple[str, Row]] = [
        (name, row) for row in METRICS for name in (row.name, *row.names)
    ]
    return spelled(claims, plain)
