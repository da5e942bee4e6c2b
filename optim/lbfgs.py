"""L-BFGS: steps by an estimate of the curvature, and a line search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tapegrad import Tensor, abs, as_tensor, cat, enable_grad, is_grad_enabled, no_grad, zeros_like

from .optimizer import Optimizer, put
from .rule import Params, Rule, State, at, at_least_zero
from .table import Row

__all__ = ["LBFGS", "lbfgs"]

#: What the line search asks of a step: enough less loss, and a slope enough flatter.
ARMIJO, WOLFE = 1e-4, 0.9
#: Less curvature than this along a step is not believed.
CURVATURE = 1e-10
NO_DERIVATIVE = (
    "its line search picks a step by comparing losses, which is no formula, so a step has no "
    "derivative. Differentiate through another rule, or, at an optimum, implicitly"
)


class Curvature(NamedTuple):
    """What L-BFGS remembers, by torch's names; vectors are of all parameters together."""

    func_evals: int = 0
    n_iter: int = 0
    d: Tensor | None = None
    t: float = 0.0
    old_dirs: list[Tensor] = []
    old_stps: list[Tensor] = []
    ro: list[float] = []
    H_diag: float = 1.0
    prev_flat_grad: Tensor | None = None
    prev_loss: float = 0.0


def lbfgs(
    lr: Any = 1.0,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 100,
    line_search_fn: str | None = None,
) -> Rule:
    """L-BFGS, as torch.optim.LBFGS: up to ``max_iter`` moves w ← w + t·d along d = -H·g a step.

    H is an estimate of the inverse Hessian from the last ``history_size`` moves and changes of the
    gradient. t is ``lr``, or with ``line_search_fn="strong_wolfe"`` what a search from there finds
    that meets the strong Wolfe conditions. ``max_eval``: how often the loss may be evaluated a step
    (1.25·max_iter if None). ``tolerance_grad``, ``tolerance_change``: stop below this largest
    gradient; below this largest move, or change of the loss.

    ``update(params, grads, state, value_and_grad=...)`` evaluates by itself, at the parameters
    first: ``grads`` may be None. ``value_and_grad`` is a function of parameters that gives (loss,
    gradients). The loss must be the same function throughout, so the full batch. Nothing here is on
    the tape: the line search compares losses, which is no formula. Update raises RuntimeError for
    parameters or a rate that ask for a derivative (call it under ``no_grad()``).

    Raises ValueError for a negative setting, a count that is not whole, an unknown line search, or
    a loss that is nan where the search looks.

    >>> import tapegrad as tg
    >>> look = tg.func.value_and_grad(lambda params: ((params[0] - 3.0) ** 2).sum())
    >>> rule = tg.optim.functional.lbfgs(line_search_fn="strong_wolfe")
    >>> params = [tg.tensor([1.0, -2.0])]
    >>> params, state = rule.update(params, None, rule.init(params), value_and_grad=look)
    >>> [round(x, 3) for x in params[0].tolist()]
    [3.0, 3.0]

    Source: Liu and Nocedal (1989), On the limited memory BFGS method for large scale optimization;
    the line search as in Schmidt's minFunc (2005), which torch follows.
    """
    at_least_zero("lbfgs", lr=lr, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change)
    if line_search_fn not in (None, "strong_wolfe"):
        raise ValueError(f"lbfgs: line_search_fn is 'strong_wolfe' or None, not {line_search_fn!r}")
    most = max_iter * 5 // 4 if max_eval is None else max_eval
    counts = {"max_iter": (max_iter, 0), "max_eval": (most, 0), "history_size": (history_size, 1)}
    for name, (count, least) in counts.items():
        if not isinstance(count, int) or count < least:
            raise ValueError(
                f"lbfgs: {name} must be a whole number of at least {least}, not {count!r}"
            )

    def init(params: Params) -> State:
        return State(0, [Curvature()])

    def update(
        params: Params,
        grads: Params,
        state: State,
        value_and_grad: Callable[[Params], tuple[Any, Params]] | None = None,
    ) -> tuple[Params, State]:
        if value_and_grad is None:
            raise ValueError(
                "lbfgs evaluates the loss itself: call update(params, None, state, "
                "value_and_grad=function of parameters that gives (loss, gradients))"
            )
        rate = at(lr, state.step)
        asked = [as_tensor(rate), *(params.values() if isinstance(params, dict) else params)]
        if is_grad_enabled() and any(tensor.requires_grad for tensor in asked):
            raise RuntimeError(f"lbfgs: {NO_DERIVATIVE}; or call update() under no_grad()")

        def evaluate(point: Tensor) -> tuple[float, Tensor]:
            with enable_grad():
                loss, gradient = value_and_grad(_shaped(point, params))
            return _number(loss), _flat(gradient)

        with no_grad():
            point, memory = descend(evaluate, _flat(params), state.memory[0], _number(rate))
            return _shaped(point, params), State(state.step + 1, [memory])

    def descend(
        evaluate: Callable[[Tensor], tuple[float, Tensor]],
        x: Tensor,
        memory: Curvature,
        rate: float,
    ) -> tuple[Tensor, Curvature]:
        loss, g = evaluate(x)
        evaluations = 1
        if _largest(g) <= tolerance_grad:
            return x, memory._replace(func_evals=memory.func_evals + 1)
        for i in range(1, max_iter + 1):
            memory = _direction(memory, g, history_size)._replace(prev_loss=loss)
            d = as_tensor(memory.d)
            t = min(1.0, 1.0 / _number(abs(g).sum())) * rate if memory.n_iter == 1 else rate
            slope = _number(g @ d)
            memory = memory._replace(t=t)
            if slope > -tolerance_change:
                break
            done = False
            if line_search_fn is not None:
                along = _along(evaluate, x, d)
                loss, g, t, count = _strong_wolfe(
                    along, t, _largest(d), (loss, g, slope), most - evaluations
                )
                memory = memory._replace(t=t)
                x, evaluations, done = x + t * d, evaluations + count, _largest(g) <= tolerance_grad
            else:
                x = x + t * d
                if i < max_iter:  # after the last move torch does not look at the loss
                    loss, g = evaluate(x)
                    evaluations, done = evaluations + 1, _largest(g) <= tolerance_grad
            change = loss - memory.prev_loss
            done = done or evaluations >= most or _largest(d * t) <= tolerance_change
            if done or max(change, -change) < tolerance_change:
                break
        return x, memory._replace(func_evals=memory.func_evals + evaluations)

    return Rule(init, update, evaluates=True, together=True, alone=True)


