"""Products: what differs by shape, what is refused, who owns the memory.

Values and derivatives against PyTorch's are in test_linalg.py.
"""

import numpy as np
import pytest

import tapegrad as tg


def leaf(data):
    return tg.tensor(np.asarray(data, float), requires_grad=True)


def test_broadcast_operand_gets_the_sum_over_the_batch():
    """A matrix against a batch: the gradient is that of the operand expanded, then summed."""
    rng = np.random.default_rng(0)
    for sa, sb in [((3, 4), (5, 2, 4, 2)), ((5, 2, 3, 4), (4, 2)), ((2, 3, 4), (5, 1, 4, 2))]:
        a, b = leaf(rng.standard_normal(sa)), leaf(rng.standard_normal(sb))
        y = a @ b
        g = rng.standard_normal(y.shape)
        ga, gb = tg.grad(y, [a, b], tg.tensor(g))
        batch = y.shape[:-2]
        wide_a = g @ np.broadcast_to(b.tolist(), (*batch, *sb[-2:])).swapaxes(-1, -2)
        wide_b = np.broadcast_to(a.tolist(), (*batch, *sa[-2:])).swapaxes(-1, -2) @ g
        for got, wide in ((ga, wide_a), (gb, wide_b)):
            extra = wide.ndim - got.ndim
            want = wide.sum(axis=tuple(range(extra)))
            stretched = tuple(i for i, n in enumerate(got.shape) if n == 1 != want.shape[i])
            want = want.sum(axis=stretched, keepdims=True) if stretched else want
            np.testing.assert_allclose(got.tolist(), want, atol=1e-12)


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("ab,bc,cd,de->ae", [(2, 3), (3, 4), (4, 5), (5, 2)]),
        ("abc,cd,be,a->de", [(2, 3, 4), (4, 5), (3, 6), (2,)]),
        ("iii,i->i", [(3, 3, 3), (3,)]),
        ("ij,ij->ij", [(2, 3), (1, 3)]),
        ("a,b,c,d,e,f->fedcba", [(2,)] * 6),
        ("...ij,kj->i...k", [(2, 4, 3), (5, 3)]),
        ("->", [()]),
        ("i,j->", [(2,), (3,)]),
        ("ij,kj", [(0, 3), (2, 3)]),
    ],
)
def test_einsum_is_numpys(equation, shapes):
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(s) for s in shapes]
    want = np.einsum(equation, *arrays)
    got = np.asarray(tg.einsum(equation, *map(tg.tensor, arrays)).tolist()).reshape(want.shape)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_einsum_sums_over_an_ellipsis_the_result_lacks():
    assert tg.einsum("...i->i", tg.ones(2, 3)).tolist() == [2, 2, 2]


def test_einsum_results_own_their_memory():
    x = tg.tensor(np.ones((2, 2)))
    with tg.no_grad():
        tg.einsum("ij->ji", x).mul_(5.0)
        tg.einsum("ii->i", x).mul_(5.0)
    assert x.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: tg.tensor(2.0) @ tg.ones(2), "at least one dimension"),
        (lambda: tg.ones(2, 3) @ tg.ones(2, 3), r"\(2, 3\) and \(2, 3\)"),
        (lambda: tg.ones(2, 1, 3) @ tg.ones(3, 3, 1), "batch"),
        (lambda: tg.mm(tg.ones(3), tg.ones(3)), "2 dimensions"),
        (lambda: tg.bmm(tg.ones(2, 3, 3), tg.ones(1, 3, 3)), "batches"),
        (lambda: tg.dot(tg.ones(2), tg.ones(3)), r"\(2,\) and \(3,\)"),
        (lambda: tg.einsum("ij,jk", tg.ones(2, 3)), "2 terms but 1 operands"),
        (lambda: tg.einsum("ij->k", tg.ones(2, 3)), r"\['k'\]"),
        (lambda: tg.einsum("i->i", tg.ones(2, 3)), "2 dimensions"),
        (lambda: tg.einsum("ij,jk", tg.ones(2, 3), tg.ones(4, 2)), "'j'.*3.*4"),
        (lambda: tg.einsum("ii", tg.ones(2, 3)), "'i'.*2.*3"),
        (lambda: tg.tensordot(tg.ones(2, 3), tg.ones(2, 3), 1), "lengths"),
        (lambda: leaf(2.0) @ leaf(3.0), "^matmul: .* at least one dimension"),
    ],
)
def test_errors_name_what_is_wrong(call, words):
    with pytest.raises(RuntimeError, match=words):
        call()


def test_addmm_ignores_its_input_at_beta_zero():
    nothing = tg.tensor([[float("nan")]])
    assert tg.addmm(nothing, tg.ones(1, 2), tg.ones(2, 1), beta=0).tolist() == [[2.0]]
    beta = leaf(2.0)
    tg.addmm(leaf([[3.0]]), leaf([[1.0]]), leaf([[1.0]]), beta=beta).sum().backward()
    assert beta.grad.item() == 3.0


def test_integer_products_stay_integer():
    x = tg.tensor([[1, 2], [3, 4]])
    for y in (x @ x, tg.einsum("ij,jk", x, x), tg.kron(x, x), tg.linalg.matrix_power(x, 3)):
        assert y.dtype == "int64"


def test_chain_of_products_takes_the_cheapest_order():
    from tapegrad.linalg import _splits

    # CLRS, 15.2: (A1 (A2 A3)) ((A4 A5) A6)
    split = _splits([30, 35, 15, 5, 10, 20, 25])
    assert (split[0, 5], split[0, 2], split[3, 5]) == (2, 0, 4)
