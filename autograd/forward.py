"""The forward walk: tangents along the tape, from leaves up to results.

The same records serve: each family knows from its one statement how a tangent passes, and a
primitive that states only a VJP passes it through the transpose of that VJP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import modes
from .batched import WALKING
from .ops.shaping import cast, expand
from .records import (
    CHECKPOINT,
    FIRST,
    LAST_OVERWRITE,
    LEAF,
    NUMBER,
    OP,
    OUTPUT,
    PARAMS,
    PICK,
    anomaly_message,
    has_nan,
    new_leaf_record,
)
from .reverse import (
    _fit_general,
    _numpy_scalar,
    _outputs_of,
    on_tape,
    part_of,
    refuse_overwritten,
    walk,
)
from .tensors import Tensor, make
from .values import dtype_of, full_like_value, shape_of


def push_forward(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], tangents: Sequence[Tensor], graph: bool
) -> list[Tensor | None]:
    """The tangents of ``outputs`` when ``inputs`` (on the tape) move along ``tangents``.

    None for an output that no input reaches. With ``graph`` the tangents are recorded.
    """
    known: dict[int, Any] = {}
    for x, t in zip(inputs, tangents, strict=True):
        known[x._record[NUMBER]] = t if graph else t._value  # type: ignore[index]
    token = WALKING.set(True)
    try:
        _carry([y._record for y in outputs if y._record is not None], known, graph)
    finally:
        WALKING.reset(token)
    results: list[Tensor | None] = []
    for y in outputs:
        found = None if y._record is None else known.get(y._record[NUMBER])
        results.append(found if found is None or isinstance(found, Tensor) else make(found, None))
    return results


def _carry(roots: Sequence[list[Any]], known: dict[int, Any], graph: bool, floor: int = 0) -> None:
    """Fill ``known`` (number -> tangent) for everything between it and the roots.

    What has a number below ``floor`` has been dealt with.
    """
    lowest = max(min(known, default=0), floor)
    found: dict[int, list[Any]] = {}
    stack = list(roots)
    while stack:
        record = stack.pop()
        if record[NUMBER] in found or record[NUMBER] < lowest:
            continue
        found[record[NUMBER]] = record
        stack.extend(r for r in record[FIRST + 1 :: 2] if r is not None)
    mode = modes.current()
    checked = mode is not None and mode.anomaly and mode.check_nan
    for number in sorted(found):
        record = found[number]
        if number in known or record[OP] is LEAF:
            continue
        if record[OP] is CHECKPOINT:
            _carry_again(record, known, graph)
            continue
        ts: list[Any] = [
            None if r is None else known.get(r[NUMBER]) for r in record[FIRST + 1 :: 2]
        ]
        if all(t is None for t in ts):
            continue
        if record[OP] is PICK:
            known[number] = ts[0][record[PARAMS]["index"]]
            continue
        if LAST_OVERWRITE[0] > number:
            refuse_overwritten(record)
        if checked:
            known[number] = _push_checked(record, ts, graph, mode)
            continue
        try:
            known[number] = _push(record, ts, graph)
        except ArithmeticError:
            # A rule on Python floats hit 1/0 or an overflow: NumPy's scalars carry on to inf.
            with np.errstate(all="ignore"):
                known[number] = _push(numpy_scalars(record), [_numpy_scalar(t) for t in ts], graph)


def numpy_scalars(record: list[Any]) -> list[Any]:
    """The record with NumPy's scalars in the place of Python's floats."""
    again = [*record[:OUTPUT], _numpy_scalar(record[OUTPUT]), *record[OUTPUT + 1 :]]
    again[FIRST::2] = [_numpy_scalar(v) for v in record[FIRST::2]]
    return again


def _push_checked(record: list[Any], ts: list[Any], graph: bool, mode: Any) -> Any:
    """The same in anomaly mode: a tangent that is NaN is refused, by the user's operation."""
    token = modes.MODE.set(part_of(record, mode))
    try:
        with np.errstate(all="ignore"):
            moved = _push(numpy_scalars(record), [_numpy_scalar(t) for t in ts], graph)
    finally:
        modes.MODE.reset(token)
    for tangent in moved if type(moved) is tuple else (moved,):
        if has_nan(getattr(tangent, "_value", tangent)):
            known = [getattr(t, "_value", t) for t in ts if t is not None]
            before = next((t for t in known if has_nan(t)), known[0])
            raise RuntimeError(anomaly_message(record, "the forward-mode rule of", before))
    return moved


