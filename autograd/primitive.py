"""Primitives: the only functions with derivatives of their own, each stated once.

A primitive is one block: forward (on raw arrays), derivative (in tensor ops), samples of its
domain. Four families turn a single statement into both directions of differentiation:

=============  ============================================  ===============================
family         you state                                     y depends on x by
=============  ============================================  ===============================
elementwise    the partial derivatives dy/dx_i (y, *xs)      dy = sum_i partial_i * dx_i
linear         the transpose (g, x)                          dy = f(dx)
bilinear       the two transposes (g, y, a, b)               dy = f(da, b) + f(a, db)
reduction      the weight (y, x)                             dy = sum(weight * dx)
=============  ============================================  ===============================

Any other primitive states its VJP, one rule per operand ``(g, y, *xs, **params)``, and the
forward direction is the transpose of that. Rules are linear in ``g``, never divide by it and
never branch on its value. They are written with operators and the engine's own functions, which
compute directly on raw arrays and record on Tensors: one text serves the fast first-order walk,
higher orders and symbols. An argument whose name begins with an underscore is not read, so the
value it stands for may be overwritten in place after use.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from . import modes
from .aliases import Part, view_of
from .batched import NoRule
from .records import NOTE, Note, anomaly_message, has_nan, next_number, owner, pick_record
from .tensor import Tensor, make
from .values import (
    NUMBERS,
    PLAIN,
    as_dtype,
    cast_value,
    dtype_of,
    full_like_value,
    get_default_dtype,
    result_dtype,
    settle,
    shape_of,
)

#: Every primitive by name; tests, documentation and benchmarks run over it.
REGISTRY: dict[str, Primitive] = {}

_current = modes.MODE.get
_float32 = np.float32


class ShapeError(RuntimeError, ValueError):
    """Operands whose shapes do not fit (a RuntimeError as in torch, a ValueError as in NumPy)."""


class CheckError(ValueError):
    """A recorded assertion (:func:`tapegrad.check`) that does not hold."""


class Sample:
    """Operands and parameters inside a primitive's domain, off its kinks.

    >>> import tapegrad as tg
    >>> tg.Sample([[1.0, 2.0]], axis=(0,), keepdims=False)
    1x2 axis=(0,) keepdims=False
    """

    __slots__ = ("arrays", "params")

    def __init__(self, *arrays: Any, **params: Any) -> None:
        self.arrays = tuple(np.asarray(a) for a in arrays)
        self.params = params

    def __repr__(self) -> str:
        shapes = ",".join("x".join(map(str, a.shape)) or "()" for a in self.arrays)
        extra = "".join(f" {k}={v!r}" for k, v in self.params.items())
        return f"{shapes}{extra}"


class Primitive:
    """One operation: forward, derivative, samples. Made by the families below.

    >>> import tapegrad as tg
    >>> op = tg.REGISTRY["tanh"]
    >>> op.name, op.family, len(op.samples) > 0
    ('tanh', 'elementwise', True)
    """

    #: How it acts inside vmap, ``(values, params) -> value or NotImplemented``; without one the
    #: forward is tried, which NumPy's protocols usually carry, and then a loop over examples.
    batch_rule: Callable[..., Any] | None = None

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        *,
        family: str,
        rules: Sequence[Callable[..., Any] | None] | None = None,
        pull: Callable[..., Any] | None = None,
        push: Callable[..., Any] | None = None,
        samples: Sequence[Sample] = (),
        doc: str | None = None,
        scalar: Callable[..., Any] | None = None,
        floating: bool = True,
        promotes: int | None = 0,
        view: bool = False,
        analytic: bool = False,
        reads: Sequence[Callable[..., Any] | None] | None = None,
    ) -> None:
        self.name, self.forward, self.family = name, forward, family
        self.rules = None if rules is None else tuple(rules)
        self._pull, self.push_rule = pull, push
        self.samples, self.doc = list(samples), doc
        self.scalar = scalar
        # floating: integers become floats; promotes: the first operand that takes part in
        # promotion to a common dtype (None: there is none)
        self.floating, self.promotes = floating, promotes
        self.view, self.analytic = view, analytic
        self.differentiable = rules is not None or pull is not None
        self._read_rules = reads
        self.statement: Any = None  # what the author wrote: partials, transposes or weight
        self.function: Any = None
        #: For thousands of operands, instead of ``pull``: ``(g, xs, **params)`` gives a function
        #: of ``i``, so that a walk takes time in proportion to their number.
        self.parts: Callable[..., Any] | None = None

    partial_cotangents = False  # whether its rules take None for an output that nobody used

    def __repr__(self) -> str:
        return self.name

    def pull(self, i: int, g: Any, y: Any, xs: Sequence[Any], params: dict[str, Any]) -> Any:
        """The cotangent of operand ``i``, before broadcasting is undone."""
        if self._pull is not None:
            return self._pull(i, g, y, *xs, **params)
        rule = self.rules[i]  # type: ignore[index]
        return g if rule is None else rule(g, y, *xs, **params)

    def reads(
        self, operands: Sequence[Any], outputs: Sequence[Any], tracked: Sequence[bool]
    ) -> list[tuple[str, Any]]:
        """The saved values that the rules of the tracked operands will read, with their names."""
        if self._read_rules is None:
            return []
        found: dict[str, Any] = {}
        for i, is_tracked in enumerate(tracked):
            rule = (
                self._read_rules[i if len(self._read_rules) > 1 else 0]
                if self._read_rules
                else None
            )
            if not is_tracked or rule is None:
                continue
            of_output, of_operands = _reading(rule, self.family)
            if of_output:
                found.update((f"output {k}", v) for k, v in enumerate(outputs))
            for k, value in enumerate(operands):
                if of_operands is None or k in of_operands:
                    found[f"operand {k}"] = value
        return list(found.items())


class _AllBut:
    """All numbers but some."""

    def __init__(self, without: set[int]) -> None:
        self.without = without

    def __contains__(self, number: int) -> bool:
        return number not in self.without


def _reading(rule: Callable[..., Any], family: str) -> tuple[bool, set[int] | _AllBut | None]:
    """Which values a rule reads, by its arguments' names: (output?, operands; None means all)."""
    code = getattr(rule, "__code__", None)
    if code is None:
        return True, None
    names = list(code.co_varnames[: code.co_argcount])
    skip = {"elementwise": 0, "reduction": 0, "bilinear": 1, "general": 1, "indexed": 2}[family]
    if family == "elementwise" and names[:1] == ["g"]:  # a product rule, not a partial
        skip = 1
    names = names[skip:]
    of_output = False
    if names:
        of_output = not names.pop(0).startswith("_")
    if code.co_flags & 0x04:  # *args: reads them all, unless that name begins with an underscore
        rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
        unread = {k for k, name in enumerate(names) if name.startswith("_")}
        if not rest.startswith("_"):
            return of_output, _AllBut(unread) if unread else None
    return of_output, {k for k, name in enumerate(names) if not name.startswith("_")}


