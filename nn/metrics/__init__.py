"""How good predictions are: numbers for reports, which have no useful derivative.

Each is a function of ``(input, target)``, as losses are. :func:`get` makes of a name a
:class:`Metric`, which is given batches and says the value of all of them: the number that the
function gives for the whole, not the mean of the batches' numbers. Results are float64 tensors off
the tape. The table :data:`METRICS` lists them.

>>> import tapegrad as tg
>>> metric = tg.nn.metrics.get("accuracy")
>>> metric.update(tg.tensor([[0.1, 0.9], [0.8, 0.2]]), tg.tensor([1, 1]))
>>> metric.update(tg.tensor([[0.3, 0.7]]), tg.tensor([1]))
>>> metric.compute().item() == 2 / 3
True
"""

from __future__ import annotations

from . import accuracies, agreeing, deviations, naming, ranking, streaming, surprise
from .accuracies import *
from .agreeing import *
from .deviations import *
from .naming import *
from .ranking import *
from .streaming import *
from .surprise import *

__all__ = [
    *accuracies.__all__,
    *agreeing.__all__,
    *deviations.__all__,
    *naming.__all__,
    *ranking.__all__,
    *streaming.__all__,
    *surprise.__all__,
]
