"""Whether training can go on in the middle of a pass over some data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .datasets import IterableDataset
from .loader import DataLoader

__all__ = ["can_resume", "resume_obstacle"]


def can_resume(data: Any) -> bool:
    """Whether a place in the middle of this data can be found again after the program has ended.

    >>> import tapegrad as tg
    >>> tg.nn.data.can_resume(tg.zeros(3, 2)), tg.nn.data.can_resume(x for x in [])
    (True, False)
    """
    return resume_obstacle(data) is None


def resume_obstacle(data: Any) -> str | None:
    """Why a place in this data cannot be found again, and what to use; None when it can.

    ``data``: a loader, a dataset, tensors, arrays, frames, lists of batches, or what is iterated
    over: of that, what has ``state_dict()`` and ``load_state_dict()`` is taken at its word.

    >>> import tapegrad as tg
    >>> tg.nn.data.resume_obstacle(x for x in []).split(":")[0]
    'a bare generator is read once and nothing tells where it is'
    """
    if isinstance(data, DataLoader):
        return data.resume_obstacle
    if isinstance(data, IterableDataset):
        return DataLoader(data).resume_obstacle
    if hasattr(data, "state_dict") and hasattr(data, "load_state_dict"):
        return None if getattr(data, "can_resume", True) else f"the {type(data).__name__} cannot"
    kind = type(data).__name__
    if isinstance(data, Iterator):
        return (
            f"a bare {kind} is read once and nothing tells where it is: use arrays, a dataset with "
            "indices, or an IterableDataset with state_dict() and load_state_dict()"
        )
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if isinstance(data, Sequence) or indexed or not isinstance(data, Iterable):
        return None
    return (
        f"a {kind} need not give the same again: use arrays, a dataset with indices, or an "
        "IterableDataset with state_dict() and load_state_dict()"
    )
