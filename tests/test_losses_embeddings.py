"""Losses on embeddings: contrastive, triplet, angular. Against loops and arccos in NumPy, closed
forms and limits; at coinciding embeddings, zero vectors, one row, one class; what is refused."""

import math
import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def log_softmax_at(logits, k):
    logits = np.asarray(logits)
    top = logits.max()
    return logits[k] - top - math.log(np.exp(logits - top).sum())


def close(found, wanted, **tolerance):
    found = found.detach().numpy() if isinstance(found, tg.Tensor) else found
    np.testing.assert_allclose(found, wanted, **{"rtol": 1e-10, "atol": 1e-13, **tolerance})


def leaf(x, dtype="float64"):
    return tg.tensor(np.array(x), dtype=dtype, requires_grad=True)


def tensors(*arrays):
    return [tg.tensor(np.array(a)) for a in arrays]


def finite_to_second_order(function, *points):
    """The value and the gradients; asserts that they and the second derivatives are finite."""
    xs = [leaf(p) for p in points]
    value = function(*xs)
    first = tg.grad(value, xs, create_graph=True)
    assert all(np.isfinite(g.detach().numpy()).all() for g in (value, *first))
    squares = sum((g * g).sum() for g in first)
    if squares.requires_grad:
        for g in tg.grad(squares, xs, materialize_grads=True):
            assert np.isfinite(g.numpy()).all()
    return value.item(), [g.detach().numpy() for g in first]


def test_huge_embeddings():
    """Distances and angles of what has no squares in float32."""
    scales = (1.0, 1e19, 1e30)
    x = [tg.tensor(s * draw(4, 3), dtype="float32") for s in scales]
    labels = tg.tensor([0, 0, 1, 1])
    for loss in (
        lambda x: losses.triplet_margin_loss(x, x.flip(0), x.roll(1, 0)),
        lambda x: losses.batch_hard_triplet_loss(x, labels),
        lambda x: losses.semi_hard_triplet_loss(x, labels, squared=False),
    ):
        far = losses.contrastive_loss(x[2], -x[2], tg.zeros(4))
        assert far.item() == 0.0
        slope = [loss(x[i]).item() / scales[i] for i in (1, 2)]
        assert slope[1] > 0.1 and slope[0] == pytest.approx(slope[1], rel=1e-5)
    for loss in (
        lambda x: losses.info_nce_loss(x, x.flip(0)),
        lambda x: losses.nt_xent_loss(x, x.flip(0)),
        lambda x: losses.supervised_contrastive_loss(x, labels),
        lambda x: losses.arcface_loss(x, x, labels),
        lambda x: losses.cosface_loss(x, x, labels),
    ):
        assert loss(x[2]).item() == pytest.approx(loss(x[0]).item(), rel=1e-4)


# -- contrastive --------------------------------------------------------------------------------
def test_contrastive_loss_pair_by_pair():
    a, b, same = draw(6, 3), draw(6, 3, seed=1), np.array([1, 0, 1, 0, 0, 1])
    b[3] = a[3] + 0.1
    for margin in (0.5, 1.0, 4.0):
        wanted = []
        for x, y, s in zip(a, b, same):
            d = math.dist(x, y)
            wanted.append(0.5 * d**2 if s else 0.5 * max(0.0, margin - d) ** 2)
        loss = losses.ContrastiveLoss(margin)
        for marks in (same, same.astype(bool), same.astype(float)):
            close(loss(*tensors(a, b, marks)), np.mean(wanted))
        close(losses.ContrastiveLoss(margin, "none")(*tensors(a, b, same)), wanted)


def test_contrastive_loss_of_one_pair_and_of_grids_of_pairs():
    a, b = draw(2, 4, 3), draw(2, 4, 3, seed=1)
    same = np.arange(8).reshape(2, 4) % 2
    flat = losses.contrastive_loss(*tensors(a.reshape(8, 3), b.reshape(8, 3), same.ravel()))
    close(losses.contrastive_loss(*tensors(a, b, same)), flat.item())
    one = losses.contrastive_loss(*tensors([1.0, 0.0], [0.0, 0.0], 1))
    assert one.shape == () and one.item() == 0.5


