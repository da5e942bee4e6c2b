"""Positions as numbers that a network can use, as functions."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, arange, get_default_dtype, stack
from tapegrad.errors import ShapeError

from .tensor_input import floating

__all__ = ["rotary_encoding", "sinusoidal_encoding"]


def _angles(positions: Any, features: int, base: Any) -> Tensor:
    """positions · base^(-2i/features) for i = 0, 1, ..., in float64."""
    rates = base ** (arange(0, features, 2, dtype="float64") / -max(features, 1))
    return positions.unsqueeze(-1) * rates  # type: ignore[no-any-return]


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
    angles = _angles(positions, features, base)
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
    if floating(input, "rotary_encoding").ndim < 2:
        raise ShapeError(
            "rotary_encoding: input must have at least 2 dimensions (length, features), but has "
            f"shape {input.shape}"
        )
    features = input.shape[-1]
    if positions is None:
        positions = arange(input.shape[-2])
    if features % 2:
        raise ShapeError(
            f"rotary_encoding: features turn in pairs, but input of shape {input.shape} has "
            f"{features}, an odd number"
        )
    angles = _angles(positions, features, base)
    cos, sin = angles.cos().to(input.dtype), angles.sin().to(input.dtype)
    if interleaved:
        a, b = input.unflatten(-1, (features // 2, 2)).unbind(-1)
    else:
        a, b = input.split(features // 2, -1) if features else (input, input)
    turned = stack([a * cos - b * sin, a * sin + b * cos], -1 if interleaved else -2)
    return turned.flatten(-2)  # type: ignore[no-any-return]
