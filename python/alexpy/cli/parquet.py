"""Parquet files, by pyarrow: their rows as (row, key, value), and batches of keys and values as a file.

The only file that knows pyarrow, which is imported when it is needed (pip install 'alexpy[arrow]'). Knows
columns and types, and nothing of stores. Memory is bounded by some BATCH_BYTES of decoded columns, or by one
page of the file if that is larger. Values that a dictionary repeats count as long as its longest.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import uuid
from array import array
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from . import keys
from .batches import BATCH_BYTES, Batch
from .options import BAD_INPUT, Stopped
from .rows import BadRowError, InputError, names
from .text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .files import Sink
    from .rows import Row

_MOST_ROWS = 10_000
# Parquet counts the bytes of a value in 31 bits.
_LONGEST_VALUE = 2**31 - 1
# It has no timestamps of seconds, but of milliseconds.
_MOST_SECONDS = (2**63 - 1) // 1000
# By name: older versions of pyarrow have no function for some of them.
_TEXT = {"string", "large_string", "string_view"}
_BINARY = {"binary", "large_binary", "binary_view"}
_UUID_TYPES = {"fixed_size_binary[16]"}
# By how the names of kinds begin.
_KEYS_ARE = {
    "int6": "integers",
    "uint": "integers",
    "date": "timestamps, dates, or text in ISO 8601",
    "uuid": "UUIDs: 16 bytes, text, or integers",
}

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def needed() -> None:
    """Make sure that pyarrow is there.

    Raises:
        Stopped: it is not installed.

    """
    if importlib.util.find_spec("pyarrow") is None:
        raise Stopped("parquet needs the package pyarrow: pip install 'alexpy[arrow]'", BAD_INPUT)


class ParquetReader:
    """The rows of one open Parquet file. Iterate once; `bytes_read` and `bytes_total` tell how far it is.

    Making one reads the schema, so that a column that is missing, or of a type that cannot be used, is known
    before anything is written.
    """

    def __init__(self, source: BinaryIO, name: str, key: str, value: str | None, kind: str = "int64") -> None:
        """Read the schema of `source`, whose rows have their key, of a `kind`, in column `key`.

        Raises:
            InputError: it is no Parquet file, or a column is missing, occurs twice or is of no use.
            Stopped: pyarrow is not installed.

        """
        needed()
        if not source.seekable():
            raise InputError(f"{name} is a pipe, and parquet is read from its end; save it as a file first")
        self.name = name
        self._arrow_error: Any = importlib.import_module("pyarrow").ArrowException
        try:
            self._file: Any = importlib.import_module("pyarrow.parquet").ParquetFile(source)
            leaves = [self._file.schema.column(at) for at in range(len(self._file.schema))]
            texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
            # Gives what is encoded by a dictionary with it, and reads no further than it is asked.
            self._dictionaries: Any = importlib.import_module("pyarrow.parquet").ParquetFile(
                source, metadata=self._file.metadata, read_dictionary=texts, buffer_size=1 << 16
            )
        except (self._arrow_error, OSError) as error:
            raise InputError(f"cannot read {name} as parquet: {_first_line(error)}") from error
        self._bytes = source.seek(0, 2)
        self.bytes_total: int | None = self._bytes
        self._rows_read = 0
        schema = self._file.schema_arrow
        self._key = self._column(schema, key)
        self._value = value
        # Of a binary column a value is the very bytes that are stored.
        types = self._types = _Types()
        self.raw = value is not None and value in schema.names and types.is_bytes(schema.field(value).type)
        held = schema.field(key).type
        made = types.key_of(held, kind)
        if made is None:
            raise InputError(f"the key column {key!r} of {name} holds {held}; keys are {_KEYS_ARE[kind[:4]]}")
        self._key_casts, self._key_of = made
        if value is None:
            columns = [self._column(schema, column) for column in schema.names]
        else:
            columns = [self._column(schema, value)]
        self._casts = {column: self._cast(types, schema, column, value) for column in columns}

    @property
    def bytes_read(self) -> int:
        """The share of the rows that was read, in bytes of the file."""
        rows: int = self._file.metadata.num_rows
        return self._bytes * self._rows_read // max(rows, 1)

    def __iter__(self) -> Iterator[Row]:
        """Return the rows, in file order."""
        columns = list(dict.fromkeys([self._key, *self._casts]))
        for group in range(self._file.num_row_groups):
            for batch in self._batches(group, columns):
                sound, problem = self._with_text(batch)
                yield from self._rows_of(sound)
                if problem is not None:
                    self.bad(self._rows_read + 1, problem)

    def _batches(self, group: int, columns: list[str]) -> Iterator[Any]:
        try:
            held = self._file.metadata.row_group(group)
            rows = _rows_at_a_time(held.num_rows, held.total_byte_size + self._repeated(held, group, columns))
            yield from self._file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)
        except (self._arrow_error, OSError) as error:
            self.bad(self._rows_read + 1, f"cannot read on from here: {_first_line(error)}")

    def _repeated(self, held: Any, group: int, columns: list[str]) -> int:
        """Return how many bytes the values of a row group have at most that are encoded as few bits each."""
        size = 0
        for at in range(held.num_columns):
            chunk, leaf = held.column(at), self._file.schema.column(at)
            if any(f"{leaf.path}.".startswith(f"{column}.") for column in columns):
                size += chunk.num_values * self._longest_of(held, group, chunk, leaf)
        return size

    def _longest_of(self, held: Any, group: int, chunk: Any, leaf: Any) -> int:
        if leaf.physical_type != "BYTE_ARRAY":
            return leaf.length or 8
        if not any("DICTIONARY" in encoding for encoding in chunk.encodings):
            return 0
        # The whole dictionary comes with the first value.
        rows = _rows_at_a_time(held.num_rows, held.total_byte_size, 100)
        for batch in self._dictionaries.iter_batches(rows, [group], [leaf.path], use_threads=False):
            longest = max(self._types.longest(cells) for cells in batch.columns)
            if longest:
                return longest
        return 0

    def _rows_of(self, batch: Any) -> Iterator[Row]:
        begin = self._rows_read + 1
        columns = {}
        try:
            cells = batch.column(self._key)
            for to in self._key_casts:
                cells = cells.cast(to)
            cells = cells.to_pylist()
        except (self._arrow_error, UnicodeDecodeError) as error:
            self.bad(begin, f"column {self._key!r}, here or in a later row: {_first_line(error)}")
        for column, to in self._casts.items():
            try:
                columns[column] = batch.column(column).cast(to).to_pylist()
            except (self._arrow_error, UnicodeDecodeError) as error:
                self.bad(begin, f"column {column!r}, here or in a later row: {_first_line(error)}")
        for at, cell in enumerate(cells):
            row = begin + at
            if cell is None:
                self.bad(row, f"the key in column {self._key!r} must be a key, not null")
            try:
                key = self._key_of(cell)
            except ValueError as error:
                self.bad(row, f"the key in column {self._key!r} {error}", error)
            yield row, key, self._value_of(row, {column: values[at] for column, values in columns.items()})
            self._rows_read += 1

    def _with_text(self, batch: Any) -> tuple[Any, str | None]:
        """Return the rows before the first date or time that has no text, and what is wrong with it."""
        problem = None
        for column in self._casts:
            if self._types.without_text(batch.column(column)) is not None:
                cells = batch.column(column)
                moments = (self._types.without_text(cells.slice(at, 1)) for at in range(len(cells)))
                at, moment = next((at, moment) for at, moment in enumerate(moments) if moment is not None)
                # A slice of lists would keep all their elements, and convert them.
                batch = batch.take(importlib.import_module("pyarrow").array(range(at), "int64"))
                problem = f"column {column!r} has a date or time that has no text: {moment}"
        return batch, problem

    def _value_of(self, row: int, cells: dict[str, Any]) -> bytes:
        if self._value is None:
            try:
                return _to_json(cells).encode()
            except ValueError:
                # Again, one by one, to name the column.
                return b"".join(self._json(row, column, cell) for column, cell in cells.items())
        value = cells[self._value]
        if value is None:
            self.bad(row, f"the value in column {self._value!r} is null, which is no value")
        return value if isinstance(value, bytes) else self._json(row, self._value, value)

    def _json(self, row: int, column: str, cell: Any) -> bytes:
        try:
            return _to_json(cell).encode()
        except ValueError as error:
            self.bad(row, f"column {column!r} has a number that JSON has not: {shown(str(cell))}", error)

    def _column(self, schema: Any, column: str) -> str:
        found = schema.names.count(column)
        if found == 0:
            raise InputError(f"{self.name} has no column {column!r}; it has {names(schema.names)}")
        if found > 1:
            raise InputError(f"{self.name} has {found} columns named {column!r}; rename all but one")
        return column

    def _cast(self, types: _Types, schema: Any, column: str, value: str | None) -> Any:
        held = schema.field(column).type
        to = types.bytes_of(held) if value is not None else None
        to = to or types.json_of(held)
        if to is None:
            hint = "" if value is not None else "; --value names the one column to take"
            raise InputError(f"column {column!r} of {self.name} holds {held}, which JSON cannot{hint}")
        return to

    def bad(self, row: int, problem: str, cause: Exception | None = None) -> NoReturn:
        """Report a row that cannot be loaded."""
        raise BadRowError(self.name, row, problem, "row") from cause


class _Types:
    """What becomes of Arrow types: the types to which columns are converted."""

    def __init__(self) -> None:
        self._arrow: Any = importlib.import_module("pyarrow")
        self._is: Any = importlib.import_module("pyarrow.types")

    def key_of(  # noqa: PLR0911 - one return a kind of type
        self, held: Any, kind: str
    ) -> tuple[list[Any], Callable[[Any], Any]] | None:
        """Return to which types keys of a type are converted, and what makes them keys; None if none."""
        kinds, arrow = self._is, self._arrow
        if kinds.is_dictionary(held):
            made = self.key_of(held.value_type, kind)
            return None if made is None else ([held.value_type, *made[0]], made[1])
        if kinds.is_integer(held) and not kind.startswith("datetime64"):
            return [], lambda number: keys.from_json(number, kind)
        if kind == "uuid" and str(getattr(held, "storage_type", held)) in _BINARY | _UUID_TYPES:
            return [], lambda cell: cell if isinstance(cell, uuid.UUID) else keys.from_bytes(cell)
        if kind.startswith("datetime64") and kinds.is_timestamp(held):
            return [arrow.int64()], lambda number: keys.from_units(number, held.unit, kind)
        if kind.startswith("datetime64") and kinds.is_date(held):
            return [arrow.timestamp("s"), arrow.int64()], lambda number: keys.from_units(number, "s", kind)
        if str(held) in _TEXT and kind not in ("int64", "uint64"):
            return [arrow.large_string()], lambda text: keys.from_text(text, kind)
        return None

    def is_bytes(self, held: Any) -> bool:
        """Whether values of a type are bytes, and no text."""
        if self._is.is_dictionary(held):
            return self.is_bytes(held.value_type)
        return bool(self._is.is_fixed_size_binary(held)) or str(held) in _BINARY

    def bytes_of(self, held: Any) -> Any | None:
        """Return the type of a value that is stored byte for byte, or None if it is stored as JSON."""
        if self._is.is_dictionary(held):
            return self.bytes_of(held.value_type)
        return self._arrow.large_binary() if self.is_bytes(held) or str(held) in _TEXT else None

    def json_of(self, held: Any) -> Any | None:
        """Return the type whose Python objects are JSON's, or None: dates and decimals become text."""
        kinds = self._is
        if kinds.is_null(held) or kinds.is_boolean(held) or kinds.is_integer(held):
            return held
        if kinds.is_floating(held):
            return self._arrow.float64()
        if str(held) in _TEXT:
            return self._arrow.large_string()
        if kinds.is_date(held) or kinds.is_time(held) or kinds.is_timestamp(held) or kinds.is_decimal(held):
            return self._arrow.string()
        if kinds.is_dictionary(held):
            return self.json_of(held.value_type)
        return self._nested(held)

    def without_text(self, cells: Any) -> str | None:
        """Return the number of a date or time that Arrow does not write as text, or with another year."""
        kinds, held = self._is, cells.type
        if kinds.is_dictionary(held):
            return self.without_text(cells.cast(held.value_type))
        if kinds.is_struct(held) or self._is_list(held):
            parts = cells.flatten() if kinds.is_struct(held) else [cells.flatten()]
            return next((found for part in parts if (found := self.without_text(part)) is not None), None)
        if not (kinds.is_date(held) or kinds.is_time(held) or kinds.is_timestamp(held)):
            return None
        compute: Any = importlib.import_module("pyarrow.compute")
        if kinds.is_timestamp(held) and held.tz is not None:
            # With a zone the year is cut to 16 bits, or the cast fails.
            cells = compute.local_timestamp(cells)
        ends = compute.min_max(cells)
        texts = [ends[end].cast(self._arrow.string()).as_py() or "" for end in ("min", "max")]
        return next((text.strip("<>").partition(": ")[2] for text in texts if text.startswith("<")), None)

    def longest(self, cells: Any) -> int:
        """Return the bytes of the longest text or value of bytes in the dictionaries of a column."""
        held = cells.type
        if self._is.is_dictionary(held):
            compute: Any = importlib.import_module("pyarrow.compute")
            return compute.max(compute.binary_length(cells.dictionary)).as_py() or 0
        if self._is.is_struct(held):
            return max((self.longest(cells.field(at)) for at in range(held.num_fields)), default=0)
        return self.longest(cells.values) if self._is_list(held) else 0

    def _is_list(self, held: Any) -> bool:
        kinds = self._is
        return bool(kinds.is_list(held) or kinds.is_large_list(held) or kinds.is_fixed_size_list(held))

    def _nested(self, held: Any) -> Any | None:
        if self._is.is_struct(held):
            fields = {field.name: self.json_of(field.type) for field in held}
            # An object of JSON has each name once.
            unfit = len(fields) < held.num_fields or None in fields.values()
            return None if unfit else self._arrow.struct(list(fields.items()))
        if self._is_list(held):
            inner = self.json_of(held.value_type)
            return None if inner is None else self._arrow.large_list(inner)
        return None


