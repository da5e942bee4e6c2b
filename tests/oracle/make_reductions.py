"""Reference numbers for reductions, scans, softmaxes and statistics, made with PyTorch.

Run with PyTorch installed: ``python tests/oracle/make_reductions.py``. Writes
``tests/data/reductions.json``. Each case is an expression that means the same in both libraries
(``t`` is the library); stored are the value, the gradient of Σ w·y, and the products of the second
and third derivatives with fixed directions. Weights and directions are sines of the positions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

MATRIX = [[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, -2.25], [-0.875, 3.0, 1.125, 0.375]]
CUBE = np.round(np.sin(np.arange(24.0) * 2.3) * 2, 3).reshape(2, 3, 4).tolist()
ZEROS = [[2.0, 0.0, 3.0, 0.5], [0.0, 0.0, 3.0, -1.5], [0.0, 0.0, 0.0, 2.0]]
TIES = [[1.0, 1.0, 0.0, 1.0], [2.0, 3.0, 3.0, 0.0], [-1.0, -1.0, -1.0, -1.0]]
POINTS = [[0.0, 1.0], [2.0, -1.0], [0.5, 0.25]]
WITH_NAN = [[1.0, float("nan"), 3.0, 0.5], [2.0, 5.0, float("nan"), float("nan")]]

INPUTS = {
    "matrix": MATRIX,
    "cube": CUBE,
    "zeros": ZEROS,
    "ties": TIES,
    "points": POINTS,
    "nan": WITH_NAN,
    "scalar": 0.75,
    "large": [[1000.0, 0.0, 999.0], [-1000.0, -1000.5, -2000.0]],
}
CASES = {
    "matrix": """
        t.sum(x) / t.sum(x, 0) / x.sum(dim=(0, 1), keepdim=True) / t.sum(x, dim=-1, keepdim=True)
        t.mean(x) / x.mean(1) / t.mean(x, dim=(0, 1)) / t.nansum(x, 1) / t.nanmean(x, 0)
        t.prod(x) / t.prod(x, 1) / x.prod(0, keepdim=True)
        t.amax(x) / t.amax(x, (0, 1)) / x.amin(1) / t.amin(x, dim=0, keepdim=True)
        t.max(x) / t.max(x, 1).values / x.max(0, keepdim=True)[0] / t.min(x, dim=1).values
        t.max(x, x.flip(0)) / t.min(x, 0.5 * x) / t.aminmax(x, dim=1).max / t.aminmax(x).min
        t.std(x) / x.std(0) / t.std(x, 1, False) / x.std(False) / t.std(x, dim=(0, 1), keepdim=True)
        t.var(x) / x.var(1) / t.var(x, 0, correction=0) / x.var(unbiased=False)
        t.var(x, dim=1, correction=2, keepdim=True) / t.std_mean(x, 1)[0] / t.var_mean(x, 1)[1]
        t.var_mean(x, dim=0, correction=0)[0]
        t.logsumexp(x, 0) / x.logsumexp((0, 1)) / t.logsumexp(x, dim=1, keepdim=True)
        t.norm(x) / x.norm(dim=1) / t.norm(x, 1) / t.norm(x, p=3, dim=0) / t.norm(x, 'fro', 1, True)
        t.norm(x, 2.5, 1) / t.norm(x, float('inf')) / t.norm(x, float('inf'), 1)
        t.norm(x, -float('inf'), 0) / t.norm(x, -2, 1) / t.norm(x, 0.5, 0) / t.norm(x, 1.5)
        t.norm(x, 4, 1) / t.norm(x, 0, 1) * x.sum() / t.dist(x, 0.5 * x * x, 3)
        t.median(x) / t.median(x, 0).values / x.median(dim=1, keepdim=True)[0] / x.nanmedian(1)[0]
        t.mode(x, 1).values / t.quantile(x, 0.3) / x.quantile(0.65, dim=1, keepdim=True)
        t.quantile(x, t.tensor([0.1, 0.8], dtype=x.dtype), dim=0)
        t.quantile(x, 0.4, dim=1, interpolation='nearest')
        t.quantile(x, 0.4, dim=1, interpolation='lower')
        t.quantile(x, 0.4, dim=1, interpolation='higher')
        t.quantile(x, 0.4, dim=1, interpolation='midpoint')
        t.quantile(x, t.tensor([0.0, 0.5, 1.0], dtype=x.dtype)) / t.nanquantile(x, 0.2, dim=0)
        t.cumsum(x, 1) / x.cumsum(0) / t.cumprod(x, 1) / x.cumprod(dim=0) / t.logcumsumexp(x, 1)
        t.cummax(x, 1).values / t.cummin(x, 0)[0] / t.diff(x) / t.diff(x, 2, 0) / x.diff(dim=-2)
        t.diff(x, prepend=x[:, :1] * x[:, 1:2], append=x)
        t.softmax(x, 1) / x.softmax(0) / t.log_softmax(x, 1) / x.log_softmax(dim=-2)
        x.argmax() * x.sum() / x.argmin(1) * x.sum(1) / t.argmax(x, 0, True) * x
        t.count_nonzero(x > 0, 1) * x.sum(1) / (x > 0).any(0) * x / (x > -3).all() * x
        t.histc(x, 5, -2, 2).sum() * x / t.histc(x, 4) * x
        t.cdist(x, x * x) / t.cdist(x, x[:2] * 0.5, p=1) / t.cdist(x, x[1:] * x[:2], p=3)
        t.cdist(x, x * x, p=float('inf')) / t.cdist(x, x * x, 1.5)
    """,
    "cube": """
        x.sum((0, 2)) / x.mean((0, 2), keepdim=True) / x.prod(1) / x.amax((1, 2)) / x.var((0, 2))
        x.std((1, 2)) / x.norm(dim=(0, 2)) / x.logsumexp((0, 2)) / x.median(1).values
        x.softmax(1) / x.log_softmax(0) / x.cumprod(1) / x.logcumsumexp(2) / x.cummax(1)[0]
        x.quantile(0.3, 1) / x.max(1).values / t.cdist(x, x[:1] * 2) / x.cumsum(-2) / x.diff(dim=1)
    """,
    "zeros": """
        t.prod(x) / t.prod(x, 1) / t.prod(x, 0) / t.cumprod(x, 1) / t.cumprod(x, 0)
        t.norm(x, 4, 1) / t.norm(x, 3, 1) / t.norm(x, 2, 1) / t.norm(x, 1, 0)
    """,
    "ties": """
        t.amax(x) / t.amax(x, 1) / t.amin(x, 1) / t.max(x) / t.max(x, 1).values / t.min(x, 1)[0]
        t.max(x, x.flip(1)) / t.median(x) / t.aminmax(x, dim=1).min / t.norm(x, float('inf'), 1)
        t.cummax(x, 1)[0] / t.cummin(x, 0)[0] / t.norm(x, -float('inf'), 1)
    """,
    "points": "t.cdist(x, x * x) / t.cdist(x, 0.5 * x)",
    "nan": """
        t.nansum(x) / t.nansum(x, 1) / t.nanmean(x, 1) / t.nanmedian(x, 1).values / t.nanmedian(x)
        t.nanquantile(x, 0.3, dim=1) / t.nanquantile(x, 0.7)
    """,
    "scalar": """
        x.sum() / x.sum(0) / x.mean(-1) / x.prod(0) / x.amax() / x.max(0).values / x.norm()
        x.softmax(0) / x.cumsum(0) / x.cumprod(0) / x.logsumexp(0) / x.median()
        x.var(correction=0) / x.cummax(0)[0] / x.logcumsumexp(0) / x.log_softmax(-1)
        x.quantile(0.5) / x.median(0)[0]
    """,
    "large": "x.softmax(1) / x.log_softmax(1) / x.logsumexp(1) / x.logcumsumexp(1)",
}
INDICES = """
    x.argmax() / x.argmin() / x.argmax(1) / x.argmin(0, keepdim=True) / x.max(1).indices
    x.min(0)[1] / t.cummax(x, 1).indices / t.cummin(x, 1).indices / t.mode(x, 1).indices
    x.argmax(keepdim=True) / t.count_nonzero(x) / t.count_nonzero(x, (0, 1)) / t.any(x)
    t.all(x, 1) / x.median(0).values / x.sum(1) / x.prod() / (x > 0).sum() / x.cumsum(1)
    t.histc(x, 3)
