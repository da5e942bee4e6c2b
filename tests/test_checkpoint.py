"""Checkpoints: the same derivatives as without, from less memory."""

import gc
import tracemalloc

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.func import grad, hessian, jacfwd, jacrev, jvp, vmap


def t(data, **options):
    return tg.tensor(np.asarray(data, dtype=float), **options)


def close(found, wanted):
    np.testing.assert_allclose(found.numpy(force=True), wanted.numpy(force=True), rtol=1e-12)


X = t([0.5, -1.25, 2.0])
WEIGHT = t([1.5, 0.5, -0.75], requires_grad=True)


def stretch(x):
    return ((x * WEIGHT).exp() * x).tanh()


def kept(x):
    return tg.checkpoint(stretch, x)


def nested(x):
    return tg.checkpoint(lambda y: kept(kept(y) * 2).sin(), x)


def nested_plain(x):
    return stretch(stretch(x) * 2).sin()


@pytest.mark.parametrize("f, plain", [(kept, stretch), (nested, nested_plain)])
def test_same_derivatives_as_without(f, plain):
    gradients = []
    for g in (f, plain):
        x = t(X.numpy(), requires_grad=True)
        WEIGHT.grad = None
        (g(x) * X).sum().backward()
        gradients.append((x.grad, WEIGHT.grad))
    for a, b in zip(*gradients):
        close(a, b)
    close(f(X), plain(X))

    def total(g):
        return lambda x: (g(x) * X).sum()

    close(hessian(total(f))(X), hessian(total(plain))(X))
    close(jacrev(jacrev(total(f)))(X), hessian(total(plain))(X))
    close(jacfwd(jacfwd(f))(X), jacfwd(jacfwd(plain))(X))
    close(jacrev(jacfwd(jacrev(total(f))))(X), jacrev(jacrev(jacrev(total(plain))))(X))
    close(jvp(f, (X,), (X,))[1], jvp(plain, (X,), (X,))[1])
    xs = tg.stack([X, 2 * X])
    close(vmap(grad(total(f)))(xs), vmap(grad(total(plain)))(xs))
    close(grad(lambda xs: vmap(total(f))(xs).sum())(xs), vmap(grad(total(plain)))(xs))
    WEIGHT.grad = None


def test_several_outputs_trees_and_keywords():
    def f(x, scale=1.0, more=None):
        return {"a": x.sin() * scale, "b": (x.exp(), 3), "same": x, "off": more["y"] * 2}

    def total(found):
        number = found["b"][1]
        return (
            (found["a"] * found["b"][0]).sum() * number + found["same"].sum() + found["off"].sum()
        )

    more = {"y": t([1.0, 2.0, 3.0])}
    for part in ("a", "b"):  # one output alone, the other unused

        def alone(x, part=part):
            found = tg.checkpoint(f, x, scale=2.0, more=more)
            return (found["a"] if part == "a" else found["b"][0]).sum()

        close(grad(alone)(X), 2 * X.cos() if part == "a" else X.exp())
        close(jvp(alone, (X,), (X,))[1], (grad(alone)(X) * X).sum())
    found = tg.checkpoint(f, X.clone().requires_grad_(), scale=2.0, more=more)
    assert not found["off"].requires_grad and found["b"][1] == 3

    def kept_total(x):
        return total(tg.checkpoint(f, x, scale=2.0, more=more))

    def plain_total(x):
        return total(f(x, scale=2.0, more=more))

    close(grad(kept_total)(X), grad(plain_total)(X))
    close(hessian(kept_total)(X), hessian(plain_total)(X))
    close(jvp(kept_total, (X,), (X,))[1], jvp(plain_total, (X,), (X,))[1])


def test_it_runs_twice_and_only_when_needed():
    calls = []

    def f(x):
        calls.append(tg.is_grad_enabled())
        return x.sin()

    x = t(X.numpy(), requires_grad=True)
    y = tg.checkpoint(f, x)
    assert calls == [True]
    with tg.no_grad():
        y.sum()
        y.backward(tg.ones(3, dtype="float64"))  # recomputing records, whatever the mode
    assert calls == [True, True]
    calls.clear()
    with tg.no_grad():
        assert not tg.checkpoint(f, x).requires_grad
    assert calls == [False]
    assert not tg.checkpoint(f, X).requires_grad  # nothing on the tape: nothing to keep
    # A walk that does not need it leaves it alone.
    calls.clear()
    z = x * 2
    both = tg.checkpoint(f, x) + z
    tg.grad(both.sum(), z)
    assert len(calls) == 1


