"""The checker finds planted faults, and calls honest functions right."""

import itertools
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.differences import complex_slope, slope
from tapegrad.ops.shaping import cast

X = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]])
ROW = np.array([1.5, 0.25, -0.75])


@pytest.fixture
def planted():
    """Make primitives that are gone from the registry after the test."""
    known = set(tg.REGISTRY)
    count = itertools.count()

    def make(forward, **stated):
        rules = stated.get("partials", stated.get("vjp"))
        operands = (X,) * (len(rules) if isinstance(rules, (list, tuple)) else 1)
        return tg.primitive(f"planted_{next(count)}", forward, samples=[operands], **stated)

    yield make
    for name in set(tg.REGISTRY) - known:
        del tg.REGISTRY[name]


def report_of(f, inputs, **options):
    return tg.check_grads(f, inputs, report=True, **options)


# -- planted faults -----------------------------------------------------------------------------
def test_right_primitive_passes_every_order(planted):
    cube = planted(lambda x: x * x * x, partials=lambda _y, x: 3.0 * x * x)
    assert tg.check_grads(cube, X, order=4)


def test_wrong_first_derivative(planted):
    cube = planted(lambda x: x * x * x, partials=lambda _y, x: 3.01 * x * x)
    with pytest.raises(tg.GradcheckError) as caught:
        tg.check_grads(lambda x: cube(x), {"x": X}, order=1)
    worst = caught.value.report.findings[0]
    assert (worst.input, worst.entry, worst.verdict) == ("x", "[0, 2]", "wrong")
    assert worst.analytic == pytest.approx(12.04) and worst.numeric == pytest.approx(12.0)
    text = str(caught.value)
    for word in ("input", "entry", "analytic", "numeric", "error", "12.04", "more", "planted"):
        assert word in text
    assert len(text.splitlines()) < 20
    assert not tg.gradcheck(cube, tg.tensor(X, requires_grad=True), raise_exception=False)
    assert not tg.check_grads(cube, X, raise_exception=False)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_wrong_second_derivative_only(planted, mode):
    # Right in value, but the factor is read off the tape: constant to the second derivative.
    def partial(_y, x):
        held = x.detach() if isinstance(x, tg.Tensor) else x
        return 3.0 * x * held

    cube = planted(lambda x: x * x * x, partials=partial)
    assert tg.check_grads(cube, X, order=1, modes=mode)
    report = report_of(cube, X, order=2, modes=mode)
    assert not report.ok and {f.order for f in report.faults} == {2}
    assert any("orders below 2 are right" in hint for hint in report.hints)
    x = tg.tensor(X, requires_grad=True)
    assert tg.gradcheck(cube, x)
    with pytest.raises(tg.GradcheckError):
        tg.gradgradcheck(cube, x)


def test_rule_that_leaks_into_numpy(planted):
    def partial(_y, x):
        return np.cos(np.asarray(getattr(x, "_value", x)))

    sine = planted(np.sin, partials=partial)
    assert tg.check_grads(sine, X, order=1)
    report = report_of(sine, X, order=2)
    assert {f.order for f in report.faults} == {2} and not report.ok


@pytest.mark.parametrize("size", [6, 600])
def test_wrong_in_one_entry_only(planted, size):
    """Found among a few entries, and by halving among many."""
    place = size - 2
    off = np.zeros(size)
    off[place] = 1e-3
    square = planted(lambda x: x * x, partials=lambda _y, x: 2.0 * x + off)
    x = np.linspace(0.5, 2.0, size)
    report = report_of(square, x, order=1)
    assert {f.entry for f in report.faults} == {f"[{place}]"}
    assert report.findings[0].error == pytest.approx(1e-3)


def test_wrong_for_broadcast_shapes_only(planted):
    def pull(g, _y, _a, b):
        # Forgets the length of a broadcast operand: right when both shapes are equal.
        return g * b / (1.0 if np.shape(_a) == np.shape(b) else 2.0)

    times = planted(lambda a, b: a * b, vjp=[pull, lambda g, _y, a, _b: g * a])
    assert tg.check_grads(times, (X, X + 1))
    report = report_of(times, (X, ROW), order=1, modes="rev")
    assert {f.input for f in report.faults} == {"0"}


