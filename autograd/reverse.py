"""The reverse walk: the chain rule along the tape, from results down to leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from . import modes
from .batched import ACTIVE, WALKING, Batched
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
    note_of,
    overwritten_since,
    pick_record,
)
from .scopes import INPUTS, leaves_within
from .tensors import Tensor, frozen_array, make, tensor
from .values import PLAIN, dtype_of, full_like_value, scalar, shape_of

_float32 = np.float32


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
    if (
        type(cotangent) is Batched
        and type(value) is Batched
        and cotangent.levels == value.levels
        and cotangent.shape == value.shape
        and cotangent.array.dtype == value.array.dtype
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
) -> dict[int, tuple[list[Any], Any]]:
    """Carry cotangents from ``roots`` down the tape.

    Returns the cotangents that arrived at leaves, at tensors that retain their gradient, and at
    the records whose numbers are in ``wanted``: ``{number: (record, cotangent)}``. With
    ``graph`` cotangents are Tensors and the rules record what they do.
    """
    token = WALKING.set(True)
    try:
        return _walk(roots, graph, retain, wanted)
    finally:
        WALKING.reset(token)


def _walk(
    roots: Sequence[tuple[list[Any], Any]], graph: bool, retain: bool, wanted: dict[int, Any] | None
) -> dict[int, tuple[list[Any], Any]]:
    arrived: dict[int, tuple[list[Any], Any]] = {}
    pending: dict[int, tuple[list[Any], Any]] = {}
    allowed = None if wanted is None else _paths_to(roots, wanted)

    def send(record: list[Any], cotangent: Any) -> None:
        number = record[0]
        if allowed is not None and number not in allowed:
            return
        where = arrived if record[1] is LEAF else pending
        known = where.get(number)
        if known is not None:
            cotangent = known[1] + cotangent
        where[number] = (record, cotangent)

    for record, cotangent in roots:
        send(record, cotangent)
    take, waiting, leaves = pending.pop, pending, arrived  # locals, not cells: quicker below
    number = max(pending, default=0)
    patience = 64
    special = modes.current()
    checked = special is not None and special.anomaly and special.check_nan
    fast = not graph and not checked and wanted is None
    while waiting:
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
        number -= 1
        size, kind = len(record), type(g)
        if (
            fast
            and (kind is float or kind is _float32)
            and size <= 9
            and record[3] is None
            and record[4] is None
        ):
            # Float scalars, one or two operands, nothing special: all of a scalar graph, so
            # unrolled. (A fast path only: the general one below does the same and more.)
            try:
                if size == 9:
                    _, op, y, _, _, a, ra, b, rb = record
                    left, right = op.rules
                    if ra is not None:
                        ca = g if left is None else left(g, y, a, b)
                        if type(ca) is not kind or type(a) is not kind:
                            raise ArithmeticError
                    if rb is not None:
                        cb = g if right is None else right(g, y, a, b)
                        if type(cb) is not kind or type(b) is not kind:
                            raise ArithmeticError
                        n = rb[0]
                        if rb[1] is LEAF:
                            leaves[n] = (rb, leaves[n][1] + cb if n in leaves else cb)
                        else:
                            waiting[n] = (rb, waiting[n][1] + cb if n in waiting else cb)
                else:
                    _, op, y, _, _, a, ra = record
                    (left,) = op.rules
                    ca = g if left is None else left(g, y, a)
                    if type(ca) is not kind or type(a) is not kind:
                        raise ArithmeticError
                if ra is not None:
                    n = ra[0]
                    if ra[1] is LEAF:
                        leaves[n] = (ra, leaves[n][1] + ca if n in leaves else ca)
                    else:
                        waiting[n] = (ra, waiting[n][1] + ca if n in waiting else ca)
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
        if wanted is not None and record[0] in wanted:
            arrived[record[0]] = (record, g)
            if not any(r is not None and r[0] in allowed for r in record[FIRST + 1 :: 2]):  # type: ignore[operator]
                continue  # the walk ends here: what lies below is not used up
        if LAST_OVERWRITE[0] > record[0]:
            refuse_overwritten(record)
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
    stack = [record for record, _ in roots]
    while stack:
        record = stack.pop()
        if record[NUMBER] in found or record[NUMBER] < lowest:
            continue
        found[record[NUMBER]] = record
        stack.extend(r for r in record[FIRST + 1 :: 2] if r is not None)
    allowed = {n for n in wanted if n in found}
    if known is not None:
        allowed |= known
    for number in sorted(found):
        if number not in allowed and any(
            r is not None and r[NUMBER] in allowed for r in found[number][FIRST + 1 :: 2]
        ):
            allowed.add(number)
    return allowed


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
    part = None if op.parts is None else op.parts(g, operands, **params)
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
    return [
        make(float(v) if type(v) is int else v, r) for v, r in zip(values, records, strict=True)
    ]


def _numpy_scalar(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(_numpy_scalar(v) for v in value)
    return np.float64(value) if type(value) is float else value


def _outputs_of(record: list[Any]) -> tuple[Any, ...]:
    """Tensors on the several outputs of a record."""
    return tuple(make(v, pick_record(record, i)) for i, v in enumerate(record[OUTPUT]))


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
    if record[NOTE] is None:
        record[NOTE] = SPENT
    else:
        record[NOTE].spent = True
    for i in (OUTPUT, *range(FIRST, len(record), 2)):
        if type(record[i]) is ndarray or type(record[i]) is Batched:
            record[i] = Freed(record[i])


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


# -- what users call --------------------------------------------------------------------------
_deliver_lock = threading.Lock()


def _tensors(given: Any, what: str) -> list[Tensor]:
    """A tensor or a sequence of them as a list."""
    if isinstance(given, Tensor):
        return [given]
    try:
        found = list(given)
    except TypeError:
        raise TypeError(
            f"{what} must be a Tensor or a sequence, not {type(given).__name__}"
        ) from None
    for i, x in enumerate(found):
        if not isinstance(x, Tensor):
            raise TypeError(f"{what}[{i}] is a {type(x).__name__}, not a Tensor")
    return found


def _seed(output: Any, gradient: Any, graph: bool, what: str) -> Any:
    """The cotangent to start with, checked against the output."""
    value = output._value
    if output._record is None:
        raise RuntimeError(
            f"{what}: the tensor (shape {output.shape}, dtype {output.dtype}) is not on the tape: "
            "no operand required a gradient, or it was computed under no_grad() or detached. "
            "Make a leaf with requires_grad=True."
        )
    if gradient is None:
        if type(value) is float:
            raw: Any = 1.0
        elif output.shape == () or (type(value) is ndarray and value.size == 1):
            raw = full_like_value(1.0, value)
        else:
            raise RuntimeError(
                f"{what} of a tensor of shape {output.shape} needs a gradient of that shape; only "
                "a scalar's defaults to 1. Reduce it first (.sum(), .mean()) or pass gradient=."
            )
        return make(raw, None) if graph else raw
    if not isinstance(gradient, Tensor):
        gradient = tensor(gradient, dtype=output.dtype)
    if gradient.shape != output.shape:
        raise RuntimeError(
            f"{what}: gradient has shape {gradient.shape}, but the tensor has shape {output.shape}"
        )
    if gradient.dtype != output.dtype:
        gradient = cast(gradient, dtype=output.dtype)
    return gradient if graph else gradient._value


def _deliver(
    arrived: dict[int, tuple[list[Any], Any]], only: set[int] | None, taken: list[Any]
) -> list[tuple[Any, Any]]:
    """Add what arrived to ``.grad``, by rebinding, never in place. Gives the hooks to be called,
    each with its leaf, which may start another backward pass."""
    seen = {id(v) for v in taken}
    levels = ACTIVE.get()
    called: list[tuple[Any, Any]] = []
    with _deliver_lock:
        for number, (record, g) in arrived.items():
            note = record[NOTE]
            handle = note.handle() if note is not None and note.handle is not None else None
            # A parameter that moved on to another record is not where this gradient belongs.
            if handle is None or handle._record is not record:
                continue
            if only is not None and number not in only:
                continue
            if levels and number < levels[-1].number:
                raise _outside_of_map(handle)
            g = _own(g, seen)
            known = handle._grad
            if known is not None:
                g = (
                    known + g
                    if g._record is not None or known._record is not None
                    else _add(known, g)
                )
            handle._grad = g
            if note is not None and note.after:
                called += ((hook, handle) for hook in list(note.after.values()))
    return called


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> Any:
    """Call ``hook(self)`` whenever a backward pass has added to the ``.grad`` of this leaf.

    For work that need not wait for all gradients, such as the step of an optimizer with one
    parameter, after which the gradient can be let go. Recording is off in the hook, unless the
    backward pass is recorded. Returns a handle with ``remove()``. RuntimeError for a tensor that
    is no leaf, or requires no gradient.

    >>> import tapegrad as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> handle = w.register_post_accumulate_grad_hook(lambda p: p.sub_(0.5 * p.grad))
    >>> (w * w).backward()
    >>> w
    tensor(0., requires_grad=True)
    """
    if self._record is None:
        raise RuntimeError(
            "register_post_accumulate_grad_hook() on a tensor that does not require a gradient"
        )
    if not self.is_leaf:
        raise RuntimeError(
            "register_post_accumulate_grad_hook() on a tensor that is no leaf (made by "
            f"'{self._record[OP]}', shape {self.shape}): post accumulate grad hooks cannot be "
            "registered on non-leaf tensors. Use register_hook()."
        )
    return note_of(self._record).add_hook(hook, after=True)


def _outside_of_map(handle: Any) -> RuntimeError:
    return RuntimeError(
        "backward() inside vmap reached a leaf made outside of it (shape "
        f"{handle.shape}), whose .grad cannot hold a gradient for every example: use tg.func.grad "
        "or tg.grad, which return it, or backward(inputs=...) with tensors made inside"
    )


def _own(g: Any, seen: set[int]) -> Tensor:
    """A handle for the user on a cotangent, with memory of its own: the array may be the seed,
    or the cotangent of another tensor too."""
    record, value = (g._record, g._value) if isinstance(g, Tensor) else (None, g)
    array = value.array if type(value) is Batched else value
    if type(array) is ndarray:
        if array.base is not None or id(array) in seen:
            value = value.copy()
        seen.add(id(value.array if type(value) is Batched else value))
    return make(value, record)


def _add(a: Any, b: Any) -> Any:
    return make(a._value + b._value, None)


def backward(
    self: Any,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add d(self)/d(leaf) to the ``.grad`` of every leaf that this tensor was computed from.

    ``gradient``: the cotangent, of the tensor's shape; may be left out for a one-element tensor.
    ``retain_graph``: keep saved values so that the graph can be walked again (default:
    ``create_graph``). ``create_graph``: record the backward pass itself, for higher derivatives.
    ``inputs``: only these tensors get ``.grad``.

    Raises RuntimeError when the tensor is not on the tape, is not a scalar and no gradient is
    given, was already walked without ``retain_graph``, or a saved value was changed in place.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """
    retain = create_graph if retain_graph is None else retain_graph
    _accumulate([(self, gradient)], retain, create_graph, inputs)


