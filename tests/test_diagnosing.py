"""Diagnosis: sick networks get the right verdict, and each remedy a clean one."""

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

WIDTH = 32


@pytest.fixture(autouse=True)
def seed():
    tg.manual_seed(0)


def he(weight):
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def deep(activation, init=None, norm=False, residual=False, depth=20):
    layers = []
    for _ in range(depth):
        linear = nn.Linear(WIDTH, WIDTH)
        if init is not None:
            init(linear.weight)
            nn.init.zeros_(linear.bias)
        block = [linear, *([nn.BatchNorm1d(WIDTH)] if norm else []), activation()]
        layers += [nn.Residual(nn.Sequential(*block))] if residual else block
    return nn.Sequential(*layers, nn.Linear(WIDTH, 1))


def batch():
    return tg.randn(64, WIDTH), tg.randn(64, 1)


def test_a_deep_sigmoid_network_vanishes():
    model = deep(nn.Sigmoid)
    found = nn.diagnose(model, "mse", batch())
    assert found.verdicts == ("vanishing",)
    problem = found.problems[0]
    assert problem.where == "40 to 0" and "gradients shrink" in problem.figure
    said = " ".join(problem.remedies)
    assert "ReLU with He" in said and "BatchNorm" in said and "residual" in said
    # by hand: a sigmoid's slope is at most 1/4, so 20 of them take at least 12 digits
    assert found.layers[0].gradient < found.layers[-1].gradient * 0.25**19


@pytest.mark.parametrize(
    "remedy",
    [
        lambda: deep(nn.ReLU, he),
        lambda: deep(nn.Sigmoid, norm=True),
        lambda: deep(nn.Sigmoid, residual=True),
        lambda: deep(nn.Tanh, nn.init.xavier_normal_),
    ],
    ids=["ReLU and He", "BatchNorm", "residual", "tanh and Xavier"],
)
def test_each_remedy_of_vanishing_works(remedy):
    assert "vanishing" not in nn.diagnose(remedy(), "mse", batch()).verdicts


def test_a_badly_scaled_network_explodes_and_each_remedy_works():
    data = batch()
    model = deep(nn.ReLU, nn.init.normal_)  # N(0, 1): each layer multiplies by √(32/2) = 4
    found = nn.diagnose(model, "mse", data)
    assert found.verdicts == ("exploding", "large updates")
    said = " ".join(found.problems[0].remedies)
    assert "clipping" in said and "lower learning rate" in said and "He" in said
    assert 4.0**18 < found.layers[-3].size / found.layers[0].size < 4.0**20
    clipped = optim.SGD(model.parameters(), lr=0.01, clipnorm=1.0)
    slow = optim.SGD(model.parameters(), lr=1e-26)
    for remedy in (clipped, slow):  # they leave the gradients, but a step is small
        assert nn.diagnose(model, "mse", data, optimizer=remedy).verdicts == ("exploding",)
    assert nn.diagnose(deep(nn.ReLU, he), "mse", data).verdicts == ()
    normed = nn.diagnose(deep(nn.ReLU, nn.init.normal_, norm=True), "mse", data)
    assert "exploding" not in normed.verdicts and "large updates" not in normed.verdicts


def test_overflow_is_named_with_its_layer():
    model = deep(nn.ReLU, lambda w: nn.init.normal_(w, std=1e3))
    with np.errstate(all="ignore"):
        found = nn.diagnose(model, "mse", batch())
    assert found.verdicts[0] == "exploding" and "is not finite" in found.problems[0].figure


