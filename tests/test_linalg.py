"""Products and linear algebra against PyTorch's stored numbers, closed forms and differences."""

import itertools
import json
import math
import pathlib

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.forward import push_forward

CASES = json.loads((pathlib.Path(__file__).parent / "data" / "linalg.json").read_text())["cases"]
S = np.array([[2.0, 0.5, -0.3], [0.5, 1.25, 0.4], [-0.3, 0.4, 0.75]])


def waves(function, shape):
    return function(np.arange(1.0, math.prod(shape) + 1)).reshape(shape)


def leaf(data, dtype="float64"):
    return tg.tensor(np.asarray(data, dtype), requires_grad=True)


def flat(x):
    return np.asarray(x, float).ravel()


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{i}-{c['expression'][3:45]}" for i, c in enumerate(CASES)]
)
def test_pytorch_agrees(case):
    xs = [leaf(a) for a in case["arrays"]]
    y = eval(case["expression"], dict(zip("abcd", xs), xp=tg))
    assert list(y.shape) == list(np.shape(case["value"]))
    np.testing.assert_allclose(flat(y.tolist()), flat(case["value"]), rtol=1e-10, atol=1e-12)
    if "first" not in case:
        return
    loss = (y * waves(np.cos, y.shape)).sum()
    first = tg.grad(loss, xs, create_graph=True, materialize_grads=True)
    for got, want in zip(first, case["first"]):
        np.testing.assert_allclose(flat(got.tolist()), flat(want), rtol=1e-8, atol=1e-10)
    if "second" not in case:
        return
    inner = sum((g * waves(np.sin, g.shape)).sum() for g in first)
    second = tg.grad(inner, xs, materialize_grads=True)
    for got, want in zip(second, case["second"]):
        np.testing.assert_allclose(flat(got.tolist()), flat(want), rtol=1e-7, atol=1e-8)


# -- the rows of EDGES.md -----------------------------------------------------------------------
def test_det_of_a_singular_matrix():
    x = leaf([[1, 2], [2, 4]])
    (g,) = tg.grad(tg.linalg.det(x), x, create_graph=True)
    np.testing.assert_allclose(g.tolist(), [[4, -2], [-2, 1]], atol=1e-13)
    # det = ad - bc: the gradient of <W, grad> is W's own cofactors
    w = np.array([[1.0, 10.0], [100.0, 1000.0]])
    (h,) = tg.grad((g * w).sum(), x)
    np.testing.assert_allclose(h.tolist(), [[1000, -100], [-10, 1]], atol=1e-11)


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4])
def test_det_is_right_at_every_rank_to_third_order(rank):
    """Against the Leibniz formula, whose derivatives are those of plain products."""
    rng = np.random.default_rng(rank)
    data = rng.standard_normal((4, rank)) @ rng.standard_normal((rank, 4))

    def leibniz(x):
        total = 0.0
        for p in itertools.permutations(range(4)):
            sign = np.linalg.det(np.eye(4)[list(p)])
            term = sign
            for i in range(4):
                term = term * x[i, p[i]]
            total = total + term
        return total

    found = []
    for function in (tg.linalg.det, leibniz):
        x, results = leaf(data), []
        y = function(x)
        for _ in range(3):
            (g,) = tg.grad(y, x, create_graph=True)
            results.append(g.tolist())
            y = (g * waves(np.sin, (4, 4))).sum()
        found.append(results)
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)


def test_eigenvalues_that_are_equal_have_a_gradient():
    for values in (tg.linalg.eigvalsh, lambda a: tg.linalg.eigh(a).eigenvalues):
        x = leaf(2 * np.eye(3))
        (values(x) ** 2).sum().backward()  # the trace of x @ x
        np.testing.assert_allclose(x.grad.tolist(), 4 * np.eye(3), atol=1e-14)


def test_singular_values_that_are_equal_have_a_gradient():
    for values in (tg.linalg.svdvals, lambda a: tg.linalg.svd(a).S):
        x = leaf([[0.0, 2.0], [2.0, 0.0], [0.0, 0.0]])
        (values(x) ** 2).sum().backward()
        np.testing.assert_allclose(x.grad.tolist(), [[0, 4], [4, 0], [0, 0]], atol=1e-14)


