"""Losses of generative adversarial networks.

A discriminator (or critic) and a generator are trained in turn, each by a loss of its own. In the
generator's turn the fake scores keep their tape; in the other's make the fakes with
``with tg.no_grad()`` or detach them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad import (
    Tensor,
    as_tensor,
    func,
    linalg,
    linspace,
    logsigmoid,
    rand,
    randn,
    relu,
    sin,
    softplus,
)

from .base import Loss
from .checks import (
    floating,
    inside,
    is_number_zero,
    matching,
    not_empty,
    setting,
    tensors,
)
from .kinds import PROBABILITIES, REAL, REALS, Kind
from .reducing import reduce
from .table import Row

__all__ = [
    "GradientPenalty",
    "HingeDiscriminatorLoss",
    "LeastSquaresDiscriminatorLoss",
    "LeastSquaresGeneratorLoss",
    "MinimaxDiscriminatorLoss",
    "MinimaxGeneratorLoss",
    "NonSaturatingGeneratorLoss",
    "WassersteinCriticLoss",
    "WassersteinGeneratorLoss",
    "gradient_penalty",
    "hinge_discriminator_loss",
    "least_squares_discriminator_loss",
    "least_squares_generator_loss",
    "minimax_discriminator_loss",
    "minimax_generator_loss",
    "non_saturating_generator_loss",
    "wasserstein_critic_loss",
    "wasserstein_generator_loss",
]


def minimax_discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, label_smoothing: Any = 0.0
) -> Tensor:
    """GAN, discriminator: -mean log D(real) - mean log(1 - D(fake)), D = sigmoid(logits).

    ``real_logits``, ``fake_logits``: what the discriminator says, of shapes that may differ in
    the number of samples, the first dimension: each mean is over its own. ``label_smoothing``: s
    in [0, 1], may be a Tensor and has a gradient: the real ones' label is 1 - s instead of 1 (the
    fake ones' stays 0). Exact and finite for any logits. It is 2 ln 2 for a discriminator that
    cannot tell.

    Raises ValueError for other shapes, an empty batch or a smoothing outside [0, 1].

    >>> import tapegrad as tg
    >>> tg.losses.minimax_discriminator_loss(tg.tensor([0.0, 0.0]), tg.tensor([0.0]))
    tensor(1.3863)

    Source: Goodfellow et al. (2014), Generative adversarial nets; smoothing: Salimans et al.
    (2016), Improved techniques for training GANs.
    """
    what = "minimax_discriminator_loss"
    real, fake = _two_batches(what, real_logits=real_logits, fake_logits=fake_logits)
    real_loss = softplus(-real)
    if not is_number_zero(label_smoothing):
        setting(what, "label_smoothing", label_smoothing, real.shape)
        inside(what, "label_smoothing", as_tensor(label_smoothing), 0.0, 1.0)
        real_loss = real_loss + label_smoothing * real
    return real_loss.mean() + softplus(fake).mean()


def minimax_generator_loss(fake_logits: Tensor, reduction: str = "mean") -> Tensor:
    """GAN, generator by the minimax game: mean of log(1 - D(fake)), D = sigmoid(logits).

    ``fake_logits``: any shape. What the discriminator maximises, minimised. Its gradient vanishes
    while the discriminator is sure, early in training, which
    :func:`non_saturating_generator_loss` mends.

    Raises ValueError for an empty batch.

    >>> import tapegrad as tg
    >>> logits = tg.tensor([-10.0], requires_grad=True)
    >>> tg.losses.minimax_generator_loss(logits).backward()
    >>> round(logits.grad.item(), 6)
    -4.5e-05

    Source: Goodfellow et al. (2014), Generative adversarial nets, equation 1.
    """
    (fake,) = matching("minimax_generator_loss", fake_logits=fake_logits)
    return reduce(-softplus(fake), reduction)


def non_saturating_generator_loss(fake_logits: Tensor, reduction: str = "mean") -> Tensor:
    """GAN, generator as it is trained: mean of -log D(fake), D = sigmoid(logits).

    ``fake_logits``: any shape. Same fixed point as :func:`minimax_generator_loss`, but its gradient
    is large where the discriminator sees through the fakes.

    Raises ValueError for an empty batch.

    >>> import tapegrad as tg
    >>> logits = tg.tensor([-10.0], requires_grad=True)
    >>> tg.losses.non_saturating_generator_loss(logits).backward()
    >>> logits.grad
    tensor([-1.0000])

    Source: Goodfellow et al. (2014), Generative adversarial nets, section 3.
    """
    (fake,) = matching("non_saturating_generator_loss", fake_logits=fake_logits)
    return reduce(-logsigmoid(fake), reduction)


def least_squares_discriminator_loss(
    real_scores: Tensor, fake_scores: Tensor, a: Any = 0.0, b: Any = 1.0
) -> Tensor:
    """Least-squares GAN, discriminator: ½ mean (D(real) - b)² + ½ mean (D(fake) - a)².

    ``real_scores``, ``fake_scores``: as in :func:`minimax_discriminator_loss`, scores without a
    sigmoid. ``a``, ``b``: the labels of fake and real; may be Tensors and have a gradient.

    Raises ValueError for other shapes or an empty batch.

    >>> import tapegrad as tg
    >>> tg.losses.least_squares_discriminator_loss(tg.tensor([0.0]), tg.tensor([2.0]))
    tensor(2.5000)

    Source: Mao et al. (2017), Least squares generative adversarial networks.
    """
    what = "least_squares_discriminator_loss"
    real, fake = _two_batches(what, real_scores=real_scores, fake_scores=fake_scores)
    setting(what, "a", a, fake.shape)
    setting(what, "b", b, real.shape)
    real_error = real - b
    fake_error = fake if is_number_zero(a) else fake - a
    return 0.5 * ((real_error * real_error).mean() + (fake_error * fake_error).mean())


def least_squares_generator_loss(
    fake_scores: Tensor, c: Any = 1.0, reduction: str = "mean"
) -> Tensor:
    """Least-squares GAN, generator: mean of ½ (D(fake) - c)².

    ``fake_scores``: any shape; ``c``: what the generator wants the discriminator to say of fakes;
    may be a Tensor and has a gradient. With labels a = 0, b = c = 1 fakes are drawn to the real
    label; with a = -1, b = 1, c = 0 (b - c = 1 and b - a = 2) the game minimises a Pearson χ²
    divergence.

    Raises ValueError for an empty batch.

    >>> import tapegrad as tg
    >>> tg.losses.least_squares_generator_loss(tg.tensor([0.0, 3.0]))
    tensor(1.2500)

    Source: Mao et al. (2017), Least squares generative adversarial networks.
    """
    (fake,) = matching("least_squares_generator_loss", fake_scores=fake_scores)
    setting("least_squares_generator_loss", "c", c, fake.shape)
    error = fake - c
    return reduce(0.5 * error * error, reduction)


def hinge_discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Hinge GAN, discriminator: mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)).

    ``real_scores``, ``fake_scores``: as in :func:`minimax_discriminator_loss`, scores without a
    sigmoid. Its generator's loss is :func:`wasserstein_generator_loss`. The derivative at a kink
    is 0.

    Raises ValueError for other shapes or an empty batch.

    >>> import tapegrad as tg
    >>> tg.losses.hinge_discriminator_loss(tg.tensor([0.5, 2.0]), tg.tensor([0.5]))
    tensor(1.7500)

    Source: Lim and Ye (2017), Geometric GAN.
    """
    real, fake = _two_batches(
        "hinge_discriminator_loss", real_scores=real_scores, fake_scores=fake_scores
    )
    return relu(1.0 - real).mean() + relu(1.0 + fake).mean()


