"""Losses for classes of very different frequency."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    arange,
    as_tensor,
    check,
    count_nonzero,
    exp,
    expm1,
    float64,
    get_default_dtype,
    inf,
    log_softmax,
    logsumexp,
    softplus,
    where,
)
from tapegrad.ops.picking import pick

from .base import Loss
from .checks import (
    first_bad,
    inside,
    matching,
    not_empty,
    rows_add_up,
    same_shape,
    setting,
    tensors,
)
from .classification import class_indices
from .kinds import BINARY, DISTRIBUTION, LABELS, LOGITS, PER_CLASS, POSITIVE, PROBABILITY
from .reducing import reduce
from .table import Row

__all__ = [
    "FocalLoss",
    "PolyLoss",
    "SoftmaxFocalLoss",
    "balanced_weights",
    "class_balanced_weights",
    "focal_loss",
    "poly_loss",
    "softmax_focal_loss",
]


def focal_loss(
    input: Tensor,
    target: Tensor,
    alpha: Any = 0.25,
    gamma: Any = 2.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Binary focal loss of logits: α_t·(1 - p_t)^γ·BCE, which passes over what is easy.

    ``input``: logits z, p = sigmoid(z); ``target``: t of the same shape, 0 or 1. p_t = p·t +
    (1-p)(1-t) is the probability of what is true, α_t = α·t + (1-α)(1-t). ``alpha``: in [0, 1],
    or None for no such factor; ``gamma``: 0 gives the cross-entropy. Both may be Tensors and have
    gradients. ``weight``: factors that broadcast to the elements. The formula is also taken for
    targets between 0 and 1, as torchvision's ``sigmoid_focal_loss`` takes it. Finite and exact
    for any logit.

    Raises ValueError when the shapes differ, the batch is empty, or a target or alpha is outside
    [0, 1].

    A sure and right answer costs nothing, a sure and wrong one its logit:

    >>> import tapegrad as tg
    >>> z, t = tg.tensor([1000.0, -1000.0, 0.0]), tg.ones(3)
    >>> tg.losses.focal_loss(z, t, alpha=None, reduction="none")
    tensor([0.0000e+00, 1.0000e+03, 1.7329e-01])

    Source: Lin et al. (2017), Focal loss for dense object detection.
    """
    input, target = matching("focal_loss", input=input, target=target)
    inside("focal_loss", "target", target, 0.0, 1.0)
    setting("focal_loss", "gamma", gamma, input.shape)
    loss = focal_terms(input, target, gamma)
    if alpha is not None:
        setting("focal_loss", "alpha", alpha, input.shape)
        inside("focal_loss", "alpha", as_tensor(alpha), 0.0, 1.0, "None is for no such factor")
        loss = loss * (alpha * target + (1.0 - alpha) * (1.0 - target))
    return reduce(loss, reduction, weight)


def focal_terms(input: Tensor, target: Tensor, gamma: Any) -> Tensor:
    """(1 - p_t)^γ·BCE of logits, for each element."""
    if_one, if_zero = softplus(-input), softplus(input)  # -log p and -log(1 - p)
    missed = target * exp(-if_zero) + (1.0 - target) * exp(-if_one)
    # No power of 0, which has no derivative: below this number the loss is 0 for all purposes,
    # and its powers down to -2 are still finite.
    least = 1e-130 if input.dtype == float64 else 1e-17
    return (missed + least) ** gamma * (target * if_one + (1.0 - target) * if_zero)


