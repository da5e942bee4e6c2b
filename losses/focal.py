"""Losses for classes of very different frequency."""

from __future__ import annotations

from .table import Row

__all__: list[str] = []

ROWS: tuple[Row, ...] = ()
