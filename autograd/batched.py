"""Batched: one value per example of a vmap, standing where a single example's value would.

A ``Batched`` is a NumPy duck array. Inside a Tensor it is the raw value, so that recording, the
reverse walk and the forward walk know nothing of it. Its ``array`` has one dimension in front
for every *level* (every vmap that is going on, or was when the value was made), and ``shape``
is the shape without them: what the mapped function sees. Levels are names for dimensions, kept
in ascending order; values with different levels combine as if by broadcasting, and a value
without a level is the same for all of that level's examples.

Every family of NumPy functions has one rule below. What has none raises :class:`NoRule`, upon
which a primitive is computed example by example (see ``batching.fall_back``): right first, fast
where it matters.
"""

from __future__ import annotations

import operator
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


#: The vmaps going on in this context, outermost first.
ACTIVE: ContextVar[tuple[Level, ...]] = ContextVar("tapegrad_levels", default=())


class NoRule(RuntimeError):
    """A NumPy function that cannot take a batched value."""


class NoAttribute(NoRule, AttributeError):
    """An attribute of arrays that batched values lack."""


class NoStaticShape(RuntimeError):
    """Inside vmap: a result whose shape, or a branch that, would differ between examples."""


def _refuse(what: str, remedy: str) -> NoStaticShape:
    return NoStaticShape(
        f"{what} inside vmap: the tensor has one value per example, so there is no single answer. "
        f"{remedy}"
    )


class Batched:
    """An array with the batch dimensions of its levels in front, hidden from ``shape``."""

    __slots__ = ("array", "levels", "shape", "__weakref__")

    def __init__(self, array: ndarray, levels: tuple[int, ...]) -> None:
        self.array, self.levels = array, levels
        self.shape = array.shape[len(levels) :]

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
        return _transpose(self)  # type: ignore[no-any-return]

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
        return Batched(self.array.copy(), self.levels)

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
                return _wrap(ufunc(*arrays, **kwargs), levels)
            if ufunc is np.matmul and not kwargs:
                return _matmul(*inputs)
            if not kwargs and "?" not in ufunc.signature:
                return _generalized(ufunc, inputs)
        elif method == "reduce":
            return _reduce_ufunc(ufunc, *inputs, **kwargs)
        elif method == "accumulate":
            return _along(ufunc.accumulate, 0)(*inputs, **kwargs)
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
        return take(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        items = index if type(index) is tuple else (index,)
        if any(type(i) is Batched for i in items) or _placement(items)[1] > 0:
            raise NoRule("setting elements at these indices has no rule inside vmap")
        if type(value) is Batched:
            if not set(value.levels) <= set(self.levels):
                raise NoRule(
                    "writing a value that differs between the examples of a vmap into a tensor "
                    "that does not: make the tensor from a mapped one, e.g. with tg.zeros_like"
                )
            target = self.array[(*_whole(self.levels), *items)]
            value = expand_levels(value, self.levels, target.ndim - len(self.levels))
        self.array[(*_whole(self.levels), *items)] = value

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))


class NoBranch(NoRule, NoStaticShape):
    """Python's truth value, or a Python number, of a batched value."""


def _is_data(value: Any) -> bool:
    return isinstance(value, (ndarray, np.generic, list, tuple, int, float))


def _wrap(result: Any, levels: tuple[int, ...]) -> Any:
    if type(result) is tuple:
        return tuple(Batched(r, levels) for r in result)
    return Batched(result, levels)


def _whole(levels: Sequence[int]) -> list[slice]:
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
    return Batched(array if source == place else np.moveaxis(array, source, place), levels)


def leave_level(value: Any, level: int, axis: int, size: int) -> Any:
    """Turn a level into dimension ``axis`` of the value; a value without it is repeated."""
    if type(value) is not Batched or level not in value.levels:
        value = spread_level(value, level, size)
    place = value.levels.index(level)
    levels = (*value.levels[:place], *value.levels[place + 1 :])
    target = len(levels) + axis
    array = value.array if target == place else np.moveaxis(value.array, place, target)
    return Batched(array, levels) if levels else array


def spread_level(value: Any, level: int, size: int) -> Batched:
    """Repeat a value along a new level."""
    if type(value) is Batched and level in value.levels:
        return value
    levels = levels_of([value])
    wider = tuple(sorted((*levels, level)))
    sizes = {**sizes_of([value]), level: size}
    return Batched(full_levels(value, wider, sizes), wider)


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
Batched.__matmul__ = lambda self, other: _matmul(self, other)  # type: ignore[attr-defined]
Batched.__rmatmul__ = lambda self, other: _matmul(other, self)  # type: ignore[attr-defined]


