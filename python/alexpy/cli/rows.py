"""Rows of CSV, TSV and JSON lines files as (line, key, value), one at a time, in bounded memory.

Parquet files are read by `parquet`, with the same checks.

Knows files and columns, and names the exact place of an error; must not know stores or the terminal. Lines
are counted as an editor counts them, from 1, quoted line breaks included; a row is named by its first line.
O(1) memory: no more than one row is held, and no line or field longer than MAX_LINE_BYTES is accepted.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, NoReturn, TypeAlias, cast, get_args

from . import keys
from .text import count, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Format: TypeAlias = Literal["csv", "tsv", "jsonl", "parquet"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)
MAX_LINE_BYTES: Final = 16 << 20

_JSON_SPACES: Final = " \t\r\n"
# Groups a string of JSON text whole, so that only white space between tokens is removed.
_JSON_SPACE = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\r\n]+')

Row = tuple[int, Any, bytes]
"""(line, key, value)."""


class InputError(Exception):
    """The file cannot be loaded at all: it cannot be read, or does not fit the arguments."""


class BadRowError(InputError):
    """One row cannot be loaded; the message names file, line (or, without lines, row) and value."""

    def __init__(self, name: str, line: int, problem: str, counted: str = "line") -> None:
        """Build the message from the file's name, the row's first line and the problem."""
        super().__init__(f"{name}, {counted} {line:d}: {problem}")
        self.line = line


class RowReader:
    """The rows of one open file. Iterate once; `bytes_read` and `bytes_total` tell how far it is.

    Making one reads the header (of a JSON lines file, the first row), so that a missing column is known
    before anything is written.
    """

    raw = False

    def __init__(
        self,
        source: BinaryIO,
        name: str,
        file_format: Format,
        key: str,
        value: str | None,
        *,
        kind: str = "int64",
        as_json: bool = False,
    ) -> None:
        """Read the header of `source`, whose rows have their key, of a `kind`, in column `key`.

        Raises:
            InputError: the file is empty, or a column is missing or occurs twice.

        """
        self._raw = source
        self._kind = kind
        self._as_json = as_json
        self.name = name
        self.bytes_total = _size(source)
        try:
            self._lines = _Lines(_decompressed(source), name)
        except OSError as error:
            raise InputError(f"cannot read {name}: {error.strerror or error}") from error
        if file_format == "jsonl":
            self._rows = self._json_rows(key, value)
        else:
            self._rows = self._delimited_rows(key, value, "," if file_format == "csv" else "\t")
        # The generators yield None once, when the header is known to be good.
        next(self._rows)

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file on disk (compressed, if it is) were read."""
        try:
            return self._raw.tell()
        except OSError:
            return self._lines.bytes_read

    def __iter__(self) -> Iterator[Row]:
        """Return the rows after the header, in file order."""
        return cast("Iterator[Row]", self._rows)

    def _delimited_rows(self, key: str, value: str | None, delimiter: str) -> Iterator[Row | None]:
        csv.field_size_limit(MAX_LINE_BYTES)
        if delimiter == ",":
            reader: Iterator[list[str]] = csv.reader(self._lines, strict=True)
        else:
            reader = _tsv_records(self._lines)
        line, header = self._next_record(reader)
        if header is None:
            raise InputError(f"{self.name} is empty; its first line must name the columns")
        key_at = self._column(header, key)
        value_at = None if value is None else self._column(header, value)
        if value_at is None:
            for column in header:
                self._column(header, column)
        yield None

        width = len(header)
        to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
        while True:
            line, record = self._next_record(reader)
            if record is None:
                return
            if len(record) != width:
                self.bad(
                    line,
                    f"{count(len(record), 'field')} where the header has {width}: "
                    f"{shown(delimiter.join(record))}",
                )
            number = self._key_of_text(line, key, record[key_at])
            text = to_json(dict(zip(header, record, strict=True))) if value_at is None else record[value_at]
            yield line, number, text.encode()

    def _next_record(self, reader: Iterator[list[str]]) -> tuple[int, list[str] | None]:
        """Return the next record that is not an empty line, with its first line; None at the end."""
        while True:
            line = self._lines.count + 1
            try:
                record = next(reader, None)
            except csv.Error as error:
                self.bad(line, _csv_problem(str(error)))
            if record != []:
                return line, record

    def _column(self, header: list[str], column: str) -> int:
        found = header.count(column)
        if found == 0:
            raise InputError(f"{self.name} has no column {column!r}; it has {names(header)}")
        if found > 1:
            raise InputError(f"{self.name} has {found} columns named {column!r}; rename all but one")
        return header.index(column)

    def _key_of_text(self, line: int, column: str, text: str) -> Any:
        try:
            return keys.from_text(text, self._kind)
        except ValueError as error:
            self.bad(line, f"the key in column {column!r} {error}")

    def _json_rows(self, key: str, value: str | None) -> Iterator[Row | None]:
        columns = (key,) if value is None else (key, value)
        known = False
        for line, text, row in self._json_objects():
            for column in columns:
                if column not in row:
                    problem = f"no column {column!r}; it has {names(list(row))}"
                    if not known:
                        raise InputError(f"{self.name} has {problem}")
                    self.bad(line, f"this row has {problem}")
            if not known:
                known = True
                yield None
            yield (
                line,
                self._key_of_json(line, key, row[key]),
                _json_value(text, row, value, as_json=self._as_json),
            )
        if not known:
            yield None

    def _json_objects(self) -> Iterator[tuple[int, str, dict[str, object]]]:
        decode = _decoder().decode
        for whole_line in self._lines:
            line = self._lines.count
            text = whole_line.strip(_JSON_SPACES)
            if not text:
                continue
            try:
                row = _decoded(text, decode)
            except (ValueError, RecursionError) as error:
                self.bad(line, f"this is not JSON ({_json_problem(error)}): {shown(text)}")
            if not isinstance(row, dict):
                self.bad(line, f"a row must be a JSON object, not {shown(text)}")
            yield line, text, row

    def _key_of_json(self, line: int, column: str, value: object) -> Any:
        try:
            return keys.from_json(value, self._kind)
        except ValueError as error:
            self.bad(line, f"the key in column {column!r} {error}")

    def bad(self, line: int, problem: str) -> NoReturn:
        """Report a row that cannot be loaded."""
        raise BadRowError(self.name, line, problem)


