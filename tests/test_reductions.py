"""Reductions, scans, softmaxes and statistics against numbers stored from PyTorch (made by
oracle/make_reductions.py): values, dtypes, and derivatives to third order."""

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg

DATA = json.loads((Path(__file__).parent / "data" / "reductions.json").read_text())


def run(case, dtype="float64", requires_grad=False):
    x = tg.tensor(DATA["inputs"][case["input"]], dtype=dtype, requires_grad=requires_grad)
    return x, eval(case["code"], {"t": tg, "x": x, "float": float})


def direction(shape, phase):
    return np.sin(np.arange(int(np.prod(shape, dtype=int))) * 1.7 + phase).reshape(shape)


def agree(found, wanted, what):
    found = np.asarray(found)
    wanted = np.full(found.shape, np.nan) if wanted is None else np.array(wanted, dtype=float)
    assert found.shape == wanted.shape, what
    assert np.isfinite(found).all(), what
    known = np.isfinite(wanted)  # PyTorch lacks some higher derivatives, or has NaN at kinks
    np.testing.assert_allclose(found[known], wanted[known], rtol=2e-9, atol=2e-9, err_msg=what)


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda c: f"{c['input']}: {c['code']}")
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_values_and_derivatives(case):
    x, y = run(case, requires_grad=True)
    assert y.dtype == case["dtype"]
    agree(y.tolist(), case["value"], "value")
    (g,) = tg.grad((y * direction(y.shape, 0.3)).sum(), x, create_graph=True)
    agree(g.tolist(), case["order1"], "first derivative")
    for order, phase in ((2, 1.1), (3, 2.2)):
        if g.requires_grad:
            scalar = (g * direction(x.shape, phase)).sum()
            (g,) = tg.grad(scalar, x, create_graph=True, materialize_grads=True)
        else:
            g = tg.zeros_like(x)
        agree(g.tolist(), case[f"order{order}"], f"derivative of order {order}")


@pytest.mark.parametrize("case", DATA["indices"], ids=lambda c: f"{c['input']}: {c['code']}")
def test_indices_and_dtypes(case):
    _, y = run(case, dtype="float32")
    assert y.dtype == case["dtype"]
    assert y.tolist() == pytest.approx(case["value"]) if y.shape == () else True
    np.testing.assert_allclose(y.tolist(), case["value"], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_narrow_floats_stay_narrow(dtype):
    for case in DATA["cases"]:
        x, y = run(case, dtype, requires_grad=True)
        assert y.dtype == dtype, case["code"]
        if y.requires_grad:
            (g,) = tg.grad(y.sum(), x)
            assert g.dtype == dtype, case["code"]


@pytest.mark.parametrize("name", ["sum", "softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("columns", [1, 10, 32, 33])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_many_short_rows_give_what_each_row_gives(name, columns, dtype):
    """Such a matrix is reduced in another order of memory."""
    rows = np.random.default_rng(columns).normal(size=(70, columns)).astype(dtype)
    rows[0, 0], rows[1, 0], rows[2] = np.inf, np.nan, -np.inf
    f = getattr(tg, name)
    with np.errstate(invalid="ignore"):
        for x in (rows, rows[3:], np.asfortranarray(rows), rows[:, ::-1]):
            whole, alone = f(tg.tensor(x), dim=1), [f(tg.tensor(row), dim=0) for row in x]
            assert whole.dtype == dtype and whole.is_contiguous()
            np.testing.assert_allclose(
                whole.numpy(), [y.numpy() for y in alone], rtol=8 * np.finfo(dtype).eps, atol=1e-6
            )
    x = tg.tensor(rows[3:], requires_grad=True)
    (by_matrix,) = tg.grad((f(x, dim=1) ** 2).sum(), x)
    (by_row,) = tg.grad(sum((f(row, dim=0) ** 2).sum() for row in x), x)
    room = 8 * np.finfo(dtype).eps * abs(by_row.numpy()).max()
    np.testing.assert_allclose(by_matrix.numpy(), by_row.numpy(), rtol=0, atol=room)
