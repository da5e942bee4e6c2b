"""Which loss, which activation before it, and why: the usual tables of choice as code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tapegrad import Tensor, log_softmax, sigmoid, softmax
from tapegrad.lookup import first_name

from .naming import get

__all__ = ["Suggestion", "suggest"]

LABELS = ("index", "onehot", "soft")

#: Output activations by name; the classes are the last dimension.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "sigmoid": sigmoid,
    "softmax": lambda x: softmax(x, dim=-1),
    "log_softmax": lambda x: log_softmax(x, dim=-1),
}


class Suggestion(NamedTuple):
    """A loss, the activation of the network's output before it, and the reason.

    Calling it does both: ``suggestion(outputs, target)`` is
    ``suggestion.loss(suggestion.activate(outputs), target)``.

    >>> import tapegrad as tg
    >>> loss, activation, reason = tg.losses.suggest("binary", from_logits=False)
    >>> loss, activation
    (BinaryCrossentropy(), 'sigmoid')
    """

    loss: Callable[..., Any]
    activation: str
    reason: str

    def activate(self, outputs: Tensor) -> Tensor:
        """The outputs of the network's last linear layer as the loss takes them."""
        return ACTIVATIONS[self.activation](outputs)

    def __call__(self, outputs: Tensor, *targets: Any) -> Tensor:
        """The loss of outputs that have not been through the activation."""
        return self.loss(self.activate(outputs), *targets)  # type: ignore[no-any-return]


class _Choice(NamedTuple):
    """One line of a table: what is chosen when all of ``when`` is the case."""

    loss: str
    reason: str
    activation: str = "none"
    when: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = {}


def _when(*circumstances: str) -> frozenset[str]:
    return frozenset(circumstances)


_SOFTMAX_INSIDE = "It takes logits, its softmax is inside: one before it would be softmax twice."
_SIGMOID_BEFORE = "It takes probabilities: the sigmoid comes before it."
_SOFTMAX_BEFORE = "It takes probabilities: the softmax comes before it."
_RARE = (
    "Where a class is rare, the many easy examples of the others fill the mean; the factor "
    "(1 - p)^gamma takes them out. "
)

#: What is said of circumstances that a task has no line for.
_IDLE = {
    "outliers": " Outliers do not change this choice.",
    "imbalance": " Imbalance does not change this choice.",
}

