"""PyTorch Geometric's on-disk database over a store.

`AlexDatabase` is what its `Database` asks for; `OnDiskDataset.BACKENDS["alexpy"] = AlexDatabase` makes it a
backend of datasets. A row is one value: the columns that `SQLiteDatabase` would write, one behind the other.
"""

from __future__ import annotations

import os
import struct
import warnings
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from torch_geometric.data import Database, SQLiteDatabase

import alexpy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

INTEGER, FLOAT = struct.Struct("<q"), struct.Struct("<d")


class AlexDatabase(Database):  # type: ignore[misc]
    """A store of rows by index. A batch is one atomic commit; a row that is there already is replaced."""

    _serialize = SQLiteDatabase._serialize  # noqa: SLF001 - tensors by their memory, other objects by torch.save
    _deserialize = SQLiteDatabase._deserialize  # noqa: SLF001

    def __init__(self, path: str, schema: object = object) -> None:
        super().__init__(schema)
        warnings.filterwarnings("ignore", ".*given buffer is not writable.*")  # as SQLiteDatabase does
        self.path = path
        self.connect()

    def connect(self) -> None:
        # SQLite flushes each commit, too.
        self._store, self._process = alexpy.open(self.path, durability="sync"), os.getpid()

    @property
    def store(self) -> alexpy.Store[int, bytes]:
        # A worker of a DataLoader reads beside the process that writes.
        if self._process != os.getpid():
            self._store, self._process = alexpy.open(self.path, read_only=True), os.getpid()
        return self._store

    def close(self) -> None:
        if self._process == os.getpid():
            self._store.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None, "_process": None}

    def insert(self, index: int, data: object) -> None:
        self.store[index] = self._encode(data)

    def _multi_insert(self, indices: Sequence[int] | torch.Tensor, data_list: Iterable[object]) -> None:
        self.store.put_many(indices, [self._encode(data) for data in data_list])

    def get(self, index: int) -> Any:
        return self._decode(self.store[index])

    def _multi_get(self, indices: Sequence[int] | torch.Tensor) -> list[Any]:
        values = self.store.get_many(indices)
        rows = [self._decode(value) for value in values if value is not None]
        if len(rows) < len(values):
            raise KeyError(int(indices[values.index(None)]))
        return rows

    def __len__(self) -> int:
        return len(self.store)

    def _encode(self, data: object) -> bytes:
        # It is in the course of `_serialize` that the schema learns the dtype of a tensor.
        columns = list(map(_bytes, self._serialize(data), self.schema.values()))
        return struct.pack(f"<{len(columns)}I", *map(len, columns)) + b"".join(columns)

    def _decode(self, value: bytes) -> Any:
        lengths = struct.Struct(f"<{len(self.schema)}I")
        places = pairwise(accumulate(lengths.unpack_from(value), initial=lengths.size))
        kinds = self.schema.values()
        columns = [_column(value[a:b], kind) for (a, b), kind in zip(places, kinds, strict=True)]
        return self._deserialize(columns)


def _bytes(column: Any, kind: object) -> bytes:
    if kind is int or kind is float:
        return (INTEGER if kind is int else FLOAT).pack(column)
    encoded: bytes = column.encode() if kind is str else column
    return encoded


def _column(data: bytes, kind: object) -> Any:
    if kind is int or kind is float:
        return (INTEGER if kind is int else FLOAT).unpack(data)[0]
    return data.decode() if kind is str else data
