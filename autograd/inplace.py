"""Changes in place: ``x += y``, ``x[i] = v``, ``x.add_(y)``.

Every in-place name is the out-of-place function and one of two ways to keep its result:

- While it is recorded (something on the tape takes part) the result is a new value with a new
  record, and the tensor is *rebound* to them. Old records keep the old array, so nothing they
  saved has changed. A view hands its new elements on to its base, on the tape, and all views of
  that base are made again.
- Otherwise the memory itself changes, the tensor keeps its identity, and the time is noted, so
  that a record which still reads the old value refuses to go on.
"""

from __future__ import annotations

import operator
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from . import modes
from .aliases import (
    SHARED,
    Alias,
    after_change,
    follow,
    own_array,
    separate,
    set_value,
    write,
)
from .batched import Batched
from .functions.indexing import raw_index
from .inplace_examples import EXAMPLES
from .ops.arithmetic import mul
from .ops.indexing import AT, getitem, index_put, index_put_at
from .ops.shaping import cast, reshape
from .outsiders import refuse_outsider
from .records import LEAF, NOTE, OP, OUTPUT, Freed, next_number
from .tensors import Tensor, make, tensor
from .values import PLAIN, dtype_of, settle

METHODS: dict[str, Any] = {}
_ALL = Ellipsis


# -- the two ways -----------------------------------------------------------------------------
def update(self: Tensor, name: str, result: Callable[[], Any], casting: bool = False) -> Tensor:
    """Make ``self`` what ``result()`` gives, which must have its shape.

    ``casting``: any dtype will do (copying), else only one of the same or a lower kind.
    """
    recording = modes.is_grad_enabled()
    if recording and self._record is not None:
        _refuse_leaf(self)
    new = result()
    if not isinstance(new, Tensor):
        new = make(new, None)
    new = _fit(self, name, new, casting)
    refuse_outsider(self, name, new._value)
    if recording and (new._record is not None or self._record is not None):
        _refuse_leaf(self)
        if new._record is None:  # a constant written over it: still on the tape, with gradient 0
            new = index_put(make(self._value, self._record), new, index=_ALL, accumulate=False)
        rebind(self, new)
    elif _in_one_memory(self._value, new._value):
        write(self, new._value)
    else:
        rebind(self, new)
    return self


def _in_one_memory(value: Any, new: Any) -> bool:
    """Whether there is memory that can take the value: not inside vmap, nor in the checker's
    complex step, where an imaginary part would be lost."""
    return (
        type(value) in PLAIN
        and type(new) in PLAIN
        and (dtype_of(new).kind != "c" or dtype_of(value).kind == "c")
    )


def _refuse_leaf(self: Tensor) -> None:
    """Torch's rule: a leaf that requires a gradient cannot change on the tape."""
    if self._record is not None and self._record[1] is LEAF:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation "
            f"(shape {self.shape}). Update it inside tg.no_grad(), or compute out of place: "
            "y = x + d instead of x += d."
        )
    alias = self._base
    root = None if alias is None else alias.root
    if root is not None and root._record is not None and root._record[1] is LEAF:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation "
            f"(leaf of shape {root.shape}). Change it inside tg.no_grad(), or change a clone()."
        )


_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def _fit(self: Tensor, name: str, new: Tensor, casting: bool) -> Tensor:
    """The result in the shape and dtype of the tensor that takes it, or an error."""
    if new.shape != self.shape:
        raise RuntimeError(
            f"{name}: output with shape {self.shape} doesn't match the broadcast shape "
            f"{new.shape}: an in-place operation cannot change the shape. Compute out of place."
        )
    dtype = self.dtype
    if new.dtype != dtype and new.dtype.kind != "c":
        if not casting and _KINDS[new.dtype.kind] > _KINDS[dtype.kind]:
            raise RuntimeError(
                f"{name}: result type {new.dtype} can't be cast to the desired output type "
                f"{dtype}: an in-place operation keeps its dtype. Compute out of place, or "
                "convert first."
            )
        new = cast(new, dtype=dtype)
    return new


