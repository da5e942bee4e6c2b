"""Tables of models: counts that can be checked by hand, and a model left as it was."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(2, 3)
        self.act = nn.ReLU()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(2))
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)
        self.right.weight = self.left.weight
        self.unused = nn.Linear(9, 9)
        self.again = self.enter
        self.scale = nn.Parameter(tg.zeros(3))
        self.register_buffer("mean", tg.zeros(5))
        self.left.bias.requires_grad_(False)

    def forward(self, x, flip=False):
        x = self.act(self.enter(x))
        for block in self.blocks:
            x = self.act(block(x))
        return self.left(x), {"right": self.right(x)}


def test_a_table_of_a_branching_model():
    found = str(nn.summary(Branches(), (4, 2)))
    assert found == "\n".join(
        [
            "Layer                   Output shape           Parameters  Trained",
            "──────────────────────────────────────────────────────────────────",
            "Branches                (4, 2), right: (4, 2)           3  yes",
            "├─ enter (Linear)       (4, 3)                          9  yes",
            "├─ act (ReLU)           (4, 3) ×3",
            "├─ blocks (ModuleList)",
            "│  ├─ 0 (Sequential)    (4, 3)",
            "│  │  ├─ 0 (Linear)     (4, 3)                         12  yes",
            "│  │  └─ 1 (Tanh)       (4, 3)",
            "│  └─ 1 (Sequential)    (4, 3)",
            "│     ├─ 0 (Linear)     (4, 3)                         12  yes",
            "│     └─ 1 (Tanh)       (4, 3)",
            "├─ left (Linear)        (4, 2)                          8  partly",
            "├─ right (Linear)       (4, 2)                 2 (shared)  yes",
            "├─ unused (Linear)                                     90  yes",
            "└─ again (Linear)       (4, 3)                   (shared)",
            "──────────────────────────────────────────────────────────────────",
            "Parameters: 136 (544 B)",
            "Trainable: 134",
            "Not trainable: 2",
            "Buffers: 20 B",
            "Outputs of layers: 448 B",
        ]
    )


def test_counts_are_those_of_the_model_and_rows_add_up():
    model = Branches().double()
    table = nn.summary(model, (4, 2))
    assert table.total_params == sum(p.numel() for p in model.parameters()) == 136
    assert sum(row.parameters for row in table.rows) == table.total_params
    assert sum(row.trainable for row in table.rows) == table.trainable_params == 134
    assert table.param_bytes == 8 * 136 and table.buffer_bytes == 40
    # enter, act three times, two blocks of two: four rows of three each; two heads of four by two
    assert table.output_bytes == 8 * (8 * 12 + 2 * 8)
    for depth in range(4):
        rows = nn.summary(model, depth=depth).rows
        assert max(row.depth for row in rows) == depth
        assert sum(row.parameters for row in rows) == table.total_params


def test_without_an_input_there_are_no_shapes():
    table = nn.summary(nn.Linear(2, 1))
    assert "Output" not in str(table) and table.output_bytes is None
    assert table.rows[0].outputs is None


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", tg.tensor(0))

    def forward(self, x):
        if self.training:
            self.calls = self.calls + 1
        return x + tg.rand(2)


def test_the_model_and_the_random_numbers_are_left_as_they_were():
    model = nn.Sequential(Noisy(), nn.Sequential(Noisy()).eval())
    modes = [m.training for m in model.modules()]
    tg.manual_seed(3)
    expected = tg.rand(4).tolist()
    tg.manual_seed(3)
    nn.summary(model, (2, 2))
    assert tg.rand(4).tolist() == expected
    assert [m.training for m in model.modules()] == modes
    assert model[0].calls.item() == 0
    assert not any(m._hooks.in_call for m in model.modules())


def test_an_error_names_the_layer_and_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh(), nn.Linear(4, 1)))
    with pytest.raises(ValueError, match="features") as caught:
        nn.summary(model, (5, 2))
    assert caught.value.__notes__ == ["summary(): in '1.1' (Linear), called with (5, 3)"]
    assert model.training and not any(m._hooks.in_call for m in model.modules())


class Two(nn.Module):
    def forward(self, a, b, scale=1.0):
        return a * scale + b


def test_several_inputs():
    assert nn.summary(Two(), [(2, 3), (3,)]).rows[0].outputs == (2, 3)
    assert nn.summary(Two(), input_data=[tg.ones(2), tg.ones(1)]).rows[0].outputs == (2,)
    named = {"a": tg.ones(2, 1), "b": np.ones(4)}
    assert nn.summary(Two(), input_data=named, scale=2.0).rows[0].outputs == (2, 4)
    assert nn.summary(Two(), a=tg.ones(2), b=tg.ones(2)).rows[0].outputs == (2,)
    assert nn.summary(nn.Tanh(), np.ones((2, 5))).rows[0].outputs == (2, 5)
    assert nn.summary(nn.Tanh(), tg.ones(7)).rows[0].outputs == (7,)


def test_dtypes_of_inputs():
    class Kind(nn.Module):
        def forward(self, *inputs):
            seen.extend(str(x.dtype) for x in inputs)
            return inputs[0]

    seen = []
    nn.summary(Kind(), (2,), dtypes="int64")
    nn.summary(Kind(), [(2,), (3,)], dtypes=["int64", "float64"])
    nn.summary(nn.Sequential(Kind(), nn.Linear(2, 1)).double(), (2,))
    assert seen == ["int64", "int64", "float64", "float64"]
    with pytest.raises(ValueError, match="1 dtypes for 2 inputs"):
        nn.summary(Kind(), [(2,), (3,)], dtypes=["int64"])


def test_what_is_wrong_is_said():
    with pytest.raises(TypeError, match="takes a module, not int"):
        nn.summary(3)
    with pytest.raises(ValueError, match="not both"):
        nn.summary(nn.Tanh(), (2,), tg.ones(2))


def test_html_escapes_names():
    class Odd(nn.Module):
        def forward(self, x):
            return {"<b>": x}

    shown = nn.summary(nn.Sequential({"a&b": Odd()}), (2,))._repr_html_()
    assert "<b>" not in shown and "&lt;b&gt;" in shown and "a&amp;b (Odd)" in shown
    assert shown.count("<tr>") == 3


def test_an_output_that_is_none_is_shown_so():
    encoder = nn.TransformerEncoderLayer(4, 1, 8, batch_first=True)
    rows = {row.name: row.cells()[1] for row in nn.summary(encoder, (2, 5, 4)).rows}
    assert rows["self_attn"] == "(2, 5, 4), None"
