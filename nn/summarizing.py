"""What a model is made of, as a table: layers, output shapes, parameters, memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

from tapegrad import (
    Tensor,
    get_default_dtype,
    get_rng_state,
    no_grad,
    set_rng_state,
    tensor,
    zeros,
)

from .module import Module

__all__ = ["Summary", "SummaryRow", "summary"]

COLUMNS = ("Layer", "Output shape", "Parameters", "Trained")


class SummaryRow(NamedTuple):
    """One layer of a :class:`Summary`.

    ``parameters`` are those of the layer itself, without what is in a row of its own below or was
    counted above (``shared``). ``outputs`` has the shapes of the first call, None without one.
    """

    name: str
    kind: str
    depth: int
    outputs: Any
    calls: int
    parameters: int
    trainable: int
    shared: bool

    def cells(self) -> tuple[str, str, str, str]:
        """The row as text."""
        shape = "" if self.outputs is None else _shown(self.outputs)
        count = [f"{self.parameters:,}"] if self.parameters else []
        count += ["(shared)"] if self.shared else []
        trained = "yes" if self.trainable == self.parameters else "partly"
        trained = "no" if not self.trainable else trained
        return (
            f"{self.name} ({self.kind})" if self.name else self.kind,
            shape + (f" ×{self.calls}" if self.calls > 1 else ""),
            " ".join(count),
            trained if self.parameters else "",
        )


class _Output(NamedTuple):
    """What a layer returned: shapes in place of tensors, and all their bytes."""

    shapes: Any
    size: int


class Summary:
    """The table that :func:`summary` makes; it prints, and shows as HTML in a notebook.

    ``rows`` (:class:`SummaryRow`), ``total_params``, ``trainable_params``,
    ``non_trainable_params``, and bytes: ``param_bytes``, ``buffer_bytes``, ``output_bytes`` (what
    layers without layers inside return in one call, or None).

    >>> import tapegrad as tg
    >>> table = tg.nn.summary(tg.nn.Linear(3, 2))
    >>> table.total_params, table.param_bytes
    (8, 32)
    """

    def __init__(self, model: Module, rows: list[SummaryRow], output_bytes: int | None) -> None:
        parameters = list(model.parameters())
        self.rows = rows
        self.total_params = sum(p.numel() for p in parameters)
        self.trainable_params = sum(p.numel() for p in parameters if p.requires_grad)
        self.non_trainable_params = self.total_params - self.trainable_params
        self.param_bytes = sum(p.nbytes for p in parameters)
        self.buffer_bytes = sum(b.nbytes for b in model.buffers())
        self.output_bytes = output_bytes

    def _totals(self) -> Iterator[tuple[str, str]]:
        yield "Parameters", f"{self.total_params:,} ({_bytes(self.param_bytes)})"
        yield "Trainable", f"{self.trainable_params:,}"
        yield "Not trainable", f"{self.non_trainable_params:,}"
        if self.buffer_bytes:
            yield "Buffers", _bytes(self.buffer_bytes)
        if self.output_bytes is not None:
            yield "Outputs of layers", _bytes(self.output_bytes)

    def __str__(self) -> str:
        table = [list(COLUMNS)]
        for row, branch in zip(self.rows, _branches(self.rows)):
            first, *others = row.cells()
            table.append([branch + first, *others])
        if all(row.outputs is None for row in self.rows):
            table = [[a, c, d] for a, _, c, d in table]
        widths = [max(map(len, column)) for column in zip(*table)]
        right = len(widths) - 2  # numbers stand on the right
        lines = [
            "  ".join(
                cell.rjust(width) if i == right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(cells, widths))
            ).rstrip()
            for cells in table
        ]
        rule = "─" * (sum(widths) + 2 * len(widths) - 2)
        totals = [f"{what}: {value}" for what, value in self._totals()]
        return "\n".join([lines[0], rule, *lines[1:], rule, *totals])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in COLUMNS)
        body = ""
        for row in self.rows:
            first, *others = map(escape, row.cells())
            indent = f"<td style='text-align:left;padding-left:{1.5 * row.depth + 0.5}em'>"
            cells = "".join(f"<td style='text-align:left'>{cell}</td>" for cell in others)
            body += f"<tr>{indent}{first}</td>{cells}</tr>"
        totals = "<br>".join(f"{what}: {escape(value)}" for what, value in self._totals())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{totals}</p>"


def summary(
    model: Module,
    input_size: Any = None,
    input_data: Any = None,
    *,
    dtypes: Any = None,
    depth: int | None = None,
    **kwargs: Any,
) -> Summary:
    """The layers of a model with output shapes, parameter counts and memory, as a table.

    ``input_size``: the shape of the input with the batch dimension, or a list of shapes for
    several inputs; ``dtypes``: theirs (indices for an embedding are "int64"; otherwise that of
    the parameters). ``input_data``: the input itself in place of a shape: a tensor or an array, a
    list of several, a dict of keyword arguments. Without either there are no output shapes.
    ``depth``: how many levels to show. ``kwargs`` go to ``forward``.

    The model is called once, without a tape and in evaluation mode; it and the random numbers to
    come are left as they were.
    Raises what the call raises, with a note that names the layer.

    >>> import tapegrad as tg
    >>> model = tg.nn.Sequential(tg.nn.Linear(4, 8), tg.nn.ReLU(), tg.nn.Linear(8, 3))
    >>> tg.nn.summary(model, (16, 4))
    Layer          Output shape  Parameters  Trained
    ────────────────────────────────────────────────
    Sequential     (16, 3)
    ├─ 0 (Linear)  (16, 8)               40  yes
    ├─ 1 (ReLU)    (16, 8)
    └─ 2 (Linear)  (16, 3)               27  yes
    ────────────────────────────────────────────────
    Parameters: 67 (268 B)
    Trainable: 67
    Not trainable: 0
    Outputs of layers: 1.2 KB
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary() takes a module, not {type(model).__name__}")
    if input_size is not None and hasattr(input_size, "__array__"):
        input_size, input_data = None, input_size
    if input_size is not None and input_data is not None:
        raise ValueError("summary() takes input_size or input_data, not both")
    if input_size is None and input_data is None and not kwargs:
        return Summary(model, list(_rows(model, {}, depth)), None)
    args, named = _inputs(model, input_size, input_data, dtypes)
    calls: dict[int, list[_Output]] = {}
    _call(model, args, {**named, **kwargs}, calls)
    leaves = [m for m in model.modules() if not m._modules]
    size = sum(output.size for m in leaves for output in calls.get(id(m), ()))
    return Summary(model, list(_rows(model, calls, depth)), size)


