"""Which initialisation suits an activation, and why."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from tapegrad import Tensor

from ..module import Module

__all__ = ["Recommendation", "recommend"]


@dataclass(frozen=True)
class Recommendation:
    """An initialisation for the weights before an activation; calling it fills a weight.

    >>> import tapegrad as tg
    >>> found = tg.nn.init.recommend("selu")
    >>> found.rule, found.settings
    ('lecun_normal_', {})
    >>> found(tg.empty(4, 2)).shape
    (4, 2)
    """

    #: The name of the activation.
    activation: str
    #: The function of :mod:`tapegrad.nn.init`.
    rule: str
    #: Its settings.
    settings: dict[str, Any]
    #: The reason, with its source.
    why: str

    def __call__(self, tensor: Tensor, generator: Any = None) -> Tensor:
        """Fill a weight in place, and return it."""
        from tapegrad.nn import init

        return getattr(init, self.rule)(tensor, **self.settings, generator=generator)  # type: ignore[no-any-return]

    def __str__(self) -> str:
        shown = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"{self.activation}: nn.init.{self.rule}(weight{shown}), since {self.why}"


def recommend(activation: Any, param: Any = None) -> Recommendation:
    """The initialisation that suits the weights before an activation, and why.

    ``activation``: its name ("relu", "LeakyReLU", "swish"), a module or its class, or a function.
    ``param``: the negative slope of a leaky one (a module's own is known). Biases start at 0.

    He's for ReLU and its kin, Xavier's for sigmoid and tanh, LeCun's for SELU. No rule sets
    weights all to 0: units that start equal stay equal. ValueError for an unknown activation.

    >>> import tapegrad as tg
    >>> print(tg.nn.init.recommend("relu"))  # doctest: +NORMALIZE_WHITESPACE
    relu: nn.init.kaiming_normal_(weight, nonlinearity='relu'), since it cuts off what is below 0,
    and with that half of the mean square: a variance of 2/n_in makes up for it (He et al. 2015)
    >>> layer = tg.nn.Linear(4, 3)
    >>> tg.nn.init.recommend(tg.nn.LeakyReLU(0.2))(layer.weight).shape
    (3, 4)
    """
    from tapegrad.nn.activation_table import row_of

    row = row_of(activation)
    settings = dict(row.start.settings)
    if settings.get("nonlinearity") == "leaky_relu":
        settings["a"] = _slope(row.call or row.function, activation) if param is None else param
    return Recommendation(row.name, row.start.rule, settings, row.start.why)


def _slope(function: Any, activation: Any) -> Any:
    """The negative slope: of a module its own, else the default; of a random one its mean."""

    def setting(name: str, default: Any) -> Any:
        return getattr(activation, name, default) if isinstance(activation, Module) else default

    defaults = {n: p.default for n, p in inspect.signature(function).parameters.items()}
    if "lower" in defaults:
        return (setting("lower", defaults["lower"]) + setting("upper", defaults["upper"])) / 2.0
    name = "init" if "init" in defaults else "negative_slope"
    return setting(name, defaults[name])
