"""Losses of sequences with padding."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, arange, as_tensor, exp, rand, randint, randn, where

from .base import Loss
from .checks import dimensions, integers, labels, not_empty, tensors
from .checks import lengths as check_lengths
from .classification import cross_entropy
from .kinds import PER_CLASS, Kind
from .reducing import known_reduction, reduce
from .table import Row

__all__ = [
    "NextTokenCrossEntropyLoss",
    "Perplexity",
    "SequenceCrossEntropyLoss",
    "next_token_cross_entropy",
    "perplexity",
    "sequence_cross_entropy",
]


def sequence_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: Any = 0.0,
    mask: Any = None,
    lengths: Any = None,
    over: str = "tokens",
) -> Tensor:
    """Cross-entropy of the right token at each position: -log softmax(input[n, t])[target[n, t]].

    The model was given the right tokens before position t (teacher forcing). ``input``: logits (N,
    T, C). ``target``: tokens (N, T). Padding does not count: positions where ``target`` is
    ``ignore_index``, where ``mask`` (booleans, (N, T)) is False or beyond ``lengths`` (integers,
    (N,)); what stands in ``target`` and ``input`` there is not looked at. ``weight`` and
    ``label_smoothing`` as in :func:`cross_entropy`. ``over``: what is reduced, "tokens" (the mean
    is over the tokens that count, as torch's over what is not ignored; "none" gives (N, T)) or
    "sequences" (their tokens' losses added up, -log of the sequence's probability; "none" gives
    (N,)).

    If no token counts the mean over tokens is 0/0, NaN, as torch's; a sequence of padding costs 0.

    Raises ValueError for shapes that do not fit, an empty batch, a token or length out of range
    and an unknown ``over``; TypeError for tokens or lengths that are not integers or a mask that
    is not boolean.

    The third token is padding:

    >>> import tapegrad as tg
    >>> logits, tokens = tg.zeros(1, 3, 2), tg.tensor([[0, 1, -100]])
    >>> loss = tg.losses.sequence_cross_entropy
    >>> loss(logits, tokens), loss(logits, tokens, over="sequences")
    (tensor(0.6931), tensor(1.3863))

    Source: Williams and Zipser (1989), A learning algorithm for continually running fully
    recurrent neural networks (teacher forcing).
    """
    what = "sequence_cross_entropy"
    input, target = _sequences(what, input, target)
    target = _padded(what, target, ignore_index, mask, lengths)
    return _cross_entropy(
        what, input, target, weight, ignore_index, reduction, label_smoothing, over
    )


def next_token_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: Any = 0.0,
    mask: Any = None,
    lengths: Any = None,
    over: str = "tokens",
) -> Tensor:
    """Cross-entropy of a language model: -log softmax(input[n, t])[target[n, t + 1]].

    ``input``: logits (N, T, C) of a model that read ``target``, the text itself, (N, T) tokens
    with T at least 2: position t is to know token t + 1, so the first token is not predicted and
    the last logits not used. The rest, with padding said of the tokens before they are shifted,
    as in :func:`sequence_cross_entropy`.

    Logits that are sure of token 1 cost nothing for [0, 1, 1]:

    >>> import tapegrad as tg
    >>> logits = tg.tensor([[[0.0, 100.0], [0.0, 100.0], [0.0, 0.0]]])
    >>> tg.losses.next_token_cross_entropy(logits, tg.tensor([[0, 1, 1]]))
    tensor(0.)

    Source: Bengio et al. (2003), A neural probabilistic language model.
    """
    what = "next_token_cross_entropy"
    input, target = _sequences(what, input, target)
    if target.shape[1] == 1:
        raise ValueError(f"{what}: one token, target of shape {target.shape}, has no next")
    target = _padded(what, target, ignore_index, mask, lengths)
    return _cross_entropy(
        what,
        input[:, :-1],
        target[:, 1:],
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        over,
    )


def perplexity(
    input: Tensor,
    target: Tensor,
    ignore_index: int = -100,
    mask: Any = None,
    lengths: Any = None,
) -> Tensor:
    """Perplexity: exp of the mean of -log softmax(input[n, t])[target[n, t]] over the tokens.

    Operands, padding and errors as in :func:`sequence_cross_entropy`; inf where the mean is beyond
    the exponent's range (88 in float32). It is differentiable, but its gradient is the
    cross-entropy's times itself, so that one trains with the latter.

    Even odds among C tokens have perplexity C:

    >>> import tapegrad as tg
    >>> tg.losses.perplexity(tg.zeros(1, 2, 5), tg.tensor([[3, 1]]))
    tensor(5.0000)

    Source: Jelinek et al. (1977), Perplexity: a measure of the difficulty of speech recognition
    tasks.
    """
    input, target = _sequences("perplexity", input, target)
    target = _padded("perplexity", target, ignore_index, mask, lengths)
    entropy = _cross_entropy("perplexity", input, target, None, ignore_index, "mean", 0.0, "tokens")
    return exp(entropy)


def _sequences(what: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Logits (N, T, C) and the tokens (N, T) that belong to them."""
    input, target = tensors(what, input=input, target=target)
    dimensions(what, "input", input, "(N, T, C)", 3)
    not_empty(what, "input", input)
    if target.shape != input.shape[:2]:
        raise ValueError(
            f"{what}: logits of shape {input.shape} (N, T, C) take tokens of shape "
            f"{input.shape[:2]}, not {target.shape}"
        )
    integers(what, "target", target, "tokens (integers)")
    return input, target.long()  # in which there is an ignore_index


def _padded(what: str, target: Tensor, ignore_index: int, mask: Any, lengths: Any) -> Tensor:
    """The target with ``ignore_index`` wherever mask or lengths say padding."""
    if lengths is not None:
        size, steps = target.shape
        lengths = check_lengths(what, "lengths", lengths, size, steps, "tokens")
        target = where(arange(steps) < lengths.unsqueeze(1), target, ignore_index)
    if mask is not None:
        mask = as_tensor(mask)
        if mask.dtype.kind != "b":
            raise TypeError(
                f"{what}: mask must be boolean, True where a token counts, not {mask.dtype}: "
                "mask != 0 makes it so"
            )
        if mask.shape != target.shape:
            raise ValueError(
                f"{what}: mask must have the tokens' shape {target.shape}, not {mask.shape}"
            )
        target = where(mask, target, ignore_index)
    return target


def _cross_entropy(
    what: str,
    input: Tensor,
    target: Tensor,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: Any,
    over: str,
) -> Tensor:
    """The cross-entropy reduced over tokens or over sequences."""
    if over not in ("tokens", "sequences"):
        raise ValueError(f'{what}: over must be "tokens" or "sequences", not {over!r}')
    labels(what, "target", target, input.shape[2], ignore_index)
    # A padded NaN would spoil the gradient.
    rows = where((target != ignore_index).unsqueeze(2), input, 0.0).flatten(0, 1)
    tokens = target.flatten()
    if over == "tokens" and known_reduction(reduction) == "mean":
        return cross_entropy(rows, tokens, weight, ignore_index, "mean", label_smoothing)
    each = cross_entropy(rows, tokens, weight, ignore_index, "none", label_smoothing)
    each = each.reshape(target.shape)
    return reduce(each if over == "tokens" else each.sum(dim=1), reduction)


class SequenceCrossEntropyLoss(Loss):
    """:func:`sequence_cross_entropy` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.SequenceCrossEntropyLoss(ignore_index=0)
    >>> loss(tg.zeros(1, 3, 2), tg.tensor([[1, 1, 0]]))
    tensor(0.6931)
    """

    function = staticmethod(sequence_cross_entropy)


class NextTokenCrossEntropyLoss(Loss):
    """:func:`next_token_cross_entropy` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.NextTokenCrossEntropyLoss()(tg.zeros(1, 3, 2), tg.tensor([[0, 1, 1]]))
    tensor(0.6931)
    """

    function = staticmethod(next_token_cross_entropy)


class Perplexity(Loss):
    """:func:`perplexity` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.Perplexity(ignore_index=0)(tg.zeros(1, 3, 2), tg.tensor([[1, 1, 0]]))
    tensor(2.)
    """

    function = staticmethod(perplexity)


LENGTH = 3
#: Logits (rows, 3, columns) and tokens (rows, 3), of which some may be padding.
STEPS = Kind(lambda n, c, g: randn(n, LENGTH, c, dtype="float64", generator=g))
TOKENS = Kind(lambda n, c, g: randint(0, c, (n, LENGTH), generator=g), None)
PADDED_TOKENS = Kind(
    lambda n, c, g: where(rand(n, LENGTH, generator=g) < 0.3, -100, TOKENS.draw(n, c, g)), None
)
COUNTS = Kind(lambda n, c, g: randint(1, LENGTH + 1, (n,), generator=g), None)
KEPT = Kind(lambda n, c, g: rand(n, LENGTH, generator=g) < 0.7, None)

ROWS = (
    Row(
        sequence_cross_entropy,
        (STEPS, TOKENS),
        SequenceCrossEntropyLoss,
        names=("seq2seq", "teacher_forcing"),
        settings=(
            {"label_smoothing": 0.1, "weight": PER_CLASS},
            {"lengths": COUNTS, "mask": KEPT},
            {"lengths": COUNTS, "over": "sequences", "label_smoothing": 0.2},
        ),
    ),
    Row(
        sequence_cross_entropy,
        (STEPS, PADDED_TOKENS),
        settings=({"reduction": "none"},),
        case="padded",
    ),
    Row(
        next_token_cross_entropy,
        (STEPS, TOKENS),
        NextTokenCrossEntropyLoss,
        names=("next_token", "causal_lm", "language_model"),
        settings=({"label_smoothing": 0.1}, {"lengths": COUNTS, "over": "sequences"}),
    ),
    Row(
        perplexity,
        (STEPS, PADDED_TOKENS),
        Perplexity,
        settings=({"mask": KEPT},),
    ),
)
