"""The one stateful shell over the rules: torch's Optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from operator import setitem
from typing import Any

from tapegrad import Tensor, enable_grad, no_grad
from tapegrad.aliases import refuse_shared
from tapegrad.flat import gradients_of, refresh, with_gradient, writing
from tapegrad.moving import drop_gradient, move_to, refuse_unrecorded, start_moving, stop_moving
from tapegrad.programs import Call, at_once
from tapegrad.traced import Untraceable

from .clipping import clip_by_global_norm, clip_by_norm, clip_by_value
from .packs import Packing, Programs, Remembered
from .rule import Rule, State, at_least_zero, is_off
from .snapshots import cast, copied, detached, fields_of, kept, kept_for, restored
from .spelling import in_torch_words

__all__ = ["Optimizer"]

#: What torch has for speed on its devices; taken and not needed.
IGNORED = ("foreach", "fused", "capturable")
#: Settings of the shell itself, as in Keras.
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")
#: What schedulers keep in the groups, as torch's do.
SCHEDULED = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum")
#: What a rule may raise when it is traced and does more than arithmetic.
NOT_TRACED = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
#: A parameter, where it goes, and what is remembered of it then.
Move = tuple[Tensor, Tensor, State]


class Optimizer:
    """Parameters, settings and a rule; :meth:`step` moves the parameters in place.

    ``params``: an iterable of leaf tensors, of (name, tensor) pairs, or of dicts (groups) with
    ``"params"`` and settings of their own; None leaves them to :meth:`add_param_group`. The other
    arguments are those of the rule, by torch's or by Keras's names; each may be a float, a Tensor,
    or a schedule (a callable of the step).

    ``clipnorm``, ``clipvalue``, ``global_clipnorm``: clip gradients before the step, every one by
    its own norm, by value, or all together, as in Keras; at most one of them, and 0 is none.
    ``differentiable``: record the steps, so that what is computed from the parameters later has
    derivatives by settings and by the initial parameters (handles in :attr:`initial`). A
    ``loss.backward(create_graph=True)`` stops at the parameters, so rates get no gradient from it;
    a leaf that the loss itself contains does: drop that, or name ``inputs=``.

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
    #: Whether step() was called yet; schedulers want to know.
    _stepped = False

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "rule" in vars(cls):
            shell = [p for p in _SHELL if p.name not in _settings_of(cls.rule)]
            settings = list(inspect.signature(cls.rule).parameters.values())
            first = inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD)
            cls.__signature__ = inspect.Signature([first, *settings, *shell])  # type: ignore[attr-defined]

    def __init__(self, params: Any = None, *settings: Any, **named: Any) -> None:
        name = type(self).__name__
        for option in IGNORED:
            named.pop(option, None)
        differentiable = named.pop("differentiable", False)
        clip = {k: named.pop(k, None) for k in CLIPPING}
        if sum(v is not None for v in clip.values()) > 1:
            raise ValueError(f"{name}: give at most one of clipnorm, clipvalue and global_clipnorm")
        for k, limit in clip.items():
            if callable(limit) and not isinstance(limit, Tensor):
                raise TypeError(f"{name}: {k} must be a number or a Tensor, not {limit!r}")
        at_least_zero(name, **{k: v for k, v in clip.items() if v is not None})
        self.clip = clip
        signature = inspect.signature(self.rule)
        named = in_torch_words(name, named, signature)
        try:
            bound = signature.bind(*settings, **named)
        except TypeError as error:
            raise TypeError(f"{name}{_shown(signature)}: {error}") from None
        bound.apply_defaults()
        self.defaults: dict[str, Any] = {k: _fixed(v) for k, v in bound.arguments.items()}
        self.rule(**self.defaults)  # refuses settings that make no sense
        self.param_groups: list[dict[str, Any]] = []
        self._state: dict[Tensor, State] = {}  # of parameters that are in no pack
        self._packings: dict[int, Packing] = {}  # by the identity of their groups
        self._programs: Programs = {}
        #: With ``differentiable``, the leaves that the parameters began as.
        self.initial: list[Tensor] = []
        self.differentiable = False  # until all groups are known to be good
        for group in () if params is None else self._groups_of(params):
            self.add_param_group(group)
        self.differentiable = differentiable
        if differentiable:
            self._begin(self.param_groups)

    def _groups_of(self, params: Any) -> list[Any]:
        """What was given as params, as groups."""
        if isinstance(params, Tensor):
            raise TypeError("params must be an iterable of tensors, not one tensor: use [tensor]")
        if isinstance(params, dict):
            raise TypeError(
                "params must be a list of tensors, of (name, tensor) pairs or of groups, not a "
                "dict: use named.items(), or [group]"
            )
        items = _in_order(params)
        if not items:
            raise ValueError(f"{type(self).__name__} got an empty list of parameters")
        return items if isinstance(items[0], dict) else [{"params": items}]

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with settings of their own.

        >>> import tapegrad as tg
        >>> a, b = tg.ones(1, requires_grad=True), tg.ones(1, requires_grad=True)
        >>> optimizer = tg.optim.SGD([a], lr=0.1)
        >>> optimizer.add_param_group({"params": [b], "lr": 0.01})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]
        """
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f"a group must be a dict with 'params' and settings, not {group!r}")
        scheduled = {k: v for k, v in group.items() if k in SCHEDULED}
        given = {k: v for k, v in group.items() if k not in ("params", *IGNORED, *SCHEDULED)}
        given = in_torch_words(
            type(self).__name__, given, inspect.signature(self.rule), self.defaults
        )
        unknown = set(given) - set(self.defaults)
        if unknown:
            raise ValueError(
                f"unknown settings {sorted(unknown)}; {type(self).__name__} has "
                f"{sorted(self.defaults)}"
            )
        params = group["params"]
        named = _named([params] if isinstance(params, Tensor) else _in_order(params))
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for i, (name, p) in enumerate(named):
            which = f"params[{i}]" if name is None else f"parameter {name!r}"
            if not isinstance(p, Tensor):
                raise TypeError(f"{which} is a {type(p).__name__}, not a Tensor")
            if not p.is_leaf:
                raise ValueError(f"{which} (shape {p.shape}) is not a leaf")
            if id(p) in known:
                raise ValueError(f"{which} (shape {p.shape}) is already in a group")
            known.add(id(p))
        settings = {**self.defaults, **{k: _fixed(v) for k, v in given.items()}}
        self.rule(**settings)
        self.param_groups.append({"params": [p for _, p in named], **settings, **scheduled})
        if any(name is not None for name, _ in named):
            self.param_groups[-1]["param_names"] = [name for name, _ in named]
        if self.differentiable:
            self._begin(self.param_groups[-1:])

    def _begin(self, groups: list[dict[str, Any]]) -> None:
        """Let the parameters of groups move along the tape."""
        held = [p for group in groups for p in group["params"]]
        self.initial += [start_moving(p) for p in held if p.requires_grad]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters (gradients accumulate until dropped).

        >>> import tapegrad as tg
        >>> w = tg.ones(1, requires_grad=True)
        >>> (w * w).sum().backward()
        >>> tg.optim.SGD([w]).zero_grad()
        >>> w.grad is None
        True
        """
        for group in self.param_groups:
            for p in group["params"]:
                drop_gradient(p, set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient by one step of the rule.

        ``closure`` computes the loss and the gradients anew first; its value is returned.
        """
        if not self.param_groups:
            raise RuntimeError(
                f"{type(self).__name__} has no parameters yet: give them when you make it, or call "
                "add_param_group({'params': ...})"
            )
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        calls: list[Call] = []
        if self.differentiable:
            with enable_grad():
                moves = self._recorded_moves()
        else:
            calls, moves = self._moves()
        self._write(calls, moves)  # all is computed or known to work: from here on nothing fails
        self._stepped = True
        return loss

    def _write(self, calls: list[Call], moves: list[Move]) -> None:
        """Let all parameters take their new values and states, with no interrupt in between."""
        late = []
        for p, moved, state in moves:
            own = [] if self.differentiable else writing(p, moved)
            calls += [*own, (setitem, self._state, p, state)]
            if not own:
                late.append((p, moved))
        for packing in self._packings.values():
            packing.mark()
        at_once(calls)
        for packing in self._packings.values():
            packing.refresh()
        refresh([p for p, _, _ in moves])
        for p, moved in late:
            put(p, moved, self.differentiable)

    def _recorded_moves(self) -> list[Move]:
        """Where every parameter with a gradient goes, on the tape."""
        self._unpack()
        held = [(g, p) for g in self.param_groups for p in g["params"] if p.grad is not None]
        for _, p in held:
            refuse_unrecorded(p, f"{type(self).__name__}.step(), a parameter")
        grads = self._clipped([p.grad for _, p in held])
        return self._one_by_one([(*pair, g) for pair, g in zip(held, grads, strict=True)])

    def _moves(self) -> tuple[list[Call], list[Move]]:
        """The same off the tape: what moves the packs, and where the other parameters go."""
        held = [(group, with_gradient(group["params"])) for group in self.param_groups]
        grads = gradients_of([p for _, params in held for p in params])
        if any(limit is not None for limit in self.clip.values()):
            with no_grad():
                grads = self._clipped(grads)
        self._arrange(held)
        calls: list[Call] = []
        left: list[tuple[dict[str, Any], Tensor, Tensor]] = []
        start = 0
        for group, params in held:
            own = grads[start : start + len(params)]
            start += len(params)
            packing = self._packings[id(group)]
            try:
                settings = {k: group[k] for k in self.defaults}
                calls += packing.calls(self.rule, settings, own, self._programs)
            except (Untraceable, *NOT_TRACED) as error:  # the rule itself goes on, or says why not
                self._state.update(packing.states())
                self._packings[id(group)] = packing = Packing(params)
                if not isinstance(error, Untraceable):
                    del self._packings[id(group)]
            left += [(group, params[i], own[i]) for i in packing.rest]
        if not left:
            return calls, []
        with no_grad():
            return calls, self._one_by_one(left)

    def _arrange(self, held: list[tuple[dict[str, Any], list[Tensor]]]) -> None:
        """Lay the parameters that are moved now end to end, unless they are so already."""
        if len(self._packings) == len(held) and all(
            id(group) in self._packings and self._packings[id(group)].holds(params)
            for group, params in held
        ):
            return
        self._unpack()
        with no_grad():
            self._packings = {
                id(group): Packing(params, self._rule_of(group), self._state)
                for group, params in held
            }
        for packing in self._packings.values():  # what is in a pack need not be kept twice
            for p in packing.packed():
                self._state.pop(p, None)

    def _unpack(self) -> dict[Tensor, State]:
        """Let every parameter have its state for itself."""
        for packing in self._packings.values():
            self._state.update(packing.states())
        self._packings = {}
        return self._state

    @property
    def state(self) -> MutableMapping[Tensor, State]:
        """What the rule remembers of each parameter, to be read and written as a dict."""
        return Remembered(self._unpack)

    @state.setter
    def state(self, state: Mapping[Tensor, State]) -> None:
        self._packings, self._state = {}, dict(state)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_state": dict(self._unpack()), "_packings": {}, "_programs": {}}

    def _one_by_one(self, held: list[tuple[dict[str, Any], Tensor, Tensor]]) -> list[Move]:
        """Where parameters go by the rule itself."""
        moves = []
        rules: dict[int, Rule] = {}
        for group, p, g in held:
            if id(group) not in rules:
                rules[id(group)] = self._rule_of(group)
            rule = rules[id(group)]
            if rule.together:
                raise TypeError(
                    f"{type(self).__name__} moves parameters one by one, and its rule looks at all "
                    "of them together: use the rule itself (init and update)"
                )
            state = self._state[p] if p in self._state else rule.init([p])
            (moved,), state = rule.update([p], [g], state)
            if moved.shape != p.shape:
                number = next(i for i, other in enumerate(group["params"]) if other is p)
                raise ValueError(
                    f"{type(self).__name__}: params[{number}] (shape {p.shape}) would get shape "
                    f"{moved.shape}: a setting has a shape of its own"
                )
            if not self.differentiable:
                refuse_shared(p)
            moves.append((p, moved, kept_for(p, g, state)))
        return moves

    def _rule_of(self, group: dict[str, Any]) -> Rule:
        return self.rule(**{k: v for k, v in group.items() if k in self.defaults})

    def _clipped(self, grads: list[Tensor]) -> list[Tensor]:
        """Gradients after the clipping that was asked for."""
        given = [(k, v) for k, v in self.clip.items() if v is not None and not is_off(v)]
        if not grads or not given:
            return grads
        ((how, limit),) = given
        if how == "clipnorm":
            return clip_by_norm(grads, limit)
        if how == "clipvalue":
            return clip_by_value(grads, limit)
        return clip_by_global_norm(grads, limit, eps=0.0)[0]

    def detach_(self) -> None:
        """Cut the tape behind the parameters and the state: derivatives end here.

        The parameters are leaves from which a new differentiable stretch begins; :attr:`initial`
        holds the new leaves.

        >>> import tapegrad as tg
        >>> lr = tg.tensor(0.1, requires_grad=True)
        >>> w = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.SGD([w], lr=lr, differentiable=True)
        >>> (w * w).backward(create_graph=True)
        >>> optimizer.step()
        >>> optimizer.detach_()
        >>> tg.grad(w * w, lr, allow_unused=True)
        (None,)
        """
        for p, state in self.state.items():
            self.state[p] = detached(state)
        if self.differentiable:
            for p in (p for group in self.param_groups for p in group["params"]):
                if p.requires_grad:
                    stop_moving(p)
            self.initial = []
            self._begin(self.param_groups)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of settings and state, by the numbers of the parameters, as torch's.

        >>> import tapegrad as tg
        >>> w = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.SGD([w], lr=0.1, momentum=0.9)
        >>> (w * w).backward()
        >>> optimizer.step()
        >>> optimizer.state_dict()["state"]
        {0: {'step': 1, 'momentum_buffer': tensor(2.)}}
        """
        numbers = {
            p: i for i, p in enumerate(p for group in self.param_groups for p in group["params"])
        }
        return {
            "state": {
                i: {
                    "step": self.state[p].step,
                    **{k: copied(v) for k, v in fields_of(self.state[p].memory[0]).items()},
                }
                for p, i in numbers.items()
                if p in self.state
            },
            "param_groups": [
                {
                    **{k: copied(v) for k, v in group.items() if k != "params"},
                    "params": [numbers[p] for p in group["params"]],
                }
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take settings and state from a snapshot of an optimizer of the same kind.

        Raises ValueError, naming what differs, when groups, settings, or the shapes of what is
        remembered do not fit; the optimizer is then as before. What is remembered takes the dtype
        of its parameter, as in torch. A setting that is a Tensor of the value in the snapshot stays
        as it is, on the tape; another value comes off the tape: to differentiate by that rate from
        here on, put a leaf of its value into the group. A schedule stays where the snapshot has
        None, as one has that went through a file: a file holds no functions.

        >>> import tapegrad as tg
        >>> w = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.SGD([w], lr=0.1)
        >>> optimizer.load_state_dict(tg.optim.SGD([w], lr=0.3).state_dict())
        >>> optimizer.param_groups[0]["lr"]
        0.3
        """
        name = type(self).__name__
        if not isinstance(state_dict, dict) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(
                f"{name}: a snapshot is a dict with 'state' and 'param_groups', as state_dict() "
                "makes it"
            )
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"{name}: the snapshot has {len(groups)} group(s), this optimizer "
                f"{len(self.param_groups)}"
            )
        tensors = [p for group in self.param_groups for p in group["params"]]
        settings = []
        for i, (old, new) in enumerate(zip(self.param_groups, groups)):
            if len(old["params"]) != len(new["params"]):
                raise ValueError(
                    f"{name}: group {i} of the snapshot has {len(new['params'])} parameter(s), "
                    f"here it has {len(old['params'])}"
                )
            names = zip(old.get("param_names", ()), new.get("param_names", ()))
            for k, (here, there) in enumerate(names):
                if here != there:
                    raise ValueError(
                        f"{name}: parameter {k} of group {i} is {there!r} in the snapshot, here it "
                        f"is {here!r}"
                    )
            others = ("params", "param_names", *SCHEDULED)
            given = {k: v for k, v in new.items() if k not in others}
            if set(given) != set(old) - set(others):
                raise ValueError(
                    f"{name}: group {i} of the snapshot has the settings {sorted(given)}, not "
                    f"{sorted(set(old) - set(others))}"
                )
            settings.append({k: kept(old[k], v) for k, v in given.items()})
        rules = [self._rule_of(group) for group in settings]
        rule_of = [rule for rule, group in zip(rules, groups) for _ in group["params"]]
        state: dict[Tensor, State] = {}
        for i, remembered in state_dict["state"].items():
            if i not in range(len(tensors)):
                raise ValueError(f"{name}: the snapshot has state of parameter {i}, which is none")
            p = tensors[i]
            remembered = cast(remembered, p.dtype) if p.is_floating_point() else remembered
            state[p] = restored(name, i, rule_of[i].init([p]), remembered)
        for group, new, found in zip(self.param_groups, settings, groups):
            scheduled = {k: kept(group.get(k), v) for k, v in found.items() if k in SCHEDULED}
            group.update(new, **scheduled)
        self._packings, self._state = {}, state

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            shown = {k: v for k, v in group.items() if k in self.defaults}
            lines.append(f"group {i}, {len(group['params'])} parameter(s)")
            lines += [f"    {k}: {v}" for k, v in shown.items()]
        inside = "".join(f"    {line}\n" for line in lines)
        return f"{type(self).__name__} (\n{inside})"


def put(p: Tensor, moved: Tensor, recorded: bool) -> None:
    """Let a parameter take a value; ``recorded``: and its place on the tape."""
    if recorded:
        move_to(p, moved)
    else:
        with no_grad():
            p.copy_(moved)


_SHELL = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
    for name, default in (("differentiable", False), *((name, None) for name in CLIPPING))
]


def _settings_of(rule: Callable[..., Rule]) -> list[str]:
    return list(inspect.signature(rule).parameters)


def _fixed(value: Any) -> Any:
    """A setting as it is kept: a list (of betas) as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _shown(signature: inspect.Signature) -> str:
    """The arguments of an optimizer with their defaults."""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return f"(params, {str(inspect.Signature(bare))[1:]}"


def _in_order(items: Any) -> list[Any]:
    """Items as a list; a snapshot counts on their order."""
    if isinstance(items, (set, frozenset)):
        raise TypeError("parameters must come in an order, as in a list, not as a set")
    return list(items)


def _named(items: Iterable[Any]) -> list[tuple[str | None, Any]]:
    """Parameters with their names, where they have them."""
    return [item if isinstance(item, tuple) else (None, item) for item in items]
