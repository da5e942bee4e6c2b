"""Modules that hold modules: one after the other, in a list, in a dict."""

from __future__ import annotations

import operator
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import chain, groupby
from typing import Any, Self, TypeVar

from tapegrad.lookup import near_to

from .missing import listed
from .module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]

_Made = TypeVar("_Made", bound="_Numbered")


class _Numbered(Module):
    """Modules named by their places, unless they were given names."""

    _modules: dict[str, Module]  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.isdigit()]

    def _name_at(self, index: Any) -> str:
        """The name at a place; negative ones count from the end."""
        place, size = operator.index(index), len(self)
        if not -size <= place < size:
            raise IndexError(f"index {place} is out of range for {size} modules")
        return list(self._modules)[place]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name_at(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)[index] if isinstance(index, slice) else [self._name_at(index)]
        for name in names:
            delattr(self, name)
        self._renumber(self._modules.values())

    def _renumber(self, modules: Iterable[Module]) -> None:
        self._modules = {str(i): module for i, module in enumerate(list(modules))}

    def pop(self, key: int | slice) -> Any:
        """Take out the module at a place (or those of a slice) and return it."""
        found = self[key]  # type: ignore[index]
        del self[key]
        return found

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns self. All are added, or by an error none."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got "
                f"{type(modules).__name__}"
            )
        modules = list(modules)
        for place, module in enumerate(modules):
            _refuse_other(module, len(self) + place)
        for module in modules:
            self.append(module)
        return self

    def _insert(self, index: int, module: Module) -> None:
        _refuse_other(module, index)
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)


def _refuse_other(module: Any, place: Any) -> None:
    if not isinstance(module, Module):
        Module().add_module(str(place), module)  # says what is wrong with it


class Sequential(_Numbered):
    """Modules applied one after the other.

    ``modules``: in order, or one dict of them by name. It can be indexed, sliced, changed and
    joined as a list: ``append``, ``extend``, ``insert``, ``pop``, ``del``, ``+``, ``*`` (which
    repeats the same modules: their parameters are shared).

    Raises TypeError for what is no module.

    >>> import tapegrad as tg
    >>> model = tg.nn.Sequential(tg.nn.Linear(4, 2), tg.nn.ReLU())
    >>> model
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
    )
    >>> len(model), model[0].weight.shape
    (2, (2, 4))
    >>> tg.nn.Sequential({"last": tg.nn.Linear(2, 1)}).last.bias.shape
    (1,)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = list(modules[0].items())
        else:
            named = [(str(i), module) for i, module in enumerate(modules)]
        for name, module in named:
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """The input passed through every module in order."""
        for module in self._modules.values():
            input = module(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return self._modules[self._name_at(index)]

    def __add__(self, other: Sequential) -> Sequential:
        _refuse_operand(other)
        return Sequential(*self, *other)

    def __iadd__(self, other: Sequential) -> Self:
        _refuse_operand(other)
        return self.extend(other)

    def __mul__(self, other: int) -> Sequential:
        return Sequential(*[m for _ in range(_times(other)) for m in self])

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Self:
        return self.extend([m for _ in range(_times(other) - 1) for m in self])

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before a place; those after it are numbered anew. Returns self."""
        if not -len(self) <= index <= len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} modules")
        self._insert(index, module)
        return self


def _refuse_operand(other: Any) -> None:
    if not isinstance(other, Sequential):
        raise ValueError(
            f"only a Sequential can be added to a Sequential, not {type(other).__name__}: use "
            "append() for one module, extend() for several"
        )


def _times(count: Any) -> int:
    if not isinstance(count, int):
        raise TypeError(f"a Sequential can be repeated an int of times, not {type(count).__name__}")
    if count <= 0:
        raise ValueError(f"a Sequential cannot be repeated {count} times: at least once")
    return count


class ModuleList(_Numbered):
    """Modules in a list, whose parameters are registered; it is not called itself.

    >>> import tapegrad as tg
    >>> layers = tg.nn.ModuleList(tg.nn.Linear(2, 2) for _ in range(3))
    >>> layers
    ModuleList(
      (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
    )
    >>> [name for name, _ in layers[:1].named_parameters()]
    ['0.weight', '0.bias']
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._modules[self._name_at(index)]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def insert(self, index: int, module: Module) -> None:
        """Put a module before a place; those after it are numbered anew."""
        self._insert(index, module)

    def __repr__(self) -> str:
        lines, first = [], 0
        for shown, same in groupby(map(repr, self)):
            count = len(list(same))
            many = f"({first}-{first + count - 1}): {count} x "
            lines.append((many if count > 1 else f"({first}): ") + shown)
            first += count
        return self._tree(lines)


class ModuleDict(Module):
    """Modules in a dict, whose parameters are registered; it is not called itself.

    ``modules``: a dict of them by name, or pairs. Names are strings without a dot.

    >>> import tapegrad as tg
    >>> heads = tg.nn.ModuleDict({"mean": tg.nn.Linear(2, 1), "scale": tg.nn.Linear(2, 1)})
    >>> list(heads), "mean" in heads
    (['mean', 'scale'], True)
    """

    _modules: dict[str, Module]  # type: ignore[assignment]

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        try:
            return self._modules[key]
        except KeyError:
            raise wrong_key(key, self._modules) from None

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        if key not in self._modules:
            raise wrong_key(key, self._modules)
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take everything out."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Take out the module of a name and return it."""
        found = self[key]
        del self[key]
        return found

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._modules.keys()

    def items(self) -> ItemsView[str, Module]:
        """The names with the modules."""
        return self._modules.items()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules by name, or put them in the place of those of these names."""
        for key, module in pairs_of(self, modules):
            self[key] = module


def pairs_of(holder: Any, given: Any) -> list[tuple[str, Any]]:
    """The names and values in a mapping or an iterable of pairs."""
    what = f"{type(holder).__name__}.update"
    if isinstance(given, Mapping) or (hasattr(given, "keys") and hasattr(given, "items")):
        return list(given.items())
    if not isinstance(given, Iterable):
        raise TypeError(
            f"{what} should be called with an iterable of key/value pairs, but got "
            f"{type(given).__name__}"
        )
    pairs = []
    for place, pair in enumerate(given):
        if not isinstance(pair, Iterable):
            raise TypeError(f"{what}: element #{place} should be a pair; is {type(pair).__name__}")
        pair = tuple(pair)
        if len(pair) != 2:
            raise ValueError(f"{what}: element #{place} has length {len(pair)}; 2 is required")
        pairs.append(pair)
    return pairs


def wrong_key(key: Any, known: Iterable[str]) -> KeyError:
    near = near_to(key, known) if isinstance(key, str) else ""
    return KeyError(f"{key!r}; " + (f"did you mean {near}?" if near else f"it has {listed(known)}"))
