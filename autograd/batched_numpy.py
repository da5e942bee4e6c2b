"""NumPy's functions on batched values, by family: reductions, shapes, elementwise, gathering.

Axes are the example's, so that each rule moves them behind the levels; values that must come
together are aligned.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .batched import (
    RULES,
    Batched,
    NoRule,
    align,
    full_levels,
    levels_of,
    refuse,
    rule_for,
    sizes_of,
    with_levels,
)
from .batched_indexing import take
from .values import shape_of


def only(value: Any, *others: Any) -> None:
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
        only(a, *kwargs.values())
        if rest or kwargs.pop("out", None) is not None:
            raise NoRule(f"numpy.{function.__name__} with these arguments has no rule inside vmap")
        axes = _every_axis(a) if axis is None else shift_axis(axis, a)
        return Batched(function(a.array, axis=axes, **kwargs), a.levels)

    return rule


@rule_for("reduce")
def _reduce_ufunc(ufunc: Any, a: Any, axis: Any = 0, **kwargs: Any) -> Any:
    kwargs.pop("out", None)
    kwargs = {k: v for k, v in kwargs.items() if k in ("keepdims", "dtype", "initial")}
    axes = _every_axis(a) if axis is None else shift_axis(axis, a)
    return Batched(ufunc.reduce(a.array, axis=axes, **kwargs), a.levels)


def _along(function: Any, default: Any = None) -> Callable[..., Any]:
    """A function along one axis; without one it takes the value flattened."""

    def rule(a: Any, axis: Any = default, **kwargs: Any) -> Any:
        only(a, *kwargs.values())
        if kwargs.pop("out", None) is not None:
            raise NoRule("out= has no rule inside vmap")
        if axis is None:
            if kwargs.get("keepdims"):
                raise NoRule("keepdims of a flattened value has no rule inside vmap")
            a, axis = _reshape(a, -1), 0
        return Batched(function(a.array, axis=shift_axis(axis, a), **kwargs), a.levels)

    return rule


RULES["accumulate"] = lambda ufunc, *args, **kwargs: _along(ufunc.accumulate, 0)(*args, **kwargs)
_f: Any
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
    only(a, shift)
    if axis is None:
        return _reshape(_roll(_reshape(a, -1), shift, 0), a.shape)
    return Batched(np.roll(a.array, shift, shift_axis(axis, a)), a.levels)


@rule_for(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    return Batched(np.diff(a.array, n, shift_axis(axis, a)), a.levels)


@rule_for(np.repeat)
def _repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    only(a, repeats)
    if axis is None:
        a, axis = _reshape(a, -1), 0
    return Batched(np.repeat(a.array, repeats, shift_axis(axis, a)), a.levels)


@rule_for(np.tile)
def _tile(A: Any, reps: Any) -> Any:
    only(A, reps)
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
    only(array, *kwargs.values())
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
        raise refuse("where(condition) with one argument", "Use tg.where(condition, a, b).")
    levels, arrays = align((condition, *branches))
    return Batched(np.where(*arrays), levels)


@rule_for(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, **kwargs: Any) -> Any:
    if kwargs:
        raise NoRule("clip with these arguments has no rule inside vmap")
    bounds = (a, a_min, a_max)
    levels, arrays = align([v for v in bounds if v is not None])
    rest = iter(arrays)
    aligned: list[Any] = [None if v is None else next(rest) for v in bounds]
    return Batched(np.clip(*aligned), levels)


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
    only(a, fill_value)
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
        raise refuse(f"{name}()", remedy)

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
for _name in (
    "sum", "prod", "mean", "max", "min", "std", "var", "any", "all", "argmax", "argmin", "cumsum",
    "cumprod", "argsort",
):  # fmt: skip
    setattr(Batched, _name, _method(RULES[getattr(np, _name)]))
