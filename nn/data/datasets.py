"""What holds samples, by the names of torch.utils.data."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tapegrad import Tensor

from .conversion import as_tensors

__all__ = [
    "ChainDataset",
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "StackDataset",
    "Subset",
    "TensorDataset",
]


class Dataset:
    """The base of datasets: ``dataset[index]`` is a sample, ``len(dataset)`` how many there are.

    >>> import tapegrad as tg
    >>> class Squares(tg.nn.data.Dataset):
    ...     def __getitem__(self, index):
    ...         return index, index**2
    ...     def __len__(self):
    ...         return 3
    >>> next(iter(tg.nn.data.DataLoader(Squares(), batch_size=3)))
    [tensor([0, 1, 2]), tensor([0, 1, 4])]
    """

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} gives a sample in __getitem__(index)")

    def __add__(self, other: Dataset) -> Dataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """The base of datasets that are read from one end to the other: ``__iter__`` gives samples.

    With ``state_dict()`` (where it is) and ``load_state_dict()`` (the next ``__iter__`` goes on
    from there) a :class:`DataLoader` over it can be resumed in the middle of a pass.

    >>> import tapegrad as tg
    >>> class Count(tg.nn.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(3))
    >>> list(tg.nn.data.DataLoader(Count(), batch_size=2))
    [tensor([0, 1]), tensor([2])]
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} gives samples in __iter__")

    def __add__(self, other: Dataset) -> Dataset:
        return ChainDataset([self, other])


class TensorDataset(Dataset):
    """Tensors (arrays, frames) of equal length, indexed together: a sample is a tuple of rows.

    Raises ValueError when the lengths differ, when one is a single number and without any.

    >>> import tapegrad as tg
    >>> data = tg.nn.data.TensorDataset(tg.arange(4), tg.arange(4) * 10)
    >>> data[1]
    (tensor(1), tensor(10))
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("TensorDataset: give at least one tensor")
        self.tensors = tuple(as_tensors(t, name=f"tensor {i}") for i, t in enumerate(tensors))
        shapes = [getattr(t, "shape", None) for t in self.tensors]
        if not all(shapes):
            raise ValueError(
                f"TensorDataset: each must be a tensor with a first dimension, got shapes {shapes}"
            )
        lengths = [len(t) for t in self.tensors]
        if len(set(lengths)) > 1:
            raise ValueError(f"tensors of one dataset must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)


class StackDataset(Dataset):
    """Several datasets of equal length, indexed together: a sample is a tuple, or a dict by name.

    >>> import tapegrad as tg
    >>> data = tg.nn.data.StackDataset(image=tg.arange(3), caption=["a", "b", "c"])
    >>> data[1]
    {'image': tensor(1), 'caption': 'b'}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if (args and kwargs) or not (args or kwargs):
            raise ValueError("StackDataset: give datasets, either all with a name or all without")
        self.datasets: Any = kwargs or args
        lengths = [len(dataset) for dataset in kwargs.values() or args]
        if len(set(lengths)) > 1:
            raise ValueError(f"datasets that are stacked must have one length, got {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class Subset(Dataset):
    """The samples of a dataset at some indices, in their order.

    >>> import tapegrad as tg
    >>> "".join(tg.nn.data.Subset("abcd", [3, 1]))
    'db'
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Datasets one after another; ``a + b`` makes one too.

    Raises ValueError without any dataset; TypeError for one that is iterated over.

    >>> import tapegrad as tg
    >>> both = tg.nn.data.ConcatDataset(["ab", "cde"])
    >>> len(both), both[2], both[-1]
    (5, 'c', 'e')
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: give at least one dataset")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise TypeError("ConcatDataset: an IterableDataset has no indices; use ChainDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        which = bisect.bisect_right(self.cumulative_sizes, at)
        return self.datasets[which][at - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset):
    """Datasets that are iterated over, one after another.

    >>> import tapegrad as tg
    >>> list(tg.nn.data.ChainDataset([range(2), range(3)]))
    [0, 1, 0, 1, 2]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)


def gathered(dataset: Any, indices: list[int]) -> Any:
    """What collating the samples at some indices gives, taken from tensors at once; None where the
    samples must be asked for one by one."""
    # a subclass may do more in __getitem__
    if type(dataset) is Tensor:
        return dataset[indices]
    if type(dataset) is Subset:
        return gathered(dataset.dataset, [dataset.indices[i] for i in indices])
    if type(dataset) is TensorDataset:
        return [t[indices] for t in dataset.tensors]
    if type(dataset) is StackDataset:
        inner = dataset.datasets
        named = inner if isinstance(inner, dict) else dict(enumerate(inner))
        found = {name: gathered(d, indices) for name, d in named.items()}
        if any(value is None for value in found.values()):
            return None
        return found if named is inner else list(found.values())
    return None
