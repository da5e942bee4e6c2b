"""Trajectories of torch.optim.LBFGS (float64).

python tests/oracle/make_lbfgs.py      # writes tests/data/lbfgs.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import test_optim_wrappers as problem

STEPS = 3


def path_of(settings: dict[str, Any]) -> list[dict[str, Any]]:
    params = [
        torch.tensor(np.array(w.detach().numpy()), requires_grad=True)
        for w in problem.valley_start()
    ]
    optimizer = torch.optim.LBFGS(params, **settings)
    found = []
    for _ in range(STEPS):
        loss = optimizer.step(problem.valley_closure(optimizer, params)).item()
        state = optimizer.state[params[0]]
        found.append(
            {
                "loss": loss,
                "counts": [state["func_evals"], state["n_iter"]],
                "params": [p.tolist() for p in params],
            }
        )
    return found


def main() -> None:
    cases = {name: path_of(settings) for name, settings in problem.SEARCHES.items()}
    path = Path(__file__).parent.parent / "data" / "lbfgs.json"
    path.write_text(json.dumps(cases) + "\n")
    print(f"{path.name}: {len(cases)} cases")


if __name__ == "__main__":
    main()
