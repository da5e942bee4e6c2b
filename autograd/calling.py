"""The functions that users call: one for each primitive, with its common cases spelled out.

A scalar graph spends its time here, so the two float operands of ``x * y`` go from the call to
the record without another call in between. Everything unusual goes to :func:`applying.apply`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from . import modes
from .aliases import view_of
from .applying import apply, compute, explain, shares_memory
from .records import next_number
from .registry import REGISTRY, Primitive
from .tensors import Tensor, make
from .values import float32, float64, settle

_current = modes.MODE.get
_float32, _int64 = np.float32, np.int64
_new = object.__new__
#: What a 0-d value of a dtype is (see values.py), for the dtypes of common cases.
_scalar_of = {float32: _float32, float64: float}


def expose(op: Primitive, function: Callable[..., Any], register: bool = True) -> Any:
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.doc
    function.__module__ = "tapegrad"
    function.primitive = op  # type: ignore[attr-defined]
    op.function = function
    if register:
        if op.name in REGISTRY:
            raise ValueError(
                f"there is already a primitive named {op.name!r}; say override=True to replace it"
            )
        REGISTRY[op.name] = op
    return function


def generic(op: Primitive) -> Callable[..., Any]:
    quick = not op.view  # until it turns out to have several outputs

    def function(*args: Any, **params: Any) -> Any:
        nonlocal quick
        if quick and len(args) == 1 and type(args[0]) is Tensor and _current() is None:
            v = args[0]._value
            if type(v) is ndarray and v.dtype.kind == "f" and op.batch_rule is None:
                # One floating array, nothing special: the common case, spelled out.
                try:
                    y = op.forward(v, **params)
                except Exception:
                    return apply(op, args, params)  # which says what is wrong
                if type(y) is not ndarray or not y.ndim:
                    if isinstance(y, (tuple, list)):
                        quick = False
                        return apply(op, args, params)
                    y = settle(y)
                record = args[0]._record
                if record is None or not op.differentiable:
                    return make(y, None)
                return make(y, [next_number(), op, y, params or None, None, v, record])
        for a in args:
            kind = type(a)
            if kind is not ndarray and kind is not float and kind is not int:
                return apply(op, args, params)
        return compute(op, args, params)  # the rules of a first-order walk come this way

    return function


def takes_params(forward: Callable[..., Any]) -> bool:
    """Whether a forward has keyword-only parameters."""
    code = getattr(forward, "__code__", None)
    return code is not None and (code.co_kwonlyargcount > 0 or bool(code.co_flags & 0x08))


def plain(op: Primitive) -> Callable[..., Any]:
    """The function of a primitive of one or two operands by torch's names, without parameters."""

    def one(input: Any) -> Any:
        if type(input) is not ndarray:
            return apply(op, (input,), {})
        return compute(op, (input,), {})

    def two(input: Any, other: Any) -> Any:
        if type(input) is not ndarray or type(other) is not ndarray:
            return apply(op, (input, other), {})
        return compute(op, (input, other), {})

    count = {len(sample.arrays) for sample in op.samples}
    if takes_params(op.forward) or any(sample.params for sample in op.samples):
        return generic(op)
    return one if count == {1} else two if count == {2} else generic(op)


def short_linear(op: Primitive) -> Callable[..., Any]:
    """The function of a linear primitive of one operand, with the common case spelled out."""

    def function(*args: Any, **params: Any) -> Any:
        if len(args) != 1:
            return apply(op, args, params)
        input = args[0]
        kind = type(input)
        if kind is ndarray or kind is _float32:
            return compute(op, args, params)  # the rules of a first-order walk come this way
        if kind is Tensor and _current() is None:
            v = input._value
            kind = type(v)
            if (kind is ndarray or kind is _float32 or kind is float) and op.promotes is None:
                try:
                    y = op.forward(v, **params)
                except Exception:
                    return apply(op, args, params)  # which says what is wrong
                if type(y) is not ndarray or not y.ndim:
                    y = settle(y)
                record = input._record
                if record is not None:
                    record = [next_number(), op, y, params or None, None, v, record]
                out = make(y, record)
                if op.view and shares_memory(op, params, y, v):
                    view_of(input, out, op, params)
                return out
        return apply(op, args, params)

    return function


