"""Sequences of torch's schedulers, and gradients clipped by torch and Keras (float64).

KERAS_BACKEND=torch python tests/oracle/make_schedules.py      # writes tests/data/schedules.json
"""

from __future__ import annotations

import json
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
import test_clipping as clipping
import test_lr_scheduler as problem

torch.set_default_dtype(torch.float64)
keras.config.set_floatx("float64")


def sequences() -> dict[str, Any]:
    return {key: problem.sequence(torch.optim, torch.ones, key) for key in problem.CASES}


def plateaus() -> dict[str, Any]:
    return {
        key: problem.plateau(torch.optim, torch.ones, settings)
        for key, settings in problem.PLATEAUS.items()
    }


def plateaus_of_keras() -> dict[str, Any]:
    found = {}
    for key, settings in problem.KERAS.items():
        callback = keras.callbacks.ReduceLROnPlateau(mode="min", **settings)
        model = types.SimpleNamespace(
            optimizer=types.SimpleNamespace(learning_rate=torch.tensor(0.1))
        )
        callback.set_model(model)
        callback.on_train_begin()
        found[key] = []
        for epoch, metric in enumerate(problem.METRICS):
            callback.on_epoch_end(epoch, {"val_loss": metric})
            found[key].append(float(model.optimizer.learning_rate))
    return found


def clipped() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for p in clipping.ORDERS:
        for max_norm in clipping.THRESHOLDS:
            params = [torch.zeros(g.shape) for g in clipping.GRADS]
            for w, g in zip(params, clipping.GRADS):
                w.grad = torch.tensor(g)
            norm = torch.nn.utils.clip_grad_norm_(params, max_norm, p)
            found[f"{p} {max_norm}"] = [norm.item(), [w.grad.tolist() for w in params]]
    for how in ("clipnorm", "clipvalue", "global_clipnorm"):
        for limit in clipping.THRESHOLDS:
            optimizer = keras.optimizers.SGD(**{how: limit})
            grads = optimizer._clip_gradients([torch.tensor(g) for g in clipping.GRADS])
            found[f"{how} {limit}"] = [g.tolist() for g in grads]
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    found = {
        "sequences": sequences(),
        "plateaus": plateaus(),
        "keras": plateaus_of_keras(),
        "clipping": clipped(),
    }
    path = Path(__file__).parent.parent / "data" / "schedules.json"
    path.write_text(json.dumps(found) + "\n")
    print(f"{path.name}: {sum(map(len, found.values()))} cases")


if __name__ == "__main__":
    main()
