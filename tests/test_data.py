"""Data: datasets, samplers, loaders that resume, splits, standardising, frames."""

import collections
import copy
import pickle
import subprocess
import sys
import warnings
from decimal import Decimal

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.nn import data

Pair = collections.namedtuple("Pair", "x y")


def plain(thing):
    """Tensors as (dtype, values), so that structures can be compared."""
    if isinstance(thing, tg.Tensor):
        return str(thing.dtype), thing.tolist()
    if isinstance(thing, dict):
        return {key: plain(value) for key, value in thing.items()}
    if hasattr(thing, "_fields"):
        return (type(thing).__name__, *map(plain, thing))
    if isinstance(thing, (list, tuple)):
        return type(thing)(map(plain, thing))
    return thing


# -- collating --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "samples, batch",  # as PyTorch 2.13 gives them
    [
        ([1, 2], ("int64", [1, 2])),
        ([1.5, 2.0], ("float64", [1.5, 2.0])),
        ([True, False], ("bool", [True, False])),
        (["a", "b"], ["a", "b"]),
        ([np.float32(1), np.float32(2)], ("float32", [1.0, 2.0])),
        ([np.zeros(2), np.ones(2)], ("float64", [[0.0, 0.0], [1.0, 1.0]])),
        ([(1, 0.5), (2, 1.5)], [("int64", [1, 2]), ("float64", [0.5, 1.5])]),
        ([[1, 2], [3, 4]], [("int64", [1, 3]), ("int64", [2, 4])]),
        (
            [{"x": 1, "y": (1.0, 2)}],
            {"x": ("int64", [1]), "y": [("float64", [1.0]), ("int64", [2])]},
        ),
        ([Pair(1, 2.0), Pair(3, 4.0)], ("Pair", ("int64", [1, 3]), ("float64", [2.0, 4.0]))),
        ([(), ()], []),
    ],
)
def test_default_collate(samples, batch):
    assert plain(data.default_collate(samples)) == batch


def test_what_cannot_be_collated():
    with pytest.raises(RuntimeError, match=r"different shapes, \(2,\), \(3,\); pad"):
        data.default_collate([tg.zeros(2), tg.zeros(3)])
    with pytest.raises(RuntimeError, match=r"different lengths, \[1, 2\]"):
        data.default_collate([[1], [1, 2]])
    with pytest.raises(TypeError, match="not object; give the loader a collate_fn"):
        data.default_collate([object()])
    with pytest.raises(ValueError, match="no samples"):
        data.default_collate([])


def test_collating_stays_on_the_tape():
    x = tg.ones(3, requires_grad=True)
    data.default_collate([(x[0], 1), (x[2] * 3, 2)])[0].sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 3.0]


def test_default_convert():
    given = {"a": np.arange(2), "b": (np.float32(1.0), "s", 3), "c": Pair(np.zeros(1), None)}
    assert plain(data.default_convert(given)) == {
        "a": ("int64", [0, 1]),
        "b": [("float32", 1.0), "s", 3],
        "c": ("Pair", ("float64", [0.0]), None),
    }
    words = np.array(["a"])
    assert data.default_convert(words) is words


