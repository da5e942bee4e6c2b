"""Several losses as one, and penalties: against formulas written out in NumPy, Keras's and
scikit-learn's numbers, and what each is said to achieve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses

PEERS = json.loads((Path(__file__).parent / "data" / "penalties.json").read_text())


def double(*values, grad=False):
    return tg.tensor(values, dtype="float64", requires_grad=grad)


def number(value, grad=False):
    return tg.tensor(value, dtype="float64", requires_grad=grad)


# -- weighted sum -----------------------------------------------------------------------------
WAYS = {
    "list": [number(2.0), number(-3.0)],
    "tuple": (number(2.0), number(-3.0)),
    "dict": {"a": number(2.0), "b": number(-3.0)},
    "tensor": double(2.0, -3.0),
}


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("weights", [[0.5, 4], [number(0.5), 4.0], double(0.5, 4.0)])
def test_weighted_sum_takes_losses_and_weights_in_any_form(ways, weights):
    assert losses.weighted_sum(ways, weights).item() == -11.0


def test_weights_of_a_dict_go_by_name():
    found = losses.weighted_sum(WAYS["dict"], {"b": 4.0, "a": 0.5})
    assert found.item() == -11.0


def test_weighted_sum_by_losses_and_weights():
    first, second, weight = number(2.0, True), number(-3.0, True), number(0.1, True)
    total = losses.weighted_sum([first, second], [1.5, weight])
    assert [g.item() for g in tg.grad(total, [first, second, weight])] == [1.5, 0.1, -3.0]


def test_weighted_sum_of_elements():
    values = [double(1.0, 2.0), double(10.0, 20.0)]
    assert losses.weighted_sum(values, [2.0, 0.5]).tolist() == [7.0, 14.0]


def test_weights_keep_their_precision():
    assert losses.weighted_sum([number(1.0)], [0.1]).item() == 0.1
    single = losses.weighted_sum([tg.tensor(1.0), tg.tensor(2.0)], [0.1, 0.2])
    assert single.dtype == np.float32


@pytest.mark.parametrize(
    "terms, weights, error, says",
    [
        ([], [], ValueError, "empty"),
        ({}, {}, ValueError, "empty"),
        ([number(1.0)], [1.0, 2.0], ValueError, r"\(1\) losses but \(2\) weights"),
        ({"a": number(1.0)}, {"b": 1.0}, ValueError, r"\['a'\] but weights is of \['b'\]"),
        ([number(1.0)], {"a": 1.0}, TypeError, "losses must be one with the same names"),
        ([1.0], [1.0], TypeError, r"losses\[0\] must be a tensor"),
        ([number(1.0), tg.tensor(2)], [1.0, 1.0], TypeError, r"losses\[1\] must be floating"),
        ([number(1.0), double(1.0)], [1.0, 1.0], ValueError, r"losses\[1\] has shape \(1,\)"),
        ([number(1.0)], [double(1.0, 2.0)], ValueError, r"weights\[0\] must be one number.*\(2,\)"),
        (
            [number(1.0)],
            ["a"],
            TypeError,
            r"weights\[0\] must be a number or a tensor, not str 'a'",
        ),
        (double(1.0, 2.0).reshape(2, 1), [1.0, 1.0], ValueError, r"\(tasks,\), not \(2, 1\)"),
    ],
)
def test_what_weighted_sum_refuses(terms, weights, error, says):
    with pytest.raises(error, match=says):
        losses.weighted_sum(terms, weights)


def test_a_weighted_sum_of_any_callables():
    weight = number(0.5, grad=True)
    loss = losses.WeightedSum(
        {
            "name": "huber",
            "function": (losses.l1_loss, 2.0),
            "instance": (losses.MSELoss(reduction="sum"), weight),
            "own": (lambda input, target: (input * target).sum(), 0.0),
        }
    )
    input, target = double(1.0, 3.0, grad=True), double(0.0, 1.0)
    assert {name: part.item() for name, part in loss.terms(input, target).items()} == {
        "name": 1.0,
        "function": 1.5,
        "instance": 5.0,
        "own": 3.0,
    }
    total = loss(input, target)
    assert total.item() == 6.5
    assert tg.grad(total, weight)[0].item() == 5.0
    away = double(0.7, 3.0)  # from the kinks
    assert tg.check_grads(lambda x, w: _with(loss, w)(x, target), (away, weight), order=2)
    assert loss.weights["name"] == 1.0
    assert "'instance': (MSELoss(reduction='sum'), tensor(0.5000" in repr(loss)


def _with(loss, weight):
    pairs = {name: (term, loss.weights[name]) for name, term in loss.losses.items()}
    return losses.WeightedSum({**pairs, "instance": (loss.losses["instance"], weight)})


def test_a_weighted_sum_given_as_a_list():
    loss = losses.WeightedSum(["mse", (losses.L1Loss(), 0.5)])
    assert repr(loss) == "WeightedSum([(MSELoss(), 1.0), (L1Loss(), 0.5)])"
    input, target = double(1.0, 3.0), double(0.0, 0.0)
    assert [part.item() for part in loss.terms(input, target)] == [5.0, 2.0]
    assert loss(input, target).item() == 6.0
    nested = losses.WeightedSum([(loss, 2.0), "mae"])
    assert nested(input, target).item() == 14.0
    assert losses.get(loss) is loss


def test_what_a_weighted_sum_class_refuses():
    with pytest.raises(ValueError, match="no terms"):
        losses.WeightedSum([])
    for terms in ("mse", None, losses.mse_loss):
        with pytest.raises(TypeError, match="terms must be a list or a dict of losses"):
            losses.WeightedSum(terms)
    with pytest.raises(ValueError, match=r"term 'a' must be \(loss, weight\)"):
        losses.WeightedSum({"a": ("mse", 1.0, 2.0)})
    with pytest.raises(ValueError, match="no loss is called"):
        losses.WeightedSum({"a": "meen squared"})
    mixed = losses.WeightedSum(["mse", losses.MSELoss(reduction="none")])
    with pytest.raises(ValueError, match="reduce them alike"):
        mixed(double(1.0, 2.0), double(0.0, 0.0))


# -- uncertainty ------------------------------------------------------------------------------
def test_uncertainty_weighting_is_its_formula():
    values, s = np.array([0.3, 2.0, 5.0]), np.array([-1.0, 0.5, 2.0])
    tasks = ["regression", "classification", "regression"]
    expected = (np.array([0.5, 1.0, 0.5]) * np.exp(-s) * values + s / 2).sum()
    given = double(*values), double(*s)
    assert losses.uncertainty_weighting(*given, tasks).item() == pytest.approx(expected, rel=1e-14)
    named = [dict(zip("abc", x)) for x in (given[0], given[1], tasks)]
    named[1] = {name: named[1][name] for name in "cab"}  # by name, in whatever order
    assert losses.uncertainty_weighting(*named).item() == pytest.approx(expected, rel=1e-14)
    assert tg.check_grads(lambda x, v: losses.uncertainty_weighting(x, v, tasks), given, order=2)


@pytest.mark.parametrize("task, factor", [("regression", 1.0), ("classification", 2.0)])
def test_the_best_log_variance_of_a_loss_that_stands_still(task, factor):
    loss = double(0.2, 3.0)
    s = (factor * loss).log().requires_grad_()
    (slope,) = tg.grad(losses.uncertainty_weighting(loss, s, task), s)
    np.testing.assert_allclose(slope.numpy(), 0.0, atol=1e-15)


def test_a_regression_by_uncertainty_is_gaussian_likelihood():
    rng = np.random.default_rng(0)
    input, target = tg.tensor(rng.normal(size=20)), tg.tensor(rng.normal(size=20))
    s = number(0.7)
    likelihood = losses.gaussian_nll_loss(input, target, tg.exp(s).expand(20))
    found = losses.uncertainty_weighting([losses.mse_loss(input, target)], [s])
    assert found.item() == pytest.approx(likelihood.item(), rel=1e-12)


def test_noise_of_tasks_is_learned_with_the_model():
    """Two outputs of one model, one with four times the other's noise: their variances come out,
    and so do the weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x @ rng.normal(size=(3, 2)) + rng.normal(size=(400, 2)) * [0.5, 2.0]
    x, y = tg.tensor(x), tg.tensor(y)
    w = tg.zeros(3, 2, dtype="float64", requires_grad=True)
    weighting = losses.UncertaintyWeighting(2)
    optimizer = tg.optim.Adam([w, *weighting.parameters()], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        output = x @ w
        weighting([losses.mse_loss(output[:, i], y[:, i]) for i in range(2)]).backward()
        optimizer.step()
    sigma = np.exp(0.5 * weighting.log_variances.detach().numpy())
    np.testing.assert_allclose(sigma, [0.5, 2.0], rtol=0.1)


def test_uncertainty_weighting_keeps_what_it_is_given():
    assert repr(losses.UncertaintyWeighting(2)) == (
        "UncertaintyWeighting(tensor([0., 0.], requires_grad=True))"
    )
    s = {"box": number(0.0, True), "label": number(1.0, True)}
    weighting = losses.UncertaintyWeighting(s, {"label": "classification", "box": "regression"})
    assert weighting.parameters() == list(s.values())
    found = weighting({"label": number(2.0), "box": number(4.0)})
    assert found.item() == pytest.approx(2.0 + 2.0 * np.exp(-1.0) + 0.5)
    assert "tasks={'label'" in repr(weighting)


def test_what_uncertainty_weighting_refuses():
    two, three = double(1.0, 2.0), double(0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"\(2\) losses but \(3\) log_variances"):
        losses.uncertainty_weighting(two, three)
    with pytest.raises(ValueError, match=r"\(2\) losses but \(3\) tasks"):
        losses.uncertainty_weighting(two, two, ["regression"] * 3)
    with pytest.raises(ValueError, match="not 'clustering'"):
        losses.uncertainty_weighting(two, two, "clustering")
    with pytest.raises(ValueError, match=r"losses\[1\] must be one number, but has shape \(2,\)"):
        losses.uncertainty_weighting([two[0], two], two)
    with pytest.raises(TypeError, match=r"tasks must be .* not None"):
        losses.uncertainty_weighting(two, two, None)
    with pytest.raises(ValueError, match="at least"):
        losses.UncertaintyWeighting(0)
    with pytest.raises(TypeError, match=r"log_variances must be a tensor or an array, not float"):
        losses.UncertaintyWeighting(2.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_of_zero_however_sure(dtype):
    """exp(-s) beyond all numbers times a loss of exactly 0 is 0."""
    loss = tg.tensor([0.0, 1.0], dtype=dtype)
    s = tg.tensor([-2000.0, 1e4], dtype=dtype, requires_grad=True)
    total = losses.uncertainty_weighting(loss, s)
    assert total.item() == 4000.0
    (slope,) = tg.grad(total, s, create_graph=True)
    assert slope.tolist() == [0.5, 0.5]
    assert tg.grad(slope.sum(), s)[0].tolist() == [0.0, 0.0]


# -- GradNorm ---------------------------------------------------------------------------------
DIRECTIONS = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]])
START = np.array([30.0, 10.0, 20.0])


