"""`alexpy export`: a range of a store as a file that `alexpy load`, and other programs, read.

One moment of the store, in key order, in bounded memory: a batch at a time. No value is changed on its way:
one that the format cannot hold is refused, and its key named.
"""

from __future__ import annotations

import base64 as base64_module
import csv
import gzip
import io
import time
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

import click

import alexpy
from alexpy._path import lies_in

from . import keys, output, text
from .batches import Batch, batched
from .files import Sink, new_file
from .inputs import format_of
from .meaning import Meaning, meaning_of
from .messages import told
from .opening import reader
from .options import (
    BAD_INPUT,
    STORE_ERROR,
    Stopped,
    as_json,
    completed_as,
    examples,
    start_option,
    stop_option,
    store_path,
)
from .parquet import ParquetWriter
from .progress import progress
from .rows import FORMATS, MAX_LINE_BYTES, Format

_BATCH_ROWS = 65_536
# No format makes a byte of text longer than six: \u001f in JSON.
_SURELY_FITS = MAX_LINE_BYTES // 8

_HELP = """Write the items of STORE with START <= key < STOP, in key order, to FILE: csv, tsv or jsonl, also
gzipped (.csv.gz), or parquet; "-" is standard output.

FILE has the columns "key" and "value". Keys that are times are timestamps in Parquet, and UUIDs 16 bytes
(fixed_size_binary); in the other formats both are text. FILE holds one moment of the store, which may be
written meanwhile, and is there as a whole or not at all: after an error, Ctrl-C or a power cut FILE is what
it was before. A FILE that is there is replaced only with --force.

Values are bytes. Parquet holds them as they are. csv, tsv and jsonl hold text: a value that is not UTF-8, or
in tsv has more than one line, or makes a row of more than 16 MiB, is refused, and its key named. --base64
writes every value as base64, in the column "value_base64". Values of stores of JSON, arrays and records
(alexpy.codecs) are written as JSON, in parquet as their bytes. `alexpy load` reads back exactly what was
there; a store with a codec or other keys is made by naming those that `alexpy stats` shows:

\b
  any format      load STORE FILE --key key --value value
  other keys      load STORE FILE --key key --value value --key-kind uuid
  with a codec    load STORE FILE --key key --value value --codec text
  with --base64   load STORE FILE --key key --value value_base64 --base64
"""


class Writer(Protocol):
    """Writes batches to a file of one format."""

    def write(self, batch: Batch) -> None:
        """Write the rows of a batch."""

    def finish(self) -> None:
        """Write what ends the file."""


