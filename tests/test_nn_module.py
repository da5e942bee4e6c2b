"""Modules: small programs give what they give in PyTorch, and what is asked beyond that."""

from __future__ import annotations

import builtins
import copy
import json
import pickle
import re
import weakref
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn

STORED = json.loads((Path(__file__).parent / "data" / "modules.json").read_text(encoding="utf-8"))


def library():
    """Names for a program, with tapegrad in torch's place."""
    names = {"torch": tg, "nn": nn, "copy": copy, "pickle": pickle, "OrderedDict": OrderedDict}
    exec(STORED["prelude"], names)
    names["__name__"] = __name__
    return names


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


@pytest.mark.parametrize("name", STORED["programs"])
def test_as_in_torch(name):
    stored, names = STORED["programs"][name], library()
    exec(stored["text"], names)
    if "error" in stored:
        with pytest.raises(getattr(builtins, stored["error"])) as caught:
            names[name]()
        assert str(caught.value)
    else:
        assert plain(names[name]()) == stored["result"]


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.scale = nn.Parameter(tg.ones(size))
        self.register_buffer("mean", tg.zeros(size))
        self.register_buffer("seen", tg.tensor(0), persistent=False)


def test_attribute_errors_say_what_exists():
    layer = nn.Linear(2, 2)
    with pytest.raises(
        AttributeError, match=r"'Linear' object has no attribute 'wieght'.*'weight'"
    ):
        _ = layer.wieght
    with pytest.raises(AttributeError, match="it has 'scale', 'mean', 'seen'"):
        _ = Norm(1).qqqq
    with pytest.raises(AttributeError, match="'in_features'"):
        _ = layer.in_feature
    with pytest.raises(AttributeError, match="'weight'"):
        nn.Sequential(layer).get_parameter("0.weigth")
    with pytest.raises(AttributeError, match="it has '0'"):
        nn.Sequential(layer).get_submodule("7")

    class Forgot(nn.Module):
        def __init__(self):
            self.size = 1

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) was not called"):
        _ = Forgot().layer


def test_an_attribute_error_is_described_only_when_shown(monkeypatch):
    def looked_up(*given):
        raise AssertionError("names were looked for")

    layer = nn.Linear(2, 2)
    monkeypatch.setattr("difflib.get_close_matches", looked_up)
    assert not hasattr(layer, "wieght")
    assert getattr(layer, "wieght", 5) == 5


def test_an_attribute_error_can_be_pickled():
    with pytest.raises(AttributeError) as caught:
        _ = nn.Linear(2, 2).wieght
    assert "weight" in str(pickle.loads(pickle.dumps(caught.value)))


def test_a_property_that_fails_inside_says_so():
    class Broken(nn.Module):
        @property
        def size(self):
            return self.absent

    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = Broken().size


def test_a_tensor_in_the_place_of_a_parameter_is_refused_with_what_to_do():
    layer = nn.Linear(1, 1)
    with pytest.raises(TypeError, match=r"Parameter\(.*copy_.*functional_call"):
        layer.weight = tg.zeros(1, 1)
    with pytest.raises(TypeError, match=r"Tanh.*a class; make one"):
        nn.Sequential(nn.Tanh)


def test_a_cast_goes_through_everything_and_keeps_identity():
    model = nn.Sequential(nn.Linear(2, 3), Norm(3))
    weight = model[0].weight
    model[0](tg.ones(1, 2)).sum().backward()
    grad = weight.grad
    assert model.double() is model
    assert model[0].weight is weight and weight.grad is grad
    assert weight.dtype == grad.dtype == tg.float64
    assert model[1].mean.dtype == tg.float64 and model[1].seen.dtype == tg.int64
    model[0](tg.ones(1, 2, dtype="float64")).sum().backward()
    assert weight.grad.tolist() == [[2.0, 2.0]] * 3
    assert model.to("cpu") is model
    assert weight.is_leaf and weight.requires_grad
    assert model.requires_grad_(False).half()[0].weight.requires_grad is False


