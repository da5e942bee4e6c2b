"""vmap against a loop: over every primitive's samples, and over what users write."""

from threading import Thread
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import batching
from tapegrad.func import grad, hessian, jacrev, jvp, vmap
from tapegrad.trees import flatten


def t(data, **options):
    data = np.asarray(data)
    return tg.tensor(data.astype(float) if data.dtype.kind == "f" else data, **options)


def wave(*shape, start=0.0):
    return t(np.sin(np.arange(float(np.prod(shape))) * 1.7 + start).reshape(shape))


def same(found, wanted, where=""):
    found = found.numpy(force=True)
    assert found.shape == wanted.shape, (where, found.shape, wanted.shape)
    assert found.dtype == wanted.dtype, (where, found.dtype, wanted.dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11, err_msg=where)


def loop(f, in_dims, args):
    """What vmap should give, one example after the other."""
    sizes = {a.shape[d] for a, d in zip(args, in_dims) if d is not None}
    (size,) = sizes
    found = []
    for i in range(size):
        example = [
            a if d is None else a[(*[slice(None)] * (d % a.ndim), i)] for a, d in zip(args, in_dims)
        ]
        found.append(flatten(f(*example))[0])
    return [np.stack([y.numpy(force=True) for y in column]) for column in zip(*found)]


def check_map(f, in_dims, *args):
    found = flatten(vmap(f, in_dims=in_dims)(*args))[0]
    for y, wanted in zip(found, loop(f, in_dims, args), strict=True):
        same(y, wanted)


# -- every primitive -----------------------------------------------------------------------------
#: What has no static shape, and says so.
RAGGED = {"nonzero", "unique_indices", "run_indices"}


def copies(sample):
    """Three examples of a sample: floats scaled a little, integers turned about."""
    for k, scale in enumerate((1.0, 0.99, 0.98)):
        yield [
            a * scale if a.dtype.kind == "f" else (np.flip(a) if k == 1 else a)
            for a in map(np.asarray, sample.arrays)
        ]


def outputs(y):
    return list(y) if isinstance(y, tuple) else [y]


def cases(op):
    """(function, weighted sum of it, floating operands, arguments, in_dims) of an operation."""
    for sample in op.samples:
        examples = list(copies(sample))
        count = len(sample.arrays)
        floats = tuple(i for i in range(count) if examples[0][i].dtype.kind == "f")

        def f(*xs, sample=sample):
            return op.function(*xs, **sample.params)

        first = outputs(f(*map(t, examples[0])))
        weights = [wave(*y.shape, start=1.0) for y in first]

        def total(*xs, f=f, weights=weights):
            found = 0.0
            for y, w in zip(outputs(f(*xs)), weights):
                if y.dtype.kind == "f":
                    found = found + (y * w).sum()
            return found

        alone = [(i,) for i in range(count)] if count > 1 else []
        for mapped in [tuple(range(count)), *alone]:
            for axis in (0, -1):
                args, dims = [], []
                for i in range(count):
                    if i in mapped:
                        args.append(t(np.stack([e[i] for e in examples], axis=axis)))
                        dims.append(axis)
                    else:
                        args.append(t(examples[0][i]))
                        dims.append(None)
                yield f, total, floats, args, tuple(dims)


def primitives():
    # Tests may add primitives of their own while these run; the list is made once.
    return [op for op in tg.REGISTRY.values() if op.name not in RAGGED and op.samples]


