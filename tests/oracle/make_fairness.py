"""Reference numbers for the fairness penalties, made with Fairlearn: tests/data/fairness.json.

    python tests/oracle/make_fairness.py

Decisions (0 and 1) by the metrics of those names; probabilities by the mean prediction of groups.
Every group has positives and negatives: where one has not, Fairlearn counts its rate as 0, and the
penalties leave it out, so the two differ there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from fairlearn import metrics


def members(rng: np.random.Generator, groups: int, size: int) -> tuple[Any, Any]:
    """Groups and outcomes by chance, but for the first samples, which are one of each kind."""
    group, y = rng.integers(0, groups, size), rng.integers(0, 2, size)
    first = np.arange(2 * groups)
    group[first], y[first] = first // 2, first % 2
    return group, y


def of_decisions(rng: np.random.Generator, groups: int, weighted: bool) -> dict[str, Any]:
    """Fairlearn's metrics, which count decisions."""
    size = 40
    group, y = members(rng, groups, size)
    decided = (rng.random(size) < 0.25 + 0.4 * y + 0.1 * group) * 1
    weight = rng.random(size) if weighted else None
    given = {"sensitive_features": group, "sample_weight": weight}
    found = {}
    for measure in ("difference", "ratio"):
        for name in ("demographic_parity", "equal_opportunity"):
            metric = getattr(metrics, f"{name}_{measure}")
            found[f"{name} {measure}"] = metric(y, decided, **given)
        for agg in ("worst_case", "mean"):
            metric = getattr(metrics, f"equalized_odds_{measure}")
            found[f"equalized_odds {measure} {agg}"] = metric(y, decided, agg=agg, **given)
    return {
        "input": decided.tolist(),
        "target": y.tolist(),
        "groups": group.tolist(),
        "weight": weight if weight is None else weight.tolist(),
        "found": {name: float(value) for name, value in found.items()},
    }


def of_probabilities(rng: np.random.Generator, groups: int, weighted: bool) -> dict[str, Any]:
    """Differences and ratios of mean predictions, of all and of the positive samples."""
    size = 30
    group, y = members(rng, groups, size)
    p, weight = rng.random(size), rng.random(size) if weighted else np.ones(size)
    found = {}
    for name, kept in (("demographic_parity", y >= 0), ("equal_opportunity", y == 1)):
        frame = metrics.MetricFrame(
            metrics=metrics.mean_prediction,
            y_true=y[kept],
            y_pred=p[kept],
            sensitive_features=group[kept],
            sample_params={"sample_weight": weight[kept]},
        )
        found[f"{name} difference"] = frame.difference(method="between_groups")
        found[f"{name} ratio"] = frame.ratio(method="between_groups")
    return {
        "input": p.tolist(),
        "target": y.tolist(),
        "groups": group.tolist(),
        "weight": weight.tolist() if weighted else None,
        "found": {name: float(value) for name, value in found.items()},
    }


def main() -> None:
    rng = np.random.default_rng(2016)
    cases = [
        make(rng, groups, weighted)
        for make in (of_decisions, of_probabilities)
        for groups in (2, 4)
        for weighted in (False, True)
    ]
    path = Path(__file__).parent.parent / "data" / "fairness.json"
    path.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
