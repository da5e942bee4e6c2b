"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapegrad import Tensor, cat, no_grad

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The entries of all parameters in one vector, on the tape.

    Raises ValueError when there are no parameters.

    >>> import tapegrad as tg
    >>> layer = tg.nn.Linear(3, 2)
    >>> tg.nn.utils.parameters_to_vector(layer.parameters()).shape
    (8,)
    """
    parts = [p.reshape(-1) for p in parameters]
    if not parts:
        raise ValueError("parameters_to_vector: there are no parameters (an iterator used before?)")
    return cat(parts)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the entries of a vector into parameters, in order; off the tape.

    For a step that stays on the tape call the module with
    :func:`tapegrad.func.functional_call`. Raises ValueError, and writes nothing, when the vector
    does not have as many entries as the parameters together.

    >>> import tapegrad as tg
    >>> layer = tg.nn.Linear(2, 1)
    >>> tg.nn.utils.vector_to_parameters(tg.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a tensor, but got {type(vec).__name__}")
    held: list[Any] = list(parameters)
    total = sum(p.numel() for p in held)
    if vec.shape != (total,):
        raise ValueError(
            f"vector_to_parameters: the parameters have {total} entries together, the vector has "
            f"shape {vec.shape}"
        )
    start = 0
    with no_grad():
        for p in held:
            p.copy_(vec[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
