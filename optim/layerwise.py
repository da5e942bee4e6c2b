"""Rules that scale the step of each tensor as a whole."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, maximum, safe_sqrt, where, zeros_like

from .clipping import global_norm
from .optimizer import Optimizer
from .rule import (
    Rule,
    at_least_zero,
    below_one,
    directed,
    is_off,
    moving_average,
    not_nan,
    per_parameter,
    so_many,
)
from .table import Row

__all__ = ["LAMB", "LARS", "Muon", "lamb", "lars", "muon"]


class Moments(NamedTuple):
    """The moving averages of the gradient and of its square."""

    exp_avg: Tensor
    exp_avg_sq: Tensor


class Velocity(NamedTuple):
    """What the last steps add up to."""

    momentum_buffer: Tensor


def trust(weight: Tensor, size: Tensor) -> Tensor:
    """‖w‖/size, or 1 where either is 0 (with derivative 0 there).

    >>> import tapegrad as tg
    >>> from tapegrad.optim.layerwise import trust
    >>> trust(tg.tensor([3.0, 4.0]), tg.tensor(2.0)), trust(tg.tensor([3.0, 4.0]), tg.tensor(0.0))
    (tensor(2.5000), tensor(1.))
    """
    norm = global_norm([weight])
    both = (norm > 0) & (size > 0)
    return where(both, norm / where(both, size, 1.0), 1.0)


def lamb(
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-6,
    weight_decay: Any = 1e-2,
) -> Rule:
    """LAMB: Adam's step u = m̂/(√v̂ + ε) + λ·w, scaled to each tensor: w ← w - lr·(‖w‖/‖u‖)·u.

    m and v are Adam's averages, without their start. The ratio is 1 where ‖w‖ or ‖u‖ is 0. All real
    settings may be numbers, Tensors or schedules; ``weight_decay`` is λ.

    At g = v = 0 the step's derivative by g is the true one while λ·w is not 0. The direction of a
    step of length 0 has no derivative: at u = 0 the ratio counts as a constant, so that the step's
    derivative by g is then -lr/ε, Adam's.

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.lamb(lr=0.1, weight_decay=0.0)
    >>> params = [tg.tensor([3.0, -4.0])]
    >>> rule.update(params, [tg.tensor([1.0, 1.0])], rule.init(params))[0]
    [tensor([ 2.6464, -4.3536])]

    Source: You et al. (2020), Large batch optimization for deep learning: training BERT in 76
    minutes.
    """
    at_least_zero("lamb", lr=lr, eps=eps, weight_decay=weight_decay)
    so_many("lamb", 2, betas=betas)
    below_one("lamb", betas=betas)

    def start(w: Tensor) -> Moments:
        return Moments(zeros_like(w), zeros_like(w))

    def move(
        w: Tensor, g: Tensor, memory: Moments, t: int, lr: Any, betas: Any, eps: Any, decay: Any
    ) -> tuple[Tensor, Moments]:
        beta1, beta2 = betas
        m = moving_average(memory.exp_avg, g, beta1)
        v = moving_average(memory.exp_avg_sq, g * g, beta2)
        root = safe_sqrt(v) / (1.0 - beta2**t) ** 0.5
        u = m / (1.0 - beta1**t) / (root + eps)
        u = u if is_off(decay) else u + decay * w
        return w - lr * trust(w, global_norm([u])) * u, Moments(m, v)

    return per_parameter(start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay)


def lars(
    lr: Any = 0.1,
    momentum: Any = 0.9,
    weight_decay: Any = 5e-4,
    trust_coefficient: Any = 1e-3,
) -> Rule:
    """LARS: v ← μ·v + lr·η·‖w‖/(‖g‖ + λ·‖w‖)·(g + λ·w), w ← w - v, for each tensor by itself.

    ``trust_coefficient`` is η, ``momentum`` μ, ``weight_decay`` λ: numbers, Tensors or schedules.
    The rate is inside the velocity, as in the paper. Where ‖w‖ or ‖g‖ is 0 the plain rate lr is
    used, as other implementations do (the paper's formula would never leave w = 0).

    The direction of a gradient of length 0 has no derivative: at g = 0 the factor counts as a
    constant, so that the step's derivative by g is then -lr.

    Raises ValueError for a negative setting.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.lars(lr=1.0, trust_coefficient=0.1, weight_decay=0.0)
    >>> params = [tg.tensor([3.0, -4.0])]
    >>> rule.update(params, [tg.tensor([0.0, 20.0])], rule.init(params))[0]
    [tensor([ 3.0000, -4.5000])]

    Source: You, Gitman and Ginsburg (2017), Large batch training of convolutional networks.
    """
    at_least_zero(
        "lars",
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        trust_coefficient=trust_coefficient,
    )

    def start(w: Tensor) -> Velocity:
        return Velocity(zeros_like(w))

    def move(
        w: Tensor, g: Tensor, memory: Velocity, t: int, lr: Any, mu: Any, decay: Any, eta: Any
    ) -> tuple[Tensor, Velocity]:
        size, norm = global_norm([g]), global_norm([w])
        both = (size > 0) & (norm > 0)
        local = where(both, eta * norm / where(both, size + decay * norm, 1.0), 1.0)
        v = memory.momentum_buffer * mu + lr * local * directed(g, w, False, decay)
        return w - v, Velocity(v)

    return per_parameter(start, move, lr=lr, mu=momentum, decay=weight_decay, eta=trust_coefficient)


#: How Muon's rate depends on the numbers of rows and columns.
ADJUSTMENTS = {
    "original": lambda rows, columns: max(1.0, rows / columns) ** 0.5,
    "match_rms_adamw": lambda rows, columns: 0.2 * max(rows, columns) ** 0.5,
}


def muon(
    lr: Any = 1e-3,
    weight_decay: Any = 0.1,
    momentum: Any = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[Any, Any, Any] = (3.4445, -4.775, 2.0315),
    eps: Any = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
) -> Rule:
    """Muon: w ← (1 - lr·λ)·w - lr·s·O, O near the orthogonal matrix closest to the momentum.

    The momentum is B ← μ·B + (1-μ)·g, with ``nesterov`` (1-μ)·g + μ·B. O is what ``ns_steps`` turns
    of X ← a·X + (b·A + c·A²)·X with A = X·Xᵀ make of X = B/max(‖B‖, ε); a, b and c are
    ``ns_coefficients``. s is √max(1, rows/columns), or with ``adjust_lr_fn="match_rms_adamw"``
    0.2·√max(rows, columns). Names, defaults and steps are torch.optim.Muon's; torch turns in
    bfloat16, here it is the precision of the parameters. All real settings may be numbers, Tensors
    or schedules.

    For matrices only; give biases, embeddings and the last layer to AdamW. At B = 0 the derivative
    is that of the formula: X = B/ε there, hence -lr·s·aᵏ/ε·(the derivative of B by g) for k turns.

    Raises ValueError for a negative setting, an unknown ``adjust_lr_fn``, less than 0 or more than
    99 turns, or a parameter that is no matrix.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.muon(lr=1.0, weight_decay=0.0)
    >>> params = [tg.zeros(2, 2)]
    >>> rule.update(params, [tg.tensor([[0.0, 9.0], [-5.0, 0.0]])], rule.init(params))[0]
    [tensor([[ 0.0000, -0.8091],
            [ 0.8641,  0.0000]])]

    Source: Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks; Liu et
    al. (2025), Muon is scalable for LLM training.
    """
    at_least_zero("muon", lr=lr, weight_decay=weight_decay, momentum=momentum, eps=eps)
    if adjust_lr_fn is not None and adjust_lr_fn not in ADJUSTMENTS:
        raise ValueError(
            f"muon: adjust_lr_fn is {sorted(ADJUSTMENTS)} or None, not {adjust_lr_fn!r}"
        )
    so_many("muon", 3, ns_coefficients=ns_coefficients)
    not_nan("muon", ns_coefficients=ns_coefficients)
    if not isinstance(ns_steps, int) or not 0 <= ns_steps < 100:
        raise ValueError(f"muon: ns_steps must be a whole number below 100, not {ns_steps}")
    adjust = ADJUSTMENTS[adjust_lr_fn or "original"]

    def start(w: Tensor) -> Velocity:
        refuse_no_matrix(w)
        return Velocity(zeros_like(w))

    def move(
        w: Tensor,
        g: Tensor,
        memory: Velocity,
        t: int,
        lr: Any,
        decay: Any,
        mu: Any,
        abc: Any,
        eps: Any,
    ) -> tuple[Tensor, Velocity]:
        b = moving_average(memory.momentum_buffer, g, mu)
        o = orthogonal(moving_average(b, g, mu) if nesterov else b, abc, eps, ns_steps)
        return w * (1.0 - lr * decay) - lr * adjust(*w.shape) * o, Velocity(b)

    return per_parameter(
        start, move, lr=lr, decay=weight_decay, mu=momentum, abc=tuple(ns_coefficients), eps=eps
    )


def refuse_no_matrix(w: Tensor) -> None:
    """Raise for a parameter that is no matrix."""
    if w.ndim != 2:
        raise ValueError(f"muon moves matrices only, and there is a parameter of shape {w.shape}")


def orthogonal(matrix: Tensor, coefficients: Any, eps: Any, turns: int) -> Tensor:
    """A matrix with its singular values brought near 1, by Newton and Schulz's iteration.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.layerwise import orthogonal
    >>> orthogonal(tg.tensor([[2.0, 0.0], [0.0, 0.5]]), (1.5, -0.5, 0.0), 1e-7, 20)
    tensor([[1., 0.],
            [0., 1.]])
    """
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / maximum(global_norm([matrix]), eps)
    for _ in range(turns):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.T if tall else x


class LAMB(Optimizer):
    """LAMB; settings as in :func:`tapegrad.optim.functional.lamb`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([2.0], requires_grad=True)
    >>> optimizer = tg.optim.LAMB([w], lr=0.1, weight_decay=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([1.8000], requires_grad=True)
    """

    rule = staticmethod(lamb)


class LARS(Optimizer):
    """LARS; settings as in :func:`tapegrad.optim.functional.lars`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([2.0], requires_grad=True)
    >>> optimizer = tg.optim.LARS([w], lr=1.0, trust_coefficient=0.1, weight_decay=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([1.8000], requires_grad=True)
    """

    rule = staticmethod(lars)


class Muon(Optimizer):
    """Muon, for matrices; settings as in :func:`tapegrad.optim.functional.muon`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([[2.0]], requires_grad=True)
    >>> optimizer = tg.optim.Muon([w], lr=0.1, weight_decay=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([[1.9304]], requires_grad=True)
    """

    rule = staticmethod(muon)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add matrices with settings of their own; anything else is refused.

        >>> import tapegrad as tg
        >>> tg.optim.Muon([tg.zeros(3, requires_grad=True)])
        Traceback (most recent call last):
        ValueError: muon moves matrices only, and there is a parameter of shape (3,)
        """
        params = group["params"]
        group = {**group, "params": [params] if isinstance(params, Tensor) else list(params)}
        for item in group["params"]:
            w = item[1] if isinstance(item, tuple) else item
            if isinstance(w, Tensor):
                refuse_no_matrix(w)
        super().add_param_group(group)


ROWS = (
    Row(
        lamb,
        LAMB,
        settings=({"betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},),
        checked={"betas": (0.8, 0.95), "eps": 1e-2},
    ),
    Row(
        lars,
        LARS,
        settings=(
            {"trust_coefficient": 0.1, "weight_decay": 0.1},
            {"trust_coefficient": 0.2, "momentum": 0.5},
        ),
        checked={"trust_coefficient": 0.1},
    ),
    Row(
        muon,
        Muon,
        rate=0.05,
        settings=(
            {"weight_decay": 0.2, "momentum": 0.8, "nesterov": False},
            {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "momentum": 0.5},
        ),
        peer="torch",
        shapes=((2, 3), (4, 2)),
    ),
)
