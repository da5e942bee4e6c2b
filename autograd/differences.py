"""Slopes measured from values alone: what analytic derivatives are checked against.

Along a line ``t -> f(x + t·v)`` the slope at 0 is found from central differences at a falling
sequence of steps, extrapolated to step 0 (Richardson 1911, Ridders 1982), or from one complex
step, ``Im f(x + i·h·v) / h`` (Squire & Trapp 1998), which has no cancellation. Every slope comes
with an estimate of its own error, and says where the function has a kink.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

SMOOTH, KINK, JUMP, EDGE = 0, 1, 2, 3
#: What the kinds of points are called in reports.
KINDS = {
    SMOOTH: "",
    KINK: "",
    JUMP: "differences grow without bound",
    EDGE: "values on one side only",
}

_RATIO = 4.0  # each step is this much smaller than the one before
_ROUNDING = np.finfo(np.float64).eps
_COMPLEX_STEP = 1e-100  # nothing is subtracted, so the step may be as small as one likes


@dataclass
class Slope:
    """The slopes of every output along one line, with what is known about them."""

    value: ndarray  # dy/dt at t = 0
    error: ndarray  # how far off it may be
    kind: ndarray  # SMOOTH, KINK, JUMP or EDGE
    low: ndarray  # between these two lies every subgradient, where there is a kink
    high: ndarray
    size: ndarray  # |y| there, to tell rounding from slopes
    method: str
    variation: ndarray | float = 0.0  # how much y changes along the largest step


class _Extrapolation:
    """Neville's tableau over a falling sequence of steps; knows the best entry of each output."""

    def __init__(self, power: float) -> None:
        self.factor = _RATIO**power  # the error of a difference falls by this from step to step
        self.steps: list[float] = []
        self.rows: list[list[ndarray]] = []
        self.entries: list[tuple[float, ndarray, ndarray]] = []  # (step, value, error)

    def add(self, step: float, difference: ndarray, noise: ndarray) -> None:
        """Take in the difference at the next step; ``noise`` is its rounding error."""
        row = [difference]
        above = self.rows[-1] if self.rows else []
        for j, upper in enumerate(above):
            better = row[j] + (row[j] - upper) / (self.factor ** (j + 1) - 1.0)
            error = np.maximum(np.abs(better - row[j]), np.abs(better - upper)) + noise
            if j + 1 < len(above):  # one lucky coincidence must not count as convergence
                error = np.maximum(error, 0.1 * np.abs(better - above[j + 1]))
            row.append(better)
            self.entries.append((step, better, error))
        self.steps.append(step)
        self.rows.append(row)

    def best(self, thorough: bool) -> tuple[ndarray, ndarray]:
        """The most certain value of each output, and its error.

        ``thorough``: after many steps, read the noise of the function off the smallest ones. It
        is the part of the differences that grows as 1/step, and may be far above rounding.
        """
        d = self.differences
        noise = np.zeros(d[0].shape)
        if thorough and len(d) >= 4:
            # of two, since one may vanish by chance; not of more: a kink may lie among those
            jumps = [np.abs(b - a) * h for a, b, h in zip(d[-3:], d[-2:], self.steps[-2:])]
            noise = 0.5 * np.fmax.reduce(np.nan_to_num(jumps, nan=0.0))
        value, least = np.array(d[-1]), np.full(d[0].shape, np.inf)
        for step, better, error in self.entries:
            error = error + noise / step
            wins = error < least  # False for NaN: steps outside the domain drop out
            value, least = np.where(wins, better, value), np.where(wins, error, least)
        return value, least

    @property
    def differences(self) -> list[ndarray]:
        """The differences themselves, by falling step."""
        return [row[0] for row in self.rows]


def slope(
    function: Callable[[float], ndarray],
    *,
    eps: float = 1e-6,
    first: float = 0.02,
    target: float = 1e-10,
    floor: float = 0.0,
) -> Slope:
    """The slope at 0 of ``function(t)``, a vector of float64 for a float.

    ``first``: the largest step, ``eps``: the smallest. Stops early once every output is known to
    ``target`` of its size and has no sign of a kink. ``floor``: the size of what the values are
    made of, where terms cancel: their rounding stays.
    """
    with np.errstate(all="ignore"):
        center = function(0.0)
        size = np.fmax(np.abs(center), floor)
        both, right, left = _Extrapolation(2), _Extrapolation(1), _Extrapolation(1)
        # Where the second derivative jumps (x·|x| at 0), central differences err by h, not h².
        uneven = _Extrapolation(1)
        step, settled = first, False
        while not settled and (step >= eps or len(both.rows) < 4):
            above, below = function(step), function(-step)
            size = np.fmax(size, np.fmax(np.abs(above), np.abs(below)))
            noise = 2 * _ROUNDING * size / step
            both.add(step, (above - below) / (2 * step), noise)
            uneven.add(step, both.differences[-1], noise)
            right.add(step, (above - center) / step, noise)
            left.add(step, (center - below) / step, noise)
            step /= _RATIO
            if len(both.rows) >= 3:
                value, error = both.best(False)
                close = error <= target * (np.abs(value) + size * 1e-3)
                settled = bool(np.all(close & _looks_smooth(right, left, noise)))
        value, error = both.best(not settled)
        if not settled:
            other, other_error = uneven.best(True)
            better = other_error < 0.01 * error
            value = np.where(better, other, value)
            error = np.where(better, other_error, error)
        kind, near = _kinds(both, right, left, noise)
        r, r_error = right.best(not settled)
        l, l_error = left.best(not settled)
        edge = kind == EDGE
        value = np.where(edge, np.where(np.isfinite(r_error), r, l), value)
        error = np.where(edge, np.fmin(r_error, l_error), error)
        # A kink near by that the smallest steps no longer reach: believe those.
        clear = near & (kind == SMOOTH)
        last, before = both.differences[-1], both.differences[-2]
        value = np.where(clear, last, value)
        error = np.where(clear, np.abs(last - before) + noise, error)
        sides_r, sides_l = right.differences, left.differences
        sides = np.array([*sides_r, *sides_l])
        low, high = np.fmin(r, l), np.fmax(r, l)
        return Slope(
            value=value,
            error=error,
            kind=kind,
            low=np.where(near, np.fmin.reduce(sides), low),
            high=np.where(near, np.fmax.reduce(sides), high),
            size=np.nan_to_num(size),
            method="differences",
            variation=np.nan_to_num(first * np.fmax(*(np.abs(d[0]) for d in (sides_r, sides_l)))),
        )


