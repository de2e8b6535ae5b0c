"""A build of a sharded store by many tasks: what its shards hold, a directory for each try, one publication.

Dask and Ray run the tasks, and try again those that fail. Knows neither of them, nor their tables.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import _shards, _store, codecs
from ._integers import integer, shown
from ._path import flush
from ._sharded import ShardedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from .codecs import Codec

_MOMENTS = ("s", "ms", "us", "ns")
# A task that goes on for nothing may make files while they are being removed.
_REMOVALS = 100
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Column:
    """What a column holds, in whatever library."""

    shown: str
    """Its type, as that library calls it."""
    holds: Literal["text", "binary"] | np.dtype[Any] | None
    """Text, bytes, or NumPy's type of numbers or moments; None is anything else."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What keys and values are: decided from the types of the columns alone."""

    key_kind: str
    codec: Codec[Any] | None
    fields: tuple[tuple[str, str], ...]
    """Name and NumPy's dtype of each column of numbers; empty if the one column is binary or text."""
    column: str
    """The only column."""
    compression: Literal["zstd"] | None

    def values(
        self, count: int, numbers: Callable[[str, str], NDArray[Any]], arrow: Callable[[], Any]
    ) -> Any:
        """Return the values of `count` rows.

        `numbers(name, dtype)` is a column as an array, `arrow()` the only column as one of Arrow.
        """
        if not self.fields:
            column = arrow()
            # A codec of another kind takes Python objects.
            return column if self.codec in (None, codecs.text) else column.to_pylist()
        if len(self.fields) == 1:
            return numbers(*self.fields[0])
        rows = np.empty(count, np.dtype(list(self.fields)))
        for name, dtype in self.fields:
            rows[name] = numbers(name, dtype)
        return rows


def plan_of(
    columns: Mapping[str, Column],
    key: str,
    codec: Codec[Any] | None,
    compression: Literal["zstd"] | None,
    to_binary: str,
) -> Plan:
    """Decide what keys and values are; `to_binary` says how a column of bytes is made.

    Raises:
        KeyError: there is no such column.
        TypeError: a column is of a type that no codec here has, or there are no values.
        TypeError, ValueError: there is no such compression.

    """
    compression = _store.check_compression(compression)
    if key not in columns:
        raise KeyError(f"there is no column {key!r}; there are {', '.join(map(repr, columns))}")
    values = {name: column for name, column in columns.items() if name != key}
    if not values:
        raise TypeError(f"there is no column beside {key!r}; a store has values")
    kind = key_kind(columns[key])
    if kind is None:
        raise TypeError(f"the column {key!r} is of type {columns[key].shown}; keys are integers or moments")
    fields = tuple(
        (name, str(column.holds)) for name, column in values.items() if isinstance(column.holds, np.dtype)
    )
    name, first = next(iter(values.items()))
    if len(fields) == len(values):
        row = np.dtype(fields[0][1]) if len(fields) == 1 else np.dtype(list(fields))
        return Plan(kind, codec or codecs.numpy(row), fields, name, compression)
    if len(values) > 1:
        name, other = next(item for item in values.items() if not isinstance(item[1].holds, np.dtype))
        raise TypeError(
            f"the column {name!r} is of type {other.shown}, and several columns make a record of numbers "
            "only; encode them into one column of binary"
        )
    if first.holds is None:
        raise TypeError(
            f"the column {name!r} is of type {first.shown}; values are numbers, text or binary: {to_binary} "
            "makes such a column of bytes"
        )
    codec = codec or (codecs.text if first.holds == "text" else None)
    return Plan(kind, codec, (), name, compression)


def key_kind(column: Column) -> str | None:
    """Return the kind of keys that a column is; None if it is none."""
    plain = column.holds
    if isinstance(plain, np.dtype) and plain.kind in "iu":
        return "uint64" if plain == np.uint64 else "int64"
    if isinstance(plain, np.dtype) and plain.kind == "M" and np.datetime_data(plain)[0] in _MOMENTS:
        return f"datetime64[{np.datetime_data(plain)[0]}]"
    return None


