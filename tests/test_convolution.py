"""Convolution, transposed convolution and their layers: against torch (stored by
oracle/make_convolution.py), against the sum written out, derivatives, batches, edges, errors."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.ops import convolutions

DATA = json.loads((Path(__file__).parent / "data" / "convolution.json").read_text())


def named(case):
    return f"{case['function']} {case['settings']}"


def leaves(arrays):
    return [tg.tensor(np.array(a), requires_grad=True) for a in arrays]


def close(found, wanted):
    found, wanted = found.detach().numpy(), np.array(wanted, dtype=float)
    assert found.shape == wanted.shape
    size = np.abs(wanted).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10 * size)


@pytest.mark.parametrize("case", DATA["convolution"], ids=named)
def test_values_and_derivatives_are_torchs(case):
    xs = leaves(case["operands"])
    y = getattr(F, case["function"])(*xs, **case["settings"])
    close(y, case["value"])
    first = tg.grad((y**3).sum(), xs, create_graph=True)
    for ours, theirs in zip(first, case["gradients"], strict=True):
        close(ours, theirs)
    second = tg.grad(sum((g * g).sum() for g in first), xs)
    for ours, theirs in zip(second, case["second"], strict=True):
        close(ours, theirs)


def written_out(x, w, stride, padding, dilation, groups):
    """The definition, one element at a time."""
    (n, _, *lengths), (out, inner, *kernel) = x.shape, w.shape
    counts = [
        (m + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for m, k in zip(lengths, kernel)
    ]
    y = np.zeros((n, out, *counts))
    for i, o, c in itertools.product(range(n), range(out), range(inner)):
        for p in itertools.product(*map(range, counts)):
            for k in itertools.product(*map(range, kernel)):
                at = [a * stride + b * dilation - padding for a, b in zip(p, k)]
                if all(0 <= a < m for a, m in zip(at, lengths)):
                    channel = o // (out // groups) * inner + c
                    y[(i, o, *p)] += w[(o, c, *k)] * x[(i, channel, *at)]
    return y


RANDOM = np.random.default_rng(0)
SETTINGS = [
    ((2, 2, 7), (3, 2, 3), 1, 1, 1, 1),
    ((2, 4, 9), (6, 2, 2), 2, 2, 3, 2),
    ((3, 2, 5, 6), (4, 2, 3, 2), 1, 1, 1, 1),
    ((2, 3, 6, 5), (3, 1, 2, 3), 2, 1, 2, 3),
    ((2, 2, 4, 4), (3, 2, 1, 1), 1, 0, 1, 1),
    ((2, 2, 4, 4), (3, 2, 1, 1), 2, 1, 1, 1),
]


@pytest.mark.parametrize("block", [1, 300, 1500, 1 << 20])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_blocks_of_any_size_give_the_sum_written_out(setting, block, monkeypatch):
    """Images are computed several at once, one by one, or some rows at a time."""
    monkeypatch.setattr(convolutions, "BLOCK", block)
    shape, kernels, stride, padding, dilation, groups = setting
    x, w = RANDOM.standard_normal(shape), RANDOM.standard_normal(kernels)
    a, b = leaves([x, w])
    y = getattr(tg, f"conv{len(shape) - 2}d")(a, b, None, stride, padding, dilation, groups)
    np.testing.assert_allclose(
        y.detach().numpy(), written_out(x, w, stride, padding, dilation, groups), atol=1e-12
    )
    # the transposes: <y', conv(x', w)> = <grad, x'>, and the same for w
    g = RANDOM.standard_normal(y.shape)
    by_x, by_w = tg.grad(y, [a, b], tg.tensor(g))
    u, v = RANDOM.standard_normal(shape), RANDOM.standard_normal(kernels)
    for other, gradient, moved in (
        (u, by_x, written_out(u, w, stride, padding, dilation, groups)),
        (v, by_w, written_out(x, v, stride, padding, dilation, groups)),
    ):
        assert math.isclose(np.vdot(other, gradient.numpy()), np.vdot(g, moved), rel_tol=1e-9)


@pytest.mark.parametrize(
    "function, shape, kernels, settings",
    [
        ("conv1d", (2, 4, 6), (2, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
        ("conv2d", (2, 4, 3), (2, 2, 2, 2), {"padding": "same", "dilation": (1, 2)}),
        ("conv_transpose1d", (2, 2, 3), (2, 2, 2), {"stride": 2, "output_padding": 1}),
        ("conv_transpose2d", (1, 2, 2, 3), (2, 1, 2, 2), {"padding": 1, "dilation": 2}),
    ],
)
def test_derivatives_of_every_order(function, shape, kernels, settings):
    count = kernels[0] if function[4] != "_" else kernels[1]
    operands = [RANDOM.standard_normal(s) for s in (shape, kernels, (count,))]
    call = getattr(F, function)
    assert tg.check_grads(lambda *xs: call(*xs, **settings), operands, order=2)
    assert tg.check_grads(lambda *xs: call(*xs, **settings).tanh(), operands, order=2)


# -- transformations ----------------------------------------------------------------------------
def alone(function, in_dims, *operands):
    """What vmap gives, one example after the other."""
    count = next(x.shape[d] for x, d in zip(operands, in_dims) if d is not None)
    results = [
        function(*(x if d is None else x.movedim(d, 0)[i] for x, d in zip(operands, in_dims)))
        for i in range(count)
    ]
    return tg.stack(results)


@pytest.mark.parametrize("function", ["conv2d", "conv_transpose2d"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("in_dims", [(0, None), (None, 0), (0, 0), (2, 1)])
def test_vmap(function, groups, in_dims, monkeypatch):
    import tapegrad.batching

    monkeypatch.setattr(tapegrad.batching, "on_loop", lambda name: pytest.fail(f"{name} loops"))
    x, w = RANDOM.standard_normal((2, 4, 5, 4)), RANDOM.standard_normal((4, 4 // groups, 2, 3))
    if in_dims[0] is not None:
        x = np.moveaxis(np.stack([x, 2 * x, -x]), 0, in_dims[0])
    if in_dims[1] is not None:
        w = np.moveaxis(np.stack([w, w + 1, w * w]), 0, in_dims[1])
    x, w = tg.tensor(x), tg.tensor(w)

    def call(x, w):
        return getattr(F, function)(x, w, None, 2, 1, groups=groups)

    def gradients(x, w):
        by_x, by_w = tg.func.grad(lambda x, w: (call(x, w) ** 3).sum(), (0, 1))(x, w)
        return tg.cat([by_x.flatten(), by_w.flatten()])

    for mapped in (call, gradients):
        found = tg.vmap(mapped, in_dims)(x, w)
        close(found, alone(mapped, in_dims, x, w).numpy())


def test_gradients_of_each_example():
    x, w = (
        tg.tensor(RANDOM.standard_normal((5, 2, 6, 6))),
        tg.tensor(RANDOM.standard_normal((3, 2, 3, 3))),
    )

    def loss(w, image):
        return (tg.conv2d(image, w, padding=1) ** 2).sum()

    each = tg.vmap(tg.func.grad(loss), in_dims=(None, 0))(w, x)
    for i in range(5):
        close(each[i], tg.func.grad(loss)(w, x[i]).numpy())


def test_forward_mode_and_hessian():
    x, w = RANDOM.standard_normal((1, 2, 5)), RANDOM.standard_normal((2, 2, 2))
    dx, dw = RANDOM.standard_normal(x.shape), RANDOM.standard_normal(w.shape)
    x, w, dx, dw = map(tg.tensor, (x, w, dx, dw))
    _, moved = tg.func.jvp(lambda x, w: tg.conv1d(x, w, padding=1), (x, w), (dx, dw))
    close(moved, (tg.conv1d(dx, w, padding=1) + tg.conv1d(x, dw, padding=1)).numpy())

    def loss(w):
        return (tg.conv1d(x, w).tanh()).sum()

    close(tg.func.hessian(loss)(w), tg.func.jacrev(tg.func.jacrev(loss))(w).numpy())


# -- edges --------------------------------------------------------------------------------------
def test_dtype_stays():
    for dtype in ("float16", "float32", "float64"):
        x, w = tg.ones(1, 2, 4, 4, dtype=dtype), tg.ones(3, 2, 2, 2, dtype=dtype)
        w.requires_grad_()
        y = tg.conv2d(x, w, padding=1)
        assert y.dtype == dtype and tg.grad(y.sum(), w)[0].dtype == dtype
        assert tg.conv2d(x, w).detach().unique().tolist() == [8.0]


def test_no_examples_and_no_channels():
    w = tg.ones(4, 3, 3, 3, requires_grad=True)
    y = tg.conv2d(tg.ones(0, 3, 8, 8), w, tg.ones(4))
    assert y.shape == (0, 4, 6, 6)
    assert tg.grad(y.sum(), w)[0].abs().sum().item() == 0.0
    assert tg.conv_transpose2d(tg.ones(0, 4, 2, 2), w).shape == (0, 3, 4, 4)
    # a sum over nothing is 0
    y = tg.conv2d(tg.ones(2, 0, 8, 8), tg.ones(4, 0, 3, 3), tg.ones(4))
    assert y.shape == (2, 4, 6, 6) and y.unique().tolist() == [1.0]
    assert tg.conv2d(tg.ones(2, 3, 8, 8), tg.ones(0, 3, 3, 3)).shape == (2, 0, 6, 6)


def test_views_and_broadcast_operands():
    x, w = RANDOM.standard_normal((6, 5, 3, 2)), RANDOM.standard_normal((3, 3, 2, 4))
    turned = np.transpose(x, (3, 2, 1, 0))
    kernels = np.transpose(w, (3, 1, 2, 0))
    a, b = leaves([x, w])
    y = tg.conv2d(a.permute(3, 2, 1, 0), b.permute(3, 1, 2, 0), padding=1)
    c, d = leaves([turned.copy(), kernels.copy()])
    z = tg.conv2d(c, d, padding=1)
    close(y, z.detach().numpy())
    for ours, wanted, axes in zip(
        tg.grad(y.sum(), [a, b]), tg.grad(z.sum(), [c, d]), ((3, 2, 1, 0), (3, 1, 2, 0))
    ):
        close(ours.permute(*axes), wanted.numpy())
    close(
        tg.conv2d(tg.ones(1, 1, 1, 1, dtype="float64").expand(2, 3, 4, 4), d[:, :, :1, :1]),
        np.broadcast_to(kernels[:, :, 0, 0].sum(1)[:, None, None], (2, 4, 4, 4)),
    )


def test_one_example_is_a_batch_without_its_dimension():
    x, w = (
        tg.tensor(RANDOM.standard_normal((2, 5, 4))),
        tg.tensor(RANDOM.standard_normal((2, 2, 2, 2))),
    )
    close(tg.conv2d(x, w), tg.conv2d(x[None], w)[0].numpy())
    close(tg.conv_transpose2d(x, w), tg.conv_transpose2d(x[None], w)[0].numpy())


def test_same_keeps_the_length():
    x = tg.tensor([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    for k, dilation in itertools.product(range(1, 6), (1, 2)):
        w = tg.arange(1.0, k + 1).reshape(1, 1, k)
        assert tg.conv1d(x, w, padding="same", dilation=dilation).shape == x.shape
    # an even kernel reaches further to the right, as torch's
    assert tg.conv1d(x, tg.tensor([[[1.0, 2.0]]]), padding="same").tolist() == [[0, 2, 1, 0, 0, 0]]


def test_memory_is_in_blocks():
    import tracemalloc

    x, w = tg.ones(1, 8, 256, 256), tg.ones(8, 8, 5, 5)  # as columns 52 MB, in float32
    tracemalloc.start()
    tg.conv2d(x, w, padding=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6  # of which the result has 2.1


X2, W2 = tg.ones(2, 4, 5, 5), tg.ones(6, 4, 3, 3)
WRONG = [
    (lambda: F.conv2d(tg.ones(2, 3, 5, 5), W2), r"\(2, 3, 5, 5\) has 3 channels.* takes 4"),
    (lambda: F.conv2d(X2, W2, groups=2), r"groups=2 takes 8"),
    (lambda: F.conv2d(X2, tg.ones(3, 2, 3, 3), groups=2), "3 channels, which do not fall into 2"),
    (lambda: F.conv2d(X2, W2, groups=0), "groups must be at least 1"),
    (
        lambda: F.conv2d(X2, tg.ones(6, 4, 6, 3)),
        r"kernel \(6, 3\).* larger than the input \(5, 5\)",
    ),
    (lambda: F.conv2d(X2, W2, dilation=3), "larger than the input"),
    (lambda: F.conv2d(tg.ones(5, 5), W2), r"\(N, C, H, W\) or \(C, H, W\), got shape \(5, 5\)"),
    (lambda: F.conv1d(X2, tg.ones(6, 4, 3)), r"\(N, C, L\) or \(C, L\)"),
    (lambda: F.conv1d(X2[0], W2), r"\(out, in/groups, k\), not \(6, 4, 3, 3\)"),
    (lambda: F.conv2d(X2, tg.ones(6, 4, 0, 3)), "no elements"),
    (lambda: F.conv2d(tg.ones(2, 4, 0, 5), W2, padding=2), "no elements along"),
    (lambda: F.conv2d(X2, W2, tg.ones(5)), r"bias must have shape \(6,\).*not \(5,\)"),
    (lambda: F.conv2d(X2, W2, stride=0), "stride must be at least 1"),
    (lambda: F.conv2d(X2, W2, padding=-1), "padding must be at least 0"),
    (lambda: F.conv2d(X2, W2, stride=(1, 1, 1)), "stride must be an int or a tuple of 2"),
    (lambda: F.conv2d(X2, W2, padding="same", stride=2), "padding='same' keeps the length"),
    (lambda: F.conv2d(X2, W2, padding="full"), "'same' or 'valid', not 'full'"),
    (lambda: F.conv_transpose2d(X2, W2), "has 4 channels.* takes 6"),
    (lambda: F.conv_transpose2d(X2, tg.ones(4, 2, 3, 3), groups=3), "into 3 equal groups"),
    (lambda: F.conv_transpose2d(X2, tg.ones(4, 2, 3, 3), padding=4), "leaves nothing"),
    (lambda: F.conv_transpose2d(X2, tg.ones(4, 2, 3, 3), output_padding=1), "must be smaller"),
    (lambda: tg.nn.Conv2d(3, 4, 3, groups=2), "groups=2, in_channels=3"),
    (lambda: tg.nn.Conv2d(3, 4, 3, padding="same", stride=2), "needs stride=1"),
    (lambda: tg.nn.Conv2d(3, 4, 3, padding="full"), "same or valid, not 'full'"),
    (lambda: tg.nn.Conv2d(3, 4, 3, padding_mode="mirror"), "'reflect'"),
    (lambda: tg.nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), "only be 'zeros'"),
    (
        lambda: tg.nn.ConvTranspose1d(1, 1, 3, stride=2)(tg.ones(1, 1, 4), output_size=(11,)),
        r"\(11,\) is not between \(9,\) and \(10,\)",
    ),
]


@pytest.mark.parametrize("call, says", WRONG)
def test_errors_say_what_is_wrong(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_sizes_that_are_no_ints():
    with pytest.raises(TypeError, match="stride must be an int"):
        F.conv2d(X2, W2, stride=1.5)
    with pytest.raises(TypeError, match="not list"):
        F.conv1d([[1.0]], W2)


# -- layers -------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", DATA["layers"], ids=lambda c: c["layer"])
def test_layers_load_torchs_state(case):
    layer = eval(f"tg.nn.{case['layer'][:-1]}, dtype='float64')", {"tg": tg})
    assert repr(layer) == case["repr"]
    layer.load_state_dict({k: tg.tensor(np.array(v)) for k, v in case["state"].items()})
    (x,) = leaves(case["operands"])
    y = layer(x)
    close(y, case["value"])
    gradients = tg.grad((y**3).sum(), [x, *layer.parameters()])
    for ours, theirs in zip(gradients, case["gradients"], strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("text, shown", DATA["reprs"].items())
def test_reprs_are_torchs(text, shown):
    assert repr(eval(f"tg.nn.{text}", {"tg": tg})) == shown


def test_initial_values_are_within_torchs_bounds():
    tg.manual_seed(0)
    for layer, fan in (
        (tg.nn.Conv2d(8, 64, 3, groups=2), 4 * 9),
        (tg.nn.ConvTranspose1d(8, 64, 5), 64 * 5),
    ):
        for parameter in (layer.weight, layer.bias):
            largest = parameter.detach().abs().max().item() * math.sqrt(fan)
            assert 0.9 < largest <= 1.0
    assert tg.nn.Conv2d(2, 3, 3, bias=False).bias is None


def test_unfold_and_fold_as_layers():
    x = tg.tensor(RANDOM.standard_normal((2, 3, 5, 4)))
    columns = tg.nn.Unfold(2, padding=1)(x)
    w = tg.tensor(RANDOM.standard_normal((4, 3, 2, 2)))
    product = (w.reshape(4, 12) @ columns).reshape(2, 4, 6, 5)
    close(product, tg.conv2d(x, w, padding=1).numpy())
    counts = tg.nn.Fold((5, 4), 2, padding=1)(tg.ones_like(columns))
    close(tg.nn.Fold((5, 4), 2, padding=1)(columns), (x * counts).numpy())
