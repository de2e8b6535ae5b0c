"""Sharded stores built and read by Dask (`pip install 'alexpy[dask]'`).

    write(frame, "events", key="id")            # a shard of each range of keys, built in parallel
    events = read("events")                     # a DataFrame with known divisions
    rows = lookup("events", keys)               # the values of a Dask array of keys

Dask schedules and tries again; workers get paths and bounds, and open stores for themselves, so all machines
need the same file system. Nothing of a build is visible before all of it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

try:
    import dask
    import dask.array as da
    import dask.dataframe as dd
    import pandas as pd
    import pyarrow as pa
except ImportError as error:
    raise ImportError("alexpy.dask needs Dask: pip install 'alexpy[dask]'") from error

from . import _build, _tables, codecs
from ._epoch import keys_of
from ._path import absolute
from ._sharded import ShardedStore

if TYPE_CHECKING:
    import os

    from numpy.typing import DTypeLike, NDArray

    from .codecs import Codec

__all__ = ["lookup", "read", "write"]


def write(
    data: Any,
    path: str | os.PathLike[str],
    *,
    key: str,
    shards: int | None = None,
    codec: Codec[Any] | None = None,
    compression: Literal["zstd"] | None = None,
) -> int:
    """Build a sharded store of a DataFrame, and return its epoch: 1, or the next one if it is there already.

    `data` is a DataFrame of Dask, or a list of parts, which are DataFrames of pandas or `dask.delayed` ones.
    `key` names the column, or the index, with the keys: integers or moments, each of which may come once. The
    other columns are the values: one of binary, text or numbers; or several of numbers, which make a record
    for each key. `codec` is what they are stored with if that does not suit, and `compression="zstd"`
    compresses each, as in `alexpy.open`. `shards` is how many there are at most: if it is None, as many as
    `data` has partitions.

    Dask sorts by key and builds each shard in a task, which may be repeated: each try builds in a directory
    of its own. When all are built, one of each is published. A build that fails leaves nothing, and what was
    there as it was. O(rows log rows).

    Raises:
        KeyError: there is no such column.
        TypeError: a column is of a type that no codec here has, or holds Python objects.
        ValueError: a key comes twice, a value is null, or there is no such compression.
        FencedError: another build published meanwhile; nothing of this one is left.
        OSError: a disk failed; if it did so after the publication, the message says so, and the epoch stays.

    Example:
        >>> frame = pd.DataFrame({"id": range(1000), "x": np.arange(1000.0), "y": np.ones(1000)})
        >>> write([frame[:500], frame[500:]], path, key="id", shards=3)
        1
        >>> with alexpy.ShardedStore.open(path) as store:
        ...     store.get_many([999, 5]).tolist()
        [(999.0, 1.0), (5.0, 1.0)]

    """
    # Dask would make text of Python objects, also of bytes.
    with dask.config.set({"dataframe.convert-string": False}):
        return _write(_frame(data), absolute(path), key, shards, codec, compression)


def _write(
    frame: dd.DataFrame,
    path: str,
    key: str,
    shards: int | None,
    codec: Codec[Any] | None,
    compression: Literal["zstd"] | None,
) -> int:
    _build.check_shards(shards)
    if frame.index.name == key and key not in frame.columns:
        frame = frame.reset_index()
    _build.check_names(list(frame.columns))
    columns = {name: _column(dtype) for name, dtype in frame.dtypes.items()}
    to_binary = ".astype(pandas.ArrowDtype(pyarrow.binary()))"
    plan = _build.plan_of(columns, key, codec, compression, to_binary)
    # Before Dask brings rows of different parts together, and makes one type of theirs.
    types, meta = dict(frame.dtypes), _sortable(frame._meta, key)  # noqa: SLF001
    frame = frame.map_partitions(_checked, types, key, meta=meta)
    build = _build.Build(path)
    try:
        frame = frame.set_index(key, npartitions=frame.npartitions if shards is None else shards)
        parts = frame.to_delayed(optimize_graph=True)
        built = dask.compute(*[dask.delayed(_shard)(part, build, plan) for part in parts])
        build.publish(built, [_plain(end) for end in frame.divisions[1:-1]])
    except BaseException:
        build.abandon()
        raise
    return build.epoch


def read(
    path: str | os.PathLike[str], *, partitions: int | None = None, codec: Codec[Any] | None = None
) -> dd.DataFrame:
    """Return a sharded store as a DataFrame whose index is the keys, with known divisions.

    Its columns are those of the records, or `value`; all of Arrow's types, so that no Python object is made
    for a value. A partition is a shard, or one of `partitions` with equally many rows. What was committed
    when the workers open the store is read, of the epoch that is the newest now. O(partitions) until it is
    computed.

    Raises:
        As `ShardedStore.open`; TypeError for UUID keys, which Dask cannot order.

    Example:
        >>> write([pd.DataFrame({"id": range(10), "x": range(10)})], path, key="id")
        1
        >>> frame = read(path, partitions=2)
        >>> frame.divisions, int(frame["value"].sum().compute())
        ((0, 5, 9), 45)

    """
    place = absolute(path)
    with ShardedStore.open(place, codec=codec) as store:
        if store.key_kind == "uuid":
            raise TypeError(f"{place} has UUIDs for keys, which Dask cannot order; scan_batches reads them")
        ranges = store.bounds if partitions is None else store.split(partitions)
        found = []
        for start, stop in ranges:
            if store.count(start, stop):
                first = store.first() if start is None else store.ceiling(start)
                found.append((start, stop, None if first is None else first[0]))
        last, epoch = store.last(), store.epoch
        meta = _pandas(store, [])
    if last is None:
        return dd.from_pandas(meta, npartitions=1)
    parts = [(start, stop) for start, stop, _ in found]
    # The last one is inclusive, where all others are not.
    divisions = (*(first for _, _, first in found), last[0])
    return dd.from_map(
        _read_part, parts, path=place, epoch=epoch, codec=codec, meta=meta, divisions=divisions
    )


def lookup(
    path: str | os.PathLike[str],
    keys: Any,
    dtype: DTypeLike | None = None,
    shape: tuple[int, ...] | int = (),
    *,
    fill: Any = None,
    codec: Codec[Any] | None = None,
) -> da.Array:
    """Return the values of a Dask array of keys, of one length each, as a Dask array of the same chunks.

    `dtype`, `shape` and `fill` as in `Store.get_array`. A column of a DataFrame is an array too
    (`frame["id"].to_dask_array()`). Each chunk is looked up by one call in a worker, which opens the store
    for it: chunks of many thousands of keys hide that.

    Raises:
        As `ShardedStore.open`; when it is computed, as `Store.get_array`.

    Example:
        >>> write([pd.DataFrame({"id": range(100), "x": np.arange(100.0)})], path, key="id", shards=2)
        1
        >>> lookup(path, da.from_array([7, 99, 0], chunks=2)).compute().tolist()
        [7.0, 99.0, 0.0]

    """
    place = absolute(path)
    with ShardedStore.open(place, codec=codec) as store:
        epoch, kind = store.epoch, store.key_kind
        if dtype is None:
            dtype, shape = codecs.row_type(store.codec)
    row = np.empty(shape, dtype)
    dtype, sizes = row.dtype, row.shape
    # Of what is no collection of Dask, NumPy might make other keys.
    array = da.asarray(keys if dask.is_dask_collection(keys) else keys_of(keys, kind))
    if array.ndim != 1:
        raise ValueError(f"keys must be one-dimensional, not of {array.ndim} axes")
    return array.map_blocks(
        _look_up,
        place,
        epoch,
        codec,
        dtype,
        sizes,
        fill,
        dtype=dtype,
        new_axis=list(range(1, 1 + len(sizes))),
        chunks=(array.chunks[0], *((size,) for size in sizes)),
        meta=np.empty((0,) * (1 + len(sizes)), dtype),
    )


def _frame(data: Any) -> dd.DataFrame:
    if isinstance(data, dd.DataFrame):
        return data
    if isinstance(data, pd.DataFrame):
        raise TypeError(
            "data is one DataFrame of pandas; give a list of them, or dask.dataframe.from_pandas(data)"
        )
    parts = list(data)
    if not parts:
        raise ValueError("data has no parts")
    if all(isinstance(part, pd.DataFrame) for part in parts):
        return dd.from_map(_itself, parts, meta=parts[0].iloc[:0])
    return dd.from_delayed(parts)


def _itself(part: pd.DataFrame) -> pd.DataFrame:
    return part


def _column(dtype: Any) -> _build.Column:
    """Return what a column of this type of pandas holds."""
    if isinstance(dtype, pd.ArrowDtype):
        return _build.Column(str(dtype), _tables.holds(dtype.pyarrow_dtype))
    if isinstance(dtype, pd.StringDtype):
        return _build.Column(str(dtype), "text")
    plain = getattr(dtype, "numpy_dtype", dtype)
    numbers = isinstance(plain, np.dtype) and plain.kind in "iufbMm"
    return _build.Column(str(dtype), plain if numbers else None)


def _checked(part: pd.DataFrame, types: dict[str, Any], key: str) -> pd.DataFrame:
    """Refuse a part whose columns are not those of the whole, and one with nulls."""
    _build.refuse_other_types(dict(part.dtypes), types)
    for name in [key, *(name for name in types if name != key)]:
        column = part[name]
        # NaN is a number as others are; NaT is no moment.
        nulls = column.isna() if not isinstance(column.dtype, np.dtype) or column.dtype.kind in "Mm" else None
        if nulls is not None and nulls.any():
            raise _build.null(name, key, part[key].iloc[int(nulls.to_numpy().argmax())])
    return _sortable(part, key)


def _sortable(part: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return a part with keys as NumPy has them, and all numbers in the byte order of this machine.

    Dask fails at moments of Arrow, makes floats of Arrow's integers, and pandas sorts no other byte order.
    """
    native = {
        name: plain.newbyteorder("=")
        for name, dtype in part.dtypes.items()
        if isinstance(plain := _column(dtype).holds, np.dtype)
        and (name == key or (isinstance(dtype, np.dtype) and not dtype.isnative))
    }
    others = {name: part[name].to_numpy(to) for name, to in native.items() if part[name].dtype != to}
    return part.assign(**others) if others else part


