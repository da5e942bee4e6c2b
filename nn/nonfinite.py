"""Where a loss or a gradient that is NaN or infinite comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from tapegrad.records import FIRST, LEAF, NOTE, NUMBER, OP, OUTPUT, PICK, REMEDIES, note_of
from tapegrad.records import next_number as now
from tapegrad.tensors import make
from tapegrad.values import shape_of

from .feeding import leaves_of
from .numbers_of import is_finite, number

__all__ = ["NonFiniteLoss"]

AGAIN = "Run once more on the same batch it was finite: something that is not seeded is random."


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
    """The state of the random numbers and of buffers, to which one can return.

    ``holders``: the dicts in which modules have their buffers.
    """

    def __init__(self, holders: list[dict[str, Any]]) -> None:
        self._random = get_rng_state()
        with no_grad():
            self._buffers = [
                (holder, name, buffer, buffer.clone())
                for holder in holders
                for name, buffer in holder.items()
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
    grads = [p.grad.detach().numpy() for _, p in named if p.grad is not None]
    # what is not finite makes a sum that is not; asked in every step, so of bare arrays
    if is_finite(sum(grad.sum().item() for grad in grads)):
        return None
    with no_grad():
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
    with _called_layers(model) as layers, detect_anomaly(check_nan=False):
        loss = again()
    records = [r for r in below(loss._record) if r[OP] is not LEAF and r[OP] is not PICK]
    bad = [r for r in records if any(not number(isfinite(v).all()) for v in _outputs(r))]
    if not bad:
        return None, AGAIN
    found = min(bad, key=lambda r: r[NUMBER])
    kind = "NaN" if any(number(isnan(v).any()) for v in _outputs(found)) else "inf"
    return _said(found, "forward", kind, layers)


def _backward(model: Any, again: Callable[[], Tensor]) -> tuple[str | None, str]:
    """The first rule of a derivative whose result is not finite, in another run."""
    for p in model.parameters():
        p.grad = None
    with _called_layers(model) as layers, detect_anomaly(check_nan=False):
        loss = again()
    records = below(loss._record)
    arrived: dict[int, str] = {}

    def watch(record: Any) -> Any:
        def hook(grad: Tensor) -> None:
            if not number(isfinite(grad).all()):
                arrived[id(record)] = "NaN" if number(isnan(grad).any()) else "inf"

        return note_of(record).add_hook(hook)

    # several results are each picked from their record, and the picked have a gradient each
    handles = [watch(record) for record in records if type(record[OUTPUT]) is not tuple]
    loss.backward()
    for handle in handles:
        handle.remove()
    bad = [record for record in records if id(record) in arrived]
    if not bad:
        return None, AGAIN
    # what uses it has got a finite gradient, for it is later: its rule made this of it
    last = max(bad, key=lambda r: r[NUMBER])
    users = [r for r in records if any(operand is last for operand in r[FIRST + 1 :: 2])]
    return _said(users[0] if users else last, "backward rule", arrived[id(last)], layers)


def _said(record: Any, what: str, kind: str, layers: list[tuple[int, int, str]]) -> tuple[str, str]:
    """The name of an operation, and a sentence on what it made, of what, and where."""
    op = str(record[OP])
    inside = [layer for layer in layers if layer[0] < record[NUMBER] < layer[1]]
    where = f" in layer {max(inside)[2]}" if inside else ""
    shapes = ", ".join(str(shape_of(v)) for v in record[FIRST::2])
    hint = REMEDIES.get(op, "") if kind == "NaN" else "It is at a pole, or has grown too large."
    stack = record[NOTE].stack if record[NOTE] is not None else None
    called_at = f" It was called at:\n{''.join(stack).rstrip()}" if stack else ""
    return op, (
        f"First the {what} of '{op}'{where} produced {kind} (operand shapes: {shapes})."
        f"{' ' if hint else ''}{hint}{called_at}"
    )


def below(last: Any) -> list[Any]:
    """A record and all that it was made of."""
    seen: dict[int, Any] = {}
    waiting = [last]
    while waiting:
        record = waiting.pop()
        if record is not None and id(record) not in seen:
            seen[id(record)] = record
            waiting += record[FIRST + 1 :: 2]
    return list(seen.values())


def _outputs(record: Any) -> list[Tensor]:
    """The floating results of an operation."""
    raw = record[OUTPUT] if type(record[OUTPUT]) is tuple else (record[OUTPUT],)
    made = [make(value, None) for value in raw]
    return [value for value in made if value.is_floating_point()]


@contextmanager
def _called_layers(model: Any) -> Iterator[list[tuple[int, int, str]]]:
    """Inside, every call of a layer is noted: the numbers of the records before and after it."""
    calls: list[tuple[int, int, str]] = []
    handles: list[Any] = []

    def watch(shown: str, module: Any) -> None:
        began: list[int] = []
        handles.append(module.register_forward_pre_hook(lambda m, args: began.append(now())))
        handles.append(
            module.register_forward_hook(
                lambda m, args, out: calls.append((began.pop(), now(), shown))
            )
        )

    for name, module in model.named_modules():
        if name:
            watch(f"{name!r} ({type(module).__name__})", module)
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
