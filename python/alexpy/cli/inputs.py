"""Opens what `load` and `put` read: a file or standard input, by its format.

Knows which reader a format has; must not know stores or the terminal.
"""

from __future__ import annotations

import base64 as base64_module
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn, Protocol, cast

from .parquet import ParquetReader
from .rows import FORMATS, Format, InputError, RowReader
from .text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .rows import Row

_SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


class Rows(Protocol):
    """The rows of an open file, and how far it is read."""

    name: str
    bytes_total: int | None
    raw: bool
    """Whether values are the bytes that are stored, not text that stands for them."""

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file were read."""

    def __iter__(self) -> Iterator[Row]:
        """Return the rows, in file order."""

    def bad(self, line: int, problem: str) -> NoReturn:
        """Refuse the row with this number."""


def stdin() -> BinaryIO:
    """Return standard input, as bytes.

    Raises:
        InputError: it is closed.

    """
    if sys.stdin is None:
        raise InputError("cannot read standard input: it is closed")
    return cast("BinaryIO", sys.stdin.buffer)


@contextmanager
def open_rows(
    file: str,
    file_format: str | None,
    key: str,
    value: str | None,
    *,
    kind: str = "int64",
    base64: bool = False,
    as_json: bool = False,
) -> Iterator[Rows]:
    """Open `file` ("-" is standard input) and read its header, or its schema; its keys are of `kind`.

    With `as_json` a value of JSON lines is its JSON even if it is text.

    Raises:
        InputError: it cannot be read, its format is unknown, or a column is missing.

    """
    known = format_of(file, file_format, "standard input")
    if file == "-":
        yield _reader(stdin(), "standard input", known, key, value, kind=kind, base64=base64, as_json=as_json)
        return
    try:
        source = Path(file).open("rb")  # noqa: SIM115 - closed below; only opening it may be an InputError
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    with source:
        yield _reader(source, file, known, key, value, kind=kind, base64=base64, as_json=as_json)


def _reader(
    source: BinaryIO,
    name: str,
    file_format: Format,
    key: str,
    value: str | None,
    *,
    kind: str,
    base64: bool,
    as_json: bool,
) -> Rows:
    rows: RowReader | ParquetReader
    if file_format == "parquet":
        rows = ParquetReader(source, name, key, value, kind)
    else:
        rows = RowReader(source, name, file_format, key, value, kind=kind, as_json=as_json and not base64)
    return Base64Rows(rows) if base64 else rows


class Base64Rows:
    """The rows of a file whose values are the base64 of what they mean."""

    raw = True

    def __init__(self, rows: RowReader | ParquetReader) -> None:
        """Decode the values of `rows`."""
        self._rows = rows
        self.name = rows.name
        self.bytes_total = rows.bytes_total

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file were read."""
        return self._rows.bytes_read

    def __iter__(self) -> Iterator[Row]:
        """Return the rows in file order."""
        for line, key, value in self._rows:
            try:
                decoded = base64_module.b64decode(value, validate=True)
            except ValueError:
                self._rows.bad(
                    line, f"the value is not base64: {shown(value.decode(errors='backslashreplace'))}"
                )
            yield line, key, decoded

    def bad(self, line: int, problem: str) -> NoReturn:
        """Refuse the row with this number."""
        self._rows.bad(line, problem)


def format_of(file: str, file_format: str | None, stream: str) -> Format:
    """Return the format that was asked for, or else that of the name of `file` ("-": a `stream`).

    Raises:
        InputError: the name does not tell.

    """
    if file_format is not None:
        return cast("Format", file_format)
    suffixes = [suffix.lower() for suffix in Path(file).suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    where = stream if file == "-" else file
    raise InputError(
        f"cannot tell the format of {where}; say --format {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    )