@pytest.mark.parametrize("make", [tg.optim.SGD, tg.optim.Adam, tg.optim.RMSprop])
def test_an_optimizer_goes_on_after_a_cast(make):
    layer = nn.Linear(2, 1)
    optimizer = make(layer.parameters(), lr=0.01)
    for dtype in ("float32", "float32", "float64", "float64", "float32"):
        layer.to(dtype)
        optimizer.zero_grad()
        before = layer.weight.detach().clone()
        layer(tg.ones(1, 2, dtype=dtype)).sum().backward()
        optimizer.step()
        assert layer.weight.dtype == before.dtype == tg.as_dtype(dtype)
        assert bool((layer.weight != before).all())


def test_a_parameter_on_the_tape_is_not_cast():
    layer = nn.Linear(2, 1)
    optimizer = tg.optim.SGD(layer.parameters(), lr=0.1, differentiable=True)
    layer(tg.ones(1, 2)).sum().backward(create_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"'weight'.*differentiable optimizer"):
        layer.double()


def test_a_dtype_that_is_refused_changes_nothing():
    layer = nn.Linear(2, 1)
    for wrong in (tg.int64, "nothing", "cuda"):
        with pytest.raises((TypeError, RuntimeError)):
            layer.to(wrong)
    assert layer.weight.dtype == tg.float32


def test_a_state_is_a_snapshot():
    layer = nn.Linear(2, 1)
    state, alive = layer.state_dict(), layer.state_dict(keep_vars=True)
    before = layer.weight.tolist()
    with tg.no_grad():
        layer.weight += 1.0
    assert state["weight"].tolist() == before
    assert type(state["weight"]) is tg.Tensor and not state["weight"].requires_grad
    assert alive["weight"] is layer.weight


