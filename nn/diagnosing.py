"""What ails a network: sizes of activations and gradients by layer, verdicts, remedies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from tapegrad import (
    Tensor,
    enable_grad,
    get_rng_state,
    grad,
    linalg,
    linspace,
    set_rng_state,
    stop_gradient,
)
from tapegrad.optim import SGD, Optimizer, get

from .module import Module

__all__ = ["Diagnosis", "LayerHealth", "Problem", "diagnose"]

#: Gradients that differ by more than this between the first and the last layer.
DEPTH = 1e3
#: In deep networks of ReLU half of the units are 0 for a whole batch even at a good start, since
#: all examples come to look alike; more than that is a loss.
DEAD = 2.0 / 3.0
#: Of fewer values of a unit than this it cannot be told that it is dead.
VALUES = 8
#: A weight should move by about a thousandth of its size in a step; of twenty layers with BatchNorm
#: that can be trained, some move by 0.15 at first.
LARGE_UPDATE, SMALL_UPDATE = 0.25, 1e-7
#: Above it a layer of weights squashes some directions to nothing; and above so much per unit, as
#: a random square matrix of n units has a number above k·n by a chance of 2/k (Edelman 1988).
CONDITION, CONDITION_PER_UNIT = 1e6, 1e5
#: Larger weights, of so many multiplications, have no condition number: it would take too long.
LARGEST = 512**3
#: A slope below this share of the steepest counts as saturated.
FLAT = 0.05
#: Where a module keeps what its weights are made of; no layers.
PARAMETRIZED = "parametrizations"
#: Activations that flatten out on both sides, and those with a side of zeros.
BOUNDED = ("Sigmoid", "Tanh", "Softsign", "Hardtanh", "Hardsigmoid", "ReLU6", "Step")
ONE_SIDED = ("ReLU", "ReLU6", "Threshold")


class LayerHealth(NamedTuple):
    """One layer of a :class:`Diagnosis`; None where a figure makes no sense.

    ``size`` and ``spread``: the root mean square of the outputs and their standard deviation over
    the batch. ``gradient``: the norm of the loss's gradient by the outputs (unlike a mean, it stays
    when pooling shares it out among many); None if the loss does not depend on them. ``dead``: the
    share of units that are 0 for the whole batch. ``saturated``: the share of outputs where the
    activation is flat. ``weight``, ``weight_gradient``: root mean squares. ``update``: by which
    share of their size the weights move in one step. ``condition``: the weights' condition number,
    of up to about 512·512 weights.

    >>> import tapegrad as tg
    >>> layers = tg.nn.diagnose(tg.nn.Linear(3, 1), "mse", (tg.ones(2, 3), tg.zeros(2, 1))).layers
    >>> layers[0].kind, layers[0].dead
    ('Linear', None)
    """

    name: str
    kind: str
    size: float
    spread: float
    gradient: float | None
    dead: float | None
    saturated: float | None
    weight: float | None
    weight_gradient: float | None
    update: float | None
    condition: float | None


@dataclass(frozen=True)
class Problem:
    """A verdict: what it is, where it was seen, by which figure, and what helps.

    >>> import tapegrad as tg
    >>> print(tg.nn.Problem("dead units", "1", "80% are 0", ("LeakyReLU",)))
    dead units (1): 80% are 0. Try: LeakyReLU.
    """

    kind: str
    where: str
    figure: str
    remedies: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} ({self.where}): {self.figure}. Try: {'; '.join(self.remedies)}."


HEAD = (
    *("Layer", "Size", "Spread", "Gradient", "Dead", "Saturated"),
    *("Weight", "dL/dW", "Update", "Condition"),
)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What :func:`diagnose` found: ``loss``, ``layers`` in the order of the computation, and
    ``problems``. It prints as a table, shows in Jupyter, and :meth:`plot` draws it.

    >>> import tapegrad as tg
    >>> model = tg.nn.Linear(1, 1, bias=False)
    >>> model.weight.data = tg.tensor([[2.0]])
    >>> tg.nn.diagnose(model, "mse", (tg.ones(2, 1), tg.zeros(2, 1)))
    loss 4
    Layer            Size  Spread  Gradient  Dead  Saturated  Weight  dL/dW  Update  Condition
    Linear (Linear)     2       0       2.8                        2      4    0.02          1
    Nothing is wrong.
    """

    loss: float
    layers: tuple[LayerHealth, ...]
    problems: tuple[Problem, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The kinds of problems; empty for a healthy network."""
        return tuple(problem.kind for problem in self.problems)

    def __repr__(self) -> str:
        table = [HEAD, *map(_cells, self.layers)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for first, *others in table:
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        said = [f"- {problem}" for problem in self.problems] or ["Nothing is wrong."]
        return "\n".join([f"loss {self.loss:.4g}", *lines, *said])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in HEAD)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(layer)) + "</tr>"
            for layer in self.layers
        )
        said = "".join(f"<li>{escape(str(problem))}</li>" for problem in self.problems)
        return (
            f"<p>loss {self.loss:.4g}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table><ul>{said or '<li>Nothing is wrong.</li>'}</ul>"
        )

    def plot(self, axes: Any = None) -> Any:
        """Draw sizes by layer, shares of dead and saturated units, and updates; returns the figure.

        ``axes``: three of matplotlib's, or None for a new figure.
        """
        from .plotting import bars, figure_of, lines

        figure, (sizes, shares, updates) = figure_of(axes, 3)
        names = [layer.name for layer in self.layers]
        curves = {"outputs (root mean square)": "size", "gradients (norm)": "gradient"}
        lines(sizes, names, {k: [getattr(x, v) for x in self.layers] for k, v in curves.items()})
        sizes.set_title("sizes")
        of_units = [x for x in self.layers if x.dead is not None or x.saturated is not None]
        bars(
            shares,
            [x.name for x in of_units],
            {k: [getattr(x, k) or 0.0 for x in of_units] for k in ("dead", "saturated")},
        )
        shares.set_title("share of units")
        moved = [x for x in self.layers if x.update is not None]
        lines(updates, [x.name for x in moved], {"update / weight": [x.update for x in moved]})
        updates.axhline(1e-3, color="gray", linewidth=0.8, linestyle=":")
        updates.set_title("one step")
        return figure


def diagnose(
    model: Module,
    loss: Any,
    batch: Sequence[Any],
    *,
    optimizer: Any = None,
) -> Diagnosis:
    """Run one batch forward and backward and say how each layer fares, and what is wrong.

    ``loss``: a function of (output, target), a loss of :mod:`tapegrad.losses`, or its name.
    ``batch``: (input, target), or (input, ..., target) for a model of several inputs.
    ``optimizer``: whose step is judged: one with the model's parameters, or a name or class; None
    is SGD with a rate of 0.01. The model, the optimizer, gradients, buffers and the random state
    are left as they were.

    Verdicts: *vanishing* and *exploding*, when gradients differ by a factor of 1000 between the
    last and the first layer (if they vanish, those by its weights, too), or a value overflowed;
    *dead units*, when two thirds of a layer's units are 0 for the whole batch (of 8 examples or
    more); *saturation*, when half of the outputs of a bounded activation are on its flat parts;
    *large updates* (a step moves weights by more than a quarter of their size), *small updates* (by
    less than 1e-7), and *ill-conditioned* weights (above 1e6, or 1e5 for each unit). Each comes
    with remedies. *Bad data* and a *loss not finite* of good outputs are told as such.

    Layers are modules that have parameters of their own or no modules inside, in the order of their
    calls; of an activation that is a function only what it does to the layers is seen. Dead units
    and saturation are judged for modules of their kind.

    Raises TypeError for a model that is no Module, ValueError for a batch that is no pair and for a
    loss that does not depend on the model or is no scalar.

    >>> import tapegrad as tg
    >>> _ = tg.manual_seed(0)
    >>> layers = [m for _ in range(20) for m in (tg.nn.Linear(16, 16), tg.nn.Sigmoid())]
    >>> deep = tg.nn.Sequential(*layers, tg.nn.Linear(16, 1))
    >>> tg.nn.diagnose(deep, "mse", (tg.randn(32, 16), tg.randn(32, 1))).verdicts
    ('vanishing',)

    Source: Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward
    neural networks; Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent
    neural networks.
    """
    if not isinstance(model, Module):
        raise TypeError(f"diagnose: model must be a Module, not {type(model).__name__}")
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise ValueError(
            f"diagnose: batch must be (input, target), not a {type(batch).__name__}; the first of "
            "a DataLoader is next(iter(loader))"
        )
    from tapegrad import losses

    *inputs, target = batch
    seen, value, by_parameter = _measured(model, losses.get(loss), inputs, target)
    moved = _updates(model, by_parameter, optimizer)
    conditions: dict[int, float | None] = {}
    layers = tuple(_health(layer, by_parameter, moved, conditions) for layer in seen)
    problems = list(_bad_data(batch)) or list(_problems(model, float(value), layers))
    return Diagnosis(float(value), layers, tuple(problems))


class _Seen(NamedTuple):
    """A layer at work: its outputs, and the loss's gradients by them, None where it has none."""

    name: str
    module: Module
    input: Any
    outputs: list[Tensor]
    gradients: list[Tensor | None]


