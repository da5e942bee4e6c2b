"""Derivatives of a minimum: formulas, runs that come to it, batches, refusals."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.optim import functional, unroll


def real(value):
    return tg.tensor(value, dtype="float64")


def values(tree):
    return [np.asarray(x.numpy()) for x in tg.trees.flatten(tree)[0]]


def ridge():
    """Ridge regression: the minimum has a formula, H = 2XᵀX/n + 2λ."""
    draw = np.random.default_rng(0)
    x, more = draw.normal(size=(2, 30, 4))
    y, yy = draw.normal(size=(2, 30))
    weight, exponent = 0.3, draw.normal(size=4) * 0.2
    hessian = 2 * x.T @ x / 30 + 2 * weight * np.diag(np.exp(exponent))
    w = np.linalg.solve(hessian, 2 * x.T @ y / 30)
    expected = np.mean((more @ w - yy) ** 2)
    back = np.linalg.solve(hessian, 2 * more.T @ (more @ w - yy) / 30)
    by_weight = -back @ (2 * np.exp(exponent) * w)
    by_exponent = -back * (2 * weight * np.exp(exponent) * w)
    x, y, more, yy, settings = (
        real(x),
        real(y),
        real(more),
        real(yy),
        (real(weight), real(exponent)),
    )

    def loss(params, rows):
        error = (x[rows] @ params[0] - y[rows]) ** 2
        return error.mean() + settings[0] * (tg.exp(settings[1]) * params[0] ** 2).sum()

    validation = lambda params: ((more @ params[0] - yy) ** 2).mean()
    return loss, validation, settings, expected, (by_weight, by_exponent)


@pytest.mark.parametrize("solver", ["conjugate_gradients", "neumann"])
def test_implicit_at_a_minimum_with_a_formula(solver):
    loss, outer, settings, value, expected = ridge()
    found = unroll(
        functional.sgd(0.1, 0.5),
        loss,
        [tg.zeros(4, dtype="float64")],
        [slice(0, 30)] * 400,
        outer=outer,
        wrt=settings,
        method="implicit",
        solver=solver,
    )
    assert found[0].item() == pytest.approx(value, rel=1e-10)
    for a, b in zip(found[1], expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-8)


def test_implicit_after_a_rule_that_has_no_derivative():
    """L-BFGS searches, which is no formula; where it ends is a minimum all the same."""
    loss, outer, settings, value, expected = ridge()
    rule = functional.lbfgs(
        line_search_fn="strong_wolfe", tolerance_grad=1e-13, tolerance_change=0.0
    )
    start = [tg.zeros(4, dtype="float64")]
    batches = [slice(0, 30)] * 3
    found = unroll(rule, loss, start, batches, outer=outer, wrt=settings, method="implicit")
    assert found[0].item() == pytest.approx(value, rel=1e-10)
    for a, b in zip(found[1], expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-8)


def test_implicit_agrees_with_the_run_itself():
    """A curved loss, with a setting in the outer loss too."""
    draw = tg.Generator().manual_seed(0)
    x = tg.randn(20, 3, dtype="float64", generator=draw)
    y = (x[:, 0] + 0.5 * x[:, 1] > 0).double()
    penalty, power = real(0.1), real(1.5)

    def loss(params, batch=None):
        error = tg.losses.binary_cross_entropy_with_logits(x @ params["w"] + params["b"], y)
        return error + penalty * ((params["w"] ** 2).sum() + params["b"] ** 2)

    outer = lambda params: loss(params) ** power
    run = functools.partial(
        unroll, functional.sgd(0.5, 0.8), loss, {"w": real([0.0] * 3), "b": real(0.0)},
        [None] * 400, outer=outer, wrt=[penalty, power],
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [run(method="implicit", solver=s)[1] for s in ("conjugate_gradients", "neumann")]
    expected = run(method="reverse")[1]
    for grads in found:
        np.testing.assert_allclose(values(grads), values(expected), rtol=1e-8)


def test_implicit_over_batches_is_at_the_minimum_of_their_mean():
    loss, outer, settings, value, expected = ridge()
    thirds = [slice(0, 10), slice(10, 20), slice(20, 30)]
    decaying = lambda step: 0.1 / (1.0 + 0.02 * step)
    run = functools.partial(
        unroll, functional.sgd(decaying), loss, [tg.zeros(4, dtype="float64")], outer=outer,
        wrt=settings, method="implicit",
    )  # fmt: skip
    with pytest.warns(UserWarning, match="train longer"):
        found = run(thirds * 300)
    assert found[0].item() == pytest.approx(value, rel=0.02)
    np.testing.assert_allclose(found[1][0].item(), expected[0], rtol=0.05)


def test_implicit_from_where_training_ended_before():
    """A gradient of rounding errors is small, even where it was no larger at the beginning."""
    penalty, goal = real(0.3), real([1.0, 2.0])
    loss = lambda params, batch: ((params[0] - goal) ** 2).sum() + penalty * (params[0] ** 2).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, found = unroll(
            functional.sgd(0.1), loss, [goal / 1.3], [None], outer=lambda params: params[0].sum(),
            wrt=penalty, method="implicit",
        )  # fmt: skip
    assert found.item() == pytest.approx(-3.0 / 1.3**2, rel=1e-12)


def test_implicit_refuses():
    loss, outer, (weight, _), _, _ = ridge()
    lr, start = real(0.1), tg.zeros(4, dtype="float64")
    run = functools.partial(
        unroll, functional.sgd(lr), loss, [start], [slice(0, 30)] * 100, outer=outer,
        method="implicit",
    )  # fmt: skip
    for wrt, name in ((lr, "wrt"), ({"a": weight, "start": start}, r"wrt\['start'\]")):
        with pytest.raises(ValueError, match=f"{name} is not in them.*'reverse', 'checkpoint'"):
            run(wrt=wrt)
    with pytest.warns(UserWarning, match="still has norm"):
        unroll(
            functional.sgd(1e-3), loss, [start], [slice(0, 30)] * 3, outer=outer, wrt=weight,
            method="implicit",
        )  # fmt: skip
    saddle = lambda params, batch: (
        weight * (params[0][0] ** 2 - params[0][1] ** 2) + params[0].sum() * 0
    )
    ends = lambda params: (params[0] * real([1.0, 2.0])).sum()
    with pytest.raises(RuntimeError, match="no strict minimum"):
        unroll(
            functional.sgd(lr), saddle, [real([1.0, 0.0])], [None] * 200, outer=ends, wrt=weight,
            method="implicit",
        )  # fmt: skip
    with pytest.raises(ValueError, match="needs batches"):
        unroll(functional.sgd(lr), loss, [start], [], outer=outer, wrt=weight, method="implicit")
