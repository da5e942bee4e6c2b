"""Reductions, scans, softmaxes and statistics at kinks, ties, infinities and of nothing."""

import math
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.functions.statistics import vector_norm

INF, NAN = math.inf, math.nan


def leaf(data, dtype="float64"):
    return tg.tensor(data, dtype=dtype, requires_grad=True)


def gradient(f, data):
    x = leaf(data)
    return tg.grad(f(x), x)[0].tolist()


def hessian(f, data):
    x = leaf(data)
    (g,) = tg.grad(f(x), x, create_graph=True)
    rows = []
    for i in range(x.shape[0]):
        if not g.requires_grad:
            return np.zeros((x.shape[0],) * 2).tolist()
        rows.append(tg.grad(g[i], x, retain_graph=True, materialize_grads=True)[0].tolist())
    return rows


# -- products with zeros ----------------------------------------------------------------------
def test_product_with_zeros():
    assert gradient(tg.prod, [2.0, 0.0, 3.0]) == [0, 6, 0]
    assert hessian(tg.prod, [2.0, 0.0, 3.0]) == [[0, 3, 0], [3, 0, 2], [0, 2, 0]]
    assert gradient(tg.prod, [0.0, 0.0, 3.0]) == [0, 0, 0]
    assert hessian(tg.prod, [0.0, 0.0, 3.0]) == [[0, 3, 0], [3, 0, 0], [0, 0, 0]]


def test_third_derivative_of_a_product_of_zeros():
    x = leaf([0.0, 0.0, 0.0])
    (g,) = tg.grad(x.prod(), x, create_graph=True)
    (h,) = tg.grad(g[0], x, create_graph=True)
    assert tg.grad(h[1], x)[0].tolist() == [0, 0, 1]


def test_running_product_with_zeros():
    # y = a, ab, abc: Σ y has d/da = 1 + b + bc and d²/da db = 1 + c
    assert gradient(lambda x: x.cumprod(0).sum(), [2.0, 0.0, 3.0]) == [1, 8, 0]
    assert hessian(lambda x: x.cumprod(0).sum(), [2.0, 0.0, 3.0]) == [
        [0, 4, 0],
        [4, 0, 2],
        [0, 2, 0],
    ]


def test_the_product_neither_divides_nor_overflows_on_the_way():
    assert gradient(tg.prod, [1e200, 0.0, 1e-200])[1] == pytest.approx(1.0)
    assert gradient(tg.prod, [1e-200, 1e-200, 1e200])[2] == 0.0


# -- ties -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "f, data, wanted",
    [
        (tg.amax, [1.0, 1.0, 0.0], [0.5, 0.5, 0]),
        (tg.max, [1.0, 1.0, 0.0], [0.5, 0.5, 0]),
        (tg.amin, [1.0, 0.0, 0.0], [0, 0.5, 0.5]),
        (lambda x: tg.aminmax(x).max, [1.0, 1.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3, 0]),
        (lambda x: x.max(dim=0).values, [1.0, 1.0, 0.0], [1, 0, 0]),
        (lambda x: x.min(dim=0).values, [1.0, 0.0, 0.0], [0, 1, 0]),
        (lambda x: tg.max(x, tg.tensor([1.0, 0.0])).sum(), [1.0, 1.0], [0.5, 1]),
        (tg.median, [1.0, 2.0, 2.0, 3.0], [0, 0.5, 0.5, 0]),
        (lambda x: x.median(dim=0).values, [1.0, 2.0, 2.0, 3.0], [0, 1, 0, 0]),
        (lambda x: x.norm(p=INF), [3.0, -3.0, 1.0], [0.5, -0.5, 0]),
        (lambda x: x.norm(p=-INF), [3.0, -1.0, 1.0], [0, -0.5, 0.5]),
        (lambda x: x.cummax(0).values.sum(), [1.0, 1.0, 0.0], [1, 2, 0]),
    ],
)
def test_ties(f, data, wanted):
    assert gradient(f, data) == wanted


def test_nan_is_an_extreme_and_takes_the_gradient():
    assert math.isnan(tg.tensor([1.0, NAN, 2.0]).amax())
    assert gradient(tg.amax, [1.0, NAN, 2.0]) == [0, 1, 0]
    assert gradient(lambda x: x.max(0).values, [1.0, NAN, 2.0]) == [0, 1, 0]
    assert gradient(tg.median, [1.0, NAN, 2.0]) == [0, 1, 0]
    assert gradient(tg.nanmedian, [1.0, NAN, 2.0]) == [1, 0, 0]
    assert tg.tensor([1.0, NAN, 2.0]).argmin() == 1


