"""Training by reward, for metrics that have no derivative.

A metric (ROUGE, accuracy, a game's score) that only says how good an output is can still be
raised: what has a derivative is the probability of the output. Draw outputs and make the rewarded
ones likelier (:func:`reinforce_loss`, :func:`self_critical_loss`), or weigh a set of candidates
(:func:`minimum_risk_loss`, :func:`expected_reward_loss`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from tapegrad import (
    Tensor,
    as_tensor,
    clip,
    exp,
    inf,
    logical_and,
    logsigmoid,
    rand,
    randn,
    softmax,
    stop_gradient,
    where,
)

from .base import Loss
from .checks import (
    dimensions,
    not_empty,
    positive,
    rows_add_up,
    same_shape,
    setting,
    tensors,
)
from .kinds import LOG_DISTRIBUTION, REAL, REALS, Kind
from .reducing import reduce
from .table import Row

__all__ = [
    "ExpectedRewardLoss",
    "MinimumRiskLoss",
    "ReinforceLoss",
    "RougeScore",
    "SelfCriticalLoss",
    "expected_reward_loss",
    "minimum_risk_loss",
    "reinforce_loss",
    "rouge_l",
    "rouge_n",
    "self_critical_loss",
]


def reinforce_loss(
    log_probs: Tensor,
    rewards: Tensor,
    baseline: Any = None,
    mask: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """REINFORCE: -(R - b)·log π, the advantage R - b held constant.

    The loss is a means to a gradient: the mean over outputs drawn from the model of its gradient
    is that of minus the expected reward. Its value says nothing.

    ``log_probs``: log π of what was drawn, (N,), or of each step, (N, T), which are added up.
    ``rewards``: one for each output, (N,), or with steps one for each step, (N, T) (its return, or
    reward to go). ``mask``: booleans of the shape of ``log_probs``, True where a step counts.
    ``baseline`` b: what does not depend on the draw but makes the gradient's variance smaller.

    - None: 0.
    - "mean": the mean of the rewards over the batch; each reward being in its own baseline, the
      expected gradient is 1 - 1/N of what it should be.
    - "leave_one_out": the mean of the other rewards, which does not change the expectation; 0 if
      there are no others.
    - A number, or a tensor of the shape of the rewards, such as a critic's estimates.

    With rewards of steps the means are taken for each step, over the outputs that have it.

    By design no gradient flows to ``rewards`` or ``baseline``: train a critic with a loss of its
    own.

    Raises ValueError for shapes that do not fit, an empty batch and an unknown baseline.

    The rewarded output gets likelier, the other less so:

    >>> import tapegrad as tg
    >>> log_probs = tg.tensor([-0.5, -1.0], requires_grad=True)
    >>> tg.losses.reinforce_loss(log_probs, tg.tensor([1.0, 0.0]), baseline="mean").backward()
    >>> log_probs.grad
    tensor([-0.2500,  0.2500])

    Source: Williams (1992), Simple statistical gradient-following algorithms for connectionist
    reinforcement learning; the others' mean: Kool et al. (2019), Buy 4 REINFORCE samples, get a
    baseline for free!
    """
    what = "reinforce_loss"
    log_probs, rewards, mask = _outputs(what, log_probs, rewards, mask)
    if baseline is not None:
        rewards = rewards - _baseline(what, baseline, rewards, mask)
    if rewards.ndim < log_probs.ndim:
        rewards = rewards.unsqueeze(1)
    # Williams (1992), eq. 4: (r - b) times the characteristic eligibility, the gradient of log π.
    loss = -stop_gradient(rewards) * log_probs
    if loss.ndim == 1:
        return reduce(loss, reduction, mask=mask)
    if mask is not None:
        loss = where(mask, loss, 0.0)
    return reduce(loss.sum(dim=1), reduction)


def self_critical_loss(
    log_probs: Tensor,
    rewards: Tensor,
    greedy_rewards: Tensor,
    mask: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Self-critical sequence training: -(R - R_greedy)·log π.

    This is :func:`reinforce_loss` with the reward of the model's own greedy output as baseline:
    draws better than what it would say at test time get likelier, worse ones less so.
    ``greedy_rewards``: of the shape of ``rewards``, for the same inputs. The rest, and that no
    gradient flows to rewards, as there.

    >>> import tapegrad as tg
    >>> log_probs = tg.tensor([-0.5, -1.0], requires_grad=True)
    >>> sampled, greedy = tg.tensor([0.6, 0.2]), tg.tensor([0.4, 0.4])
    >>> tg.losses.self_critical_loss(log_probs, sampled, greedy).backward()
    >>> log_probs.grad
    tensor([-0.1000,  0.1000])

    Source: Rennie et al. (2017), Self-critical sequence training for image captioning.
    """
    what = "self_critical_loss"
    log_probs, rewards, greedy = tensors(
        what, log_probs=log_probs, rewards=rewards, greedy_rewards=greedy_rewards
    )
    _outputs(what, log_probs, rewards, mask)
    same_shape(what, "rewards", rewards, "greedy_rewards", greedy)
    return reinforce_loss(log_probs, rewards, greedy, mask, reduction)