def backward_from(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """The backward pass of several tensors at once, ``tg.autograd.backward``.

    Adds the derivatives of their sum to the ``.grad`` of every leaf. ``tensors``: a tensor or a
    sequence; ``grad_tensors``: their cotangents, None for that of a one-element tensor, which is
    1. The rest as for :meth:`Tensor.backward`.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.autograd.backward([x.sum(), x * x], [None, tg.tensor([1.0, 10.0])])
    >>> x.grad
    tensor([ 3., 41.])
    """
    tensors = _tensors(tensors, "backward(): tensors")
    if grad_tensors is None or isinstance(grad_tensors, Tensor):
        grad_tensors = [grad_tensors] * len(tensors) if grad_tensors is None else [grad_tensors]
    if len(grad_tensors) != len(tensors):
        raise RuntimeError(
            f"backward(): {len(tensors)} tensors but {len(grad_tensors)} grad_tensors"
        )
    retain = create_graph if retain_graph is None else retain_graph
    _accumulate(list(zip(tensors, grad_tensors, strict=True)), retain, create_graph, inputs)


def _accumulate(
    pairs: list[tuple[Any, Any]], retain: bool, create_graph: bool, inputs: Any
) -> None:
    """Walk from tensors with their cotangents, and add what arrives to ``.grad``."""
    roots = [(y._record, _seed(y, g, create_graph, "backward()")) for y, g in pairs]
    only: set[int] | None = None
    wanted: dict[int, Any] | None = None
    if inputs is not None:
        inputs = _tensors(inputs, "backward(): inputs")
        if not inputs:
            raise RuntimeError(
                "backward(inputs=[]) has nothing to do: leave inputs out, or name some"
            )
        for i, x in enumerate(inputs):
            if x._record is None:
                raise RuntimeError(
                    f"backward(): inputs[{i}] (shape {x.shape}) does not require a gradient"
                )
            if not x.is_leaf:
                x.retain_grad()
        wanted = {x._record[NUMBER]: None for x in inputs}
        only = set(wanted)
    elif INPUTS.get():  # inside a function being transformed: not beyond its inputs
        wanted = {n: None for record, _ in roots for n in leaves_within(record)}
    seeds = [getattr(seed, "_value", seed) for _, seed in roots]
    if create_graph:
        with modes.enable_grad():
            arrived = walk(roots, graph=True, retain=retain, wanted=wanted)
            hooks = _deliver(arrived, only, seeds)
    else:
        arrived = walk(roots, graph=False, retain=retain, wanted=wanted)
        hooks = _deliver(arrived, only, seeds)
    if hooks:
        with modes.set_grad_enabled(create_graph):
            for hook, handle in hooks:
                hook(handle)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of (the sum of) ``outputs`` by ``inputs``, without touching any ``.grad``.

    ``outputs``, ``inputs``: a tensor or a sequence; ``grad_outputs``: cotangents of the outputs.
    Returns a tuple, one gradient per input. An input that no output depends on is an error
    unless ``allow_unused`` (then None) or ``materialize_grads`` (then zeros).
    ``is_grads_batched``: ``grad_outputs`` have one more dimension in front, over which the
    gradients are mapped by :func:`vmap`; so has every result.

    >>> import tapegrad as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (first,) = tg.grad(x**3, x, create_graph=True)
    >>> (second,) = tg.grad(first, x)
    >>> first.item(), second.item()
    (27.0, 18.0)
    """
    outputs = _tensors(outputs, "grad(): outputs")
    inputs = _tensors(inputs, "grad(): inputs")
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs] * len(outputs) if grad_outputs is None else [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise RuntimeError(f"grad(): {len(outputs)} outputs but {len(grad_outputs)} grad_outputs")
    for i, x in enumerate(inputs):
        if x._record is None:
            raise RuntimeError(
                f"grad(): inputs[{i}] (shape {x.shape}, dtype {x.dtype}) does not require a "
                "gradient: make it a leaf with requires_grad=True before computing the outputs"
            )
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        mapped = _mapped_gradients(outputs, inputs, grad_outputs, retain, create_graph)
        return tuple(
            _unused(x, i, bool(allow_unused), materialize_grads, len(grad_outputs[0]))
            if g is None
            else g
            for i, (x, g) in enumerate(zip(inputs, mapped, strict=True))
        )
    wanted = {x._record[NUMBER]: None for x in inputs}
    roots = [
        (y._record, _seed(y, g, create_graph, "grad()"))
        for y, g in zip(outputs, grad_outputs, strict=True)
    ]
    if create_graph:
        from .modes import enable_grad

        with enable_grad():
            arrived = walk(roots, graph=True, retain=retain, wanted=wanted)
    else:
        arrived = walk(roots, graph=False, retain=retain, wanted=wanted)
    results: list[Any] = []
    seen = {id(getattr(seed, "_value", seed)) for _, seed in roots}
    for i, x in enumerate(inputs):
        found = arrived.get(x._record[NUMBER])
        if found is not None:
            results.append(_own(found[1], seen))
        else:
            results.append(_unused(x, i, bool(allow_unused), materialize_grads))
    return tuple(results)


def _unused(
    x: Tensor, i: int, allowed: bool, materialize: bool, count: int | None = None
) -> Tensor | None:
    """What there is instead of the gradient of an input that no output depends on."""
    if materialize:
        zeros = make(full_like_value(0.0, x._value), None)
        return zeros if count is None else _stack([zeros] * count)
    if allowed:
        return None
    raise RuntimeError(
        f"grad(): there is no path from the outputs to inputs[{i}] (shape {x.shape}"
        f"{', name ' + repr(x.name) if x.name else ''}). Was it used, or cut by detach(), "
        "no_grad() or numpy()? Say allow_unused=True to get None instead."
    )


def _stack(parts: list[Tensor]) -> Tensor:
    from .functions.joining import stack

    return stack(parts)  # type: ignore[no-any-return]


def _mapped_gradients(
    outputs: list[Tensor], inputs: list[Tensor], cotangents: Any, retain: bool, graph: bool
) -> list[Any]:
    """The gradients for each of many cotangents, which lie along the first dimension."""
    from .batching import vmap

    for i, (y, g) in enumerate(zip(outputs, cotangents, strict=True)):
        if getattr(g, "shape", None) is None or tuple(g.shape[1:]) != y.shape or not g.shape:
            raise RuntimeError(
                f"grad(): with is_grads_batched=True, grad_outputs[{i}] must be a tensor of shape "
                f"(count, {', '.join(map(str, y.shape))}), not "
                f"{getattr(g, 'shape', type(g).__name__)}"
            )
    reached: list[int] = []

    def one(*given: Tensor) -> Any:
        found = grad(outputs, inputs, given, retain, graph, True)
        reached[:] = [i for i, g in enumerate(found) if g is not None]
        return tuple(found[i] for i in reached)

    results = vmap(one)(*cotangents)
    found = dict(zip(reached, results, strict=True))
    return [found.get(i) for i in range(len(inputs))]
