"""Checkpointing: keep the inputs of a stretch of computation, not what it saves on the way.

The function is recorded once, to find out what on the tape it depends on; of that recording
only this boundary is kept. When a walk arrives, the function runs again from the boundary, and
the walk goes on through the fresh records, which end at the same tensors as the first ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from . import sampling
from .batched import ACTIVE
from .modes import is_grad_enabled
from .records import (
    CHECKPOINT,
    FIRST,
    NUMBER,
    OP,
    OUTPUT,
    next_number,
    overwritten_since,
    pick_record,
)
from .scopes import INPUTS, recording
from .tensors import Tensor, make
from .trees import flatten, unflatten
from .values import PLAIN, dtype_of, shape_of

__all__ = ["checkpoint"]


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    preserve_rng_state: bool = True,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, whose intermediate values are computed again when a gradient
    needs them instead of being kept: less memory for about one more forward pass.

    Tensors the function closes over (parameters of a module, say) get their gradients as usual.
    Right for several outputs, nested checkpoints, derivatives of any order and forward mode.
    ``preserve_rng_state``: random numbers are drawn again from the same state, so that dropout
    drops the same units. ``use_reentrant`` is there for torch's sake and ignored.

    The function must do the same when it runs again. Raises RuntimeError in the backward pass
    when it depends on other tensors then or comes to another result (it reads something that has
    changed, or draws from a Generator of its own), or when an input was changed in place.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = tg.checkpoint(lambda x: (x.exp() * x).sum(), x)
    >>> y.backward()
    >>> x.grad
    tensor([ 5.4366, 22.1672])

    Source: Griewank and Walther, Algorithm 799: Revolve (2000); Chen et al., Training deep nets
    with sublinear memory cost (2016).
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    run = _Run(function, args, kwargs, preserve_rng_state)
    start = next_number()
    result = function(*args, **kwargs)
    outs, recipe = flatten(result)
    fresh = [
        i
        for i, y in enumerate(outs)
        if isinstance(y, Tensor) and y._record is not None and y._record[NUMBER] > start
    ]
    if not fresh:
        return result
    run.outputs = fresh
    records = [outs[i]._record for i in fresh]
    run.boundary = _boundary(records, start)
    values = tuple(outs[i]._value for i in fresh)
    record: list[Any] = [
        next_number(),
        CHECKPOINT,
        values if len(fresh) > 1 else values[0],
        {"recompute": run},
        None,
    ]
    for outer, value in run.boundary.values():
        record += (value, outer)
    for value in run.constants():  # kept so that a change in place is noticed
        record += (value, None)
    if len(fresh) == 1:
        outs[fresh[0]] = make(values[0], record)
    else:
        for k, i in enumerate(fresh):
            outs[i] = make(values[k], pick_record(record, k))
    return unflatten(recipe, outs)


class _Run:
    """How to run the function again: called with the checkpoint's record, it returns the fresh
    record of the output (a tuple of them for several)."""

    __slots__ = (
        "function",
        "leaves",
        "recipe",
        "levels",
        "inputs",
        "random",
        "outputs",
        "boundary",
    )

    def __init__(self, function: Any, args: Any, kwargs: Any, preserve: bool) -> None:
        self.function = function
        leaves, self.recipe = flatten((args, kwargs))
        # Values and records, not handles: those may move on before the function runs again.
        self.leaves = [
            (x._value, x._record) if isinstance(x, Tensor) else _Plain(x) for x in leaves
        ]
        self.levels = ACTIVE.get()
        self.inputs = INPUTS.get()
        self.random = sampling.get_rng_state() if preserve else None
        self.outputs: list[int] = []
        self.boundary: dict[int, tuple[list[Any], Any]] = {}

    def constants(self) -> list[Any]:
        """The values of arguments that are off the tape."""
        return [x[0] for x in self.leaves if type(x) is tuple and x[1] is None]

    def __call__(self, record: list[Any]) -> Any:
        leaves = [x.value if isinstance(x, _Plain) else make(*x) for x in self.leaves]
        args, kwargs = unflatten(self.recipe, leaves)
        levels, inputs = ACTIVE.set(self.levels), INPUTS.set(self.inputs)
        now = None
        try:
            if self.random is not None:
                now = sampling.get_rng_state()
                sampling.set_rng_state(self.random)
            start = next_number()
            with recording():
                outs, _ = flatten(self.function(*args, **kwargs))
        finally:
            if now is not None:
                sampling.set_rng_state(now)
            INPUTS.reset(inputs)
            ACTIVE.reset(levels)
        found = [
            outs[i]._record if i < len(outs) and isinstance(outs[i], Tensor) else None
            for i in self.outputs
        ]
        self._compare(found, start)
        if self.random is not None:  # else random numbers differ, as asked for
            values = record[OUTPUT] if len(found) > 1 else (record[OUTPUT],)
            for value, i in zip(values, self.outputs, strict=True):
                if not overwritten_since(value, record[NUMBER]):
                    _compare_values(value, outs[i]._value)
        return tuple(found) if len(found) > 1 else found[0]

    def _compare(self, found: list[Any], start: int) -> None:
        """Raise unless the second run read what the first one did."""
        seen = _boundary([r for r in found if r is not None], start)
        if any(r is None for r in found) or not seen.keys() <= self.boundary.keys():
            raise RuntimeError(
                "checkpoint: when the function ran again for the backward pass it depended on "
                "other tensors than the first time. It must do the same each time: pass what "
                "changes as an argument."
            )
        for number, (record, value) in seen.items():
            if not _same(value, self.boundary[number][1]):
                raise RuntimeError(
                    f"checkpoint: a tensor that the function uses (made by '{record[OP]}', shape "
                    f"{shape_of(value)}) was changed in place before the backward pass, in which "
                    "the function runs again. Compute the gradient before the change."
                )


def _compare_values(before: Any, now: Any) -> None:
    """Raise when the second run came to another result: its derivative would be of that."""
    a, b = (np.asarray(getattr(v, "array", v)) for v in (before, now))
    if a.shape == b.shape and a.dtype == b.dtype:
        if np.array_equal(a, b):
            return
        # Libraries may round differently from run to run; anything more is another function.
        near = np.sqrt(np.finfo(a.dtype).eps)
        size = np.max(np.abs(a), initial=0.0, where=np.isfinite(a))
        if np.allclose(a, b, rtol=near, atol=near * size, equal_nan=True):
            return
    raise RuntimeError(
        f"checkpoint: when the function ran again for the backward pass its result (shape "
        f"{shape_of(before)}, dtype {dtype_of(before)}) was not that of the first time, so the "
        "gradient would be wrong. It must do the same each time: something it reads has changed, "
        "or it draws from a Generator of its own (pass the numbers as an argument, or draw from "
        "the default generator, which is wound back)."
    )


class _Plain:
    """An argument that is no tensor."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _boundary(records: list[Any], start: int) -> dict[int, tuple[list[Any], Any]]:
    """The records made before ``start`` that the given ones depend on directly, and the values
    that were read of them."""
    found: dict[int, tuple[list[Any], Any]] = {}
    seen: set[int] = set()
    stack = list(records)
    while stack:
        record = stack.pop()
        if record[NUMBER] in seen:
            continue
        seen.add(record[NUMBER])
        for value, operand in zip(record[FIRST::2], record[FIRST + 1 :: 2], strict=True):
            if operand is None:
                continue
            if operand[NUMBER] < start:
                found[operand[NUMBER]] = (operand, value)
            else:
                stack.append(operand)
    return found


def _same(a: Any, b: Any) -> bool:
    """Whether two values read at different times are one (arrays: one memory, whose changes are
    noticed elsewhere)."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is ndarray:
        return a.shape == b.shape and np.may_share_memory(a, b)
    return type(a) in PLAIN and bool(a == b or (a != a and b != b))