# -- datasets ---------------------------------------------------------------------------------
class Squares(data.Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return index, index**2


class Count(data.IterableDataset):
    """Says where it is."""

    def __init__(self, n):
        self.n, self.at = n, 0

    def __iter__(self):
        for i in range(self.at, self.n):
            self.at = i + 1
            yield i
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


def test_datasets_of_datasets():
    both = Squares(3) + Squares(2)
    assert [both[i] for i in range(5)] == [(0, 0), (1, 1), (2, 4), (0, 0), (1, 1)]
    assert both[-1] == (1, 1) and len(both) == 5
    for bad in (5, -6):
        with pytest.raises(IndexError, match="5 samples"):
            both[bad]
    assert list(Count(2) + Count(1)) == [0, 1, 0]
    with pytest.raises(TypeError, match="ChainDataset"):
        data.ConcatDataset([Count(2)])
    with pytest.raises(ValueError, match="at least one"):
        data.ConcatDataset([])
    part = data.Subset(data.TensorDataset(tg.arange(5)), [4, 2, 0])
    assert part[1][0] == 2 and part[[0, 2]][0].tolist() == [4, 0]
    stack = data.StackDataset(part, ["a", "b", "c"])
    assert stack[2][1] == "c"
    with pytest.raises(ValueError, match=r"\[3, 2\]"):
        data.StackDataset(part, "ab")
    with pytest.raises(ValueError, match="all with a name"):
        data.StackDataset("ab", x="ab")
    for bad in ((), (3.0,)):
        with pytest.raises(ValueError, match="TensorDataset"):
            data.TensorDataset(*bad)
    with pytest.raises(NotImplementedError, match="Dataset"):
        data.Dataset()[0]


class Doubled(data.TensorDataset):
    def __getitem__(self, index):
        return tuple(2 * t for t in super().__getitem__(index))


@pytest.mark.parametrize(
    "dataset",
    [
        data.TensorDataset(tg.arange(6), tg.rand(6, 2)),
        data.Subset(data.Subset(data.TensorDataset(tg.arange(9)), [8, 6, 4, 2, 0, 1, 3]), range(6)),
        data.StackDataset(x=data.TensorDataset(tg.arange(6)), y=tg.rand(6, 2)),
        data.StackDataset(tg.arange(6), [1, 2, 3, 4, 5, 6]),
        Doubled(tg.arange(6)),
        Squares(6),
        data.ConcatDataset([Squares(4), Squares(2)]),
    ],
    ids=lambda d: type(d).__name__,
)
def test_a_batch_is_its_samples_collated(dataset):
    loader = data.DataLoader(dataset, 4)
    for batch, indices in zip(loader, ([0, 1, 2, 3], [4, 5]), strict=True):
        assert plain(batch) == plain(data.default_collate([dataset[i] for i in indices]))
        assert type(batch) in (list, dict)


def test_a_batch_is_no_view_of_the_data():
    x = tg.zeros(4)
    (batch,) = next(iter(data.DataLoader(data.TensorDataset(x), 2)))
    batch += 1
    assert x.tolist() == [0.0] * 4


# -- loaders ----------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [0, 1, 5, 6])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("kind", [Squares, Count])
def test_lengths(n, drop_last, kind):
    loader = data.DataLoader(kind(n), 3, drop_last=drop_last)
    sizes = [len(b[0]) if kind is Squares else len(b) for b in loader]
    expected = [3] * (n // 3) + ([n % 3] if n % 3 and not drop_last else [])
    assert sizes == expected
    if kind is Squares:
        assert len(loader) == len(expected)
    else:
        with pytest.raises(TypeError):
            len(loader)


def test_without_batches():
    assert list(data.DataLoader(Squares(2), batch_size=None)) == [[0, 0], [1, 1]]
    assert list(data.DataLoader(Count(3), batch_size=None)) == [0, 1, 2]
    loader = data.DataLoader(range(4), batch_size=None, sampler=[2, 0])
    assert list(loader) == [2, 0] and len(loader) == 2


def test_an_empty_dataset_may_be_shuffled():
    assert list(data.DataLoader([], 2, shuffle=True)) == []


def test_orders():
    loader = data.DataLoader("abcd", sampler=[3, 1], batch_size=2)
    assert list(loader) == [["d", "b"]]
    loader = data.DataLoader("abcd", batch_sampler=[[0], [1, 2, 3]])
    assert list(loader) == [["a"], ["b", "c", "d"]] and len(loader) == 2
    loader = data.DataLoader("ab", 2, collate_fn="".join)
    assert list(loader) == ["ab"]

    class Batched(Squares):
        def __getitems__(self, indices):
            return [-i for i in indices]

    assert next(iter(data.DataLoader(Batched(3), 3))).tolist() == [0, -1, -2]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_workers": 2}, "num_workers=2 .*made in this one"),
        ({"prefetch_factor": 2}, "prefetch_factor"),
        ({"batch_size": 0}, "batch_size must be a positive integer, not 0"),
        ({"batch_size": 2.0}, "positive integer, not 2.0"),
        ({"batch_size": "2"}, "positive integer, not '2'"),
        ({"shuffle": True, "sampler": [0]}, "shuffle and sampler exclude"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "leave out batch_size"),
        ({"batch_size": None, "drop_last": True}, "no drop_last"),
    ],
)
def test_settings_that_contradict(settings, message):
    with pytest.raises(ValueError, match=message):
        data.DataLoader(Squares(3), **settings)


