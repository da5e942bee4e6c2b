"""New tensors: zeros, ones, ranges and the like, with torch's arguments.

All take ``dtype=`` (also by name), ``requires_grad=`` and, for torch's scripts, ``device=``
("cpu" or None). Their memory is their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .functions.converting import check_device, convert
from .functions.dims import sizes
from .tensors import Tensor, make, tensor
from .traced import Traced
from .values import as_dtype, get_default_dtype, settle, shape_of

__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "scalar_tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
    "zeros_like",
]


def finish(array: Any, requires_grad: bool = False, device: Any = None) -> Tensor:
    """A new leaf on a fresh array."""
    check_device(device)
    out = make(settle(array), None)
    return out.requires_grad_() if requires_grad else out


def _shape(size: tuple[Any, ...], shape: Any, what: str) -> tuple[int, ...]:
    """A shape from positional sizes or from ``size=``."""
    found = sizes(size if shape is None else (shape,), what)
    if any(n < 0 for n in found):
        raise RuntimeError(f"{what}: sizes must not be negative, got {found}")
    return found


def _filled(
    fill: Any, shape: tuple[int, ...], dtype: Any, requires_grad: bool, device: Any
) -> Tensor:
    return finish(_full(shape, fill, as_dtype(dtype) or get_default_dtype()), requires_grad, device)


def _full(shape: tuple[int, ...], fill: Any, dtype: np.dtype[Any]) -> Any:
    if type(fill) is int and fill == 0:
        return np.zeros(shape, dtype)  # the system hands out zeros for nothing
    return np.full(shape, fill, dtype)


# -- from data --------------------------------------------------------------------------------
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """``data`` as a tensor: itself when it is one (of that dtype), else a copy.

    Unlike torch's it never shares memory with an array: a change through such an alias could
    change a saved value unseen.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0])
    >>> tg.as_tensor(x) is x, tg.as_tensor([1, 2])
    (True, tensor([1, 2]))
    """
    check_device(device)
    if isinstance(data, Tensor):
        wanted = as_dtype(dtype)
        return data if wanted is None else convert(data, wanted)  # type: ignore[no-any-return]
    return tensor(data, dtype=dtype)


def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """``obj`` as a tensor; ``copy=True`` copies a tensor too.

    Raises ValueError for ``copy=False`` and data that is no tensor, since arrays are copied.

    >>> import tapegrad as tg
    >>> tg.asarray([1.0, 2.0], dtype="float64").dtype
    dtype('float64')
    """
    if isinstance(obj, Tensor) and not copy:
        found = as_tensor(obj, dtype, device)
    elif copy is False:
        raise ValueError(f"asarray: cannot make a tensor of {type(obj).__name__} without a copy")
    else:
        check_device(device)
        found = tensor(obj, dtype=dtype)
    return found.requires_grad_() if requires_grad and found.is_leaf else found


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor with a copy of an array, of the same dtype.

    Unlike torch's it does not share memory: a change of the array after its use could change a
    saved value unseen.

    >>> import numpy as np, tapegrad as tg
    >>> tg.from_numpy(np.array([1.0, 2.0])).dtype
    dtype('float64')
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: expects an ndarray, not {type(ndarray).__name__}")
    return tensor(ndarray)


def scalar_tensor(
    s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A 0-d tensor of a number, in the default dtype.

    >>> import tapegrad as tg
    >>> tg.scalar_tensor(2)
    tensor(2.)
    """
    check_device(device)
    return tensor(s, dtype=as_dtype(dtype) or get_default_dtype(), requires_grad=requires_grad)


# -- filled -----------------------------------------------------------------------------------
def zeros(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: Any = None, **named: Any
) -> Tensor:
    """A tensor of zeros, of the given size (ints, or one tuple).

    >>> import tapegrad as tg
    >>> tg.zeros(2, 3).shape, tg.zeros((2,), dtype="int64")
    ((2, 3), tensor([0, 0]))
    """
    return _filled(0, _sized(size, named, "zeros"), dtype, requires_grad, device)


