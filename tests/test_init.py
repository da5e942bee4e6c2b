"""Initialisation: the statistics and shapes of every rule, gains and fans, derivatives by the
scale, recommendations, and the demonstration that they are right."""

import json
import math
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.nn import init
from tapegrad.nn.activation_table import ACTIVATIONS

GAINS = json.loads((Path(__file__).parent / "data" / "activations.json").read_text())["gains"]
SHAPE = (300, 200)  # 300 outputs, 200 inputs
#: The standard deviation of a standard normal cut off at ±2 (scipy.stats.truncnorm).
CUT = 0.8796256610342398


def source(seed=0):
    return tg.Generator().manual_seed(seed)


def close(found, wanted, tolerance=1e-12):
    found = found.detach().numpy() if isinstance(found, tg.Tensor) else found
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


# rule, arguments, standard deviation, fourth moment over the squared variance
RULES = [
    ("uniform_", {"a": -0.5, "b": 0.5}, math.sqrt(1 / 12), 1.8),
    ("normal_", {}, 1.0, 3.0),
    ("normal_", {"std": 0.02}, 0.02, 3.0),
    ("trunc_normal_", {}, CUT, 2.36),
    ("trunc_normal_", {"std": 0.02, "a": -0.04, "b": 0.04}, 0.02 * CUT, 2.36),
    ("xavier_uniform_", {}, math.sqrt(2 / 500), 1.8),
    ("xavier_uniform_", {"gain": 5 / 3}, 5 / 3 * math.sqrt(2 / 500), 1.8),
    ("xavier_normal_", {}, math.sqrt(2 / 500), 3.0),
    ("glorot_uniform_", {}, math.sqrt(2 / 500), 1.8),
    ("glorot_normal_", {"gain": 2.0}, 2 * math.sqrt(2 / 500), 3.0),
    ("kaiming_uniform_", {"nonlinearity": "relu"}, math.sqrt(2 / 200), 1.8),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, math.sqrt(1 / 600), 1.8),
    ("kaiming_normal_", {"nonlinearity": "relu"}, math.sqrt(2 / 200), 3.0),
    ("kaiming_normal_", {"mode": "fan_out"}, math.sqrt(2 / 300), 3.0),
    ("kaiming_normal_", {"mode": "fan_avg"}, math.sqrt(2 / 250), 3.0),
    ("kaiming_normal_", {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(200), 3.0),
    ("he_uniform_", {}, math.sqrt(2 / 200), 1.8),
    ("he_normal_", {"mode": "fan_out"}, math.sqrt(2 / 300), 3.0),
    ("lecun_uniform_", {}, math.sqrt(1 / 200), 1.8),
    ("lecun_normal_", {}, math.sqrt(1 / 200), 3.0),
    ("variance_scaling_", {}, math.sqrt(1 / 200), 2.36),
    ("variance_scaling_", {"scale": 4.0, "mode": "fan_avg"}, math.sqrt(4 / 250), 2.36),
    ("variance_scaling_", {"distribution": "normal"}, math.sqrt(1 / 200), 3.0),
    ("variance_scaling_", {"distribution": "uniform", "scale": 3.0}, math.sqrt(3 / 200), 1.8),
    ("orthogonal_", {}, math.sqrt(1 / 300), 3.0),
]


@pytest.mark.parametrize("rule, settings, std, kurtosis", RULES)
def test_mean_and_variance(rule, settings, std, kurtosis):
    """Within four standard errors."""
    if "trunc" in rule or ("scaling" in rule and "distribution" not in settings):
        pytest.importorskip("scipy")
    w = tg.empty(SHAPE, dtype="float64")
    assert getattr(init, rule)(w, **settings, generator=source()) is w
    count = w.numel()
    assert abs(w.mean().item()) < 4 * std / math.sqrt(count)
    error = std**2 * math.sqrt((kurtosis - 1) / count)
    assert abs((w * w).mean().item() - std**2) < 4 * error
    fourth = (w**4).mean().item() / std**4
    assert fourth == pytest.approx(kurtosis, rel=0.05)  # the shape of the distribution