def test_eigenvectors_at_equal_eigenvalues_are_named_by_detect_anomaly():
    x = leaf(np.eye(2))
    with np.errstate(all="ignore"), tg.detect_anomaly():
        v = tg.linalg.eigh(x).eigenvectors
        with pytest.raises(RuntimeError, match="eigh"):
            (v * waves(np.cos, (2, 2))).sum().backward()


# -- symmetric matrices ---------------------------------------------------------------------------
@pytest.mark.parametrize("side", ["L", "U"])
def test_only_one_triangle_is_read_and_the_gradient_is_symmetric(side):
    upper = side == "U"
    stored = np.triu(S) if upper else np.tril(S)
    stored[np.tril_indices(3, -1) if upper else np.triu_indices(3, 1)] = np.nan
    for function in (
        lambda a: tg.linalg.eigvalsh(a, side),
        lambda a: tg.linalg.eigh(a, UPLO=side)[1] ** 2,
        lambda a: tg.linalg.cholesky(a, upper=upper),
    ):
        x = leaf(stored)
        y = function(x)
        weights = waves(np.cos, y.shape)
        (y * weights).sum().backward()
        g = np.array(x.grad.tolist())
        np.testing.assert_allclose(g, g.T, atol=1e-14)
        # central differences along a symmetric direction
        d, h = waves(np.sin, (3, 3)), 1e-6
        d = d + d.T
        ahead, behind = (
            (np.array(function(tg.tensor(S + t * d)).tolist()) * weights).sum() for t in (h, -h)
        )
        assert (g * d).sum() == pytest.approx((ahead - behind) / (2 * h), rel=1e-7)


def test_forward_mode_through_symmetric_functions():
    x = leaf(S)
    d = waves(np.sin, (3, 3))
    d = d + d.T
    (t,) = push_forward([tg.linalg.eigvalsh(x)], [x], [tg.tensor(d)], False)
    v = np.linalg.eigh(S)[1]
    np.testing.assert_allclose(t.tolist(), np.diag(v.T @ d @ v), atol=1e-13)


# -- what is refused ------------------------------------------------------------------------------
def test_full_matrices_have_values_but_no_gradient_of_the_further_vectors():
    x = leaf(waves(np.sin, (4, 2)))
    u, s, vh = tg.linalg.svd(x)
    np.testing.assert_allclose((u[:, :2] * s @ vh).tolist(), x.tolist(), atol=1e-14)
    np.testing.assert_allclose((u.T @ u).tolist(), np.eye(4), atol=1e-14)
    s.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="full_matrices=False"):
        (u * u).sum().backward()
    q, r = tg.linalg.qr(x, mode="complete")
    assert q.shape == (4, 4) and r.shape == (4, 2)
    np.testing.assert_allclose((q @ r).tolist(), x.tolist(), atol=1e-14)
    with pytest.raises(RuntimeError, match="mode='reduced'"):
        (q * q).sum().backward()


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: tg.linalg.inv(tg.zeros(2, 2)), tg.linalg.LinAlgError, "(2, 2).*singular"),
        (lambda: tg.linalg.solve(tg.ones(2, 2), tg.ones(2)), RuntimeError, "(2, 2).*singular"),
        (lambda: tg.linalg.inv(tg.ones(2, 3)), RuntimeError, "square.*2 by 3"),
        (lambda: tg.linalg.det(tg.ones(3)), RuntimeError, "at least 2 dimensions"),
        (lambda: tg.linalg.cholesky(-tg.eye(2)), RuntimeError, "positive definite"),
        (lambda: tg.linalg.eigh(tg.eye(2), "X"), RuntimeError, "UPLO"),
        (lambda: tg.linalg.matrix_norm(tg.eye(2), 3), ValueError, "ord=3"),
        (lambda: tg.linalg.norm(tg.ones(2, 2, 2), 2), RuntimeError, "without dim"),
        (lambda: tg.linalg.solve(tg.eye(2), tg.ones(3, 1)), RuntimeError, "3 rows"),
        (lambda: tg.linalg.matrix_power(tg.eye(2), 0.5), TypeError, "float"),
        (lambda: tg.linalg.cross(tg.ones(2), tg.ones(2)), RuntimeError, "length 3"),
    ],
)
def test_errors_name_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


