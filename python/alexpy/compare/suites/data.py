"""Shared by the suites: items in loading order and, as answers must be, in key order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alexpy.compare.keys import rows_of, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from alexpy.compare.engine import Keys, StoreEngine

WIDTH = 100


@dataclass(frozen=True)
class Data:
    """Keys in the order of writing, the values beside them, and the positions that sort the keys."""

    keys: Keys
    values: list[bytes]
    order: Keys

    @classmethod
    def make(cls, keys: Keys, values: list[bytes]) -> Data:
        """Sort once."""
        return cls(keys, values, np.argsort(keys))

    def picked(self, positions: Keys) -> tuple[Keys, list[bytes]]:
        """Return the items at some positions."""
        values = self.values
        return self.keys[positions], [values[at] for at in positions.tolist()]

    def sorted_values(self) -> list[bytes]:
        """Return the values in key order."""
        values = self.values
        return [values[at] for at in self.order.tolist()]


@dataclass
class Held:
    """What a store holds whose values are overwritten: its keys, and which version of its value each has.

    Values are made from both, so that none need be kept to be checked. Version 0 is what `load` puts.
    """

    keys: Keys
    versions: Keys

    @classmethod
    def load(cls, engine: StoreEngine, keys: Keys, batch: int) -> Held:
        """Put version 0 of every key, in batches, and flush."""
        held = cls(keys, np.zeros(len(keys), np.int64))
        held.put(engine, np.arange(len(keys)), 0, batch)
        engine.flush()
        return held

    def put(self, engine: StoreEngine, places: Keys, version: int, batch: int) -> None:
        """Put one version of the keys at some places, in batches."""
        for items in self.batches(engine, places, version, batch):
            engine.put_many(items)
        self.versions[places] = version

    def batches(self, engine: StoreEngine, places: Keys, version: int, batch: int) -> Iterator[Any]:
        """Yield the batches of one version of the keys at some places, ready to be put."""
        for at in range(0, len(places), batch):
            part = self.keys[places[at : at + batch]]
            yield engine.batch_items(part, split(version_of(part, version)))

    def rows(self, places: Keys) -> NDArray[np.uint8]:
        """Return the present values of the keys at some places."""
        return version_of(self.keys[places], self.versions[places])


def version_of(keys: Keys, version: int | Keys) -> NDArray[np.uint8]:
    """Return a version of the values of keys: `rows_of` with the version mixed into the first 8 bytes."""
    rows = np.ascontiguousarray(rows_of(keys, WIDTH))
    rows.view(np.uint8)[:, :8] ^= (
        np.broadcast_to(version, keys.shape).astype(np.int64).view(np.uint8).reshape(-1, 8)
    )
    return rows


def load(engine: StoreEngine, keys: Keys, values: list[bytes], batch: int) -> float:
    """Put everything in batches and flush; return the seconds. Batches are formed before the clock starts."""
    batches = [
        engine.batch_items(keys[at : at + batch], values[at : at + batch])
        for at in range(0, len(keys), batch)
    ]
    began = time.perf_counter()
    for items in batches:
        engine.put_many(items)
    engine.flush()
    return time.perf_counter() - began