def _inputs(
    model: Module, size: Any, data: Any, dtypes: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the call."""
    if isinstance(data, Mapping):
        return (), {name: _as_tensor(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return tuple(map(_as_tensor, data)), {}
    if data is not None:
        return (_as_tensor(data),), {}
    if size is None:
        return (), {}
    shapes = [size] if all(isinstance(n, int) for n in size) else list(size)
    held = [p.dtype for p in model.parameters() if p.is_floating_point()]
    usual = held[0] if held else get_default_dtype()
    wanted = list(dtypes) if isinstance(dtypes, (list, tuple)) else [dtypes or usual] * len(shapes)
    if len(wanted) != len(shapes):
        raise ValueError(f"summary(): {len(wanted)} dtypes for {len(shapes)} inputs")
    return tuple(zeros(tuple(shape), dtype=d) for shape, d in zip(shapes, wanted)), {}


def _as_tensor(value: Any) -> Any:
    return tensor(value) if hasattr(value, "__array__") and not isinstance(value, Tensor) else value


def _call(
    model: Module, args: Any, kwargs: dict[str, Any], calls: dict[int, list[_Output]]
) -> None:
    """Call the model and note what each module returns."""
    inside: list[tuple[str, Module, Any]] = []
    handles = []
    modes = [(module, module.training) for module in model.modules()]

    def enter(name: str) -> Any:
        return lambda module, given: inside.append((name, module, given))

    def leave(module: Module, given: Any, output: Any) -> None:
        inside.pop()
        calls.setdefault(id(module), []).append(_Output(_shapes(output), _size_of(output)))

    random = get_rng_state()
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter(name)))
            handles.append(module.register_forward_hook(leave))
        model.eval()
        with no_grad():
            model(*args, **kwargs)
    except Exception as error:
        if inside:
            name, module, given = inside[-1]
            where = f"{name!r} ({type(module).__name__})" if name else type(module).__name__
            error.add_note(f"summary(): in {where}, called with {_shown(_shapes(given))}")
        raise
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.__dict__["training"] = mode
        set_rng_state(random)


def _rows(
    model: Module, calls: Mapping[int, list[_Output]], depth: int | None
) -> Iterator[SummaryRow]:
    """One row for each place of a module, parents before children."""
    modules: set[int] = set()
    counted: set[int] = set()

    def walk(module: Module, name: str, level: int) -> Iterator[SummaryRow]:
        last = depth is not None and level >= depth
        own = list(module.parameters(recurse=last))
        new = [p for p in own if id(p) not in counted]
        counted.update(map(id, own))
        outputs = calls.get(id(module), [])
        yield SummaryRow(
            name,
            type(module).__name__,
            level,
            outputs[0].shapes if outputs else None,
            len(outputs),
            sum(p.numel() for p in new),
            sum(p.numel() for p in new if p.requires_grad),
            id(module) in modules or len(new) < len(own),
        )
        if id(module) in modules or last:
            return
        modules.add(id(module))
        for key, child in module._modules.items():
            if child is not None:
                yield from walk(child, key, level + 1)

    return walk(model, "", 0)


def _branches(rows: list[SummaryRow]) -> Iterator[str]:
    """The lines of the tree before the names."""
    open_at: dict[int, bool] = {}  # whether a level has more rows below
    found = []
    for row in reversed(rows):
        bars = "".join("│  " if open_at.get(level) else "   " for level in range(1, row.depth))
        found.append(bars + ("├─ " if open_at.get(row.depth) else "└─ ") if row.depth else "")
        open_at = {level: on for level, on in open_at.items() if level < row.depth}
        open_at[row.depth] = True
    return reversed(found)


def _shapes(value: Any) -> Any:
    """Shapes in place of the tensors in a result."""
    if hasattr(value, "shape"):
        return tuple(value.shape)
    if isinstance(value, Mapping):
        return {key: _shapes(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shapes(item) for item in value]
    return "None" if value is None else type(value).__name__


def _shown(shapes: Any) -> str:
    if isinstance(shapes, list):
        return ", ".join(map(_shown, shapes)) or "nothing"
    if isinstance(shapes, Mapping):
        return ", ".join(f"{key}: {_shown(shape)}" for key, shape in shapes.items())
    return str(shapes)


def _size_of(value: Any) -> int:
    """The bytes of all tensors in a result."""
    if isinstance(value, Mapping):
        return sum(map(_size_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_size_of, value))
    return getattr(value, "nbytes", 0)


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count = count / 1024
    return f"{count:.1f} GB"