def test_dead_units_are_counted():
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 1))
    with tg.no_grad():
        model[0].bias[:7], model[0].bias[7:] = -100.0, 100.0
    found = nn.diagnose(model, "mse", (tg.rand(8, 4), tg.zeros(8, 1)))
    assert found.layers[1].dead == pytest.approx(0.7)
    assert "dead units" in found.verdicts and "LeakyReLU" in str(found.problems[0])
    pictures = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1))
    with tg.no_grad():
        pictures[0].bias[:1] = -100.0
        pictures[0].bias[1:] = 100.0
    found = nn.diagnose(pictures, "mse", (tg.rand(5, 1, 4, 4), tg.zeros(5, 1)))
    assert found.layers[1].dead == 0.25, "a unit of pictures is a channel"


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh])
def test_saturation_is_the_share_of_flat_outputs(activation):
    model = nn.Sequential(nn.Linear(1, 1, bias=False), activation(), nn.Linear(1, 1))
    model[0].weight.data = tg.ones(1, 1)
    x = tg.tensor([[0.0], [0.5], [100.0], [-100.0], [50.0]])
    found = nn.diagnose(model, "mse", (x, tg.zeros(5, 1)))
    assert found.layers[1].saturated == pytest.approx(0.6)
    assert "saturation" in found.verdicts


def test_small_updates_and_bad_condition():
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    model[0].weight.data = tg.tensor([[1.0, 0.0], [0.0, 1e-8]])
    found = nn.diagnose(
        model, "mse", (tg.ones(3, 2), tg.zeros(3, 2)), optimizer=optim.SGD(model.parameters(), 1e-9)
    )
    assert set(found.verdicts) == {"small updates", "ill-conditioned"}
    assert found.layers[0].condition == pytest.approx(1e8)


def test_figures_by_hand():
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    model[0].weight.data = tg.tensor([[2.0]])
    x, y = tg.tensor([[1.0], [3.0]]), tg.tensor([[0.0], [0.0]])
    (layer,) = nn.diagnose(model, "mse", (x, y)).layers
    # outputs 2 and 6; the mean of 4 and 36 is 20; dL/dy = y, its norm √40; dL/dw = 2 + 18 = 20
    assert layer.size == pytest.approx(20.0**0.5) and layer.spread == pytest.approx(2.0)
    assert layer.gradient == pytest.approx(40.0**0.5)
    assert layer.weight == 2.0 and layer.weight_gradient == pytest.approx(20.0)
    assert layer.update == pytest.approx(0.01 * 20.0 / 2.0)


def test_everything_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters())
    data = (tg.rand(8, 4), tg.rand(8, 1))
    loss = nn.MSELoss()(model(data[0]), data[1])
    loss.backward()
    optimizer.step()
    before = model.state_dict()
    grads = [p.grad.clone() for p in model.parameters()]
    state = optimizer.state_dict()["state"][0]["exp_avg"]
    random = tg.get_rng_state()
    nn.diagnose(model, nn.MSELoss(), data, optimizer=optimizer)
    nn.loss_landscape(model, nn.MSELoss(), data, points=3, generator=tg.Generator())
    nn.lr_range_test(model, nn.MSELoss(), [data], optimizer=optimizer, steps=5)
    after = model.state_dict()
    assert all((after[k] == before[k]).all() for k in before)
    assert all((p.grad == g).all() for p, g in zip(model.parameters(), grads))
    assert (optimizer.state_dict()["state"][0]["exp_avg"] == state).all()
    drawn = tg.rand(3)
    tg.set_rng_state(random)
    assert (tg.rand(3) == drawn).all()


class Reader(nn.Module):
    """A sequence, and its class by the last state of an LSTM or GRU."""

    def __init__(self, kind):
        super().__init__()
        self.recurrent, self.head = kind(8, 16, batch_first=True), nn.Linear(16, 5)

    def forward(self, x):
        _, state = self.recurrent(x)
        return self.head((state[0] if isinstance(state, tuple) else state)[-1])


