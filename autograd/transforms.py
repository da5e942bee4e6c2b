"""Gradients and products with Jacobians, as functions of functions."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from .forward import push_forward
from .gradients import own
from .ops.shaping import cast
from .reverse import walk
from .scopes import Scope, recording
from .tensors import Tensor, make, tensor
from .trees import flatten, show, unflatten
from .values import full_like_value

__all__ = ["grad", "grad_and_value", "hvp", "jvp", "linearize", "value_and_grad", "vjp"]


# -- what the transformations share -----------------------------------------------------------
def chosen(argnums: Any, count: int, what: str) -> tuple[tuple[int, ...], bool]:
    """``argnums`` as non-negative ints, and whether it was a tuple."""
    several = isinstance(argnums, (tuple, list))
    found = []
    for number in argnums if several else (argnums,):
        try:
            i = operator.index(number)
        except TypeError:
            raise TypeError(
                f"{what}: argnums must be an int or a tuple of ints, not {number!r}"
            ) from None
        if not -count <= i < count:
            raise ValueError(
                f"{what}: argnums={i}, but the function was called with {count} positional "
                "arguments"
            )
        found.append(i % count)
    if len(set(found)) != len(found):
        raise ValueError(f"{what}: argnums {argnums!r} names an argument twice")
    return tuple(found), several


def open_arguments(
    scope: Scope, args: Sequence[Any], argnums: Any
) -> tuple[list[Any], Any, tuple[int, ...]]:
    """The arguments with the chosen ones made inputs of the scope; also the recipe by which
    derivatives are built like the chosen arguments, and how many leaves each has."""
    numbers, several = chosen(argnums, len(args), scope.name)
    opened = list(args)
    recipes, counts = [], []
    for i in numbers:
        before = len(scope.inputs)
        opened[i] = scope.open(args[i], f"argument {i}")
        recipes.append(flatten(opened[i])[1])
        counts.append(len(scope.inputs) - before)
    recipe = flatten(tuple(range(len(numbers))))[1]
    recipe.items[:] = recipes
    return opened, (recipe if several else recipes[0]), tuple(counts)


def split_aux(result: Any, has_aux: bool, what: str) -> tuple[Any, Any]:
    """The output and the auxiliary part of what a function returned."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"{what}: with has_aux=True the function must return a pair (output, aux), "
            f"not {show(result) if isinstance(result, tuple) else type(result).__name__}"
        )
    return result


def output_leaves(out: Any, what: str) -> tuple[list[Tensor], Any]:
    """The output as a flat list of tensors."""
    outs, recipe = flatten(out)
    for y in outs:
        if not isinstance(y, Tensor):
            raise TypeError(f"{what}: the function must return tensors, not {type(y).__name__}")
    return outs, recipe


def zeros_for(x: Tensor) -> Tensor:
    """Zeros of a tensor's shape and dtype."""
    return make(full_like_value(0.0 if x.dtype.kind == "f" else 0, x._value), None)


def pull_back(
    roots: Sequence[Any], inputs: Sequence[Tensor], graph: bool, closed: bool = False
) -> list[Tensor]:
    """The cotangents of ``inputs``, zeros where nothing arrives.

    ``closed``: there is nothing below but the inputs, so that no path need be looked for.
    """
    wanted = None if closed else {x._record[0]: None for x in inputs}  # type: ignore[index]
    if not roots:
        arrived = {}
    elif graph:
        with recording():
            arrived = walk(roots, graph=True, retain=True, wanted=wanted)
    else:
        arrived = walk(roots, graph=False, retain=True, wanted=wanted)
    seen = {id(getattr(seed, "_value", seed)) for _, seed in roots}
    found = []
    for x in inputs:
        at = arrived.get(x._record[0])  # type: ignore[index]
        found.append(zeros_for(x) if at is None else own(at[1], seen))
    return found


def _like(given: Any, x: Tensor, what: str) -> Tensor:
    """A tangent or cotangent of the shape and dtype of what it belongs to."""
    if not isinstance(given, Tensor):
        given = tensor(given, dtype=x.dtype)
    if given.shape != x.shape:
        raise RuntimeError(f"{what} of shape {given.shape} for a tensor of shape {x.shape}")
    return given if given.dtype == x.dtype else cast(given, dtype=x.dtype)


def _matching(given: Any, recipe: Any, own: Sequence[Tensor], what: str) -> list[Tensor]:
    """The leaves of tangents or cotangents, checked against those they belong to."""
    leaves, built = flatten(given)
    if built != recipe:
        shown = show(unflatten(recipe, own))
        raise ValueError(f"{what} are built as {show(given)}, but must be built as {shown}")
    return [_like(leaf, x, what) for leaf, x in zip(leaves, own, strict=True)]


