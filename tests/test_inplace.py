"""Changes in place: values as NumPy's memory has them, gradients as the complex step finds them."""

import doctest
import inspect
import operator

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import inplace
from tapegrad.records import LAST_OVERWRITE, mark_overwritten, owner
from tapegrad.tensors import make

# -- random programs --------------------------------------------------------------------------
# A program is a list of steps on a growing list of variables. NumPy runs it on real memory (an
# index with an ellipsis keeps 0-d views), on complex numbers too, which gives the derivative.
SHAPES = {
    6: [(6,), (2, 3), (3, 2), (1, 6)],
    4: [(4,), (2, 2)],
    3: [(3,), (3, 1)],
    2: [(2,), (1, 2)],
}
FUNCTIONS = {
    "sin": np.sin,
    "exp": lambda v: np.exp(0.1 * v),
    "square": lambda v: v * v,
    "neg": np.negative,
}


def random_program(rng, length=14):
    shapes = [(2, 3), (3,)]
    steps = []
    for _ in range(length):
        i = int(rng.integers(len(shapes)))
        shape = shapes[i]
        fits = [j for j, s in enumerate(shapes) if _broadcasts(s, shape)]
        j = int(rng.choice(fits))
        kind = rng.choice(["view", "view", "new", "op", "op", "set", "function", "fill", "copy"])
        if kind == "view":
            step, shape = _random_view(rng, i, shape)
            shapes.append(shape)
        elif kind == "new":
            step = ("new", i, str(rng.choice(list(FUNCTIONS))))
            shapes.append(shape)
        elif kind == "op":
            step = ("op", i, str(rng.choice(["iadd", "isub", "imul"])), j)
        elif kind == "set" and shape:
            step = ("set", i, int(rng.integers(shape[0])), float(rng.integers(1, 4)))
        elif kind == "function":
            step = ("function", i, str(rng.choice(["sin", "neg"])))
        elif kind == "fill":
            step = ("fill", i, float(rng.integers(1, 4)))
        else:
            step = ("copy", i, j)
        steps.append(step)
    return steps


def _broadcasts(shape, target):
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def _random_view(rng, i, shape):
    choices = ["whole"]
    if shape:
        choices += ["int", "slice", "T"]
        size = int(np.prod(shape))
        if size in SHAPES:
            choices.append("reshape")
    kind = rng.choice(choices)
    if kind == "int":
        return ("index", i, int(rng.integers(shape[0]))), shape[1:]
    if kind == "slice":
        index = slice(int(rng.integers(shape[0])), None)
        return ("index", i, index), (shape[0] - index.start, *shape[1:])
    if kind == "T":
        return ("T", i), shape[::-1]
    if kind == "reshape":
        options = SHAPES[int(np.prod(shape))]
        new = options[int(rng.integers(len(options)))]
        return ("reshape", i, new), new
    return ("index", i, Ellipsis), shape


def run_numpy(steps, x):
    env = [x * 1.0, np.arange(3.0).astype(x.dtype)]
    for kind, i, *rest in steps:
        v = env[i]
        if kind == "index":
            env.append(v[rest[0]] if rest[0] is Ellipsis else v[rest[0], ...])
        elif kind == "T":
            env.append(v.T)
        elif kind == "reshape":
            if not np.shares_memory(v, np.reshape(v, rest[0])):
                return None  # NumPy and torch copy here
            env.append(np.reshape(v, rest[0]))
        elif kind == "new":
            env.append(np.array(FUNCTIONS[rest[0]](v)))
        elif kind == "op":
            other = env[rest[1]].copy()
            v[...] = {"iadd": np.add, "isub": np.subtract, "imul": np.multiply}[rest[0]](v, other)
        elif kind == "set":
            v[rest[0]] = rest[1]
        elif kind == "function":
            v[...] = FUNCTIONS[rest[0]](v)
        elif kind == "fill":
            v[...] = rest[0]
        else:
            v[...] = env[rest[0]].copy()
    return env


def run_tensors(steps, x):
    # The second variable is on the tape too: a saved constant that changes is an error (below).
    env = [x * 1.0, tg.arange(3.0, dtype=x.dtype) + 0 * x[0]]
    ours = {
        "sin": tg.sin,
        "exp": lambda v: tg.exp(0.1 * v),
        "square": lambda v: v * v,
        "neg": tg.neg,
    }
    for kind, i, *rest in steps:
        v = env[i]
        if kind == "index":
            env.append(v[rest[0]])
        elif kind == "T":
            env.append(v.permute(*reversed(range(v.ndim))) if v.ndim else v)
        elif kind == "reshape":
            env.append(v.reshape(*rest[0]))
        elif kind == "new":
            env.append(ours[rest[0]](v))
        elif kind == "op":
            env[i] = getattr(operator, rest[0])(v, env[rest[1]])
            assert env[i] is v
        elif kind == "set":
            v[rest[0]] = rest[1]
        elif kind == "function":
            getattr(v, rest[0] + "_")()
        elif kind == "fill":
            v.fill_(rest[0])
        else:
            v.copy_(env[rest[0]])
    return env


@pytest.mark.parametrize("block", range(8))
def test_random_programs_agree_with_memory_and_complex_step(block):
    """Views of views, changed in any order, on the tape and off it."""
    checked = 0
    for seed in range(60 * block, 60 * (block + 1)):
        rng = np.random.default_rng(seed)
        steps = random_program(rng)
        start, direction = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
        with np.errstate(all="ignore"):
            known = run_numpy(steps, start)
            moved = run_numpy(steps, start + 1e-30j * direction)
        if known is None or not all(np.all(np.abs(v) < 1e8) for v in known):
            continue
        checked += 1
        weights = [rng.normal(size=v.shape) for v in known]
        slope = sum(np.sum(w * v.imag) for w, v in zip(weights, moved, strict=True)) / 1e-30

        plain = run_tensors(steps, tg.tensor(start))
        x = tg.tensor(start, requires_grad=True)
        taped = run_tensors(steps, x)
        loss = 0.0
        for a, b, c, w in zip(known, plain, taped, weights, strict=True):
            np.testing.assert_allclose(b.tolist(), a, rtol=1e-12, err_msg=f"seed {seed}")
            np.testing.assert_allclose(c.tolist(), a, rtol=1e-12, err_msg=f"seed {seed}")
            loss = loss + (c * w).sum()
        loss.backward()
        found = 0.0 if x.grad is None else float((x.grad * direction).sum())
        assert found == pytest.approx(slope, rel=1e-9, abs=1e-9), f"seed {seed}: {steps}"
    assert checked > 20


