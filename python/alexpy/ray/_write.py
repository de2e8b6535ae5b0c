"""`write`: a sharded store of any data, which Ray brings into ranges of keys."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import ray.data

from alexpy import _build, _store, _tables
from alexpy._path import absolute

from ._blocks import FAULTS, NOTHING, Shard, arrow, empty, fill, plan_of, refuse_nulls, types_of

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from alexpy.codecs import Codec

_HALF = 1 << 63
# Keys of each block of Ray from which the ranges of the shards are chosen.
_SAMPLE = 256


def write(
    data: ray.data.Dataset,
    path: str | os.PathLike[str],
    *,
    key: str,
    shards: int | None = None,
    codec: Codec[Any] | None = None,
    compression: Literal["zstd"] | None = None,
) -> int:
    """Build a sharded store of a Dataset, and return its epoch: 1, or the next one if it is there already.

    `key` names the column with the keys: integers or moments, each of which may come once. The other columns
    are the values: one of binary, text or numbers; or several of numbers, which make a record for each key.
    `codec` is what they are stored with if that does not suit, and `compression="zstd"` compresses each, as
    in `alexpy.open`. `shards` is how many there are at most: if it is None, as many as `data` has blocks.

    Ray groups the rows by shard, in its object store, and builds each shard in a task, which may be repeated:
    each try builds in a directory of its own. When all are built, one of each is published. A build that
    fails leaves nothing, and what was there as it was. O(rows log rows).

    Raises:
        KeyError: there is no such column.
        TypeError: a column is of a type that no codec here has, or of different types in different blocks.
        ValueError: a key comes twice, a value is null, or there is no such compression.
        FencedError: another build published meanwhile; nothing of this one is left.
        OSError: a disk failed; if it did so after the publication, the message says so, and the epoch stays.

    Example:
        >>> table = pa.table({"id": range(1000), "x": np.arange(1000) / 2, "y": range(1000)})
        >>> write(ray.data.from_arrow(table), path, key="id", shards=3)
        1
        >>> with alexpy.ShardedStore.open(path) as store:
        ...     store.get_many([999, 5]).tolist()
        [(499.5, 999), (2.5, 5)]

    """
    if not isinstance(data, ray.data.Dataset):
        raise TypeError(
            f"data is a {type(data).__name__}; give a Dataset of Ray: ray.data.from_pandas and from_arrow "
            "make one of tables"
        )
    _build.check_shards(shards)
    compression = _store.check_compression(compression)
    # Ray would make the rows again for each of the two looks at them.
    data = data.materialize()
    schema, parts = _whole(data, key)
    plan = plan_of(schema, key, codec, compression)
    ends = _ends(parts, len(parts) if shards is None else shards)
    build = _build.Build(absolute(path))
    try:
        built = _shards_of(data, build, plan, schema, key, ends) if parts else [empty(build, plan)]
        _check_rows(sum(part.rows for part in parts), built)
        build.publish([shard.name for shard in built], [_key_of(end, plan.key_kind) for end in ends])
    except BaseException:
        build.abandon()
        raise
    return build.epoch


@dataclass
class _Part:
    """What is known of a block."""

    rows: int
    schema: Any
    sample: NDArray[np.int64]
    """Some of its keys, ascending, as integers of the same order."""


def _whole(data: ray.data.Dataset, key: str) -> tuple[Any, list[_Part]]:
    """Look at each block, in a task; return the schema that all of them have, and those that have rows.

    What Ray does with blocks of different types, when it brings them together, changes values.
    """
    parts: list[_Part] = _told(data.map_batches(_seen, batch_size=None, batch_format=None, fn_args=[key]))
    if not parts:
        schema = data.schema()
        if schema is None:
            raise ValueError(NOTHING)
        return pa.schema(zip(schema.names, schema.types, strict=True)), []
    types = types_of(parts[0].schema)
    for part in parts:
        _build.refuse_other_types(types_of(part.schema), types)
    return parts[0].schema, parts


def _seen(block: Any, key: str) -> pa.Table:
    """Look at a block; in a task."""
    try:
        table = arrow(block)
        sample = np.empty(0, np.int64)
        if key in table.column_names:
            refuse_nulls(table, key)
            kind = _build.key_kind(_build.Column("", _tables.holds(table.column(key).type)))
            if kind is not None:
                keys = _as_integers(table.column(key), kind)
                places = np.linspace(0, len(keys) - 1, min(_SAMPLE, len(keys))).astype(np.int64)
                sample = np.sort(keys)[places]
    except FAULTS as error:
        return _row(error)
    return _row(_Part(len(table), table.schema, sample))


def _shards_of(
    data: ray.data.Dataset, build: _build.Build, plan: _build.Plan, schema: Any, key: str, ends: list[int]
) -> list[Shard]:
    """Build the shards between these ends, each in a task; return them in key order."""
    place = _unused(schema.names)
    placed = data.map_batches(
        _placed, batch_size=None, batch_format=None, fn_args=[plan.key_kind, schema.names, key, place, ends]
    )
    # Ray hands a group to its task as a whole, where it cuts the blocks of a sort to size.
    groups = placed.groupby(place, num_partitions=len(ends) + 1)
    built = groups.map_groups(_shard, batch_format="pyarrow", fn_args=[build, plan, key, place])
    return sorted(_told(built), key=lambda shard: shard.first)


def _placed(block: Any, kind: str, names: list[str], key: str, place: str, ends: list[int]) -> pa.Table:
    """Return a block as a table of Arrow, with a column that says in which shard each row is; in a task."""
    table = arrow(block).select(names)
    places = np.searchsorted(np.array(ends, np.int64), _as_integers(table.column(key), kind), "right")
    return table.append_column(place, pa.array(places))


def _shard(rows: pa.Table, build: _build.Build, plan: _build.Plan, key: str, place: str) -> pa.Table:
    """Build a shard of its rows; in a task."""
    try:
        return _row(fill(build, plan, rows.drop_columns([place]), key))
    except FAULTS as error:
        return _row(error)


def _check_rows(rows: int, built: Sequence[Shard]) -> None:
    """Refuse shards that do not have all rows."""
    found = sum(shard.rows for shard in built)
    if found != rows:
        raise RuntimeError(
            f"data has {rows} rows, and Ray brought {found} to the shards; nothing is published"
        )


def _row(what: Any) -> pa.Table:
    """Return what a task has to tell as a block of Ray."""
    return pa.table({"told": [pickle.dumps(what)]})


def _told(data: ray.data.Dataset) -> list[Any]:
    """Return what tasks have told, and raise what one of them has refused."""
    found = [pickle.loads(row["told"]) for row in data.take_all()]  # noqa: S301 - Ray does so with all
    for one in found:
        if isinstance(one, Exception):
            raise one
    return found


def _as_integers(keys: Any, kind: str) -> NDArray[np.int64]:
    """Return a column of keys as int64 in the same order."""
    plain: NDArray[Any] = keys.to_numpy()
    if kind == "uint64":
        return (plain ^ np.uint64(_HALF)).view(np.int64)
    return plain.astype(np.int64, copy=False) if kind == "int64" else plain.view(np.int64)


def _key_of(number: int, kind: str) -> Any:
    """Return the key that `_as_integers` has made a number of."""
    if kind == "uint64":
        return number + _HALF
    return number if kind == "int64" else np.int64(number).view(f"M8{kind.removeprefix('datetime64')}")


def _unused(names: Sequence[str]) -> str:
    name = "shard"
    while name in names:
        name += "_"
    return name


def _ends(parts: Sequence[_Part], shards: int) -> list[int]:
    """Return the keys between shards, as integers, so that all have about equally many rows."""
    if not parts:
        return []
    keys = np.concatenate([part.sample for part in parts])
    weights = np.concatenate([np.full(len(part.sample), part.rows / len(part.sample)) for part in parts])
    order = np.argsort(keys, kind="stable")
    keys, below = keys[order], np.cumsum(weights[order])
    places = np.searchsorted(below, below[-1] * np.arange(1, shards) / shards, "right")
    ends = np.unique(keys[np.minimum(places, len(keys) - 1)])
    # Keys are below the first end, so that there is no shard without rows.
    return [int(end) for end in ends if end > keys[0]]