@pytest.mark.parametrize("op", primitives(), ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_primitive_agrees_with_a_loop(op):
    for f, total, floats, args, dims in cases(op):
        check_map(f, dims, *args)
        if op.differentiable and floats:
            check_derivatives(total, floats, args, dims)


def check_derivatives(total, floats, args, dims):
    slopes = grad(total, argnums=floats)
    check_map(slopes, dims, *args)
    wanted = loop(slopes, dims, args)
    # From outside: what is shared gets the sum, what is mapped its own.
    found = grad(lambda *xs: vmap(total, in_dims=dims)(*xs).sum(), argnums=floats)(*args)
    for i, y, each in zip(floats, found, wanted):
        axis = dims[i]
        same(y, each.sum(axis=0) if axis is None else np.moveaxis(each, 0, axis), f"operand {i}")

    def push(*xs):
        def of_floats(*some):
            every = list(xs)
            for i, x in zip(floats, some):
                every[i] = x
            return total(*every)

        primals = tuple(xs[i] for i in floats)
        return jvp(of_floats, primals, tuple(0.5 * x + 1.0 for x in primals))[1]

    check_map(push, dims, *args)
    if -1 not in dims and sum(a.numpy().size for a in args) <= 60:

        def second(*xs):
            return sum((g * g).sum() for g in slopes(*xs))

        check_map(grad(second, argnums=floats), dims, *args)


@pytest.mark.parametrize(
    "op", [op for op in primitives() if any(len(s.arrays) > 1 for s in op.samples)], ids=str
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_primitive_under_two_levels(op):
    """The first operand mapped by the outer vmap, the last by the inner one."""
    for f, total, floats, args, dims in cases(op):
        if dims == (0,) * len(args) and len(args) > 1:
            check_two_levels(f, args)
            if floats and op.differentiable:
                check_two_levels(grad(total, argnums=floats), args)


def check_two_levels(f, args):
    first, *others, last = args
    others = [a[0] for a in others]

    def both(a, b):
        return f(a, *others, b)

    found = flatten(vmap(vmap(both, in_dims=(None, 0)), in_dims=(0, None))(first, last))[0]
    for k, y in enumerate(found):
        same(y, np.array([[flatten(both(a, b))[0][k].numpy() for b in last] for a in first]))


def test_what_is_vectorized_stays_so():
    """The families run on whole batches; only the rare rest goes example by example."""
    looped = set()
    batching.on_loop = looped.add
    try:
        for op in primitives():
            for f, _, _, args, dims in cases(op):
                if all(a.ndim > 1 for a, d in zip(args, dims) if d is not None):
                    vmap(f, in_dims=dims)(*args)
    finally:
        batching.on_loop = None
    rare = {
        "bincount", "cofactors", "histc", "isin", "matrix_exp", "scatter_rank", "searchsorted",
    }  # fmt: skip
    assert looped <= rare, looped - rare


@pytest.mark.parametrize("name", sorted(RAGGED))
def test_no_static_shape_is_said_by_name(name):
    op = tg.REGISTRY[name]
    with pytest.raises(RuntimeError, match=r"inside vmap.*no static shape"):
        x = t(np.stack([op.samples[0].arrays[0]] * 2))
        vmap(lambda x: op.function(x, **op.samples[0].params))(x)


# -- compositions --------------------------------------------------------------------------------
A, B = wave(3, 4, 5), wave(3, 5, start=2.0)
COMPOSED = {
    "layer": lambda a, b: (a @ b).tanh().sum(),
    "softmax": lambda a, b: tg.softmax(a * b, dim=-1),
    "log_softmax": lambda a, b: tg.log_softmax(a, dim=0) @ b,
    "std": lambda a, b: (a.std(dim=1), b.var()),
    "norm": lambda a, b: tg.linalg.norm(a, dim=1) * tg.linalg.norm(b),
    "normalized": lambda a, b: (a - a.mean(dim=0)) / (a.std(dim=0) + 1e-5) * b,
    "median": lambda a, b: a.median(dim=1).values + b.median(),
    "sorted": lambda a, b: (a.sort(dim=1).values * b, a.argsort(dim=0)),
    "topk": lambda a, b: a.topk(2, dim=1).values.sum() * b,
    "cumulated": lambda a, b: (a.cumsum(dim=1) * b, tg.logcumsumexp(a, dim=0)),
    "einsum": lambda a, b: tg.einsum("ij,j,kj->ik", a, b, a),
    "implicit einsum": lambda a, b: tg.einsum("ij,j", a, b),
    "outer": lambda a, b: tg.outer(a[0], b),
    "gram": lambda a, b: tg.linalg.solve(a.T @ a + tg.eye(5, dtype="float64"), b),
    "joined": lambda a, b: tg.cat([a, b[None, :], a[:1]], dim=0),
    "stacked": lambda a, b: tg.stack([a[0], b, b * 2], dim=1),
    "padded": lambda a, b: tg.nn.functional.pad(a, (1, 2)) * b.sum(),
    "indexed": lambda a, b: (a[1, ::2], a[:, None, -1], a[[0, 2, 0], [1, 1, 3]], b[..., None]),
    "selected": lambda a, b: a[a.argmax(dim=0), tg.arange(5)] * b,
    "masked": lambda a, b: tg.where(a > 0, a, b),
    "mask of all": lambda a, b: a[:, tg.tensor([True, False, True, True, False])],
    "written": lambda a, b: written(a, b),
    "rolled": lambda a, b: (a.roll(1, 0), a.flip(1), tg.tril(a), tg.diagonal(a), a.repeat(2, 3)),
    "shaped": lambda a, b: (a.reshape(2, -1), a.T, a.movedim(0, 1), a.flatten(), b.unsqueeze(0)),
    "reduced": lambda a, b: (a.amax(dim=0), a.argmin(), a.prod(dim=1), a.logsumexp(dim=1), b.any()),
    "distances": lambda a, b: tg.cdist(a, b[None]),
    "loss": lambda a, b: tg.nn.functional.mse_loss(a, b.expand(4, 5)),
}


def written(a, b):
    c = tg.zeros_like(a)
    c[1] = b
    c[:, 0] += 2 * b[0]
    c += a
    return c


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0)])
def test_compositions_agree_with_a_loop(name, in_dims):
    f = COMPOSED[name]
    args = [x if d is not None else x[0] for x, d in zip((A, B), in_dims)]
    check_map(f, in_dims, *args)

    def total(a, b):
        found = flatten(f(a, b))[0]
        return sum((y * y).sum() for y in found if y.dtype.kind == "f")

    check_map(grad(total, argnums=(0, 1)), in_dims, *args)


