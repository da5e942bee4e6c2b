"""What a primitive is, and the register of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: Every primitive by name; tests, documentation and benchmarks run over it.
REGISTRY: dict[str, Primitive] = {}


class Sample:
    """Operands and parameters inside a primitive's domain, off its kinks.

    >>> import tapegrad as tg
    >>> tg.Sample([[1.0, 2.0]], axis=(0,), keepdims=False)
    1x2 axis=(0,) keepdims=False
    """

    __slots__ = ("arrays", "params")

    def __init__(self, *arrays: Any, **params: Any) -> None:
        self.arrays = tuple(np.asarray(a) for a in arrays)
        self.params = params

    def __repr__(self) -> str:
        shapes = ",".join("x".join(map(str, a.shape)) or "()" for a in self.arrays)
        extra = "".join(f" {k}={v!r}" for k, v in self.params.items())
        return f"{shapes}{extra}"


class Primitive:
    """One operation: forward, derivative, samples. Made by the families below.

    >>> import tapegrad as tg
    >>> op = tg.REGISTRY["tanh"]
    >>> op.name, op.family, len(op.samples) > 0
    ('tanh', 'elementwise', True)
    """

    #: How it acts inside vmap, ``(values, params) -> value or NotImplemented``; without one the
    #: forward is tried, which NumPy's protocols usually carry, and then a loop over examples.
    batch_rule: Callable[..., Any] | None = None

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        *,
        family: str,
        rules: Sequence[Callable[..., Any] | None] | None = None,
        pull: Callable[..., Any] | None = None,
        push: Callable[..., Any] | None = None,
        samples: Sequence[Sample] = (),
        doc: str | None = None,
        scalar: Callable[..., Any] | None = None,
        floating: bool = True,
        promotes: int | None = 0,
        view: bool = False,
        analytic: bool = False,
        reads: Sequence[Callable[..., Any] | None] | None = None,
    ) -> None:
        self.name, self.forward, self.family = name, forward, family
        self.rules = None if rules is None else tuple(rules)
        self._pull, self.push_rule = pull, push
        self.samples, self.doc = list(samples), doc
        self.scalar = scalar
        # floating: integers become floats; promotes: the first operand that takes part in
        # promotion to a common dtype (None: there is none)
        self.floating, self.promotes = floating, promotes
        self.view, self.analytic = view, analytic
        self.differentiable = rules is not None or pull is not None
        self._read_rules = reads
        self.statement: Any = None  # what the author wrote: partials, transposes or weight
        self.function: Any = None
        #: Instead of ``pull``: ``(g, y, xs, **params)`` gives a function of ``i``. For thousands of
        #: operands, so that a walk takes time in proportion to their number, and where what they
        #: get has much in common, so that it is computed once.
        self.parts: Callable[..., Any] | None = None

    partial_cotangents = False  # whether its rules take None for an output that nobody used

    def __repr__(self) -> str:
        return self.name

    def pull(self, i: int, g: Any, y: Any, xs: Sequence[Any], params: dict[str, Any]) -> Any:
        """The cotangent of operand ``i``, before broadcasting is undone."""
        if self._pull is not None:
            return self._pull(i, g, y, *xs, **params)
        rule = self.rules[i]  # type: ignore[index]
        return g if rule is None else rule(g, y, *xs, **params)

    def reads(
        self, operands: Sequence[Any], outputs: Sequence[Any], tracked: Sequence[bool]
    ) -> list[tuple[str, Any]]:
        """The saved values that the rules of the tracked operands will read, with their names."""
        if self._read_rules is None:
            return []
        found: dict[str, Any] = {}
        for i, is_tracked in enumerate(tracked):
            rule = (
                self._read_rules[i if len(self._read_rules) > 1 else 0]
                if self._read_rules
                else None
            )
            if not is_tracked or rule is None:
                continue
            of_output, of_operands = _reading(rule, self.family)
            if of_output:
                found.update((f"output {k}", v) for k, v in enumerate(outputs))
            for k, value in enumerate(operands):
                if of_operands is None or k in of_operands:
                    found[f"operand {k}"] = value
        return list(found.items())


class _AllBut:
    """All numbers but some."""

    def __init__(self, without: set[int]) -> None:
        self.without = without

    def __contains__(self, number: int) -> bool:
        return number not in self.without


def _reading(rule: Callable[..., Any], family: str) -> tuple[bool, set[int] | _AllBut | None]:
    """Which values a rule reads, by its arguments' names: (output?, operands; None means all)."""
    code = getattr(rule, "__code__", None)
    if code is None:
        return True, None
    names = list(code.co_varnames[: code.co_argcount])
    skip = {"elementwise": 0, "reduction": 0, "bilinear": 1, "general": 1, "indexed": 2}[family]
    if family == "elementwise" and names[:1] == ["g"]:  # a product rule, not a partial
        skip = 1
    names = names[skip:]
    of_output = False
    if names:
        of_output = not names.pop(0).startswith("_")
    if code.co_flags & 0x04:  # *args: reads them all, unless that name begins with an underscore
        rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
        unread = {k for k, name in enumerate(names) if name.startswith("_")}
        if not rest.startswith("_"):
            return of_output, _AllBut(unread) if unread else None
    return of_output, {k for k, name in enumerate(names) if not name.startswith("_")}
