"""Rules that go down the gradient, with momentum or by its signs."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, as_tensor, clip, maximum, where, zeros_like

from .optimizer import Optimizer
from .reversible import ExactMomentum
from .rule import (
    Rule,
    at,
    at_least_zero,
    directed,
    is_off,
    must_be,
    not_nan,
    per_parameter,
    so_many,
)
from .table import Row

__all__ = ["ASGD", "SGD", "Rprop", "asgd", "rprop", "sgd"]


class Momentum(NamedTuple):
    """A velocity: the decaying sum of gradients."""

    momentum_buffer: Tensor | None = None


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

    ``lr``, ``momentum`` μ, ``dampening`` τ, ``weight_decay`` λ: numbers, Tensors or schedules. The
    first velocity is the gradient itself. ``nesterov`` steps along g + μ·v. Without momentum
    (``momentum`` is the number 0) no velocity is kept.

    The step is linear in g: at g = 0 its derivative is as everywhere, -lr at the first step.

    Raises ValueError for a negative setting, or ``nesterov`` without momentum or with dampening.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.sgd(lr=0.5)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(0.4)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.8000)

    Source: Robbins and Monro (1951), A stochastic approximation method; Polyak (1964); Sutskever et
    al. (2013), On the importance of initialization and momentum in deep learning.
    """
    at_least_zero("sgd", lr=lr, momentum=momentum, weight_decay=weight_decay)
    not_nan("sgd", dampening=dampening)
    damped = not is_off(dampening) and not isinstance(dampening, Tensor)
    if nesterov and (is_off(momentum) or damped):
        raise ValueError("sgd: nesterov=True needs a momentum and no dampening")
    remembers = not is_off(momentum)

    def start(w: Tensor) -> Momentum:
        return Momentum(zeros_like(w) if remembers else None)

    def move(
        w: Tensor, g: Tensor, memory: Momentum, t: int, lr: Any, mu: Any, tau: Any, decay: Any
    ) -> tuple[Tensor, Momentum]:
        g = directed(g, w, maximize, decay)
        if not remembers:
            return w - lr * g, memory
        v = memory.momentum_buffer
        if t == 1 or v is None:
            v = g
        else:
            v = v * mu + (g if is_off(tau) else g * (1.0 - tau))
        return w - lr * (g + v * mu if nesterov else v), Momentum(v)

    rule = per_parameter(start, move, lr=lr, mu=momentum, tau=dampening, decay=weight_decay)
    if not remembers or nesterov:
        return rule
    return rule._replace(exact=ExactMomentum(lr, momentum, dampening, weight_decay, maximize))