def test_indices_that_differ_between_examples():
    x, i = wave(3, 4, 5), tg.tensor([[0, 2], [1, 1], [3, 0]])
    cases = {
        "rows": lambda x, i: x[i],
        "columns": lambda x, i: x[:, i],
        "both": lambda x, i: x[i, tg.tensor([4, 0])],
        "apart": lambda x, i: x[i, None, 1],
        "one": lambda x, i: x[i[0]],
        "last of one": lambda x, i: x[:, i[1]],
        "tuple": lambda x, i: x[i[0], i[1]],
        "matrix": lambda x, i: x[i[:, None], i],
        "gathered": lambda x, i: x.gather(0, i[:, None].expand(2, 5)),
        "written": lambda x, i: index_written(x, i),
    }
    for f in cases.values():
        for in_dims in ((0, 0), (None, 0), (0, None)):
            args = [v if d is not None else v[0] for v, d in zip((x, i), in_dims)]
            check_map(f, in_dims, *args)
            check_map(grad(lambda x, i, f=f: (f(x, i) ** 2).sum()), in_dims, *args)


def index_written(x, i):
    y = x.clone()
    y[i, 0] = 7.0
    y[:, i] = y[:, i] * 3.0
    return y


# -- dimensions, trees, results ------------------------------------------------------------------
def test_in_and_out_dims():
    x, y = wave(2, 3, 4), wave(4, 3)
    f = vmap(lambda a, b: (a * b, b.sum()), in_dims=(1, -1), out_dims=(-1, 0))
    product, total = f(x, y)
    columns = [x.numpy()[:, i] * y.numpy()[:, i] for i in range(3)]
    same(product, np.stack(columns, axis=-1))
    same(total, y.numpy().sum(axis=0))
    # nested like the arguments
    tree = {"a": x, "b": [y, tg.tensor(3.0, dtype="float64")]}
    g = vmap(
        lambda tree, k: tree["a"].sum() + tree["b"][0].sum() * tree["b"][1] * k,
        in_dims=({"a": 2, "b": [0, None]}, None),
    )
    same(g(tree, 2.0), x.numpy().sum(axis=(0, 1)) + 6 * y.numpy().sum(axis=1))
    # one entry stands for all below it
    same(vmap(lambda p: p[0] + p[1][0], in_dims=(1,))((y, [y])), 2 * y.numpy().T)
    # keyword arguments and None are shared
    same(vmap(lambda a, none, k: a * k)(y, None, k=3.0), 3 * y.numpy())
    # results that are the same for all examples are repeated; numbers become tensors
    assert vmap(lambda a: (tg.ones(2), 3))(y)[0].shape == (4, 2)
    shared = tg.ones(2)
    assert vmap(lambda a: shared, out_dims=None)(y) is shared


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 10])
def test_chunks(chunk_size):
    x, y = wave(4, 7), wave(7, 3)
    f = vmap(lambda a, b: (a.sum() * b, a), in_dims=(1, 0), out_dims=(1, 0), chunk_size=chunk_size)
    found, columns = f(x, y)
    same(found, (x.numpy().sum(axis=0)[:, None] * y.numpy()).T)
    same(columns, x.numpy().T)