def test_what_is_no_dataset():
    with pytest.raises(TypeError, match="not generator"):
        data.DataLoader(x for x in [])
    for settings in ({"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}):
        with pytest.raises(ValueError, match="its own order"):
            data.DataLoader(Count(2), **settings)


# -- samplers ---------------------------------------------------------------------------------
def test_random_samplers():
    tg.manual_seed(0)
    assert sorted(data.RandomSampler(range(50))) == list(range(50))
    more = list(data.RandomSampler(range(3), num_samples=7))
    assert sorted(more[:3]) == sorted(more[3:6]) == [0, 1, 2] and len(more) == 7
    drawn = list(data.RandomSampler(range(3), replacement=True, num_samples=300))
    assert set(drawn) == {0, 1, 2} and len(drawn) == 300
    assert sorted(data.SubsetRandomSampler([5, 7])) == [5, 7]
    weighted = list(data.WeightedRandomSampler([1.0, 3.0, 0.0], 4000))
    assert weighted.count(2) == 0 and weighted.count(1) / 4000 == pytest.approx(0.75, abs=0.03)
    assert sorted(data.WeightedRandomSampler([1, 5, 9], 3, replacement=False)) == [0, 1, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: data.RandomSampler([]),
        lambda: data.RandomSampler([1], num_samples=0),
        lambda: data.WeightedRandomSampler([[1.0]], 1),
        lambda: data.WeightedRandomSampler([-1.0, 2.0], 1),
        lambda: data.WeightedRandomSampler([0.0, 0.0], 1),
        lambda: data.WeightedRandomSampler([1.0, 0.0], 2, replacement=False),
        lambda: data.BatchSampler([1], 0, False),
        lambda: data.BatchSampler([1], True, False),
    ],
)
def test_samplers_that_cannot_be(make):
    with pytest.raises(ValueError, match="Sampler: "):
        make()


def test_the_seed_gives_the_order():
    def order(**settings):
        tg.manual_seed(3)
        loader = data.DataLoader(range(20), 20, shuffle=True, **settings)
        return [next(iter(loader)).tolist() for _ in range(2)]

    assert order() == order() and order()[0] != order()[1]
    own = order(generator=tg.Generator().manual_seed(5))
    assert own == order(generator=tg.Generator().manual_seed(5)) != order()


def test_each_pass_draws_one_number_from_the_default_generator():
    """So that the rest of a program does not depend on how much data there is."""

    def after(n):
        tg.manual_seed(0)
        list(data.DataLoader(range(n), shuffle=True))
        return tg.rand(1).item()

    assert after(3) == after(300)


# -- resuming ---------------------------------------------------------------------------------
def shared_generator():
    return tg.Generator().manual_seed(1)


LOADERS = {
    "in order": lambda: data.DataLoader(range(7), 2),
    "shuffled": lambda: data.DataLoader(range(7), 2, shuffle=True),
    "with a generator": lambda: data.DataLoader(
        range(7), 2, shuffle=True, generator=shared_generator()
    ),
    "drop_last": lambda: data.DataLoader(range(7), 2, shuffle=True, drop_last=True),
    "samples": lambda: data.DataLoader(range(7), None, shuffle=True),
    "weighted": lambda: data.DataLoader(
        range(3), 2, sampler=data.WeightedRandomSampler([1, 2, 3], 7)
    ),
    "weighted with a generator": lambda: data.DataLoader(
        range(3), 2, sampler=data.WeightedRandomSampler([1, 2, 3], 7, generator=shared_generator())
    ),
    "replacement": lambda: data.DataLoader(
        range(3), sampler=data.RandomSampler(range(3), True, 7, shared_generator())
    ),
    "batch_sampler": lambda: data.DataLoader(
        range(7),
        batch_sampler=data.BatchSampler(data.SubsetRandomSampler([1, 3, 5, 6]), 3, False),
    ),
    "lists": lambda: data.DataLoader(range(7), batch_sampler=[[0, 1], [5], [2, 4]]),
    "stateful": lambda: data.DataLoader(Count(7), 2),
}


def run(loader, passes, log, stop=None, seen=0):
    """What a training loop draws and sees: batches, and numbers between them."""
    for _ in range(passes):
        for batch in loader:
            noise = tg.rand(2)
            if loader.generator is not None:  # something else that draws from the loader's
                noise = noise + tg.rand(2, generator=loader.generator)
            log.append((plain(batch), noise.tolist()))
            seen += 1
            if seen == stop:
                return {"loader": loader.state_dict(), "default": tg.get_rng_state()}
        log.append("end")
    return None


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_a_loader_goes_on_where_it_was(make, tmp_path):
    tg.manual_seed(0)
    whole = []
    run(make(), 3, whole)
    batches = sum(entry != "end" for entry in whole)
    for stop in range(1, batches + 1):
        tg.manual_seed(0)
        log = []
        state = run(make(), 3, log, stop)
        path = tg.save(state, tmp_path / "state.safetensors")
        tg.manual_seed(99)
        loader, state = make(), tg.load(path)
        tg.rand(3)
        loader.load_state_dict(state["loader"])
        tg.set_rng_state(state["default"])
        if stop % 2:  # told and loaded again before it goes on
            told = loader.state_dict()
            loader = make()
            loader.load_state_dict(told)
        run(loader, 3 - log.count("end"), log)
        assert log == whole


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_between_passes_and_before_the_first(make):
    for passes in (0, 1, 2):
        tg.manual_seed(0)
        loader, log = make(), []
        run(loader, passes, log)
        if loader.sampler is not None and passes == 0:
            _ = iter(loader.sampler)  # a sampler that was looked at is no pass of the loader
        state, default = loader.state_dict(), tg.get_rng_state()
        run(loader, 1, rest := [])
        other = make()
        other.load_state_dict(state)
        tg.set_rng_state(default)
        run(other, 1, again := [])
        assert again == rest


def test_what_is_over_is_not_fetched():
    fetched = []

    class Logged(Squares):
        def __getitem__(self, index):
            fetched.append(index)
            return index

    loader = data.DataLoader(Logged(6), 2)
    batches = iter(loader)
    next(batches), next(batches)
    state = loader.state_dict()
    fetched.clear()
    other = data.DataLoader(Logged(6), 2)
    other.load_state_dict(state)
    assert [b.tolist() for b in other] == [[4, 5]] and fetched == [4, 5]


def test_settings_are_those_it_was_made_with():
    loader = data.DataLoader(range(6), 2)
    for name in ("dataset", "batch_size", "sampler", "batch_sampler", "drop_last"):
        with pytest.raises(ValueError, match=f"{name} .* make another DataLoader"):
            setattr(loader, name, 3)
    assert [len(batch) for batch in loader] == [2, 2, 2]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_in_the_middle_of_a_pass(copied):
    loader = data.DataLoader(range(7), 2, shuffle=True)
    batches = iter(loader)
    next(batches)
    copy_of_it = copied(loader)
    other = data.DataLoader(range(7), 2, shuffle=True)
    other.load_state_dict(copy_of_it.state_dict())
    assert len(list(copy_of_it)) == 4  # a pass of its own
    rest = [batch.tolist() for batch in batches]
    assert [batch.tolist() for batch in other] == rest


def test_a_pass_left_and_one_begun():
    """The state is that of the pass begun last."""
    loader = data.DataLoader(range(6), 2)
    next(iter(loader))
    batches = iter(loader)
    next(batches), next(batches)
    assert loader.state_dict()["batches"] == 2
    list(batches)
    assert loader.state_dict()["batches"] is None


def test_states_that_do_not_fit_change_nothing():
    def make(n=6, **settings):
        return data.DataLoader(range(n), 2, shuffle=True, **settings)

    loader = make(generator=shared_generator())
    batches = iter(loader)
    next(batches)
    good, before = loader.state_dict(), loader.generator.get_state().tolist()
    for bad, message in (
        (make(8).state_dict(), r"samples=8 \(here 6\)"),
        (make(drop_last=True).state_dict(), "drop_last=True"),
        ({"batches": 1}, "lacks 'samples'"),
        ({**good, "now": {"sampler": {"generator": None}}}, "without a generator"),
    ):
        with pytest.raises(ValueError, match=message):
            loader.load_state_dict(bad)
    with pytest.raises(RuntimeError, match="get_state"):
        loader.load_state_dict({**good, "start": {"sampler": {"generator": tg.zeros(3)}}})
    assert loader.generator.get_state().tolist() == before
    assert len(list(batches)) == 2  # the pass under way is not disturbed


class Odd(data.Sampler):
    """Draws by Python's own means, one number at a time, and can be set back."""

    def __init__(self):
        self.seed = 1

    def __iter__(self):
        for _ in range(5):
            self.seed = self.seed * 16807 % 2147483647
            yield self.seed % 7

    def __len__(self):
        return 5

    def state_dict(self):
        return {"seed": self.seed}

    def load_state_dict(self, state):
        self.seed = state["seed"]


def test_a_sampler_of_ones_own():
    loader = data.DataLoader(range(7), 2, sampler=Odd())
    expected = [b.tolist() for _ in range(2) for b in loader]
    for stop in range(3):
        loader = data.DataLoader(range(7), 2, sampler=Odd())
        batches = iter(loader)
        seen = [next(batches).tolist() for _ in range(stop + 1)]
        other = data.DataLoader(range(7), 2, sampler=Odd())
        other.load_state_dict(loader.state_dict())
        seen += [b.tolist() for b in other] + [b.tolist() for b in other]
        assert seen == expected


class Unknown:
    def __iter__(self):
        return iter([1, 0])


def test_what_cannot_be_resumed():
    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter([1.0])

    for given, why in (
        ((x for x in []), "bare generator"),
        (iter([1]), "bare list_iterator"),
        (Stream(), "Stream, cannot say where it is"),
        (data.DataLoader(Stream()), "Stream, cannot say where it is"),
        (data.DataLoader("ab", sampler=Unknown()), "Unknown, cannot begin a pass again"),
        ({1.0, 2.0}, "set need not give the same"),
    ):
        assert not data.can_resume(given)
        assert why in data.resume_obstacle(given)
        if isinstance(given, data.DataLoader):
            assert not given.can_resume
            with pytest.raises(RuntimeError, match=why):
                given.state_dict()
            with pytest.raises(RuntimeError, match=why):
                given.load_state_dict(data.DataLoader(Count(1)).state_dict() | given._settings())
    for given in (np.zeros(2), tg.zeros(2), [1, 2], Squares(3), Count(2), {"x": tg.zeros(2)}):
        assert data.can_resume(given)
    for make in LOADERS.values():
        assert data.can_resume(make()) and make().can_resume


# -- splits -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "n, lengths, counts",  # as PyTorch 2.13 rounds
    [
        (10, [0.75, 0.25], [8, 2]),
        (10, [3, 7], [3, 7]),
        (30, [0.3, 0.3, 0.4], [9, 9, 12]),
        (17, [1 / 3, 1 / 3, 1 / 3], [6, 6, 5]),
        (7, [0.5, 0.1, 0.4], [4, 1, 2]),
        (101, [0.8, 0.1, 0.1], [81, 10, 10]),
        (19, [0.1] * 10, [2] * 9 + [1]),
        (5, [1], [5]),
    ],
)
def test_random_split(n, lengths, counts):
    parts = data.random_split(range(n), lengths)
    assert [len(p) for p in parts] == counts
    assert sorted(i for p in parts for i in p) == list(range(n))
    again = [data.random_split(range(n), lengths, shared_generator()) for _ in range(2)]
    assert [list(p) for p in again[0]] == [list(p) for p in again[1]]


