"""How many inputs and outputs a unit has, and what its activation does to the spread."""

from __future__ import annotations

from math import prod
from typing import Any

from tapegrad import Tensor

__all__ = ["calculate_fan_in_and_fan_out", "calculate_gain"]

_LINEAR = ("linear", *(f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)))
#: Those of PyTorch; that of SELU was found by experiment.
_GAINS = dict.fromkeys((*_LINEAR, "sigmoid"), 1.0) | {
    "tanh": 5.0 / 3.0,
    "relu": 2.0**0.5,
    "selu": 3.0 / 4.0,
}
MODES = ("fan_in", "fan_out", "fan_avg")


def calculate_gain(nonlinearity: str, param: Any = None) -> Any:
    """What a layer's standard deviation is multiplied by for the activation after it.

    ``nonlinearity``: "linear", "conv1d" and its kin, and "sigmoid" have 1, "tanh" 5/3, "relu" √2,
    "leaky_relu" √(2/(1 + a²)) with the slope a = ``param`` (.01; a Tensor gets its gradient),
    "selu" 3/4. ValueError for others.

    >>> import tapegrad as tg
    >>> tg.nn.init.calculate_gain("tanh")
    1.6666666666666667
    >>> tg.nn.init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float, Tensor)):
            raise ValueError(
                f"calculate_gain: the negative slope must be a number or a tensor, not {param!r}"
            )
        return (2.0 / (1.0 + slope * slope)) ** 0.5
    if nonlinearity not in _GAINS:
        known = ", ".join(sorted([*_GAINS, "leaky_relu"]))
        raise ValueError(
            f"calculate_gain: no gain for {nonlinearity!r}; known: {known}. See nn.init.recommend "
            "for what suits other activations."
        )
    return _GAINS[nonlinearity]


def calculate_fan_in_and_fan_out(shape: Any) -> tuple[int, int]:
    """Inputs and outputs of one unit: (in·k, out·k) for a weight (out, in, *kernel) of k places.

    ``shape``: of the weight, or the weight. ValueError for fewer than 2 dimensions.

    >>> import tapegrad as tg
    >>> tg.nn.init.calculate_fan_in_and_fan_out((16, 3, 5, 5))
    (75, 400)
    """
    sizes = tuple(shape.shape if isinstance(shape, Tensor) else shape)
    if len(sizes) < 2:
        raise ValueError(
            f"fan in and fan out need a weight of at least 2 dimensions, (out, in, ...), not "
            f"shape {sizes}"
        )
    field = prod(sizes[2:])
    return sizes[1] * field, sizes[0] * field


def fan(shape: Any, mode: str) -> float:
    """The number by which a variance is divided, at least 1."""
    n_in, n_out = calculate_fan_in_and_fan_out(shape)
    kind = mode.lower() if isinstance(mode, str) else mode
    if kind not in MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, not {mode!r}")
    found = {"fan_in": n_in, "fan_out": n_out, "fan_avg": (n_in + n_out) / 2.0}[kind]
    return max(found, 1.0)
