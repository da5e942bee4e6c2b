"""Two operations that serve the engine itself: a recorded assertion and a stop for gradients.

Both run as primitives, so that whatever replays or vectorizes operations (compiled functions,
``vmap``) meets them like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import CheckError
from ..families import constant
from ..registry import Sample
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
