"""Lists and dicts of modules and parameters, beyond what test_nn_module compares with PyTorch."""

from __future__ import annotations

import copy
import pickle

import pytest

import tapegrad as tg
from tapegrad import nn


def names(module):
    return [name for name, _ in module.named_parameters()]


def test_a_plain_dict_names_the_layers_of_a_sequential():
    model = nn.Sequential({"first": nn.Linear(1, 2), "act": nn.Tanh()})
    assert names(model) == ["first.weight", "first.bias"]
    assert model(tg.ones(3, 1)).shape == (3, 2)


def test_what_is_no_module_is_refused_and_nothing_is_added():
    for holder in (nn.Sequential(nn.Tanh()), nn.ModuleList([nn.Tanh()])):
        with pytest.raises(TypeError, match="int is not a Module subclass, at '2'"):
            holder.extend([nn.ReLU(), 3])
        with pytest.raises(TypeError, match="function is not a Module subclass"):
            holder.insert(0, lambda x: x)
        with pytest.raises(TypeError, match="str is not a Module subclass"):
            holder.append("relu")
        with pytest.raises(TypeError, match="cannot assign 'int' as child module '0'"):
            holder[0] = 3
        assert len(holder) == 1


@pytest.mark.parametrize("index", [1, -2, 7])
def test_places_beyond_the_end_say_how_many_there_are(index):
    for holder in (nn.Sequential(nn.Tanh()), nn.ModuleList([nn.Tanh()])):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 1 modules"):
            holder[index]
        with pytest.raises(IndexError):
            del holder[index]
        with pytest.raises(IndexError):
            holder.pop(index)
    with pytest.raises(IndexError, match="1 parameters"):
        nn.ParameterList([tg.zeros(1)])[index]


def test_an_index_may_be_anything_that_is_an_index():
    model = nn.Sequential(nn.Tanh(), nn.ReLU())
    assert model[tg.tensor(1)] is model[1]
    with pytest.raises(TypeError):
        model["0"]
    with pytest.raises(TypeError):
        model[0.5]


def test_insertion_numbers_anew_wherever_it_is():
    for holder in (nn.Sequential(), nn.ModuleList()):
        for place, layer in (
            (0, nn.Tanh()),
            (0, nn.ReLU()),
            (-1, nn.Sigmoid()),
            (3, nn.Identity()),
        ):
            holder.insert(place, layer)
        assert [type(m).__name__ for m in holder] == ["ReLU", "Sigmoid", "Tanh", "Identity"]
        assert list(holder._modules) == ["0", "1", "2", "3"]


def test_a_list_extended_by_itself_ends():
    layers = nn.ModuleList([nn.Tanh()])
    layers += layers
    model = nn.Sequential(nn.Tanh())
    model += model
    weights = nn.ParameterList([tg.zeros(1)])
    weights += weights
    assert (len(layers), len(model), len(weights)) == (2, 2, 2)


def test_a_repeated_sequential_shares_its_parameters():
    model = nn.Sequential(nn.Linear(2, 2)) * 3
    assert len(model) == 3 and len(list(model.parameters())) == 2
    assert len(model.state_dict()) == 6


def test_a_slice_holds_the_same_layers():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    assert model[::2][1] is model[2]
    with pytest.raises(TypeError):
        model[0:1] = nn.Tanh()


def test_a_subclass_of_sequential_keeps_its_kind_when_sliced():
    class Tower(nn.Sequential):
        pass

    assert type(Tower(nn.Tanh(), nn.ReLU())[:1]) is Tower


def test_wrong_keys_say_what_exists():
    heads = nn.ModuleDict({"mean": nn.Tanh(), "scale": nn.Tanh()})
    with pytest.raises(KeyError, match="'means'; did you mean 'mean'"):
        heads["means"]
    with pytest.raises(KeyError, match="'zz'; it has 'mean', 'scale'"):
        del heads["zz"]
    with pytest.raises(KeyError, match="it has 'mean', 'scale'"):
        heads.pop(3)
    weights = nn.ParameterDict({"left": tg.zeros(1)})
    with pytest.raises(KeyError, match="'lefft'; did you mean 'left'"):
        weights["lefft"]
    with pytest.raises(KeyError, match="it has 'left'"):
        weights.pop("right")
    with pytest.raises(KeyError, match="is empty"):
        nn.ParameterDict().popitem()


def test_attributes_of_a_parameter_dict_are_no_keys():
    weights = nn.ParameterDict({"left": tg.zeros(1)})
    assert "training" not in weights
    with pytest.raises(KeyError):
        weights["training"]
    weights.extra = nn.Parameter(tg.zeros(1))
    assert list(weights) == ["left"] and names(weights) == ["left", "extra"]


def test_parameters_and_other_things_take_each_others_places():
    weights = nn.ParameterList([tg.zeros(1), "text"])
    weights[0], weights[1] = "now text", tg.ones(2)
    assert weights[0] == "now text" and names(weights) == ["1"]
    assert weights.pop(0) == "now text"
    assert len(weights) == 1 and names(weights) == ["0"] and weights[0].tolist() == [1.0, 1.0]
    assert weights.pop().shape == (2,) and len(weights) == 0
    mapping = nn.ParameterDict({"a": tg.zeros(1)})
    mapping["a"] = 5
    assert mapping["a"] == 5 and names(mapping) == []
    mapping["a"] = tg.zeros(2)
    assert names(mapping) == ["a"]


def test_integers_in_a_parameter_list_are_not_trained():
    weights = nn.ParameterList([tg.arange(3), tg.zeros(1)])
    assert [p.requires_grad for p in weights.parameters()] == [False, True]


def test_a_parameter_in_a_list_stays_the_same_object():
    p = nn.Parameter(tg.zeros(1))
    weights = nn.ParameterList([p])
    assert weights[0] is p and weights[-1] is p and next(iter(weights)) is p
    assert nn.ParameterDict({"p": p})["p"] is p


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(1, 2), nn.Tanh()),
        lambda: nn.ModuleList([nn.Linear(1, 2)]),
        lambda: nn.ModuleDict({"a": nn.Linear(1, 2)}),
        lambda: nn.ParameterList([tg.ones(2), "text"]),
        lambda: nn.ParameterDict({"a": tg.ones(2), "n": 3}),
    ],
)
def test_copies_are_whole_and_apart(make):
    holder = make()
    for copied in (copy.deepcopy(holder), pickle.loads(pickle.dumps(holder))):
        assert repr(copied) == repr(holder) and len(copied) == len(holder)
        for a, b in zip(holder.parameters(), copied.parameters(), strict=True):
            assert a is not b and a.tolist() == b.tolist() and type(b) is nn.Parameter


def test_names_of_places_are_not_completed():
    for holder in (nn.Sequential(nn.Tanh()), nn.ModuleList([nn.Tanh()]), nn.ParameterList([1])):
        assert "0" not in dir(holder) and "append" in dir(holder)


def test_layers_of_a_list_train():
    tg.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
    optimizer = tg.optim.SGD(layers.parameters(), lr=0.1)
    x, losses = tg.randn(8, 2), []
    for _ in range(5):
        y = x
        for layer in layers:
            y = tg.tanh(layer(y))
        loss = ((y - 0.5) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and len(optimizer.state) == 4
