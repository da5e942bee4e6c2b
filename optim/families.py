"""The families of optimizers, and the table that gathers their rows."""

from __future__ import annotations

from . import (
    adams,
    adaptive,
    adaptive_published,
    averages,
    descent,
    layerwise,
    lbfgs,
    schedule_free,
    signs,
    velocity,
    wrappers,
)
from .table import Row

#: In the order of the reference page.
FAMILIES = (
    descent,
    velocity,
    adaptive,
    adams,
    adaptive_published,
    signs,
    layerwise,
    schedule_free,
    lbfgs,
    wrappers,
    averages,
)

#: Every optimizer, one row each.
OPTIMIZERS: tuple[Row, ...] = tuple(row for family in FAMILIES for row in family.ROWS)
