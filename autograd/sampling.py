"""Random tensors, and the Generator they draw from."""

from __future__ import annotations

__all__: list[str] = []
