"""What load_state_dict makes of a snapshot: precision, rates on the tape, schedules."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim import OPTIMIZERS


def run(row, settings, dtype, snapshot=None, values=None):
    """An optimizer after two steps, and after another from a snapshot where there is one."""
    starts = [np.cos(1.0 + np.arange(np.prod(s))).reshape(s) for s in row.shapes]
    params = [
        tg.tensor(v, dtype=dtype, requires_grad=True) for v in (values or [*map(np.copy, starts)])
    ]
    optimizer = row.form(params, **settings)
    if snapshot is not None:
        optimizer.load_state_dict(snapshot)

    def closure():
        optimizer.zero_grad()
        loss = sum(((w - 3.0) ** 2).sum() for w in params)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    return optimizer, [w.detach().numpy() for w in params]


def tensors_in(value):
    if isinstance(value, tg.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    inside = [tensors_in(v) for v in parts] if isinstance(value, (dict, list, tuple)) else []
    return [t for found in inside for t in found]


@pytest.mark.parametrize("row", OPTIMIZERS, ids=lambda row: row.name)
@pytest.mark.parametrize("there, here", [("float64", "float32"), ("float32", "float64")])
def test_state_takes_the_precision_of_the_parameters(row, there, here):
    for settings in row.tried():
        optimizer, values = run(row, settings, there)
        snapshot = optimizer.state_dict()
        other = row.form([tg.tensor(v, dtype=here, requires_grad=True) for v in values], **settings)
        other.load_state_dict(snapshot)
        state = other.state_dict()["state"]
        assert {t.dtype for t in tensors_in(state)} <= {np.dtype(here)}
        assert {t.dtype for t in tensors_in(snapshot["state"])} <= {np.dtype(there)}  # untouched
        assert all(isinstance(s["step"], int) for s in state.values())
        later, moved = run(row, settings, here, snapshot, values)
        assert {t.dtype for t in tensors_in(later.state_dict()["state"])} <= {np.dtype(here)}
        assert all(np.isfinite(w).all() for w in moved)


def test_each_parameter_decides_for_its_own_state():
    a, b = tg.ones(2, dtype="float32"), tg.ones(2, dtype="float64")
    params = [w.requires_grad_() for w in (a, b)]
    optimizer = optim.Adam(params)
    (a.sum() + b.sum()).backward()
    optimizer.step()
    snapshot = optimizer.state_dict()
    snapshot["state"][0]["exp_avg"] = tg.ones(2, dtype="float64")
    snapshot["state"][1]["exp_avg"] = tg.ones(2, dtype="float32")
    optimizer.load_state_dict(snapshot)
    state = optimizer.state_dict()["state"]
    assert [state[i]["exp_avg"].dtype.name for i in (0, 1)] == ["float32", "float64"]


def made(**settings):
    return optim.Adam([tg.ones(2, requires_grad=True)], **settings)


def test_a_rate_of_the_value_in_the_snapshot_stays_on_the_tape():
    lr = tg.tensor(0.1, requires_grad=True)
    betas = (tg.tensor(0.8, requires_grad=True), 0.9)
    optimizer = made(lr=lr, betas=betas)
    optimizer.load_state_dict(optimizer.state_dict())
    group = optimizer.param_groups[0]
    assert group["lr"] is lr and group["betas"][0] is betas[0]


@pytest.mark.parametrize(
    "there", [tg.tensor(0.2), 0.1, tg.tensor(0.1, dtype="float64"), tg.tensor([0.1, 0.1])]
)
def test_another_rate_comes_from_the_snapshot(there):
    lr = tg.tensor(0.1, requires_grad=True)
    optimizer = made(lr=lr)
    optimizer.load_state_dict(made(lr=there).state_dict())
    taken = optimizer.param_groups[0]["lr"]
    assert taken is not lr and lr.item() == np.float32(0.1)
    if isinstance(there, tg.Tensor):
        assert taken is not there and not taken.requires_grad and taken.dtype == there.dtype
        np.testing.assert_array_equal(taken.numpy(), there.numpy())
    else:
        assert taken == there


def test_a_schedule_stays_where_the_snapshot_has_none(tmp_path):
    def halved(step):
        return 0.5**step

    optimizer = made(lr=halved, betas=(halved, 0.9))
    snapshot = optimizer.state_dict()
    assert snapshot["param_groups"][0]["lr"] is None
    assert snapshot["param_groups"][0]["betas"] == (None, 0.9)
    snapshot["param_groups"][0].update(betas=(None, 0.8))
    optimizer.load_state_dict(tg.load(tg.save(snapshot, tmp_path / "x")))
    group = optimizer.param_groups[0]
    assert group["lr"] is halved and group["betas"] == (halved, 0.8)
    with pytest.raises(TypeError, match="lr must be a number"):  # nothing to keep
        made(lr=0.1).load_state_dict(snapshot)
