"""Sizes, and conversion between dtypes (and devices, of which there is one)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops import shaping as ops
from ..tensors import Tensor
from ..values import as_dtype, dtype_of, shape_of
from .dims import one_dim

__all__ = ["clone", "device", "is_floating_point", "is_tensor", "numel"]


class device(str):
    """A device name, accepted where torch's scripts pass one: there is only ``"cpu"``.

    Raises RuntimeError for any other.

    >>> import tapegrad as tg
    >>> tg.zeros(2).to(tg.device("cpu")).device
    device('cpu')
    """

    __slots__ = ()

    def __new__(cls, type: Any = "cpu", index: Any = None) -> device:
        if str(type) not in ("cpu", "cpu:0") or index not in (None, 0):
            raise RuntimeError(f"no device {type!r}: tapegrad computes with NumPy, on the CPU")
        return str.__new__(cls, "cpu")

    @property
    def type(self) -> str:
        """The kind of device, always "cpu"."""
        return "cpu"

    @property
    def index(self) -> None:  # type: ignore[override]
        """The number of the device: None."""

    def __repr__(self) -> str:
        return "device('cpu')"


def check_device(name: Any) -> None:
    """Accept None and the CPU; RuntimeError for any other device."""
    if name is not None:
        device(name)


def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy in memory of its own, on the tape: y = x, with derivative 1.

    >>> import tapegrad as tg
    >>> tg.tensor([1.0, 2.0], requires_grad=True).clone()
    tensor([1., 2.], grad_fn=<clone>)
    """
    return ops.clone(input)


def contiguous(input: Any, *, memory_format: Any = None) -> Any:
    """The tensor with its memory in row-major order: itself where it is so, else a copy.

    >>> import tapegrad as tg
    >>> x = tg.zeros(2, 3)
    >>> x.contiguous() is x, x.T.contiguous().is_contiguous()
    (True, True)
    """
    value = input._value if isinstance(input, Tensor) else input
    if isinstance(value, np.ndarray) and not value.flags.c_contiguous:
        return ops.clone(input)
    return input


# -- sizes ------------------------------------------------------------------------------------
def numel(input: Any) -> int:
    """The number of elements.

    >>> import tapegrad as tg
    >>> tg.numel(tg.zeros(2, 3))
    6
    """
    return math.prod(shape_of(input))


def size(input: Any, dim: int | None = None) -> Any:
    """The shape, or the length of one dimension.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3).size(), tg.zeros(2, 3).size(-1)
    ((2, 3), 3)
    """
    shape = shape_of(input)
    if dim is None:
        return shape
    d = one_dim(dim, len(shape), "size")
    if not shape:
        raise IndexError("size: a 0-d tensor has no dimensions")
    return shape[d]


def dim(input: Any) -> int:
    """The number of dimensions.

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3).dim()
    2
    """
    return len(shape_of(input))


def element_size(input: Any) -> int:
    """The bytes that one element takes.

    >>> import tapegrad as tg
    >>> tg.zeros(3).element_size()
    4
    """
    return dtype_of(input).itemsize


def is_floating_point(input: Any) -> bool:
    """Whether the dtype is a floating one, so that the tensor can require a gradient.

    >>> import tapegrad as tg
    >>> tg.is_floating_point(tg.arange(3))
    False
    """
    return dtype_of(input).kind == "f"


def is_tensor(obj: Any) -> bool:
    """Whether an object is a Tensor.

    >>> import tapegrad as tg
    >>> tg.is_tensor(tg.zeros(2)), tg.is_tensor([0, 0])
    (True, False)
    """
    return isinstance(obj, Tensor)


# -- dtypes -----------------------------------------------------------------------------------
def convert(input: Any, dtype: np.dtype[Any], copy: bool = False) -> Any:
    """The value in a dtype; the same tensor when it has it already and no copy is asked for."""
    if dtype_of(input) == dtype:
        return ops.clone(input) if copy else input
    if dtype.kind == "b":
        return input != 0
    return ops.cast(input, dtype=dtype) if dtype.kind == "f" else ops.cast_whole(input, dtype=dtype)


def to(
    input: Any,
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    copy: bool = False,
    non_blocking: bool = False,
    memory_format: Any = None,
) -> Any:
    """The tensor in another dtype: ``x.to("float64")``, ``x.to(other)``, ``x.to("cpu", dtype)``.

    The same tensor when nothing changes, unless ``copy``. Floating results stay on the tape;
    integers and booleans carry no gradient. Raises RuntimeError for a device other than the CPU.

    >>> import tapegrad as tg
    >>> tg.tensor([1.7, 0.0]).to("int64")
    tensor([1, 0])
    """
    for arg in args:
        if isinstance(arg, Tensor):
            dtype = arg.dtype
        elif isinstance(arg, bool):  # torch's positional non_blocking, which means nothing here
            continue
        elif arg is None or (isinstance(arg, str) and arg.split(":")[0] in _DEVICES):
            device = arg
        else:
            dtype = arg
    check_device(device)
    wanted = as_dtype(dtype)
    return convert(input, dtype_of(input) if wanted is None else wanted, copy)


_DEVICES = ("cpu", "cuda", "mps", "xpu", "meta", "hpu", "xla")


def type_as(input: Any, other: Any) -> Any:
    """The tensor in the dtype of another.

    >>> import tapegrad as tg
    >>> tg.arange(2).type_as(tg.zeros(1))
    tensor([0., 1.])
    """
    return convert(input, dtype_of(other))


def type(input: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of the dtype or, with ``dtype``, the tensor converted to it.

    >>> import tapegrad as tg
    >>> tg.zeros(1).type(), tg.zeros(1).type("int64")
    ('float32', tensor([0]))
    """
    wanted = as_dtype(dtype)
    return dtype_of(input).name if wanted is None else convert(input, wanted)


def _converter(name: str, dtype: str) -> Any:
    wanted = np.dtype(dtype)

    def method(input: Any) -> Any:
        return convert(input, wanted)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"""The tensor as {dtype}.

    >>> import tapegrad as tg
    >>> tg.ones(2).{name}().dtype
    dtype('{dtype}')
    """
    return method


def cpu(input: Any) -> Any:
    """The tensor itself, which is on the CPU already.

    >>> import tapegrad as tg
    >>> x = tg.zeros(1)
    >>> x.cpu() is x
    True
    """
    return input


METHODS: dict[str, Any] = {
    "astype": type,
    "clone": clone,
    "contiguous": contiguous,
    "cpu": cpu,
    "device": property(lambda self: device(), doc="Where the tensor is: always the CPU."),
    "dim": dim,
    "element_size": element_size,
    "is_floating_point": is_floating_point,
    "itemsize": property(element_size, doc="The bytes that one element takes."),
    "ndimension": dim,
    "nelement": numel,
    "numel": numel,
    "size": size,
    "to": to,
    "type": type,
    "type_as": type_as,
    "bool": _converter("bool", "bool"),
    "double": _converter("double", "float64"),
    "float": _converter("float", "float32"),
    "half": _converter("half", "float16"),
    "int": _converter("int", "int32"),
    "long": _converter("long", "int64"),
    "short": _converter("short", "int16"),
}
