"""Tensors that move along the tape: the parameters of a differentiable optimizer.

Such a tensor keeps its identity while its value and its record go from step to step. The leaf that
it was becomes the identity of a new leaf beneath, which has a handle of its own, so that a
derivative by the initial value has a place to arrive. The record where it stands now is marked: a
``backward(create_graph=True)`` without ``inputs`` stops there (the gradient of one step's loss does
not reach into the steps before), while a plain ``backward()``, ``grad`` and ``inputs=`` go through.
"""

from __future__ import annotations

import weakref
from typing import Any

from .aliases import leave_family
from .creation import zeros_like
from .functions.converting import clone
from .modes import enable_grad
from .records import NOTE, NUMBER, Note, new_leaf_record, note_of
from .tensors import Tensor, make


def start_moving(tensor: Any) -> Tensor:
    """Begin to move a leaf, and return the handle that is the leaf from now on."""
    initial: Tensor = make(tensor._value, None)
    record, note = tensor._record, _leave(tensor)
    initial._record = new_leaf_record(initial)
    initial._record[NUMBER] = record[NUMBER] - 0.5  # it comes before what is made of it
    with enable_grad():
        moved: Tensor = clone(initial)
    record[:] = [record[NUMBER], *moved._record[1:]]  # type: ignore[index]  # losses end at it
    moved._record = record
    _stand(tensor, moved, note)
    return initial


def move_to(tensor: Any, moved: Any) -> None:
    """Let a moving tensor take the value and the place on the tape of another; it keeps its dtype
    and its hooks."""
    if moved.dtype != tensor.dtype:
        with enable_grad():
            moved = moved.to(tensor.dtype)
    _stand(tensor, moved, _leave(tensor))


def stop_moving(tensor: Any) -> None:
    """Make a moving tensor a leaf again, where it stands."""
    note = _leave(tensor)
    tensor._record = new_leaf_record(tensor)
    note.handle, note.stop, note.retain = weakref.ref(tensor), False, False
    tensor._record[NOTE] = note
    if tensor._grad is not None:
        tensor._grad = tensor._grad.detach()


def _leave(tensor: Any) -> Note:
    """Take the mark and the hooks off the record where a tensor stands: the note goes along."""
    note = Note()
    if tensor._record is not None:  # not one that requires no gradient
        note, stays = note_of(tensor._record), note
        stays.spent, stays.stack = note.spent, note.stack
        tensor._record[NOTE] = stays
    note.spent, note.stack, note.plain = False, None, False
    return note


def _stand(tensor: Any, moved: Any, note: Note) -> None:
    leave_family(tensor)  # views of it keep the memory of where it stood
    tensor._value, tensor._record = moved._value, moved._record
    if tensor._record is None:
        return
    found = note_of(tensor._record)
    note.spent, note.stack = found.spent, found.stack
    note.handle, note.stop, note.retain = weakref.ref(tensor), True, True
    tensor._record[NOTE] = note


def drop_gradient(tensor: Any, set_to_none: bool = True) -> None:
    """Let a tensor, moving or not, have no gradient, or one of zeros, which no pass has left."""
    grad = tensor.grad
    tensor.grad = None if set_to_none or grad is None else zeros_like(grad.detach())
    if tensor._record is not None and tensor._record[NOTE] is not None:
        tensor._record[NOTE].plain = False


def refuse_unrecorded(tensor: Any, what: str) -> None:
    """Raise if the gradient of a moving tensor came from a pass that was not recorded."""
    if tensor._record is not None and note_of(tensor._record).plain:
        raise RuntimeError(
            f"{what} (shape {tensor.shape}): its gradient came from a backward() that was not "
            "recorded, so the derivative through this step would be cut. Call "
            "loss.backward(create_graph=True), or detach_() the optimizer to begin anew"
        )
