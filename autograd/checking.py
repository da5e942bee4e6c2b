"""Derivatives checked against measured slopes: check_grads, gradcheck, gradgradcheck.

At order 1 the function itself is measured. At order k the measured function is the analytic
derivative of order k - 1, along random directions: so every order is checked against the one
below, and a rule that leaves the tape, right once but not differentiable, shows at order 2.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np
from numpy import ndarray

from .check_problem import NotReproducible, Problem, problem_of
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
    GradcheckError,
    KinkWarning,
    Report,
    Row,
)
from .differences import EDGE as AT_EDGE
from .differences import JUMP as AT_JUMP
from .differences import KINDS, SMOOTH, Slope, complex_slope, slope
from .differences import KINK as AT_KINK
from .modes import enable_grad
from .tensors import Tensor, make
from .values import settle

__all__ = ["GradcheckError", "KinkWarning", "check_grads", "gradcheck", "gradgradcheck"]

_EVERY_ENTRY_UP_TO = 32
_ROWS_UP_TO = 1000  # more outputs than this, and one weighted sum stands for all
_ROWS_OF_ITSELF = 16  # so it does in check_grads already above this many
_SEARCHES = 160
_CLOSER_LOOKS = 12  # in vain, that is: at faults that smaller steps confirm


class _Probe:
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


class _Way:
    """One way of computing the analytic slopes: which measured rows, and how."""

    def __init__(self, label: str, rows: ndarray) -> None:
        self.label, self.rows = label, rows

    def along(self, probe: _Probe) -> ndarray:
        """The slopes along a probe."""
        raise NotImplementedError

    def infinite(self, probe: _Probe) -> ndarray:
        """Which rows belong to a slope that is infinite elsewhere: a tangent or cotangent of zero
        then gives 0 · inf, NaN by the chain rule, which says nothing about the rule."""
        raise NotImplementedError


class _Pushed(_Way):
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

    def along(self, probe: _Probe) -> ndarray:
        return self.problem.push(self.ys, self.leaves, probe.direction)

    def infinite(self, probe: _Probe) -> ndarray:
        return np.isinf(self.problem.push(self.ys, self.leaves, self.everywhere))


class _Pulled(_Way):
    """Reverse mode: a gradient for each row, and one of all rows together."""

    def __init__(
        self, label: str, rows: ndarray, jacobian: list[list[ndarray]], together: list[ndarray]
    ) -> None:
        super().__init__(label, rows)
        self.jacobian, self.together = jacobian, together

    def along(self, probe: _Probe) -> ndarray:
        return _products(self.jacobian, probe)

    def infinite(self, probe: _Probe) -> ndarray:
        return np.isinf(_products([self.together], probe))


class _Checker:
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
        self.located = 0
        self.looks = 0
        # The largest finite value and derivative of the orders below: what terms are made of.
        self.scale = _largest([y._value for y in problem.inspect(nondet_tol)])
        self.size = sum(int(np.prod(s)) for s in problem.shapes)
        self.each_output = self.size <= (_ROWS_UP_TO if each_output else _ROWS_OF_ITSELF)
        # Steps are relative to each entry, so that small positive numbers stay positive.
        self.scales = [np.where(x == 0, 1.0, np.clip(np.abs(x), 1e-2, 1e3)) for x in problem.values]
        self.cotangents = [self._random(s) for s in problem.shapes]
        if self.size == 1:  # a single result as it is: its numbers mean something to the reader
            self.cotangents = [np.ones(s) for s in problem.shapes]

    def _random(self, shape: tuple[int, ...]) -> ndarray:
        """Random numbers of either sign, none of them small."""
        return np.asarray(
            self.random.uniform(0.5, 1.0, shape) * self.random.choice([-1.0, 1.0], shape)
        )

    # -- the lines to look along ----------------------------------------------------------------
    def probes(self, directions: str) -> list[_Probe]:
        found = []
        if directions == "joint":
            probe = _Probe(self.problem, range(len(self.problem.values)), "all together", 1.0)
            probe.direction = [s * self._random(s.shape) for s in self.scales]
            return [probe]
        for i, x in enumerate(self.problem.values):
            if directions == "entries" or (directions == "auto" and x.size <= _EVERY_ENTRY_UP_TO):
                found += [self._part(i, np.array([k])) for k in range(x.size)]
            elif x.size:
                found.append(self._part(i, np.arange(x.size)))
        return found

    def _part(self, i: int, entries: ndarray) -> _Probe:
        x, s = self.problem.values[i], self.scales[i].ravel()
        if len(entries) == 1:
            k = int(entries[0])
            place = ", ".join(map(str, np.unravel_index(k, x.shape)))
            probe = _Probe(self.problem, [i], f"[{place}]" if x.ndim else "", float(s[k]))
            values = s[entries]
        else:
            label = "1 direction" if len(entries) == x.size else f"{len(entries)} entries"
            probe = _Probe(self.problem, [i], label, 1.0)
            values = s[entries] * self._random((len(entries),))
        flat = np.zeros(x.size)
        flat[entries] = values
        probe.direction[i] = flat.reshape(x.shape)
        probe.entries = entries
        return probe

    # -- what is measured, and the analytic derivatives -----------------------------------------
    def first(self, modes: Sequence[str]) -> tuple[Callable[..., ndarray], list[_Way]]:
        """Order 1: the outputs, and one random combination of them, which reverse mode checks."""
        problem = self.problem
        weights = np.concatenate([c.ravel() for c in self.cotangents]) if self.size else np.zeros(0)
        every = np.arange(self.size)
        with enable_grad():
            leaves = problem.leaves()
            ys = problem.run(leaves)
        gradient = problem.pull(ys, leaves, self.cotangents)
        ways: list[_Way] = []
        for mode in modes:
            if mode == "fwd":
                line = [s * self._random(s.shape) for s in self.scales]
                ways.append(_Pushed("fwd", every, problem, ys, leaves, line))
            elif self.each_output:
                jacobian = [problem.pull(ys, leaves, c) for c in self._unit_cotangents()]
                ways.append(_Pulled("rev", every, jacobian, gradient))
            else:
                ways.append(_Pulled("rev", np.array([self.size]), [gradient], gradient))

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
    ) -> tuple[Callable[..., ndarray], list[_Way]]:
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

        ways: list[_Way] = []
        row = np.array([0])
        for under in modes:
            with enable_grad():
                leaves = problem.leaves()
                tops = tower(leaves, under)
            for mode in modes:
                label = " over ".join([mode, *[under] * below])
                if mode == "fwd":
                    ways.append(_Pushed(label, row, problem, tops, leaves, directions[0]))
                else:
                    gradient = problem.pull(tops, leaves, [np.array(1.0)])
                    ways.append(_Pulled(label, row, [gradient], gradient))
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
                lines.append([s * self._random(s.shape) for s in self.scales])
                measure, ways = self.higher(list(lines), modes)
                combine = _as_is
            stage = _Stage(self, k, measure, combine, ways)
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


def _largest(values: Sequence[Any]) -> float:
    """The largest finite magnitude among all of them."""
    found = 0.0
    for value in map(np.asarray, values):
        size = np.abs(value)
        found = max(found, float(np.max(size, initial=0.0, where=np.isfinite(size))))
    return found


def _products(gradients: list[list[ndarray]], probe: _Probe) -> ndarray:
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


class _Stage:
    """One order: a measured function and the ways its derivative is computed."""

    def __init__(
        self,
        checker: _Checker,
        order: int,
        measure: Callable[[list[ndarray]], ndarray],
        combine: Callable[[ndarray], ndarray],
        ways: list[_Way],
    ) -> None:
        self.checker, self.order = checker, order
        self.measure, self.combine, self.ways = measure, combine, ways
        self.rows: dict[str, Row] = {}
        self.floor = checker.scale if order > 1 else 0.0

    def slopes(self, probe: _Probe, again: bool = False) -> Slope:
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

    def look(self, probe: _Probe) -> None:
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
                for g in self._search(checker._part(i, np.arange(checker.problem.values[i].size)))
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

    def _search(self, probe: _Probe) -> list[Finding]:
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
                self.checker._part(part.variables[0], entries[:half]),
                self.checker._part(part.variables[0], entries[half:]),
            ]
        return found

    def _summarise(self, probe: _Probe, summary: list[Any]) -> None:
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

    def compare(self, probe: _Probe) -> tuple[list[Finding], list[Any]]:
        """The findings along one probe, and a summary line for each way."""
        measured = self.slopes(probe)
        self.checker.scale = max(self.checker.scale, _largest([measured.value]))
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
    def closer(self, probe: _Probe) -> list[Slope]:
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
        probe: _Probe,
        way: _Way,
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


def _hints(checker: _Checker) -> list[str]:
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


def _run(
    name: str,
    problem: Problem,
    *,
    order: int,
    modes: Sequence[str],
    directions: str,
    strict: bool = False,
    leaks: bool = False,
    **settings: Any,
) -> tuple[Report, _Checker]:
    report = Report(name, tuple(modes), strict=strict)
    try:
        checker = _Checker(problem, report, **settings)
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


@overload
def check_grads(
    f: Callable[..., Any],
    inputs: Any,
    order: int = ...,
    modes: Sequence[str] | str = ...,
    *,
    directions: str = ...,
    atol: float | None = ...,
    rtol: float | None = ...,
    eps: float = ...,
    seed: int = ...,
    strict: bool = ...,
    raise_exception: bool = ...,
    report: Literal[False] = ...,
) -> bool: ...


@overload
def check_grads(
    f: Callable[..., Any],
    inputs: Any,
    order: int = ...,
    modes: Sequence[str] | str = ...,
    *,
    directions: str = ...,
    atol: float | None = ...,
    rtol: float | None = ...,
    eps: float = ...,
    seed: int = ...,
    strict: bool = ...,
    raise_exception: bool = ...,
    report: Literal[True],
) -> Report: ...


def check_grads(
    f: Callable[..., Any],
    inputs: Any,
    order: int = 2,
    modes: Sequence[str] | str = ("fwd", "rev"),
    *,
    directions: str = "auto",
    atol: float | None = None,
    rtol: float | None = None,
    eps: float = 1e-6,
    seed: int = 0,
    strict: bool = False,
    raise_exception: bool = True,
    report: bool = False,
) -> bool | Report:
    """Check derivatives of orders 1 to ``order``, in forward and reverse mode, against differences.

    ``inputs``: a Tensor or array; a tuple or list of positional inputs; or a dict of keyword
    inputs, whose names the report uses. They may be nested, and ``f`` may return several Tensors.
    If some Tensors require a gradient those are checked, else everything floating. Floating inputs
    become float64, integers and booleans pass untouched.

    ``directions``: "entries" looks at every entry, "inputs" along one random direction for each
    input, "joint" along one through all of them, "auto" at every entry of inputs of up to 32
    entries and along one direction of larger ones. When a direction shows a fault, the entries
    that cause it are searched for.

    The slope is measured with one complex step, Im f(x + ih)/h, where every recorded operation
    allows it (first order), else with central differences (f(x + h) − f(x − h)) / 2h extrapolated
    to h = 0 from steps between 0.02 and ``eps``, relative to the entry. Both know their own error,
    which sets the tolerance: about 9 digits for a smooth function. ``atol`` and ``rtol`` replace
    that by |analytic − numeric| ≤ atol + rtol·|numeric|.

    Where the two sides of a point have different slopes the entry is called a kink and does not
    count as wrong, provided the analytic derivative lies between the slopes; a KinkWarning tells.
    With ``strict`` kinks count as failures. Orders above one that is wrong are not looked at, since
    each is measured from the one below.

    Returns True, or raises GradcheckError with a table of input, entry, analytic, numeric and error
    (returns False with ``raise_exception=False``). With ``report=True`` nothing is raised and the
    :class:`Report` is returned, which prints one line per input and order. ``seed`` draws the
    directions. After Griewank & Walther, Evaluating Derivatives (2008); Ridders (1982).

    >>> import tapegrad as tg
    >>> tg.check_grads(lambda x, y: tg.tanh(x) * y, (tg.tensor([0.5, -1.0]), tg.tensor(2.0)))
    True
    >>> square = lambda x: x * x
    >>> print(tg.check_grads(square, {"x": tg.tensor(3.0)}, report=True))
    input  shape  order  checked  analytic  numeric  error ...
    x      ()     1      1 entry  6         6        ...     complex step  ok
    x      ()     2      1 entry  ...
    """
    ways = (modes,) if isinstance(modes, str) else tuple(dict.fromkeys(modes))
    if not ways or set(ways) - {"fwd", "rev"}:
        raise ValueError(f'modes are "fwd" and "rev", not {modes!r}')
    if directions not in ("auto", "entries", "inputs", "joint"):
        raise ValueError(
            f'directions must be "auto", "entries", "inputs" or "joint", not {directions!r}'
        )
    if order < 1:
        raise ValueError(f"order must be at least 1, not {order}")
    problem = problem_of(f, inputs)
    if not problem.values:
        raise ValueError(
            "check_grads: nothing to differentiate by: no input is floating. "
            "Pass a float Tensor or array."
        )
    found, _ = _run(
        "check_grads",
        problem,
        order=order,
        modes=ways,
        directions=directions,
        strict=strict,
        eps=eps,
        atol=atol,
        rtol=rtol,
        seed=seed,
        leaks=atol is None and rtol is None,
    )
    if report:
        return found
    return _conclude(found, raise_exception)


def _conclude(report: Report, raise_exception: bool) -> bool:
    """Raise, warn of kinks, or say yes."""
    if not report.ok:
        if raise_exception:
            raise GradcheckError(report.failure(), report)
        return False
    if report.kinks:
        warnings.warn(report.kink_text(), KinkWarning, stacklevel=3)
    return True


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check the Jacobian of ``func`` against finite differences, with torch's arguments.

    ``inputs``: a Tensor, or a tuple of what ``func`` takes; those that require a gradient are
    checked. They may be float32: the check runs on float64 copies. ``eps`` is the smallest step;
    slopes are extrapolated from larger ones, so they are more exact than torch's. Passes where
    |analytic − numeric| ≤ atol + rtol·|numeric|.

    ``nondet_tol``: how far two runs on the same inputs may differ. ``check_undefined_grad``: the
    gradient of each output alone, the others' being absent. ``check_grad_dtypes``: run unpromoted
    too, and ask that results and gradients keep the inputs' dtype. ``check_batched_grad`` and
    ``check_batched_forward_grad``: the same derivatives under ``vmap``. ``check_forward_ad``,
    ``check_backward_ad``: which modes. ``fast_mode``: one random direction for each input instead
    of every entry. ``masked`` is about sparse tensors, which there are none of.

    Returns True, or raises GradcheckError with a table (returns False with
    ``raise_exception=False``). ValueError when no input requires a gradient. Entries at a kink are
    named by a KinkWarning and not counted as wrong.

    >>> import tapegrad as tg
    >>> x = tg.tensor([0.5, 1.5], requires_grad=True)
    >>> tg.gradcheck(lambda x: (x * x).sum(), x)
    True
    """
    return _torch_like(
        "gradcheck",
        problem_of(func, inputs, needs_flag=True),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_batched_forward_grad=check_batched_forward_grad,
        check_forward_ad=check_forward_ad,
        check_backward_ad=check_backward_ad,
        fast_mode=fast_mode,
    )


