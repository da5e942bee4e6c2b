"""Layers of normalisation: against torch over several batches (stored by
oracle/make_normalization.py), derivatives through the statistics, maps, edges, errors."""

import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

DATA = json.loads((Path(__file__).parent / "data" / "normalization.json").read_text())
RANDOM = np.random.default_rng(0)


def close(found, wanted, tolerance=1e-9):
    found, wanted = found.detach().numpy(), np.array(wanted, dtype=float)
    assert found.shape == wanted.shape
    size = np.abs(wanted).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * size)


def made(case):
    layer = eval(f"nn.{case['layer']}").to(case["dtype"])
    assert list(layer.state_dict()) == list(case["state"])  # the names and their order
    layer.load_state_dict({k: np.array(v) for k, v in case["state"].items()})
    return layer


@pytest.mark.parametrize("case", DATA, ids=lambda c: f"{c['layer']} {c['dtype']}")
def test_outputs_statistics_and_derivatives_are_torchs(case):
    layer = made(case)
    assert repr(layer) == case["repr"]
    exact = case["dtype"] == "float64"
    for batch in case["batches"]:
        layer.train(batch["training"])
        x = tg.tensor(np.array(batch["x"], case["dtype"]), requires_grad=True)
        y = layer(x)
        assert y.dtype == x.dtype
        close(y, batch["y"], 1e-9 if exact else 2e-6)
        for name, value in layer.state_dict().items():
            close(value, batch["state"][name], 1e-9 if exact else 1e-6)
        reals = [x, *layer.parameters()]
        total = (y**3 * tg.tensor(np.array(batch["weights"], case["dtype"]))).sum()
        first = tg.grad(total, reals, create_graph=True)
        for ours, theirs in zip(first, batch["first"], strict=True):
            close(ours, theirs, 1e-8 if exact else 1e-4)
        if exact:
            second = tg.grad(sum((g * g).sum() for g in first), reals)
            for ours, theirs in zip(second, batch["second"], strict=True):
                close(ours, theirs, 1e-7)


SETTINGS = {
    "batch_norm": (
        (3, 2, 2),
        (2,),
        lambda x, w, b, eps: F.batch_norm(x, None, None, w, b, True, eps=eps),
    ),
    "instance_norm": (
        (2, 2, 3),
        (2,),
        lambda x, w, b, eps: F.instance_norm(x, None, None, w, b, eps=eps),
    ),
    "group_norm": ((2, 4, 2), (4,), lambda x, w, b, eps: F.group_norm(x, 2, w, b, eps)),
    "layer_norm": ((2, 3, 2), (3, 2), lambda x, w, b, eps: F.layer_norm(x, (3, 2), w, b, eps)),
    "rms_norm": ((2, 4), (4,), lambda x, w, b, eps: F.rms_norm(x, 4, w, eps) + b),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_derivatives_of_every_order_by_every_operand(name):
    """By the input, weight, bias and eps, forwards and backwards."""
    shape, own, call = SETTINGS[name]
    operands = [RANDOM.standard_normal(s) for s in (shape, own, own)]
    assert tg.check_grads(lambda *xs: call(*xs).tanh(), [*operands, np.array(0.3)], order=2)


def test_the_derivative_goes_through_the_statistics():
    """Shifting or scaling a channel changes nothing, so the gradient is orthogonal to both."""
    x = tg.tensor(RANDOM.standard_normal((6, 3)), requires_grad=True)
    y = F.batch_norm(x, None, None, training=True, eps=1e-12)
    (g,) = tg.grad(y, x, tg.tensor(RANDOM.standard_normal((6, 3))))
    np.testing.assert_allclose(g.sum(0).numpy(), 0, atol=1e-12)
    np.testing.assert_allclose((g * x.detach()).sum(0).numpy(), 0, atol=1e-10)


def test_running_statistics_are_constants():
    layer = nn.BatchNorm1d(2, dtype="float64")
    mean, var = (tg.tensor([0.5, 2.0], requires_grad=True) for _ in range(2))
    buffers = {"running_mean": mean, "running_var": var}
    layer.eval()
    y = tg.func.functional_call(layer, buffers, tg.ones(3, 2))
    found = tg.grad(y.sum(), [mean, var, layer.weight], allow_unused=True)
    assert found[:2] == (None, None)
    layer.train()
    momentum = tg.tensor(0.5, requires_grad=True)
    layer.momentum = momentum
    layer(tg.tensor(RANDOM.standard_normal((4, 2)), requires_grad=True))
    assert not layer.running_mean.requires_grad


def test_training_may_go_on_before_backward():
    """Neither an earlier training batch nor an earlier eval() one loses what it needs."""
    layer = nn.BatchNorm1d(2)
    x = tg.randn(4, 2, requires_grad=True)
    first = layer(x)
    second = layer.eval()(x)
    layer.train()(x * 2)
    (first + second).sum().backward()
    assert x.grad is not None


# -- running statistics -------------------------------------------------------------------------
def test_running_statistics_by_their_formula():
    layer = nn.BatchNorm2d(2, momentum=0.25, dtype="float64")
    mean, var = np.zeros(2), np.ones(2)
    for _ in range(5):
        x = RANDOM.standard_normal((3, 2, 4, 5)) * 3 + 1
        layer(tg.tensor(x))
        mean = 0.75 * mean + 0.25 * x.mean((0, 2, 3))
        var = 0.75 * var + 0.25 * x.var((0, 2, 3), ddof=1)
    close(layer.running_mean, mean)
    close(layer.running_var, var)
    assert layer.num_batches_tracked.item() == 5
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0, 1.0] and layer.num_batches_tracked.item() == 0