@pytest.mark.parametrize("rule, settings, std, kurtosis", RULES)
def test_the_functions_of_a_shape_give_the_same(rule, settings, std, kurtosis):
    if rule.startswith(("glorot", "he_")):
        pytest.skip("another name")
    filled = getattr(init, rule)(tg.empty(SHAPE), **settings, generator=source(3))
    drawn = getattr(init.functional, rule[:-1])(SHAPE, **settings, generator=source(3))
    assert drawn.dtype == "float32" and filled.tolist() == drawn.tolist()


def test_parameters_are_filled_off_the_tape():
    layer = nn.Linear(3, 2)
    version = layer.weight.tolist()
    assert init.xavier_uniform_(layer.weight) is layer.weight
    assert layer.weight.requires_grad and layer.weight.is_leaf
    assert layer.weight.tolist() != version
    assert type(layer.weight) is nn.Parameter


def test_constants():
    w = tg.empty(2, 3)
    assert init.zeros_(w).tolist() == [[0.0] * 3] * 2
    assert init.ones_(w).tolist() == [[1.0] * 3] * 2
    assert init.constant_(w, 0.5).tolist() == [[0.5] * 3] * 2
    assert init.eye_(w).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    with pytest.raises(ValueError, match=r"2 dimensions, not \(3,\)"):
        init.eye_(tg.empty(3))


@pytest.mark.parametrize(
    "shape", [(5, 5), (7, 4), (4, 7), (3, 2, 4), (16, 2, 2, 2), (1, 6), (6, 1)]
)
def test_orthogonal(shape):
    for gain in (1.0, 2.5):
        w = init.orthogonal_(tg.empty(shape, dtype="float64"), gain, generator=source()).numpy()
        flat = w.reshape(shape[0], -1)
        small = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
        assert abs(small - gain**2 * np.eye(len(small))).max() < 1e-12


def test_orthogonal_is_drawn_evenly():
    """Over rotations by every angle, and over reflections (without the signs of R it is not)."""
    angles = []
    generator = source(1)
    for _ in range(400):
        q = init.orthogonal_(tg.empty(2, 2, dtype="float64"), generator=generator).numpy()
        angles.append(math.atan2(q[1, 0], q[0, 0]))
    counts, _ = np.histogram(angles, bins=4, range=(-math.pi, math.pi))
    assert abs(counts - 100).max() < 4 * math.sqrt(400 * 0.25 * 0.75)
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        init.orthogonal_(tg.empty(3))
    assert init.orthogonal_(tg.empty(0, 3)).shape == (0, 3)


def test_sparse():
    w = init.sparse_(tg.empty(100, 40), 0.33, std=2.0, generator=source())
    assert (w == 0).sum(0).tolist() == [33] * 40
    rows = (w == 0).sum(1).numpy()
    assert rows.min() < 13 < rows.max()  # not the same rows in every column
    assert w.numpy()[w.numpy() != 0].std() == pytest.approx(2.0, rel=0.06)
    assert (init.sparse_(tg.empty(3, 2), 0.4) == 0).sum(0).tolist() == [2, 2]  # rounded up
    assert init.sparse_(tg.empty(3, 2), 0.0, generator=source()).all()
    with pytest.raises(ValueError, match=r"\(rows, columns\)"):
        init.sparse_(tg.empty(3), 0.1)
    with pytest.raises(ValueError, match="fraction"):
        init.sparse_(tg.empty(3, 2), 10)