def _measured(
    model: Module, loss: Callable[..., Tensor], inputs: Sequence[Any], target: Any
) -> tuple[list[_Seen], Tensor, dict[int, Tensor]]:
    """The layers in the order of their work, the loss, and its gradients by parameters."""
    seen: list[_Seen] = []
    handles = []
    for name, module in model.named_modules():
        inside = [child for child, _ in module.named_children() if child != PARAMETRIZED]
        own = next(module.parameters(recurse=False), None)
        if (inside and own is None) or PARAMETRIZED in name.split("."):
            continue

        def note(module: Module, args: Any, output: Any, name: str = name) -> None:
            outputs = [found for found in _tensors(output) if found.requires_grad]
            if outputs:
                seen.append(_Seen(name or type(module).__name__, module, args[:1], outputs, []))

        handles.append(module.register_forward_hook(note))
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    random = get_rng_state()
    try:
        with enable_grad():
            value = loss(model(*inputs), target)
            if not value.requires_grad or not seen:
                raise ValueError("diagnose: the loss does not depend on the model's parameters")
            if value.numel() != 1:
                raise ValueError(
                    f"diagnose: the loss must be one number, and has shape {value.shape}: "
                    "reduction='mean' makes one of it"
                )
            params = [p for p in model.parameters() if p.requires_grad]
            outputs = [output for layer in seen for output in layer.outputs]
            found = iter(grad(value, [*outputs, *params], allow_unused=True))
    finally:
        for handle in handles:
            handle.remove()
        set_rng_state(random)
        for buffer, before in buffers:
            buffer.data = before
    for layer in seen:
        layer.gradients.extend(next(found) for _ in layer.outputs)
    by_parameter = {
        id(p): p.detach() * 0.0 if slope is None else slope
        for p, slope in zip(params, found, strict=True)
    }
    return seen, value, by_parameter