def _carry_again(record: list[Any], known: dict[int, Any], graph: bool) -> None:
    """The tangents of a checkpoint's outputs, through the records it makes anew."""
    if all(r is None or r[NUMBER] not in known for r in record[FIRST + 1 :: 2]):
        return
    fresh = record[PARAMS]["recompute"](record)
    several = type(fresh) is tuple
    inner = [r for r in (fresh if several else (fresh,)) if r is not None]
    _carry(inner, known, graph, floor=record[NUMBER])
    if not several:
        if fresh[NUMBER] in known:
            known[record[NUMBER]] = known[fresh[NUMBER]]
        return
    tangents = []
    for value, made in zip(record[OUTPUT], fresh, strict=True):
        t = None if made is None else known.get(made[NUMBER])
        if t is None:
            t = full_like_value(0.0, value)
            t = make(t, None) if graph else t
        tangents.append(t)
    known[record[NUMBER]] = tuple(tangents)


def _push(record: list[Any], ts: list[Any], graph: bool) -> Any:
    """The tangent of one record's output (a tuple where it has several)."""
    op, y, params = record[OP], record[OUTPUT], record[PARAMS] or {}
    values, records = record[FIRST::2], record[FIRST + 1 :: 2]
    if op.family == "linear" and len(values) == 1:
        return op.function(ts[0], **params)
    if graph:
        xs: list[Any] = on_tape(values, records)
        out: Any = _outputs_of(record) if type(y) is tuple else make(y, record)
    else:
        xs, out = values, y
    if op.push_rule is not None:
        return _as(op.push_rule(ts, out, *xs, **params), y)
    if op.family == "elementwise":
        total: Any = None
        for i, t in enumerate(ts):
            if t is not None:
                term = op.pull(i, t, out, xs, params)  # t * partial: the rule is its own transpose
                if term is not None:
                    total = term if total is None else total + term
        return _as(total, y)
    if op.family == "linear":
        full = [
            full_like_value(0.0, v) if t is None else t for t, v in zip(ts, values, strict=True)
        ]
        return op.function(*full, **params)
    if op.family == "bilinear":
        a, b = xs
        left = None if ts[0] is None else op.function(ts[0], b, **params)
        right = None if ts[1] is None else op.function(a, ts[1], **params)
        return left if right is None else right if left is None else left + right
    if op.family == "reduction":
        from .ops.reductions import sum
        from .ops.shaping import expand_dims

        axis, keepdims = params["axis"], params["keepdims"]
        rest = {k: v for k, v in params.items() if k not in ("axis", "keepdims")}
        kept = out if keepdims else expand_dims(out, axis=axis)
        weight = op.statement(kept, xs[0], axis=axis, **rest)
        return _as(sum(weight * ts[0], axis=axis, keepdims=keepdims), y)
    return _transposed(record, ts, graph)


def _as(tangent: Any, y: Any) -> Any:
    """The tangent in the shape and dtype of the output."""
    if type(y) is tuple:
        return tuple(_as(t, v) for t, v in zip(tangent, y, strict=True))
    if tangent is None:
        return full_like_value(0.0, y)
    raw = getattr(tangent, "_value", tangent)
    if shape_of(raw) != shape_of(y):
        tangent = expand(tangent, shape=shape_of(y))
    if dtype_of(raw) != dtype_of(y):
        tangent = cast(tangent, dtype=dtype_of(y))
    return tangent


def _transposed(record: list[Any], ts: list[Any], graph: bool) -> Any:
    """A rule that states only its VJP: the VJP is linear in g, so its transpose is the JVP."""
    from .modes import enable_grad

    op, y, params = record[OP], record[OUTPUT], record[PARAMS] or {}
    values, records = record[FIRST::2], record[FIRST + 1 :: 2]
    several = type(y) is tuple
    with enable_grad():
        g = []
        for v in y if several else (y,):
            dummy = make(full_like_value(0.0, v), None)
            if dtype_of(v).kind == "f":
                dummy._record = new_leaf_record(dummy)
            g.append(dummy)
        tracked = [i for i, t in enumerate(ts) if t is not None]
        xs = on_tape(values, records if graph else [None] * len(records))
        if several:
            out: Any = _outputs_of(record) if graph else tuple(make(v, None) for v in y)
        else:
            out = make(y, record if graph else None)
        roots = []
        for i in tracked:
            c = op.pull(i, tuple(g) if several else g[0], out, xs, params)
            if c is not None:
                c = _fit_general(c, values[i])
                if c._record is not None:
                    t = ts[i]
                    t = t if isinstance(t, Tensor) else make(t, None)
                    roots.append((c._record, t if graph else t._value))
        wanted = {d._record[NUMBER]: None for d in g if d._record is not None}
        arrived = walk(roots, graph=graph, retain=True, wanted=wanted) if roots else {}
    found: list[Any] = []
    for dummy, v in zip(g, y if several else (y,), strict=True):
        at = None if dummy._record is None else arrived.get(dummy._record[NUMBER])
        found.append(full_like_value(0.0, v) if at is None else at[1])
    return tuple(found) if several else found[0]
