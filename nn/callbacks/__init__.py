"""What a Trainer calls as it trains: Keras's callbacks, by Keras's names.

>>> import tapegrad as tg
>>> tg.nn.callbacks.EarlyStopping(patience=3)
EarlyStopping(patience=3)
"""

from __future__ import annotations

from .callback import Callback, CallbackList, LambdaCallback
from .checkpoints import ModelCheckpoint
from .csv_files import CSVLogger
from .events import TensorBoard
from .histories import History
from .progressing import Progress
from .rates import LearningRateScheduler, ReduceLROnPlateau
from .stopping import EarlyStopping, TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "Progress",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]
