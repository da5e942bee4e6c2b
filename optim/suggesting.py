"""Which optimizer, with which settings, and why: the usual table of choice as code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tapegrad.lookup import first_name

from .naming import get
from .optimizer import Optimizer

__all__ = ["Suggestion", "suggest"]


class Suggestion(NamedTuple):
    """An optimizer by name, settings of it, what else would do, and the reason.

    Calling it makes the optimizer: ``suggestion(params)``; more settings may be given.

    >>> import tapegrad as tg
    >>> suggestion = tg.optim.suggest("rnn")
    >>> suggestion.optimizer, suggestion.alternatives
    ('Adam', ('RMSprop',))
    >>> suggestion([tg.ones(2, requires_grad=True)], lr=1e-4).param_groups[0]["lr"]
    0.0001
    """

    optimizer: str
    settings: dict[str, Any]
    alternatives: tuple[str, ...]
    reason: str

    def __call__(self, params: Any = None, **settings: Any) -> Optimizer:
        """The optimizer, over parameters."""
        return get(self.optimizer, params, **{**self.settings, **settings})


class _Choice(NamedTuple):
    """One line of the table."""

    optimizer: str
    alternatives: tuple[str, ...]
    reason: str
    settings: Mapping[str, Any]


_ADAM = {"lr": 1e-3}
_ADAMW = {"lr": 1e-3, "weight_decay": 0.01}
_MOMENTUM = {"lr": 0.01, "momentum": 0.9}

_CHOICES: dict[str, _Choice] = {
    "general": _Choice(
        "Adam",
        (),
        "Each weight has a step of its own size, by the mean and the square of its gradients, so "
        "that the default rate of 0.001 mostly works without tuning.",
        _ADAM,
    ),
    "beginning": _Choice(
        "Adam",
        (),
        "The first to try: it needs the least tuning. Begin with its default rate of 0.001, and "
        "lower it when the loss jumps.",
        _ADAM,
    ),
    "fast convergence": _Choice(
        "Adam",
        ("AdamW",),
        "Momentum and steps scaled weight by weight make progress early, also where the scales of "
        "gradients differ widely.",
        _ADAM,
    ),
    "generalization": _Choice(
        "SGD",
        ("AdamW",),
        "With momentum and a falling rate it often does better on new data than Adam. The rate "
        "wants tuning. AdamW keeps weight decay apart from the scaling of "
        "steps, which Adam's L2 penalty does not.",
        _MOMENTUM,
    ),
    "rnn": _Choice(
        "Adam",
        ("RMSprop",),
        "The scale of gradients changes along a sequence; both divide by the root of its moving "
        "mean square. Gradients can explode: add global_clipnorm=1.0 (clipnorm clips each "
        "parameter by itself).",
        _ADAM,
    ),
    "transformer": _Choice(
        "AdamW",
        (),
        "Gradients of attention, norms and embeddings differ in scale, and weight decay is to act "
        "on all weights alike. Raise the rate over the first steps: "
        "lr=schedules.warmup(schedules.cosine_decay(peak, steps), warmup_steps).",
        _ADAMW,
    ),
    "large data": _Choice(
        "SGD",
        (),
        "One velocity is all that it keeps, where Adam keeps two averages, and over many steps "
        "its gradients' noise averages out. Let the rate fall, step by step or along a cosine.",
        _MOMENTUM,
    ),
    "sparse": _Choice(
        "Adagrad",
        ("Adam",),
        "A feature that is rarely seen has a small sum of squares, so its weights move far when it "
        "is. The rate of all falls as sums grow.",
        {"lr": 0.01},
    ),
}

#: Other words for the situations.
_ALIASES = {
    "default": "general",
    "usual": "general",
    "anything": "general",
    "start": "beginning",
    "first try": "beginning",
    "beginner": "beginning",
    "getting started": "beginning",
    "speed": "fast convergence",
    "fast": "fast convergence",
    "convergence": "fast convergence",
    "generalisation": "generalization",
    "best accuracy": "generalization",
    "overfitting": "generalization",
    "recurrent": "rnn",
    "lstm": "rnn",
    "gru": "rnn",
    "sequence": "rnn",
    "attention": "transformer",
    "transformers": "transformer",
    "language model": "transformer",
    "large dataset": "large data",
    "large scale": "large data",
    "big data": "large data",
    "sparse features": "sparse",
    "sparse gradients": "sparse",
    "rare features": "sparse",
}


def suggest(situation: str = "general") -> Suggestion:
    """An optimizer for a situation, settings to begin with, what else would do, and why.

    ``situation``: "general", "beginning", "fast convergence", "generalization", "rnn",
    "transformer", "large data" or "sparse"; usual other words are understood. The rates are those
    to begin with, 0.001 for Adam and 0.01 for SGD (whose default in PyTorch is 0.001).

    Raises ValueError for an unknown situation, with the nearest known ones.

    >>> import tapegrad as tg
    >>> suggestion = tg.optim.suggest("generalization")
    >>> suggestion.optimizer, suggestion.settings, suggestion.alternatives
    ('SGD', {'lr': 0.01, 'momentum': 0.9}, ('AdamW',))
    >>> suggestion.reason.split(".")[0]
    'With momentum and a falling rate it often does better on new data than Adam'
    >>> optimizer = suggestion([tg.ones(2, requires_grad=True)])
    """
    choice = _CHOICES[first_name("situation", situation, _CHOICES, _ALIASES)]
    return Suggestion(choice.optimizer, dict(choice.settings), choice.alternatives, choice.reason)
