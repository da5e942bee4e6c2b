"""Training by reward: estimates against enumeration, what is held constant, ROUGE, refusals."""

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def gradients(z, rewards, draws, **settings):
    """REINFORCE's gradient by the logits for each batch of draws."""
    found = []
    for drawn in draws:
        logits = tg.tensor(z, requires_grad=True)
        log_probs = tg.log_softmax(logits, dim=0)[tg.tensor(drawn)]
        loss = losses.reinforce_loss(log_probs, tg.tensor(rewards[drawn]), **settings)
        found.append(tg.grad(loss, logits)[0].numpy())
    return np.array(found)


def exact(z, rewards):
    """The gradient of minus the expected reward, -p_k (R_k - E R)."""
    p = softmax(z)
    return -p * (rewards - p @ rewards)


@pytest.mark.parametrize(
    "baseline, share", [(None, 1.0), (0.7, 1.0), ("leave_one_out", 1.0), ("mean", 1.0 - 1.0 / 3.0)]
)
def test_the_expectation_of_reinforce_is_the_gradient_of_the_expected_reward(baseline, share, rng):
    z, rewards = rng.normal(size=4), rng.normal(size=4)
    p = softmax(z)
    draws = np.array(list(itertools.product(range(4), repeat=3)))  # all batches of three
    weights = p[draws].prod(axis=1)
    expected = weights @ gradients(z, rewards, draws, baseline=baseline)
    np.testing.assert_allclose(expected, share * exact(z, rewards), atol=1e-14)

    logits = tg.tensor(z, requires_grad=True)
    loss = losses.expected_reward_loss(tg.log_softmax(logits, dim=0), tg.tensor(rewards))
    assert loss.item() == pytest.approx(-(p @ rewards))
    np.testing.assert_allclose(tg.grad(loss, logits)[0].numpy(), exact(z, rewards), atol=1e-14)


def test_a_baseline_makes_the_variance_smaller(rng):
    z, rewards = rng.normal(size=4), 5.0 + rng.normal(size=4)
    draws = np.array(list(itertools.product(range(4), repeat=3)))
    weights = softmax(z)[draws].prod(axis=1)

    def variance(baseline):
        found = gradients(z, rewards, draws, baseline=baseline)
        return weights @ ((found - weights @ found) ** 2).sum(axis=1)

    none = variance(None)
    for baseline in (5.0, "leave_one_out", "mean"):
        assert variance(baseline) < 0.2 * none


def test_reinforce_of_steps_against_a_loop(rng):
    logs, rewards = -rng.random((3, 4)), rng.normal(size=(3, 4))
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    expected = []
    for n in range(3):
        total = 0.0
        for t in range(4):
            if mask[n, t]:
                others = [rewards[i, t] for i in range(3) if mask[i, t] and i != n]
                b = sum(others) / len(others) if others else 0.0
                total -= (rewards[n, t] - b) * logs[n, t]
        expected.append(total)
    loss = losses.reinforce_loss(
        tg.tensor(logs), tg.tensor(rewards), "leave_one_out", tg.tensor(mask), "none"
    )
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)
    loss = losses.reinforce_loss(
        tg.tensor(logs), tg.tensor(rewards[:, 0]), "mean", tg.tensor(mask), "none"
    )
    advantage = rewards[:, 0] - rewards[:, 0].mean()
    np.testing.assert_allclose(loss.numpy(), -advantage * (logs * mask).sum(1), rtol=1e-12)


def test_padded_steps_may_hold_anything():
    mask = tg.tensor([[True, True], [True, False]])
    logs = tg.tensor([[-1.0, -2.0], [-3.0, -np.inf]], requires_grad=True)
    rewards = tg.tensor([[1.0, 2.0], [3.0, np.nan]])
    loss = losses.reinforce_loss(logs, rewards, "mean", mask)
    loss.backward()
    # means over the outputs that have the step: 2 and 2
    np.testing.assert_allclose(logs.grad.numpy(), [[0.5, 0.0], [-0.5, 0.0]])


