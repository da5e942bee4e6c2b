"""Kullback-Leibler and Jensen-Shannon: closed forms, bounds, zeros, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

GENERATOR = tg.Generator().manual_seed(7)
A = 2.0 * tg.randn(4, 5, dtype="float64", generator=GENERATOR)
B = 2.0 * tg.randn(4, 5, dtype="float64", generator=GENERATOR)
P, Q = tg.softmax(A, dim=1), tg.softmax(B, dim=1)


def double(values, **named):
    return tg.tensor(values, dtype="float64", **named)


def jensen_shannon(p, q):
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(p > 0, p * np.log(p / m), 0.0).sum(-1)
        return (one + np.where(q > 0, q * np.log(q / m), 0.0).sum(-1)) / 2


# -- Kullback-Leibler -------------------------------------------------------------------------
def test_reductions_are_torch_s():
    each = (Q * (tg.log(Q) - tg.log(P))).numpy()
    for reduction, expected in {
        "none": each,
        "sum": each.sum(),
        "mean": each.mean(),  # over the elements
        "batchmean": each.sum() / 4,  # over the rows, which is the divergence
    }.items():
        found = losses.KLDivLoss(reduction)(tg.log(P), Q)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "batchmean"])
def test_logarithms_as_target(reduction):
    settings = {"reduction": reduction}
    x, log_q = (tg.log(v).detach().requires_grad_() for v in (P, Q))
    y = losses.kl_div(x, log_q, log_target=True, **settings)
    same = losses.kl_div(x, tg.exp(log_q), **settings)
    np.testing.assert_allclose(y.detach().numpy(), same.detach().numpy(), rtol=1e-13)
    for g, expected in zip(tg.grad(y.sum(), (x, log_q)), tg.grad(same.sum(), (x, log_q))):
        np.testing.assert_allclose(g.numpy(), expected.numpy(), rtol=1e-12)
    assert repr(losses.KLDivLoss("sum", True)) == "KLDivLoss(reduction='sum', log_target=True)"


def test_it_is_0_for_the_same_and_not_below():
    assert losses.kl_div(tg.log(P), P, "batchmean").item() == pytest.approx(0.0, abs=1e-15)
    rows = losses.kl_div(tg.log(P), Q, "none").sum(dim=1)
    assert (rows > 0).all()


def test_cross_entropy_is_entropy_and_divergence():
    entropy = -(Q * tg.log(Q)).sum() / 4
    divergence = losses.kl_div(tg.log_softmax(A, dim=1), Q, "batchmean")
    cross = losses.cross_entropy(A, Q)
    np.testing.assert_allclose(cross.item(), (entropy + divergence).item(), rtol=1e-13)


def test_of_two_normal_distributions():
    """KL(N(1, 1) ‖ N(0, 4)) = ln 2 + (1 + 1)/8 - 1/2, here by a sum over a fine grid."""
    x = np.linspace(-12.0, 12.0, 20001)
    step = x[1] - x[0]
    log_q = -((x - 1.0) ** 2) / 2 - math.log(2 * math.pi) / 2
    log_p = -(x**2) / 8 - math.log(2 * math.pi) / 2 - math.log(2.0)
    found = losses.kl_div(tg.tensor(log_p), tg.tensor(log_q), "sum", log_target=True) * step
    assert found.item() == pytest.approx(math.log(2.0) + 0.25 - 0.5, rel=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_0_in_the_target(dtype):
    x = tg.log(tg.tensor([[0.25, 0.75]], dtype=dtype)).detach().requires_grad_()
    q = tg.tensor([[0.0, 1.0]], dtype=dtype, requires_grad=True)
    y = losses.kl_div(x, q, "sum")
    assert y.item() == pytest.approx(-math.log(0.75), rel=1e-6)
    by_x, by_q = tg.grad(y, (x, q), create_graph=True)
    np.testing.assert_allclose(by_x.detach().numpy(), [[0.0, -1.0]])
    # log q + 1 - x; at q = 0, where it is infinite, -x
    expected = [[-math.log(0.25), 1.0 - math.log(0.75)]]
    np.testing.assert_allclose(by_q.detach().numpy(), expected, rtol=1e-6)
    assert np.isfinite(tg.grad(by_q.sum(), q)[0].numpy()).all()


def test_a_target_of_log_0():
    log_q = double([[-math.inf, 0.0], [-1e4, 0.0]], requires_grad=True)
    x = tg.log(double([[0.25, 0.75], [0.5, 0.5]]))
    y = losses.kl_div(x, log_q, "none", log_target=True)
    np.testing.assert_allclose(y.detach().numpy(), [[0, -math.log(0.75)], [0, math.log(2.0)]])
    (g,) = tg.grad(y.sum(), log_q)
    np.testing.assert_allclose(g.numpy()[:, 0], [0.0, 0.0])
    assert np.isfinite(g.numpy()).all()


# -- Jensen-Shannon ---------------------------------------------------------------------------
def test_jensen_shannon_written_out():
    expected = jensen_shannon(P.numpy(), Q.numpy())
    np.testing.assert_allclose(losses.js_div(P, Q, reduction="none").numpy(), expected, rtol=1e-12)
    for reduction, value in {
        "mean": expected.mean(),
        "batchmean": expected.mean(),
        "sum": expected.sum(),
    }.items():
        assert losses.js_div(P, Q, reduction=reduction).item() == pytest.approx(value, rel=1e-12)
    along_0 = losses.js_div(P.T, Q.T, dim=0, reduction="none")
    np.testing.assert_allclose(along_0.numpy(), expected, rtol=1e-12)


def test_logits_give_what_their_probabilities_give():
    a, b = (x.detach().requires_grad_() for x in (A, B))
    y = losses.js_div(a, b, from_logits=True)
    same = losses.js_div(tg.softmax(a, dim=1), tg.softmax(b, dim=1))
    np.testing.assert_allclose(y.item(), same.item(), rtol=1e-12)
    for g, expected in zip(tg.grad(y, (a, b)), tg.grad(same, (a, b))):
        np.testing.assert_allclose(g.numpy(), expected.numpy(), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("step", [1.0, 1e-2, 1e-3])
def test_logits_near_each_other_keep_their_digits_in_single_precision(step):
    a, b = A.float(), (A + step * B).float()
    exact = losses.js_div(a.double(), b.double(), from_logits=True).item()
    assert losses.js_div(a, b, from_logits=True).item() == pytest.approx(exact, rel=1e-5)
    if step == 1e-3:  # where it is a quarter of the squared distance of Fisher's metric
        p, d = tg.softmax(a.double(), dim=1), b.double() - a.double()
        variance = (p * d * d).sum(dim=1) - (p * d).sum(dim=1) ** 2
        assert exact == pytest.approx(variance.mean().item() / 8.0, rel=1e-2)


def test_it_is_symmetric_and_between_0_and_ln_2():
    there, back = (losses.js_div(*pair, reduction="none").numpy() for pair in ((P, Q), (Q, P)))
    np.testing.assert_array_equal(there, back)
    assert ((there > 0) & (there < math.log(2.0))).all()
    assert losses.js_div(P, P).item() == 0.0
    apart = losses.js_div(double([[0.5, 0.5, 0, 0]]), double([[0, 0, 0.25, 0.75]]))
    assert apart.item() == pytest.approx(math.log(2.0), rel=1e-15)


def test_its_root_is_a_distance():
    r = tg.softmax(tg.randn(4, 5, dtype="float64", generator=GENERATOR), dim=1)

    def distance(u, v):
        return tg.sqrt(losses.js_div(u, v, reduction="none")).numpy()

    assert (distance(P, Q) <= distance(P, r) + distance(r, Q)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeros_have_finite_derivatives(dtype):
    p = tg.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], dtype=dtype, requires_grad=True)
    q = tg.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]], dtype=dtype, requires_grad=True)
    y = losses.js_div(p, q, reduction="none")
    np.testing.assert_allclose(y.detach().numpy(), [math.log(2.0), 0.0], rtol=1e-6, atol=1e-7)
    first = tg.grad(y.sum(), (p, q), create_graph=True)
    for g in first:
        assert np.isfinite(g.detach().numpy()).all()
    # where both are positive it is log(p/m)/2
    np.testing.assert_allclose(first[0].detach().numpy()[1], [0.0, 0.0, 0.0], atol=1e-7)
    assert first[0][0, 0].item() == pytest.approx(math.log(2.0) / 2, rel=1e-6)
    for g in tg.grad(sum((g * g).sum() for g in first), (p, q)):
        assert np.isfinite(g.numpy()).all()


@pytest.mark.parametrize("size", [50.0, 720.0, 1e4])
def test_extreme_logits(size):
    a = double([[size, -size], [size, 0.0]], requires_grad=True)
    b = double([[-size, size], [size, 0.0]], requires_grad=True)
    y = losses.js_div(a, b, from_logits=True, reduction="none")
    np.testing.assert_allclose(y.detach().numpy(), [math.log(2.0), 0.0], rtol=1e-14, atol=1e-15)
    first = tg.grad(y.sum(), (a, b), create_graph=True)
    for g in first:
        np.testing.assert_allclose(g.detach().numpy(), 0.0, atol=1e-15)
    for g in tg.grad(sum(g.sum() + (g * g).sum() for g in first), (a, b)):
        assert np.isfinite(g.numpy()).all()


def test_the_second_derivative_where_the_two_meet():
    """Half of the Fisher information, a quarter for each: p(1-p)/4 by one logit of a coin."""
    z = double(0.4, requires_grad=True)

    def coin(z):
        return tg.stack((z, tg.zeros_like(z))).unsqueeze(0)

    y = losses.js_div(coin(z), coin(double(0.4)), from_logits=True)
    (g,) = tg.grad(y, z, create_graph=True)
    p = 1.0 / (1.0 + math.exp(-0.4))
    assert g.item() == pytest.approx(0.0, abs=1e-16)
    assert tg.grad(g, z)[0].item() == pytest.approx(p * (1 - p) / 4, rel=1e-12)


# -- what is refused --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: losses.kl_div(tg.log(P), tg.log(Q)),
            ValueError,
            r"kl_div: target must be in \[0, 1\], but entry \[0, 0\] is -.*log_target=True",
        ),
        (
            lambda: losses.kl_div(tg.log(P), tg.ones(4, 5).long()),
            TypeError,
            "kl_div: target must be floating point, not int64",
        ),
        (
            lambda: losses.kl_div(tg.log(P[:, 0]), Q[:, :1]),
            ValueError,
            r"\(4,\).*\(4, 1\).*reshape\(4,\)",
        ),
        (
            lambda: losses.js_div(P, 0.5 * Q),
            ValueError,
            r"js_div: the probabilities of target along dimension -1 must add up to 1.*"
            r"sums entry \[0\] is 0.5",
        ),
        (lambda: losses.js_div(A, Q), ValueError, "js_div: input must be in .*no probabilities"),
        (lambda: losses.js_div(P, Q[:3]), ValueError, r"\(4, 5\).*\(3, 5\)"),
        (lambda: losses.kl_div(tg.log(P), Q, "average"), ValueError, "reduction"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
