"""Modules: small programs give what they give in PyTorch, and what is asked beyond that."""

from __future__ import annotations

import builtins
import copy
import json
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest

import tapegrad as tg
from tapegrad import nn

STORED = json.loads((Path(__file__).parent / "data" / "modules.json").read_text(encoding="utf-8"))


def library():
    """Names for a program, with tapegrad in torch's place."""
    names = {"torch": tg, "nn": nn, "copy": copy, "pickle": pickle, "OrderedDict": OrderedDict}
    exec(STORED["prelude"], names)
    names["__name__"] = __name__
    return names


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


@pytest.mark.parametrize("name", STORED["programs"])
def test_as_in_torch(name):
    stored, names = STORED["programs"][name], library()
    exec(stored["text"], names)
    if "error" in stored:
        with pytest.raises(getattr(builtins, stored["error"])) as caught:
            names[name]()
        assert str(caught.value)
    else:
        assert plain(names[name]()) == stored["result"]