def ones(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: Any = None, **named: Any
) -> Tensor:
    """A tensor of ones, of the given size (ints, or one tuple).

    >>> import tapegrad as tg
    >>> tg.ones(2)
    tensor([1., 1.])
    """
    return _filled(1, _sized(size, named, "ones"), dtype, requires_grad, device)


def empty(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: Any = None, **named: Any
) -> Tensor:
    """A tensor to be filled; it holds zeros, so that nothing depends on chance.

    >>> import tapegrad as tg
    >>> tg.empty(2)
    tensor([0., 0.])
    """
    return _filled(0, _sized(size, named, "empty"), dtype, requires_grad, device)


#: Arguments of torch that say nothing here.
_IGNORED = frozenset({"layout", "memory_format", "out", "pin_memory"})


def _sized(size: tuple[Any, ...], named: dict[str, Any], what: str) -> tuple[int, ...]:
    shape = named.pop("size", None)
    for name, value in named.items():
        if name not in _IGNORED or value not in (None, False):
            raise TypeError(f"{what}() got an unexpected argument {name}={value!r}")
    return _shape(size, shape, what)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """A tensor of the given size filled with one value, whose kind decides the dtype.

    >>> import tapegrad as tg
    >>> tg.full((2,), 3.0), tg.full((2,), 3)
    (tensor([3., 3.]), tensor([3, 3]))
    """
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    wanted = as_dtype(dtype)
    if wanted is None:
        kind = np.asarray(fill_value).dtype
        wanted = get_default_dtype() if isinstance(fill_value, float) else as_dtype(kind)
    return _filled(fill_value, _shape((), size, "full"), wanted, requires_grad, device)


def _like(fill: Any, input: Any, dtype: Any, requires_grad: bool, device: Any) -> Tensor:
    found = as_dtype(dtype) or np.dtype(getattr(input, "dtype", None) or np.asarray(input).dtype)
    value = getattr(input, "_value", input)
    if type(value) is Traced:
        return finish(value.filled(fill, found), requires_grad, device)
    return finish(_full(shape_of(value), fill, found), requires_grad, device)


