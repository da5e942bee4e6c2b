"""Diagnosis: sick networks get the right verdict, and each remedy a clean one."""

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
    # outputs 2 and 6; the mean of 4 and 36 is 20; dL/dy = y; dL/dw = 2 + 18 = 20
    assert layer.size == pytest.approx(20.0**0.5) and layer.spread == pytest.approx(2.0)
    assert layer.gradient == pytest.approx(20.0**0.5)
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


def test_refusals():
    data = batch()
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
