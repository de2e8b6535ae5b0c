"""Two sorted NumPy arrays and `np.searchsorted`: what NumPy users have; it cannot change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from alexpy.compare.engine import Lacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.compare.engine import Keys


class SearchsortedIndex:
    """Binary search in an array."""

    name = "searchsorted"

    def __init__(self) -> None:
        self._keys: Keys = np.empty(0, np.int64)
        self._values: Keys = np.empty(0, np.int64)

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def load(self, keys: Keys, values: Keys) -> None:
        order = keys.argsort()
        self._keys, self._values = keys[order], values[order]

    def insert_each(self, keys: list[int], values: list[int]) -> None:
        raise Lacks("is a sorted array and takes no inserts")

    def insert_many(self, keys: Keys, values: Keys) -> None:
        raise Lacks("is a sorted array and takes no inserts")

    def get_each(self, keys: list[int]) -> list[int]:
        raise Lacks("is made for batches")

    def get_many(self, keys: Keys) -> Keys:
        return self._values[np.searchsorted(self._keys, keys)]

    def ranges(self, starts: list[int], stops: list[int]) -> Iterator[tuple[Any, Any]]:
        first = np.searchsorted(self._keys, np.array(starts, np.int64)).tolist()
        last = np.searchsorted(self._keys, np.array(stops, np.int64)).tolist()
        for begin, end in zip(first, last, strict=True):
            yield self._keys[begin:end], self._values[begin:end]
