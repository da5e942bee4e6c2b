"""Dimension arguments: ``dim=`` as in torch, ``axis=`` as in NumPy, both accepted."""

from __future__ import annotations

import operator
from typing import Any

#: (), (0,), (0, 1), ...: the dimensions of a tensor of so many.
ALL_DIMS = tuple(tuple(range(ndim)) for ndim in range(9))


def one_dim(dim: Any, ndim: int, what: str, *, insert: bool = False) -> int:
    """A dimension as a non-negative int; IndexError when out of range.

    A 0-d tensor accepts 0 and -1, as torch's does. ``insert``: the position of a new dimension.
    """
    count = ndim + 1 if insert else max(ndim, 1)
    try:
        found = operator.index(dim)
    except TypeError:
        raise TypeError(f"{what}: dim must be an int, not {type(dim).__name__} {dim!r}") from None
    if not -count <= found < count:
        raise IndexError(
            f"{what}: dimension {found} is out of range for a tensor of {ndim} dimensions: "
            f"expected {-count} to {count - 1}"
        )
    return found + count if found < 0 else found


def reduced_dims(dim: Any, axis: Any, ndim: int, what: str) -> tuple[int, ...]:
    """The tuple of dimensions that a reduction goes over; None or () means all of them."""
    if axis is not None:
        dim = either(dim, axis, what)
    if dim is None:
        return ALL_DIMS[ndim] if ndim < len(ALL_DIMS) else tuple(range(ndim))
    if isinstance(dim, (tuple, list)):
        found = tuple(one_dim(d, ndim, what) for d in dim) or tuple(range(ndim))
        if len(set(found)) != len(found):
            raise RuntimeError(f"{what}: a dimension appears twice in dim={tuple(dim)}")
        return found if ndim else ()
    found_one = one_dim(dim, ndim, what)
    return (found_one,) if ndim else ()


def either(dim: Any, axis: Any, what: str) -> Any:
    """``dim`` or ``axis``, which mean the same; both at once is an error."""
    if axis is None:
        return dim
    if dim is not None:
        raise TypeError(f"{what}: give dim= or axis=, not both (dim={dim!r}, axis={axis!r})")
    return axis


def sizes(args: tuple[Any, ...], what: str) -> tuple[int, ...]:
    """A shape given as ``f(2, 3)`` or ``f((2, 3))``."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = tuple(args[0])
    try:
        return tuple(operator.index(a) for a in args)
    except TypeError:
        raise TypeError(f"{what}: sizes must be ints, got {args!r}") from None


def or_named(args: tuple[Any, ...], named: Any, what: str, name: str) -> tuple[Any, ...]:
    """Sizes given one by one, or as a tuple by the argument's name."""
    if named is None:
        return args
    if args:
        raise TypeError(f"{what}: {name} is given twice, as {args} and as {name}={named!r}")
    return (named,)
