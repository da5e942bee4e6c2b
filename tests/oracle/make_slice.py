"""Reference numbers for losses, optimizers and layers, made with PyTorch (float64).

python tests/oracle/make_slice.py      # writes tests/data/slice.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def numbers(*shape: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    """Reproducible ordinary numbers."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def value_and_gradients(function: Any, *inputs: torch.Tensor) -> dict[str, Any]:
    """A loss, its gradient by the first input, and the gradient of that gradient's square."""
    x = inputs[0].clone().requires_grad_()
    value = function(x, *inputs[1:])
    (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    second = torch.zeros_like(x)
    if first.requires_grad:
        (second,) = torch.autograd.grad((first * first).sum(), x)
        second = second + torch.zeros_like(x)
    return {
        "inputs": [t.tolist() for t in inputs],
        "value": value.tolist(),
        "gradient": first.tolist(),
        "second": second.tolist(),
    }


def losses() -> dict[str, Any]:
    """Every loss of the slice with its settings."""
    x, t = numbers(4, 3, seed=1, scale=2.0), numbers(4, 3, seed=2)
    labels = torch.tensor([0, 2, 1, 2])
    some = torch.tensor([0, -100, 1, 2])
    soft = torch.softmax(numbers(4, 3, seed=3), 1)
    weight = torch.tensor([0.5, 1.0, 2.0])
    images = numbers(2, 3, 2, 2, seed=4)
    dense = torch.tensor([[[0, 1], [2, 0]], [[1, 1], [0, 2]]])
    p, b = torch.sigmoid(numbers(6, seed=5)), torch.tensor([0.0, 1, 1, 0, 0.3, 1])
    z = numbers(6, seed=6, scale=3.0)
    found: dict[str, Any] = {}

    def add(name: str, settings: dict[str, Any], *inputs: torch.Tensor) -> None:
        function = getattr(F, name)
        shown = {k: v.tolist() if torch.is_tensor(v) else v for k, v in settings.items()}
        key = f"{name} {json.dumps(shown)} {tuple(inputs[1].shape)} {inputs[1].dtype}"
        found[key] = {
            "function": name,
            "settings": shown,
            **value_and_gradients(lambda a, *rest: function(a, *rest, **settings), *inputs),
        }

    for reduction in ("mean", "sum", "none"):
        for name in ("mse_loss", "l1_loss", "huber_loss"):
            add(name, {"reduction": reduction}, x, t)
        add("cross_entropy", {"reduction": reduction}, x, labels)
        add("cross_entropy", {"reduction": reduction}, x, soft)
    add("huber_loss", {"delta": 0.3}, x, t)
    add("cross_entropy", {"weight": weight}, x, labels)
    add("cross_entropy", {"weight": weight}, x, soft)
    add("cross_entropy", {}, x, some)
    for reduction in ("mean", "none"):
        add(
            "cross_entropy",
            {"label_smoothing": 0.2, "weight": weight, "reduction": reduction},
            x,
            some,
        )
        add(
            "cross_entropy",
            {"label_smoothing": 0.2, "weight": weight, "reduction": reduction},
            x,
            soft,
        )
    add("cross_entropy", {"label_smoothing": 0.1}, images, dense)
    add("cross_entropy", {}, x[0], labels[0])
    add("nll_loss", {"weight": weight}, torch.log_softmax(x, 1), some)
    add("binary_cross_entropy", {}, p, b)
    add("binary_cross_entropy", {"weight": p}, p, b)
    add("binary_cross_entropy_with_logits", {}, z, b)
    add("binary_cross_entropy_with_logits", {"pos_weight": torch.tensor(3.0)}, z, b)
    return found


def trajectories() -> dict[str, Any]:
    """25 steps of each optimizer on a quartic bowl."""
    cases = [
        ("SGD", {"lr": 0.01}),
        ("SGD", {"lr": 0.01, "momentum": 0.9}),
        ("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
        ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
        ("SGD", {"lr": 0.001, "maximize": True}),
        ("Adam", {"lr": 0.1}),
        ("Adam", {"lr": 0.1, "weight_decay": 0.1, "betas": [0.8, 0.9], "eps": 1e-3}),
        ("AdamW", {"lr": 0.1}),
        ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
    ]
    found = {}
    for name, settings in cases:
        w = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
        optimizer = getattr(torch.optim, name)([w], **settings)
        path = []
        for _ in range(25):
            optimizer.zero_grad()
            ((w - 3.0) ** 2).sum().add((w**4).sum() * 0.01).backward()
            optimizer.step()
            path.append(w.detach().tolist())
        found[f"{name} {json.dumps(settings)}"] = {
            "name": name,
            "settings": settings,
            "path": [path[0], path[1], path[-1]],
        }
    return found


if __name__ == "__main__":
    data = {"losses": losses(), "trajectories": trajectories()}
    path = Path(__file__).parent.parent / "data" / "slice.json"
    path.write_text(json.dumps(data, indent=1) + "\n")
    print(f"{path}: {len(data['losses'])} losses, {len(data['trajectories'])} trajectories")