def test_nested_and_mixed_levels():
    x, y = wave(3), wave(4, start=1.0)
    table = vmap(lambda a: vmap(lambda b: (a * b).tanh())(y))(x)
    same(table, np.tanh(np.multiply.outer(x.numpy(), y.numpy())))
    three = vmap(lambda a: vmap(lambda b: vmap(lambda c: a + 2 * b + 3 * c)(x))(y))(x)
    a, b = x.numpy(), y.numpy()
    same(three, a[:, None, None] + 2 * b[:, None] + 3 * a)
    # gradients through both levels, to what only one of them maps
    slopes = grad(lambda x, y: (vmap(lambda a: vmap(lambda b: a * b * b)(y))(x)).sum(), (0, 1))(
        x, y
    )
    same(slopes[0], np.full(3, (b * b).sum()))
    same(slopes[1], 2 * b * a.sum())


def test_outer_parameters_get_the_sum():
    w = t(np.ones(4), requires_grad=True)
    xs = wave(5, 4)
    vmap(lambda x: (w * x).tanh().sum())(xs).sum().backward()
    same(w.grad, ((1 - np.tanh(xs.numpy()) ** 2) * xs.numpy()).sum(axis=0))
    # ... and each example its own, inside
    own = vmap(lambda x: tg.grad((w * x).tanh().sum(), w)[0])(xs)
    same(own, (1 - np.tanh(xs.numpy()) ** 2) * xs.numpy())


def test_backward_inside():
    w = t(np.ones(4), requires_grad=True)
    xs = wave(5, 4)

    def slope(x):
        z = x.detach().requires_grad_()
        (z**3).sum().backward()
        return z.grad

    same(vmap(slope)(xs), 3 * xs.numpy() ** 2)
    with pytest.raises(RuntimeError, match=r"backward\(\) inside vmap reached a leaf made outside"):
        vmap(lambda x: (w * x).sum().backward())(xs)
    assert w.grad is None


def test_per_example_gradients_of_a_network():
    params = {"a": wave(3, 8), "b": wave(8), "c": wave(8, 2)}
    xs, ys = wave(6, 3), wave(6, 2)

    def loss(params, x, y):
        hidden = (x @ params["a"] + params["b"]).tanh()
        return ((hidden @ params["c"] - y) ** 2).sum()

    found = vmap(grad(loss), in_dims=(None, 0, 0))(params, xs, ys)
    for i in range(6):
        one = grad(loss)(params, xs[i], ys[i])
        for k in params:
            same(found[k][i], one[k].numpy())
    whole = grad(lambda p: sum(loss(p, xs[i], ys[i]) for i in range(6)))(params)
    for k in params:
        same(found[k].sum(dim=0), whole[k].numpy())


def test_jacobians_inside():
    xs = wave(5, 3)
    check_map(hessian(lambda x: (x**3).sum() * x[0]), (0,), xs)
    check_map(jacrev(lambda x: tg.outer(x, x)), (0,), xs)


def test_float32_and_integers_keep_their_dtype():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert vmap(lambda x: (x * 2).sum().tanh() / 3)(x).dtype == np.float32
    assert vmap(grad(lambda x: (x * 2).sum().tanh() / 3))(x).dtype == np.float32
    assert vmap(lambda i: i * 2)(tg.arange(3)).dtype == np.int64
    mixed = vmap(lambda a, b: a * b, in_dims=(0, None))(x[0], tg.tensor(2.0, dtype="float64"))
    assert mixed.dtype == (x[0][0] * tg.tensor(2.0, dtype="float64")).dtype


