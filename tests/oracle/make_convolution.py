"""Reference numbers for convolution and pooling, made with torch: tests/data/convolution.json.

    python tests/oracle/make_convolution.py

Settings are drawn at random, and those that torch refuses left out. Values, gradients of the sum
of cubes by every operand, and of the sum of squares of these; and layers with their state_dict,
repr, output and gradient. float64; inputs have two digits, many of those to pooling are equal.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
draw = random.Random(7)
generator = torch.Generator().manual_seed(7)


def numbers(*shape: int, is_whole: bool = False) -> torch.Tensor:
    found = torch.randn(*shape, generator=generator)
    return found.round() if is_whole else (found * 100).round() / 100


def each(n: int, low: int, high: int) -> Any:
    """A number for all dimensions or one for each."""
    if draw.random() < 0.5:
        return draw.randint(low, high)
    return [draw.randint(low, high) for _ in range(n)]


def convolution(n: int, is_transposed: bool) -> tuple[list[torch.Tensor], dict[str, Any]]:
    groups, inner, outer = draw.randint(1, 2), draw.randint(1, 2), draw.randint(1, 2)
    lengths = [draw.randint(1, 5) for _ in range(n)]
    kernel = [draw.randint(1, 3) for _ in range(n)]
    batch = [draw.randint(1, 2)] if draw.random() < 0.8 else []
    first, second = groups * outer, inner
    if is_transposed:
        first, second = groups * inner, outer
    operands = [numbers(*batch, groups * inner, *lengths), numbers(first, second, *kernel)]
    operands.append(numbers(groups * outer))
    settings = {
        "stride": each(n, 1, 2),
        "padding": each(n, 0, 2),
        "dilation": each(n, 1, 2),
        "groups": groups,
    }
    if is_transposed:
        settings["output_padding"] = each(n, 0, 1)
    elif draw.random() < 0.3:
        settings |= {"padding": draw.choice(["same", "valid"]), "stride": 1}
    return operands, settings


def pooling(n: int, kind: str) -> tuple[list[torch.Tensor], dict[str, Any]]:
    batch = [draw.randint(1, 2)] if draw.random() < 0.8 else []
    lengths = [draw.randint(3, 6) for _ in range(n)]
    x = numbers(*batch, draw.randint(1, 2), *lengths, is_whole=draw.random() < 0.7)
    if kind.startswith("adaptive"):
        settings: dict[str, Any] = {"output_size": each(n, 1, 7)}
    else:
        settings = {
            "kernel_size": each(n, 1, 4),
            "stride": each(n, 1, 3),
            "padding": each(n, 0, 2),
            "ceil_mode": draw.random() < 0.5,
        }
    if kind == "max_pool":
        settings["dilation"] = each(n, 1, 2)
    if "max" in kind:
        settings["return_indices"] = True
        if draw.random() < 0.3:
            x[torch.rand(x.shape, generator=generator) < 0.15] = draw.choice(
                [float("nan"), -float("inf")]
            )
    if kind == "avg_pool":
        settings["count_include_pad"] = draw.random() < 0.5
        if n == 2 and draw.random() < 0.3:
            settings["divisor_override"] = 3
    return [x], settings


def case(name: str, operands: list[torch.Tensor], settings: dict[str, Any]) -> Any:
    reals = [x.clone().requires_grad_() for x in operands]
    found = getattr(F, name)(*reals, **settings)
    value, indices = found if isinstance(found, tuple) else (found, None)
    first = torch.autograd.grad((value**3).sum(), reals, create_graph=True)
    second = torch.autograd.grad(sum((g * g).sum() for g in first), reals)
    return {
        "function": name,
        "settings": settings,
        "operands": [x.tolist() for x in operands],
        "value": shortened(value),
        "indices": None if indices is None else indices.tolist(),
        "gradients": [shortened(g) for g in first],
        "second": [shortened(g) for g in second],
    }


def shortened(x: torch.Tensor) -> Any:
    """The numbers with twelve digits."""
    if x.dim():
        return [shortened(row) for row in x]
    return float(f"{x.item():.12g}")


def drawn(count: int, name: str, draw_case: Any) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        operands, settings = draw_case()
        try:
            found.append(case(name, operands, settings))
        except RuntimeError:
            continue
    return found


LAYERS = {
    "Conv1d(4, 2, 3, stride=2, padding=1, groups=2)": (2, 4, 7),
    "Conv1d(2, 3, 2, padding='same', padding_mode='circular', bias=False)": (2, 2, 5),
    "Conv2d(2, 3, (3, 2), padding=(1, 0), dilation=(1, 2))": (1, 2, 4, 5),
    "Conv2d(2, 2, 3, padding=1, padding_mode='reflect')": (1, 2, 4, 4),
    "Conv2d(1, 2, 3, padding='same', padding_mode='replicate')": (1, 4, 3),
    "ConvTranspose1d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2)": (2, 2, 4),
    "ConvTranspose2d(2, 3, 2, stride=(2, 1), dilation=2)": (1, 2, 3, 2),
}


def layer(text: str, shape: tuple[int, ...]) -> Any:
    torch.manual_seed(3)
    made = eval(f"torch.nn.{text}")
    x = numbers(*shape).requires_grad_()
    value = made(x)
    gradients = torch.autograd.grad((value**3).sum(), [x, *made.parameters()])
    return {
        "layer": text,
        "repr": repr(made),
        "state": {k: v.tolist() for k, v in made.state_dict().items()},
        "operands": [x.tolist()],
        "value": shortened(value),
        "gradients": [shortened(g) for g in gradients],
    }


REPRS = [
    "MaxPool2d(2)",
    "MaxPool1d(3, 2, 1)",
    "AvgPool2d(2, 2, 1, True, False, 3)",
    "AvgPool1d(2)",
    "AdaptiveAvgPool2d((None, 3))",
    "AdaptiveMaxPool1d(3)",
    "ZeroPad2d(2)",
    "ReflectionPad1d(2)",
    "CircularPad2d(1)",
    "ConstantPad2d((1, 2, 3, 4), 3.5)",
    "ConstantPad1d(2, 1.5)",
    "ReplicationPad1d((1, 2))",
    "Unfold(2)",
    "Fold((3, 3), 2)",
    "Conv2d(4, 6, 3, groups=2)",
    "ConvTranspose2d(4, 6, 3, 2, 1, 1)",
]


def main() -> None:
    found: dict[str, Any] = {"convolution": [], "pooling": []}
    for n in (1, 2):
        for is_transposed in (False, True):
            name = f"conv_transpose{n}d" if is_transposed else f"conv{n}d"
            found["convolution"] += drawn(7, name, lambda n=n, t=is_transposed: convolution(n, t))
        for kind, count in (
            ("max_pool", 6),
            ("avg_pool", 5),
            ("adaptive_max_pool", 4),
            ("adaptive_avg_pool", 3),
        ):
            found["pooling"] += drawn(count, f"{kind}{n}d", lambda n=n, k=kind: pooling(n, k))
    found["layers"] = [layer(text, shape) for text, shape in LAYERS.items()]
    found["reprs"] = {text: repr(eval(f"torch.nn.{text}")) for text in REPRS}
    path = Path(__file__).parent.parent / "data" / "convolution.json"
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print(f"{path.name}: {sum(map(len, found.values()))} cases")


if __name__ == "__main__":
    main()
