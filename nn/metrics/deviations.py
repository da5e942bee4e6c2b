"""How far predictions are from numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from tapegrad import Tensor, as_tensor, nan, tensor, where

from .arranging import alike, not_empty
from .streaming import Row, Statistics

__all__ = ["mae", "mape", "mse", "r2", "rmse"]


def _summed(what: str, input: Any, target: Any, error: Any) -> Statistics:
    input, target = alike(what, input, target)
    each = error(input, target)
    return {"total": each.sum(), "count": tensor(each.numel()).double()}


def _mean(statistics: Statistics) -> Tensor:
    not_empty("a mean error", statistics["count"])
    return statistics["total"] / statistics["count"]


def _absolute(input: Any, target: Any) -> Statistics:
    return _summed("mae", input, target, lambda y, t: (y - t).abs())


def mae(input: Any, target: Any) -> Tensor:
    """The mean absolute error, over all elements: mean |input - target|.

    ``input`` and ``target``: numbers of one shape ((N,) and (N, 1) are taken for the same).

    Raises ValueError for shapes that differ, and for no samples.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.mae(tg.tensor([1.0, 4.0]), tg.tensor([1.0, 2.0]))
    tensor(1., dtype=float64)
    """
    return _mean(_absolute(input, target))


def _squared(input: Any, target: Any) -> Statistics:
    return _summed("mse", input, target, lambda y, t: (y - t) ** 2)


def mse(input: Any, target: Any) -> Tensor:
    """The mean squared error, over all elements: mean (input - target)².

    Operands and errors as in :func:`mae`.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.mse(tg.tensor([1.0, 4.0]), tg.tensor([1.0, 2.0]))
    tensor(2., dtype=float64)
    """
    return _mean(_squared(input, target))


def _root(statistics: Statistics) -> Tensor:
    return _mean(statistics).sqrt()


def rmse(input: Any, target: Any) -> Tensor:
    """The root of the mean squared error, over all elements, as in Keras.

    (scikit-learn takes the root for each column, then the mean.) Operands and errors as in
    :func:`mae`.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.rmse(tg.tensor([1.0, 5.0]), tg.tensor([1.0, 1.0])).item() == 8**0.5
    True
    """
    return _root(_squared(input, target))


def _percent(input: Any, target: Any) -> Statistics:
    return _summed(
        "mape", input, target, lambda y, t: 100.0 * (y - t).abs() / t.abs().clip(min=1e-7)
    )


def mape(input: Any, target: Any) -> Tensor:
    """The mean absolute error in percent of the target: mean 100·|input - target| / |target|.

    As in Keras, |target| is at least 1e-7. (scikit-learn gives a hundredth of it.) Operands and
    errors as in :func:`mae`.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.mape(tg.tensor([110.0, 45.0]), tg.tensor([100.0, 50.0]))
    tensor(10., dtype=float64)
    """
    return _mean(_percent(input, target))


def _spread(input: Any, target: Any) -> Statistics:
    input, target = alike("r2", input, target)
    columns = target.reshape(-1, target.shape[-1]) if target.ndim > 1 else target.reshape(-1, 1)
    error = (input.reshape(columns.shape) - columns) ** 2
    count = len(columns)
    mean = columns.mean(dim=0) if count else columns.sum(dim=0)
    return {
        "count": tensor(count).double(),
        "mean": mean,
        "spread": ((columns - mean) ** 2).sum(dim=0),
        "error": error.sum(dim=0),
    }


def _together(parts: Sequence[Statistics]) -> Statistics:
    """Means and squared deviations from them, of several batches (Chan, Golub and LeVeque 1983)."""
    total = parts[0]
    for part in parts[1:]:
        if total["mean"].shape != part["mean"].shape:
            raise ValueError(
                f"the batches do not belong together: {len(total['mean'])} columns, now "
                f"{len(part['mean'])}"
            )
        count = total["count"] + part["count"]
        share = part["count"] / count.clip(min=1.0)
        apart = part["mean"] - total["mean"]
        total = {
            "count": count,
            "mean": total["mean"] + apart * share,
            "spread": total["spread"] + part["spread"] + apart**2 * total["count"] * share,
            "error": total["error"] + part["error"],
        }
    return total


def _determination(statistics: Statistics) -> Tensor:
    count, spread, error = (statistics[k] for k in ("count", "spread", "error"))
    not_empty("r2", count)
    if count < 2:
        warnings.warn("r2 of less than two samples is not defined", stacklevel=4)
        return as_tensor(nan, dtype="float64")
    # what rounding leaves of a column of equal numbers
    constant = spread <= (count * 2.0**-52 * statistics["mean"]) ** 2 * count
    explained = 1.0 - error / where(constant, 1.0, spread)
    return where(constant, (error == 0).double(), explained).mean()  # type: ignore[no-any-return]


def r2(input: Any, target: Any) -> Tensor:
    """The coefficient of determination, 1 - Σ(input - target)² / Σ(target - mean)².

    Of several columns (the last dimension) the mean of theirs. 1 is perfect, 0 as good as the mean
    of the targets. A column of equal targets gives 1 if it is predicted exactly, else 0, as in
    scikit-learn; less than two samples NaN, with a warning. Operands and errors as in :func:`mae`.

    >>> import tapegrad as tg
    >>> tg.nn.metrics.r2(tg.tensor([1.0, 2.0, 4.0]), tg.tensor([1.0, 2.0, 3.0]))
    tensor(0.5000, dtype=float64)

    Source: Wright (1921), Correlation and causation.
    """
    return _determination(_spread(input, target))


ROWS = (
    Row(
        mae,
        _absolute,
        _mean,
        ("mean_absolute_error",),
        "min",
        "numbers",
        peer="mean_absolute_error",
    ),
    Row(mse, _squared, _mean, ("mean_squared_error",), "min", "numbers", peer="mean_squared_error"),
    Row(
        rmse,
        _squared,
        _root,
        ("root_mean_squared_error",),
        "min",
        "numbers",
        peer="root_mean_squared_error",
    ),
    Row(
        mape,
        _percent,
        _mean,
        ("mean_absolute_percentage_error",),
        "min",
        "numbers",
        peer="mean_absolute_percentage_error",
    ),
    Row(r2, _spread, _determination, ("r2_score",), "max", "numbers", _together, "r2_score"),
)
