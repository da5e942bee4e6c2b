"""The pieces of the variational autoencoder's lower bound."""

from __future__ import annotations

from .table import Row

__all__: list[str] = []

ROWS: tuple[Row, ...] = ()
