"""Losses by name, names for one's own, and which loss is suggested for what."""

from __future__ import annotations

import functools
import inspect
import itertools
import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.losses import LOSSES, naming, suggesting
from tapegrad.losses.naming import plain

#: The losses among PyTorch 2.13's classes, and its functions. Left out: LinearCrossEntropyLoss and
#: AdaptiveLogSoftmaxWithLoss, which are layers with parameters, and the deprecated NLLLoss2d.
TORCH = {
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "CTCLoss": "ctc_loss",
    "CosineEmbeddingLoss": "cosine_embedding_loss",
    "CrossEntropyLoss": "cross_entropy",
    "GaussianNLLLoss": "gaussian_nll_loss",
    "HingeEmbeddingLoss": "hinge_embedding_loss",
    "HuberLoss": "huber_loss",
    "KLDivLoss": "kl_div",
    "L1Loss": "l1_loss",
    "MSELoss": "mse_loss",
    "MarginRankingLoss": "margin_ranking_loss",
    "MultiLabelMarginLoss": "multilabel_margin_loss",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss",
    "MultiMarginLoss": "multi_margin_loss",
    "NLLLoss": "nll_loss",
    "PoissonNLLLoss": "poisson_nll_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "SoftMarginLoss": "soft_margin_loss",
    "TripletMarginLoss": "triplet_margin_loss",
    "TripletMarginWithDistanceLoss": "triplet_margin_with_distance_loss",
}
#: Keras 3's classes with their functions and aliases: keras.losses.ALL_OBJECTS.
KERAS = {
    "BinaryCrossentropy": ("binary_crossentropy", "bce", "BCE"),
    "BinaryFocalCrossentropy": ("binary_focal_crossentropy",),
    "CTC": ("ctc",),
    "CategoricalCrossentropy": ("categorical_crossentropy",),
    "CategoricalFocalCrossentropy": ("categorical_focal_crossentropy",),
    "CategoricalHinge": ("categorical_hinge",),
    "Circle": ("circle",),
    "CosineSimilarity": ("cosine_similarity",),
    "Dice": ("dice",),
    "Hinge": ("hinge",),
    "Huber": ("huber",),
    "KLDivergence": ("kl_divergence", "kld", "KLD"),
    "LogCosh": ("log_cosh", "logcosh"),
    "MeanAbsoluteError": ("mean_absolute_error", "mae", "MAE"),
    "MeanAbsolutePercentageError": ("mean_absolute_percentage_error", "mape", "MAPE"),
    "MeanSquaredError": ("mean_squared_error", "mse", "MSE"),
    "MeanSquaredLogarithmicError": ("mean_squared_logarithmic_error", "msle", "MSLE"),
    "Poisson": ("poisson",),
    "SparseCategoricalCrossentropy": ("sparse_categorical_crossentropy",),
    "SquaredHinge": ("squared_hinge",),
    "Tversky": ("tversky",),
}


@pytest.fixture
def names():
    """Names that a test registers are gone afterwards."""
    before = dict(naming._REGISTERED)
    yield naming._REGISTERED
    naming._REGISTERED.clear()
    naming._REGISTERED.update(before)


# -- names that are known ---------------------------------------------------------------------
@pytest.mark.parametrize("name", TORCH)
def test_names_of_pytorch(name):
    loss = losses.get(name)
    assert type(loss).__name__ == name
    assert type(loss).function.__name__ == TORCH[name]
    for spelling in (f"nn.{name}", f"torch.nn.{name}", name.lower(), TORCH[name]):
        assert type(losses.get(spelling)) is type(loss), spelling
    assert type(losses.get(f"F.{TORCH[name]}")) is type(loss)


@pytest.mark.parametrize("name", KERAS)
def test_names_of_keras(name):
    loss = losses.get(name)
    assert isinstance(loss, losses.Loss)
    for spelling in (*KERAS[name], name.lower(), f"keras.losses.{name}"):
        assert type(losses.get(spelling)) is type(loss), spelling


