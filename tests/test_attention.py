"""Attention, and all stored cases of attention and Transformers (oracle/make_attention.py): against
torch, against loops, derivatives, batches, edges, errors."""

import copy
import json
import math
import pickle
from math import inf
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

DATA = json.loads((Path(__file__).parent / "data" / "attention.json").read_text())
RANDOM = np.random.default_rng(0)


def numbers(shape, seed):
    """Numbers in [-1, 1] by the rule of the oracle."""
    i = np.arange(math.prod(shape))
    found = ((i + 1) * 7919 + (i * i + seed) * 104729 + i * seed * 31) % 401
    return tg.tensor((found / 200.0 - 1.0).reshape(shape))


def tensors(settings):
    return {k: tg.tensor(np.array(v)) if isinstance(v, list) else v for k, v in settings.items()}


def close(found, wanted):
    if wanted is None:  # torch saw no way from it to the loss: ours may be zeros
        assert found is None or not found.any()
        return
    found, wanted = found.detach().numpy(), np.array(wanted, dtype=float)
    assert found.shape == wanted.shape
    size = np.abs(wanted).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * size)


def agree(case, outputs, leaves, inputs):
    """Outputs, gradients and gradients of gradients are torch's."""
    for ours, theirs in zip(outputs, case["outputs"], strict=True):
        close(ours, theirs)
    loss = sum((y**3).sum() for y in outputs)
    first = tg.grad(loss, list(leaves.values()), create_graph=True, allow_unused=True)
    for name, gradient in zip(leaves, first, strict=True):
        close(gradient, case["gradients"][name])
    second = tg.grad(sum((g * g).sum() for g in first if g is not None), inputs, allow_unused=True)
    for ours, theirs in zip(second, case["second"], strict=True):
        close(ours, theirs)


def replay_function(case):
    operands = [numbers(s, i).requires_grad_() for i, s in enumerate(case["shapes"])]
    given = tensors(case["settings"])
    leaves = dict(zip(("query", "key", "value"), operands, strict=True))
    if "attn_mask" in given and given["attn_mask"].is_floating_point():
        leaves["attn_mask"] = given["attn_mask"].requires_grad_()
    agree(case, [F.scaled_dot_product_attention(*operands, **given)], leaves, operands)


def replay_module(case):
    module = eval(case["module"], {"nn": nn, "torch": tg}).double()
    shapes = {name: list(p.shape) for name, p in module.named_parameters()}
    assert shapes == case["parameters"] and list(shapes) == list(case["parameters"])
    module.load_state_dict({n: numbers(s, i + 10) for i, (n, s) in enumerate(shapes.items())})
    inputs = {n: numbers(s, i).requires_grad_() for i, (n, s) in enumerate(case["inputs"].items())}
    leaves = inputs | dict(module.named_parameters())
    given = dict(inputs)
    if "query" in given:
        given["key"] = given.get("key", given["query"])
        given["value"] = given.get("value", given["key"])
    found = module(**given, **tensors(case["settings"]))
    outputs = [y for y in (found if isinstance(found, tuple) else (found,)) if y is not None]
    agree(case, outputs, leaves, list(inputs.values()))


@pytest.mark.parametrize("case", DATA["dot_product"], ids=lambda c: str(c["shapes"]))
def test_dot_products_are_torchs(case):
    replay_function(case)


@pytest.mark.parametrize(
    "case",
    [case for kind in ("attention", "encoder", "decoder", "whole") for case in DATA[kind]],
    ids=lambda c: c["module"].removeprefix("nn."),
)
def test_modules_are_torchs(case):
    replay_module(case)


@pytest.mark.parametrize("text", DATA["reprs"])
def test_reprs_are_torchs(text):
    assert repr(eval(text)) == DATA["reprs"][text]


def draw(*shape, dtype="float64"):
    return tg.tensor(RANDOM.standard_normal(shape), dtype=dtype)