# -- one by one -------------------------------------------------------------------------------
def leaf(*values, dtype="float64"):
    return tg.tensor(
        list(values) if len(values) > 1 else values[0], dtype=dtype, requires_grad=True
    )


def test_leaf_update_keeps_identity_and_memory():
    w = leaf(1.0, 2.0)
    (w * w).sum().backward()
    before, memory = id(w), w._value
    with tg.no_grad():
        w -= 0.1 * w.grad
    assert id(w) == before and w._value is memory and w.is_leaf and w.requires_grad
    assert w.tolist() == [0.8, 1.6]
    w.grad = None
    (w * w).sum().backward()
    assert w.grad.tolist() == [1.6, 3.2]


def test_scalar_leaf_update():
    w = leaf(2.0)
    with tg.no_grad():
        w -= 0.5
        w *= 2
    assert w.item() == 3.0 and w.is_leaf and w.requires_grad and w._record[2] == 3.0
    (w * w).backward()
    assert w.grad.item() == 6.0


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.add_(1.0),
        lambda w: operator.iadd(w, 1.0),
        lambda w: w.zero_(),
        lambda w: w.exp_(),
        lambda w: operator.setitem(w, 0, 1.0),
        lambda w: w[0].add_(1.0),
        lambda w: w.reshape(2, 1).mul_(2.0),
        lambda w: operator.setitem(w[:1], 0, 1.0),
        lambda w: w.unsqueeze_(0),
    ],
)
def test_a_leaf_that_requires_grad_refuses(change):
    w = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"leaf Variable that requires grad.*no_grad"):
        change(w)
    assert w.tolist() == [1.0, 2.0] and w.is_leaf


def test_recorded_changes_leave_old_records_valid():
    x = leaf(1.0, 2.0)
    c = x * 1.0
    kept = c * c  # saves the old c
    c += kept
    (c + kept).sum().backward()
    assert x.grad.tolist() == [1 + 4 * 1.0, 1 + 4 * 2.0]


def test_setitem_is_recorded_on_constants_too():
    x, out = leaf(1.0, 2.0), tg.zeros(2, 2, dtype="float64")
    out[0] = x * 3
    out[1, 0] = x[1] * x[1]
    out[out > 5] = 0.0
    assert out.tolist() == [[3.0, 0.0], [4.0, 0.0]] and not out.is_leaf
    out.sum().backward()
    assert x.grad.tolist() == [3.0, 4.0]


def test_setitem_takes_masks_arrays_tensors_and_slices():
    x = tg.zeros(2, 3)
    x[:, 1] = np.array([1.0, 2.0])
    x[x == 0] = -1
    x[tg.tensor([0, 1]), tg.tensor([0, 2])] = tg.tensor([5, 6])
    x[..., -1] += 1
    assert x.tolist() == [[5.0, 1.0, 0.0], [-1.0, 2.0, 7.0]]
    x[()] = 0
    x[None, 0] = [1.0, 2.0, 3.0]
    assert x.tolist() == [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    s = tg.tensor(1.0)
    s[...] = 4
    assert s.item() == 4.0
    with pytest.raises(RuntimeError, match="does not broadcast"):
        x[0] = [1.0, 2.0]
    with pytest.raises(IndexError, match="shape"):
        x[5] = 1.0


@pytest.mark.parametrize(
    "holder", ["none", "record", "handle", "view", "detach", "array", "forward"]
)
def test_repeated_writes_with_others_looking_on(holder):
    """A write may reuse the array of the last one only when nobody else has it."""
    x = leaf(2.0, 3.0)
    out = tg.zeros(3, 2, dtype="float64")
    out[0] = x
    out[1] = x * x
    others = {
        "none": lambda: None,
        "record": lambda: out * out,
        "handle": lambda: make(out._value, out._record),
        "view": lambda: out[1],
        "detach": lambda: out.detach(),
        "array": lambda: out.numpy(force=True),
        "forward": lambda: tg.exp(out),
    }[holder]()
    before = None if others is None else np.array(others.tolist())
    out[2] = x * 3
    out[0, 0] = 1.0
    out[1:] = x * out[2, 0].detach()
    assert out.tolist() == [[1.0, 3.0], [12.0, 18.0], [12.0, 18.0]]
    loss = (out * tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).sum()
    want = np.array([0.0 + (3 + 5) * 6, 2.0 + (4 + 6) * 6])
    if holder in ("record", "handle", "forward"):
        np.testing.assert_array_equal(others.tolist(), before)
        loss = loss + others.sum()
        v = np.array([2.0, 3.0])
        want = (
            want
            + {
                "record": 2 * v + 4 * v**3,
                "handle": 1 + 2 * v,
                "forward": np.exp(v) + 2 * v * np.exp(v * v),
            }[holder]
        )
    if holder == "view":
        assert others.tolist() == out[1].tolist() == [12.0, 18.0]
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), want)


def test_repeated_writes_in_forward_mode_and_higher_orders():
    from tapegrad.forward import push_forward

    x, z = leaf(2.0, 3.0), leaf(5.0)
    out = tg.zeros(2, 2, dtype="float64")
    out[0] = x * x
    out[1] = x * z
    out[0, 1] = z * z
    y = (out * out).sum()
    for inputs, tangents in (([x], [[1.0, 0.0]]), ([z], [1.0])):
        given = [tg.tensor(t, dtype="float64") for t in tangents]
        (t,) = push_forward([y], inputs, given, False)
        want = tg.grad(y, inputs[0], create_graph=True)[0]
        assert t.item() == pytest.approx((want * given[0]).sum().item())
    (g,) = tg.grad(y, x, create_graph=True)
    (h,) = tg.grad(g.sum(), x)
    assert h.tolist() == [12 * 4.0 + 2 * 25.0, 2 * 25.0]


