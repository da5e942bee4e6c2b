"""Things by name: whatever the case and punctuation, and the nearest to a name that is unknown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Thing = TypeVar("Thing")


def plain(name: str) -> str:
    """A name without case, spaces and punctuation.

    >>> from tapegrad.lookup import plain
    >>> plain("Schedule-free SGD"), plain("rms_prop")
    ('schedulefreesgd', 'rmsprop')
    """
    return re.sub(r"[^0-9a-z]", "", name.lower())


def spelled(
    claims: Iterable[tuple[str, Thing]], *spellings: Callable[[str], str]
) -> dict[str, tuple[str, Thing]]:
    """(name as given, thing) by key; a key that two claim is the first one's.

    ``spellings`` make keys of names, the stricter ones first: what the second one would give away
    is not taken from a name that the first one knows.

    >>> from tapegrad.lookup import plain, spelled
    >>> spelled([("L-BFGS", 1), ("lbfgs", 2), ("SGD", 3)], plain)
    {'lbfgs': ('L-BFGS', 1), 'sgd': ('SGD', 3)}
    """
    claims = list(claims)
    found: dict[str, tuple[str, Thing]] = {}
    for spelling in spellings:
        for name, thing in claims:
            if spelling(name):
                found.setdefault(spelling(name), (name, thing))
    return found


def near(
    key: str, names: Mapping[str, tuple[str, Any]], label: Callable[[Any], str], most: int = 4
) -> list[str]:
    """What is near to a key, one name of each thing, as it is shown.

    >>> from tapegrad.lookup import near
    >>> near("adm", {"adam": ("adam", "Adam"), "adamw": ("AdamW", "AdamW")}, str)
    ["'adam' (Adam)", "'AdamW'"]
    """
    return listed(difflib.get_close_matches(key, names, n=3 * most), names, label)[:most]


def listed(
    keys: Iterable[str], names: Mapping[str, tuple[str, Any]], label: Callable[[Any], str]
) -> list[str]:
    """What keys mean, one name of each thing, as it is shown.

    >>> from tapegrad.lookup import listed
    >>> listed(["a", "b", "c"], {"a": ("A", 1), "b": ("B", 1), "c": ("2", 2)}, str)
    ["'A' (1)", "'2'"]
    """
    shown: dict[str, str] = {}
    for key in keys:
        name, thing = names[key]
        is_called = label(thing)
        more = "" if is_called == name else f" ({is_called})"
        shown.setdefault(is_called, f"{name!r}{more}")
    return list(shown.values())


def near_to(name: str, known: Iterable[str], n: int = 3) -> str:
    """The known names nearest to one, quoted; empty when none is near.

    >>> from tapegrad.lookup import near_to
    >>> near_to("reshap", ["shape", "reshape", "sin"])
    "'reshape', 'shape'"
    """
    return ", ".join(map(repr, difflib.get_close_matches(name, list(dict.fromkeys(known)), n)))


def unknown(what: str, name: str, nearest: list[str], has_all: str) -> ValueError:
    """The error for a name that nothing has.

    >>> from tapegrad.lookup import unknown
    >>> unknown("optimizer", "adm", ["'adam' (Adam)"], "optim.OPTIMIZERS has all")
    ValueError("no optimizer is called 'adm'; near it are 'adam' (Adam); optim.OPTIMIZERS has all")
    """
    hint = f"near it are {', '.join(nearest)}; " if nearest else ""
    return ValueError(f"no {what} is called {name!r}; {hint}{has_all}")


def first_name(what: str, name: Any, names: Iterable[str], aliases: Mapping[str, str]) -> str:
    """Which of some names is meant, by itself or by an alias.

    Raises TypeError for what is no string, ValueError for a name that nothing has.

    >>> from tapegrad.lookup import first_name
    >>> first_name("task", "Two-class", ["binary"], {"two class": "binary"})
    'binary'
    """
    if not isinstance(name, str):
        raise TypeError(f"a {what} is named by a string, not {type(name).__name__}")
    known = spelled([*((own, own) for own in names), *aliases.items()], plain)
    if plain(name) not in known:
        nearest = near(plain(name), known, str)
        raise unknown(what, name, nearest, f"known are {', '.join(names)}")
    return known[plain(name)][1]
