"""The conventions at kinks, ties and infinities: one row each, in reverse mode, on the tape, in
forward mode, in both dtypes. Rows about one primitive alone are tested beside it, too."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.forward import push_forward

F = tg.nn.functional
INF, NAN = np.inf, np.nan


def cosh_error(e):
    """log cosh e, without overflow and smooth at 0."""
    return e + tg.softplus(-2.0 * e) - np.log(2.0)


def bce(z, y):
    return F.binary_cross_entropy_with_logits(z, tg.zeros_like(z) + y, reduction="sum")


def clipped_norm(g, max_norm=1.0):
    (found,), _ = tg.optim.functional.clip_by_global_norm([g], max_norm)
    return found.sum()


#: what is summed, at, its value, its gradient
ROWS = {
    "abs at 0": (tg.abs, [0.0, -2.0], 2.0, [0.0, -1.0]),
    "L1 loss at 0": (
        lambda x: F.l1_loss(x, tg.zeros_like(x), reduction="sum"),
        [0.0, 3.0],
        3.0,
        [0.0, 1.0],
    ),
    "safe_sqrt at 0": (tg.safe_sqrt, [0.0, 4.0], 2.0, [0.0, 0.25]),
    "sqrt at 0": (tg.sqrt, [0.0], 0.0, [INF]),
    "norm of nothing but zeros": (tg.norm, [0.0, 0.0], 0.0, [0.0, 0.0]),
    "std of equal items": (tg.std, [2.0, 2.0, 2.0], 0.0, [0.0, 0.0, 0.0]),
    "var of one item": (lambda x: tg.var(x, correction=0), [3.0], 0.0, [0.0]),
    "distance of coinciding points": (
        lambda x: tg.cdist(x.reshape(1, 2), tg.zeros_like(x).reshape(1, 2)),
        [0.0, 0.0],
        0.0,
        [0.0, 0.0],
    ),
    "amax shares": (tg.amax, [1.0, 1.0, 0.0], 1.0, [0.5, 0.5, 0.0]),
    "amin shares": (tg.amin, [1.0, 1.0, 2.0], 1.0, [0.5, 0.5, 0.0]),
    "max of all shares": (tg.max, [1.0, 1.0, 0.0], 1.0, [0.5, 0.5, 0.0]),
    "max(dim) selects": (lambda x: tg.max(x, dim=0)[0], [1.0, 1.0, 0.0], 1.0, [1.0, 0.0, 0.0]),
    "min(dim) selects": (lambda x: tg.min(x, dim=0)[0], [1.0, 1.0, 2.0], 1.0, [1.0, 0.0, 0.0]),
    "topk selects": (lambda x: tg.topk(x, 1)[0], [1.0, 1.0, 0.0], 1.0, [1.0, 0.0, 0.0]),
    "sort selects": (
        lambda x: tg.sort(x)[0] * tg.tensor([1.0, 2.0, 3.0], dtype=x.dtype),
        [1.0, 1.0, 0.0],
        5.0,
        [2.0, 3.0, 1.0],
    ),
    "median takes the lower": (tg.median, [1.0, 2.0, 3.0, 4.0], 2.0, [0.0, 1.0, 0.0, 0.0]),
    "maximum at a tie": (lambda x: tg.maximum(x[0], x[1]), [1.0, 1.0], 1.0, [0.5, 0.5]),
    "minimum at a tie": (lambda x: tg.minimum(x[0], x[1]), [1.0, 1.0], 1.0, [0.5, 0.5]),
    "relu at 0": (tg.relu, [0.0, 1.0], 1.0, [0.0, 1.0]),
    "leaky_relu at 0": (tg.leaky_relu, [0.0, 1.0], 1.0, [0.01, 1.0]),
    "clip at its bounds": (lambda x: tg.clip(x, 0.0, 1.0), [0.0, 1.0, 2.0], 2.0, [1.0, 1.0, 0.0]),
    "logsumexp of nothing but -inf": (
        lambda x: tg.logsumexp(x, dim=0),
        [-INF, -INF],
        -INF,
        [0.0, 0.0],
    ),
    "logsumexp of an infinity": (lambda x: tg.logsumexp(x, dim=0), [INF, 0.0], INF, [1.0, 0.0]),
    "cross-entropy of far apart logits": (
        lambda x: F.cross_entropy(x.reshape(1, 2), tg.tensor([1])),
        [1000.0, 0.0],
        1000.0,
        [1.0, -1.0],
    ),
    "BCE on logits far out": (lambda x: bce(x, 1.0), [1000.0, -1000.0], 1000.0, [0.0, -1.0]),
    "BCE on logits at 0": (lambda x: bce(x, 1.0), [0.0], np.log(2.0), [-0.5]),
    "BCE at p=0, y=1": (
        lambda x: F.binary_cross_entropy(x, tg.ones_like(x)),
        [0.0],
        100.0,
        [-1e12],
    ),
    "BCE at p=0, y=0": (lambda x: F.binary_cross_entropy(x, tg.zeros_like(x)), [0.0], 0.0, [1.0]),
    "BCE at p=1, y=1": (lambda x: F.binary_cross_entropy(x, tg.ones_like(x)), [1.0], 0.0, [-1.0]),
    "huber at delta": (
        lambda x: F.huber_loss(x, tg.zeros_like(x), reduction="sum", delta=2.0),
        [2.0, -2.0, 5.0],
        12.0,
        [2.0, -2.0, 2.0],
    ),
    "x**0 at 0": (lambda x: x**0, [0.0], 1.0, [0.0]),
    "pow(0, 0)": (lambda x: tg.pow(x[0], x[1]), [0.0, 0.0], 1.0, [0.0, 0.0]),
    "pow(-2, 3)": (lambda x: tg.pow(x[0], x[1]), [-2.0, 3.0], -8.0, [12.0, NAN]),
    "atan2(0, 0)": (lambda x: tg.atan2(x[0], x[1]), [0.0, 0.0], 0.0, [0.0, 0.0]),
    "hypot(0, 0)": (lambda x: tg.hypot(x[0], x[1]), [0.0, 0.0], 0.0, [0.0, 0.0]),
    "prod with a zero": (tg.prod, [2.0, 0.0, 3.0], 0.0, [0.0, 6.0, 0.0]),
    "prod with two": (tg.prod, [0.0, 0.0, 3.0], 0.0, [0.0, 0.0, 0.0]),
    "xlogy(0, 0)": (lambda x: tg.xlogy(x[0], x[1]), [0.0, 0.0], 0.0, [0.0, 0.0]),
    "x log x as typed": (lambda x: x * tg.log(x), [0.0], NAN, [NAN]),
    "focal of a sure logit": (
        lambda x: (tg.exp(2.0 * tg.logsigmoid(-x)) * -tg.logsigmoid(x)).sum(),
        [1e4, -1e4],
        1e4,
        [0.0, -1.0],
    ),
    "clipping a zero gradient": (clipped_norm, [0.0, 0.0], 0.0, [1.0, 1.0]),
    "det of a singular matrix": (
        lambda x: tg.linalg.det(x.reshape(2, 2)),
        [1.0, 2.0, 2.0, 4.0],
        0.0,
        [4.0, -2.0, -2.0, 1.0],
    ),
    "logaddexp of equal infinities": (
        lambda x: tg.logaddexp(x[0], x[1]),
        [-INF, -INF],
        -INF,
        [0.5, 0.5],
    ),
    "0/0": (lambda x: x[0] / x[1], [0.0, 0.0], NAN, [INF, NAN]),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("row", ROWS)
def test_row(row, dtype):
    f, at, value, gradient = ROWS[row]
    x = tg.tensor(np.array(at, dtype), requires_grad=True)
    y = f(x).sum()
    close = {"rtol": 1e-14 if dtype == "float64" else 1e-6, "atol": 1e-14}
    assert y.dtype == dtype
    np.testing.assert_allclose(y.item(), value, **close)
    (g,) = tg.grad(y, x, retain_graph=True)
    assert g.dtype == dtype
    np.testing.assert_allclose(g.numpy(), gradient, **close, err_msg="reverse")
    (g,) = tg.grad(y, x, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), gradient, **close, err_msg="on the tape")
    if np.isfinite(gradient).all():
        for unit, slope in zip(np.eye(len(at), dtype=dtype), gradient):
            (t,) = push_forward([y], [x], [tg.tensor(unit)], False)
            np.testing.assert_allclose(t.item(), slope, **close, err_msg="forward")


SECOND = {
    "huber at 0": (lambda x: F.huber_loss(x, tg.zeros_like(x)), 0.0, 1.0),
    "log-cosh at 0": (cosh_error, 0.0, 1.0),
    "BCE on logits at 0": (lambda x: bce(x, 1.0), 0.0, 0.25),
    "softplus at 0": (tg.softplus, 0.0, 0.25),
    "x**2 at 0": (lambda x: x**2, 0.0, 2.0),
    "prod with two zeros": (lambda x: tg.prod(tg.stack([x, x, x * 0.0 + 3.0])), 0.0, 6.0),
}


@pytest.mark.parametrize("row", SECOND)
def test_smooth_functions_are_smooth_where_their_formula_bends(row):
    f, at, second = SECOND[row]
    x = tg.tensor(at, dtype="float64", requires_grad=True)
    (g,) = tg.grad(f(x), x, create_graph=True)
    (h,) = tg.grad(g, x, retain_graph=True)
    (t,) = push_forward([g], [x], [tg.ones_like(x)], False)
    assert h.item() == pytest.approx(second) and t.item() == pytest.approx(second)


def test_the_honest_kinks_are_called_kinks():
    """None of the conventions looks like a wrong derivative to the checker."""
    for row in ("abs at 0", "relu at 0", "leaky_relu at 0", "clip at its bounds", "amax shares"):
        f, at, _, _ = ROWS[row]
        report = tg.check_grads(f, np.array(at), order=2, report=True)
        assert report.ok and report.kinks, row


def test_names_of_numpy_keep_numpys_meaning():
    t = tg.tensor([1.0, 2.0, 3.0, 4.0], dtype="float64", requires_grad=True)
    assert tg.median(t).item() == 2.0 and np.median(t).item() == 2.5
    assert np.std(t).item() == pytest.approx(np.std([1.0, 2.0, 3.0, 4.0]))
    assert tg.std(t).item() == pytest.approx(np.std([1.0, 2.0, 3.0, 4.0], ddof=1))
    np.median(t).backward()
    assert t.grad.tolist() == [0.0, 0.5, 0.5, 0.0]


def test_clipping_is_differentiable_by_its_bound():
    g = tg.tensor([3.0, 4.0, 0.0], dtype="float64")
    bound = tg.tensor(1.0, dtype="float64", requires_grad=True)
    clipped_norm(g, bound).backward()
    assert bound.grad.item() == pytest.approx(7.0 / (5.0 + 1e-6), rel=1e-12)


def test_clipping_at_the_bound_scales_as_torchs():
    p = tg.tensor([0.0, 0.0], dtype="float64", requires_grad=True)
    p.grad = tg.tensor([0.6, 0.8], dtype="float64")
    tg.nn.utils.clip_grad_norm_([p], 1.0)
    assert p.grad.tolist() == pytest.approx([0.6 / (1.0 + 1e-6), 0.8 / (1.0 + 1e-6)], rel=1e-12)


def test_undefined_derivatives_are_named():
    x = tg.tensor([0.0, 0.0], requires_grad=True)
    with tg.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(RuntimeError, match="div"):
        (x[0] / x[1]).backward()
    with tg.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(RuntimeError, match="xlogy"):
        (x * tg.log(x)).sum().backward()
    m = tg.tensor(np.eye(2), requires_grad=True)
    values, _ = tg.linalg.eigh(m)
    (g,) = tg.grad(values[1] * 2.0, m, retain_graph=True)
    assert np.isfinite(g.numpy()).all()
