"""`read` and `Datasource`: a sharded store as blocks of Ray."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from alexpy import _tables
from alexpy._path import absolute
from alexpy._sharded import ShardedStore

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from alexpy.codecs import Codec

# What a block of the rows that are read takes at most, where the rows are not huge.
_BLOCK_BYTES = 1 << 26


def read(
    path: str | os.PathLike[str],
    *,
    key: str = "key",
    blocks: int | None = None,
    codec: Codec[Any] | None = None,
) -> ray.data.Dataset:
    """Return a sharded store as a Dataset of Ray: the column of keys, and those of the values.

    `key` is what the column of keys is called. The others are those of the records, or `value`; all are of
    Arrow's types, so that no Python object is made for a value. Each task reads a range of the keys of one
    shard; `blocks` is about how many tasks there are, but at least one for each shard with keys, and as many
    as Ray chooses if it is None. How many rows they have is known before they run. What was committed when
    the workers open the store is read, of the epoch that is the newest now. Ray promises no order of blocks,
    unless its `preserve_order` is set; within one keys ascend. O(tasks + shards) until it is computed.

    Raises:
        As `ShardedStore.open`; ValueError if there is a column of values that is called as `key`.

    Example:
        >>> write(ray.data.from_arrow(pa.table({"id": range(10), "x": range(10)})), path, key="id")
        1
        >>> data = read(path, key="id", blocks=2)
        >>> data.count(), data.sum("value")
        (10, 45)

    """
    return ray.data.read_datasource(Datasource(path, key=key, codec=codec), override_num_blocks=blocks)


class Datasource(ray.data.Datasource):
    """A sharded store for `ray.data.read_datasource`, which takes more options than `read`.

    It keeps to the epoch that is the newest when it is made.

    Raises:
        As `read`.

    Example:
        >>> ray.data.read_datasource(Datasource(path), num_cpus=0.5).count()
        1000

    """

    def __init__(
        self, path: str | os.PathLike[str], *, key: str = "key", codec: Codec[Any] | None = None
    ) -> None:
        super().__init__()
        self._path, self._key, self._codec = absolute(path), key, codec
        with ShardedStore.open(self._path, codec=codec) as store:
            self._epoch = store.epoch
            self._schema = _table(store, [], key).schema
            self._bytes = sum(shard.stats().live_bytes for shard in store.shards)

    def get_name(self) -> str:
        """Return what Ray calls the tasks that read."""
        return "Alexpy"

    def estimate_inmemory_data_size(self) -> int | None:
        """Return the bytes of all keys and values."""
        return self._bytes

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,  # noqa: ARG002 - of Ray's signature
    ) -> list[ReadTask]:
        """Return tasks that each read a range of the keys of one shard, about `parallelism` of them."""
        parts: list[tuple[Any, Any, int]] = []
        with ShardedStore._of_epoch(self._path, self._epoch, self._codec) as store:  # noqa: SLF001
            rows = max(1, len(store))
            for (start, stop), shard in zip(store.bounds, store.shards, strict=True):
                some = round(parallelism * len(shard) / rows)
                ranges = shard.split(max(1, min(some, len(shard))))
                ends = [start, *(end for _, end in ranges[:-1]), stop]
                parts += [(*ends_of, shard.count(*ends_of)) for ends_of in pairwise(ends)]
        size = max(1, self._bytes // rows)
        # One that is empty tells the types.
        parts = [part for part in parts if part[2]] or parts[:1]
        return [self._task(start, stop, count, size, per_task_row_limit) for start, stop, count in parts]

    def _task(self, start: Any, stop: Any, count: int, size: int, limit: int | None) -> ReadTask:
        path, epoch, codec, key = self._path, self._epoch, self._codec, self._key
        rows = min(_tables.ROWS, max(1, _BLOCK_BYTES // size))

        def task() -> Iterator[Any]:
            with ShardedStore._of_epoch(path, epoch, codec) as store:  # noqa: SLF001
                empty = True
                for batch in store.scan_batches(start, stop, rows=rows, limit=limit):
                    empty = False
                    yield _table(store, [batch], key)
                if empty:
                    yield _table(store, [], key)

        kept = count if limit is None else min(count, limit)
        about = BlockMetadata(num_rows=kept, size_bytes=kept * size, input_files=None, exec_stats=None)
        return ReadTask(task, about, schema=self._schema, per_task_row_limit=limit)


def _table(store: ShardedStore[Any, Any], batches: Sequence[Any], key: str) -> pa.Table:
    keys, columns = _tables.columns(store, batches)
    if key in columns:
        raise ValueError(f"a column of the values is called {key!r}: give the keys another name by key=")
    return pa.table({key: keys, **columns})