def tasks(shared):
    """Three losses of two shared parameters: a straight slope, and a parabola."""
    slope, curve = shared * tg.tensor(DIRECTIONS[0]), shared * shared
    return [slope.sum() + 10.0, curve[0] + 1.0, 4.0 * curve[1]]


def by_hand(weights, alpha, shared=(1.0, -0.5)):
    """GradNorm's loss and gradient by the weights, written out."""
    a, b = shared
    norms = np.array([5.0, abs(2 * a), abs(8 * b)])
    values = np.array([3 * a + 4 * b + 10.0, a * a + 1.0, 4 * b * b])
    progress = values / START
    target = (weights * norms).mean() * (progress / progress.mean()) ** alpha
    apart = weights * norms - target
    return np.abs(apart).sum(), np.sign(apart) * norms


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
def test_gradnorm_is_its_formula_and_its_gradient_goes_to_the_weights(alpha):
    shared, weights = double(1.0, -0.5, grad=True), double(0.5, 2.0, 1.0, grad=True)
    loss = losses.gradnorm_loss(tasks(shared), double(*START), weights, shared, alpha=alpha)
    value, gradient = by_hand(weights.detach().numpy(), alpha)
    assert loss.item() == pytest.approx(value, rel=1e-12)
    loss.backward()
    # The target is held constant: each weight's gradient is plus or minus its task's norm.
    np.testing.assert_allclose(weights.grad.numpy(), gradient, rtol=1e-12)
    assert shared.grad is None


