"""Nested states as named arrays and a description in JSON, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .tensors import Tensor, frozen_array, tensor

__all__ = ["FORMAT", "pack", "unpack"]

#: The version of the description; a file of another one is refused.
FORMAT = 1
#: The kinds that the engine's tensors and the file format both have.
DTYPES = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
#: What the file format keeps for itself among the names.
RESERVED = "__metadata__"
#: Longer integers than any state has; Python does not read numbers of over 4300 digits.
BITS = 10_000


def pack(state: Any) -> tuple[dict[str, np.ndarray[Any, Any]], str | None]:
    """The tensors of a nested state by dotted names, and the rest as JSON that mentions them.

    A dict that is nothing but tensors by name needs no description: it is None.

    Raises TypeError for what has no place in a file, ValueError for circles and extremes.

    >>> import tapegrad as tg
    >>> from tapegrad.packing import pack
    >>> arrays, description = pack({"w": [tg.ones(1)], "epoch": 3})
    >>> arrays
    {'w.0': array([1.], dtype=float32)}
    >>> description
    '{"version": 1, "state": {"dict": [["w", [{"tensor": "w.0"}]], ["epoch", 3]]}}'
    """
    packer = _Packer()
    try:
        described = {"version": FORMAT, "state": packer.described(state, ())}
        description = json.dumps(described, allow_nan=False)
    except RecursionError:
        raise ValueError("save(): the state is nested too deeply") from None
    flat = isinstance(state, Mapping) and all(map(_holds_numbers, state.values()))
    return packer.arrays, None if flat and [*packer.arrays] == [*state] else description


def unpack(arrays: Mapping[str, np.ndarray[Any, Any]], description: str) -> Any:
    """The state that was packed.

    Raises ValueError for a description of another version, and for one that does not fit the
    tensors.

    >>> from tapegrad.packing import pack, unpack
    >>> arrays, description = pack({0: (float("inf"), None)})
    >>> unpack(arrays, description)
    {0: (inf, None)}
    """
    described = json.loads(description)
    version = described.get("version") if isinstance(described, dict) else None
    if version != FORMAT:
        raise ValueError(
            f"it is of version {version!r}, which this tapegrad does not read (only {FORMAT}): "
            "update tapegrad"
        )
    left = dict(arrays)
    state = _undescribed(described.get("state"), left)
    if left:
        raise ValueError(f"it does not mention the tensors {sorted(left)}")
    return state


class _Packer:
    """Walks through a state and collects its arrays."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self.open: list[Any] = []  # the containers that lead to where it is

    def described(self, value: Any, path: tuple[Any, ...]) -> Any:
        """JSON for a value; lists stand for themselves, what JSON has no word for is tagged."""
        if type(value) is int and value.bit_length() > BITS:
            raise ValueError(f"save(): {_shown(path)} is an integer of over {BITS} bits")
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if _holds_numbers(value):
            return {"tensor": self.named(_array(value, path), path)}
        if isinstance(value, Mapping) or type(value) in (list, tuple):
            return self.container(value, path)
        raise TypeError(
            f"save(): {_shown(path)} is a {_kind(value)}, which a file does not hold: "
            f"{_remedy(value)}"
        )

    def container(self, value: Any, path: tuple[Any, ...]) -> Any:
        if any(value is other for other in self.open):
            raise ValueError(f"save(): {_shown(path)} contains itself; a file holds no circles")
        self.open.append(value)
        if isinstance(value, Mapping):
            for key in value:
                if type(key) not in (str, int):
                    raise TypeError(
                        f"save(): {_shown(path)} has the key {key!r}, a {_kind(key)}; keys are "
                        "strings or integers"
                    )
            made: Any = {"dict": [[k, self.described(v, (*path, k))] for k, v in value.items()]}
        else:
            made = [self.described(v, (*path, [i])) for i, v in enumerate(value)]
            made = {"tuple": made} if type(value) is tuple else made
        self.open.pop()
        return made

    def named(self, array: np.ndarray[Any, Any], path: tuple[Any, ...]) -> str:
        """Keep an array under its dotted path; where that is taken, with a number behind it."""
        dotted = ".".join(str(k[0] if isinstance(k, list) else k) for k in path) or "tensor"
        dotted = dotted.encode("utf-8", "backslashreplace").decode()
        name, count = dotted, 1
        while name in self.arrays or name == RESERVED:
            count += 1
            name = f"{dotted}#{count}"
        self.arrays[name] = array
        return name


def _undescribed(value: Any, left: dict[str, np.ndarray[Any, Any]]) -> Any:
    """The value that JSON describes; tensors are taken out of what is left."""
    if isinstance(value, list):
        return [_undescribed(item, left) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, inside),) = value.items()
    if tag == "dict":
        return {key: _undescribed(item, left) for key, item in inside}
    if tag == "tuple":
        return tuple(_undescribed(item, left) for item in inside)
    if tag == "float":
        return float(inside)
    if tag == "tensor":
        if inside not in left:
            raise ValueError(f"it mentions the tensor {inside!r}, which the file does not have")
        return tensor(left.pop(inside))
    raise ValueError(f"it has a {tag!r}, which is unknown")


def _holds_numbers(value: Any) -> bool:
    """Whether it is a tensor, or an array or scalar of NumPy (one with a mask would lose it)."""
    kinds = (Tensor, np.ndarray, np.generic)
    return isinstance(value, kinds) and not isinstance(value, np.ma.MaskedArray)


def _array(value: Any, path: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """A copy in C order, and never a 0-d scalar type, as the format's writer expects."""
    if isinstance(value, Tensor):
        value = frozen_array(value._value)
    if value.dtype.name not in DTYPES:
        raise TypeError(
            f"save(): {_shown(path)} has dtype {value.dtype}; floats, integers and booleans of up "
            "to 64 bits are saved: convert it, as with .astype"
        )
    return np.array(value, order="C", dtype=value.dtype.newbyteorder("="))


def _shown(path: tuple[Any, ...]) -> str:
    """A path as one writes it: a.b[2]."""
    parts = [
        f".{key}" if isinstance(key, str) else f"[{key[0] if isinstance(key, list) else key}]"
        for key in path
    ]
    return "".join(parts).removeprefix(".") or "the state"


def _kind(value: Any) -> str:
    return type(value).__name__


def _remedy(value: Any) -> str:
    """What to do with what cannot be saved."""
    if hasattr(value, "state_dict"):
        return "pass its state_dict()"
    if isinstance(value, tuple):  # its class would be lost
        return "make it a dict with _asdict(), or a plain tuple"
    for plain in (int, float, str, list):
        if isinstance(value, plain):
            return f"make it a plain {plain.__name__}"
    if isinstance(value, (set, frozenset)):
        return "make it a list"
    if callable(value):
        return "put None there, and give the function again after loading"
    return "leave it out, or make it of dicts, lists, tuples, tensors, numbers, strings and None"
