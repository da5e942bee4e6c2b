"""Penalties on parameters, to be added to a loss."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, abs, as_tensor

from .base import Loss
from .checks import inside, parameter_list, setting
from .kinds import REAL
from .table import Row

__all__ = [
    "ElasticNetPenalty",
    "L1Penalty",
    "L2Penalty",
    "elastic_net_penalty",
    "l1_penalty",
    "l2_penalty",
]


def l1_penalty(parameters: Any, weight: Any = 0.01) -> Tensor:
    """L1 penalty (lasso): weight·Σ|w|; its derivative at 0 is 0.

    ``parameters``: a tensor, an iterable of tensors (``model.parameters()``), a dict of them, or a
    Module; all floating point. ``weight``: a number, or a Tensor, which has a gradient. As Keras's
    ``regularizers.L1``.

    Biases are usually left out: hand over the weights alone.

    Raises ValueError when there are no parameters, TypeError for what is no tensor or not floating
    point.

    L1 regularisation beside the mean squared error:

    >>> import tapegrad as tg
    >>> model, x, y = tg.nn.Linear(2, 1), tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0]])
    >>> loss = tg.losses.mse_loss(model(x), y) + tg.losses.l1_penalty(model.weight, 0.01)
    >>> loss.backward()
    >>> tg.losses.l1_penalty([tg.tensor([1.0, -2.0]), tg.tensor(3.0)], weight=0.5)
    tensor(3.)

    Source: Tibshirani (1996), Regression shrinkage and selection via the lasso.
    """
    what = "l1_penalty"
    setting(what, "weight", weight, ())
    parts = [abs(parameter).sum() for parameter in parameter_list(what, parameters)]
    return weight * sum(parts[1:], parts[0])


def l2_penalty(parameters: Any, weight: Any = 0.01) -> Tensor:
    """L2 penalty (ridge): weight·Σw², without a factor of ½; its gradient is 2·weight·w.

    ``parameters``, ``weight`` and errors as in :func:`l1_penalty`. As Keras's ``regularizers.L2``.
    An optimizer's ``weight_decay=λ`` adds λ·w to the gradient, which is ``weight=λ/2`` here.

    >>> import tapegrad as tg
    >>> tg.losses.l2_penalty({"weight": tg.tensor([1.0, -2.0]), "bias": tg.tensor(3.0)}, 0.5)
    tensor(7.)

    Source: Hoerl and Kennard (1970), Ridge regression: biased estimation for nonorthogonal
    problems.
    """
    what = "l2_penalty"
    setting(what, "weight", weight, ())
    parts = [(parameter * parameter).sum() for parameter in parameter_list(what, parameters)]
    return weight * sum(parts[1:], parts[0])


def elastic_net_penalty(parameters: Any, alpha: Any = 1.0, l1_ratio: Any = 0.5) -> Tensor:
    """Elastic net: alpha·(l1_ratio·Σ|w| + (1 - l1_ratio)/2·Σw²).

    ``parameters`` as in :func:`l1_penalty`. ``alpha``: the weight; ``l1_ratio``: in [0, 1], from
    ridge (with a factor of ½, unlike :func:`l2_penalty`) to lasso; both may be Tensors. As
    scikit-learn's ``ElasticNet``, which adds it to *half* the mean squared error.

    Raises ValueError when there are no parameters or ``l1_ratio`` is outside [0, 1], TypeError for
    what is no tensor or not floating point.

    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0, -2.0])
    >>> tg.losses.elastic_net_penalty(w, alpha=0.5, l1_ratio=0.5)
    tensor(1.3750)

    Source: Zou and Hastie (2005), Regularization and variable selection via the elastic net; its
    form: Friedman, Hastie and Tibshirani (2010), Regularization paths for generalized linear
    models via coordinate descent.
    """
    what = "elastic_net_penalty"
    setting(what, "alpha", alpha, ())
    setting(what, "l1_ratio", l1_ratio, ())
    inside(what, "l1_ratio", as_tensor(l1_ratio), 0.0, 1.0)
    parameters = parameter_list(what, parameters)
    return l1_penalty(parameters, alpha * l1_ratio) + l2_penalty(
        parameters, 0.5 * alpha * (1.0 - l1_ratio)
    )


class L1Penalty(Loss):
    """:func:`l1_penalty` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.L1Penalty(weight=0.5)(tg.tensor([1.0, -2.0]))
    tensor(1.5000)
    """

    function = staticmethod(l1_penalty)


class L2Penalty(Loss):
    """:func:`l2_penalty` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.L2Penalty(weight=0.5)(tg.tensor([1.0, -2.0]))
    tensor(2.5000)
    """

    function = staticmethod(l2_penalty)


class ElasticNetPenalty(Loss):
    """:func:`elastic_net_penalty` with its settings.

    >>> import tapegrad as tg
    >>> tg.losses.ElasticNetPenalty(alpha=0.5, l1_ratio=1.0)(tg.tensor([1.0, -2.0]))
    tensor(1.5000)
    """

    function = staticmethod(elastic_net_penalty)


ROWS = (
    Row(l1_penalty, (REAL,), L1Penalty, settings=({"weight": 0.3},)),
    Row(l2_penalty, (REAL,), L2Penalty, settings=({"weight": 0.3},)),
    Row(
        elastic_net_penalty,
        (REAL,),
        ElasticNetPenalty,
        names=("elastic_net",),
        settings=({"alpha": 0.3, "l1_ratio": 0.2},),
    ),
)
