"""Derivatives of functions by the names and arguments of ``torch.autograd.functional``.

Each runs the transformation of ``tg.func`` that does the same. ``inputs`` is a tensor, or a tuple
with one for each argument; results are plain unless ``create_graph`` keeps them on the tape.
``strict=True`` is not supported: an output that does not depend on an input has zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import func as transformations
from .creation import ones_like
from .tensors import Tensor
from .trees import flatten, unflatten

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def _off(tree: Any, keep: bool = False) -> Any:
    """The tensors of a tree off the tape, unless they are to be kept there."""
    if keep:
        return tree
    leaves, recipe = flatten(tree)
    return unflatten(recipe, [x.detach() if isinstance(x, Tensor) else x for x in leaves])


def _refuse(strict: bool, name: str) -> None:
    if strict:
        raise ValueError(
            f"{name}: strict=True is not supported; tg.grad raises for inputs that are not used"
        )


def _seeds(v: Any, like: Any, name: str) -> tuple[Any, ...]:
    """The vector of a product, which may be left out where it is one number."""
    if v is not None:
        return _tuple(v)
    if any(x.shape not in ((), (1,)) for x in _tuple(like)) or len(_tuple(like)) > 1:
        raise RuntimeError(f"{name}: v may be left out only where it would be a single number")
    return tuple(ones_like(x) for x in _tuple(like))


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of a function: a tensor of shape ``output.shape + input.shape``.

    A tuple with one for each input where ``inputs`` is a tuple; a tuple of those where ``func``
    returns one. ``strategy``: "reverse-mode" or "forward-mode". It is always vectorized.

    >>> import tapegrad as tg
    >>> tg.autograd.functional.jacobian(lambda x: x * x, tg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _refuse(strict, "jacobian")
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(
            f"jacobian: strategy must be 'reverse-mode' or 'forward-mode', not {strategy!r}"
        )
    transform = transformations.jacfwd if strategy == "forward-mode" else transformations.jacrev
    xs = _off(_tuple(inputs), create_graph)
    several = isinstance(inputs, (tuple, list))
    return _off(transform(func, tuple(range(len(xs))) if several else 0)(*xs), create_graph)


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a scalar function; a tuple of tuples where ``inputs`` is a tuple.

    >>> import tapegrad as tg
    >>> tg.autograd.functional.hessian(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    _refuse(strict, "hessian")
    xs = _off(_tuple(inputs), create_graph)
    several = isinstance(inputs, (tuple, list))
    argnums = tuple(range(len(xs))) if several else 0
    return _off(transformations.hessian(func, argnums)(*xs), create_graph)


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``(f(x), vᵀ·J)``: the output, and the gradients of the inputs for the cotangent ``v``.

    >>> import tapegrad as tg
    >>> tg.autograd.functional.vjp(lambda x: x * x, tg.tensor([1.0, 2.0]), tg.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    _refuse(strict, "vjp")
    out, pull = transformations.vjp(func, *_off(_tuple(inputs), create_graph))
    seeds = _seeds(v, out, "vjp")
    found = pull(seeds if isinstance(out, tuple) else seeds[0])
    several = isinstance(inputs, (tuple, list))
    return _off(out, create_graph), _off(found if several else found[0], create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``(f(x), J·v)``: the output, and how it moves when the inputs move along ``v``.

    >>> import tapegrad as tg
    >>> tg.autograd.functional.jvp(lambda x: x * x, tg.tensor([1.0, 2.0]), tg.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    _refuse(strict, "jvp")
    xs = _off(_tuple(inputs), create_graph)
    out, moved = transformations.jvp(func, xs, _seeds(v, xs, "jvp"))
    return _off(out, create_graph), _off(moved, create_graph)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``(f(x), H·v)``: the value of a scalar function, and its Hessian times a vector.

    >>> import tapegrad as tg
    >>> tg.autograd.functional.hvp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    _refuse(strict, "hvp")
    xs = _off(_tuple(inputs), create_graph)
    gradient = transformations.grad_and_value(func, tuple(range(len(xs))))
    seeds = _seeds(v, xs, "hvp")
    _, moved, value = transformations.jvp(gradient, xs, seeds, has_aux=True)
    several = isinstance(inputs, (tuple, list))
    return _off(value, create_graph), _off(moved if several else moved[0], create_graph)


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``(f(x), vᵀ·H)``: the same as :func:`hvp`, since Hessians are symmetric.

    >>> import tapegrad as tg
    >>> tg.autograd.functional.vhp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return hvp(func, inputs, v, create_graph, strict)