def written_out(q, k, v, scale, hidden):
    """The definition, one query at a time."""
    y = np.zeros((q.shape[0], v.shape[1]))
    for i, query in enumerate(q):
        scores = [math.exp(scale * sum(query * key)) for key in k]
        shares = [0.0 if hide else s for s, hide in zip(scores, hidden[i])]
        for share, value in zip(shares, v):
            y[i] += share / (sum(shares) or 1.0) * value
    return y


@pytest.mark.parametrize("is_causal", [False, True])
def test_the_sum_written_out(is_causal):
    q, k, v = RANDOM.standard_normal((4, 3)), RANDOM.standard_normal((5, 3)), RANDOM.random((5, 2))
    hidden = np.triu(np.ones((4, 5)), 1) > 0 if is_causal else RANDOM.random((4, 5)) < 0.4
    mask = {"is_causal": True} if is_causal else {"attn_mask": tg.tensor(~hidden)}
    y = F.scaled_dot_product_attention(tg.tensor(q), tg.tensor(k), tg.tensor(v), **mask)
    np.testing.assert_allclose(y.numpy(), written_out(q, k, v, 3**-0.5, hidden), atol=1e-12)


def test_the_causal_mask_is_a_mask():
    q, k, v = draw(2, 2, 4, 3), draw(2, 2, 4, 3), draw(2, 2, 4, 3)
    causal = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    mask = nn.Transformer.generate_square_subsequent_mask(4, dtype="float64")
    assert tg.allclose(causal, F.scaled_dot_product_attention(q, k, v, mask))
    assert tg.allclose(causal, F.scaled_dot_product_attention(q, k, v, mask == 0))
    assert tg.allclose(causal[..., 0, :], v[..., 0, :])


def test_derivatives_of_every_order():
    q, k, v, mask = draw(2, 2, 3), draw(2, 3, 3), draw(2, 3, 2), draw(2, 3)
    scale = tg.tensor(0.7, dtype="float64")

    def call(q, k, v, mask, scale):
        return F.scaled_dot_product_attention(q, k, v, mask, scale=scale)

    assert tg.check_grads(call, [q, k, v, mask, scale], order=2)
    keep = tg.tensor([[True, False, True], [False, False, False]])
    assert tg.check_grads(lambda *x: F.scaled_dot_product_attention(*x, keep), [q, k, v], order=2)


@pytest.mark.parametrize(
    "settings", [{}, {"add_bias_kv": True, "add_zero_attn": True}, {"kdim": 3, "vdim": 1}]
)
def test_derivatives_by_every_parameter(settings):
    layer = nn.MultiheadAttention(2, 2, batch_first=True, **settings).double()
    state = {n: draw(*p.shape) for n, p in layer.named_parameters()}
    operands = [draw(1, 2, 2), draw(1, 2, layer.kdim), draw(1, 2, layer.vdim)]

    def call(query, key, value, **state):
        return tg.func.functional_call(layer, state, (query, key, value))

    assert tg.check_grads(call, dict(zip(("query", "key", "value"), operands)) | state, order=2)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_query_that_may_look_nowhere_gets_zeros(dtype):
    q, k, v = (draw(2, 3, 4, dtype=dtype).requires_grad_() for _ in range(3))
    keep = tg.tensor([[True] * 3, [False] * 3, [True] * 3])
    for mask in (keep, tg.where(keep, tg.zeros((), dtype=dtype), -inf)):
        y = F.scaled_dot_product_attention(q, k, v, mask)
        assert y.dtype == dtype and not y[:, 1].any() and y[:, 0].all()
        for gradient in tg.grad(y.sum(), [q, k, v]):
            assert gradient.isfinite().all()
    x = draw(3, 2, 4, dtype=dtype)
    layer = nn.MultiheadAttention(4, 2).to(dtype)
    y, weights = layer(x, x, x, attn_mask=~keep)
    assert y.dtype == weights.dtype == dtype
    assert not y[1].any() and not weights[:, 1].any()  # the bias of out_proj starts as zeros
    y, weights = layer(x, x, x, key_padding_mask=tg.ones(2, 3, dtype=bool))
    assert not y.any() and not weights.any()


