"""Mathematics above the engine is tensor operations only; this reads the syntax tree to see."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("losses", "optim", "nn")

#: (file, function): why it may leave tensor ops. An entry that is not needed fails too.
ALLOWED = {
    ("optim/optimizer.py", "_moves"): "the shell: a step that is not recorded",
    ("optim/optimizer.py", "_arrange"): "the shell: state begins off the tape",
    ("optim/optimizer.py", "put"): "the shell's write-back: a value into a leaf",
    ("optim/lbfgs.py", "lbfgs"): "its steps are no formula, and it refuses to be differentiated",
    ("optim/lbfgs.py", "_number"): "its line search compares numbers",
    ("optim/lbfgs.py", "step"): "its shell: the step is not recorded",
    ("optim/wrappers.py", "_shift"): "the shell of SAM: not recorded unless asked",
    ("optim/wrappers.py", "detach_"): "cuts the tape because it was asked to",
    ("optim/averages.py", "__init__"): "averages of leaves are off the tape",
    ("optim/averages.py", "update"): "averages of leaves are off the tape",
    ("optim/averages.py", "average_parameters"): "leaves put aside are off the tape",
    ("optim/snapshots.py", "copied"): "a snapshot of values, off the tape",
    ("optim/snapshots.py", "detached"): "cuts the tape because it was asked to",
    ("optim/scheduler.py", "_copy"): "a snapshot of values, off the tape",
    ("optim/lr_scheduler.py", "step"): "a metric decides by its value, which has no derivative",
    ("optim/plateau.py", "reduce_on_plateau"): "a metric decides by its value, as above",
    ("optim/schedule.py", "span_of"): "how much of a schedule a picture shows",
    ("optim/schedule.py", "_length"): "how much of a schedule a picture shows",
    ("optim/schedule.py", "values_of"): "a picture is of values",
    ("nn/utils/clip_grad.py", "clip_grad_adaptively_"): "gradients off the tape stay off it",
    ("optim/running.py", "begin"): "ends one stretch; its derivative is carried on by hand",
    ("optim/unrolling.py", "_plain"): "results, off the tape",
    ("optim/sensitivities.py", "sensitivity"): "numbers of a report",
    ("optim/reversible.py", "ratio"): "a momentum as two whole numbers, to be undone exactly",
    ("nn/utils/rnn.py", "sizes_of"): "lengths of sequences are sizes",
    ("nn/utils/rnn.py", "_ints"): "lengths of sequences are sizes",
    ("nn/module.py", "_apply"): "writes cast values into leaves",
    ("nn/state.py", "_fitting"): "values that are to be written into leaves",
    ("nn/state.py", "write"): "writes values into leaves",
    ("nn/state.py", "undo"): "writes values into leaves",
    ("nn/summarizing.py", "_call"): "a call for its shapes",
    ("nn/utils/convert_parameters.py", "vector_to_parameters"): "writes values into leaves",
    ("nn/data/conversion.py", "_array"): "data handling: an array of Python's numbers",
    ("nn/data/conversion.py", "_column"): "data handling: columns of frames",
    ("nn/data/samplers.py", "__iter__"): "data handling: indices",
    ("nn/data/splitting.py", "random_split"): "data handling: indices, and how many",
    ("nn/data/standardizing.py", "fit"): "the place of a number, in an error",
    ("nn/data/standardizing.py", "_apply"): "data handling: arrays come back as arrays",
    ("nn/metrics/ranking.py", "_arrays"): "scikit-learn takes arrays; a metric is off the tape",
    ("nn/init/filling.py", "_fill"): "writes random draws into leaves",
    ("nn/init/filling.py", "constant_"): "writes a constant into a leaf",
    ("nn/looking_up.py", "_shorten"): "writes shortened rows into the table, as torch",
    ("nn/sparse.py", "reset_parameters"): "writes zeros into a leaf",
    ("nn/diagnosing.py", "diagnose"): "numbers of a report; the model is left as it was",
    ("nn/diagnosing.py", "_measured"): "numbers of a report; the model is left as it was",
    ("nn/diagnosing.py", "_health"): "numbers of a report; the model is left as it was",
    ("nn/diagnosing.py", "_rms"): "numbers of a report; the model is left as it was",
    ("nn/diagnosing.py", "_share"): "numbers of a report; the model is left as it was",
    ("nn/diagnosing.py", "_condition"): "numbers of a report; the model is left as it was",
    ("nn/diagnosing.py", "_bad_data"): "numbers of a report; the model is left as it was",
    ("nn/landscapes.py", "loss_landscape"): "numbers of a report; the model is left as it was",
    ("nn/rate_range.py", "lr_range_test"): "numbers of a report; the model is left as it was",
    ("nn/plotting.py", "lines"): "a picture is of values",
    ("nn/numbers_of.py", "number"): "numbers of logs, and decisions by metrics",
    ("nn/numbers_of.py", "is_finite"): "numbers of logs, and decisions by metrics",
    ("nn/estimating.py", "seed_of"): "random draws: a seed",
    ("nn/estimators.py", "predict"): "scikit-learn is given arrays; predictions are off the tape",
    ("nn/estimators.py", "decision_function"): "scikit-learn is given arrays, as above",
    ("nn/estimators.py", "predict_proba"): "scikit-learn is given arrays, as above",
    ("nn/estimators.py", "predict_log_proba"): "scikit-learn is given arrays, as above",
    ("nn/feeding.py", "split_off"): "a number of samples",
    ("nn/nonfinite.py", "__init__"): "a copy of values, off the tape",
    ("nn/nonfinite.py", "restore"): "writes values back into buffers",
    ("nn/nonfinite.py", "bad_gradient"): "whether a step may be made",
    ("nn/resuming.py", "restore_random_states"): "the states of random numbers",
    ("nn/trainer.py", "predict"): "predictions are off the tape",
    ("nn/training_loop.py", "_step_with_gradients"): "gradients off the tape stay off it",
    ("nn/training_loop.py", "measure"): "metrics are for reports",
    ("nn/training_loop.py", "evaluated"): "an evaluation is for a report",
    ("nn/perceptron.py", "fit"): "writes weights into leaves, and mistakes decide when to stop",
    ("nn/perceptron.py", "reset_parameters"): "writes zeros into leaves",
    ("nn/utils/parametrizations.py", "__init__"): "singular vectors begin off the tape",
    ("nn/utils/parametrize.py", "_inverse"): "values that are to be written into leaves",
    ("nn/utils/parametrize.py", "_write"): "writes values into leaves",
    ("nn/utils/parametrize.py", "remove_parametrizations"): "a value to be written into a leaf",
}

CUTTING_METHODS = {"item", "numpy", "detach", "tolist", "detach_"}
CUTTING_CALLS = {"float", "int", "bool", "no_grad", "round"}
FOREIGN = {"numpy", "scipy", "math", "cmath"}
#: Settings and values that may be Tensors: branching on their value would cut the gradient.
REAL = {
    *("lr", "momentum", "dampening", "weight_decay", "decay", "betas", "beta1", "beta2", "eps"),
    *("epsilon", "peak", "floor", "rate", "max_norm", "norm", "scale", "params", "grads"),
    *("delta", "gamma", "alpha", "margin", "smoothing", "label_smoothing", "temperature"),
    *("weight", "pos_weight", "input", "target", "error", "loss", "values"),
}


def leaves_tensor_ops(node: ast.AST) -> str | None:
    """What in this node leaves tensor ops, or None."""
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in CUTTING_METHODS:
            return f".{called.attr}()"
        if isinstance(called, ast.Name) and called.id in CUTTING_CALLS:
            return f"{called.id}()"
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            number = called.value.id == "math" and all(type(a) is ast.Constant for a in node.args)
            if called.value.id in {"np", "numpy", "math"} and not number:  # math.log(2.0) is fine
                return f"{called.value.id}.{called.attr}()"
            if called.attr == "no_grad":
                return "no_grad()"
    if isinstance(node, ast.Attribute) and node.attr in {"data", "_value"}:
        return f".{node.attr}"
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        names = (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
        for name in names:
            root = name.split(".")[0]
            if root in FOREIGN - {"math"}:  # math.pi and sizes are fine; its calls are caught
                return f"import {root}"
    if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert, ast.BoolOp)):
        # each of these asks for the truth of a comparison, which cuts the tape
        for part in ast.walk(node if isinstance(node, ast.BoolOp) else node.test):
            if isinstance(part, ast.Compare) and not all(
                isinstance(op, (ast.Is, ast.IsNot, ast.In, ast.NotIn)) for op in part.ops
            ):
                for operand in (part.left, *part.comparators):
                    if isinstance(operand, ast.Name) and operand.id in REAL:
                        return f"a branch on the value of {operand.id}"
    return None


def findings(source: str, file: str) -> list[tuple[str, str, int, str]]:
    """(file, function, line, what) for everything that leaves tensor ops in a source text."""
    found = []

    def visit(node: ast.AST, function: str, outer: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            # Inner functions count as the outermost one: rules are closures.
            outer = outer or node.name
            function = outer
        what = leaves_tensor_ops(node)
        if what:
            found.append((file, function or "<module>", getattr(node, "lineno", 0), what))
        for child in ast.iter_child_nodes(node):
            visit(child, function, outer)

    visit(ast.parse(source), "", "")
    return found


def all_findings() -> list[tuple[str, str, int, str]]:
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            found += findings(path.read_text(encoding="utf-8"), file)
    return found


def test_mathematics_is_tensor_ops_only():
    unlisted = [f for f in all_findings() if (f[0], f[1]) not in ALLOWED]
    assert not unlisted, "\n".join(
        f"{f}:{line} in {name}: {what}" for f, name, line, what in unlisted
    )


def test_every_exception_is_needed():
    used = {(f[0], f[1]) for f in all_findings()}
    unused = set(ALLOWED) - used
    assert not unused, sorted(unused)


@pytest.mark.parametrize(
    "line",
    [
        "np.exp(x)",
        "x.item()",
        "float(x)",
        "x.detach()",
        "math.sqrt(x)",
        "x.data + 1",
        "if delta > 1: pass",
        "y = 1 if lr < 0 else 2",
        "y = lr and delta != 0",
        "import numpy as np",
        "from scipy import special",
        "with tg.no_grad(): pass",
    ],
)
def test_the_reader_sees(line):
    assert findings(f"def f(x, delta, lr):\n    {line}\n", "f.py")


@pytest.mark.parametrize(
    "line",
    [
        "y = x * math.pi - math.log(2.0)",
        "if weight is None: pass",
        "y = (x > 0) * x",
        "y = x.sum()",
    ],
)
def test_the_reader_lets_pass(line):
    assert not findings(f"def f(x, weight):\n    {line}\n", "f.py")
