"""Layers of dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tapegrad import Tensor

from . import functional
from .dropping import probability
from .module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "FeatureAlphaDropout"]


class _Dropout(Module):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: Any = 0.5, inplace: bool = False, *, generator: Any = None) -> None:
        super().__init__()
        probability(p, type(self).__name__)
        self.p, self.inplace, self.generator = p, inplace, generator

    def forward(self, input: Tensor) -> Tensor:
        """The input with a part of it dropped while training; in ``eval()`` the input itself."""
        return type(self).function(
            input, self.p, self.training, self.inplace, generator=self.generator
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """While training every element becomes 0 with probability ``p``, others are divided by 1 - p.

    In ``eval()`` the input passes unchanged. ``inplace``: the input is changed. ``generator``: a
    ``tg.Generator`` to draw from; without one the default generator (``tg.manual_seed``).

    Raises ValueError unless p is in [0, 1].

    >>> import tapegrad as tg
    >>> layer = tg.nn.Dropout(0.25)
    >>> sorted(set(layer(tg.ones(1000)).tolist()))
    [0.0, 1.3333333730697632]
    >>> layer.eval()(tg.ones(2))
    tensor([1., 1.])

    Source: Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from
    overfitting.
    """

    function = functional.dropout


class Dropout1d(_Dropout):
    """While training whole channels of (N, C, L) or (C, L) become 0; see :class:`Dropout`.

    >>> import tapegrad as tg
    >>> y = tg.nn.Dropout1d()(tg.ones(2, 3, 4))
    >>> bool((y == y[:, :, :1]).all())
    True

    Source: Tompson et al. (2015), Efficient object localization using convolutional networks.
    """

    function = functional.dropout1d


class Dropout2d(_Dropout):
    """While training whole channels of (N, C, H, W) become 0; see :class:`Dropout`.

    >>> import tapegrad as tg
    >>> y = tg.nn.Dropout2d()(tg.ones(2, 3, 4, 4))
    >>> bool((y == y[:, :, :1, :1]).all())
    True

    Source: Tompson et al. (2015), Efficient object localization using convolutional networks.
    """

    function = functional.dropout2d


class AlphaDropout(_Dropout):
    """Dropout beside SELU, which keeps mean 0 and variance 1; see :class:`Dropout`.

    >>> import tapegrad as tg
    >>> len(set(tg.nn.AlphaDropout()(tg.zeros(1000)).tolist()))
    2

    Source: Klambauer et al. (2017), Self-normalizing neural networks.
    """

    function = functional.alpha_dropout


class FeatureAlphaDropout(_Dropout):
    """:class:`AlphaDropout` of whole channels of (N, C, *).

    >>> import tapegrad as tg
    >>> y = tg.nn.FeatureAlphaDropout()(tg.zeros(2, 3, 4))
    >>> bool((y == y[:, :, :1]).all())
    True

    Source: Klambauer et al. (2017), Self-normalizing neural networks.
    """

    function = functional.feature_alpha_dropout
