"""Function transformations: against closed forms, torch.func's numbers, and each other nested."""

import itertools
import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.func import (
    functional_call,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    value_and_grad,
    vjp,
    vmap,
)
from tapegrad.trees import flatten, tree_map

ORACLE = json.loads((Path(__file__).parent / "data" / "func.json").read_text())


def t(data, **options):
    return tg.tensor(np.asarray(data, dtype=float), dtype="float64", **options)


def close(found, wanted, tolerance=1e-10):
    """Compare trees of tensors with trees of tensors, arrays or numbers."""
    if isinstance(wanted, dict):
        assert set(found) == set(wanted)
        for key in wanted:
            close(found[key], wanted[key], tolerance)
    elif isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted):
            close(a, b, tolerance)
    else:
        wanted = wanted.numpy(force=True) if isinstance(wanted, tg.Tensor) else np.asarray(wanted)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found.numpy(force=True), wanted, rtol=tolerance, atol=tolerance)


X = t([0.5, -1.25, 2.0, 0.75])
W = t(np.sin(np.arange(16.0)).reshape(4, 4))
ONE = t(1.0)


def scalar(x):
    return ((W @ x).tanh() * x).sum() + x[0] ** 2 * x[1] * x[3].exp()


def vector(x):
    return (W @ x).tanh() * x.sum() + x[0] * x


# -- one transformation -------------------------------------------------------------------------
def test_gradient_value_and_argnums():
    def f(a, b):
        return (a * a * b).sum()

    a, b = t([1.0, 2.0]), t([3.0, 5.0])
    close(grad(f)(a, b), [6.0, 20.0])
    close(grad(f, argnums=1)(a, b), [1.0, 4.0])
    close(grad(f, argnums=(1, 0))(a, b), ([1.0, 4.0], [6.0, 20.0]))
    close(grad(f, argnums=-1)(a, b), [1.0, 4.0])
    value, slope = value_and_grad(f)(a, b)
    close(value, 23.0)
    close(slope, [6.0, 20.0])
    # Plain tensors come out, on no tape.
    assert not value.requires_grad and not slope.requires_grad


def test_plain_numbers_and_arrays_are_taken():
    assert grad(lambda x: x**3)(2.0).item() == 12.0
    close(grad(lambda x: (x**3).sum())(np.array([2.0, 1.0])), [12.0, 3.0])


def test_aux():
    def f(x):
        y = x * x
        return y.sum(), {"y": y, "n": 3}

    slope, aux = grad(f, has_aux=True)(X)
    assert aux["n"] == 3 and not aux["y"].requires_grad
    close(aux["y"], X * X)
    (_, aux), slope = value_and_grad(f, has_aux=True)(X)
    close(slope, 2 * X)
    _, pull, aux = vjp(lambda x: (x * x, x.sum()), X, has_aux=True)
    close(pull(X)[0], 2 * X * X)
    close(aux, X.sum())
    _, moved, aux = jvp(lambda x: (x * x, x.sum()), (X,), (X,), has_aux=True)
    close(moved, 2 * X * X)
    rows, aux = jacrev(lambda x: (x * x, x.sum()), has_aux=True)(X)
    columns, aux = jacfwd(lambda x: (x * x, x.sum()), has_aux=True)(X)
    close(rows, np.diag(2 * X.numpy()))
    close(columns, rows)
    with pytest.raises(TypeError, match="pair"):
        grad(lambda x: x.sum(), has_aux=True)(X)


Point = namedtuple("Point", "x y")


