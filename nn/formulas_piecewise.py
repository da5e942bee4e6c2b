"""Activations made of pieces, with steps and kinks between them, as functions.

The derivative at a kink is PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any

from tapegrad import (
    Tensor,
    as_tensor,
    check,
    clamp_min,
    clip,
    heaviside,
    rand,
    stop_gradient,
    where,
)
from tapegrad import leaky_relu as leaky
from tapegrad import relu as rectified
from tapegrad.losses.checks import not_negative, setting

from .formulas_smooth import kept

__all__ = [
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "softshrink",
    "step",
    "step_straight_through",
    "threshold",
]


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0), with derivative 0 at 0.

    ``inplace``: write the result into the input, as torch does.

    >>> import tapegrad as tg
    >>> tg.nn.functional.relu(tg.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])

    Source: Nair and Hinton (2010), Rectified linear units improve restricted Boltzmann machines.
    """
    return kept(input, rectified(input), inplace)


def leaky_relu(input: Any, negative_slope: Any = 0.01, inplace: bool = False) -> Any:
    """x above 0, ``negative_slope``·x below; at 0 the derivative is ``negative_slope``.

    ``negative_slope``: a number, or a tensor that broadcasts (and gets its gradient).

    >>> import tapegrad as tg
    >>> tg.nn.functional.leaky_relu(tg.tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1000,  2.0000])

    Source: Maas, Hannun and Ng (2013), Rectifier nonlinearities improve neural network acoustic
    models.
    """
    return kept(input, leaky(input, negative_slope), inplace)


def prelu(input: Tensor, weight: Tensor) -> Any:
    """x above 0, w·x below, with a learned w: one, or one for each channel (dimension 1).

    At 0 the derivative is w. RuntimeError for a number of weights that is not that of channels.

    >>> import tapegrad as tg
    >>> tg.nn.functional.prelu(tg.tensor([[-1.0, -1.0, 2.0]]), tg.tensor([0.1, 0.2, 0.3]))
    tensor([[-0.1000, -0.2000,  2.0000]])

    Source: He et al. (2015), Delving deep into rectifiers.
    """
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: weight must be one number or (channels,), not {weight.shape}")
    if weight.ndim and weight.shape != (1,):
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.shape[0] != channels:
            raise RuntimeError(
                f"prelu: {weight.shape[0]} weights for an input of shape {input.shape}, which has "
                f"{channels} channel(s): dimension 1 is that of the channels"
            )
        weight = weight.reshape(-1, *(1,) * (input.ndim - 2))
    elif weight.ndim > input.ndim:
        weight = weight.reshape(())
    return leaky(input, weight)