def test_dirac_passes_channels_on():
    x = tg.tensor(np.random.default_rng(0).standard_normal((2, 4, 6, 5)))
    for groups in (1, 2):
        w = init.dirac_(tg.empty(4, 4 // groups, 3, 3, dtype="float64"), groups)
        close(nn.functional.conv2d(x, w, padding=1, groups=groups), x.numpy())
    assert init.dirac_(tg.empty(2, 3, 3)).sum().item() == 2
    assert init.dirac_(tg.empty(2, 1, 2, 2, 2)).nonzero().tolist() == [[0, 0, 1, 1, 1]]
    with pytest.raises(ValueError, match="divided by 3"):
        init.dirac_(tg.empty(4, 1, 3), 3)
    with pytest.raises(ValueError, match="3, 4 or 5"):
        init.dirac_(tg.empty(4, 1))


def test_trunc_normal_stays_inside_and_warns():
    pytest.importorskip("scipy")
    w = init.trunc_normal_(tg.empty(5000), 1.0, 2.0, -0.5, 1.5, generator=source())
    assert -0.5 <= w.min().item() < -0.49 and 1.49 < w.max().item() <= 1.5
    stats = pytest.importorskip("scipy.stats").truncnorm(-0.75, 0.25, 1.0, 2.0)
    assert w.mean().item() == pytest.approx(stats.mean(), abs=4 * stats.std() / math.sqrt(5000))
    with pytest.warns(UserWarning, match="more than 2 std") as caught:
        init.trunc_normal_(tg.empty(3), 0.0, 1.0, 3.0, 4.0)
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match="a must not be more than b"):
        init.trunc_normal_(tg.empty(3), a=1.0, b=-1.0)
    with pytest.raises(ValueError, match="std must be positive"):
        init.trunc_normal_(tg.empty(3), std=0.0)


@pytest.mark.parametrize("arguments, gain", GAINS, ids=str)
def test_gains_are_torchs(arguments, gain):
    assert init.calculate_gain(*arguments) == gain


def test_gains_of_others_are_errors():
    with pytest.raises(ValueError, match=r"no gain for 'mish'; known: conv1d.*recommend"):
        init.calculate_gain("mish")
    for slope in (True, "0.2"):
        with pytest.raises(ValueError, match="slope must be a number"):
            init.calculate_gain("leaky_relu", slope)


def test_fans():
    fans = init.calculate_fan_in_and_fan_out
    assert fans((5, 3)) == fans(tg.empty(5, 3)) == (3, 5)
    assert fans((8, 4, 3, 5)) == (60, 120)
    with pytest.raises(ValueError, match=r"at least 2 dimensions.*\(3,\)"):
        init.xavier_normal_(tg.empty(3))
    with pytest.raises(ValueError, match="'fan_in', 'fan_out', 'fan_avg', not 'fan'"):
        init.kaiming_normal_(tg.empty(3, 2), mode="fan")
    with pytest.raises(ValueError, match="distribution must be one of"):
        init.variance_scaling_(tg.empty(3, 2), distribution="cauchy")
    assert init.kaiming_uniform_(tg.empty(0, 3)).shape == (0, 3)
    assert init.xavier_normal_(tg.empty(0, 0)).shape == (0, 0)
    with pytest.raises(ValueError, match="std must not be negative"):
        init.normal_(tg.empty(2), std=-1.0)


def test_layers_draw_what_they_drew():
    tg.manual_seed(5)
    first = nn.Linear(4, 3).weight.tolist()
    bound = 0.5
    wanted = -bound + 2 * bound * tg.rand(3, 4, generator=source(5))
    close(tg.tensor(first), wanted.numpy(), 1e-6)


# -- derivatives by the scale -----------------------------------------------------------------
SCALES = [
    ("constant", {"val": 0.7}),
    ("uniform", {"a": -0.4, "b": 0.9}),
    ("normal", {"mean": 0.2, "std": 0.6}),
    ("trunc_normal", {"mean": 0.1, "std": 0.6, "a": -0.8, "b": 1.1}),
    ("variance_scaling", {"scale": 1.7}),
    ("variance_scaling", {"scale": 1.7, "distribution": "uniform"}),
    ("xavier_uniform", {"gain": 1.3}),
    ("xavier_normal", {"gain": 1.3}),
    ("kaiming_uniform", {"a": 0.4}),
    ("kaiming_normal", {"a": 0.4}),
    ("lecun_uniform", {"gain": 0.8}),
    ("lecun_normal", {"gain": 0.8}),
    ("orthogonal", {"gain": 1.3}),
    ("sparse", {"std": 0.6}),
    ("eye", {"gain": 0.7}),
]


def drawn(name, values, rest, seed=2, shape=(4, 3)):
    rule = getattr(init.functional, name)
    if name not in ("constant", "eye"):
        rest = rest | {"generator": source(seed)}
    if name == "sparse":
        rest = rest | {"sparsity": 0.3}
    return rule(shape, **values, **rest, dtype="float64")


@pytest.mark.parametrize("name, settings", SCALES)
def test_draws_have_derivatives_by_their_settings(name, settings):
    real = {k: v for k, v in settings.items() if type(v) is float}
    rest = {k: v for k, v in settings.items() if k not in real}

    def draw(*values):
        return drawn(name, dict(zip(real, values, strict=True)), rest)

    assert tg.check_grads(draw, [np.array(v) for v in real.values()], order=2)


def test_dirac_has_a_derivative_by_its_gain():
    gain = tg.tensor(2.0, requires_grad=True)
    init.functional.dirac((2, 2, 3), gain=gain).sum().backward()
    assert gain.grad.item() == 2.0


@pytest.mark.parametrize("name, settings", SCALES)
def test_training_has_a_derivative_by_the_scale_it_began_with(name, settings):
    """d (loss after 2 steps) / d scale, against finite differences."""
    x = tg.tensor(np.random.default_rng(0).standard_normal((6, 3)))
    y = tg.tensor(np.random.default_rng(1).standard_normal((6, 1)))
    scale = list(settings)[-1] if type(list(settings.values())[-1]) is float else "scale"
    rest = {k: v for k, v in settings.items() if k != scale}

    def loss_after(value):
        params = [
            drawn(name, {scale: value}, rest),
            tg.zeros(4, dtype="float64", requires_grad=True),
            drawn(name, {scale: value}, rest, seed=3, shape=(1, 4)),
        ]

        def loss(params):
            hidden = tg.tanh(nn.functional.linear(x, params[0], params[1]))
            return nn.functional.mse_loss(nn.functional.linear(hidden, params[2]), y)

        rule = tg.optim.functional.adam(lr=0.1)
        state = rule.init(params)
        for _ in range(2):
            grads = tg.grad(loss(params), params, create_graph=True)
            params, state = rule.update(params, grads, state)
        return loss(params)

    value = tg.tensor(settings[scale], dtype="float64", requires_grad=True)
    (found,) = tg.grad(loss_after(value), value)
    h = 1e-5
    with tg.no_grad():
        base = value.detach()
    estimates = [
        (loss_after((base + s).requires_grad_()) - loss_after((base - s).requires_grad_())).item()
        / (2 * s)
        for s in (h, 2 * h)
    ]
    wanted = (4 * estimates[0] - estimates[1]) / 3
    assert abs(wanted) > 1e-6
    assert found.item() == pytest.approx(wanted, rel=1e-6, abs=1e-9)


# -- recommendations --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "activation, rule, settings",
    [
        ("relu", "kaiming_normal_", {"nonlinearity": "relu"}),  # the articles' advice: ReLU, He
        ("sigmoid", "xavier_uniform_", {}),  # sigmoid or tanh, Xavier
        ("tanh", "xavier_uniform_", {}),
        ("selu", "lecun_normal_", {}),  # SELU, LeCun
        (nn.LeakyReLU, "kaiming_normal_", {"nonlinearity": "leaky_relu", "a": 0.01}),
        (nn.LeakyReLU(0.2), "kaiming_normal_", {"nonlinearity": "leaky_relu", "a": 0.2}),
        (nn.PReLU(), "kaiming_normal_", {"nonlinearity": "leaky_relu", "a": 0.25}),
        (nn.RReLU(0.1, 0.3), "kaiming_normal_", {"nonlinearity": "leaky_relu", "a": 0.2}),
        (tg.tanh, "xavier_uniform_", {}),
        ("linear", "xavier_uniform_", {}),
    ],
)
def test_recommendations(activation, rule, settings):
    found = init.recommend(activation)
    assert (found.rule, found.settings) == (rule, settings)
    w = tg.empty(400, 300)
    assert found(w, generator=source()) is w
    if rule == "kaiming_normal_":
        gain = init.calculate_gain(settings["nonlinearity"], settings.get("a"))
        assert w.std().item() == pytest.approx(gain / math.sqrt(300), rel=0.02)


