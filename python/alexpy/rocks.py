"""`RocksStore`: an ALEX index in memory over values in RocksDB, with the protocol of `alexpy.Store`.

The design that alexpy's own storage replaced, kept as a second backend and as the system to measure against
(`pip install 'alexpy[rocksdb]'`). RocksDB holds the items, keys as 8 big-endian bytes with the sign bit
turned, so that they sort as integers do; an `AlexIndex` of key to length of value answers what needs no
value: membership, order, counts, neighbours, and which keys a read or delete can find. It is rebuilt from
RocksDB at every opening, O(keys). Writes go to RocksDB first and to the index after, under one lock.

Not here, for RocksDB has nothing under it: zero-copy views, Arrow, verify, checkpoints, and compare with a
`Store`: no read-only handles that follow, no timed flush (`durability` is "sync" or "os").
"""

from __future__ import annotations

import errno
import operator
import os
import sys
import threading
import warnings
import weakref
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass, fields
from itertools import islice, pairwise, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, cast, overload

import numpy as np
from rocksdict import (
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from . import _convert
from ._index import AlexIndex
from .errors import ClosedError, CorruptionError, FormatError, LockedError

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Buffer

__all__ = ["RocksBatch", "RocksConfig", "RocksStats", "RocksStore"]

_T = TypeVar("_T")
_MISSING: Final = object()
_MIB: Final = 1 << 20
_SIGN: Final = 1 << 63
_INT64_MAX: Final = 2**63 - 1
_VALUE_LIMIT: Final = 2**32 - 1
# Keys that one pass of an index scan takes, and values that one MultiGet asks for.
_RUN: Final = 4096
# Judges keys: it has the rules and the messages of `Store`, and holds none.
_JUDGE: Final = AlexIndex()
_CHOICES: Final = {"durability": ("sync", "os"), "compression": ("none", "lz4")}


@dataclass(frozen=True, slots=True, kw_only=True)
class RocksConfig:
    """Options of `RocksStore`, checked when made; the defaults are the roadmap's tuned ones.

    The roadmap weighed write buffers of 64 against 256 MB, a level-0 trigger of 4 against 8, and no
    compression against LZ4.

    Raises:
        ValueError: a value is impossible; the message says what is allowed.

    Example:
        >>> RocksConfig(write_buffer_mb=64).level0_trigger
        8

    """

    durability: Literal["sync", "os"] = "os"
    """What a returned write survives: "sync" a power cut; "os" a kill, and a power cut after flush()."""
    write_buffer_mb: int = 256
    """MiB that RocksDB collects in memory before it writes a sorted file."""
    level0_trigger: int = 8
    """Sorted files of level 0 at which RocksDB compacts."""
    level_base_mb: int = 512
    """MiB of level 1."""
    target_file_mb: int = 128
    """MiB of one sorted file."""
    compression: Literal["none", "lz4"] = "none"
    """How blocks are compressed."""
    block_cache_mb: int = 512
    """MiB of blocks kept in memory for reads."""
    bloom_bits: int = 0
    """Bits a key of Bloom filters; 0 for none: the index knows already which keys are there."""

    def __post_init__(self) -> None:
        """Check every field."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "bloom_bits" else 1
            if field.name not in _CHOICES and not (
                type(value) is int and least <= value < _INT64_MAX // _MIB
            ):
                raise ValueError(f"{field.name} must be an integer from {least} on, not {value!r}")

    def options(self) -> Any:
        """Return the options of RocksDB."""
        options = Options(raw_mode=True)
        options.set_write_buffer_size(self.write_buffer_mb * _MIB)
        options.set_level_zero_file_num_compaction_trigger(self.level0_trigger)
        options.set_max_bytes_for_level_base(self.level_base_mb * _MIB)
        options.set_target_file_size_base(self.target_file_mb * _MIB)
        compression = DBCompressionType.lz4() if self.compression == "lz4" else DBCompressionType.none()
        options.set_compression_type(compression)
        table = BlockBasedOptions()
        table.set_block_cache(Cache(self.block_cache_mb * _MIB))
        if self.bloom_bits:
            table.set_bloom_filter(self.bloom_bits, block_based=False)
        options.set_block_based_table_factory(table)
        return options


@dataclass(frozen=True, slots=True)
class RocksStats:
    """Figures of a `RocksStore` at one moment; what `RocksStore.stats` returns."""

    keys: int
    """Keys in the store."""
    live_bytes: int
    """Bytes of keys and values that RocksDB estimates to be live."""
    disk_bytes: int
    """Bytes that the store's files take on disk."""
    index_bytes: int
    """Bytes of memory of the index."""
    index_height: int
    """Nodes on the longest path from the root of the index to a leaf."""
    last_seq: int
    """RocksDB's sequence number of the last write."""


class RocksStore:
    """A durable mapping of int64 keys to bytes, ordered by key: ALEX in memory, values in RocksDB.

    `MutableMapping[int, bytes]` with the methods of `alexpy.Store` that RocksDB can carry; keys, values,
    bounds and errors are those of `Store`. One process at a time may have it open. All methods may be called
    from many threads. Opening is O(keys): the index is rebuilt.

    Raises:
        LockedError: another handle has it open.
        FileNotFoundError: there is no store, and `create=False` forbids making one.
        NotADirectoryError: `path` is a file.
        FormatError: the directory is not empty and no RocksDB; nothing was touched.
        CorruptionError: RocksDB found damage.

    Example:
        >>> import tempfile
        >>> with RocksStore(tempfile.mkdtemp()) as s:
        ...     s[20] = b"twenty"
        ...     s[10] = b"ten"
        ...     s.floor(15), len(s)
        ((10, b'ten'), 2)

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        config: RocksConfig | None = None,
    ) -> None:
        self._closed = True
        self._path = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - not resolved, as `alexpy.open`
        self._config = config or RocksConfig()
        _check_directory(self._path, create=create)
        self._lock = threading.RLock()
        with _errors(self._path):
            self._db = Rdict(str(self._path), self._config.options())
        self._closed = False
        self._scans: weakref.WeakSet[_Scan] = weakref.WeakSet()
        self._writing = WriteOptions()
        self._writing.sync = self._config.durability == "sync"
        self._db.set_write_options(self._writing)
        with _errors(self._path):
            self._index = self._rebuilt()

    def _rebuilt(self) -> AlexIndex:
        """Read every key, and the length of its value, in key order."""
        keys, lengths = bytearray(), []
        for key, value in self._db.items():
            keys += key
            lengths.append(len(value))
        return AlexIndex(_from_raw(bytes(keys)), np.array(lengths, np.int64))

    # One key

    def __getitem__(self, key: int) -> bytes:
        """Return the value of `key`; KeyError where it is not there."""
        value = self.get(key)
        if value is None:
            raise KeyError(_one(key))
        return value

    def __setitem__(self, key: int, value: Buffer) -> None:
        """Store `value` under `key`."""
        self.put(key, value)

    def __delitem__(self, key: int) -> None:
        """Remove `key`; KeyError where it is not there."""
        if not self.delete(key):
            raise KeyError(_one(key))

    def __contains__(self, key: object) -> bool:
        """Whether `key` is there; the index alone says so."""
        number = _one(key)
        self._check_open()
        return number in self._index

    def __len__(self) -> int:
        """Return the number of keys; O(1), exact."""
        self._check_open()
        return len(self._index)

    def __bool__(self) -> bool:
        """Whether there is any key."""
        return len(self) > 0

    def __iter__(self) -> Iterator[int]:
        """Iterate over the keys, ascending, as they are now."""
        return self.scan_keys()

    def __reversed__(self) -> Iterator[int]:
        """Iterate over the keys, descending, as they are now."""
        return self.scan_keys(reverse=True)

    @overload
    def get(self, key: int) -> bytes | None: ...
    @overload
    def get(self, key: int, default: _T) -> bytes | _T: ...
    def get(self, key: int, default: object = None) -> object:
        """Return the value of `key`, or `default`; the index answers for keys that are not there."""
        number = _one(key)
        self._check_open()
        if number not in self._index:
            return default
        return self._read(_raw(number), default)

    def put(self, key: int, value: Buffer) -> None:
        """Store `value` under `key`, replacing what was there; one RocksDB write."""
        number = _one(key)
        data = _value(value, "value")
        with self._lock:
            self._check_open()
            self._db.put(_raw(number), data)
            self._index.put(number, len(data))

    def delete(self, key: int) -> bool:
        """Remove `key`; whether it was there."""
        number = _one(key)
        with self._lock:
            self._check_open()
            if number not in self._index:
                return False
            self._db.delete(_raw(number))
            return self._index.delete(number)

    @overload
    def pop(self, key: int) -> bytes: ...
    @overload
    def pop(self, key: int, default: _T) -> bytes | _T: ...
    def pop(self, key: int, default: object = _MISSING) -> object:
        """Remove `key` and return its value, or `default`; KeyError where there is neither."""
        number = _one(key)
        with self._lock:
            value = self.get(number)
            if value is not None:
                self.delete(number)
                return value
        if default is _MISSING:
            raise KeyError(number)
        return default

    def popitem(self, last: bool = True) -> tuple[int, bytes]:  # noqa: FBT001, FBT002 - as in `Store`
        """Remove the last item, or with `last=False` the first, and return it; KeyError if empty."""
        with self._lock:
            item = self.last() if last else self.first()
            if item is None:
                raise KeyError("popitem(): the store is empty")
            self.delete(item[0])
            return item

    def setdefault(self, key: int, default: Buffer) -> bytes:
        """Return the value of `key`; where it is not there, store `default` first."""
        data = _value(default, "value")
        with self._lock:
            found = self.get(key)
            if found is None:
                self.put(key, data)
            return data if found is None else found

    def put_if_absent(self, key: int, value: Buffer) -> bool:
        """Store `value` only where `key` is not there; whether it was stored."""
        data = _value(value, "value")
        with self._lock:
            if key in self:
                return False
            self.put(key, data)
            return True

    def compare_and_set(self, key: int, expected: Buffer | None, new: Buffer | None) -> bool:
        """Store `new` only where the value of `key` equals `expected`; None means absent."""
        number = _one(key)
        old = None if expected is None else _value(expected, "expected")
        data = None if new is None else _value(new, "new")
        with self._lock:
            if self.get(number) != old:
                return False
            if data is not None:
                self.put(number, data)
            elif old is not None:
                self.delete(number)
            return True

    def clear(self) -> None:
        """Remove everything, in one commit."""
        with self._lock:
            self._check_open()
            keys, _ = self._index.scan_arrays()
            self._delete(keys)

    # Many keys

    def put_many(self, keys: Any, values: Any, *, sync: bool = False) -> int:
        """Store many items in one atomic batch, the last duplicate winning; how many distinct keys."""
        numbers = _many(keys)
        items = _values(values, len(numbers))
        batch = WriteBatch(raw_mode=True)
        # The last duplicate wins on both sides: RocksDB carries a batch out in its order.
        for raw, value in zip(_raw_many(numbers), items, strict=True):
            batch[raw] = value
        lengths = np.fromiter(map(len, items), np.int64, len(items))
        with self._lock:
            self._check_open()
            with _errors(self._path):
                self._db.write(batch, self._options(sync=sync))
            return self._index.put_many(numbers, lengths)

    def update(self, other: Any = (), /, *, sync: bool = False) -> None:
        """Store every item of a mapping or of an iterable of pairs, in one atomic batch."""
        if isinstance(other, Mapping | RocksStore):
            pairs: Iterable[tuple[Any, Any]] = other.items()
        elif hasattr(other, "keys"):
            pairs = ((key, other[key]) for key in other.keys())  # noqa: SIM118 - the protocol of dict.update
        else:
            pairs = other
        keys, values = [], []
        for key, value in pairs:
            keys.append(key)
            values.append(value)
        self.put_many(keys, values, sync=sync)

    def get_many(self, keys: Any, default: Any = None) -> list[Any]:
        """Return the values of many keys as a list in their order, `default` for those that are not there."""
        numbers = _many(keys)
        self._check_open()
        there = self._index.contains_many(numbers)
        found = self._read_many(numbers[there])
        if there.all():
            return [default if value is None else value for value in found] if None in found else found
        values = iter(found)
        answers = (next(values) if present else None for present in there.tolist())
        return [default if value is None else value for value in answers]

    def get_array(
        self, keys: Any, dtype: DTypeLike, shape: tuple[int, ...] | int = (), *, fill: Any = None
    ) -> NDArray[Any]:
        """Return values of one length in one array, as `Store.get_array` does."""
        row_dtype = np.dtype(dtype)
        if row_dtype.hasobject:
            raise TypeError(f"dtype {row_dtype} holds Python objects; values are plain memory")
        row_shape = (shape,) if isinstance(shape, int) else tuple(shape)
        row = np.empty(row_shape, row_dtype)
        filled = None if fill is None else np.full(row_shape, fill, row_dtype).tobytes()
        numbers = _many(keys)
        values = self.get_many(numbers)
        for at, value in enumerate(values):
            if value is None:
                if filled is None:
                    raise KeyError(int(numbers[at]))
                values[at] = filled
            elif len(value) != row.nbytes:
                raise ValueError(
                    f"the value of key {numbers[at]} has {len(value)} bytes, and a row of {row_dtype} and "
                    f"shape {row_shape} has {row.nbytes}"
                )
        if row.nbytes == 0:
            return np.empty((len(numbers), *row_shape), row_dtype)
        return np.frombuffer(bytearray(b"".join(values)), row_dtype).reshape((len(numbers), *row_shape))

    def contains_many(self, keys: Any) -> NDArray[np.bool_]:
        """Return which of many keys are there; the index alone says so."""
        numbers = _many(keys)
        self._check_open()
        return self._index.contains_many(numbers)

    def delete_many(self, keys: Any) -> int:
        """Remove many keys in one commit; how many were there."""
        numbers = np.unique(_many(keys))
        with self._lock:
            self._check_open()
            return self._delete(numbers[self._index.contains_many(numbers)])

    def delete_range(self, start: int | None = None, stop: int | None = None) -> int:
        """Remove every key of `start <= key < stop` in one commit; how many there were."""
        if start is None and stop is None:
            raise TypeError("delete_range() needs a bound; clear() removes everything")
        with self._lock:
            self._check_open()
            keys, _ = self._index.scan_arrays(start, stop)
            return self._delete(keys)

    def batch(self, sync: bool = False) -> RocksBatch:  # noqa: FBT001, FBT002 - as in `Store`
        """Return a batch that is written atomically at the end of its `with`."""
        self._check_open()
        return RocksBatch(self, sync=sync)

    # Ranges

    def scan(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[int, bytes]]:
        """Iterate over (key, value) of a range, as the store is now; bounds as in `Store.scan`."""
        with self._lock:
            self._check_open()
            # The index scan and RocksDB's snapshot are of one moment: writers wait for the lock.
            keys = self._index.scan_keys(
                start,
                stop,
                include_start=include_start,
                include_stop=include_stop,
                reverse=reverse,
                limit=limit,
            )
            first = next(keys, None)
            if first is None:
                return _Scan(self, iter(()))
            values = self._db.snapshot().items(backwards=reverse, from_key=_raw(first))
        return _Scan(self, _paired(first, keys, values))

    def scan_keys(self, start: int | None = None, stop: int | None = None, **options: Any) -> Iterator[int]:
        """Iterate over the keys of a range; the index alone holds them. Options as in `scan`."""
        self._check_open()
        return _Scan(self, self._index.scan_keys(start, stop, **options))

    def scan_values(
        self, start: int | None = None, stop: int | None = None, **options: Any
    ) -> Iterator[bytes]:
        """Iterate over the values of a range, in the order of their keys. Options as in `scan`."""
        scan = self.scan(start, stop, **options)
        return _Scan(self, (value for _, value in scan))

    def count(self, start: int | None = None, stop: int | None = None) -> int:
        """Return the number of keys of `start <= key < stop`; the index alone counts them."""
        self._check_open()
        return self._index.count(start, stop)

    def keys(self) -> Any:
        """Return a live view of the keys."""
        return _RocksKeys(self)

    def values(self) -> Any:
        """Return a live view of the values, in the order of their keys."""
        return _RocksValues(self)

    def items(self) -> Any:
        """Return a live view of the items, in key order."""
        return _RocksItems(self)

    def first(self) -> tuple[int, bytes] | None:
        """Return the item with the smallest key, or None."""
        return self._item(self._index.first)

    def last(self) -> tuple[int, bytes] | None:
        """Return the item with the largest key, or None."""
        return self._item(self._index.last)

    def floor(self, key: int) -> tuple[int, bytes] | None:
        """Return the item with the largest key at or below `key`, or None."""
        return self._item(self._index.floor, key)

    def ceiling(self, key: int) -> tuple[int, bytes] | None:
        """Return the item with the smallest key at or above `key`, or None."""
        return self._item(self._index.ceiling, key)

    def lower(self, key: int) -> tuple[int, bytes] | None:
        """Return the item with the largest key below `key`, or None."""
        return self._item(self._index.lower, key)

    def higher(self, key: int) -> tuple[int, bytes] | None:
        """Return the item with the smallest key above `key`, or None."""
        return self._item(self._index.higher, key)

    # Care

    def flush(self) -> None:
        """Return when everything written before the call is safe on the device."""
        self._check_open()
        with _errors(self._path):
            self._db.flush_wal(sync=True)

    def compact(self) -> None:
        """Merge all of RocksDB's files: what was overwritten or deleted gives back its space."""
        self._check_open()
        with _errors(self._path):
            self._db.flush()
            self._db.compact_range(None, None)

    def backup(self, dest: str | os.PathLike[str]) -> None:
        """Copy the store as it is now to the new directory `dest`, by hard links where there are any."""
        self._check_open()
        with _errors(self._path):
            Checkpoint(self._db).create_checkpoint(os.fsdecode(dest))

    def stats(self) -> RocksStats:
        """Return the figures of this moment."""
        self._check_open()
        files = (file.stat().st_blocks for file in self._path.rglob("*") if file.is_file())
        return RocksStats(
            keys=len(self._index),
            live_bytes=self._db.property_int_value("rocksdb.estimate-live-data-size") or 0,
            disk_bytes=sum(files) * 512,
            index_bytes=self._index.nbytes,
            index_height=self._index.stats().height,
            last_seq=self._db.latest_sequence_number(),
        )

    def close(self) -> None:
        """Close the store; iterators then raise ClosedError. Closing twice is legal."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for scan in list(self._scans):
                scan.end()
            self._db.close()

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._closed

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    @property
    def read_only(self) -> bool:
        """Always False: RocksDB is opened for writing."""
        return False

    @property
    def config(self) -> RocksConfig:
        """What it was opened with."""
        return self._config

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a mapping with the same items; O(bytes)."""
        if self is other:
            return True
        if isinstance(other, RocksStore):
            return len(self) == len(other) and all(
                mine == its for mine, its in zip_longest(self.scan(), other.scan())
            )
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        return all(key in other and other[key] == value for key, value in self.scan())

    __hash__ = None  # type: ignore[assignment]

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the store; what was committed stays, also when the block raised."""
        self.close()

    def __del__(self) -> None:
        """Close a store that was forgotten, and say so."""
        if self._closed or sys.is_finalizing():
            return
        try:
            warnings.warn(
                f"store {os.fspath(self._path)!r} was not closed; use `with` or close()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        finally:
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled: RocksDB gives the files to one process."""
        raise TypeError("a store open for writing cannot be pickled")

    def __repr__(self) -> str:
        """Name the directory, and the number of keys while the store is open."""
        state = "closed" if self._closed else f"{len(self._index)} keys"
        return f"<alexpy.rocks.RocksStore {os.fspath(self._path)!r}, {state}>"

    # Inner

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"store {os.fspath(self._path)!r} is closed")

    def _read(self, raw: bytes, default: object) -> object:
        with _errors(self._path):
            return self._db.get(raw, default)

    def _read_many(self, numbers: NDArray[np.int64]) -> list[bytes | None]:
        raw = _raw_many(numbers)
        found: list[bytes | None] = []
        with _errors(self._path):
            for at in range(0, len(raw), _RUN):
                found += self._db.get(raw[at : at + _RUN])
        return found

    def _item(self, neighbour: Any, *key: Any) -> tuple[int, bytes] | None:
        arguments = [_one(number) for number in key]
        with self._lock:
            self._check_open()
            found = neighbour(*arguments)
            if found is None:
                return None
            return found[0], self._db[_raw(found[0])]

    def _commit(self, changes: Mapping[int, bytes | None], *, sync: bool) -> None:
        """Carry out the last change of each key, atomically; None deletes."""
        batch = WriteBatch(raw_mode=True)
        keys = np.fromiter(changes, np.int64, len(changes))
        for raw, value in zip(_raw_many(keys), changes.values(), strict=True):
            if value is None:
                del batch[raw]
            else:
                batch[raw] = value
        put = [(key, len(value)) for key, value in changes.items() if value is not None]
        gone = [key for key, value in changes.items() if value is None]
        with self._lock:
            self._check_open()
            with _errors(self._path):
                self._db.write(batch, self._options(sync=sync))
            if put:
                self._index.put_many(*np.array(put, np.int64).T.copy())
            if gone:
                self._index.delete_many(np.array(gone, np.int64))

    def _delete(self, keys: NDArray[np.int64]) -> int:
        self._commit(dict.fromkeys(keys.tolist()), sync=False)
        return len(keys)

    def _options(self, *, sync: bool) -> Any:
        if not sync:
            return self._writing
        options = WriteOptions()
        options.sync = True
        return options


