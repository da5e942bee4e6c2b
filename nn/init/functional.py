"""Initial values as functions of a shape: each result carries the derivative by its settings.

A draw is written as a formula of settings and of numbers that depend on nothing but the generator
(uniform ones, normal ones): the reparameterisation of Kingma and Welling (2013), Auto-encoding
variational Bayes. So the loss after some steps of training has a derivative by the scale that
training began with.

>>> import tapegrad as tg
>>> std = tg.tensor(0.5, dtype="float64", requires_grad=True)
>>> weight = tg.nn.init.functional.normal((3, 2), std=std, dtype="float64")
>>> (weight * weight).sum().backward()  # the derivative is 2·Σw²/std
>>> bool(tg.isclose(std.grad, 4.0 * (weight * weight).sum()))
True
"""

from __future__ import annotations

import math
from math import ceil, prod
from typing import Any

from tapegrad import (
    Tensor,
    as_tensor,
    check,
    clip,
    erf,
    erfinv,
    get_default_dtype,
    rand,
    randn,
    where,
    zeros,
)
from tapegrad import eye as identity
from tapegrad import full as filled
from tapegrad.linalg import qr
from tapegrad.losses.checks import not_negative, positive

from .fans import calculate_gain, fan

__all__ = [
    "constant",
    "dirac",
    "eye",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "sparse",
    "trunc_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
]

_SQRT_2 = math.sqrt(2.0)
#: The standard deviation of a standard normal cut off at ±2 (the number in Keras's source).
_SPREAD_WITHIN_2 = 0.87962566103423978


def constant(shape: Any, val: Any, *, dtype: Any = None) -> Tensor:
    """The same value everywhere, a number or a tensor.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.constant((2,), 0.5)
    tensor([0.5000, 0.5000])
    """
    return filled(tuple(shape), 1.0, dtype=dtype) * val


def uniform(
    shape: Any, a: Any = 0.0, b: Any = 1.0, *, dtype: Any = None, generator: Any = None
) -> Tensor:
    """a + (b - a)·u, with u uniform in [0, 1).

    >>> import tapegrad as tg
    >>> bool((tg.nn.init.functional.uniform((3,), -1.0, 1.0) < 1.0).all())
    True
    """
    return a + (b - a) * rand(tuple(shape), dtype=dtype, generator=generator)  # type: ignore[no-any-return]


def normal(
    shape: Any, mean: Any = 0.0, std: Any = 1.0, *, dtype: Any = None, generator: Any = None
) -> Tensor:
    """mean + std·ε, with ε standard normal. ValueError for a negative ``std``.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.normal((2, 3), std=tg.tensor(0.1)).shape
    (2, 3)
    """
    not_negative("normal", "std", std)
    return mean + std * randn(tuple(shape), dtype=dtype, generator=generator)  # type: ignore[no-any-return]


def _double(value: Any) -> Tensor:
    return value.double() if isinstance(value, Tensor) else as_tensor(value, dtype="float64")


def trunc_normal(
    shape: Any,
    mean: Any = 0.0,
    std: Any = 1.0,
    a: Any = -2.0,
    b: Any = 2.0,
    *,
    dtype: Any = None,
    generator: Any = None,
) -> Tensor:
    """A normal distribution cut off at a and b (in the units of the result): Φ⁻¹ of a uniform one.

    x = mean + std·Φ⁻¹(Φ(α) + u·(Φ(β) - Φ(α))), α = (a - mean)/std, β = (b - mean)/std. The draws
    are good where [a, b] reaches to within 5 std of the mean. Needs SciPy. ValueError unless
    std > 0 and a ≤ b.

    >>> import tapegrad as tg
    >>> bool((tg.nn.init.functional.trunc_normal((100,), a=-1.0, b=0.5) <= 0.5).all())
    True
    """
    positive("trunc_normal", "std", std)
    check(as_tensor(a) <= as_tensor(b), "trunc_normal: a must not be more than b")
    noise = rand(tuple(shape), dtype="float64", generator=generator)
    low = erf(_double((a - mean) / std) / _SQRT_2)
    high = erf(_double((b - mean) / std) / _SQRT_2)
    drawn = clip(mean + std * (_SQRT_2 * erfinv(low + (high - low) * noise)), a, b)
    return drawn.to(get_default_dtype() if dtype is None else dtype)  # type: ignore[attr-defined,no-any-return]


