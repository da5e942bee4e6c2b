"""How functions become operators of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..calling import binary
from ..tensors import Tensor

#: What may stand beside a Tensor; others get NotImplemented, and so their own turn.
OPERANDS = (Tensor, int, float, bool, np.ndarray, np.generic)


def hot_operator(function: Any) -> Any:
    """The same for the primitives that a scalar graph is made of: no call in between."""
    # a list is taken, to be refused with a word on what to do
    method = binary(function.primitive, (*OPERANDS, list, tuple, str, type(None)))
    method.__name__ = method.__qualname__ = function.__name__
    method.__doc__ = function.__doc__
    reload = function.reload

    def both() -> None:  # overriding the primitive reaches the operator, too
        reload()
        method.reload()  # type: ignore[attr-defined]

    function.reload = both
    return method


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