def _torch_like(
    name: str,
    problem: Problem,
    *,
    eps: float,
    atol: float,
    rtol: float,
    raise_exception: bool,
    nondet_tol: float,
    check_undefined_grad: bool,
    check_grad_dtypes: bool,
    check_batched_grad: bool,
    check_forward_ad: bool,
    check_backward_ad: bool,
    fast_mode: bool,
    check_batched_forward_grad: bool = False,
) -> bool:
    if not problem.values:
        raise ValueError(
            f"{name} expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True. Make one with tg.tensor(..., requires_grad=True), or use "
            "tg.check_grads, which checks everything floating."
        )
    modes = [m for m, wanted in (("rev", check_backward_ad), ("fwd", check_forward_ad)) if wanted]
    if not modes:
        raise ValueError(f"{name}: check_backward_ad and check_forward_ad cannot both be False")
    try:
        report, checker = _run(
            name,
            problem,
            order=1,
            modes=modes,
            directions="inputs" if fast_mode else "entries",
            eps=eps,
            atol=atol,
            rtol=rtol,
            seed=0,
            each_output=not fast_mode,
            nondet_tol=nondet_tol,
        )
        if report.ok:
            with enable_grad():
                if check_backward_ad:
                    _check_repeatable(name, checker, nondet_tol)
                if check_undefined_grad and check_backward_ad:
                    _check_absent(name, checker)
                if check_grad_dtypes:
                    _check_dtypes(name, problem)
                if check_batched_grad or check_batched_forward_grad:
                    _check_batched(name, checker, check_batched_grad, check_batched_forward_grad)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return _conclude(report, raise_exception)


