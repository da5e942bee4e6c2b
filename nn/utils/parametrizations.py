"""Weight normalisation and spectral normalisation, by the names of torch.nn.utils."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, linalg, no_grad, randn, stop_gradient
from tapegrad.functions.distances import normalize

from ..convolution import ConvTranspose1d, ConvTranspose2d
from ..module import Module
from .parametrize import is_parametrized, register_parametrization

__all__ = ["spectral_norm", "weight_norm"]


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Let a weight be g·v/‖v‖: its length and its direction are trained apart; returns the module.

    ``dim``: the dimension each of whose entries has a length of its own (outputs, by default);
    None, or as in torch -1: one for all. ``module.parametrizations.<name>.original0`` is g,
    ``original1`` v; make the optimizer afterwards. States with torch's older names (weight_g,
    weight_v) load, too. :func:`~tapegrad.nn.utils.parametrize.remove_parametrizations` ends it.
    What is all zeros has no direction, and becomes NaN, as in torch: do not initialise with zeros.

    Raises ValueError without such a parameter, and for one that is parametrized already; IndexError
    for a dimension that is not there.

    >>> import tapegrad as tg
    >>> tg.nn.utils.parametrizations.weight_norm(tg.nn.Linear(20, 40))
    ParametrizedLinear(
      in_features=20, out_features=40, bias=True
      (parametrizations): ModuleDict(
        (weight): ParametrizationList(
          (0): _WeightNorm()
        )
      )
    )

    Source: Salimans and Kingma (2016), Weight normalization: a simple reparameterization to
    accelerate training of deep neural networks.
    """
    if is_parametrized(module, name):
        raise ValueError(
            f"weight_norm: {name} is parametrized already, and one with several originals (here a "
            "length and a direction) must come first"
        )
    value = getattr(module, name, None)
    if isinstance(value, Tensor) and dim not in (None, -1):
        dim = _dimension("weight_norm", dim, value)
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module.register_load_state_dict_pre_hook(_OlderNames(name))
    return module


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: Any = 1e-12,
    dim: int | None = None,
) -> Module:
    """Let a weight be W/σ(W), whose largest singular value is 1; returns the module.

    σ is uᵀ·W·v, with singular vectors that follow W by ``n_power_iterations`` of the power method
    each time the weight is used in training mode, and are constants in every derivative. ``dim``:
    the dimension of outputs (0, or 1 for transposed convolutions); others are made one. A vector is
    divided by its length. ``eps``: the least length to divide by. Where uᵀ·W·v is 0 (zeros only)
    the result is NaN, as in torch: do not initialise with zeros.

    Raises ValueError without such a parameter, or for n_power_iterations below 1; IndexError for a
    dimension that is not there.

    >>> import tapegrad as tg
    >>> layer = tg.nn.utils.parametrizations.spectral_norm(tg.nn.Linear(20, 40))
    >>> abs(tg.linalg.matrix_norm(layer.weight, 2).item() - 1.0) < 0.1
    True

    Source: Miyato, Kataoka, Koyama and Yoshida (2018), Spectral normalization for generative
    adversarial networks.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d)) else 0
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)


def _dimension(what: str, dim: Any, weight: Tensor) -> int:
    """A dimension of a weight, counted from the first."""
    if not -weight.ndim <= dim < weight.ndim:
        raise IndexError(f"{what}: dim={dim} is out of range for a weight of shape {weight.shape}")
    return dim % weight.ndim  # type: ignore[no-any-return]


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim  # as torch, where -1 is none

    def _length(self, v: Tensor) -> Tensor:
        if self.dim == -1:
            return linalg.vector_norm(v)  # type: ignore[no-any-return]
        others = tuple(d for d in range(v.ndim) if d != self.dim)
        return linalg.vector_norm(v, dim=others, keepdim=True) if others else abs(v)  # type: ignore[no-any-return]

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """g·v/‖v‖."""
        return weight_v * (weight_g / self._length(weight_v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The length of a weight, and the weight as its direction."""
        return self._length(weight), weight


class _OlderNames:
    """Brings a state with weight_g and weight_v to the names of parametrizations."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: Any, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
        old = [f"{prefix}{self.name}_{letter}" for letter in "gv"]
        if all(key in state for key in old):
            for i, key in enumerate(old):
                state[f"{prefix}parametrizations.{self.name}.original{i}"] = state.pop(key)


class _SpectralNorm(Module):
    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: Any = 1e-12
    ) -> None:
        super().__init__()
        dim = _dimension("spectral_norm", dim, weight)
        if n_power_iterations < 1:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got {n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim, eps, n_power_iterations
        if weight.ndim > 1:
            with no_grad():
                matrix = self._as_matrix(weight)
                for name, n in zip(("_u", "_v"), matrix.shape, strict=True):
                    self.register_buffer(name, normalize(randn(n, dtype=weight.dtype), dim=0))
                self._follow(matrix, 15)

    def _as_matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    def _follow(self, matrix: Tensor, iterations: int) -> None:
        """The power method: u ← W·v and v ← Wᵀ·u, each brought to length 1."""
        # Constants, which begin where they ended before: Miyato et al. (2018), algorithm 1.
        matrix, v = stop_gradient(matrix), stop_gradient(self._v)
        for _ in range(iterations):
            u = normalize(matrix @ v, dim=0, eps=self.eps)
            v = normalize(matrix.T @ u, dim=0, eps=self.eps)
        self._u.copy_(u)
        self._v.copy_(v)

    def forward(self, weight: Tensor) -> Tensor:
        """W/(uᵀ·W·v)."""
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)  # type: ignore[no-any-return]
        matrix = self._as_matrix(weight)
        if self.training:
            self._follow(matrix, self.n_power_iterations)
        # copies, so that another call may move them before backward
        u, v = stop_gradient(self._u), stop_gradient(self._v)
        return weight / (u @ (matrix @ v))  # type: ignore[no-any-return]

    def right_inverse(self, value: Tensor) -> Tensor:
        """The weight as it is."""
        return value
