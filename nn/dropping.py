"""Dropout as functions, by the names of torch.nn.functional.

Which elements are dropped is drawn with the default generator (``tg.manual_seed``), or the one
that is given, and constant in every derivative; so is the probability.
"""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, check, maximum, rand, stop_gradient
from tapegrad.errors import ShapeError

from .tensor_input import floating

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "feature_alpha_dropout"]

#: Where SELU ends far below 0, -scale·alpha: Klambauer et al. (2017).
_SATURATION = -1.7580993408473766


def dropout(
    input: Tensor,
    p: Any = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Every element set to 0 with probability ``p``, and divided by 1 - p otherwise.

    So the expectation stays. Without ``training`` the input itself. ``inplace``: the input is
    changed. ``generator``: a ``tg.Generator`` to draw from. With p = 1 all is 0.

    Raises ValueError unless p is in [0, 1].

    >>> import tapegrad as tg
    >>> y = tg.nn.functional.dropout(tg.ones(1000), 0.25)
    >>> sorted(set(y.tolist()))
    [0.0, 1.3333333730697632]

    Source: Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from
    overfitting.
    """
    p = probability(p, "dropout")
    if not training:
        return input
    return _scaled(floating(input, "dropout"), p, input.shape, inplace, generator)


def dropout1d(
    input: Tensor,
    p: Any = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Whole channels of (N, C, L) or (C, L) set to 0; otherwise as :func:`dropout`.

    >>> import tapegrad as tg
    >>> y = tg.nn.functional.dropout1d(tg.ones(2, 3, 4))
    >>> bool((y == y[:, :, :1]).all())
    True

    Source: Tompson et al. (2015), Efficient object localization using convolutional networks.
    """
    p = probability(p, "dropout1d")
    if not training:
        return input
    shape = floating(input, "dropout1d").shape
    if len(shape) not in (2, 3):
        raise ShapeError(f"dropout1d: input must be (N, C, L) or (C, L), but has shape {shape}")
    return _scaled(input, p, (*shape[:-1], 1), inplace, generator)


def dropout2d(
    input: Tensor,
    p: Any = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Whole channels of (N, C, H, W) set to 0; otherwise as :func:`dropout`.

    Three dimensions are taken for (N, C, L), as by torch; one image without a batch needs
    ``unsqueeze(0)``.

    >>> import tapegrad as tg
    >>> y = tg.nn.functional.dropout2d(tg.ones(2, 3, 4, 4))
    >>> bool((y == y[:, :, :1, :1]).all())
    True

    Source: Tompson et al. (2015), Efficient object localization using convolutional networks.
    """
    p = probability(p, "dropout2d")
    if not training:
        return input
    return _scaled(input, p, _of_channels(input, "dropout2d", (3, 4)), inplace, generator)


def alpha_dropout(
    input: Tensor,
    p: Any = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Dropout for SELU: with probability ``p`` an element becomes what SELU ends at, -1.758.

    Then all are scaled and shifted, so that mean 0 and variance 1 stay so. With p = 1 all is 0.
    Otherwise as :func:`dropout`.

    >>> import tapegrad as tg
    >>> y = tg.nn.functional.alpha_dropout(tg.zeros(1000), 0.5, training=True)
    >>> len(set(y.tolist()))
    2

    Source: Klambauer et al. (2017), Self-normalizing neural networks.
    """
    p = probability(p, "alpha_dropout")
    if not training:
        return input
    return _saturated(floating(input, "alpha_dropout"), p, input.shape, inplace, generator)


def feature_alpha_dropout(
    input: Tensor,
    p: Any = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """:func:`alpha_dropout` of whole channels of (N, C, *).

    >>> import tapegrad as tg
    >>> y = tg.nn.functional.feature_alpha_dropout(tg.zeros(2, 3, 4), training=True)
    >>> bool((y == y[:, :, :1]).all())
    True

    Source: Klambauer et al. (2017), Self-normalizing neural networks.
    """
    p = probability(p, "feature_alpha_dropout")
    if not training:
        return input
    shape = _of_channels(input, "feature_alpha_dropout")
    return _saturated(input, p, shape, inplace, generator)


def probability(p: Any, what: str) -> Any:
    """A probability, which no derivative goes by: the expectation does not depend on it."""
    check((p >= 0) & (p <= 1), f"{what}: probability has to be between 0 and 1, but got {{}}", p)
    return stop_gradient(p) if isinstance(p, Tensor) else p


def _of_channels(input: Any, what: str, dims: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The shape in which one number is drawn for each channel."""
    shape = floating(input, what).shape
    if len(shape) < 2 or (dims is not None and len(shape) not in dims):
        wanted = "(N, C, *)" if dims is None else "(N, C, H, W) or (N, C, L)"
        raise ShapeError(f"{what}: input must be {wanted}, but has shape {shape}")
    return (*shape[:2], *[1] * (len(shape) - 2))


def _kept(input: Tensor, p: Any, shape: tuple[int, ...], generator: Any) -> Tensor:
    """1 with probability 1 - p, else 0."""
    dtype = "float64" if input.dtype == "float64" else "float32"  # float16 would round up to 1
    return (rand(*shape, dtype=dtype, generator=generator) >= p).to(input.dtype)


def _inverse(share: Any) -> Any:
    """1/share, and 0 for 0, where nothing is left to be scaled."""
    return share / maximum(share * share, 1e-38)


def _scaled(input: Tensor, p: Any, shape: tuple[int, ...], inplace: bool, generator: Any) -> Tensor:
    if not isinstance(p, Tensor) and p == 0:
        return input  # and nothing is drawn
    noise = _kept(input, p, shape, generator) * _inverse(1.0 - p)
    return input.mul_(noise) if inplace else input * noise


def _saturated(
    input: Tensor, p: Any, shape: tuple[int, ...], inplace: bool, generator: Any
) -> Tensor:
    if not isinstance(p, Tensor) and p == 0:
        return input
    kept = _kept(input, p, shape, generator)
    # (kept·x + (1 - kept)·s)·a + b with a = ((1 - p)(1 + p·s²))^-½ and b = -a·p·s
    a = (_inverse(1.0 - p) / (1.0 + p * _SATURATION**2)) ** 0.5
    scale, shift = kept * a, ((1.0 - kept) - p) * (a * _SATURATION)
    return input.mul_(scale).add_(shift) if inplace else input * scale + shift
