"""Fairness penalties: how differently a classifier treats groups, with a derivative.

A rate of positive predictions is the mean of predicted probabilities here, not of decisions, so
that a penalty can be added to a loss and trained on. A group that has nothing to take a rate of is
left out; with one group or none remaining nothing differs, and the penalty is 0. In small batches
that is common: prefer large ones, with all groups in each.
"""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, amax, amin, arange, check, exp, inf, maximum, unique, where

from .base import Loss
from .checks import dimensions, first_bad, inside, matching, same_shape, tensors
from .kinds import PROBABILITIES, REALS, Kind
from .table import Row

__all__ = [
    "DemographicParityPenalty",
    "EqualOpportunityPenalty",
    "EqualizedOddsPenalty",
    "demographic_parity_penalty",
    "equal_opportunity_penalty",
    "equalized_odds_penalty",
]


def demographic_parity_penalty(
    input: Tensor, groups: Tensor, measure: str = "difference", weight: Any = None
) -> Tensor:
    """Demographic parity: the largest - the smallest mean prediction of a group, 0 if fair.

    ``input``: predicted probabilities of the positive class, (N,), in [0, 1]; ``groups``: which
    group each sample is of, (N,), integers or booleans of any values. ``measure``: "difference",
    or "ratio" for 1 - smallest / largest, 0 if all are 0. ``weight``: how much each sample counts,
    (N,), not negative; it has a gradient. Of decisions (0 or 1) these are Fairlearn's
    demographic_parity_difference and 1 - demographic_parity_ratio.

    The gradient goes to the groups at the two ends, shared among ties. A group without weight is
    left out; with only one group the penalty is 0.

    Raises ValueError when shapes differ, the batch is empty, or an input is outside [0, 1];
    TypeError for groups that are not integers.

    >>> import tapegrad as tg
    >>> p, groups = tg.tensor([0.5, 0.5, 0.25, 0.25]), tg.tensor([0, 0, 1, 1])
    >>> tg.losses.demographic_parity_penalty(p, groups)
    tensor(0.2500)
    >>> tg.losses.demographic_parity_penalty(p, groups, measure="ratio")
    tensor(0.5000)

    Source: Calders et al. (2009), Building classifiers with independency constraints; Dwork et al.
    (2012), Fairness through awareness; ratio: Feldman et al. (2015), Certifying and removing
    disparate impact.
    """
    what = "demographic_parity_penalty"
    input, member = _predictions(what, input, groups)
    return _apart(what, input, member, _counts(what, weight, input), measure)


def equal_opportunity_penalty(
    input: Tensor,
    target: Tensor,
    groups: Tensor,
    measure: str = "difference",
    weight: Any = None,
) -> Tensor:
    """Equal opportunity: :func:`demographic_parity_penalty` among the positive samples.

    That compares true positive rates: the groups' mean predictions where the target is 1.
    ``target``: (N,), 0 or 1; what lies between counts as positive by that share. A group without
    positives is left out; Fairlearn counts its rate as 0, which no training can mend. The rest as
    there.

    Raises ValueError also for a target outside [0, 1].

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([0.75, 0.5, 0.5, 0.0]), tg.tensor([1, 0, 1, 0])
    >>> tg.losses.equal_opportunity_penalty(p, t, groups=tg.tensor([0, 0, 1, 1]))
    tensor(0.2500)

    Source: Hardt et al. (2016), Equality of opportunity in supervised learning.
    """
    what = "equal_opportunity_penalty"
    input, member = _predictions(what, input, groups)
    target = _labels(what, input, target)
    return _apart(what, input, member, _counts(what, weight, input, target), measure)


def equalized_odds_penalty(
    input: Tensor,
    target: Tensor,
    groups: Tensor,
    measure: str = "difference",
    agg: str = "worst_case",
    weight: Any = None,
) -> Tensor:
    """Equalized odds: the larger of the penalties among the positive and the negative samples.

    Groups are compared by true positive rates as in :func:`equal_opportunity_penalty`, and in the
    same way by false positive rates, where the target is 0; a group without positives is left out
    of the former, one without negatives of the latter. ``agg``: "worst_case" takes the larger,
    "mean" the mean of the two. The rest as there: of decisions, if every group has both, these are
    Fairlearn's equalized_odds_difference and 1 - equalized_odds_ratio.

    Raises ValueError also for an unknown agg.

    >>> import tapegrad as tg
    >>> p, t = tg.tensor([0.75, 0.5, 0.5, 0.0]), tg.tensor([1, 0, 1, 0])
    >>> groups = tg.tensor([0, 0, 1, 1])
    >>> tg.losses.equalized_odds_penalty(p, t, groups)
    tensor(0.5000)
    >>> tg.losses.equalized_odds_penalty(p, t, groups, agg="mean")
    tensor(0.3750)

    Source: Hardt et al. (2016), Equality of opportunity in supervised learning.
    """
    what = "equalized_odds_penalty"
    if agg not in ("worst_case", "mean"):
        raise ValueError(f'{what}: agg must be "worst_case" or "mean", not {agg!r}')
    input, member = _predictions(what, input, groups)
    target = _labels(what, input, target)
    true, false = (
        _apart(what, input, member, _counts(what, weight, input, share), measure)
        for share in (target, 1.0 - target)
    )
    return maximum(true, false) if agg == "worst_case" else 0.5 * (true + false)


