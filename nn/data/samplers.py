"""In which order a dataset's samples come, by the names of torch.utils.data.

A sampler is anything that gives indices when it is iterated over. One that also has
``state_dict()`` (what the next pass depends on) and ``load_state_dict()`` lets a
:class:`DataLoader` be resumed in the middle of a pass: the loader takes the state before a pass,
begins one like it again and leaves out what is over.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

from tapegrad import (
    Generator,
    Tensor,
    as_tensor,
    cat,
    multinomial,
    randint,
    randperm,
    stop_gradient,
)

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]


class Sampler:
    """The base of samplers: says in ``__iter__`` which indices come, and in which order.

    One without randomness of its own needs no more; another overrides :meth:`state_dict` and
    :meth:`load_state_dict`, or sets ``can_resume = False``.

    >>> import tapegrad as tg
    >>> class Backwards(tg.nn.data.Sampler):
    ...     def __init__(self, data):
    ...         self.data = data
    ...     def __iter__(self):
    ...         return iter(range(len(self.data) - 1, -1, -1))
    ...     def __len__(self):
    ...         return len(self.data)
    >>> list(tg.nn.data.DataLoader("abc", sampler=Backwards("abc")))
    [['c'], ['b'], ['a']]
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} says in __iter__ which indices come")

    def state_dict(self) -> dict[str, Any]:
        """What the next pass depends on."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next pass the one that was next when ``state_dict`` was taken."""