#: Three classes, two rows: probabilities and one-hot labels.
Y = [[0.2, 0.7, 0.1], [0.5, 0.25, 0.25]]
T = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
#: What Keras 3.15's classes answer to (T, Y), in single precision.
KERAS_VALUES = {
    "BinaryCrossentropy": 0.3256150484085083,
    "BinaryFocalCrossentropy": 0.041887857019901276,
    "CategoricalCrossentropy": 0.5249110460281372,
    "CategoricalFocalCrossentropy": 0.02567344158887863,
    "CategoricalHinge": 0.625,
    "CosineSimilarity": -0.8845379948616028,
    "Dice": 0.4000000149999997,
    "Hinge": 0.9333332777023315,
    "Huber": 0.042916666716337204,
    "KLDivergence": 0.524908185005188,
    "LogCosh": 0.04186243936419487,
    "MeanAbsoluteError": 0.2666666805744171,
    "MeanAbsolutePercentageError": 133333344.0,
    "MeanSquaredError": 0.08583333343267441,
    "MeanSquaredLogarithmicError": 0.04184741526842117,
    "Poisson": 0.5083036422729492,
    "SquaredHinge": 1.0191667079925537,
    "Tversky": 0.4000000299999985,
}


@pytest.mark.parametrize("name", KERAS_VALUES)
def test_keras_strings_give_keras_numbers(name):
    found = losses.get(name)(tg.tensor(Y), tg.tensor(T)).item()
    np.testing.assert_allclose(found, KERAS_VALUES[name], rtol=1e-5)


def test_sparse_labels():
    loss = losses.get("sparse_categorical_crossentropy")
    np.testing.assert_allclose(loss(tg.tensor(Y), tg.tensor([1, 0])).item(), 0.524911, rtol=1e-5)


@pytest.mark.parametrize(
    "name, form",
    [
        ("ce", "CrossEntropyLoss"),
        ("Cross Entropy Loss", "CrossEntropyLoss"),
        ("cross-entropy", "CrossEntropyLoss"),
        ("MSE loss", "MSELoss"),
        ("l2", "MSELoss"),
        ("smooth l1", "SmoothL1Loss"),
        ("torch.nn.functional.l1_loss", "L1Loss"),
        ("bce_with_logits", "BCEWithLogitsLoss"),
        ("binary_cross_entropy", "BCELoss"),  # PyTorch's
        ("binary_crossentropy", "BinaryCrossentropy"),  # Keras's
        ("BinaryCrossEntropy", "BinaryCrossentropy"),
        ("focal", "FocalLoss"),
        ("triplet_margin", "TripletMarginLoss"),
    ],
)
def test_other_spellings(name, form):
    assert type(losses.get(name)).__name__ == form


def test_no_two_rows_claim_one_name():
    """But one: PyTorch's binary_cross_entropy and Keras's binary_crossentropy."""
    claims = {}
    for row in LOSSES:
        own = (row.form.__name__,) if row.form else ()
        for name in (row.function.__name__, *own, *row.names):
            claims.setdefault(plain(name), set()).add(row.function.__name__)
    twice = {key: rows for key, rows in claims.items() if len(rows) > 1}
    assert set(twice) <= {"binarycrossentropy"}


def test_every_row_is_found_by_all_its_names():
    forms = {row.function: row.form for row in LOSSES if row.form}
    for row in LOSSES:
        form = forms.get(row.function)
        for name in (row.function.__name__, *row.names, *([form.__name__] if form else [])):
            found = losses.get(name)
            assert type(found) is form if form else found is row.function, name


# -- settings and callables -------------------------------------------------------------------
def test_settings_make_an_instance_that_shows_them():
    loss = losses.get("huber", delta=0.5, reduction="sum")
    assert repr(loss) == "HuberLoss(reduction='sum', delta=0.5)"
    assert loss(tg.tensor([2.0]), tg.tensor([0.0])).item() == 0.875
    with pytest.raises(TypeError, match=r"HuberLoss\(.*delta.*\): .*'slope'"):
        losses.get("huber", slope=0.5)


