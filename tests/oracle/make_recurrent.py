"""Reference numbers for recurrent networks, made with torch: tests/data/recurrent.json.

    python tests/oracle/make_recurrent.py

Settings are drawn at random: layers on one sequence, a batch or packed sequences, and cells, with
and without initial states. Each with its repr, state_dict, outputs and last states, the gradients
of the sum of their cubes by input, states and parameters, and for some the gradients of the sum
of squares of these. float64.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import rnn

torch.set_default_dtype(torch.float64)
draw = random.Random(11)
torch.manual_seed(11)


def numbers(*shape: int) -> torch.Tensor:
    return ((torch.randn(*shape) * 100).round() / 100).requires_grad_()


def shortened(x: torch.Tensor) -> Any:
    """The numbers with twelve digits."""
    if x.dim():
        return [shortened(row) for row in x]
    return float(f"{x.item():.12g}")


def rounded(module: torch.nn.Module) -> None:
    """Parameters of three digits, so that the file stays small."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_((p * 1000).round() / 1000)


def flat(found: Any) -> list[torch.Tensor]:
    return [found] if torch.is_tensor(found) else [y for part in found for y in flat(part)]


def case(module: torch.nn.Module, kind: str, settings: dict[str, Any], order: int) -> Any:
    """A module with random input."""
    torch.manual_seed(draw.randrange(10**6))
    rounded(module)
    is_cell, is_pair = kind.endswith("Cell"), kind.startswith("LSTM")
    size, length, batch = settings["hidden_size"], draw.randint(2, 4), draw.randint(1, 3)
    form = draw.choice(["one", "batch"] if is_cell else ["one", "batch", "packed", "packed"])
    rows = [] if form == "one" else [batch]
    shape = [*rows, 2]
    if not is_cell:
        first = settings.get("batch_first", False) and form != "one"
        shape = [batch, length, 2] if first else [length, *rows, 2]
        rows = [settings.get("num_layers", 1) * (1 + settings.get("bidirectional", False)), *rows]
    x, states = numbers(*shape), []
    if draw.random() < 0.6:
        states.append(numbers(*rows, settings.get("proj_size") or size))
        if is_pair:
            states.append(numbers(*rows, size))
    lengths = None
    input: Any = x
    if form == "packed":
        lengths = [draw.randint(1, length) for _ in range(batch)]
        input = rnn.pack_padded_sequence(
            x, torch.tensor(lengths), settings.get("batch_first", False), enforce_sorted=False
        )
    hx = [] if not states else [tuple(states)] if is_pair else [states[0]]
    found = module(input, *hx)
    if form == "packed":
        padded, _ = rnn.pad_packed_sequence(found[0], settings.get("batch_first", False))
        found = padded, found[1]
    outputs, leaves = flat(found), [x, *states, *module.parameters()]
    loss = sum((y**3).sum() for y in outputs)
    gradients = torch.autograd.grad(loss, leaves, create_graph=order > 1)
    second = []
    if order > 1:
        second = torch.autograd.grad(sum((g * g).sum() for g in gradients), leaves)
    return {
        "kind": kind,
        "settings": settings,
        "repr": repr(module),
        "state": {k: v.tolist() for k, v in module.state_dict().items()},
        "input": x.tolist(),
        "states": [s.tolist() for s in states],
        "lengths": lengths,
        "outputs": [shortened(y) for y in outputs],
        "gradients": [shortened(g) for g in gradients],
        "second": [shortened(g) for g in second],
    }


def layer_settings(kind: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"input_size": 2, "hidden_size": draw.randint(2, 3)}
    options = {
        "num_layers": draw.randint(1, 2),
        "bias": draw.random() < 0.8,
        "batch_first": draw.random() < 0.5,
        "bidirectional": draw.random() < 0.4,
    }
    usual = {"num_layers": 1, "bias": True, "batch_first": False, "bidirectional": False}
    settings |= {k: v for k, v in options.items() if v != usual[k]}
    if kind == "RNN" and draw.random() < 0.4:
        settings["nonlinearity"] = "relu"
    if kind == "LSTM" and draw.random() < 0.25:
        settings["proj_size"] = 1
    return settings


def main() -> None:
    found = []
    for kind in ("RNN", "LSTM", "GRU"):
        for i in range(9):
            settings = layer_settings(kind)
            module = getattr(torch.nn, kind)(**settings)
            found.append(case(module, kind, settings, 2 if i % 2 else 1))
        for _ in range(3):
            settings = {"input_size": 2, "hidden_size": draw.randint(2, 3)}
            if draw.random() < 0.4:
                settings["bias"] = False
            if kind == "RNN" and draw.random() < 0.5:
                settings["nonlinearity"] = "relu"
            module = getattr(torch.nn, f"{kind}Cell")(**settings)
            found.append(case(module, f"{kind}Cell", settings, 2))
    path = Path(__file__).parent.parent / "data" / "recurrent.json"
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(found)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