def softmax_focal_loss(
    input: Tensor,
    target: Tensor,
    alpha: Any = None,
    gamma: Any = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Focal loss of classes: -α_t·(1 - p_t)^γ·log p_t, p = softmax(input).

    ``input``: logits of shape (C,), (N, C) or (N, C, d1, ...), C at least 2; ``target``: class
    indices without the class dimension. ``alpha``: one number, one for each class (C,), or None;
    ``gamma``: 0 gives the cross-entropy. Both may be Tensors and have gradients.
    ``ignore_index``: a target index that contributes nothing; the mean is over the others, NaN
    (0/0) if there are none. Finite and exact for any logit.

    Raises ValueError for shapes that do not fit, an empty batch or a label out of range.

    >>> import tapegrad as tg
    >>> logits, labels = tg.tensor([[2.0, 0.0], [2.0, 0.0]]), tg.tensor([0, 1])
    >>> tg.losses.softmax_focal_loss(logits, labels, reduction="none")
    tensor([0.0018, 1.6501])

    Source: Lin et al. (2017), Focal loss for dense object detection.
    """
    input, target = tensors("softmax_focal_loss", input=input, target=target)
    not_empty("softmax_focal_loss", "input", input)
    dim = 1 if input.ndim > 1 else 0
    index = class_indices("softmax_focal_loss", input, target, dim, ignore_index)
    classes = input.shape[dim]
    if classes < 2:
        raise ValueError(
            f"softmax_focal_loss: input has shape {input.shape}, which is one class; "
            "focal_loss takes one logit for two"
        )
    each = arange(classes).reshape((classes,) + (1,) * (input.ndim - dim - 1))
    others = where(index.unsqueeze(dim) == each, -inf, input)
    # How far the logit is above all others together: p_t is its sigmoid.
    margin = pick(input, index, axis=dim) - logsumexp(others, dim=dim)
    setting("softmax_focal_loss", "gamma", gamma, index.shape)
    loss = exp(-(gamma * softplus(margin))) * softplus(-margin)
    counted = index >= 0
    if alpha is not None:
        loss = loss * _alpha_of(alpha, index, counted, classes)
    return reduce(loss, reduction, mask=counted)


def _alpha_of(alpha: Any, index: Tensor, counted: Tensor, classes: int) -> Any:
    """Each element's alpha: one for all, or that of its class."""
    setting("softmax_focal_loss", "alpha", alpha)
    if not getattr(alpha, "shape", ()):
        return alpha
    if alpha.shape != (classes,):
        raise ValueError(
            f"softmax_focal_loss: alpha must be one number, or one for each of the {classes} "
            f"classes, shape ({classes},), not {alpha.shape}"
        )
    return as_tensor(alpha)[where(counted, index, 0)]


def poly_loss(
    input: Tensor,
    target: Tensor,
    epsilon: Any = 1.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Poly-1 cross-entropy: -log p_t + ε·(1 - p_t), p = softmax(input).

    ``input``: logits of shape (C,), (N, C) or (N, C, d1, ...). ``target``: class indices without
    the class dimension, or probabilities q of the shape of ``input``, for which log p_t is
    Σ q·log p and p_t is Σ q·p. ``epsilon``: how much the first term of the cross-entropy's series
    in 1 - p_t is moved from its 1; may be a Tensor and has a gradient; 0 gives the cross-entropy.
    ``ignore_index``: a target index that contributes nothing; the mean is over the others, NaN
    (0/0) if there are none.

    Raises ValueError for shapes that do not fit, an empty batch, a label out of range or rows of
    probabilities that do not add up to 1.

    >>> import tapegrad as tg
    >>> tg.losses.poly_loss(tg.zeros(1, 2), tg.tensor([0]), epsilon=2.0)  # ln 2 + 2·½
    tensor(1.6931)

    Source: Leng et al. (2022), PolyLoss: a polynomial expansion perspective of classification
    loss functions.
    """
    input, target = tensors("poly_loss", input=input, target=target)
    not_empty("poly_loss", "input", input)
    dim = 1 if input.ndim > 1 else 0
    log_p = log_softmax(input, dim=dim)
    if target.is_floating_point() and target.ndim == input.ndim:
        same_shape("poly_loss with probabilities", "input", input, "target", target)
        rows_add_up("poly_loss", "target", target, dim)
        loss, missed = -(target * log_p).sum(dim=dim), -(target * expm1(log_p)).sum(dim=dim)
        total = None
    else:
        index = class_indices("poly_loss", input, target, dim, ignore_index)
        log_p = pick(log_p, index, axis=dim)  # 0 where it is ignored, and so is the loss
        loss, missed = -log_p, -expm1(log_p)
        total = count_nonzero(index >= 0)
    setting("poly_loss", "epsilon", epsilon, loss.shape)
    return reduce(loss + epsilon * missed, reduction, total=total)


def class_balanced_weights(counts: Tensor, beta: Any = 0.999) -> Tensor:
    """Weights of classes by their effective numbers: (1-β)/(1-βⁿ), scaled to add up to C.

    ``counts``: how many examples n each of the C classes has, shape (C,), at least 1. ``beta``:
    in [0, 1), may be a Tensor and has a gradient; 0 weighs all alike, and towards 1 the weights go
    to :func:`balanced_weights`'s proportions, 1/n. The result is what ``weight`` of
    :func:`cross_entropy` and ``alpha`` of :func:`softmax_focal_loss` take.

    Raises ValueError for a count below 1, beta outside [0, 1) or counts of another shape.

    >>> import tapegrad as tg
    >>> tg.losses.class_balanced_weights(tg.tensor([1000, 10]), beta=0.99)
    tensor([0.1746, 1.8254])

    Source: Cui et al. (2019), Class-balanced loss based on effective number of samples.
    """
    counts = _counts("class_balanced_weights", counts)
    setting("class_balanced_weights", "beta", beta, ())
    check(
        (beta >= 0.0) & (beta < 1.0),
        "class_balanced_weights: beta must be in [0, 1), not {}; for beta → 1, weights 1/n, use "
        "balanced_weights",
        beta,
    )
    # 1 - β stands above in every weight, so it falls out. Double, as β is often very close to 1.
    weights = 1.0 / (1.0 - beta ** counts.double())
    return (weights * (counts.shape[0] / weights.sum())).to(counts.dtype)


def balanced_weights(counts: Tensor) -> Tensor:
    """Weights of classes by inverse frequency: N/(C·n), N examples in C classes.

    ``counts``: how many examples n each class has, shape (C,), at least 1. The mean weight of an
    example is 1.

    Raises ValueError for a count below 1 or counts of another shape.

    >>> import tapegrad as tg
    >>> tg.losses.balanced_weights(tg.tensor([50, 1]))
    tensor([ 0.5100, 25.5000])

    Source: King and Zeng (2001), Logistic regression in rare events data.
    """
    counts = _counts("balanced_weights", counts)
    return counts.sum() / (counts.shape[0] * counts)


def _counts(what: str, counts: Any) -> Tensor:
    """Counts of classes, checked, as floating point."""
    counts = as_tensor(counts)
    if counts.ndim != 1 or not counts.shape[0]:
        raise ValueError(
            f"{what}: counts must hold one number for each class, shape (C,), not {counts.shape}"
        )
    check(
        counts >= 1,
        lambda counts: (
            f"{what}: a class must have 1 example or more, but of counts "
            f"{first_bad(counts >= 1, counts)}"
        ),
        counts,
    )
    return counts if counts.is_floating_point() else counts.to(get_default_dtype())


class FocalLoss(Loss):
    """:func:`focal_loss` with its settings: logits in.

    >>> import tapegrad as tg
    >>> tg.losses.FocalLoss(alpha=0.5, gamma=1.0)(tg.tensor([0.0]), tg.tensor([1.0]))  # ln(2)/4
    tensor(0.1733)
    """

    function = staticmethod(focal_loss)


class SoftmaxFocalLoss(Loss):
    """:func:`softmax_focal_loss` with its settings: logits and class indices in.

    >>> import tapegrad as tg
    >>> tg.losses.SoftmaxFocalLoss(gamma=1.0)(tg.zeros(1, 2), tg.tensor([0]))  # ln(2)/2
    tensor(0.3466)
    """

    function = staticmethod(softmax_focal_loss)


class PolyLoss(Loss):
    """:func:`poly_loss` with its settings: logits in.

    >>> import tapegrad as tg
    >>> tg.losses.PolyLoss(epsilon=0.0)(tg.zeros(1, 2), tg.tensor([0]))
    tensor(0.6931)
    """

    function = staticmethod(poly_loss)


ROWS = (
    Row(
        focal_loss,
        (LOGITS, BINARY),
        FocalLoss,
        names=("focal", "sigmoid_focal_loss", "binary_focal_loss"),
        settings=(
            {"alpha": 0.6, "gamma": 0.5},
            {"alpha": None, "gamma": 0.0},
            {"weight": POSITIVE},
        ),
    ),
    Row(
        focal_loss,
        (LOGITS, PROBABILITY),
        settings=({"alpha": 0.6, "gamma": 0.5},),
        case="soft targets",
    ),
    Row(
        softmax_focal_loss,
        (LOGITS, LABELS),
        SoftmaxFocalLoss,
        names=("softmax_focal", "multiclass_focal_loss", "categorical_focal_loss"),
        settings=({"alpha": PER_CLASS, "gamma": 0.5}, {"alpha": 0.3, "gamma": 0.0}),
    ),
    Row(
        poly_loss,
        (LOGITS, LABELS),
        PolyLoss,
        names=("poly", "poly1"),
        settings=({"epsilon": -0.5},),
    ),
    Row(poly_loss, (LOGITS, DISTRIBUTION), settings=({"epsilon": 2.0},), case="probabilities"),
)
