"""L1 and L2 penalties on the weights of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad import Tensor, check
from tapegrad.losses import l1_penalty, l2_penalty


class Penalties:
    """l1·Σ|w| + l2·Σw² over the parameters chosen; None where nothing is asked for."""

    def __init__(self, model: Any, l1: Any, l2: Any, chosen: Callable[..., Any] | None) -> None:
        for name, setting in (("l1", l1), ("l2", l2)):
            check(setting >= 0.0, f"compile: {name} must not be negative, got {{}}", setting)
        parts = [(l1_penalty, l1), (l2_penalty, l2)]
        self.parts = [(p, s) for p, s in parts if isinstance(s, Tensor) or s != 0.0]
        self.parameters = [
            p for name, p in model.named_parameters() if (chosen or is_weight)(name, p)
        ]
        if self.parts and not self.parameters:
            raise ValueError(
                "compile: l1 and l2 concern no parameter: by default those of two dimensions or "
                "more; regularize=lambda name, parameter: ... chooses others"
            )

    def __call__(self) -> Tensor | None:
        """The penalty at the parameters as they are."""
        if not self.parts:
            return None
        trained = [p for p in self.parameters if p.requires_grad]
        if not trained:
            return None
        terms = [penalty(trained, setting) for penalty, setting in self.parts]
        return sum(terms[1:], terms[0])


def is_weight(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is regularised by default: a matrix or kernel, not a bias or a scale.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.regularising import is_weight
    >>> [is_weight(name, p) for name, p in tg.nn.Linear(2, 1).named_parameters()]
    [True, False]
    """
    return parameter.ndim >= 2