def test_gradnorm_by_alpha_and_through_the_model():
    shared, weights = double(1.0, -0.5, grad=True), double(0.5, 2.0, 1.0)

    def loss(alpha, create_graph=False):
        return losses.gradnorm_loss(
            tasks(shared), double(*START), weights, [shared], alpha, create_graph
        )

    alpha = number(1.2, grad=True)
    h = 1e-6
    (slope,) = tg.grad(loss(alpha), alpha)
    high, low = (by_hand(weights.numpy(), 1.2 + d)[0] for d in (h, -h))
    assert slope.item() == pytest.approx((high - low) / (2 * h), rel=1e-6)
    # d norms / d shared = [0, 2·sign(a)] and [8·sign(b)], each times weight and side of target
    _, gradient = by_hand(weights.numpy(), 1.2)
    side = np.sign(gradient) * weights.numpy()
    (by_model,) = tg.grad(loss(alpha, create_graph=True), shared)
    np.testing.assert_allclose(by_model.numpy(), [2 * side[1], -8 * side[2]], rtol=1e-12)


def test_gradnorm_leaves_the_tape_for_the_model():
    shared = double(1.0, -0.5, grad=True)
    found = tasks(shared)
    losses.gradnorm_loss(found, double(*START), double(1.0, 1.0, 1.0), shared)
    losses.weighted_sum(found, [1.0, 1.0, 1.0]).backward()
    assert shared.grad is not None


