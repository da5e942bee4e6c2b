"""Pictures by matplotlib, which is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def pyplot() -> Any:
    """matplotlib.pyplot, or an error that says what to install."""
    try:
        from matplotlib import pyplot as found
    except ImportError:
        raise ImportError('to draw this, pip install "tapegrad[plot]" (matplotlib)') from None
    return found


def figure_of(axes: Any, count: int, **settings: Any) -> tuple[Any, Any]:
    """A figure and its axes: new ones side by side, or those given."""
    if axes is None:
        figure, axes = pyplot().subplots(
            1, count, figsize=(4.6 * count, 3.4), layout="constrained", **settings
        )
    else:
        figure = (axes if count == 1 else axes[0]).figure
    return figure, axes


def lines(ax: Any, names: Sequence[str], curves: Mapping[str, Sequence[Any]]) -> None:
    """Curves over layers, on a logarithmic scale."""
    for label, values in curves.items():
        ax.plot(range(len(values)), values, marker="o", markersize=3, label=label)
    known = [value for values in curves.values() for value in values if value is not None]
    if any(0.0 < value < float("inf") for value in known):
        ax.set_yscale("log")
    _name(ax, names)
    ax.legend(frameon=False, fontsize=8)


def bars(ax: Any, names: Sequence[str], shares: Mapping[str, Sequence[Any]]) -> None:
    """Shares of layers, side by side."""
    width = 0.8 / max(len(shares), 1)
    for i, (label, values) in enumerate(shares.items()):
        ax.bar([k + i * width for k in range(len(values))], values, width, label=label)
    ax.set_ylim(0.0, 1.0)
    _name(ax, names)
    ax.legend(frameon=False, fontsize=8)


def _name(ax: Any, names: Sequence[str]) -> None:
    """Names under the places, as many as there is room for."""
    every = max(1, -(-len(names) // 12))
    ax.set_xticks(range(0, len(names), every), names[::every], rotation=60, fontsize=7)
