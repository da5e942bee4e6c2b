"""Helpers by the names of torch.nn.utils."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapegrad import Tensor, isfinite, tensor
from tapegrad.optim.functional import clip_by_global_norm


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: Any, *, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale the gradients of ``parameters`` together so that their global norm is ≤ ``max_norm``.

    Returns the norm before. The gradients are rebound, not changed in place, and stay on the tape
    when they are on it (after ``backward(create_graph=True)``) or ``max_norm`` is. Parameters
    without a gradient are skipped; without any the norm is 0. ``error_if_nonfinite``: RuntimeError
    for a norm of NaN or inf, naming the parameters it comes from; the gradients stay as they are.

    >>> import tapegrad as tg
    >>> w = tg.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = tg.tensor([3.0, 4.0])
    >>> tg.nn.utils.clip_grad_norm_([w], 1.0)
    tensor(5.)
    >>> w.grad
    tensor([0.6000, 0.8000])

    Source: Pascanu, Mikolov and Bengio (2013).
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    held = [(p, p.grad) for p in parameters if p.grad is not None]
    if not held:
        return tensor(0.0)
    clipped, norm = clip_by_global_norm([g for _, g in held], max_norm)
    if error_if_nonfinite and not isfinite(norm):
        raise RuntimeError(_not_finite(parameters))
    for (p, _), g in zip(held, clipped, strict=True):
        p.grad = g
    return norm


def _not_finite(parameters: list[Tensor]) -> str:
    """Which gradients make a norm NaN or inf."""
    found = [
        f"parameters[{i}] (shape {p.shape}{f', name {p.name!r}' if p.name else ''})"
        for i, p in enumerate(parameters)
        if p.grad is not None and not isfinite(p.grad).all()
    ]
    why = f"that of {', '.join(found)} is NaN or inf" if found else "their squares overflow"
    return (
        f"clip_grad_norm_: the global norm of the gradients is not finite, because {why}. "
        "Nothing was scaled."
    )
