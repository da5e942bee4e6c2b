"""From the records of the tape to plain nodes and edges, as many as asked for.

Nothing here recurses, and nothing that is returned keeps a record or an array alive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy import ndarray

from ..records import CHECKPOINT, FIRST, LEAF, NOTE, NUMBER, OP, OUTPUT, PARAMS, PICK
from ..tensors import Tensor
from ..values import dtype_of, shape_of
from .cotangents import Spent, cotangents
from .describing import settings, summary
from .naming import Names, handle_of

LARGE = 1_000_000  # what lies beyond so many records is not counted
OMITTED = "omitted"


@dataclass(frozen=True)
class Node:
    """One box of a picture.

    ``kind``: ``"leaf"`` (requires a gradient), ``"operation"``, ``"pick"`` (one output of an
    operation that has several), ``"checkpoint"``, or ``"constant"``. ``value`` and ``grad`` are
    short texts, or None; ``stored`` is that of a tensor's ``.grad``.
    """

    id: str
    kind: str
    name: str | None
    op: str | None
    settings: str
    shape: tuple[int, ...] | None
    dtype: str | None
    value: str | None
    grad: str | None
    stored: str | None
    is_output: bool


@dataclass(frozen=True)
class Edge:
    """An arrow from an operand to the operation that reads it as its ``position``-th operand."""

    source: str
    target: str
    position: int


@dataclass(frozen=True)
class Reading:
    """What was found on the tape: the part to draw, and counts of the whole."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    operations: int
    leaves: int
    constants: int
    depth: int
    omitted: int
    counted_all: bool
    notes: tuple[str, ...]


def read(
    outputs: Sequence[Tensor], names: Names, limit: int | None, values: bool, grads: bool
) -> Reading:
    """Read the tape from ``outputs`` down; keep the ``limit`` nodes that are nearest to them."""
    roots = list({t._record[NUMBER]: t._record for t in outputs if t._record is not None}.values())
    loose = list({id(t): t for t in outputs if t._record is None}.values())
    records, constants, counted_all = _collect(roots)
    kept = _nearest(roots, limit)
    notes: list[str] = []
    if loose:
        notes.append(
            "off the tape (no operand required a gradient, or it was recorded under no_grad): "
            + ("the output" if len(outputs) == 1 else f"{len(loose)} of {len(outputs)} outputs")
        )
    found: dict[int, Any] = {}
    if grads and roots:
        try:
            found = cotangents(roots, {key for key in kept if type(key) is int})
        except Spent:
            notes.append(
                "a backward() without retain_graph=True has let go of this graph: "
                "only gradients stored in .grad are shown"
            )
        except Exception as error:
            notes.append(f"gradients are left out: {error}")
        if len(roots) > 1 or shape_of(roots[0][OUTPUT]) not in ((), (1,)):
            notes.append("gradients are those of the sum of all outputs")
    ends = {record[NUMBER] for record in roots}
    # An output off the tape may be what an operation reads, as the indices of topk are.
    shared = {("array", id(t._value)) for t in loose if type(t._value) is ndarray} & kept.keys()
    loose = [t for t in loose if ("array", id(t._value)) not in shared]
    total = len(records) + len(constants) + len(loose)
    nodes = [_node_of_tensor(f"t{i}", t, names, values) for i, t in enumerate(loose)]
    edges: list[Edge] = []
    order = sorted(kept, key=_drawing_order)
    ids = {key: f"n{i}" for i, key in enumerate(order)}  # the same in every run, unlike the keys
    for key in order:
        item = kept[key]
        if type(key) is not int:
            nodes.append(_node_of_constant(ids[key], item, names, values, key in shared))
            continue
        cotangent, is_output = found.get(key), key in ends
        nodes.append(_node_of_record(ids[key], item, names, values, grads, cotangent, is_output))
        for position, (value, made) in enumerate(
            zip(item[FIRST::2], item[FIRST + 1 :: 2], strict=True)
        ):
            operand = made[NUMBER] if made is not None else _constant_key(item, position, value)
            edges.append(Edge(ids.get(operand, OMITTED), ids[key], position))
    leaves = sum(1 for record in records.values() if record[OP] is LEAF)
    picks = sum(1 for record in records.values() if record[OP] is PICK)
    return Reading(
        nodes=tuple(nodes),
        edges=tuple(edges),
        operations=len(records) - leaves - picks,
        leaves=leaves,
        constants=len(constants) + len(loose),
        depth=_depth(records),
        omitted=max(0, total - len(kept) - len(loose)),
        counted_all=counted_all,
        notes=tuple(notes),
    )


