"""The classes of losses as modules: a criterion can do what a layer can, as torch's."""

from __future__ import annotations

from typing import Any, ClassVar

from tapegrad import Tensor
from tapegrad.losses import LOSSES, Loss

from .module import Module
from .parameter import Parameter


class LossModule(Module):
    """A loss that is a module. Settings that are tensors are buffers of it, or parameters."""

    form: ClassVar[type[Loss]]
    _settings: list[str]

    def __init__(self, *settings: Any, **named: Any) -> None:
        super().__init__()
        made = vars(self.form(*settings, **named))
        for name, value in made.items():
            if isinstance(value, Tensor) and not isinstance(value, Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)
        self._settings = list(made)

    def _loss(self) -> Loss:
        """The loss alone, with the settings as they are now."""
        made: Loss = object.__new__(self.form)
        vars(made).update((name, getattr(self, name)) for name in self._settings)
        return made

    def forward(self, *operands: Any, **named: Any) -> Any:
        """The loss of the operands."""
        return self._loss()(*operands, **named)

    def __repr__(self) -> str:
        return repr(self._loss())


def as_module(form: type[Loss]) -> type[LossModule]:
    """A class of losses as one of modules, of the same name."""
    about = {"__doc__": form.__doc__, "__module__": __name__, "form": form}
    return type(form.__name__, (LossModule, form), about)


#: Those with PyTorch's names or none elsewhere. Keras's are others by the same names: its
#: CosineSimilarity is a loss, PyTorch's a layer.
LOSS_MODULES = {
    row.form.__name__: as_module(row.form)
    for row in LOSSES
    if row.form and "keras" not in row.form.__module__
}
globals().update(LOSS_MODULES)  # where pickle looks for a class
