"""Saving and loading states: the safetensors format, written atomically, no pickle."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .packing import pack, unpack
from .tensors import tensor

__all__ = ["load", "save"]

#: Under this name the description of a nested state stands in a file's metadata.
DESCRIPTION = "tapegrad"


def save(state: Any, path: str | os.PathLike[str]) -> Path:
    """Write tensors, or a nested state such as a checkpoint, to a safetensors file; no pickle.

    ``state``: a dict of tensors by name, such as ``model.state_dict()``, becomes a plain file that
    every framework reads under these names. Or dicts (with strings or integers as keys), lists and
    tuples, nested at will, of tensors, numbers, strings and None, such as
    ``{"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}``: the tensors
    are then named by their places ("model.weight"), also for others who read the file, and the rest
    is JSON in the file's metadata. NumPy's arrays and scalars are written as tensors. Every place
    gets numbers of its own, also where one tensor stands in two.

    The file appears whole or not at all: it is written beside its place and moved there. Returns
    the path.

    Raises TypeError for what a file does not hold, with its place ("model.a[2]") and what to do;
    ValueError for a container that contains itself; ImportError naming the extra to install when
    safetensors is missing.

    >>> import tempfile, pathlib, tapegrad as tg
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "checkpoint.safetensors"
    >>> _ = tg.save({"w": tg.tensor([1.0, 2.0]), "betas": (0.9, 0.999), "seen": {0: None}}, path)
    >>> tg.load(path)
    {'w': tensor([1., 2.]), 'betas': (0.9, 0.999), 'seen': {0: None}}
    """
    codec = _codec()
    arrays, description = pack(state)
    metadata = None if description is None else {DESCRIPTION: description}
    return write_atomically(path, codec.save(arrays, metadata))


def load(path: str | os.PathLike[str]) -> Any:
    """What :func:`save` wrote, its tensors off the tape; any other safetensors file as a dict.

    Tensors have the dtypes and bits that were saved; a mapping of another kind comes back as a
    dict, NumPy's arrays and scalars as tensors.

    Raises FileNotFoundError; ValueError when it is no safetensors file, or only a part of one, or
    has a dtype that NumPy lacks; ImportError naming the extra to install.

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
    except KeyError as error:  # the reader looks dtypes up
        raise ValueError(
            f"{path} holds tensors of dtype {error.args[0]}, which NumPy does not have: convert "
            "them with the program that wrote them"
        ) from error
    except Exception as error:  # the reader's own error type is not public
        raise ValueError(_no_such_file(path, data, error)) from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    description = header.get("__metadata__", {}).get(DESCRIPTION)
    if description is None:
        return {name: tensor(array) for name, array in arrays.items()}
    try:
        return unpack(arrays, description)
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: the description of its structure cannot be used: {error}; "
            "safetensors.numpy.load_file reads the bare tensors"
        ) from error


def _no_such_file(path: Any, data: bytes, error: Exception) -> str:
    if data[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return (
            f"{path} is not a safetensors file but a zip archive or a pickle, as torch.save writes "
            "them; a pickle can run any code and is never read here: convert it with "
            "safetensors.torch.save_file"
        )
    return f"{path} is not a safetensors file, or only a part of one ({len(data)} bytes): {error}"


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
