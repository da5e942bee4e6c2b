"""What losses ask of their operands.

Kinds and shapes are known without looking at values and raise at once. What depends on values
(labels, probabilities) goes through the engine's recorded :func:`tapegrad.check`, so that a loss
can be replayed on other values and still be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tapegrad import Tensor, as_tensor, check
from tapegrad.ops.engine import all_between

#: How far the sum of a row of probabilities may be from 1.
ROW_SUM_TOLERANCE = 1e-3


def tensors(what: str, **operands: Any) -> list[Tensor]:
    """The operands as Tensors: arrays are taken, lists are refused with a word on what to do.

    The first operand must be floating point; so must others that are checked by themselves.
    """
    found = []
    for name, value in operands.items():
        if type(value) is not Tensor:
            if not hasattr(value, "shape"):
                raise TypeError(
                    f"{what}: {name} must be a tensor or an array, not {type(value).__name__}: "
                    "make it a tensor first, tg.tensor(...)"
                )
            value = as_tensor(value)
        found.append(value)
    floating(what, next(iter(operands)), found[0])
    return found


def floating(what: str, name: str, value: Tensor) -> None:
    """Refuse an operand of integers or booleans, through which no gradient flows."""
    if value.dtype.kind != "f":
        raise TypeError(
            f"{what}: {name} must be floating point, not {value.dtype}: {name}.float() makes it so"
        )


def matching(what: str, **operands: Any) -> list[Tensor]:
    """The operands as Tensors of one shape that is not empty."""
    found = tensors(what, **operands)
    names = list(operands)
    for name, value in zip(names[1:], found[1:]):
        same_shape(what, names[0], found[0], name, value)
    not_empty(what, names[0], found[0])
    return found


def same_shape(what: str, first: str, input: Tensor, second: str, target: Tensor) -> None:
    """Refuse operands whose shapes differ: (N,) against (N, 1) would broadcast to (N, N)."""
    if input.shape == target.shape:
        return
    raise ValueError(
        f"{what}: {first} has shape {input.shape} but {second} has shape {target.shape}; "
        f"a silent broadcast would compare every pair.{reshape_hint(second, target, input.shape)}"
    )


def reshape_hint(name: str, value: Tensor, shape: tuple[int, ...]) -> str:
    """What to do about dimensions of length 1 that are missing or too many."""
    if [n for n in value.shape if n != 1] != [n for n in shape if n != 1]:
        return ""
    return f" Use {name}.reshape{shape} to line them up."


def not_empty(what: str, name: str, value: Tensor) -> None:
    """Refuse an empty batch: its mean is 0/0."""
    if 0 in value.shape:
        raise ValueError(f"{what}: the batch is empty ({name} has shape {value.shape})")


def dimensions(what: str, name: str, value: Tensor, shape: str, *counts: int) -> None:
    """Refuse an operand with another number of dimensions; ``shape`` says which are meant."""
    if value.ndim not in counts:
        raise ValueError(f"{what}: {name} must have shape {shape}, not {value.shape}")


def inside(what: str, name: str, value: Tensor, low: float, high: float, hint: str = "") -> None:
    """Check that values lie in [low, high]; the first that does not is named."""

    def message(value: Any) -> str:
        bad = first_bad((value >= low) & (value <= high), value)
        return (
            f"{what}: {name} must be in [{low:g}, {high:g}], but {bad}{'; ' + hint if hint else ''}"
        )

    check(all_between(value, low=low, high=high), message, value)


def setting(what: str, name: str, value: Any, shape: tuple[int, ...] | None = None) -> None:
    """Refuse a setting that is neither a number nor a tensor, or a tensor that does not broadcast
    to ``shape``: against (N,) losses one of (N, 1) would make N × N of them."""
    if isinstance(value, (int, float)):
        return
    given = getattr(value, "shape", None)
    if given is None:
        raise TypeError(
            f"{what}: {name} must be a number or a tensor, not {type(value).__name__} {value!r}"
        )
    if shape is None or not given:
        return
    if len(given) > len(shape) or any(
        n not in (1, wanted) for n, wanted in zip(given[::-1], shape[::-1])
    ):
        raise ValueError(
            f"{what}: {name} must be one number"
            f"{f' or broadcast to {shape}' if shape else ''}, but it has shape {given}"
        )


def positive(what: str, name: str, value: Any, shape: tuple[int, ...] | None = None) -> None:
    """Check a setting that must be above 0, number or Tensor (broadcasting to ``shape``)."""
    if type(value) is float and value > 0.0:
        return
    setting(what, name, value, shape)
    check(as_tensor(value) > 0, f"{what}: {name} must be positive, not {{}}", value)


def not_negative(what: str, name: str, value: Any, shape: tuple[int, ...] | None = None) -> None:
    """Check a setting that must be 0 or more, number or Tensor (broadcasting to ``shape``)."""
    if type(value) is float and value >= 0.0:
        return
    setting(what, name, value, shape)
    check(as_tensor(value) >= 0, f"{what}: {name} must not be negative, not {{}}", value)


def first_bad(good: Any, value: Any) -> str:
    """Which entry is not good, for a message: its value and its place."""
    if not getattr(value, "shape", ()):
        return f"it is {value!s}"
    at = tuple((~good).nonzero()[axis][0] for axis in range(good.ndim))
    return f"{name_entry(at)} is {value[at]!s}"


def name_entry(at: tuple[Any, ...]) -> str:
    """A place in an array as one writes it: entry [2] or [0, 3]."""
    return f"entry [{', '.join(str(i) for i in at)}]"


def rows_add_up(what: str, name: str, value: Tensor, dim: int) -> None:
    """Check that probabilities lie in [0, 1] and that those along ``dim`` add up to 1."""
    inside(what, name, value, 0.0, 1.0, "these are no probabilities")
    total = value.sum(dim=dim)
    low, high = 1.0 - ROW_SUM_TOLERANCE, 1.0 + ROW_SUM_TOLERANCE

    def message(total: Any) -> str:
        return (
            f"{what}: the probabilities of {name} along dimension {dim} must add up to 1 (within "
            f"{ROW_SUM_TOLERANCE:g}), but of their sums "
            f"{first_bad((total >= low) & (total <= high), total)}"
        )

    check(all_between(total, low=low, high=high), message, total)


def integers(what: str, name: str, value: Tensor, called: str = "integers") -> None:
    """Refuse what is of another kind than integers."""
    if value.dtype.kind not in "iu":
        raise TypeError(
            f"{what}: {name} must be {called}, not {value.dtype}: {name}.long() makes it so"
        )


def labels(
    what: str, name: str, value: Tensor, classes: int, ignore_index: int | None = None
) -> None:
    """Check class indices: integers in 0 … classes - 1, or ``ignore_index``."""
    integers(what, name, value, "class indices (integers)")

    def message(value: Any) -> str:
        unless = "" if ignore_index is None else f" and not ignore_index={ignore_index}"
        good = ((value >= 0) & (value < classes)) | (value == ignore_index)
        return (
            f"{what}: a label is outside 0 … {classes - 1}{unless}: in {name} "
            f"{first_bad(good, value)}"
        )

    check(all_between(value, low=0, high=classes - 1, also=ignore_index), message, value)


def lengths(what: str, name: str, value: Any, count: int, limit: int, things: str) -> Tensor:
    """Checked lengths: for each of ``count`` sequences how many of its ``limit`` things count."""
    if not hasattr(value, "shape") and not isinstance(value, (int, tuple, list)):
        raise TypeError(
            f"{what}: {name} must be integers (a tensor, array, tuple or number), not "
            f"{type(value).__name__} {value!r}"
        )
    value = as_tensor(value)
    if value.dtype.kind not in "iu":
        raise TypeError(f"{what}: {name} must be integers, not {value.dtype}")
    if value.ndim == 0:
        value = value.unsqueeze(0)
    if value.shape != (count,):
        raise ValueError(
            f"{what}: {name} must hold one length for each of the {count} sequences, shape "
            f"({count},), not {value.shape}"
        )

    def message(value: Any) -> str:
        return (
            f"{what}: there are {limit} {things}, so {name} must be in 0 … {limit}, but "
            f"{first_bad((value >= 0) & (value <= limit), value)}"
        )

    check(all_between(value, low=0, high=limit), message, value)
    return value.long()


def parameter_list(what: str, parameters: Any) -> list[Tensor]:
    """Parameters as tensors: of a tensor, an iterable, a dict by name, or a Module; not none."""
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    elif callable(getattr(parameters, "parameters", None)):
        parameters = parameters.parameters()
    elif isinstance(parameters, Mapping):
        parameters = parameters.values()
    elif hasattr(parameters, "shape"):
        parameters = [parameters]
    if not isinstance(parameters, Iterable):
        raise TypeError(
            f"{what}: parameters must be tensors (one, an iterable or a dict of them) or a Module, "
            f"not {type(parameters).__name__}"
        )
    found = []
    for i, parameter in enumerate(parameters):
        if isinstance(parameter, tuple):  # (name, parameter), of named_parameters()
            parameter = parameter[1]
        found += tensors(what, **{f"parameters[{i}]": parameter})
    if not any(parameter.numel() for parameter in found):
        raise ValueError(
            f"{what}: the parameters are empty ({len(found)} tensors): an iterator, such as "
            "model.parameters(), can be gone through once"
        )
    return found


def is_number_zero(setting: Any) -> bool:
    """Whether a setting is the plain number 0, so that its term can be left out. A Tensor is not:
    its gradient at 0 is wanted."""
    return type(setting) in (int, float) and setting == 0
