"""Trajectories of the optimizers of the table, made with PyTorch (float64).

Muon, which turns its matrices in bfloat16, is stored twice: turning in float64, and as it is.

python tests/oracle/make_trajectories.py      # writes tests/data/trajectories.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import test_optim_table as problem

from tapegrad.optim import OPTIMIZERS, Row

torch.set_default_dtype(torch.float64)
STEPS = (1, 2, 3, 10, 25)


def path_of(row: Row, settings: dict[str, Any]) -> dict[int, Any]:
    params = [
        torch.tensor(np.array(w.detach().numpy()), requires_grad=True) for w in problem.start(row)
    ]
    optimizer = getattr(torch.optim, row.form.__name__)(params, **settings)
    found = {}
    for step in range(1, max(STEPS) + 1):
        optimizer.zero_grad()
        problem.loss_of(params).backward()
        optimizer.step()
        if step in STEPS:
            found[step] = [p.tolist() for p in params]
    return found


def main() -> None:
    cases = {
        f"{row.name} {i}": path_of(row, settings)
        for row in OPTIMIZERS
        if row.peer == "torch"
        for i, settings in enumerate(row.tried())
    }
    for key in [key for key in cases if key.startswith("muon")]:
        cases[f"{key} bfloat16"] = cases[key]
    torch.Tensor.bfloat16 = torch.Tensor.clone  # type: ignore[method-assign]
    for row in OPTIMIZERS:
        if row.name == "muon":
            for i, settings in enumerate(row.tried()):
                cases[f"muon {i}"] = path_of(row, settings)
    path = Path(__file__).parent.parent / "data" / "trajectories.json"
    path.write_text(json.dumps(cases) + "\n")
    print(f"{path.name}: {len(cases)} cases")


if __name__ == "__main__":
    main()
