"""`SortedDict` of the package sortedcontainers, int to int."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.compare.engine import Keys


class SortedDictIndex:
    """A dict and a sorted list of its keys."""

    name = "SortedDict"

    def __init__(self) -> None:
        self._items: Any = SortedDict()

    def versions(self) -> dict[str, str]:
        return {"sortedcontainers": version("sortedcontainers")}

    def load(self, keys: Keys, values: Keys) -> None:
        # The dict first: SortedDict then sorts all keys at once.
        self._items = SortedDict(dict(zip(keys.tolist(), values.tolist(), strict=True)))

    def insert_each(self, keys: list[int], values: list[int]) -> None:
        items = self._items = SortedDict()
        for key, value in zip(keys, values, strict=True):
            items[key] = value

    def insert_many(self, keys: Keys, values: Keys) -> None:
        self._items.update(zip(keys.tolist(), values.tolist(), strict=True))

    def get_each(self, keys: list[int]) -> list[int]:
        items = self._items
        return [items[key] for key in keys]

    def get_many(self, keys: Keys) -> list[int]:
        return list(map(self._items.__getitem__, keys.tolist()))

    def ranges(self, starts: list[int], stops: list[int]) -> Iterator[tuple[Any, Any]]:
        items = self._items
        for start, stop in zip(starts, stops, strict=True):
            keys = list(items.irange(start, stop, inclusive=(True, False)))
            yield keys, [items[key] for key in keys]
