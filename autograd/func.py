"""Function transformations: ``tg.func.grad``, ``vjp``, ``jvp``, Jacobians, ``vmap``.

Each takes a function of tensors (nested in tuples, lists and dicts as you like) and returns a
function, or the derivative itself. All of them nest, in any order, and with ``.backward()`` and
:func:`tapegrad.grad`: what a function closes over stays on the tape. Outside any other
transformation results are plain tensors, unless an input or something the function closes over
requires a gradient.

Names and arguments are those of ``torch.func``; ``value_and_grad`` (value first) is JAX's.
"""

from __future__ import annotations

from .batching import vmap
from .jacobians import hessian, jacfwd, jacrev
from .stateless import functional_call
from .transforms import grad, grad_and_value, hvp, jvp, linearize, value_and_grad, vjp

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "hvp",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "value_and_grad",
    "vjp",
    "vmap",
]


def __dir__() -> list[str]:
    return sorted(__all__)
