"""Programs: what was traced, as Python text that says what to do with long arrays, in blocks.

A program has two functions. One computes the numbers (and tests the guards); the other gives the
elementwise work on a block of the arrays, a list of calls of NumPy's functions. Blocks stay in the
processor's cache, results are put where they belong, into the inputs that they replace or into
temporaries that are used again, and nothing is allocated.

The calls are not made by Python's own loop but by :func:`at_once`, and only of what is C all
through: an interrupt (Ctrl-C, an alarm) is seen between two lines of Python, so that it comes
before all of them or after.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import starmap
from operator import call, setitem
from typing import Any

import numpy as np
from numpy import ndarray

from .tensors import Tensor
from .traced import Trace, Traced, Untraceable, traced
from .values import settle

#: A function with its arguments.
Call = tuple[Any, ...]


def at_once(calls: Sequence[Call]) -> None:
    """Make all the calls, with no line of Python in between.

    What NumPy would warn of (overflow, 0/0) is not said. The calls must not fail.

    >>> from tapegrad.programs import at_once
    >>> found = []
    >>> at_once([(found.append, 1), (found.append, 2)])
    >>> found
    [1, 2]
    """
    with np.errstate(all="ignore"):
        deque(starmap(call, calls), 0)


#: Bytes of a block of one array: those that Adam reads and writes fit into a megabyte of cache.
BLOCK = 2**17
#: How Python writes what numbers need; every other ufunc is called.
_SIGNS = {
    np.add: "({} + {})",
    np.subtract: "({} - {})",
    np.multiply: "({} * {})",
    np.divide: "({} / {})",
    np.power: "({} ** {})",
    np.negative: "(-{})",
    np.positive: "{}",
    np.less: "({} < {})",
    np.less_equal: "({} <= {})",
    np.greater: "({} > {})",
    np.greater_equal: "({} >= {})",
    np.equal: "({} == {})",
    np.not_equal: "({} != {})",
    np.bitwise_and: "({} & {})",
    np.bitwise_or: "({} | {})",
    np.sqrt: "root({})",
    "where": "({1} if {0} else {2})",
}


class Program:
    """The program of a trace: from numbers and arrays to numbers, and arrays in their places.

    ``numbers``, ``arrays``: the inputs, as the trace gave them, arrays all of one dtype.
    ``numbers_out``: Tensors computed from them. ``replaces``: for each array the Tensor that is to
    be written over it, or None.

    >>> import tapegrad as tg
    >>> from tapegrad.programs import Program
    >>> from tapegrad.traced import Trace
    >>> trace = Trace()
    >>> rate, w, g = trace.number(0.1), trace.array("float64"), trace.array("float64")
    >>> program = Program(trace, [rate], [w, g], [], [w - 2.0 * rate * g, None])
    >>> print(program.source)
    def numbers(x1):
        x4 = (2.0 * x1)
        return (x4, ), ()
    <BLANKLINE>
    def block(x2, x3, t0, x4):
        return [
            (multiply, x4, x3, t0),
            (subtract, x2, t0, x2),
        ]
    """

    def __init__(
        self,
        trace: Trace,
        numbers: Sequence[Tensor],
        arrays: Sequence[Tensor],
        numbers_out: Sequence[Tensor],
        replaces: Sequence[Tensor | None],
    ) -> None:
        (self.dtype,) = {t.dtype for t in arrays}
        given = [traced(t) for t in arrays]
        results = {a.name: traced(t) for a, t in zip(given, replaces) if t is not None}
        if any(not r.shape or r.dtype != self.dtype for r in results.values()):
            raise Untraceable("a result of another shape or dtype")
        writer = _Writer(trace, self.dtype)
        block = writer.block(given, results)
        first = writer.numbers([traced(t) for t in numbers], [traced(t) for t in numbers_out])
        self.source = f"{first}\n\n{block}"
        exec(compile(self.source, "<program>", "exec"), writer.names)
        self._numbers, self._block = writer.names["numbers"], writer.names["block"]
        self._dtypes = writer.dtypes
        self._temporaries: list[ndarray] = []

    def prepare(self, numbers: Sequence[Any]) -> tuple[Any, Any] | None:
        """The numbers that the blocks use and those that are outputs; None if a guard fails."""
        try:
            with np.errstate(all="ignore"):
                return self._numbers(*numbers)  # type: ignore[no-any-return]
        except (ArithmeticError, ValueError):  # Python's floats raise where NumPy's give inf, NaN
            return None

    def calls(self, used: Any, arrays: Sequence[ndarray]) -> list[Call]:
        """What to do with flat arrays of one length, for :func:`at_once`."""
        size, length = arrays[0].size, BLOCK // self.dtype.itemsize
        temporaries = self._temporaries
        if len(temporaries) != len(self._dtypes) or (
            temporaries and temporaries[0].size != min(size, length)
        ):
            temporaries = [np.empty(min(size, length), dtype) for dtype in self._dtypes]
            self._temporaries = temporaries
        if size <= length:
            return self._block(*arrays, *temporaries, *used)  # type: ignore[no-any-return]
        found = []
        for start in range(0, size, length):
            part = slice(start, start + length)
            if start + length > size:
                temporaries = [t[: size - start] for t in temporaries]
            found += self._block(*[a[part] for a in arrays], *temporaries, *used)
        return found


class _Writer:
    """The text of a program, as it is being written."""

    def __init__(self, trace: Trace, dtype: Any) -> None:
        self.trace, self.dtype = trace, dtype
        self.names: dict[str, Any] = {
            "positive": np.positive,
            "setitem": setitem,
            "partial": partial,
            "root": math.sqrt,
            "pow": math.pow,
            "settle": settle,
        }
        self.dtypes: list[Any] = []  # of the temporaries
        self.used: dict[str, Traced] = {}  # numbers that the blocks use
        self.made_by = {step.result.name: step for step in trace.steps}

    def word(self, value: Any) -> str:
        """A value as text: its name, or that of a constant."""
        if type(value) is Traced:
            return value.name
        if type(value) is int or (type(value) is float and np.isfinite(value)):
            return repr(value) if value >= 0 else f"({value!r})"
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name

    def needed(self, wanted: Sequence[Traced], arrays: bool) -> list[Any]:
        """The steps that the wanted values need, in order: those of arrays, or of numbers."""
        waiting, found = [w.name for w in wanted], set()
        while waiting:
            name = waiting.pop()
            step = self.made_by.get(name)
            if step is None or name in found or bool(step.result.shape) != arrays:
                continue
            found.add(name)
            waiting += [o.name for o in step.operands if type(o) is Traced]
        return [step for step in self.trace.steps if step.result.name in found]

    def numbers(self, inputs: Sequence[Traced], outputs: Sequence[Traced]) -> str:
        """The function of the numbers: what the blocks use and the outputs, or None."""
        lines = []
        guards = [guard for guard, _ in self.trace.guards]
        for step in self.needed([*self.used.values(), *outputs, *guards], arrays=False):
            words = [self.word(o) for o in step.operands]
            if step.call == "cast":
                kind = step.result.dtype.type
                self.names[kind.__name__] = kind
                float64 = kind is np.float64
                text = f"float({words[0]})" if float64 else f"{kind.__name__}({words[0]})"
            elif step.call is np.power and step.result.dtype == np.float64:
                text = f"pow({', '.join(words)})"  # where ** of Python's floats would be complex
            elif step.call in _SIGNS and step.dtype is None:
                text = _SIGNS[step.call].format(*words)
            else:
                self.names[step.call.__name__] = step.call
                text = f"settle({step.call.__name__}({', '.join(words)}))"
            lines.append(f"{step.result.name} = {text}")
        for name, truth in {guard.name: truth for guard, truth in self.trace.guards}.items():
            lines.append(f"if {'not ' if truth else ''}{name}: return None")
        used = "".join(f"{name}, " for name in self.used)
        given = "".join(f"{o.name}, " for o in outputs)
        lines.append(f"return ({used}), ({given})")
        arguments = ", ".join(i.name for i in inputs)
        return f"def numbers({arguments}):\n" + "\n".join(f"    {line}" for line in lines)

    def block(self, inputs: Sequence[Traced], results: dict[str, Traced]) -> str:
        """The function that gives the calls for a block; results by the inputs they replace."""
        steps = self.needed(list(results.values()), arrays=True)
        place = {a.name: a.name for a in inputs}  # where the value of each array is kept
        last = {o.name: i for i, s in enumerate(steps) for o in s.operands if type(o) is Traced}
        free: dict[Any, list[str]] = {}
        lines = []
        moved = [r for name, r in results.items() if r.name in results and r.name != name]
        for result in {r.name: r for r in moved}.values():  # an input that goes to another's place
            place[result.name] = self.temporary(free, result.dtype)
            lines.append(f"(setitem, {place[result.name]}, ..., {result.name})")
            last[result.name] = len(steps)
        for result in results.values():
            last[result.name] = len(steps)
        for i, step in enumerate(steps):
            name, dtype = step.result.name, step.result.dtype
            if dtype != self.dtype and dtype != np.bool:
                raise Untraceable(f"an array of {dtype} among arrays of {self.dtype}")
            words = [self.operand(o, place) for o in step.operands]
            operands = {o.name: o for o in step.operands if type(o) is Traced and o.shape}.values()
            ended = [o for o in operands if last[o.name] == i and place[o.name].startswith("t")]
            over = step.call not in ("where", "full")  # a ufunc may write over its operand
            if over:
                for o in ended:
                    free.setdefault(o.dtype, []).append(place[o.name])
            # the place of an input that is not read any more
            homes = [n for n, r in results.items() if r.name == name]
            home = next((n for n in homes if place[n] == n and last.get(n, -1) < i + over), None)
            to = place[name] = home or self.temporary(free, dtype)
            if step.call == "full":
                lines.append(f"(setitem, {to}, ..., {words[0]})")
            elif step.call == "where":
                lines.append(f"(setitem, {to}, ..., {words[2]})")
                lines.append(f"(partial(positive, where={words[0]}), {words[1]}, {to})")
                for o in ended:
                    free.setdefault(o.dtype, []).append(place[o.name])
            else:
                function = step.call.__name__
                self.names[function] = step.call
                if step.dtype is not None:
                    function = f"partial({function}, dtype={self.word(step.dtype)})"
                if step.call in (np.maximum, np.minimum):  # which want their output by name
                    lines.append(f"(partial({function}, out={to}), {', '.join(words)})")
                else:
                    lines.append(f"({function}, {', '.join(words)}, {to})")
        for name, result in results.items():
            if place[result.name] != name:
                lines.append(f"(setitem, {name}, ..., {place[result.name]})")
        arguments = [
            *(a.name for a in inputs),
            *(f"t{i}" for i in range(len(self.dtypes))),
            *self.used,
        ]
        inside = "".join(f"        {line},\n" for line in lines)
        return f"def block({', '.join(arguments)}):\n    return [\n{inside}    ]"

    def operand(self, value: Any, place: dict[str, str]) -> str:
        """An operand of the arrays' function. A number needs no cast to their dtype: it is weak."""
        while type(value) is Traced and not value.shape:
            step = self.made_by.get(value.name)
            if step is None or step.call != "cast" or value.dtype != self.dtype:
                self.used[value.name] = value
                return value.name
            value = step.operands[0]
        return place[value.name] if type(value) is Traced else self.word(value)

    def temporary(self, free: dict[Any, list[str]], dtype: Any) -> str:
        if free.get(dtype):
            return free[dtype].pop()
        self.dtypes.append(dtype)
        return f"t{len(self.dtypes) - 1}"
