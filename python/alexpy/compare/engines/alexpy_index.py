"""alexpy's `AlexIndex`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import alexpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.compare.engine import Keys

# Ranges asked for in one call: few enough that their answers stay in the caches until they are used.
_RANGES = 256


class AlexpyIndex:
    """The learned index alone."""

    name = "alexpy"

    def __init__(self) -> None:
        self._index = alexpy.AlexIndex()

    def versions(self) -> dict[str, str]:
        info = alexpy.build_info()
        return {"alexpy": info["version"], "profile": info["profile"], "simd": info["simd"]}

    def load(self, keys: Keys, values: Keys) -> None:
        self._index = alexpy.AlexIndex(keys, values)

    def insert_each(self, keys: list[int], values: list[int]) -> None:
        self._index = alexpy.AlexIndex()
        put = self._index.put
        for key, value in zip(keys, values, strict=True):
            put(key, value)

    def insert_many(self, keys: Keys, values: Keys) -> None:
        self._index.put_many(keys, values)

    def get_each(self, keys: list[int]) -> list[int]:
        get = self._index.get
        return [get(key) for key in keys]  # type: ignore[misc]

    def get_many(self, keys: Keys) -> Keys:
        return self._index.get_many(keys)

    def ranges(self, starts: list[int], stops: list[int]) -> Iterator[tuple[Keys, Keys]]:
        for at in range(0, len(starts), _RANGES):
            some = slice(at, at + _RANGES)
            keys, values, offsets = self._index.scan_many(starts[some], stops[some])
            for begin, end in pairwise(offsets.tolist()):
                yield keys[begin:end], values[begin:end]
