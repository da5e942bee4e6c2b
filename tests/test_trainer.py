"""The Trainer: Keras's numbers, data of all kinds, settings, refusals, losses not finite."""

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.nn.callbacks import EarlyStopping, ReduceLROnPlateau

STORED = json.loads((Path(__file__).parent / "data" / "trainer.json").read_text(encoding="utf-8"))
ACTIVATIONS = {"softmax": lambda: nn.Softmax(dim=-1), "sigmoid": nn.Sigmoid}


def data(name):
    return np.array(STORED["data"][name], dtype="int64" if name == "labels" else "float32")


def mlp(inputs=3, hidden=6, outputs=2, last=None):
    layers = [nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs)]
    return nn.Sequential(*layers, *([] if last is None else [ACTIVATIONS[last]()]))


def load(model, weights):
    """Put Keras's weights, whose matrices are transposed, into a model."""
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    model.load_state_dict({n: np.array(w, "float32").T for n, w in zip(names, weights)})
    return model


def regression(n=40, seed=0):
    g = tg.Generator().manual_seed(seed)
    x = tg.randn(n, 3, generator=g)
    return x, tg.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], dim=1)


def trainer(*args, seed=0, outputs=2, **settings):
    tg.manual_seed(seed)
    made = nn.Trainer(mlp(outputs=outputs))
    made.compile(*(args or ("sgd", "mse")), **settings)
    return made


def weights(made):
    return [p.detach().numpy().copy() for p in made.model.parameters()]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# -- Keras's numbers ---------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(STORED["cases"]))
def test_trains_as_keras(name):
    case = STORED["cases"][name]
    model = load(mlp(outputs=case["last"][0], last=case["last"][1]), case["begin"])
    kind, settings = case["optimizer"]
    made = nn.Trainer(model)
    penalties = {k: case[k] for k in ("l1", "l2") if k in case}
    made.compile(getattr(optim, kind)(**settings), case["loss"], case["metrics"], **penalties)
    fit = dict(case["fit"])
    if "sample_weight" in fit:
        fit["sample_weight"] = data("weights")
    if "class_weight" in fit:
        fit["class_weight"] = {int(k): w for k, w in fit["class_weight"].items()}
    callbacks = []
    if "stop" in case:
        callbacks = [EarlyStopping(**case["stop"]), ReduceLROnPlateau(**case["plateau"])]
    history = made.fit(
        data("x"), data(case["y"]), shuffle=False, verbose=0, callbacks=callbacks, **fit
    )
    assert set(history.history) == set(case["history"])
    for key, values in case["history"].items():
        np.testing.assert_allclose(history.history[key], values, rtol=1e-5, atol=1e-6, err_msg=key)
    assert history.epoch == list(range(len(history.history["loss"])))
    assert history.model is model and history.trainer is made and made.history is history
    if callbacks:
        assert callbacks[0].stopped_epoch == case["stopped_epoch"]
    for p, stored in zip(model.parameters(), case["end"]):
        np.testing.assert_allclose(p.detach().numpy().T, stored, rtol=2e-5, atol=5e-5)
    found = made.evaluate(data("x"), data(case["y"]), verbose=0, return_dict=True)
    assert found.keys() == case["evaluated"].keys()
    for key, value in case["evaluated"].items():
        assert found[key] == pytest.approx(value, rel=1e-5, abs=1e-6), key
    predicted = made.predict(data("x")[:3], verbose=0)
    np.testing.assert_allclose(predicted.numpy(), case["predicted"], rtol=2e-5, atol=5e-5)
