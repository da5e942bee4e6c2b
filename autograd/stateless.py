"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

__all__ = ["functional_call"]


def functional_call(
    module: Any,
    parameters_and_buffers: Any,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with tensors in place of its parameters and buffers.

    ``parameters_and_buffers``: a dict from dotted names (as ``module.named_parameters()`` gives)
    to tensors, or several such dicts; what is not named keeps the module's own. ``args``: a tuple,
    or one argument. ``tie_weights``: a parameter that the module holds under two names is
    replaced under both. ``strict``: every parameter and buffer must be named. The module's own
    tensors are back when the call ends, also by an error. A buffer that the call sets anew (a
    running mean) is set in the given dict.

    Raises KeyError for a name the module does not have.

    >>> import tapegrad as tg
    >>> layer = tg.nn.Linear(2, 1)
    >>> weights = {"weight": tg.tensor([[2.0, 3.0]]), "bias": tg.tensor([1.0])}
    >>> tg.func.functional_call(layer, weights, tg.tensor([1.0, 1.0]))
    tensor([6.])
    """
    dicts = (
        list(parameters_and_buffers)
        if isinstance(parameters_and_buffers, (tuple, list))
        else [parameters_and_buffers]
    )
    for given in dicts:
        if not isinstance(given, Mapping):
            raise TypeError(
                "functional_call: parameters_and_buffers must be a dict from names to tensors (or "
                f"a tuple of such dicts), not {type(given).__name__}"
            )
    places = _places(module)
    values: dict[str, Any] = {}
    origin: dict[str, Any] = {}
    for given in dicts:
        for name, value in given.items():
            if name not in places:
                known = ", ".join(sorted(places)) or "none"
                raise KeyError(f"functional_call: the module has no {name!r}; it has {known}")
            if name in values:
                raise ValueError(f"functional_call: {name!r} is given twice")
            values[name] = value
            origin[name] = given
    if tie_weights:
        _tie(places, values)
    if strict and set(values) != set(places):
        missing = ", ".join(sorted(set(places) - set(values)))
        raise RuntimeError(f"functional_call: strict=True, and these are not given: {missing}")
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    own = {name: places[name][0][places[name][1]] for name in values}
    try:
        for name, value in values.items():
            holder, key = places[name]
            holder[key] = value
        result = module(*args, **(kwargs or {}))
        for name, given in origin.items():
            holder, key = places[name]
            if holder.get(key) is not given[name] and isinstance(given, MutableMapping):
                given[name] = holder.get(key)
        return result
    finally:
        for name, value in own.items():
            holder, key = places[name]
            holder[key] = value


def _places(module: Any) -> dict[str, tuple[Any, str]]:
    """Every parameter's and buffer's dotted name, and the dict and key that hold it."""
    found: dict[str, tuple[Any, str]] = {}
    for prefix, part in _modules(module):
        for holder in (part._parameters, part._buffers):
            for key, value in holder.items():
                if value is not None:
                    found[prefix + key] = (holder, key)
    return found


def _modules(module: Any) -> Iterator[tuple[str, Any]]:
    # A module that is shared is met under each of its names, for each is a name to call it by.
    stack: list[tuple[str, Any, tuple[int, ...]]] = [("", module, ())]
    while stack:
        prefix, part, above = stack.pop()
        yield prefix, part
        for key, child in part._modules.items():
            if child is not None and id(child) not in above:
                stack.append((f"{prefix}{key}.", child, (*above, id(part))))


def _tie(places: dict[str, tuple[Any, str]], values: dict[str, Any]) -> None:
    """Give the other names of a replaced tensor the same replacement."""
    names: dict[int, list[str]] = {}
    for name, (holder, key) in places.items():
        names.setdefault(id(holder[key]), []).append(name)
    for shared in names.values():
        given = [name for name in shared if name in values]
        _one_value(given, values)
        for name in shared:
            if given and name not in values:
                values[name] = values[given[0]]


def _one_value(given: Sequence[str], values: dict[str, Any]) -> None:
    if any(values[name] is not values[given[0]] for name in given[1:]):
        raise ValueError(
            f"functional_call: {', '.join(given)} are one tensor in the module but are given "
            "different values: give one of them, or say tie_weights=False"
        )