class _FloatText(str):
    """The text of a JSON number that is not read: with a fraction or an exponent, or of very many digits."""

    __slots__ = ()


def _decoder(parse_int: Any = None) -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_FloatText, parse_int=parse_int)


def _integer(text: str) -> int | _FloatText:
    try:
        return int(text)
    except ValueError:
        # Python converts some thousand digits, or as many as PYTHONINTMAXSTRDIGITS says.
        return _FloatText(text)


def _decoded(text: str, decode: Callable[[str], Any]) -> Any:
    """Return what a text of JSON says; integers that Python does not convert as their text."""
    try:
        return decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Twice as slow, so not for all.
        return _decoder(_integer).decode(text)


class _Lines:
    """The lines of a UTF-8 file, counted; the byte order mark is dropped."""

    def __init__(self, source: BinaryIO, name: str) -> None:
        self._source = source
        self._name = name
        self.count = 0
        self.bytes_read = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        try:
            raw = self._source.readline(MAX_LINE_BYTES + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise BadRowError(
                self._name, self.count + 1, f"the gzip data ends or breaks here: {error}"
            ) from error
        except OSError as error:
            raise InputError(f"cannot read {self._name}: {error.strerror or error}") from error
        if not raw:
            raise StopIteration
        self.count += 1
        self.bytes_read += len(raw)
        if len(raw) > MAX_LINE_BYTES:
            raise BadRowError(self._name, self.count, f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
        if self.count == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise InputError(
                    f"{self._name} is UTF-16; convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)"
                )
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise BadRowError(
                self._name,
                self.count,
                f"byte {error.start + 1} of the line, 0x{raw[error.start]:02x}, is not UTF-8: "
                f"{shown(raw.decode(errors='backslashreplace'))}",
            ) from error


class _Joined(io.RawIOBase):
    """Bytes that were read already, and then the rest of a stream."""

    def __init__(self, begin: bytes, rest: Any) -> None:
        self._begin = begin
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._begin:
            return cast("int", self._rest.readinto1(buffer))
        size = min(len(buffer), len(self._begin))
        buffer[:size], self._begin = self._begin[:size], self._begin[size:]
        return size


def _decompressed(source: BinaryIO) -> BinaryIO:
    peek = getattr(source, "peek", None)
    if peek is not None and peek(2)[:2] == b"\x1f":
        # A pipe may bring the first byte alone, and then peek shows no more.
        source = cast("BinaryIO", io.BufferedReader(_Joined(source.read(2), source)))
        peek = cast("Any", source).peek
    if peek is not None and peek(2)[:2] == b"\x1f\x8b":
        return cast(
            "BinaryIO", io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=source)), 1 << 18)
        )
    return source


