"""One step of a recurrent network: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

from typing import Any, ClassVar

from tapegrad import Tensor, empty, zeros

from . import init, recurrences
from .module import Module
from .parameter import Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


class _Cell(Module):
    """What the three have in common: weights, shapes."""

    blocks: ClassVar[int]  # how many sums a step has for each unit
    names_of_states: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, device: Any, dtype: Any
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self.blocks * hidden_size
        self.weight_ih = Parameter(empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(
                name, Parameter(empty(rows, device=device, dtype=dtype)) if bias else None
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew: uniform in ±1/√hidden_size."""
        bound = self.hidden_size**-0.5 if self.hidden_size else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _step(self, x: Tensor, states: Any, weights: Any, sizes: Any) -> Any:
        """One step; see ``recurrences``."""
        raise NotImplementedError

    def _run(self, input: Tensor, hx: Any) -> tuple[Tensor, ...]:
        """The states after the step."""
        name = type(self).__name__
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input must be (N, {self.input_size}) or ({self.input_size},), got shape "
                f"{input.shape}"
            )
        shape = (*input.shape[:-1], self.hidden_size)
        if hx is None:
            hx = (zeros(*shape, dtype=input.dtype),) * len(self.names_of_states)
        for state, what in zip(hx, self.names_of_states, strict=True):
            if state.shape != shape:
                raise ValueError(
                    f"{name}: beside an input of shape {input.shape}, {what} must have shape "
                    f"{shape}, not {state.shape}"
                )
        is_single = input.ndim == 1
        if is_single:
            input, hx = input.unsqueeze(0), tuple(s.unsqueeze(0) for s in hx)
        weights = [self.weight_ih, self.weight_hh]
        if self.bias_ih is not None:
            weights += [self.bias_ih, self.bias_hh]
        _, states = self._step(input, tuple(hx), weights, (len(input),))
        return tuple(s.squeeze(0) for s in states) if is_single else tuple(states)

    def extra_repr(self) -> str:
        """The sizes, and what is not as usual."""
        shown = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            shown += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            shown += f", nonlinearity={self.nonlinearity}"
        return shown


class RNNCell(_Cell):
    """h' = tanh(W·x + b + U·h + b'), or with ReLU (``nonlinearity="relu"``).

    Input (N, input_size) and h (N, hidden_size), or both without N; h is 0 if not given.

    Raises ValueError for shapes that do not fit.

    >>> import tapegrad as tg
    >>> cell = tg.nn.RNNCell(3, 4)
    >>> cell(tg.zeros(5, 3)).shape
    (5, 4)
    """

    blocks = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"RNNCell: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}"
            )
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def _step(self, x: Tensor, states: Any, weights: Any, sizes: Any) -> Any:
        return recurrences.rnn(x, states, weights, sizes, False, self.nonlinearity == "relu")

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        return self._run(input, None if hx is None else (hx,))[0]


class LSTMCell(_Cell):
    """One step of an :class:`LSTM`: (h, c) to (h', c'), each (N, hidden_size) or without N.

    >>> import tapegrad as tg
    >>> cell = tg.nn.LSTMCell(3, 4)
    >>> h, c = cell(tg.zeros(5, 3))
    >>> h.shape, c.shape
    ((5, 4), (5, 4))
    """

    blocks = 4
    names_of_states = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def _step(self, x: Tensor, states: Any, weights: Any, sizes: Any) -> Any:
        return recurrences.lstm(x, states, weights, sizes, False)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next states (h, c)."""
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise TypeError("LSTMCell: the states must be a pair (h, c)")
        h, c = self._run(input, hx)
        return h, c


class GRUCell(_Cell):
    """One step of a :class:`GRU`: h (N, hidden_size) to the next, or both without N.

    >>> import tapegrad as tg
    >>> cell = tg.nn.GRUCell(3, 4)
    >>> cell(tg.zeros(5, 3), tg.zeros(5, 4)).shape
    (5, 4)
    """

    blocks = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def _step(self, x: Tensor, states: Any, weights: Any, sizes: Any) -> Any:
        return recurrences.gru(x, states, weights, sizes, False)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        return self._run(input, None if hx is None else (hx,))[0]
