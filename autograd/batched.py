"""Batched: one value per example of a vmap, standing where a single example's value would.

A ``Batched`` is a NumPy duck array. Inside a Tensor it is the raw value, so that recording, the
reverse walk and the forward walk know nothing of it. Its ``array`` has one dimension in front
for every *level* (every vmap that is going on, or was when the value was made), and ``shape``
is the shape without them: what the mapped function sees. Levels are names for dimensions, kept
in ascending order; values with different levels combine as if by broadcasting, and a value
without a level is the same for all of that level's examples.

Every family of NumPy functions has one rule (in ``batched_numpy``, ``batched_products`` and
``batched_indexing``). What has none raises :class:`NoRule`, upon which a primitive is computed
example by example (see ``batching.fall_back``): right first, fast where it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from .values import PLAIN, settle, shape_of


class Level(NamedTuple):
    """One vmap that is going on."""

    number: int  # from the counter that numbers records, so that "older than" is defined
    size: int
    randomness: str = "error"
    outside: tuple[Any, ...] = ()  # the mapped function and its arguments
    changed: list[Any] | None = None  # tensors changed in place that may be from outside


#: The vmaps going on in this context, outermost first.
ACTIVE: ContextVar[tuple[Level, ...]] = ContextVar("tapegrad_levels", default=())
#: The numbers of all vmaps going on, in any thread.
LIVE: set[int] = set()
#: Whether a walk along the tape is going on, which meets values of vmaps that have ended.
WALKING: ContextVar[bool] = ContextVar("tapegrad_walking", default=False)


class Ended(RuntimeError):
    """A computation with a tensor of a vmap that has ended."""


class NoRule(RuntimeError):
    """A NumPy function that cannot take a batched value."""


class NoAttribute(NoRule, AttributeError):
    """An attribute of arrays that batched values lack."""


class NoStaticShape(RuntimeError):
    """Inside vmap: a result whose shape, or a branch that, would differ between examples."""


def refuse(what: str, remedy: str) -> NoStaticShape:
    return NoStaticShape(
        f"{what} inside vmap: the tensor has one value per example, so there is no single answer. "
        f"{remedy}"
    )


#: How NumPy's functions act on batched values; by name, what has no function to go by.
RULES: dict[Any, Callable[..., Any]] = {}


def rule_for(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """State how NumPy functions act on batched values."""

    def put(rule: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            RULES[function] = rule
        return rule

    return put


class Batched:
    """An array with the batch dimensions of its levels in front, hidden from ``shape``."""

    __slots__ = ("array", "levels", "shape", "__weakref__")

    def __init__(self, array: ndarray, levels: tuple[int, ...]) -> None:
        self.array, self.levels = array, levels
        self.shape = array.shape[len(levels) :]
        if not LIVE.issuperset(levels) and not WALKING.get():
            raise Ended(
                f"a tensor that belongs to a vmap that has ended (shape {self.shape} for each "
                "example) was kept, in a list or an attribute, and is computed with outside. "
                "Return it from the mapped function, which gives all examples of it in one tensor."
            )

    @classmethod
    def kept(cls, array: ndarray, levels: tuple[int, ...]) -> Batched:
        """The same where nothing is computed, so that the levels may have ended."""
        value = cls.__new__(cls)
        value.array, value.levels = array, levels
        value.shape = array.shape[len(levels) :]
        return value

    # -- what it is ---------------------------------------------------------------------------
    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count

    @property
    def batch(self) -> tuple[int, ...]:
        """The number of examples of each level."""
        return self.array.shape[: len(self.levels)]

    @property
    def T(self) -> Batched:
        return RULES[np.transpose](self)  # type: ignore[no-any-return]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d value")
        return self.shape[0]

    def __repr__(self) -> str:
        sizes = " x ".join(map(str, self.batch))
        return f"<inside vmap: {sizes} examples of shape {self.shape}, dtype {self.dtype}>"

    def astype(self, dtype: Any, copy: bool = True, **_options: Any) -> Batched:
        return Batched(self.array.astype(dtype, copy=copy), self.levels)

    def copy(self) -> Batched:
        return Batched.kept(self.array.copy(), self.levels)

    # -- what it is not -----------------------------------------------------------------------
    # The classes of error differ on purpose: what an example by example computation can do
    # raises NoRule, so that a primitive that tries falls back; the engine's own refusals in
    # functions.indexing and below name the remedy.
    def __array__(self, *_args: Any, **_kwargs: Any) -> ndarray:
        raise NoRule(
            "a tensor inside vmap has one value per example and cannot become a NumPy array: "
            "use tapegrad's functions on it, or NumPy's outside vmap"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NoAttribute(f"a value inside vmap has no attribute {name!r}")

    def __bool__(self) -> bool:
        raise NoBranch(
            "the truth value of a tensor inside vmap: it has one per example, so that Python's if, "
            "while, and, or, max and min cannot branch on it. Use tg.where(condition, a, b), "
            "tg.maximum and tg.minimum, &, | and ~."
        )

    def item(self, *_args: Any) -> Any:
        raise NoBranch(
            "item() (or float(), int()) of a tensor inside vmap: it has one value per example. "
            "Compute with the tensor itself, or take the number outside vmap."
        )

    def __float__(self) -> Any:
        return self.item()

    __int__ = __index__ = __complex__ = __float__

    def tolist(self) -> Any:
        raise NoBranch(
            "tolist() of a tensor inside vmap: it has one value per example. "
            "Return the tensor and take the list outside vmap."
        )

    # -- NumPy --------------------------------------------------------------------------------
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        for value in inputs:
            if type(value) is not Batched and type(value) not in PLAIN and not _is_data(value):
                return NotImplemented
        if any(kwargs.get(k) is not None for k in ("out", "axes", "signature")):
            raise NoRule(f"numpy.{ufunc.__name__}(out=...) with a tensor inside vmap")
        if kwargs.get("where", True) is not True:
            raise NoRule(f"numpy.{ufunc.__name__}(where=...) with a tensor inside vmap")
        if method == "__call__":
            if ufunc.signature is None:
                levels, arrays = align(inputs)
                return wrap(ufunc(*arrays, **kwargs), levels)
            if ufunc is np.matmul and not kwargs:
                return RULES[np.matmul](*inputs)
            if not kwargs and "?" not in ufunc.signature:
                return RULES["generalized"](ufunc, inputs)
        elif method in ("reduce", "accumulate"):
            return RULES[method](ufunc, *inputs, **kwargs)
        raise NoRule(f"numpy.{ufunc.__name__}.{method} has no rule inside vmap")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        for kind in types:
            if kind is not Batched and not issubclass(kind, ndarray):
                return NotImplemented
        rule = RULES.get(function)
        if rule is None:
            raise NoRule(
                f"numpy.{getattr(function, '__name__', function)} has no rule inside vmap: "
                "use tapegrad's functions"
            )
        return rule(*args, **kwargs)

    # -- indexing -----------------------------------------------------------------------------
    def __getitem__(self, index: Any) -> Any:
        return RULES["take"](self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        RULES["put"](self, index, value)

    def __matmul__(self, other: Any) -> Any:
        return RULES[np.matmul](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return RULES[np.matmul](other, self)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))


class NoBranch(NoRule, NoStaticShape):
    """Python's truth value, or a Python number, of a batched value."""


