"""Optimizers by name, and which one is suggested for what."""

from __future__ import annotations

import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.lookup import near, plain, spelled, unknown
from tapegrad.optim import OPTIMIZERS, naming, suggesting

#: Keras 3's classes (keras.optimizers.ALL_OBJECTS) that are here; the others are below.
KERAS = {
    "Adadelta": "Adadelta",
    "Adafactor": "Adafactor",
    "Adagrad": "Adagrad",
    "Adam": "Adam",
    "AdamW": "AdamW",
    "Adamax": "Adamax",
    "Lamb": "LAMB",
    "Lion": "Lion",
    "Muon": "Muon",
    "Nadam": "NAdam",
    "RMSprop": "RMSprop",
    "SGD": "SGD",
}
#: Keras has these, and nobody asked for them here.
ABSENT = ("Ftrl", "LossScaleOptimizer")


def param():
    return tg.ones(2, requires_grad=True)


# -- names that are known ---------------------------------------------------------------------
@pytest.mark.parametrize("row", OPTIMIZERS, ids=lambda row: row.form.__name__)
def test_names_of_the_table(row):
    name = row.form.__name__
    for spelling in (
        *(name, name.lower(), name.upper(), f"optim.{name}", f"torch.optim.{name}"),
        *(row.name, *row.names),
    ):
        assert type(optim.get(spelling)) is row.form, spelling


@pytest.mark.parametrize("name", KERAS)
def test_names_of_keras(name):
    for spelling in (name, name.lower(), f"keras.optimizers.{name}"):
        assert type(optim.get(spelling)).__name__ == KERAS[name], spelling


@pytest.mark.parametrize("name", ABSENT)
def test_what_keras_has_beside(name):
    with pytest.raises(ValueError, match=f"no optimizer is called '{name}'"):
        optim.get(name)


def test_no_two_optimizers_claim_a_name():
    claims = {}
    for row in OPTIMIZERS:
        for name in (row.form.__name__, row.name, *row.names):
            assert claims.setdefault(plain(name), row.form) is row.form, name


@pytest.mark.parametrize("name", naming.PRESETS)
def test_presets_are_settings_of_a_class(name):
    form, settings = naming.PRESETS[name]
    if plain(name) not in {plain(row.form.__name__) for row in OPTIMIZERS}:
        found = optim.get(name)
        assert type(found).__name__ == form
        assert {key: found.defaults[key] for key in settings} == settings


def test_settings_go_over_presets():
    assert optim.get("momentum", momentum=0.5, lr=0.1).defaults["momentum"] == 0.5


def test_settings_by_the_words_of_both():
    w = param()
    for settings in ({"lr": 0.25}, {"learning_rate": 0.25}):
        optimizer = optim.get("adam", [w], **settings)
        assert optimizer.param_groups[0]["lr"] == 0.25
    with pytest.raises(TypeError, match="not both"):
        optim.get("adam", [w], lr=0.1, learning_rate=0.1)


def test_it_steps_like_its_class():
    one, other = param(), param()
    for w, optimizer in (
        (one, optim.get("adam", [one], lr=0.1)),
        (other, optim.Adam([other], 0.1)),
    ):
        (w * w).sum().backward()
        optimizer.step()
    assert (one == other).all()


def test_without_parameters_they_are_bound_later():
    optimizer = optim.get("adam", clipnorm=1.0)
    assert optimizer.param_groups == [] and optimizer.clip["clipnorm"] == 1.0
    optimizer.add_param_group({"params": [param()]})
    optimizer.step()


def test_classes_and_instances():
    w = param()
    assert type(optim.get(optim.Adam, [w], lr=0.1)) is optim.Adam
    made = optim.SGD([w])
    assert optim.get(made) is made
    for arguments, settings in (((made, [w]), {}), ((made,), {"lr": 0.1})):
        with pytest.raises(TypeError, match="the SGD is made already"):
            optim.get(*arguments, **settings)

    class Own(optim.Optimizer):
        rule = staticmethod(optim.functional.sgd)

    assert type(optim.get(Own, [w])) is Own