# -- properties -----------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_survive_values_and_gradients(dtype):
    tall, square = waves(np.sin, (4, 3)) + np.eye(4, 3), S  # sines alone have rank 2
    calls = [
        (lambda a: a @ a.T, tall),
        (lambda a: tg.einsum("ij,kj,kj->i", a, a, a), tall),
        (lambda a: tg.kron(a, a), tall),
        (tg.linalg.pinv, tall),
        (tg.linalg.svdvals, tall),
        (lambda a: tg.linalg.svd(a, False).U, tall),
        (lambda a: tg.linalg.qr(a).R, tall),
        (lambda a: tg.linalg.lstsq(a, a).solution, tall),
        (tg.linalg.cond, square),
        (tg.linalg.det, square),
        (lambda a: tg.linalg.slogdet(a).logabsdet, square),
        (tg.logdet, square),
        (tg.linalg.inv, square),
        (tg.linalg.cholesky, square),
        (lambda a: tg.linalg.eigh(a)[1], square),
        (tg.linalg.matrix_exp, square),
        (lambda a: tg.linalg.matrix_power(a, -3), square),
        (lambda a: tg.linalg.matrix_norm(a, "nuc"), square),
        (lambda a: tg.linalg.solve_triangular(a, a, upper=True, unitriangular=True), square),
        (lambda a: tg.vander(a[0]), square),
    ]
    for function, data in calls:
        x = leaf(data, dtype)
        y = function(x)
        assert y.dtype == dtype
        (g,) = tg.grad(y.sum(), x, create_graph=True)
        assert g.dtype == dtype
        (h,) = tg.grad(g.sum(), x, allow_unused=True)
        assert h is None or h.dtype == dtype


def test_the_right_hand_side_of_a_triangular_solve_is_always_a_matrix():
    A = tg.eye(3).expand(2, 3, 3)  # a batch, of whose shape (2, 3) would be vectors for solve
    B = tg.arange(6.0).reshape(2, 3)
    found = tg.linalg.solve_triangular(A, B, upper=True, left=False)
    assert found.tolist() == [B.tolist(), B.tolist()]


def test_raw_arrays_in_raw_arrays_out():
    for function in (
        tg.linalg.inv,
        tg.linalg.det,
        tg.linalg.cholesky,
        tg.linalg.pinv,
        tg.linalg.cond,
        tg.logdet,
        tg.linalg.matrix_exp,
        lambda a: tg.einsum("ij,jk", a, a),
        lambda a: tg.linalg.solve(a, a[0]),
        lambda a: tg.linalg.svd(a)[0],
        lambda a: tg.linalg.matrix_power(a, 0),
        lambda a: tg.kron(a, a),
        lambda a: tg.linalg.matrix_norm(a, 2),
    ):
        found = function(S)
        assert isinstance(found, (float, np.ndarray))
        np.testing.assert_array_equal(found, function(tg.tensor(S)).tolist())


def test_matrix_exponential():
    a, t = 0.75, 2.0
    # a rotation, and its generator times 40 full turns, which needs many squarings
    spin = np.array([[0.0, -1.0], [1.0, 0.0]])
    got = tg.linalg.matrix_exp(tg.tensor(spin * (80 * np.pi + a)))
    want = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    np.testing.assert_allclose(got.tolist(), want, atol=1e-11)
    # d/dt trace exp(tA) = trace(A exp(tA)), however large the cotangent
    x = tg.tensor(t, dtype="float64", requires_grad=True)
    y = tg.einsum("ii", tg.linalg.matrix_exp(x * tg.tensor(S)))
    (g,) = tg.grad(y * 1e12, x)
    w = np.linalg.eigvalsh(S)
    assert g.item() / 1e12 == pytest.approx((w * np.exp(t * w)).sum(), rel=1e-13)
    broken = tg.linalg.matrix_exp(tg.tensor([np.eye(2), np.full((2, 2), np.inf)]))
    np.testing.assert_allclose(broken[0].tolist(), np.e * np.eye(2))
    assert broken[1].isnan().all()


