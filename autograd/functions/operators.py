"""How functions become operators of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensors import Tensor

#: What may stand beside a Tensor; others get NotImplemented, and so their own turn.
OPERANDS = (Tensor, int, float, bool, np.ndarray, np.generic)


def operator_method(function: Any) -> Any:
    """``self op other`` by a function of two operands."""

    def method(self: Any, other: Any) -> Any:
        if isinstance(other, OPERANDS):
            return function(self, other)
        return NotImplemented

    return method


def reflected_method(function: Any) -> Any:
    """``other op self`` by a function of two operands."""

    def method(self: Any, other: Any) -> Any:
        if isinstance(other, OPERANDS):
            return function(other, self)
        return NotImplemented

    return method