def test_wrong_in_forward_mode_only(planted):
    from tapegrad.families import general

    def push(tangents, _y, x):
        return tangents[0] * 2.0

    square = general(
        "planted_push",
        lambda x: x * x,
        lambda g, _y, x: 2.0 * g * x,
        push=push,
        samples=[tg.Sample(X)],
    )
    assert tg.check_grads(square, X, order=1, modes="rev")
    report = report_of(square, X, order=1)
    assert {f.mode for f in report.faults} == {"fwd"}
    assert any("push=" in hint for hint in report.hints)
    x = tg.tensor(X, requires_grad=True)
    assert tg.gradcheck(square, x)
    assert not tg.gradcheck(square, x, check_forward_ad=True, raise_exception=False)


@pytest.mark.parametrize("analytic", [True, False])
def test_rule_that_rounds_to_float32(planted, analytic):
    """Seven digits agree, which a looser check would let pass."""

    def partial(y, _x):
        return cast(cast(y, dtype=np.dtype("float32")), dtype=np.dtype("float64"))

    leaky = planted(np.exp, partials=partial, analytic=analytic)
    report = report_of(leaky, X, order=1)
    assert {f.verdict for f in report.faults} == {"imprecise"}
    assert any("float32" in hint for hint in report.hints)
    assert tg.check_grads(leaky, X, order=1, rtol=1e-5)


def test_function_that_leaves_float64():
    report = report_of(lambda x: cast(x * x, dtype=np.dtype("float32")), X, order=1)
    assert not report.ok and any("float32" in hint for hint in report.hints)


def test_result_off_the_tape():
    report = report_of(lambda x: x.detach() * 2.0, X, order=1)
    assert not report.ok and "detach()" in report.failure()


def test_undefined_cotangents(planted):
    """A rule that is not additive over its outputs."""
    double = planted(
        lambda x: (x * 1.0, x * 2.0),
        vjp=lambda g, y, x: g[0] + 2.0 * g[1] if np.any(g[1]) and np.any(g[0]) else 5.0 * g[0],
    )
    with pytest.raises(tg.GradcheckError):
        tg.gradcheck(double, tg.tensor(X, requires_grad=True))


def test_noise_is_refused():
    random = np.random.default_rng(0)
    noisy = lambda x: x * random.standard_normal()
    for check in (tg.check_grads, tg.gradcheck):
        with pytest.raises(tg.GradcheckError, match="not reproducible"):
            check(noisy, tg.tensor(X, requires_grad=True))
    assert not tg.gradcheck(noisy, tg.tensor(X, requires_grad=True), raise_exception=False)
    assert tg.gradcheck(
        lambda x: x * (1.0 + 1e-13 * random.standard_normal()),
        tg.tensor(X, requires_grad=True),
        nondet_tol=1e-10,
        atol=1e-4,
    )


# -- kinks --------------------------------------------------------------------------------------
RELU = lambda x: tg.maximum(x, 0.0)


@pytest.mark.parametrize(
    "f, at",
    [
        (tg.abs, [0.0, 1.0]),
        (RELU, [0.0, 1.0]),
        (RELU, [1e-8, 1.0]),
        (lambda x: tg.maximum(x, x * x), [1.0, 0.5]),
    ],
    ids=["abs", "relu", "beside relu's", "maximum"],
)
def test_kinks_are_named(f, at):
    x = np.array(at)
    report = report_of(f, x, order=1)
    assert report.ok, report
    assert {f.entry for f in report.kinks} == {"[0]"}
    assert "slopes" in report.kinks[0].note
    assert not report_of(f, x, order=1, strict=True).ok
    with pytest.warns(tg.KinkWarning, match=r"\[0\]"):
        assert tg.check_grads(f, x, order=1)


def test_kink_in_the_first_derivative():
    """Huber's slope is continuous, its second derivative jumps: a kink at order 2 only."""
    huber = lambda x: (lambda near: near * (x - 0.5 * near))(tg.minimum(tg.maximum(x, -1.0), 1.0))
    x = np.array([1.0, 0.3])
    report = report_of(huber, x, order=2)
    assert report.ok and {f.order for f in report.kinks} == {2}


def test_derivative_outside_both_slopes_is_wrong(planted):
    odd = planted(np.abs, partials=lambda _y, x: 3.0 + 0.0 * x)
    assert not report_of(odd, np.array([0.0]), order=1).ok


