"""Changes in place: ``x += y``, ``x[i] = v``, ``x.add_(y)``."""

from __future__ import annotations

from typing import Any

METHODS: dict[str, Any] = {}
