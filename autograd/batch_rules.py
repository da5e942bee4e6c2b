"""How some primitives act inside vmap, where their forwards do not get there by themselves.

NumPy's protocols carry most primitives (``batched.RULES``). Those here write into fresh arrays,
which a duck array cannot do: indexing with what is written, scattering, overlapping windows.
A rule takes the operands and parameters of the forward and returns NotImplemented when nothing
is batched, or the loop over examples should do it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from . import methods as _methods  # noqa: F401  (every primitive is there once it is loaded)
from .batched import Batched, NoStaticShape, full_levels, levels_of, sizes_of
from .batched_indexing import take
from .ops import indexing
from .ops import recurrent as _recurrent  # noqa: F401  (the layers use it)
from .ops.engine import check_holds
from .registry import REGISTRY
from .values import dtype_of, settle, shape_of


def rule_of(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """State how primitives act on batched values, by their names."""

    def put(rule: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            op = REGISTRY[name]

            def for_op(values: Any, params: Any, op: Any = op) -> Any:
                for value in values:
                    if type(value) is Batched:
                        return rule(op, values, params)
                return NotImplemented

            op.batch_rule = for_op
        return rule

    return put


def _items(index: Any) -> tuple[Any, ...]:
    return index if type(index) is tuple else (index,)


class _Stack:
    """Operands with all their levels as one leading dimension."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.levels = levels_of(values)
        self.sizes = sizes_of(values)
        self.batch = tuple(self.sizes[level] for level in self.levels)
        self.count = math.prod(self.batch)

    def whole(self, value: Any) -> ndarray:
        """The value of every example, (count, *shape)."""
        array = full_levels(value, self.levels, self.sizes)
        return array.reshape(self.count, *shape_of(value))

    def back(self, array: ndarray) -> Batched:
        return Batched(array.reshape(*self.batch, *array.shape[1:]), self.levels)


# -- x[index] and its transposes -----------------------------------------------------------------
def _index_of(values: Sequence[Any], params: dict[str, Any], operands: int) -> tuple[Any, ...]:
    """The index, from the parameters or with its arrays among the operands."""
    if "spec" in params:
        return indexing.fill_spec(params["spec"], tuple(values[operands:]))
    return _items(params["index"])