def test_median_takes_the_lower_middle():
    assert tg.median(tg.tensor([1.0, 2.0, 3.0, 4.0])) == 2
    assert tg.tensor([[4, 1, 3, 2]]).median(1).values.tolist() == [2]


# -- norms ------------------------------------------------------------------------------------
@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 2.5, 3, 4, INF, -INF, -1])
def test_norm_of_the_zero_vector_is_flat(p):
    assert gradient(lambda x: x.norm(p=p), [0.0, 0.0]) == [0, 0]
    assert np.isfinite(hessian(lambda x: x.norm(p=p), [0.0, 0.0])).all()


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, INF])
def test_cdist_of_coinciding_points(p):
    points = leaf([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]])
    distances = tg.cdist(points, points.detach(), p=p)
    assert distances[0, 1] == 0
    (g,) = tg.grad(distances[0, :2].sum(), points)
    assert g.tolist() == [[0, 0]] * 3


def test_norm_is_smooth_away_from_zero():
    # |x|^4 and |x|^2 are smooth at elements that are 0: [0, 1] has d²‖x‖₂/dx₀² = 1
    assert hessian(tg.norm, [0.0, 1.0]) == [[1, 0], [0, 0]]
    x = np.random.default_rng(0).normal(size=(3, 4))
    for p in (1.5, 2, 2.5, 3, 4, -1):
        tg.check_grads(lambda x, p=p: tg.norm(x, p, 1), tg.tensor(x), order=3)
    tg.check_grads(lambda a, b: tg.cdist(a, b), [tg.tensor(x), tg.tensor(x * 2 - 1)], order=2)
    tg.check_grads(lambda x: tg.norm(x, 4), tg.tensor([0.0, 1.5, -0.5]), order=3)


def test_norm_refuses():
    with pytest.raises(RuntimeError, match="of nothing"):
        vector_norm(tg.zeros(0), INF)
    with pytest.raises(ValueError, match="not known"):
        tg.norm(tg.ones(2), "euclid")
    with pytest.raises(TypeError, match="must be a number"):
        vector_norm(tg.ones(2), "fro")
    with pytest.raises(RuntimeError, match=r"\(3, 2\) and \(3, 4\)"):
        tg.cdist(tg.ones(3, 2), tg.ones(3, 4))


# -- spread -----------------------------------------------------------------------------------
@pytest.mark.filterwarnings("error")
def test_spread_of_equal_items():
    assert gradient(tg.std, [2.0, 2.0, 2.0]) == [0, 0, 0]
    assert np.isfinite(hessian(tg.std, [2.0, 2.0, 2.0])).all()
    assert gradient(lambda x: tg.var(x, correction=0), [3.0]) == [0]
    assert gradient(lambda x: tg.std(x, correction=0), [3.0]) == [0]
    assert tg.var(tg.tensor([3.0]), correction=0) == 0


@pytest.mark.parametrize("f", [tg.std, tg.var])
def test_spread_without_freedom_is_nan_and_says_so(f):
    x = leaf([3.0])
    with pytest.warns(UserWarning, match="no degree of freedom"):
        y = f(x)
    assert math.isnan(y) and math.isnan(tg.grad(y, x)[0])
    with pytest.warns(UserWarning):
        assert math.isinf(f(tg.tensor([1.0, 2.0]), correction=2))


def test_spread_arguments():
    x = tg.tensor([1.0, 2.0, 4.0])
    assert tg.var(x, False) == tg.var(x, unbiased=False) == tg.var(x, correction=0)
    assert tg.var(x, 0, True) == tg.var(x, dim=0) == tg.var(x, axis=0)
    with pytest.raises(TypeError, match="not both"):
        tg.var(x, unbiased=False, correction=1)


# -- softmaxes --------------------------------------------------------------------------------
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_softmax_of_far_apart_logits(dtype):
    x = leaf([1000.0, 0.0], dtype)
    assert x.softmax(0).tolist() == [1, 0]
    loss = -x.log_softmax(0)[1]
    assert loss == 1000
    assert tg.grad(loss, x)[0].tolist() == [1, -1]


