"""Initial values of weights; each function fills its tensor in place and returns it."""

from __future__ import annotations

import math
from typing import Any

from tapegrad import Tensor, no_grad, normal, rand

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": 2.0**0.5, "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What a layer's standard deviation is multiplied by before this activation.

    >>> import tapegrad as tg
    >>> tg.nn.init.calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1.0 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ValueError(
            f"no gain for {nonlinearity!r}; known: {', '.join(sorted([*_GAINS, 'leaky_relu']))}"
        )
    return _GAINS[nonlinearity]


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Inputs and outputs of one unit, for a weight of shape (out, in, ...)."""
    if tensor.ndim < 2:
        raise ValueError(f"fan in and fan out need at least 2 dimensions, got shape {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fill(tensor: Tensor, values: Tensor) -> Tensor:
    with no_grad():
        return tensor.copy_(values)  # type: ignore[no-any-return]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b).

    >>> import tapegrad as tg
    >>> bool((tg.nn.init.uniform_(tg.empty(100), -1.0, 1.0) < 1.0).all())
    True
    """
    draw = rand(*tensor.shape, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, a + (b - a) * draw)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with this mean and standard deviation.

    >>> import tapegrad as tg
    >>> tg.nn.init.normal_(tg.empty(3)).shape
    (3,)
    """
    return _fill(tensor, normal(mean, std, tensor.shape, dtype=tensor.dtype, generator=generator))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with variance gain²·2/(n_in + n_out): for sigmoid and tanh.

    >>> import tapegrad as tg
    >>> tg.nn.init.xavier_uniform_(tg.empty(4, 2)).shape
    (4, 2)

    Source: Glorot and Bengio (2010).
    """
    n_in, n_out = _fans(tensor)
    bound = gain * math.sqrt(6.0 / (n_in + n_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with variance gain²·2/(n_in + n_out): for sigmoid and tanh.

    >>> import tapegrad as tg
    >>> tg.nn.init.xavier_normal_(tg.empty(4, 2)).shape
    (4, 2)

    Source: Glorot and Bengio (2010).
    """
    n_in, n_out = _fans(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (n_in + n_out)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', not {mode!r}")
    fan = max(_fans(tensor)[mode == "fan_out"], 1)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform with standard deviation gain/√fan, √(2/n_in) for ReLU (He initialisation).

    >>> import tapegrad as tg
    >>> tg.nn.init.kaiming_uniform_(tg.empty(4, 2), nonlinearity="relu").shape
    (4, 2)

    Source: He et al. (2015).
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with standard deviation gain/√fan, √(2/n_in) for ReLU (He initialisation).

    >>> import tapegrad as tg
    >>> tg.nn.init.kaiming_normal_(tg.empty(4, 2), nonlinearity="relu").shape
    (4, 2)

    Source: He et al. (2015).
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def zeros_(tensor: Tensor) -> Tensor:
    """All zeros (for biases; hidden weights set to zero stay equal for ever).

    >>> import tapegrad as tg
    >>> tg.nn.init.zeros_(tg.ones(2))
    tensor([0., 0.])
    """
    with no_grad():
        return tensor.zero_()  # type: ignore[no-any-return]