def test_contrastive_loss_of_coinciding_embeddings():
    point = [[1.0, 2.0]]
    for same, wanted in ((1, 0.0), (0, 2.0)):
        loss = lambda a, b: losses.contrastive_loss(a, b, tg.tensor([same]), 2.0)  # noqa: B023
        value, gradients = finite_to_second_order(loss, point, point)
        assert value == wanted
        np.testing.assert_array_equal(gradients, 0.0)
    # where the two belong together the loss is ½d², a parabola, at its bottom too
    second = tg.func.hessian(lambda a: losses.contrastive_loss(a, tg.zeros(2), tg.tensor(1)))
    np.testing.assert_array_equal(second(tg.zeros(2)).numpy(), np.eye(2))
    second = tg.func.hessian(lambda a: losses.contrastive_loss(a, tg.zeros(2), tg.tensor(0)))
    np.testing.assert_array_equal(second(tg.zeros(2)).numpy(), 0.0)


def test_contrastive_loss_pushes_only_within_the_margin():
    a, b = leaf([[0.0, 3.0]]), leaf([[0.0, 0.0]])
    assert losses.contrastive_loss(a, b, tg.tensor([0]), 2.0).item() == 0.0
    near = losses.contrastive_loss(a, b, tg.tensor([0]), 4.0)
    close(tg.grad(near, a)[0], [[0.0, -1.0]])


# -- InfoNCE, NT-Xent, supervised ---------------------------------------------------------------
def test_info_nce_query_by_query():
    q, k, tau = draw(5, 3), draw(5, 3, seed=1), 0.3
    uq, uk = unit(q), unit(k)
    in_batch = [-log_softmax_at(uk @ uq[i] / tau, i) for i in range(5)]
    close(losses.info_nce_loss(*tensors(q, k), temperature=tau, reduction="none"), in_batch)

    shared, own = draw(4, 3, seed=2), draw(5, 4, 3, seed=3)
    for negatives, of in ((shared, lambda i: shared), (own, lambda i: own[i])):
        wanted = [
            -log_softmax_at(np.concatenate([uk[i : i + 1], unit(of(i))]) @ uq[i] / tau, 0)
            for i in range(5)
        ]
        loss = losses.InfoNCELoss(tg.tensor(negatives), tau, "none")
        close(loss(*tensors(q, k)), wanted)


def test_nt_xent_view_by_view():
    z1, z2, tau = draw(4, 3), draw(4, 3, seed=1), 0.2
    z = unit(np.concatenate([z1, z2]))
    wanted = []
    for i in range(8):
        others = [j for j in range(8) if j != i]
        wanted.append(-log_softmax_at(z[others] @ z[i] / tau, others.index((i + 4) % 8)))
    close(losses.nt_xent_loss(*tensors(z1, z2), tau, "none"), wanted)
    close(losses.NTXentLoss(tau)(*tensors(z1, z2)), np.mean(wanted))


def naive_supervised(features, labels, tau):
    z, n = unit(features), len(labels)
    found = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        terms = [-log_softmax_at(z[others] @ z[i] / tau, others.index(p)) for p in positives]
        found.append(np.mean(terms) if terms else 0.0)
    return np.array(found), np.array([(np.array(labels) == l).sum() > 1 for l in labels])


@pytest.mark.parametrize("labels", [[0, 1, 0, 1, 1], [7, -3, 7, 2, 7], [0, 0, 0, 0, 0]])
def test_supervised_contrastive_anchor_by_anchor(labels):
    features = draw(5, 3)
    wanted, counts = naive_supervised(features, labels, 0.3)
    loss = losses.supervised_contrastive_loss
    close(loss(*tensors(features, labels), 0.3, "none"), wanted)
    close(loss(*tensors(features, labels), 0.3), wanted[counts].mean())


def test_supervised_contrastive_of_views():
    features = draw(3, 2, 4)
    wanted, _ = naive_supervised(features.reshape(6, 4), [0, 0, 1, 1, 0, 0], 0.1)
    loss = losses.SupervisedContrastiveLoss(reduction="none")
    close(loss(*tensors(features, [0, 1, 0])), wanted)


def test_supervised_contrastive_with_a_label_for_each_pair_is_nt_xent():
    z1, z2 = draw(4, 3), draw(4, 3, seed=1)
    pairs = np.stack([z1, z2], axis=1)
    close(
        losses.supervised_contrastive_loss(*tensors(pairs, np.arange(4)), 0.5),
        losses.nt_xent_loss(*tensors(z1, z2), 0.5).item(),
    )


def test_without_anything_to_tell_apart_the_loss_is_zero():
    for loss in (losses.info_nce_loss, losses.nt_xent_loss):
        value, gradients = finite_to_second_order(loss, draw(1, 3), draw(1, 3, seed=1))
        assert value == 0.0
        np.testing.assert_allclose(gradients, 0.0, atol=1e-15)
    for features, labels in ((draw(1, 3), [5]), (draw(3, 3), [0, 1, 2])):
        value, (g,) = finite_to_second_order(
            lambda x: losses.supervised_contrastive_loss(x, tg.tensor(labels)),  # noqa: B023
            features,
        )
        assert value == 0.0
        np.testing.assert_array_equal(g, 0.0)


