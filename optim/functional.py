"""Update rules as pure functions: ``(params, grads, state) -> (params, state)``.

Every real setting may be a float, a Tensor or a schedule (a callable of the step), and the
result is differentiable by all of them.

>>> import tapegrad as tg
>>> rule = tg.optim.functional.sgd(lr=0.1)
>>> params = [tg.tensor([1.0, -2.0])]
>>> state = rule.init(params)
>>> params, state = rule.update(params, [2 * (params[0] - 3)], state)
>>> params[0]
tensor([ 1.4000, -1.0000])
"""

from __future__ import annotations

from . import clipping
from .adams import *
from .adaptive import *
from .adaptive_published import *
from .averages import *
from .clipping import *
from .descent import *
from .families import FAMILIES as _FAMILIES
from .hypergradient import Tuned, tower, tuned
from .layerwise import *
from .lbfgs import *
from .rule import Rule, State
from .schedule_free import *
from .signs import *
from .velocity import *
from .wrappers import *

#: The rules; the classes over them are in ``optim``.
__all__ = [
    "Rule",
    "State",
    "Tuned",
    "tower",
    "tuned",
    *clipping.__all__,
    *(name for family in _FAMILIES for name in family.__all__ if name.islower()),
]