def test_rank_deficient_least_squares_is_the_shortest():
    a = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    b = np.array([[2.0], [4.0], [7.0]])
    solution, _, rank, values = tg.linalg.lstsq(tg.tensor(a), tg.tensor(b), driver="gelsd")
    want, _, _, s = np.linalg.lstsq(a, b)
    np.testing.assert_allclose(solution.tolist(), want, atol=1e-13)
    np.testing.assert_allclose(values.tolist(), s, atol=1e-13)
    assert rank.item() == 1 and not tg.linalg.matrix_rank(leaf(a)).requires_grad


def test_condition_number_of_a_singular_matrix():
    with np.errstate(all="ignore"):
        assert tg.linalg.cond(tg.tensor([[1.0, 0.0], [0.0, 0.0]])).item() == math.inf


def test_logdet_of_negative_and_zero_determinants():
    assert math.isnan(tg.logdet(tg.tensor([[-1.0]])).item())
    with np.errstate(all="ignore"):
        assert tg.logdet(tg.tensor([[0.0]])).item() == -math.inf


def test_empty_and_large():
    assert tg.linalg.det(tg.zeros(0, 0)).item() == 1
    assert (tg.ones(2, 0) @ tg.ones(0, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert (tg.ones(0, 2, 3) @ tg.ones(3, 4)).shape == (0, 2, 4)
    # a determinant whose gradient overflows nothing on the way
    x = leaf(np.diag(np.full(50, 3.0)))
    tg.linalg.det(x).backward()
    np.testing.assert_allclose(x.grad.tolist(), 3.0**49 * np.eye(50), rtol=1e-12)


def test_vmap_is_the_batch():
    rng = np.random.default_rng(3)
    batch = rng.standard_normal((4, 3, 3)) + 3 * np.eye(3)
    sym = batch @ batch.swapaxes(-1, -2)
    for function, data in [
        (tg.linalg.inv, batch),
        (tg.linalg.det, batch),
        (tg.linalg.pinv, batch),
        (tg.linalg.matrix_exp, batch),
        (tg.linalg.svdvals, batch),
        (tg.linalg.cholesky, sym),
        (tg.linalg.eigvalsh, sym),
        (lambda a: tg.linalg.solve(a, a), batch),
        (lambda a: tg.einsum("...ij,...ij->...", a, a), batch),
        (lambda a: tg.linalg.qr(a).R ** 2, batch),
        (lambda a: tg.linalg.svd(a, False).Vh ** 2, batch),
    ]:
        got = tg.func.vmap(function)(tg.tensor(data))
        np.testing.assert_allclose(got.tolist(), function(tg.tensor(data)).tolist(), atol=1e-10)
        slope = tg.func.vmap(tg.func.grad(lambda a, f=function: f(a).sum()))(tg.tensor(data))
        x = leaf(data)
        function(x).sum().backward()
        np.testing.assert_allclose(slope.tolist(), x.grad.tolist(), atol=1e-9)


def test_condition_of_matrices_without_elements():
    for shape in ((0, 0), (0, 3), (2, 0, 0)):
        for p in (None, 2, -2, *((1, "fro") if shape[-1] == shape[-2] else ())):
            assert tg.linalg.cond(tg.zeros(shape), p).tolist() == np.zeros(shape[:-2]).tolist()
    assert tg.linalg.cond(tg.zeros(0, 2, 2)).shape == (0,)


def test_arguments_are_called_as_in_torch():
    m = tg.tensor([[2.0, 0.0], [0.0, 3.0]])
    assert tg.det(input=m).item() == tg.linalg.det(A=m).item() == pytest.approx(6.0)
    assert tg.slogdet(input=m).sign == tg.linalg.slogdet(A=m).sign == 1.0
    assert tg.matrix_power(input=m, n=2).tolist() == tg.linalg.matrix_power(A=m, n=2).tolist()
    assert tg.linalg.norm(input=m).item() == pytest.approx(13**0.5)
