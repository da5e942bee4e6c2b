"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapegrad import Tensor, cat, no_grad

__all__ = ["parameters_to_vector", "vector_to_parameters", "vector_to_tensors"]


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


def vector_to_tensors(vec: Tensor, parameters: Iterable[Tensor]) -> list[Tensor]:
    """The parts of a vector in the shapes of the parameters, in order; on the tape.

    With :func:`tapegrad.func.functional_call` a model becomes a function of one vector. Raises
    ValueError when the vector does not have as many entries as the parameters together.

    >>> import tapegrad as tg
    >>> layer, x = tg.nn.Linear(2, 1), tg.tensor([3.0, 4.0])
    >>> names, parameters = zip(*layer.named_parameters())
    >>> def output(vector):
    ...     parts = tg.nn.utils.vector_to_tensors(vector, parameters)
    ...     return tg.func.functional_call(layer, dict(zip(names, parts)), x).sum()
    >>> tg.func.grad(output)(tg.zeros(3))
    tensor([3., 4., 1.])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected a tensor as the vector, but got {type(vec).__name__}")
    held = list(parameters)
    total = sum(p.numel() for p in held)
    if vec.shape != (total,):
        raise ValueError(
            f"the parameters have {total} entries together, but the vector has shape {vec.shape}"
        )
    parts, start = [], 0
    for p in held:
        parts.append(vec[start : start + p.numel()].reshape(p.shape))
        start += p.numel()
    return parts


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the parts of a vector into the parameters, in order; off the tape.

    Raises as :func:`vector_to_tensors`, and then nothing is written.

    >>> import tapegrad as tg
    >>> layer = tg.nn.Linear(2, 1)
    >>> tg.nn.utils.vector_to_parameters(tg.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    held: list[Any] = list(parameters)
    with no_grad():
        for p, part in zip(held, vector_to_tensors(vec, held)):
            p.copy_(part)
