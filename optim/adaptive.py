"""Rules that divide by the size that gradients have had, without Adam's mean."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, clip, maximum, minimum, safe_sqrt, sqrt, zeros_like

from .optimizer import Optimizer
from .rule import (
    Rule,
    at,
    at_least_zero,
    directed,
    is_off,
    moving_average,
    must_be,
    per_parameter,
    so_many,
)
from .table import Row

__all__ = [
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "RMSprop",
    "adadelta",
    "adafactor",
    "adagrad",
    "rmsprop",
]


class Squares(NamedTuple):
    """The moving average of squared gradients; with momentum a velocity; if centered, the mean."""

    square_avg: Tensor
    momentum_buffer: Tensor | None = None
    grad_avg: Tensor | None = None


def rmsprop(
    lr: Any = 1e-2,
    alpha: Any = 0.99,
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    momentum: Any = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
) -> Rule:
    """RMSprop: v ← α·v + (1-α)·g², w ← w - lr·g/(√v + ε), as torch.optim.RMSprop.

    ``momentum`` μ steps along b ← μ·b + g/(√v + ε) instead. ``centered`` divides by the standard
    deviation √(v - m²), m the moving average of g; where rounding takes v - m² below 0 it counts
    as 0 (torch: NaN). ``weight_decay`` adds λ·w to the gradient. All real settings may be numbers,
    Tensors or schedules. Without ``momentum`` (the number 0) no velocity is kept.

    At g = v = 0 the step's derivative by g is the true one, -lr/ε.

    Raises ValueError for a negative setting.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.rmsprop(lr=0.1, alpha=0.75)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.8000)

    Source: Tieleman and Hinton (2012), Lecture 6.5, rmsprop; Graves (2013), Generating sequences
    with recurrent neural networks (centered).
    """
    at_least_zero(
        "rmsprop", lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum
    )
    remembers = not is_off(momentum)

    def start(w: Tensor) -> Squares:
        return Squares(
            zeros_like(w),
            zeros_like(w) if remembers else None,
            zeros_like(w) if centered else None,
        )

    def move(
        w: Tensor,
        g: Tensor,
        memory: Squares,
        t: int,
        lr: Any,
        alpha: Any,
        eps: Any,
        decay: Any,
        mu: Any,
    ) -> tuple[Tensor, Squares]:
        g = directed(g, w, maximize, decay)
        v = moving_average(memory.square_avg, g * g, alpha)
        velocity, mean, spread = memory.momentum_buffer, memory.grad_avg, v
        if centered:
            mean = moving_average(zeros_like(w) if mean is None else mean, g, alpha)
            spread = clip(v - mean * mean, min=0.0)
        step = g / (safe_sqrt(spread) + eps)
        if remembers:
            step = velocity = step if velocity is None else velocity * mu + step
        return w - lr * step, Squares(v, velocity, mean)

    return per_parameter(start, move, lr=lr, alpha=alpha, eps=eps, decay=weight_decay, mu=momentum)


class RMSprop(Optimizer):
    """RMSprop; settings as in :func:`tapegrad.optim.functional.rmsprop`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.RMSprop([w], lr=0.1, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    rule = staticmethod(rmsprop)


class Sum(NamedTuple):
    """The sum of squared gradients so far."""

    sum: Tensor


def adagrad(
    lr: Any = 1e-2,
    lr_decay: Any = 0.0,
    weight_decay: Any = 0.0,
    initial_accumulator_value: Any = 0.0,
    eps: Any = 1e-10,
    *,
    maximize: bool = False,
) -> Rule:
    """Adagrad: s ← s + g², w ← w - lrₜ·g/(√s + ε), as torch.optim.Adagrad.

    lrₜ = lr/(1 + (t-1)·lr_decay). s begins as ``initial_accumulator_value``. ``weight_decay`` adds
    λ·w to the gradient. All real settings may be numbers, Tensors or schedules (of
    ``initial_accumulator_value`` the first value counts).

    At g = s = 0 the step's derivative by g is the true one, -lr/ε.

    Raises ValueError for a negative setting.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adagrad(lr=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.9000)

    Source: Duchi, Hazan and Singer (2011), Adaptive subgradient methods for online learning and
    stochastic optimization.
    """
    at_least_zero(
        "adagrad",
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value,
        eps=eps,
    )

    def start(w: Tensor) -> Sum:
        return Sum(zeros_like(w) + at(initial_accumulator_value, 0))

    def move(
        w: Tensor, g: Tensor, memory: Sum, t: int, lr: Any, fading: Any, decay: Any, eps: Any
    ) -> tuple[Tensor, Sum]:
        g = directed(g, w, maximize, decay)
        total = memory.sum + g * g
        return w - lr / (1.0 + (t - 1) * fading) * g / (safe_sqrt(total) + eps), Sum(total)

    return per_parameter(start, move, lr=lr, fading=lr_decay, decay=weight_decay, eps=eps)


class Adagrad(Optimizer):
    """Adagrad; settings as in :func:`tapegrad.optim.functional.adagrad`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(adagrad)


class Deltas(NamedTuple):
    """The moving averages of squared gradients and of squared steps."""

    square_avg: Tensor
    acc_delta: Tensor


def adadelta(
    lr: Any = 1.0,
    rho: Any = 0.9,
    eps: Any = 1e-6,
    weight_decay: Any = 0.0,
    *,
    maximize: bool = False,
) -> Rule:
    """Adadelta: v ← ρ·v + (1-ρ)·g², Δ = √(u + ε)/√(v + ε)·g, w ← w - lr·Δ, as torch.optim.Adadelta.

    u ← ρ·u + (1-ρ)·Δ² is the average of squared steps, before this one in Δ. ``weight_decay`` adds
    λ·w to the gradient. All real settings may be numbers, Tensors or schedules.

    The step is smooth in g for ε > 0; at g = v = u = 0 its derivative is -lr.

    Raises ValueError for a negative setting, or a ρ above 1.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adadelta(eps=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(3.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.0513)

    Source: Zeiler (2012), ADADELTA, an adaptive learning rate method.
    """
    at_least_zero("adadelta", lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)
    must_be("adadelta", "at most 1", lambda rho: rho <= 1, rho=rho)

    def start(w: Tensor) -> Deltas:
        return Deltas(zeros_like(w), zeros_like(w))

    def move(
        w: Tensor, g: Tensor, memory: Deltas, t: int, lr: Any, rho: Any, eps: Any, decay: Any
    ) -> tuple[Tensor, Deltas]:
        g = directed(g, w, maximize, decay)
        v = moving_average(memory.square_avg, g * g, rho)
        delta = sqrt((memory.acc_delta + eps) / (v + eps)) * g
        u = moving_average(memory.acc_delta, delta * delta, rho)
        return w - lr * delta, Deltas(v, u)

    return per_parameter(start, move, lr=lr, rho=rho, eps=eps, decay=weight_decay)


class Adadelta(Optimizer):
    """Adadelta; settings as in :func:`tapegrad.optim.functional.adadelta`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.5], requires_grad=True)
    >>> optimizer = tg.optim.Adadelta([w], eps=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5513], requires_grad=True)
    """

    rule = staticmethod(adadelta)


class Factors(NamedTuple):
    """The moving averages of squared gradients, over rows and over columns."""

    row_var: Tensor
    col_var: Tensor


class Variance(NamedTuple):
    """The moving average of squared gradients of a vector, which has no factors."""

    variance: Tensor


def adafactor(
    lr: Any = 1e-2,
    beta2_decay: Any = -0.8,
    eps: tuple[Any, Any] = (None, 1e-3),
    d: Any = 1.0,
    weight_decay: Any = 0.0,
    *,
    maximize: bool = False,
) -> Rule:
    """Adafactor: squared gradients remembered by rows and columns alone, as torch.optim.Adafactor.

    For a matrix r ← (1-c)·r + c·mean(g² over columns), k ← (1-c)·k + c·mean(g² over rows) with
    c = t^beta2_decay, and v = r·k/max(mean(r), ε₁); a vector keeps v ← (1-c)·v + c·g² itself.
    Then u = g/√max(v, ε₁²) and w ← w - max(ε₂, rms(w))·min(lr, 1/√t)·u/max(1, rms(u)/d), with
    rms the root of the mean square. More than two dimensions are a batch of matrices.

    ``eps``: ε₁ (None: the precision of the parameter's dtype) and ε₂. ``d``: steps with a larger
    rms are scaled down to it. ``weight_decay`` first shrinks w by lr·λ. All real settings may be
    numbers, Tensors or schedules. The step has kinks where two sides of a max or min meet, and
    there shares the derivative; the first update of a vector has rms 1, so ``d=1`` is such a kink.

    At g = v = 0 the step's derivative by g is the true one, -max(ε₂, rms(w))·min(lr, 1)/ε₁; at
    w = 0 that of rms(w) is 0.

    Raises ValueError for a negative setting, a positive ``beta2_decay``, or d below 1.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adafactor(lr=0.1)
    >>> params, _ = rule.update([tg.tensor(1.0)], [tg.tensor(5.0)], rule.init([tg.tensor(1.0)]))
    >>> params[0]
    tensor(0.9000)

    Source: Shazeer and Stern (2018), Adafactor, adaptive learning rates with sublinear memory cost.
    """
    at_least_zero("adafactor", lr=lr, weight_decay=weight_decay)
    so_many("adafactor", 2, eps=eps)
    at_least_zero("adafactor", **{"eps[0]": 0 if eps[0] is None else eps[0], "eps[1]": eps[1]})
    must_be("adafactor", "at most 0", lambda power: power <= 0, beta2_decay=beta2_decay)
    must_be("adafactor", "at least 1", lambda d: d >= 1, d=d)

    def start(w: Tensor) -> Factors | Variance:
        nought = zeros_like(w)
        return Factors(nought[..., :1], nought[..., :1, :]) if w.ndim > 1 else Variance(nought)

    def move(
        w: Tensor,
        g: Tensor,
        memory: Factors | Variance,
        t: int,
        lr: Any,
        power: Any,
        eps: tuple[Any, Any],
        d: Any,
        decay: Any,
    ) -> tuple[Tensor, Factors | Variance]:
        g = directed(g, w, maximize)
        eps1 = 2.0 ** -_BITS[w.dtype.itemsize] if eps[0] is None else eps[0]
        rate = maximum(_rms(w), eps[1]) * minimum(lr, t**-0.5)
        if not is_off(decay):
            w = w * (1.0 - lr * decay)
        old = 1.0 - t**power
        square = g * g
        if isinstance(memory, Factors):
            rows = moving_average(memory.row_var, square.mean(-1, keepdim=True), old)
            columns = moving_average(memory.col_var, square.mean(-2, keepdim=True), old)
            v = rows * columns / clip(rows.mean(-2, keepdim=True), min=eps1)
            memory = Factors(rows, columns)
        else:
            v = moving_average(memory.variance, square, old)
            memory = Variance(v)
        u = g / sqrt(clip(v, min=eps1 * eps1))
        return w - rate / maximum(_rms(u) / d, 1.0) * u, memory

    return per_parameter(start, move, lr=lr, power=beta2_decay, eps=eps, d=d, decay=weight_decay)


#: The bits behind the point of a float of so many bytes.
_BITS = {2: 10, 4: 23, 8: 52}


def _rms(x: Tensor) -> Tensor:
    """The root of the mean square, with derivative 0 at 0."""
    return safe_sqrt((x * x).mean())  # type: ignore[no-any-return]


class Adafactor(Optimizer):
    """Adafactor; settings as in :func:`tapegrad.optim.functional.adafactor`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Adafactor([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(adafactor)


ROWS = (
    Row(
        adagrad,
        Adagrad,
        settings=(
            {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-2},
            {"maximize": True, "lr_decay": 0.02, "weight_decay": 0.1},
        ),
        checked={"eps": 1e-2},
        peer="torch",
    ),
    Row(
        adadelta,
        Adadelta,
        rate=1.0,
        settings=(
            {"lr": 0.7, "rho": 0.8, "eps": 1e-2, "weight_decay": 0.1},
            {"maximize": True, "weight_decay": 0.1},
        ),
        checked={"eps": 1e-2},
        peer="torch",
    ),
    Row(
        rmsprop,
        RMSprop,
        names=("rms_prop",),
        rate=0.05,
        settings=(
            {"centered": True, "alpha": 0.9, "eps": 1e-2},
            {"momentum": 0.8, "weight_decay": 0.1, "alpha": 0.9, "eps": 1e-2},
            {"momentum": 0.8, "centered": True, "maximize": True, "lr": 0.01, "weight_decay": 0.1},
        ),
        checked={"alpha": 0.9, "eps": 1e-2},
        peer="torch",
    ),
    Row(
        adafactor,
        Adafactor,
        settings=(
            {"beta2_decay": -0.6, "eps": (0.5, 2.0), "d": 2.0, "weight_decay": 0.1},
            {"maximize": True, "weight_decay": 0.1, "lr": 0.4},
        ),
        checked={"d": 1.5},
        peer="torch",
        shapes=((3,), (2, 3), (2, 2, 3)),
    ),
)
