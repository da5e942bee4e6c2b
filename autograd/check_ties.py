"""Kinks that no single line shows: ties of three or more, equal eigenvalues.

The second largest of three equal numbers does not change when one of them moves, nor has it two
slopes along any line; and yet it has no derivative. What gives such a point away is that slopes
do not add up: along u + v the slope is not that along u and that along v together, as it is
wherever there is a derivative. So a wrong rule at a smooth point never passes for a kink. For the
rule to pass at such a point it must be right at points near by, and what it says must lie among
the slopes there (a subgradient after Clarke, 1983). Where there is no first derivative there are no
higher ones either, and what a rule says of those is no fault, NaN included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from .check_lines import Probe
from .check_report import Report
from .differences import KINK, SMOOTH, Slope, slope

if TYPE_CHECKING:
    from .check_comparing import Stage

_PAIRS = 3  # of directions whose slopes are added
_CHECKED = 4  # points near by at which the rule must be right
_MEASURED = 64  # points near by whose slopes are measured
_NEAR = 0.05  # how far the first are, relative to each entry; the second are nearer


def hidden_kinks(stage: Stage, probe: Probe, analytic: ndarray, rows: ndarray) -> ndarray:
    """Which rows have no derivative at this point, while the analytic one is a subgradient."""
    checker = stage.checker
    none = np.zeros(len(rows), bool)
    if checker.is_near_by:
        return none
    if checker.rough is None:
        assert checker.first_stage is not None
        one, other = (_rough(checker.first_stage, s) for s in ((0.02, 1e-6), (7e-3, 1e-8)))
        checker.rough = one & other
    # Above order 1 there is one row, made of all outputs as the last one here is.
    found = checker.rough[rows if stage.order == 1 else [-1]]
    if not found.any():
        return none
    if stage.order not in checker.right_near_by:
        checker.right_near_by[stage.order] = _is_right_near_by(stage)
    if not checker.right_near_by[stage.order]:
        return none
    if stage.order > 1:
        return found
    low, high = _range_near_by(stage, probe)
    slack = 0.05 * (high - low)[rows]
    with np.errstate(all="ignore"):
        return found & (low[rows] - slack <= analytic) & (analytic <= high[rows] + slack)


def _rough(stage: Stage, steps: tuple[float, float]) -> ndarray:
    """Of which rows the slopes do not add up, far beyond the errors of measuring them."""
    first, eps = steps
    rough: ndarray | None = None
    for _ in range(_PAIRS):
        u, v = _direction(stage), _direction(stage)
        parts = [_along(stage, d, first, eps) for d in (u, v, [a + b for a, b in zip(u, v)])]
        one, other, both = parts
        with np.errstate(all="ignore"):
            gap = np.abs(both.value - one.value - other.value)
            size = np.fmax.reduce([np.abs(p.value) for p in parts])
            errors = one.error + other.error + both.error
            clear = (gap > 100 * errors) & (gap > 1e-3 * size)
            smooth = np.all([p.kind == SMOOTH for p in parts], axis=0)
            found = (clear & smooth) | np.any([p.kind == KINK for p in parts], axis=0)
        rough = found if rough is None else rough | found
    assert rough is not None
    return rough


def _direction(stage: Stage) -> list[ndarray]:
    return [s * stage.checker.random_signed(s.shape) for s in stage.checker.scales]


def _along(stage: Stage, direction: list[ndarray], first: float, eps: float) -> Slope:
    values = stage.checker.problem.values

    def function(t: float) -> ndarray:
        return stage.combine(stage.measure([x + t * d for x, d in zip(values, direction)]))

    return slope(function, eps=eps, first=first, target=0.0)


def _is_right_near_by(stage: Stage) -> bool:
    """Whether the rule passes at points near by, where there are no ties."""
    checker = stage.checker
    modes = tuple(dict.fromkeys(way.label.split()[0] for way in stage.ways))
    for _ in range(_CHECKED):
        point = [
            x + _NEAR * d for x, d in zip(checker.problem.values, _direction(stage), strict=True)
        ]
        report = Report("", modes)
        try:
            checker.moved(point, report).check(stage.order, modes, "auto")
        except (ArithmeticError, ValueError, RuntimeError):  # not a point of the function's domain
            return False
        if not report.ok:
            return False
    return True


def _range_near_by(stage: Stage, probe: Probe) -> tuple[ndarray, ndarray]:
    """Between what the slopes along a line lie at points near by, measured."""
    checker = stage.checker
    found = []
    for k in range(_MEASURED):
        shift = _direction(stage)
        if k % 2:  # as if a few entries alone had moved: slopes at the ends of their range
            shift = [d * 10.0 ** checker.random.uniform(-4.0, 0.0, d.shape) for d in shift]
        shift = [1e-3 * d for d in shift]
        step = 1e-8 if k % 4 < 2 else 1e-6
        ends = [
            stage.combine(stage.measure([x + d for x, d in zip(probe.at(t), shift, strict=True)]))
            for t in (step, -step)
        ]
        found.append((ends[0] - ends[1]) / (2 * step))
    return np.fmin.reduce(found), np.fmax.reduce(found)
