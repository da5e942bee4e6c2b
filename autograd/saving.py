"""Saving and loading tensors: the safetensors format, written atomically, no pickle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .tensors import Tensor, frozen_array, tensor

__all__ = ["load", "save"]


def save(state: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write named tensors to a safetensors file, readable by every framework that knows it.

    ``state``: a dict of tensors or arrays by name, such as ``model.state_dict()``. The file
    appears whole or not at all: it is written beside its place and moved there. Returns the path.

    Raises TypeError for anything but tensors and arrays, ImportError naming the extra to install
    when safetensors is missing.

    >>> import tempfile, pathlib, tapegrad as tg
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> _ = tg.save({"w": tg.tensor([1.0, 2.0])}, path)
    >>> tg.load(path)
    {'w': tensor([1., 2.])}
    """
    codec = _codec()
    if not isinstance(state, Mapping):
        raise TypeError(
            f"save() takes a dict of tensors by name, not {type(state).__name__}; "
            "for a module pass module.state_dict()"
        )
    arrays = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            value = frozen_array(value._value)
        if not isinstance(name, str) or not isinstance(value, (np.ndarray, np.generic)):
            raise TypeError(
                f"save(): {name!r} is a {type(value).__name__}; a safetensors file holds only "
                "tensors by name"
            )
        # A copy in C order, and never a 0-d scalar type, is what the format's writer expects.
        arrays[name] = np.array(value, order="C")
    return write_atomically(path, codec.save(arrays))


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, off the tape.

    Raises FileNotFoundError, ValueError when it is no safetensors file, and ImportError naming
    the extra to install.

    >>> import tempfile, pathlib, tapegrad as tg
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> _ = tg.save(tg.nn.Linear(2, 1).state_dict(), path)
    >>> sorted(tg.load(path))
    ['bias', 'weight']
    """
    codec = _codec()
    data = Path(path).read_bytes()
    try:
        arrays = codec.load(data)
    except Exception as error:  # the reader's own error type is not public
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    return {name: tensor(array) for name, array in arrays.items()}


def write_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file so that a reader, or a crash, sees the old one or the new one, never a part."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, 0o666 & ~mask)  # mkstemp makes private files; follow the umask instead
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise
    return target


def _codec() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            'saving and loading needs safetensors: pip install "tapegrad[save]"'
        ) from None
    return safetensors.numpy
