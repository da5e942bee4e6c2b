"""Reductions. Primitives take ``axis`` as a tuple of non-negative ints, and ``keepdims``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, linear
from ..values import shape_of
from .shaping import M23, M234, expand, expand_dims


def _spread(g: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    return expand(g if keepdims else expand_dims(g, axis=axis), shape=shape_of(x))


sum = linear(
    "sum",
    lambda x, *, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims),
    _spread,
    samples=[
        Sample(M23, axis=(0, 1), keepdims=False),
        Sample(M23, axis=(1,), keepdims=True),
        Sample(M234, axis=(0, 2), keepdims=False),
        Sample(0.5, axis=(), keepdims=False),
    ],
)
