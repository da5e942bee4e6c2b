"""Losses on the angle between an embedding and the centre of its class."""

from __future__ import annotations

from .table import Row

__all__: list[str] = []

ROWS: tuple[Row, ...] = ()