def unary(op: Primitive) -> Callable[..., Any]:
    """The function of an elementwise primitive of one operand, with the common case spelled out."""
    forward, scalar_forward = op.forward, op.scalar

    def reload() -> None:
        nonlocal forward, scalar_forward
        forward, scalar_forward = op.forward, op.scalar

    def function(input: Any) -> Any:
        if type(input) is Tensor or isinstance(input, Tensor):
            v = input._value
            kind = type(v)
            if kind is float:
                y = float(forward(v)) if scalar_forward is None else scalar_forward(v)
            elif (kind is ndarray and v.dtype.kind == "f") or kind is _float32:
                y = forward(v)
            else:
                return apply(op, (input,), {})
            record = input._record
            mode = _current()
            if mode is not None:
                if mode.anomaly:
                    return apply(op, (input,), {})
                if not mode.grad:
                    record = None
            if record is None:
                return make(y, None)
            return make(y, [next_number(), op, y, None, None, v, record])
        if type(input) is ndarray:
            return compute(op, (input,), {})
        return apply(op, (input,), {})

    function.reload = reload  # type: ignore[attr-defined]
    return function


def binary(op: Primitive, takes: tuple[type, ...] | None = None) -> Callable[..., Any]:
    """The function of an elementwise primitive of two operands, its common cases spelled out.

    An operator says which types it ``takes``; any other gets NotImplemented, and so its own turn.
    """
    forward = op.forward
    scalar_forward = op.scalar or (lambda a, b: settle(forward(a, b)))

    def reload() -> None:
        nonlocal forward, scalar_forward
        forward = op.forward
        scalar_forward = op.scalar or (lambda a, b: settle(forward(a, b)))

    def function(input: Any, other: Any) -> Any:
        if type(input) is Tensor and type(other) is Tensor:
            a, b = input._value, other._value
            kind = type(a)
            if (kind is float or kind is _float32) and kind is type(b) and _current() is None:
                # Two float scalars: what a scalar graph is made of.
                try:
                    y = scalar_forward(a, b)
                except ArithmeticError:  # Python's floats raise where arrays give inf
                    y = settle(forward(a, b))
                ra, rb = input._record, other._record
                out = _new(Tensor)
                out._value = y
                if ra is None and rb is None:
                    out._record = None
                else:
                    out._record = [next_number(), op, y, None, None, a, ra, b, rb]
                return out
            if (
                kind is ndarray
                and type(b) is ndarray
                and a.dtype is b.dtype
                and a.dtype.kind == "f"
                and _current() is None
            ):
                try:
                    y = forward(a, b)
                except ValueError as error:
                    raise explain(op, (a, b), {}, error) from None
                ra, rb = input._record, other._record
                if ra is None and rb is None:
                    return make(y, None)
                return make(y, [next_number(), op, y, None, None, a, ra, b, rb])
        if isinstance(input, Tensor) and isinstance(other, Tensor):
            a, b = input._value, other._value
            kind = type(a)
            if kind is not type(b):
                if type(b) is _int64 and (kind is float or kind is _float32):
                    b = kind(b)  # a count beside a float scalar, as in sum / count
                elif kind is ndarray and type(b) is _scalar_of.get(a.dtype):
                    pass  # an array beside a scalar of its own dtype: nothing to promote
                elif type(b) is ndarray and kind is _scalar_of.get(b.dtype):
                    kind = ndarray
                else:
                    return apply(op, (input, other), {})
            ra, rb = input._record, other._record
        elif (type(other) is float or type(other) is int) and isinstance(input, Tensor):
            a, b, ra, rb = input._value, other, input._record, None
            kind = type(a)
        elif (type(input) is float or type(input) is int) and isinstance(other, Tensor):
            a, b, ra, rb = input, other._value, None, other._record
            kind = type(b)
        elif takes is not None and not isinstance(other, takes):
            return NotImplemented
        else:
            return apply(op, (input, other), {})
        mode = _current()
        if mode is not None:
            if mode.anomaly:
                return apply(op, (input, other), {})
            if not mode.grad:
                ra = rb = None
        try:
            if kind is float or kind is _float32:
                y = scalar_forward(a, b)
            elif kind is ndarray:
                array = a if type(a) is ndarray else b
                if array.dtype.kind != "f" or (type(b) is ndarray and b.dtype is not array.dtype):
                    return apply(op, (input, other), {})
                y = forward(a, b)
            else:
                return apply(op, (input, other), {})
        except ArithmeticError:
            y = settle(forward(a, b))
        except ValueError as error:
            raise explain(op, (a, b), {}, error) from None
        if ra is None and rb is None:
            return make(y, None)
        return make(y, [next_number(), op, y, None, None, a, ra, b, rb])

    function.reload = reload  # type: ignore[attr-defined]
    return function
