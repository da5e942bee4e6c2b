"""Applying a primitive: operands unwrapped, promoted and computed on, and a record made.

:func:`apply` is the general way, which every operation can take. ``calling`` has shorter ones for
the common cases.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from . import modes
from .aliases import Part, view_of
from .batched import NoRule
from .errors import CheckError, ShapeError
from .records import NOTE, Note, anomaly_message, has_nan, next_number, owner, pick_record
from .registry import REGISTRY, Primitive
from .tensors import Tensor, make
from .values import (
    NUMBERS,
    PLAIN,
    as_dtype,
    cast_value,
    dtype_of,
    get_default_dtype,
    result_dtype,
    settle,
    shape_of,
)

_current = modes.MODE.get


def apply(op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Compute ``op`` on Tensors (recording) or on raw values (directly)."""
    values: list[Any] = []
    records: list[Any] = []
    weak: list[bool] = []
    is_tensor = tracked = foreign = False
    for a in args:
        if isinstance(a, Tensor):
            is_tensor = True
            record = a._record
            values.append(a._value)
            records.append(record)
            weak.append(False)
            if record is not None:
                tracked = True
        else:
            values.append(a)
            records.append(None)
            weak.append(type(a) in NUMBERS)
            foreign = True
    if not is_tensor:
        for a in args:
            if isinstance(a, (list, tuple, str)) or a is None:
                raise TypeError(
                    f"{op.name}() takes tensors, arrays or numbers, not {type(a).__name__}: "
                    "make it a tensor first, tg.tensor(...)"
                )
        y = compute(op, values, params)
        # NumPy's scalars stay NumPy's: a rule is run on them where Python's floats would raise.
        return np.float64(y) if type(y) is float and np.float64 in map(type, values) else y
    mode = _current()
    recording = tracked and op.differentiable and (mode is None or mode.grad)
    for i, a in enumerate(args) if foreign else ():
        if type(a) is np.float64:  # a Python float by birth, and as weak, as in torch
            values[i], weak[i] = float(a), True
        elif not isinstance(a, Tensor) and not weak[i]:
            values[i] = _foreign(op, a, recording)
    if op.promotes is not None:
        _promote(op, args, values, records, weak)
    y = compute(op, values, params)
    if type(y) is tuple:
        outs = _wrap_several(op, y, params, values, records, recording, mode)
        source = args[0]
        if op.view and isinstance(source, Tensor):
            for i, out in enumerate(outs):
                if shares_memory(op, params, out._value, source._value):
                    view_of(source, out, Part(op, i), params)
        return outs
    if not recording:
        if mode is not None and mode.anomaly and mode.check_nan:
            _check_forward(op, y, params, values, records)
        out = make(y, None)
    else:
        out = make(y, _record(op, y, params, values, records, mode))
    if op.view:
        source = args[0]
        if isinstance(source, Tensor) and shares_memory(op, params, y, source._value):
            view_of(source, out, op, params)
    return out


def compute(op: Primitive, values: Sequence[Any], params: dict[str, Any]) -> Any:
    if op.batch_rule is not None:
        y = op.batch_rule(values, params)
        if y is not NotImplemented:
            return y
    try:
        y = op.forward(*values, **params)
    except (NoRule, ValueError, TypeError, IndexError, np.linalg.LinAlgError) as error:
        y = _recover(op, values, params, error)
    if type(y) is not ndarray and isinstance(y, (tuple, list)):  # a named tuple, too
        return tuple(settle(v) for v in y)
    return settle(y)


def _recover(op: Primitive, values: Sequence[Any], params: dict[str, Any], error: Exception) -> Any:
    """After a forward failed: inside vmap compute it example by example, else say what is wrong."""
    if isinstance(error, CheckError):
        raise error
    from .batching import fall_back, is_batched

    if is_batched((values, params)):
        try:
            return fall_back(op, values, params)
        except CheckError:
            raise
        except (ValueError, TypeError, IndexError, np.linalg.LinAlgError) as again:
            error = again
    if isinstance(error, (IndexError, NoRule)):
        raise error
    raise explain(op, values, params, error) from error


def _foreign(op: Primitive, value: Any, recording: bool) -> Any:
    """An operand that is no Tensor: copied when it will be saved, for its owner may change it."""
    if isinstance(value, (ndarray, np.generic)):
        try:
            dtype = as_dtype(value.dtype)
        except TypeError as error:
            raise TypeError(f"{op.name}(): an operand's {error}") from None
        if dtype != value.dtype or not value.dtype.isnative:
            return settle(value.astype(dtype))
    if type(value) is ndarray:
        return settle(value.copy() if recording and value.ndim else value)
    if type(value) in PLAIN:
        return settle(value)
    if isinstance(value, (list, tuple, str, dict)) or value is None:
        raise TypeError(
            f"{op.name}() takes tensors, arrays or numbers, not {type(value).__name__}: "
            "make it a tensor first, tg.tensor(...)"
        )
    if isinstance(value, ndarray):
        return settle(np.array(value))
    if not hasattr(value, "dtype"):
        raise TypeError(
            f"{op.name}() takes tensors, arrays or real numbers, not {type(value).__name__}"
        )
    return value


