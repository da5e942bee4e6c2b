"""The reverse walk: the chain rule along the tape, from results down to leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from . import modes
from .batched import WALKING, Batched
from .ops.levels import sum_finished
from .ops.shaping import cast, sum_array_to, sum_to
from .records import (
    CHECKPOINT,
    FIRST,
    LAST_OVERWRITE,
    LEAF,
    NOTE,
    NUMBER,
    OP,
    OUTPUT,
    PARAMS,
    PICK,
    SPENT,
    Freed,
    Note,
    anomaly_message,
    has_nan,
    overwritten_since,
    pick_record,
)
from .registry import Primitive
from .tensors import Tensor, frozen_array, make
from .values import PLAIN, dtype_of, full_like_value, scalar, shape_of

_float32 = np.float32
_new = object.__new__


# -- reverse walk -----------------------------------------------------------------------------
def fit(cotangent: Any, value: Any) -> Any:
    """Undo broadcasting and promotion: give a cotangent the shape and dtype of its operand."""
    if type(cotangent) not in PLAIN or type(value) not in PLAIN:
        return _fit_general(cotangent, value)
    shape = shape_of(value)
    found = shape_of(cotangent)
    if found != shape:
        cotangent = sum_array_to(cotangent, shape)
    if type(value) is ndarray:
        return cotangent if cotangent.dtype is value.dtype else cotangent.astype(value.dtype)
    if type(cotangent) is type(value):
        return cotangent
    return scalar(cotangent, np.dtype(type(value)))


def _fit_general(cotangent: Any, value: Any) -> Any:
    """The same for Tensors (recorded) and for duck arrays."""
    raw = cotangent._value if isinstance(cotangent, Tensor) else cotangent
    if type(raw) is Batched:
        if (
            type(value) is Batched
            and raw.levels == value.levels
            and raw.shape == value.shape
            and raw.array.dtype == value.array.dtype
        ):
            return cotangent
        cotangent = sum_finished(cotangent, value)
    shape, dtype = shape_of(value), dtype_of(value)
    if shape_of(cotangent) != shape:
        cotangent = sum_to(cotangent, shape=shape)
    raw = cotangent._value if isinstance(cotangent, Tensor) else cotangent
    if dtype_of(raw) != dtype:
        cotangent = cast(cotangent, dtype=dtype)
    return cotangent


def refuse_overwritten(record: list[Any]) -> None:
    """Raise when a value that the derivative of a record reads was changed in place since."""
    op, number, operands = record[OP], record[NUMBER], record[FIRST::2]
    if op is CHECKPOINT:  # it computes again from its operands
        saved = [(f"operand {i}", value) for i, value in enumerate(operands)]
    elif not hasattr(op, "reads"):
        return
    else:
        tracked = [r is not None for r in record[FIRST + 1 :: 2]]
        outputs = record[OUTPUT] if type(record[OUTPUT]) is tuple else (record[OUTPUT],)
        saved = op.reads(operands, outputs, tracked)
        for key, value in (record[PARAMS] or {}).items():
            parts = value if type(value) is tuple else (value,)
            saved.extend((f"parameter {key}", part) for part in parts if type(part) is ndarray)
    for name, value in saved:
        if overwritten_since(value, number):
            raise RuntimeError(
                f"a value that the derivative of '{op}' needs ({name}, shape {shape_of(value)}, "
                "dtype "
                f"{dtype_of(value)}) was changed in place after it was used. Compute the gradient "
                "before the change, or change a clone()."
            )


def walk(
    roots: Sequence[tuple[list[Any], Any]],
    *,
    graph: bool,
    retain: bool,
    wanted: dict[int, Any] | None = None,
    stop: bool = False,
) -> dict[int, tuple[list[Any], Any]]:
    """Carry cotangents from ``roots`` down the tape.

    Returns the cotangents that arrived at leaves, at tensors that retain their gradient, and at
    the records whose numbers are in ``wanted``: ``{number: (record, cotangent)}``. With
    ``graph`` cotangents are Tensors and the rules record what they do. With ``stop`` the walk ends
    where parameters of a differentiable optimizer stand (see moving.py).
    """
    token = WALKING.set(True)
    try:
        return _walk(roots, graph, retain, wanted, stop)
    finally:
        WALKING.reset(token)


def _walk(
    roots: Sequence[tuple[list[Any], Any]],
    graph: bool,
    retain: bool,
    wanted: dict[int, Any] | None,
    stop: bool,
) -> dict[int, tuple[list[Any], Any]]:
    # number -> [record, cotangent]: what came to leaves, and what waits for its turn
    arrived: dict[int, Any] = {}
    pending: dict[int, Any] = {}
    allowed = None if wanted is None else _paths_to(roots, wanted)

    def send(record: list[Any], cotangent: Any) -> None:
        number = record[0]
        if allowed is not None and number not in allowed:
            return
        where = arrived if record[1] is LEAF else pending
        known = where.get(number)
        if known is not None:
            cotangent = known[1] + cotangent
        where[number] = [record, cotangent]

    for record, cotangent in roots:
        send(record, cotangent)
    take, waiting, leaves = pending.pop, pending, arrived  # locals, not cells: quicker below
    number = max(pending, default=0)
    patience = 64
    special = modes.current()
    checked = special is not None and special.anomaly and special.check_nan
    fast = not graph and not checked and wanted is None
    held: Any = None  # a record that is next anyway need not wait in the dictionary
    held_g: Any = None
    while True:
        if held is not None:
            record, g, held = held, held_g, None
        elif waiting:
            item = take(number, None)
            if item is None:
                # Numbers are dense in most graphs; across a long gap, jump.
                number -= 1
                patience -= 1
                if patience < 0:
                    number = max(waiting)
                    patience = 64 + len(waiting)
                continue
            record, g = item
        else:
            break
        number -= 1
        size, kind = len(record), type(g)
        if fast and (kind is float or kind is _float32) and (size == 9 or size == 7):
            # Float scalars, one or two operands, nothing special: all of a scalar graph, so
            # unrolled. (A fast path only: the general one below does the same and more.)
            try:
                if size == 9:
                    _, op, y, params, note, a, ra, b, rb = record
                    if params is not None or note is not None:
                        raise ArithmeticError
                    left, right = op.rules
                    if ra is not None:
                        ca = g if left is None else left(g, y, a, b)
                        if type(ca) is not kind or type(a) is not kind:
                            raise ArithmeticError
                    elif type(a) is ndarray:
                        raise ArithmeticError  # a rule may read it: was it overwritten?
                    if rb is None:
                        if type(b) is ndarray:
                            raise ArithmeticError
                    else:
                        cb = g if right is None else right(g, y, a, b)
                        if type(cb) is not kind or type(b) is not kind:
                            raise ArithmeticError
                        n = rb[0]
                        if rb[1] is LEAF:
                            if n in leaves:
                                cell = leaves[n]
                                cell[1] = cell[1] + cb
                            else:
                                leaves[n] = [rb, cb]
                        elif n in waiting:
                            waiting[n][1] = waiting[n][1] + cb
                        elif n == number and rb is not ra:
                            held, held_g = rb, cb
                        else:
                            waiting[n] = [rb, cb]
                else:
                    _, op, y, params, note, a, ra = record
                    if params is not None or note is not None:
                        raise ArithmeticError
                    (left,) = op.rules
                    ca = g if left is None else left(g, y, a)
                    if type(ca) is not kind or type(a) is not kind:
                        raise ArithmeticError
                if ra is not None:
                    n = ra[0]
                    if ra[1] is LEAF:
                        if n in leaves:
                            cell = leaves[n]
                            cell[1] = cell[1] + ca
                        else:
                            leaves[n] = [ra, ca]
                    elif n in waiting:
                        waiting[n][1] = waiting[n][1] + ca
                    elif n == number:
                        held, held_g = ra, ca
                    else:
                        waiting[n] = [ra, ca]
                if not retain:
                    record[4] = SPENT
                continue
            except (ArithmeticError, TypeError):
                # 1/0 or overflow, which raise for Python floats; an operand that is an array; an
                # op without such rules. Nothing was sent yet.
                pass
        note = record[4]
        if note is not None:
            if note.spent:
                raise _spent(record)
            if note.hooks:
                g = _run_hooks(note, g)
            if note.retain:
                arrived[record[0]] = (record, g)
            if stop and note.stop:
                continue
        if wanted is not None and record[0] in wanted:
            arrived[record[0]] = (record, g)
            if not any(r is not None and r[0] in allowed for r in record[FIRST + 1 :: 2]):  # type: ignore[operator]
                continue  # the walk ends here: what lies below is not used up
        if LAST_OVERWRITE[0] > record[0]:
            refuse_overwritten(record)
        if not checked and type(record[1]) is Primitive:
            ready = _rules_applied(record, g, graph, allowed)
            if ready is not None:
                for target, cotangent in ready:
                    n = target[0]
                    if target[1] is LEAF:
                        known = leaves.get(n)
                        leaves[n] = [target, cotangent if known is None else known[1] + cotangent]
                    elif n in waiting:
                        waiting[n][1] = waiting[n][1] + cotangent
                    elif n == number and len(ready) == 1:
                        held, held_g = target, cotangent
                    else:
                        waiting[n] = [target, cotangent]
                if not retain:
                    _spend(record)
                continue
        pairs = contributions(record, g, graph, allowed)
        if checked and graph and record[1] is not CHECKPOINT:
            pairs = _within(record, pairs, special)
        for target, cotangent in pairs:
            if checked:
                _refuse_nan(record, cotangent, g)
            if record[1] is CHECKPOINT and allowed is not None and wanted is not None:
                allowed |= _paths_to([(target, None)], wanted, record[0], allowed)
            if record[1] is PICK:
                _send_pick(pending, target, record[3]["index"], cotangent)
            else:
                send(target, cotangent)
        if record[1] is CHECKPOINT:  # it put freshly recorded work, with higher numbers, before us
            number = max(pending, default=0)
        if not retain:
            _spend(record)
    for record, g in list(arrived.values()):
        note = record[NOTE]
        if record[OP] is LEAF and note is not None and note.hooks:
            arrived[record[NUMBER]] = (record, _run_hooks(note, g))
    return arrived


def _paths_to(
    roots: Sequence[tuple[list[Any], Any]],
    wanted: dict[int, Any],
    floor: int = 0,
    known: set[int] | None = None,
) -> set[int]:
    """Numbers of the records that lie on a path from a root to a wanted record.

    For those with numbers below ``floor``, ``known`` says so already.
    """
    lowest = max(min(wanted, default=0), floor)
    found: dict[int, list[Any]] = {}
    stack = [record for record, _ in roots if record[NUMBER] >= lowest]
    while stack:
        record = stack.pop()
        number = record[0]
        if number not in found:
            found[number] = record
            for r in record[6::2]:
                if r is not None and r[0] >= lowest and r[0] not in found:
                    stack.append(r)
    allowed = {n for n in wanted if n in found}
    if known is not None:
        allowed |= known
    for number in sorted(found):
        for r in found[number][6::2]:
            if r is not None and r[0] in allowed:
                allowed.add(number)
                break
    return allowed


def _rules_applied(
    record: list[Any], g: Any, graph: bool, allowed: set[int] | None
) -> list[tuple[list[Any], Any]] | None:
    """What :func:`contributions` gives, in the common case; None where that one should look.

    A fast path only: one output, a rule for each operand.
    """
    op, y, params = record[1], record[2], record[3]
    rules = op.rules
    if rules is None or op.parts is not None or type(y) is tuple:
        return None
    ready = []
    operands = values = record[5::2]
    if graph:
        operands = on_tape(values, record[6::2])
        y = make(y, record)
    i = FIRST
    try:
        for rule in rules:
            target = record[i + 1]
            if target is not None and (allowed is None or target[0] in allowed):
                if rule is None:
                    cotangent = g
                elif params is None:
                    cotangent = rule(g, y, *operands)
                else:
                    cotangent = rule(g, y, *operands, **params)
                if cotangent is not None:
                    value = record[i]
                    raw = cotangent._value if type(cotangent) is Tensor else cotangent
                    if (
                        type(raw) is not ndarray
                        or type(value) is not ndarray
                        or raw.shape != value.shape
                        or raw.dtype is not value.dtype
                    ):
                        cotangent = fit(cotangent, value)
                    ready.append((target, cotangent))
            i += 2
    except ArithmeticError:  # 1/0 or an overflow of Python's floats
        return None
    return ready


def contributions(
    record: list[Any], g: Any, graph: bool, allowed: set[int] | None = None
) -> Iterator[tuple[list[Any], Any]]:
    """What each tracked operand of a record gets: (operand's record, cotangent)."""
    op = record[OP]
    if op is PICK:
        yield record[FIRST + 1], g
        return
    if op is CHECKPOINT:
        fresh = record[PARAMS]["recompute"](record)
        if type(fresh) is not tuple:
            yield fresh, g
            return
        for made, cotangent in zip(fresh, g, strict=True):
            if made is not None and cotangent is not None:
                yield made, cotangent
        return
    params = record[PARAMS] or {}
    values, records = record[FIRST::2], record[FIRST + 1 :: 2]
    y = record[OUTPUT]
    several = type(y) is tuple
    if several:
        g = tuple(g) if op.partial_cotangents else _fill_missing(g, y, graph)
    if graph:
        operands = on_tape(values, records)
        result = _outputs_of(record) if several else make(y, record)
    else:
        operands, result = values, y
    part = None if op.parts is None else op.parts(g, result, operands, **params)
    for i, target in enumerate(records):
        if target is None or (allowed is not None and target[NUMBER] not in allowed):
            continue
        if part is not None:
            yield target, fit(part(i), values[i])
            continue
        try:
            cotangent = op.pull(i, g, result, operands, params)
        except ArithmeticError:
            # A rule on Python floats hit 1/0 or an overflow: NumPy's scalars carry on to inf.
            with np.errstate(all="ignore"):
                cotangent = op.pull(
                    i,
                    _numpy_scalar(g),
                    _numpy_scalar(result),
                    [_numpy_scalar(v) for v in operands],
                    params,
                )
        if cotangent is not None:
            yield target, fit(cotangent, values[i])


def on_tape(values: Sequence[Any], records: Sequence[Any]) -> list[Tensor]:
    """Tensors on the operands of a record. A Python int there was a weak number beside floats: as
    an integer tensor it would promote to the default dtype, and 1/3 be rounded to float32."""
    found = []
    for value, record in zip(values, records, strict=True):
        operand: Tensor = _new(Tensor)
        operand._value = float(value) if type(value) is int else value
        operand._record = record
        found.append(operand)
    return found


def _numpy_scalar(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(_numpy_scalar(v) for v in value)
    return np.float64(value) if type(value) is float else value


def _outputs_of(record: list[Any]) -> tuple[Any, ...]:
    """Tensors on the several outputs of a record; integers among them are off the tape."""
    return tuple(
        make(v, pick_record(record, i) if dtype_of(v).kind not in "iub" else None)
        for i, v in enumerate(record[OUTPUT])
    )


def _send_pick(pending: dict[int, Any], target: list[Any], index: int, cotangent: Any) -> None:
    number = target[NUMBER]
    if number not in pending:
        pending[number] = (target, [None] * len(target[OUTPUT]))
    slots = pending[number][1]
    slots[index] = cotangent if slots[index] is None else slots[index] + cotangent


def _fill_missing(g: list[Any], outputs: tuple[Any, ...], graph: bool) -> tuple[Any, ...]:
    """Zeros for the outputs that nobody used."""
    filled = []
    for cotangent, value in zip(g, outputs, strict=True):
        if cotangent is None:
            cotangent = full_like_value(0.0, value)
            if graph:
                cotangent = make(cotangent, None)
        filled.append(cotangent)
    return tuple(filled)


def _spend(record: list[Any]) -> None:
    """Mark a record used up and let go of its arrays; their shapes stay for pictures."""
    note = record[4]
    if note is None:
        record[4] = SPENT
    else:
        note.spent = True
    left: Any = None
    i, size = OUTPUT, len(record)
    while i < size:
        value = record[i]
        if type(value) is ndarray or type(value) is Batched:
            if left is None or left.shape != value.shape or left.dtype is not value.dtype:
                left = Freed(value)
            record[i] = left
        i += 2 if i > OUTPUT else FIRST - OUTPUT


def _spent(record: list[Any]) -> RuntimeError:
    return RuntimeError(
        f"backward through '{record[OP]}' (output shape {shape_of(record[OUTPUT])}) a second time: "
        "its saved values are gone. Say retain_graph=True in the first backward() or grad() to "
        "go through the same graph again."
    )


def _run_hooks(note: Note, g: Any) -> Any:
    """Let hooks see, and perhaps replace, a cotangent.

    They get a handle of their own on read-only memory: the array may be the cotangent of another
    operand too, which a hook that changes it in place must not reach.
    """
    for hook in list((note.hooks or {}).values()):
        is_raw = not isinstance(g, Tensor)
        raw = g if is_raw else g._value
        handle = make(
            frozen_array(raw) if type(raw) is ndarray else raw, None if is_raw else g._record
        )
        changed = hook(handle)
        if changed is None:
            continue
        if (
            not isinstance(changed, Tensor)
            or changed.shape != handle.shape
            or changed.dtype != handle.dtype
        ):
            raise RuntimeError(
                f"a hook must return None or a Tensor of shape {handle.shape} and dtype "
                f"{handle.dtype}, not {getattr(changed, 'shape', type(changed).__name__)} "
                f"{getattr(changed, 'dtype', '')}"
            )
        raw = changed._value.copy() if type(changed._value) is ndarray else changed._value
        g = raw if is_raw else make(raw, changed._record)
    return g


def _within(record: list[Any], pairs: Iterator[Any], mode: Any) -> Iterator[Any]:
    """The same, where what the rule records is known as part of the derivative of ``record``. Its
    NaNs are left to the caller, who names the operation that the user wrote."""
    inside = part_of(record, mode)
    while True:
        token = modes.MODE.set(inside)
        try:
            pair = next(pairs)
        except StopIteration:
            return
        finally:
            modes.MODE.reset(token)
        yield pair


def part_of(record: list[Any], mode: Any) -> Any:
    """The anomaly mode in which a rule of ``record`` runs."""
    stack = record[NOTE].stack if record[NOTE] is not None else None
    return mode._replace(check_nan=False, within=(str(record[OP]), stack))


def _refuse_nan(record: list[Any], cotangent: Any, incoming: Any) -> None:
    value = cotangent._value if isinstance(cotangent, Tensor) else cotangent
    if has_nan(value):
        raise RuntimeError(anomaly_message(record, "the backward rule of", incoming))