def test_large_scores():
    q = tg.tensor([[1e4, 0.0]])
    k, v = tg.tensor([[1e4, 0.0], [-1e4, 0.0]]), tg.tensor([[1.0], [2.0]])
    assert F.scaled_dot_product_attention(q, k, v).tolist() == [[1.0]]
    big = tg.full((1, 2), 200.0, dtype="float16")  # q·kᵀ passes what float16 holds, scaled it fits
    assert F.scaled_dot_product_attention(big, big, big).isfinite().all()


def test_empty():
    for n, length, source in ((0, 2, 3), (2, 0, 3), (2, 2, 0)):
        q, k, v = draw(n, length, 4), draw(n, source, 4), draw(n, source, 3)
        y = F.scaled_dot_product_attention(q, k, v)
        assert y.shape == (n, length, 3)
        assert source or not y.any()
        layer = nn.MultiheadAttention(4, 2, vdim=3, batch_first=True).double()
        y, weights = layer(q, k, v)
        assert y.shape == (n, length, 4) and weights.shape == (n, length, source)
    none = tg.ones(2, 0), tg.ones(3, 0), tg.tensor([[1.0], [2.0], [3.0]])
    assert F.scaled_dot_product_attention(*none).tolist() == [[2.0], [2.0]]


def test_dropout():
    tg.manual_seed(0)
    q, k, v = draw(50, 8, 4), draw(50, 6, 4), tg.eye(6, dtype="float64").expand(50, 6, 6)
    plain = F.scaled_dot_product_attention(q, k, v)
    dropped = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25)
    kept = dropped != 0  # the values are the unit vectors, so these are the weights
    assert 0.72 < kept.double().mean() < 0.78
    assert tg.allclose(dropped[kept], plain[kept] / 0.75)
    assert not F.scaled_dot_product_attention(q, k, v, dropout_p=1.0).any()
    with pytest.raises(ValueError, match=r"1\.5"):
        F.scaled_dot_product_attention(q, k, v, dropout_p=1.5)
    layer = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True).double()
    _, weights = layer(q, q, q, average_attn_weights=False)
    assert 0.45 < (weights == 0).double().mean() < 0.55
    _, weights = layer.eval()(q, q, q)
    assert weights.all() and tg.allclose(weights.sum(-1), tg.ones(50, 8, dtype="float64"))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
def test_ways_to_call_agree(batch_first, need_weights):
    layer = nn.MultiheadAttention(6, 3, batch_first=batch_first).double()
    x = draw(2, 4, 6) if batch_first else draw(4, 2, 6)
    keys, mask = tg.tensor([[False, True, False, False], [False] * 4]), draw(4, 4)
    settings = {"need_weights": need_weights, "attn_mask": mask}
    together, weights = layer(x, x, x, key_padding_mask=keys, **settings)
    apart, _ = layer(x, x.clone(), x.clone(), key_padding_mask=keys, **settings)
    assert tg.allclose(together, apart)
    at = 0 if batch_first else 1
    for i in range(2):
        one = x.select(at, i)
        y, shares = layer(one, one, one, key_padding_mask=keys[i], **settings)
        assert tg.allclose(y, together.select(at, i))
        assert tg.allclose(shares, weights[i]) if need_weights else shares is None
    every = mask.expand(2 * 3, 4, 4)
    assert tg.allclose(
        together,
        layer(x, x, x, key_padding_mask=keys, attn_mask=every, need_weights=need_weights)[0],
    )


def test_given_keys_and_values():
    x, w, every = draw(3, 2, 4), draw(4, 4), draw(12, 4)
    given = (4, 2, every, None, None, None, False, 0.0, w, None)
    fixed = draw(4, 5, 2), draw(4, 5, 2)
    y, _ = F.multi_head_attention_forward(x, x, x, *given, static_k=fixed[0], static_v=fixed[1])
    q = (x @ every[:4].T).reshape(3, 4, 2).transpose(0, 1)
    heads = F.scaled_dot_product_attention(q, *fixed)
    assert tg.allclose(y, heads.transpose(0, 1).reshape(3, 2, 4) @ w.T)
    own = [(x @ part.T).reshape(3, 4, 2).transpose(0, 1) for part in every.split(4)]
    y, _ = F.multi_head_attention_forward(x, x, x, *given)
    for one in ({"static_k": own[1]}, {"static_v": own[2]}):
        assert tg.allclose(y, F.multi_head_attention_forward(x, x, x, *given, **one)[0])


