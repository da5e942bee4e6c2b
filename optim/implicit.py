"""Derivatives of a minimum, without the way to it.

At a minimum w* of ℓ(w, h) the gradient is 0, and stays 0 when h moves: H·dw* + ∂²ℓ/∂w∂h·dh = 0. So
an outer loss L(w*, h) has dL/dh = ∂L/∂h - xᵀ·∂²ℓ/∂w∂h with H·x = ∂L/∂w, which is one linear system
and two products, however many settings there are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tapegrad import Tensor, ones_like, safe_sqrt, zeros_like
from tapegrad.trees import flatten, tree_map, unflatten

from .running import Run, added, begin, pull

Vector = list[Tensor]

#: The gradient at the end above which a warning is given, relative to that at the beginning and to
#: what it would be had the parameters to move by their own length.
SMALL = 1e-3


def implicit(run: Run, solver: str = "conjugate_gradients") -> tuple[Tensor, list[Tensor]]:
    """The outer loss and its gradients, by the equation that holds at a minimum.

    Source: Lorraine, Vicol and Duvenaud (2020), Optimizing millions of hyperparameters by implicit
    differentiation; Bengio (2000), Gradient-based optimization of hyperparameters; Pearlmutter
    (1994), Fast exact multiplication by the Hessian.
    """
    here, state = tree_map(begin, run.start())
    batches: list[Any] = []
    first = None
    for batch in run.batches:
        if not any(batch is known for known in batches):
            batches.append(batch)
        if first is None:
            first = length(flatten(run.gradients(here, batch, create_graph=False)[1])[0])
        here, state = tree_map(begin, run.step(here, state, batch, create_graph=False))
    params, recipe = flatten(here)
    if first is None:
        raise ValueError("unroll: method='implicit' needs batches, whose loss has a minimum")

    def mean_of(product: Callable[[Vector], Sequence[Any]]) -> list[Any]:
        """The mean over the batches of something made of the recorded gradient."""
        total: list[Any] = []
        for batch in batches:
            slope = flatten(run.gradients(unflatten(recipe, params), batch)[1])[0]
            found = product(slope)
            total = added(total, found) if total else list(found)
        return [None if g is None else g / len(batches) for g in total]

    def hessian_times(x: Vector) -> Vector:
        image = mean_of(lambda slope: pull(slope, x, params))
        return [zeros_like(w) if h is None else h for w, h in zip(params, image, strict=True)]

    value = run.result(unflatten(recipe, params))
    direct = pull([value], [ones_like(value)], [*params, *run.wrt])
    by_params = [zeros_like(w) if g is None else g for w, g in zip(params, direct, strict=False)]
    by_wrt = direct[len(params) :]

    def mixed(x: Vector) -> list[Any]:
        return mean_of(lambda slope: pull(slope, x, run.wrt))

    reached = added(by_wrt, mixed(by_params))
    for name, g in zip(run.names, reached, strict=True):
        if g is None:
            raise ValueError(
                f"unroll: method='implicit' knows what the losses use, and {name} is not in them: "
                "where a minimum lies does not depend on rates, momenta or the beginning. "
                "'reverse', 'checkpoint' and 'forward' can differentiate by them ('reversible' "
                "too for sgd with momentum). A weight decay of the rule can be put into the loss."
            )
    last = length(mean_of(lambda slope: slope))
    if last > SMALL * first and last > SMALL * length(hessian_times(params)):
        warnings.warn(
            "unroll: method='implicit' is right at a minimum of the mean loss of the batches, and "
            f"the gradient there still has norm {last:.2g} ({first:.2g} at the beginning): train "
            "longer, or use another method",
            stacklevel=4,
        )
    x = SOLVERS[solver](hessian_times, by_params)
    total = added(by_wrt, [None if g is None else -g for g in mixed(x)])
    return value, run.found(total)


def dot(a: Vector, b: Vector) -> Tensor:
    """The inner product of two lists of tensors.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.implicit import dot
    >>> dot([tg.tensor([1.0, 2.0])], [tg.tensor([3.0, 4.0])])
    tensor(11.)
    """
    total = (a[0] * b[0]).sum()
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + (x * y).sum()
    return total


def length(a: Vector) -> Tensor:
    """The Euclidean norm of a list of tensors.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.implicit import length
    >>> length([tg.tensor([3.0]), tg.tensor([4.0])])
    tensor(5.)
    """
    return safe_sqrt(dot(a, a))


def along(x: Vector, y: Vector, step: Any) -> Vector:
    """x + step·y for lists of tensors.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.implicit import along
    >>> along([tg.tensor(1.0)], [tg.tensor(2.0)], 10.0)
    [tensor(21.)]
    """
    return [a + step * b for a, b in zip(x, y, strict=True)]


def conjugate_gradients(
    times: Callable[[Vector], Vector], right: Vector, tolerance: float = 1e-12, most: int = 1000
) -> Vector:
    """The x with A·x = right, where ``times`` multiplies by A, symmetric and positive.

    Ends when what is left is ``tolerance`` of ``right`` (or the dtype's precision). Raises
    RuntimeError when A is not positive along a direction met, or ``most`` turns do not do.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.implicit import conjugate_gradients
    >>> A = tg.tensor([[4.0, 1.0], [1.0, 3.0]])
    >>> conjugate_gradients(lambda x: [A @ x[0]], [tg.tensor([1.0, 2.0])])
    [tensor([0.0909, 0.6364])]

    Source: Hestenes and Stiefel (1952), Methods of conjugate gradients for solving linear systems.
    """
    x = [zeros_like(b) for b in right]
    left, direction = right, right
    size = dot(left, left)
    enough = size * _precision(right, tolerance) ** 2
    for _ in range(most):
        if size <= enough:
            return x
        image = times(direction)
        curvature = dot(direction, image)
        if not curvature > 0.0:
            raise RuntimeError(
                f"unroll: the Hessian has curvature {curvature:.3g} along a direction: this is no "
                "strict minimum, and method='implicit' has no answer. Train longer, add a penalty, "
                "or use 'reverse', 'checkpoint' or 'forward'."
            )
        step = size / curvature
        x, left = along(x, direction, step), along(left, image, -step)
        size, before = dot(left, left), size
        direction = along(left, direction, size / before)
    raise RuntimeError(
        f"unroll: conjugate gradients did not get there in {most} turns; what is left is "
        f"{safe_sqrt(size):.2g} of {length(right):.2g}"
    )


def neumann(
    times: Callable[[Vector], Vector], right: Vector, tolerance: float = 1e-12, most: int = 20000
) -> Vector:
    """The same by Neumann's series x = α·Σ (1 - α·A)ʲ·right.

    α is 1/(1.05·the largest eigenvalue), which 20 turns of the power method find. The number of
    terms grows with the largest over the smallest eigenvalue. Raises RuntimeError when the terms
    do not vanish.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.implicit import neumann
    >>> A = tg.tensor([[4.0, 1.0], [1.0, 3.0]])
    >>> neumann(lambda x: [A @ x[0]], [tg.tensor([1.0, 2.0])])
    [tensor([0.0909, 0.6364])]

    Source: Lorraine, Vicol and Duvenaud (2020), equation 4.
    """
    size = length(right)
    if size == 0.0:
        return right
    probe = right
    for _ in range(20):
        probe = [y / length(probe) for y in times(probe)]
    alpha = 1.0 / (1.05 * length(probe))
    term = [alpha * b for b in right]
    x = term
    enough = length(term) * _precision(right, tolerance)
    for _ in range(most):
        term = along(term, times(term), -alpha)
        x = along(x, term, 1.0)
        left = length(term)
        if left <= enough:
            return x
        if not left < 1e8 * size:
            break
    raise RuntimeError(
        f"unroll: the terms of Neumann's series do not vanish (the last has norm {left:.2g}): the "
        "Hessian is near singular or not positive. Use solver='conjugate_gradients', train longer, "
        "or add a penalty."
    )


def _precision(vector: Vector, tolerance: float) -> float:
    """The tolerance, or what the dtype can resolve."""
    coarse = any(x.dtype.itemsize < 8 for x in vector)
    return max(tolerance, 1e-6) if coarse else tolerance


SOLVERS = {"conjugate_gradients": conjugate_gradients, "neumann": neumann}
