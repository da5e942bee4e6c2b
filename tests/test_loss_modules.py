"""The losses under nn: the classes of losses/ that are modules too."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses, nn

ROWS = [r for r in losses.LOSSES if r.form and "keras" not in r.form.__module__]
FORMS = {row.form.__name__: row for row in ROWS if not row.call}


@pytest.mark.parametrize("name", FORMS)
def test_each_is_the_loss_and_a_module(name):
    row = FORMS[name]
    kind = getattr(nn, name)
    assert issubclass(kind, row.form)
    assert issubclass(kind, nn.Module)
    assert kind.__doc__ == row.form.__doc__
    assert inspect.signature(kind) == inspect.signature(row.form)
    assert not set(inspect.signature(kind).parameters) & set(dir(nn.Module))
    for setting in ({}, *row.settings):
        drawn = row.linked(row.draw(3, 4))
        plain = [v for v in setting.values() if isinstance(v, (bool, int, float, str))]
        if len(plain) < len(setting):
            continue
        found = kind(**setting)
        assert repr(found) == repr(row.form(**setting))
        for made in (found, copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
            np.testing.assert_array_equal(
                made(*drawn).detach(), row.form(**setting)(*drawn).detach()
            )
            assert {n: getattr(made, n) for n in setting} == setting


def test_a_criterion_does_what_a_layer_does():
    criterion = nn.CrossEntropyLoss(weight=tg.tensor([1.0, 2.0]), label_smoothing=0.1)
    assert criterion.to("cpu").eval() is criterion
    assert criterion.training is False
    assert list(criterion.state_dict()) == ["weight"]  # as torch's
    assert criterion.double().weight.dtype == "float64"
    assert isinstance(losses.get(criterion), nn.Module)
    assert isinstance(losses.get(nn.HuberLoss, delta=2.0), losses.HuberLoss)
    seen = []
    criterion.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    criterion(tg.zeros(3, 2, dtype="float64"), tg.tensor([0, 1, 1]))
    assert seen == [()]


def test_a_model_holds_its_criterion():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.criterion = nn.CrossEntropyLoss(tg.ones(2), label_smoothing=0.1)

    model = Model()
    assert list(model.state_dict()) == ["layer.weight", "layer.bias", "criterion.weight"]
    assert "(criterion): CrossEntropyLoss(weight=tensor([1., 1.]), label_smoothing=0.1)" in repr(
        model
    )
    chain = nn.Sequential(nn.Linear(2, 1), nn.WassersteinGeneratorLoss())
    assert chain(tg.ones(4, 2)).shape == ()


def test_a_parameter_as_a_setting_is_learned():
    loss = nn.GeneralRobustLoss(alpha=nn.Parameter(tg.tensor(1.0)))
    assert [name for name, _ in loss.named_parameters()] == ["alpha"]
    loss(tg.tensor([1.0, 3.0]), tg.zeros(2)).backward()
    assert loss.alpha.grad is not None
    loss.reduction = "sum"  # settings can be changed
    expected = losses.general_robust_loss(tg.ones(2), tg.zeros(2), alpha=1.0, reduction="sum")
    assert loss(tg.ones(2), tg.zeros(2)).item() == pytest.approx(expected.item())


def test_wrong_settings_are_refused_as_without_a_module():
    with pytest.raises(TypeError, match=r"HuberLoss.*delt"):
        nn.HuberLoss(delt=1.0)
    with pytest.raises(ValueError, match="reduction"):
        nn.MSELoss(reduction="men")
    with pytest.raises(TypeError, match="size_average is deprecated"):
        nn.MSELoss(size_average=True)
