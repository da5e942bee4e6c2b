"""Reference numbers for penalties on parameters: Keras's regularizers and scikit-learn's
ElasticNet (float64).

    python tests/oracle/make_penalties.py        # tests/data/penalties.json

Needs keras (with torch) and scikit-learn.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from sklearn.linear_model import ElasticNet


def main() -> None:
    keras.config.set_floatx("float64")
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 4))
    x = rng.normal(size=(30, 6))
    y = x @ [2.0, -1.0, 0.5, 0.0, 0.0, 0.0] + 0.3 * rng.normal(size=30)
    settings = {"alpha": 0.2, "l1_ratio": 0.6}
    model = ElasticNet(**settings, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(x, y)
    found = {
        "parameters": w.tolist(),
        "weight": 0.3,
        "l1": float(keras.regularizers.L1(0.3)(w)),
        "l2": float(keras.regularizers.L2(0.3)(w)),
        "l1 default": float(keras.regularizers.L1()(w)),
        "l2 default": float(keras.regularizers.L2()(w)),
        "elastic net": {**settings, "x": x.tolist(), "y": y.tolist(), "w": model.coef_.tolist()},
    }
    path = Path(__file__).parent.parent / "data" / "penalties.json"
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
