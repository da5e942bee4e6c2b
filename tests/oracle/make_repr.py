"""Write tests/data/repr.json: how PyTorch prints some tensors (needs torch)."""

import json
import math
import pathlib

import torch

CASES = [
    ([], "float32", False),
    (1.0, "float32", False),
    (0.5, "float32", True),
    (3, "int64", False),
    (True, "bool", False),
    ([1.0, 2.5, -3.0], "float32", False),
    ([1.0, 2.0, -30.0], "float32", True),
    ([1e-5, 1.0], "float32", False),
    ([1e9, 1.0], "float32", False),
    ([1000.0, 0.5], "float32", False),
    ([float("nan"), float("inf"), 1.0], "float32", False),
    ([float("nan"), -float("inf"), 0.25], "float32", False),
    ([0.0, 0.0], "float32", False),
    ([[1.0, 2.0], [3.0, 4.25]], "float32", True),
    ([[[1, 2], [3, 4]], [[5, 6], [7, -800]]], "int64", False),
    ([True, False], "bool", False),
    ([[]], "float32", False),
    ([i * 0.37 for i in range(30)], "float32", True),
    ({"arange": [1200]}, "int64", False),
    ({"arange": [40, 40]}, "float32", False),
    (3.14159, "float64", False),
    ([0.1], "float16", False),
]
out = []
for data, dtype, grad in CASES:
    if isinstance(data, dict):
        t = (
            torch.arange(math.prod(data["arange"]))
            .reshape(data["arange"])
            .to(getattr(torch, dtype))
        )
    else:
        t = torch.tensor(data, dtype=getattr(torch, dtype), requires_grad=grad)
    out.append({"data": data, "dtype": dtype, "grad": grad, "repr": repr(t)})
path = pathlib.Path(__file__).parents[1] / "data" / "repr.json"
path.write_text(json.dumps(out) + "\n")
