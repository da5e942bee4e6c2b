"""Losses of classification."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from tapegrad import (
    Tensor,
    as_tensor,
    broadcast_to,
    count_nonzero,
    log_clamped,
    log_softmax,
    rand,
    randint,
    randn,
    softmax,
    softplus,
    where,
)
from tapegrad.ops.picking import pick

from .base import Loss
from .checks import (
    floating,
    inside,
    is_number_zero,
    labels,
    matching,
    not_empty,
    reshape_hint,
    rows_add_up,
    same_shape,
    setting,
    tensors,
)
from .kinds import (
    BINARY,
    DISTRIBUTION,
    LABELS,
    LOG_DISTRIBUTION,
    LOGITS,
    PER_CLASS,
    POSITIVE,
    PROBABILITY,
    Kind,
)
from .reducing import reduce
from .table import Row

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
    the class dimension (integers), or probabilities of the shape of ``input`` (one-hot rows give
    what the indices give). ``weight``: one per class, (C,). ``ignore_index``: a target index that
    contributes nothing. ``label_smoothing``: the share of a uniform distribution mixed into q, in
    [0, 1]. With class indices the mean is over the weights of the targets, as torch's; if all
    are ignored that is 0/0, NaN, as torch's.

    Raises ValueError for shapes that do not fit, an empty batch, a label out of range or rows of
    probabilities that do not add up to 1; TypeError for targets that are neither.

    Class 1 with probability 0.8 costs -ln 0.8, however the class is told, and with 0.5 ln 2:

    >>> import tapegrad as tg
    >>> logits = tg.log(tg.tensor([[0.1, 0.8, 0.1]]))
    >>> round(tg.losses.cross_entropy(logits, tg.tensor([1])).item(), 6)
    0.223144
    >>> round(tg.losses.cross_entropy(logits, tg.tensor([[0.0, 1.0, 0.0]])).item(), 6)
    0.223144
    >>> logits = tg.log(tg.tensor([[0.3, 0.2, 0.5]]))
    >>> round(tg.losses.cross_entropy(logits, tg.tensor([2])).item(), 6)
    0.693147

    Source: Good (1952), Rational decisions; smoothing: Szegedy et al. (2016), Rethinking the
    Inception architecture.
    """
    what = "cross_entropy"
    input, target = tensors(what, input=input, target=target)
    not_empty(what, "input", input)
    dim = class_dim(what, input)
    classes = input.shape[dim]
    log_p = log_softmax(input, dim=dim)
    by_class = _by_class(what, weight, input, dim)
    smooth = not is_number_zero(label_smoothing)
    if smooth:
        setting(what, "label_smoothing", label_smoothing, ())
        inside(what, "label_smoothing", as_tensor(label_smoothing), 0.0, 1.0)
    if target.shape == input.shape or (target.is_floating_point() and target.ndim == input.ndim):
        what = "cross_entropy with probabilities"
        same_shape(what, "input", input, "target", target)
        floating(what, "target", target)
        rows_add_up("cross_entropy", "target", target, dim)
        q = target * (1.0 - label_smoothing) + label_smoothing / classes if smooth else target
        weighted = log_p if by_class is None else log_p * by_class
        return reduce(-(q * weighted).sum(dim=dim), reduction)
    index = class_indices(what, input, target, dim, ignore_index)
    loss, total = _of_targets(log_p, index, by_class, dim)
    if smooth:
        weighted = log_p if by_class is None else log_p * by_class
        uniform = where(index >= 0, -weighted.sum(dim=dim) / classes, 0.0)
        loss = loss * (1.0 - label_smoothing) + uniform * label_smoothing
    return reduce(loss, reduction, total=total)


def class_dim(what: str, input: Tensor) -> int:
    """The dimension of the classes: the first of (C,), else the second."""
    if not input.ndim:
        raise ValueError(f"{what}: input must have shape (C,), (N, C) or (N, C, d1, ...), not ()")
    return 1 if input.ndim > 1 else 0


def _by_class(what: str, weight: Any, input: Tensor, dim: int) -> Tensor | None:
    """Class weights in the shape that broadcasts to the input."""
    if weight is None:
        return None
    setting(what, "weight", weight)
    weight = as_tensor(weight)
    classes = input.shape[dim]
    if weight.shape != (classes,):
        raise ValueError(
            f"{what}: weight must hold one number for each of the {classes} classes, shape "
            f"({classes},), not {weight.shape}"
        )
    return weight.reshape((classes,) + (1,) * (input.ndim - dim - 1))


