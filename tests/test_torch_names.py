"""Names that programs written for torch use: tg.autograd, inference_mode, hooks on leaves."""

import numpy as np
import pytest

import tapegrad as tg


def equal(found, wanted):
    np.testing.assert_allclose(found.numpy(force=True), wanted, rtol=1e-12)


def leaf(*data):
    return tg.tensor(np.array(data), requires_grad=True)


# -- modes --------------------------------------------------------------------------------------
def test_inference_mode_is_no_grad():
    x = leaf(1.0, 2.0)
    with tg.inference_mode():
        assert not (x * 2).requires_grad
        with tg.inference_mode(False):
            assert (x * 2).requires_grad
        assert not tg.is_grad_enabled()
    for decorator in (tg.inference_mode, tg.inference_mode(), tg.autograd.inference_mode()):
        assert not decorator(lambda: x * 2)().requires_grad
    assert (x * 2).requires_grad


@np.errstate(invalid="ignore")
def test_set_detect_anomaly_at_once_and_in_a_block():
    x = leaf(-1.0)
    try:
        tg.set_detect_anomaly(True)
        with pytest.raises(RuntimeError, match="NaN"):
            tg.log(x)
        tg.set_detect_anomaly(True, check_nan=False)
        tg.log(x)
    finally:
        tg.set_detect_anomaly(False)
    tg.log(x)
    with tg.autograd.set_detect_anomaly(True), pytest.raises(RuntimeError, match="NaN"):
        tg.log(x)
    tg.log(x)
    guarded = tg.set_detect_anomaly(True)(lambda: tg.log(x))
    tg.log(x)
    with pytest.raises(RuntimeError, match="NaN"):
        guarded()
    tg.log(x)


def test_names_of_torch_autograd():
    assert tg.autograd.grad is tg.grad
    assert tg.autograd.gradcheck is tg.gradcheck
    assert tg.autograd.gradgradcheck is tg.gradgradcheck
    assert tg.autograd.detect_anomaly is tg.detect_anomaly
    assert "autograd" in dir(tg)


# -- backward of several ------------------------------------------------------------------------
def test_backward_of_several_tensors():
    x = leaf(1.0, 2.0)
    y = x * x
    seed = tg.tensor(np.array([1.0, 10.0]))
    tg.autograd.backward([y.sum(), y * 3], [None, seed])
    equal(x.grad, [2.0 + 6.0, 4.0 + 120.0])
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_backward_of_one_tensor_and_its_arguments():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * w
    ones = tg.ones(2, dtype="float64")
    tg.autograd.backward(y, ones, retain_graph=True, inputs=[x])
    assert w.grad is None
    tg.autograd.backward((y,), (ones,), create_graph=True, inputs=w)
    equal(x.grad, [3.0, 4.0])
    equal(w.grad, [1.0, 2.0])
    assert w.grad.requires_grad
    with pytest.raises(RuntimeError, match="2 tensors but 1"):
        tg.autograd.backward([y, y], [None])
    with pytest.raises(RuntimeError, match="needs a gradient"):
        tg.autograd.backward(y)


# -- batched cotangents -------------------------------------------------------------------------
@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_with_batched_cotangents(create_graph):
    x, w = leaf(0.3, 0.4, 0.5), leaf(2.0)
    y, z = tg.sin(x) * w, (x * x).sum()
    gy = tg.tensor(np.eye(3)[[2, 0, 1, 1]])
    gz = tg.tensor(np.arange(4.0))
    found = tg.grad([y, z], [x, w], [gy, gz], True, create_graph, is_grads_batched=True)
    for k in range(4):
        alone = tg.grad([y, z], [x, w], [gy[k], gz[k]], retain_graph=True)
        equal(found[0][k], alone[0].numpy())
        equal(found[1][k], alone[1].numpy())
    assert found[0].requires_grad is create_graph
    if create_graph:
        (second,) = tg.grad(found[0][1].sum(), x)  # d/dx of cos(x0)·w + 2·x
        equal(second, [-np.sin(0.3) * 2 + 2, 2.0, 2.0])


