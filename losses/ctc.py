"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    arange,
    check,
    clip,
    cumsum,
    gather,
    inf,
    log_softmax,
    logical_and,
    logical_or,
    logsumexp,
    pad,
    randint,
    randn,
    stack,
    unbind,
    where,
)

from .base import Loss
from .checks import dimensions, first_bad, integers, lengths, not_empty, tensors
from .kinds import Kind
from .reducing import known_reduction, reduce
from .table import Row

__all__ = ["CTCLoss", "ctc_loss"]


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification: -log Σ_π Π_t p_t(π_t), over all the ways π to spread
    the target over the frames.

    A way π gives each frame a label or the blank; it spells the target when repeated labels are
    merged and then blanks dropped. ``log_probs``: logarithms of probabilities (a log_softmax) of
    shape (T, N, C), or (T, C) for one sequence. ``targets``: labels of shape (N, S), or all of them
    one after the other, (sum of target_lengths,). ``input_lengths``, ``target_lengths``: how many
    frames and labels of each sequence count, integers (a tensor, array, tuple or number); what lies
    beyond has no influence. ``blank``: the class that is no label. ``reduction``: "mean" divides
    each loss by its target's length (or 1 if that is 0) before it takes the mean, as torch's.

    Where no way spells the target (too few frames, or every way has probability 0) the loss is
    inf, or 0 with ``zero_infinity``, and its gradient 0 (torch: NaN, or 0 with
    ``zero_infinity``). The gradient by ``log_probs`` is the true one, minus the probability of
    each class at each frame given the target; torch adds exp(log_probs) to it, which makes no
    difference to the gradient by the logits under the log_softmax.

    Raises ValueError for shapes that do not fit, an empty batch, lengths or labels out of range
    and a target that holds the blank; TypeError for labels or lengths that are not integers.

    Two frames spell "a" as aa, a- or -a, which is 3 of the 4 ways if both classes are equally
    likely:

    >>> import tapegrad as tg
    >>> log_probs = tg.log(tg.full((2, 1, 2), 0.5))
    >>> tg.losses.ctc_loss(log_probs, tg.tensor([[1]]), (2,), (1,)).exp()
    tensor(1.3333)

    Source: Graves et al. (2006), Connectionist temporal classification: labelling unsegmented
    sequence data with recurrent neural networks.
    """
    log_probs, targets = tensors("ctc_loss", log_probs=log_probs, targets=targets)
    dimensions("ctc_loss", "log_probs", log_probs, "(T, N, C) or (T, C)", 2, 3)
    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    not_empty("ctc_loss", "log_probs", log_probs)
    frames, batch, classes = log_probs.shape
    if isinstance(blank, float) or blank not in range(classes):
        raise ValueError(f"ctc_loss: blank must be a class, 0 … {classes - 1}, not {blank}")
    targets, target_lengths = _padded(targets, target_lengths, batch)
    input_lengths = lengths("ctc_loss", "input_lengths", input_lengths, batch, frames, "frames")
    counts = arange(targets.shape[1]) < target_lengths.unsqueeze(1)
    _check_labels(targets, counts, classes, blank)
    targets = where(counts, targets.long(), blank)

    # The states of a target "ab" are -a-b-: a blank before, between and after.
    labels = pad(targets.unsqueeze(2), (1, 0), value=blank)
    labels = pad(labels.reshape(batch, -1), (0, 1), value=blank)
    states = labels.shape[1]
    emitted = gather(log_probs, 2, labels.unsqueeze(0).expand(frames, batch, states))
    heard = arange(frames).unsqueeze(1) < input_lengths
    emitted = where(heard.unsqueeze(2), emitted, 0.0)
    # A blank may be left out only between labels that differ.
    label_before = pad(labels, (2, 0), value=blank)[:, :-2]
    differ = logical_and(labels != blank, labels != label_before)
    skip = where(differ, 0.0, -inf).to(log_probs.dtype)

    # alpha[n, s]: the log-probability of all ways to be in state s after the frames so far. Before
    # the first frame it is state 0, the blank, from which the first frame stays or moves on.
    start = where(arange(states) == 0, 0.0, -inf).to(log_probs.dtype)
    alpha = start.expand(batch, states)
    history = [alpha]
    for emission in unbind(emitted):
        before = pad(alpha, (2, 0), value=-inf)
        ways = stack([alpha, before[:, 1:-1], before[:, :-2] + skip])
        alpha = logsumexp(ways, dim=0) + emission
        history.append(alpha)
    last = stack(history)[input_lengths, arange(batch)]
    to_end = 2 * target_lengths.unsqueeze(1) - arange(states)
    done = logical_or(to_end == 0, to_end == 1)
    loss = -logsumexp(where(done, last, -inf), dim=1)

    if zero_infinity:
        loss = where(loss == inf, 0.0, loss)
    if known_reduction(reduction) == "mean":
        loss = loss / clip(target_lengths, 1)
    return reduce(loss.squeeze(0) if single else loss, reduction)


def _padded(targets: Tensor, target_lengths: Any, batch: int) -> tuple[Tensor, Tensor]:
    """The targets as (N, S), and their lengths; targets one after the other are cut apart."""
    integers("ctc_loss", "targets", targets, "labels (integers)")
    shape = f"(N, S) with N = {batch}, or (sum of target_lengths,)"
    dimensions("ctc_loss", "targets", targets, shape, 1, 2)
    if targets.ndim == 2:
        if targets.shape[0] != batch:
            raise ValueError(
                f"ctc_loss: targets must have shape {shape} as log_probs has, not {targets.shape}"
            )
        size = targets.shape[1]
        return targets, lengths("ctc_loss", "target_lengths", target_lengths, batch, size, "labels")
    size = targets.shape[0]
    counts = lengths("ctc_loss", "target_lengths", target_lengths, batch, size, "labels")
    total = counts.sum()
    message = f"ctc_loss: targets has shape ({size},), but target_lengths add up to {{}}"
    check(total == size, message, total)
    starts = cumsum(counts, 0) - counts
    index = starts.unsqueeze(1) + arange(counts.max())
    return targets[clip(index, 0, size - 1)], counts


def _check_labels(targets: Tensor, counts: Tensor, classes: int, blank: int) -> None:
    """Check the labels that count: classes, and not the blank."""
    known = logical_and(targets >= 0, targets < classes)
    good = logical_or(~counts, logical_and(known, targets != blank))

    def message(good: Any, targets: Any) -> str:
        return (
            f"ctc_loss: a label of targets must be in 0 … {classes - 1} and not the blank, "
            f"{blank}, but {first_bad(good, targets)}"
        )

    check(good, message, good, targets)


class CTCLoss(Loss):
    """:func:`ctc_loss` with its settings.

    >>> import tapegrad as tg
    >>> log_probs = tg.log(tg.full((2, 1, 2), 0.5))
    >>> tg.losses.CTCLoss(blank=1)(log_probs, tg.tensor([[0]]), (2,), (1,))
    tensor(0.2877)
    """

    function = staticmethod(ctc_loss)


FRAMES = 7
#: Frames of log-probabilities (7, rows, columns + 1): class 0 is the blank.
FRAMES_OF_LOGS = Kind(
    lambda n, c, g: randn(FRAMES, n, c + 1, dtype="float64", generator=g),
    lambda x: log_softmax(x, dim=2),
)
#: Targets of up to three labels, and lengths.
LABEL_ROWS = Kind(lambda n, c, g: randint(1, c + 1, (n, 3), generator=g), None)
FRAME_COUNTS = Kind(lambda n, c, g: randint(FRAMES - 1, FRAMES + 1, (n,), generator=g), None)
LABEL_COUNTS = Kind(lambda n, c, g: randint(0, 4, (n,), generator=g), None)

ROWS = (
    Row(
        ctc_loss,
        (FRAMES_OF_LOGS, LABEL_ROWS, FRAME_COUNTS, LABEL_COUNTS),
        CTCLoss,
        names=("ctc",),
        settings=({"zero_infinity": True},),
    ),
)
