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

from . import adams, clipping, descent
from .adams import *
from .clipping import *
from .descent import *
from .rule import Rule, State

__all__ = ["Rule", "State", *adams.__all__, *clipping.__all__, *descent.__all__]
