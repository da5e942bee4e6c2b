"""Layers and activations as functions, by the names of torch.nn.functional."""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any

from tapegrad import (
    Tensor,
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    cosine_similarity,
    fold,
    interpolate,
    log_softmax,
    logsigmoid,
    max_pool1d,
    max_pool2d,
    one_hot,
    pad,
    pairwise_distance,
    sigmoid,
    softmax,
    softmin,
    softplus,
    tanh,
    unfold,
)
from tapegrad import losses as _losses
from tapegrad.errors import ShapeError
from tapegrad.functions.distances import normalize

from . import formulas_piecewise as _piecewise
from . import formulas_smooth as _smooth
from .attending import multi_head_attention_forward, scaled_dot_product_attention
from .dropping import alpha_dropout, dropout, dropout1d, dropout2d, feature_alpha_dropout
from .formulas_piecewise import *
from .formulas_smooth import *
from .looking_up import embedding
from .normalizing import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from .perceptron_learning import perceptron_rule
from .positions import rotary_encoding, sinusoidal_encoding

# The losses, by PyTorch's names; the table lists them once. Keras's are other functions.
if _TYPE_CHECKING:
    from tapegrad.losses import *
_LOSSES = {
    row.function.__name__: row.function
    for row in _losses.LOSSES
    if "keras" not in row.function.__module__
}
globals().update(_LOSSES)

__all__ = [
    *_LOSSES,
    *_piecewise.__all__,
    *_smooth.__all__,
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "bilinear",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_similarity",
    "dropout",
    "dropout1d",
    "dropout2d",
    "embedding",
    "feature_alpha_dropout",
    "fold",
    "group_norm",
    "instance_norm",
    "interpolate",
    "layer_norm",
    "linear",
    "log_softmax",
    "logsigmoid",
    "max_pool1d",
    "max_pool2d",
    "multi_head_attention_forward",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "perceptron_rule",
    "rms_norm",
    "rotary_encoding",
    "scaled_dot_product_attention",
    "sigmoid",
    "sinusoidal_encoding",
    "softmax",
    "softmin",
    "softplus",
    "tanh",
    "unfold",
]


def linear(input: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    """x·Wᵀ + b for x (..., in), W (out, in), b (out,).

    ValueError when the last dimension of x is not that of W, TypeError for a list.

    >>> import tapegrad as tg
    >>> tg.nn.functional.linear(tg.ones(1, 2), tg.tensor([[1.0, 2.0]]), tg.tensor([0.5]))
    tensor([[3.5000]])
    """
    if not isinstance(input, Tensor):
        made = "a layer that returns several gives them in a tuple, take the one that is meant"
        made = made if isinstance(input, tuple) else "tg.tensor(...) makes one"
        raise TypeError(f"linear: input must be a tensor, not {type(input).__name__}: {made}")
    if not input.ndim or input.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"linear: input of shape {input.shape} must end in {weight.shape[-1]} features "
            f"(weight has shape {weight.shape})"
        )
    output = input @ weight.T
    return output if bias is None else output + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    """y_k = Σ x1_i·W_kij·x2_j + b_k for x1 (..., in1), x2 (..., in2), W (out, in1, in2), b (out,).

    ValueError when the shapes do not fit.

    >>> import tapegrad as tg
    >>> F = tg.nn.functional
    >>> F.bilinear(tg.tensor([[2.0]]), tg.tensor([[3.0]]), tg.tensor([[[5.0]]]))
    tensor([[30.]])
    """
    out, *sizes = weight.shape
    ends = [*input1.shape[-1:], *input2.shape[-1:]]
    if ends != sizes or input1.shape[:-1] != input2.shape[:-1]:
        raise ShapeError(
            f"bilinear: inputs of shapes {input1.shape} and {input2.shape} must be alike but for "
            f"the last dimension, which must be in1 and in2 of a weight (out, in1, in2), here of "
            f"shape {weight.shape}"
        )
    by_first = input1 @ weight.movedim(1, 0).reshape(sizes[0], out * sizes[1])
    by_first = by_first.reshape(*input1.shape[:-1], out, sizes[1])
    output = (by_first @ input2.unsqueeze(-1)).squeeze(-1)
    return output if bias is None else output + bias
