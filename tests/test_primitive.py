"""Operations of one's own, through ``tg.primitive``: each way to state them, and overriding."""

import numpy as np
import pytest

import tapegrad as tg


@pytest.fixture(autouse=True)
def registry():
    """Primitives made in a test are gone after it."""
    known = set(tg.REGISTRY)
    yield
    for name in set(tg.REGISTRY) - known:
        del tg.REGISTRY[name]


# -- overriding -----------------------------------------------------------------------------
def counted(function, calls):
    def forward(*xs):
        calls.append(np.shape(xs[0]))
        return function(*xs)

    return forward


def test_override_of_one_operand_reaches_every_caller():
    plain = tg.primitive(
        "own_cube", lambda x: x * x * x, partials=lambda _y, x: 3.0 * x * x, samples=[([0.5],)]
    )
    plain.primitive.batch_rule = lambda values, params: NotImplemented
    calls = []
    again = tg.primitive(
        "own_cube",
        counted(lambda x: 2.0 * (x * x * x), calls),
        partials=lambda _y, x: 6.0 * x * x,
        samples=[([0.5],)],
        doc="Twice the cube.",
        override=True,
    )
    assert again is plain and plain.__doc__ == "Twice the cube."
    for dtype in ("float16", "float32", "float64"):
        for data in (2.0, [2.0], [[2.0]]):
            x = tg.tensor(data, dtype=dtype, requires_grad=True)
            calls.clear()
            y = plain(x)
            assert (y.sum().item(), calls) == (16.0, [x.shape])
            assert tg.grad(y.sum(), x)[0].sum().item() == 24.0
    assert plain(np.array([2.0])) == [16.0] and plain(2.0) == 16.0
    assert tg.vmap(plain)(tg.tensor([2.0, 1.0])).tolist() == [16.0, 2.0]
    assert plain.primitive.batch_rule is None  # it was one of the old forward
    assert tg.check_grads(plain, [np.array([0.5, -1.0])], order=3)


def test_override_of_two_operands_reaches_every_caller():
    plain = tg.primitive(
        "own_product",
        lambda a, b: a * b,
        partials=[lambda _y, _a, b: b, lambda _y, a, _b: a],
        samples=[(0.5, 2.0)],
    )
    calls = []
    tg.primitive(
        "own_product",
        counted(lambda a, b: -(a * b), calls),
        partials=[lambda _y, _a, b: -b, lambda _y, a, _b: -a],
        samples=[(0.5, 2.0)],
        override=True,
    )
    for a, b in ((2.0, 3.0), ([2.0], 3.0), (2.0, [3.0]), ([2.0], [3.0])):
        for dtype in ("float32", "float64"):
            x, y = (tg.tensor(v, dtype=dtype, requires_grad=True) for v in (a, b))
            calls.clear()
            z = plain(x, y)
            assert (z.sum().item(), len(calls)) == (-6.0, 1)
            assert tg.grad(z.sum(), x)[0].sum().item() == -3.0
            assert plain(x, 3).sum().item() == plain(2.0, y).sum().item() == -6.0


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="override=True"):
        tg.primitive("tanh", np.tanh, partials=lambda y, _x: 1 - y * y, samples=[(0.5,)])
