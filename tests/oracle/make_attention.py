"""Reference numbers for attention and Transformers, made with torch: tests/data/attention.json.

    python tests/oracle/make_attention.py

Settings are drawn at random. float64; operands and parameters are not stored but follow from
their shapes (``numbers``). Outputs, gradients of the sum of their cubes by every operand and
parameter, and gradients of the sum of squares of these by the operands.
"""

from __future__ import annotations

import json
import random
import warnings
from math import inf, prod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

torch.set_default_dtype(torch.float64)
warnings.simplefilter("ignore")
draw = random.Random(11)


def numbers(shape: Any, seed: int) -> torch.Tensor:
    """Numbers in [-1, 1] that the tests make by the same rule."""
    i = torch.arange(prod(shape))
    found = ((i + 1) * 7919 + (i * i + seed) * 104729 + i * seed * 31) % 401
    return (found / 200.0 - 1.0).reshape(tuple(shape))


def shortened(x: torch.Tensor) -> Any:
    if x.dim():
        return [shortened(row) for row in x]
    return float(f"{x.item():.11g}")


def boolean(shape: Any, share: float) -> Any:
    return (torch.tensor([draw.random() for _ in range(prod(shape))]) < share).reshape(shape)


def mask(shape: Any, kind: str, hidden: bool) -> Any:
    """A mask in which some places are hidden, which a boolean says by ``hidden``."""
    found = boolean(shape, 0.3)
    if kind == "bool":
        return (found == hidden).tolist()
    added = numbers(shape, draw.randrange(100))
    return torch.where(found, -inf, added).tolist()


def maybe(share: float = 0.5) -> bool:
    return draw.random() < share


def heads_shape(lead: list[int]) -> list[int]:
    """A shape that broadcasts to this one."""
    kept = [n if maybe(0.7) else 1 for n in lead]
    return kept[draw.randint(0, len(kept)) :] if maybe(0.3) else kept


def dot_product() -> Any:
    lead = [draw.randint(1, 3) for _ in range(draw.choice([0, 1, 2, 2, 3]))]
    length, source, e, ev = (draw.randint(1, 4) for _ in range(4))
    heads = [*lead], [*lead]
    settings: dict[str, Any] = {}
    if len(lead) > 1 and maybe(0.3):
        groups = draw.randint(1, 3)
        heads[0][-1] = lead[-1] * groups
        settings["enable_gqa"] = True
    shapes = [[*heads[0], length, e], [*heads[1], source, e], [*heads[1], source, ev]]
    if maybe(0.3):
        settings["scale"] = draw.choice([0.5, 2.0, 0.0, -1.5])
    kind = draw.choice(["none", "bool", "float", "causal"])
    if kind == "causal":
        settings["is_causal"] = True
    elif kind != "none":
        # torch stretches a mask of one dimension or of a full shape only
        settings["attn_mask"] = mask((*heads_shape(heads[0]), length, source), kind, False)
    return shapes, settings


def causal(length: int, source: int, kind: str) -> Any:
    hides = torch.ones(length, source).triu(1) > 0
    return (hides if kind == "bool" else torch.where(hides, -inf, 0.0)).tolist()


def masks(batch: int | None, heads: int, length: int, source: int, names: tuple[str, str]) -> Any:
    """A mask of places and one of keys, or none."""
    settings: dict[str, Any] = {}
    kind = draw.choice(["bool", "float"])
    if maybe(0.4):
        shape = (length, source) if maybe() else ((batch or 1) * heads, length, source)
        settings[names[0]] = mask(shape, kind, True)
    elif maybe(0.3):
        settings[names[0]] = causal(length, source, kind)
        settings["is_causal"] = True
    if maybe(0.4):
        shape = (source,) if batch is None else (batch, source)
        settings[names[1]] = mask(shape, kind, True)
    return settings


def sequence(batch: int | None, length: int, features: int, is_first: bool) -> list[int]:
    if batch is None:
        return [length, features]
    return [batch, length, features] if is_first else [length, batch, features]