def _looks_smooth(right: _Extrapolation, left: _Extrapolation, noise: ndarray) -> ndarray:
    """Whether the two one-sided differences close up as the step falls (a smooth function's do
    by the ratio of the steps, or faster)."""
    gaps = [np.abs(r - l) for r, l in zip(right.differences, left.differences)]
    return (gaps[-1] <= 0.45 * gaps[-2]) | (gaps[-1] <= 100 * noise)


def _kinds(
    both: _Extrapolation, right: _Extrapolation, left: _Extrapolation, noise: ndarray
) -> tuple[ndarray, ndarray]:
    """What kind of point this is, by how the differences behave as the step falls; and whether a
    kink lies near it without being there."""
    r, l, c = right.differences, left.differences, both.differences
    gaps = [np.abs(a - b) for a, b in zip(r, l)]
    slopes = np.fmax(np.abs(r[-1]), np.abs(l[-1]))
    # A kink: the gap between the sides stays as it is, while the step falls.
    stays = [
        (b > 0.6 * a) & (b < 1.5 * a) & (d > 0.6 * b) & (d < 1.5 * b)
        for a, b, d in zip(gaps, gaps[1:], gaps[2:])
    ]
    here = stays[-1] & (gaps[-1] > 100 * noise) & (gaps[-1] > 1e-6 * slopes)
    near = np.zeros(here.shape, bool)
    for stay, gap in zip(stays, gaps[2:]):
        near |= stay & (gap > 1e-3 * slopes)
    near &= ~here
    unsettled = np.abs(c[-1] - c[-2]) > 1e-4 * slopes
    # A jump: a difference grows as fast as the step falls, and keeps doing so.
    grows = np.zeros(here.shape, bool)
    for side, other in ((c, c), (r, l), (l, r)):
        steady = np.abs(side[-1]) > 100 * noise
        if other is not side:  # beside a kink one side catches up with the other, no more
            steady &= np.abs(side[-1]) > 3 * np.abs(other[-1])
        for before, after in zip(side[-4:-1], side[-3:]):
            ratio = np.abs(after) / np.where(before == 0, np.inf, np.abs(before))
            steady &= (ratio > 0.9 * _RATIO) & (ratio < 1.1 * _RATIO)
        grows |= steady
    # Infinite slope on both sides (cbrt at 0) is no smooth point either.
    steep = np.abs(c[-1]) > 100 * noise
    for before, after in zip(c[-4:-1], c[-3:]):
        steep &= np.abs(after) > 1.3 * np.abs(before)
    # An edge: the function has values on one side only.
    edge = np.isfinite(r[-1]) != np.isfinite(l[-1])
    kinks = here | (near & unsettled)
    return np.select([edge, grows, kinks, steep], [EDGE, JUMP, KINK, JUMP], SMOOTH), near


def complex_slope(
    complex_function: Callable[[complex], ndarray], function: Callable[[float], ndarray]
) -> Slope | None:
    """The slope by one complex step, or None when anything objects.

    ``complex_function(1j·h)`` must be the analytic continuation of ``function``. The result is
    believed only when its real part is the value, and an ordinary difference agrees roughly.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            stepped = complex_function(1j * _COMPLEX_STEP)
        except Exception:  # whatever it was, ordinary differences will do
            return None
        center = function(0.0)
        if stepped.dtype.kind != "c" or stepped.shape != center.shape:
            return None
        value = stepped.imag / _COMPLEX_STEP
        step = 1e-5
        above, below = function(step), function(-step)
        size = np.fmax(np.abs(center), np.fmax(np.abs(above), np.abs(below)))
        difference = (above - below) / (2 * step)
        rough = 1e-6 * (np.abs(value) + size) + 1e-8 * np.max(np.abs(value), initial=0.0)
        if not (
            np.all(np.isfinite(value))
            and np.all(np.abs(stepped.real - center) <= 1e-12 * (1e-300 + size))
            and np.all(np.abs(value - difference) <= rough)
        ):
            return None
        return Slope(
            value=value,
            error=8 * _ROUNDING * np.abs(value),
            kind=np.zeros(value.shape, int),
            low=value,
            high=value,
            size=size,
            method="complex step",
        )
