"""Trainings by Keras, to compare the Trainer's with: histories, decisions, weights at the end.

    KERAS_BACKEND=torch python tests/oracle/make_trainer.py

writes tests/data/trainer.json.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

rng = np.random.default_rng(0)
X = rng.normal(size=(44, 3)).astype("float32")
SCORES = X @ rng.normal(size=(3, 3)) + 0.6 * rng.normal(size=(44, 3))
LABELS = SCORES.argmax(1)
WEIGHTS = rng.uniform(0.2, 2.0, size=44).astype("float32")
DATA = {
    "x": X,
    "one_hot": np.eye(3, dtype="float32")[LABELS],
    "labels": LABELS,
    "binary": (SCORES[:, :1] > 0).astype("float32"),
    "real": SCORES[:, :2].astype("float32"),
    "weights": WEIGHTS,
}
#: y, outputs and their activation, loss, metrics, optimizer, settings of fit, regularisation
CASES = {
    "classes": {
        "y": "one_hot",
        "last": (3, "softmax"),
        "loss": "categorical_crossentropy",
        "metrics": ["accuracy"],
        "optimizer": ("Adam", {"learning_rate": 0.05, "epsilon": 1e-7}),
        "fit": {"epochs": 5, "batch_size": 8, "validation_split": 0.25},
    },
    "labels": {
        "y": "labels",
        "last": (3, "softmax"),
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
        "optimizer": ("SGD", {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True}),
        "fit": {"epochs": 4, "batch_size": 16, "validation_split": 0.1},
    },
    "class_weight": {
        "y": "binary",
        "last": (1, "sigmoid"),
        "loss": "binary_crossentropy",
        "metrics": ["accuracy"],
        "optimizer": ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
        "fit": {"epochs": 4, "batch_size": 10, "class_weight": {0: 0.5, 1: 3.0}},
    },
    "sample_weight": {
        "y": "real",
        "last": (2, None),
        "loss": "mean_squared_error",
        "metrics": ["mean_absolute_error"],
        "optimizer": ("SGD", {"learning_rate": 0.05, "clipnorm": 0.5}),
        "l1": 0.002,
        "l2": 0.01,
        "fit": {"epochs": 4, "batch_size": 9, "validation_split": 0.3, "sample_weight": "weights"},
    },
    "early_stopping": {
        "y": "real",
        "last": (2, None),
        "loss": "mean_squared_error",
        "metrics": [],
        "optimizer": ("SGD", {"learning_rate": 0.35}),
        "fit": {"epochs": 40, "batch_size": 8, "validation_split": 0.4},
        "stop": {
            "patience": 4,
            "min_delta": 0.005,
            "restore_best_weights": True,
            "start_from_epoch": 1,
        },
        "plateau": {
            "patience": 2,
            "factor": 0.4,
            "cooldown": 2,
            "min_lr": 0.03,
            "min_delta": 0.003,
        },
    },
    "baseline": {
        "y": "one_hot",
        "last": (3, "softmax"),
        "loss": "categorical_crossentropy",
        "metrics": ["accuracy"],
        "optimizer": ("SGD", {"learning_rate": 0.3}),
        "fit": {"epochs": 12, "batch_size": 8, "validation_split": 0.25},
        "stop": {
            "monitor": "val_accuracy",
            "patience": 3,
            "baseline": 0.95,
            "restore_best_weights": True,
        },
        "plateau": {"monitor": "loss", "patience": 1, "factor": 0.5, "min_delta": 0.05},
    },
}


def made(case):
    keras.utils.set_random_seed(1)
    penalty = None
    if "l2" in case:
        penalty = keras.regularizers.L1L2(l1=case["l1"], l2=case["l2"])
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(6, activation="tanh", kernel_regularizer=penalty),
            keras.layers.Dense(
                case["last"][0], activation=case["last"][1], kernel_regularizer=penalty
            ),
        ]
    )
    name, settings = case["optimizer"]
    optimizer = getattr(keras.optimizers, name)(**settings)
    model.compile(optimizer, case["loss"], metrics=case["metrics"])
    return model


def listed(model):
    return [w.tolist() for w in model.get_weights()]


def main():
    found = {"data": {k: v.tolist() for k, v in DATA.items()}, "cases": {}}
    for name, case in CASES.items():
        model = made(case)
        begin = listed(model)
        fit = dict(case["fit"])
        if "sample_weight" in fit:
            fit["sample_weight"] = DATA[fit["sample_weight"]]
        callbacks = []
        if "stop" in case:
            callbacks.append(keras.callbacks.EarlyStopping(**case["stop"]))
            callbacks.append(keras.callbacks.ReduceLROnPlateau(**case["plateau"]))
        history = model.fit(
            X, DATA[case["y"]], shuffle=False, verbose=0, callbacks=callbacks, **fit
        )
        found["cases"][name] = {
            **case,
            "begin": begin,
            "end": listed(model),
            "history": {k: [float(v) for v in vs] for k, vs in history.history.items()},
            "evaluated": model.evaluate(X, DATA[case["y"]], verbose=0, return_dict=True),
            "predicted": model.predict(X[:3], verbose=0).tolist(),
            "stopped_epoch": callbacks[0].stopped_epoch if callbacks else 0,
        }
        print(
            name,
            {k: len(v) for k, v in history.history.items()},
            history.history["loss"][-1],
            history.history.get("learning_rate"),
            found["cases"][name]["stopped_epoch"],
        )
    path = Path(__file__).parent.parent / "data" / "trainer.json"
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
