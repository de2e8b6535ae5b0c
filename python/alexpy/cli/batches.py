"""Groups rows into batches that bound memory: what `load` commits together and `export` writes together."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .rows import Row

BATCH_BYTES = 16 << 20


@dataclass(slots=True)
class Batch:
    """Rows that are handled together."""

    keys: array[int]
    values: list[bytes]


def batched(rows: Iterable[Row], most_rows: int) -> Iterator[Batch]:
    """Group rows into batches of at most `most_rows` rows and BATCH_BYTES of values, or one larger row."""
    batch = Batch(array("q"), [])
    size = 0
    for _, key, value in rows:
        if batch.values and size + len(value) > BATCH_BYTES:
            yield batch
            batch, size = Batch(array("q"), []), 0
        batch.keys.append(key)
        batch.values.append(value)
        size += len(value)
        if len(batch.values) == most_rows:
            yield batch
            batch, size = Batch(array("q"), []), 0
    if batch.values:
        yield batch