def test_momentum_none_is_the_average_of_all_batches():
    layer, batches = nn.BatchNorm1d(2, momentum=None), RANDOM.standard_normal((7, 5, 2))
    for x in batches:
        layer(tg.tensor(x))
    close(layer.running_mean, batches.mean(1).mean(0), 1e-6)
    close(layer.running_var, batches.var(1, ddof=1).mean(0), 1e-6)


def test_eval_and_no_grad_change_nothing_but_training_does():
    layer = nn.BatchNorm1d(2)
    x = tg.randn(4, 2)
    before = {k: v.tolist() for k, v in layer.state_dict().items()}
    layer.eval()(x)
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == before
    with tg.no_grad():
        layer.train()(x)
    assert layer.num_batches_tracked.item() == 1


def test_tracking_can_be_switched_off_later():
    """As torch: statistics that are there are used in eval(), and no longer moved in training."""
    layer = nn.BatchNorm1d(2)
    layer.track_running_stats = False
    x = tg.randn(4, 2) + 3
    close(layer(x).mean(0), np.zeros(2), 1e-6)
    assert layer.running_mean.tolist() == [0.0, 0.0]
    close(layer.eval()(x), x / math.sqrt(1 + 1e-5), 1e-6)


def test_one_element_batch():
    for layer, x in (
        (nn.BatchNorm1d(3), tg.zeros(1, 3)),
        (nn.BatchNorm1d(3), tg.zeros(1, 3, 1)),
        (nn.BatchNorm2d(3), tg.zeros(1, 3, 1, 1)),
    ):
        with pytest.raises(ValueError, match=r"Expected more than 1 value per channel.*\(1, 3"):
            layer(x)
        assert layer.num_batches_tracked.item() == 0  # what fails changes nothing
        assert layer.running_var.tolist() == [1.0] * 3
        assert layer.eval()(x).shape == x.shape
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        nn.InstanceNorm1d(2)(tg.zeros(3, 2, 1))
    with pytest.raises(ValueError, match="more than 1 value per group"):
        F.group_norm(tg.zeros(1, 1), 1)
    assert F.layer_norm(tg.tensor([[3.0]]), 1).tolist() == [[0.0]]


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (2, 3, 0)])
def test_empty_batch(shape):
    layer = nn.BatchNorm1d(3)
    x = tg.zeros(*shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape
    assert layer.running_mean.tolist() == [0.0] * 3 and layer.running_var.tolist() == [1.0] * 3
    assert layer.weight.grad.tolist() == [0.0] * 3


def test_empty_batch_of_the_others():
    assert nn.LayerNorm(3)(tg.zeros(0, 3)).shape == (0, 3)
    assert nn.RMSNorm(3)(tg.zeros(0, 3)).shape == (0, 3)
    assert nn.GroupNorm(1, 2)(tg.zeros(0, 2)).shape == (0, 2)
    layer = nn.InstanceNorm1d(2, track_running_stats=True)
    assert layer(tg.zeros(0, 2, 3)).shape == (0, 2, 3)
    assert layer.running_mean.tolist() == [0.0, 0.0]


def test_equal_and_zero_rows_are_finite():
    for name in ("layer_norm", "rms_norm"):
        x = tg.zeros(2, 3, requires_grad=True)
        y = getattr(F, name)(x, 3)
        y.sum().backward()
        assert y.tolist() == [[0.0] * 3] * 2 and np.isfinite(x.grad.numpy()).all()
    assert F.layer_norm(tg.full((1, 4), 1e6), 4).tolist() == [[0.0] * 4]


def test_large_mean_in_float32():
    """The variance is taken about the mean, so nothing cancels."""
    x = (RANDOM.standard_normal((64, 5)) + 1e4).astype("float32")
    y = F.batch_norm(tg.tensor(x), None, None, training=True)
    wanted = x.astype(float) - x.mean(0, dtype=float)
    close(y, wanted / np.sqrt((wanted**2).mean(0) + 1e-5), 2e-3)
    close(y.double().var(0, correction=0), np.ones(5), 1e-4)


def test_float16_does_not_overflow():
    x = tg.tensor([[1000.0, -1000.0, 3000.0]], dtype="float16")
    assert F.layer_norm(x, 3).dtype == "float16"
    close(F.layer_norm(x, 3).float(), [[0.0, -1.2247, 1.2247]], 1e-3)
    close(F.rms_norm(x, 3).float(), [[0.522, -0.522, 1.5667]], 1e-3)
    wide, narrow = (x.to(d).requires_grad_() for d in ("float32", "float16"))
    for leaf in (wide, narrow):
        (
            F.layer_norm(leaf * 0.01, 3) ** 2 * tg.tensor([1, 2, 3], dtype=leaf.dtype)
        ).sum().backward()
    assert narrow.grad.dtype == "float16"
    close(narrow.grad.float(), wide.grad.numpy(), 2e-2)


# -- transformations ----------------------------------------------------------------------------
@pytest.mark.parametrize("name", SETTINGS)
def test_vmap(name):
    shape, own, call = SETTINGS[name]
    xs = tg.tensor(RANDOM.standard_normal((3, *shape)))
    w, b = (tg.tensor(RANDOM.standard_normal(own)) for _ in range(2))

    def slopes(x, w):
        by_x, by_w = tg.func.grad(lambda x, w: (call(x, w, b, 0.1) ** 3).sum(), (0, 1))(x, w)
        return tg.cat([by_x.flatten(), by_w.flatten()])

    for mapped in (lambda x, w: call(x, w, b, 0.1), slopes):
        close(tg.vmap(mapped, (0, None))(xs, w), tg.stack([mapped(x, w) for x in xs]).numpy())


def test_vmap_says_what_to_do_about_running_statistics():
    layer, xs = nn.BatchNorm1d(2), tg.randn(3, 4, 2)
    with pytest.raises(RuntimeError, match="track_running_stats=False"):
        tg.vmap(layer)(xs)
    close(tg.vmap(nn.BatchNorm1d(2, track_running_stats=False))(xs).mean(1), np.zeros((3, 2)), 1e-6)
    close(tg.vmap(layer.eval())(xs), xs / math.sqrt(1 + 1e-5), 1e-6)


def test_functional_call_moves_the_given_statistics():
    layer = nn.BatchNorm1d(2)
    given = {k: v.clone() for k, v in layer.named_buffers()}
    tg.func.functional_call(layer, given, tg.randn(4, 2))
    assert given["num_batches_tracked"].item() == 1 and given["running_mean"].tolist() != [0, 0]
    assert layer.num_batches_tracked.item() == 0 and layer.running_mean.tolist() == [0, 0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_have_statistics_of_their_own(copied):
    layer = nn.BatchNorm1d(2)
    layer(tg.randn(4, 2))
    other = copied(layer)
    assert other.running_mean.tolist() == layer.running_mean.tolist()
    other(tg.randn(4, 2))
    assert (layer.num_batches_tracked.item(), other.num_batches_tracked.item()) == (1, 2)


def test_to_dtype():
    layer = nn.BatchNorm1d(2).double()
    assert layer.running_mean.dtype == layer.weight.dtype == "float64"
    assert layer.num_batches_tracked.dtype == "int64"
    assert layer(tg.randn(4, 2, dtype="float64")).dtype == "float64"


# -- errors -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: nn.BatchNorm1d(3)(tg.zeros(3)), r"2D or 3D input \(got 1D input, of shape \(3,"),
        (lambda: nn.BatchNorm2d(3)(tg.zeros(2, 3)), r"expected 4D input \(got 2D"),
        (lambda: nn.BatchNorm1d(3)(tg.zeros(2, 4)), "running_mean should contain 4 .*has shape"),
        (lambda: F.batch_norm(tg.zeros(2, 4), None, None), "needs the running statistics"),
        (lambda: F.batch_norm(tg.zeros(2, 4), None, None, training=True, eps=0.0), "got 0.0"),
        (lambda: F.batch_norm(tg.zeros(4), None, None, training=True), r"\(N, C, \*\)"),
        (lambda: nn.BatchNorm1d(3, affine=False)(tg.zeros(2, 2)), "2 elements"),
        (lambda: nn.LayerNorm(3)(tg.zeros(2, 4)), r"normalized_shape=\[3\].*shape \(2, 4\)"),
        (lambda: F.layer_norm(tg.zeros(2, 4), ()), "at least one dimension"),
        (lambda: F.layer_norm(tg.zeros(2, 4), 4, tg.ones(1)), "weight must have the shape"),
        (lambda: nn.RMSNorm((2, 3))(tg.zeros(3)), r"\[2, 3\]"),
        (lambda: nn.GroupNorm(2, 3), r"num_channels \(3\).*num_groups \(2\)"),
        (lambda: nn.GroupNorm(2, 4)(tg.zeros(2, 3)), "divide the 3 channels"),
        (lambda: nn.InstanceNorm1d(3)(tg.zeros(4)), "2D or 3D"),
        (lambda: F.instance_norm(tg.zeros(4, 2)), r"\(N, C, \*\)"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_layers_refuse_what_is_no_tensor():
    for layer in (nn.BatchNorm1d(2), nn.InstanceNorm1d(2), nn.LayerNorm(2), nn.GroupNorm(1, 2)):
        with pytest.raises(TypeError, match="must be a tensor, not list"):
            layer([[1.0, 2.0], [3.0, 4.0]])


def test_lengths_of_the_normalized_shape():
    for one in (2, np.int64(2), [2], (2,)):
        assert nn.LayerNorm(one).normalized_shape == nn.RMSNorm(one).normalized_shape == (2,)
        assert F.layer_norm(tg.ones(3, 2), one).shape == (3, 2)
    for wrong in (2.0, "2", [2.0]):
        for call in (nn.LayerNorm, nn.RMSNorm, lambda shape: F.layer_norm(tg.ones(3, 2), shape)):
            with pytest.raises(TypeError, match="normalized_shape is an integer or several"):
                call(wrong)


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], tg.tensor([[1, 2], [3, 4]])])
def test_wrong_kinds_of_input(wrong):
    for call in (
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.layer_norm(x, 2),
        lambda x: F.group_norm(x, 1),
    ):
        with pytest.raises(TypeError, match=r"tg.tensor\(|\.float\(\)"):
            call(wrong)


@pytest.mark.parametrize("size", [1e20, 1e25, 1e30])
@pytest.mark.parametrize(
    "layer", [lambda: nn.LayerNorm(4), lambda: nn.RMSNorm(4), lambda: nn.GroupNorm(2, 4)]
)
def test_squares_that_overflow_single_precision(layer, size):
    rows = [[1.0, -1.0, 1.0, 0.0], [2.0, 0.5, -1.0, 3.0]]
    x = tg.tensor([[size * v for v in rows[0]], rows[1]], dtype="float32")
    with np.errstate(all="ignore"):
        y = layer()(x)
    exact = layer().double()(x.double())
    np.testing.assert_allclose(y.numpy(force=True), exact.numpy(force=True), rtol=1e-5)
