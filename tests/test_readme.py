"""The examples in README.md and CONTRIBUTING.md run and print what they say."""

import contextlib
import io
import re
from pathlib import Path

import pytest

import tapegrad as tg

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = [
    pytest.param(block, id=f"{path.stem}-{i}")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
    for i, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    )
]


@pytest.fixture
def registry():
    """The names of the primitives; those that a test adds are gone afterwards."""
    before = set(tg.REGISTRY)
    yield before
    for name in tg.REGISTRY.keys() - before:
        del tg.REGISTRY[name]


@pytest.mark.parametrize("block", BLOCKS)
def test_example(block, registry):
    """Each ``print(...)  # value`` prints that value."""
    expected = re.findall(r"^print\(.*\)  # (.*)$", block, re.M)
    assert expected, "an example that prints nothing asserts nothing"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block, "example", "exec"), {"__name__": "example"})
    assert printed.getvalue().splitlines() == expected
    for name in tg.REGISTRY.keys() - registry:  # an example of a primitive has a right derivative
        op = tg.REGISTRY[name]
        for sample in op.samples:
            assert tg.check_grads(op.function, sample.arrays, order=3)
