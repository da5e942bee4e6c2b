"""Reference numbers for the focal losses, made with mpmath in 60 digits.

    python tests/oracle/make_focal.py       # writes tests/data/focal.json

The formulas are written out as they are printed, with 1 - p_t as a sum of what is not true, and
differentiated numerically.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mpmath import diff, exp, log1p, mp, mpf

mp.dps = 60


def binary(z: Any, t: Any, alpha: Any, gamma: Any) -> Any:
    """α_t (1 - p_t)^γ BCE of a logit."""
    p, q = 1 / (1 + exp(-z)), 1 / (1 + exp(z))
    entropy = t * log1p(exp(-z)) + (1 - t) * log1p(exp(z))
    return (alpha * t + (1 - alpha) * (1 - t)) * (t * q + (1 - t) * p) ** gamma * entropy


def softmax(logits: list[Any], label: int, gamma: Any) -> Any:
    """-(1 - p_t)^γ log p_t of logits."""
    others = sum(exp(z - logits[label]) for i, z in enumerate(logits) if i != label)
    return (others / (1 + others)) ** gamma * log1p(others)


def slope(function: Any, values: list[Any], at: int, order: int = 1) -> float:
    def moved(v: Any) -> Any:
        return function(*values[:at], v, *values[at + 1 :])

    return float(diff(moved, values[at], order))


def main() -> None:
    cases = []
    for z in (-10000, -700, -50, -3, 0, 0.5, 20, 50, 200, 700, 10000):
        for t in (0, 1, 0.3):
            for gamma in (0, 0.5, 2):
                values = [mpf(z), mpf(t), mpf("0.25"), mpf(gamma)]
                cases.append(
                    {
                        "z": float(z),
                        "t": float(t),
                        "alpha": 0.25,
                        "gamma": float(gamma),
                        "value": float(binary(*values)),
                        "by_z": slope(binary, values, 0),
                        "by_alpha": slope(binary, values, 2),
                        "by_gamma": slope(binary, values, 3),
                        "second": slope(binary, values, 0, 2),
                    }
                )
    rows = []
    for logits in ([0.5, -1.0, 2.0], [50.0, 0.0, -50.0], [10000.0, 0.0, -10000.0], [3.0, 3.0, 3.0]):
        for label in range(3):
            for gamma in (0, 0.5, 2):

                def loss(*values: Any, label: int = label) -> Any:
                    return softmax(list(values[:-1]), label, values[-1])

                values = [*map(mpf, logits), mpf(gamma)]
                rows.append(
                    {
                        "logits": logits,
                        "label": label,
                        "gamma": float(gamma),
                        "value": float(loss(*values)),
                        "gradient": [slope(loss, values, i) for i in range(3)],
                        "by_gamma": slope(loss, values, 3),
                        "second": [slope(loss, values, i, 2) for i in range(3)],
                    }
                )
    path = Path(__file__).parent.parent / "data" / "focal.json"
    path.write_text(json.dumps({"binary": cases, "softmax": rows}) + "\n")
    print(f"{path.name}: {len(cases)} and {len(rows)} cases")


if __name__ == "__main__":
    main()