def test_saved_values_and_results_are_guarded():
    w, xs = t(np.ones(4), requires_grad=True), wave(5, 4)
    changed = "changed in place"
    out = vmap(lambda x: w * x)(xs)
    xs.mul_(2.0)  # the record inside reads this memory
    with pytest.raises(RuntimeError, match=changed):
        out.sum().backward()
    out = vmap(lambda x: (w * x).tanh())(xs)
    with tg.no_grad():
        out.mul_(0.0)
    with pytest.raises(RuntimeError, match=changed):
        out.sum().backward()
    # What comes out is nobody else's memory, and can be written to.
    before = xs.numpy().copy()
    vmap(lambda x: x)(xs).add_(1.0)
    vmap(lambda x: x, in_dims=1, out_dims=1)(xs).add_(1.0)
    same(xs, before)
    same(vmap(lambda x: tg.zeros(2, dtype="float64"))(xs).add_(1.0), np.ones((5, 2)))
    first, second = vmap(grad(lambda a, b: (a + b).sum(), (0, 1)))(xs, xs)
    first.add_(1.0)
    same(second, np.ones((5, 4)))


def test_the_graph_is_freed_at_once():
    import gc
    import weakref

    gc.collect()
    gc.disable()
    try:
        xs = wave(5, 4)
        w = t(np.ones(4), requires_grad=True)
        out = vmap(grad(lambda x: (w * x).tanh().sum()))(xs)
        dead = weakref.ref(out)
        inside = []
        vmap(lambda x: inside.append(weakref.ref(x)) or x * 2)(xs)
        del out
        assert dead() is None and inside[0]() is None
    finally:
        gc.enable()


# -- a primitive of a user's ---------------------------------------------------------------------
def test_a_primitive_that_knows_nothing_of_vmap():
    def forward(x, y):  # floats, branches, loops over elements, writes
        out = np.array(x, dtype=float)
        for i in range(len(out)):
            if out[i] > 0:
                out[i] = float(out[i]) ** 2 * y
        return out

    op = tg.primitive(
        "test_vmap_user",
        forward,
        vjp=[
            lambda g, _y, x, y: g * tg.where(x > 0, 2 * x * y, 1.0),
            lambda g, _y, x, _b: (g * tg.where(x > 0, x * x, 0.0)).sum(),
        ],
        samples=[([0.5, -1.0], 2.0)],
    )
    try:
        x, y = wave(4, 3), wave(4, start=1.0)
        for in_dims in ((0, 0), (0, None), (None, 0)):
            args = [v if d is not None else v[0] for v, d in zip((x, y), in_dims)]
            check_map(op, in_dims, *args)
            check_map(grad(lambda x, y: (op(x, y) ** 2).sum(), (0, 1)), in_dims, *args)
        check_map(lambda x: vmap(lambda y: op(x, y))(y), (0,), x)
    finally:
        del tg.REGISTRY["test_vmap_user"]