def _is_data(value: Any) -> bool:
    return isinstance(value, (ndarray, np.generic, list, tuple, int, float))


def wrap(result: Any, levels: tuple[int, ...]) -> Any:
    if type(result) is tuple:
        return tuple(Batched(r, levels) for r in result)
    return Batched(result, levels)


def whole(levels: Sequence[int]) -> list[slice]:
    return [slice(None)] * len(levels)


# -- bringing values together -------------------------------------------------------------------
def levels_of(values: Sequence[Any]) -> tuple[int, ...]:
    """The levels that occur in some values, ascending."""
    levels: tuple[int, ...] = ()
    for value in values:
        if type(value) is Batched and value.levels != levels:
            levels = tuple(sorted({*levels, *value.levels})) if levels else value.levels
    return levels


def sizes_of(values: Sequence[Any]) -> dict[int, int]:
    """The number of examples of each level that occurs in some values."""
    sizes: dict[int, int] = {}
    for value in values:
        if type(value) is Batched:
            sizes.update(zip(value.levels, value.array.shape))
    return sizes


def with_levels(value: Batched, levels: tuple[int, ...], ndim: int | None = None) -> ndarray:
    """The array with a dimension of length 1 for every level it lacks, and its own dimensions
    padded in front to ``ndim``, so that arrays broadcast as the values do."""
    pad = 0 if ndim is None else ndim - len(value.shape)
    if value.levels == levels and pad <= 0:
        return value.array
    sizes = dict(zip(value.levels, value.array.shape))
    return value.array.reshape(
        [sizes.get(level, 1) for level in levels] + [1] * max(pad, 0) + list(value.shape)
    )


