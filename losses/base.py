"""The class form of a loss: settings first, operands later."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .reducing import known_reduction

__all__ = ["Loss"]

#: Arguments that torch has deprecated for `reduction`.
DEPRECATED = ("size_average", "reduce")


class Loss:
    """A loss function with its settings: ``Name(settings)(input, target)``.

    A subclass names its ``function``. The arguments that have no default are the operands, given
    when the loss is called; the others are the settings, which are attributes and can be changed.

    Raises TypeError for a setting that the function does not have, ValueError for an unknown
    reduction.

    >>> import tapegrad as tg
    >>> def power_loss(input, target, reduction="mean", power=2.0):
    ...     return tg.losses.reduce((input - target).abs() ** power, reduction)
    >>> class PowerLoss(tg.losses.Loss):
    ...     function = staticmethod(power_loss)
    >>> loss = PowerLoss(power=3.0)
    >>> loss, loss.reduction, loss(tg.tensor([1.0, 2.0]), tg.tensor([0.0, 0.0]))
    (PowerLoss(power=3.0), 'mean', tensor(4.5000))
    """

    function: Callable[..., Any]

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "__init__" in vars(cls):  # a subclass with its own way of making it
            parameters = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]
            cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        elif "function" in vars(cls):
            cls.__signature__ = inspect.Signature(_settings(cls.function))  # type: ignore[attr-defined]

    def __init__(self, *settings: Any, **named: Any) -> None:
        name = type(self).__name__
        for old in DEPRECATED:
            if old in named:
                raise TypeError(
                    f"{name}: {old} is deprecated in torch and not taken here: say "
                    'reduction="mean", "sum" or "none"'
                )
        signature = inspect.Signature(_settings(type(self).function))
        try:
            bound = signature.bind(*settings, **named)
        except TypeError as error:
            shown = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
            raise TypeError(f"{name}{inspect.Signature(shown)}: {error}") from None
        bound.apply_defaults()
        for parameter in signature.parameters.values():
            value = bound.arguments[parameter.name]
            if parameter.kind is parameter.VAR_KEYWORD:
                vars(self).update(value)
            else:
                vars(self)[parameter.name] = value
        known_reduction(vars(self).get("reduction", "mean"))

    def __call__(self, *operands: Any, **named: Any) -> Any:
        """The loss of the operands: for most ``(input, target)``."""
        return type(self).function(*operands, **named, **vars(self))

    def __repr__(self) -> str:
        """The settings that are not the defaults."""
        defaults = {p.name: p.default for p in _settings(type(self).function)}
        shown = [
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if name not in defaults or not _is_same(value, defaults[name])
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _settings(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a loss function that are settings: those that may be left out."""
    found = inspect.signature(function).parameters.values()
    return [
        p for p in found if p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.KEYWORD_ONLY)
    ]


def _is_same(value: Any, default: Any) -> bool:
    """Whether a setting is its default; a Tensor never is."""
    return value is default or (type(value) is type(default) and repr(value) == repr(default))
