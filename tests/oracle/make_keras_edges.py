"""What Keras's losses give at the edges, in float64 on PyTorch: tests/data/keras_edges.json.

    python tests/oracle/make_keras_edges.py

Probabilities of 0 and 1 and outside, ignored labels, weights of samples, classes along another
axis. Where Keras's gradient is NaN none is stored.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch

keras.config.set_floatx("float64")
torch.set_default_dtype(torch.float64)
# Its means would be of float32 even so.
promoted = keras.src.backend.common.dtypes.result_type
keras.src.backend.common.dtypes.result_type = lambda *given: (
    "float64" if any("float64" in str(dtype) for dtype in given) else promoted(*given)
)

UNIT = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]]
ROWS = [[0.1, 0.8, 0.1], [0.3, 0.2, 0.5], [2.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
SPARSE = "SparseCategoricalCrossentropy"
HARD = [[0.0, 1.0, 0.0, 1.0]], [[1.0, 1.0, 0.0, 0.0]]
MAPS = [[[0.2, 0.9], [0.5, 0.4], [0.3, 0.1]], [[0.6, 0.3], [0.1, 0.2], [0.1, 0.7]]]
ONE_HOT_MAPS = [[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]]
#: class, settings, input, target, weights
CASES: list[tuple[str, dict[str, Any], Any, Any, Any]] = [
    ("BinaryCrossentropy", {}, *HARD, None),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, *HARD, None),
    ("BinaryCrossentropy", {}, [[-0.5, 1.5]], [[1.0, 1.0]], None),
    ("BinaryCrossentropy", {}, [[0.2, 0.7], [0.6, 0.1]], [[0, 1], [1, 0]], [2.0, 0.5]),
    ("BinaryCrossentropy", {"from_logits": True}, [[1e4, -1e4]], [[0.0, 0.0]], None),
    ("BinaryFocalCrossentropy", {}, *HARD, None),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 3.0}, *HARD, None),
    ("CategoricalCrossentropy", {}, ROWS, [[0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0]], None),
    ("CategoricalCrossentropy", {"reduction": "sum"}, ROWS[:1], [[0, 1, 0]], [3.0]),
    ("CategoricalCrossentropy", {"axis": 1}, MAPS, ONE_HOT_MAPS, None),
    ("CategoricalFocalCrossentropy", {}, ROWS, [[0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0]], None),
    (SPARSE, {}, ROWS, [1, 2, 0, 0], None),
    (SPARSE, {}, ROWS, [[1], [2], [0], [0]], None),
    (SPARSE, {"ignore_class": -1}, ROWS, [1, -1, 0, -1], None),
    (SPARSE, {"ignore_class": 255}, ROWS, [1, 255, 0, 1], [1.0, 7.0, 2.0, 0.5]),
    (SPARSE, {"ignore_class": 0, "from_logits": True}, ROWS, [1, 0, 0, 2], None),
    (SPARSE, {"ignore_class": -1}, ROWS[:2], [-1, -1], None),
    (SPARSE, {"ignore_class": 2, "reduction": "none"}, ROWS, [1, 2, 0, 1], None),
    ("KLDivergence", {}, [[0.0, 1.0], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]], None),
    ("Poisson", {}, [[0.0, 2.0]], [[3.0, 0.0]], None),
    ("CosineSimilarity", {}, [[0.0, 0.0], [3.0, 4.0]], [[1.0, 2.0], [0.0, 2.0]], [1.0, 2.0]),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.7}, ROWS[:2], [0, 2], [2.0, 1.0]),
    ("Circle", {}, UNIT, [0, 0, 1, 2], None),
    ("Circle", {"gamma": 2.0, "remove_diagonal": False}, UNIT, [0, 0, 1, 2], None),
    ("Circle", {"gamma": 2.0}, UNIT, [0, 1, 2, 3], None),
    ("Circle", {"gamma": 2.0, "reduction": "none"}, UNIT, [[0], [1], [1], [0]], None),
]


def case(name: str, settings: dict[str, Any], input: Any, target: Any, weight: Any) -> Any:
    x = torch.tensor(input, dtype=torch.float64, requires_grad=True)
    loss = getattr(keras.losses, name)(**settings)
    labels = torch.tensor(target)
    value = loss(labels, x, sample_weight=None if weight is None else torch.tensor(weight))
    (gradient,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
    usable = gradient is not None and bool(gradient.isfinite().all())
    return {
        "class": name,
        "settings": settings,
        "input": input,
        "target": target,
        "weight": weight,
        "value": value.tolist(),
        "gradient": gradient.tolist() if usable else None,
    }


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "data" / "keras_edges.json"
    cases = [case(*given) for given in CASES]
    path.write_text(json.dumps(cases) + "\n")
    print(f"{path.name}: {len(cases)} cases")
