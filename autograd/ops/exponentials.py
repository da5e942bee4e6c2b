"""Exponentials and logarithms."""

from __future__ import annotations

import numpy as np

from ..primitive import Sample, elementwise
from .arithmetic import A, POSITIVE

exp = elementwise("exp", np.exp, lambda y, _x: y, analytic=True, samples=[Sample(A), Sample(0.5)])
log = elementwise(
    "log", np.log, lambda _y, x: 1.0 / x, analytic=True, samples=[Sample(POSITIVE), Sample(0.5)]
)
sqrt = elementwise(
    "sqrt", np.sqrt, lambda y, _x: 0.5 / y, analytic=True, samples=[Sample(POSITIVE)]
)
tanh = elementwise("tanh", np.tanh, lambda y, _x: 1.0 - y * y, analytic=True, samples=[Sample(A)])