def test_gradnorm_balances_tasks_of_different_scale():
    """One task's loss is a hundred times the other's. With α = 0 the weights come to make the
    norms of their gradients equal, and they add up to the number of tasks."""
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.normal(size=(50, 4)))
    targets = [x @ tg.tensor(rng.normal(size=4)) for _ in range(2)]
    shared = tg.tensor(rng.normal(size=4), requires_grad=True)
    weights = double(1.0, 1.0, grad=True)
    optimizer = tg.optim.Adam([weights], lr=0.02)

    def both():
        output = x @ shared
        return [
            scale * losses.mse_loss(output, target) for scale, target in zip((1.0, 100.0), targets)
        ]

    start = tg.stack(both()).detach()
    for _ in range(200):
        optimizer.zero_grad()
        losses.gradnorm_loss(both(), start, weights, shared, alpha=0.0).backward()
        optimizer.step()
        with tg.no_grad():
            weights.copy_(losses.renormalize_weights(weights))
    norms = [
        tg.linalg.norm(tg.grad(weight * loss, shared, retain_graph=True)[0]).item()
        for weight, loss in zip(weights, both())
    ]
    assert norms[0] == pytest.approx(norms[1], rel=0.3)
    assert weights.sum().item() == pytest.approx(2.0)


def test_gradnorm_where_a_task_stands_still():
    """A zero gradient is a norm of 0, with no NaN in any derivative."""
    shared, weights = double(0.0, 1.0, grad=True), double(1.0, 1.0, 1.0, grad=True)
    for create_graph in (False, True):
        loss = losses.gradnorm_loss(
            tasks(shared), double(*START), weights, shared, create_graph=create_graph
        )
        gradients = tg.grad(loss, [weights, shared], allow_unused=True)
        for gradient in gradients:
            assert gradient is None or np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_gradnorm_of_gradients_whose_squares_are_out_of_range(scale):
    """In single precision; the norms are 3, 4 and 5 by scale."""
    shared, weights = tg.zeros(2, requires_grad=True), tg.ones(2, requires_grad=True)
    slopes = tg.tensor([[3.0, 4.0], [0.0, 1.0]]) * scale
    found = [(shared * slope).sum() + 1.0 for slope in slopes]
    loss = losses.gradnorm_loss(found, tg.ones(2), weights, shared, alpha=0.0)
    assert loss.item() == pytest.approx(4.0 * scale)
    np.testing.assert_allclose(tg.grad(loss, weights)[0].numpy(), [5 * scale, -scale], rtol=1e-6)


