"""Indexing beyond torch's: NumPy as the reference, ties, views, errors, and transformations."""

import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops import indexing as ops

ARRAY = np.sin(np.arange(60.0)).reshape(3, 4, 5)
MASK = ARRAY[:, :, 0] > 0
INDICES = {
    "int": 1,
    "negative": -1,
    "numpy int": np.int32(2),
    "slice": slice(1, None),
    "backwards": slice(None, None, -1),
    "backwards by two": (slice(None), slice(3, None, -2)),
    "empty slice": slice(2, 1),
    "none": (None, 0, Ellipsis, None),
    "nothing": (),
    "ellipsis": Ellipsis,
    "scalar": (1, 2, 3),
    "list": [2, 0, 2],
    "nested list": [[0, 1], [2, 2]],
    "empty list": [],
    "range": range(2),
    "middle": (slice(None), [3, 0, 3]),
    "last": (Ellipsis, [4, 4, 0]),
    "pair": ([0, 2, 0], [1, 3, 1]),
    "pair and slice": ([0, 2, 0], [1, 3, 1], slice(1, 3)),
    "all three": ([0, 0], [1, 1], [2, 2]),
    "broadcast": ([[0], [2]], [1, 3]),
    "apart": ([0, 1, 0], slice(None), [2, 2, 2]),
    "int and list": (0, slice(None), [1, 1]),
    "none and list": (None, [0, 0], None),
    "negative in list": [-1, 2, -3],
    "mask": ARRAY > 0,
    "leading mask": MASK,
    "mask and int": (slice(None), MASK[0], 2),
    "mask and list": (MASK[:, 1], [0] * int(MASK[:, 1].sum())),
    "row mask": [True, False, True],
    "true": True,
    "false": False,
    "2-d of one": np.array([[1]]),
    "0-d array": np.array(1),
}


def as_tensors(index):
    """The same index with tensors for its arrays and lists."""
    if isinstance(index, tuple):
        return tuple(map(as_tensors, index))
    if isinstance(index, (list, np.ndarray)) and np.size(index):
        return tg.tensor(index)
    return index


def as_numpy(index):
    """What NumPy takes for the same (a list as an item must be an array for it)."""
    return np.array(index, dtype=int) if isinstance(index, list) and not index else index


@pytest.mark.parametrize("convert", [lambda i: i, as_tensors], ids=["plain", "tensors"])
@pytest.mark.parametrize("name", INDICES)
def test_like_numpy_and_its_transpose(name, convert):
    index = INDICES[name]
    want = ARRAY[as_numpy(index)]
    x = tg.tensor(ARRAY, requires_grad=True)
    got = x[convert(index)]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.detach().numpy(), want)
    weights = np.cos(np.arange(want.size)).reshape(want.shape)
    (gradient,) = tg.grad((got * weights).sum(), x)
    expected = np.zeros_like(ARRAY)
    np.add.at(expected, as_numpy(index), weights)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-14, atol=1e-15)


def test_copies_and_views():
    x = tg.tensor(ARRAY)
    assert np.shares_memory(x[1:, None].numpy(), x.numpy())
    assert not np.shares_memory(x[[0, 1]].numpy(), x.numpy())
    for index in (tg.tensor([1]), np.array([1]), [1], [True, False, True]):
        assert not np.shares_memory(x[index].numpy(), x.numpy())


def test_an_index_is_not_an_alias():
    index = np.array([0, 1])
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x[index]
    index[:] = 2
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 0]


def test_an_index_tensor_changed_after_use_raises():
    index = tg.tensor([0, 1])
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x[index]
    index.fill_(2)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()
    # The operand itself is not read, so that it may change.
    y = x * 2
    z = y[tg.tensor([0, 0])]
    with tg.no_grad():
        y.fill_(7.0)
    (gradient,) = tg.grad(z.sum(), x)
    assert gradient.tolist() == [4, 0, 0]


