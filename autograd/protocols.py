"""NumPy's and Python's protocols for Tensor."""

from __future__ import annotations

from typing import Any

METHODS: dict[str, Any] = {}
