"""Errors about names that are not there; what is there is looked up only when one is shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

#: So many names are listed; of more, the first.
SHOWN = 12


class MissingAttribute(AttributeError):
    """An attribute that a module does not have.

    ``hasattr`` raises and drops such errors, so that the names near it are looked for in
    ``str()`` alone.
    """

    def __init__(self, module: Any, name: str) -> None:
        super().__init__(name, name=name, obj=module)

    def __str__(self) -> str:
        module, name = self.obj, str(self.name)
        kind = type(module).__name__
        registered = names_in(module)
        if not registered and "_parameters" not in vars(module):
            return (
                f"'{kind}' object has no attribute {name!r}: super().__init__() was not called in "
                f"{kind}.__init__"
            )
        known = [*registered, *vars(module), *dir(type(module))]
        near = near_to(name, [n for n in known if not n.startswith("_") or name.startswith("_")])
        said = f"; did you mean {near}?" if near else f"; it has {listed(registered)}"
        return f"'{kind}' object has no attribute {name!r}{said}"

    def __reduce__(self) -> Any:
        return AttributeError, (str(self),)


def names_in(module: Any) -> list[str]:
    """The parameters, buffers and modules that a module holds itself."""
    kinds = ("_parameters", "_buffers", "_modules")
    return [name for kind in kinds for name in vars(module).get(kind, ())]


def near_to(name: str, known: Iterable[str], n: int = 3) -> str:
    """The known names nearest to one, quoted; empty when none is near."""
    return ", ".join(map(repr, difflib.get_close_matches(name, list(dict.fromkeys(known)), n=n)))


def listed(names: Iterable[str]) -> str:
    """Names in a row, the first of many."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(map(repr, names[:SHOWN])) or "none") + more
