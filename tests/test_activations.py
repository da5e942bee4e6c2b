"""Activations: the table's rows against torch (stored by oracle/make_activations.py), derivatives
by inputs and settings, kinks, infinities, modules, errors, and what only some of them do."""

import copy
import json
import math
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn
from tapegrad.nn.activation_table import ACTIVATIONS, row_of

DATA = json.loads((Path(__file__).parent / "data" / "activations.json").read_text())
ROWS = {row.name: row for row in ACTIVATIONS}
POINTS = np.array(DATA["points"]).reshape(2, 8)
TRIED = [(row, settings) for row in ACTIVATIONS for settings in row.tried()]
#: Torch's float64 is less exact: it has constants in float32, and a softplus that is cut off.
INEXACT = {"celu": 2e-6, "hardsigmoid": 1e-7, "softplus": 1e-8}
ELEMENTWISE = [row for row in ACTIVATIONS if row.elementwise]


def named(value):
    return getattr(value, "name", None) or str(value)


def leaf(values, dtype="float64"):
    return tg.tensor(np.array(values), dtype=dtype, requires_grad=True)


def close(found, wanted, tolerance=1e-11):
    np.testing.assert_allclose(
        found.detach().numpy() if isinstance(found, tg.Tensor) else found,
        np.array(wanted, dtype=float),
        rtol=tolerance,
        atol=tolerance,
    )


def slopes(function, x):
    y = function(x)
    if not y.requires_grad:
        return tg.zeros_like(x)
    return tg.grad(y.sum(), x, create_graph=True, allow_unused=True)[0]


# -- PyTorch's numbers ------------------------------------------------------------------------
@pytest.mark.parametrize("case", DATA["cases"], ids=lambda c: f"{c['name']} {c['settings']}")
def test_values_and_derivatives_are_torchs(case):
    row, x = ROWS[case["name"]], leaf(POINTS)
    y = row(x, **case["settings"])
    close(y, case["value"], tolerance := INEXACT.get(row.name, 1e-11))
    seeds = np.array(DATA["seeds"])
    (first,) = tg.grad(
        (y * tg.tensor(seeds[: y.numel()].reshape(y.shape))).sum(), x, create_graph=True
    )
    close(first, case["first"], tolerance)
    second = tg.zeros_like(x)
    if first.requires_grad:
        (second,) = tg.grad((first * tg.tensor(seeds.reshape(2, 8))).sum(), x)
    close(second, case["second"], tolerance)


def test_every_row_with_a_peer_is_compared():
    compared = {case["name"] for case in DATA["cases"]}
    assert {row.name for row in ACTIVATIONS if row.torch_name} == compared


@pytest.mark.parametrize("name", DATA["kinks"])
def test_slopes_at_kinks_are_torchs(name):
    row, (values, wanted) = ROWS[name], DATA["kinks"][name]
    x = leaf(list(row.kinks))
    close(row(x), values)
    close(slopes(row, x), wanted)
    close(list(row.kinks.values()), wanted)  # what the table says


