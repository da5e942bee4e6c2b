"""The tape: what an operation leaves behind.

A record is one flat list::

    [number, op, output, params, note, x0, record0, x1, record1, ...]

with the raw output, the keyword parameters (or None), a :class:`Note` (or None), and for each
operand its raw value and the record that made it (or None when it is a constant). It holds no
handles, so a parameter that is updated later leaves old records with the old values, and a
graph is freed by reference counting as soon as its last handle goes. Records are numbered as
they are made; an operation always has a higher number than its operands, so walking numbers
downwards visits every operation after all of its users, without recursion or sorting.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from .batched import Batched
from .values import PLAIN, shape_of

NUMBER, OP, OUTPUT, PARAMS, NOTE, FIRST = 0, 1, 2, 3, 4, 5
next_number = itertools.count(1).__next__


class _Name:
    """The op of a record that is no primitive; prints as its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


LEAF = _Name("leaf")
PICK = _Name("pick")  # one output of an operation that has several
CHECKPOINT = _Name("checkpoint")  # recomputed when a walk arrives


class Note:
    """The rare extras of a record: who wants its gradient, hooks, where it was called."""

    __slots__ = (
        *("handle", "retain", "hooks", "after", "spent", "stack", "stop", "plain"),
        "__weakref__",
    )

    def __init__(self) -> None:
        self.handle: Any = None  # weak reference to the tensor that wants .grad
        self.retain = False
        self.hooks: dict[int, Callable[..., Any]] | None = None
        self.after: dict[int, Callable[..., Any]] | None = None  # once .grad has it
        self.spent = False
        self.stack: list[str] | None = None
        # where a moving tensor stands (see moving.py), and whether its gradient is off the tape
        self.stop = False
        self.plain = False

    def add_hook(self, hook: Callable[..., Any], after: bool = False) -> HookHandle:
        name = "after" if after else "hooks"
        if getattr(self, name) is None:
            setattr(self, name, {})
        key = next_number()
        getattr(self, name)[key] = hook
        return HookHandle(self, key, name)


class HookHandle:
    """What ``register_hook`` returns: ``remove()`` takes the hook away."""

    def __init__(self, note: Note, key: int, name: str) -> None:
        self._note, self._key, self._name = weakref.ref(note), key, name

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        note = self._note()
        if note is not None:
            (getattr(note, self._name) or {}).pop(self._key, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


#: Stands in the note of a record that a backward() without retain_graph has used up.
SPENT = Note()
SPENT.spent = True


def note_of(record: list[Any]) -> Note:
    """The record's note, made when first needed."""
    if record[NOTE] is None or record[NOTE] is SPENT:
        fresh = Note()
        fresh.spent = record[NOTE] is SPENT
        record[NOTE] = fresh
    return record[NOTE]  # type: ignore[no-any-return]


def new_leaf_record(handle: Any) -> list[Any]:
    """A record for a leaf; it knows its handle weakly, for a strong one would be a cycle."""
    note = Note()
    note.handle = weakref.ref(handle)
    return [next_number(), LEAF, handle._value, None, note]


# -- overwritten values -----------------------------------------------------------------------
# Every in-place change of an array notes the time here, by the array that owns the memory (so
# views share it). Recording pays nothing for it, and a walk looks only when there is an entry.
OVERWRITTEN: dict[int, tuple[int, Any]] = {}
#: When the last of them happened: a record made later needs no look at all.
LAST_OVERWRITE = [0]
_overwriting = threading.RLock()  # re-entrant: a collection inside it may run anybody's code


def owner(array: ndarray) -> ndarray:
    """The array that owns the memory of a view."""
    while array.base is not None:
        base: Any = array.base
        if type(base) is not ndarray:  # a strided view or a locked one has a go-between
            base = base.obj if type(base) is memoryview else getattr(base, "base", None)
            if type(base) is not ndarray:
                break
        array = base
    return array


def mark_overwritten(value: Any) -> None:
    """Note that this array's memory has just been changed in place."""
    if type(value) is ndarray:
        mark_memories([memory_of(value)])


def memory_of(value: ndarray) -> tuple[int, Any]:
    """The memory of an array, by which it can be marked as overwritten."""
    root = owner(value)
    key = id(root)
    entry = OVERWRITTEN.get(key)
    if entry is not None and entry[1]() is root:
        return key, entry[1]

    def forget(dead: Any) -> None:
        known = OVERWRITTEN.get(key)
        if known is not None and known[1] is dead:
            del OVERWRITTEN[key]

    return key, weakref.ref(root, forget)


def mark_memories(memories: list[tuple[int, Any]]) -> None:
    """Note that these memories have just been changed, or are about to be."""
    with _overwriting:
        now = LAST_OVERWRITE[0] = next_number()
        OVERWRITTEN.update([(key, (now, ref)) for key, ref in memories])


def overwritten_since(value: Any, number: int) -> bool:
    """Whether an array's memory was changed in place after the given moment."""
    if type(value) is Batched:
        value = value.array
    if type(value) is not ndarray:
        return False
    root = owner(value)
    entry = OVERWRITTEN.get(id(root))
    return entry is not None and entry[0] > number and entry[1]() is root


# -- several outputs --------------------------------------------------------------------------
def pick_record(record: list[Any], index: int) -> list[Any]:
    """The record of one output of an operation that has several."""
    return [
        next_number(),
        PICK,
        record[OUTPUT][index],
        {"index": index},
        None,
        record[OUTPUT],
        record,
    ]


class Freed:
    """What is left of an array that a finished backward pass let go: shape and dtype."""

    __slots__ = ("shape", "dtype")

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype = array.shape, array.dtype


# -- anomalies --------------------------------------------------------------------------------
def has_nan(value: Any) -> bool:
    if type(value) is Batched:
        value = value.array
    return type(value) in PLAIN and bool(np.any(np.isnan(value)))


def _has_inf(value: Any) -> bool:
    if type(value) is Batched:
        value = value.array
    return type(value) in PLAIN and bool(np.any(np.isinf(value)))


#: What to try when an operation turns out NaN, by its name.
REMEDIES = {
    "mul": "0 times infinity. If this is x*log(x), use tg.xlogy(x, x), which is 0 at 0.",
    "log": "If this is x*log(x), use tg.xlogy(x, x), which is 0 at 0.",
    "sqrt": "Inside where(), replace the argument too: "
    "tg.where(ok, tg.sqrt(tg.where(ok, x, 1.0)), 0.0).",
    "div": "0/0 or inf/inf. Inside where(), replace the denominator too: x / tg.where(ok, d, 1.0).",
    "eigh": "Eigenvectors have no derivative at equal eigenvalues.",
}


def anomaly_message(record: list[Any], what: str, incoming: Any = None) -> str:
    """Name the operation, its operands and the place it was called."""
    op = record[OP]
    shapes = ", ".join(str(shape_of(v)) for v in record[FIRST::2])
    text = f"{what} '{op}' produced NaN (operand shapes: {shapes})."
    value = getattr(incoming, "_value", incoming)
    parts = [*record[FIRST::2], value]
    remedy = REMEDIES.get(str(op))
    if incoming is not None and has_nan(value):
        text += " The gradient was NaN before it."
    elif incoming is None and str(op) in ("log", "sqrt"):
        text += f" An operand is negative: {op} has no real value there."
    elif remedy and (str(op) != "mul" or any(_has_inf(v) for v in parts)):
        text += " " + remedy
    stack = record[NOTE].stack if record[NOTE] is not None else None
    if stack:
        text += " It was called at:\n" + "".join(stack)
    else:
        text += " Run the forward pass inside detect_anomaly() too, to see where it was called."
    return text
