"""Initial values of weights: functions that fill a tensor in place, by torch's names.

:mod:`tapegrad.nn.init.functional` has the same as functions of a shape, whose results carry the
derivative by their scale. :func:`recommend` says which one suits an activation, and why.

>>> import tapegrad as tg
>>> layer = tg.nn.Linear(256, 128)
>>> tg.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu").shape
(128, 256)
"""

from __future__ import annotations

from . import functional
from .fans import calculate_fan_in_and_fan_out, calculate_gain
from .filling import (
    constant_,
    dirac_,
    eye_,
    glorot_normal_,
    glorot_uniform_,
    he_normal_,
    he_uniform_,
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    normal_,
    ones_,
    orthogonal_,
    sparse_,
    trunc_normal_,
    uniform_,
    variance_scaling_,
    xavier_normal_,
    xavier_uniform_,
    zeros_,
)
from .recommending import Recommendation, recommend

__all__ = [
    "Recommendation",
    "calculate_fan_in_and_fan_out",
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "functional",
    "glorot_normal_",
    "glorot_uniform_",
    "he_normal_",
    "he_uniform_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "recommend",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "variance_scaling_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]
