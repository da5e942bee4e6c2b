"""The learning-rate range test: which rates a model can be trained with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tapegrad import Tensor, enable_grad, get_rng_state, set_rng_state
from tapegrad.optim import Optimizer, get

from .module import Module
from .plotting import figure_of

__all__ = ["RateRange", "lr_range_test"]


@dataclass(frozen=True)
class RateRange:
    """What :func:`lr_range_test` found: ``rates``, the loss at each (``losses``, smoothed), and the
    ``suggestion``: the rate at which the loss falls fastest, or None where it never fell.

    >>> import tapegrad as tg
    >>> tg.nn.RateRange([0.1, 1.0, 10.0], [1.0, 0.5, 9.0], suggestion=1.0).suggestion
    1.0
    """

    rates: list[float]
    losses: list[float]
    suggestion: float | None

    def plot(self, axes: Any = None) -> Any:
        """Draw the loss over the rate, with the suggestion; returns the figure."""
        figure, ax = figure_of(axes, 1)
        ax.plot(self.rates, self.losses)
        ax.set_xscale("log")
        ax.set_ylim(top=min(max(self.losses), 1.5 * self.losses[0]))
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        if self.suggestion is not None:
            ax.axvline(self.suggestion, linestyle=":", color="gray")
            ax.set_title(f"falls fastest at {self.suggestion:.2g}")
        return figure


def lr_range_test(
    model: Module,
    loss: Callable[..., Tensor] | str,
    data: Iterable[Any],
    *,
    optimizer: Any = "sgd",
    min_lr: float = 1e-7,
    max_lr: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.95,
    stop_above: float = 4.0,
) -> RateRange:
    """Train a copy with a rate that rises step by step: where the loss falls, where it blows up.

    ``loss``: a function of (output, target), or a loss's name. ``data``: batches (input, target),
    gone through again when they end (a list or a DataLoader, no generator). ``optimizer``: a name,
    a class, or an optimizer, of this model or made without parameters, which is copied. Rates rise
    by the same factor from ``min_lr`` to ``max_lr``; it ends early when the smoothed loss exceeds
    ``stop_above`` times the least so far, or is not finite. Losses are averaged with weights that
    decay by ``smoothing``; such an average lags behind, so that rates below the suggestion, such
    as a third of it, are the safer ones for a long training.
    The model and the random state are left as they were.

    Raises ValueError for rates that do not rise, fewer than 2 steps, data without a batch, an
    optimizer of another model, and a loss that is not finite at the start; TypeError for a model
    that is no Module, and batches that are no pairs.

    >>> import tapegrad as tg
    >>> _ = tg.manual_seed(0)
    >>> x, noise = tg.randn(64, 3), tg.randn(64, 1)
    >>> batch = x, x.sum(1, keepdim=True) + noise
    >>> found = tg.nn.lr_range_test(
    ...     tg.nn.Linear(3, 1), "mse", [batch], min_lr=1e-3, max_lr=100.0)
    >>> 0.01 < found.suggestion < 1.0, found.rates[-1] < 100.0
    (True, True)

    Source: Smith (2017), Cyclical learning rates for training neural networks.
    """
    if not 0.0 < min_lr < max_lr:
        raise ValueError(f"lr_range_test: need 0 < min_lr < max_lr, not {min_lr} and {max_lr}")
    if steps < 2:
        raise ValueError(f"lr_range_test: steps must be at least 2, not {steps}")
    if not isinstance(model, Module):
        raise TypeError(f"lr_range_test: model must be a Module, not {type(model).__name__}")
    from tapegrad import losses

    loss_of = losses.get(loss)
    twin, step_of = _twin(model, optimizer)
    random = get_rng_state()
    rates: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    try:
        batches = _again_and_again(data)
        for i in range(steps):
            rate = min_lr * (max_lr / min_lr) ** (i / (steps - 1))
            batch = next(batches)
            if not isinstance(batch, (tuple, list)) or len(batch) < 2:
                raise TypeError(
                    "lr_range_test: data must be a list of batches or a DataLoader, each "
                    f"(input, target), not a {type(batch).__name__}"
                )
            *inputs, target = batch
            for group in step_of.param_groups:
                group["lr"] = rate
            step_of.zero_grad()
            with enable_grad():
                value = loss_of(twin(*inputs), target)
                value.backward()
            if i == 0 and not value.isfinite():
                raise ValueError(
                    f"lr_range_test: the loss is {float(value)} before the first step; "
                    "nn.diagnose says where that comes from"
                )
            average = smoothing * average + (1.0 - smoothing) * float(value)
            rates.append(rate)
            smoothed.append(average / (1.0 - smoothing ** (i + 1)))
            if not smoothed[-1] <= stop_above * min(smoothed):
                break
            step_of.step()
    finally:
        set_rng_state(random)
    return RateRange(rates, smoothed, _steepest(rates, smoothed))


def _twin(model: Module, optimizer: Any) -> tuple[Module, Any]:
    """A copy of the model, and an optimizer of its parameters."""
    if not isinstance(optimizer, Optimizer):
        twin = copy.deepcopy(model)
        return twin, get(optimizer, twin.parameters())
    twin, step_of = copy.deepcopy((model, optimizer))
    if not step_of.param_groups:
        step_of.add_param_group({"params": list(twin.parameters())})
    own = {id(p) for group in step_of.param_groups for p in group["params"]}
    if not own & {id(p) for p in twin.parameters()}:
        raise ValueError("lr_range_test: the optimizer has none of the model's parameters")
    return twin, step_of


def _again_and_again(data: Iterable[Any]) -> Any:
    while True:
        empty = True
        for batch in data:
            empty = False
            yield batch
        if empty:
            raise ValueError(
                "lr_range_test: the data have no batch, or are a generator that has ended: give a "
                "list of (input, target) or a DataLoader"
            )


def _steepest(rates: list[float], losses: list[float]) -> float | None:
    """Where the loss falls fastest by the logarithm of the rate, before its least."""
    least = losses.index(min(losses))
    falls = [losses[i - 1] - losses[i + 1] for i in range(1, min(least + 1, len(losses) - 1))]
    if not falls or max(falls) <= 0.0:
        return None
    return rates[1 + falls.index(max(falls))]
