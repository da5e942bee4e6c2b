"""Trees: values nested in tuples, lists, dicts and named tuples.

A transformation sees its arguments and results as a flat list of leaves and a recipe to put
them back. None is a place without a leaf. Everything that is no container is a leaf.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

#: What stands in a recipe for a leaf.
LEAF = object()


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a tree in order, and the recipe that :func:`unflatten` puts them back by."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Any:
    if isinstance(tree, (tuple, list)):
        return _Node(tree, None, [_flatten(item, leaves) for item in tree])
    if isinstance(tree, dict):
        return _Node(tree, list(tree), [_flatten(item, leaves) for item in tree.values()])
    if tree is None:
        return None
    leaves.append(tree)
    return LEAF


class _Node:
    """A container in a recipe: what it was like, the keys of a dict, the recipes of its items."""

    __slots__ = ("like", "keys", "items")

    def __init__(self, like: Any, keys: list[Any] | None, items: list[Any]) -> None:
        # Only a dict is kept (emptied, for the factory of a defaultdict): leaves are not held.
        self.keys, self.items = keys, items
        if keys is None:
            self.like: Any = type(like)
        else:
            self.like = {} if type(like) is dict else copy.copy(like)
            self.like.clear()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Node) or (self.keys is None) != (other.keys is None):
            return False
        if self.keys is not None:
            assert other.keys is not None
            mine, theirs = dict(zip(self.keys, self.items)), dict(zip(other.keys, other.items))
            return mine == theirs
        return self.like is other.like and self.items == other.items

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inner = [_show(item) for item in self.items]
        if self.keys is not None:
            return "{" + ", ".join(f"{k!r}: {v}" for k, v in zip(self.keys, inner)) + "}"
        if self.like is list:
            return "[" + ", ".join(inner) + "]"
        return ("" if self.like is tuple else self.like.__name__) + "(" + ", ".join(inner) + ")"


def _show(recipe: Any) -> str:
    return "*" if recipe is LEAF else repr(recipe)


def show(tree: Any) -> str:
    """The structure of a tree in words, with ``*`` for leaves."""
    return _show(flatten(tree)[1])


def unflatten(recipe: Any, leaves: Sequence[Any]) -> Any:
    """The tree of a recipe with these leaves."""
    rest = iter(leaves)
    return _unflatten(recipe, lambda: next(rest))


def _unflatten(recipe: Any, take: Callable[[], Any]) -> Any:
    if recipe is LEAF:
        return take()
    if recipe is None:
        return None
    items = [_unflatten(item, take) for item in recipe.items]
    if recipe.keys is not None:
        result = copy.copy(recipe.like)
        result.update(zip(recipe.keys, items))
        return result
    if hasattr(recipe.like, "_make"):  # a named tuple
        return recipe.like._make(items)
    return recipe.like(items)


def tree_map(function: Callable[..., Any], tree: Any) -> Any:
    """The tree with the function applied to every leaf."""
    leaves, recipe = flatten(tree)
    return unflatten(recipe, [function(leaf) for leaf in leaves])


def spread(prefix: Any, tree: Any, what: str, *, of: str) -> list[Any]:
    """One entry of ``prefix`` per leaf of ``tree``: a single entry stands for all below it.

    ``prefix`` has ints and None as leaves (unlike elsewhere, None counts). ``what`` and ``of``
    name the two in the error that a misfit raises (ValueError).
    """
    found: list[Any] = []
    _spread(prefix, flatten(tree)[1], found, what, of)
    return found


def _spread(prefix: Any, recipe: Any, found: list[Any], what: str, of: str) -> None:
    if prefix is None or (isinstance(prefix, int) and not isinstance(prefix, bool)):
        found.extend([prefix] * _count(recipe))
    elif recipe is LEAF or recipe is None:
        raise ValueError(
            f"{what} is {prefix!r} where {of} has {'a leaf' if recipe is LEAF else 'None'}: "
            "an int or None belongs there"
        )
    elif isinstance(prefix, dict):
        if recipe.keys is None or set(prefix) != set(recipe.keys):
            raise ValueError(
                f"{what} {prefix!r} does not fit {of}, which is built as {_show(recipe)}"
            )
        for key, item in zip(recipe.keys, recipe.items):
            _spread(prefix[key], item, found, what, of)
    elif isinstance(prefix, (tuple, list)):
        if recipe.keys is not None or len(prefix) != len(recipe.items):
            raise ValueError(
                f"{what} {prefix!r} does not fit {of}, which is built as {_show(recipe)}"
            )
        for entry, item in zip(prefix, recipe.items):
            _spread(entry, item, found, what, of)
    else:
        raise ValueError(
            f"{what} must be made of ints and None (in tuples, lists and dicts), not {prefix!r}"
        )


def _count(recipe: Any) -> int:
    if recipe is LEAF:
        return 1
    return 0 if recipe is None else sum(_count(item) for item in recipe.items)