def test_indexed_update_is_recorded_once():
    x = leaf(1.0, 2.0)
    c = x * 1.0
    c[0] += 5.0
    record, names = c._record, []
    while record is not None and len(record) > 6:
        names.append(str(record[1]))
        record = record[6]
    assert names == ["index_put", "mul"]
    c.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_dtype_is_kept():
    x = tg.ones(2)
    x += tg.ones(2, dtype="float64")
    assert x.dtype == np.float32
    y = leaf(1.0, 2.0, dtype="float32") * 1
    y *= leaf(1.0, 2.0)
    assert y.dtype == np.float32 and y.requires_grad
    n = tg.tensor([1, 2])
    n += 1
    n[0] = 2.7
    assert n.tolist() == [2, 3] and n.dtype == np.int64
    for change in (lambda: n.add_(1.5), lambda: n.div_(2), lambda: n.sqrt_()):
        with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
            change()
    n.copy_(tg.tensor([1.9, -1.9]))
    assert n.tolist() == [1, -1]
    b = tg.tensor([True, False])
    with pytest.raises(RuntimeError, match="can't be cast"):
        b += 1


def test_shape_is_kept():
    x = tg.ones(3)
    for change in (lambda: x.add_(tg.ones(2, 3)), lambda: operator.imul(x, tg.ones(2, 1))):
        with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
            change()
    with pytest.raises(RuntimeError, match="do not broadcast"):
        x += tg.ones(2)
    assert x.tolist() == [1.0, 1.0, 1.0]


def test_expanded_views_refuse():
    for x in (tg.zeros(1, 3), leaf(1.0, 2.0, 3.0) * 1):
        wide = x.expand(2, 3)
        for change in (lambda w=wide: w.add_(1), lambda w=wide: operator.setitem(w, 0, 1.0)):
            with pytest.raises(RuntimeError, match="single memory location"):
                change()


# -- memory shared ------------------------------------------------------------------------------
def test_writes_off_the_tape_reach_bases_and_views():
    w = leaf(1.0, 2.0, 3.0)
    first, rest, again = w[0], w[1:], w[1:][0]
    with tg.no_grad():
        w[0].zero_()
        assert w.tolist() == [0.0, 2.0, 3.0] and first.item() == 0.0
        rest *= 10
        assert w.tolist() == [0.0, 20.0, 30.0] and again.item() == 20.0
        w.fill_(7)
        assert (first.item(), again.item(), rest.tolist()) == (7.0, 7.0, [7.0, 7.0])
    assert w.is_leaf and first.requires_grad
    (first * first).backward()
    assert w.grad.tolist() == [14.0, 0.0, 0.0]


def test_scalars_and_their_views():
    s = tg.tensor(2.0)
    one, whole = s.reshape(1), s.detach()
    one += 1
    assert (s.item(), one.tolist(), whole.item()) == (3.0, [3.0], 3.0)
    whole *= 2
    assert (s.item(), one.tolist(), whole.item()) == (6.0, [6.0], 6.0)
    s.zero_()
    assert (s.item(), one.tolist(), whole.item()) == (0.0, [0.0], 0.0)


def test_detach_and_data_share_memory():
    for x in (leaf(1.0, 2.0), leaf(3.0)):
        d = x.detach()
        d += 1
        x.data -= 0.5
        np.testing.assert_allclose(x.tolist(), d.tolist())
        assert x.is_leaf and x.requires_grad and not d.requires_grad
    p = leaf(1.0, 2.0)
    view, source = p[0], tg.tensor([5.0, 6.0, 7.0])
    p.data = source
    source += 1
    assert p.tolist() == [5.0, 6.0, 7.0] and p.is_leaf and p.requires_grad
    assert view.item() == 1.0
    (p * p).sum().backward()
    assert p.grad.tolist() == [10.0, 12.0, 14.0]


def test_detached_alias_on_the_tape():
    """``h = h.detach(); h += f(x)`` is common; with the old h alive it would be changed unseen."""
    x = leaf(1.0, 2.0)
    h = x * 2
    h = h.detach()
    h += x
    h.sum().backward()
    assert h.tolist() == [3.0, 6.0] and x.grad.tolist() == [1.0, 1.0]
    old = x * 2
    new = old.detach()
    with pytest.raises(RuntimeError, match=r"clone\(\) it first"):
        new += x
    assert old.tolist() == [2.0, 4.0]


def test_a_view_of_a_detached_leaf_belongs_to_that_leaf():
    a = leaf(1.0, 2.0)
    b = a.detach().requires_grad_()
    view = b[0]
    with pytest.raises(RuntimeError, match="view of a leaf"):
        view += 1
    c = b * 1
    part = c[0]
    part += a[0]
    c.sum().backward()
    assert b.grad.tolist() == [1.0, 1.0] and a.grad.tolist() == [1.0, 0.0]


def test_constants_become_recorded_with_their_views():
    p, base = leaf(2.0), tg.zeros(2, dtype="float64")
    view, cut = base[0], base.detach()
    base += p
    assert view.requires_grad and not cut.requires_grad and cut.tolist() == [2.0, 2.0]
    (view * 3).backward()
    assert p.grad.item() == 3.0


