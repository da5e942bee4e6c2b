"""Every primitive in the registry, on its own samples: derivatives of orders 1 to 3 in both
modes, broadcast shapes, float32, 0-d against shape (1,), memory, silence.

A new primitive is tested by being registered. Nothing here names one, save where noted.
"""

import itertools
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.forward import push_forward

# The folders above may define primitives of their own.
FOLDERS = [getattr(tg, name) for name in ("losses", "nn", "optim")]

OPS = [op for name, op in tg.REGISTRY.items() if not name.startswith(("doc_", "planted_"))]
DIFFERENTIABLE = [op for op in OPS if op.differentiable]
#: Families do not say so of these two: they work element by element, too.
ELEMENTWISE = [op for op in OPS if op.family == "elementwise" or op.name in ("mul", "where")]
CASES = [
    pytest.param(op, sample, id=f"{op.name}-{i}")
    for op in DIFFERENTIABLE
    for i, sample in enumerate(op.samples)
]


def floating(array):
    return array.dtype.kind == "f"


def broadcast_variants(op):
    """The first sample of a full shape, with operands cut to shapes that broadcast to it."""
    for sample in op.samples:
        arrays = sample.arrays
        if arrays and all(a.ndim == 2 and a.shape == arrays[0].shape for a in arrays):
            break
    else:
        return
    cuts = {
        "(3,)": lambda a: a[0],
        "(1,3)": lambda a: a[:1],
        "(2,1)": lambda a: a[:, :1],
        "()": lambda a: a[0, 0],
    }
    if len(arrays) > 1:
        for k, (name, cut) in itertools.product(range(len(arrays)), cuts.items()):
            yield (
                f"operand {k} {name}",
                tg.Sample(
                    *(cut(a) if j == k else a for j, a in enumerate(arrays)), **sample.params
                ),
            )
        yield (
            "(2,1) (1,3)",
            tg.Sample(
                *(cuts["(1,3)" if j % 2 else "(2,1)"](a) for j, a in enumerate(arrays)),
                **sample.params,
            ),
        )
    yield "0-d", tg.Sample(*(a[1, 1] for a in arrays), **sample.params)
    yield "(1,)", tg.Sample(*(a[1, 1:2] for a in arrays), **sample.params)
    yield "empty", tg.Sample(*(a[:0] for a in arrays), **sample.params)


BROADCAST = [
    pytest.param(op, sample, id=f"{op.name}-{name}")
    for op in ELEMENTWISE
    if op.differentiable
    for name, sample in broadcast_variants(op)
]


def outputs_of(op, operands, params):
    """The floating results, as a list."""
    y = op.function(*operands, **params)
    return [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]


def operands_of(sample, dtype=np.float64):
    """Leaves for what is floating, arrays for the rest; and the leaves alone."""
    operands = [
        tg.tensor(a.astype(dtype), requires_grad=True) if floating(a) else tg.tensor(a)
        for a in sample.arrays
    ]
    return operands, [x for x in operands if x.requires_grad]


def like(tensors, seed):
    random = np.random.default_rng(seed)
    return [tg.tensor(random.uniform(-1, 1, t.shape).astype(t.dtype)) for t in tensors]


def dot(a, b):
    return sum(
        float(np.vdot(x.numpy().astype(float), y.numpy().astype(float))) for x, y in zip(a, b)
    )


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_has_samples(op):
    assert op.samples, f"the primitive {op.name!r} has no samples, so nothing tests its derivative"
    assert any(floating(a) for s in op.samples for a in s.arrays)


@pytest.mark.parametrize("op, sample", CASES)
def test_derivatives(op, sample):
    report = tg.check_grads(
        lambda *xs: op.function(*xs, **sample.params),
        sample.arrays,
        order=3,
        directions="joint",
        strict=True,  # samples lie off the kinks
        report=True,
    )
    assert report.ok, report.failure()


@pytest.mark.parametrize("op, sample", BROADCAST)
def test_derivatives_of_broadcast_operands(op, sample):
    report = tg.check_grads(
        lambda *xs: op.function(*xs, **sample.params),
        sample.arrays,
        order=2,
        directions="joint",
        report=True,  # other operands meet here than in the sample: a tie may be among them
    )
    assert report.ok, report.failure()