CONTRASTIVE = {
    "InfoNCE": lambda x, tau: losses.info_nce_loss(x, tg.flip(x, 0), temperature=tau),
    "InfoNCE with negatives": lambda x, tau: losses.info_nce_loss(x[:2], x[2:], x, tau),
    "NT-Xent": lambda x, tau: losses.nt_xent_loss(x[:2], x[2:], tau),
    "supervised": lambda x, tau: losses.supervised_contrastive_loss(
        x, tg.tensor([0, 1, 0, 1]), tau
    ),
}


@pytest.mark.parametrize("loss", CONTRASTIVE.values(), ids=CONTRASTIVE)
def test_tiny_and_large_temperatures(loss):
    x = draw(4, 3)
    for tau in (1e-4, 1e-2, 1.0, 1e4):
        value, (_, slope) = finite_to_second_order(loss, x, tau)
        h = 1e-4 * tau
        differences = [loss(tg.tensor(x), tau + s * h).item() for s in (-2, -1, 1, 2)]
        d = np.dot([1, -8, 8, -1], differences) / (12 * h)
        assert slope == pytest.approx(d, rel=1e-6, abs=1e-9 * max(1.0, value) / tau)
    few = tg.tensor(x, dtype="float32", requires_grad=True)
    value = loss(few, 1e-4)
    assert value.dtype == "float32" and np.isfinite(value.item())
    assert np.isfinite(tg.grad(value, few)[0].numpy()).all()


def test_a_tiny_temperature_makes_it_a_margin():
    """As τ → 0, τ·loss → how far the best other one is ahead of the partner."""
    q, k = draw(5, 3), draw(5, 3, seed=1)
    cosines = unit(q) @ unit(k).T
    ahead = cosines.max(axis=1) - cosines.diagonal()
    close(1e-6 * losses.info_nce_loss(*tensors(q, k), temperature=1e-6), ahead.mean(), atol=1e-6)
    close(losses.info_nce_loss(*tensors(q, k), temperature=1e9), math.log(5), rtol=1e-8)


@pytest.mark.parametrize("loss", CONTRASTIVE.values(), ids=CONTRASTIVE)
def test_zero_vectors_and_coinciding_embeddings_in_a_batch(loss):
    x = draw(4, 3)
    x[1] = 0.0
    finite_to_second_order(lambda x: loss(x, 0.5), x)
    value, _ = finite_to_second_order(lambda x: loss(x, 0.5), np.zeros((4, 3)))
    same, _ = finite_to_second_order(lambda x: loss(x, 0.5), np.ones((4, 3)))
    assert same == pytest.approx(value)  # nothing can be told apart


# -- triplets -----------------------------------------------------------------------------------
def test_triplet_margin_loss_of_coinciding_embeddings():
    point = [[1.0, 2.0]]
    value, (a, p, n) = finite_to_second_order(losses.triplet_margin_loss, point, point, point)
    assert value == 1.0
    np.testing.assert_allclose(a, 0.0)  # that of ‖eps‖ cancels between the two distances
    np.testing.assert_allclose([p, n], [[[-math.sqrt(0.5)] * 2], [[math.sqrt(0.5)] * 2]])
    value, gradients = finite_to_second_order(
        lambda a, p, n: losses.triplet_margin_loss(a, p, n, eps=0.0), point, point, point
    )
    assert value == 1.0
    np.testing.assert_array_equal(gradients, 0.0)


def test_triplet_margin_loss_of_a_single_triplet():
    a, p, n = tensors(*draw(3, 4))
    single = losses.triplet_margin_loss(a, p, n, 2.0)
    assert single.shape == ()
    close(single, losses.triplet_margin_loss(a[None], p[None], n[None], 2.0).item())


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_the_order_of_the_norm_may_be_a_tensor(p):
    a, b, c = tensors(*draw(3, 4, 5))
    order = leaf(p)
    loss = losses.triplet_margin_loss(a, b, c, 5.0, order, swap=True)
    close(loss, losses.triplet_margin_loss(a, b, c, 5.0, p, swap=True).item())
    assert tg.check_grads(lambda p: losses.triplet_margin_loss(a, b, c, 5.0, p), (order,), order=2)
    close(
        losses.triplet_margin_loss(a, b, c, 5.0, math.inf, eps=0.0, reduction="none"),
        5.0 + abs(a - b).amax(1).numpy() - abs(a - c).amax(1).numpy(),
    )


