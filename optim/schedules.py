"""Learning-rate schedules as functions of the step, in tensor ops.

``schedule(step)`` is the rate at a step counted from 0. Every setting may be a Tensor, and the
rate then has a gradient by it. Use one wherever a rule takes a rate::

    optim.AdamW(params, lr=warmup(cosine_decay(3e-3, 900), 100))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tapegrad import cos, minimum

Schedule = Callable[[Any], Any]


def constant(rate: Any) -> Schedule:
    """The same rate at every step.

    >>> import tapegrad as tg
    >>> tg.optim.schedules.constant(0.1)(7)
    0.1
    """

    def schedule(step: Any) -> Any:
        return rate

    return schedule


def cosine_decay(peak: Any, steps: int, floor: Any = 0.0) -> Schedule:
    """Half a cosine from ``peak`` at step 0 to ``floor`` at ``steps``, and ``floor`` after.

    rate = floor + (peak - floor)·(1 + cos(π·min(step, steps)/steps))/2

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.cosine_decay(0.1, 50)
    >>> [round(float(rate(step)), 6) for step in (0, 25, 50, 60)]
    [0.1, 0.05, 0.0, 0.0]

    Source: Loshchilov and Hutter (2017), SGDR.
    """

    def schedule(step: Any) -> Any:
        progress = minimum(step, steps) / steps
        return floor + (peak - floor) * 0.5 * (1.0 + cos(math.pi * progress))

    return schedule


def warmup(schedule: Schedule | Any, steps: int) -> Schedule:
    """Rise linearly over the first ``steps`` steps to the start of ``schedule``, then follow it.

    The first step already has rate start/steps, so that it is not lost.

    >>> import tapegrad as tg
    >>> rate = tg.optim.schedules.warmup(tg.optim.schedules.cosine_decay(0.1, 50), 4)
    >>> [round(float(rate(step)), 6) for step in (0, 1, 2, 3, 4, 29)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.05]

    Source: Goyal et al. (2017), Accurate, large minibatch SGD.
    """
    follow = schedule if callable(schedule) else constant(schedule)

    def warmed(step: Any) -> Any:
        rising = minimum(step + 1, steps) / steps
        return follow(step - minimum(step, steps)) * rising

    return warmed
