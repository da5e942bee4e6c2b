"""Noting what a function does with NumPy, so that it can be done again on other values.

A :class:`Traced` value stands where an array or a number would, inside a Tensor, and notes every
NumPy function that it meets. It carries an example, from which the dtypes of results follow. Arrays
are all of one, unknown shape: only what acts element by element can be noted, and everything else
raises :class:`Untraceable`, a question for the shape or the size as well. The truth of a number may
be asked: the answer becomes a condition under which the notes hold (a *guard*).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .tensors import Tensor, make
from .values import NUMBERS, settle


class Untraceable(Exception):
    """What was computed cannot be noted: it is not elementwise, or it looks at values."""


class Step(NamedTuple):
    """One call: of a ufunc, of ``where``, of ``full`` (operand: a number) or ``cast``."""

    call: Any
    operands: tuple[Any, ...]
    dtype: Any  # asked for by the call, or None
    result: Traced


class Trace:
    """The calls noted so far, in order, and the guards: numbers with the truth they had."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.guards: list[tuple[Traced, bool]] = []
        self.count = 0

    def array(self, dtype: Any) -> Tensor:
        """An array of the unknown length as an input."""
        return make(self.new(np.full(2, 0.75, dtype)), None)  # type: ignore[no-any-return]

    def number(self, value: Any) -> Tensor:
        """A number as an input; its value decides which way branches go."""
        return make(self.new(value), None)  # type: ignore[no-any-return]

    def new(self, example: Any) -> Traced:
        self.count += 1
        return Traced(self, f"x{self.count}", settle(example))

    def note(self, call: Any, operands: tuple[Any, ...], example: Any, dtype: Any = None) -> Traced:
        result = self.new(example)
        self.steps.append(Step(call, operands, dtype, result))
        return result


class Unknown(tuple[int, ...]):
    """The shape of the arrays: the same for all, and not (); more is not known."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if type(other) is Unknown or other == ():
            return type(other) is Unknown
        raise Untraceable("the shape of an array")

    def __ne__(self, other: object) -> bool:
        return not self == other

    def _refuse(self, *_others: Any) -> Any:
        raise Untraceable("the shape of an array")

    __len__ = __iter__ = __getitem__ = __hash__ = __contains__ = __add__ = __radd__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __mul__ = __rmul__ = index = count = __repr__ = _refuse


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A value that notes what NumPy does with it."""

    __slots__ = ("trace", "name", "example")

    def __init__(self, trace: Trace, name: str, example: Any) -> None:
        self.trace, self.name, self.example = trace, name, example

    @property
    def shape(self) -> tuple[int, ...]:
        return Unknown() if np.shape(self.example) else ()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.asarray(self.example).dtype

    def __bool__(self) -> bool:
        if self.shape:
            raise Untraceable("the truth of an array")
        self.trace.guards.append((self, bool(self.example)))
        return bool(self.example)

    def __array__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise Untraceable("an array asked for")

    def __float__(self) -> float:
        raise Untraceable("a number asked for")

    __int__ = __index__ = __complex__ = item = tolist = __float__

    def astype(self, dtype: Any, copy: bool = True, **_options: Any) -> Traced:
        if self.dtype == dtype:
            return self
        if self.shape:
            raise Untraceable("an array of another dtype")
        with np.errstate(all="ignore"):
            example = settle(np.dtype(dtype).type(self.example))
        return self.trace.note("cast", (self,), example, dtype)

    def copy(self) -> Traced:
        return self

    def filled(self, fill: Any, dtype: Any) -> Any:
        """The number everywhere, in the shape of this."""
        example = np.full(np.shape(self.example), _example(fill), dtype)
        return self.trace.note("full", (fill,), example) if self.shape else settle(example)

    def __getitem__(self, index: Any) -> Any:
        raise Untraceable("an element asked for")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        dtype = kwargs.pop("dtype", None)
        if method != "__call__" or kwargs or ufunc.nout != 1 or ufunc.signature is not None:
            raise Untraceable(f"numpy.{ufunc.__name__}")
        options = {} if dtype is None else {"dtype": dtype}
        with np.errstate(all="ignore"):
            example = ufunc(*map(_example, inputs), **options)
        return self.trace.note(ufunc, inputs, example, dtype)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        note = self.trace.note
        if function is np.where and len(args) == 3 and not kwargs:
            return note("where", args, np.where(*map(_example, args)))
        if function is np.full_like and len(args) == 2 and not kwargs:
            return self.filled(args[1], self.dtype)
        if function is np.all and len(args) == 1 and not kwargs:
            return bool(self)
        raise Untraceable(f"numpy.{function.__name__}")


def traced(tensor: Any) -> Traced:
    """What stands in a Tensor, which must have been traced."""
    value = tensor._value if isinstance(tensor, Tensor) else tensor
    if type(value) is not Traced:
        raise Untraceable("a result that does not depend on the inputs")
    return value


def _example(value: Any) -> Any:
    if type(value) is Traced:
        return value.example
    if type(value) in NUMBERS or isinstance(value, np.generic):
        return value
    raise Untraceable(f"an operand of type {type(value).__name__}")
