"""The errors that are the engine's own."""

from __future__ import annotations


class ShapeError(RuntimeError, ValueError):
    """Operands whose shapes do not fit (a RuntimeError as in torch, a ValueError as in NumPy)."""


class CheckError(ValueError):
    """A recorded assertion (:func:`tapegrad.check`) that does not hold."""
