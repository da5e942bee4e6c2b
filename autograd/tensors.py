"""The Tensor: a handle on a value, the record that made it, and its gradient.

Mathematics lives in ``ops`` (primitives) and ``functions`` (compositions); ``methods`` attaches
both to this class, so that ``x.tanh()`` and ``tg.tanh(x)`` are one function.
"""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from .aliases import is_same_memory, leave_family, set_value, view_of
from .errors import MissingAttribute
from .records import LEAF, new_leaf_record, note_of
from .values import as_dtype, dtype_of, get_default_dtype, settle, shape_of

#: Slots that read as None until they are set: creating a handle sets two slots only.
_UNSET = frozenset({"_grad", "_base", "_views", "name"})


class Tensor:
    """An array, or a 0-d scalar, that remembers how it was computed.

    Make one with :func:`tapegrad.tensor`. Operations on it are recorded when it (or any other
    operand) requires a gradient, and :meth:`backward` applies the chain rule.

    Attributes: ``shape``, ``ndim``, ``dtype``, ``grad``, ``requires_grad``, ``is_leaf``,
    ``name`` (shown in graphs; yours to set).

    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> y = x**2 + 3*x + 1
    >>> y.backward()
    >>> x.grad
    tensor(7.)
    """

    # _value   raw value (see values.py)            _record  the tape record, or None
    # _grad    the accumulated gradient             _base    (root, chain) when this is a view
    # _views   weak references to views of this     name     label for graphs
    __slots__ = ("_value", "_record", "_grad", "_base", "_views", "name", "__weakref__")

    _value: Any
    _record: list[Any] | None
    _grad: Tensor | None
    _base: Any
    _views: Any
    name: str | None

    def __new__(cls, data: Any = (), dtype: Any = None, requires_grad: bool = False) -> Any:
        return tensor(data, dtype or get_default_dtype(), requires_grad, _class=cls)

    if TYPE_CHECKING:  # attached by methods.py; here for type checkers and editors
        T: Tensor
        mT: Tensor

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __lshift__(self, other: Any) -> Tensor: ...
        def __rlshift__(self, other: Any) -> Tensor: ...
        def __rshift__(self, other: Any) -> Tensor: ...
        def __rrshift__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __iter__(self) -> Iterator[Tensor]: ...

    def __getattr__(self, name: str) -> Any:
        if name in _UNSET:
            return None
        if TYPE_CHECKING:
            return None
        raise MissingAttribute(self, name)

    # -- what it is -------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """The length along every dimension; ``()`` for a scalar."""
        return shape_of(self._value)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        return dtype_of(self._value)

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def device(self) -> str:
        """Always ``'cpu'``; here so that code which asks runs."""
        return "cpu"

    def cpu(self) -> Tensor:
        """The tensor itself: there is no other device."""
        return self

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating one.

        >>> import tapegrad as tg
        >>> tg.tensor([1, 2]).is_floating_point()
        False
        """
        return self.dtype.kind == "f"

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in memory in row-major order without gaps.

        >>> import tapegrad as tg
        >>> tg.ones(2, 3).is_contiguous(), tg.ones(2, 3).T.is_contiguous()
        (True, False)
        """
        return type(self._value) is not ndarray or bool(self._value.flags.c_contiguous)

    @property
    def data(self) -> Tensor:
        """The value off the tape, in the same memory: what is changed there is changed here.

        Assigning rebinds this tensor to a copy, keeping its identity and its place on the tape.

        >>> import tapegrad as tg
        >>> p = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> p.data -= 0.5
        >>> p
        tensor([0.5000, 1.5000], requires_grad=True)
        """
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        if isinstance(value, Tensor) and is_same_memory(self, value):
            return  # the end of x.data -= y, which has changed the memory already
        if self._record is not None and value.dtype.kind != "f":
            raise RuntimeError(
                f"data of dtype {value.dtype} cannot stand in a tensor that requires a gradient"
            )
        leave_family(self)
        set_value(self, settle(_as_array(value, None)))

    @property
    def requires_grad(self) -> bool:
        """Whether it is on the tape: a leaf that asked for a gradient, or computed from one."""
        return self._record is not None

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    @property
    def is_leaf(self) -> bool:
        """True for a tensor that no recorded operation made."""
        return self._record is None or self._record[1] is LEAF

    @property
    def grad(self) -> Tensor | None:
        """What :meth:`backward` accumulated, or None.

        Only leaves (and tensors that called :meth:`retain_grad`) receive one.
        """
        grad = self._grad
        if grad is None and not self.is_leaf:
            note = self._record[4]  # type: ignore[index]
            if not getattr(note, "retain", False):
                warnings.warn(
                    f"reading .grad of a tensor that is not a leaf (made by '{self._record[1]}', "  # type: ignore[index]
                    f"shape {self.shape}): it stays None unless you call retain_grad() on it "
                    "before backward()",
                    UserWarning,
                    stacklevel=2,
                )
        return grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad must be a Tensor or None, not {type(value).__name__}")
            if value.shape != self.shape:
                raise RuntimeError(
                    f"assigned grad has shape {value.shape}, but the tensor has shape {self.shape}"
                )
            if value.dtype != self.dtype:
                raise RuntimeError(
                    f"assigned grad has dtype {value.dtype}, but the tensor has dtype {self.dtype}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start (or stop) asking for a gradient, in place; only leaves can change.

        Raises RuntimeError for an integer or boolean tensor, which carries no gradient.

        >>> import tapegrad as tg
        >>> tg.ones(2).requires_grad_().requires_grad
        True
        """
        if not requires_grad:
            if not self.is_leaf:
                raise RuntimeError(
                    f"only leaves can change requires_grad; this tensor was made by "
                    f"'{self._record[1]}'. Use detach() for a copy that is off the tape."  # type: ignore[index]
                )
            self._record = None
        elif self._record is None:
            if self.dtype.kind != "f":
                raise RuntimeError(
                    f"a tensor of dtype {self.dtype} and shape {self.shape} cannot require a "
                    "gradient: only floating dtypes can. Convert first, e.g. x.float() or "
                    "dtype='float64'."
                )
            self._record = new_leaf_record(self)
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in ``.grad`` when :meth:`backward` passes it.

        >>> import tapegrad as tg
        >>> x = tg.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> y.retain_grad()
        >>> (2 * y).backward()
        >>> y.grad
        tensor(2.)
        """
        if self._record is None:
            raise RuntimeError("retain_grad() on a tensor that does not require a gradient")
        if not self.is_leaf:
            note = note_of(self._record)
            note.handle = weakref.ref(self)
            note.retain = True

    @property
    def retains_grad(self) -> bool:
        """Whether :meth:`retain_grad` was called on this non-leaf."""
        return not self.is_leaf and getattr(self._record[4], "retain", False)  # type: ignore[index]

    def register_hook(self, hook: Any) -> Any:
        """Call ``hook(gradient)`` when backward gets here; a result replaces the gradient.

        Returns a handle with ``remove()``.

        >>> import tapegrad as tg
        >>> x = tg.tensor(3.0, requires_grad=True)
        >>> handle = x.register_hook(lambda g: g * 10)
        >>> (x * 2).backward()
        >>> x.grad
        tensor(20.)
        """
        if self._record is None:
            raise RuntimeError("register_hook() on a tensor that does not require a gradient")
        if not callable(hook):
            raise TypeError(f"register_hook() takes a function, not {type(hook).__name__}")
        note = note_of(self._record)
        return note.add_hook(hook)

    # -- conversion -------------------------------------------------------------------------
    def numpy(self, *, force: bool = False) -> ndarray:
        """A read-only NumPy view of the value (``.copy()`` it to write).

        Raises RuntimeError for a tensor that requires a gradient, since the result would be cut
        off the tape unseen: say ``x.detach().numpy()``, or ``force=True``.

        >>> import tapegrad as tg
        >>> tg.tensor([1.0, 2.0]).numpy()
        array([1., 2.], dtype=float32)
        """
        if self._record is not None and not force:
            raise RuntimeError(
                "numpy() of a tensor that requires a gradient would leave the tape: "
                "use x.detach().numpy(), or numpy(force=True)"
            )
        return locked_array(self._value)

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number.

        >>> import tapegrad as tg
        >>> tg.tensor([2.5]).item()
        2.5
        """
        value = self._value
        if type(value) is float:
            return value
        if type(value) is ndarray and value.size != 1:
            raise RuntimeError(
                f"item() needs a tensor of one element, this one has shape {value.shape}: "
                "use tolist(), or reduce it first"
            )
        return value.item()

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers.

        >>> import tapegrad as tg
        >>> tg.tensor([[1, 2], [3, 4]]).tolist()
        [[1, 2], [3, 4]]
        """
        value = self._value
        return value if type(value) is float else value.tolist()

    def detach(self) -> Tensor:
        """The same value off the tape; it shares memory, as torch's does.

        >>> import tapegrad as tg
        >>> x = tg.tensor(2.0, requires_grad=True)
        >>> (x * 3).detach().requires_grad
        False
        """
        return view_of(self, make(self._value, None), None, None)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self.is_leaf:
            raise RuntimeError(
                f"only leaves can be copied or pickled; this tensor was made by "
                f"'{self._record[1]}'. Use detach() (or clone() to stay on the tape)."  # type: ignore[index]
            )
        value = self._value.copy() if type(self._value) is ndarray else self._value
        state = getattr(self, "__dict__", None)
        return _rebuild, (type(self), value, self.requires_grad, self._grad, self.name, state)

    def __deepcopy__(self, memo: Any) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        import copy

        rebuild, (kind, value, requires_grad, grad, name, state) = self.__reduce_ex__(4)
        result: Tensor = rebuild(kind, value, requires_grad, None, name, None)
        memo[id(self)] = result  # before its parts, which may lead back here
        if grad is not None:
            result._grad = copy.deepcopy(grad, memo)
        if state:
            result.__dict__.update(copy.deepcopy(state, memo))
        return result

    # -- identity, not value: == is elementwise, so hashing goes by identity as torch's -------
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        value = self._value
        if type(value) is ndarray and value.size != 1:
            raise RuntimeError(
                f"the truth value of a tensor of shape {value.shape} is ambiguous: "
                "use .any() or .all()"
            )
        return bool(value)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iub":
            raise TypeError(f"only integer tensors can index, this one has dtype {self.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and not self.shape else repr(self)

    def __repr__(self) -> str:
        return represent(self)


def _rebuild(
    kind: Any, value: Any, requires_grad: bool, grad: Any, name: Any, state: Any
) -> Tensor:
    result: Tensor = object.__new__(kind)
    result._value, result._record = value, None
    if name is not None:
        result.name = name
    if state:
        result.__dict__.update(state)
    if requires_grad:
        result._record = new_leaf_record(result)
    if grad is not None:
        result._grad = grad
    return result


_new = object.__new__


def make(value: Any, record: list[Any] | None) -> Tensor:
    """A handle on a raw value."""
    out: Tensor = _new(Tensor)
    out._value = value
    out._record = record
    return out


def tensor(
    data: Any,
    dtype: Any = None,
    requires_grad: bool = False,
    *,
    device: Any = None,
    _class: type = Tensor,
) -> Tensor:
    """A new leaf tensor holding a copy of ``data``.

    ``data``: a number, nested sequences, an ndarray or a Tensor. Python floats get the default
    dtype (float32, see :func:`set_default_dtype`), arrays keep theirs. ``requires_grad`` asks for
    a gradient; RuntimeError for an integer dtype. ``device``: the CPU, for programs that say so.

    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    >>> tg.tensor(2.0, dtype="float64", requires_grad=True)
    tensor(2., dtype=float64, requires_grad=True)
    """
    if device is not None:
        from .functions.converting import check_device

        check_device(device)
    wanted = as_dtype(dtype)
    value = settle(_as_array(data, wanted))
    out: Tensor = _new(_class)
    out._value, out._record = value, None
    if requires_grad:
        out.requires_grad_()
    return out


def _as_array(data: Any, dtype: np.dtype[Any] | None) -> ndarray:
    """A fresh array of ``data`` in the dtype it should have."""
    if isinstance(data, Tensor):
        dtype, data = dtype or data.dtype, data._value  # a value of Python has no dtype itself
    if isinstance(data, (ndarray, np.generic)):
        return np.array(data, dtype=dtype or as_dtype(data.dtype), order="C", subok=False)
    if isinstance(data, (list, tuple)):
        data, native = _unwrap(data)
    else:
        native = type(data) in (float, int, bool)
    if data is None or isinstance(data, (str, bytes, dict, set)):
        raise TypeError(f"cannot make a tensor of {type(data).__name__} {data!r}")
    try:
        array = np.array(data, dtype=dtype)
    except (ValueError, TypeError) as error:
        raise ValueError(f"cannot make a tensor of ragged or non-numeric data: {error}") from None
    if array.dtype.kind == "O":
        raise TypeError("cannot make a tensor of objects that are no numbers")
    if dtype is None:
        if array.dtype.kind == "f" and native:
            array = array.astype(get_default_dtype())
        elif array.size == 0 and isinstance(data, (list, tuple)):
            array = array.astype(get_default_dtype())
        as_dtype(array.dtype)
    return array


def _unwrap(data: Any) -> tuple[Any, bool]:
    """Nested sequences with Tensors replaced by values, and whether all was Python numbers."""
    native, out = True, []
    for item in data:
        if isinstance(item, Tensor):
            out.append(item._value)
            native = False
        elif isinstance(item, (list, tuple)):
            inner, inner_native = _unwrap(item)
            out.append(inner)
            native = native and inner_native
        else:
            out.append(item)
            native = native and not isinstance(item, (ndarray, np.generic))
    return out, native


def frozen_array(value: Any) -> ndarray:
    """A read-only view of a raw value."""
    if type(value) is not ndarray:
        if not isinstance(value, (float, np.generic)):
            raise RuntimeError(
                "numpy() of a tensor inside vmap has no single value: compute with tensor "
                "operations, or take the array outside vmap"
            )
        array = np.array(value)
    else:
        array = value.view()
    array.flags.writeable = False
    return array


def locked_array(value: Any) -> ndarray:
    """The same for users: nobody can make it writable again and change a saved value unseen."""
    if type(value) is not ndarray:
        return frozen_array(value)
    buffer: Any = value
    return np.asarray(memoryview(buffer).toreadonly())


def represent(tensor: Tensor) -> str:
    """torch's way of printing: value, dtype unless it is the default, and the record."""
    from .printing import describe

    value, record = tensor._value, tensor._record
    extras = []
    if 0 in tensor.shape and tensor.ndim != 1:
        extras.append(f"size={tensor.shape}")
    if tensor.dtype not in (get_default_dtype(), np.int64, np.bool_):
        extras.append(f"dtype={tensor.dtype}")
    if record is not None:
        extras.append("requires_grad=True" if record[1] is LEAF else f"grad_fn=<{record[1]}>")
    return describe(value, extras)
