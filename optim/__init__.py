"""Optimizers: each algorithm once, as a pure rule in tensor ops, and one stateful shell.

>>> import tapegrad as tg
>>> w = tg.tensor([1.0, -2.0], requires_grad=True)
>>> optimizer = tg.optim.SGD([w], lr=0.1)
>>> ((w - 3) ** 2).sum().backward()
>>> optimizer.step()
>>> w
tensor([ 1.4000, -1.0000], requires_grad=True)
"""

from __future__ import annotations

from . import functional, lr_scheduler, schedules
from .adams import *
from .adaptive import *
from .adaptive_published import *
from .averages import *
from .descent import *
from .families import FAMILIES as _FAMILIES
from .families import OPTIMIZERS
from .layerwise import *
from .lbfgs import *
from .naming import get
from .optimizer import Optimizer
from .schedule_free import *
from .sensitivities import Sensitivity, sensitivity
from .signs import *
from .suggesting import Suggestion, suggest
from .table import Row
from .unrolling import unroll
from .velocity import *
from .wrappers import *

#: The classes; the rules under them are in ``functional``.
__all__ = [
    "OPTIMIZERS",
    "Optimizer",
    "Row",
    "Suggestion",
    *(name for family in _FAMILIES for name in family.__all__ if name[0].isupper()),
    "functional",
    "get",
    "lr_scheduler",
    "schedules",
    "Sensitivity",
    "sensitivity",
    "suggest",
    "unroll",
]
