"""Clipping of gradients, in tensor ops: differentiable by the gradients and by the threshold.

Gradients are a list of Tensors, or a dict by name; what comes back is the same.
"""

from __future__ import annotations

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
    entries = [g if g.ndim == 1 else g.reshape(-1) for g in _listed(grads)]
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
    at_least_zero("clip_by_global_norm", max_norm=max_norm, eps=eps)
    total = global_norm(grads, norm_type)
    scale = scale_to(total, max_norm, eps)
    return _each(lambda g: g * scale, grads), total


def clip_by_norm(grads: Params, max_norm: Any, norm_type: float = 2.0, *, eps: Any = 0.0) -> Params:
    """Every gradient scaled by itself to a norm of at most ``max_norm``, as Keras's ``clipnorm``.

    Arguments, derivatives and errors as of :func:`clip_by_global_norm`.

    >>> import tapegrad as tg
    >>> tg.optim.functional.clip_by_norm([tg.tensor([3.0, 4.0]), tg.tensor([0.1])], 1.0)
    [tensor([0.6000, 0.8000]), tensor([0.1000])]
    """
    at_least_zero("clip_by_norm", max_norm=max_norm, eps=eps)
    return _each(lambda g: g * scale_to(norm(g, norm_type), max_norm, eps), grads)


def clip_by_value(grads: Params, clip_value: Any) -> Params:
    """Every entry brought into [-clip_value, clip_value], bounds included.

    The derivative by an entry is 1 inside and at the bounds, 0 outside; that by ``clip_value``, a
    number or a Tensor, is the sum of the signs of the entries outside.

    Raises ValueError for a negative ``clip_value``.

    >>> import tapegrad as tg
    >>> tg.optim.functional.clip_by_value([tg.tensor([3.0, -0.5])], 1.0)
    [tensor([ 1.0000, -0.5000])]
    """
    at_least_zero("clip_by_value", clip_value=clip_value)
    return _each(lambda g: clip(g, -clip_value, clip_value), grads)


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
    at_least_zero("clip_adaptively", clip_factor=clip_factor, eps=eps)
    same_structure(params, grads)

    def clipped(g: Tensor, w: Tensor) -> Tensor:
        most = clip_factor * maximum(_unit_norm(w, norm_type), eps)
        return g * scale_to(_unit_norm(g, norm_type), most)

    return _each(clipped, grads, params)


def _unit_norm(x: Tensor, norm_type: float) -> Tensor:
    """The norms of the units of a tensor, so that they broadcast with it."""
    if x.ndim < 2:
        return norm(x, norm_type)
    return norm(x, norm_type, tuple(range(1, x.ndim)), keepdim=True)


def scale_to(norm: Any, max_norm: Any, eps: Any = 0.0) -> Any:
    """By how much to scale what has this norm, for one of at most ``max_norm``; 1 for norm 0.

    >>> from tapegrad.optim.clipping import scale_to
    >>> scale_to(5.0, 1.0), scale_to(0.5, 1.0), scale_to(0.0, 1.0)
    (0.2, 1.0, 1.0)
    """
    reach = norm + eps
    nought = reach == 0
    return where(nought, 1.0, minimum(reach, max_norm) / where(nought, 1.0, reach))


def _listed(grads: Params) -> list[Tensor]:
    return list(grads.values()) if isinstance(grads, dict) else list(grads)
