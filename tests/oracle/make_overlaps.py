"""Reference numbers for the Dice and Tversky losses, made with Keras: tests/data/overlaps.json.

    python tests/oracle/make_overlaps.py

With Keras's epsilon set to 0, so that its numbers are those of the formula; float64.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch

torch.manual_seed(25)
keras.config.set_floatx("float64")
keras.config.set_epsilon(0.0)

#: Sums over what, for images with the channels last.
AXES = {"all": None, "sample": (1, 2, 3), "class": (0, 1, 2), "both": (1, 2)}


def case(loss: Any, p: torch.Tensor, t: torch.Tensor) -> Any:
    p = p.clone().requires_grad_()
    value = loss(t, p)
    (gradient,) = torch.autograd.grad(value.sum(), p)
    return {"value": value.tolist(), "gradient": gradient.tolist()}


def main() -> None:
    p = torch.rand(3, 4, 2, 2, dtype=torch.float64)
    t = (torch.rand(3, 4, 2, 2) < 0.5).double()
    found: dict[str, Any] = {"input": p.tolist(), "target": t.tolist(), "dice": {}, "tversky": {}}
    for per, axis in AXES.items():
        found["dice"][per] = case(keras.losses.Dice(reduction="none", axis=axis), p, t)
        loss = keras.losses.Tversky(alpha=0.3, beta=0.8, reduction="none", axis=axis)
        found["tversky"][per] = case(loss, p, t)
    path = Path(__file__).parent.parent / "data" / "overlaps.json"
    path.write_text(json.dumps(found) + "\n")
    print(path.name)


if __name__ == "__main__":
    main()
