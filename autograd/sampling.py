"""Random tensors, and the Generator that they draw from.

Every function takes ``generator=``; without one it draws from the default generator, which
:func:`manual_seed` sets. The same seed gives the same numbers. float32 numbers are drawn as
such, not rounded from float64.
"""

from __future__ import annotations

import math
import operator
import threading
from typing import Any

import numpy as np
from numpy import ndarray

from .batched import drawn
from .creation import _sized, finish
from .errors import ShapeError
from .functions.converting import check_device, convert, device
from .functions.dims import sizes
from .ops import arithmetic, comparisons
from .tensors import Tensor, make
from .values import PLAIN, as_dtype, dtype_of, get_default_dtype, settle, shape_of

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]

_WORD, _LONG = 16, 2 * 16 + 3 * 8  # bytes of a 128-bit number, and of a whole state


class Generator:
    """A source of random numbers (PCG64, O'Neill 2014), with a seed and a state of its own.

    Draws are safe from several threads; for numbers that do not depend on how threads
    interleave, give each its own generator.

    >>> import tapegrad as tg
    >>> g = tg.Generator().manual_seed(0)
    >>> first = tg.rand(2, generator=g)
    >>> bool((tg.rand(2, generator=g.manual_seed(0)) == first).all())
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        check_device(device)
        self._lock = threading.RLock()
        self._source: Any = None  # numpy.random is loaded when first needed
        self._seed: int | None = None

    @property
    def device(self) -> Any:
        """Where it draws: the CPU."""
        return device()

    def _ready(self) -> Any:
        if self._source is None:
            self.seed() if self._seed is None else self.manual_seed(self._seed)
        return self._source

    def manual_seed(self, seed: int) -> Generator:
        """Start again from a seed (an int of 64 bits; negative ones count from 2^64)."""
        seed = operator.index(seed)
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"manual_seed: {seed} is not a number of 64 bits")
        with self._lock:
            self._seed = seed % 2**64
            self._source = np.random.Generator(np.random.PCG64(self._seed))
        return self

    def seed(self) -> int:
        """Start again from a seed that the system picks by chance; returns it."""
        import secrets

        with self._lock:
            self.manual_seed(secrets.randbits(63))
            return self.initial_seed()

    def initial_seed(self) -> int:
        """The seed it was last started from."""
        with self._lock:
            self._ready()
            assert self._seed is not None
            return self._seed

    def get_state(self) -> Tensor:
        """The state, as a uint8 tensor: :meth:`set_state` goes on from the same point."""
        with self._lock:
            state = self._ready().bit_generator.state
            words = [state["state"]["state"].to_bytes(_WORD, "little")]
            words.append(state["state"]["inc"].to_bytes(_WORD, "little"))
            rest = (state["has_uint32"], state["uinteger"], self.initial_seed())
            words += [number.to_bytes(8, "little") for number in rest]
        return make(np.frombuffer(b"".join(words), np.uint8).copy(), None)

    def set_state(self, new_state: Any) -> Generator:
        """Go on from a state that :meth:`get_state` returned."""
        value = np.asarray(getattr(new_state, "_value", new_state))
        if value.dtype != np.uint8 or value.shape != (_LONG,):
            raise RuntimeError(
                f"set_state: expects the uint8 tensor of length {_LONG} that get_state() returned, "
                f"not dtype {value.dtype} and shape {value.shape}"
            )
        data = value.tobytes()
        parts = [data[:_WORD], data[_WORD : 2 * _WORD]]
        parts += [data[2 * _WORD + 8 * i : 2 * _WORD + 8 * i + 8] for i in range(3)]
        state, inc, has, pending, first = (int.from_bytes(p, "little") for p in parts)
        with self._lock:
            self.manual_seed(first)
            self._source.bit_generator.state = {
                "bit_generator": "PCG64",
                "state": {"state": state, "inc": inc},
                "has_uint32": has,
                "uinteger": pending,
            }
        return self

    def clone_state(self) -> Generator:
        """Another generator in the same state."""
        return Generator().set_state(self.get_state())

    def __getstate__(self) -> Any:
        return self.get_state().tolist()

    def __setstate__(self, state: Any) -> None:
        self.__init__()  # type: ignore[misc]
        self.set_state(np.array(state, np.uint8))

    def __repr__(self) -> str:
        return f"Generator(initial_seed={self.initial_seed()})"

    def draw(self, kind: str, shape: tuple[int, ...], dtype: np.dtype[Any], *params: Any) -> Any:
        """A fresh array of random numbers: the one place where any are drawn.

        ``kind``: "uniform" (from 0 to 1), "normal" (0, 1), "exponential" (1), "integers" (low,
        high), "permutation" (n) or "poisson" (rate).
        """
        return drawn(shape, lambda wanted: self._draw(kind, wanted, shape, dtype, *params))

    def _draw(
        self,
        kind: str,
        wanted: tuple[int, ...],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *params: Any,
    ) -> ndarray:
        """``wanted``: the shape, with a dimension in front for every vmap that draws for itself."""
        with self._lock:
            source = self._ready()
            if kind in ("uniform", "normal", "exponential"):
                method = getattr(source, _METHODS[kind])
                native = dtype if dtype.itemsize >= 4 else np.dtype("float32")
                array = method(wanted, dtype=native)
            elif kind == "integers":
                array = source.integers(*params, size=wanted)
            elif kind == "permutation":
                rows = [
                    source.permutation(*params) for _ in range(math.prod(wanted[: -len(shape)]))
                ]
                array = np.reshape(rows, wanted)
            else:
                array = source.poisson(*params, size=wanted)
        return np.asarray(array).astype(dtype, copy=False)


_METHODS = {
    "uniform": "random",
    "normal": "standard_normal",
    "exponential": "standard_exponential",
}

#: What is drawn from where no generator is given.
default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, and return it: the same seed gives the same numbers.

    >>> import tapegrad as tg
    >>> _ = tg.manual_seed(0)
    >>> first = tg.rand(2)
    >>> _ = tg.manual_seed(0)
    >>> bool((tg.rand(2) == first).all())
    True
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator by chance, and return the seed.

    >>> import tapegrad as tg
    >>> tg.seed() == tg.initial_seed()
    True
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was last started from.

    >>> import tapegrad as tg
    >>> _ = tg.manual_seed(3)
    >>> tg.initial_seed()
    3
    """
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, as a uint8 tensor.

    >>> import tapegrad as tg
    >>> state = tg.get_rng_state()
    >>> first = tg.rand(2)
    >>> tg.set_rng_state(state)
    >>> bool((tg.rand(2) == first).all())
    True
    """
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Set the default generator to a state that :func:`get_rng_state` returned.

    >>> import tapegrad as tg
    >>> tg.set_rng_state(tg.get_rng_state())
    """
    default_generator.set_state(new_state)