def _spectrum(x):
    return tg.linalg.eigvalsh((x + x.T) / 2)


@pytest.mark.parametrize(
    "f, at",
    [
        (lambda x: tg.topk(x, 2)[0], [1.0, 1.0, 1.0]),
        (lambda x: tg.sort(x)[0], [1.0, 1.0, 1.0, 2.0, 2.0]),
        (tg.median, [1.0, 1.0, 1.0, 1.0, 1.0]),
        (lambda x: tg.kthvalue(x * x, 2)[0], [0.5, 0.5, 0.5]),
        (_spectrum, np.eye(3)),
        (lambda x: _spectrum(x)[1], np.eye(3)),
    ],
)
@pytest.mark.parametrize("order", [1, 2])
def test_kinks_that_no_single_entry_shows(f, at, order):
    """The second largest of three equal numbers does not change when one of them moves."""
    report = tg.check_grads(f, tg.tensor(np.array(at)), order=order, report=True)
    assert report.ok, str(report)
    assert any("do not add up" in finding.note for finding in report.kinks)
    assert not tg.check_grads(
        f, tg.tensor(np.array(at)), order=1, strict=True, raise_exception=False
    )


def _rank(y):
    return tg.argsort(tg.argsort(y, stable=True), stable=True)


def _faulty(rule, forward=lambda x: np.sort(x)[..., -2]):
    def f(x):
        y = x.detach()
        return tg.tensor(np.asarray(forward(y.numpy()))) + ((x - y) * rule(y)).sum()

    return f


def test_a_rule_of_ones_own_may_have_a_hidden_kink():
    f = _faulty(lambda y: (_rank(y) == 1).double())
    with pytest.warns(tg.KinkWarning, match="do not add up"):
        assert tg.check_grads(f, tg.tensor([1.0, 1.0, 1.0]), order=1)


@pytest.mark.parametrize(
    "rule",
    [
        lambda y: 2.0 * (_rank(y) == 1).double(),  # twice too large, everywhere
        lambda y: (_rank(y) == 2).double(),  # of another entry, everywhere
        lambda y: tg.ones_like(y) * tg.where(tg.amax(y) == tg.amin(y), 2.0, (_rank(y) == 1)),
    ],
)
def test_a_wrong_rule_does_not_pass_for_a_hidden_kink(rule):
    assert not tg.check_grads(
        _faulty(rule), tg.tensor([1.0, 1.0, 1.0]), order=1, raise_exception=False
    )


def test_a_rule_that_is_wrong_at_one_smooth_point_is_no_hidden_kink():
    f = _faulty(lambda y: tg.where(y == 0.0, 0.5, tg.cos(y)), lambda x: np.sin(x).sum())
    assert tg.check_grads(f, tg.tensor([0.1, 0.3]), order=1)
    assert not tg.check_grads(f, tg.tensor([0.0, 0.3]), order=1, raise_exception=False)


def test_no_kink_beside_one():
    """Steps that reach across a kink do not count once smaller ones do not."""
    x = np.array([1e-3, -1e-3, 5e-3])
    report = report_of(RELU, x, order=2)
    assert report.ok and not report.findings


def test_edge_of_the_domain():
    with np.errstate(divide="ignore"):
        report = report_of(tg.sqrt, np.array([0.0, 4.0]), order=1)
    assert report.ok and {f.verdict for f in report.findings} == {"edge"}


def test_steep_is_not_a_kink():
    report = report_of(lambda x: tg.tanh(x * 300.0), np.array([1e-3, 0.0, -0.002]), order=2)
    assert report.ok and not report.findings, report


# -- functions that live on a smaller scale than the usual steps ---------------------------------
SMALL = {
    "sqrt": (np.sqrt, lambda y, x: 0.5 / y, [1e-14, 1e-8, 2.0]),
    "log": (np.log, lambda y, x: 1.0 / x, [1e-15, 1e-8, 2.0]),
    "atanh": (np.arctanh, lambda y, x: 1.0 / (1.0 - x * x), [1.0 - 1e-9, 0.5]),
    "sin": (lambda x: np.sin(x / 1e-8), lambda y, x: tg.cos(x / 1e-8) / 1e-8, [1e-8, -2.5e-8]),
}