def class_indices(what: str, input: Tensor, target: Tensor, dim: int, ignore_index: int) -> Tensor:
    """Checked class indices; those to be ignored are negative, where ``pick`` gives 0."""
    if not isinstance(ignore_index, Integral):
        raise TypeError(f"{what}: ignore_index must be an integer, not {ignore_index!r}")
    expected = (*input.shape[:dim], *input.shape[dim + 1 :])
    if target.shape != expected:
        raise ValueError(
            f"{what}: an input of shape {input.shape}, with its classes along dimension {dim}, "
            f"takes class indices of shape {expected}"
            f"{f' (or probabilities of shape {input.shape})' if what == 'cross_entropy' else ''}"
            f", not {target.shape}.{reshape_hint('target', target, expected)}"
        )
    labels(what, "target", target, input.shape[dim], ignore_index)
    return target if ignore_index < 0 else where(target == ignore_index, -1, target)


def _of_targets(
    log_p: Tensor, index: Tensor, by_class: Tensor | None, dim: int
) -> tuple[Tensor, Tensor]:
    """The weighted losses of the targets, and what their mean is over: how many there are, or the
    sum of their classes' weights."""
    loss = -pick(log_p, index, axis=dim)
    if by_class is None:
        return loss, count_nonzero(index >= 0)
    weight = pick(broadcast_to(by_class, log_p.shape), index, axis=dim)
    return loss * weight, weight.sum()


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: -input[n, target[n]], ``input`` being log-probabilities.

    Shapes, settings and errors as in :func:`cross_entropy` with class indices.

    >>> import tapegrad as tg
    >>> log_p = tg.log(tg.tensor([[0.25, 0.75]]))
    >>> round(tg.losses.nll_loss(log_p, tg.tensor([1])).item(), 4)
    0.2877

    Source: Fisher (1922), On the mathematical foundations of theoretical statistics.
    """
    what = "nll_loss"
    input, target = tensors(what, input=input, target=target)
    not_empty(what, "input", input)
    dim = class_dim(what, input)
    by_class = _by_class(what, weight, input, dim)
    index = class_indices(what, input, target, dim, ignore_index)
    loss, total = _of_targets(input, index, by_class, dim)
    return reduce(loss, reduction, total=total)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Binary cross-entropy of probabilities: -[t·log p + (1-t)·log(1-p)].

    ``input``: probabilities p in [0, 1]; ``target``: t of the same shape, in [0, 1]; ``weight``:
    one factor, or factors that broadcast to them. Logarithms are clamped at -100 as torch's, so
    p=0 with t=1 costs 100, and their slopes at 1/1e-12. From a network's logits use
    :func:`binary_cross_entropy_with_logits`, which needs no clamping.

    Raises ValueError when the shapes differ, the batch is empty or a number is outside [0, 1].

    It is small where p is near t, and large for t=1 as p → 0 and for t=0 as p → 1:

    >>> import tapegrad as tg
    >>> p = tg.tensor([0.9, 0.1, 0.1, 0.9], dtype="float64")
    >>> t = tg.tensor([1.0, 1.0, 0.0, 0.0], dtype="float64")
    >>> loss = tg.losses.binary_cross_entropy(p, t, reduction="none")
    >>> [round(x, 6) for x in loss.tolist()]
    [0.105361, 2.302585, 0.105361, 2.302585]

    One layer with weights ½ and -½ sees x = [1, 2] and says σ(-½) where 0 was right:

    >>> p = tg.sigmoid(tg.tensor([-0.5]))
    >>> round(p.item(), 6), round(tg.losses.binary_cross_entropy(p, tg.zeros(1)).item(), 6)
    (0.377541, 0.474077)

    Source: Good (1952), Rational decisions.
    """
    input, target = matching("binary_cross_entropy", input=input, target=target)
    hint = "for logits use binary_cross_entropy_with_logits"
    inside("binary_cross_entropy", "input", input, 0.0, 1.0, hint)
    inside("binary_cross_entropy", "target", target, 0.0, 1.0)
    loss = -(target * log_clamped(input) + (1.0 - target) * log_clamped(1.0 - input))
    return reduce(loss, reduction, weight)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Binary cross-entropy of logits: softplus(z) - z·t, finite for any finite logit.

    ``input``: logits z; ``target``: t of the same shape, in [0, 1]; ``weight``: one factor, or
    factors that broadcast to them; ``pos_weight`` multiplies the positive term, one number or one
    for each column: pos_weight·t·softplus(-z) + (1-t)·softplus(z). That form has no difference of
    large numbers, so ``pos_weight=1.0`` keeps all digits of losses far below |z|·10⁻⁷, which
    the short one rounds to 0 (as torch's does, for t=0).

    Raises ValueError when the shapes differ, the batch is empty, a target is outside [0, 1] or a
    weight does not broadcast.

    >>> import tapegrad as tg
    >>> z = tg.tensor([1000.0, -1000.0])
    >>> tg.losses.binary_cross_entropy_with_logits(z, tg.tensor([1.0, 1.0]), reduction="none")
    tensor([   0., 1000.])

    Source: Good (1952), Rational decisions.
    """
    what = "binary_cross_entropy_with_logits"
    input, target = matching(what, input=input, target=target)
    inside(what, "target", target, 0.0, 1.0)
    if pos_weight is None:
        loss = softplus(input) - input * target
    else:
        setting(what, "pos_weight", pos_weight, input.shape)
        loss = pos_weight * target * softplus(-input) + (1.0 - target) * softplus(input)
    return reduce(loss, reduction, weight)


class CrossEntropyLoss(Loss):
    """:func:`cross_entropy` with its settings: logits in, no softmax before it.

    >>> import tapegrad as tg
    >>> tg.losses.CrossEntropyLoss()(tg.zeros(1, 2), tg.tensor([0]))
    tensor(0.6931)
    """

    function = staticmethod(cross_entropy)


class NLLLoss(Loss):
    """:func:`nll_loss` with its settings: log-probabilities in.

    >>> import tapegrad as tg
    >>> tg.losses.NLLLoss()(tg.tensor([[-0.5, -1.0]]), tg.tensor([0]))
    tensor(0.5000)
    """

    function = staticmethod(nll_loss)


class BCELoss(Loss):
    """:func:`binary_cross_entropy` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> tg.losses.BCELoss()(tg.tensor([0.5]), tg.tensor([1.0]))
    tensor(0.6931)
    """

    function = staticmethod(binary_cross_entropy)


class BCEWithLogitsLoss(Loss):
    """:func:`binary_cross_entropy_with_logits` with its settings: logits in.

    >>> import tapegrad as tg
    >>> tg.losses.BCEWithLogitsLoss()(tg.tensor([0.0]), tg.tensor([1.0]))
    tensor(0.6931)
    """

    function = staticmethod(binary_cross_entropy_with_logits)


#: Images of classes: logits and labels of shape (rows, columns, 2, 2).
MAPS = Kind(lambda n, c, g: randn(n, c, 2, 2, dtype="float64", generator=g))
LABEL_MAPS = Kind(lambda n, c, g: randint(0, c, (n, 2, 2), generator=g), None)
SOFT_MAPS = Kind(MAPS.draw, lambda x: softmax(x, dim=1))
#: Labels of which some are to be ignored.
SOME_LABELS = Kind(
    lambda n, c, g: where(rand(n, generator=g) < 0.4, -100, LABELS.draw(n, c, g)), None
)
#: Targets between 0 and 1.
TARGET = PROBABILITY

ROWS = (
    Row(
        cross_entropy,
        (LOGITS, LABELS),
        CrossEntropyLoss,
        names=("ce", "xent", "softmax_cross_entropy"),
        settings=({"label_smoothing": 0.2}, {"weight": PER_CLASS, "label_smoothing": 0.1}),
        peer="torch",
    ),
    Row(
        cross_entropy,
        (LOGITS, DISTRIBUTION),
        settings=({"label_smoothing": 0.2}, {"weight": PER_CLASS}),
        peer="torch",
        case="probabilities",
    ),
    Row(
        cross_entropy,
        (LOGITS, SOME_LABELS),
        settings=({"weight": PER_CLASS, "label_smoothing": 0.1}, {"reduction": "none"}),
        peer="torch",
        case="some ignored",
    ),
    Row(
        cross_entropy,
        (MAPS, LABEL_MAPS),
        settings=({"weight": PER_CLASS},),
        peer="torch",
        case="maps of labels",
    ),
    Row(
        cross_entropy,
        (MAPS, SOFT_MAPS),
        settings=({"weight": PER_CLASS},),
        peer="torch",
        case="maps of probabilities",
    ),
    Row(
        nll_loss,
        (LOG_DISTRIBUTION, LABELS),
        NLLLoss,
        names=("nll", "negative_log_likelihood"),
        settings=({"weight": PER_CLASS}, {"ignore_index": 1}),
        peer="torch",
    ),
    Row(
        binary_cross_entropy,
        (PROBABILITY, TARGET),
        BCELoss,
        settings=({"weight": POSITIVE},),
        peer="torch",
    ),
    Row(
        binary_cross_entropy_with_logits,
        (LOGITS, TARGET),
        BCEWithLogitsLoss,
        names=("bce_with_logits", "sigmoid_cross_entropy"),
        settings=({"pos_weight": PER_CLASS}, {"weight": POSITIVE}),
        peer="torch",
    ),
    Row(
        binary_cross_entropy_with_logits,
        (LOGITS, BINARY),
        settings=({"pos_weight": PER_CLASS},),
        peer="torch",
        case="hard targets",
    ),
)
