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


# -- stating ----------------------------------------------------------------------------------
def test_a_reduction_takes_dimensions_as_sum_does():
    power = tg.primitive(
        "own_power_sum",
        lambda x, *, axis, keepdims, k=2: np.sum(x**k, axis=axis, keepdims=keepdims),
        weight=lambda _y, x, *, axis, k=2: k * x ** (k - 1),
        samples=[tg.Sample([[0.5, -1.0]], axis=(0,), keepdims=False)],
    )
    x = tg.tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
    for args, named in (
        ((), {}),
        ((0,), {}),
        ((-1, True), {}),
        (((0, 1),), {"keepdim": True}),
        ((), {"axis": 1}),
        ((), {"axis": (0,), "keepdim": True}),
    ):
        y = power(x, *args, k=3, **named)
        assert y.tolist() == (x**3).sum(*args, **named).tolist()
        assert tg.grad(y.sum(), x)[0].tolist() == (3.0 * x**2).tolist()
    assert power(x, axis=(1,), keepdims=True).shape == (2, 1)
    assert tg.vmap(power)(x).tolist() == power(x, 1).tolist()
    assert tg.check_grads(lambda x: power(x, 1), [x], order=3)
    with pytest.raises(IndexError, match="own_power_sum"):
        power(x, 2)


def test_several_outputs_in_any_sequence():
    for pack in (tuple, list):
        both = tg.primitive(
            f"own_{pack.__name__}",
            lambda x, pack=pack: pack((np.sin(x), np.cos(x))),
            vjp=lambda g, y, _x: g[0] * y[1] - g[1] * y[0],
            samples=[([0.5],)],
        )
        assert tg.check_grads(lambda x, both=both: both(x), [np.array([0.5, -1.0])], order=3)
    named = tg.primitive(
        "own_named",
        lambda a: np.linalg.slogdet(a),  # a named tuple
        vjp=lambda g, _y, a: g[1] * tg.linalg.inv(a).mT,
        samples=[([[2.0, 0.5], [0.25, 1.0]],)],
    )
    sign, logarithm = named(tg.tensor([[2.0, 0.0], [0.0, 0.5]], requires_grad=True))
    assert (sign.item(), logarithm.item()) == (1.0, 0.0)


def test_an_operand_without_a_derivative():
    pick = tg.primitive(
        "own_pick",
        lambda x, i: x[i],
        vjp=[lambda g, _y, x, i: tg.one_hot(i, 3) * tg.unsqueeze(g, -1), None],
        samples=[([1.0, 2.0, 3.0], np.array(1))],
        promotes=None,
    )
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (g,) = tg.grad(pick(x, tg.tensor(1)), x)
    assert g.tolist() == [0.0, 1.0, 0.0]
    scale = tg.primitive(
        "own_scale",
        lambda x, s: x * s,
        vjp=[lambda g, _y, _x, s: g * s, None],
        samples=[(1.0, 2.0)],
    )
    s = tg.tensor(2.0, requires_grad=True)
    assert tg.grad(scale(x, s).sum(), [x, s], allow_unused=True)[1] is None


@pytest.mark.parametrize(
    "stated, words",
    [
        ({"partials": 1.0, "transpose": np.abs, "samples": [(0.5,)]}, "exactly one way"),
        ({"samples": [(0.5,)]}, "exactly one way"),
        ({"partials": 1.0, "samples": []}, "needs samples"),
        ({"partials": 1.0, "samples": [(0.5, 1.0)]}, "2 operand"),
        ({"vjp": [np.abs, np.abs], "samples": [(0.5,)]}, "2 rule"),
    ],
)
def test_what_is_stated_wrongly(stated, words):
    with pytest.raises(ValueError, match=words):
        tg.primitive("own_wrong", np.abs, **stated)
    assert "own_wrong" not in tg.REGISTRY