@pytest.mark.parametrize("name", SMALL)
def test_close_to_an_edge_or_on_a_tiny_scale(name, planted):
    forward, partial, at = SMALL[name]
    right = planted(forward, partials=partial)
    report = report_of(right, np.array(at))
    assert report.ok and not report.findings, report
    wrong = planted(forward, partials=lambda y, x: 1.01 * partial(y, x))
    report = report_of(wrong, np.array(at))
    assert len({f.entry for f in report.faults}) == len(at), report
    for finding in report.faults:  # what is called the numeric slope is the slope
        assert finding.numeric == pytest.approx(finding.analytic / 1.01, rel=2e-3)


def test_entries_of_all_sizes_in_one_direction():
    x = np.array([1e-14, 1.0, 1e8] + [1e-10] * 40)
    assert report_of(tg.sqrt, x, order=1).ok


@pytest.mark.parametrize("at", [[0.0], [0.0, 1.0]])
def test_second_derivative_that_jumps_at_the_point(at, planted):
    x = np.array(at)
    for f in (lambda x: x * tg.abs(x), lambda x: tg.relu(x) ** 2, lambda x: tg.abs(x) ** 3):
        report = report_of(f, x, order=1)
        assert report.ok and not report.findings, report
    off = planted(lambda x: x * np.abs(x), partials=lambda _y, x: 2.0 * tg.abs(x) + 1e-6)
    assert not report_of(off, x, order=1).ok


def test_rounding_of_cancelling_terms_is_no_fault():
    """Saturated softmax: second derivatives of 1e-22, made of terms of size 1."""
    assert tg.check_grads(lambda x: tg.softmax(x, dim=0), np.array([1.0, 50.0, -50.0]))


def test_a_missing_return_is_no_success():
    def forgot(x):
        (x * x).sum()

    with pytest.raises(TypeError, match="return missing"):
        tg.check_grads(forgot, X)


def test_a_constant_may_have_any_dtype():
    assert tg.check_grads(lambda x: (x * x, tg.tensor(3.0)), np.array([1.0, 2.0]))


# -- what the table says is so -------------------------------------------------------------------
def test_higher_orders_are_not_blamed_for_a_lower_one(planted):
    """Forward mode is right, and so would be its second derivative: measured from the wrong
    reverse mode it would not look so."""
    square = planted(
        lambda x: x * x,
        vjp=[lambda g, _y, x: g * x],
        push=lambda ts, _y, x: ts[0] * x * 2.0,
    )
    report = report_of(square, X, order=3)
    assert {(f.order, f.mode) for f in report.faults} == {(1, "rev")}
    assert any("above 1 were not checked" in hint for hint in report.hints)
    assert any("forward mode is right" in hint for hint in report.hints)


def test_what_cannot_be_measured_is_not_said_to_disagree():
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(tg.GradcheckError, match="cannot be checked here") as caught,
    ):
        tg.check_grads(tg.log, np.array([-1.0, 2.0]), order=1)
    assert "rule leaves" not in str(caught.value) and "is right" not in str(caught.value)


def test_no_more_derivatives_disagree_than_were_counted(planted):
    x = np.linspace(0.5, 2.0, 64)
    square = planted(lambda x: x * x, partials=lambda _y, x: 2.02 * x)
    report = report_of(lambda x: square(x).sum(), x, order=1)
    assert len(report.faults) > report.count  # one direction, and then every entry of it
    assert f"check_grads: {len(report.faults)} derivatives disagree" in report.failure()


def test_a_lost_dtype_is_shown_without_numbers():
    report = report_of(lambda x: cast(x, dtype=np.dtype("float32")) * 3.0, X, order=1)
    assert "float64 was not kept" in report.failure() and "nan" not in report.failure()


# -- inputs, outputs, modes ---------------------------------------------------------------------
def test_inputs_of_every_form():
    seen = {}

    def f(x, *, scale, nested, flag, n):
        seen.update(x=x.dtype, n=n.dtype, flag=flag, scale=scale.dtype)
        return {"a": x * scale, "b": (nested["w"][0] * n, nested["w"][1].sum())}

    inputs = {
        "x": tg.tensor([1.0, 2.0]),
        "scale": np.float32(0.5),
        "nested": {"w": [tg.tensor(3.0), np.ones((2, 2), np.float32)]},
        "flag": True,
        "n": np.array([1, 2]),
    }
    report = report_of(f, inputs)
    assert report.ok
    assert [r.input for r in report.rows[:4]] == ["x", "scale", "nested.w.0", "nested.w.1"]
    assert seen["x"] == seen["scale"] == np.float64  # promoted
    assert seen["n"] == np.int64 and seen["flag"] is True  # untouched