def test_triplet_loss_of_any_distance():
    a, p, n = draw(3, 4, 5)
    squares = lambda x, y: ((x - y) ** 2).sum(dim=-1)
    for swap in (False, True):
        wanted = []
        for x, y, z in zip(a, p, n):
            far = ((x - z) ** 2).sum()
            far = min(far, ((y - z) ** 2).sum()) if swap else far
            wanted.append(max(0.0, 3.0 + ((x - y) ** 2).sum() - far))
        loss = losses.TripletMarginWithDistanceLoss(
            distance_function=squares, margin=3.0, swap=swap, reduction="none"
        )
        close(loss(*tensors(a, p, n)), wanted)
    with pytest.raises(TypeError):
        losses.TripletMarginWithDistanceLoss(squares)  # by name only, as in torch
    learned = leaf(np.eye(5))
    project = lambda x, y: tg.pairwise_distance(x @ learned, y @ learned)
    loss = losses.triplet_margin_with_distance_loss(*tensors(a, p, n), distance_function=project)
    assert tg.grad(loss, learned)[0].abs().sum().item() > 0.0


def distances(x, squared):
    gaps = ((x[:, None] - x[None]) ** 2).sum(-1)
    return gaps if squared else np.sqrt(gaps)


def naive_batch_hard(x, labels, margin, squared):
    d, found = distances(x, squared), {}
    for a in range(len(x)):
        positives = [d[a, j] for j in range(len(x)) if j != a and labels[j] == labels[a]]
        negatives = [d[a, j] for j in range(len(x)) if labels[j] != labels[a]]
        if positives and negatives:
            gap = max(positives) - min(negatives)
            found[a] = math.log1p(math.exp(gap)) if margin is None else max(0.0, margin + gap)
    return found


def naive_semi_hard(x, labels, margin, squared):
    d, found = distances(x, squared), {}
    for a in range(len(x)):
        negatives = [d[a, j] for j in range(len(x)) if labels[j] != labels[a]]
        for p in range(len(x)):
            if p != a and labels[p] == labels[a] and negatives:
                farther = [n for n in negatives if n > d[a, p]]
                chosen = min(farther) if farther else max(negatives)
                found[a, p] = max(0.0, margin + d[a, p] - chosen)
    return found


LABELS = [[0, 1, 0, 1, 2, 2, 0], [5, -1, 5, 5, 9, 7, 5], [3, 3, 3, 3, 3, 3, 1]]


@pytest.mark.parametrize("labels", LABELS, ids=str)
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(
    "loss, naive, margins",
    [
        (losses.batch_hard_triplet_loss, naive_batch_hard, (0.2, 1.0, 5.0, None)),
        (losses.semi_hard_triplet_loss, naive_semi_hard, (0.2, 1.0, 5.0)),
    ],
)
def test_mining_agrees_with_loops(loss, naive, margins, squared, labels):
    for seed in range(5):
        x = draw(7, 3, seed=seed)
        for margin in margins:
            found = naive(x, labels, margin, squared)
            for reduction, wanted in (
                ("mean", np.mean(list(found.values()))),
                ("sum", sum(found.values())),
            ):
                close(loss(*tensors(x, labels), margin, squared, reduction), wanted)
            each = loss(*tensors(x, labels), margin, squared, "none").numpy()
            for place in np.ndindex(each.shape):
                key = place if len(place) > 1 else place[0]
                assert each[place] == pytest.approx(found.get(key, 0.0), rel=1e-10)


@pytest.mark.parametrize("loss", [losses.batch_hard_triplet_loss, losses.semi_hard_triplet_loss])
def test_mining_without_a_triplet_is_zero(loss):
    for x, labels in ((draw(1, 3), [0]), (draw(4, 3), [2] * 4), (draw(4, 3), [0, 1, 2, 3])):
        value, gradients = finite_to_second_order(
            lambda x, m: loss(x, tg.tensor(labels), m),  # noqa: B023
            x,
            1.0,
        )
        assert value == 0.0
        for g in gradients:
            np.testing.assert_array_equal(g, 0.0)


