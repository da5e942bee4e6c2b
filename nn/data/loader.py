"""Batches of a dataset, in order or shuffled, and a place in them to which one can return."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tapegrad import Generator

from .collating import default_collate, default_convert
from .datasets import IterableDataset, gathered
from .samplers import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    choose,
    load_sampler_state,
    positive,
    sampler_state,
    unresumable_sampler,
)

__all__ = ["DataLoader"]

#: Stands for the sampler's state in a pass over an IterableDataset that has no samples left.
_EXHAUSTED = "exhausted"

#: What a loader was made with, of which its sampler and its place in a pass are made.
_SETTINGS = ("dataset", "batch_size", "sampler", "batch_sampler", "drop_last")


class DataLoader:
    """Batches of a dataset, in order or shuffled anew for every pass.

    ``dataset``: what has ``len`` and ``[index]`` (:class:`TensorDataset`, :class:`Subset`, a
    list, …) or an :class:`IterableDataset`. ``batch_size``: samples to a batch, or None for
    single samples. ``shuffle``: a :class:`RandomSampler` gives the order; ``sampler`` (of indices)
    or ``batch_sampler`` (of lists of them) another. ``collate_fn`` makes a batch of a list of
    samples (:func:`default_collate`). ``drop_last`` leaves out a last batch that is not full.
    ``generator``: where the order is drawn from; without one every pass draws a seed from the
    default generator. The other arguments of PyTorch's are about processes that load data; batches
    are made in this one, so that only their defaults are taken.

    In the middle of a pass :meth:`state_dict` tells the place, and :meth:`load_state_dict` makes
    the next pass go on from there, batch for batch the same:

    >>> import tapegrad as tg
    >>> data = tg.nn.data.TensorDataset(tg.arange(6))
    >>> loader = tg.nn.data.DataLoader(data, batch_size=2, shuffle=True)
    >>> batches = iter(loader)
    >>> _ = next(batches)
    >>> place = loader.state_dict()
    >>> rest = [batch.tolist() for (batch,) in batches]
    >>> other = tg.nn.data.DataLoader(data, batch_size=2, shuffle=True)
    >>> other.load_state_dict(place)
    >>> [batch.tolist() for (batch,) in other] == rest
    True

    Raises ValueError for settings that contradict each other.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _one_process(
            num_workers=(num_workers, 0),
            timeout=(timeout, 0),
            worker_init_fn=(worker_init_fn, None),
            multiprocessing_context=(multiprocessing_context, None),
            prefetch_factor=(prefetch_factor, None),
            persistent_workers=(persistent_workers, False),
        )
        self._is_iterable = isinstance(dataset, IterableDataset)
        if not self._is_iterable and not (
            hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        ):
            raise TypeError(
                "DataLoader: a dataset has len() and [index], or is an IterableDataset, "
                f"not {type(dataset).__name__}"
            )
        given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
        orders = [name for name, value in given.items() if value is not None]
        if self._is_iterable and orders:
            raise ValueError(
                f"DataLoader: an IterableDataset says its own order; leave out {orders[0]}"
            )
        if len(orders) > 1:
            raise ValueError(f"DataLoader: {' and '.join(orders)} exclude each other")
        if batch_sampler is not None and (batch_size != 1 or drop_last):
            raise ValueError(
                "DataLoader: batch_sampler makes the batches; leave out batch_size and drop_last"
            )
        if batch_size is None and drop_last:
            raise ValueError("DataLoader: without batches (batch_size=None) there is no drop_last")
        if batch_size is not None:
            batch_size = positive("DataLoader", "batch_size", batch_size)
        self.dataset, self.generator, self.drop_last = dataset, generator, drop_last
        self.num_workers, self.pin_memory = 0, pin_memory
        self.batch_size = None if batch_sampler is not None else batch_size
        self.sampler: Any = None
        self.batch_sampler: Any = None
        if not self._is_iterable:
            self.sampler = sampler
            if sampler is None and batch_sampler is None:
                # a dataset without samples has no random order, and needs none
                drawn = shuffle and len(dataset) > 0
                self.sampler = (
                    RandomSampler(dataset, generator=generator)
                    if drawn
                    else SequentialSampler(dataset)
                )
            self.batch_sampler = batch_sampler
            if batch_sampler is None and batch_size is not None:
                self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self._in_batches = batch_size is not None
        self.collate_fn = collate_fn or (default_collate if self._in_batches else default_convert)
        self._pass: _Pass | None = None  # the one begun last
        self._resume: tuple[int, Any] | None = None  # the place where the next pass begins

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SETTINGS and "_resume" in vars(self):
            raise ValueError(
                f"{name} is settled when a DataLoader is made: make another DataLoader"
            )
        super().__setattr__(name, value)

    @property
    def _order(self) -> Any:
        """What gives the index of each batch."""
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        if not self._is_iterable:
            return len(self._order)
        n = len(self.dataset)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        resume, self._resume = self._resume, None
        over, start = resume or (0, None)
        begun = self._pass = _Pass(over, start)
        if self._is_iterable:
            # a pass that ended with a batch that was not full has nothing left
            nothing = start == _EXHAUSTED
            begun.batches = iter(()) if nothing else self._read(iter(self.dataset), begun)
        else:
            now = sampler_state(self._order)
            if resume is None:
                choose(self._order)
                begun.start = sampler_state(self._order)
            else:
                load_sampler_state(self._order, start)
            order = iter(self._order)
            next(itertools.islice(order, over, over), None)  # what is over is not fetched
            if resume is not None:
                load_sampler_state(self._order, now)
            begun.batches = map(self._fetch, order)
        return begun

    def _read(self, samples: Iterator[Any], begun: _Pass) -> Iterator[Any]:
        """Batches of samples that come one after another."""
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        while samples_of_batch := list(itertools.islice(samples, self.batch_size)):
            if len(samples_of_batch) == self.batch_size:
                yield self.collate_fn(samples_of_batch)
                continue
            if not self.drop_last:
                begun.start = _EXHAUSTED
                yield self.collate_fn(samples_of_batch)
            return

    def _fetch(self, index: Any) -> Any:
        """The batch, or without batches the sample, at an index."""
        if not self._in_batches:
            return self.collate_fn(self.dataset[index])
        index = list(index)
        if self.collate_fn is default_collate:
            found = gathered(self.dataset, index)
            if found is not None:
                return found
        if hasattr(self.dataset, "__getitems__"):
            return self.collate_fn(self.dataset.__getitems__(index))
        return self.collate_fn([self.dataset[i] for i in index])

    @property
    def can_resume(self) -> bool:
        """Whether :meth:`state_dict` can tell the place in a pass."""
        return self.resume_obstacle is None

    @property
    def resume_obstacle(self) -> str | None:
        """Why it cannot, and what to do; None when it can."""
        if not self._is_iterable:
            return unresumable_sampler(self._order)
        if hasattr(self.dataset, "state_dict") and hasattr(self.dataset, "load_state_dict"):
            return None
        return (
            f"the dataset, a {type(self.dataset).__name__}, cannot say where it is: give it "
            "state_dict() and load_state_dict(), or use a dataset with indices"
        )

    def state_dict(self) -> dict[str, Any]:
        """The place in the pass that was begun last, and how its order was drawn.

        Taken after a batch, the next one is where :meth:`load_state_dict` goes on; after the last
        one, or before the first pass, a new pass is. Tensors, numbers and None only, for
        :func:`tapegrad.save`. The default generator's state is not in it, but in
        :func:`tapegrad.get_rng_state`.

        Raises RuntimeError when the order cannot be had again, saying why.
        """
        self._refuse()
        batches: int | None
        if self._resume is not None:
            batches, start = self._resume
        elif self._pass is not None and not self._pass.ended:
            batches, start = self._pass.over, self._pass.start
        else:
            batches = start = None
        now = self.dataset.state_dict() if self._is_iterable else sampler_state(self._order)
        return {**self._settings(), "batches": batches, "start": start, "now": now}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next pass go on where ``state_dict`` was taken.

        Raises ValueError when it is of other data or other batches; nothing is changed then.
        """
        own = self._settings()
        missing = [k for k in (*own, "batches", "start", "now") if k not in state_dict]
        if missing:
            raise ValueError(f"DataLoader: the state lacks {', '.join(map(repr, missing))}")
        other = [f"{k}={state_dict[k]} (here {v})" for k, v in own.items() if v != state_dict[k]]
        if other:
            raise ValueError(
                f"DataLoader: the state was saved with {', '.join(other)}; the place in one is no "
                "place in the other"
            )
        self._refuse()
        batches, start, now = (state_dict[k] for k in ("batches", "start", "now"))
        if self._is_iterable:
            self.dataset.load_state_dict(now)
        else:
            before = sampler_state(self._order)
            try:
                for state in (start, now):  # the first only to see that it fits
                    load_sampler_state(self._order, state)
            except BaseException:
                load_sampler_state(self._order, before)
                raise
        self._pass, self._resume = None, None if batches is None else (batches, start)

    def _refuse(self) -> None:
        if self.resume_obstacle is not None:
            raise RuntimeError(f"DataLoader: it cannot be resumed: {self.resume_obstacle}")

    def _settings(self) -> dict[str, Any]:
        """What a place in the data depends on."""
        samples = None if self._is_iterable else len(self.dataset)
        return {"samples": samples, "batch_size": self.batch_size, "drop_last": self.drop_last}


class _Pass:
    """One pass: its batches, how many of them are over, and the sampler's state before it."""

    def __init__(self, over: int, start: Any) -> None:
        self.batches: Iterator[Any] = iter(())
        self.over, self.start, self.ended = over, start, False

    def __getstate__(self) -> dict[str, Any]:
        # a copy of a loader knows the place, but the pass itself goes on elsewhere
        return {**vars(self), "batches": iter(())}

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            batch = next(self.batches)
        except StopIteration:
            self.ended = True
            raise
        self.over += 1
        return batch


def _one_process(**settings: tuple[Any, Any]) -> None:
    for name, (value, default) in settings.items():
        if value != default:
            raise ValueError(
                f"DataLoader: {name}={value!r} is about processes that load data, and batches are "
                f"made in this one: leave it out ({name}={default!r})"
            )