def _direction(memory: Curvature, g: Tensor, most: int) -> Curvature:
    """The next direction, with the last move taken into the history."""
    n = memory.n_iter + 1
    if memory.d is None or memory.prev_flat_grad is None:
        return memory._replace(n_iter=n, d=-g, prev_flat_grad=g)
    changes, moves, ro = list(memory.old_dirs), list(memory.old_stps), list(memory.ro)
    scale = memory.H_diag
    y, s = g - memory.prev_flat_grad, memory.d * memory.t
    ys = _number(y @ s)
    if ys > CURVATURE:
        changes, moves, ro = [*changes, y][-most:], [*moves, s][-most:], [*ro, 1.0 / ys][-most:]
        scale = ys / _number(y @ y)
    q = -g
    shares = []
    for y, s, r in zip(reversed(changes), reversed(moves), reversed(ro)):
        shares.append(_number(s @ q) * r)
        q = q - shares[-1] * y
    d = q * scale
    for y, s, r, share in zip(changes, moves, ro, reversed(shares)):
        d = d + (share - _number(y @ d) * r) * s
    return memory._replace(
        n_iter=n, d=d, old_dirs=changes, old_stps=moves, ro=ro, H_diag=scale, prev_flat_grad=g
    )


#: A step length, the loss there, its gradient, and the slope along the direction.
Place = tuple[float, float, Tensor, float]


