"""Whatever is given as data, as batches for a Trainer: (inputs, targets, weights)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tapegrad import Tensor

#: The number of samples in a batch where nothing is said, as in Keras.
BATCH_SIZE = 32
#: What a batch consists of: the inputs, the targets or None, the weights of samples or None.
PARTS = ("x", "y", "sample_weight")
Batch = tuple[Any, Any, Any]


class Feed:
    """Batches, epoch for epoch, and the place in them.

    ``source``: what is iterated over anew for every epoch, or with ``steps`` over and over, so many
    batches to an epoch. ``unpack`` makes the three parts of what it gives. ``obstacle``: why the
    place in it cannot be found again, if so.
    """

    def __init__(
        self, source: Any, unpack: Callable[[Any], Batch], steps: int | None, obstacle: str | None
    ) -> None:
        if steps is not None and steps < 1:
            raise ValueError(f"the steps of an epoch must be at least 1, not {steps}")
        self.source, self.unpack, self.steps, self.obstacle = source, unpack, steps, obstacle
        self._open: Iterator[Any] | None = None  # a pass that the next epoch goes on with

    def __len__(self) -> int:
        """The batches of an epoch; TypeError if that is not known."""
        return len(self.source) if self.steps is None else self.steps

    @property
    def length(self) -> int | None:
        """The batches of an epoch, if that is known."""
        try:
            return len(self)
        except TypeError:
            return None

    def epoch(self, begin: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from the given one on."""
        if self.steps is None:
            batches, self._open = self._opened(), None
            any_came = begin > 0
            for batch in batches:
                any_came = True
                yield self.unpack(batch)
            if not any_came:
                raise self._nothing()
            return
        for _ in range(begin, self.steps):
            yield self.unpack(self._next())

    def _opened(self) -> Iterator[Any]:
        return self._open or iter(self.source() if callable(self.source) else self.source)

    def _next(self) -> Any:
        """The next batch; at the end of a pass the first one of another."""
        for _ in range(2):
            self._open = self._opened()
            for batch in self._open:
                return batch
            self._open = None
        raise self._nothing()

    def _nothing(self) -> ValueError:
        if hasattr(self.source, "__next__"):
            return ValueError(
                "the data ran out: what was given can be iterated over once only. For more epochs "
                "give a DataLoader, arrays, or a function that makes a new generator for each; or "
                "a generator without an end, and steps_per_epoch"
            )
        return ValueError("the data has no batches: it is empty, or shorter than one full batch")

    def refuse_unresumable(self) -> None:
        """Raise TypeError if the place cannot be told, and with it a run be resumed."""
        if self.obstacle is not None:
            raise TypeError(
                f"training on this data cannot be resumed: {self.obstacle}. Or leave out "
                "checkpoint and resume_from"
            )

    def state_dict(self) -> Any:
        """The place in the data."""
        return self.source.state_dict() if hasattr(self.source, "state_dict") else None

    def load_state_dict(self, state: Any) -> None:
        """Go to a place, so that the next batch is the one after it."""
        if state is not None:
            self.source.load_state_dict(state)
        self._open = None


def feed_of(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    dtype: Any,
    batch_size: int | None = None,
    shuffle: bool = False,
    steps: int | None = None,
) -> Feed:
    """Batches of what was given to ``fit``, ``evaluate`` or ``predict``."""
    from .data import DataLoader, Dataset, IterableDataset, TensorDataset, resume_obstacle

    size = BATCH_SIZE if batch_size is None else batch_size

    def unpack(batch: Any) -> Batch:
        return unpacked(batch, dtype)

    if y is not None and (isinstance(x, (Dataset, DataLoader)) or hasattr(x, "__next__")):
        raise TypeError(f"a {type(x).__name__} brings its own targets: leave y out")
    if y is not None or is_arrays(x):
        arrays = arrays_of(x, y, sample_weight, dtype)
        flat = TensorDataset(*(leaf for _, leaf in leaves_of(arrays, "")))
        loader = DataLoader(flat, size, shuffle=shuffle)

        def refill(batch: Any) -> Batch:
            left = iter(batch)
            return in_order(mapped(arrays, lambda _: next(left)))

        return Feed(loader, refill, steps, None)
    if sample_weight is not None:
        raise ValueError(
            "sample_weight goes with arrays; batches bring theirs along: (inputs, targets, weights)"
        )
    if isinstance(x, Dataset) and not isinstance(x, IterableDataset):
        loader = DataLoader(x, size, shuffle=shuffle)
        return Feed(loader, unpack, steps, resume_obstacle(loader))
    if batch_size is not None:
        raise ValueError(
            f"batch_size={batch_size} goes with arrays and datasets; a {type(x).__name__} makes "
            "its batches itself: leave it out"
        )
    if isinstance(x, (list, tuple)):
        loader = DataLoader(_Batches([unpack(batch) for batch in x]), None, collate_fn=_as_it_is)
        return Feed(loader, unpack, steps, None)
    obstacle = resume_obstacle(x)
    if not hasattr(x, "__iter__"):
        if not callable(x):
            raise TypeError(
                "data is given as arrays, a dataset, or something to iterate over, not "
                f"{type(x).__name__}"
            )
        obstacle = (
            "a function that makes batches cannot say where it is: use arrays, a dataset with "
            "indices, or an IterableDataset with state_dict() and load_state_dict()"
        )
    return Feed(x, unpack, steps, obstacle)