@pytest.mark.parametrize("row", ELEMENTWISE, ids=named)
def test_kinks_are_where_the_table_says(row):
    """From both sides: elsewhere the slope has no jump."""
    for x in [*row.kinks, 0.0, 1.0]:
        below, at, above = slopes(row, leaf([x - 1e-7, x, x + 1e-7])).tolist()
        jump = abs(below - above) > 1e-5 or abs(below - at) > 1e-5
        steps = abs(row(tg.tensor([x - 1e-7, x + 1e-7], dtype="float64")).diff().item()) > 1e-3
        assert (jump or steps) == (x in row.kinks), x


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # 0·∞, which is discarded
@pytest.mark.parametrize("name", DATA["at_extremes"])
def test_extremes(name):
    """Torch's value and slope, and where torch has NaN the limit."""
    row, (values, wanted) = ROWS[name], DATA["at_extremes"][name]
    x = leaf(DATA["extremes"])
    found = row(x).tolist()
    for ours, theirs, near in zip(found, values, [found[1], *found[1:-1], found[-2]], strict=True):
        limit = near if abs(near) < 1e299 else math.copysign(math.inf, near)
        assert ours == pytest.approx(limit if math.isnan(theirs) else theirs, abs=1e-12)
    first = slopes(row, x)
    for ours, theirs, near in zip(first.tolist(), wanted, [wanted[1], *wanted[1:-1], wanted[-2]]):
        assert ours == pytest.approx(near if math.isnan(theirs) else theirs, abs=1e-12)
    if first.requires_grad:
        assert tg.grad(first.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("row", ACTIVATIONS, ids=named)
def test_nan_stays_nan(row):
    y = row(tg.tensor([[math.nan, 1.0], [math.nan, 1.0]]))
    assert y.isnan().any()


# -- derivatives ------------------------------------------------------------------------------
def off_kinks(row, settings):
    near = {*row.kinks, *(v for v in settings.values() if type(v) is float)}
    near |= {-k for k in near}
    kept = [x for x in DATA["points"] if abs(x) < 6 and all(abs(x - k) > 0.02 for k in near)]
    return np.array(kept[: len(kept) // 2 * 2]).reshape(2, -1)


@pytest.mark.parametrize("row, settings", TRIED, ids=named)
def test_derivatives(row, settings):
    """By the input and by every real setting, of two orders, forwards and backwards."""
    if not row.true_gradient or settings == {"lambd": 0.0}:
        pytest.skip("an estimator, or at the end of what a setting may be")
    real = row.real_settings(settings)
    x = off_kinks(row, settings)
    if not row.elementwise:
        x = x[:, :4]
    rest = {k: v for k, v in settings.items() if k not in real}

    def call(x, *values):
        return row(x, **rest, **dict(zip(real, values, strict=True)))

    assert tg.check_grads(call, [x, *(v.numpy() for v in real.values())], order=2)


def test_real_settings_are_found():
    found = {row.name: set(row.real_settings({})) for row in ACTIVATIONS}
    assert found["leaky_relu"] == {"negative_slope"} and found["rrelu"] == {"lower", "upper"}
    assert found["elu"] == found["celu"] == {"alpha"} and found["softplus"] == {"beta"}
    assert found["hardtanh"] == {"min_val", "max_val"} and found["softshrink"] == {"lambd"}
    assert found["threshold"] == {"value"} and found["prelu"] == {"init"} and not found["relu"]


@pytest.mark.parametrize(
    "call, slope",
    [
        (lambda x, s: F.hardtanh(x, s, 2.0), {-1.5: 1.0, -1.0: 1.0, 0.0: 0.0, 2.0: 0.0}),
        (lambda x, s: F.hardtanh(x, -2.0, -s), {0.5: 0.0, 1.0: -1.0, 2.0: -1.0, math.inf: -1.0}),
        (lambda x, s: F.leaky_relu(x, s), {-2.0: -2.0, 0.0: 0.0, 3.0: 0.0, math.inf: 0.0}),
        (lambda x, s: F.prelu(x, s), {-2.0: -2.0, 0.0: 0.0, 3.0: 0.0, math.inf: 0.0}),
        (lambda x, s: F.elu(x, s), {-math.inf: -1.0, 0.0: 0.0, math.inf: 0.0}),
        (lambda x, s: F.threshold(x, 0.0, s), {-2.0: 1.0, 0.0: 1.0, 1.0: 0.0}),
        (lambda x, s: F.softshrink(x, -s), {-2.0: -1.0, 0.0: 0.0, 3.0: 1.0, math.inf: 1.0}),
    ],
)
def test_slopes_by_settings_at_kinks_and_infinities(call, slope):
    for x, wanted in slope.items():
        setting = leaf(-1.0)
        (found,) = tg.grad(call(tg.tensor(x, dtype="float64"), setting), setting)
        assert found.item() == wanted, x


@pytest.mark.parametrize(
    "name, second",
    [
        ("silu", 0.5),
        ("gelu", 2 / math.sqrt(2 * math.pi)),
        ("mish", 0.64),
        ("softplus", 0.25),
        ("elu", 1.0),
        ("celu", 1.0),
        ("tanh", 0.0),
        ("sigmoid", 0.0),
        ("logsigmoid", -0.25),
        ("tanhshrink", 0.0),
        ("softsign", 0.0),
    ],
)
def test_second_derivatives_at_zero(name, second):
    x = leaf(0.0)
    (found,) = tg.grad(slopes(ROWS[name], x), x)
    assert found.item() == pytest.approx(second, abs=1e-12)


def test_tanh_gelu_has_the_same_second_derivative_at_zero():
    x = leaf(0.0)
    (found,) = tg.grad(slopes(lambda x: F.gelu(x, "tanh"), x), x)
    assert found.item() == pytest.approx(2 / math.sqrt(2 * math.pi))


def test_far_below_zero_gelu_keeps_its_digits():
    """x·Φ(x), where 1 + erf rounds to nothing (torch gives -0)."""
    special = pytest.importorskip("scipy.special")
    x = np.array([-9.0, -12.0, -20.0])
    close(F.gelu(tg.tensor(x)) / tg.tensor(x * special.ndtr(x)), np.ones(3), 1e-12)


# -- dtypes, shapes, transformations ----------------------------------------------------------
@pytest.mark.parametrize("row, settings", TRIED, ids=named)
def test_float32_stays_float32(row, settings):
    x, exact = leaf(POINTS, "float32"), leaf(POINTS)
    y = row(x, **settings)
    assert y.dtype == "float32"
    close(y, row(exact, **settings).tolist(), 2e-6)
    y.sum().backward()
    assert x.grad is None or x.grad.dtype == "float32"


@pytest.mark.parametrize("row", ELEMENTWISE, ids=named)
def test_float16_shapes_and_empty_arrays(row):
    assert row(tg.zeros(2, dtype="float16")).dtype == "float16"
    extremes = row(tg.tensor([-math.inf, -6e4, 6e4, math.inf], dtype="float16"))
    assert not extremes.isnan().any()
    for shape in ((), (0,), (3, 0, 2), (1,), (2, 3, 4, 5)):
        assert row(tg.zeros(shape)).shape == shape


@pytest.mark.parametrize("row", ACTIVATIONS, ids=named)
def test_vmap_and_jvp(row):
    x = tg.tensor(POINTS[:, :6])
    rows = [row(r) for r in x] if row.name != "prelu" else list(row(x))
    close(tg.vmap(row)(x), np.stack([r.numpy() for r in rows]))
    if row.true_gradient:
        v = tg.ones_like(x)
        _, pushed = tg.func.jvp(row, (x,), (v,))
        h = 1e-6
        close(pushed, ((row(x + h * v) - row(x - h * v)) / (2 * h)).tolist(), 1e-7)


# -- modules ----------------------------------------------------------------------------------
@pytest.mark.parametrize("row, settings", TRIED, ids=named)
def test_modules_give_what_functions_give(row, settings):
    if row.form is None:
        pytest.skip("no module")
    module = row.module(**settings).eval()
    x = tg.tensor(POINTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(module(x), row(x, **settings).numpy(), 1e-7)  # PReLU's weight is float32
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other) == repr(module)
        close(other(x), module(x).detach().numpy())


@pytest.mark.parametrize("text", DATA["shown"])
def test_modules_show_themselves_as_torchs(text):
    assert repr(eval(f"nn.{text}")) == DATA["shown"][text]


INPLACE = [row for row in ACTIVATIONS if row.form and "inplace" in vars(row.module())]


@pytest.mark.parametrize("row", INPLACE, ids=named)
def test_in_place(row):
    """Written into the input, on the tape and off it, with the same gradients."""
    x = tg.tensor(POINTS)
    module = row.form(**row.always, inplace=True).eval()
    assert module(x) is x
    close(x, row(tg.tensor(POINTS)).numpy())
    a, b = leaf(POINTS), leaf(POINTS)
    module(2.0 * a).square().sum().backward()
    row(2.0 * b).square().sum().backward()
    close(a.grad, b.grad.numpy())
    with pytest.raises(RuntimeError, match="leaf"):
        module(leaf(POINTS))


def test_in_place_activations_are_those_of_torch():
    assert {row.name for row in INPLACE} == {
        *("relu", "leaky_relu", "rrelu", "relu6", "elu", "selu", "celu", "silu", "mish"),
        *("hardtanh", "hardsigmoid", "hardswish", "threshold"),
    }


def test_settings_of_modules_may_be_tensors():
    slope = leaf(0.1)
    model = nn.Sequential(nn.Identity(), nn.LeakyReLU(slope))
    model(tg.tensor([-2.0, 3.0], dtype="float64")).sum().backward()
    assert slope.grad.item() == -2.0


# -- some of them -----------------------------------------------------------------------------
def test_step_and_its_estimator():
    x = leaf([-2.0, -1.0, -0.5, 0.0, 1e-300, 1.0, 3.0, math.inf, -math.inf, 1e20])
    wanted = [0.0, 0, 0, 0, 1, 1, 1, 1, 0, 1]
    assert nn.Step()(x).tolist() == wanted  # the article's `1 if output > 0 else 0`
    nn.Step()(x).sum().backward()
    assert x.grad.tolist() == [0.0] * 10
    for module, slope in (
        (nn.Step(straight_through=True), [1.0] * 7 + [0.0, 0, 1]),
        (nn.Step(straight_through=True, window=1.0), [0.0, 1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ):
        y = module(x)
        assert y.tolist() == wanted
        (found,) = tg.grad(y.sum(), x)
        assert found.tolist() == slope
    assert repr(nn.Step(True, 2.0)) == "Step(straight_through=True, window=2.0)"
    assert repr(nn.Step()) == "Step()"
    with pytest.raises(ValueError, match="straight-through"):
        nn.Step(window=1.0)


def test_the_articles_perceptron():
    w, x = tg.tensor([0.5, -0.6]), tg.tensor([1.0, 0.0])
    assert nn.Step()(w @ x + 0.1).item() == 1.0


def test_prelu_learns_a_slope_for_each_channel():
    module = nn.PReLU(3, init=0.1, dtype="float64")
    x = tg.tensor(np.arange(-12.0, 12.0).reshape(2, 3, 4))
    module(x).sum().backward()
    close(module.weight.grad, np.minimum(x.numpy(), 0).sum(axis=(0, 2)))
    assert list(module.state_dict()) == ["weight"]
    for weight in (tg.tensor(0.1), tg.tensor([0.1])):
        assert F.prelu(tg.tensor(-1.0), weight).shape == ()
        assert F.prelu(tg.tensor([-1.0, 2.0]), weight).tolist() == pytest.approx([-0.1, 2.0])
    module = nn.PReLU(2)
    with pytest.raises(RuntimeError, match=r"2 weights.*\(4, 3\).*3 channel"):
        module(tg.zeros(4, 3))
    with pytest.raises(RuntimeError, match=r"one number or \(channels,\)"):
        F.prelu(tg.zeros(2, 3), tg.zeros(3, 1))


def test_rrelu_draws_slopes_in_training_only():
    generator = tg.Generator().manual_seed(0)
    x = tg.full((20_000,), -1.0)
    y = F.rrelu(x, 0.2, 0.6, training=True, generator=generator)
    slopes = -y.numpy()
    assert 0.2 <= slopes.min() < 0.201 and 0.599 < slopes.max() <= 0.6
    error = 0.4 / math.sqrt(12 * 20_000)
    assert abs(slopes.mean() - 0.4) < 4 * error
    assert slopes.var() == pytest.approx(0.4**2 / 12, rel=0.03)
    tg.manual_seed(1)
    module = nn.RReLU()
    assert module(x).std() > 0 and module.eval()(x).std() == 0
    lower, upper = leaf(0.2), leaf(0.6)

    def loss(lower, upper):
        source = tg.Generator().manual_seed(3)
        return F.rrelu(-tg.ones(5, dtype="float64"), lower, upper, True, generator=source).sum()

    assert tg.check_grads(loss, [lower.detach(), upper.detach()], order=1)


def test_softmax_without_dim_is_torchs_with_a_warning():
    for ndim, dim in ((1, 0), (2, 1), (3, 0), (4, 1)):
        x = tg.tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 5)[:ndim]))
        with pytest.warns(
            UserWarning, match=rf"Softmax without dim= takes dimension {dim}"
        ) as caught:
            close(nn.Softmax()(x), F.softmax(x, dim).numpy())
        assert caught[0].filename == __file__
    for ndim in (3, 4):
        x = tg.ones((2, 3, 4, 5)[:ndim])
        close(nn.Softmax2d()(x), F.softmax(x, -3).numpy())
    with pytest.raises(ValueError, match=r"Softmax2d.*\(2, 3\)"):
        nn.Softmax2d()(tg.zeros(2, 3))


def test_swish_is_silu():
    assert nn.Swish is nn.SiLU


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda: F.gelu(tg.zeros(2), "erf"), RuntimeError, "'none' or 'tanh', not 'erf'"),
        (lambda: F.glu(tg.zeros(2, 3)), RuntimeError, r"even.*\(2, 3\) is 3"),
        (lambda: F.glu(tg.tensor(1.0)), RuntimeError, "no dimension to halve"),
        (lambda: F.softshrink(tg.zeros(2), -1.0), ValueError, "lambd must not be negative"),
        (lambda: F.celu(tg.zeros(2), 0.0), ValueError, "alpha must not be 0"),
        (lambda: F.celu(tg.zeros(2), tg.tensor(0.0)), ValueError, "alpha must not be 0"),
        (lambda: F.hardtanh(tg.zeros(2), 1.0, -1.0), ValueError, "min_val.*max_val"),
        (lambda: F.hardtanh(tg.zeros(2), 1, -1), ValueError, "min_val.*max_val"),
        (lambda: F.rrelu(tg.zeros(2), 0.5, 0.2), ValueError, "lower.*upper"),
        (lambda: F.celu(tg.zeros(2), "a"), TypeError, "alpha must be a number or a tensor"),
    ],
)
def test_errors(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_rows_are_found_by_any_name():
    for row in ACTIVATIONS:
        assert row_of(row.name) is row
        if row.form is not None:
            assert row_of(row.form) is row_of(row.module()) is row_of(row.form.__name__) is row
    assert row_of(F.gelu).name == "gelu" and row_of("Swish").name == "silu"
    assert row_of("hard_sigmoid").name == "hardsigmoid" and row_of("linear").name == "identity"
    with pytest.raises(ValueError, match=r"'nope'.*relu"):
        row_of("nope")


def test_every_module_is_in_the_table():
    from tapegrad.nn import activations, activations_piecewise

    forms = {row.form for row in ACTIVATIONS}
    names = {*activations.__all__, *activations_piecewise.__all__} - {"Softmax2d"}
    assert {getattr(nn, name) for name in names} <= forms


def test_every_function_is_in_the_table():
    from tapegrad.nn import formulas_piecewise, formulas_smooth

    names = {*formulas_smooth.__all__, *formulas_piecewise.__all__}
    assert names <= {row.name for row in ACTIVATIONS}
