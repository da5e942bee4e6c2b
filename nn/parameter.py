"""Tensors that a module registers by themselves when they are set as attributes."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor

__all__ = ["Buffer", "Parameter"]


class Parameter(Tensor):
    """A tensor that a :class:`Module` registers as trained when it is set as an attribute.

    ``data``: what :func:`tapegrad.tensor` takes; its values are copied, its dtype stays. It
    requires a gradient unless told otherwise. What is computed from a parameter is a plain tensor;
    what is changed in place stays a parameter. A deep copy does not take the gradient along.

    Raises RuntimeError for integers, which carry no gradient, unless ``requires_grad=False``.

    >>> import tapegrad as tg
    >>> tg.nn.Parameter(tg.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data: Any = (), requires_grad: bool = True) -> Any:
        return super().__new__(cls, data, getattr(data, "dtype", None), requires_grad)

    def __reduce_ex__(self, protocol: Any) -> Any:
        rebuild, (kind, value, requires_grad, _, name, state) = super().__reduce_ex__(protocol)
        return rebuild, (kind, value, requires_grad, None, name, state)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that a :class:`Module` registers as state that is not trained.

    ``data``: what :func:`tapegrad.tensor` takes; its values are copied, its dtype stays.
    ``persistent``: whether ``state_dict`` holds it. Setting one as an attribute is
    ``register_buffer`` in one line.

    >>> import tapegrad as tg
    >>> module = tg.nn.Module()
    >>> module.mean = tg.nn.Buffer(tg.zeros(2))
    >>> list(module.state_dict())
    ['mean']
    """

    persistent: bool

    def __new__(cls, data: Any = (), *, persistent: bool = True) -> Any:
        buffer = super().__new__(cls, data, getattr(data, "dtype", None))
        buffer.persistent = persistent
        return buffer
