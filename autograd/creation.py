"""New tensors: zeros, ones, ranges and the like, with torch's arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from .functions.dims import sizes
from .tensor import Tensor, make
from .values import as_dtype, get_default_dtype, settle

__all__ = ["arange", "full", "ones", "zeros"]


def _finish(array: Any, requires_grad: bool) -> Tensor:
    out = make(settle(array), None)
    return out.requires_grad_() if requires_grad else out


def zeros(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    >>> import tapegrad as tg
    >>> tg.zeros(2)
    tensor([0., 0.])
    """
    return _finish(np.zeros(sizes(size, "zeros"), as_dtype(dtype) or get_default_dtype()), requires_grad)


def ones(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    >>> import tapegrad as tg
    >>> tg.ones(2)
    tensor([1., 1.])
    """
    return _finish(np.ones(sizes(size, "ones"), as_dtype(dtype) or get_default_dtype()), requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor filled with one value.

    >>> import tapegrad as tg
    >>> tg.full((2,), 3.0)
    tensor([3., 3.])
    """
    wanted = as_dtype(dtype)
    if wanted is None:
        wanted = get_default_dtype() if isinstance(fill_value, float) else np.asarray(fill_value).dtype
    return _finish(np.full(sizes((size,) if not isinstance(size, (tuple, list)) else (size,), "full"), fill_value, wanted), requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers from ``start`` (default 0) up to, not including, ``end``, in steps.

    >>> import tapegrad as tg
    >>> tg.arange(3)
    tensor([0, 1, 2])
    """
    if end is None:
        start, end = 0, start
    wanted = as_dtype(dtype)
    if wanted is None:
        wanted = np.dtype("int64") if all(isinstance(v, (int, np.integer)) for v in (start, end, step)) else get_default_dtype()
    return _finish(np.arange(start, end, step).astype(wanted), requires_grad)
