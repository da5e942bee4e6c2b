"""The shell over the rules: what it refuses and how, and that a refusal leaves all as it was."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim, zeros_like
from tapegrad.optim.rule import State, per_parameter


def leaf(value, dtype="float64"):
    return tg.tensor(value, dtype=dtype, requires_grad=True)


def with_gradients(*params):
    for p in params:
        p.grad = tg.ones_like(p).detach()
    return list(params)


def snapshot_of(*params, **settings):
    optimizer = optim.Adam(params, **settings)
    with_gradients(*(p[1] if isinstance(p, tuple) else p for p in params))
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("differentiable", [False, True])
def test_a_setting_of_another_shape_is_refused_before_anything_moves(differentiable):
    a, b = leaf([1.0, 2.0]), leaf(1.0)
    optimizer = optim.SGD([a, b], lr=tg.tensor([0.1, 0.2]), differentiable=differentiable)
    with_gradients(a, b)
    with pytest.raises(ValueError, match=r"params\[1\] \(shape \(\)\) would get shape \(2,\)"):
        optimizer.step()
    assert a.tolist() == [1.0, 2.0] and b.item() == 1.0 and not optimizer.state


def test_a_parameter_that_cannot_be_written_is_refused_before_anything_moves():
    a, b = leaf([1.0]), tg.ones(1).expand(3).requires_grad_()
    optimizer = optim.SGD(with_gradients(a, b), lr=0.1)
    with pytest.raises(RuntimeError, match=r"clone\(\) it"):
        optimizer.step()
    assert a.item() == 1.0


def test_recorded_steps_keep_the_dtype():
    w, lr = leaf(1.0, "float32"), leaf(0.1)
    optimizer = optim.Adam([w], lr=lr, differentiable=True)
    for _ in range(2):
        optimizer.zero_grad()
        (w * w).backward(create_graph=True)
        optimizer.step()
    assert w.dtype == np.float32
    assert tg.grad(w, lr)[0].item() == pytest.approx(-2.0, rel=0.1)


def test_zeroing_gets_rid_of_what_is_not_finite():
    w = leaf([1.0, 2.0])
    w.grad = tg.tensor([np.inf, np.nan], dtype="float64")
    optim.SGD([w]).zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0.0, 0.0]


def test_an_optimizer_that_was_refused_leaves_the_parameters_leaves():
    a, b = leaf([1.0]), leaf([2.0])
    with pytest.raises(ValueError, match="unknown settings"):
        optim.SGD([{"params": [a]}, {"params": [b], "rate": 1.0}], differentiable=True)
    assert a.is_leaf and b.is_leaf


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (lambda w: {w}, "in an order"),
        (lambda w: [{"params": {w}}], "in an order"),
        (lambda w: {"w": w}, "not a dict"),
        (lambda w: [{"lr": 0.1}], "'params'"),
        (lambda w: [{"params": [w]}, leaf(1.0)], "group"),
    ],
)
def test_what_is_no_list_of_parameters_is_refused(params, message):
    with pytest.raises(TypeError, match=message):
        optim.SGD(params(leaf([1.0])))


def test_clipping_by_a_schedule_is_refused():
    with pytest.raises(TypeError, match="clipnorm must be a number or a Tensor"):
        optim.SGD([leaf([1.0])], clipnorm=lambda step: 1.0)


def test_words_of_keras_that_the_rule_has_not():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epsilon'"):
        optim.SGD([leaf([1.0])], epsilon=0.1)
    with pytest.raises(TypeError, match=r"Adam\(params, lr=0.001, .*multiple values for .*'lr'"):
        optim.Adam([leaf([1.0])], 0.1, learning_rate=0.1)


def test_options_for_speed_are_ignored_in_groups_too():
    optimizer = optim.Adam([{"params": [leaf([1.0])], "foreach": True, "lr": 0.2}], fused=True)
    assert optimizer.param_groups[0]["lr"] == 0.2
    assert "foreach" not in optimizer.param_groups[0]


def test_a_snapshot_of_other_names_is_refused():
    a, b = leaf([1.0]), leaf([2.0])
    snapshot = snapshot_of(("a", a), ("b", b))
    with pytest.raises(ValueError, match=r"parameter 0 of group 0 is 'a' .* here it is 'b'"):
        optim.Adam([("b", b), ("a", a)]).load_state_dict(snapshot)
    optim.Adam([a, b]).load_state_dict(snapshot)  # nothing says otherwise


def test_what_was_added_to_a_group_is_in_the_snapshot():
    optimizer = optim.Adam(with_gradients(leaf([1.0])))
    optimizer.param_groups[0]["name"] = "head"
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()
    assert optimizer.param_groups[0]["name"] == "head"


def test_what_is_no_snapshot_is_refused():
    optimizer = optim.Adam([leaf([1.0])])
    for other in ({}, {"state": {}}, 5):
        with pytest.raises(ValueError, match="'state' and 'param_groups'"):
            optimizer.load_state_dict(other)
    snapshot = snapshot_of(leaf([1.0]))
    del snapshot["state"][0]["step"]
    with pytest.raises(ValueError, match=r"parameter 0 .*'step'"):
        optimizer.load_state_dict(snapshot)


def test_what_is_remembered_is_no_gradient_of_the_caller():
    """A first velocity is the gradient itself: what the caller does to .grad later is not its."""
    for dtype, shape in (("float64", ()), ("float64", (2,)), ("float16", (2,))):
        for differentiable in (False, True):
            params = [tg.ones(shape, dtype=dtype).requires_grad_(True) for _ in range(2)]
            for p, in_place in zip(params, (False, True), strict=True):
                optimizer = optim.SGD([p], lr=0.125, momentum=0.5, differentiable=differentiable)
                for _ in range(3):
                    if in_place and p.grad is not None:
                        p.grad.zero_()
                    else:
                        p.grad = None
                    (p * p).sum().backward(create_graph=differentiable)
                    optimizer.step()
            assert params[0].tolist() == params[1].tolist(), (dtype, shape, differentiable)


def last(lr=0.5):
    """A rule of one's own that remembers the parameter itself."""
    return per_parameter(
        lambda w: Before(zeros_like(w)), lambda w, g, m, t, lr: (w - lr * g, Before(w)), lr=lr
    )