def _size(source: BinaryIO) -> int | None:
    """Return how many bytes the file has; None for a pipe."""
    try:
        position = source.tell()
        size = source.seek(0, io.SEEK_END)
        source.seek(position)
    except OSError:
        return None
    return size


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _json_value(text: str, row: dict[str, object], column: str | None, *, as_json: bool) -> bytes:
    """Return a row's value: its text without white space between tokens, or a column's text or JSON.

    With `as_json` a column's JSON also if it is text.
    """
    if column is None:
        return _JSON_SPACE.sub(r"\1", text).encode()
    value = row[column]
    if isinstance(value, str) and not (as_json and not isinstance(value, _FloatText)):
        # JSON can escape half of a surrogate pair, which has no UTF-8.
        return value.encode(errors="surrogatepass")
    return _JSON_SPACE.sub(r"\1", _member_text(text, column)).encode()


def _member_text(text: str, column: str) -> str:
    """Return the text of one member of a JSON object already known to be well-formed; the last one wins."""
    decoder = _decoder(_integer)
    found = ""
    at = _skip(text, 0) + 1
    while text[at := _skip(text, at)] != "}":
        if text[at] == ",":
            at += 1
            continue
        name, at = decoder.raw_decode(text, at)
        at = _skip(text, at) + 1
        begin = _skip(text, at)
        _, at = decoder.raw_decode(text, begin)
        if name == column:
            found = text[begin:at]
    return found


def _skip(text: str, at: int) -> int:
    while text[at] in _JSON_SPACES:
        at += 1
    return at


def _tsv_records(lines: Iterator[str]) -> Iterator[list[str]]:
    """Read each line by itself: quotes may hold a tab but no line end, so a stray one affects one row."""
    for line in lines:
        yield from csv.reader((line,), delimiter="\t", strict=True)


def _csv_problem(message: str) -> str:
    if "unexpected end of data" in message:
        return "a quote opened in this row is never closed"
    if "field larger than field limit" in message:
        return f"a field is longer than {MAX_LINE_BYTES >> 20} MiB; is a quote never closed?"
    if "new-line character" in message:
        return "a bare carriage return outside quotes; convert the file's line ends to LF or CRLF"
    return f"this is not well-formed: {message}"


def _json_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error)


def names(columns: list[str]) -> str:
    """Return the names of a file's columns for a message, not more than fit."""
    shown = ", ".join(repr(column) for column in columns[:20])
    if len(columns) > 20:  # noqa: PLR2004
        return f"{shown} and {len(columns) - 20} more"
    return shown or "no columns"
