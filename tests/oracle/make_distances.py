"""Write tests/data/distances.json: cosine similarity, distances and unit vectors as PyTorch's.

Every case is an expression in ``xp`` (torch here, tapegrad in the tests) and its operands a, b.
Stored are its value, the gradient of L = sum(value * cos(1, 2, ...)), and the gradient of
sum(gradient * sin(1, 2, ...)), which is a second derivative.
Run with PyTorch installed: python tests/oracle/make_distances.py
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


A, B, CUBE = normal(4, 3), normal(4, 3), normal(2, 3, 4)
WITH_ZERO = np.where(np.arange(4)[:, None] == 1, 0.0, A)
ORDERS = ("1.0", "1.5", "2.0", "3.0", "4", "float('inf')")
CASES: list[tuple[str, list[np.ndarray]]] = [
    ("xp.cosine_similarity(a, b)", [A, B]),
    ("xp.cosine_similarity(a, b)", [WITH_ZERO, B]),
    ("xp.cosine_similarity(a, b, 0)", [A, B]),
    ("xp.cosine_similarity(a, b, dim=-1)", [A, normal(3)]),
    ("xp.cosine_similarity(a, b, dim=1)", [A, normal(4, 1)]),
    ("xp.cosine_similarity(a, b, dim=-1)", [normal(4, 1, 3), normal(2, 3)]),
    ("xp.cosine_similarity(a, b, dim=2, eps=1e-3)", [CUBE, CUBE[::-1].copy()]),
    ("xp.nn.functional.cosine_similarity(a, b, dim=0)", [normal(5), normal(5)]),
    *[(f"xp.pairwise_distance(a, b, {p})", [A, B]) for p in ORDERS],
    ("xp.pairwise_distance(a, b)", [A, A]),
    ("xp.pairwise_distance(a, b, eps=0.1, keepdim=True)", [A, B]),
    ("xp.pairwise_distance(a, b)", [normal(3), normal(3)]),
    ("xp.pairwise_distance(a, b)", [A, normal(3)]),
    ("xp.nn.functional.pairwise_distance(a, b)", [CUBE, CUBE[::-1].copy()]),
    *[(f"xp.nn.functional.normalize(a, {p})", [A]) for p in ORDERS],
    ("xp.nn.functional.normalize(a)", [WITH_ZERO]),
    ("xp.nn.functional.normalize(a, dim=0)", [A]),
    ("xp.nn.functional.normalize(a, dim=(0, 2))", [CUBE]),
    ("xp.nn.functional.normalize(a, dim=-1, eps=0.5)", [CUBE]),
]


def waves(function, shape):
    count = int(np.prod(shape, dtype=int))
    return torch.tensor(function(np.arange(1.0, count + 1)).reshape(shape))


def lists(x: torch.Tensor) -> object:
    whole = torch.zeros(x.shape).add(x.detach()).numpy()  # also where torch holds a zero unmade
    return np.where(np.isfinite(whole), whole.astype(object), None).tolist()


def run(expression: str, arrays: list[np.ndarray]) -> dict[str, object]:
    xs = [torch.tensor(x, requires_grad=True) for x in arrays]
    y = eval(expression, dict(zip("ab", xs, strict=False), xp=torch))
    first = torch.autograd.grad((y * waves(np.cos, y.shape)).sum(), xs, create_graph=True)
    inner = sum((g * waves(np.sin, g.shape)).sum() for g in first)
    found = {
        "expression": expression,
        "arrays": [x.tolist() for x in arrays],
        "value": lists(y),
        "first": [lists(g) for g in first],
    }
    if inner.requires_grad:
        second = torch.autograd.grad(inner, xs, materialize_grads=True)
        found["second"] = [lists(g) for g in second]
    return found


if __name__ == "__main__":
    cases = [run(*case) for case in CASES]
    path = pathlib.Path(__file__).parents[1] / "data" / "distances.json"
    path.write_text(
        json.dumps({"torch": torch.__version__.split("+")[0], "cases": cases}).replace(
            '{"expression"', '\n{"expression"'
        )
        + "\n"
    )
    print(f"{len(cases)} cases, {path.stat().st_size // 1024} KiB")
