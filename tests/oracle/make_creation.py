"""Reference results of creation functions: shapes, dtypes and values.

Run with PyTorch installed: ``python tests/oracle/make_creation.py``. Writes
``tests/data/creation.json``; the tests evaluate the same text with tapegrad as ``t``.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

EXPRESSIONS = """
    t.zeros(2, 3)
    t.zeros((2, 3), dtype=t.int64)
    t.zeros(())
    t.zeros([0, 2])
    t.zeros(size=(2,))
    t.ones(2, dtype=t.float64)
    t.ones(3, dtype=t.bool)
    t.full((2, 2), 7)
    t.full((2,), 7.5)
    t.full((2,), True)
    t.full((), 3, dtype=t.float32)
    t.full((2,), t.tensor(2.5))
    t.empty(0, 3)
    t.eye(2)
    t.eye(2, 3, dtype=t.int64)
    t.arange(5)
    t.arange(1, 4)
    t.arange(5, 0, -2)
    t.arange(0)
    t.arange(2.0)
    t.arange(0, 1, 0.25)
    t.arange(1, 2, 0.1)
    t.arange(0.5, 3)
    t.arange(3, dtype=t.float64)
    t.arange(0, 1, 0.1, dtype=t.float64)
    t.linspace(0, 1, 5)
    t.linspace(3, -1, 3)
    t.linspace(0, 1, 1)
    t.linspace(0, 5, 4, dtype=t.int64)
    t.logspace(0, 2, 3)
    t.logspace(0, 3, 4, base=2)
    t.zeros_like(t.tensor([1, 2]))
    t.ones_like(t.tensor([[1.0, 2.0]]))
    t.ones_like(t.tensor([1.0]), dtype=t.int64)
    t.full_like(t.tensor([1, 2]), 5)
    t.empty_like(t.tensor(1.0)) * 0
    t.tril_indices(3, 3)
    t.tril_indices(3, 4, 1)
    t.triu_indices(3, 4, -1)
    t.as_tensor([1, 2.5])
    t.as_tensor(3)
    t.as_tensor([1, 2], dtype=t.float32)
    t.asarray([True, False])
    t.scalar_tensor(2)
    t.tensor([1.7, -1.7]).to(t.int64)
    t.tensor([1.7, 0.0]).bool()
    t.tensor([1, 2]).float()
    t.tensor([1, 2]).double()
    t.tensor([1.5]).half()
    t.tensor([1.5]).int()
    t.tensor([1.5]).short()
    t.tensor([1.5]).long()
    t.tensor([1, 0]).type(t.bool)
    t.tensor([1, 0], dtype=t.float)
    t.tensor([1, 0], dtype=t.long)
    t.tensor([1, 0]).type_as(t.tensor(1.0))
    t.tensor([1, 0]).to(t.tensor(1.0))
    t.tensor([1, 0]).to("cpu", t.float64)
    t.tensor([1, 0]).to(device="cpu", dtype=t.float64)
    t.tensor([1.0]).new_zeros(2, 2)
    t.tensor([1]).new_ones((2,))
    t.tensor([1]).new_full((2,), 3)
    t.tensor([1.0]).new_tensor([2, 3])
    t.zeros(3, device="cpu")
"""


def main() -> None:
    lines = []
    for text in EXPRESSIONS.strip().splitlines():
        found = eval(text.strip(), {"t": torch})
        case = {"expression": text.strip(), "dtype": str(found.dtype)[6:]}
        case |= {"shape": list(found.shape), "value": found.tolist()}
        lines.append(json.dumps(case))
    path = Path(__file__).parents[1] / "data" / "creation.json"
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