def test_what_gradnorm_refuses():
    shared, other = double(1.0, -0.5, grad=True), double(1.0, grad=True)
    found, start, weights = tasks(shared), double(*START), double(1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"losses\[0\] does not depend on any of the parameters"):
        losses.gradnorm_loss(found, start, weights, other)
    with pytest.raises(ValueError, match=r"initial_losses must be positive, but entry \[1\] is 0"):
        losses.gradnorm_loss(found, double(1.0, 0.0, 1.0), weights, shared)
    with pytest.raises(ValueError, match=r"\(3\) losses but \(2\) weights"):
        losses.gradnorm_loss(found, start, double(1.0, 1.0), shared)
    with pytest.raises(ValueError, match="the parameters are empty"):
        losses.gradnorm_loss(found, start, weights, [])
    with pytest.raises(ValueError, match=r"losses must not be negative, but entry \[1\] is -2"):
        losses.gradnorm_loss([found[0], -found[1], found[2]], start, weights, shared)
    with pytest.raises(ValueError, match=r"alpha must be one number, but it has shape \(3,\)"):
        losses.gradnorm_loss(found, start, weights, shared, alpha=start)
    with pytest.raises(TypeError, match=r"initial_losses\[0\] must be a tensor"):
        losses.gradnorm_loss(found, [1.0, 1.0, 1.0], weights, shared)


def test_renormalized_weights():
    weights = double(3.0, 1.0, 4.0, grad=True)
    assert losses.renormalize_weights(weights).tolist() == [9 / 8, 3 / 8, 12 / 8]
    assert losses.renormalize_weights(weights, total=1.0).sum().item() == 1.0
    assert tg.check_grads(losses.renormalize_weights, (weights,), order=2)
    with pytest.raises(ValueError, match="empty"):
        losses.renormalize_weights(tg.zeros(0))
    with pytest.raises(ValueError, match="weights add up to 0"):
        losses.renormalize_weights(double(1.0, -1.0))
    with pytest.raises(TypeError, match="total must be a number or a tensor, not str"):
        losses.renormalize_weights(weights, total="1")


# -- dynamic weight average -------------------------------------------------------------------
def test_dynamic_weight_average_is_its_formula():
    now, before, temperature = np.array([0.5, 2.0, 1.0]), np.array([1.0, 2.5, 0.8]), 2.0
    powers = np.exp(now / before / temperature)
    expected = 3 * powers / powers.sum()
    found = losses.dynamic_weight_average(double(*now), double(*before))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)
    named = ({"a": x[0], "b": x[1], "c": x[2]} for x in (double(*now), double(*before)))
    np.testing.assert_allclose(losses.dynamic_weight_average(*named).numpy(), expected)


