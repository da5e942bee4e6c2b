"""Reference numbers for adversarial and variational losses, made with PyTorch and SciPy (float64).

    python tests/oracle/make_generative.py              # tests/data/generative.json

Needs torch and scipy.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance
from torch.distributions import Bernoulli, Normal, kl_divergence

torch.set_default_dtype(torch.float64)


def distances(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Wasserstein distances of samples of one and of two sizes, with weights and with ties."""
    cases = []
    for n, m, weighted in [(5, 5, ""), (7, 4, ""), (1, 6, ""), (6, 6, "ab"), (5, 8, "b")]:
        a, b = rng.normal(size=n), 0.5 + 2.0 * rng.normal(size=m)
        u = rng.random(n) if "a" in weighted else None
        v = rng.random(m) if "b" in weighted else None
        cases.append((a, b, u, v))
    cases.append((np.array([1.0, 1, 2, 2]), np.array([2.0, 1, 1, 3, 3, 3]), None, None))
    cases.append((np.array([0.0, 1, 3]), np.array([5.0, 6]), np.array([0.0, 2, 1]), None))
    return [
        {
            **{name: None if x is None else x.tolist() for name, x in zip("abuv", (a, b, u, v))},
            "distance": float(wasserstein_distance(a, b, u, v)),
        }
        for a, b, u, v in cases
    ]


def penalty(rng: np.random.Generator) -> dict[str, Any]:
    """A gradient penalty and its gradients by the critic's parameters and both batches."""
    shapes = {"w1": (6, 4), "b1": (4,), "w2": (4, 1), "real": (5, 2, 3), "fake": (5, 2, 3)}
    given = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    mixing = rng.random(5)
    t = {name: torch.tensor(x, requires_grad=True) for name, x in given.items()}
    share = torch.tensor(mixing).reshape(5, 1, 1)
    x = share * t["real"] + (1.0 - share) * t["fake"]
    scores = torch.tanh(x.reshape(5, 6) @ t["w1"] + t["b1"]) @ t["w2"]
    (slopes,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    value = 10.0 * ((slopes.reshape(5, -1).norm(dim=1) - 1.0) ** 2).mean()
    gradients = torch.autograd.grad(value, list(t.values()), create_graph=True, allow_unused=True)
    squares = sum((g * g).sum() for g in gradients if g is not None)
    second = torch.autograd.grad(squares, list(t.values()), allow_unused=True)
    return {
        "given": {name: x.tolist() for name, x in given.items()},
        "mixing": mixing.tolist(),
        "value": value.item(),
        "gradients": {name: g.tolist() for name, g in zip(t, gradients)},
        "second": {name: g.tolist() for name, g in zip(t, second)},
    }


def elbo(rng: np.random.Generator) -> dict[str, Any]:
    """The pieces of the ELBO by torch.distributions, for each sample."""
    z, x = 2.0 * rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    bits = (rng.random((4, 5)) < 0.5) * 1.0
    mean, log_var, other, other_log_var = rng.normal(size=(4, 4, 3))

    def normal(mean: np.ndarray, log_var: np.ndarray) -> Normal:
        return Normal(torch.tensor(mean), torch.tensor(np.exp(0.5 * log_var)))

    noise = np.full((4, 5), -0.7)
    found = {
        "kl": kl_divergence(normal(mean, log_var), normal(0.0 * mean, 0.0 * mean)),
        "kl_other": kl_divergence(normal(mean, log_var), normal(other, other_log_var)),
        "bernoulli": -Bernoulli(logits=torch.tensor(z)).log_prob(torch.tensor(bits)),
        "gaussian": -normal(z, noise).log_prob(torch.tensor(x)),
    }
    given = {"z": z, "x": x, "bits": bits, "mean": mean, "log_var": log_var}
    given |= {"other": other, "other_log_var": other_log_var}
    return {
        **{name: values.tolist() for name, values in given.items()},
        **{name: values.sum(dim=1).tolist() for name, values in found.items()},
    }


def gan(rng: np.random.Generator) -> dict[str, Any]:
    """The games on logits by torch's binary cross-entropy, and on scores."""
    real, fake = 3.0 * rng.normal(size=4), 3.0 * rng.normal(size=6)
    r, f = torch.tensor(real), torch.tensor(fake)
    bce = F.binary_cross_entropy_with_logits
    found = {
        "discriminator": bce(r, torch.ones(4)) + bce(f, torch.zeros(6)),
        "smoothed": bce(r, torch.full((4,), 0.9)) + bce(f, torch.zeros(6)),
        "minimax": -bce(f, torch.zeros(6)),
        "non_saturating": bce(f, torch.ones(6)),
        "hinge": F.relu(1.0 - r).mean() + F.relu(1.0 + f).mean(),
        "least_squares": 0.5 * F.mse_loss(r, torch.ones(4)) + 0.5 * F.mse_loss(f, torch.zeros(6)),
        "least_squares_generator": 0.5 * F.mse_loss(f, torch.ones(6)),
    }
    return {
        "real": real.tolist(),
        "fake": fake.tolist(),
        **{name: value.item() for name, value in found.items()},
    }


def main() -> None:
    rng = np.random.default_rng(2017)
    found = {"distances": distances(rng), "penalty": penalty(rng), "elbo": elbo(rng)}
    found["gan"] = gan(rng)
    path = Path(__file__).parent.parent / "data" / "generative.json"
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
