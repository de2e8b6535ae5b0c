"""What an engine must be able to do to be measured: the Protocols that adapters carry out.

`single_keys`, `batch_keys` and `batch_items` convert arguments to the engine's own form before any clock
starts, for every engine; returned keys have that form too and are compared in it. An adapter raises `Lacks`,
with the reason, for what its engine cannot do; the report prints "n/a". Adapters know their engine and
nothing of workloads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .promise import Mode

Keys: TypeAlias = NDArray[np.int64]
Key: TypeAlias = Any
"""One key in an engine's own form: an int, or bytes that sort as the ints do."""
Item: TypeAlias = tuple[Key, bytes]

_SIGN = np.uint64(1 << 63)
KEY_BYTES = 8


class Lacks(Exception):  # noqa: N818 - not an error: the engine was not made for it
    """The engine has no such call; the message is the reason, as the report prints it."""


class StoreEngine(Protocol):
    """A store under test. Methods from `put_many` on are timed, whole."""

    name: str
    """As tables print it."""

    def versions(self) -> dict[str, str]:
        """Return the versions of the package and of the library within it."""

    def settings(self) -> dict[str, object]:
        """Return every setting that is not the engine's default."""

    def promise(self, mode: Mode) -> str:
        """Say how the engine keeps the promise, with caveats; raise `Lacks` if it cannot."""

    def open(self, path: Path, mode: Mode) -> None:
        """Open the store in the directory `path`, made if need be."""

    def close(self) -> None:
        """Close it, leaving nothing to do on the next open."""

    def single_keys(self, keys: Keys) -> list[Key]:
        """Return keys for the calls that take one."""

    def batch_keys(self, keys: Keys) -> Any:
        """Return keys for the calls that take many."""

    def batch_items(self, keys: Keys, values: list[bytes]) -> Any:
        """Return one batch for `put_many`."""

    def put_many(self, items: Any) -> None:
        """Commit one batch, atomically."""

    def put_each(self, keys: list[Key], values: list[bytes]) -> None:
        """Commit each item by itself."""

    def get_each(self, keys: list[Key]) -> list[bytes]:
        """Get each key, which is there, by a call of its own."""

    def get_many(self, keys: Any) -> Sequence[bytes]:
        """Get many keys, which are there, by the best batch call, in their order."""

    def get_array(self, keys: Any, width: int) -> NDArray[np.uint8]:
        """Get values of one width in one array of shape (keys, width)."""

    def scan(self) -> Iterator[Item]:
        """Iterate over everything in key order."""

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        """Iterate over everything in arrays: keys, and the bytes of their values end to end."""

    def ranges(self, starts: list[Key], length: int) -> Iterator[list[Item]]:
        """Iterate over the first `length` items from each start on."""

    def range_batches(self, starts: list[Key], length: int) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        """Iterate over the same as arrays."""

    def delete_each(self, keys: list[Key]) -> None:
        """Delete each key by a commit of its own."""

    def put(self, key: Key, value: bytes) -> None:
        """Commit one item."""

    def get(self, key: Key) -> bytes | None:
        """Get one key; None if it is absent."""

    def delete(self, key: Key) -> None:
        """Delete one key that is present."""

    def writer(self) -> Callable[[Key, bytes], None]:
        """Return a `put` for one more thread."""

    def flush(self) -> None:
        """Return once everything committed survives a power cut."""

    def compact(self) -> None:
        """Give back the space of what was overwritten or deleted."""

    def backup(self, path: Path) -> None:
        """Copy the open store to `path`, which can then be opened as a store."""


@runtime_checkable
class LittleMemory(Protocol):
    """A store that uses other settings if its files are larger than memory."""

    def expect_little_memory(self) -> None:
        """Choose them, before `open`."""


@runtime_checkable
class Compressing(Protocol):
    """A store that can compress its values by zstd."""

    def compress(self) -> None:
        """Choose it, before `open`."""


@runtime_checkable
class LongTail(Protocol):
    """A store that by itself bounds how much it reads again after a kill, and can be told not to."""

    def keep_tail(self) -> None:
        """Tell it, before `open`."""


class TrimmedStore(StoreEngine, Protocol):
    """A store that deletes a range of keys by one call."""

    def delete_range(self, first: Key, stop: Key) -> None:
        """Delete the keys from `first` up to `stop`, which is not among them."""


class SnapshotStore(StoreEngine, Protocol):
    """A store that keeps moments of itself while it changes; a snapshot has the engine's own form."""

    def snapshot(self) -> Any:
        """Take a snapshot, which is given back when it is dropped."""

    def get_array_at(self, snapshot: Any, keys: Any, width: int) -> NDArray[np.uint8]:
        """Do as `get_array`, as of a snapshot."""

    def scan_at(self, snapshot: Any) -> Iterator[Item]:
        """Do as `scan`, as of a snapshot."""

    def kept_bytes(self) -> int:
        """Return the memory that snapshots and iterators take, beside the present content."""

    def reader(self) -> Callable[[Key], bytes | None]:
        """Return a `get` for a thread beside a writer: it shows what was committed before it was called."""


class FollowedStore(StoreEngine, Protocol):
    """A store that other processes can read while it is written."""

    def open_reader(self, path: Path, own: Path) -> None:
        """Open the store at `path` for reading alone; `own` is a path for files that a reader must have."""

    def refresh(self) -> None:
        """Show, in what was opened by `open_reader`, all that was committed before the call."""


class IndexEngine(Protocol):
    """An ordered or unordered mapping of int64 to int64 in memory."""

    name: str

    def versions(self) -> dict[str, str]:
        """Return the version of the package."""

    def load(self, keys: Keys, values: Keys) -> None:
        """Hold these items, given in any order, and nothing else; the best way in."""

    def insert_each(self, keys: list[int], values: list[int]) -> None:
        """Insert each item by a call of its own, into an empty mapping."""

    def insert_many(self, keys: Keys, values: Keys) -> None:
        """Insert a batch into the present content."""

    def get_each(self, keys: list[int]) -> list[int]:
        """Get each key, which is there, by a call of its own."""

    def get_many(self, keys: Keys) -> Sequence[int] | Keys:
        """Get many keys, which are there, by the best batch call."""

    def ranges(self, starts: list[int], stops: list[int]) -> Iterator[tuple[Any, Any]]:
        """Yield the keys and the values, in order, of each range start <= key < stop."""


def ordered_bytes(keys: Keys) -> list[bytes]:
    """Return keys as 8 bytes each that sort as the integers do: big-endian, the sign bit turned."""
    return _split((keys.view(np.uint64) ^ _SIGN).astype(">u8").tobytes())


def native_bytes(keys: Keys) -> list[bytes]:
    """Return keys as unsigned machine words that compare as the integers do (LMDB's integer keys)."""
    return _split((keys.view(np.uint64) ^ _SIGN).tobytes())


def joined_rows(values: Sequence[bytes], width: int) -> NDArray[np.uint8]:
    """Return values in one array: what remains to be done where no call fills one."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, width)


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + KEY_BYTES] for at in range(0, len(data), KEY_BYTES)]
