"""Keras's spellings of settings, in torch's words."""

from __future__ import annotations

import inspect
from typing import Any

#: Keras's word, and torch's (the first that the rule has).
WORDS = {
    "learning_rate": ("lr",),
    "epsilon": ("eps",),
    "rho": ("rho", "alpha"),
    "use_nesterov": ("nesterov",),
}
#: Keras's words for the parts of a tuple.
PARTS = {"beta_1": ("betas", 0), "beta_2": ("betas", 1)}


def in_torch_words(
    what: str,
    given: dict[str, Any],
    signature: inspect.Signature,
    defaults: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Settings with Keras's names replaced by torch's; both at once is an error."""
    known = signature.parameters
    found = {k: v for k, v in given.items() if k in known or k not in (*WORDS, *PARTS)}
    for word, value in given.items():
        if word in known:
            continue
        if word in PARTS:
            name, i = PARTS[word]
            if name in given:
                raise TypeError(f"{what}: give {word} or {name}, not both")
            if name in known:
                standard = (defaults or {}).get(name, known[name].default)
                parts = list(found.get(name, standard))
                parts[i] = value
                found[name] = tuple(parts)
                continue
            found[word] = value
        elif word in WORDS:
            name = next((n for n in WORDS[word] if n in known), word)
            if name != word and name in given:
                raise TypeError(f"{what}: give {word} or {name}, not both")
            found[name] = value
    return found
