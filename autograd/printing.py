"""How a tensor prints: torch's layout, so that outputs can be compared by eye."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

PRECISION, THRESHOLD, EDGE, WIDTH = 4, 1000, 3, 80


class _Style:
    """One format for all elements: integers as ``1.``, else four decimals, else scientific."""

    def __init__(self, values: ndarray) -> None:
        self.floating = values.dtype.kind == "f"
        self.whole, self.scientific, self.width = True, False, 1
        flat = values.reshape(-1)
        if not self.floating:
            self.width = max((len(str(v)) for v in flat.tolist()), default=1)
            return
        finite = flat[np.isfinite(flat) & (flat != 0)].astype(np.float64)
        if not finite.size:
            return
        size = np.abs(finite)
        low, high = float(size.min()), float(size.max())
        self.whole = bool(np.all(finite == np.ceil(finite)))
        with np.errstate(over="ignore"):
            wide = high / low > 1000.0 or high > 1e8
        self.scientific = wide or (not self.whole and low < 1e-4)
        self.width = max(len(self._bare(v)) for v in finite.tolist())

    def _bare(self, value: float) -> str:
        if self.scientific:
            return f"{value:.{PRECISION}e}"
        if self.whole:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{PRECISION}f}"

    def __call__(self, value: Any) -> str:
        return (self._bare(value) if self.floating else str(value)).rjust(self.width)


def layout(values: ndarray, indent: int = len("tensor(")) -> str:
    """The elements of an array in nested brackets, large ones by their edges."""
    if not values.size:
        return "[]"
    short = values.size > THRESHOLD
    shown = values
    if short:
        for axis, length in enumerate(values.shape):
            if length > 2 * EDGE:
                ends = [*range(EDGE), *range(length - EDGE, length)]
                shown = np.take(shown, ends, axis=axis)
    return _nested(values, _Style(shown), short, indent)


def _nested(values: ndarray, style: _Style, short: bool, indent: int) -> str:
    if not values.ndim:
        return style(values.item())
    count = len(values)
    cut = short and count > 2 * EDGE
    ends = [*range(EDGE), *range(count - EDGE, count)] if cut else range(count)
    if values.ndim == 1:
        items = [style(v) for v in values[list(ends)].tolist()]
        if cut:
            items.insert(EDGE, " ...")
        per_line = max(1, (WIDTH - indent) // (style.width + 2))
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = [_nested(values[i], style, short, indent + 1) for i in ends]
    if cut:
        rows.insert(EDGE, "...")
    between = "," + "\n" * (values.ndim - 1) + " " * (indent + 1)
    return "[" + between.join(rows) + "]"


def describe(value: Any, extras: list[str]) -> str:
    """``tensor(..., extras)``; the extras go on a line of their own where they do not fit."""
    plain = isinstance(value, (ndarray, float, np.generic))
    text = "tensor(" + (layout(np.asarray(value)) if plain else repr(value))
    last = len(text) - (text.rfind("\n") + 1) + 1
    for extra in extras:
        if last + len(extra) + 2 > WIDTH:
            text += ",\n" + " " * len("tensor(") + extra
            last = len("tensor(") + len(extra)
        else:
            text += ", " + extra
            last += len(extra) + 2
    return text + ")"
