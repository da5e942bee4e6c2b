"""NumPy's and Python's protocols: NumPy's meaning, recorded, and never a gradient cut unseen."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import protocols

X = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]])
POSITIVE = np.abs(X) + 0.1
SQUARE = np.array([[2.0, 0.5, 0.1], [0.5, 1.5, 0.2], [0.1, 0.2, 3.0]])


def on_tape(array):
    return tg.tensor(array, requires_grad=True)


def same(found, want, tolerance=1e-12):
    if isinstance(want, tuple):
        for f, w in zip(found, want, strict=True):
            same(f, w, tolerance)
        return
    assert isinstance(found, tg.Tensor), type(found)
    np.testing.assert_allclose(found.detach().numpy(), want, rtol=tolerance, atol=1e-12)
    assert found.shape == np.shape(want)


def slope_agrees(function, array):
    """The recorded gradient against central differences of NumPy's own function."""
    x = on_tape(array)
    y = function(x)
    y = y[0] if isinstance(y, tuple) else y
    rng = np.random.default_rng(0)
    weights, direction = rng.normal(size=y.shape), rng.normal(size=array.shape)

    def loss(a):
        z = function(a)
        return float(np.sum((z[0] if isinstance(z, tuple) else z) * weights))

    (y * weights).sum().backward()
    h = 1e-6
    want = (loss(array + h * direction) - loss(array - h * direction)) / (2 * h)
    assert float((x.grad * direction).sum()) == pytest.approx(want, rel=1e-6, abs=1e-8)


UNARY = [
    "sin",
    "cos",
    "tan",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "exp",
    "exp2",
    "expm1",
    "negative",
    "positive",
    "absolute",
    "fabs",
    "square",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "sign",
]
UNARY_POSITIVE = ["sqrt", "log", "log2", "log10", "log1p", "reciprocal"]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "true_divide",
    "maximum",
    "minimum",
    "hypot",
    "arctan2",
    "logaddexp",
    "fmod",
    "remainder",
    "floor_divide",
]
TESTS = ["isnan", "isinf", "isfinite", "logical_not"]
COMPARISONS = [
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
]


@pytest.mark.parametrize("name", UNARY + UNARY_POSITIVE)
def test_unary_ufuncs(name):
    ufunc, array = getattr(np, name), POSITIVE if name in UNARY_POSITIVE else X + 0.13
    same(ufunc(tg.tensor(array)), ufunc(array))
    slope_agrees(ufunc, array)
    assert ufunc(tg.tensor(array.astype("float32"))).dtype == np.float32


@pytest.mark.parametrize("name", ["arcsin", "arccos", "arctanh"])
def test_unary_ufuncs_on_the_unit_interval(name):
    slope_agrees(getattr(np, name), X / 4)


@pytest.mark.parametrize("name", BINARY)
def test_binary_ufuncs_on_either_side(name):
    ufunc, other = getattr(np, name), POSITIVE[0] + 1.0
    same(ufunc(tg.tensor(X), other), ufunc(X, other))
    slope_agrees(lambda x: ufunc(x, other), X)
    slope_agrees(lambda x: ufunc(other, x), X)


@pytest.mark.parametrize("name", TESTS + COMPARISONS)
def test_tests_and_comparisons(name):
    ufunc = getattr(np, name)
    args = (X,) if name in TESTS else (X, np.abs(X))
    found = ufunc(on_tape(args[0]), *args[1:])
    assert found.dtype == np.bool_ and not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), ufunc(*args))


def test_power_and_matmul():
    slope_agrees(lambda x: np.power(x, 3), X)
    slope_agrees(lambda x: np.float64(2.0) ** x, X)
    slope_agrees(lambda x: np.matmul(x, X.T), X)
    slope_agrees(lambda x: X.T @ x, X)


def test_operators_with_arrays_on_the_left():
    x = on_tape(X)
    for y in (
        X + x,
        X - x,
        X * x,
        X / x,
        X @ x.T,
        np.float64(3.0) * x,
        POSITIVE[0] ** x,
        np.float32(2) - x,
    ):
        assert isinstance(y, tg.Tensor) and y.requires_grad
    assert (x > X).dtype == np.bool_ and isinstance(x >= X, tg.Tensor)


