"""Raw values: what stands inside a Tensor.

A value is an ``ndarray`` of at least one dimension, or a scalar: a Python ``float`` for
float64 (cheapest), a NumPy scalar for every other dtype. 0-d arrays are never kept.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy import ndarray

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8 = np.dtype("uint8")
boolean = np.dtype("bool")

#: Plain value types, as opposed to duck arrays (``Batched``) and symbols.
PLAIN = frozenset({float, int, bool, ndarray, *(d.type for d in map(np.dtype, "efdbhilqBHILQ?FD"))})
NUMBERS = frozenset({float, int, bool})

_default = float32


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that Python floats and creation functions get (float32 at first).

    >>> import tapegrad as tg
    >>> tg.set_default_dtype("float64"); tg.tensor(1.0).dtype
    dtype('float64')
    >>> tg.set_default_dtype("float32")
    """
    global _default
    found = as_dtype(dtype)
    if found is None or found.kind != "f":
        raise TypeError(f"the default dtype must be a floating dtype, not {dtype!r}")
    _default = found


def get_default_dtype() -> np.dtype[Any]:
    """The dtype that Python floats and creation functions get.

    >>> import tapegrad as tg
    >>> tg.get_default_dtype()
    dtype('float32')
    """
    return _default


def as_dtype(dtype: Any) -> np.dtype[Any] | None:
    """A NumPy dtype from a dtype, a string or a Python type; None stays None.

    >>> import tapegrad as tg
    >>> tg.as_dtype("float32"), tg.as_dtype(int)
    (dtype('float32'), dtype('int64'))
    """
    if dtype is None:
        return None
    if dtype is float:
        return _default
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"unknown dtype {dtype!r}: use 'float16', 'float32', 'float64', an integer dtype or "
            "'bool'"
        ) from None
    if found.kind not in "fiub" or (found.kind == "f" and found.itemsize > 8):
        raise TypeError(
            f"dtype {found} is not supported: tapegrad has float16/32/64, integers and bool"
        )
    if found.char == "g":  # where a C long double is a double
        return float64
    return found if found.isnative else np.dtype(found.type)


def dtype_of(value: Any) -> np.dtype[Any]:
    """The dtype of a raw value."""
    kind = type(value)
    if kind is float:
        return float64
    if kind is int:
        return int64
    if kind is bool:
        return boolean
    try:
        return value.dtype  # type: ignore[no-any-return]
    except AttributeError:
        raise _no_operand(kind) from None


def _no_operand(kind: type) -> TypeError:
    """The error for what is no value, with the name of the function that was called."""
    frame, name = sys._getframe(1), ""
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        found = frame.f_code.co_name
        name = found if found not in _NAMELESS and not found.startswith(("_", "<")) else name
        frame = frame.f_back  # type: ignore[assignment]
    return TypeError(
        (f"{name}() " if name else "")
        + f"takes tensors, arrays or real numbers, not {kind.__name__}"
        + (": make it a tensor first, tg.tensor(...)" if kind in (list, tuple) else "")
    )


_HERE = os.path.dirname(__file__)
_NAMELESS = {"function", "method", "apply", "dtype_of", "shape_of", "result_dtype"}


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a raw value (or of the tuple that a freed value leaves behind)."""
    kind = type(value)
    if kind is ndarray:
        return value.shape  # type: ignore[no-any-return]
    if kind in NUMBERS:
        return ()
    if kind is list:
        raise _no_operand(kind)
    return getattr(value, "shape", ())


def settle(value: Any) -> Any:
    """The canonical form of a raw result: no 0-d arrays, float64 scalars as Python floats."""
    kind = type(value)
    if kind is ndarray:
        if value.ndim:
            return value
        value = value[()]
        kind = type(value)
    return float(value) if kind is np.float64 else value


def scalar(value: Any, dtype: np.dtype[Any]) -> Any:
    """A raw 0-d value of the given dtype."""
    return float(value) if dtype is float64 or dtype == float64 else dtype.type(value)


def cast_value(value: Any, dtype: np.dtype[Any]) -> Any:
    """The value in another dtype."""
    kind = type(value)
    if kind is ndarray:
        return value.astype(dtype)
    if kind in PLAIN:
        return scalar(value, dtype)
    return value.astype(dtype)


_CATEGORY = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}


def result_dtype(values: Any, weak: Any) -> np.dtype[Any]:
    """The dtype that operands promote to, by torch's rule.

    The highest category (bool < integer < float) decides; within it, tensors with dimensions
    come before 0-d tensors, and those before Python numbers (``weak``), so that
    ``float32_array * float64_scalar`` stays float32 and ``integer_array * 0.5`` is of the
    default float dtype.
    """
    groups: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for value, is_weak in zip(values, weak, strict=True):
        dtype = dtype_of(value)
        if is_weak and dtype.kind == "f":
            dtype = _default
        groups[2 if is_weak else (0 if shape_of(value) else 1)].append(dtype)
    best: np.dtype[Any] | None = None
    for group in groups:
        if not group:
            continue
        top = max(_CATEGORY[d.kind] for d in group)
        if best is not None and _CATEGORY[best.kind] >= top:
            continue
        found = None
        for dtype in group:
            if _CATEGORY[dtype.kind] == top:
                found = dtype if found is None else np.promote_types(found, dtype)
        best = found
    assert best is not None
    return best


def full_like_value(fill: float, value: Any) -> Any:
    """A raw value of the shape and dtype of another, filled with a number."""
    kind = type(value)
    if kind is float:
        return fill
    if kind is ndarray:
        return np.full(value.shape, fill, value.dtype)
    if kind in PLAIN:
        return scalar(fill, dtype_of(value))
    if not hasattr(value, "__array_function__"):  # what a freed value leaves behind
        return np.full(value.shape, fill, value.dtype)
    return np.full_like(value, fill)