# -- what cannot be, by name ---------------------------------------------------------------------
REFUSED = {
    "item": (lambda x: x.sum().item(), r"item\(\).*inside vmap"),
    "float": (lambda x: float(x.sum()), r"float\(\).*inside vmap"),
    "tolist": (lambda x: x.tolist(), r"tolist\(\) of a tensor inside vmap"),
    "if": (lambda x: x if x.sum() > 0 else -x, r"truth value.*inside vmap.*tg\.where"),
    "max": (lambda x: max(x[0], x[1]), r"truth value.*inside vmap.*tg\.maximum"),
    "mask": (lambda x: x[x > 0], r"boolean mask inside vmap.*tg\.where"),
    "select": (lambda x: tg.masked_select(x, x > 0), r"boolean mask inside vmap"),
    "nonzero": (lambda x: x.nonzero(), r"nonzero\(\).*inside vmap.*no static shape"),
    "unique": (lambda x: x.unique(), r"unique\(\).*inside vmap.*no static shape"),
    "numpy": (lambda x: x.numpy(), r"numpy\(\).*inside vmap"),
    "asarray": (lambda x: np.asarray(x), r"inside vmap"),
    "tensor of": (lambda x: tg.tensor([x[0], x[1]]), r"inside vmap"),
    "range": (lambda x: x[: x.argmax()], r"inside vmap"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    f, says = REFUSED[name]
    with pytest.raises(RuntimeError, match=f"(?s){says}"):
        vmap(f)(wave(3, 4))


def test_errors_of_dimensions():
    x, y = wave(3, 4), wave(2, 4)
    with pytest.raises(ValueError, match="different lengths, 3 and 2"):
        vmap(lambda a, b: a + b)(x, y)
    with pytest.raises(ValueError, match="nothing to map over"):
        vmap(lambda a: a, in_dims=None)(x)
    with pytest.raises(ValueError, match=r"in_dims \(0, 0\) has 2 entries.*1 positional"):
        vmap(lambda a: a, in_dims=(0, 0))(x)
    with pytest.raises(ValueError, match=r"type float \(2.0\).*None"):
        vmap(lambda a, b: a * b)(x, 2.0)
    with pytest.raises(ValueError, match="dimension 2 is out of range"):
        vmap(lambda a: a, in_dims=2)(x)
    with pytest.raises(ValueError, match="0-d tensor"):
        vmap(lambda a: a)(x[0, 0])
    with pytest.raises(ValueError, match="out_dims is None for a result that differs"):
        vmap(lambda a: a, out_dims=None)(x)
    with pytest.raises(ValueError, match="out_dims: dimension 3"):
        vmap(lambda a: a, out_dims=3)(x)
    with pytest.raises(ValueError, match=r"in_dims.*does not fit"):
        vmap(lambda a: a["x"], in_dims=({"y": 0},))({"x": x})
    with pytest.raises(TypeError, match="must return tensors, not str"):
        vmap(lambda a: "no")(x)
    with pytest.raises(ValueError, match="randomness must be"):
        vmap(lambda a: a, randomness="some")


def test_shape_errors_speak_of_examples():
    with pytest.raises(RuntimeError, match=r"shapes \(4,\) and \(3,\) do not broadcast"):
        vmap(lambda a: a + tg.ones(3))(wave(2, 4))


# -- assertions and random numbers ---------------------------------------------------------------
def test_check_reduces_over_the_batch():
    x = t([[0.1, 0.2], [0.3, 1.5]])

    def f(x):
        tg.check(x <= 1, "a probability is {}", x.max())
        return x * 2

    same(vmap(f)(x[:1]), 2 * x[:1].numpy())
    with pytest.raises(ValueError, match=r"a probability is 1\.5"):
        vmap(f)(x)


def test_randomness():
    x = tg.zeros(4, 3)
    with pytest.raises(RuntimeError, match="randomness='different'"):
        vmap(lambda x: x + tg.rand(3))(x)
    tg.manual_seed(0)
    different = vmap(lambda x: x + tg.rand(3), randomness="different")(x)
    tg.manual_seed(0)
    assert tg.equal(different, tg.rand(4, 3))
    shared = vmap(lambda x: x + tg.randn(3), randomness="same")(x)
    assert tg.equal(shared, shared[:1].expand(4, 3)) and not (shared == 0).any()
    assert len({tuple(r) for r in different.tolist()}) == 4
    orders = vmap(lambda x: tg.randperm(20), randomness="different")(x)
    assert len({tuple(r) for r in orders.tolist()}) == 4
    assert tg.equal(orders.sort(dim=1).values, tg.arange(20).expand(4, 20))
    nested = vmap(
        lambda x: vmap(lambda y: tg.rand(2), randomness="same")(x), randomness="different"
    )(x)
    assert tg.equal(nested, nested[:, :1].expand(4, 3, 2))
    assert len({tuple(r) for r in nested[:, 0].tolist()}) == 4


# -- the border between inside and outside ----------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        lambda o, x: o.add_(x),
        lambda o, x: o.__iadd__(x),
        lambda o, x: o.__setitem__(0, x[0]),
        lambda o, x: o[0].mul_(x[1]),
        lambda o, x: o.copy_(x),
        lambda o, x: o.detach().add_(x),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("how", ["closure", "argument", "attribute", "hidden", "view", "nested"])
def test_a_tensor_from_outside_is_not_changed_in_place(change, recorded, how):
    o = tg.tensor([1.0, 2.0])
    base, holder = o, SimpleNamespace(inner=[o])
    hidden = ModuleType("hidden")
    hidden.o = o
    if how == "view":
        base = tg.tensor([0.0, 1.0, 2.0])
        o = base[1:]
    function = {
        "argument": lambda x, o: change(o, x),
        "attribute": lambda x, _o: change(holder.inner[0], x),
        "hidden": lambda x, _o: change(hidden.o, x),
        "nested": lambda x, o: vmap(lambda y: change(o, y))(x * tg.ones(4, 1)),
    }.get(how, lambda x, _o: change(o, x))
    xs = tg.ones(3, 2, requires_grad=recorded)
    with pytest.raises(RuntimeError, match=r"vmap: .* not possible in place .*clone\(\)"):
        vmap(function, in_dims=(0, None))(xs, o)
    assert not o.requires_grad
    np.testing.assert_array_equal(o.numpy(), [1.0, 2.0])
    o += 1.0
    np.testing.assert_array_equal(base.numpy()[-2:], [2.0, 3.0])


def test_a_recorded_tensor_from_outside_is_not_changed_in_place():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    y = w * w
    with pytest.raises(RuntimeError, match="not possible in place"):
        vmap(lambda x: y.add_(x))(tg.ones(3, 2))
    y.sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2.0, 4.0])


