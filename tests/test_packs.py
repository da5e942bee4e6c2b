"""Parameters moved end to end, by programs: the same steps as the rule's, and all at once."""

import copy
import pickle
import signal
import time
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim, programs
from tapegrad.optim.rule import State, per_parameter
from tapegrad.traced import Trace, Untraceable

#: What looks at a whole parameter, or at the loss, and so goes parameter by parameter.
APART = {"adafactor", "lamb", "lars", "lbfgs", "lookahead", "muon", "sam", "ema"}
PACKED = [row for row in optim.OPTIMIZERS if row.name not in APART and not row.apart]
SHAPES = ((3,), (2, 3), (), (70, 2), (1, 1), (0,))


def leaves(dtype="float64", seed=0, shapes=SHAPES):
    draw = np.random.default_rng(seed)
    return [
        tg.tensor(np.asarray(draw.standard_normal(s), dtype), requires_grad=True) for s in shapes
    ]


def feed(params, draw):
    for p in params:
        p.grad = tg.tensor(np.asarray(draw.standard_normal(p.shape), p.dtype))


def packed(optimizer):
    return sum(len(pack.flat.tensors) for k in optimizer._packings.values() for pack in k.packs)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("row", PACKED, ids=lambda row: row.name)
def test_packed_steps_are_the_rules_steps(row, dtype, monkeypatch):
    monkeypatch.setattr(programs, "BLOCK", 64 * np.dtype(dtype).itemsize)  # 149 elements: 3 blocks
    for settings in row.tried():
        params = leaves(dtype)
        optimizer = row.form(params, **settings)
        alone = [p.detach().clone() for p in params]
        draw, again = np.random.default_rng(1), np.random.default_rng(1)
        state = None
        for step in range(6):
            now = {**settings, "lr": 0.03 * (step + 1)} if "lr" in settings else settings
            optimizer.param_groups[0].update(now)
            feed(params, draw)
            optimizer.step()
            state = state or row.rule(**now).init(alone)
            grads = [tg.tensor(np.asarray(again.standard_normal(p.shape), dtype)) for p in alone]
            alone, state = row.rule(**now).update(alone, grads, state)
        assert packed(optimizer) == len(SHAPES) - 1, "all but the 0-d one"
        tolerance = 1e-12 if dtype == "float64" else 2e-5
        for p, q in zip(params, alone, strict=True):
            assert p.dtype == np.dtype(dtype)
            np.testing.assert_allclose(p.detach().numpy(), q.numpy(), tolerance, tolerance)


def test_rows_that_go_alone_are_those_that_must():
    for row in optim.OPTIMIZERS:
        if row.apart or row.name in ("lbfgs",):
            continue
        params = leaves(shapes=((2, 3), (4, 2)))
        optimizer = row.form(params, **row.tried()[0])
        feed(params, np.random.default_rng(0))
        optimizer.step()
        assert (packed(optimizer) == 2) is (row.name not in APART), row.name


@pytest.mark.parametrize("row", PACKED, ids=lambda row: row.name)
def test_alone_or_packed_is_the_same_to_the_bit(row):
    """So that a snapshot resumes with parameters that lie otherwise in memory."""
    for settings in row.tried():
        (w,) = leaves("float32", shapes=((7, 3),))
        alone = tg.zeros(14, 3)[::2].detach().requires_grad_(True)
        alone.data.copy_(w.detach())
        pair = [row.form([w], **settings), row.form([alone], **settings)]
        draw = np.random.default_rng(1)
        for _ in range(8):
            feed([w], draw)
            alone.grad = w.grad
            for optimizer in pair:
                optimizer.step()
        assert [packed(optimizer) for optimizer in pair] == [1, 0]
        np.testing.assert_array_equal(w.detach().numpy(), alone.detach().numpy())


def test_parameters_come_and_go():
    """Some without gradients, in every step others; a reading of the state; a rebound value."""
    params, alone = leaves(), leaves()
    optimizer = optim.Adam(params, lr=0.1)
    others = [optim.Adam([p], lr=0.1) for p in alone]
    draw = np.random.default_rng(2)
    for step in range(12):
        feed(params, draw)
        for i, (p, q) in enumerate(zip(params, alone, strict=True)):
            p.grad = None if step % 4 == 2 and i % 2 else p.grad
            q.grad = p.grad
        if step == 6:
            assert optimizer.state[params[1]].step == 5 and not optimizer._packings
            params[3].data = params[3].detach() * 2.0
            alone[3].data = alone[3].detach() * 2.0
        optimizer.step()
        for other in others:
            other.step()
    for i, (p, q) in enumerate(zip(params, alone, strict=True)):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
        missed = 3 if i % 2 else 0
        assert optimizer.state[p].step == 12 - missed


