"""Losses of variational autoencoders: minus the evidence lower bound (ELBO), and its pieces.

An encoder gives the mean and log-variance of a Gaussian over latent numbers, a decoder the data's
distribution given a draw from it. Each piece is added up over a sample's own dimensions, and
averaged over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad import Tensor, as_tensor, broadcast_to, expm1, log, pi, randn_like

from .base import Loss
from .checks import inside, is_number_zero, matching, same_shape, setting, tensors
from .classification import binary_cross_entropy_with_logits
from .kinds import LOGITS, PROBABILITY, REAL, REALS
from .limits import times_exp
from .reducing import reduce
from .table import Row

__all__ = [
    "BernoulliReconstructionLoss",
    "ELBOLoss",
    "GaussianKLLoss",
    "GaussianReconstructionLoss",
    "VAELoss",
    "bernoulli_reconstruction_loss",
    "elbo_loss",
    "gaussian_kl_loss",
    "gaussian_reconstruction_loss",
    "reparameterize",
    "vae_loss",
]


def reparameterize(
    mean: Tensor, log_var: Tensor, generator: Any = None, noise: Any = None
) -> Tensor:
    """A draw from a Gaussian, through which its gradient flows: mean + exp(log_var/2)·noise.

    ``mean``, ``log_var``: the same shape; ``noise``: standard normal numbers of that shape, by
    default drawn from ``generator``, or the global one.

    Raises ValueError when the shapes differ.

    >>> import tapegrad as tg
    >>> mean, log_var = tg.tensor([1.0, 1.0]), tg.log(tg.tensor([1.0, 9.0]))
    >>> tg.losses.reparameterize(mean, log_var, noise=tg.tensor([0.5, -1.0]))
    tensor([ 1.5000, -2.0000])

    Source: Kingma and Welling (2014), Auto-encoding variational Bayes, section 2.4.
    """
    mean, log_var = matching("reparameterize", mean=mean, log_var=log_var)
    if noise is None:
        noise = randn_like(mean, generator=generator)
    else:
        (noise,) = tensors("reparameterize", noise=noise)
        same_shape("reparameterize", "mean", mean, "noise", noise)
    return mean + times_exp(noise, 0.5 * log_var)


def gaussian_kl_loss(
    mean: Tensor,
    log_var: Tensor,
    prior_mean: Any = 0.0,
    prior_log_var: Any = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """KL divergence of diagonal Gaussians: ½ Σ [(mean - m)²/v + e^d - 1 - d], d = log_var - ln v.

    ``mean``, ``log_var``: (N, ...), of the first Gaussian; ``prior_mean`` m, ``prior_log_var``
    ln v: of the second, by default standard normal; numbers or tensors that broadcast to the
    first's shape, with a gradient. The sum is over all but the first dimension: a number of nats
    for each sample. ``reduction``: over these.

    Raises ValueError when shapes do not fit or the batch is empty.

    >>> import tapegrad as tg
    >>> tg.losses.gaussian_kl_loss(tg.tensor([[1.0, 2.0]]), tg.tensor([[0.0, 0.0]]))
    tensor(2.5000)

    Source: Kingma and Welling (2014), Auto-encoding variational Bayes, appendix B.
    """
    what = "gaussian_kl_loss"
    mean, log_var = matching(what, mean=mean, log_var=log_var)
    _rows(what, "mean", mean)
    shift, ratio = mean, log_var
    if not is_number_zero(prior_mean):
        shift = mean - _fitting(what, "prior_mean", prior_mean, mean)
    if not is_number_zero(prior_log_var):
        prior_log_var = _fitting(what, "prior_log_var", prior_log_var, mean)
        ratio = log_var - prior_log_var
        shift = times_exp(shift, -0.5 * prior_log_var)
    # expm1(d) - d keeps its digits where the Gaussians nearly agree; e^d - 1 - d does not.
    return reduce(_of_each(0.5 * (shift * shift + (expm1(ratio) - ratio))), reduction)


def bernoulli_reconstruction_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """-log p(target) of independent Bernoullis: Σ [softplus(z) - z·t], z logits.

    ``input``: logits z from the decoder, (N, ...); ``target``: t of the same shape, in [0, 1],
    such as the brightness of pixels. The sum is over all but the first dimension; ``reduction``:
    over samples.

    Raises ValueError when the shapes differ, the batch is empty or a target is outside [0, 1].

    >>> import tapegrad as tg
    >>> z, t = tg.tensor([[0.0, 1000.0]]), tg.tensor([[1.0, 1.0]])
    >>> tg.losses.bernoulli_reconstruction_loss(z, t)
    tensor(0.6931)

    Source: Kingma and Welling (2014), Auto-encoding variational Bayes, appendix C.1.
    """
    what = "bernoulli_reconstruction_loss"
    input, target = matching(what, input=input, target=target)
    _rows(what, "input", input)
    inside(what, "target", target, 0.0, 1.0)
    each = binary_cross_entropy_with_logits(input, target, reduction="none")
    return reduce(_of_each(each), reduction)


def gaussian_reconstruction_loss(
    input: Tensor, target: Tensor, log_var: Any = 0.0, reduction: str = "mean"
) -> Tensor:
    """-log p(target) of independent Gaussians: ½ Σ [(input - target)²/v + ln v + ln 2π].

    ``input``: means from the decoder, (N, ...); ``target``: the same shape; ``log_var``: ln v, one
    number (learned or not) or a tensor that broadcasts to that shape; it has a gradient. The sum
    is over all but the first dimension; ``reduction``: over samples. With ln 2π, so that the ELBO
    is a bound on the log-likelihood.

    Raises ValueError when shapes do not fit or the batch is empty.

    >>> import tapegrad as tg
    >>> x, t = tg.tensor([[1.0, 0.0]]), tg.tensor([[0.0, 0.0]])
    >>> tg.losses.gaussian_reconstruction_loss(x, t)
    tensor(2.3379)

    Source: Kingma and Welling (2014), Auto-encoding variational Bayes, appendix C.2.
    """
    what = "gaussian_reconstruction_loss"
    input, target = matching(what, input=input, target=target)
    _rows(what, "input", input)
    error, normaliser = input - target, log(2.0 * pi)
    if not is_number_zero(log_var):
        log_var = _fitting(what, "log_var", log_var, input)
        error, normaliser = times_exp(error, -0.5 * log_var), normaliser + log_var
    return reduce(_of_each(0.5 * (error * error + normaliser)), reduction)


def elbo_loss(
    reconstruction: Tensor, kl: Tensor, beta: Any = 1.0, reduction: str = "mean"
) -> Tensor:
    """Minus the evidence lower bound: reconstruction + beta·kl.

    ``reconstruction``: -log p(x | z), ``kl``: KL(q(z | x) ‖ p(z)); both of each sample, (N,), as
    ``reduction="none"`` gives them, or both means already, (). ``beta``: how much the latter
    counts, 1 for the bound itself, more for latent numbers that are independent of each other;
    may be a Tensor and has a gradient.

    Raises ValueError when the shapes differ or the batch is empty.

    >>> import tapegrad as tg
    >>> tg.losses.elbo_loss(tg.tensor([80.0, 90.0]), tg.tensor([5.0, 7.0]), beta=4.0)
    tensor(109.)

    Source: Kingma and Welling (2014), Auto-encoding variational Bayes; beta: Higgins et al.
    (2017), beta-VAE: learning basic visual concepts with a constrained variational framework.
    """
    reconstruction, kl = matching("elbo_loss", reconstruction=reconstruction, kl=kl)
    setting("elbo_loss", "beta", beta, kl.shape)
    return reduce(reconstruction + beta * kl, reduction)


def vae_loss(
    input: Tensor,
    target: Tensor,
    mean: Tensor,
    log_var: Tensor,
    beta: Any = 1.0,
    likelihood: str = "bernoulli",
    reduction: str = "mean",
) -> Tensor:
    """Variational autoencoder: -log p(target | z) + beta·KL(N(mean, e^log_var) ‖ N(0, 1)).

    ``input``: what the decoder makes of a draw z (:func:`reparameterize`), (N, ...): logits for
    ``likelihood="bernoulli"``, means for "gaussian" (of variance 1); ``target``: the data, the
    same shape; ``mean``, ``log_var``: what the encoder says, (N, latent ...). It is
    :func:`elbo_loss` of :func:`bernoulli_reconstruction_loss` or
    :func:`gaussian_reconstruction_loss`, and :func:`gaussian_kl_loss`; for other settings of
    those, put it together from them.

    Raises ValueError when shapes do not fit, the batch is empty, a target for "bernoulli" is
    outside [0, 1], or for an unknown likelihood.

    >>> import tapegrad as tg
    >>> z, t = tg.tensor([[0.0, 1000.0]]), tg.tensor([[1.0, 1.0]])
    >>> tg.losses.vae_loss(z, t, mean=tg.tensor([[2.0]]), log_var=tg.tensor([[0.0]]))
    tensor(2.6931)

    Source: Kingma and Welling (2014), Auto-encoding variational Bayes; beta: Higgins et al.
    (2017), beta-VAE: learning basic visual concepts with a constrained variational framework.
    """
    if likelihood not in LIKELIHOODS:
        raise ValueError(
            f'vae_loss: likelihood must be "bernoulli" or "gaussian", not {likelihood!r}'
        )
    reconstruction = LIKELIHOODS[likelihood](input, target, reduction="none")
    kl = gaussian_kl_loss(mean, log_var, reduction="none")
    if reconstruction.shape != kl.shape:
        raise ValueError(
            f"vae_loss: input has {reconstruction.shape[0]} samples (its shape is {input.shape}) "
            f"but mean has {kl.shape[0]} (its shape is {mean.shape})"
        )
    return elbo_loss(reconstruction, kl, beta, reduction)


LIKELIHOODS: dict[str, Callable[..., Tensor]] = {
    "bernoulli": bernoulli_reconstruction_loss,
    "gaussian": gaussian_reconstruction_loss,
}


def _rows(what: str, name: str, value: Tensor) -> None:
    """Refuse what does not tell samples from their dimensions."""
    if value.ndim < 2:
        raise ValueError(
            f"{what}: {name} must have shape (N, ...), a row for each sample, not {value.shape}"
        )


def _of_each(values: Tensor) -> Tensor:
    """The sum over each sample's own dimensions."""
    return values.sum(dim=tuple(range(1, values.ndim)))


