"""Reference numbers for weight and spectral normalisation: tests/data/parametrizations.json.

    python tests/oracle/make_parametrizations.py

Made with torch. Each layer runs twice in training mode and once in eval(): output, state, gradients
of the sum of cubes by the input and parameters, and of the sum of squares of these. Then the
parametrization is removed. float64.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import parametrizations, parametrize

torch.set_default_dtype(torch.float64)


def composed(v: torch.Tensor, g: torch.Tensor, dim: int) -> torch.Tensor:
    """torch._weight_norm, whose second derivative by v is wrong in torch 2.13 (its own
    gradgradcheck fails: it holds the norms constant), in elementary operations."""
    others = [d for d in range(v.dim()) if d != dim]
    square = (v * v).sum() if dim == -1 else (v * v).sum(others, keepdim=True) if others else v * v
    return v * (g / square.sqrt())


torch._weight_norm = composed

CASES = [
    ("weight_norm", "Linear(3, 4)", {}, (2, 3)),
    ("weight_norm", "Linear(3, 4, bias=False)", {"dim": None}, (2, 3)),
    ("weight_norm", "Linear(3, 2)", {"dim": 1}, (2, 3)),
    ("weight_norm", "Linear(3, 2)", {"name": "bias"}, (2, 3)),
    ("weight_norm", "Conv1d(2, 3, 2)", {}, (2, 2, 4)),
    ("spectral_norm", "Linear(3, 4)", {}, (2, 3)),
    ("spectral_norm", "Linear(4, 2)", {"n_power_iterations": 3, "dim": 1}, (2, 4)),
    ("spectral_norm", "Linear(3, 4)", {"name": "bias"}, (2, 3)),
    ("spectral_norm", "Conv2d(2, 3, 2)", {}, (1, 2, 3, 3)),
    ("spectral_norm", "ConvTranspose1d(2, 3, 2)", {"eps": 1e-6}, (1, 2, 3)),
]


def shortened(x: torch.Tensor) -> Any:
    if x.dim():
        return [shortened(row) for row in x]
    return float(f"{x.item():.14g}")


def state_of(layer: torch.nn.Module) -> dict[str, Any]:
    return {name: shortened(value) for name, value in layer.state_dict().items()}


def case(kind: str, text: str, settings: dict[str, Any], shape: tuple[int, ...]) -> Any:
    torch.manual_seed(4)
    layer = eval(f"torch.nn.{text}")
    plain = state_of(layer)
    getattr(parametrizations, kind)(layer, **settings)
    found: dict[str, Any] = {"kind": kind, "layer": text, "settings": settings, "plain": plain}
    found |= {"repr": repr(layer), "state": state_of(layer), "runs": []}
    for is_training in (True, True, False):
        layer.train(is_training)
        x = ((torch.randn(*shape) * 100).round() / 100).requires_grad_()
        y = layer(x)
        reals = [x, *layer.parameters()]
        first = torch.autograd.grad((y**3).sum(), reals, create_graph=True)
        second = torch.autograd.grad(sum((g * g).sum() for g in first), reals)
        run = {"training": is_training, "x": x.tolist(), "y": shortened(y)}
        run |= {"first": list(map(shortened, first)), "second": list(map(shortened, second))}
        found["runs"].append(run | {"state": state_of(layer)})
    name = settings.get("name", "weight")
    parametrize.remove_parametrizations(layer, name)
    return found | {"removed": state_of(layer), "removed_repr": repr(layer)}


def main() -> None:
    found = [case(*each) for each in CASES]
    path = Path(__file__).parent.parent / "data" / "parametrizations.json"
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(found)} cases")


if __name__ == "__main__":
    main()