def test_splits_that_cannot_be():
    with pytest.raises(ValueError, match=r"add up to 9, the dataset has 10"):
        data.random_split(range(10), [4, 5])
    with pytest.raises(ValueError, match=r"add up to 1, \[0.5, 0.4\] to 0.9"):
        data.random_split(range(10), [0.5, 0.4])
    with pytest.raises(ValueError, match="length 1 is -1"):
        data.random_split(range(10), [11, -1])
    with pytest.raises(ValueError, match="length 0 is nan"):
        data.random_split(range(10), [float("nan"), 1.0])
    with pytest.warns(UserWarning, match="part 1 has no samples"):
        data.random_split(range(1), [0.9, 0.1])
    # PyTorch refuses these, whose sum is rounded to a little more than 1
    fractions = [k / 13 for k in (5, 1, 1, 3, 3)]
    assert sum(fractions) > 1
    assert [len(p) for p in data.random_split(range(14), fractions)] == [6, 1, 1, 3, 3]


def test_parts_as_tensors():
    x, y = tg.rand(10, 2), tg.arange(10)
    train, _ = data.random_split(data.TensorDataset(x, y), [0.8, 0.2])
    xs, ys = data.as_tensors(train)
    assert xs.shape == (8, 2) and (xs == x[ys]).all()
    assert plain(data.as_tensors(Squares(3))) == [("int64", [0, 1, 2]), ("int64", [0, 1, 4])]
    with pytest.raises(ValueError, match="empty"):
        data.as_tensors(Squares(0))


