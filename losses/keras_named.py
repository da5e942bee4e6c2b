"""Keras's losses that PyTorch does not have, or has in another form.

Called as ``(input, target)`` like every loss here, where Keras says ``(y_true, y_pred)``. A loss of
a sample is the mean or sum over its last dimension; ``reduction="none"``, one loss for each
sample, is what Keras's functions of these names return. "sum_over_batch_size" is the mean.

As in Keras, probabilities are brought into [1e-7, 1 - 1e-7] before a logarithm is taken, and
outside of it the derivative is 0. With ``from_logits=True`` nothing is cut off.
"""

from __future__ import annotations

from numbers import Integral
from types import NoneType
from typing import Any

from tapegrad import (
    Tensor,
    arange,
    as_tensor,
    check,
    clip,
    count_nonzero,
    expm1,
    eye,
    inf,
    log,
    log_softmax,
    logical_not,
    logsumexp,
    maximum,
    randint,
    randn,
    softplus,
    where,
)
from tapegrad import cosine_similarity as cosine
from tapegrad.functions.dims import one_dim
from tapegrad.functions.distances import normalize
from tapegrad.ops.picking import pick

from .base import Loss
from .checks import (
    dimensions,
    first_bad,
    floating,
    inside,
    integers,
    is_number_zero,
    labels,
    matching,
    not_empty,
    setting,
    tensors,
)
from .focal import focal_terms
from .keras_elementwise import reduce_samples
from .kinds import BINARY, DISTRIBUTION, LABELS, LOGITS, POSITIVE, PROBABILITY, REAL, Kind
from .table import Row

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "Circle",
    "CosineSimilarity",
    "KLDivergence",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "circle",
    "cosine_similarity",
    "kl_divergence",
    "poisson",
    "sparse_categorical_crossentropy",
]

#: Keras's epsilon.
EPSILON = 1e-7


def binary_crossentropy(
    input: Tensor,
    target: Tensor,
    from_logits: bool = False,
    label_smoothing: Any = 0.0,
    axis: int = -1,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
) -> Tensor:
    """Binary cross-entropy: mean over ``axis`` of -[t·log p + (1-t)·log(1-p)].

    ``input``: probabilities p, or logits with ``from_logits=True``; ``target``: t of the same
    shape, in [0, 1]. ``label_smoothing``: how far targets are moved towards ½, in [0, 1]; may be a
    Tensor and has a gradient. ``weight``: one factor for each sample (Keras's ``sample_weight``);
    the mean is over the number of samples all the same.

    Probabilities are cut off as Keras does it (1e-7 from 0 and 1, derivative 0 beyond), so that
    p = 0 with t = 1 costs 16.118; and so, unnoticed, are logits given without ``from_logits``.

    Raises ValueError when the shapes differ, the batch is empty or a target is outside [0, 1].

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([[0.9], [0.1], [0.0]]), tg.ones(3, 1)
    >>> tg.losses.binary_crossentropy(p, t, reduction="none")
    tensor([ 0.1054,  2.3026, 16.1181])

    Source: Good (1952), Rational decisions; as in Keras.
    """
    what = "binary_crossentropy"
    input, target = matching(what, input=input, target=target)
    inside(what, "target", target, 0.0, 1.0)
    target = _smoothed(what, target, label_smoothing, 2)
    if from_logits:
        # without a difference of large numbers, which would lose the digits of small losses
        loss = target * softplus(-input) + (1.0 - target) * softplus(input)
    else:
        loss = _binary(_cut(input), target)
    return reduce_samples(what, loss.mean(dim=axis), reduction, weight)


