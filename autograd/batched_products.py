"""Products of batched values: matmul, einsum, linear algebra on stacks of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from .batched import RULES, Batched, NoRule, align, levels_of, rule_for, with_levels, wrap
from .batched_numpy import only, shift_axis
from .values import PLAIN, shape_of

_OPERANDS = PLAIN | {Batched}


def matmul(a: Any, b: Any) -> Any:
    """``a @ b``, as one product of matrices where one operand is the same for all examples."""
    if type(a) not in _OPERANDS or type(b) not in _OPERANDS:
        return NotImplemented
    na, nb = len(shape_of(a)), len(shape_of(b))
    if not na or not nb:
        raise ValueError(
            f"matmul: operands of shape {shape_of(a)} and {shape_of(b)}: both need a dimension"
        )
    if type(b) is ndarray and nb == 2:
        if a.array.ndim == 2:
            return Batched(np.matmul(a.array, b), a.levels)
        rows = a.array.reshape(-1, a.shape[-1])
        return Batched(np.matmul(rows, b).reshape(a.array.shape[:-1] + b.shape[1:]), a.levels)
    if type(a) is ndarray and na == 2 and (nb == 1 or b.shape[1:] == (1,)):
        columns = b.array.reshape(-1, b.shape[0])
        product = np.matmul(columns, a.T)
        return Batched(product.reshape(b.batch + a.shape[:1] + b.shape[1:]), b.levels)
    if na == 2 and nb == 2 and shape_of(a)[1] == 1 == shape_of(b)[0]:
        return a * b  # an outer product for each example
    if na == 1 and nb == 1:
        levels, (x, y) = align((a, b))
        return Batched(np.vecdot(x, y), levels)
    levels = levels_of((a, b))
    ndim = max(na, nb, 2)
    product = np.matmul(_stack(a, na == 1, -2, levels, ndim), _stack(b, nb == 1, -1, levels, ndim))
    if na == 1:
        product = product[..., 0, :]
    elif nb == 1:
        product = product[..., 0]
    return Batched(product, levels)


def _stack(v: Any, is_vector: bool, at: int, levels: tuple[int, ...], ndim: int) -> Any:
    """An operand as a stack of matrices, vectors with a dimension of length 1 put in."""
    array = v.array if type(v) is Batched else v
    if is_vector:
        array = np.expand_dims(array, at)
    return with_levels(Batched(array, v.levels), levels, ndim) if type(v) is Batched else array


RULES[np.matmul] = RULES[np.linalg.matmul] = matmul


@rule_for(np.dot)
def _dot(a: Any, b: Any, **kwargs: Any) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    if kwargs or na > 2 or nb > 2:
        raise NoRule("dot with these arguments has no rule inside vmap")
    return a * b if not na or not nb else matmul(a, b)


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


@rule_for("generalized")
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
    return wrap(ufunc(*arrays), levels)


# -- linear algebra: NumPy's functions work on stacks of matrices
def _of_matrices(function: Any) -> Callable[..., Any]:
    def rule(a: Any, *args: Any, **kwargs: Any) -> Any:
        only(a, *args, *kwargs.values())
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
RULES[np.linalg.matrix_transpose] = RULES[np.matrix_transpose] = lambda x: np.swapaxes(x, -1, -2)


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


Batched.dot = lambda self, other: _dot(self, other)  # type: ignore[attr-defined]