# -- standardising ----------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(20))
def test_standardize_is_scikit_learn_s(seed):
    scaler = pytest.importorskip("sklearn.preprocessing").StandardScaler()
    rng = np.random.default_rng(seed)
    train = rng.standard_normal((rng.integers(1, 20), 4)) * 10.0 ** rng.integers(-6, 6, 4)
    train += 10.0 ** rng.integers(-3, 6)
    train[:, 2] = rng.choice([0.0, 0.1, 1e6 / 3])  # constant: 0 afterwards, not noise
    test = train[:1] + rng.standard_normal((3, 4))
    ours = data.Standardize().fit(train)
    expected = scaler.fit(train).transform(test)
    found = ours(test)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.inverse(found), test, rtol=1e-9, atol=1e-9)
    assert (ours(train)[:, 2] == 0).all() or abs(ours(train)[:, 2]).max() < 1e-9


def test_standardise_uses_the_training_part_only():
    train, test = tg.tensor([[0.0], [2.0]]), tg.tensor([[1e9]])
    a, b = data.standardise(train, test)
    assert a.tolist() == data.standardise(train).tolist() == [[-1.0], [1.0]]
    assert b.item() == pytest.approx(1e9)


def test_standardize_dtypes_shapes_and_the_tape():
    images = tg.rand(6, 3, 4, 4) * tg.tensor([1.0, 5.0, 9.0]).reshape(3, 1, 1)
    by_channel = data.Standardize(dim=(0, 2, 3)).fit(images)
    out = by_channel(images)
    assert out.dtype == np.float32 and by_channel.mean.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(out.mean(dim=(0, 2, 3)).numpy(), 0.0, atol=1e-6)
    np.testing.assert_allclose((out**2).mean(dim=(0, 2, 3)).numpy(), 1.0, rtol=1e-5)
    assert by_channel(images[:1, :, :2]).shape == (1, 3, 2, 4)
    targets = data.Standardize().fit(tg.tensor([1, 2, 3]))
    assert targets(tg.tensor([2, 2])).dtype == np.float32
    y = tg.zeros(2, dtype="float64", requires_grad=True)
    targets.inverse(y).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), (2 / 3) ** 0.5)
    # float32 far from 0: the difference is taken before it is rounded
    far = np.float32(2**23) + np.arange(4, dtype=np.float32)
    np.testing.assert_allclose(data.standardise(far), (np.arange(4) - 1.5) / 1.25**0.5, rtol=1e-6)


