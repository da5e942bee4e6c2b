"""Losses that are negative log-likelihoods of counts and of amounts."""

from __future__ import annotations

from .table import Row

__all__: list[str] = []

ROWS: tuple[Row, ...] = ()
