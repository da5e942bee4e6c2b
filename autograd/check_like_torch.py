"""gradcheck and gradgradcheck: the check by torch's names and arguments, and what those ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from .check_problem import Problem, problem_of
from .check_report import GradcheckError
from .check_running import Checker, conclude, run_check
from .modes import enable_grad
from .tensors import Tensor, make
from .values import settle


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check the Jacobian of ``func`` against finite differences, with torch's arguments.

    ``inputs``: a Tensor, or a tuple of what ``func`` takes; those that require a gradient are
    checked. They may be float32: the check runs on float64 copies. ``eps`` is the smallest step;
    slopes are extrapolated from larger ones, so they are more exact than torch's. Passes where
    |analytic − numeric| ≤ atol + rtol·|numeric|.

    ``nondet_tol``: how far two runs on the same inputs may differ. ``check_undefined_grad``: the
    gradient of each output alone, the others' being absent. ``check_grad_dtypes``: run unpromoted
    too, and ask that results and gradients keep the inputs' dtype. ``check_batched_grad`` and
    ``check_batched_forward_grad``: the same derivatives under ``vmap``. ``check_forward_ad``,
    ``check_backward_ad``: which modes. ``fast_mode``: one random direction for each input instead
    of every entry. ``masked`` is about sparse tensors, which there are none of.

    Returns True, or raises GradcheckError with a table (returns False with
    ``raise_exception=False``). ValueError when no input requires a gradient. Entries at a kink are
    named by a KinkWarning and not counted as wrong.

    >>> import tapegrad as tg
    >>> x = tg.tensor([0.5, 1.5], requires_grad=True)
    >>> tg.gradcheck(lambda x: (x * x).sum(), x)
    True
    """
    return _torch_like(
        "gradcheck",
        problem_of(func, inputs, needs_flag=True),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_batched_forward_grad=check_batched_forward_grad,
        check_forward_ad=check_forward_ad,
        check_backward_ad=check_backward_ad,
        fast_mode=fast_mode,
    )


def _torch_like(
    name: str,
    problem: Problem,
    *,
    eps: float,
    atol: float,
    rtol: float,
    raise_exception: bool,
    nondet_tol: float,
    check_undefined_grad: bool,
    check_grad_dtypes: bool,
    check_batched_grad: bool,
    check_forward_ad: bool,
    check_backward_ad: bool,
    fast_mode: bool,
    check_batched_forward_grad: bool = False,
) -> bool:
    if not problem.values:
        raise ValueError(
            f"{name} expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True. Make one with tg.tensor(..., requires_grad=True), or use "
            "tg.check_grads, which checks everything floating."
        )
    modes = [m for m, wanted in (("rev", check_backward_ad), ("fwd", check_forward_ad)) if wanted]
    if not modes:
        raise ValueError(f"{name}: check_backward_ad and check_forward_ad cannot both be False")
    try:
        report, checker = run_check(
            name,
            problem,
            order=1,
            modes=modes,
            directions="inputs" if fast_mode else "entries",
            eps=eps,
            atol=atol,
            rtol=rtol,
            seed=0,
            each_output=not fast_mode,
            nondet_tol=nondet_tol,
        )
        if report.ok:
            with enable_grad():
                if check_backward_ad:
                    _check_repeatable(name, checker, nondet_tol)
                if check_undefined_grad and check_backward_ad:
                    _check_absent(name, checker)
                if check_grad_dtypes:
                    _check_dtypes(name, problem)
                if check_batched_grad or check_batched_forward_grad:
                    _check_batched(name, checker, check_batched_grad, check_batched_forward_grad)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return conclude(report, raise_exception)


def _check_repeatable(name: str, checker: Checker, tolerance: float) -> None:
    """Backward twice, same answer."""
    problem = checker.problem
    leaves = problem.leaves()
    ys = problem.run(leaves)
    one, two = (problem.pull(ys, leaves, checker.cotangents) for _ in range(2))
    for label, a, b in zip(problem.names, one, two):
        if not np.allclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True):
            raise GradcheckError(
                f"{name}: the gradient of input {label} is not reproducible: two backward passes "
                f"through one graph differ by {np.max(np.abs(a - b)):.1e}. A rule draws random "
                "numbers or changes what it reads; allow a small difference with nondet_tol."
            )


def _check_absent(name: str, checker: Checker) -> None:
    """The gradients of each output alone must add up to that of all together."""
    problem = checker.problem
    if len(problem.shapes) < 2:
        return
    leaves = problem.leaves()
    ys = problem.run(leaves)
    whole = problem.pull(ys, leaves, checker.cotangents)
    total = [np.zeros_like(g) for g in whole]
    for k in range(len(ys)):
        alone: list[ndarray | None] = [None] * len(ys)
        alone[k] = checker.cotangents[k]
        total = [t + g for t, g in zip(total, problem.pull(ys, leaves, alone))]
    for label, a, b in zip(problem.names, whole, total):
        if not np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True):
            raise GradcheckError(
                f"{name}: the gradient of input {label} changes when some outputs have none: the "
                "gradients of the outputs taken singly do not add up to that of all together. "
                "A rule must treat an absent cotangent as zero."
            )