def test_standardize_refuses():
    scale = data.Standardize()
    assert repr(scale) == "Standardize(dim=0, not fitted)"
    for call in (scale, scale.transform, scale.inverse):
        with pytest.raises(RuntimeError, match="before fit"):
            call(tg.zeros(2, 2))
    for empty in (np.zeros((0, 2)), np.float64(3.0)):
        with pytest.raises(ValueError, match="nothing to measure"):
            scale.fit(empty)
    with pytest.raises(ValueError, match=r"entry \[1, 0\] is nan"):
        scale.fit(np.array([[1.0, 2.0], [np.nan, 3.0]]))
    with pytest.raises(TypeError, match="take the inputs"):
        scale.fit(data.TensorDataset(tg.zeros(2), tg.zeros(2)))
    with pytest.raises(RuntimeError, match="before fit"):  # what was refused fitted nothing
        scale(tg.zeros(2, 2))
    scale.fit(tg.rand(5, 1))
    assert repr(scale) == "Standardize(dim=0, fitted on (N, 1))"
    for bad in (tg.rand(3, 2), tg.rand(3), tg.rand(3, 1, 1)):
        with pytest.raises(ValueError, match=r"fitted on shape \(N, 1\), got"):
            scale(bad)


def test_standardize_is_saved(tmp_path):
    scale = data.Standardize().fit(np.random.default_rng(0).random((5, 3)))
    path = tg.save({"a": scale.state_dict(), "b": data.Standardize().state_dict()}, tmp_path / "s")
    other, none = data.Standardize(dim=(0, 1)), data.Standardize().fit(tg.rand(2))
    state = tg.load(path)
    other.load_state_dict(state["a"])
    none.load_state_dict(state["b"])
    x = np.random.default_rng(1).random((2, 3))
    np.testing.assert_array_equal(other(x), scale(x))
    assert none.mean is None
    with pytest.raises(ValueError, match="lacks 'mean'"):
        other.load_state_dict({"dim": (0,)})
    with pytest.raises(ValueError, match="belong together"):
        other.load_state_dict({**state["a"], "std": None})
    np.testing.assert_array_equal(other(x), scale(x))


