"""Labels as rows of zeros and ones."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, get_default_dtype
from tapegrad import one_hot as one_hot_integers

from .conversion import as_tensors

__all__ = ["one_hot"]


def one_hot(labels: Any, num_classes: int = -1, dtype: Any = None) -> Tensor:
    """Class numbers as rows with a 1 at the class, floating as losses take them.

    ``labels``: integers of any shape, as a tensor, array, list or column of a frame; the classes
    are a new last dimension. ``num_classes``: -1 takes the largest label plus 1. ``dtype``: the
    default floating dtype. (Keras's ``to_categorical``; :func:`tapegrad.one_hot` is PyTorch's,
    which gives integers.)

    Raises TypeError for labels that are not integers, RuntimeError for one that is negative or not
    less than ``num_classes``, and for none at all without ``num_classes``.

    >>> import tapegrad as tg
    >>> tg.nn.data.one_hot([0, 2])
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    rows = one_hot_integers(as_tensors(labels, name="labels"), num_classes)
    return rows.to(get_default_dtype() if dtype is None else dtype)  # type: ignore[no-any-return]
