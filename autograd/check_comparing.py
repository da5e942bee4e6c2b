"""Analytic slopes against measured ones: a verdict for each, and the search for what is wrong.

A slope that is found wrong is measured again before anybody is blamed: by other steps, and by
smaller ones where the function lives on a smaller scale. Then the entries are searched for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from .check_lines import Probe, Way
from .check_report import (
    EDGE,
    FAULTS,
    IMPRECISE,
    KINK,
    NOT_FINITE,
    OK,
    UNCLEAR,
    WRONG,
    Finding,
    Row,
)
from .check_ties import hidden_kinks
from .differences import EDGE as AT_EDGE
from .differences import JUMP as AT_JUMP
from .differences import KINDS, SMOOTH, Slope, complex_slope, slope
from .differences import KINK as AT_KINK

if TYPE_CHECKING:
    from .check_running import Checker

_SEARCHES = 160
_CLOSER_LOOKS = 12  # in vain, that is: at faults that smaller steps confirm


class Stage:
    """One order: a measured function and the ways its derivative is computed."""

    def __init__(
        self,
        checker: Checker,
        order: int,
        measure: Callable[[list[ndarray]], ndarray],
        combine: Callable[[ndarray], ndarray],
        ways: list[Way],
    ) -> None:
        self.checker, self.order = checker, order
        self.measure, self.combine, self.ways = measure, combine, ways
        self.rows: dict[str, Row] = {}
        self.floor = checker.scale if order > 1 else 0.0

    def slopes(self, probe: Probe, again: bool = False) -> Slope:
        """The measured slopes along a probe; ``again``: with other and smaller steps, twice."""
        checker = self.checker

        def function(t: float) -> ndarray:
            return self.combine(self.measure(probe.at(t)))

        if again:
            finer = checker.eps * 1e-2
            one, other = (
                slope(function, eps=finer, first=h, target=0.0, floor=self.floor)
                for h in (7e-3, 3e-3)
            )
            return _merged(one, other)
        if self.order == 1 and checker.problem.analytic:
            found = complex_slope(
                lambda t: self.combine(checker.problem.complex_vector(probe.at(t))), function
            )
            if found is not None:
                return found
        return slope(function, eps=checker.eps, floor=self.floor)

    def look(self, probe: Probe) -> None:
        """Compare along one probe; on a fault, search for the entries that cause it."""
        findings, summary = self.compare(probe)
        checker, report = self.checker, self.checker.report
        self._summarise(probe, summary)
        faults = [f for f in findings if f.verdict not in (KINK, EDGE)]
        if faults and len(probe.variables) > 1:
            deeper = [
                g
                for i in probe.variables
                if checker.problem.values[i].size
                for g in self._search(checker.part(i, np.arange(checker.problem.values[i].size)))
            ]
            findings = self._blamed(findings, deeper)
        elif faults and probe.entries is not None and len(probe.entries) > 1:
            findings = self._blamed(findings, self._search(probe))
        report.findings += findings

    def _blamed(self, together: list[Finding], parts: list[Finding]) -> list[Finding]:
        """What to report of a direction: its parts, where the search found fault with any."""
        self.checker.report.searched = True
        if parts:
            return parts
        if self.checker.located < _SEARCHES:
            # Each part can be measured and is right, but entries of 1e-14 and 1e8 together not.
            return [f for f in together if f.verdict not in (NOT_FINITE, UNCLEAR)]
        return together

    def _search(self, probe: Probe) -> list[Finding]:
        """Halve the direction until single entries are left."""
        found: list[Finding] = []
        waiting = [probe]
        while waiting and self.checker.located < _SEARCHES:
            part = waiting.pop(0)
            self.checker.located += 1
            findings, _ = self.compare(part)
            faults = [f for f in findings if f.verdict not in (KINK, EDGE)]
            if not faults:
                continue
            entries = part.entries
            assert entries is not None
            if len(entries) == 1:
                found += faults
                continue
            half = len(entries) // 2
            # Depth first: a few named entries are worth more than many nameless groups.
            waiting[:0] = [
                self.checker.part(part.variables[0], entries[:half]),
                self.checker.part(part.variables[0], entries[half:]),
            ]
        return found

    def _summarise(self, probe: Probe, summary: list[Any]) -> None:
        report, problem = self.checker.report, self.checker.problem
        name = problem.names[probe.variables[0]] if len(probe.variables) == 1 else "(all inputs)"
        row = self.rows.get(name)
        if row is None:
            single = len(probe.variables) == 1
            shape = problem.values[probe.variables[0]].shape if single else ()
            entry = probe.entries is not None and len(probe.entries) == 1
            checked = "1 entry" if entry else probe.label
            row = self.rows[name] = Row(name, shape, self.order, checked)
            report.rows.append(row)
        elif probe.entries is not None and len(probe.entries) == 1:
            row.checked = f"{problem.values[probe.variables[0]].size} entries"
        for method, count, verdicts, smooth, numbers in summary:
            report.count += count
            row.methods.add(method)
            row.verdicts |= verdicts
            rank = (smooth, float(np.nan_to_num(numbers[2], nan=np.inf)))
            if rank > row.rank:
                row.rank = rank
                row.analytic, row.numeric, row.error, row.relative = numbers

    def compare(self, probe: Probe) -> tuple[list[Finding], list[Any]]:
        """The findings along one probe, and a summary line for each way."""
        measured = self.slopes(probe)
        self.checker.scale = max(self.checker.scale, largest([measured.value]))
        second: Slope | None = None
        closer: list[Slope] | None = None
        findings: list[Finding] = []
        summary = []
        for way in self.ways:
            analytic = way.along(probe)
            rows = way.rows
            if np.isnan(analytic).any():
                analytic = np.where(
                    np.isnan(analytic) & way.infinite(probe), measured.value[rows], analytic
                )
            verdicts = self.judge(analytic, measured, rows)
            if any(v not in (OK, KINK) for v in verdicts):
                if second is None:  # measured again with other steps, before anybody is blamed
                    second = self.slopes(probe, again=True)
                measured = second
                verdicts = self.judge(analytic, measured, rows)
            if any(self.is_doubtful(v, measured, row) for v, row in zip(verdicts, rows)):
                if closer is None:
                    closer = self.closer(probe) if self.checker.looks < _CLOSER_LOOKS else []
                before = verdicts
                measured, verdicts = self.believe(closer, measured, verdicts, analytic, rows)
                self.checker.looks += verdicts == before
            if WRONG in verdicts:
                hidden = hidden_kinks(self, probe, analytic, rows)
                verdicts = [KINK if v == WRONG and h else v for v, h in zip(verdicts, hidden)]
            numeric = measured.value[rows]
            with np.errstate(all="ignore"):
                errors = np.abs(analytic - numeric)
            if not len(rows):
                continue
            smooth = [i for i, v in enumerate(verdicts) if v not in (KINK, EDGE)]
            worst = max(
                smooth or range(len(rows)), key=lambda i: np.nan_to_num(errors[i], nan=np.inf)
            )
            size = max(abs(analytic[worst]), abs(numeric[worst]), 1e-300)
            summary.append(
                (
                    measured.method,
                    len(rows),
                    set(verdicts),
                    bool(smooth),
                    (
                        analytic[worst] / probe.scale,
                        numeric[worst] / probe.scale,
                        errors[worst] / probe.scale,
                        errors[worst] / size,
                    ),
                )
            )
            for i, verdict in enumerate(verdicts):
                if verdict != OK:
                    findings.append(
                        self._finding(probe, way, i, verdict, analytic, measured, errors)
                    )
        return findings, summary

    # -- functions that live on a smaller scale than the steps: near a pole, an edge of the domain -
    def closer(self, probe: Probe) -> list[Slope]:
        """The slopes by ever smaller steps, down to a fraction of the entries themselves."""
        steps = [1e-4, 1e-6, 1e-8, 1e-10, 1e-12]
        for x, v in zip(probe.values, probe.direction):
            if v is not None and np.any((x != 0) & (v != 0)):
                near = np.abs(x[(x != 0) & (v != 0)] / v[(x != 0) & (v != 0)])
                steps.append(0.02 * float(np.min(near)))

        def function(t: float) -> ndarray:
            return self.combine(self.measure(probe.at(t)))

        return [
            slope(function, eps=1e-4 * h, first=h, target=0.0, floor=self.floor)
            for h in steps
            if 0 < h < 1e-3
        ]

    def is_doubtful(self, verdict: str, measured: Slope, row: int) -> bool:
        """Whether a verdict may be the fault of steps that are too large."""
        return verdict in FAULTS or int(measured.kind[row]) in (AT_EDGE, AT_JUMP)

    def believe(
        self,
        closer: list[Slope],
        measured: Slope,
        verdicts: list[str],
        analytic: ndarray,
        rows: ndarray,
    ) -> tuple[Slope, list[str]]:
        """Take a measurement by smaller steps where it is the more certain one and either settles
        that the derivative is right, or shows a smooth point where larger steps met an edge."""
        found = list(verdicts)
        value, error, kind = measured.value.copy(), measured.error.copy(), measured.kind.copy()
        size = measured.size.copy()
        for other in closer:
            others = self.judge(analytic, other, rows)
            for i, row in enumerate(rows):
                if found[i] == OK or int(other.kind[row]) != SMOOTH or not other.value[row]:
                    continue
                ends = int(kind[row]) in (AT_EDGE, AT_JUMP)
                certain = ends or not other.error[row] >= error[row]
                sharp = 1e4 * other.error[row] <= abs(other.value[row])
                surer = ends or other.error[row] <= 1e-3 * error[row]
                if (others[i] == OK and certain) or (sharp and surer):
                    found[i] = others[i]
                    value[row], error[row] = other.value[row], other.error[row]
                    kind[row], size[row] = SMOOTH, other.size[row]
        taken = replace(measured, value=value, error=error, kind=kind, size=size)
        return taken, found

    def _finding(
        self,
        probe: Probe,
        way: Way,
        i: int,
        verdict: str,
        analytic: ndarray,
        measured: Slope,
        errors: ndarray,
    ) -> Finding:
        problem, row = self.checker.problem, int(way.rows[i])
        note = ""
        kind = int(measured.kind[row])
        if verdict in (KINK, EDGE):
            note = KINDS[kind]
        if verdict == KINK and kind == SMOOTH:
            note = "slopes of several directions do not add up"
        if kind == AT_KINK:
            low, high = measured.low[row] / probe.scale, measured.high[row] / probe.scale
            note = f"slopes {low:.6g} and {high:.6g} on the two sides"
        elif verdict == UNCLEAR:
            note = f"differences uncertain by {measured.error[row] / probe.scale:.1e}"
        one = len(probe.variables) == 1
        return Finding(
            input=problem.names[probe.variables[0]] if one else "(all)",
            entry=probe.label,
            output=self.checker.row_name(row) if self.order == 1 else "",
            order=self.order,
            mode=way.label,
            analytic=float(analytic[i]) / probe.scale,
            numeric=float(measured.value[row]) / probe.scale,
            error=float(errors[i]) / probe.scale,
            verdict=verdict,
            note=note,
        )

    def judge(self, analytic: ndarray, measured: Slope, rows: ndarray) -> list[str]:
        """A verdict for each row."""
        with np.errstate(all="ignore"):
            n, error = measured.value[rows], measured.error[rows]
            kind, size = measured.kind[rows], measured.size[rows]
            off = np.abs(analytic - n)
            scale = np.fmax(
                np.max(np.abs(analytic), initial=0.0, where=np.isfinite(analytic)),
                np.max(np.abs(n), initial=0.0, where=np.isfinite(n)),
            )
            scale = np.full(n.shape, scale)
            allowed = self.checker.tolerance(scale, n, error, size)
            variation = np.broadcast_to(measured.variation, measured.value.shape)[rows]
            vague = 20 * error > 1e-3 * scale + 1e-6 * size + 1e-4 * variation
            if self.checker.atol is not None or self.checker.rtol is not None:
                vague &= off > allowed
            # NaN fails every comparison, which is what it should do.
            close = (off <= allowed) & ~vague
            verdicts = np.full(n.shape, WRONG, object)
            verdicts[(off <= 1e-5 * scale) & ~close] = IMPRECISE
            verdicts[vague & (off <= np.fmax(allowed, 20 * error))] = UNCLEAR
            verdicts[~np.isfinite(n) & (kind == SMOOTH)] = NOT_FINITE
            verdicts[close] = OK
            slack = np.fmax(allowed, 1e-6 * scale)
            low, high = measured.low[rows] - slack, measured.high[rows] + slack
            verdicts[(kind == AT_KINK) & (low <= analytic) & (analytic <= high)] = KINK
            verdicts[(kind != SMOOTH) & (kind != AT_KINK) & (kind != AT_EDGE)] = KINK
            verdicts[(kind == AT_EDGE) & (close | vague | ~np.isfinite(error))] = EDGE
        return list(verdicts)


def _merged(one: Slope, other: Slope) -> Slope:
    """Two measurements by other steps: the better one, in doubt by how far they are apart."""
    with np.errstate(all="ignore"):
        first = one.error <= other.error
        error = np.fmin(one.error, other.error) + np.abs(one.value - other.value)
        odd = other.kind != SMOOTH
        return Slope(
            value=np.where(odd, other.value, np.where(first, one.value, other.value)),
            error=np.where(odd, other.error, np.where(np.isnan(error), other.error, error)),
            kind=other.kind,
            low=other.low,
            high=other.high,
            size=np.fmax(one.size, other.size),
            method=one.method,
            variation=np.fmax(one.variation, other.variation),
        )


def largest(values: Sequence[Any]) -> float:
    """The largest finite magnitude among all of them."""
    found = 0.0
    for value in map(np.asarray, values):
        size = np.abs(value)
        found = max(found, float(np.max(size, initial=0.0, where=np.isfinite(size))))
    return found
