"""Losses by Keras's names, with Keras's conventions: probabilities by default, clipped at 1e-7."""

from __future__ import annotations

from .table import Row

__all__: list[str] = []

ROWS: tuple[Row, ...] = ()