"""


def expressions(text: str) -> list[str]:
    return [e.strip() for line in text.strip().splitlines() for e in line.split(" / ")]


def direction(shape: Any, phase: float) -> Any:
    count = int(np.prod(shape, dtype=int))
    return torch.tensor(np.sin(np.arange(count) * 1.7 + phase)).reshape(shape)


def derivatives(code: str, data: Any) -> dict[str, Any]:
    x = torch.tensor(data, dtype=torch.float64, requires_grad=True)
    y = eval(code, {"t": torch, "x": x, "float": float})
    case = {"code": code, "value": y.tolist(), "dtype": str(y.dtype).removeprefix("torch.")}
    (g,) = torch.autograd.grad((y * direction(y.shape, 0.3)).sum(), x, create_graph=True)
    case["order1"] = g.tolist()
    for order, phase in ((2, 1.1), (3, 2.2)):
        if not g.requires_grad:
            g = torch.zeros_like(x)
        else:
            scalar = (g * direction(x.shape, phase)).sum()
            try:
                (g,) = torch.autograd.grad(scalar, x, create_graph=True, allow_unused=True)
            except (NotImplementedError, RuntimeError):  # PyTorch has no such derivative
                break
            g = torch.zeros_like(x) if g is None else g
        case[f"order{order}"] = (g + torch.zeros_like(x)).tolist()
    return case


def main() -> None:
    cases = []
    for name, text in CASES.items():
        for code in expressions(text):
            try:
                case = derivatives(code, INPUTS[name])
            except Exception as error:
                raise RuntimeError(f"{code} on {name}") from error
            cases.append({"input": name, **case})
    indices = []
    for name in ("matrix", "ties"):
        for code in expressions(INDICES):
            y = eval(code, {"t": torch, "x": torch.tensor(INPUTS[name])})
            dtype = str(y.dtype).removeprefix("torch.")
            indices.append({"input": name, "code": code, "value": y.tolist(), "dtype": dtype})
    for case in cases:  # the digits that tests look at
        for key in ("value", "order1", "order2", "order3"):
            case[key] = rounded(case.get(key))
    path = Path(__file__).parents[1] / "data" / "reductions.json"
    lines = ",\n".join(json.dumps(c) for c in cases)
    whole = ",\n".join(json.dumps(c) for c in indices)
    path.write_text(
        f'{{"inputs": {json.dumps(INPUTS)},\n"cases": [\n{lines}\n],\n"indices": [\n{whole}\n]}}\n'
    )
    print(len(cases), len(indices), path.stat().st_size)


def rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.11g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
