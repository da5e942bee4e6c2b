"""Tensors of one dtype laid end to end, to be computed with as one array."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import is_, setitem
from typing import Any

import numpy as np
from numpy import ndarray

from .aliases import own_array
from .programs import Call
from .records import LEAF, OP, OUTPUT, mark_memories, mark_overwritten, memory_of
from .tensors import Tensor, make
from .values import PLAIN, cast_value, dtype_of


def lies_flat(tensor: Any) -> bool:
    """Whether a tensor's value is an array in memory of its own, of a dtype that NumPy is quick
    with: what :class:`Flat` takes."""
    value = tensor._value
    return (
        type(value) is ndarray
        and value.dtype.char in "fd"
        and value.flags.c_contiguous
        and value.flags.writeable
        and tensor._base is None
    )


class Flat:
    """Places for tensors, end to end.

    >>> import tapegrad as tg
    >>> from tapegrad.flat import Flat
    >>> from tapegrad.programs import at_once
    >>> a, b = tg.ones(2), tg.zeros(1, 2)
    >>> flat = Flat([a, b])
    >>> array = flat.gathered([a, b])
    >>> array
    array([1., 1., 0., 0.], dtype=float32)
    >>> array += 1
    >>> flat.mark()
    >>> at_once(flat.writing())
    >>> a, b
    (tensor([2., 2.]), tensor([[1., 1.]]))
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        for tensor in self.tensors:
            tensor._views = tensor._views  # an attribute that is set is quicker to ask for
        self.values = [t._value for t in tensors]
        self.shapes = [v.shape for v in self.values]
        ends = np.cumsum([v.size for v in self.values]).tolist()
        self.slices = [slice(end - v.size, end) for v, end in zip(self.values, ends)]
        self.size, self.dtype = ends[-1], self.values[0].dtype
        self._memories = [memory_of(v) for v in self.values]
        self._room: list[ndarray] = []
        self._parts: list[ndarray] = []

    def holds(self) -> bool:
        """Whether the tensors still have the memory that they had."""
        return all(map(is_, [t._value for t in self.tensors], self.values))

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """Whether other tensors have the shapes and the dtype of these."""
        try:
            values = [t._value for t in tensors]
            return [v.shape for v in values] == self.shapes and {v.dtype for v in values} == {
                self.dtype
            }
        except AttributeError:
            return False

    def gathered(self, tensors: Sequence[Tensor], room: int = 0) -> ndarray:
        """The values of tensors that fit, end to end: one's own memory, or else the room."""
        if len(tensors) == 1:
            flat = tensors[0]._value.reshape(-1)
            # for reading it must keep its values while others are written
            return flat.copy() if room and tensors[0]._base is not None else flat
        while len(self._room) <= room:
            self._room.append(np.empty(self.size, self.dtype))
        return np.concatenate([t._value for t in tensors], None, self._room[room])

    def parts(self, flat: ndarray) -> list[ndarray]:
        """The parts of an array for the tensors, in their shapes."""
        return [flat[s].reshape(shape) for s, shape in zip(self.slices, self.shapes)]

    def writing(self) -> list[Call]:
        """The calls that put what :meth:`gathered` gave, and was changed since, into the tensors.

        :meth:`mark` comes before they are made.
        """
        if len(self.tensors) == 1:
            return []  # it was changed where it is
        if not self._parts:
            self._parts = self.parts(self._room[0])
        return list(zip(repeat(setitem), self.values, repeat(...), self._parts))

    def mark(self) -> None:
        """Tell records that need the old values that these are about to be written over."""
        mark_memories(self._memories)

    def refresh(self) -> None:
        """Let aliases that are numbers see what was written (views see it by themselves)."""
        for tensor in self.tensors:
            if tensor._views is not None:
                tensor._views.refresh()


def writing(tensor: Tensor, value: Tensor) -> list[Call]:
    """The calls that put a value into a tensor of its shape; [] where it takes more than calls.

    Records that need the old value are told now; :func:`refresh` comes after.
    """
    target, family, record = tensor._value, tensor._views, tensor._record
    if type(value._value) not in PLAIN:
        return []
    if own_array(tensor):
        mark_overwritten(target)
        return [(setitem, target, ..., value._value)]
    if tensor._base is not None or type(target) is ndarray:
        return []  # an element of an array, or an array over a number
    number = cast_value(value._value, tensor.dtype)
    calls: list[Call] = [(setattr, tensor, "_value", number)]
    if record is not None and record[OP] is LEAF:
        calls.append((setitem, record, OUTPUT, number))
    if family is not None and family.value is target:
        calls.append((setattr, family, "value", number))
    return calls


def refresh(tensors: Sequence[Tensor]) -> None:
    """Let the aliases of tensors that were written to see it, where they do not by themselves."""
    for tensor in tensors:
        family = tensor._views if tensor._base is None else tensor._base.family
        if family is not None:
            family.refresh()


def with_gradient(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Those that have a gradient."""
    return [t for t in tensors if t._grad is not None]


def gradients_of(tensors: Sequence[Tensor]) -> list[Any]:
    """Their gradients, for reading."""
    return [t._grad for t in tensors]


def same_ones(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two lists hold the same objects."""
    return len(some) == len(others) and all(map(is_, some, others))


def number_of(tensor: Tensor) -> Any:
    """The number of a 0-d tensor of floats, in its dtype; None for any other."""
    value = tensor._value
    return value if not np.shape(value) and dtype_of(value).kind == "f" else None


def tensor_of(value: Any) -> Tensor:
    """A tensor with a value that nobody else holds, off the tape."""
    return make(value, None)  # type: ignore[no-any-return]
