"""Broadcasting, indexing, reshaping and permuting, on shapes that nobody chose by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tapegrad as tg
from tapegrad.forward import push_forward

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=4)


def values(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def leaf(shape, seed=0):
    return tg.tensor(values(shape, seed), requires_grad=True)


def check_linear_algebra(y, leaves):
    """The gradient is linear in the cotangent, and ⟨g, J v⟩ = ⟨Jᵀ g, v⟩."""
    first, second = (tg.tensor(values(y.shape, s) - 1.0) for s in (11, 12))
    pull = lambda g: tg.grad(y, leaves, g, retain_graph=True, materialize_grads=True)
    one, two, both = pull(first), pull(second), pull(2.0 * first - 3.0 * second)
    for x, a, b, c in zip(leaves, one, two, both):
        assert c.shape == x.shape and c.dtype == x.dtype
        np.testing.assert_allclose(c.numpy(), (2.0 * a - 3.0 * b).numpy(), rtol=1e-12, atol=1e-12)
    directions = [tg.tensor(values(x.shape, 13 + i) - 1.0) for i, x in enumerate(leaves)]
    (pushed,) = push_forward([y], leaves, directions, False)
    pushed = tg.zeros_like(y) if pushed is None else pushed
    assert pushed.shape == y.shape
    left = float((first * pushed).sum())
    right = sum(float((a * v).sum()) for a, v in zip(one, directions))
    assert left == pytest.approx(right, rel=1e-10, abs=1e-12)


def check(f, numpy_f, *shapes):
    """The value is NumPy's, the gradient linear and the transpose of forward mode, and both are
    what finite differences find."""
    leaves = [leaf(s, i) for i, s in enumerate(shapes)]
    y = f(*leaves)
    expected = np.asarray(numpy_f(*[x.detach().numpy() for x in leaves]))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-14)
    if not y.requires_grad:
        return
    check_linear_algebra(y, leaves)
    report = tg.check_grads(f, leaves, order=2, directions="joint", report=True)
    assert report.ok, report.failure()


# -- broadcasting -------------------------------------------------------------------------------
BINARY = [
    (lambda a, b: a + b, np.add),
    (lambda a, b: a - b, np.subtract),
    (lambda a, b: a * b, np.multiply),
    (lambda a, b: a / b, np.true_divide),
    (lambda a, b: a**b, np.power),
    (tg.maximum, np.maximum),
    (tg.hypot, np.hypot),
    (tg.atan2, np.arctan2),
]


@given(
    st.sampled_from(BINARY), hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3)
)
def test_broadcasting(pair, shapes):
    f, numpy_f = pair
    check(f, numpy_f, *shapes.input_shapes)


@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3), st.randoms())
def test_broadcasting_of_three(shapes, random):
    condition = np.random.default_rng(random.randint(0, 99)).random(shapes.input_shapes[2]) > 0.5
    check(
        lambda a, b: tg.where(condition, a * b, a),
        lambda a, b: np.where(condition, a * b, a),
        *shapes.input_shapes[:2],
    )


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3))
def test_broadcast_gradient_sums_over_copies(shapes):
    """d/da of sum(a + b) counts how often each entry of a was used."""
    a, b = (leaf(s, i) for i, s in enumerate(shapes.input_shapes))
    (a + b).sum().backward()
    for x in (a, b):
        copies = int(np.prod(shapes.result_shape)) // max(int(np.prod(x.shape)), 1)
        assert np.array_equal(x.grad.numpy(), np.full(x.shape, float(copies)))


@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=3, max_side=3))
def test_matmul(shapes):
    check(lambda a, b: a @ b, np.matmul, *shapes.input_shapes)


@given(SHAPES, st.data())
def test_expand(shape, data):
    wide = data.draw(hnp.broadcastable_shapes(shape, min_dims=len(shape), max_dims=5, max_side=4))
    result = np.broadcast_shapes(shape, wide)
    check(
        lambda x: x.expand(*result) if result else x * 1.0,
        lambda x: np.broadcast_to(x, result),
        shape,
    )


# -- indexing -----------------------------------------------------------------------------------
@st.composite
def indexed(draw):
    """A shape with an index into it: basic, integer arrays, booleans, or all of them mixed."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    kind = draw(st.sampled_from(["basic", "integer", "boolean", "mixed"]))
    if kind == "basic":
        return shape, draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    if kind == "integer":
        return shape, draw(
            hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4))
        )
    if kind == "boolean":
        count = draw(st.integers(1, len(shape)))
        return shape, draw(hnp.arrays(bool, shape[:count]))
    index = []
    for n in shape:
        index.append(
            draw(
                st.one_of(
                    st.integers(-n, n - 1),
                    st.slices(n),
                    st.just(np.arange(2) if n > 1 else slice(None)),
                    st.lists(st.integers(-n, n - 1), min_size=2, max_size=2).map(np.array),
                )
            )
        )
        if draw(st.booleans()):
            index.insert(draw(st.integers(0, len(index))), None)
    return shape, tuple(index)