def test_what_is_a_view_and_what_a_copy():
    x = tg.arange(6.0).reshape(2, 3)
    for part in (x.unbind(0)[1], *x.split(2, dim=1)):
        part += 1
    assert x.tolist() == [[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]
    x -= tg.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    x[0].unbind(0)[1].zero_()
    assert x.tolist() == [[0.0, 0.0, 2.0], [3.0, 4.0, 5.0]]
    x[0, 1] = 1.0
    for copy in (x[[0, 1]], x[x > -1], x.clone(), x.T.reshape(6), x + 0):
        copy += 1
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_retain_grad_follows_the_tensor():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y *= 3
    (y * y).sum().backward()
    assert y.grad.tolist() == [12.0, 24.0] and x.grad.tolist() == [72.0, 144.0]


def test_shape_in_place():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 2
    view = y[0]
    y.unsqueeze_(0)
    assert y.shape == (1, 3)
    y.mul_(2)
    assert view.item() == 4.0
    y.squeeze_()
    (y * view).sum().backward()
    assert x.grad.tolist() == [4 * (24 + 4 * 1.0) - 4 * 4 * 1.0 + 4 * 4 * 1.0, 16.0, 16.0]
    z = tg.arange(6.0).reshape(2, 3)
    flat = z.reshape(6)
    z.t_()
    z[0, 1] = 9.0
    assert z.shape == (3, 2) and flat.tolist() == [0.0, 1.0, 2.0, 9.0, 4.0, 5.0]
    with tg.no_grad():
        x.unsqueeze_(1)
    assert x.is_leaf and x.requires_grad and x.shape == (3, 1)


def test_detach_in_place():
    x = leaf(1.0, 2.0)
    y = x * 2
    with pytest.raises(RuntimeError, match="Can't detach views"):
        y[0].detach_()
    assert not y.detach_().requires_grad and y.is_leaf


# -- the table --------------------------------------------------------------------------------
ARGUMENTS = {
    "atan2": (0.5,), "hypot": (0.5,), "fmod": (0.3,), "remainder": (0.3,), "floor_divide": (0.3,),
    "pow": (1.5,), "lerp": (2.0, 0.25), "xlogy": (2.0,), "clamp": (0.3, 0.6), "clip": (0.3, 0.6),
    "cumsum": (0,), "cumprod": (0,), "add": (2.0,), "sub": (2.0,), "mul": (2.0,), "div": (2.0,),
    "ldexp": (2,), "addcdiv": ("x", "x"), "addcmul": ("x", "x"), "masked_fill": ("mask", 2.0),
    "index_add": (0, "index", "x"), "index_copy": (0, "index", "x"),
    "index_fill": (0, "index", 2.0),
    "scatter": (0, "places", "x"), "scatter_add": (0, "places", "x"),
    "scatter_reduce": (0, "places", "x", "sum"), "masked_scatter": ("mask", "x"),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), (0.5,)),
    **dict.fromkeys(("greater", "greater_equal", "less", "less_equal", "not_equal"), (0.5,)),
    "addmm": ("x", "x"), "addr": ("v", "v"), "addbmm": ("b", "b"),
    "arctan2": (0.5,), "clamp_min": (0.5,), "clamp_max": (0.5,),
    "copysign": (-1.0,), "float_power": (1.5,), "heaviside": (0.5,), "polygamma": (1,),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor"), (True,)),
}  # fmt: skip
VALUES = [[0.2, 0.4], [0.6, 0.8]]


def _arguments(name):
    known = {
        "x": tg.tensor([[0.5, 0.25], [0.75, 1.5]], dtype="float64"),
        "v": tg.tensor([0.5, 0.25], dtype="float64"),
        "b": tg.ones(3, 2, 2, dtype="float64"),
        "mask": tg.tensor([[True, False], [False, True]]),
        "index": tg.tensor([1, 0]),
        "places": tg.tensor([[1, 0], [0, 1]]),
    }
    return [known[a] if isinstance(a, str) and a in known else a for a in ARGUMENTS.get(name, ())]


OTHER_OPERANDS = {n for n in inplace.OUT_OF_PLACE if "bitwise" in n}
OTHER_OPERANDS |= {"addmv_", "baddbmm_", "gcd_", "lcm_"}


@pytest.mark.parametrize("name", sorted(set(inplace.OUT_OF_PLACE) - OTHER_OPERANDS))
def test_every_name_agrees_with_its_function(name):
    function = inplace.OUT_OF_PLACE[name]
    shift = 1.0 if function in ("acosh", "arccosh") else 0.0
    start = tg.tensor(VALUES, dtype="float64") + shift
    want = getattr(start, function)(*_arguments(function))
    plain = start.clone()
    assert getattr(plain, name)(*_arguments(function)) is plain
    assert plain.dtype == np.float64
    np.testing.assert_array_equal(plain.tolist(), np.asarray(want, float))

    x = tg.tensor((start + 0).numpy(), requires_grad=True)
    y = x * 1.0
    getattr(y, name)(*_arguments(function))
    np.testing.assert_array_equal(y.tolist(), np.asarray(want, float))
    (y * tg.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    other = tg.tensor((start + 0).numpy(), requires_grad=True)
    direct = getattr(other * 1.0, function)(*_arguments(function))
    if direct.requires_grad:
        (direct * tg.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
        np.testing.assert_array_equal(x.grad.tolist(), other.grad.tolist())
    else:
        assert x.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_names_on_other_operands():
    bits = tg.tensor([5, 3])
    assert bits.bitwise_and_(6).bitwise_or_(1).bitwise_xor_(2).tolist() == [7, 1]
    assert bits.bitwise_left_shift_(2).bitwise_right_shift_(1).bitwise_not_().tolist() == [-15, -3]
    x = leaf(1.0, 2.0)
    v, b = x * 1, tg.zeros(3, 2, 2, dtype="float64")
    v.addmv_(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), x, alpha=2)
    b.baddbmm_(tg.ones(3, 2, 2), tg.ones(3, 2, 2) * v)
    assert v.tolist() == [11.0, 24.0] and b[0].tolist() == [[22.0, 48.0]] * 2
    b.sum().backward()
    assert x.grad.tolist() == [12 * (1 + 2 * 4.0), 12 * (1 + 2 * 6.0)]


def test_arguments_as_torchs():
    x = tg.ones(2, dtype="float64")
    assert x.add_(3, alpha=2).tolist() == [7.0, 7.0]
    assert x.sub_(tg.ones(2), alpha=0.5).tolist() == [6.5, 6.5]
    assert x.addcmul_(tg.ones(2), tg.ones(2), value=2).tolist() == [8.5, 8.5]
    assert x.div_(2, rounding_mode="floor").tolist() == [4.0, 4.0]
    assert x.fill_(tg.tensor(3.0)).tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="0-d"):
        x.fill_(tg.ones(2))
    with pytest.raises(TypeError):
        x += [1.0, 2.0]
    m = tg.zeros(4, 2).fill_diagonal_(1, wrap=True)
    assert m.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    a, alpha = tg.ones(2, dtype="float64"), leaf(2.0)
    b = a * 1
    b.add_(tg.tensor([1.0, 2.0]), alpha=alpha)
    b.sum().backward()
    assert alpha.grad.item() == 3.0


