"""Initial values written into tensors; each function returns the tensor that it filled.

What is written is what :mod:`tapegrad.nn.init.functional` gives for the shape, off the tape.
"""

from __future__ import annotations

import warnings
from typing import Any

from tapegrad import Tensor, no_grad

from . import functional


def _fill(tensor: Tensor, values: Any) -> Tensor:
    with no_grad():
        return tensor.copy_(values)  # type: ignore[attr-defined,no-any-return]


def zeros_(tensor: Tensor) -> Tensor:
    """All zeros (for biases; hidden weights set to zero stay equal for ever).

    >>> import tapegrad as tg
    >>> tg.nn.init.zeros_(tg.ones(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All ones.

    >>> import tapegrad as tg
    >>> tg.nn.init.ones_(tg.zeros(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The same value everywhere.

    >>> import tapegrad as tg
    >>> tg.nn.init.constant_(tg.zeros(2), 0.1)
    tensor([0.1000, 0.1000])
    """
    with no_grad():
        return tensor.fill_(val)  # type: ignore[attr-defined,no-any-return]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b).

    >>> import tapegrad as tg
    >>> bool((tg.nn.init.uniform_(tg.empty(100), -1.0, 1.0) < 1.0).all())
    True
    """
    values = functional.uniform(tensor.shape, a, b, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, values)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with this mean and standard deviation.

    >>> import tapegrad as tg
    >>> tg.nn.init.normal_(tg.empty(3)).shape
    (3,)
    """
    values = functional.normal(tensor.shape, mean, std, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, values)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal, cut off at a and b (not at multiples of ``std``). Needs SciPy.

    A warning says when [a, b] lies more than 2 ``std`` from the mean.

    >>> import tapegrad as tg
    >>> bool((tg.nn.init.trunc_normal_(tg.empty(100), std=0.02, a=-0.04, b=0.04) <= 0.04).all())
    True
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"trunc_normal_: the mean {mean} is more than 2 std from [{a}, {b}]; the numbers may "
            "not have the right distribution",
            stacklevel=2,
        )
    values = functional.trunc_normal(
        tensor.shape, mean, std, a, b, dtype=tensor.dtype, generator=generator
    )
    return _fill(tensor, values)


