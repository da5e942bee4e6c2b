"""The stateful shell over the rules: torch's Optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tapegrad import Tensor, enable_grad, no_grad

from . import functional
from .functional import Rule


class Optimizer:
    """Parameters, settings and a rule; :meth:`step` moves the parameters in place.

    ``params``: an iterable of leaf tensors, or of dicts (groups) with ``"params"`` and settings
    of their own. A setting may be a float, a Tensor, or a schedule (a callable of the step).
    :meth:`step` computes everything first and then writes, so a failed step leaves parameters and
    state as they were; parameters without a gradient are skipped.

    >>> import tapegrad as tg
    >>> class Descent(tg.optim.Optimizer):
    ...     rule = staticmethod(tg.optim.functional.sgd)
    >>> w = tg.tensor(1.0, requires_grad=True)
    >>> (w * w).backward()
    >>> Descent([w], lr=0.25).step()
    >>> w
    tensor(0.5000, requires_grad=True)
    """

    rule: Callable[..., Rule]

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        items = list(params) if not isinstance(params, Tensor) else None
        if items is None:
            raise TypeError("params must be an iterable of tensors, not one tensor: use [tensor]")
        if not items:
            raise ValueError("an optimizer got an empty list of parameters")
        groups = items if isinstance(items[0], dict) else [{"params": items}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with settings of their own.

        >>> import tapegrad as tg
        >>> a, b = tg.ones(1, requires_grad=True), tg.ones(1, requires_grad=True)
        >>> optimizer = tg.optim.SGD([a], lr=0.1)
        >>> optimizer.add_param_group({"params": [b], "lr": 0.01})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]
        """
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown:
            raise ValueError(
                f"unknown settings {sorted(unknown)}; {type(self).__name__} has "
                f"{sorted(self.defaults)}"
            )
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"params[{i}] is a {type(p).__name__}, not a Tensor")
            if not p.is_leaf:
                raise ValueError(f"params[{i}] (shape {p.shape}) is not a leaf")
            if id(p) in known:
                raise ValueError(f"params[{i}] (shape {p.shape}) is already in a group")
            known.add(id(p))
        settings = {**self.defaults, **{k: v for k, v in group.items() if k != "params"}}
        self.rule(**settings)  # refuses settings that make no sense
        self.param_groups.append({"params": params, **settings, "state": {}})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters (gradients accumulate until dropped)."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if set_to_none or p.grad is None else p.grad * 0.0

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Move every parameter that has a gradient by one step of the rule.

        ``closure`` re-evaluates the loss first; its value is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            moves = []
            for group in self.param_groups:
                settings = {k: v for k, v in group.items() if k not in ("params", "state")}
                rule = self.rule(**settings)
                for i, p in enumerate(group["params"]):
                    if p.grad is None:
                        continue
                    state = group["state"].get(i)
                    if state is None:
                        state = rule.init([p])
                    (moved,), state = rule.update([p], [p.grad], state)
                    moves.append((group, i, p, moved, state))
            for group, i, p, moved, state in moves:
                p.copy_(moved)
                group["state"][i] = state
        return loss


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, dampening, weight decay and Nesterov.

    Settings as in :func:`tapegrad.optim.functional.sgd`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    rule = staticmethod(functional.sgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        momentum: Any = 0.0,
        dampening: Any = 0.0,
        weight_decay: Any = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )


class Adam(Optimizer):
    """Adam; settings as in :func:`tapegrad.optim.functional.adam`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    rule = staticmethod(functional.adam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: Any = 1e-8,
        weight_decay: Any = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay; settings as in :func:`tapegrad.optim.functional.adamw`.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8500], requires_grad=True)
    """

    rule = staticmethod(functional.adamw)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: Any = 1e-8,
        weight_decay: Any = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize
        )
