"""Features brought to mean 0 and standard deviation 1, by what the training data say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapegrad import Tensor, as_tensor, get_default_dtype, isfinite, stop_gradient, where

from .conversion import as_tensors, column_names

__all__ = ["Standardize", "standardise"]

_EPS = 2.0**-52  # of float64


class Standardize:
    """(x - mean) / std for each feature, with the mean and standard deviation of training data.

    ``dim``: the dimensions over which a feature is measured: 0, the samples, so that each column
    (each pixel) is a feature; (0, 2, 3) makes each channel of (N, C, H, W) one. The standard
    deviation is that of the data themselves (divided by N, not N - 1). A constant feature becomes
    0: its standard deviation is taken to be 1.

    Fit it on the training part alone: what the test part would tell the mean is not known when the
    model is used. Arrays come back as arrays, all else as tensors; float32 and float64 stay what
    they are, integers become the default floating dtype. Differentiable by ``x``.

    Raises RuntimeError before :meth:`fit`; ValueError when features are of another number, or a
    frame's columns have other names, than those fitted; for nothing, or numbers that are not
    finite, in what is fitted.

    >>> import tapegrad as tg
    >>> scale = tg.nn.data.Standardize()
    >>> scale.fit_transform(tg.tensor([[1.0, 5.0], [3.0, 5.0]]))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    >>> scale(tg.tensor([[2.0, 6.0]]))
    tensor([[0., 1.]])
    >>> scale.inverse(tg.tensor([[0.0, 1.0]]))
    tensor([[2., 6.]])
    """

    def __init__(self, dim: int | Iterable[int] = 0) -> None:
        self.dim: tuple[int, ...] = (dim,) if isinstance(dim, int) else tuple(dim)
        self.mean: Tensor | None = None
        self.std: Tensor | None = None
        self.columns: list[str] | None = None

    def fit(self, x: Any) -> Standardize:
        """Measure the features of training data; what was measured before is forgotten."""
        values = as_tensors(x, name="x")
        if not isinstance(values, Tensor):
            raise TypeError(
                "Standardize: fit takes one tensor, array or frame; of a dataset take the inputs, "
                "such as nn.data.as_tensors(train)[0]"
            )
        columns = column_names(x)
        if 0 in values.shape or not values.shape:
            raise ValueError(f"Standardize: there is nothing to measure in shape {values.shape}")
        # what the data say is no function of the parameters; in float64, where sums are exact
        values = stop_gradient(values).double()
        bad = (~isfinite(values)).nonzero()
        if len(bad):
            where_ = bad[0].tolist()
            column = f" (column {columns[where_[1]]!r})" if columns else ""
            raise ValueError(
                f"Standardize: entry {where_}{column} is {values[tuple(where_)].item()}, so that "
                "there is no mean: fill in or drop what is not finite"
            )
        mean = values.mean(dim=self.dim, keepdim=True)
        deviation = values - mean
        # the second term takes out what rounding left in the mean (Chan, Golub and LeVeque 1983)
        variance = (deviation * deviation).mean(dim=self.dim, keepdim=True)
        variance = variance - deviation.mean(dim=self.dim, keepdim=True) ** 2
        # below this a difference is rounding, as scikit-learn's StandardScaler has it
        count = values.numel() / mean.numel()
        rounding = count * _EPS * variance + (count * mean * _EPS) ** 2
        self.mean = mean
        self.std = where(variance <= rounding, 1.0, variance.clip(min=0.0).sqrt())
        self.columns = columns
        return self

    def transform(self, x: Any) -> Any:
        """(x - mean) / std."""
        return self._apply(x, "transform", lambda x, mean, std: (x - mean) / std)

    __call__ = transform

    def fit_transform(self, x: Any) -> Any:
        """:meth:`fit`, then :meth:`transform` of the same data."""
        return self.fit(x).transform(x)

    def inverse(self, x: Any) -> Any:
        """x · std + mean: what :meth:`transform` was given, such as a prediction in its units."""
        return self._apply(x, "inverse", lambda x, mean, std: x * std + mean)

    def _apply(self, x: Any, what: str, formula: Any) -> Any:
        if self.mean is None or self.std is None:
            raise RuntimeError(
                f"Standardize: {what} before fit: call fit(x) with the training data first"
            )
        self._same_columns(column_names(x))
        values = as_tensors(x, name="x")
        shape, expected = values.shape, self._expected()
        if len(shape) != len(expected) or any(
            n not in ("N", m) for m, n in zip(shape, expected, strict=True)
        ):
            hint = "; x.unsqueeze(0) makes a batch of one" if len(shape) < len(expected) else ""
            raise ValueError(
                f"Standardize: fitted on shape {_written(expected)}, got {shape}{hint}"
            )
        kind = values.dtype if values.dtype.kind == "f" else get_default_dtype()
        result = formula(values.double(), self.mean, self.std).to(kind)
        # arrays come back as arrays
        return result.numpy() if _is_array(x) else result

    def _same_columns(self, columns: list[str] | None) -> None:
        if columns is None or self.columns is None or columns == self.columns:
            return
        lacking = [c for c in self.columns if c not in columns]
        new = [c for c in columns if c not in self.columns]
        if lacking or new:
            wrong = [f"lacks {', '.join(map(repr, lacking))}"] if lacking else []
            wrong += [f"has {', '.join(map(repr, new))} besides"] if new else []
            raise ValueError(f"Standardize: of the columns fitted, the frame {' and '.join(wrong)}")
        raise ValueError(
            f"Standardize: the columns come in another order, {columns}, than those fitted; "
            f"take frame[{self.columns}]"
        )

    def state_dict(self) -> dict[str, Any]:
        """What was measured, for :func:`tapegrad.save`."""
        return {"dim": self.dim, "mean": self.mean, "std": self.std, "columns": self.columns}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what another one measured; ValueError when it is no such state."""
        missing = [k for k in ("dim", "mean", "std", "columns") if k not in state_dict]
        if missing:
            raise ValueError(f"Standardize: the state lacks {', '.join(map(repr, missing))}")
        mean, std = (
            None if state_dict[k] is None else as_tensor(state_dict[k]).double()
            for k in ("mean", "std")
        )
        if (mean is None) != (std is None) or (mean is not None and mean.shape != std.shape):  # type: ignore[union-attr]
            raise ValueError("Standardize: the state's mean and std do not belong together")
        self.dim, self.columns = tuple(state_dict["dim"]), state_dict["columns"]
        self.mean, self.std = mean, std

    def __repr__(self) -> str:
        shape = "not fitted" if self.mean is None else f"fitted on {_written(self._expected())}"
        return f"Standardize(dim={self.dim[0] if len(self.dim) == 1 else self.dim}, {shape})"

    def _expected(self) -> tuple[Any, ...]:
        assert self.mean is not None
        n = self.mean.ndim
        measured = {d % n for d in self.dim}
        return tuple("N" if d in measured else self.mean.shape[d] for d in range(n))


def _written(shape: tuple[Any, ...]) -> str:
    inner = ", ".join(map(str, shape))
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def _is_array(x: Any) -> bool:
    return type(x).__module__ == "numpy" and hasattr(x, "shape")


def standardise(train: Any, *others: Any, dim: int | Iterable[int] = 0) -> Any:
    """Training data brought to mean 0 and standard deviation 1, and others by the same numbers.

    Returns the training data, or a tuple of it and the others, as :class:`Standardize` does, which
    has the numbers and the way back.

    >>> import tapegrad as tg
    >>> train, test = tg.nn.data.standardise(tg.tensor([[0.0], [2.0]]), tg.tensor([[3.0]]))
    >>> train.tolist(), test.tolist()
    ([[-1.0], [1.0]], [[2.0]])
    """
    scale = Standardize(dim).fit(train)
    results = tuple(scale.transform(x) for x in (train, *others))
    return results if others else results[0]
