"""Sequence cross-entropy and perplexity: PyTorch's stored values, padding, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.losses import next_token_cross_entropy, perplexity, sequence_cross_entropy

STORED = json.loads((Path(__file__).parent / "data" / "sequences.json").read_text())
CASES = STORED["cases"]
TOKENS = tg.tensor(STORED["target"])
#: The same padding said otherwise: any tokens with a mask or with lengths.
FILLED = tg.where(TOKENS == -100, 99, TOKENS)
MASK = TOKENS != -100
LENGTHS = (4, 2, 3)


@pytest.fixture
def logits():
    return tg.tensor(np.random.default_rng(2).normal(size=(3, 4, 4)))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['function']}-{c['settings']}")
@pytest.mark.parametrize("padding", ["ignore_index", "mask", "lengths"])
def test_agrees_with_pytorch(case, padding):
    target, said = {
        "ignore_index": (TOKENS, {}),
        "mask": (FILLED, {"mask": MASK}),
        "lengths": (FILLED, {"lengths": LENGTHS}),
    }[padding]
    settings = dict(case["settings"])
    if "weight" in settings:
        settings["weight"] = tg.tensor(np.array(settings["weight"]))
    logits = tg.tensor(np.array(case["logits"]), requires_grad=True)
    value = getattr(losses, case["function"])(logits, target, **settings, **said)
    np.testing.assert_allclose(value.detach().numpy(), case["value"], rtol=1e-11)
    (first,) = tg.grad(value.sum(), logits, create_graph=True)
    np.testing.assert_allclose(first.detach().numpy(), case["gradient"], rtol=1e-9, atol=1e-12)
    (second,) = tg.grad((first * first).sum(), logits)
    np.testing.assert_allclose(second.numpy(), case["second"], rtol=1e-8, atol=1e-11)


def test_over_sequences_against_a_loop(logits):
    p = np.exp(logits.numpy())
    p /= p.sum(-1, keepdims=True)
    each = [
        -np.log(np.prod([p[n, t, TOKENS.numpy()[n, t]] for t in range(length)]))
        for n, length in enumerate(LENGTHS)
    ]
    loss = sequence_cross_entropy(logits, TOKENS, over="sequences", reduction="none")
    np.testing.assert_allclose(loss.numpy(), each, rtol=1e-12)
    mean = sequence_cross_entropy(logits, TOKENS, over="sequences")
    assert mean.item() == pytest.approx(np.mean(each))
    batchmean = sequence_cross_entropy(logits, TOKENS, reduction="batchmean")
    assert batchmean.item() == pytest.approx(np.mean(each))


def test_paddings_add_up(logits):
    lengths = tg.tensor([3, 2, 3])
    mask = tg.tensor([[True, False, True, True]] * 3)
    both = sequence_cross_entropy(logits, TOKENS, mask=mask, lengths=lengths, reduction="none")
    counted = (both.numpy() != 0.0).tolist()
    assert counted == [[True, False, True, False], [True, False, False, False]] + [
        [True, False, True, False]
    ]
    assert sequence_cross_entropy(logits, TOKENS, mask=mask, lengths=lengths).item() == (
        pytest.approx(both.numpy().sum() / 5)
    )


def test_padding_gets_no_gradient(logits):
    for loss in (sequence_cross_entropy, perplexity):
        z = logits.detach().requires_grad_()
        found = tg.grad(loss(z, TOKENS), z)[0].numpy()
        assert (found.any(axis=-1) == MASK.numpy()).all()


@pytest.mark.parametrize("loss", [sequence_cross_entropy, next_token_cross_entropy, perplexity])
@pytest.mark.parametrize("anything", [np.nan, np.inf])
def test_padding_may_hold_any_logits(loss, anything, logits):
    """A padded query that attends to nothing has a softmax of nothing, NaN."""
    for said in ({"target": TOKENS}, {"target": FILLED, "mask": MASK, "lengths": LENGTHS}):
        counts = MASK.numpy()
        if loss is next_token_cross_entropy:  # the last logits are not used either
            counts = np.roll(counts, -1, axis=1)
            counts[:, -1] = False
        found = []
        for z in (logits.numpy(), np.where(counts[:, :, None], logits.numpy(), anything)):
            z = tg.tensor(z, requires_grad=True)
            value = loss(z, **said)
            (first,) = tg.grad(value, z, create_graph=True)
            (second,) = tg.grad((first * first).sum(), z)
            found.append([value.detach().numpy(), first.detach().numpy(), second.numpy()])
        for clean, spoilt in zip(*found):
            np.testing.assert_array_equal(clean, spoilt)


def test_all_padding(logits):
    nothing = tg.full((3, 4), -100)
    assert np.isnan(sequence_cross_entropy(logits, nothing).item())
    assert np.isnan(perplexity(logits, FILLED, lengths=(0, 0, 0)).item())
    assert sequence_cross_entropy(logits, nothing, reduction="sum").item() == 0.0
    loss = sequence_cross_entropy(
        logits, FILLED, lengths=(0, 2, 0), over="sequences", reduction="none"
    )
    assert (loss.numpy() != 0.0).tolist() == [False, True, False]


def test_extreme_logits():
    z = tg.tensor([[[1e4, -1e4], [-1e4, 1e4]]], requires_grad=True)
    loss = sequence_cross_entropy(z, tg.tensor([[0, 0]]), reduction="none")
    assert loss.tolist() == [[0.0, 2e4]]
    assert np.isfinite(tg.grad(loss.sum(), z)[0].numpy()).all()
    assert perplexity(z, tg.tensor([[0, 0]])).item() == np.inf
    assert perplexity(z, tg.tensor([[0, 1]])).item() == 1.0


def test_perplexity_is_the_geometric_mean_of_what_it_is_among(logits):
    assert perplexity(tg.zeros(2, 3, 7, dtype="float64"), tg.zeros(2, 3).long()).item() == (
        pytest.approx(7.0)
    )
    z = logits.detach().requires_grad_()
    value, entropy = perplexity(z, TOKENS), sequence_cross_entropy(z, TOKENS)
    np.testing.assert_allclose(
        tg.grad(value, z, retain_graph=True)[0].numpy(),
        value.item() * tg.grad(entropy, z)[0].numpy(),
        rtol=1e-12,
    )


def test_smoothing_has_a_gradient(logits):
    smoothing = tg.tensor(0.2, dtype="float64", requires_grad=True)
    loss = sequence_cross_entropy(logits, TOKENS, label_smoothing=smoothing, over="sequences")
    (slope,) = tg.grad(loss, smoothing)
    sure, even = (
        sequence_cross_entropy(logits, TOKENS, label_smoothing=s, over="sequences").item()
        for s in (0.0, 1.0)
    )
    assert slope.item() == pytest.approx(even - sure)  # linear in the smoothing


@pytest.mark.parametrize("kind", ["uint8", "int8", "int32"])
def test_tokens_of_small_integers(kind, logits):
    """-100 is no unsigned integer, and 156 may be a token."""
    tokens = tg.tensor(np.array(FILLED.numpy() % 4, kind))
    for loss in (sequence_cross_entropy, next_token_cross_entropy, perplexity):
        for said in ({"mask": MASK}, {"lengths": LENGTHS}):
            assert loss(logits, tokens, **said).item() == loss(logits, TOKENS).item()
    text = tg.full((1, 2), 156)
    assert np.isfinite(perplexity(tg.zeros(1, 2, 200), text.to("uint8"), lengths=(1,)).item())


def test_next_tokens_do_not_see_themselves(logits):
    z = logits.detach().requires_grad_()
    found = tg.grad(next_token_cross_entropy(z, FILLED, lengths=LENGTHS), z)[0].numpy()
    # of 4, 2 and 3 tokens the first has no prediction, and the last logits predict nothing
    assert found.any(axis=-1).sum(axis=1).tolist() == [3, 1, 2]


@pytest.mark.parametrize("loss", [sequence_cross_entropy, next_token_cross_entropy, perplexity])
@pytest.mark.parametrize(
    "error, text, given",
    [
        (ValueError, r"\(N, T, C\), not \(4, 4\)", {"input": tg.zeros(4, 4)}),
        (ValueError, "empty", {"input": tg.zeros(3, 0, 4), "target": tg.zeros(3, 0).long()}),
        (ValueError, r"tokens of shape \(3, 4\), not \(3, 3\)", {"target": TOKENS[:, :3]}),
        (
            TypeError,
            r"target must be tokens .*float32: target\.long",
            {"target": TOKENS.float()},
        ),
        (ValueError, r"outside 0 … 3.*\[0, .\] is", {"target": FILLED + 2}),
        (TypeError, "lengths must be integers, not float32", {"lengths": tg.ones(3)}),
        (ValueError, r"3 sequences, shape \(3,\), not \(2,\)", {"lengths": (1, 2)}),
        (ValueError, r"0 … 4, but entry \[1\] is 5", {"lengths": (1, 5, 2)}),
        (ValueError, r"0 … 4, but entry \[2\] is -1", {"lengths": (1, 2, -1)}),
        (TypeError, "lengths must be integers .*, not str", {"lengths": "142"}),
        (TypeError, "mask must be boolean, .*int64", {"mask": TOKENS}),
        (ValueError, r"tokens' shape \(3, 4\), not \(4,\)", {"mask": MASK[0]}),
    ],
)
def test_refusals(loss, error, text, given):
    with pytest.raises(error, match=text):
        loss(**{"input": tg.zeros(3, 4, 4), "target": TOKENS, **given})


def test_refusals_of_settings():
    z = tg.zeros(3, 4, 4)
    with pytest.raises(ValueError, match='"tokens" or "sequences", not \'words\''):
        sequence_cross_entropy(z, TOKENS, over="words")
    with pytest.raises(ValueError, match=r"one token, target of shape \(3, 1\), has no next"):
        next_token_cross_entropy(z[:, :1], TOKENS[:, :1])
    with pytest.raises(ValueError, match="smoothing"):
        sequence_cross_entropy(z, TOKENS, label_smoothing=1.5)