class ParquetWriter:
    """Writes the columns `key`, of the type of its kind, and `value` (binary) to a Parquet file."""

    def __init__(self, sink: Sink, kind: str = "int64") -> None:
        """Begin a file of keys of one kind.

        Raises:
            Stopped: pyarrow is not installed.

        """
        needed()
        self._arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        arrow = self._arrow
        self._kind = kind
        self._key_type = _key_type(arrow, kind)
        types = {"key": self._key_type, "value": arrow.binary()}
        self._schema = arrow.schema([arrow.field(name, to, nullable=False) for name, to in types.items()])
        self._writer = parquet.ParquetWriter(sink, self._schema)

    def write(self, batch: Batch) -> None:
        """Write a batch, which becomes a row group."""
        for key, value in zip(batch.keys, batch.values, strict=True):
            if len(value) > _LONGEST_VALUE:
                raise Stopped(
                    f"the value of key {keys.to_text(key)} has {len(value):,} bytes, and parquet holds at "
                    f"most {_LONGEST_VALUE:,}; `alexpy backup` copies such a store",
                    BAD_INPUT,
                )
        arrow = self._arrow
        gathered = keys.gathered(batch.keys, self._kind)
        if self._kind == "uuid":
            memory: Any = b"".join(key.bytes for key in gathered)
        else:
            memory = gathered if isinstance(gathered, array) else gathered.view("i8")
        if self._kind == "datetime64[s]":
            self._check_seconds(gathered)
        column = arrow.Array.from_buffers(self._key_type, len(batch.keys), [None, arrow.py_buffer(memory)])
        self._writer.write_batch(
            arrow.record_batch([column, arrow.array(batch.values, arrow.binary())], schema=self._schema)
        )

    def _check_seconds(self, moments: Any) -> None:
        for key in moments[abs(moments.view("i8")) > _MOST_SECONDS]:
            raise Stopped(
                f"the key {keys.to_text(key)} is too far from 1970 for the milliseconds of parquet; "
                "--format csv, tsv or jsonl keeps it as it is",
                BAD_INPUT,
            )

    def finish(self) -> None:
        """Write the end, without which the file is none."""
        self._writer.close()


def _key_type(arrow: Any, kind: str) -> Any:
    if kind == "uuid":
        return arrow.binary(16)
    if kind in ("int64", "uint64"):
        return arrow.int64() if kind == "int64" else arrow.uint64()
    return arrow.timestamp(kind.partition("[")[2].rstrip("]"))


def _rows_at_a_time(rows: int, size: int, most: int = _MOST_ROWS) -> int:
    """Return how many rows, of `rows` that take `size` bytes, take about BATCH_BYTES."""
    return max(1, min(most, BATCH_BYTES * rows // max(size, 1)))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
