"""Reference numbers for the losses of boxes, made with torchvision: tests/data/boxes.json.

    python tests/oracle/make_boxes.py

Values, gradients by both operands, and second derivatives (of the sum of squared gradients);
float64.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)

torch.manual_seed(24)
torch.set_default_dtype(torch.float64)

FUNCTIONS = (generalized_box_iou_loss, distance_box_iou_loss, complete_box_iou_loss)
PAIRS = {
    "identical": ([1.0, 2.0, 4.0, 6.0], [1.0, 2.0, 4.0, 6.0]),
    "nested": ([0.0, 0.0, 8.0, 6.0], [1.0, 2.0, 3.0, 5.0]),
    "nested, one centre": ([0.0, 0.0, 8.0, 4.0], [3.0, 1.0, 5.0, 3.0]),
    "one edge in common": ([0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 5.0, 1.0]),
    "touching": ([0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 3.0, 4.0]),
    "touching in a corner": ([0.0, 0.0, 2.0, 2.0], [2.0, 2.0, 3.0, 4.0]),
    "disjoint": ([0.0, 0.0, 2.0, 1.0], [5.0, 7.0, 6.0, 9.0]),
    "crossing": ([0.0, 2.0, 9.0, 3.0], [4.0, 0.0, 5.0, 8.0]),
    "tiny beside large": ([0.0, 0.0, 1e-3, 1e-3], [0.0, 0.0, 1e3, 1e3]),
    "no width": ([1.0, 1.0, 1.0, 3.0], [0.0, 0.0, 2.0, 2.0]),
    "pixels": ([100.0, 200.0, 164.0, 328.0], [90.5, 210.25, 170.0, 300.0]),
}


def boxes(count: int) -> torch.Tensor:
    low = torch.randn(count, 2)
    return torch.cat([low, low + torch.randn(count, 2).exp()], 1)


def case(function: Any, a: torch.Tensor, b: torch.Tensor) -> Any:
    reals = [a.clone().requires_grad_(), b.clone().requires_grad_()]
    value = function(*reals)
    first = torch.autograd.grad(value.sum(), reals, create_graph=True)
    second = torch.autograd.grad(sum((g * g).sum() for g in first), reals)
    return {
        "boxes": [a.tolist(), b.tolist()],
        "value": value.tolist(),
        "gradients": [g.tolist() for g in first],
        "second": [g.tolist() for g in second],
    }


def main() -> None:
    pairs = {name: (torch.tensor([a]), torch.tensor([b])) for name, (a, b) in PAIRS.items()}
    pairs["drawn"] = boxes(12), boxes(12)
    found = {f.__name__: {name: case(f, *pair) for name, pair in pairs.items()} for f in FUNCTIONS}
    path = Path(__file__).parent.parent / "data" / "boxes.json"
    path.write_text(json.dumps(found) + "\n")
    print(f"{path.name}: {sum(map(len, found.values()))} cases")


if __name__ == "__main__":
    main()