def test_rewards_and_baseline_are_held_constant():
    logs = tg.tensor([-0.5, -1.0], requires_grad=True)
    rewards = tg.tensor([1.0, 0.25], requires_grad=True)
    critic = tg.tensor([0.5, 0.5], requires_grad=True)
    for loss in (
        losses.reinforce_loss(logs, rewards, critic),
        losses.self_critical_loss(logs, rewards, critic),
    ):
        assert tg.grad(loss, [rewards, critic], allow_unused=True, retain_graph=True) == (
            None,
            None,
        )
        np.testing.assert_allclose(tg.grad(loss, logs)[0].numpy(), [-0.25, 0.125])


def test_rewards_may_be_counts_or_truths():
    logs = tg.tensor([-0.5, -1.0])
    for rewards in (tg.tensor([1, 0]), tg.tensor([True, False]), np.array([1, 0], "uint8")):
        assert losses.reinforce_loss(logs, rewards).item() == 0.25


def test_one_output():
    logs, reward = tg.tensor([-2.0]), tg.tensor([3.0])
    assert losses.reinforce_loss(logs, reward).item() == 6.0
    assert losses.reinforce_loss(logs, reward, "mean").item() == 0.0
    assert losses.reinforce_loss(logs, reward, "leave_one_out").item() == 6.0


def test_self_critical_is_reinforce_with_the_greedy_reward(rng):
    logs, sampled, greedy = (tg.tensor(x) for x in (-rng.random(5), *rng.random((2, 5))))
    ours = losses.self_critical_loss(logs, sampled, greedy, reduction="none")
    np.testing.assert_allclose(ours.numpy(), -(sampled - greedy).numpy() * logs.numpy())
    assert losses.SelfCriticalLoss()(logs, greedy, greedy).item() == 0.0


def test_minimum_risk_against_a_loop(rng):
    logs, rewards = np.log(softmax(rng.normal(size=(3, 4)))), rng.random((3, 4))
    for alpha in (0.005, 1.0, 3.0):
        expected = []
        for n in range(3):
            q = np.exp(logs[n]) ** alpha
            expected.append(sum(q / q.sum() * (1.0 - rewards[n])))
        loss = losses.minimum_risk_loss(tg.tensor(logs), tg.tensor(rewards), alpha, None, "none")
        np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)


def test_an_alpha_for_each_input(rng):
    logs, rewards = (
        tg.tensor(np.log(softmax(rng.normal(size=(3, 4))))),
        tg.tensor(rng.random((3, 4))),
    )
    alphas = np.array([[0.1], [1.0], [3.0]])
    loss = lambda alpha: losses.minimum_risk_loss(logs, rewards, alpha, reduction="none")
    for n, alpha in enumerate(alphas[:, 0]):
        assert loss(tg.tensor(alphas))[n].item() == pytest.approx(loss(alpha)[n].item())
    assert tg.check_grads(loss, (alphas,), order=2)


def test_minimum_risk_over_everything_is_the_expected_risk(rng):
    logs = tg.log_softmax(tg.tensor(rng.normal(size=(3, 4))), dim=1)
    rewards = tg.tensor(rng.random((3, 4)))
    risk = losses.minimum_risk_loss(logs, rewards).item()
    assert risk == pytest.approx(1.0 + losses.expected_reward_loss(logs, rewards).item())
    # sharpened without end it is the risk of the likeliest, flattened that of any
    best = 1.0 - rewards.numpy()[np.arange(3), logs.numpy().argmax(1)]
    sharp = losses.minimum_risk_loss(logs, rewards, 1e4, reduction="none")
    np.testing.assert_allclose(sharp.numpy(), best, atol=1e-10)
    flat = losses.minimum_risk_loss(logs, rewards, 1e-9)
    assert flat.item() == pytest.approx(1.0 - rewards.numpy().mean())


