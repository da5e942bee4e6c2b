"""Predictions and labels in whichever shapes they come, as classes that can be compared."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, argmax, as_tensor, check, logit, movedim, stop_gradient
from tapegrad.losses.checks import inside
from tapegrad.ops.engine import all_between


def operands(what: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors off the tape; a last dimension of 1 that only one has, or both, is gone."""
    found = []
    for name, value in (("input", input), ("target", target)):
        if not isinstance(value, Tensor):
            try:
                value = as_tensor(value)
            except (TypeError, ValueError) as error:
                raise TypeError(f"{what}: {name} must be a tensor or an array: {error}") from None
        # a metric is a number for a report: nothing is learned from its derivative
        found.append(stop_gradient(value))
    input, target = found
    if input.ndim == target.ndim == 2 and input.shape[1:] == target.shape[1:] == (1,):
        return input.squeeze(-1), target.squeeze(-1)
    if input.ndim == 2 and target.ndim == 1 and input.shape[1] == 1:
        return input.squeeze(-1), target
    if target.ndim == input.ndim and target.ndim > 1 and target.shape[-1] == 1:
        if input.shape[-1] != 1:
            return input, target.squeeze(-1)
    if target.ndim == 2 and input.ndim == 1 and target.shape[1] == 1:
        return input, target.squeeze(-1)
    return input, target


def alike(what: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape, in float64."""
    input, target = operands(what, input, target)
    same_shape(what, input, target)
    return input.double(), target.double()


def same_shape(what: str, input: Tensor, target: Tensor) -> None:
    """Refuse shapes that differ: (N,) against (N, 2) would compare every pair."""
    if input.shape != target.shape:
        raise ValueError(
            f"{what}: input has shape {input.shape} but target has shape {target.shape}"
        )


def not_empty(what: str, count: Tensor) -> None:
    """Refuse to say something of no samples."""
    if not count:
        raise ValueError(f"{what}: there are no samples")


def class_dim(what: str, input: Tensor, target: Tensor, dim: int | None) -> int:
    """Which dimension of the scores is that of the classes, where the target has one less.

    Without ``dim`` the one that the shapes tell: the last, or 1 as in PyTorch's losses.
    """
    shape, n = input.shape, input.ndim
    fitting = [
        d for d in dict.fromkeys((1, n - 1)) if d < n and shape[:d] + shape[d + 1 :] == target.shape
    ]
    if dim is not None:
        if not -n <= dim < n:
            raise ValueError(f"{what}: there is no dimension {dim} in scores of shape {shape}")
        d = dim % n
        if shape[:d] + shape[d + 1 :] != target.shape:
            raise ValueError(
                f"{what}: scores of shape {shape} with their classes along dimension {dim} need "
                f"targets of shape {shape[:d] + shape[d + 1 :]}, not {target.shape}"
            )
        return d
    if n == 1 and not target.ndim:
        return 0  # one sample, without a batch
    if not fitting:
        raise ValueError(
            f"{what}: scores of shape {shape} and targets of shape {target.shape} do not fit: "
            "targets are class indices (one for each row of scores), or of the scores' own shape"
        )
    if len(fitting) > 1:
        raise ValueError(
            f"{what}: in scores of shape {shape} the classes may be dimension 1 or the last: say "
            "dim=1 or dim=-1"
        )
    return fitting[0]


def last_classes(
    what: str, input: Tensor, target: Tensor, dim: int | None, ignore_index: int | None
) -> tuple[Tensor, Tensor]:
    """Scores (n, C) and class indices (n,) of all positions that count."""
    scores = movedim(input, class_dim(what, input, target, dim), -1)
    scores, indices = scores.reshape(-1, scores.shape[-1]), whole(what, target).reshape(-1)
    if ignore_index is not None:
        counts = indices != ignore_index
        scores, indices = scores[counts], indices[counts]
    in_range(what, indices, scores.shape[-1])
    return scores, indices


def whole(what: str, target: Tensor) -> Tensor:
    """Class indices as integers; floating ones that are whole are taken."""
    if target.dtype.kind != "f":
        return target.long()
    rounded = target.round()
    check(
        (rounded == target).all(),
        f"{what}: targets are class indices, whole numbers, not all of these are",
    )
    return rounded.long()


def in_range(what: str, indices: Tensor, classes: int | None = None) -> None:
    """Check that class indices are not negative, and less than the number of classes."""
    high = classes - 1 if classes is not None else 2**62
    upto = f" to {high}" if classes is not None else " on"
    check(
        all_between(indices, low=0, high=high),
        f"{what}: class indices go from 0{upto}, and a label is outside of that",
    )


def decided(what: str, input: Tensor, threshold: float, from_logits: bool) -> Tensor:
    """Which probabilities (or logits) are above a threshold, which is one for probabilities.

    A threshold that is not between 0 and 1 is one for other scores, which may be any.
    """
    if not from_logits and 0.0 < threshold < 1.0:
        inside(what, "input", input, 0.0, 1.0, "say from_logits=True where these are logits")
    return input > (logit(as_tensor(threshold, dtype="float64")) if from_logits else threshold)


def zeros_and_ones(what: str, target: Tensor) -> Tensor:
    """Binary labels as integers."""
    if target.dtype.kind == "b":
        return target.long()
    check(
        ((target == 0) | (target == 1)).all(),
        f"{what}: targets of the scores' own shape are 0 or 1, not all of these are",
    )
    return target.long()


def top(scores: Tensor, dim: int = -1) -> Tensor:
    """The class of the largest score; of equal ones the first."""
    return argmax(scores, dim=dim)  # type: ignore[no-any-return]