@given(indexed())
def test_indexing(case):
    shape, index = case
    try:
        values(shape)[index]
    except IndexError:  # arrays of a mixed index that do not broadcast together
        return
    check(lambda x: x[index], lambda x: x[index], shape)


@given(indexed())
def test_indexing_counts_repetitions(case):
    """The gradient of x[index].sum() is how often each entry was taken."""
    shape, index = case
    x = leaf(shape)
    try:
        positions = np.arange(x.detach().numpy().size).reshape(shape)[index]
    except IndexError:
        return
    x[index].sum().backward()
    counts = np.bincount(np.ravel(positions), minlength=int(np.prod(shape))).reshape(shape)
    assert np.array_equal(x.grad.numpy(), counts.astype(float))


@given(indexed())
def test_assignment(case):
    """After y[index] = v the old entries have no gradient, and v has the new ones'."""
    shape, index = case
    try:
        places = np.arange(int(np.prod(shape))).reshape(shape)[index]
    except IndexError:
        return
    if np.unique(places).size != np.size(places):
        return  # which of several writers wins is NumPy's affair

    def assigned(x, v):
        y = x * 2.0
        y[index] = v
        return y * y

    def numpy_assigned(x, v):
        y = x * 2.0
        y[index] = v
        return y * y

    check(assigned, numpy_assigned, shape, np.shape(places))


# -- shapes -------------------------------------------------------------------------------------
@st.composite
def reshaped(draw):
    """A shape, and another of as many entries."""
    factors = draw(st.lists(st.sampled_from([1, 2, 2, 3]), max_size=5))
    split = lambda: draw(st.permutations(factors))
    return tuple(_grouped(draw, split())), tuple(_grouped(draw, split()))


def _grouped(draw, factors):
    """Neighbouring factors multiplied together here and there."""
    shape = []
    for f in factors:
        if shape and draw(st.booleans()):
            shape[-1] *= f
        else:
            shape.append(f)
    return shape


@given(reshaped())
def test_reshape(shapes):
    shape, other = shapes
    check(
        lambda x: x.reshape(*other) if other else x.reshape(()), lambda x: x.reshape(other), shape
    )


@given(SHAPES, st.data())
def test_permute(shape, data):
    axes = data.draw(st.permutations(range(len(shape))))
    check(lambda x: x.permute(*axes) * 1.0, lambda x: np.transpose(x, axes), shape)


@given(SHAPES.filter(len), st.data())
def test_reductions(shape, data):
    axes = data.draw(st.sets(st.integers(-len(shape), len(shape) - 1), min_size=1))
    axes = tuple({a % len(shape): a for a in axes}.values())
    keepdim = data.draw(st.booleans())
    name = data.draw(st.sampled_from(["sum", "mean", "amax", "logsumexp"]))
    numpy_f = {
        "sum": np.sum,
        "mean": np.mean,
        "amax": np.max,
        "logsumexp": lambda x, **kw: np.log(np.sum(np.exp(x), **kw)),
    }[name]
    check(
        lambda x: getattr(tg, name)(x, dim=axes, keepdim=keepdim),
        lambda x: numpy_f(x, axis=axes, keepdims=keepdim),
        shape,
    )


@given(SHAPES, st.data())
def test_chain_of_shapes(shape, data):
    """Several moves after one another, as programs make them."""
    moves = data.draw(
        st.lists(st.sampled_from(["flatten", "T", "flip", "unsqueeze", "half"]), max_size=4)
    )

    def run(x, flip, reshape):
        for move in moves:
            n = len(x.shape)
            if move == "flatten":
                x = reshape(x, (-1,))
            elif move == "T" and n == 2:
                x = x.T
            elif move == "flip" and n:
                x = flip(x)
            elif move == "unsqueeze":
                x = x[None]
            elif move == "half" and n and x.shape[0] > 1:
                x = x[::2]
        return x * x

    check(
        lambda x: run(x, lambda t: tg.flip(t, (0,)), tg.reshape),
        lambda x: run(x, lambda t: np.flip(t, 0), np.reshape),
        shape,
    )


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), SHAPES.filter(len), st.data())
def test_cat_and_split(lengths, shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    at = axis % len(shape)
    shapes = [(*shape[:at], n, *shape[at + 1 :]) for n in lengths]
    check(lambda *xs: tg.cat(xs, dim=axis) * 1.0, lambda *xs: np.concatenate(xs, axis), *shapes)
    check(
        lambda x: tg.cat(tg.split(x, lengths, dim=axis)[::-1], dim=axis),
        lambda x: np.concatenate(np.split(x, np.cumsum(lengths)[:-1], axis)[::-1], axis),
        (*shape[:at], sum(lengths), *shape[at + 1 :]),
    )