@pytest.mark.filterwarnings("error")
def test_softmax_at_infinities():
    for data, soft in (
        ([INF, 0.0], [1, 0]),
        ([INF, INF, -INF], [0.5, 0.5, 0]),
        ([-INF, 0.0], [0, 1]),
        ([-INF, -INF], [0, 0]),
    ):
        x = leaf(data)
        assert x.softmax(0).tolist() == soft
        assert x.log_softmax(0).exp().tolist() == soft
        assert gradient(lambda x: x.logsumexp(0), data) == soft
        assert np.isfinite(gradient(lambda x: x.softmax(0)[0], data)).all()
    assert tg.tensor([-INF, -INF]).logsumexp(0) == -INF
    assert tg.tensor([INF, 0.0]).logsumexp(0) == INF
    assert math.isnan(tg.tensor([NAN, 0.0]).logsumexp(0))
    assert np.isnan(tg.tensor([NAN, INF]).softmax(0).tolist()).all()


def test_a_masked_row_leaves_the_others_alone():
    rows = [[-INF, -INF], [1.0, 3.0]]
    x = leaf(rows)
    (g,) = tg.grad((x.softmax(1) * tg.tensor([1.0, 2.0])).sum(), x)
    alone = gradient(lambda x: (x.softmax(0) * tg.tensor([1.0, 2.0])).sum(), rows[1])
    assert g.tolist() == [[0, 0], alone]


def test_softmax_asks_for_a_dimension():
    for f in (tg.softmax, tg.log_softmax, tg.softmin, tg.logsumexp):
        with pytest.raises(TypeError, match="dim="):
            f(tg.ones(3))


def test_logcumsumexp_at_infinities():
    assert tg.logcumsumexp(tg.tensor([-INF, 0.0, INF]), 0).tolist() == [-INF, 0, INF]
    assert gradient(lambda x: x.logcumsumexp(0)[-1], [-INF, 0.0]) == [0, 1]
    assert gradient(lambda x: x.logcumsumexp(0)[-1], [-INF, -INF]) == [0, 0]
    assert gradient(lambda x: x.logcumsumexp(0)[-1], [0.0, INF, 0.0]) == [0, 1, 0]
    assert np.isfinite(gradient(lambda x: x.logcumsumexp(0).sum(), [-1000.0, 1000.0, 0.0])).all()


# -- of nothing -------------------------------------------------------------------------------
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_reductions_of_nothing():
    x = tg.zeros(3, 0)
    assert tg.sum(x) == 0 and tg.prod(x) == 1 and math.isnan(tg.mean(x))
    assert x.sum(1).tolist() == [0, 0, 0] and x.prod(1).tolist() == [1, 1, 1]
    assert np.isnan(x.mean(1).tolist()).all()
    assert x.logsumexp(1).tolist() == [-INF] * 3
    assert x.norm() == 0 and x.all() and not x.any() and x.count_nonzero() == 0
    assert math.isnan(x.median())
    for y in (x.softmax(1), x.log_softmax(1), x.cumsum(1), x.cumprod(1), x.logcumsumexp(1)):
        assert y.shape == (3, 0)
    assert x.cummax(1).values.shape == (3, 0)
    with pytest.warns(UserWarning, match="no degree of freedom"):
        assert math.isnan(x.std())
    for f in (tg.amax, tg.amin, tg.max, tg.min, tg.aminmax, tg.quantile):
        with pytest.raises(RuntimeError, match="no elements"):
            f(x, 0.5) if f is tg.quantile else f(x)
    for f in (tg.amax, tg.max, tg.min, tg.median, tg.mode, tg.argmax, tg.argmin):
        with pytest.raises(IndexError, match="dimension 1"):
            f(x, dim=1)
    with pytest.raises(IndexError, match="nothing to choose"):
        x.argmax()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "logsumexp", "norm", "softmax", "cumprod"])
def test_gradients_of_nothing_are_empty(name):
    x = leaf(np.zeros((2, 0)))
    (g,) = tg.grad(getattr(tg, name)(x, dim=1).sum(), x)
    assert g.shape == (2, 0)


# -- dtypes and arguments -----------------------------------------------------------------------
def test_results_of_whole_numbers():
    x = tg.tensor([[1, 2], [3, 4]])
    for y, dtype in (
        (x.sum(), "int64"),
        (tg.tensor([1, 2], dtype="uint8").sum(), "int64"),
        ((x > 1).sum(), "int64"),
        (x.prod(0), "int64"),
        (x.cumsum(0), "int64"),
        (x.amax(), "int64"),
        (x.max(0).values, "int64"),
        (x.sum(dtype="float64"), "float64"),
        ((x > 1).mean(), "float32"),
        (x.softmax(0), "float32"),
        (x.any(), "bool"),
    ):
        assert y.dtype == dtype


