"""What the estimators for scikit-learn have in common: from arrays by a Trainer to a model."""

from __future__ import annotations

import copy
import inspect
import itertools
import operator
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapegrad import Generator, Tensor, get_rng_state, optim, randint, set_rng_state, tensor

from .activation_table import row_of
from .callbacks import EarlyStopping
from .containers import Sequential
from .linear import Linear
from .module import Module
from .regularising import Penalties, is_weight
from .trainer import Trainer

#: Inputs keep these dtypes, and the model has that of its inputs; others become the first.
DTYPES = ("float64", "float32")
#: Losses by scikit-learn's names.
LOSSES = {"log_loss": "cross_entropy", "squared_error": "mse", "absolute_error": "l1"}
#: How many samples are predicted at a time.
PREDICTED_AT_ONCE = 1024

_drawing = threading.RLock()


def bases() -> Any:
    """scikit-learn's base of estimators, and its mixins for classifiers and for regressors.

    Without scikit-learn three classes which say that it is missing when an estimator is made.
    """
    try:
        from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
        from sklearn.utils.validation import validate_data  # noqa: F401  (scikit-learn 1.6)
    except ImportError:
        return Missing, type("Classifier", (), {}), type("Regressor", (), {})
    return BaseEstimator, ClassifierMixin, RegressorMixin


class Missing:
    """The base of estimators where there is no scikit-learn."""

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        raise ImportError(
            f"{cls.__name__} is an estimator of scikit-learn and needs version 1.6 of it or later: "
            "pip install 'tapegrad[sklearn]'"
        )


Base: Any
ClassifierMixin: Any
RegressorMixin: Any
Base, ClassifierMixin, RegressorMixin = bases()