def test_a_callable_is_a_loss_as_it_is():
    def cubes(input, target, scale=1.0):
        return (scale * abs(input - target) ** 3).mean()

    loss = losses.HuberLoss(delta=3.0)
    assert losses.get(cubes) is cubes
    assert losses.get(loss) is loss
    assert repr(losses.get(losses.HuberLoss)) == "HuberLoss()"
    assert repr(losses.get(losses.HuberLoss, delta=2.0)) == "HuberLoss(delta=2.0)"
    assert losses.get(cubes, scale=2.0)(tg.tensor([2.0]), tg.tensor([0.0])).item() == 16.0
    partial = functools.partial(cubes, scale=3.0)
    assert losses.get(partial) is partial
    with pytest.raises(TypeError, match=r"cubes: .*'size'"):
        losses.get(cubes, size=2.0)
    with pytest.raises(TypeError, match=r"HuberLoss\(delta=3.0\) is made already"):
        losses.get(loss, delta=2.0)


@pytest.mark.parametrize("wrong", [None, 3, ["mse"], {"class_name": "Huber"}])
def test_what_is_no_loss(wrong):
    what = "None" if wrong is None else type(wrong).__name__
    with pytest.raises(TypeError, match=rf"a string.*function.*class.*instance.*not {what}$"):
        losses.get(wrong)


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("hubr", ["HuberLoss"]),
        ("msee", ["MSELoss"]),
        ("cros_entropy", ["'cross_entropy' (CrossEntropyLoss)"]),
        ("crossentropy", ["'cross_entropy' (CrossEntropyLoss)", "(CategoricalCrossentropy)"]),
        ("categorial_crossentropy", ["'CategoricalCrossentropy'"]),
        ("TripletMargiLoss", ["TripletMarginLoss"]),
        ("", []),
        ("?!", []),
        ("nn.", []),
        ("zzzzzzzz", []),
    ],
)
def test_an_unknown_name_answers_with_the_nearest(name, nearest):
    with pytest.raises(ValueError) as error:
        losses.get(name)
    message = str(error.value)
    assert message.startswith(f"no loss is called {name!r}; ")
    assert ("near it are" in message) == bool(nearest)
    assert all(form in message for form in nearest), message
    assert "losses.LOSSES has all" in message


# -- names of one's own -----------------------------------------------------------------------
def test_register_gives_a_name(names):
    def cubes(input, target):
        return (abs(input - target) ** 3).mean()

    assert losses.register("Cubes!", cubes) is cubes
    assert losses.get("cubes") is losses.get("CUBES") is cubes
    assert losses.get("cubes")(tg.tensor([2.0]), tg.tensor([0.0])).item() == 8.0

    @losses.register("my_huber")
    class MyHuber(losses.HuberLoss):
        pass

    assert inspect.isclass(MyHuber)
    assert repr(losses.get("myhuber", delta=2.0)) == "MyHuber(delta=2.0)"
    ready = losses.HuberLoss(delta=5.0)
    losses.register("huber 5", ready)
    assert losses.get("huber5") is ready
    with pytest.raises(ValueError, match="'my_huber' \\(MyHuber\\)"):
        losses.get("my_hubr")


def test_register_keeps_names_that_exist(names):
    def mine(input, target):
        return (input - target).sum()

    for name in ("mse", "MSELoss", "mse-loss", "MeanSquaredError"):
        with pytest.raises(ValueError, match=r"there is a loss '.*' \(MSELoss\) already.*override"):
            losses.register(name, mine)
    losses.register("mine", mine)
    with pytest.raises(ValueError, match=r"there is a loss 'mine' \(mine\) already"):
        losses.register("MINE", max)
    losses.register("MINE", abs, override=True)
    assert losses.get("mine") is abs
    losses.register("mse", mine, override=True)
    assert losses.get("mse") is mine
    assert repr(losses.get("MSELoss")) == "MSELoss()"


