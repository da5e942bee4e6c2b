"""Elementwise operations: against PyTorch's numbers, at their edges, bit for bit, and by dtype."""

import functools
import json
import math
import operator
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg

DATA = json.loads((Path(__file__).parent / "data" / "elementwise.json").read_text(encoding="utf-8"))
INF, NAN = math.inf, math.nan
SCIPY = {"erf", "erfc", "erfinv", "lgamma", "digamma", "polygamma"}
double = functools.partial(tg.tensor, dtype="float64")


def leaf(data, dtype="float64"):
    return tg.tensor(data, dtype=dtype, requires_grad=True)


def derivatives(function, *points, order=1):
    """The value at a point, the gradient, and for order 2 the Hessian, as plain numbers."""
    xs = [leaf(p) for p in points]
    y = function(*xs)
    first = tg.grad(y, xs, create_graph=order > 1, allow_unused=True)
    gradient = [0.0 if g is None else g.item() for g in first]
    if order == 1:
        return y.item(), gradient
    second = []
    for g in first:
        row = [None] * len(xs)
        if g is not None and g.requires_grad:
            row = tg.grad(g, xs, allow_unused=True, retain_graph=True)
        second.append([0.0 if h is None else h.item() for h in row])
    return y.item(), gradient, second


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


# -- PyTorch's numbers ---------------------------------------------------------------------
def label(case):
    return case["name"] + "".join(f" {k}={v}" for k, v in case["keywords"].items())


@pytest.mark.parametrize("shape", ["array", "scalars"])
@pytest.mark.parametrize("case", DATA["cases"], ids=label)
def test_value_and_two_derivatives_are_torchs(case, shape):
    if case["name"] in SCIPY:
        pytest.importorskip("scipy")
    function = functools.partial(getattr(tg, case["name"]), **case["keywords"])
    if shape == "array":
        check_case(function, case, case["args"], lambda numbers: numbers)
    else:
        for k in range(len(case["value"])):
            args = [a[k] if isinstance(a, list) else a for a in case["args"]]
            check_case(function, case, args, operator.itemgetter(k))


def check_case(function, case, args, part):
    tracked = [isinstance(a, list) for a in case["args"]]
    xs = [leaf(a) if t else a for a, t in zip(args, tracked)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # ordinary points: nothing to warn about
        y = function(*xs)
        leaves = [x for x, t in zip(xs, tracked) if t]
        first = tg.grad(y.sum(), leaves, create_graph=True, materialize_grads=True)
        near(y, part(case["value"]))
        for g, expected in zip(first, case["first"]):
            near(g, part(expected))
        for g, row in zip(first, case["second"]):
            found = [None] * len(leaves)
            if g.requires_grad:
                found = tg.grad(g.sum(), leaves, retain_graph=True, materialize_grads=True)
            for h, expected in zip(found, row):
                near(tg.zeros_like(leaves[0]) if h is None else h, part(expected))


def near(found, expected):
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.asarray(found.tolist()), expected, rtol=1e-9, atol=1e-10)


def test_softplus_is_more_exact_than_torchs_cut():
    value, _, second = derivatives(tg.softplus, 25.0, order=2)
    assert value == 25.0 + math.exp(-25.0) > 25.0
    np.testing.assert_allclose(second, [[math.exp(-25.0)]], rtol=1e-4)
    value, _, second = derivatives(lambda x: tg.softplus(x, threshold=3), 3.5, order=2)
    assert (value, second) == (3.5, [[0.0]])


