"""What a derivative check found, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: Verdicts on one derivative, the worst first.
WRONG, NOT_FINITE, IMPRECISE, UNCLEAR = "wrong", "not finite", "imprecise", "unclear"
KINK, EDGE, OK = "kink", "edge", "ok"
FAULTS = (WRONG, NOT_FINITE, IMPRECISE, UNCLEAR)

_MODES = {"rev": "reverse", "fwd": "forward"}


class GradcheckError(RuntimeError, AssertionError):
    """An analytic derivative that disagrees with the measured one; ``report`` has the details.

    >>> import tapegrad as tg
    >>> wrong = lambda x: x * x.detach()
    >>> try:
    ...     tg.check_grads(wrong, tg.tensor([1.0, 2.0]))
    ... except tg.GradcheckError as error:
    ...     print(error.report.findings[0].verdict)
    wrong
    """

    def __init__(self, text: str, report: Report | None = None) -> None:
        super().__init__(text)
        self.report = report


class KinkWarning(UserWarning):
    """The function has a kink at the point of the check, where no derivative can be measured.

    >>> import tapegrad as tg, warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     tg.check_grads(tg.abs, tg.tensor([0.0, 1.0]), order=1)
    True
    >>> caught[0].category.__name__
    'KinkWarning'
    """


@dataclass
class Finding:
    """One derivative that was not simply right."""

    input: str
    entry: str
    output: str
    order: int
    mode: str
    analytic: float
    numeric: float
    error: float
    verdict: str
    note: str = ""

    @property
    def rank(self) -> tuple[Any, ...]:
        """Sorts the worst first."""
        error = self.error if self.error == self.error else float("inf")
        return (FAULTS.index(self.verdict) if self.verdict in FAULTS else 9, self.order, -error)


@dataclass
class Row:
    """One line of the summary: an input at one order, at its largest error."""

    input: str
    shape: tuple[int, ...]
    order: int
    checked: str
    analytic: float = 0.0
    numeric: float = 0.0
    error: float = -1.0
    relative: float = 0.0
    rank: tuple[bool, float] = (False, -1.0)  # of the numbers shown: smooth points first
    methods: set[str] = field(default_factory=set)
    verdicts: set[str] = field(default_factory=set)

    @property
    def verdict(self) -> str:
        """The worst verdict on this line."""
        return next((v for v in (*FAULTS, KINK, EDGE) if v in self.verdicts), OK)


@dataclass
class Report:
    """The outcome of :func:`tapegrad.check_grads`: true when every derivative is right.

    ``rows`` has a line for every input and order, ``findings`` every derivative that is wrong or
    lies at a kink. ``print`` it for the table.

    >>> import tapegrad as tg
    >>> report = tg.check_grads(tg.tanh, tg.tensor([0.5, 1.0]), order=1, report=True)
    >>> bool(report), [row.verdict for row in report.rows]
    (True, ['ok'])
    """

    name: str
    modes: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    strict: bool = False
    count: int = 0
    searched: bool = False  # for entries, in which case there are more findings than checks
    stopped_at: int = 0  # the order that was so wrong that higher ones could not be checked

    @property
    def faults(self) -> list[Finding]:
        """What makes the check fail, the worst first."""
        return [f for f in self.findings if self.strict or f.verdict in FAULTS]

    @property
    def kinks(self) -> list[Finding]:
        """Derivatives at kinks and at edges of the domain."""
        return [f for f in self.findings if f.verdict in (KINK, EDGE)]

    @property
    def ok(self) -> bool:
        """Whether no derivative is wrong."""
        return not self.faults

    def __bool__(self) -> bool:
        return self.ok

    def sort(self) -> None:
        """Put the worst findings first."""
        self.findings.sort(key=lambda f: f.rank)

    def failure(self) -> str:
        """The text of the error: a table of what is wrong, and what to try."""
        faults = self.faults
        modes = " and ".join(_MODES[m] for m in self.modes)
        disagree = any(f.verdict in (WRONG, IMPRECISE, KINK, EDGE) for f in faults)
        what = "disagree" if disagree else "cannot be checked here"
        number = str(len(faults)) if self.searched else f"{len(faults)} of {self.count}"
        head = f"{self.name}: {number} derivatives {what} ({modes})"
        return "\n".join([head, findings_table(faults), *(f"Hint: {h}" for h in self.hints)])

    def kink_text(self) -> str:
        """One sentence and a table about kinks."""
        return (
            f"{self.name}: the function has a kink here, where differences measure no derivative "
            f"(not counted as wrong):\n{findings_table(self.kinks)}"
        )

    def __str__(self) -> str:
        header = (
            "input",
            "shape",
            "order",
            "checked",
            "analytic",
            "numeric",
            "error",
            "method",
            "",
        )
        lines = [
            (
                row.input,
                str(row.shape),
                str(row.order),
                row.checked,
                f"{row.analytic:.8g}",
                f"{row.numeric:.8g}",
                f"{row.error:.1e}",
                ", ".join(sorted(row.methods)),
                row.verdict,
            )
            for row in self.rows
        ]
        text = table(header, lines)
        if self.findings:
            text += "\n" + findings_table(self.findings)
        return "\n".join([text, *(f"Hint: {h}" for h in self.hints if self.faults)])

    __repr__ = __str__


def findings_table(findings: Sequence[Finding], limit: int = 10) -> str:
    """Input, entry, analytic, numeric, error; the worst first, and how many more there are."""
    header = ("input", "entry", "output", "order", "mode", "analytic", "numeric", "error", "")
    lines = [
        (
            f.input,
            f.entry,
            f.output,
            str(f.order) if f.order else "",  # 0: about the function, not about a derivative
            f.mode,
            f"{f.analytic:.10g}" if f.order else "",
            f"{f.numeric:.10g}" if f.order else "",
            f"{f.error:.1e}" if f.order else "",
            f"{f.verdict}{': ' if f.note else ''}{f.note}",
        )
        for f in findings[:limit]
    ]
    text = table(header, lines)
    if len(findings) > limit:
        text += f"\n... and {len(findings) - limit} more"
    return text


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns aligned with spaces; a column that is empty throughout is left out."""
    kept = [i for i in range(len(header)) if any(line[i] for line in lines)]
    rows = [[row[i] for i in kept] for row in (header, *lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(kept))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows)
