"""Fairness penalties: against Fairlearn's stored numbers and loops, what has no rate, ties, a
classifier made fairer, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

STORED = json.loads((Path(__file__).parent / "data" / "fairness.json").read_text())
PENALTIES = {
    "demographic_parity": lambda p, t, g, **s: losses.demographic_parity_penalty(p, g, **s),
    "equal_opportunity": losses.equal_opportunity_penalty,
    "equalized_odds": losses.equalized_odds_penalty,
}


@pytest.fixture
def rng():
    return np.random.default_rng(9)


@pytest.mark.parametrize("case", STORED)
def test_it_is_fairlearns(case):
    p = tg.tensor(np.array(case["input"], dtype="float64"))
    t, groups = tg.tensor(case["target"]), tg.tensor(case["groups"])
    weight = None if case["weight"] is None else tg.tensor(np.array(case["weight"]))
    for what, expected in case["found"].items():
        name, measure, *agg = what.split()
        settings = {"measure": measure, "weight": weight, **({"agg": agg[0]} if agg else {})}
        found = PENALTIES[name](p, t, groups, **settings).item()
        assert found == pytest.approx(1.0 - expected if measure == "ratio" else expected), what


def rates(p, kept, groups):
    return [p[kept & (groups == g)].mean() for g in set(groups) if (kept & (groups == g)).any()]


def test_against_loops(rng):
    p, t, groups = rng.random(30), rng.integers(0, 2, 30), rng.choice([-3, 7, 100], 30)
    given = tg.tensor(p), tg.tensor(t), tg.tensor(groups)
    every, true, false = (rates(p, kept, groups) for kept in (t >= 0, t == 1, t == 0))
    gap = {kind: max(r) - min(r) for kind, r in zip("etf", (every, true, false))}
    share = {kind: 1.0 - min(r) / max(r) for kind, r in zip("etf", (every, true, false))}
    for measure, found in (("difference", gap), ("ratio", share)):
        parity = losses.demographic_parity_penalty(given[0], given[2], measure)
        assert parity.item() == pytest.approx(found["e"])
        opportunity = losses.equal_opportunity_penalty(*given, measure)
        assert opportunity.item() == pytest.approx(found["t"])
        odds = losses.equalized_odds_penalty(*given, measure)
        assert odds.item() == pytest.approx(max(found["t"], found["f"]))
        odds = losses.equalized_odds_penalty(*given, measure, agg="mean")
        assert odds.item() == pytest.approx(0.5 * (found["t"] + found["f"]))


def test_the_gradient_is_that_of_the_groups_at_the_ends():
    p = tg.tensor([0.9, 0.7, 0.5, 0.1, 0.3], dtype="float64", requires_grad=True)
    groups = tg.tensor([0, 0, 1, 2, 2])
    loss = losses.demographic_parity_penalty(p, groups)
    assert loss.item() == pytest.approx(0.6)
    np.testing.assert_allclose(tg.grad(loss, p)[0].numpy(), [0.5, 0.5, 0.0, -0.5, -0.5])


def test_what_is_fair_stays():
    for groups in ([0, 1, 2], [0, 0, 1]):
        p = tg.tensor([0.5, 0.5, 0.5], requires_grad=True)
        for measure in ("difference", "ratio"):
            loss = losses.demographic_parity_penalty(p, tg.tensor(groups), measure)
            assert loss.item() == 0.0
            np.testing.assert_allclose(tg.grad(loss, p)[0].numpy(), 0.0, atol=1e-7)


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("measure", ["difference", "ratio"])
def test_predictions_of_exactly_0_and_1(p, measure):
    both = tg.tensor([p, p, p, p], requires_grad=True)
    t, groups = tg.tensor([1, 0, 1, 0]), tg.tensor([0, 0, 1, 1])
    for penalty in PENALTIES.values():
        loss = penalty(both, t, groups, measure=measure)
        assert loss.item() == 0.0
        assert np.isfinite(tg.grad(loss, both, create_graph=True)[0].detach().numpy()).all()
    apart = tg.tensor([0.0, 1.0], requires_grad=True)
    loss = losses.demographic_parity_penalty(apart, tg.tensor([0, 1]), measure)
    assert loss.item() == 1.0
    expected = [-1.0, 1.0] if measure == "difference" else [-1.0, 0.0]
    np.testing.assert_array_equal(tg.grad(loss, apart)[0].numpy(), expected)


@pytest.mark.parametrize("measure", ["difference", "ratio"])
def test_a_group_without_a_rate_is_left_out(measure):
    """Fairlearn counts the rate as 0, so that the difference would be 0.9 whatever is learned."""
    p = tg.tensor([0.9, 0.6, 0.2, 0.1], requires_grad=True)
    t, groups = tg.tensor([1, 1, 0, 0]), tg.tensor([0, 1, 2, 2])  # group 2 has no positives
    loss = losses.equal_opportunity_penalty(p, t, groups, measure)
    assert loss.item() == pytest.approx(0.3 if measure == "difference" else 1.0 / 3.0)
    assert (tg.grad(loss, p)[0].numpy()[2:] == 0.0).all()
    # false positive rates are group 2's alone
    odds = losses.equalized_odds_penalty(p, t, groups, measure)
    assert odds.item() == pytest.approx(loss.item())
    weight = tg.tensor([1.0, 1.0, 0.0, 0.0])
    found = losses.demographic_parity_penalty(p, groups, measure, weight)
    assert found.item() == pytest.approx(loss.item())


@pytest.mark.parametrize("measure", ["difference", "ratio"])
def test_no_rates_no_penalty(measure):
    p = tg.tensor([0.9, 0.6, 0.2], requires_grad=True)
    negatives, groups = tg.tensor([0, 0, 0]), tg.tensor([0, 1, 1])
    for loss in (
        losses.equal_opportunity_penalty(p, negatives, groups, measure),
        losses.demographic_parity_penalty(p, tg.tensor([4, 4, 4]), measure),
        losses.demographic_parity_penalty(p, groups, measure, tg.zeros(3)),
        losses.demographic_parity_penalty(p[:1], groups[:1], measure),
    ):
        assert loss.item() == pytest.approx(0.0, abs=1e-7)
        (g,) = tg.grad(loss, p, allow_unused=True)
        assert g is None or np.abs(g.numpy()).max() < 1e-7


def test_groups_of_any_names(rng):
    p = tg.tensor(rng.random(12))
    groups = rng.integers(0, 2, 12)
    expected = losses.demographic_parity_penalty(p, tg.tensor(groups)).item()
    for names in (groups == 1, 50 - 7 * groups, groups.astype("uint8"), groups.astype("int8")):
        assert losses.demographic_parity_penalty(p, tg.tensor(names)).item() == expected


def test_weights_count_like_copies(rng):
    p, t, groups = rng.random(8), np.array([0, 1] * 4), np.array([0, 0, 1, 1] * 2)
    times = np.array([1, 2, 3, 1, 2, 0, 1, 2])
    again = [tg.tensor(np.repeat(x, times)) for x in (p, t, groups)]
    found = losses.equalized_odds_penalty(
        tg.tensor(p), tg.tensor(t), tg.tensor(groups), weight=tg.tensor(times.astype("float64"))
    )
    assert found.item() == pytest.approx(losses.equalized_odds_penalty(*again).item())


def test_targets_of_any_kind(rng):
    p, groups = tg.tensor(rng.random(6)), tg.tensor([0, 0, 0, 1, 1, 1])
    t = tg.tensor([1, 0, 1, 1, 0, 0])
    expected = losses.equalized_odds_penalty(p, t, groups).item()
    for same in (t == 1, t.float(), t.double()):
        assert losses.equalized_odds_penalty(p, same, groups).item() == expected


def test_a_penalty_makes_a_classifier_fairer(rng):
    """Scores that follow the group; with the penalty the gap closes, at some cost in accuracy."""
    size = 400
    groups = rng.integers(0, 2, size)
    merit = rng.normal(size=size)
    y = (merit + 1.2 * groups + 0.5 * rng.normal(size=size) > 0.6) * 1.0
    x = tg.tensor(np.stack([merit, groups], axis=1))
    target, labels = tg.tensor(y), tg.tensor(groups)

    def train(penalty, strength):
        w = tg.zeros(3, dtype="float64", requires_grad=True)
        optimizer = tg.optim.SGD([w], lr=1.0)
        for _ in range(300):
            optimizer.zero_grad()
            logits = x @ w[:2] + w[2]
            loss = losses.binary_cross_entropy_with_logits(logits, target)
            unfair = penalty(tg.sigmoid(logits), target, labels)
            (loss + strength * unfair).backward()
            optimizer.step()
        with tg.no_grad():
            p = tg.sigmoid(x @ w[:2] + w[2])
            accuracy = ((p > 0.5) == (target > 0.5)).double().mean().item()
            return penalty(p, target, labels).item(), accuracy

    for name, penalty in PENALTIES.items():
        gap, accuracy = train(penalty, 0.0)
        fairer, still = train(penalty, 2.0)
        assert gap > 0.15 and fairer < 0.35 * gap, name
        assert accuracy > 0.85 and still > 0.6


def test_what_is_refused():
    p, t, groups = tg.tensor([0.5, 0.7]), tg.tensor([0, 1]), tg.tensor([0, 1])
    parity, odds = losses.demographic_parity_penalty, losses.equalized_odds_penalty
    with pytest.raises(ValueError, match=r"input must be in \[0, 1\], .* sigmoid first"):
        parity(p + 0.5, groups)
    with pytest.raises(TypeError, match=r"groups must be labels .* not float32"):
        parity(p, groups.float())
    with pytest.raises(ValueError, match=r"input must have shape \(N,\), not \(2, 1\)"):
        parity(p.unsqueeze(1), groups.unsqueeze(1))
    with pytest.raises(ValueError, match=r"groups has shape \(1,\)"):
        odds(p, t, groups[:1])
    with pytest.raises(ValueError, match=r"target must be in \[0, 1\], but entry \[1\] is 2"):
        odds(p, 2 * t, groups)
    with pytest.raises(ValueError, match="measure must be"):
        parity(p, groups, measure="gap")
    with pytest.raises(ValueError, match="agg must be"):
        odds(p, t, groups, agg="max")
    with pytest.raises(ValueError, match=r"weight has shape \(3,\)"):
        parity(p, groups, weight=tg.ones(3))
    with pytest.raises(ValueError, match=r"weight must not be negative, but entry \[0\] is -1"):
        parity(p, groups, weight=tg.tensor([-1.0, 1.0]))


def test_by_name():
    loss = losses.get("demographic_parity", measure="ratio")
    assert repr(loss) == "DemographicParityPenalty(measure='ratio')"
    assert loss(tg.tensor([0.5, 1.0]), tg.tensor([0, 1])).item() == 0.5
