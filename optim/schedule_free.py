"""Rules that need no schedule, since they average instead.

They know three points: z, which steps; x, the average of the z, which is the result; and y between
the two, where gradients are taken. The parameters are y while training, so the ordinary loop is as
always; for evaluation take x: :func:`averaged` of the state of a rule, or ``eval()`` of a class
(and ``train()`` to go on).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad import Tensor, as_tensor, enable_grad, maximum, safe_sqrt, where, zeros_like

from .optimizer import Optimizer, put
from .rule import (
    Params,
    Rule,
    State,
    _each,
    at,
    at_least_zero,
    below_one,
    moving_average,
    not_nan,
    per_parameter,
    so_many,
)
from .table import Row

__all__ = [
    "AdamWScheduleFree",
    "SGDScheduleFree",
    "adamwschedulefree",
    "averaged",
    "sgdschedulefree",
]


class Averaged(NamedTuple):
    """The point that steps, the average, the weights in it so far, and the largest rate so far."""

    z: Tensor
    x: Tensor
    weight_sum: Tensor
    lr_max: Tensor
    exp_avg_sq: Tensor | None = None


def averaged(state: State) -> Params:
    """The parameters to evaluate with: the averages x in the state of a schedule-free rule.

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.sgdschedulefree(lr=0.5)
    >>> params, state = [tg.tensor(1.0)], rule.init([tg.tensor(1.0)])
    >>> for _ in range(2):
    ...     params, state = rule.update(params, [tg.tensor(1.0)], state)
    >>> params, tg.optim.functional.averaged(state)
    ([tensor(0.2250)], [tensor(0.2500)])
    """
    return _each(lambda memory: memory.x, state.memory)


def _start(w: Tensor, second: bool) -> Averaged:
    none = zeros_like(w).sum()
    return Averaged(w.clone(), w.clone(), none, none, zeros_like(w) if second else None)


def _move(
    w: Tensor,
    direction: Tensor,
    memory: Averaged,
    t: int,
    lr: Any,
    beta: Any,
    decay: Any,
    warmup: int,
    r: Any,
    power: Any,
    square: Tensor | None,
) -> tuple[Tensor, Averaged]:
    """A step of z along a direction, z averaged into x, and the next y between them."""
    lr = lr * min(1.0, t / max(1, warmup))
    # in full precision
    lr_max = maximum(as_tensor(memory.lr_max, dtype="float64"), lr)
    weight = t**r * lr_max**power
    total = as_tensor(memory.weight_sum, dtype="float64") + weight
    empty = total == 0
    # while all rates are 0, z is x and any share will do: that of a plain mean has the derivative
    # of a constant rate
    share = where(empty, 1.0 / t, weight / where(empty, 1.0, total))
    share = as_tensor(share, dtype=w.dtype)
    z = memory.z - lr * (direction + decay * w)
    x = moving_average(memory.x, z, 1.0 - share)
    total, lr_max = as_tensor(total, dtype=w.dtype), as_tensor(lr_max, dtype=w.dtype)
    return moving_average(x, z, beta), Averaged(z, x, total, lr_max, square)


def sgdschedulefree(
    lr: Any = 1.0,
    momentum: Any = 0.9,
    weight_decay: Any = 0.0,
    warmup_steps: int = 0,
    r: Any = 0.0,
    weight_lr_power: Any = 2.0,
) -> Rule:
    """Schedule-free SGD: z ← z - γ·(g + λ·y), x ← (1-c)·x + c·z, y ← (1-β)·z + β·x.

    The parameters are y, where the gradient g is taken; :func:`averaged` gives x, to evaluate with.
    β is ``momentum`` and λ ``weight_decay``. The rate γ rises to ``lr`` over ``warmup_steps``. The
    share c = a/Σa has weights a = tʳ·γ_maxᵖ at step t, with γ_max the largest rate so far and p =
    ``weight_lr_power``: the plain mean of all z, when the rate is constant. All real settings may
    be numbers, Tensors or schedules. At g = 0 the step's derivative by g is as everywhere:
    -γ·(1 - β + β·c).

    Raises ValueError for a negative setting, or a momentum outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.sgdschedulefree(lr=0.5)
    >>> params = [tg.tensor(1.0)]
    >>> rule.update(params, [tg.tensor(0.4)], rule.init(params))[0]
    [tensor(0.8000)]

    Source: Defazio et al. (2024), The road less scheduled; names and defaults are those of the
    authors' package schedulefree.
    """
    at_least_zero("sgdschedulefree", lr=lr, weight_decay=weight_decay, warmup_steps=warmup_steps)
    below_one("sgdschedulefree", momentum=momentum)
    not_nan("sgdschedulefree", r=r, weight_lr_power=weight_lr_power)

    def start(w: Tensor) -> Averaged:
        return _start(w, second=False)

    def move(
        w: Tensor,
        g: Tensor,
        memory: Averaged,
        t: int,
        lr: Any,
        beta: Any,
        decay: Any,
        r: Any,
        power: Any,
    ) -> tuple[Tensor, Averaged]:
        return _move(w, g, memory, t, lr, beta, decay, warmup_steps, r, power, None)

    return per_parameter(
        start, move, lr=lr, beta=momentum, decay=weight_decay, r=r, power=weight_lr_power
    )


def adamwschedulefree(
    lr: Any = 0.0025,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    warmup_steps: int = 0,
    r: Any = 0.0,
    weight_lr_power: Any = 2.0,
) -> Rule:
    """Schedule-free AdamW: z ← z - γ·(g/(√v̂ + ε) + λ·y), x and y as in :func:`sgdschedulefree`.

    v ← β₂v + (1-β₂)g² and v̂ = v/(1-β₂ᵗ); β₁ takes the place of the momentum. So it is in the
    authors' package today; for the paper's experiments they left v̂ = v and multiplied the rate by
    √(1-β₂ᵗ). All real settings may be numbers, Tensors or schedules. At g = v = 0 the step's
    derivative by g is the true one, -γ/ε at the first step.

    Raises ValueError for a negative setting, or a beta outside [0, 1).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.adamwschedulefree(lr=0.1)
    >>> params = [tg.tensor(1.0)]
    >>> rule.update(params, [tg.tensor(5.0)], rule.init(params))[0]
    [tensor(0.9000)]

    Source: Defazio et al. (2024), The road less scheduled; names and defaults are those of the
    authors' package schedulefree.
    """
    at_least_zero(
        "adamwschedulefree", lr=lr, eps=eps, weight_decay=weight_decay, warmup_steps=warmup_steps
    )
    so_many("adamwschedulefree", 2, betas=betas)
    below_one("adamwschedulefree", betas=betas)
    not_nan("adamwschedulefree", r=r, weight_lr_power=weight_lr_power)

    def start(w: Tensor) -> Averaged:
        return _start(w, second=True)

    def move(
        w: Tensor,
        g: Tensor,
        memory: Any,
        t: int,
        lr: Any,
        betas: Any,
        eps: Any,
        decay: Any,
        r: Any,
        power: Any,
    ) -> tuple[Tensor, Averaged]:
        beta1, beta2 = betas
        v = moving_average(memory.exp_avg_sq, g * g, beta2)
        direction = g / (safe_sqrt(v) / (1.0 - beta2**t) ** 0.5 + eps)
        return _move(w, direction, memory, t, lr, beta1, decay, warmup_steps, r, power, v)

    return per_parameter(
        start, move, lr=lr, betas=betas, eps=eps, decay=weight_decay, r=r, power=weight_lr_power
    )


class ScheduleFree(Optimizer):
    """What the schedule-free classes share: :meth:`eval` and :meth:`train`.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.schedule_free import ScheduleFree
    >>> issubclass(tg.optim.SGDScheduleFree, ScheduleFree)
    True
    """

    #: Whether the parameters are y, as for training, and not x.
    training = True

    def eval(self) -> None:
        """Let the parameters be the averages x, for evaluation and for keeping.

        >>> import tapegrad as tg
        >>> w = tg.tensor([1.0], requires_grad=True)
        >>> optimizer = tg.optim.SGDScheduleFree([w], lr=0.1)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     (w * w).sum().backward()
        ...     optimizer.step()
        >>> optimizer.eval()
        >>> w
        tensor([0.6459], requires_grad=True)
        """
        self._place(training=False)

    def train(self) -> None:
        """Let the parameters be y again, for training.

        >>> import tapegrad as tg
        >>> w = tg.tensor([1.0], requires_grad=True)
        >>> optimizer = tg.optim.SGDScheduleFree([w], lr=0.1)
        >>> optimizer.eval()
        >>> optimizer.train()
        >>> optimizer.training
        True
        """
        self._place(training=True)

    def step(self, closure: Any = None) -> Any:
        """One step of training; refused after :meth:`eval`, until :meth:`train`."""
        if not self.training:
            raise RuntimeError(
                f"{type(self).__name__}: the parameters are the averages now, where gradients are "
                "of no use for a step: call train() before training on"
            )
        return super().step(closure)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot; it says with "training" which of y and x the parameters were.

        >>> import tapegrad as tg
        >>> tg.optim.SGDScheduleFree([tg.ones(1, requires_grad=True)]).state_dict()["training"]
        True
        """
        return {**super().state_dict(), "training": self.training}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take settings and state from a snapshot; the parameters must be those of the same time.

        >>> import tapegrad as tg
        >>> optimizer = tg.optim.SGDScheduleFree([tg.ones(1, requires_grad=True)])
        >>> optimizer.load_state_dict(optimizer.state_dict())
        """
        if "training" not in state_dict:
            raise ValueError(
                f"{type(self).__name__}: the snapshot does not say with 'training' whether the "
                "parameters were y (True) or the averages x (False): add it"
            )
        super().load_state_dict(state_dict)
        self.training = state_dict["training"]

    def _place(self, training: bool) -> None:
        if training is self.training:
            return
        with enable_grad():
            moves = [
                (p, self._between(group, self.state[p]) if training else self._average(p))
                for group in self.param_groups
                for p in group["params"]
                if p in self.state
            ]
        for p, moved in moves:
            put(p, moved, self.differentiable)
        self.training = training

    def _average(self, p: Tensor) -> Any:
        return self.state[p].memory[0].x.clone()

    def _between(self, group: dict[str, Any], state: State) -> Any:
        """The point y of the last step."""
        beta = group["betas"][0] if "betas" in group else group["momentum"]
        memory = state.memory[0]
        return moving_average(memory.x, memory.z, at(beta, state.step - 1))


class SGDScheduleFree(ScheduleFree):
    """Schedule-free SGD; settings as in :func:`tapegrad.optim.functional.sgdschedulefree`.

    While training the parameters are y, where gradients are taken. Call ``eval()`` before
    evaluating or saving the model, which makes them the averages x, and ``train()`` to go on.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.SGDScheduleFree([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    rule = staticmethod(sgdschedulefree)


class AdamWScheduleFree(ScheduleFree):
    """Schedule-free AdamW; settings as in :func:`tapegrad.optim.functional.adamwschedulefree`.

    While training the parameters are y, where gradients are taken. Call ``eval()`` before
    evaluating or saving the model, which makes them the averages x, and ``train()`` to go on.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.AdamWScheduleFree([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(adamwschedulefree)


ROWS = (
    Row(
        sgdschedulefree,
        SGDScheduleFree,
        ("schedule_free_sgd", "sgd_schedule_free"),
        settings=(
            {"weight_decay": 0.1, "warmup_steps": 3, "r": 0.5, "weight_lr_power": 1.5},
            {"momentum": 0.5},
        ),
        rate=0.05,
    ),
    Row(
        adamwschedulefree,
        AdamWScheduleFree,
        ("schedule_free_adamw", "adamw_schedule_free"),
        settings=({"weight_decay": 0.1, "warmup_steps": 3, "r": 0.5, "weight_lr_power": 1.5},),
        checked={"betas": (0.8, 0.95), "eps": 1e-2},
    ),
)