@pytest.mark.parametrize(
    "index, error, words",
    [
        (5, IndexError, r"shape \(3, 4, 5\)"),
        ((0, 0, 0, 0), IndexError, "too many indices"),
        ([0, 3], IndexError, "out of bounds"),
        (tg.tensor([3]), IndexError, r"shape \(3, 4, 5\).*out of bounds"),
        (tg.tensor([0.5]), IndexError, "integer or boolean"),
        ([0.5], IndexError, "integer or boolean"),
        (0.5, IndexError, "cannot index with float"),
        ("a", IndexError, "cannot index with str"),
        (np.ones(4, bool), IndexError, "boolean index"),
        (([0, 1], [0, 1, 2]), IndexError, "broadcast"),
    ],
)
def test_refusals(index, error, words):
    with pytest.raises(error, match=words):
        tg.tensor(ARRAY)[index]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: x.reshape(7, -1), RuntimeError, r"reshape: cannot make shape \(7, -1\)"),
        (lambda x: x.reshape(-1, -1), RuntimeError, "reshape"),
        (lambda x: x.view("float64"), TypeError, "to.dtype"),
        (lambda x: x.permute(0, 1), RuntimeError, "permute"),
        (lambda x: x.permute(0, 1, 1), RuntimeError, "permute"),
        (lambda x: x.transpose(0, 3), IndexError, "expected -3 to 2"),
        (lambda x: x.t(), RuntimeError, "mT"),
        (lambda x: x.expand(3, 4, 6), RuntimeError, "expand"),
        (lambda x: x.expand(4, 5), RuntimeError, "expand"),
        (lambda x: x.expand(-1, 3, 4, 5), RuntimeError, "expand"),
        (lambda x: x.flip(0, 0), RuntimeError, "twice"),
        (lambda x: x.roll((1, 2), 0), RuntimeError, "one length"),
        (lambda x: x.unflatten(0, (2, 2)), RuntimeError, "unflatten"),
        (lambda x: tg.broadcast_tensors(x, x[:2]), RuntimeError, r"\(3, 4, 5\), \(2, 4, 5\)"),
        (lambda x: tg.cat([x, x[0]]), RuntimeError, r"\(3, 4, 5\), \(4, 5\)"),
        (lambda x: tg.cat([]), RuntimeError, "at least one"),
        (lambda x: tg.cat([x.sum()]), RuntimeError, "stack"),
        (lambda x: tg.stack([x, x[:2]]), RuntimeError, "must all be equal"),
        (lambda x: tg.stack(3), TypeError, "sequence"),
        (lambda x: x.split([1, 1]), RuntimeError, "add up to 3"),
        (lambda x: x.split(0), RuntimeError, "positive"),
        (lambda x: x.sum().unbind(), RuntimeError, "0-d"),
        (lambda x: x.repeat(2), RuntimeError, "repeat"),
        (lambda x: tg.pad(x, (1,)), RuntimeError, "pairs"),
        (lambda x: tg.pad(x, (5, 0), "reflect"), RuntimeError, "too large"),
        (lambda x: tg.pad(x, (-3, -3)), RuntimeError, "cut off"),
        (lambda x: tg.pad(x, (1, 1), "mirror"), NotImplementedError, "mirror"),
        (lambda x: x.narrow(0, 2, 2), RuntimeError, "narrow"),
        (lambda x: x.tril().trace(), RuntimeError, "matrix"),
        (lambda x: x.gather(0, tg.tensor([0])), RuntimeError, "as many dimensions"),
        (lambda x: x.gather(0, tg.tensor([[[3]]])), IndexError, "gather along dim 0"),
        (lambda x: x.gather(0, tg.tensor([[[-1]]])), IndexError, "negative"),
        (lambda x: x.gather(0, tg.tensor([[[0.0]]])), IndexError, "integer"),
        (lambda x: x.scatter_add(0, tg.tensor([[[4]]]), x), IndexError, "out of range"),
        (lambda x: x.scatter_add(0, tg.tensor([[[0]]]), x.float()), RuntimeError, "dtype"),
        (lambda x: x.scatter_reduce(0, tg.tensor([[[0]]]), x, "max"), RuntimeError, "amax"),
        (lambda x: x.index_select(0, tg.tensor([[0]])), IndexError, "one dimension"),
        (lambda x: x.index_select(0, tg.tensor([3])), IndexError, "index_select along dim 0"),
        (lambda x: x.index_add(0, tg.tensor([0]), x), RuntimeError, r"\(1, 4, 5\)"),
        (lambda x: x.masked_fill(x, 1.0), RuntimeError, "boolean"),
        (lambda x: tg.one_hot(tg.tensor([3]), 3), RuntimeError, "class 3"),
        (lambda x: tg.one_hot(x), TypeError, "integers"),
        (lambda x: x.topk(6), RuntimeError, "k=6"),
        (lambda x: x.kthvalue(0), RuntimeError, "k=0"),
        (lambda x: x.sort(3), IndexError, "sort"),
        (lambda x: x.unfold(0, 4, 1), RuntimeError, "size 4"),
        (lambda x: tg.unfold(x, 9), RuntimeError, "does not fit"),
        (lambda x: tg.fold(x, (4, 4), 2), RuntimeError, "patches"),
        (lambda x: x.to("cuda"), RuntimeError, "CPU"),
        (lambda x: iter(x.sum()), TypeError, "0-d"),
    ],
)
def test_errors_name_the_operation(call, error, words):
    with pytest.raises(error, match=words):
        call(tg.tensor(ARRAY))