def minimum_risk_loss(
    log_probs: Tensor,
    rewards: Tensor,
    alpha: Any = 1.0,
    mask: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Minimum risk: Σ_k q_k·(1 - R_k) over candidate outputs k, q = softmax(alpha·log_probs).

    ``log_probs``: log-probabilities of K candidates (drawn from the model, or its K best) for each
    input, (N, K) or (K,); ``rewards``: how good they are, the same shape, at most 1 for a perfect
    one (ROUGE, BLEU). ``alpha``: positive, one number or one for each input, (N, 1); may be a
    Tensor and has a gradient; below 1 it flattens q (the source uses 0.005), above it sharpens.
    ``mask``: booleans of that shape, True for what is a candidate; each input needs one, or its
    loss is NaN. Rewards have a gradient.

    Raises ValueError when the shapes differ, the batch is empty or alpha is not positive.

    >>> import tapegrad as tg
    >>> log_probs = tg.log(tg.tensor([[0.3, 0.1]]))
    >>> tg.losses.minimum_risk_loss(log_probs, tg.tensor([[1.0, 0.0]]))
    tensor(0.2500)

    Source: Shen et al. (2016), Minimum risk training for neural machine translation; Och (2003),
    Minimum error rate training in statistical machine translation.
    """
    what = "minimum_risk_loss"
    log_probs, rewards = _candidates(what, log_probs, rewards)
    positive(what, "alpha", alpha, (*log_probs.shape[:-1], 1))
    possible = log_probs > -inf
    if mask is not None:
        possible = logical_and(possible, _boolean(what, mask, log_probs))
    # An impossible candidate is left out, so that alpha's gradient there is not 0 times -inf.
    scores = where(possible, alpha * where(possible, log_probs, 0.0), -inf)
    risks = softmax(scores, dim=-1) * (1.0 - where(possible, rewards, 0.0))
    return reduce(risks.sum(dim=-1), reduction)


def expected_reward_loss(log_probs: Tensor, rewards: Tensor, reduction: str = "mean") -> Tensor:
    """Minus the expected reward, exactly: -Σ_k p_k·R_k over all outputs k there are.

    ``log_probs``: log p of every possible output, (N, K) or (K,), probabilities that add up to 1;
    ``rewards``: the same shape. Both have a gradient. What :func:`reinforce_loss` estimates from
    draws, where there are too many outputs to enumerate.

    Raises ValueError when the shapes differ, the batch is empty or probabilities do not add up
    to 1.

    >>> import tapegrad as tg
    >>> log_probs = tg.log(tg.tensor([[0.75, 0.25]]))
    >>> tg.losses.expected_reward_loss(log_probs, tg.tensor([[1.0, -1.0]]))
    tensor(-0.5000)

    Source: Sutton et al. (2000), Policy gradient methods for reinforcement learning with function
    approximation.
    """
    what = "expected_reward_loss"
    log_probs, rewards = _candidates(what, log_probs, rewards)
    p = exp(log_probs)
    rows_add_up(what, "exp(log_probs)", p, -1)
    return reduce(-(p * rewards).sum(dim=-1), reduction)


def _outputs(what: str, log_probs: Any, rewards: Any, mask: Any) -> tuple[Tensor, Tensor, Any]:
    """Log-probabilities of outputs or their steps, rewards that go with them, a mask."""
    log_probs, rewards = tensors(what, log_probs=log_probs, rewards=rewards)
    dimensions(what, "log_probs", log_probs, "(N,) or (N, T)", 1, 2)
    not_empty(what, "log_probs", log_probs)
    if log_probs.ndim == 1 or rewards.ndim != 1:
        same_shape(what, "log_probs", log_probs, "rewards", rewards)
    elif rewards.shape != log_probs.shape[:1]:
        raise ValueError(
            f"{what}: log_probs of shape {log_probs.shape} (N, T) takes rewards of that shape or "
            f"of shape {log_probs.shape[:1]}, not {rewards.shape}"
        )
    if not rewards.is_floating_point():
        rewards = rewards.to(log_probs.dtype)
    if mask is not None:
        mask = _boolean(what, mask, log_probs)
        # Before anything is multiplied by it: a padded -inf or NaN would spoil the gradient.
        log_probs = where(mask, log_probs, 0.0)
    return log_probs, rewards, mask


def _candidates(what: str, log_probs: Any, rewards: Any) -> tuple[Tensor, Tensor]:
    """Log-probabilities of sets of outputs, and their rewards."""
    log_probs, rewards = tensors(what, log_probs=log_probs, rewards=rewards)
    dimensions(what, "log_probs", log_probs, "(N, K) or (K,)", 1, 2)
    same_shape(what, "log_probs", log_probs, "rewards", rewards)
    not_empty(what, "log_probs", log_probs)
    return log_probs, rewards


def _boolean(what: str, mask: Any, log_probs: Tensor) -> Tensor:
    """A mask of the shape of the log-probabilities."""
    mask = as_tensor(mask)
    if mask.dtype.kind != "b":
        raise TypeError(f"{what}: mask must be boolean, not {mask.dtype}: mask != 0 makes it so")
    same_shape(what, "log_probs", log_probs, "mask", mask)
    return mask


def _baseline(what: str, baseline: Any, rewards: Tensor, mask: Tensor | None) -> Tensor:
    """What is subtracted from the rewards; means are over the batch, with steps for each step."""
    if not isinstance(baseline, str):
        setting(what, "baseline", baseline)
        baseline = as_tensor(baseline)
        if baseline.ndim > 0:
            same_shape(what, "rewards", rewards, "baseline", baseline)
        return baseline
    count: Any = rewards.shape[0]
    if mask is not None and mask.shape == rewards.shape:
        rewards, count = where(mask, rewards, 0.0), mask.sum(dim=0)
    total = rewards.sum(dim=0)
    if baseline == "mean":
        return total / clip(count, 1)
    if baseline == "leave_one_out":
        return (total - rewards) / clip(count - 1, 1)
    raise ValueError(
        f'{what}: baseline must be None, "mean", "leave_one_out", a number or a tensor, '
        f"not {baseline!r}"
    )


class RougeScore(NamedTuple):
    """What :func:`rouge_n` and :func:`rouge_l` return: precision, recall and their harmonic mean.

    >>> import tapegrad as tg
    >>> tg.losses.RougeScore(precision=1.0, recall=0.5, fmeasure=2 / 3).recall
    0.5
    """

    precision: float
    recall: float
    fmeasure: float


def rouge_n(candidate: Sequence[Any], reference: Sequence[Any], n: int = 1) -> RougeScore:
    """ROUGE-N: the share of n-grams that candidate and reference have in common.

    ``candidate``, ``reference``: lists of tokens (words, or numbers); ``n``: how long the n-grams
    are. One that occurs several times counts as often as it does in both. A metric to be rewarded,
    on plain data and without derivative; 0 where there are no n-grams.

    Raises TypeError for text that is not split into tokens, or a tensor.

    Two of three words, and one of two pairs:

    >>> import tapegrad as tg
    >>> candidate, reference = "the cat slept".split(), "the cat sat down".split()
    >>> tg.losses.rouge_n(candidate, reference).recall
    0.5
    >>> tg.losses.rouge_n(candidate, reference, n=2).precision
    0.5

    Source: Lin (2004), ROUGE: a package for automatic evaluation of summaries.
    """
    _tokens("rouge_n", candidate, reference)
    if n < 1:
        raise ValueError(f"rouge_n: n must be at least 1, not {n}")
    found, wanted = (
        Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
        for tokens in (candidate, reference)
    )
    return _score((found & wanted).total(), found.total(), wanted.total())


def rouge_l(candidate: Sequence[Any], reference: Sequence[Any]) -> RougeScore:
    """ROUGE-L: the longest common subsequence, as a share of candidate and of reference.

    Tokens and errors as in :func:`rouge_n`; a subsequence keeps the order but may have gaps.

    >>> import tapegrad as tg
    >>> reference = "police killed the gunman".split()
    >>> tg.losses.rouge_l("police kill the gunman".split(), reference).fmeasure
    0.75
    >>> tg.losses.rouge_l("the gunman kill police".split(), reference).fmeasure
    0.5

    Source: Lin (2004), ROUGE: a package for automatic evaluation of summaries.
    """
    _tokens("rouge_l", candidate, reference)
    # longest[j]: of the candidate so far and the first j tokens of the reference
    longest = [0] * (len(reference) + 1)
    for token in candidate:
        before = longest
        longest = [0]
        for j, other in enumerate(reference):
            same = token == other
            longest.append(before[j] + 1 if same else max(before[j + 1], longest[j]))
    return _score(longest[-1], len(candidate), len(reference))


def _tokens(what: str, *texts: Any) -> None:
    """Refuse what would be compared by letter, or by object."""
    for tokens in texts:
        if isinstance(tokens, str):
            raise TypeError(f"{what}: split the text into tokens first: {tokens!r}.split()")
        if hasattr(tokens, "tolist"):
            raise TypeError(
                f"{what}: tokens must be a list, not {type(tokens).__name__}: use .tolist()"
            )


def _score(hits: int, found: int, wanted: int) -> RougeScore:
    """Precision, recall and 2·precision·recall/(precision + recall)."""
    if not hits:
        return RougeScore(0.0, 0.0, 0.0)
    return RougeScore(hits / found, hits / wanted, 2 * hits / (found + wanted))


class ReinforceLoss(Loss):
    """:func:`reinforce_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.ReinforceLoss("mean")(tg.tensor([-0.5, -1.0]), tg.tensor([1.0, 0.0]))
    tensor(-0.1250)
    """

    function = staticmethod(reinforce_loss)


class SelfCriticalLoss(Loss):
    """:func:`self_critical_loss` with its settings.

    >>> import tapegrad as tg
    >>> log_probs, sampled, greedy = tg.tensor([-0.5]), tg.tensor([0.75]), tg.tensor([0.25])
    >>> tg.losses.SelfCriticalLoss()(log_probs, sampled, greedy)
    tensor(0.2500)
    """

    function = staticmethod(self_critical_loss)


class MinimumRiskLoss(Loss):
    """:func:`minimum_risk_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.MinimumRiskLoss(alpha=0.005)
    >>> loss(tg.tensor([[-1.0, -1.0]]), tg.tensor([[1.0, 0.5]]))
    tensor(0.2500)
    """

    function = staticmethod(minimum_risk_loss)


class ExpectedRewardLoss(Loss):
    """:func:`expected_reward_loss` with its settings.

    >>> import tapegrad as tg
    >>> log_probs = tg.log_softmax(tg.zeros(1, 2), dim=1)
    >>> tg.losses.ExpectedRewardLoss()(log_probs, tg.tensor([[1.0, 0.5]]))
    tensor(-0.7500)
    """

    function = staticmethod(expected_reward_loss)


STEPS = 3
#: Log-probabilities of what was drawn, (rows,), or of its three steps, (rows, 3).
DRAWN = Kind(REALS.draw, logsigmoid)
DRAWN_STEPS = Kind(
    lambda n, c, g: randn(n, STEPS, dtype="float64", generator=g),
    logsigmoid,
)
KEPT_STEPS = Kind(lambda n, c, g: rand(n, STEPS, generator=g) < 0.7, None)
KEPT = Kind(lambda n, c, g: rand(n, c, generator=g) < 0.7, None)
#: Rewards that are held constant, so that there is no derivative to check.
REWARDS = Kind(REALS.draw, None)
STEP_REWARDS = Kind(DRAWN_STEPS.draw, None)

ROWS = (
    Row(
        reinforce_loss,
        (DRAWN, REWARDS),
        ReinforceLoss,
        names=("reinforce", "policy_gradient"),
        settings=(
            {"baseline": "mean"},
            {"baseline": "leave_one_out"},
            {"baseline": 0.3},
            {"baseline": REALS},
        ),
        fixed=("baseline",),
    ),
    Row(
        reinforce_loss,
        (DRAWN_STEPS, REWARDS),
        settings=({"baseline": "mean", "mask": KEPT_STEPS},),
        fixed=("baseline",),
        case="steps",
    ),
    Row(
        reinforce_loss,
        (DRAWN_STEPS, STEP_REWARDS),
        settings=(
            {"baseline": "mean", "mask": KEPT_STEPS},
            {"baseline": "leave_one_out", "mask": KEPT_STEPS},
        ),
        fixed=("baseline",),
        case="rewards of steps",
    ),
    Row(
        self_critical_loss,
        (DRAWN, REWARDS, REWARDS),
        SelfCriticalLoss,
        names=("self_critical", "scst"),
    ),
    Row(
        minimum_risk_loss,
        (LOG_DISTRIBUTION, REAL),
        MinimumRiskLoss,
        names=("minimum_risk", "mrt"),
        settings=({"alpha": 0.4}, {"alpha": 2.5, "mask": KEPT}),
    ),
    Row(
        expected_reward_loss,
        (LOG_DISTRIBUTION, REAL),
        ExpectedRewardLoss,
        names=("expected_reward",),
    ),
)
