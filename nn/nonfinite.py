"""Where a loss or a gradient that is NaN or infinite comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad import (
    Tensor,
    detect_anomaly,
    get_rng_state,
    isfinite,
    isnan,
    no_grad,
    set_rng_state,
)
from tapegrad.records import FIRST, LEAF, NOTE, NUMBER, OP, OUTPUT, PICK, anomaly_message
from tapegrad.records import next_number as now
from tapegrad.tensors import make
from tapegrad.values import shape_of

from .feeding import leaves_of
from .numbers_of import is_finite, number

__all__ = ["NonFiniteLoss"]


class NonFiniteLoss(FloatingPointError):
    """The loss, or a gradient, of a batch is NaN or infinite.

    Says the epoch and the batch (both from 1), the first operation that made it, in which layer,
    and where that was called. ``epoch`` and ``batch`` are counted from 0; ``operation`` is its name
    or None. The parameters and buffers are as they were before the batch.
    """

    def __init__(self, message: str, epoch: int, batch: int, operation: str | None = None) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.operation = epoch, batch, operation


class Before:
    """The state of the random numbers and of a model's buffers, to which one can return."""

    def __init__(self, model: Any) -> None:
        self._random = get_rng_state()
        self._buffers = [
            (module._buffers, name, buffer, buffer.clone())
            for module in model.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]

    def restore(self) -> None:
        """Return to it."""
        set_rng_state(self._random)
        with no_grad():
            for holder, name, buffer, value in self._buffers:
                holder[name] = buffer
                buffer.copy_(value)


def bad_gradient(named: list[tuple[str, Tensor]]) -> str | None:
    """The name of a parameter whose gradient is not finite; None if there is none."""
    with no_grad():
        sums = [p.grad.sum() for _, p in named if p.grad is not None]
        if not sums or is_finite(number(sum(sums[1:], sums[0]))):
            return None  # what is not finite makes a sum that is not
        for name, p in named:
            if p.grad is not None and not number(isfinite(p.grad).all()):
                return name
    return None


def explained(
    what: str,
    model: Any,
    batch: Any,
    again: Callable[[], Tensor],
    before: Before,
    place: tuple[int, int],
    backward: bool = False,
) -> NonFiniteLoss:
    """The error for a loss or gradient that is not finite.

    ``what`` is wrong with ``again()``, the loss, when it begins at ``before``; ``backward``: its
    derivative is meant.
    """
    epoch, number_of_batch = place
    operation = None
    said = _given(model, batch)
    if said is None:
        before.restore()
        operation, said = _backward(model, again) if backward else _forward(model, again)
    before.restore()
    for p in model.parameters():
        p.grad = None
    return NonFiniteLoss(
        f"Epoch {epoch + 1}, batch {number_of_batch + 1}: {what}. {said}\n"
        "The parameters are as they were before this batch.",
        epoch,
        number_of_batch,
        operation,
    )


def _given(model: Any, batch: Any) -> str | None:
    """What was not finite from the beginning."""
    for name, p in model.named_parameters():
        if not number(isfinite(p).all()):
            return f"The parameter {name!r} (shape {p.shape}) was not finite before."
    for part, name in zip(batch, ("x", "y", "sample_weight")):
        for at, leaf in leaves_of(part, name):
            if leaf.is_floating_point() and not number(isfinite(leaf).all()):
                count = number((~isfinite(leaf)).sum())
                return (
                    f"The data is not finite: {at} (shape {leaf.shape}) of this batch has "
                    f"{count:.0f} such value(s)."
                )
    return None


def _forward(model: Any, again: Callable[[], Tensor]) -> tuple[str | None, str]:
    """The first operation that is not finite, as the tape of another run shows it."""
    calls: list[tuple[int, int, str]] = []
    with _called_layers(model, calls), detect_anomaly(check_nan=False):
        loss = again()
    found = _first(loss._record)
    if found is None:
        return None, "Run once more on the same batch it was finite: something else is random."
    op = str(found[OP])
    outputs = _outputs(found)
    layers = [call for call in calls if call[0] < found[NUMBER] < call[1]]
    layer = f" in layer {max(layers)[2]}" if layers else ""
    if any(number(isnan(v).any()) for v in outputs):
        return (
            op,
            f"The first operation is '{op}'{layer}: {anomaly_message(found, 'the forward of')}",
        )
    shapes = ", ".join(str(shape_of(v)) for v in found[FIRST::2])
    stack = found[NOTE].stack if found[NOTE] is not None else None
    where = f" It was called at:\n{''.join(stack)}" if stack else ""
    return op, (
        f"The first operation is '{op}'{layer}: it produced inf (operand shapes: {shapes}); the "
        f"numbers have grown too large, or it is at a pole.{where}"
    )


def _backward(model: Any, again: Callable[[], Tensor]) -> tuple[str | None, str]:
    """The first rule of a derivative that gave NaN, as the engine's own check shows it."""
    for p in model.parameters():
        p.grad = None
    try:
        with detect_anomaly():
            again().backward()
    except RuntimeError as error:
        said = str(error)
        parts = said.split("'")
        return (parts[1] if len(parts) > 2 else None), said[:1].upper() + said[1:]
    return None, "It is infinite: a derivative has a pole there, or has grown too large."


def _first(last: Any) -> Any:
    """The record of the earliest operation below a record whose result is not finite."""
    seen, waiting, found = set(), [last], None
    while waiting:
        record = waiting.pop()
        if record is None or id(record) in seen:
            continue
        seen.add(id(record))
        waiting += record[FIRST + 1 :: 2]
        if record[OP] is LEAF or record[OP] is PICK:
            continue
        if found is not None and record[NUMBER] > found[NUMBER]:
            continue
        if any(not number(isfinite(v).all()) for v in _outputs(record)):
            found = record
    return found


def _outputs(record: Any) -> list[Tensor]:
    """The floating results of an operation."""
    raw = record[OUTPUT] if type(record[OUTPUT]) is tuple else (record[OUTPUT],)
    made = [make(value, None) for value in raw]
    return [value for value in made if value.is_floating_point()]


class _called_layers:
    """Inside, every call of a layer is noted: the numbers of the records before and after it."""

    def __init__(self, model: Any, calls: list[tuple[int, int, str]]) -> None:
        self.model, self.calls = model, calls
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for name, module in self.model.named_modules():
            if name and not any(True for _ in module.children()):
                self._watch(f"{name!r} ({type(module).__name__})", module)

    def _watch(self, shown: str, module: Any) -> None:
        began: list[int] = []
        self.handles += [
            module.register_forward_pre_hook(lambda m, args: began.append(now())),
            module.register_forward_hook(
                lambda m, args, out: self.calls.append((began.pop(), now(), shown))
            ),
        ]

    def __exit__(self, *exc: object) -> None:
        for handle in self.handles:
            handle.remove()