def test_a_branch_taken_otherwise_is_traced_anew():
    w = tg.zeros(3, requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5, dampening=0.5)
    for expected in (-1.0, -2.0, -3.0):  # the first velocity is the gradient itself
        w.grad = tg.ones(3)
        optimizer.step()
        assert w.tolist() == [expected] * 3
    assert [len(found) for found in optimizer._programs.values()] == [2]


def test_views_and_aliases_see_the_step():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    part, alias, first = w.data[1:], w.detach(), w.data[0]
    memory = w.detach().numpy()
    w.grad = tg.ones(2)
    optim.SGD([w], lr=0.5).step()
    assert part.tolist() == [1.5] and alias.tolist() == [0.5, 1.5] and first.item() == 0.5
    assert memory.tolist() == [0.5, 1.5]


@pytest.mark.parametrize("count", [1, 2])
def test_a_graph_that_needs_the_old_values_refuses(count):
    params = leaves(shapes=((3,), (2,))[:count])
    loss = sum((p**3).sum() for p in params)
    feed(params, np.random.default_rng(0))
    optim.SGD(params, lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_bad_setting_changes_nothing():
    params = leaves()
    optimizer = optim.Adam(params, lr=0.1)
    draw = np.random.default_rng(0)
    feed(params, draw)
    optimizer.step()
    before = [p.detach().numpy().copy() for p in params]
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr must be at least 0"):
        optimizer.step()
    optimizer.param_groups[0]["lr"] = tg.ones(3)  # a shape of its own does not fit (2, 3)-(70, 2)
    with pytest.raises((ValueError, RuntimeError)):
        optimizer.step()
    for p, old in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), old)
        assert optimizer.state[p].step == 1


def test_overflow_neither_warns_nor_stops_half_way():
    params = leaves("float32", shapes=((3,), (4,)))
    optimizer = optim.Adam(params)
    params[0].grad, params[1].grad = tg.full((3,), 1e38), tg.full((4,), tg.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    assert params[1].isnan().all() and params[0].isfinite().all()


class Alarm(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer")
def test_an_interrupt_comes_before_a_step_or_after_it():
    def ring(*_):
        raise Alarm

    size = 1_000_000
    p, q = leaves("float32", shapes=((size,), (7, 3)))
    optimizer = optim.SGD([p, q], lr=1.0, momentum=0.5)
    p.data, q.data = tg.zeros(size), tg.zeros(7, 3)
    p.grad, q.grad = tg.ones(size), tg.ones(7, 3)
    old = signal.signal(signal.SIGALRM, ring)
    interrupted = 0
    try:
        for i in range(80):
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-4 + 3e-5 * i)
                optimizer.step()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                interrupted += 1
            steps = optimizer.state[p].step if p in optimizer.state else 0
            where = -sum(2.0 - 0.5**k for k in range(steps))
            for tensor in (p, q):
                assert abs(tensor.min().item() - where) < 1e-3, (i, steps)
                assert abs(tensor.max().item() - where) < 1e-3, (i, steps)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupted > 3


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer")
def test_an_interrupt_does_not_split_parameters_that_go_alone():
    def ring(*_):
        raise Alarm

    params = [tg.zeros((), requires_grad=True) for _ in range(200)]
    params += [tg.zeros(2, dtype="float16", requires_grad=True) for _ in range(20)]
    params += leaves(shapes=((3,),))
    params[-1].data = tg.zeros(3, dtype="float64")
    optimizer = optim.SGD(params, lr=1.0, momentum=1.0)
    for p in params:
        p.grad = tg.ones_like(p.detach())
    start = time.perf_counter()
    optimizer.step()
    took = time.perf_counter() - start
    old = signal.signal(signal.SIGALRM, ring)
    interrupted = 0
    try:
        for i in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, took * (0.4 + i / 60))
                optimizer.step()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                interrupted += 1
            steps = {optimizer.state[p].step for p in params}
            assert len(steps) == 1, "all moved, or none"
            assert {p.sum().item() / p.numel() for p in params} == {-s * (s + 1) / 2 for s in steps}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupted > 3


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_by_themselves(copied):
    params = leaves()
    optimizer = optim.Adam(params, lr=0.1)
    draw = np.random.default_rng(0)
    feed(params, draw)
    optimizer.step()
    other = copied(optimizer)
    theirs = other.param_groups[0]["params"]
    feed(params, draw)
    for p, q in zip(params, theirs, strict=True):
        q.grad = p.grad
    optimizer.step()
    other.step()
    for p, q in zip(params, theirs, strict=True):
        assert p is not q
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_a_scheduled_rate_needs_one_program():
    params = leaves(shapes=((3,), (2, 2)))
    optimizer = optim.Adam(params, lr=optim.schedules.cosine_decay(0.1, 10))
    draw = np.random.default_rng(0)
    for _ in range(5):
        feed(params, draw)
        optimizer.step()
    assert [len(found) for found in optimizer._programs.values()] == [1]


