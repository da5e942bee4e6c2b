"""Layers, their initialisation and what training needs, by torch's names.

>>> import tapegrad as tg
>>> model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.Tanh(), tg.nn.Linear(3, 1))
>>> model(tg.ones(4, 2)).shape
(4, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from tapegrad import losses as _losses

from . import activations, data, distances, functional, init, linear, metrics, module, utils
from .activations import *
from .distances import *
from .linear import *
from .module import *

# The loss classes appear here under their PyTorch names; the table of losses lists them once.
# Keras's do not: its CosineSimilarity is a loss, PyTorch's a layer.
if _TYPE_CHECKING:
    from tapegrad.losses import *
_LOSSES = {
    row.form.__name__: row.form
    for row in _losses.LOSSES
    if row.form and "keras" not in row.form.__module__
}
globals().update(_LOSSES)

__all__ = [
    *activations.__all__,
    *distances.__all__,
    *linear.__all__,
    *module.__all__,
    *_LOSSES,
    "data",
    "functional",
    "init",
    "metrics",
    "utils",
]
