"""SGD with momentum that can be run backwards to the last bit.

Momentum multiplies the velocity by μ < 1, which forgets: in floating point the way back from the
end of a run blows rounding errors up by 1/μ per step and soon means nothing. So parameters and
velocities are whole multiples of 2⁻⁴⁴ here. What is added can be subtracted again exactly; what
``⌊V·n/d⌋`` (μ = n/d) forgets is which of the few whole numbers that lead there V was, and those
numbers, a fraction of a bit per step, are kept as the digits of one integer per entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from tapegrad import Tensor, check, get_rng_state, ones_like, set_rng_state, zeros_like
from tapegrad.trees import flatten, unflatten

from .rule import at, directed
from .running import Run, added, begin, pull

#: Binary places of the whole numbers, and the bits that they may have in all.
PLACES, BITS = 44, 62
MOST = 2 ** (BITS - PLACES)
BEYOND = (
    f"unroll: method='reversible' counts in whole numbers, for magnitudes below {MOST}; "
    "a parameter, gradient or velocity is beyond: {}"
)


class ExactMomentum(NamedTuple):
    """The settings of a momentum rule, for its steps in whole numbers."""

    lr: Any
    momentum: Any
    dampening: Any
    weight_decay: Any
    maximize: bool

    def force(self, w: Tensor, g: Tensor, t: int) -> Tensor:
        """What step t adds to the velocity."""
        g = directed(g, w, self.maximize, at(self.weight_decay, t - 1))
        return g if t == 1 else g * (1.0 - at(self.dampening, t - 1))

    def move(self, velocity: Tensor, t: int) -> Tensor:
        """What step t takes from the parameter."""
        return at(self.lr, t - 1) * velocity

    def ratio(self, t: int) -> tuple[int, int]:
        """The momentum of step t as a ratio of whole numbers below 2³¹, to the last digit."""
        mu = at(self.momentum, t - 1)
        if isinstance(mu, Tensor):
            if mu.numel() != 1:
                raise ValueError(
                    "unroll: method='reversible' needs one momentum for all entries, and it has "
                    f"shape {mu.shape} at step {t}; 'reverse', 'checkpoint' and 'forward' take it"
                )
            mu = mu.item()
        n, d = Fraction(mu).limit_denominator(2**30).as_integer_ratio()
        if not 0 < n < 2 * d:
            raise ValueError(
                "unroll: method='reversible' needs a momentum above 0 and below 2 (as a ratio of "
                f"whole numbers below 2³¹), and it is {mu} at step {t}"
            )
        return n, d


class Track:
    """One parameter and its velocity in whole numbers, forwards and backwards.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.reversible import ExactMomentum, Track
    >>> exact = ExactMomentum(0.1, 0.9, 0.0, 0.0, False)
    >>> track = Track(tg.tensor([1.0, -2.0], dtype="float64"))
    >>> for t in range(1, 100):
    ...     track.forward(exact, 2.0 * track.weight(), t)
    >>> track.weight()
    tensor([-0.0007,  0.0013], dtype=float64)
    >>> for t in reversed(range(1, 100)):
    ...     track.back_weight(exact, t)
    ...     track.back_velocity(exact, 2.0 * track.weight(), t)
    >>> track.weight()
    tensor([ 1., -2.], dtype=float64)
    """

    def __init__(self, w: Tensor) -> None:
        self.dtype = w.dtype
        self.w = whole(w)
        self.v = zeros_like(self.w)
        #: What the multiplications forgot, as digits of changing bases.
        self.digits = zeros_like(self.w)
        #: Digits that were full, with the step before which they were put away.
        self.full: list[tuple[int, Tensor]] = []

    def weight(self) -> Tensor:
        """The parameter."""
        return real(self.w, self.dtype)

    def velocity(self) -> Tensor:
        """Its velocity."""
        return real(self.v, self.dtype)

    def forward(self, exact: ExactMomentum, g: Tensor, t: int) -> None:
        """Make step t, with the gradient at the parameter."""
        if t > 1:
            n, d = exact.ratio(t)
            if (self.digits >= 2**BITS // (d // n + 2)).any():
                self.full.append((t, self.digits))
                self.digits = zeros_like(self.digits)
            shrunk = within(scaled_down(self.v, n, d))
            first, count = preimages(shrunk, n, d)
            self.digits = self.digits * count + (self.v - first)
            self.v = shrunk
        self.v = within(self.v + whole(exact.force(self.weight(), g, t)))
        self.w = within(self.w - whole(exact.move(self.velocity(), t)))

    def back_weight(self, exact: ExactMomentum, t: int) -> None:
        """Undo what step t did to the parameter."""
        self.w = self.w + whole(exact.move(self.velocity(), t))

    def back_velocity(self, exact: ExactMomentum, g: Tensor, t: int) -> None:
        """Then what it did to the velocity, with the gradient at the parameter."""
        self.v = self.v - whole(exact.force(self.weight(), g, t))
        if t > 1:
            first, count = preimages(self.v, *exact.ratio(t))
            self.v = first + self.digits % count
            self.digits = self.digits // count
            if self.full and self.full[-1][0] == t:
                _, self.digits = self.full.pop()


def whole(x: Tensor) -> Tensor:
    """A tensor as whole multiples of 2⁻⁴⁴.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.reversible import whole
    >>> whole(tg.tensor([1.0, -0.25])) // 2**42
    tensor([ 4, -1])
    """
    check(abs(x) < MOST, BEYOND, x)
    return (x.double() * 2.0**PLACES).round().long()


def within(x: Tensor) -> Tensor:
    """Sums of such, which must have the bits to be added to again.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.reversible import within
    >>> within(tg.tensor([2**62]))
    Traceback (most recent call last):
    tapegrad.errors.CheckError: unroll: method='reversible' counts in whole numbers, for ...
    """
    check(abs(x) < 2**BITS, BEYOND, real(x, "float64"))
    return x


def real(x: Tensor, dtype: Any) -> Tensor:
    """The numbers again of which these are the multiples."""
    return (x.double() * 2.0**-PLACES).to(dtype)


def scaled_down(v: Tensor, n: int, d: int) -> Tensor:
    """⌊v·n/d⌋, without overflow on the way.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.reversible import scaled_down
    >>> scaled_down(tg.tensor([-11, 9, 10, 11]), 9, 10)
    tensor([-10,   8,   9,   9])
    """
    return v // d * n + v % d * n // d


def preimages(u: Tensor, n: int, d: int) -> tuple[Tensor, Tensor]:
    """The first whole number v with ⌊v·n/d⌋ = u, and how many there are.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.reversible import preimages
    >>> preimages(tg.tensor([8, 9, 10]), 9, 10)
    (tensor([ 9, 10, 12]), tensor([1, 2, 1]))
    """
    first = _up(u, d, n)
    return first, _up(u + 1, d, n) - first


def _up(u: Tensor, d: int, n: int) -> Tensor:
    """⌈u·d/n⌉, without overflow on the way."""
    return u // n * d - -(u % n * d) // n


def reversible(run: Run) -> tuple[Tensor, list[Tensor]]:
    """The outer loss and its gradients, tracing the run back from its end.

    Source: Maclaurin, Duvenaud and Adams (2015), Gradient-based hyperparameter optimization through
    reversible learning (there what is forgotten is kept in another code).
    """
    exact = run.rule.exact
    if exact is None:
        raise ValueError(
            "unroll: method='reversible' can trace back sgd with a momentum and without nesterov, "
            "and nothing wrapped around it; this rule is another. 'reverse', 'checkpoint' and "
            "'forward' can differentiate it."
        )
    beginning, state = run.start()
    leaves, recipe = flatten(beginning)
    memory = flatten(state)[1]
    tracks = [Track(w) for w in leaves]
    batches = list(run.batches)
    drawn: dict[int, Tensor] = {}  # the random state before the steps that draw

    def here() -> list[Tensor]:
        return [begin(track.weight()) for track in tracks]

    for t, batch in enumerate(batches, 1):
        before = get_rng_state()
        _, grads = run.gradients(unflatten(recipe, here()), batch)
        if (get_rng_state() != before).any():
            drawn[t] = before
        for track, g in zip(tracks, flatten(grads)[0], strict=True):
            track.forward(exact, g, t)
    params = here()
    value = run.result(unflatten(recipe, params))
    count = len(params)
    found = pull([value], [ones_like(value)], [*params, *run.wrt])
    pulled: list[Any] = [*found[:count], *([None] * count)]
    total: Sequence[Any] = found[count:]
    after = get_rng_state()
    for t in range(len(batches), 0, -1):
        for track in tracks:
            track.back_weight(exact, t)
        if t in drawn:
            set_rng_state(drawn[t])
        params = here()
        _, grads = run.gradients(unflatten(recipe, params), batches[t - 1])
        for track, g in zip(tracks, flatten(grads)[0], strict=True):
            track.back_velocity(exact, g, t)
        speeds = [begin(track.velocity()) for track in tracks]
        state = unflatten(memory, [t - 1, *speeds])
        moved, state = run.rule.update(unflatten(recipe, params), grads, state)
        ends = [*flatten(moved)[0], *flatten(state)[0][1:]]
        found = pull(ends, pulled, [*params, *speeds, *run.wrt])
        pulled, total = list(found[: 2 * count]), added(total, found[2 * count :])
    set_rng_state(after)
    if any((track.w != whole(w)).any() for track, w in zip(tracks, leaves, strict=True)):
        raise RuntimeError(
            "unroll: method='reversible' did not come back to the beginning of the run: the loss "
            "does not give the same gradient when it is computed again"
        )
    total = added(total, pull(leaves, pulled[:count], run.wrt))
    return value, run.found(total)