def test_ufunc_methods():
    x = tg.tensor(X)
    same(np.add.reduce(x), np.add.reduce(X))
    same(np.add.reduce(x, axis=None), np.add.reduce(X, axis=None))
    same(np.multiply.reduce(x, axis=1, keepdims=True), np.multiply.reduce(X, axis=1, keepdims=True))
    same(np.maximum.reduce(x, axis=1), np.maximum.reduce(X, axis=1))
    same(np.add.accumulate(x, axis=1), np.add.accumulate(X, axis=1))
    same(np.multiply.outer(x[0], x[1]), np.multiply.outer(X[0], X[1]))
    slope_agrees(lambda v: np.multiply.reduce(v, axis=0), X)
    slope_agrees(lambda v: np.subtract.outer(v, X[0]), X)
    same(np.subtract.reduce(x), np.subtract.reduce(X))
    with pytest.raises(TypeError, match=r"subtract\.reduce"):
        np.subtract.reduce(on_tape(X))
    with pytest.raises(TypeError, match="index_put_"):
        np.add.at(x, [0], 1.0)


def test_unknown_ufuncs_never_cut():
    with pytest.raises(TypeError, match=r"np\.nextafter.*detach"):
        np.nextafter(on_tape(X), 0.0)
    same(np.nextafter(tg.tensor(X), 0.0), np.nextafter(X, 0.0))
    fraction, exponent = np.frexp(tg.tensor(X))
    same((fraction, exponent), np.frexp(X))
    with tg.no_grad():
        same(np.cbrt(on_tape(X)), np.cbrt(X))
    with pytest.raises(TypeError, match=r"dtype|no derivative"):
        np.add(on_tape(X), X, where=X > 0)


def test_out_is_refused_where_it_would_cut():
    total = np.zeros((2, 3))
    with pytest.raises(TypeError, match="gradient would be lost"):
        total += on_tape(X)
    total += tg.tensor(X)
    np.testing.assert_array_equal(total, X)
    with pytest.raises(TypeError, match="in-place method"):
        np.add(X, X, out=tg.tensor(X))
    with pytest.raises(TypeError, match="out="):
        np.sum(tg.tensor(X), out=np.zeros(()))


