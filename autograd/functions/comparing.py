"""Comparisons and tests; their results are off the tape."""

from __future__ import annotations

from typing import Any

__all__: list[str] = []

METHODS: dict[str, Any] = {}
