"""Saving and loading: nested states in safetensors files."""

from __future__ import annotations

import collections
import enum
import json
import math
import os

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.optim import OPTIMIZERS
from tapegrad.optim import lr_scheduler as schedulers
from tapegrad.optim.lr_scheduler import StepLR

codec = pytest.importorskip("safetensors.numpy")


def through(state, folder):
    return tg.load(tg.save(state, folder / "file.safetensors"))


def same(a, b):
    """Whether two states are alike to the bit, in kinds, order and numbers."""
    if isinstance(a, tg.Tensor):
        a, b = a.detach().numpy(), b.numpy()
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return (
            list(a) == list(b)
            and [*map(type, a)] == [*map(type, b)]
            and all(same(a[k], b[k]) for k in a)
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return math.copysign(1, a) == math.copysign(1, b) and (a == b or (a != a and b != b))
    return a == b


PLAIN = [
    {},
    [],
    (),
    None,
    3,
    "text",
    [{}, [], (), ((),), [()]],
    {"a": {"b": [1, (2.0, None)]}, 0: {-1: True, 1: 1, "1": 1.0}},
    {"numbers": [0.1, 1e-320, -0.0, 1e308, math.inf, -math.inf, math.nan, 2**70, -5, True, False]},
    {"words": ["", "é", "\ud800", "\x00", '{"tensor": "a"}', "nan"], "": 1, "a.b": 2, "\ud800": 3},
    {"dict": 1, "tuple": (1,), "float": "inf", "tensor": "a", "version": 2, "state": 1},
]


@pytest.mark.parametrize("state", PLAIN, ids=repr)
def test_plain_values_come_back(state, tmp_path):
    assert same(state, through(state, tmp_path))


DTYPES = [f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES += ["float16", "float32", "float64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3,), (2, 3)], ids=str)
def test_tensors_come_back_bit_for_bit(dtype, shape, tmp_path):
    raw = np.random.default_rng(0).integers(
        0, 2, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8
    )
    array = (raw * (1 if dtype == "bool" else 181)).view(dtype).reshape(shape)
    state = {"a": tg.tensor(array), "more": [(tg.tensor(array),)]}
    assert same(state, through(state, tmp_path))
    assert same({"a": state["a"]}, through({"a": state["a"]}, tmp_path))


def test_views_leaves_and_results_come_back(tmp_path):
    x = tg.tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    views = [
        x,
        x.T,
        x[:, ::-1],
        x[..., 1],
        x[1, 2, 3],
        x[:1].expand(3, 3, 4),
        x * 2.0,
        nn.Parameter(x.detach()),
    ]
    back = through([views, {"same": x, "again": x}], tmp_path)
    assert same([views, {"same": x, "again": x}], back)
    assert not any(v.requires_grad for v in back[0])
    back[1]["same"][0, 0, 0] = 7.0  # writable, in memory of its own
    assert back[1]["again"][0, 0, 0] == 0.0 and x[0, 0, 0] == 0.0


def test_numpy_arrays_and_scalars_come_back_as_tensors(tmp_path):
    state = {"a": np.arange(3, dtype=">f4"), "b": [np.float64(0.1), np.int8(-3), np.bool_(True)]}
    a, b = through(state, tmp_path).values()
    assert same(a, tg.tensor(np.arange(3, dtype="float32")))
    assert same(b, [tg.tensor(np.array(v)) for v in state["b"]])
    assert same(through({"x": np.float64(0.1)}, tmp_path), {"x": tg.tensor(np.array(0.1))})


def test_other_mappings_come_back_as_dicts(tmp_path):
    state = collections.OrderedDict(b=collections.defaultdict(int, {2: 1}), a=1)
    assert same(through(state, tmp_path), {"b": {2: 1}, "a": 1})


# -- what others read --------------------------------------------------------------------------
def header(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def test_tensors_by_name_are_a_plain_file(tmp_path):
    state = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).state_dict()
    path = tg.save(state, tmp_path / "model")
    assert set(header(path)) == set(state)  # no metadata
    for name, array in codec.load_file(path).items():
        np.testing.assert_array_equal(array, state[name].numpy())


def test_a_nested_state_is_readable_by_dotted_names(tmp_path):
    state = {"model": {"0.weight": tg.ones(2)}, "parts": [tg.zeros(1), {3: (tg.ones(()),)}]}
    path = tg.save(state, tmp_path / "checkpoint")
    assert set(codec.load_file(path)) == {"model.0.weight", "parts.0", "parts.1.3.0"}
    metadata = header(path)["__metadata__"]
    assert list(metadata) == ["tapegrad"]

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    assert json.loads(metadata["tapegrad"], parse_constant=refuse)["version"] == 1


def test_names_that_meet_are_told_apart(tmp_path):
    one, two, three = (tg.tensor(float(i)) for i in range(3))
    state = {"a.b": one, "a": {"b": two, 1: one, "1": two}, "a.b#2": three, "__metadata__": three}
    assert same(state, through(state, tmp_path))
    assert same({"__metadata__": one}, through({"__metadata__": one}, tmp_path))
    assert same({"\ud800": one}, through({"\ud800": one}, tmp_path))
    assert same(one, through(one, tmp_path))


def test_files_of_others_are_tensors_by_name(tmp_path):
    arrays = {"a.b": np.arange(3.0), "c": np.array(1, dtype="int8")}
    codec.save_file(arrays, tmp_path / "x", metadata={"format": "pt", "state": "{}"})
    found = tg.load(tmp_path / "x")
    assert {k: v.numpy().tolist() for k, v in found.items()} == {"a.b": [0, 1, 2], "c": 1}


# -- what is refused ---------------------------------------------------------------------------
class Colour(enum.IntEnum):
    RED = 1


Pair = collections.namedtuple("Pair", "a b")

REFUSED = [
    ({"a": {"b": [1, 2, object()]}}, r"a\.b\[2\] is a object, .*: leave it out"),
    ({"a": [(0, {1, 2})]}, r"a\[0\]\[1\] is a set, .*: make it a list"),
    ({"a": {3: 1j}}, r"a\[3\] is a complex"),
    ({"lr": [lambda step: 0.1]}, r"lr\[0\] is a function, .*: put None there"),
    ({"model": nn.Linear(1, 1)}, r"model is a Linear, .*: pass its state_dict\(\)"),
    (nn.Linear(1, 1), r"the state is a Linear, .*: pass its state_dict\(\)"),
    ([Pair(1, 2)], r"\[0\] is a Pair, .*_asdict\(\)"),
    ({"c": Colour.RED}, r"c is a Colour, .*: make it a plain int"),
    ({"b": b"bytes"}, r"b is a bytes"),
    ({"a": {None: 1}}, r"a has the key None, a NoneType"),
    ({True: 1}, r"the state has the key True, a bool"),
    ({"a": {(1, 2): 1}}, r"a has the key \(1, 2\), a tuple"),
    ({"x": {"y": np.ones(2, complex)}}, r"x\.y has dtype complex128"),
    ({"x": np.array(["a"])}, r"x has dtype <U1"),
    ({"x": np.array([None])}, r"x has dtype object"),
    ({"x": np.ma.masked_equal([1, 2], 1)}, r"x is a MaskedArray"),
]


@pytest.mark.parametrize("state, message", REFUSED, ids=lambda v: v if type(v) is str else "")
def test_what_cannot_be_saved_is_named(state, message, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError, match=message):
        tg.save(state, path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_circles_and_depths_are_refused(tmp_path):
    state = {"a": [1]}
    state["a"].append({"b": state})
    with pytest.raises(ValueError, match=r"a\[1\]\.b contains itself"):
        tg.save(state, tmp_path / "x")
    inner = [1]
    assert through([inner, inner], tmp_path) == [[1], [1]]
    with pytest.raises(ValueError, match="big is an integer of over"):
        tg.save({"big": 10**5000}, tmp_path / "x")
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        tg.save(deep, tmp_path / "x")


def test_a_value_inside_vmap_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="inside vmap"):
        tg.vmap(lambda x: tg.save({"a": x}, tmp_path / "x"))(tg.ones(3))


# -- files that are not right ------------------------------------------------------------------
def test_parts_of_files_are_refused(tmp_path):
    path = tg.save({"w": tg.ones(5), "epoch": 3}, tmp_path / "x")
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="x is not a safetensors file, or only a part of one"):
            tg.load(path)


@pytest.mark.parametrize("data", [b"", b"text " * 9, b"\x93NUMPY\x01\x00" + b"0" * 90])
def test_other_files_are_refused(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match="is not a safetensors file"):
        tg.load(tmp_path / "x")


@pytest.mark.parametrize("data", [b"PK\x03\x04" + b"0" * 90, b"\x80\x04" + b"0" * 90])
def test_pickles_are_never_read(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=r"as torch\.save writes them; .*\.save_file"):
        tg.load(tmp_path / "x")


@pytest.mark.parametrize(
    "description, message",
    [
        ('{"version": 2, "state": 1}', "version 2, which this tapegrad does not read"),
        ("[]", "version None"),
        ("{", "cannot be used"),
        ('{"version": 1, "state": {"tensor": "v"}}', "mentions the tensor 'v'"),
        ('{"version": 1, "state": [1]}', r"does not mention the tensors \['w'\]"),
        ('{"version": 1, "state": {"module": "os"}}', "it has a 'module', which is unknown"),
        ('{"version": 1, "state": {"tensor": ["w"]}}', "cannot be used"),
        ('{"version": 1, "state": {"dict": [[[], 1]]}}', "cannot be used"),
        ('{"version": 1, "state": {}}', "cannot be used"),
        ("[" * 100_000, "cannot be used"),
    ],
)
def test_descriptions_that_do_not_fit(description, message, tmp_path):
    codec.save_file({"w": np.ones(1)}, tmp_path / "x", metadata={"tapegrad": description})
    with pytest.raises(ValueError, match=message):
        tg.load(tmp_path / "x")


def test_a_dtype_that_numpy_lacks(tmp_path):
    text = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(ValueError, match="BF16"):
        tg.load(tmp_path / "x")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tg.save({"w": tg.ones(2)}, tmp_path / "x")
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    tg.save({"w": tg.ones(2)}, path)
    assert order == ["fsync", "replace"]

    def full(fd):
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        tg.save({"w": tg.zeros(2)}, path)
    assert same(tg.load(path), {"w": tg.ones(2)}) and os.listdir(tmp_path) == ["x"]


# -- checkpoints -------------------------------------------------------------------------------
class Points(nn.Module):
    """A model that is nothing but parameters."""

    def __init__(self, shapes, dtype, seed=0):
        super().__init__()
        draw = np.random.default_rng(seed).normal
        for k, shape in enumerate(shapes):
            setattr(self, f"w{k}", nn.Parameter(tg.tensor(draw(size=shape), dtype=dtype)))

    def forward(self, noise):
        return sum(((w - 3.0 + noise) ** 2).sum() + 0.01 * (w**4).sum() for w in self.parameters())


class Run:
    """A model, its optimizer and a schedule, and what a checkpoint of them is."""

    def __init__(self, row, settings, dtype, seed):
        self.model = Points(row.shapes, dtype, seed)
        self.optimizer = row.form(self.model.parameters(), **settings)
        has_rate = "lr" in self.optimizer.defaults
        self.scheduler = StepLR(self.optimizer, 2, 0.7) if has_rate else None
        self.epoch = 0

    def train(self, epochs):
        for _ in range(epochs):

            def closure():
                self.optimizer.zero_grad()
                loss = self.model(0.1 * self.epoch)
                loss.backward()
                return loss

            self.optimizer.step(closure)
            if self.scheduler:
                self.scheduler.step()
            self.epoch += 1
        return self

    def checkpoint(self):
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler and self.scheduler.state_dict(),
            "epoch": self.epoch,
        }

    def resume(self, checkpoint):
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(checkpoint["scheduler"])
        self.epoch = checkpoint["epoch"]
        return self


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", OPTIMIZERS, ids=lambda row: row.name)
def test_training_goes_on_from_a_file_bit_for_bit(row, dtype, tmp_path):
    for settings in row.tried():
        run = Run(row, settings, dtype, 0).train(3)
        back = through(run.checkpoint(), tmp_path)
        assert same(run.checkpoint(), back)
        again = Run(row, settings, dtype, 1).resume(back)
        assert same(run.train(3).checkpoint(), again.train(3).checkpoint())


def quarter(step):
    return 0.5 ** (step // 4)


SCHEDULERS = [
    lambda o: schedulers.LambdaLR(o, quarter),
    lambda o: schedulers.MultiplicativeLR(o, quarter),
    lambda o: schedulers.MultiStepLR(o, [2, 4]),
    lambda o: schedulers.CosineAnnealingWarmRestarts(o, 3),
    lambda o: schedulers.CyclicLR(o, 0.1, 0.2, 2),
    lambda o: schedulers.OneCycleLR(o, 0.2, 9),
    lambda o: schedulers.ChainedScheduler([StepLR(o, 2), schedulers.ExponentialLR(o, 0.9)]),
    lambda o: schedulers.SequentialLR(o, [StepLR(o, 2), schedulers.LinearLR(o)], [4]),
]


@pytest.mark.parametrize("made", SCHEDULERS, ids=range(len(SCHEDULERS)))
def test_schedulers_go_on_from_a_file(made, tmp_path):
    def rates(o, scheduler):
        found = []
        for _ in range(4):
            o.step()
            scheduler.step()
            found.append([{k: v for k, v in g.items() if k != "params"} for g in o.param_groups])
        return found

    def fresh():
        o = optim.SGD([tg.ones(1, requires_grad=True)], lr=0.1, momentum=0.9)
        return o, made(o)

    one, scheduler = fresh()
    rates(one, scheduler)
    state = through([one.state_dict(), scheduler.state_dict()], tmp_path)
    other, again = fresh()
    other.load_state_dict(state[0])
    again.load_state_dict(state[1])
    assert same(rates(one, scheduler), rates(other, again))
