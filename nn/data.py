"""Data by torch's names: datasets, loaders and splits. Handling of data, not mathematics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tapegrad import Tensor, randperm, tensor


class TensorDataset:
    """Tensors (or arrays) of equal length, indexed together.

    >>> import tapegrad as tg
    >>> data = tg.nn.data.TensorDataset(tg.arange(4), tg.arange(4) * 10)
    >>> data[1]
    (tensor(1), tensor(10))
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(t if isinstance(t, Tensor) else tensor(t) for t in tensors)
        lengths = [len(t) for t in self.tensors]
        if len(set(lengths)) > 1:
            raise ValueError(f"tensors of one dataset must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)


class DataLoader:
    """Batches of a :class:`TensorDataset`, in order or shuffled anew every epoch.

    >>> import tapegrad as tg
    >>> data = tg.nn.data.TensorDataset(tg.arange(5))
    >>> [batch.tolist() for (batch,) in tg.nn.data.DataLoader(data, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: TensorDataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        generator: Any = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.drop_last, self.generator = drop_last, generator

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)

    def __iter__(self) -> Iterator[Any]:
        n = len(self.dataset)
        order = randperm(n, generator=self.generator) if self.shuffle else None
        for i in range(len(self)):
            part = slice(i * self.batch_size, min((i + 1) * self.batch_size, n))
            yield self.dataset[part if order is None else order[part]]
