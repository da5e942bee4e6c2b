"""The table of losses: one row each, beside its function in the family's file, gathered here.

A row says what a loss takes, its class, its other names, and with which settings it is tried. The
tests (values against PyTorch or Keras, derivatives of inputs and settings, refusals), the
reference page, the benchmarks and :func:`tapegrad.losses.get` all run over the rows.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tapegrad import Generator, Tensor, tensor

from .base import Loss
from .kinds import Kind

Setting = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Row:
    """A loss in the table: what it takes, what it is called, what it is tried with.

    Rows may be called as the loss itself.

    >>> import tapegrad as tg
    >>> row = next(row for row in tg.losses.LOSSES if row.name == "huber_loss")
    >>> row.form, row.names, row.peer
    (<class 'tapegrad.losses.regression.HuberLoss'>, ('huber',), 'torch')
    >>> row(*row.linked(row.draw(rows=2, columns=2))).shape
    ()
    """

    #: The loss as a function of operands and settings.
    function: Callable[..., Any]
    #: What its operands are.
    takes: tuple[Kind, ...]
    #: Its class.
    form: type[Loss] | None = None
    #: What it is called elsewhere (Keras's strings, short names), for ``losses.get``.
    names: tuple[str, ...] = ()
    #: Settings to try it with, besides none: numbers, other values, or a Kind to draw.
    settings: tuple[Setting, ...] = ()
    #: Real settings without a derivative (a tolerance, a constant of numerics).
    fixed: tuple[str, ...] = ()
    #: Whose numbers it gives: "torch" (torch.nn.functional, by the same name), "keras" (the class
    #: of the same name), "keras:Hinge" (the class of that name) or "".
    peer: str = ""
    #: Several rows may be about one function with other operands; this tells them apart.
    case: str = ""
    #: How to call the function if not as ``function(*operands, **settings)``.
    call: Callable[..., Any] | None = None
    #: Whether the second operand may have another number of rows than the first (two samples).
    uneven: bool = False

    @property
    def name(self) -> str:
        """The name of the row."""
        name = self.function.__name__
        return f"{name}, {self.case}" if self.case else name

    def __call__(self, *operands: Any, **settings: Any) -> Any:
        """The loss of operands."""
        if self.call is not None:
            return self.call(*operands, **settings)
        return self.function(*operands, **settings)

    def tried(self) -> list[Setting]:
        """The settings to try: the defaults, then the others."""
        return [{}, *self.settings]

    def draw(self, rows: int = 4, columns: int = 3) -> list[Tensor]:
        """Numbers for the operands, before their links; always the same."""
        return [kind.draw(rows, columns, self._source(str(i))) for i, kind in enumerate(self.takes)]

    def linked(self, drawn: list[Tensor]) -> list[Tensor]:
        """Drawn numbers as operands, in their domains."""
        return [x if kind.link is None else kind.link(x) for kind, x in zip(self.takes, drawn)]

    def drawn_settings(self, settings: Setting, rows: int = 4, columns: int = 3) -> Setting:
        """Settings with a Kind replaced by what it draws, in its domain."""
        return {
            name: self._drawn(name, value, rows, columns) if isinstance(value, Kind) else value
            for name, value in settings.items()
        }

    def real_settings(self, settings: Setting) -> dict[str, Tensor]:
        """The settings (given, or else the defaults) that have a derivative, as Tensors."""
        given = {
            p.name: p.default
            for p in inspect.signature(self.function).parameters.values()
            if type(p.default) is float
        } | self.drawn_settings(settings)
        found: dict[str, Tensor] = {}
        value: Any
        for name, value in given.items():
            if type(value) is float:
                value = tensor(value, dtype="float64")
            if name not in self.fixed and isinstance(value, Tensor) and value.is_floating_point():
                found[name] = value
        return found

    def _drawn(self, name: str, kind: Kind, rows: int, columns: int) -> Tensor:
        value = kind.draw(rows, columns, self._source(name))
        return value if kind.link is None else kind.link(value)

    def _source(self, what: str) -> Generator:
        return Generator().manual_seed(zlib.crc32(f"{self.name} {what}".encode()))
