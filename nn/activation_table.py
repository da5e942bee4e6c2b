"""The table of activations: one row each, which drives their tests and ``nn.init.recommend``.

A row says what the function and the module are, with which settings they are tried, where the
kinks are and what the slope is there, whose numbers they give, and how weights before it start.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tapegrad import Tensor, as_tensor, positive, tensor

from . import activations as smooth
from . import activations_piecewise as piecewise
from . import functional as F
from .module import Module

__all__ = ["ACTIVATIONS", "Activation", "Start", "row_of"]


@dataclass(frozen=True)
class Start:
    """How the weights before an activation start, and why."""

    #: The function of :mod:`tapegrad.nn.init`.
    rule: str
    why: str
    #: Its settings.
    settings: dict[str, Any] = field(default_factory=dict)


HE = Start(
    "kaiming_normal_",
    "it cuts off what is below 0, and with that half of the mean square: a variance of 2/n_in "
    "makes up for it (He et al. 2015)",
    {"nonlinearity": "relu"},
)
HE_LEAKY = Start(
    "kaiming_normal_",
    "of what is below 0 the part a is left: a variance of 2/((1 + a²)·n_in) makes up for the rest "
    "(He et al. 2015)",
    {"nonlinearity": "leaky_relu"},
)
HE_LIKE = Start(
    "kaiming_normal_",
    "it is like ReLU away from 0, so that He's variance of 2/n_in is near enough (He et al. 2015)",
    {"nonlinearity": "relu"},
)
XAVIER = Start(
    "xavier_uniform_",
    "near 0 it is a line through 0 of slope 1: a variance of 2/(n_in + n_out) is a compromise "
    "between the spread of what goes forwards and of the gradients (Glorot and Bengio 2010)",
)
XAVIER_BENT = Start(
    "xavier_uniform_",
    "it flattens out on both sides, and a variance of 2/(n_in + n_out) keeps it from there "
    "(Glorot and Bengio 2010); its slope is at most 1/4, though, so that many layers of it lose "
    "their gradients even so",
)
XAVIER_LAST = Start(
    "xavier_uniform_",
    "in the last layer, it wants scores of moderate size: a variance of 2/(n_in + n_out) "
    "(Glorot and Bengio 2010)",
)
LECUN = Start(
    "lecun_normal_",
    "its two constants keep mean 0 and variance 1 only if weights have a variance of 1/n_in "
    "(Klambauer et al. 2017)",
)
LECUN_PLAIN = Start(
    "lecun_normal_",
    "it lets no gradient through, so that only what goes forwards counts: a variance of 1/n_in "
    "keeps its spread (LeCun et al. 1998)",
)
GATED = Start(
    "variance_scaling_",
    "its gate halves the values: a variance of 4/n_in makes up for it (Gehring et al. 2017)",
    {"scale": 4.0, "distribution": "normal"},
)


@dataclass(frozen=True, eq=False)
class Activation:
    """An activation in the table.

    >>> from tapegrad.nn.activation_table import row_of
    >>> row = row_of("relu")
    >>> row.name, row.form, row.kinks, row.start.rule
    ('relu', <class 'tapegrad.nn.activations_piecewise.ReLU'>, {0.0: 0.0}, 'kaiming_normal_')
    """

    #: The function of an input and settings.
    function: Callable[..., Any]
    #: Its module, whose settings have the same names.
    form: type[Module] | None
    #: How weights before it start.
    start: Start
    #: Where it jumps or bends at its defaults, with the slope there.
    kinks: dict[float, float] = field(default_factory=dict)
    #: Settings that must be given.
    always: dict[str, Any] = field(default_factory=dict)
    #: Settings to try it with, besides none.
    settings: tuple[dict[str, Any], ...] = ()
    #: Real settings without a derivative.
    fixed: tuple[str, ...] = ()
    #: Its name in torch.nn.functional; "" where there is none.
    peer: str | None = None
    #: Its name, if that is not the function's.
    called: str = ""
    #: What else it is called.
    names: tuple[str, ...] = ()
    #: How to call the function if not with the settings as they are.
    call: Callable[..., Any] | None = None
    #: Whether an element of the output depends on that of the input alone.
    elementwise: bool = True
    #: Whether the gradient is that of the values (an estimator's is not).
    true_gradient: bool = True

    @property
    def name(self) -> str:
        """The name of the row."""
        return self.called or self.function.__name__

    @property
    def torch_name(self) -> str:
        """Its name in torch.nn.functional, or ""."""
        return self.name if self.peer is None else self.peer

    def __call__(self, input: Any, **settings: Any) -> Any:
        """The activation of an input."""
        return (self.call or self.function)(input, **self.always | settings)

    def module(self, **settings: Any) -> Module:
        """The module with these settings."""
        if self.form is None:
            raise ValueError(f"{self.name} has no module")
        return self.form(**self.always | settings)

    def tried(self) -> list[dict[str, Any]]:
        """The settings to try: the defaults, then the others."""
        return [{}, *self.settings]

    def real_settings(self, settings: dict[str, Any]) -> dict[str, Tensor]:
        """The settings (given, or else the defaults) that have a derivative, as Tensors."""
        defaults = inspect.signature(self.call or self.function).parameters.values()
        given = {p.name: p.default for p in defaults} | self.always | settings
        return {
            name: tensor(value, dtype="float64")
            for name, value in given.items()
            if type(value) is float and name not in self.fixed
        }

    def called_by(self) -> set[str]:
        """All its names, as :func:`row_of` compares them."""
        form = () if self.form is None else (self.form.__name__,)
        return {_key(name) for name in (self.name, *form, *self.names)}


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _prelu(input: Any, init: Any = 0.25) -> Any:
    return F.prelu(input, as_tensor(init, dtype=input.dtype))


ACTIVATIONS: tuple[Activation, ...] = (
    Activation(
        positive, smooth.Identity, XAVIER, peer="", called="identity", names=("linear", "none")
    ),
    Activation(
        F.step, piecewise.Step, LECUN_PLAIN, {0.0: 0.0}, peer="", names=("heaviside", "perceptron")
    ),
    Activation(
        F.step_straight_through,
        None,
        XAVIER,
        {0.0: 1.0},
        settings=({"window": 1.0},),
        fixed=("window",),
        peer="",
        true_gradient=False,
    ),
    Activation(F.sigmoid, smooth.Sigmoid, XAVIER_BENT, names=("logistic",)),
    Activation(F.tanh, smooth.Tanh, XAVIER),
    Activation(F.relu, piecewise.ReLU, HE, {0.0: 0.0}),
    Activation(
        F.leaky_relu,
        piecewise.LeakyReLU,
        HE_LEAKY,
        {0.0: 0.01},
        settings=({"negative_slope": 0.3}, {"negative_slope": -0.5}),
    ),
    Activation(
        F.prelu,
        piecewise.PReLU,
        HE_LEAKY,
        {0.0: 0.25},
        settings=({"init": 0.7},),
        call=_prelu,
    ),
    Activation(
        F.rrelu,
        piecewise.RReLU,
        HE_LEAKY,
        {0.0: (1.0 / 8.0 + 1.0 / 3.0) / 2.0},
        settings=({"lower": 0.1, "upper": 0.3},),
    ),
    Activation(F.relu6, piecewise.ReLU6, HE, {0.0: 0.0, 6.0: 0.0}),
    Activation(F.elu, smooth.ELU, HE_LIKE, settings=({"alpha": 0.4}, {"alpha": 2.5})),
    Activation(F.selu, smooth.SELU, LECUN, {0.0: 1.7580993408473766}),
    Activation(
        F.celu, smooth.CELU, HE_LIKE, settings=({"alpha": 0.4}, {"alpha": 2.5}, {"alpha": -0.7})
    ),
    Activation(F.gelu, smooth.GELU, HE_LIKE, settings=({"approximate": "tanh"},)),
    Activation(F.silu, smooth.SiLU, HE_LIKE, names=("swish",)),
    Activation(F.mish, smooth.Mish, HE_LIKE),
    Activation(
        F.softplus,
        smooth.Softplus,
        HE_LIKE,
        settings=({"beta": 2.5}, {"beta": 0.4}),
        fixed=("threshold",),
    ),
    Activation(F.softsign, smooth.Softsign, XAVIER),
    Activation(
        F.hardtanh,
        piecewise.Hardtanh,
        XAVIER,
        {-1.0: 0.0, 1.0: 0.0},
        settings=({"min_val": -2.0, "max_val": 0.5}, {"min_val": 0.3, "max_val": 3.0}),
    ),
    Activation(F.hardsigmoid, piecewise.Hardsigmoid, XAVIER_BENT, {-3.0: 0.0, 3.0: 0.0}),
    Activation(
        F.hardswish, piecewise.Hardswish, HE_LIKE, {-3.0: 0.0, 3.0: 1.0}, names=("hard_silu",)
    ),
    Activation(F.logsigmoid, smooth.LogSigmoid, XAVIER_LAST, names=("log_sigmoid",)),
    Activation(F.tanhshrink, smooth.Tanhshrink, XAVIER_LAST, names=("tanh_shrink",)),
    Activation(
        F.softshrink,
        piecewise.Softshrink,
        XAVIER,
        {-0.5: 0.0, 0.5: 0.0},
        settings=({"lambd": 1.5}, {"lambd": 0.0}),
        names=("soft_shrink",),
    ),
    Activation(
        F.hardshrink,
        piecewise.Hardshrink,
        XAVIER,
        {-0.5: 0.0, 0.5: 0.0},
        settings=({"lambd": 1.5},),
        fixed=("lambd",),
        names=("hard_shrink",),
    ),
    Activation(
        F.threshold,
        piecewise.Threshold,
        HE,
        {0.1: 0.0},
        always={"threshold": 0.1, "value": 20.0},
        settings=({"threshold": -1.0, "value": -3.0},),
        fixed=("threshold",),
    ),
    Activation(F.softmax, smooth.Softmax, XAVIER_LAST, always={"dim": -1}, elementwise=False),
    Activation(
        F.log_softmax, smooth.LogSoftmax, XAVIER_LAST, always={"dim": -1}, elementwise=False
    ),
    Activation(F.softmin, smooth.Softmin, XAVIER_LAST, always={"dim": -1}, elementwise=False),
    Activation(F.glu, smooth.GLU, GATED, settings=({"dim": 0},), elementwise=False),
)


def row_of(activation: Any) -> Activation:
    """The row of an activation: a name, a module or its class, or a function.

    ValueError for what is not in the table.

    >>> import tapegrad as tg
    >>> from tapegrad.nn.activation_table import row_of
    >>> row_of(tg.nn.LeakyReLU(0.2)).name, row_of("Swish").name, row_of(tg.tanh).name
    ('leaky_relu', 'silu', 'tanh')
    """
    form = activation if isinstance(activation, type) else type(activation)
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", None)
    for row in ACTIVATIONS:
        if row.form is not None and issubclass(form, row.form):
            return row
        if name is not None and _key(name) in row.called_by():
            return row
    raise ValueError(
        f"no activation is called {activation!r}; there are "
        f"{', '.join(row.name for row in ACTIVATIONS)}"
    )