def test_initial_values():
    tg.manual_seed(0)
    layer = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    assert not layer.in_proj_bias.any() and not layer.out_proj.bias.any()
    bound = math.sqrt(6 / (4 * 64))
    assert 0.99 * bound < layer.in_proj_weight.abs().max() <= bound
    assert 0.99 / 8 < layer.out_proj.weight.abs().max() <= 1 / 8
    assert layer.bias_k.std().item() == pytest.approx(1 / 8, rel=0.3)
    apart = nn.MultiheadAttention(64, 4, kdim=32, bias=False)
    bound = math.sqrt(6 / (64 + 32))
    assert 0.99 * bound < apart.k_proj_weight.abs().max() <= bound
    assert apart.in_proj_bias is None and apart.in_proj_weight is None
    assert apart.out_proj.bias is None


# -- transformations ----------------------------------------------------------------------------
def test_vmap_and_jvp():
    layer = nn.MultiheadAttention(4, 2).double()
    x, mask = draw(3, 5, 4), draw(3, 5, 5)
    each = tg.func.vmap(lambda x, m: layer(x, x, x, attn_mask=m)[0])(x, mask)
    assert tg.allclose(each, tg.stack([layer(a, a, a, attn_mask=m)[0] for a, m in zip(x, mask)]))
    q, k, v = draw(3, 2, 4), draw(5, 4), draw(3, 5, 2)
    found = tg.func.vmap(F.scaled_dot_product_attention, in_dims=(0, None, 0))(q, k, v)
    assert tg.allclose(found, F.scaled_dot_product_attention(q, k, v))
    states = {n: tg.stack([p, 2 * p]) for n, p in layer.named_parameters()}
    pair = tg.func.vmap(lambda state: tg.func.functional_call(layer, state, (x[0], x[0], x[0]))[0])(
        states
    )
    assert tg.allclose(pair[0], layer(x[0], x[0], x[0])[0])
    y, moved = tg.func.jvp(lambda x: layer(x, x, x)[0], (x,), (tg.ones_like(x),))
    h = 1e-6
    near = (layer(x + h, x + h, x + h)[0] - layer(x - h, x - h, x - h)[0]) / (2 * h)
    assert tg.allclose(moved, near, atol=1e-8) and tg.allclose(y, layer(x, x, x)[0])


def test_copies():
    layer, x = nn.MultiheadAttention(4, 2, dropout=0.1).eval(), tg.randn(3, 2, 4)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (other(x, x, x)[0] == layer(x, x, x)[0]).all() and not other.training
    with tg.no_grad():
        assert not layer(x, x, x)[0].requires_grad


