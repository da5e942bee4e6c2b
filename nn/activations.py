"""Smooth activations and those over several elements, as modules; the functions say more."""

from __future__ import annotations

import warnings
from typing import Any

from tapegrad import Tensor, log_softmax, logsigmoid, sigmoid, softmax, softmin, softplus, tanh

from .formulas_smooth import celu, elu, gelu, glu, mish, selu, silu, softsign, tanhshrink
from .module import Module

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Identity",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softsign",
    "Swish",
    "Tanh",
    "Tanhshrink",
]


class Identity(Module):
    """The input unchanged; whatever arguments it is made with mean nothing.

    >>> import tapegrad as tg
    >>> tg.nn.Identity()(tg.tensor([1.0]))
    tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The input."""
        return input


class Tanh(Module):
    """tanh x, in (-1, 1), with slope 1 at 0.

    >>> import tapegrad as tg
    >>> tg.nn.Tanh()(tg.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """tanh x."""
        return tanh(input)


class Sigmoid(Module):
    """1/(1 + exp(-x)), in (0, 1), with slope at most 1/4.

    >>> import tapegrad as tg
    >>> tg.nn.Sigmoid()(tg.tensor([0.0]))
    tensor([0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """1/(1 + exp(-x))."""
        return sigmoid(input)


class LogSigmoid(Module):
    """ln σ(x), finite for every finite x; see :func:`tapegrad.logsigmoid`.

    >>> import tapegrad as tg
    >>> tg.nn.LogSigmoid()(tg.tensor([-1000.0, 0.0]))
    tensor([-1.0000e+03, -6.9315e-01])
    """

    def forward(self, input: Tensor) -> Tensor:
        """ln σ(x)."""
        return logsigmoid(input)  # type: ignore[no-any-return]


class Softplus(Module):
    """ln(1 + e^(beta·x))/beta; see :func:`tapegrad.softplus`.

    >>> import tapegrad as tg
    >>> tg.nn.Softplus()(tg.tensor([-1000.0, 0.0]))
    tensor([0.0000, 0.6931])
    """

    def __init__(self, beta: Any = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        """ln(1 + e^(beta·x))/beta."""
        return softplus(input, self.beta, self.threshold)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Softsign(Module):
    """x/(1 + |x|), in (-1, 1); see :func:`tapegrad.nn.functional.softsign`.

    >>> import tapegrad as tg
    >>> tg.nn.Softsign()(tg.tensor([-3.0, 1.0]))
    tensor([-0.7500,  0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """x/(1 + |x|)."""
        return softsign(input)  # type: ignore[no-any-return]


class Tanhshrink(Module):
    """x - tanh x; see :func:`tapegrad.nn.functional.tanhshrink`.

    >>> import tapegrad as tg
    >>> tg.nn.Tanhshrink()(tg.tensor([1.0]))
    tensor([0.2384])
    """

    def forward(self, input: Tensor) -> Tensor:
        """X - tanh x."""
        return tanhshrink(input)  # type: ignore[no-any-return]


class GELU(Module):
    """x·Φ(x), Φ the normal distribution function; see :func:`tapegrad.nn.functional.gelu`.

    ``approximate``: "none", which needs SciPy, or "tanh".

    >>> import tapegrad as tg
    >>> tg.nn.GELU()(tg.tensor([-1.0, 1.0]))
    tensor([-0.1587,  0.8413])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """x·Φ(x)."""
        return gelu(input, self.approximate)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The setting."""
        return f"approximate={self.approximate!r}"


class InPlace(Module):
    """An activation that may write its result into its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Whether it writes into its input, where it does."""
        return "inplace=True" if self.inplace else ""

    def _shown(self, **settings: Any) -> str:
        shown = [f"{name}={value}" for name, value in settings.items()]
        return ", ".join([*shown, "inplace=True"] if self.inplace else shown)


class SiLU(InPlace):
    """x·σ(x), also called Swish; see :func:`tapegrad.nn.functional.silu`.

    >>> import tapegrad as tg
    >>> tg.nn.SiLU()(tg.tensor([-1.0, 1.0]))
    tensor([-0.2689,  0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        """x·σ(x)."""
        return silu(input, self.inplace)  # type: ignore[no-any-return]


#: SiLU under the name of Ramachandran, Zoph and Le (2017).
Swish = SiLU


class Mish(InPlace):
    """x·tanh(softplus(x)); see :func:`tapegrad.nn.functional.mish`.

    >>> import tapegrad as tg
    >>> tg.nn.Mish()(tg.tensor([-1.0, 1.0]))
    tensor([-0.3034,  0.8651])
    """

    def forward(self, input: Tensor) -> Tensor:
        """x·tanh(softplus(x))."""
        return mish(input, self.inplace)  # type: ignore[no-any-return]


class ELU(InPlace):
    """x above 0, alpha·(eˣ - 1) below; see :func:`tapegrad.nn.functional.elu`.

    >>> import tapegrad as tg
    >>> tg.nn.ELU()(tg.tensor([-1.0, 1.0]))
    tensor([-0.6321,  1.0000])
    """

    def __init__(self, alpha: Any = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """The unit."""
        return elu(input, self.alpha, self.inplace)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The settings."""
        return self._shown(alpha=self.alpha)


class SELU(InPlace):
    """ELU scaled so that mean 0 and variance 1 last; see :func:`tapegrad.nn.functional.selu`.

    >>> import tapegrad as tg
    >>> tg.nn.SELU()(tg.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The unit."""
        return selu(input, self.inplace)  # type: ignore[no-any-return]


class CELU(InPlace):
    """x above 0, alpha·(e^(x/alpha) - 1) below; see :func:`tapegrad.nn.functional.celu`.

    >>> import tapegrad as tg
    >>> tg.nn.CELU(0.5)(tg.tensor([-1.0, 1.0]))
    tensor([-0.4323,  1.0000])
    """

    def __init__(self, alpha: Any = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """The unit."""
        return celu(input, self.alpha, self.inplace)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The settings."""
        return self._shown(alpha=self.alpha)


class GLU(Module):
    """a·σ(b), a and b the halves of the input; see :func:`tapegrad.nn.functional.glu`.

    >>> import tapegrad as tg
    >>> tg.nn.GLU()(tg.tensor([[2.0, 0.0]]))
    tensor([[1.]])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """a·σ(b)."""
        return glu(input, self.dim)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"


class _AlongDim(Module):
    """A softmax along a dimension."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def _dim(self, input: Tensor) -> int:
        if self.dim is not None:
            return self.dim
        # torch's choice: the classes of (C), (N, C), (N, C, ...), but dimension 0 of three
        chosen = 0 if input.ndim in (0, 1, 3) else 1
        warnings.warn(
            f"{type(self).__name__} without dim= takes dimension {chosen} of an input of shape "
            f"{input.shape}, as torch's does; say which you mean, for example dim=-1",
            stacklevel=4,
        )
        return chosen

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """exp(x)/Σ exp(x) along ``dim``: positive and summing to 1; see :func:`tapegrad.softmax`.

    Without ``dim`` the one that torch picks, 1 (of one or three dimensions 0), with a warning.

    >>> import tapegrad as tg
    >>> tg.nn.Softmax(dim=-1)(tg.tensor([0.0, 0.0]))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The probabilities."""
        return softmax(input, self._dim(input))  # type: ignore[no-any-return]


class LogSoftmax(_AlongDim):
    """The logarithm of :class:`Softmax`, without rounding to -∞; see :func:`tapegrad.log_softmax`.

    >>> import tapegrad as tg
    >>> tg.nn.LogSoftmax(dim=-1)(tg.tensor([0.0, 0.0]))
    tensor([-0.6931, -0.6931])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The logarithms of the probabilities."""
        return log_softmax(input, self._dim(input))  # type: ignore[no-any-return]


class Softmin(_AlongDim):
    """The softmax of -x along ``dim``; see :func:`tapegrad.softmin`.

    >>> import tapegrad as tg
    >>> tg.nn.Softmin(dim=-1)(tg.tensor([1000.0, 0.0]))
    tensor([0., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The probabilities."""
        return softmin(input, self._dim(input))  # type: ignore[no-any-return]


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W): at every place they sum to 1.

    >>> import tapegrad as tg
    >>> tg.nn.Softmax2d()(tg.zeros(2, 1, 1))
    tensor([[[0.5000]],
    <BLANKLINE>
            [[0.5000]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The probabilities."""
        if input.ndim not in (3, 4):
            raise ValueError(
                f"Softmax2d: input must be (N, C, H, W) or (C, H, W), not {input.shape}"
            )
        return softmax(input, -3)  # type: ignore[no-any-return]