def test_narrow_sums_are_carried_out_wide():
    x = tg.full((300, 300), 1.0, dtype="float16")
    assert x.mean() == 1 and x.sum(0)[0] == 300
    assert (x * 300).norm(dim=0)[0] == pytest.approx(300 * 300**0.5, rel=1e-3)
    assert type(tg.ones(3).sum()._value) is np.float32


def test_arrays_in_arrays_out():
    x = np.array([[1.0, 2.0], [3.0, 5.0]])
    for y in (tg.sum(x, 0), tg.prod(x, 1), tg.softmax(x, 1), tg.std(x, 0), tg.cumprod(x, 0)):
        assert type(y) is np.ndarray
    assert type(tg.sum(x)) is float
    assert tg.quantile(x, 0.5) == 2.5 and tg.max(x, 1).indices.tolist() == [1, 1]


def test_wrong_arguments():
    x = tg.ones(2, 3)
    with pytest.raises(IndexError, match="sum: dimension 2 is out of range"):
        x.sum(2)
    with pytest.raises(RuntimeError, match="appears twice"):
        x.sum((0, -2))
    with pytest.raises(TypeError, match="not both"):
        tg.sum(x, dim=0, axis=1)
    with pytest.raises(TypeError, match="cumsum: say along which"):
        x.cumsum()
    with pytest.raises(RuntimeError, match=r"got 1\.5"):
        tg.quantile(x, 1.5)
    with pytest.raises(ValueError, match="q must lie"):
        tg.quantile(x, tg.tensor([0.5, -0.5]))
    with pytest.raises(RuntimeError, match="interpolation 'cubic'"):
        tg.quantile(x, 0.5, interpolation="cubic")
    with pytest.raises(RuntimeError, match="0-d"):
        tg.diff(tg.tensor(1.0))
    with pytest.raises(RuntimeError, match="1-d integer"):
        tg.bincount(tg.ones(3))


# -- statistics without a torch counterpart in the stored data ----------------------------------
def test_quantile_with_nan_and_by_q():
    assert math.isnan(tg.quantile(tg.tensor([1.0, NAN]), 0.5))
    assert tg.quantile(tg.tensor([[1.0, NAN], [1.0, 3.0]]), 0.5, dim=1)[1] == 2
    q = leaf(0.4)
    y = tg.quantile(tg.tensor([1.0, 2.0, 5.0], dtype="float64"), q)
    assert tg.grad(y, q)[0] == pytest.approx(2.0)  # (n - 1)(2 - 1)
    x = np.random.default_rng(1).normal(size=(4, 5))
    tg.check_grads(lambda x: tg.quantile(x, 0.3, dim=1), tg.tensor(x), order=2)


def test_counts():
    assert tg.bincount(tg.tensor([0, 1, 1, 3]), minlength=6).tolist() == [1, 2, 0, 1, 0, 0]
    assert tg.bincount(tg.tensor([0, 1, 1]), weights=tg.tensor([1.0, 2.0, 4.0])).tolist() == [1, 6]
    assert tg.histc(tg.tensor([1.0, 2.0, 1.0, 9.0]), 4, 0, 3).tolist() == [0, 2, 1, 0]
    assert tg.histc(tg.tensor([2.0, 2.0]), 3).tolist() == [0, 2, 0]


def test_softmin():
    assert tg.softmin(tg.tensor([0.0, 1000.0]), 0).tolist() == [1, 0]


def test_no_warnings_from_finite_numbers():
    x = np.array([[1e300, -1e300, 0.0], [1e-300, -0.0, 5.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for f in (tg.softmax, tg.log_softmax, tg.logsumexp, tg.logcumsumexp, tg.cummax, tg.median):
            y = f(leaf(x), 1)
            y = y[0] if isinstance(y, tuple) else y
            y.sum().backward()


@pytest.mark.parametrize("name", ["nansum", "nanmean"])
def test_a_dimension_out_of_range_is_told_by_its_caller(name):
    with pytest.raises(IndexError, match=f"^{name}: dimension 9"):
        getattr(tg, name)(tg.zeros(2), dim=9)
