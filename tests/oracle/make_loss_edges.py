"""Reference numbers for losses where their formulas are delicate: kinks, limits, extremes.

    python tests/oracle/make_loss_edges.py      # writes tests/data/loss_edges.json

Limits are computed in 140 digits (needs mpmath), Tweedie deviances by scikit-learn, what happens at
kinks and bounds by PyTorch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mpmath as mp
import torch
import torch.nn.functional as F
from sklearn.metrics import mean_tweedie_deviance

mp.mp.dps = 140
torch.set_default_dtype(torch.float64)

ALPHAS = [2 - 1e-15, 2 - 1e-8, 2 + 1e-8, 1.9, 1.51, 1.49, 1, 0.5, 1e-2, 1e-5, 1e-9, 0, -1e-9, -1e-3]
ALPHAS += [-0.5, -2, -10, -1e4, 2.49, 2.51, 4]
ERRORS = [0.0, 1e-8, 1e-3, 0.1, 0.5, -2.0, 5.0, 30.0, 1e4]


def robust(x: Any, alpha: Any, scale: Any) -> Any:
    z = (x / scale) ** 2
    if alpha == 2:
        return z / 2
    if alpha == 0:
        return mp.log(z / 2 + 1)
    b = abs(alpha - 2)
    return b / alpha * ((z / b + 1) ** (alpha / 2) - 1)


def derivative(f: Any, at: Any, order: int = 1) -> float:
    """A central difference in many digits."""
    h = mp.mpf(10) ** -26 * max(1, abs(at))
    if order == 1:
        return float((f(at + h) - f(at - h)) / (2 * h))
    return float((f(at + h) - 2 * f(at) + f(at - h)) / h**2)


def robust_cases() -> list[dict[str, float]]:
    cases = []
    for alpha in ALPHAS:
        for error in ERRORS:
            x, a, c = mp.mpf(error), mp.mpf(float(alpha)), mp.mpf(0.7)
            cases.append(
                {
                    "error": error,
                    "alpha": float(alpha),
                    "scale": 0.7,
                    "value": float(robust(x, a, c)),
                    "by error": derivative(lambda v, a=a, c=c: robust(v, a, c), x),
                    "by alpha": derivative(lambda v, x=x, c=c: robust(x, v, c), a),
                    "by scale": derivative(lambda v, x=x, a=a: robust(x, a, v), c),
                    "second by error": derivative(lambda v, a=a, c=c: robust(v, a, c), x, 2),
                    "second by alpha": derivative(lambda v, x=x, c=c: robust(x, v, c), a, 2),
                }
            )
    return cases


def tweedie_cases() -> list[dict[str, Any]]:
    target, mean = [0.5, 3.0, 1.2, 7.0], [0.7, 2.0, 1.2, 0.1]
    return [
        {
            "input": mean,
            "target": target if power == 2 else [0.0, *target[1:]],
            "power": power,
            "mean": float(
                mean_tweedie_deviance(
                    target if power == 2 else [0.0, *target[1:]], mean, power=power
                )
            ),
        }
        for power in (0, 1, 1.01, 1.3, 1.5, 1.99, 2)
    ]


#: (function, operands, settings)
AT_KINKS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("smooth_l1_loss", [[0.5, -0.5, 0.0, 0.6, 1e300], [0.0] * 5], {"beta": 0.5}),
    ("smooth_l1_loss", [[0.5, -0.5, 0.0], [0.0] * 3], {"beta": 0.0}),
    ("huber_loss", [[0.5, -0.5, 0.0, -1e300], [0.0] * 4], {"delta": 0.5}),
    ("margin_ranking_loss", [[1.0, 1.0, 2.0], [1.0, 1.0, 1.0], [1.0, -1.0, 1.0]], {}),
    ("margin_ranking_loss", [[1.5, 0.5], [1.0, 1.0], [1.0, -1.0]], {"margin": 0.5}),
    ("hinge_embedding_loss", [[1.0, 0.0, 2.0, 1.0], [-1.0, -1.0, -1.0, 1.0]], {}),
    ("multi_margin_loss", [[[1.0, 2.0, 0.5], [3.0, 2.0, 1.0]], [1, 0]], {}),
    ("multi_margin_loss", [[1.0, 2.0, 0.5], 0], {"p": 2, "margin": -0.5}),
    (
        "multilabel_margin_loss",
        [[[0.1, 1.1, 0.4, 0.8]] * 3, [[3, 0, -1, 1], [1, 1, 2, -1], [-1] * 4]],
        {},
    ),
    ("multilabel_margin_loss", [[0.1, 1.1, 0.4], [0, 1, 2]], {}),
    ("soft_margin_loss", [[30.0, -30.0, 0.0], [1.0, 1.0, -1.0]], {}),
    ("multilabel_soft_margin_loss", [[[1e4, -1e4], [1e4, -1e4]], [[1.0, 0.0], [0.0, 1.0]]], {}),
    (
        "cosine_embedding_loss",
        [
            [[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]],
            [[1.0, 2.0], [0.0, 3.0], [1.0, 2.0]],
            [1.0, -1.0, 1.0],
        ],
        {},
    ),
    (
        "cosine_embedding_loss",
        [[[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [0.0, 0.0]], [-1.0, 1.0]],
        {},
    ),
    ("cosine_embedding_loss", [[3.0, 4.0], [4.0, 3.0], -1.0], {"margin": 0.5}),
    ("gaussian_nll_loss", [[1.0, 2.0, 3.0], [1.5, 2.0, 1.0], [0.0, 1e-9, 0.5]], {}),
    ("gaussian_nll_loss", [[1.0, 2.0, 3.0], [1.5, 2.0, 1.0], [0.05, 0.1, 0.5]], {"eps": 0.1}),
    ("gaussian_nll_loss", [[[1.0, 2.0], [3.0, 4.0]], [[1.5, 2.0], [1.0, 0.0]], [0.5, 2.0]], {}),
    ("gaussian_nll_loss", [[[1.0, 2.0], [3.0, 4.0]], [[1.5, 2.0], [1.0, 0.0]], [[0.5, 2.0]]], {}),
    ("poisson_nll_loss", [[0.5] * 4, [0.0, 1.0, 1.5, 20.0]], {"full": True}),
    ("poisson_nll_loss", [[0.0, 0.5, 2.0], [0.0, 0.0, 3.0]], {"log_input": False}),
]


def kink_case(name: str, operands: list[Any], settings: dict[str, Any]) -> dict[str, Any]:
    tensors = [torch.tensor(x) for x in operands]
    labelled = "margin" in name or "embedding" in name  # the last operand is labels
    inputs = tensors[:-1] if labelled else tensors
    reals = [x.requires_grad_() for x in inputs]
    value = getattr(F, name)(*tensors, **settings, reduction="none")
    gradients = torch.autograd.grad(value.sum(), reals, allow_unused=True)
    return {
        "function": name,
        "operands": operands,
        "settings": settings,
        "value": value.tolist(),
        "gradients": [None if g is None else g.tolist() for g in gradients],
    }


def main() -> None:
    found = {
        "robust": robust_cases(),
        "tweedie": tweedie_cases(),
        "kinks": [kink_case(*case) for case in AT_KINKS],
    }
    path = Path(__file__).parent.parent / "data" / "loss_edges.json"
    path.write_text(json.dumps(found) + "\n")
    print(f"{path.name}: {[len(cases) for cases in found.values()]}")


if __name__ == "__main__":
    main()