def test_augmented_operators():
    x = tg.tensor([7.0, 8.0])
    x **= 2
    x //= 3
    x %= 10
    x /= 4
    assert x.tolist() == [1.5, 0.25]
    m = tg.tensor([True, False])
    m |= tg.tensor([False, True])
    m &= tg.tensor([True, False])
    m ^= tg.tensor([True, True])
    assert m.tolist() == [False, True]


def test_index_put_accumulates_on_the_tape():
    v = leaf(1.0, 2.0)
    x = tg.zeros(3, dtype="float64")
    x.index_put_((tg.tensor([1, 1]),), v, accumulate=True)
    assert x.tolist() == [0.0, 3.0, 0.0]
    (x * x).sum().backward()
    assert v.grad.tolist() == [6.0, 6.0]


# -- no saved value changes unseen ----------------------------------------------------------------
def _w():
    return leaf(1.0, 2.0, 3.0)


def _under_no_grad(change):
    def route(w, c):
        with tg.no_grad():
            change(w)

    return route


def _numpy_cannot(array):
    with pytest.raises(ValueError):
        array[0] = 9.0
    with pytest.raises(ValueError):
        array.flags.writeable = True


ROUTES = {
    "-=": _under_no_grad(lambda w: operator.isub(w, 1.0)),
    "x[i] =": _under_no_grad(lambda w: operator.setitem(w, 0, 9.0)),
    "mask": _under_no_grad(lambda w: operator.setitem(w, w > 1, 9.0)),
    "view": _under_no_grad(lambda w: w[1:].zero_()),
    "element": _under_no_grad(lambda w: w[1].zero_()),
    "view of view": _under_no_grad(lambda w: w.reshape(3, 1).permute(1, 0)[0].mul_(2)),
    "copy_": _under_no_grad(lambda w: w.copy_(tg.zeros(3))),
    "exp_": _under_no_grad(lambda w: w.exp_()),
    "detach": lambda w, c: w.detach().add_(1.0),
    "data": lambda w, c: w.data.mul_(2.0),
    "data -=": lambda w, c: setattr(w, "data", operator.isub(w.data, 1.0)),
    "data view": lambda w, c: operator.setitem(w.data, 0, 5.0),
    "data =": lambda w, c: setattr(w, "data", tg.zeros(3, dtype="float64")),
    "numpy": lambda w, c: _numpy_cannot(w.detach().numpy()),
    "numpy force": lambda w, c: _numpy_cannot(w.numpy(force=True)),
    "asarray": lambda w, c: _numpy_cannot(np.asarray(w.detach())),
    "asarray base": lambda w, c: _numpy_cannot(np.asarray(w.detach()).view()),
    "dlpack": lambda w, c: np.from_dlpack(w.detach()),
    "constant": lambda w, c: c.zero_(),
    "constant view": lambda w, c: c[:2].zero_(),
    "array += tensor": lambda w, c: operator.iadd(np.array(c), c),
}
USES = {
    "mul": lambda w, c: (w * c).sum(),
    "square": lambda w, c: (w * w * c).sum(),
    "pow": lambda w, c: (w**3 * c).sum(),
    "div": lambda w, c: (c / w).sum(),
    "sin": lambda w, c: (tg.sin(w) * c).sum(),
    "matmul": lambda w, c: w.reshape(1, 3) @ c,
    "expand": lambda w, c: (w.expand(2, 3) * w.expand(2, 3) * c).sum(),
    "diagonal": lambda w, c: (tg.diagonal(w.expand(3, 3)) ** 2 * c).sum(),
    "unbind": lambda w, c: tg.stack([a * a for a in w.unbind(0)]).sum() * c[0],
    "split": lambda w, c: sum((a * a).sum() for a in w.split(1)) * c[1],
    "cumprod": lambda w, c: (w.cumprod(0) * c).sum(),
    "sort": lambda w, c: (tg.sort(w * w)[0] * c).sum(),
    "softmax": lambda w, c: (tg.softmax(w, 0) * c).sum(),
    "checkpoint": lambda w, c: tg.checkpoint(lambda a, b: (a * a * b).sum(), w, c),
    "vmap": lambda w, c: tg.vmap(lambda a, b: a * a * b)(w, c).sum(),
    "through a view": lambda w, c: (w[1:] * w[:2] * c[1:]).sum(),
    "amax": lambda w, c: w.amax() * w[0] * c[1],
    "norm": lambda w, c: tg.sqrt((w * w).sum()) * c[0] + w.prod(),
    "where": lambda w, c: tg.where(w > 1.5, w * w, c * w).sum(),
    "logsumexp": lambda w, c: tg.logsumexp(w, 0) * c[0],
    "cat": lambda w, c: (tg.cat([w, c]) ** 2).sum(),
    "gather": lambda w, c: (w[[0, 0, 2]] * w).sum() * c[0],
    "exp in place": lambda w, c: ((w * 1).exp_() * c).sum(),
}


