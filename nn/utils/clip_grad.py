"""Clipping of gradients by the names of torch.nn.utils.

Those that clip gradients rebind ``grad`` of the parameters. The gradients stay on the tape when
they are on it (after ``backward(create_graph=True)``) or the threshold is a Tensor on it, so that
training with clipping can be differentiated.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tapegrad import Tensor, isfinite, stack, tensor
from tapegrad.optim.clipping import scale_to, scaled, settled
from tapegrad.optim.functional import (
    clip_adaptively,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    global_norm,
)

__all__ = [
    "clip_each_grad_norm_",
    "clip_grad_adaptively_",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of ``parameters`` together so that their global norm is ≤ ``max_norm``.

    Returns the norm before. ``norm_type``: the p of the p-norm, or inf. Parameters without a
    gradient are skipped; without any the norm is 0. ``error_if_nonfinite``: RuntimeError for a norm
    of NaN or inf, naming the parameters it comes from; the gradients stay as they are. ``foreach``
    is accepted for torch's sake. See :func:`tapegrad.optim.functional.clip_by_global_norm`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = tg.tensor([3.0, 4.0])
    >>> tg.nn.utils.clip_grad_norm_([w], 1.0)
    tensor(5.)
    >>> w.grad
    tensor([0.6000, 0.8000])

    Source: Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural
    networks.
    """
    settled("clip_grad_norm_", norm_type, max_norm=max_norm)
    parameters = _listed(parameters)
    held = [p for p in parameters if p.grad is not None]
    clipped, norm = clip_by_global_norm([p.grad for p in held], max_norm, norm_type)
    if error_if_nonfinite:
        _refuse_nonfinite("clip_grad_norm_", norm, parameters, [p.grad for p in parameters])
    _give(held, clipped)
    return norm


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors, as if they were one vector; see :func:`clip_grad_norm_`.

    >>> import tapegrad as tg
    >>> tg.nn.utils.get_total_norm([tg.tensor([3.0]), tg.tensor([4.0])])
    tensor(5.)
    """
    tensors = _listed(tensors, "tensors")
    norm = global_norm(tensors, norm_type)
    if error_if_nonfinite:
        _refuse_nonfinite("get_total_norm", norm, tensors, tensors)
    return norm


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: Any,
    total_norm: Any,
    foreach: bool | None = None,
) -> None:
    """Scale the gradients by min(1, max_norm/(total_norm + 1e-6)), for a norm known already.

    :func:`clip_grad_norm_` is :func:`get_total_norm` of the gradients and then this.

    >>> import tapegrad as tg
    >>> w = tg.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = tg.tensor([3.0, 4.0])
    >>> tg.nn.utils.clip_grads_with_norm_(w, 1.0, tg.tensor(10.0))
    >>> w.grad
    tensor([0.3000, 0.4000])
    """
    held = [p for p in _listed(parameters) if p.grad is not None]
    _, max_norm = settled("clip_grads_with_norm_", max_norm=max_norm)
    _give(held, scaled([p.grad for p in held], scale_to(total_norm, max_norm, 1e-6)))


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: Any, foreach: bool | None = None
) -> None:
    """Bring every entry of the gradients into [-clip_value, clip_value].

    See :func:`tapegrad.optim.functional.clip_by_value`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = tg.tensor([3.0, -0.5])
    >>> tg.nn.utils.clip_grad_value_([w], 1.0)
    >>> w.grad
    tensor([ 1.0000, -0.5000])
    """
    settled("clip_grad_value_", clip_value=clip_value)
    held = [p for p in _listed(parameters) if p.grad is not None]
    _give(held, clip_by_value([p.grad for p in held], clip_value))


def clip_each_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale every gradient by itself to a norm of at most ``max_norm``, as Keras's ``clipnorm``.

    Returns the norms before, one for each gradient. Otherwise as :func:`clip_grad_norm_`, which
    is what Keras calls ``global_clipnorm``.

    >>> import tapegrad as tg
    >>> a, b = tg.zeros(2, requires_grad=True), tg.zeros(1, requires_grad=True)
    >>> a.grad, b.grad = tg.tensor([3.0, 4.0]), tg.tensor([0.5])
    >>> tg.nn.utils.clip_each_grad_norm_([a, b], 1.0)
    tensor([5.0000, 0.5000])
    >>> a.grad, b.grad
    (tensor([0.6000, 0.8000]), tensor([0.5000]))
    """
    settled("clip_each_grad_norm_", norm_type, max_norm=max_norm)
    parameters = _listed(parameters)
    held = [p for p in parameters if p.grad is not None]
    norms = [global_norm([p.grad], norm_type) for p in held]
    found = stack(norms) if norms else tensor([])
    if error_if_nonfinite:
        _refuse_nonfinite("clip_each_grad_norm_", found, parameters, [p.grad for p in parameters])
    _give(held, clip_by_norm([p.grad for p in held], max_norm, norm_type))
    return found


