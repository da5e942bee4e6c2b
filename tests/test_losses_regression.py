"""Losses of regression, of relative errors and of likelihoods: limits in many digits, edges,
closed forms, and what they refuse. The table's tests run over them too."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.losses.limits import exprel

STORED = json.loads((Path(__file__).parent / "data" / "loss_edges.json").read_text())
SMOOTH = [
    losses.huber_loss,
    losses.smooth_l1_loss,
    losses.log_cosh_loss,
    losses.general_robust_loss,
]


def double(values, requires_grad=False):
    return tg.tensor(values, dtype="float64", requires_grad=requires_grad)


def derivatives(loss, error, target=0.0, **settings):
    """Value, first and second derivative by the input, at each of some errors."""
    x = double(error, requires_grad=True)
    value = loss(x, tg.full_like(x, target), reduction="none", **settings)
    (first,) = tg.grad(value.sum(), x, create_graph=True)
    (second,) = tg.grad(first.sum(), x, allow_unused=True) if first.requires_grad else (None,)
    return (
        value.detach().numpy(),
        first.detach().numpy(),
        np.zeros(len(error)) if second is None else second.numpy(),
    )


def kink_id(case):
    return f"{case['function']} {case['settings']}"


@pytest.mark.parametrize("case", STORED["kinks"], ids=kink_id)
def test_at_kinks_and_bounds_as_torch(case):
    operands = [tg.tensor(np.array(x)) for x in case["operands"]]
    reals = [x.requires_grad_() for x, _ in zip(operands, case["gradients"])]
    value = getattr(losses, case["function"])(*operands, **case["settings"], reduction="none")
    np.testing.assert_allclose(value.detach().numpy(), case["value"], rtol=1e-9, atol=1e-12)
    for found, expected in zip(tg.grad(value.sum(), reals), case["gradients"]):
        known = ~np.isnan(expected)  # torch's Stirling term has none at a count of 0
        assert np.isfinite(found.numpy()).all()
        # 1e-8: the 1e-12 in torch's cosine is a float32
        np.testing.assert_allclose(
            found.numpy()[known], np.array(expected)[known], rtol=1e-8, atol=1e-12
        )


@pytest.mark.parametrize("loss", SMOOTH, ids=lambda f: f.__name__)
def test_second_derivative_at_error_zero(loss):
    value, first, second = derivatives(loss, [0.0])
    assert (value, first, second) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "dtype, sizes", [("float64", (1e4, 1e150, 1e300)), ("float32", (1e4, 1e30))]
)
@pytest.mark.parametrize(
    "loss",
    [*SMOOTH, losses.charbonnier_loss, losses.quantile_loss, losses.l1_loss, losses.mape_loss],
    ids=lambda f: f.__name__,
)
def test_huge_errors(loss, dtype, sizes):
    for size in sizes:
        for error in (size, -size):
            x = tg.tensor([error], dtype=dtype, requires_grad=True)
            target = tg.tensor([1.0], dtype=dtype)
            value = loss(x, target)
            slope = tg.grad(value, x)[0]
            height = {losses.quantile_loss: 0.5, losses.mape_loss: 100.0}.get(loss, 1.0)
            assert value.item() == pytest.approx(height * size, rel=2e-4)
            assert slope.item() == pytest.approx(math.copysign(height, error), rel=1e-3)


def test_smooth_l1_is_huber_over_beta_and_tends_to_l1():
    x, t = double([0.1, -0.6, 2.0]), double([0.0, 0.0, 0.0])
    np.testing.assert_allclose(
        losses.smooth_l1_loss(x, t, "none", 0.5).numpy(),
        losses.huber_loss(x, t, "none", 0.5).numpy() / 0.5,
    )
    assert losses.smooth_l1_loss(x, t, beta=0).item() == losses.l1_loss(x, t).item()
    beta = double(0.0, requires_grad=True)
    x = double([0.1, -0.6, 0.0], requires_grad=True)
    loss = losses.smooth_l1_loss(x, t, "sum", beta)
    by_x, by_beta = tg.grad(loss, (x, beta))
    assert loss.item() == pytest.approx(0.7)
    assert by_x.tolist() == [1.0, -1.0, 0.0]
    assert by_beta.item() == -1.0  # two elements, -1/2 each: the limit from above
    step = 1e-6
    above = losses.smooth_l1_loss(x.detach(), t, "sum", step).item()
    assert (above - loss.item()) / step == pytest.approx(-1.0)


def test_log_cosh_is_its_closed_form():
    error = np.array([-20.0, -3.0, -0.5, 1e-4, 0.7, 2.0, 18.0])
    value, first, second = derivatives(losses.log_cosh_loss, error)
    np.testing.assert_allclose(value, np.log(np.cosh(error)), rtol=1e-7, atol=1e-15)
    np.testing.assert_allclose(first, np.tanh(error), rtol=1e-11)
    np.testing.assert_allclose(second, 1.0 / np.cosh(error) ** 2, rtol=1e-9, atol=1e-15)


def test_log_cosh_keeps_its_digits():
    for dtype, rtol in (("float64", 1e-15), ("float32", 5e-7)):
        error = np.array([1e-12, 1e-5, 1e-3, -0.03, 1.0, -19.0, 20.0, 25.0, -1e4], dtype=dtype)
        wide = error.astype("longdouble")
        exact = np.log1p(2 * np.sinh(np.minimum(np.abs(wide), 40) / 2) ** 2)
        exact += np.maximum(np.abs(wide) - 40, 0)
        found = losses.log_cosh_loss(tg.tensor(error), tg.zeros(9, dtype=dtype), "none")
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy(), exact.astype(dtype), rtol=rtol)
    value, first, _ = derivatives(losses.log_cosh_loss, [-math.inf, math.inf])
    assert value.tolist() == [math.inf, math.inf] and first.tolist() == [-1.0, 1.0]


def test_the_quantile_loss_is_least_at_the_quantile():
    targets = np.random.default_rng(0).normal(size=1001)
    grid = np.sort(targets)
    for q in (0.1, 0.5, 0.75):
        costs = [
            losses.quantile_loss(tg.full((1001,), x, dtype="float64"), double(targets), q).item()
            for x in grid[::10]
        ]
        assert abs(grid[::10][np.argmin(costs)] - np.quantile(targets, q)) < 0.05


def test_the_quantile_loss_by_hand():
    x, t = np.array([1.0, 4.0, 2.0]), np.array([3.0, 1.0, 2.0])
    expected = [max(0.9 * (b - a), -0.1 * (b - a)) for a, b in zip(x, t)]
    found = losses.quantile_loss(double(x), double(t), 0.9, "none")
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-15)
    half = losses.quantile_loss(double(x), double(t))
    assert half.item() == pytest.approx(0.5 * losses.l1_loss(double(x), double(t)).item())
    _, first, _ = derivatives(losses.quantile_loss, [0.0], quantile=0.9)
    assert first == pytest.approx(0.5 - 0.9)  # both sides share at the kink


@pytest.mark.parametrize("alpha", sorted({c["alpha"] for c in STORED["robust"]}))
def test_the_general_robust_loss_in_many_digits(alpha):
    cases = [c for c in STORED["robust"] if c["alpha"] == alpha]
    x = double([c["error"] for c in cases], requires_grad=True)
    a = tg.full((len(cases),), alpha, dtype="float64", requires_grad=True)
    c = tg.full((len(cases),), cases[0]["scale"], dtype="float64", requires_grad=True)
    value = losses.general_robust_loss(x, tg.zeros_like(x), a, c, reduction="none")
    by_x, by_a, by_c = tg.grad(value.sum(), (x, a, c), create_graph=True)
    (by_xx,) = tg.grad(by_x.sum(), x, retain_graph=True)
    (by_aa,) = tg.grad(by_a.sum(), a, retain_graph=True)

    # A derivative that is a difference of saturated terms is right to rounding of those.
    def agree(found, name, rtol, atol):
        np.testing.assert_allclose(
            found.detach().numpy(), [case[name] for case in cases], rtol=rtol, atol=atol
        )

    agree(value, "value", 1e-14, 0.0)
    agree(by_x, "by error", 1e-13, 1e-14)
    agree(by_c, "by scale", 1e-13, 1e-13)
    agree(by_a, "by alpha", 1e-11, 1e-17)
    agree(by_xx, "second by error", 1e-12, 1e-13)
    agree(by_aa, "second by alpha", 1e-8, 1e-15)
    number = losses.general_robust_loss(
        x.detach(), tg.zeros_like(x), alpha, cases[0]["scale"], reduction="none"
    )
    np.testing.assert_allclose(number.numpy(), value.detach().numpy(), rtol=3e-14)


def test_the_general_robust_loss_has_its_special_cases():
    error = np.array([-3.0, -0.2, 0.0, 1e-9, 0.5, 12.0])
    square = error**2
    forms = {
        2.0: square / 2,
        1.0: np.sqrt(square + 1) - 1,
        0.0: np.log1p(square / 2),
        -2.0: 2 * square / (square + 4),
        -math.inf: -np.expm1(-square / 2),
        math.inf: np.expm1(square / 2),
    }
    for alpha, expected in forms.items():
        for given in (alpha, double(alpha), tg.tensor(alpha)):
            value, first, second = derivatives(losses.general_robust_loss, error, alpha=given)
            np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-15)
            assert np.isfinite(first).all() and np.isfinite(second).all()
            assert second[2] == pytest.approx(1.0, rel=1e-14)  # all are e²/2 at 0


def test_the_general_robust_loss_by_alpha_at_its_limits():
    x = double([0.0, 0.5, -3.0])
    for alpha in (-math.inf, math.inf, -1e300, 2.0, 0.0):
        a = tg.full((3,), alpha, dtype="float64", requires_grad=True)
        value = losses.general_robust_loss(x, tg.zeros_like(x), a, reduction="none")
        (first,) = tg.grad(value.sum(), a, create_graph=True)
        second = tg.grad(first.sum(), a, allow_unused=True)[0]
        assert np.isfinite(first.detach().numpy()).all()
        assert second is None or np.isfinite(second.numpy()).all()
        assert first[0].item() == 0.0
        if abs(alpha) > 2:
            np.testing.assert_allclose(first.detach().numpy(), 0.0, atol=1e-30)
        if alpha == 2.0:  # the derivative grows like z/4·ln(1/|alpha - 2|), without bound
            z = x.numpy()[1:] ** 2
            expected = 0.25 * z * (np.log(z / 1e-16) - 1)
            np.testing.assert_allclose(first.detach().numpy()[1:], expected, rtol=1e-12)


def test_the_general_robust_loss_learns_its_shape():
    """With outliers the shape falls below 2, by the gradient alone."""
    noise = np.random.default_rng(1).normal(size=200)
    noise[::5] *= 50.0
    alpha = double(2.0, requires_grad=True)
    loss = losses.general_robust_loss(double(noise), tg.zeros(200, dtype="float64"), alpha)
    loss.backward()
    assert np.isfinite(alpha.grad.item()) and alpha.grad.item() > 0


def test_the_general_robust_loss_in_single_precision():
    error = np.array([1e-9, 1e-3, 1.0, 50.0, 1e30], dtype="float32")
    for alpha in (1.0, 0.0, -5.0, -math.inf):
        x = tg.tensor(error, requires_grad=True)
        value = losses.general_robust_loss(x, tg.zeros_like(x), alpha, reduction="none")
        (slope,) = tg.grad(value.sum(), x)
        exact, first, _ = derivatives(losses.general_robust_loss, error, alpha=alpha)
        assert value.dtype == slope.dtype == np.float32
        np.testing.assert_allclose(value.detach().numpy(), exact, rtol=1e-5)
        np.testing.assert_allclose(slope.numpy(), first, rtol=1e-4, atol=1e-6)


def test_the_general_robust_loss_of_large_errors():
    x = tg.tensor([1e19, -1e19], requires_grad=True)
    for alpha in (2.0, 2.0 - 1e-6, 1.9, 1.0, -2.0):
        value = losses.general_robust_loss(x, tg.zeros(2), alpha, reduction="none")
        exact, first, _ = derivatives(losses.general_robust_loss, [1e19, -1e19], alpha=alpha)
        np.testing.assert_allclose(value.detach().numpy(), exact, rtol=1e-5)
        np.testing.assert_allclose(tg.grad(value.sum(), x)[0].numpy(), first, rtol=1e-5)
    for alpha, limit in ((-2.0, 2.0), (-math.inf, 1.0), (1.0, math.inf)):
        value = losses.general_robust_loss(double([-math.inf]), double([0.0]), alpha)
        assert value.item() == limit


def test_settings_may_be_arrays():
    x, t = double([0.3, -2.0, 1.0]), double([0.0, 0.0, 0.0])
    for loss, settings in (
        (losses.general_robust_loss, {"alpha": [1.0, 2.0, 0.0], "scale": [1.0, 2.0, 3.0]}),
        (losses.smooth_l1_loss, {"beta": [0.0, 1.0, 0.0]}),
        (losses.huber_loss, {"delta": [0.1, 1.0, 5.0]}),
        (losses.quantile_loss, {"quantile": [0.1, 0.5, 0.9]}),
    ):
        arrays = {k: np.array(v) for k, v in settings.items()}
        found = loss(x, t, reduction="none", **arrays)
        for i in range(3):
            one = {k: v[i] for k, v in arrays.items()}  # np.float64
            assert found[i].item() == pytest.approx(loss(x[i], t[i], **one).item(), rel=1e-13)


def test_exprel_is_smooth():
    u = double([-800.0, -3.0, -0.3, -0.1, 0.0, 1e-12, 0.2999, 0.3, 2.0], requires_grad=True)
    assert tg.check_grads(exprel, (u.detach()[1:],), order=3)
    value = exprel(u)
    (first,) = tg.grad(value.sum(), u, create_graph=True)
    (second,) = tg.grad(first.sum(), u)
    assert value[4].item() == 1.0 and first[4].item() == 0.5
    assert second[4].item() == pytest.approx(1 / 3, rel=1e-15)
    # on both sides of where the series ends
    np.testing.assert_allclose(second.numpy()[[6, 7]], [0.4180668, 0.4180963], rtol=3e-4)


def test_relative_losses_by_hand():
    x, t = np.array([1.0, 3.0, 0.0]), np.array([2.0, 3.0, 4.0])
    msle = np.mean((np.log1p(x) - np.log1p(t)) ** 2)
    assert losses.msle_loss(double(x), double(t)).item() == pytest.approx(msle, rel=1e-6)
    mape = 100 * np.mean(np.abs((t - x) / t))
    assert losses.mape_loss(double(x), double(t)).item() == pytest.approx(mape)


def test_relative_losses_at_and_below_zero():
    x = double([-1.0, -5.0, 0.0], requires_grad=True)
    loss = losses.msle_loss(x, double([0.0, 0.0, 0.0]), reduction="sum")
    assert loss.item() == 0.0
    assert tg.grad(loss, x)[0].tolist() == [0.0, 0.0, 0.0]
    x = double([1e-3, 0.0], requires_grad=True)
    loss = losses.mape_loss(x, double([0.0, 0.0]), reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), [1e6, 0.0])
    np.testing.assert_allclose(tg.grad(loss.sum(), x)[0].numpy(), [1e9, 0.0])


@pytest.mark.parametrize("loss", [losses.msle_loss, losses.mape_loss, losses.poisson_nll_loss])
def test_eps_has_a_gradient(loss):
    x, t = double([0.2, 0.9, 2.0]), double([0.1, 0.8, 3.0])
    settings = {"log_input": False} if loss is losses.poisson_nll_loss else {}
    assert tg.check_grads(lambda eps: loss(x, t, eps=eps, **settings), (double(0.5),), order=2)


def test_likelihoods_are_of_the_distributions():
    count, rate = double([0.0, 2.0, 7.0]), double([0.5, 3.0, 6.0])
    exact = rate.numpy() - count.numpy() * np.log(rate.numpy())
    for settings, x in (({"log_input": False, "eps": 1e-300}, rate), ({}, tg.log(rate))):
        found = losses.poisson_nll_loss(x, count, reduction="none", **settings)
        np.testing.assert_allclose(found.numpy(), exact, rtol=1e-14)
    mean, value, var = double([0.0, 1.0]), double([0.5, -1.0]), double([1.0, 4.0])
    density = np.exp(-((value.numpy() - mean.numpy()) ** 2) / (2 * var.numpy())) / np.sqrt(
        2 * np.pi * var.numpy()
    )
    found = losses.gaussian_nll_loss(mean, value, var, full=True, reduction="none")
    np.testing.assert_allclose(found.numpy(), -np.log(density), rtol=1e-14)


def test_a_rate_of_zero_explains_a_count_of_zero():
    rate = double([0.0, 0.0, 2.0], requires_grad=True)
    loss = losses.poisson_nll_loss(rate, double([0.0, 0.0, 0.0]), False, eps=0.0, reduction="none")
    assert loss.tolist() == [0.0, 0.0, 2.0]
    assert tg.grad(loss.sum(), rate)[0].tolist() == [1.0, 1.0, 1.0]


def test_stirlings_term_is_near_the_factorial():
    count = double([2.0, 10.0, 50.0])
    with_it, without = (
        losses.poisson_nll_loss(tg.log(count), count, full=full, reduction="none")
        for full in (True, False)
    )
    exact = [math.lgamma(n + 1.0) for n in count.tolist()]
    np.testing.assert_allclose((with_it - without).numpy(), exact, rtol=0.06)


def test_a_gaussian_takes_one_variance():
    x, t = double([[1.0, 2.0], [3.0, 4.0]]), double([[0.0, 2.5], [3.0, 0.0]])
    every = losses.gaussian_nll_loss(x, t, tg.full((2, 2), 0.3, dtype="float64"))
    for var in (0.3, double([[0.3], [0.3]]), double([0.3, 0.3]), double([[0.3, 0.3]])):
        assert losses.gaussian_nll_loss(x, t, var).item() == pytest.approx(every.item(), rel=1e-15)
    assert losses.gaussian_nll_loss(x, t, 1).item() == pytest.approx(
        0.5 * losses.mse_loss(x, t).item()
    )
    assert losses.gaussian_nll_loss(x[0], t[0], double(0.3)).shape == ()


@pytest.mark.parametrize("case", STORED["tweedie"], ids=lambda c: str(c["power"]))
def test_tweedie_deviance_as_scikit_learn(case):
    x, t = double(case["input"]), double(case["target"])
    found = losses.tweedie_loss(x, t, case["power"]).item()
    assert found == pytest.approx(case["mean"], rel=1e-11)


def test_tweedie_deviance_by_its_power():
    x, t = double([0.7, 2.0, 1.2]), double([0.0, 3.0, 1.2])
    for power in (1.05, 1.5, 1.95):
        assert tg.check_grads(
            lambda p: losses.tweedie_loss(x, t, p, reduction="none"), (double(power),), order=2
        )
    # it tends to the Poisson and the gamma deviance
    for near, end in ((1 + 1e-7, 1), (2 - 1e-7, 2)):
        expected = losses.tweedie_loss(x[1:], t[1:], end).item()
        assert losses.tweedie_loss(x[1:], t[1:], near).item() == pytest.approx(expected, rel=1e-6)
    same = losses.tweedie_loss(t[1:], t[1:], reduction="none")
    np.testing.assert_allclose(same.numpy(), 0.0, atol=1e-14)
    assert losses.tweedie_loss(x, t, 0).item() == losses.mse_loss(x, t).item()


def test_tweedie_deviance_of_zeros_has_finite_derivatives():
    x = double([1e-3, 1.0, 1e4], requires_grad=True)
    for power in (double(1.5, requires_grad=True), 1):
        loss = losses.tweedie_loss(x, tg.zeros(3, dtype="float64"), power, reduction="sum")
        wanted = [x, power] if isinstance(power, tg.Tensor) else [x]
        for found in tg.grad(loss, wanted):
            assert np.isfinite(found.numpy()).all() and (found.numpy() != 0).all()


X, T = double([1.0, 2.0]), double([1.5, 2.5])
REFUSED = {
    "beta must not be negative, not -1": lambda: losses.smooth_l1_loss(X, T, beta=-1.0),
    "beta must not be negative, not -2": lambda: losses.smooth_l1_loss(X, T, beta=double(-2.0)),
    "beta must not be negative, not nan": lambda: losses.smooth_l1_loss(X, T, beta=math.nan),
    "poisson_nll_loss: eps must not be negative, not -1": lambda: losses.poisson_nll_loss(
        X, T, log_input=False, eps=-1.0
    ),
    "gaussian_nll_loss: eps must not be negative, not -1": lambda: losses.gaussian_nll_loss(
        X, T, X, eps=-1.0
    ),
    r"mse_loss: weight must be one number or broadcast to \(2,\), but": lambda: losses.mse_loss(
        X, T, weight=tg.ones(2, 1)
    ),
    r"quantile must be strictly between 0 and 1, but it is 1": lambda: losses.quantile_loss(
        X, T, 1.0
    ),
    "eps must be positive, not 0": lambda: losses.charbonnier_loss(X, T, 0.0),
    "scale must be positive, not -2": lambda: losses.general_robust_loss(X, T, 1.0, -2.0),
    "msle_loss: eps must be positive": lambda: losses.msle_loss(X, T, 0.0),
    "mape_loss: eps must be positive": lambda: losses.mape_loss(X, T, 0.0),
    r"target must not be negative, but entry \[0\] is -1.5": lambda: losses.poisson_nll_loss(X, -T),
    r"input must not be negative, but entry \[0\] is -1.0; for logarithms": lambda: (
        losses.poisson_nll_loss(-X, T, log_input=False)
    ),
    r"var must not be negative, but entry \[1\] is -0.5": lambda: losses.gaussian_nll_loss(
        X, T, double([0.5, -0.5])
    ),
    r"var has shape \(3,\), but an input of shape \(2,\) takes": lambda: losses.gaussian_nll_loss(
        X, T, tg.ones(3)
    ),
    r"power must be in \(1, 2\), or the number 0, 1 or 2, not 2.5": lambda: losses.tweedie_loss(
        X, T, 2.5
    ),
    r"not 1.0": lambda: losses.tweedie_loss(X, T, double(1.0)),
    r"tweedie_loss: input must be positive, but entry \[0\] is -1.0": lambda: losses.tweedie_loss(
        -X, T
    ),
    r"tweedie_loss: target must not be negative": lambda: losses.tweedie_loss(X, -T),
    r"with power 2: target must be positive, but entry \[1\] is 0": lambda: losses.tweedie_loss(
        X, double([1.0, 0.0]), 2
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


REAL_SETTINGS = [
    (losses.huber_loss, "delta"),
    (losses.smooth_l1_loss, "beta"),
    (losses.quantile_loss, "quantile"),
    (losses.charbonnier_loss, "eps"),
    (losses.general_robust_loss, "alpha"),
    (losses.general_robust_loss, "scale"),
    (losses.msle_loss, "eps"),
    (losses.mape_loss, "eps"),
    (losses.tweedie_loss, "power"),
    (lambda *x, **eps: losses.poisson_nll_loss(*x, log_input=False, **eps), "eps"),
    (lambda *x, **eps: losses.gaussian_nll_loss(*x, X, **eps), "eps"),
]


@pytest.mark.parametrize("loss, name", REAL_SETTINGS, ids=lambda v: getattr(v, "__name__", v))
def test_settings_that_do_not_fit_are_refused_by_name(loss, name):
    """One of (N, 1) would make N × N losses of N."""
    with pytest.raises(ValueError, match=rf"{name} must be one number or broadcast to \(2,\)"):
        loss(X, T, **{name: tg.full((2, 1), 1.5)})
    for wrong in ([0.5, 0.5], None, "0.5"):
        with pytest.raises(TypeError, match=f"{name} must be a number or a tensor"):
            loss(X, T, **{name: wrong})


def test_variances_of_the_wrong_kind_are_refused():
    with pytest.raises(TypeError, match="var must be a tensor or a number, not list"):
        losses.gaussian_nll_loss(X, T, [1.0, 1.0])
    with pytest.raises(TypeError, match="var must be floating point, not int64"):
        losses.gaussian_nll_loss(X, T, tg.tensor([1, 1]))