def _tensors(output: Any) -> Iterator[Tensor]:
    """The Tensors in a layer's result, which may be nested, as that of an LSTM is."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list, Mapping)):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)


def _updates(
    model: Module, by_parameter: Mapping[int, Tensor], optimizer: Any
) -> dict[int, tuple[Tensor, Tensor]]:
    """Every parameter before and after one step, of a copy."""
    params = [p for p in model.parameters() if id(p) in by_parameter]
    if optimizer is None:
        optimizer = SGD(params, lr=0.01)
    elif not isinstance(optimizer, Optimizer):
        optimizer = get(optimizer, params)
    own = [p for group in optimizer.param_groups for p in group["params"]]
    if not {id(p) for p in own} & set(by_parameter):
        raise ValueError("diagnose: the optimizer has none of the model's parameters")
    twin = copy.deepcopy(optimizer)
    theirs = [p for group in twin.param_groups for p in group["params"]]
    for p, q in zip(own, theirs, strict=True):
        q.grad = by_parameter.get(id(p))
    twin.step()
    return {id(p): (p, q) for p, q in zip(own, theirs, strict=True)}


def _health(
    seen: _Seen,
    by_parameter: Mapping[int, Tensor],
    moved: Mapping[int, tuple[Tensor, Tensor]],
    conditions: dict[int, float | None],
) -> LayerHealth:
    """The figures of a layer; ``conditions``, by weight, are computed once for all its calls."""
    module, output = seen.module, stop_gradient(seen.outputs[0])
    kind = type(module).__name__
    own = {n: p for n, p in module.named_parameters(recurse=False) if id(p) in by_parameter}
    weight = own.get("weight", next(iter(own.values()), None))
    figures: dict[str, Any] = dict.fromkeys(
        ("dead", "saturated", "weight", "weight_gradient", "update", "condition")
    )
    if kind in ONE_SIDED and output.ndim > 1:
        figures["dead"] = _dead_share(output == 0.0)
    if kind in BOUNDED and seen.input and isinstance(seen.input[0], Tensor):
        figures["saturated"] = _flat_share(module, seen.input[0])
    if weight is not None:
        before = stop_gradient(weight)
        figures["weight"] = _rms(before)
        figures["weight_gradient"] = _rms(by_parameter[id(weight)])
        if id(weight) in moved:
            after = stop_gradient(moved[id(weight)][1])
            figures["update"] = _rms(after - before) / (figures["weight"] or 1.0)
        if id(weight) not in conditions:
            conditions[id(weight)] = _condition(before)
        figures["condition"] = conditions[id(weight)]
    spread = float(output.std(dim=0, correction=0).mean()) if output.numel() else 0.0
    slopes = [g for g in seen.gradients if g is not None]
    gradient = sum(_rms(g) ** 2 * g.numel() for g in slopes) ** 0.5 if slopes else None
    return LayerHealth(seen.name, kind, _rms(output), spread, gradient, **figures)


def _condition(weight: Tensor) -> float | None:
    """The condition number; None if there is none, or if it would take too long."""
    if weight.ndim < 2 or weight.numel() == 0 or not weight.isfinite().all():
        return None
    matrix = weight.flatten(1).to("float64")
    if matrix.numel() * min(matrix.shape) > LARGEST:
        return None
    values = linalg.svdvals(matrix)
    least, most = float(values.min()), float(values.max())
    return most / least if least > 0.0 else float("inf") if most > 0.0 else None


def _rms(values: Tensor) -> float:
    """The root mean square; of the values over their largest, so that none overflows."""
    if values.numel() == 0:
        return 0.0
    top = float(values.abs().max())
    if not 0.0 < top < float("inf"):
        return top
    return top * float(((values / top) ** 2).mean() ** 0.5)


def _share(holds: Tensor) -> float:
    return float(holds.to("float64").mean())


def _dead_share(zero: Tensor) -> float | None:
    """The share of units that are 0 for all examples: columns, or channels of pictures.

    A unit is (N, C, L) after a convolution and (N, L, C) in sequences: the worse of both.
    """
    if zero.numel() == 0:
        return None
    found = []
    for unit in (1, 2) if zero.ndim == 3 else (1,):
        if zero.numel() >= VALUES * zero.shape[unit]:
            by_unit = zero.movedim(unit, 0).flatten(1) if zero.ndim > 1 else zero
            found.append(_share(by_unit.all(dim=1)))
    return max(found, default=None)


def _flat_share(module: Module, given: Tensor) -> float | None:
    """The share of inputs at which an activation is flat; zeros of a ReLU6 are no saturation."""
    if given.numel() == 0:
        return None
    with enable_grad():
        at = stop_gradient(given).requires_grad_()
        probe = linspace(-5.0, 5.0, 101, dtype=given.dtype).requires_grad_()
        output = module.forward(at)
        (slopes,) = grad(output.sum(), [at])
        (steepest,) = grad(module.forward(probe).sum(), [probe])
    flat = slopes.abs() < FLAT * steepest.abs().max()
    return _share(flat & (output != 0.0) if type(module).__name__ in ONE_SIDED else flat)


def _bad_data(batch: Sequence[Any]) -> Iterator[Problem]:
    """NaN and infinities that are in the batch already."""
    for i, part in enumerate(batch):
        for found in _tensors(part):
            if found.is_floating_point() and not found.isfinite().all():
                count = int((~found.isfinite()).sum())
                yield Problem(
                    "bad data",
                    "the target" if part is batch[-1] else f"input {i}",
                    f"{count} of {found.numel()} numbers are NaN or infinite",
                    ("replace or leave out missing values", "look for divisions by zero"),
                )


def _problems(model: Module, loss: float, layers: Sequence[LayerHealth]) -> Iterator[Problem]:
    """The verdicts."""
    reached = [x for x in layers if x.gradient is not None] or [*layers]
    first, last = reached[0], reached[-1]
    ours, theirs = first.gradient or 0.0, last.gradient or 0.0
    kinds = {type(m).__name__ for m in model.modules()}
    norms = any("Norm" in kind for kind in kinds)
    squashing = sorted(kinds & {"Sigmoid", "Tanh", "Softsign", "Hardsigmoid", "Hardtanh"})
    remedy_norm = () if norms else ("BatchNorm between the layers (nn.BatchNorm1d)",)
    overflow = _overflow(layers)
    outputs = max(x.size for x in layers)
    if not _finite(loss) and outputs <= DEPTH * DEPTH:
        yield Problem(
            "loss not finite",
            "the loss",
            f"it is {loss:g}, of outputs that are finite",
            ("a loss of logits, which takes no logarithm of 0 (cross_entropy)",),
        )
    elif overflow or ours > DEPTH * theirs or last.size > DEPTH * DEPTH:
        figure = overflow or (
            f"gradients grow from {theirs:.2g} at {last.name} to {ours:.2g} at {first.name}, "
            f"outputs reach {outputs:.2g}"
        )
        yield Problem(
            "exploding",
            f"{last.name} to {first.name}",
            figure,
            (
                "smaller initial weights (He for ReLU, Xavier for tanh: nn.init.recommend)",
                *remedy_norm,
                "clipping the gradients (clipnorm=1.0)",
                "a lower learning rate",
            ),
        )
    elif ours * DEPTH < theirs and not _learns(reached):
        where = f"instead of {' and '.join(squashing)}" if squashing else "for every layer"
        yield Problem(
            "vanishing",
            f"{last.name} to {first.name}",
            f"gradients shrink from {theirs:.2g} at {last.name} to {ours:.2g} at {first.name}",
            (
                f"ReLU with He initialisation {where} (nn.init.kaiming_normal_)",
                *remedy_norm,
                "residual connections (nn.Residual)",
            ),
        )
    yield from _worst(
        layers,
        "dead",
        lambda x: x >= DEAD,
        "dead units",
        "{:.0%} of the units are 0 for the whole batch",
        ("LeakyReLU or ELU", "He initialisation", "a lower learning rate"),
    )
    yield from _worst(
        layers,
        "saturated",
        lambda x: x >= 0.5,
        "saturation",
        "{:.0%} of the outputs are where the activation is flat",
        (
            "smaller initial weights (Xavier: nn.init.xavier_normal_)",
            *remedy_norm,
            "ReLU in hidden layers",
            "inputs standardised (nn.data.Standardize)",
        ),
    )
    yield from _worst(
        layers,
        "update",
        lambda x: x > LARGE_UPDATE,
        "large updates",
        "a step moves the weights by {:.2g} of their size",
        ("a lower learning rate", "clipping the gradients (clipnorm=1.0)", "a warm-up"),
    )
    if all(x.update < SMALL_UPDATE for x in layers if x.update is not None):
        yield Problem(
            "small updates",
            "all layers",
            f"a step moves the weights by at most "
            f"{max((x.update for x in layers if x.update is not None), default=0.0):.2g} of their "
            "size",
            ("a higher learning rate (nn.lr_range_test)",),
        )
    matrices = (p for p in model.parameters() if p.ndim > 1 and p.numel())
    wide = max((min(p.shape[0], p.numel() // p.shape[0]) for p in matrices), default=1)
    yield from _worst(
        layers,
        "condition",
        lambda x: x > max(CONDITION, CONDITION_PER_UNIT * wide),
        "ill-conditioned",
        "the weights' condition number is {:.2g}",
        ("orthogonal initialisation (nn.init.orthogonal_)", "weight decay", *remedy_norm),
    )


def _worst(
    layers: Sequence[LayerHealth],
    name: str,
    bad: Callable[[float], bool],
    kind: str,
    figure: str,
    remedies: tuple[str, ...],
) -> Iterator[Problem]:
    """A problem if a figure is bad in some layer, told of the worst."""
    found = [x for x in layers if getattr(x, name) is not None and bad(getattr(x, name))]
    if found:
        worst = max(found, key=lambda x: getattr(x, name))
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield Problem(kind, worst.name + others, figure.format(getattr(worst, name)), remedies)


def _learns(layers: Sequence[LayerHealth]) -> bool:
    """Whether the weights of the first layer, used once, get gradients in spite of small ones.

    Those of a convolution are sums over all pixels, among which pooling has shared out the loss's;
    in recurrent cells, used many times, they would hide what vanishes on the way.
    """
    of_weights = [x for x in layers if x.weight_gradient is not None]
    if not of_weights:
        return False
    first, last = of_weights[0], of_weights[-1]
    once = sum(x.name == first.name for x in layers) == 1
    return once and (first.weight_gradient or 0.0) * DEPTH > (last.weight_gradient or 0.0)


def _overflow(layers: Sequence[LayerHealth]) -> str | None:
    """Where the first output, or else on its way back the first gradient, is not finite."""
    for layer in layers:
        if not _finite(layer.size):
            return f"the output of {layer.name} is not finite"
    for layer in reversed(layers):
        if not _finite(layer.gradient or 0.0):
            return f"the gradient at {layer.name} is not finite"
    return None


def _finite(number: float) -> bool:
    return number - number == 0.0


def _cells(layer: LayerHealth) -> tuple[str, ...]:
    shares = ("dead", "saturated")
    return (
        f"{layer.name} ({layer.kind})",
        *(
            "" if value is None else f"{value:.0%}" if name in shares else f"{value:.2g}"
            for name, value in list(layer._asdict().items())[2:]
        ),
    )
