"""Arrays, lists and frames as tensors. Libraries of frames are recognised, never imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tapegrad import Tensor, isnan, stack, tensor

__all__ = ["as_tensors", "column_names"]


def as_tensors(data: Any, dtype: Any = None, *, name: str = "data") -> Any:
    """Tensors of arrays, lists of numbers, frames and columns (pandas, polars), copied.

    A frame becomes (rows, columns), a column (rows). What holds several, a dict, or a tuple or list
    of arrays, becomes the same of tensors. A :class:`Dataset` with a length becomes what collating
    all of its samples gives. ``dtype``: of the result; otherwise each keeps its own (a frame: what
    its columns promote to). ``name``: what errors call the data.

    Raises TypeError, naming the column, for what is not numbers (strings, dates, categories);
    ValueError for missing values in a frame and for a frame with two columns of one name.

    >>> import tapegrad as tg
    >>> tg.nn.data.as_tensors({"x": [[1.0, 2.0]], "y": [3]})
    {'x': tensor([[1., 2.]]), 'y': tensor([3])}
    """
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    if _is_frame(data):
        return _frame(data, dtype, name)
    if _is_column(data):
        return _cast(_column(data, f"{name}{_called(data)}"), dtype)
    if hasattr(data, "dtype"):
        return _cast(_array(data, name), dtype)
    if isinstance(data, Mapping):
        return {key: as_tensors(v, dtype, name=f"{name}[{key!r}]") for key, v in data.items()}
    if isinstance(data, (list, tuple)):
        if hasattr(data, "_fields") or any(
            hasattr(v, "dtype") or _is_frame(v) or isinstance(v, Mapping) for v in data
        ):
            parts = [as_tensors(v, dtype, name=f"{name}[{i}]") for i, v in enumerate(data)]
            return type(data)(parts) if type(data) in (list, tuple) else type(data)(*parts)
        return _numbers(data, dtype, name)
    if isinstance(data, (bool, int, float)):
        return tensor(data, dtype=dtype)
    if hasattr(data, "__array__"):
        return _cast(_array(data.__array__(), name), dtype)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, str):
        return _whole(data, dtype, name)
    raise TypeError(
        f"{name} must be a tensor, an array, numbers in lists, a frame or a dict of these, "
        f"not {type(data).__name__}"
    )


def column_names(data: Any) -> list[str] | None:
    """The names of a frame's columns; None for what is no frame.

    >>> import tapegrad as tg
    >>> tg.nn.data.column_names(tg.zeros(2, 2)) is None
    True
    """
    return [str(column) for column in data.columns] if _is_frame(data) else None


def _is_frame(data: Any) -> bool:
    return hasattr(data, "columns") and hasattr(data, "to_numpy")


def _is_column(data: Any) -> bool:
    return hasattr(data, "to_numpy") and hasattr(data, "dtype")


def _called(column: Any) -> str:
    name = getattr(column, "name", None)
    return "" if name is None else f": column {name!r}"


def _cast(value: Tensor, dtype: Any) -> Tensor:
    return value if dtype is None else value.to(dtype)


def _array(data: Any, name: str) -> Tensor:
    if data.dtype.kind in "biuf":
        return tensor(data)
    if data.dtype.kind == "O":
        return _numbers(data.tolist(), None, name)
    raise TypeError(
        f"{name} must be numbers, not an array of {data.dtype}: encode it first, such as by "
        "np.unique(labels, return_inverse=True)"
    )


def _numbers(data: Any, dtype: Any, name: str) -> Tensor:
    try:
        return tensor(data, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be numbers in rows of one length: {error}") from None


def _whole(dataset: Any, dtype: Any, name: str) -> Any:
    """All samples of a dataset."""
    from .collating import default_collate
    from .datasets import gathered

    everything = list(range(len(dataset)))
    if not everything:
        raise ValueError(f"{name}: the dataset is empty")
    found = gathered(dataset, everything)
    if found is None:
        found = default_collate([dataset[i] for i in everything])
    return found if dtype is None else as_tensors(found, dtype, name=name)


def _frame(frame: Any, dtype: Any, name: str) -> Tensor:
    labels = list(frame.columns)
    twice = sorted({str(label) for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"{name}: several columns are called {', '.join(map(repr, twice))}")
    if not labels:
        raise ValueError(f"{name}: the frame has no columns")
    columns = [_column(frame[label], f"{name}: column {label!r}") for label in labels]
    if dtype is not None:
        columns = [column.to(dtype) for column in columns]
    return stack(columns, dim=1)  # type: ignore[no-any-return]


def _column(column: Any, name: str) -> Tensor:
    """The numbers of one column of a frame, all of them there."""
    values = column.to_numpy()
    if values.dtype.kind == "O":
        values = values.tolist()
        missing = [i for i, value in enumerate(values) if _is_missing(value)]
        _refuse_missing(missing, name)
        strange = [v for v in values if not isinstance(v, (int, float)) and not hasattr(v, "dtype")]
        if strange:
            raise TypeError(
                f"{name} holds {type(strange[0]).__name__} such as {strange[0]!r}, not numbers: "
                "drop it, or encode it (for categories: their codes, or one column for each)"
            )
        return tensor(values)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} holds {values.dtype}, not numbers: drop it or encode it")
    found = tensor(values)
    if values.dtype.kind == "f":
        _refuse_missing(isnan(found).nonzero()[:, 0].tolist(), name)
    return found


def _is_missing(value: Any) -> bool:
    # pandas's NA is equal to nothing and its comparisons have no truth value
    return (
        value is None
        or type(value).__name__ == "NAType"
        or (type(value) is float and value != value)
    )


def _refuse_missing(rows: list[int], name: str) -> None:
    if rows:
        raise ValueError(
            f"{name} has {len(rows)} missing value{'s' if len(rows) > 1 else ''}, the first in row "
            f"{rows[0]} (counted from 0): fill them in, or drop these rows"
        )
