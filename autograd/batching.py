"""vmap: a function of one example becomes a function of a batch.

The mapped function is called once, on values that hide their batch dimension
(``batched.Batched``), so that everything it does is done for all examples at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np

# Importing these states the rules they hold.
from . import batch_rules as _batch_rules  # noqa: F401
from . import batched_products as _batched_products  # noqa: F401
from .batched import (
    ACTIVE,
    LIVE,
    Batched,
    Level,
    NoRule,
    NoStaticShape,
    levels_of,
    sizes_of,
    with_levels,
)
from .functions.dims import one_dim
from .ops import levels as ops
from .outsiders import put_back
from .records import next_number
from .tensors import Tensor, tensor
from .trees import flatten, spread, unflatten
from .values import dtype_of, settle, shape_of

# -- example by example -------------------------------------------------------------------------
#: Called with the name of a primitive that falls back to the loop; for tests.
on_loop: Callable[[str], None] | None = None


def is_batched(tree: Any) -> bool:
    """Whether there is a batched value among operands and parameters."""
    found: list[Batched] = []
    _collect(tree, found)
    return bool(found)


def fall_back(op: Any, values: Sequence[Any], params: dict[str, Any]) -> Any:
    """Compute a primitive whose forward cannot take batched values, one example after the other."""
    found: list[Batched] = []
    _collect((values, params), found)
    for value in found:
        if value.dtype.kind == "b" and op.name in ("getitem", "put", "index_put"):
            raise NoStaticShape(
                "indexing with a boolean mask inside vmap: how many elements it takes differs "
                "between examples. Use tg.where(mask, x, 0.0), or multiply by the mask."
            )
    if on_loop is not None:
        on_loop(op.name)
    levels, sizes = levels_of(found), sizes_of(found)
    counts = [sizes[level] for level in levels]
    if 0 in counts:
        raise NoRule(f"{op.name} inside vmap over no examples at all has no rule")
    prepared = _tree(lambda v: with_levels(v, levels), (tuple(values), params))
    results = []
    for place in product(*map(range, counts)):
        these, those = _tree(functools.partial(_example, place), prepared)
        results.append(op.forward(*these, **those))
    if type(results[0]) is tuple:
        return tuple(_stacked(op, r, counts, levels) for r in zip(*results, strict=True))
    return _stacked(op, results, counts, levels)


class _Prepared:
    """A batched value on its way into the loop."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array


def _collect(tree: Any, found: list[Batched]) -> None:
    if type(tree) is Batched:
        found.append(tree)
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            _collect(item, found)
    elif isinstance(tree, dict):
        for item in tree.values():
            _collect(item, found)


def _tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """Operands and parameters with their batched values replaced."""
    kind = type(tree)
    if kind is Batched:
        return _Prepared(function(tree))
    if kind is _Prepared:
        return function(tree)
    if kind is tuple or kind is list:
        return kind(_tree(function, item) for item in tree)
    if kind is dict:
        return {k: _tree(function, v) for k, v in tree.items()}
    return tree


def _example(place: tuple[int, ...], value: _Prepared) -> Any:
    array = value.array
    return settle(array[tuple(i if n > 1 else 0 for i, n in zip(place, array.shape))])


def _stacked(op: Any, results: Sequence[Any], counts: list[int], levels: tuple[int, ...]) -> Any:
    results = [settle(r) for r in results]
    shape = shape_of(results[0])
    if any(shape_of(r) != shape for r in results):
        raise NoStaticShape(
            f"{op.name} inside vmap: the shape of its result differs between examples "
            f"({shape}, {next(s for s in map(shape_of, results) if s != shape)}, ...). "
            "Compute it outside vmap, or use tg.where with a result of fixed shape."
        )
    stacked = np.stack(results) if shape else np.array(results, dtype_of(results[0]))
    return Batched(stacked.reshape((*counts, *shape)), levels)


