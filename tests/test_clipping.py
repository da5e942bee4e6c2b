"""Clipping of gradients: against PyTorch and Keras, its derivatives, its edges."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.nn import utils
from tapegrad.optim import functional

DATA = Path(__file__).parent / "data" / "schedules.json"
STORED = json.loads(DATA.read_text())["clipping"] if DATA.exists() else {}
GRADS = [np.array([[3.0, -1.0], [0.0, 2.0]]), np.array([0.5, -4.0, 0.1]), np.array(0.7)]
ORDERS = (2.0, 1.0, 3.0, 0.5, math.inf, -math.inf)
THRESHOLDS = (0.3, 2.5, 100.0)


def leaves(dtype="float64"):
    return [tg.tensor(g, dtype=dtype, requires_grad=True) for g in GRADS]


def holding(grads):
    """Parameters that have these gradients."""
    params = [tg.zeros_like(tg.tensor(g)).requires_grad_() for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = tg.tensor(g)
    return params


def close(found, expected, rtol=1e-12):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=rtol, atol=1e-14)


# -- values ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("max_norm", THRESHOLDS)
@pytest.mark.parametrize("p", ORDERS)
def test_as_torch(p, max_norm):
    norm, expected = STORED[f"{p} {max_norm}"]
    params = holding(GRADS)
    assert utils.clip_grad_norm_(params, max_norm, p).item() == pytest.approx(norm, rel=1e-12)
    close([w.grad for w in params], expected)
    again = holding(GRADS)
    total = utils.get_total_norm([w.grad for w in again], p)
    assert total.item() == pytest.approx(norm, rel=1e-12)
    assert utils.clip_grads_with_norm_(again, max_norm, total) is None
    close([w.grad for w in again], expected)


@pytest.mark.parametrize("limit", THRESHOLDS)
@pytest.mark.parametrize("how", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_the_optimizers_clip_as_keras(how, limit):
    params = holding(GRADS)
    optimizer = optim.SGD(params, lr=1.0, **{how: limit})
    optimizer.step()
    close([-w for w in params], STORED[f"{how} {limit}"], rtol=1e-7)  # in single precision there
    close([w.grad for w in params], GRADS, rtol=0)  # the gradients themselves stay


def test_the_optimizers_clip_without_an_eps():
    params = holding(GRADS)
    optim.SGD(params, lr=1.0, global_clipnorm=2.0).step()
    norm = np.sqrt(sum((g * g).sum() for g in GRADS))
    close([-w for w in params], [g * 2.0 / norm for g in GRADS], rtol=1e-15)


def test_keras_clips_each_by_itself_and_torch_all_together():
    params = holding([np.array([3.0, 4.0]), np.array([0.3, 0.4])])
    norms = utils.clip_each_grad_norm_(params, 1.0)
    np.testing.assert_allclose(norms.numpy(), [5.0, 0.5])
    close([w.grad for w in params], [[0.6, 0.8], [0.3, 0.4]])
    close(functional.clip_by_norm([w.grad for w in params], 0.5), [[0.3, 0.4], [0.3, 0.4]])
    assert utils.clip_grad_norm_(holding([np.array([3.0, 4.0])]), 1.0).item() == 5.0


def test_by_value():
    params = holding(GRADS)
    assert utils.clip_grad_value_(params, 0.6, foreach=True) is None
    close([w.grad for w in params], [np.clip(g, -0.6, 0.6) for g in GRADS])


def test_adaptive_as_published():
    """Brock et al. 2021, equation 3, written with NumPy over units."""
    rng = np.random.default_rng(3)
    shapes = [(3, 4), (2, 3, 2, 2), (5,), ()]
    weights = [rng.normal(size=s) for s in shapes]
    weights[0][1] = 0.0  # below eps
    grads = [rng.normal(size=s) * rng.choice([0.001, 1.0]) for s in shapes]
    grads[0][2] = 0.0

    def unit(w, g):
        norm, size = np.sqrt(np.sum(g * g)), max(np.sqrt(np.sum(w * w)), 1e-3)
        return 0.01 * size / norm * g if norm > 0 and norm / size > 0.01 else g

    expected = [
        np.stack([unit(a, b) for a, b in zip(w, g)]) if w.ndim > 1 else unit(w, g)
        for w, g in zip(weights, grads)
    ]
    params = [tg.tensor(w, requires_grad=True) for w in weights]
    for p, g in zip(params, grads):
        p.grad = tg.tensor(g)
    utils.clip_grad_adaptively_(params)
    close([p.grad for p in params], expected)
    assert not any(p.grad.requires_grad for p in params)


def test_dicts_and_generators():
    named = dict(zip("abc", map(tg.tensor, GRADS)))
    clipped, norm = functional.clip_by_global_norm(named, 1.0)
    assert list(clipped) == list(named)
    listed, same = functional.clip_by_global_norm(list(named.values()), 1.0)
    assert norm.item() == same.item()
    close(clipped.values(), [g.numpy() for g in listed])
    assert set(functional.clip_by_norm(named, 1.0)) == set(functional.clip_by_value(named, 1.0))
    assert list(functional.clip_adaptively(named, named)) == list(named)
    params = holding(GRADS)
    params[1].grad = None
    expected = np.sqrt((GRADS[0] ** 2).sum() + GRADS[2] ** 2)
    assert utils.clip_grad_norm_((p for p in params), 1.0).item() == pytest.approx(expected)
    assert params[1].grad is None
    with pytest.warns(UserWarning, match="empty iterator"):
        assert utils.clip_grad_norm_((p for p in []), 1.0).item() == 0.0
    assert utils.clip_each_grad_norm_([], 1.0).shape == (0,)
    alone = holding(GRADS[:1])[0]
    utils.clip_grad_value_(alone, 0.1)
    assert alone.grad.max().item() == 0.1


def test_types_stay():
    for dtype in ("float32", "float16"):
        grads = [g.detach() for g in leaves(dtype)]
        for clipped in (
            functional.clip_by_global_norm(grads, 1.0)[0],
            functional.clip_by_norm(grads, 1.0),
            functional.clip_by_value(grads, 1.0),
            functional.clip_adaptively(grads, grads),
        ):
            assert all(g.dtype == np.dtype(dtype) for g in clipped)
    mixed = [tg.tensor([3.0]), tg.tensor([4.0], dtype="float64")]
    clipped, norm = functional.clip_by_global_norm(mixed, 1.0)
    assert norm.item() == 5.0 and [g.dtype for g in clipped] == [np.float32, np.float64]


def test_types_of_scalars_stay():
    """A 0-d factor in double precision would raise that of a 0-d gradient."""
    one = tg.tensor(1.0, dtype="float64", requires_grad=True)
    mixed = [tg.tensor(3.0), tg.tensor([4.0], dtype="float64")]
    for clipped in (
        functional.clip_by_global_norm(mixed, 1.0)[0],
        functional.clip_by_global_norm(mixed, one)[0],
        functional.clip_by_norm(mixed, one),
        functional.clip_by_value(mixed, one),
        functional.clip_adaptively(mixed, mixed, one * 0.1),
    ):
        assert [g.dtype for g in clipped] == [np.float32, np.float64]
    params = [tg.zeros_like(g).requires_grad_() for g in mixed]
    for p, g in zip(params, mixed):
        p.grad = g
    total = utils.clip_grad_norm_(params, 1.0)
    utils.clip_grads_with_norm_(params, 0.5, total)
    optim.SGD(params, lr=1.0, global_clipnorm=one).step()
    assert [p.dtype for p in params] == [p.grad.dtype for p in params]


def test_norms_are_in_range():
    big = tg.tensor([3e200, 4e200], dtype="float64")
    (clipped,), norm = functional.clip_by_global_norm([big], 1.0)
    assert norm.item() == pytest.approx(5e200)
    np.testing.assert_allclose(clipped.numpy(), [0.6, 0.8])
    small = tg.tensor([3e-200, 4e-200], dtype="float64")
    np.testing.assert_allclose(
        functional.clip_by_norm([small], 1e-200)[0].numpy() * 1e200, [0.6, 0.8]
    )


# -- edges -----------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite(bad):
    params = holding([np.array([3.0, 4.0]), np.array([bad])])
    params[1].name = "bias"
    for clip in (utils.clip_grad_norm_, utils.clip_each_grad_norm_):
        with pytest.raises(RuntimeError, match=r"parameters\[1\] .*'bias'\) is NaN or inf"):
            clip(params, 1.0, error_if_nonfinite=True)
        close([params[0].grad], [[3.0, 4.0]])
    with pytest.raises(RuntimeError, match=r"tensors\[1\]"):
        utils.get_total_norm([p.grad for p in params], error_if_nonfinite=True)
    assert not np.isfinite(utils.clip_grad_norm_(params, 1.0).item())  # silent, as in torch
    assert np.isnan(params[1].grad.numpy()).all()
    expected = np.isnan(bad)
    assert np.isnan(params[0].grad.numpy()).all() == expected  # inf scales the others to 0


def test_thresholds_at_their_ends():
    close(functional.clip_by_global_norm(leaves(), math.inf)[0], GRADS, rtol=0)
    close(functional.clip_by_global_norm(leaves(), 0.0)[0], [0 * g for g in GRADS])
    close(functional.clip_by_norm(leaves(), 0.0), [0 * g for g in GRADS])
    close(functional.clip_by_norm(leaves(), math.inf), GRADS, rtol=0)
    params = holding(GRADS)
    optim.SGD(params, lr=1.0, clipnorm=0).step()  # off, as in Keras
    close([-w for w in params], GRADS)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="max_norm must be at least 0"):
        functional.clip_by_global_norm(leaves(), -1.0)
    with pytest.raises(ValueError, match="max_norm"):
        functional.clip_by_norm(leaves(), math.nan)
    with pytest.raises(ValueError, match="clip_value"):
        functional.clip_by_value(leaves(), tg.tensor(-1.0))
    with pytest.raises(ValueError, match="clip_factor"):
        functional.clip_adaptively(leaves(), leaves(), -0.1)
    with pytest.raises(ValueError, match="shape"):
        functional.clip_adaptively(leaves(), leaves()[::-1])
    with pytest.raises(ValueError, match="clipnorm must"):
        optim.SGD(leaves(), clipnorm=-1.0)
    with pytest.raises(ValueError, match="at most one"):
        optim.SGD(leaves(), clipnorm=1.0, clipvalue=1.0)


def test_a_refusal_says_what_to_give_and_changes_nothing():
    params, grads = holding(GRADS), [g.detach() for g in leaves()]
    pair = tg.tensor([1.0, 2.0])
    for clip, error, words in (
        (lambda: utils.clip_grad_norm_(params, -1.0), ValueError, "clip_grad_norm_: max_norm must"),
        (lambda: utils.clip_grad_norm_(params, "1"), TypeError, "must be a number or a Tensor"),
        (lambda: utils.clip_grad_norm_(params, pair), ValueError, r"one number, not .* \(2,\)"),
        (lambda: utils.clip_grad_norm_(params, 1.0, "nuc"), ValueError, "norm_type must be a num"),
        (lambda: utils.clip_grad_norm_(params, 1.0, math.nan), ValueError, "norm_type must be"),
        (lambda: utils.clip_grads_with_norm_(params, -1.0, 5.0), ValueError, "max_norm must be at"),
        (lambda: utils.clip_grad_value_(params, pair), ValueError, "clip_value must be one number"),
        (lambda: utils.clip_grad_value_(params, -1.0), ValueError, "clip_grad_value_: clip_value"),
        (lambda: utils.clip_each_grad_norm_(params, -1.0), ValueError, "clip_each_grad_norm_: max"),
        (lambda: utils.clip_grad_adaptively_(params, -1.0), ValueError, "clip_grad_adaptively_: c"),
        (lambda: utils.clip_grad_norm_([*params, 2.0], 1.0), TypeError, r"parameters\[3\] is a fl"),
        (
            lambda: utils.clip_grad_norm_([("w", params[0])], 1.0),
            TypeError,
            r"give parameters\(\), not named_parameters\(\)",
        ),
        (lambda: utils.clip_grad_value_({"w": params[0]}, 1.0), TypeError, "give its values"),
        (lambda: utils.clip_grad_value_(None, 1.0), TypeError, "parameters must be a Tensor or"),
        (lambda: functional.clip_by_norm(grads[0], 1.0), TypeError, r"not one Tensor: use \[grad"),
        (lambda: functional.clip_by_value([None], 1.0), TypeError, "gradient 0 is None"),
        (
            lambda: functional.clip_by_global_norm({"w": grads[0], "b": None}, 1.0),
            TypeError,
            "gradient 'b' is None",
        ),
        (
            lambda: functional.clip_by_norm(grads, optim.schedules.constant(1.0)),
            TypeError,
            "call the schedule",
        ),
    ):
        with pytest.raises(error, match=words):
            clip()
        close([p.grad for p in params], GRADS, rtol=0)


def test_a_threshold_of_one_entry_is_one_number():
    one = tg.tensor([1.0], dtype="float64")
    for found, expected in (
        (
            functional.clip_by_global_norm(leaves(), one)[0],
            functional.clip_by_global_norm(leaves(), 1.0)[0],
        ),
        (functional.clip_by_norm(leaves(), one), functional.clip_by_norm(leaves(), 1.0)),
        (functional.clip_by_value(leaves(), one), functional.clip_by_value(leaves(), 1.0)),
    ):
        assert [g.shape for g in found] == [g.shape for g in GRADS]
        close(found, [g.detach().numpy() for g in expected])


def test_inf_may_be_written_out():
    """As torch has it."""
    assert functional.global_norm(leaves(), "inf").item() == 4.0
    params = holding(GRADS)
    assert utils.clip_grad_norm_(params, 1.0, "inf").item() == 4.0
    assert functional.clip_by_norm(leaves(), 1.0, "inf")[1].min().item() == -1.0
    assert utils.get_total_norm([p.grad for p in params], "inf").item() < 1.0


def test_a_norm_at_the_threshold_is_scaled_as_in_torch():
    (clipped,), _ = functional.clip_by_global_norm([tg.tensor([1.0], dtype="float64")], 1.0)
    assert clipped.item() == pytest.approx(0.999999000001, abs=1e-12)
    assert functional.clip_by_norm([tg.tensor([1.0], dtype="float64")], 1.0)[0].item() == 1.0


def test_zero_gradients_pass_with_the_identity():
    zero = [tg.zeros(2, 2, dtype="float64", requires_grad=True)]
    w = [tg.ones(2, 2, dtype="float64")]
    limit = tg.tensor(1.0, dtype="float64", requires_grad=True)
    for clipped in (
        functional.clip_by_global_norm(zero, limit)[0],
        functional.clip_by_norm(zero, limit),
        functional.clip_by_value(zero, limit),
        functional.clip_adaptively(zero, w, limit),
    ):
        by_gradient, by_limit = tg.grad(clipped[0].sum(), [zero[0], limit])
        np.testing.assert_array_equal(by_gradient.numpy(), np.ones((2, 2)))
        assert by_limit.item() == 0.0


def test_at_a_threshold_of_zero_all_is_zero():
    """Also the derivative at a gradient of zeros."""
    zero = [tg.zeros(2, dtype="float64", requires_grad=True)]
    for limit in (0.0, tg.tensor(0.0)):
        for clipped in (
            functional.clip_by_global_norm(zero, limit)[0],
            functional.clip_by_global_norm(zero, limit, eps=0.0)[0],
            functional.clip_by_norm(zero, limit),
            functional.clip_adaptively(zero, zero, limit),
        ):
            assert tg.grad(clipped[0].sum(), zero[0])[0].tolist() == [0.0, 0.0]


# -- derivatives -----------------------------------------------------------------------------------
def test_the_derivatives_of_the_table_of_edges():
    g = tg.tensor([3.0, 4.0, 0.0], dtype="float64", requires_grad=True)
    limit = tg.tensor(1.0, dtype="float64", requires_grad=True)
    (clipped,), _ = functional.clip_by_global_norm([g], limit)
    by_gradient, by_limit = tg.grad(clipped.sum(), [g, limit])
    assert by_limit.item() == pytest.approx(7 / (5 + 1e-6), rel=1e-14)
    np.testing.assert_allclose(by_gradient.numpy(), [0.032, -0.024, 0.2], atol=1e-6)


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("limit", [0.3, 100.0])
def test_derivatives_agree_with_finite_differences(p, limit):
    grads = [g.detach() + 0.01 for g in leaves()]  # off the kinks of |x|

    def together(grads, limit):
        clipped, norm = functional.clip_by_global_norm(grads, limit, p)
        return [*clipped, norm]

    def each(grads, limit):
        return functional.clip_by_norm(grads, limit, p)

    for clip in (together, each):
        assert tg.check_grads(clip, (grads, tg.tensor(limit, dtype="float64")), order=2)


def test_derivatives_by_values_weights_and_factors():
    grads = [g.detach() for g in leaves()]
    limit = tg.tensor(0.8, dtype="float64")
    assert tg.check_grads(functional.clip_by_value, (grads, limit), order=2)
    rng = np.random.default_rng(0)
    params = [tg.tensor(rng.normal(size=g.shape)) for g in GRADS]
    grads = [g + 0.01 for g in grads]
    factor = tg.tensor(0.1, dtype="float64")
    assert tg.check_grads(functional.clip_adaptively, (grads, params, factor), order=2)


def test_second_derivatives_are_right_where_one_gradient_is_zero():
    """A norm of norms would have 0 there."""
    a = tg.tensor([3.0, 4.0], dtype="float64", requires_grad=True)
    b = tg.zeros(2, dtype="float64", requires_grad=True)
    (first,) = tg.grad(functional.global_norm([a, b]), b, create_graph=True)
    (second,) = tg.grad(first.sum(), b)
    np.testing.assert_allclose(second.numpy(), [0.2, 0.2])


@pytest.mark.parametrize(
    "how", ["clipnorm", "clipvalue", "global_clipnorm", "norm_", "adaptively_"]
)
def test_training_is_differentiated_by_the_threshold(how):
    target = np.array([3.0, -1.0])

    def final(limit, differentiable=True):
        w = tg.tensor([[1.0, -2.0]], dtype="float64", requires_grad=True)
        shell = {how: limit} if "clip" in how else {}
        optimizer = optim.SGD([w], lr=0.01, momentum=0.9, differentiable=differentiable, **shell)
        for _ in range(4):
            optimizer.zero_grad()
            ((w - target) ** 4).sum().backward(create_graph=differentiable)
            if how == "norm_":
                utils.clip_grad_norm_([w], limit)
            elif how == "adaptively_":
                utils.clip_grad_adaptively_([w], limit)
            optimizer.step()
        return ((w - target) ** 4).sum()

    limit, h = tg.tensor(0.7, dtype="float64", requires_grad=True), 1e-5
    (found,) = tg.grad(final(limit), limit)
    expected = (final(0.7 + h, False).item() - final(0.7 - h, False).item()) / (2 * h)
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_an_ordinary_loop_records_nothing():
    w = tg.ones(2, 2, requires_grad=True)
    for clip in (
        utils.clip_grad_norm_,
        utils.clip_grad_value_,
        utils.clip_each_grad_norm_,
        utils.clip_grad_adaptively_,
    ):
        w.grad = tg.ones(2, 2)
        clip([w], 0.1)
        assert not w.grad.requires_grad