def test_recommendations_say_why():
    text = str(init.recommend("selu"))
    assert text.startswith("selu: nn.init.lecun_normal_(weight), since")
    assert "1/n_in" in text and "Klambauer" in text
    assert init.recommend("leaky_relu", 0.3).settings["a"] == 0.3
    for row in ACTIVATIONS:
        found = init.recommend(row.name)
        assert callable(getattr(init, found.rule)) and "(" in found.why
    with pytest.raises(ValueError, match=r"'swosh'.*silu"):
        init.recommend("swosh")


@pytest.mark.parametrize("row", ACTIVATIONS, ids=lambda row: row.name)
def test_recommended_weights_keep_signals_within_reach(row):
    """Through 10 layers the spread neither vanishes nor explodes by more than a factor of 300."""
    if not row.elementwise or row.name in ("tanhshrink", "threshold", "softshrink", "hardshrink"):
        pytest.skip("not an activation of hidden layers")
    generator = source(1)
    x = tg.randn(200, 200, generator=generator)
    for _ in range(10):
        w = init.recommend(row.name)(tg.empty(200, 200), generator=generator)
        x = row(x @ w.T)
    assert 1 / 300 < (x * x).mean().item() ** 0.5 < 300


def test_selu_with_lecun_keeps_mean_and_variance():
    generator = source()
    x = tg.randn(500, 300, generator=generator)
    for _ in range(50):
        x = nn.functional.selu(x @ init.lecun_normal_(tg.empty(300, 300), generator=generator).T)
    assert abs(x.mean().item()) < 0.1 and 0.7 < x.var().item() < 1.4


