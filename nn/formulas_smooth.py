"""Activations without a kink where they are used, and those over several elements, as functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tapegrad import (
    Tensor,
    as_tensor,
    check,
    clamp_max,
    clamp_min,
    clip,
    erfc,
    expm1,
    sigmoid,
    softplus,
    tanh,
)
from tapegrad import relu as rectified
from tapegrad.losses.checks import setting

__all__ = ["celu", "elu", "gelu", "glu", "mish", "selu", "silu", "softsign", "tanhshrink"]

#: 2·√(2/π), of the approximation of GELU.
_SLOPE = 1.5957691216057308
#: The two constants that make zero mean and unit variance a fixed point (Klambauer et al. 2017).
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934


def kept(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    """The result; written into the input if that is wanted."""
    return input.copy_(result) if inplace else result  # type: ignore[attr-defined,no-any-return]


def _gated(input: Any, gate: Callable[[Any], Any], saturated: float) -> Any:
    """x·gate(x) for a gate that is exactly 0 from -``saturated`` down and 1 from it up.

    Held there, neither value nor derivatives become ∞·0 at infinities and huge numbers.
    """
    low = clamp_min(input, -saturated)
    return low * gate(clamp_max(low, saturated))


def silu(input: Any, inplace: bool = False) -> Any:
    """x·σ(x) (Swish): smooth, about 0 far below 0 and about x far above it.

    At -∞ the value and the slope are 0, at ∞ the slope is 1 (PyTorch: NaN).

    >>> import tapegrad as tg
    >>> tg.nn.functional.silu(tg.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])

    Source: Elfwing, Uchibe and Doya (2017), Sigmoid-weighted linear units for neural network
    function approximation in reinforcement learning.
    """
    return kept(input, _gated(input, sigmoid, 1000.0), inplace)


def mish(input: Any, inplace: bool = False) -> Any:
    """x·tanh(softplus(x)); at -∞ the value and the slope are 0, at ∞ the slope is 1.

    >>> import tapegrad as tg
    >>> tg.nn.functional.mish(tg.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.0000,  0.8651])

    Source: Misra (2019), Mish: a self regularized non-monotonic activation function.
    """
    return kept(input, _gated(input, lambda x: tanh(softplus(x)), 1000.0), inplace)


def _normal_cdf(x: Any) -> Any:
    return 0.5 * erfc(x * -math.sqrt(0.5))


def _nearly_normal_cdf(x: Any) -> Any:
    """½(1 + tanh u) = σ(2u), u = √(2/π)·(x + 0.044715·x³)."""
    return sigmoid(x * (_SLOPE + (0.044715 * _SLOPE) * (x * x)))


def gelu(input: Any, approximate: str = "none") -> Any:
    """x·Φ(x), Φ the normal distribution function; at -∞ value and slope are 0.

    ``approximate``: "none", which needs SciPy, or "tanh", for Φ(x) ≈ ½(1 + tanh u) with
    u = √(2/π)·(x + 0.044715·x³), which differs by up to 5e-4. RuntimeError for others.

    >>> import tapegrad as tg
    >>> tg.nn.functional.gelu(tg.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    >>> tg.nn.functional.gelu(tg.tensor([-1.0, 0.0, 1.0]), approximate="tanh")
    tensor([-0.1588,  0.0000,  0.8412])

    Source: Hendrycks and Gimpel (2016), Gaussian error linear units (GELUs).
    """
    if approximate == "none":
        return _gated(input, _normal_cdf, 40.0)
    if approximate == "tanh":
        return _gated(input, _nearly_normal_cdf, 25.0)
    raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")


def elu(input: Any, alpha: Any = 1.0, inplace: bool = False) -> Any:
    """x above 0, α(eˣ - 1) below; at 0 the slope is α, so that α = 1 leaves no kink.

    ``alpha``: a number, or a tensor that broadcasts (and gets its gradient).

    >>> import tapegrad as tg
    >>> tg.nn.functional.elu(tg.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])

    Source: Clevert, Unterthiner and Hochreiter (2015), Fast and accurate deep network learning by
    exponential linear units (ELUs).
    """
    result = rectified(input) + alpha * expm1(clamp_max(input, 0.0))
    return kept(input, result, inplace)


def selu(input: Any, inplace: bool = False) -> Any:
    """λ·elu(x, α) with the λ = 1.0507 and α = 1.6733 that keep mean 0 and variance 1.

    They do so for weights of variance 1/n_in (:func:`tapegrad.nn.init.lecun_normal_`).
    At 0 the slope is λα, PyTorch's; just above it is λ.

    >>> import tapegrad as tg
    >>> tg.nn.functional.selu(tg.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])

    Source: Klambauer et al. (2017), Self-normalizing neural networks.
    """
    below = (SELU_SCALE * SELU_ALPHA) * expm1(clamp_max(input, 0.0))
    return kept(input, SELU_SCALE * rectified(input) + below, inplace)


def celu(input: Any, alpha: Any = 1.0, inplace: bool = False) -> Any:
    """x above 0, α(e^(x/α) - 1) below: without a kink for every α.

    ``alpha``: a number or a tensor, not 0 (ValueError).

    >>> import tapegrad as tg
    >>> tg.nn.functional.celu(tg.tensor([-1.0, 2.0]), 0.5)
    tensor([-0.4323,  2.0000])

    Source: Barron (2017), Continuously differentiable exponential linear units.
    """
    not_zero("celu", "alpha", alpha)
    result = rectified(input) + alpha * expm1(clamp_max(input, 0.0) / alpha)
    return kept(input, result, inplace)


def not_zero(what: str, name: str, value: Any) -> None:
    """Check a setting that one divides by."""
    if type(value) is float and value != 0.0:
        return
    setting(what, name, value)
    check(as_tensor(value) != 0, f"{what}: {name} must not be 0")


def softsign(input: Any) -> Any:
    """x/(1 + |x|), in (-1, 1); ±1 at ±∞ (PyTorch: NaN). Its second derivative jumps at 0.

    >>> import tapegrad as tg
    >>> tg.nn.functional.softsign(tg.tensor([-3.0, 0.0, 1.0]))
    tensor([-0.7500,  0.0000,  0.5000])

    Source: Bergstra et al. (2009), Quadratic polynomials learn better image features.
    """
    # From there on 1 + |x| rounds to |x|, so that holding x changes no value.
    bound = 6e4 if getattr(input, "dtype", None) == "float16" else 1e17
    held = clip(input, -bound, bound)
    return held / (1.0 + abs(held))


def tanhshrink(input: Any) -> Any:
    """x - tanh(x): about x³/3 near 0, one step nearer to 0 far from it.

    >>> import tapegrad as tg
    >>> tg.nn.functional.tanhshrink(tg.tensor([-2.0, 0.0, 1.0]))
    tensor([-1.0360,  0.0000,  0.2384])
    """
    return input - tanh(input)


def glu(input: Tensor, dim: int = -1) -> Any:
    """The gated linear unit a·σ(b), with a and b the two halves of the input along ``dim``.

    RuntimeError when that dimension is odd.

    >>> import tapegrad as tg
    >>> tg.nn.functional.glu(tg.tensor([2.0, 4.0, 0.0, 1000.0]))
    tensor([1., 4.])

    Source: Dauphin et al. (2016), Language modeling with gated convolutional networks.
    """
    if not input.ndim:
        raise RuntimeError("glu: a single number has no dimension to halve")
    if input.shape[dim] % 2:
        raise RuntimeError(
            f"glu: the dimension that is halved must be even, but dimension {dim} of shape "
            f"{input.shape} is {input.shape[dim]}"
        )
    values, gates = input.chunk(2, dim)  # type: ignore[attr-defined]
    return values * sigmoid(gates)