def test_random_numbers_are_drawn_again():
    def drop(x):
        return x * (tg.rand(3) > 0.5).double() * tg.rand(1, dtype="float64")

    for preserve in (True, False):
        same = 0
        for seed in range(5):
            tg.manual_seed(seed)
            x = t([1.0, 1.0, 1.0], requires_grad=True)
            y = tg.checkpoint(drop, x, preserve_rng_state=preserve)
            state = tg.get_rng_state()
            y.sum().backward()
            same += bool((x.grad == y).all())
            if preserve:  # and the stream goes on as if nothing had happened
                assert tg.equal(tg.get_rng_state(), state)
        assert same == 5 if preserve else same < 5


def segment(x):
    for _ in range(10):
        x = (x * 1.01).tanh()
    return x


def peak_memory(run):
    gc.collect()
    x = y = tg.ones(20_000, requires_grad=True)
    tracemalloc.start()
    for _ in range(8):
        y = run(y)
    y.sum().backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, x.grad


def test_memory_is_lower():
    with_all, wanted = peak_memory(segment)
    with_less, found = peak_memory(lambda x: tg.checkpoint(segment, x))
    assert with_less < 0.35 * with_all
    close(found, wanted)


def test_long_chains_take_linear_time():
    def chain(n):
        x = t(0.5, requires_grad=True)
        y = x
        for _ in range(n):
            y = tg.checkpoint(lambda y: (y * 0.999).sin(), y)
        return x, y

    x, y = chain(3000)
    (slope,) = tg.grad(y, x, retain_graph=True)
    y.backward()
    assert x.grad.item() == slope.item()

    def f(x):
        for _ in range(1000):
            x = tg.checkpoint(lambda y: (y * 0.999).sin(), x)
        return x

    close(jvp(f, (t(0.5),), (t(1.0),))[1], grad(f)(t(0.5)))


def test_changes_in_between_are_noticed():
    w = t(2.0, requires_grad=True)
    x = t(X.numpy(), requires_grad=True)

    def changing(change, f=lambda x: x * w):
        y = tg.checkpoint(f, x)
        with tg.no_grad():
            change()
        y.sum().backward()

    with pytest.raises(RuntimeError, match="changed in place"):
        changing(lambda: w.add_(1.0))
    with pytest.raises(RuntimeError, match="changed in place"):
        changing(lambda: x.mul_(2.0))
    fixed = t(X.numpy())
    with pytest.raises(RuntimeError, match="changed in place"):
        y = tg.checkpoint(lambda x, fixed: x * fixed, x, fixed)
        fixed.mul_(2.0)
        y.sum().backward()
    switch = {"on": w}
    with pytest.raises(RuntimeError, match="depended on other tensors"):
        changing(lambda: switch.update(on=WEIGHT), lambda x: x * switch["on"])


def test_another_result_the_second_time_is_noticed():
    """Never the derivative of a function that was not computed."""
    x = t(X.numpy(), requires_grad=True)
    own = tg.Generator().manual_seed(0)
    numpys = np.random.default_rng(0)
    held, factor = t([1.0, 2.0, 3.0]), [2.0]

    def backward(f, change=lambda: None):
        y = tg.checkpoint(f, x)
        change()
        tg.grad((y[0] if isinstance(y, tuple) else y).sum(), x)

    for f, change in (
        (lambda x: x * tg.rand(3, generator=own), lambda: None),
        (lambda x: x * numpys.random(3), lambda: None),
        (lambda x: x * held, lambda: held.mul_(2.0)),
        (lambda x: (x * factor[0], x + 1), lambda: factor.append(factor.pop() + 1)),
        (lambda x: vmap(lambda r: r * factor[0])(x), lambda: factor.append(factor.pop() + 1)),
    ):
        with pytest.raises(RuntimeError, match="was not that of the first time"):
            backward(f, change)
    y = tg.checkpoint(lambda x: x.sin(), x)
    y.mul_(2.0)  # the result itself may be changed: its derivative does not read it
    close(tg.grad(y.sum(), x)[0], 2 * X.cos())
    with np.errstate(all="ignore"):
        y = tg.checkpoint(lambda x: (x - 2.0).log(), x)  # NaN is the same NaN
        assert not tg.grad(y.sum(), x)[0].isnan().any()


def test_handles_that_move_on_do_not_matter():
    x = t(X.numpy(), requires_grad=True)
    h = x * 2
    y = tg.checkpoint(lambda h: h.sin(), h)
    h += 1  # recorded: the handle has a new value and record, the checkpoint the old ones
    y.sum().backward()
    close(x.grad, 2 * (2 * X).cos())


def test_a_second_backward_needs_retain_graph():
    x = t(X.numpy(), requires_grad=True)
    y = kept(x).sum()
    y.backward(retain_graph=True)
    first = x.grad
    y.backward()
    close(x.grad, 2 * first)
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()
    WEIGHT.grad = None
