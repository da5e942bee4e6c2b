"""Tensors that move along the tape: the parameters of a differentiable optimizer.

Such a tensor keeps its identity while its value and its record go from step to step. Its leaf, with
which it began, moves to a handle of its own, so that a derivative by the initial value has a place
to arrive. The record where it stands now is marked: a ``backward(create_graph=True)`` without
``inputs`` stops there (the gradient of one step's loss does not reach into the steps before), while
a plain ``backward()``, ``grad`` and ``inputs=`` go through.
"""

from __future__ import annotations

import weakref
from typing import Any

from .aliases import leave_family
from .functions.converting import clone
from .records import NOTE, new_leaf_record, note_of
from .tensors import Tensor, make


def start_moving(tensor: Any) -> Tensor:
    """Begin to move a leaf, and return the handle that is the leaf from now on."""
    initial: Tensor = make(tensor._value, None)
    initial._record = tensor._record
    initial._record[NOTE].handle = weakref.ref(initial)  # type: ignore[index]
    _stand(tensor, clone(initial))
    return initial


def move_to(tensor: Any, moved: Any) -> None:
    """Let a moving tensor take the value and the place on the tape of another."""
    leave(tensor)
    _stand(tensor, moved)


def stop_moving(tensor: Any) -> None:
    """Make a moving tensor a leaf again, where it stands."""
    leave(tensor)
    tensor._record = None
    tensor._record = new_leaf_record(tensor)
    if tensor._grad is not None:
        tensor._grad = tensor._grad.detach()


def leave(tensor: Any) -> None:
    """Take the mark off the record where a moving tensor stands."""
    note = note_of(tensor._record)
    note.stop = note.retain = note.plain = False


def _stand(tensor: Any, moved: Any) -> None:
    leave_family(tensor)  # views of it keep the memory of where it stood
    tensor._value, tensor._record = moved._value, moved._record
    note = note_of(tensor._record)
    note.handle = weakref.ref(tensor)
    note.stop = note.retain = True


def refuse_unrecorded(tensor: Any, what: str) -> None:
    """Raise if the gradient of a moving tensor came from a pass that was not recorded."""
    if note_of(tensor._record).plain:
        raise RuntimeError(
            f"{what} (shape {tensor.shape}): its gradient came from a backward() that was not "
            "recorded, so the derivative through this step would be cut. Call "
            "loss.backward(create_graph=True), or detach_() the optimizer to begin anew"
        )