# -- ties -------------------------------------------------------------------------------------
def gradient_of(f, data):
    x = tg.tensor(data, dtype="float64", requires_grad=True)
    f(x).backward()
    return x.grad.tolist()


def test_ties_the_chosen_index_takes_all():
    assert gradient_of(lambda x: x.topk(1).values.sum(), [1, 1, 0]) == [1, 0, 0]
    assert gradient_of(lambda x: x.topk(1, largest=False).values.sum(), [2, 1, 1]) == [0, 1, 0]
    assert gradient_of(lambda x: x.sort().values[0], [1, 1, 2]) == [1, 0, 0]
    assert gradient_of(lambda x: x.sort(descending=True).values[0], [2, 1, 2]) == [1, 0, 0]
    assert gradient_of(lambda x: x.kthvalue(2).values, [1, 1, 0]) == [1, 0, 0]
    assert gradient_of(lambda x: x.unique()[1] * 3, [2, 1, 2, 1]) == [3, 0, 0, 0]
    # a reduction without an index shares
    index = tg.tensor([0, 0, 0])
    assert gradient_of(
        lambda x: tg.scatter_reduce(tg.zeros(1, dtype="float64"), 0, index, x, "amax").sum(),
        [1, 1, 0],
    ) == [0.5, 0.5, 0]


def test_partial_and_full_sort_choose_alike():
    rng = np.random.default_rng(0)
    data = rng.integers(0, 50, (3, 200)).astype(float)
    x = tg.tensor(data)
    for largest in (True, False):
        values, indices = x.topk(7, largest=largest)
        ordered = np.sort(data)[:, ::-1] if largest else np.sort(data)
        np.testing.assert_array_equal(values.numpy(), ordered[:, :7])
        np.testing.assert_array_equal(np.take_along_axis(data, indices.numpy(), 1), values.numpy())
        assert all(len(set(row)) == 7 for row in indices.tolist())


def test_nan_is_the_largest():
    x = tg.tensor([1.0, float("nan"), 3.0])
    assert x.sort().indices.tolist() == [0, 2, 1]
    assert x.sort(descending=True).indices.tolist() == [1, 2, 0]
    assert x.topk(1).indices.tolist() == [1]


# -- repeated positions -----------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
@pytest.mark.parametrize("row", [(), (1,), (3,), (2, 2)])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_rows_add_up(dtype, row, count):
    rng = np.random.default_rng(1)
    positions = rng.integers(0, 9, count)
    rows = rng.integers(-4, 5, (count, *row)).astype(dtype)
    want = np.zeros((9, *row), dtype)
    np.add.at(want, positions, rows)
    got = ops.add_rows(positions, rows, 9)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_the_last_value_written_stays_and_takes_the_gradient():
    x = tg.tensor([0.0, 0.0], requires_grad=True)
    v = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    for index in (np.array([0, 1, 0]), tg.tensor([0, 1, 0])):
        y = tg.index_put(x, (index,), v)
        assert y.tolist() == [3, 2]
        gradients = tg.grad((y * tg.tensor([5.0, 7.0])).sum(), (x, v))
        assert [g.tolist() for g in gradients] == [[0, 0], [0, 7, 5]]
    y = tg.scatter(x, 0, tg.tensor([0, 1, 0]), v)
    gradients = tg.grad((y * tg.tensor([5.0, 7.0])).sum(), (x, v))
    assert y.tolist() == [3, 2]
    assert [g.tolist() for g in gradients] == [[0, 0], [0, 7, 5]]


