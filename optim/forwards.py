"""Forward mode through training: derivatives travel with the parameters, step by step.

What is kept is one step's tape, and beside the parameters and the state their derivatives by each
entry of what was asked for; nothing of it grows with the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad import Tensor, eye, vmap, zeros_like
from tapegrad.forward import push_forward
from tapegrad.trees import flatten, unflatten

from .running import Run, begin, is_real


def forward(run: Run) -> tuple[Tensor, list[Tensor]]:
    """The outer loss and its gradients, by tangents.

    Source: Franceschi et al. (2017), Forward and reverse gradient-based hyperparameter
    optimization; Wengert (1964).
    """
    seeds = directions(run.wrt)
    seen: set[int] = set()

    def push(outs: list[Tensor], inputs: list[Tensor], tangents: list[Tensor]) -> list[Tensor]:
        for i, x in enumerate(run.wrt):
            if i not in seen and _reaches(outs, x):
                seen.add(i)
        return pushed(outs, [*inputs, *run.wrt], [*tangents, *seeds])

    here, recipe = flatten(run.start())
    moving = [x for x in here if is_real(x)]
    tangents = push(moving, [], [])
    for batch in run.batches:
        here = [begin(x) for x in here]
        inputs = [x for x in here if is_real(x)]
        params, state = unflatten(recipe, here)
        here, recipe = flatten(run.step(params, state, batch))
        tangents = push([x for x in here if is_real(x)], inputs, tangents)
    here = [begin(x) for x in here]
    value = run.result(unflatten(recipe, here)[0])
    (slopes,) = push([value], [x for x in here if is_real(x)], tangents)
    run.found([x if i in seen else None for i, x in enumerate(run.wrt)])
    grads, at = [], 0
    for x in run.wrt:
        grads.append(slopes[at : at + x.numel()].reshape(x.shape).to(x.dtype))
        at += x.numel()
    return value, grads


def directions(wrt: Sequence[Tensor]) -> list[Tensor]:
    """How each tensor moves for each entry of them all, along the first dimension.

    By itself along unit vectors, and with those that it is made of.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.forwards import directions
    >>> directions([tg.tensor(1.0), tg.tensor([2.0, 3.0])])
    [tensor([1., 0., 0.]), tensor([[0., 0.],
            [1., 0.],
            [0., 1.]])]
    """
    count = sum(x.numel() for x in wrt)
    units, at = [], 0
    for x in wrt:
        block = eye(count, dtype=x.dtype)[:, at : at + x.numel()]
        units.append(block.reshape(count, *x.shape))
        at += x.numel()
    parts = []
    for x in wrt:
        part = zeros_like(x)
        for y, unit in zip(wrt, units, strict=True):
            if y is x:
                part = part + unit
            elif not x.is_leaf:
                part = part + pushed([x], [y], [unit])[0]
        parts.append(part)
    return parts


def pushed(
    outs: Sequence[Tensor], inputs: Sequence[Tensor], tangents: Sequence[Tensor]
) -> list[Tensor]:
    """The tangents of outputs on the tape for many tangents of inputs, along the first dimension.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.forwards import pushed
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> pushed([(x * x).sum()], [x], [tg.eye(2)])
    [tensor([2., 4.])]
    """

    def one(*given: Tensor) -> Any:
        found = push_forward(outs, inputs, given, False)
        return tuple(zeros_like(y) if t is None else t for y, t in zip(outs, found, strict=True))

    return list(vmap(one)(*tangents)) if outs else []


def _reaches(outs: Sequence[Tensor], x: Tensor) -> bool:
    """Whether any of the outputs depends on x."""
    return any(t is not None for t in push_forward(outs, [x], [zeros_like(x)], False))
