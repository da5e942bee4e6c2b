"""Losses on triplets of embeddings, and how to choose the triplets."""

from __future__ import annotations

from .table import Row

__all__: list[str] = []

ROWS: tuple[Row, ...] = ()