class SGD(Optimizer):
    """Stochastic gradient descent; settings as in :func:`tapegrad.optim.functional.sgd`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    rule = staticmethod(sgd)


class Average(NamedTuple):
    """The rate and the share of the next step, and the average of the parameters."""

    eta: Tensor
    mu: Tensor
    ax: Tensor


def asgd(
    lr: Any = 1e-2,
    lambd: Any = 1e-4,
    alpha: Any = 0.75,
    t0: Any = 1e6,
    weight_decay: Any = 0.0,
    *,
    maximize: bool = False,
) -> Rule:
    """Averaged gradient descent: w ← (1 - ληₜ)·w - ηₜ·g, a ← a + μₜ(w - a), as torch.optim.ASGD.

    ηₜ = lr/(1 + λ·lr·(t-1))^α with λ = ``lambd``, and μₜ = 1/max(1, t-1-t0): up to step t0 the
    average a (``ax`` in the state) is w itself; the parameters do not depend on it.
    ``weight_decay`` adds its multiple of w to the gradient. All real settings may be numbers,
    Tensors or schedules; as in torch ηₜ and μₜ are prepared by the step before, with its settings.

    The step is smooth in g, with the derivative -ηₜ everywhere.

    Raises ValueError for a negative ``lr`` or ``weight_decay``.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.asgd(lr=0.5, lambd=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(0.4)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.7500)

    Source: Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging;
    Bottou (2012), Stochastic gradient descent tricks.
    """
    at_least_zero("asgd", lr=lr, weight_decay=weight_decay)
    not_nan("asgd", lambd=lambd, alpha=alpha, t0=t0)

    def start(w: Tensor) -> Average:
        return Average(_scalar(at(lr, 0), w) * 1.0, _scalar(1.0, w), zeros_like(w))

    def move(
        w: Tensor,
        g: Tensor,
        memory: Average,
        t: int,
        lr: Any,
        lambd: Any,
        alpha: Any,
        t0: Any,
        decay: Any,
    ) -> tuple[Tensor, Average]:
        eta, mu, ax = memory
        g = directed(g, w, maximize, decay)
        shrink = 1.0 - lambd * as_tensor(eta, dtype="float64")  # in full precision
        w = w * _scalar(shrink, w) - eta * g
        ax = ax * (1.0 - mu) + w * mu
        eta = lr / (1.0 + lambd * lr * t) ** alpha
        mu = 1.0 / maximum(t - t0, 1.0)
        return w, Average(_scalar(eta, w), _scalar(mu, w), ax)

    return per_parameter(start, move, lr=lr, lambd=lambd, alpha=alpha, t0=t0, decay=weight_decay)


def _scalar(value: Any, w: Tensor) -> Tensor:
    """A number to remember, in the dtype of the parameter."""
    return as_tensor(value, dtype=w.dtype)


class ASGD(Optimizer):
    """Averaged gradient descent; settings as in :func:`tapegrad.optim.functional.asgd`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.ASGD([w], lr=0.1, lambd=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> optimizer.state_dict()["state"][0]["ax"]
    tensor([0.8000])
    """

    rule = staticmethod(asgd)


class Steps(NamedTuple):
    """The last gradient, and every element's own step."""

    prev: Tensor
    step_size: Tensor


def rprop(
    lr: Any = 1e-2,
    etas: tuple[Any, Any] = (0.5, 1.2),
    step_sizes: tuple[Any, Any] = (1e-6, 50.0),
    *,
    maximize: bool = False,
) -> Rule:
    """Resilient propagation: w ← w - Δ·sign(g), every element with a step Δ of its own.

    Δ begins as ``lr``. It grows by η₊ while the sign of g stays and shrinks by η₋ when it turned,
    ``etas`` = (η₋, η₊), held within ``step_sizes`` = (least, most); of two in the wrong order the
    second is Δ. An element whose sign turned rests for a step. As torch.optim.Rprop, except that
    signs are compared and not multiplied gradients, which can underflow. All real settings may be
    numbers, Tensors or schedules (of ``lr`` the first counts).

    The step depends on the gradient by signs alone: its derivative by g is 0 where it has one, and
    0 at g = 0, where it has none. By w, ``lr``, ``etas`` and ``step_sizes`` it is that of the path
    of signs that was taken.

    Raises ValueError for a negative ``lr``, or etas that are not 0 < η₋ < 1 < η₊.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.rprop(lr=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.9000)

    Source: Riedmiller and Braun (1993), A direct adaptive method for faster backpropagation
    learning: the RPROP algorithm.
    """
    at_least_zero("rprop", lr=lr)
    so_many("rprop", 2, etas=etas, step_sizes=step_sizes)
    must_be("rprop", "between 0 and 1", lambda eta: (eta > 0) & (eta < 1), **{"etas[0]": etas[0]})
    must_be("rprop", "above 1", lambda eta: eta > 1, **{"etas[1]": etas[1]})
    not_nan("rprop", step_sizes=step_sizes)

    def start(w: Tensor) -> Steps:
        nought = zeros_like(w)
        return Steps(nought, nought + at(lr, 0))

    def move(
        w: Tensor, g: Tensor, memory: Steps, t: int, etas: Any, sizes: Any
    ) -> tuple[Tensor, Steps]:
        g = directed(g, w, maximize)
        agreement = g.sign() * memory.prev.sign()
        turned = agreement < 0
        size = memory.step_size
        size = where(turned, size * etas[0], where(agreement > 0, size * etas[1], size))
        size = clip(size, *sizes)
        g = where(turned, 0.0, g)
        return w - g.sign() * size, Steps(g, size)

    return per_parameter(start, move, etas=etas, sizes=step_sizes)


class Rprop(Optimizer):
    """Resilient propagation; settings as in :func:`tapegrad.optim.functional.rprop`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Rprop([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(rprop)


ROWS = (
    Row(
        sgd,
        SGD,
        rate=0.05,
        settings=(
            {"momentum": 0.9},
            {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
            {"weight_decay": 0.1, "maximize": True, "lr": 0.005},
        ),
        peer="torch",
    ),
    Row(
        asgd,
        ASGD,
        rate=0.05,
        settings=(
            {"lambd": 0.2, "alpha": 0.6, "t0": 3.0, "weight_decay": 0.1},
            {"maximize": True, "lr": 0.005, "t0": 10.0, "lambd": 0.5},
        ),
        fixed=("t0",),  # only the average depends on it, not the parameters
        peer="torch",
    ),
    Row(
        rprop,
        Rprop,
        settings=(
            {"lr": 0.05, "etas": (0.4, 1.5), "step_sizes": (0.02, 0.6)},
            {"maximize": True, "step_sizes": (0.01, 0.2)},
        ),
        peer="torch",
    ),
)
