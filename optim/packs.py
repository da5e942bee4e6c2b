"""Many parameters moved at once: a rule that acts element by element may take them end to end.

Parameters of one group with one dtype and one number of steps make a *pack*: one long array, and
one for each thing that the rule remembers. The rule is traced once and becomes a program
(:mod:`tapegrad.programs`) whose numbers (rates, decays, the step) are inputs. A rule that looks at
more than single elements cannot be traced; it takes its parameters one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

from tapegrad import Tensor, as_tensor
from tapegrad.flat import Flat, lies_flat, number_of, same_ones, tensor_of
from tapegrad.programs import Call, Program
from tapegrad.traced import Trace, Untraceable
from tapegrad.values import settle

from .rule import Rule, State, at

#: Programs by what they are for: settings that are no numbers, dtype, what is remembered.
Programs = dict[Any, list[Program]]

#: A parameter of so many elements is a pack by itself, computed with where it lies.
LARGE = 32_768

__all__ = ["Pack", "Packing", "Programs", "Remembered"]


class Pack:
    """Parameters end to end, with what a rule remembers of them."""

    def __init__(self, params: Sequence[Tensor], states: Sequence[State]) -> None:
        self.flat = Flat(params)
        self.step = states[0].step
        self.memories = [state.memory[0] for state in states]
        kept = self.memories
        #: For every field of the memory: "array", "number" or None.
        self.kinds = [_kind(field) for field in kept[0]]
        self.numbers = [number_of(f) for f, kind in zip(kept[0], self.kinds) if kind == "number"]
        self.arrays = [
            self.flat.gathered([fields[i] for fields in kept]).copy()
            for i, kind in enumerate(self.kinds)
            if kind == "array"
        ]
        self._settings: tuple[list[Any], Any, list[Any]] | None = None

    def calls(
        self,
        rule_of: Callable[..., Rule],
        settings: dict[str, Any],
        grads: Sequence[Tensor],
        programs: Programs,
    ) -> list[Call]:
        """What makes the next step; nothing is changed yet.

        Raises Untraceable for a rule, settings or gradients that it cannot be done with.
        """
        flat = self.flat
        if not flat.fits(grads):
            raise Untraceable("gradients of another shape or dtype")
        what, numbers = self._numbers_of(settings)
        inputs = [self.step * 1.0, *numbers, *self.numbers]  # a whole number would be float32's
        if len(programs) > 64:  # as many settings that are no floats: the oldest come anew
            programs.clear()
        known = programs.setdefault((what, flat.dtype, type(self.memories[0]), *self.kinds), [])
        for program in known:
            found = program.prepare(inputs)
            if found is not None:
                break
        else:
            program = self._traced(rule_of, settings, inputs)
            found = program.prepare(inputs)
            if found is None or len(known) > 32:
                raise Untraceable("a rule that branches at every step")
            known.append(program)
        used, numbers_out = found
        arrays = [flat.gathered(flat.tensors), flat.gathered(grads, 1), *self.arrays]
        return [
            *program.calls(used, arrays),
            *flat.writing(),
            (setattr, self, "numbers", numbers_out),
            (setattr, self, "step", self.step + 1),
        ]

    def states(self) -> Iterator[tuple[Tensor, State]]:
        """Every parameter with what is remembered of it."""
        arrays = [self.flat.parts(array.copy()) for array in self.arrays]
        for i, (p, memory) in enumerate(zip(self.flat.tensors, self.memories)):
            own, numbers = iter([array[i] for array in arrays]), iter(self.numbers)
            fields = [
                tensor_of(next(own))
                if kind == "array"
                else as_tensor(next(numbers), dtype=field.dtype)
                if kind == "number"
                else field
                for kind, field in zip(self.kinds, memory)
            ]
            yield p, State(self.step, [type(memory)(*fields) if fields else memory])

    def _numbers_of(self, settings: dict[str, Any]) -> tuple[Any, list[Any]]:
        """The settings taken apart: what they are, and the numbers in them."""
        values = list(settings.values())
        if self._settings is not None and same_ones(self._settings[0], values):
            return self._settings[1:]
        numbers: list[Any] = []
        what = tuple(_apart(value, self.step, numbers) for value in values)
        self._settings = (values, what, numbers) if all(map(_lasts, values)) else None
        return what, numbers

    def _traced(
        self, rule_of: Callable[..., Rule], settings: dict[str, Any], inputs: Sequence[Any]
    ) -> Program:
        """The program of the rule with these settings."""
        trace = Trace()
        numbers = [trace.number(value) for value in inputs]
        step, *rest = numbers
        left = iter(rest)
        given = {k: _together(v, self.step, left) for k, v in settings.items()}
        w, g = trace.array(self.flat.dtype), trace.array(self.flat.dtype)
        arrays, fields = [w, g], []
        for kind, field in zip(self.kinds, self.memories[0]):
            if kind == "array":
                arrays.append(trace.array(self.flat.dtype))
            fields.append(arrays[-1] if kind == "array" else next(left) if kind else field)
        memory = type(self.memories[0])(*fields) if fields else self.memories[0]
        began: Any = step  # a Tensor, where otherwise a number is
        (moved,), state = rule_of(**given).update([w], [g], State(began, [memory]))
        results = state.memory[0]
        if [_kind(field) for field in results] != self.kinds:
            raise Untraceable("what is remembered changes its form")
        numbers_out = [
            as_tensor(f, dtype=w.dtype) for f, kind in zip(results, self.kinds) if kind == "number"
        ]
        arrays_out = [f for f, kind in zip(results, self.kinds) if kind == "array"]
        return Program(trace, numbers, arrays, numbers_out, [moved, None, *arrays_out])


class Packing:
    """The parameters of a group: in packs, and the numbers of those that fit in none.

    Without a rule none does. ``known``: what is remembered of parameters so far.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        rule: Rule | None = None,
        known: dict[Tensor, State] | None = None,
    ) -> None:
        self.params = list(params)
        self.rest: list[int] = []
        together: dict[Any, list[int]] = {}
        states: dict[int, State] = {}
        known = {} if known is None else known
        packs = rule is not None and not (rule.together or rule.evaluates or rule.alone)
        self._new = {id(p) for p in self.params if p not in known}
        for i, p in enumerate(self.params):
            if not packs or not lies_flat(p):
                self.rest.append(i)
                continue
            states[i] = known[p] if p in known else rule.init([p])  # type: ignore[union-attr]
            kind = _kind_of(states[i], p)
            if kind and p.numel() >= LARGE:  # to lay it beside others would cost more than it saves
                kind = id(p)
            together.setdefault(kind, []).append(i) if kind else self.rest.append(i)
        self.members = list(together.values())
        self.packs = [
            Pack([self.params[i] for i in m], [states[i] for i in m]) for m in self.members
        ]

    def mark(self) -> None:
        """Tell graphs that need the old values of parameters that a step is about to be made."""
        for pack in self.packs:
            pack.flat.mark()

    def refresh(self) -> None:
        """Let the aliases of parameters see a step."""
        for pack in self.packs:
            pack.flat.refresh()

    def packed(self) -> list[Tensor]:
        """The parameters that are in a pack."""
        return [p for pack in self.packs for p in pack.flat.tensors]

    def holds(self, params: Sequence[Tensor]) -> bool:
        """Whether it is still as it was, for these parameters."""
        return same_ones(params, self.params) and all(pack.flat.holds() for pack in self.packs)

    def calls(
        self,
        rule_of: Callable[..., Rule],
        settings: dict[str, Any],
        grads: Sequence[Tensor],
        programs: Programs,
    ) -> list[Call]:
        """What makes the next step of the packs."""
        found = []
        for pack, members in zip(self.packs, self.members):
            whole = len(members) == len(grads)
            own = grads if whole else [grads[i] for i in members]
            found += pack.calls(rule_of, settings, own, programs)
        return found

    def states(self) -> Iterator[tuple[Tensor, State]]:
        """Every parameter in a pack with what is remembered of it, if it made a step."""
        for pack in self.packs:
            for p, state in pack.states():
                if state.step > 0 or id(p) not in self._new:
                    yield p, state


