"""Torch's names for what lies elsewhere here, for programs that say ``torch.autograd``.

``tg.autograd.grad`` is :func:`tapegrad.grad`, and so on; only :func:`backward`, of several tensors
at once, and :mod:`tg.autograd.functional` have no other name. Derivatives of functions are in
``tg.func``.
"""

from __future__ import annotations

from . import functional
from .checking import gradcheck, gradgradcheck
from .gradients import backward_from as backward
from .gradients import grad
from .modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)

__all__ = [
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]