# -- levels --------------------------------------------------------------------------------------
@contextmanager
def mapping(size: int, randomness: str = "error", outside: Any = ()) -> Iterator[Level]:
    """A new level while the block runs. ``outside``: what the block may reach from there."""
    level = Level(next_number(), size, randomness, tuple(outside), [])
    token = ACTIVE.set((*ACTIVE.get(), level))
    LIVE.add(level.number)
    try:
        yield level
    finally:
        LIVE.discard(level.number)
        ACTIVE.reset(token)


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Map a function over a dimension of its arguments: ``vmap(f)(xs)[i] = f(xs[i])``.

    The function is called once, on tensors that hide the mapped dimension, so that the whole
    batch is computed at once. It nests with itself and with every other transformation:
    ``vmap(grad(loss), in_dims=(None, 0, 0))(w, xs, ys)`` gives the gradient of each example.

    ``in_dims``: the dimension to map over, an int for all arguments or a tuple with an entry for
    each; None for an argument that all examples share; nested like the argument where that is a
    tuple, list or dict; negative numbers count from the end. Keyword arguments are shared.
    ``out_dims``: where the mapped dimension goes in the results, in the same manner.
    ``randomness``: random numbers drawn inside raise ("error"), differ between examples
    ("different") or are shared ("same"). ``chunk_size``: how many examples at once, to save
    memory.

    Raises ValueError when dimensions do not fit, and RuntimeError for what has no static shape or
    single answer inside: indexing by a mapped boolean mask, ``nonzero``, ``unique``, ``item()``,
    ``if`` on a mapped tensor (use ``tg.where``).

    >>> import tapegrad as tg
    >>> xs = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tg.vmap(lambda x: (x * x).sum())(xs)
    tensor([ 5., 25.])
    >>> w = tg.tensor([1.0, 10.0])
    >>> tg.vmap(tg.func.grad(lambda w, x: (w * x).sum()**2), in_dims=(None, 0))(w, xs)
    tensor([[ 42.,  84.],
            [258., 344.]])
    """
    if randomness not in ("error", "different", "same"):
        raise ValueError(
            f"vmap: randomness must be 'error', 'different' or 'same', not {randomness!r}"
        )
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"vmap: chunk_size must be at least 1, not {chunk_size}")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, recipe = flatten(args)
        dims = _input_dims(in_dims, args)
        leaves, dims, size = _check_inputs(leaves, dims)
        if chunk_size is None or chunk_size >= size:
            results, built = _run(func, leaves, dims, recipe, kwargs, size, out_dims, randomness)
            return unflatten(built, results)
        from .ops.shaping import cat

        parts = []
        for start in range(0, size, chunk_size):
            stop = min(start + chunk_size, size)
            piece = [
                x if d is None else x[(*[slice(None)] * d, slice(start, stop))]
                for x, d in zip(leaves, dims, strict=True)
            ]
            results, built = _run(func, piece, dims, recipe, kwargs, stop - start, 0, randomness)
            parts.append(results)
        whole = [cat(*column, axis=0) for column in zip(*parts, strict=True)]
        wanted = spread(out_dims, unflatten(built, whole), "vmap: out_dims", of="the result")
        moved = [_moved(x, d) for x, d in zip(whole, wanted, strict=True)]
        return unflatten(built, moved)

    return mapped


def _moved(x: Tensor, dim: int | None) -> Tensor:
    from .ops.shaping import permute

    if dim is None:
        raise ValueError("vmap: out_dims=None cannot be used with chunk_size")
    n = x.ndim
    axes = list(range(1, n))
    axes.insert(one_dim(dim, n, "vmap: out_dims"), 0)
    return x if axes == list(range(n)) else permute(x, axes=tuple(axes))


def _input_dims(in_dims: Any, args: tuple[Any, ...]) -> list[Any]:
    if isinstance(in_dims, list):
        in_dims = tuple(in_dims)
    if isinstance(in_dims, tuple) and len(in_dims) != len(args):
        raise ValueError(
            f"vmap: in_dims {in_dims!r} has {len(in_dims)} entries, but the function was called "
            f"with {len(args)} positional arguments"
        )
    return spread(in_dims, args, "vmap: in_dims", of="the arguments")


def _check_inputs(leaves: list[Any], dims: list[Any]) -> tuple[list[Any], list[Any], int]:
    """The leaves as tensors, their dimensions as non-negative ints, and the number of examples."""
    size: int | None = None
    found_leaves, found_dims = [], []
    for leaf, dim in zip(leaves, dims, strict=True):
        if dim is not None:
            if isinstance(leaf, np.ndarray):
                leaf = tensor(leaf)
            if not isinstance(leaf, Tensor):
                raise ValueError(
                    f"vmap: in_dims maps over an argument of type {type(leaf).__name__} "
                    f"({leaf!r}): "
                    "only tensors and arrays can be mapped; say None for it in in_dims"
                )
            if not leaf.shape:
                raise ValueError(
                    "vmap: in_dims maps over a 0-d tensor, which has no dimension: say None for it"
                )
            try:
                dim = one_dim(dim, leaf.ndim, "vmap: in_dims")
            except IndexError as error:
                raise ValueError(str(error)) from None
            count = leaf.shape[dim]
            if size is not None and count != size:
                raise ValueError(
                    f"vmap: the mapped dimensions have different lengths, {size} and {count} "
                    f"(shape {leaf.shape}, in_dim {dim}): all must be equal"
                )
            size = count
        found_leaves.append(leaf)
        found_dims.append(dim)
    if size is None:
        raise ValueError("vmap: nothing to map over: at least one in_dims must not be None")
    return found_leaves, found_dims, size


def _run(
    func: Callable[..., Any],
    leaves: list[Any],
    dims: list[Any],
    recipe: Any,
    kwargs: dict[str, Any],
    size: int,
    out_dims: Any,
    randomness: str,
) -> tuple[list[Tensor], Any]:
    with mapping(size, randomness, (func, leaves, kwargs)) as level:
        try:
            inner = [
                x if d is None else ops.enter_level(x, level=level.number, axis=d, size=size)
                for x, d in zip(leaves, dims, strict=True)
            ]
            result = func(*unflatten(recipe, inner), **kwargs)
        except BaseException:
            put_back(level, blame=False)
            raise
    outs, built = flatten(result)
    wanted = spread(out_dims, result, "vmap: out_dims", of="the result")
    left = [_leave(y, d, level.number, size) for y, d in zip(outs, wanted, strict=True)]
    del result, outs, inner  # what is still alive now, others have
    put_back(level)
    return left, built


def _leave(y: Any, dim: int | None, level: int, size: int) -> Tensor:
    if not isinstance(y, Tensor):
        if not isinstance(y, (int, float, bool, np.ndarray, np.generic)):
            raise TypeError(f"vmap: the function must return tensors, not {type(y).__name__}")
        y = tensor(y)
    if dim is None:
        if type(y._value) is Batched and level in y._value.levels:
            raise ValueError(
                "vmap: out_dims is None for a result that differs between examples "
                f"(shape {y.shape}): say where the mapped dimension goes"
            )
        return y
    try:
        axis = one_dim(dim, y.ndim, "vmap: out_dims", insert=True)
    except IndexError as error:
        raise ValueError(str(error)) from None
    return ops.leave_level(y, level=level, axis=axis, size=size)  # type: ignore[no-any-return]


__all__ = ["vmap"]