def _positions(index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Where in the flattened tensor the elements at an index are."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return take(numbers, index) if any(type(i) is Batched for i in index) else numbers[index]


def _flat(stack: _Stack, positions: Any, size: int) -> ndarray:
    """The positions of every example, in all of them laid end to end: (count, elements)."""
    whole = stack.whole(positions).reshape(stack.count, -1)
    return whole + np.arange(stack.count)[:, None] * size


@rule_of("getitem_at")
def _getitem(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    return take(values[0], _index_of(values, params, 1))


@rule_of("put", "put_at")
def _put(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    x, shape = values[0], tuple(params["shape"])
    index = _index_of(values, params, 1)
    if type(x) is Batched and indexing.is_basic(index):
        out = np.zeros(x.batch + shape, x.dtype)
        out[(*[slice(None)] * len(x.batch), *index)] = x.array
        return Batched(out, x.levels)
    positions = _positions(index, shape)
    stack, size = _Stack((x, positions)), math.prod(shape)
    rows = np.broadcast_to(
        stack.whole(_padded(x, len(shape_of(positions)))), (stack.count, *shape_of(positions))
    )
    flat = _flat(stack, positions, size).reshape(-1)
    total = indexing.add_rows(flat, rows.reshape(-1), stack.count * size)
    return stack.back(total.reshape(stack.count, *shape))


def _padded(value: Any, ndim: int) -> Any:
    """The value with dimensions of length 1 in front, up to ``ndim``."""
    shape = shape_of(value)
    return value if len(shape) >= ndim else np.reshape(value, (1,) * (ndim - len(shape)) + shape)


@rule_of("index_put", "index_put_at")
def _index_put(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    x, v = values[:2]
    shape = shape_of(x)
    index = _index_of(values, params, 2)
    positions = _positions(index, shape)
    picked = shape_of(positions)
    stack, size = _Stack((x, v, positions)), math.prod(shape)
    extra = len(shape_of(v)) - len(picked)
    if extra > 0:  # NumPy lets a value have leading dimensions of length 1 too many
        v = np.reshape(v, shape_of(v)[extra:])
    new = np.broadcast_to(stack.whole(_padded(v, len(picked))), (stack.count, *picked))
    new = new.astype(dtype_of(x), copy=False).reshape(-1)
    flat = _flat(stack, positions, size).reshape(-1)
    out = np.array(stack.whole(x)).reshape(-1)
    if params["accumulate"]:
        out = out + indexing.add_rows(flat, new, out.size)
    else:
        out[flat] = new
    return stack.back(out.reshape(stack.count, *shape))


@rule_of("last_written")
def _last_written(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    shape, taken = params["shape"], params["taken"]
    positions = _positions(indexing.fill_spec(params["spec"], tuple(values)), shape)
    stack = _Stack((positions,))
    flat = _flat(stack, positions, math.prod(shape)).reshape(-1)
    board = np.full(stack.count * math.prod(shape), -1)
    board[flat] = np.arange(flat.size)
    return stack.back((board[flat] == np.arange(flat.size)).reshape(stack.count, *taken))


# -- along one dimension: the examples are one more dimension in front ---------------------------
@rule_of("gather", "scatter_sum", "scatter_extreme", "scatter_hits", "scatter_stays")
def _along(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    if not all(shape_of(v) for v in values):
        return NotImplemented
    stack = _Stack(values)
    moved = {**params, "axis": params["axis"] + 1}
    if "shape" in params:
        moved["shape"] = (stack.count, *params["shape"])
    return stack.back(op.forward(*map(stack.whole, values), **moved))


@rule_of("put_diagonal")
def _put_diagonal(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = values
    n = len(x.levels)
    moved = {
        "offset": params["offset"],
        "axis1": params["axis1"] + n,
        "axis2": params["axis2"] + n,
        "shape": (*x.batch, *params["shape"]),
    }
    return Batched(op.forward(x.array, **moved), x.levels)


@rule_of("overlap_add")
def _overlap_add(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    (w,) = values
    n = len(w.levels)
    moved = {
        **params,
        "axes": tuple(a + n for a in params["axes"]),
        "shape": (*w.batch, *params["shape"]),
    }
    return Batched(op.forward(w.array, **moved), w.levels)


# -- windows ------------------------------------------------------------------------------------
@rule_of("window_sum", "window_spread")
def _window_sum(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = values
    return Batched(
        op.forward(x.array, **{**params, "axis": params["axis"] + len(x.levels)}), x.levels
    )


@rule_of("window_maximum")
def _window_maximum(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = values  # the windows lie over the last dimensions
    return tuple(Batched(y, x.levels) for y in op.forward(x.array, **params))


@rule_of("convolve", "convolve_transposed", "convolve_kernels")
def _convolve(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    """The examples as more images; where the kernels differ between them, as more groups."""
    stack, (a, b) = _Stack(values), values
    if not stack.count:
        return NotImplemented
    gives_kernels = op.name == "convolve_kernels"
    if not gives_kernels and type(b) is not Batched:
        whole = stack.whole(a)
        y = op.forward(whole.reshape(-1, *whole.shape[2:]), b, **params)
        return stack.back(y.reshape(*whole.shape[:2], *y.shape[1:]))
    groups = params["groups"]
    if type(a) is not Batched and groups == 1 and op.name != "convolve_transposed":
        first = a  # all examples read the same images: more channels come out of them
    else:
        first, groups = _as_channels(stack.whole(a)), groups * stack.count
    second = stack.whole(b)
    second = _as_channels(second) if gives_kernels else second.reshape(-1, *second.shape[2:])
    y = op.forward(first, second, **{**params, "groups": groups})
    if gives_kernels:
        return stack.back(y.reshape(stack.count, -1, *y.shape[1:]))
    return stack.back(np.moveaxis(y.reshape(len(y), stack.count, -1, *y.shape[2:]), 1, 0))


def _as_channels(images: ndarray) -> ndarray:
    """(examples, n, c, *) as (n, examples · c, *)."""
    moved = np.moveaxis(images, 0, 1)
    return moved.reshape(len(moved), -1, *moved.shape[3:])


# -- assertions ----------------------------------------------------------------------------------
@rule_of("rnn_steps", "lstm_steps", "gru_steps")
def _recurrent_steps(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    stack = _Stack(values)
    first, *weights = values[: 3 if op.name == "gru_steps" else 2]
    if any(type(w) is Batched for w in weights):  # products of matrices for each example
        y = op.forward(*map(stack.whole, values), **params)
        return tuple(map(stack.back, y)) if type(y) is tuple else stack.back(y)
    # With the same weights, examples are more rows of each step.
    states = values[1 + len(weights) :]
    first, *states = (_beside(stack.whole(v)) for v in (first, *states))
    sizes = tuple(n * stack.count for n in params["sizes"])
    y = op.forward(first, *weights, *states, **{**params, "sizes": sizes})
    apart = [
        stack.back(v.reshape(-1, stack.count, v.shape[1]).swapaxes(0, 1))
        for v in (y if type(y) is tuple else (y,))
    ]
    return tuple(apart) if type(y) is tuple else apart[0]


def _beside(array: ndarray) -> ndarray:
    """Rows of all examples (count, rows, width) as rows, those of one number together."""
    return array.swapaxes(0, 1).reshape(-1, array.shape[2])


@rule_of("check")
def _check(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    condition = values[0]
    if type(condition) is not Batched:
        return np.True_ if np.all(condition) else NotImplemented
    if not condition.array.all():  # say it for the first example for which it does not hold
        failing = np.argwhere(~condition.array)[0]
        place = dict(zip(condition.levels, map(int, failing)))
        check_holds.primitive.forward(False, *(_at(v, place) for v in values[1:]), **params)
    return np.True_


def _at(value: Any, place: dict[int, int]) -> Any:
    """One example of a value (the first, of levels that are not told)."""
    if type(value) is not Batched:
        return value
    return settle(value.array[tuple(place.get(level, 0) for level in value.levels)])


# -- no static shape -----------------------------------------------------------------------------
def _no_static_shape(*names: str, says: str, remedy: str) -> None:
    @rule_of(*names)
    def refuse(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
        raise NoStaticShape(
            f"{says} inside vmap: how many elements it has differs between examples, so that it "
            f"has no static shape. {remedy}"
        )


_no_static_shape(
    "nonzero",
    says="nonzero() (also argwhere and where with one argument)",
    remedy="Use tg.where(condition, a, b), which keeps the shape.",
)
_no_static_shape(
    "unique_indices",
    "run_indices",
    says="unique() (also unique_consecutive)",
    remedy="Compute it outside vmap.",
)
