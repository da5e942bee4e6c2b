"""Helpers by the names of torch.nn.utils."""

from __future__ import annotations

from . import clip_grad, convert_parameters, parametrizations, parametrize, rnn
from .clip_grad import *
from .convert_parameters import *

__all__ = [
    "parametrizations",
    "parametrize",
    "rnn",
    *clip_grad.__all__,
    *convert_parameters.__all__,
]