class Foreign:
    """As other libraries' tensors: an array by protocol."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_states_of_arrays_and_of_what_gives_arrays():
    layer = nn.Linear(2, 1)
    weights = {"weight": np.array([[1.5, 2.5]]), "bias": Foreign([3.5])}
    assert layer.load_state_dict(weights) == ([], [])
    assert (layer.weight.tolist(), layer.bias.tolist()) == ([[1.5, 2.5]], [3.5])
    assert layer.weight.dtype == tg.float32


def test_a_state_through_a_file(tmp_path):
    model, other = (nn.Sequential(nn.Linear(2, 3), Norm(3)) for _ in range(2))
    model.append(model[0])  # a shared layer is stored under each of its names
    other.append(other[0])
    path = tg.save(model.state_dict(), tmp_path / "model.safetensors")
    state = tg.load(path)
    assert set(state) == set(model.state_dict()) and "2.weight" in state
    other.load_state_dict(state)
    for a, b in zip(model.state_dict().values(), other.state_dict().values()):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    "state, said",
    [
        ({"0.weight": np.ones((1, 2))}, r'Missing key\(s\).*"0.bias"'),
        ({"0.weight": np.ones((1, 2)), "0.bias": np.ones(3)}, r"size mismatch for 0.bias.*\(3,\)"),
        ({"0.weight": np.ones((1, 2)), "0.bias": "text"}, '"0.bias".*received str'),
        ({"0.weight": np.ones((1, 2)), "0.bias": np.array(["a"])}, '"0.bias".*an exception'),
        (
            {"0.wieght": np.ones((1, 2)), "0.bias": np.ones(1)},
            r"(?s)Unexpected key\(s\).*\"0.wieght\". Near '0.wieght' is '0.weight'",
        ),
        (
            {"module.0.weight": np.ones((1, 2)), "module.0.bias": np.ones(1)},
            r"(?s)They are the missing ones after 'module.': load .*removeprefix\('module.'\)",
        ),
        (
            {"0.weight": np.ones((1, 2)), "0.bias": np.ones(1), "zzz": np.ones(1)},
            "The module's: '0.weight', '0.bias'",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(state, said):
    model = nn.Sequential(nn.Linear(2, 1))
    before = model.state_dict()
    with pytest.raises(RuntimeError, match=said):
        model.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())


def test_a_hook_that_refuses_what_is_loaded_leaves_the_module_as_it_was():
    layer = nn.Linear(1, 1)
    before, weight = layer.weight.tolist(), layer.weight

    def refuse(module, keys):
        assert module.weight.tolist() == [[9.0]]  # it is loaded when the hook is called
        keys.missing_keys.append("something")

    layer.register_load_state_dict_post_hook(refuse)
    state = {"weight": tg.tensor([[9.0]]), "bias": tg.zeros(1)}
    for assign in (False, True):
        with pytest.raises(RuntimeError, match="something"):
            layer.load_state_dict(state, assign=assign)
        assert layer.weight is weight and weight.tolist() == before


def test_hooks_of_the_state_that_return_something_are_refused():
    layer = nn.Linear(1, 1)
    with (
        layer.register_state_dict_post_hook(lambda *given: {}),
        pytest.raises(RuntimeError, match="must return None"),
    ):
        layer.state_dict()
    with (
        layer.register_load_state_dict_post_hook(lambda *given: 3),
        pytest.raises(RuntimeError, match="must return None"),
    ):
        layer.load_state_dict(layer.state_dict())
    assert layer.load_state_dict(layer.state_dict()) == ([], [])


def test_a_frozen_parameter_stays_frozen_when_loaded():
    layer = nn.Linear(1, 1).requires_grad_(False)
    layer.load_state_dict({"weight": tg.ones(1, 1), "bias": tg.ones(1)})
    assert not layer.weight.requires_grad


def test_a_hook_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="a hook is a function, not int"):
        nn.Tanh().register_forward_hook(3)


def test_handles_of_hooks_are_copied_with_their_module():
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []
            self.handle = self.register_forward_hook(Watched.note)

        def note(self, args, output):
            self.seen.append(output)

        def forward(self, x):
            return x

    first = Watched()
    second = copy.deepcopy(first)
    second(1)
    assert (first.seen, second.seen) == ([], [1])
    second.handle.remove()
    second(2)
    first(3)
    assert (first.seen, second.seen) == ([3], [1])


def test_a_hook_of_a_deleted_module_may_be_removed():
    module = nn.Tanh()
    handle = module.register_forward_hook(print)
    del module
    handle.remove()
    handle.remove()


def test_hooks_keep_no_module_alive():
    module = nn.Tanh()
    alive = weakref.ref(module)
    handle = module.register_forward_hook(lambda *given: None)
    x = tg.tensor(1.0, requires_grad=True)
    module(x).backward()
    del module
    assert alive() is None
    handle.remove()


def test_an_error_in_an_always_called_hook_warns():
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError("the first")

    def hook(module, args, output):
        raise KeyError("the second")

    module = Fails()
    module.register_forward_hook(hook, always_call=True)
    with pytest.raises(ValueError, match="the first"), pytest.warns(UserWarning, match="second"):
        module(1)


def test_backward_hooks_in_a_recorded_pass():
    """The gradients in hooks are on the tape: derivatives go through what hooks return."""
    module = nn.Tanh()
    module.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * inputs[0],))
    x = tg.tensor(0.3, dtype="float64", requires_grad=True)
    (first,) = tg.grad(module(x), x, create_graph=True)
    slope = 1.0 - np.tanh(0.3) ** 2
    assert first.item() == pytest.approx(slope**2)
    (second,) = tg.grad(first, x)
    assert second.item() == pytest.approx(2.0 * slope * (-2.0 * np.tanh(0.3) * slope))


def test_backward_hooks_of_some_inputs_only():
    seen = []

    class Product(nn.Module):
        def forward(self, x, y):
            return x * y

    module = Product()
    module.register_full_backward_hook(lambda module, inputs, outputs: seen.append(inputs))
    x, y = (tg.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    assert tg.grad(module(x, y), y)[0].item() == 2.0  # only the way to y is gone
    module(x, tg.tensor(7.0)).backward()
    assert x.grad.item() == 7.0
    assert seen[-1][0].item() == 7.0 and seen[-1][1] is None


def test_backward_hooks_warn_where_they_cannot_be_called():
    module = nn.Identity()
    module.register_full_backward_hook(lambda *given: None)
    with pytest.warns(UserWarning, match="must be a tensor or a tuple of tensors, not dict"):
        module({"x": tg.tensor(1.0, requires_grad=True)})


def test_a_named_tuple_through_backward_hooks_stays_one():
    Pair = namedtuple("Pair", "low high")

    class Split(nn.Module):
        def forward(self, x):
            return Pair(x - 1, x + 1)

    module = Split()
    module.register_full_backward_hook(lambda *given: None)
    out = module(tg.tensor(1.0, requires_grad=True))
    assert type(out) is Pair and out.high.item() == 2.0


def test_gradients_are_right_with_backward_hooks_that_change_nothing():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    for module in model.modules():
        module.register_full_backward_hook(lambda *given: None)
        module.register_full_backward_pre_hook(lambda *given: None)
    x = tg.randn(2, 3, dtype="float64", requires_grad=True)
    tg.check_grads(lambda x: model(x).sum(), x, order=2)


def test_parameters_and_buffers_are_pickled_and_copied():
    p = nn.Parameter(tg.tensor([1.0, 2.0]), requires_grad=False)
    p.name = "scale"
    for copied in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(copied) is nn.Parameter and copied.tolist() == [1.0, 2.0]
        assert not copied.requires_grad and copied.name == "scale"
    b = nn.Buffer(tg.ones(1), persistent=False)
    for copied in (copy.deepcopy(b), pickle.loads(pickle.dumps(b))):
        assert type(copied) is nn.Buffer and copied.persistent is False


def test_a_parameter_of_lists_arrays_and_scalars():
    assert nn.Parameter([1.0, 2.0]).dtype == tg.float32
    assert nn.Parameter(np.ones(2)).dtype == tg.float64
    assert nn.Parameter().shape == (0,)
    assert repr(nn.Parameter(tg.tensor(1.0))) == (
        "Parameter containing:\ntensor(1., requires_grad=True)"
    )


def test_gradients_of_zero_where_they_were_infinite():
    layer = nn.Linear(1, 1)
    layer.weight.grad = tg.tensor([[float("inf")]])
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0.0]] and layer.bias.grad is None


def test_vectors_of_parameters():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).double()
    vector = nn.utils.parameters_to_vector(model.parameters())
    (slope,) = tg.grad((vector * vector).sum() / 2, model[1].weight)
    np.testing.assert_array_equal(slope.numpy(), model[1].weight.detach().numpy())
    weight = model[0].weight
    nn.utils.vector_to_parameters(vector.detach() * 2, model.parameters())
    assert model[0].weight is weight and weight.is_leaf
    after = nn.utils.parameters_to_vector(model.parameters())
    parts = nn.utils.vector_to_tensors(vector, model.parameters())
    assert [part.shape for part in parts] == [p.shape for p in model.parameters()]
    assert all(part.requires_grad for part in parts)
    np.testing.assert_array_equal(after.detach().numpy(), 2 * vector.detach().numpy())
    with pytest.raises(ValueError, match=r"9 entries together, but the vector has shape \(8,\)"):
        nn.utils.vector_to_parameters(after[:8], model.parameters())
    with pytest.raises(ValueError, match="no parameters"):
        nn.utils.parameters_to_vector([])
    with pytest.raises(TypeError, match="expected a tensor"):
        nn.utils.vector_to_parameters([1.0] * 9, model.parameters())


def test_functional_call_is_differentiable_by_what_is_given_and_restores_by_an_error():
    model = nn.Sequential(nn.Linear(2, 2), Norm(2))
    model[1].forward = lambda x: (x - model[1].mean) * model[1].scale
    own = dict(model.named_parameters())
    given = {name: (p * 2).detach().requires_grad_() for name, p in own.items()}
    tg.func.functional_call(model, given, tg.ones(1, 2)).sum().backward()
    assert all(p.grad is not None for p in given.values())
    assert all(p.grad is None for p in own.values())
    with pytest.raises(ValueError, match="features"):
        tg.func.functional_call(model, given, tg.ones(1, 3))
    assert all(a is b for a, b in zip(model.parameters(), own.values()))


def test_shared_modules_in_a_functional_call():
    shared = nn.Linear(1, 1, bias=False)
    model = nn.Sequential(shared, shared)
    x = tg.ones(1, 1)
    two = tg.func.functional_call(model, {"0.weight": tg.tensor([[2.0]])}, x)
    assert two.item() == 4.0
    assert tg.func.functional_call(model, {"1.weight": tg.tensor([[3.0]])}, x).item() == 9.0


def test_functional_call_goes_through_hooks():
    model, seen = nn.Linear(1, 1), []
    model.register_forward_hook(lambda module, args, output: seen.append(module.weight.item()))
    tg.func.functional_call(model, {"weight": tg.tensor([[5.0]])}, tg.ones(1, 1))
    assert seen == [5.0]


def test_a_new_buffer_in_a_functional_call_goes_to_what_was_given():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", tg.tensor(0))

        def forward(self, x):
            self.count = self.count + 1
            return x

    model, given = nn.Sequential(Counts()), {"0.count": tg.tensor(5)}
    tg.func.functional_call(model, given, 1)
    assert given["0.count"].item() == 6 and model[0].count.item() == 0


def test_a_subclass_that_is_called_before_init_still_answers():
    class Early(nn.Module):
        def __init__(self):
            pass

        def forward(self, x):
            return x + 1

    assert Early()(1) == 2


def test_what_was_no_bool_as_mode_is_refused_and_changes_nothing():
    model = nn.Sequential(nn.Tanh())
    with pytest.raises(ValueError, match="boolean, not 'eval'"):
        model.train("eval")
    assert model.training and model[0].training


def test_an_always_called_hook_that_fails_is_called_once():
    module, calls = nn.Identity(), []

    def hook(module, args, output):
        calls.append(output)
        raise KeyError("from the hook")

    module.register_forward_hook(hook, always_call=True)
    with pytest.raises(KeyError, match="from the hook"):
        module(1)
    assert calls == [1]


def test_backward_hooks_in_several_passes_over_one_call():
    class Pair(nn.Module):
        def forward(self, x, y):
            return x * y, x * 5.0

    module, seen = Pair(), []
    module.register_full_backward_hook(
        lambda module, inputs, outputs: seen.append([g.item() for g in inputs])
    )
    x, y = (tg.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    product, five = module(x, y)
    product.backward(retain_graph=True)
    five.backward(retain_graph=True)  # nothing comes to y: not what came the last time
    assert seen == [[3.0, 2.0], [5.0, 0.0]]
    for _ in range(2):
        assert tg.grad(product, x, retain_graph=True)[0].item() == 3.0
    assert len(seen) == 4 and seen[3][0] == 3.0


MISTAKES = [
    (lambda: nn.Conv2d(3, 4, 3)(tg.zeros(5, 28, 28, 3)), "channels: input.movedim(-1, 1)"),
    (lambda: nn.Conv2d(3, 4, 3)(tg.zeros(28, 28, 3)), "channels: input.movedim(-1, 0)"),
    (lambda: nn.ConvTranspose1d(3, 4, 3)(tg.zeros(2, 28, 3)), "channels: input.movedim(-1, 1)"),
    (lambda: nn.Conv2d(1, 4, 3)(tg.zeros(5, 28, 28)), "without channels: input.unsqueeze(1)"),
    (
        lambda: nn.Sequential(nn.LSTM(2, 3), nn.Linear(3, 1))(tg.zeros(4, 1, 2)),
        "not tuple: a layer that returns several gives them in a tuple",
    ),
    (lambda: nn.Sequential([nn.Tanh()]), "list is not a Module subclass, at '0': unpack it"),
    (lambda: nn.Sequential(nn.Tanh), "Tanh is not a Module subclass, at '0': a class; make one"),
    (lambda: nn.Sequential(nn.functional.relu), "at '0': a layer does what a function does"),
    (lambda: nn.Embedding(3, 2)(tg.tensor([1.0])), "not float32: .long() makes it so"),
    (lambda: nn.Lineer, "module 'tapegrad.nn' has no attribute 'Lineer'; did you mean 'Linear'"),
    (lambda: tg.zeross, "module 'tapegrad' has no attribute 'zeross'; did you mean 'zeros'"),
]


@pytest.mark.parametrize(("call", "said"), MISTAKES)
def test_common_mistakes_are_told_what_to_do(call, said):
    with pytest.raises((TypeError, AttributeError, tg.ShapeError), match=re.escape(said)):
        call()