class Before(NamedTuple):
    previous: tg.Tensor


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_rule_may_remember_the_parameter(shape, differentiable):
    class Last(optim.Optimizer):
        rule = staticmethod(last)

    w = tg.ones(shape, dtype="float64", requires_grad=True)
    optimizer = Last([w], differentiable=differentiable)
    w.grad = tg.ones(shape, dtype="float64")
    optimizer.step()
    assert (w == 0.5).all() and (optimizer.state[w].memory[0].previous == 1).all()


def test_state_that_is_held_is_that_of_now():
    w = tg.ones(2, requires_grad=True)
    optimizer = optim.Adam([w])
    state = optimizer.state
    assert state == {} and len(state) == 0 and w not in state
    w.grad = tg.ones(2)
    for _ in range(2):
        optimizer.step()
    assert state[w].step == 2 and list(state) == [w]
    optimizer.step()
    state.clear()
    optimizer.step()
    assert state[w].step == 1
    state[w] = State(7, state[w].memory)
    optimizer.step()
    assert optimizer.state[w].step == 8
    del state[w]
    assert repr(optimizer.state) == "{}"
    optimizer.step()
    optimizer.state = {}
    optimizer.step()
    assert state[w].step == 1


def test_a_shallow_copy_remembers_by_itself():
    w = tg.ones(2, requires_grad=True)
    optimizer = optim.Adam([w])
    w.grad = tg.ones(2)
    optimizer.step()
    other = copy.copy(optimizer)
    optimizer.step()
    other.step()
    assert optimizer.state[w].step == other.state[w].step == 2


@pytest.mark.parametrize("differentiable", [False, True])
def test_what_is_remembered_has_the_dtype_of_its_parameter(differentiable):
    """As in a snapshot, which resumes bit for bit."""
    w = tg.tensor(1.0, dtype="float32", requires_grad=True)
    decay = tg.tensor(0.1, dtype="float64")
    optimizer = optim.NAdam([w], weight_decay=decay, differentiable=differentiable)
    with_gradients(w)
    optimizer.step()
    assert {field.dtype for field in optimizer.state[w].memory[0]} == {w.dtype}
    v = tg.ones(2, dtype="float64", requires_grad=True)
    optimizer = optim.Adam(with_gradients(v))
    optimizer.step()
    v.data = v.detach().to("float32")
    with_gradients(v)
    optimizer.step()
    assert {field.dtype for field in optimizer.state[v].memory[0][:2]} == {v.dtype}