def _floating(dtype: Any, what: str) -> np.dtype[Any]:
    wanted = as_dtype(dtype) or get_default_dtype()
    if wanted.kind != "f":
        raise RuntimeError(f"{what}: the dtype must be a floating one, not {wanted}")
    return wanted


def _source(generator: Any) -> Generator:
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"generator must be a tg.Generator, not {type(generator).__name__}")
    return generator


# -- of a shape -------------------------------------------------------------------------------
def rand(
    *size: Any,
    generator: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    **named: Any,
) -> Tensor:
    """Numbers from the uniform distribution on [0, 1).

    >>> import tapegrad as tg
    >>> tg.rand(2, 3).shape
    (2, 3)
    """
    shape, wanted = _sized(size, named, "rand"), _floating(dtype, "rand")
    return finish(_source(generator).draw("uniform", shape, wanted), requires_grad, device)


def randn(
    *size: Any,
    generator: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    **named: Any,
) -> Tensor:
    """Numbers from the normal distribution with mean 0 and variance 1.

    >>> import tapegrad as tg
    >>> tg.randn(2, 3).shape
    (2, 3)
    """
    shape, wanted = _sized(size, named, "randn"), _floating(dtype, "randn")
    return finish(_source(generator).draw("normal", shape, wanted), requires_grad, device)