def rebind(self: Tensor, new: Tensor) -> None:
    """Take over the value and record of ``new``, on the tape of the base if this is a view."""
    alias = self._base
    if alias is None or alias.root is None:
        root, whole = self, new
    else:
        root = alias.root
        whole = _into_root(root, alias.tape_links(), self, new)
    separate(root)
    value = whole._value
    if whole._base is not None or whole._views is not None:  # somebody else's memory
        value = value.copy() if type(value) is ndarray else value
    _bind(root, value, whole._record)
    family = root._views
    if family is None:
        return
    family.value = value
    for member in family.members():
        above = member._base
        if above.root is not root or (member._record is not None and member._record[1] is LEAF):
            set_value(member, settle(follow(value, above.chain)))
            continue
        step = make(root._value, root._record)
        for op, params in above.tape_links():
            step = op.function(step, **(params or {}))
        _bind(member, step._value, step._record)


def _bind(handle: Tensor, value: Any, record: Any) -> None:
    retains = handle.retains_grad
    handle._value, handle._record = value, record
    if retains and record is not None:
        handle.retain_grad()


def _into_root(root: Tensor, steps: list[Any], self: Tensor, new: Tensor) -> Tensor:
    """The base with the new elements of a view in it, recorded."""
    whole = make(root._value, root._record)
    value = self._value
    if type(value) is ndarray and not value.flags.writeable:
        raise RuntimeError(SHARED)
    if len(steps) == 1 and steps[0][0].name == "getitem":
        return index_put(whole, new, index=steps[0][1]["index"], accumulate=False)  # type: ignore[no-any-return]
    count = int(np.prod(root.shape))
    chain: Any = None
    for op, params in steps:
        chain = (op, params, chain)
    positions = np.ravel(follow(np.arange(count).reshape(root.shape), chain))
    flat = index_put(
        reshape(whole, shape=(count,)),
        reshape(new, shape=(positions.size,)),
        index=(positions,),
        accumulate=False,
    )
    return reshape(flat, shape=root.shape)  # type: ignore[no-any-return]


# -- copying and writing ----------------------------------------------------------------------
def _source(self: Tensor, value: Any, name: str) -> Any:
    """What is to be written, as a Tensor or a raw value."""
    if isinstance(value, (Tensor, int, float, np.generic)):
        return value
    if isinstance(value, (ndarray, list, tuple)):
        return tensor(value, dtype=None if isinstance(value, ndarray) else self.dtype)
    raise TypeError(
        f"{name}: cannot write a {type(value).__name__}; give a number, array or tensor"
    )


def _copied(self: Tensor, source: Any, name: str, index: Any = _ALL) -> Callable[[], Any]:
    """The value of ``self`` with ``source`` written at an index, on the tape if either is."""

    def result() -> Any:
        whole = make(self._value, self._record)
        try:
            if _is_mapped(index):
                spec, arrays = _as_operands(index)
                return index_put_at(whole, source, *arrays, spec=spec, accumulate=False)
            return index_put(whole, source, index=index, accumulate=False)
        except (IndexError, ValueError) as error:
            raise _misfit(error, self, source, name) from None

    return result


def _misfit(error: Exception, self: Tensor, source: Any, name: str) -> Exception:
    from .errors import ShapeError

    if isinstance(error, IndexError):
        return IndexError(f"{name}: index into a tensor of shape {self.shape}: {error}")
    found = getattr(source, "shape", ())
    return ShapeError(
        f"{name}: a value of shape {found} does not broadcast to what it is written to, in a "
        f"tensor of shape {self.shape}: {error}"
    )


def _is_mapped(index: Any) -> bool:
    """Whether vmap maps over an array in an index."""
    return any(type(i) is Batched for i in (index if type(index) is tuple else (index,)))


def _as_operands(index: Any) -> tuple[tuple[Any, ...], list[Tensor]]:
    """An index as a spec and the tensors in it (see ``ops.indexing.getitem_at``)."""
    items = index if type(index) is tuple else (index,)
    arrays = [make(i, None) for i in items if type(i) is Batched]
    return tuple(AT if type(i) is Batched else i for i in items), arrays