def test_what_is_written_takes_the_dtype_of_what_it_is_written_to():
    x = tg.zeros(2, requires_grad=True)
    v = tg.ones(2, dtype="float64", requires_grad=True)
    y = tg.index_put(x, [tg.tensor([1, 0])], v)
    assert y.dtype == np.float32
    y.sum().backward()
    assert v.grad.dtype == np.float64 and x.grad.dtype == np.float32


# -- views and parts --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.reshape(4, 3),
        lambda x: x.t(),
        lambda x: x[1:, ::2],
        lambda x: x.unsqueeze(0),
        lambda x: x.diagonal(1),
        lambda x: x.split(2, 1)[1],
        lambda x: x.unbind(1)[2],
        lambda x: x.chunk(2)[0],
        lambda x: list(x)[1],
        lambda x: x.T[0],
        lambda x: x.narrow(1, 1, 2),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_view_and_its_base_are_one_memory(view, recorded):
    leaf = tg.tensor(np.arange(12.0).reshape(3, 4), requires_grad=recorded)
    base = leaf * 1
    part = view(base)
    part.mul_(10)
    want = np.arange(12.0).reshape(3, 4)
    which = view(tg.tensor(np.arange(12).reshape(3, 4))).numpy().ravel()
    want.reshape(-1)[which] *= 10
    np.testing.assert_array_equal(base.detach().numpy(), want)
    if recorded:
        base.sum().backward()
        np.testing.assert_array_equal(leaf.grad.numpy().ravel()[which], 10)
        assert leaf.grad.sum().item() == 12 + 9 * which.size


@pytest.mark.parametrize("copy", [lambda x: x.flip(0), lambda x: x.roll(1, 0), lambda x: x.clone()])
def test_copies_have_memory_of_their_own(copy):
    x = tg.zeros(3, 2)
    copy(x).fill_(1.0)
    assert x.sum().item() == 0


def test_the_parts_of_a_long_sequence_cost_one_gradient():
    x = tg.ones(2000, 50, requires_grad=True)
    total = 0.0
    for row in x:
        total = total + row
    (gradient,) = tg.grad(total.sum(), x)
    assert gradient.sum().item() == 2000 * 50
    operations = {total._record[5 + 3][1].name} if total._record[8] is not None else set()
    assert operations <= {"pick", "add"}


def test_unfold_and_fold_are_transposes():
    rng = np.random.default_rng(2)
    settings = {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (1, 2), "stride": (2, 1)}
    x = tg.tensor(rng.standard_normal((2, 3, 7, 6)))
    columns = tg.unfold(x, **settings)
    y = tg.tensor(rng.standard_normal(columns.shape))
    left = (columns * y).sum().item()
    right = (x * tg.fold(y, (7, 6), **settings)).sum().item()
    assert left == pytest.approx(right, rel=1e-12)


# -- raw values and transformations ------------------------------------------------------------
def test_raw_in_raw_out():
    a = np.arange(6.0).reshape(2, 3)
    results = [
        tg.reshape(a, 3, 2),
        tg.squeeze(a[:1]),
        tg.cat([a, a]),
        tg.stack([a, a]),
        tg.gather(a, 1, np.array([[0], [1]])),
        tg.scatter_add(a, 1, np.array([[0], [1]]), a),
        tg.sort(a).values,
        tg.pad(a, (1, 1)),
        tg.index_select(a, 0, np.array([0])),
        *tg.split(a, 1),
        *tg.unbind(a),
    ]
    assert all(type(r) is np.ndarray for r in results)