#: For each task its lines; of those that apply the one with the most conditions is taken.
_CHOICES: dict[str, tuple[_Choice, ...]] = {
    "regression": (
        _Choice(
            "MSELoss",
            "For errors near a normal distribution the mean of squares is maximum likelihood; the "
            "prediction goes to the mean. Large errors weigh most; where a few are far off say "
            "outliers=True.",
        ),
        _Choice(
            "HuberLoss",
            "Squares would let a few outliers decide. Huber's loss is quadratic for errors up to "
            "delta and linear beyond. L1Loss is linear throughout and goes to the median.",
            when=_when("outliers"),
        ),
    ),
    "quantile": (
        _Choice(
            "QuantileLoss",
            "Errors on the two sides cost differently, so that the prediction goes to a quantile, "
            "which no outlier moves far.",
        ),
    ),
    "count": (
        _Choice(
            "PoissonNLLLoss",
            "Counts are not negative and vary more where there are more. The output is the "
            "logarithm of a Poisson distribution's mean. TweedieLoss is for amounts with zeros.",
        ),
    ),
    "uncertainty": (
        _Choice(
            "GaussianNLLLoss",
            "The network says how sure it is: the operands are its mean, the target and its "
            "variance, which must be positive (the softplus or exponential of an output).",
        ),
    ),
    "binary": (
        _Choice(
            "BCEWithLogitsLoss",
            "Yes or no, by maximum likelihood. It takes logits, its sigmoid is inside and exact "
            "where a probability would round to 0 or 1.",
        ),
        _Choice(
            "BinaryCrossentropy",
            f"Yes or no, by maximum likelihood. {_SIGMOID_BEFORE}",
            "sigmoid",
            _when("probabilities"),
        ),
        _Choice(
            "FocalLoss",
            _RARE + "It takes logits, its sigmoid is inside. Or weigh the rare side: "
            "BCEWithLogitsLoss(pos_weight=negatives / positives).",
            when=_when("imbalance"),
        ),
        _Choice(
            "BinaryFocalCrossentropy",
            _RARE + _SIGMOID_BEFORE,
            "sigmoid",
            _when("imbalance", "probabilities"),
        ),
    ),
    "multiclass": (
        _Choice(
            "CrossEntropyLoss",
            f"One of several classes, labels as integers. {_SOFTMAX_INSIDE}",
        ),
        _Choice(
            "CrossEntropyLoss",
            "One of several classes; one-hot rows give what the integers give. " + _SOFTMAX_INSIDE,
            when=_when("onehot"),
        ),
        _Choice(
            "CrossEntropyLoss",
            "Labels are distributions; it differs from the Kullback-Leibler divergence by their "
            f"entropy, a constant. {_SOFTMAX_INSIDE}",
            when=_when("soft"),
        ),
        _Choice(
            "SparseCategoricalCrossentropy",
            f"One of several classes, labels as integers. {_SOFTMAX_BEFORE}",
            "softmax",
            _when("index", "probabilities"),
        ),
        _Choice(
            "CategoricalCrossentropy",
            f"One of several classes, labels as one-hot rows. {_SOFTMAX_BEFORE}",
            "softmax",
            _when("onehot", "probabilities"),
        ),
        _Choice(
            "CategoricalCrossentropy",
            f"Labels are distributions. {_SOFTMAX_BEFORE}",
            "softmax",
            _when("soft", "probabilities"),
        ),
        _Choice(
            "SoftmaxFocalLoss",
            f"{_RARE}{_SOFTMAX_INSIDE} Or weigh the rare classes: "
            "CrossEntropyLoss(weight=class_balanced_weights(counts)).",
            when=_when("index", "imbalance"),
        ),
        _Choice(
            "SparseCategoricalCrossentropy",
            f"One of several classes, labels as integers. {_SOFTMAX_BEFORE} Where a class is rare "
            "weigh it, or give CategoricalFocalCrossentropy one-hot labels.",
            "softmax",
            _when("index", "imbalance", "probabilities"),
        ),
        *(
            _Choice(
                "CategoricalFocalCrossentropy",
                _RARE + _SOFTMAX_INSIDE,
                when=_when(labels, "imbalance"),
                settings={"from_logits": True},
            )
            for labels in ("onehot", "soft")
        ),
        *(
            _Choice(
                "CategoricalFocalCrossentropy",
                _RARE + _SOFTMAX_BEFORE,
                "softmax",
                _when(labels, "imbalance", "probabilities"),
            )
            for labels in ("onehot", "soft")
        ),
    ),
    "multilabel": (
        _Choice(
            "BCEWithLogitsLoss",
            "Any number of classes at once: yes or no for each, targets of 0 and 1 in the shape of "
            "the outputs. It takes logits, its sigmoid is inside.",
        ),
        _Choice(
            "BinaryCrossentropy",
            "Any number of classes at once: yes or no for each, targets of 0 and 1 in the shape of "
            f"the outputs. {_SIGMOID_BEFORE}",
            "sigmoid",
            _when("probabilities"),
        ),
        _Choice(
            "FocalLoss",
            _RARE + "It takes logits, its sigmoid is inside. Or weigh each class: "
            "BCEWithLogitsLoss(pos_weight=negatives / positives).",
            when=_when("imbalance"),
        ),
        _Choice(
            "BinaryFocalCrossentropy",
            _RARE + _SIGMOID_BEFORE,
            "sigmoid",
            _when("imbalance", "probabilities"),
        ),
    ),
    "margin": (
        _Choice(
            "HingeLoss",
            "Labels -1 and 1; what is on the right side by a margin of 1 costs nothing, as in a "
            "support vector machine. The scores are no probabilities.",
        ),
    ),
    "segmentation": (
        _Choice(
            "DiceLoss",
            "The overlap of two masks, which does not depend on how much background there is "
            "(V-Net). Targets are masks of 0 and 1; pixel by pixel, with class indices, "
            "CrossEntropyLoss(weight=...) does it (U-Net).",
            "sigmoid",
        ),
        _Choice(
            "FocalTverskyLoss",
            "Small regions: missed pixels (beta) cost more than false ones (alpha), and the power "
            "keeps the loss steep where masks overlap well already. FocalLoss goes pixel by pixel "
            "and takes logits.",
            "sigmoid",
            _when("imbalance"),
        ),
    ),
    "detection": (
        _Choice(
            "SSDLoss",
            "A term for boxes and a term for classes, added: smooth L1 and cross-entropy, with "
            "three negatives to a positive. YOLOv1Loss is squares throughout; DetectionLoss takes "
            "any two terms.",
        ),
    ),
    "boxes": (
        _Choice(
            "GIoULoss",
            "What detection is judged by, the overlap of boxes, with a gradient also where they do "
            "not touch. SmoothL1Loss treats each coordinate by itself.",
        ),
    ),
    "embedding": (
        _Choice(
            "TripletMarginLoss",
            "An anchor is to be nearer to a positive than to a negative by a margin. "
            "BatchHardTripletLoss and SemiHardTripletLoss choose the triplets from a batch.",
        ),
    ),
    "verification": (
        _Choice(
            "ContrastiveLoss",
            "Pairs from a Siamese network: what is the same is drawn together, what is not is "
            "pushed beyond the margin. The operands are (a, b, same), same = 1 for equal ones.",
        ),
    ),
    "self-supervised": (
        _Choice(
            "NTXentLoss",
            "Two views of each example are to find each other among all in the batch; the "
            "embeddings are normalised inside.",
        ),
    ),
    "faces": (
        _Choice(
            "ArcFaceLoss",
            "Many identities: a margin between the angles to their centres makes embeddings that "
            "tell apart faces never seen. The operands are (embeddings, centres, labels). "
            "TripletMarginLoss needs no centres (FaceNet).",
        ),
    ),
    "generation": (
        _Choice(
            "WassersteinCriticLoss",
            "How far apart real and generated samples are, with a gradient also where they do not "
            "overlap. The critic must be 1-Lipschitz: add GradientPenalty. The scores are no "
            "probabilities; the generator's loss is WassersteinGeneratorLoss.",
        ),
    ),
    "generator": (
        _Choice(
            "WassersteinGeneratorLoss",
            "The generator raises the critic's scores of its samples; the critic's loss is "
            "WassersteinCriticLoss. For a discriminator of logits: NonSaturatingGeneratorLoss.",
        ),
    ),
    "translation": (
        _Choice(
            "SequenceCrossEntropyLoss",
            "The right token at each position, given the right ones before it (teacher forcing); "
            f"padding does not count. {_SOFTMAX_INSIDE}",
        ),
    ),
    "language modelling": (
        _Choice(
            "NextTokenCrossEntropyLoss",
            "The next token at each position; the exponential of the mean is the perplexity. "
            + _SOFTMAX_INSIDE,
        ),
    ),
    "summarization": (
        _Choice(
            "SequenceCrossEntropyLoss",
            "ROUGE has no derivative, cross-entropy stands in for it. After that MinimumRiskLoss "
            f"or SelfCriticalLoss raise the expected ROUGE of samples. {_SOFTMAX_INSIDE}",
        ),
    ),
    "reinforcement": (
        _Choice(
            "ReinforceLoss",
            "A reward without a derivative: the log-probabilities of what was done are weighted by "
            "the reward above a baseline. The operands are (log_probs, rewards).",
        ),
    ),
    "speech": (
        _Choice(
            "CTCLoss",
            "A sequence of labels without their times: all alignments count. It takes "
            "log-probabilities (T, N, C), labels and both lengths.",
            "log_softmax",
        ),
    ),
    "ranking": (
        _Choice(
            "MarginRankingLoss",
            "Which of two is to score higher: (scores, other scores, 1 or -1).",
        ),
    ),
    "distillation": (
        _Choice(
            "KLDivLoss",
            "How far the distribution is from a teacher's; it takes log-probabilities and "
            'probabilities, and its mean over rows is "batchmean".',
            "log_softmax",
            settings={"reduction": "batchmean"},
        ),
    ),
}

