"""The scope of a transformation: one run of a function by whose inputs we differentiate.

There is one tape. An input that is off the tape becomes a leaf of its own; one that is on it
already (because of an outer transformation, or ``requires_grad``) becomes an identity of it.
Derivatives are taken by the number of that record, so that nested transformations cannot
confuse their perturbations, and outer derivatives pass through the identity.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from .modes import MODE, current, replace
from .ops.levels import identity
from .records import FIRST, LEAF, Note, new_leaf_record, next_number
from .tensors import Tensor, make, tensor
from .trees import flatten, unflatten

#: Numbers of the inputs of the transformations whose functions are running, innermost last.
#: A plain ``backward()`` inside such a function stops there.
INPUTS: ContextVar[tuple[frozenset[int], ...]] = ContextVar("tapegrad_inputs", default=())


class recording:
    """Record inside the block, whatever the mode outside is."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        mode = current()
        self._token = None if mode is None or mode.grad else MODE.set(replace(grad=True))

    def __exit__(self, *exc: object) -> None:
        if self._token is not None:
            MODE.reset(self._token)


class Scope:
    """One run of a function."""

    __slots__ = ("name", "start", "inputs", "is_recorded_outside", "is_linked")

    def __init__(self, name: str) -> None:
        self.name = name
        mode = current()
        self.is_recorded_outside = mode is None or mode.grad
        self.is_linked = False  # whether an input is on an outer tape
        self.start = next_number()
        self.inputs: list[Tensor] = []

    def open(self, tree: Any, what: str) -> Any:
        """The tree with every leaf made an input of the scope."""
        leaves, recipe = flatten(tree)
        return unflatten(recipe, [self._input(leaf, what) for leaf in leaves])

    def _input(self, x: Any, what: str) -> Tensor:
        if not isinstance(x, Tensor):
            try:
                x = tensor(x)
            except (TypeError, ValueError):
                raise TypeError(
                    f"{self.name}: {what} must be made of tensors, not {type(x).__name__}"
                ) from None
        if x.dtype.kind != "f":
            raise TypeError(
                f"{self.name}: {what} has dtype {x.dtype} (shape {x.shape}); only floating dtypes "
                "can be differentiated. Convert it first, e.g. x.float(), or name other argnums."
            )
        value, outer = x._value, x._record
        inner = make(value, None)
        if outer is None:
            inner._record = new_leaf_record(inner)
        else:
            self.is_linked = True
            note = Note()
            note.handle = weakref.ref(inner)
            inner._record = [next_number(), identity.primitive, value, None, note, value, outer]
        self.inputs.append(inner)
        return inner

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run the function, recording."""
        numbers = frozenset(x._record[0] for x in self.inputs)  # type: ignore[index]
        token = INPUTS.set((*INPUTS.get(), numbers))
        try:
            with recording():
                return func(*args, **kwargs)
        finally:
            INPUTS.reset(token)

    def reaches_outside(self, records: Sequence[Any]) -> bool:
        """Whether results depend on something that was on the tape before (so that derivatives
        must be recorded too): an input that is linked, or a tensor the function closes over."""
        if not self.is_recorded_outside:
            return False
        start = self.start
        seen: set[int] = set()
        stack = [r for r in records if r is not None]
        while stack:
            record = stack.pop()
            number = record[0]
            if number < start:
                return True
            if number not in seen:
                seen.add(number)
                stack.extend(r for r in record[FIRST + 1 :: 2] if r is not None)
        return False

    def close(self, tree: Any) -> Any:
        """Results without the records that nothing outside has a use for."""
        leaves, recipe = flatten(tree)
        return unflatten(recipe, [self._closed(leaf) for leaf in leaves])

    def _closed(self, x: Any) -> Any:
        if (
            isinstance(x, Tensor)
            and x._record is not None
            and not self.reaches_outside([x._record])
        ):
            # A leaf that the function closes over, or made for itself, is handed on as it is.
            if x._record[1] is LEAF and not any(x is own for own in self.inputs):
                return x
            return make(x._value, None)
        return x


def leaves_within(record: list[Any]) -> dict[int, Any]:
    """Where a plain ``backward()`` inside a transformed function ends: at leaves, and at the
    inputs of the function."""
    stops = INPUTS.get()[-1]
    found: dict[int, Any] = {}
    seen: set[int] = set()
    stack = [record]
    while stack:
        here = stack.pop()
        number = here[0]
        if number in seen:
            continue
        seen.add(number)
        note = here[4]
        if here[1] is LEAF or number in stops or (note is not None and note.retain):
            found[number] = None
        if number not in stops:
            stack.extend(r for r in here[FIRST + 1 :: 2] if r is not None)
    return found