# -- errors -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda f, r: f(r(4), r(5, 4), r(5, 2)), ValueError, r"at least 2 dimensions.*\(4,\)"),
        (lambda f, r: f(r(3, 4), r(5, 3), r(5, 2)), ValueError, r"do not fit.*\(3, 4\), \(5, 3\)"),
        (lambda f, r: f(r(3, 4), r(5, 4), r(6, 2)), ValueError, r"do not fit.*\(6, 2\)"),
        (lambda f, r: f(r(2, 3, 4), r(3, 5, 4), r(2, 5, 2)), ValueError, "batch dimensions"),
        (lambda f, r: f(r(3, 4), r(5, 4).double(), r(5, 2)), RuntimeError, "float32, float64"),
        (lambda f, r: f(*(r(3, 4).long() for _ in range(3))), RuntimeError, "floating.*int64"),
        (lambda f, r: f([[1.0]], r(1, 1), r(1, 1)), TypeError, "query must be a tensor, not list"),
        (
            lambda f, r: f(r(3, 4), r(5, 4), r(5, 2), r(3, 5), is_causal=True),
            RuntimeError,
            "not both",
        ),
        (
            lambda f, r: f(r(3, 4), r(5, 4), r(5, 2), r(3, 5).long()),
            RuntimeError,
            "attn_mask must be boolean.*not int64",
        ),
        (
            lambda f, r: f(r(3, 4), r(5, 4), r(5, 2), r(3, 5).double()),
            RuntimeError,
            r"float64: mask.to\('float32'\)",
        ),
        (
            lambda f, r: f(r(3, 4), r(5, 4), r(5, 2), r(3, 6)),
            ValueError,
            r"\(3, 6\) must broadcast to the weights \(3, 5\)",
        ),
        (lambda f, r: f(r(3, 4), r(5, 4), r(5, 2), r(2, 3, 5)), ValueError, "must broadcast"),
        (lambda f, r: f(r(3, 4), r(5, 4), r(5, 2), [[True]]), TypeError, "attn_mask.*not list"),
        (
            lambda f, r: f(r(4, 3, 4), r(3, 5, 4), r(3, 5, 2), enable_gqa=True),
            ValueError,
            r"heads.*of the key must divide.*\(3, 5, 4\) and \(4, 3, 4\)",
        ),
        (lambda f, r: f(r(3, 4), r(5, 4), r(5, 2), enable_gqa=True), ValueError, "enable_gqa"),
    ],
)
def test_refused(call, kind, text):
    with pytest.raises(kind, match=text):
        call(F.scaled_dot_product_attention, lambda *shape: tg.ones(*shape))


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda m, x: m(x[..., :3], x, x), ValueError, r"\(3, 2, 3\) must end in embed_dim = 4"),
        (lambda m, x: m(x, x, x[:2]), ValueError, r"same length.*\(3, 2, 4\) and \(2, 2, 4\)"),
        (lambda m, x: m(x, x[:, :1], x[:, :1]), ValueError, r"batch.*\(3, 2, 4\).*\(3, 1, 4\)"),
        (lambda m, x: m(x, x[:, 0], x[:, 0]), ValueError, r"3 dimensions.*\(3, 4\)"),
        (lambda m, x: m(x[0, 0], x[0, 0], x[0, 0]), ValueError, r"3 dimensions.*\(4,\)"),
        (lambda m, x: m(x, x[..., :3], x), ValueError, "3"),
        (lambda m, x: m(x, x, x, is_causal=True), RuntimeError, "generate_square_subsequent_mask"),
        (lambda m, x: m(x, x, x, attn_mask=tg.ones(3, 4)), ValueError, r"\(3, 3\).*\(4, 3, 3\)"),
        (lambda m, x: m(x, x, x, attn_mask=tg.ones(2, 3, 3)), ValueError, r"not \(2, 3, 3\)"),
        (lambda m, x: m(x, x, x, attn_mask=tg.ones(3, 3).long()), RuntimeError, "boolean"),
        (
            lambda m, x: m(x, x, x, tg.ones(3, 2)),
            ValueError,
            r"key_padding_mask.*\(2, 3\).*\(3, 2\)",
        ),
        (lambda m, x: m(x, x, x, tg.ones(3)), ValueError, r"key_padding_mask.*not \(3,\)"),
        (lambda m, x: m(x[:, 0], x[:, 0], x[:, 0], tg.ones(2, 3)), ValueError, "key_padding_mask"),
        (lambda m, x: m(x.tolist(), x, x), TypeError, "query must be a tensor, not list"),
    ],
)
def test_modules_refuse(call, kind, text):
    with pytest.raises(kind, match=text):
        call(nn.MultiheadAttention(4, 2), tg.ones(3, 2, 4))


def test_sizes_are_checked():
    with pytest.raises(ValueError, match=r"embed_dim \(5\) must be a multiple of num_heads \(2\)"):
        nn.MultiheadAttention(5, 2)
    with pytest.raises(ValueError, match="greater than 0"):
        nn.MultiheadAttention(4, 0)