#: Other words for the tasks.
_ALIASES = {
    "time series": "regression",
    "forecasting": "regression",
    "counts": "count",
    "poisson": "count",
    "prediction intervals": "quantile",
    "heteroscedastic": "uncertainty",
    "binary classification": "binary",
    "spam": "binary",
    "sentiment": "binary",
    "classification": "multiclass",
    "multi class classification": "multiclass",
    "categorical": "multiclass",
    "image classification": "multiclass",
    "text classification": "multiclass",
    "multi label classification": "multilabel",
    "tagging": "multilabel",
    "svm": "margin",
    "semantic segmentation": "segmentation",
    "image segmentation": "segmentation",
    "object detection": "detection",
    "bounding boxes": "boxes",
    "box regression": "boxes",
    "embeddings": "embedding",
    "metric learning": "embedding",
    "siamese": "verification",
    "similarity": "verification",
    "contrastive learning": "self-supervised",
    "face recognition": "faces",
    "gan": "generation",
    "critic": "generation",
    "sequence": "translation",
    "sequence to sequence": "translation",
    "seq2seq": "translation",
    "machine translation": "translation",
    "language model": "language modelling",
    "language modeling": "language modelling",
    "summarisation": "summarization",
    "reinforcement learning": "reinforcement",
    "rl": "reinforcement",
    "speech recognition": "speech",
    "ctc": "speech",
    "learning to rank": "ranking",
    "knowledge distillation": "distillation",
}