class WithUnused(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.unused = nn.Linear(8, 16), nn.Linear(16, 5), nn.Linear(16, 5)

    def forward(self, x):
        z = nn.functional.relu(self.body(x))
        found = self.head(z)
        self.unused(z)
        return found


def pictured(activation=nn.ReLU, size=48, norm=True):
    """A small convolutional network whose pooling shares a gradient among size² pixels."""
    widths = (3, 8, 16)
    layers = [
        layer
        for a, b in itertools.pairwise(widths)
        for layer in (
            nn.Conv2d(a, b, 3, padding=1),
            nn.BatchNorm2d(b) if norm else nn.Conv2d(b, b, 3, padding=1),
            activation(),
        )
    ]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return model, tg.randn(4, 3, size, size)


def mlp(*widths, activation=nn.ReLU):
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


HEALTHY = {
    "LSTM": lambda: (Reader(nn.LSTM), tg.randn(4, 12, 8)),
    "GRU": lambda: (Reader(nn.GRU), tg.randn(4, 12, 8)),
    "RNN": lambda: (Reader(nn.RNN), tg.randn(4, 12, 8)),
    "a layer the loss does not see": lambda: (WithUnused(), tg.randn(4, 8)),
    "global pooling": pictured,
    "global pooling, no normalisation": lambda: pictured(nn.GELU, 32, norm=False),
    "ReLU6": lambda: pictured(nn.ReLU6, 12),
    "one example": lambda: (mlp(8, 32, 32, 5), tg.randn(1, 8)),
    "GELU": lambda: (mlp(8, 64, 64, 5, activation=nn.GELU), tg.randn(4, 8)),
    "tanh": lambda: (mlp(8, 64, 64, 5, activation=nn.Tanh), tg.randn(4, 8)),
    "ReLU and He, 20 layers": lambda: (deep(nn.ReLU, he)[:-1], tg.randn(64, WIDTH)),
    "BatchNorm, 20 layers": lambda: (deep(nn.ReLU, norm=True)[:-1], tg.randn(64, WIDTH)),
    "transformer": lambda: (
        nn.Sequential(
            nn.Embedding(50, 16),
            nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
            nn.Flatten(),
            nn.Linear(16 * 8, 5),
        ),
        tg.randint(0, 50, (4, 8)),
    ),
}


@pytest.mark.parametrize("made", HEALTHY.values(), ids=HEALTHY)
def test_healthy_networks_are_found_healthy(made):
    for seed in range(5):
        tg.manual_seed(seed)
        model, x = made()
        found = nn.diagnose(model, "cross_entropy", (x, tg.randint(0, 5, (len(x),))))
        assert found.verdicts == (), f"seed {seed}: {found}"


class Counter(nn.Module):
    """A cell, step by step; what comes first is forgotten."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.RNNCell(4, 8), nn.Linear(8, 5)
        with tg.no_grad():
            self.cell.weight_hh *= 0.1

    def forward(self, x):
        state = tg.zeros(len(x), 8)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state)


def test_gradients_vanish_in_time():
    found = nn.diagnose(Counter(), "cross_entropy", (tg.randn(4, 20, 4), tg.randint(0, 5, (4,))))
    assert found.verdicts == ("vanishing",)


def test_what_the_loss_does_not_see_has_no_gradient():
    found = nn.diagnose(WithUnused(), "cross_entropy", (tg.randn(4, 8), tg.randint(0, 5, (4,))))
    assert [layer.gradient is None for layer in found.layers] == [False, False, True]
    pytest.importorskip("matplotlib").use("Agg")
    found.plot()


def test_layers_with_modules_inside_are_seen():
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    x = tg.randn(2, 3, 8)
    kinds = [layer.kind for layer in nn.diagnose(attention, "mse", (x, x)).layers]
    assert kinds[0] == "MultiheadAttention" and kinds.count("Linear") >= 2
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8, bias=False))
    (layer,) = nn.diagnose(nn.Sequential(normed), "mse", (x, x)).layers
    assert layer.name == "0"


def test_the_iterations_of_spectral_normalisation_are_left_as_they_were():
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 8)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    nn.diagnose(model, "mse", (tg.randn(8, 4), tg.randn(8, 8)))
    assert all((v == before[k]).all() for k, v in model.state_dict().items())


def test_dead_units_of_sequences_are_those_of_the_last_dimension():
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 1))
    with tg.no_grad():
        model[0].bias[:7], model[0].bias[7:] = -100.0, 100.0
    found = nn.diagnose(model, "mse", (tg.rand(4, 6, 4), tg.zeros(4, 6, 1)))
    assert found.layers[1].dead == pytest.approx(0.7) and found.verdicts[0] == "dead units"


def test_hooks_of_an_activation_are_called_once():
    model, calls = mlp(4, 8, 1, activation=nn.Tanh), []
    model[1].register_forward_hook(lambda *given: calls.append(1))
    nn.diagnose(model, "mse", (tg.rand(8, 4), tg.rand(8, 1)))
    assert calls == [1]


def test_all_is_left_as_it_was_when_the_loss_raises():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    before, random = model.state_dict(), tg.get_rng_state()

    def broken(output, target):
        raise RuntimeError("broken")

    for look in (nn.diagnose, nn.loss_landscape):
        settings = {"generator": tg.Generator()} if look is nn.loss_landscape else {}
        with pytest.raises(RuntimeError, match="broken"):
            look(model, broken, (tg.ones(8, 4), tg.ones(8, 1)), **settings)
    with pytest.raises(RuntimeError, match="broken"):
        nn.lr_range_test(model, broken, [(tg.ones(8, 4), tg.ones(8, 1))])
    assert model.training and all((v == before[k]).all() for k, v in model.state_dict().items())
    drawn = tg.rand(3)
    tg.set_rng_state(random)
    assert (tg.rand(3) == drawn).all()
    assert len(nn.diagnose(model, "mse", (tg.ones(8, 4), tg.ones(8, 1))).layers) == 4


def test_bad_data_and_losses_are_told_as_such():
    x, y = tg.randn(8, 4), tg.rand(8, 1)
    x[2, 1] = float("nan")
    found = nn.diagnose(mlp(4, 8, 1), "mse", (x, y))
    assert found.verdicts == ("bad data",) and "1 of 32 numbers" in str(found)
    with np.errstate(all="ignore"):
        found = nn.diagnose(mlp(4, 8, 1), "mse", (y * tg.ones(4), y * float("inf")))
    assert found.problems[0].where == "the target"
    model = mlp(4, 8, 1)
    with tg.no_grad():
        model[2].weight[:], model[2].bias[:] = 0.0, 0.0
    with np.errstate(all="ignore"):
        found = nn.diagnose(model, lambda o, t: -(t * o.log()).mean(), (tg.rand(8, 4), y))
    assert found.verdicts == ("loss not finite",)


def test_losses_and_optimizers_by_name_and_class():
    data = tg.randn(8, 4), tg.randint(0, 3, (8,))
    model = mlp(4, 8, 3)
    by_name = nn.diagnose(model, "cross_entropy", data, optimizer="adam")
    by_class = nn.diagnose(model, nn.CrossEntropyLoss, data, optimizer=optim.Adam)
    made = nn.diagnose(model, nn.CrossEntropyLoss(), data, optimizer=optim.Adam(model.parameters()))
    assert by_name.layers == by_class.layers == made.layers


def test_the_condition_of_wide_weights():
    model = nn.Linear(600, 600)
    x = tg.zeros(2, 600)
    assert nn.diagnose(model, "mse", (x, x)).layers[0].condition is None, "it would take too long"
    square = nn.Linear(100, 100)
    with tg.no_grad():
        square.weight[:] = tg.eye(100)
        square.weight[0, 0] = 2e-7
    x = tg.ones(2, 100)
    assert nn.diagnose(square, "mse", (x, x)).verdicts == (), "by chance, of so many"
    with tg.no_grad():
        square.weight[0, 0] = 0.0
    found = nn.diagnose(square, "mse", (x, x))
    assert found.verdicts == ("ill-conditioned",) and found.layers[0].condition == float("inf")


def test_refusals():
    data = batch()
    with pytest.raises(ValueError, match=r"must be one number, and has shape \(64, 1\)"):
        nn.diagnose(deep(nn.ReLU), nn.MSELoss(reduction="none"), data)
    with pytest.raises(ValueError, match=r"next\(iter\(loader\)\)"):
        nn.diagnose(deep(nn.ReLU), "mse", nn.data.DataLoader(nn.data.TensorDataset(*data)))
    with pytest.raises(TypeError, match="model must be a Module"):
        nn.diagnose(lambda x: x, "mse", data)
    with pytest.raises(ValueError, match=r"batch must be \(input, target\)"):
        nn.diagnose(deep(nn.ReLU), "mse", data[0])
    with pytest.raises(ValueError, match="does not depend"):
        nn.diagnose(nn.Linear(WIDTH, 1), lambda output, target: target.sum(), data)
    with pytest.raises(ValueError, match="none of the model's parameters"):
        nn.diagnose(
            deep(nn.ReLU), "mse", data, optimizer=optim.SGD([tg.ones(1, requires_grad=True)])
        )


def test_pictures_and_tables():
    pytest.importorskip("matplotlib").use("Agg")
    found = nn.diagnose(deep(nn.Sigmoid, depth=3), "mse", batch())
    assert len(found.plot().axes) == 3
    assert repr(found).splitlines()[1].startswith("Layer") and "(Sigmoid)" in repr(found)
    assert found._repr_html_().count("<tr>") == 1 + len(found.layers)
    sick = nn.diagnose(deep(nn.Sigmoid), "mse", batch())
    assert "<li>vanishing" in sick._repr_html_()


# -- landscapes and rates ------------------------------------------------------------------------
def quadratic():
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = tg.tensor([[1.0, -1.0]])
    x = tg.tensor([[1.0, 0.0], [0.0, 1.0]])
    return model, (x, tg.zeros(2, 1))


def test_a_slice_is_the_loss_along_the_direction():
    model, data = quadratic()
    d, e = {"weight": tg.tensor([[1.0, 0.0]])}, {"weight": tg.tensor([[0.0, 1.0]])}
    found = nn.loss_landscape(model, "mse", data, directions=[d, e], span=2.0, points=5)
    for a, row in zip(found.steps, found.values, strict=True):
        for b, value in zip(found.steps, row, strict=True):
            assert value == pytest.approx(((1 + a) ** 2 + (b - 1) ** 2) / 2)
    assert found.here == 1.0


def test_from_one_trained_model_to_another_the_end_is_the_other():
    models = [nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)) for _ in "ab"]
    data = tg.randn(16, 2), tg.randn(16, 1)
    for model in models:
        for _ in range(3):
            model(tg.randn(16, 2) * 3.0)
        model.eval()
    a, b = models
    before = a.state_dict()
    ahead = {name: value - before[name] for name, value in b.state_dict().items()}
    found = nn.loss_landscape(a, nn.MSELoss, data, directions=[ahead], points=3)
    assert found.values[2] == pytest.approx(nn.MSELoss()(b(data[0]), data[1]).item(), rel=1e-5)
    assert found.here == found.values[1] == nn.MSELoss()(a(data[0]), data[1]).item()
    assert all((v == before[k]).all() for k, v in a.state_dict().items())
    a.train()
    nn.loss_landscape(a, "mse", data, directions=[ahead, ahead], points=2)
    assert all((v == before[k]).all() for k, v in a.state_dict().items())


def test_what_landscapes_and_range_tests_refuse():
    model, data = quadratic()
    loader = nn.data.DataLoader(nn.data.TensorDataset(*data))
    ahead = {"weight": tg.ones(1, 2)}
    with pytest.raises(TypeError, match="a list of one or two dicts"):
        nn.loss_landscape(model, "mse", data, directions=ahead)
    for look in (nn.loss_landscape, nn.lr_range_test):
        with pytest.raises(TypeError, match="model must be a Module, not function"):
            look(lambda x: x, "mse", data)
    with pytest.raises(ValueError, match=r"next\(iter\(loader\)\)"):
        nn.loss_landscape(model, "mse", loader)
    with pytest.raises(ValueError, match=r"must be one number, and has shape \(2, 1\)"):
        nn.loss_landscape(model, nn.MSELoss(reduction="none"), data)
    with pytest.raises(TypeError, match=r"each \(input, target\), not a Tensor"):
        nn.lr_range_test(model, "mse", data)
    with pytest.raises(ValueError, match="none of the model's parameters"):
        nn.lr_range_test(model, "mse", loader, optimizer=optim.Adam(quadratic()[0].parameters()))
    for unknown in (3, None):
        with pytest.raises(TypeError, match="an optimizer is given by its name"):
            nn.lr_range_test(model, "mse", loader, optimizer=unknown)
    with pytest.raises(TypeError, match="an optimizer is given by its name"):
        nn.diagnose(model, "mse", data, optimizer=3)
    with pytest.raises(ValueError, match="the loss is nan before the first step"):
        nn.lr_range_test(model, "mse", [(data[0] * float("nan"), data[1])])


def test_the_range_test_takes_any_optimizer():
    model, data = quadratic()
    unbound = optim.SGD(lr=0.1)
    forms = ["sgd", optim.SGD, unbound, optim.SGD(model.parameters(), lr=0.1)]
    found = [nn.lr_range_test(model, nn.MSELoss, [data], optimizer=o, steps=9) for o in forms]
    assert all(f == found[0] for f in found) and not unbound.param_groups


def test_random_directions_have_the_size_of_the_filters():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    ahead = []
    nn.loss_landscape(
        model,
        lambda output, target: ahead.append(output) or output.sum(),
        (tg.eye(3), None),
        points=2,
        generator=tg.Generator().manual_seed(0),
    )
    assert len(ahead) == 3
    from tapegrad.nn.landscapes import _like_filters

    params = dict(model.named_parameters())
    found = _like_filters(params, None)
    for name in ("0.weight", "1.weight"):
        np.testing.assert_allclose(
            (found[name].detach() ** 2).sum(1).numpy(),
            (params[name].detach() ** 2).sum(1).numpy(),
            rtol=1e-5,
        )
    assert (found["0.bias"] == 0).all()
    with pytest.raises(ValueError, match=r"names \['bias'\]; the model has \['weight'\]"):
        nn.loss_landscape(*quadratic()[:1], "mse", quadratic()[1], directions=[{"bias": 1}])
    with pytest.raises(ValueError, match="must be 1 or 2, not 3"):
        nn.loss_landscape(*quadratic()[:1], "mse", quadratic()[1], directions=3)


def test_the_range_test_finds_where_the_loss_blows_up():
    model, data = quadratic()
    found = nn.lr_range_test(model, "mse", [data], min_lr=1e-4, max_lr=1e3, steps=80)
    # the curvature is 1: rates up to 2 converge, beyond it diverges
    assert 0.01 < found.suggestion < 2.0 < found.rates[-1] < 1e3
    assert found.losses[-1] > 4 * min(found.losses)
    assert found.rates[1] / found.rates[0] == pytest.approx(1e7 ** (1 / 79))
    assert model.weight.tolist() == [[1.0, -1.0]]
    with pytest.raises(ValueError, match="min_lr < max_lr"):
        nn.lr_range_test(model, "mse", [data], min_lr=1.0, max_lr=0.5)
    with pytest.raises(ValueError, match="have no batch"):
        nn.lr_range_test(model, "mse", iter([data]))
    pytest.importorskip("matplotlib").use("Agg")
    assert found.plot().axes and nn.loss_landscape(model, "mse", data).plot().axes