SAVE_W = ("square", "pow", "div", "sin", "expand", "checkpoint", "through a view")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("route", ROUTES)
def test_no_route_gives_a_wrong_gradient(use, route):
    """After a change by any route: the right gradient, or an error that says why."""
    w, c = _w(), tg.tensor([0.5, -1.5, 2.5], dtype="float64")
    want = tg.grad(USES[use](w, c).sum(), w)[0].tolist()
    loss = USES[use](w, c).sum()
    ROUTES[route](w, c)
    try:
        (found,) = tg.grad(loss, w)
    except RuntimeError as error:
        assert "changed in place" in str(error)
    else:
        np.testing.assert_allclose(found.tolist(), want)
        changes = route in ("-=", "view", "detach", "data -=")
        assert not (changes and use in SAVE_W), "should raise"


def test_the_error_names_the_value():
    w = _w()
    y = (w.reshape(3, 1) * w).sum()
    with tg.no_grad():
        w[0] += 1
    with pytest.raises(RuntimeError, match=r"derivative of 'mul'.*operand \d.*\(3,.*clone"):
        y.backward()


def test_several_outputs_are_views_on_the_tape():
    w = _w()
    c = w * 1
    first, *_ = c.unbind(0)
    first *= c[2]
    _, tail = c.split([1, 2])
    tail *= 2
    assert first.tolist() == c[0].tolist() == 3.0
    c.sum().backward()
    assert w.grad.tolist() == [3.0, 2.0, 3.0]


def test_strided_windows_are_watched():
    w = _w()
    windows = w.unfold(0, 2, 1)
    y = (windows * windows).sum()
    with tg.no_grad():
        w.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    with pytest.raises(RuntimeError, match="single memory location"):
        w.detach().unfold(0, 2, 1).zero_()


def test_what_no_rule_reads_may_change():
    w = _w()
    y = (w + 1).sum() + (2 * w).sum() + w[1:].sum() + (w / 4).sum() - w.mean()
    with tg.no_grad():
        w.zero_()
    y.backward()
    np.testing.assert_allclose(w.grad.tolist(), np.array([3.25, 4.25, 4.25]) - 1 / 3)


def test_outputs_are_watched_too():
    w = _w()
    y = tg.exp(w)
    z = y.sum()
    with tg.no_grad():
        y.zero_()
    with pytest.raises(RuntimeError, match=r"derivative of 'exp'.*output"):
        z.backward()


def test_update_between_two_walks_of_one_graph():
    w = _w()
    y = (w * w).sum()
    y.backward(retain_graph=True)
    with tg.no_grad():
        w -= 0.1 * w.grad
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_higher_orders_are_watched():
    w = _w()
    (g,) = tg.grad((w * w * w).sum(), w, create_graph=True)
    with tg.no_grad():
        w += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        g.sum().backward()


def test_arrays_of_the_user_are_copied():
    data = np.array([1.0, 2.0])
    x = tg.tensor(data, requires_grad=True)
    factor, index, mask = np.array([3.0, 4.0]), np.array([1, 0]), np.array([True, False])
    y = (x * factor).sum() + (factor * x).sum() + (x[index] * factor).sum() + x[mask].sum()
    y = y + tg.where(mask, x, 0.0).sum() + np.multiply(factor, x).sum()
    for array in (data, factor):
        array[:] = 100.0
    index[:], mask[:] = 0, True
    y.backward()
    assert x.grad.tolist() == [3 * 3.0 + 4 + 1 + 1, 3 * 4.0 + 3]
    assert x.tolist() == [1.0, 2.0]


LOOKUPS = {
    "x[i]": lambda x, i, m: x[i],
    "x[i, :]": lambda x, i, m: x.reshape(3, 1)[i, :],
    "x[m]": lambda x, i, m: x[m],
    "gather": lambda x, i, m: tg.gather(x, 0, i),
    "take_along_dim": lambda x, i, m: tg.take_along_dim(x, i, 0),
    "index_select": lambda x, i, m: tg.index_select(x, 0, i),
    "scatter": lambda x, i, m: tg.scatter(x * 1, 0, i, x * 2),
    "scatter_add": lambda x, i, m: tg.scatter_add(x * 1, 0, i, x * 2),
    "index_add": lambda x, i, m: tg.index_add(x * 1, 0, i, x * 2),
    "index_copy": lambda x, i, m: tg.index_copy(x * 1, 0, i, x * 2),
    "masked_fill": lambda x, i, m: tg.masked_fill(x, m, 5.0),
    "masked_select": lambda x, i, m: tg.masked_select(x, m),
    "where": lambda x, i, m: tg.where(m, x * x, x),
    "x[i] =": lambda x, i, m: (x * 1).index_put_((i,), x * 3),
    "x[m] =": lambda x, i, m: (x * 1).masked_fill_(m, 2.0) * x,
    "mul mask": lambda x, i, m: x * m,
}


TENSORS_ONLY = ("gather", "index_select", "scatter", "scatter_add", "index_add", "index_copy")
BOTH = [(n, t) for n in LOOKUPS for t in (True, False) if t or n not in TENSORS_ONLY]


@pytest.mark.parametrize("name, tensors", BOTH)
def test_indices_and_masks_of_the_user_are_copied_or_watched(name, tensors):
    x = _w()
    i, m = np.array([2, 0, 1]), np.array([True, False, True])
    if tensors:
        i, m = tg.tensor(i), tg.tensor(m)

    def weighted():
        y = LOOKUPS[name](x, i, m)
        return (y * tg.arange(1.0, y.numel() + 1, dtype="float64").reshape(y.shape)).sum()

    want = tg.grad(weighted(), x)[0].tolist()
    loss = weighted()
    i[0], i[1], m[...] = 1, 1, False
    try:
        (found,) = tg.grad(loss, x)
    except RuntimeError as error:
        assert "changed in place" in str(error)
    else:
        assert found.tolist() == want


def test_derivative_checks_go_through_changes_in_place():
    def f(x):
        out = tg.zeros(3, dtype=x.dtype)
        out[0] = tg.sin(x[0])
        out[1:] += x[1:] * x[:2]
        part = out[1:]
        part *= tg.exp(x[0])
        out.mul_(out)
        return out

    assert tg.gradcheck(f, (_w(),)) and tg.gradgradcheck(f, (_w(),))
    tg.check_grads(f, (_w(),), order=3)


