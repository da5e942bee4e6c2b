"""Which loss, which activation before it, and why."""

from __future__ import annotations

__all__: list[str] = []
