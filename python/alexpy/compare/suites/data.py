"""Shared by the suites: items in loading order and, as answers must be, in key order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from alexpy.compare.engine import Keys, StoreEngine


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
