"""Ensembles: the predictions of several models averaged, in probability or in logit.

The mean of probabilities is a mixture: one of the models is right, no matter which, so it is sure
only of what all are sure of. The mean of logits is a product of experts, the geometric mean of
probabilities brought to a sum of 1: a model that rules a class out can veto it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad import (
    Tensor,
    check,
    exp,
    log,
    log_softmax,
    logsumexp,
    randn,
    softmax,
    stack,
)

from .base import Loss
from .checks import first_bad, not_empty, same_shape, tensors
from .classification import cross_entropy
from .kinds import DISTRIBUTION, LABELS, Kind
from .table import Row

__all__ = [
    "EnsembleCrossEntropyLoss",
    "ensemble_cross_entropy",
    "ensemble_log_probabilities",
    "ensemble_logits",
    "ensemble_probabilities",
]


def ensemble_probabilities(input: Tensor | Sequence[Tensor], weights: Any = None) -> Tensor:
    """The mean of the models' probabilities: Σ_m w_m softmax(input_m) / Σ_m w_m.

    ``input``: logits of M models, a list of tensors (N, C) (or (C,), or (N, C, d1, ...)) or these
    stacked along a new first dimension. ``weights``: how much each model counts, (M,), positive,
    by default all the same; they have a gradient.

    Raises ValueError when shapes do not fit, for an empty batch or ensemble, or a weight that is
    not positive; TypeError for logits that are not tensors.

    >>> import tapegrad as tg
    >>> one, other = tg.tensor([[0.0, 1000.0]]), tg.tensor([[0.0, 0.0]])
    >>> tg.losses.ensemble_probabilities([one, other])
    tensor([[0.2500, 0.7500]])
    >>> tg.losses.ensemble_probabilities([one, other], weights=tg.tensor([3.0, 1.0]))
    tensor([[0.1250, 0.8750]])

    Source: Lakshminarayanan et al. (2017), Simple and scalable predictive uncertainty estimation
    using deep ensembles.
    """
    input, weights = _models("ensemble_probabilities", input, weights)
    return _mean(softmax(input, dim=_classes(input)), weights)


def ensemble_log_probabilities(input: Tensor | Sequence[Tensor], weights: Any = None) -> Tensor:
    """The logarithm of :func:`ensemble_probabilities`, finite for any logits.

    Computed by a logsumexp over the models, so that a class that all rule out keeps its logarithm.
    The result may stand as logits in :func:`cross_entropy`, whose softmax leaves it as it is.

    >>> import tapegrad as tg
    >>> tg.losses.ensemble_log_probabilities([tg.tensor([0.0, 1e4]), tg.tensor([0.0, 1e4])])
    tensor([-10000.,      0.])

    Source: Lakshminarayanan et al. (2017), Simple and scalable predictive uncertainty estimation
    using deep ensembles.
    """
    input, weights = _models("ensemble_log_probabilities", input, weights)
    return _log_mixture(input, weights)


def ensemble_logits(input: Tensor | Sequence[Tensor], weights: Any = None) -> Tensor:
    """The mean of the models' logits: Σ_m w_m input_m / Σ_m w_m.

    Arguments and errors as in :func:`ensemble_probabilities`. Models whose logits differ by a
    constant have the same probabilities, and the mean's are the same for them too.

    >>> import tapegrad as tg
    >>> one, other = tg.tensor([[0.0, 4.0]]), tg.tensor([[0.0, 0.0]])
    >>> tg.losses.ensemble_logits([one, other])
    tensor([[0., 2.]])

    Source: Hinton (2002), Training products of experts by minimizing contrastive divergence.
    """
    input, weights = _models("ensemble_logits", input, weights)
    return _mean(input, weights)


def ensemble_cross_entropy(
    input: Tensor | Sequence[Tensor],
    target: Tensor,
    weights: Any = None,
    average: str = "probability",
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: Any = 0.0,
) -> Tensor:
    """Cross-entropy of an ensemble: -log of what the averaged models give the target.

    ``input``, ``weights``: as in :func:`ensemble_probabilities`; ``average``: "probability" for
    the mean of probabilities, computed in log space and finite for any logits, or "logit" for that
    of logits. ``target`` and the other settings: as in :func:`cross_entropy`, for one model. Either
    is at most the mean of the models' own cross-entropies (by Jensen's inequality), so training on
    it leaves the models freer than training each. For class weights take :func:`cross_entropy` of
    :func:`ensemble_log_probabilities` or :func:`ensemble_logits`.

    Raises what those raise, and ValueError for an unknown average.

    Of two models one is sure and right, one is sure and wrong:

    >>> import tapegrad as tg
    >>> models = [tg.tensor([[0.0, 1e4]]), tg.tensor([[1e4, 0.0]])]
    >>> tg.losses.ensemble_cross_entropy(models, tg.tensor([1]))
    tensor(0.6931)

    Source: Lakshminarayanan et al. (2017), Simple and scalable predictive uncertainty estimation
    using deep ensembles; the two averages: Wood et al. (2023), A unified theory of diversity in
    ensemble learning.
    """
    what = "ensemble_cross_entropy"
    if average not in ("probability", "logit"):
        raise ValueError(f'{what}: average must be "probability" or "logit", not {average!r}')
    input, weights = _models(what, input, weights)
    logits = _log_mixture(input, weights) if average == "probability" else _mean(input, weights)
    return cross_entropy(
        logits,
        target,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def _models(what: str, input: Any, weights: Any) -> tuple[Tensor, Tensor | None]:
    """The models' logits, stacked, and weights that broadcast to them."""
    if isinstance(input, (list, tuple)):
        if not input:
            raise ValueError(f"{what}: the ensemble is empty: input has no models")
        models = [tensors(what, **{f"input[{i}]": x})[0] for i, x in enumerate(input)]
        for i, model in enumerate(models):
            same_shape(what, "input[0]", models[0], f"input[{i}]", model)
        input = stack(models)
    else:
        (input,) = tensors(what, input=input)
    if input.ndim < 2:
        raise ValueError(
            f"{what}: input must be the logits of several models, (models, N, C) or (models, C) or "
            f"a list of tensors (N, C) or (C,), not of shape {input.shape}"
        )
    not_empty(what, "input", input)
    if weights is None:
        return input, None
    (weights,) = tensors(what, weights=weights)
    if weights.shape != input.shape[:1]:
        raise ValueError(
            f"{what}: weights must be one number for each of the {input.shape[0]} models, shape "
            f"{input.shape[:1]}, not {weights.shape}"
        )
    check(
        weights > 0,
        lambda weights: (
            f"{what}: weights must be positive (leave out a model that is not to "
            f"count), but {first_bad(weights > 0, weights)}"
        ),
        weights,
    )
    return input, weights.reshape((-1,) + (1,) * (input.ndim - 1))


