"""Rules made of rules: look around, look ahead, change gradients first."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from tapegrad import Tensor, abs, enable_grad, no_grad, where
from tapegrad.moving import refuse_unrecorded

from .clipping import global_norm
from .descent import SGD
from .optimizer import Optimizer, put
from .rule import Params, Rule, State, _each, at, at_least_zero, must_be
from .table import Row

__all__ = ["SAM", "Lookahead", "chain", "lookahead", "sam"]


def sam(rule: Rule, rho: Any = 0.05, adaptive: bool = False) -> Rule:
    """Sharpness-aware minimization: a step of ``rule`` by the gradient at w + ρ·g/‖g‖.

    The norm is that of all gradients together. ``adaptive`` scales to the weights: w + ρ·w²g/‖w·g‖.
    ``rho`` may be a number, a Tensor or a schedule. ``update`` takes ``value_and_grad``, a function
    of parameters that gives (loss, gradients): the gradients where it looks. They are those of the
    shifted point, as published (the shift itself is not differentiated for the step; derivatives of
    the training go through it).

    The direction of a gradient of length 0 has no derivative: at g = 0 nothing is shifted, and the
    shift's derivative by g counts as 0.

    Raises ValueError for a negative ``rho``, or an update without ``value_and_grad``; TypeError for
    what is no rule, and for one that uses no gradients (:func:`lbfgs`).

    >>> import tapegrad as tg
    >>> from tapegrad.optim.functional import sam, sgd
    >>> loss = lambda params: (params[0] ** 2).sum()
    >>> look = tg.func.value_and_grad(loss)
    >>> params = [tg.tensor([3.0, 4.0])]
    >>> rule = sam(sgd(lr=0.1), rho=0.5)
    >>> rule.update(params, look(params)[1], rule.init(params), value_and_grad=look)[0]
    [tensor([2.3400, 3.1200])]

    Source: Foret et al. (2021), Sharpness-aware minimization for efficiently improving
    generalization; Kwon et al. (2021), ASAM (``adaptive``, without its small constant η).
    """
    _fits("sam: what it goes around", rule)
    at_least_zero("sam", rho=rho)

    def update(
        params: Params,
        grads: Params,
        state: State,
        value_and_grad: Callable[[Params], tuple[Any, Params]] | None = None,
    ) -> tuple[Params, State]:
        if value_and_grad is None:
            raise ValueError(
                "sam looks at the loss at a second point: call update(params, grads, state, "
                "value_and_grad=function of parameters that gives (loss, gradients))"
            )
        radius = at(rho, state.step)
        each = [(w, g, radius, adaptive) for w, g in zip(_values(params), _values(grads))]
        shifts = ascent(each)
        there = _each(lambda w, e: w + e, params, _like(params, shifts))
        further = {"value_and_grad": value_and_grad} if rule.evaluates else {}
        moved, after = rule.update(params, value_and_grad(there)[1], state, **further)
        return moved, after

    return Rule(rule.init, update, evaluates=True, together=True)


def ascent(held: list[tuple[Any, Any, Any, bool]]) -> list[Tensor]:
    """How far SAM looks from each parameter: ρ along the gradient, by the norm of all of them.

    ``held``: each parameter, its gradient, its ρ, and whether to scale to the weights.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.wrappers import ascent
    >>> ascent([(tg.zeros(2), tg.tensor([3.0, 4.0]), 0.5, False)])
    [tensor([0.3000, 0.4000])]
    """
    scaled = [abs(w) * g if adaptive else g for w, g, _, adaptive in held]
    total = global_norm(scaled)
    nothing = total == 0
    length = where(nothing, 1.0, total)
    return [
        where(nothing, 0.0, rho * (abs(w) * s if adaptive else s) / length)
        for (w, _, rho, adaptive), s in zip(held, scaled)
    ]


def _fits(what: str, rule: Any) -> None:
    """Refuse what no rule can go around."""
    if not isinstance(rule, Rule):
        raise TypeError(f"{what} must be a rule, such as sgd(lr=0.1), not {rule!r:.60}")
    if rule.alone:
        raise TypeError(
            f"{what} is lbfgs or its like, which goes without others: it finds its gradients by "
            "itself, and remembers all parameters as one"
        )


class Slow(NamedTuple):
    """The slow weights, and what the rule below remembers."""

    slow: Tensor
    fast: Any


def lookahead(rule: Rule, k: int = 5, alpha: Any = 0.5) -> Rule:
    """Lookahead: after every ``k`` steps of ``rule`` go back to slow + α·(w - slow), the next slow.

    The slow weights begin as the parameters. ``alpha`` may be a number, a Tensor or a schedule (of
    the steps of ``rule``). What ``rule`` remembers goes on, as in the paper: so a schedule-free
    rule, which remembers where it is, comes back from where it was put.

    Raises ValueError for ``k`` below 1 or an ``alpha`` outside [0, 1]; TypeError for what is no
    rule, and for one that does not remember each parameter by itself (:func:`lbfgs`, ``tuned``).

    >>> import tapegrad as tg
    >>> from tapegrad.optim.functional import lookahead, sgd
    >>> rule = lookahead(sgd(lr=0.1), k=2, alpha=0.5)
    >>> params = [tg.tensor(1.0)]
    >>> state = rule.init(params)
    >>> for _ in range(2):
    ...     params, state = rule.update(params, [tg.tensor(1.0)], state)
    >>> params
    [tensor(0.9000)]

    Source: Zhang et al. (2019), Lookahead optimizer: k steps forward, 1 step back.
    """
    _fits("lookahead: what it goes around", rule)
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"lookahead: k must be a whole number of at least 1, not {k!r}")
    must_be("lookahead", "in [0, 1]", lambda a: (a >= 0) & (a <= 1), alpha=alpha)

    def init(params: Params) -> State:
        fast = rule.init(params)
        if not isinstance(fast, State):
            raise TypeError(
                "lookahead goes around rules that remember something of every parameter, and this "
                f"one has a {type(fast).__name__} of all; what tunes goes around: "
                "tuned(lambda lr: lookahead(sgd(lr)), ...)"
            )
        return State(fast.step, _each(lambda w, m: Slow(w.clone(), m), params, fast.memory))

    def update(params: Params, grads: Params, state: State, **further: Any) -> tuple[Params, State]:
        fast = State(state.step, _each(lambda memory: memory.fast, state.memory))
        moved, fast = rule.update(params, grads, fast, **further)
        slow = _each(lambda memory: memory.slow, state.memory)
        if fast.step % k == 0:
            share = at(alpha, state.step)
            slow = moved = _each(lambda s, w: s + share * (w - s), slow, moved)
        return moved, State(fast.step, _each(Slow, slow, fast.memory))

    return Rule(init, update, rule.evaluates, rule.together)


def chain(*parts: Any) -> Rule:
    """A rule behind changes of the gradients: ``chain(change, ..., rule)``.

    A change is a function of gradients (the list or dict) that returns new ones, or a tuple that
    begins with them; one with an argument ``params`` gets the parameters too. So the clipping
    functions fit as they are. A rule that evaluates the loss elsewhere (:func:`sam`) uses the
    gradients that it finds there unchanged: put the chain inside to change those, as in
    ``sam(chain(clip, adam()))``.

    Raises TypeError unless the last part is a rule that uses gradients (not :func:`lbfgs`) and the
    others are functions.

    >>> import tapegrad as tg
    >>> from functools import partial
    >>> from tapegrad.optim.functional import chain, clip_by_global_norm, sgd
    >>> rule = chain(partial(clip_by_global_norm, max_norm=1.0), sgd(lr=1.0))
    >>> params = [tg.zeros(2)]
    >>> rule.update(params, [tg.tensor([3.0, 4.0])], rule.init(params))[0]
    [tensor([-0.6000, -0.8000])]
    """
    *changes, rule = parts or (None,)
    _fits("chain: the last part", rule)
    for i, change in enumerate(changes):
        if not callable(change):
            raise TypeError(f"chain: part {i} must be a function of gradients, not {change!r:.60}")
    asking = ["params" in inspect.signature(change).parameters for change in changes]

    def update(params: Params, grads: Params, state: Any, **further: Any) -> tuple[Params, Any]:
        for change, asks in zip(changes, asking):
            result = change(grads, params=params) if asks else change(grads)
            grads = result[0] if isinstance(result, tuple) else result
        return rule.update(params, grads, state, **further)

    return Rule(rule.init, update, rule.evaluates, together=True)


def _values(params: Params) -> list[Tensor]:
    return list(params.values()) if isinstance(params, dict) else list(params)


def _like(params: Params, values: list[Tensor]) -> Params:
    """Values in the form of the parameters: a dict of them, or the list."""
    return dict(zip(params, values, strict=True)) if isinstance(params, dict) else values


class _Over:
    """The settings of a class's rule and of a wrapper around it, as one function to rules.

    ``applies``: with the wrapper, or else of the rule alone. Where both have a setting of one name,
    the rule's is called base_<name>.
    """

    def __init__(self, base: Any, own: Callable[..., Rule], applies: bool) -> None:
        self.base: Any = getattr(base, "rule", None) if inspect.isclass(base) else None
        if self.base is None:
            raise TypeError(
                "base_optimizer must be a class with a rule of its own, such as optim.Adam, not "
                f"{base!r:.60}; wrappers go around wrappers as rules, lookahead(sam(adam()))"
            )
        self.own, self.applies = own, applies
        self.outer = {k: p for k, p in inspect.signature(own).parameters.items() if k != "rule"}
        self.inner = {
            f"base_{k}" if k in self.outer else k: p
            for k, p in inspect.signature(self.base).parameters.items()
        }
        self.__signature__ = inspect.Signature(
            [
                p.replace(name=k, kind=inspect.Parameter.KEYWORD_ONLY)
                for k, p in {**self.outer, **self.inner}.items()
            ]
        )

    def __call__(self, **settings: Any) -> Rule:
        below: Rule = self.base(**{p.name: settings[k] for k, p in self.inner.items()})
        wrapped = self.own(below, **{k: settings[k] for k in self.outer})
        return wrapped if self.applies else below


def _refuse_made(wrapper: type[Optimizer], params: Any) -> None:
    """Refuse an optimizer where parameters belong: other libraries wrap those."""
    if isinstance(params, Optimizer):
        name, base = wrapper.__name__, type(params).__name__
        raise TypeError(
            f"{name} goes around a class: {name}(params, {base}, ...) with the settings of both by "
            "name, not an optimizer that is made already"
        )


class Lookahead(Optimizer):
    """Lookahead around another optimizer: ``Lookahead(params, Adam, k=5, alpha=0.5, lr=1e-3)``.

    ``base_optimizer``: a class; its settings follow by name (RMSprop's own alpha as
    ``base_alpha``). ``k`` and ``alpha`` as in
    :func:`tapegrad.optim.functional.lookahead`; all of them may differ between groups.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Lookahead([w], tg.optim.SGD, k=2, alpha=0.5, lr=0.1)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w
    tensor([0.8200], requires_grad=True)
    """

    def __init__(
        self,
        params: Any = None,
        base_optimizer: type[Optimizer] = SGD,
        k: int = 5,
        alpha: Any = 0.5,
        **settings: Any,
    ) -> None:
        _refuse_made(type(self), params)
        self.rule = _Over(base_optimizer, lookahead, applies=True)
        super().__init__(params, k=k, alpha=alpha, **settings)


class SAM(Optimizer):
    """Sharpness-aware minimization around another optimizer: ``SAM(params, SGD, rho=0.05)``.

    ``base_optimizer``: a class; its settings follow by name (Adadelta's own rho as ``base_rho``).
    ``rho`` and ``adaptive`` as in
    :func:`tapegrad.optim.functional.sam`; all of them may differ between groups. ``step(closure)``
    calls the closure twice, at the parameters and where SAM looks; it drops gradients before each.
    Or do the two halves yourself, with a backward before each: ``first_step()``, which shifts the
    parameters, and ``second_step()``, which brings them back and moves them. Clipping applies to
    the second gradients, which the step is made of.

    >>> import tapegrad as tg
    >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = tg.optim.SAM([w], tg.optim.SGD, rho=0.5, lr=0.1)
    >>> def closure():
    ...     loss = (w * w).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()
    25.0
    >>> w
    tensor([2.3400, 3.1200], requires_grad=True)
    """

    def __init__(
        self,
        params: Any = None,
        base_optimizer: type[Optimizer] = SGD,
        rho: Any = 0.05,
        adaptive: bool = False,
        **settings: Any,
    ) -> None:
        _refuse_made(type(self), params)
        self.rule = _Over(base_optimizer, sam, applies=False)
        #: Between the halves: the shifted parameters, each with where it was.
        self._before: list[tuple[Tensor, Tensor]] | None = None
        super().__init__(params, rho=rho, adaptive=adaptive, **settings)

    def first_step(self, zero_grad: bool = False) -> None:
        """Shift the parameters to where SAM looks, from the gradients where they are.

        >>> import tapegrad as tg
        >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
        >>> optimizer = tg.optim.SAM([w], rho=0.5, lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.first_step(zero_grad=True)
        >>> w
        tensor([3.3000, 4.4000], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> optimizer.second_step()
        >>> w
        tensor([2.3400, 3.1200], requires_grad=True)
        """
        self._refuse_half("first_step()")
        held = [(group, p) for group in self.param_groups for p in group["params"]]
        held = [(group, p) for group, p in held if p.grad is not None]
        self._refuse_unrecorded()
        self._before = self._shift(held) if held else []
        if zero_grad:
            self.zero_grad()

    def _shift(self, held: list[tuple[dict[str, Any], Tensor]]) -> list[tuple[Tensor, Tensor]]:
        with enable_grad() if self.differentiable else no_grad():
            each = [
                (p, p.grad, at(group["rho"], self._steps(p)), group["adaptive"])
                for group, p in held
            ]
            moves = [(p, p.clone(), p + e) for (_, p), e in zip(held, ascent(each))]
        for p, _, there in moves:
            put(p, there, self.differentiable)
        return [(p, here) for p, here, _ in moves]

    def second_step(self, zero_grad: bool = False) -> None:
        """Bring the parameters back, and move them by the gradients from where SAM looked.

        Those without a gradient are brought back only: so is undone a half that came to nothing.
        """
        if self._before is None:
            raise RuntimeError("SAM: first_step() comes before second_step()")
        self._refuse_unrecorded()
        self._return()
        super().step()
        if zero_grad:
            self.zero_grad()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Both halves, with the closure called before each; returns its first value.

        When it fails, in the middle as well, the parameters are as before.
        """
        if closure is None:
            raise ValueError(
                "SAM.step(closure) needs a closure, which computes the loss and its gradients; or "
                "call first_step() and second_step(), each after a backward()"
            )
        try:
            with enable_grad():
                self.zero_grad()
                loss = closure()
                self.first_step(zero_grad=True)
                closure()
            self.second_step()
        except BaseException:
            self._return()
            raise
        return loss

    def detach_(self) -> None:
        """Cut the tape, as any optimizer does; refused between the halves of a step."""
        self._refuse_half("detach_()")
        super().detach_()

    def state_dict(self) -> dict[str, Any]:
        """A snapshot, as of any optimizer; refused between the halves of a step."""
        self._refuse_half("state_dict()")
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take settings and state from a snapshot; the parameters must be those of the same time.

        >>> import tapegrad as tg
        >>> optimizer = tg.optim.SAM([tg.ones(1, requires_grad=True)])
        >>> optimizer.load_state_dict(optimizer.state_dict())
        """
        super().load_state_dict(state_dict)
        self._before = None

    def _return(self) -> None:
        for p, here in self._before or []:
            put(p, here, self.differentiable)
        self._before = None

    def _refuse_half(self, what: str) -> None:
        if self._before is not None:
            raise RuntimeError(
                f"SAM: {what} between first_step() and second_step(), where the parameters are "
                "shifted: call second_step() first (after zero_grad() it only brings them back)"
            )

    def _steps(self, p: Tensor) -> int:
        return self.state[p].step if p in self.state else 0

    def _refuse_unrecorded(self) -> None:
        for group in self.param_groups if self.differentiable else ():
            for p in group["params"]:
                if p.grad is not None:
                    refuse_unrecorded(p, "SAM, a parameter")


ROWS = (
    Row(sam, SAM, apart="it looks at the loss at a second point: test_optim_wrappers.py"),
    Row(lookahead, Lookahead, apart="it has the settings of another rule: test_optim_wrappers.py"),
)
