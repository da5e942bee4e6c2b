"""What a check looks along, and the analytic slopes there: lines through the point, and the ways of
computing the derivative along one."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from .check_problem import Problem
from .tensors import Tensor


class Probe:
    """One line through the point: an entry, some entries of an input, or all inputs together."""

    def __init__(
        self, problem: Problem, variables: Sequence[int], label: str, scale: float
    ) -> None:
        self.variables, self.label, self.scale = list(variables), label, scale
        self.direction: list[ndarray | None] = [None] * len(problem.values)
        self.values = problem.values
        self.entries: ndarray | None = None  # flat positions, where it is about part of one input

    def at(self, t: Any) -> list[ndarray]:
        """The inputs moved by ``t`` along the line."""
        return [x if v is None else x + t * v for x, v in zip(self.values, self.direction)]


class Way(abc.ABC):
    """One way of computing the analytic slopes: which measured rows, and how."""

    def __init__(self, label: str, rows: ndarray) -> None:
        self.label, self.rows = label, rows

    @abc.abstractmethod
    def along(self, probe: Probe) -> ndarray:
        """The slopes along a probe."""

    def infinite(self, probe: Probe) -> ndarray:
        """Which rows belong to a slope that is infinite elsewhere: a tangent or cotangent of zero
        then gives 0 · inf, NaN by the chain rule, which says nothing about the rule."""
        raise TypeError(f"{type(self).__name__} does not tell infinite slopes")


class Pushed(Way):
    """Forward mode: tangents pushed along a recorded graph."""

    def __init__(
        self,
        label: str,
        rows: ndarray,
        problem: Problem,
        ys: list[Tensor],
        leaves: list[Tensor],
        everywhere: list[ndarray],
    ) -> None:
        super().__init__(label, rows)
        self.problem, self.ys, self.leaves, self.everywhere = problem, ys, leaves, everywhere

    def along(self, probe: Probe) -> ndarray:
        return self.problem.push(self.ys, self.leaves, probe.direction)

    def infinite(self, probe: Probe) -> ndarray:
        return np.isinf(self.problem.push(self.ys, self.leaves, self.everywhere))


class Pulled(Way):
    """Reverse mode: a gradient for each row, and one of all rows together."""

    def __init__(
        self, label: str, rows: ndarray, jacobian: list[list[ndarray]], together: list[ndarray]
    ) -> None:
        super().__init__(label, rows)
        self.jacobian, self.together = jacobian, together

    def along(self, probe: Probe) -> ndarray:
        return products(self.jacobian, probe)

    def infinite(self, probe: Probe) -> ndarray:
        return np.isinf(products([self.together], probe))


def products(gradients: list[list[ndarray]], probe: Probe) -> ndarray:
    """The slope along the probe for each row of a Jacobian."""
    return np.array(
        [
            sum(
                float(np.vdot(g, v))
                if np.isfinite(g).all()
                else float(np.sum(g[v != 0] * v[v != 0]))
                for g, v in zip(row, probe.direction)
                if v is not None
            )
            for row in gradients
        ]
    )