def test_trees_come_back_as_they_were():
    tree = {"a": [t(1.0), (t([2.0, 3.0]), None)], "p": Point(t(4.0), t(5.0))}

    def f(tree, k=1.0):
        first, (pair, nothing) = tree["a"]
        assert nothing is None and isinstance(tree["p"], Point)
        return k * (first * pair.sum() + tree["p"].x ** 2 * tree["p"].y)

    slope = grad(f)(tree, k=2.0)
    assert list(slope) == ["a", "p"] and isinstance(slope["p"], Point)
    assert slope["a"][1][1] is None
    close(slope["a"][0], 10.0)
    close(slope["a"][1][0], [2.0, 2.0])
    close(slope["p"].x, 80.0)
    close(slope["p"].y, 32.0)
    (pulled,) = vjp(lambda tree: Point(f(tree), tree["a"][0]), tree)[1](Point(ONE, ONE))
    close(pulled["a"][0], 6.0)
    _, moved = jvp(lambda tree: [f(tree)], (tree,), (tree_map(tg.ones_like, tree),))
    close(moved[0], 5.0 + 2 * 1.0 + 40.0 + 16.0)
    assert flatten(tree)[1] == flatten(slope)[1]


def test_vjp_jvp_linearize_agree_with_the_jacobian():
    jacobian = jacrev(vector)(X)
    close(jacfwd(vector)(X), jacobian)
    step = t([1.0, -0.5, 2.0, 0.25])
    out, pull = vjp(vector, X)
    close(out, vector(X))
    close(pull(step)[0], jacobian.T @ step)
    close(pull(ONE * step)[0], jacobian.T @ step)  # again: nothing was used up
    out, moved = jvp(vector, (X,), (step,))
    close(moved, jacobian @ step)
    out, push = linearize(vector, X)
    close(push(step), jacobian @ step)
    close(push(2 * step), 2 * (jacobian @ step))


def test_unused_inputs_and_constant_outputs_give_zeros():
    close(grad(lambda x, y: (x * x).sum(), argnums=1)(X, X), np.zeros(4))
    close(grad(lambda x: ONE * 2)(X), np.zeros(4))
    close(jacrev(lambda x: W[0])(X), np.zeros((4, 4)))
    close(jacfwd(lambda x: W[0])(X), np.zeros((4, 4)))
    close(jvp(lambda x: W[0], (X,), (X,))[1], np.zeros(4))
    close(vjp(lambda x: W[0], X)[1](X)[0], np.zeros(4))


def test_jacobians_of_trees_and_shapes():
    def f(a, b):
        return {"u": a[:, None] * b, "v": (a.sum() * b).sum()}

    a, b = t([1.0, 2.0]), t([3.0, 4.0, 5.0])
    for transform in (jacrev, jacfwd):
        found = transform(f, argnums=(0, 1))(a, b)
        assert found["u"][0].shape == (2, 3, 2) and found["u"][1].shape == (2, 3, 3)
        close(found["u"][0], np.einsum("ik,j->ijk", np.eye(2), b.numpy()))
        close(found["u"][1], np.einsum("i,jk->ijk", a.numpy(), np.eye(3)))
        close(found["v"], ([12.0, 12.0], [3.0, 3.0, 3.0]))


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7])
def test_chunks_of_jacobians(chunk_size):
    close(jacrev(vector, chunk_size=chunk_size)(X), jacrev(vector)(X))
    close(jacfwd(vector, chunk_size=chunk_size)(X), jacrev(vector)(X))
    # Recorded ones, too.
    close(
        jacfwd(jacrev(vector, chunk_size=chunk_size), chunk_size=chunk_size)(X),
        jacrev(jacrev(vector))(X),
    )


def test_float32_stays_float32():
    x = tg.tensor([0.5, 1.5])
    for transform in (jacrev, jacfwd):
        assert transform(lambda x: x**3)(x).dtype == np.float32
    for transform in (hessian, grad):
        assert transform(lambda x: (x**3).sum())(x).dtype == np.float32
    assert jvp(lambda x: x * 2, (x,), (x,))[1].dtype == np.float32
    assert hvp(lambda x: (x**3).sum(), x, x).dtype == np.float32


def test_tangents_through_infinities_of_python_floats():
    with np.errstate(all="ignore"):
        assert jvp(tg.log, (t(0.0),), (ONE,))[1].item() == np.inf
        assert jvp(tg.sqrt, (t(0.0),), (ONE,))[1].item() == np.inf