def randint(
    *args: Any,
    low: Any = None,
    high: Any = None,
    size: Any = None,
    generator: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Integers from ``low`` (default 0) up to, not including, ``high``.

    ``randint(high, size)`` or ``randint(low, high, size)``.

    >>> import tapegrad as tg
    >>> tg.randint(0, 3, (4,)).shape, tg.randint(10, (2, 2)).dtype
    ((4,), dtype('int64'))
    """
    rest = list(args)
    if size is None and rest:
        size = rest.pop()
    bounds = [operator.index(v) for v in rest]
    if high is not None:
        bounds.append(operator.index(high))
    if low is not None:
        bounds.insert(0, operator.index(low))
    if size is None or len(bounds) not in (1, 2):
        raise TypeError("randint: give (high, size) or (low, high, size)")
    first, last = bounds if len(bounds) == 2 else (0, bounds[0])
    if first >= last:
        raise RuntimeError(f"randint: low={first} must be less than high={last}")
    wanted = as_dtype(dtype) or np.dtype("int64")
    shape = sizes((size,), "randint")
    array = _source(generator).draw("integers", shape, wanted, first, last)
    return finish(array, requires_grad, device)


def randperm(
    n: int,
    *,
    generator: Any = None,
    dtype: Any = "int64",
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """The integers from 0 to n - 1 in random order.

    >>> import tapegrad as tg
    >>> tg.randperm(4).sort().values
    tensor([0, 1, 2, 3])
    """
    n, wanted = operator.index(n), as_dtype(dtype) or np.dtype("int64")
    if n < 0:
        raise RuntimeError(f"randperm: n must not be negative, got {n}")
    return finish(_source(generator).draw("permutation", (n,), wanted, n), requires_grad, device)


def _like_dtype(input: Any, dtype: Any) -> Any:
    return dtype_of(input) if dtype is None else dtype


def rand_like(
    input: Any,
    *,
    generator: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """As :func:`rand`, in the shape and dtype of a tensor.

    >>> import tapegrad as tg
    >>> tg.rand_like(tg.zeros(2, 3)).shape
    (2, 3)
    """
    kind = _like_dtype(input, dtype)
    return rand(
        shape_of(input), generator=generator, dtype=kind, requires_grad=requires_grad, device=device
    )


def randn_like(
    input: Any,
    *,
    generator: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """As :func:`randn`, in the shape and dtype of a tensor.

    >>> import tapegrad as tg
    >>> tg.randn_like(tg.zeros(2, 3)).shape
    (2, 3)
    """
    kind = _like_dtype(input, dtype)
    return randn(
        shape_of(input), generator=generator, dtype=kind, requires_grad=requires_grad, device=device
    )


def randint_like(
    input: Any,
    *args: Any,
    low: Any = None,
    high: Any = None,
    generator: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """As :func:`randint`, in the shape and dtype of a tensor: ``randint_like(x, low, high)``.

    >>> import tapegrad as tg
    >>> tg.randint_like(tg.zeros(2, 3), 10).dtype
    dtype('float32')
    """
    return randint(
        *args,
        low=low,
        high=high,
        size=shape_of(input),
        generator=generator,
        dtype=_like_dtype(input, dtype),
        requires_grad=requires_grad,
        device=device,
    )


# -- of distributions with parameters ---------------------------------------------------------
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Numbers from normal distributions: mean + std · ε, with ε from :func:`randn`.

    ``mean``, ``std``: tensors that broadcast, or numbers together with ``size``. The result
    carries the derivative of that formula by both (torch's is zero). RuntimeError for a
    negative ``std``.

    >>> import tapegrad as tg
    >>> tg.normal(0.0, 1.0, (2, 3)).shape, tg.normal(tg.zeros(4), 0.5).shape
    ((2, 3), (4,))
    """
    tensors = [v for v in (mean, std) if isinstance(v, (Tensor, np.ndarray))]
    if not tensors:
        if size is None:
            raise TypeError("normal: numbers for mean and std need a size")
        shape, wanted = sizes((size,), "normal"), _floating(dtype, "normal")
    else:
        try:
            shape = np.broadcast_shapes(shape_of(mean), shape_of(std))
        except ValueError:
            raise ShapeError(
                f"normal: mean {shape_of(mean)} and std {shape_of(std)} do not broadcast"
            ) from None
        wanted = np.result_type(*(dtype_of(v) for v in tensors))
        wanted = wanted if wanted.kind == "f" else get_default_dtype()
    plain = getattr(std, "_value", std)
    if type(plain) in PLAIN and np.any(np.less(plain, 0)):
        raise RuntimeError("normal: std must not be negative")
    noise = finish(_source(generator).draw("normal", shape, wanted), False, device)
    result: Tensor = arithmetic.add(mean, arithmetic.mul(std, noise))
    return result.requires_grad_() if requires_grad and result.is_leaf else result


def bernoulli(input: Any, p: Any = None, *, generator: Any = None) -> Tensor:
    """1 with the probability in ``input`` (or ``p``), else 0; in the dtype of ``input``.

    Off the tape. Raises RuntimeError for a probability that is not in 0 to 1.

    >>> import tapegrad as tg
    >>> tg.bernoulli(tg.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    chance = input if p is None else p
    known = getattr(chance, "_value", chance)
    if type(known) in PLAIN and not np.all((np.asarray(known) >= 0) & (np.asarray(known) <= 1)):
        raise RuntimeError("bernoulli: every probability must be in 0 to 1")
    if p is None and dtype_of(input).kind != "f":
        raise RuntimeError(f"bernoulli: probabilities must be floating, not {dtype_of(input)}")
    kind = dtype_of(input)
    exact = kind if kind.kind == "f" and kind.itemsize > 4 else np.dtype("float32")
    uniform = make(settle(_source(generator).draw("uniform", shape_of(input), exact)), None)
    return convert(comparisons.lt(uniform, chance), kind)  # type: ignore[no-any-return]


def poisson(input: Any, generator: Any = None) -> Tensor:
    """Numbers from Poisson distributions with the rates in ``input``, in its dtype; off the tape.

    >>> import tapegrad as tg
    >>> tg.poisson(tg.zeros(3))
    tensor([0., 0., 0.])
    """
    rate = np.asarray(_plain(input, "poisson"))
    if np.any(rate < 0):
        raise RuntimeError("poisson: rates must not be negative")
    return finish(_source(generator).draw("poisson", rate.shape, rate.dtype, rate))


def _plain(input: Any, what: str) -> Any:
    value = getattr(input, "_value", input)
    if type(value) not in PLAIN:
        raise RuntimeError(f"{what}: cannot draw with parameters that vmap maps over")
    return value


def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """``num_samples`` indices, each drawn with a probability in proportion to its weight.

    ``input``: weights, not negative, (n) or (rows, n); they need not add up to 1. Without
    ``replacement`` no index comes twice. Returns int64, (num_samples) or (rows, num_samples).
    Raises RuntimeError for weights that are negative, not finite or all zero, or too few.

    >>> import tapegrad as tg
    >>> tg.multinomial(tg.tensor([0.0, 1.0, 0.0]), 3, replacement=True)
    tensor([1, 1, 1])
    """
    weights = np.asarray(_plain(input, "multinomial"), np.float64)
    if weights.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: expects weights (n) or (rows, n), got {weights.shape}")
    rows = np.atleast_2d(weights)
    if not np.all(np.isfinite(rows)) or np.any(rows < 0) or np.any(rows.sum(axis=1) <= 0):
        raise RuntimeError(
            "multinomial: weights must be finite and not negative, with a positive sum in each row"
        )
    count, source = operator.index(num_samples), _source(generator)
    if count < 1:
        raise RuntimeError(f"multinomial: num_samples must be positive, not {count}")
    double = np.dtype("float64")
    if replacement:
        upto = np.cumsum(rows, axis=1)
        draws = source.draw("uniform", (len(rows), count), double) * upto[:, -1:]
        found = np.array([np.searchsorted(c, d, "right") for c, d in zip(upto, draws, strict=True)])
        # A draw that rounds up to the whole sum belongs to the last weight that is not 0.
        last = rows.shape[1] - 1 - np.argmax(rows[:, ::-1] > 0, axis=1)
        found = np.minimum(found, last[:, None])
    else:
        if np.any(np.count_nonzero(rows, axis=1) < count):
            raise RuntimeError(
                f"multinomial: fewer than {count} weights are not 0: use replacement=True"
            )
        # The largest of w/e, e exponential, come out as draws without replacement
        # (Efraimidis and Spirakis 2006).
        keys = rows / source.draw("exponential", rows.shape, double)
        found = np.argsort(-keys, axis=1, kind="stable")[:, :count]
    return finish(found.astype(np.int64).reshape(*weights.shape[:-1], count))


# -- in place ---------------------------------------------------------------------------------
def _fill(self: Tensor, kind: str, generator: Any, scale: Any = 1.0, shift: Any = 0.0) -> Tensor:
    if self.dtype.kind != "f":
        raise RuntimeError(f"{kind}_: the tensor must be floating, not {self.dtype}")
    numbers = _source(generator).draw(kind, self.shape, self.dtype)
    numbers *= self.dtype.type(scale)
    numbers += self.dtype.type(shift)
    return self.copy_(make(settle(numbers), None))  # type: ignore[attr-defined,no-any-return]


def uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None, **named: Any
) -> Tensor:
    """Fill in place with numbers from the uniform distribution on [from, to).

    >>> import tapegrad as tg
    >>> x = tg.zeros(3).uniform_(-1, 1)
    >>> bool((x.abs() <= 1).all())
    True
    """
    low = named.pop("from", from_)  # torch's name for it is a keyword of Python
    if named:
        raise TypeError(f"uniform_() got an unexpected argument {sorted(named)[0]!r}")
    if low > to:
        raise RuntimeError(f"uniform_: from={low} must not be more than to={to}")
    return _fill(self, "uniform", generator, to - low, low)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill in place with numbers from a normal distribution.

    >>> import tapegrad as tg
    >>> tg.zeros(3).normal_(5.0, 0.0)
    tensor([5., 5., 5.])
    """
    if std < 0:
        raise RuntimeError(f"normal_: std must not be negative, got {std}")
    return _fill(self, "normal", generator, std, mean)


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill in place with numbers of density λ·exp(-λx).

    >>> import tapegrad as tg
    >>> bool((tg.zeros(3).exponential_(2.0) >= 0).all())
    True
    """
    if not lambd > 0:
        raise RuntimeError(f"exponential_: lambd must be positive, got {lambd}")
    return _fill(self, "exponential", generator, 1.0 / lambd)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill in place with 1 at probability ``p`` (a number or a tensor), else 0.

    >>> import tapegrad as tg
    >>> tg.zeros(2).bernoulli_(1.0)
    tensor([1., 1.])
    """
    return self.copy_(bernoulli(self.detach(), p, generator=generator))  # type: ignore[attr-defined,no-any-return]


def random_(
    self: Tensor, from_: int = 0, to: int | None = None, *, generator: Any = None
) -> Tensor:
    """Fill in place with integers from ``from_`` up to, not including, ``to``.

    ``random_(n)`` means from 0 to n - 1; without either, all that the dtype holds exactly.

    >>> import tapegrad as tg
    >>> bool((tg.zeros(3).random_(2) < 2).all())
    True
    """
    low, high = (0, from_) if to is None and from_ else (from_, to)
    if high is None:
        kind = self.dtype
        high = 2 ** (np.finfo(kind).nmant + 1) if kind.kind == "f" else np.iinfo(kind).max
    numbers = _source(generator).draw("integers", self.shape, self.dtype, low, high)
    return self.copy_(make(settle(numbers), None))  # type: ignore[attr-defined,no-any-return]


METHODS: dict[str, Any] = {
    "bernoulli": bernoulli,
    "bernoulli_": bernoulli_,
    "exponential_": exponential_,
    "multinomial": multinomial,
    "normal_": normal_,
    "random_": random_,
    "uniform_": uniform_,
}
