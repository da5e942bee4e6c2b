"""The families of losses, and the table that gathers their rows."""

from __future__ import annotations

from . import (
    adversarial,
    angular,
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
    overlaps,
    penalties,
    regression,
    relative,
    rewards,
    sequences,
    transport,
    triplets,
    variational,
    yolo,
)
from .table import Row

#: In the order of the reference page.
FAMILIES = (
    regression,
    relative,
    likelihoods,
    classification,
    keras_elementwise,
    keras_named,
    divergences,
    focal,
    margins,
    contrastive,
    triplets,
    angular,
    overlaps,
    lovasz,
    boxes,
    detection,
    yolo,
    adversarial,
    transport,
    variational,
    sequences,
    ctc,
    rewards,
    combining,
    penalties,
    fairness,
    ensembles,
)

#: Every loss, one row each.
LOSSES: tuple[Row, ...] = tuple(row for family in FAMILIES for row in family.ROWS)