# -- torch.func's numbers ------------------------------------------------------------------------
PARAMS = {k: t(v) for k, v in ORACLE["inputs"]["params"].items()}
INPUTS, TARGETS = t(ORACLE["inputs"]["x"]), t(ORACLE["inputs"]["y"])
DIRECTION = t(ORACLE["inputs"]["direction"])


def predict(params, x):
    return tg.tanh(x @ params["a"] + params["b"]) @ params["c"]


def loss(params, x, y):
    return ((predict(params, x) - y) ** 2).mean()


def of_b(b):
    return loss({**PARAMS, "b": b}, INPUTS, TARGETS)


def test_numbers_of_torch():
    per_example = vmap(grad(loss), in_dims=(None, 0, 0))
    found = {
        "grad": grad(loss)(PARAMS, INPUTS, TARGETS),
        "per_example": per_example(PARAMS, INPUTS, TARGETS),
        "jacobian": jacrev(predict)(PARAMS, INPUTS[0]),
        "jacobian_x": vmap(jacfwd(predict, argnums=1), in_dims=(None, 0))(PARAMS, INPUTS),
        "hessian": hessian(of_b)(PARAMS["b"]),
        "hvp": hvp(of_b, PARAMS["b"], DIRECTION),
        "third": jacfwd(jacfwd(grad(of_b)))(PARAMS["b"]),
        "norm_of_gradient": grad(
            lambda b: (per_example({**PARAMS, "b": b}, INPUTS, TARGETS)["c"] ** 2).sum()
        )(PARAMS["b"]),
    }
    close(found, {k: v for k, v in ORACLE.items() if k != "inputs"}, 1e-9)


# -- nested --------------------------------------------------------------------------------------
def test_no_perturbation_confusion():
    # d/dx [x · d/dy (x + y)] = 1, though both derivatives are taken at the same number
    x = t(3.0)
    inner = [
        lambda x: grad(lambda y: x + y)(x),
        lambda x: jvp(lambda y: x + y, (x,), (ONE,))[1],
        lambda x: jacfwd(lambda y: x + y)(x),
        lambda x: jacrev(lambda y: x + y)(x),
        lambda x: vjp(lambda y: x + y, x)[1](ONE)[0],
    ]
    for slope in inner:

        def f(x, slope=slope):
            return x * slope(x)

        assert grad(f)(x).item() == 1.0
        assert jvp(f, (x,), (ONE,))[1].item() == 1.0
        assert jacfwd(f)(x).item() == 1.0
        assert jacrev(f)(x).item() == 1.0
    # d/dx [x · d/dy (x · y)] at y = 2 is d/dx x² = 2x (Siskind and Pearlmutter 2008)
    assert grad(lambda x: x * grad(lambda y: x * y)(t(2.0)))(x).item() == 6.0
    assert (
        jvp(lambda x: x * jvp(lambda y: x * y, (t(2.0),), (ONE,))[1], (x,), (ONE,))[1].item() == 6
    )


def test_order_by_order():
    sine = [tg.sin, tg.cos, lambda x: -tg.sin(x), lambda x: -tg.cos(x), tg.sin]
    x = t(0.7)

    def forward(f):
        return lambda x: jvp(f, (x,), (ONE,))[1]

    for steps in itertools.product((grad, forward, jacrev), repeat=4):
        f = tg.sin
        for k, step in enumerate(steps, 1):
            f = step(f)
            close(f(x), sine[k](x))


TWICE = list(itertools.product((jacfwd, jacrev), repeat=2))


@pytest.mark.parametrize("outer, inner", TWICE)
def test_second_derivatives_in_every_mode(outer, inner):
    eps = 1e-5
    differences = np.stack(
        [
            (jacrev(vector)(X + eps * e).numpy() - jacrev(vector)(X - eps * e).numpy()) / (2 * eps)
            for e in map(t, np.eye(4))
        ],
        axis=-1,
    )
    close(outer(inner(vector))(X), differences, 1e-8)
    close(outer(inner(scalar))(X), hessian(scalar)(X))


