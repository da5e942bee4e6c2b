"""Reference numbers for the elementwise operations, made with PyTorch.

Run with PyTorch installed: ``python tests/oracle/make_elementwise.py``. Writes
``tests/data/elementwise.json``: values, first and second derivatives at ordinary points, the
result dtypes of operations, and the dtypes that operands promote to.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
ANY = [-2.3, -0.7, 0.4, 1.9, 3.2]
OTHER = [1.5, -2.25, 0.8, 2.6, -0.45]
POSITIVE = [0.03, 0.4, 1.3, 2.6, 7.5]
INSIDE = [-0.93, -0.4, 0.1, 0.55, 0.9]
UNIT = [0.02, 0.3, 0.5, 0.71, 0.97]
ABOVE = [1.1, 1.6, 2.5, 4.0, 9.0]
GAMMA = [-1.7, -0.4, 0.3, 2.6, 7.5]

PLAIN = {
    "abs absolute neg negative positive square sign sgn exp exp2 expm1 sigmoid tanh sinh cosh": ANY,
    "asinh arcsinh sin cos tan atan arctan sinc deg2rad rad2deg erf erfc relu floor ceil": ANY,
    "trunc fix frac round reciprocal": ANY,
    "log log2 log10 sqrt rsqrt": POSITIVE,
    "log1p": [-0.9, *UNIT],
    "asin acos arcsin arccos atanh arctanh erfinv": INSIDE,
    "acosh arccosh": ABOVE,
    "logit": UNIT,
    "lgamma digamma": GAMMA,
}
PAIRS = {
    "add sub mul div subtract multiply divide true_divide copysign maximum minimum": OTHER,
    "fmax fmin clamp_min clamp_max atan2 arctan2 hypot logaddexp logaddexp2 remainder fmod": OTHER,
}
# name, torch's function, arguments (lists are arrays), keywords
CASES = [(n, getattr(torch, n), [x], {}) for names, x in PLAIN.items() for n in names.split()]
CASES += [(n, getattr(torch, n), [ANY, x], {}) for names, x in PAIRS.items() for n in names.split()]
CASES += [
    ("add", torch.add, [ANY, OTHER], {"alpha": 2.5}),
    ("sub", torch.sub, [ANY, OTHER], {"alpha": 2.5}),
    ("div", torch.div, [ANY, OTHER], {"rounding_mode": "floor"}),
    ("div", torch.div, [ANY, OTHER], {"rounding_mode": "trunc"}),
    ("pow", torch.pow, [POSITIVE, OTHER], {}),
    *(("pow", torch.pow, [ANY, p], {}) for p in (0, 1, 2, 3, 4, -1, -2, 2.0, 3.0)),
    *(("pow", torch.pow, [POSITIVE, p], {}) for p in (0.5, -0.5, 1.5)),
    ("pow", torch.pow, [2, ANY], {}),
    ("pow", torch.pow, [0.3, ANY], {}),
    ("float_power", torch.float_power, [POSITIVE, OTHER], {}),
    ("xlogy", torch.xlogy, [ANY, POSITIVE], {}),
    ("xlog1py", torch.special.xlog1py, [ANY, POSITIVE], {}),
    ("lerp", torch.lerp, [ANY, OTHER, UNIT], {}),
    ("addcmul", torch.addcmul, [ANY, OTHER, POSITIVE], {"value": 1.5}),
    ("addcdiv", torch.addcdiv, [ANY, OTHER, POSITIVE], {"value": 1.5}),
    ("clip", torch.clip, [ANY], {"min": -1.0, "max": 2.0}),
    ("clamp", torch.clamp, [ANY], {"max": 0.5}),
    ("clamp", torch.clamp, [ANY, [-3.0, 0.0, 0.5, 2.0, 1.0], [0.0, 1.0, 0.6, 1.0, 2.0]], {}),
    ("softplus", F.softplus, [[-30.0, -2.0, 0.0, 0.5, 12.0]], {}),
    ("softplus", F.softplus, [ANY], {"beta": 2.5}),
    ("softplus", F.softplus, [ANY], {"beta": 2.0, "threshold": 3.0}),
    ("logsigmoid", F.logsigmoid, [ANY], {}),
    ("leaky_relu", F.leaky_relu, [ANY], {"negative_slope": 0.1}),
    ("logit", torch.logit, [UNIT], {"eps": 0.1}),
    ("nan_to_num", torch.nan_to_num, [[1.5, float("nan"), float("inf"), -float("inf")]], {}),
    (
        "nan_to_num",
        torch.nan_to_num,
        [[1.5, float("nan"), float("inf"), -float("inf")]],
        {"nan": 2.0, "posinf": 3.0, "neginf": 4.0},
    ),
    ("round", torch.round, [[1.234, -5.678, 0.5]], {"decimals": 1}),
    ("round", torch.round, [[123.4, -567.8, 50.0]], {"decimals": -2}),
    *(("polygamma", torch.polygamma, [n, POSITIVE], {}) for n in (0, 1, 2, 3)),
]


def case(name, function, args, keywords):
    xs = [torch.tensor(a, requires_grad=True) if isinstance(a, list) else a for a in args]
    tracked = [x for x in xs if isinstance(x, torch.Tensor)]
    y = function(*xs, **keywords)
    first, second = [], []
    for x in tracked:
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        first.append(plain(g, x))
        row = [None] * len(tracked)
        if g.requires_grad:
            row = torch.autograd.grad(g.sum(), tracked, allow_unused=True, retain_graph=True)
        second.append([plain(r, x) for r in row])
    return {
        "name": name,
        "args": args,
        "keywords": keywords,
        "value": y.tolist(),
        "first": first,
        "second": second,
    }


def plain(g, x):
    """A gradient as a list; PyTorch has None and tensors without storage for zeros."""
    zeros = torch.zeros_like(x.detach())
    return zeros.tolist() if g is None else (zeros + g.detach()).tolist()


DTYPES = ["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]


def operands():
    for name in DTYPES:
        dtype = getattr(torch, name)
        yield f"array {name}", torch.ones(2, dtype=dtype)
        yield f"scalar {name}", torch.ones((), dtype=dtype)


def short(dtype):
    return str(dtype).removeprefix("torch.")


def promotions():
    torch.set_default_dtype(torch.float32)
    numbers = [("number bool", True), ("number int", 1), ("number float", 1.0)]
    table = []
    for left, a in operands():
        for right, b in [*operands(), *numbers]:
            table.append([left, right, short(torch.result_type(a, b))])
    return table


def result_dtypes():
    """What torch makes of each dtype, where it takes it at all."""
    torch.set_default_dtype(torch.float32)
    table = []
    unary = sorted({n for names in PLAIN for n in names.split()})
    binary = sorted({n for names in PAIRS for n in names.split()})
    binary += [
        "pow",
        "floor_divide",
        "xlogy",
        "float_power",
        "bitwise_and",
        "bitwise_or",
        "eq",
        "lt",
    ]
    for name in [*unary, "isnan", "isfinite", "logical_not", "bitwise_not", *binary]:
        for dtype in ("bool", "int32", "int64", "float16", "float32", "float64"):
            x = torch.ones(2, dtype=getattr(torch, dtype))
            args = (x, x) if name in binary else (x,)
            try:
                table.append([name, len(args), dtype, short(getattr(torch, name)(*args).dtype)])
            except (RuntimeError, NotImplementedError):
                continue
    return table


data = {
    "torch": torch.__version__.split("+")[0],
    "cases": [case(*c) for c in CASES],
    "promotions": promotions(),
    "dtypes": result_dtypes(),
}
path = Path(__file__).resolve().parent.parent / "data" / "elementwise.json"
path.parent.mkdir(exist_ok=True)
text = json.dumps(data).replace('{"name"', '\n{"name"').replace("], [[", "],\n[[")
path.write_text(text + "\n", encoding="utf-8")
print(path, len(data["cases"]), len(data["promotions"]), len(data["dtypes"]))
