"""Layers, their initialisation and what training needs, by torch's names.

>>> import tapegrad as tg
>>> model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.Tanh(), tg.nn.Linear(3, 1))
>>> model(tg.ones(4, 2)).shape
(4, 1)
"""

from __future__ import annotations

from tapegrad.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
)

from . import data, functional, init, metrics, utils
from .activations import Identity, ReLU, Sigmoid, Softmax, Tanh
from .linear import Flatten, Linear
from .module import Module, Parameter, Sequential

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Flatten",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "Linear",
    "MSELoss",
    "Module",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "data",
    "functional",
    "init",
    "metrics",
    "utils",
]