def wasserstein_critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Wasserstein GAN, critic: mean of the fake scores - mean of the real ones.

    ``real_scores``, ``fake_scores``: as in :func:`minimax_discriminator_loss`, any real numbers,
    without a sigmoid. Minus this is the Wasserstein distance of the two only if the critic is the
    best among 1-Lipschitz functions (|f(x) - f(y)| ≤ |x - y|). The loss does not see to that, and
    without it has no minimum: add :func:`gradient_penalty`, or clip the critic's weights after
    each step, as in the source (``for w in critic.parameters(): w.clamp_(-0.01, 0.01)`` under
    ``no_grad``).

    Raises ValueError for other shapes or an empty batch.

    >>> import tapegrad as tg
    >>> tg.losses.wasserstein_critic_loss(tg.tensor([1.0, 3.0]), tg.tensor([0.5]))
    tensor(-1.5000)

    Source: Arjovsky et al. (2017), Wasserstein generative adversarial networks.
    """
    real, fake = _two_batches(
        "wasserstein_critic_loss", real_scores=real_scores, fake_scores=fake_scores
    )
    return fake.mean() - real.mean()


def wasserstein_generator_loss(fake_scores: Tensor, reduction: str = "mean") -> Tensor:
    """Wasserstein GAN, generator: minus the mean of the fake scores.

    ``fake_scores``: any shape, from a critic held 1-Lipschitz; see
    :func:`wasserstein_critic_loss`.

    Raises ValueError for an empty batch.

    >>> import tapegrad as tg
    >>> tg.losses.wasserstein_generator_loss(tg.tensor([0.5, 1.5]))
    tensor(-1.)

    Source: Arjovsky et al. (2017), Wasserstein generative adversarial networks.
    """
    (fake,) = matching("wasserstein_generator_loss", fake_scores=fake_scores)
    return reduce(-fake, reduction)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    weight: Any = 10.0,
    target: Any = 1.0,
    mixing: Any = None,
    generator: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """WGAN-GP: mean of weight·(‖∇ critic(x)‖ - target)², x = mixing·real + (1 - mixing)·fake.

    ``critic``: takes a batch like ``real`` and gives one score for each sample, (N,) or (N, ...),
    each from its own sample alone (so no batch normalisation). ``real``, ``fake``: (N, ...), the
    same shape. ``weight``: the source's λ; ``target``: the norm wanted; both may be Tensors and
    have a gradient. ``mixing``: numbers in [0, 1], (N,) or one for all; by default drawn uniformly
    from ``generator``, or the global one. The norm is Euclidean, over all of a sample.

    The gradient inside is on the tape, so the penalty's own gradient by the critic's parameters is
    a second derivative; so is that by ``real`` and ``fake``. At a zero gradient the norm has a kink
    and its derivative counts as 0: the penalty is finite there, but does not move the critic.

    Raises ValueError when the shapes differ, the batch is empty, the critic gives another number of
    scores, or mixing is outside [0, 1].

    >>> import tapegrad as tg
    >>> slope = tg.tensor([3.0, 4.0], requires_grad=True)
    >>> real, fake = tg.tensor([[1.0, 2.0]]), tg.tensor([[0.0, 1.0]])
    >>> penalty = tg.losses.gradient_penalty(lambda x: x @ slope, real, fake)
    >>> penalty.backward()
    >>> penalty, slope.grad
    (tensor(160., grad_fn=<mean>), tensor([48., 64.]))

    Source: Gulrajani et al. (2017), Improved training of Wasserstein GANs.
    """
    what = "gradient_penalty"
    if not callable(critic):
        raise TypeError(
            f"{what}: critic must be callable, not {type(critic).__name__}: the order is (critic, "
            "real, fake)"
        )
    real, fake = matching(what, real=real, fake=fake)
    if not real.ndim:
        raise ValueError(f"{what}: real must have shape (N, ...), not {real.shape}")
    rows = real.shape[0]
    setting(what, "weight", weight, (rows,))
    setting(what, "target", target, (rows,))
    if mixing is None:
        mixing = rand(rows, dtype=real.dtype, generator=generator)
    else:
        setting(what, "mixing", mixing, (rows,))
        mixing = as_tensor(mixing)
        inside(what, "mixing", mixing, 0.0, 1.0)
    if mixing.ndim:
        mixing = mixing.reshape((-1,) + (1,) * (real.ndim - 1))

    def total(x: Tensor) -> Tensor:
        scores = critic(x)
        if not isinstance(scores, Tensor) or scores.shape[:1] != (rows,):
            got = scores.shape if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"{what}: the critic must give a tensor of one score for each of the {rows} "
                f"samples, ({rows},) or ({rows}, ...), not {got}"
            )
        return scores.sum()

    slopes = func.grad(total)(fake + mixing * (real - fake))
    excess = linalg.vector_norm(slopes.reshape(rows, -1), dim=1) - target
    return reduce(weight * excess * excess, reduction)


def _two_batches(what: str, **scores: Any) -> list[Tensor]:
    """Scores of real and fake samples, alike but for their numbers."""
    found = tensors(what, **scores)
    for name, value in zip(scores, found):
        floating(what, name, value)
        not_empty(what, name, value)
    (first, second), (real, fake) = scores, found
    if real.ndim != fake.ndim or real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"{what}: {first} and {second} may differ in the number of samples, the first "
            f"dimension, but in nothing else; their shapes are {real.shape} and {fake.shape}"
        )
    return found


class MinimaxDiscriminatorLoss(Loss):
    """:func:`minimax_discriminator_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.MinimaxDiscriminatorLoss(label_smoothing=0.1)
    >>> loss(tg.tensor([2.0]), tg.tensor([0.0]))
    tensor(1.0201)
    """

    function = staticmethod(minimax_discriminator_loss)


class MinimaxGeneratorLoss(Loss):
    """:func:`minimax_generator_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.MinimaxGeneratorLoss()(tg.tensor([0.0]))
    tensor(-0.6931)
    """

    function = staticmethod(minimax_generator_loss)


class NonSaturatingGeneratorLoss(Loss):
    """:func:`non_saturating_generator_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.NonSaturatingGeneratorLoss()(tg.tensor([0.0, -1000.0]))
    tensor(500.3466)
    """

    function = staticmethod(non_saturating_generator_loss)


class LeastSquaresDiscriminatorLoss(Loss):
    """:func:`least_squares_discriminator_loss` with its settings.

    >>> import tapegrad as tg
    >>> loss = tg.losses.LeastSquaresDiscriminatorLoss(a=-1.0)
    >>> loss(tg.tensor([1.0]), tg.tensor([0.0]))
    tensor(0.5000)
    """

    function = staticmethod(least_squares_discriminator_loss)


class LeastSquaresGeneratorLoss(Loss):
    """:func:`least_squares_generator_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.LeastSquaresGeneratorLoss(c=0.0)(tg.tensor([1.0]))
    tensor(0.5000)
    """

    function = staticmethod(least_squares_generator_loss)


class HingeDiscriminatorLoss(Loss):
    """:func:`hinge_discriminator_loss`, which has no settings.

    >>> import tapegrad as tg
    >>> tg.losses.HingeDiscriminatorLoss()(tg.tensor([0.0]), tg.tensor([0.0]))
    tensor(2.)
    """

    function = staticmethod(hinge_discriminator_loss)


class WassersteinCriticLoss(Loss):
    """:func:`wasserstein_critic_loss`, which has no settings.

    >>> import tapegrad as tg
    >>> tg.losses.WassersteinCriticLoss()(tg.tensor([1.0]), tg.tensor([0.0]))
    tensor(-1.)
    """

    function = staticmethod(wasserstein_critic_loss)


class WassersteinGeneratorLoss(Loss):
    """:func:`wasserstein_generator_loss` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.WassersteinGeneratorLoss()(tg.tensor([1.0, 3.0]))
    tensor(-2.)
    """

    function = staticmethod(wasserstein_generator_loss)


class GradientPenalty(Loss):
    """:func:`gradient_penalty` with its settings: called as ``(critic, real, fake)``.

    >>> import tapegrad as tg
    >>> penalty = tg.losses.GradientPenalty(weight=1.0)
    >>> penalty(lambda x: 3.0 * x.sum(dim=1), tg.zeros(2, 1), tg.ones(2, 1))
    tensor(4.)
    """

    function = staticmethod(gradient_penalty)


#: Fakes, two more than there are real ones: (rows + 2,) and (rows + 2, columns).
MORE_REALS = Kind(lambda n, c, g: randn(n + 2, dtype="float64", generator=g))
MORE_REAL = Kind(lambda n, c, g: randn(n + 2, c, dtype="float64", generator=g))


def _try_gradient_penalty(real: Any, fake: Any, mixing: Any = None, **settings: Any) -> Tensor:
    """The penalty of a small critic, by default without chance."""
    if mixing is None and isinstance(real, Tensor):
        mixing = linspace(0.2, 0.8, real.shape[0], dtype=real.dtype)
    return gradient_penalty(lambda x: sin(x).sum(dim=1), real, fake, mixing=mixing, **settings)


ROWS = (
    Row(
        minimax_discriminator_loss,
        (REALS, MORE_REALS),
        MinimaxDiscriminatorLoss,
        names=("gan_discriminator",),
        settings=({"label_smoothing": 0.1},),
        uneven=True,
    ),
    Row(minimax_generator_loss, (REAL,), MinimaxGeneratorLoss, names=("gan_generator",)),
    Row(
        non_saturating_generator_loss,
        (REAL,),
        NonSaturatingGeneratorLoss,
        names=("non_saturating_gan",),
    ),
    Row(
        least_squares_discriminator_loss,
        (REAL, MORE_REAL),
        LeastSquaresDiscriminatorLoss,
        names=("lsgan_discriminator",),
        settings=({"a": -1.0, "b": 0.7},),
        uneven=True,
    ),
    Row(
        least_squares_generator_loss,
        (REAL,),
        LeastSquaresGeneratorLoss,
        names=("lsgan_generator",),
        settings=({"c": 0.5},),
    ),
    Row(
        hinge_discriminator_loss,
        (REALS, MORE_REALS),
        HingeDiscriminatorLoss,
        names=("hinge_gan",),
        uneven=True,
    ),
    Row(
        wasserstein_critic_loss,
        (REALS, MORE_REALS),
        WassersteinCriticLoss,
        names=("wgan_critic",),
        uneven=True,
    ),
    Row(wasserstein_generator_loss, (REAL,), WassersteinGeneratorLoss, names=("wgan_generator",)),
    Row(
        gradient_penalty,
        (REAL, REAL),
        GradientPenalty,
        names=("wgan_gp",),
        settings=({"weight": 3.0, "target": 0.5}, {"mixing": PROBABILITIES}, {"mixing": 0.3}),
        call=_try_gradient_penalty,
    ),
)
