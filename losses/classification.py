"""Losses of classification."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    check,
    gather,
    log_clamped,
    log_softmax,
    logical_and,
    logical_or,
    softplus,
    where,
)

from .reducing import Loss, is_number_zero, not_empty, reduce, same_shape, tensors

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "NLLLoss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "nll_loss",
]


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: Any = 0.0,
) -> Tensor:
    """Cross-entropy of logits: -Σ_c q_c log softmax(input)_c.

    ``input``: logits of shape (C,), (N, C) or (N, C, d1, ...). ``target``: class indices without
    the class dimension (integers), or probabilities of the shape of ``input``. ``weight``: one
    per class, (C,). ``ignore_index``: a target index that contributes nothing.
    ``label_smoothing``: the share of a uniform distribution mixed into q; may be a Tensor. With
    class indices the mean is over the weights of the targets, as torch's; all targets ignored
    give NaN, as torch's.

    Raises ValueError for shapes that do not fit, an empty batch, or a label out of range.

    >>> import tapegrad as tg
    >>> logits = tg.log(tg.tensor([[0.1, 0.8, 0.1]]))
    >>> round(tg.losses.cross_entropy(logits, tg.tensor([1])).item(), 6)
    0.223144

    Source: Good (1952); smoothing: Szegedy et al. (2016).
    """
    input, target = tensors(input, target, "cross_entropy")
    not_empty(input, "cross_entropy")
    dim = 1 if input.ndim > 1 else 0
    classes = input.shape[dim]
    log_p = log_softmax(input, dim=dim)
    across = [1] * input.ndim
    across[dim] = classes
    per_class = 1.0 if weight is None else weight.reshape(across)
    if target.is_floating_point():
        same_shape(input, target, "cross_entropy with probability targets")
        q = target * (1.0 - label_smoothing) + label_smoothing / classes
        loss = -(q * log_p * per_class).sum(dim=dim)
        return reduce(loss, reduction)
    index, ignored = _class_indices(input, target, dim, ignore_index, "cross_entropy")
    weighted = log_p if weight is None else log_p * per_class
    loss = -gather(weighted, dim, index).squeeze(dim)
    if not is_number_zero(label_smoothing):
        smooth = -weighted.sum(dim=dim) / classes
        loss = loss * (1.0 - label_smoothing) + smooth * label_smoothing
    share = ~ignored if weight is None else where(ignored, 0.0, weight[index.squeeze(dim)])
    return reduce(where(ignored, 0.0, loss), reduction, total=share.sum())


def _class_indices(
    input: Tensor, target: Tensor, dim: int, ignore_index: int, what: str
) -> tuple[Tensor, Tensor]:
    """Checked class indices with the class dimension put back, and where to ignore them."""
    expected = (*input.shape[:dim], *input.shape[dim + 1 :])
    if target.shape != expected:
        raise ValueError(
            f"{what}: logits of shape {input.shape} take class indices of shape {expected} "
            f"(or probabilities of shape {input.shape}), not {target.shape}"
        )
    classes = input.shape[dim]
    ignored = target == ignore_index
    check(
        logical_or(ignored, logical_and(target >= 0, target < classes)),
        f"{what}: a label is outside 0 … {classes - 1} and not ignore_index={ignore_index}",
    )
    index = where(ignored, 0, target).unsqueeze(dim)
    return index, ignored


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: -input[n, target[n]], ``input`` being log-probabilities.

    Shapes and settings as in :func:`cross_entropy` with class indices.

    >>> import tapegrad as tg
    >>> log_p = tg.log(tg.tensor([[0.25, 0.75]]))
    >>> round(tg.losses.nll_loss(log_p, tg.tensor([1])).item(), 4)
    0.2877
    """
    input, target = tensors(input, target, "nll_loss")
    not_empty(input, "nll_loss")
    dim = 1 if input.ndim > 1 else 0
    index, ignored = _class_indices(input, target, dim, ignore_index, "nll_loss")
    loss = -gather(input, dim, index).squeeze(dim)
    share = ~ignored
    if weight is not None:
        share = where(ignored, 0.0, weight[index.squeeze(dim)])
        loss = loss * share
    return reduce(where(ignored, 0.0, loss), reduction, total=share.sum())


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Binary cross-entropy of probabilities: -[t·log p + (1-t)·log(1-p)].

    ``input``: probabilities in [0, 1]; ``target``: of the same shape, in [0, 1]. Logarithms are
    clamped at -100 as torch's, so p=0 with t=1 costs 100. ValueError when the shapes differ or a
    probability is outside [0, 1]. From a network's logits use
    :func:`binary_cross_entropy_with_logits`, which is exact everywhere.

    >>> import tapegrad as tg
    >>> loss = tg.losses.binary_cross_entropy
    >>> round(loss(tg.tensor([0.9]), tg.tensor([1.0])).item(), 6)
    0.105361
    >>> round(loss(tg.tensor([0.1]), tg.tensor([1.0])).item(), 5)
    2.30259
    """
    input, target = tensors(input, target, "binary_cross_entropy")
    same_shape(input, target, "binary_cross_entropy")
    check(
        logical_and(input >= 0, input <= 1),
        "binary_cross_entropy: input must be probabilities in [0, 1]; for logits use "
        "binary_cross_entropy_with_logits",
    )
    loss = -(target * log_clamped(input) + (1.0 - target) * log_clamped(1.0 - input))
    return reduce(loss, reduction, weight)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Binary cross-entropy of logits: softplus(z) - z·t, finite and exact for any logit.

    ``input``: logits z; ``target``: of the same shape, in [0, 1]; ``pos_weight`` multiplies the
    positive term: pos_weight·t·softplus(-z) + (1-t)·softplus(z).

    >>> import tapegrad as tg
    >>> z = tg.tensor([1000.0, -1000.0])
    >>> tg.losses.binary_cross_entropy_with_logits(z, tg.tensor([1.0, 1.0]), reduction="none")
    tensor([   0., 1000.])
    """
    input, target = tensors(input, target, "binary_cross_entropy_with_logits")
    same_shape(input, target, "binary_cross_entropy_with_logits")
    positive = 1.0 if pos_weight is None else pos_weight
    loss = positive * target * softplus(-input) + (1.0 - target) * softplus(input)
    return reduce(loss, reduction, weight)