def test_mining_where_the_only_positive_coincides_with_the_anchor():
    """Its squared distance is 0, as are entries that are no positives; these take no share."""
    labels = tg.tensor([0, 0, 1])
    point = tg.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]]).double()
    hard = lambda x: losses.batch_hard_triplet_loss(x, labels, 100.0, True, "sum")
    plain = lambda x: sum(
        100.0 + ((x[a] - x[p]) ** 2).sum() - ((x[a] - x[2]) ** 2).sum() for a, p in ((0, 1), (1, 0))
    )
    close(tg.func.hessian(hard)(point), tg.func.hessian(plain)(point).numpy())
    # a negative that coincides with anchor and positive is the farthest one
    labels = tg.tensor([0, 0, 1, 2])
    x = leaf([[0.0], [0.0], [0.0], [0.0]])
    bent = tg.func.hessian(lambda x: losses.semi_hard_triplet_loss(x, labels, 1.0))(x)
    assert np.isfinite(bent.numpy()).all()


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("loss", [losses.batch_hard_triplet_loss, losses.semi_hard_triplet_loss])
def test_mining_among_coinciding_embeddings(loss, squared):
    """A collapsed batch costs the margin, and nothing has a direction to go in."""
    for point in (np.zeros((4, 2)), np.ones((4, 2))):
        value, (g, by_margin) = finite_to_second_order(
            lambda x, m: loss(x, tg.tensor([0, 0, 1, 1]), m, squared), point, 0.7
        )
        assert value == pytest.approx(0.7)
        assert by_margin == pytest.approx(1.0)
        np.testing.assert_array_equal(g, 0.0)


def test_ties_in_mining_share_the_gradient():
    x = leaf([[0.0, 0.0], [0.5, 0.0], [0.0, 1.0], [0.0, -1.0]])
    labels = tg.tensor([0, 0, 1, 2])
    for loss in (losses.batch_hard_triplet_loss, losses.semi_hard_triplet_loss):
        each = loss(x, labels, 2.0, squared=False, reduction="none")
        anchor = each[0] if each.ndim == 1 else each[0, 1]
        (g,) = tg.grad(anchor, x)
        close(g[2:], [[0.0, -0.5], [0.0, 0.5]])


# -- angles -------------------------------------------------------------------------------------
def naive_angular(x, w, labels, scale, at_own):
    cosines = np.clip(unit(x) @ unit(w).T, -1.0, 1.0)
    found = []
    for row, label in zip(cosines, labels):
        logits = row.copy()
        logits[label] = at_own(math.acos(row[label]))
        found.append(-log_softmax_at(scale * logits, label))
    return found


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.5, 3.0])
def test_arcface_is_the_formula_with_the_angle(margin):
    x, w, labels = draw(50, 3), draw(4, 3, seed=1), np.arange(50) % 4

    def at_own(theta):
        if theta + margin > math.pi:
            return math.cos(theta) - margin * math.sin(margin)
        return math.cos(theta + margin)

    for scale in (1.0, 64.0):
        loss = losses.ArcFaceLoss(margin, scale, "none")
        wanted = naive_angular(x, w, labels, scale, at_own)
        close(loss(*tensors(x, w, labels)), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.35, 1.0])
def test_cosface_is_the_formula_with_the_angle(margin):
    x, w, labels = draw(50, 3), draw(4, 3, seed=1), np.arange(50) % 4
    for scale in (1.0, 64.0):
        wanted = naive_angular(x, w, labels, scale, lambda theta: math.cos(theta) - margin)
        loss = losses.CosFaceLoss(margin, scale, "none")
        close(loss(*tensors(x, w, labels)), wanted, rtol=1e-9, atol=1e-12)


def test_without_a_margin_both_are_cross_entropy_of_cosines():
    x, w, labels = tensors(draw(6, 3), draw(4, 3, seed=1), np.arange(6) % 4)
    cosines = tg.cosine_similarity(x.unsqueeze(1), w, dim=-1)
    wanted = losses.cross_entropy(16.0 * cosines, labels).item()
    for loss in (losses.arcface_loss, losses.cosface_loss):
        close(loss(x, w, labels, 0.0, 16.0), wanted)


@pytest.mark.parametrize("loss", [losses.arcface_loss, losses.cosface_loss])
def test_arrays_are_taken(loss):
    x, w, labels = draw(6, 3), draw(4, 3, seed=1), np.arange(6) % 4
    close(loss(x, w, labels), loss(*tensors(x, w, labels)).item())


def test_arcface_near_the_own_centre_in_single_precision():
    """sin θ from cos θ near 1 would be rounded to multiples of 3e-4."""
    w = draw(4, 8)
    labels = tg.tensor(np.arange(40) % 4)
    for width in (1e-1, 1e-2, 1e-3, 1e-4):
        x = (w[np.arange(40) % 4] + width * draw(40, 8, seed=1)).astype("float32")
        found = []
        for dtype in ("float32", "float64"):
            a, b = leaf(x, dtype), leaf(w.astype("float32"), dtype)
            value = losses.arcface_loss(a, b, labels, scale=8.0, reduction="none")
            found.append([value, *tg.grad(value.sum(), (a, b))])
        for ours, exact in zip(*found):
            exact = exact.detach().numpy()
            close(ours, exact, rtol=1e-5, atol=2e-6 / width * np.abs(exact).max())