def test_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rule in ("kaiming_normal_", "orthogonal_", "xavier_uniform_"):
            getattr(init, rule)(tg.empty(3, 2))


# -- the demonstration ------------------------------------------------------------------------
def test_zeros_keep_hidden_units_equal():
    """After any number of steps of any optimizer; drawn weights do not."""
    x = tg.tensor(np.random.default_rng(0).standard_normal((20, 3)))
    y = tg.tensor(np.random.default_rng(1).standard_normal((20, 1)))
    for rule, equal in ((init.zeros_, True), (init.ones_, True), (init.xavier_normal_, False)):
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
        for layer in (model[0], model[2]):
            rule(layer.weight)
            init.zeros_(layer.bias)
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        apart = (model[0].weight - model[0].weight[:1]).abs().max().item()
        assert (apart < 1e-12) == equal


def test_the_demonstration(tmp_path):
    example = Path(__file__).parent.parent / "examples" / "initialisation.py"
    options = ["--depth", "20", "--width", "64", "--steps", "300", "--out", str(tmp_path)]
    shown = subprocess.run(
        [sys.executable, str(example), *options], capture_output=True, text=True, check=True
    ).stdout
    xor = re.findall(r"^  (zeros|Xavier) +hidden units end (\S+) apart, loss (\S+)$", shown, re.M)
    assert [name for name, *_ in xor] == ["zeros", "Xavier"]
    (_, apart, stuck), (_, drawn, learned) = xor
    assert float(apart) == 0.0 and float(stuck) == pytest.approx(math.log(2), abs=1e-4)
    assert float(drawn) > 0.1 and float(learned) < 0.5
    number = r" +(\d\S+)"
    table = re.findall(
        rf"^(\S+) +(.*?) +values{number * 5}\n +grads{number * 5}$", shown, re.MULTILINE
    )
    assert len(table) == 24
    for activation, rule, *numbers in table:
        last, first = float(numbers[4]), float(numbers[5])  # what goes forwards, and backwards
        if rule == "zeros":
            assert last == first == 0.0
        elif rule in ("orthogonal", "He", "He, slope 0.2", "LeCun"):
            assert 0.01 < last < 10 and 0.01 < first < 100, activation
        elif rule == "Xavier":
            assert last > 1e-4 and (first < 1e-12 if activation == "Sigmoid()" else first > 1e-3)
        elif activation not in ("Tanh()", "Sigmoid()"):
            assert last > 1e6 and first > 1e6  # N(0, 1) and U(-0.5, 0.5) explode
    assert "Picture" in shown and (tmp_path / "initialisation.png").stat().st_size > 10_000
