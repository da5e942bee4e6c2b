"""Numbers of torch.func for tests/test_func.py. Run it with PyTorch installed:

python tests/oracle/make_func.py
"""

import json
from pathlib import Path

import torch
from torch import func

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
PARAMS = {
    "a": torch.randn(3, 4),
    "b": torch.randn(4),
    "c": torch.randn(4, 2),
}
X = torch.randn(5, 3)
Y = torch.randn(5, 2)


def predict(params, x):
    return torch.tanh(x @ params["a"] + params["b"]) @ params["c"]


def loss(params, x, y):
    return ((predict(params, x) - y) ** 2).mean()


def of_b(b):
    return loss({**PARAMS, "b": b}, X, Y)


def listed(tree):
    if isinstance(tree, dict):
        return {k: listed(v) for k, v in tree.items()}
    return tree.tolist()


direction = torch.randn(4)
found = {
    "inputs": {"params": PARAMS, "x": X, "y": Y, "direction": direction},
    "grad": func.grad(loss)(PARAMS, X, Y),
    "per_example": func.vmap(func.grad(loss), in_dims=(None, 0, 0))(PARAMS, X, Y),
    "jacobian": func.jacrev(predict)(PARAMS, X[0]),
    "jacobian_x": func.vmap(func.jacfwd(predict, argnums=1), in_dims=(None, 0))(PARAMS, X),
    "hessian": func.hessian(of_b)(PARAMS["b"]),
    "hvp": func.jvp(func.grad(of_b), (PARAMS["b"],), (direction,))[1],
    "third": func.jacfwd(func.jacfwd(func.grad(of_b)))(PARAMS["b"]),
    "norm_of_gradient": func.grad(
        lambda b: (
            func.vmap(func.grad(loss), in_dims=(None, 0, 0))({**PARAMS, "b": b}, X, Y)["c"] ** 2
        ).sum()
    )(PARAMS["b"]),
}
target = Path(__file__).parent.parent / "data" / "func.json"
target.write_text(json.dumps(listed(found)))
