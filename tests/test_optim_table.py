"""Every optimizer of the table: against PyTorch's trajectories, derivatives of training by every
setting, zero gradients, snapshots. A new row is tested here without a line of its own."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim import OPTIMIZERS

STORED = json.loads((Path(__file__).parent / "data" / "trajectories.json").read_text())
ROWS = [row for row in OPTIMIZERS if not row.apart]
TRIED = [(row, i) for row in ROWS for i in range(len(row.tried()))]


def name_of(value):
    return value.name if isinstance(value, optim.Row) else str(value)


def start(row, dtype="float64"):
    """Parameters to begin with."""
    starts = [
        tg.tensor(np.cos(1.0 + np.arange(np.prod(shape))).reshape(shape) * (k + 1), dtype=dtype)
        for k, shape in enumerate(row.shapes)
    ]
    return [w.requires_grad_() for w in starts]


def loss_of(params):
    """A bowl with its minimum away from 0, steeper than a square far out, coupled a little."""
    total = sum(((w - 3.0) ** 2).sum() + 0.01 * (w**4).sum() for w in params)
    return total + 0.1 * params[0].sum() * params[-1].sum()


def trained(rule, params, steps):
    """The loss after some steps of a rule, on the tape."""
    state = rule.init(params)
    for _ in range(steps):
        grads = tg.grad(loss_of(params), params, create_graph=True)
        params, state = rule.update(params, grads, state)
    return loss_of(params)


@pytest.mark.parametrize("row, i", [(r, i) for r, i in TRIED if r.peer == "torch"], ids=name_of)
def test_follows_torch(row, i):
    params = start(row)
    optimizer = row.form(params, **row.tried()[i])
    path = []
    for _ in range(25):
        optimizer.zero_grad()
        loss_of(params).backward()
        optimizer.step()
        path.append([w.detach().numpy().copy() for w in params])
    for step, stored in STORED[f"{row.name} {i}"].items():
        for found, expected in zip(path[int(step) - 1], stored, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def flat(settings):
    """Settings with the parts of tuples by names of their own."""
    found = {}
    for name, value in settings.items():
        parts = value if isinstance(value, tuple) else (value,)
        found.update({(name, k): part for k, part in enumerate(parts)})
    return found


def unflat(found, like):
    """And back."""
    return {
        name: tuple(found[name, k] for k in range(len(value)))
        if isinstance(value, tuple)
        else found[name, 0]
        for name, value in like.items()
    }


@pytest.mark.parametrize("steps", [2, 12])
@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_derivatives_of_training(row, i, steps):
    """By every real setting that is not 0 (an edge), and by the initial parameters."""
    settings = row.tried()[i] | (row.checked or {})
    real = {
        k: v
        for k, v in row.real_settings(settings).items()
        if k in settings or not (isinstance(v, tg.Tensor) and v.item() == 0.0)
    }
    real = {k: v for k, v in real.items() if k != "eps" or isinstance(v, tuple) or v.item() >= 1e-3}
    keys = flat(real)

    def final(values):
        chosen = unflat({key: values[str(key)] for key in keys}, real)
        params = [values[f"w{k}"] for k in range(len(row.shapes))]
        return trained(row.rule(**{**settings, **chosen}), params, steps)

    inputs = {str(key): v for key, v in keys.items()}
    inputs |= {f"w{k}": w.detach() for k, w in enumerate(start(row))}
    order = 2 if row.name in ("sgd", "adam") and steps == 2 else 1
    modes = ("fwd", "rev") if steps == 2 else ("rev",)
    directions = "auto" if steps == 2 else "inputs"
    assert tg.check_grads(
        final, (inputs,), order, modes, directions=directions, atol=1e-7, rtol=1e-5
    )


@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_every_real_setting_has_a_gradient(row, i):
    settings = row.tried()[i]
    real = row.real_settings(settings)
    leaves = {key: v.detach().requires_grad_() for key, v in flat(real).items()}
    loss = trained(row.rule(**{**settings, **unflat(leaves, real)}), start(row), 3)
    for key, found in zip(leaves, tg.grad(loss, list(leaves.values()), allow_unused=True)):
        assert found is not None, f"{row.name}: the gradient by {key} is cut"
        assert np.isfinite(found.item())


@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_zero_gradients_have_finite_derivatives(row, i):
    params = start(row)
    grads = [tg.zeros_like(w).requires_grad_() for w in params]
    real = flat(row.real_settings(row.tried()[i]))
    leaves = {key: v.detach().requires_grad_() for key, v in real.items()}
    chosen = unflat(leaves, row.real_settings(row.tried()[i]))
    rule = row.rule(**{**row.tried()[i], **chosen})
    state = rule.init(params)
    moved = params
    for _ in range(2):
        moved, state = rule.update(moved, grads, state)
    total = sum((w * w).sum() for w in moved)
    for found in tg.grad(total, [*grads, *leaves.values()], allow_unused=True):
        assert found is None or np.isfinite(found.numpy()).all()


@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_the_ordinary_loop_is_the_rule(row, i):
    settings = row.tried()[i]
    expected = trained(row.rule(**settings), start(row), 4)
    for differentiable in (False, True):
        params = start(row)
        optimizer = row.form(params, **settings, differentiable=differentiable)
        for _ in range(4):
            optimizer.zero_grad()
            loss_of(params).backward(create_graph=differentiable)
            optimizer.step()
        assert loss_of(params).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_the_ordinary_loop_has_the_derivative_of_the_rule(row):
    name = next((k for k in row.real_settings(row.tried()[0]) if k == "lr"), None)
    if name is None:
        pytest.skip("it has no rate")
    found = []
    for ordinary in (False, True):
        lr = tg.tensor(row.rate, dtype="float64", requires_grad=True)
        params = start(row)
        if ordinary:
            optimizer = row.form(params, lr=lr, differentiable=True)
            for _ in range(3):
                optimizer.zero_grad()
                loss_of(params).backward(create_graph=True)
                optimizer.step()
                assert lr.grad is None
            loss_of(params).backward()
        else:
            trained(row.rule(lr=lr), params, 3).backward()
        found.append(lr.grad.item())
    assert found[0] == pytest.approx(found[1], rel=1e-10)


@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_dicts_are_as_good_as_lists(row, i):
    rule = row.rule(**row.tried()[i])
    listed = start(row)
    named = {f"w{k}": w for k, w in enumerate(start(row))}
    of_list, of_dict = rule.init(listed), rule.init(named)
    for _ in range(3):
        grads = tg.grad(loss_of(listed), listed)
        listed, of_list = rule.update(listed, grads, of_list)
        named, of_dict = rule.update(named, dict(zip(named, grads, strict=True)), of_dict)
    for a, b in zip(listed, named.values(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_a_snapshot_resumes_bit_for_bit(row, i):
    def steps(optimizer, params, count):
        for _ in range(count):
            optimizer.zero_grad()
            loss_of(params).backward()
            optimizer.step()

    params = start(row)
    optimizer = row.form(params, **row.tried()[i])
    steps(optimizer, params, 4)
    snapshot = optimizer.state_dict()
    values = [w.detach().numpy().copy() for w in params]
    steps(optimizer, params, 4)
    again = [tg.tensor(v, requires_grad=True) for v in values]
    other = row.form(again)
    other.load_state_dict(snapshot)
    steps(other, again, 4)
    for a, b in zip(params, again, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_single_precision_stays(row, i):
    params = start(row, "float32")
    optimizer = row.form(params, **row.tried()[i])
    for _ in range(3):
        optimizer.zero_grad()
        loss_of(params).backward()
        optimizer.step()
    assert all(w.dtype == np.float32 for w in params)
    exact = trained(row.rule(**row.tried()[i]), start(row), 3)
    assert loss_of(params).item() == pytest.approx(exact.item(), rel=1e-3)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_no_setting_takes_nan(row):
    real = row.real_settings(row.tried()[0])
    for name, k in flat(real):
        for nan in (np.nan, tg.tensor(np.nan)):
            values = {**flat(real), (name, k): nan}
            with pytest.raises(ValueError, match=rf"{name}.* must be .*, not .*nan"):
                row.rule(**unflat(values, {name: real[name]}))


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_settings_that_make_no_sense_are_refused(row):
    if "lr" in inspect.signature(row.rule).parameters:
        with pytest.raises(ValueError, match="lr must"):
            row.form(start(row), lr=-0.1)
    with pytest.raises(TypeError, match="rate"):
        row.form(start(row), rate=0.1)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_the_docstring_names_its_source(row):
    text = inspect.getdoc(row.rule)
    assert "Source:" in text or f":func:`{row.name.removesuffix('w')}`" in text
    assert ">>> " in text
    assert getattr(optim.functional, row.name) is row.rule
    assert getattr(optim, row.form.__name__) is row.form
    assert row.form.__name__.lower() == row.name.replace("_", "")