def _check_repeatable(name: str, checker: _Checker, tolerance: float) -> None:
    """Backward twice, same answer."""
    problem = checker.problem
    leaves = problem.leaves()
    ys = problem.run(leaves)
    one, two = (problem.pull(ys, leaves, checker.cotangents) for _ in range(2))
    for label, a, b in zip(problem.names, one, two):
        if not np.allclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True):
            raise GradcheckError(
                f"{name}: the gradient of input {label} is not reproducible: two backward passes "
                f"through one graph differ by {np.max(np.abs(a - b)):.1e}. A rule draws random "
                "numbers or changes what it reads; allow a small difference with nondet_tol."
            )


def _check_absent(name: str, checker: _Checker) -> None:
    """The gradients of each output alone must add up to that of all together."""
    problem = checker.problem
    if len(problem.shapes) < 2:
        return
    leaves = problem.leaves()
    ys = problem.run(leaves)
    whole = problem.pull(ys, leaves, checker.cotangents)
    total = [np.zeros_like(g) for g in whole]
    for k in range(len(ys)):
        alone: list[ndarray | None] = [None] * len(ys)
        alone[k] = checker.cotangents[k]
        total = [t + g for t, g in zip(total, problem.pull(ys, leaves, alone))]
    for label, a, b in zip(problem.names, whole, total):
        if not np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True):
            raise GradcheckError(
                f"{name}: the gradient of input {label} changes when some outputs have none: the "
                "gradients of the outputs taken singly do not add up to that of all together. "
                "A rule must treat an absent cotangent as zero."
            )