def _put(self: Tensor, index: Any, source: Any, name: str) -> Tensor:
    """Write at an index, in the memory itself when nothing is on the tape."""
    on_tape = modes.is_grad_enabled() and (
        self._record is not None or (isinstance(source, Tensor) and source._record is not None)
    )
    raw = source._value if isinstance(source, Tensor) else source
    if on_tape and _into_own_array(self, index, source, raw, name):
        return self
    value = self._value
    if on_tape or not own_array(self) or type(raw) not in PLAIN or _is_mapped(index):
        return update(self, name, _copied(self, source, name, index), casting=True)
    if not value.flags.writeable:
        raise RuntimeError(SHARED)
    try:
        value[index] = raw
    except (IndexError, ValueError) as error:
        raise _misfit(error, self, source, name) from None
    after_change(self)
    return self


def _into_own_array(self: Tensor, index: Any, source: Any, raw: Any, name: str) -> bool:
    """The recorded write of a loop (``out[t] = h``) that need not copy the whole array again.

    The array that the last write made may be written to when nobody else has it: no record
    that saved it, no view, no array of the user. Everything that has it counts as a reference,
    so the count tells. The records of both writes keep its shape, which is all they need.
    """
    record = self._record
    if (
        record is None
        or record[OP] is not index_put.primitive
        or record[NOTE] is not None
        or record[OUTPUT] is not self._value
        or type(self._value) is not ndarray
        or type(raw) not in PLAIN
        or dtype_of(raw).kind == "c"
        or self._base is not None
        or modes.current() is not None
    ):
        return False
    if self._views is not None:
        if next(self._views.members(), None) is not None:
            return False
        self._views = None
    if _references(self) != _OWN:
        return False
    value = self._value
    try:
        value[index] = raw
    except (IndexError, ValueError) as error:
        raise _misfit(error, self, source, name) from None
    made = source._record if isinstance(source, Tensor) else None
    record[OUTPUT] = left = Freed(value)
    params = {"index": index, "accumulate": False}
    number = next_number()
    self._record = [number, index_put.primitive, value, params, None, left, record, raw, made]
    return True


def _references(self: Tensor) -> int:
    return sys.getrefcount(self._value)


def _calibrate() -> int:
    """What :func:`_references` says of an array that only a tensor and its record have; Python's
    versions differ in what they count."""
    sample = make(np.zeros(1), None)
    sample._record = [0, index_put.primitive, sample._value]
    return _references(sample)


_OWN = _calibrate()


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``self[index] = value``: recorded when either is on the tape, else in the memory itself.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = tg.zeros(3)
    >>> y[1:] = 3 * x
    >>> y.sum().backward()
    >>> x.grad
    tensor([3., 3.])
    """
    index = raw_index(index)
    source = _without_leading_ones(self, index, _source(self, value, "x[index] = value"))
    if isinstance(source, Tensor) and _is_view_at(self, index, source):
        return  # x[i] += v: the view x[i] was changed, and has told its base
    _put(self, index, source, "x[index] = value")


def _without_leading_ones(self: Tensor, index: Any, source: Any) -> Any:
    """Torch's rule: ``x[i] = y`` takes a y of more dimensions if the first ones have length 1."""
    shape = getattr(source, "shape", ())
    if not shape or shape[0] != 1 or _is_mapped(index):
        return source
    try:
        count = np.broadcast_to(np.int8(0), self.shape)[index].ndim
    except IndexError:  # which the writing explains
        return source
    extra = len(shape) - count
    if extra <= 0 or any(n != 1 for n in shape[:extra]):
        return source
    return reshape(source, shape=shape[extra:])


