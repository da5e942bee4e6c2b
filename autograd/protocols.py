"""NumPy's and Python's protocols for Tensor: ``np.sin(t)``, ``arr * t``, ``np.sum(t)``, DLPack.

NumPy's functions are mapped onto the engine's, so that they are recorded. Arguments and results
keep NumPy's meaning (``np.std(t)`` divides by n, ``np.median(t)`` takes the middle of two). What
has no counterpart is computed by NumPy where nothing is on the tape, and refused by name where
something is: a gradient is never cut unseen.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from . import modes
from .ops.shaping import cast
from .tensors import Tensor, locked_array, make, tensor
from .values import as_dtype, settle

METHODS: dict[str, Any] = {"__array_priority__": 1000.0}


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    METHODS[function.__name__] = function
    return function


def _engine(name: str) -> Callable[..., Any]:
    """A public function of the package (looked up late: this module loads first)."""
    found: Any = sys.modules[__package__ or "tapegrad"]
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


# -- sequences --------------------------------------------------------------------------------
@_method
def __reversed__(self: Tensor) -> Tensor:
    """The tensor with its first dimension in reverse, as torch's."""
    return _engine("flip")(self, (0,)) if self.shape else self  # type: ignore[no-any-return]


@_method
def __contains__(self: Tensor, element: Any) -> bool:
    """Whether some element equals the given number."""
    other = element._value if isinstance(element, Tensor) else element
    if not isinstance(other, (bool, int, float, np.generic, ndarray)):
        raise RuntimeError(f"a tensor cannot contain a {type(element).__name__}, only numbers")
    return bool(np.any(np.equal(self._value, other)))


# -- arrays -----------------------------------------------------------------------------------
@_method
def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> ndarray:
    """The value for NumPy: a read-only view, or a copy when one is asked for or needed."""
    if self._record is not None:
        raise RuntimeError(
            "converting a tensor that requires a gradient to an array would leave the tape unseen: "
            "use x.detach().numpy() to leave it, or a tapegrad function to stay on it"
        )
    array = locked_array(self._value)
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(
                f"a tensor of dtype {array.dtype} cannot be seen as {dtype} without a copy"
            )
        return array.astype(dtype)
    return array.copy() if copy else array


def _plain(value: Any) -> Any:
    """Tensors replaced by arrays NumPy may read, in nested lists, tuples and dicts too."""
    if isinstance(value, Tensor):
        return locked_array(value._value) if type(value._value) is ndarray else value._value
    if type(value) in (list, tuple):
        return type(value)(_plain(v) for v in value)
    if type(value) is dict:
        return {k: _plain(v) for k, v in value.items()}
    return value


