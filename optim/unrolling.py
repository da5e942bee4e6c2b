"""Derivatives through a whole training run: one function, and the ways through it.

=============  ============================================  ================================
method         memory for K steps                            time, beside K gradients
=============  ============================================  ================================
reverse        the tapes of K steps                          one walk back
checkpoint     √K states, and the tapes of √K steps          all steps twice, one walk back
forward        one step, for each entry a copy of the state  one push per step, for all entries
reversible     one step, and a bit per number now and then   all steps twice, one walk back
implicit       one step                                      a linear system at the end
=============  ============================================  ================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tapegrad import Tensor, checkpoint, enable_grad, ones_like
from tapegrad.trees import flatten, unflatten

from .forwards import forward
from .implicit import SOLVERS, implicit
from .reversible import reversible
from .rule import Params, Rule
from .running import Run, is_real, pull

__all__ = ["unroll"]

#: With ``method="auto"``: this many steps are kept whole, and beyond them this many entries are
#: pushed forward.
FEW_STEPS, FEW_ENTRIES = 64, 4


def unroll(
    rule: Rule,
    loss: Callable[[Params, Any], Tensor],
    params: Params,
    batches: Iterable[Any],
    *,
    outer: Callable[[Params], Tensor],
    wrt: Any,
    method: str = "auto",
    solver: str = "conjugate_gradients",
) -> tuple[Tensor, Any]:
    """Train, and differentiate the result: ``(value, gradients)`` of a loss after training.

    A step of ``rule`` is made down ``loss(params, batch)`` for every batch; the value is
    ``outer(params)`` at the end, a validation loss, say. The gradients are by ``wrt``: a Tensor, or
    a list or dict of Tensors, which the rule, the losses or the parameters use (a rate, a weight of
    a penalty, the initial parameters or what they were computed from). They come built like
    ``wrt``. The given parameters stay as they are.

    - ``"reverse"``: all steps on the tape. Exact, for everything; memory grows with K.
    - ``"checkpoint"``: the same numbers for memory that grows with √K; every step is made twice.
    - ``"forward"``: derivatives travel along with the parameters; memory does not depend on K, and
      grows with the number of entries of ``wrt``. Batches may come from a generator, one by one.
    - ``"reversible"``: for ``sgd`` with momentum. The run is made in whole numbers (44 binary
      places, of magnitudes below 2¹⁸), which can be undone to the last bit, and is traced back from
      its end. The run is rounded at every step, so results agree with the others' to about 1e-10.
    - ``"implicit"``: for settings of the losses, when training has come to a minimum. The minimum
      moves by -H⁻¹ · ∂²loss/∂w∂h, however it was reached; H is that of the mean loss of the
      different batches, ``solver`` is ``"conjugate_gradients"`` or ``"neumann"``. As exact as the
      minimum is; a UserWarning says when the gradient there is not small.
    - ``"auto"``: ``reverse`` up to 64 steps, then ``forward`` for up to 4 entries, else
      ``checkpoint``.

    Raises ValueError for an unknown method, when a method cannot do what is asked (it says which
    can), for a Tensor of ``wrt`` that has no effect, and for a parameter that the loss of some
    batch does not contain (a rule counts one step for all of them, so none can be skipped; 0 times
    its sum in the loss gives it a gradient of zeros).

    >>> import tapegrad as tg
    >>> from tapegrad.optim.functional import sgd
    >>> lr = tg.tensor(0.1, dtype="float64")
    >>> bowl = lambda params, batch: ((params[0] - 3.0) ** 2).sum()
    >>> start = [tg.tensor([1.0, -2.0], dtype="float64")]
    >>> value, gradient = tg.optim.unroll(
    ...     sgd(lr=lr), bowl, start, range(2), outer=lambda params: bowl(params, None), wrt=lr)
    >>> print(f"{value:.4f} {gradient:.3f}")
    11.8784 -118.784

    Source: Maclaurin, Duvenaud and Adams (2015), Gradient-based hyperparameter optimization through
    reversible learning; Franceschi et al. (2017), Forward and reverse gradient-based hyperparameter
    optimization; Chen et al. (2016), Training deep nets with sublinear memory cost; Lorraine, Vicol
    and Duvenaud (2020), Optimizing millions of hyperparameters by implicit differentiation.
    """
    leaves, recipe = flatten(wrt)
    run = Run(rule, loss, params, batches, outer, leaves, _names(wrt))
    value, grads = differentiated(run, method, solver)
    return value, unflatten(recipe, grads)


def differentiated(
    run: Run, method: str = "auto", solver: str = "conjugate_gradients"
) -> tuple[Tensor, list[Tensor]]:
    """The outer loss of a run and its gradients, off the tape."""
    if method not in (*METHODS, "auto"):
        known = ", ".join(repr(name) for name in (*METHODS, "auto"))
        raise ValueError(f"unroll: method is one of {known}, not {method!r}")
    if solver not in SOLVERS:
        raise ValueError(f"unroll: solver is one of {sorted(SOLVERS)}, not {solver!r}")
    if not isinstance(run.rule, Rule):
        raise TypeError(
            f"unroll: rule must be a rule, such as functional.sgd(lr=0.1), not {run.rule!r:.60}"
        )
    for name, given, kinds, what in (
        ("params", run.params, (list, tuple, dict), "a list or a dict of Tensors"),
        ("batches", run.batches, Iterable, "an iterable, such as a list"),
    ):
        if not isinstance(given, kinds):  # type: ignore[arg-type]
            raise TypeError(f"unroll: {name} must be {what}, not {type(given).__name__}")
    if not run.params:
        raise ValueError("unroll: params holds nothing to train")
    if not run.wrt:
        raise ValueError("unroll: wrt names nothing to differentiate by")
    names = [*run.names, *_names(run.params, "params")]
    for name, x in zip(names, [*run.wrt, *flatten(run.params)[0]], strict=True):
        if not is_real(x):
            what = f"a Tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"unroll: {name} must be a Tensor of floats, not {what}")
    if method == "auto":
        method, run = _chosen(run)
    with on_tape(run.wrt), enable_grad():
        options = {"solver": solver} if method == "implicit" else {}
        value, grads = METHODS[method](run, **options)
    return _plain(value), [_plain(g) for g in grads]


def _chosen(run: Run) -> tuple[str, Run]:
    """What ``auto`` takes, and the run with its batches counted."""
    batches = list(run.batches)
    run = replace(run, batches=batches)
    if len(batches) <= FEW_STEPS:
        return "reverse", run
    few = sum(x.numel() for x in run.wrt) <= FEW_ENTRIES
    return "forward" if few else "checkpoint", run


def reverse(run: Run) -> tuple[Tensor, list[Tensor]]:
    """The outer loss and its gradients, by a walk back over the tape of the whole run."""
    params, _ = run.steps(*run.start(), run.batches)
    value = run.result(params)
    return value, run.found(pull([value], [ones_like(value)], run.wrt))


def checkpointed(run: Run) -> tuple[Tensor, list[Tensor]]:
    """The same, with √K stretches of √K steps, of which only the ends are kept.

    Source: Griewank and Walther (2000), Algorithm 799: Revolve; Chen et al. (2016).
    """
    batches = list(run.batches)
    length = 1
    while length * length < len(batches):
        length += 1
    here = run.start()
    for i in range(0, len(batches), length):
        here = checkpoint(run.steps, *here, batches[i : i + length])
    value = run.result(here[0])
    return value, run.found(pull([value], [ones_like(value)], run.wrt))


METHODS: dict[str, Callable[..., tuple[Tensor, list[Tensor]]]] = {
    "reverse": reverse,
    "checkpoint": checkpointed,
    "forward": forward,
    "reversible": reversible,
    "implicit": implicit,
}


@contextmanager
def on_tape(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Have tensors require a gradient inside the block.

    >>> import tapegrad as tg
    >>> from tapegrad.optim.unrolling import on_tape
    >>> lr = tg.tensor(0.1)
    >>> with on_tape([lr]):
    ...     lr.requires_grad
    True
    >>> lr.requires_grad
    False
    """
    changed = [x for x in tensors if not x.requires_grad]
    for x in changed:
        x.requires_grad_()
    try:
        yield
    finally:
        for x in changed:
            x.requires_grad_(False)


def _names(wrt: Any, name: str = "wrt") -> list[str]:
    """What the leaves of a tree are called."""
    if isinstance(wrt, dict):
        return [n for key, item in wrt.items() for n in _names(item, f"{name}[{key!r}]")]
    if isinstance(wrt, (tuple, list)):
        return [n for i, item in enumerate(wrt) for n in _names(item, f"{name}[{i}]")]
    return [] if wrt is None else [name]


def _plain(x: Tensor) -> Tensor:
    """A result, off the tape."""
    return x.detach()
