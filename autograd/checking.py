"""Derivatives checked against measured slopes: check_grads, gradcheck, gradgradcheck."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from .check_like_torch import gradcheck, gradgradcheck
from .check_problem import problem_of
from .check_report import GradcheckError, KinkWarning, Report
from .check_running import conclude, run_check

__all__ = ["GradcheckError", "KinkWarning", "check_grads", "gradcheck", "gradgradcheck"]


@overload
def check_grads(
    f: Callable[..., Any],
    inputs: Any,
    order: int = ...,
    modes: Sequence[str] | str = ...,
    *,
    directions: str = ...,
    atol: float | None = ...,
    rtol: float | None = ...,
    eps: float = ...,
    seed: int = ...,
    strict: bool = ...,
    raise_exception: bool = ...,
    report: Literal[False] = ...,
) -> bool: ...


@overload
def check_grads(
    f: Callable[..., Any],
    inputs: Any,
    order: int = ...,
    modes: Sequence[str] | str = ...,
    *,
    directions: str = ...,
    atol: float | None = ...,
    rtol: float | None = ...,
    eps: float = ...,
    seed: int = ...,
    strict: bool = ...,
    raise_exception: bool = ...,
    report: Literal[True],
) -> Report: ...


def check_grads(
    f: Callable[..., Any],
    inputs: Any,
    order: int = 2,
    modes: Sequence[str] | str = ("fwd", "rev"),
    *,
    directions: str = "auto",
    atol: float | None = None,
    rtol: float | None = None,
    eps: float = 1e-6,
    seed: int = 0,
    strict: bool = False,
    raise_exception: bool = True,
    report: bool = False,
) -> bool | Report:
    """Check derivatives of orders 1 to ``order``, in forward and reverse mode, against differences.

    ``inputs``: a Tensor or array; a tuple or list of positional inputs; or a dict of keyword
    inputs, whose names the report uses. They may be nested, and ``f`` may return several Tensors.
    If some Tensors require a gradient those are checked, else everything floating. Floating inputs
    become float64, integers and booleans pass untouched.

    ``directions``: "entries" looks at every entry, "inputs" along one random direction for each
    input, "joint" along one through all of them, "auto" at every entry of inputs of up to 32
    entries and along one direction of larger ones. When a direction shows a fault, the entries
    that cause it are searched for.

    The slope is measured with one complex step, Im f(x + ih)/h, where every recorded operation
    allows it (first order), else with central differences (f(x + h) − f(x − h)) / 2h extrapolated
    to h = 0 from steps between 0.02 and ``eps``, relative to the entry. Both know their own error,
    which sets the tolerance: about 9 digits for a smooth function. ``atol`` and ``rtol`` replace
    that by |analytic − numeric| ≤ atol + rtol·|numeric|.

    Where the two sides of a point have different slopes the entry is called a kink and does not
    count as wrong, provided the analytic derivative lies between the slopes; a KinkWarning tells.
    So is one where slopes do not add up, as at ties of three, provided the derivatives at points
    near by are right and the analytic one lies among them.
    With ``strict`` kinks count as failures. Orders above one that is wrong are not looked at, since
    each is measured from the one below.

    Returns True, or raises GradcheckError with a table of input, entry, analytic, numeric and error
    (returns False with ``raise_exception=False``). With ``report=True`` nothing is raised and the
    :class:`Report` is returned, which prints one line per input and order. ``seed`` draws the
    directions. After Griewank & Walther, Evaluating Derivatives (2008); Ridders (1982).

    >>> import tapegrad as tg
    >>> tg.check_grads(lambda x, y: tg.tanh(x) * y, (tg.tensor([0.5, -1.0]), tg.tensor(2.0)))
    True
    >>> square = lambda x: x * x
    >>> print(tg.check_grads(square, {"x": tg.tensor(3.0)}, report=True))
    input  shape  order  checked  analytic  numeric  error ...
    x      ()     1      1 entry  6         6        ...     complex step  ok
    x      ()     2      1 entry  ...
    """
    ways = (modes,) if isinstance(modes, str) else tuple(dict.fromkeys(modes))
    if not ways or set(ways) - {"fwd", "rev"}:
        raise ValueError(f'modes are "fwd" and "rev", not {modes!r}')
    if directions not in ("auto", "entries", "inputs", "joint"):
        raise ValueError(
            f'directions must be "auto", "entries", "inputs" or "joint", not {directions!r}'
        )
    if order < 1:
        raise ValueError(f"order must be at least 1, not {order}")
    problem = problem_of(f, inputs)
    if not problem.values:
        raise ValueError(
            "check_grads: nothing to differentiate by: no input is floating. "
            "Pass a float Tensor or array."
        )
    found, _ = run_check(
        "check_grads",
        problem,
        order=order,
        modes=ways,
        directions=directions,
        strict=strict,
        eps=eps,
        atol=atol,
        rtol=rtol,
        seed=seed,
        leaks=atol is None and rtol is None,
    )
    if report:
        return found
    return conclude(found, raise_exception)