def test_arcface_steps_down_where_the_turned_angle_passes_pi():
    w = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # the other one stays at right angles
    loss = lambda theta: losses.arcface_loss(
        *tensors([[math.cos(theta), math.sin(theta), 0.0]], w, [0]), margin=0.5, scale=1.0
    ).item()
    edge = math.pi - 0.5
    assert loss(edge + 1e-9) - loss(edge - 1e-9) > 0.05
    assert loss(edge + 0.2) > loss(edge + 0.1) > loss(edge + 1e-9)  # and rises from there


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [losses.arcface_loss, losses.cosface_loss])
def test_on_the_own_centre_opposite_to_it_and_at_zero(loss, dtype):
    """cos θ = ±1, rounded to either side of it; the angle itself has no derivative there."""
    w = draw(5, 7)
    for x in (w, -w, 3.7 * w, 1e-3 * w, 0 * w, w.astype("float32")):
        for labels in (np.arange(5), np.arange(5)[::-1].copy()):
            a, b = leaf(x, dtype), leaf(w, dtype)
            margin, scale = leaf(0.4, dtype), leaf(64.0, dtype)
            value = loss(a, b, tg.tensor(labels), margin, scale)
            first = tg.grad(value, (a, b, margin, scale), create_graph=True)
            assert np.isfinite(value.item())
            assert all(np.isfinite(g.detach().numpy()).all() for g in first)
            if dtype == "float64":
                second = tg.grad(sum(g.sum() for g in first), (a, b, margin, scale))
                assert all(np.isfinite(g.numpy()).all() for g in second)


def test_the_slope_of_arcface_next_to_the_own_centre():
    """By the angle θ it has a finite limit at 0, though the slope of arccos is infinite there."""
    w = tg.tensor([[1.0, 0.0], [-1.0, 0.0]]).double()

    def loss(theta):
        x = tg.stack([tg.cos(theta), tg.sin(theta)]).unsqueeze(0)
        return losses.arcface_loss(x, w, tg.tensor([0]), margin=1.0, scale=2.0)

    for theta in (1e-6, 1e-3, 0.5, 1.0, 2.0):
        x = leaf(theta)
        gap = 2.0 * (math.cos(theta + 1.0) + math.cos(theta))
        inside = 2.0 * (math.sin(theta + 1.0) + math.sin(theta)) / (1.0 + math.exp(gap))
        # cos θ is known to 1e-16, and so θ to 1e-16/θ
        close(tg.grad(loss(x), x)[0], inside, rtol=1e-9 + 1e-15 / theta**2)
    x = leaf(0.0)
    assert tg.grad(loss(x), x)[0].item() == 0.0


def test_margins_raise_the_loss_of_a_single_embedding():
    x, w, labels = tensors([[1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]], [1])
    for loss in (losses.arcface_loss, losses.cosface_loss):
        values = [loss(x, w, labels, m, 8.0).item() for m in (0.0, 0.1, 0.2, 0.4)]
        assert values == sorted(values)
        margin = leaf(0.3)
        assert tg.grad(loss(x, w, labels, margin, 8.0), margin)[0].item() > 0.0
    one_class = losses.arcface_loss(x, w[:1], tg.tensor([0]))
    assert one_class.item() == 0.0  # there is nothing to take it for


