"""Residual connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad import Tensor
from tapegrad.errors import ShapeError

from .activations import Identity
from .convolution import Conv1d, Conv2d
from .linear import Linear
from .module import Module

__all__ = ["Residual"]


class Residual(Module):
    """y = activation(block(x) + shortcut(x)): a block learns what to add to its input.

    ``block``: any module. ``shortcut``: a module for the other way; without one the input itself
    (:class:`Identity`), or, where the first and the last layer of the block (Linear, Conv1d,
    Conv2d) tell that sizes differ, a projection: Linear, or a convolution with kernels of one
    element and the block's stride, without bias. ``activation``: a module or function behind the
    sum (He et al. 2015, ``activation=tg.nn.ReLU()``), by default none; with ``pre_activation`` in
    front of the block, so that the way through all shortcuts stays free (He et al. 2016):
    y = block(activation(x)) + x. A projection then sees activation(x), too.

    Raises TypeError for what is no module, or gives no tensor; ValueError when block and shortcut
    give different shapes, which are not broadcast.

    >>> import tapegrad as tg
    >>> nn = tg.nn
    >>> block = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    >>> nn.Residual(block)(tg.zeros(5, 4)).shape
    (5, 4)
    >>> nn.Residual(nn.Conv2d(3, 8, 3, stride=2, padding=1), activation=nn.ReLU())
    Residual(
      pre_activation=False
      (block): Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
      (shortcut): Conv2d(3, 8, kernel_size=(1, 1), stride=(2, 2), bias=False)
      (activation): ReLU()
    )

    Source: He, Zhang, Ren and Sun (2015), Deep residual learning for image recognition; (2016),
    Identity mappings in deep residual networks.
    """

    activation: Callable[[Tensor], Tensor] | None

    def __init__(
        self,
        block: Module,
        shortcut: Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        pre_activation: bool = False,
    ) -> None:
        super().__init__()
        _must_be("a module", "block", block, isinstance(block, Module))
        if shortcut is not None:
            _must_be("a module", "shortcut", shortcut, isinstance(shortcut, Module))
        if activation is not None:
            fits = callable(activation) and not isinstance(activation, type)
            _must_be("a module or function", "activation", activation, fits)
        if pre_activation and activation is None:
            raise ValueError("Residual: pre_activation=True needs an activation: nn.ReLU()")
        self.block = block
        self.shortcut = _shortcut(block) if shortcut is None else shortcut
        self.activation, self.pre_activation = activation, pre_activation

    def forward(self, input: Tensor) -> Tensor:
        """The block's output and the shortcut's, added."""
        activation = self.activation
        inner = activation(input) if self.pre_activation and activation is not None else input
        added = self.block(inner)
        passed = input if isinstance(self.shortcut, Identity) else self.shortcut(inner)
        for name, value in (("block", added), ("shortcut", passed)):
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"Residual: the {name} gives a {type(value).__name__}, which cannot be added: "
                    "wrap it in a module that returns the one tensor that counts"
                )
        if added.shape != passed.shape:
            raise ShapeError(
                f"Residual: for an input of shape {input.shape} the block gives {added.shape} and "
                f"the shortcut {passed.shape}: give a shortcut= that makes them alike, such as "
                "Linear or Conv2d with kernels of one element"
            )
        total = added + passed
        return total if self.pre_activation or activation is None else activation(total)

    def extra_repr(self) -> str:
        """Where the activation is."""
        return "" if self.activation is None else f"pre_activation={self.pre_activation}"


def _must_be(kind: str, name: str, value: Any, fits: bool) -> None:
    if not fits:
        given = type(value).__name__
        if isinstance(value, type):
            given = f"the class {value.__name__}: make one by {value.__name__}()"
        raise TypeError(f"Residual: {name} must be {kind}, not {given}")


def _shortcut(block: Module) -> Module:
    """The input itself, or a projection where the layers of a block change the sizes."""
    layers: list[Any] = [m for m in block.modules() if isinstance(m, (Linear, Conv1d, Conv2d))]
    if not layers:
        return Identity()
    first, last = layers[0], layers[-1]
    dtype = last.weight.dtype
    if isinstance(first, Linear) and isinstance(last, Linear):
        if first.in_features == last.out_features:
            return Identity()
        return Linear(first.in_features, last.out_features, bias=False, dtype=dtype)
    kind: Any = type(last)
    if isinstance(last, Linear) or any(type(layer) is not kind for layer in layers):
        return Identity()
    stride = [1] * len(last.stride)
    for layer in layers:
        stride = [a * b for a, b in zip(stride, layer.stride, strict=True)]
    if first.in_channels == last.out_channels and set(stride) == {1}:
        return Identity()
    return kind(  # type: ignore[no-any-return]
        first.in_channels, last.out_channels, 1, tuple(stride), bias=False, dtype=dtype
    )
