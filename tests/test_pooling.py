"""Pooling, padding layers and resizing: against torch (stored by oracle/make_convolution.py), ties,
NaN and infinities, derivatives, batches, errors."""

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F

DATA = json.loads((Path(__file__).parent / "data" / "convolution.json").read_text())
RANDOM = np.random.default_rng(0)


def close(found, wanted):
    found, wanted = found.detach().numpy(), np.array(wanted, dtype=float)
    assert found.shape == wanted.shape
    finite = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10 * finite)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("case", DATA["pooling"], ids=lambda c: f"{c['function']} {c['settings']}")
def test_values_and_derivatives_are_torchs(case):
    x = tg.tensor(np.array(case["operands"][0]), requires_grad=True)
    y = getattr(F, case["function"])(x, **case["settings"])
    if case["indices"] is not None:
        y, indices = y
        assert indices.dtype == "int64" and indices.tolist() == case["indices"]
    close(y, case["value"])
    (first,) = tg.grad((y**3).sum(), x, create_graph=True)
    close(first, case["gradients"][0])
    close(tg.grad((first * first).sum(), x)[0], case["second"][0])


def distinct(*shape):
    """Numbers without ties, half a unit or more apart."""
    return RANDOM.permutation(np.prod(shape)).reshape(shape) / 2.0


CALLS = [
    (lambda x: F.max_pool1d(x, 2, padding=1), (2, 3, 5)),
    (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), (2, 5, 6)),
    (lambda x: F.max_pool2d(x, 2, dilation=2), (1, 2, 5, 4)),
    (lambda x: F.max_pool2d(x, 5, 2, 2), (1, 7, 8)),
    (lambda x: F.avg_pool1d(x, 3, 2, 1, count_include_pad=False), (2, 3, 6)),
    (lambda x: F.avg_pool2d(x, (2, 3), ceil_mode=True), (1, 2, 5, 5)),
    (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (2, 5, 4)),
    (lambda x: F.adaptive_max_pool2d(x, (2, 3)), (2, 5, 4)),
    (lambda x: F.adaptive_max_pool1d(x, 5), (2, 1, 3)),
    (lambda x: F.interpolate(x, size=(5, 3)), (1, 2, 3, 4)),
]


@pytest.mark.parametrize("call, shape", CALLS)
def test_derivatives_of_every_order(call, shape):
    x = distinct(*shape)
    assert tg.check_grads(call, [x], order=2)
    assert tg.check_grads(lambda x: call(x).tanh(), [x / 10], order=2)


@pytest.mark.parametrize("call, shape", CALLS)
def test_vmap(call, shape, monkeypatch):
    import tapegrad.batching

    monkeypatch.setattr(tapegrad.batching, "on_loop", lambda name: pytest.fail(f"{name} loops"))
    xs = tg.tensor(distinct(*shape, 3))

    def gradient(x):
        return tg.func.grad(lambda x: (call(x) ** 3).sum())(x)

    for mapped in (call, gradient):
        each = tg.stack([mapped(xs[..., i]) for i in range(3)])
        close(tg.vmap(mapped, in_dims=-1)(xs), each.numpy())


def test_vmap_of_indices():
    xs = tg.tensor(distinct(3, 2, 4, 6))
    for call in (
        lambda x: F.max_pool2d(x, 2, return_indices=True)[1],
        lambda x: F.adaptive_max_pool2d(x, (3, 4), return_indices=True)[1],
    ):
        assert tg.vmap(call)(xs).tolist() == call(xs).tolist()


