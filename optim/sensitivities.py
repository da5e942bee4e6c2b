"""Which setting of a training run matters: a table of derivatives of the loss after it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from numbers import Integral, Real
from typing import Any

from tapegrad import Tensor, enable_grad, ones, tensor
from tapegrad.trees import tree_map

from .clipping import clip_by_global_norm
from .families import OPTIMIZERS
from .naming import found as found_by_name
from .optimizer import Optimizer
from .rule import Params, Rule
from .running import Run, is_real
from .spelling import in_torch_words
from .unrolling import differentiated
from .wrappers import chain

__all__ = ["Knob", "Sensitivity", "sensitivity"]


@dataclass(frozen=True)
class Knob:
    """A setting, its value (the mean of several), and the derivatives of the loss by it and by its
    logarithm, that is for a change of all its entries by the same factor.

    >>> from tapegrad.optim.sensitivities import Knob
    >>> Knob("lr", value=0.1, gradient=-2.0, elasticity=-0.2).elasticity
    -0.2
    """

    name: str
    value: float
    gradient: float
    elasticity: float


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """What :func:`sensitivity` found: the loss, and the knobs with the strongest first.

    Prints as a table; in Jupyter it has bars. ``report["lr"]`` is one knob.

    >>> from tapegrad.optim.sensitivities import Knob, Sensitivity
    >>> Sensitivity(0.5, (Knob("lr", 0.1, -2.0, -0.2), Knob("eps", 1e-8, 3.0, 3e-8)))
    loss 0.5
    knob  value  dL/dknob  dL/dlog(knob)
    lr      0.1        -2           -0.2
    eps   1e-08         3          3e-08
    """

    loss: float
    knobs: tuple[Knob, ...]

    def __getitem__(self, name: str) -> Knob:
        for knob in self.knobs:
            if knob.name == name:
                return knob
        raise KeyError(f"{name!r} is none of the knobs {[knob.name for knob in self.knobs]}")

    def __iter__(self) -> Iterator[Knob]:
        return iter(self.knobs)

    def __len__(self) -> int:
        return len(self.knobs)

    def __repr__(self) -> str:
        rows = [HEAD, *map(_row, self.knobs)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for first, *rest in rows:
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            lines.append("  ".join(cells))
        return "\n".join([f"loss {self.loss:.6g}", *lines])

    def _repr_html_(self) -> str:
        most = max((abs(knob.elasticity) for knob in self.knobs), default=0.0)
        head = "".join(f"<th>{escape(name)}</th>" for name in HEAD)
        rows = []
        for knob in self.knobs:
            share = abs(knob.elasticity) / most if most > 0.0 else 0.0
            color = "#c44e52" if knob.elasticity > 0.0 else "#4c72b0"
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in _row(knob))
            bar = f"height:0.8em;width:{share * 12:.2f}em;background:{color}"
            rows.append(f'<tr>{cells}<td><div style="{bar}"></div></td></tr>')
        return (
            f"<p>loss {self.loss:.6g}; more of a knob makes it rise (red) or fall (blue)</p>"
            f"<table><thead><tr>{head}<th></th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )


HEAD = ("knob", "value", "dL/dknob", "dL/dlog(knob)")


def _row(knob: Knob) -> tuple[str, ...]:
    numbers = (knob.value, knob.gradient, knob.elasticity)
    return (knob.name, *(f"{number:.4g}" for number in numbers))


def sensitivity(
    rule: Any,
    loss: Callable[..., Tensor],
    params: Params,
    batches: Iterable[Any],
    *,
    outer: Callable[[Params], Tensor],
    settings: Mapping[str, Any] | None = None,
    loss_settings: Mapping[str, Any] | None = None,
    max_norm: Any = None,
    knobs: Mapping[str, Tensor] | None = None,
    method: str = "auto",
) -> Sensitivity:
    """Train, and tell which settings move the loss afterwards most, sorted.

    The knobs are every real setting of the rule, those of the loss, the threshold of clipping, the
    size of the initial parameters (``initial scale``), and any Tensors named in ``knobs``, such as
    the peak of a schedule. They are sorted by dL/dlog(knob), which compares a rate with a decay: it
    is by how much the loss changes per relative change of the knob (so for 1 % more, a hundredth of
    that). A knob that is 0 has none, but it has a dL/dknob.

    ``rule``: a function such as ``functional.adam``, a class such as ``optim.Adam``, or a name, as
    ``optim.get`` knows it, whose ``settings`` (and defaults) are the knobs; or a finished rule. A
    step goes down ``loss(params, batch, **loss_settings)`` for every batch; L is ``outer(params)``
    at the end. Whole numbers are knobs where the default is a float.
    ``max_norm``: clip all gradients together to it. ``method``: as for
    :func:`tapegrad.optim.unroll`.

    Raises TypeError for ``settings`` beside a finished rule, for those that the rule does not have,
    and for ``knobs`` that are no Tensors; ValueError for a name given twice.

    >>> import tapegrad as tg
    >>> from tapegrad import optim
    >>> bowl = lambda params, batch, far: ((params[0] - far) ** 2).sum()
    >>> optim.sensitivity(
    ...     optim.SGD, bowl, [tg.tensor([1.0, -2.0])], range(2),
    ...     settings={"lr": 0.1, "momentum": 0.9}, loss_settings={"far": 3.0},
    ...     outer=lambda params: bowl(params, None, 3.0))
    loss 6.1364
    knob           value  dL/dknob  dL/dlog(knob)
    lr               0.1    -133.4         -13.34
    loss.far           3    -3.478         -10.43
    momentum         0.9    -5.336         -4.802
    initial scale      1     3.386          3.386
    dampening          0     4.269              0
    weight_decay       0    -1.454              0
    """
    found: dict[str, Tensor] = {}

    def knob(value: Any, name: str) -> Any:
        """The setting, as Tensors that are knobs where it is real."""
        if type(value) is tuple:
            return tuple(knob(part, f"{name}[{i}]") for i, part in enumerate(value))
        if isinstance(value, Real) and not isinstance(value, Integral):
            value = float(value)
        if type(value) is not float and not is_real(value):
            return value
        if name in found:
            raise ValueError(f"sensitivity: there are two knobs called {name!r}")
        found[name] = value if isinstance(value, Tensor) else tensor(value, dtype="float64")
        return found[name]

    if isinstance(rule, Rule):
        if settings:
            raise TypeError("sensitivity: a finished rule has its settings; name knobs instead")
        made = rule
    else:
        function, fixed, given = _rule_of(rule, dict(settings or {}))
        made = function(**{k: v if k in fixed else knob(v, k) for k, v in given.items()})
    if max_norm is not None:
        threshold = knob(_like(1.0, max_norm), "max_norm")
        made = chain(functools.partial(clip_by_global_norm, max_norm=threshold), made)
    given = _like(_defaults(loss), dict(loss_settings)) if loss_settings else {}
    of_loss = {k: knob(v, f"loss.{k}") for k, v in given.items()}
    for name, value in (knobs or {}).items():
        if not is_real(value):
            raise TypeError(
                f"sensitivity: knobs[{name!r}] must be a Tensor of floats, which the rule or the "
                f"losses use, not {type(value).__name__}"
            )
        knob(value, name)
    scale = knob(ones((), dtype="float64", requires_grad=True), "initial scale")
    with enable_grad():
        params = tree_map(lambda p: p * scale, params)
    run = Run(
        made,
        functools.partial(loss, **of_loss),
        params,
        batches,
        outer,
        list(found.values()),
        list(found),
        strict=False,
    )
    value, grads = differentiated(run, method)
    rows = [
        Knob(name, float(x.mean()), float(g.sum()), float((x * g).sum()))
        for (name, x), g in zip(found.items(), grads, strict=True)
    ]
    rows.sort(key=lambda row: (-abs(row.elasticity), -abs(row.gradient)))
    return Sensitivity(float(value), tuple(rows))


def _rule_of(
    rule: Any, settings: dict[str, Any]
) -> tuple[Callable[..., Rule], tuple[str, ...], dict[str, Any]]:
    """The function of settings, those of them that have no derivative, and all of them."""
    if isinstance(rule, str):
        rule, preset = found_by_name(rule)
        settings = preset | settings
    function = rule.rule if inspect.isclass(rule) and issubclass(rule, Optimizer) else rule
    if not callable(function):
        raise TypeError(
            "sensitivity: rule must be a rule, a function or a class of one, or its name, not "
            f"{type(rule).__name__}"
        )
    signature = inspect.signature(function)
    name, known = getattr(function, "__name__", "rule"), signature.parameters
    settings = in_torch_words(name, settings, signature)
    for word in settings:
        if word not in known and all(p.kind is not p.VAR_KEYWORD for p in known.values()):
            raise TypeError(f"{name} has no setting {word!r}; it has {', '.join(known)}")
    defaults = _defaults(function)
    fixed = next((row.fixed for row in OPTIMIZERS if row.rule is function), ())
    return function, fixed, defaults | _like(defaults, settings)


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _like(default: Any, value: Any) -> Any:
    """A value of the kind of the default: a whole number as a float, a list as a tuple."""
    if isinstance(default, dict):
        return {k: _like(default.get(k), v) for k, v in value.items()}
    if type(default) is tuple and isinstance(value, (tuple, list)):
        return tuple(_like(default[0] if default else None, part) for part in value)
    real = type(default) is float and isinstance(value, Real) and not isinstance(value, bool)
    return 1.0 * value if real else value
