"""`SortedDict` of the package sortedcontainers: a dict and a sorted list of its keys, in memory."""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedDict

from .memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.compare.engine import Item


class SortedDictStore(MemoryStore):
    """int to bytes."""

    name = "SortedDict"

    def make(self) -> Any:
        return SortedDict()

    def versions(self) -> dict[str, str]:
        return {"sortedcontainers": version("sortedcontainers")}

    def ranges(self, starts: list[int], length: int) -> Iterator[list[Item]]:
        items = self._items
        return ([(key, items[key]) for key in islice(items.irange(start), length)] for start in starts)