# -- arrays, labels, frames -------------------------------------------------------------------
def test_as_tensors():
    given = {"a": [1, 2], "b": (np.zeros(2, np.float32), [tg.ones(1)]), "c": Pair([1.0], 2)}
    found = data.as_tensors(given)
    assert plain(found["a"]) == ("int64", [1, 2])
    assert plain(found["b"]) == (("float32", [0.0, 0.0]), [("float32", [1.0])])
    x = np.zeros(2)
    data.as_tensors(x)[0] = 1.0
    assert x[0] == 0.0  # copied
    assert data.as_tensors(x, "float32").dtype == np.float32
    assert plain(data.as_tensors(np.array([1, 2.5], object))) == ("float32", [1.0, 2.5])
    for bad in ("abc", np.array(["a"]), np.array(["a"], object), ["a"], None, object()):
        with pytest.raises(TypeError, match=r"x must be|x\["):
            data.as_tensors(bad, name="x")
    with pytest.raises(ValueError, match="rows of one length"):
        data.as_tensors([[1], [1, 2]])


def test_one_hot():
    assert plain(data.one_hot(np.array([1, 0]))) == ("float32", [[0.0, 1.0], [1.0, 0.0]])
    assert data.one_hot([[0], [2]], 4, "float64").shape == (2, 1, 4)
    with pytest.raises(TypeError, match="integers"):
        data.one_hot([0.5])
    with pytest.raises(RuntimeError):
        data.one_hot([3], 2)


class Column:
    """A column of a frame, as pandas and polars have it."""

    def __init__(self, values, name):
        self.values, self.name, self.dtype = np.asarray(values), name, "whatever"

    def to_numpy(self):
        return self.values


class Frame:
    """A frame, as far as it is looked at."""

    def __init__(self, **columns):
        self.data, self.columns = columns, list(columns)

    def __getitem__(self, name):
        if isinstance(name, list):
            return Frame(**{n: self.data[n] for n in name})
        return Column(self.data[name], name)

    def __len__(self):
        return len(self.data[self.columns[0]])

    def to_numpy(self):
        raise AssertionError("columns are read one by one, to name them")


