"""Python's `dict`: no disk, no order; what any store of Python objects costs at least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alexpy.compare.engine import Lacks

from .memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.compare.engine import Item


class DictStore(MemoryStore):
    """int to bytes."""

    name = "dict"

    def make(self) -> Any:
        return {}

    def scan(self) -> Iterator[Item]:
        raise Lacks("has no order")

    def ranges(self, starts: list[int], length: int) -> Iterator[list[Item]]:
        raise Lacks("has no order")
