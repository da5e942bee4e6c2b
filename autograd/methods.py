"""Attach functions to Tensor as operators and methods."""

from __future__ import annotations

from . import creation, gradients, inplace, protocols, sampling
from .functions import (
    arithmetic,
    comparing,
    converting,
    convolutions,
    distances,
    indexing,
    joining,
    matrices,
    pooling,
    products,
    reductions,
    scans,
    scattering,
    shaping,
    softmaxes,
    sorting,
    specials,
    statistics,
    windows,
)
from .tensors import Tensor

FUNCTION_MODULES = (
    arithmetic,
    comparing,
    converting,
    convolutions,
    distances,
    indexing,
    joining,
    matrices,
    pooling,
    products,
    reductions,
    scans,
    scattering,
    shaping,
    softmaxes,
    sorting,
    specials,
    statistics,
    windows,
)


def attach() -> None:
    """Give Tensor its methods; called once, on import."""
    for module in (*FUNCTION_MODULES, creation, sampling, inplace, protocols):
        for name, function in module.METHODS.items():
            setattr(Tensor, name, function)
    inplace.describe()
    for function in (gradients.backward, gradients.register_post_accumulate_grad_hook):
        setattr(Tensor, function.__name__, function)


attach()
