"""Tensors that share memory: views, ``detach()`` and ``.data``.

Torch's rule is that a view and its base are one memory, so that a change of either is seen by
both. NumPy gives that for arrays, but a 0-d value is a plain number here, and a change that is
recorded makes a new array. So every tensor that shares memory with others is a member of a
:class:`Family`: the root (the tensor first there) and, weakly, its aliases, each with the chain
of operations that leads from the root to it. After a change the members are brought up to date
by going along their chains again.

Two relations are kept apart. Memory is shared by the whole family; the *tape* passes from a view
to its ``root`` only where nothing was cut: ``x.detach()`` shares memory with ``x``, but a view of
it has the detached tensor as its root. No alias holds a tensor beyond a cut, for that would keep
a whole tape alive.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from .records import LEAF, mark_overwritten
from .values import PLAIN, settle

_weak = weakref.ref
_lock = threading.RLock()  # re-entrant: a collection inside it may run anybody's code


class Family:
    """All tensors on one memory."""

    __slots__ = ("root", "value", "aliases")

    def __init__(self, root: Any) -> None:
        self.root = weakref.ref(root)
        self.value = root._value
        self.aliases: list[Any] = []

    def add(self, alias: Any) -> None:
        """Know one more member, weakly."""
        aliases = self.aliases
        aliases.append(_weak(alias))
        count = len(aliases)
        if count > 32 and count & (count - 1) == 0:
            with _lock:  # against another pruning; what others append meanwhile comes after
                count = len(aliases)
                aliases[:count] = [ref for ref in aliases[:count] if ref() is not None]

    def root_tensor(self) -> Any:
        """The root, or None when it is gone or has moved on to another memory."""
        root = self.root()
        return root if root is not None and root._value is self.value else None

    def members(self) -> Iterator[Any]:
        """The living aliases (without the root)."""
        for ref in list(self.aliases):
            member = ref()
            if member is not None and member._base is not None and member._base.family is self:
                yield member

    def refresh(self) -> None:
        """Bring the aliases up to date with the root's value; the tape is not touched."""
        value = self.value
        for member in self.members():
            known = member._value
            if (
                type(known) is ndarray
                and type(value) is ndarray
                and np.may_share_memory(known, value)
            ):
                continue
            set_value(member, settle(follow(value, member._base.chain)))


class Alias:
    """How a tensor hangs on its family: the chain from the family's root, and the tensor whose
    tape it belongs to (None where the tape was cut)."""

    __slots__ = ("family", "root", "chain")

    def __init__(self, family: Family, root: Any, chain: Any) -> None:
        # chain: None, or (operation, parameters, chain before); linked, for it may be long
        self.family, self.root, self.chain = family, root, chain

    def tape_links(self) -> list[tuple[Any, Any]]:
        """The operations from ``root`` to this tensor, in order."""
        above = self.root._base
        return links(self.chain, None if above is None else above.chain)


def links(chain: Any, stop: Any = None) -> list[tuple[Any, Any]]:
    """The operations of a chain, in order, after the point ``stop``."""
    found = []
    while chain is not stop and chain is not None:
        op, params, chain = chain
        found.append((op, params))
    found.reverse()
    return found


def view_of(source: Any, view: Any, op: Any, params: Any) -> Any:
    """Remember that ``view`` shares the memory of ``source`` (``op`` None: the same elements)."""
    above = source._base
    if above is None:
        family, chain, root = source._views, None, source
        if family is None or family.value is not source._value:
            source._views = family = Family(source)
    else:
        family, chain = above.family, above.chain
        root = source if above.root is None else above.root
    if op is None:
        root = None
    else:
        chain = (op, params, chain)
        if type(view._value) is ndarray and type(source._value) is not ndarray:
            _see_memory(view, family, chain)
        if view._record is None and source._record is not None:
            root = None
    view._base = Alias(family, root, chain)
    family.add(view)
    return view


def _see_memory(view: Any, family: Family, chain: Any) -> None:
    """An array made of a number that stands for an element (``x[0][None]``): let it be a view of
    the memory that the element lies in, where there is one."""
    if type(family.value) is ndarray:
        seen = follow(family.value, chain)
        if type(seen) is ndarray and seen.shape == view._value.shape:
            view._value = seen


class Part:
    """One output of an operation that has several (split, unbind), as a step of a chain."""

    __slots__ = ("op", "index")
    name = "part"

    def __init__(self, op: Any, index: int) -> None:
        self.op, self.index = op, index

    def forward(self, value: Any, **params: Any) -> Any:
        """The part of a raw value; one more dimension meanwhile keeps 0-d parts views."""
        if type(value) is not ndarray:
            return self.op.forward(value, **params)[self.index]
        part = self.op.forward(value[..., None], **params)[self.index]
        return part.reshape(part.shape[:-1])

    def function(self, tensor: Any, **params: Any) -> Any:
        """The part of a tensor, recorded."""
        return self.op.function(tensor, **params)[self.index]


