"""The errors that are the engine's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class ShapeError(RuntimeError, ValueError):
    """Operands whose shapes do not fit (a RuntimeError as in torch, a ValueError as in NumPy)."""


class CheckError(ValueError):
    """A recorded assertion (:func:`tapegrad.check`) that does not hold."""


class MissingAttribute(AttributeError):
    """An attribute that something does not have.

    ``hasattr`` raises and drops such errors, so that the names near it are looked for in
    ``str()`` alone.
    """

    def __init__(self, owner: Any, name: str) -> None:
        super().__init__(name, name=name, obj=owner)

    def __str__(self) -> str:
        from .lookup import near_to

        near = near_to(self.args[0], self.known())
        return self.said(f"; did you mean {near}?" if near else "")

    def known(self) -> Iterable[str]:
        """The names that may have been meant; none for protocols, which ask for _many."""
        return () if self.args[0].startswith("_") else dir(type(self.obj))

    def said(self, more: str) -> str:
        """The message."""
        return f"'{type(self.obj).__name__}' object has no attribute {self.args[0]!r}{more}"

    def __reduce__(self) -> Any:
        return AttributeError, (str(self),)


class MissingFromPackage(MissingAttribute):
    """A name that a package of the library does not have; ``owner`` is the package."""

    def known(self) -> Iterable[str]:
        return () if self.args[0].startswith("_") else dir(self.obj)

    def said(self, more: str) -> str:
        return f"module {vars(self.obj)['__name__']!r} has no attribute {self.args[0]!r}{more}"