def test_batched_cotangents_of_what_is_not_used():
    x, unused = leaf(1.0, 2.0), leaf(5.0)
    gs = tg.ones(3, 2, dtype="float64")

    def gradients(**how):
        return tg.grad(x * 2, [x, unused], gs, True, is_grads_batched=True, **how)

    with pytest.raises(RuntimeError, match=r"no path .* inputs\[1\]"):
        gradients()
    assert gradients(allow_unused=True)[1] is None
    equal(gradients(materialize_grads=True)[1], np.zeros((3, 1)))
    with pytest.raises(RuntimeError, match=r"is_grads_batched.*\(count, 2\)"):
        tg.grad(x * 2, x, tg.ones(2), is_grads_batched=True)


# -- hooks on leaves ----------------------------------------------------------------------------
def test_post_accumulate_hook_sees_the_whole_gradient():
    x, seen = leaf(1.0, 2.0), []
    handle = x.register_post_accumulate_grad_hook(lambda p: seen.append((p, p.grad.numpy().copy())))
    (x * x + x).sum().backward()
    (x * 2).sum().backward()
    assert [p is x for p, _ in seen] == [True, True]
    np.testing.assert_array_equal([g for _, g in seen], [[3.0, 5.0], [5.0, 7.0]])
    handle.remove()
    handle.remove()
    x.sum().backward()
    assert len(seen) == 2
    tg.grad(x.sum(), x)
    assert len(seen) == 2


def test_post_accumulate_hook_may_step_and_let_go():
    x = leaf(1.0, 2.0)

    def step(p):
        assert not tg.is_grad_enabled()
        p -= 0.1 * p.grad
        p.grad = None

    x.register_post_accumulate_grad_hook(step)
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad is None
    equal(x, [0.64, 1.28])


def test_post_accumulate_hook_is_for_leaves():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="no leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="does not require"):
        tg.ones(1).register_post_accumulate_grad_hook(print)


# -- functions ----------------------------------------------------------------------------------
def test_grad_and_value_has_torchs_order():
    x = tg.tensor(np.array(2.0))
    g, v = tg.func.grad_and_value(lambda x: x**3)(x)
    assert (g.item(), v.item()) == (12.0, 8.0)
    g, (v, aux) = tg.func.grad_and_value(lambda x: (x**3, "aux"), has_aux=True)(x)
    assert (g.item(), v.item(), aux) == (12.0, 8.0, "aux")


def test_functional():
    F = tg.autograd.functional
    x, w = leaf(0.5, 1.5), leaf(2.0, 3.0)
    v = tg.tensor(np.array([1.0, -2.0]))
    product = np.diag([0.5, 1.5])
    for strategy in ("reverse-mode", "forward-mode"):
        by_x, by_w = F.jacobian(lambda x, w: x * w, (x, w), strategy=strategy)
        equal(by_x, np.diag([2.0, 3.0]))
        equal(by_w, product)
        assert not by_x.requires_grad
    assert F.jacobian(lambda x: x * w, x, create_graph=True).requires_grad
    equal(F.hessian(lambda x: (x**3).sum(), x), np.diag([3.0, 9.0]))
    (_, xw), (wx, _) = F.hessian(lambda x, w: (x * w).sum(), (x, w))
    equal(xw, np.eye(2))
    equal(wx, np.eye(2))
    for product_of in (F.vjp, F.jvp):
        out, moved = product_of(lambda x: x * x, x, v)
        equal(out, [0.25, 2.25])
        equal(moved, [1.0, -6.0])
        assert not moved.requires_grad
    for product_of in (F.hvp, F.vhp):
        out, moved = product_of(lambda x: (x**3).sum(), x, v)
        equal(out, 3.5)
        equal(moved, [3.0, -18.0])
    out, (by_x, by_w) = F.vjp(lambda x, w: (x * w).sum(), (x, w))
    equal(by_x, [2.0, 3.0])
    with pytest.raises(RuntimeError, match="v may be left out"):
        F.vjp(lambda x: x * x, x)
