"""Groups rows into batches that bound memory: what `load` commits together and `export` writes together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .rows import Row

BATCH_BYTES = 16 << 20


@dataclass(slots=True)
class Batch:
    """Rows that are handled together."""

    keys: Any
    """What `keys.room` makes."""
    values: list[bytes]


def batched(rows: Iterable[Row], most_rows: int, kind: str = "int64") -> Iterator[Batch]:
    """Group rows into batches of at most `most_rows` rows and BATCH_BYTES of values, or one larger row.

    Their keys are of one `kind`.
    """
    batch = Batch(keys.room(kind), [])
    size = 0
    for _, key, value in rows:
        if batch.values and size + len(value) > BATCH_BYTES:
            yield batch
            batch, size = Batch(keys.room(kind), []), 0
        batch.keys.append(key)
        batch.values.append(value)
        size += len(value)
        if len(batch.values) == most_rows:
            yield batch
            batch, size = Batch(keys.room(kind), []), 0
    if batch.values:
        yield batch