class Estimator(Base):
    """Fits a Module to arrays; a subclass says what targets and outputs are."""

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        model: Any = None,
        optimizer: Any = "adam",
        learning_rate: Any = None,
        loss: Any = "squared_error",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float | None = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.model = model
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.loss = loss
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train; with ``warm_start`` from where an earlier ``fit`` ended. Returns the estimator.

        ``X``: (samples, features). ``y``: the targets. ``sample_weight``: (samples); only their
        ratios count.
        """
        fresh = not (self.warm_start and hasattr(self, "model_"))
        return self._train(X, y, sample_weight, fresh)

    def _train(
        self, X: Any, y: Any, sample_weight: Any, fresh: bool, part: bool = False, **known: Any
    ) -> Any:
        """Train until it is done, or with ``part`` for one pass over the data.

        If beginning anew fails, all is as before: an earlier model and its classes stay together.
        """
        before = dict(self.__dict__)
        try:
            return self._trained(X, y, sample_weight, fresh, part, **known)
        except BaseException:
            if fresh:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _trained(
        self, X: Any, y: Any, sample_weight: Any, fresh: bool, part: bool, **known: Any
    ) -> Any:
        from sklearn.utils.validation import validate_data

        self._refuse_settings()
        kinds = {"dtype": DTYPES, "multi_output": True, "y_numeric": self._y_numeric}
        X, y = validate_data(self, X, y, reset=fresh, **kinds)
        targets = self._targets(y, fresh, **known)
        weight = self._weights(X, y, sample_weight)
        if fresh:
            self._generator = Generator().manual_seed(seed_of(self.random_state))
            self._dtype = X.dtype.name
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] = []
        with drawing_from(self._generator):
            validation = None
            if self.early_stopping and not part:
                X, targets, weight, validation = self._split_off(X, targets, weight)
            if fresh:
                self._begin(X)
            self._epochs(X, targets, weight, validation, part)
        self.model_.eval()
        self.n_iter_ = len(self.loss_curve_)
        self.loss_ = self.loss_curve_[-1]
        return self

    def _epochs(self, X: Any, targets: Any, weight: Any, validation: Any, part: bool) -> None:
        size = self._batch_size(len(X))
        mean = 1.0 if weight is None else weight.sum() / len(X)
        self._penalise(self.alpha / (2.0 * size * mean))
        watched = "loss" if validation is None else "val_loss"
        stop = EarlyStopping(
            watched,
            min_delta=self.tol or 0.0,
            patience=operator.index(self.n_iter_no_change),
            restore_best_weights=validation is not None,
        )
        stops = not part and (self.tol is not None or validation is not None)
        found = self._trainer.fit(
            *(self._tensor(X), self._target_tensor(targets)),
            batch_size=size,
            epochs=1 if part else operator.index(self.max_iter),
            verbose=operator.index(self.verbose),
            callbacks=[stop] if stops else [],
            validation_data=validation,
            shuffle=self.shuffle,
            sample_weight=None if weight is None else self._tensor(weight / mean),
        ).history
        self.loss_curve_ += found["loss"]
        self.validation_loss_curve_ += found.get("val_loss", [])
        if stops and not self._trainer.stop_training:
            from sklearn.exceptions import ConvergenceWarning

            warnings.warn(
                f"{watched} was still falling after max_iter={self.max_iter} epochs: more may do "
                "better; tol=None, without early_stopping, says that so many are wanted",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _begin(self, X: Any) -> None:
        """A new model, and how it is trained."""
        sizes = self.n_features_in_, self.n_outputs_
        model = self._made(*sizes).to(self._dtype)
        trainer = Trainer(model)
        trainer.compile(self._optimizer(), self._loss())
        found = trainer.predict(self._tensor(X[:1]), verbose=0).shape
        if found != (1, self.n_outputs_):
            raise ValueError(
                f"{type(self).__name__}: model{sizes} must make outputs of shape "
                f"(samples, {self.n_outputs_}) of inputs of shape (samples, {self.n_features_in_}),"
                f" but of 1 sample it made {found}"
            )
        self.model_, self._trainer = model, trainer

    def _made(self, n_features: int, n_outputs: int) -> Module:
        if self.model is not None:
            made = None
            if callable(self.model) and not isinstance(self.model, Module):
                made = self.model(n_features, n_outputs)
            if not isinstance(made, Module):
                what = type(self.model if made is None else made).__name__
                raise TypeError(
                    f"{type(self).__name__}: model is a function of (n_features, n_outputs) that "
                    "makes an nn.Module, so that every fit begins anew; "
                    + (f"{what} is none" if made is None else f"it made a {what}")
                )
            return made
        given = self.hidden_layer_sizes
        hidden = list(given) if hasattr(given, "__iter__") else [given]
        widths = [n_features, *(whole(f"hidden_layer_sizes={given}: each", h) for h in hidden)]
        layers: list[Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [Linear(before, after), activation_for(self.activation)]
        return Sequential(*layers, Linear(widths[-1], n_outputs))

    def _optimizer(self) -> Any:
        rate = {} if self.learning_rate is None else {"lr": self.learning_rate}
        if not isinstance(self.optimizer, optim.Optimizer):
            return optim.get(self.optimizer, None, **rate)
        if rate:
            raise ValueError(
                f"{type(self).__name__}: learning_rate={self.learning_rate} is given, and the "
                f"optimizer, a {type(self.optimizer).__name__}, has its own: leave one out"
            )
        return copy.deepcopy(self.optimizer)

    def _loss(self) -> Any:
        known = isinstance(self.loss, str) and self.loss in LOSSES
        return LOSSES[self.loss] if known else self.loss

    def _penalise(self, l2: Any) -> None:
        """The L2 penalty of this fit: its data, and alpha, may be others than before."""
        weights = any(is_weight(name, p) for name, p in self.model_.named_parameters())
        self._trainer.penalties = Penalties(self.model_, 0.0, l2 if weights else 0.0, None)

    def _batch_size(self, samples: int) -> int:
        return min(200 if self.batch_size == "auto" else operator.index(self.batch_size), samples)

    def _split_off(self, X: Any, targets: Any, weight: Any) -> tuple[Any, Any, Any, Any]:
        """The samples to train with, and those to validate with as a Trainer takes them."""
        from sklearn.model_selection import train_test_split

        arrays = [X, targets] if weight is None else [X, targets, weight]
        parts = train_test_split(
            *arrays,
            test_size=self.validation_fraction,
            random_state=seed_of(None),
            stratify=self._strata(targets),
        )
        held = parts[1::2]
        validation = [self._tensor(held[0]), self._target_tensor(held[1])]
        if weight is not None:
            validation.append(self._tensor(held[2] * (len(held[2]) / total(held[2]))))
        rest = [*parts[::2], None]
        if weight is not None:
            total(rest[2])
        return *rest[:3], tuple(validation)

    def _weights(self, X: Any, y: Any, sample_weight: Any) -> Any:
        """The weights of samples as an array; None if there are none."""
        from sklearn.utils.validation import _check_sample_weight

        if sample_weight is None:
            return None
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        total(weight)
        return weight

    def _tensor(self, array: Any) -> Tensor:
        return tensor(array, dtype=self._dtype)

    def _outputs(self, X: Any) -> Tensor:
        """What the model makes of inputs."""
        from sklearn.utils.validation import check_is_fitted, validate_data

        check_is_fitted(self, "model_")
        X = validate_data(self, X, dtype=DTYPES, reset=False)
        return self._trainer.predict(self._tensor(X), batch_size=PREDICTED_AT_ONCE, verbose=0)

    def _refuse_settings(self) -> None:
        for name in ("max_iter", "n_iter_no_change"):
            whole(name, getattr(self, name))
        if not isinstance(self.batch_size, str) or self.batch_size != "auto":
            whole("batch_size (if it is not 'auto')", self.batch_size)
        if not self.alpha >= 0.0:
            raise ValueError(f"alpha must not be negative, got {self.alpha}")
        if not 0.0 < self.validation_fraction < 1.0:
            raise ValueError(
                f"validation_fraction must be between 0 and 1, got {self.validation_fraction}"
            )


def activation_for(given: Any) -> Module:
    """An activation by its name, by what makes one, or one like the given one."""
    if isinstance(given, Module):
        return copy.deepcopy(given)
    if isinstance(given, str):
        row = row_of(given)
        if row.form is not None:
            return row.form(**row.always)
    made = given() if inspect.isclass(given) else given
    if not isinstance(made, Module):
        raise TypeError(
            "activation is a name such as 'relu', 'tanh' or 'gelu', or a Module or a class of "
            f"such, not {given!r}"
        )
    return made


def whole(name: str, value: Any) -> int:
    """An integer of at least 1; ValueError for anything else."""
    if not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")
    return operator.index(value)


def total(weight: Any) -> Any:
    """The sum of weights, of which one at least must count."""
    found = weight.sum()
    if found == 0.0:
        raise ValueError("sample_weight: all weights are zero, there is nothing to train with")
    return found


def seed_of(random_state: Any) -> int:
    """The seed that scikit-learn's ``random_state`` stands for; drawn by chance for None."""
    from sklearn.utils import check_random_state

    if random_state is None:
        return randint(0, 2**31 - 1, (1,)).item()
    return check_random_state(random_state).randint(2**31 - 1)


@contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """Inside, everything draws from this generator: initial weights, the order of samples, dropout.

    The default generator is borrowed for it and goes on afterwards as if nothing had been drawn;
    threads take turns.
    """
    with _drawing:
        before = get_rng_state()
        set_rng_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(get_rng_state())
            set_rng_state(before)
