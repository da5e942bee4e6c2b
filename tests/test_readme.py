"""The examples in the README run and print what they say."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_example(block):
    """Each ``print(...)  # value`` prints that value."""
    expected = re.findall(r"^print\(.*\)  # (.*)$", block, re.M)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block, str(README), "exec"), {})
    assert printed.getvalue().splitlines() == expected
