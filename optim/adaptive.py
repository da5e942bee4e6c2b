"""Rules that divide by the size that gradients have had, without Adam's mean."""

from __future__ import annotations

from .table import Row

__all__: list[str] = []

ROWS: tuple[Row, ...] = ()