# -- gradients ----------------------------------------------------------------------------------
def value_and_grad(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns ``(f(x), ∂f/∂x)``: the value, then the gradient, as JAX's does.

    ``func`` returns a 0-d tensor. ``argnums``: which positional arguments to differentiate by,
    each a tensor or a tree of them; the gradient is built like the argument (a tuple of
    gradients for a tuple of numbers). With ``has_aux`` the function returns ``(value, aux)`` and
    the result is ``((value, aux), gradient)``.

    >>> import tapegrad as tg
    >>> tg.func.value_and_grad(lambda x: x**3)(tg.tensor(2.0))
    (tensor(8.), tensor(12.))
    """

    @functools.wraps(func, updated=())
    def with_gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradient, aux = _differentiate(
            "value_and_grad", func, argnums, has_aux, args, kwargs
        )
        return ((value, aux), gradient) if has_aux else (value, gradient)

    return with_gradient


def grad(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradient ∂f/∂x of ``func``, which returns a 0-d tensor.

    ``argnums``: which positional arguments to differentiate by, each a tensor or a tree of them
    (tuples, lists, dicts, named tuples); the gradient is built like the argument. With
    ``has_aux`` the function returns ``(value, aux)`` and the result is ``(gradient, aux)``.

    Nests, for higher derivatives, and with every other transformation. What ``func`` closes over
    stays on the tape, so that gradients flow to it from outside.

    Raises RuntimeError when the value is no 0-d tensor, TypeError for integer arguments.

    >>> import tapegrad as tg
    >>> cube = lambda x: x**3
    >>> tg.func.grad(cube)(tg.tensor(2.0)), tg.func.grad(tg.func.grad(cube))(tg.tensor(2.0))
    (tensor(12.), tensor(12.))
    >>> tg.func.grad(lambda p: (p["w"] * p["b"]).sum())({"w": tg.ones(2), "b": tg.ones(2)})
    {'w': tensor([1., 1.]), 'b': tensor([1., 1.])}
    """

    @functools.wraps(func, updated=())
    def gradient_of(*args: Any, **kwargs: Any) -> Any:
        _, gradient, aux = _differentiate("grad", func, argnums, has_aux, args, kwargs)
        return (gradient, aux) if has_aux else gradient

    return gradient_of


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns ``(∂f/∂x, f(x))``: the gradient, then the value, as torch's does.

    Otherwise as :func:`value_and_grad`; with ``has_aux`` the result is
    ``(gradient, (value, aux))``.

    >>> import tapegrad as tg
    >>> tg.func.grad_and_value(lambda x: x**3)(tg.tensor(2.0))
    (tensor(12.), tensor(8.))
    """

    @functools.wraps(func, updated=())
    def with_value(*args: Any, **kwargs: Any) -> Any:
        value, gradient, aux = _differentiate(
            "grad_and_value", func, argnums, has_aux, args, kwargs
        )
        return (gradient, (value, aux)) if has_aux else (gradient, value)

    return with_value


def _differentiate(
    name: str,
    func: Callable[..., Any],
    argnums: Any,
    has_aux: bool,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> tuple[Any, Any, Any]:
    scope = Scope(name)
    opened, recipe, _ = open_arguments(scope, args, argnums)
    value, aux = split_aux(scope.call(func, opened, kwargs), has_aux, name)
    if not isinstance(value, Tensor) or value.shape != ():
        what = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise RuntimeError(
            f"{name}: the function must return a 0-d tensor, not {what}. Reduce it (.sum(), "
            ".mean()), or use jacrev for all derivatives of several outputs."
        )
    record = value._record
    graph = record is not None and (
        (scope.is_linked and scope.is_recorded_outside) or scope.reaches_outside([record])
    )
    roots = []
    if record is not None:
        seed = full_like_value(1.0, value._value)
        roots = [(record, make(seed, None) if graph else seed)]
    found = pull_back(roots, scope.inputs, graph, closed=scope.is_recorded_outside and not graph)
    if not graph and record is not None:
        value = make(value._value, None)
    return value, unflatten(recipe, found), scope.close(aux) if has_aux else None


# -- products with the Jacobian ------------------------------------------------------------------
def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(f(x), g ↦ Jᵀg)``: the output, and the function that pulls cotangents back.

    The function takes a cotangent built like the output and returns a tuple with one for each
    of ``primals``. It may be called any number of times, under ``vmap`` too. With ``has_aux``
    the function returns ``(output, aux)`` and the result is ``(output, vjp_fn, aux)``.

    >>> import tapegrad as tg
    >>> y, pull = tg.func.vjp(lambda x: x * x, tg.tensor([1.0, 2.0]))
    >>> y, pull(tg.tensor([1.0, 10.0]))
    (tensor([1., 4.]), (tensor([ 2., 40.]),))
    """
    scope = Scope("vjp")
    opened = [scope.open(p, f"primal {i}") for i, p in enumerate(primals)]
    out, aux = split_aux(scope.call(func, opened, {}), has_aux, "vjp")
    outs, built = output_leaves(out, "vjp")
    records = [y._record for y in outs]
    outside = scope.reaches_outside(records)
    recipe = flatten(tuple(opened))[1]

    def pull(cotangents: Any) -> Any:
        """The cotangents of the primals."""
        given = _matching(cotangents, built, outs, "vjp: cotangents")
        from .modes import is_grad_enabled

        graph = is_grad_enabled() and (outside or any(g._record is not None for g in given))
        roots = [
            (y._record, g if graph else g._value)
            for y, g in zip(outs, given, strict=True)
            if y._record is not None
        ]
        return unflatten(recipe, pull_back(roots, scope.inputs, graph))

    result = scope.close(out)
    return (result, pull, scope.close(aux)) if has_aux else (result, pull)


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, has_aux: bool = False) -> Any:
    """``(f(x), J·t)``: the output, and how it moves when the primals move along the tangents.

    ``primals``, ``tangents``: tuples, one entry per argument, built alike. With ``has_aux`` the
    function returns ``(output, aux)`` and the result is ``(output, tangent, aux)``.

    >>> import tapegrad as tg
    >>> tg.func.jvp(lambda x: x * x, (tg.tensor([1.0, 2.0]),), (tg.tensor([1.0, 10.0]),))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            "jvp: primals and tangents must be tuples with one entry per argument, e.g. (x,)"
        )
    out, push, aux = _linearize("jvp", func, tuple(primals), has_aux)
    moved = push(*tangents)
    return (out, moved, aux) if has_aux else (out, moved)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``(f(x), t ↦ J·t)``: the output, and the function that pushes tangents forward.

    As :func:`jvp`, for many tangents at the same place: the function is run once.

    >>> import tapegrad as tg
    >>> y, push = tg.func.linearize(lambda x: x * x, tg.tensor([1.0, 2.0]))
    >>> push(tg.tensor([1.0, 0.0])), push(tg.tensor([0.0, 1.0]))
    (tensor([2., 0.]), tensor([0., 4.]))
    """
    out, push, _ = _linearize("linearize", func, primals, False)
    return out, push