def attention() -> Any:
    heads, width = draw.randint(1, 2), draw.randint(1, 2)
    e, batch = heads * width, draw.choice([None, 1, 2, 2])
    length, source, first = draw.randint(1, 3), draw.randint(1, 3), maybe()
    options: dict[str, Any] = {"batch_first": True} if first else {}
    for name in ("add_bias_kv", "add_zero_attn"):
        if maybe(0.2):
            options[name] = True
    if maybe(0.3):
        options["bias"] = False
    shared = draw.choice(["all", "keys", "none"])
    kdim = vdim = e
    if shared == "none" and maybe():
        options |= {"kdim": draw.randint(1, 3), "vdim": draw.randint(1, 3)}
        kdim, vdim = options["kdim"], options["vdim"]
    if shared == "all":
        source = length
    inputs = {"query": sequence(batch, length, e, first)}
    if shared != "all":
        inputs["key"] = sequence(batch, source, kdim, first)
    if shared == "none":
        inputs["value"] = sequence(batch, source, vdim, first)
    settings = masks(batch, heads, length, source, ("attn_mask", "key_padding_mask"))
    if maybe():
        settings["need_weights"] = False
    elif maybe():
        settings["average_attn_weights"] = False
    if "is_causal" in settings and ({"add_bias_kv", "add_zero_attn"} & set(options)):
        del settings["is_causal"]  # torch's results differ by need_weights
    given = "".join(f", {k}={v}" for k, v in options.items())
    return f"nn.MultiheadAttention({e}, {heads}{given})", inputs, settings


def block(kind: str) -> tuple[str, int, int, bool]:
    heads, width = draw.randint(1, 2), draw.randint(1, 2)
    e, first = heads * width, maybe()
    given = f"{e}, {heads}, {draw.randint(1, 3)}, 0.0"
    given += draw.choice(["", ", 'gelu'", ", nn.functional.relu", ", torch.tanh"])
    for name, value, share in (
        ("norm_first", True, 0.5),
        ("bias", False, 0.3),
        ("layer_norm_eps", 0.01, 0.3),
    ):
        if maybe(share):
            given += f", {name}={value}"
    given += ", batch_first=True" * first
    return f"nn.Transformer{kind}Layer({given})", e, heads, first


def encoder() -> Any:
    text, e, heads, first = block("Encoder")
    batch, length = draw.choice([None, 1, 2, 2]), draw.randint(1, 3)
    names = "src_mask", "src_key_padding_mask"
    if maybe(0.4):
        text = f"nn.TransformerEncoder({text}, {draw.randint(1, 2)}"
        text += f", nn.LayerNorm({e})" * maybe() + ", enable_nested_tensor=False)"
        names = "mask", "src_key_padding_mask"
    return (
        text,
        {"src": sequence(batch, length, e, first)},
        masks(batch, heads, length, length, names),
    )


def decoder() -> Any:
    text, e, heads, first = block("Decoder")
    batch, length, source = draw.choice([None, 1, 2, 2]), draw.randint(1, 3), draw.randint(1, 3)
    if maybe(0.4):
        text = f"nn.TransformerDecoder({text}, {draw.randint(1, 2)}"
        text += f", nn.LayerNorm({e})" * maybe() + ")"
    inputs = {
        "tgt": sequence(batch, length, e, first),
        "memory": sequence(batch, source, e, first),
    }
    settings = masks(batch, heads, length, length, ("tgt_mask", "tgt_key_padding_mask"))
    if settings.pop("is_causal", False):
        settings["tgt_is_causal"] = True
    more = masks(batch, heads, length, source, ("memory_mask", "memory_key_padding_mask"))
    more.pop("is_causal", None)
    return text, inputs, settings | more


def whole() -> Any:
    heads, width = draw.randint(1, 2), draw.randint(1, 2)
    e, batch = heads * width, draw.choice([None, 1, 2])
    length, source, first = draw.randint(1, 3), draw.randint(1, 3), maybe()
    text = f"nn.Transformer({e}, {heads}, 1, 1, 2, 0.0, 'gelu'"
    text += ", batch_first=True" * first + ", norm_first=True" * maybe() + ")"
    inputs = {
        "src": sequence(batch, source, e, first),
        "tgt": sequence(batch, length, e, first),
    }
    settings = {"tgt_mask": causal(length, length, "float"), "tgt_is_causal": True}
    return text, inputs, settings if maybe() else {}


