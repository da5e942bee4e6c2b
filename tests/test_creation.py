"""New tensors, against PyTorch's, and random ones, against what their distributions say."""

import copy
import json
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg

CASES = json.loads((Path(__file__).parent / "data" / "creation.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["expression"])
def test_against_torch(case):
    found = eval(case["expression"], {"t": tg})
    assert isinstance(found, tg.Tensor)
    assert str(found.dtype) == case["dtype"]
    assert found.shape == tuple(case["shape"])
    np.testing.assert_allclose(
        found.numpy(), np.reshape(case["value"], case["shape"]), rtol=2e-7, atol=1e-8
    )


def test_requires_grad_and_dtype_by_name():
    for x in (
        tg.zeros(2, dtype="float64", requires_grad=True),
        tg.full((2,), 1.0, dtype="float64", requires_grad=True),
        tg.arange(2, dtype="float64", requires_grad=True),
        tg.eye(2, dtype="float64", requires_grad=True),
        tg.linspace(0, 1, 2, dtype="float64", requires_grad=True),
        tg.ones_like(tg.zeros(2), dtype="float64", requires_grad=True),
        tg.rand(2, dtype="float64", requires_grad=True),
        tg.randn(2, dtype="float64", requires_grad=True),
    ):
        assert x.is_leaf and x.requires_grad and x.dtype == np.float64


def test_arrays_are_copied():
    array = np.array([1.0, 2.0])
    for make in (tg.from_numpy, tg.as_tensor, tg.asarray, tg.tensor):
        x = make(array)
        array[0] = 9.0
        assert x[0].item() == 1.0
        array[0] = 1.0
    x = tg.tensor(array)
    assert tg.as_tensor(x) is x
    assert tg.asarray(x, copy=True) is not x


def test_arguments_by_name():
    assert tg.arange(end=3).tolist() == [0, 1, 2]
    assert tg.tensor([1.0], device=tg.device("cpu"), requires_grad=True).requires_grad
    assert tg.arange(start=1, end=2, step=0.5).tolist() == [1.0, 1.5]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: tg.zeros(2, dtype="complex128"), TypeError, "complex128"),
        (lambda: tg.tensor([1j]), TypeError, "complex"),
        (lambda: tg.zeros(2, dtype="nonsense"), TypeError, "nonsense"),
        (lambda: tg.zeros(2, requires_grad=True, dtype="int64"), RuntimeError, "int64"),
        (lambda: tg.zeros(-1), RuntimeError, "negative"),
        (lambda: tg.zeros(1.5), TypeError, "ints"),
        (lambda: tg.zeros(2, device="cuda"), RuntimeError, "CPU"),
        (lambda: tg.tensor([2], device="cuda"), RuntimeError, "CPU"),
        (lambda: tg.zeros(2, nonsense=1), TypeError, "nonsense"),
        (lambda: tg.device("cuda:0"), RuntimeError, "CPU"),
        (lambda: tg.arange(0, 5, -1), RuntimeError, "does not lead"),
        (lambda: tg.arange(0, 5, 0), RuntimeError, "does not lead"),
        (lambda: tg.arange(), TypeError, "end"),
        (lambda: tg.eye(-1), RuntimeError, "eye.*negative"),
        (lambda: tg.linspace(0, 1, -1), RuntimeError, "linspace.*negative"),
        (lambda: tg.from_numpy([1.0]), TypeError, "ndarray"),
        (lambda: tg.asarray([1.0], copy=False), ValueError, "copy"),
        (lambda: tg.rand(2, dtype="int64"), RuntimeError, "floating"),
        (lambda: tg.randint(3, 3, (2,)), RuntimeError, "less than"),
        (lambda: tg.randint(3), TypeError, "size"),
        (lambda: tg.randperm(-1), RuntimeError, "negative"),
        (lambda: tg.normal(0.0, 1.0), TypeError, "size"),
        (lambda: tg.normal(tg.zeros(2), -1.0), RuntimeError, "negative"),
        (lambda: tg.normal(tg.zeros(2), tg.ones(3)), RuntimeError, "broadcast"),
        (lambda: tg.bernoulli(tg.tensor([1.5])), RuntimeError, "0 to 1"),
        (lambda: tg.bernoulli(tg.tensor([1])), RuntimeError, "floating"),
        (lambda: tg.poisson(tg.tensor([-1.0])), RuntimeError, "negative"),
        (lambda: tg.multinomial(tg.zeros(3), 1), RuntimeError, "positive sum"),
        (lambda: tg.multinomial(tg.tensor([1.0, 0.0]), 2), RuntimeError, "replacement"),
        (lambda: tg.multinomial(tg.tensor([-1.0, 2.0]), 1), RuntimeError, "negative"),
        (lambda: tg.rand(2, generator=3), TypeError, "Generator"),
        (lambda: tg.Generator().set_state(tg.zeros(3)), RuntimeError, "uint8"),
        (lambda: tg.manual_seed(2**64), RuntimeError, "64 bits"),
        (lambda: tg.zeros(2).uniform_(2, 1), RuntimeError, "uniform_"),
        (lambda: tg.arange(2).normal_(), RuntimeError, "floating"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


# -- generators -------------------------------------------------------------------------------
DRAWS = {
    "rand": lambda g: tg.rand(3, 2, generator=g),
    "randn": lambda g: tg.randn(3, generator=g),
    "randint": lambda g: tg.randint(0, 1000, (4,), generator=g),
    "randperm": lambda g: tg.randperm(20, generator=g),
    "normal": lambda g: tg.normal(tg.zeros(3), 2.0, generator=g),
    "bernoulli": lambda g: tg.bernoulli(tg.full((40,), 0.5), generator=g),
    "poisson": lambda g: tg.poisson(tg.full((9,), 50.0), generator=g),
    "multinomial": lambda g: tg.multinomial(tg.ones(99), 9, generator=g),
    "multinomial again": lambda g: tg.multinomial(tg.ones(99), 9, True, generator=g),
    "rand_like": lambda g: tg.rand_like(tg.zeros(3), generator=g),
    "randn_like": lambda g: tg.randn_like(tg.zeros(3), generator=g),
    "randint_like": lambda g: tg.randint_like(tg.zeros(3), 0, 999, generator=g),
    "uniform_": lambda g: tg.zeros(3).uniform_(generator=g),
    "normal_": lambda g: tg.zeros(3).normal_(generator=g),
    "exponential_": lambda g: tg.zeros(3).exponential_(generator=g),
    "bernoulli_": lambda g: tg.zeros(40).bernoulli_(0.5, generator=g),
    "random_": lambda g: tg.zeros(9).random_(generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same_numbers(name):
    draw = DRAWS[name]
    g = tg.Generator().manual_seed(5)
    first, second = draw(g), draw(g)
    assert first.tolist() != second.tolist()
    assert draw(g.manual_seed(5)).tolist() == first.tolist()
    tg.manual_seed(5)
    assert draw(None).tolist() == first.tolist()
    assert draw(tg.Generator().manual_seed(6)).tolist() != first.tolist()


def test_states():
    g = tg.Generator().manual_seed(-1)
    assert g.initial_seed() == 2**64 - 1 and str(g.device) == "cpu"
    tg.randint(0, 9, (1,), dtype="int32", generator=g)
    state = g.get_state()
    assert state.dtype == np.uint8
    first = tg.rand(5, generator=g).tolist()
    for other in (
        tg.Generator().set_state(state),
        pickle.loads(pickle.dumps(g.set_state(state))),
        copy.deepcopy(g),
        g.clone_state(),
    ):
        assert tg.rand(5, generator=other).tolist() == first
        assert other.initial_seed() == 2**64 - 1
    tg.manual_seed(1)
    kept = tg.get_rng_state()
    first = tg.randn(3).tolist()
    tg.set_rng_state(kept)
    assert tg.randn(3).tolist() == first
    assert tg.Generator().seed() != tg.Generator().seed()


def test_numpys_own_generator_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    want = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    tg.manual_seed(3)
    tg.rand(5)
    assert np.random.random() == want  # noqa: NPY002


def test_draws_from_many_threads():
    g = tg.Generator().manual_seed(0)
    found = []

    def work():
        for _ in range(50):
            found.extend(tg.rand(20, dtype="float64", generator=g).tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    want = tg.rand(4000, dtype="float64", generator=tg.Generator().manual_seed(0)).tolist()
    assert sorted(found) == sorted(want)


# -- distributions ----------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_are_drawn_as_such(dtype):
    g = tg.Generator().manual_seed(0)
    for draw in (tg.rand, tg.randn):
        x = draw(1000, dtype=dtype, generator=g)
        assert x.dtype == np.dtype(dtype)
        scalar = draw((), dtype=dtype, generator=g)
        assert scalar.shape == () and scalar.dtype == np.dtype(dtype)
    if dtype == "float64":  # more digits than float32 has
        assert (x != x.float().double()).any()


def moments(x):
    x = x.double()
    return x.mean().item(), (x - x.mean()).square().mean().item()


def test_moments():
    g, n = tg.Generator().manual_seed(0), 40_000
    near = {"abs": 5 / n**0.5}  # five standard errors, up to the size of the moments
    uniform = tg.rand(n, generator=g)
    assert uniform.min().item() >= 0 and uniform.max().item() < 1
    assert moments(uniform) == pytest.approx((1 / 2, 1 / 12), **near)
    assert moments(tg.randn(n, generator=g)) == pytest.approx((0, 1), **near)
    x = tg.normal(tg.full((n,), 3.0), 0.5, generator=g)
    assert moments(x) == pytest.approx((3, 0.25), **near)
    x = tg.zeros(n).exponential_(2.0, generator=g)
    assert moments(x) == pytest.approx((1 / 2, 1 / 4), **near)
    x = tg.zeros(n).uniform_(-1, 3, generator=g)
    assert moments(x) == pytest.approx((1, 16 / 12), abs=0.05)
    x = tg.bernoulli(tg.full((n,), 0.3), generator=g)
    assert set(x.tolist()) == {0, 1}
    assert moments(x) == pytest.approx((0.3, 0.21), **near)
    x = tg.poisson(tg.full((n,), 4.0), generator=g)
    assert moments(x) == pytest.approx((4, 4), abs=0.15)
    x = tg.randint(-2, 3, (n,), generator=g)
    assert set(x.tolist()) == {-2, -1, 0, 1, 2}
    assert moments(x) == pytest.approx((0, 2), abs=0.05)


def test_multinomial_frequencies():
    g = tg.Generator().manual_seed(0)
    weights = tg.tensor([[1.0, 0.0, 3.0], [2.0, 2.0, 0.0]])
    found = tg.multinomial(weights, 20_000, replacement=True, generator=g)
    shares = np.stack([np.bincount(row, minlength=3) / 20_000 for row in found.numpy()])
    np.testing.assert_allclose(shares, [[0.25, 0, 0.75], [0.5, 0.5, 0]], atol=0.02)
    assert shares[0, 1] == shares[1, 2] == 0
    rows = tg.multinomial(tg.tensor([[1.0, 2.0, 5.0]]).expand(20_000, 3), 2, generator=g)
    assert (rows[:, 0] != rows[:, 1]).all()
    first = np.bincount(rows[:, 0].numpy(), minlength=3) / 20_000
    np.testing.assert_allclose(first, [1 / 8, 2 / 8, 5 / 8], atol=0.02)
    # given the first was the last index, the second is 0 or 1 by their weights
    rest = rows[rows[:, 0] == 2][:, 1].numpy()
    np.testing.assert_allclose(np.bincount(rest) / len(rest), [1 / 3, 2 / 3], atol=0.02)


def test_randperm_is_a_permutation():
    g = tg.Generator().manual_seed(0)
    assert sorted(tg.randperm(50, generator=g).tolist()) == list(range(50))
    counts = np.zeros((3, 3))
    for _ in range(3000):
        for place, number in enumerate(tg.randperm(3, generator=g).tolist()):
            counts[place, number] += 1
    np.testing.assert_allclose(counts / 3000, 1 / 3, atol=0.05)


def test_normal_carries_the_derivative_by_mean_and_std():
    mean = tg.tensor([1.0, 2.0], requires_grad=True)
    std = tg.tensor([0.5, 3.0], requires_grad=True)
    x = tg.normal(mean, std, generator=tg.Generator().manual_seed(1))
    x.sum().backward()
    noise = (x.detach() - mean.detach()) / std.detach()
    assert mean.grad.tolist() == [1, 1]
    np.testing.assert_allclose(std.grad.numpy(), noise.numpy(), rtol=1e-5)
    p = tg.tensor([0.5], requires_grad=True)
    assert not tg.bernoulli(p).requires_grad


def test_filling_in_place():
    w = tg.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        w.normal_()
    with tg.no_grad():
        assert w.normal_() is w
    assert w.is_leaf and w.requires_grad and (w != 0).all()
    with tg.no_grad():
        w.uniform_(**{"from": 2.0, "to": 2.0})
    assert w.tolist() == [2, 2, 2]
    y = w * w
    with tg.no_grad():
        w.bernoulli_()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


# -- conversion -------------------------------------------------------------------------------
def test_conversion_and_the_tape():
    x = tg.tensor([1.5, 2.5], requires_grad=True)
    y = x.double()
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [3, 5]
    for whole in (x.long(), x.bool(), x.to("uint8")):
        assert not whole.requires_grad
    assert x.to("float32") is x and x.to(tg.float32, copy=True) is not x
    assert x.to("cpu") is x and x.cpu() is x and x.device == "cpu"
    assert x.type() == "float32" and x.element_size() == 4
    assert x.numel() == tg.numel(x) == 2 and x.dim() == 1 and x.size() == (2,) and x.size(0) == 2
    assert tg.is_floating_point(x) and not x.long().is_floating_point()
