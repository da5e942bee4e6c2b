"""The table of optimizers: one row each, beside its class.

A row says which rule it is, its class, its other names, and with which settings it is tried. The
tests (trajectories against PyTorch, derivatives of training by every setting, zero gradients,
snapshots), the reference page and :func:`tapegrad.optim.get` all run over the rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tapegrad import Tensor, tensor

from .optimizer import Optimizer
from .rule import Rule

Settings = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Row:
    """An optimizer in the table.

    >>> import tapegrad as tg
    >>> row = next(row for row in tg.optim.OPTIMIZERS if row.name == "adam")
    >>> row.form, row.peer
    (<class 'tapegrad.optim.adams.Adam'>, 'torch')
    """

    #: The rule: settings to init and update.
    rule: Callable[..., Rule]
    #: Its class.
    form: type[Optimizer]
    #: What it is called elsewhere, for ``optim.get``.
    names: tuple[str, ...] = ()
    #: Settings to try it with, besides a learning rate of ``rate`` alone.
    settings: tuple[Settings, ...] = ()
    #: A learning rate that moves the test problem.
    rate: float = 0.1
    #: Real settings without a derivative, and those whose derivative is not looked for (a step
    #: count, a bound that is not reached).
    fixed: tuple[str, ...] = ()
    #: Whose trajectories it has: "torch" (torch.optim, the class of the same name) or "".
    peer: str = ""
    #: The shapes of parameters that it takes.
    shapes: tuple[tuple[int, ...], ...] = ((3,), (2, 3))
    #: Settings for the checks of derivatives, where the defaults hide them from finite differences
    #: (eps = 1e-8).
    checked: Settings | None = None
    #: Why the tests of the table do not fit, and where the tests are that do.
    apart: str = ""

    @property
    def name(self) -> str:
        """The name of the row: that of the rule."""
        return self.rule.__name__

    def tried(self) -> list[Settings]:
        """The settings to try: a rate alone, then the others with that rate."""
        rate = {"lr": self.rate} if "lr" in inspect.signature(self.rule).parameters else {}
        return [rate, *({**rate, **settings} for settings in self.settings)]

    def real_settings(self, settings: Settings) -> dict[str, Any]:
        """The settings (given, or else the defaults) that have a derivative, as Tensors; a tuple of
        numbers as a tuple of Tensors."""
        given = {
            name: p.default for name, p in inspect.signature(self.rule).parameters.items()
        } | settings
        return {
            name: _real(value)
            for name, value in given.items()
            if name not in self.fixed and _is_real(value)
        }


def _is_real(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) > 0 and all(map(_is_real, value))
    return type(value) is float or (isinstance(value, Tensor) and value.is_floating_point())


def _real(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_real, value))
    return tensor(value, dtype="float64") if type(value) is float else value