def _linearize(
    name: str, func: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool
) -> tuple[Any, Callable[..., Any], Any]:
    scope = Scope(name)
    opened = [scope.open(p, f"primal {i}") for i, p in enumerate(primals)]
    out, aux = split_aux(scope.call(func, opened, {}), has_aux, name)
    outs, built = output_leaves(out, name)
    recipe = flatten(tuple(opened))[1]
    outside = scope.reaches_outside([y._record for y in outs])

    def push(*tangents: Any) -> Any:
        """The tangent of the output."""
        given = _matching(tangents, recipe, scope.inputs, f"{name}: tangents")
        from .modes import is_grad_enabled

        graph = is_grad_enabled() and (outside or any(t._record is not None for t in given))
        if graph:
            with recording():
                found = push_forward(outs, scope.inputs, given, True)
        else:
            found = push_forward(outs, scope.inputs, given, False)
        seen: set[int] = {id(t._value) for t in given}
        return unflatten(
            built,
            [zeros_for(y) if t is None else own(t, seen) for y, t in zip(outs, found, strict=True)],
        )

    return scope.close(out), push, scope.close(aux)


def hvp(func: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """The Hessian of a scalar function times a vector, H·t, without making the Hessian.

    Forward over reverse: the derivative of the gradient along ``tangents``, at a small multiple
    of the cost of the function. ``primals``, ``tangents``: tuples with one entry per argument
    (the result is a tuple built alike), or one tensor each.

    >>> import tapegrad as tg
    >>> tg.func.hvp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]))
    tensor([ 6., 12.])

    Source: Pearlmutter, Fast exact multiplication by the Hessian (1994).
    """
    several = isinstance(primals, (tuple, list))
    if several != isinstance(tangents, (tuple, list)):
        raise TypeError("hvp: primals and tangents must both be tuples, or both one tensor")
    xs = tuple(primals) if several else (primals,)
    ts = tuple(tangents) if several else (tangents,)
    slope = grad(func, argnums=tuple(range(len(xs))))
    _, product = jvp(slope, xs, ts)
    return product if several else product[0]