def align(values: Sequence[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """The levels of some values, and arrays that broadcast as the values do."""
    levels: tuple[int, ...] = ()
    ndim = 0
    for value in values:
        kind = type(value)
        if kind is Batched:
            if value.levels != levels:
                levels = tuple(sorted({*levels, *value.levels})) if levels else value.levels
            n = len(value.shape)
        elif kind is float:
            continue
        else:
            n = len(shape_of(value)) if kind in PLAIN else np.ndim(value)
        if n > ndim:
            ndim = n
    return levels, [with_levels(v, levels, ndim) if type(v) is Batched else v for v in values]


def expand_levels(value: Any, levels: tuple[int, ...], ndim: int | None = None) -> Any:
    """The array of a value for all of the levels (which include its own)."""
    if type(value) is not Batched:
        return value
    return with_levels(value, levels, ndim)


def full_levels(value: Any, levels: tuple[int, ...], sizes: dict[int, int]) -> ndarray:
    """The array of a value with every level at its full size."""
    array = with_levels(value, levels) if type(value) is Batched else np.asarray(value)
    shape = shape_of(value) if type(value) is Batched else array.shape
    return np.broadcast_to(array, (*(sizes[level] for level in levels), *shape))


# -- named dimensions and positions --------------------------------------------------------------
def enter_level(value: Any, level: int, axis: int) -> Batched:
    """Turn dimension ``axis`` of a value into a level."""
    if type(value) is Batched:
        array, levels = value.array, tuple(sorted((*value.levels, level)))
        source = len(value.levels) + axis
    else:
        array, levels, source = value, (level,), axis
    place = levels.index(level)
    # Always a view, so that what leaves as it came is known to be somebody else's memory.
    return Batched(array.view() if source == place else np.moveaxis(array, source, place), levels)


def leave_level(value: Any, level: int, axis: int, size: int) -> Any:
    """Turn a level into dimension ``axis`` of the value; a value without it is repeated."""
    if type(value) is not Batched or level not in value.levels:
        value = spread_level(value, level, size)
    place = value.levels.index(level)
    levels = (*value.levels[:place], *value.levels[place + 1 :])
    target = len(levels) + axis
    array = value.array if target == place else np.moveaxis(value.array, place, target)
    if levels:
        return Batched.kept(array, levels)
    return array if array.base is None else array.copy()


def spread_level(value: Any, level: int, size: int) -> Batched:
    """Repeat a value along a new level."""
    if type(value) is Batched and level in value.levels:
        return value
    levels = levels_of([value])
    wider = tuple(sorted((*levels, level)))
    sizes = {**sizes_of([value]), level: size}
    return Batched.kept(full_levels(value, wider, sizes), wider)


def sum_level(value: Any, level: int, size: int) -> Any:
    """Add up a value over a level; one that is the same for all examples is multiplied."""
    if type(value) is not Batched or level not in value.levels:
        return value * size
    place = value.levels.index(level)
    levels = (*value.levels[:place], *value.levels[place + 1 :])
    total = np.sum(value.array, axis=place)
    return Batched(total, levels) if levels else settle(total)


# -- random numbers ------------------------------------------------------------------------------
def drawn(shape: tuple[int, ...], draw: Callable[[tuple[int, ...]], Any]) -> Any:
    """Random numbers of a shape, as the ``randomness`` of the vmaps going on wants them.

    ``draw(shape)`` makes an array. Raises RuntimeError inside a vmap with randomness="error".
    """
    active = ACTIVE.get()
    if not active:
        return draw(shape)
    if any(level.randomness == "error" for level in active):
        raise RuntimeError(
            "random numbers inside vmap: say randomness='different' (each example draws its own) "
            "or randomness='same' (all share one draw) when calling vmap"
        )
    own = [level for level in active if level.randomness == "different"]
    if not own:
        return draw(shape)
    array = draw((*(level.size for level in own), *shape))
    return Batched(array, tuple(level.number for level in own))


# -- operators: what the rules of primitives are made of -----------------------------------------
def _operator(ufunc: Any) -> Callable[[Any, Any], Any]:
    def method(self: Batched, other: Any) -> Any:
        kind = type(other)
        if kind is Batched:
            if self.levels == other.levels and len(self.shape) == len(other.shape):
                return Batched(ufunc(self.array, other.array), self.levels)
        elif kind is float or kind is int:
            return Batched(ufunc(self.array, other), self.levels)
        elif kind not in PLAIN:
            return NotImplemented
        levels, (a, b) = align((self, other))
        return Batched(ufunc(a, b), levels)

    return method


def _reflected(ufunc: Any) -> Callable[[Any, Any], Any]:
    def method(self: Batched, other: Any) -> Any:
        if type(other) not in PLAIN:
            return NotImplemented
        levels, (a, b) = align((other, self))
        return Batched(ufunc(a, b), levels)

    return method


_ufunc: Any
for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}.items():  # fmt: skip
    setattr(Batched, f"__{_name}__", _operator(_ufunc))
    setattr(Batched, f"__r{_name}__", _reflected(_ufunc))
for _name, _ufunc in {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal,
}.items():  # fmt: skip
    setattr(Batched, f"__{_name}__", _operator(_ufunc))
Batched.__hash__ = object.__hash__  # type: ignore[method-assign]  # defining __eq__ took it away
for _name, _ufunc in {
    "neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert,
}.items():  # fmt: skip
    setattr(Batched, f"__{_name}__", lambda self, _u=_ufunc: Batched(_u(self.array), self.levels))
