"""One run of training, as the ways to differentiate it look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tapegrad import Tensor, clone, enable_grad, grad, set_grad_enabled, zeros_like
from tapegrad.trees import flatten, tree_map, unflatten

from .rule import Params, Rule


@dataclass(frozen=True)
class Run:
    """A rule that moves parameters down a loss, batch by batch, to where an outer loss looks.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.running import Run
    >>> lr = tg.tensor(0.1, requires_grad=True)
    >>> loss = lambda params, batch: (params[0] - batch) ** 2
    >>> run = Run(tg.optim.functional.sgd(lr), loss, [tg.tensor(1.0)], [3.0], None, [lr], ["lr"])
    >>> params, state = run.start()
    >>> run.steps(params, state, [3.0])[0][0].detach()
    tensor(1.4000)
    """

    rule: Rule
    loss: Callable[[Params, Any], Tensor]
    params: Params
    batches: Iterable[Any]
    outer: Callable[[Params], Tensor] | None
    #: By what to differentiate, and what those are called in messages.
    wrt: Sequence[Tensor]
    names: Sequence[str]
    #: Whether to refuse what has no effect; else its gradient is 0.
    strict: bool = True

    def start(self) -> tuple[Params, Any]:
        """The parameters, on the tape where what is asked for may reach them, and the state."""
        params = tree_map(lambda p: clone(p) if p.requires_grad else begin(p), self.params)
        return params, self.rule.init(params)

    def gradients(
        self, params: Params, batch: Any, create_graph: bool = True
    ) -> tuple[Tensor, Params]:
        """The loss of a batch, and its gradients."""
        leaves, recipe = flatten(params)
        leaves = [w if w.requires_grad else begin(w) for w in leaves]
        with enable_grad():
            value = scalar("loss", self.loss(unflatten(recipe, leaves), batch))
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if value.requires_grad:
            found = grad(value, leaves, create_graph=create_graph, allow_unused=True)
        for i, (w, g) in enumerate(zip(leaves, found, strict=True)):
            if g is None:
                which = repr([*params][i]) if isinstance(params, dict) else i
                raise ValueError(
                    f"unroll: parameter {which} (shape {w.shape}) has no effect on the loss of a "
                    "batch: leave it out of params, or add 0 times its sum to the loss"
                )
        return value, unflatten(recipe, found)

    def step(
        self, params: Params, state: Any, batch: Any, create_graph: bool = True
    ) -> tuple[Params, Any]:
        """One step of the rule; off the tape if ``create_graph`` is False."""

        def value_and_grad(params: Params) -> tuple[Tensor, Params]:
            return self.gradients(params, batch, create_graph)

        _, grads = value_and_grad(params)
        extra = {"value_and_grad": value_and_grad} if self.rule.evaluates else {}
        with set_grad_enabled(create_graph):
            return self.rule.update(params, grads, state, **extra)

    def steps(self, params: Params, state: Any, batches: Iterable[Any]) -> tuple[Params, Any]:
        """A stretch of steps, all of them on the tape."""
        for batch in batches:
            params, state = self.step(params, state, batch)
        return params, state

    def result(self, params: Params) -> Tensor:
        """The outer loss."""
        return scalar("outer", self.outer(params))  # type: ignore[misc]

    def found(self, grads: Sequence[Tensor | None]) -> list[Tensor]:
        """The gradients, none of them missing."""
        for name, x, g in zip(self.names, self.wrt, grads, strict=True):
            if g is None and self.strict:
                raise ValueError(
                    f"unroll: {name} (shape {x.shape}) has no effect on the outer loss. Do the "
                    "rule, the losses or the parameters use this very Tensor? A number taken from "
                    "it, or a Tensor computed from it before it required a gradient, is cut off."
                )
        return [zeros_like(x) if g is None else g for x, g in zip(self.wrt, grads, strict=True)]


def begin(x: Any) -> Any:
    """A leaf where the tape of an earlier stretch ends, whose derivative is carried on by hand.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.running import begin
    >>> begin(tg.tensor(1.0, requires_grad=True) * 2.0), begin(7)
    (tensor(2., requires_grad=True), 7)
    """
    if not is_real(x):
        return x
    return x.detach().requires_grad_()


def is_real(x: Any) -> bool:
    """Whether this is a Tensor of floats, which derivatives pass through.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.running import is_real
    >>> is_real(tg.tensor(1.0)), is_real(tg.tensor(1)), is_real(1.0)
    (True, False, False)
    """
    return isinstance(x, Tensor) and x.is_floating_point()


def scalar(what: str, value: Any) -> Tensor:
    """A loss, which must be a 0-d tensor.

    >>> from tapegrad.optim.running import scalar
    >>> scalar("outer", 1.0)
    Traceback (most recent call last):
    ValueError: unroll: outer must return a 0-d tensor, not float
    """
    if not isinstance(value, Tensor) or value.shape != ():
        got = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"unroll: {what} must return a 0-d tensor, not {got}")
    return value


def added(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    """Sums of corresponding gradients, where None is no contribution.

    >>> from tapegrad.optim.running import added
    >>> added([1.0, None, None], [2.0, 3.0, None])
    [3.0, 3.0, None]
    """
    return [y if x is None else x if y is None else x + y for x, y in zip(a, b, strict=True)]


def pull(
    ends: Sequence[Tensor], cotangents: Sequence[Any], inputs: Sequence[Tensor]
) -> tuple[Any, ...]:
    """The gradients by the inputs of the ends along cotangents; None is 0, there and here.

    The tape stays: what lies below the run may be walked again.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.running import pull
    >>> x, y = (tg.tensor(v, requires_grad=True) for v in (3.0, 4.0))
    >>> pull([x * x, x, tg.tensor(1.0)], [tg.tensor(2.0), None, tg.tensor(1.0)], [x, y])
    (tensor(12.), None)
    """
    pairs = [
        (end, g)
        for end, g in zip(ends, cotangents, strict=True)
        if g is not None and end.requires_grad
    ]
    if not pairs:
        return tuple(None for _ in inputs)
    tensors, seeds = zip(*pairs, strict=True)
    return grad(tensors, list(inputs), seeds, allow_unused=True, retain_graph=True)
