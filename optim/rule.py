"""What every rule is made of: an initial state, and one step as a formula for one parameter.

A rule is written for a single parameter w with its gradient g, as in the paper.
:func:`per_parameter` lifts it to lists and dicts of parameters, counts the steps and evaluates
schedules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tapegrad import Tensor, as_tensor, check

#: Parameters and gradients: a list of Tensors, or a dict by name.
Params = Any


class Rule(NamedTuple):
    """An optimization algorithm: its initial state and one step of it.

    ``init(params)`` gives the state; ``update(params, grads, state)`` gives the next parameters and
    the next state. Parameters are a list or a dict of Tensors, gradients the same. Nothing is
    changed in place, and all of it is differentiable.

    ``evaluates``: the rule looks at the loss elsewhere too, and update takes the keyword
    ``value_and_grad``, a function of parameters that gives (loss, gradients). ``together``: what
    happens to one parameter depends on the others, so that they must be given all at once.
    ``exact``: how to make the steps in whole numbers, which can be undone; SGD with momentum has it
    (:func:`tapegrad.optim.unroll` with ``method="reversible"``). ``alone``: the rule finds its
    gradients itself and uses none that it is given, so that no other rule fits around it (L-BFGS).

    >>> import tapegrad as tg
    >>> rule = tg.optim.functional.sgd(lr=0.5)
    >>> params = {"w": tg.tensor(1.0)}
    >>> params, state = rule.update(params, {"w": tg.tensor(0.4)}, rule.init(params))
    >>> params, state.step
    ({'w': tensor(0.8000)}, 1)
    """

    init: Callable[[Params], Any]
    update: Callable[..., tuple[Any, Any]]
    evaluates: bool = False
    together: bool = False
    exact: Any = None
    alone: bool = False


class State(NamedTuple):
    """How many steps were made, and what the rule remembers of each parameter.

    >>> import tapegrad as tg
    >>> tg.optim.functional.sgd(momentum=0.9).init([tg.tensor(1.0)])
    State(step=0, memory=[Momentum(momentum_buffer=tensor(0.))])
    """

    step: int
    memory: Any


def per_parameter(
    start: Callable[[Tensor], Any], move: Callable[..., tuple[Tensor, Any]], **settings: Any
) -> Rule:
    """A rule from the formula for one parameter.

    ``start(w)`` is what is remembered at first. ``move(w, g, memory, t, **settings)`` returns the
    moved parameter and what is remembered next; t counts steps from 1. A setting that is a schedule
    (a callable) is evaluated at the number of steps made before, t - 1.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.rule import per_parameter
    >>> def sign_descent(lr):
    ...     return per_parameter(lambda w: (), lambda w, g, m, t, lr: (w - lr * g.sign(), m), lr=lr)
    >>> rule = sign_descent(lr=lambda step: 0.5 / (step + 1))
    >>> params = [tg.tensor([1.0, 2.0])]
    >>> rule.update(params, [tg.tensor([3.0, -4.0])], rule.init(params))[0]
    [tensor([0.5000, 2.5000])]
    """

    def init(params: Params) -> State:
        return State(0, _each(start, params))

    def update(params: Params, grads: Params, state: State) -> tuple[Params, State]:
        same_structure(params, grads)
        now = {name: at(value, state.step) for name, value in settings.items()}
        t = state.step + 1
        pairs = _each(lambda w, g, m: move(w, g, m, t, **now), params, grads, state.memory)
        return (
            _each(lambda pair: pair[0], pairs),
            State(t, _each(lambda pair: pair[1], pairs)),
        )

    return Rule(init, update)


def _each(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """The function of corresponding items of lists, or of dicts."""
    if isinstance(first, dict):
        return {key: function(first[key], *(other[key] for other in others)) for key in first}
    return [function(*items) for items in zip(first, *others, strict=True)]


def same_structure(params: Params, grads: Params) -> None:
    """Refuse gradients that are not one for each parameter, of its shape."""
    keys = list(params) if isinstance(params, dict) else list(range(len(params)))
    given = list(grads) if isinstance(grads, dict) else list(range(len(grads)))
    if set(keys) != set(given):
        raise ValueError(f"there are parameters {keys}, but gradients {given}")
    for key in keys:
        if grads[key] is None:
            raise ValueError(
                f"the gradient of parameter {key!r} is None: leave parameters out that the loss "
                "does not depend on, or ask grad() for materialize_grads=True"
            )
        if grads[key].shape != params[key].shape:
            raise ValueError(
                f"parameter {key!r} has shape {params[key].shape}, but its gradient has shape "
                f"{grads[key].shape}"
            )


def at(setting: Any, step: int) -> Any:
    """The value of a setting at a step: schedules are callables of the step.

    >>> from tapegrad.optim.rule import at
    >>> at(0.1, 5), at(lambda step: 1.0 / step, 5), at((0.9, lambda step: 0.5), 5)
    (0.1, 0.2, (0.9, 0.5))
    """
    if isinstance(setting, tuple):
        return tuple(at(part, step) for part in setting)
    return setting(step) if callable(setting) and not isinstance(setting, Tensor) else setting


def moving_average(old: Tensor, new: Tensor, decay: Any) -> Tensor:
    """decay·old + (1 - decay)·new.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.rule import moving_average
    >>> moving_average(tg.tensor(1.0), tg.tensor(2.0), 0.75)
    tensor(1.2500)
    """
    return old * decay + new * (1.0 - decay)


def directed(g: Tensor, w: Tensor, maximize: bool, weight_decay: Any = 0.0) -> Tensor:
    """The gradient to go down by: negated to maximize, with the L2 penalty's λ·w added.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.rule import directed
    >>> directed(tg.tensor(1.0), tg.tensor(2.0), maximize=True, weight_decay=0.5)
    tensor(0.)
    """
    g = -g if maximize else g
    return g if is_off(weight_decay) else g + weight_decay * w


def is_off(setting: Any) -> bool:
    """Whether a setting is the plain number 0, so that its term can be left out.

    A Tensor is not, since its gradient at 0 is wanted; nor is a schedule.
    """
    return type(setting) in (int, float) and setting == 0


def at_least_zero(rule: str, **settings: Any) -> None:
    """Check settings that must not be negative: numbers and Tensors (schedules are not known yet).

    NaN is refused by this as by all such checks; infinity is taken, as in torch.

    >>> from tapegrad.optim.rule import at_least_zero
    >>> at_least_zero("adam", lr=-0.1)
    Traceback (most recent call last):
    tapegrad.errors.CheckError: adam: lr must be at least 0, not -0.1
    """
    for name, value in settings.items():
        if type(value) in (int, float) and value >= 0:
            continue
        if is_known(rule, name, value):
            check(as_tensor(value) >= 0, f"{rule}: {name} must be at least 0, not {{}}", value)


def not_nan(rule: str, **settings: Any) -> None:
    """Check settings that may have any value but NaN; tuples part by part.

    >>> from tapegrad.optim.rule import not_nan
    >>> not_nan("sgd", dampening=float("nan"))
    Traceback (most recent call last):
    tapegrad.errors.CheckError: sgd: dampening must be a number, not nan
    """
    for name, value in settings.items():
        if isinstance(value, (tuple, list)):
            not_nan(rule, **{f"{name}[{i}]": part for i, part in enumerate(value)})
        elif type(value) not in (int, float) or value != value:
            must_be(rule, "a number", lambda v: v == v, **{name: value})


def below_one(rule: str, **settings: Any) -> None:
    """Check settings that must be in [0, 1), such as decays of averages; tuples part by part.

    >>> from tapegrad.optim.rule import below_one
    >>> below_one("adam", betas=(0.9, 1.0))
    Traceback (most recent call last):
    tapegrad.errors.CheckError: adam: betas[1] must be at least 0 and below 1, not 1.0
    """
    for name, value in settings.items():
        if isinstance(value, (tuple, list)):
            below_one(rule, **{f"{name}[{i}]": part for i, part in enumerate(value)})
        elif is_known(rule, name, value):
            check(
                (value >= 0) & (value < 1),
                f"{rule}: {name} must be at least 0 and below 1, not {{}}",
                value,
            )


def must_be(rule: str, what: str, holds: Callable[[Any], Any], **settings: Any) -> None:
    """Check settings by a condition of their own (schedules are not known yet).

    >>> from tapegrad.optim.rule import must_be
    >>> must_be("adadelta", "at most 1", lambda rho: rho <= 1, rho=1.5)
    Traceback (most recent call last):
    tapegrad.errors.CheckError: adadelta: rho must be at most 1, not 1.5
    """
    for name, value in settings.items():
        if is_known(rule, name, value):
            check(holds(value), f"{rule}: {name} must be {what}, not {{}}", value)


def is_known(rule: str, name: str, value: Any) -> bool:
    """Whether a setting has its value already: schedules have not; what is no number is refused.

    >>> from tapegrad.optim.rule import is_known
    >>> is_known("adam", "lr", 0.1), is_known("adam", "lr", lambda step: 0.1 / (step + 1))
    (True, False)
    """
    if value is None or isinstance(value, (str, tuple, list, dict)):
        raise TypeError(f"{rule}: {name} must be a number, a Tensor or a schedule, not {value!r}")
    return not callable(value) or isinstance(value, Tensor)


def so_many(rule: str, count: int, **settings: Any) -> None:
    """Check settings that are several numbers, such as betas.

    >>> from tapegrad.optim.rule import so_many
    >>> so_many("adam", 2, betas=(0.9,))
    Traceback (most recent call last):
    ValueError: adam: betas must be 2 numbers, not (0.9,)
    """
    for name, value in settings.items():
        if callable(value) and not isinstance(value, Tensor):
            continue
        if isinstance(value, (int, float, str, type(None))) or len(value) != count:
            raise ValueError(f"{rule}: {name} must be {count} numbers, not {value!r}")
