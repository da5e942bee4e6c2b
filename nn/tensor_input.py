"""What the layers ask of their inputs."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor


def floating(input: Any, what: str) -> Tensor:
    """The input, if it is a tensor of real numbers.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.tensor_input import floating
    >>> floating(tg.tensor([1, 2]), "batch_norm")
    Traceback (most recent call last):
    TypeError: batch_norm: input must be floating, but has dtype int64: .float() makes it so
    """
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{what}: input must be a tensor, not {type(input).__name__}: tg.tensor(...) makes one"
        )
    if not input.is_floating_point():
        raise TypeError(
            f"{what}: input must be floating, but has dtype {input.dtype}: .float() makes it so"
        )
    return input
