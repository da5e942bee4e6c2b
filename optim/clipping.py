"""Clipping of gradients, in tensor ops: differentiable by the gradients and by the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad import Tensor, clip, maximum, safe_sqrt

__all__ = ["clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]


def global_norm(grads: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients taken together (derivative 0 where all are 0).

    >>> import tapegrad as tg
    >>> tg.optim.functional.global_norm([tg.tensor([3.0]), tg.tensor([4.0])])
    tensor(5.)
    """
    total = (grads[0] * grads[0]).sum()
    for g in grads[1:]:
        total = total + (g * g).sum()
    return safe_sqrt(total)


def clip_by_global_norm(
    grads: Sequence[Tensor], max_norm: Any, eps: Any = 1e-6
) -> tuple[list[Tensor], Tensor]:
    """Gradients scaled together by min(1, max_norm/(norm + eps)), and the norm before.

    >>> import tapegrad as tg
    >>> clipped, norm = tg.optim.functional.clip_by_global_norm([tg.tensor([3.0, 4.0])], 1.0)
    >>> norm
    tensor(5.)
    >>> clipped[0]
    tensor([0.6000, 0.8000])

    Source: Pascanu, Mikolov and Bengio (2013).
    """
    norm = global_norm(grads)
    scale = 1.0 / maximum((norm + eps) / max_norm, 1.0)
    return [g * scale for g in grads], norm


def clip_by_norm(grads: Sequence[Tensor], max_norm: Any) -> list[Tensor]:
    """Every gradient scaled by itself to a norm of at most ``max_norm``, as Keras's ``clipnorm``.

    >>> import tapegrad as tg
    >>> tg.optim.functional.clip_by_norm([tg.tensor([3.0, 4.0]), tg.tensor([0.1])], 1.0)
    [tensor([0.6000, 0.8000]), tensor([0.1000])]
    """
    return [g / maximum(global_norm([g]) / max_norm, 1.0) for g in grads]


def clip_by_value(grads: Sequence[Tensor], limit: Any) -> list[Tensor]:
    """Every entry brought into [-limit, limit].

    >>> import tapegrad as tg
    >>> tg.optim.functional.clip_by_value([tg.tensor([3.0, -0.5])], 1.0)
    [tensor([ 1.0000, -0.5000])]
    """
    return [clip(g, -limit, limit) for g in grads]
