"""Losses against PyTorch's stored values, closed forms and finite differences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

CASES = json.loads((Path(__file__).parent / "data" / "slice.json").read_text())["losses"]


def prepared(case):
    """A stored case's function, inputs and settings."""
    settings = {
        k: tg.tensor(v, dtype="float64") if k.endswith("weight") and v is not None else v
        for k, v in case["settings"].items()
    }
    inputs = [np.array(v) for v in case["inputs"]]
    return getattr(losses, case["function"]), [tg.tensor(v) for v in inputs], settings


@pytest.mark.parametrize("key", CASES)
def test_agrees_with_torch(key):
    case = CASES[key]
    function, (x, target), settings = prepared(case)
    x.requires_grad_()
    value = function(x, target, **settings)
    np.testing.assert_allclose(value.detach().numpy(), case["value"], rtol=1e-10)
    (first,) = tg.grad(value.sum(), x, create_graph=True)
    np.testing.assert_allclose(first.detach().numpy(), case["gradient"], rtol=1e-9, atol=1e-12)
    if first.requires_grad:
        (second,) = tg.grad((first * first).sum(), x, allow_unused=True)
        if second is not None:
            np.testing.assert_allclose(second.numpy(), case["second"], rtol=1e-8, atol=1e-12)
        else:
            assert not np.any(case["second"])


@pytest.mark.parametrize("key", CASES)
def test_derivatives(key):
    function, (x, target), settings = prepared(CASES[key])
    if "binary_cross_entropy" in key and "logits" not in key:
        # probabilities have an edge: check through logits
        logits = tg.log(x / (1 - x))
        tg.check_grads(lambda z: function(tg.sigmoid(z), target, **settings), (logits,), order=2)
    else:
        tg.check_grads(lambda z: function(z, target, **settings), (x,), order=2)


def test_huber_by_its_delta():
    x, t = tg.tensor([0.3, 2.0, -4.0], dtype="float64"), tg.zeros(3, dtype="float64")
    delta = tg.tensor(1.5, dtype="float64", requires_grad=True)
    losses.huber_loss(x, t, "sum", delta).backward()
    assert delta.grad.item() == pytest.approx((2.0 - 1.5) + (4.0 - 1.5))
    tg.check_grads(lambda d: losses.huber_loss(x, t, "sum", d), (delta,), order=2)


def test_numbers_of_the_articles():
    bce = losses.BCELoss()
    one = tg.tensor([1.0], dtype="float64")
    assert bce(tg.tensor([0.9], dtype="float64"), one).item() == pytest.approx(0.105361, abs=5e-7)
    assert bce(tg.tensor([0.1], dtype="float64"), one).item() == pytest.approx(2.302585, abs=5e-7)
    logits = tg.log(tg.tensor([[0.1, 0.8, 0.1]], dtype="float64"))
    onehot = tg.tensor([[0.0, 1.0, 0.0]], dtype="float64")
    by_index = losses.cross_entropy(logits, tg.tensor([1])).item()
    assert by_index == pytest.approx(0.223144, abs=5e-7)
    assert losses.cross_entropy(logits, onehot).item() == pytest.approx(by_index, abs=1e-15)
    dog = tg.log(tg.tensor([[0.3, 0.2, 0.5]], dtype="float64"))
    assert losses.cross_entropy(dog, tg.tensor([2])).item() == pytest.approx(0.693147, abs=5e-7)


def test_one_layer_network_of_the_articles():
    w = tg.tensor([[0.5, -0.5]], dtype="float64", requires_grad=True)
    x, y = tg.tensor([[1.0, 2.0]], dtype="float64"), tg.tensor([[0.0]], dtype="float64")
    p = tg.sigmoid(x @ w.T)
    loss = losses.binary_cross_entropy(p, y)
    loss.backward()
    assert p.item() == pytest.approx(0.377541, abs=5e-7)
    assert loss.item() == pytest.approx(0.474077, abs=5e-7)
    np.testing.assert_allclose(w.grad.numpy(), [[0.377541, 0.755081]], atol=5e-7)
    tg.optim.SGD([w], lr=0.1).step()
    np.testing.assert_allclose(w.detach().numpy(), [[0.462246, -0.575508]], atol=5e-7)


def test_huge_logits_are_finite():
    z = tg.tensor([1e4, -1e4, 1000.0, -1000.0], dtype="float64", requires_grad=True)
    t = tg.tensor([1.0, 1.0, 0.0, 0.0], dtype="float64")
    loss = losses.binary_cross_entropy_with_logits(z, t, reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), [0.0, 1e4, 1000.0, 0.0])
    loss.sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), [0.0, -1.0, 1.0, 0.0], atol=1e-300)
    logits = tg.tensor([[1000.0, 0.0]], dtype="float64", requires_grad=True)
    losses.cross_entropy(logits, tg.tensor([1])).backward()
    np.testing.assert_allclose(logits.grad.numpy(), [[1.0, -1.0]])


def test_probabilities_at_the_edge():
    bce = losses.binary_cross_entropy
    p = tg.tensor([0.0, 0.0, 1.0, 1.0], dtype="float64", requires_grad=True)
    t = tg.tensor([1.0, 0.0, 1.0, 0.0], dtype="float64")
    value = bce(p, t, reduction="none")
    np.testing.assert_allclose(value.detach().numpy(), [100.0, 0.0, 0.0, 100.0])
    value.sum().backward()
    np.testing.assert_allclose(p.grad.numpy(), [-1e12, 1.0, -1.0, 1e12])


def test_all_targets_ignored_is_nan_as_in_torch():
    with np.errstate(invalid="ignore"):
        value = losses.cross_entropy(tg.zeros(2, 3), tg.tensor([-100, -100]))
    assert np.isnan(value.item())


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_shapes_that_would_broadcast_are_refused(name):
    with pytest.raises(ValueError, match=r"reshape\(3, 1\)"):
        getattr(losses, name)(tg.zeros(3, 1), tg.zeros(3))
    with pytest.raises(ValueError, match="empty"):
        getattr(losses, name)(tg.zeros(0), tg.zeros(0))


def test_bad_targets_are_refused():
    with pytest.raises(ValueError, match="outside 0 … 2"):
        losses.cross_entropy(tg.zeros(2, 3), tg.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"\(2,\)"):
        losses.cross_entropy(tg.zeros(2, 3), tg.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        losses.binary_cross_entropy(tg.tensor([1.5]), tg.tensor([1.0]))
    with pytest.raises(ValueError, match="reduction"):
        losses.mse_loss(tg.zeros(2), tg.zeros(2), reduction="average")
    with pytest.raises(ValueError, match="reduction"):
        losses.MSELoss(reduction="average")


def test_arrays_are_taken_and_lists_are_refused():
    x = tg.zeros(2, 3)
    by_array = losses.cross_entropy(x, np.array([0, 1]))
    assert by_array.item() == losses.cross_entropy(x, tg.tensor([0, 1])).item()
    assert losses.mse_loss(np.ones(2), tg.zeros(2, dtype="float64")).item() == 1.0
    with pytest.raises(TypeError, match=r"mse_loss: input .* list.* tg\.tensor"):
        losses.mse_loss([1.0], [2.0])
    with pytest.raises(TypeError, match="list"):
        tg.nn.Linear(3, 2)([1.0, 2.0, 3.0])


def test_classes_show_their_settings():
    assert repr(losses.HuberLoss(delta=2.0)) == "HuberLoss(delta=2.0)"
    assert issubclass(tg.nn.MSELoss, losses.MSELoss)