@pytest.mark.parametrize("recorded", [False, True])
def test_what_the_function_made_may_be_changed_in_place(recorded):
    shared = tg.tensor([1.0, 2.0])

    def function(x):
        a, b = tg.zeros(2), tg.tensor([3.0, 4.0])
        a += x
        b[0] = a[1]
        c = (2 * shared).mul_(x)
        d = shared.clone().add_(x)

        def inner(y):
            e = tg.zeros(2)
            e += x
            e += y
            return e

        return a + b + c + d + vmap(inner)(tg.ones(4, 2)).sum(0)

    xs = tg.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=recorded)
    wanted = np.stack([function(x.detach()).numpy() for x in xs])
    np.testing.assert_array_equal(vmap(function)(xs).detach().numpy(), wanted)


def test_a_change_is_undone_when_the_function_fails_later():
    hidden = ModuleType("hidden")
    hidden.o = tg.zeros(2)

    def function(x):
        hidden.o.add_(x)
        raise KeyError("of the user")

    with pytest.raises(KeyError, match="of the user"):
        vmap(function)(tg.ones(3, 2))
    np.testing.assert_array_equal(hidden.o.numpy(), [0.0, 0.0])


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + 1,
        lambda x: 2 * x,
        lambda x: x.sum(),
        tg.exp,
        lambda x: x[0],
        lambda x: x @ tg.ones(2),
        lambda x: vmap(lambda y: y + x)(tg.ones(3, 2)),
        lambda x: vmap(tg.sin)(x),
        lambda x: tg.zeros(2).add_(x),
        lambda x: tg.linalg.norm(x),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_tensor_of_a_vmap_that_has_ended_is_refused(use, recorded):
    kept = []
    xs = tg.ones(3, 2, requires_grad=recorded)
    result = vmap(lambda x: (kept.append(x * 2), kept[0])[1])(xs)
    with pytest.raises(RuntimeError, match="belongs to a vmap that has ended"):
        use(kept[0])
    assert "vmap" in repr(kept[0])
    if recorded:  # while the records are good
        result.sum().backward()
        np.testing.assert_array_equal(xs.grad.numpy(), np.full((3, 2), 2.0))


def test_a_thread_may_compute_for_a_vmap_that_goes_on():
    def function(x):
        found = []
        thread = Thread(target=lambda: found.append(x * 2))
        thread.start()
        thread.join()
        return found[0]

    np.testing.assert_array_equal(vmap(function)(tg.ones(3, 2)).numpy(), np.full((3, 2), 2.0))


def test_repeat_interleave_refuses_a_mapped_count():
    with pytest.raises(RuntimeError, match=r"repeat_interleave .*vmap.*outside"):
        vmap(lambda x, n: tg.repeat_interleave(x, n))(tg.ones(2, 3), tg.tensor([1, 2]))
    with pytest.raises(RuntimeError, match=r"repeat_interleave .*vmap.*outside"):
        vmap(lambda x, n: x.repeat_interleave(n, dim=0))(tg.ones(2, 3), tg.ones(2, 3).long())
