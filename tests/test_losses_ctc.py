"""CTC: against PyTorch's stored values, every way enumerated, edges and refusals."""

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.losses import CTCLoss, ctc_loss

CASES = json.loads((Path(__file__).parent / "data" / "ctc.json").read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def spelled(way, blank=0):
    """What a way spells: repetitions merged, then blanks dropped."""
    return [label for label, _ in itertools.groupby(way) if label != blank]


def enumerated(log_probs, target, blank=0):
    """The loss and its gradient by log_probs from all C^T ways, one after the other."""
    frames, classes = log_probs.shape
    total, share = 0.0, np.zeros_like(log_probs)
    for way in itertools.product(range(classes), repeat=frames):
        if spelled(way, blank) == list(target):
            p = np.exp(sum(log_probs[t, c] for t, c in enumerate(way)))
            total += p
            for t, c in enumerate(way):
                share[t, c] += p
    with np.errstate(divide="ignore"):
        return -np.log(total), -share / (total or 1.0)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("kind", ["tuples", "tensors"])
def test_value_and_gradient_by_logits_are_pytorchs(case, kind):
    logits = tg.tensor(np.array(case["logits"]), requires_grad=True)
    lengths = case["input_lengths"], case["target_lengths"]
    lengths = [tg.tensor(n) if kind == "tensors" or np.ndim(n) == 0 else tuple(n) for n in lengths]
    log_probs = tg.log_softmax(logits, dim=-1)
    value = ctc_loss(log_probs, tg.tensor(case["targets"]), *lengths, **case["settings"])
    np.testing.assert_allclose(value.detach().numpy(), case["value"], rtol=1e-11)
    (gradient,) = tg.grad(value.sum(), logits)
    np.testing.assert_allclose(gradient.numpy(), case["gradient"], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("target", [(), (1,), (1, 2), (1, 1), (2, 1, 2), (1, 2, 2)])
@pytest.mark.parametrize("frames", [1, 2, 4, 5])
@pytest.mark.parametrize("blank", [0, 2])
def test_the_sum_over_all_ways(frames, target, blank, rng):
    target = [c - 1 if blank == 2 else c for c in target]
    log_probs = tg.tensor(log_softmax(rng.normal(size=(frames, 3))), requires_grad=True)
    value, gradient = enumerated(log_probs.detach().numpy(), target, blank)
    loss = ctc_loss(
        log_probs.unsqueeze(1),
        tg.tensor(np.array([target], dtype=int)),
        (frames,),
        (len(target),),
        blank=blank,
        reduction="sum",
    )
    np.testing.assert_allclose(loss.item(), value, rtol=1e-12, atol=1e-14)
    # the true gradient, the probability of a class given the target; torch adds exp(log_probs)
    np.testing.assert_allclose(tg.grad(loss, log_probs)[0].numpy(), gradient, atol=1e-13)


def test_all_targets_together_have_probability_one(rng):
    log_probs = tg.tensor(log_softmax(rng.normal(size=(3, 3)))).unsqueeze(1)
    total = 0.0
    for length in range(4):
        for target in itertools.product((1, 2), repeat=length):
            targets = tg.tensor(np.array([target], dtype=int))
            total += ctc_loss(log_probs, targets, (3,), (length,), reduction="sum").neg().exp()
    assert total.item() == pytest.approx(1.0, abs=1e-14)


def test_padding_has_no_influence(rng):
    logs = log_softmax(rng.normal(size=(5, 2, 4)))
    targets = tg.tensor([[1, 2, 3], [3, 1, 1]])
    padded = logs.copy()
    padded[3:, 1] = np.nan
    values = []
    for given, filled in ((logs, targets), (padded, tg.tensor([[1, 2, 3], [3, 0, 99]]))):
        x = tg.tensor(given, requires_grad=True)
        loss = ctc_loss(x, filled, (5, 3), (3, 1))
        values.append((loss.item(), tg.grad(loss, x)[0].numpy()))
    assert values[0][0] == values[1][0]
    np.testing.assert_array_equal(values[0][1], values[1][1])
    assert not values[0][1][3:, 1].any()


@pytest.mark.parametrize("frames, target", [(1, [1, 2]), (2, [1, 1]), (3, [1, 2, 2])])
def test_without_a_way_it_is_inf_with_gradient_zero(frames, target, rng):
    x = tg.tensor(log_softmax(rng.normal(size=(frames, 2, 3))), requires_grad=True)
    targets = tg.tensor([target, [1] * len(target)])
    lengths = (frames, frames), (len(target), 1)
    loss = ctc_loss(x, targets, *lengths, reduction="none")
    assert loss[0].item() == np.inf and np.isfinite(loss[1].item())
    first = tg.grad(loss.sum(), x, create_graph=True)[0]
    assert not first.detach().numpy()[:, 0].any()
    # the other sequence learns as if it were alone
    alone = ctc_loss(x[:, 1:], targets[1:], (frames,), (1,), reduction="sum")
    np.testing.assert_allclose(
        first.detach().numpy()[:, 1], tg.grad(alone, x)[0].numpy()[:, 1], rtol=1e-12
    )
    second = tg.grad((first * first).sum(), x)[0].numpy()
    assert np.isfinite(second).all() and not second[:, 0].any()

    zeroed = ctc_loss(x, targets, *lengths, reduction="none", zero_infinity=True)
    assert zeroed[0].item() == 0.0 and zeroed[1].item() == loss[1].item()
    np.testing.assert_array_equal(tg.grad(zeroed.sum(), x)[0].numpy(), first.detach().numpy())


def test_classes_of_probability_zero():
    zero = -np.inf
    # Only "1 blank" and "1 1" are possible; then nothing that spells 2.
    logs = [[[zero, 0.0, zero]], [[np.log(0.5), np.log(0.5), zero]]]
    x = tg.tensor(np.array(logs), requires_grad=True)
    loss = ctc_loss(x, tg.tensor([[1]]), (2,), (1,))
    assert loss.item() == pytest.approx(0.0, abs=1e-15)
    (gradient,) = tg.grad(loss, x)
    np.testing.assert_allclose(gradient.numpy()[:, 0], [[0, -1, 0], [-0.5, -0.5, 0]])
    loss = ctc_loss(x, tg.tensor([[2]]), (2,), (1,))
    assert loss.item() == np.inf
    assert not tg.grad(loss, x)[0].numpy().any()


def test_extreme_logits(rng):
    z = tg.tensor(1e4 * rng.choice([-1.0, 1.0], size=(6, 2, 4)), requires_grad=True)
    loss = ctc_loss(tg.log_softmax(z, dim=2), tg.tensor([[1, 2], [3, 3]]), (6, 6), (2, 2))
    assert np.isfinite(loss.item())
    assert np.isfinite(tg.grad(loss, z)[0].numpy()).all()


def test_second_derivatives_of_mixed_lengths(rng):
    z = rng.normal(size=(5, 3, 3))
    targets = tg.tensor([[1, 2], [2, 2], [1, 0]])

    def loss(z):
        return ctc_loss(tg.log_softmax(z, dim=2), targets, (5, 4, 2), (2, 2, 0))

    assert tg.check_grads(loss, (z,), order=2)


def test_every_sequence_by_vmap(rng):
    logs = tg.tensor(log_softmax(rng.normal(size=(4, 5, 3))))
    targets = tg.tensor([[1, 2], [2, 2], [1, 1], [2, 1]])
    each = tg.vmap(lambda x, t: ctc_loss(x, t, (5,), (2,)))(logs, targets)
    whole = ctc_loss(logs.transpose(0, 1), targets, (5,) * 4, (2,) * 4, reduction="none") / 2
    np.testing.assert_allclose(each.numpy(), whole.numpy(), rtol=1e-12)


def test_small_integers_and_numbers_as_lengths(rng):
    x = tg.tensor(log_softmax(rng.normal(size=(300, 1, 3))))
    targets = np.tile([1, 2], 70)[None]
    expected = ctc_loss(x, tg.tensor(targets), (300,), (140,)).item()
    small = tg.tensor(targets.astype("uint8"))
    assert ctc_loss(x, small, tg.tensor([300]), np.array([140], "uint8")).item() == expected
    assert ctc_loss(x[:, 0], small[0], 300, 140).item() == expected


def test_a_blank_beyond_the_labels_integers(rng):
    x = tg.tensor(log_softmax(rng.normal(size=(3, 1, 301))))
    labels = np.array([[255, 7]])
    expected = ctc_loss(x, tg.tensor(labels), (3,), (2,), blank=300).item()
    assert ctc_loss(x, tg.tensor(labels.astype("uint8")), (3,), (2,), blank=300).item() == expected


def test_training_learns_to_spell(rng):
    z = tg.tensor(0.1 * rng.normal(size=(8, 1, 4)), requires_grad=True)
    targets = tg.tensor([[2, 1, 1, 3]])
    for _ in range(200):
        loss = ctc_loss(tg.log_softmax(z, dim=2), targets, (8,), (4,))
        z = (z - 2.0 * tg.grad(loss, z)[0]).detach().requires_grad_()
    assert spelled(z.detach().numpy()[:, 0].argmax(-1)) == [2, 1, 1, 3]
    assert loss.item() < 0.02


def test_it_is_fast_enough(rng):
    z = tg.tensor(rng.normal(size=(50, 16, 20)), requires_grad=True)
    targets = tg.tensor(rng.integers(1, 20, size=(16, 10)))
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        ctc_loss(tg.log_softmax(z, dim=2), targets, (50,) * 16, (10,) * 16).backward()
        best = min(best, time.perf_counter() - start)
    assert best < 0.2  # about 8 ms on an idle core


LOGS = tg.log_softmax(tg.zeros(5, 2, 4), dim=2)
TARGETS = tg.tensor([[1, 2, 3], [3, 2, 1]])


@pytest.mark.parametrize(
    "error, text, given",
    [
        (ValueError, r"\(T, N, C\) or \(T, C\), not \(4,\)", {"log_probs": LOGS[0, 0]}),
        (ValueError, r"empty \(log_probs has shape \(0, 2, 4\)", {"log_probs": LOGS[:0]}),
        (ValueError, "blank must be a class, 0 … 3, not 4", {"blank": 4}),
        (ValueError, "blank must be a class, 0 … 3, not -1", {"blank": -1}),
        (ValueError, r"blank must be a class, 0 … 3, not 0\.0", {"blank": 0.0}),
        (ValueError, "blank must be a class, 0 … 3, not None", {"blank": None}),
        (TypeError, "input_lengths must be integers .*, not NoneType", {"input_lengths": None}),
        (TypeError, "target_lengths must be integers .*, not str", {"target_lengths": "33"}),
        (TypeError, "targets must be labels .*float32", {"targets": TARGETS.float()}),
        (ValueError, r"N = 2.*not \(1, 3\)", {"targets": TARGETS[:1]}),
        (ValueError, r"\(2, 3, 1\)", {"targets": TARGETS.unsqueeze(2)}),
        (ValueError, r"label .*0 … 3 .*entry \[0, 1\] is 4", {"targets": TARGETS + 2}),
        (ValueError, r"entry \[1, 2\] is -1", {"targets": tg.tensor([[1, 1, 1], [1, 1, -1]])}),
        (ValueError, r"not the blank, 3, but entry \[0, 2\] is 3", {"blank": 3}),
        (TypeError, "input_lengths must be integers, not float", {"input_lengths": (5.0, 5.0)}),
        (ValueError, r"2 sequences, shape \(2,\), not \(1,\)", {"input_lengths": (5,)}),
        (ValueError, r"5 frames.*0 … 5, but entry \[1\] is 6", {"input_lengths": (5, 6)}),
        (ValueError, r"entry \[0\] is -1", {"input_lengths": (-1, 5)}),
        (ValueError, r"3 labels.*0 … 3, but entry \[0\] is 4", {"target_lengths": (4, 3)}),
        (ValueError, r"target_lengths .*not \(3,\)", {"target_lengths": (1, 1, 1)}),
        (ValueError, r"shape \(6,\), but target_lengths add up to 5", {"flat": True}),
        (ValueError, 'not "average"|average', {"reduction": "average"}),
    ],
)
def test_refusals(error, text, given):
    if given.pop("flat", False):
        given = {"targets": TARGETS.reshape(-1), "target_lengths": (3, 2)}
    operands = {
        "log_probs": LOGS,
        "targets": TARGETS,
        "input_lengths": (5, 5),
        "target_lengths": (3, 3),
    }
    with pytest.raises(error, match=text):
        ctc_loss(**{**operands, **given})


def test_the_class():
    loss = CTCLoss(0, "sum", True)
    assert repr(loss) == "CTCLoss(reduction='sum', zero_infinity=True)"
    assert loss(LOGS, TARGETS, (2, 5), (3, 3)).item() == pytest.approx(
        ctc_loss(LOGS, TARGETS, (0, 5), (3, 3), reduction="none")[1].item()
    )


@pytest.mark.parametrize("name", ["ctc", "CTC", "CTCLoss", "ctc_loss"])  # CTC is Keras's
def test_its_names(name):
    assert type(losses.get(name)) is CTCLoss
