"""What a snapshot of an optimizer holds: values off the tape, by name, and back again."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor

from .rule import State


def fields_of(memory: Any) -> dict[str, Any]:
    """What is remembered of one parameter, by name."""
    return memory._asdict() if hasattr(memory, "_asdict") else {}


def copied(value: Any) -> Any:
    """A value for a snapshot: Tensors off the tape and in memory of their own, fields by name.

    A schedule is code, for which None stands; whoever takes the snapshot has it already.
    """
    if isinstance(value, Tensor):
        return value.detach().clone()
    if callable(value):
        return None
    if fields_of(value):
        return {k: copied(v) for k, v in fields_of(value).items()}
    return type(value)(map(copied, value)) if type(value) in (tuple, list) else value


def kept(mine: Any, value: Any) -> Any:
    """A setting after a snapshot: mine where that is a Tensor of its value, or it leaves it out."""
    if isinstance(mine, Tensor) and isinstance(value, Tensor):
        alike = (mine.dtype, mine.shape) == (value.dtype, value.shape) and (mine == value).all()
        return mine if alike else copied(value)
    if value is None and callable(mine):
        return mine
    if type(mine) is type(value) is tuple and len(mine) == len(value):
        return tuple(map(kept, mine, value))
    return copied(value)


def cast(value: Any, dtype: Any) -> Any:
    """What is remembered, with its floating Tensors in a dtype."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {k: cast(v, dtype) for k, v in value.items()}
    if type(value) in (tuple, list):
        return type(value)(cast(v, dtype) for v in value)
    return value


def detached(value: Any) -> Any:
    """The same with all Tensors off the tape."""
    if isinstance(value, Tensor):
        return value.detach()
    if fields_of(value):
        return type(value)(*map(detached, value))
    return type(value)(map(detached, value)) if type(value) in (tuple, list) else value


def kept_for(p: Tensor, g: Tensor, value: Any) -> Any:
    """What a rule remembers of a parameter, in its dtype; not itself nor its gradient, which change
    in place, but copies of them."""
    if isinstance(value, Tensor):
        value = value.clone() if value is p or value is g else value
        return cast(value, p.dtype) if p.is_floating_point() else value
    if fields_of(value):
        return type(value)(*(kept_for(p, g, v) for v in value))
    if type(value) in (tuple, list):
        return type(value)(kept_for(p, g, v) for v in value)
    return value


def restored(name: str, i: int, fresh: State, remembered: dict[str, Any]) -> State:
    """A state of the kind that the rule makes, filled from a snapshot."""
    if "step" not in remembered:
        raise ValueError(f"{name}: what is remembered of parameter {i} has no 'step'")
    given = {k: v for k, v in remembered.items() if k != "step"}
    return State(remembered["step"], [_filled(name, i, fresh.memory[0], given)])


def _filled(name: str, i: int, memory: Any, given: Any) -> Any:
    """What a rule remembers of a parameter, filled from a snapshot; () if it is nothing."""
    fields, given = fields_of(memory), dict(given)
    if set(given) != set(fields):
        raise ValueError(
            f"{name}: the snapshot remembers {sorted(given)} of parameter {i}, not {sorted(fields)}"
        )
    for key, fresh in fields.items():
        if given[key] is None and key in memory._field_defaults:
            continue  # what is remembered only while a setting asks for it
        shape = getattr(given[key], "shape", ())
        if isinstance(fresh, Tensor) and shape != fresh.shape:
            raise ValueError(
                f"{name}: {key} of parameter {i} has shape {shape} in the snapshot, not "
                f"{fresh.shape}"
            )
        inner = isinstance(fresh, tuple)
        given[key] = _filled(name, i, fresh, given[key]) if inner else copied(given[key])
    return memory._replace(**given) if given else memory
