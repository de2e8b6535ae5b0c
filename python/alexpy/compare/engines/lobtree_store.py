"""`LOBTree` of the package BTrees: a B-tree in memory, 64-bit integers to objects, in C."""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

from BTrees.LOBTree import LOBTree

from .memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.compare.engine import Item


class LOBTreeStore(MemoryStore):
    """int to bytes."""

    name = "LOBTree"

    def make(self) -> Any:
        return LOBTree()

    def versions(self) -> dict[str, str]:
        return {"BTrees": version("BTrees")}

    def ranges(self, starts: list[int], length: int) -> Iterator[list[Item]]:
        items = self._items.iteritems
        return (list(islice(items(start), length)) for start in starts)
