"""Reference numbers for layers of normalisation, made with torch: tests/data/normalization.json.

    python tests/oracle/make_normalization.py

Every layer sees several batches, in training and in eval(). For each batch: the output, the state
afterwards, gradients of a weighted sum of cubes by the input and the parameters, and of the sum of
squares of these. float64, with a few layers in float32 (without second derivatives).
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch

draw = random.Random(5)
generator = torch.Generator().manual_seed(5)

LAYERS = {
    "BatchNorm1d(3)": [(4, 3), (2, 3, 2), (5, 3)],
    "BatchNorm1d(2, eps=0.1, momentum=None)": [(3, 2), (4, 2), (2, 2, 3)],
    "BatchNorm1d(2, momentum=0.4, affine=False)": [(3, 2), (4, 2)],
    "BatchNorm1d(2, eps=0.01, track_running_stats=False)": [(3, 2), (4, 2, 2)],
    "BatchNorm1d(2, momentum=1.0, bias=False)": [(3, 2), (4, 2)],
    "BatchNorm2d(2)": [(2, 2, 3, 2), (1, 2, 2, 2), (3, 2, 1, 1)],
    "BatchNorm2d(3, eps=0.5, momentum=None, affine=False)": [(2, 3, 2, 2), (1, 3, 2, 1)],
    "InstanceNorm1d(2)": [(2, 2, 4), (2, 3)],
    "InstanceNorm1d(2, eps=0.1, affine=True, track_running_stats=True)": [(2, 2, 4), (2, 3)],
    "InstanceNorm2d(2, momentum=0.3, affine=True, track_running_stats=True)": [
        (2, 2, 2, 3),
        (2, 3, 2),
    ],
    "GroupNorm(2, 4)": [(3, 4), (2, 4, 3)],
    "GroupNorm(1, 3, eps=0.1, bias=False)": [(2, 3, 2, 2)],
    "GroupNorm(3, 3, affine=False)": [(2, 3, 4)],
    "LayerNorm(4)": [(3, 4), (4,), (2, 2, 4)],
    "LayerNorm((2, 3), eps=0.1, bias=False)": [(2, 2, 3), (2, 3)],
    "LayerNorm([3], elementwise_affine=False)": [(2, 3)],
    "RMSNorm(4)": [(3, 4), (4,)],
    "RMSNorm((2, 3), eps=0.1)": [(2, 2, 3)],
    "RMSNorm(3, elementwise_affine=False)": [(2, 3)],
}


def numbers(*shape: int) -> torch.Tensor:
    found = torch.randn(*shape, generator=generator, dtype=torch.float64) * 2 + 1
    return (found * 100).round() / 100


def shortened(x: torch.Tensor) -> Any:
    """The numbers with thirteen digits."""
    if x.dim():
        return [shortened(row) for row in x]
    return x.item() if not x.is_floating_point() else float(f"{x.item():.13g}")


def state_of(layer: torch.nn.Module) -> dict[str, Any]:
    return {name: shortened(value) for name, value in layer.state_dict().items()}


def run(text: str, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> Any:
    layer = eval(f"torch.nn.{text}").to(dtype)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(numbers(*p.shape))
    case: dict[str, Any] = {"layer": text, "repr": repr(layer), "dtype": str(dtype)[6:]}
    case |= {"state": state_of(layer), "batches": []}
    for is_training, shape in [*((True, s) for s in shapes), (False, shapes[0]), (True, shapes[0])]:
        layer.train(is_training)
        x = numbers(*shape).to(dtype).requires_grad_()
        weights = numbers(*shape).to(dtype)
        y = layer(x)
        reals = [x, *layer.parameters()]
        first = torch.autograd.grad((y**3 * weights).sum(), reals, create_graph=True)
        batch = {"training": is_training, "x": shortened(x), "weights": shortened(weights)}
        batch |= {"y": shortened(y), "state": state_of(layer), "first": list(map(shortened, first))}
        if dtype == torch.float64:
            second = torch.autograd.grad(sum((g * g).sum() for g in first), reals)
            batch["second"] = list(map(shortened, second))
        case["batches"].append(batch)
    return case


def main() -> None:
    found = [run(text, shapes, torch.float64) for text, shapes in LAYERS.items()]
    for text in ("BatchNorm1d(3)", "BatchNorm2d(2)", "LayerNorm(4)", "RMSNorm(4)"):
        found.append(run(text, LAYERS[text], torch.float32))
    path = Path(__file__).parent.parent / "data" / "normalization.json"
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(found)} layers")


if __name__ == "__main__":
    main()