def check_shards(shards: int | None) -> None:
    """Refuse a number of shards that is none.

    Raises:
        ValueError: it is below 1.

    """
    if shards is not None and integer(shards, "shards") < 1:
        raise ValueError(f"shards must be 1 or more, not {shown(shards)}")


def check_names(names: Sequence[Any]) -> None:
    """Refuse names of columns that a record could not have.

    Raises:
        TypeError: one is no text, is empty, or comes twice.

    """
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise TypeError(f"columns need names that are text, each its own; these are {names}")


def refuse_other_types(found: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    """Refuse a part whose columns are not those of the whole.

    Raises:
        TypeError: one is of another type, missing, or not in the whole.

    """
    if found == types:
        return
    name = min(name for name in {*found, *types} if found.get(name) != types.get(name))
    # Which part comes first is chance, where several processes read them.
    one, *other = sorted(str(columns[name]) for columns in (found, types) if name in columns)
    raise TypeError(
        f"the column {name!r} is of type {one} in one part, and "
        f"{f'of type {other[0]}' if other else 'missing'} in another; give all parts the same columns"
    )


def null(name: str, key: str, at: Any) -> ValueError:
    """Return the error for a null in a column, in the row with the key `at`."""
    what = "a key" if name == key else f"the value of key {at} in the column {name!r}"
    return ValueError(f"{what} is null; drop or fill nulls first")


def twice(key: Any) -> ValueError:
    """Return the error for a key that more than one row has."""
    return ValueError(f"the key {key} comes more than once; each may come once")


class Build:
    """A build of the next epoch of the sharded store at `path`.

    Every try of a task has a directory in one that belongs to the build; those that count are moved out of it
    when all are there, and published. A task that is still at work when the build ends, as one may be that
    its scheduler took for dead, finds no place any more.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.name = f"build-{token_hex(8)}"
        self._made = not self.path.exists()
        if self._made:
            self.path.mkdir()
        try:
            self.epoch = _shards.newest(self.path) + 1
            self._tries.mkdir()
        except BaseException:
            self.abandon()
            raise

    @property
    def _tries(self) -> Path:
        return self.path / self.name

    def fill(self, plan: Plan, keys: NDArray[Any], values: Any) -> str:
        """Build one shard in a directory of this try's own, and return its name; for tasks.

        `keys` ascend.

        Raises:
            ValueError: a key comes twice.

        """
        same = keys[1:] == keys[:-1]
        if same.any():
            raise twice(keys[int(same.argmax())])
        name = token_hex(8)
        with _store.open(  # type: ignore[call-overload]
            self._tries / name, key=plan.key_kind, codec=plan.codec, compression=plan.compression
        ) as shard:
            shard.bulk_load(keys, values)
        return name

    def publish(self, tries: Sequence[str], ends: Sequence[Any]) -> None:
        """Publish the shards that these tries built, in key order; `ends` are the keys between them.

        What is raised after the publication leaves it: `abandon` then removes none of its shards.

        Raises:
            As `ShardedStore.publish`; nothing is removed then.

        """
        names = [f"{self.name}-{place:05}" for place in range(len(tries))]
        for built, name in zip(tries, names, strict=True):
            (self._tries / built).rename(self.path / name)
        # They must not be less durable than the manifest that names them.
        flush(self.path)
        layout = [(name, *bounds) for name, bounds in zip(names, pairwise([None, *ends, None]), strict=True)]
        ShardedStore.publish(self.path, layout, epoch=self.epoch)
        # What tries that came to nothing have left.
        _remove(self._tries)

    def abandon(self) -> None:
        """Remove all that this build made, but no shards that it has published."""
        _remove(self._tries)
        shards = list(self.path.glob(f"{self.name}-*"))
        # An error need not mean that the manifest is not there.
        if shards and not _shards.names_any(self.path, self.epoch, [shard.name for shard in shards]):
            for shard in shards:
                _remove(shard)
        if self._made:
            # Another build may have begun in it.
            with suppress(OSError):
                self.path.rmdir()


def _remove(directory: Path) -> None:
    for _ in range(_REMOVALS):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(_PAUSE_SECONDS)