class Remembered(MutableMapping[Tensor, State]):
    """What is remembered of every parameter, in packs or not, to be read and written as a dict.

    ``unpacked``: gives the dict itself, after all packs were undone.
    """

    def __init__(self, unpacked: Callable[[], dict[Tensor, State]]) -> None:
        self._unpacked = unpacked

    def __getitem__(self, p: Tensor) -> State:
        return self._unpacked()[p]

    def __setitem__(self, p: Tensor, state: State) -> None:
        self._unpacked()[p] = state

    def __delitem__(self, p: Tensor) -> None:
        del self._unpacked()[p]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._unpacked())

    def __len__(self) -> int:
        return len(self._unpacked())

    def __repr__(self) -> str:
        return repr(self._unpacked())


def _kind_of(state: Any, p: Tensor) -> Any:
    """What parameters in one pack must have in common; None for what no pack can take."""
    if type(state) is not State or type(state.step) is not int or len(state.memory) != 1:
        return None
    (memory,) = state.memory
    if not isinstance(memory, tuple):
        return None
    for field in memory:
        if field is not None and not (
            isinstance(field, Tensor)
            and field.dtype == p.dtype
            and not field.requires_grad
            and field.shape in (p.shape, ())
        ):
            return None
    numbers = tuple(number_of(f) for f in memory if _kind(f) == "number")
    return p.dtype, state.step, type(memory), tuple(map(_kind, memory)), numbers


def _kind(field: Any) -> str | None:
    return None if field is None else "array" if getattr(field, "shape", ()) else "number"


def _lasts(setting: Any) -> bool:
    """Whether a setting is what it is: no schedule, and no Tensor that may be written to."""
    if type(setting) is tuple:
        return all(map(_lasts, setting))
    return type(setting) in (bool, int, float, str, type(None))


def _apart(setting: Any, step: int, numbers: list[Any]) -> Any:
    """A setting by what it is, without the numbers in it, which are collected; a plain 0 is left
    out of a formula (that of a schedule is not), and so is something else than a number."""
    if type(setting) is tuple:
        return tuple(_apart(part, step, numbers) for part in setting)
    value = at(setting, step)
    if type(value) is tuple:
        return _apart(value, step, numbers)
    if not _counts(setting, value):
        return type(value), value
    number = number_of(value) if isinstance(value, Tensor) else settle(value * 1.0)
    if number is None:
        raise Untraceable("a setting with a shape of its own")
    numbers.append(number)
    return Tensor


def _together(setting: Any, step: int, numbers: Iterator[Any]) -> Any:
    """The setting again, with the next numbers in it."""
    if type(setting) is tuple:
        return tuple(_together(part, step, numbers) for part in setting)
    value = at(setting, step)
    if type(value) is tuple:
        return _together(value, step, numbers)
    return next(numbers) if _counts(setting, value) else value


def _counts(setting: Any, value: Any) -> bool:
    """Whether a setting, which has a value now, enters formulas as a number that may change."""
    if isinstance(value, Tensor):
        return True
    scheduled = value is not setting and type(value) is int
    return scheduled or (isinstance(value, float) and (value is not setting or value != 0.0))
