"""What the stores in memory share: a mapping without a disk, shown for what Python itself costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from alexpy.compare.engine import Lacks, joined_rows
from alexpy.compare.promise import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from alexpy.compare.engine import Item, Keys


class MemoryStore(ABC):
    """Over any mapping; a subclass makes it and adds what its order allows."""

    name: str

    @abstractmethod
    def make(self) -> Any:
        """Return an empty mapping."""

    def versions(self) -> dict[str, str]:
        return {}

    def settings(self) -> dict[str, object]:
        return {}

    def promise(self, mode: Mode) -> str:
        return Mode.MEMORY.text

    def open(self, path: Path, mode: Mode) -> None:
        self._items: Any = self.make()
        self.put = self._items.__setitem__
        self.get = self._items.get
        self.delete = self._items.__delitem__

    def close(self) -> None:  # noqa: B027 - memory has nothing to close
        pass

    def single_keys(self, keys: Keys) -> list[int]:
        return keys.tolist()  # type: ignore[no-any-return]

    def batch_keys(self, keys: Keys) -> list[int]:
        return keys.tolist()  # type: ignore[no-any-return]

    def batch_items(self, keys: Keys, values: list[bytes]) -> list[Item]:
        return list(zip(keys.tolist(), values, strict=True))

    def put_many(self, items: list[Item]) -> None:
        self._items.update(items)

    def put_each(self, keys: list[int], values: list[bytes]) -> None:
        held = self._items
        for key, value in zip(keys, values, strict=True):
            held[key] = value

    def get_each(self, keys: list[int]) -> list[bytes]:
        held = self._items
        return [held[key] for key in keys]

    def get_many(self, keys: list[int]) -> Sequence[bytes]:
        return list(map(self._items.__getitem__, keys))

    def get_array(self, keys: list[int], width: int) -> NDArray[np.uint8]:
        return joined_rows(self.get_many(keys), width)

    def scan(self) -> Iterator[Item]:
        return iter(self._items.items())

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("holds objects, no arrays")

    @abstractmethod
    def ranges(self, starts: list[int], length: int) -> Iterator[list[Item]]: ...

    def range_batches(self, starts: list[int], length: int) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("holds objects, no arrays")

    def delete_each(self, keys: list[int]) -> None:
        held = self._items
        for key in keys:
            del held[key]

    def writer(self) -> Callable[[Any, bytes], None]:
        return self.put  # type: ignore[no-any-return]

    def flush(self) -> None:  # noqa: B027 - nor to flush
        pass

    def compact(self) -> None:
        raise Lacks("is in memory")

    def backup(self, path: Path) -> None:
        raise Lacks("is in memory")
