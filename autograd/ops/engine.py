"""Two operations that serve the engine itself: a recorded assertion and a stop for gradients.

Both run as primitives, so that whatever replays or vectorizes operations (compiled functions,
``vmap``) meets them like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from .. import modes
from ..errors import CheckError
from ..families import constant
from ..registry import Sample
from ..tensors import Tensor
from ..values import NUMBERS


def _check(condition: Any, *values: Any, message: str | Callable[..., str]) -> Any:
    holds = np.all(condition)
    if not holds:
        text = message(*values) if callable(message) else message
        raise CheckError(text.format(*values) if values and not callable(message) else text)
    return holds


check_holds = constant(
    "check",
    _check,
    samples=[Sample([True, True], message="an entry is false")],
    doc="""The recorded assertion behind :func:`tapegrad.check`; its value is True.

    >>> import tapegrad as tg
    >>> tg.check(tg.tensor([True, True]), "an entry is false")
    """,
)


def _all_between(x: Any, *, low: Any, high: Any, also: Any = None) -> Any:
    if type(x) is not ndarray:
        good = (x >= low) & (x <= high)
    elif x.size > 10_000:  # without arrays of booleans
        good = bool(x.min() >= low and x.max() <= high)
    else:
        good = np.count_nonzero((x >= low) & (x <= high)) == x.size
    if also is None or good is True or (type(good) is np.bool and good):
        return good if type(good) in (bool, np.bool) else np.all(good)
    return np.all(((x >= low) & (x <= high)) | (x == also))


all_between = constant(
    "all_between",
    _all_between,
    samples=[Sample([0.5, 1.5], low=-2.0, high=2.0), Sample(0.5, low=1, high=2, also=0.5)],
    doc="""Whether low ≤ x ≤ high (or x = ``also``) for every element, which NaN is not.

    In one operation what :func:`tapegrad.check` is most often asked.

    >>> import tapegrad as tg
    >>> from tapegrad.ops.engine import all_between
    >>> all_between(tg.tensor([0.5, 1.5]), low=0, high=1)
    tensor(False)
    """,
)


def check(condition: Any, message: str | Callable[..., str], *values: Any) -> None:
    """Raise ValueError unless ``condition`` holds everywhere, as part of the computation.

    ``condition``: a bool, or a boolean array or Tensor. ``message``: the error's text, with
    ``{}`` for each of ``values``, or a function of the values that returns it (called only when
    the check fails). ``values`` may be Tensors. Unlike a Python ``if``, the check is an operation:
    a compiled function tests it again at every call, and ``vmap`` tests it over the whole batch.

    Raises CheckError, which is a ValueError.

    >>> import tapegrad as tg
    >>> p = tg.tensor([0.5, 1.5])
    >>> tg.check(p <= 1, "a probability is {}", p.max())
    Traceback (most recent call last):
    tapegrad.errors.CheckError: a probability is 1.5
    """
    if type(condition) is Tensor and modes.current() is None:
        holds = condition._value
        if holds is True or (type(holds) is np.bool and holds):
            return  # the common case, spelled out
    check_holds(condition, *values, message=message)


def _same(x: Any) -> Any:
    return x if type(x) in NUMBERS else x.copy()


stop_gradient = constant(
    "stop_gradient",
    _same,
    samples=[Sample([[0.5, -1.25], [2.0, 1.5]]), Sample(0.5)],
    doc="""The same values, held constant: the result is off the tape.

    For formulas that are published with a term held constant (running statistics, straight-through
    estimators, the advantage in REINFORCE). Unlike ``x.detach()`` it shares no memory with x.

    >>> import tapegrad as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (x * tg.stop_gradient(x)).backward()
    >>> x.grad
    tensor(3.)
    """,
)