def categorical_crossentropy(
    input: Tensor,
    target: Tensor,
    from_logits: bool = False,
    label_smoothing: Any = 0.0,
    axis: int = -1,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
) -> Tensor:
    """Cross-entropy of classes: -Σ t·log p over the classes, which lie along ``axis``.

    ``input``: probabilities p, or logits with ``from_logits=True``; ``target``: t of the same
    shape, one-hot or soft. ``label_smoothing``: the share of a uniform distribution mixed into t,
    in [0, 1]; may be a Tensor and has a gradient. ``weight`` as in :func:`binary_crossentropy`.

    Probabilities are divided by their sum and cut off at 1e-7 and 1 - 1e-7, as Keras does it.

    Raises ValueError when the shapes differ, the batch is empty, a target is outside [0, 1] or the
    probabilities of a sample do not have a positive sum.

    >>> import tapegrad as tg
    >>> loss = tg.losses.categorical_crossentropy
    >>> round(loss(tg.tensor([[0.1, 0.8, 0.1]]), tg.tensor([[0.0, 1.0, 0.0]])).item(), 6)
    0.223144

    [0, 0, 1] and [.3, .2, .5] are ln 2 apart (log10 2, the 0.30103 that some print, is another
    unit):

    >>> round(loss(tg.tensor([[0.3, 0.2, 0.5]]), tg.tensor([[0.0, 0.0, 1.0]])).item(), 6)
    0.693147

    Source: Good (1952), Rational decisions; as in Keras.
    """
    what = "categorical_crossentropy"
    input, target = matching(what, input=input, target=target)
    dim = _classes(what, input, axis)
    inside(what, "target", target, 0.0, 1.0)
    target = _smoothed(what, target, label_smoothing, input.shape[dim])
    if from_logits:
        log_p = log_softmax(input, dim=dim)
    else:
        log_p = log(_cut(input / _total(what, input, dim)))
    return reduce_samples(what, -(target * log_p).sum(dim=dim), reduction, weight)


def sparse_categorical_crossentropy(
    input: Tensor,
    target: Tensor,
    from_logits: bool = False,
    ignore_class: int | None = None,
    reduction: str = "sum_over_batch_size",
    axis: int = -1,
    weight: Any = None,
) -> Tensor:
    """Cross-entropy of class indices: -log p[target], the classes lying along ``axis``.

    ``input``: probabilities, or logits with ``from_logits=True``; ``target``: class indices of the
    shape of ``input`` without the classes, or with 1 in their place: (N,) or (N, 1) for (N, C).
    ``ignore_class``: a label whose samples cost nothing and do not count in the mean; if all are
    ignored the mean is 0, as Keras's. ``weight`` as in :func:`binary_crossentropy`.

    Probabilities are divided by their sum and cut off at 1e-7 and 1 - 1e-7, as Keras does it.

    Raises ValueError for shapes that do not fit, an empty batch, a label out of range or a sample
    whose probabilities do not have a positive sum; TypeError for labels that are not integers.

    >>> import tapegrad as tg
    >>> p = tg.tensor([[0.1, 0.8, 0.1], [0.3, 0.2, 0.5]])
    >>> tg.losses.sparse_categorical_crossentropy(p, tg.tensor([1, 2]), reduction="none")
    tensor([0.2231, 0.6931])

    Source: Good (1952), Rational decisions; as in Keras.
    """
    what = "sparse_categorical_crossentropy"
    input, target = tensors(what, input=input, target=target)
    not_empty(what, "input", input)
    dim = _classes(what, input, axis)
    index = _indices(what, input, target, dim, ignore_class)
    counted = None if ignore_class is None else index >= 0
    if from_logits:
        loss = -pick(log_softmax(input, dim=dim), index, axis=dim)
    else:
        total = _total(what, input, dim, counted).squeeze(dim)
        loss = -log(_cut(pick(input, index, axis=dim) / total))
    if counted is None:
        return reduce_samples(what, loss, reduction, weight)
    total = clip(count_nonzero(counted), 1)
    return reduce_samples(what, where(counted, loss, 0.0), reduction, weight, total)