def test_register_refuses(names):
    with pytest.raises(TypeError, match=r"must be a function of tensors .* not int"):
        losses.register("three", 3)
    with pytest.raises(TypeError, match="must be a string, not function"):
        losses.register(lambda y, t: y)
    with pytest.raises(ValueError, match="letters or digits"):
        losses.register("--", abs)
    assert "three" not in names


def test_a_registered_loss_has_derivatives_by_its_settings(names):
    @losses.register("power")
    def power(input, target, exponent=2.0):
        return losses.reduce(abs(input - target) ** exponent)

    exponent = tg.tensor(3.0, requires_grad=True)
    loss = losses.get("power", exponent=exponent)
    (slope,) = tg.grad(loss(tg.tensor([2.0]), tg.tensor([0.0])), exponent)
    np.testing.assert_allclose(slope.item(), 8.0 * np.log(2.0), rtol=1e-6)


CELL = """
@losses.register("cubes")
def cubes(input, target):
    return (abs(input - target) ** 3).mean()

@losses.register("cubes in a class")
class Cubes(losses.Loss):
    function = staticmethod(cubes)
"""


def test_a_cell_of_a_notebook_may_be_run_again(names):
    """The same definition is a new function, which takes the name of the former one."""
    notebook = {"losses": losses, "__name__": "__main__"}
    for _ in range(2):
        exec(CELL, notebook)
        assert losses.get("cubes") is notebook["cubes"]
        assert type(losses.get("cubes in a class")) is notebook["Cubes"]
    with pytest.raises(ValueError, match=r"there is a loss 'cubes' \(cubes\) already"):
        exec(CELL, {"losses": losses, "__name__": "another_module"})


def test_what_only_looks_the_same_is_not_registered_again(names):
    def power(exponent):
        def loss(input, target):
            return (abs(input - target) ** exponent).mean()

        return loss

    for first, second in (
        (power(3), power(4)),
        (lambda y, t: (y - t).sum(), lambda y, t: (t - y).sum()),
        (losses.HuberLoss(delta=5.0), losses.HuberLoss(delta=1.0)),
        (functools.partial(power(2)), functools.partial(power(2))),
    ):
        losses.register("mine", first, override=True)
        assert losses.register("mine", first) is first
        with pytest.raises(ValueError, match="there is a loss 'mine'"):
            losses.register("mine", second)


# -- suggestions ------------------------------------------------------------------------------
def normal(*shape):
    source = tg.Generator().manual_seed(len(shape))
    return tg.randn(*shape, dtype="float64", generator=source)


