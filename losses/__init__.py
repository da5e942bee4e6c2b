"""Losses: every formula a composition of tensor ops, so every derivative is derived.

>>> import tapegrad as tg
>>> tg.losses.mse_loss(tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0]))
tensor(5.)
"""

from __future__ import annotations

from . import classification, reducing, regression
from .classification import *
from .reducing import *
from .regression import *

__all__ = [*reducing.__all__, *regression.__all__, *classification.__all__]
