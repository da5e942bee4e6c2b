"""What operands losses take, said once: how to draw some for tests and benchmarks.

A kind draws unrestricted numbers, and its ``link`` brings them into the domain (probabilities by
a sigmoid, distributions by a softmax). Derivatives are checked through the link, which keeps
differences off the edge of the domain. A kind without a link (labels) has no derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tapegrad import Tensor, exp, log_softmax, rand, randint, randn, sigmoid, softmax, where

#: (rows, columns, generator) -> the numbers of an operand
Draw = Callable[[int, int, Any], Tensor]


def same(x: Tensor) -> Tensor:
    """The link of an operand that may be any real number."""
    return x


class Kind(NamedTuple):
    """How an operand is drawn, and the link from real numbers to its domain (None: no reals)."""

    draw: Draw
    link: Callable[[Tensor], Tensor] | None = same


def _normal(rows: int, columns: int, generator: Any) -> Tensor:
    return randn(rows, columns, dtype="float64", generator=generator)


def _normal_rows(rows: int, columns: int, generator: Any) -> Tensor:
    return randn(rows, dtype="float64", generator=generator)


def _normal_columns(rows: int, columns: int, generator: Any) -> Tensor:
    return randn(columns, dtype="float64", generator=generator)


def _coins(*shape: int, generator: Any) -> Tensor:
    return rand(*shape, dtype="float64", generator=generator) < 0.5


# (rows, columns)
REAL = Kind(_normal)
LOGITS = Kind(lambda n, c, g: 2.0 * _normal(n, c, g))
POSITIVE = Kind(_normal, exp)
PROBABILITY = Kind(_normal, sigmoid)
DISTRIBUTION = Kind(_normal, lambda x: softmax(x, dim=1))
LOG_DISTRIBUTION = Kind(_normal, lambda x: log_softmax(x, dim=1))
BINARY = Kind(lambda n, c, g: where(_coins(n, c, generator=g), 1.0, 0.0).double(), None)
SIGN = Kind(lambda n, c, g: where(_coins(n, c, generator=g), 1.0, -1.0).double(), None)
# (rows,)
REALS = Kind(_normal_rows)
PROBABILITIES = Kind(_normal_rows, sigmoid)
SIGNS = Kind(lambda n, c, g: where(_coins(n, generator=g), 1.0, -1.0).double(), None)
BITS = Kind(lambda n, c, g: where(_coins(n, generator=g), 1.0, 0.0).double(), None)
LABELS = Kind(lambda n, c, g: randint(0, c, (n,), generator=g), None)
# (columns,)
PER_CLASS = Kind(_normal_columns, exp)