def _check_dtypes(name: str, problem: Problem) -> None:
    """Unpromoted: results of the widest input dtype, gradients of each input's own."""
    from .reverse import grad

    leaves = [
        make(settle(np.array(v, d)), None).requires_grad_()
        for v, d in zip(problem.values, problem.dtypes)
    ]
    ys = [y for y in problem.run(leaves) if y.requires_grad]
    widest = np.result_type(*problem.dtypes)
    for label, y in zip(problem.outputs, ys):
        if y.dtype != widest:
            raise GradcheckError(
                f"{name}: from inputs of dtype {widest}, output {label or 'the result'} came out "
                f"as {y.dtype}: a constant or a rule inside does not keep the dtype"
            )
    if ys:
        ones = [make(settle(np.ones(y.shape, y.dtype)), None) for y in ys]
        for label, x, g in zip(problem.names, leaves, grad(ys, leaves, ones, allow_unused=True)):
            if g is not None and g.dtype != x.dtype:
                raise GradcheckError(
                    f"{name}: input {label} has dtype {x.dtype}, its gradient {g.dtype}"
                )


def _check_batched(name: str, checker: _Checker, backward: bool, forward: bool) -> None:
    """vmap over the VJP and the JVP gives what a loop gives."""
    from .forward import push_forward
    from .func import vmap
    from .reverse import grad

    problem = checker.problem
    leaves = problem.leaves()
    ys = [y for y in problem.run(leaves) if y.requires_grad]
    if not ys:
        return
    random = checker._random

    def pull(*cotangents: Tensor) -> Any:
        return grad(ys, leaves, cotangents, retain_graph=True, materialize_grads=True)

    def push(*tangents: Tensor) -> Any:
        return tuple(push_forward(ys, leaves, tangents, False))

    for wanted, mapped, over in ((backward, pull, ys), (forward, push, leaves)):
        if not wanted:
            continue
        batch = [make(random((3, *t.shape)), None) for t in over]
        together = vmap(mapped)(*batch)
        for k in range(3):
            alone = mapped(*[make(settle(b._value[k]), None) for b in batch])
            for whole, one in zip(together, alone):
                if not np.allclose(np.asarray(whole._value)[k], one._value, rtol=1e-9, atol=1e-12):
                    raise GradcheckError(
                        f"{name}: the derivative under vmap is not what a loop gives: a rule of "
                        f"{', '.join(problem.operations[:8])} mixes up the batch"
                    )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Check second derivatives: the gradient of ``func``, by inputs and by ``grad_outputs``.

    Arguments as for :func:`gradcheck`; ``grad_outputs``, a Tensor or a sequence with one for every
    floating output, is random when it is None. ``check_fwd_over_rev`` and ``check_rev_over_rev``
    choose the mode that differentiates the reverse pass. ``gen_non_contig_grad_outputs`` makes the
    random ones non-contiguous in memory.

    >>> import tapegrad as tg
    >>> x = tg.tensor([0.5, 1.5], requires_grad=True)
    >>> tg.gradgradcheck(lambda x: tg.tanh(x) * x, x)
    True
    """
    from .reverse import grad

    problem = problem_of(func, inputs, needs_flag=True)
    count = len(problem.values)
    if count:
        with enable_grad():
            ys = problem.run(problem.leaves())
    else:
        ys = []
    if grad_outputs is None:
        random = np.random.default_rng(0)
        seeds = []
        for y in ys:
            shape = (*y.shape, 2) if gen_non_contig_grad_outputs else y.shape
            seed = np.asarray(random.standard_normal(shape))
            seeds.append(seed[..., 0] if gen_non_contig_grad_outputs else seed)
    else:
        given = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
        if len(given) != len(ys):
            raise ValueError(
                f"gradgradcheck: func has {len(ys)} floating outputs, but {len(given)} grad_outputs"
            )
        seeds = [np.array(g._value if isinstance(g, Tensor) else g, np.float64) for g in given]

    def gradient(leaves: list[Tensor]) -> Any:
        xs, gs = leaves[:count], leaves[count:]
        pairs = [(y, g) for y, g in zip(problem.run(xs), gs) if y.requires_grad]
        if not pairs:
            return ()
        found = grad(
            [y for y, _ in pairs],
            xs,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
        return {f"grad {n}": g for n, g in zip(problem.names, found) if g is not None}

    names = problem.names + [f"grad_output {k}" for k in range(len(seeds))]
    dtypes = problem.dtypes + [np.dtype(np.float64)] * len(seeds)
    return _torch_like(
        "gradgradcheck",
        Problem(gradient, names, problem.values + seeds if count else [], dtypes),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
    )
