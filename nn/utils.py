"""Helpers by the names of torch.nn.utils."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapegrad import Tensor, no_grad
from tapegrad.optim.functional import clip_by_global_norm


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: Any) -> Tensor:
    """Scale the gradients of ``parameters`` together so that their global norm is ≤ ``max_norm``.

    Returns the norm before. The gradients are rebound, not changed in place. Parameters without
    a gradient are skipped; without any the norm is 0.

    >>> import tapegrad as tg
    >>> w = tg.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = tg.tensor([3.0, 4.0])
    >>> tg.nn.utils.clip_grad_norm_([w], 1.0)
    tensor(5.)
    >>> w.grad
    tensor([0.6, 0.8])

    Source: Pascanu, Mikolov and Bengio (2013).
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    held = [p for p in parameters if p.grad is not None]
    if not held:
        return Tensor(0.0)
    with no_grad():
        clipped, norm = clip_by_global_norm([p.grad for p in held], max_norm)
    for p, g in zip(held, clipped, strict=True):
        p.grad = g
    return norm
