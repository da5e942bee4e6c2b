"""Gradients by every node of a picture, without touching any ``.grad`` or running any hook."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..records import LAST_OVERWRITE, LEAF, NOTE, NUMBER, OP, OUTPUT, PARAMS, PICK
from ..reverse import contributions, refuse_overwritten
from ..values import dtype_of, full_like_value


class Spent(Exception):
    """The graph was walked without ``retain_graph``; its saved values are gone."""


def cotangents(roots: Sequence[list[Any]], wanted: set[int]) -> dict[int, Any]:
    """The derivative of the sum of all roots by the output of each wanted record.

    The same chain rule as ``backward()``: numbers downwards, each record once. It keeps all
    saved values. Raises :class:`Spent`, or what a rule raises.
    """
    lowest = min(wanted, default=0)
    arrived: dict[int, Any] = {}
    pending: dict[int, tuple[list[Any], Any]] = {}
    heap: list[int] = []

    def send(record: list[Any], cotangent: Any) -> None:
        number = record[NUMBER]
        known = pending.get(number)
        if known is None:
            heapq.heappush(heap, -number)
        else:
            cotangent = known[1] + cotangent
        pending[number] = (record, cotangent)

    with np.errstate(all="ignore"):
        for record in roots:
            if dtype_of(record[OUTPUT]).kind == "f":
                if record[NOTE] is not None and record[NOTE].spent:
                    raise Spent
                send(record, full_like_value(1.0, record[OUTPUT]))
        while heap:
            number = -heapq.heappop(heap)
            record, g = pending.pop(number)
            if number in wanted:
                arrived[number] = g
            if record[OP] is LEAF or number <= lowest:
                continue
            if record[NOTE] is not None and record[NOTE].spent:
                raise Spent
            if LAST_OVERWRITE[0] > number:
                refuse_overwritten(record)
            for target, cotangent in contributions(record, g, False):
                if record[OP] is PICK:
                    _send_part(pending, heap, target, record[PARAMS]["index"], cotangent)
                else:
                    send(target, cotangent)
    return arrived


def _send_part(
    pending: dict[int, Any], heap: list[int], target: list[Any], index: int, cotangent: Any
) -> None:
    """Add to one of the cotangents of an operation with several outputs."""
    number = target[NUMBER]
    if number not in pending:
        heapq.heappush(heap, -number)
        pending[number] = (target, [None] * len(target[OUTPUT]))
    parts = pending[number][1]
    parts[index] = cotangent if parts[index] is None else parts[index] + cotangent
