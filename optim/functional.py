"""Update rules as pure functions: ``(params, grads, state) -> (params, state)``.

Every real setting may be a float, a Tensor or a schedule (a callable of the step), and the
result is differentiable by all of them.

>>> import tapegrad as tg
>>> rule = tg.optim.functional.sgd(lr=0.1)
>>> params = [tg.tensor([1.0, -2.0])]
>>> state = rule.init(params)
>>> params, state = rule.update(params, [2 * (params[0] - 3)], state)
>>> params[0]
tensor([ 1.4000, -1.0000])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tapegrad import Tensor, minimum, safe_sqrt, zeros_like

Params = Sequence[Tensor]


class Rule(NamedTuple):
    """An optimization algorithm: its initial state and one step of it."""

    init: Callable[[Params], Any]
    update: Callable[..., tuple[list[Tensor], Any]]


def at(setting: Any, step: int) -> Any:
    """The value of a setting at a step: schedules are callables of the step.

    >>> at(0.1, 5), at(lambda step: 1.0 / step, 5)
    (0.1, 0.2)
    """
    return setting(step) if callable(setting) and not isinstance(setting, Tensor) else setting


def moving_average(old: Tensor, new: Tensor, decay: Any) -> Tensor:
    """decay·old + (1 - decay)·new.

    >>> import tapegrad as tg
    >>> moving_average(tg.tensor(1.0), tg.tensor(2.0), 0.75)
    tensor(1.2500)
    """
    return old * decay + new * (1.0 - decay)


class SGDState(NamedTuple):
    """What SGD remembers: the step count and one velocity per parameter (with momentum)."""

    step: int
    velocity: list[Tensor] | None


def sgd(
    lr: Any = 1e-3,
    momentum: Any = 0.0,
    dampening: Any = 0.0,
    weight_decay: Any = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
) -> Rule:
    """Gradient descent: v ← μ·v + (1-τ)·(g + λ·w), w ← w - lr·v, as torch.optim.SGD.

    The first velocity is the gradient itself. ``nesterov`` steps along g + μ·v. Without momentum
    (``momentum`` is the number 0) no velocity is kept. ValueError when ``nesterov`` is asked for
    without momentum.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.sgd(lr=0.5)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(0.4)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.8000)

    Source: Robbins and Monro (1951); Polyak (1964); Sutskever et al. (2013).
    """
    has_momentum = isinstance(momentum, Tensor) or callable(momentum) or momentum != 0
    if nesterov and not has_momentum:
        raise ValueError("nesterov=True needs momentum > 0")

    def init(params: Params) -> SGDState:
        return SGDState(0, [zeros_like(p) for p in params] if has_momentum else None)

    def update(params: Params, grads: Params, state: SGDState) -> tuple[list[Tensor], SGDState]:
        t = state.step
        rate, mu = at(lr, t), at(momentum, t)
        grads = [-g if maximize else g for g in grads]
        grads = decayed(grads, params, at(weight_decay, t))
        velocity = state.velocity
        if velocity is not None:
            keep = 1.0 - at(dampening, t) if t else 1.0
            velocity = [v * mu + g * keep for v, g in zip(velocity, grads, strict=True)]
            grads = (
                [g + v * mu for g, v in zip(grads, velocity, strict=True)] if nesterov else velocity
            )
        moved = [p - rate * g for p, g in zip(params, grads, strict=True)]
        return moved, SGDState(t + 1, velocity)

    return Rule(init, update)


def decayed(grads: Params, params: Params, weight_decay: Any) -> list[Tensor]:
    """Gradients with the L2 penalty's added: g + λ·w.

    >>> import tapegrad as tg
    >>> decayed([tg.tensor(1.0)], [tg.tensor(2.0)], 0.5)
    [tensor(2.)]
    """
    if type(weight_decay) in (int, float) and weight_decay == 0:
        return list(grads)
    return [g + weight_decay * p for g, p in zip(grads, params, strict=True)]


class AdamState(NamedTuple):
    """What Adam remembers: the step count, and the mean and the square mean of gradients."""

    step: int
    mean: list[Tensor]
    square: list[Tensor]


def adam(
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    *,
    maximize: bool = False,
    decoupled: bool = False,
) -> Rule:
    """Adam: m ← β₁m + (1-β₁)g, v ← β₂v + (1-β₂)g², w ← w - lr·m̂/(√v̂ + ε).

    m̂ = m/(1-β₁ᵗ) and v̂ = v/(1-β₂ᵗ). ``weight_decay`` adds λ·w to the gradient, or with
    ``decoupled`` shrinks w by lr·λ (see :func:`adamw`). At g = v = 0 the step's derivative by g
    is that of the formula with √v held: -lr/ε at the first step.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adam(lr=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.9000)

    Source: Kingma and Ba (2015).
    """

    def init(params: Params) -> AdamState:
        return AdamState(0, [zeros_like(p) for p in params], [zeros_like(p) for p in params])

    def update(params: Params, grads: Params, state: AdamState) -> tuple[list[Tensor], AdamState]:
        t = state.step + 1
        rate, epsilon, decay = at(lr, state.step), at(eps, state.step), at(weight_decay, state.step)
        beta1, beta2 = at(betas[0], state.step), at(betas[1], state.step)
        grads = [-g if maximize else g for g in grads]
        if decoupled:
            params = [p * (1.0 - rate * decay) for p in params]
        else:
            grads = decayed(grads, params, decay)
        mean = [moving_average(m, g, beta1) for m, g in zip(state.mean, grads, strict=True)]
        square = [moving_average(v, g * g, beta2) for v, g in zip(state.square, grads, strict=True)]
        size = rate / (1.0 - beta1**t)
        root = (1.0 - beta2**t) ** 0.5
        moved = [
            p - size * m / (safe_sqrt(v) / root + epsilon)
            for p, m, v in zip(params, mean, square, strict=True)
        ]
        return moved, AdamState(t, mean, square)

    return Rule(init, update)


def adamw(
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 1e-2,
    *,
    maximize: bool = False,
) -> Rule:
    """Adam with decoupled weight decay: w ← (1 - lr·λ)·w before Adam's step.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adamw(lr=0.1, weight_decay=0.5)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.8500)

    Source: Loshchilov and Hutter (2019), Decoupled weight decay regularization.
    """
    return adam(lr, betas, eps, weight_decay, maximize=maximize, decoupled=True)


def global_norm(grads: Params) -> Tensor:
    """The Euclidean norm of all gradients taken together (derivative 0 where all are 0).

    >>> import tapegrad as tg
    >>> tg.optim.functional.global_norm([tg.tensor([3.0]), tg.tensor([4.0])])
    tensor(5.)
    """
    total = (grads[0] * grads[0]).sum()
    for g in grads[1:]:
        total = total + (g * g).sum()
    return safe_sqrt(total)


def clip_by_global_norm(grads: Params, max_norm: Any) -> tuple[list[Tensor], Tensor]:
    """Gradients scaled by min(1, max_norm/(norm + 1e-6)), and the norm before.

    >>> import tapegrad as tg
    >>> clipped, norm = tg.optim.functional.clip_by_global_norm([tg.tensor([3.0, 4.0])], 1.0)
    >>> norm
    tensor(5.)
    >>> clipped[0]
    tensor([0.6000, 0.8000])

    Source: Pascanu, Mikolov and Bengio (2013).
    """
    norm = global_norm(grads)
    scale = minimum(max_norm / (norm + 1e-6), 1.0)
    return [g * scale for g in grads], norm