def suggest(
    task: str,
    outliers: bool = False,
    imbalance: bool = False,
    labels: str = "index",
    *,
    from_logits: bool = True,
) -> Suggestion:
    """A loss for a task, the output activation that goes with it, and why.

    ``task``: "regression", "binary", "multiclass", "multilabel", "segmentation", "detection",
    "embedding", "verification", "generation", "translation", "language modelling",
    "summarization", "ranking", "count" or another; usual other words are understood.
    ``outliers``: whether a few targets are far off. ``imbalance``: whether a class is rare.
    ``labels``: how classes are given, as "index", "onehot" or "soft" (distributions).
    ``from_logits``: as PyTorch does it, the activation inside the loss where it is exact; False
    for a network that ends in probabilities, as Keras's do.

    Raises ValueError for an unknown task, with the nearest known ones, and for other labels.

    >>> import tapegrad as tg
    >>> loss, activation, reason = tg.losses.suggest("regression", outliers=True)
    >>> loss, activation
    (HuberLoss(), 'none')
    >>> reason.split(".")[0]
    'Squares would let a few outliers decide'
    >>> tg.losses.suggest("multiclass", labels="onehot", from_logits=False)[:2]
    (CategoricalCrossentropy(), 'softmax')
    """
    if labels not in LABELS:
        raise ValueError(f'labels must be "index", "onehot" or "soft", not {labels!r}')
    name = first_name("task", task, _CHOICES, _ALIASES)
    if name == "binary" and labels == "onehot":
        name = "multiclass"  # of two classes
    given = {labels}
    given |= {"outliers"} if outliers else set()
    given |= {"imbalance"} if imbalance else set()
    given |= set() if from_logits else {"probabilities"}
    fitting = [choice for choice in _CHOICES[name] if choice.when <= given]
    best = max(fitting, key=lambda choice: len(choice.when))
    reason = best.reason + "".join(_IDLE[word] for word in _IDLE if word in given - best.when)
    return Suggestion(get(best.loss, **best.settings), best.activation, reason)
