"""Cosine similarity, pairwise distance and unit vectors: against PyTorch (stored by
oracle/make_distances.py), at zero vectors and coinciding points, by the order p and by eps."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F

DATA = json.loads((Path(__file__).parent / "data" / "distances.json").read_text())


def waves(function, shape):
    return function(np.arange(1.0, int(np.prod(shape, dtype=int)) + 1)).reshape(shape)


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda c: c["expression"])
def test_values_and_derivatives_are_torchs(case):
    xs = [tg.tensor(np.array(a), requires_grad=True) for a in case["arrays"]]
    y = eval(case["expression"], dict(zip("ab", xs), xp=tg))
    np.testing.assert_allclose(y.detach().numpy(), case["value"], rtol=1e-12, atol=1e-15)
    first = tg.grad((y * waves(np.cos, y.shape)).sum(), xs, create_graph=True)
    for ours, theirs in zip(first, case["first"]):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-10, atol=1e-13)
    if "second" in case:
        inner = sum((g * waves(np.sin, g.shape)).sum() for g in first)
        for ours, theirs in zip(tg.grad(inner, xs, materialize_grads=True), case["second"]):
            theirs = np.array(theirs, dtype=float)
            known = np.isfinite(theirs)  # at a zero vector PyTorch's are NaN
            largest = np.abs(theirs[known]).max(initial=1.0)
            assert np.isfinite(ours.numpy()).all()
            np.testing.assert_allclose(
                ours.numpy()[known], theirs[known], rtol=1e-9, atol=1e-12 * largest
            )


def slopes(function, *points):
    xs = [tg.tensor(np.array(p), requires_grad=True) for p in points]
    y = function(*xs)
    return y.item(), [g.numpy() for g in tg.grad(y, xs)]


def test_cosine_similarity_of_a_zero_vector():
    value, (a, b) = slopes(lambda a, b: tg.cosine_similarity(a, b, dim=0), [0.0, 0.0], [3.0, 3.0])
    assert value == 0.0
    np.testing.assert_allclose(a, [math.sqrt(0.5) * 1e8] * 2)
    np.testing.assert_array_equal(b, 0.0)
    bent = tg.func.hessian(lambda a: tg.cosine_similarity(a, tg.ones_like(a), dim=0))
    np.testing.assert_array_equal(bent(tg.zeros(2)).numpy(), 0.0)  # a/eps is linear
    value, both = slopes(lambda a, b: tg.cosine_similarity(a, b, dim=0), [0.0, 0.0], [0.0, 0.0])
    assert value == 0.0
    np.testing.assert_array_equal(both, 0.0)


def test_cosine_similarity_stays_within_one_and_does_not_overflow():
    a = tg.tensor(np.random.default_rng(0).standard_normal((1000, 5)), dtype="float32")
    assert tg.cosine_similarity(a, a).max().item() <= 1.0 + 1e-6
    huge = tg.tensor([[1e140, 1e100]], dtype="float64")
    assert tg.cosine_similarity(huge, huge * 1e10).item() == 1.0


def test_a_vector_shorter_than_eps_is_divided_by_eps():
    """v/eps is linear: PyTorch's gradient, which takes the bound for a constant only in the
    value, has another term there."""
    _, (g,) = slopes(lambda v: F.normalize(v, dim=0)[0], [3e-13, 4e-13])
    np.testing.assert_allclose(g, [1e12, 0.0])
    _, (g, _) = slopes(lambda a, b: tg.cosine_similarity(a, b, 0), [3e-9, 4e-9], [1.0, 0.0])
    np.testing.assert_allclose(g, [1e8, 0.0])


def test_normalize_of_a_zero_vector():
    value, (g,) = slopes(lambda v: F.normalize(v, dim=0).sum(), [0.0, 0.0])
    assert value == 0.0
    np.testing.assert_array_equal(g, 1e12)


def test_pairwise_distance_of_coinciding_points():
    point = [1.0, 2.0]
    value, (a, b) = slopes(tg.pairwise_distance, point, point)
    assert value == pytest.approx(math.sqrt(2.0) * 1e-6)
    np.testing.assert_allclose([a, b], [[math.sqrt(0.5)] * 2, [-math.sqrt(0.5)] * 2])
    value, (a, b) = slopes(lambda a, b: tg.pairwise_distance(a, b, eps=0.0), point, point)
    assert value == 0.0
    np.testing.assert_array_equal([a, b], 0.0)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.7, 2.0, 3.0])
def test_the_order_and_eps_have_derivatives(p):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 4, 3))
    order = tg.tensor(p, dtype="float64")
    for f in (lambda a, b, p: tg.pairwise_distance(a, b, p), lambda a, b, p: F.normalize(a - b, p)):
        np.testing.assert_allclose(
            f(tg.tensor(a), tg.tensor(b), order).numpy(), f(tg.tensor(a), tg.tensor(b), p).numpy()
        )
    assert tg.check_grads(tg.pairwise_distance, (a, b, np.array(p), np.array(1e-2)), order=2)
    assert tg.check_grads(F.normalize, (a, np.array(p)), order=2)

    def short(eps):
        unit = F.normalize(tg.tensor(a), eps=eps)
        return unit.sum() + tg.cosine_similarity(tg.tensor(a), tg.tensor(b), eps=eps)

    assert tg.check_grads(short, (np.array(5.0),), order=2)


def test_the_derivative_by_the_order_at_coinciding_points_is_zero():
    for p in (0.5, 1.0, 2.0, 3.0):
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        order = tg.tensor(p, requires_grad=True)
        y = tg.pairwise_distance(x, x.detach(), order, eps=0.0)
        assert [g.tolist() for g in tg.grad(y, (x, order))] == [[0.0, 0.0], 0.0]


def test_single_precision_stays_and_integers_become_floats():
    a, b = tg.tensor([[3.0, 4.0]]), tg.tensor([[4.0, 3.0]])
    for y in (tg.cosine_similarity(a, b), tg.pairwise_distance(a, b), F.normalize(a)):
        assert y.dtype == "float32"
    assert tg.cosine_similarity(a.long(), b.long()).item() == pytest.approx(0.96)


def test_the_modules():
    a, b = tg.tensor([[3.0, 4.0], [0.0, 1.0]]), tg.tensor([[4.0, 3.0], [1.0, 0.0]])
    similarity, distance = (
        tg.nn.CosineSimilarity(dim=0, eps=1e-3),
        tg.nn.PairwiseDistance(1, 0.5, True),
    )
    np.testing.assert_array_equal(similarity(a, b).numpy(), tg.cosine_similarity(a, b, 0).numpy())
    wanted = tg.pairwise_distance(a, b, 1, 0.5, keepdim=True)
    np.testing.assert_array_equal(distance(a, b).numpy(), wanted.numpy())
    assert repr(similarity) == "CosineSimilarity(dim=0, eps=0.001)"
    assert repr(distance) == "PairwiseDistance(p=1, eps=0.5, keepdim=True)"


def test_what_is_refused():
    a = tg.zeros(4, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(2,\)"):
        tg.cosine_similarity(a, tg.zeros(2))
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(2,\)"):
        tg.pairwise_distance(a, tg.zeros(2))
    for order in (tg.ones(4, 1), tg.ones(1)):
        with pytest.raises(
            ValueError, match=r"p of a norm must be one number, .* shape \((4, 1|1,)"
        ):
            tg.pairwise_distance(a, a, order)
    with pytest.raises(IndexError, match="cosine_similarity: dimension 2"):
        tg.cosine_similarity(a, a, dim=2)
    with pytest.raises(IndexError, match="normalize: dimension 1"):
        F.normalize(tg.zeros(3))


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-12, 1e19, 1e30])
def test_lengths_whose_squares_are_out_of_range(scale, p):
    """In float32 squares end at 1e-45 and 3e38; the length of a vector and its direction do not."""
    v = np.array([[1.5, -2.0, 0.5], [0.0, 1.0, 1.0]])
    x = tg.tensor(scale * v, dtype="float32", requires_grad=True)
    y = tg.pairwise_distance(x, tg.zeros(2, 3), p, eps=0.0)
    wanted = (np.abs(v) ** p).sum(axis=1) ** (1.0 / p)
    np.testing.assert_allclose(y.detach().numpy(), scale * wanted, rtol=1e-5)
    (first,) = tg.grad(y.sum(), x, create_graph=True)
    towards = np.sign(v) * (np.abs(v) / wanted[:, None]) ** (p - 1.0)
    np.testing.assert_allclose(first.detach().numpy(), towards, rtol=1e-5)
    (second,) = tg.grad((first * tg.tensor([1.0, 0.0, 0.0])).sum(), x)
    assert np.isfinite(second.numpy()).all()
    if p == 2.0:
        bent = (np.eye(3)[0] - v[0, 0] * v[0] / wanted[0] ** 2) / wanted[0] / scale
        np.testing.assert_allclose(second.numpy()[0], bent, rtol=1e-4, atol=1e-6 / scale)
    np.testing.assert_allclose(
        F.normalize(x, p, eps=0.0).detach().numpy(), v / wanted[:, None], rtol=1e-5
    )


def test_an_order_as_a_tensor_at_any_size():
    v = np.array([[1.5, -2.0, 0.5], [0.0, 1.0, 1.0]])
    for p in (1.0, 2.0, 200.0):
        for scale in (1e-30, 1.0, 1e30):
            x, order = (
                tg.tensor(scale * v, dtype="float32", requires_grad=True),
                tg.tensor(p, requires_grad=True),
            )
            y = tg.pairwise_distance(x, tg.zeros(2, 3), order, eps=0.0)
            plain = tg.pairwise_distance(x, tg.zeros(2, 3), p, eps=0.0)
            np.testing.assert_allclose(y.detach().numpy(), plain.detach().numpy(), rtol=1e-5)
            ours = tg.grad(y.sum(), (x, order), create_graph=True)
            theirs = tg.grad(plain.sum(), x)[0].numpy()
            np.testing.assert_allclose(ours[0].detach().numpy(), theirs, rtol=2e-4, atol=1e-6)
            assert np.isfinite(ours[1].item())
            for second in tg.grad((ours[0] * tg.tensor([1.0, 0.0, 0.0])).sum(), (x, order)):
                assert np.isfinite(second.numpy()).all()
    largest = tg.pairwise_distance(tg.tensor(v), tg.zeros(2, 3), tg.tensor(math.inf), eps=0.0)
    np.testing.assert_array_equal(largest.numpy(), [2.0, 1.0])


def test_huge_vectors_have_an_angle():
    a, b = tg.tensor([[1e30, 1e30]]), tg.tensor([[1e25, 0.0]])
    assert tg.cosine_similarity(a, b).item() == pytest.approx(math.sqrt(0.5), rel=1e-6)
    assert tg.pairwise_distance(tg.tensor([math.inf]), tg.zeros(1)).item() == math.inf
    assert math.isnan(tg.pairwise_distance(tg.tensor([math.nan, 1e30]), tg.zeros(2)).item())
