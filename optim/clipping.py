"""Clipping of gradients, in tensor ops: differentiable by the gradients and by the threshold.

Gradients are a list of Tensors, or a dict by name; what comes back is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tapegrad import Tensor, cat, clip, maximum, minimum, norm, tensor, where

from .rule import Params, _each, at_least_zero, same_structure

__all__ = [
    "clip_adaptively",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "global_norm",
]


def global_norm(grads: Params, norm_type: float = 2.0) -> Tensor:
    """The norm of all gradients, as if they were one vector.

    ``norm_type``: the p of the p-norm, inf for the largest entry. The norm is in range wherever its
    value is, and 0 of nothing. Its derivative is 0 where all gradients are 0.

    >>> import tapegrad as tg
    >>> tg.optim.functional.global_norm([tg.tensor([3.0]), tg.tensor([4.0])])
    tensor(5.)
    """
    (norm_type,) = settled("global_norm", norm_type)
    grads = _given("global_norm", grads)
    listed = grads.values() if isinstance(grads, dict) else grads
    entries = [g if g.ndim == 1 else g.reshape(-1) for g in listed]
    if not entries:
        return tensor(0.0)
    # One vector, not a norm of norms: its second derivatives are right at a gradient of zeros too.
    return norm(entries[0] if len(entries) == 1 else cat(entries), norm_type)


def clip_by_global_norm(
    grads: Params, max_norm: Any, norm_type: float = 2.0, *, eps: Any = 1e-6
) -> tuple[Params, Tensor]:
    """Gradients scaled together by min(1, max_norm/(norm + eps)), and the norm before.

    ``max_norm``: the threshold, a number or a Tensor; ``norm_type``: see :func:`global_norm`;
    ``eps``: as in torch, 0 in Keras. Gradients that are all 0 stay so, and the derivative there is
    the identity. Where norm + eps is ``max_norm`` exactly, a kink, it is the mean of both sides'.

    Raises ValueError for a negative ``max_norm``.

    >>> import tapegrad as tg
    >>> clipped, norm = tg.optim.functional.clip_by_global_norm([tg.tensor([3.0, 4.0])], 1.0)
    >>> norm
    tensor(5.)
    >>> clipped[0]
    tensor([0.6000, 0.8000])

    Source: Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural
    networks.
    """
    what = "clip_by_global_norm"
    norm_type, max_norm, eps = settled(what, norm_type, max_norm=max_norm, eps=eps)
    grads = _given(what, grads)
    total = global_norm(grads, norm_type)
    return scaled(grads, scale_to(total, max_norm, eps)), total


def clip_by_norm(grads: Params, max_norm: Any, norm_type: float = 2.0, *, eps: Any = 0.0) -> Params:
    """Every gradient scaled by itself to a norm of at most ``max_norm``, as Keras's ``clipnorm``.

    Arguments, derivatives and errors as of :func:`clip_by_global_norm`.

    >>> import tapegrad as tg
    >>> tg.optim.functional.clip_by_norm([tg.tensor([3.0, 4.0]), tg.tensor([0.1])], 1.0)
    [tensor([0.6000, 0.8000]), tensor([0.1000])]
    """
    what = "clip_by_norm"
    norm_type, max_norm, eps = settled(what, norm_type, max_norm=max_norm, eps=eps)
    grads = _given(what, grads)
    return _mapped(lambda g: g * scale_to(norm(g, norm_type), max_norm, eps), grads)


def clip_by_value(grads: Params, clip_value: Any) -> Params:
    """Every entry brought into [-clip_value, clip_value], bounds included.

    The derivative by an entry is 1 inside and at the bounds, 0 outside; that by ``clip_value``, a
    number or a Tensor, is the sum of the signs of the entries outside.

    Raises ValueError for a negative ``clip_value``.

    >>> import tapegrad as tg
    >>> tg.optim.functional.clip_by_value([tg.tensor([3.0, -0.5])], 1.0)
    [tensor([ 1.0000, -0.5000])]
    """
    what = "clip_by_value"
    _, limit = settled(what, clip_value=clip_value)
    return _mapped(lambda g: clip(g, -limit, limit), _given(what, grads))


def clip_adaptively(
    grads: Params,
    params: Params,
    clip_factor: Any = 0.01,
    eps: Any = 1e-3,
    norm_type: float = 2.0,
) -> Params:
    """Adaptive gradient clipping: every unit's gradient at most a fraction of the unit's weights.

    For each unit i, g_i is scaled by min(1, λ·max(‖w_i‖, ε)/‖g_i‖), with λ = ``clip_factor`` and
    ε = ``eps``, which lets weights that begin at 0 move. A unit is a row of a matrix, an output
    channel of a kernel (the first dimension, as torch lays weights out); vectors and scalars
    are one unit. Differentiable by the gradients, by the parameters, by λ and by ε.

    Raises ValueError for a negative setting, or gradients that are not one for each parameter.

    >>> import tapegrad as tg
    >>> w, g = tg.tensor([[3.0, 4.0], [0.0, 0.0]]), tg.tensor([[0.6, 0.8], [0.6, 0.8]])
    >>> tg.optim.functional.clip_adaptively([g], [w], 0.1)
    [tensor([[3.0000e-01, 4.0000e-01],
            [6.0000e-05, 8.0000e-05]])]

    Source: Brock, De, Smith and Simonyan (2021), High-performance large-scale image recognition
    without normalization.
    """
    what = "clip_adaptively"
    norm_type, factor, eps = settled(what, norm_type, clip_factor=clip_factor, eps=eps)
    grads = _given(what, grads)
    same_structure(params, grads)

    def clipped(g: Tensor, w: Tensor) -> Tensor:
        most = factor * maximum(_unit_norm(w, norm_type), eps)
        return g * scale_to(_unit_norm(g, norm_type), most)

    return _mapped(clipped, grads, params)


def _unit_norm(x: Tensor, norm_type: float) -> Tensor:
    """The norms of the units of a tensor, so that they broadcast with it."""
    if x.ndim < 2:
        return norm(x, norm_type)
    return norm(x, norm_type, tuple(range(1, x.ndim)), keepdim=True)


def scale_to(norm: Any, max_norm: Any, eps: Any = 0.0) -> Any:
    """By how much to scale what has this norm, for one of at most ``max_norm``.

    For norm 0 that is the limit, 1, or 0 when ``max_norm`` is 0.

    >>> from tapegrad.optim.clipping import scale_to
    >>> scale_to(5.0, 1.0), scale_to(0.5, 1.0), scale_to(0.0, 1.0)
    (0.2, 1.0, 1.0)
    """
    reach = norm + eps
    nought = reach == 0
    lets_through = (max_norm > 0) * 1.0
    return where(nought, lets_through, minimum(reach, max_norm) / where(nought, 1.0, reach))


def scaled(grads: Params, scale: Any) -> Params:
    """Gradients times one factor, each of its own dtype."""
    return _mapped(lambda g: g * scale, grads)


def settled(what: str, norm_type: Any = 2.0, **thresholds: Any) -> tuple[Any, ...]:
    """The order of a norm, and thresholds as single numbers; refuses what makes no sense.

    >>> from tapegrad.optim.clipping import settled
    >>> settled("clip_by_norm", "inf", max_norm=1.0)
    (inf, 1.0)
    """
    order = math.inf if norm_type == "inf" else norm_type
    if order is None or isinstance(order, str) or order != order:
        raise ValueError(f"{what}: norm_type must be a number, inf or -inf, not {norm_type!r}")
    for name, value in thresholds.items():
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(
                    f"{what}: {name} must be one number, not a Tensor of shape {value.shape}"
                )
        elif value is None or callable(value) or isinstance(value, (str, list, tuple, dict)):
            raise TypeError(
                f"{what}: {name} must be a number or a Tensor, not {value!r}"
                + (" (call the schedule with the step)" if callable(value) else "")
            )
    at_least_zero(what, **thresholds)
    single = (v.reshape(()) if isinstance(v, Tensor) else v for v in thresholds.values())
    return order, *single


def _given(what: str, grads: Params) -> Params:
    """Gradients as a dict or a list; refuses what is none."""
    if isinstance(grads, Tensor):
        raise TypeError(
            f"{what}: gradients are a list or a dict of Tensors, not one Tensor: use [gradient]"
        )
    grads = grads if isinstance(grads, dict) else list(grads)
    for key, g in grads.items() if isinstance(grads, dict) else enumerate(grads):
        if g is None:
            raise TypeError(f"{what}: gradient {key!r} is None: leave it out")
        if not isinstance(g, Tensor):
            raise TypeError(f"{what}: gradient {key!r} is a {type(g).__name__}, not a Tensor")
    return grads


def _mapped(function: Callable[..., Tensor], grads: Params, *others: Params) -> Params:
    """A function of every gradient, in the gradient's dtype: a threshold may have another."""

    def typed(g: Tensor, *rest: Tensor) -> Tensor:
        found = function(g, *rest)
        return found.to(g.dtype) if g.is_floating_point() else found

    return _each(typed, grads, *others)