INDEX = tg.tensor([0, 2, 1, 1])
CLASSES = {
    "index": INDEX,
    "onehot": tg.one_hot(INDEX, 3).double(),
    "soft": tg.softmax(normal(4, 3), dim=-1),
}
BITS = tg.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).double()
TOKENS = tg.tensor([[0, 2, 1], [1, 2, 2]])
BOXES = tg.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 2.0, 3.0]]).double()
#: For each task the outputs of a network's last linear layer, and what they are compared with.
SAMPLES = {
    "regression": (normal(4, 1), (normal(4, 1) + 1.0,)),
    "quantile": (normal(4), (normal(4) + 1.0,)),
    "count": (normal(4), (tg.tensor([0.0, 3.0, 1.0, 2.0]).double(),)),
    "uncertainty": (normal(4), (normal(4) + 1.0, tg.exp(normal(4)))),
    "binary": (normal(4, 3), (BITS,)),
    "multiclass": (normal(4, 3), (INDEX,)),
    "multilabel": (normal(4, 3), (BITS,)),
    "margin": (normal(4, 3), (2.0 * BITS - 1.0,)),
    "segmentation": (normal(2, 1, 4, 3), (BITS.expand(2, 1, 4, 3),)),
    "detection": (normal(2, 4), (normal(2, 3), normal(2, 4) + 1.0, tg.tensor([1, 0]))),
    "boxes": (BOXES + 0.25, (BOXES,)),
    "embedding": (normal(4, 3), (normal(4, 3) + 1.0, normal(4, 3) - 0.5)),
    "verification": (normal(4, 3), (normal(4, 3) + 1.0, tg.tensor([1, 0, 0, 1]))),
    "self-supervised": (normal(4, 3), (normal(4, 3) + 1.0,)),
    "faces": (normal(4, 3), (normal(3, 3), INDEX)),
    "generation": (normal(4), (normal(5),)),
    "generator": (normal(4), ()),
    "translation": (normal(2, 3, 3), (TOKENS,)),
    "language modelling": (normal(2, 3, 3), (TOKENS,)),
    "summarization": (normal(2, 3, 3), (TOKENS,)),
    "reinforcement": (normal(4), (normal(4) + 1.0,)),
    "speech": (
        normal(5, 2, 3),
        (tg.tensor([[1, 2], [2, 1]]), tg.tensor([5, 5]), tg.tensor([2, 2])),
    ),
    "ranking": (normal(4), (normal(4) + 1.0, tg.tensor([1.0, -1.0, 1.0, 1.0]).double())),
    "distillation": (normal(4, 3), (CLASSES["soft"],)),
}
CIRCUMSTANCES = list(
    itertools.product([False, True], [False, True], ["index", "onehot", "soft"], [True, False])
)


def test_every_task_is_tried():
    assert set(SAMPLES) == set(suggesting._CHOICES)


@pytest.mark.parametrize("task", SAMPLES)
def test_a_suggestion_runs_with_its_activation(task):
    outputs, targets = SAMPLES[task]
    for outliers, imbalance, labels, from_logits in CIRCUMSTANCES:
        found = losses.suggest(task, outliers, imbalance, labels, from_logits=from_logits)
        if task == "multiclass" or (task == "binary" and labels == "onehot"):
            targets = (CLASSES[labels],)
        elif task == "binary":
            targets = (BITS,)
        x = outputs.detach().requires_grad_()
        value = found.loss(found.activate(x), *targets)
        assert value.shape == () and np.isfinite(value.item())
        assert found(x, *targets).item() == value.item()
        (slope,) = tg.grad(value, x)
        assert np.isfinite(slope.numpy()).all() and abs(slope).sum().item() > 0
        assert isinstance(found.loss, losses.Loss)
        assert repr(found).startswith(f"Suggestion(loss={found.loss!r}, activation='")


@pytest.mark.parametrize(
    "task, given, form, activation",
    [
        ("regression", {}, "MSELoss", "none"),
        ("regression", {"outliers": True}, "HuberLoss", "none"),
        ("binary", {}, "BCEWithLogitsLoss", "none"),
        ("binary", {"from_logits": False}, "BinaryCrossentropy", "sigmoid"),
        ("binary", {"imbalance": True}, "FocalLoss", "none"),
        ("multiclass", {}, "CrossEntropyLoss", "none"),
        ("multiclass", {"labels": "onehot"}, "CrossEntropyLoss", "none"),
        ("multiclass", {"from_logits": False}, "SparseCategoricalCrossentropy", "softmax"),
        (
            "multiclass",
            {"labels": "onehot", "from_logits": False},
            "CategoricalCrossentropy",
            "softmax",
        ),
        ("multiclass", {"imbalance": True}, "SoftmaxFocalLoss", "none"),
        ("multilabel", {}, "BCEWithLogitsLoss", "none"),
        ("segmentation", {}, "DiceLoss", "sigmoid"),
        ("detection", {}, "SSDLoss", "none"),
        ("siamese", {}, "ContrastiveLoss", "none"),
        ("face recognition", {}, "ArcFaceLoss", "none"),
        ("metric_learning", {}, "TripletMarginLoss", "none"),
        ("GAN", {}, "WassersteinCriticLoss", "none"),
        ("machine translation", {}, "SequenceCrossEntropyLoss", "none"),
        ("language_modelling", {}, "NextTokenCrossEntropyLoss", "none"),
        ("summarization", {}, "SequenceCrossEntropyLoss", "none"),
    ],
)
def test_the_tables_of_choice(task, given, form, activation):
    found = losses.suggest(task, **given)
    assert (type(found.loss).__name__, found.activation) == (form, activation)
    assert found.reason.endswith(".")


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_what_is_said_of_classes_is_heeded(task):
    for _, imbalance, labels, from_logits in CIRCUMSTANCES:
        found = losses.suggest(task, False, imbalance, labels, from_logits=from_logits)
        assert (found.activation == "none") == from_logits
        assert ("rare" in found.reason) == imbalance and "does not change" not in found.reason


