"""What small programs with modules give in PyTorch.

Run with PyTorch installed: ``python tests/oracle/make_modules.py``. Writes
``tests/data/modules.json``: the text of each program below with its result, or the kind of its
error. The tests run the same text with tapegrad in torch's place.
"""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import textwrap
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))
        self.register_parameter("shift", None)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("seen", torch.tensor(0), persistent=False)
        self.register_buffer("nothing", None)

    def forward(self, x):
        return (x - self.mean) * self.scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.norm = Norm(3)
        self.acts = nn.ModuleDict({"tanh": nn.Tanh(), "relu": nn.ReLU()})
        self.blocks = nn.ModuleList([nn.Linear(3, 3, bias=False) for _ in range(2)])
        self.head = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())

    def forward(self, x, act="tanh", scale=1.0):
        x = self.acts[act](self.norm(self.first(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x * scale)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(3, 3)
        self.leave = nn.Linear(3, 3)
        self.leave.weight = self.enter.weight
        self.again = self.enter


def fill(module):
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            p.copy_(torch.arange(p.numel()).reshape(p.shape) * 0.1 - 0.2 * i)
    return module


def X():
    return torch.tensor([[1.0, -2.0], [0.5, 3.0]])


def names(pairs):
    return [name for name, _ in pairs]


def kinds(module):
    return [(n, type(m).__name__) for n, m in module.named_modules()]


def walks():
    net = Net()
    return [
        names(net.named_parameters()),
        names(net.named_parameters(recurse=False)),
        names(net.named_parameters("net")),
        names(net.norm.named_parameters(prefix="n", recurse=False)),
        names(net.named_buffers()),
        names(net.named_buffers("net", False)),
        names(net.named_children()),
        names(net.named_modules()),
        names(net.named_modules(prefix="net")),
        len(list(net.parameters())),
        len(list(net.buffers())),
        len(list(net.children())),
        len(list(net.modules())),
    ]


def walks_over_shared_things():
    net = Tied()
    return [
        names(net.named_parameters()),
        names(net.named_parameters(remove_duplicate=False)),
        names(net.named_modules()),
        names(net.named_modules(remove_duplicate=False)),
        names(net.named_children()),
        list(net.state_dict()),
        len(list(net.modules(remove_duplicate=False))),
    ]


def shared_buffers():
    a, b = Norm(2), Norm(2)
    b.mean = a.mean
    both = nn.Sequential(a, b)
    return [names(both.named_buffers()), names(both.named_buffers(remove_duplicate=False))]


def order_of_attributes():
    m = nn.Module()
    m.b = nn.Parameter(torch.zeros(1))
    m.sub = nn.Linear(1, 1)
    m.a = nn.Parameter(torch.zeros(1))
    m.z = nn.Linear(1, 1)
    m.b = nn.Parameter(torch.zeros(2))
    m.sub = nn.Tanh()
    return [names(m.named_parameters()), names(m.named_children()), list(m.state_dict())]


def kinds_replace_each_other():
    m = nn.Module()
    m.x = 3
    m.x = nn.Parameter(torch.zeros(1))
    first = [sorted(m._parameters), "x" in m.__dict__]
    del m.x
    m.x = nn.Tanh()
    m.x = nn.Parameter(torch.zeros(1))
    second = [sorted(m._parameters), sorted(m._modules)]
    del m.x
    m.x = 4
    third = [sorted(m._modules), m.x]
    m.y = None
    m.y = nn.Linear(1, 1)
    fourth = [sorted(m._modules), "y" in m.__dict__]
    m.y = None
    fifth = [names(m.named_children()), m.y is None, names(m.named_modules())]
    return [first, second, third, fourth, fifth]


def none_everywhere():
    m = nn.Module()
    m.register_parameter("p", None)
    m.register_buffer("b", None)
    m.add_module("c", None)
    shown = [names(m.named_parameters()), names(m.named_children()), list(m.state_dict()), repr(m)]
    m.p = nn.Parameter(torch.zeros(1))
    m.b = torch.zeros(1)
    m.c = nn.Tanh()
    return [*shown, list(m.state_dict()), repr(m), m.p is not None]


def buffers_and_persistence():
    m = nn.Module()
    m.register_buffer("a", torch.zeros(1))
    m.register_buffer("b", torch.zeros(1), persistent=False)
    m.c = nn.Buffer(torch.zeros(2))
    m.d = nn.Buffer(torch.zeros(2), persistent=False)
    first = [list(m.state_dict()), names(m.named_buffers())]
    m.b = torch.ones(1)
    m.a = torch.ones(3)
    second = [list(m.state_dict()), names(m.named_buffers()), m.a.tolist()]
    m.register_buffer("b", torch.zeros(1))
    m.register_buffer("a", torch.zeros(1), persistent=False)
    third = list(m.state_dict())
    del m.b
    m.x = torch.zeros(1)
    return [first, second, third, names(m.named_buffers()), list(m.state_dict())]


def dir_of_module():
    net = Net()
    found = dir(net)
    return [
        [n in found for n in ("first", "head", "forward", "training", "scale", "0")],
        [n in dir(net.norm) for n in ("scale", "shift", "mean", "seen")],
        [n in dir(net.blocks) for n in ("0", "append")],
    ]


def lookups():
    net = Net()
    return [
        net.get_submodule("") is net,
        net.get_submodule("acts.tanh") is net.acts["tanh"],
        net.get_submodule("head.0") is net.head[0],
        net.get_parameter("blocks.1.weight") is net.blocks[1].weight,
        net.get_buffer("norm.mean") is net.norm.mean,
    ]


def set_submodules():
    net = Net()
    net.set_submodule("head.0", nn.Tanh())
    net.set_submodule("head.extra", nn.ReLU())
    net.set_submodule("first", nn.Tanh(), strict=True)
    return kinds(net)


def error_no_such_submodule():
    Net().get_submodule("head.7")


def error_path_through_parameter():
    Net().get_submodule("first.weight")


def error_no_such_parameter():
    Net().get_parameter("first.wieght")


def error_buffer_as_parameter():
    Net().get_parameter("norm.mean")


def error_parameter_as_buffer():
    Net().get_buffer("norm.scale")


def error_strict_set_submodule():
    Net().set_submodule("head.9", nn.Tanh(), strict=True)


def error_set_submodule_no_name():
    Net().set_submodule("", nn.Tanh())


def error_set_submodule_no_module():
    Net().set_submodule("head", 3)


def error_attribute():
    Net().frist


def error_parameter_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.p = nn.Parameter(torch.zeros(1))

    Early()


def error_module_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.p = nn.Tanh()

    Early()


def plain_attribute_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.size = 3
            super().__init__()
            self.p = nn.Parameter(torch.zeros(self.size))

    return [Early().size, names(Early().named_parameters())]


def error_tensor_as_parameter():
    nn.Linear(1, 1).weight = torch.zeros(1, 1)


def error_number_as_parameter():
    nn.Linear(1, 1).weight = 3


def error_module_as_parameter():
    nn.Linear(1, 1).weight = nn.Tanh()


def error_number_as_module():
    Net().first = 3


def error_number_as_buffer():
    Norm(1).mean = 3


def error_register_taken_name():
    nn.Linear(1, 1).register_buffer("weight", torch.zeros(1))


def error_register_attribute_name():
    nn.Linear(1, 1).register_parameter("in_features", None)


def error_register_method_name():
    nn.Module().add_module("forward", nn.Tanh())


def error_register_dot():
    nn.Module().register_parameter("a.b", None)


def error_register_dot_module():
    nn.Module().add_module("a.b", nn.Tanh())


def error_register_empty():
    nn.Module().register_buffer("", None)


def error_register_number():
    nn.Module().register_parameter(3, None)


def error_register_plain_tensor():
    nn.Module().register_parameter("w", torch.zeros(1))


def error_register_list_buffer():
    nn.Module().register_buffer("b", [1.0])


def error_add_function():
    nn.Module().add_module("f", lambda x: x)


def error_add_class():
    nn.Sequential(nn.Tanh)


def error_no_forward():
    nn.Module()(1)


def error_list_called():
    nn.ModuleList([nn.Tanh()])(torch.zeros(1))


def error_integer_parameter():
    nn.Parameter(torch.arange(3))


def error_train_number():
    nn.Linear(1, 1).train(1)


def error_del_missing():
    del nn.Linear(1, 1).nothing


def error_to_integers():
    nn.Linear(1, 1).to(torch.int64)


def reprs():
    class Shown(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Tanh(), nn.Linear(1, 2))
            self.nothing = None

        def extra_repr(self):
            return "one line"

    class Lines(Shown):
        def extra_repr(self):
            return "line one\nline two"

    class Leaf(nn.Module):
        def extra_repr(self):
            return "a\nb"

    class Quiet(nn.Module):
        def extra_repr(self):
            return "only=1"

    return [repr(m) for m in (Net(), Tied(), Shown(), Lines(), Leaf(), Quiet(), nn.Module())]


def reprs_of_containers():
    a = [nn.Linear(1, 1) for _ in range(3)]
    b = [nn.Sequential(nn.Tanh(), nn.Linear(1, 1)) for _ in range(2)]
    return [
        repr(nn.ModuleList(a)),
        repr(nn.ModuleList([*a, nn.Tanh(), *a[:2]])),
        repr(nn.ModuleList([*b, nn.ModuleList(a)])),
        repr(nn.ModuleList()),
        repr(nn.ModuleDict()),
        repr(nn.ModuleDict({"a": a[0], "b": b[0]})),
        repr(nn.Sequential()),
        repr(nn.Sequential(*a)),
        repr(nn.Sequential(OrderedDict([("x", a[0]), ("y", b[0])]))),
        repr(nn.Sequential(nn.ModuleList(b))),
    ]


def repr_of_parameter():
    return repr(nn.Parameter(torch.tensor([1.0, 2.0]))), repr(
        nn.Parameter(torch.tensor([1]), requires_grad=False)
    )


def modes():
    net = Net()
    first = [m.training for m in net.modules()]
    second = [m.training for m in net.eval().modules()]
    net.norm.train()
    return [first, second, [m.training for m in net.modules()], net.train() is net]


def frozen_part_overrides_train():
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(Frozen(nn.Tanh()), nn.Tanh())
    return [m.training for m in net.train().modules()]


def applies():
    seen = []
    net = Net()
    result = net.apply(lambda m: seen.append(type(m).__name__))
    shared = Tied()
    shared.apply(lambda m: seen.append(type(m).__name__))
    return [seen, result is net]


def freezing():
    net = Net()
    net.first.requires_grad_(False)
    flags = [p.requires_grad for p in net.parameters()]
    return [flags, net.requires_grad_(False) is net, any(p.requires_grad for p in net.parameters())]


def zeroing():
    net = fill(nn.Linear(2, 1))
    net(X()).sum().backward()
    grad = net.weight.grad
    net.zero_grad(set_to_none=False)
    zeros = net.weight.grad.tolist()
    net.zero_grad()
    return [zeros, net.weight.grad is None, tuple(grad.shape)]


def casting():
    net = Net()
    parameters = list(net.parameters())
    net(X()).sum().backward()
    result = net.double()
    same = all(a is b for a, b in zip(parameters, net.parameters()))
    dtypes = [[str(t.dtype) for t in net.state_dict().values()], str(net.norm.seen.dtype)]
    grads = [str(p.grad.dtype) for p in net.parameters()]
    net.half()
    halves = str(net.first.weight.dtype)
    net.to(torch.float32)
    net.to("cpu")
    net.to("cpu", torch.float64)
    net.to(torch.zeros(1))
    net.to(dtype=torch.float64)
    last = str(net.first.weight.dtype)
    net.float()
    return [same, dtypes, grads, halves, last, result is net, net.first.weight.is_leaf]


def cast_all():
    norm = Norm(2)
    norm.type(torch.float64)
    return [str(norm.seen.dtype), str(norm.mean.dtype), str(norm.scale.dtype)]


def training_goes_on_after_cast():
    losses = []
    net = fill(nn.Linear(2, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(4):
        if step == 2:
            net.double()
        optimizer.zero_grad()
        loss = (net(X().to(net.weight.dtype)) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(round(float(loss), 4))
    return [losses, str(net.weight.dtype)]


def calls():
    net = fill(Net())
    out = [net(X()), net(X(), "relu"), net(X(), act="relu", scale=2.0)]
    return [[round(v, 4) for v in y.detach().reshape(-1).tolist()] for y in out]


def states():
    net = Net()
    state = net.state_dict()
    prefixed = net.state_dict(prefix="net.")
    mine = OrderedDict()
    returned = net.norm.state_dict(destination=mine, prefix="n.")
    return [
        list(state),
        list(prefixed),
        returned is mine,
        list(mine),
        [v.requires_grad for v in state.values()],
        [type(v).__name__ for v in net.state_dict(keep_vars=True).values()],
        net.state_dict(keep_vars=True)["first.weight"] is net.first.weight,
        all(v.is_leaf for v in state.values()),
    ]


def loads():
    a, b = fill(Net()), Net()
    result = b.load_state_dict(a.state_dict())
    equal = all(bool((x == y).all()) for x, y in zip(a.parameters(), b.parameters()))
    return [
        equal,
        list(result.missing_keys),
        list(result.unexpected_keys),
        repr(result),
        all(p.requires_grad for p in b.parameters()),
    ]


def loads_what_is_there():
    net = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    found = net.load_state_dict(
        {"1.weight": torch.ones(1, 1), "extra": torch.ones(2), "2.weight": torch.ones(1)},
        strict=False,
    )
    return [found.missing_keys, found.unexpected_keys, net[1].weight.tolist()]


def loads_other_dtypes():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": torch.ones(1, 2).double(), "bias": torch.tensor([3])})
    return [str(layer.weight.dtype), layer.weight.tolist(), layer.bias.tolist()]


def loads_by_assignment():
    layer = nn.Linear(2, 1)
    layer.bias.requires_grad_(False)
    old = layer.weight
    layer.load_state_dict(
        {"weight": torch.ones(1, 2).double(), "bias": torch.zeros(1).double()}, assign=True
    )
    return [
        layer.weight is old,
        str(layer.weight.dtype),
        type(layer.weight).__name__,
        [p.requires_grad for p in layer.parameters()],
    ]


def loads_a_number_from_a_vector():
    m = nn.Module()
    m.p = nn.Parameter(torch.tensor(1.0))
    m.load_state_dict({"p": torch.tensor([5.0])})
    return m.p.tolist()


def message_of_strict_loading():
    net = nn.Sequential(nn.Linear(2, 1), nn.Tanh())
    try:
        net.load_state_dict({"0.weight": torch.zeros(3, 2), "0.wrong": torch.zeros(1)})
    except RuntimeError as error:
        lines = str(error).split("\n\t")
        return [lines[0], lines[1], lines[2][:43], lines[3][:20]]


def error_missing():
    nn.Linear(1, 1).load_state_dict({"weight": torch.zeros(1, 1)})


def error_unexpected():
    nn.Linear(1, 1, bias=False).load_state_dict(
        {"weight": torch.zeros(1, 1), "bias": torch.zeros(1)}
    )


def error_shape_not_strict():
    nn.Linear(1, 1).load_state_dict({"weight": torch.zeros(2, 1)}, strict=False)


def error_list_given():
    nn.Linear(1, 1).load_state_dict({"weight": [[1.0]], "bias": [1.0]})


def error_state_is_a_list():
    nn.Linear(1, 1).load_state_dict([1])


def tied_states():
    a, b = fill(Tied()), Tied()
    b.load_state_dict(a.state_dict())
    c = copy.deepcopy(a)
    d = pickle.loads(pickle.dumps(nn.Sequential(a.enter, a.enter)))
    return [
        b.leave.weight is b.enter.weight,
        c.leave.weight is c.enter.weight,
        c.again is c.enter,
        c.enter.weight is a.enter.weight,
        d[0] is d[1],
    ]


def extra_states():
    class Counted(nn.Module):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    a, b = nn.Sequential(Counted()), nn.Sequential(Counted())
    a[0].count = 5
    b.load_state_dict(a.state_dict())
    found = b.load_state_dict({}, strict=False)
    return [list(a.state_dict()), b[0].count, found.missing_keys]


def state_hooks():
    net = nn.Sequential(nn.Linear(1, 1))
    seen = []

    def before(module, prefix, keep_vars):
        seen.append(["before", prefix, keep_vars])

    def after(module, state, prefix, metadata):
        seen.append(["after", prefix])
        state["more"] = torch.zeros(1)

    def loading(module, state, prefix, metadata, strict, missing, unexpected, errors):
        seen.append(["loading", prefix, strict])
        state.pop("more", None)
        for key in list(state):
            if key.startswith("old."):
                state["0." + key[4:]] = state.pop(key)

    def loaded(module, keys):
        seen.append(["loaded", sorted(keys.missing_keys)])
        keys.missing_keys.clear()

    net[0].register_state_dict_pre_hook(before)
    handle = net.register_state_dict_post_hook(after)
    net.register_load_state_dict_pre_hook(loading)
    net.register_load_state_dict_post_hook(loaded)
    state = net.state_dict()
    handle.remove()
    net.load_state_dict({"old.weight": torch.ones(1, 1), "more": torch.ones(1)})
    return [list(state), list(net.state_dict()), net[0].weight.tolist(), seen]


def copies():
    net = fill(Net())
    net(X()).sum().backward()
    other = copy.deepcopy(net)
    third = pickle.loads(pickle.dumps(net.head))
    equal = all(bool((a == b).all()) for a, b in zip(net.parameters(), other.parameters()))
    return [
        equal,
        any(a is b for a, b in zip(net.parameters(), other.parameters())),
        [p.grad is None for p in other.parameters()],
        [type(p).__name__ for p in third.parameters()],
        [p.requires_grad for p in third.parameters()],
        names(third.named_parameters()),
        kinds(other) == kinds(net),
        other.eval().training != net.training,
    ]


def parameters_in_place():
    p = nn.Parameter(torch.ones(2))
    q = p
    with torch.no_grad():
        q += 1
        q.mul_(2)
        q[0] = 7
    p.data -= 1
    p.data = p.data * 2
    kinds = [type(v).__name__ for v in (p, q, p + 1, p.detach(), p.clone(), p.data)]
    return [q is p, kinds[0] == kinds[1] == "Parameter", kinds[2:], p.tolist(), p.is_leaf]


def parameter_of_parameter():
    p = nn.Parameter(torch.ones(2), requires_grad=False)
    q = nn.Parameter(p)
    return [q.requires_grad, p.requires_grad, isinstance(q, torch.Tensor), q.is_leaf]


def sequential_as_list():
    a, b, c, d = nn.Linear(1, 2), nn.Tanh(), nn.ReLU(), nn.Sigmoid()
    s = nn.Sequential(a, b)
    out = [s.append(c) is s, kinds(s), s.extend([d]) is s, s.insert(1, nn.Identity()) is s]
    out += [kinds(s), len(s), s[-1] is d, s[0] is a, kinds(s[1:3]), kinds(s[::2])]
    del s[1]
    out += [kinds(s), [type(m).__name__ for m in s]]
    s[0] = nn.Tanh()
    s[-1] = nn.Identity()
    out += [kinds(s)]
    del s[1:3]
    out += [kinds(s), type(s.pop(0)).__name__, kinds(s)]
    return out


def sequential_of_names():
    s = nn.Sequential(OrderedDict([("x", nn.Tanh()), ("y", nn.ReLU()), ("z", nn.Sigmoid())]))
    out = [kinds(s[1:]), kinds(s), type(s.y).__name__, type(s[1]).__name__]
    s[1] = nn.Tanh()
    out += [kinds(s)]
    del s[0]
    return [*out, kinds(s)]


def sequential_sums():
    a, b = nn.Sequential(nn.Tanh(), nn.ReLU()), nn.Sequential(nn.Sigmoid())
    out = [kinds(a + b), kinds(b * 2), kinds(2 * b), (2 * b)[0] is b[0]]
    a += b
    out += [kinds(a)]
    b *= 3
    return [*out, kinds(b), len(b), len(a)]


def error_sequential_index():
    nn.Sequential(nn.Tanh())[1]


def error_sequential_insert():
    nn.Sequential(nn.Tanh()).insert(5, nn.Tanh())


def error_sequential_times_zero():
    nn.Sequential(nn.Tanh()) * 0


def error_sequential_times_half():
    nn.Sequential(nn.Tanh()) * 1.5


def error_sequential_plus_module():
    nn.Sequential(nn.Tanh()) + nn.Tanh()


def error_sequential_append_none_module():
    nn.Sequential().append(3)


def lists():
    a = nn.ModuleList([nn.Tanh(), nn.ReLU()])
    out = [a.append(nn.Sigmoid()) is a, kinds(a), a.extend([nn.Identity()]) is a, len(a)]
    a.insert(1, nn.Softmax(dim=-1))
    out += [kinds(a), kinds(a[1:3]), type(a[-1]).__name__, type(a.pop(0)).__name__, kinds(a)]
    a[0] = nn.Tanh()
    del a[1:3]
    out += [kinds(a), kinds(a + [nn.ReLU()]), type(a[:1]).__name__]
    a += [nn.ReLU()]
    return [*out, kinds(a), [type(m).__name__ for m in a], a[0] in a]


def error_list_index():
    nn.ModuleList([nn.Tanh()])[-2]


def error_list_extend_none():
    nn.ModuleList().extend(3)


def error_list_of_numbers():
    nn.ModuleList([1, 2])


def dicts():
    d = nn.ModuleDict({"b": nn.Tanh(), "a": nn.ReLU()})
    out = [list(d), list(d.keys()), names(d.items()), [type(v).__name__ for v in d.values()]]
    d["c"] = nn.Sigmoid()
    d.update([("z", nn.Tanh()), ("b", nn.Identity())])
    d.update(nn.ModuleDict({"y": nn.Tanh()}))
    out += [kinds(d), len(d), "c" in d, "q" in d, type(d.pop("c")).__name__, list(d)]
    del d["a"]
    out += [list(d), type(d["b"]).__name__, type(d.b).__name__]
    d.clear()
    return [*out, len(d)]


def error_dict_key():
    nn.ModuleDict({"a": nn.Tanh()})["b"]


def error_dict_del():
    nn.ModuleDict()["b"]


def error_dict_method_as_key():
    nn.ModuleDict({"keys": nn.Tanh()})


def error_dict_update_number():
    nn.ModuleDict(3)


def error_dict_update_triples():
    nn.ModuleDict([("a", nn.Tanh(), 3)])


def error_dict_update_numbers():
    nn.ModuleDict([1])


def parameter_lists():
    p = nn.ParameterList([torch.zeros(2), nn.Parameter(torch.ones(1)), "text"])
    out = [names(p.named_parameters()), len(p), type(p[0]).__name__, p[2], list(p.state_dict())]
    out += [p.append(torch.zeros(3)) is p, tuple(p[-1].shape), names(p.named_parameters())]
    p[0] = torch.ones(4)
    p += [torch.zeros(1)]
    p.extend(nn.ParameterList([torch.zeros(6)]))
    out += [
        [tuple(v.shape) for v in p if not isinstance(v, str)],
        len(p[1:3]),
        type(p[:2]).__name__,
    ]
    q = nn.Module()
    q.weights = p
    return [*out, names(q.named_parameters()), [v.requires_grad for v in p.parameters()]]


def error_parameter_list_extend_tensor():
    nn.ParameterList().extend(torch.zeros(3))


def error_parameter_list_called():
    nn.ParameterList()(1)


def error_parameter_list_index():
    nn.ParameterList([torch.zeros(1)])[1]


def parameter_dicts():
    d = nn.ParameterDict({"b": torch.zeros(1), "a": torch.ones(2), "n": 5})
    out = [list(d), names(d.named_parameters()), d["n"], len(d), "a" in d, "z" in d]
    d["c"] = nn.Parameter(torch.zeros(3))
    d.update([("y", torch.zeros(1)), ("x", torch.zeros(2))])
    out += [list(d.keys()), list(reversed(d)), d.get("q"), d.get("q", 3), tuple(d.get("c").shape)]
    out += [tuple(d.setdefault("c", 1).shape), d.setdefault("s", 4), tuple(d.pop("c").shape)]
    e = d.copy()
    key, value = e.popitem()
    out += [key, value, len(e), len(d), e["a"] is d["a"], tuple(d.a.shape)]
    f = d.fromkeys(["u", "v"], torch.zeros(1))
    out += [list(f), list(d | f), [tuple(v.shape) for v in f.values()], names(f.items())]
    d |= f
    del d["u"]
    out += [list(d), list(d.state_dict())]
    d.clear()
    return [*out, len(d), list(d.state_dict())]


def parameter_dict_order():
    return [
        list(nn.ParameterDict(OrderedDict([("b", torch.zeros(1)), ("a", torch.zeros(1))]))),
        list(nn.ParameterDict([("b", torch.zeros(1)), ("a", torch.zeros(1))])),
        list(nn.ParameterDict({"b": torch.zeros(1), "a": torch.zeros(1)})),
    ]


def error_parameter_dict_key():
    nn.ParameterDict({1: torch.zeros(1)})


def error_parameter_dict_del():
    d = nn.ParameterDict()
    del d["a"]


def error_parameter_dict_empty_popitem():
    nn.ParameterDict().popitem()


def forward_hooks():
    net = fill(nn.Linear(2, 1))
    seen = []
    net.register_forward_pre_hook(lambda m, args: seen.append(["pre", len(args)]))
    net.register_forward_pre_hook(lambda m, args: (args[0] * 2,), prepend=True)
    net.register_forward_hook(lambda m, args, out: seen.append(["post", args[0].tolist()]))
    net.register_forward_hook(lambda m, args, out: out + 1, prepend=True)
    handle = net.register_forward_hook(lambda m, args, out: out * 0)
    first = net(X()).tolist()
    handle.remove()
    handle.remove()
    return [first, [[round(v, 4) for v in row] for row in net(X()).tolist()], seen]


def hooks_with_kwargs():
    class Scale(nn.Module):
        def forward(self, x, scale=1.0):
            return x * scale

    m, seen = Scale(), []

    def pre(module, args, kwargs):
        seen.append([len(args), sorted(kwargs)])
        return args, {**kwargs, "scale": 3.0}

    def post(module, args, kwargs, out):
        seen.append([len(args), kwargs["scale"]])
        return out + kwargs["scale"]

    m.register_forward_pre_hook(pre, with_kwargs=True)
    m.register_forward_hook(post, with_kwargs=True)
    return [m(torch.tensor(1.0)).item(), m(torch.tensor(1.0), scale=9.0).item(), seen]


def hook_replaces_single_argument():
    m = nn.Identity()
    m.register_forward_pre_hook(lambda module, args: args[0] + 1)
    return m(torch.tensor(1.0)).item()


def error_hook_with_kwargs_returns_value():
    m = nn.Identity()
    m.register_forward_pre_hook(lambda module, args, kwargs: 3, with_kwargs=True)
    m(torch.tensor(1.0))


def hooks_always_called():
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    m, seen = Fails(), []
    m.register_forward_hook(lambda *a: seen.append("usual"))
    m.register_forward_hook(lambda *a: seen.append(a[2] is None), always_call=True)
    try:
        m(torch.tensor(1.0))
    except ValueError:
        seen.append("raised")
    return seen


def hook_as_context():
    m, seen = nn.Identity(), []
    with m.register_forward_hook(lambda *a: seen.append(1)):
        m(torch.tensor(1.0))
    m(torch.tensor(1.0))
    return seen


def hook_removes_itself():
    m, seen = nn.Identity(), []
    handles = [
        m.register_forward_hook(lambda *a: (seen.append(1), handles[0].remove())[2:] or None)
    ]
    m(torch.tensor(1.0))
    m(torch.tensor(1.0))
    return seen


def hooks_are_copied():
    m, seen = nn.Identity(), []
    m.register_forward_hook(seen_by(seen))
    copy.copy(m)(torch.tensor(1.0))
    return len(seen)


def seen_by(seen):
    return lambda *a: seen.append(1)


def backward_hooks():
    class Two(nn.Module):
        def forward(self, x, y, flag=True):
            return x * y, x + y

    m, seen = Two(), []

    def hook(module, grad_input, grad_output):
        seen.append(
            [[None if g is None else g.tolist() for g in gs] for gs in (grad_input, grad_output)]
        )

    m.register_full_backward_hook(hook)
    x = torch.tensor(2.0, requires_grad=True)
    y = torch.tensor(3.0, requires_grad=True)
    a, b = m(x, y)
    (a * 2 + b).backward()
    first = [x.grad.item(), y.grad.item()]
    a, b = m(x, y, True)
    a.backward()
    return [first, seen, x.grad.item()]


def backward_hooks_replace():
    m, seen = nn.Identity(), []
    m.register_full_backward_pre_hook(lambda module, out: (out[0] * 10,))
    m.register_full_backward_hook(lambda module, inp, out: (inp[0] + 1,))
    m.register_full_backward_hook(
        lambda module, inp, out: seen.append([inp[0].item(), out[0].item()])
    )
    m.register_full_backward_hook(lambda module, inp, out: (inp[0] * 2,), prepend=True)
    x = torch.tensor(1.0, requires_grad=True)
    m(x).backward()
    return [x.grad.item(), seen]


def backward_hook_without_input_gradient():
    net, seen = fill(nn.Linear(2, 1)), []
    net.register_full_backward_hook(
        lambda module, inp, out: seen.append([inp[0] is None, tuple(out[0].shape)])
    )
    net(X()).sum().backward()
    with torch.no_grad():
        net(X())
    return [seen, net.weight.grad.tolist()]


def backward_hooks_twice():
    m, seen = nn.Tanh(), []
    m.register_full_backward_hook(lambda mod, inp, out: seen.append(round(inp[0].item(), 4)))
    x = torch.tensor(0.5, requires_grad=True)
    y = m(x) * m(x * 2)
    y.backward(retain_graph=True)
    y.backward()
    return [seen, round(x.grad.item(), 4)]


def backward_hook_of_unused_input():
    class First(nn.Module):
        def forward(self, x, y):
            return x * 2

    m, seen = First(), []
    m.register_full_backward_hook(
        lambda mod, inp, out: seen.append([None if g is None else g.item() for g in inp])
    )
    x, y = (torch.tensor(1.0, requires_grad=True) for _ in range(2))
    m(x, y).backward()
    return [seen, x.grad.item()]


def backward_hook_of_unused_output():
    class Both(nn.Module):
        def forward(self, x):
            return x * 2, x * 3

    m, seen = Both(), []
    m.register_full_backward_hook(
        lambda mod, inp, out: seen.append([None if g is None else g.item() for g in out])
    )
    x = torch.tensor(1.0, requires_grad=True)
    m(x)[1].backward()
    return [seen, x.grad.item()]


def error_backward_hook_length():
    m = nn.Identity()
    m.register_full_backward_hook(lambda mod, inp, out: (inp[0], inp[0]))
    m(torch.tensor(1.0, requires_grad=True)).backward()


def functional_calls():
    net = fill(Net())
    values = {n: p * 0.5 for n, p in net.named_parameters()}
    out = torch.func.functional_call(net, values, (X(),), {"act": "relu"})
    part = torch.func.functional_call(net, {"head.0.bias": torch.tensor([9.0])}, X())
    buffer = torch.func.functional_call(net, {"norm.mean": torch.ones(3)}, X())
    round4 = lambda t: [round(v, 4) for v in t.detach().reshape(-1).tolist()]
    return [round4(out), round4(part), round4(buffer), round4(net(X()))]


def functional_call_of_tied():
    tied = fill(Tied())
    tied.forward = lambda x: tied.leave(tied.enter(x))
    w = torch.ones(3, 3)
    return [
        torch.func.functional_call(tied, {"enter.weight": w}, torch.ones(1, 3)).tolist(),
        torch.func.functional_call(
            tied, {"enter.weight": w}, torch.ones(1, 3), tie_weights=False
        ).tolist(),
    ]


def functional_call_of_parameter_holders():
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.list = nn.ParameterList([torch.ones(1), torch.ones(1)])
            self.dict = nn.ParameterDict({"a": torch.ones(1)})

        def forward(self, x):
            return x * self.list[0] + self.list[1] * self.dict["a"]

    m = Held()
    given = {"list.0": torch.tensor([2.0]), "dict.a": torch.tensor([5.0])}
    return [torch.func.functional_call(m, given, torch.tensor([1.0])).tolist(), m.list[0].tolist()]


def vectors():
    net = fill(nn.Linear(2, 2))
    v = nn.utils.parameters_to_vector(net.parameters())
    nn.utils.vector_to_parameters(torch.arange(6) * 1.0, net.parameters())
    return [
        [round(x, 4) for x in v.tolist()],
        v.requires_grad,
        net.weight.tolist(),
        net.bias.tolist(),
    ]


PRELUDE = [Norm, Net, Tied, fill, X, names, kinds]
PROGRAMS = [
    thing
    for name, thing in list(globals().items())
    if inspect.isfunction(thing)
    and thing.__module__ == "__main__"
    and thing.__code__.co_argcount == 0
    and thing not in PRELUDE
]


def jsonable(value):
    """A result with lists for tuples, and dtypes without the library's name."""
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, str):
        return value.replace("torch.", "")
    return value


def run(program):
    text = textwrap.dedent(inspect.getsource(program))
    if program is hooks_are_copied:
        text += "\n" + textwrap.dedent(inspect.getsource(seen_by))
    try:
        return {"text": text, "result": jsonable(program())}
    except Exception as error:
        kinds = [k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"]
        return {"text": text, "error": kinds[0], "message": str(error)}


if __name__ == "__main__":
    found = {program.__name__: run(program) for program in PROGRAMS}
    for name, row in found.items():
        assert name.startswith("error_") == ("error" in row), (name, row)
    prelude = "\n\n".join(inspect.getsource(thing) for thing in PRELUDE)
    place = Path(__file__).resolve().parent.parent / "data" / "modules.json"
    place.write_text(json.dumps({"prelude": prelude, "programs": found}, indent=1) + "\n")
    print(len(found), "programs")
