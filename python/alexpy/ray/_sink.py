"""`Datasink`: a sharded store of data that lie in ranges of keys."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import ray.data

from alexpy import _build, _store
from alexpy._path import absolute

from ._blocks import FAULTS, NOTHING, Shard, arrow, empty, fill, plan_of, refuse_nulls, types_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from alexpy.codecs import Codec


@dataclass(frozen=True, slots=True)
class _Written:
    """What a task of a Datasink has made of its rows."""

    fault: Exception | None = None
    """What is wrong with them."""
    types: Mapping[str, Any] | None = None
    plan: _build.Plan | None = None
    shard: Shard | None = None
    """None if there were no rows."""


class Datasink(ray.data.Datasink[_Written]):
    """A sharded store to be built by `Dataset.write_datasink`, of data that lie in ranges of keys.

    Each task that writes builds a shard of its rows, in any order; no two of them may have overlapping
    ranges of keys, as is so after `Dataset.sort`. How many shards there are Ray chooses by that: `write`,
    which brings the rows into ranges itself, takes their number. When all tasks have ended, their shards are
    published as the next epoch, which is the attribute `epoch` then. A build that fails leaves nothing; of
    one that Ctrl-C ends Ray does not tell the sink: `on_write_failed` removes what is left of it then.
    Types that differ are seen as far as Ray has not made one of them when it sorted.

    Raises:
        As `write`; ValueError if ranges overlap.

    Example:
        >>> data = ray.data.from_arrow(pa.table({"id": range(1000), "x": np.arange(1000) / 2}))
        >>> sink = Datasink(path, key="id")
        >>> data.sort("id").write_datasink(sink)
        >>> sink.epoch
        1

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str,
        codec: Codec[Any] | None = None,
        compression: Literal["zstd"] | None = None,
    ) -> None:
        self.epoch = 0
        self._path, self._key, self._codec = absolute(path), key, codec
        self._compression = _store.check_compression(compression)
        self._build: _build.Build | None = None
        self._schema: Any = None

    def get_name(self) -> str:
        """Return what Ray calls the tasks that write."""
        return "Alexpy"

    def on_write_start(self, schema: Any = None) -> None:
        """Make the directory in which tasks build; `schema` is that of the first block."""
        self._build, self._schema = _build.Build(self._path), schema

    def write(self, blocks: Iterable[Any], ctx: Any) -> _Written:  # noqa: ARG002 - of Ray's signature
        """Build a shard of the rows of some blocks; in a task."""
        if self._build is None:
            raise RuntimeError("Ray has not called on_write_start; write by Dataset.write_datasink")
        try:
            return self._written(self._build, [arrow(block) for block in blocks])
        except FAULTS as error:
            return _Written(error)

    def _written(self, build: _build.Build, tables: list[pa.Table]) -> _Written:
        tables = [table for table in tables if table.num_rows] or tables[:1]
        if not tables or not tables[0].num_columns:
            return _Written()
        types, plan = types_of(tables[0].schema), self._plan_of(tables[0].schema)
        for table in tables:
            _build.refuse_other_types(types_of(table.schema), types)
            refuse_nulls(table, self._key)
        table = pa.concat_tables([table.select(list(types)) for table in tables])
        return _Written(None, types, plan, fill(build, plan, table, self._key) if len(table) else None)

    def _plan_of(self, schema: Any) -> _build.Plan:
        return plan_of(schema, self._key, self._codec, self._compression)

    def on_write_complete(self, write_result: Any) -> None:
        """Publish the shards that the tasks built, as one epoch."""
        written: list[_Written] = [one for one in write_result.write_returns if one is not None]
        for fault in (one.fault for one in written if one.fault is not None):
            raise fault
        if self._build is None:
            # Of data without a block nothing is started.
            self._build = _build.Build(self._path)
        shards = _in_order([one for one in written if one.shard is not None])
        if not shards:
            plan = next((one.plan for one in written if one.plan is not None), None)
            if plan is None and not isinstance(self._schema, pa.Schema):
                raise ValueError(NOTHING)
            shards = [empty(self._build, plan or self._plan_of(self._schema))]
        self._build.publish([one.name for one in shards], [one.first for one in shards[1:]])
        self.epoch, self._build = self._build.epoch, None

    def on_write_failed(self, error: BaseException) -> None:  # noqa: ARG002 - of Ray's signature
        """Remove all that was built. Ray calls it, but not after KeyboardInterrupt."""
        if self._build is not None:
            self._build.abandon()
            self._build = None


def _in_order(written: list[_Written]) -> list[Shard]:
    """Return the shards of tasks in key order, if they are of the same types and do not overlap."""
    for one in written:
        _build.refuse_other_types(one.types or {}, written[0].types or {})
    shards = sorted((one.shard for one in written if one.shard is not None), key=lambda one: one.first)
    for before, after in pairwise(shards):
        if before.last == after.first:
            raise _build.twice(after.first)
        if before.last > after.first:
            raise ValueError(
                f"the keys of two tasks overlap, those to {before.last} and those from {after.first}: "
                "sort the dataset by key before it is written, or use alexpy.ray.write"
            )
    return shards
