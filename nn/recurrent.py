"""Recurrent networks over sequences: RNN, LSTM, GRU."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from tapegrad import Tensor, cat, empty, stack, zeros

from . import functional, init, recurrences
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence, sizes_of

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(Module):
    """What the three have in common: layers and directions, shapes, packed sequences."""

    blocks: ClassVar[int]  # how many sums a step has for each unit
    names_of_states: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for what, value in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ):
            if not isinstance(value, int):
                raise TypeError(f"{name}: {what} must be an int, not {type(value).__name__}")
            if value < 1:
                raise ValueError(f"{name}: {what} must be at least 1, not {value}")
        for what, flag in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(flag, bool):
                raise TypeError(f"{name}: {what} must be a bool, not {type(flag).__name__}")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is a probability, a number in [0, 1]: {dropout!r}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"{name}: dropout acts between layers, and there is one only: "
                f"dropout={dropout} does nothing",
                stacklevel=3,
            )
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"{name}: proj_size must be smaller than hidden_size={hidden_size} (0 for no "
                f"projection), not {proj_size}"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, 1.0 * dropout
        self.bidirectional, self.proj_size = bidirectional, proj_size
        width, directions = proj_size or hidden_size, 2 if bidirectional else 1
        rows = self.blocks * hidden_size
        self._names: list[list[str]] = []
        for layer in range(num_layers):
            below = width * directions if layer else input_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, below),
                "weight_hh": (rows, width),
            }
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[:directions]:
                names = {key: f"{key}_l{layer}{suffix}" for key in shapes}
                for key, shape in shapes.items():
                    setattr(self, names[key], Parameter(empty(*shape, device=device, dtype=dtype)))
                self._names.append(list(names.values()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew: uniform in ±1/√hidden_size."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def flatten_parameters(self) -> None:
        """Do nothing: weights have one layout only. Code written for torch calls it."""

    def _direction(
        self,
        x: Tensor,
        states: tuple[Tensor, ...],
        weights: list[Tensor],
        sizes: tuple[int, ...],
        reverse: bool,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One layer in one direction; see ``recurrences``."""
        raise NotImplementedError

    def _states(self, hx: Any, count: int, dtype: Any) -> list[tuple[Tensor, ...]]:
        """The initial states (N, H) of each layer and direction."""
        widths = (self.proj_size or self.hidden_size, self.hidden_size)
        total = len(self._names)
        if hx is None:
            each = tuple(
                zeros(count, width, dtype=dtype)
                for width, _ in zip(widths, self.names_of_states, strict=False)
            )
            return [each] * total
        for state, width, name in zip(hx, widths, self.names_of_states, strict=False):
            if state.shape != (total, count, width):
                raise ValueError(
                    f"{type(self).__name__}: the initial {name} must have shape "
                    f"{(total, count, width)}, for layers times directions, batch and units, not "
                    f"{state.shape}"
                )
            if state.dtype != dtype:
                raise ValueError(
                    f"{type(self).__name__}: the initial {name} is {state.dtype}, but the input "
                    f"{dtype}: say hx.to(...)"
                )
        return list(zip(*(state.unbind(0) for state in hx), strict=True))

    def _layers(
        self, rows: Tensor, sizes: tuple[int, ...], states: list[tuple[Tensor, ...]]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All layers on packed rows; the last states stacked."""
        directions = 2 if self.bidirectional else 1
        last: list[tuple[Tensor, ...]] = []
        weights = self.all_weights
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                rows = functional.dropout(rows, self.dropout)
            found = []
            for k in range(layer * directions, (layer + 1) * directions):
                h, ended = self._direction(
                    rows, states[k], weights[k], sizes, reverse=k % directions == 1
                )
                found.append(h)
                last.append(ended)
            rows = cat(found, 1) if self.bidirectional else found[0]
        return rows, tuple(stack(s) for s in zip(*last, strict=True))

    def _check_input(self, rows: Tensor) -> None:
        name, first = type(self).__name__, getattr(self, self._names[0][0])
        if rows.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: the last dimension of the input must be input_size={self.input_size}, "
                f"but its shape is {rows.shape}"
            )
        if rows.dtype != first.dtype:
            raise ValueError(
                f"{name}: the input is {rows.dtype}, but the weights are {first.dtype}: convert "
                f"the input, input.to({str(first.dtype)!r}), or the module, with .to(...)"
            )

    def _run(self, input: Any, hx: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """The output in the form of the input, and the last states."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        name = type(self).__name__
        if not isinstance(input, Tensor):
            raise TypeError(
                f"{name}: input must be a tensor or a PackedSequence, not {type(input).__name__}"
            )
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{name}: input must be {'(N, L, C)' if self.batch_first else '(L, N, C)'} or "
                f"(L, C), got shape {input.shape}"
            )
        self._check_input(input)
        is_single = input.ndim == 2
        if is_single:
            x = input.unsqueeze(1)
            if hx is not None:
                if any(s.ndim != 2 for s in hx):
                    raise ValueError(
                        f"{name}: beside an input of one sequence, {input.shape}, initial states "
                        f"have 2 dimensions, not shapes {[s.shape for s in hx]}"
                    )
                hx = tuple(s.unsqueeze(1) for s in hx)
        else:
            x = input.transpose(0, 1) if self.batch_first else input
        length, count = x.shape[:2]
        if not length:
            raise ValueError(f"{name}: the sequence has no steps (input of shape {input.shape})")
        states = self._states(hx, count, x.dtype)
        rows, last = self._layers(x.flatten(0, 1), (count,) * length, states)
        output = rows.reshape(length, count, rows.shape[1])
        if is_single:
            return output.squeeze(1), tuple(s.squeeze(1) for s in last)
        return output.transpose(0, 1) if self.batch_first else output, last

    def _run_packed(
        self, input: PackedSequence, hx: Any
    ) -> tuple[PackedSequence, tuple[Tensor, ...]]:
        rows, sizes = input[0], sizes_of(input)
        if rows.ndim != 2 or not sizes:
            raise ValueError(
                f"{type(self).__name__}: packed data must be (rows, C), got shape {rows.shape} "
                f"in {len(sizes)} steps"
            )
        self._check_input(rows)
        if hx is not None and input.sorted_indices is not None:
            hx = tuple(s.index_select(1, input.sorted_indices) for s in hx)
        rows, last = self._layers(rows, sizes, self._states(hx, sizes[0], rows.dtype))
        order = input.unsorted_indices
        if order is not None:
            last = tuple(s.index_select(1, order) for s in last)
        return input._replace(data=rows), last

    def extra_repr(self) -> str:
        """The settings, those that have their usual value left out."""
        shown = f"{self.input_size}, {self.hidden_size}"
        usual: Sequence[tuple[str, Any]] = (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0),
            ("bidirectional", False),
        )
        for name, value in usual:
            if getattr(self, name) != value:
                shown += f", {name}={getattr(self, name)}"
        return shown


