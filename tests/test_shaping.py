"""Shaping, joining, indexing, scattering, sorting and windows: values and gradients against
stored numbers of PyTorch, and what torch has no word on."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg

CASES = json.loads((Path(__file__).parent / "data" / "shaping.json").read_text(encoding="utf-8"))
SHAPES = {
    "s": (),
    "v": (5,),
    "w": (3,),
    "m": (3, 4),
    "q": (3, 3),
    "x": (2, 3, 4),
    "i": (2, 3, 5, 6),
}


def operands(dtype="float64"):
    """Distinct ordinary numbers, the same as in tests/oracle/make_shaping.py."""
    found = {}
    for k, (name, shape) in enumerate(SHAPES.items()):
        values = np.sin(np.arange(math.prod(shape)) * 1.7 + k) * (1 + k / 8)
        found[name] = tg.tensor(values.reshape(shape), dtype=dtype, requires_grad=True)
    return found


def evaluate(case, dtype="float64"):
    found = operands(dtype)
    result = eval(case["expression"], {"t": tg, "F": tg, **found})
    return found, list(result) if isinstance(result, (tuple, list)) else [result]


def cotangent(k, shape):
    return np.cos(np.arange(math.prod(shape)) * 0.9 + k).reshape(shape)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["expression"])
def test_against_torch(case):
    found, results = evaluate(case)
    assert len(results) == len(case["results"])
    total = 0.0
    for k, (got, want) in enumerate(zip(results, case["results"])):
        assert got.shape == tuple(want["shape"])
        assert str(got.dtype) == want["dtype"]
        np.testing.assert_allclose(
            got.detach().numpy(), np.reshape(want["value"], want["shape"]), rtol=1e-14
        )
        if got.requires_grad:
            total = total + (got * cotangent(k, got.shape)).sum()
    if "gradients" not in case:
        assert not isinstance(total, tg.Tensor)
        return
    total.backward()
    for name, operand in found.items():
        want = case["gradients"].get(name)
        assert (operand.grad is None) == (want is None), name
        if want is not None:
            np.testing.assert_allclose(
                operand.grad.numpy(), np.reshape(want, operand.shape), rtol=1e-12, atol=1e-14
            )


def test_float32_stays_float32():
    for case in CASES:
        if "float64" in case["expression"]:
            continue
        found, results = evaluate(case, "float32")
        floating = [r for r in results if r.dtype.kind == "f"]
        assert all(r.dtype == np.float32 for r in floating), case["expression"]
        tracked = [r.sum() for r in floating if r.requires_grad]
        if tracked:
            sum(tracked).backward()
        for operand in found.values():
            assert operand.grad is None or operand.grad.dtype == np.float32


COMPOSED = ("scatter", "index_", "masked", "pad", "[:, t.tensor", "fold", "topk", "split", "unbind")


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if "gradients" in c and any(w in c["expression"] for w in COMPOSED)],
    ids=lambda case: case["expression"],
)
def test_second_order_and_forward_mode(case):
    names = sorted(case["gradients"])

    def f(*values):
        given = {**{k: v.detach() for k, v in operands().items()}, **dict(zip(names, values))}
        result = eval(case["expression"], {"t": tg, "F": tg, **given})
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        return sum(tg.tanh(r).sum() for r in results if r.requires_grad)

    tg.check_grads(f, tuple(operands()[n] for n in names), order=2, directions="joint")
