"""The notebooks' code runs and arrives at the numbers that their text names.

Here cells run as plain Python, quickly; ``tools/run_notebooks.py`` runs them in a kernel.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tapegrad import losses

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
ALL = sorted(FOLDER.glob("*.ipynb"))


def code_of(name):
    notebook = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_what_is_stored_is_whole_and_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000
    cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    outputs = [o for c in cells for o in c["outputs"]]
    assert outputs and all(o["output_type"] != "error" for o in outputs)
    assert all(o.get("name") != "stderr" for o in outputs)
    for cell in cells:
        if "tg.graph(" in "".join(cell["source"]):
            assert any("image/svg+xml" in o.get("data", {}) for o in cell["outputs"])


def test_the_tape(capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    found = {}
    steps = []
    for source in code_of("01_the_tape.ipynb"):
        exec(source, found)
        if "x" in found:
            steps.append(found["x"].grad)
    pyplot.close("all")
    assert steps[1].item() == 7.0
    assert [found[name].item() for name in ("second", "third")] == [12.0, 6.0]
    assert found["gradient"][min(found["gradient"])] == 7.0
    assert found["row"].grad.tolist() == [5.0, 7.0, 9.0]
    assert found["p"].item() == pytest.approx(0.377541, abs=1e-6)
    assert found["W"].grad.tolist() == pytest.approx([0.377541, 0.755081], abs=1e-6)
    assert found["W"].tolist() == pytest.approx([0.462246, -0.575508], abs=1e-6)
    assert found["accuracy"] > 0.97 and found["losses"][-1] < 0.1
    printed = capsys.readouterr().out
    assert "loss = 0.474077" in printed and "retain_graph=True" in printed
    assert printed.count(" ok\n") == 8


def test_losses(capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    found = {}
    for source in code_of("02_losses.ipynb"):
        exec(source, found)
    pyplot.close("all")
    assert found["delta"].grad.item() == 1.0
    truth = np.array([2.0, 0.5])
    squares, robust = (
        np.abs(found["fitted"](loss()).numpy() - truth).max()
        for loss in (losses.MSELoss, losses.HuberLoss)
    )
    assert robust < 0.4 < 1.0 < squares
    printed = capsys.readouterr().out
    for number in ("0.105361", "2.302585", "0.693147", "0.301030", "0.223144"):
        assert number in printed
    for refusal in (
        "silent broadcast",
        "label is outside",
        "must be in [0, 1]",
        "no loss is called",
    ):
        assert refusal in printed


@pytest.mark.slow
def test_training(capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pytest.importorskip("sklearn")
    pyplot.switch_backend("Agg")
    found = {}
    for source in code_of("03_training.ipynb"):
        exec(source, found)
    pyplot.close("all")
    assert found["test_accuracy"] > 0.95 and found["cnn_accuracy"] > 0.97
    assert found["found"].verdicts == ("vanishing",)
    assert {"exploding", "saturation"} <= set(found["found_loud"].verdicts)
    sick, *healthy = found["cured"].values()
    assert sick < 0.2 and min(healthy) > 0.85
    assert 1e-3 < found["test"].suggestion < 0.1
    assert found["way"].values[0] > found["way"].here > min(found["way"].values)
    assert found["slope"] == pytest.approx(found["difference"], rel=1e-5)
    assert capsys.readouterr().out.count("healthy") == 3
