"""Jacobians and Hessians: a whole basis of cotangents or tangents in one walk."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .batched import Batched, leave_level
from .batching import mapping
from .forward import push_forward
from .ops import levels as ops
from .ops.shaping import cat, reshape
from .reverse import walk
from .scopes import Scope, recording
from .tensors import Tensor, make
from .transforms import open_arguments, output_leaves, split_aux, zeros_for
from .trees import unflatten
from .values import full_like_value, settle

__all__ = ["hessian", "jacfwd", "jacrev"]


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that returns the Jacobian ∂f/∂x, by the reverse walk: for few outputs.

    The Jacobian has the shape ``output.shape + input.shape``; where output or input are trees,
    it is built like the output, and inside like the argument (a tuple for a tuple of
    ``argnums``). With ``has_aux`` the function returns ``(output, aux)`` and the result is
    ``(jacobian, aux)``. ``chunk_size``: how many rows at once, to save memory.

    >>> import tapegrad as tg
    >>> tg.func.jacrev(lambda x: x * x)(tg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_chunk(chunk_size, "jacrev")

    @functools.wraps(func, updated=())
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        scope = Scope("jacrev")
        opened, recipe, _ = open_arguments(scope, args, argnums)
        out, aux = split_aux(scope.call(func, opened, kwargs), has_aux, "jacrev")
        outs, built = output_leaves(out, "jacrev")
        graph = _needs_graph(scope, outs)
        rows = [unflatten(recipe, _rows(y, scope.inputs, graph, chunk_size)) for y in outs]
        result = unflatten(built, rows)
        return (result, scope.close(aux)) if has_aux else result

    return jacobian


def jacfwd(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function that returns the Jacobian ∂f/∂x, by the forward walk: for few inputs.

    Shapes and arguments as for :func:`jacrev`; ``chunk_size``: how many columns at once.
    (``randomness`` is there for torch's sake: the function runs once, outside any mapping.)

    >>> import tapegrad as tg
    >>> tg.func.jacfwd(lambda x: x * x)(tg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_chunk(chunk_size, "jacfwd")

    @functools.wraps(func, updated=())
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        scope = Scope("jacfwd")
        opened, recipe, _ = open_arguments(scope, args, argnums)
        out, aux = split_aux(scope.call(func, opened, kwargs), has_aux, "jacfwd")
        outs, built = output_leaves(out, "jacfwd")
        graph = _needs_graph(scope, outs)
        columns = [_columns(outs, x, graph, chunk_size) for x in scope.inputs]
        rows = [unflatten(recipe, [column[k] for column in columns]) for k in range(len(outs))]
        result = unflatten(built, rows)
        return (result, scope.close(aux)) if has_aux else result

    return jacobian


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns the Hessian ∂²f/∂x∂x, forward over reverse.

    ``jacfwd(jacrev(func))``: shape ``output.shape + input.shape + input.shape``, nested as
    Jacobians are for several ``argnums``.

    >>> import tapegrad as tg
    >>> tg.func.hessian(lambda x: x[0]**2 * x[1])(tg.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def _check_chunk(chunk_size: int | None, what: str) -> None:
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"{what}: chunk_size must be at least 1, not {chunk_size}")


def _needs_graph(scope: Scope, outs: list[Tensor]) -> bool:
    """Whether the derivatives must be recorded too."""
    return (scope.is_linked and scope.is_recorded_outside) or scope.reaches_outside(
        [y._record for y in outs]
    )


def _bases(x: Tensor, chunk_size: int | None) -> Iterator[Any]:
    """The unit vectors of a tensor's space, some at a time, along a new first dimension."""
    count = math.prod(x.shape)
    step = chunk_size or max(count, 1)
    for start in range(0, count, step):
        stop = min(start + step, count)
        basis = np.zeros((stop - start, count), x.dtype)
        np.fill_diagonal(basis[:, start:], 1)
        yield basis.reshape(stop - start, *x.shape)


def _zero_block(y: Tensor, x: Tensor) -> Tensor:
    dtype = x.dtype
    return make(settle(np.zeros(y.shape + x.shape, dtype)), None)


def _leave(value: Any, level: int, axis: int, size: int) -> Any:
    """A batched derivative (raw, or a Tensor when it is recorded) as a plain one."""
    if isinstance(value, Tensor):
        return ops.leave_level(value, level=level, axis=axis, size=size)
    return leave_level(value, level, axis, size)


def _joined(parts: list[Any], axis: int, shape: tuple[int, ...]) -> Tensor:
    """The chunks of a Jacobian in one, in its shape."""
    whole = parts[0] if len(parts) == 1 else cat(*parts, axis=axis)
    whole = reshape(whole, shape=shape)
    if isinstance(whole, Tensor):
        return whole
    if type(whole) is np.ndarray and (whole.base is not None or not whole.flags.writeable):
        whole = whole.copy()  # the user may write to it
    return make(settle(whole), None)


def _rows(y: Tensor, inputs: list[Tensor], graph: bool, chunk_size: int | None) -> list[Tensor]:
    """The Jacobian of one output by every input, from cotangents."""
    record = y._record
    if record is None or not math.prod(y.shape):
        return [_zero_block(y, x) for x in inputs]
    wanted = {x._record[0]: None for x in inputs}  # type: ignore[index]
    if y.shape == ():  # a gradient: no need to map
        seed = full_like_value(1.0, y._value)
        arrived = _walk(record, make(seed, None) if graph else seed, graph, wanted)
        found = [arrived.get(x._record[0]) for x in inputs]  # type: ignore[index]
        return [
            zeros_for(x) if at is None else _joined([at[1]], 0, x.shape)
            for x, at in zip(inputs, found, strict=True)
        ]
    parts: list[list[Any]] = [[] for _ in inputs]
    for basis in _bases(y, chunk_size):
        size = len(basis)
        with mapping(size) as level:
            seed = Batched(basis, (level.number,))
            arrived = _walk(record, make(seed, None) if graph else seed, graph, wanted)
        for part, x in zip(parts, inputs, strict=True):
            at = arrived.get(x._record[0])  # type: ignore[index]
            if at is not None:
                part.append(_leave(at[1], level.number, 0, size))
    return [
        _joined(part, 0, y.shape + x.shape) if part else _zero_block(y, x)
        for part, x in zip(parts, inputs, strict=True)
    ]


def _walk(record: Any, seed: Any, graph: bool, wanted: dict[int, Any]) -> dict[int, Any]:
    if graph:
        with recording():
            return walk([(record, seed)], graph=True, retain=True, wanted=wanted)
    return walk([(record, seed)], graph=False, retain=True, wanted=wanted)


def _columns(outs: list[Tensor], x: Tensor, graph: bool, chunk_size: int | None) -> list[Tensor]:
    """The Jacobian of every output by one input, from tangents."""
    parts: list[list[Any]] = [[] for _ in outs]
    for basis in _bases(x, chunk_size):
        size = len(basis)
        with mapping(size) as level, recording():
            tangent = make(Batched(basis, (level.number,)), None)
            moved = push_forward(outs, [x], [tangent], graph)
        for part, y, t in zip(parts, outs, moved, strict=True):
            if t is not None:
                value = t if graph else t._value
                part.append(_leave(value, level.number, len(y.shape), size))
    return [
        _joined(part, len(y.shape), y.shape + x.shape) if part else _zero_block(y, x)
        for part, y in zip(parts, outs, strict=True)
    ]
