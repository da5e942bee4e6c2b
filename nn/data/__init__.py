"""Data by the names of torch.utils.data: datasets, samplers, loaders, splits; and standardising.

Handling of data, not mathematics.

>>> import tapegrad as tg
>>> x, y = tg.rand(10, 3), tg.arange(10)
>>> train, test = tg.nn.data.random_split(tg.nn.data.TensorDataset(x, y), [0.8, 0.2])
>>> loader = tg.nn.data.DataLoader(train, batch_size=4, shuffle=True)
>>> [xs.shape for xs, ys in loader]
[(4, 3), (4, 3)]
"""

from __future__ import annotations

from . import (
    collating,
    conversion,
    datasets,
    labels,
    loader,
    resuming,
    samplers,
    splitting,
    standardizing,
)
from .collating import *
from .conversion import *
from .datasets import *
from .labels import *
from .loader import *
from .resuming import *
from .samplers import *
from .splitting import *
from .standardizing import *

__all__ = [
    *collating.__all__,
    *conversion.__all__,
    *datasets.__all__,
    *labels.__all__,
    *loader.__all__,
    *resuming.__all__,
    *samplers.__all__,
    *splitting.__all__,
    *standardizing.__all__,
]
