"""Layers, their initialisation and what training needs, by torch's names.

>>> import tapegrad as tg
>>> model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.Tanh(), tg.nn.Linear(3, 1))
>>> model(tg.ones(4, 2)).shape
(4, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from tapegrad.errors import MissingFromPackage as _MissingFromPackage

# A file of layers takes one line here; its public names are those in its __all__.
from . import functional, init
from .activations import *
from .activations_piecewise import *
from .attention import *
from .containers import *
from .convolution import *
from .distances import *
from .dropout import *
from .linear import *
from .loss_modules import LOSS_MODULES as _LOSS_MODULES
from .module import *
from .normalization import *
from .padding import *
from .parameter import *
from .parameter_containers import *
from .perceptron import *
from .pooling import *
from .positional import *
from .recurrent import *
from .recurrent_cells import *
from .residual import *
from .sparse import *
from .transformer import *

# The classes of losses are modules here; the table of losses lists them once.
if _TYPE_CHECKING:
    from tapegrad.losses import *

    from . import callbacks, data, metrics, utils
    from .diagnosing import Diagnosis, LayerHealth, Problem, diagnose
    from .estimators import TapegradClassifier, TapegradRegressor
    from .landscapes import LossLandscape, loss_landscape
    from .rate_range import RateRange, lr_range_test
    from .summarizing import Summary, SummaryRow, summary
    from .trainer import NonFiniteLoss, Trainer
globals().update(_LOSS_MODULES)

#: What is loaded when first asked for: a module (None), or the module in which a name lies.
_LATER: dict[str, str | None] = {
    "callbacks": None,
    "data": None,
    "metrics": None,
    "utils": None,
    **dict.fromkeys(("Summary", "SummaryRow", "summary"), "summarizing"),
    **dict.fromkeys(("Diagnosis", "LayerHealth", "Problem", "diagnose"), "diagnosing"),
    **dict.fromkeys(("LossLandscape", "loss_landscape"), "landscapes"),
    **dict.fromkeys(("RateRange", "lr_range_test"), "rate_range"),
    **dict.fromkeys(("NonFiniteLoss", "Trainer"), "trainer"),
    **dict.fromkeys(("TapegradClassifier", "TapegradRegressor"), "estimators"),
}

__all__ = [
    *("functional", "init", *_LATER),
    *(n for n, thing in globals().items() if isinstance(thing, type) and not n.startswith("_")),
]


def __getattr__(name: str) -> _Any:
    """Load what is loaded late."""
    import importlib

    if name not in _LATER:
        raise _MissingFromPackage(importlib.import_module(__name__), name)
    place = _LATER[name]
    found = importlib.import_module(f"{__name__}.{place or name}")
    if place is not None:
        found = globals()[name] = getattr(found, name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
