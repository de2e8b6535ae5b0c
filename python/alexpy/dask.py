"""Sharded stores built and read by Dask (`pip install 'alexpy[dask]'`).

    write(frame, "events", key="id")            # a shard of each range of keys, built in parallel
    events = read("events")                     # a DataFrame with known divisions
    rows = lookup("events", keys)               # the values of a Dask array of keys

Dask schedules and tries again; workers get paths and bounds, and open stores for themselves, so all machines
need the same file system. Nothing of a build is visible before all of it is.
"""

from __future__ import annotations

import operator
import shutil
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import dask
    import dask.array as da
    import dask.dataframe as dd
    import pandas as pd
    import pyarrow as pa
except ImportError as error:
    raise ImportError("alexpy.dask needs Dask: pip install 'alexpy[dask]'") from error

from . import _shards, _store, codecs
from ._path import absolute
from ._sharded import ShardedStore

if TYPE_CHECKING:
    import os

    from numpy.typing import DTypeLike, NDArray

    from .codecs import Codec

__all__ = ["lookup", "read", "write"]

_MOMENTS = ("s", "ms", "us", "ns")
# Rows that a worker takes out of a store at a time.
_ROWS = 1 << 17


def write(
    data: Any,
    path: str | os.PathLike[str],
    *,
    key: str,
    shards: int | None = None,
    codec: Codec[Any] | None = None,
) -> int:
    """Build a sharded store of a DataFrame, and return its epoch: 1, or the next one if it is there already.

    `data` is a DataFrame of Dask, or a list of parts, which are DataFrames of pandas or `dask.delayed` ones.
    `key` names the column, or the index, with the keys: integers or moments, each of which may come once. The
    other columns are the values: one of binary, text or numbers; or several of numbers, which make a record
    for each key. `codec` is what they are stored with if that does not suit. `shards` is how many there are
    at most: if it is None, as many as `data` has partitions.

    Dask sorts by key and builds each shard in a task, which may be repeated: each try builds in a directory
    of its own. When all are built, one of each is published. A build that fails leaves nothing, and what was
    there as it was. O(rows log rows).

    Raises:
        KeyError: there is no such column.
        TypeError: a column is of a type that no codec here has, or holds Python objects.
        ValueError: a key comes twice, or a value is null.
        FencedError: another build published meanwhile; nothing of this one is left.

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
        return _write(_frame(data), absolute(path), key, shards, codec)


def _write(frame: dd.DataFrame, path: str, key: str, shards: int | None, codec: Codec[Any] | None) -> int:
    if shards is not None and operator.index(shards) < 1:
        raise ValueError(f"shards must be 1 or more, not {shards}")
    if frame.index.name == key and key not in frame.columns:
        frame = frame.reset_index()
    names = list(frame.columns)
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise TypeError(f"columns need names that are text, each its own; these are {names}")
    if key not in names:
        raise KeyError(f"there is no column {key!r}; there are {', '.join(map(repr, names))}")
    plan = _plan(frame, path, key, codec)
    # Before Dask brings rows of different parts together, and makes one type of theirs.
    frame = frame.map_partitions(_checked, dict(frame.dtypes), key, meta=frame._meta)  # noqa: SLF001
    where = Path(path)
    made = not where.exists()
    if made:
        where.mkdir()
    try:
        epoch = _shards.newest(where) + 1
        frame = frame.set_index(key, npartitions=frame.npartitions if shards is None else shards)
        built = dask.compute(
            *[
                dask.delayed(_build)(part, place, plan)
                for place, part in enumerate(frame.to_delayed(optimize_graph=True))
            ]
        )
        ends = [None, *(_plain(end) for end in frame.divisions[1:-1]), None]
        layout = [(name, *bounds) for name, bounds in zip(built, pairwise(ends), strict=True)]
        ShardedStore.publish(where, layout, epoch=epoch)
    except BaseException:
        _remove(plan, keep=())
        if made:
            with suppress(OSError):
                where.rmdir()
        raise
    # What tries that came to nothing have left.
    _remove(plan, keep=built)
    return epoch


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
        epoch = store.epoch
        if dtype is None:
            dtype, shape = codecs.row_type(store.codec)
    row = np.empty(shape, dtype)
    dtype, sizes = row.dtype, row.shape
    array = da.asarray(keys)
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


@dataclass(frozen=True)
class _Plan:
    """What all tasks of a build know."""

    path: str
    prefix: str
    key_kind: str
    codec: Codec[Any] | None
    fields: tuple[tuple[str, str], ...]
    """Name and NumPy's dtype of each column of numbers; empty if the one column is binary or text."""
    column: str
    """The only column."""


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


def _plan(frame: dd.DataFrame, path: str, key: str, codec: Codec[Any] | None) -> _Plan:
    """Decide what keys and values are, from the types of the columns alone."""
    meta = frame.dtypes
    columns = [name for name in frame.columns if name != key]
    if not columns:
        raise TypeError(f"there is no column beside {key!r}; a store has values")
    kind = _key_kind(meta[key], key)
    numbers = {name: _number_type(meta[name]) for name in columns}
    fields: tuple[tuple[str, str], ...] = ()
    if all(number is not None for number in numbers.values()):
        fields = tuple((name, str(number)) for name, number in numbers.items())
        row = np.dtype(fields[0][1]) if len(fields) == 1 else np.dtype(list(fields))
        codec = codec or codecs.numpy(row)
    elif len(columns) > 1:
        other = next(name for name, number in numbers.items() if number is None)
        raise TypeError(
            f"the column {other!r} is of type {meta[other]}, and several columns make a record of numbers "
            "only; encode them into one column of binary"
        )
    elif _is_text(meta[columns[0]]):
        codec = codec or codecs.text
    elif not _is_binary(meta[columns[0]]):
        raise TypeError(
            f"the column {columns[0]!r} is of type {meta[columns[0]]}; values are numbers, text or binary: "
            ".astype(pandas.ArrowDtype(pyarrow.binary())) makes such a column of bytes"
        )
    return _Plan(path, f"build-{token_hex(8)}", kind, codec, fields, columns[0])


