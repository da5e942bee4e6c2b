"""Positions as numbers that a network can use, as functions."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, arange, stack
from tapegrad.errors import ShapeError

__all__ = ["rotary_encoding", "sinusoidal_encoding"]


def _angles(positions: Any, features: int, base: Any, dtype: Any) -> Tensor:
    """positions · base^(-2i/features) for i = 0, 1, ...: in float64, then of the dtype."""
    rates = base ** (arange(0, features, 2, dtype="float64") / -max(features, 1))
    return (positions.unsqueeze(-1) * rates).to(dtype)  # type: ignore[no-any-return]


def _sequence(input: Any, positions: Any, at: int, what: str) -> Any:
    """The positions, by default 0, 1, ... along a dimension of the input."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{what}: input must be a tensor, not {type(input).__name__}: tg.tensor(...) makes one"
        )
    if input.ndim < 2 or not input.is_floating_point():
        raise ShapeError(
            f"{what}: input must be floating and have at least 2 dimensions (length, features), "
            f"but it has shape {input.shape} and dtype {input.dtype}"
        )
    return arange(input.shape[at]) if positions is None else positions


def sinusoidal_encoding(
    positions: Tensor, features: int, base: Any = 10000.0, dtype: Any = None
) -> Tensor:
    """Sines and cosines of the positions, of wavelengths from 2π to 2π·base.

    y[..., 2i] = sin(p·base^(-2i/features)), y[..., 2i+1] = cos of the same. ``positions`` (...),
    integers or floats; the result has shape (..., features). ``base``: a float or a tensor.
    ``dtype``: that of the result, the default dtype where not given; angles are computed in
    float64.

    >>> import tapegrad as tg
    >>> tg.nn.functional.sinusoidal_encoding(tg.arange(2), 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """
    from tapegrad import get_default_dtype

    angles = _angles(positions, features, base, "float64")
    pairs = stack([angles.sin(), angles.cos()], -1).flatten(-2)
    return pairs[..., :features].to(get_default_dtype() if dtype is None else dtype)  # type: ignore[no-any-return]


def rotary_encoding(
    input: Tensor, positions: Any = None, base: Any = 10000.0, interleaved: bool = True
) -> Tensor:
    """Queries or keys turned by angles that grow with their positions.

    Features 2i and 2i+1 turn by p·base^(-2i/E) in their plane, so that the dot product of a query
    and a key depends on how far apart they are, not where. Lengths stay.

    ``input``: (..., L, E) with even E, as :func:`scaled_dot_product_attention` takes it.
    ``positions``: (L,), or what broadcasts with (..., L); 0, 1, ... where not given. ``base``: a
    float or a tensor. Without ``interleaved`` feature i turns with feature i + E/2, as in models
    that store their weights in that order (Llama by Hugging Face).

    Raises ShapeError for an odd E.

    >>> import tapegrad as tg
    >>> tg.nn.functional.rotary_encoding(tg.tensor([[1.0, 0.0], [1.0, 0.0]]))
    tensor([[1.0000, 0.0000],
            [0.5403, 0.8415]])

    Source: Su et al. (2021), RoFormer: Enhanced Transformer with Rotary Position Embedding.
    """
    positions = _sequence(input, positions, -2, "rotary_encoding")
    features = input.shape[-1]
    if features % 2:
        raise ShapeError(
            f"rotary_encoding: features turn in pairs, but input of shape {input.shape} has "
            f"{features}, an odd number"
        )
    angles = _angles(positions, features, base, "float64")
    cos, sin = angles.cos().to(input.dtype), angles.sin().to(input.dtype)
    if interleaved:
        a, b = input.unflatten(-1, (features // 2, 2)).unbind(-1)
    else:
        a, b = input.split(features // 2, -1) if features else (input, input)
    turned = stack([a * cos - b * sin, a * sin + b * cos], -1 if interleaved else -2)
    return turned.flatten(-2)  # type: ignore[no-any-return]
