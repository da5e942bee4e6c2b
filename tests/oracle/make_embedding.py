"""Reference numbers for Embedding and Bilinear, made with torch: tests/data/embedding.json.

    python tests/oracle/make_embedding.py

The output, gradients of the sum of cubes by what is real, the sum of squares of these
differentiated again, and the table afterwards (``max_norm`` changes it). float64.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(11)

LOOKUPS = {
    "Embedding(4, 3)": [[0, 3, 3], [1, 0, 3]],
    "Embedding(4, 3, padding_idx=1)": [[0, 1, 3], [1, 1, 2]],
    "Embedding(5, 2, padding_idx=-1)": [4, 0, 4, 2],
    "Embedding(4, 3, max_norm=1.0)": [[0, 3, 3]],
    "Embedding(4, 3, padding_idx=0, max_norm=1.5, norm_type=1.0)": [[0, 3, 2]],
    "Embedding(4, 2, scale_grad_by_freq=True)": [[0, 3, 3], [3, 2, 0]],
    "Embedding(4, 2, padding_idx=3, scale_grad_by_freq=True)": [[0, 3, 3], [2, 2, 0]],
    "Embedding(4, 2, sparse=False)": 2,
    "Embedding(3, 2, None, 0.7, 3.0)": [1, 2],
}
BILINEAR = {
    "Bilinear(2, 3, 4)": ((5, 2), (5, 3)),
    "Bilinear(3, 2, 1, bias=False)": ((2, 2, 3), (2, 2, 2)),
    "Bilinear(2, 2, 3)": ((2,), (2,)),
}


def numbers(*shape: int) -> torch.Tensor:
    return (torch.randn(*shape, generator=generator) * 100).round() / 100


def shortened(x: torch.Tensor) -> Any:
    if x.dim():
        return [shortened(row) for row in x]
    return float(f"{x.item():.13g}")


def case(text: str, inputs: list[torch.Tensor]) -> Any:
    layer = eval(f"torch.nn.{text}")
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(numbers(*p.shape))
    state = {k: shortened(v) for k, v in layer.state_dict().items()}
    y = layer(*inputs)
    reals = [x for x in inputs if x.is_floating_point()] + list(layer.parameters())
    is_smooth = "scale_grad" not in text  # whose backward torch does not differentiate
    first = torch.autograd.grad((y**3).sum(), reals, create_graph=is_smooth)
    found = {"layer": text, "repr": repr(layer), "state": state, "y": shortened(y)}
    found |= {"inputs": [x.tolist() for x in inputs], "first": list(map(shortened, first))}
    if is_smooth:
        second = torch.autograd.grad(sum((g * g).sum() for g in first), reals)
        found["second"] = list(map(shortened, second))
    return found | {"after": {k: shortened(v) for k, v in layer.state_dict().items()}}


def main() -> None:
    found = [case(text, [torch.tensor(rows, dtype=torch.long)]) for text, rows in LOOKUPS.items()]
    for text, shapes in BILINEAR.items():
        found.append(case(text, [numbers(*s).requires_grad_() for s in shapes]))
    path = Path(__file__).parent.parent / "data" / "embedding.json"
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(found)} cases")


if __name__ == "__main__":
    main()
