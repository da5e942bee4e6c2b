"""Changes in place, inside vmap, of tensors that were made outside.

Such a tensor has no place for one value per example. It would become a tensor of the mapping,
and be of no use when that has ended. So the change is refused, as in torch; a tensor that the
mapped function made for itself may be changed.

Nothing tells when a plain tensor was made. What can be reached from the function (its closure,
its globals, its arguments) is from outside, and is refused at once. For the rest the level keeps
a list: what is still alive when the function has ended was not its own, and is put back.
"""

from __future__ import annotations

import functools
import gc
import types
import weakref
from collections.abc import Iterator
from typing import Any

from .batched import ACTIVE, Batched, Level
from .tensors import Tensor

_SEARCHED = 10_000  # objects looked at, at most; what lies further off is found at the end


def refuse_outsider(self: Tensor, name: str, new: Any) -> None:
    """Raise if a tensor from outside a vmap would become one of its tensors by ``name``."""
    if type(new) is not Batched:
        return
    known = self._value.levels if type(self._value) is Batched else ()
    for level in ACTIVE.get():
        if level.number not in new.levels or level.number in known:
            continue
        kin = _kin(self)
        older = any(x._record is not None and x._record[0] < level.number for x in kin)
        if older or _reaches(level.outside, {id(x) for x in kin}):
            raise _refusal(name, self.shape)
        if level.changed is not None:
            level.changed.append(_Change(name, kin))


def put_back(level: Level, blame: bool = True) -> None:
    """After the function has ended: put tensors back that were changed and are still alive.

    Raises RuntimeError when there are any (with ``blame``, that is without another error).
    """
    if not level.changed:
        return
    changes = list(level.changed)
    level.changed.clear()
    if any(change.is_seen(level.number) for change in changes):
        gc.collect()  # what only lies about in a cycle is nobody's
    seen = [change for change in changes if change.is_seen(level.number)]
    for change in reversed(changes):
        change.undo()
    if seen and blame:
        raise _refusal(seen[0].name, seen[0].shape)


def _refusal(name: str, shape: tuple[int, ...]) -> RuntimeError:
    return RuntimeError(
        f"vmap: {name} is not possible in place on a tensor made outside (shape {shape}), which "
        "has one value for all examples, while the result has one for each. It is left as it was. "
        "Compute out of place (y = x + d instead of x += d), change a clone() made inside, or "
        "return the result and change the tensor outside vmap."
    )


def _kin(self: Tensor) -> list[Tensor]:
    """The tensor and those that its change would change too: its base, and views of that."""
    found = [self]
    alias = self._base
    family = self._views if alias is None else alias.family
    if alias is not None and alias.root is not None:
        found.append(alias.root)
    if family is not None:
        root = family.root_tensor()
        found += [x for x in (root, *family.members()) if x is not None]
    return list({id(x): x for x in found}.values())


class _Change:
    """What some tensors were before the first of them was changed."""

    def __init__(self, name: str, kin: list[Tensor]) -> None:
        self.name, self.shape = name, kin[0].shape
        self.before = [(weakref.ref(x), x._value, x._record, x._base, x._views) for x in kin]
        families = [x._views if x._base is None else x._base.family for x in kin]
        self.families = [(f, f.value) for f in families if f is not None]

    def is_seen(self, level: int) -> bool:
        """Whether a tensor that the level has no more use for is alive."""
        alive = [ref() for ref, *_ in self.before]
        return any(
            x is not None and type(x._value) is Batched and level in x._value.levels for x in alive
        )

    def undo(self) -> None:
        for ref, value, record, base, views in self.before:
            x = ref()
            if x is not None:
                x._value, x._record, x._base, x._views = value, record, base, views
        for family, value in self.families:
            family.value = value


# -- what can be reached ------------------------------------------------------------------------
def _reaches(roots: Any, wanted: set[int]) -> bool:
    """Whether one of some objects, by their ids, can be reached from ``roots``."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting and len(seen) < _SEARCHED:
        item = waiting.pop()
        if id(item) in wanted:
            return True
        if id(item) not in seen:
            seen.add(id(item))
            waiting.extend(_parts(item))
    return False


def _parts(item: Any) -> Iterator[Any]:
    if isinstance(item, types.FunctionType):
        for cell in item.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not filled yet
                continue
        yield from item.__defaults__ or ()
        yield from (item.__kwdefaults__ or {}).values()
        for name in _names(item.__code__):
            if name in item.__globals__:
                yield item.__globals__[name]
    elif isinstance(item, types.MethodType):
        yield from (item.__self__, item.__func__)
    elif isinstance(item, functools.partial):
        yield from (item.func, item.args, item.keywords)
    elif isinstance(item, dict):
        yield from item.values()
    elif isinstance(item, (list, tuple, set, frozenset)):
        yield from item
    elif not isinstance(item, (type, types.ModuleType)):
        yield from (getattr(item, "__dict__", None) or {}).values()
        call = vars(type(item)).get("__call__")
        if isinstance(call, types.FunctionType):
            yield call


def _names(code: types.CodeType) -> Iterator[str]:
    """The globals that a function may read, those of functions inside it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
