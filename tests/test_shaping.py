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


def test_sizes_by_their_names():
    x = tg.zeros(2, 3)
    assert x.reshape(shape=(3, -1)).shape == tg.reshape(x, shape=[3, 2]).shape == (3, 2)
    assert x.view(size=(6,)).shape == (6,) and x.permute(dims=(1, 0)).shape == (3, 2)
    assert tg.zeros(3).expand(size=(2, 3)).shape == (2, 3)
    assert x.repeat(repeats=(2, 1)).shape == x.tile(dims=(2, 1)).shape == (4, 3)
    assert tg.arange(3).flip(dims=(0,)).tolist() == tg.arange(3).flip(axis=0).tolist() == [2, 1, 0]
    assert x.swapaxes(axis0=0, axis1=1).shape == x.swapdims(dim0=0, dim1=1).shape == (3, 2)
    with pytest.raises(TypeError, match="shape is given twice"):
        x.reshape(3, 2, shape=(3, 2))


def test_of_no_dimensions():
    x = tg.tensor(1.0)
    with pytest.raises(RuntimeError, match="unflatten: a 0-d tensor"):
        x.unflatten(0, (1, 1))
    with pytest.raises(RuntimeError, match="narrow: a 0-d tensor"):
        x.narrow(0, 0, 1)
    for k in (0, 1):  # as torch has it
        assert x.topk(k).values.tolist() == 1.0 and x.topk(k).indices.tolist() == 0


def test_contiguous_is_what_it_says():
    x = tg.arange(24.0, requires_grad=True).reshape(2, 3, 4)
    for y in (x.permute(2, 1, 0), x[:, ::2], x[..., 0], x.T.clone(), x.expand(2, 2, 3, 4), x):
        z = y.contiguous()
        assert z.is_contiguous() and (z is y) == y.is_contiguous()
        assert z.tolist() == y.tolist()


def test_every_choice():
    a, b = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0, 5.0])
    rows = [[p, q] for p in (1.0, 2.0) for q in (3.0, 4.0, 5.0)]
    assert tg.cartesian_prod(a, b).tolist() == rows and tg.cartesian_prod(a) is a
    assert tg.combinations(b).tolist() == [[3.0, 4.0], [3.0, 5.0], [4.0, 5.0]]
    assert tg.combinations(a, 2, with_replacement=True).tolist() == [[1, 1], [1, 2], [2, 2]]
    assert tg.combinations(a, 3).shape == (0, 3) and tg.combinations(a, 0).shape == (0,)
    tg.check_grads(lambda p, q: tg.tanh(tg.cartesian_prod(p, q)).sum(), (a, b), order=2)
    tg.check_grads(lambda p: tg.tanh(tg.combinations(p, 2)).sum(), (b,), order=2)
    for wrong in (lambda: tg.cartesian_prod(a, tg.eye(2)), lambda: tg.combinations(tg.eye(2))):
        with pytest.raises(RuntimeError, match=r"expects (a vector|vectors), got shape"):
            wrong()


def test_block_diag():
    m, v, s = tg.tensor([[1.0], [2.0]]), tg.tensor([3.0, 4.0]), tg.tensor(5)
    want = [[1, 0, 0, 0], [2, 0, 0, 0], [0, 3, 4, 0], [0, 0, 0, 5]]
    assert tg.block_diag(m, v, s).tolist() == want and tg.block_diag().shape == (1, 0)
    assert tg.block_diag(tg.zeros(0), tg.ones(1)).tolist() == [[0.0], [1.0]]
    tg.check_grads(lambda p, q: tg.tanh(tg.block_diag(p, q)).sum(), (m, v), order=2)
    with pytest.raises(RuntimeError, match="block_diag: expects at most 2 dimensions"):
        tg.block_diag(tg.zeros(1, 1, 1))
