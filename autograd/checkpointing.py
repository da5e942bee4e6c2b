"""Checkpointing: keep the inputs of a stretch of computation, not what it saves on the way.

The function is recorded once, to find out what on the tape it depends on; of that recording
only this boundary is kept. When a walk arrives, the function runs again from the boundary, and
the walk goes on through the fresh records, which end at the same tensors as the first ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import sampling
from .batched import ACTIVE
from .modes import is_grad_enabled
from .records import CHECKPOINT, FIRST, NUMBER, OUTPUT, next_number, pick_record
from .scopes import recording
from .tensor import Tensor, make
from .trees import flatten, unflatten

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
    when it depends on other tensors then, or when an input was changed in place in between.

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
    for outer in run.boundary.values():
        record += (outer[OUTPUT], outer)
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
        self.random = _random_state() if preserve else None
        self.outputs: list[int] = []
        self.boundary: dict[int, list[Any]] = {}

    def constants(self) -> list[Any]:
        """The values of arguments that are off the tape."""
        return [x[0] for x in self.leaves if type(x) is tuple and x[1] is None]

    def __call__(self, _record: list[Any]) -> Any:
        leaves = [make(*x) if type(x) is tuple else x.value for x in self.leaves]  # type: ignore[union-attr]
        args, kwargs = unflatten(self.recipe, leaves)
        token = ACTIVE.set(self.levels)
        now = None
        try:
            if self.random is not None:
                now = _random_state()
                _set_random_state(self.random)
            start = next_number()
            with recording():
                outs, _ = flatten(self.function(*args, **kwargs))
        finally:
            if now is not None:
                _set_random_state(now)
            ACTIVE.reset(token)
        found = [outs[i]._record if i < len(outs) else None for i in self.outputs]
        records = [r for r in found if r is not None]
        if (
            len(records) != len(found)
            or not _boundary(records, start).keys() <= self.boundary.keys()
        ):
            raise RuntimeError(
                "checkpoint: when the function ran again for the backward pass it depended on other "
                "tensors than the first time. It must do the same each time: pass what changes as "
                "an argument."
            )
        return tuple(found) if len(found) > 1 else found[0]


class _Plain:
    """An argument that is no tensor."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _boundary(records: list[Any], start: int) -> dict[int, list[Any]]:
    """The records made before ``start`` that the given ones depend on directly."""
    found: dict[int, list[Any]] = {}
    seen: set[int] = set()
    stack = list(records)
    while stack:
        record = stack.pop()
        number = record[NUMBER]
        if number < start:
            found[number] = record
        elif number not in seen:
            seen.add(number)
            stack.extend(r for r in record[FIRST + 1 :: 2] if r is not None)
    return found


def _random_state() -> Any:
    get = getattr(sampling, "get_rng_state", None)
    return None if get is None else get()


def _set_random_state(state: Any) -> None:
    set_state = getattr(sampling, "set_rng_state", None)
    if set_state is not None:
        set_state(state)
