"""Adversarial and variational losses: against PyTorch's and SciPy's stored numbers, closed forms,
the second derivative through a critic, extremes and refusals."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

STORED = json.loads((Path(__file__).parent / "data" / "generative.json").read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def finite(*values):
    return all(np.isfinite(v.detach().numpy()).all() for v in values)


# -- games ------------------------------------------------------------------------------------
def test_games_are_pytorchs():
    case = STORED["gan"]
    real, fake = tg.tensor(np.array(case["real"])), tg.tensor(np.array(case["fake"]))
    found = {
        "discriminator": losses.minimax_discriminator_loss(real, fake),
        "smoothed": losses.minimax_discriminator_loss(real, fake, label_smoothing=0.1),
        "minimax": losses.minimax_generator_loss(fake),
        "non_saturating": losses.non_saturating_generator_loss(fake),
        "hinge": losses.hinge_discriminator_loss(real, fake),
        "least_squares": losses.least_squares_discriminator_loss(real, fake),
        "least_squares_generator": losses.least_squares_generator_loss(fake),
    }
    for name, value in found.items():
        assert value.item() == pytest.approx(case[name], rel=1e-12), name


def test_a_discriminator_that_cannot_tell_costs_two_ln_two():
    zeros = tg.zeros(3, dtype="float64")
    assert losses.minimax_discriminator_loss(zeros, zeros).item() == 2.0 * math.log(2.0)
    assert losses.minimax_generator_loss(zeros).item() == -math.log(2.0)
    assert losses.non_saturating_generator_loss(zeros).item() == math.log(2.0)


def test_the_game_is_zero_sum_in_the_fakes(rng):
    real, fake = tg.tensor(rng.normal(size=3)), tg.tensor(rng.normal(size=5), requires_grad=True)
    both = losses.minimax_discriminator_loss(real, fake) + losses.minimax_generator_loss(fake)
    np.testing.assert_allclose(tg.grad(both, fake)[0].numpy(), 0.0, atol=1e-16)
    both = losses.wasserstein_critic_loss(real, fake) + losses.wasserstein_generator_loss(fake)
    assert both.item() == pytest.approx(-real.mean().item())


def test_the_minimax_generator_saturates_and_the_other_does_not():
    logits = tg.tensor([-10.0], dtype="float64", requires_grad=True)
    saturating = tg.grad(losses.minimax_generator_loss(logits), logits)[0].item()
    other = tg.grad(losses.non_saturating_generator_loss(logits), logits)[0].item()
    p = 1.0 / (1.0 + math.exp(10.0))
    assert saturating == pytest.approx(-p) and other == pytest.approx(-(1.0 - p))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_scores(dtype):
    scores = tg.tensor([1e4, -1e4], dtype=dtype, requires_grad=True)
    expected = {
        losses.minimax_generator_loss: ([-1e4, 0.0], [-1.0, 0.0]),
        losses.non_saturating_generator_loss: ([0.0, 1e4], [0.0, -1.0]),
        losses.wasserstein_generator_loss: ([-1e4, 1e4], [-1.0, -1.0]),
    }
    for loss, (values, slopes) in expected.items():
        each = loss(scores, reduction="none")
        np.testing.assert_array_equal(each.detach().numpy(), values)
        np.testing.assert_array_equal(tg.grad(each.sum(), scores)[0].numpy(), slopes)
    for loss in (
        losses.minimax_discriminator_loss,
        losses.hinge_discriminator_loss,
        losses.least_squares_discriminator_loss,
        losses.wasserstein_critic_loss,
    ):
        value = loss(scores, scores)
        first = tg.grad(value, scores, create_graph=True)[0]
        assert finite(value, first)
        assert finite(tg.grad((scores * first).sum(), scores)[0])
    smoothed = losses.minimax_discriminator_loss(scores, scores, label_smoothing=0.25)
    assert smoothed.item() == pytest.approx(1e4)  # ½·(¼ + ¾)·1e4 of the real, ½·1e4 of the fake


def test_the_pearson_labels_of_least_squares(rng):
    """With b - c = 1 and b - a = 2 the best discriminator's game is Pearson's χ² (Mao, eq. 5)."""
    p, q = rng.random(6), rng.random(6)
    p, q = p / p.sum(), q / q.sum()
    best = (p - q) / (p + q)  # (b p + a q)/(p + q)
    scores = tg.tensor(best)
    twice = 2.0 * losses.least_squares_generator_loss(scores, c=0.0, reduction="none").numpy()
    chi2 = ((2.0 * q - (p + q)) ** 2 / (p + q)).sum()
    assert (twice * (p + q)).sum() == pytest.approx(chi2)


def test_a_critic_needs_a_constraint():
    """Without one its loss has no minimum: scores scaled by 10 are 10 times better."""
    real, fake = tg.tensor([1.0, 2.0]), tg.tensor([0.0, 0.5, 1.0])
    loss = losses.wasserstein_critic_loss(real, fake)
    assert loss.item() == -1.0
    assert losses.wasserstein_critic_loss(10.0 * real, 10.0 * fake).item() == -10.0
    assert "Lipschitz" in losses.wasserstein_critic_loss.__doc__


def test_a_1_lipschitz_critic_finds_the_distance():
    """Of samples apart on the line the best critic is the identity."""
    real, fake = tg.tensor([3.0, 5.0, 4.0]), tg.tensor([0.0, 1.0, 2.0])
    found = -losses.wasserstein_critic_loss(real, fake)
    assert found.item() == losses.wasserstein_distance_1d(real, fake).item() == 3.0


def test_scores_may_be_columns_of_any_number_of_rows():
    real, fake = tg.ones(4, 1), tg.zeros(2, 1)
    assert losses.wasserstein_critic_loss(real, fake).item() == -1.0
    with pytest.raises(ValueError, match=r"real_scores and fake_scores .* \(4, 1\) and \(4,\)"):
        losses.wasserstein_critic_loss(real, tg.zeros(4))
    with pytest.raises(ValueError, match=r"fake_scores has shape \(0,\)"):
        losses.wasserstein_critic_loss(tg.ones(2), tg.zeros(0))
    with pytest.raises(TypeError, match="fake_logits must be floating"):
        losses.minimax_discriminator_loss(tg.ones(2), tg.tensor([1, 2]))
    with pytest.raises(ValueError, match="label_smoothing"):
        losses.minimax_discriminator_loss(tg.ones(2), tg.ones(2), label_smoothing=1.5)


def test_settings_that_would_broadcast_are_refused():
    x, column = tg.ones(3), tg.tensor([[1.0], [0.5], [0.25]])
    discriminator = losses.least_squares_discriminator_loss
    for name, call in {
        "label_smoothing": lambda: losses.minimax_discriminator_loss(x, x, column),
        "a": lambda: discriminator(x, x, a=column),
        "b": lambda: discriminator(x, x, b=column),
        "c": lambda: losses.least_squares_generator_loss(x, c=column),
        "weight": lambda: losses.gradient_penalty(lambda x: x, x, x, weight=column),
        "target": lambda: losses.gradient_penalty(lambda x: x, x, x, target=column),
        "beta": lambda: losses.elbo_loss(x, x, beta=column),
    }.items():
        says = rf" {name} must be one number or broadcast to \(3,\), but it has shape \(3, 1\)"
        with pytest.raises(ValueError, match=says):
            call()
    for name, call in {
        "a": lambda: discriminator(x, x, a=None),
        "weight": lambda: losses.gradient_penalty(lambda x: x, x, x, weight=None),
        "beta": lambda: losses.elbo_loss(x, x, beta=None),
    }.items():
        with pytest.raises(TypeError, match=f" {name} must be a number or a tensor, not NoneType"):
            call()


def test_settings_of_each_sample():
    x, each = tg.zeros(2), tg.tensor([1.0, 2.0], requires_grad=True)
    loss = losses.least_squares_generator_loss(x, c=each)
    assert loss.item() == 1.25
    np.testing.assert_array_equal(tg.grad(loss, each)[0].numpy(), [0.5, 1.0])


# -- the gradient penalty ---------------------------------------------------------------------
def mlp(w1, b1, w2):
    return lambda x: tg.tanh(x.reshape(x.shape[0], -1) @ w1 + b1) @ w2


def test_the_penalty_is_pytorchs_to_second_order():
    case = STORED["penalty"]
    t = {k: tg.tensor(np.array(v), requires_grad=True) for k, v in case["given"].items()}
    critic = mlp(t["w1"], t["b1"], t["w2"])
    value = losses.gradient_penalty(
        critic, t["real"], t["fake"], mixing=tg.tensor(np.array(case["mixing"]))
    )
    assert value.item() == pytest.approx(case["value"], rel=1e-12)
    gradients = tg.grad(value, list(t.values()), create_graph=True)
    for name, g in zip(t, gradients):
        np.testing.assert_allclose(g.detach().numpy(), case["gradients"][name], rtol=1e-9)
    squares = sum((g * g).sum() for g in gradients)
    for name, g in zip(t, tg.grad(squares, list(t.values()))):
        np.testing.assert_allclose(g.numpy(), case["second"][name], rtol=1e-8, atol=1e-9)


def test_the_penaltys_gradient_by_the_critics_parameters(rng):
    """The second derivative through the model, and one more, against finite differences."""
    real, fake = (tg.tensor(rng.normal(size=(4, 3))) for _ in range(2))
    mixing = tg.tensor(rng.random(4))

    def penalty(w1, b1, w2, weight, target):
        return losses.gradient_penalty(
            mlp(w1, b1, w2), real, fake, weight=weight, target=target, mixing=mixing
        )

    given = (rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=(5, 1)))
    given = (*map(tg.tensor, given), tg.tensor(7.0), tg.tensor(0.8))
    assert tg.check_grads(penalty, given, order=2)


def test_the_penalty_of_a_linear_critic_is_known(rng):
    w = rng.normal(size=(6,))
    slope = tg.tensor(w, requires_grad=True)
    batches = [tg.tensor(rng.normal(size=(3, 2, 3))) for _ in range(2)]
    value = losses.gradient_penalty(
        lambda x: x.reshape(3, 6) @ slope, *batches, weight=4.0, target=0.5
    )
    norm = np.linalg.norm(w)
    assert value.item() == pytest.approx(4.0 * (norm - 0.5) ** 2)
    np.testing.assert_allclose(
        tg.grad(value, slope)[0].numpy(), 8.0 * (norm - 0.5) * w / norm, rtol=1e-12
    )


def test_points_lie_between_real_and_fake():
    seen = []

    def critic(x):
        seen.append(x.detach().numpy())
        return x.sum(dim=1)

    real, fake = tg.ones(1000, 2), tg.zeros(1000, 2)
    draw = tg.Generator().manual_seed(3)
    losses.gradient_penalty(critic, real, fake, generator=draw)
    losses.gradient_penalty(critic, real, fake, generator=tg.Generator().manual_seed(3))
    losses.gradient_penalty(critic, real, fake, generator=draw)
    losses.gradient_penalty(critic, real, fake, mixing=0.25)
    points = seen[0]
    np.testing.assert_array_equal(points[:, 0], points[:, 1])  # one share for each sample
    assert points.min() >= 0.0 and points.max() <= 1.0
    assert points[:, 0].mean() == pytest.approx(0.5, abs=0.03)
    assert points[:, 0].var() == pytest.approx(1.0 / 12.0, abs=0.01)
    np.testing.assert_array_equal(points, seen[1])
    assert (points != seen[2]).any()
    np.testing.assert_array_equal(seen[3], 0.25)


def test_a_zero_gradient_is_finite():
    w = tg.zeros(3, requires_grad=True)
    x = tg.ones(2, 3)
    value = losses.gradient_penalty(lambda x: tg.tanh(x @ w), x, x)
    assert value.item() == 10.0
    (g,) = tg.grad(value, w, create_graph=True)
    np.testing.assert_array_equal(g.detach().numpy(), 0.0)
    assert finite(tg.grad(g.sum(), w)[0])
    assert losses.gradient_penalty(lambda x: w.sum() * tg.ones(2), x, x).item() == 10.0


def test_the_penalty_trains_modules_and_leaves_no_gradient_behind(rng):
    tg.manual_seed(0)
    critic = tg.nn.Sequential(tg.nn.Linear(2, 8), tg.nn.Tanh(), tg.nn.Linear(8, 1))
    optimizer = tg.optim.Adam(critic.parameters(), lr=0.02)
    real = tg.tensor(rng.normal(size=(64, 2)).astype("float32")) + tg.tensor([2.0, 0.0])
    fake = tg.tensor(rng.normal(size=(64, 2)).astype("float32"))
    loss = losses.GradientPenalty(generator=tg.Generator().manual_seed(1))
    before = loss(critic, real, fake)
    assert all(p.grad is None for p in critic.parameters())
    for _ in range(150):
        optimizer.zero_grad()
        scores = losses.wasserstein_critic_loss(critic(real), critic(fake))
        (scores + loss(critic, real, fake)).backward()
        optimizer.step()
    assert loss(critic, real, fake).item() < 0.2 * before.item()
    # a mean shifted by 2 along one axis: the distance is 2
    distance = -losses.wasserstein_critic_loss(critic(real), critic(fake)).item()
    assert distance == pytest.approx(2.0, abs=0.5)


def test_the_penalty_is_known_without_a_tape():
    w = tg.tensor([3.0, 4.0], requires_grad=True)
    with tg.no_grad():
        value = losses.gradient_penalty(lambda x: x @ w, tg.ones(1, 2), tg.zeros(1, 2))
    assert value.item() == 160.0 and not value.requires_grad


def test_what_the_penalty_refuses():
    x = tg.ones(3, 2)
    penalty = losses.gradient_penalty
    with pytest.raises(
        TypeError, match=r"critic must be callable, not Tensor: .*critic, real, fake"
    ):
        penalty(x, x, lambda x: x)
    with pytest.raises(ValueError, match=r"one score for each of the 3 samples.*not \(\)"):
        penalty(lambda x: x.mean(), x, x)
    with pytest.raises(ValueError, match=r"one score .* not float"):
        penalty(lambda x: 1.0, x, x)
    with pytest.raises(ValueError, match=r"mixing must be .* \(3,\), but it has shape \(3, 1\)"):
        penalty(lambda x: x.sum(1), x, x, mixing=tg.ones(3, 1))
    with pytest.raises(TypeError, match="mixing must be a number or a tensor, not list"):
        penalty(lambda x: x.sum(1), x, x, mixing=[0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="mixing must be in"):
        penalty(lambda x: x.sum(1), x, x, mixing=1.5)
    with pytest.raises(ValueError, match=r"real must have shape \(N, \.\.\.\), not \(\)"):
        penalty(lambda x: x, tg.tensor(1.0), tg.tensor(1.0))


def test_the_penalty_as_a_class_and_by_name():
    loss = losses.get("wgan_gp", weight=2.0)
    assert repr(loss) == "GradientPenalty(weight=2.0)"
    x = tg.ones(3, 2)
    assert loss(lambda x: 2.0 * x[:, 0], x, x).item() == 2.0
    none = losses.GradientPenalty(reduction="none")(lambda x: 2.0 * x[:, 0], x, x)
    np.testing.assert_array_equal(none.numpy(), [10.0] * 3)


# -- the Wasserstein distance on the line -----------------------------------------------------
@pytest.mark.parametrize("case", STORED["distances"])
def test_the_distance_is_scipys(case):
    a, b, u, v = (None if case[k] is None else tg.tensor(np.array(case[k])) for k in "abuv")
    found = losses.wasserstein_distance_1d(a, b, a_weights=u, b_weights=v)
    assert found.item() == pytest.approx(case["distance"], rel=1e-12)
    found = losses.wasserstein_distance_1d(b, a, a_weights=v, b_weights=u)
    assert found.item() == pytest.approx(case["distance"], rel=1e-12)


def by_quantiles(a, b, u, v, p, steps=200_000):
    """The integral over q, by the midpoint rule."""
    q = (np.arange(steps) + 0.5) / steps
    quantiles = []
    for x, w in ((a, u), (b, v)):
        order = np.argsort(x)
        ends = np.cumsum(w[order]) / w.sum()
        quantiles.append(x[order][np.searchsorted(ends, q).clip(max=len(x) - 1)])
    return np.mean(np.abs(quantiles[0] - quantiles[1]) ** p) ** (1.0 / p)


@pytest.mark.parametrize("p", [1, 2, 1.5, 3.0])
def test_the_distance_is_the_integral(p, rng):
    a, b, u, v = rng.normal(size=5), rng.normal(size=8), rng.random(5), rng.random(8)
    given = [tg.tensor(x) for x in (a, b)]
    found = losses.wasserstein_distance_1d(*given, p, tg.tensor(u), tg.tensor(v))
    assert found.item() == pytest.approx(by_quantiles(a, b, u, v, p), rel=1e-4)
    found = losses.wasserstein_distance_1d(*given, p)
    assert found.item() == pytest.approx(by_quantiles(a, b, np.ones(5), np.ones(8), p), rel=1e-4)


@pytest.mark.parametrize("p", [1, 2, 2.5])
def test_the_two_ways_agree(p, rng):
    a, b = (tg.tensor(rng.normal(size=7)) for _ in range(2))
    short = losses.wasserstein_distance_1d(a, b, p).item()
    ones = tg.ones(7, dtype="float64")
    assert losses.wasserstein_distance_1d(a, b, p, ones, 3.0 * ones).item() == pytest.approx(short)
    twice = losses.wasserstein_distance_1d(tg.cat([a, a]), b, p).item()
    assert twice == pytest.approx(short)


def test_a_number_of_weight_2_counts_as_two(rng):
    a, b = tg.tensor(rng.normal(size=3)), tg.tensor(rng.normal(size=5))
    weighted = losses.wasserstein_distance_1d(a, b, a_weights=tg.tensor([2.0, 1.0, 0.0]).double())
    twice = losses.wasserstein_distance_1d(a[tg.tensor([0, 0, 1])], b)
    assert weighted.item() == pytest.approx(twice.item())


def test_shifts_and_scales(rng):
    a = tg.tensor(rng.normal(size=9))
    for p in (1, 2, 1.3):
        assert losses.wasserstein_distance_1d(a, a + 2.5, p).item() == pytest.approx(2.5)
        assert losses.wasserstein_distance_1d(a, -2.0 + a, p).item() == pytest.approx(2.0)


@pytest.mark.parametrize("p", [1, 1.0, 1.5, 2, 2.0])
def test_coinciding_samples_are_finite(p):
    a = tg.tensor([1.0, 3.0, 2.0], requires_grad=True)
    b = tg.tensor([3.0, 2.0, 1.0])
    value = losses.wasserstein_distance_1d(a, b, p)
    assert value.item() == 0.0
    np.testing.assert_array_equal(tg.grad(value, a)[0].numpy(), 0.0)
    one = tg.tensor([2.0], requires_grad=True)
    value = losses.wasserstein_distance_1d(one, tg.tensor([5.0]), p)
    assert value.item() == pytest.approx(3.0)
    assert tg.grad(value, one)[0].item() == pytest.approx(-1.0)


def test_second_derivative_where_one_pair_coincides():
    """W₂² = mean gap² has curvature there too: not composed through abs."""
    b = tg.tensor([0.0, 5.0], dtype="float64")
    a = tg.tensor([0.0, 6.0], dtype="float64", requires_grad=True)
    (g,) = tg.grad(losses.wasserstein_distance_1d(a, b, 2), a, create_graph=True)
    second = tg.grad(g[0], a)[0].numpy()
    # W = √(½(x² + 1)): its second derivative by x at 0 is 1/√2
    np.testing.assert_allclose(second, [1.0 / math.sqrt(2.0), 0.0], atol=1e-12)


def test_second_derivative_where_one_pair_coincides_and_p_is_a_tensor():
    b = tg.tensor([0.0, 5.0], dtype="float64")
    a = tg.tensor([0.0, 6.0], dtype="float64", requires_grad=True)
    for p, expected in ((2.0, 1.0 / math.sqrt(2.0)), (3.0, 0.0), (1.0, 0.0), (1.5, 0.0)):
        p = tg.tensor(p, dtype="float64", requires_grad=True)
        (g,) = tg.grad(losses.wasserstein_distance_1d(a, b, p), a, create_graph=True)
        by_a, by_p = tg.grad(g[0], [a, p])
        np.testing.assert_allclose(by_a.numpy(), [expected, 0.0], atol=1e-12)
        assert by_p.item() == 0.0


@pytest.mark.parametrize("p", [2, 50.0, tg.tensor(3.0)])
@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_powers_out_of_range_are_no_matter(p, scale):
    """In single precision neither 1e30 nor 1e-30 has a square."""
    a, b = tg.tensor([2.0, 0.0, 1.0], requires_grad=True), tg.tensor([-1.0, 0.5, 4.0])
    for weights in ({}, {"a_weights": tg.tensor([1.0, 2.0, 3.0])}):
        value = losses.wasserstein_distance_1d(a, b, p, **weights)
        slope = tg.grad(value, a)[0].numpy()
        large = (scale * a).detach().requires_grad_()
        found = losses.wasserstein_distance_1d(large, scale * b, p, **weights)
        assert found.item() == pytest.approx(scale * value.item(), rel=1e-5)
        np.testing.assert_allclose(tg.grad(found, large)[0].numpy(), slope, rtol=1e-5, atol=1e-12)


def test_the_gradient_of_p_as_a_tensor(rng):
    a, b = tg.tensor(rng.normal(size=6)), tg.tensor(rng.normal(size=6))
    p = tg.tensor(2.0, dtype="float64")
    assert losses.wasserstein_distance_1d(a, b, p).item() == pytest.approx(
        losses.wasserstein_distance_1d(a, b, 2).item()
    )
    assert tg.check_grads(lambda p: losses.wasserstein_distance_1d(a, b, p), (p,), order=2)


def test_what_the_distance_refuses():
    a = tg.ones(3)
    distance = losses.wasserstein_distance_1d
    with pytest.raises(ValueError, match=r"p must be at least 1 and finite, but it is 0\.5"):
        distance(a, a, p=0.5)
    with pytest.raises(ValueError, match="p must be at least 1 and finite, but it is 0"):
        distance(a, a, p=0)
    with pytest.raises(ValueError, match="p must be at least 1 and finite, but it is inf"):
        distance(a, a, p=math.inf)
    with pytest.raises(ValueError, match=r"p must be one number, but it has shape \(3,\)"):
        distance(a, a, p=2.0 * a)
    with pytest.raises(TypeError, match="p must be a number or a tensor, not str '2'"):
        distance(a, a, p="2")
    with pytest.raises(ValueError, match=r"b must have shape \(N,\), not \(3, 1\)"):
        distance(a, tg.ones(3, 1))
    with pytest.raises(ValueError, match=r"empty \(b has shape \(0,\)\)"):
        distance(a, tg.ones(0))
    with pytest.raises(ValueError, match=r"a_weights has shape \(2,\)"):
        distance(a, a, a_weights=tg.ones(2))
    with pytest.raises(ValueError, match=r"must not be negative, but entry \[1\] is -1"):
        distance(a, a, b_weights=tg.tensor([1.0, -1.0, 1.0]))
    with pytest.raises(ValueError, match="a_weights must not all be 0"):
        distance(a, a, a_weights=tg.zeros(3))


def test_points_move_to_a_target_distribution(rng):
    target = tg.tensor(np.sort(rng.normal(size=20)) + 3.0)
    x = tg.tensor(rng.normal(size=20), requires_grad=True)
    optimizer = tg.optim.SGD([x], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        (losses.wasserstein_distance_1d(x, target, 2) ** 2).backward()
        optimizer.step()
    np.testing.assert_allclose(np.sort(x.detach().numpy()), target.numpy(), atol=1e-6)


# -- the evidence lower bound -----------------------------------------------------------------
def given(*names):
    return [tg.tensor(np.array(STORED["elbo"][name])) for name in names]


def test_the_elbos_pieces_are_torchs_distributions():
    z, x, bits, mean, log_var, other, other_log_var = given(
        "z", "x", "bits", "mean", "log_var", "other", "other_log_var"
    )
    found = {
        "kl": losses.gaussian_kl_loss(mean, log_var, reduction="none"),
        "kl_other": losses.gaussian_kl_loss(mean, log_var, other, other_log_var, "none"),
        "bernoulli": losses.bernoulli_reconstruction_loss(z, bits, "none"),
        "gaussian": losses.gaussian_reconstruction_loss(z, x, -0.7, "none"),
    }
    for name, values in found.items():
        np.testing.assert_allclose(values.numpy(), STORED["elbo"][name], rtol=1e-12)
    whole = losses.vae_loss(z, bits, mean, log_var, beta=3.0)
    expected = np.mean(STORED["elbo"]["bernoulli"]) + 3.0 * np.mean(STORED["elbo"]["kl"])
    assert whole.item() == pytest.approx(expected, rel=1e-12)
    total = losses.vae_loss(z, x, mean, log_var, likelihood="gaussian", reduction="sum")
    reconstruction = losses.gaussian_reconstruction_loss(z, x, reduction="sum")
    kl = losses.gaussian_kl_loss(mean, log_var, reduction="sum")
    assert total.item() == pytest.approx((reconstruction + kl).item())
    assert losses.elbo_loss(reconstruction, kl).item() == pytest.approx(total.item())


def test_kl_against_draws(rng):
    """KL is the mean of log q - log p over draws from q, and these are what it is reparameterized
    to."""
    mean, log_var = tg.tensor([[0.5, -1.0]]).double(), tg.tensor([[0.6, -0.8]]).double()
    prior = tg.tensor([[0.2, 0.1]]).double(), tg.tensor([[0.3, -0.2]]).double()
    many = 100_000
    draws = losses.reparameterize(
        mean.expand(many, 2), log_var.expand(many, 2), generator=tg.Generator().manual_seed(4)
    )
    np.testing.assert_allclose(draws.mean(dim=0).numpy(), mean[0].numpy(), atol=0.02)
    np.testing.assert_allclose(draws.var(dim=0).numpy(), np.exp(log_var[0].numpy()), rtol=0.02)

    def log_density(x, mean, log_var):
        return -losses.gaussian_reconstruction_loss(mean.expand(many, 2), x, log_var, "none")

    for m, v in (prior, (tg.zeros(1, 2).double(), tg.zeros(1, 2).double())):
        sampled = (log_density(draws, mean, log_var) - log_density(draws, m, v)).mean().item()
        exact = losses.gaussian_kl_loss(mean, log_var, m, v).item()
        assert sampled == pytest.approx(exact, abs=0.02)


def test_the_gradient_flows_through_a_draw(rng):
    """E z² = mean² + variance, so its gradients are 2·mean and the variance."""
    mean = tg.tensor(0.7 * np.ones(200_000), requires_grad=True)
    log_var = tg.tensor(0.4 * np.ones(200_000), requires_grad=True)
    z = losses.reparameterize(mean, log_var, generator=tg.Generator().manual_seed(0))
    (z * z).sum().backward()
    assert mean.grad.mean().item() == pytest.approx(1.4, abs=0.02)
    assert log_var.grad.mean().item() == pytest.approx(math.exp(0.4), abs=0.03)
    noise = tg.tensor(rng.normal(size=5))
    assert tg.check_grads(
        lambda m, v: losses.reparameterize(m, v, noise=noise),
        (tg.tensor(rng.normal(size=5)), tg.tensor(rng.normal(size=5))),
        order=2,
    )


def test_minus_the_elbo_bounds_the_likelihood_and_meets_it_at_the_posterior():
    """A linear Gaussian model: z ~ N(0, 1), x ~ N(z, 1), so x ~ N(0, 2) and z | x ~ N(x/2, 1/2)."""
    x = 1.3
    evidence = 0.5 * math.log(2.0 * math.pi * 2.0) + x * x / 4.0
    points, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()

    def bound(mean, var):
        z = tg.tensor((mean + math.sqrt(var) * points)[:, None])
        likelihood = losses.gaussian_reconstruction_loss(
            z, tg.full((20, 1), x, dtype="float64"), reduction="none"
        )
        expected = (tg.tensor(weights) * likelihood).sum()
        kl = losses.gaussian_kl_loss(
            tg.tensor([[mean]]).double(), tg.tensor([[math.log(var)]], dtype="float64")
        )
        return losses.elbo_loss(expected, kl).item()

    assert bound(x / 2.0, 0.5) == pytest.approx(evidence, abs=1e-6)
    for mean, var in ((0.0, 1.0), (0.6, 0.5), (x / 2.0, 0.4), (x, 0.7)):
        assert bound(mean, var) > evidence + 1e-4


def test_kl_of_the_same_is_zero_and_keeps_its_digits():
    zeros = tg.zeros(1, 2, dtype="float64")
    assert losses.gaussian_kl_loss(zeros, zeros).item() == 0.0
    tiny = tg.full((1, 1), 1e-5, dtype="float64", requires_grad=True)
    value = losses.gaussian_kl_loss(tg.zeros(1, 1, dtype="float64"), tiny)
    assert value.item() == pytest.approx(0.25e-10, rel=1e-5)  # ¼ d²
    (g,) = tg.grad(value, tiny, create_graph=True)
    assert g.item() == pytest.approx(0.5e-5, rel=1e-4)
    assert tg.grad(g.sum(), tiny)[0].item() == pytest.approx(0.5, rel=1e-4)


def test_extremes_of_the_elbo():
    z = tg.tensor([[1e4, -1e4]], requires_grad=True)
    right, wrong = tg.tensor([[1.0, 0.0]]), tg.tensor([[0.0, 1.0]])
    assert losses.bernoulli_reconstruction_loss(z, right).item() == 0.0
    value = losses.bernoulli_reconstruction_loss(z, wrong)
    assert value.item() == 2e4
    np.testing.assert_array_equal(tg.grad(value, z)[0].numpy(), [[1.0, -1.0]])
    flat = tg.tensor([[-1e4]], requires_grad=True)
    value = losses.gaussian_kl_loss(tg.tensor([[1.0]]), flat)
    assert value.item() == pytest.approx(5000.0)
    assert tg.grad(value, flat)[0].item() == pytest.approx(-0.5)
    # a variance of e^-100, in single precision: the square alone would overflow
    value = losses.gaussian_reconstruction_loss(
        tg.tensor([[1e-22]]), tg.tensor([[0.0]]), log_var=-100.0
    )
    assert value.item() == pytest.approx(
        0.5 * (1e-44 * math.exp(100.0) - 100.0 + math.log(2.0 * math.pi)), rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_variance_too_small_for_its_inverse(dtype):
    """An error of exactly 0 stays one, though e^2000 is beyond all numbers."""
    x, t = tg.tensor([[1.0, 2.0]], dtype=dtype), tg.tensor([[1.0, 2.0]], dtype=dtype)
    low, row = (tg.tensor(v, dtype=dtype) for v in (-2000.0, [[-2000.0, -2000.0]]))
    for loss, given, value, slopes in (
        (losses.gaussian_reconstruction_loss, (x, t, low), math.log(2 * math.pi) - 2000.0, [0, 1]),
        (lambda x, m, low: losses.gaussian_kl_loss(x, row, m, low), (x, t, low), 0.0, [0, 0]),
        (lambda x, e, low: losses.reparameterize(x, -low, noise=e), (x, 0 * x, -row), 3.0, [1, 0]),
    ):
        given = [v.detach().requires_grad_() for v in given]
        found = loss(*given).sum()
        assert found.item() == pytest.approx(value, rel=1e-6)
        first = tg.grad(found, given, create_graph=True)
        np.testing.assert_array_equal(first[0].detach().numpy(), slopes[0])
        np.testing.assert_array_equal(first[2].detach().numpy(), slopes[1])
        seen = [g.sum() for g in first if g.requires_grad]
        for g in tg.grad(sum(seen[1:], seen[0]), given, allow_unused=True):
            assert g is None or finite(g)
    # where it is not 0, the loss is
    wrong = losses.gaussian_reconstruction_loss(x, t + 1e-3, low)
    assert wrong.item() == math.inf
    # and curvature is there as long as it is a number
    at = x.detach().requires_grad_()
    (g,) = tg.grad(losses.gaussian_reconstruction_loss(at, t, -80.0), at, create_graph=True)
    assert tg.grad(g[0, 0], at)[0].numpy()[0, 0] == pytest.approx(math.exp(80.0), rel=1e-5)


def test_a_learned_variance_finds_the_error(rng):
    """-log p is least at ln v = ln mean error²."""
    x, t = tg.tensor(rng.normal(size=(50, 3))), tg.tensor(rng.normal(size=(50, 3)))
    best = math.log(((x - t) ** 2).mean().item())
    log_var = tg.tensor(best, dtype="float64", requires_grad=True)
    loss = losses.gaussian_reconstruction_loss(x, t, log_var)
    assert tg.grad(loss, log_var)[0].item() == pytest.approx(0.0, abs=1e-12)


def test_a_prior_of_one_row_serves_all(rng):
    mean, log_var = (tg.tensor(rng.normal(size=(4, 3))) for _ in range(2))
    prior = tg.tensor(rng.normal(size=3))
    wide = prior.expand(4, 3)
    assert (
        losses.gaussian_kl_loss(mean, log_var, prior, prior).item()
        == losses.gaussian_kl_loss(mean, log_var, wide, wide).item()
    )


def test_images_count_all_their_pixels(rng):
    z, t = tg.tensor(rng.normal(size=(2, 3, 4, 4))), tg.tensor(rng.random((2, 3, 4, 4)))
    for loss in (losses.bernoulli_reconstruction_loss, losses.gaussian_reconstruction_loss):
        flat = loss(z.reshape(2, 48), t.reshape(2, 48))
        assert loss(z, t).item() == pytest.approx(flat.item())


def test_what_the_elbo_refuses():
    x = tg.zeros(2, 3)
    with pytest.raises(ValueError, match=r"mean must have shape \(N, \.\.\.\).*not \(3,\)"):
        losses.gaussian_kl_loss(tg.zeros(3), tg.zeros(3))
    with pytest.raises(ValueError, match=r"prior_mean must .* shape \(2, 3\).* is \(2,\)"):
        losses.gaussian_kl_loss(x, x, prior_mean=tg.zeros(2))
    with pytest.raises(ValueError, match=r"log_var must .* shape \(2, 3\).* is \(4, 2, 3\)"):
        losses.gaussian_reconstruction_loss(x, x, log_var=tg.zeros(4, 2, 3))
    with pytest.raises(ValueError, match=r"target must be in \[0, 1\]"):
        losses.bernoulli_reconstruction_loss(x, x + 2.0)
    with pytest.raises(ValueError, match="likelihood"):
        losses.vae_loss(x, x, x, x, likelihood="poisson")
    with pytest.raises(ValueError, match=r"input has 2 samples .* mean has 3 \(.*\(3, 1\)\)"):
        losses.vae_loss(x, x, tg.zeros(3, 1), tg.zeros(3, 1))
    with pytest.raises(ValueError, match=r"noise has shape \(3, 2\)"):
        losses.reparameterize(x, x, noise=tg.zeros(3, 2))
