"""Errors about names that are not there; what is there is looked up only when one is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapegrad.errors import MissingAttribute

#: So many names are listed; of more, the first.
SHOWN = 12


class MissingFromModule(MissingAttribute):
    """An attribute that a module does not have."""

    def known(self) -> list[str]:
        private = self.args[0].startswith("_")
        names = [*names_in(self.obj), *vars(self.obj), *super().known()]
        return [n for n in names if private or not n.startswith("_")]

    def said(self, more: str) -> str:
        registered, kind = names_in(self.obj), type(self.obj).__name__
        if not registered and "_parameters" not in vars(self.obj):
            more = f": super().__init__() was not called in {kind}.__init__"
        return super().said(more or f"; it has {listed(registered)}")


def names_in(module: Any) -> list[str]:
    """The parameters, buffers and modules that a module holds itself."""
    kinds = ("_parameters", "_buffers", "_modules")
    return [name for kind in kinds for name in vars(module).get(kind, ())]


def listed(names: Iterable[str]) -> str:
    """Names in a row, the first of many."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(map(repr, names[:SHOWN])) or "none") + more