# -- walking ------------------------------------------------------------------------------------
def _collect(roots: Sequence[list[Any]]) -> tuple[dict[int, list[Any]], set[Any], bool]:
    """All records below the roots by number, the constants' keys, and whether that is all."""
    records = {record[NUMBER]: record for record in roots}
    constants: set[Any] = set()
    stack = list(roots)
    while stack:
        record = stack.pop()
        for i in range(FIRST, len(record), 2):
            made = record[i + 1]
            if made is None:
                constants.add(_constant_key(record, (i - FIRST) // 2, record[i]))
            elif made[NUMBER] not in records:
                records[made[NUMBER]] = made
                stack.append(made)
        if len(records) >= LARGE:
            return records, constants, False
    return records, constants, True


def _nearest(roots: Sequence[list[Any]], limit: int | None) -> dict[Any, Any]:
    """The records (by number) and constants (by key) fewest arrows away from the roots."""
    kept: dict[Any, Any] = {}
    queue: deque[tuple[Any, Any]] = deque((record[NUMBER], record) for record in roots)
    seen = {key for key, _ in queue}
    while queue and (limit is None or len(kept) < limit):
        key, item = queue.popleft()
        kept[key] = item
        if type(key) is not int:
            continue
        for position, (value, made) in enumerate(
            zip(item[FIRST::2], item[FIRST + 1 :: 2], strict=True)
        ):
            if made is not None:
                operand = (made[NUMBER], made)
            else:
                operand = (_constant_key(item, position, value), value)
            if operand[0] not in seen:
                seen.add(operand[0])
                queue.append(operand)
    return kept


def _constant_key(record: list[Any], position: int, value: Any) -> Any:
    """An array that several operations read is one node; a number is a node at each use."""
    return ("array", id(value)) if type(value) is ndarray else (record[NUMBER], position)


def _drawing_order(key: Any) -> tuple[int, int]:
    """Numbers upwards, constants first; Graphviz lays nodes out in the order it meets them."""
    if type(key) is int:
        return (key, 1)
    return (0 if key[0] == "array" else key[0], 0)


def _depth(records: dict[int, list[Any]]) -> int:
    """The number of operations on the longest path."""
    depths: dict[int, int] = {}
    for number in sorted(records):
        record = records[number]
        if record[OP] is LEAF:
            depths[number] = 0
            continue
        below = max(
            (depths.get(r[NUMBER], 0) for r in record[FIRST + 1 :: 2] if r is not None), default=0
        )
        depths[number] = below + (record[OP] is not PICK)
    return max(depths.values(), default=0)


# -- nodes --------------------------------------------------------------------------------------
def _node_of_record(
    id: str,
    record: list[Any],
    names: Names,
    values: bool,
    grads: bool,
    cotangent: Any,
    is_output: bool,
) -> Node:
    op, output, params = record[OP], record[OUTPUT], record[PARAMS]
    kind = {LEAF: "leaf", PICK: "pick", CHECKPOINT: "checkpoint"}.get(op, "operation")
    several = type(output) is tuple
    stored = None
    if grads:
        retains = record[NOTE] is not None and (kind == "leaf" or record[NOTE].retain)
        gradient = getattr(handle_of(record), "_grad", None) if retains else None
        stored = None if gradient is None else summary(gradient._value)
    if kind == "pick":
        shown = f"output {params['index']}"
    elif kind in ("leaf", "checkpoint"):
        shown = ""
    else:
        operand = record[FIRST] if len(record) > FIRST else output
        shown = settings(op, params, operand, output)
    return Node(
        id=id,
        kind=kind,
        name=names.of_record(record),
        op=None if kind == "leaf" else str(op),
        settings=shown,
        shape=None if several else shape_of(output),
        dtype=None if several else dtype_of(output).name,
        value=summary(output) if values else None,
        grad=None if cotangent is None or several else summary(cotangent),
        stored=stored,
        is_output=is_output,
    )


def _node_of_constant(id: str, value: Any, names: Names, values: bool, is_output: bool) -> Node:
    shape = shape_of(value)
    return Node(
        id=id,
        kind="constant",
        name=names.of_constant(value),
        op=None,
        settings="",
        shape=shape,
        dtype=dtype_of(value).name,
        value=summary(value) if values or shape == () else None,
        grad=None,
        stored=None,
        is_output=is_output,
    )


def _node_of_tensor(id: str, tensor: Any, names: Names, values: bool) -> Node:
    """An output that is off the tape."""
    value = tensor._value
    return Node(
        id=id,
        kind="constant",
        name=tensor.name or names.of_constant(value),
        op=None,
        settings="",
        shape=shape_of(value),
        dtype=dtype_of(value).name,
        value=summary(value) if values or shape_of(value) == () else None,
        grad=None,
        stored=None,
        is_output=True,
    )
