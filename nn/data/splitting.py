"""A dataset in parts."""

from __future__ import annotations

import itertools
import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

from tapegrad import Generator, randperm

from .datasets import Subset

__all__ = ["random_split"]


def random_split(
    dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset]:
    """A dataset in parts that share no sample, drawn at random.

    ``lengths``: how many samples each part gets; or fractions that add up to 1, of which each is
    rounded down and what then remains goes one by one to the parts in their order.

    Raises ValueError when the lengths do not add up to the dataset's, or one is negative. Warns of
    a part without samples.

    >>> import tapegrad as tg
    >>> train, test = tg.nn.data.random_split(range(10), [0.75, 0.25])
    >>> len(train), len(test), sorted([*train, *test]) == list(range(10))
    (8, 2, True)

    The parts of a dataset of tensors are tensors again by :func:`as_tensors`.
    """
    n, wanted = len(dataset), list(lengths)
    for i, length in enumerate(wanted):
        if not length >= 0:
            raise ValueError(f"random_split: length {i} is {length}, which is less than nothing")
    if math.isclose(sum(wanted), 1.0):
        counts = [math.floor(n * fraction) for fraction in wanted]
        # rounding can also give one too many: fractions may add up to a little more than 1
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
        for i, count in enumerate(counts):
            if not count:
                warnings.warn(
                    f"random_split: part {i} has no samples ({wanted[i]} of {n})", stacklevel=2
                )
    elif all(hasattr(type(length), "__index__") for length in wanted):
        counts = [operator.index(length) for length in wanted]  # type: ignore[arg-type]
    else:
        raise ValueError(
            f"random_split: fractions must add up to 1, {wanted} to {sum(wanted)}; lengths are "
            "integers"
        )
    if sum(counts) != n:
        raise ValueError(
            f"random_split: lengths {wanted} add up to {sum(counts)}, the dataset has {n} samples"
        )
    order = randperm(n, generator=generator).tolist()
    return [
        Subset(dataset, order[end - count : end])
        for end, count in zip(itertools.accumulate(counts), counts)
    ]
