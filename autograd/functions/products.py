"""Products of vectors, matrices and tensors."""

from __future__ import annotations

from typing import Any

from ..ops import products as ops

__all__ = ["matmul"]

matmul = ops.matmul

METHODS: dict[str, Any] = {"matmul": matmul}