def test_third_derivatives_in_every_mode():
    wanted = jacrev(jacrev(jacrev(scalar)))(X)
    for a, b, c in itertools.product((jacfwd, jacrev), repeat=3):
        close(a(b(c(scalar)))(X), wanted)
    close(wanted, wanted.permute(2, 0, 1).numpy())  # symmetric, as a third derivative is


def test_hvp_against_the_hessian():
    step = t([1.0, -0.5, 2.0, 0.25])
    close(hvp(scalar, X, step), hessian(scalar)(X) @ step)
    close(hvp(scalar, (X,), (step,)), (hessian(scalar)(X) @ step,))

    def f(a, b):
        return (a * b * b).sum() * a[0]

    blocks = hessian(f, argnums=(0, 1))(X, W[0])
    found = hvp(f, (X, W[0]), (step, X))
    close(found[0], blocks[0][0] @ step + blocks[0][1] @ X)
    close(found[1], blocks[1][0] @ step + blocks[1][1] @ X)
    # reverse over forward and reverse over reverse give the same
    close(grad(lambda x: jvp(scalar, (x,), (step,))[1])(X), hvp(scalar, X, step))
    close(grad(lambda x: (grad(scalar)(x) * step).sum())(X), hvp(scalar, X, step))


def test_vmap_in_every_position():
    xs = t(np.cos(np.arange(12.0)).reshape(3, 4))
    close(vmap(hessian(scalar))(xs), np.stack([hessian(scalar)(x).numpy() for x in xs]))
    total = jacrev(lambda xs: vmap(scalar)(xs))(xs)
    for i in range(3):
        close(total[i, i], grad(scalar)(xs[i]))
        assert (total[i, (i + 1) % 3] == 0).all()
    close(jacfwd(lambda xs: vmap(scalar)(xs))(xs), total)
    close(jacfwd(lambda xs: vmap(grad(scalar))(xs))(xs), jacrev(vmap(grad(scalar)))(xs))
    # vmap over tangents: the columns of the Jacobian
    columns = vmap(lambda e: jvp(vector, (X,), (e,))[1], out_dims=1)(t(np.eye(4)))
    close(columns, jacrev(vector)(X))
    rows = vmap(vjp(vector, X)[1])(t(np.eye(4)))[0]
    close(rows, jacrev(vector)(X))
    close(vmap(linearize(vector, X)[1], out_dims=1)(t(np.eye(4))), rows)


def test_batched_cotangents_stay_apart_where_they_reach_older_tensors():
    # Rows of a Jacobian pulled back at once meet operands made before the mapping began. Summing
    # there, as is right once the mapping is over, gives every row the sum of all.
    def f(x):
        return (W @ x) ** 2 * x

    _, pull = vjp(f, X)
    rows = vmap(pull)(t(np.eye(4)))[0]
    close(rows, jacfwd(f)(X))
    # ... and once recorded, the second walk goes through the finished mapping, and must sum.
    close(jacrev(jacrev(f))(X), jacfwd(jacfwd(f))(X))
    x = t(X.numpy(), requires_grad=True)
    (jacrev(f)(x) * W).sum().backward()
    close(x.grad, grad(lambda x: (jacfwd(f)(x) * W).sum())(X))


# -- with the tape -------------------------------------------------------------------------------
def test_gradients_flow_to_what_a_function_closes_over():
    w = t([2.0, 3.0, 4.0, 5.0], requires_grad=True)

    def f(x):
        return (w * x**3).sum()

    grad(f)(X).sum().backward()
    close(w.grad, 3 * X * X)
    w.grad = None
    vmap(f)(tg.stack([X, 2 * X])).sum().backward()
    close(w.grad, 9 * X**3)
    w.grad = None
    jvp(f, (X,), (X,))[1].backward()
    close(w.grad, 3 * X**3)
    w.grad = None
    hessian(f)(X).sum().backward()
    close(w.grad, 6 * X)
    w.grad = None
    value, _ = value_and_grad(f)(X)
    value.backward()
    close(w.grad, X**3)