FUNCTIONS = {
    "sum": lambda x: np.sum(x, axis=0),
    "sum all": np.sum,
    "sum keepdims": lambda x: np.sum(x, axis=(0, 1), keepdims=True),
    "mean": lambda x: np.mean(x, axis=1),
    "prod": lambda x: np.prod(x, axis=-1),
    "prod all": np.prod,
    "max": lambda x: np.max(x, axis=0),
    "amin": np.amin,
    "var": np.var,
    "var ddof": lambda x: np.var(x, axis=0, ddof=1),
    "std": lambda x: np.std(x, axis=1, keepdims=True),
    "median": np.median,
    "median axis": lambda x: np.median(x, axis=1),
    "median even": lambda x: np.median(x, axis=0, keepdims=True),
    "average": lambda x: np.average(x, axis=1, weights=np.array([1.0, 2.0, 3.0])),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "cumsum flat": np.cumsum,
    "cumprod": lambda x: np.cumprod(x, axis=0),
    "sort": lambda x: np.sort(x, axis=0),
    "concatenate": lambda x: np.concatenate([x, X, x], axis=1),
    "concatenate flat": lambda x: np.concatenate([x, X[0]], axis=None),
    "stack": lambda x: np.stack([x, X], axis=-1),
    "vstack": lambda x: np.vstack([x[0], X]),
    "hstack": lambda x: np.hstack([x, X]),
    "column_stack": lambda x: np.column_stack([x[0], x[1]]),
    "split": lambda x: np.split(x, 3, axis=1)[1],
    "array_split": lambda x: np.array_split(x, [1], axis=0)[1],
    "where": lambda x: np.where(X > 0, x, 2 * x),
    "clip": lambda x: np.clip(x, -1.0, 1.0),
    "reshape": lambda x: np.reshape(x, (3, -1)),
    "ravel": np.ravel,
    "transpose": np.transpose,
    "transpose axes": lambda x: np.transpose(x, (1, 0)),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "expand_dims": lambda x: np.expand_dims(x, (0, -1)),
    "squeeze": lambda x: np.squeeze(np.expand_dims(x, 0)),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)),
    "flip": lambda x: np.flip(x, 1),
    "roll": lambda x: np.roll(x, 1, axis=1),
    "roll flat": lambda x: np.roll(x, 2),
    "tile": lambda x: np.tile(x, 2),
    "repeat": lambda x: np.repeat(x, 2, axis=1),
    "take": lambda x: np.take(x, [2, 0], axis=1),
    "take flat": lambda x: np.take(x, [5, 0]),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([[0], [2]]), axis=1),
    "dot": lambda x: np.dot(x, X.T),
    "dot reflected": lambda x: np.dot(X.T, x),
    "inner": lambda x: np.inner(x, X),
    "outer": lambda x: np.outer(x, x),
    "vdot": lambda x: np.vdot(x, X),
    "tensordot": lambda x: np.tensordot(x, X, axes=([1], [1])),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, X),
    "trace": np.trace,
    "diagonal": lambda x: np.diagonal(x, 1),
    "tril": np.tril,
    "triu": lambda x: np.triu(x, 1),
    "round": lambda x: np.round(x + 0.13),
    "copy": np.copy,
    "norm": np.linalg.norm,
    "norm axis": lambda x: np.linalg.norm(x, axis=1),
    "norm ord": lambda x: np.linalg.norm(x, ord=1, axis=0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    function = FUNCTIONS[name]
    same(function(tg.tensor(X)), function(X))
    slope_agrees(function, X)


LINALG = {
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "slogdet": lambda a: tuple(np.linalg.slogdet(a))[1],
    "solve": lambda a: np.linalg.solve(a, X.T),
    "cholesky": lambda a: np.linalg.cholesky(a @ a.T),
    "eigvalsh": lambda a: np.linalg.eigvalsh(a + a.T),
    "eigh": lambda a: np.linalg.eigh(a + a.T)[0],
    "svd": lambda a: np.linalg.svd(a)[1],
    "svd values": lambda a: np.linalg.svd(a, compute_uv=False),
    "pinv": np.linalg.pinv,
    "matrix_power": lambda a: np.linalg.matrix_power(a, 3),
}


@pytest.mark.parametrize("name", LINALG)
def test_linear_algebra(name):
    same(LINALG[name](tg.tensor(SQUARE)), LINALG[name](SQUARE), 1e-9)
    slope_agrees(LINALG[name], SQUARE)


def test_numpys_names_keep_numpys_meaning():
    x = tg.tensor([1.0, 2.0, 3.0, 4.0])
    assert np.median(x).item() == 2.5 and tg.median(x).item() == 2.0
    assert np.std(x).item() == pytest.approx(np.std([1, 2, 3, 4]))
    assert np.argmax(x).item() == 3 and np.shape(x) == (4,) and np.ndim(x) == 1 and np.size(x) == 4
    assert np.zeros_like(x).tolist() == [0.0] * 4 and np.ones_like(x).dtype == np.float32
    assert np.any(x > 3).item() and not np.all(x > 3).item()
    assert [int(i) for i in np.where(x > 2)[0]] == [2, 3]
    assert np.sum(tg.tensor([1, 2]), dtype="float64").dtype == np.float64


def test_unknown_functions_never_cut():
    with pytest.raises(TypeError, match=r"np\.percentile.*requires a gradient"):
        np.percentile(on_tape(X), 30)
    with pytest.raises(TypeError, match=r"np\.fft\.fft"):
        np.fft.fft(on_tape(X))
    assert np.percentile(tg.tensor(X), 30).item() == pytest.approx(np.percentile(X, 30))
    assert np.array_equal(tg.tensor(X), X) and np.allclose(tg.tensor(X), X)
    with pytest.raises(RuntimeError, match="requires a gradient"):
        np.interp(0.5, [0.0, 1.0], [on_tape(1.0), 2.0])


def test_array_conversion():
    x = tg.tensor(X)
    array = np.asarray(x)
    assert np.shares_memory(array, x._value) and not array.flags.writeable
    assert np.array(x).flags.writeable and not np.shares_memory(np.array(x), x._value)
    assert np.asarray(x, dtype="float32").dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype="float32", copy=False)
    for convert in (np.asarray, np.array, lambda t: t.numpy(), lambda t: np.asarray(t[0])):
        with pytest.raises(RuntimeError, match="detach"):
            convert(on_tape(X))
    with pytest.raises(RuntimeError, match="detach"):
        np.array([on_tape(1.0), on_tape(2.0)])
    assert on_tape(X).numpy(force=True).tolist() == X.tolist()
    assert float(tg.tensor(2.5)) == 2.5 and int(tg.tensor(3)) == 3 and [1, 2, 3][tg.tensor(1)] == 2
    with pytest.raises(TypeError, match="integer"):
        [1, 2][tg.tensor(1.0)]


