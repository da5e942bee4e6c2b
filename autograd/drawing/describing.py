"""Short texts for values, parameters and names, fit for a label."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
from numpy import ndarray

from ..records import Freed
from ..values import PLAIN, shape_of

FEW = 4  # up to so many elements are written out


def number(value: Any, digits: int = 4) -> str:
    """A scalar with four significant digits.

    >>> number(2 / 3), number(7.0), number(True)
    ('0.6667', '7', 'True')
    """
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return f"{float(value):.{digits}g}"


def summary(value: Any) -> str | None:
    """A raw value in a few characters, or None when it is gone.

    >>> summary(np.array([1.0, 0.5]))
    '[1, 0.5]'
    >>> summary(np.linspace(-2.0, 1.0, 11))
    '-2 to 1'
    """
    if isinstance(value, Freed) or type(value) is tuple:
        return None
    if type(value) not in PLAIN:  # a duck array of vmap, or a symbol
        return type(value).__name__.lower()
    if type(value) is not ndarray:
        return number(value)
    if value.size == 0:
        return "empty"
    if value.dtype.kind == "b" and value.size > FEW:
        return f"{int(value.sum())} of {value.size} True"
    if value.size <= FEW:
        return _written_out(value)
    finite = np.isfinite(value)
    kinds = [("NaN", np.isnan(value)), ("inf", np.isinf(value))]
    odd = [f"{int(mask.sum())} {name}" for name, mask in kinds if mask.any()]
    return ", ".join([*odd, *([_range(value[finite])] if finite.any() else [])])


def _range(values: ndarray) -> str:
    low, high = values.min(), values.max()
    return f"all {number(low)}" if low == high else f"{number(low, 3)} to {number(high, 3)}"


def _written_out(value: Any) -> str:
    """An array of few elements as a list, each with fewer digits the more there are."""
    if value.ndim == 0:
        return number(value)
    if value.ndim > 2:
        return _range(value)
    digits = 4 if value.size < 3 else 3
    rows = value if value.ndim == 2 else [value]
    text = ", ".join(f"[{', '.join(number(v, digits) for v in row)}]" for row in rows)
    return f"[{text}]" if value.ndim == 2 else text


def settings(op: Any, params: dict[str, Any] | None, operand: Any, output: Any) -> str:
    """The parameters of an operation that its shapes do not already tell.

    >>> settings("sum", {"axis": (1,), "keepdims": True}, np.ones((2, 3)), np.ones((2, 1)))
    'axis=1, keepdims'
    """
    parts = []
    for key, value in (params or {}).items():
        if value is None or value is False or callable(value):
            continue
        if key == "level":  # which of the nested calls of vmap or jvp it was; counts up for ever
            continue
        if key == "shape" and value == shape_of(output):
            continue
        if key == "axis" and type(value) is tuple:
            if len(value) == len(shape_of(operand)):
                continue  # over everything, as the result shows
            if len(value) == 1:
                (value,) = value
        if value is True:
            parts.append(key)
        elif key == "index":
            parts.append(_index(value))
        else:
            parts.append(f"{key}={_setting(value)}")
    return ", ".join(parts)


def _setting(value: Any) -> str:
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, ndarray):
        return _written_out(value) if value.size <= FEW else f"array {value.shape}"
    if isinstance(value, (float, np.generic)):
        return number(value)
    if isinstance(value, (list, tuple)):
        items = ", ".join(_setting(v) for v in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    return str(value) if isinstance(value, (int, str)) else type(value).__name__


def _index(index: Any) -> str:
    """An index as it is written: ``[0, 1:, ...]``."""
    items = index if type(index) is tuple else (index,)
    return f"[{', '.join(_index_item(i) for i in items)}]"


def _index_item(item: Any) -> str:
    if item is Ellipsis:
        return "..."
    if isinstance(item, slice):
        start, stop = ("" if v is None else str(v) for v in (item.start, item.stop))
        return f"{start}:{stop}" + ("" if item.step is None else f":{item.step}")
    return "None" if item is None else _setting(item)


def one_line(text: Any) -> str:
    r"""A name as text of one line that every picture format can hold.

    Line breaks become a sign, what XML cannot hold is written as an escape.

    >>> one_line("a" + chr(10) + "b" + chr(0))
    'a↵b\\x00'
    """
    out = []
    for char in str(text).replace("\r\n", "\n"):
        if char in "\n\r":
            out.append("↵")
        elif char == "\t":
            out.append(" ")
        elif unicodedata.category(char) in ("Cc", "Cs", "Cn") or char in "\u2028\u2029\ufffe\uffff":
            out.append(char.encode("unicode_escape").decode())
        else:
            out.append(char)
    return "".join(out)


def shortened(text: str, length: int) -> str:
    """The text, its middle left out when it is too long: the ends of dotted names tell most."""
    if len(text) <= length:
        return text
    tail = length // 2
    return f"{text[: length - tail - 1]}…{text[-tail:]}"


def width_in_ems(text: str) -> float:
    """How wide a text in a bold sans-serif type is, roughly, of any script.

    >>> width_in_ems("가나") > width_in_ems("ab") > width_in_ems("il")
    True
    """
    return sum(map(_width, text))


def _width(char: str) -> float:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0  # an accent on the letter before
    if unicodedata.east_asian_width(char) in "WF" or ord(char) >= 0x1F000:
        return 1.1
    if char in "iljtfI.,:;|!'()[] /-":
        return 0.34
    if char in "mwMW@":
        return 0.9
    return 0.7 if char.isupper() else 0.58
