"""Reference numbers for sequence cross-entropy, made with PyTorch (float64):
tests/data/sequences.json.

    python tests/oracle/make_sequences.py

torch.nn.functional.cross_entropy of logits (N, C, T), with the padding as ignore_index: values,
gradients and second derivatives; exp of it is the perplexity; shifted it is the language model's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

torch.manual_seed(21)
torch.set_default_dtype(torch.float64)

TOKENS = [[1, 2, 0, 3], [3, 3, -100, -100], [0, 2, 1, -100]]
WEIGHT = [0.5, 2.0, 1.0, 1.5]


def case(function: str, **settings: Any) -> dict[str, Any]:
    logits = (2.0 * torch.randn(3, 4, 4)).requires_grad_()
    target = torch.tensor(TOKENS)
    given = dict(settings)
    if "weight" in given:
        given["weight"] = torch.tensor(given["weight"])
    if function == "next_token_cross_entropy":
        value = F.cross_entropy(logits[:, :-1].transpose(1, 2), target[:, 1:], **given)
    else:
        value = F.cross_entropy(logits.transpose(1, 2), target, **given)
    if function == "perplexity":
        value = value.exp()
    (first,) = torch.autograd.grad(value.sum(), logits, create_graph=True)
    (second,) = torch.autograd.grad((first * first).sum(), logits)
    return {
        "function": function,
        "logits": logits.tolist(),
        "settings": settings,
        "value": value.tolist(),
        "gradient": first.tolist(),
        "second": second.tolist(),
    }


SETTINGS: list[dict[str, Any]] = [
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"label_smoothing": 0.1},
    {"weight": WEIGHT, "label_smoothing": 0.2},
]
CASES = {
    "target": TOKENS,
    "cases": [
        *(case("sequence_cross_entropy", **settings) for settings in SETTINGS),
        *(case("next_token_cross_entropy", **settings) for settings in SETTINGS),
        case("perplexity"),
    ],
}

path = Path(__file__).parent.parent / "data" / "sequences.json"
path.write_text(json.dumps(CASES) + "\n")
print(f"{path.name}: {len(CASES['cases'])} cases")