def test_inputs_on_the_tape():
    x = t(X.numpy(), requires_grad=True)
    slope = grad(scalar)(x)
    assert slope.requires_grad
    slope.sum().backward()
    close(x.grad, hessian(scalar)(X).sum(dim=0))
    out, pull = vjp(vector, x)
    assert out.requires_grad
    g = t(np.ones(4), requires_grad=True)
    x.grad = None
    (pull(g)[0] * X).sum().backward()
    close(g.grad, jacfwd(vector)(X) @ X)  # the product is linear in the cotangent
    close(x.grad, grad(lambda x: (jacrev(vector)(x).T @ tg.ones(4, dtype="float64") * X).sum())(X))


def test_no_grad_outside_and_inside():
    x = t(X.numpy(), requires_grad=True)
    with tg.no_grad():
        slope = grad(scalar)(x)
        close(grad(lambda x: grad(scalar)(x).sum())(X), hessian(scalar)(X).sum(dim=0))
    assert not slope.requires_grad
    close(slope, grad(scalar)(X))

    def partly(x):
        with tg.no_grad():
            fixed = x * 2
        return (fixed * x).sum()

    close(grad(partly)(X), 2 * X)
    close(grad(lambda x: (x.detach() * x).sum())(X), X)


def test_backward_and_grad_inside():
    def inner_backward(x):
        z = t([1.0, 2.0, 3.0, 4.0], requires_grad=True)
        (z**2 * x**2).sum().backward(create_graph=True)
        return (z.grad * x).sum()  # 2 z x³

    z = t([1.0, 2.0, 3.0, 4.0])
    close(grad(inner_backward)(X), 6 * z * X**2)
    close(hessian(inner_backward)(X), np.diag((12 * z * X).numpy()))
    close(vmap(inner_backward)(tg.stack([X, 2 * X])), (2 * z * X**3).sum() * t([1.0, 8.0]))

    def own_gradient(x):  # inside, the input is a leaf with a .grad
        (x**3).sum().backward(create_graph=True)
        return (x.grad * x).sum()

    close(grad(own_gradient)(X), 9 * X**2)
    close(grad(lambda x: own_gradient(x) * 2)(t(X.numpy(), requires_grad=True)), 18 * X**2)

    def by_grad(x):
        (slope,) = tg.grad((x**3).sum(), x, create_graph=True)
        return (slope * x).sum()

    close(grad(by_grad)(X), 9 * X**2)
    close(jvp(by_grad, (X,), (X,))[1], (9 * X**3).sum())


def test_an_inner_backward_does_not_use_up_the_outer_tape():
    def f(x):
        z = t(2.0, requires_grad=True)
        (z * z * x).backward()  # no create_graph: z.grad is a constant
        return z.grad * x * x

    close(grad(f)(t(3.0)), 2 * 12.0 * 3)
    # With u = x² and c = 4u held constant: d/dx [2 c u x] = 6 c x²
    close(grad(lambda x: grad(f)(x * x) * x)(t(3.0)), 6 * 36.0 * 9)


def test_graph_below_an_input_of_tg_grad_is_not_used_up():
    x = t(3.0, requires_grad=True)
    h = x * x
    (a,) = tg.grad(h**2, h)
    (b,) = tg.grad(h, x)
    assert (a.item(), b.item()) == (18.0, 6.0)


def test_results_own_their_memory():
    first, second = grad(lambda a, b: (a + b).sum(), argnums=(0, 1))(X, W[0])
    first += 1
    close(second, np.ones(4))
    _, pull = vjp(lambda x: x + 0.0, X)
    g = tg.ones(4, dtype="float64")
    (back,) = pull(g)
    back += 5
    close(g, np.ones(4))
    rows = jacrev(lambda x: x * 2)(X)
    rows[0, 0] = 7.0
    close(jacrev(lambda x: x.sum())(X), np.ones(4))


