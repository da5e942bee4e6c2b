"""Reductions with torch's arguments: sums, products, extremes, tests.

``dim`` is an int, a tuple of ints, or None for all dimensions; ``keepdim`` keeps the reduced
dimensions with length 1; ``axis=`` is another name for ``dim=``. Of nothing at all the sum is 0,
the product 1, the mean NaN; extremes raise.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from ..ops import arithmetic, shaping, statistics
from ..ops import reductions as ops
from ..tensors import Tensor
from ..values import as_dtype, dtype_of, get_default_dtype, shape_of
from .dims import either, one_dim, reduced_dims

__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "max",
    "mean",
    "min",
    "nanmean",
    "nansum",
    "prod",
    "sum",
]


class ValuesAndIndices(NamedTuple):
    """What an operation returns that chooses elements: their values, and where they are."""

    values: Any
    indices: Any


class MinMax(NamedTuple):
    """What :func:`aminmax` returns."""

    min: Any
    max: Any


# -- shared by the modules of reductions ------------------------------------------------------
def as_type(input: Any, dtype: Any) -> Any:
    """The operand in the dtype that was asked for; None leaves it."""
    wanted = as_dtype(dtype)
    if wanted is None or wanted == dtype_of(input):
        return input
    return (shaping.cast if wanted.kind == "f" else shaping.cast_whole)(input, dtype=wanted)


def as_floating(input: Any, dtype: Any = None) -> Any:
    """The operand in ``dtype``; by default integers and booleans become the default dtype."""
    if dtype is None and dtype_of(input).kind in "iub":
        dtype = get_default_dtype()
    return as_type(input, dtype)


def as_summand(input: Any, dtype: Any) -> Any:
    """The operand in ``dtype``; by default booleans and short integers become int64."""
    if dtype is None and dtype_of(input).kind in "iub":
        dtype = np.int64
    return as_type(input, dtype)


def refuse_nothing(input: Any, dims: tuple[int, ...], dim: Any, what: str) -> None:
    """An extreme of no elements does not exist."""
    shape = shape_of(input)
    if dim is None and math.prod(shape) == 0:
        raise RuntimeError(
            f"{what}: a tensor of shape {shape} has no elements to choose from; give a dim= that "
            "is not empty"
        )
    for d in dims:
        if shape and shape[d] == 0:
            raise IndexError(f"{what}: dimension {d} of a tensor of shape {shape} is empty")


def chosen_dim(dim: Any, axis: Any, input: Any, what: str) -> tuple[int, ...]:
    """The one dimension along which an element is chosen, as a tuple; () for a scalar."""
    ndim = len(shape_of(input))
    found = one_dim(either(dim, axis, what), ndim, what)
    return (found,) if ndim else ()


# -- sums -------------------------------------------------------------------------------------
def sum(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None
) -> Any:
    """The sum Σ x over ``dim`` (default: all dimensions); 0 where there is nothing to add.

    ``dtype``: convert first. Integers and booleans add up as int64.

    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=0)
    tensor([4., 6.])
    """
    if dtype is not None or dtype_of(input).kind != "f":
        input = as_summand(input, dtype)
    dims = reduced_dims(dim, axis, len(shape_of(input)), "sum")
    return ops.sum(input, axis=dims, keepdims=bool(keepdim))


def mean(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None
) -> Any:
    """The mean Σ x / n over ``dim`` (default: all dimensions); NaN where there is nothing.

    ``dtype``: convert first. Integers and booleans are averaged in the default dtype, so that
    ``(guess == label).mean()`` is a rate.

    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]]).mean(dim=0)
    tensor([2., 3.])
    """
    if dtype is not None or dtype_of(input).kind != "f":
        input = as_floating(input, dtype)
    dims = reduced_dims(dim, axis, len(shape_of(input)), "mean")
    return ops.mean(input, axis=dims, keepdims=bool(keepdim))


def nansum(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None
) -> Any:
    """The sum over ``dim`` with NaN counted as 0 (and with derivative 0).

    >>> import tapegrad as tg
    >>> tg.nansum(tg.tensor([1.0, tg.nan, 2.0]))
    tensor(3.)
    """
    dims = reduced_dims(dim, axis, len(shape_of(input)), "nansum")
    return sum(_nan_as_zero(as_summand(input, dtype)), dims, keepdim)


def nanmean(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None
) -> Any:
    """The mean over ``dim`` of the elements that are not NaN (which get derivative 0).

    NaN where all are.

    >>> import tapegrad as tg
    >>> tg.nanmean(tg.tensor([1.0, tg.nan, 2.0]))
    tensor(1.5000)
    """
    input = as_floating(input, dtype)
    valid = shaping.cast(input == input, dtype=dtype_of(input))
    dims = reduced_dims(dim, axis, len(shape_of(input)), "nanmean")
    count = sum(valid, dims, keepdim)
    total = sum(_nan_as_zero(input), dims, keepdim)
    safe = arithmetic.where(count == 0, 1.0, count)
    return arithmetic.where(count == 0, math.nan, total / safe)


def _nan_as_zero(input: Any) -> Any:
    if dtype_of(input).kind != "f":
        return input
    return arithmetic.where(input == input, input, 0.0)


def prod(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None
) -> Any:
    """The product Π x over ``dim`` (default: all dimensions); 1 where there is nothing.

    The gradient is the product of the other elements, right where some are 0, to any order.
    ``dtype``: convert first. Integers and booleans multiply as int64.

    >>> import tapegrad as tg
    >>> x = tg.tensor([2.0, 0.0, 3.0], requires_grad=True)
    >>> x.prod().backward()
    >>> x.grad
    tensor([0., 6., 0.])
    """
    input = as_summand(input, dtype)
    dims = reduced_dims(dim, axis, len(shape_of(input)), "prod")
    return ops.prod(input, axis=dims, keepdims=bool(keepdim))


# -- extremes ---------------------------------------------------------------------------------
def amax(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """The largest element over ``dim`` (an int or a tuple; default: all). NaN wins.

    Tied elements share the gradient evenly. Raises RuntimeError or IndexError where there is
    nothing to choose from.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 1.0, 0.0], requires_grad=True)
    >>> x.amax().backward()
    >>> x.grad
    tensor([0.5000, 0.5000, 0.0000])
    """
    dims = reduced_dims(dim, axis, len(shape_of(input)), "amax")
    refuse_nothing(input, dims, either(dim, axis, "amax"), "amax")
    return ops.amax(input, axis=dims, keepdims=bool(keepdim))


def amin(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """The smallest element over ``dim`` (an int or a tuple; default: all). NaN wins.

    Tied elements share the gradient evenly. Raises RuntimeError or IndexError where there is
    nothing to choose from.

    >>> import tapegrad as tg
    >>> tg.amin(tg.tensor([[1.0, 2.0], [0.0, 4.0]]), dim=1)
    tensor([1., 0.])
    """
    dims = reduced_dims(dim, axis, len(shape_of(input)), "amin")
    refuse_nothing(input, dims, either(dim, axis, "amin"), "amin")
    return ops.amin(input, axis=dims, keepdims=bool(keepdim))


def aminmax(input: Any, *, dim: Any = None, keepdim: bool = False, axis: Any = None) -> MinMax:
    """The smallest and the largest element, as ``(min, max)``; see :func:`amax`.

    >>> import tapegrad as tg
    >>> tg.aminmax(tg.tensor([3.0, 1.0, 2.0]))
    MinMax(min=tensor(1.), max=tensor(3.))
    """
    dim = either(dim, axis, "aminmax")
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


def max(
    input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, axis: Any = None
) -> Any:
    """The largest element; along one ``dim`` also where it is; of two tensors the larger.

    - ``max(x)``: the largest element of all, tied ones sharing the gradient (:func:`amax`);
    - ``max(x, dim)``: ``(values, indices)``; the chosen element, the first of equals, takes the
      whole gradient;
    - ``max(x, y)`` with a tensor ``y``: :func:`maximum`.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[1.0, 3.0, 3.0], [5.0, 4.0, 0.0]])
    >>> x.max()
    tensor(5.)
    >>> values, indices = x.max(dim=1)
    >>> values, indices
    (tensor([3., 5.]), tensor([1, 0]))
    """
    return _extreme(input, dim, keepdim, other, axis, "max")


def min(
    input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, axis: Any = None
) -> Any:
    """The smallest element; along one ``dim`` also where it is; of two tensors the smaller.

    The three forms and their gradients are those of :func:`max`.

    >>> import tapegrad as tg
    >>> x = tg.tensor([[1.0, 3.0, 3.0], [5.0, 4.0, 0.0]])
    >>> x.min(), x.min(dim=1).indices
    (tensor(0.), tensor([0, 2]))
    """
    return _extreme(input, dim, keepdim, other, axis, "min")


def _extreme(input: Any, dim: Any, keepdim: bool, other: Any, axis: Any, what: str) -> Any:
    if isinstance(dim, (Tensor, ndarray)):
        dim, other = None, dim
    if other is not None:
        return (arithmetic.maximum if what == "max" else arithmetic.minimum)(input, other)
    dim = either(dim, axis, what)
    if dim is None:
        return (amax if what == "max" else amin)(input)
    dims = chosen_dim(dim, None, input, what)
    refuse_nothing(input, dims, dim, what)
    choose = statistics.max_dim if what == "max" else statistics.min_dim
    return ValuesAndIndices(*choose(input, axis=dims, keepdims=bool(keepdim)))


# -- where the extremes are -------------------------------------------------------------------
def argmax(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """The index of the largest element along ``dim`` (of the flattened tensor when None).

    The first of equals; a NaN counts as the largest. Off the tape. Raises IndexError where
    there is nothing to choose from.

    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 3.0], [5.0, 4.0]]).argmax(dim=1)
    tensor([1, 0])
    """
    return _where_extreme(ops.argmax, input, dim, keepdim, axis, "argmax")


def argmin(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """The index of the smallest element along ``dim`` (of the flattened tensor when None).

    The first of equals; a NaN counts as the smallest. Off the tape. Raises IndexError where
    there is nothing to choose from.

    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 3.0], [5.0, 4.0]]).argmin()
    tensor(0)
    """
    return _where_extreme(ops.argmin, input, dim, keepdim, axis, "argmin")


def _where_extreme(op: Any, input: Any, dim: Any, keepdim: bool, axis: Any, what: str) -> Any:
    dim = either(dim, axis, what)
    shape = shape_of(input)
    if dim is not None:
        dim = one_dim(dim, len(shape), what)
    if (math.prod(shape) if dim is None else shape[dim] if shape else 1) == 0:
        raise IndexError(
            f"{what}: there is nothing to choose from in a tensor of shape {shape}"
            + ("" if dim is None else f" along dimension {dim}")
        )
    return op(input, axis=dim, keepdims=bool(keepdim))


# -- tests ------------------------------------------------------------------------------------
def any(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """Whether some element over ``dim`` is not 0 (NaN is not). Off the tape.

    >>> import tapegrad as tg
    >>> (tg.tensor([[1.0, 3.0], [5.0, 4.0]]) > 3.5).any(dim=1)
    tensor([False,  True])
    """
    dims = reduced_dims(dim, axis, len(shape_of(input)), "any")
    return ops.any(input, axis=dims, keepdims=bool(keepdim))


def all(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
    """Whether every element over ``dim`` is not 0; true of nothing at all. Off the tape.

    >>> import tapegrad as tg
    >>> (tg.tensor([[1.0, 3.0], [5.0, 4.0]]) > 3.5).all(dim=1)
    tensor([False,  True])
    """
    dims = reduced_dims(dim, axis, len(shape_of(input)), "all")
    return ops.all(input, axis=dims, keepdims=bool(keepdim))


def count_nonzero(input: Any, dim: Any = None, *, axis: Any = None) -> Any:
    """How many elements over ``dim`` are not 0. Off the tape.

    >>> import tapegrad as tg
    >>> tg.count_nonzero(tg.tensor([[0.0, 1.0], [2.0, 3.0]]), dim=1)
    tensor([1, 2])
    """
    dims = reduced_dims(dim, axis, len(shape_of(input)), "count_nonzero")
    return ops.count_nonzero(input, axis=dims)


METHODS = {name: globals()[name] for name in __all__}
