"""Layers that tell a network where in a sequence things are."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, arange, empty
from tapegrad.errors import ShapeError

from . import init
from .dropout import Dropout
from .functional import rotary_encoding, sinusoidal_encoding
from .module import Module
from .parameter import Parameter

__all__ = [
    "LearnedPositionalEncoding",
    "RotaryPositionalEncoding",
    "SinusoidalPositionalEncoding",
]


class _Added(Module):
    """What the layers that add something to each place have in common."""

    def __init__(self, d_model: int, dropout: float, batch_first: bool) -> None:
        super().__init__()
        self.d_model, self.batch_first = d_model, batch_first
        self.dropout = Dropout(dropout)

    def _length(self, input: Tensor) -> int:
        """The length of the sequences, where the input is as it should be."""
        if input.ndim not in (2, 3) or input.shape[-1] != self.d_model:
            order = "(N, L, E)" if self.batch_first else "(L, N, E)"
            raise ShapeError(
                f"{type(self).__name__}: input must have shape {order}, or (L, E) without a batch, "
                f"with E = d_model = {self.d_model}, not {input.shape}"
            )
        return input.shape[1 if self.batch_first and input.ndim == 3 else 0]

    def _add(self, input: Tensor, places: Tensor) -> Tensor:
        if input.ndim == 3 and not self.batch_first:
            places = places.unsqueeze(1)
        return self.dropout(input + places)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.d_model}" + ", batch_first=True" * self.batch_first


class SinusoidalPositionalEncoding(_Added):
    """Adds sines and cosines of the positions (:func:`tapegrad.nn.functional.sinusoidal_encoding`).

    ``d_model``: the features. ``dropout``: behind the sum. ``base``: the longest wavelength is
    2π·base. Sequences may have any length. Input (L, N, E), with ``batch_first`` (N, L, E), or
    (L, E); so is the output.

    >>> import tapegrad as tg
    >>> layer = tg.nn.SinusoidalPositionalEncoding(4)
    >>> layer(tg.zeros(2, 4))
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """

    def __init__(
        self, d_model: int, dropout: float = 0.0, batch_first: bool = False, base: Any = 10000.0
    ) -> None:
        super().__init__(d_model, dropout, batch_first)
        self.base = base

    def forward(self, input: Tensor) -> Tensor:
        """Input plus positions."""
        places = arange(self._length(input))
        return self._add(
            input, sinusoidal_encoding(places, self.d_model, self.base, dtype=input.dtype)
        )


class LearnedPositionalEncoding(_Added):
    """Adds a learned vector to each place.

    ``max_len``: how many places there are; ``weight`` has shape (max_len, d_model), and starts
    normal with standard deviation 0.02. ``dropout``: behind the sum. Input (L, N, E), with
    ``batch_first`` (N, L, E), or (L, E); so is the output.

    Raises ShapeError for sequences that are longer than ``max_len``.

    >>> import tapegrad as tg
    >>> layer = tg.nn.LearnedPositionalEncoding(4, max_len=10, batch_first=True)
    >>> layer(tg.zeros(3, 5, 4)).shape
    (3, 5, 4)

    Source: Gehring et al. (2017), Convolutional Sequence to Sequence Learning; the initial values:
    Radford et al. (2018), Improving Language Understanding by Generative Pre-Training.
    """

    def __init__(
        self,
        d_model: int,
        max_len: int = 512,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(d_model, dropout, batch_first)
        self.max_len = max_len
        self.weight = Parameter(empty(max_len, d_model, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew."""
        init.normal_(self.weight, 0.0, 0.02)

    def forward(self, input: Tensor) -> Tensor:
        """Input plus the vectors of the places."""
        length = self._length(input)
        if length > self.max_len:
            raise ShapeError(
                f"LearnedPositionalEncoding: a sequence of {length} places is longer than "
                f"max_len={self.max_len}"
            )
        return self._add(input, self.weight[:length])

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.d_model}, max_len={self.max_len}" + ", batch_first=True" * self.batch_first


class RotaryPositionalEncoding(Module):
    """Turns queries or keys by their positions (:func:`tapegrad.nn.functional.rotary_encoding`).

    For attention that is put together by hand: apply it to queries and keys, of shape
    (..., L, E), before :func:`tapegrad.nn.functional.scaled_dot_product_attention`.

    >>> import tapegrad as tg
    >>> turn = tg.nn.RotaryPositionalEncoding()
    >>> turn(tg.tensor([[1.0, 0.0], [1.0, 0.0]]))
    tensor([[1.0000, 0.0000],
            [0.5403, 0.8415]])

    Source: Su et al. (2021), RoFormer: Enhanced Transformer with Rotary Position Embedding.
    """

    def __init__(self, base: Any = 10000.0, interleaved: bool = True) -> None:
        super().__init__()
        self.base, self.interleaved = base, interleaved

    def forward(self, input: Tensor, positions: Tensor | None = None) -> Tensor:
        """The turned input."""
        return rotary_encoding(input, positions, self.base, self.interleaved)

    def extra_repr(self) -> str:
        """The settings."""
        return f"base={self.base}, interleaved={self.interleaved}"
