"""tapegrad: an autograd engine on a tape, over NumPy.

>>> import tapegrad as tg
>>> x = tg.tensor(2.0, requires_grad=True)
>>> y = x**2 + 3*x + 1
>>> y.backward()
>>> x.grad
tensor(7.)
"""

from __future__ import annotations

from math import e, inf, nan, pi
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import func, linalg
from . import methods as _methods
from .batching import vmap
from .checkpointing import checkpoint
from .creation import *
from .errors import CheckError, ShapeError
from .errors import MissingFromPackage as _MissingFromPackage
from .families import primitive
from .functions.arithmetic import *
from .functions.comparing import *
from .functions.converting import *
from .functions.convolutions import *
from .functions.distances import *
from .functions.indexing import *
from .functions.joining import *
from .functions.matrices import *
from .functions.pooling import *
from .functions.products import *
from .functions.reductions import *
from .functions.scans import *
from .functions.scattering import *
from .functions.shaping import *
from .functions.softmaxes import *
from .functions.sorting import *
from .functions.specials import *
from .functions.statistics import *
from .functions.windows import *
from .gradients import grad
from .modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)
from .ops import picking as _picking  # registers it: only the losses, loaded late, use it
from .ops import standardizing as _standardizing  # as above: the layers use it
from .ops.engine import check, stop_gradient
from .protocols import from_dlpack
from .registry import REGISTRY, Primitive, Sample
from .sampling import *
from .saving import load, save
from .tensors import Tensor, tensor
from .values import (
    as_dtype,
    boolean,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
)

# torch's other names of dtypes
half, float, double = float16, float32, float64
short, int, long, bool = int16, int32, int64, boolean

__version__ = "0.1.0"

if _TYPE_CHECKING:
    from . import autograd, losses, nn, optim
    from .checking import GradcheckError, KinkWarning, check_grads, gradcheck, gradgradcheck
    from .drawing import graph

#: What is loaded when first asked for: the folders above the engine, torch's names of what lies
#: elsewhere here, and the module in which a function lies that most programs never call.
_LATER = {
    **dict.fromkeys(("autograd", "losses", "nn", "optim")),
    **dict.fromkeys(
        ("GradcheckError", "KinkWarning", "check_grads", "gradcheck", "gradgradcheck"), "checking"
    ),
    "graph": "drawing",
}


def __getattr__(name: str) -> _Any:
    """Load what is loaded late."""
    import importlib

    if name not in _LATER:
        raise _MissingFromPackage(importlib.import_module(__name__), name)
    place = _LATER[name]
    found = importlib.import_module(f"{__name__}.{place or name}")
    if place is not None:
        found = globals()[name] = getattr(found, name)
    return found


#: What ``tg.`` completes to besides functions, classes and numbers; other modules are the engine.
_SHOWN = ("autograd", "func", "linalg", "losses", "nn", "optim")


def __dir__() -> list[str]:
    module, hidden = type(_methods), ("annotations",)
    found = {n for n, v in globals().items() if type(v) is not module and n not in hidden}
    return sorted({*found, *_LATER, *_SHOWN})
