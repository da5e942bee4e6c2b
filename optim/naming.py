"""Optimizers by name: PyTorch's and Keras's names of classes, those of rules, and a few others."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from tapegrad.lookup import near, plain, spelled, unknown

from .optimizer import Optimizer

__all__ = ["get"]

#: Names of a class with a setting or two: (class, settings).
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "AMSGrad": ("Adam", {"amsgrad": True}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "SGD + momentum": ("SGD", {"momentum": 0.9}),
    "Nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "gradient descent": ("SGD", {}),
}

#: A class and settings of it.
Form = tuple[type[Optimizer], dict[str, Any]]


def get(identifier: Any, params: Any = None, **settings: Any) -> Optimizer:
    """The optimizer of that name, with settings; one that is made already is returned as it is.

    ``identifier``: a name as PyTorch ("AdamW", "torch.optim.SGD") or Keras ("rmsprop",
    "keras.optimizers.Adam") spells it, that of a rule, or another ("SGD + momentum", "amsgrad");
    case, spaces and punctuation do not matter. Or a class, or an optimizer. ``params``: what the
    class takes; None leaves them to be bound later, by ``add_param_group`` or a Trainer.
    ``settings``: the class's, by PyTorch's or Keras's names; what is not given is at PyTorch's
    default, also where Keras's differs (the rate of "sgd").

    Raises ValueError for an unknown name, with the nearest known ones; TypeError for what is none
    of these, for settings that the optimizer does not have, and for parameters or settings beside
    an optimizer that is made already.

    >>> import tapegrad as tg
    >>> w = tg.ones(2, requires_grad=True)
    >>> optimizer = tg.optim.get("adam", [w], lr=0.01)
    >>> type(optimizer).__name__, optimizer.param_groups[0]["lr"]
    ('Adam', 0.01)
    >>> tg.optim.get("SGD + momentum").defaults["momentum"]
    0.9
    >>> tg.optim.get("nestrov")
    Traceback (most recent call last):
    ...
    ValueError: no optimizer is called 'nestrov'; near it are 'Nesterov' (SGD); ...
    """
    if isinstance(identifier, Optimizer):
        if params is not None or settings:
            raise TypeError(
                f"get: the {type(identifier).__name__} is made already; give parameters and "
                "settings to its class"
            )
        return identifier
    if isinstance(identifier, str):
        form, preset = found(identifier)
        return form(params, **{**preset, **settings})
    if inspect.isclass(identifier) and issubclass(identifier, Optimizer):
        return identifier(params, **settings)
    raise TypeError(
        "an optimizer is given by its name (a string), its class or an instance of one, not "
        f"{'None' if identifier is None else type(identifier).__name__}"
    )


def found(name: str) -> Form:
    """The class that a name means, and the settings that it says.

    >>> from tapegrad.optim.naming import found
    >>> found("torch.optim.AdamW"), found("amsgrad")[1]
    ((<class 'tapegrad.optim.adams.AdamW'>, {}), {'amsgrad': True})
    """
    key = plain(name.rpartition(".")[2])  # torch.optim.Adam
    names = known()
    if key in names:
        return names[key][1]
    nearest = near(key, names, lambda form: form[0].__name__)
    raise unknown("optimizer", name, nearest, "optim.OPTIMIZERS has all")


@functools.cache
def known() -> dict[str, tuple[str, Form]]:
    """Every name, by what is left of it without case and punctuation.

    >>> from tapegrad.optim.naming import known
    >>> known()["rmsprop"]
    ('RMSprop', (<class 'tapegrad.optim.adaptive.RMSprop'>, {}))
    """
    from .families import FAMILIES, OPTIMIZERS  # the families may themselves use names

    classes = {row.form.__name__: row.form for row in OPTIMIZERS}
    for family in FAMILIES:  # classes that are no row of their own
        for name in family.__all__:
            form = getattr(family, name)
            if inspect.isclass(form) and issubclass(form, Optimizer):
                classes.setdefault(name, form)
    claims: list[tuple[str, Form]] = [(name, (form, {})) for name, form in classes.items()]
    for row in OPTIMIZERS:
        claims += ((name, (row.form, {})) for name in (row.rule.__name__, *row.names))
    claims += ((name, (classes[form], given)) for name, (form, given) in PRESETS.items())
    return spelled(claims, plain)
