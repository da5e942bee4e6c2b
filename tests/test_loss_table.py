"""Every loss of the table: against stored values of its peer, finite differences, and what it must
refuse. A new row is tested here without a line of its own."""

from __future__ import annotations

import inspect
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.losses import LOSSES

DATA = Path(__file__).parent / "data"
STORED = {
    key: case
    for path in sorted(DATA.glob("losses_*.json"))
    for key, case in json.loads(path.read_text()).items()
}
TRIED = [(row, i) for row in LOSSES for i in range(len(row.tried()))]
PEERS = [(row, i) for row, i in TRIED if row.peer]
#: Rows to call with bad operands: one for each function.
FIRST = [row for row in LOSSES if not row.case]
#: Keras's losses of class indices (N,) take (N, 1) as well.
TAKE_COLUMNS = (
    losses.sparse_categorical_crossentropy,
    losses.categorical_generalized_cross_entropy,
    losses.circle,
)


def name_of(value):
    return value.name.replace(", ", "-") if isinstance(value, losses.Row) else str(value)


def key_of(row, i):
    return f"{row.name} {i}"


def signature(row):
    return inspect.signature(row.function).parameters


@pytest.mark.parametrize("row, i", PEERS, ids=name_of)
def test_agrees_with_its_peer(row, i):
    case = STORED[key_of(row, i)]
    operands = [tg.tensor(np.array(v, dtype=d)) for v, d in case["operands"]]
    settings = {
        k: tg.tensor(np.array(v["array"])) if isinstance(v, dict) else v
        for k, v in case["settings"].items()
    }
    reals = [x.requires_grad_() for x, real in zip(operands, case["real"]) if real]
    value = row(*operands, **settings)
    np.testing.assert_allclose(value.detach().numpy(), case["value"], rtol=1e-9, atol=1e-12)
    first = tg.grad(value.sum(), reals, create_graph=True, allow_unused=True)
    for ours, theirs in zip(first, case["gradients"]):
        found = np.zeros(np.shape(theirs)) if ours is None else ours.detach().numpy()
        np.testing.assert_allclose(found, theirs, rtol=1e-8, atol=1e-10)
    if "second" in case:
        squares = sum(((g * g).sum() for g in first if g is not None), tg.tensor(0.0).double())
        second = (
            tg.grad(squares, reals, allow_unused=True)
            if squares.requires_grad
            else [None] * len(reals)
        )
        for ours, theirs in zip(second, case["second"]):
            found = np.zeros(np.shape(theirs)) if ours is None else ours.numpy()
            np.testing.assert_allclose(found, theirs, rtol=1e-7, atol=1e-9)


def test_every_stored_case_has_its_row():
    assert set(STORED) == {key_of(row, i) for row, i in PEERS}


def hold_constants(module, loss, monkeypatch):
    """What formulas of the module hold constant stays what it is in a first call of the loss, so
    that differences hold it constant too."""
    constants = []

    def record(x):
        constants.append(tg.stop_gradient(x))
        return constants[-1]

    monkeypatch.setattr(module, "stop_gradient", record)
    loss()
    turns = itertools.cycle(constants)
    monkeypatch.setattr(module, "stop_gradient", lambda x: next(turns))


@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_derivatives_by_inputs_and_settings(row, i, monkeypatch):
    settings = row.drawn_settings(row.tried()[i])
    # A default of 0 is the edge of what most settings may be; test_every_setting_is_tried sees to
    # it that those are checked at other values.
    chosen = row.tried()[i]
    real = {k: v for k, v in row.real_settings(chosen).items() if k in chosen or v.item() != 0.0}
    drawn = row.draw()
    inputs = {
        **{f"operand {n}": x for n, (x, k) in enumerate(zip(drawn, row.takes)) if k.link},
        **real,
    }

    def loss(**given):
        raw = [given.get(f"operand {n}", x) for n, x in enumerate(drawn)]
        chosen = {k: v for k, v in given.items() if not k.startswith("operand ")}
        return row(*row.linked(raw), **{**settings, **chosen})

    module = inspect.getmodule(row.function)
    if hasattr(module, "stop_gradient"):
        hold_constants(module, loss, monkeypatch)
    assert tg.check_grads(lambda values: loss(**values), (inputs,), order=2)


