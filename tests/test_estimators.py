"""Estimators: what scikit-learn asks of them, and what networks add."""

import copy
import pickle
import subprocess
import sys
import threading
import warnings
from functools import partial

import numpy as np
import pytest

import tapegrad as tg

sklearn = pytest.importorskip("sklearn", "1.6")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits, make_blobs, make_classification  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

Classifier, Regressor = tg.nn.TapegradClassifier, tg.nn.TapegradRegressor
QUICK = {"max_iter": 30, "tol": None, "learning_rate": 0.01}


SHORT = {"max_iter": 30, "learning_rate": 0.01}


@parametrize_with_checks([Classifier(**SHORT), Regressor(**SHORT)])
def test_scikit_learns_own_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def blobs(dtype="float64", centers=3, n=60):
    X, y = make_blobs(n, 2, centers=centers, cluster_std=0.5, random_state=0)
    return X.astype(dtype), y


def line(columns=None, n=60):
    X = np.random.default_rng(0).normal(size=(n, 3))
    W = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 1.0]])
    return X, X @ W[:, 0] if columns is None else X @ W


def test_digits_with_the_defaults():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X.astype("float32"), y, random_state=0)
    fitted = Classifier(random_state=0, max_iter=30, tol=None).fit(X, y)
    assert fitted.score(X_test, y_test) > 0.95
    assert len(fitted.loss_curve_) == fitted.n_iter_ == 30
    assert fitted.loss_ == fitted.loss_curve_[-1]