@pytest.mark.parametrize("form", [optim.SGD, optim.RMSprop, optim.KerasSGD])
def test_a_schedule_passes_through_zero(form):
    """A plain 0 leaves a term out for good, and what it remembers; the 0 of a schedule does not."""

    def momentum(step):
        return (0.9, 0, 0.0, 0.5)[step]

    (w,), (v,) = leaves(shapes=((3,),)), leaves(shapes=((3,),))
    optimizer, rule = form([w], lr=0.1, momentum=momentum), form.rule(lr=0.1, momentum=momentum)
    alone, state = [v.detach()], rule.init([v.detach()])
    draw = np.random.default_rng(0)
    for _ in range(4):
        feed([w], draw)
        optimizer.step()
        alone, state = rule.update(alone, [w.grad], state)
    np.testing.assert_allclose(w.detach().numpy(), alone[0].numpy(), 1e-12)


def shaped(lr=0.1):
    """A rule of one's own that decays matrices alone, as is usual."""

    def move(w, g, memory, t, lr):
        return w - lr * (g + (w if w.ndim > 1 else 0.0)) / w.numel(), memory

    return per_parameter(lambda w: (), move, lr=lr)


def test_a_rule_that_asks_for_the_shape_gets_it():
    class Shaped(optim.Optimizer):
        rule = staticmethod(shaped)

    params = leaves(shapes=((3,), (2, 3)))
    before = [p.detach().clone() for p in params]
    feed(params, np.random.default_rng(0))
    Shaped(params).step()
    wanted = shaped().update(before, [p.grad for p in params], State(0, [(), ()]))[0]
    for p, want in zip(params, wanted, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), want.numpy())


def test_numbers_of_numpy_need_one_program():
    (w,) = leaves(shapes=((3,),))
    optimizer = optim.Adam([w], lr=lambda step: 0.1 * np.exp(-0.1 * step))
    for _ in range(5):
        w.grad = tg.ones(3, dtype="float64")
        optimizer.step()
        optimizer.param_groups[0]["eps"] *= np.float64(0.9)
    assert sum(map(len, optimizer._programs.values())) == 1


def test_programs_are_not_kept_without_end():
    (w,) = leaves(shapes=((3,),))
    optimizer = optim.SGD([w])
    for rate in range(200):
        optimizer.param_groups[0]["lr"] = rate
        w.grad = tg.ones(3, dtype="float64")
        optimizer.step()
    assert len(optimizer._programs) < 100


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_number_that_is_none_is_refused_before_anything_is_written(dtype):
    """(1 - 0.7·2)^0.75 would be complex."""
    params = leaves(dtype, shapes=((3,), (2, 3)))
    optimizer = optim.ASGD(params, lr=1.0, lambd=-0.7)
    for _ in range(3):
        before = [p.detach().numpy().copy() for p in params]
        feed(params, np.random.default_rng(0))
        try:
            optimizer.step()
        except (TypeError, ValueError):
            for p, old in zip(params, before, strict=True):
                np.testing.assert_array_equal(p.detach().numpy(), old)
        for p in params:
            if p in optimizer.state:
                assert all(f.dtype == p.dtype for f in optimizer.state[p].memory[0])


def test_a_step_that_fails_leaves_graphs_as_they_were():
    a, b = leaves(shapes=((3,), (2,)))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b]}], lr=0.1)
    feed([a, b], np.random.default_rng(0))
    optimizer.step()
    loss = (a**3).sum()
    optimizer.param_groups[1]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr must be at least 0"):
        optimizer.step()
    a.grad = None
    loss.backward()
    np.testing.assert_allclose(a.grad.numpy(), 3 * a.detach().numpy() ** 2)