def test_the_first_of_equal_elements_gets_the_gradient():
    for size, call in (
        (4, lambda x: F.max_pool2d(x, 2)),
        (4, lambda x: F.adaptive_max_pool2d(x, 2)),
        (10, lambda x: F.max_pool2d(x, 5)),  # in two passes
    ):
        x = tg.ones(1, size, size, requires_grad=True)
        call(x).sum().backward()
        wanted = np.zeros((1, size, size))
        wanted[:, :: size // 2, :: size // 2] = 1.0
        assert x.grad.tolist() == wanted.tolist()


@pytest.mark.parametrize("k", [2, 3, 5])
def test_passes_agree_on_ties_and_nan(k):
    """Of equal elements the first, of NaN the last: as one scan of the window in order finds."""
    x = RANDOM.integers(-2, 2, (3, 12, 12)).astype(float)
    x[RANDOM.random(x.shape) < 0.03] = np.nan
    x[0, :k, :k] = -np.inf
    y, at = F.max_pool2d(tg.tensor(x), k, stride=2, return_indices=True)
    for c, i, j in np.ndindex(y.shape):
        best, where = -np.inf, 2 * i * 12 + 2 * j
        for a in range(2 * i, 2 * i + k):
            for b in range(2 * j, 2 * j + k):
                if x[c, a, b] > best or np.isnan(x[c, a, b]):
                    best, where = x[c, a, b], a * 12 + b
        assert np.array_equal(y[c, i, j].item(), best, equal_nan=True)
        assert at[c, i, j].item() == where


def test_padding_never_counts():
    low = tg.full((1, 1, 2, 2), -np.inf)
    y, at = F.max_pool2d(low, 2, padding=1, return_indices=True)
    assert y.unique().tolist() == [-np.inf] and at.tolist() == [[[[0, 1], [2, 3]]]]
    assert F.max_pool2d(tg.full((1, 1, 2, 2), -5.0), 2, padding=1).unique().tolist() == [-5.0]
    least = np.iinfo(np.int64).min
    assert F.max_pool2d(tg.full((1, 1, 2, 2), least), 2, padding=1).unique().tolist() == [least]
    assert F.max_pool1d(tg.tensor([[3, 1, 2]]), 2, padding=1).tolist() == [[3, 2]]


def test_an_infinity_reaches_its_own_windows_only():
    x = tg.tensor([[1.0, np.inf, 2.0, 3.0, 4.0]], requires_grad=True)
    assert F.avg_pool1d(x, 2, 1).tolist() == [[np.inf, np.inf, 2.5, 3.5]]
    assert F.adaptive_avg_pool1d(x, 3).tolist() == [[np.inf, np.inf, 3.5]]
    y = F.max_pool1d(x, 2, 1)
    (g,) = tg.grad(y, x, tg.tensor([[1.0, np.inf, 1.0, 1.0]]))
    assert g.tolist() == [[0.0, np.inf, 0.0, 1.0, 1.0]]


def test_shapes_and_dtypes():
    for dtype in ("float16", "float32", "float64"):
        x = tg.ones(2, 3, 5, 7, dtype=dtype, requires_grad=True)
        for y in (
            F.max_pool2d(x, 2),
            F.avg_pool2d(x, 2, padding=1),
            F.adaptive_avg_pool2d(x, 2),
            F.adaptive_max_pool2d(x, (None, 2)),
        ):
            assert y.dtype == dtype and tg.grad(y.sum(), x)[0].dtype == dtype
    assert F.adaptive_max_pool2d(x, (None, 2)).shape == (2, 3, 5, 2)
    for y in (
        F.max_pool2d(x[:0], 2, return_indices=True)[1],
        F.avg_pool2d(x[:0], 2),
        F.adaptive_avg_pool2d(x[:0], (2, 3)),
        F.max_pool2d(x[:, :0], 2),
    ):
        assert y.numel() == 0 and y.shape[-2:] == (2, 3)
    assert F.adaptive_avg_pool2d(x, 0).shape == (2, 3, 0, 0)
    (g,) = tg.grad(F.max_pool2d(x[:0], 2).sum(), x)
    assert g.abs().sum().item() == 0.0
    turned = x.detach().permute(0, 1, 3, 2)
    assert F.max_pool2d(turned, (3, 2)).shape == (2, 3, 2, 2)


def test_resizing():
    x = tg.tensor([[[1.0, 2.0, 3.0]]])
    assert F.interpolate(x, 5).tolist() == [[[1, 1, 2, 2, 3]]]
    assert F.interpolate(x, 2).tolist() == [[[1, 2]]]
    assert F.interpolate(x, scale_factor=2.5).tolist() == [[[1, 1, 1, 2, 2, 3, 3]]]
    assert tg.nn.Upsample(scale_factor=(2, 1))(tg.zeros(1, 1, 2, 3)).shape == (1, 1, 4, 3)


X = tg.ones(2, 3, 5, 5)
WRONG = [
    (lambda: F.max_pool2d(tg.ones(5, 5), 2), ValueError, r"got shape \(5, 5\)"),
    (lambda: F.max_pool2d(X, 6), ValueError, r"kernel_size \(6, 6\).* does not fit .*\(5, 5\)"),
    (lambda: F.max_pool2d(X, 2, padding=2), ValueError, "padding 2 is more than half"),
    (lambda: F.avg_pool2d(X, 2, padding=2), ValueError, "nothing but padding"),
    (lambda: F.max_pool2d(X, 2, 0), ValueError, "stride must be at least 1"),
    (lambda: F.max_pool2d(X, 0), ValueError, "kernel_size must be at least 1"),
    (lambda: F.max_pool2d(X, (2, 2, 2)), ValueError, "tuple of 2 ints"),
    (lambda: F.max_pool2d(X[:, :, :0], 1), ValueError, "no elements along H and W"),
    (
        lambda: F.max_pool1d(tg.ones(1, 1), 2, 3, 1, 2, True),
        ValueError,
        "lies outside of the input",
    ),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), ValueError, "must not be 0"),
    (lambda: F.avg_pool2d(X.long(), 2), TypeError, "make the input floating"),
    (lambda: F.adaptive_avg_pool2d(X, -1), ValueError, "output_size must be at least 0"),
    (lambda: F.adaptive_avg_pool1d(X[0], (2, 2)), ValueError, "tuple of 1 ints"),
    (lambda: F.interpolate(X, 2, 2), ValueError, "either size or scale_factor"),
    (lambda: F.interpolate(X, mode="cubic", size=2), NotImplementedError, "only 'nearest'"),
    (lambda: F.interpolate(X, scale_factor=0.1), ValueError, "leaves nothing"),
]