# -- what is refused ----------------------------------------------------------------------------
x43, x33 = tg.zeros(4, 3), tg.zeros(3, 3)
WRONG = [
    (lambda: losses.contrastive_loss(x43, x33, tg.zeros(4)), ValueError, r"a has shape \(4, 3\)"),
    (lambda: losses.contrastive_loss(x43, x43, tg.zeros(4, 1)), ValueError, r"\(4,\).*\(4, 1\)"),
    (
        lambda: losses.contrastive_loss(x43, x43, tg.tensor([1, 0, -1, 1])),
        ValueError,
        r"same must be 1 \(belonging together\) or 0, but entry \[2\] is -1",
    ),
    (lambda: losses.contrastive_loss(x43, x43, tg.full((4,), 0.5)), ValueError, r"is 0\.5"),
    (lambda: losses.contrastive_loss(x43, x43, [1, 0, 1, 0]), TypeError, "same must be a tensor"),
    (lambda: losses.contrastive_loss(x43, x43, tg.zeros(4), 0.0), ValueError, "margin must be pos"),
    (lambda: losses.info_nce_loss(x43, x33), ValueError, r"positive_key has shape \(3, 3\)"),
    (lambda: losses.info_nce_loss(x43[0], x43[0]), ValueError, r"query must have shape \(N, D\)"),
    (lambda: losses.info_nce_loss(x43, x43, tg.zeros(5, 2)), ValueError, r"\(M, 3\).*\(5, 2\)"),
    (lambda: losses.info_nce_loss(x43, x43, tg.zeros(5, 2, 3)), ValueError, r"\(4, M, 3\)"),
    (lambda: losses.info_nce_loss(x43, x43, tg.zeros(3)), ValueError, r"not \(3,\)"),
    (
        lambda: losses.info_nce_loss(x43, x43, tg.zeros(0, 3)),
        ValueError,
        "the batch is empty .negative_keys",
    ),
    (lambda: losses.info_nce_loss(x43, x43, x43.long()), TypeError, "negative_keys must be float"),
    (lambda: losses.info_nce_loss(x43, x43, None, 0.0), ValueError, "temperature must be positive"),
    (lambda: losses.nt_xent_loss(x43, x43, -1.0), ValueError, "temperature must be positive, not"),
    (lambda: losses.nt_xent_loss(x43, x33), ValueError, r"z2 has shape \(3, 3\)"),
    (
        lambda: losses.supervised_contrastive_loss(x43, tg.zeros(3, dtype="int64")),
        ValueError,
        r"features of shape \(4, 3\) labels must have shape \(4,\), not \(3,\)",
    ),
    (
        lambda: losses.supervised_contrastive_loss(x43, tg.zeros(4)),
        TypeError,
        r"labels must be integers, not float32: labels\.long\(\)",
    ),
    (
        lambda: losses.supervised_contrastive_loss(tg.zeros(4), tg.zeros(4, dtype="int64")),
        ValueError,
        r"\(N, D\) or \(N, V, D\), not \(4,\)",
    ),
    (lambda: losses.triplet_margin_loss(x43, x43, x33), ValueError, r"negative has shape \(3, 3\)"),
    (lambda: losses.triplet_margin_loss(x43, x43, x43, 0.0), ValueError, "margin must be positive"),
    (lambda: losses.triplet_margin_loss(x43, x43, x43, p=-1.0), ValueError, "p must be positive"),
    (
        lambda: losses.batch_hard_triplet_loss(x43, tg.zeros(4)),
        TypeError,
        "labels must be integers",
    ),
    (
        lambda: losses.semi_hard_triplet_loss(x43, tg.zeros(4, dtype="int64"), -0.5),
        ValueError,
        "margin must be positive, not -0.5",
    ),
    (
        lambda: losses.arcface_loss(x43, tg.zeros(2, 4), tg.zeros(4, dtype="int64")),
        ValueError,
        r"\(4, 3\) centres must have shape \(C, 3\), not \(2, 4\)",
    ),
    (
        lambda: losses.arcface_loss(x43, tg.zeros(2, 3), tg.tensor([0, 1, 2, 0])),
        ValueError,
        r"outside 0 … 1: in labels for centres of shape \(2, 3\) entry \[2\] is 2",
    ),
    (
        lambda: losses.cosface_loss(x43, x33, tg.tensor([0, 1, -100, 0])),
        ValueError,
        r"entry \[2\] is -100",
    ),
    (
        lambda: losses.cosface_loss(x43, x33, tg.zeros(3, dtype="int64")),
        ValueError,
        r"labels must have shape \(4,\), not \(3,\)",
    ),
    (
        lambda: losses.cosface_loss(x43, x33, tg.zeros(4)),
        TypeError,
        r"labels must be integers, not float32: labels\.long\(\)",
    ),
    (
        lambda: losses.cosface_loss(x43, x33[:0], tg.zeros(4, dtype="int64")),
        ValueError,
        r"empty \(centres has shape \(0, 3\)",
    ),
    (
        lambda: losses.arcface_loss(x43, x33, tg.zeros(4, dtype="int64"), 4.0),
        ValueError,
        "margin must be in",
    ),
    (
        lambda: losses.cosface_loss(x43, x33, tg.zeros(4, dtype="int64"), 0.1, 0.0),
        ValueError,
        "scale must be positive",
    ),
]


@pytest.mark.parametrize("call, error, message", WRONG)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


