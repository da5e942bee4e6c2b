"""What a user asks for and gets: :func:`graph` and :class:`Graph`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..modes import enable_grad
from ..rendering import RendererMissing, render
from ..saving import write_atomically
from ..tensors import Tensor, tensor
from .dot import dot_source, finished_svg, omitted_text
from .naming import Names, _is_module, arguments_of
from .reading import Edge, Node, Reading, read

_DOT_SUFFIXES = (".dot", ".gv")
_PIXELS = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"})
_LONG_SOURCE = 100_000  # characters; more is of no use on a screen


class Graph:
    """A picture of a computation; a notebook shows it by itself. Made by :func:`graph`.

    ``nodes`` and ``edges`` are plain data, ``operations``, ``leaves``, ``constants`` and ``depth``
    count the whole graph, and ``omitted`` says how many nodes the limit kept out of the picture.
    ``dot`` is the source for Graphviz.

    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> picture = tg.graph(x * x)
    >>> picture
    <Graph: 1 operation, 1 leaf, depth 1>
    >>> [(node.kind, node.name or node.op) for node in picture.nodes]
    [('leaf', 'x'), ('operation', 'mul')]
    """

    def __init__(self, reading: Reading, direction: str) -> None:
        self._reading, self._direction = reading, direction
        self.nodes: tuple[Node, ...] = reading.nodes
        self.edges: tuple[Edge, ...] = reading.edges
        self.operations, self.leaves = reading.operations, reading.leaves
        self.constants, self.depth = reading.constants, reading.depth
        self.omitted, self.notes = reading.omitted, reading.notes

    def __repr__(self) -> str:
        return f"<Graph: {self._counts()}>"

    def _counts(self) -> str:
        more = "" if self._reading.counted_all else "more than "
        parts = [
            more + _plural(self.operations, "operation"),
            _plural(self.leaves, "leaf", "leaves"),
        ]
        if self.constants:
            parts.append(_plural(self.constants, "constant"))
        if self._reading.counted_all:
            parts.append(f"depth {self.depth:,}")
        if self.omitted:
            parts.append(f"{omitted_text(self._reading)} left out")
        return ", ".join(parts)

    @property
    def dot(self) -> str:
        """The graph in Graphviz's DOT language."""
        return self._source("transparent")

    def _source(self, background: str, fine: bool = False) -> str:
        caption = "\n".join([self._counts(), *self.notes])
        return dot_source(self._reading, self._direction, caption, background, fine)

    def svg(self) -> str:
        """The picture as an SVG element.

        Raises :class:`tapegrad.rendering.RendererMissing`, saying what to install, when neither
        Graphviz nor its wheels are there, and RuntimeError for a graph too large for the wheels.
        """
        return finished_svg(render(self.dot, "svg").decode())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file of the kind that the suffix says; returns the path.

        ``.svg`` and ``.dot`` (the source) work everywhere that :meth:`svg` does, ``.png``,
        ``.pdf`` and the like need the program ``dot``. The file appears whole or not at all.

        Raises ValueError for a path without a suffix or a format that Graphviz does not know, and
        RendererMissing, saying what to install.

        >>> import tempfile, pathlib, tapegrad as tg
        >>> x = tg.tensor(2.0, requires_grad=True)
        >>> path = tg.graph(x * x).save(pathlib.Path(tempfile.mkdtemp()) / "square.dot")
        >>> path.read_text().startswith("digraph")
        True
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if len(suffix) < 2:
            raise ValueError(
                f"save({str(target)!r}): the suffix says what to write: .svg, .png, .pdf or .dot"
            )
        if suffix in _DOT_SUFFIXES:
            data = self.dot.encode()
        elif suffix == ".svg":
            picture = finished_svg(render(self.dot, "svg").decode(), in_page=False)
            data = b'<?xml version="1.0" encoding="UTF-8"?>\n' + picture.encode()
        else:
            data = render(self._source("white", suffix in _PIXELS), suffix[1:])
        return write_atomically(target, data)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the picture, or the source and how to get a picture."""
        try:
            return {"image/svg+xml": self.svg(), "text/plain": repr(self)}
        except Exception as error:  # showing a thing must never fail
            reason = str(error) if isinstance(error, RendererMissing) else f"no picture: {error}"
            try:
                source = self.dot
                if len(source) > _LONG_SOURCE:
                    source = (
                        "Its source for Graphviz is long: save() it to a file that ends in .dot."
                    )
                return {"text/plain": f"{self!r}\n{_sentence(reason)}\n\n{source}"}
            except Exception as another:
                return {"text/plain": f"<Graph that cannot be shown: {another!r}>"}


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", ")")) else f"{text}."


def graph(
    tensor_or_fn: Any,
    *args: Any,
    values: bool = False,
    grads: bool = False,
    names: Any = None,
    max_nodes: int | None = 200,
    direction: str = "LR",
) -> Graph:
    """Draw how a tensor was computed; in a notebook the result shows itself.

    ``tensor_or_fn``: a tensor, or a tuple, list or dict of tensors; or a function (a module, too),
    which is called with ``args`` and whose result is drawn. If none of its arguments requires a
    gradient, floats, float arrays and float tensors among them become leaves (copies of them).

    ``values`` adds values, ``grads`` the gradient of the output by every node (of the sum of the
    outputs, if they are many numbers) and what is stored in ``.grad``; no ``.grad`` is changed.
    After a ``backward()`` without ``retain_graph=True`` only the stored ones are left.

    ``names``: ``{name: tensor}`` or ``{tensor: name}``, or a module, whose parameters are then
    called by their paths. Without it a tensor is called by its ``name``, or by the variable that
    holds it where ``graph`` is called. ``max_nodes``: only so many, the nearest to the output, are
    drawn (None: all), and the picture says how many are left out. ``direction``: ``"LR"`` or
    ``"TB"``, left to right or top to bottom.

    Leaves have square corners, operations round ones, constants a dashed outline, outputs a double
    one. Drawing takes Graphviz or ``pip install "tapegrad[draw]"``.

    Raises TypeError when there is no tensor to draw.

    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> y = x**2 + 3*x + 1
    >>> tg.graph(y)
    <Graph: 4 operations, 1 leaf, 3 constants, depth 3>
    >>> print(tg.graph(lambda a, b: a / b, 1.0, 2.0, grads=True).nodes[1].grad)
    -0.25
    """
    if direction not in ("LR", "TB"):
        raise ValueError(f"graph(): direction must be 'LR' or 'TB', not {direction!r}")
    if max_nodes is not None and (not isinstance(max_nodes, int) or max_nodes < 1):
        raise ValueError(f"graph(): max_nodes must be a positive int or None, not {max_nodes!r}")
    known = Names()
    known.give(names)
    outputs: list[tuple[str, Tensor]] = []
    inputs: list[tuple[str, Tensor]] = []
    if callable(tensor_or_fn) and not isinstance(tensor_or_fn, Tensor):
        result, inputs = _call(tensor_or_fn, args)
        if _is_module(tensor_or_fn):
            known.look_at({"module": tensor_or_fn})
    elif args:
        raise TypeError(
            f"graph(): only a function takes arguments, not {type(tensor_or_fn).__name__}"
        )
    else:
        result = tensor_or_fn
    _gather("", result, outputs)
    if not outputs:
        raise TypeError(
            "graph() draws a tensor, a tuple, list or dict of tensors, or what a function returns, "
            f"not {type(result).__name__}"
            + (": pass its numbers as floats or tensors" if _is_numeric(result) else "")
        )
    for name, item in (*inputs, *outputs):
        if item.name is None and name:
            known.add(known.variables, item, name)
        elif item.name is not None:
            known.add(known.paths if item._record is None else known.variables, item, item.name)
    known.look_around(sys._getframe(1))
    reading = read([item for _, item in outputs], known, max_nodes, bool(values), bool(grads))
    return Graph(reading, direction)


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (int, float, np.ndarray, np.generic))


def _call(function: Any, args: Sequence[Any]) -> tuple[Any, list[tuple[str, Tensor]]]:
    """The function's result, and its tensors with the names of the arguments."""
    given: list[tuple[str, Tensor]] = []
    _gather("", args, given)
    ready = any(t.requires_grad for _, t in given) or (
        _is_module(function) and any(p.requires_grad for p in function.parameters())
    )
    if not ready:
        args = [_with_leaves(a) for a in args]
    inputs: list[tuple[str, Tensor]] = []
    for name, value in zip(arguments_of(function, len(args)), args, strict=True):
        _gather(name, value, inputs)
    with enable_grad():
        return function(*args), inputs


def _gather(name: str, value: Any, found: list[tuple[str, Tensor]]) -> None:
    """All tensors in nested tuples, lists and dicts, each with how it is reached."""
    if isinstance(value, Tensor):
        found.append((name, value))
    elif isinstance(value, (tuple, list)):
        fields = getattr(value, "_fields", None)
        for i, item in enumerate(value):
            _gather(f"{name}.{fields[i]}".lstrip(".") if fields else f"{name}[{i}]", item, found)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _gather(f"{name}[{key!r}]" if name else str(key), item, found)


def _with_leaves(value: Any) -> Any:
    """Floats, float arrays and float tensors replaced by leaves that hold a copy."""
    if isinstance(value, Tensor):
        if value.dtype.kind != "f":
            return value
        leaf = tensor(value, requires_grad=True)
        leaf.name = value.name
        return leaf
    if isinstance(value, (float, np.floating)) or (
        isinstance(value, np.ndarray) and value.dtype.kind == "f"
    ):
        return tensor(value, requires_grad=True)
    if isinstance(value, (tuple, list)):
        items = [_with_leaves(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        return {key: _with_leaves(item) for key, item in value.items()}
    return value