@pytest.mark.parametrize("n", range(5))
def test_sinc_is_smooth_at_zero(n):
    # the Taylor series sin(πx)/(πx) = Σ (-1)^k (πx)^(2k) / (2k+1)!
    for point in (0.0, 1e-9, 1e-4, -0.3):
        terms = range((n + 1) // 2, 20)
        expected = math.fsum(
            (-1) ** k
            * math.pi ** (2 * k)
            / math.factorial(2 * k + 1)
            * math.perm(2 * k, n)
            * point ** (2 * k - n)
            for k in terms
        )
        y = x = leaf(point)
        y = tg.sinc(x)
        for _ in range(n):
            (y,) = tg.grad(y, x, create_graph=True)
        np.testing.assert_allclose(y.item(), expected, rtol=1e-11, atol=1e-13)


# -- edges: values and derivatives where they are not obvious ------------------------------
EDGES = [
    # function, point, value, gradient
    (tg.abs, [0.0], 0.0, [0.0]),
    (tg.abs, [-0.0], 0.0, [0.0]),
    (tg.sign, [0.0], 0.0, [0.0]),
    (tg.sqrt, [0.0], 0.0, [INF]),
    (tg.safe_sqrt, [0.0], 0.0, [0.0]),
    (tg.safe_sqrt, [4.0], 2.0, [0.25]),
    (tg.safe_sqrt, [-1.0], NAN, [NAN]),
    (tg.maximum, [1.0, 1.0], 1.0, [0.5, 0.5]),
    (tg.minimum, [1.0, 1.0], 1.0, [0.5, 0.5]),
    (tg.maximum, [INF, INF], INF, [0.5, 0.5]),
    (tg.fmax, [1.0, 1.0], 1.0, [0.5, 0.5]),
    (tg.fmin, [1.0, 1.0], 1.0, [0.5, 0.5]),
    (tg.fmax, [1.0, NAN], 1.0, [1.0, 0.0]),
    (tg.fmin, [NAN, 1.0], 1.0, [0.0, 1.0]),
    (tg.fmax, [NAN, NAN], NAN, [1.0, 0.0]),
    (tg.fmin, [NAN, NAN], NAN, [1.0, 0.0]),
    (tg.maximum, [NAN, 1.0], NAN, [1.0, 1.0]),
    (tg.maximum, [1.0, NAN], NAN, [1.0, 1.0]),
    (tg.minimum, [NAN, 1.0], NAN, [1.0, 1.0]),
    (tg.minimum, [NAN, NAN], NAN, [1.0, 1.0]),
    (tg.sign, [NAN], 0.0, [0.0]),
    (tg.sgn, [NAN], 0.0, [0.0]),
    (tg.abs, [NAN], NAN, [0.0]),
    (lambda x: x**0.5, [-INF], INF, [0.0]),
    (lambda x: tg.ldexp(x, tg.tensor(1000)), [1.0], 2.0**1000, [2.0**1000]),
    (tg.relu, [0.0], 0.0, [0.0]),
    (tg.leaky_relu, [0.0], 0.0, [0.01]),
    (lambda x: tg.clip(x, -1.0, 1.0), [1.0], 1.0, [1.0]),
    (lambda x: tg.clip(x, -1.0, 1.0), [-1.0], -1.0, [1.0]),
    (tg.clip, [2.0, 1.0, 2.0], 2.0, [1.0, 0.0, 0.0]),
    (tg.clip, [0.0, 1.0, 2.0], 1.0, [0.0, 1.0, 0.0]),
    (tg.clip, [1.5, 2.0, 1.0], 1.0, [0.0, 0.0, 1.0]),  # min > max: the result is max
    (lambda x: tg.clip(x, max=1.0), [-INF], -INF, [1.0]),
    (lambda x: x**0, [0.0], 1.0, [0.0]),
    (lambda x: x**2, [0.0], 0.0, [0.0]),
    (tg.pow, [0.0, 0.0], 1.0, [0.0, 0.0]),
    (tg.pow, [0.0, 0.5], 0.0, [INF, 0.0]),
    (tg.pow, [-2.0, 3.0], -8.0, [12.0, NAN]),
    (lambda x: x**3, [-2.0], -8.0, [12.0]),
    (lambda x: x**0.5, [-2.0], NAN, [NAN]),
    (tg.atan2, [0.0, 0.0], 0.0, [0.0, 0.0]),
    (tg.hypot, [0.0, 0.0], 0.0, [0.0, 0.0]),
    (tg.hypot, [3e300, 4e300], 5e300, [0.6, 0.8]),
    (tg.atan2, [3e300, 4e300], math.atan2(3, 4), [4 / 25 * 1e-300, -3 / 25 * 1e-300]),
    (tg.logaddexp, [INF, INF], INF, [0.5, 0.5]),
    (tg.logaddexp, [-INF, -INF], -INF, [0.5, 0.5]),
    (tg.logaddexp, [INF, 0.0], INF, [1.0, 0.0]),
    (tg.logaddexp, [-INF, 0.0], 0.0, [0.0, 1.0]),
    (tg.logaddexp, [1e4, 1e4], 1e4 + math.log(2), [0.5, 0.5]),
    (tg.logaddexp2, [INF, INF], INF, [0.5, 0.5]),
    (tg.logaddexp2, [-INF, -INF], -INF, [0.5, 0.5]),
    (tg.xlogy, [0.0, 0.0], 0.0, [0.0, 0.0]),
    (tg.xlogy, [0.0, 2.0], 0.0, [math.log(2.0), 0.0]),
    (tg.xlogy, [1.0, 0.0], -INF, [-INF, INF]),
    (tg.xlogy, [0.0, NAN], NAN, [NAN, NAN]),
    (lambda x: tg.xlogy(x, x), [0.0], 0.0, [0.0]),
    (lambda x: x * tg.log(x), [0.0], NAN, [NAN]),
    (tg.xlog1py, [0.0, -1.0], 0.0, [0.0, 0.0]),
    (tg.softplus, [0.0], math.log(2.0), [0.5]),
    (tg.softplus, [1e4], 1e4, [1.0]),
    (tg.softplus, [-1e4], 0.0, [0.0]),
    (tg.softplus, [INF], INF, [1.0]),
    (tg.logsigmoid, [0.0], -math.log(2.0), [0.5]),
    (tg.logsigmoid, [-1e4], -1e4, [1.0]),
    (tg.logsigmoid, [1e4], 0.0, [0.0]),
    (tg.sigmoid, [1e4], 1.0, [0.0]),
    (tg.sigmoid, [-1e4], 0.0, [0.0]),
    (tg.sigmoid, [-700.0], math.exp(-700.0), [math.exp(-700.0)]),
    (tg.log_clamped, [0.0], -100.0, [1e12]),
    (tg.log_clamped, [1.0], 0.0, [1.0]),
    (tg.copysign, [0.0, -1.0], 0.0, [0.0, 0.0]),
    (tg.div, [0.0, 0.0], NAN, [INF, NAN]),
    (tg.div, [1.0, 0.0], INF, [INF, -INF]),
    (tg.reciprocal, [0.0], INF, [-INF]),
    (tg.log, [0.0], -INF, [INF]),
    (tg.acosh, [1.0], 0.0, [INF]),
    (tg.asin, [1.0], math.pi / 2, [INF]),
    (tg.nan_to_num, [NAN], 0.0, [0.0]),
    (tg.nan_to_num, [INF], sys.float_info.max, [0.0]),
    (tg.floor, [1.0], 1.0, [0.0]),
    (tg.round, [2.5], 2.0, [0.0]),
    (tg.heaviside, [0.0, 0.5], 0.5, [0.0, 1.0]),
    (tg.heaviside, [-0.1, 0.5], 0.0, [0.0, 0.0]),
    # where nothing passes, an infinite derivative further up must not become NaN
    (lambda x: tg.sqrt(tg.relu(x)), [-1.0], 0.0, [0.0]),
    (lambda x: tg.sqrt(tg.clip(x, 0.0)), [-1.0], 0.0, [0.0]),
    (lambda x: tg.sqrt(tg.maximum(x, double(0.0))), [-1.0], 0.0, [0.0]),
    # the remedy for where() on a derivative that is not finite, and what it remedies
    (lambda x: tg.where(x > 0, tg.sqrt(x), 0.0), [-1.0], 0.0, [NAN]),
    (lambda x: tg.where(x > 0, tg.sqrt(tg.where(x > 0, x, 1.0)), 0.0), [-1.0], 0.0, [0.0]),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("function, point, value, gradient", EDGES)
def test_edges(function, point, value, gradient):
    found_value, found = derivatives(function, *point)
    same(found_value, value)
    same(found, gradient)
    # the same for arrays, and for the backward pass on the tape
    xs = [leaf([p, p]) for p in point]
    y = function(*xs)
    same(y.tolist(), [value, value])
    for graph in (False, True):
        gs = tg.grad(y.sum(), xs, create_graph=graph, retain_graph=True, materialize_grads=True)
        for g, expected in zip(gs, gradient):
            same(g.tolist(), [expected, expected])


SECOND = [
    # smooth functions have their true second derivative at the points where formulas bend
    (tg.softplus, [0.0], [[0.25]]),
    (tg.logsigmoid, [0.0], [[-0.25]]),
    (tg.sigmoid, [0.0], [[0.0]]),
    (tg.sinc, [0.0], [[-(math.pi**2) / 3]]),
    (tg.logaddexp, [1.5, 1.5], [[0.25, -0.25], [-0.25, 0.25]]),
    (tg.logaddexp, [INF, INF], [[0.0, 0.0], [0.0, 0.0]]),
    (tg.xlogy, [0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]]),
    (tg.xlogy, [0.0, 2.0], [[0.0, 0.5], [0.5, 0.0]]),
    (lambda x: x**2, [0.0], [[2.0]]),
    (lambda x: x**3, [0.0], [[0.0]]),
    (lambda x: x**1, [0.0], [[0.0]]),
    (tg.pow, [-2.0, 2.0], [[2.0, NAN], [NAN, NAN]]),
    (tg.pow, [0.5, 0.0], [[0.0, 2.0], [2.0, math.log(0.5) ** 2]]),
    (tg.pow, [0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]]),
    (tg.asin, [1.0], [[INF]]),
    (tg.asin, [-1.0], [[-INF]]),
    (tg.acos, [1.0], [[-INF]]),
    (tg.acos, [-1.0], [[INF]]),
    (tg.atanh, [1.0], [[INF]]),
    (tg.atanh, [-1.0], [[-INF]]),
    (tg.hypot, [0.0, 0.0], None),
    (tg.safe_sqrt, [0.0], [[0.0]]),
    (tg.relu, [0.0], [[0.0]]),
    (tg.log_clamped, [0.0], [[0.0]]),
    (tg.log_clamped, [0.5], [[-4.0]]),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("function, point, hessian", SECOND)
def test_second_derivatives_at_edges(function, point, hessian):
    *_, found = derivatives(function, *point, order=2)
    if hessian is None:
        assert not np.isnan(found).any()
    else:
        np.testing.assert_allclose(found, hessian, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "p, y, value, slope",
    [(0, 1, 100, -1e12), (0, 0, 0, 1), (1, 1, 0, -1), (1, 0, 100, 1e12), (0.5, 1, 0.6931472, -2)],
)
def test_cross_entropy_around_log_clamped(p, y, value, slope, dtype):
    x, t = leaf(float(p), dtype), tg.tensor(float(y), dtype=dtype)
    loss = -(t * tg.log_clamped(x) + (1.0 - t) * tg.log_clamped(1.0 - x))
    loss.backward()
    assert loss.dtype == x.grad.dtype == np.dtype(dtype)
    np.testing.assert_allclose([loss.item(), x.grad.item()], [value, slope], rtol=1e-6)


def test_three_ways_to_write_softplus_differ_at_the_kink():
    """z = 0, y = 1: the hand-written max(z,0) - zy + log1p(exp(-|z|)) depends on the bend."""
    bends = {
        -0.5: lambda z: tg.maximum(z, double(0.0)),
        0.0: lambda z: tg.clip(z, 0.0),
        -1.0: tg.relu,
    }
    for slope, bend in bends.items():
        _, (found,) = derivatives(lambda z, b=bend: b(z) - z + tg.log1p(tg.exp(-tg.abs(z))), 0.0)
        assert found == slope
    assert derivatives(lambda z: tg.softplus(z) - z, 0.0)[1] == [-0.5]


def test_no_warning_from_finite_mathematics():
    big = [-1e4, -800.0, -30.0, 0.0, 30.0, 800.0, 1e4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for f in (tg.sigmoid, tg.softplus, tg.logsigmoid, tg.tanh, tg.sinc, tg.atan, tg.asinh):
            for dtype in ("float32", "float64"):
                for data in (big, *big):
                    x = leaf(data, dtype)
                    (g,) = tg.grad(f(x).sum(), x, create_graph=True)
                    (h,) = tg.grad(g.sum(), x)
                    assert np.isfinite([g.tolist(), h.tolist()]).all()
        x = leaf([0.0, 0.0])
        (tg.xlogy(x, x) + tg.log_clamped(x) + tg.hypot(x, x) + tg.atan2(x, x)).sum().backward()
        # The short cut for one exponent is not tried on the base of another.
        powers = tg.pow(tg.tensor([0.0, -2.0, 1e30, 4.0]), tg.tensor([2.0, 2.0, 1.0, 0.5]))
        assert powers.tolist() == [0.0, 4.0, tg.tensor(1e30).item(), 2.0]
        assert tg.pow(tg.tensor([0.0, 4.0]), tg.tensor([2.0, -1.0])).tolist() == [0.0, 0.25]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_anomaly_detection_suggests_xlogy_and_where():
    x = leaf(0.0)
    with tg.detect_anomaly(), pytest.raises(RuntimeError, match="xlogy"):
        x * tg.log(x)
    with tg.detect_anomaly(), pytest.raises(RuntimeError, match=r"'sqrt'.*tg\.where"):
        tg.where(x > 0, tg.sqrt(x), 0.0).backward()


# -- bit for bit ---------------------------------------------------------------------------
SPECIAL = {
    "float16": [0.0, 1.0, 0.5, 2.0, 3.0, 0.3, 6e4, 6e-5, INF],
    "float32": [0.0, 1.0, 0.5, 2.0, 3.0, 0.3, 1e38, 1e-38, INF],
    "float64": [0.0, 1.0, 0.5, 2.0, 3.0, 0.3, 1e300, 1e-300, INF],
}
MODULES = ["arithmetic", "exponentials", "trigonometry", "special", "rounding", "comparisons"]


def primitives():
    """The names of the elementwise primitives that those modules state."""
    for module in MODULES:
        for value in vars(sys.modules[f"tapegrad.ops.{module}"]).values():
            op = getattr(value, "primitive", None)
            if op is not None and op.family in ("elementwise", "bilinear", "constant"):
                yield op.name


PRIMITIVES = sorted(
    {name for name in primitives() if not name.startswith(("bitwise", "gcd", "lcm"))}
)
DIFFERENTIABLE = [name for name in PRIMITIVES if tg.REGISTRY[name].differentiable]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", SPECIAL)
@pytest.mark.parametrize("name", PRIMITIVES)
def test_scalars_and_arrays_agree_bit_for_bit(name, dtype):
    op = tg.REGISTRY[name]
    if name in SCIPY:
        pytest.importorskip("scipy")
    values = [*SPECIAL[dtype], *(-v for v in SPECIAL[dtype]), NAN]
    arity, params = len(op.samples[0].arrays), op.samples[0].params
    points = [(v,) for v in values] if arity == 1 else [(a, b) for a in values for b in values]
    for point in points:
        if name.startswith("logical"):
            point = tuple(bool(v) for v in point)
        kind = None if name.startswith("logical") else dtype
        flat = op.function(*(tg.tensor(v, dtype=kind) for v in point), **params)
        one = op.function(*(tg.tensor([v], dtype=kind) for v in point), **params)
        assert flat.shape == () and one.shape == (1,)
        assert flat.dtype == one.dtype
        a, b = np.asarray(flat.numpy()), one.numpy()[0]
        assert type(flat._value) is not np.ndarray
        assert a.tobytes() == b.tobytes() or (np.isnan(a) and np.isnan(b)), (point, a, b)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", SPECIAL)
@pytest.mark.parametrize("power", [0, 1, 2, 3, -1, -2, 0.5, -0.5, 2.5])
def test_powers_with_number_exponents_agree_bit_for_bit(power, dtype):
    for v in (*SPECIAL[dtype], *(-v for v in SPECIAL[dtype]), NAN):
        flat, one = tg.tensor(v, dtype=dtype) ** power, tg.tensor([v], dtype=dtype) ** power
        by_array = tg.tensor([v], dtype=dtype) ** tg.tensor([power], dtype=dtype)
        a, b = np.asarray(flat.numpy()), one.numpy()[0]
        assert a.tobytes() == b.tobytes() or (np.isnan(a) and np.isnan(b)), (v, a, b)
        np.testing.assert_allclose(by_array.numpy()[0], b, rtol=2 * np.finfo(dtype).eps)


def test_the_list_of_primitives_is_not_empty():
    assert {"add", "mul", "pow", "relu", "sigmoid", "atan2", "erf", "floor", "eq"} <= set(
        PRIMITIVES
    )
    assert len(PRIMITIVES) > 75


# -- dtypes --------------------------------------------------------------------------------
def operand(text):
    kind, dtype = text.split()
    if kind == "number":
        return {"bool": True, "int": 1, "float": 1.0}[dtype]
    return tg.tensor([1, 1] if kind == "array" else 1, dtype=dtype)


def test_promotion_is_torchs():
    wrong = []
    for left, right, expected in DATA["promotions"]:
        for a, b in ((operand(left), operand(right)), (operand(right), operand(left))):
            found = (a * b).dtype
            if str(found) != expected:
                wrong.append((left, right, str(found), expected))
    assert not wrong


def test_numpys_float64_is_as_weak_as_pythons_float():
    number = np.float64(2.0)  # what np.mean gives; torch takes it for the float it is
    for data, dtype in ((3.0, "float32"), (3.0, "float16"), ([3.0], "float32"), (3.0, "float64")):
        x = tg.tensor(data, dtype=dtype, requires_grad=True)
        for op in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow):
            for y, like in ((op(x, number), op(x, 2.0)), (op(number, x), op(2.0, x))):
                (g,) = tg.grad(y.sum(), x, create_graph=True)
                assert y.dtype == g.dtype == np.dtype(dtype)
                assert y.tolist() == like.tolist()
    assert (tg.tensor([1, 2]) * number).dtype == (tg.tensor(1) * number).dtype == np.float32


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_result_dtypes_are_torchs():
    wrong = []
    for name, count, dtype, expected in DATA["dtypes"]:
        if name in SCIPY:
            pytest.importorskip("scipy")
        x = tg.tensor([1, 1], dtype=dtype)
        found = getattr(tg, name)(*[x] * count)
        if str(found.dtype) != expected:
            wrong.append((name, dtype, str(found.dtype), expected))
    assert not wrong


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_small_floats_stay_small_forward_and_back(name, dtype):
    op = tg.REGISTRY[name]
    if name in SCIPY:
        pytest.importorskip("scipy")
    for sample in op.samples:
        xs = [
            leaf(a.tolist(), dtype) if a.dtype.kind == "f" else tg.tensor(a) for a in sample.arrays
        ]
        y = op.function(*xs, **sample.params)
        assert y.dtype == np.dtype(dtype)
        tracked = [x for x in xs if x.requires_grad]
        for graph in (True, False):
            for g, x in zip(tg.grad(y.sum(), tracked, create_graph=graph), tracked):
                assert g.dtype == x.dtype and g.shape == x.shape


BINARY = [
    tg.add, tg.sub, tg.mul, tg.div, tg.pow, tg.maximum, tg.minimum, tg.fmax, tg.fmin, tg.atan2,
    tg.hypot, tg.logaddexp, tg.logaddexp2, tg.xlogy, tg.copysign, tg.remainder, tg.fmod,
    tg.floor_divide, tg.heaviside, tg.xlog1py,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("function", BINARY)
def test_python_numbers_on_either_side_keep_the_dtype(function, dtype):
    for number in (0, 1, 2, -1, 0.5, 2.0, -1.5, INF, NAN):
        for data in ([-1.0, 0.5, 1.0, 2.0, 3.0], 0.5, 1.0, 2.0):
            for swapped in (False, True):
                x = leaf(data, dtype)
                y = function(number, x) if swapped else function(x, number)
                (g,) = tg.grad(y.sum(), x, create_graph=True)
                assert y.dtype == g.dtype == np.dtype(dtype), (number, data, swapped)


def test_python_numbers_are_exact_on_a_recorded_backward_pass():
    for f, expected in ((lambda x: x / 3, 1 / 3), (lambda x: 2**x, 4 * math.log(2))):
        for data in (2.0, [2.0]):
            x = leaf(data)
            (g,) = tg.grad(f(x).sum(), x, create_graph=True)
            assert g.item() == expected


UNARY = [
    tg.exp, tg.log, tg.sqrt, tg.sin, tg.tanh, tg.sigmoid, tg.neg, tg.sign, tg.floor, tg.isnan,
    tg.isfinite, tg.logical_not, tg.abs, tg.relu, tg.square, tg.reciprocal, tg.round,
]  # fmt: skip


def test_arguments_go_by_torchs_names():
    x, y = double([0.5, 2.0]), double([1.0, 2.0])
    for function in UNARY:
        assert function(input=x).tolist() == function(x).tolist()
    more = [tg.eq, tg.ne, tg.lt, tg.le, tg.gt, tg.ge, tg.logical_and, tg.isclose, tg.matmul]
    for function in (set(BINARY) | set(more)) - {tg.pow, tg.heaviside}:
        expected = function(x, y).tolist()
        assert function(input=x, other=y).tolist() == function(x, other=y).tolist() == expected
    assert tg.pow(input=x, exponent=y).tolist() == [0.5, 4.0]
    assert tg.pow(x, exponent=2).tolist() == x.pow(exponent=2).tolist() == [0.25, 4.0]


def test_integers_and_booleans_as_operands():
    true = tg.logsigmoid(tg.tensor([1.0, 0.0, 200.0]))
    for dtype in ("uint8", "int64"):
        assert tg.logsigmoid(tg.tensor([1, 0, 200], dtype=dtype)).tolist() == true.tolist()
    assert tg.logsigmoid(tg.tensor([True, False])).tolist() == true[:2].tolist()
    step = tg.heaviside(tg.tensor([-1, 0, 2]), tg.tensor(5))
    assert (step.dtype, step.tolist()) == (np.int64, [0, 5, 1])
    for function in (tg.remainder, tg.floor_divide, tg.fmod):
        with pytest.raises(ZeroDivisionError, match=function.__name__):
            function(tg.tensor([2, 3]), tg.tensor([True, False]))


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (1, 2, "int64"),
        (True, 2, "int64"),
        (True, False, "bool"),
        (1, 2.0, "float32"),
        (True, math.nan, "float32"),
        ("float64", 1.0, "float64"),
        ("float16", math.nan, "float16"),
        ("int32", True, "int32"),
        ("uint8", 1, "uint8"),
        ("uint8", 1.0, "float32"),
        ("bool", 1, "int64"),
        ("bool", True, "bool"),
        ("float32", "float64", "float64"),
        ("float32", tg.tensor(1.0, dtype="float64"), "float32"),
    ],
    ids=str,
)
def test_where_promotes_as_torch(a, b, expected):
    condition = tg.tensor([True, False])
    a, b = (tg.ones(2, dtype=v) if isinstance(v, str) else v for v in (a, b))
    for found in (tg.where(condition, a, b), tg.where(condition, b, a)):
        assert found.dtype == np.dtype(expected)