def _shard(frame: pd.DataFrame, build: _build.Build, plan: _build.Plan) -> str:
    """Build one shard, and return the name of this try."""
    frame = frame.sort_index()
    values = plan.values(
        len(frame),
        lambda name, dtype: frame[name].to_numpy(dtype),
        lambda: pa.array(frame[plan.column]),
    )
    return build.fill(plan, frame.index.to_numpy(), values)


def _plain(division: Any) -> Any:
    """Return a division as a key: of pandas' moments that of NumPy."""
    return division.to_datetime64() if isinstance(division, pd.Timestamp) else division


def _read_part(bounds: tuple[Any, Any], *, path: str, epoch: int, codec: Codec[Any] | None) -> pd.DataFrame:
    with ShardedStore._of_epoch(path, epoch, codec) as store:  # noqa: SLF001
        return _pandas(store, list(store.scan_batches(*bounds, rows=_tables.ROWS)))


def _pandas(store: ShardedStore[Any, Any], batches: list[Any]) -> pd.DataFrame:
    """Return batches of a scan as a DataFrame with the columns of the records."""
    keys, columns = _tables.columns(store, batches)
    frame = pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype)
    return frame.set_index(pd.Index(keys.to_numpy(), name="key"))


def _look_up(
    keys: NDArray[Any],
    path: str,
    epoch: int,
    codec: Codec[Any] | None,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    fill: Any,
) -> NDArray[Any]:
    with ShardedStore._of_epoch(path, epoch, codec) as store:  # noqa: SLF001
        return store.get_array(keys, dtype, shape, fill=fill)