class RocksBatch:
    """Changes collected for one atomic commit; what `RocksStore.batch` returns. For one thread at a time.

    Leaving its `with` commits, an exception drops it; the last operation on a key wins.
    """

    def __init__(self, store: RocksStore, *, sync: bool) -> None:
        self._store = store
        self._sync = sync
        self._ended = False
        self._changes: dict[int, bytes | None] = {}
        self._count = 0

    def _check(self) -> None:
        if self._ended:
            raise ClosedError("the batch was already committed or discarded")

    def _add(self, key: int, value: bytes | None) -> None:
        self._check()
        self._changes.pop(key, None)
        self._changes[key] = value
        self._count += 1

    def put(self, key: int, value: Buffer) -> None:
        """Store `value` under `key` at commit."""
        self._add(_one(key), _value(value, "value"))

    def delete(self, key: int) -> None:
        """Remove `key` at commit."""
        self._add(_one(key), None)

    def put_many(self, keys: Any, values: Any) -> None:
        """Store many items at commit."""
        numbers = _many(keys)
        items = _values(values, len(numbers))
        for key, value in zip(numbers.tolist(), items, strict=True):
            self._add(key, value)

    def delete_many(self, keys: Any) -> None:
        """Remove many keys at commit."""
        for key in _many(keys).tolist():
            self._add(key, None)

    def __setitem__(self, key: int, value: Buffer) -> None:
        """Store `value` under `key` at commit."""
        self.put(key, value)

    def __delitem__(self, key: int) -> None:
        """Remove `key` at commit."""
        self.delete(key)

    def __len__(self) -> int:
        """Return the number of operations."""
        self._check()
        return self._count

    def __repr__(self) -> str:
        """Name the number of operations."""
        return f"<alexpy.rocks.RocksBatch of {self._count} operations>"

    def commit(self) -> None:
        """Write everything, atomically; the batch has ended."""
        self._check()
        self._ended = True
        self._store._commit(self._changes, sync=self._sync)  # noqa: SLF001 - its own store

    def discard(self) -> None:
        """Drop everything; the batch has ended."""
        self._check()
        self._ended = True
        self._changes.clear()

    def __enter__(self) -> Self:
        """Return the batch."""
        self._check()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Commit, or after an exception drop everything."""
        if self._ended:
            return
        if exc_type is None:
            self.commit()
        else:
            self.discard()


class _Scan(Iterator[Any]):
    """Passes items on while the store is open."""

    __slots__ = ("__weakref__", "_items", "_lock", "_store")

    def __init__(self, store: RocksStore, items: Iterator[Any]) -> None:
        self._store = store
        self._items = items
        # Generators refuse two threads at once.
        self._lock = threading.Lock()
        store._scans.add(self)  # noqa: SLF001 - its own store

    def __next__(self) -> Any:
        with self._lock:
            self._store._check_open()  # noqa: SLF001 - its own store
            return next(self._items)

    def end(self) -> None:
        """Let go of RocksDB, which cannot close while an iterator lives."""
        with self._lock:
            self._items = iter(())

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an iterator of a store cannot be pickled")


class _RocksKeys(KeysView[int]):
    _mapping: RocksStore

    def __iter__(self) -> Iterator[int]:
        return self._mapping.scan_keys()

    def __reversed__(self) -> Iterator[int]:
        return self._mapping.scan_keys(reverse=True)


class _RocksValues(ValuesView[bytes]):
    _mapping: RocksStore

    def __contains__(self, value: object) -> bool:
        return any(value == stored for stored in self._mapping.scan_values())

    def __iter__(self) -> Iterator[bytes]:
        return self._mapping.scan_values()

    def __reversed__(self) -> Iterator[bytes]:
        return self._mapping.scan_values(reverse=True)


class _RocksItems(ItemsView[int, bytes]):
    _mapping: RocksStore

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return self._mapping.scan()

    def __reversed__(self) -> Iterator[tuple[int, bytes]]:
        return self._mapping.scan(reverse=True)


def _paired(
    first: int, rest: Iterator[int], items: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[int, bytes]]:
    """Yield each key of the index with its value; both sides go the same way from the same key."""
    key: int | None = first
    for raw, value in items:
        if key is None:
            return
        if raw != _raw(key):
            raise CorruptionError(f"the index names key {key} where RocksDB has {_from_raw(raw)[0]}")
        yield key, value
        key = next(rest, None)
    if key is not None:
        raise CorruptionError(f"the index names key {key}, which RocksDB does not have")


class _errors:  # noqa: N801 - used as a function is
    """Turns what rocksdict raises, a bare Exception with RocksDB's text, into the errors of alexpy."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Watch the block."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Raise what fits."""
        if error is None or kind is not Exception:
            return
        text, path = str(error), os.fspath(self._path)
        if "lock" in text.lower() and "IO error" in text:
            raise LockedError(f"store {path!r} is open elsewhere: {text}", path) from error
        if text.startswith("Corruption"):
            raise CorruptionError(f"store {path!r}: {text}", path) from error
        number = errno.ENOSPC if "No space left" in text else errno.EIO
        raise OSError(number, f"RocksDB: {text}", path) from error