class TextWriter:
    """Writes rows of csv, tsv or jsonl."""

    def __init__(
        self, sink: Sink, file_format: Format, meaning: Meaning, *, gzipped: bool, base64: bool
    ) -> None:
        """Begin a file: with the names of the columns, unless each row has them."""
        self._gzip = gzip.GzipFile("", "wb", 6, cast("io.BytesIO", sink), mtime=0) if gzipped else None
        self._to = sink if self._gzip is None else self._gzip
        self._format = file_format
        self._base64 = base64
        self._meaning = meaning
        self._column = "value_base64" if base64 else "value"
        if file_format != "jsonl":
            self._to.write(self._delimited([("key", self._column)]))

    def write(self, batch: Batch) -> None:
        """Write the rows of a batch."""
        rows = [
            (keys.to_json(key), self._told(key, value))
            for key, value in zip(batch.keys, batch.values, strict=True)
        ]
        for row, value in zip(rows, batch.values, strict=True):
            if len(value) > _SURELY_FITS and (size := len(self._encoded([row]))) > MAX_LINE_BYTES:
                raise Stopped(
                    f"the value of key {row[0]} makes a row of {size:,} bytes, and `alexpy load` takes "
                    f"{MAX_LINE_BYTES:,} at most; --format parquet keeps it as it is",
                    BAD_INPUT,
                )
        self._to.write(self._encoded(rows))

    def finish(self) -> None:
        """Write the end of the compressed data."""
        if self._gzip is not None:
            self._gzip.close()

    def _encoded(self, rows: list[tuple[int | str, Any]]) -> bytes:
        if self._format == "jsonl":
            return b"".join(text.json_line({"key": key, self._column: value}) for key, value in rows)
        return self._delimited(rows)

    def _delimited(self, rows: list[tuple[int | str, Any]] | list[tuple[str, str]]) -> bytes:
        to = io.StringIO()
        delimiter = "," if self._format == "csv" else "\t"
        # All text in quotes: a bare carriage return would otherwise stay without.
        csv.writer(to, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
        return to.getvalue().encode()

    def _told(self, key: keys.Key, value: bytes) -> Any:
        """Return a value as the file has it: text, or in JSON lines what JSON has."""
        if self._base64:
            return base64_module.b64encode(value).decode()
        if self._format == "jsonl" and self._meaning.is_json:
            told = self._meaning.fields(value)
            return (
                told["value"] if "value" in told else self._refuse(key, "is not what the store's codec makes")
            )
        try:
            shown = self._meaning.text(value)
        except UnicodeDecodeError:
            self._refuse(key, "is not text (UTF-8)")
        except ValueError:
            self._refuse(key, "is not what the store's codec makes")
        if self._format == "tsv" and "\n" in shown:
            self._refuse(key, "has more than one line")
        return shown

    def _refuse(self, key: keys.Key, problem: str) -> NoReturn:
        raise Stopped(
            f"the value of key {key} {problem}, which {self._format} cannot hold; "
            "--base64, or --format parquet, keeps it as it is",
            BAD_INPUT,
        )


@click.command(
    "export",
    short_help="Write a range of items to a CSV, TSV, JSON lines or Parquet file.",
    help=_HELP,
    epilog=examples(
        "alexpy export flights copy.parquet",
        "alexpy export flights some.csv --start 1 --stop 3",
        "alexpy export flights all.jsonl.gz --base64",
        "alexpy export flights - --format csv | head",
    ),
)
@store_path
@click.argument("file", shell_complete=completed_as("file"))
@start_option
@stop_option
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="[default: by the name of FILE]")
@click.option("--base64", is_flag=True, help="Write values as base64 (csv, tsv, jsonl).")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@as_json
def export(
    store: str,
    file: str,
    start: str | None,
    stop: str | None,
    file_format: Format | None,
    *,
    base64: bool,
    force: bool,
    json: bool,
) -> None:
    """Run the command."""
    chosen = format_of(file, file_format, "standard output")
    _check(store, file, chosen, base64=base64, json=json)
    began = time.perf_counter()
    with reader(store) as opened, new_file(file, replace=force) as sink:
        ends = keys.bounds(start, stop, opened.key_kind)
        writer = _writer(sink, file, chosen, opened, base64=base64)
        title = f"exporting {Path(store).name}"
        try:
            rows = _write(opened, writer, ends, title, quiet=json or _is_shown(file))
        except BrokenPipeError:
            raise
        except (alexpy.AlexError, OSError, MemoryError) as error:
            raise Stopped(told(error), STORE_ERROR) from error
    seconds = round(time.perf_counter() - began, 3)
    if json:
        output.report_json({"rows": rows, "bytes": sink.bytes_written, "file": file, "seconds": seconds})
    elif file != "-":
        size = text.byte_count(sink.bytes_written)
        output.report(f"{text.count(rows, 'row')} of {store} written to {file}, {size}, in {seconds:.1f} s")


def _check(store: str, file: str, file_format: Format, *, base64: bool, json: bool) -> None:
    if base64 and file_format == "parquet":
        raise click.UsageError("--base64 is for text; parquet keeps bytes as they are")
    if json and file == "-":
        raise click.UsageError("--json prints what was done, but standard output is the file here")
    if file_format == "parquet" and _is_shown(file):
        raise click.UsageError("parquet is not for the screen; name a file")
    if file != "-" and lies_in(file, store):
        raise Stopped(f"{file} lies inside the store {store}; name a file elsewhere", BAD_INPUT)


def _is_shown(file: str) -> bool:
    return file == "-" and output.is_terminal()


def _writer(
    sink: Sink, file: str, file_format: Format, opened: alexpy.Store[Any, bytes], *, base64: bool
) -> Writer:
    if file_format == "parquet":
        return ParquetWriter(sink, opened.key_kind)
    meaning = meaning_of(opened)
    return TextWriter(sink, file_format, meaning, gzipped=file.lower().endswith(".gz"), base64=base64)


def _write(
    opened: alexpy.Store[Any, bytes], writer: Writer, ends: tuple[Any, Any], title: str, *, quiet: bool
) -> int:
    rows = 0
    with progress(title, "rows", quiet=quiet) as show:
        total = opened.count(*ends)
        show(0, total)
        items = ((0, key, value) for key, value in opened.scan(*ends))
        for batch in batched(items, _BATCH_ROWS, opened.key_kind):
            writer.write(batch)
            rows += len(batch.keys)
            show(rows, total)
        writer.finish()
    return rows
