"""One check from beginning to end: what is measured at each order, along which lines, and what to
say of the result.

At order 1 the function itself is measured. At order k the measured function is the analytic
derivative of order k - 1, along random directions: so every order is checked against the one
below, and a rule that leaves the tape, right once but not differentiable, shows at order 2.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from .check_comparing import Stage, largest
from .check_lines import Probe, Pulled, Pushed, Way
from .check_problem import NotReproducible, Problem
from .check_report import (
    IMPRECISE,
    NOT_FINITE,
    UNCLEAR,
    WRONG,
    Finding,
    GradcheckError,
    KinkWarning,
    Report,
)
from .modes import enable_grad
from .tensors import Tensor, make

_EVERY_ENTRY_UP_TO = 32
_ROWS_UP_TO = 1000  # more outputs than this, and one weighted sum stands for all
_ROWS_OF_ITSELF = 16  # so it does in check_grads already above this many


class Checker:
    """Everything about one check: the problem, the random directions, the report."""

    def __init__(
        self,
        problem: Problem,
        report: Report,
        *,
        eps: float,
        atol: float | None,
        rtol: float | None,
        seed: int,
        each_output: bool = False,
        nondet_tol: float = 0.0,
    ) -> None:
        self.problem, self.report = problem, report
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.random = np.random.default_rng(seed)
        self.settings: dict[str, Any] = {
            "eps": eps,
            "atol": atol,
            "rtol": rtol,
            "seed": seed,
            "each_output": each_output,
        }
        # About this point, once it has been asked (see check_ties): which rows have no derivative,
        # and whether the rule is right at points near by.
        self.rough: ndarray | None = None
        self.right_near_by: dict[int, bool] = {}  # by order
        self.first_stage: Stage | None = None
        self.is_near_by = False
        self.located = 0
        self.looks = 0
        # The largest finite value and derivative of the orders below: what terms are made of.
        self.scale = largest([y._value for y in problem.inspect(nondet_tol)])
        self.size = sum(int(np.prod(s)) for s in problem.shapes)
        self.each_output = self.size <= (_ROWS_UP_TO if each_output else _ROWS_OF_ITSELF)
        # Steps are relative to each entry, so that small positive numbers stay positive.
        self.scales = [np.where(x == 0, 1.0, np.clip(np.abs(x), 1e-2, 1e3)) for x in problem.values]
        self.cotangents = [self.random_signed(s) for s in problem.shapes]
        if self.size == 1:  # a single result as it is: its numbers mean something to the reader
            self.cotangents = [np.ones(s) for s in problem.shapes]

    def random_signed(self, shape: tuple[int, ...]) -> ndarray:
        """Random numbers of either sign, none of them small."""
        return np.asarray(
            self.random.uniform(0.5, 1.0, shape) * self.random.choice([-1.0, 1.0], shape)
        )

    def moved(self, values: list[ndarray], report: Report) -> Checker:
        """A checker of the same function at another point."""
        problem = self.problem
        there = Problem(problem.call, problem.names, values, problem.dtypes)
        checker = Checker(there, report, **self.settings)
        checker.is_near_by = True
        return checker

    # -- the lines to look along ----------------------------------------------------------------
    def probes(self, directions: str) -> list[Probe]:
        found = []
        if directions == "joint":
            probe = Probe(self.problem, range(len(self.problem.values)), "all together", 1.0)
            probe.direction = [s * self.random_signed(s.shape) for s in self.scales]
            return [probe]
        for i, x in enumerate(self.problem.values):
            if directions == "entries" or (directions == "auto" and x.size <= _EVERY_ENTRY_UP_TO):
                found += [self.part(i, np.array([k])) for k in range(x.size)]
            elif x.size:
                found.append(self.part(i, np.arange(x.size)))
        return found

    def part(self, i: int, entries: ndarray) -> Probe:
        x, s = self.problem.values[i], self.scales[i].ravel()
        if len(entries) == 1:
            k = int(entries[0])
            place = ", ".join(map(str, np.unravel_index(k, x.shape)))
            probe = Probe(self.problem, [i], f"[{place}]" if x.ndim else "", float(s[k]))
            values = s[entries]
        else:
            label = "1 direction" if len(entries) == x.size else f"{len(entries)} entries"
            probe = Probe(self.problem, [i], label, 1.0)
            values = s[entries] * self.random_signed((len(entries),))
        flat = np.zeros(x.size)
        flat[entries] = values
        probe.direction[i] = flat.reshape(x.shape)
        probe.entries = entries
        return probe

    # -- what is measured, and the analytic derivatives -----------------------------------------
    def first(self, modes: Sequence[str]) -> tuple[Callable[..., ndarray], list[Way]]:
        """Order 1: the outputs, and one random combination of them, which reverse mode checks."""
        problem = self.problem
        weights = np.concatenate([c.ravel() for c in self.cotangents]) if self.size else np.zeros(0)
        every = np.arange(self.size)
        with enable_grad():
            leaves = problem.leaves()
            ys = problem.run(leaves)
        gradient = problem.pull(ys, leaves, self.cotangents)
        ways: list[Way] = []
        for mode in modes:
            if mode == "fwd":
                line = [s * self.random_signed(s.shape) for s in self.scales]
                ways.append(Pushed("fwd", every, problem, ys, leaves, line))
            elif self.each_output:
                jacobian = [problem.pull(ys, leaves, c) for c in self._unit_cotangents()]
                ways.append(Pulled("rev", every, jacobian, gradient))
            else:
                ways.append(Pulled("rev", np.array([self.size]), [gradient], gradient))

        def with_sum(values: ndarray) -> ndarray:
            return np.append(values, np.dot(weights, values))

        return with_sum, ways

    def _unit_cotangents(self) -> list[list[ndarray | None]]:
        found = []
        for k, shape in enumerate(self.problem.shapes):
            for j in range(int(np.prod(shape))):
                unit = np.zeros(int(np.prod(shape)))
                unit[j] = 1.0
                cotangents: list[ndarray | None] = [None] * len(self.problem.shapes)
                cotangents[k] = unit.reshape(shape)
                found.append(cotangents)
        return found

    def higher(
        self, directions: list[list[ndarray]], modes: Sequence[str]
    ) -> tuple[Callable[..., ndarray], list[Way]]:
        """Order len(directions) + 1, over the analytic derivative along ``directions``."""
        problem = self.problem
        below = len(directions)
        base = "rev" if "rev" in modes else "fwd"

        def tower(leaves: list[Tensor], mode: str) -> list[Tensor]:
            ys = problem.run(leaves)
            top = problem.descend(ys, leaves, self.cotangents, directions, mode)
            return [make(0.0, None) if top is None else top]

        def measured(values: list[ndarray]) -> ndarray:
            with enable_grad():
                (top,) = tower(problem.leaves(values), base)
            return np.array([float(top._value)])

        ways: list[Way] = []
        row = np.array([0])
        for under in modes:
            with enable_grad():
                leaves = problem.leaves()
                tops = tower(leaves, under)
            for mode in modes:
                label = " over ".join([mode, *[under] * below])
                if mode == "fwd":
                    ways.append(Pushed(label, row, problem, tops, leaves, directions[0]))
                else:
                    gradient = problem.pull(tops, leaves, [np.array(1.0)])
                    ways.append(Pulled(label, row, [gradient], gradient))
        return measured, ways

    # -- comparing --------------------------------------------------------------------------------
    def check(self, order: int, modes: Sequence[str], directions: str) -> None:
        """Check orders 1 to ``order`` along every probe."""
        lines: list[list[ndarray]] = []
        for k in range(1, order + 1):
            if k == 1:
                combine, ways = self.first(modes)
                measure = self.problem.vector
            else:
                lines.append([s * self.random_signed(s.shape) for s in self.scales])
                measure, ways = self.higher(list(lines), modes)
                combine = _as_is
            stage = Stage(self, k, measure, combine, ways)
            self.first_stage = self.first_stage or stage
            for probe in self.probes(directions):
                stage.look(probe)
            if k < order and any(f.verdict == WRONG for f in self.report.findings):
                self.report.stopped_at = k  # the next order would be measured from a wrong one
                break
        self.report.sort()

    def tolerance(self, scale: ndarray, numeric: ndarray, error: ndarray, size: ndarray) -> ndarray:
        """How far analytic and measured slopes may be apart."""
        if self.atol is not None or self.rtol is not None:
            return (self.atol or 0.0) + (self.rtol or 0.0) * np.abs(numeric)
        return 2e-9 * np.fmax(scale, 1e-3 * size) + 20 * error

    def row_name(self, row: int) -> str:
        """Which entry of which output a measured row is."""
        for name, shape in zip(self.problem.outputs, self.problem.shapes):
            count = int(np.prod(shape))
            if row < count:
                place = ", ".join(map(str, np.unravel_index(row, shape)))
                return f"{name}[{place}]" if shape else name
            row -= count
        return "(weighted sum)"


def _as_is(values: ndarray) -> ndarray:
    return values


def _hints(checker: Checker) -> list[str]:
    """What to look at, from the pattern of the faults."""
    report, problem = checker.report, checker.problem
    faults = report.faults
    hints = []
    if problem.cut:
        hints.append(
            f"{', '.join(problem.cut)} is not on the tape, so its gradient is zero: look for "
            "detach(), item(), numpy() or no_grad() inside the function."
        )
    wrong = [f for f in faults if f.verdict in (WRONG, NOT_FINITE)]
    if any(f.verdict == WRONG for f in wrong) and all(f.order > 1 for f in wrong):
        hints.append(
            f"orders below {min(f.order for f in wrong)} are right: a rule leaves the tape (np.*, "
            "float(), detach()) or holds something constant that depends on the input."
        )
    ends = {f.mode.split()[0] for f in wrong}
    if any(f.verdict == WRONG for f in wrong) and len(report.modes) == 2 and len(ends) == 1:
        other = "reverse" if ends == {"fwd"} else "forward"
        stated = "push= rule" if ends == {"fwd"} else "VJP rule"
        hints.append(f"{other} mode is right: look at the {stated}.")
    if report.stopped_at:
        hints.append(
            f"orders above {report.stopped_at} were not checked: each is measured from that below."
        )
    if any(f.verdict == IMPRECISE for f in faults):
        hints.append(
            "agreement to a few digits only is what a value rounded to float32 on its way gives."
        )
    if any(f.verdict == UNCLEAR for f in faults):
        hints.append(
            "the differences do not settle: the function is noisy, or rough on the scale of 1e-6."
        )
    if any(f.verdict == NOT_FINITE for f in faults):
        hints.append(
            "the function is NaN or infinite next to this point: choose one inside its domain."
        )
    if problem.leaks:
        hints.append(
            "inputs were float64, yet " + "; ".join(problem.leaks[:3]) + ": differences of such "
            "values are exact to 1e-7 only."
        )
    if 0 < len(problem.operations) <= 8:
        hints.append(f"operations on the tape: {', '.join(problem.operations)}.")
    return hints


def run_check(
    name: str,
    problem: Problem,
    *,
    order: int,
    modes: Sequence[str],
    directions: str,
    strict: bool = False,
    leaks: bool = False,
    **settings: Any,
) -> tuple[Report, Checker]:
    report = Report(name, tuple(modes), strict=strict)
    try:
        checker = Checker(problem, report, **settings)
    except NotReproducible as error:
        raise GradcheckError(f"{name}: {error}", report) from None
    with np.errstate(all="ignore"):  # infinities and NaN go into the report, not to stderr
        checker.check(order, modes, directions)
    if leaks and problem.leaks:
        report.findings.append(
            Finding("", "", "", 0, "", np.nan, np.nan, np.nan, IMPRECISE, "float64 was not kept")
        )
    report.hints = _hints(checker)
    return report, checker


def conclude(report: Report, raise_exception: bool) -> bool:
    """Raise, warn of kinks, or say yes."""
    if not report.ok:
        if raise_exception:
            raise GradcheckError(report.failure(), report)
        return False
    if report.kinks:
        warnings.warn(report.kink_text(), KinkWarning, stacklevel=3)
    return True
