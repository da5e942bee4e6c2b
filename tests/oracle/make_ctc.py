"""Reference numbers for the CTC loss, made with PyTorch (float64): tests/data/ctc.json.

    python tests/oracle/make_ctc.py

Values of torch.nn.functional.ctc_loss, and gradients by the logits, through log_softmax. PyTorch's
gradient by the log-probabilities themselves is not stored: it is the true one plus
exp(log_probs), which log_softmax takes away again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

torch.manual_seed(20)
torch.set_default_dtype(torch.float64)


def case(frames: int, classes: int, input_lengths: Any, targets: Any, **settings: Any) -> Any:
    target_lengths = settings.pop("target_lengths")
    batch = () if isinstance(input_lengths, int) else (len(input_lengths),)
    logits = (2.0 * torch.randn(frames, *batch, classes)).requires_grad_()
    value = F.ctc_loss(
        logits.log_softmax(-1),
        torch.tensor(targets),
        torch.tensor(input_lengths),
        torch.tensor(target_lengths),
        **settings,
    )
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    return {
        "logits": logits.tolist(),
        "targets": targets,
        "input_lengths": input_lengths,
        "target_lengths": target_lengths,
        "settings": settings,
        "value": value.tolist(),
        "gradient": gradient.tolist(),
    }


ROWS = [[1, 2, 3], [2, 2, 1], [4, 1, 0]]
FLAT = [1, 2, 3, 2, 2, 4]
CASES = {
    "mean": case(7, 5, (7, 7, 7), ROWS, target_lengths=(3, 3, 2)),
    "sum": case(7, 5, (7, 7, 7), ROWS, target_lengths=(3, 3, 2), reduction="sum"),
    "none": case(7, 5, (7, 7, 7), ROWS, target_lengths=(3, 3, 2), reduction="none"),
    "frames of different number": case(7, 5, (7, 5, 3), ROWS, target_lengths=(3, 3, 2)),
    "a target without labels": case(6, 5, (6, 5, 4), ROWS, target_lengths=(3, 0, 1)),
    "no target has labels": case(4, 5, (4, 3, 4), ROWS, target_lengths=(0, 0, 0)),
    "as few frames as will do": case(4, 5, (3, 4, 2), ROWS, target_lengths=(3, 3, 2)),
    "another blank": case(
        6, 5, (6, 5, 6), [[0, 1], [3, 3], [2, 0]], target_lengths=(2, 2, 1), blank=4
    ),
    "one after the other": case(7, 5, (7, 6, 5), FLAT, target_lengths=(3, 2, 1)),
    "one after the other, one empty": case(7, 5, (7, 6, 5), FLAT, target_lengths=(3, 0, 3)),
    "one sequence": case(6, 4, 6, [1, 3, 3], target_lengths=3),
    "one sequence, none": case(6, 4, 5, [1, 3, 3], target_lengths=3, reduction="none"),
    "no frames, no labels": case(3, 4, (3, 0), [[1, 2], [0, 0]], target_lengths=(2, 0)),
    "infinity made zero": case(4, 5, (4, 3, 0), ROWS, target_lengths=(3, 3, 2), zero_infinity=True),
    "long": case(50, 6, (50, 40), [[1, 2, 3, 3, 4, 5, 1, 1] * 2] * 2, target_lengths=(16, 12)),
}

path = Path(__file__).parent.parent / "data" / "ctc.json"
path.write_text(json.dumps(CASES) + "\n")
print(f"{path.name}: {len(CASES)} cases")