# -- applying a primitive ---------------------------------------------------------------------
def apply(op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Compute ``op`` on Tensors (recording) or on raw values (directly)."""
    values: list[Any] = []
    records: list[Any] = []
    weak: list[bool] = []
    is_tensor = tracked = False
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
    if not is_tensor:
        for a in args:
            if isinstance(a, (list, tuple, str)) or a is None:
                raise TypeError(
                    f"{op.name}() takes tensors, arrays or numbers, not {type(a).__name__}: "
                    "make it a tensor first, tg.tensor(...)"
                )
        y = _raw(op, values, params)
        # NumPy's scalars stay NumPy's: a rule is run on them where Python's floats would raise.
        return np.float64(y) if type(y) is float and np.float64 in map(type, values) else y
    mode = _current()
    recording = tracked and op.differentiable and (mode is None or mode.grad)
    for i, a in enumerate(args):
        if type(a) is np.float64:  # a Python float by birth, and as weak, as in torch
            values[i], weak[i] = float(a), True
        elif not isinstance(a, Tensor) and not weak[i]:
            values[i] = _foreign(op, a, recording)
    if op.promotes is not None:
        _promote(op, args, values, records, weak)
    y = _raw(op, values, params)
    if type(y) is tuple:
        outs = _wrap_several(op, y, params, values, records, recording, mode)
        source = args[0]
        if op.view and isinstance(source, Tensor):
            for i, out in enumerate(outs):
                if _shares_memory(op, params, out._value, source._value):
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
        if isinstance(source, Tensor) and _shares_memory(op, params, y, source._value):
            view_of(source, out, op, params)
    return out


def _raw(op: Primitive, values: Sequence[Any], params: dict[str, Any]) -> Any:
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
            continue
        if dtype_of(value) != dtype:
            if records[i] is not None:
                cast_tensor = REGISTRY["cast"].function(args[i], dtype=dtype)
                values[i], records[i] = cast_tensor._value, cast_tensor._record
            else:
                values[i] = cast_value(value, dtype)


def _record(
    op: Primitive,
    y: Any,
    params: dict[str, Any],
    values: Sequence[Any],
    records: Sequence[Any],
    mode: Any,
) -> list[Any]:
    record = [next_number(), op, y, params or None, None]
    for value, made in zip(values, records, strict=True):
        record.append(value)
        record.append(made)
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


def _shares_memory(op: Primitive, params: dict[str, Any], y: Any, source: Any) -> bool:
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


# -- the functions that users call --------------------------------------------------------------
def _expose(op: Primitive, function: Callable[..., Any], register: bool = True) -> Any:
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


def _generic(op: Primitive) -> Callable[..., Any]:
    def function(*args: Any, **params: Any) -> Any:
        for a in args:
            if type(a) is not ndarray:
                return apply(op, args, params)
        return _raw(op, args, params)  # the rules of a first-order walk come this way

    return function


def _plain(op: Primitive) -> Callable[..., Any]:
    """The function of a primitive of one or two operands by torch's names, without parameters."""

    def one(input: Any) -> Any:
        if type(input) is not ndarray:
            return apply(op, (input,), {})
        return _raw(op, (input,), {})

    def two(input: Any, other: Any) -> Any:
        if type(input) is not ndarray or type(other) is not ndarray:
            return apply(op, (input, other), {})
        return _raw(op, (input, other), {})

    count = {len(sample.arrays) for sample in op.samples}
    if _takes_params(op.forward) or any(sample.params for sample in op.samples):
        return _generic(op)
    return one if count == {1} else two if count == {2} else _generic(op)


def _linear(op: Primitive) -> Callable[..., Any]:
    """The function of a linear primitive of one operand, with the common case spelled out."""

    def function(*args: Any, **params: Any) -> Any:
        if len(args) == 1 and type(args[0]) is Tensor and _current() is None:
            input = args[0]
            v = input._value
            if type(v) is ndarray and op.promotes is None:
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
                if op.view and _shares_memory(op, params, y, v):
                    view_of(input, out, op, params)
                return out
        return apply(op, args, params)

    return function


def _unary(op: Primitive) -> Callable[..., Any]:
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
            return _raw(op, (input,), {})
        return apply(op, (input,), {})

    function.reload = reload  # type: ignore[attr-defined]
    return function


def _binary(op: Primitive) -> Callable[..., Any]:
    """The function of an elementwise primitive of two operands, its common cases spelled out."""
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
        if isinstance(input, Tensor) and isinstance(other, Tensor):
            a, b = input._value, other._value
            kind = type(a)
            if kind is not type(b):
                return apply(op, (input, other), {})
            ra, rb = input._record, other._record
        elif (type(other) is float or type(other) is int) and isinstance(input, Tensor):
            a, b, ra, rb = input._value, other, input._record, None
            kind = type(a)
        elif (type(input) is float or type(input) is int) and isinstance(other, Tensor):
            a, b, ra, rb = input, other._value, None, other._record
            kind = type(b)
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


_new = object.__new__


# -- the families -----------------------------------------------------------------------------
def _elementwise_rule(partial: Any, arity: int, plain: bool) -> Callable[..., Any] | None:
    if callable(partial):
        if plain and arity == 1:  # without *args: these run once per node of a scalar graph
            return lambda g, y, x: g * partial(y, x)
        if plain and arity == 2:
            return lambda g, y, a, b: g * partial(y, a, b)
        return lambda g, *values, **params: g * partial(*values, **params)
    if partial == 1.0:
        return None  # the cotangent itself
    if partial == -1.0:
        return (lambda g, _y, _a, _b: -g) if plain and arity == 2 else lambda g, *_v, **_p: -g
    if partial == 0.0:
        return lambda g, *_values, **_params: _zero(g)
    return lambda g, *_values, **_params: g * partial


def _zero(g: Any) -> Any:
    if isinstance(g, Tensor):
        return make(full_like_value(0.0, g._value), None)
    return full_like_value(0.0, g)


def elementwise(
    name: str,
    forward: Callable[..., Any],
    *partials: Any,
    scalar: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    floating: bool = True,
    analytic: bool = False,
    rules: Sequence[Any] | None = None,
    override: bool = False,
) -> Any:
    """A primitive that works element by element, with broadcasting.

    ``partials``: one per operand, the partial derivative as a function ``(y, *xs)`` or a number.
    ``rules``: in place of partials, the products ``(g, y, *xs) -> g * partial`` themselves, for
    operations that select (an infinite cotangent must not become NaN where nothing passes).
    ``floating``: integer operands are first cast to the default float dtype.
    ``analytic``: holds for complex arguments too, so that the checker may use the complex step.
    """
    plain = not _takes_params(forward)
    if rules is not None:
        partials = tuple(1.0 if rule is None else _at_one(rule) for rule in rules)
    op = Primitive(
        name,
        forward,
        family="elementwise",
        rules=rules or [_elementwise_rule(p, len(partials), plain) for p in partials],
        samples=samples,
        doc=doc,
        scalar=scalar,
        floating=floating,
        analytic=analytic,
        reads=[p if callable(p) else None for p in rules or partials],
    )
    op.statement = partials
    simple = {1: _unary, 2: _binary} if plain else {}
    return _register(op, simple.get(len(partials), _generic), override)


def _at_one(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The partial derivative that a product rule states: its value at the cotangent 1."""
    return lambda *values, **params: rule(1.0, *values, **params)


def _takes_params(forward: Callable[..., Any]) -> bool:
    """Whether a forward has keyword-only parameters."""
    code = getattr(forward, "__code__", None)
    return code is not None and (code.co_kwonlyargcount > 0 or bool(code.co_flags & 0x08))


def _register(op: Primitive, builder: Any, override: bool) -> Any:
    if override and op.name in REGISTRY:
        # Callers hold the function, and the function its primitive: replace in place.
        known = REGISTRY[op.name]
        function = known.function
        known.__dict__.clear()  # a rule for batches, too, which is of the old forward
        known.__dict__.update(op.__dict__)
        known.function = function
        known.overridden = True  # type: ignore[attr-defined]
        if hasattr(function, "reload"):  # the common cases hold the forward itself
            function.reload()
        if op.doc:
            function.__doc__ = op.doc
        return function
    return _expose(op, builder(op))


def linear(
    name: str,
    forward: Callable[..., Any],
    transpose: Callable[..., Any],
    *,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    view: bool = False,
    override: bool = False,
) -> Any:
    """A primitive linear in its one operand: ``transpose(g, x, **params)`` is its adjoint.

    Only the shape and dtype of ``x`` may be used. ``view``: the result may share x's memory.
    """
    op = Primitive(
        name,
        forward,
        family="linear",
        rules=[lambda g, _y, x, **params: transpose(g, x, **params)],
        samples=samples,
        doc=doc,
        floating=False,
        promotes=None,
        view=view,
        analytic=True,
    )
    op.statement = transpose
    return _register(op, _linear, override)


def linear_many(
    name: str,
    forward: Callable[..., Any],
    transpose: Callable[..., Any],
    *,
    parts: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    override: bool = False,
) -> Any:
    """A primitive linear in all its operands together (cat, stack): ``transpose(i, g, *xs)``
    is what operand ``i`` gets; only shapes of ``xs`` may be used. ``parts(g, xs)`` may give the
    same as a function of ``i``, for operations of very many operands."""
    op = Primitive(
        name,
        forward,
        family="linear",
        pull=lambda i, g, _y, *xs, **params: transpose(i, g, *xs, **params),
        samples=samples,
        doc=doc,
        floating=False,
        analytic=True,
    )
    op.statement = transpose
    op.parts = parts
    return _register(op, _generic, override)


def bilinear(
    name: str,
    forward: Callable[..., Any],
    left: Callable[..., Any],
    right: Callable[..., Any],
    *,
    scalar: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    floating: bool = False,
    elementwise: bool = False,
    override: bool = False,
) -> Any:
    """A primitive linear in each of two operands: ``left(g, y, a, b)`` is what a gets (of a and y
    only the shape may be used), ``right(g, y, a, b)`` what b gets."""
    op = Primitive(
        name,
        forward,
        family="bilinear",
        rules=[left, right],
        samples=samples,
        doc=doc,
        scalar=scalar,
        floating=floating,
        analytic=True,
        reads=[left, right],
    )
    op.statement = (left, right)
    return _register(op, _binary if elementwise else _plain, override)


def _reducing(op: Primitive) -> Callable[..., Any]:
    """The function of a user's reduction: dimensions in every form, canonical for its rules."""

    def function(
        input: Any,
        dim: Any = None,
        keepdim: bool = False,
        *,
        axis: Any = None,
        keepdims: bool = False,
        **params: Any,
    ) -> Any:
        from .functions.dims import reduced_dims

        params["axis"] = reduced_dims(dim, axis, len(shape_of(input)), op.name)
        params["keepdims"] = bool(keepdim or keepdims)
        return apply(op, (input,), params)

    return function


def reduction(
    name: str,
    forward: Callable[..., Any],
    weight: Callable[..., Any],
    *,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    floating: bool = True,
    analytic: bool = False,
    override: bool = False,
    builder: Callable[..., Any] = _generic,
) -> Any:
    """A primitive that reduces over ``axis`` (a tuple) with ``keepdims``: dy = sum(weight · dx).

    ``weight(y, x, axis, **params)`` gets y with the reduced dimensions kept as length 1
    (or as a scalar, where nothing else is left).
    """

    def rule(
        g: Any, y: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool, **params: Any
    ) -> Any:
        from .ops.shaping import expand_dims

        if not keepdims and shape_of(g):  # a scalar fits as it is
            g, y = expand_dims(g, axis=axis), expand_dims(y, axis=axis)
        return g * weight(y, x, axis=axis, **params)

    op = Primitive(
        name,
        forward,
        family="reduction",
        rules=[rule],
        samples=samples,
        doc=doc,
        floating=floating,
        analytic=analytic,
        reads=[weight],
    )
    op.statement = weight
    return _register(op, builder, override)


def general(
    name: str,
    forward: Callable[..., Any],
    *rules: Callable[..., Any],
    indexed: Callable[..., Any] | None = None,
    push: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    floating: bool = True,
    promotes: int | None = 0,
    analytic: bool = False,
    partial_cotangents: bool = False,
    override: bool = False,
) -> Any:
    """A primitive that states its VJP: one rule per operand ``(g, y, *xs, **params)``, or
    ``indexed(i, g, y, *xs, **params)`` for any number of operands.

    ``push(tangents, y, *xs, **params)`` may state the forward direction where the transpose of
    the VJP would be wasteful. A forward that returns a tuple makes an operation of several
    outputs; ``g`` and ``y`` are then tuples. With ``partial_cotangents``, ``g`` has None instead
    of zeros for the outputs that nobody used.
    """
    op = Primitive(
        name,
        forward,
        family="general" if indexed is None else "indexed",
        rules=rules if indexed is None else None,
        pull=indexed,
        push=push,
        samples=samples,
        doc=doc,
        floating=floating,
        promotes=promotes,
        analytic=analytic,
        reads=list(rules) if indexed is None else [indexed],
    )
    op.partial_cotangents = partial_cotangents
    op.statement = rules
    return _register(op, _generic, override)


def constant(
    name: str,
    forward: Callable[..., Any],
    *,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    promotes: int | None = None,
) -> Any:
    """An operation without a derivative (comparisons, argmax, ...): its result is off the tape."""
    op = Primitive(
        name,
        forward,
        family="constant",
        samples=samples,
        doc=doc,
        floating=False,
        promotes=promotes,
    )
    return _register(op, _plain, False)


def primitive(
    name: str,
    forward: Callable[..., Any],
    *,
    partials: Sequence[Any] | Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    transposes: Sequence[Callable[..., Any]] | None = None,
    weight: Callable[..., Any] | None = None,
    vjp: Sequence[Callable[..., Any] | None] | Callable[..., Any] | None = None,
    samples: Sequence[Any],
    doc: str | None = None,
    override: bool = False,
    **options: Any,
) -> Any:
    """Add an operation of your own, or replace a known one by a stabler form, in one block.

    ``forward`` computes on NumPy arrays, or scalars for 0-d tensors. It changes none of its
    operands and returns fresh memory; parameters of the operation are keyword-only. State the
    derivative in one of five ways, in tensor ops (they compute on arrays and record on Tensors):

    - ``partials``: elementwise, one function ``(y, *xs)`` (or number) per operand;
    - ``transpose``: linear, ``(g, x, **params)``;
    - ``transposes``: bilinear, a pair of ``(g, y, a, b, **params)``;
    - ``weight``: a reduction, ``(y, x, axis)``, of a ``forward(x, *, axis, keepdims)``; both get
      ``axis`` as a tuple, and ``y`` comes with the reduced dimensions kept as length 1. The
      operation itself takes ``dim`` and ``keepdim`` as ``sum`` does;
    - ``vjp``: anything else, one rule ``(g, y, *xs, **params)`` per operand, None for an operand
      without a derivative. Where the forward returns a tuple, ``g`` and ``y`` are tuples.

    ``samples``: operands inside the domain, off kinks, as tuples of arrays (or ``tg.Sample`` with
    parameters); they drive the derivative tests of everything in the registry. Arguments of a
    rule whose names begin with an underscore are declared unread. ``override=True`` replaces the
    primitive of that name for all its callers.

    ``options``, where the family has them: ``floating=False`` keeps integer operands as they are
    (else they are cast to the default dtype), ``promotes=None`` (with ``vjp``) lets operands of
    different dtypes stay so, ``analytic=True`` says that forward holds for complex arguments.

    Raises ValueError when the name is taken, when not exactly one derivative is stated, or when
    the samples have not one operand per rule.

    >>> import numpy as np, tapegrad as tg
    >>> cube = tg.primitive(
    ...     "doc_cube", lambda x: x * x * x, partials=lambda _y, x: 3 * x * x, samples=[([0.5],)]
    ... )
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    tensor(12.)
    """
    stated = {
        k: v
        for k, v in {
            "partials": partials,
            "transpose": transpose,
            "transposes": transposes,
            "weight": weight,
            "vjp": vjp,
        }.items()
        if v is not None
    }
    if len(stated) != 1:
        raise ValueError(
            f"primitive {name!r}: state the derivative in exactly one way (partials, transpose, "
            f"transposes, weight or vjp), not {sorted(stated) or 'none'}"
        )
    if not samples:
        raise ValueError(f"primitive {name!r} needs samples of its domain, which its tests run on")
    options.update(
        samples=[s if isinstance(s, Sample) else Sample(*s) for s in samples],
        doc=doc,
        override=override,
    )
    for rules in (partials, vjp):
        count = len(rules) if isinstance(rules, (list, tuple)) else 1
        for sample in options["samples"] if rules is not None else ():
            if len(sample.arrays) != count:
                raise ValueError(
                    f"primitive {name!r}: {count} rule(s) are stated, one per operand, but the "
                    f"sample {sample} has {len(sample.arrays)} operand(s)"
                )
    if partials is not None:
        return elementwise(
            name,
            forward,
            *(partials if isinstance(partials, (list, tuple)) else [partials]),
            **options,
        )
    if transpose is not None:
        return linear(name, forward, transpose, **options)
    if transposes is not None:
        return bilinear(name, forward, *transposes, **options)
    if weight is not None:
        return reduction(name, forward, weight, builder=_reducing, **options)
    assert vjp is not None
    pulls = [vjp] if callable(vjp) else [_nothing if rule is None else rule for rule in vjp]
    return general(name, forward, *pulls, **options)


def _nothing(_g: Any, *_values: Any, **_params: Any) -> None:
    """The rule of an operand without a derivative."""