# -- what is refused --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("adm", "'Adam'"),
        ("RMSpropp", "'RMSprop'"),
        ("nestrov", "'Nesterov' (SGD)"),
        ("sdg", "'SGD'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"no optimizer is called '{name}'; near it are") as caught:
        optim.get(name)
    assert nearest in str(caught.value)
    assert str(caught.value).endswith("optim.OPTIMIZERS has all")


@pytest.mark.parametrize("name", ["", "???", "a name that is near nothing at all"])
def test_names_near_nothing(name):
    with pytest.raises(ValueError, match=r"no optimizer is called .*; optim.OPTIMIZERS has all"):
        optim.get(name)


@pytest.mark.parametrize("thing", [None, 3, tg.nn.Linear, tg.tensor(1.0), dict])
def test_things_that_are_no_optimizers(thing):
    with pytest.raises(TypeError, match="an optimizer is given by its name"):
        optim.get(thing)


def test_settings_that_it_does_not_have():
    with pytest.raises(TypeError, match="rho"):
        optim.get("adam", rho=0.5)


# -- the matching itself ----------------------------------------------------------------------
def test_stricter_spellings_come_first():
    names = spelled([("a_b", 1), ("ab", 2)], str.lower, plain)
    assert names == {"a_b": ("a_b", 1), "ab": ("ab", 2)}
    assert spelled([("a_b", 1), ("ab", 2)], plain) == {"ab": ("a_b", 1)}


def test_each_thing_is_near_once():
    names = spelled([("mean", 1), ("means", 1), ("meant", 2)], plain)
    assert near("mean", names, str) == ["'mean' (1)", "'meant' (2)"]
    assert near("mean", names, str, most=1) == ["'mean' (1)"]
    assert near("xyz", names, str) == []
    assert (
        str(unknown("thing", "xyz", [], "that is all")) == "no thing is called 'xyz'; that is all"
    )


# -- which optimizer --------------------------------------------------------------------------
#: The article's table: situation, what is recommended, in its order.
ARTICLE = {
    "general": ("Adam",),
    "fast convergence": ("Adam", "AdamW"),
    "generalization": ("SGD", "AdamW"),
    "rnn": ("Adam", "RMSprop"),
    "transformer": ("AdamW",),
    "large data": ("SGD",),
    "beginning": ("Adam",),
}


@pytest.mark.parametrize("situation", ARTICLE)
def test_the_table_of_the_article(situation):
    suggestion = optim.suggest(situation)
    assert (suggestion.optimizer, *suggestion.alternatives) == ARTICLE[situation]
    if suggestion.optimizer == "SGD":  # with momentum, and the rate that the article names
        assert suggestion.settings == {"lr": 0.01, "momentum": 0.9}
    else:
        assert suggestion.settings["lr"] == 0.001


@pytest.mark.parametrize("situation", suggesting._CHOICES)
def test_every_suggestion_can_be_made(situation):
    suggestion = optim.suggest(situation)
    w = param()
    optimizer = suggestion([w])
    assert type(optimizer).__name__ == suggestion.optimizer
    group = optimizer.param_groups[0]
    assert {key: group[key] for key in suggestion.settings} == suggestion.settings
    (w * w).sum().backward()
    optimizer.step()
    for name in suggestion.alternatives:
        assert type(optim.get(name, [w])).__name__ == name
    assert suggestion.reason.endswith(".") and len(suggestion.reason) > 40


def test_more_settings_go_over_the_suggested():
    optimizer = optim.suggest("transformer")([param()], lr=5e-4, global_clipnorm=1.0)
    assert optimizer.param_groups[0]["lr"] == 5e-4
    assert optimizer.param_groups[0]["weight_decay"] == 0.01
    assert optimizer.clip["global_clipnorm"] == 1.0


def test_the_table_stays_as_it_is():
    optim.suggest("rnn").settings["lr"] = 7.0
    assert optim.suggest("rnn").settings["lr"] == 0.001


@pytest.mark.parametrize("word", suggesting._ALIASES)
def test_other_words_mean_a_situation(word):
    known = suggesting._ALIASES[word]
    assert optim.suggest(word.upper().replace(" ", "-")) == optim.suggest(known)


def test_unknown_situations():
    with pytest.raises(ValueError, match="called 'transfomer'; near it are 'transformer'"):
        optim.suggest("transfomer")
    with pytest.raises(ValueError, match="called 'qqq'; known are general, beginning"):
        optim.suggest("qqq")
    with pytest.raises(TypeError, match="named by a string, not int"):
        optim.suggest(3)
