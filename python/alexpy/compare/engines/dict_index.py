"""Python's `dict`, int to int: no order, no batch calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alexpy.compare.engine import Lacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.compare.engine import Keys


class DictIndex:
    """What Python has built in."""

    name = "dict"

    def __init__(self) -> None:
        self._items: dict[int, int] = {}

    def versions(self) -> dict[str, str]:
        return {}

    def load(self, keys: Keys, values: Keys) -> None:
        self._items = dict(zip(keys.tolist(), values.tolist(), strict=True))

    def insert_each(self, keys: list[int], values: list[int]) -> None:
        items = self._items = {}
        for key, value in zip(keys, values, strict=True):
            items[key] = value  # noqa: PERF403 - one insert after another is what is measured

    def insert_many(self, keys: Keys, values: Keys) -> None:
        self._items.update(zip(keys.tolist(), values.tolist(), strict=True))

    def get_each(self, keys: list[int]) -> list[int]:
        items = self._items
        return [items[key] for key in keys]

    def get_many(self, keys: Keys) -> list[int]:
        return list(map(self._items.__getitem__, keys.tolist()))

    def ranges(self, starts: list[int], stops: list[int]) -> Iterator[tuple[Any, Any]]:
        raise Lacks("has no order")