def _promote(
    op: Primitive, args: Sequence[Any], values: list[Any], records: list[Any], weak: list[bool]
) -> None:
    """Cast operands of different dtypes to the one they share (torch's rule), on the tape."""
    start: int = op.promotes  # type: ignore[assignment]
    # Almost always every operand has the same floating dtype, or is a Python number beside it.
    shared: Any = None
    for value, is_weak in zip(values[start:], weak[start:], strict=True):
        if not is_weak:
            dtype = dtype_of(value)
            if shared is None:
                shared = dtype
            elif dtype is not shared and dtype != shared:
                break
    else:
        if shared is not None and (shared.kind in "fc" or not (op.floating or True in weak)):
            return
    floats = {
        found
        for value, is_weak in zip(values[start:], weak[start:])
        if not is_weak and (found := dtype_of(value)).kind in "fc"
    }
    if len(floats) == 1:  # beside integers, booleans and Python numbers it decides
        (dtype,) = floats
    else:
        dtype = result_dtype(values[start:], weak[start:])
    if op.floating and dtype.kind in "iub":
        dtype = get_default_dtype()
    if all(weak[start:]):
        values[start:] = [cast_value(v, dtype) for v in values[start:]]
        return
    for i in range(start, len(values)):
        value = values[i]
        if weak[i]:
            # Python numbers stay as they are, except where NumPy would decide otherwise.
            if dtype.kind in "fc" and type(value) is not float:
                values[i] = float(value)
            elif dtype.kind in "iu" and type(value) is int:
                values[i] = _wrapped(op, value, dtype)
            continue
        if dtype_of(value) != dtype:
            if records[i] is not None:
                cast_tensor = REGISTRY["cast"].function(args[i], dtype=dtype)
                values[i], records[i] = cast_tensor._value, cast_tensor._record
            else:
                values[i] = cast_value(value, dtype)


def _wrapped(op: Primitive, value: int, dtype: np.dtype[Any]) -> int:
    """A Python integer as an integer dtype holds it, counted round as C and torch do."""
    limits = np.iinfo(dtype)
    if limits.min <= value <= limits.max or (op.name == "pow" and value < 0):
        return value
    return int((value - limits.min) % (limits.max - limits.min + 1) + limits.min)


def _record(
    op: Primitive,
    y: Any,
    params: dict[str, Any],
    values: Sequence[Any],
    records: Sequence[Any],
    mode: Any,
) -> list[Any]:
    record = [next_number(), op, y, params or None, None]
    for pair in zip(values, records, strict=True):
        record += pair
    if mode is not None and mode.anomaly:
        _annotate(record, mode)
    return record


def _annotate(record: list[Any], mode: Any) -> None:
    """In anomaly mode: remember the caller, and refuse a result that is NaN."""
    note = record[NOTE] = Note()
    frames = [f for f in traceback.extract_stack() if not _is_engine(f.filename)]
    note.stack = traceback.format_list(frames[-3:])
    if mode.within is not None:
        outer, stack = mode.within
        note.stack.append(f"It is part of the derivative of '{outer}'")
        note.stack += [", which was called at:\n", *stack] if stack else [".\n"]
    if mode.check_nan:
        outputs = record[2] if type(record[2]) is tuple else (record[2],)
        if any(has_nan(v) for v in outputs) and not any(has_nan(v) for v in record[5::2]):
            raise RuntimeError(anomaly_message(record, "the forward of"))


_HERE = os.path.dirname(__file__) + os.sep


def _is_engine(filename: str) -> bool:
    """Whether a file belongs to the engine, as opposed to layers, losses or the user."""
    return filename.startswith(_HERE) and filename[len(_HERE) :].split(os.sep)[0] not in (
        "nn",
        "optim",
        "losses",
    )


def _check_forward(
    op: Primitive, y: Any, params: dict[str, Any], values: Sequence[Any], records: Sequence[Any]
) -> None:
    if has_nan(y) and not any(has_nan(v) for v in values):
        _record(op, y, params, values, records, modes.Mode(anomaly=True))


def _wrap_several(
    op: Primitive,
    outputs: tuple[Any, ...],
    params: dict[str, Any],
    values: Sequence[Any],
    records: Sequence[Any],
    recording: bool,
    mode: Any,
) -> tuple[Tensor, ...]:
    if not recording:
        return tuple(make(v, None) for v in outputs)
    record = _record(op, outputs, params, values, records, mode)
    return tuple(
        make(v, pick_record(record, i) if dtype_of(v).kind == "f" else None)
        for i, v in enumerate(outputs)
    )


def shares_memory(op: Primitive, params: dict[str, Any], y: Any, source: Any) -> bool:
    if type(y) is ndarray and type(source) is ndarray:
        return owner(y) is owner(source)
    if type(y) in PLAIN and type(source) in PLAIN:
        return True  # an element, or a scalar reshaped
    index = params.get("index")  # a duck array: a view unless it is indexed by arrays
    return not any(type(i) is ndarray for i in (index if type(index) is tuple else (index,)))


def explain(
    op: Primitive, values: Sequence[Any], params: dict[str, Any], error: Exception
) -> Exception:
    """The error that says what was wrong, with the shapes at hand."""
    operands = ", ".join(
        f"{shape_of(v)} {dtype_of(v)}" for v in values if hasattr(v, "dtype") or type(v) in NUMBERS
    )
    settings = "".join(f", {k}={v!r}" for k, v in params.items() if not hasattr(v, "__array__"))
    text = f"{op.name}: operands of shape and dtype {operands}{settings}: {error}"
    if "broadcast" in str(error):
        text = (
            f"{op.name}: shapes {' and '.join(str(shape_of(v)) for v in values)} do not broadcast: "
            "aligned at the last dimension, lengths must be equal or 1. Use reshape or unsqueeze."
        )
    if isinstance(error, np.linalg.LinAlgError):
        return type(error)(text)
    if isinstance(error, np.exceptions.AxisError):
        return IndexError(text)
    if isinstance(error, TypeError):
        return TypeError(text)
    return ShapeError(text)