def test_impossible_and_masked_candidates_are_left_out():
    logs = tg.tensor([[-1.0, -2.0, -np.inf, np.nan]], dtype="float64", requires_grad=True)
    rewards = tg.tensor([[1.0, 0.5, 0.2, np.nan]], dtype="float64", requires_grad=True)
    alpha = tg.tensor(0.5, dtype="float64", requires_grad=True)
    mask = tg.tensor([[True, True, True, False]])
    loss = losses.minimum_risk_loss(logs, rewards, alpha, mask)
    few = losses.minimum_risk_loss(logs[:, :2], rewards[:, :2], alpha)
    assert loss.item() == pytest.approx(few.item())
    for ours, theirs in zip(
        tg.grad(loss, [logs, rewards, alpha]), tg.grad(few, [logs, rewards, alpha])
    ):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)
    first, second = np.array([[0.3, 0.7, 0.0], [1.0, 0.0, 0.0]])
    logs = tg.tensor(np.array([first, second])).log().requires_grad_()
    loss = losses.expected_reward_loss(logs, tg.ones(2, 3).double())
    assert loss.item() == pytest.approx(-1.0)
    np.testing.assert_allclose(tg.grad(loss, logs)[0].numpy(), [-first / 2, -second / 2])


VOCABULARY = ["the", "cat", "sat", "down"]
REFERENCE = ["the", "cat", "sat"]
TEXTS = [list(text) for text in itertools.product(VOCABULARY, repeat=3)]
ROUGE = np.array([losses.rouge_n(text, REFERENCE, n=2).fmeasure for text in TEXTS])
PLACES = tg.tensor([[VOCABULARY.index(token) for token in text] for text in TEXTS])


def text_log_probs(logits):
    """log-probability of each of TEXTS, its three tokens being independent."""
    return tg.log_softmax(logits, dim=1)[tg.arange(3), PLACES].sum(dim=1)


def expected_rouge(logits):
    return float(np.exp(text_log_probs(logits).detach().numpy()) @ ROUGE)


def descend(loss, steps, rate):
    logits = tg.zeros(3, 4, dtype="float64", requires_grad=True)
    for _ in range(steps):
        logits = (logits - rate * tg.grad(loss(logits), logits)[0]).detach().requires_grad_()
    return logits


def said(logits):
    return [VOCABULARY[i] for i in logits.detach().numpy().argmax(1)]


def test_minimum_risk_training_raises_rouge():
    rewards = tg.tensor(ROUGE)
    before = expected_rouge(tg.zeros(3, 4, dtype="float64"))
    for alpha in (1.0, 0.5):
        logits = descend(
            lambda z, a=alpha: losses.minimum_risk_loss(text_log_probs(z), rewards, a), 100, 5.0
        )
        assert before < 0.15 and expected_rouge(logits) > 0.9
        assert said(logits) == REFERENCE


def test_reinforce_and_self_critical_training_raise_rouge(rng):
    rewards = tg.tensor(ROUGE)
    before = expected_rouge(tg.zeros(3, 4, dtype="float64"))

    def draw(logits):
        p = np.exp(text_log_probs(logits).detach().numpy())
        return tg.tensor(rng.choice(len(TEXTS), size=64, p=p / p.sum()))

    def reinforce(logits):
        drawn = draw(logits)
        return losses.reinforce_loss(text_log_probs(logits)[drawn], rewards[drawn], "mean")

    def self_critical(logits):
        drawn = draw(logits)
        greedy = tg.full_like(rewards[drawn], ROUGE[TEXTS.index(said(logits))])
        return losses.self_critical_loss(text_log_probs(logits)[drawn], rewards[drawn], greedy)

    for loss in (reinforce, self_critical):
        logits = descend(loss, 100, 2.0)
        assert before < 0.15 and expected_rouge(logits) > 0.8
        assert said(logits) == REFERENCE


def test_rouge_of_its_article():
    # Lin (2004), section 3.1: ROUGE-2 cannot tell S2 from S3, ROUGE-L can.
    s1, s2, s3, s4 = (
        text.split()
        for text in (
            "police killed the gunman",
            "police kill the gunman",
            "the gunman kill police",
            "the gunman police killed",
        )
    )
    assert losses.rouge_n(s2, s1, n=2).fmeasure == losses.rouge_n(s3, s1, n=2).fmeasure == 1 / 3
    assert losses.rouge_l(s2, s1).fmeasure == 0.75
    assert losses.rouge_l(s3, s1).fmeasure == losses.rouge_l(s4, s1).fmeasure == 0.5
    assert losses.rouge_n(s4, s1, n=2).fmeasure == 2 / 3