class _Batches:
    """Batches that are there already, as a dataset of which each is one sample."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


def _as_it_is(batch: Any) -> Any:
    return batch


def is_arrays(x: Any) -> bool:
    """Whether something is an array, a frame, or a tuple, list or dict of such."""
    if isinstance(x, dict):
        return len(x) > 0 and all(map(is_arrays, x.values()))
    if isinstance(x, (tuple, list)):
        return len(x) > 0 and not any(map(_is_batch, x))
    return hasattr(x, "dtype") or hasattr(x, "__array__") or hasattr(x, "to_numpy")


def _is_batch(part: Any) -> bool:
    """Whether an element of a list is a batch, such as a pair of inputs and targets."""
    if isinstance(part, list):
        return any(hasattr(v, "shape") for v in part)
    return isinstance(part, (tuple, dict))


def arrays_of(x: Any, y: Any, sample_weight: Any, dtype: Any) -> dict[str, Any]:
    """Inputs, targets and weights that are there as tensors; ValueError if their lengths differ."""
    given = {
        name: as_model_takes(part, dtype, name)
        for name, part in zip(PARTS, (x, y, sample_weight))
        if part is not None
    }
    leaves = [leaf for name, tree in given.items() for leaf in leaves_of(tree, name)]
    lengths = {leaf.shape[0] if leaf.ndim else None for _, leaf in leaves}
    if len(lengths) > 1 or None in lengths:
        raise ValueError(
            "inputs, targets and weights must have as many samples (the first dimension): "
            + ", ".join(f"{at} has shape {leaf.shape}" for at, leaf in leaves)
        )
    return given


def in_order(arrays: dict[str, Any]) -> Batch:
    """Inputs, targets and weights, None for those that are not there."""
    x, y, w = (arrays.get(name) for name in PARTS)
    return x, y, w


def leaves_of(tree: Any, name: str) -> list[tuple[str, Tensor]]:
    """The tensors of a structure with their places."""
    if isinstance(tree, dict):
        return [leaf for k, v in tree.items() for leaf in leaves_of(v, f"{name}[{k!r}]")]
    if isinstance(tree, (tuple, list)):
        return [leaf for i, v in enumerate(tree) for leaf in leaves_of(v, f"{name}[{i}]")]
    return [(name, tree)] if isinstance(tree, Tensor) else []


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """A function of every tensor of a structure, in that structure."""
    if isinstance(tree, dict):
        return {k: mapped(v, function) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(mapped(v, function) for v in tree)
    return function(tree)


def as_model_takes(data: Any, dtype: Any, name: str) -> Any:
    """Data as tensors: what is not one is made one, floats in the dtype of the model."""
    if isinstance(data, Tensor) or data is None:
        return data
    if isinstance(data, dict):
        return {k: as_model_takes(v, dtype, f"{name}[{k!r}]") for k, v in data.items()}
    if isinstance(data, (tuple, list)) and any(hasattr(v, "shape") for v in data):
        return tuple(as_model_takes(v, dtype, f"{name}[{i}]") for i, v in enumerate(data))
    from .data import as_tensors

    made = as_tensors(data, name=name)
    return made.to(dtype) if isinstance(made, Tensor) and made.is_floating_point() else made


def unpacked(batch: Any, dtype: Any) -> Batch:
    """Inputs, targets and weights of a batch: (x,), (x, y), (x, y, w) or x alone."""
    if isinstance(batch, (tuple, list)):
        if len(batch) not in (1, 2, 3):
            raise ValueError(
                "a batch is (inputs, targets) or (inputs, targets, weights), not "
                f"{len(batch)} things: put several inputs into a tuple of their own"
            )
        parts = (*batch, None, None)[:3]
    else:
        parts = (batch, None, None)
    x, y, w = (as_model_takes(part, dtype, name) for part, name in zip(parts, PARTS))
    return x, y, w


def split_off(x: Any, y: Any, sample_weight: Any, share: float, dtype: Any) -> tuple[Batch, Batch]:
    """The first and the last part of arrays, as Keras splits them: before any shuffling."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"validation_split must be between 0 and 1, not {share}")
    if y is None and not is_arrays(x):
        raise ValueError(
            "validation_split takes the last part of arrays, and there is none of a "
            f"{type(x).__name__}: give validation_data"
        )
    arrays = arrays_of(x, y, sample_weight, dtype)
    n = leaves_of(arrays["x"], "x")[0][1].shape[0]
    # the number of samples is no tensor
    first = int(n * (1.0 - share))
    if first == 0 or first == n:
        raise ValueError(
            f"validation_split={share} of {n} samples leaves {first} for training and {n - first} "
            "for validation: give another share"
        )
    training, validation = mapped(arrays, lambda t: t[:first]), mapped(arrays, lambda t: t[first:])
    return in_order(training), in_order(validation)


def samples_in(x: Any) -> int:
    """How many samples a batch of inputs has."""
    for _, leaf in leaves_of(x, "x"):
        return leaf.shape[0] if leaf.ndim else 1
    return 1


def called(model: Any, x: Any) -> Any:
    """What a model makes of inputs: a tuple are its arguments, a dict its keyword arguments."""
    if isinstance(x, dict):
        return model(**x)
    return model(*x) if isinstance(x, (tuple, list)) else model(x)
