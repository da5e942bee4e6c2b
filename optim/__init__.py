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

from . import classes, functional, schedules
from .classes import *
from .optimizer import Optimizer

__all__ = [*classes.__all__, "Optimizer", "functional", "schedules"]