def _is_view_at(self: Tensor, index: Any, source: Tensor) -> bool:
    """Whether ``source`` is the very view ``self[index]``."""
    alias = source._base
    if alias is None or alias.chain is None or source._value is None:
        return False
    above = self._base
    family, chain = (self._views, None) if above is None else (above.family, above.chain)
    op, params, before = alias.chain
    if alias.family is not family or before is not chain or op is not getitem.primitive:
        return False
    if above is None and (family is None or family.value is not self._value):
        return False
    root = self if above is None or above.root is None else above.root
    if self._record is not None and alias.root is not root:
        return False  # the same memory, but cut off the tape: x[i] = x[i].detach() cuts x there
    known = params["index"]
    parts = (
        known if type(known) is tuple else (known,),
        index if type(index) is tuple else (index,),
    )
    if any(type(p) not in (int, slice) for part in parts for p in part):
        return False
    return parts[0] == parts[1]


def copy_(self: Tensor, source: Any, non_blocking: bool = False) -> Tensor:
    """Write the values of ``source`` (broadcast, cast to this dtype) into this tensor.

    >>> import tapegrad as tg
    >>> tg.zeros(2).copy_(tg.tensor([1, 2]))
    tensor([1., 2.])
    """
    return _put(self, _ALL, _source(self, source, "copy_"), "copy_")


def fill_(self: Tensor, value: Any) -> Tensor:
    """Write one number (or 0-d tensor) everywhere.

    >>> import tapegrad as tg
    >>> tg.zeros(2).fill_(3)
    tensor([3., 3.])
    """
    source = _source(self, value, "fill_")
    if getattr(source, "shape", ()) != ():
        raise RuntimeError(f"fill_ takes a number or a 0-d tensor, not one of shape {source.shape}")
    return _put(self, _ALL, source, "fill_")


