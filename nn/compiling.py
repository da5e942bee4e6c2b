"""What a Trainer trains with, from what ``compile`` is given."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping
from typing import Any

from tapegrad import Tensor, optim
from tapegrad.optim.lr_scheduler import LRScheduler
from tapegrad.optim.naming import found
from tapegrad.optim.optimizer import CLIPPING, Optimizer

from .loss_operands import is_of_logits
from .numbers_of import number

#: A name means Keras's optimizer, with its learning rate where PyTorch's class has another.
KERAS_RATES = {
    "SGD": 0.01,
    "Adadelta": 0.001,
    "Adafactor": 0.001,
    "Adagrad": 0.001,
    "Adamax": 0.001,
    "Lion": 0.001,
    "NAdam": 0.001,
    "RMSprop": 0.001,
}


def optimizer_for(model: Any, given: Any, clip: dict[str, Any]) -> Optimizer:
    """An optimizer of the parameters of a model, from a name, a class, or one that is made."""
    named = list(model.named_parameters())
    if not named:
        raise ValueError(f"compile: the model, a {type(model).__name__}, has no parameters")
    clip = {name: limit for name, limit in clip.items() if limit is not None}
    if isinstance(given, str):
        form, preset = found(given)
        rate = None if given.startswith("torch") else KERAS_RATES.get(form.__name__)
        return form(named, **({"lr": rate} if rate else {}), **preset, **clip)
    if not isinstance(given, Optimizer):
        return optim.get(given, named, **clip)
    if clip:
        asked = ", ".join(clip)
        if any(limit is not None for limit in given.clip.values()):
            raise ValueError(
                f"compile: {asked} is given, and the {type(given).__name__} clips by itself: say "
                "it in one place"
            )
        type(given)(None, **clip)  # refuses what makes no sense
        given.clip = {**dict.fromkeys(CLIPPING), **clip}
    if not given.param_groups:
        given.add_param_group({"params": named})
        return given
    known = {id(p) for _, p in named}
    if not any(id(p) in known for group in given.param_groups for p in group["params"]):
        raise ValueError(
            f"compile: the {type(given).__name__} has none of the parameters of this model: make "
            "it without parameters, and compile gives it those"
        )
    return given


def schedule_for(optimizer: Optimizer, given: Any) -> LRScheduler | None:
    """A scheduler of an optimizer; a function of the step is put into its groups instead."""
    if given is None:
        return None
    if not isinstance(given, LRScheduler) and callable(given):
        if _is_of_steps(given):
            for group in optimizer.param_groups:
                group["lr"] = given
            return None
        given = given(optimizer)
    if not isinstance(given, LRScheduler):
        raise TypeError(
            "compile: schedule is a scheduler of this optimizer, a function of the optimizer that "
            f"makes one, or a function of the number of steps that gives the rate; not {given!r}"
        )
    if given.optimizer is not optimizer:
        raise ValueError(
            f"compile: the {type(given).__name__} is of another optimizer: make it with the one "
            "that is compiled, or give a function: schedule=lambda optimizer: ..."
        )
    return given


def _is_of_steps(function: Any) -> bool:
    """Whether a callable gives the rate after so many steps, and does not make a scheduler."""
    try:
        if list(inspect.signature(function).parameters)[:1] == ["optimizer"]:
            return False
    except (TypeError, ValueError):
        return True
    try:
        function(0)
    except TypeError:
        return False  # schedulers say so of a number
    return True


def rate_of(optimizer: Optimizer, steps: int) -> float:
    """The rate of the first group after so many steps."""
    rate = optimizer.param_groups[0].get("lr", 0.0)
    if callable(rate) and not isinstance(rate, Tensor):
        rate = rate(max(steps - 1, 0))
    return number(rate)


def metrics_for(given: Any, loss: Any = None) -> dict[str, Any]:
    """Metrics by the names under which they are logged.

    A string is logged under itself, a function and a metric under its name; a dict says the names.
    Of what the loss says that it is of logits or probabilities, the metrics made here are, too.
    """
    from . import metrics

    if given is None:
        return {}
    if isinstance(given, Mapping):
        items = list(given.items())
    else:
        several = isinstance(given, (list, tuple))
        items = [(None, one) for one in (given if several else [given])]
    made: dict[str, Any] = {}
    for name, one in items:
        own = hasattr(one, "update") and not inspect.isclass(one)
        metric = one if own else metrics.get(one)
        if isinstance(metric, metrics.Metric) and metric is not one:
            metric = _of_the_same(metric, loss)
        if name is None:
            name = getattr(metric, "name", None) or _underscored(type(metric).__name__)
        if name in made or name == "loss" or name.startswith("val_"):
            raise ValueError(
                f"compile: two things would be logged as {name!r}: give a dict, with a name for "
                "each metric"
            )
        made[name] = metric
    return made


def _of_the_same(metric: Any, loss: Any) -> Any:
    """The metric with ``from_logits`` as the loss has it, where both know of that."""
    of_logits = is_of_logits(loss)
    known = inspect.signature(metric.row.function).parameters
    if of_logits is None or "from_logits" not in known or "from_logits" in metric.settings:
        return metric
    return type(metric)(metric.row, metric.name, **metric.settings, from_logits=of_logits)


def _underscored(name: str) -> str:
    """A class's name in small letters with underscores."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def fresh_metrics(made: dict[str, Any]) -> dict[str, Any]:
    """Metrics like these that have seen nothing yet; these go on undisturbed."""
    from .metrics import Metric

    copies = {}
    for name, metric in made.items():
        # the kept samples of a Metric need no copy to be forgotten
        copies[name] = copy.copy(metric) if type(metric) is Metric else copy.deepcopy(metric)
        copies[name].reset()
    return copies