def test_frames():
    frame = Frame(age=[20, 30], tall=[True, False], height=[1.5, 2.0])
    assert plain(data.as_tensors(frame)) == ("float64", [[20.0, 1.0, 1.5], [30.0, 0.0, 2.0]])
    assert data.as_tensors(frame, "float32").dtype == np.float32
    assert data.column_names(frame) == ["age", "tall", "height"]
    assert plain(data.as_tensors(frame["age"])) == ("int64", [20, 30])
    assert plain(data.as_tensors(Frame(n=np.array([1, 2], object)))) == ("int64", [[1], [2]])
    rows = [x.tolist() for x, y in data.DataLoader(data.TensorDataset(frame, frame["age"]))]
    assert rows == [[[20.0, 1.0, 1.5]], [[30.0, 0.0, 2.0]]]


@pytest.mark.parametrize(
    "values, error, message",
    [
        (np.array(["Rome", "Oslo"], object), TypeError, "column 'c' holds str such as 'Rome'"),
        (np.array(["Rome"]), TypeError, "column 'c' holds <U4"),
        (np.array([Decimal("1.5")]), TypeError, "column 'c' holds Decimal such as"),
        (np.array(["2020-01-01"], "datetime64[D]"), TypeError, "column 'c' holds datetime64"),
        ([1.0, np.nan, np.nan], ValueError, "column 'c' has 2 missing values, the first in row 1"),
        (np.array([None, 1], object), ValueError, "column 'c' has 1 missing value, .* row 0"),
    ],
)
def test_columns_that_are_no_numbers(values, error, message):
    good = np.zeros(len(values))
    with pytest.raises(error, match=message):
        data.as_tensors(Frame(a=good, c=values))
    with pytest.raises(error, match=message):
        data.as_tensors(Frame(a=good, c=values)["c"])


def test_frames_that_cannot_be():
    twice = Frame(a=[1.0])
    twice.columns = ["a", "a"]
    with pytest.raises(ValueError, match="several columns are called 'a'"):
        data.as_tensors(twice)
    empty = Frame(a=[1.0])
    empty.columns = []
    with pytest.raises(ValueError, match="no columns"):
        data.as_tensors(empty)


def test_standardize_knows_the_columns():
    scale = data.Standardize().fit(Frame(a=[0.0, 2.0], b=[5.0, 5.0]))
    assert scale(Frame(a=[4.0], b=[5.0])).tolist() == [[3.0, 0.0]]
    assert scale(np.array([[4.0, 5.0]])).tolist() == [[3.0, 0.0]]
    with pytest.raises(ValueError, match="lacks 'b' and has 'c' besides"):
        scale(Frame(a=[4.0], c=[5.0]))
    with pytest.raises(ValueError, match=r"another order.*frame\[\['a', 'b'\]\]"):
        scale(Frame(b=[4.0], a=[5.0]))
    with pytest.raises(ValueError, match=r"entry \[1, 1\] \(column 'b'\) is inf"):
        scale.fit(Frame(a=[0.0, 1.0], b=[0.0, np.inf]))


def test_pandas_itself():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", "y"]}, index=[7, 9])
    assert plain(data.as_tensors(frame[["a", "b"]])) == ("float64", [[1.0, 0.5], [2.0, 1.5]])
    assert plain(data.as_tensors(frame["a"])) == ("int64", [1, 2])
    assert plain(data.as_tensors(frame["a"].astype("Int64"))) == ("int64", [1, 2])
    for column in (frame["c"], frame["c"].astype("category"), pd.to_datetime(frame["a"])):
        with pytest.raises(TypeError, match=r"column '[ac]' holds"):
            data.as_tensors(column)
    for missing in (pd.Series([1, None], dtype="Int64"), pd.Series([1.0, None])):
        with pytest.raises(ValueError, match="1 missing value, the first in row 1"):
            data.as_tensors(missing)


def test_no_library_of_frames_is_loaded():
    code = (
        "import sys, tapegrad as tg; tg.nn.data.as_tensors([1.0]);"
        "print({'pandas', 'polars', 'sklearn'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(data.DataLoader(range(5), 2, shuffle=True))
        data.random_split(range(5), [0.5, 0.5])