some = tg.tensor([0, 1, 0, 1])
#: Losses by their real settings, and the shape that these may broadcast to.
SETTINGS = {
    "contrastive margin": (lambda v: losses.contrastive_loss(x43, x43, some, v), "margin", (4,)),
    "InfoNCE": (lambda v: losses.info_nce_loss(x43, x43, temperature=v), "temperature", (4, 1)),
    "InfoNCE with negatives": (
        lambda v: losses.info_nce_loss(x43, x43, x33, v),
        "temperature",
        (4, 1),
    ),
    "NT-Xent": (lambda v: losses.nt_xent_loss(x43, x43, v), "temperature", (8, 1)),
    "supervised": (
        lambda v: losses.supervised_contrastive_loss(x43, some, v),
        "temperature",
        (4, 1),
    ),
    "triplet margin": (lambda v: losses.triplet_margin_loss(x43, x43, x43, v), "margin", (4,)),
    "triplet p": (lambda v: losses.triplet_margin_loss(x43, x43, x43, p=v), "p", ()),
    "triplet eps": (lambda v: losses.triplet_margin_loss(x43, x43, x43, eps=v), "eps", ()),
    "any distance": (
        lambda v: losses.triplet_margin_with_distance_loss(x43, x43, x43, margin=v),
        "margin",
        (4,),
    ),
    "hard": (lambda v: losses.batch_hard_triplet_loss(x43, some, v), "margin", (4,)),
    "semi-hard": (lambda v: losses.semi_hard_triplet_loss(x43, some, v), "margin", (4, 1)),
    "ArcFace margin": (lambda v: losses.arcface_loss(x43, x33, some, v), "margin", (4,)),
    "ArcFace scale": (lambda v: losses.arcface_loss(x43, x33, some, 0.5, v), "scale", (4, 1)),
    "CosFace margin": (lambda v: losses.cosface_loss(x43, x33, some, v), "margin", (4,)),
    "CosFace scale": (lambda v: losses.cosface_loss(x43, x33, some, 0.5, v), "scale", (4, 1)),
}


@pytest.mark.parametrize("loss, name, shape", SETTINGS.values(), ids=SETTINGS)
def test_settings_do_not_make_more_losses(loss, name, shape):
    assert loss(tg.ones(*shape)).item() == pytest.approx(loss(1.0).item(), rel=1e-6)
    for wrong in {(4, 1), (2, 1, 1), (5,), (8,)} - {shape}:
        with pytest.raises(ValueError, match=f"{name} must .*{re.escape(str(wrong))}"):
            loss(tg.ones(*wrong))


@pytest.mark.parametrize("loss, name, shape", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("wrong", ["1", [1.0], 1j, {}], ids=str)
def test_settings_that_are_no_numbers(loss, name, shape, wrong):
    kind = type(wrong).__name__
    with pytest.raises(TypeError, match=f"{name} must be a number or a tensor, not {kind}"):
        loss(wrong)


def test_a_margin_for_each():
    """Each row has its own setting, and the setting its gradient."""
    a, b = tensors(*draw(2, 4, 3))
    m = [0.2, 0.4, 0.8, 1.6]
    w = tg.tensor(draw(3, 3, seed=4))
    rows = {
        "contrastive": (lambda i, m: losses.contrastive_loss(a[i], b[i], some[i] * 0, m), m),
        "triplet": (lambda i, m: losses.triplet_margin_loss(a[i], b[i], b[i] + a[i], m), m),
        "ArcFace": (lambda i, m: losses.arcface_loss(a[i], w, some[i], m, 4.0), m),
        "CosFace": (lambda i, m: losses.cosface_loss(a[i], w, some[i], m, 4.0), m),
    }
    for loss, settings in rows.values():
        each = leaf(settings)
        together = loss(slice(None), each)
        wanted = [loss(slice(i, i + 1), s).item() for i, s in enumerate(settings)]
        close(together, np.mean(wanted))
        assert tg.check_grads(lambda m: loss(slice(None), m), (each,), order=2)  # noqa: B023


@pytest.mark.parametrize(
    "name, form",
    [
        ("ContrastiveLoss", losses.ContrastiveLoss),
        ("info_nce", losses.InfoNCELoss),
        ("NT-Xent", losses.NTXentLoss),
        ("SimCLR", losses.NTXentLoss),
        ("SupCon", losses.SupervisedContrastiveLoss),
        ("triplet", losses.TripletMarginLoss),
        ("triplet_semihard", losses.SemiHardTripletLoss),
        ("ArcFace", losses.ArcFaceLoss),
        ("cosface", losses.CosFaceLoss),
    ],
)
def test_by_name(name, form):
    assert type(losses.get(name)) is form