def _classes(input: Tensor) -> int:
    """The dimension of the classes in stacked logits."""
    return 2 if input.ndim > 2 else 1


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return values.mean(dim=0)
    return (weights * values).sum(dim=0) / weights.sum()


def _log_mixture(input: Tensor, weights: Tensor | None) -> Tensor:
    """log Σ_m w_m softmax(input_m) - log Σ_m w_m."""
    log_p = log_softmax(input, dim=_classes(input))
    if weights is None:
        return logsumexp(log_p, dim=0) - log(input.shape[0])
    return logsumexp(log_p + log(weights), dim=0) - log(weights.sum())


class EnsembleCrossEntropyLoss(Loss):
    """:func:`ensemble_cross_entropy` with its settings.

    >>> import tapegrad as tg
    >>> models = [tg.tensor([[0.0, 2.0]]), tg.tensor([[2.0, 0.0]])]
    >>> tg.losses.EnsembleCrossEntropyLoss(average="logit")(models, tg.tensor([1]))
    tensor(0.6931)
    """

    function = staticmethod(ensemble_cross_entropy)


#: Logits of three models, (3, rows, columns), and how much each model counts.
MODELS = Kind(lambda n, c, g: 2.0 * randn(3, n, c, dtype="float64", generator=g))
MODEL_WEIGHTS = Kind(lambda n, c, g: randn(3, dtype="float64", generator=g), exp)

ROWS = (
    Row(
        ensemble_cross_entropy,
        (MODELS, LABELS),
        EnsembleCrossEntropyLoss,
        names=("ensemble",),
        settings=(
            {"weights": MODEL_WEIGHTS, "label_smoothing": 0.2},
            {"average": "logit"},
            {"average": "logit", "weights": MODEL_WEIGHTS},
        ),
    ),
    Row(
        ensemble_cross_entropy,
        (MODELS, DISTRIBUTION),
        settings=({"weights": MODEL_WEIGHTS},),
        case="probabilities",
    ),
)
