"""Between values and levels of vmap: entering, leaving, adding up. All linear.

These stand on the tape where a mapped function begins and ends, so that derivatives pass
through vmap in both directions. They are internal: no user calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import batched
from ..batched import ACTIVE, Batched
from ..calling import expose, generic
from ..registry import Primitive
from ..tensors import Tensor


def _internal(
    name: str, forward: Callable[..., Any], transpose: Callable[..., Any], doc: str
) -> Any:
    """A linear primitive that is not in the registry: its results exist only inside vmap."""
    op = Primitive(
        name,
        forward,
        family="linear",
        rules=[lambda g, _y, x, **params: transpose(g, x, **params)],
        doc=doc,
        floating=False,
        promotes=None,
        analytic=True,
    )
    op.statement = transpose
    return expose(op, generic(op), register=False)


enter_level: Any = _internal(
    "vmap_in",
    lambda x, *, level, axis, size: batched.enter_level(x, level, axis),
    lambda g, _x, *, level, axis, size: leave_level(g, level=level, axis=axis, size=size),
    "Dimension ``axis`` of x becomes a level.",
)
leave_level: Any = _internal(
    "vmap_out",
    lambda x, *, level, axis, size: batched.leave_level(x, level, axis, size),
    lambda g, _x, *, level, axis, size: enter_level(g, level=level, axis=axis, size=size),
    "A level becomes dimension ``axis``.",
)
sum_level: Any = _internal(
    "vmap_sum",
    lambda x, *, level, size: batched.sum_level(x, level, size),
    lambda g, _x, *, level, size: spread_level(g, level=level, size=size),
    "The sum over a level: what an operand gets that was the same for all examples.",
)
spread_level: Any = _internal(
    "vmap_spread",
    lambda x, *, level, size: batched.spread_level(x, level, size),
    lambda g, _x, *, level, size: sum_level(g, level=level, size=size),
    "The same value for every example of a level.",
)
#: Where a transformation takes an argument that is on the tape already.
identity: Any = _internal(
    "identity", lambda x: x, lambda g, _x: g, "The value itself, under a new number on the tape."
)


def sum_finished(cotangent: Any, value: Any) -> Any:
    """Add a cotangent up over the levels that its operand lacks, once they have been left.

    While a level is active, its examples are still apart: a cotangent that differs between them
    stays batched even where it reaches a value made before (this is how Jacobians are computed).
    """
    raw = cotangent._value if isinstance(cotangent, Tensor) else cotangent
    if type(raw) is not Batched:
        return cotangent
    own = value.levels if type(value) is Batched else ()
    if raw.levels == own:
        return cotangent
    active = {level.number for level in ACTIVE.get()}
    for level, size in zip(raw.levels, raw.array.shape):
        if level not in own and level not in active:
            cotangent = sum_level(cotangent, level=level, size=size)
    return cotangent
