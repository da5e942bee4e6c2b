"""Embedding and Bilinear: against torch (stored by oracle/make_embedding.py), slopes, edges."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

DATA = json.loads((Path(__file__).parent / "data" / "embedding.json").read_text())
RANDOM = np.random.default_rng(0)


def close(found, wanted):
    found, wanted = found.detach().numpy(), np.array(wanted, dtype=float)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", DATA, ids=lambda c: c["layer"])
def test_values_derivatives_and_tables_are_torchs(case):
    layer = eval(f"nn.{case['layer']}").double()
    assert repr(layer) == case["repr"]
    assert list(layer.state_dict()) == list(case["state"])
    layer.load_state_dict({k: np.array(v) for k, v in case["state"].items()})
    if "Embedding" in case["layer"]:
        inputs = [tg.tensor(np.array(case["inputs"][0], dtype=np.int64))]
        reals = list(layer.parameters())
    else:
        inputs = [tg.tensor(np.array(x), requires_grad=True) for x in case["inputs"]]
        reals = [*inputs, *layer.parameters()]
    y = layer(*inputs)
    close(y, case["y"])
    first = tg.grad((y**3).sum(), reals, create_graph=True)
    for ours, theirs in zip(first, case["first"], strict=True):
        close(ours, theirs)
    if "second" in case:
        second = tg.grad(sum((g * g).sum() for g in first), reals)
        for ours, theirs in zip(second, case["second"], strict=True):
            close(ours, theirs)
    for name, value in layer.state_dict().items():
        close(value, case["after"][name])


def test_padding_learns_nothing_to_any_order():
    table = tg.tensor(RANDOM.standard_normal((4, 2)), requires_grad=True)
    rows = tg.tensor([0, 1, 1, 3])
    y = F.embedding(rows, table, padding_idx=1)
    (g,) = tg.grad((y**3).sum(), table, create_graph=True)
    (h,) = tg.grad((g**2).sum(), table)
    assert g[1].tolist() == h[1].tolist() == [0.0, 0.0]
    assert (g[0].detach().numpy() != 0).all() and (h[3].numpy() != 0).all()
    assert g[2].tolist() == [0.0, 0.0]  # never looked up
    assert tg.check_grads(lambda w: F.embedding(rows, w).tanh(), [table.detach()], order=2)


def test_initial_values():
    tg.manual_seed(0)
    layer = nn.Embedding(2000, 50, padding_idx=3)
    assert layer.weight[3].abs().sum().item() == 0
    assert abs(layer.weight.mean().item()) < 0.02 and abs(layer.weight.std().item() - 1) < 0.02
    layer = nn.Bilinear(25, 40, 50)
    for p in layer.parameters():
        assert p.abs().max().item() <= 0.2
    assert abs(layer.weight.var().item() - 0.04 / 3) < 1e-3


def test_from_pretrained_copies_and_freezes():
    table = tg.tensor([[1.0, 2.0], [3.0, 4.0]], dtype="float64")
    layer = nn.Embedding.from_pretrained(table, padding_idx=-1)
    assert not layer.weight.requires_grad and layer.padding_idx == 1
    assert layer.weight.dtype == "float64" and layer(tg.tensor(1)).tolist() == [3.0, 4.0]
    with tg.no_grad():
        table.zero_()
    assert layer(tg.tensor(0)).tolist() == [1.0, 2.0]
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


def test_max_norm_shortens_what_is_looked_up_only():
    table = tg.tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]], requires_grad=True)
    y = F.embedding(tg.tensor([0, 1, 0]), table, max_norm=1.0)
    np.testing.assert_allclose(y.tolist(), [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-5)
    assert table[2].tolist() == [30.0, 40.0] and table.is_leaf
    y.sum().backward()
    assert table.grad.tolist() == [[2.0, 2.0], [1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
def test_integers_of_any_size(dtype):
    layer = nn.Embedding(4, 2)
    rows = np.array([[3, 0]], dtype)
    assert layer(tg.tensor(rows)).tolist() == [layer.weight[[3, 0]].tolist()]


def test_nothing_looked_up():
    layer = nn.Embedding(3, 2, max_norm=1.0)
    y = layer(tg.zeros(0, 4, dtype="int64"))
    y.sum().backward()
    assert y.shape == (0, 4, 2) and layer.weight.grad.tolist() == [[0.0, 0.0]] * 3


def test_vmap_and_functional_call():
    layer = nn.Embedding(5, 2, padding_idx=0).double()
    rows = tg.tensor([[0, 1], [4, 4], [2, 0]])
    close(tg.vmap(layer)(rows), layer(rows).tolist())
    tables = tg.tensor(RANDOM.standard_normal((3, 5, 2)))

    def total(table, row):
        return (tg.func.functional_call(layer, {"weight": table}, row) ** 2).sum()

    found = tg.vmap(tg.func.grad(total))(tables, rows)
    close(found, tg.stack([tg.func.grad(total)(t, r) for t, r in zip(tables, rows)]).tolist())
    one = nn.Bilinear(2, 3, 2).double()
    a, b = (tg.tensor(RANDOM.standard_normal((4, n))) for n in (2, 3))
    close(tg.vmap(one)(a, b), one(a, b).tolist())


def test_bilinear_is_its_sum():
    layer = nn.Bilinear(2, 3, 4).double()
    a, b = RANDOM.standard_normal((5, 2)), RANDOM.standard_normal((5, 3))
    wanted = np.einsum("ni,kij,nj->nk", a, layer.weight.detach().numpy(), b)
    close(layer(tg.tensor(a), tg.tensor(b)), wanted + layer.bias.detach().numpy())
    assert layer(tg.zeros(0, 2), tg.zeros(0, 3)).shape == (0, 4)
    w, c = layer.weight.detach(), layer.bias.detach()
    assert tg.check_grads(lambda *xs: F.bilinear(*xs).tanh(), [a[:2], b[:2], w, c], order=2)


def test_copies_and_dtypes():
    layer = nn.Embedding(3, 2, padding_idx=1)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.weight.tolist() == layer.weight.tolist() and other.padding_idx == 1
    assert layer(tg.tensor([0])).dtype == "float32"
    assert layer.double()(tg.tensor([0])).dtype == "float64"


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: nn.Embedding(3, 2)(tg.tensor([0, 3])), IndexError, "3 is none of the 3 rows"),
        (lambda: nn.Embedding(3, 2)(tg.tensor(-1)), IndexError, "-1 is none of the 3 rows"),
        (lambda: nn.Embedding(3, 2)(tg.tensor([0.0])), TypeError, "integers.*float32"),
        (lambda: nn.Embedding(3, 2)([0]), TypeError, "integers.*list"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError, "3 is none of 3 rows"),
        (lambda: nn.Embedding.from_pretrained(tg.zeros(3)), ValueError, r"\(V, D\)"),
        (lambda: nn.Embedding(3, 2, _weight=tg.zeros(2, 2)), ValueError, r"\(2, 2\), not"),
        (lambda: F.embedding(tg.tensor([0]), tg.zeros(3)), ValueError, r"\(V, D\)"),
        (lambda: nn.Bilinear(0, 2, 3), ValueError, "got 0"),
        (lambda: nn.Bilinear(2, 3, 1)(tg.zeros(4, 2), tg.zeros(4, 2)), ValueError, r"\(1, 2, 3\)"),
        (lambda: nn.Bilinear(2, 3, 1)(tg.zeros(4, 2), tg.zeros(1, 3)), ValueError, "be alike"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_one_hot():
    assert F.one_hot(tg.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