def _check_dtypes(name: str, problem: Problem) -> None:
    """Unpromoted: results of the widest input dtype, gradients of each input's own."""
    from .gradients import grad

    leaves = [
        make(settle(np.array(v, d)), None).requires_grad_()
        for v, d in zip(problem.values, problem.dtypes)
    ]
    ys = [y for y in problem.run(leaves) if y.requires_grad]
    widest = np.result_type(*problem.dtypes)
    for label, y in zip(problem.outputs, ys):
        if y.dtype != widest:
            raise GradcheckError(
                f"{name}: from inputs of dtype {widest}, output {label or 'the result'} came out "
                f"as {y.dtype}: a constant or a rule inside does not keep the dtype"
            )
    if ys:
        ones = [make(settle(np.ones(y.shape, y.dtype)), None) for y in ys]
        for label, x, g in zip(problem.names, leaves, grad(ys, leaves, ones, allow_unused=True)):
            if g is not None and g.dtype != x.dtype:
                raise GradcheckError(
                    f"{name}: input {label} has dtype {x.dtype}, its gradient {g.dtype}"
                )


def _check_batched(name: str, checker: Checker, backward: bool, forward: bool) -> None:
    """vmap over the VJP and the JVP gives what a loop gives."""
    from .forward import push_forward
    from .func import vmap
    from .gradients import grad

    problem = checker.problem
    leaves = problem.leaves()
    ys = [y for y in problem.run(leaves) if y.requires_grad]
    if not ys:
        return
    random = checker.random_signed

    def pull(*cotangents: Tensor) -> Any:
        return grad(ys, leaves, cotangents, retain_graph=True, materialize_grads=True)

    def push(*tangents: Tensor) -> Any:
        return tuple(push_forward(ys, leaves, tangents, False))

    for wanted, mapped, over in ((backward, pull, ys), (forward, push, leaves)):
        if not wanted:
            continue
        batch = [make(random((3, *t.shape)), None) for t in over]
        together = vmap(mapped)(*batch)
        for k in range(3):
            alone = mapped(*[make(settle(b._value[k]), None) for b in batch])
            for whole, one in zip(together, alone):
                if not np.allclose(np.asarray(whole._value)[k], one._value, rtol=1e-9, atol=1e-12):
                    raise GradcheckError(
                        f"{name}: the derivative under vmap is not what a loop gives: a rule of "
                        f"{', '.join(problem.operations[:8])} mixes up the batch"
                    )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Check second derivatives: the gradient of ``func``, by inputs and by ``grad_outputs``.

    Arguments as for :func:`gradcheck`; ``grad_outputs``, a Tensor or a sequence with one for every
    floating output, is random when it is None. ``check_fwd_over_rev`` and ``check_rev_over_rev``
    choose the mode that differentiates the reverse pass. ``gen_non_contig_grad_outputs`` makes the
    random ones non-contiguous in memory.

    >>> import tapegrad as tg
    >>> x = tg.tensor([0.5, 1.5], requires_grad=True)
    >>> tg.gradgradcheck(lambda x: tg.tanh(x) * x, x)
    True
    """
    from .gradients import grad

    problem = problem_of(func, inputs, needs_flag=True)
    count = len(problem.values)
    if count:
        with enable_grad():
            ys = problem.run(problem.leaves())
    else:
        ys = []
    if grad_outputs is None:
        random = np.random.default_rng(0)
        seeds = []
        for y in ys:
            shape = (*y.shape, 2) if gen_non_contig_grad_outputs else y.shape
            seed = np.asarray(random.standard_normal(shape))
            seeds.append(seed[..., 0] if gen_non_contig_grad_outputs else seed)
    else:
        given = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
        if len(given) != len(ys):
            raise ValueError(
                f"gradgradcheck: func has {len(ys)} floating outputs, but {len(given)} grad_outputs"
            )
        seeds = [np.array(g._value if isinstance(g, Tensor) else g, np.float64) for g in given]

    def gradient(leaves: list[Tensor]) -> Any:
        xs, gs = leaves[:count], leaves[count:]
        pairs = [(y, g) for y, g in zip(problem.run(xs), gs) if y.requires_grad]
        if not pairs:
            return ()
        found = grad(
            [y for y, _ in pairs],
            xs,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
        return {f"grad {n}": g for n, g in zip(problem.names, found) if g is not None}

    names = problem.names + [f"grad_output {k}" for k in range(len(seeds))]
    dtypes = problem.dtypes + [np.dtype(np.float64)] * len(seeds)
    return _torch_like(
        "gradgradcheck",
        Problem(gradient, names, problem.values + seeds if count else [], dtypes),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
    )
