"""Losses by name, and names for losses of one's own.

A loss goes by the names of its class and function and by those of its row in the table: PyTorch's
``"CrossEntropyLoss"`` and ``"cross_entropy"``, Keras's ``"categorical_crossentropy"``, short ones.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from tapegrad.lookup import listed, near, plain, spelled, unknown

from .base import Loss

__all__ = ["get", "register"]

#: What `register` has named, by key.
_REGISTERED: dict[str, tuple[str, Callable[..., Any]]] = {}

#: Says too little: PyTorch's cross_entropy takes logits, what Keras spells so takes probabilities.
_AMBIGUOUS = {
    "crossentropy": (
        "cross_entropy",
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
        "binary_crossentropy",
    )
}


def get(identifier: Any, **settings: Any) -> Callable[..., Any]:
    """The loss of that name, with settings; a callable is taken for a loss as it is.

    ``identifier``: a name as PyTorch ("SmoothL1Loss", "nn.MSELoss", "mse_loss") or Keras
    ("categorical_crossentropy", "MeanSquaredError", "kld") spells it, a short one ("ce", "mae"),
    or one given by :func:`register`; case, spaces and punctuation do not matter. The result is an
    instance of the loss's class, or the function if it has no class. Or a callable of tensors,
    which is returned; a class is called with the settings first.

    Raises ValueError for an unknown name, with the nearest known ones; TypeError for what is
    neither a name nor callable, and for settings that the loss does not have.

    >>> import tapegrad as tg
    >>> tg.losses.get("HuberLoss", delta=0.5), tg.losses.get("huber"), tg.losses.get("nn.L1Loss")
    (HuberLoss(delta=0.5), HuberLoss(), L1Loss())
    >>> tg.losses.get(lambda y, t: ((y - t) ** 4).mean())(tg.tensor([2.0]), tg.tensor([0.0]))
    tensor(16.)
    >>> tg.losses.get("hubr")
    Traceback (most recent call last):
    ...
    ValueError: no loss is called 'hubr'; near it are 'huber' (HuberLoss); losses.LOSSES has all
    """
    if isinstance(identifier, str):
        return _with_settings(identifier, _found(identifier), settings)
    if callable(identifier):
        name = getattr(identifier, "__name__", type(identifier).__name__)
        return _with_settings(name, identifier, settings)
    raise TypeError(
        "a loss is given by its name (a string), a function of tensors, a loss class or an "
        f"instance of one, not {'None' if identifier is None else type(identifier).__name__}"
    )


def register(
    name: str, function_or_class: Callable[..., Any] | None = None, *, override: bool = False
) -> Callable[..., Any]:
    """Give a callable of tensors a name for :func:`get`; without it, a decorator that does so.

    ``function_or_class``: called as ``(input, target)`` or with whatever operands it takes; a
    class, such as one of :class:`Loss`, is first called with the settings. It is returned.
    ``override``: whether the name may be one that is there already; then the new loss is found.
    A definition that is made again, as by running the cell of a notebook twice, needs no override:
    a function or class of the same module and name takes the place of the former one (unless it
    is defined inside a function, where there may be several of one name).

    Raises ValueError for a name that exists, compared without case and punctuation, TypeError for
    what cannot be called.

    >>> import tapegrad as tg
    >>> @tg.losses.register("fourth power")
    ... def fourth_power(input, target, scale=1.0):
    ...     return tg.losses.reduce(scale * (input - target) ** 4)
    >>> tg.losses.get("fourth_power", scale=0.5)(tg.tensor([2.0]), tg.tensor([0.0]))
    tensor(8.)
    """
    if not isinstance(name, str):
        raise TypeError(f"register: the name must be a string, not {type(name).__name__}")
    if function_or_class is None:
        return functools.partial(_named, name, override)
    return _named(name, override, function_or_class)


def _named(name: str, override: bool, thing: Callable[..., Any]) -> Callable[..., Any]:
    if not callable(thing):
        raise TypeError(
            f"register: {name!r} must be a function of tensors or a class of such, "
            f"not {type(thing).__name__}"
        )
    key = plain(name)
    if not key:
        raise ValueError(f"register: a name has letters or digits, {name!r} has none")
    known = _REGISTERED.get(key) or _known().get(key)
    if known is not None and not override and not _is_again(thing, known[1]):
        raise ValueError(
            f"register: there is a loss {known[0]!r} ({_name_of(known[1])}) already; choose "
            f"another name than {name!r}, or say override=True"
        )
    _REGISTERED[key] = name, thing
    return thing


def _is_again(thing: Any, former: Any) -> bool:
    """Whether two things are one, or come from the same definition, not inside a function."""
    name = getattr(thing, "__qualname__", "<no name>")
    same_name = name == getattr(former, "__qualname__", None) and "<" not in name
    return thing is former or (same_name and thing.__module__ == former.__module__)


def _with_settings(name: str, thing: Any, settings: dict[str, Any]) -> Callable[..., Any]:
    """An instance of a class, or a callable, with settings."""
    if inspect.isclass(thing):
        thing = thing(**settings)
    elif settings:
        thing = _bound(name, thing, settings)
    made: Callable[..., Any] = thing
    return made


def _bound(name: str, thing: Any, settings: dict[str, Any]) -> Callable[..., Any]:
    """A function with settings that it has."""
    if isinstance(thing, Loss):
        raise TypeError(f"{name}: {thing!r} is made already; give the settings to its class")
    try:
        inspect.signature(thing).bind_partial(**settings)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    return functools.partial(thing, **settings)


def _found(name: str) -> Callable[..., Any]:
    """The class or function that a name means."""
    last = name.rpartition(".")[2]  # nn.MSELoss, F.mse_loss
    key = plain(last)
    if key in _REGISTERED:
        return _REGISTERED[key][1]
    known = _known()
    # PyTorch's binary_cross_entropy and Keras's binary_crossentropy differ in punctuation alone.
    words = re.sub(r"[^0-9a-z]+", "_", last.lower()).strip("_")
    if key not in _AMBIGUOUS or words != key:
        for spelling in (words, key, key.removesuffix("loss")):
            if spelling and spelling in known:
                return known[spelling][1]
    names = known | _REGISTERED
    if key in _AMBIGUOUS:
        nearest = listed(_AMBIGUOUS[key], names, _name_of)
    else:
        nearest = near(key, names, _name_of)
    raise unknown("loss", name, nearest, "losses.LOSSES has all")


def _name_of(thing: Any) -> str:
    return getattr(thing, "__name__", None) or repr(thing)


@functools.cache
def _known() -> dict[str, tuple[str, Callable[..., Any]]]:
    """Every spelling in the table: (as it is written there, class or function).

    Spellings are keys, and names in small letters with their underscores. Where two rows claim a
    key the first one has it: tests see to it that this is meant.
    """
    from .families import FAMILIES, LOSSES  # the families may themselves take losses by name

    forms = {row.function: row.form for row in LOSSES if row.form}
    claims: list[tuple[str, Callable[..., Any]]] = []
    for row in LOSSES:
        thing = forms.get(row.function, row.function)
        claims += ((name, thing) for name in (*row.names, thing.__name__, row.function.__name__))
    for family in FAMILIES:  # classes that are no row of their own: presets and the like
        for name in family.__all__:
            thing = getattr(family, name)
            if inspect.isclass(thing) and issubclass(thing, Loss):
                claims.append((name, thing))
    return spelled(claims, str.lower, plain, lambda name: plain(name).removesuffix("loss"))
