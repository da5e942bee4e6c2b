"""``pick`` and its transpose ``place`` beside loops: any layout, any integers, batched or not."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops.picking import pick, place

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def picked(x, index, axis):
    found = np.zeros(index.shape)
    moved = np.moveaxis(x, axis, -1)
    for at in itertools.product(*map(range, index.shape)):
        if 0 <= index[at] < x.shape[axis]:
            found[at] = moved[at][index[at]]
    return found


def placed(g, index, axis, count):
    out = np.zeros((*g.shape, count))
    for at in itertools.product(*map(range, index.shape)):
        if 0 <= index[at] < count:
            out[at][index[at]] = g[at]
    return np.moveaxis(out, -1, axis)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape, axis", [((7,), 0), ((6, 3), 1), ((2, 5, 16, 20), 1), ((9, 40), 0)])
@pytest.mark.parametrize("outside", [False, True])
def test_elements_and_gradients(dtype, shape, axis, outside):
    random = np.random.default_rng(0)
    x = random.normal(size=shape)
    index = random.integers(0, shape[axis], shape[:axis] + shape[axis + 1 :]).astype(dtype)
    if outside:
        index = np.where(random.random(index.shape) < 0.3, 100, index).astype(dtype)
    leaf = tg.tensor(x, requires_grad=True)
    y = pick(leaf, tg.tensor(index), axis=axis)
    np.testing.assert_array_equal(y.detach().numpy(), picked(x, index, axis))
    g = random.normal(size=index.shape)
    (found,) = tg.grad(y, leaf, tg.tensor(g), create_graph=True)
    np.testing.assert_array_equal(found.detach().numpy(), placed(g, index, axis, shape[axis]))
    np.testing.assert_array_equal(
        place(tg.tensor(g), tg.tensor(index), axis=axis, count=shape[axis]).numpy(),
        found.detach().numpy(),
    )


@pytest.mark.parametrize("size", [(4, 5, 6), (40, 50, 60)], ids=["small", "large"])
def test_any_layout(size):
    random = np.random.default_rng(0)
    whole = tg.tensor(random.normal(size=size))
    layouts = {
        "turned": whole.permute(2, 1, 0),
        "part": whole[1:, ::2, 1:],
        "broadcast": whole[:1].expand(*size),
    }
    for name, x in layouts.items():
        index = tg.tensor(random.integers(0, x.shape[1], (x.shape[0], x.shape[2])))
        expected = picked(x.numpy(), index.numpy(), 1)
        np.testing.assert_array_equal(pick(x, index, axis=1).numpy(), expected, err_msg=name)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint64"])
@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0)])
def test_batched_is_one_by_one(dtype, in_dims):
    random = np.random.default_rng(0)
    xs = tg.tensor(random.normal(size=(3, 4, 5)))
    indices = tg.tensor(random.integers(0, 4, (3, 5)).astype(dtype))
    gs = tg.tensor(random.normal(size=(3, 5)))
    for f, first in [
        (lambda x, i: pick(x, i, axis=0), xs),
        (lambda g, i: place(g, i, axis=0, count=4), gs),
        (tg.func.grad(lambda x, i: tg.sin(pick(x, i, axis=0)).sum()), xs),
    ]:
        given = [a if d == 0 else a[0] for a, d in zip((first, indices), in_dims)]
        each = [
            f(*(a[k] if d == 0 else a for a, d in zip(given, in_dims))).numpy() for k in range(3)
        ]
        np.testing.assert_array_equal(tg.func.vmap(f, in_dims=in_dims)(*given).numpy(), each)


def test_an_index_changed_after_use_is_refused():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    index = tg.tensor([0, 1])
    y = pick(x, index, axis=1)
    index[0] = 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_every_primitive_is_registered_by_the_engine():
    """Not only when the losses, which are loaded late, ask for it."""
    code = (
        "import tapegrad as tg; known = set(tg.REGISTRY); tg.losses, tg.nn, tg.optim\n"
        "assert set(tg.REGISTRY) == known, set(tg.REGISTRY) - known"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
