"""Reference numbers for the losses of the table, made with PyTorch or Keras (float64).

    python tests/oracle/make_losses.py                  # every family
    python tests/oracle/make_losses.py regression       # one: tests/data/losses_regression.json

Operands and settings are drawn by the table's rows; values, gradients and second derivatives come
from torch.nn.functional's function of the same name, or from the class of Keras that the row names
(else that of the same name).
Needs torch, keras for rows with that peer, and tapegrad installed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import torch
import torch.nn.functional as F

from tapegrad import Tensor, losses
from tapegrad.losses.families import FAMILIES

torch.set_default_dtype(torch.float64)


def as_torch(value: Any) -> Any:
    return torch.tensor(np.array(value.detach().numpy())) if isinstance(value, Tensor) else value


def shown(value: Any) -> Any:
    return {"array": value.detach().tolist()} if isinstance(value, Tensor) else value


def peer_of(row: losses.Row) -> Any:
    """The peer's function of operands and settings."""
    if row.peer == "torch":
        return getattr(F, row.function.__name__)
    import keras

    keras.config.set_floatx("float64")
    # its means would be of float32 even so
    promoted = keras.src.backend.common.dtypes.result_type
    keras.src.backend.common.dtypes.result_type = lambda *given: (
        "float64" if any("float64" in str(dtype) for dtype in given) else promoted(*given)
    )

    def call(input: Any, target: Any, **settings: Any) -> Any:
        name = row.peer.removeprefix("keras").removeprefix(":") or row.form.__name__
        settings.setdefault("reduction", "sum_over_batch_size")
        return getattr(keras.losses, name)(**settings)(target, input)

    return call


def case(row: losses.Row, settings: dict[str, Any]) -> dict[str, Any]:
    settings = row.drawn_settings(settings)
    ours = row.linked(row.draw())
    operands = [as_torch(x) for x in ours]
    real = [kind.link is not None for kind in row.takes]
    reals = [x.requires_grad_() for x, is_real in zip(operands, real) if is_real]
    value = peer_of(row)(*operands, **{k: as_torch(v) for k, v in settings.items()})
    first = torch.autograd.grad(value.sum(), reals, create_graph=True, allow_unused=True)
    found = {
        "operands": [(x.detach().tolist(), str(x.numpy().dtype)) for x in ours],
        "real": real,
        "settings": {k: shown(v) for k, v in settings.items()},
        "value": value.tolist(),
        "gradients": [
            torch.zeros_like(x).tolist() if g is None else g.tolist() for g, x in zip(first, reals)
        ],
    }
    try:
        squares = sum((g * g).sum() for g in first if g is not None)
        second = (
            torch.autograd.grad(squares, reals, allow_unused=True)
            if getattr(squares, "requires_grad", False)
            else [None] * len(reals)
        )
        found["second"] = [
            torch.zeros_like(x).tolist() if g is None else g.tolist() for g, x in zip(second, reals)
        ]
    except RuntimeError as error:  # torch has no second derivative of a few losses
        print(f"{row.name}: {str(error).splitlines()[0]}")
    return found


def main() -> None:
    for family in FAMILIES:
        module = family.__name__.rpartition(".")[2]
        rows = [row for row in family.ROWS if row.peer]
        if not rows or (sys.argv[1:] and module not in sys.argv[1:]):
            continue
        cases = {
            f"{row.name} {i}": case(row, settings)
            for row in rows
            for i, settings in enumerate(row.tried())
        }
        path = Path(__file__).parent.parent / "data" / f"losses_{module}.json"
        path.write_text(json.dumps(cases) + "\n")
        print(f"{path.name}: {len(cases)} cases")


if __name__ == "__main__":
    main()
