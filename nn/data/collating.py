"""Samples put together to batches, as torch.utils.data does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tapegrad import Tensor, as_tensor, stack, tensor

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch from a list of samples: what stands in one place of each is stacked.

    Tensors and arrays of one shape become a tensor with one dimension more, numbers a row of them
    (Python's floats in float64, as in PyTorch), strings a list. Tuples and lists of them become a
    list, dicts and named tuples one of their kind.

    Raises RuntimeError for tensors of different shapes and sequences of different lengths;
    KeyError for a key that a sample lacks; TypeError for anything else.

    >>> import tapegrad as tg
    >>> tg.nn.data.default_collate([(tg.zeros(2), 0), (tg.ones(2), 1)])
    [tensor([[0., 0.],
            [1., 1.]]), tensor([0, 1])]
    >>> tg.nn.data.default_collate([{"x": 1.0, "name": "a"}, {"x": 2.0, "name": "b"}])
    {'x': tensor([1., 2.], dtype=float64), 'name': ['a', 'b']}
    """
    if not len(batch):
        raise ValueError("default_collate: there are no samples to put together")
    first = batch[0]
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, bool):
        return tensor(list(batch))
    if isinstance(first, float):
        return tensor(list(batch), dtype="float64")
    if isinstance(first, int):
        return tensor(list(batch), dtype="int64")
    if isinstance(first, Tensor) or hasattr(first, "__array__"):
        return _stacked(batch)
    if isinstance(first, Mapping):
        parts = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return _of_kind(first, parts)
    if isinstance(first, Sequence):
        lengths = {len(sample) for sample in batch}
        if len(lengths) > 1:
            raise RuntimeError(
                f"default_collate: samples of one batch have different lengths, {sorted(lengths)}; "
                "pad them, or give the loader a collate_fn that does"
            )
        columns = [default_collate(column) for column in zip(*batch)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        "default_collate: samples hold tensors, arrays, numbers, strings, dicts or sequences of "
        f"these, not {type(first).__name__}; give the loader a collate_fn"
    )


def _stacked(batch: Sequence[Any]) -> Tensor:
    tensors = [as_tensor(value) for value in batch]
    shapes = {t.shape for t in tensors}
    if len(shapes) > 1:
        found = ", ".join(map(str, sorted(shapes)[:4]))
        raise RuntimeError(
            f"default_collate: tensors of one batch have different shapes, {found}; pad or crop "
            "them, or give the loader a collate_fn that does"
        )
    return stack(tensors)  # type: ignore[no-any-return]


def _of_kind(example: Mapping[Any, Any], parts: dict[Any, Any]) -> Any:
    """A dict as a mapping of the example's kind, if such a one can be made."""
    if type(example) is dict:
        return parts
    try:
        return type(example)(parts)  # type: ignore[call-arg]
    except TypeError:
        return parts


def default_convert(data: Any) -> Any:
    """Arrays anywhere inside a batch or sample as tensors; the rest stays as it is.

    Tuples become lists, as in PyTorch.

    >>> import numpy as np, tapegrad as tg
    >>> tg.nn.data.default_convert({"x": np.arange(3), "name": "a", "n": 3})
    {'x': tensor([0, 1, 2]), 'name': 'a', 'n': 3}
    """
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if hasattr(data, "__array__") and getattr(data, "dtype", None) is not None:
        return as_tensor(data) if data.dtype.kind in "biuf" else data
    if isinstance(data, Mapping):
        return _of_kind(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence):
        parts = [default_convert(value) for value in data]
        return type(data)(*parts) if hasattr(data, "_fields") else parts
    return data