class RNN(_Recurrent):
    """h[t] = tanh(W·x[t] + b + U·h[t-1] + b'), over sequences, in layers.

    ``nonlinearity``: "tanh" or "relu". ``num_layers``: each layer reads the outputs of the one
    below. ``batch_first``: sequences are (N, L, C), not (L, N, C). ``dropout``: its probability,
    between layers, in training. ``bidirectional``: a second set of weights reads each sequence
    from its end, and outputs are joined. Input also (L, C), one sequence, or a
    :class:`~tapegrad.nn.utils.rnn.PackedSequence`, for which each sequence ends at its length.

    ``layer(input, hx)`` gives the outputs (L, N, H) of the last layer and the last state of
    every layer and direction, (layers · directions, N, H); ``hx`` is the first state, 0 if not
    given. Weights are uniform in ±1/√H at first.

    A derivative goes back through all steps. To cut it after some (truncated backpropagation
    through time), hand the state on detached: ``output, h = layer(part, h.detach())``.

    Raises ValueError for shapes or dtypes that do not fit, or a sequence without steps.

    >>> import tapegrad as tg
    >>> layer = tg.nn.RNN(3, 4, num_layers=2)
    >>> output, h = layer(tg.zeros(7, 5, 3))
    >>> output.shape, h.shape
    ((7, 5, 4), (2, 5, 4))

    Source: Elman (1990), Finding structure in time.
    """

    blocks = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
        self.nonlinearity = nonlinearity

    def _direction(self, x: Any, states: Any, weights: Any, sizes: Any, reverse: bool) -> Any:
        return recurrences.rnn(x, states, weights, sizes, reverse, self.nonlinearity == "relu")

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """The outputs of all steps and the last state."""
        output, (h,) = self._run(input, None if hx is None else (hx,))
        return output, h


class LSTM(_Recurrent):
    """Long short-term memory: c[t] = f·c[t-1] + i·n and h[t] = o·tanh(c[t]).

    i, f, o = σ(W·x[t] + b + U·h[t-1] + b'), n = tanh of the same, each with rows of its own in
    that order (i, f, n, o). ``proj_size``: h is multiplied by a matrix that leaves it so many
    numbers; such a layer runs step by step, several times slower. The rest is as for
    :class:`RNN`; states are pairs: ``output, (h, c) = layer(input, (h, c))``.

    >>> import tapegrad as tg
    >>> layer = tg.nn.LSTM(3, 4, bidirectional=True)
    >>> output, (h, c) = layer(tg.zeros(7, 5, 3))
    >>> output.shape, h.shape
    ((7, 5, 8), (2, 5, 4))

    Source: Hochreiter and Schmidhuber (1997), Long short-term memory; the forget gate by Gers et
    al. (2000), Learning to forget.
    """

    blocks = 4
    names_of_states = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )

    def _direction(self, x: Any, states: Any, weights: Any, sizes: Any, reverse: bool) -> Any:
        return recurrences.lstm(x, states, weights, sizes, reverse)

    def forward(
        self, input: Any, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        """The outputs of all steps and the last states (h, c)."""
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise TypeError("LSTM: the initial states must be a pair (h, c)")
        output, (h, c) = self._run(input, hx)
        return output, (h, c)


class GRU(_Recurrent):
    """Gated recurrent units: h[t] = (1 - z)·n + z·h[t-1].

    r, z = σ(W·x[t] + b + U·h[t-1] + b') and n = tanh(W·x[t] + b + r·(U·h[t-1] + b')), each with
    rows of its own in that order (r, z, n). As in torch, r acts after the product with U. The
    rest is as for :class:`RNN`.

    >>> import tapegrad as tg
    >>> layer = tg.nn.GRU(3, 4, batch_first=True)
    >>> output, h = layer(tg.zeros(5, 7, 3))
    >>> output.shape, h.shape
    ((5, 7, 4), (1, 5, 4))

    Source: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder.
    """

    blocks = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )

    def _direction(self, x: Any, states: Any, weights: Any, sizes: Any, reverse: bool) -> Any:
        return recurrences.gru(x, states, weights, sizes, reverse)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """The outputs of all steps and the last state."""
        output, (h,) = self._run(input, None if hx is None else (hx,))
        return output, h