def test_dynamic_weights_add_up_and_are_one_for_equal_progress():
    now, before = double(0.5, 5.0, 0.01), double(1.0, 10.0, 0.02)
    np.testing.assert_allclose(losses.dynamic_weight_average(now, before).numpy(), 1.0)
    found = losses.dynamic_weight_average(now, double(1.0, 1.0, 1.0))
    assert found.sum().item() == pytest.approx(3.0)
    assert found.argmax() == 1
    flat = losses.dynamic_weight_average(now, double(1.0, 1.0, 1.0), temperature=1e6)
    np.testing.assert_allclose(flat.numpy(), 1.0, atol=1e-5)
    extreme = losses.dynamic_weight_average(double(1e4, 1.0), double(1.0, 1.0))
    assert extreme.tolist() == [2.0, 0.0]  # a loss that exploded: no overflow


def test_what_dynamic_weight_average_refuses():
    one = double(1.0, 1.0)
    with pytest.raises(ValueError, match=r"previous_losses must be positive, but entry \[1\]"):
        losses.dynamic_weight_average(one, double(1.0, 0.0))
    with pytest.raises(ValueError, match="temperature must be positive"):
        losses.dynamic_weight_average(one, one, temperature=0.0)
    with pytest.raises(ValueError, match=r"temperature must be one number, .* \(2,\)"):
        losses.dynamic_weight_average(one, one, temperature=one)
    with pytest.raises(TypeError, match="tensor"):
        losses.dynamic_weight_average([0.5, 1.0], one)


# -- penalties --------------------------------------------------------------------------------
def test_penalties_are_keras_regularizers():
    w = tg.tensor(np.array(PEERS["parameters"]))
    weight = PEERS["weight"]
    assert losses.l1_penalty(w, weight).item() == pytest.approx(PEERS["l1"], rel=1e-14)
    assert losses.l2_penalty(w, weight).item() == pytest.approx(PEERS["l2"], rel=1e-14)
    # Keras's default of 0.01 has passed through float32
    assert losses.l1_penalty(w).item() == pytest.approx(PEERS["l1 default"], rel=1e-7)
    assert losses.l2_penalty(w).item() == pytest.approx(PEERS["l2 default"], rel=1e-7)


def test_elastic_net_is_at_its_minimum_where_scikit_learn_says():
    case = {k: np.array(v) for k, v in PEERS["elastic net"].items()}
    alpha, ratio = case["alpha"].item(), case["l1_ratio"].item()
    x, y, w = (tg.tensor(case[k]) for k in ("x", "y", "w"))
    w.requires_grad_()
    loss = 0.5 * losses.mse_loss(x @ w, y) + losses.elastic_net_penalty(w, alpha, ratio)
    (slope,) = tg.grad(loss, w)
    used = case["w"] != 0.0
    assert used.tolist() == [True] * 3 + [False] * 3
    np.testing.assert_allclose(slope.numpy()[used], 0.0, atol=1e-10)
    # where w is 0, the slope of the rest is within the kink of the L1 part
    assert (np.abs(slope.numpy()[~used]) < alpha * ratio).all()


def test_elastic_net_between_ridge_and_lasso():
    w = double(1.0, -2.0, 0.5)
    for alpha in (0.1, 3.0):
        lasso = losses.elastic_net_penalty(w, alpha, l1_ratio=1.0)
        ridge = losses.elastic_net_penalty(w, alpha, l1_ratio=0.0)
        assert lasso.item() == pytest.approx(losses.l1_penalty(w, alpha).item())
        assert ridge.item() == pytest.approx(losses.l2_penalty(w, alpha / 2).item())
    assert losses.elastic_net_penalty(w).item() == pytest.approx(0.5 * 3.5 + 0.25 * 5.25)