def _key_kind(dtype: Any, key: str) -> str:
    plain = _number_type(dtype)
    if plain is not None and plain.kind in "iu":
        return "uint64" if plain == np.uint64 else "int64"
    if plain is not None and plain.kind == "M" and np.datetime_data(plain)[0] in _MOMENTS:
        return f"datetime64[{np.datetime_data(plain)[0]}]"
    raise TypeError(f"the column {key!r} is of type {dtype}; keys are integers or moments")


def _number_type(dtype: Any) -> np.dtype[Any] | None:
    """Return what NumPy calls a type of numbers or moments; None for any other type."""
    arrow = getattr(dtype, "pyarrow_dtype", None)
    if arrow is not None and pa.types.is_timestamp(arrow) and arrow.tz is not None:
        # The zone would be lost.
        return None
    plain = getattr(dtype, "numpy_dtype", dtype)
    return plain if isinstance(plain, np.dtype) and plain.kind in "iufbMm" else None


def _is_text(dtype: Any) -> bool:
    return isinstance(dtype, pd.StringDtype) or (
        isinstance(dtype, pd.ArrowDtype)
        and (pa.types.is_string(dtype.pyarrow_dtype) or pa.types.is_large_string(dtype.pyarrow_dtype))
    )


def _is_binary(dtype: Any) -> bool:
    return isinstance(dtype, pd.ArrowDtype) and (
        pa.types.is_binary(dtype.pyarrow_dtype) or pa.types.is_large_binary(dtype.pyarrow_dtype)
    )


def _checked(part: pd.DataFrame, types: dict[str, Any], key: str) -> pd.DataFrame:
    """Refuse a part whose columns are not those of the whole, and one with nulls."""
    found = dict(part.dtypes)
    if found != types:
        names = sorted(name for name in {*found, *types} if found.get(name) != types.get(name))
        name, absent = names[0], "none, since it is missing"
        raise TypeError(
            f"the column {name!r} is of type {found.get(name, absent)} in one part, and of type "
            f"{types.get(name, absent)} in the whole; give all parts the same columns"
        )
    for name in [key, *(name for name in types if name != key)]:
        column = part[name]
        # NaN is a number as others are; NaT is no moment.
        nulls = column.isna() if not isinstance(column.dtype, np.dtype) or column.dtype.kind in "Mm" else None
        if nulls is None or not nulls.any():
            continue
        at = int(nulls.to_numpy().argmax())
        what = "a key" if name == key else f"the value of key {part[key].iloc[at]} in the column {name!r}"
        raise ValueError(f"{what} is null; drop or fill nulls first")
    return part


def _build(frame: pd.DataFrame, place: int, plan: _Plan) -> str:
    """Build one shard in a directory of this try's own, and return its name."""
    frame = frame.sort_index()
    twice = frame.index.duplicated()
    if twice.any():
        raise ValueError(
            f"the key {frame.index[int(twice.argmax())]} comes more than once; each may come once"
        )
    keys, values = frame.index.to_numpy(), _values(frame, plan)
    name = f"{plan.prefix}-{place:05}-{token_hex(4)}"
    with _store.open(Path(plan.path) / name, key=plan.key_kind, codec=plan.codec) as shard:  # type: ignore[call-overload]
        shard.bulk_load(keys, values)
    return name


def _values(frame: pd.DataFrame, plan: _Plan) -> Any:
    if not plan.fields:
        column = pa.array(frame[plan.column])
        # A codec of another kind takes Python objects.
        return column if plan.codec in (None, codecs.text) else column.to_pylist()
    if len(plan.fields) == 1:
        return frame[plan.column].to_numpy(plan.fields[0][1])
    rows = np.empty(len(frame), np.dtype(list(plan.fields)))
    for name, dtype in plan.fields:
        rows[name] = frame[name].to_numpy(dtype)
    return rows


def _plain(division: Any) -> Any:
    """Return a division as a key: of pandas' moments that of NumPy."""
    return division.to_datetime64() if isinstance(division, pd.Timestamp) else division


def _remove(plan: _Plan, keep: tuple[str, ...]) -> None:
    """Remove what this build made, but for `keep`."""
    for directory in Path(plan.path).glob(f"{plan.prefix}-*"):
        if directory.name not in keep:
            shutil.rmtree(directory, ignore_errors=True)


def _read_part(bounds: tuple[Any, Any], *, path: str, epoch: int, codec: Codec[Any] | None) -> pd.DataFrame:
    with ShardedStore._of_epoch(path, epoch, codec) as store:  # noqa: SLF001
        batches = [pa.record_batch(batch) for batch in store.scan_batches(*bounds, rows=_ROWS)]
        return _pandas(store, batches)


def _pandas(store: ShardedStore[Any, Any], batches: list[Any]) -> pd.DataFrame:
    """Return Arrow's rows of keys and values as a DataFrame with the columns of the records."""
    # Without a row the types are those of the store.
    table = pa.Table.from_batches(batches) if batches else pa.table(store.shards[0].to_arrow()).slice(0, 0)
    keys, values = table.column("key").to_numpy(), table.column("value")
    columns = {"value": values}
    if pa.types.is_struct(values.type):
        columns = dict(zip((field.name for field in values.type), values.flatten(), strict=True))
    frame = pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype)
    return frame.set_index(pd.Index(keys, name="key"))


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