def variance_scaling_(
    tensor: Tensor,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    generator: Any = None,
) -> Tensor:
    """Mean 0 and variance scale/fan; see :func:`tapegrad.nn.init.functional.variance_scaling`.

    >>> import tapegrad as tg
    >>> tg.nn.init.variance_scaling_(tg.empty(4, 2), 2.0, distribution="uniform").shape
    (4, 2)
    """
    values = functional.variance_scaling(
        tensor.shape, scale, mode, distribution, dtype=tensor.dtype, generator=generator
    )
    return _fill(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with variance gain²·2/(n_in + n_out): for sigmoid and tanh.

    >>> import tapegrad as tg
    >>> tg.nn.init.xavier_uniform_(tg.empty(4, 2)).shape
    (4, 2)

    Source: Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward
    neural networks.
    """
    values = functional.xavier_uniform(tensor.shape, gain, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, values)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with variance gain²·2/(n_in + n_out): for sigmoid and tanh.

    >>> import tapegrad as tg
    >>> tg.nn.init.xavier_normal_(tg.empty(4, 2)).shape
    (4, 2)

    Source: Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward
    neural networks.
    """
    values = functional.xavier_normal(tensor.shape, gain, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, values)


#: The same, by the name of its author that Keras uses (whose normal one is cut off, though).
glorot_uniform_, glorot_normal_ = xavier_uniform_, xavier_normal_


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform with standard deviation gain/√fan, √(2/n_in) for ReLU (He initialisation).

    ``a``: the negative slope of "leaky_relu". ``mode``: "fan_in" keeps the variance of what goes
    forwards, "fan_out" that of gradients, "fan_avg" stands between.

    >>> import tapegrad as tg
    >>> tg.nn.init.kaiming_uniform_(tg.empty(4, 2), nonlinearity="relu").shape
    (4, 2)

    Source: He et al. (2015), Delving deep into rectifiers: surpassing human-level performance on
    ImageNet classification.
    """
    values = functional.kaiming_uniform(
        tensor.shape, a, mode, nonlinearity, dtype=tensor.dtype, generator=generator
    )
    return _fill(tensor, values)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with standard deviation gain/√fan; see :func:`kaiming_uniform_`.

    >>> import tapegrad as tg
    >>> tg.nn.init.kaiming_normal_(tg.empty(4, 2), nonlinearity="relu").shape
    (4, 2)

    Source: He et al. (2015), Delving deep into rectifiers: surpassing human-level performance on
    ImageNet classification.
    """
    values = functional.kaiming_normal(
        tensor.shape, a, mode, nonlinearity, dtype=tensor.dtype, generator=generator
    )
    return _fill(tensor, values)


def he_uniform_(tensor: Tensor, mode: str = "fan_in", generator: Any = None) -> Tensor:
    """:func:`kaiming_uniform_` for ReLU: variance 2/n_in.

    >>> import tapegrad as tg
    >>> tg.nn.init.he_uniform_(tg.empty(4, 2)).shape
    (4, 2)
    """
    return kaiming_uniform_(tensor, 0.0, mode, "relu", generator)


def he_normal_(tensor: Tensor, mode: str = "fan_in", generator: Any = None) -> Tensor:
    """:func:`kaiming_normal_` for ReLU: variance 2/n_in.

    >>> import tapegrad as tg
    >>> tg.nn.init.he_normal_(tg.empty(4, 2)).shape
    (4, 2)
    """
    return kaiming_normal_(tensor, 0.0, mode, "relu", generator)


def lecun_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with variance gain²/n_in; see :func:`lecun_normal_`.

    >>> import tapegrad as tg
    >>> tg.nn.init.lecun_uniform_(tg.empty(4, 2)).shape
    (4, 2)
    """
    values = functional.lecun_uniform(tensor.shape, gain, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, values)


def lecun_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with variance gain²/n_in: it keeps the variance of a linear layer, and SELU needs it.

    (Keras's is cut off at two standard deviations: ``variance_scaling_(tensor)``.)

    >>> import tapegrad as tg
    >>> tg.nn.init.lecun_normal_(tg.empty(4, 2)).shape
    (4, 2)

    Source: LeCun et al. (1998), Efficient BackProp.
    """
    values = functional.lecun_normal(tensor.shape, gain, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, values)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """A random matrix with orthonormal rows or columns, times ``gain``.

    (out, in, ...) counts as (out, in·...). ValueError for fewer than 2 dimensions.

    >>> import tapegrad as tg
    >>> w = tg.nn.init.orthogonal_(tg.empty(2, 3, dtype="float64"))
    >>> bool(tg.allclose(w @ w.T, tg.eye(2, dtype="float64")))
    True

    Source: Saxe, McClelland and Ganguli (2013), Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks.
    """
    values = functional.orthogonal(tensor.shape, gain, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, values)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers, and in each column the fraction ``sparsity`` (rounded up) of zeros.

    >>> import tapegrad as tg
    >>> (tg.nn.init.sparse_(tg.empty(4, 2), 0.7) == 0).sum(0)
    tensor([3, 3])

    Source: Martens (2010), Deep learning via Hessian-free optimization.
    """
    values = functional.sparse(tensor.shape, sparsity, std, dtype=tensor.dtype, generator=generator)
    return _fill(tensor, values)


def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix, zeros elsewhere: a layer that passes its input on.

    >>> import tapegrad as tg
    >>> tg.nn.init.eye_(tg.empty(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _fill(tensor, functional.eye(tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Kernels of 1 to 3 dimensions that pass every channel on, in each of ``groups``.

    >>> import tapegrad as tg
    >>> kernel = tg.nn.init.dirac_(tg.empty(1, 1, 3))
    >>> tg.nn.functional.conv1d(tg.tensor([[1.0, 2.0, 3.0]]), kernel, padding=1)
    tensor([[1., 2., 3.]])
    """
    return _fill(tensor, functional.dirac(tensor.shape, groups, dtype=tensor.dtype))
