"""Reference numbers for the table of activations, made with PyTorch.

Run with torch and tapegrad installed: ``python tests/oracle/make_activations.py``. Writes
``tests/data/activations.json``: for every row with a peer and every setting, the value, the
gradient and the second derivative at ordinary points; value and slope at the kinks and at points
that are extreme; how modules show themselves; gains.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F

from tapegrad.nn.activation_table import ACTIVATIONS

torch.set_default_dtype(torch.float64)
#: Off the kinks of every setting that is tried.
POINTS = [
    -9.1,
    -6.4,
    -4.2,
    -2.6,
    -1.7,
    -0.72,
    -0.31,
    0.17,
    0.44,
    0.93,
    1.6,
    2.3,
    3.7,
    5.2,
    6.9,
    8.3,
]
EXTREMES = [float("-inf"), -1e300, -1e5, -800.0, -39.0, 39.0, 800.0, 1e5, 1e300, float("inf")]
SHAPE = (2, 8)
#: The cotangents, so that softmaxes do not add up to a constant.
SEEDS = [(i * 7 % 5) - 1.5 for i in range(16)]


def peer(row, x, settings):
    given = row.always | settings
    if row.name == "prelu":
        return F.prelu(x, torch.tensor([given.get("init", 0.25)]))
    return getattr(F, row.torch_name)(x, **given)


def ordinary(row, settings):
    x = torch.tensor(POINTS).reshape(SHAPE).requires_grad_()
    y = peer(row, x, settings)
    seeds = torch.tensor(SEEDS[: y.numel()]).reshape(y.shape)
    (first,) = torch.autograd.grad((y * seeds).sum(), x, create_graph=True)
    second = torch.zeros(SHAPE)
    if first.requires_grad and row.name != "hardsigmoid":  # for which torch has none: it is 0
        (second,) = torch.autograd.grad((first * torch.tensor(SEEDS).reshape(SHAPE)).sum(), x)
    return {
        "name": row.name,
        "settings": settings,
        "value": y.tolist(),
        "first": first.tolist(),
        "second": second.tolist(),
    }


def at(row, points):
    x = torch.tensor(points, requires_grad=True)
    y = peer(row, x, {})
    (slope,) = torch.autograd.grad(y.sum(), x)
    return [y.tolist(), slope.tolist()]


MODULES = [
    "ReLU()",
    "ReLU(inplace=True)",
    "ReLU6(True)",
    "LeakyReLU(0.2)",
    "LeakyReLU(0.2, True)",
    "PReLU(3)",
    "RReLU()",
    "RReLU(0.1, 0.2, True)",
    "ELU(2.0)",
    "ELU(inplace=True)",
    "SELU()",
    "SELU(True)",
    "CELU(1.5, True)",
    "GELU()",
    "GELU(approximate='tanh')",
    "SiLU()",
    "Mish(inplace=True)",
    "Softplus()",
    "Softplus(2.0, 5.0)",
    "Softsign()",
    "Hardtanh()",
    "Hardtanh(-2.0, 1.0, True)",
    "Threshold(0.1, 20.0)",
    "Softshrink()",
    "Hardshrink(0.2)",
    "Tanhshrink()",
    "LogSigmoid()",
    "Sigmoid()",
    "Tanh()",
    "Softmax(dim=1)",
    "Softmax()",
    "LogSoftmax(-1)",
    "Softmin(0)",
    "Softmax2d()",
    "GLU()",
    "GLU(1)",
    "Identity(3, x=4)",
    "Hardsigmoid()",
    "Hardswish()",
]
GAINS = [
    ["linear"],
    *([f"conv{t}{d}d"] for t in ("", "_transpose") for d in (1, 2, 3)),
    ["sigmoid"],
    ["tanh"],
    ["relu"],
    ["selu"],
    *(["leaky_relu", *p] for p in ((), (0.01,), (0.2,), (1,), (5**0.5,), (-0.3,))),
]

rows = [row for row in ACTIVATIONS if row.torch_name and hasattr(F, row.torch_name)]
data = {
    "torch": torch.__version__.split("+")[0],
    "points": POINTS,
    "seeds": SEEDS,
    "cases": [ordinary(row, settings) for row in rows for settings in row.tried()],
    "kinks": {row.name: at(row, list(row.kinks)) for row in rows if row.kinks},
    "extremes": EXTREMES,
    "at_extremes": {row.name: at(row, EXTREMES) for row in rows if row.elementwise},
    "shown": {text: repr(eval(f"torch.nn.{text}")) for text in MODULES},
    "gains": [[g, torch.nn.init.calculate_gain(*g)] for g in GAINS],
}
path = Path(__file__).resolve().parent.parent / "data" / "activations.json"
text = json.dumps(data).replace('{"name"', '\n{"name"')
path.write_text(text + "\n", encoding="utf-8")
print(path, len(data["cases"]), len(text))
