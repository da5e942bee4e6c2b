"""Contractions: einsum, the product of any number of tensors over named dimensions."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from ..families import general
from ..registry import Sample
from ..values import PLAIN, dtype_of, shape_of
from .shaping import M23, M234

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def split(subscripts: str) -> tuple[list[str], str]:
    """The terms of the operands, and that of the output, of canonical subscripts."""
    left, out = subscripts.split("->")
    return left.split(","), out


# -- evaluation -------------------------------------------------------------------------------
# NumPy's own einsum loops over all indices at once unless told to optimize, and then takes longer
# to think than a small product takes. Here every pair becomes one (batched) matmul.
def _einsum(*operands: Any, subscripts: str) -> Any:
    if any(type(x) not in PLAIN for x in operands):
        return np.einsum(subscripts, *operands, optimize=len(operands) > 1)
    if len(operands) == 2:
        plan = _plan(subscripts, shape_of(operands[0]), shape_of(operands[1]))
        if plan is not None:
            axes_a, shape_a, axes_b, shape_b, shape, axes = plan
            product = np.matmul(
                np.transpose(operands[0], axes_a).reshape(shape_a),
                np.transpose(operands[1], axes_b).reshape(shape_b),
            )
            return np.transpose(product.reshape(shape), axes)
    terms, out = split(subscripts)
    lengths: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for letter, n in zip(term, shape_of(x), strict=True):
            known = lengths.setdefault(letter, n)
            if known != n and n != 1:
                if known != 1:
                    raise ValueError(
                        f"index {letter!r} of {subscripts!r} has length {known} in one place and "
                        f"{n} in another"
                    )
                lengths[letter] = n
    parts = [_simple(term, np.asarray(x), lengths) for term, x in zip(terms, operands, strict=True)]
    while len(parts) > 1:
        parts = _contract_in_order(parts, out)
    term, x = parts[0]
    x = _summed(term, x, set(out))
    term = "".join(c for c in term if c in out)
    x = np.transpose(x, [term.index(c) for c in out if c in term])
    if len(term) != len(out):
        raise ValueError(f"an output index of {subscripts!r} is in no operand")
    return x.copy() if any(np.may_share_memory(x, v) for v in operands) else x


def _simple(term: str, x: ndarray, lengths: dict[str, int]) -> tuple[str, ndarray]:
    """An operand without repeated letters (its diagonal) and without stretched dimensions."""
    for letter in sorted(set(term)):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ValueError(
                    f"the diagonal over index {letter!r} needs equal lengths, not {x.shape[i]} "
                    f"and {x.shape[j]}"
                )
            x = np.diagonal(x, axis1=i, axis2=j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    stretched = tuple(i for i, c in enumerate(term) if x.shape[i] == 1 and lengths[c] != 1)
    if stretched:
        x = x.reshape([n for i, n in enumerate(x.shape) if i not in stretched])
        term = "".join(c for i, c in enumerate(term) if i not in stretched)
    return term, x


@functools.lru_cache(maxsize=4096)
def _plan(subscripts: str, sa: tuple[int, ...], sb: tuple[int, ...]) -> Any:
    """How two operands become one matrix product, where that is all there is to it; else None."""
    (ta, tb), out = split(subscripts)
    size = dict(zip(ta, sa, strict=True))
    plain = len(set(ta)) == len(ta) and len(set(tb)) == len(tb)
    if not plain or any(size.get(c, n) != n for c, n in zip(tb, sb, strict=True)):
        return None
    size |= dict(zip(tb, sb, strict=True))
    inner = [c for c in ta if c in tb and c not in out]
    if not inner or any(c not in out and c not in inner for c in ta + tb):
        return None
    both = [c for c in ta if c in tb and c in out]
    only_a, only_b = [c for c in ta if c not in tb], [c for c in tb if c not in ta]
    n, k, m = (math.prod(size[c] for c in group) for group in (only_a, inner, only_b))
    batch = [size[c] for c in both]
    order = both + only_a + only_b
    return (
        [ta.index(c) for c in both + only_a + inner],
        (*batch, n, k),
        [tb.index(c) for c in both + inner + only_b],
        (*batch, k, m),
        [size[c] for c in order],
        [order.index(c) for c in out],
    )


def _summed(term: str, x: ndarray, wanted: set[str]) -> ndarray:
    """The operand summed over the letters that nobody wants."""
    axes = tuple(i for i, c in enumerate(term) if c not in wanted)
    return np.add.reduce(x, axis=axes) if axes else x


def _pair(a: tuple[str, ndarray], b: tuple[str, ndarray], wanted: set[str]) -> tuple[str, ndarray]:
    """Two operands into one, keeping the wanted letters: as one matrix product."""
    (ta, xa), (tb, xb) = a, b
    xa, xb = _summed(ta, xa, wanted | set(tb)), _summed(tb, xb, wanted | set(ta))
    ta = "".join(c for c in ta if c in wanted or c in tb)
    tb = "".join(c for c in tb if c in wanted or c in ta)
    both = [c for c in ta if c in tb and c in wanted]
    inner = [c for c in ta if c in tb and c not in wanted]
    only_a = [c for c in ta if c not in tb]
    only_b = [c for c in tb if c not in ta]
    size = dict(zip(ta, xa.shape)) | dict(zip(tb, xb.shape))
    term = "".join(both + only_a + only_b)
    if not inner:  # nothing is summed: an elementwise or outer product
        xa = np.transpose(xa, [ta.index(c) for c in both + only_a])
        xb = np.transpose(xb, [tb.index(c) for c in both + only_b])
        return term, xa.reshape(xa.shape + (1,) * len(only_b)) * xb.reshape(
            xb.shape[: len(both)] + (1,) * len(only_a) + xb.shape[len(both) :]
        )

    def many(letters: list[str]) -> int:
        return math.prod(size[c] for c in letters)

    xa = np.transpose(xa, [ta.index(c) for c in both + only_a + inner])
    xb = np.transpose(xb, [tb.index(c) for c in both + inner + only_b])
    shape = [size[c] for c in both]
    product = np.matmul(
        xa.reshape(*shape, many(only_a), many(inner)), xb.reshape(*shape, many(inner), many(only_b))
    )
    return term, product.reshape([size[c] for c in term])


def _contract_in_order(parts: list[tuple[str, ndarray]], out: str) -> list[tuple[str, ndarray]]:
    """One step along the cheapest order."""
    key = ",".join(t for t, _ in parts) + "->" + out
    first, second = _cheapest(key, tuple(x.shape for _, x in parts))
    rest = [p for i, p in enumerate(parts) if i not in (first, second)]
    wanted = set(out).union(*(set(t) for t, _ in rest))
    return [*rest, _pair(parts[first], parts[second], wanted)]


@functools.lru_cache(maxsize=4096)
def _cheapest(key: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, int]:
    """The two operands to contract next: first of the order that NumPy finds best."""
    terms, _ = split(key)
    if len(terms) == 2:
        return 0, 1
    dummies = [np.broadcast_to(np.float32(0), s) for s in shapes]
    how = "optimal" if len(terms) <= 5 else "greedy"
    step = np.einsum_path(key, *dummies, optimize=(how, 2**62))[0][1]
    # A step over more than two means that no pair is better than another.
    return step[0], step[1]


# -- the derivative: einsums again --------------------------------------------------------------
def _pull(i: int, g: Any, _y: Any, *xs: Any, subscripts: str) -> Any:
    """What operand ``i`` gets: the einsum of the cotangent with the other operands.

    A letter that is repeated in the operand (a diagonal) enters as an identity matrix, one that
    only this operand has, or has in length (a sum over it), as a vector of ones.
    """
    terms, out = split(subscripts)
    others = [(t, x) for k, (t, x) in enumerate(zip(terms, xs, strict=True)) if k != i]
    left, operands = [out, *(t for t, _ in others)], [g, *(x for _, x in others)]
    longest: dict[str, int] = {}
    for term, x in zip(left, operands, strict=True):
        for letter, n in zip(term, shape_of(x), strict=True):
            longest[letter] = max(n, longest.get(letter, 0))
    spare = (c for c in LETTERS if c not in subscripts)
    wanted, dtype = "", dtype_of(g)
    for letter, n in zip(terms[i], shape_of(xs[i]), strict=True):
        if letter in wanted:
            fresh = next(spare)
            left.append(letter + fresh)
            operands.append(np.eye(n, dtype=dtype))
            letter = fresh
        elif longest.get(letter, 0) in (0, 1) and longest.get(letter) != n:
            left.append(letter)
            operands.append(np.ones(n, dtype))
        wanted += letter
    return einsum(*operands, subscripts=",".join(left) + "->" + wanted)


def _push(tangents: Sequence[Any], _y: Any, *xs: Any, subscripts: str) -> Any:
    total = None
    for i, t in enumerate(tangents):
        if t is not None:
            term = einsum(*xs[:i], t, *xs[i + 1 :], subscripts=subscripts)
            total = term if total is None else total + term
    return total


M33 = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.5], [-0.25, 1.0, 1.75]])

einsum = general(
    "einsum",
    _einsum,
    indexed=_pull,
    push=_push,
    floating=False,
    analytic=True,
    samples=[
        Sample(M23, M23.T.copy(), subscripts="ij,jk->ik"),
        Sample(M23, M234, subscripts="ij,ijk->ki"),
        Sample(M33, subscripts="ii->i"),
        Sample(M33, subscripts="ii->"),
        Sample(M23, subscripts="ij->j"),
        Sample(M33, M33[0], subscripts="ii,i->"),
        Sample(M23[0], M33, M23[1], subscripts="i,ij,j->"),
        Sample(M23[:, :1], M23, subscripts="ij,ij->i"),
        Sample(0.5, M23, subscripts=",ij->ji"),
    ],
    doc="""Σ over the indices that are not in the output, of the product of all operands.

    The primitive behind ``tg.einsum``: ``subscripts`` without ellipsis, with the output written
    out. Linear in each operand; every derivative is an einsum itself.
    """,
)