# -- errors --------------------------------------------------------------------------------------
def test_errors_say_what_to_do():
    with pytest.raises(RuntimeError, match=r"0-d tensor, not shape \(4,\).*jacrev"):
        grad(lambda x: x * 2)(X)
    with pytest.raises(RuntimeError, match="0-d tensor, not float"):
        grad(lambda x: 3.0)(X)
    with pytest.raises(TypeError, match=r"dtype int64.*floating"):
        grad(lambda x: x.sum())(tg.arange(3))
    with pytest.raises(ValueError, match=r"argnums=2, but .* 1 positional"):
        grad(lambda x: x.sum(), argnums=2)(X)
    with pytest.raises(ValueError, match="twice"):
        grad(lambda x, y: x.sum(), argnums=(0, -2))(X, X)
    with pytest.raises(TypeError, match="tuples with one entry"):
        jvp(scalar, X, X)
    with pytest.raises(RuntimeError, match=r"tangents of shape \(4, 4\)"):
        jvp(scalar, (X,), (W,))
    with pytest.raises(ValueError, match=r"must be built as \(\*, \*\)"):
        vjp(lambda x: (x, x), X)[1](X)
    with pytest.raises(TypeError, match="must return tensors, not str"):
        jacrev(lambda x: "no")(X)


# -- modules -------------------------------------------------------------------------------------
class Toy:
    """What functional_call needs of a module: three dicts, and a call."""

    def __init__(self, child=None):
        self._parameters = {"w": t([1.0, 2.0]), "none": None}
        self._buffers = {"count": t(0.0)}
        self._modules = {"child": child}

    def __call__(self, x, scale=1.0):
        self._buffers["count"] = self._buffers["count"] + 1
        y = x * self._parameters["w"] * scale
        child = self._modules["child"]
        return y if child is None else child(y)


def test_functional_call():
    toy = Toy(Toy())
    own = toy._parameters["w"], toy._modules["child"]._parameters["w"]
    x = t([10.0, 10.0])
    given = {"w": t([3.0, 3.0]), "child.w": t([1.0, 0.5]), "child.count": t(5.0)}
    close(functional_call(toy, given, (x,), {"scale": 2.0}), [60.0, 30.0])
    close(given["child.count"], 6.0)  # as torch's: a buffer that was set anew
    assert toy._parameters["w"] is own[0]
    assert toy._modules["child"]._parameters["w"] is own[1]
    close(toy._modules["child"]._buffers["count"], 0.0)
    slope = grad(lambda p: functional_call(toy, p, x).sum())({"w": t([3.0, 3.0])})
    close(slope["w"], 10 * own[1])
    with pytest.raises(RuntimeError, match="broadcast"):
        functional_call(toy, {"w": t([1.0, 2.0, 3.0])}, x)
    assert toy._parameters["w"] is own[0]
    with pytest.raises(KeyError, match=r"no 'v'; it has child\.count, child\.w"):
        functional_call(toy, {"v": x}, x)
    with pytest.raises(RuntimeError, match=r"strict=True.*child\.w"):
        functional_call(toy, {"w": x, "count": x}, x, strict=True)
    close(functional_call(toy, ({"w": x}, {"child.w": x}), x), [1000.0, 1000.0])


def test_functional_call_ties_weights():
    shared = Toy()
    toy = Toy(shared)
    shared._parameters["w"] = toy._parameters["w"]
    x, new = t([1.0, 1.0]), t([3.0, 4.0])
    close(functional_call(toy, {"w": new}, x), [9.0, 16.0])
    close(functional_call(toy, {"w": new}, x, tie_weights=False), [3.0, 8.0])
    with pytest.raises(ValueError, match="one tensor"):
        functional_call(toy, {"w": new, "child.w": x}, x)