def follow(value: Any, chain: Any) -> Any:
    """Go along a chain on raw values. Of an array the result is a view, a 0-d array included."""
    if type(value) in PLAIN and type(value) is not ndarray:
        value = np.array(value)
    for op, params in links(chain):
        value = _step(op, params or {}, value)
    return value


def _step(op: Any, params: dict[str, Any], value: Any) -> Any:
    if op.name == "getitem" and type(value) is ndarray:
        index = params["index"]
        index = index if type(index) is tuple else (index,)
        # An ellipsis keeps the view where all dimensions are indexed.
        return value[index if any(i is Ellipsis for i in index) else (*index, Ellipsis)]
    return op.forward(value, **params)


def set_value(tensor: Any, value: Any) -> None:
    """Give a tensor another raw value; a leaf's record is kept current."""
    tensor._value = value
    record = tensor._record
    if record is not None and record[1] is LEAF:
        record[2] = value


SHARED = (
    "more than one element of the written-to tensor refers to a single memory location, or its "
    "memory is read-only (an expanded tensor, a gradient inside a hook): clone() it before "
    "changing it in place"
)


def refuse_shared(tensor: Any) -> None:
    """Raise if the memory of a tensor cannot be changed."""
    if type(tensor._value) is ndarray and not tensor._value.flags.writeable:
        raise RuntimeError(SHARED)


def write(tensor: Any, value: Any) -> None:
    """Change the memory of a tensor, and so all its aliases; ``value`` broadcasts to its shape."""
    target, alias = tensor._value, tensor._base
    family = tensor._views if alias is None else alias.family
    if family is not None and alias is None and family.value is not target:
        family = None  # it was rebound: its old aliases keep the old memory
    if type(target) is ndarray and (family is None or type(family.value) is ndarray):
        refuse_shared(tensor)
        np.copyto(target, value, casting="unsafe")
        mark_overwritten(target)
    elif family is None:
        fresh = np.empty((), np.asarray(target).dtype)
        np.copyto(fresh, value, casting="unsafe")
        set_value(tensor, settle(fresh))
        return
    else:
        _write_scalar(family, None if alias is None else alias.chain, value)
    if family is not None:
        family.refresh()


def _write_scalar(family: Family, chain: Any, value: Any) -> None:
    """Write where a number stands for an element, or for the whole, of the family's memory."""
    root, whole = family.root_tensor(), family.value
    scalar_root = type(whole) is not ndarray
    if scalar_root:
        whole = np.array(whole)
    spot = follow(whole, chain)
    if type(spot) is not ndarray or not spot.flags.writeable:
        raise RuntimeError(SHARED)
    np.copyto(spot, value, casting="unsafe")
    if not scalar_root:
        mark_overwritten(whole)
        return
    family.value = settle(whole)
    if root is not None:
        set_value(root, family.value)


def own_array(tensor: Any) -> bool:
    """Whether the tensor's value is the very memory: not so for an array on a 0-d root."""
    alias = tensor._base
    return type(tensor._value) is ndarray and (alias is None or type(alias.family.value) is ndarray)


def after_change(tensor: Any) -> None:
    """The memory of an array was changed in place: note it, and refresh what cannot share it."""
    mark_overwritten(tensor._value)
    alias = tensor._base
    family = tensor._views if alias is None else alias.family
    if family is not None:
        family.refresh()


def is_same_memory(tensor: Any, alias: Any) -> bool:
    """Whether ``alias`` is ``tensor.detach()``, or the like: all of its memory, and no other."""
    above, known = tensor._base, alias._base
    family, chain = (tensor._views, None) if above is None else (above.family, above.chain)
    return alias is tensor or (
        known is not None and known.family is family and known.chain is chain
    )


def leave_family(tensor: Any) -> None:
    """Cut all ties: the tensor is about to get a memory of its own."""
    tensor._base = tensor._views = None


def separate(tensor: Any) -> None:
    """Make a detached alias the root of its own memory, since it is about to be changed on the
    tape. RuntimeError when tensors are alive that would have to see the change off the tape."""
    alias = tensor._base
    if alias is None:
        return
    mine = [m for m in alias.family.members() if m is not tensor and m._base.root is tensor]
    known = {id(tensor), *map(id, mine)}
    if alias.family.root_tensor() is not None or any(
        id(m) not in known for m in alias.family.members()
    ):
        raise RuntimeError(
            "an in-place operation on the tape would change another tensor off the tape, because "
            "detach(), .data or no_grad() made this one share its memory: clone() it first"
        )
    chains = [m._base.tape_links() for m in mine]
    tensor._base = None
    tensor._views = family = Family(tensor)
    for member, found in zip(mine, chains, strict=True):
        chain: Any = None
        for op, params in found:
            chain = (op, params, chain)
        member._base = Alias(family, tensor, chain)
        family.add(member)