def test_a_change_during_the_walk_is_seen():
    w = _w()
    y = w * w
    z = tg.exp(y)

    def meddle(g):
        with tg.no_grad():
            w.zero_()

    y.register_hook(meddle)
    with pytest.raises(RuntimeError, match=r"derivative of 'mul'.*changed in place"):
        z.sum().backward()


def test_forward_mode_is_watched():
    from tapegrad.forward import push_forward

    w = _w()
    y = (w * w).sum()
    with tg.no_grad():
        w += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        push_forward([y], [w], [tg.ones(3, dtype="float64")], False)


def test_changes_inside_vmap():
    def f(x, c):
        y = x * 1.0
        view = y[1:]
        view *= c
        y[0] = y[1] + x[2]
        y += y
        y.exp_()
        out = tg.zeros(3, dtype="float64")
        out += y
        out[1] = x[0]
        return out

    rng = np.random.default_rng(0)
    xs, cs = rng.normal(size=(4, 3)), rng.normal(size=4)
    want = np.stack([f(tg.tensor(x), float(c)).numpy() for x, c in zip(xs, cs, strict=True)])
    found = tg.vmap(f)(tg.tensor(xs), tg.tensor(cs))
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-12)
    x = tg.tensor(xs, requires_grad=True)
    tg.vmap(f)(x, tg.tensor(cs)).sum().backward()
    for row, c, g in zip(xs, cs, x.grad.numpy(), strict=True):
        r = tg.tensor(row, requires_grad=True)
        f(r, float(c)).sum().backward()
        np.testing.assert_allclose(g, r.grad.numpy(), rtol=1e-12)


def test_gradients_own_their_memory():
    x, z = _w(), _w()
    y = x + z
    y.retain_grad()
    seed = tg.ones(3, dtype="float64")
    y.backward(seed)
    x.grad.zero_()
    assert z.grad.tolist() == y.grad.tolist() == seed.tolist() == [1.0, 1.0, 1.0]
    a, b = tg.grad(x + z, [x, z], seed)
    a *= 5
    assert b.tolist() == seed.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("seed_on_tape", [False, True])
def test_gradients_own_their_memory_with_create_graph(seed_on_tape):
    x, z = _w(), _w()
    seed = _w() * 1 if seed_on_tape else tg.ones(3, dtype="float64")
    (x + z).backward(seed, create_graph=True)
    want = seed.tolist()
    assert x.grad is not z.grad and x.grad is not seed
    with tg.no_grad():
        x.grad.zero_()
    assert z.grad.tolist() == want and seed.tolist() == want