def tensors(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: torch.tensor(v) if isinstance(v, list) else v for k, v in settings.items()}


def derivatives(outputs: list[torch.Tensor], leaves: dict[str, Any], inputs: Any) -> Any:
    """Gradients by the leaves; and of the sum of their squares, by the inputs."""
    loss = sum((y**3).sum() for y in outputs)
    first = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, allow_unused=True)
    by = [g for g in first if g is not None and g.requires_grad]
    second = torch.autograd.grad(sum((g * g).sum() for g in by), inputs, allow_unused=True)
    return (
        {name: None if g is None else shortened(g) for name, g in zip(leaves, first)},
        [None if g is None else shortened(g) for g in second],
    )


def dot_product_case() -> Any:
    shapes, settings = dot_product()
    operands = [numbers(s, i).requires_grad_() for i, s in enumerate(shapes)]
    given = tensors(settings)
    leaves = dict(zip(("query", "key", "value"), operands))
    if "attn_mask" in given and given["attn_mask"].is_floating_point():
        leaves["attn_mask"] = given["attn_mask"].requires_grad_()
    y = F.scaled_dot_product_attention(*operands, **given)
    gradients, second = derivatives([y], leaves, operands)
    return {
        "shapes": shapes,
        "settings": settings,
        "outputs": [shortened(y)],
        "gradients": gradients,
        "second": second,
    }


def module_case(drawn: Any) -> Any:
    text, shapes, settings = drawn
    made = eval(text, {"nn": nn, "torch": torch})
    parameters = {name: list(p.shape) for name, p in made.named_parameters()}
    state = {name: numbers(s, i + 10) for i, (name, s) in enumerate(parameters.items())}
    made.load_state_dict(state)
    inputs = {name: numbers(s, i).requires_grad_() for i, (name, s) in enumerate(shapes.items())}
    leaves = inputs | dict(made.named_parameters())
    given = dict(inputs)
    if "query" in given:
        given["key"] = given.get("key", given["query"])
        given["value"] = given.get("value", given["key"])
    found = made(**given, **tensors(settings))
    outputs = [y for y in (found if isinstance(found, tuple) else (found,)) if y is not None]
    gradients, second = derivatives(outputs, leaves, list(inputs.values()))
    return {
        "module": text,
        "inputs": shapes,
        "settings": settings,
        "parameters": parameters,
        "outputs": [shortened(y) for y in outputs],
        "gradients": gradients,
        "second": second,
    }


KINDS: dict[str, tuple[int, Any]] = {
    "dot_product": (16, dot_product_case),
    "attention": (20, lambda: module_case(attention())),
    "encoder": (14, lambda: module_case(encoder())),
    "decoder": (8, lambda: module_case(decoder())),
    "whole": (3, lambda: module_case(whole())),
}


def is_finite(found: Any) -> bool:
    return "NaN" not in json.dumps([found["outputs"], found["gradients"], found["second"]])


def cases(kind: str, count: int) -> list[Any]:
    """So many cases; where torch gives NaN (weights of queries that may look nowhere) none."""
    found: list[Any] = []
    with sdpa_kernel(SDPBackend.MATH):
        while len(found) < count:
            made = KINDS[kind][1]()
            if is_finite(made):
                found.append(made)
    return found


REPRS = [
    "nn.MultiheadAttention(4, 2)",
    "nn.MultiheadAttention(4, 2, bias=False)",
    "nn.TransformerEncoderLayer(4, 2)",
    "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 2, nn.LayerNorm(4))",
    "nn.TransformerDecoderLayer(4, 2, activation=nn.GELU())",
    "nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2), 1)",
]


def main() -> None:
    found: dict[str, Any] = {kind: cases(kind, count) for kind, (count, _) in KINDS.items()}
    found["reprs"] = {text: repr(eval(text)) for text in REPRS}
    path = Path(__file__).parent.parent / "data" / "attention.json"
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print(f"{path.name}: {sum(map(len, found.values()))} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
