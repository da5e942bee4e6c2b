"""Write tests/data/linalg.json: products and linear algebra as PyTorch computes them.

Every case is an expression in ``xp`` (torch here, tapegrad in the tests) and its operands a, b, ...
Stored are its value, the gradient of L = sum(value * cos(1, 2, ...)), and the gradient of
sum(gradient * sin(1, 2, ...)), which is a second derivative.
Run with PyTorch installed: python tests/oracle/make_linalg.py
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return np.round(rng.standard_normal(shape), 3)


S = np.array([[2.0, 0.5, -0.3], [0.5, 1.25, 0.4], [-0.3, 0.4, 0.75]])
SPD = np.stack([S, S + np.diag([0.5, 1.0, -0.25])])
M33 = normal(3, 3) + 2 * np.eye(3)
M233 = normal(2, 3, 3) + 2 * np.eye(3)
M43, M34, M243, M234 = normal(4, 3), normal(3, 4), normal(2, 4, 3), normal(2, 3, 4)
v3, v4 = normal(3), normal(4)

#: Where torch's own backward fails on its in-place operations: the same, written out.
INSTEAD = {
    "xp.vander(a, 4)": "xp.stack([a**3, a**2, a, a**0], -1)",
    **{
        f"xp.linalg.cond(a, {p})": f"xp.linalg.matrix_norm(a, {p})"
        f" * xp.linalg.matrix_norm(xp.linalg.inv(a), {p})"
        for p in ("'fro'", "1", "float('inf')")
    },
}
CASES: list[tuple[str, list[np.ndarray]]] = [
    # products
    ("xp.matmul(a, b)", [M43, M34]),
    ("xp.matmul(a, b)", [M43, v3]),
    ("xp.matmul(a, b)", [v4, M43]),
    ("xp.matmul(a, b)", [v3, normal(3)]),
    ("xp.matmul(a, b)", [M243, M34]),
    ("xp.matmul(a, b)", [M43, M234]),
    ("xp.matmul(a, b)", [M243, v3]),
    ("xp.matmul(a, b)", [v4, M243]),
    ("xp.matmul(a, b)", [normal(2, 1, 4, 3), normal(5, 3, 2)]),
    ("xp.matmul(a, b)", [normal(5, 1, 2, 3), normal(1, 4, 3, 2)]),
    ("xp.matmul(a, b)", [normal(1, 2, 3), normal(4, 3, 2)]),
    ("xp.mm(a, b)", [M43, M34]),
    ("xp.bmm(a, b)", [M243, M234]),
    ("xp.mv(a, b)", [M43, v3]),
    ("xp.dot(a, b)", [v3, normal(3)]),
    ("xp.vdot(a, b)", [v3, normal(3)]),
    ("xp.inner(a, b)", [M243, M43]),
    ("xp.outer(a, b)", [v3, v4]),
    ("xp.addmm(a, b, c, beta=0.5, alpha=2.0)", [v4, M33, M34]),
    ("xp.addmv(a, b, c, beta=0.5, alpha=2.0)", [v4, M43, v3]),
    ("xp.addr(a, b, c, beta=0.5, alpha=2.0)", [M34, v3, v4]),
    ("xp.baddbmm(a, b, c, beta=0.5, alpha=2.0)", [normal(1, 4, 4), M243, M234]),
    ("xp.addbmm(a, b, c, beta=0.5, alpha=2.0)", [normal(4, 4), M243, M234]),
    ("xp.tensordot(a, b, 2)", [M243, normal(4, 3, 5)]),
    ("xp.tensordot(a, b, ([0, 2], [1, 0]))", [M243, normal(3, 2, 5)]),
    ("xp.tensordot(a, b, 0)", [v3, v4]),
    ("xp.kron(a, b)", [M34, normal(2, 1)]),
    ("xp.kron(a, b)", [v3, M234]),
    ("xp.linalg.cross(a, b)", [M43, M43[::-1].copy()]),
    ("xp.linalg.cross(a, b, dim=0)", [M34, normal(3, 4)]),
    ("xp.linalg.cross(a, b)", [normal(1, 3), M43]),
    ("xp.vander(a, 4)", [v3]),
    ("xp.linalg.vander(a, N=4)", [M43]),
    ("xp.linalg.vecdot(a, b)", [M43, v3]),
    ("xp.chain_matmul(a, b, c)", [M43, M34, normal(4, 2)]),
    ("xp.linalg.multi_dot([a, b, c, d])", [v4, M43, M34, v4]),
    # einsum
    ("xp.einsum('ij,jk->ik', a, b)", [M43, M34]),
    ("xp.einsum('bij,bjk', a, b)", [M243, M234]),
    ("xp.einsum('ii->i', a)", [M33]),
    ("xp.einsum('ii', a)", [M33]),
    ("xp.einsum('...ii->...i', a)", [M233]),
    ("xp.einsum('iji,j->i', a, b)", [normal(3, 4, 3), v4]),
    ("xp.einsum('ba', a)", [M34]),
    ("xp.einsum('...ij,...jk', a, b)", [M243, normal(5, 1, 3, 2)]),
    ("xp.einsum('i...,i...->...', a, b)", [M34, normal(3, 1)]),
    ("xp.einsum('ij,j,jk,k->i', a, b, c, d)", [M43, v3, M34, v4]),
    ("xp.einsum('i,j,k->kij', a, b, c)", [v3, v4, normal(2)]),
    ("xp.einsum('bn,anm,bm->ba', a, b, c)", [normal(2, 3), normal(4, 3, 5), normal(2, 5)]),
    ("xp.einsum('ij->', a)", [M34]),
    ("xp.einsum('...->', a)", [M234]),
    ("xp.einsum(a, [0, 1], b, [1, 2], [2, 0])", [M43, M34]),
    # norms
    *[
        (f"xp.linalg.matrix_norm(a, {order})", [M243])
        for order in ("'fro'", "'nuc'", "2", "-2", "1", "-1", "float('inf')", "float('-inf')")
    ],
    ("xp.linalg.matrix_norm(a, 'nuc', dim=(0, 2), keepdim=True)", [M243]),
    ("xp.linalg.matrix_norm(a, 1, dim=(2, 0))", [M243]),
    ("xp.linalg.norm(a)", [M234]),
    ("xp.linalg.norm(a, 3, dim=1)", [M234]),
    ("xp.linalg.norm(a, 'nuc')", [M34]),
    ("xp.linalg.norm(a, 2)", [v3]),
    *[
        (f"xp.linalg.cond(a, {p})", [M233])
        for p in ("None", "2", "-2", "'fro'", "1", "float('inf')", "'nuc'")
    ],
    # inverse, solve, determinants
    ("xp.linalg.inv(a)", [M233]),
    ("xp.linalg.solve(a, b)", [M33, v3]),
    ("xp.linalg.solve(a, b)", [M233, M34]),
    ("xp.linalg.solve(a, b)", [M233, normal(2, 3)]),
    ("xp.linalg.solve(a, b)", [M33, M234]),
    ("xp.linalg.solve(a, b, left=False)", [M33, M243]),
    ("xp.linalg.solve_triangular(a, b, upper=True)", [M33, M34]),
    ("xp.linalg.solve_triangular(a, b, upper=False, unitriangular=True)", [M233, M34]),
    ("xp.linalg.solve_triangular(a, b, upper=False, left=False)", [M33, M243]),
    ("xp.linalg.det(a)", [M233]),
    ("xp.linalg.det(a)", [np.array([[-0.5]])]),
    ("xp.linalg.slogdet(a)[1]", [-M233]),
    ("xp.linalg.slogdet(a)[0]", [-M233]),
    ("xp.logdet(a)", [M33]),
    ("xp.linalg.pinv(a)", [M243]),
    ("xp.linalg.pinv(a)", [M34]),
    ("xp.linalg.pinv((a + xp.transpose(a, 0, 1)) / 2, hermitian=True)", [S]),
    ("xp.linalg.lstsq(a, b)[0]", [M43, normal(4, 2)]),
    ("xp.linalg.lstsq(a, b)[0]", [M34, normal(3, 2)]),
    ("xp.linalg.matrix_exp(a)", [M233]),
    ("xp.linalg.matrix_exp(a)", [M33 * 4]),
    ("xp.linalg.matrix_power(a, 5)", [M233]),
    ("xp.linalg.matrix_power(a, -3)", [M33]),
    # decompositions
    ("xp.linalg.cholesky(a)", [SPD]),
    ("xp.linalg.cholesky(a, upper=True)", [SPD]),
    # torch gives the triangle that is not read a gradient as well
    ("xp.cholesky_solve(a, xp.tril(b))", [M34, np.linalg.cholesky(S)]),
    ("xp.cholesky_solve(a, xp.triu(b), upper=True)", [M34, np.linalg.cholesky(S).T.copy()]),
    ("xp.cholesky_inverse(xp.tril(a))", [np.linalg.cholesky(S)]),
    ("xp.linalg.eigvalsh(a)", [SPD]),
    ("xp.linalg.eigvalsh(a, UPLO='U')", [SPD]),
    ("xp.linalg.eigh(a)[0]", [SPD]),
    ("xp.linalg.eigh(a)[1] ** 2", [SPD]),
    ("(lambda d: d[0] ** 2 * d[1][..., :1, :] ** 2)(xp.linalg.eigh(a))", [SPD]),
    ("xp.linalg.svdvals(a)", [M243]),
    ("xp.linalg.svd(a)[1]", [M243]),
    ("xp.linalg.svd(a, full_matrices=False)[0] ** 2", [M243]),
    ("xp.linalg.svd(a, full_matrices=False)[2] ** 2", [M34]),
    ("(lambda d: d[0] @ d[2])(xp.linalg.svd(a, full_matrices=False))", [M34]),
    ("(lambda d: d[0] @ d[2])(xp.linalg.svd(a, full_matrices=False))", [M243]),
    ("xp.linalg.qr(a)[0] ** 2", [M243]),
    ("xp.linalg.qr(a)[1] ** 2", [M243]),
    ("xp.linalg.qr(a)[1] ** 2", [M34]),
    ("xp.linalg.qr(a, mode='complete')[1] ** 2", [M34]),
    ("(lambda d: d[0][..., :1] * d[1][..., :1, :])(xp.linalg.qr(a))", [M34]),
]


def waves(function, shape):
    count = int(np.prod(shape, dtype=int))
    return torch.tensor(function(np.arange(1.0, count + 1)).reshape(shape))


def lists(x):
    return torch.zeros(x.shape).add(x.detach()).tolist()  # also where torch holds a zero unmade


def run(expression: str, arrays: list[np.ndarray]) -> dict[str, object]:
    xs = [torch.tensor(x, requires_grad=True) for x in arrays]
    names = dict(zip("abcd", xs, strict=False), xp=torch)
    y = eval(INSTEAD.get(expression, expression), names)  # the tables above
    found: dict[str, object] = {
        "expression": expression,
        "arrays": [x.tolist() for x in arrays],
        "value": lists(y),
    }
    if not y.requires_grad:
        return found
    loss = (y * waves(np.cos, y.shape)).sum()
    first = torch.autograd.grad(loss, xs, create_graph=True, materialize_grads=True)
    found["first"] = [lists(g) for g in first]
    inner = sum((g * waves(np.sin, g.shape)).sum() for g in first)
    if inner.requires_grad:
        second = torch.autograd.grad(inner, xs, materialize_grads=True)
        found["second"] = [lists(g) for g in second]
    return found


if __name__ == "__main__":
    cases = [run(*case) for case in CASES]
    path = pathlib.Path(__file__).parents[1] / "data" / "linalg.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps({"torch": torch.__version__.split("+")[0], "cases": cases}).replace(
            '{"expression"', '\n{"expression"'
        )
        + "\n"
    )
    print(f"{len(cases)} cases, {path.stat().st_size // 1024} KiB")