class CrossEntropyLoss(Loss):
    """:func:`cross_entropy` with its settings: logits in, no softmax before it.

    >>> import tapegrad as tg
    >>> tg.losses.CrossEntropyLoss()(tg.zeros(1, 2), tg.tensor([0]))
    tensor(0.6931)
    """

    function = staticmethod(cross_entropy)

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: Any = 0.0,
    ) -> None:
        super().__init__(
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )


class NLLLoss(Loss):
    """:func:`nll_loss` with its settings: log-probabilities in.

    >>> import tapegrad as tg
    >>> tg.losses.NLLLoss()(tg.tensor([[-0.5, -1.0]]), tg.tensor([0]))
    tensor(0.5000)
    """

    function = staticmethod(nll_loss)

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)


class BCELoss(Loss):
    """:func:`binary_cross_entropy` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> tg.losses.BCELoss()(tg.tensor([0.5]), tg.tensor([1.0]))
    tensor(0.6931)
    """

    function = staticmethod(binary_cross_entropy)

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(weight=weight, reduction=reduction)


class BCEWithLogitsLoss(Loss):
    """:func:`binary_cross_entropy_with_logits` with its settings: logits in.

    >>> import tapegrad as tg
    >>> tg.losses.BCEWithLogitsLoss()(tg.tensor([0.0]), tg.tensor([1.0]))
    tensor(0.6931)
    """

    function = staticmethod(binary_cross_entropy_with_logits)

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(weight=weight, reduction=reduction, pos_weight=pos_weight)
