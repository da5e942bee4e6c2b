"""Averages of weights, beside an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tapegrad import Tensor, enable_grad, no_grad

from .optimizer import put
from .rule import Params, State, _each, at, below_one, moving_average
from .snapshots import copied, detached
from .table import Row

__all__ = ["EMA", "ema"]


class Averaging(NamedTuple):
    """An average of parameters: ``init(params)``, ``update(params, state) -> (average, state)``."""

    init: Callable[[Params], State]
    update: Callable[[Params, State], tuple[Params, State]]


def ema(decay: Any = 0.999) -> Averaging:
    """The exponential moving average of weights: a ← d·a + (1-d)·w, and a = w at first.

    Call ``update(params, state)`` after every step. ``decay`` may be a number, a Tensor or a
    schedule of the updates made before: ``lambda n: min(0.999, (1 + n) / (10 + n))`` forgets the
    beginning sooner. The first update takes the weights as they are, as torch's AveragedModel and
    Keras do.

    Raises ValueError for a decay outside [0, 1).

    >>> import tapegrad as tg
    >>> average = tg.optim.functional.ema(decay=0.75)
    >>> state = average.init([tg.tensor(0.0)])
    >>> for w in (1.0, 2.0):
    ...     averaged, state = average.update([tg.tensor(w)], state)
    >>> averaged
    [tensor(1.2500)]

    Source: Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging;
    Tarvainen and Valpola (2017), Mean teachers are better role models.
    """
    below_one("ema", decay=decay)

    def init(params: Params) -> State:
        return State(0, _each(lambda w: w.clone(), params))

    def update(params: Params, state: State) -> tuple[Params, State]:
        kept = at(decay, state.step)
        if state.step == 0:
            average = _each(lambda w: w.clone(), params)
        else:
            average = _each(lambda a, w: moving_average(a, w, kept), state.memory, params)
        return average, State(state.step + 1, average)

    return Averaging(init, update)


class EMA:
    """The exponential moving average of weights, beside an optimizer: ``update()`` after its step.

    ``params``: the parameters (or (name, parameter) pairs); ``decay`` as in
    :func:`tapegrad.optim.functional.ema`. The averages are in :attr:`averages`. With the parameters
    of a ``differentiable`` optimizer they are on the tape too, and :meth:`detach_` truncates.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer, average = tg.optim.SGD([w], lr=0.25), tg.optim.EMA([w], decay=0.5)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    ...     average.update()
    >>> w, average.averages
    (tensor([0.2500], requires_grad=True), [tensor([0.3750])])
    """

    def __init__(self, params: Iterable[Any], decay: Any = 0.999) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params must be an iterable of tensors, not one tensor: use [tensor]")
        self.params: list[Tensor] = [p[1] if isinstance(p, tuple) else p for p in params]
        if not self.params:
            raise ValueError("EMA got an empty list of parameters")
        for i, p in enumerate(self.params):
            if not isinstance(p, Tensor):
                raise TypeError(f"params[{i}] is a {type(p).__name__}, not a Tensor")
        self.decay = decay
        with no_grad():
            self.state = ema(decay).init(self.params)

    @property
    def averages(self) -> list[Tensor]:
        """The averages, in the order of the parameters (before an update: the parameters)."""
        return list(self.state.memory)

    def update(self) -> None:
        """Take the parameters as they are now into the averages."""
        with enable_grad() if self._moving() else no_grad():
            self.state = ema(self.decay).update(self.params, self.state)[1]

    def _moving(self) -> bool:
        """Whether a differentiable optimizer moves the parameters."""
        return any(not p.is_leaf for p in self.params)

    def copy_to(self) -> None:
        """Let the parameters be the averages.

        >>> import tapegrad as tg
        >>> w = tg.tensor([1.0], requires_grad=True)
        >>> average = tg.optim.EMA([w])
        >>> with tg.no_grad():
        ...     w += 1.0
        >>> average.copy_to()
        >>> w
        tensor([1.], requires_grad=True)
        """
        with enable_grad():
            moves = [(p, average.clone()) for p, average in zip(self.params, self.averages)]
        for p, moved in moves:
            put(p, moved, recorded=not p.is_leaf)

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """Inside, the parameters are the averages; after it they are themselves again.

        >>> import tapegrad as tg
        >>> w = tg.tensor([1.0], requires_grad=True)
        >>> average = tg.optim.EMA([w])
        >>> with tg.no_grad():
        ...     w += 1.0
        >>> with average.average_parameters():
        ...     w.item()
        1.0
        >>> w.item()
        2.0
        """
        with enable_grad() if self._moving() else no_grad():
            before = [p.clone() for p in self.params]
        self.copy_to()
        try:
            yield
        finally:
            for p, own in zip(self.params, before):
                put(p, own, recorded=not p.is_leaf)

    def detach_(self) -> None:
        """Cut the tape behind the averages: derivatives end here."""
        self.state = detached(self.state)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot: the number of updates and the averages.

        >>> import tapegrad as tg
        >>> tg.optim.EMA([tg.tensor([1.0])]).state_dict()
        {'step': 0, 'averages': [tensor([1.])]}
        """
        return {"step": self.state.step, "averages": copied(self.averages)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the averages from a snapshot; raises ValueError, naming what does not fit.

        >>> import tapegrad as tg
        >>> average = tg.optim.EMA([tg.tensor([1.0])])
        >>> average.load_state_dict({"step": 3, "averages": [tg.tensor([2.0])]})
        >>> average.averages
        [tensor([2.])]
        """
        given = state_dict["averages"]
        if len(given) != len(self.params):
            raise ValueError(
                f"EMA: the snapshot has {len(given)} average(s), there are {len(self.params)} "
                "parameter(s)"
            )
        for i, (p, average) in enumerate(zip(self.params, given)):
            if average.shape != p.shape:
                raise ValueError(
                    f"EMA: the average of parameter {i} has shape {average.shape} in the snapshot, "
                    f"not {p.shape}"
                )
        self.state = State(state_dict["step"], copied(given))

    def __repr__(self) -> str:
        return f"EMA({len(self.params)} parameter(s), {self.state.step} update(s))"


#: An average moves nothing by itself, so it is no row of the table.
ROWS: tuple[Row, ...] = ()