def _along(
    evaluate: Callable[[Tensor], tuple[float, Tensor]], x: Tensor, d: Tensor
) -> Callable[[float], Place]:
    def at_length(t: float) -> Place:
        loss, g = evaluate(x + t * d)
        return t, loss, g, _number(g @ d)

    return at_length


def _strong_wolfe(
    look: Callable[[float], Place],
    t: float,
    size: float,
    start: tuple[float, Tensor, float],
    most: int,
    least: float = 1e-9,
) -> tuple[float, Tensor, float, int]:
    """A step length that meets the strong Wolfe conditions: (loss, gradient, length, looks).

    First lengths grow until the minimum is bracketed, then the bracket shrinks, both by cubic
    interpolation; ``most`` bounds the looks after the first, ``least`` the bracket's width.
    """
    loss, g, slope = start
    if t == 0:  # a rate of 0, as at the beginning of a warm-up
        return loss, g, t, 0
    before: Place = (0.0, loss, g, slope)
    here = look(t)
    looks, turns, met = 1, 0, False
    bracket = [before, here]
    while turns < most:
        t, value, _, tilt = here
        bracket = [before, here]
        if value > loss + ARMIJO * t * slope or (turns > 1 and value >= before[1]):
            break
        if max(tilt, -tilt) <= -WOLFE * slope:
            if value != value:
                raise ValueError(
                    "lbfgs: the loss is nan where the line search looks, which can compare numbers "
                    "only: begin where it is defined, or with a smaller lr"
                )
            bracket, met = [here], True
            break
        if tilt >= 0:
            break
        longer = _cubic(before, here, (t + 0.01 * (t - before[0]), t * 10))
        before, here = here, look(longer)
        looks, turns = looks + 1, turns + 1
    if turns == most:
        bracket = [(0.0, loss, g, slope), here]
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    slow = False
    while not met and turns < most:
        left, right = sorted((bracket[0][0], bracket[1][0]))
        if (right - left) * size < least:
            break
        t = _cubic(bracket[0], bracket[1], (left, right))
        edge = 0.1 * (right - left)
        if min(right - t, t - left) < edge:  # too near the edge, once is enough
            if slow or t >= right or t <= left:
                t = right - edge if right - t < t - left else left + edge
                slow = False
            else:
                slow = True
        else:
            slow = False
        here = look(t)
        looks, turns = looks + 1, turns + 1
        _, value, _, tilt = here
        if value > loss + ARMIJO * t * slope or value >= bracket[low][1]:
            bracket[high] = here
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if max(tilt, -tilt) <= -WOLFE * slope:
                met = True
            elif tilt * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = here
    t, loss, g, _ = bracket[low]
    return loss, g, t, looks


def _cubic(a: Place, b: Place, bounds: tuple[float, float]) -> float:
    """Where the cubic through two places with their slopes is least, within bounds; their middle
    where it has no minimum."""
    (x1, f1, _, g1), (x2, f2, _, g2) = sorted((a, b), key=lambda place: place[0])
    lowest, highest = bounds
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if square >= 0:
        d2 = square**0.5
        if g2 - g1 + 2 * d2 != 0:
            t = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
            return min(max(t, lowest), highest)
    return (lowest + highest) / 2.0


def _largest(x: Tensor) -> float:
    return _number(abs(x).max())


def _number(x: Any) -> float:
    """A number off the tape, in double precision."""
    return float(x.item() if isinstance(x, Tensor) else x)


def _flat(params: Params) -> Tensor:
    values = params.values() if isinstance(params, dict) else params
    return cat([value.reshape(-1) for value in values])