def zero_(self: Tensor) -> Tensor:
    """Write zeros everywhere.

    >>> import tapegrad as tg
    >>> tg.ones(2).zero_()
    tensor([0., 0.])
    """
    return _put(self, _ALL, 0, "zero_")


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write one number on the main diagonal (``wrap``: of a tall matrix, again below).

    >>> import tapegrad as tg
    >>> tg.zeros(2, 2).fill_diagonal_(1)
    tensor([[1., 0.],
            [0., 1.]])
    """
    shape = self.shape
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        raise RuntimeError(
            f"fill_diagonal_ needs a matrix, or equal lengths in all dimensions, not shape {shape}"
        )
    count = min(shape)
    rows = np.arange(count)
    index: tuple[Any, ...] = (rows,) * len(shape)
    if wrap and len(shape) == 2 and shape[0] > shape[1]:
        flat = np.arange(0, shape[0] * shape[1], shape[1] + 1)
        index = (flat // shape[1], flat % shape[1])
    return _put(self, index, _source(self, fill_value, "fill_diagonal_"), "fill_diagonal_")


def index_put_(self: Tensor, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """Write ``values`` at a tuple of index tensors; with ``accumulate`` add them instead.

    >>> import tapegrad as tg
    >>> tg.zeros(3).index_put_((tg.tensor([0, 0]),), tg.tensor([1.0, 2.0]), accumulate=True)
    tensor([3., 0., 0.])
    """
    index = raw_index(tuple(indices))
    source = _source(self, values, "index_put_")
    if not accumulate:
        return _put(self, index, source, "index_put_")

    def result() -> Any:
        return index_put(make(self._value, self._record), source, index=index, accumulate=True)

    return update(self, "index_put_", result, casting=True)


# -- arithmetic, the hot ones -------------------------------------------------------------------
_UFUNCS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide}


def _in_memory(self: Tensor, other: Any, ufunc: Any) -> bool:
    """``ufunc(self, other, out=self)`` where that is all there is to do: same float dtype,
    nothing recorded. Says whether it was done."""
    value = self._value
    if not own_array(self) or value.dtype.kind != "f" or not value.flags.writeable:
        return False
    if isinstance(other, Tensor):
        record, raw = other._record, other._value
    else:
        record, raw = None, other
    if type(raw) is ndarray:
        if raw.dtype != value.dtype:
            return False
    elif type(raw) is not float and type(raw) is not int:
        return False
    if (self._record is not None or record is not None) and modes.is_grad_enabled():
        return False
    try:
        ufunc(value, raw, out=value)
    except ValueError:  # the shape would grow: the general way says so
        return False
    after_change(self)
    return True


def _arithmetic(name: str) -> Callable[..., Tensor]:
    ufunc, scaled = _UFUNCS[name], name in ("add", "sub")

    def method(self: Tensor, other: Any, *, alpha: Any = None, rounding_mode: Any = None) -> Tensor:
        if alpha is not None and not scaled:
            raise TypeError(f"{name}_ takes no alpha")
        if rounding_mode is not None:
            return update(
                self,
                f"{name}_",
                lambda: getattr(Tensor, name)(_old(self), other, rounding_mode=rounding_mode),
            )
        if alpha is not None:
            other = mul(other, alpha) if isinstance(other, Tensor) else other * alpha
        if _in_memory(self, other, ufunc):
            return self
        return update(self, f"{name}_", lambda: getattr(Tensor, name)(_old(self), other))

    return method


def _old(self: Tensor) -> Tensor:
    """A handle of its own on the present value and record, for functions that keep handles."""
    return make(self._value, self._record)


# -- all the others, from their names ---------------------------------------------------------
#: In-place name -> the out-of-place method it is made of.
_NAMES = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "clamp",
    "clip", "cos", "cosh", "cumprod", "cumsum", "digamma", "erf", "erfc", "erfinv", "exp",
    "exp2", "expm1", "floor", "floor_divide", "fmod", "frac", "hypot", "lerp", "lgamma",
    "log", "log10", "log1p", "log2", "logit", "nan_to_num", "neg", "pow", "reciprocal",
    "relu", "remainder", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square",
    "tan", "tanh", "tril", "triu", "trunc", "xlogy", "addcdiv", "addcmul", "index_add",
    "index_copy", "index_fill", "masked_fill", "masked_scatter", "scatter", "scatter_add",
    "scatter_reduce", "logical_and", "logical_or", "logical_xor", "logical_not", "eq", "ne",
    "lt", "le", "gt", "ge", "addmm", "addmv", "addr", "addbmm", "baddbmm", "arccos",
    "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "clamp_min", "clamp_max",
    "copysign", "deg2rad", "rad2deg", "fix", "float_power", "heaviside", "polygamma", "sgn",
    "sinc", "greater", "greater_equal", "less", "less_equal", "not_equal", "bitwise_and",
    "bitwise_or", "bitwise_xor", "bitwise_not", "bitwise_left_shift", "bitwise_right_shift",
    "gcd", "lcm", "ldexp",
)  # fmt: skip
OUT_OF_PLACE = {f"{name}_": name for name in _NAMES}
OUT_OF_PLACE.update(
    absolute_="abs",
    negative_="neg",
    subtract_="sub",
    multiply_="mul",
    divide_="div",
    true_divide_="div",
)


#: Where the result is written whatever its dtype: comparisons give 0 and 1.
_ANY_DTYPE = {"eq", "ne", "lt", "le", "gt", "ge", "greater", "greater_equal", "less"}
_ANY_DTYPE |= {"less_equal", "not_equal", "logical_and", "logical_or", "logical_xor", "logical_not"}


def _from_name(name: str, function_name: str) -> Callable[..., Tensor]:
    casting = function_name in _ANY_DTYPE

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        function = getattr(Tensor, function_name)
        return update(self, name, lambda: function(_old(self), *args, **kwargs), casting=casting)

    return method


def _operator(function: Callable[..., Tensor]) -> Callable[..., Any]:
    operands = (Tensor, int, float, np.ndarray, np.generic)

    def method(self: Tensor, other: Any) -> Any:
        return function(self, other) if isinstance(other, operands) else NotImplemented

    return method


# -- shape, in place --------------------------------------------------------------------------
def _metadata(name: str, function_name: str) -> Callable[..., Tensor]:
    """``squeeze_`` and its kin: the memory stays, the tensor becomes a view of it."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        function = getattr(Tensor, function_name)
        record = self._record
        leaf = record is not None and record[1] is LEAF
        if leaf and modes.is_grad_enabled():
            _refuse_leaf(self)
        old = make(self._value, None if leaf else record)
        family = self._views
        if self._base is not None:
            old._base = self._base
            old._base.family.add(old)
        elif family is not None and family.value is self._value:
            old._views = family
            family.root = weakref.ref(old)
            for member in family.members():
                if member._base.root is self:
                    member._base.root = old
        with modes.enable_grad():
            new = function(old, *args, **kwargs)
        if new is old:
            return self
        alias = new._base
        self._views = None
        self._value, self._record = new._value, record if leaf else new._record
        self._base = alias
        if leaf:
            record[2] = self._value  # type: ignore[index]
            if alias is not None:
                self._base = Alias(alias.family, None, alias.chain)
        if self._base is not None:
            self._base.family.add(self)
        return self

    return method