def test_rouge_counts_what_repeats_once_for_each():
    score = losses.rouge_n(["the", "the", "the", "cat"], ["the", "cat", "the", "dog"])
    assert score == (0.75, 0.75, 0.75)
    score = losses.rouge_n([7, 7, 7], [7])
    assert score == losses.RougeScore(precision=1 / 3, recall=1.0, fmeasure=0.5)
    assert losses.rouge_l([1, 2, 3, 4], [2, 9, 4]) == (0.5, 2 / 3, 4 / 7)


@pytest.mark.parametrize("score", [losses.rouge_n, losses.rouge_l])
def test_rouge_of_nothing_and_refusals(score):
    assert score([], ["a"]) == score(["a"], []) == score([], []) == (0.0, 0.0, 0.0)
    with pytest.raises(TypeError, match=r"'a b'\.split\(\)"):
        score("a b", ["a"])
    with pytest.raises(TypeError, match=r"Tensor: use \.tolist\(\)"):
        score([1, 2], tg.tensor([1, 2]))
    with pytest.raises(ValueError, match="at least 1, not 0"):
        losses.rouge_n(["a"], ["a"], n=0)


LOGS = tg.tensor([[-1.0, -2.0], [-3.0, -1.0]])


@pytest.mark.parametrize(
    "error, text, call",
    [
        (ValueError, r"\(N,\) or \(N, T\), not \(2, 2, 1\)", lambda: (LOGS.unsqueeze(2), LOGS)),
        (ValueError, r"\(2, 2\).*\(2,\), not \(3,\)", lambda: (LOGS, tg.zeros(3))),
        (ValueError, r"\(2, 2\) but rewards has shape \(2, 1\)", lambda: (LOGS, LOGS[:, :1])),
        (ValueError, "empty", lambda: (LOGS[:0], LOGS[:0])),
        (ValueError, "\"leave_one_out\", .* not 'best'", lambda: (LOGS, LOGS, "best")),
        (ValueError, r"baseline has shape \(2,\)", lambda: (LOGS, LOGS, tg.zeros(2))),
        (TypeError, "baseline must be a number or a tensor, not dict", lambda: (LOGS, LOGS, {})),
        (TypeError, "mask must be boolean, not float32", lambda: (LOGS, LOGS, None, LOGS)),
        (ValueError, r"mask has shape \(2,\)", lambda: (LOGS, LOGS, None, tg.ones(2) > 0)),
    ],
)
def test_refusals_of_reinforce(error, text, call):
    with pytest.raises(error, match=text):
        losses.reinforce_loss(*call())


def test_refusals_of_the_others():
    with pytest.raises(ValueError, match=r"greedy_rewards has shape \(2, 2\)"):
        losses.self_critical_loss(LOGS[0], LOGS[0], LOGS)
    with pytest.raises(ValueError, match=r"self_critical_loss.*\(2, 2\).*not \(3,\)"):
        losses.self_critical_loss(LOGS, tg.zeros(3), tg.zeros(3))
    with pytest.raises(ValueError, match=r"alpha must be positive, not 0"):
        losses.minimum_risk_loss(LOGS, LOGS, alpha=0.0)
    with pytest.raises(ValueError, match=r"alpha must .*\(2, 1\), but it has shape \(2,\)"):
        losses.minimum_risk_loss(LOGS, LOGS, alpha=tg.ones(2))
    with pytest.raises(ValueError, match=r"\(N, K\) or \(K,\), not \(\)"):
        losses.minimum_risk_loss(LOGS[0, 0], LOGS[0, 0])
    with pytest.raises(ValueError, match=r"exp\(log_probs\).* add up to 1 .*entry \[0\] is 0\.50"):
        losses.expected_reward_loss(LOGS, LOGS)
