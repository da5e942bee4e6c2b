"""Activations made of pieces, as modules; the functions say more."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, full

from .activations import InPlace
from .formulas_piecewise import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    prelu,
    relu,
    relu6,
    rrelu,
    softshrink,
    step,
    step_straight_through,
    threshold,
)
from .module import Module
from .parameter import Parameter

__all__ = [
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "Softshrink",
    "Step",
    "Threshold",
]


class ReLU(InPlace):
    """max(x, 0), with derivative 0 at 0.

    ``inplace``: write the result into the input.

    >>> import tapegrad as tg
    >>> tg.nn.ReLU()(tg.tensor([-1.0, 2.0]))
    tensor([0., 2.])

    Source: Nair and Hinton (2010), Rectified linear units improve restricted Boltzmann machines.
    """

    def forward(self, input: Tensor) -> Tensor:
        """max(x, 0)."""
        return relu(input, self.inplace)  # type: ignore[no-any-return]


class ReLU6(InPlace):
    """min(max(x, 0), 6); see :func:`tapegrad.nn.functional.relu6`.

    >>> import tapegrad as tg
    >>> tg.nn.ReLU6()(tg.tensor([-1.0, 2.0, 7.0]))
    tensor([0., 2., 6.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """min(max(x, 0), 6)."""
        return relu6(input, self.inplace)  # type: ignore[no-any-return]


class LeakyReLU(InPlace):
    """x above 0, negative_slope·x below; see :func:`tapegrad.nn.functional.leaky_relu`.

    >>> import tapegrad as tg
    >>> tg.nn.LeakyReLU(0.1)(tg.tensor([-1.0, 2.0]))
    tensor([-0.1000,  2.0000])
    """

    def __init__(self, negative_slope: Any = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """The unit."""
        return leaky_relu(  # type: ignore[no-any-return]
            input, self.negative_slope, self.inplace
        )

    def extra_repr(self) -> str:
        """The settings."""
        return self._shown(negative_slope=self.negative_slope)


class PReLU(Module):
    """x above 0, weight·x below, with a learned weight; see :func:`tapegrad.nn.functional.prelu`.

    ``num_parameters``: 1, or the number of channels (dimension 1); ``init``: their first value.

    >>> import tapegrad as tg
    >>> tg.nn.PReLU()(tg.tensor([-1.0, 2.0]))
    tensor([-0.2500,  2.0000], grad_fn=<where>)
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(full((num_parameters,), init, device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        """The unit."""
        return prelu(input, self.weight)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The number of weights."""
        return f"num_parameters={self.num_parameters}"


class RReLU(InPlace):
    """x above 0, a·x below, a random in training; see :func:`tapegrad.nn.functional.rrelu`.

    >>> import tapegrad as tg
    >>> tg.nn.RReLU(0.1, 0.3).eval()(tg.tensor([-1.0, 2.0]))
    tensor([-0.2000,  2.0000])
    """

    def __init__(
        self, lower: Any = 1.0 / 8.0, upper: Any = 1.0 / 3.0, inplace: bool = False
    ) -> None:
        super().__init__(inplace)
        self.lower, self.upper = lower, upper

    def forward(self, input: Tensor) -> Tensor:
        """The unit."""
        return rrelu(  # type: ignore[no-any-return]
            input, self.lower, self.upper, self.training, self.inplace
        )

    def extra_repr(self) -> str:
        """The settings."""
        return self._shown(lower=self.lower, upper=self.upper)


class Hardtanh(InPlace):
    """x held between two values; see :func:`tapegrad.nn.functional.hardtanh`.

    >>> import tapegrad as tg
    >>> tg.nn.Hardtanh()(tg.tensor([-2.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """

    def __init__(self, min_val: Any = -1.0, max_val: Any = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val, self.max_val = min_val, max_val

    def forward(self, input: Tensor) -> Tensor:
        """The values held."""
        return hardtanh(  # type: ignore[no-any-return]
            input, self.min_val, self.max_val, self.inplace
        )

    def extra_repr(self) -> str:
        """The settings."""
        return self._shown(min_val=self.min_val, max_val=self.max_val)


class Hardsigmoid(InPlace):
    """min(max(x + 3, 0), 6)/6; see :func:`tapegrad.nn.functional.hardsigmoid`.

    >>> import tapegrad as tg
    >>> tg.nn.Hardsigmoid()(tg.tensor([-4.0, 1.5]))
    tensor([0.0000, 0.7500])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The unit."""
        return hardsigmoid(input, self.inplace)  # type: ignore[no-any-return]


class Hardswish(InPlace):
    """x·min(max(x + 3, 0), 6)/6; see :func:`tapegrad.nn.functional.hardswish`.

    >>> import tapegrad as tg
    >>> tg.nn.Hardswish()(tg.tensor([-1.0, 1.0]))
    tensor([-0.3333,  0.6667])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The unit."""
        return hardswish(input, self.inplace)  # type: ignore[no-any-return]


class Threshold(InPlace):
    """x above a threshold, a value below; see :func:`tapegrad.nn.functional.threshold`.

    >>> import tapegrad as tg
    >>> tg.nn.Threshold(0.5, 9.0)(tg.tensor([-1.0, 2.0]))
    tensor([9., 2.])
    """

    def __init__(self, threshold: Any, value: Any, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold, self.value = threshold, value

    def forward(self, input: Tensor) -> Tensor:
        """The values above it."""
        return threshold(  # type: ignore[no-any-return]
            input, self.threshold, self.value, self.inplace
        )

    def extra_repr(self) -> str:
        """The settings."""
        return self._shown(threshold=self.threshold, value=self.value)


class Softshrink(Module):
    """x moved towards 0 by lambd; see :func:`tapegrad.nn.functional.softshrink`.

    >>> import tapegrad as tg
    >>> tg.nn.Softshrink()(tg.tensor([-2.0, 0.3]))
    tensor([-1.5000,  0.0000])
    """

    def __init__(self, lambd: Any = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """The values, moved."""
        return softshrink(input, self.lambd)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The setting."""
        return f"{self.lambd}"


class Hardshrink(Module):
    """x, and 0 where |x| ≤ lambd; see :func:`tapegrad.nn.functional.hardshrink`.

    >>> import tapegrad as tg
    >>> tg.nn.Hardshrink()(tg.tensor([-2.0, 0.3]))
    tensor([-2.,  0.])
    """

    def __init__(self, lambd: Any = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """The values that are large enough."""
        return hardshrink(input, self.lambd)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The setting."""
        return f"{self.lambd}"


class Step(Module):
    """The perceptron's step: 1 above 0, else 0, with derivative 0.

    ``straight_through``: let gradients through as if it were x; ``window``: only where |x| is at
    most so much. See :func:`tapegrad.nn.functional.step_straight_through`.

    >>> import tapegrad as tg
    >>> tg.nn.Step()(tg.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 1.])
    >>> x = tg.tensor([-1.0, 2.0], requires_grad=True)
    >>> tg.nn.Step(straight_through=True)(x).sum().backward()
    >>> x.grad
    tensor([1., 1.])
    """

    def __init__(self, straight_through: bool = False, window: Any = None) -> None:
        super().__init__()
        if window is not None and not straight_through:
            raise ValueError("Step: window= is of the straight-through estimator: say so, too")
        self.straight_through, self.window = straight_through, window

    def forward(self, input: Tensor) -> Tensor:
        """The steps."""
        if self.straight_through:
            return step_straight_through(input, self.window)  # type: ignore[no-any-return]
        return step(input)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The settings, where there are any."""
        if not self.straight_through:
            return ""
        return f"straight_through=True{'' if self.window is None else f', window={self.window}'}"