# -- indexing ------------------------------------------------------------------------------------
def _is_array(item: Any) -> bool:
    return type(item) is Batched or (
        item is not None and item is not Ellipsis and type(item) is not slice and np.ndim(item) > 0
    )


def _placement(items: Sequence[Any]) -> tuple[int, int]:
    """Where NumPy puts the dimensions of advanced indices: (first position, separated?).

    (-1, 0) when there are none; in the second place 1 when something stands between them, so
    that NumPy moves their dimensions to the front.
    """
    if not any(_is_array(i) for i in items):
        return -1, 0
    advanced = [
        k
        for k, i in enumerate(items)
        if i is not None and i is not Ellipsis and type(i) is not slice
    ]
    return advanced[0], int(advanced[-1] - advanced[0] + 1 != len(advanced))


def take(value: Any, index: Any) -> Any:
    """``value[index]``, where the value or integer arrays in the index are batched."""
    items = index if type(index) is tuple else (index,)
    if any(type(i) is Batched for i in items):
        return _gather(value, items)
    array, levels = value.array, value.levels
    n = len(levels)
    _, separated = _placement(items)
    if separated:
        taken = array[(*_whole(levels), *items)]
        count = max(
            1 if np.asarray(i).dtype.kind == "b" else np.ndim(i) for i in items if _is_array(i)
        )
        # NumPy put the dimensions of the arrays first, the batch's after them.
        return Batched(np.moveaxis(taken, range(count, count + n), range(n)), levels)
    return Batched(array[(*_whole(levels), *items)], levels)


def _gather(value: Any, items: tuple[Any, ...]) -> Any:
    """Indexing by arrays of integers of which some are batched."""
    for item in items:
        if type(item) is Batched and item.dtype.kind == "b":
            raise _refuse(
                "indexing with a boolean mask",
                "Use tg.where(mask, x, 0.0), or multiply by the mask.",
            )
    shape = shape_of(value)
    items = _full_index(items, len(shape))
    levels = levels_of((value, *items))
    sizes = sizes_of((value, *items))
    own = value.levels if type(value) is Batched else ()
    array = value.array if own else np.asarray(value)
    _, separated = _placement(items)
    # Masks that are the same for all examples become positions; slices and None stay.
    expanded: list[Any] = []
    for item in items:
        if type(item) is not Batched and _is_array(item) and np.asarray(item).dtype.kind == "b":
            expanded.extend(np.nonzero(item))
        else:
            expanded.append(item)
    advanced = [k for k, i in enumerate(expanded) if i is not None and type(i) is not slice]
    count = max(len(shape_of(expanded[k])) for k in advanced)
    index: list[Any] = list(expanded)
    for k in advanced:
        item = expanded[k]
        index[k] = with_levels(item, levels, count) if type(item) is Batched else np.asarray(item)
    grid = []  # the example's own number, for the levels that the value has
    for place, level in enumerate(levels):
        if level in own:
            along = [1] * (len(levels) + count)
            along[place] = sizes[level]
            grid.append(np.arange(sizes[level]).reshape(along))
    taken = array[(*grid, *index)]
    # NumPy puts the dimensions of the arrays (levels, then the index's) first if something
    # stands between them, else at the first of them.
    positions = [*range(len(grid)), *(len(grid) + k for k in advanced)]
    apart = positions[-1] - positions[0] + 1 != len(positions)
    before = 0 if separated else sum(1 for i in expanded[: advanced[0]])
    at = 0 if apart or grid else before
    total = len(levels) + count
    if at:  # no grid: the levels stand behind `before` sliced dimensions
        taken = np.moveaxis(taken, range(at, at + len(levels)), range(len(levels)))
    elif before and not separated:
        taken = np.moveaxis(
            taken, range(total, total + before), range(len(levels), len(levels) + before)
        )
    return Batched(taken, levels)


