"""Sequences of several lengths: padded to one length, or packed without padding.

A packed batch holds step 0 of every sequence, then step 1 of those that have one, and so on, the
longest sequence first; ``batch_sizes`` says how many rows each step has.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

from tapegrad import Tensor, arange, argsort, cat, cumsum, full, nonzero, stack, tensor, where

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """Sequences without padding, step by step, as :func:`pack_padded_sequence` makes them.

    ``data`` (rows, *); ``batch_sizes``: rows of each step; ``sorted_indices`` and
    ``unsorted_indices``: the order by length, and the way back, or None where they came sorted.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.utils.rnn import pack_sequence
    >>> packed = pack_sequence([tg.tensor([1, 2, 3]), tg.tensor([4, 5])])
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([1, 4, 2, 5, 3], [2, 2, 1])
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with the data in another dtype."""
        data, *order = self
        return PackedSequence(data.to(*args, **kwargs), *order)  # type: ignore[arg-type]


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each index stands in a permutation; None of None.

    >>> import tapegrad as tg
    >>> tg.nn.utils.rnn.invert_permutation(tg.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    return None if permutation is None else argsort(permutation)


def sizes_of(sequence: PackedSequence) -> tuple[int, ...]:
    """How many rows each step has, as ints.

    >>> import tapegrad as tg
    >>> sizes_of(tg.nn.utils.rnn.pack_sequence([tg.zeros(3, 1), tg.zeros(1, 1)]))
    (2, 1, 1)
    """
    return tuple(sequence.batch_sizes.tolist())


def _ints(lengths: Any, batch: int, longest: int, what: str) -> list[int]:
    """Lengths as ints, found to fit a batch."""
    found: list[int] = lengths.tolist() if hasattr(lengths, "tolist") else list(lengths)
    if len(found) != batch:
        raise ValueError(f"{what}: {len(found)} lengths for a batch of {batch} sequences")
    if any(n < 1 or n > longest for n in found):
        raise ValueError(
            f"{what}: lengths must be between 1 and {longest}, the length of the input, but are "
            f"{found}"
        )
    return found


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack the first ``lengths[b]`` steps of every sequence of a padded batch.

    ``input`` (T, B, *), or (B, T, *) with ``batch_first``. ``lengths``: ints, as a list or a
    tensor. ``enforce_sorted``: they must fall already; otherwise the sequences are sorted, and
    the layers and :func:`pad_packed_sequence` give results in the order of the input.

    Raises ValueError when a length is not between 1 and T, when there is not one for each
    sequence, or when they are not sorted but must be.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.utils.rnn import pack_padded_sequence
    >>> x = tg.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    >>> packed = pack_padded_sequence(x, [2, 1, 3], batch_first=True, enforce_sorted=False)
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([4, 1, 3, 5, 2, 6], [3, 2, 1])
    """
    if input.ndim < 2:
        raise ValueError(
            f"pack_padded_sequence: input must have 2 dimensions or more, got shape {input.shape}"
        )
    x = input.transpose(0, 1) if batch_first else input
    found = _ints(lengths, x.shape[1], x.shape[0], "pack_padded_sequence")
    order = None
    if not enforce_sorted:
        order = tensor(sorted(range(len(found)), key=lambda b: -found[b]), dtype="int64")
        found = sorted(found, reverse=True)
        x = x.index_select(1, order)
    elif any(a < b for a, b in itertools.pairwise(found)):
        raise ValueError(
            f"pack_padded_sequence: lengths {found} must be in decreasing order: say "
            "enforce_sorted=False to have the sequences sorted"
        )
    longest = max(found, default=0)
    reached = arange(longest).unsqueeze(1) < tensor(found, dtype="int64")
    rows = nonzero(reached.reshape(-1)).squeeze(1)
    data = x[:longest].flatten(0, 1).index_select(0, rows)
    return PackedSequence(data, reached.sum(1), order, invert_permutation(order))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded batch of packed sequences, in their first order, and their lengths.

    Gives (T, B, *), or (B, T, *) with ``batch_first``, where T is the greatest length, or
    ``total_length``; steps beyond a sequence's length hold ``padding_value``.

    Raises ValueError when ``total_length`` is less than a sequence's length.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.utils.rnn import pack_sequence, pad_packed_sequence
    >>> packed = pack_sequence([tg.tensor([1, 2, 3]), tg.tensor([4, 5])])
    >>> pad_packed_sequence(packed, batch_first=True)
    (tensor([[1, 2, 3],
            [4, 5, 0]]), tensor([3, 2]))
    """
    data, batch_sizes, _, order = sequence
    longest = batch_sizes.shape[0]
    steps = longest if total_length is None else total_length
    if steps < longest:
        raise ValueError(
            f"pad_packed_sequence: total_length={total_length} is less than {longest}, the "
            "length of the longest sequence"
        )
    count = max(sizes_of(sequence), default=0)
    columns = arange(count) if order is None else order
    reached = columns < batch_sizes.unsqueeze(1)
    starts = (cumsum(batch_sizes, 0) - batch_sizes).unsqueeze(1)
    # The padding is one more row, behind the last.
    places = where(reached, starts + columns, data.shape[0])
    if steps > longest:
        places = cat([places, full((steps - longest, count), data.shape[0])])
    padding = full((1, *data.shape[1:]), padding_value, dtype=data.dtype)
    places = places.T if batch_first else places
    padded = cat([data, padding]).index_select(0, places.reshape(-1))
    return padded.reshape(*places.shape, *data.shape[1:]), reached.sum(0)


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L, *) side by side, padded to the length of the longest.

    Gives (T, B, *), or (B, T, *) with ``batch_first``. ``padding_side``: "right" or "left".

    Raises ValueError for no sequences, another side, or shapes that differ in more than length.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.utils.rnn import pad_sequence
    >>> pad_sequence([tg.tensor([1, 2, 3]), tg.tensor([4])], batch_first=True)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    found = list(sequences)
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence: padding_side is 'right' or 'left', not {padding_side!r}")
    if not found or len({s.shape[1:] for s in found}) > 1 or not all(s.ndim for s in found):
        raise ValueError(
            "pad_sequence: expects sequences (L, *) that differ in L only, got shapes "
            f"{[s.shape for s in found]}"
        )
    longest = max(len(s) for s in found)
    padded = []
    for s in found:
        missing = longest - len(s)
        if missing:
            padding = full((missing, *s.shape[1:]), padding_value, dtype=s.dtype)
            s = cat([s, padding] if padding_side == "right" else [padding, s])
        padded.append(s)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded batch, each with its own length: :func:`pad_sequence` undone.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.utils.rnn import unpad_sequence
    >>> unpad_sequence(tg.tensor([[1, 2, 3], [4, 0, 0]]), [3, 1], batch_first=True)
    [tensor([1, 2, 3]), tensor([4])]
    """
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    found = _ints(lengths, x.shape[0], x.shape[1], "unpad_sequence")
    return [row[:n] for row, n in zip(x.unbind(0), found, strict=True)]


def pack_sequence(sequences: Iterable[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L, *); see :func:`pack_padded_sequence`.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.utils.rnn import pack_sequence
    >>> pack_sequence([tg.tensor([1, 2, 3]), tg.tensor([4])]).data
    tensor([1, 4, 2, 3])
    """
    found = list(sequences)
    lengths = [len(s) for s in found]
    return pack_padded_sequence(pad_sequence(found), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in their first order.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.utils.rnn import pack_sequence, unpack_sequence
    >>> unpack_sequence(pack_sequence([tg.tensor([1, 2, 3]), tg.tensor([4])]))
    [tensor([1, 2, 3]), tensor([4])]
    """
    return unpad_sequence(*pad_packed_sequence(packed_sequences, True), batch_first=True)
