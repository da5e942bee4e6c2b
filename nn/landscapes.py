"""Slices through the landscape of the loss around a model's parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapegrad import Tensor, get_rng_state, linspace, no_grad, randn, safe_sqrt, set_rng_state
from tapegrad.func import functional_call

from .module import Module
from .plotting import figure_of

__all__ = ["LossLandscape", "loss_landscape"]


@dataclass(frozen=True)
class LossLandscape:
    """What :func:`loss_landscape` found: ``values`` at the ``steps`` along one direction, or
    ``values[i][j]`` at steps i and j along two; ``here`` is the loss at the model itself.

    >>> import tapegrad as tg
    >>> tg.nn.LossLandscape([-1.0, 1.0], [4.0, 0.0], here=1.0).here
    1.0
    """

    steps: list[float]
    values: list[Any]
    here: float

    def plot(self, axes: Any = None) -> Any:
        """Draw the curve, or the contour lines of the surface; returns the figure."""
        figure, ax = figure_of(axes, 1)
        if isinstance(self.values[0], list):
            drawn = ax.contourf(self.steps, self.steps, self.values, levels=20)
            figure.colorbar(drawn, ax=ax, label="loss")
            ax.plot(0.0, 0.0, "w+")
            ax.set_xlabel("second direction")
            ax.set_ylabel("first direction")
        else:
            ax.plot(self.steps, self.values)
            ax.plot(0.0, self.here, "o")
            ax.set_xlabel("along the direction")
            ax.set_ylabel("loss")
        return figure


def loss_landscape(
    model: Module,
    loss: Callable[..., Tensor] | str,
    batch: Sequence[Any],
    *,
    directions: int | Sequence[Any] = 1,
    span: float = 1.0,
    points: int = 21,
    generator: Any = None,
) -> LossLandscape:
    """The loss at θ + a·d for a in [-span, span], or at θ + a·d + b·e.

    ``loss``: a function of (output, target), or a loss's name. ``batch``: (input, target).
    ``directions``: 1 or 2 random ones, or a list of one or two dicts from names to Tensors (such as
    the difference of two models' ``state_dict()``, for the line between them: its buffers, such as
    the statistics of BatchNorm, are moved, too, unless they are integers). Random
    directions have, filter by filter, the size of the weights, so that landscapes of networks whose
    weights have other scales can be compared; a vector (bias, scale) stays where it is.
    The model and its buffers are left as they were; each point sees the same random numbers, and
    only random directions draw any from the ``generator`` (None: the global one).

    Raises ValueError for another number of directions, fewer than 2 points, a direction whose
    names or shapes are not the model's, a batch that is no pair, a loss that is no scalar;
    TypeError for a model that is no Module.

    >>> import tapegrad as tg
    >>> model = tg.nn.Linear(1, 1, bias=False)
    >>> model.weight.data = tg.tensor([[2.0]])
    >>> ahead = {"weight": tg.tensor([[1.0]])}
    >>> x = tg.ones(1, 1)
    >>> found = tg.nn.loss_landscape(model, "mse", (x, 3.0 * x), directions=[ahead], points=3)
    >>> found.steps, found.values
    ([-1.0, 0.0, 1.0], [4.0, 1.0, 0.0])

    Source: Li et al. (2018), Visualizing the loss landscape of neural nets.
    """
    from tapegrad import losses

    loss_of = losses.get(loss)
    if not isinstance(model, Module):
        raise TypeError(f"loss_landscape: model must be a Module, not {type(model).__name__}")
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise ValueError(
            f"loss_landscape: batch must be (input, target), not a {type(batch).__name__}; the "
            "first of a DataLoader is next(iter(loader))"
        )
    if isinstance(directions, Mapping):
        raise TypeError("loss_landscape: directions must be a list of one or two dicts: [ahead]")
    params: dict[str, Tensor] = dict(model.named_parameters())
    if isinstance(directions, int):
        chosen = [_like_filters(params, generator) for _ in range(directions)]
    else:
        params |= dict(model.named_buffers())
        chosen = [_checked(params, direction) for direction in directions]
    if len(chosen) not in (1, 2):
        raise ValueError(f"loss_landscape: directions must be 1 or 2, not {len(chosen)}")
    if points < 2:
        raise ValueError(f"loss_landscape: points must be at least 2, not {points}")
    *inputs, target = batch
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    random = get_rng_state()

    def at(*amounts: float) -> float:
        moved = {
            name: p + sum(a * d[name] for a, d in zip(amounts, chosen, strict=True))
            for name, p in params.items()
            if p.is_floating_point()
        }
        set_rng_state(random)
        try:
            value = loss_of(functional_call(model, moved, tuple(inputs)), target)
            if value.numel() != 1:
                raise ValueError(
                    f"loss_landscape: the loss must be one number, and has shape {value.shape}: "
                    "reduction='mean' makes one of it"
                )
            return float(value)
        finally:
            set_rng_state(random)
            for buffer, before in buffers:
                buffer.copy_(before)

    with no_grad():
        steps = linspace(-span, span, points, dtype="float64").tolist()
        here = at(*([0.0] * len(chosen)))
        if len(chosen) == 1:
            return LossLandscape(steps, [at(a) for a in steps], here)
        return LossLandscape(steps, [[at(a, b) for b in steps] for a in steps], here)


def _like_filters(params: Mapping[str, Tensor], generator: Any) -> dict[str, Tensor]:
    """A random direction with, for every unit, the size of its weights."""
    found = {}
    for name, p in params.items():
        draw = randn(*p.shape, dtype=p.dtype, generator=generator)
        if p.ndim < 2:
            found[name] = draw * 0.0
            continue
        dims = tuple(range(1, p.ndim))
        size = safe_sqrt((p * p).sum(dim=dims, keepdim=True))
        found[name] = draw * size / safe_sqrt((draw * draw).sum(dim=dims, keepdim=True))
    return found


def _checked(params: Mapping[str, Tensor], direction: Any) -> dict[str, Tensor]:
    """A direction that was given, with zeros where it says nothing."""
    unknown = set(direction) - set(params)
    if unknown:
        raise ValueError(
            f"loss_landscape: the direction names {sorted(unknown)}; the model has {list(params)}"
        )
    for name, d in direction.items():
        if d.shape != params[name].shape:
            raise ValueError(
                f"loss_landscape: the direction of {name!r} has shape {d.shape}, the parameter "
                f"{params[name].shape}"
            )
    return {name: direction.get(name, p * 0.0) for name, p in params.items()}
