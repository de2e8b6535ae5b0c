"""`RocksBatch`: changes collected in memory, the last of each key, for one atomic commit. O(bytes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from alexpy.errors import ClosedError

from ._convert import many_keys, many_values, one_key, one_value

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

    from ._store import RocksStore

__all__ = ["RocksBatch"]


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
        self._add(one_key(key), one_value(value, "value"))

    def delete(self, key: int) -> None:
        """Remove `key` at commit."""
        self._add(one_key(key), None)

    def put_many(self, keys: Any, values: Any) -> None:
        """Store many items at commit."""
        numbers = many_keys(keys)
        items = many_values(values, len(numbers))
        for key, value in zip(numbers.tolist(), items, strict=True):
            self._add(key, value)

    def delete_many(self, keys: Any) -> None:
        """Remove many keys at commit."""
        for key in many_keys(keys).tolist():
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