def _scaled(shape: Any, gain: Any, mode: str, distribution: str, **kwargs: Any) -> Tensor:
    """Mean 0 and standard deviation gain/√fan."""
    std = gain / fan(shape, mode) ** 0.5
    if distribution == "uniform":
        bound = math.sqrt(3.0) * std
        return uniform(shape, -bound, bound, **kwargs)
    if distribution == "truncated_normal":
        wider = std / _SPREAD_WITHIN_2
        return trunc_normal(shape, 0.0, wider, -2.0 * wider, 2.0 * wider, **kwargs)
    return normal(shape, 0.0, std, **kwargs)


def variance_scaling(
    shape: Any,
    scale: Any = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    *,
    dtype: Any = None,
    generator: Any = None,
) -> Tensor:
    """Mean 0 and variance scale/fan, by Keras's name: the rule that all the others are cases of.

    ``mode``: "fan_in", "fan_out", "fan_avg". ``distribution``: "truncated_normal" (cut off at two
    of its standard deviations; needs SciPy), "normal" ("untruncated_normal"), "uniform".

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.variance_scaling((4, 2), 2.0, "fan_avg", "uniform").shape
    (4, 2)
    """
    known = ("truncated_normal", "normal", "untruncated_normal", "uniform")
    if distribution not in known:
        raise ValueError(
            f"variance_scaling: distribution must be one of {', '.join(map(repr, known))}, "
            f"not {distribution!r}"
        )
    positive("variance_scaling", "scale", scale)
    return _scaled(shape, scale**0.5, mode, distribution, dtype=dtype, generator=generator)


def xavier_uniform(
    shape: Any, gain: Any = 1.0, *, dtype: Any = None, generator: Any = None
) -> Tensor:
    """Uniform with variance gain²·2/(n_in + n_out): for sigmoid and tanh.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.xavier_uniform((4, 2)).shape
    (4, 2)

    Source: Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward
    neural networks.
    """
    return _scaled(shape, gain, "fan_avg", "uniform", dtype=dtype, generator=generator)


def xavier_normal(
    shape: Any, gain: Any = 1.0, *, dtype: Any = None, generator: Any = None
) -> Tensor:
    """Normal with variance gain²·2/(n_in + n_out); see :func:`xavier_uniform`.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.xavier_normal((4, 2)).shape
    (4, 2)
    """
    return _scaled(shape, gain, "fan_avg", "normal", dtype=dtype, generator=generator)


def kaiming_uniform(
    shape: Any,
    a: Any = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    dtype: Any = None,
    generator: Any = None,
) -> Tensor:
    """Uniform with variance gain²/fan, 2/n_in for ReLU.

    ``a``: the negative slope of "leaky_relu", for :func:`tapegrad.nn.init.calculate_gain`.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.kaiming_uniform((4, 2), nonlinearity="relu").shape
    (4, 2)

    Source: He et al. (2015), Delving deep into rectifiers: surpassing human-level performance on
    ImageNet classification.
    """
    gain = calculate_gain(nonlinearity, a)
    return _scaled(shape, gain, mode, "uniform", dtype=dtype, generator=generator)


def kaiming_normal(
    shape: Any,
    a: Any = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    dtype: Any = None,
    generator: Any = None,
) -> Tensor:
    """Normal with variance gain²/fan, 2/n_in for ReLU; see :func:`kaiming_uniform`.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.kaiming_normal((4, 2), nonlinearity="relu").shape
    (4, 2)
    """
    gain = calculate_gain(nonlinearity, a)
    return _scaled(shape, gain, mode, "normal", dtype=dtype, generator=generator)


def lecun_uniform(
    shape: Any, gain: Any = 1.0, *, dtype: Any = None, generator: Any = None
) -> Tensor:
    """Uniform with variance gain²/n_in; see :func:`lecun_normal`.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.lecun_uniform((4, 2)).shape
    (4, 2)
    """
    return _scaled(shape, gain, "fan_in", "uniform", dtype=dtype, generator=generator)


def lecun_normal(
    shape: Any, gain: Any = 1.0, *, dtype: Any = None, generator: Any = None
) -> Tensor:
    """Normal with variance gain²/n_in: it keeps the variance of a linear layer, and SELU needs it.

    (Keras's is cut off at two standard deviations: ``variance_scaling(shape)``.)

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.lecun_normal((4, 2)).shape
    (4, 2)

    Source: LeCun et al. (1998), Efficient BackProp.
    """
    return _scaled(shape, gain, "fan_in", "normal", dtype=dtype, generator=generator)