def test_gradients_may_be_the_memory_of_parameters():
    """All of a step is computed from what was before it."""
    for groups in (lambda a, b: [a, b], lambda a, b: [{"params": [a]}, {"params": [b]}]):
        a, b = tg.ones(2, requires_grad=True), tg.full((2,), 3.0, requires_grad=True)
        optimizer = optim.SGD(groups(a, b), lr=0.5)
        a.grad, b.grad = b.detach(), a.detach()
        optimizer.step()
        assert a.tolist() == [-0.5] * 2 and b.tolist() == [2.5] * 2
    w, v = leaves(shapes=((3,),)), leaves(shapes=((3,),))
    one, other = optim.Adan(w, lr=0.1), optim.Adan(v, lr=0.1)
    for _ in range(3):
        w[0].grad, v[0].grad = w[0].detach(), v[0].detach().clone()
        one.step()
        other.step()
    np.testing.assert_array_equal(w[0].detach().numpy(), v[0].detach().numpy())


@pytest.mark.parametrize("mode", ["warn", "raise"])
def test_numbers_of_fewer_digits_overflow_without_a_warning(mode):
    w = tg.ones(2, requires_grad=True)
    optimizer = optim.Adam([w], lr=tg.tensor(3e38), betas=(tg.tensor(0.99), tg.tensor(0.1)))
    w.grad = tg.ones(2)
    with warnings.catch_warnings(), np.errstate(all=mode):
        warnings.simplefilter("error")
        optimizer.step()
    assert w.isinf().all()


# -- programs ------------------------------------------------------------------------------------
def run(function, count, *numbers, size=5):
    """A function of numbers and arrays, traced and run; the arrays it replaces and theirs alone."""
    trace = Trace()
    given = [trace.number(n) for n in numbers]
    arrays = [trace.array("float64") for _ in range(count)]
    program = programs.Program(trace, given, arrays, [], function(*given, *arrays))
    draw = np.random.default_rng(0)
    values = [draw.standard_normal(size) for _ in range(count)]
    expected = function(*numbers, *[tg.tensor(v) for v in values])
    programs.at_once(program.calls(program.prepare(numbers)[0], values))
    for value, want in zip(values, expected, strict=True):
        if want is not None:
            np.testing.assert_allclose(value, want.numpy(), 1e-15)
    return program


def test_results_replace_inputs_whatever_the_order():
    run(lambda a, b: (b, a), 2)
    run(lambda a, b, c: (b, c, a), 3)
    run(lambda a, b: (b, b), 2)
    run(lambda a, b: (a + b, a - b), 2)
    run(lambda a, b: (b * 2.0, a * 3.0), 2)
    run(lambda a, b, c: (a * b + c, None, (a * b + c) * a), 3)
    run(lambda a, b: (tg.where(a > 0, b, a), tg.where(a > b, a * b, 1.0)), 2)
    run(lambda a, b: (tg.zeros_like(a), a.sign() + b.sign()), 2)
    run(lambda s, a, b: (tg.clip(a, -s, s), tg.maximum(a, b) ** 2), 2, 0.5)


def test_long_arrays_go_in_blocks(monkeypatch):
    monkeypatch.setattr(programs, "BLOCK", 128)
    for size in (0, 1, 15, 16, 17, 48, 50):
        run(lambda s, a, b: (a * s + b, tg.safe_sqrt(b * b)), 2, 2.0, size=size)


@pytest.mark.parametrize(
    "function",
    [
        lambda a: (a.sum() * a,),
        lambda a: (a @ a * a,),
        lambda a: (a[1:],),
        lambda a: (a.flip(0),),
        lambda a: (a.cumsum(0),),
        lambda a: (a if (a > 0).all() else -a,),
        lambda a: (a * a.max(),),
        lambda a: (tg.tensor([1.0, 2.0], dtype="float64") * a,),
        lambda a: (a.to("float32").to("float64"),),
    ],
)
def test_what_is_not_elementwise_is_refused(function):
    with pytest.raises(Untraceable):
        run(function, 1)


def test_numbers_keep_the_arrays_dtype():
    trace = Trace()
    rate, w = trace.number(0.1), trace.array("float32")
    program = programs.Program(trace, [rate], [w], [], [w * tg.sqrt(rate) + rate**0.5])
    value = np.ones(3, np.float32)
    used, _ = program.prepare([0.3])
    assert all(type(number) is float for number in used), "weak beside float32"
    programs.at_once(program.calls(used, [value]))
    np.testing.assert_allclose(value, np.full(3, 2 * 0.3**0.5), 1e-6)