class SequentialSampler(Sampler):
    """The indices 0, 1, 2, … of a dataset.

    >>> import tapegrad as tg
    >>> list(tg.nn.data.SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class _Drawn(Sampler):
    """What draws anew for every pass, from ``generator`` or, without one, from a generator of its
    own for the pass, seeded from the default one (so that one number is drawn there per pass)."""

    def __init__(self, generator: Generator | None) -> None:
        if generator is not None and not isinstance(generator, Generator):
            raise TypeError(f"generator must be a tg.Generator, not {type(generator).__name__}")
        self.generator = generator
        self._chosen: Generator | None = None  # what the next pass draws from, if it is known

    def choose(self) -> None:
        """Settle what the next pass draws from, so that :meth:`state_dict` tells it."""
        if self.generator is None and self._chosen is None:
            self._chosen = Generator().manual_seed(operator.index(randint(0, 2**63 - 1, ())))

    def __iter__(self) -> Iterator[int]:
        self.choose()
        source, self._chosen = self._chosen or self.generator, None
        assert source is not None
        return iter(self._draw(source).tolist())

    def _draw(self, generator: Generator) -> Tensor:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What the next pass draws from: the generator's state, or None when it is yet to be
        seeded from the default one."""
        source = self._chosen or self.generator
        return {"generator": None if source is None else source.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Draw the next pass as it was about to be when ``state_dict`` was taken.

        Raises ValueError for the state of a sampler without a generator where this one has one;
        RuntimeError when it is no generator's state.
        """
        state = state_dict["generator"]
        if self.generator is None:
            self._chosen = None if state is None else Generator().set_state(state)
        elif state is None:
            raise ValueError(
                f"{type(self).__name__}: the state was saved without a generator of its own; leave "
                "out generator= here too"
            )
        else:
            self.generator.set_state(state)


def positive(what: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(type(value), "__index__") or value <= 0:
        raise ValueError(f"{what}: {name} must be a positive integer, not {value!r}")
    return operator.index(value)


class RandomSampler(_Drawn):
    """The indices of a dataset in random order, drawn anew for every pass.

    ``replacement``: each index is drawn from all. ``num_samples``: how many indices come (the
    length of the dataset); without replacement, more than that are whole passes one after another.
    ``generator``: without one, each pass has a generator of its own, seeded from the default one.

    Raises ValueError when there is nothing to draw.

    >>> import tapegrad as tg
    >>> sorted(tg.nn.data.RandomSampler("abc"))
    [0, 1, 2]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator)
        if not isinstance(replacement, bool):
            raise TypeError(f"RandomSampler: replacement is True or False, not {replacement!r}")
        self.data_source, self.replacement, self._wanted = data_source, replacement, num_samples
        if num_samples is None and not len(data_source):
            raise ValueError("RandomSampler: the dataset is empty, there is nothing to draw from")
        positive("RandomSampler", "num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """How many indices come."""
        return len(self.data_source) if self._wanted is None else self._wanted

    def _draw(self, generator: Generator) -> Tensor:
        n, wanted = len(self.data_source), self.num_samples
        if self.replacement:
            return randint(0, n, (wanted,), generator=generator)
        passes = [randperm(n, generator=generator) for _ in range(-(-wanted // n))]
        return cat(passes)[:wanted] if len(passes) != 1 else passes[0][:wanted]  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(_Drawn):
    """Given indices in random order, drawn anew for every pass.

    >>> import tapegrad as tg
    >>> sorted(tg.nn.data.SubsetRandomSampler([3, 5, 7]))
    [3, 5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        super().__init__(generator)
        self.indices = indices

    def _draw(self, generator: Generator) -> Tensor:
        return as_tensor(list(self.indices))[randperm(len(self.indices), generator=generator)]  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(_Drawn):
    """Indices drawn with probabilities in proportion to ``weights``, one for each sample.

    ``weights``: (n), not negative; they need not add up to 1. ``num_samples``: how many are drawn.
    Without ``replacement`` no index comes twice. Rare classes come as often as frequent ones with
    ``weights = (1 / counts)[labels]``.

    Raises ValueError for weights that are no row of numbers, negative, not finite or all zero, and
    when there are fewer than ``num_samples`` to draw without replacement.

    >>> import tapegrad as tg
    >>> list(tg.nn.data.WeightedRandomSampler([0.0, 1.0, 0.0], 4))
    [1, 1, 1, 1]
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.num_samples = positive("WeightedRandomSampler", "num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(
                f"WeightedRandomSampler: replacement is True or False, not {replacement!r}"
            )
        # the probabilities of draws, which have no derivative
        self.weights = stop_gradient(as_tensor(weights)).double()
        self.replacement = replacement
        if self.weights.ndim != 1:
            raise ValueError(
                f"WeightedRandomSampler: weights must have shape (n,), not {self.weights.shape}"
            )
        try:
            multinomial(self.weights, self.num_samples, replacement, generator=Generator())
        except RuntimeError as error:
            reason = str(error).removeprefix("multinomial: ")
            raise ValueError(f"WeightedRandomSampler: {reason}") from None

    def _draw(self, generator: Generator) -> Tensor:
        return multinomial(self.weights, self.num_samples, self.replacement, generator=generator)

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of ``batch_size`` indices of another sampler; the last may be shorter.

    ``drop_last``: leave a shorter one out.

    >>> import tapegrad as tg
    >>> list(tg.nn.data.BatchSampler(range(5), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler = sampler
        self.batch_size = positive("BatchSampler", "batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"BatchSampler: drop_last is True or False, not {drop_last!r}")
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches(iter(self.sampler))

    def _batches(self, indices: Iterator[int]) -> Iterator[list[int]]:
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """The state of the sampler inside."""
        return {"sampler": sampler_state(self.sampler)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the sampler inside to a state."""
        load_sampler_state(self.sampler, state_dict["sampler"])


def choose(sampler: Any) -> None:
    """Settle what the next pass draws from, where a sampler has not done so."""
    if isinstance(sampler, BatchSampler):
        choose(sampler.sampler)
    elif isinstance(sampler, _Drawn):
        sampler.choose()


def sampler_state(sampler: Any) -> Any:
    """The state of what gives indices; None for what has none (a list)."""
    return sampler.state_dict() if hasattr(sampler, "state_dict") else None


def load_sampler_state(sampler: Any, state: Any) -> None:
    """Set what gives indices to a state from :func:`sampler_state`."""
    if state is not None and hasattr(sampler, "load_state_dict"):
        sampler.load_state_dict(state)


def unresumable_sampler(sampler: Any) -> str | None:
    """Why a pass of a sampler cannot be begun again, or None when it can."""
    if isinstance(sampler, BatchSampler):
        return unresumable_sampler(sampler.sampler)
    if isinstance(sampler, Sequence | Tensor) or hasattr(sampler, "__array__"):
        return None
    if getattr(sampler, "can_resume", True) and hasattr(sampler, "load_state_dict"):
        return None
    return (
        f"the sampler, a {type(sampler).__name__}, cannot begin a pass again: give it "
        "state_dict() and load_state_dict(), or derive it from nn.data.Sampler"
    )