def test_only_what_requires_a_gradient_is_checked():
    x, c = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
    cut = lambda x, c: x * c.detach() * 1.0
    assert tg.check_grads(cut, (x, c)) and tg.gradcheck(cut, (x, c))
    assert not report_of(lambda x, c: x.detach() * c, (x, c)).ok
    assert x.grad is None and x.dtype == np.float32  # the user's tensors are left alone


def test_float32_users_see_no_spurious_failures():
    x = tg.tensor(np.linspace(0.1, 3.0, 20, dtype=np.float32), requires_grad=True)
    f = lambda x: tg.exp(x) * tg.log(x) / (x + 3.0)
    assert tg.gradcheck(f, x) and tg.gradgradcheck(f, x) and tg.check_grads(f, x, order=3)


def test_check_grad_dtypes(planted):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert tg.gradcheck(tg.tanh, x, check_grad_dtypes=True)
    widening = planted(lambda x: np.asarray(x, np.float64) * 2.0, transpose=lambda g, x: g * 2.0)
    assert tg.gradcheck(widening, x)
    with pytest.raises(tg.GradcheckError, match="dtype"):
        tg.gradcheck(widening, x, check_grad_dtypes=True)


def test_batched_derivatives(planted):
    x = tg.tensor(X, requires_grad=True)
    f = lambda x: tg.softmax(x @ x.T, dim=-1) * x.sum()
    assert tg.gradcheck(f, x, check_batched_grad=True, check_batched_forward_grad=True)
    assert tg.gradgradcheck(f, x, check_batched_grad=True)

    # Right for arrays, wrong for the duck arrays that stand for a batch of them.
    double = planted(
        lambda x: x * 2.0, transpose=lambda g, x: g * (2.0 if isinstance(g, np.ndarray) else 3.0)
    )
    assert tg.gradcheck(double, x)
    with pytest.raises(tg.GradcheckError, match="vmap"):
        tg.gradcheck(double, x, check_batched_grad=True)


def test_refusals():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="requires_grad=True"):
        tg.gradcheck(tg.tanh, x)
    with pytest.raises(ValueError, match="requires_grad=True"):
        tg.gradgradcheck(tg.tanh, (x, 1.0))
    with pytest.raises(ValueError, match="no input is floating"):
        tg.check_grads(tg.tanh, np.array([1, 2]))
    with pytest.raises(TypeError, match="return Tensors"):
        tg.check_grads(lambda x: x.sum().item(), x)
    with pytest.raises(ValueError, match="modes"):
        tg.check_grads(tg.tanh, x, modes="backward")
    with pytest.raises(ValueError, match="directions"):
        tg.check_grads(tg.tanh, x, directions="all")
    with pytest.raises(ValueError, match="cannot both"):
        tg.gradcheck(tg.tanh, tg.ones(2, requires_grad=True), check_backward_ad=False)
    assert issubclass(tg.GradcheckError, RuntimeError)
    assert issubclass(tg.GradcheckError, AssertionError)


def test_integer_outputs_are_ignored_and_unused_inputs_have_zero():
    assert tg.check_grads(lambda x, y: (x * x, x > 0), (X, ROW))


def test_gradgradcheck_takes_grad_outputs():
    x = tg.tensor(X, requires_grad=True)
    f = lambda x: (tg.tanh(x) * x, x.sum())
    grads = (tg.ones(2, 3), tg.tensor(2.0))
    assert tg.gradgradcheck(f, x, grads, check_fwd_over_rev=True)
    assert tg.gradgradcheck(f, x, fast_mode=True, gen_non_contig_grad_outputs=True)
    with pytest.raises(ValueError, match="grad_outputs"):
        tg.gradgradcheck(f, x, tg.ones(2, 3))