def test_a_pipeline_is_searched():
    X, y = blobs()
    network = Classifier((8,), max_iter=20, tol=None, random_state=0)
    grid = {
        "tapegradclassifier__learning_rate": [1e-5, 0.05],
        "tapegradclassifier__optimizer": ["adam", tg.optim.RMSprop],
    }
    search = GridSearchCV(make_pipeline(StandardScaler(), network), grid, cv=2)
    search.fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_params_["tapegradclassifier__learning_rate"] == 0.05
    assert search.best_estimator_[-1].model_[0].weight.shape == (8, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_keep_their_dtype(dtype):
    X, y = blobs(dtype)
    for estimator in (Classifier(**QUICK), Regressor(**QUICK)):
        fitted = estimator.fit(X, y.astype(dtype))
        assert {p.dtype for p in fitted.model_.parameters()} == {getattr(tg, dtype)}
        out = fitted.predict_proba(X) if estimator is not fitted else fitted.predict(X)
        assert out.dtype == dtype
        assert fitted.predict(X.astype("float64")).dtype == dtype


def test_other_numbers_become_float64():
    X, y = np.arange(12).reshape(6, 2), [0, 0, 0, 1, 1, 1]
    fitted = Classifier(**QUICK).fit(X, y)
    assert fitted.predict_proba(X).dtype == "float64"


def test_labels_of_any_kind_come_back():
    X, y = blobs()
    names = np.array(["ash", "birch", "cedar"])[y]
    fitted = Classifier(random_state=0, **QUICK).fit(X, names)
    assert fitted.classes_.tolist() == ["ash", "birch", "cedar"]
    assert set(fitted.predict(X)) <= set(names)
    assert fitted.score(X, names) > 0.9


def test_probabilities_are_those_of_the_model():
    X, y = blobs()
    fitted = Classifier(random_state=0, **QUICK).fit(X, y)
    logits = fitted.model_(tg.tensor(X)).detach().numpy()
    np.testing.assert_allclose(fitted.decision_function(X), logits, rtol=1e-12)
    e = np.exp(logits)
    np.testing.assert_allclose(fitted.predict_proba(X), e / e.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(
        fitted.predict_log_proba(X), np.log(fitted.predict_proba(X)), atol=1e-12
    )
    far = fitted.predict_log_proba(X * 1e4)
    assert np.isfinite(far).all() and (fitted.predict_proba(X * 1e4) == 0).any()


def test_two_classes_have_one_score():
    X, y = blobs(centers=2)
    fitted = Classifier(random_state=0, **QUICK).fit(X, y)
    odds = fitted.predict_proba(X)
    np.testing.assert_allclose(
        fitted.decision_function(X), np.log(odds[:, 1]) - np.log(odds[:, 0]), rtol=1e-6
    )


@pytest.mark.filterwarnings("ignore:val_loss was still falling")
def test_a_random_state_decides_alone_and_disturbs_nothing():
    X, y = blobs()

    def own(n_features, n_outputs):
        return tg.nn.Sequential(
            tg.nn.Linear(n_features, 9), tg.nn.Dropout(0.3), tg.nn.Linear(9, n_outputs)
        )

    def fitted(**settings):
        made = Classifier(model=own, batch_size=16, early_stopping=True, max_iter=5)
        return made.set_params(**settings).fit(X, y).predict_proba(X)

    tg.manual_seed(1)
    before, arrays = tg.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = fitted(random_state=3)
    assert (tg.get_rng_state() == before).all()
    assert np.random.get_state()[1].tolist() == arrays  # noqa: NPY002
    tg.manual_seed(2)
    assert (fitted(random_state=3) == first).all()
    assert (
        fitted(random_state=np.random.RandomState(5))
        == fitted(random_state=np.random.RandomState(5))
    ).all()
    assert (fitted(random_state=4) != first).any()


def test_without_random_state_the_default_generator_decides():
    X, y = blobs()
    made = Classifier((4,), **QUICK)
    found = []
    for _ in range(2):
        tg.manual_seed(5)
        found += [made.fit(X, y).predict_proba(X), made.fit(X, y).predict_proba(X)]
    assert (found[0] == found[2]).all() and (found[1] == found[3]).all()
    assert (found[0] != found[1]).any()


def test_threads_do_not_mix_their_draws():
    X, y = blobs()
    made = [Classifier((4,), random_state=i, **QUICK) for i in range(4)]
    alone = [clone(one).fit(X, y).predict_proba(X) for one in made]
    threads = [threading.Thread(target=one.fit, args=(X, y)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, expected in zip(made, alone):
        assert (one.predict_proba(X) == expected).all()


def test_training_goes_on_after_a_pickle():
    X, y = blobs()
    one = Classifier(random_state=0, learning_rate=0.01, batch_size=16)
    for _ in range(3):
        one.partial_fit(X, y)
    other = pickle.loads(pickle.dumps(one))
    third = copy.deepcopy(one)
    for made in (one, other, third):
        made.partial_fit(X, y)
    assert one.n_iter_ == other.n_iter_ == 4
    assert (one.predict_proba(X) == other.predict_proba(X)).all()
    assert (one.predict_proba(X) == third.predict_proba(X)).all()


def test_passes_one_by_one_are_a_fit():
    X, y = blobs()
    at_once = Classifier(random_state=0, batch_size=16, max_iter=5, tol=None).fit(X, y)
    by_one = Classifier(random_state=0, batch_size=16)
    for _ in range(5):
        by_one.partial_fit(X, y)
    assert by_one.loss_curve_ == at_once.loss_curve_
    assert (by_one.predict_proba(X) == at_once.predict_proba(X)).all()


def test_a_warm_start_goes_on():
    X, y = blobs()
    twice = Classifier(random_state=0, batch_size=16, max_iter=5, tol=None, warm_start=True)
    model = twice.fit(X, y).model_
    twice.fit(X, y)
    once = Classifier(random_state=0, batch_size=16, max_iter=10, tol=None).fit(X, y)
    assert twice.model_ is model and twice.loss_curve_ == once.loss_curve_
    with pytest.raises(ValueError, match="previously unseen labels"):
        twice.fit(X, y + 1)
    anew = twice.set_params(warm_start=False).fit(X, y)
    assert anew.model_ is not model and anew.n_iter_ == 5


def test_classes_of_later_parts_are_told_at_the_first():
    X, y = blobs()
    made = Classifier(random_state=0)
    made.partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    assert made.predict_proba(X).shape == (60, 3)
    made.partial_fit(X, y)
    with pytest.raises(ValueError, match="unseen"):
        Classifier().partial_fit(X[y < 2], y[y < 2]).partial_fit(X, y)


def test_several_labels_at_once():
    X, _ = line()
    Y = np.stack([X[:, 0] > 0, X[:, 1] > 0], 1).astype(int)
    fitted = Classifier(random_state=0, max_iter=100, tol=None, learning_rate=0.01).fit(X, Y)
    assert fitted.predict(X).shape == (60, 2) and fitted.score(X, Y) > 0.9
    odds = fitted.predict_proba(X)
    np.testing.assert_array_equal(fitted.predict(X), odds > 0.5)
    np.testing.assert_allclose(odds, 1 / (1 + np.exp(-fitted.decision_function(X))), rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_log_proba(X), np.log(odds), atol=1e-9)
    with pytest.raises(ValueError, match="several columns"):
        Classifier().fit(X, np.arange(120).reshape(60, 2) % 5)


@pytest.mark.parametrize("columns", [None, 2])
def test_targets_of_one_or_more_columns(columns):
    X, y = line(columns)
    fitted = Regressor(
        (), random_state=0, learning_rate=0.1, alpha=0.0, max_iter=300, tol=None
    ).fit(X, y)
    assert fitted.predict(X).shape == y.shape
    assert fitted.score(X, y) > 0.999
    assert fitted.predict(X[:1]).shape == y[:1].shape


def test_the_penalty_is_that_of_ridge_regression():
    from sklearn.linear_model import Ridge

    X, y = line()
    settings = {"optimizer": tg.optim.SGD(lr=0.1), "max_iter": 500, "tol": None}
    fitted = Regressor((), alpha=10.0, **settings).fit(X, y)
    # (1/n)·Σ(error)² + 10/(2n)·Σw² is ridge regression with a penalty of 5
    expected = Ridge(5.0).fit(X, y)
    np.testing.assert_allclose(
        fitted.model_[0].weight[0].detach().numpy(), expected.coef_, rtol=1e-6
    )
    np.testing.assert_allclose(fitted.predict(X), expected.predict(X), atol=1e-6)
    weight = np.arange(60.0)
    fitted.fit(X, y, sample_weight=weight)
    expected.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(fitted.predict(X), expected.predict(X), atol=1e-6)


def test_weights_of_samples_are_relative():
    X, y = blobs()
    one = Classifier(random_state=0, alpha=0.0, **QUICK).fit(X, y)
    other = clone(one).fit(X, y, sample_weight=np.full(60, 1024.0))
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-9)
    with pytest.raises(ValueError, match="zero"):
        one.fit(X, y, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        one.fit(X, y, sample_weight=np.full(60, -1.0))


def test_weights_of_classes():
    X, y = make_classification(300, weights=[0.95], flip_y=0.05, random_state=0)
    plain = Classifier((), random_state=0, **QUICK).fit(X, y)
    balanced = clone(plain).set_params(class_weight="balanced").fit(X, y)
    assert balanced.predict(X).sum() > 2 * plain.predict(X).sum()
    share = y.mean()
    table = {0: 1 / (2 * (1 - share)), 1: 1 / (2 * share)}
    told = clone(plain).set_params(class_weight=table).fit(X, y)
    np.testing.assert_allclose(told.predict_proba(X), balanced.predict_proba(X), rtol=1e-9)
    by_sample = clone(plain).fit(X, y, sample_weight=np.where(y == 1, table[1], table[0]))
    np.testing.assert_allclose(by_sample.predict_proba(X), told.predict_proba(X), rtol=1e-9)
    with pytest.raises(ValueError, match="partial_fit"):
        balanced.partial_fit(X, y)


def test_early_stopping_keeps_the_best():
    X, y = make_classification(120, n_informative=4, flip_y=0.3, random_state=0)
    made = Classifier(
        (64,), early_stopping=True, learning_rate=0.02, validation_fraction=0.25, random_state=0
    )
    fitted = made.fit(X, y)
    watched = fitted.validation_loss_curve_
    assert fitted.n_iter_ == len(watched) < 200
    assert len(watched) - 1 - int(np.argmin(watched)) <= 10 + 1
    weighted = clone(made).fit(X, y, sample_weight=np.linspace(0.5, 1.5, 120))
    assert weighted.n_iter_ < 200
    assert Classifier(max_iter=2, tol=None).fit(X, y).validation_loss_curve_ == []


def test_says_when_it_is_not_done():
    X, y = blobs()
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        Classifier(max_iter=3).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Classifier(max_iter=3, tol=None).fit(X, y)
        assert Classifier(learning_rate=0.0, n_iter_no_change=4).fit(X, y).n_iter_ == 5


def test_a_fit_that_fails_leaves_the_last_one():
    X, y = blobs()
    fitted = Classifier((4,), random_state=0, **QUICK).fit(X, y)
    before = fitted.predict(X)
    fitted.set_params(loss="hinge_of_no_kind")
    with pytest.raises(ValueError, match="hinge_of_no_kind"):
        fitted.fit(X[:, :1], np.array(["a", "b"])[y % 2])
    assert (fitted.predict(X) == before).all() and fitted.n_features_in_ == 2
    fitted.set_params(loss="log_loss")
    with pytest.raises(ValueError, match="unseen"):
        fitted.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="features"):
        fitted.partial_fit(X[:, :1], y)
    assert (fitted.predict(X) == before).all() and fitted.n_iter_ == 30
    with pytest.raises(ValueError, match="hinge_of_no_kind"):
        Classifier(loss="hinge_of_no_kind").fit(X, y).model_


def mlp(n_features, n_outputs, width=7):
    return tg.nn.Sequential(
        tg.nn.Linear(n_features, width), tg.nn.BatchNorm1d(width), tg.nn.Linear(width, n_outputs)
    )


def test_a_model_of_ones_own():
    X, y = blobs()
    made = Classifier(model=partial(mlp, width=5), random_state=0, **QUICK)
    fitted = clone(made).fit(X, y)
    assert fitted.model_[0].weight.shape == (5, 2) and not fitted.model_.training
    assert fitted.score(X, y) > 0.9
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()
    with pytest.raises(TypeError, match="a function of"):
        made.set_params(model=mlp(2, 3)).fit(X, y)
    with pytest.raises(TypeError, match="it made a int"):
        made.set_params(model=lambda n_features, n_outputs: 3).fit(X, y)
    with pytest.raises(ValueError, match=r"made \(1, 4\)"):
        made.set_params(model=lambda n_features, n_outputs: mlp(n_features, 4)).fit(X, y)


@pytest.mark.parametrize("activation", ["logistic", "identity", "GELU", tg.nn.Mish, tg.nn.ELU(0.5)])
def test_activations(activation):
    X, y = blobs()
    fitted = Classifier((4, 3), activation, max_iter=2, tol=None).fit(X, y)
    kinds = [type(layer).__name__ for layer in fitted.model_]
    assert kinds[1] == kinds[3] and fitted.model_[1] is not fitted.model_[3]
    assert kinds[::2] == ["Linear"] * 3


@pytest.mark.parametrize("given", ["sgd", "AdamW", tg.optim.Adam, tg.optim.SGD(lr=0.1)])
def test_optimizers(given):
    X, y = blobs()
    made = Classifier(5, optimizer=given, **QUICK)
    if isinstance(given, tg.optim.Optimizer):
        with pytest.raises(ValueError, match="has its own"):
            made.fit(X, y)
        made.set_params(learning_rate=None)
    made.fit(X, y).fit(X, y)
    assert not isinstance(given, tg.optim.Optimizer) or not given.param_groups


def test_a_rate_may_fall():
    X, y = blobs()
    rate = tg.optim.schedules.cosine_decay(0.05, 30)
    fitted = Classifier(max_iter=30, tol=None, learning_rate=rate, random_state=0).fit(X, y)
    assert fitted.score(X, y) > 0.9


@pytest.mark.parametrize("loss", ["huber", "absolute_error", tg.losses.LogCoshLoss()])
def test_losses(loss):
    X, y = line()
    assert Regressor(loss=loss, random_state=0, **QUICK).fit(X, y).score(X, y) > 0.5


@pytest.mark.parametrize(
    "setting",
    [
        {"max_iter": 0},
        {"max_iter": 2.5},
        {"n_iter_no_change": 0},
        {"batch_size": "all"},
        {"batch_size": 0},
        {"alpha": -1.0},
        {"validation_fraction": 1.0},
        {"hidden_layer_sizes": (3, 0)},
        {"activation": "rulu"},
        {"optimizer": "adamm"},
        {"loss": "hubr"},
    ],
)
def test_settings_that_make_no_sense(setting):
    X, y = blobs()
    with pytest.raises(ValueError, match=str(next(iter(setting.values()))).strip("(),")):
        Classifier(**setting).fit(X, y)


def test_before_fit():
    with pytest.raises(NotFittedError):
        Classifier().predict([[1.0]])


def test_weights_are_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        made = Classifier().set_fit_request(sample_weight=True)
        assert made.get_metadata_routing().fit.requests == {"sample_weight": True}


def test_numbers_of_numpy_are_taken():
    X, y = blobs()
    made = Classifier(
        np.int64(4), max_iter=np.int64(2), tol=None, batch_size=np.int32(9), alpha=np.float64(0.1)
    )
    assert made.fit(X, y).n_iter_ == 2


def test_without_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\n"
        "import tapegrad as tg\n"
        "from tapegrad.nn import *\n"
        "for kind in (TapegradClassifier, tg.nn.TapegradRegressor):\n"
        "    try:\n"
        "        kind(max_iter=3)\n"
        "    except ImportError as error:\n"
        "        print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = out.stdout.splitlines()
    assert first.startswith("TapegradClassifier") and second.startswith("TapegradRegressor")
    assert "tapegrad[sklearn]" in first


def test_scikit_learn_is_loaded_late():
    code = "import sys, tapegrad.nn; print('sklearn' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False"]