@pytest.mark.parametrize("call, kind, says", WRONG)
def test_errors_say_what_is_wrong(call, kind, says):
    with pytest.raises(kind, match=says):
        call()


def test_layers_are_their_functions():
    x = tg.tensor(distinct(2, 3, 6, 8))
    for layer, wanted in (
        (tg.nn.MaxPool2d(3, 2, 1, ceil_mode=True), F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
        (tg.nn.AvgPool2d(3, 2, 1, False, False), F.avg_pool2d(x, 3, 2, 1, False, False)),
        (tg.nn.AdaptiveAvgPool2d((None, 3)), F.adaptive_avg_pool2d(x, (None, 3))),
        (tg.nn.AdaptiveMaxPool2d(4), F.adaptive_max_pool2d(x, 4)),
        (tg.nn.ReflectionPad2d((1, 2, 3, 0)), F.pad(x, (1, 2, 3, 0), "reflect")),
        (tg.nn.ReplicationPad2d(2), F.pad(x, (2, 2, 2, 2), "replicate")),
        (tg.nn.CircularPad2d(2), F.pad(x, (2, 2, 2, 2), "circular")),
        (tg.nn.ConstantPad2d(1, 7.0), F.pad(x, (1, 1, 1, 1), value=7.0)),
        (tg.nn.ZeroPad2d((0, -1, 0, -2)), x[:, :, :-2, :-1]),
    ):
        close(layer(x), wanted.numpy())
    y, at = tg.nn.MaxPool1d(2, return_indices=True)(x[0])
    assert y.shape == at.shape == (3, 6, 4)
    close(tg.nn.AvgPool1d(2)(x[0]), F.avg_pool1d(x[0], 2).numpy())
    assert not list(tg.nn.MaxPool2d(2).parameters())


@pytest.mark.parametrize(
    ("mode", "widths", "expected"),  # PyTorch's numbers
    [
        ("replicate", (-1, -1), [1, 2, 3]),
        ("replicate", (1, -1), [0, 0, 1, 2, 3]),
        ("replicate", (-2, 1), [2, 3, 4, 4]),
        ("reflect", (-2, 1), [2, 3, 4, 3]),
        ("circular", (1, -1), [3, 0, 1, 2, 3]),
        ("circular", (2, -1), [2, 3, 0, 1, 2, 3]),
        ("circular", (-1, 2), [1, 2, 3, 4, 1, 2]),
    ],
)
def test_negative_widths_of_every_mode_cut_off(mode, widths, expected):
    assert tg.pad(tg.arange(5), widths, mode).tolist() == expected


def test_what_cannot_be_padded_says_so():
    with pytest.raises(RuntimeError, match="circular width 3 is too large"):
        tg.pad(tg.arange(5), (3, -3), "circular")
    with pytest.raises(RuntimeError, match="replicate width 1 is too large"):
        tg.pad(tg.zeros(0), (1, 0), "replicate")