def zeros_like(
    input: Any,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """Zeros in the shape and dtype of a tensor.

    >>> import tapegrad as tg
    >>> tg.zeros_like(tg.tensor([1, 2]))
    tensor([0, 0])
    """
    return _like(0, input, dtype, requires_grad, device)


def ones_like(
    input: Any,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """Ones in the shape and dtype of a tensor.

    >>> import tapegrad as tg
    >>> tg.ones_like(tg.tensor([1, 2]))
    tensor([1, 1])
    """
    return _like(1, input, dtype, requires_grad, device)


def empty_like(
    input: Any,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """A tensor to be filled, in the shape and dtype of another; it holds zeros.

    >>> import tapegrad as tg
    >>> tg.empty_like(tg.tensor([1, 2]))
    tensor([0, 0])
    """
    return _like(0, input, dtype, requires_grad, device)


def full_like(
    input: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """One value in the shape and dtype of a tensor.

    >>> import tapegrad as tg
    >>> tg.full_like(tg.tensor([1.0, 2.0]), 5)
    tensor([5., 5.])
    """
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    return _like(fill_value, input, dtype, requires_grad, device)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """The n × m matrix (m = n when left out) with ones on the diagonal and zeros elsewhere.

    >>> import tapegrad as tg
    >>> tg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    rows, columns = _shape((n, n if m is None else m), None, "eye")
    array = np.eye(rows, columns, dtype=as_dtype(dtype) or get_default_dtype())
    return finish(array, requires_grad, device)


# -- ranges -----------------------------------------------------------------------------------
def _number(value: Any) -> Any:
    return value.item() if isinstance(value, (Tensor, np.generic)) else value


def _range_dtype(dtype: Any, *values: Any) -> np.dtype[Any]:
    wanted = as_dtype(dtype)
    if wanted is not None:
        return wanted
    return np.dtype("int64") if all(isinstance(v, int) for v in values) else get_default_dtype()


def arange(
    start: Any = None,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Numbers from ``start`` (default 0) up to, not including, ``end``, in steps.

    int64 when all three are ints, else the default dtype. Raises RuntimeError for a step of 0 or
    one that leads away from ``end``.

    >>> import tapegrad as tg
    >>> tg.arange(3), tg.arange(1, 2, 0.5)
    (tensor([0, 1, 2]), tensor([1.0000, 1.5000]))
    """
    if end is None:
        start, end = None, start
    if end is None:
        raise TypeError("arange: needs an end, arange(end) or arange(start, end, step)")
    start, end, step = _number(0 if start is None else start), _number(end), _number(step)
    wanted = _range_dtype(dtype, start, end, step)
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"arange: a step of {step} does not lead from {start} to {end}")
    if all(isinstance(v, int) for v in (start, end, step)):
        array = np.arange(start, end, step)
    else:  # as torch: computed in float64 from the first number, so that no error adds up
        array = start + np.arange(math.ceil((end - start) / step)) * np.float64(step)
    return finish(array.astype(wanted), requires_grad, device)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """``steps`` numbers at equal distances from ``start`` to ``end``, both included.

    >>> import tapegrad as tg
    >>> tg.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    (count,) = _shape((steps,), None, "linspace")
    array = np.linspace(_number(start), _number(end), count)
    return finish(array.astype(as_dtype(dtype) or get_default_dtype()), requires_grad, device)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """``steps`` numbers from base^start to base^end, with equal ratios.

    >>> import tapegrad as tg
    >>> tg.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    (count,) = _shape((steps,), None, "logspace")
    array = np.logspace(_number(start), _number(end), count, base=_number(base))
    return finish(array.astype(as_dtype(dtype) or get_default_dtype()), requires_grad, device)


# -- indices of triangles ---------------------------------------------------------------------
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = "int64", device: Any = None
) -> Tensor:
    """The indices of the lower triangle of a ``row`` × ``col`` matrix: a row of each, (2, count).

    >>> import tapegrad as tg
    >>> tg.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return finish(np.array(np.tril_indices(row, offset, col), as_dtype(dtype)), False, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = "int64", device: Any = None
) -> Tensor:
    """The indices of the upper triangle of a ``row`` × ``col`` matrix: a row of each, (2, count).

    >>> import tapegrad as tg
    >>> tg.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return finish(np.array(np.triu_indices(row, offset, col), as_dtype(dtype)), False, device)


# -- from a tensor, in its dtype --------------------------------------------------------------
def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """A new tensor of ``data`` in this one's dtype.

    >>> import tapegrad as tg
    >>> tg.tensor([1, 2]).new_tensor([3])
    tensor([3])
    """
    check_device(device)
    return tensor(data, as_dtype(dtype) or self.dtype, requires_grad)


def _new_filled(name: str, fill: Any) -> Any:
    def method(
        self: Tensor, *size: Any, dtype: Any = None, requires_grad: bool = False, device: Any = None
    ) -> Tensor:
        shape = _shape(size, None, name)
        return _filled(fill, shape, as_dtype(dtype) or self.dtype, requires_grad, device)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"""A new tensor of the given size in this one's dtype.

    >>> import tapegrad as tg
    >>> tg.tensor([1, 2]).{name}(2).dtype
    dtype('int64')
    """
    return method


def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """A new tensor of the given size, filled with one value, in this one's dtype.

    >>> import tapegrad as tg
    >>> tg.tensor([1.0]).new_full((2,), 3)
    tensor([3., 3.])
    """
    wanted = as_dtype(dtype) or self.dtype
    return full(size, fill_value, dtype=wanted, requires_grad=requires_grad, device=device)


METHODS: dict[str, Any] = {
    "new_empty": _new_filled("new_empty", 0),
    "new_full": new_full,
    "new_ones": _new_filled("new_ones", 1),
    "new_tensor": new_tensor,
    "new_zeros": _new_filled("new_zeros", 0),
}