def kl_divergence(
    input: Tensor,
    target: Tensor,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
) -> Tensor:
    """Kullback-Leibler divergence: Σ t·log(t/p) over the last dimension.

    ``input``: probabilities p; ``target``: probabilities t of the same shape; both are brought
    into [1e-7, 1] first, as Keras does it, and have derivative 0 outside. ``weight`` as in
    :func:`binary_crossentropy`. :func:`kl_div` is PyTorch's, of log-probabilities.

    Raises ValueError when the shapes differ or the batch is empty.

    >>> import tapegrad as tg
    >>> tg.losses.kl_divergence(tg.tensor([[0.5, 0.5]]), tg.tensor([[0.25, 0.75]]))
    tensor(0.1308)

    Source: Kullback and Leibler (1951), On information and sufficiency; as in Keras.
    """
    input, target = matching("kl_divergence", input=input, target=target)
    floating("kl_divergence", "target", target)
    p, t = clip(input, EPSILON, 1.0), clip(target, EPSILON, 1.0)
    return reduce_samples("kl_divergence", (t * log(t / p)).sum(dim=-1), reduction, weight)


def poisson(
    input: Tensor,
    target: Tensor,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
) -> Tensor:
    """Poisson loss: mean over the last dimension of input - target·log(input + 1e-7).

    ``input``: expected counts, 0 or more; ``target``: counts of the same shape. ``weight`` as in
    :func:`binary_crossentropy`. :func:`poisson_nll_loss` is PyTorch's, with logarithms by default.

    Raises ValueError when the shapes differ, the batch is empty or a number is negative.

    >>> import tapegrad as tg
    >>> tg.losses.poisson(tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0, 0.0]]))
    tensor(1.5000)

    Source: Nelder and Wedderburn (1972), Generalized linear models; as in Keras.
    """
    input, target = matching("poisson", input=input, target=target)
    inside("poisson", "input", input, 0.0, inf, "these are expected counts")
    inside("poisson", "target", target, 0.0, inf, "these are counts")
    loss = (input - target * log(input + EPSILON)).mean(dim=-1)
    return reduce_samples("poisson", loss, reduction, weight)


def cosine_similarity(
    input: Tensor,
    target: Tensor,
    axis: int = -1,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
) -> Tensor:
    """Minus the cosine of the angle between vectors: -Σ u·v along ``axis``, u and v of length 1.

    ``input``, ``target``: vectors, the same shape; shorter than 1e-7 they are divided by 1e-7. -1
    is the same direction, 1 the opposite one. ``weight`` as in :func:`binary_crossentropy`.
    :func:`tapegrad.cosine_similarity` is PyTorch's, without the minus.

    Raises ValueError when the shapes differ or the batch is empty.

    >>> import tapegrad as tg
    >>> a, b = tg.tensor([[1.0, 1.0], [0.0, 2.0]]), tg.tensor([[3.0, 3.0], [1.0, 0.0]])
    >>> tg.losses.cosine_similarity(a, b, reduction="none")
    tensor([-1., -0.])

    Source: Salton (1971), The SMART retrieval system; as in Keras.
    """
    input, target = matching("cosine_similarity", input=input, target=target)
    loss = -cosine(input, target, dim=axis, eps=EPSILON)
    return reduce_samples("cosine_similarity", loss, reduction, weight)