def _wrapped(value: Any) -> Any:
    """Arrays of a supported dtype as Tensors; anything else as it is."""
    if isinstance(value, (ndarray, np.generic)):
        return make(settle(value), None) if value.dtype.kind in "fiub" else value
    if isinstance(value, tuple):
        parts = [_wrapped(v) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return [_wrapped(v) for v in value] if type(value) is list else value


def _on_tape(value: Any) -> bool:
    """Whether a Tensor that requires a gradient is somewhere in the arguments."""
    if isinstance(value, Tensor):
        return value._record is not None
    if type(value) in (list, tuple):
        return any(_on_tape(v) for v in value)
    return type(value) is dict and any(_on_tape(v) for v in value.values())


def _without_tape(name: str, args: Any, kwargs: Any, call: Callable[..., Any]) -> Any:
    """NumPy's own result where nothing is recorded; otherwise refuse, by name."""
    if (_on_tape(args) or _on_tape(kwargs)) and modes.is_grad_enabled():
        raise TypeError(
            f"np.{name} has no derivative in tapegrad, and an operand requires a gradient: pass "
            "x.detach() if none should flow, or use a tapegrad function (tg.primitive adds one)"
        )
    return _wrapped(call(*_plain(args), **_plain(kwargs)))


# -- ufuncs -----------------------------------------------------------------------------------
#: NumPy's ufunc -> the function here, where the names differ; equal names need no entry.
UFUNCS = {
    "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "power": "pow",
    "float_power": "pow", "negative": "neg", "absolute": "abs", "fabs": "abs", "rint": "round",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "arctan2": "atan2", "not_equal": "ne", "equal": "eq", "less": "lt",
    "less_equal": "le", "greater": "gt", "greater_equal": "ge", "fmin": "fmin", "fmax": "fmax",
    "bitwise_and": "bitwise_and", "conjugate": "positive", "degrees": "rad2deg",
    "radians": "deg2rad", "acos": "acos", "mod": "remainder",
}  # fmt: skip
SAME_NAME = {
    "add", "matmul", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt",
    "square", "reciprocal", "sin", "cos", "tan", "sinh", "cosh", "tanh", "hypot", "logaddexp",
    "maximum", "minimum", "floor", "ceil", "trunc", "sign", "positive", "isfinite", "isinf",
    "isnan", "logical_and", "logical_or", "logical_xor", "logical_not", "floor_divide",
    "remainder", "fmod",
}  # fmt: skip
REDUCTIONS = {
    "add": "sum", "multiply": "prod", "maximum": "amax", "minimum": "amin",
    "logaddexp": "logsumexp", "logical_and": "all", "logical_or": "any",
}  # fmt: skip
ACCUMULATIONS = {"add": "cumsum", "multiply": "cumprod", "logaddexp": "logcumsumexp"}


def _ufunc_function(name: str) -> Callable[..., Any] | None:
    if name not in SAME_NAME and name not in UFUNCS:
        return None
    try:
        return _engine(UFUNCS.get(name, name))
    except AttributeError:
        return None


@_method
def __array_ufunc__(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``np.sin(t)``, ``arr * t``, ``np.add.reduce(t)``: recorded by the engine's function."""
    name = ufunc.__name__
    if name == "vecdot":
        return NotImplemented
    out = kwargs.pop("out", None)
    if out is not None:
        return _into_arrays(ufunc, method, inputs, out, kwargs)
    options = {k: v for k, v in kwargs.items() if v is not None and v is not np._NoValue}
    if method == "__call__" and not options:
        function = _ufunc_function(name)
        if function is not None:
            return function(*inputs)
    elif method == "reduce" and name in REDUCTIONS and set(options) <= {"axis", "keepdims"}:
        axis = kwargs.get("axis", 0)
        return _reduced(REDUCTIONS[name], inputs[0], axis, bool(options.get("keepdims", False)))
    elif method == "accumulate" and name in ACCUMULATIONS and set(options) <= {"axis"}:
        return _engine(ACCUMULATIONS[name])(inputs[0], dim=options.get("axis", 0))
    elif method == "outer" and not options:
        function = _ufunc_function(name)
        if function is not None:
            a, b = (x if isinstance(x, Tensor) else tensor(x) for x in inputs)
            return function(a.reshape(a.shape + (1,) * b.ndim), b)
    label = name if method == "__call__" else f"{name}.{method}"
    if method == "at":
        raise TypeError(f"np.{label} changes its operand: use index_put_(..., accumulate=True)")
    return _without_tape(label, inputs, kwargs, getattr(ufunc, method))


def _into_arrays(ufunc: Any, method: str, inputs: Any, out: Any, kwargs: Any) -> Any:
    """``out=``: NumPy arrays may take what is off the tape (``array += t``), tensors nothing."""
    if any(isinstance(o, Tensor) for o in out):
        raise TypeError(
            f"np.{ufunc.__name__}: out= cannot be a tensor; use an in-place method, as x.add_(y)"
        )
    if _on_tape(inputs):
        raise TypeError(
            f"np.{ufunc.__name__}: an array cannot take (out=, or +=) what is on the tape, for the "
            "gradient would be lost: leave out= away, make the array a tensor, or detach()"
        )
    return getattr(ufunc, method)(*_plain(inputs), out=out, **kwargs)


# -- functions --------------------------------------------------------------------------------
FUNCTIONS: dict[Any, Callable[..., Any]] = {}


@_method
def __array_function__(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """``np.sum(t)``, ``np.stack([t, u])``, ``np.linalg.inv(t)``: NumPy's meaning, recorded."""
    for kind in types:
        if not issubclass(kind, (Tensor, ndarray)) and hasattr(kind, "__array_function__"):
            return NotImplemented
    handler = FUNCTIONS.get(func)
    if handler is not None:
        if kwargs.get("out") is not None:
            raise TypeError(f"np.{func.__name__}: out= is not supported for tensors")
        kwargs.pop("out", None)
        kwargs = {k: v for k, v in kwargs.items() if v is not np._NoValue}
        return handler(*args, **kwargs)
    module = func.__module__.removeprefix("numpy").lstrip(".")
    name = f"{module}.{func.__name__}" if module else func.__name__
    return _without_tape(name, args, kwargs, func)


def _numpy(*functions: Any) -> Callable[..., Any]:
    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            FUNCTIONS[function] = handler
        return handler

    return register


def _tensors(arrays: Any) -> list[Tensor]:
    return [a if isinstance(a, Tensor) else tensor(a) for a in arrays]


def _a_tensor(a: Any) -> Tensor:
    return a if isinstance(a, Tensor) else tensor(a)


def _reduced(name: str, a: Any, axis: Any, keepdims: bool) -> Any:
    a = _a_tensor(a)
    if axis == ():
        return a.clone() if a.dtype.kind == "f" else a
    dims = tuple(range(a.ndim)) if axis is None else axis
    if not a.ndim:
        dims = None
    return _engine(name)(a, dim=dims, keepdim=keepdims) if dims is not None else _engine(name)(a)


def _many_dims(name: str, a: Any, axis: Any, keepdims: bool) -> Any:
    """A reduction here that takes one dimension only, over several: one after the other."""
    a = _a_tensor(a)
    axes = range(a.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    for d in sorted((d % a.ndim for d in axes), reverse=True):
        a = _engine(name)(a, dim=d, keepdim=keepdims)
    return a


def _reduction(name: str) -> Callable[..., Any]:
    single = name in ("prod", "all", "any")

    def handler(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        if dtype is not None:
            a = cast(_a_tensor(a), dtype=as_dtype(dtype))
        if single and (axis is None or isinstance(axis, tuple)):
            return _many_dims(name, a, axis, keepdims)
        return _reduced(name, a, axis, keepdims)

    return handler


for _np, _ours in (
    (np.sum, "sum"), (np.mean, "mean"), (np.prod, "prod"), (np.max, "amax"), (np.amax, "amax"),
    (np.min, "amin"), (np.amin, "amin"), (np.all, "all"), (np.any, "any"),
):  # fmt: skip
    FUNCTIONS[_np] = _reduction(_ours)


@_numpy(np.var)
def _var(
    a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: bool = False, **more: Any
) -> Any:
    ddof = more.get("correction", ddof)
    return _a_tensor(a).var(dim=axis, correction=ddof, keepdim=keepdims)


@_numpy(np.std)
def _std(
    a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: bool = False, **more: Any
) -> Any:
    ddof = more.get("correction", ddof)
    return _a_tensor(a).std(dim=axis, correction=ddof, keepdim=keepdims)


@_numpy(np.median)
def _median(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    a = _a_tensor(a)
    if axis is None or isinstance(axis, tuple):
        axes = range(a.ndim) if axis is None else [d % a.ndim for d in axis]
        kept = [d for d in range(a.ndim) if d not in axes]
        moved = a.permute(*kept, *axes).reshape(*(a.shape[d] for d in kept), -1)
        result = _median(moved, axis=-1)
        shape = [1 if d in axes else n for d, n in enumerate(a.shape)]
        return result.reshape(*shape) if keepdims else result
    ordered = _engine("sort")(a, dim=axis)[0]
    count = a.shape[axis]
    first = (slice(None),) * (axis % a.ndim)
    low, high = ordered[(*first, (count - 1) // 2)], ordered[(*first, count // 2)]
    middle = (low + high) / 2 if count % 2 == 0 else low
    return middle.unsqueeze(axis) if keepdims else middle


@_numpy(np.average)
def _average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False
) -> Any:
    a = _a_tensor(a)
    if weights is None:
        weights = tensor(np.ones(a.shape, a.dtype))
    weights = _a_tensor(weights)
    if weights.ndim == 1 and a.ndim > 1 and isinstance(axis, int):
        weights = weights.reshape([-1 if d == axis % a.ndim else 1 for d in range(a.ndim)])
    weights = weights + a * 0 if weights.shape != a.shape else weights
    total = _reduced("sum", weights, axis, keepdims)
    mean = _reduced("sum", a * weights, axis, keepdims) / total
    return (mean, total) if returned else mean


def _scan(name: str) -> Callable[..., Any]:
    def handler(a: Any, axis: Any = None, dtype: Any = None) -> Any:
        a = _a_tensor(a)
        return _engine(name)(a.reshape(-1), dim=0) if axis is None else _engine(name)(a, dim=axis)

    return handler


FUNCTIONS[np.cumsum], FUNCTIONS[np.cumprod] = _scan("cumsum"), _scan("cumprod")


def _arg(name: str) -> Callable[..., Any]:
    def handler(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
        return _engine(name)(_a_tensor(a), dim=axis, keepdim=keepdims)

    return handler


FUNCTIONS[np.argmax], FUNCTIONS[np.argmin] = _arg("argmax"), _arg("argmin")


def _ordered(name: str, index: int) -> Callable[..., Any]:
    def handler(
        a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
    ) -> Any:
        a = _a_tensor(a)
        a, axis = (a.reshape(-1), 0) if axis is None else (a, axis)
        return _engine("sort")(a, dim=axis)[index]

    return handler


FUNCTIONS[np.sort], FUNCTIONS[np.argsort] = _ordered("sort", 0), _ordered("argsort", 1)


@_numpy(np.concatenate)
def _concatenate(arrays: Any, axis: Any = 0, *, dtype: Any = None, casting: Any = None) -> Any:
    parts = _tensors(arrays)
    if axis is None:
        parts, axis = [p.reshape(-1) for p in parts], 0
    return _engine("cat")(parts, dim=axis)


@_numpy(np.stack)
def _stack(arrays: Any, axis: int = 0, *, dtype: Any = None, casting: Any = None) -> Any:
    return _engine("stack")(_tensors(arrays), dim=axis)


@_numpy(np.vstack)
def _vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    return _engine("cat")([t.reshape(1, -1) if t.ndim < 2 else t for t in _tensors(tup)], dim=0)


@_numpy(np.hstack)
def _hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    parts = [t.reshape(1) if not t.ndim else t for t in _tensors(tup)]
    return _engine("cat")(parts, dim=0 if parts[0].ndim == 1 else 1)


@_numpy(np.column_stack)
def _column_stack(tup: Any) -> Any:
    return _engine("cat")([t.reshape(-1, 1) if t.ndim < 2 else t for t in _tensors(tup)], dim=1)


def _splits(a: Any, sections: Any, axis: int, even: bool) -> Any:
    a = _a_tensor(a)
    length = a.shape[axis]
    if isinstance(sections, (int, np.integer)):
        if even and length % sections:
            raise ValueError(f"np.split: {length} cannot be split into {sections} equal parts")
        edges = [0]
        for i in range(sections):
            edges.append(edges[-1] + length // sections + (i < length % sections))
    else:
        edges = [0, *(int(s) for s in sections), length]
    first = (slice(None),) * (axis % a.ndim)
    return [a[(*first, slice(lo, hi))] for lo, hi in itertools.pairwise(edges)]


FUNCTIONS[np.split] = lambda ary, indices_or_sections, axis=0: _splits(
    ary, indices_or_sections, axis, True
)
FUNCTIONS[np.array_split] = lambda ary, indices_or_sections, axis=0: _splits(
    ary, indices_or_sections, axis, False
)


@_numpy(np.where)
def _where(condition: Any, *branches: Any) -> Any:
    if branches:
        return _engine("where")(condition, *branches)
    return tuple(_wrapped(i) for i in np.nonzero(_plain(condition)))


@_numpy(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    return _engine("clip")(_a_tensor(a), low, high)


def _shape_argument(shape: Any) -> tuple[int, ...]:
    return tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)


FUNCTIONS.update(
    {
        np.reshape: lambda a, /, shape=None, order="C", **k: _a_tensor(a).reshape(
            *_shape_argument(k.get("newshape", shape))
        ),
        np.ravel: lambda a, order="C": _a_tensor(a).reshape(-1),
        np.transpose: lambda a, axes=None: _a_tensor(a).permute(
            *(reversed(range(a.ndim)) if axes is None else axes)
        ),
        np.swapaxes: lambda a, axis1, axis2: _a_tensor(a).transpose(axis1, axis2),
        np.moveaxis: lambda a, source, destination: _engine("movedim")(a, source, destination),
        np.expand_dims: lambda a, axis: _expand_dims(_a_tensor(a), axis),
        np.squeeze: lambda a, axis=None: (
            _a_tensor(a).squeeze() if axis is None else _a_tensor(a).squeeze(axis)
        ),
        np.broadcast_to: lambda array, shape, subok=False: _engine("broadcast_to")(
            _a_tensor(array), _shape_argument(shape)
        ),
        np.flip: lambda m, axis=None: _engine("flip")(
            m, tuple(range(m.ndim)) if axis is None else _shape_argument(axis)
        ),
        np.roll: lambda a, shift, axis=None: _engine("roll")(a, shift, axis),
        np.tile: lambda A, reps: _engine("tile")(A, _shape_argument(reps)),
        np.repeat: lambda a, repeats, axis=None: _engine("repeat_interleave")(a, repeats, dim=axis),
        np.tril: lambda m, k=0: _engine("tril")(m, k),
        np.triu: lambda m, k=0: _engine("triu")(m, k),
        np.trace: lambda a, offset=0, axis1=0, axis2=1: _diagonal(a, offset, axis1, axis2).sum(
            dim=-1
        ),
        np.diagonal: lambda a, offset=0, axis1=0, axis2=1: _diagonal(a, offset, axis1, axis2),
        np.diag: lambda v, k=0: _engine("diag")(v, k),
        np.take_along_axis: lambda arr, indices, axis=-1: _engine("take_along_dim")(
            arr, _a_tensor(indices), axis
        ),
        np.outer: lambda a, b: _engine("outer")(_a_tensor(a).reshape(-1), _a_tensor(b).reshape(-1)),
        np.einsum: lambda *operands, **k: _engine("einsum")(*operands),
        np.tensordot: lambda a, b, axes=2: _engine("tensordot")(_a_tensor(a), _a_tensor(b), axes),
        np.vdot: lambda a, b: (_a_tensor(a).reshape(-1) * _a_tensor(b).reshape(-1)).sum(),
        np.round: lambda a, decimals=0: (
            _engine("round")(a, decimals=decimals) if decimals else _engine("round")(a)
        ),
        np.copy: lambda a, order="K", subok=False: a.clone(),
        np.shape: lambda a: a.shape,
        np.ndim: lambda a: a.ndim,
        np.size: lambda a, axis=None: int(np.prod(a.shape)) if axis is None else a.shape[axis],
        np.zeros_like: lambda a, dtype=None, **_k: make(
            settle(np.zeros(a.shape, dtype or a.dtype)), None
        ),
        np.ones_like: lambda a, dtype=None, **_k: make(
            settle(np.ones(a.shape, dtype or a.dtype)), None
        ),
        np.empty_like: lambda a, dtype=None, **_k: make(
            settle(np.zeros(a.shape, dtype or a.dtype)), None
        ),
        np.full_like: lambda a, fill_value, dtype=None, **_k: make(
            settle(np.full(a.shape, fill_value, dtype or a.dtype)), None
        ),
    }
)
FUNCTIONS[np.around] = FUNCTIONS[np.round]


def _diagonal(a: Any, offset: int, axis1: int, axis2: int) -> Any:
    return _engine("diagonal")(a, offset, axis1, axis2)


def _expand_dims(a: Tensor, axis: Any) -> Tensor:
    axes = _shape_argument(axis)
    count = a.ndim + len(axes)
    for d in sorted(d % count for d in axes):
        a = _engine("unsqueeze")(a, d)
    return a


@_numpy(np.take)
def _take(a: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Any:
    a, indices = _a_tensor(a), np.asarray(_plain(indices))
    if axis is None:
        return a.reshape(-1)[indices]
    return a[(*(slice(None),) * (axis % a.ndim), indices)]


@_numpy(np.dot)
def _dot(a: Any, b: Any) -> Any:
    a, b = _a_tensor(a), _a_tensor(b)
    if not a.ndim or not b.ndim:
        return a * b
    if b.ndim <= 2:
        return _engine("matmul")(a, b)
    return _engine("tensordot")(a, b, ([a.ndim - 1], [b.ndim - 2]))


@_numpy(np.inner)
def _inner(a: Any, b: Any) -> Any:
    a, b = _a_tensor(a), _a_tensor(b)
    if not a.ndim or not b.ndim:
        return a * b
    return _engine("tensordot")(a, b, ([a.ndim - 1], [b.ndim - 1]))


@_numpy(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    return _engine("linalg.norm")(x, ord, dim=axis, keepdim=keepdims)


for _name in (
    "inv",
    "det",
    "slogdet",
    "solve",
    "cholesky",
    "eigh",
    "eigvalsh",
    "qr",
    "pinv",
    "matrix_power",
    "svd",
):

    def _linalg(*args: Any, _name: str = _name, **kwargs: Any) -> Any:
        if _name == "svd" and kwargs.pop("compute_uv", True) is False:
            return _engine("linalg.svdvals")(*args)
        return _engine(f"linalg.{_name}")(
            *[a if isinstance(a, int) else _a_tensor(a) for a in args], **kwargs
        )

    FUNCTIONS[getattr(np.linalg, _name)] = _linalg


# -- other libraries ----------------------------------------------------------------------------
#: Names of the array API standard -> names here, where they differ.
ARRAY_API = {
    "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg", "equal": "eq",
    "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
    "concat": "cat", "permute_dims": "permute",
}  # fmt: skip


class ArrayNamespace:
    """What ``x.__array_namespace__()`` returns: names of the array API standard, recorded.

    Reductions take ``axis=`` and ``keepdims=``; everything else is found in ``tapegrad``.
    """

    __name__ = "tapegrad.array_api"
    __array_api_version__ = "2023.12"

    def __getattr__(self, name: str) -> Any:
        if name in ("sum", "mean", "prod", "max", "min", "all", "any", "var", "std"):
            handler = FUNCTIONS[getattr(np, name)]
            if name in ("var", "std"):
                return lambda x, /, *, axis=None, correction=0.0, keepdims=False: handler(
                    x, axis=axis, ddof=correction, keepdims=keepdims
                )
            return lambda x, /, *, axis=None, keepdims=False: handler(
                x, axis=axis, keepdims=keepdims
            )
        if name in (
            "reshape",
            "expand_dims",
            "concat",
            "squeeze",
            "broadcast_to",
            "flip",
            "stack",
            "sort",
            "argsort",
        ):
            return FUNCTIONS[getattr(np, name)]
        if name == "asarray":
            return lambda obj, /, *, dtype=None, device=None, copy=None: (
                obj
                if isinstance(obj, Tensor) and not copy and dtype is None
                else tensor(obj, dtype)
            )
        if name in ("pi", "e", "inf", "nan", "newaxis"):
            return getattr(np, name)
        return _engine(ARRAY_API.get(name, name))


_NAMESPACE = ArrayNamespace()


@_method
def __array_namespace__(self: Tensor, *, api_version: str | None = None) -> Any:
    """The functions of the array API standard for tensors."""
    return _NAMESPACE


@_method
def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    """The device: CPU, number 0."""
    return (1, 0)


@_method
def __dlpack__(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: Any = None,
    dl_device: Any = None,
    copy: Any = None,
) -> Any:
    """The value for other libraries, as a copy, since they may write to what they get.

    RuntimeError for a tensor that requires a gradient; BufferError with ``copy=False``.
    """
    if self._record is not None:
        raise RuntimeError(
            "a tensor that requires a gradient cannot be exported, for the other library would cut "
            "it off the tape unseen: export x.detach()"
        )
    if stream is not None:
        raise BufferError("stream must be None: this tensor is on the CPU")
    if dl_device not in (None, (1, 0)):
        raise BufferError(f"a tensor on the CPU cannot be exported to device {dl_device}")
    if copy is False:
        raise BufferError(
            "a tensor is exported as a copy only, lest a saved value be changed unseen"
        )
    array = np.array(self._value)
    return array.__dlpack__() if max_version is None else array.__dlpack__(max_version=max_version)


def from_dlpack(x: Any) -> Tensor:
    """A tensor with a copy of what another library exports through DLPack.

    >>> import numpy as np, tapegrad as tg
    >>> tg.from_dlpack(np.array([1.0, 2.0], dtype="float32"))
    tensor([1., 2.])
    """
    if isinstance(x, Tensor):
        return tensor(x)
    return tensor(np.from_dlpack(x))
