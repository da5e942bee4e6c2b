"""The examples run; a few steps of each."""

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