MAPPED = {
    "getitem": lambda x, i: x[i],
    "two tensors": lambda x, i: x[i, i],
    "slice and tensor": lambda x, i: x[:, i],
    "gather": lambda x, i: x.gather(1, i.reshape(3, 1)),
    "index_select": lambda x, i: x.index_select(1, i),
    "index_add": lambda x, i: x.index_add(0, i, x * 2),
    "scatter_add": lambda x, i: x.scatter_add(1, i.reshape(3, 1), x),
    "scatter": lambda x, i: x.scatter(1, i.reshape(3, 1), x * 3),
    "sort": lambda x, i: x.sort(0).values * i.reshape(3, 1),
    "topk": lambda x, i: x.topk(2).values,
    "split": lambda x, i: x.split(2, 1)[0] * 2,
    "unbind": lambda x, i: x.unbind(1)[1] * i,
    "cat": lambda x, i: tg.cat([x, x[i]]),
    "pad": lambda x, i: tg.pad(x, (1, 2), value=1.0),
    "reflect": lambda x, i: tg.pad(x, (2, 0), "reflect"),
    "roll": lambda x, i: x.roll(1, 1).flip(0),
    "tril": lambda x, i: x.tril(),
    "diagonal": lambda x, i: x.diagonal(),
    "windows": lambda x, i: x.unfold(1, 2, 1),
    "repeat": lambda x, i: x.repeat(2, 1),
    "one_hot": lambda x, i: tg.one_hot(i, 4) * x,
    "masked_fill": lambda x, i: x.masked_fill(x > 0, 0.0),
}


@pytest.mark.parametrize("name", MAPPED)
def test_vmap_agrees_with_a_loop(name):
    f = MAPPED[name]
    rng = np.random.default_rng(3)
    xs = tg.tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    index = tg.tensor([[0, 2, 1], [1, 1, 2]])
    got = tg.func.vmap(f)(xs, index)
    want = tg.stack([f(x, i) for x, i in zip(xs, index)])
    np.testing.assert_array_equal(got.detach().numpy(), want.detach().numpy())
    for shared in ((0, None), (None, 0)):
        args = (xs if shared[0] == 0 else xs[0], index if shared[1] == 0 else index[1])
        both = [
            tg.func.vmap(f, in_dims=shared)(*args),
            tg.stack(
                [
                    f(xs[k if shared[0] == 0 else 0], index[k if shared[1] == 0 else 1])
                    for k in (0, 1)
                ]
            ),
        ]
        np.testing.assert_array_equal(both[0].detach().numpy(), both[1].detach().numpy())
    gradients = [tg.grad(tg.sin(y).sum(), xs)[0].numpy() for y in (got, want)]
    np.testing.assert_allclose(*gradients, rtol=1e-12, atol=1e-14)


def test_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = tg.tensor(ARRAY, requires_grad=True)
        i = tg.tensor([[[0]], [[0]], [[1]]])
        y = tg.scatter_reduce(x, 1, i, x[:, :1, :1], "mean", include_self=False)
        y = y + tg.scatter_reduce(x, 1, i, x[:, :1, :1], "amin", include_self=False)
        y.sum().backward()


def test_a_number_is_written_in_the_dtype_of_the_tensor():
    """torch's rule: the whole part goes into integers; what does not fit is refused."""
    x, mask, place = tg.tensor([1, 2]), tg.tensor([True, False]), tg.tensor([0])
    for value in (3, 3.0, 3.7, np.float64(3.7), tg.tensor(3.7)):
        y = tg.masked_fill(x, mask, value)
        assert y.tolist() == [3, 2] and y.dtype == np.int64
    assert tg.index_fill(x, 0, place, 3.7).tolist() == tg.scatter(x, 0, place, 3.7).tolist()
    small = x.to("uint8")
    assert small.masked_fill(mask, -1).tolist() == [255, 2]
    assert mask.masked_fill(~mask, 2).tolist() == [True, True]
    for fill in (
        lambda v: tg.masked_fill(small, mask, v),
        lambda v: tg.index_fill(small, 0, place, v),
        lambda v: tg.scatter(small, 0, place, v),
    ):
        for value in (tg.nan, tg.inf, 300, -256):
            with pytest.raises(RuntimeError, match=r"fill: |scatter: .*uint8, which goes from 0"):
                fill(value)
    assert tg.masked_fill(tg.tensor([1.0, 2.0]), mask, -tg.inf).tolist() == [-tg.inf, 2.0]
