"""Rules whose settings are tuned by other rules while they run: hypergradient descent and towers.

Over a rule and a rule it is a few lines: the step before is a formula, so the gradient that arrives
now says, pulled back through that formula, how its settings should have been. With the ordinary
shells it is the ordinary loop, where each optimizer's rate is a parameter of the next::

    rate = tg.tensor(0.1, requires_grad=True)
    levels = [SGD(params, lr=rate, differentiable=True), SGD([rate], lr=1e-3)]
    for batch in batches:
        for level in levels:
            level.zero_grad()
        loss(batch).backward()  # not create_graph: it goes through the last step, to the rate
        for level in reversed(levels):
            level.detach_()  # the derivative of one step, not of all of them
            level.step()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tapegrad import Tensor, as_tensor, func, zeros_like
from tapegrad.trees import tree_map

from .rule import Params, Rule

__all__ = ["Tuned", "tower", "tuned"]


class Tuned(NamedTuple):
    """The settings as they are now, the states of both rules, and what the last step began with.

    ``last``: parameters, gradients (zeros before the first step), and the state of the inner rule.

    >>> import tapegrad as tg
    >>> sgd = tg.optim.functional.sgd
    >>> tg.optim.functional.tuned(sgd, by=sgd(lr=0.01), lr=0.5).init([tg.tensor(1.0)]).settings
    {'lr': tensor(0.5000)}
    """

    step: int
    settings: dict[str, Tensor]
    inner: Any
    outer: Any
    last: tuple[Params, Params, Any]


def tuned(rule: Callable[..., Rule], by: Rule, **settings: Any) -> Rule:
    """A rule whose settings another rule moves down their own gradient, one step behind.

    With w_t = u(w_{t-1}, g_{t-1}, s), the loss at w_t has the derivative ⟨g_t, ∂u/∂s⟩ by the
    settings s of the last step, what that step began with held fixed. ``by`` moves s along it, then
    the rule takes its own step with the new s. ``by`` may be a tuned rule itself, and so on: see
    :func:`tower`.

    ``rule``: a function of settings that gives a rule, such as ``functional.adam``. ``by``: the
    rule that tunes. ``settings``: the real settings to tune, with their initial values; others are
    left at their defaults, or fixed with ``functools.partial``. What must stay positive is best
    tuned by its logarithm, ``tuned(lambda log: sgd(lr=exp(log)), by=..., log=-5.0)``: a rate that
    ``by`` makes negative is refused by the rule. The current settings are in the state's
    ``settings``. All of it is differentiable, by the settings of ``by`` and the initial settings
    too.

    Raises TypeError without settings to tune, for one that is no number or Tensor, and for rules
    that evaluate the loss themselves (tune inside of those: ``sam(tuned(...))``).

    >>> import tapegrad as tg
    >>> sgd = tg.optim.functional.sgd
    >>> rule = tg.optim.functional.tuned(sgd, by=sgd(lr=0.01), lr=0.1)
    >>> params = [tg.tensor([1.0, -2.0])]
    >>> state = rule.init(params)
    >>> for _ in range(3):
    ...     params, state = rule.update(params, [2 * params[0]], state)
    >>> state.settings["lr"]
    tensor(0.3214)

    Source: Almeida et al. (1998), Parameter adaptation in stochastic optimization; Baydin et al.
    (2018), Online learning rate adaptation with hypergradient descent (SGD-HD, SGDN-HD and Adam-HD
    are this with sgd, Nesterov's sgd and adam, tuned by sgd).
    """
    if not settings:
        raise TypeError("tuned: name the settings to tune, with their initial values: lr=0.1")
    for name, value in settings.items():
        floating = isinstance(value, Tensor) and value.is_floating_point()
        real = floating or (isinstance(value, (int, float)) and not isinstance(value, bool))
        if not real:
            raise TypeError(
                f"tuned: {name} must be a number or a Tensor of floats, not {value!r}; what is not "
                "tuned goes into the rule, by functools.partial"
            )
    if rule(**settings).evaluates or by.evaluates:
        raise TypeError(
            "tuned: a rule that evaluates the loss itself has no step that only its gradients "
            "decide; tune inside of it, as in sam(tuned(...))"
        )

    def init(params: Params) -> Tuned:
        first = next(iter(params.values() if isinstance(params, dict) else params))
        values = {name: as_tensor(v, dtype=first.dtype) for name, v in settings.items()}
        nothing = tree_map(zeros_like, params)
        inner = rule(**values).init(params)
        return Tuned(0, values, inner, by.init(values), (params, nothing, inner))

    def update(params: Params, grads: Params, state: Tuned) -> tuple[Params, Tuned]:
        values, outer = state.settings, state.outer
        if state.step:
            _, pull = func.vjp(lambda values: rule(**values).update(*state.last)[0], values)
            values, outer = by.update(values, pull(grads)[0], outer)
        moved, inner = rule(**values).update(params, grads, state.inner)
        return moved, Tuned(state.step + 1, values, inner, outer, (params, grads, state.inner))

    return Rule(init, update, together=True)


def tower(rules: Sequence[Callable[..., Rule]], rates: Sequence[Any]) -> Rule:
    """A rule whose rate is tuned by a rule whose rate is tuned by ..., to any height.

    ``rules``: from the one that moves the parameters up to the last, whose rate stays; ``rates``:
    their initial rates. One rule alone is a tower of height 0, two are hypergradient descent.

    Raises ValueError when there is no rule or not one rate for each.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.functional import adam, sgd, tower
    >>> rule = tower([sgd, sgd, adam], [0.1, 0.01, 1e-3])
    >>> params = [tg.tensor([1.0, -2.0])]
    >>> state = rule.init(params)
    >>> for _ in range(3):
    ...     params, state = rule.update(params, [2 * params[0]], state)
    >>> state.settings["lr"], state.outer.settings["lr"]
    (tensor(0.3276), tensor(0.0110))

    Source: Chandra et al. (2022), Gradient descent: the ultimate optimizer.
    """
    if not rules or len(rules) != len(rates):
        raise ValueError(
            f"tower: give at least one rule and one rate for each, not {len(rules)} and "
            f"{len(rates)}"
        )
    rule = rules[-1](lr=rates[-1])
    for below, rate in zip(reversed(rules[:-1]), reversed(rates[:-1]), strict=True):
        rule = tuned(below, by=rule, lr=rate)
    return rule