def binary_focal_crossentropy(
    input: Tensor,
    target: Tensor,
    apply_class_balancing: bool = False,
    alpha: Any = 0.25,
    gamma: Any = 2.0,
    from_logits: bool = False,
    label_smoothing: Any = 0.0,
    axis: int = -1,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
) -> Tensor:
    """Binary focal cross-entropy: mean over ``axis`` of (1 - p_t)^γ·BCE, p_t = p·t + (1-p)(1-t).

    ``apply_class_balancing=True`` multiplies by α for t = 1 and by 1 - α for t = 0. ``alpha``, in
    [0, 1], and ``gamma`` may be Tensors and have gradients. The other arguments, and errors, are
    those of :func:`binary_crossentropy`. From logits it is :func:`focal_loss`, exact everywhere.

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([[0.9], [0.1]]), tg.ones(2, 1)
    >>> tg.losses.binary_focal_crossentropy(p, t, reduction="none")
    tensor([1.0536e-03, 1.8651e+00])

    Source: Lin et al. (2017), Focal loss for dense object detection; as in Keras.
    """
    what = "binary_focal_crossentropy"
    input, target = matching(what, input=input, target=target)
    inside(what, "target", target, 0.0, 1.0)
    target = _smoothed(what, target, label_smoothing, 2)
    setting(what, "gamma", gamma, input.shape)
    if from_logits:
        loss = focal_terms(input, target, gamma)
    else:
        missed = target * (1.0 - input) + (1.0 - target) * input
        loss = _power(missed, gamma) * _binary(_cut(input), target)
    if apply_class_balancing:
        setting(what, "alpha", alpha, input.shape)
        inside(what, "alpha", as_tensor(alpha), 0.0, 1.0)
        loss = loss * (alpha * target + (1.0 - alpha) * (1.0 - target))
    return reduce_samples(what, loss.mean(dim=axis), reduction, weight)


def categorical_focal_crossentropy(
    input: Tensor,
    target: Tensor,
    alpha: Any = 0.25,
    gamma: Any = 2.0,
    from_logits: bool = False,
    label_smoothing: Any = 0.0,
    axis: int = -1,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
) -> Tensor:
    """Focal cross-entropy of classes: -Σ α·(1-p)^γ·t·log p over the classes along ``axis``.

    ``alpha``: one number, or a Tensor that broadcasts to the classes; ``gamma``: 0 leaves α times
    the cross-entropy. Both may be Tensors and have gradients. The other arguments, and errors, are
    those of :func:`categorical_crossentropy`; from logits nothing is cut off here either, where
    Keras's focal loss takes the softmax first and cuts it at 1e-7.

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([[0.1, 0.8, 0.1]]), tg.tensor([[0.0, 1.0, 0.0]])
    >>> tg.losses.categorical_focal_crossentropy(p, t)  # .25·.2²·.2231
    tensor(0.0022)

    Source: Lin et al. (2017), Focal loss for dense object detection; as in Keras.
    """
    what = "categorical_focal_crossentropy"
    input, target = matching(what, input=input, target=target)
    dim = _classes(what, input, axis)
    inside(what, "target", target, 0.0, 1.0)
    target = _smoothed(what, target, label_smoothing, input.shape[dim])
    setting(what, "alpha", alpha, input.shape)
    setting(what, "gamma", gamma, input.shape)
    if from_logits:
        log_p = log_softmax(input, dim=dim)
        missed = -expm1(log_p)
    else:
        p = _cut(input / _total(what, input, dim))
        log_p, missed = log(p), 1.0 - p
    loss = -(alpha * _power(missed, gamma) * target * log_p).sum(dim=dim)
    return reduce_samples(what, loss, reduction, weight)


def categorical_generalized_cross_entropy(
    input: Tensor,
    target: Tensor,
    q: Any = 0.5,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
) -> Tensor:
    """Generalised cross-entropy: (1 - p^q)/q of the probability p of the target's class.

    ``input``: probabilities (..., C); ``target``: class indices of the shape without the classes,
    or with 1 in their place. ``q``: between 0 and 1, may be a Tensor and has a gradient; towards 0
    it is the cross-entropy, at 1 the mean absolute error, which wrong labels disturb less.
    ``weight`` as in :func:`binary_crossentropy`. Where p is 0 the derivative counts as 0: through
    a softmax it is -p^q·(1-p), which goes there.

    Raises ValueError for shapes that do not fit, an empty batch, a label out of range, a
    probability outside [0, 1] or q that is not between 0 and 1; TypeError for labels that are not
    integers.

    >>> import tapegrad as tg
    >>> p = tg.tensor([[0.64, 0.36]])
    >>> tg.losses.categorical_generalized_cross_entropy(p, tg.tensor([0]))  # (1 - .8)/.5
    tensor(0.4000)

    Source: Zhang and Sabuncu (2018), Generalized cross entropy loss for training deep neural
    networks with noisy labels; as in Keras.
    """
    what = "categorical_generalized_cross_entropy"
    input, target = tensors(what, input=input, target=target)
    not_empty(what, "input", input)
    inside(what, "input", input, 0.0, 1.0, "these are no probabilities")
    dim = _classes(what, input, -1)
    p = pick(input, _indices(what, input, target, dim, None), axis=dim)
    setting(what, "q", q, p.shape)
    check((q > 0.0) & (q < 1.0), f"{what}: q must be between 0 and 1, not {{}}", q)
    return reduce_samples(what, (1.0 - _power(p, q)) / q, reduction, weight)


