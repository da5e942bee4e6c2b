"""Several losses as one: weights that are given, learned, or found from how the tasks get on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tapegrad import (
    Tensor,
    abs,
    check,
    exp,
    grad,
    linalg,
    softmax,
    stack,
    stop_gradient,
    tensor,
    zeros,
)

from .base import Loss
from .checks import (
    dimensions,
    first_bad,
    not_empty,
    parameter_list,
    positive,
    setting,
    tensors,
)
from .kinds import REALS, Kind
from .limits import times_exp
from .naming import get
from .table import Row

__all__ = [
    "DynamicWeightAverage",
    "GradNormLoss",
    "UncertaintyWeighting",
    "WeightedSum",
    "dynamic_weight_average",
    "gradnorm_loss",
    "renormalize_weights",
    "uncertainty_weighting",
    "weighted_sum",
]

#: Kendall, Gal and Cipolla's factors of exp(-s)·L: a Gaussian's ½, and 1 of a scaled softmax.
TASKS = {"regression": 0.5, "classification": 1.0}


def weighted_sum(losses: Any, weights: Any) -> Tensor:
    """Weighted sum of losses: Σ w_i·L_i.

    ``losses``: a list of tensors, all of one shape (usually numbers), a dict of them by name, or
    one tensor (tasks,). ``weights``: as many, each a number or a 0-d Tensor, which has a
    gradient: a list, a dict with the names of the losses, or a tensor (tasks,).

    Raises ValueError when the numbers, names or shapes do not match or there are no losses,
    TypeError for losses that are no tensors or not floating point.

    >>> import tapegrad as tg
    >>> box, label = tg.tensor(0.5), tg.tensor(2.0)
    >>> tg.losses.weighted_sum([box, label], [5.0, 1.0])
    tensor(4.5000)
    >>> importance = tg.tensor(1.0, requires_grad=True)
    >>> tg.losses.weighted_sum({"box": box, "label": label}, {"label": importance, "box": 5.0})
    tensor(4.5000, grad_fn=<add>)

    Source: Caruana (1997), Multitask learning.
    """
    what = "weighted_sum"
    weights = _ordered(what, losses, "weights", weights)
    losses = _ordered(what, losses, "losses", losses)
    if isinstance(losses, Sequence):
        losses = _each(what, "losses", losses)
        for i, loss in enumerate(losses):
            if loss.shape != losses[0].shape:
                raise ValueError(
                    f"{what}: losses[0] has shape {losses[0].shape} but losses[{i}] has shape "
                    f"{loss.shape}: reduce them alike"
                )
    else:
        losses = _tasks(what, "losses", losses)
    if not isinstance(weights, Sequence):
        weights = _tasks(what, "weights", weights)
    _same_number(what, losses, "weights", weights)
    if isinstance(losses, Tensor) and isinstance(weights, Tensor):
        return (losses * weights).sum()
    for i, weight in enumerate(weights):
        setting(what, f"weights[{i}]", weight, ())
    parts = [loss * weight for loss, weight in zip(losses, weights)]
    return sum(parts[1:], parts[0])


def uncertainty_weighting(losses: Any, log_variances: Any, tasks: Any = "regression") -> Tensor:
    """Losses weighted by the uncertainty of their tasks: Σ c_i·exp(-s_i)·L_i + s_i/2.

    s_i = log σ_i² is learned together with the model: a noisy task gets a small weight, and the
    term s_i/2 keeps weights from vanishing. c_i is ½ for a regression (L_i a squared error) and 1
    for a classification (L_i a cross-entropy). For losses that stand still the best s_i is
    log L_i (regression) or log 2L_i (classification).

    ``losses``: a list or dict of 0-d tensors, or a tensor (tasks,). ``log_variances``: the s_i,
    likewise; 0 is a good start. ``tasks``: "regression" or "classification", or one of them for
    each loss. :class:`UncertaintyWeighting` keeps the log-variances.

    Raises ValueError when numbers or names do not match, there are no losses, or a task is of
    another kind; TypeError for losses that are no tensors or not floating point.

    >>> import tapegrad as tg
    >>> losses, s = tg.tensor([4.0, 0.5]), tg.zeros(2, requires_grad=True)
    >>> total = tg.losses.uncertainty_weighting(losses, s, ["regression", "classification"])
    >>> total, tg.grad(total, s)
    (tensor(2.5000, grad_fn=<sum>), (tensor([-1.5000,  0.0000]),))

    Source: Kendall, Gal and Cipolla (2018), Multi-task learning using uncertainty to weigh losses
    for scene geometry and semantics, equations 7 and 10.
    """
    what = "uncertainty_weighting"
    if not isinstance(tasks, (str, Sequence, Mapping)):
        raise TypeError(f"{what}: tasks must be a string, or a list or dict of them, not {tasks!r}")
    kinds = [tasks] if isinstance(tasks, str) else list(_ordered(what, losses, "tasks", tasks))
    losses, log_variances = _lined_up(what, losses=losses, log_variances=log_variances)
    for kind in kinds:
        if kind not in TASKS:
            raise ValueError(f'{what}: a task is "regression" or "classification", not {kind!r}')
    if isinstance(tasks, str):
        factor: Any = TASKS[tasks]
    else:
        _same_number(what, losses, "tasks", kinds)
        factor = tensor([TASKS[kind] for kind in kinds], dtype=losses.dtype)
    return (factor * times_exp(losses, -log_variances) + 0.5 * log_variances).sum()


def gradnorm_loss(
    losses: Any,
    initial_losses: Any,
    weights: Any,
    parameters: Any,
    alpha: Any = 1.5,
    create_graph: bool = False,
) -> Tensor:
    """GradNorm's loss, by which weights of tasks are trained: Σ |G_i - Ḡ·r_i^α|.

    G_i = ‖∇(w_i·L_i)‖ is the norm of the gradient by the shared ``parameters``, Ḡ their mean, and
    r_i = l_i / mean(l) with l_i = L_i / L_i(0) how far task i lags behind. Tasks that lag get
    larger gradients, the more the larger α is; 0 makes all norms equal.

    ``losses``: a list or dict of 0-d tensors, or a tensor (tasks,), with their tape.
    ``initial_losses``: the same at the start of training, positive. ``weights``: the w_i, likewise.
    ``parameters``: tensors that all tasks share (usually the last shared layer's only), as a
    tensor, list, dict or Module. The gradient goes to the weights and ``alpha`` only, so that
    ``backward()`` leaves the model alone; with ``create_graph`` the norms are differentiated
    through the model too. Each call walks the tape once for each task, and keeps it. After each
    step of the weights apply :func:`renormalize_weights`.

    Raises ValueError when numbers or names do not match, there are no losses, a loss does not
    depend on the parameters, a loss is negative, or an initial one not positive; TypeError for
    losses that are no tensors or not floating point.

    >>> import tapegrad as tg
    >>> shared = tg.tensor([1.0, 1.0], requires_grad=True)
    >>> steep, flat = (shared * tg.tensor([3.0, 4.0])).sum(), shared[0]
    >>> start = tg.stack([steep, flat]).detach()
    >>> weights = tg.ones(2, requires_grad=True)
    >>> loss = tg.losses.gradnorm_loss([steep, flat], start, weights, shared)
    >>> loss, tg.grad(loss, weights)
    (tensor(4., grad_fn=<sum>), (tensor([ 5., -1.]),))

    Source: Chen et al. (2018), GradNorm: gradient normalization for adaptive loss balancing in
    deep multitask networks, equation 2.
    """
    what = "gradnorm_loss"
    losses, initial_losses, weights = _lined_up(
        what, losses=losses, initial_losses=initial_losses, weights=weights
    )
    parameters = parameter_list(what, parameters)
    _each_positive(what, "initial_losses", initial_losses)
    setting(what, "alpha", alpha, ())
    check(
        losses >= 0,
        lambda losses: f"{what}: losses must not be negative, but {first_bad(losses >= 0, losses)}",
        losses,
    )
    norms = []
    for i, loss in enumerate(losses):
        found = grad(
            loss, parameters, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        parts = [linalg.vector_norm(g) for g in found if g is not None]
        if not parts:
            raise ValueError(f"{what}: losses[{i}] does not depend on any of the parameters")
        norms.append(linalg.vector_norm(stack(parts)))
    norms_of_weighted = abs(weights) * stack(norms)
    progress = losses / initial_losses
    # Chen et al. (2018), section 3.2: the target is held constant when the weights are updated,
    # else they would drift to zero.
    mean = stop_gradient(norms_of_weighted.mean())
    target = mean * stop_gradient(progress / progress.mean()) ** alpha
    return abs(norms_of_weighted - target).sum()


def renormalize_weights(weights: Tensor, total: Any = None) -> Tensor:
    """Weights scaled so that they add up to their number: w_i·T / Σ w.

    GradNorm does so after each step, so that balancing tasks leaves the learning rate as it is.
    ``weights``: (tasks,); ``total``: what they add up to instead.

    Raises ValueError when there are no weights or they add up to 0, TypeError for a list of
    numbers.

    >>> import tapegrad as tg
    >>> weights = tg.tensor([3.0, 1.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     _ = weights.copy_(tg.losses.renormalize_weights(weights))
    >>> weights
    tensor([1.5000, 0.5000], requires_grad=True)

    Source: Chen et al. (2018), GradNorm, algorithm 1.
    """
    what = "renormalize_weights"
    weights = _tasks(what, "weights", weights)
    total = weights.shape[0] if total is None else total
    setting(what, "total", total, ())
    sum_of_weights = weights.sum()
    check(sum_of_weights != 0, f"{what}: the weights add up to 0, and so would any multiple")
    return weights * (total / sum_of_weights)


def dynamic_weight_average(losses: Any, previous_losses: Any, temperature: Any = 2.0) -> Tensor:
    """Weights by how slowly tasks learn: w_i = T·softmax(r / temperature)_i, r_i = L_i / L_i'.

    T is the number of tasks, to which the weights add up. ``losses``: mean losses of the last
    epoch, as a list or dict of 0-d tensors or a tensor (tasks,); ``previous_losses``: those of the
    epoch before, positive. In the first two epochs all weights are 1, which is what equal losses
    give. A high ``temperature`` makes the weights more alike.

    Raises ValueError when numbers or names do not match, there are no losses, or a previous loss
    or the temperature is not positive; TypeError for losses that are no tensors or not floating
    point.

    The second task got no better, and gets more weight:

    >>> import tapegrad as tg
    >>> tg.losses.dynamic_weight_average(tg.tensor([0.5, 1.0]), tg.tensor([1.0, 1.0]))
    tensor([0.8756, 1.1244])

    Source: Liu, Johns and Davison (2019), End-to-end multi-task learning with attention,
    equation 7.
    """
    what = "dynamic_weight_average"
    losses, previous_losses = _lined_up(what, losses=losses, previous_losses=previous_losses)
    positive(what, "temperature", temperature, ())
    _each_positive(what, "previous_losses", previous_losses)
    return losses.shape[0] * softmax(losses / previous_losses / temperature, dim=0)


class WeightedSum:
    """Several losses of the same operands as one: Σ w_i·L_i(input, target).

    ``terms``: a list of losses or a dict of them by name. Each is a loss, for weight 1, or a pair
    (loss, weight). A loss is any callable of tensors, or a name that :func:`get` knows; a weight
    is a number or a 0-d Tensor. :meth:`terms` gives the losses one by one; ``losses`` and
    ``weights`` hold the parts, and can be changed.

    Raises ValueError when there are no terms.

    >>> import tapegrad as tg
    >>> loss = tg.losses.WeightedSum({"mse": (tg.losses.MSELoss(), 1.0), "mae": ("mae", 0.5)})
    >>> loss
    WeightedSum({'mse': (MSELoss(), 1.0), 'mae': (L1Loss(), 0.5)})
    >>> input, target = tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0])
    >>> loss(input, target), loss.terms(input, target)
    (tensor(6.), {'mse': tensor(5.), 'mae': tensor(2.)})

    L1 regularisation beside the squared error, for weights that are mostly 0:

    >>> model = tg.nn.Linear(4, 1)
    >>> loss = tg.losses.WeightedSum(
    ...     [
    ...         tg.losses.mse_loss,
    ...         lambda input, target: tg.losses.l1_penalty(model.weight, 0.01),
    ...     ]
    ... )
    >>> loss(model(tg.ones(3, 4)), tg.ones(3, 1)).backward()
    """

    def __init__(self, terms: Any) -> None:
        if isinstance(terms, str) or not isinstance(terms, Iterable):
            raise TypeError(f"WeightedSum: terms must be a list or a dict of losses, not {terms!r}")
        named = terms if isinstance(terms, Mapping) else dict(enumerate(terms))
        if not named:
            raise ValueError("WeightedSum: there are no terms")
        pairs = {
            name: term if isinstance(term, tuple) else (term, 1.0) for name, term in named.items()
        }
        for name, pair in pairs.items():
            if len(pair) != 2:
                raise ValueError(f"WeightedSum: term {name!r} must be (loss, weight), not {pair!r}")
        self.losses: dict[Any, Callable[..., Tensor]] = {n: get(p[0]) for n, p in pairs.items()}
        self.weights: dict[Any, Any] = {n: p[1] for n, p in pairs.items()}
        self._is_named = isinstance(terms, Mapping)

    def __call__(self, *operands: Any, **named: Any) -> Tensor:
        """The weighted sum of the losses of the operands."""
        found = {name: loss(*operands, **named) for name, loss in self.losses.items()}
        return weighted_sum(found, self.weights)

    def terms(self, *operands: Any, **named: Any) -> Any:
        """The losses of the operands one by one, unweighted: a dict, or a list if made of one."""
        found = {name: loss(*operands, **named) for name, loss in self.losses.items()}
        return found if self._is_named else list(found.values())

    def __repr__(self) -> str:
        """The losses with their weights."""
        pairs = {name: (loss, self.weights[name]) for name, loss in self.losses.items()}
        return f"WeightedSum({pairs if self._is_named else list(pairs.values())})"


class UncertaintyWeighting:
    """:func:`uncertainty_weighting` with its log-variances, for an optimizer to learn.

    ``log_variances``: how many tasks there are, which then start at 0, or a tensor (tasks,) or
    list or dict of 0-d tensors to start from. ``tasks``: as there.

    >>> import tapegrad as tg
    >>> weighting = tg.losses.UncertaintyWeighting(2, tasks=["regression", "classification"])
    >>> optimizer = tg.optim.SGD(weighting.parameters(), lr=1.0)
    >>> weighting([tg.tensor(4.0), tg.tensor(0.5)]).backward()
    >>> optimizer.step()
    >>> weighting.log_variances
    tensor([1.5000, 0.0000], requires_grad=True)
    """

    def __init__(self, log_variances: Any, tasks: Any = "regression") -> None:
        if isinstance(log_variances, int):
            if log_variances < 1:
                raise ValueError("UncertaintyWeighting: there must be at least one task")
            log_variances = zeros(log_variances, requires_grad=True)
        what, name = "UncertaintyWeighting", "log_variances"
        _tasks(what, name, _ordered(what, log_variances, name, log_variances))
        self.log_variances = log_variances
        self.tasks = tasks

    def __call__(self, losses: Any) -> Tensor:
        """The losses, weighted by the uncertainty of their tasks."""
        return uncertainty_weighting(losses, self.log_variances, self.tasks)

    def parameters(self) -> list[Tensor]:
        """The log-variances, as an optimizer takes them."""
        return parameter_list("UncertaintyWeighting", self.log_variances)

    def __repr__(self) -> str:
        """The log-variances, and the tasks if they are not all regressions."""
        tasks = "" if self.tasks == "regression" else f", tasks={self.tasks!r}"
        return f"UncertaintyWeighting({self.log_variances!r}{tasks})"


class GradNormLoss(Loss):
    """:func:`gradnorm_loss` with its settings.

    >>> import tapegrad as tg
    >>> shared = tg.tensor([1.0, 1.0], requires_grad=True)
    >>> losses = [3.0 * shared.sum(), shared.sum()]
    >>> weights = tg.tensor([1.0, 3.0])
    >>> loss = tg.losses.GradNormLoss(alpha=0.0)
    >>> loss(losses, tg.tensor([6.0, 2.0]), weights, shared)
    tensor(0.)
    """

    function = staticmethod(gradnorm_loss)


class DynamicWeightAverage(Loss):
    """:func:`dynamic_weight_average` with its settings.

    >>> import tapegrad as tg
    >>> weigh = tg.losses.DynamicWeightAverage(temperature=0.5)
    >>> weights = weigh(tg.tensor([0.5, 1.0]), tg.tensor([1.0, 1.0]))
    >>> weights
    tensor([0.5379, 1.4621])
    >>> tg.losses.weighted_sum([tg.tensor(0.5), tg.tensor(1.0)], weights)
    tensor(1.7311)
    """

    function = staticmethod(dynamic_weight_average)


def _ordered(what: str, losses: Any, name: str, values: Any) -> Any:
    """Values in the order of the losses: those of a dict go by its names."""
    if isinstance(values, Mapping):
        if not isinstance(losses, Mapping):
            raise TypeError(f"{what}: {name} is a dict, so losses must be one with the same names")
        if values.keys() != losses.keys():
            raise ValueError(f"{what}: losses is of {list(losses)} but {name} is of {list(values)}")
        values = [values[task] for task in losses]
    if isinstance(values, Sequence) and not values:
        raise ValueError(f"{what}: {name} is empty")
    return values


def _tasks(what: str, name: str, values: Any) -> Tensor:
    """One number for each task, as a tensor (tasks,)."""
    if isinstance(values, Sequence):
        values = _each(what, name, values)
        for i, value in enumerate(values):
            if value.ndim:
                raise ValueError(
                    f"{what}: {name}[{i}] must be one number, but has shape {value.shape}: reduce "
                    "it first"
                )
        return stack(values)
    (values,) = tensors(what, **{name: values})
    dimensions(what, name, values, "(tasks,)", 1)
    not_empty(what, name, values)
    return values


def _each(what: str, name: str, values: Sequence[Any]) -> list[Tensor]:
    """The tensors of a list, all floating point."""
    return [tensors(what, **{f"{name}[{i}]": value})[0] for i, value in enumerate(values)]


def _lined_up(what: str, losses: Any, **others: Any) -> list[Tensor]:
    """Losses and other numbers of the tasks, as tensors (tasks,)."""
    found = [_tasks(what, "losses", _ordered(what, losses, "losses", losses))]
    for name, values in others.items():
        found.append(_tasks(what, name, _ordered(what, losses, name, values)))
        _same_number(what, found[0], name, found[-1])
    return found


def _same_number(what: str, losses: Any, name: str, values: Any) -> None:
    if len(losses) != len(values):
        raise ValueError(f"{what}: ({len(losses)}) losses but ({len(values)}) {name}")


def _each_positive(what: str, name: str, values: Tensor) -> None:
    """Check numbers that are divided by."""
    check(
        values > 0,
        lambda values: f"{what}: {name} must be positive, but {first_bad(values > 0, values)}",
        values,
    )


#: (rows,): as many tasks.
TASK_LOSSES = Kind(REALS.draw, exp)
#: Held constant, so that there is no derivative to check.
CONSTANTS = Kind(lambda n, c, g: exp(REALS.draw(n, c, g)), None)


def _try_gradnorm(initial_losses: Any, weights: Any, **settings: Any) -> Tensor:
    """GradNorm's loss of tasks that share two parameters."""
    shared = tensor([0.5, -1.0], dtype=weights.dtype, requires_grad=True)
    losses = [((i + 1) * shared * shared + shared).sum() for i in range(len(initial_losses))]
    return gradnorm_loss(losses, initial_losses, weights, shared, **settings)


ROWS = (
    Row(weighted_sum, (REALS, REALS)),
    Row(
        uncertainty_weighting,
        (TASK_LOSSES, REALS),
        names=("homoscedastic_uncertainty",),
        settings=({"tasks": "classification"},),
    ),
    Row(
        gradnorm_loss,
        (CONSTANTS, CONSTANTS),
        names=("gradnorm",),
        settings=({"alpha": 0.3},),
        call=_try_gradnorm,
    ),
    Row(
        dynamic_weight_average,
        (TASK_LOSSES, TASK_LOSSES),
        DynamicWeightAverage,
        names=("dwa",),
        settings=({"temperature": 0.7},),
    ),
)