def test_an_updated_gradient_is_watched():
    """``.grad`` of create_graph is a saved value of the graph of the gradient."""
    x = _w()
    tg.exp(x).sum().backward(create_graph=True)
    penalty = (x.grad * x.grad).sum()
    with tg.no_grad():
        x.grad.mul_(0.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        penalty.backward()


def test_hooks_cannot_change_what_others_get():
    x, z = _w(), _w()
    failures = []

    def hook(g):
        try:
            g *= 10
        except RuntimeError as error:
            failures.append(str(error))

    x.register_hook(hook)
    (x + z).sum().backward()
    assert x.grad.tolist() == z.grad.tolist() == [1.0, 1.0, 1.0] and "read-only" in failures[0]
    stash = tg.ones(3, dtype="float64")
    z.register_hook(lambda g: stash)
    z.grad = None
    (x * z).sum().backward()
    z.grad.zero_()
    assert stash.tolist() == [1.0, 1.0, 1.0]


UPDATES = [
    lambda w, v: w.sub_(0.1),
    lambda w, v: w.mul_(1.1),
    lambda w, v: v.add_(0.2),
    lambda w, v: operator.setitem(w, 1, 0.7),
    lambda w, v: w[2].fill_(0.4),
    lambda w, v: w.detach()[:2].mul_(0.9),
    lambda w, v: w.data.copy_(tg.tensor([0.3, 0.6, 0.9])),
    lambda w, v: setattr(w, "data", w.detach() * 0.8),
]
READS = [  # (what is computed, its derivative by w, given the value of w at that time)
    (lambda w, v, e: (w * w).sum(), lambda w: 2 * w),
    (lambda w, v, e: tg.sin(w).sum(), np.cos),
    (lambda w, v, e: (w + 1).sum(), lambda w: np.ones(3)),
    (lambda w, v, e: (v * v * v).sum(), lambda w: 3 * w**2 * [0, 1, 1]),
    (lambda w, v, e: e * e, lambda w: 2 * w * [1, 0, 0]),
    (lambda w, v, e: tg.exp(w).sum(), np.exp),
    (lambda w, v, e: v[0] * w[0], lambda w: np.array([w[1], w[0], 0])),
]


def test_random_updates_between_uses_never_give_a_wrong_gradient():
    """A leaf is updated by any route between uses: each use has the derivative at its own time,
    or the walk refuses."""
    outcomes = {"right": 0, "refused": 0}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        w = leaf(0.5, -1.0, 2.0)
        view, element = w[1:], w[0]
        total, want, fresh = 0.0, np.zeros(3), True
        for _ in range(4):
            if rng.random() < 0.4:
                with tg.no_grad():
                    number = int(rng.integers(len(UPDATES)))
                    UPDATES[number](w, view)
                    if number == len(UPDATES) - 1:  # another memory: views of the old one stay
                        view, element = w.detach()[1:], w.detach()[0]
                        fresh = False
            if not fresh:
                view, element, fresh = w[1:], w[0], True
            np.testing.assert_array_equal(view.tolist(), w.tolist()[1:])
            assert element.item() == w.tolist()[0]
            read, slope = READS[int(rng.integers(len(READS)))]
            total = total + read(w, view, element)
            want = want + slope(np.array(w.tolist()))
        try:
            total.backward()
        except RuntimeError as error:
            assert "changed in place" in str(error)
            outcomes["refused"] += 1
        else:
            np.testing.assert_allclose(w.grad.tolist(), want, rtol=1e-12, err_msg=f"seed {seed}")
            outcomes["right"] += 1
    assert min(outcomes.values()) > 30, outcomes


# -- what primitives declare ------------------------------------------------------------------
def _cases():
    for name, op in sorted(tg.REGISTRY.items()):
        if op.differentiable and not name.startswith("doc_"):
            for number, sample in enumerate(op.samples):
                yield pytest.param(op, sample, id=f"{name}-{number}")


def _operands(op, sample):
    xs = []
    for a in sample.arrays:
        x = tg.tensor(np.array(a))
        xs.append(x.requires_grad_() if x.dtype.kind == "f" else x)
    return xs


def _first(y):
    return [t for t in (y if isinstance(y, tuple) else (y,)) if t.requires_grad]


@pytest.mark.parametrize("op, sample", list(_cases()))
def test_undeclared_values_are_unread(op, sample):
    """Poison every saved value that a rule says it does not read: the gradient must not change."""
    xs = _operands(op, sample)
    for which in [i for i, x in enumerate(xs) if x.requires_grad]:
        handles = [x if i == which else x.detach() for i, x in enumerate(xs)]
        outputs = _first(op.function(*handles, **sample.params))
        if not outputs:
            continue
        seeds = [
            tg.tensor(np.linspace(0.5, 1.5, int(np.prod(y.shape))).reshape(y.shape), dtype=y.dtype)
            for y in outputs
        ]
        want = tg.grad(outputs, xs[which], seeds, retain_graph=True, materialize_grads=True)[0]
        record = outputs[0]._record
        if str(record[1]) == "pick":
            record = record[6]
        if record[1] is not op:  # a cast came first
            continue
        results = record[2] if type(record[2]) is tuple else (record[2],)
        tracked = [r is not None for r in record[6::2]]
        read = {id(v) for _, v in op.reads(record[5::2], results, tracked)}
        for value in (*record[5::2], *results):
            if type(value) is np.ndarray and id(value) not in read and value.dtype.kind == "f":
                value.flags.writeable = True if value.base is None else value.flags.writeable
                if value.flags.writeable:
                    value[...] = np.nan
        found = tg.grad(outputs, xs[which], seeds, materialize_grads=True)[0]
        np.testing.assert_array_equal(found.tolist(), want.tolist())


@pytest.mark.parametrize("op, sample", list(_cases()))
def test_only_views_share_memory(op, sample):
    xs = [tg.tensor(np.array(a)) for a in sample.arrays]
    ys = op.function(*xs, **sample.params)
    for y in ys if isinstance(ys, tuple) else (ys,):
        for x in xs:
            if type(y._value) is np.ndarray and type(x._value) is np.ndarray and y._value.size:
                shared = np.shares_memory(y._value, x._value)
                assert not shared or (op.view and y._base is not None)
                assert not shared or owner(y._value) is owner(x._value)


@pytest.mark.parametrize("cut", ["element", "whole", "view", "no_grad"])
def test_writing_back_what_was_cut_off_the_tape(cut):
    x = _w()
    y = x * 3
    if cut == "element":
        y[0] = y[0].detach()
    elif cut == "whole":
        y[0] = y.detach()[0]
    elif cut == "view":
        v = y[:2]
        v[0] = v.data[0]
    else:
        with tg.no_grad():
            v = y[0]
        y[0] = v
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 3.0, 3.0]


@pytest.mark.parametrize("widen", [lambda v: v[None], lambda v: v.reshape(1, 1)])
def test_an_element_with_more_dimensions_is_still_a_view(widen):
    x = tg.zeros(3)
    v = x[1]
    w = widen(v)
    w += 1
    assert x.tolist() == [0.0, 1.0, 0.0] and v.item() == 1.0
    x.fill_(5)
    assert w.reshape(()).item() == 5.0


def test_what_is_written_may_have_leading_dimensions_of_length_one():
    a = tg.tensor([2.0], dtype="float64", requires_grad=True)
    out = tg.zeros(3, dtype="float64")
    for i in range(3):
        out[i] = a * i
    out[1:] = (out[1:] * 2)[None, None]
    out.sum().backward()
    assert a.grad.tolist() == [6.0]
    off = tg.zeros(3)
    off[0], off[1] = tg.ones(1), np.ones((1, 1))
    assert off.tolist() == [1.0, 1.0, 0.0]
    with pytest.raises(tg.ShapeError):
        off[0] = tg.ones(1, 2)


def test_overwriting_is_looked_for_only_when_it_can_matter():
    x = _w()
    mark_overwritten(x._value)
    y = (x * x).sum()
    assert LAST_OVERWRITE[0] < y._record[0] and make(x._value, None)._base is None
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0, 6.0]


# -- what help() says ---------------------------------------------------------------------------
NAMED = sorted(name for name in inplace.METHODS if not name.startswith("__"))


@pytest.mark.parametrize("name", NAMED)
def test_a_method_in_place_says_what_it_takes(name):
    method = getattr(tg.Tensor, name)
    parameters = list(inspect.signature(method).parameters.values())
    assert all(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    function = getattr(tg.Tensor, inplace.OUT_OF_PLACE.get(name, name[:-1]), None)
    if function is not None and name != "index_put_" and name != "detach_":
        assert parameters == list(inspect.signature(function).parameters.values())


@pytest.mark.parametrize("name", NAMED)
def test_a_method_in_place_has_an_example_that_runs(name):
    if name[:-1] in ("erf", "erfc", "erfinv", "lgamma", "digamma", "polygamma"):
        pytest.importorskip("scipy")
    method = getattr(tg.Tensor, name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(method.__doc__, {}, name, None, None)
    assert f".{method.__name__}(" in test.examples[-1].source
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    assert runner.run(test).failed == 0