def orthogonal(shape: Any, gain: Any = 1.0, *, dtype: Any = None, generator: Any = None) -> Tensor:
    """gain·Q, with Q drawn evenly from all matrices whose rows (or columns) are orthonormal.

    A shape (out, in, ...) counts as the matrix (out, in·...). The shorter of its rows and columns
    are orthonormal. ValueError for fewer than 2 dimensions.

    >>> import tapegrad as tg
    >>> q = tg.nn.init.functional.orthogonal((2, 3), dtype="float64")
    >>> bool(tg.allclose(q @ q.T, tg.eye(2, dtype="float64")))
    True

    Source: Saxe, McClelland and Ganguli (2013), Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks.
    """
    shape = tuple(shape)
    if len(shape) < 2:
        raise ValueError(f"orthogonal: the shape must have at least 2 dimensions, not {shape}")
    if 0 in shape:
        return zeros(shape, dtype=dtype)
    columns = prod(shape[1:])
    tall = max(shape[0], columns), min(shape[0], columns)
    q, r = qr(randn(tall, dtype=dtype, generator=generator))
    # Signs by R's diagonal make Q uniform over the orthogonal matrices (Mezzadri 2006).
    q = q * where(r.diagonal() < 0, -1.0, 1.0)
    return gain * (q.T if shape[0] < columns else q).reshape(shape)  # type: ignore[no-any-return]


def sparse(
    shape: Any,
    sparsity: float,
    std: Any = 0.01,
    *,
    dtype: Any = None,
    generator: Any = None,
) -> Tensor:
    """Normal numbers, and in each column the fraction ``sparsity`` (rounded up) of zeros.

    ValueError unless the shape is (rows, columns) and 0 ≤ sparsity ≤ 1.

    >>> import tapegrad as tg
    >>> (tg.nn.init.functional.sparse((4, 2), 0.7) == 0).sum(0)
    tensor([3, 3])

    Source: Martens (2010), Deep learning via Hessian-free optimization.
    """
    shape = tuple(shape)
    if len(shape) != 2:
        raise ValueError(f"sparse: the shape must be (rows, columns), not {shape}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse: sparsity is a fraction from 0 to 1, not {sparsity}")
    drawn = normal(shape, 0.0, std, dtype=dtype, generator=generator)
    order = rand(shape, generator=generator).argsort(0).argsort(0)  # type: ignore[attr-defined]
    return where(order < ceil(sparsity * shape[0]), 0.0, drawn)  # type: ignore[no-any-return]


def eye(shape: Any, gain: Any = 1.0, *, dtype: Any = None) -> Tensor:
    """``gain`` on the diagonal, zeros elsewhere: inputs are passed on as far as there is room.

    ValueError unless the shape has 2 dimensions.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.eye((2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    shape = tuple(shape)
    if len(shape) != 2:
        raise ValueError(f"eye: the shape must have 2 dimensions, not {shape}")
    return gain * identity(*shape, dtype=dtype)  # type: ignore[no-any-return]


def dirac(shape: Any, groups: int = 1, gain: Any = 1.0, *, dtype: Any = None) -> Tensor:
    """Kernels that pass channel i of every group on as channel i, ``gain`` in the middle.

    ValueError unless the shape is (out, in, *kernel) with 1 to 3 dimensions of the kernel and
    ``out`` can be divided by ``groups``.

    >>> import tapegrad as tg
    >>> tg.nn.init.functional.dirac((2, 2, 3))
    tensor([[[0., 1., 0.],
             [0., 0., 0.]],
    <BLANKLINE>
            [[0., 0., 0.],
             [0., 1., 0.]]])
    """
    shape = tuple(shape)
    if len(shape) not in (3, 4, 5):
        raise ValueError(
            f"dirac: the shape must be (out, in, *kernel) of 3, 4 or 5 dimensions, not {shape}"
        )
    if shape[0] % groups:
        raise ValueError(f"dirac: {shape[0]} output channels cannot be divided by {groups} groups")
    each = shape[0] // groups
    kept = range(min(each, shape[1]))
    weight = zeros(shape, dtype=dtype)
    places = [(group * each + i, i) for group in range(groups) for i in kept]
    if not places or 0 in shape:
        return weight
    rows, columns = map(list, zip(*places))
    weight[(rows, columns, *(n // 2 for n in shape[2:]))] = gain
    return weight