def test_l2_penalty_is_weight_decay_of_twice_its_weight():
    w, v = (double(1.0, -2.0, grad=True) for _ in range(2))
    decayed = tg.optim.SGD([w], lr=0.1, weight_decay=0.6)
    plain = tg.optim.SGD([v], lr=0.1)
    (w.sum() ** 2).backward()
    (v.sum() ** 2 + losses.l2_penalty(v, 0.3)).backward()
    decayed.step()
    plain.step()
    np.testing.assert_allclose(v.detach().numpy(), w.detach().numpy(), rtol=1e-14)


@pytest.mark.parametrize("penalty", [losses.l1_penalty, losses.l2_penalty])
def test_parameters_in_any_form(penalty):
    model = tg.nn.Sequential(tg.nn.Linear(3, 2), tg.nn.Linear(2, 1))
    whole = tg.cat([p.reshape(-1) for p in model.parameters()])
    expected = penalty(whole, 0.5).item()
    forms = [
        model,
        model.parameters(),
        list(model.parameters()),
        dict(model.named_parameters()),
        model.named_parameters(),
        [p.detach().numpy() for p in model.parameters()],
    ]
    for form in forms:
        assert penalty(form, 0.5).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "penalty", [losses.l1_penalty, losses.l2_penalty, losses.elastic_net_penalty]
)
def test_what_penalties_refuse(penalty):
    used_up = tg.nn.Linear(2, 1).parameters()
    list(used_up)
    for nothing in ([], {}, used_up, [tg.zeros(0)]):
        with pytest.raises(ValueError, match="the parameters are empty"):
            penalty(nothing)
    with pytest.raises(TypeError, match=r"parameters\[1\] must be a tensor"):
        penalty([double(1.0), 2.0])
    with pytest.raises(TypeError, match=r"parameters\[0\] must be floating"):
        penalty(tg.tensor([1, 2]))
    with pytest.raises(TypeError, match="parameters must be"):
        penalty(3.0)


@pytest.mark.parametrize(
    "penalty, setting",
    [
        (losses.l1_penalty, "weight"),
        (losses.l2_penalty, "weight"),
        (losses.elastic_net_penalty, "alpha"),
        (losses.elastic_net_penalty, "l1_ratio"),
    ],
)
def test_settings_of_penalties_are_numbers(penalty, setting):
    w = double(1.0, 2.0)
    with pytest.raises(ValueError, match=rf"{setting} must be one number, .* \(2,\)"):
        penalty(w, **{setting: double(0.1, 0.2)})
    for wrong in ("a", None):
        with pytest.raises(TypeError, match=f"{setting} must be a number or a tensor"):
            penalty(w, **{setting: wrong})


def test_the_ratio_of_an_elastic_net_is_checked():
    for ratio in (-0.1, 1.1, number(1.1)):
        with pytest.raises(ValueError, match=r"l1_ratio must be in \[0, 1\]"):
            losses.elastic_net_penalty(double(1.0), l1_ratio=ratio)


def test_penalties_at_zero():
    w = double(0.0, 0.0, grad=True)
    assert tg.grad(losses.elastic_net_penalty(w), w)[0].tolist() == [0.0, 0.0]


def test_l1_beside_the_squared_error_leaves_few_weights():
    """The reason for the combination: three of ten inputs matter, and training finds which."""
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.normal(size=(60, 10)))
    y = x[:, :3] @ double(2.0, -1.5, 1.0) + tg.tensor(0.5 * rng.normal(size=60))
    kept = {}
    for weight in (0.0, 0.3):
        w = tg.zeros(10, dtype="float64", requires_grad=True)
        optimizer = tg.optim.SGD([w], lr=lambda step: 0.1 * 0.98**step)
        for _ in range(300):
            optimizer.zero_grad()
            (losses.mse_loss(x @ w, y) + losses.l1_penalty(w, weight)).backward()
            optimizer.step()
        kept[weight] = np.abs(w.detach().numpy()) > 0.02
    assert kept[0.3][:3].all()
    assert kept[0.3].sum() <= 4 < kept[0.0].sum()
