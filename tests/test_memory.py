"""Depth and memory: no recursion, freed at once by reference counting, no growth."""

import contextlib
import gc
import sys
import tracemalloc
import weakref

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.records import OVERWRITTEN

DEEP = 300_000


@contextlib.contextmanager
def no_collector():
    """Only reference counting frees anything here."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def lists():
    """How many records (and other lists) the collector knows."""
    return sum(type(o) is list for o in gc.get_objects())


@contextlib.contextmanager
def nothing_left(slack=3):
    """The block leaves no record behind, though the collector is off."""
    with no_collector():
        before = lists()
        yield
        after = lists()
    assert after - before <= slack, f"{after - before} records are left"


# -- depth ------------------------------------------------------------------------------------
def test_a_long_chain_is_built_walked_and_freed():
    x = tg.tensor(1.0, dtype="float64", requires_grad=True)
    with nothing_left():
        y = x
        for _ in range(DEEP):
            y = y + 1e-6
        y.backward()
        assert x.grad.item() == 1.0
        del y
    with nothing_left():
        y = x
        for _ in range(DEEP):
            y = y + 1e-6
        del y  # never walked


def test_a_long_chain_of_arrays():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with nothing_left():
        y = x
        for _ in range(DEEP // 10):
            y = y * 1.0001
        y.sum().backward()
        del y
    assert np.isfinite(x.grad.tolist()).all()


def test_deep_higher_orders():
    depth = 20_000
    x = tg.tensor(1.0, dtype="float64", requires_grad=True)
    with nothing_left():
        y = x * x
        for _ in range(depth):
            y = y * 1.0000001
        (g,) = tg.grad(y, x, create_graph=True)
        (h,) = tg.grad(g, x)
        assert h.item() == pytest.approx(2 * 1.0000001**depth)
        del y, g, h


def test_deep_forward_mode():
    from tapegrad.forward import push_forward

    x = tg.tensor(1.0, dtype="float64", requires_grad=True)
    y = x
    for _ in range(DEEP // 3):
        y = y + 1e-6
    (t,) = push_forward([y], [x], [tg.tensor(1.0, dtype="float64")], False)
    assert t.item() == 1.0


def test_long_chains_of_views_and_changes():
    x = tg.tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    with nothing_left():
        y = x * 1
        for _ in range(DEEP // 10):
            y = y.reshape(2)
        y.sum().backward()
        del y
        z = x * 1
        for _ in range(DEEP // 30):
            z += 1e-6
            z[0] = 2.0
        z.sum().backward()
        del z
    assert x.grad.tolist() == [1.0, 2.0]


def test_a_wide_graph():
    x = tg.tensor(1.0, dtype="float64", requires_grad=True)
    with nothing_left():
        parts = [x * float(i) for i in range(2000)]
        total = parts[0]
        for p in parts[1:]:
            total = total + p
        total.backward()
        assert x.grad.item() == sum(range(2000))
        del parts, total, p


# -- freed at once ----------------------------------------------------------------------------
class Watched(tg.Tensor):
    """Can tell that it is gone."""


def leaf(*values):
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


def _plain(x):
    tg.exp(x).sum().backward()


def _never_walked(x):
    (tg.exp(x) * x).sum()


def _retained(x):
    y = tg.exp(x).sum()
    y.backward(retain_graph=True)
    y.backward()


def _create_graph(x):
    tg.exp(x).sum().backward(create_graph=True)
    (x.grad * x.grad).sum().backward()
    x.grad = None


def _grad_of_grad(x):
    (g,) = tg.grad((x * x * x).sum(), x, create_graph=True)
    tg.grad(g.sum(), x)


def _hooks(x):
    y = x * 2
    y.register_hook(lambda g: g * 2)
    y.retain_grad()
    y.sum().backward()


def _hook_that_holds(x):
    y = x * 2
    handle = y.register_hook(lambda g: None)
    y.sum().backward()
    handle.remove()


def _views(x):
    y = x * 2
    v = y[0]
    w = y.reshape(-1, 1)
    w *= v
    y += 1
    y.detach().zero_()
    (y.sum() + v).backward()


def _in_place(x):
    out = tg.zeros(3, 2, dtype="float64")
    for i in range(3):
        out[i] = x * i
    out.unsqueeze_(0)
    out.sum().backward()


def _several(x):
    a, b = (x * 2).split(1)
    values, _ = tg.sort(x)
    (a * b + values.sum()).sum().backward()


def _failing(x):
    y = tg.exp(x)
    z = y.sum()
    with tg.no_grad():
        y.zero_()
    with pytest.raises(RuntimeError):
        z.backward()


def _failing_forward(x):
    with pytest.raises(RuntimeError):
        (x * 2) + tg.ones(7)


def _failing_hook(x):
    y = x * 2

    def hook(g):
        raise KeyError("mine")

    y.register_hook(hook)
    with pytest.raises(KeyError):
        y.sum().backward()


def _anomaly(x):
    with tg.detect_anomaly():
        (x * x).sum().backward()


def _detached_history(x):
    history = []
    for _ in range(5):
        loss = (x * x).sum()
        history.append(loss.detach())
    return history


CASES = [
    _plain, _never_walked, _retained, _create_graph, _grad_of_grad, _hooks, _hook_that_holds,
    _views, _in_place, _several, _failing, _failing_forward, _failing_hook, _anomaly,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__.strip("_"))
def test_freed_at_once_without_the_collector(case):
    x = leaf(1.0, 2.0)
    case(x)  # whatever is made on first use
    x.grad = None
    with nothing_left():
        for _ in range(20):
            case(x)
            x.grad = None


def test_a_detached_value_does_not_hold_the_tape():
    x = leaf(1.0, 2.0)
    _detached_history(x)
    with no_collector():
        before = lists()
        history = _detached_history(x)
        assert lists() - before <= 3 * len(history)  # each holds its family, and no record


def test_leaves_and_their_gradients_go():
    with no_collector():
        x = Watched([1.0, 2.0], requires_grad=True)
        gone = weakref.ref(x)
        (x * x).sum().backward(create_graph=True)
        grad = weakref.ref(x.grad)
        del x
        # The gradient of create_graph refers to the leaf's record, never to the leaf.
        assert gone() is None and grad() is None


def test_old_values_go_with_their_last_reader():
    with no_collector():
        x = leaf(1.0, 2.0)
        y = x * 2
        array = weakref.ref(y._value)
        z = tg.exp(y)
        del y
        assert array() is not None
        z.sum().backward()
        assert array() is None  # a finished walk lets arrays go even while z lives
        assert z.shape == (2,)


def test_writing_in_a_loop_does_not_copy_the_whole_every_time():
    """Recorded ``out[t] = h``: memory of the order of the result, not of its square."""
    steps, width = 400, 500
    x = tg.tensor(np.ones(width), requires_grad=True)
    tracemalloc.start()
    try:
        out = tg.zeros(steps, width, dtype="float64")
        for t in range(steps):
            out[t] = x * float(t)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * out.nbytes
    (out * out).sum().backward()
    assert x.grad.tolist() == [2.0 * sum(t * t for t in range(steps))] * width


def test_a_recurrence_through_its_own_rows_keeps_what_it_saved():
    x = tg.tensor(1.1, dtype="float64", requires_grad=True)
    out = tg.ones(6, dtype="float64")
    kept = []
    for t in range(1, 6):
        out[t] = out[t - 1] * x
        kept.append((out * out).sum())  # saves the whole of out as it is now
    total = sum(kept[1:], kept[0]) + out[5]
    total.backward()

    def value(x):
        out, total = [1.0] * 6, 0.0
        for t in range(1, 6):
            out[t] = out[t - 1] * x
            total += sum(v * v for v in out)
        return total + out[5]

    slope = (value(1.1 + 1e-6) - value(1.1 - 1e-6)) / 2e-6
    assert total.item() == pytest.approx(value(1.1))
    assert x.grad.item() == pytest.approx(slope, rel=1e-7)
    assert out.tolist() == pytest.approx([1.1**t for t in range(6)])


# -- no growth ----------------------------------------------------------------------------------
def test_thousands_of_steps_do_not_grow():
    rng = np.random.default_rng(0)
    w = tg.tensor(rng.normal(size=(4, 3)), requires_grad=True)
    b = tg.tensor(0.5, dtype="float64", requires_grad=True)
    data = tg.tensor(rng.normal(size=(8, 4)))
    state = tg.zeros(4, 3, dtype="float64")

    def step():
        row = w[0]
        loss = ((tg.tanh(data @ w) + b) ** 2).mean() + row.sum() * 0.1
        loss.backward()
        with tg.no_grad():
            state.mul_(0.9).add_(w.grad)
            for p in (w, b):
                p -= 0.01 * p.grad
                p.grad = None
            w[0, 0].clamp_(-1, 1)
        return loss.detach()

    for _ in range(100):
        step()
    gc.collect()
    tracemalloc.start()
    try:
        before, entries, blocks = tracemalloc.get_traced_memory()[0], len(OVERWRITTEN), lists()
        for _ in range(2000):
            step()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 20_000 and len(OVERWRITTEN) <= entries + 2 and lists() <= blocks + 5


def test_overwritten_values_are_forgotten_with_their_arrays():
    gc.collect()
    before = len(OVERWRITTEN)
    kept = [tg.zeros(3).add_(1.0) for _ in range(50)]
    assert len(OVERWRITTEN) == before + 50
    del kept
    assert len(OVERWRITTEN) == before


def test_many_short_lived_views_do_not_pile_up():
    w = tg.tensor(np.zeros(4), requires_grad=True)
    for _ in range(5000):
        w[0] * 2
    assert len(w._views.aliases) <= 64


def test_recording_does_not_touch_the_recursion_limit():
    limit = sys.getrecursionlimit()
    x = tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(3 * limit):
        y = y * 1.0
    y.backward()
    repr(y)
    assert sys.getrecursionlimit() == limit and x.grad.item() == 1.0