def circle(
    input: Tensor,
    target: Tensor,
    gamma: Any = 80.0,
    margin: Any = 0.4,
    remove_diagonal: bool = True,
    reduction: str = "sum_over_batch_size",
    weight: Any = None,
    ref_embeddings: Any = None,
    ref_labels: Any = None,
) -> Tensor:
    """Circle loss of embeddings: softplus(logsumexp of its positives + logsumexp of its negatives).

    With d = max(0, 1 - u·v) a positive (the same label) counts γ(m + d)(d - m) and a negative
    γ·max(0, 1 + m - d)(1 - m - d). ``input``: embeddings of length 1, (N, D); ``target``: labels,
    integers (N,) or (N, 1). ``gamma``, ``margin``: γ and m, may be Tensors and have gradients.
    ``remove_diagonal``: whether a sample is no positive of itself. ``ref_embeddings``,
    ``ref_labels``: others to compare with, (M, D) and (M,), instead of the batch itself. A sample
    without a positive or without a negative costs nothing and does not count in the mean, which is
    0 if none counts. (In Keras's mean a loss so small that it is rounded to 0 does not count
    either.) ``weight`` as in :func:`binary_crossentropy`. As in Keras, the factors m + d
    and 1 + m - d have their part in the derivative, which the paper holds constant.

    Raises ValueError for shapes that do not fit or an empty batch; TypeError for labels that are
    not integers.

    >>> import tapegrad as tg
    >>> u = tg.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> tg.losses.circle(u, tg.tensor([0, 0, 1]), gamma=1.0, reduction="none")
    tensor([0.5629, 0.7339, 0.0000])

    Source: Sun et al. (2020), Circle loss: a unified perspective of pair similarity optimization;
    as in Keras.
    """
    input, target = tensors("circle", input=input, target=target)
    not_empty("circle", "input", input)
    target = _labels_of("circle", "input", input, "target", target)
    setting("circle", "gamma", gamma, ())
    setting("circle", "margin", margin, ())
    others, other_labels = input, target
    if ref_embeddings is not None or ref_labels is not None:
        others, other_labels = tensors(
            "circle", ref_embeddings=ref_embeddings, ref_labels=ref_labels
        )
        not_empty("circle", "ref_embeddings", others)
        other_labels = _labels_of("circle", "ref_embeddings", others, "ref_labels", other_labels)
        if others.shape[1] != input.shape[1]:
            raise ValueError(
                f"circle: embeddings of shape {input.shape} cannot be compared with ref_embeddings "
                f"of shape {others.shape}: their lengths must be the same"
            )
    distance = maximum(1.0 - input @ others.T, 0.0)
    same = target.unsqueeze(1) == other_labels
    negative = logical_not(same)
    positive = same & ~eye(*same.shape).bool() if remove_diagonal else same
    pulls = gamma * (margin + distance) * (distance - margin)
    pushes = gamma * maximum(1.0 + margin - distance, 0.0) * (1.0 - margin - distance)
    loss = softplus(
        logsumexp(where(positive, pulls, -inf), dim=1)
        + logsumexp(where(negative, pushes, -inf), dim=1)
    )
    counted = positive.any(dim=1) & negative.any(dim=1)
    return reduce_samples("circle", loss, reduction, weight, clip(count_nonzero(counted), 1))