def _fitting(what: str, name: str, value: Any, like: Tensor) -> Any:
    """A setting, number or Tensor, that must broadcast to the operands without widening them."""
    if type(value) in (int, float):
        return as_tensor(value, dtype=like.dtype)
    (value,) = tensors(what, **{name: value})
    try:
        broadcast_to(value, like.shape)
    except ValueError:
        raise ValueError(
            f"{what}: {name} must be a number or broadcast to shape {like.shape}, but its shape "
            f"is {value.shape}"
        ) from None
    return value


class GaussianKLLoss(Loss):
    """:func:`gaussian_kl_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.GaussianKLLoss(prior_mean=1.0)
    >>> loss(tg.tensor([[1.0, 2.0]]), tg.tensor([[0.0, 0.0]]))
    tensor(0.5000)
    """

    function = staticmethod(gaussian_kl_loss)


class BernoulliReconstructionLoss(Loss):
    """:func:`bernoulli_reconstruction_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.BernoulliReconstructionLoss()
    >>> loss(tg.tensor([[0.0, 0.0]]), tg.tensor([[1.0, 0.0]]))
    tensor(1.3863)
    """

    function = staticmethod(bernoulli_reconstruction_loss)


class GaussianReconstructionLoss(Loss):
    """:func:`gaussian_reconstruction_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.GaussianReconstructionLoss(log_var=-1.0)
    >>> loss(tg.tensor([[1.0]]), tg.tensor([[1.0]]))
    tensor(0.4189)
    """

    function = staticmethod(gaussian_reconstruction_loss)


