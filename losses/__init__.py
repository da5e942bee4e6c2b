"""Losses: every formula a composition of tensor ops, so every derivative is derived.

>>> import tapegrad as tg
>>> tg.losses.mse_loss(tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0]))
tensor(5.)
"""

from __future__ import annotations

from . import (
    adversarial,
    angular,
    base,
    boxes,
    classification,
    combining,
    contrastive,
    ctc,
    detection,
    divergences,
    ensembles,
    fairness,
    focal,
    keras_elementwise,
    keras_named,
    likelihoods,
    lovasz,
    margins,
    naming,
    overlaps,
    penalties,
    reducing,
    regression,
    relative,
    rewards,
    sequences,
    suggesting,
    transport,
    triplets,
    variational,
    yolo,
)
from .adversarial import *
from .angular import *
from .base import *
from .boxes import *
from .classification import *
from .combining import *
from .contrastive import *
from .ctc import *
from .detection import *
from .divergences import *
from .ensembles import *
from .fairness import *
from .families import LOSSES
from .focal import *
from .keras_elementwise import *
from .keras_named import *
from .likelihoods import *
from .lovasz import *
from .margins import *
from .naming import *
from .overlaps import *
from .penalties import *
from .reducing import *
from .regression import *
from .relative import *
from .rewards import *
from .sequences import *
from .suggesting import *
from .table import Row
from .transport import *
from .triplets import *
from .variational import *
from .yolo import *

__all__ = [
    "LOSSES",
    "Row",
    *base.__all__,
    *reducing.__all__,
    *naming.__all__,
    *suggesting.__all__,
    *regression.__all__,
    *relative.__all__,
    *likelihoods.__all__,
    *classification.__all__,
    *keras_elementwise.__all__,
    *keras_named.__all__,
    *divergences.__all__,
    *focal.__all__,
    *margins.__all__,
    *contrastive.__all__,
    *triplets.__all__,
    *angular.__all__,
    *overlaps.__all__,
    *lovasz.__all__,
    *boxes.__all__,
    *detection.__all__,
    *yolo.__all__,
    *adversarial.__all__,
    *transport.__all__,
    *variational.__all__,
    *sequences.__all__,
    *ctc.__all__,
    *rewards.__all__,
    *combining.__all__,
    *penalties.__all__,
    *fairness.__all__,
    *ensembles.__all__,
]