def _full_index(items: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """The index with ``...`` written out."""
    used = 0
    for item in items:
        if item is None or item is Ellipsis:
            continue
        used += item.ndim if _is_array(item) and item.dtype.kind == "b" else 1
    where = next((k for k, i in enumerate(items) if i is Ellipsis), len(items))
    return (*items[:where], *[slice(None)] * (ndim - used), *items[where + 1 :])


# -- NumPy's functions, by family ----------------------------------------------------------------
RULES: dict[Any, Callable[..., Any]] = {}


def rule_for(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """State how NumPy functions act on batched values."""

    def put(rule: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            RULES[function] = rule
        return rule

    return put


def _only(value: Any, *others: Any) -> None:
    """Only the first argument may be batched."""
    if type(value) is not Batched or any(type(o) is Batched for o in others):
        raise NoRule("this argument cannot be batched inside vmap")


def shift_axis(axis: Any, value: Batched) -> Any:
    """An axis (or several) of the example's as axes of the array."""
    n, ndim = len(value.levels), len(value.shape)
    if isinstance(axis, (tuple, list)):
        return tuple(shift_axis(a, value) for a in axis)
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return n + axis % ndim


def _every_axis(value: Batched) -> tuple[int, ...]:
    return tuple(range(len(value.levels), value.array.ndim))


def _reducing(function: Any) -> Callable[..., Any]:
    """A reduction over ``axis``, by default over everything."""

    def rule(a: Any, axis: Any = None, *rest: Any, **kwargs: Any) -> Any:
        _only(a, *kwargs.values())
        if rest or kwargs.pop("out", None) is not None:
            raise NoRule(f"numpy.{function.__name__} with these arguments has no rule inside vmap")
        axes = _every_axis(a) if axis is None else shift_axis(axis, a)
        return Batched(function(a.array, axis=axes, **kwargs), a.levels)

    return rule


def _reduce_ufunc(ufunc: Any, a: Any, axis: Any = 0, **kwargs: Any) -> Any:
    kwargs.pop("out", None)
    kwargs = {k: v for k, v in kwargs.items() if k in ("keepdims", "dtype", "initial")}
    axes = _every_axis(a) if axis is None else shift_axis(axis, a)
    return Batched(ufunc.reduce(a.array, axis=axes, **kwargs), a.levels)


def _along(function: Any, default: Any = None) -> Callable[..., Any]:
    """A function along one axis; without one it takes the value flattened."""

    def rule(a: Any, axis: Any = default, **kwargs: Any) -> Any:
        _only(a, *kwargs.values())
        if kwargs.pop("out", None) is not None:
            raise NoRule("out= has no rule inside vmap")
        if axis is None:
            if kwargs.get("keepdims"):
                raise NoRule("keepdims of a flattened value has no rule inside vmap")
            a, axis = _reshape(a, -1), 0
        return Batched(function(a.array, axis=shift_axis(axis, a), **kwargs), a.levels)

    return rule


for _f in (
    np.sum, np.prod, np.mean, np.max, np.min, np.amax, np.amin, np.std, np.var, np.any, np.all,
    np.nansum, np.nanmax, np.nanmin, np.nanmean, np.count_nonzero, np.median, np.ptp,
):  # fmt: skip
    RULES[_f] = _reducing(_f)
for _f in (np.argmax, np.argmin, np.cumsum, np.cumprod, np.nanargmax, np.nanargmin):
    RULES[_f] = _along(_f)
for _f in (np.sort, np.argsort):
    RULES[_f] = _along(_f, -1)


def _partition(function: Any) -> Callable[..., Any]:
    def rule(a: Any, kth: Any, axis: Any = -1, **kwargs: Any) -> Any:
        return Batched(function(a.array, kth, axis=shift_axis(axis, a), **kwargs), a.levels)

    return rule


RULES[np.partition], RULES[np.argpartition] = _partition(np.partition), _partition(np.argpartition)


@rule_for(np.flip)
def _flip(m: Any, axis: Any = None) -> Any:
    return Batched(
        np.flip(m.array, _every_axis(m) if axis is None else shift_axis(axis, m)), m.levels
    )


@rule_for(np.roll)
def _roll(a: Any, shift: Any, axis: Any = None) -> Any:
    _only(a, shift)
    if axis is None:
        return _reshape(_roll(_reshape(a, -1), shift, 0), a.shape)
    return Batched(np.roll(a.array, shift, shift_axis(axis, a)), a.levels)


@rule_for(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    return Batched(np.diff(a.array, n, shift_axis(axis, a)), a.levels)


@rule_for(np.repeat)
def _repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    _only(a, repeats)
    if axis is None:
        a, axis = _reshape(a, -1), 0
    return Batched(np.repeat(a.array, repeats, shift_axis(axis, a)), a.levels)


@rule_for(np.tile)
def _tile(A: Any, reps: Any) -> Any:
    _only(A, reps)
    reps = (reps,) if np.ndim(reps) == 0 else tuple(reps)
    if len(reps) > len(A.shape):
        A = _reshape(A, (*[1] * (len(reps) - len(A.shape)), *A.shape))
    reps = (*[1] * (A.array.ndim - len(reps)), *reps)
    return Batched(np.tile(A.array, reps), A.levels)


# -- shapes
@rule_for(np.reshape)
def _reshape(a: Any, shape: Any, **kwargs: Any) -> Any:
    if kwargs.get("order", "C") != "C":
        raise NoRule("reshape with an order has no rule inside vmap")
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return Batched(a.array.reshape(a.batch + shape), a.levels)


def _reshape_method(self: Batched, *shape: Any) -> Any:
    return _reshape(self, shape[0] if len(shape) == 1 else shape)


@rule_for(np.transpose)
def _transpose(a: Any, axes: Any = None) -> Any:
    axes = range(a.ndim)[::-1] if axes is None else axes
    n = len(a.levels)
    return Batched(np.transpose(a.array, (*range(n), *shift_axis(tuple(axes), a))), a.levels)


def _transpose_method(self: Batched, *axes: Any) -> Any:
    return _transpose(self, (axes[0] if len(axes) == 1 else axes) or None)


@rule_for(np.swapaxes)
def _swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return Batched(np.swapaxes(a.array, shift_axis(axis1, a), shift_axis(axis2, a)), a.levels)


@rule_for(np.moveaxis)
def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    if not isinstance(source, int):
        source, destination = tuple(source), tuple(destination)
    return Batched(
        np.moveaxis(a.array, shift_axis(source, a), shift_axis(destination, a)), a.levels
    )


@rule_for(np.expand_dims)
def _expand_dims(a: Any, axis: Any) -> Any:
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    ndim = len(a.shape) + len(axes)
    n = len(a.levels)
    return Batched(np.expand_dims(a.array, tuple(n + i % ndim for i in axes)), a.levels)


@rule_for(np.squeeze)
def _squeeze(a: Any, axis: Any = None) -> Any:
    if axis is None:
        return _reshape(a, tuple(n for n in a.shape if n != 1))
    return Batched(np.squeeze(a.array, shift_axis(axis, a)), a.levels)


@rule_for(np.ravel)
def _ravel(a: Any, order: str = "C") -> Any:
    return _reshape(a, -1, order=order)


@rule_for(np.broadcast_to)
def _broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    padded = with_levels(array, array.levels, len(shape))
    return Batched(np.broadcast_to(padded, array.batch + shape), array.levels)


@rule_for(np.concatenate)
def _concatenate(arrays: Any, axis: Any = 0, **kwargs: Any) -> Any:
    if kwargs or axis is None:
        raise NoRule("concatenate with these arguments has no rule inside vmap")
    levels, sizes = levels_of(arrays), sizes_of(arrays)
    ndim = len(shape_of(arrays[0]))
    whole = [full_levels(a, levels, sizes) for a in arrays]
    return Batched(np.concatenate(whole, axis=len(levels) + axis % ndim), levels)


@rule_for(np.stack)
def _stack(arrays: Any, axis: int = 0, **kwargs: Any) -> Any:
    if kwargs:
        raise NoRule("stack with these arguments has no rule inside vmap")
    levels, sizes = levels_of(arrays), sizes_of(arrays)
    ndim = len(shape_of(arrays[0])) + 1
    whole = [full_levels(a, levels, sizes) for a in arrays]
    return Batched(np.stack(whole, axis=len(levels) + axis % ndim), levels)


@rule_for(np.pad)
def _pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    _only(array, *kwargs.values())
    widths = np.broadcast_to(np.asarray(pad_width), (len(array.shape), 2))
    full = [(0, 0)] * len(array.levels) + [tuple(w) for w in widths]
    return Batched(np.pad(array.array, full, mode, **kwargs), array.levels)


@rule_for(np.tril)
def _tril(m: Any, k: int = 0) -> Any:
    return _on_matrices(np.tril, m, k=k)


@rule_for(np.triu)
def _triu(m: Any, k: int = 0) -> Any:
    return _on_matrices(np.triu, m, k=k)


def _on_matrices(function: Any, a: Any, **kwargs: Any) -> Any:
    if type(a) is not Batched or len(a.shape) < 2:
        raise NoRule(f"numpy.{function.__name__} of a vector has no rule inside vmap")
    return Batched(function(a.array, **kwargs), a.levels)


@rule_for(np.diagonal)
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return Batched(
        np.diagonal(a.array, offset, shift_axis(axis1, a), shift_axis(axis2, a)), a.levels
    )


@rule_for(np.trace)
def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return Batched(np.trace(a.array, offset, shift_axis(axis1, a), shift_axis(axis2, a)), a.levels)


@rule_for(np.lib.stride_tricks.sliding_window_view)
def _windows(x: Any, window_shape: Any, axis: Any = None, **kwargs: Any) -> Any:
    axes = _every_axis(x) if axis is None else shift_axis(axis, x)
    view = np.lib.stride_tricks.sliding_window_view(x.array, window_shape, axes, **kwargs)
    return Batched(view, x.levels)


# -- elementwise functions that are no ufuncs
def _mapped(function: Any) -> Callable[..., Any]:
    def rule(*args: Any, **kwargs: Any) -> Any:
        if any(type(v) is Batched for v in kwargs.values()) or kwargs.get("out") is not None:
            raise NoRule(f"numpy.{function.__name__} with these arguments has no rule inside vmap")
        levels, arrays = align(args)
        return Batched(function(*arrays, **kwargs), levels)

    return rule


for _f in (np.round, np.around, np.nan_to_num, np.isclose, np.copy, np.real, np.imag, np.fix):
    RULES[_f] = _mapped(_f)


@rule_for(np.where)
def _where(condition: Any, *branches: Any) -> Any:
    if len(branches) != 2:
        raise _refuse("where(condition) with one argument", "Use tg.where(condition, a, b).")
    levels, arrays = align((condition, *branches))
    return Batched(np.where(*arrays), levels)


@rule_for(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, **kwargs: Any) -> Any:
    if kwargs:
        raise NoRule("clip with these arguments has no rule inside vmap")
    given = [v for v in (a, a_min, a_max) if v is not None]
    levels, arrays = align(given)
    rest = iter(arrays)
    return Batched(np.clip(*[None if v is None else next(rest) for v in (a, a_min, a_max)]), levels)


@rule_for(np.zeros_like)
def _zeros_like(a: Any, dtype: Any = None, **_kwargs: Any) -> Any:
    return Batched(np.zeros(a.array.shape, dtype or a.dtype), a.levels)


@rule_for(np.ones_like)
def _ones_like(a: Any, dtype: Any = None, **_kwargs: Any) -> Any:
    return Batched(np.ones(a.array.shape, dtype or a.dtype), a.levels)


@rule_for(np.empty_like)
def _empty_like(a: Any, dtype: Any = None, **_kwargs: Any) -> Any:
    return Batched(np.empty(a.array.shape, dtype or a.dtype), a.levels)


@rule_for(np.full_like)
def _full_like(a: Any, fill_value: Any, dtype: Any = None, **_kwargs: Any) -> Any:
    _only(a, fill_value)
    return Batched(np.full(a.array.shape, fill_value, dtype or a.dtype), a.levels)


@rule_for(np.shape)
def _shape(a: Any) -> Any:
    return a.shape


@rule_for(np.ndim)
def _ndim(a: Any) -> Any:
    return len(a.shape)


@rule_for(np.size)
def _size(a: Any, axis: Any = None) -> Any:
    return a.size if axis is None else a.shape[axis]


@rule_for(np.result_type)
def _result_type(*values: Any) -> Any:
    return np.result_type(*(v.array if type(v) is Batched else v for v in values))


@rule_for(np.iscomplexobj)
def _iscomplexobj(x: Any) -> Any:
    return x.dtype.kind == "c"


@rule_for(np.may_share_memory, np.shares_memory)
def _share(a: Any, b: Any, max_work: Any = None) -> Any:
    return np.may_share_memory(getattr(a, "array", a), getattr(b, "array", b))


def _ragged(name: str, remedy: str) -> Callable[..., Any]:
    def rule(*_args: Any, **_kwargs: Any) -> Any:
        raise _refuse(f"{name}()", remedy)

    return rule


for _f, _remedy in {
    np.nonzero: "Use tg.where(condition, a, b) with a result of fixed shape.",
    np.flatnonzero: "Use tg.where(condition, a, b) with a result of fixed shape.",
    np.argwhere: "Use tg.where(condition, a, b) with a result of fixed shape.",
    np.unique: "How many values are unique differs between examples: compute it outside vmap.",
    np.compress: "Use tg.where(condition, a, 0.0).",
    np.extract: "Use tg.where(condition, a, 0.0).",
}.items():
    RULES[_f] = _ragged(_f.__name__, _remedy)


# -- gathering
@rule_for(np.take_along_axis)
def _take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    levels = levels_of((arr, indices))
    ndim = len(shape_of(arr))
    if not ndim:
        raise NoRule("take_along_axis of a 0-d value has no rule inside vmap")
    a, i = (
        with_levels(v, levels)
        if type(v) is Batched
        else np.asarray(v).reshape((1,) * len(levels) + shape_of(v))
        for v in (arr, indices)
    )
    return Batched(np.take_along_axis(a, i, axis=len(levels) + axis % ndim), levels)


@rule_for(np.take)
def _take(a: Any, indices: Any, axis: Any = None, **kwargs: Any) -> Any:
    if kwargs:
        raise NoRule("take with these arguments has no rule inside vmap")
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    index = (*[slice(None)] * (axis % len(shape_of(a))), indices)
    return take(a, index)


# -- products
def _pair(a: Any, b: Any) -> bool:
    return type(a) is Batched and type(b) is Batched


def _matmul(a: Any, b: Any) -> Any:
    if type(a) is not Batched and type(a) not in PLAIN:
        return NotImplemented
    if type(b) is not Batched and type(b) not in PLAIN:
        return NotImplemented
    na, nb = len(shape_of(a)), len(shape_of(b))
    if not na or not nb:
        raise ValueError(
            f"matmul: operands of shape {shape_of(a)} and {shape_of(b)}: both need a dimension"
        )
    if type(b) is ndarray and nb == 2:  # one product for all examples
        if na <= 1 or a.array.ndim == 2:
            return Batched(np.matmul(a.array, b), a.levels)
        rows = a.array.reshape(-1, a.shape[-1])
        return Batched(np.matmul(rows, b).reshape(a.array.shape[:-1] + b.shape[1:]), a.levels)
    if type(a) is ndarray and na == 2 and nb == 1:
        return Batched(np.matmul(b.array, a.T), b.levels)
    if na == 1 and nb == 1:
        levels, (x, y) = align((a, b))
        return Batched(np.vecdot(x, y), levels)
    levels = levels_of((a, b))
    ndim = max(na, nb, 2)

    def stacked(v: Any, is_vector: bool, at: int) -> Any:
        array = v.array if type(v) is Batched else v
        if is_vector:
            array = np.expand_dims(array, at)
        if type(v) is Batched:
            return with_levels(Batched(array, v.levels), levels, ndim)
        return array

    product = np.matmul(stacked(a, na == 1, -2), stacked(b, nb == 1, -1))
    if na == 1:
        product = product[..., 0, :]
    elif nb == 1:
        product = product[..., 0]
    return Batched(product, levels)


@rule_for(np.matmul, np.linalg.matmul)
def _matmul_function(a: Any, b: Any, **kwargs: Any) -> Any:
    if kwargs:
        raise NoRule("matmul with these arguments has no rule inside vmap")
    return _matmul(a, b)


@rule_for(np.dot)
def _dot(a: Any, b: Any, **kwargs: Any) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    if kwargs or na > 2 or nb > 2:
        raise NoRule("dot with these arguments has no rule inside vmap")
    return a * b if not na or not nb else _matmul(a, b)


@rule_for(np.outer)
def _outer(a: Any, b: Any, **kwargs: Any) -> Any:
    if kwargs:
        raise NoRule("outer with these arguments has no rule inside vmap")
    return np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1))


@rule_for(np.einsum)
def _einsum(subscripts: Any, *operands: Any, **kwargs: Any) -> Any:
    if not isinstance(subscripts, str) or kwargs.get("out") is not None:
        raise NoRule("einsum with these arguments has no rule inside vmap")
    text = subscripts.replace(" ", "")
    if "->" not in text:
        letters = text.replace(",", "").replace("...", "")
        once = sorted(c for c in set(letters) if letters.count(c) == 1)
        text += "->" + ("..." if "..." in text else "") + "".join(once)
    left, right = text.split("->")
    levels = levels_of(operands)
    free = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkjihgfedcba" if c not in text]
    name = dict(zip(levels, free))
    if len(name) < len(levels):
        raise NoRule("einsum has no letters left for the levels of vmap")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError(
            f"einsum: {len(terms)} terms in {subscripts!r}, but {len(operands)} operands"
        )
    terms = [
        "".join(name[k] for k in v.levels) + term if type(v) is Batched else term
        for term, v in zip(terms, operands)
    ]
    full = ",".join(terms) + "->" + "".join(name[k] for k in levels) + right
    arrays = [v.array if type(v) is Batched else v for v in operands]
    return Batched(np.einsum(full, *arrays, **kwargs), levels)


def _generalized(ufunc: Any, inputs: Sequence[Any]) -> Any:
    """A generalized ufunc: it loops over leading dimensions, the levels among them."""
    cores = [
        len([n for n in term.strip("() ").split(",") if n])
        for term in ufunc.signature.split("->")[0].split("),")
    ]
    levels = levels_of(inputs)
    loops = max(len(shape_of(v)) - c for v, c in zip(inputs, cores))
    arrays = [
        with_levels(v, levels, loops + c) if type(v) is Batched else v
        for v, c in zip(inputs, cores)
    ]
    return _wrap(ufunc(*arrays), levels)


# -- linear algebra: NumPy's functions work on stacks of matrices
def _of_matrices(function: Any) -> Callable[..., Any]:
    def rule(a: Any, *args: Any, **kwargs: Any) -> Any:
        _only(a, *args, *kwargs.values())
        result = function(a.array, *args, **kwargs)
        if isinstance(result, tuple):
            parts = [Batched(r, a.levels) for r in result]
            return result._make(parts) if hasattr(result, "_make") else tuple(parts)
        return Batched(result, a.levels)

    return rule


for _f in (
    np.linalg.inv, np.linalg.det, np.linalg.slogdet, np.linalg.cholesky, np.linalg.eigh,
    np.linalg.eigvalsh, np.linalg.svd, np.linalg.svdvals, np.linalg.qr, np.linalg.pinv,
    np.linalg.matrix_power, np.linalg.matrix_rank, np.linalg.cond,
):  # fmt: skip
    RULES[_f] = _of_matrices(_f)
RULES[np.linalg.matrix_transpose] = RULES[np.matrix_transpose] = lambda x: _swapaxes(x, -1, -2)


@rule_for(np.linalg.solve)
def _solve(a: Any, b: Any) -> Any:
    levels = levels_of((a, b))
    is_vector = len(shape_of(b)) == 1
    if is_vector:
        b = np.reshape(b, (*shape_of(b), 1))
    ndim = max(len(shape_of(a)), len(shape_of(b)))
    a, b = (with_levels(v, levels, ndim) if type(v) is Batched else v for v in (a, b))
    x = np.linalg.solve(a, b)
    return Batched(x[..., 0] if is_vector else x, levels)


@rule_for(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if axis is None:
        raise NoRule("norm without an axis has no rule inside vmap")
    return Batched(np.linalg.norm(x.array, ord, shift_axis(axis, x), keepdims), x.levels)


def _method(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: rule(self, *args, **kwargs)


Batched.reshape = _reshape_method  # type: ignore[attr-defined]
Batched.transpose = _transpose_method  # type: ignore[attr-defined]
Batched.ravel = Batched.flatten = _method(_ravel)  # type: ignore[attr-defined]
Batched.swapaxes = _method(_swapaxes)  # type: ignore[attr-defined]
Batched.squeeze = _method(_squeeze)  # type: ignore[attr-defined]
Batched.take = _method(_take)  # type: ignore[attr-defined]
Batched.repeat = _method(_repeat)  # type: ignore[attr-defined]
Batched.clip = _method(_clip)  # type: ignore[attr-defined]
Batched.diagonal = _method(_diagonal)  # type: ignore[attr-defined]
Batched.dot = _method(_dot)  # type: ignore[attr-defined]
for _name in (
    "sum", "prod", "mean", "max", "min", "std", "var", "any", "all", "argmax", "argmin", "cumsum",
    "cumprod", "argsort",
):  # fmt: skip
    setattr(Batched, _name, _method(RULES[getattr(np, _name)]))