class ELBOLoss(Loss):
    """:func:`elbo_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.ELBOLoss(beta=2.0)(tg.tensor([3.0]), tg.tensor([0.5]))
    tensor(4.)
    """

    function = staticmethod(elbo_loss)


class VAELoss(Loss):
    """:func:`vae_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.VAELoss(beta=0.5, likelihood="gaussian")
    >>> x, mean = tg.tensor([[1.0]]), tg.tensor([[2.0]])
    >>> loss(x, x, mean, tg.tensor([[0.0]]))
    tensor(1.9189)
    """

    function = staticmethod(vae_loss)


ROWS = (
    Row(
        gaussian_kl_loss,
        (REAL, REAL),
        GaussianKLLoss,
        names=("gaussian_kl",),
        settings=(
            {"prior_mean": 0.4, "prior_log_var": -0.3},
            {"prior_mean": REAL, "prior_log_var": REAL},
        ),
    ),
    Row(
        bernoulli_reconstruction_loss,
        (LOGITS, PROBABILITY),
        BernoulliReconstructionLoss,
        names=("bernoulli_reconstruction",),
    ),
    Row(
        gaussian_reconstruction_loss,
        (REAL, REAL),
        GaussianReconstructionLoss,
        names=("gaussian_reconstruction",),
        settings=({"log_var": 0.6}, {"log_var": REAL}),
    ),
    Row(
        elbo_loss,
        (REALS, REALS),
        ELBOLoss,
        names=("elbo",),
        settings=({"beta": 4.0},),
    ),
    Row(
        vae_loss,
        (LOGITS, PROBABILITY, REAL, REAL),
        VAELoss,
        names=("vae", "beta_vae"),
        settings=({"beta": 4.0}, {"likelihood": "gaussian"}),
    ),
)
