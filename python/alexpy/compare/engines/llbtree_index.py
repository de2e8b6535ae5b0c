"""`LLBTree` of the package BTrees: a B-tree in memory, 64-bit integers to 64-bit integers, in C."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from BTrees.LLBTree import LLBTree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.compare.engine import Keys


class LLBTreeIndex:
    """Nodes of C arrays."""

    name = "LLBTree"

    def __init__(self) -> None:
        self._items: Any = LLBTree()

    def versions(self) -> dict[str, str]:
        return {"BTrees": version("BTrees")}

    def load(self, keys: Keys, values: Keys) -> None:
        # Sorted first: neighbours then meet the same, cached, node.
        order = keys.argsort()
        self._items = LLBTree(list(zip(keys[order].tolist(), values[order].tolist(), strict=True)))

    def insert_each(self, keys: list[int], values: list[int]) -> None:
        items = self._items = LLBTree()
        for key, value in zip(keys, values, strict=True):
            items[key] = value

    def insert_many(self, keys: Keys, values: Keys) -> None:
        order = keys.argsort()
        self._items.update(list(zip(keys[order].tolist(), values[order].tolist(), strict=True)))

    def get_each(self, keys: list[int]) -> list[int]:
        items = self._items
        return [items[key] for key in keys]

    def get_many(self, keys: Keys) -> list[int]:
        return list(map(self._items.__getitem__, keys.tolist()))

    def ranges(self, starts: list[int], stops: list[int]) -> Iterator[tuple[Any, Any]]:
        items = self._items
        for start, stop in zip(starts, stops, strict=True):
            keys = list(items.keys(start, stop, excludemax=True))
            yield keys, list(items.values(start, stop, excludemax=True))