def test_where_of_two_numbers_has_the_default_dtype():
    for condition in (tg.tensor(True), tg.tensor([True, False])):
        assert tg.where(condition, 1.0, 2.0).dtype == np.float32
        assert tg.where(condition, 1, 2).dtype == np.int64
        assert tg.where(condition, 1, 2.0).dtype == np.float32
    assert tg.where(tg.tensor([False, True])) == (tg.tensor([1]),)
    rows, columns = tg.where(tg.tensor([[False, True], [True, False]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
    assert double([1.0, 2.0]).where(tg.tensor([True, False]), 9.0).tolist() == [1.0, 9.0]


# -- operators -----------------------------------------------------------------------------
FLOAT_OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
    operator.pow, divmod, operator.lt, operator.le, operator.gt, operator.ge, operator.eq,
    operator.ne,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("op", FLOAT_OPERATORS)
def test_operators_with_numbers_on_either_side(op):
    data = np.array([1.5, -2.25, 4.0])
    x = tg.tensor(data)
    for number in (2, 2.5):
        for found, expected in (
            (op(x, number), op(data, number)),
            (op(number, tg.abs(x)), op(number, abs(data))),
            (op(x[0], number), op(data[0], number)),
        ):
            for f, e in zip(*((v if type(v) is tuple else (v,)) for v in (found, expected))):
                assert isinstance(f, tg.Tensor)
                np.testing.assert_array_equal(f.numpy(), e)


@pytest.mark.parametrize("op", FLOAT_OPERATORS)
def test_operators_with_arrays_on_either_side(op):
    data = np.array([1.5, 2.25, 4.0])
    x = tg.tensor(data)
    for found in (
        op(x, data[::-1]),
        op(data[::-1], x),
        op(x, np.float64(2.0)),
        op(np.float64(2.0), x),
    ):
        for part in found if type(found) is tuple else (found,):
            assert isinstance(part, tg.Tensor) and part.shape == (3,)


def test_bits_and_logic():
    a, b = tg.tensor([True, True, False]), tg.tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (a | b).tolist() == [True, True, False]
    assert (a ^ b).tolist() == [False, True, False]
    assert (~a).tolist() == [False, False, True]
    assert (True & a).dtype == bool and (False | b).tolist() == b.tolist()
    i = tg.tensor([6, 3])
    assert ((i & 3).tolist(), (1 | i).tolist(), (i ^ 1).tolist()) == ([2, 3], [7, 3], [7, 2])
    assert ((~i).tolist(), (i << 1).tolist(), (1 << i).tolist()) == ([-7, -4], [12, 6], [64, 8])
    assert (i >> 1).tolist() == [3, 1]
    with pytest.raises(TypeError, match="bitwise_and"):
        tg.tensor([1.0]) & tg.tensor([1.0])
    assert tg.logical_and(tg.tensor([2.0, 0.0]), tg.tensor([1.0, 1.0])).tolist() == [True, False]


def test_strangers_get_their_turn():
    x = tg.tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert (x != "text") is True
    with pytest.raises(TypeError):
        x + "text"
    with pytest.raises(TypeError):
        assert x < None


def test_closeness_and_equality():
    a = double([1.0, INF, NAN])
    assert tg.isclose(a, a).tolist() == [True, True, False]
    assert tg.isclose(a, a, equal_nan=True).tolist() == [True, True, True]
    assert tg.allclose(double([1.0]), double([1.0 + 1e-6])) is True
    assert tg.allclose(double([1.0]), double([1.1])) is False
    assert tg.isclose(double(INF), double(-INF)).item() is False
    assert tg.equal(a[:2], a[:2]) is True
    assert tg.equal(a, a) is False  # NaN
    assert tg.equal(double([1.0]), double(1.0)) is False
    assert not (leaf(1.0) > 0.0).requires_grad


# -- errors --------------------------------------------------------------------------------
def test_errors_name_the_operation():
    with pytest.raises(RuntimeError, match="at least one of min and max"):
        tg.clip(double([1.0]))
    with pytest.raises(RuntimeError, match="rounding_mode"):
        tg.div(double([1.0]), 2.0, rounding_mode="up")
    with pytest.raises(ZeroDivisionError, match="floor_divide"):
        tg.tensor([1, 2]) // 0
    with pytest.raises(ZeroDivisionError, match="remainder"):
        tg.tensor([1, 2]) % tg.tensor([1, 0])
    with pytest.raises(RuntimeError, match="negative integer powers"):
        tg.tensor([1, 2]) ** -1
    with pytest.raises(TypeError, match="sub"):
        tg.tensor([True]) - tg.tensor([False])
    with pytest.raises(TypeError, match="where: the condition must be boolean"):
        tg.where(double([1.0]), 1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"atan2: shapes \(2,\) and \(3,\)"):
        tg.atan2(double([1.0, 2.0]), double([1.0, 2.0, 3.0]))
    with pytest.raises(RuntimeError, match="polygamma"):
        tg.polygamma(-1, double([1.0]))


def test_missing_scipy_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    for call in (lambda: tg.erf(double([0.5])), lambda: tg.polygamma(1, double([0.5]))):
        with pytest.raises(ImportError, match=r'pip install "tapegrad\[special\]"'):
            call()


# -- the two operations of the engine ------------------------------------------------------
def test_check_raises_and_formats():
    x = leaf([0.5, 1.5])
    assert tg.check(x > 0, "unused") is None
    tg.check(True, "unused")
    with pytest.raises(ValueError, match=r"^too large: 1\.5$"):
        tg.check(x <= 1, "too large: {}", x.max())
    with pytest.raises(ValueError, match=r"^of 2$"):
        tg.check(x <= 1, lambda v: f"of {v.size}", x)
    with pytest.raises(ValueError, match=r"^a \{brace\}$"):
        tg.check(False, "a {brace}")
    with pytest.raises(tg.CheckError):
        tg.check(np.array([True, False]), "no")


def test_stop_gradient():
    for data in (3.0, [3.0, 4.0]):
        x = leaf(data)
        y = tg.stop_gradient(x)
        assert not y.requires_grad and y.tolist() == x.tolist()
        (x * y).sum().backward()
        assert x.grad.tolist() == x.tolist()
    with tg.no_grad():
        before = y.tolist()
        x *= 2.0
    assert y.tolist() == before  # no shared memory


# -- properties ----------------------------------------------------------------------------
def test_the_operators_stay_on_the_fast_path(monkeypatch):
    """The 0-d operations of scalar graphs never reach the general apply()."""
    module = sys.modules["tapegrad.calling"]

    def general(op, args, params):
        raise AssertionError(f"{op} took the general path")

    x, y = leaf(1.5), leaf(2.5)
    monkeypatch.setattr(module, "apply", general)
    for f in (operator.add, operator.sub, operator.mul, operator.truediv):
        f(x, y), f(x, 2.0), f(x, 2)
    x**2, x**2.5, x**y, -x, tg.relu(x), tg.exp(x), tg.tanh(x), tg.sqrt(x), tg.sigmoid(x)
    tg.maximum(x, y), tg.abs(x), tg.log(x), tg.clip(x, 0.0, 1.0)


def test_python_integers_wrap_round_in_small_dtypes_as_in_torch():
    u = tg.tensor([1, 250], dtype="uint8")
    assert (u + -3).tolist() == [254, 247]
    assert (u * 300).tolist() == [44, 248]
    assert (tg.tensor([1], dtype="int8") + 200).tolist() == [-55]


def test_operators_leave_strangers_their_turn():
    class Unit:
        def __radd__(self, other):
            return "radd"

        __rsub__ = __rmul__ = __rtruediv__ = __rpow__ = __radd__

    x = leaf(1.5)
    assert [x + Unit(), x - Unit(), x * Unit(), x / Unit(), x ** Unit()] == ["radd"] * 5
    with pytest.raises(TypeError, match=r"tg\.tensor"):
        x + [1.0]
    with pytest.raises(TypeError):
        x + object()


def test_identities_link_the_functions():
    x = double([-1.5, -0.3, 0.2, 0.9, 2.4])
    unit = double([-0.9, -0.3, 0.2, 0.5, 0.8])
    np.testing.assert_allclose(tg.logit(tg.sigmoid(x)).numpy(), x.numpy(), rtol=1e-12)
    np.testing.assert_allclose(tg.sin(tg.asin(unit)).numpy(), unit.numpy(), rtol=1e-12)
    np.testing.assert_allclose(tg.cos(tg.acos(unit)).numpy(), unit.numpy(), rtol=1e-12)
    np.testing.assert_allclose(tg.tan(tg.atan(x)).numpy(), x.numpy(), rtol=1e-12)
    np.testing.assert_allclose(tg.sinh(tg.asinh(x)).numpy(), x.numpy(), rtol=1e-12)
    np.testing.assert_allclose(tg.tanh(tg.atanh(unit)).numpy(), unit.numpy(), rtol=1e-12)
    q, r = divmod(x, 0.7)
    np.testing.assert_allclose((q * 0.7 + r).numpy(), x.numpy(), rtol=1e-12)
    f = tg.div(x, 0.7, rounding_mode="trunc")
    np.testing.assert_allclose((f * 0.7 + tg.fmod(x, 0.7)).numpy(), x.numpy(), rtol=1e-12)
    np.testing.assert_allclose((tg.trunc(x) + tg.frac(x)).numpy(), x.numpy(), rtol=1e-12)


def test_functions_of_plain_numbers_and_arrays_stay_plain():
    data = np.array([0.5, 1.5])
    for name in ("exp", "relu", "softplus", "safe_sqrt", "logsigmoid", "sinc", "round", "square"):
        assert type(getattr(tg, name)(data)) is np.ndarray
        assert type(getattr(tg, name)(0.5)) is float
    assert type(tg.clip(data, 0.0, 1.0)) is np.ndarray
    assert type(tg.where(data > 1, data, 0.0)) is np.ndarray
    assert tg.reciprocal(4) == 0.25


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_selection_of_large_arrays_gives_the_same_bits(dtype):
    random = np.random.default_rng(0)
    n = 3000
    a, b = random.normal(size=(2, n)).astype(dtype)
    a[:4], b[:4] = [NAN, INF, -0.0, 1.0], [1.0, -0.0, NAN, INF]
    condition = random.random(n) < 0.5
    for left, right in ((a, b), (a, 0.0), (0.0, b), (a, -0.0), (2, b), (a[::-1], b[::-1])):
        found = tg.where(condition, left, right)
        expected = np.where(condition, left, right).astype(dtype)
        assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
    rows = condition.reshape(60, 50)
    for left, right in ((a.reshape(60, 50), b[:50]), (a.reshape(60, 50).T.copy().T, 1.0)):
        found = tg.where(rows, left, right)
        assert found.tobytes() == np.where(rows, left, right).tobytes()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_root_as_a_power_of_minus_infinity(dtype):
    x = tg.tensor([-INF, 4.0, -0.0], dtype=dtype)
    for exponent in (0.5, tg.tensor(0.5, dtype=dtype), tg.full((3,), 0.5, dtype=dtype)):
        found = tg.pow(x, exponent)
        assert found.dtype == dtype and found.tolist() == [INF, 2.0, 0.0]
        assert tg.pow(x[0], exponent).tolist() in (INF, [INF] * 3)


def test_lgamma_at_the_infinities():
    pytest.importorskip("scipy")
    assert tg.lgamma(double([-INF, INF])).tolist() == [INF, INF]
    assert tg.lgamma(tg.tensor(-INF)).item() == INF


def test_booleans_to_boolean_powers_stay_boolean():
    x = tg.tensor([True, True, False, False])
    p = tg.tensor([True, False, True, False])
    assert (x**p).tolist() == [True, True, False, True] and (x**p).dtype == bool
    assert (x**True).tolist() == x.tolist() and (x**True).dtype == bool
    assert (x**2).dtype == np.int64


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
def test_integers_have_no_negative_powers(dtype):
    with pytest.raises(RuntimeError, match=r"pow: .*make them floats first"):
        tg.tensor([3, 5], dtype=dtype) ** -1


def test_divisors_and_multiples():
    a, b = tg.tensor([12, -18, 0]), tg.tensor([18, 12, 0])
    assert tg.gcd(a, b).tolist() == [6, 6, 0] and tg.lcm(a, b).tolist() == [36, 36, 0]
    assert a.gcd(8).tolist() == [4, 2, 8] and a.lcm_(5).tolist() == [60, 90, 0]
    with pytest.raises(TypeError, match="gcd"):
        tg.gcd(tg.tensor(1.0), tg.tensor(2.0))


def test_arguments_are_called_as_in_torch():
    x = tg.tensor([-1.0, 0.0, 2.0])
    assert tg.heaviside(x, values=tg.tensor(0.5)).tolist() == [0.0, 0.5, 1.0]
    assert tg.clamp_min(x, min=1.0).tolist() == [1.0, 1.0, 2.0]
    assert x.clamp_max(max=1.0).tolist() == [-1.0, 0.0, 1.0]
    whole = tg.tensor([1, 2])
    assert tg.addcmul(whole, whole, whole, value=0.5).tolist() == [1.5, 4.0]


def test_large_selections_between_two_numbers():
    """As the second derivative of a square has, of a large array."""
    condition = np.arange(5000) % 3 == 0
    found = tg.where(tg.tensor(condition), 1.0, 2.0)
    np.testing.assert_array_equal(found.numpy(), np.where(condition, 1.0, 2.0))
    w = tg.tensor(np.linspace(-1.0, 1.0, 5000), requires_grad=True)
    (slope,) = tg.grad((w**3).sum(), w, create_graph=True)
    (curvature,) = tg.grad(slope.sum(), w)
    np.testing.assert_allclose(curvature.numpy(), 6.0 * w.detach().numpy(), atol=1e-12)
