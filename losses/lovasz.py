"""Losses of segmentation: convex surrogates of the Jaccard loss, after Lovász."""

from __future__ import annotations

from typing import Any

from tapegrad import (
    Tensor,
    arange,
    argsort,
    check,
    cumsum,
    gather,
    maximum,
    rand,
    randint,
    randn,
    relu,
    softmax,
    where,
)
from tapegrad import all as all_of

from .base import Loss
from .checks import first_bad, matching, not_empty, rows_add_up, setting, tensors
from .classification import class_indices
from .kinds import BINARY, DISTRIBUTION, LABELS, LOGITS, Kind
from .reducing import reduce
from .table import Row

__all__ = ["LovaszHingeLoss", "LovaszSoftmaxLoss", "lovasz_hinge_loss", "lovasz_softmax_loss"]


def lovasz_hinge_loss(
    input: Tensor,
    target: Tensor,
    per_image: bool = True,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Lovász hinge: Σ_i max(e_(i), 0)·[J(i) - J(i-1)], e = 1 - z for foreground and 1 + z for not.

    The errors are sorted, largest first; J(i) is the Jaccard loss if the first i were wrong: a
    convex, piecewise linear surrogate of the binary Jaccard loss, which it equals where all errors
    are 0 or 1.

    ``input``: logits z of shape (N, ...), or (P,) for one image; ``target``: the mask, of that
    shape, 0 or 1, or ``ignore_index`` where a pixel does not count. ``per_image``: one loss for
    each of N images, which ``reduction`` is of; else one for all pixels together. An image
    without foreground costs its largest error, one whose pixels are all ignored 0.

    Raises ValueError when the shapes differ, the batch is empty or the mask holds another number.

    >>> import tapegrad as tg
    >>> z = tg.tensor([3.0, -0.5, -2.0, 0.25])
    >>> tg.losses.lovasz_hinge_loss(z, tg.tensor([1, 1, 0, 0]))
    tensor(0.9583)

    Source: Berman et al. (2018), The Lovász-softmax loss: a tractable surrogate for the
    optimization of the intersection-over-union measure in neural networks.
    """
    what = "lovasz_hinge_loss"
    input, target = matching(what, input=input, target=target)
    setting(what, "ignore_index", ignore_index, ())
    member, kept = target == 1, target != ignore_index

    def message(mask: Any) -> str:
        good = (mask == 0) | (mask == 1) | (mask == ignore_index)
        return (
            f"{what}: target must be a mask of 0 and 1, or ignore_index={ignore_index}, but "
            f"{first_bad(good, mask)}"
        )

    check(all_of(member | (target == 0) | ~kept), message, target)
    shape = (input.shape[0], -1) if per_image and input.ndim > 1 else (-1,)
    error = relu(where(member, 1.0 - input, 1.0 + input))
    return reduce(
        _lovasz(error.reshape(shape), member.reshape(shape), kept.reshape(shape)), reduction
    )


def lovasz_softmax_loss(
    input: Tensor,
    target: Tensor,
    classes: str = "present",
    per_image: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Lovász-softmax: for each class Σ_i e_(i)·[J(i) - J(i-1)], e = 1 - p where it is, else p.

    The errors of all pixels are sorted, largest first; J(i) is the class's Jaccard loss if the
    first i were wrong. Where all p are 0 or 1 it is the mean Jaccard loss of the classes.

    ``input``: probabilities p of shape (N, C, ...), a softmax's; ``target``: class indices of
    shape (N, ...), ``ignore_index`` where a pixel does not count, whatever its p. ``classes``: the
    mean is over those "present" in the target (0 if none is, as when all is ignored), or "all".
    ``per_image``: one loss for each image, which ``reduction`` is of; else one for all pixels
    together.

    Raises ValueError for shapes that do not fit, an empty batch, a label out of range or
    probabilities that do not add up to 1.

    >>> import tapegrad as tg
    >>> p = tg.tensor([[0.75, 0.25], [0.5, 0.5]])
    >>> tg.losses.lovasz_softmax_loss(p, tg.tensor([0, 1]))
    tensor(0.4375)

    Source: Berman et al. (2018), The Lovász-softmax loss: a tractable surrogate for the
    optimization of the intersection-over-union measure in neural networks.
    """
    what = "lovasz_softmax_loss"
    input, target = tensors(what, input=input, target=target)
    if input.ndim < 2:
        raise ValueError(f"{what}: input must have shape (N, C, ...), not {input.shape}")
    not_empty(what, "input", input)
    if classes not in ("present", "all"):
        raise ValueError(f'{what}: classes must be "present" or "all", not {classes!r}')
    index = class_indices(what, input, target, 1, ignore_index)
    images, count = input.shape[:2]
    input = where(index.unsqueeze(1) >= 0, input, 1.0 / count)  # anything may stand where ignored
    rows_add_up(what, "input", input, 1)

    p, index = input.reshape(images, count, -1), index.reshape(images, 1, -1)
    if not per_image:  # all pixels are as of one image
        p, index = p.transpose(0, 1).reshape(count, -1), index.reshape(1, -1)
    member = index == arange(count).reshape(count, 1)
    loss = _lovasz(where(member, 1.0 - p, p), member, index >= 0)
    if classes == "all":
        return reduce(loss.mean(dim=-1), reduction)
    present = member.any(dim=-1)
    loss = where(present, loss, 0.0).sum(dim=-1) / maximum(present.sum(dim=-1), 1)
    return reduce(loss, reduction)


def _lovasz(error: Tensor, member: Tensor, kept: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss along the last dimension (their algorithm 1).

    ``error``: at least 0; ``member``: which belong to the set; ``kept``: which count at all.

    J = 1 - I/U, I the members that are not wrong yet, U the set and what is wrong outside of it.
    A member that turns wrong leaves I, and J rises by 1/U; another element enters U, from U - 1,
    and J rises by I/(U·(U - 1)). The difference J(i) - J(i-1) itself would lose digits.
    """
    order = argsort(where(kept, error, -1.0), dim=-1, descending=True)  # those that do not last
    found = gather(member & kept, -1, order)
    size = found.sum(dim=-1, keepdim=True)
    common = (size - cumsum(found, dim=-1)).to(error.dtype)
    union = (size + cumsum(~found, dim=-1)).to(error.dtype)
    # where U is 1 the first element is all there is, and J rises from 0 to 1
    rise = where(found | (union == 1), 1.0, common / maximum(union - 1.0, 1.0)) / union
    return (gather(where(kept, error, 0.0), -1, order) * rise).sum(dim=-1)


class LovaszHingeLoss(Loss):
    """:func:`lovasz_hinge_loss` with its settings: logits in.

    >>> import tapegrad as tg
    >>> tg.losses.LovaszHingeLoss()(tg.tensor([[2.0, -0.5]]), tg.tensor([[1.0, 0.0]]))
    tensor(0.2500)
    """

    function = staticmethod(lovasz_hinge_loss)


class LovaszSoftmaxLoss(Loss):
    """:func:`lovasz_softmax_loss` with its settings: probabilities in.

    >>> import tapegrad as tg
    >>> tg.losses.LovaszSoftmaxLoss()(tg.tensor([[0.75, 0.25]]), tg.tensor([0]))
    tensor(0.2500)
    """

    function = staticmethod(lovasz_softmax_loss)


#: Images of classes: probabilities and labels of shape (rows, columns, 2, 2) and (rows, 2, 2).
SOFT_MAPS = Kind(
    lambda n, c, g: randn(n, c, 2, 2, dtype="float64", generator=g), lambda x: softmax(x, dim=1)
)
LABEL_MAPS = Kind(lambda n, c, g: randint(0, c, (n, 2, 2), generator=g), None)
SOME_LABEL_MAPS = Kind(
    lambda n, c, g: where(rand(n, 2, 2, generator=g) < 0.4, -100, LABEL_MAPS.draw(n, c, g)), None
)

ROWS = (
    Row(
        lovasz_hinge_loss,
        (LOGITS, BINARY),
        LovaszHingeLoss,
        names=("lovasz_hinge",),
        settings=({"per_image": False},),
    ),
    Row(
        lovasz_softmax_loss,
        (DISTRIBUTION, LABELS),
        LovaszSoftmaxLoss,
        names=("lovasz_softmax", "lovasz"),
        settings=({"classes": "all"}, {"ignore_index": 1}),
    ),
    Row(
        lovasz_softmax_loss,
        (SOFT_MAPS, SOME_LABEL_MAPS),
        settings=({"per_image": True}, {"per_image": True, "reduction": "none"}),
        case="maps, some ignored",
    ),
)