def _shaped(flat: Tensor, like: Params) -> Params:
    """The parts of a vector, in the form and shapes of parameters."""
    values, begin = [], 0
    for w in like.values() if isinstance(like, dict) else like:
        end = begin + w.numel()
        values.append(flat[begin:end].reshape(w.shape))
        begin = end
    return dict(zip(like, values)) if isinstance(like, dict) else values


class LBFGS(Optimizer):
    """L-BFGS; settings as in :func:`tapegrad.optim.functional.lbfgs`; one group of parameters.

    ``step(closure)`` needs the closure, which computes the loss and its gradients; gradients are
    dropped before each of its calls. A step that fails leaves everything as it was.
    ``differentiable=True`` raises: the line search is no formula. Clipping is refused, since a
    clipped gradient is not the loss's.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = tg.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     loss = ((w - 3.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()
    29.0
    >>> [round(x, 3) for x in w.tolist()]
    [3.0, 3.0]
    """

    rule = staticmethod(lbfgs)

    def __init__(self, params: Any = None, *settings: Any, **named: Any) -> None:
        if named.get("differentiable"):
            raise ValueError(f"LBFGS cannot be differentiable: {NO_DERIVATIVE}")
        super().__init__(params, *settings, **named)
        if any(value is not None for value in self.clip.values()):
            raise ValueError(
                "LBFGS does not clip: it compares gradients with losses, which must belong together"
            )

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Give the parameters, all in one group.

        >>> import tapegrad as tg
        >>> optimizer = tg.optim.LBFGS()
        >>> optimizer.add_param_group({"params": [tg.ones(1, requires_grad=True)]})
        >>> len(optimizer.param_groups)
        1
        """
        if self.param_groups:
            raise ValueError("LBFGS has one group of parameters: it moves all of them together")
        super().add_param_group(group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take settings and state from a snapshot; raises ValueError, naming what does not fit.

        >>> import tapegrad as tg
        >>> optimizer = tg.optim.LBFGS([tg.ones(1, requires_grad=True)])
        >>> optimizer.load_state_dict(optimizer.state_dict())
        """
        size = sum(p.numel() for group in self.param_groups for p in group["params"])
        for remembered in state_dict["state"].values():
            d = remembered.get("d")
            if d is not None and d.shape != (size,):
                raise ValueError(
                    f"LBFGS: d has shape {d.shape} in the snapshot, not {(size,)}: the parameters "
                    "there were others"
                )
        super().load_state_dict(state_dict)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to ``max_iter`` moves; ``closure`` is called for each; returns its first value."""
        if closure is None:
            raise ValueError(
                "LBFGS.step(closure) needs a closure, which computes the loss and its gradients: "
                "a step looks at the loss several times"
            )
        if not self.param_groups:
            raise RuntimeError("LBFGS has no parameters yet: call add_param_group({'params': ...})")
        (group,) = self.param_groups
        params = group["params"]
        rule = self.rule(**{k: v for k, v in group.items() if k in self.defaults})
        losses = []

        def value_and_grad(point: list[Tensor]) -> tuple[Any, list[Tensor]]:
            for p, value in zip(params, point):
                put(p, value, recorded=False)
            self.zero_grad()
            losses.append(closure())
            return losses[-1], [zeros_like(p) if p.grad is None else p.grad for p in params]

        with no_grad():
            before = [p.clone() for p in params]
            state = self.state.get(params[0]) or rule.init(params)
            try:
                moved, state = rule.update(before, None, state, value_and_grad=value_and_grad)
            except BaseException:
                moved = before
                raise
            finally:
                for p, value in zip(params, moved):
                    put(p, value, recorded=False)
        self.state[params[0]] = state
        self._stepped = True
        return losses[0]


ROWS = (
    Row(
        lbfgs,
        LBFGS,
        ("l-bfgs", "l_bfgs"),
        apart="it needs a closure, and its steps have no derivative: test_optim_wrappers.py",
    ),
)
