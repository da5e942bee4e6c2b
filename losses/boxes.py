"""Losses of detection: the overlap of boxes, and their sum with a classification."""

from __future__ import annotations

from .table import Row

__all__: list[str] = []

ROWS: tuple[Row, ...] = ()
