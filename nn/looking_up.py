"""Rows of tables by their numbers, by the names of torch.nn.functional."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    CheckError,
    Tensor,
    bincount,
    check,
    linalg,
    no_grad,
    stop_gradient,
    unique,
    where,
)
from tapegrad.errors import ShapeError
from tapegrad.ops.engine import all_between

__all__ = ["embedding"]


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: Any = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows ``weight[input]``: integers (*) to vectors (*, D), from a table (V, D).

    ``padding_idx``: a row that gets no gradient (negative ones count from the end). ``max_norm``:
    rows that are looked up and whose ``norm_type``-norm is larger are scaled down to it, in the
    table itself, before. ``scale_grad_by_freq``: a row's gradient is divided by how often the row
    is looked up. ``sparse`` is accepted for torch's sake; gradients are dense.

    Raises IndexError for a number that is no row, TypeError for what are no integers.

    >>> import tapegrad as tg
    >>> table = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tg.nn.functional.embedding(tg.tensor([1, 0, 1]), table)
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])

    Source: Bengio et al. (2003), A neural probabilistic language model.
    """
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight must be (V, D), but has shape {weight.shape}")
    count = weight.shape[0]
    if padding_idx is not None:
        padding_idx = row_number(padding_idx, count)
    _check_rows(input, count)
    if max_norm is not None:
        _shorten(weight, input, max_norm, norm_type)
    rows = weight[input]
    if scale_grad_by_freq:
        share = 1.0 / bincount(input.flatten(), minlength=count)[input].to(weight.dtype)
        rows = stop_gradient(rows) + (rows - stop_gradient(rows)) * share.unsqueeze(-1)
    if padding_idx is None:
        return rows  # type: ignore[no-any-return]
    # padding stands for nothing, so that nothing is learned about it
    return where((input == padding_idx).unsqueeze(-1), stop_gradient(rows), rows)  # type: ignore[no-any-return]


def row_number(padding_idx: int, count: int) -> int:
    """A number of a row, one from the end made one from the beginning."""
    if not -count <= padding_idx < count:
        raise ValueError(
            f"padding_idx must be within num_embeddings: {padding_idx} is none of {count} rows"
        )
    return padding_idx % count


def _check_rows(input: Any, count: int) -> None:
    """Raise unless every number is one of a row."""
    if not isinstance(input, Tensor) or input.dtype.kind not in "iu":
        kind = input.dtype if isinstance(input, Tensor) else type(input).__name__
        made = ".long()" if isinstance(input, Tensor) else "tg.tensor(...)"
        raise TypeError(
            f"embedding: input must be a tensor of integers, the numbers of rows, not {kind}: "
            f"{made} makes it so"
        )
    try:
        check(
            all_between(input, low=0, high=count - 1),
            lambda found: (
                f"embedding: index out of range: {_outside(found, count)} is none of "
                f"the {count} rows 0 to {count - 1}"
            ),
            input,
        )
    except CheckError as error:
        raise IndexError(str(error)) from None


def _outside(found: Any, count: int) -> Any:
    wrong = found[(found < 0) | (found >= count)] if getattr(found, "shape", ()) else found
    return wrong.flat[0] if getattr(wrong, "shape", ()) else wrong


def _shorten(weight: Tensor, input: Tensor, max_norm: Any, norm_type: float) -> None:
    """Scale down the rows that are looked up, in place, as torch does."""
    with no_grad():
        used = unique(input)
        rows = weight[used]
        norm = linalg.vector_norm(rows, ord=norm_type, dim=1, keepdim=True)
        weight[used] = where(norm > max_norm, rows * (max_norm / (norm + 1e-7)), rows)