def _classes(what: str, input: Tensor, axis: int) -> int:
    """The dimension of the classes."""
    if not input.ndim:
        raise ValueError(f"{what}: input must hold a number for each class, shape (..., C), not ()")
    return one_dim(axis, input.ndim, what)


def _smoothed(what: str, target: Tensor, label_smoothing: Any, classes: int) -> Tensor:
    """Targets with a share of the uniform distribution."""
    if is_number_zero(label_smoothing):
        return target
    setting(what, "label_smoothing", label_smoothing, target.shape)
    inside(what, "label_smoothing", as_tensor(label_smoothing), 0.0, 1.0)
    return target * (1.0 - label_smoothing) + label_smoothing / classes


def _cut(p: Tensor) -> Tensor:
    """Probabilities kept off 0 and 1."""
    return clip(p, EPSILON, 1.0 - EPSILON)


def _binary(p: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of each element."""
    return -(target * log(p) + (1.0 - target) * log(1.0 - p))


def _power(base: Tensor, exponent: Any) -> Tensor:
    """A power of a base from 0 up; at 0 it is 0, and so are its derivatives."""
    some = base > 0.0
    return where(some, where(some, base, 1.0) ** exponent, 0.0)


def _total(what: str, input: Tensor, dim: int, counted: Tensor | None = None) -> Tensor:
    """The sums of the probabilities, which are divided by; 1 for samples that do not count."""
    total = input.sum(dim=dim, keepdim=True)
    if counted is not None:
        total = where(counted.unsqueeze(dim), total, 1.0)

    def message(total: Any) -> str:
        return (
            f"{what}: the probabilities of a sample must have a positive sum, but of input's sums "
            f"along dimension {dim} {first_bad(total > 0.0, total)}; for logits say "
            "from_logits=True"
        )

    check((total > 0.0).all(), message, total)
    return total


def _indices(
    what: str, input: Tensor, target: Tensor, dim: int, ignore_class: int | None
) -> Tensor:
    """Checked class indices; those to be ignored are -1, where ``pick`` gives 0."""
    shape = (*input.shape[:dim], *input.shape[dim + 1 :])
    if target.ndim == input.ndim and target.shape[dim] == 1:
        target = target.squeeze(dim)
    if target.shape != shape:
        raise ValueError(
            f"{what}: an input of shape {input.shape} with its classes along dimension {dim} takes "
            f"class indices of shape {shape}, not {target.shape}"
        )
    if not isinstance(ignore_class, (Integral, NoneType)):
        raise TypeError(f"{what}: ignore_class must be an integer or None, not {ignore_class!r}")
    labels(what, "target", target, input.shape[dim], ignore_class)
    return target if ignore_class is None else where(target == ignore_class, -1, target)


def _labels_of(what: str, name: str, input: Tensor, labels_name: str, labels: Tensor) -> Tensor:
    """Labels (N,) of embeddings (N, D)."""
    dimensions(what, name, input, "(N, D)", 2)
    count = input.shape[0]
    if labels.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"{what}: {labels_name} must hold one label for each of the {count} embeddings, shape "
            f"({count},), not {labels.shape}"
        )
    integers(what, labels_name, labels)
    return labels.reshape(count)


class BinaryCrossentropy(Loss):
    """:func:`binary_crossentropy` with its settings: probabilities in, by default.

    >>> import tapegrad as tg
    >>> tg.losses.BinaryCrossentropy(from_logits=True)(tg.zeros(1, 2), tg.ones(1, 2))
    tensor(0.6931)
    """

    function = staticmethod(binary_crossentropy)


class CategoricalCrossentropy(Loss):
    """:func:`categorical_crossentropy` with its settings: probabilities in, by default.

    >>> import tapegrad as tg
    >>> loss = tg.losses.CategoricalCrossentropy(label_smoothing=0.1)
    >>> loss(tg.tensor([[0.1, 0.8, 0.1]]), tg.tensor([[0.0, 1.0, 0.0]]))
    tensor(0.3618)
    """

    function = staticmethod(categorical_crossentropy)


class SparseCategoricalCrossentropy(Loss):
    """:func:`sparse_categorical_crossentropy` with its settings: probabilities in, by default.

    >>> import tapegrad as tg
    >>> loss = tg.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    >>> loss(tg.tensor([[0.1, 0.9], [0.5, 0.5]]), tg.tensor([-1, 0]))
    tensor(0.6931)
    """

    function = staticmethod(sparse_categorical_crossentropy)


class KLDivergence(Loss):
    """:func:`kl_divergence` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> tg.losses.KLDivergence()(tg.tensor([[0.5, 0.5]]), tg.tensor([[0.5, 0.5]]))
    tensor(0.)
    """

    function = staticmethod(kl_divergence)


class Poisson(Loss):
    """:func:`poisson` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.Poisson()(tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0, 0.0]]))
    tensor(1.5000)
    """

    function = staticmethod(poisson)


class CosineSimilarity(Loss):
    """:func:`cosine_similarity` with its settings: -1 for the same direction.

    >>> import tapegrad as tg
    >>> tg.losses.CosineSimilarity()(tg.tensor([[3.0, 4.0]]), tg.tensor([[0.0, 2.0]]))
    tensor(-0.8000)
    """

    function = staticmethod(cosine_similarity)


class BinaryFocalCrossentropy(Loss):
    """:func:`binary_focal_crossentropy` with its settings: probabilities in, by default.

    >>> import tapegrad as tg
    >>> loss = tg.losses.BinaryFocalCrossentropy(apply_class_balancing=True, gamma=1.0)
    >>> loss(tg.tensor([[0.5]]), tg.tensor([[1.0]]))  # ln(2)/8
    tensor(0.0866)
    """

    function = staticmethod(binary_focal_crossentropy)


class CategoricalFocalCrossentropy(Loss):
    """:func:`categorical_focal_crossentropy` with its settings: probabilities in, by default.

    >>> import tapegrad as tg
    >>> loss = tg.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=1.0)
    >>> loss(tg.tensor([[0.5, 0.5]]), tg.tensor([[0.0, 1.0]]))  # ln(2)/2
    tensor(0.3466)
    """

    function = staticmethod(categorical_focal_crossentropy)


class CategoricalGeneralizedCrossEntropy(Loss):
    """:func:`categorical_generalized_cross_entropy` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> loss = tg.losses.CategoricalGeneralizedCrossEntropy(q=0.5)
    >>> loss(tg.tensor([[0.64, 0.36]]), tg.tensor([0]))
    tensor(0.4000)
    """

    function = staticmethod(categorical_generalized_cross_entropy)


class Circle(Loss):
    """:func:`circle` with its settings: embeddings of length 1 and labels in.

    >>> import tapegrad as tg
    >>> loss = tg.losses.Circle(gamma=1.0)
    >>> loss(tg.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), tg.tensor([0, 0, 1]))
    tensor(0.6484)
    """

    function = staticmethod(circle)


#: Labels that all have another of their kind, and one of another kind.
PAIRED = Kind(lambda n, c, g: arange(n) % 2, None)
#: Vectors of length 1.
UNIT = Kind(REAL.draw, lambda x: normalize(x, dim=1))
#: Amounts along the classes, which add up to anything.
AMOUNTS = POSITIVE
#: Images of classes, the classes last, and their labels.
MAPS = Kind(lambda n, c, g: randn(n, 2, 2, c, dtype="float64", generator=g), AMOUNTS.link)
LABEL_MAPS = Kind(lambda n, c, g: randint(0, c, (n, 2, 2), generator=g), None)


def _balanced(input: Tensor, target: Tensor, **settings: Any) -> Tensor:
    return binary_focal_crossentropy(
        input, target, apply_class_balancing=True, from_logits=True, **settings
    )


ROWS = (
    Row(
        binary_crossentropy,
        (PROBABILITY, PROBABILITY),
        BinaryCrossentropy,
        names=("bce",),
        settings=(
            {"label_smoothing": 0.2},
            {"from_logits": True, "label_smoothing": 0.1},
            {"axis": 0},
            {"reduction": "none"},
        ),
        peer="keras",
    ),
    Row(
        categorical_crossentropy,
        (DISTRIBUTION, DISTRIBUTION),
        CategoricalCrossentropy,
        settings=(
            {"label_smoothing": 0.2},
            {"from_logits": True, "label_smoothing": 0.1},
            {"reduction": "none"},
        ),
        peer="keras",
    ),
    Row(
        categorical_crossentropy,
        (AMOUNTS, DISTRIBUTION),
        peer="keras:CategoricalCrossentropy",
        case="rescaled",
    ),
    Row(
        sparse_categorical_crossentropy,
        (DISTRIBUTION, LABELS),
        SparseCategoricalCrossentropy,
        settings=({"from_logits": True}, {"ignore_class": 1}, {"reduction": "none"}),
        peer="keras",
    ),
    Row(
        sparse_categorical_crossentropy,
        (AMOUNTS, LABELS),
        settings=(
            {"ignore_class": 1, "from_logits": True},
            {"ignore_class": 1, "reduction": "sum"},
            {"ignore_class": 1, "reduction": "none"},
        ),
        peer="keras:SparseCategoricalCrossentropy",
        case="rescaled",
    ),
    Row(
        sparse_categorical_crossentropy,
        (MAPS, LABEL_MAPS),
        settings=({"ignore_class": 2},),
        case="maps",
    ),
    Row(
        kl_divergence,
        (DISTRIBUTION, DISTRIBUTION),
        KLDivergence,
        names=("kld", "kullback_leibler_divergence"),
        settings=({"reduction": "none"},),
        peer="keras",
    ),
    Row(
        poisson,
        (POSITIVE, POSITIVE),
        Poisson,
        settings=({"reduction": "none"},),
        peer="keras",
    ),
    Row(
        cosine_similarity,
        (REAL, REAL),
        CosineSimilarity,
        settings=({"axis": 0}, {"reduction": "none"}),
        peer="keras",
    ),
    Row(
        binary_focal_crossentropy,
        (PROBABILITY, BINARY),
        BinaryFocalCrossentropy,
        settings=(
            {"gamma": 0.5, "label_smoothing": 0.1},
            {"apply_class_balancing": True, "alpha": 0.6, "gamma": 1.5},
            {"from_logits": True, "label_smoothing": 0.2},
        ),
        fixed=("alpha",),
        peer="keras",
    ),
    Row(
        binary_focal_crossentropy,
        (LOGITS, BINARY),
        settings=({"alpha": 0.6, "gamma": 0.0}, {"gamma": 0.5, "label_smoothing": 0.1}),
        case="balanced logits",
        call=_balanced,
    ),
    Row(
        categorical_focal_crossentropy,
        (DISTRIBUTION, DISTRIBUTION),
        CategoricalFocalCrossentropy,
        settings=(
            {"alpha": 0.6, "gamma": 0.5, "label_smoothing": 0.1},
            {"from_logits": True, "gamma": 1.5},
            {"from_logits": True, "alpha": 0.6, "gamma": 0.0},
        ),
        peer="keras",
    ),
    Row(
        categorical_generalized_cross_entropy,
        (DISTRIBUTION, LABELS),
        CategoricalGeneralizedCrossEntropy,
        names=("gce", "generalized_cross_entropy"),
        settings=({"q": 0.7}, {"reduction": "none"}),
        peer="keras",
    ),
    Row(
        circle,
        (UNIT, PAIRED),
        Circle,
        names=("circle_loss",),
        settings=(
            {"gamma": 2.0, "margin": 0.25},
            {"reduction": "none"},
        ),
        peer="keras",
    ),
)
