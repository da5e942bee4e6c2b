"""The examples run; a few steps of each."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_learn_the_loss():
    shown = run("learn_the_loss.py", "--steps", "6")
    reverse, measured = re.search(r"(\S+) by reverse mode, (\S+) measured", shown).groups()
    assert float(reverse) == pytest.approx(float(measured), rel=1e-4)
    errors = dict(re.findall(r"^  (mse|huber|two-sided huber) .* (\S+)$", shown, re.MULTILINE))
    assert float(errors["two-sided huber"]) < float(errors["huber"]) < float(errors["mse"])
    table = re.findall(r"^ +\d+ +\S+ +\S+ +\S+ +(\S+)$", shown, re.MULTILINE)
    assert len(table) == 7 and float(table[-1]) < float(table[0])
    assert "good sensor" in shown and "with equal weights" in shown


def test_maml_sinusoids():
    shown = run("maml_sinusoids.py", "--updates", "100")
    reverse, measured = re.search(r"(\S+) by reverse mode, (\S+) measured", shown).groups()
    assert float(reverse) == pytest.approx(float(measured), rel=1e-3)
    losses = [float(found) for found in re.findall(r"^  MAML .* loss (\S+)$", shown, re.MULTILINE)]
    assert len(losses) == 5 and losses[-1] < 0.5 * losses[0]
    assert len(re.findall(r"^ +\d+ +\S+ +\S+$", shown, re.MULTILINE)) == 5


def test_hyper_towers():
    pytest.importorskip("sklearn")
    shown = run("hyper_towers.py", "--steps", "100")
    ratios = [float(found) for found in re.search(r"worst / best(.*)", shown)[1].split()]
    assert len(ratios) == 4
    assert all(higher < lower for lower, higher in itertools.pairwise(ratios))
    assert len(re.findall(r"^ +1e[-+]\d\d( +\S+){4}$", shown, re.MULTILINE)) == 14


def test_learned_rates():
    pytest.importorskip("sklearn")
    shown = run("learned_rates.py", "--updates", "20")
    reverse, measured = re.search(r"(\S+) by reverse mode, (\S+) measured", shown).groups()
    assert float(reverse) == pytest.approx(float(measured), rel=1e-3)
    table = re.findall(r"^ +\d+ +\S+ +\S+ +\S+ +(\S+)$", shown, re.MULTILINE)
    assert len(table) == 7 and float(table[-1]) < float(table[0])
    found = dict(
        re.findall(r"^  (the best single one|learned).* (\S+) +\S+%$", shown, re.MULTILINE)
    )
    assert float(found["learned"]) < float(found["the best single one"])


def test_lstm_sequence():
    shown = run("lstm_sequence.py", "--steps", "40")
    trivial = float(re.search(r"has the error (\S+)", shown)[1])
    assert 0.1 < trivial < 0.2
    errors = dict(re.findall(r"^(LSTM|RNN) +error (\S+): not solved$", shown, re.MULTILINE))
    assert all(float(error) < 1.5 * trivial for error in errors.values()) and len(errors) == 2
    table = re.findall(r"^ +(\d+)   (\d\.\d+)$", shown, re.MULTILINE)
    assert float(table[0][1]) > 2 * float(errors["LSTM"]) and table[-1][0] == "40"


def test_seq2seq():
    shown = run("seq2seq.py", "--steps", "60")
    losses = re.findall(r"^ +\d+   (\d\.\d+)   +\S+%$", shown, re.MULTILINE)
    assert len(losses) == 10
    assert float(losses[4]) < 1.9 < 2.1 < float(losses[0])  # ln 10 = 2.3 is guessing
    assert float(losses[9]) < float(losses[5])
    table = re.findall(r"^(with teacher forcing|without) +(\S+)% +(\S+)%$", shown, re.MULTILINE)
    assert len(table) == 2
    read, right = re.search(r"for example (\d+) is written \d+ \(right: (\d+)\)", shown).groups()
    assert read[::-1] == right and sum(map(int, read)) % 10 == 0


def test_char_lm():
    shown = run("char_lm.py", "--steps", "150")
    assert len(re.findall(r"^ +\d+ steps +perplexity +\S+$", shown, re.MULTILINE)) == 10
    found = dict(re.findall(r"^  (\S.*\S) +(\d+\.\d+)$", shown, re.MULTILINE))
    reached = float(found["Transformer"])
    assert reached < 0.6 * float(found["counted, characters alone"])
    assert float(found["counted, after one other"]) < float(found["counted, characters alone"])
    assert len(shown.partition("What it writes:")[2]) > 300


def test_nine_steps():
    pytest.importorskip("sklearn")
    shown = run("nine_steps.py", "--epochs", "2")
    assert re.findall(r"^(\d) [A-Z]\w+:", shown, re.MULTILINE) == list("123456789")
    assert "1149 + 288 + 360 pictures" in shown
    found = re.findall(r"^ +(\S+) +(\d+) +(\d\.\d) +\S+ +(\S+)%$", shown, re.MULTILINE)
    rate, hidden, smoothing, right = max(found, key=lambda row: float(row[3]))
    assert f"rate={float(rate)}, hidden={hidden}, smoothing={smoothing}" in shown
    assert len(found) == 8 and float(right) > 95.0
    assert float(re.search(r"(\S+)% of the test part right", shown)[1]) > 95.0


def test_diabetes(tmp_path):
    pytest.importorskip("sklearn")
    shown = run("diabetes.py", "--epochs", "20", "--splits", "1", "--out", str(tmp_path))
    rows = re.findall(r"^(\S.*?) +(\d+\.\d) +(\d+\.\d) +\d+\.\d +(\d+\.\d)$", shown, re.MULTILINE)
    errors = {name: [float(error) for error in row] for name, *row in rows}
    none, few, many = errors.pop("the median")
    assert few < errors["MSE"][1] and many < errors.pop("MSE")[2]
    assert len(errors) == 3
    assert all(row[0] < 0.75 * none and row[2] < many for row in errors.values())


def test_cnn_digits(tmp_path):
    pytest.importorskip("sklearn")
    shown = run("cnn_digits.py", "--epochs", "1", "--out", str(tmp_path))
    right, wrong = re.search(r"(\S+)% of 360 held-out digits right \((\d+) wrong\)", shown).groups()
    assert float(right) == pytest.approx(100 * (1 - int(wrong) / 360), abs=0.01)
    assert float(right) > 80.0


def test_segmentation(tmp_path):
    shown = run("segmentation.py", "--steps", "50", "--runs", "1", "--out", str(tmp_path))
    rows = re.findall(r"^(\w.*\S) +(\S+)% +(\S+) +(\S+) +(\S+) +(\S+) +(\S+)$", shown, re.MULTILINE)
    found = {name: [float(number) for number in numbers] for name, *numbers in rows}
    assert list(found) == ["cross-entropy", "weighted 10 : 1", "focal", "Dice"]
    assert found["cross-entropy"][0] < found["Dice"][0] < found["weighted 10 : 1"][0]
    assert found["Dice"][1] > 0.4 and found["Dice"][1] > found["focal"][1]
    for _, iou, dice, threshold, best_iou, best_dice in found.values():
        assert dice == pytest.approx(2 * iou / (1 + iou), abs=2e-3)
        assert best_dice == pytest.approx(2 * best_iou / (1 + best_iou), abs=2e-3)
        assert 0.0 < threshold < 1.0


def test_detection(tmp_path):
    shown = run("detection.py", "--steps", "150", "--out", str(tmp_path))
    losses = [float(loss) for loss in re.findall(r"^ +\d+   (\d+\.\d+)$", shown, re.MULTILINE)]
    assert len(losses) == 6 and losses[-1] < 0.3 * losses[0]
    found = {
        name: float(value) for name, value in re.findall(r"^  (\S.*\S)  +([\d.]+)%?$", shown, re.M)
    }
    assert found["mean IoU"] > 0.2 and found["found"] > 30.0
    both, right = found["found, and class right"], found["class right of those found"]
    assert both == pytest.approx(found["found"] * right / 100, abs=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name, least", [("nine_steps.py", 97.0), ("cnn_digits.py", 98.5)])
def test_held_out_digits(name, least, tmp_path):
    pytest.importorskip("sklearn")
    out = () if name == "nine_steps.py" else ("--out", str(tmp_path))
    found = re.search(r"(\S+)% of (the test part|360 held-out digits) right", run(name, *out))
    assert float(found[1]) > least


def test_gan_ring(tmp_path):
    pytest.importorskip("matplotlib")
    shown = run("gan_ring.py", "--steps", "40", "--out", str(tmp_path))
    assert len(re.findall(r"^ +\d+ +\S+ +\S+% +\d of 8$", shown, re.MULTILINE)) == 10
    found = re.findall(r"^(\S.*\S) +(\S+)% good points, (\d) of 8", shown, re.MULTILINE)
    good = {name: float(share) for name, share, _ in found}
    assert good["real"] > 97  # 98.9 % of a normal distribution in the plane
    assert 35 < good["all round the ring"] < 42
    assert good["made, untrained"] < 1 and good["made, trained"] > 4
    assert (tmp_path / "gan_ring.png").stat().st_size > 10_000


def test_verification(tmp_path):
    pytest.importorskip("matplotlib")
    shown = run("verification.py", "--steps", "30", "--out", str(tmp_path))
    rows = re.findall(r"^(\w+) .*?(0\.\d{4}) +\S+%", shown, re.MULTILINE)
    auc = {name: float(found) for name, found in rows}
    assert 0.5 < auc["untrained"] < auc["pixels"] < auc["contrastive"]
    assert auc["triplet"] > auc["untrained"]
    assert (tmp_path / "signatures.png").stat().st_size > 10_000


def test_summaries_by_reward():
    shown = run("summaries_by_reward.py", "--steps", "24")
    found = dict(re.findall(r"^  (\S.*\S) +(0\.\d+)(?:  .*)?$", shown, re.MULTILINE))
    reached = {name: float(value) for name, value in found.items()}
    best = reached["knowing it, the best pair"]
    assert reached["knowing it, one by one"] <= best < 1
    for rule in ("at random", "the first", "most frequent words"):
        assert reached[rule] < reached["learned, no baseline"] < best
    assert reached["learned, self-critical"] > 1.3 * reached["at random"]
    assert len(re.findall(r"^ +\d+(?: +0\.\d+){3}$", shown, re.MULTILINE)) >= 5


def test_sentiment():
    shown = run("sentiment.py", "--epochs", "4")
    rows = re.findall(r"^(bag of words|GRU) +(\S+)% +(\S+) +(\S+)% +(\S+)%$", shown, re.MULTILINE)
    found = {name: [float(value) for value in values] for name, *values in rows}
    assert found["GRU"][0] > 75 and found["GRU"][1] > 0.7 and found["GRU"][2] > 90
    assert found["bag of words"][0] < 75 and 35 < found["bag of words"][3] < 65
    probabilities = re.findall(r"^[a-z ]+ (\d\.\d\d) +(\d\.\d\d)$", shown, re.MULTILINE)
    assert len(probabilities) == 4


@pytest.mark.parametrize(
    "name", ["cnn_digits.py", "diabetes.py", "hyper_towers.py", "learned_rates.py", "nine_steps.py"]
)
def test_without_scikit_learn_the_extra_is_named(name):
    code = (
        "import runpy, sys\n"
        "sys.modules['sklearn'] = None\n"
        "_, folder, name = sys.argv\n"
        "sys.path.insert(0, folder)\n"
        "sys.argv = [name]\n"
        "runpy.run_path(folder + '/' + name, run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLES), name], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith('pip install "tapegrad[demo]"\n')