def clip_grad_adaptively_(
    parameters: Tensor | Iterable[Tensor],
    clip_factor: Any = 0.01,
    eps: Any = 1e-3,
    norm_type: float = 2.0,
) -> None:
    """Adaptive clipping: each unit's gradient at most ``clip_factor`` of the unit's weights.

    Brock et al. leave the last layer out. The weights count as constants when the gradients are
    off the tape. See :func:`tapegrad.optim.functional.clip_adaptively`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([[3.0, 4.0]], requires_grad=True)
    >>> w.grad = tg.tensor([[0.6, 0.8]])
    >>> tg.nn.utils.clip_grad_adaptively_([w], 0.1)
    >>> w.grad
    tensor([[0.3000, 0.4000]])

    Source: Brock, De, Smith and Simonyan (2021), High-performance large-scale image recognition
    without normalization.
    """
    settled("clip_grad_adaptively_", norm_type, clip_factor=clip_factor, eps=eps)
    held = [p for p in _listed(parameters) if p.grad is not None]
    grads: list[Any] = [p.grad for p in held]
    pairs = zip(held, grads, strict=True)
    sizes = [p.detach() if p.is_leaf and not g.requires_grad else p for p, g in pairs]
    _give(held, clip_adaptively(grads, sizes, clip_factor, eps, norm_type))


def _listed(parameters: Tensor | Iterable[Tensor], kind: str = "parameters") -> list[Tensor]:
    if isinstance(parameters, Tensor):
        return [parameters]
    if isinstance(parameters, dict):
        raise TypeError(f"{kind} must be a Tensor or a list of them, not a dict: give its values()")
    if not isinstance(parameters, Iterable):
        found = type(parameters).__name__
        raise TypeError(f"{kind} must be a Tensor or a list of them, not a {found}")
    listed = list(parameters)
    for i, p in enumerate(listed):
        if not isinstance(p, Tensor):
            pairs = ": give parameters(), not named_parameters()" if isinstance(p, tuple) else ""
            raise TypeError(f"{kind}[{i}] is a {type(p).__name__}, not a Tensor{pairs}")
    if not listed and isinstance(parameters, Iterator):
        warnings.warn(
            f"the {kind} are an empty iterator, so no gradient is clipped: was it used before?",
            stacklevel=3,
        )
    return listed


def _give(parameters: list[Tensor], grads: list[Tensor]) -> None:
    """New gradients for parameters."""
    for p, g in zip(parameters, grads, strict=True):
        p.grad = g


def _refuse_nonfinite(
    what: str, norm: Tensor, named: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> None:
    """Raise for a norm that is NaN or inf, naming the tensors that make it so."""
    if isfinite(norm).all():
        return
    kind, which = {
        "clip_grad_norm_": ("parameters", "the global norm of the gradients"),
        "clip_each_grad_norm_": ("parameters", "a norm of the gradients"),
    }.get(what, ("tensors", "the norm of the tensors"))
    found = [
        f"{kind}[{i}] (shape {p.shape}{f', name {p.name!r}' if p.name else ''})"
        for i, (p, g) in enumerate(zip(named, grads, strict=True))
        if g is not None and not isfinite(g).all()
    ]
    why = f"that of {', '.join(found)} is NaN or inf" if found else "it is out of range"
    end = " Nothing was scaled." if kind == "parameters" else ""
    raise RuntimeError(f"{what}: {which} is not finite, because {why}.{end}")
