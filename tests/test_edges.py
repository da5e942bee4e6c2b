"""The conventions at kinks, ties and infinities: one row each, in reverse mode, on the tape, in
forward mode, in both dtypes. Rows about one primitive alone are tested beside it, too."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.forward import push_forward

F = tg.nn.functional
INF, NAN = np.inf, np.nan


def of_error(loss, **settings):
    """A loss as a function of the error."""
    return lambda e: loss(e, tg.zeros_like(e), reduction="sum", **settings)


def bce(z, y):
    return F.binary_cross_entropy_with_logits(z, tg.zeros_like(z) + y, reduction="sum")


def focal(gamma, y):
    return lambda z: losses.focal_loss(z, tg.full_like(z, y), None, gamma, reduction="sum")


def spelled_in_two_frames(x, **settings):
    """CTC of "aa", which takes three frames."""
    log_probs, two = tg.log_softmax(x.reshape(2, 1, 2), dim=2), tg.tensor([2])
    return losses.ctc_loss(log_probs, tg.tensor([[1, 1]]), two, two, **settings)


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
    **{
        f"focal loss far out, gamma {gamma}, target {y}": (
            focal(gamma, y),
            [1e4, -1e4],
            1e4,
            slopes,
        )
        for gamma in (0.0, 0.5, 2.0)
        for y, slopes in ((0.0, [1.0, 0.0]), (1.0, [0.0, -1.0]))
    },
    **{
        f"softmax focal loss far out, gamma {gamma}": (
            lambda x, gamma=gamma: losses.softmax_focal_loss(
                x.reshape(2, 2), tg.tensor([0, 1]), gamma=gamma, reduction="sum"
            ),
            [1e4, -1e4, 1e4, -1e4],
            2e4,
            [0.0, 0.0, 1.0, -1.0],
        )
        for gamma in (0.0, 0.5, 2.0)
    },
    "softmax of nothing but -inf": (lambda x: tg.softmax(x, dim=0), [-INF, -INF], 0.0, [0.0, 0.0]),
    "unit vector of the zero vector": (
        lambda x: F.cosine_similarity(x, tg.tensor([1.0, 0.0], dtype=x.dtype), dim=0),
        [0.0, 0.0],
        0.0,
        [1e8, 0.0],
    ),
    "pairwise distance of points that coincide": (
        lambda x: F.pairwise_distance(x, tg.zeros_like(x), eps=0.0),
        [0.0, 0.0],
        0.0,
        [0.0, 0.0],
    ),
    "KL divergence by a target of 0": (
        lambda t: losses.kl_div(tg.zeros_like(t) - 1.0, t, reduction="sum"),
        [0.0, 1.0],
        1.0,
        [1.0, 2.0],
    ),
    "CTC without a path": (spelled_in_two_frames, [0.5, 0.0, 0.0, 1.0], INF, [0.0] * 4),
    "CTC without a path, zero_infinity": (
        lambda x: spelled_in_two_frames(x, zero_infinity=True),
        [0.5, 0.0, 0.0, 1.0],
        0.0,
        [0.0] * 4,
    ),
    "Dice of empty masks": (
        lambda p: losses.dice_loss(p, tg.zeros_like(p)),
        [0.0, 0.0],
        0.0,
        [0.0, 0.0],
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


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "loss",
    [
        lambda x: losses.cross_entropy(x, tg.tensor([-100, -100])),
        lambda x: losses.sequence_cross_entropy(x[None], tg.tensor([[-100, -100]])),
        lambda x: losses.reduce(x, mask=tg.zeros(2, 2, dtype="bool")),
    ],
)
def test_where_nothing_counts_the_mean_is_nan_and_the_gradient_0(loss):
    """A slope of 0 backwards, where what does not count is left out; forwards it is 0/0 too."""
    x = tg.tensor([[1.0, 2.0], [0.0, 1.0]], requires_grad=True)
    y = loss(x)
    (g,) = tg.grad(y, x, retain_graph=True)
    assert np.isnan(y.item()) and g.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    (t,) = push_forward([y], [x], [tg.ones_like(x)], False)
    assert np.isnan(t.item())


SECOND = {
    "huber at 0": (of_error(losses.huber_loss), 0.0, 1.0),
    "smooth L1 at 0": (of_error(losses.smooth_l1_loss), 0.0, 1.0),
    "log-cosh at 0": (of_error(losses.log_cosh_loss), 0.0, 1.0),
    "Charbonnier at 0": (of_error(losses.charbonnier_loss, eps=1.0), 0.0, 1.0),
    **{
        f"general robust at 0, alpha {alpha}": (
            of_error(losses.general_robust_loss, alpha=alpha),
            0.0,
            1.0,
        )
        for alpha in (2.0, 1.0, 0.0, -2.0, -INF)
    },
    "focal loss at 0, gamma 0": (focal(0.0, 1.0), 0.0, 0.25),
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
