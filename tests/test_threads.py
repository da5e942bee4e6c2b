"""Threads, tasks and generators: independent modes, shared parameters, sums that are right."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tapegrad as tg

COUNT = 8


def in_threads(function, count=COUNT):
    """Run ``function(i)`` in all threads at once, and hand on what it raises."""
    barrier = threading.Barrier(count)

    def work(i):
        barrier.wait()
        return function(i)

    with ThreadPoolExecutor(count) as pool:
        return [f.result() for f in [pool.submit(work, i) for i in range(count)]]


def test_shared_parameters_get_the_whole_sum():
    w = tg.tensor(np.ones((3, 3)), requires_grad=True)
    b = tg.tensor(0.0, dtype="float64", requires_grad=True)

    def work(i):
        for _ in range(50):
            (w * float(i + 1) + b).sum().backward()

    in_threads(work)
    assert w.grad.tolist() == [[50.0 * sum(range(1, COUNT + 1))] * 3] * 3
    assert b.grad.item() == 9.0 * 50 * COUNT


def test_graphs_of_their_own():
    def work(i):
        rng = np.random.default_rng(i)
        for _ in range(30):
            a = rng.normal(size=(4, 4))
            x = tg.tensor(a, requires_grad=True)
            y = x * 1
            y[0] *= 2
            y.mul_(y)
            y.sum().backward()
            scale = np.where(np.arange(4) == 0, 4.0, 1.0)[:, None]
            np.testing.assert_allclose(x.grad.numpy(), 2 * a * scale)

    in_threads(work)


def test_modes_are_independent():
    x = tg.tensor(1.0, requires_grad=True)

    def work(i):
        for _ in range(200):
            assert tg.is_grad_enabled()
            if i % 2:
                with tg.no_grad():
                    assert not (x * 2).requires_grad
                    with tg.enable_grad():
                        assert (x * 2).requires_grad
            else:
                assert (x * 2).requires_grad

    with tg.no_grad():  # a new thread starts with the default, as in torch
        in_threads(work)
        assert not tg.is_grad_enabled()


def test_one_switch_shared_by_threads():
    switch = tg.no_grad()

    @tg.no_grad()
    def quiet():
        return tg.is_grad_enabled()

    def work(i):
        for _ in range(200):
            with switch:
                assert not tg.is_grad_enabled()
                with switch:
                    assert not tg.is_grad_enabled()
                assert not tg.is_grad_enabled()
            assert tg.is_grad_enabled()
            assert not quiet() and tg.is_grad_enabled()

    in_threads(work)


def test_updates_in_threads_are_seen():
    shared = [tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(COUNT)]

    def work(i):
        w = shared[i]
        for _ in range(50):
            loss = (w * w).sum()
            with tg.no_grad():
                w += 1
            with pytest.raises(RuntimeError, match="changed in place"):
                loss.backward()
            (w * w).sum().backward()

    in_threads(work)


def test_a_decorated_asynchronous_generator_records_as_asked():
    """The mode holds in its own code, never in that of whoever reads from it."""
    closed = []

    @tg.no_grad
    async def stream(n):
        try:
            for i in range(n):
                await asyncio.sleep(0)
                try:
                    got = yield i, tg.is_grad_enabled()
                except KeyError:
                    got = yield "caught", tg.is_grad_enabled()
                assert got is None or got == "sent"
        finally:
            closed.append(tg.is_grad_enabled())

    async def main():
        seen = [item async for item in stream(2)]
        assert seen == [(0, False), (1, False)] and tg.is_grad_enabled()
        reading = stream(3)
        assert await anext(reading) == (0, False)
        assert await reading.asend("sent") == (1, False) and tg.is_grad_enabled()
        assert await reading.athrow(KeyError()) == ("caught", False)
        await reading.aclose()
        assert tg.is_grad_enabled()

    asyncio.run(main())
    assert closed == [False, False]


def test_tasks_have_modes_of_their_own():
    async def quiet(steps):
        with tg.no_grad():
            for _ in range(steps):
                await asyncio.sleep(0)
                assert not tg.is_grad_enabled()

    async def loud(steps):
        for _ in range(steps):
            await asyncio.sleep(0)
            assert tg.is_grad_enabled()

    @tg.no_grad()
    async def decorated():
        await asyncio.sleep(0)
        return tg.is_grad_enabled()

    async def main():
        await asyncio.gather(quiet(5), loud(5), quiet(3), loud(7))
        assert tg.is_grad_enabled()
        assert await decorated() is False and tg.is_grad_enabled()
        with tg.no_grad():
            await asyncio.create_task(quiet(2))
            assert not tg.is_grad_enabled()

    asyncio.run(main())
    assert tg.is_grad_enabled()


# -- one thread -------------------------------------------------------------------------------
def test_decorators_with_and_without_parentheses():
    @tg.no_grad
    def bare(a, b=1):
        """Its text."""
        return tg.is_grad_enabled(), a, b

    @tg.no_grad()
    def called():
        return tg.is_grad_enabled()

    @tg.enable_grad()
    def loud():
        return tg.is_grad_enabled()

    @tg.set_grad_enabled(False)
    def off():
        return tg.is_grad_enabled()

    assert bare(2, b=3) == (False, 2, 3) and bare.__name__ == "bare" and bare.__doc__ == "Its text."
    assert not called() and not off() and tg.is_grad_enabled()
    with tg.no_grad():
        assert loud() and not tg.is_grad_enabled()


def test_decorated_functions_call_themselves():
    @tg.no_grad()
    def down(n):
        assert not tg.is_grad_enabled()
        with tg.enable_grad():
            return n if n == 0 else down(n - 1)

    assert down(20) == 0 and tg.is_grad_enabled()


def test_decorated_generators():
    log = []

    @tg.no_grad()
    def numbers():
        try:
            log.append(tg.is_grad_enabled())
            got = yield 1
            log.append((got, tg.is_grad_enabled()))
            try:
                yield 2
            except KeyError:
                log.append(("caught", tg.is_grad_enabled()))
                yield 3
            return "end"
        finally:
            log.append(("closed", tg.is_grad_enabled()))

    run = numbers()
    assert next(run) == 1 and tg.is_grad_enabled()
    assert run.send("x") == 2 and tg.is_grad_enabled()
    assert run.throw(KeyError("k")) == 3 and tg.is_grad_enabled()
    with pytest.raises(StopIteration, match="end"):
        next(run)
    assert log == [False, ("x", False), ("caught", False), ("closed", False)]
    again = numbers()
    next(again)
    again.close()
    assert log[-1] == ("closed", False) and tg.is_grad_enabled()
    broken = numbers()
    next(broken)
    with pytest.raises(ValueError):
        broken.throw(ValueError("v"))
    assert tg.is_grad_enabled()


def test_exceptions_restore_the_mode():
    @tg.no_grad()
    def fails():
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):
            fails()
        with pytest.raises(ValueError), tg.no_grad():
            raise ValueError
        with pytest.raises(ValueError), tg.detect_anomaly():
            raise ValueError
        assert tg.is_grad_enabled()


def test_set_grad_enabled():
    tg.set_grad_enabled(False)
    assert not tg.is_grad_enabled()
    tg.set_grad_enabled(True)
    switch = tg.set_grad_enabled(False)
    with switch:
        with switch:
            assert not tg.is_grad_enabled()
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()
    with tg.no_grad(), tg.set_grad_enabled(True):
        assert tg.is_grad_enabled()


def test_no_grad_inside_and_around_generators():
    def rows(x):
        with tg.no_grad():
            pass
        for i in range(2):
            yield x[i] * 2

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert all(r.requires_grad for r in rows(x))
    with tg.no_grad():
        assert not any(r.requires_grad for r in rows(x))
