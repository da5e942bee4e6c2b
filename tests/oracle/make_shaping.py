"""Reference numbers for shaping, joining, indexing, scattering, sorting and windows.

Run with PyTorch installed: ``python tests/oracle/make_shaping.py``. Writes
``tests/data/shaping.json``: for each expression the results and, for a fixed cotangent, the
gradients by the operands in it. The tests evaluate the same text with tapegrad in torch's place.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

# In an expression: t is the library, F its nn.functional, and these are the operands.
SHAPES = {
    "s": (),
    "v": (5,),
    "w": (3,),
    "m": (3, 4),
    "q": (3, 3),
    "x": (2, 3, 4),
    "i": (2, 3, 5, 6),
}
I23 = "t.tensor([[0, 2, 2], [1, 0, 2]])"
I34 = "t.tensor([[0, 1, 1, 0], [2, 2, 0, 1], [1, 1, 1, 2]])"
GROUPS = {
    "shaping": """
        x.reshape(4, -1)
        x.view(-1)
        x.transpose(1, 2).reshape(2, 12)
        x.flatten(1)
        x.flatten(0, 1)
        s.flatten()
        x.unflatten(2, (2, -1))
        x.ravel()
        x.view_as(t.zeros(6, 4))
        x.permute(2, 0, 1)
        x.transpose(0, -1)
        x.swapaxes(0, 1)
        m.t()
        v.t()
        m.T
        x.mT
        t.movedim(x, 0, -1)
        t.movedim(x, (0, 1), (2, 0))
        x.unsqueeze(1).squeeze(1)
        x[:1].squeeze()
        x[:1].squeeze(0)
        x[:1, :, :1].squeeze((0, 2))
        x.squeeze(1)
        s.unsqueeze(-1)
        m.expand(2, 3, 4)
        m[:, :1].expand(-1, 4)
        w.unsqueeze(1).expand_as(m)
        t.broadcast_to(w, (2, 3))
        t.broadcast_tensors(m[:, :1], w)
        t.flip(x, (0, 2))
        x.flip(1)
        t.fliplr(m)
        t.flipud(m)
        t.roll(x, 2)
        t.roll(x, 1, 0)
        t.roll(x, (1, -2), (0, 2))
        t.roll(m, (1, 1), (1, 1))
        t.rot90(m)
        t.rot90(x, 2, (0, 2))
        t.rot90(x, 3, (1, 2))
        t.rot90(m, -1)
        t.atleast_1d(s)
        t.atleast_2d(w)
        t.atleast_3d(s)
        t.atleast_3d(w)
        t.atleast_3d(m)
        t.tril(x)
        t.tril(m, diagonal=1)
        t.triu(m, -1)
        t.triu(x, diagonal=2)
        t.diagonal(m)
        t.diagonal(x, 1, 1, 2)
        x.diagonal(offset=-1, dim1=2, dim2=0)
        t.diag(w)
        t.diag(w, -1)
        t.diag(m, 1)
        t.diag_embed(m)
        t.diag_embed(w, 2)
        t.diag_embed(m, 1, 0, 2)
        t.diag_embed(m, 1, 2, 0)
        t.trace(q)
        x.narrow(1, 1, 2)
        x.select(2, -1)
        m.clone()
        m.contiguous()
    """,
    "joining": """
        t.cat([x, x[:1]])
        t.cat((m, w.unsqueeze(1)), dim=1)
        t.cat((v, w), -1)
        t.concat((t.tensor([], dtype=t.float64), v, v))
        t.stack([w, w * 2])
        t.stack([w, w * 2], dim=-1)
        t.stack([s, s * s])
        t.hstack([v, w])
        t.hstack([m, q])
        t.vstack([w, w])
        t.vstack([m, m[:1]])
        t.dstack([w, w])
        t.dstack([m, m])
        t.column_stack([w, m])
        t.meshgrid(v, w, indexing="ij")
        t.meshgrid(v, w, indexing="xy")
        t.meshgrid(v, s, w, indexing="ij")
        x.split(2, dim=2)
        x.split([1, 3], -1)
        v.split(2)
        t.chunk(v, 3)
        v.chunk(4)
        x.chunk(2, dim=1)
        t.tensor_split(v, 3)
        t.tensor_split(v, (1, 3))
        t.tensor_split(x, (2, 1), dim=2)
        x.unbind(1)
        v.unbind()
        v.repeat(2)
        m.repeat(2, 1, 3)
        s.repeat(3)
        t.tile(m, (2,))
        m.tile(2, 1, 1)
        t.repeat_interleave(m, 2)
        m.repeat_interleave(3, dim=1)
        m.repeat_interleave(t.tensor([0, 2, 1]), dim=0)
        F.pad(m, (1, 2))
        F.pad(m, (1, 0, 0, 2), value=2.5)
        F.pad(m, (-1, 2, 1, -1))
        F.pad(m, (-1, 2, 1, -1), value=-1.0)
        F.pad(x, (2, 1), mode="reflect")
        F.pad(x, (2, 1), mode="replicate")
        F.pad(x, (3, 4), mode="circular")
        F.pad(i, (1, 2, 2, 1), mode="reflect")
        F.pad(i, (1, 2, 7, 0), mode="replicate")
        F.pad(i, (0, 1, 2, 0), mode="circular")
    """,
    "indexing": f"""
        x[0]
        x[-1, 1:, ::2]
        x[..., 0]
        x[None, :, None, 1]
        x[1, 2, 3]
        x[:, [0, 2]]
        x[:, [2, 2, 2], 1:3]
        x[[0, 1, 0], :, [3, 3, 3]]
        x[[0, 1], [2, 1]]
        x[1, [2, 2]]
        x[t.tensor(1)]
        x[t.tensor([1, 1, 0])]
        x[:, t.tensor([[0, 1], [2, 0]])]
        x[t.tensor([1, 1]), 0, t.tensor([2, 2])]
        x[..., t.tensor([3, 3])]
        x[x > 0]
        x[:, t.tensor([True, False, True])]
        m[m[:, 0] > 0, 1:]
        m[t.tensor([True, False, True]), t.tensor([1, 3])]
        m[True]
        m[[]]
        v[t.tensor([-1, -5, 0])]
        x[:, :, t.tensor([0, -1])][:, [1, 1]]
        list(x)[1]
        t.index_select(x, 1, t.tensor([2, 0, 2]))
        x.index_select(-1, t.tensor([1]))
        t.take(x, t.tensor([[0, 23], [5, 5]]))
        t.take(x, t.tensor([-1, 3]))
        t.take_along_dim(m, t.tensor([[1], [0], [3]]), dim=1)
        t.take_along_dim(x, t.tensor([[[2, 1, 0, 0]]]), 1)
        t.take_along_dim(m, t.tensor([0, 11, 11]))
        t.index_add(m, 0, t.tensor([0, 2, 0]), q @ m)
        m.index_add(1, t.tensor([0, 3, 0]), q, alpha=2)
        t.index_copy(m, 1, t.tensor([3, 0, 1]), q)
        m.index_fill(1, t.tensor([0, 2]), 7.0)
        m.index_fill(0, t.tensor([1]), s)
        t.index_put(m, (t.tensor([0, 1, 0]), t.tensor([2, 2, 2])), w, accumulate=True)
        t.index_put(m, (t.tensor([0, 1]),), s)
        t.index_put(m, (t.tensor([0, 1]), t.tensor([1, 3])), w[:2])
        t.masked_fill(m, m > 0, s)
        m.masked_fill(m > 0, -2.0)
        t.masked_select(m, m > 0)
        m.masked_select(t.tensor([True, False, True, True]))
        t.masked_scatter(m, t.tensor([True, False, True, False]), v.repeat(2))
        t.nonzero(m > 0)
        t.nonzero(m > 0, as_tuple=True)
        t.nonzero(t.tensor(5))
        t.argwhere(t.tensor([[0, 1], [1, 0]]))
        t.unique(t.tensor([3, 1, 3, 2]), return_inverse=True, return_counts=True)
        t.unique(t.tensor([[3, 1], [3, 2]]), return_inverse=True)
        t.unique(t.tensor([[3, 1], [0, 2], [3, 1]]), dim=0, return_inverse=True, return_counts=True)
        t.unique_consecutive(t.tensor([1, 1, 2, 2, 3, 1]), return_inverse=True, return_counts=True)
        t.unique_consecutive(t.tensor([[1, 2], [1, 2], [0, 2]]), return_counts=True, dim=0)
        F.one_hot(t.tensor([[0, 2], [1, 0]]))
        F.one_hot(t.tensor(1), 4)
        t.searchsorted(t.tensor([1, 3, 5, 7]), t.tensor([[3, 6], [0, 9]]))
        t.searchsorted(t.tensor([1, 3, 3, 7]), t.tensor([3]), right=True)
        t.searchsorted(t.tensor([[1, 3, 5], [2, 4, 6]]), t.tensor([[3, 6], [3, 6]]))
        t.searchsorted(t.tensor([5, 1, 3]), t.tensor([2]), sorter=t.tensor([1, 2, 0]))
        t.bucketize(t.tensor([3, 6]), t.tensor([1, 3, 5]))
        t.bucketize(t.tensor([3, 6]), t.tensor([1, 3, 5]), right=True)
        t.isin(t.tensor([1, 2, 3]), t.tensor([2, 5]))
        t.isin(t.tensor([[1, 2]]), t.tensor([2, 5]), invert=True)
        t.gather(m, 1, {I23})
        t.gather(x, 2, t.tensor([[[1], [3], [3]]]))
        m.gather(0, {I34})
        t.scatter(m, 1, {I23.replace("2, 2]", "2, 3]", 1)}, q[:2])
        t.scatter(m, 0, t.tensor([[0, 1, 2, 0]]), 1.5)
        t.scatter_add(m, 1, {I23}, q[:2])
        t.scatter_add(m, 0, {I34}, m * 2)
        t.scatter_reduce(m, 1, {I23}, q[:2], "sum")
        t.scatter_reduce(m, 1, {I23}, q[:2], "sum", include_self=False)
        t.scatter_reduce(m, 1, {I23}, q[:2], "mean")
        t.scatter_reduce(m, 1, {I23}, q[:2], "mean", include_self=False)
        t.scatter_reduce(m, 1, {I23}, q[:2], "amax")
        t.scatter_reduce(m, 1, {I23}, q[:2], "amin", include_self=False)
        t.scatter_reduce(m, 1, {I23}, q[:2], "prod")
        t.scatter_reduce(m, 1, {I23}, q[:2], "prod", include_self=False)
        t.scatter_reduce(m, 1, {I23}, q[:2] * t.tensor([[0, 1, 0], [1, 0, 1]]), "prod")
    """,
    "sorting": """
        t.sort(x)
        x.sort(1, descending=True)
        x.sort(dim=0)
        t.sort(t.tensor([2, 1, 2, 1, 0]), stable=True)
        t.sort(t.tensor([2, 1, 2, 1, 0]), stable=True, descending=True)
        t.argsort(x, dim=1)
        m.argsort(descending=True)
        t.sort(s)
        t.msort(m)
        t.topk(x, 2)
        x.topk(2, dim=1, largest=False)
        t.topk(v, 5)
        t.topk(s, 1)
        t.topk(t.cos(t.arange(100) * v[0]), 3)
        t.topk(t.cos(t.arange(100) * v[0]), 4, largest=False)
        t.kthvalue(m, 2)
        x.kthvalue(3, dim=1, keepdim=True)
        t.kthvalue(s, 1)
    """,
    "windows": """
        v.unfold(0, 2, 1)
        v.unfold(0, 3, 2)
        x.unfold(1, 2, 1)
        x.unfold(-1, 2, 2).unfold(1, 3, 1)
        s.unfold(0, 1, 1)
        F.unfold(i, 2)
        F.unfold(i, (3, 2), dilation=(1, 2), padding=(2, 1), stride=(2, 1))
        F.unfold(i[0], (2, 3), stride=2)
        F.fold(i.reshape(2, 6, 15), (4, 9), (2, 1), stride=(1, 2))
        F.fold(i.reshape(2, 6, 15), (5, 7), (1, 2), dilation=(1, 2), padding=(0, 1), stride=(1, 3))
        F.fold(i[0].reshape(6, 15), (4, 10), (2, 1), stride=(1, 2))
    """,
}


def operands(names: set[str]) -> dict[str, torch.Tensor]:
    """Distinct ordinary numbers, the same as in the test."""
    found = {}
    for k, (name, shape) in enumerate(SHAPES.items()):
        count = math.prod(shape)
        values = torch.sin(torch.arange(count, dtype=torch.float64) * 1.7 + k) * (1 + k / 8)
        found[name] = values.reshape(shape).requires_grad_(name in names)
    return found


def describe(result: torch.Tensor) -> dict:
    return {"shape": list(result.shape), "dtype": str(result.dtype)[6:], "value": result.tolist()}


def evaluate(text: str) -> dict:
    code = compile(text, text, "eval")
    found = operands(set(code.co_names) & set(SHAPES))
    result = eval(code, {"t": torch, "F": F, **found})
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    case = {"expression": text, "results": [describe(r.detach()) for r in results]}
    total = 0.0
    for k, r in enumerate(results):
        if r.requires_grad:
            cotangent = torch.cos(torch.arange(r.numel(), dtype=torch.float64) * 0.9 + k)
            total = total + (r * cotangent.reshape(r.shape)).sum()
    if isinstance(total, torch.Tensor):
        total.backward()
        case["gradients"] = {
            n: describe(o.grad)["value"] for n, o in found.items() if o.grad is not None
        }
    return case


def main() -> None:
    lines = [
        json.dumps({"group": group, **evaluate(text.strip())})
        for group, texts in GROUPS.items()
        for text in texts.strip().splitlines()
    ]
    path = Path(__file__).parents[1] / "data" / "shaping.json"
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