def test_one_loss_by_logits_and_by_probabilities():
    """What the activation before and the activation inside are about: the same number."""
    outputs = normal(4, 3)
    for labels, target in CLASSES.items():
        inside = losses.suggest("multiclass", labels=labels)
        before = losses.suggest("multiclass", labels=labels, from_logits=False)
        np.testing.assert_allclose(
            inside(outputs, target).item(), before(outputs, target).item(), rtol=1e-6
        )
    inside, before = losses.suggest("binary"), losses.suggest("binary", from_logits=False)
    np.testing.assert_allclose(
        inside(outputs, BITS).item(), before(outputs, BITS).item(), rtol=1e-6
    )


def test_reasons_say_what_the_articles_leave_out():
    assert "twice" in losses.suggest("multiclass").reason  # softmax before CrossEntropyLoss
    assert "1-Lipschitz" in losses.suggest("gan").reason
    assert "V-Net" in losses.suggest("segmentation").reason
    assert "perplexity" in losses.suggest("language modelling").reason
    assert losses.suggest("translation", outliers=True).reason.endswith(
        "Outliers do not change this choice."
    )
    assert "not change" not in losses.suggest("regression", outliers=True).reason


def test_missed_pixels_cost_more_than_false_ones():
    loss = losses.suggest("segmentation", imbalance=True).loss
    mask = tg.tensor([1.0, 1.0, 0.0, 0.0])
    missed, false = tg.tensor([1.0, 0.0, 0.0, 0.0]), tg.tensor([1.0, 1.0, 1.0, 0.0])
    assert loss(missed, mask).item() > 1.5 * loss(false, mask).item()


def test_losses_that_reasons_name_exist():
    named = set()
    for choices in suggesting._CHOICES.values():
        for choice in choices:
            named |= set(re.findall(r"\b[A-Z]\w*(?:Loss|Penalty)\b", choice.reason))
            named |= {choice.loss}
    assert len(named) > 30
    assert all(inspect.isclass(getattr(losses, name)) for name in named)


def test_aliases_lead_to_tasks():
    for alias, task in suggesting._ALIASES.items():
        assert task in SAMPLES
        assert repr(losses.suggest(alias.upper())) == repr(losses.suggest(task))
        assert plain(alias) not in map(plain, SAMPLES)


def test_suggest_refuses():
    with pytest.raises(ValueError, match="no task is called 'regresion'; near it are 'regression'"):
        losses.suggest("regresion")
    with pytest.raises(ValueError, match=r"no task is called 'zzz'; known are regression, .*gener"):
        losses.suggest("zzz")
    with pytest.raises(ValueError, match=r'must be "index", "onehot" or "soft", not \'one-hot\''):
        losses.suggest("multiclass", labels="one-hot")
    with pytest.raises(TypeError, match="named by a string, not NoneType"):
        losses.suggest(None)