def _check_directory(path: Path, *, create: bool) -> None:
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
    entries = [entry.name for entry in path.iterdir()] if path.exists() else []
    if not entries and not create:
        raise FileNotFoundError(errno.ENOENT, "there is no store", os.fspath(path))
    if entries and "CURRENT" not in entries:
        raise FormatError(f"{os.fspath(path)!r} is not empty and holds no RocksDB; nothing was touched")
    path.mkdir(exist_ok=True)


def _one(key: Any) -> int:
    """Return one key as an int, by the rule and with the messages of `Store`."""
    _JUDGE.get(key)
    return operator.index(key)


def _many(keys: Any) -> NDArray[np.int64]:
    """Return many keys as an array, by the rules and with the messages of `Store`."""
    array = _convert.integers(keys, "keys")
    if array is not None:
        return array
    listed = list(keys)
    _JUDGE.contains_many(listed)
    return np.fromiter(map(operator.index, listed), np.int64, len(listed))


def _value(value: Any, name: str) -> bytes:
    """Return the raw memory of one value; `name` is what messages call it."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        raise TypeError(f"{name} is a str; store bytes, for instance of .encode()")
    if isinstance(value, np.ndarray | np.generic) and (value.dtype.hasobject or value.dtype.kind == "T"):
        raise TypeError(f"{name} is an array of Python objects or text; values are plain memory")
    try:
        # Arrays of dates, which NumPy does not export as buffers, have these too.
        view = value if isinstance(value, np.ndarray | np.generic) else memoryview(value)
    except TypeError:
        raise TypeError(f"{name} is a {type(value).__name__}; store bytes or another buffer") from None
    contiguous = view.c_contiguous if isinstance(view, memoryview) else view.flags.c_contiguous
    if not contiguous:
        raise BufferError(f"{name} is not C-contiguous; store a copy")
    if view.nbytes > _VALUE_LIMIT:
        raise ValueError(f"{name} has {view.nbytes} bytes, and the limit is {_VALUE_LIMIT}")
    return view.tobytes()


def _values(items: Any, count: int) -> list[bytes]:
    """Return `count` values.

    Raises:
        ValueError: there are more or fewer.

    """
    found = _convert.values(items)
    if isinstance(found, tuple) and len(found) == 3:  # noqa: PLR2004 - rows: memory, width, count
        memory, width, rows = cast("tuple[NDArray[np.uint8], int, int]", found)
        if width > _VALUE_LIMIT:
            raise ValueError(f"each row of values has {width} bytes, and the limit is {_VALUE_LIMIT}")
        _same_count(count, rows)
        data = memory.tobytes()
        return [data[at * width : (at + 1) * width] for at in range(rows)]
    if isinstance(found, tuple):
        memory, offsets = cast("tuple[NDArray[np.uint8], NDArray[np.int64]]", found)
        data, ends = memory.tobytes(), offsets.tolist()
        _same_count(count, len(ends) - 1)
        return [data[begin:end] for begin, end in pairwise(ends)]
    # One more than there may be: the iterable may have no end.
    taken = islice(items if found is None else found, count + 1)
    values = [_value(value, f"values[{position}]") for position, value in enumerate(taken)]
    _same_count(count, len(values))
    return values


def _same_count(keys: int, values: int) -> None:
    if keys != values:
        many = "more" if values > keys else str(values)
        raise ValueError(f"there are {keys} keys and {many} values; nothing was written")


def _raw(number: int) -> bytes:
    return (number + _SIGN).to_bytes(8)


def _raw_many(numbers: NDArray[np.int64]) -> list[bytes]:
    data = (numbers.view(np.uint64) ^ np.uint64(_SIGN)).astype(">u8").tobytes()
    return [data[at : at + 8] for at in range(0, len(data), 8)]


def _from_raw(data: bytes) -> NDArray[np.int64]:
    return (np.frombuffer(data, ">u8").astype(np.uint64) ^ np.uint64(_SIGN)).view(np.int64)


# An ABC as a real base would add a metaclass and a slower isinstance; `Store` does the same.
MutableMapping.register(RocksStore)
