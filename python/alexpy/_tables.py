"""Sharded stores and Arrow: their rows as columns, and what columns hold; for Dask and Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._sharded import ShardedStore

# Rows that a worker takes out of a store at a time.
ROWS = 1 << 17


def columns(store: ShardedStore[Any, Any], batches: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
    """Return the keys of batches of a scan, and their values as columns by name.

    These are the fields of the records, or `value`. Without a batch they are empty, of the store's types.
    """
    parts = [pa.record_batch(batch) for batch in batches]
    table = pa.Table.from_batches(parts) if parts else pa.schema(store.shards[0]).empty_table()
    values = table.column("value")
    if pa.types.is_struct(values.type):
        names = [field.name for field in values.type]
        return table.column("key"), dict(zip(names, values.flatten(), strict=True))
    return table.column("key"), {"value": values}


def holds(arrow: Any) -> Any:
    """Return what a column of this type holds, as `_build.Column`."""
    types = pa.types
    if types.is_string(arrow) or types.is_large_string(arrow):
        return "text"
    if types.is_binary(arrow) or types.is_large_binary(arrow):
        return "binary"
    if types.is_timestamp(arrow):
        # The zone would be lost.
        return None if arrow.tz is not None else np.dtype(f"M8[{arrow.unit}]")
    if types.is_duration(arrow):
        return np.dtype(f"m8[{arrow.unit}]")
    if types.is_integer(arrow) or types.is_floating(arrow) or types.is_boolean(arrow):
        return np.dtype(arrow.to_pandas_dtype())
    return None
