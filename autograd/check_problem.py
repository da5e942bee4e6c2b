"""A function and its inputs, laid flat for the checker: float64 arrays in, float64 vector out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from .forward import push_forward
from .gradients import grad
from .modes import enable_grad, no_grad
from .records import CHECKPOINT, FIRST, LEAF, NUMBER, OP, OUTPUT, PICK, new_leaf_record
from .tensors import Tensor, make
from .values import dtype_of, float64, settle


class Problem:
    """``call`` takes a list of Tensors, one per variable, and returns whatever ``f`` returns."""

    def __init__(
        self,
        call: Callable[[list[Tensor]], Any],
        names: list[str],
        values: list[ndarray],
        dtypes: list[Any],
    ) -> None:
        self.call, self.names, self.values, self.dtypes = call, names, values, dtypes
        self.outputs: list[str] = []  # names of the differentiable outputs
        self.shapes: list[tuple[int, ...]] = []
        self.cut: list[str] = []  # outputs that are not on the tape
        self.leaks: list[str] = []  # operations that went down to a smaller dtype
        self.operations: list[str] = []
        self.analytic = True  # whether every recorded operation takes complex arguments

    def leaves(self, values: Sequence[ndarray] | None = None) -> list[Tensor]:
        """Fresh leaves that require a gradient."""
        found = []
        for value in self.values if values is None else values:
            leaf = make(settle(np.array(value)), None)
            leaf._record = new_leaf_record(leaf)
            found.append(leaf)
        return found

    def run(self, leaves: list[Tensor]) -> list[Tensor]:
        """The floating outputs as a flat list of Tensors."""
        return [y for _, y in self._named_outputs(leaves)]

    def _named_outputs(self, leaves: list[Tensor]) -> list[tuple[str, Tensor]]:
        found: list[tuple[str, Any]] = []
        result = self.call(leaves)
        if result is None:
            raise TypeError("the function must return Tensors, not None: is its return missing?")
        _flatten(result, "", found)
        for name, y in found:
            if not isinstance(y, Tensor):
                raise TypeError(
                    f"the function must return Tensors, but {name or 'its result'} is a "
                    f"{type(y).__name__}: float(), item() and numpy() leave the tape, so that "
                    "nothing can be differentiated"
                )
        return [(name, y) for name, y in found if y.dtype.kind in "fc"]

    def inspect(self, nondet_tol: float = 0.0) -> list[Tensor]:
        """Run once, remember the outputs, and refuse what cannot be checked."""
        with enable_grad():
            named = self._named_outputs(self.leaves())
            again = self._named_outputs(self.leaves())
        self.outputs = [name for name, _ in named]
        self.shapes = [y.shape for _, y in named]
        for (name, first), (_, second) in zip(named, again):
            if first.shape != second.shape or not np.allclose(
                first._value, second._value, rtol=0.0, atol=nondet_tol, equal_nan=True
            ):
                raise NotReproducible(
                    f"the function is not reproducible: {name or 'its result'} differed between "
                    "two calls with the same inputs. Fix the random numbers inside it "
                    "(tg.manual_seed, a Generator), or switch dropout off with model.eval(); "
                    "a small difference may be allowed with nondet_tol."
                )
        ys = [y for _, y in named]
        self.cut = [name or "the result" for name, y in named if y._record is None]
        self._read_tape(ys)
        return ys

    def _read_tape(self, ys: list[Tensor]) -> None:
        seen: set[int] = set()
        stack = [y._record for y in ys if y._record is not None]
        names: dict[str, None] = {}
        leaks: dict[str, None] = {}
        while stack:
            record = stack.pop()
            if record[NUMBER] in seen:
                continue
            seen.add(record[NUMBER])
            op = record[OP]
            stack.extend(r for r in record[FIRST + 1 :: 2] if r is not None)
            if op is LEAF or op is PICK:
                continue
            names[str(op)] = None
            # A cast would drop the imaginary part.
            if op is CHECKPOINT or not op.analytic or op.name == "cast":
                self.analytic = False
            several = type(record[OUTPUT]) is tuple
            for value in record[OUTPUT] if several else (record[OUTPUT],):
                dtype = dtype_of(value)
                if dtype.kind == "f" and dtype != float64:
                    leaks[f"'{op}' gave {dtype}"] = None
        self.operations, self.leaks = list(names)[::-1], list(leaks)[::-1]
        self.leaks += [
            f"a result has dtype {y.dtype}"
            for y in ys
            if y.dtype != float64 and y._record is not None  # a constant may have any dtype
        ]

    # -- values and derivatives as vectors ------------------------------------------------------
    def vector(self, values: Sequence[ndarray]) -> ndarray:
        """All outputs in one vector. Recorded, since a function may differentiate inside."""
        with enable_grad():
            ys = self.run(self.leaves(values))
        return _join([y._value for y in ys])

    def complex_vector(self, values: Sequence[ndarray]) -> ndarray:
        """The same on complex inputs, off the tape."""
        with no_grad():
            ys = self.run([make(settle(np.array(v)), None) for v in values])
        return _join([y._value for y in ys])

    def pull(
        self, ys: list[Tensor], leaves: list[Tensor], cotangents: Sequence[ndarray | None]
    ) -> list[ndarray]:
        """The gradients of sum(cotangent · output)."""
        pairs = [
            (y, _as_tensor(c))
            for y, c in zip(ys, cotangents)
            if c is not None and y._record is not None
        ]
        if not pairs:
            return [np.zeros_like(v) for v in self.values]
        found = grad(
            [y for y, _ in pairs],
            leaves,
            [c for _, c in pairs],
            retain_graph=True,
            allow_unused=True,
        )
        return [_array(g, v) for g, v in zip(found, self.values)]

    def push(
        self, ys: list[Tensor], leaves: list[Tensor], direction: Sequence[ndarray | None]
    ) -> ndarray:
        """The tangents of the outputs, as one vector."""
        moved = [(x, _as_tensor(v)) for x, v in zip(leaves, direction) if v is not None]
        found = push_forward(ys, [x for x, _ in moved], [t for _, t in moved], False)
        return _join([_array(t, np.asarray(y._value)) for t, y in zip(found, ys)])

    def descend(
        self,
        ys: Sequence[Any],
        leaves: list[Tensor],
        cotangents: Sequence[ndarray],
        directions: Sequence[Sequence[ndarray]],
        mode: str,
    ) -> Tensor | None:
        """sum(cotangent · output), differentiated along each direction in turn, on the tape.

        None where it is constant.
        """
        with enable_grad():
            total: Any = None
            for y, c in zip(ys, cotangents):
                if y._record is not None:
                    term = (y * _as_tensor(c)).sum()
                    total = term if total is None else total + term
            for direction in directions:
                if total is None or total._record is None:
                    return None
                ts = [_as_tensor(v) for v in direction]
                if mode == "fwd":
                    (total,) = push_forward([total], leaves, ts, True)
                    continue
                gradients: Any = grad(total, leaves, create_graph=True, allow_unused=True)
                total = None
                for g, t in zip(gradients, ts):
                    if g is not None:
                        term = (g * t).sum()
                        total = term if total is None else total + term
            return total


class NotReproducible(RuntimeError):
    """The function gives different results for the same inputs."""


def _join(values: Sequence[Any]) -> ndarray:
    if not values:
        return np.zeros(0)
    flat = np.concatenate([np.asarray(v).ravel() for v in values])
    return flat if flat.dtype.kind == "c" else flat.astype(np.float64)


def _as_tensor(value: ndarray) -> Tensor:
    return make(settle(np.array(value)), None)


def _array(g: Any, like: ndarray) -> ndarray:
    return np.zeros(like.shape) if g is None else np.asarray(g._value, np.float64)


def _flatten(tree: Any, name: str, found: list[tuple[str, Any]]) -> None:
    if isinstance(tree, dict):
        items: Any = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        if tree is not None:
            found.append((name, tree))
        return
    for key, item in items:
        _flatten(item, f"{name}.{key}" if name else str(key), found)


def problem_of(f: Callable[..., Any], inputs: Any, *, needs_flag: bool = False) -> Problem:
    """Lay out the inputs of ``f``: a Tensor, a tuple or list of positional inputs, or a dict of
    keyword inputs, each of which may be nested.

    When some Tensors require a gradient, those are the variables; else (unless ``needs_flag``)
    everything floating is. All that is floating becomes float64, the rest passes untouched.
    """
    if isinstance(inputs, dict):
        keyword = True
    else:
        keyword = False
        if not isinstance(inputs, (tuple, list)):
            inputs = (inputs,)
    found: list[tuple[str, Any]] = []
    _flatten(inputs, "", found)
    flagged = any(isinstance(x, Tensor) and x.requires_grad for _, x in found)
    names: list[str] = []
    values: list[ndarray] = []
    dtypes: list[Any] = []

    def is_variable(x: Any) -> bool:
        if flagged or needs_flag:
            return isinstance(x, Tensor) and x.requires_grad
        if isinstance(x, (Tensor, ndarray, np.generic)):
            return bool(x.dtype.kind == "f")
        return type(x) is float

    def prepare(tree: Any, name: str) -> Any:
        """The inputs as a template: variables replaced by slots, constants promoted."""
        if isinstance(tree, dict):
            return {k: prepare(v, f"{name}.{k}" if name else str(k)) for k, v in tree.items()}
        if isinstance(tree, (list, tuple)):
            items = [prepare(v, f"{name}.{i}" if name else str(i)) for i, v in enumerate(tree)]
            return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
        if is_variable(tree):
            raw = tree._value if isinstance(tree, Tensor) else tree
            names.append(name)
            values.append(np.array(raw, np.float64))
            dtypes.append(dtype_of(raw))
            return _Slot(len(values) - 1)
        if isinstance(tree, Tensor):
            raw = tree._value
            return make(settle(np.array(raw, np.float64)), None) if tree.dtype.kind == "f" else tree
        if isinstance(tree, (ndarray, np.generic)) and tree.dtype.kind == "f":
            return tree.astype(np.float64)
        return tree

    template = prepare(inputs, "")

    def call(leaves: list[Tensor]) -> Any:
        filled = _fill(template, leaves)
        return f(**filled) if keyword else f(*filled)

    return Problem(call, names, values, dtypes)


class _Slot:
    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


def _fill(tree: Any, leaves: list[Tensor]) -> Any:
    if isinstance(tree, _Slot):
        return leaves[tree.index]
    if isinstance(tree, dict):
        return {k: _fill(v, leaves) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [_fill(v, leaves) for v in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return tree