def rrelu(
    input: Any,
    lower: Any = 1.0 / 8.0,
    upper: Any = 1.0 / 3.0,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Any:
    """x above 0, a·x below, with a random a between ``lower`` and ``upper`` for each element.

    Not in ``training``, a is their mean. The bounds may be tensors, and get their gradients.
    RuntimeError where lower > upper.

    >>> import tapegrad as tg
    >>> tg.nn.functional.rrelu(tg.tensor([-1.0, 2.0]), 0.1, 0.3)
    tensor([-0.2000,  2.0000])

    Source: Xu et al. (2015), Empirical evaluation of rectified activations in convolutional
    network.
    """
    _in_order("rrelu", "lower", lower, "upper", upper)
    if training:
        noise = rand(*input.shape, dtype=input.dtype, generator=generator)
        slope = lower + (upper - lower) * noise
    else:
        slope = (lower + upper) / 2.0
    return kept(input, leaky(input, slope), inplace)


def _in_order(what: str, first: str, low: Any, second: str, high: Any) -> None:
    """Check that one setting is not more than another."""
    if type(low) is float and type(high) is float and low <= high:
        return
    setting(what, first, low)
    setting(what, second, high)
    check(as_tensor(low) <= as_tensor(high), f"{what}: {first} must not be more than {second}")


def hardtanh(input: Any, min_val: Any = -1.0, max_val: Any = 1.0, inplace: bool = False) -> Any:
    """x held between ``min_val`` and ``max_val``; at the bounds the derivative is 0.

    (That of :func:`tapegrad.clip` is 1 there.) The bounds may be tensors: one that is reached
    takes the gradient. ValueError where min_val > max_val.

    >>> import tapegrad as tg
    >>> tg.nn.functional.hardtanh(tg.tensor([-2.0, 0.5, 2.0]))
    tensor([-1.0000,  0.5000,  1.0000])

    Source: Collobert (2004), Large scale machine learning.
    """
    _in_order("hardtanh", "min_val", min_val, "max_val", max_val)
    above = where(input <= min_val, min_val, input)
    return kept(input, where(input >= max_val, max_val, above), inplace)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6); at 0 and at 6 the derivative is 0.

    >>> import tapegrad as tg
    >>> tg.nn.functional.relu6(tg.tensor([-1.0, 3.0, 8.0]))
    tensor([0., 3., 6.])

    Source: Krizhevsky (2010), Convolutional deep belief networks on CIFAR-10.
    """
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6)/6; at -3 and at 3 the derivative is 0.

    >>> import tapegrad as tg
    >>> tg.nn.functional.hardsigmoid(tg.tensor([-4.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])

    Source: Courbariaux, Bengio and David (2015), BinaryConnect; these pieces: Howard et al. (2019),
    Searching for MobileNetV3.
    """
    return kept(input, hardtanh(input + 3.0, 0.0, 6.0) / 6.0, inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x·min(max(x + 3, 0), 6)/6; the derivative is 0 at -3 and 1 at 3. 0 at -∞.

    >>> import tapegrad as tg
    >>> tg.nn.functional.hardswish(tg.tensor([-1.0, 1.0, 4.0]))
    tensor([-0.3333,  0.6667,  4.0000])

    Source: Howard et al. (2019), Searching for MobileNetV3.
    """
    return kept(input, clamp_min(input, -3.0) * hardsigmoid(input), inplace)


def threshold(input: Any, threshold: Any, value: Any, inplace: bool = False) -> Any:
    """x above ``threshold``, ``value`` (a number or a tensor) at it and below.

    >>> import tapegrad as tg
    >>> tg.nn.functional.threshold(tg.tensor([-1.0, 0.5, 2.0]), 0.5, 9.0)
    tensor([9., 9., 2.])
    """
    return kept(input, where(input <= threshold, value, input), inplace)


def softshrink(input: Any, lambd: Any = 0.5) -> Any:
    """x moved towards 0 by λ, and 0 where |x| ≤ λ; at ±λ the derivative is 0.

    It is the proximal operator of λ|x|. ``lambd``: a number or a tensor, not negative
    (ValueError).

    >>> import tapegrad as tg
    >>> tg.nn.functional.softshrink(tg.tensor([-2.0, 0.3, 1.0]))
    tensor([-1.5000,  0.0000,  0.5000])

    Source: Donoho (1995), De-noising by soft-thresholding.
    """
    not_negative("softshrink", "lambd", lambd)
    return input - clip(input, -lambd, lambd)


def hardshrink(input: Any, lambd: Any = 0.5) -> Any:
    """x, and 0 where |x| ≤ λ, with derivative 0 there. Nothing depends smoothly on λ.

    >>> import tapegrad as tg
    >>> tg.nn.functional.hardshrink(tg.tensor([-2.0, 0.3, 1.0]))
    tensor([-2.,  0.,  1.])

    Source: Donoho and Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage.
    """
    return where((input >= -lambd) & (input <= lambd), 0.0, input)


def step(input: Any) -> Any:
    """The perceptron's step: 1 above 0, else 0. Its derivative is 0 everywhere.

    So nothing below it learns by gradients; see :func:`step_straight_through`.

    >>> import tapegrad as tg
    >>> tg.nn.functional.step(tg.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 1.])

    Source: Rosenblatt (1958), The perceptron.
    """
    return heaviside(input, 0.0)


def step_straight_through(input: Any, window: Any = None) -> Any:
    """The values of :func:`step` with the derivative of x: the straight-through estimator.

    ``window``: where |x| is above it the derivative is 0; None: it is 1 everywhere (at ±∞ it is
    0). It is no derivative of the values, and finite differences do not give it.

    >>> import tapegrad as tg
    >>> x = tg.tensor([-2.0, 0.5], requires_grad=True)
    >>> y = tg.nn.functional.step_straight_through(x, window=1.0)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad
    ([0.0, 1.0], tensor([0., 1.]))

    Source: Bengio, Léonard and Courville (2013), Estimating or propagating gradients through
    stochastic neurons for conditional computation; the window: Hubara et al. (2016), Binarized
    neural networks.
    """
    if window is None:
        finite = where(abs(input) < math.inf, input, 0.0)
    else:
        bound = stop_gradient(window)  # a constant of the estimator (Hubara et al. 2016)
        finite = clip(input, -bound, bound)
    # The estimator holds the step constant and adds x - x, which is 0 (Bengio et al. 2013).
    return step(input) + (finite - stop_gradient(finite))