@pytest.mark.parametrize("row", FIRST, ids=name_of)
def test_every_setting_is_tried(row):
    tried = {
        k for other in LOSSES if other.function is row.function for s in other.tried() for k in s
    }
    for name, value in row.real_settings({}).items():
        assert name in tried or value.item() != 0.0, f"{row.name}: try {name} at another value"


@pytest.mark.parametrize("row, i", TRIED, ids=name_of)
def test_every_real_setting_has_a_gradient(row, i):
    real = {k: v.detach().requires_grad_() for k, v in row.real_settings(row.tried()[i]).items()}
    settings = row.drawn_settings(row.tried()[i])
    value = row(*row.linked(row.draw()), **{**settings, **real})
    for name, setting in real.items():
        assert tg.grad(value.sum(), setting, retain_graph=True, allow_unused=True)[0] is not None, (
            f"{row.name}: the gradient by {name} is cut"
        )


@pytest.mark.parametrize("row", [r for r in LOSSES if "reduction" in signature(r)], ids=name_of)
def test_reductions(row):
    operands = row.linked(row.draw())
    none = row(*operands, reduction="none")
    total = row(*operands, reduction="sum")
    assert total.shape == () and np.isfinite(total.item())
    np.testing.assert_allclose(none.sum().item(), total.item(), rtol=1e-12)
    mean = row(*operands, reduction="mean")
    assert mean.shape == () and np.isfinite(mean.item())
    with pytest.raises(ValueError, match="reduction"):
        row(*operands, reduction="average")


@pytest.mark.parametrize("row", [r for r in LOSSES if r.form and not r.call], ids=name_of)
def test_class_and_function_agree(row):
    operands = row.linked(row.draw())
    for settings in row.tried():
        settings = row.drawn_settings(settings)
        if not settings.keys() <= inspect.signature(row.form).parameters.keys():
            continue
        loss = row.form(**settings)
        expected = row.function(*operands, **settings)
        np.testing.assert_array_equal(loss(*operands).numpy(), expected.numpy())
        assert repr(loss).startswith(f"{row.form.__name__}(")
    assert repr(row.form()) == f"{row.form.__name__}()"


@pytest.mark.parametrize("row", LOSSES, ids=name_of)
def test_single_precision_stays(row):
    operands = [x.float() if x.is_floating_point() else x for x in row.linked(row.draw())]
    loss = row(*operands)
    assert loss.dtype == np.float32
    exact = row(*row.linked(row.draw()))
    np.testing.assert_allclose(loss.numpy(), exact.numpy(), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("row", FIRST, ids=name_of)
def test_an_empty_batch_is_an_error(row):
    operands = row.linked(row.draw(rows=0))
    with pytest.raises(ValueError, match="empty"):
        row(*operands)


@pytest.mark.parametrize("row", FIRST, ids=name_of)
def test_lists_and_integers_are_refused(row):
    operands = row.linked(row.draw())
    with pytest.raises(TypeError, match="tensor"):
        row(operands[0].tolist(), *operands[1:])
    with pytest.raises(TypeError, match="floating"):
        row(operands[0].long(), *operands[1:])


@pytest.mark.parametrize("row", [r for r in FIRST if len(r.takes) > 1], ids=name_of)
def test_a_second_operand_of_another_shape_is_refused(row):
    first, second, *rest = row.linked(row.draw())
    shorter = [] if row.uneven else [second[:-1]]
    column = [] if row.function in TAKE_COLUMNS else [second.unsqueeze(-1)]
    for wrong in (*shorter, *column, second.unsqueeze(0)):
        with pytest.raises(ValueError, match=r"\(.*\)"):
            row(first, wrong, *rest)


@pytest.mark.parametrize(
    "row", [r for r in FIRST if {"weight", "reduction"} <= signature(r).keys()], ids=name_of
)
def test_a_weight_that_would_widen_the_losses_is_refused(row):
    operands = row.linked(row.draw())
    shape = row(*operands, reduction="none").shape
    with pytest.raises(ValueError, match=r"weight.*\("):
        row(*operands, weight=tg.ones(2, *shape, dtype="float64"))


@pytest.mark.parametrize("row", LOSSES, ids=name_of)
def test_the_docstring_names_its_source(row):
    text = inspect.getdoc(row.function)
    assert "Source:" in text
    assert ">>> " in text
    if row.form:
        assert row.function.__name__ in inspect.getdoc(row.form)
        assert getattr(losses, row.form.__name__) is row.form
    assert getattr(losses, row.function.__name__) is row.function