def test_sequences():
    x = on_tape(X)
    rows = list(x)
    (rows[0] * rows[1]).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), X[::-1])
    assert len(x) == 2 and 0.75 in x and 7.0 not in x and tg.tensor(0.75) in x
    a, b, c = tg.tensor([1, 2, 3])
    assert reversed(tg.tensor([1, 2, 3])).tolist() == [3, 2, 1]
    assert (a.item(), b.item(), c.item()) == (1, 2, 3)
    for use in (iter, len):
        with pytest.raises(TypeError, match="0-d"):
            use(tg.tensor(1.0))
    with pytest.raises(RuntimeError, match="contain"):
        assert "a" in x
    assert x.tolist() == X.tolist() and tg.tensor(1.5).tolist() == 1.5
    assert np.stack(list(x)).shape == (2, 3)


def test_dlpack():
    x = tg.tensor(X)
    array = np.from_dlpack(x)
    array[0, 0] = 99.0
    assert x.tolist() == X.tolist() and x.__dlpack_device__() == (1, 0)
    source = X.copy()
    y = tg.from_dlpack(source)
    source[:] = 0
    assert y.tolist() == X.tolist()
    with pytest.raises(RuntimeError, match="detach"):
        np.from_dlpack(on_tape(X))
    with pytest.raises(BufferError):
        x.__dlpack__(copy=False)


def test_array_api():
    x = on_tape(X)
    xp = x.__array_namespace__()
    y = xp.sum(xp.multiply(xp.exp(x), xp.sin(x)), axis=1, keepdims=True)
    assert y.shape == (2, 1)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(X) * (np.sin(X) + np.cos(X)))
    assert xp.permute_dims(x, (1, 0)).shape == (3, 2) and xp.concat([x, x], axis=0).shape == (4, 3)
    assert xp.std(x).item() == pytest.approx(np.std(X)) and xp.asarray([1.0]).shape == (1,)
    assert xp.pi == np.pi


def test_every_mapped_name_exists():
    names = {*protocols.UFUNCS.values(), *protocols.SAME_NAME, *protocols.REDUCTIONS.values()}
    names |= set(protocols.ACCUMULATIONS.values()) | set(protocols.ARRAY_API.values())
    assert [n for n in sorted(names) if not hasattr(tg, n)] == []


# -- copies -----------------------------------------------------------------------------------
class Named(tg.Tensor):
    """A subclass with a __dict__, as nn.Parameter is."""


def _named(values):
    t = Named(values, requires_grad=True)
    t.label = ["a"]
    t.name = "weight"
    return t


@pytest.mark.parametrize("twice", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies_are_whole_and_keep_sharing(twice):
    p = _named([1.0, 2.0])
    (p * p).sum().backward()
    state = {"a": p, "b": [p], "c": tg.tensor(3), "d": tg.tensor(2.5, dtype="float64")}
    made = twice(state)
    q = made["a"]
    assert q is made["b"][0] and q is not p and type(q) is Named and q.is_leaf and q.requires_grad
    assert (q.tolist(), q.grad.tolist(), q.label, q.name) == ([1, 2], [2, 4], ["a"], "weight")
    assert q.dtype == np.float32 and made["c"].dtype == np.int64 and made["d"].item() == 2.5
    with tg.no_grad():
        q += 1
    q.grad.zero_()
    q.label.append("b")
    assert (p.tolist(), p.grad.tolist(), p.label) == ([1, 2], [2, 4], ["a"])
    q.grad = None
    (q * q).sum().backward()
    assert q.grad.tolist() == [4.0, 6.0]


def test_copies_of_tensors_that_hold_themselves():
    p = _named([1.0])
    p.me = p
    q = copy.deepcopy(p)
    assert q.me is q and q is not p


def test_only_leaves_can_be_copied():
    y = on_tape(X) * 2
    for use in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match=r"only leaves.*'mul'.*detach"):
            use(y)
    shallow = copy.copy(on_tape(X))
    assert shallow.requires_grad and shallow.tolist() == X.tolist()
    view = tg.tensor(X)[0]
    assert pickle.loads(pickle.dumps(view)).tolist() == X[0].tolist()