def _predictions(what: str, input: Any, groups: Any) -> tuple[Tensor, Tensor]:
    """Checked probabilities (N,), and which of the groups that occur each is of, (N, groups)."""
    input, groups = matching(what, input=input, groups=groups)
    dimensions(what, "input", input, "(N,)", 1)
    if groups.dtype.kind not in "iub":
        raise TypeError(
            f"{what}: groups must be labels (integers or booleans), not {groups.dtype}: "
            "groups.long() makes it so"
        )
    inside(what, "input", input, 0.0, 1.0, "of logits take the sigmoid first")
    return input, (groups.unsqueeze(1) == unique(groups)).to(input.dtype)


def _labels(what: str, input: Tensor, target: Any) -> Tensor:
    """Checked targets, as numbers."""
    (_, target) = matching(what, input=input, target=target)
    target = target.to(input.dtype)
    inside(what, "target", target, 0.0, 1.0)
    return target


def _counts(what: str, weight: Any, input: Tensor, share: Any = 1.0) -> Any:
    """How much each sample counts, (N,) or 1."""
    if weight is None:
        return share
    (weight,) = tensors(what, weight=weight)
    same_shape(what, "input", input, "weight", weight)
    check(
        weight >= 0,
        lambda weight: f"{what}: weight must not be negative, but {first_bad(weight >= 0, weight)}",
        weight,
    )
    return weight * share


def _apart(what: str, input: Tensor, member: Tensor, counts: Any, measure: str) -> Tensor:
    """How far apart the groups' rates are."""
    if measure not in ("difference", "ratio"):
        raise ValueError(f'{what}: measure must be "difference" or "ratio", not {measure!r}')
    size = counts @ member if isinstance(counts, Tensor) else member.sum(dim=0)
    there = size > 0
    rates = (counts * input) @ member / where(there, size, 1.0)
    some = there.any()
    low = where(some, amin(where(there, rates, inf)), 0.0)
    high = where(some, amax(where(there, rates, -inf)), 0.0)
    if measure == "difference":
        return high - low
    nought = high == 0
    return 1.0 - where(nought, 1.0, low) / where(nought, 1.0, high)


class DemographicParityPenalty(Loss):
    """:func:`demographic_parity_penalty` with its settings.

    >>> import tapegrad as tg
    >>> penalty = tg.losses.DemographicParityPenalty(measure="ratio")
    >>> penalty(tg.tensor([0.5, 0.25]), tg.tensor([0, 1]))
    tensor(0.5000)
    """

    function = staticmethod(demographic_parity_penalty)


class EqualOpportunityPenalty(Loss):
    """:func:`equal_opportunity_penalty` with its settings.

    >>> import tapegrad as tg
    >>> penalty = tg.losses.EqualOpportunityPenalty()
    >>> penalty(tg.tensor([0.75, 0.5]), tg.tensor([1.0, 1.0]), tg.tensor([0, 1]))
    tensor(0.2500)
    """

    function = staticmethod(equal_opportunity_penalty)


class EqualizedOddsPenalty(Loss):
    """:func:`equalized_odds_penalty` with its settings.

    >>> import tapegrad as tg
    >>> penalty = tg.losses.EqualizedOddsPenalty(agg="mean")
    >>> penalty(tg.tensor([0.75, 0.5]), tg.tensor([1.0, 1.0]), tg.tensor([0, 1]))
    tensor(0.1250)
    """

    function = staticmethod(equalized_odds_penalty)


#: Two groups in turn, and for each two negatives and then two positives.
GROUPS = Kind(lambda n, c, g: arange(n) % 2, None)
OUTCOMES = Kind(lambda n, c, g: arange(n) // 2 % 2, None)
#: How much each sample counts.
COUNTS = Kind(REALS.draw, exp)

ROWS = (
    Row(
        demographic_parity_penalty,
        (PROBABILITIES, GROUPS),
        DemographicParityPenalty,
        names=("demographic_parity", "statistical_parity"),
        settings=({"measure": "ratio"}, {"weight": COUNTS}),
    ),
    Row(
        equal_opportunity_penalty,
        (PROBABILITIES, OUTCOMES, GROUPS),
        EqualOpportunityPenalty,
        names=("equal_opportunity",),
        settings=({"measure": "ratio", "weight": COUNTS},),
    ),
    Row(
        equalized_odds_penalty,
        (PROBABILITIES, OUTCOMES, GROUPS),
        EqualizedOddsPenalty,
        names=("equalized_odds",),
        settings=(
            {"measure": "ratio"},
            {"agg": "mean", "weight": COUNTS},
            {"agg": "mean", "measure": "ratio"},
        ),
    ),
)