@pytest.mark.parametrize("op, sample", CASES)
def test_modes_agree_silently(op, sample):
    """⟨g, J v⟩ = ⟨Jᵀ g, v⟩; and finite mathematics gives no floating-point warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operands, leaves = operands_of(sample)
        ys = [y for y in outputs_of(op, operands, sample.params) if y.requires_grad]
        g, v = like(ys, 1), like(leaves, 2)
        pushed = push_forward(ys, leaves, v, False)
        pushed = [tg.zeros_like(y) if t is None else t for t, y in zip(pushed, ys)]
        pulled = tg.grad(ys, leaves, g, materialize_grads=True)
    for t, y in zip(pushed, ys):
        assert (t.shape, t.dtype) == (y.shape, y.dtype)
    for c, x in zip(pulled, leaves):
        assert (c.shape, c.dtype) == (x.shape, x.dtype)
    one, other = dot(g, pushed), dot(pulled, v)
    size = sum(np.abs(t.numpy()).sum() for t in (*pushed, *pulled))
    assert abs(one - other) <= 1e-12 * (size + abs(one))


@pytest.mark.parametrize("op, sample", CASES)
def test_float32(op, sample):
    """Unpromoted: everything stays float32, and close to what float64 gives at the same point."""
    rounded = tg.Sample(
        *(a.astype(np.float32) if floating(a) else a for a in sample.arrays), **sample.params
    )
    found = {}
    for dtype in (np.float32, np.float64):
        operands, leaves = operands_of(rounded, dtype)
        ys = [y for y in outputs_of(op, operands, sample.params) if y.requires_grad]
        expected = np.dtype(sample.params.get("dtype", dtype))  # a cast says what it gives
        g, v = like(ys, 1), like(leaves, 2)
        pushed = push_forward(ys, leaves, v, False)
        pulled = tg.grad(ys, leaves, g, create_graph=True, materialize_grads=True)
        assert all(t.dtype == expected for t in ys), "result"
        assert all(t is None or t.dtype == expected for t in pushed), "forward mode"
        assert all(t.dtype == dtype for t in pulled), "gradient"
        found[dtype] = [np.asarray(t.detach()) for t in (*ys, *pushed, *pulled) if t is not None]
    for narrow, wide in zip(found[np.float32], found[np.float64], strict=True):
        scale = np.max(np.abs(wide), initial=0.0)
        assert np.max(np.abs(narrow - wide), initial=0.0) <= 1e-4 * scale + 1e-7


@pytest.mark.parametrize("op, sample", CASES)
def test_memory(op, sample):
    """A forward changes none of its operands, and shares their memory only where declared."""
    operands = [np.array(a) for a in sample.arrays]
    y = op.forward(*operands, **sample.params)
    for before, after in zip(sample.arrays, operands):
        assert np.array_equal(before, after), "an operand was changed"
        for out in y if isinstance(y, tuple) else (y,):
            if after.ndim and isinstance(out, np.ndarray) and not op.view:
                assert not np.may_share_memory(out, after), "shares memory without view=True"


# -- 0-d against shape (1,) -----------------------------------------------------------------------
EXTREMES = {
    "float64": [1e300, 1e-300, 5e-324],
    "float32": [1e38, 1e-38, 1e-45],
    "float16": [6e4, 6e-5, 6e-8],
}


def corners(dtype):
    sizes = [0.0, 1.0, 0.5, 2.5, 3.0, np.inf, *EXTREMES[dtype]]
    return [np.dtype(dtype).type(s * v) for v in sizes for s in (1.0, -1.0)] + [
        np.dtype(dtype).type(np.nan)
    ]


def same_bits(a, b):
    """Equal bits, except that all NaN are one."""
    a, b = np.asarray(a).reshape(-1), np.asarray(b).reshape(-1)
    if a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    nan = np.isnan(a) & np.isnan(b)
    return bool(np.all(nan | ((a == b) & (np.signbit(a) == np.signbit(b)))))


CORNER_OPS = [op for op in ELEMENTWISE if op.samples] + [
    op
    for op in OPS
    if op.family == "constant"
    and op.samples
    and all(floating(a) and a.ndim in (0, 2) for s in op.samples for a in s.arrays)
    and not any(s.params for s in op.samples)
]


@pytest.mark.parametrize("dtype", list(EXTREMES))
@pytest.mark.parametrize("op", CORNER_OPS, ids=lambda op: op.name)
def test_scalar_equals_array_of_one(op, dtype):
    values = corners(dtype)
    sample = op.samples[0]
    kinds = [a.dtype.kind for a in sample.arrays]
    pools = [values if k == "f" else [np.bool_(True), np.bool_(False)] for k in kinds]
    if sum(k == "f" for k in kinds) > 2:
        pools = [p[::3] if k == "f" else p for p, k in zip(pools, kinds)]
    params = {repr(s.params): s.params for s in op.samples}.values()
    wrong = []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for point, p in itertools.product(itertools.product(*pools), params):
            results = []
            for shape in ((), (1,)):
                for tracked in (False, True):
                    operands = [tg.tensor(np.full(shape, v)) for v in point]
                    leaves = [x.requires_grad_(tracked) for x in operands if x.dtype.kind == "f"]
                    y = op.function(*operands, **p)
                    results.append(y.detach().numpy())
                if y.requires_grad:
                    gradients = tg.grad(
                        y, leaves, tg.ones_like(y), allow_unused=True, materialize_grads=True
                    )
                    results.append([g.numpy() for g in gradients])
            half = len(results) // 2
            for a, b in zip(results[:half], results[half:]):
                same = all(map(same_bits, a, b)) if isinstance(a, list) else same_bits(a, b)
                if not same:
                    what = "derivative" if isinstance(a, list) else "value"
                    wrong.append(f"{what} at {point} {p}: {a} and {b}")
            if not same_bits(results[0], results[1]):
                wrong.append(f"recorded and not, at {point} {p}: {results[0]} and {results[1]}")
    assert not wrong, f"{len(wrong)} differ: " + "\n".join(wrong[:6])