def detach_(self: Tensor) -> Tensor:
    """Take this tensor off the tape, in place: it becomes a leaf.

    RuntimeError for a view, whose base would go on as if it were on the tape: use ``detach()``.

    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> y = x * 3
    >>> y.detach_().requires_grad
    False
    """
    if self._base is not None and self._base.root is not None and self._record is not None:
        raise RuntimeError("Can't detach views in-place. Use detach() instead.")
    self._record = None
    return self


_OF_SHAPE = ("squeeze_", "unsqueeze_", "transpose_", "t_", "swapaxes_", "swapdims_")


# -- the table --------------------------------------------------------------------------------
_DOC = """In place: the tensor becomes ``{call}``; see :func:`tapegrad.{name}`.

Recorded when something on the tape takes part; keeps shape and dtype. RuntimeError for a leaf
that requires a gradient, outside ``no_grad()``.

>>> import tapegrad as tg
>>> tg.tensor({before}).{method}({args})
tensor({after})
"""
_DOC_OF_SHAPE = _DOC.replace("keeps shape and dtype", "the elements stay")


def describe() -> None:
    """Say of every method made from a function what it takes and what it does; called once, when
    Tensor has the functions."""
    for name, (before, args, after) in EXAMPLES.items():
        method, of = METHODS[name], OUT_OF_PLACE.get(name, name[:-1])
        function = method.__wrapped__ = getattr(Tensor, of)  # whose signature it shows
        names = function.__code__.co_varnames[1 : function.__code__.co_argcount]
        method.__doc__ = (_DOC_OF_SHAPE if name in _OF_SHAPE else _DOC).format(
            call=f"{of}({', '.join(('self', *names))})",
            name=of,
            before=before,
            method=name,
            args=args,
            after=after,
        )


def _build() -> None:
    for function in (copy_, fill_, zero_, fill_diagonal_, index_put_, detach_):
        METHODS[function.__name__] = function
    METHODS["__setitem__"] = setitem
    for name in _UFUNCS:
        METHODS[f"{name}_"] = _arithmetic(name)
    for name, function_name in OUT_OF_PLACE.items():
        METHODS[name] = (
            METHODS.get(f"{function_name}_")
            if function_name in _UFUNCS
            else _from_name(name, function_name)
        )
    for name in _OF_SHAPE:
        METHODS[name] = _metadata(name, name[:-1])
    for name, method in METHODS.items():
        if method.__name__ == "method":  # not under another name already
            method.__name__ = method.__qualname__ = name
            method.__module__ = "tapegrad"
    for name in ("add", "sub", "mul"):
        METHODS[f"__i{name}__"] = _operator(METHODS[f"{name}_"])
    METHODS["__itruediv__"] = _operator(METHODS["div_"])
    METHODS["__ipow__"] = _operator(METHODS["pow_"])
    METHODS["__ifloordiv__"] = _operator(METHODS["floor_divide_"])
    METHODS["__imod__"] = _operator(METHODS["remainder_"])
    symbols = {
        "and": operator.and_,
        "or": operator.or_,
        "xor": operator.xor,
        "lshift": operator.lshift,
        "rshift": operator.rshift,
    }
    for name, symbol in symbols.items():
        METHODS[f"__i{name}__"] = _operator(_bitwise(f"__i{name}__", symbol))


def _bitwise(name: str, symbol: Callable[[Any, Any], Any]) -> Callable[..., Tensor]:
    return lambda self, other: update(self, name, lambda: symbol(_old(self), other))


_build()