def test_function_that_differentiates_inside():
    """The derivative of an update by its step size."""

    def step(w, lr):
        (g,) = tg.grad((w * w * w).sum(), w, create_graph=True)
        return w - lr * g

    assert tg.check_grads(step, (X, 0.1))


@pytest.mark.parametrize("directions", ["auto", "entries", "inputs", "joint"])
def test_directions(directions, planted):
    good = lambda a, b: tg.tanh(a) * b
    assert tg.check_grads(good, (X, ROW), directions=directions, order=3)
    bad = planted(np.tanh, partials=lambda y, _x: 1.0 - y)
    report = report_of(lambda a, b: bad(a) * b, (X, ROW), order=1, directions=directions)
    assert not report.ok and {f.input for f in report.faults} == {"0"}
    assert all(f.entry.startswith("[") for f in report.faults)


def test_report_reads_line_by_line():
    report = report_of(
        lambda **p: tg.tanh(p["0.weight"] @ p["1.weight"]).sum(),
        {"0.weight": X, "1.weight": tg.ones(3, 4)},
        order=1,
    )
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines] == ["input", "0.weight", "1.weight"]
    assert "complex step" in lines[1] and lines[1].endswith("ok")
    assert all(row.error < 1e-12 for row in report.rows)


def test_large_network_with_kinks_inside():
    """Thousands of hidden kinks near the point do not make right derivatives look wrong."""
    random = np.random.default_rng(0)
    inputs = tg.tensor(random.standard_normal((300, 20)))
    weights = {f"w{i}": random.standard_normal((20, 20)) * 0.3 for i in range(3)}

    def loss(**weights):
        h = inputs
        for w in weights.values():
            h = RELU(h @ w)
        return (h * h).mean()

    for seed in range(5):
        report = report_of(loss, weights, order=1, seed=seed)
        assert report.ok, report


# -- the measuring itself -----------------------------------------------------------------------
def test_slope_knows_its_error():
    for f, exact in [
        (np.exp, np.exp(0.7)),
        (np.tan, 1 / np.cos(0.7) ** 2),
        (lambda x: 1e6 + np.sin(x), np.cos(0.7)),
        (lambda x: np.sin(50 * x), 50 * np.cos(35.0)),
        (lambda x: np.round(np.exp(x), 9), np.exp(0.7)),  # a noisy function
    ]:
        found = slope(lambda t, f=f: np.array([f(0.7 + t)]))
        assert abs(found.value[0] - exact) <= 3 * found.error[0] + 1e-14
        assert found.error[0] < 1e-4


def test_complex_step_is_exact_and_knows_its_limits():
    f = lambda t: np.array([np.exp(0.7 + t) * np.sin(0.7 + t)])
    found = complex_slope(f, f)
    assert found.value[0] == pytest.approx(np.exp(0.7) * (np.sin(0.7) + np.cos(0.7)), rel=1e-15)
    square = lambda t: np.array([np.abs(0.7 + t) ** 2])  # not analytic: believed by nobody
    assert complex_slope(square, square) is None
    cut = lambda t: np.array([0.7 + t]).astype(float)  # a ComplexWarning
    assert complex_slope(cut, lambda t: np.array([0.7 + t])) is None


def test_complex_values_stay_inside():
    kinds = set()

    def f(x):
        kinds.add((x.dtype.kind, x.requires_grad))
        return tg.exp(x) * x

    assert "complex step" in str(report_of(f, X, order=2))
    assert kinds == {("f", True), ("c", False)}


def test_complex_step_beside_real_constants():
    two = tg.full((2, 3), 2.0, dtype="float64")
    for f in (lambda x: x * two, lambda x: x @ two.T, lambda x: tg.cat([tg.exp(x), two])):
        assert "complex step" in str(report_of(f, X, order=1))


def test_fixture(gradcheck):
    assert gradcheck(tg.tanh, X)
    assert gradcheck(lambda a, b: a * b, X, ROW, order=3)
    assert gradcheck(lambda a, b: a * b, {"a": X, "b": ROW}, modes="rev")
    with pytest.raises(AssertionError, match="analytic"):
        gradcheck(lambda x: x * x.detach(), X)


def test_no_warnings_from_honest_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tg.check_grads(lambda x: tg.log(x) + tg.sqrt(x), np.array([1e-3, 2.0]), order=2)
